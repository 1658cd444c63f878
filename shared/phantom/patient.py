"""Who a patient of the phantom is: everything that is drawn from (seed, number, group)."""

from dataclasses import dataclass, replace

import numpy as np

from shared.errors import InputError

GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")


@dataclass(frozen=True)
class Ranges:
    """Ranges from which a group's values are drawn uniformly. Volumes are those that an observer would measure on the slices."""

    lv_edv_ml: tuple[float, float]
    lv_ef: tuple[float, float]
    wall_ratio: tuple[float, float]  # myocardial over LV end-diastolic volume
    rv_edv_ml: tuple[float, float]
    rv_ef: tuple[float, float]
    shortening: tuple[float, float]  # of the LV long axis, as a fraction
    rv_excursion_mm: tuple[float, float]  # of the tricuspid plane


NORMAL = Ranges((112, 165), (0.585, 0.67), (0.66, 0.86), (120, 190), (0.49, 0.62), (0.12, 0.16), (15, 20))
RANGES = {
    "NOR": NORMAL,
    "MINF": replace(NORMAL, lv_edv_ml=(130, 220), lv_ef=(0.28, 0.42), wall_ratio=(0.55, 0.75), shortening=(0.06, 0.10)),
    "DCM": replace(
        NORMAL,
        lv_edv_ml=(215, 305),
        lv_ef=(0.17, 0.35),
        wall_ratio=(0.52, 0.70),
        rv_ef=(0.25, 0.50),
        rv_edv_ml=(130, 230),
        shortening=(0.04, 0.08),
        rv_excursion_mm=(8, 14),
    ),
    "HCM": replace(NORMAL, lv_edv_ml=(95, 150), lv_ef=(0.635, 0.75), wall_ratio=(1.15, 1.60), rv_edv_ml=(90, 150)),
    "RV": replace(
        NORMAL, lv_edv_ml=(85, 140), lv_ef=(0.50, 0.62), rv_edv_ml=(212, 280), rv_ef=(0.16, 0.38), rv_excursion_mm=(6, 12)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Everything that was drawn for one patient. Angles are in degrees; in-plane vectors are (x, y) in mm."""

    number: int
    group: str
    seed: int
    height_cm: float
    weight_kg: float
    # function, as measured on the slices
    lv_edv_ml: float
    lv_ef: float
    myocardium_ml: float
    rv_edv_ml: float
    rv_ef: float
    # form
    length_mm: float  # LV cavity at end-diastole, base plane to apex
    shortening: float
    torsion_deg: float
    ovality: tuple[float, float]  # second and third harmonic of the cavity's outline
    ovality_deg: tuple[float, float]
    septum: float  # how much thicker the septum is than the mean wall, as a fraction
    scar: float  # 0 healthy .. 1 a segment that does not contract
    scar_deg: float
    scar_depth: float  # fraction of the long axis
    rv_breadth: float  # tangential half-axis over the geometric mean of LV radius and RV reach
    rv_corner: float  # how far the inferior corner sticks out, as a fraction of the radius
    rv_top_mm: float  # depth of the tricuspid plane at end-diastole
    rv_apex: float  # depth of the RV apex as a fraction of the LV's
    rv_excursion_mm: float
    rv_wall_mm: float
    fat_mm: float  # around the heart
    # place in the scan
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    first_depth_mm: float  # depth of the centre of slice 0
    position: tuple[float, float]  # of the LV axis, as fractions of the field of view
    rotation_deg: float  # of the whole picture
    rv_direction_deg: float  # picture coordinates: x right, y down, before `rotation_deg`
    drift_mm: tuple[float, float]  # of the LV axis from base to apex
    shifts_mm: tuple[tuple[float, float], ...]  # one breath-hold per slice
    # picture and time
    contrast: float  # blood over myocardium
    signal: float  # grey level of blood
    noise: float  # standard deviation as a fraction of blood
    coil: tuple[float, float]  # logarithmic fall of sensitivity along x and y, per 100 mm
    frames: int
    es_frame: int  # 1-based
    frame_s: float


def draw_patient(number: int, group: str, seed: int = 0) -> Patient:
    """The patient `number` (from 1) of an ACDC `group`; the same arguments give the same patient.

    Raises:
        InputError: an unknown group, a number below 1 or a negative seed.
    """
    if group not in RANGES:
        raise InputError(f"unknown group {group!r}: expected one of {', '.join(GROUPS)}")
    if number < 1 or seed < 0:
        raise InputError(f"expected a patient number from 1 and a seed from 0, found {number} and {seed}")
    random = np.random.default_rng((seed, number, GROUPS.index(group)))
    uniform, ranges = random.uniform, RANGES[group]
    height_cm = random.normal(170, 9)
    lv_edv_ml = uniform(*ranges.lv_edv_ml)
    length_mm = 80 * (lv_edv_ml / 135) ** (0.28 if group == "DCM" else 1 / 3) * uniform(0.95, 1.05)
    spacing_mm, shape, turned = _draw_grid(random)
    first_depth_mm = spacing_mm[2] * uniform(-0.5, 0.4)
    thickness_mm = spacing_mm[2]
    slices = int(np.clip(round((length_mm + 8 - first_depth_mm) / thickness_mm + random.uniform(0, 0.8)), 6, 18))
    thickness_mm = max(thickness_mm, np.ceil((length_mm - first_depth_mm) / slices * 2) / 2)
    frames = int(random.choice([20, 25, 28, 30, 35]))
    return Patient(
        number=number,
        group=group,
        seed=seed,
        height_cm=round(height_cm),
        weight_kg=round(uniform(20, 31) * (height_cm / 100) ** 2),
        lv_edv_ml=lv_edv_ml,
        lv_ef=uniform(*ranges.lv_ef),
        myocardium_ml=lv_edv_ml * uniform(*ranges.wall_ratio),
        rv_edv_ml=uniform(*ranges.rv_edv_ml),
        rv_ef=uniform(*ranges.rv_ef),
        length_mm=length_mm,
        shortening=uniform(*ranges.shortening),
        torsion_deg=uniform(8, 16),
        ovality=(uniform(0.05, 0.1) if group == "RV" else uniform(0.01, 0.04), uniform(0.005, 0.02)),
        ovality_deg=(90.0 if group == "RV" else uniform(0, 180), uniform(0, 120)),  # pressure in the RV flattens the septum
        septum=uniform(0.25, 0.8) if group == "HCM" else uniform(0, 0.12),
        scar=uniform(0.75, 1) if group == "MINF" else 0.0,
        scar_deg=(0, 60, 130, 180, -110)[random.integers(5)] + uniform(-20, 20),
        scar_depth=uniform(0.35, 0.85),
        rv_breadth=uniform(1.0, 1.15),
        rv_corner=uniform(0.04, 0.14),
        rv_top_mm=uniform(-3, 3),
        rv_apex=uniform(0.78, 0.9),
        rv_excursion_mm=uniform(*ranges.rv_excursion_mm),
        rv_wall_mm=uniform(4, 6) if group == "RV" else uniform(2, 3),
        fat_mm=uniform(1, 4.5),
        shape=(*shape, slices),
        spacing_mm=(*spacing_mm[:2], float(thickness_mm)),
        first_depth_mm=first_depth_mm,
        position=(uniform(0.38, 0.47), uniform(0.44, 0.54)),
        rotation_deg=random.normal(0, 6) + 75 * turned,
        rv_direction_deg=uniform(142, 172),
        drift_mm=(uniform(-14, 4), uniform(-14, 2)),
        shifts_mm=tuple(map(tuple, np.clip(random.normal(0, 1.6, (slices, 2)), -4, 4).tolist())),
        contrast=uniform(1.9, 3.8),
        signal=float(np.exp(uniform(np.log(110), np.log(700)))),
        noise=uniform(0.012, 0.03),
        coil=(uniform(0.15, 0.5), uniform(-0.15, 0.25)),
        frames=frames,
        es_frame=int(np.clip(round(frames * uniform(0.32, 0.42)), 8, 14)),
        frame_s=uniform(0.75, 1.05) / frames,
    )


def on_square_grid(patient: Patient, size: int) -> Patient:
    """The patient in pictures of `size` x `size` pixels that show 302 to 358 mm: of 512, pixels have 0.59 to 0.70 mm.

    Raises:
        InputError: pictures that are too small to show a heart.
    """
    if not 32 <= size <= 2048:
        raise InputError(f"expected pictures of 32 to 2048 pixels, found {size}")
    random = np.random.default_rng((patient.seed, patient.number, size))
    pixel_mm = random.uniform(0.59, 0.70) * 512 / size
    return replace(patient, shape=(size, size, patient.shape[2]), spacing_mm=(pixel_mm, pixel_mm, patient.spacing_mm[2]))


def _draw_grid(random: np.random.Generator) -> tuple[tuple[float, float, float], tuple[int, int], bool]:
    """Voxel size in mm, in-plane matrix, and whether the picture is turned on its side."""
    matrix = [(208, 256), (216, 256), (224, 256), (192, 256), (184, 240), (180, 224)][random.integers(6)]
    pixel_mm = random.uniform(315, 385) / matrix[1]
    turned = bool(random.random() < 0.25)
    thickness_mm = float(random.choice([5, 6, 7, 8, 10], p=[0.15, 0.1, 0.1, 0.2, 0.45]))
    return (pixel_mm, pixel_mm, thickness_mm), matrix[::-1] if turned else matrix, turned
