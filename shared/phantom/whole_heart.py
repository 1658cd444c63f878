"""Anatomy of a whole heart at end-diastole: four chambers, the wall of the left ventricle, and the great vessels.

Points are in mm from the middle of the left ventricle's base: x to the patient's left, y backwards, z up. The ventricles are
described in the heart's own axes: p from the left ventricle towards the right one, q up along the septum, w from the base to the
apex, which points to the left, forwards and down. All numbers are ours: the sizes of adults at rest.

Neighbours open into each other at their valve only (LA and LV, LV and AA, RA and RV, RV and PA): there their labels touch.
Elsewhere a wall of about `GAP_MM` lies between two cavities. Walls have no label, except that of the left ventricle (Myo).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.phantom.shapes import Point, ball, melt, tube

STRUCTURES = ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")
GAP_MM = 3.0  # between cavities that are no neighbours
TO_APEX = np.array((0.66, -0.58, -0.48))
TO_RV = np.array((-0.62, -0.78, 0.03))
Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Path = list[tuple[np.ndarray, float]]  # points on the axis of a vessel, (3,), and its radius there


@dataclass(frozen=True)
class Shapes:
    """Signed distances, negative inside, at the points asked for; in mm of a heart of usual size.

    Attributes:
        cavities: of the labelled structures, name -> distance. No two of them are negative at one point.
        vessels: of blood without a label: name -> distance of "arch" (and descending aorta), "veins" (of the lungs and the
            body), "arteries" (of the lungs, beyond the label) and "coronaries".
        papillary: of the two papillary muscles, which lie in the cavity of the left ventricle and have its label.
        epicardium: of the left ventricle with its wall.
    """

    cavities: dict[str, np.ndarray]
    vessels: dict[str, np.ndarray]
    papillary: np.ndarray
    epicardium: np.ndarray


class WholeHeart:
    """One heart, with sizes drawn from `random`."""

    def __init__(self, random: np.random.Generator) -> None:
        uniform = random.uniform
        self.to_apex = TO_APEX / np.linalg.norm(TO_APEX)
        to_rv = TO_RV - TO_RV @ self.to_apex * self.to_apex
        self.to_rv = to_rv / np.linalg.norm(to_rv)
        self.up = np.cross(self.to_rv, self.to_apex)
        # ventricles
        self.radius, self.length, self.wall = uniform(22.5, 26), uniform(76, 88), uniform(9, 10.2)
        self.rv_half = (uniform(37, 41), uniform(37, 41), uniform(56, 64))
        self.rv_centre = (uniform(22, 25), uniform(-6, -2), uniform(16, 20))
        # valves: centre and, for the arteries, direction of the flow
        self.mitral = self.point(-8, -4, 0)
        self.tricuspid = self.point(32, -10, 4)
        self.aortic, self.aortic_flow = self.point(12, 10.7, -8), unit((-0.22, -0.1, 1))
        self.pulmonary, self.pulmonary_flow = np.array((8.0, -36.0, 32.0)), unit((6, 12, 16))
        # atria
        self.la_half = (uniform(28, 32), uniform(17, 20), uniform(20, 24))
        self.la_centre = np.array((-10.0, 25.0, 9.0))
        self.ra_half = (uniform(20, 23), uniform(23, 26), uniform(27, 31))
        self.ra_centre = np.array((-43.0, -7.0, 4.0))
        self._draw_valves()
        self._draw_vessels(random)
        self.size = uniform(0.95, 1.05)
        self.turned = rotation(uniform(-4, 4), uniform(-7, 7), uniform(-7, 7))
        self.wave = uniform(0, 2 * np.pi, 3)

    def _draw_valves(self) -> None:
        """The ways through the valves, and the papillary muscles in the heart's own axes."""
        self.mitral_funnel = path((self.la_centre, 15), (self.mitral + 3 * self.to_apex, 14))
        self.tricuspid_funnel = path((self.ra_centre, 19), (self.tricuspid + 3 * self.to_apex, 16))
        self.lv_outflow = path((self.point(4, 4, 14), 12.5), (self.aortic + 4 * self.aortic_flow, 11.5))
        self.rv_inflow = path((self.point(36, -8, 20), 20), (self.tricuspid, 18))
        r, d = self.radius, self.length
        self.papillary = [
            path(((-0.5 * r, side * 0.48 * r, 0.36 * d), 3), ((-0.35 * r, side * 0.45 * r, 0.8 * d), 5.5)) for side in (-1, 1)
        ]

    def _draw_vessels(self, random: np.random.Generator) -> None:
        uniform = random.uniform
        aorta, trunk = uniform(13, 15.5), uniform(11.5, 13)  # radii
        self.top_mm = uniform(68, 76)  # where the ascending aorta ends
        root = self.aortic + 11 * self.aortic_flow
        self.ascending = path(
            (self.aortic - 6 * self.aortic_flow, 11.5), (self.aortic, 11.5), (root, aorta + 1.5),
            ((-13, -13, 38), aorta - 0.5), ((-14, -12, 62), aorta), ((-11, -5, 82), aorta - 0.5),
        )  # fmt: skip
        self.arch = path(
            ((-12, -9, 74), aorta - 0.5), ((-7, 2, 87), aorta - 1), ((8, 22, 94), aorta - 2), ((20, 44, 86), aorta - 2.5),
            ((24, 57, 64), aorta - 3), ((23, 61, 0), aorta - 3.5), ((18, 55, -60), aorta - 4), ((8, 48, -160), aorta - 4),
        )  # fmt: skip
        fork = np.array((16.0, -3.0, 54.0)) + random.normal(0, 1, 3)
        self.trunk = path((self.pulmonary - 6 * self.pulmonary_flow, trunk), (self.pulmonary, trunk),
                          ((13, -22, 47), trunk + 0.5), (fork, trunk - 0.5))  # fmt: skip
        right = ((-12, 13, 51), trunk - 4), ((-46, 16, 47), trunk - 4.5)
        left = ((32, 18, 56), trunk - 3.5), ((50, 32, 49), trunk - 4.5)
        self.branches = [path((fork, trunk - 3), *right), path((fork, trunk - 2.5), *left)]
        self.hilum_mm = uniform(-42, -36), uniform(42, 46)  # x where the right and the left branch leave the label
        self.beyond = [
            path(right[1], ((-62, 24, 34), 5), ((-72, 40, -10), 3)), path(right[1], ((-66, 4, 62), 4), ((-72, -6, 82), 2.5)),
            path(left[1], ((60, 44, 36), 5), ((68, 52, -10), 3)), path(left[1], ((62, 20, 66), 4), ((66, 6, 84), 2.5)),
        ]  # fmt: skip
        vein = uniform(5.5, 6.5)
        self.lung_veins = [
            path(((-28, 22, 17), vein + 1), ((-52, 17, 24), vein), ((-76, 6, 36), 3)),
            path(((-28, 31, 3), vein + 1), ((-52, 40, -4), vein), ((-74, 52, -24), 3)),
            path(((10, 25, 18), vein + 1), ((36, 24, 31), vein - 0.5), ((66, 6, 46), 3)),
            path(((10, 31, 3), vein + 1), ((32, 41, -1), vein - 0.5), ((60, 54, -26), 3)),
        ]
        self.appendage = path(((10, 18, 16), 8), ((31, 2, 28), 7.5), ((36, -10, 31), 5))
        self.auricle = path(((-42, -20, 14), 11), ((-32, -36, 22), 8.5), ((-24, -42, 25), 5))  # of the right atrium
        cava = uniform(8.5, 10)
        self.cavae = [path(((-41, -3, 22), cava), ((-38, -4, 60), cava), ((-36, -12, 130), cava)),
                      path(((-40, 0, -16), cava + 2), ((-32, 14, -48), cava + 2), ((-22, 26, -130), cava + 2))]  # fmt: skip
        outer = self.radius + self.wall + 2
        groove = (0.15, 0.4, 0.65)  # of the long axis
        self.coronaries = [
            path(*((self.point(0.6 * outer, 0.8 * outer, part * self.length), 1.9 - part) for part in groove)),
            path((self.aortic + 12 * self.aortic_flow, 1.8), (self.point(52, 24, -4), 1.8), (self.point(66, -10, -2), 1.7),
                 (self.point(44, -44, 2), 1.5)),
            path((self.point(-14, 30, -5), 1.7), (self.point(-36, 8, -2), 1.6), (self.point(-34, -18, -2), 1.4)),
        ]  # fmt: skip
        self.rv_outflow = path((self.point(40, 10, 30), 16), (self.point(36, 26, 14), 15), (self.pulmonary, trunk + 0.5),
                               (self.pulmonary + 6 * self.pulmonary_flow, trunk))  # fmt: skip

    def point(self, p: float, q: float, w: float) -> np.ndarray:
        """The point (3,) with these coordinates in the heart's own axes."""
        return p * self.to_rv + q * self.up + w * self.to_apex

    def shapes(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Shapes:
        """The shapes at points x, y, z in mm, three arrays of one shape."""
        at = self._upright(x, y, z)
        own = along(at, self.to_rv), along(at, self.up), along(at, self.to_apex)
        lv, aa, epicardium, way_out = self._left_ventricle(at, own)
        rv, pa, trunk = self._right_ventricle(at, own, epicardium, way_out)
        la = self._left_atrium(at, own[2], epicardium, np.minimum(way_out, trunk))
        ra = self._right_atrium(at, rv, np.minimum.reduce([way_out, epicardium, la]))
        myo = cut(epicardium, -lv, -aa)
        vessels = {
            "arch": np.minimum(vessel(at, self.arch), way_out),
            "veins": np.minimum.reduce([vessel(at, each) for each in (*self.lung_veins, *self.cavae)]),
            "arteries": np.minimum.reduce([trunk, *(vessel(at, each) for each in self.beyond)]),
            "coronaries": np.minimum.reduce([vessel(at, each) for each in self.coronaries]),
        }
        papillary = np.minimum.reduce([vessel(own, each) for each in self.papillary])
        return Shapes({"LV": lv, "Myo": myo, "RV": rv, "LA": la, "RA": ra, "AA": aa, "PA": pa}, vessels, papillary, epicardium)

    def _upright(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Points:
        """Points of the chest in the heart of usual size and position, and a little irregularity."""
        a, b, c = self.wave.tolist()  # Python numbers keep single precision
        x, y, z = (along((x, y, z), axis / self.size) for axis in self.turned)
        u = x + 1.2 * np.sin(y / 14 + z / 17 + a)
        v = y + 1.2 * np.sin(z / 15 - x / 18 + b)
        w = z + 1.2 * np.sin(x / 16 + y / 13 + c)
        return u, v, w

    def _left_ventricle(self, at: Points, own: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """LV, AA, the LV with its wall, and the blood's way out: outflow tract and ascending aorta."""
        x, y, z = at
        cavity = bullet(own, self.radius, self.length)
        epicardium = np.maximum(bullet(own, self.radius + self.wall, self.length + 0.75 * self.wall), -own[2])
        beyond_valve = along(at, self.aortic_flow, self.aortic)
        aorta = vessel(at, self.ascending)
        outflow = np.maximum(vessel(at, self.lv_outflow), beyond_valve)
        aa = cut(aorta, -beyond_valve, z + 0.4 * y + 0.1 * x - self.top_mm)
        lv = cut(np.minimum(np.maximum(cavity, -own[2]), outflow), -aa)
        return lv, aa, epicardium, np.minimum(aorta, outflow)

    def _right_ventricle(
        self, at: Points, own: Points, epicardium: np.ndarray, way_out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """RV, PA, and the artery of the lungs with its branches, as far as they are drawn at all."""
        trunk = vessel(at, self.trunk)
        for branch in self.branches:
            trunk = melt(trunk, vessel(at, branch), 4)
        beyond_valve = along(at, self.pulmonary_flow, self.pulmonary)
        right_mm, left_mm = self.hilum_mm
        pa = cut(trunk, -beyond_valve, right_mm - at[0], at[0] - left_mm, GAP_MM - np.minimum(way_out, epicardium))
        p, q, w = own
        deep = w - self.rv_centre[2]
        body = ball(p, q, np.where(deep < 0, 2.4 * deep, deep), (*self.rv_centre[:2], 0), self.rv_half)  # its base is blunter
        body = np.maximum(melt(body, vessel(at, self.rv_inflow), 6), -along(at, self.to_apex, self.tricuspid))
        rv = cut(melt(body, vessel(at, self.rv_outflow), 8), -epicardium, 1.5 * GAP_MM - way_out, beyond_valve)
        return rv, pa, trunk

    def _left_atrium(self, at: Points, depth: np.ndarray, epicardium: np.ndarray, others: np.ndarray) -> np.ndarray:
        """LA, at least `GAP_MM` from `others`; it opens at depth 0 into the LV, and holds the beginning of the veins."""
        la = ball(*at, self.la_centre.tolist(), self.la_half, power=2.3)
        aside_mm = np.abs(at[0] - self.la_centre[0].item()) - self.la_half[0]
        for vein in self.lung_veins:
            la = melt(la, np.maximum(vessel(at, vein), aside_mm - 7), 4)
        la = melt(la, vessel(at, self.appendage), 5)
        la = cut(la, GAP_MM - epicardium, GAP_MM + depth)
        return cut(np.minimum(la, np.maximum(vessel(at, self.mitral_funnel), depth)), GAP_MM - others)

    def _right_atrium(self, at: Points, rv: np.ndarray, others: np.ndarray) -> np.ndarray:
        """RA, at least `GAP_MM` from `others`; it opens into the RV at the tricuspid valve."""
        beyond_valve = along(at, self.to_apex, self.tricuspid)
        ra = melt(ball(*at, self.ra_centre.tolist(), self.ra_half, power=2.3), vessel(at, self.auricle), 6)
        ra = cut(ra, GAP_MM - rv, GAP_MM + beyond_valve)
        return cut(np.minimum(ra, np.maximum(vessel(at, self.tricuspid_funnel), beyond_valve)), GAP_MM - others, -rv)


def bullet(own: Points, radius: float, length: float) -> np.ndarray:
    """A left ventricle, from above the base to its apex at depth `length`; `radius` is that of its widest part."""
    p, q, w = own
    belly = 0.28 * length
    taper, base = np.maximum(w - belly, 0) / (length - belly), np.clip(1 - w / belly, 0, 1)
    return (np.sqrt((p**2 + q**2) / radius**2 * (1 + 0.2 * base**2) + taper**2) - 1) * radius


def unit(direction: Point) -> np.ndarray:
    return np.asarray(direction, float) / np.linalg.norm(direction)


def rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """(3, 3), turns about x, then y, then z."""
    result = np.eye(3)
    for (i, j), angle in zip(((1, 2), (0, 2), (0, 1)), np.radians((x_deg, y_deg, z_deg)), strict=True):
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        result = turn @ result
    return result


def path(*points: tuple[Point, float]) -> Path:
    """Points in single precision, so that what is computed from them stays so."""
    return [(np.asarray(point, np.float32), radius) for point, radius in points]


def along(at: Points, axis: np.ndarray, origin: Sequence[float] | np.ndarray = (0, 0, 0)) -> np.ndarray:
    """Distance of points from the plane through `origin`, positive in the direction of the unit vector `axis`."""
    u, v, w = ((c - float(o)) * float(a) for c, o, a in zip(at, origin, axis, strict=True))
    return u + v + w


def vessel(at: Points, points: Path) -> np.ndarray:
    """A vessel along straight pieces, with round ends."""
    pieces = zip(points[:-1], points[1:], strict=True)
    return np.minimum.reduce([tube(*at, start, end, first, last) for (start, first), (end, last) in pieces])


def cut(shape: np.ndarray, *sides: np.ndarray) -> np.ndarray:
    """The part of a shape that lies in all `sides`."""
    return np.maximum.reduce([shape, *sides])
