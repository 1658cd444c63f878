"""What one iteration learns from: samples of one volume, drawn so that every class is in the middle equally often (paper).

An example has a leading axis of samples. Besides the arrays that a network sees, its inputs say where the voxels of each array
lie (`origin` and `step`, in mm from the middle of the sample), so that `augmentation` can move coarse and fine arrays by one
transform. All extents that networks see are multiples of 16; what is added there is -1 in images and 0 in labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.datasets import IGNORED
from shared.errors import InputError
from shared.learning.nested import Nested, mapped
from shared.learning.prepared import voxels_of
from shared.scans.preprocess import cut

MULTIPLE = 16  # of the extents that the networks take
AIR = -1.0  # the darkest value of an image in [-1, 1], and of the soft region


class Sampler:
    """Draws the middle of a sample in one prepared case: first its class, each as often as any other, then a voxel of it."""

    def __init__(self, path: Path) -> None:
        self.path, labels = path, voxels_of(path)["label"]
        self.shape = labels.shape
        self.counts = np.stack([np.bincount(labels[:, :, z].ravel(), minlength=IGNORED + 1) for z in range(labels.shape[2])])
        self.classes = np.flatnonzero(self.counts.sum(axis=0)[:IGNORED])
        if not self.classes.size:
            raise InputError(f"{path}: no voxel is annotated; leave the scan out")

    def middle(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """(x, y, z) of a voxel. A class that the volume lacks is not drawn."""
        value = rng.choice(self.classes)
        in_slices = self.counts[:, value]
        z = int(rng.choice(len(in_slices), p=in_slices / in_slices.sum()))
        places = np.flatnonzero(np.asarray(voxels_of(self.path)["label"][:, :, z]) == value)
        x, y = np.unravel_index(rng.choice(places), self.shape[:2])
        return int(x), int(y), z


class Wholes:
    """Step 1: the whole coarse volume. Inputs: image (1, x, y, z, 1) and its place; target: label (1, x, y, z)."""

    def __init__(self, paths: Sequence[Path], spacing_mm: float) -> None:
        self.paths, self.spacing_mm = tuple(paths), spacing_mm

    def __len__(self) -> int:
        return len(self.paths)

    def one(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        voxels = voxels_of(self.paths[position])
        whole = box([n // 2 for n in voxels.shape], voxels.shape, max(voxels.shape))
        return together([cube(voxels, *whole, self.spacing_mm)])


class Cubes:
    """Step 2, and the 3D U-Net: coarse cubes. Inputs: image (n, e, e, e, 1) and its place; target: label (n, e, e, e).

    Args:
        paths: of the coarse cases.
        spacing_mm: of their voxels.
        edges: the edge e is one of these, drawn for each example.
        cubes: n, for each edge.
    """

    def __init__(self, paths: Sequence[Path], spacing_mm: float, edges: Sequence[int], cubes: Sequence[int]) -> None:
        self.samplers, self.spacing_mm = [Sampler(path) for path in paths], spacing_mm
        self.sizes = list(zip(edges, cubes, strict=True))

    def __len__(self) -> int:
        return len(self.samplers)

    def one(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        sampler = self.samplers[position]
        edge, count = self.sizes[rng.integers(len(self.sizes))]
        boxes = [box(sampler.middle(rng), sampler.shape, edge) for _ in range(count)]
        return together([cube(voxels_of(sampler.path), *each, self.spacing_mm) for each in boxes])


class Joints:
    """Step 3: cubes of the fine volume as stacks of slices, each with the coarse cube about it; see `joint.build_joint`.

    Args:
        coarse, fine: paths of the cases on both grids.
        coarse_mm: of the coarse voxels.
        edges, cubes: see `Cubes`; edges count fine voxels.
        least: edge of the coarse cube, at least.
        slices: K.
        stacks: number of stacks per cube; their slices are drawn from those of the cube.
    """

    def __init__(self, coarse: Sequence[Path], fine: Sequence[Path], coarse_mm: float, edges: Sequence[int], cubes: Sequence[int],
                 least: int, slices: int, stacks: int) -> None:  # fmt: skip
        self.coarse, self.samplers, self.coarse_mm = tuple(coarse), [Sampler(path) for path in fine], coarse_mm
        self.sizes, self.least, self.slices, self.stacks = list(zip(edges, cubes, strict=True)), least, slices, stacks

    def __len__(self) -> int:
        return len(self.samplers)

    def one(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        edge, count = self.sizes[rng.integers(len(self.sizes))]
        return together([self.sample(position, edge, rng) for _ in range(count)])

    def sample(self, position: int, edge: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        sampler = self.samplers[position]
        fine, coarse = voxels_of(sampler.path), voxels_of(self.coarse[position])
        starts, shape = box(sampler.middle(rng), sampler.shape, edge)
        ratio = np.array(coarse.shape) / sampler.shape  # coarse voxels per fine voxel: both grids cover the same space

        def on_coarse(voxel: np.ndarray) -> np.ndarray:
            return (voxel + 0.5) * ratio - 0.5

        needed = max(self.least, int(np.ceil((np.array(shape) * ratio).max())) + 2)
        middle = np.round(on_coarse(np.array(starts) + (np.array(shape) - 1) / 2)).astype(int)
        cube_starts, cube_shape = box(middle.tolist(), coarse.shape, needed)
        seen, label = cube(coarse, cube_starts, cube_shape, self.coarse_mm)

        inside = np.arange(max(starts[2], 0), min(starts[2] + shape[2], sampler.shape[2]))
        chosen = rng.choice(inside, self.stacks, replace=len(inside) < self.stacks)
        images, labels = pairs([stack(fine, ("image",), int(z), self.slices, starts[:2], shape[:2]) for z in chosen])
        offsets = [on_coarse(np.array([*starts[:2], z - self.slices // 2])) - cube_starts for z in chosen]
        grid = np.array([np.stack([offset, ratio], axis=-1) for offset in offsets], np.float32)
        where = {
            "stack_origin": (seen["origin"] + np.array(offsets) * self.coarse_mm).astype(np.float32),
            "stack_step": np.repeat((ratio * self.coarse_mm)[None], len(chosen), axis=0).astype(np.float32),
        }
        return {**seen, **where, "stacks": images, "grid": grid}, {"net1": label, "net2": labels}


class Stacks:
    """Step 4: stacks of K slices with the cached soft region. Inputs: image (n, x, y, K, channels) and its place; target: label
    (n, x, y) of the central slices.

    Args:
        paths: of the fine cases, whose channels `regions` hold the soft region.
        spacings_mm: of the voxels of each case.
        regions: names of channels, which come before the image.
        slices: K.
        stacks: n.
        edge: of a square of each slice about the drawn voxel, in voxels; 0 takes whole slices.
    """

    def __init__(self, paths: Sequence[Path], spacings_mm: Sequence[Sequence[float]], regions: Sequence[str], slices: int,
                 stacks: int, edge: int) -> None:  # fmt: skip
        self.samplers, self.spacings_mm = [Sampler(path) for path in paths], spacings_mm
        self.channels, self.slices, self.stacks, self.edge = (*regions, "image"), slices, stacks, edge

    def __len__(self) -> int:
        return len(self.samplers)

    def one(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        return together([self.sample(position, rng) for _ in range(self.stacks)])

    def sample(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        sampler = self.samplers[position]
        middle = sampler.middle(rng)
        starts, shape = box(middle, sampler.shape, self.edge or max(sampler.shape))
        image, label = stack(voxels_of(sampler.path), self.channels, middle[2], self.slices, starts[:2], shape[:2])
        return {"image": image, **place((*shape[:2], self.slices), self.spacings_mm[position])}, label


def cube(
    voxels: np.ndarray, starts: Sequence[int], shape: Sequence[int], spacing_mm: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A box of a coarse case: image (x, y, z, 1) and its place; label (x, y, z)."""
    image = cut(voxels["image"], starts, shape, AIR)[..., None]
    return {"image": image, **place(shape, (spacing_mm,) * 3)}, cut(voxels["label"], starts, shape, 0)


