"""The training database of Zheng 2018, section 2.5, made on the fly: beating variants of every labelled heart.

A prepared case is an array (size, size, n) of image and label (0 background, 1 wall, 2 LV cavity), slice 0 at the base end and
nothing labelled above the base. End-diastolic scans beat: their variants are one healthy and many infarcted motions (`motion`),
at any instant of the cycle. Scans of other phases, which ACDC has labelled too, are taken as they are (ours).
"""

from functools import lru_cache

import numpy as np

from propagation import masks
from propagation import predict as prediction
from propagation.beating import anatomy, infarcts, motion
from propagation.masks import CAVITY, WALL
from propagation.stack import STEP, network_input
from shared.errors import InputError
from shared.learning.examples import EXAMPLE, Examples, voxels_of

KEPT = 256  # motions in memory


class Database(Examples):
    """One example for every prepared case, variant and instant; which slices it shows is drawn anew each time. Subclasses say
    what `drawn(rng, case, variant, instant)` is.

    Args:
        paths: of the prepared cases.
        beating: for each, whether it is an end-diastolic scan.
        seed: of order, draws and variants.
        spacing_mm: of the isotropic voxels.
        variants: of every subject; the first is healthy.
        instants: of a cycle.
        used: how many of them are, around end-diastole.

    Raises:
        InputError: a case without a heart that can be moved, or with too few slices below the base.
    """

    def __init__(self, paths, beating, seed, *, spacing_mm, variants, instants, used):
        super().__init__(paths, seed)
        self.spacing_mm, self.variants, self.instants, self.used = (spacing_mm,) * 3, variants, instants, used
        labels = [voxels_of(path)["label"] for path in self.paths]
        self.bases = [first_labelled(label, path) for label, path in zip(labels, self.paths, strict=True)]
        self.hearts = [
            heart_of(label, self.spacing_mm, path) if beats else None
            for label, path, beats in zip(labels, self.paths, beating, strict=True)
        ]
        self._motion = lru_cache(maxsize=KEPT)(self.motion)

    def __len__(self):
        return len(self.paths) * self.variants * self.used

    def example(self, epoch, index):
        """What the network sees (x, y, channels) float32 and the walls it should find (x, y, masks) uint8."""
        shape = len(self.paths), self.variants, self.used
        case, variant, instant = (int(i) for i in np.unravel_index(self._order(epoch)[index], shape))
        return self.drawn(self.rng(EXAMPLE, epoch, index), case, variant, instant - self.used // 2)

    def motion(self, case, variant):
        return motion.Motion(self.hearts[case], infarcts.variant(variant, (self.seed, case)))

    def slices(self, case, variant, instant, chosen):
        """Image float32 and wall uint8, both (x, y, len(chosen)), of the slices `chosen`."""
        voxels = voxels_of(self.paths[case])
        if self.hearts[case] is None or instant == 0:
            part = voxels[:, :, chosen]
            return np.ascontiguousarray(part["image"]), (part["label"] == WALL).astype(np.uint8)
        beat = self._motion(case, variant)
        tau = motion.activation(instant, self.instants, beat.variant.peak)
        grid = motion.inverse_grid(beat, tau, voxels.shape, self.spacing_mm, chosen)
        image, wall = motion.deformed(voxels["image"], voxels["label"] == WALL, grid)
        return image, wall.astype(np.uint8)


class Slices(Database):
    """For the initialization network: one slice (x, y, 1) and its wall (x, y, 1).

    Args:
        margin: share of the slices below the base that is left out at the base and at the apex.
        **options: of `Database`.
    """

    def __init__(self, paths, beating, seed, *, margin, **options):
        super().__init__(paths, beating, seed, **options)
        self.margin = margin

    def drawn(self, rng, case, variant, instant):
        below = self.shapes[case][2] - self.bases[case]
        left_out = int(below * self.margin)
        z = self.bases[case] + int(rng.integers(left_out, below - left_out))
        return self.slices(case, variant, instant, [z])


class Steps(Database):
    """For the propagation network: a slice, its wall and the next four slices (x, y, 6), and the walls of those (x, y, 4).

    Up or down, from any slice that has four more below the base in that direction; the input mask is the reference's (ours).

    Args:
        mask_lag: use the mask of a slice up to this many slices back, to imitate masks that lag when they are carried.
        **options: of `Database`.
    """

    def __init__(self, paths, beating, seed, *, mask_lag, **options):
        super().__init__(paths, beating, seed, **options)
        self.mask_lag = mask_lag

    def drawn(self, rng, case, variant, instant):
        base, last = self.bases[case], self.shapes[case][2] - 1
        z, direction = int(rng.integers(base, last - STEP + 1)), 1
        if rng.random() < 0.5:
            z, direction = base + last - z, -1
        lagging = int(np.clip(z - direction * rng.integers(self.mask_lag + 1), base, last))
        image, wall = self.slices(case, variant, instant, [lagging, *(z + direction * k for k in range(STEP + 1))])
        return network_input(image[..., 1], wall[..., 0], image[..., 2:]), wall[..., 2:]


def first_labelled(label, path):
    """The base of a prepared case."""
    labelled = np.flatnonzero((label > 0).any(axis=(0, 1)))
    if not labelled.size or label.shape[2] - labelled[0] < STEP + 1:
        raise InputError(f"{path}: expected at least {STEP + 1} slices from the base on, with a heart in them")
    return int(labelled[0])


def heart_of(label, spacing_mm, path):
    cavity = label == CAVITY
    try:
        return anatomy.heart_of(label == WALL, spacing_mm, cavity if cavity.any() else None)
    except InputError as error:
        raise InputError(f"{path}: no heart that could be moved ({error})") from error


def prepared(case, recipe):
    """Image and label (size, size, n) of a labelled case, about its heart: what `database` wants.

    Raises:
        InputError: as `masks.load` and `predict.prepare`; no wall below the base.
    """
    labelled = masks.load(case, recipe.rv_wall_mm)
    x, y, _ = np.nonzero(labelled.wall.array)
    if not x.size:
        raise InputError(f"{case.label}: no wall below the base; leave the scan out")
    centre = x.mean(), y.mean()
    image = prediction.prepare(labelled.scan, recipe, centre)
    label = np.zeros(image.array.shape, np.uint8)
    for value in (CAVITY, WALL):
        part = labelled.classes.with_array((labelled.classes.array == value).astype(np.float32))
        label[prediction.square(prediction.isotropic(part, recipe), labelled.scan, recipe, centre).array >= 0.5] = value
    label[..., : prediction.slice_of_base(labelled.scan, labelled.base, image)] = 0
    return image.array, label
