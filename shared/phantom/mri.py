"""Image formation: the beating heart in its thorax as a short-axis bSSFP magnitude picture, with its label map.

Signal is relative to blood and keeps its sign while tissues are mixed within a voxel. Fat precesses against water, so its signal
is negative; where fat meets water, the magnitude taken at the end has the dark line that bSSFP shows.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shared.errors import InputError
from shared.phantom import heart as anatomy
from shared.phantom.shapes import noise
from shared.phantom.thorax import FAT, MUSCLE, Thorax

ANGLES = np.arange(720) * (2 * np.pi / 720)


def render(patient: anatomy.Patient, phase_fraction: float) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """One frame: image (x, y, z) int16, label (x, y, z) uint8 and spacing (3,) in mm.

    Slice 0 is at the base. Labels are those of ACDC: 0 background, 1 RV cavity, 2 LV myocardium, 3 LV cavity.

    Args:
        patient: from `draw_patient`.
        phase_fraction: from 0 (end-diastole) to 1 (end-systole).

    Raises:
        InputError: a phase below 0 or above 1.
    """
    if not 0 <= phase_fraction <= 1:
        raise InputError(f"expected a phase from 0 (end-diastole) to 1 (end-systole), found {phase_fraction}")
    scene = _scene(patient)
    signal = scene.thorax.copy()
    label = np.zeros(patient.shape, np.uint8)
    for z, box in enumerate(scene.boxes):
        paint, cover, parts = _heart_slice(scene, box, phase_fraction, z)
        signal[(*box.place, z)] += paint - cover * signal[(*box.place, z)]
        label[(*box.place, z)] = _majority(parts)
    signal = ndimage.gaussian_filter(signal * scene.texture, (0.45, 0.45, 0))
    random = np.random.default_rng((patient.seed, patient.number, 1, round(phase_fraction * 1e6)))
    real, imaginary = random.standard_normal((2, *patient.shape), np.float32) * patient.noise
    magnitude = np.hypot(np.abs(signal) * scene.coil + real, imaginary)  # Rician
    return np.round(magnitude * patient.signal).astype(np.int16), label, patient.spacing_mm


@dataclass(frozen=True)
class _Box:
    """The pixels of one slice near the heart, in polar coordinates around the axis of the left ventricle."""

    place: tuple[slice, slice]
    radius_mm: np.ndarray  # (i, j)
    angle: np.ndarray  # (i, j), as an index into ANGLES
    pixel_mm: float

    def disc(self, edge_mm: np.ndarray) -> np.ndarray:
        """Cover (i, j), 0 to 1, of the shape with radius `edge_mm` (angles,); its edge is blurred by one pixel everywhere."""
        edge_mm = edge_mm.astype(np.float32)
        slope = np.hypot(1, np.gradient(edge_mm, ANGLES[1]) / np.maximum(edge_mm, 1))
        inside = (edge_mm[self.angle] - self.radius_mm) / (self.pixel_mm * slope[self.angle]) + 0.5
        return np.clip(inside, 0, 1) * (edge_mm[self.angle] > 0)

    def spot(self, away_mm: float, bearing: float, size_mm: float) -> np.ndarray:
        """Cover (i, j) of a circle of radius `size_mm`, `away_mm` from the axis in the direction `bearing`."""
        across = self.radius_mm * (2 * away_mm * np.cos(ANGLES - bearing)).astype(np.float32)[self.angle]
        distance = np.sqrt(np.maximum(self.radius_mm**2 + away_mm**2 - across, 0))
        return np.clip((size_mm - distance) / self.pixel_mm + 0.5, 0, 1)


@dataclass(frozen=True)
class _Scene:
    """The parts that do not beat: thorax, coil and textures (x, y, z), and the heart's box in each slice."""

    heart: anatomy.Heart
    thorax: np.ndarray
    coil: np.ndarray
    texture: np.ndarray
    grain: np.ndarray  # unit noise, from which the RV's trabeculae are cut
    flow: np.ndarray  # the factor by which moving blood changes the signal, mean 1
    ragged: np.ndarray  # (3, angles) unit noise around the heart: one row for its fat, two for the LV's trabeculae
    boxes: tuple[_Box, ...]


