"""From signs to doubt: logistic regression on how far a label map and its scan lie outside what training held.

The weights were fitted by `scripts/calibrate_doubt.py` to validation cases of LASC and ACDC, as they are and made harder, and
four networks of three papers; results/doubt has the table, and what was caught. A failure is there a mean Dice below 0.80. 15 %
of the good validation cases have a doubt above 0.5 (ours).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.datasets import Case
from shared.doubt import signs
from shared.doubt.signs import SIGNS, Sign
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.scoring import metrics

FLAGGED = 0.5
IMPLAUSIBLE = 0.9  # the doubt, at least, about an empty label map and an ejection fraction that cannot be right (ours)
HELD = (5, 95)  # percentiles of the training cases, between which a sign is not remarkable
FARTHEST = 3.0  # widths of that range; what lies farther outside is no worse
REASONS = 3  # at most
ENOUGH = 60  # training cases tell what training held
# Kind of sign -> how several become one
KINDS: dict[str, Callable[..., float]] = {"size": np.max, "place": np.max, "shape": np.mean, "image": np.mean}
CONSTANT = -2.82
WEIGHTS = {"size": 8.00, "place": 6.41, "shape": 12.85, "image": 11.86}
CONSTANT_WITH_SECOND = -6.98
WEIGHTS_WITH_SECOND = {"size": 5.65, "place": 8.58, "shape": 11.15, "image": 13.32, "disagreement": 21.73}

Held = Mapping[str, Sequence[float]]  # sign -> the `HELD` percentiles of its numbers in training


@dataclass(frozen=True)
class Verdict:
    """How much a label map is to be doubted (0 to 1, NaN where it is not known), and why."""

    doubt: float
    reasons: str = ""

    @property
    def flagged(self) -> bool:
        return self.doubt > FLAGGED


def measured(scan: Volume, labels: Volume, structures: Mapping[int, str]) -> dict[str, float]:
    """The `signs` of a 3D scan in any orientation, and of the label map on its voxels."""
    scan, labels = orientation.all_slices_last(scan, labels)
    turned, order, axes = orientation.facing_ras(scan)
    return signs.measure(turned, turned.with_array(np.flip(labels.array.transpose(order), axes)), structures)


def some_of(cases: Sequence[Case]) -> Sequence[Case]:
    """At most `ENOUGH` of the cases, evenly spread."""
    return cases[:: -(-len(cases) // ENOUGH)] if cases else ()


def held(cases: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """What training cases had, from their `measured` scans and references."""
    names = dict.fromkeys(name for case in cases for name in case)
    ends = {name: np.percentile([case[name] for case in cases if name in case], HELD) for name in names}
    return {name: [float(f"{end:.4g}") for end in both] for name, both in ends.items()}


def judge(found: Mapping[str, float], held: Held, disagreement: float | None = None) -> Verdict:
    """The verdict on a label map.

    Args:
        found: its signs, see `measured`.
        held: see the function of this name.
        disagreement: 1 - Dice between the label map and a second opinion, if there is one.
    """
    excess = excess_of(found, held)
    evidence = evidence_of(excess, held, disagreement)
    constant, weights = (CONSTANT, WEIGHTS) if disagreement is None else (CONSTANT_WITH_SECOND, WEIGHTS_WITH_SECOND)
    logit = constant + sum(weights[kind] * evidence[kind] for kind in weights)
    worst = sorted((name for name in excess if excess[name] > 0), key=lambda name: -excess[name])
    said = [in_words(name, found[name], held[name]) for name in worst[:REASONS]]
    if disagreement is not None and weights["disagreement"] * evidence["disagreement"] > -constant:
        said.insert(0, f"a second opinion differs (Dice {1 - disagreement:.2f} between the two)")
    doubt = float(1 / (1 + np.exp(-logit)))
    if not any(found[name] for name in found if name.endswith("volume")):
        doubt, said = max(doubt, IMPLAUSIBLE), ["nothing was found", *said]
    return Verdict(round(doubt, 2), "; ".join(said))


def excess_of(found: Mapping[str, float], held: Held) -> dict[str, float]:
    """Sign -> how far it lies outside what training held."""
    return {name: outside(found[name], held[name], sign_of(name)) for name in held if name in found}


def evidence_of(excess: Mapping[str, float], held: Held, disagreement: float | None) -> dict[str, float]:
    """Kind of sign -> how far its signs lie outside, as a logarithm; as far as counts, where none could be measured. And the root
    of the disagreement, where there is a second opinion."""
    evidence = {}
    for kind, together in KINDS.items():
        values = [np.log1p(excess[name]) for name in excess if sign_of(name).kind == kind]
        expected = any(sign_of(name).kind == kind for name in held)
        evidence[kind] = float(together(values)) if values else np.log1p(FARTHEST) * expected
    return evidence if disagreement is None else {**evidence, "disagreement": float(np.sqrt(disagreement))}


def outside(value: float, ends: Sequence[float], sign: Sign) -> float:
    """How far a number lies outside what training held, in widths of that range, up to `FARTHEST`."""
    low, high = ends
    if sign.ratio:
        value, low, high = (float(np.log(max(each, 1e-3))) for each in (value, low, high))
    return min(max(low - value, value - high, 0.0) / max(high - low, sign.spread), FARTHEST)


def sign_of(name: str) -> Sign:
    """What a sign means whose name may begin with that of a structure."""
    return next(SIGNS[each] for each in sorted(SIGNS, key=len, reverse=True) if name == each or name.endswith(f" {each}"))


def in_words(name: str, value: float, ends: Sequence[float]) -> str:
    """Such as "LV volume 12 ml, 41 to 240 in most of training"; in as many digits as show that the number lies outside."""
    written = ([f"{each:.{digits}g}" for each in (value, *ends)] for digits in (3, 4, 6, 17))
    number, low, high = next(found for found in written if found[0] not in found[1:])
    return f"{name} {f'{number} {sign_of(name).unit}'.strip()}, {low} to {high} in most of training"


def disagreement(labels: np.ndarray, other: np.ndarray, structures: Mapping[int, str]) -> float:
    """1 - Dice between two label maps (x, y, z), mean over the structures."""
    dice = []
    for name in dict.fromkeys(structures.values()):
        dice.append(metrics.dice(*(metrics.mask_of(each, structures, name) for each in (labels, other))))
    return 1 - float(np.mean(dice))
