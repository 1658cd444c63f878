"""What a prediction command asks about each label map that it makes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import runs
from shared.doubt import judge
from shared.doubt.judge import Held, Verdict
from shared.doubt.second import Predict
from shared.run_fields import HELD
from shared.scans.volume import Volume

UNKNOWN, NOTHING_TO_SEE = Verdict(math.nan), Verdict(1.0, "a constant image")


@dataclass(frozen=True)
class Watch:
    """What training held, label value -> name, and who is asked for a second opinion."""

    held: Held
    structures: Mapping[int, str]
    second: Predict | None = None

    def verdicts(self, scan: Volume, labels: Volume, path: Path, shown: Sequence[int]) -> list[Verdict]:
        """The verdict on every frame of a scan; those that are not `shown` are constant."""
        if not self.held:
            return [UNKNOWN] * scan.frames
        others: dict[int, Volume] = {}
        if self.second is not None:  # which cannot be asked about constant frames
            seen = scan if len(shown) == scan.frames else scan.with_array(scan.array[..., list(shown)])
            other = self.second(seen, path)
            others = {t: other.frame(place) for place, t in enumerate(shown)}
        return [
            self.verdict(scan.frame(t), labels.frame(t), others.get(t)) if t in shown else NOTHING_TO_SEE
            for t in range(scan.frames)
        ]

    def verdict(self, scan: Volume, labels: Volume, other: Volume | None = None) -> Verdict:
        """The verdict on one frame, and its label map by the second opinion."""
        differs = None if other is None else judge.disagreement(labels.array, other.array, self.structures)
        return judge.judge(judge.measured(scan, labels, self.structures), self.held, differs)


def held_by(weights: Path) -> Held:
    """What the training cases of a run had; nothing where it is not known, as of weights that are no run."""
    found = runs.record_of(weights).get(HELD, {})
    return found if isinstance(found, dict) else {}


def doubted_ends(both: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of the frames that volumes and ejection fraction rest on are flagged, in one line; empty where neither is.

    Args:
        both: a row of function.csv.
        rows: those of volumes.csv for its scans.
    """
    doubts = {(str(row["scan"]), int(row["frame"])): row["doubt"] for row in rows}
    frames = {end.upper(): (str(both[f"{end}_scan"]), int(both[f"{end}_frame"])) for end in ("ed", "es")}
    found = [
        f"{end} (frame {at[1]}, doubt {doubts[at]:.2f})" for end, at in frames.items() if doubts.get(at, 0.0) > judge.FLAGGED
    ]
    return f"volumes and ejection fraction rest on a doubted label map: {' and '.join(found)}" if found else ""


def in_words(path: object, verdicts: Sequence[Verdict]) -> str:
    """A line for the terminal about the frames of a scan that are flagged; empty where there are none."""
    flagged = [(t + 1, verdict) for t, verdict in enumerate(verdicts) if verdict.flagged]
    if not flagged:
        return ""
    frame, worst = max(flagged, key=lambda each: each[1].doubt)
    where = f", frame {frame} ({len(flagged)} of {len(verdicts)} frames are above {judge.FLAGGED})" if len(verdicts) > 1 else ""
    return f"doubt {worst.doubt:.2f} about {path}{where}: {worst.reasons or 'several small signs'}"
