"""A left atrium in late gadolinium enhancement, for the layout of the 2018 Atrial Segmentation Challenge.

Shapes are signed distances in mm (negative inside) from the middle of the atrium: x to the patient's left, y backwards, z up.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from shared.phantom.shapes import ball, melt, noise, tube

SPACING_MM = 0.625
SLICES = 88
LUNG, FAT, WALL, BLOOD, SCAR, BONE = 0.08, 0.28, 0.24, 0.72, 0.95, 0.34


def render_atrium(
    number: int, seed: int = 0, size: tuple[int, int] = (160, 160)
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Image (x, y, 88) uint8, label (x, y, 88) uint8 (255 = left atrial cavity) and spacing (3,) in mm of case `number`."""
    random = np.random.default_rng((seed, number, 7))
    atrium = _Atrium(random)
    shape = (*size, SLICES)
    middle = [(n - 1) / 2 + random.uniform(-5, 5) for n in shape]
    x, y = ((np.arange(n, dtype=np.float32) - c) * SPACING_MM for n, c in zip(size, middle[:2], strict=True))
    x, y = np.meshgrid(x, y, indexing="ij")
    clouds = noise(random, shape, (5, 5, 5))
    signal, label = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    for k in range(SLICES):
        cavity, signal[..., k] = atrium.slice(x, y, (k - middle[2]) * SPACING_MM, clouds[..., k])
        label[..., k] = (cavity < 0) * 255
    signal = ndimage.gaussian_filter(signal * (1 + 0.05 * clouds), (0.9, 0.9, 1.1))  # scanned at 1.25 mm, interpolated to 0.625
    coil = np.exp(-(0.25 * y + random.uniform(-0.1, 0.1) * x) / 100)[..., None]
    grain = random.uniform(0.04, 0.08) * noise(random, (2, *shape), (0, 0.7, 0.7, 0.8))
    magnitude = np.hypot(signal * coil + grain[0], grain[1])
    return np.clip(magnitude * random.uniform(150, 190), 0, 255).astype(np.uint8), label, (SPACING_MM, SPACING_MM, SPACING_MM)


