"""Healthy and infarcted variants of a beat: which AHA segments an infarct takes, and how the rest of the heart then moves.

The paper makes 30 infarcts for each subject (section 2.5) with a tool that is not public; all numbers are ours. Segments are
those of Cerqueira 2002. Angles are degrees from the direction of the RV, anterior positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A healthy heart
SHORTENING = 0.12  # of the long axis
TORSION_DEG = (4.0, -10.0)  # at the base and at the apex; seen from the apex, the apex turns anticlockwise
PEAK = 0.37  # end-systole, as a fraction of the cycle

# Infarcts
SEGMENTS = (1, 5)  # smallest and largest number
RESIDUAL = (0.0, 0.3)  # fraction of the contraction that remains in the infarct
PEAKS = (0.34, 0.42)
TORSIONS = (0.6, 1.1)  # times the healthy one
SHORTENINGS = (0.7, 1.05)  # times the healthy one
TERRITORIES = ((1, 2, 7, 8, 13, 14, 17), (3, 4, 9, 10, 15), (5, 6, 11, 12, 16))  # LAD, RCA, LCX
RINGS = (range(1, 7), range(7, 13), range(13, 17), range(17, 18))  # base, mid, apical, apex


@dataclass(frozen=True)
class Variant:
    """One of the simulated beats of a subject.

    Attributes:
        segments: infarcted AHA segments, of 1 to 17; none in a healthy heart.
        residual: fraction of the contraction that remains there.
        shortening: of the long axis at end-systole, as a fraction.
        torsion_deg: rotation at base and apex, at end-systole.
        peak: time of end-systole, as a fraction of the cycle.
    """

    segments: tuple[int, ...]
    residual: float
    shortening: float
    torsion_deg: tuple[float, float]
    peak: float


HEALTHY = Variant((), 1.0, SHORTENING, TORSION_DEG, PEAK)


def variant(index: int, rng_seed: int | Sequence[int]) -> Variant:
    """Variant `index` of a subject: 0 is healthy, every other one has an infarct of its own in one coronary territory.

    Args:
        index: from 0.
        rng_seed: a whole number or a sequence of them, such as (seed, subject).
    """
    if index == 0:
        return HEALTHY
    random = np.random.default_rng([*np.atleast_1d(rng_seed).tolist(), index])
    territory = TERRITORIES[random.integers(len(TERRITORIES))]
    wanted = min(int(random.integers(SEGMENTS[0], SEGMENTS[1] + 1)), len(territory))
    segments = [territory[random.integers(len(territory))]]
    while len(segments) < wanted:
        around = [s for s in territory if s not in segments and any(adjacent(s, other) for other in segments)]
        segments.append(around[random.integers(len(around))])
    turn = random.uniform(*TORSIONS)
    return Variant(
        segments=tuple(sorted(segments)),
        residual=random.uniform(*RESIDUAL),
        shortening=SHORTENING * random.uniform(*SHORTENINGS),
        torsion_deg=(turn * TORSION_DEG[0], turn * TORSION_DEG[1]),
        peak=random.uniform(*PEAKS),
    )


def sector(segment: int) -> tuple[int, float, float]:
    """Where an AHA segment lies: its ring from 0 (base) to 3 (apex), the middle and the half-width of its angles in degrees."""
    ring = next(index for index, segments in enumerate(RINGS) if segment in segments)
    width = 360 / len(RINGS[ring])
    return ring, 90 - width * RINGS[ring].index(segment), width / 2


def adjacent(first: int, second: int) -> bool:
    """Whether two different AHA segments share a border, not only a corner."""
    (ring, middle, half), (other_ring, other_middle, other_half) = sector(first), sector(second)
    apart = abs((middle - other_middle + 180) % 360 - 180)
    return apart <= half + other_half if ring == other_ring else abs(ring - other_ring) == 1 and apart < half + other_half
