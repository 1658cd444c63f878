"""Gradient-weighted class activation maps (Vesal 2020, section 3.2), and the region of interest that they point at.

    GCAM_c = ReLU(sum over channels k of x_k * dS_c / dx_k),    S_c = sum over voxels of the logit of class c

x is the output of any layer. Product and sum are voxel by voxel: unlike those of Grad-CAM, gradients are not averaged over space.
For the last layer before a linear 1x1x1 head the map is therefore ReLU(logit_c - bias_c).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dr_unet.model import FEATURES
from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.scans.postprocess import largest_components
from shared.scans.volume import Volume

SCORES = {
    "logits": lambda logits, c: logits[..., c],
    "predicted": lambda logits, c: ops.where(chosen(logits, c), logits[..., c], 0.0),  # logits of the voxels predicted as c
    "probabilities": lambda logits, c: probability(logits)[..., c],  # wipes out confident voxels: dp/dlogit = p (1 - p)
}


def activation_map(
    model: keras.Model, image: np.ndarray, output: int, layer: str = FEATURES, score: str = "logits"
) -> np.ndarray:
    """The activation map of one output of a network.

    Args:
        model: from images (B, x, y, z, channels) to logits (B, x, y, z, outputs). Of an end-to-end network give one of its two:
            `model.get_layer("localiser")`, or `model.get_layer("segmenter")`, whose image is the output of the layer "join".
        image: (x, y, z, channels) float32.
        output: index of the class among the outputs; 0 is the foreground of a binary network.
        layer: name of the layer whose output is x.
        score: what S_c sums, a key of `SCORES`.

    Returns:
        (x', y', z') float32, at the resolution of the layer.

    Raises:
        InputError: a layer, output or score that does not exist.
    """
    check(model, output, layer, score)
    at = model.get_layer(layer).output
    below = keras.Model(model.input, at)
    above = keras.Model([model.input, at], model.output)
    image = ops.convert_to_tensor(image[None])
    features = below(image, training=False)
    slope = gradient(lambda x: ops.sum(SCORES[score](above([image, x], training=False), output)), features)
    product = ops.cast(features, "float32") * ops.cast(slope, "float32")
    return ops.convert_to_numpy(ops.relu(ops.sum(product, axis=-1)))[0]


def foreground_map(model: keras.Model, image: np.ndarray, layer: str = FEATURES, score: str = "logits") -> np.ndarray:
    """Voxel-wise maximum of the maps of all foreground classes; for the arguments see `activation_map`."""
    outputs = model.output.shape[-1]
    classes = range(1, outputs) if outputs > 1 else [0]
    return np.maximum.reduce([activation_map(model, image, c, layer, score) for c in classes])


def check(model: keras.Model, output: int, layer: str, score: str) -> None:
    """Raise InputError unless the network has such an output and layer, and there is such a score."""
    outputs = model.output.shape[-1]
    if not 0 <= output < outputs:
        raise InputError(f"unknown class {output} of the network {model.name}: expected 0 to {outputs - 1}")
    names = [known.name for known in model.layers[1:-1] if not isinstance(known, keras.Model)]
    if layer not in names:
        raise InputError(f"unknown layer {layer!r} of the network {model.name}: expected one of {', '.join(names)}")
    if score not in SCORES:
        raise InputError(f"unknown score {score!r}: expected one of {', '.join(SCORES)}")


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """d function(x) / dx at the tensor `at`, computed by the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return tape.gradient(value, at)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(at)
    at = at.detach().requires_grad_(True)
    function(at).backward()
    return at.grad


def chosen(logits: Tensor, c: int) -> Tensor:
    return logits[..., c] > 0 if logits.shape[-1] == 1 else ops.argmax(logits, axis=-1) == c


def probability(logits: Tensor) -> Tensor:
    return ops.sigmoid(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


@dataclass(frozen=True)
class Region:
    """A box of the working grid, and whether a map pointed at it."""

    starts: tuple[int, ...]  # first voxel; negative where the box is wider than the grid
    shape: tuple[int, ...]
    found: bool  # False where the map was empty; the box is then at the grid's centre


def region(heat: Volume, grid: Volume, shape: Sequence[int], threshold: float) -> Region:
    """The box of a fixed shape around the hot spot of a map (our rules; the paper says only that the crop's size is fixed).

    The map is normalised to [0, 1] and cut at the threshold, and its largest component is kept. The box is centred on the centre
    of mass of this component, weighted by intensity, and shifted until it lies inside the grid.

    Args:
        heat: activation map (x, y, z) of any resolution.
        grid: the image in whose voxels the region is given.
        shape: of the box, in voxels of `grid`.
        threshold: of the normalised map.
    """
    low, high = heat.array.min(), heat.array.max()
    sizes = np.array(grid.array.shape[:3])
    found = bool(np.isfinite(high) and high > low)
    centre = (sizes - 1) / 2
    if found:
        normal = (heat.array - low) / (high - low)
        hot = np.where(largest_components((normal >= threshold).astype(np.uint8)) > 0, normal, 0)
        place = [np.sum(np.arange(n) * hot.sum(axis=tuple({0, 1, 2} - {a}))) / hot.sum() for a, n in enumerate(hot.shape)]
        centre = np.round((np.linalg.inv(grid.affine) @ heat.affine @ [*place, 1])[:3], 6)  # rounding of the affines: 1e-12
    wanted = np.floor(centre - (np.array(shape) - 1) / 2 + 0.5).astype(int)
    inside = np.clip(wanted, 0, np.maximum(sizes - shape, 0))
    starts = np.where(sizes >= shape, inside, -((shape - sizes) // 2))
    x, y, z = map(int, starts)
    return Region((x, y, z), tuple(shape), found)


def share_inside(mask: np.ndarray, box: Region) -> float:
    """Share of the voxels of `mask` (x, y, z) that lie inside the region; NaN for an empty mask."""
    inside = mask[tuple(slice(max(s, 0), max(s + n, 0)) for s, n in zip(box.starts, box.shape, strict=True))]
    total = np.count_nonzero(mask)
    return np.count_nonzero(inside) / total if total else float("nan")
