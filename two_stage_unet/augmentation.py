"""Random transforms of a sample: rotation, translation, shear, scaling, flip, elastic deformation, on the accelerator (paper);
and, where a recipe asks for it, gamma correction of the image (ours).

The host draws the parameters with a generator for each example. A transform maps places, in mm from the middle of the sample, so
it moves image and labels alike, and a coarse cube as the fine stacks in it. Stacks of slices need a transform that leaves every
slice where it is ("planar": about z only), since the slices above and below a stack are not there.

Images are interpolated linearly and labels by nearest neighbour; what enters from outside is air, or background.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.framework import Tensor, ops
from shared.learning import augment
from shared.recipes import replace
from two_stage_unet.recipe import Recipe
from two_stage_unet.sampling import AIR

Parameters = Mapping[str, Any]


def draw(rng: np.random.Generator, recipe: Recipe, samples: int, planar: bool) -> dict[str, np.ndarray]:
    """Parameters of `samples` transforms.

    Args:
        rng: draws them.
        recipe: with the ranges.
        samples: how many, at least as many as an example has.
        planar: leave every slice where it is.

    Returns:
        matrix (samples, 3, 3); shift (samples, 3), share of the extent; nodes (samples, g, g, g, 3), displacements in mm; gamma
        (samples,), exponents.
    """
    axes = 2 if planar else 3
    matrices = np.repeat(np.eye(3)[None], samples, axis=0)
    shifts = np.zeros((samples, 3))
    shifts[:, :axes] = rng.uniform(-recipe.translation, recipe.translation, (samples, axes))
    grid = (recipe.elastic_nodes,) * 3
    nodes = np.zeros((samples, *grid, 3))
    nodes[..., :axes] = rng.normal(0, recipe.elastic_mm, (samples, *grid[:2], 1 if planar else grid[2], axes))
    for matrix in matrices:
        for first, second in ((0, 1),) if planar else ((0, 1), (0, 2), (1, 2)):
            matrix[:] = turned(first, second, rng.uniform(-1, 1) * np.deg2rad(recipe.rotation_deg)) @ matrix
            matrix[:] = sheared(first, second, np.tan(rng.uniform(-1, 1) * np.deg2rad(recipe.shear_deg))) @ matrix
        matrix[:axes] /= rng.uniform(1 - recipe.scaling, 1 + recipe.scaling)
        axis = rng.integers(axes)
        if recipe.flip and rng.random() < 0.5:
            matrix[:, axis] *= -1
    drawn = {"matrix": matrices, "shift": shifts, "nodes": nodes, "gamma": augment.draw_gamma(rng, recipe.gamma, samples)}
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def switched_off(recipe: Recipe) -> Recipe:
    """The recipe with transforms that change nothing."""
    return replace(
        recipe,
        rotation_deg=0.0,
        translation=0.0,
        shear_deg=0.0,
        scaling=0.0,
        flip=False,
        elastic_mm=0.0,
        gamma=(1.0, 1.0),
    )


def turned(first: int, second: int, angle: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def sheared(first: int, second: int, slope: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[first, second] = slope
    return matrix


def cubes(inputs: Mapping[str, Tensor], labels: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """An example of `sampling.Wholes` or `sampling.Cubes` in a batch of one -> images (n, x, y, z, 1), labels (n, x, y, z)."""
    image, origin, step = inputs["image"][0], inputs["origin"][0], inputs["step"][0]
    chosen = first(parameters, image.shape[0])
    places = sources(image.shape[1:4], origin, step, -2 * origin, chosen)
    return corrected(interpolated(image, places, AIR), chosen["gamma"]), nearest(labels[0], places)


def stacks(inputs: Mapping[str, Tensor], labels: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """An example of `sampling.Stacks` in a batch of one -> images (n, x, y, K, channels), labels (n, x, y) of central slices."""
    image, origin, step = inputs["image"][0], inputs["origin"][0], inputs["step"][0]
    return moved_in_plane(image, labels[0], origin, step, -2 * origin, first(parameters, image.shape[0]))


def joint(inputs: Mapping[str, Tensor], labels: Mapping[str, Tensor], parameters: Parameters) -> tuple[Any, Any]:
    """An example of `sampling.Joints` in a batch of one -> inputs and targets of `joint.build_joint`."""
    cube, coarse = cubes(inputs, labels["net1"], parameters)
    seen, fine = inputs["stacks"][0], labels["net2"][0]  # (n, S, x, y, K, 1), (n, S, x, y)
    count, stacks_each = seen.shape[:2]

    def per_stack(values: Tensor) -> Tensor:
        """Values of each cube (n, ...), once for each of its stacks (n S, ...)."""
        return ops.repeat(values, stacks_each, axis=0)

    def as_one(values: Tensor) -> Tensor:
        """(n, S, ...) as (n S, ...)."""
        return ops.reshape(values, (count * stacks_each, *values.shape[2:]))

    chosen = {name: per_stack(value) for name, value in first(parameters, count).items()}
    where = as_one(inputs["stack_origin"][0]), as_one(inputs["stack_step"][0])
    images, targets = moved_in_plane(as_one(seen), as_one(fine), *where, per_stack(-2 * inputs["origin"][0]), chosen)
    moved_inputs = {"cube": cube, "stacks": ops.reshape(images, seen.shape), "grid": inputs["grid"][0]}
    return moved_inputs, {"net1": coarse, "net2": ops.reshape(targets, fine.shape)}


def first(parameters: Parameters, samples: int) -> dict[str, Tensor]:
    """The parameters of that many samples, from a batch of one."""
    return {name: value[0][:samples] for name, value in parameters.items()}


def moved_in_plane(
    images: Tensor, labels: Tensor, origin: Tensor, step: Tensor, extents: Tensor, parameters: Parameters
) -> tuple[Tensor, Tensor]:
    """Images (n, x, y, K, channels) and labels (n, x, y), each by its planar transform, which is that of all of its slices."""
    n, x, y, *rest = images.shape
    planar = {
        "matrix": parameters["matrix"][:, :2, :2],
        "shift": parameters["shift"][:, :2],
        "nodes": parameters["nodes"][:, :, :, 0, :2],
    }
    places = sources((x, y), origin[:, :2], step[:, :2], extents[:, :2], planar)
    moved = ops.reshape(interpolated(ops.reshape(images, (n, x, y, -1)), places, AIR), (n, x, y, *rest))
    return corrected(moved, parameters["gamma"]), nearest(labels, places)


def corrected(images: Tensor, gamma: Tensor) -> Tensor:
    """Gamma correction of images (n, ..., channels), whose last channel holds grey values in [-1, 1], by exponents (n,)."""
    grey = 2 * augment.gamma((images[..., -1:] + 1) / 2, gamma) - 1
    return ops.concatenate([images[..., :-1], grey], axis=-1)


def sources(shape: Sequence[int], origin: Tensor, step: Tensor, extents: Tensor, parameters: Parameters) -> Tensor:
    """Where each voxel takes its value from, (n, *shape, d) in voxels, in d = 2 or 3 dimensions.

    Args:
        shape: of the images.
        origin, step: (n, d), see `sampling.place`.
        extents: (n, d) mm, that the shift is a share of and the nodes are spread over.
        parameters: of `draw`, for n samples and these dimensions.
    """
    voxels = np.moveaxis(np.indices(shape, np.float32), 0, -1)  # (*shape, d)
    mm = spread(origin, shape) + spread(step, shape) * voxels
    field = parameters["nodes"]  # (n, g, g, g, 3): the first grid axis becomes one of voxels and goes to the back, d times
    for a, extent in enumerate(shape):
        axis = origin[:, a, None] + step[:, a, None] * np.arange(extent, dtype=np.float32)
        field = ops.einsum("ng...,nig->n...i", field, smooth(axis / extents[:, a, None] + 0.5, field.shape[1]))
    moved = ops.einsum("n...b,nab->n...a", mm, parameters["matrix"]) + ops.moveaxis(field, 1, -1)
    return (moved + spread(parameters["shift"] * extents - origin, shape)) / spread(step, shape)


def spread(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Values (n, ...) with an axis of one for each axis of `shape`, (n, 1, 1, ...)."""
    return ops.reshape(values, (values.shape[0], *(1 for _ in shape), *values.shape[1:]))


