"""Image formation: the beating heart in its thorax as a short-axis bSSFP magnitude picture, with its label map.

Signal is kept with a sign while tissues are mixed within a voxel: fat precesses against water, so it is negative, and the
magnitude taken at the end draws the dark line that bSSFP shows where fat meets water. Blood is 1.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shared.phantom import heart as anatomy

ANGLES = 720
LUNG, FAT, MUSCLE, LIVER, BONE = 0.09, -1.15, 0.26, 0.34, 0.38
BOX_MM = 110.0  # half the side of the square around the LV axis in which the heart is drawn


def render(patient, phase_fraction):
    """One frame: image (x, y, z) int16, label (x, y, z) uint8 and spacing (3,) in mm.

    Slice 0 is the base end. Labels: 0 background, 1 RV cavity, 2 LV myocardium, 3 LV cavity, as ACDC.

    Args:
        patient: from `draw_patient`.
        phase_fraction: 0 end-diastole .. 1 end-systole.
    """
    scene = _scene(patient)
    signal = scene.thorax.copy()
    label = np.zeros(patient.shape, np.uint8)
    for z, (box, radius, angle) in enumerate(scene.boxes):
        paint, cover, parts = _heart_slice(scene, phase_fraction, z, radius, angle)
        signal[(*box, z)] += paint - cover * signal[(*box, z)]
        label[(*box, z)] = _majority(parts)
    signal *= scene.texture
    signal = ndimage.gaussian_filter(signal, (0.45, 0.45, 0))
    random = np.random.default_rng((patient.seed, patient.number, 1, round(phase_fraction * 1e6)))
    real, imaginary = random.standard_normal((2, *patient.shape), np.float32) * patient.noise
    magnitude = np.hypot(np.abs(signal) * scene.coil + real, imaginary)
    return np.round(magnitude * patient.signal).astype(np.int16), label, patient.spacing_mm


@dataclass(frozen=True)
class _Scene:
    """What does not beat: thorax, coil, textures (x, y, z), and per slice the box of the heart in polar coordinates."""

    heart: anatomy.Heart
    thorax: np.ndarray
    coil: np.ndarray
    texture: np.ndarray
    grain: np.ndarray
    flow: np.ndarray  # what moving blood adds, mean 1
    ragged: np.ndarray  # (3, ANGLES) unit noise around the heart: fat, then trabeculae
    boxes: tuple  # ((slice in x, slice in y), radius in mm (i, j), index of the angle (i, j))


@functools.lru_cache(maxsize=1)
def _scene(patient):
    p, heart = patient, anatomy.fit_heart(patient)
    random = np.random.default_rng((p.seed, p.number, 2))
    grain = random.standard_normal(p.shape, np.float32)
    grain = _unit(ndimage.gaussian_filter(grain, (2.2 / p.spacing_mm[0], 2.2 / p.spacing_mm[0], 0.4)))
    clouds = _unit(ndimage.gaussian_filter(random.standard_normal(p.shape, np.float32), (7, 7, 0.8)))
    depths = anatomy.slice_depths(p)
    body = _Body(heart, random)
    thorax, boxes = np.empty(p.shape, np.float32), []
    for z, depth_mm in enumerate(depths):
        x, y = _picture_mm(p, z)
        thorax[..., z] = np.mean([body.signal(x, y, depth_mm + part * p.spacing_mm[2], grain[..., z], clouds[..., z])
                                  for part in (-0.25, 0.25)], axis=0)
        along = depth_mm / p.length_mm - 0.5
        x, y = x - p.drift_mm[0] * along, y - p.drift_mm[1] * along
        inside = np.maximum(abs(x), abs(y)) < BOX_MM
        box = tuple(slice(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))))
        turn = np.arctan2(y[box], x[box]) - np.radians(p.rv_direction_deg)
        boxes.append((box, np.hypot(x[box], y[box]), np.round(turn * (ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES))
    x, y = _picture_mm(p, None)
    coil = np.exp(-(p.coil[0] * x + p.coil[1] * y) / 100 - ((x / 260) ** 2 + (y / 260) ** 2))
    texture = (1 + 0.06 * grain + 0.05 * clouds) * random.normal(1, 0.06, p.shape[2])  # slices differ in steady state
    flow = 1 + 0.07 * grain - 0.12 * clouds
    ragged = random.standard_normal((3, ANGLES))
    ragged = [_unit(ndimage.gaussian_filter1d(row, width, mode="wrap")) for row, width in zip(ragged, (50, 11, 11), strict=True)]
    return _Scene(heart, thorax, coil[..., None].astype(np.float32), texture, grain, flow, np.array(ragged), tuple(boxes))


def _heart_slice(scene, phase, z, radius, angle):
    """Signal times cover, cover, and the fractions (3, i, j) of RV cavity, myocardium and LV cavity in slice `z`."""
    p = scene.heart.patient
    pixel_mm, thickness_mm = p.spacing_mm[0], p.spacing_mm[2]
    planes = 2 * int(thickness_mm / 4) + 1
    depths = anatomy.slice_depths(p)[z] + thickness_mm * ((np.arange(planes) + 0.5) / planes - 0.5)
    turn = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    w = anatomy.walls(scene.heart, phase, depths, turn)
    grain, flow = (field[..., z][scene.boxes[z][0]] for field in (scene.grain, scene.flow))
    muscle = 1 / p.contrast
    pad_mm = 20 * np.sqrt(np.clip(1 - ((depths - p.length_mm) / 22) ** 2, 0, None))  # fat around the apex
    paint, cover = np.zeros(radius.shape, np.float32), np.zeros(radius.shape, np.float32)
    parts = np.zeros((3, *radius.shape), np.float32)
    for k in range(planes):
        def disc(edge):
            """Cover of the region within `edge` (angles,) mm; the blur is one pixel across the edge, not along the radius."""
            slope = np.hypot(1, np.gradient(edge, turn[1]) / np.maximum(edge, 1))
            return np.clip((edge[angle] - radius) / (pixel_mm * slope[angle]) + 0.5, 0, 1) * (edge[angle] > 0)

        level, in_lv, in_rv = w.level[k, 0], w.in_lv[k, 0], w.in_rv[k, 0]
        outer = w.rv_epicardium[k]
        if outer.max() <= 0 and pad_mm[k] <= 0:
            continue
        at = turn - w.twist[k, 0]
        fat_mm = 0.6 + p.fat_mm * (np.exp(-(((abs(turn - np.pi) - 1.9) / 0.4) ** 2)) + 0.6 * np.maximum(scene.ragged[0], 0))
        edge = ndimage.gaussian_filter1d(np.maximum(outer, 0.97 * np.roll(outer, 40)), 18, mode="wrap")
        edge = np.maximum(np.maximum(edge, outer) + fat_mm, pad_mm[k])
        whole = disc(edge + 1.5)
        lv, cavity, rv = disc(w.epicardium[k]), disc(w.cavity[k]), disc(w.rv[k])
        layer = MUSCLE + disc(edge) * (FAT - MUSCLE)  # pericardium, then fat
        layer += disc(outer) * (muscle - layer)
        rv_blood = (0.8 - 0.4 * np.clip(grain - 1.6 + 1.2 * level, 0, 1)) * flow  # trabeculae, denser towards the apex
        layer += rv * (rv_blood - layer)
        if in_lv:
            rough = scene.ragged[1] * np.cos(5 * level) + scene.ragged[2] * np.sin(5 * level)
            rough = np.roll(np.maximum(rough, 0), round(w.twist[k, 0] / turn[1]))
            blood = disc(w.cavity[k] * (1 - (0.05 + 0.08 * level) * rough))
            blood *= 1 - _papillary(w, k, at, angle, radius, pixel_mm)
            layer += lv * (muscle - layer)
            layer += blood * (flow - layer)
        elif level == 0:  # above the base: left atrium, and the root of the aorta beside it
            layer += lv * (muscle - layer)
            layer += disc(w.epicardium[k] - 2) * (0.95 * flow - layer)
            layer = _aortic_root(layer, w.epicardium[k].mean(), turn[angle], radius, pixel_mm, muscle)
        paint += layer * whole
        cover += whole
        parts += (rv * (1 - lv) * in_rv, (lv - cavity) * in_lv, cavity * in_lv)
    return paint / planes, cover / planes, parts / planes


def _majority(parts):
    """Label map (i, j) of the structure that fills most of each voxel; `parts` (3, i, j) are the fractions of labels 1 to 3."""
    every = np.concatenate([1 - parts.sum(0, keepdims=True), parts])
    return every.argmax(0).astype(np.uint8)


def _papillary(w, k, at, angle, radius, pixel_mm):
    """Cover of the two papillary muscles, which stand in the blood between a quarter and three quarters of the cavity."""
    level, cavity_mm = w.level[k, 0], w.cavity[k].mean()
    size_mm = 0.17 * cavity_mm * np.clip(1 - ((level - 0.5) / 0.3) ** 2, 0, None) ** 0.5
    cover = np.zeros(radius.shape, np.float32)
    if size_mm > 0:
        for side in (1.9, -2.0):
            away = np.sqrt(radius**2 + (0.68 * cavity_mm) ** 2 - 2 * radius * 0.68 * cavity_mm * np.cos(at[angle] - side))
            cover = np.maximum(cover, np.clip((size_mm - away) / pixel_mm + 0.5, 0, 1))
    return cover


def _aortic_root(layer, size_mm, turn, radius, pixel_mm, muscle):
    away = np.sqrt(radius**2 + (0.5 * size_mm) ** 2 - radius * size_mm * np.cos(turn - 0.5))
    for edge_mm, signal in ((14, muscle), (12, 1.0)):
        layer = layer + np.clip((edge_mm - away) / pixel_mm + 0.5, 0, 1) * (signal - layer)
    return layer


class _Body:
    """The thorax and upper abdomen around the heart, in picture coordinates (mm from the LV axis, x right, y down)."""

    def __init__(self, heart, random):
        self.patient = patient = heart.patient
        weight = patient.weight_kg / (patient.height_cm / 100) ** 2
        self.fat_mm = 5 + 1.5 * (weight - 19) + random.uniform(0, 5)
        reach_mm = heart.radius_mm + heart.wall_mm + heart.rv_reach_mm[0]
        self.left_mm = -0.92 * reach_mm - 18 - self.fat_mm  # the front of the chest lies close on the right ventricle
        self.half_mm = random.uniform(130, 145) + 0.5 * self.fat_mm, random.uniform(165, 185)
        self.lean = random.uniform(0.05, 0.45)
        self.wave = random.uniform(0, 2 * np.pi, 6)
        self.stomach = random.uniform(0.15, 0.8)
        self.diaphragm_mm = random.uniform(36, 46)
        self.ribs = random.integers(17, 23)

    def signal(self, x, y, depth_mm, grain, clouds):
        """Signed signal (x, y) at one depth; grain and clouds (x, y) are random fields of unit variance."""
        pixel_mm = self.patient.spacing_mm[0]
        t = np.clip(depth_mm / self.patient.length_mm, -0.2, 1.2)  # 0 base .. 1 apex
        a, b, c, d, e, f = self.wave
        x, y = (x + 5 * np.sin(y / 31 + a) + 3 * np.sin(x / 19 + y / 23 + b + t),
                y + 5 * np.sin(x / 37 + c) + 3 * np.sin(y / 17 - x / 29 + d + t))
        canvas = np.zeros(x.shape, np.float32)

        def paint(distance, value):
            nonlocal canvas
            canvas += np.clip(0.5 - distance / pixel_mm, 0, 1) * (value - canvas)

        def oval(centre_x, centre_y, half_x, half_y, power=2, x=x):
            reach = (abs((x - centre_x) / half_x) ** power + abs((y - centre_y) / half_y) ** power) ** (1 / power)
            return (reach - 1) * min(half_x, half_y)

        half_x, half_y = self.half_mm
        lean = x + self.lean * np.minimum(y - 10, 0)  # towards the shoulder the chest recedes
        left = self.left_mm + 18 * t  # the plane leaves the chest towards the apex, so its front wall comes nearer
        body = oval(left + half_x - 4, 22 + 14 * t, half_x, half_y - 18 * t, 2.4, lean)
        paint(body, MUSCLE)  # skin
        paint(body + 2, FAT + 0.06 * clouds)
        chest = oval(left + half_x - 4 + 3, 20 + 14 * t, half_x - self.fat_mm, half_y - 0.8 * self.fat_mm - 18 * t, 2.2, lean)
        paint(chest, MUSCLE + 0.03 * clouds)
        bearing = np.arctan2(y - 20, x - left - half_x)
        paint(np.abs(chest + 8) - 2 + 3 * np.clip(np.sin(self.ribs * bearing + e), -1, 0.5), -0.45)  # fat between muscle and ribs
        inner = chest + 14
        paint(inner, LUNG + 0.02 * clouds + 0.7 * np.clip(grain - 1.9, 0, 1) * (oval(0, 0, 85, 85) < 0))
        diaphragm = self.diaphragm_mm - 16 * t + 6 * np.cos((x + 30) / 40) - 14 * np.exp(-(((x - 75) / 38) ** 2)) - y
        abdomen = np.maximum(inner, diaphragm)
        paint(abdomen, MUSCLE)
        bowel = np.clip(3 * (clouds - 0.4), 0, 1)
        paint(np.maximum(inner, diaphragm + 2.5), (FAT + 0.15) * (1 - bowel) + bowel * (0.35 + 0.1 * grain))
        vessels = 0.5 * np.clip(grain - 1.7, 0, 1)
        paint(np.maximum(np.maximum(inner + 2, diaphragm + 4), oval(-70, 95 - 20 * t, 95, 66)), LIVER + vessels + 0.02 * clouds)
        spleen = np.maximum(np.maximum(inner + 2, diaphragm + 4), oval(104, 58 - 25 * t, 30, 36))
        paint(spleen, 0.45 + 0.03 * clouds)
        stomach = np.maximum(diaphragm + 3, oval(48, 68 - 18 * t, 30, 26))
        paint(stomach, 0.4)
        paint(stomach + 3.5, self.stomach + 0.25 * np.clip(clouds, -1, 1))
        paint(np.maximum(inner + 4, oval(92, 118 - 10 * t, 24, 30)), 0.42 + 0.3 * np.clip(1 - oval(90, 116 - 10 * t, 14, 18), 0, 1))
        paint(oval(34, 128, 36, 30, 3), MUSCLE + 0.05 * clouds)  # back muscles around the spine
        paint(oval(34, 118, 21, 18, 2.5), 0.1)
        paint(oval(34, 118, 19, 16, 2.5), BONE + 0.04 * grain)
        paint(oval(40, 143, 9, 7), 0.9)  # spinal canal
        paint(oval(24, 82 - 6 * t, 12.5, 12.5), 0.2)  # descending aorta
        paint(oval(24, 82 - 6 * t, 11, 11), 0.98)
        far = np.maximum(np.hypot(x - 10, (y - 10) * 0.85) - 130, 0)
        return canvas * (1 - 0.85 * np.exp(-((np.sin(far**1.25 / 9 + f) / 0.35) ** 2)) * (far > 12))  # banding far from the shim


def _picture_mm(patient, z):
    """Picture coordinates x, y (x, y) of the pixels of slice `z`, in mm from the LV axis; without a breath-hold shift for None."""
    p = patient
    x, y = ((np.arange(n, dtype=np.float32) - at * n) * mm for n, at, mm in zip(p.shape, _position(p), p.spacing_mm, strict=False))
    turn = np.radians(p.rotation_deg)
    x, y = x[:, None], y[None]
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    if z is not None:
        x, y = x - p.shifts_mm[z][0], y - p.shifts_mm[z][1]
    return x, y


def _position(patient):
    across, down = patient.position
    return (1 - down, across) if abs(patient.rotation_deg) > 45 else (across, down)


def _unit(field):
    return field / field.std()
