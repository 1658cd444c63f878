"""The training database of Zheng 2018, section 2.5, made on the fly: beating variants of every labelled heart.

A prepared case is an array (size, size, n) of image and label (0 background, 1 wall, 2 LV cavity), slice 0 at the base end and
nothing labelled above the base. End-diastolic scans beat: their variants are one healthy and many infarcted motions (`motion`),
at any instant of the cycle. Scans of other phases, which ACDC has labelled too, are taken as they are (ours).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from propagation import masks
from propagation import predict as prediction
from propagation.beating import anatomy, infarcts, motion
from propagation.masks import CAVITY, WALL
from propagation.recipe import Preparation
from propagation.stack import STEP, network_input
from shared.datasets import Case
from shared.errors import InputError
from shared.learning.prepared import voxels_of

KEPT = 256  # motions in memory


class Database:
    """One example for every prepared case, variant and instant. Subclasses say in `one` which slices of it are shown.

    Args:
        paths: of the prepared cases.
        beating: for each, whether it is an end-diastolic scan.
        seed: of the infarcted variants.
        spacing_mm: of the isotropic voxels.
        variants: of every subject; the first is healthy.
        instants: of a cycle.
        used: how many of the instants are examples, around end-diastole.

    Raises:
        InputError: a case without a heart that can be moved, or with too few slices below the base.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        beating: Sequence[bool],
        seed: int,
        *,
        spacing_mm: float,
        variants: int,
        instants: int,
        used: int,
    ) -> None:
        self.paths, self.seed, self.spacing_mm = tuple(paths), seed, (spacing_mm,) * 3
        self.variants, self.instants, self.used = variants, instants, used
        labels = [voxels_of(path)["label"] for path in self.paths]
        self.bases = [first_labelled(label, path) for label, path in zip(labels, self.paths, strict=True)]
        self.depths = [label.shape[2] for label in labels]
        self.hearts = [
            heart_of(label, self.spacing_mm, path) if beats else None
            for label, path, beats in zip(labels, self.paths, beating, strict=True)
        ]
        self._beat = lru_cache(maxsize=KEPT)(self.beat)

    def __len__(self) -> int:
        return len(self.paths) * self.variants * self.used

    def place(self, position: int) -> tuple[int, int, int]:
        """Case, variant, and instant (0 is end-diastole) of the example at `position`."""
        case, variant, instant = np.unravel_index(position, (len(self.paths), self.variants, self.used))
        return int(case), int(variant), int(instant) - self.used // 2

    def beat(self, case: int, variant: int) -> motion.Motion:
        heart = self.hearts[case]
        assert heart is not None, "only end-diastolic scans beat"
        return motion.Motion(heart, infarcts.variant(variant, (self.seed, case)))

    def slices(self, case: int, variant: int, instant: int, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image float32 and wall uint8, both (x, y, len(chosen)), of the slices `chosen`."""
        voxels = voxels_of(self.paths[case])
        if self.hearts[case] is None or instant == 0:
            part = voxels[:, :, chosen]
            return np.ascontiguousarray(part["image"]), (part["label"] == WALL).astype(np.uint8)
        beat = self._beat(case, variant)
        tau = motion.activation(instant, self.instants, beat.variant.peak)
        grid = motion.inverse_grid(beat, tau, voxels.shape, self.spacing_mm, chosen)
        image, wall = motion.deformed(voxels["image"], voxels["label"] == WALL, grid)
        return image, wall.astype(np.uint8)


class Slices(Database):
    """For the initialization network: one slice (x, y, 1) float32 and its wall (x, y, 1) uint8.

    Args:
        margin: fraction of the slices below the base that is left out at the base and again at the apex.
        **options: see `Database`.
    """

    def __init__(self, paths: Sequence[Path], beating: Sequence[bool], seed: int, *, margin: float, **options: Any) -> None:
        super().__init__(paths, beating, seed, **options)
        self.margin = margin

    def one(self, position: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        case, variant, instant = self.place(position)
        below = self.depths[case] - self.bases[case]
        left_out = int(below * self.margin)
        z = self.bases[case] + int(rng.integers(left_out, below - left_out))
        return self.slices(case, variant, instant, [z])


class Steps(Database):
    """For the propagation network: a slice, its wall and the next four slices (x, y, 6) float32, and the walls of these four
    (x, y, 4) uint8.

    The step goes up or down, from any slice that has four more below the base in that direction; the input mask is the
    reference's (ours).

    Args:
        mask_lag: use the mask of a slice up to this many slices back, to imitate masks that lag when they are carried.
        **options: see `Database`.
    """

    def __init__(self, paths: Sequence[Path], beating: Sequence[bool], seed: int, *, mask_lag: int, **options: Any) -> None:
        super().__init__(paths, beating, seed, **options)
        self.mask_lag = mask_lag

    def one(self, position: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        case, variant, instant = self.place(position)
        base, last = self.bases[case], self.depths[case] - 1
        z, direction = int(rng.integers(base, last - STEP + 1)), 1
        if rng.random() < 0.5:
            z, direction = base + last - z, -1
        lagging = int(np.clip(z - direction * rng.integers(self.mask_lag + 1), base, last))
        image, wall = self.slices(case, variant, instant, [lagging, *(z + direction * k for k in range(STEP + 1))])
        return network_input(image[..., 1], wall[..., 0], image[..., 2:]), wall[..., 2:]


def first_labelled(label: np.ndarray, path: Path) -> int:
    """The slice of the base of a prepared case."""
    labelled = np.flatnonzero((label > 0).any(axis=(0, 1)))
    if not labelled.size or label.shape[2] - labelled[0] < STEP + 1:
        raise InputError(f"{path}: expected at least {STEP + 1} slices from the base on, with a heart in them")
    return int(labelled[0])


def heart_of(label: np.ndarray, spacing_mm: tuple[float, float, float], path: Path | None) -> anatomy.Heart:
    cavity = label == CAVITY
    try:
        return anatomy.heart_of(label == WALL, spacing_mm, cavity if cavity.any() else None)
    except InputError as error:
        raise InputError(f"{path}: no heart that could be moved ({error})") from error


def prepared(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    """Channels image and label (size, size, n) of a labelled case, about its heart, for `shared.learning.prepared.store`.

    Raises:
        InputError: see `masks.load` and `predict.prepare`; no wall below the base.
    """
    labelled = masks.load(case, preparation.rv_wall_mm)
    x, y, _ = np.nonzero(labelled.wall.array)
    if not x.size:
        raise InputError(f"{case.label}: no wall below the base; leave the scan out")
    centre = np.array([x.mean(), y.mean()])
    image = prediction.prepare(labelled.scan, preparation, centre)
    label = np.zeros(image.array.shape, np.uint8)
    for value in (CAVITY, WALL):
        part = labelled.classes.with_array((labelled.classes.array == value).astype(np.float32))
        label[prediction.square(prediction.isotropic(part, preparation), labelled.scan, preparation, centre).array >= 0.5] = value
    label[..., : prediction.slice_of_base(labelled.scan, labelled.base, image)] = 0
    return {"image": image.array, "label": label}
