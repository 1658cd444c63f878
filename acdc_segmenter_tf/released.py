"""The authors' TensorFlow 1 checkpoints (V2 format) -> our networks: `model = load_released(None, "model_best_dice.ckpt-1234")`.

Only tensors are read. Our own network says which tensors a checkpoint must hold, by name and shape. `L/W` is the kernel of layer
L; `L_bn/{gamma,beta,moving_mean,moving_variance}` belong to its batch normalisation (names of the authors' code of June 2019).
"""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import InputError
from shared.files import visible
from shared.lazy import lazily
from shared.learning import foreign
from shared.learning.foreign import Stored, listed, reason

with lazily():
    from acdc_segmenter_tf import model as networks
    from shared.framework import keras
if TYPE_CHECKING:
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

# The authors' name -> our network, the paper's data size, and the tensor whose shape tells its checkpoints from the others'
NETWORKS = {
    "VGG16_FCN_8_bn": ("fcn8", (224, 224), ("conv6/W", (7, 7, 512, 4096))),
    "unet2D_bn": ("unet2d", (212, 212), ("upconv4/W", (4, 4, 512, 1024))),
    "unet2D_bn_modified": ("unet2d_modified", (212, 212), ("upconv4/W", (4, 4, 4, 1024))),
    "unet3D_bn": ("unet3d", (116, 116, 28), ("upconv2/W", (4, 4, 4, 256, 256))),
    "unet3D_bn_modified": ("unet3d_modified", (116, 116, 28), ("upconv2/W", (4, 4, 2, 256, 256))),
}
FILES = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")  # what follows the prefix in the names of a checkpoint's files
INDEX_MAGIC = bytes.fromhex("57fb808b247547db")  # last 8 bytes of a sorted table
INDEX_LIMIT = 2**20  # bytes; a training checkpoint of the paper's networks has an index of 2**14
NAME_LIMIT = 200  # characters
FLOAT32 = 1  # in TensorFlow's numbering of types


def load_released(name: str | None, checkpoint: str | Path) -> "keras.Model":
    """The network with the checkpoint's weights, at the paper's data size, from image to logits.

    Args:
        name: a key of `NETWORKS` (the authors' name), or None to find out from what the checkpoint holds.
        checkpoint: the prefix (`.../model_best_dice.ckpt-1234`), any of its files, or a folder that holds one checkpoint.

    Raises:
        InputError: no readable checkpoint there, or its tensors are not exactly those of the network.
    """
    if name is not None and name not in NETWORKS:
        raise InputError(f"unknown released network {name!r}: expected one of {', '.join(NETWORKS)}")
    reader = Checkpoint(checkpoint)
    network, shape, _ = NETWORKS[name or identify(reader)]
    model = networks.build(network, shape)
    fill(model, reader)
    return model


def identify(checkpoint: "str | Path | Checkpoint") -> str:
    """The key of `NETWORKS` that a checkpoint belongs to. One tensor tells; `fill` checks the others.

    Raises:
        InputError: no readable checkpoint there, or a checkpoint of none of the paper's networks.
    """
    reader = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    for name, (_, _, (tensor, shape)) in NETWORKS.items():
        if tensor in reader.tensors and reader.tensors[tensor].shape == shape:
            return name
    expected = "; ".join(f"{name} has {tensor} {shape}" for name, (_, _, (tensor, shape)) in NETWORKS.items())
    found = listed([f"{tensor} {stored.shape}" for tensor, stored in reader.tensors.items()])
    raise InputError(f"{reader.prefix}: none of the paper's networks for 4 labels ({expected}); found {found}")


def fill(model: "keras.Model", reader: "Checkpoint") -> None:
    """Put all tensors of a checkpoint into all variables of `model`.

    Three kinds of tensors are ignored: Adam's state, the step, and the biases that the 2017 code made and did not use.

    Raises:
        InputError: tensors that are missing, left over, of another shape, not float32, not finite or not readable.
    """
    if any("/ExponentialMovingAverage" in tensor for tensor in reader.tensors):
        raise InputError(
            f"{reader.prefix}: written by the authors' 2017 code, which keeps the averages of batch normalisation as"
            " ExponentialMovingAverage variables; expected one with moving_mean and moving_variance (August 2018 or later)"
        )
    variables = {f"{layer.name}/{'W' if v.name == 'kernel' else v.name}": v for layer in model.layers for v in layer.weights}
    unused = {"beta1_power", "beta2_power", "global_step"}
    unused |= {f"{tensor}/{slot}" for tensor in variables for slot in ("Adam", "Adam_1")}
    unused |= {f"{layer.name}/b" for layer in model.layers if f"{layer.name}/W" in variables}
    found = {tensor: stored for tensor, stored in reader.tensors.items() if tensor not in unused}
    foreign.fill(variables, found, reader.read, f"{reader.prefix}: not the authors' weights of {model.name} for 4 labels")


