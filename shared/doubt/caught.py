"""How doubt and Dice went together, for label maps that have references."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from shared.doubt.judge import FLAGGED, Verdict
from shared.files import write_csv
from shared.scoring import tables
from shared.scoring.scores import Scores

DOUBTS = "doubts.csv"
FAILED = 0.80  # a mean Dice below it is a failure


def write(folder: Path, verdicts: Mapping[str, Verdict], rows: Sequence[Scores]) -> list[str]:
    """Write doubts.csv, and return lines for a summary; nothing where there are no verdicts.

    Args:
        folder: of the run, or of predictions.
        verdicts: case -> verdict on its label map.
        rows: of cases.csv.
    """
    if not verdicts:
        return []
    dice = tables.dice_by_case(rows)
    found = [
        {"case": case, "mean_dice": dice[case], "doubt": verdict.doubt, "reasons": verdict.reasons}
        for case, verdict in verdicts.items()
    ]
    write_csv(folder / DOUBTS, found)
    return ["", in_words([verdict.doubt for verdict in verdicts.values()], [dice[case] for case in verdicts])]


def in_words(doubts: Sequence[float], dice: Sequence[float]) -> str:
    """One line: how many failures were flagged, how many others, and the rank correlation."""
    flagged, failed = np.array(doubts) > FLAGGED, np.array(dice) < FAILED
    count = np.count_nonzero
    parts = [
        f"{count(flagged & failed)} of {count(failed)} label maps with a mean Dice below {FAILED:.2f} have one above {FLAGGED}, "
        f"and {count(flagged & ~failed)} of {count(~failed)} others"
    ]
    if len(set(doubts)) > 1 and len(set(dice)) > 1:
        parts.append(f"rank correlation of doubt and Dice {rank_correlation(doubts, dice):.2f}")
    return f"Doubt: {'; '.join(parts)}."


def rank_correlation(doubts: Sequence[float] | np.ndarray, dice: Sequence[float]) -> float:
    """Spearman's; from -1 to 1."""
    return float(stats.spearmanr(doubts, dice).statistic)