def interpolated(images: Tensor, places: Tensor, fill: float) -> Tensor:
    """Multilinear interpolation of images (n, *extents, channels) at `places` (n, *shape, d); outside lies `fill`."""
    images, found = ops.cast(images, "float32") - fill, 0.0
    low, sides = ops.floor(places), []
    for a, extent in enumerate(images.shape[1:-1]):
        share, first_voxel = places[..., a] - low[..., a], ops.cast(low[..., a], "int32")
        sides.append((within(first_voxel, extent, 1 - share), within(first_voxel + 1, extent, share)))
    for corner in itertools.product(*sides):
        voxels, weights = zip(*corner, strict=True)
        found = found + gathered(images, voxels) * math.prod(weights[1:], start=weights[0])[..., None]
    return found + fill


def nearest(labels: Tensor, places: Tensor) -> Tensor:
    """Labels (n, *extents) at the voxels nearest to `places` (n, *shape, d), as uint8; outside lies background."""
    rounded = ops.cast(ops.round(places), "int32")
    sides = [within(rounded[..., a], extent, 1.0) for a, extent in enumerate(labels.shape[1:])]
    voxels, weights = zip(*sides, strict=True)
    values = gathered(ops.cast(labels, "float32")[..., None], voxels)[..., 0]
    return ops.cast(values * math.prod(weights[1:], start=weights[0]), "uint8")


def within(voxels: Tensor, extent: int, weights: Tensor | float) -> tuple[Tensor, Tensor]:
    """Indices along an axis of `extent` voxels, those outside moved onto it, and the weights, which are 0 for those."""
    inside = (voxels >= 0) & (voxels < extent)
    return ops.clip(voxels, 0, extent - 1), ops.where(inside, weights, 0.0)


def gathered(images: Tensor, voxels: Sequence[Tensor]) -> Tensor:
    """The values (n, *shape, channels) of images (n, *extents, channels) at `voxels`, indices (n, *shape) along each axis."""
    n, *extents, channels = images.shape
    rows = ops.reshape(ops.arange(n, dtype="int32"), (n, *(1 for _ in extents)))
    for extent, indices in zip(extents, voxels, strict=True):
        rows = rows * extent + indices
    return ops.take(ops.reshape(images, (-1, channels)), rows, axis=0)


def smooth(share: Tensor, nodes: int) -> Tensor:
    """Weights (..., nodes) of a cubic B-spline whose nodes are spread from 0 to 1, and whose outer nodes reach on outside."""
    at = ops.clip(share, 0, 1) * (nodes - 1)
    distance = ops.abs(at[..., None] - ops.arange(nodes, dtype="float32"))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = ops.relu(2 - distance) ** 3 / 6
    weights = ops.where(distance < 1, near, far)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
