"""Pictures of a finished run: how volumes and mass agree with the reference (the paper's Table 3)."""

from collections.abc import Sequence
from pathlib import Path

from shared.lazy import lazily
from shared.scoring import metrics, statistics, tables
from shared.scoring.published import PHASES
from shared.scoring.scores import Scores

with lazily():
    from shared.scoring import plots

NAMES = {"LV": ("EDV", "ESV"), "RV": ("EDV", "ESV"), "Myo": ("mass ED", "mass ES")}


def draw(folder: Path, rows: Sequence[Scores]) -> None:
    """Bland-Altman plots with limits at 2 sigma, figures/volumes.png and figures/mass.png; a phase needs two patients.

    Args:
        folder: of the run.
        rows: of its cases.csv.
    """
    for file, structures in (("volumes.png", metrics.CAVITIES), ("mass.png", ("Myo",))):
        panels = [panel for structure in structures for panel in panels_of(rows, structure)]
        if panels:
            plots.bland_altman(folder / "figures" / file, panels)


def panels_of(rows: Sequence[Scores], structure: str) -> list[tuple]:
    """The panels of a structure at ED and ES: (title, unit, ours, reference, (bias, low, high))."""
    own, panels = [row for row in rows if row["structure"] == structure], []
    for name, phase in zip(NAMES[structure], PHASES, strict=True):
        ours, reference = tables.volumes(own, phase)
        if structure == "Myo":
            ours, reference = ([metrics.mass_g(ml) for ml in side] for side in (ours, reference))
        if len(ours) > 1:
            unit = "g" if structure == "Myo" else "ml"
            panels.append((f"{structure} {name}", unit, ours, reference, statistics.agreement(ours, reference, sigmas=2)[0]))
    return panels
