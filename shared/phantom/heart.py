r"""Anatomy and motion: who the patient is, and where the walls of both ventricles stand at any moment of the beat.

The heart is described in polar form around the long axis of the left ventricle. Depth runs in mm from the end-diastolic base
plane (0) to the apex; angle 0 points from the axis to the middle of the right ventricle's free wall. Every wall is then a
radius over depth and angle, and all volumes are integrals of radii.

    base plane, depth 0   ____________
                         (  RV  )[ LV ]   both bases sink towards the apex in systole,
                          \     )[    ]   the RV's further; the apex stays
                           \___ )[    ]
                             RV apex \_/  wall closes below the cavity
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from shared.errors import InputError

GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")
BELLY = 0.3  # fraction of the long axis, from the base, at which the left ventricle is widest


@dataclass(frozen=True)
class Ranges:
    """What is drawn uniformly for a group. Volumes in ml, as an observer would measure them on the slices."""

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
    """Everything that was drawn for one patient. Angles in degrees; in-plane vectors are (x, y) in mm."""

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


def draw_patient(number, group, seed=0):
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


@dataclass(frozen=True)
class Heart:
    """A patient's heart, its free sizes fitted so that the volumes measured on the slices are those drawn for the patient."""

    patient: Patient
    radius_mm: float = 25.0  # LV cavity at its widest, end-diastole
    wall_mm: float = 8.0
    contraction: float = 0.0  # fraction of the cavity radius lost at end-systole, mean over the wall
    rv_reach_mm: tuple[float, float] = (25.0, 20.0)  # LV epicardium to RV free wall at the base, at ED and ES


@dataclass(frozen=True)
class Walls:
    """Radii in mm from the LV axis, (depths, angles), at one moment.

    Above a ventricle's base plane its radii continue into the great vessels and atria; `in_lv` and `in_rv` (depths, 1) tell.
    """

    cavity: np.ndarray
    epicardium: np.ndarray
    rv: np.ndarray  # inner side of the free wall; where it is not beyond the epicardium there is no RV
    rv_epicardium: np.ndarray
    in_lv: np.ndarray
    in_rv: np.ndarray
    level: np.ndarray  # (depths, 1) material depth as a fraction of the cavity: 0 base, 1 its apex
    twist: np.ndarray  # (depths, 1) rotation in radians since end-diastole


def walls(heart, phase, depth_mm, angle):
    """The walls at `phase` (0 end-diastole .. 1 end-systole), depths (D,) in mm and angles (A,) in radians.

    Each piece of wall keeps its volume: as the cavity narrows and the long axis shortens, the wall thickens to match.
    """
    p = heart.patient
    depth_mm = np.asarray(depth_mm, float)[:, None]
    cap_mm = 0.7 * heart.wall_mm
    apex_mm = p.length_mm + cap_mm
    length_scale = 1 - p.shortening * phase
    material_mm = apex_mm - (apex_mm - depth_mm) / length_scale  # where this level of tissue was at end-diastole
    in_lv = (material_mm >= 0) & (material_mm < apex_mm)
    level = np.maximum(material_mm, 0) / p.length_mm
    twist = np.radians(p.torsion_deg) * phase * (level - 0.35)

    at = angle[None] - twist
    oval = sum(a * np.cos(n * (at - np.radians(deg))) for n, a, deg in zip((2, 3), p.ovality, p.ovality_deg, strict=True))
    cavity0 = heart.radius_mm * _bullet(level) * (1 + oval)
    scar = p.scar * _bump(at - np.radians(p.scar_deg), 0.9) * _bump(level - p.scar_depth, 0.4)
    uneven = 1 + p.septum * (_bump(at, 0.95) - 0.25) + 0.06 * np.cos(2 * at + 1) - 0.4 * scar
    outer = (heart.radius_mm + heart.wall_mm) * _bullet(level * p.length_mm / apex_mm)
    outer0 = cavity0 + np.maximum(outer - heart.radius_mm * _bullet(level), 0) * uneven
    narrowing = heart.contraction * (0.92 + 0.25 * level) * (1 - 0.95 * scar) * (1 + 0.08 * np.cos(3 * at + 2))
    cavity = cavity0 * np.maximum(1 - phase * narrowing, 0)
    epicardium = np.sqrt(cavity**2 + (outer0**2 - cavity0**2) / length_scale)

    top_mm = p.rv_top_mm + p.rv_excursion_mm * phase
    rv_level = np.clip((depth_mm - top_mm) / (p.rv_apex * apex_mm - top_mm), 0, 1)
    reach_mm = (1 - phase) * heart.rv_reach_mm[0] + phase * heart.rv_reach_mm[1]
    reach_mm = reach_mm * (1 - rv_level**2.2) ** 0.8
    septum_mm = np.maximum(epicardium[:, np.cos(angle) > 0.5].mean(1, keepdims=True), 1)
    open_rv = reach_mm > 3  # below that the walls of the RV's apex touch
    in_rv = (depth_mm >= top_mm) & open_rv
    rv = np.where(open_rv, _free_wall(reach_mm, septum_mm, p.rv_breadth, p.rv_corner, angle), 0)
    wall_mm = p.rv_wall_mm * (1 + 0.4 * phase)
    return Walls(cavity, epicardium, rv, np.maximum(np.where(rv > 0, rv + wall_mm, 0), epicardium), in_lv, in_rv, level, twist)