@functools.lru_cache(maxsize=1)
def _scene(patient: anatomy.Patient) -> _Scene:
    p, heart = patient, anatomy.fit_heart(patient)
    random = np.random.default_rng((p.seed, p.number, 2))
    pixel_mm, _, thickness_mm = p.spacing_mm
    grain = noise(random, p.shape, (2.2 / pixel_mm, 2.2 / pixel_mm, 0.4))
    clouds = noise(random, p.shape, (7, 7, 0.8))
    trunk = Thorax(heart, random)
    thorax, boxes = np.empty(p.shape, np.float32), []
    for z, depth_mm in enumerate(anatomy.slice_depths(p).tolist()):  # Python numbers keep the pictures in float32
        x, y = _picture_mm(p, p.shifts_mm[z])
        planes = [trunk.signal(x, y, depth_mm + part * thickness_mm, grain[..., z], clouds[..., z]) for part in (-0.25, 0.25)]
        thorax[..., z] = np.mean(planes, axis=0)
        along = depth_mm / p.length_mm - 0.5
        boxes.append(_box(heart, x - p.drift_mm[0] * along, y - p.drift_mm[1] * along))
    x, y = _picture_mm(p, (0, 0))
    coil = np.exp(-(p.coil[0] * x + p.coil[1] * y) / 100 - ((x / 260) ** 2 + (y / 260) ** 2))
    steady_state = random.normal(1, 0.06, p.shape[2]).astype(np.float32)  # differs from slice to slice
    texture = (1 + 0.06 * grain + 0.05 * clouds) * steady_state
    flow = 1 + 0.035 * grain - 0.08 * clouds
    ragged = np.stack([noise(random, ANGLES.shape, width, mode="wrap") for width in (50, 11, 11)])
    return _Scene(heart, thorax, coil[..., None].astype(np.float32), texture, grain, flow, ragged, tuple(boxes))


def _picture_mm(patient: anatomy.Patient, shift_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Picture coordinates x, y (x, y) of the pixels of a slice shifted by `shift_mm`, in mm from the LV axis."""
    across, down = patient.position
    position = (1 - down, across) if abs(patient.rotation_deg) > 45 else (across, down)
    x, y = (
        (np.arange(n, dtype=np.float32) - at * n) * patient.spacing_mm[0]
        for n, at in zip(patient.shape[:2], position, strict=True)
    )
    turn = math.radians(patient.rotation_deg)
    x, y = x[:, None], y[None]
    x, y = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    return x - shift_mm[0], y - shift_mm[1]


def _box(heart: anatomy.Heart, x: np.ndarray, y: np.ndarray) -> _Box:
    """The heart's box of a slice from coordinates x, y (x, y) in mm from the LV axis at that depth."""
    patient = heart.patient
    half_mm = 1.15 * (heart.radius_mm + heart.wall_mm + max(heart.rv_reach_mm)) + 12
    inside = np.maximum(abs(x), abs(y)) < half_mm
    columns, rows = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    place = slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1)
    turn = np.arctan2(y[place], x[place]) - math.radians(patient.rv_direction_deg)
    angle = np.round(turn / ANGLES[1]).astype(np.int32) % len(ANGLES)
    return _Box(place, np.hypot(x[place], y[place]), angle, patient.spacing_mm[0])


