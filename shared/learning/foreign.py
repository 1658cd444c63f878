"""Tensors of somebody's weight file -> the variables of a network, by name and shape: all of them, into all of them, or none."""

from dataclasses import dataclass

import numpy as np

from shared.errors import InputError

SHOWN = 8  # tensors of each kind in a message
TEXT_LIMIT = 200  # characters of whatever a file says


@dataclass(frozen=True)
class Stored:
    """What a file says of one of its tensors."""

    shape: tuple[int, ...]
    dtype: str
    has_data: bool = True


def fill(variables, found, read, description):
    """Assign tensors of a file to variables.

    Args:
        variables: tensor name -> the variable that it belongs to.
        found: tensor name -> `Stored`, of everything in the file.
        read: `read(tensor name) -> array`; asked only of a file that has all tensors and no other.
        description: of a file that is refused, begins the message.

    Raises:
        InputError: tensors that are missing, left over, of another shape, not float32, without data or not finite.
    """
    shapes = {tensor: tuple(variable.shape) for tensor, variable in variables.items()}
    known = {tensor: found[tensor] for tensor in shapes if tensor in found}
    refuse_any(description, {
        "missing": [f"{tensor} {shape}" for tensor, shape in shapes.items() if tensor not in found],
        "left over": [f"{tensor} {stored.shape}" for tensor, stored in found.items() if tensor not in shapes],
        "of another shape": [f"{tensor} (expected {shapes[tensor]}, found {stored.shape})"
                             for tensor, stored in known.items() if stored.shape != shapes[tensor]],
        "not float32": [f"{tensor} ({stored.dtype})" for tensor, stored in known.items() if stored.dtype != "float32"],
        "without data": [tensor for tensor, stored in known.items() if not stored.has_data],
    })  # fmt: skip
    values = {tensor: read(tensor) for tensor in shapes}  # none is larger than ours
    refuse_any(description, {
        "with NaN or infinite values": [tensor for tensor, value in values.items() if not np.isfinite(value).all()]
    })  # fmt: skip
    for tensor, variable in variables.items():
        variable.assign(values[tensor])


def refuse_any(description, faults):
    """Raise InputError if there are `faults`, kind -> tensors."""
    if any(faults.values()):
        what = "; ".join(f"{len(tensors)} {kind}: {listed(tensors)}" for kind, tensors in faults.items() if tensors)
        raise InputError(f"{description}: {what}")


def listed(names):
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def printable(text):
    """A foreign text in one line without control characters, cut where it is long."""
    return repr(text)[1:-1][:TEXT_LIMIT]


def reason(error):
    return f"{type(error).__name__}: {printable(' '.join(str(error).split()))}"
