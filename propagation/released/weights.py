"""The authors' Keras 2 weight files (.h5) -> our networks.

Only tensors are read, by name, from `/LAYER/LAYER/kernel:0` and the like. Our own network says which tensors a file must hold.
Files that hold a whole model have the same tensors under `/model_weights`; their description of the model is not read.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py

from shared.errors import InputError
from shared.lazy import lazily
from shared.learning import foreign
from shared.learning.foreign import Stored, listed, printable, reason

with lazily():
    from propagation.released import model as networks
    from shared.framework import keras

SIGNATURE = "seg_block1/kernel"  # (1, 1, width, outputs): its shape tells the networks apart, except for fine-tuned ones
LAYERS_LIMIT = 1000  # groups in a file; the largest network has 138


def load_released(name: str | None, path: str | Path, size: int | None = None, leaky_slope: float = 0.0) -> "keras.Model":
    """The network with the weights of a file.

    Args:
        name: a key of `NETWORKS`, or None to find out from what the file holds; fine-tuned weights are then called lvrv_net.
        path: the file.
        size, leaky_slope: see `model.build`.

    Raises:
        InputError: no readable file there, or its tensors are not exactly those of the network.
    """
    if name is not None and name not in networks.NETWORKS:
        raise InputError(f"unknown released network {name!r}: expected one of {', '.join(networks.NETWORKS)}")
    found = identify(path)
    if name is not None and kind(name) != found:
        raise InputError(f"{path}: expected the weights of {name}, found those of {found}")
    model = networks.build(name or found, size, leaky_slope)
    fill(model, path)
    return model


def identify(path: str | Path) -> str:
    """The key of `NETWORKS` that a file belongs to; "lvrv_net" for the fine-tuned one too, whose tensors have the same shapes.

    One tensor tells; `fill` checks the others.

    Raises:
        InputError: no readable file there, or a file of none of the networks.
    """
    with tensors(path) as found:
        shape = found[SIGNATURE].shape if SIGNATURE in found else None
        for name, network in networks.NETWORKS.items():
            if shape == (1, 1, network.width, network.outputs):
                return name
        listing = listed([f"{tensor} {dataset.shape}" for tensor, dataset in found.items()]) or "no tensors"
    expected = "; ".join(f"{name} has {SIGNATURE} (1, 1, {n.width}, {n.outputs})" for name, n in networks.NETWORKS.items())
    raise InputError(f"{path}: none of the released networks ({expected}); found {listing}")


def kind(name: str) -> str:
    """What `identify` says of a file of the network called `name`."""
    return "lvrv_net" if name == "lvrv_net_finetune" else name


def fill(model: "keras.Model", path: str | Path) -> None:
    """Put all tensors of a file into all variables of `model`, or none into any.

    Raises:
        InputError: tensors that are missing, left over, of another shape, not float32, without data, not finite or not readable.
    """
    variables = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.weights}
    with tensors(path) as found:
        stored = {
            tensor: Stored(dataset.shape, str(dataset.dtype), dataset.id.get_storage_size() == dataset.nbytes)
            for tensor, dataset in found.items()
        }
        foreign.fill(variables, stored, lambda tensor: found[tensor][()], f"{path}: not the authors' weights of {model.name}")


@contextlib.contextmanager
def tensors(path: str | Path) -> Iterator[dict[str, h5py.Dataset]]:
    """Yield the `h5py.Dataset` of every tensor of the open file by name, `LAYER/kernel`; nothing is read yet.

    The file is searched three levels deep, not further, because links may lead in circles. Links to elsewhere are refused, and so
    are datasets that lie elsewhere or have to be unpacked: Keras writes neither.

    Raises:
        InputError: no such file, not HDF5, cut, damaged, or arranged in another way.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the authors' weights, an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield dict(walk(file["model_weights"] if plain(file, "model_weights") else file))
    except InputError:
        raise
    except Exception as error:  # h5py raises many kinds
        raise InputError(f"{path}: expected the authors' weights, an HDF5 file; found {reason(error)}") from error


def walk(root: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Name and dataset of the tensors below `root`: layer, then the layer's name scope, then the tensor."""
    seen: set[str] = set()
    for layer in children(root):
        for scope in children(root[layer]):
            for tensor in children(root[layer][scope]):
                dataset = root[layer][scope][tensor]
                name = printable(f"{layer}/{tensor.removesuffix(':0')}")
                if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                    raise ValueError(f"{name} is not a tensor")
                storage = dataset.id.get_create_plist()
                if storage.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or storage.get_external_count():
                    raise ValueError(f"{name} is compressed, in chunks or in another file")
                if name in seen:
                    raise ValueError(f"{name} occurs twice")
                seen.add(name)
                yield name, dataset


def children(group: h5py.Group) -> list[str]:
    """Names of what a group holds; anything that is not a group, or holds links to elsewhere, is a ValueError."""
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{printable(group.name)} is not a group")
    if len(group) > LAYERS_LIMIT:
        raise ValueError(f"{len(group)} entries in {printable(group.name)}")
    names = list(group)
    for name in names:
        if not plain(group, name):
            raise ValueError(f"{printable(name)} is a link to elsewhere")
    return names


def plain(group: h5py.Group, name: str) -> bool:
    """Is there a `name` in the group, and not a link to elsewhere?"""
    return isinstance(group.get(name, getlink=True), h5py.HardLink)