class _Atrium:
    """One atrium and its neighbours, with sizes drawn from `random`."""

    def __init__(self, random: np.random.Generator) -> None:
        uniform = random.uniform
        self.half = np.array([uniform(21, 27), uniform(12.5, 16), uniform(15, 19)])
        # start and end (mm), radius at both: right and left, superior and inferior veins; the appendage in two pieces
        half_x, half_y, half_z = self.half
        self.veins = [
            self._tube(random, start, end, uniform(5.5, 7.5), uniform(4, 5.5))
            for start, end in (
                ((-0.7 * half_x, 2, 0.5 * half_z), (-half_x - 14, 8, 0.6 * half_z + 6)),
                ((-0.7 * half_x, 6, -0.3 * half_z), (-half_x - 9, 18, -0.4 * half_z - 3)),
                ((0.7 * half_x, 3, 0.5 * half_z), (half_x + 8, 12, 0.6 * half_z + 9)),
                ((0.65 * half_x, 6, -0.2 * half_z), (half_x + 5, 24, -0.2 * half_z - 4)),
            )
        ]
        elbow = (0.95 * half_x, -0.9 * half_y - 6, 0.5 * half_z)
        self.appendage = [
            self._tube(random, (0.6 * half_x, -0.3 * half_y, 0.2 * half_z), elbow, 7, uniform(6, 8)),
            self._tube(random, elbow, (0.95 * half_x + 6, -half_y - 16, 0.5 * half_z + 6), 6, uniform(3, 4)),
        ]
        self.wave = uniform(0, 2 * np.pi, 3)
        self.scar = uniform(0.7, 1.6)  # threshold of the enhancement on unit noise
        self.shift = random.normal(0, 2, (8, 2))

    @staticmethod
    def _tube(
        random: np.random.Generator, start: Sequence[float], end: Sequence[float], first_mm: float, last_mm: float
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        return np.array(start), np.array(end) + random.normal(0, 2, 3), first_mm, last_mm

    def slice(self, x: np.ndarray, y: np.ndarray, z: float, clouds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signed distance of the cavity and signal, both (x, y), at height `z`."""
        a, b, c = self.wave
        x, y = x + 2 * np.sin(y / 11 + z / 13 + a), y + 1.5 * np.sin(x / 12 - z / 9 + b)
        cavity = beyond = ball(x, y + 0.12 * abs(z), z, (0, 0, 0), self.half, power=2.5)
        for start, end, first_mm, last_mm in self.veins:
            cavity = melt(cavity, tube(x, y, z, start, end, first_mm, last_mm), 3)
            beyond = np.minimum(beyond, tube(x, y, z, end, end + 1.2 * (end - start), last_mm, 2.0))
        for piece in self.appendage:
            cavity = melt(cavity, tube(x, y, z, *piece), 3)

        canvas = np.full(x.shape, FAT, np.float32)
        shift = self.shift

        def paint(distance: np.ndarray, value: float | np.ndarray) -> None:
            nonlocal canvas
            canvas += np.clip(0.5 - distance / 1.2, 0, 1) * (value - canvas)

        def column(
            k: int, centre_x: float, centre_y: float, radius_mm: float, blood: float = BLOOD, wall_mm: float = 1.5
        ) -> None:
            away = np.hypot(x - centre_x - shift[k, 0], y - centre_y - shift[k, 1]) - radius_mm
            paint(away - wall_mm, WALL)
            paint(away, blood)

        body = ball(x, y, z * 0, (0, -8, 0), (172, 114, 99), power=2.5)
        hilum = 23 + 18 / (1 + np.exp((y - 8) / 5)) + 4 * np.sin(z / 14 + c)  # half-width of what lies between the lungs
        lungs = np.maximum(hilum - np.abs(x + 2), body + 26)
        paint(-body, 0)  # seen on large matrices only
        paint(np.maximum(lungs, -(y + 60)), LUNG + 0.5 * np.clip(clouds - 1.3, 0, 1))
        paint(ball(x, y, z * 0, (-8, 49, 0), (21, 19, 9), power=2.5), 0.08)
        paint(ball(x, y, z * 0, (-8, 49, 0), (19, 17, 9), power=2.5), BONE + 0.05 * clouds)
        column(0, 15, 32, 10.5)  # descending aorta
        column(1, -2, 23, 4, 0.35, 1)  # oesophagus
        paint(ball(x, y, z, (-36, -26, -8), (24, 22, 30)), WALL)  # right atrium
        paint(ball(x, y, z, (-36, -26, -8), (22, 20, 28)), BLOOD)
        paint(ball(x, y, z, (34, -34, -32), (34, 30, 36)), WALL * 0.8)  # left ventricle
        paint(ball(x, y, z, (34, -34, -32), (24, 20, 27)), BLOOD)
        paint(ball(x, y, z, (-8, -52, -24), (36, 18, 34)), BLOOD)  # right ventricle
        if z > -14:
            column(2, -4, -34, 14)  # ascending aorta
        if z > 8:
            column(3, -34, -22, 8.5)  # superior vena cava
        if z > 0:
            column(4, 22, -40 + 0.5 * z, 13)  # trunk of the pulmonary artery
        paint(tube(x, y, z, np.array((24, -22, 26)), np.array((-42, -8, 27)), 9, 7) - 1.5, WALL)  # its right branch
        paint(tube(x, y, z, np.array((24, -22, 26)), np.array((-42, -8, 27)), 9, 7), BLOOD)
        paint(np.minimum(cavity, beyond) - 1.8, WALL + (SCAR - WALL) * np.clip(2 * (clouds - self.scar), 0, 1))
        mitral = ball(x, y, z, (24, -16, -16), (13, 12, 12))  # no wall where the atrium opens into the ventricle
        paint(np.minimum(np.minimum(cavity, beyond), np.maximum(mitral, cavity - 12)), BLOOD)
        return cavity, canvas
