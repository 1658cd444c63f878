"""Weight files as the authors' Keras 2 wrote them, with reproducible numbers or none at all."""

import zlib
from pathlib import Path

import h5py
import numpy as np

# name: layers, weights, trainable weights (counted on the authors' definitions)
COUNTS = {
    "roi_net": (90, 17_705_571, 17_696_547),
    "lvrv_net": (138, 59_790_988, 59_770_892),
    "lv_net": (138, 33_641_961, 33_626_889),
    "apparentflow_net": (76, 4_423_398, 4_418_982),
}
PARTS = {"conv": ("kernel", "bias"), "bn": ("gamma", "beta", "moving_mean", "moving_variance")}


def shapes(name):
    """`LAYER/kernel` -> shape of every tensor of a released network, in the order of its file."""
    text = (Path(__file__).parent / "released_layers.txt").read_text()
    section = text.partition(f"[{name}]\n")[2].partition("\n\n")[0]
    result = {}
    for line in section.splitlines():
        layer, *extents = line.split()
        extents = tuple(map(int, extents))
        for part in PARTS["conv" if len(extents) == 4 else "bn"]:
            result[f"{layer}/{part}"] = extents if part == "kernel" else extents[-1:]
    return result


def seeded(name, shape):
    """float32 values that depend on the tensor's name and shape only: the rule behind the stored output of the authors' code."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    match name.rpartition("/")[2]:
        case "gamma":
            values = rng.uniform(0.7, 1.3, shape)
        case "beta" | "bias":
            values = rng.normal(0, 0.1, shape)
        case "moving_mean":
            values = rng.normal(0, 0.2, shape)
        case "moving_variance":
            values = rng.uniform(0.5, 1.5, shape)
        case "kernel":
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    return values.astype(np.float32)


def write(path, tensors, root="/", scope=""):
    """Each tensor at ROOT/LAYER/LAYER+scope/part:0; a layer without weights too. Tuples are shapes without data."""
    with h5py.File(path, "w") as file:
        top = file.require_group(root)
        top.create_group("conv_block1_conv0_relu")
        for name, value in tensors.items():
            layer, _, part = name.partition("/")
            place = f"{layer}/{layer}{scope}/{part}:0"
            if isinstance(value, tuple):
                top.create_dataset(place, value, np.float32)
            else:
                top.create_dataset(place, data=value)
    return path
