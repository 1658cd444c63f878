"""Random transforms of a sample: rotation, translation, shear, scaling, flip, elastic deformation, on the accelerator (paper).

The host draws the parameters with a generator for each example. A transform maps places, in mm from the middle of the sample, so
it moves image and labels alike, and a coarse cube as the fine stacks in it. Stacks of slices need a transform that leaves every
slice where it is ("planar": about z only), since the slices above and below a stack are not there.

Images are interpolated linearly and labels by nearest neighbour; what enters from outside is air, or background.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.framework import Tensor, ops
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
        matrix (samples, 3, 3); shift (samples, 3), share of the extent; nodes (samples, g, g, g, 3), displacements in mm.
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
    return {"matrix": matrices.astype(np.float32), "shift": shifts.astype(np.float32), "nodes": nodes.astype(np.float32)}


def switched_off(recipe: Recipe) -> Recipe:
    """The recipe with transforms that move nothing."""
    return replace(recipe, rotation_deg=0.0, translation=0.0, shear_deg=0.0, scaling=0.0, flip=False, elastic_mm=0.0)


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
    images, places, extents = inputs["image"][0], (inputs["origin"][0], inputs["step"][0]), -2 * inputs["origin"][0]
    chosen = first(parameters, images.shape[0])
    return moved(images, *places, extents, chosen, AIR), moved_labels(labels[0], *places, extents, chosen)


def stacks(inputs: Mapping[str, Tensor], labels: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """An example of `sampling.Stacks` in a batch of one -> images (n, x, y, K, channels), labels (n, x, y) of central slices."""
    images, origin, step = inputs["image"][0], inputs["origin"][0], inputs["step"][0]
    chosen = first(parameters, images.shape[0])
    central = ops.stack([origin[:, 0], origin[:, 1], 0 * origin[:, 2]], axis=-1)
    found = moved_labels(labels[0][..., None], central, step, -2 * origin, chosen)
    return moved(images, origin, step, -2 * origin, chosen, AIR), found[..., 0]


def joint(inputs: Mapping[str, Tensor], labels: Mapping[str, Tensor], parameters: Parameters) -> tuple[Any, Any]:
    """An example of `sampling.Joints` in a batch of one -> inputs and targets of `joint.build_joint`."""
    image, seen, label, fine = inputs["image"][0], inputs["stacks"][0], labels["net1"][0], labels["net2"][0]
    count, slices = seen.shape[1], seen.shape[4]
    origin, step, extents = inputs["origin"][0], inputs["step"][0], -2 * inputs["origin"][0]
    chosen = first(parameters, image.shape[0])
    cube = moved(image, origin, step, extents, chosen, AIR)
    target = moved_labels(label, origin, step, extents, chosen)
    images, fines = [], []
    for s in range(count):
        start, each = inputs["stack_origin"][0][:, s], inputs["stack_step"][0][:, s]
        images.append(moved(seen[:, s], start, each, extents, chosen, AIR))
        central = start + each * np.array([0, 0, slices // 2], np.float32)
        fines.append(moved_labels(fine[:, s][..., None], central, each, extents, chosen)[..., 0])
    moved_inputs = {"cube": cube, "stacks": ops.stack(images, axis=1), "grid": inputs["grid"][0]}
    return moved_inputs, {"net1": target, "net2": ops.stack(fines, axis=1)}


def first(parameters: Parameters, samples: int) -> dict[str, Tensor]:
    """The parameters of that many samples, from a batch of one."""
    return {name: value[0][:samples] for name, value in parameters.items()}


def moved(
    images: Tensor, origin: Tensor, step: Tensor, extents: Tensor, parameters: Parameters, fill: float, order: int = 1
) -> Tensor:
    """Images (n, x, y, z, channels), each by its transform.

    Args:
        images: to move.
        origin, step: (n, 3), see `sampling.place`.
        extents: (n, 3) mm, that the shift is a share of and the nodes are spread over.
        parameters: of `draw`, for n samples.
        fill: what enters from outside.
        order: 0 nearest neighbour, 1 linear.
    """
    images, result = ops.cast(images, "float32"), []
    for i in range(images.shape[0]):
        each = {name: value[i] for name, value in parameters.items()}
        places = coordinates(images.shape[1:4], origin[i], step[i], extents[i], each)
        channels = [
            ops.image.map_coordinates(images[i, ..., c], places, order, "constant", fill) for c in range(images.shape[-1])
        ]
        result.append(ops.stack(channels, axis=-1))
    return ops.stack(result)


def moved_labels(labels: Tensor, origin: Tensor, step: Tensor, extents: Tensor, parameters: Parameters) -> Tensor:
    """Labels (n, x, y, z), each by its transform."""
    found = moved(labels[..., None], origin, step, extents, parameters, fill=0, order=0)
    return ops.cast(ops.round(found[..., 0]), "uint8")


def coordinates(shape: tuple[int, ...], origin: Tensor, step: Tensor, extent: Tensor, parameters: Parameters) -> Tensor:
    """(3, x, y, z): the place that each voxel takes its value from, in voxels."""
    axes = [origin[a] + step[a] * ops.arange(shape[a], dtype="float32") for a in range(3)]  # mm
    weights = [smooth(axes[a] / extent[a] + 0.5, parameters["nodes"].shape[a]) for a in range(3)]
    field = ops.einsum("ijkc,xi->xjkc", parameters["nodes"], weights[0])
    field = ops.einsum("xjkc,yj->xykc", field, weights[1])
    field = ops.einsum("xykc,zk->xyzc", field, weights[2])
    places = ops.stack(ops.meshgrid(*axes, indexing="ij"), axis=-1)
    places = ops.einsum("xyzb,ab->xyza", places, parameters["matrix"]) + parameters["shift"] * extent + field
    return ops.transpose((places - origin) / step, (3, 0, 1, 2))


def smooth(share: Tensor, nodes: int) -> Tensor:
    """Weights (n, nodes) of a cubic B-spline whose nodes are spread from 0 to 1, and whose outer nodes reach on outside."""
    at = ops.clip(share, 0, 1) * (nodes - 1)
    distance = ops.abs(at[:, None] - ops.arange(nodes, dtype="float32"))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = ops.relu(2 - distance) ** 3 / 6
    weights = ops.where(distance < 1, near, far)
    return weights / ops.sum(weights, axis=1, keepdims=True)
