r"""Anatomy and motion: where the walls of both ventricles of a patient stand at any moment of the beat.

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
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shared.phantom.patient import Patient

BELLY = 0.3  # fraction of the long axis, from the base, at which the left ventricle is widest


@dataclass(frozen=True)
class Heart:
    """A patient's heart. Its free sizes are fitted so that the volumes measured on the slices are those drawn for the patient."""

    patient: Patient
    radius_mm: float = 25.0  # LV cavity at its widest, end-diastole
    wall_mm: float = 8.0
    contraction: float = 0.0  # fraction of the cavity radius lost at end-systole, mean over the wall
    rv_reach_mm: tuple[float, float] = (25.0, 20.0)  # LV epicardium to RV free wall at the base, at ED and ES


@dataclass(frozen=True)
class Walls:
    """Radii in mm from the LV axis, (depths, angles), at one moment.

    Above a ventricle's base plane its radii continue into the great vessels and atria: `in_lv` and `in_rv` (depths, 1) are False
    there.
    """

    cavity: np.ndarray
    epicardium: np.ndarray
    rv: np.ndarray  # inner side of the free wall; where it is not beyond the epicardium there is no RV
    rv_epicardium: np.ndarray
    in_lv: np.ndarray
    in_rv: np.ndarray
    level: np.ndarray  # (depths, 1) material depth as a fraction of the cavity: 0 base, 1 its apex
    twist: np.ndarray  # (depths, 1) rotation in radians since end-diastole


def walls(heart: Heart, phase: float, depth_mm: np.ndarray, angle: np.ndarray) -> Walls:
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
    base_reach_mm = (1 - phase) * heart.rv_reach_mm[0] + phase * heart.rv_reach_mm[1]
    reach_mm = base_reach_mm * (1 - rv_level**2.2) ** 0.8
    septum_mm = np.maximum(epicardium[:, np.cos(angle) > 0.5].mean(1, keepdims=True), 1)
    open_rv = reach_mm > 3  # below that the walls of the RV's apex touch
    in_rv = (depth_mm >= top_mm) & open_rv
    rv = np.where(open_rv, _free_wall(reach_mm, septum_mm, p.rv_breadth, p.rv_corner, angle), 0)
    wall_mm = p.rv_wall_mm * (1 + 0.4 * phase)
    return Walls(cavity, epicardium, rv, np.maximum(np.where(rv > 0, rv + wall_mm, 0), epicardium), in_lv, in_rv, level, twist)


def slice_depths(patient: Patient) -> np.ndarray:
    """Depth in mm of each slice's centre, (slices,)."""
    return patient.first_depth_mm + patient.spacing_mm[2] * np.arange(patient.shape[2])


def volumes_ml(heart: Heart, phase: float) -> tuple[float, float, float]:
    """RV cavity, LV myocardium and LV cavity in ml as measured on the slices: areas at their centres times their distance."""
    angle = np.arange(120) * (2 * np.pi / 120)
    w = walls(heart, phase, slice_depths(heart.patient), angle)
    step = heart.patient.spacing_mm[2] / 1000 * (angle[1] - angle[0]) / 2
    return (
        float((np.maximum(w.rv**2 - w.epicardium**2, 0) * w.in_rv).sum() * step),
        float(((w.epicardium**2 - w.cavity**2) * w.in_lv).sum() * step),
        float((w.cavity**2 * w.in_lv).sum() * step),
    )


@functools.lru_cache(maxsize=32)
def fit_heart(patient: Patient) -> Heart:
    """The heart whose volumes on the slices are the patient's."""
    heart = Heart(patient)
    heart = _solve(heart, lambda x: {"radius_mm": x}, (10, 60), 0, 2, patient.lv_edv_ml)
    heart = _solve(heart, lambda x: {"wall_mm": x}, (1, 40), 0, 1, patient.myocardium_ml)
    heart = _solve(heart, lambda x: {"contraction": x}, (0.9, 0), 1, 2, patient.lv_edv_ml * (1 - patient.lv_ef))
    heart = _solve(heart, lambda x: {"rv_reach_mm": (x, x)}, (1, 120), 0, 0, patient.rv_edv_ml)
    wide = heart.rv_reach_mm[0]
    return _solve(heart, lambda x: {"rv_reach_mm": (wide, x)}, (0, 120), 1, 0, patient.rv_edv_ml * (1 - patient.rv_ef))


def beat(frames: int, es_frame: int) -> np.ndarray:
    """Phase of each frame of a cine, (frames,): 0 at frame 1, 1 at `es_frame` (1-based), fast filling, rest, atrial kick."""
    time = np.arange(frames) / frames
    systole = (es_frame - 1) / frames
    contracting = np.sin(np.pi / 2 * np.minimum(time / systole, 1)) ** 1.5
    diastole = np.clip((time - systole) / (1 - systole), 0, 1)
    filling = np.interp(diastole, [0, 0.12, 0.4, 0.8, 0.92, 1], [1, 0.9, 0.22, 0.16, 0.04, 0])
    return np.where(time <= systole, contracting, filling)


def _solve(
    heart: Heart, change: Callable[[float], dict], bounds: tuple[float, float], phase: float, structure: int, target_ml: float
) -> Heart:
    """The heart with the change by which the volume of a structure at `phase` becomes the target.

    Args:
        heart: before the change.
        change: `change(x) -> fields of the heart`.
        bounds: of x, low volume first; bisected.
        phase: see `walls`.
        structure: index into `volumes_ml`.
        target_ml: wanted volume.
    """
    low, high = bounds
    for _ in range(22):
        middle = (low + high) / 2
        if volumes_ml(replace(heart, **change(middle)), phase)[structure] < target_ml:
            low = middle
        else:
            high = middle
    return replace(heart, **change((low + high) / 2))


def _bullet(level: np.ndarray) -> np.ndarray:
    """Radius of a ventricle over its level (0 base, 1 apex), 1 at its widest: slightly narrower base, rounded apex."""
    taper = np.clip((level - BELLY) / (1 - BELLY), 0, 1)
    return np.sqrt(1 - taper**2.2) * (1 - 0.1 * np.clip((BELLY - level) / BELLY, 0, 1) ** 2)


def _bump(distance: np.ndarray, width: float) -> np.ndarray:
    """A smooth hill of height 1 and half-width `width`, for angles in radians wrapped to one turn."""
    wrapped = (distance + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-((wrapped / width) ** 4))


def _free_wall(reach_mm: np.ndarray, septum_mm: np.ndarray, breadth: float, corner: float, angle: np.ndarray) -> np.ndarray:
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