def _heart_slice(scene: _Scene, box: _Box, phase: float, z: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slice `z` of the heart: signal times cover, cover, and fractions (3, i, j) of RV cavity, myocardium and LV cavity.

    The slice is the mean of an odd number of planes through its thickness, each painted from the outside in.
    """
    p = scene.heart.patient
    planes = 2 * int(p.spacing_mm[2] / 4) + 1
    depths_mm = anatomy.slice_depths(p)[z] + p.spacing_mm[2] * ((np.arange(planes) + 0.5) / planes - 0.5)
    w = anatomy.walls(scene.heart, phase, depths_mm, ANGLES)
    grain, flow = scene.grain[(*box.place, z)], scene.flow[(*box.place, z)]
    muscle = 1 / p.contrast
    grooves = np.exp(-(((abs(ANGLES - np.pi) - 1.9) / 0.4) ** 2))  # where the ventricles meet
    fat_mm = 0.6 + p.fat_mm * (grooves + 0.6 * np.maximum(scene.ragged[0], 0))
    pad_mm = 20 * np.sqrt(np.clip(1 - ((depths_mm - p.length_mm) / 22) ** 2, 0, None))  # fat around the apex
    total, total_cover = np.zeros((2, *box.angle.shape), np.float32)
    parts = np.zeros((3, *box.angle.shape), np.float32)
    for k in range(planes):
        level, outer = float(w.level[k, 0]), w.rv_epicardium[k]
        if outer.max() == 0 and pad_mm[k] == 0:
            continue
        smooth = ndimage.gaussian_filter1d(outer, 30, mode="wrap")
        fat_edge = np.maximum(np.maximum(outer, smooth) + fat_mm, pad_mm[k] * (1 + 0.12 * scene.ragged[0]))
        lv, cavity, rv = box.disc(w.epicardium[k]), box.disc(w.cavity[k]), box.disc(w.rv[k])
        cover = box.disc(fat_edge + 1.5)  # pericardium
        signal = MUSCLE + box.disc(fat_edge) * (FAT - MUSCLE)
        signal += box.disc(outer) * (muscle - signal)
        trabeculae = np.clip(1.5 * (grain - 1.9 + 1.3 * level), 0, 1)  # denser towards the apex
        signal += rv * ((0.8 - 0.4 * trabeculae) * flow - signal)
        signal += lv * (muscle - signal)
        if w.in_lv[k, 0]:
            signal += _lv_blood(scene, box, w, k) * (flow - signal)
        elif level == 0:  # above the base: left atrium, and the root of the aorta next to it
            size_mm = float(w.epicardium[k].mean())
            signal += box.disc(w.epicardium[k] - 2) * (0.95 * flow - signal)
            signal += box.spot(0.5 * size_mm, 0.5, 14) * (muscle - signal)
            signal += box.spot(0.5 * size_mm, 0.5, 12) * (1 - signal)
        total += signal * cover
        total_cover += cover
        parts += (rv * (1 - lv) * w.in_rv[k], (lv - cavity) * w.in_lv[k], cavity * w.in_lv[k])
    return total / planes, total_cover / planes, parts / planes


def _lv_blood(scene: _Scene, box: _Box, w: anatomy.Walls, k: int) -> np.ndarray:
    """Cover (i, j) of blood in the LV cavity of plane `k`: the cavity without its trabeculae and the two papillary muscles."""
    level, twist, cavity_mm = float(w.level[k, 0]), float(w.twist[k, 0]), float(w.cavity[k].mean())
    rough = scene.ragged[1] * np.cos(5 * level) + scene.ragged[2] * np.sin(5 * level)
    rough = np.roll(np.maximum(rough, 0), round(twist / ANGLES[1]))
    blood = box.disc(w.cavity[k] * np.maximum(1 - (0.05 + 0.08 * level) * rough, 0))
    size_mm = 0.19 * cavity_mm * math.sqrt(max(1 - ((level - 0.5) / 0.3) ** 2, 0))
    if size_mm > 0:
        for bearing in (1.9, -2.0):
            blood *= 1 - box.spot(0.76 * cavity_mm, bearing + twist, size_mm)
    return blood


def _majority(parts: np.ndarray) -> np.ndarray:
    """The label (i, j) that fills most of each voxel; `parts` (3, i, j) are the fractions of labels 1 to 3."""
    everything = np.concatenate([1 - parts.sum(0, keepdims=True), parts])
    return everything.argmax(0).astype(np.uint8)
