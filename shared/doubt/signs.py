"""Numbers by which a failed segmentation can differ from a good one, and which need no reference.

They describe the size and the shape of what was found, how the image looks there, and the image itself. What they should be is
not fixed here: a run remembers what its training cases had, see `judge.held`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shared.scans.volume import Volume
from shared.scoring import metrics, short_axis

VALUES, SLICES = 2_000_000, 16  # of an image that are looked at, where it has more
AROUND_MM = 4.0  # the surroundings of a structure, by which its contrast is taken


@dataclass(frozen=True)
class Sign:
    """What a number means.

    Attributes:
        kind: "size", "shape", "place" or "image".
        unit: after the number in a sentence.
        spread: numbers that differ by less than this are alike, however alike the training cases are.
        ratio: whether two numbers are compared by their ratio; `spread` is then that of their logarithms.
    """

    kind: str
    unit: str
    spread: float
    ratio: bool = False


SIGNS = {  # of a structure, after its name; of the heart; of the image
    "volume": Sign("size", "ml", 0.5, ratio=True),
    "length": Sign("size", "mm", 20),
    "outside its largest piece": Sign("shape", "%", 4),
    "jump of area between slices": Sign("shape", "%", 20),
    "shift between slices": Sign("shape", "mm", 5),
    "surface for its volume": Sign("shape", "", 0.3, ratio=True),
    "border without wall": Sign("shape", "%", 10),
    "inside the wall": Sign("shape", "%", 5),
    "holes": Sign("shape", "%", 2),
    "place from left to right": Sign("place", "% of the image", 15),
    "place from back to front": Sign("place", "% of the image", 15),
    "place along the slices": Sign("place", "% of the image", 20),
    "brightness": Sign("image", "% of the image's range", 15),
    "contrast to its surroundings": Sign("image", "% of the image's range", 10),
    "pixel": Sign("image", "mm", 0.3, ratio=True),
    "slice distance": Sign("image", "mm", 0.3, ratio=True),
    "median grey value": Sign("image", "% of the image's range", 10),
    "noise": Sign("image", "% of the image's range", 3),
}


def measure(scan: Volume, labels: Volume, structures: Mapping[int, str]) -> dict[str, float]:
    """Sign -> number; those of a structure begin with its name. What cannot be measured, because nothing was found, is missing.

    Args:
        scan: (x, y, z), slices last.
        labels: label map on its voxels.
        structures: label value -> name.
    """
    grey = relative(scan.array)
    heart = np.isin(labels.array, list(structures))
    found = {**of_image(scan, grey), **of_heart(heart)}
    masks = {name: metrics.mask_of(labels.array, structures, name) for name in structures.values()}
    for name, mask in masks.items():
        found |= {f"{name} {sign}": value for sign, value in of_structure(mask, grey, scan.spacing_mm).items()}
    return found | of_ventricles(masks)


def relative(array: np.ndarray) -> np.ndarray:
    """Grey values in percent of the range between their 1st and 99th percentile."""
    array = array.astype(np.float32)
    low, high = np.percentile(sample(array), (1, 99))
    return np.clip((array - low) * np.float32(100 / max(high - low, 1e-9)), -50, 150)


def sample(array: np.ndarray) -> np.ndarray:
    """Evenly spread values of an array, `VALUES` to twice as many where it has more: enough for percentiles."""
    return array.ravel(order="K")[:: max(1, array.size // VALUES)]


def of_image(scan: Volume, grey: np.ndarray) -> dict[str, float]:
    """What the image looks like, whatever was found in it."""
    some = grey[:, :, :: max(1, grey.shape[2] // SLICES)]
    rough = some - ndimage.uniform_filter(some, (3, 3, 1))
    return {
        "pixel": float(np.sqrt(scan.spacing_mm[0] * scan.spacing_mm[1])),
        "slice distance": float(scan.spacing_mm[2]),
        "median grey value": float(np.median(sample(grey))),
        "noise": float(np.median(np.abs(rough))),
    }


def of_heart(heart: np.ndarray) -> dict[str, float]:
    """Where everything that was found lies together, and the background that it encloses in a slice."""
    if not heart.any():
        return {}
    box = ndimage.find_objects(heart.astype(np.uint8))[0]
    inner = heart[box]
    lies = [start.start + middle for start, middle in zip(box, ndimage.center_of_mass(inner), strict=True)]
    percent = [100 * float(place + 0.5) / size for place, size in zip(lies, heart.shape, strict=True)]
    names = ("place from left to right", "place from back to front", "place along the slices")
    return dict(zip(names, percent, strict=True)) | {"holes": 100 * float((filled(inner) & ~inner).sum() / inner.sum())}


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask with the holes of each of its slices."""
    return np.stack([ndimage.binary_fill_holes(one) for one in np.moveaxis(mask, 2, 0)], axis=2)


def of_structure(mask: np.ndarray, grey: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Signs of one structure (x, y, z)."""
    volume = {"volume": metrics.volume_ml(mask, spacing_mm)}
    if not mask.any():
        return volume
    box = tuple(slice(max(part.start - 8, 0), part.stop + 8) for part in ndimage.find_objects(mask.astype(np.uint8))[0])
    mask, grey = mask[box], grey[box]
    area = np.count_nonzero(mask, axis=(0, 1))
    seen = np.flatnonzero(area)
    inner = area[seen[0] : seen[-1] + 1]
    pieces = np.bincount(ndimage.label(mask, np.ones((3, 3, 3)))[0].ravel())[1:]
    centres = np.array([ndimage.center_of_mass(mask[:, :, z]) for z in seen]) * spacing_mm[:2]
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    reach = [max(1, round(AROUND_MM / mm)) for mm in spacing_mm[:2]]
    around = ndimage.maximum_filter(mask, (2 * reach[0] + 1, 2 * reach[1] + 1, 1)) & ~mask
    inside = float(grey[mask].mean())
    return volume | {
        "length": float(len(inner) * spacing_mm[2]),
        "outside its largest piece": 100 * float(1 - pieces.max() / pieces.sum()),
        "jump of area between slices": 100 * float(np.abs(np.diff(inner)).max(initial=0) / area.max()),
        "shift between slices": float(steps.max(initial=0)),
        "surface for its volume": float(surface_mm2(mask, spacing_mm) / (mask.sum() * np.prod(spacing_mm)) ** (2 / 3)),
        "brightness": inside,
        "contrast to its surroundings": inside - float(grey[around].mean()) if around.any() else 0.0,
    }


def surface_mm2(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """The area of all voxel faces between a mask and its outside."""
    faces = (np.count_nonzero(np.diff(np.pad(mask, 1).astype(np.int8), axis=axis)) for axis in range(3))
    return float(sum(count * np.prod(spacing_mm) / spacing_mm[axis] for axis, count in enumerate(faces)))


def of_ventricles(masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Whether the wall closes the LV, and holds no RV, in slices where both are seen."""
    if not {"LV", "Myo"} <= set(masks) or not masks["LV"].any():
        return {}
    box = ndimage.find_objects((masks["LV"] | masks["Myo"]).astype(np.uint8))[0]
    lv, wall = masks["LV"][box], masks["Myo"][box]
    border = ndimage.binary_dilation(lv, short_axis.SIDES) & ~lv
    found = {"LV border without wall": 100 * float((border & ~wall).sum() / max(border.sum(), 1))}
    if "RV" in masks and masks["RV"].any():
        within = filled(wall) & ~wall & masks["RV"][box]
        found["RV inside the wall"] = 100 * float(within.sum() / masks["RV"].sum())
    return found
