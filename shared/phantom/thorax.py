"""The organs around the heart in a short-axis picture: chest wall, lungs, liver, stomach, spleen, kidney, spine, aorta.

Coordinates are picture coordinates in mm from the axis of the left ventricle, x to the right and y down: the front of the chest
is on the left, the back at the bottom right. Signal is relative to blood, fat negative (see `mri`).
"""

import numpy as np

from shared.phantom.heart import Heart

LUNG, FAT, MUSCLE, LIVER, BONE = 0.09, -1.15, 0.26, 0.34, 0.38


class Thorax:
    """The trunk of one patient, fitted around the heart; sizes that `Patient` does not state are drawn from `random`."""

    def __init__(self, heart: Heart, random: np.random.Generator) -> None:
        self.patient = patient = heart.patient
        mass_index = patient.weight_kg / (patient.height_cm / 100) ** 2
        self.fat_mm = 5 + 1.5 * (mass_index - 19) + random.uniform(0, 5)
        reach_mm = heart.radius_mm + heart.wall_mm + heart.rv_reach_mm[0]
        self.left_mm = -0.92 * reach_mm - 18 - self.fat_mm  # the front of the chest lies close on the right ventricle
        self.half_mm = random.uniform(130, 145) + 0.5 * self.fat_mm, random.uniform(165, 185)
        self.lean = random.uniform(0.05, 0.45)
        self.wave = random.uniform(0, 2 * np.pi, 6).tolist()
        self.stomach = random.uniform(0.15, 0.8)
        self.diaphragm_mm = random.uniform(36, 46)
        self.ribs = int(random.integers(17, 23))

    def signal(self, x: np.ndarray, y: np.ndarray, depth_mm: float, grain: np.ndarray, clouds: np.ndarray) -> np.ndarray:
        """Signal (x, y) at one depth; `grain` and `clouds` (x, y) are fine and coarse random fields of unit variance."""
        pixel_mm = self.patient.spacing_mm[0]
        t = min(max(depth_mm / self.patient.length_mm, -0.2), 1.2)  # 0 base .. 1 apex
        a, b, c, d, e, f = self.wave
        x, y = (
            x + 5 * np.sin(y / 31 + a) + 3 * np.sin(x / 19 + y / 23 + b + t),
            y + 5 * np.sin(x / 37 + c) + 3 * np.sin(y / 17 - x / 29 + d + t),
        )
        lean = x + self.lean * np.minimum(y - 10, 0)  # towards the shoulder the chest recedes
        canvas = np.zeros(x.shape, np.float32)

        def paint(distance: np.ndarray, value: float | np.ndarray) -> None:
            nonlocal canvas
            canvas += np.clip(0.5 - distance / pixel_mm, 0, 1) * (value - canvas)

        def oval(
            centre_x: float, centre_y: float, half_x: float, half_y: float, power: float = 2, x: np.ndarray = x
        ) -> np.ndarray:
            reach = (abs((x - centre_x) / half_x) ** power + abs((y - centre_y) / half_y) ** power) ** (1 / power)
            return (reach - 1) * min(half_x, half_y)

        half_x, half_y = self.half_mm
        middle = self.left_mm + half_x + 18 * t  # the plane leaves the chest towards the apex, so its front wall comes nearer
        body = oval(middle - 4, 22 + 14 * t, half_x, half_y - 18 * t, 2.4, lean)
        chest = oval(middle - 1, 20 + 14 * t, half_x - self.fat_mm, half_y - 0.8 * self.fat_mm - 18 * t, 2.2, lean)
        inner = chest + 14
        paint(body, MUSCLE)  # skin
        paint(body + 2, FAT + 0.06 * clouds)
        paint(chest, MUSCLE + 0.03 * clouds)
        bearing = np.arctan2(y - 20, x - middle)
        paint(abs(chest + 8) - 2 + 3 * np.clip(np.sin(self.ribs * bearing + e), -1, 0.5), -0.45)  # fat between muscle and ribs
        paint(inner, LUNG + 0.02 * clouds + 0.7 * np.clip(grain - 1.9, 0, 1) * (oval(0, 0, 85, 85) < 0))

        dome = 6 * np.cos((x + 30) / 40) - 14 * np.exp(-(((x - 75) / 38) ** 2))
        diaphragm = self.diaphragm_mm - 22 * t + dome - y
        belly = np.maximum(inner + 2, diaphragm + 3)
        bowel = np.clip(3 * (clouds - 0.4), 0, 1)
        paint(np.maximum(inner, diaphragm), MUSCLE)
        paint(belly, (FAT + 0.15) * (1 - bowel) + bowel * (0.35 + 0.1 * grain))
        paint(np.maximum(belly, oval(-70, 95 - 20 * t, 95, 66)), LIVER + 0.5 * np.clip(grain - 1.7, 0, 1) + 0.02 * clouds)
        paint(np.maximum(belly, oval(104, 58 - 25 * t, 30, 36)), 0.45 + 0.03 * clouds)  # spleen
        stomach = np.maximum(belly, oval(48, 68 - 18 * t, 30, 26))
        paint(stomach, 0.4)
        paint(stomach + 3.5, self.stomach + 0.25 * np.clip(clouds, -1, 1))
        pelvis = np.clip(1 - oval(90, 116 - 10 * t, 14, 18), 0, 1)
        paint(np.maximum(belly, oval(92, 118 - 10 * t, 24, 30)), 0.42 + 0.3 * pelvis)  # kidney
        paint(oval(34, 128, 36, 30, 3), MUSCLE + 0.05 * clouds)  # back muscles around the spine
        paint(oval(34, 118, 21, 18, 2.5), 0.1)
        paint(oval(34, 118, 19, 16, 2.5), BONE + 0.04 * grain)
        paint(oval(40, 143, 9, 7), 0.9)  # spinal canal
        paint(oval(24, 82 - 6 * t, 12.5, 12.5), 0.2)  # descending aorta
        paint(oval(24, 82 - 6 * t, 11, 11), 0.98)
        far = np.maximum(np.hypot(x - 10, (y - 10) * 0.85) - 130, 0)
        return canvas * (1 - 0.85 * np.exp(-((np.sin(far**1.25 / 9 + f) / 0.35) ** 2)) * (far > 12))  # banding far from the shim