def stack(
    voxels: np.ndarray, channels: Sequence[str], z: int, slices: int, starts: Sequence[int], shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """K slices about slice `z`, (x, y, K, channels), and the label (x, y) of slice `z`. Where the volume ends, its last slice is
    there again."""
    chosen = slices_about(z, slices, voxels.shape[2])
    slab = voxels[:, :, chosen[0] : chosen[-1] + 1]
    parts = [cut(slab[name], (*starts, 0), (*shape, slab.shape[2]), AIR)[:, :, chosen - chosen[0]] for name in channels]
    return np.stack(parts, axis=-1), cut(voxels["label"][:, :, z], starts, shape, 0)


def slices_about(z: int, slices: int, depth: int) -> np.ndarray:
    """The indices of K slices with `z` in the middle; where the volume ends, its last slice is there again."""
    return np.clip(np.arange(z - slices // 2, z + slices // 2 + 1), 0, depth - 1)


def multiple(extent: int) -> int:
    """The least extent that the networks take and that holds this one."""
    return -(-extent // MULTIPLE) * MULTIPLE


def box(middle: Sequence[int], extents: Sequence[int], edge: int) -> tuple[list[int], list[int]]:
    """Starts and shape of a cube of `edge` voxels about `middle`: inside the volume if it fits, else about its middle."""
    shape = [min(multiple(edge), multiple(n)) for n in extents]
    return [inside(m - n // 2, n, size) for m, n, size in zip(middle, shape, extents, strict=True)], shape


def inside(start: int, extent: int, size: int) -> int:
    """The start of a part of `extent` voxels, moved until it lies inside an axis of `size`; about its middle if it is longer."""
    return min(max(start, 0), size - extent) if extent <= size else -((extent - size) // 2)


def place(shape: Sequence[int], spacing_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """Where the voxels of an array lie: voxel i at `origin + step * i`, in mm from its middle."""
    step = np.asarray(spacing_mm, np.float32)
    return {"origin": (-(np.asarray(shape) - 1) / 2 * step).astype(np.float32), "step": step}


def pairs(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*found, strict=True)
    return np.stack(images), np.stack(labels)


def together(samples: Sequence[tuple[Nested, Nested]]) -> tuple[Nested, Nested]:
    """Samples with a leading axis."""
    return mapped(lambda *parts: np.stack(parts), *samples)