class Checkpoint:
    """The tensors of a checkpoint: `tensors` maps names to shapes and types, `read` gives one value."""

    def __init__(self, path: str | Path) -> None:
        self.prefix = checkpoint_prefix(path)
        try:
            from shared.framework import without_banner  # loads Keras, so only after a checkpoint was found

            with without_banner():
                import tensorflow as tf
                from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto
        except ImportError as error:
            raise InputError(f"{path}: the authors' checkpoints are read by TensorFlow: pip install tensorflow") from error
        try:
            self.tensors = dict(read_index(Path(f"{self.prefix}.index"), BundleEntryProto))
            self.reader = tf.compat.v1.train.NewCheckpointReader(self.prefix)
        except Exception as error:  # protobuf and the reader have their own exception classes
            raise InputError(f"{self.prefix}.index: expected a TensorFlow checkpoint's index, found {reason(error)}") from error

    def read(self, tensor: str) -> np.ndarray:
        try:
            return self.reader.get_tensor(tensor)
        except Exception as error:  # the reader's exception class depends on its status
            raise InputError(f"{self.prefix}: data file absent, cut or damaged at {tensor}, found {reason(error)}") from error


def checkpoint_prefix(path: str | Path) -> str:
    """What the names of a checkpoint's files have in common, see `load_released`."""
    path = Path(path)
    if path.is_dir():
        indices = visible(path, "*.index")
        if len(indices) != 1:
            names = f": {listed([index.stem for index in indices])}; name one of them" if indices else ""
            raise InputError(f"{path}: expected a folder with one checkpoint, found {len(indices)}{names}")
        path = indices[0]
    prefix = FILES.sub("", str(path))
    if not Path(f"{prefix}.index").is_file():
        raise InputError(f"{path}: no checkpoint there, expected the file {prefix}.index")
    if set(prefix) & set("*?[\\"):
        raise InputError(f"{path}: TensorFlow reads * ? [ and \\ in a path as a pattern: rename the folder or the checkpoint")
    return prefix


def read_index(path: Path, entry_type: "type[BundleEntryProto]") -> Iterator[tuple[str, Stored]]:
    """Name and `Stored` of each tensor in a checkpoint's index, a sorted table of `BundleEntryProto`.

    It is read here first, because TensorFlow's own reader ends the process at a shape or an entry that makes no sense.

    Raises:
        Exception: one of many classes, if the file is not what it should be.
    """
    if path.stat().st_size > INDEX_LIMIT:
        raise ValueError(f"{path.stat().st_size} bytes, more than {INDEX_LIMIT}")
    table = path.read_bytes()
    if table[-8:] != INDEX_MAGIC:
        raise ValueError("another kind of file, or one that was cut")
    _, _, *handle = varints(table[-48:], 4)[0]  # the footer: where the block of metadata lies, and the block of blocks
    previous = None
    for _, block in read_block(table, *handle):
        for name, value in read_block(table, *varints(block, 2)[0]):
            if previous is not None and name <= previous:
                raise ValueError("tensors out of order")
            previous = name
            if not name:  # the header
                continue
            entry = entry_type.FromString(value)
            shape = tuple(dimension.size for dimension in entry.shape.dim)
            if len(shape) > 8 or min(shape, default=0) < 0 or math.prod(max(n, 1) for n in shape) >= 2**60:
                raise ValueError(f"impossible shape of {name!r}: {shape}"[:NAME_LIMIT])
            if entry.slices or entry.shape.unknown_rank:
                raise ValueError(f"{name!r} is stored in parts or without a shape")
            yield repr(name)[2:-1], Stored(shape, "float32" if entry.dtype == FLOAT32 else f"TensorFlow's type {entry.dtype}")


def read_block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at `start`. Each key is stored as the part of the key before that it repeats, and the rest."""
    block = table[start : start + size]
    if len(block) != size or size < 4 or table[start + size : start + size + 1] != b"\0":
        raise ValueError("a block that was cut or is compressed")
    (restarts,) = struct.unpack("<I", block[-4:])  # how many entries, which ones below, repeat nothing
    end = size - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a damaged block")
    restarts = struct.unpack(f"<{restarts}I", block[end:-4])
    key, position, starts = b"", 0, {0}
    while position < end:
        starts.add(position)
        (repeated, added, length), position = varints(block, 3, position)
        key = key[:repeated] + block[position : position + added]
        if len(key) != repeated + added or len(key) > NAME_LIMIT:
            raise ValueError("a damaged block")
        position += added + length
        yield key, block[position - length : position]
    if position != end or not starts.issuperset(restarts):
        raise ValueError("a damaged block")


def varints(data: bytes, count: int, position: int = 0) -> tuple[list[int], int]:
    """`count` integers of 7 bits per byte, low bits first, and the position after them."""
    numbers = []
    for _ in range(count):
        number = shift = 0
        while data[position] & 128 and shift < 63:
            number |= (data[position] & 127) << shift
            position, shift = position + 1, shift + 7
        numbers.append(number | data[position] << shift)
        position += 1
    return numbers, position
