"""The left ventricle along its short axis: which end of a label map is the base, and how thick the wall is, segment by segment.

Segments are those of the American Heart Association (Cerqueira et al., Circulation 2002), 1 to 16; the 17th, the tip of the apex,
is not seen in short-axis slices. What is measured is ours:

- The slices with LV cavity and wall are dealt into a basal, a middle and an apical third.
- Septal is the mean direction, seen from the cavity's centroid, of the wall that touches the RV. Anterior is square to it, on the
  side that follows from where the apex is, since no heart is the mirror image of another. Where a file has lost how its slices
  lay (they are square to an axis of the scanner, which no short axis is; so in ACDC), the array is taken to be the picture that
  DICOM shows, seen from the apex. In 194 of the 200 label maps of ACDC the RV then widens to the front towards its outflow.
- The thickness at a pixel of the wall is the sum of its distances to the cavity and to the outside in its slice, less 0.68
  pixels, by which distances between pixel centres are too long: the mean of rings of 4 to 14 pixels about cavities with a radius
  of 8 to 30. A segment has the mean over its pixels.
"""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from shared.scans.volume import Volume
from shared.scoring import metrics

HEART = ("LV", "Myo", "RV")
SIDES = np.zeros((3, 3, 3), bool)  # a pixel and its four neighbours in the slice
SIDES[1, :, 1] = SIDES[:, 1, 1] = True
TO_APEX = np.array([-1.0, 1.0, -1.0])  # RAS: from the base, the apex lies to the left, to the front and to the feet
AROUND = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
SEGMENTS = (
    *(f"basal_{wall}" for wall in AROUND),
    *(f"mid_{wall}" for wall in AROUND),
    *(f"apical_{wall}" for wall in ("anterior", "septal", "inferior", "lateral")),
)
# Sectors follow each other from the septum's middle to anterior and on; these are their places in a ring of SEGMENTS:
SIXTHS = (1, 0, 5, 4, 3, 2)
QUARTERS = (1, 0, 3, 2)  # of the apical ring, whose first sector has the septum's middle in its own
BETWEEN_CENTRES = 0.68  # pixels, see above


def masks_of(labels: Volume, structures: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Masks of LV, Myo and RV, see `metrics.mask_of`."""
    return {name: metrics.mask_of(labels.array, structures, name) for name in HEART}


def base_is_last(heart: np.ndarray, affine: np.ndarray) -> bool:
    """Whether the base lies at the end of the last slices of the heart (x, y, z), which is not empty.

    Both ventricles taper towards the apex, so the base is the end where the heart has more of its area. Where both halves have
    the same, the affine says where the apex is. (In all 200 label maps of ACDC the area finds the base.)
    """
    area, z = np.count_nonzero(heart, axis=(0, 1)), np.arange(heart.shape[2])
    with_heart = np.flatnonzero(area)
    to_last = (area * (2 * z - with_heart[0] - with_heart[-1])).sum()  # above 0: more area in the half of the last slices
    return bool(to_last > 0 if to_last else affine[:3, 2] @ TO_APEX < 0)


def from_base(heart: np.ndarray, has_lv: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(z,) slices from the most basal one with LV, negative beyond it; NaN where no slice has LV.

    Args:
        heart: (x, y, z) bool, all structures.
        has_lv: (z,) bool.
        affine: of the label map.
    """
    if not has_lv.any():
        return np.full(has_lv.shape, np.nan)
    z, with_lv = np.arange(len(has_lv)), np.flatnonzero(has_lv)
    return (with_lv[-1] - z if base_is_last(heart, affine) else z - with_lv[0]).astype(float)


def thickness_mm(labels: Volume, structures: Mapping[int, str]) -> np.ndarray:
    """(16,) mean thickness of the wall in each of `SEGMENTS`, in mm.

    NaN where a segment has no wall, or everywhere if no wall with a cavity touches the RV, because then nobody knows where the
    septum is.

    Args:
        labels: (x, y, z), slices last.
        structures: label value -> name.
    """
    masks, spacing_mm = masks_of(labels, structures), np.array(labels.spacing_mm[:2])
    cavity, wall = masks["LV"], masks["Myo"]
    counted = np.flatnonzero(cavity.any(axis=(0, 1)) & wall.any(axis=(0, 1)))
    touching = wall & ndimage.binary_dilation(masks["RV"], SIDES)
    if not touching[:, :, counted].any():
        return np.full(len(SEGMENTS), np.nan)
    last = base_is_last(np.logical_or.reduce(list(masks.values())), labels.affine)
    towards = np.concatenate([directions(touching[:, :, z], cavity[:, :, z], spacing_mm) for z in counted]).mean(axis=0)
    septal = towards / max(np.linalg.norm(towards), 1e-9)
    anterior = to_apex(last, labels.affine) * np.array([septal[1], -septal[0]])  # septal x to_apex
    found: list[list[float]] = [[] for _ in SEGMENTS]
    for place, z in enumerate(counted[::-1] if last else counted):
        away = directions(wall[:, :, z], cavity[:, :, z], spacing_mm)
        turned_deg = np.rad2deg(np.arctan2(away @ anterior, away @ septal)) % 360
        places = segments(3 * place // len(counted), turned_deg)
        for segment, thickness in zip(places, through(wall[:, :, z], cavity[:, :, z], spacing_mm), strict=True):
            found[segment].append(thickness)
    return np.array([np.mean(each) if each else np.nan for each in found])


def to_apex(base_last: bool, affine: np.ndarray) -> float:
    """1 where the slices run to the apex in axes that are right-handed in the patient, or away from it in left-handed ones; else
    -1. See above for files that have lost how their slices lay."""
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    along = np.abs(normal).argmax()
    if abs(normal[along]) > 1 - 1e-6:
        sign = -np.sign(normal[along])  # the picture: axes of the scanner to the right and downwards, seen from the apex
    else:
        sign = -1 if base_last else 1
    return float(sign * np.sign(np.linalg.det(affine[:3, :3])))


def directions(pixels: np.ndarray, cavity: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(n, 2) unit vectors in mm from the centroid of the `cavity` (x, y) to each of the `pixels` (x, y) of a mask."""
    away = (np.argwhere(pixels) - np.argwhere(cavity).mean(axis=0)) * spacing_mm
    return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)


def segments(third: int, turned_deg: np.ndarray) -> np.ndarray:
    """Places in `SEGMENTS`, for a third along the axis (0: basal) and angles from septal by way of anterior, from 0 to 360."""
    if third < 2:
        return 6 * third + np.array(SIXTHS)[(turned_deg // 60).astype(int) % 6]
    return 12 + np.array(QUARTERS)[((turned_deg + 45) // 90).astype(int) % 4]


def through(wall: np.ndarray, cavity: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(n,) thickness of the wall in mm at each of its pixels, in one slice (x, y)."""
    solid = np.pad(wall | cavity, 1)  # the outside of the image is outside of the heart
    inwards = ndimage.distance_transform_edt(~cavity, sampling=spacing_mm)
    outwards = ndimage.distance_transform_edt(solid, sampling=spacing_mm)[1:-1, 1:-1]
    return (inwards + outwards)[wall] - BETWEEN_CENTRES * spacing_mm.mean()