def slice_depths(patient):
    """Depth in mm of each slice's centre, (slices,)."""
    return patient.first_depth_mm + patient.spacing_mm[2] * np.arange(patient.shape[2])


def volumes_ml(heart, phase):
    """(RV cavity, LV myocardium, LV cavity) in ml as measured on the slices: areas at their centres times their distance."""
    angle = np.arange(120) * (2 * np.pi / 120)
    w = walls(heart, phase, slice_depths(heart.patient), angle)
    step = heart.patient.spacing_mm[2] / 1000 * (angle[1] - angle[0]) / 2
    return (
        float((np.maximum(w.rv**2 - w.epicardium**2, 0) * w.in_rv).sum() * step),
        float(((w.epicardium**2 - w.cavity**2) * w.in_lv).sum() * step),
        float((w.cavity**2 * w.in_lv).sum() * step),
    )


@functools.lru_cache(maxsize=32)
def fit_heart(patient):
    """The heart whose volumes on the slices are the patient's."""
    heart = Heart(patient)
    heart = _solve(heart, lambda x: {"radius_mm": x}, (10, 60), 0, 2, patient.lv_edv_ml)
    heart = _solve(heart, lambda x: {"wall_mm": x}, (1, 40), 0, 1, patient.myocardium_ml)
    heart = _solve(heart, lambda x: {"contraction": x}, (0.9, 0), 1, 2, patient.lv_edv_ml * (1 - patient.lv_ef))
    heart = _solve(heart, lambda x: {"rv_reach_mm": (x, x)}, (1, 120), 0, 0, patient.rv_edv_ml)
    wide = heart.rv_reach_mm[0]
    return _solve(heart, lambda x: {"rv_reach_mm": (wide, x)}, (0, 120), 1, 0, patient.rv_edv_ml * (1 - patient.rv_ef))


def beat(frames, es_frame):
    """Phase of each frame of a cine, (frames,): 0 at frame 1, 1 at `es_frame` (1-based), fast filling, rest, atrial kick."""
    time = np.arange(frames) / frames
    systole = (es_frame - 1) / frames
    contracting = np.sin(np.pi / 2 * np.minimum(time / systole, 1)) ** 1.5
    diastole = np.clip((time - systole) / (1 - systole), 0, 1)
    filling = np.interp(diastole, [0, 0.12, 0.4, 0.8, 0.92, 1], [1, 0.9, 0.22, 0.16, 0.04, 0])
    return np.where(time <= systole, contracting, filling)


def _solve(heart, change, bounds, phase, structure, target_ml):
    """Bisect for the x in `bounds` (low volume first) at which `structure`'s volume at `phase` is the target."""
    low, high = bounds
    for _ in range(22):
        middle = (low + high) / 2
        if volumes_ml(replace(heart, **change(middle)), phase)[structure] < target_ml:
            low = middle
        else:
            high = middle
    return replace(heart, **change((low + high) / 2))


def _draw_grid(random):
    """Spacing (3,) in mm, in-plane matrix, and whether the picture is turned on its side."""
    matrix = [(208, 256), (216, 256), (224, 256), (192, 256), (184, 240), (180, 224)][random.integers(6)]
    pixel_mm = random.uniform(315, 385) / matrix[1]
    turned = bool(random.random() < 0.25)
    thickness_mm = float(random.choice([5, 6, 7, 8, 10], p=[0.15, 0.1, 0.1, 0.2, 0.45]))
    return (pixel_mm, pixel_mm, thickness_mm), matrix[::-1] if turned else matrix, turned


def _bullet(level):
    """Radius of a ventricle over its level (0 base, 1 apex), 1 at its widest: slightly narrower base, rounded apex."""
    taper = np.clip((level - BELLY) / (1 - BELLY), 0, 1)
    return np.sqrt(1 - taper**2.2) * (1 - 0.1 * np.clip((BELLY - level) / BELLY, 0, 1) ** 2)


def _bump(distance, width):
    """A smooth hill of height 1 and half-width `width`, for angles in radians wrapped to one turn."""
    wrapped = (distance + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-((wrapped / width) ** 4))


def _free_wall(reach_mm, septum_mm, breadth, corner, angle):
    """Radius of the RV's free wall, `reach_mm` beyond the septum along angle 0: an ellipse that holds the axis; (depths, angles).

    Its anterior half (positive angles) is broad and round, its inferior half drawn out into a corner.
    """
    free_mm = septum_mm + reach_mm
    centre = 0.43 * free_mm
    across = (0.8 + (breadth - 0.8) * (1 - np.exp(-reach_mm / 8))) * np.sqrt(free_mm * septum_mm)
    cosine = np.cos(angle) / (free_mm - centre)
    sine = np.sin(angle) / across / np.where(np.sin(angle) > 0, 1.05, 0.95)
    offset = centre / (free_mm - centre)
    square = cosine**2 + sine**2
    ellipse = (cosine * offset + np.sqrt((cosine * offset) ** 2 + square * (1 - offset**2))) / square
    return ellipse * (1 + corner * _bump(angle + 0.75, 0.4) * (1 - np.exp(-reach_mm / 8)))
