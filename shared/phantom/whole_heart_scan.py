"""Pictures of a whole heart in its chest: contrast-enhanced CT in HU, or MR with bright blood and suppressed fat; and its labels.

A scan is drawn on any grid, so that its axes may have any order, sign and tilt. Voxels are nearly cubes. All numbers are ours,
chosen to look like usual scans.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shared.errors import InputError
from shared.phantom.shapes import noise
from shared.phantom.whole_heart import STRUCTURES, Points, Shapes, WholeHeart, rotation
from shared.phantom.whole_heart_chest import Chest
from shared.scans.postprocess import largest_components
from shared.scans.volume import RAS_FROM_LPS, Volume

VALUES = dict(zip(STRUCTURES, (500, 205, 600, 420, 550, 820, 850), strict=True))  # of MM-WHS
FIELD_MM = np.array((212.0, 202.0, 182.0))  # left-right, front-back, foot-head
CENTRE_MM = np.array((0.0, 0.0, 7.0))  # of the field, from the base of the left ventricle
WALLS_MM = {"RV": 3, "RA": 2, "LA": 2, "AA": 1.8, "PA": 1.5, "arch": 1.8, "arteries": 1, "veins": 1}
TRABECULAE = 0.75  # how dark the muscle within the ventricles gets, as a part of the way from blood to muscle
MIXED = ("RA", "RV", "veins")  # where contrast agent and fresh blood meet
SMALLEST_MM, LARGEST_MM = 0.4, 4.0
SLAB = 6  # slices that are drawn at once: their arrays fit into a processor's cache
# The directions of the three array axes; L is the patient's left, P backwards, S up, and R, A, I are their opposites.
AXES = ("LPS", "RPI", "PIL", "LIP")  # axial as most CT, axial and mirrored, sagittal, coronal
TILTED = 3  # the last of these orders is oblique too
DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
MODALITIES = ("ct", "mr")


@dataclass(frozen=True)
class Contrast:
    """How bright things are: in HU, or relative to the blood in MR.

    Attributes:
        tissues: by the names with which `Chest` paints.
        blood: by the structures and vessels of `whole_heart`; "Myo" is the muscle.
        speckle: deviation of fine texture in tissue.
    """

    tissues: Mapping[str, float]
    blood: Mapping[str, float]
    speckle: float


def render_whole_heart(number: int, modality: str, seed: int = 0, spacing_mm: float = 1.2) -> tuple[Volume, Volume]:
    """Image (int16) and label map (uint16, the values of MM-WHS) of patient `number`. The patients of CT and MR are others.

    The order and direction of the axes follow from the number: see `axes_of`.

    Args:
        number: from 1.
        modality: "ct" or "mr".
        seed: another seed makes other patients.
        spacing_mm: voxel size in the plane of the slices, which are up to 1.35 times as thick.

    Raises:
        InputError: another modality, or voxels that are too small or too large.
    """
    if modality not in MODALITIES:
        raise InputError(f"expected a modality of {', '.join(MODALITIES)}, found {modality!r}")
    if not SMALLEST_MM <= spacing_mm <= LARGEST_MM:
        raise InputError(f"expected voxels of {SMALLEST_MM} to {LARGEST_MM:g} mm, found {spacing_mm:g}")
    random = np.random.default_rng((seed, number, 11 + MODALITIES.index(modality)))
    heart, chest = WholeHeart(random), Chest(random)
    grid = _Grid(random, axes_of(number, random), spacing_mm)
    contrast = ct_contrast(random) if modality == "ct" else mr_contrast(random)
    scene = _Scene(heart, chest, contrast, grid, random)
    signal, classes = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.uint8)
    for first in range(0, grid.shape[2], SLAB):
        part = slice(first, min(first + SLAB, grid.shape[2]))
        signal[..., part], classes[..., part] = scene.slab(part)
    labels = np.array([0, *VALUES.values()], np.uint16)[largest_components(classes)]
    finish = _ct if modality == "ct" else _mr
    return grid.volume(finish(signal, grid, random)), grid.volume(labels)


def axes_of(number: int, random: np.random.Generator) -> np.ndarray:
    """Unit vectors (3, 3), one per column, along which the array of patient `number` runs: x to the left, y backwards, z up.

    Four patients in a row are axial, axial and mirrored, sagittal, and coronal and oblique.
    """
    kind = (number - 1) % len(AXES)
    axes = np.array([DIRECTIONS[letter] for letter in AXES[kind]], float).T
    if kind != TILTED:
        return axes
    return rotation(*(random.uniform(6, 16, 3) * random.choice((-1, 1), 3)).tolist()) @ axes


class _Grid:
    """The voxels of one scan."""

    def __init__(self, random: np.random.Generator, axes: np.ndarray, spacing_mm: float) -> None:
        self.axes = axes
        self.spacing_mm = np.array((1, 1, random.uniform(1, 1.35))) * spacing_mm
        field_mm = FIELD_MM[np.abs(axes).argmax(axis=0)] * random.uniform(0.97, 1.05, 3)
        x, y, z = np.round(field_mm / self.spacing_mm).astype(int).tolist()
        self.shape = x, y, z
        half = (np.array(self.shape) - 1) / 2 * self.spacing_mm
        self.first_mm = CENTRE_MM + random.uniform(-6, 6, 3) - axes @ half  # of voxel (0, 0, 0)
        self.scanner_mm = random.uniform(-120, 120, 3)  # what the scanner calls the base of the ventricle

    def points(self, slices: slice) -> Points:
        """x, y, z in mm of the voxels of some slices."""
        steps = self.axes * self.spacing_mm
        ranges = (range(self.shape[0]), range(self.shape[1]), range(slices.start, slices.stop))
        i, j, k = np.ix_(*(np.array(each, np.float32) for each in ranges))
        x, y, z = (
            np.float32(o) + i * np.float32(a) + j * np.float32(b) + k * np.float32(c)
            for o, (a, b, c) in zip(self.first_mm, steps, strict=True)
        )
        return x, y, z

    def volume(self, array: np.ndarray) -> Volume:
        affine = np.eye(4)
        affine[:3, :3] = RAS_FROM_LPS @ self.axes * self.spacing_mm
        affine[:3, 3] = RAS_FROM_LPS @ (self.first_mm + self.scanner_mm)
        x, y, z = self.spacing_mm.tolist()
        return Volume(array, (x, y, z), affine)


class _Scene:
    """What a scan sees, slab by slab."""

    def __init__(self, heart: WholeHeart, chest: Chest, contrast: Contrast, grid: _Grid, random: np.random.Generator) -> None:
        self.heart, self.chest, self.contrast, self.grid = heart, chest, contrast, grid
        self.grain, self.clouds = (noise(random, grid.shape, (size_mm / grid.spacing_mm).tolist()) for size_mm in (1.8, 8))
        self.edge_mm = float(grid.spacing_mm.max())

    def slab(self, slices: slice) -> tuple[np.ndarray, np.ndarray]:
        """Signal, and classes (0, or 1 + the place in STRUCTURES), of some slices."""
        at = self.grid.points(slices)
        grain, clouds = self.grain[..., slices], self.clouds[..., slices]
        shapes, of = self.heart.shapes(*at), self.contrast
        blood = {**shapes.vessels, **{name: shapes.cavities[name] for name in STRUCTURES if name != "Myo"}}
        near = np.abs(at[0]) - 40  # fat lies around vessels as far as the roots of the lungs
        everything = np.minimum.reduce([shapes.epicardium, *(np.maximum(each, near) for each in blood.values())])
        canvas = np.full(clouds.shape, of.tissues["air"], np.float32)

        def paint(distance: np.ndarray, value: float | np.ndarray) -> None:
            nonlocal canvas
            canvas += np.clip(0.5 - distance / self.edge_mm, 0, 1) * (value - canvas)

        def tissue(distance: np.ndarray, name: str) -> None:
            vessels = np.clip(3 * (grain - 1.9), 0, 0.7) * (of.blood["veins"] - of.tissues["lung"]) if name == "lung" else 0
            fibres = of.speckle * clouds if name in ("muscle", "liver", "marrow", "fat") else 0
            paint(distance, of.tissues[name] + vessels + fibres)

        self.chest.paint(tissue, at, everything, clouds)
        muscle = of.blood["Myo"] + of.speckle * clouds
        for name, wall_mm in WALLS_MM.items():
            paint(blood[name] - wall_mm, muscle)
        paint(shapes.epicardium, muscle)
        for name, distance in blood.items():
            paint(distance, of.blood[name] + self._flow(name, distance, grain, clouds))
        paint(np.maximum(shapes.papillary, shapes.cavities["LV"] + 1), of.blood["Myo"])
        return canvas, _classes(shapes)

    def _flow(self, name: str, distance: np.ndarray, grain: np.ndarray, clouds: np.ndarray) -> np.ndarray:
        """What mixing and trabeculae add to the signal of blood."""
        of = self.contrast
        muscle = of.blood["Myo"] - of.blood[name]
        if name in ("LV", "RV"):
            depth_mm = 9 if name == "RV" else 5  # trabeculae lie along the wall
            rough = np.clip(1.6 * (grain - 0.4), 0, 1) * np.clip(1 + distance / depth_mm, 0, 1)
        else:
            rough = np.zeros_like(grain)
        mixing = 0.12 if name in MIXED else 0.03
        return (TRABECULAE * rough - mixing * clouds) * muscle


def _classes(shapes: Shapes) -> np.ndarray:
    inside = np.stack([shapes.cavities[name] < 0 for name in STRUCTURES])
    return np.where(inside.any(axis=0), 1 + inside.argmax(axis=0), 0).astype(np.uint8)


def ct_contrast(random: np.random.Generator) -> Contrast:
    """HU of an angiography: most of the contrast agent is in the left heart."""
    left, right, lung_artery = random.uniform(330, 450), random.uniform(0.48, 0.7), random.uniform(0.7, 0.9)
    tissues = {"air": -1000, "lung": random.uniform(-860, -800), "fat": -95, "soft": 40, "muscle": 55, "liver": 95, "marrow": 230,
               "bone": 680, "fluid": 15}  # fmt: skip
    blood = {"LV": left, "LA": 1.02 * left, "AA": left, "arch": 0.98 * left, "coronaries": 0.85 * left,
             "RV": right * left, "RA": 0.95 * right * left, "PA": lung_artery * left, "arteries": lung_artery * left,
             "veins": 0.85 * left, "Myo": random.uniform(90, 125)}  # fmt: skip
    return Contrast(tissues, blood, speckle=8)


def mr_contrast(random: np.random.Generator) -> Contrast:
    """Signal of a steady-state sequence with T2 preparation and fat suppression, relative to the blood of the left heart."""
    blood_right = random.uniform(0.82, 0.97)
    tissues = {"air": 0.01, "lung": 0.07, "fat": random.uniform(0.12, 0.24), "soft": 0.3, "muscle": 0.24, "liver": 0.33,
               "marrow": 0.2, "bone": 0.05, "fluid": 0.85}  # fmt: skip
    blood = {"LV": 1, "LA": 0.97, "AA": 0.98, "arch": 0.9, "coronaries": 0.8, "RV": blood_right, "RA": 0.98 * blood_right,
             "PA": 0.95 * blood_right, "arteries": 0.9 * blood_right, "veins": 0.85,
             "Myo": random.uniform(0.3, 0.4)}  # fmt: skip
    return Contrast(tissues, blood, speckle=0.03)


def _ct(signal: np.ndarray, grid: _Grid, random: np.random.Generator) -> np.ndarray:
    """Blurred by the scanner, with noise of some 20 HU, as int16."""
    blurred = ndimage.gaussian_filter(signal, 0.7 / grid.spacing_mm)
    blurred += random.uniform(15, 26) * noise(random, grid.shape, 0.6)
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)


def _mr(signal: np.ndarray, grid: _Grid, random: np.random.Generator) -> np.ndarray:
    """Blurred, brighter near the coil in front, with Rician noise, as int16."""
    blurred = ndimage.gaussian_filter(signal, 0.9 / grid.spacing_mm)
    fall = random.uniform(0.15, 0.35), random.uniform(-0.1, 0.1)
    for first in range(0, grid.shape[2], SLAB):
        part = slice(first, min(first + SLAB, grid.shape[2]))
        x, y, z = grid.points(part)
        blurred[..., part] *= np.exp(-(fall[0] * y + fall[1] * x) / 100 - ((z - CENTRE_MM[2]) / 150) ** 2)
    real, imaginary = random.uniform(0.03, 0.055) * noise(random, (2, *grid.shape), (0, 0.5, 0.5, 0.5))
    return np.rint(np.hypot(blurred + real, imaginary) * random.uniform(350, 900)).astype(np.int16)
