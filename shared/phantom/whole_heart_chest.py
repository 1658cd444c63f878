"""The organs around a whole heart: chest wall, lungs, diaphragm and belly, windpipe, gullet, spine.

Coordinates are those of `whole_heart`: mm from the base of the left ventricle, x to the left, y backwards, z up.
"""

from collections.abc import Callable

import numpy as np

from shared.phantom.shapes import ball
from shared.phantom.whole_heart import Points, path, vessel

# paints the inside of a signed distance with a tissue: air, lung, fat, soft, muscle, liver, marrow, bone or fluid
Paint = Callable[[np.ndarray, str], None]


class Chest:
    """The chest of one patient, with sizes drawn from `random`."""

    def __init__(self, random: np.random.Generator) -> None:
        uniform = random.uniform
        self.half = uniform(128, 140), uniform(84, 90)  # of the space within the ribs
        self.fat_mm, self.muscle_mm = uniform(8, 20), uniform(8, 14)
        self.diaphragm_mm = uniform(-52, -46)  # below the heart
        self.dome_mm = uniform(18, 30), uniform(6, 16)  # right and left
        self.rib, self.disc = uniform(
            0, 1, 2
        ).tolist()  # where the series of ribs and of vertebrae begin, as parts of their distance
        self.gullet = path(((2, 48, 120), 6.5), ((8, 50, -70), 7.5))
        self.windpipe = path(((-3, 24, 140), 8.5), ((0, 34, 64), 8))
        self.bronchi = [path(((0, 34, 63), 7), ((-34, 38, 38), 5.5)), path(((0, 34, 63), 6.5), ((38, 44, 38), 5))]

    def paint(self, paint: Paint, at: Points, heart: np.ndarray, clouds: np.ndarray) -> None:
        """Paint all organs at points x, y, z, from the outside in.

        Args:
            paint: called once per organ.
            at: x, y, z in mm.
            heart: signed distance of the heart and its vessels; fat lies around them.
            clouds: smooth unit noise.
        """
        x, y, z = at
        flat = np.zeros_like(z)
        chest = ball(x, y - 8, flat, (0, 0, 0), (*self.half, 85), power=2.3)
        paint(chest - 12 - self.muscle_mm - self.fat_mm, "fat")
        paint(chest - 12 - self.muscle_mm, "muscle")
        paint(chest - 11, "fat")
        paint(chest - 6, "muscle")
        self._ribs(paint, at, chest)
        self._lungs(paint, at, chest, heart, clouds)
        self._spine(paint, at)
        paint(vessel(at, self.windpipe) - 1.5, "soft")
        paint(vessel(at, self.windpipe), "air")
        for bronchus in self.bronchi:
            paint(vessel(at, bronchus) - 1, "soft")
            paint(vessel(at, bronchus), "air")
        gullet = vessel(at, self.gullet)
        paint(gullet, "soft")
        paint(gullet + 5, "air")

    def _ribs(self, paint: Paint, at: Points, chest: np.ndarray) -> None:
        x, y, z = at
        step = (z + 0.55 * (60 - y)) / 26 + self.rib  # ribs sink forwards
        away_mm = 26 * np.abs(step - np.rint(step)) * 0.85
        rib = np.maximum((np.hypot((chest - 6.5) / 4, away_mm / 6) - 1) * 4, 22 - np.abs(x))
        paint(rib, "bone")
        paint(rib + 2, "marrow")
        sternum = ball(x, y, np.maximum(-28 - z, 0), (0, -84, 0), (17, 6.5, 8), power=2.5)
        paint(sternum, "bone")
        paint(sternum + 1.8, "marrow")

    def _lungs(self, paint: Paint, at: Points, chest: np.ndarray, heart: np.ndarray,
               clouds: np.ndarray) -> None:  # fmt: skip
        x, y, z = at
        right, left = self.dome_mm
        dome = right * np.exp(-(((x + 75) / 48) ** 2) - ((y + 5) / 75) ** 2) + left * np.exp(-(((x - 80) / 40) ** 2))
        diaphragm = z - (self.diaphragm_mm + dome - 0.006 * np.maximum(y - 10, 0) ** 2)  # negative below it
        column = ball(x, y, np.maximum(72 - z, 0), (0, 8, 0), (40, 50, 34), power=2.3)  # around the arch of the aorta
        front = np.maximum(np.abs(x + 2) - 4 - 0.4 * np.maximum(y + 84, 0), np.maximum(y + 12, -22 - z))
        back = ball(x, y, np.zeros_like(z), (4, 70, 0), (27, 32, 30), power=2.2)
        middle = np.minimum.reduce([heart - 3.5 - 2.5 * np.maximum(clouds, 0), column + 4 * clouds, front + 4 * clouds, back])
        paint(chest, "lung")
        paint(np.maximum(middle - 1.5, chest), "soft")  # pericardium and pleura
        paint(np.maximum(middle, chest), "fat")
        paint(np.maximum(chest, diaphragm), "muscle")
        below = np.maximum(chest + 2, diaphragm + 3.5)
        paint(below, "fat")
        paint(np.maximum(below, ball(x, y, z, (-58, 2, -92), (92, 84, 92), power=2.3)), "liver")
        stomach = np.maximum(below, ball(x, y, z, (66, -8, -92), (48, 44, 62)))
        paint(stomach, "soft")
        paint(stomach + 3.5, "fluid")
        paint(np.maximum(stomach + 3.5, y + 8), "air")  # it rises to the front of a patient who lies on his back
        paint(np.maximum(below, ball(x, y, z, (92, 58, -96), (34, 40, 56))), "liver")  # spleen

    def _spine(self, paint: Paint, at: Points) -> None:
        x, y, z = at
        flat = np.zeros_like(z)
        paint(ball(x, y, flat, (0, 112, 0), (52, 27, 30), power=2.5), "muscle")
        gap = np.cos(2 * np.pi * (z / 30 + self.disc))  # 1 in the middle of a disc between two vertebrae
        vertebra = ball(x, y - 74, flat, (0, 0, 0), (18, 15.5, 16), power=2.4) + 0.8 * (1 - gap)
        paint(vertebra, "bone")
        paint(np.maximum(vertebra + 1.8, 18 * (gap - 0.8)), "marrow")
        paint(np.maximum(vertebra, 18 * (0.88 - gap)), "muscle")
        arch = np.minimum(ball(x, y, flat, (0, 98, 0), (16, 11, 20)), ball(x, y - 6, flat, (0, 104, 0), (4, 16, 20)))
        arch = np.minimum(arch, np.maximum(ball(x, y, flat, (0, 98, 0), (34, 6, 20)), 6 * (gap + 0.1)))
        paint(arch, "bone")
        paint(arch + 1.8, "marrow")
        paint(ball(x, y, flat, (0, 98, 0), (9, 8, 20)), "fluid")  # spinal canal
