"""Fills a network from somebody else's weight file: all variables from all of its tensors, or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.errors import InputError

SHOWN = 8  # tensors of each kind in a message
TEXT_LIMIT = 200  # characters of text from a file in a message


@dataclass(frozen=True)
class Stored:
    """What a file says of one of its tensors."""

    shape: tuple[int, ...]
    dtype: str
    has_data: bool = True


def fill(variables: Mapping[str, Any], found: Mapping[str, Stored], read: Callable[[str], np.ndarray], description: str) -> None:
    """Assign the tensors of a file to variables, after all checks.

    Args:
        variables: tensor name -> the Keras variable that it fills.
        found: tensor name -> `Stored`, for everything in the file.
        read: `read(tensor name) -> array`; called only if the file has all tensors and no others.
        description: of the file; messages begin with it.

    Raises:
        InputError: tensors are missing, left over, of another shape, not float32, without data or not finite.
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
    values = {tensor: read(tensor) for tensor in shapes}  # none is larger than its variable
    refuse_any(description, {
        "with NaN or infinite values": [tensor for tensor, value in values.items() if not np.isfinite(value).all()]
    })  # fmt: skip
    for tensor, variable in variables.items():
        variable.assign(values[tensor])


def refuse_any(description: str, faults: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError if there are `faults`: kind -> tensors."""
    if any(faults.values()):
        what = "; ".join(f"{len(tensors)} {kind}: {listed(tensors)}" for kind, tensors in faults.items() if tensors)
        raise InputError(f"{description}: {what}")


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def printable(text: str) -> str:
    """Text from a file in one line, without control characters, and cut if it is long."""
    return repr(text)[1:-1][:TEXT_LIMIT]


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(' '.join(str(error).split()))}"
