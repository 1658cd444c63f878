"""With and without propagation, slice by slice along the heart's axis: the comparison of Zheng 2018, section 3.

Without propagation the initialization network segments every slice by itself. The paper says that this loses consistency and
fails near the apex, and gives no numbers; here they are.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from propagation import masks
from propagation import predict as prediction
from propagation.stack import find_base
from shared import datasets
from shared.files import write_csv
from shared.lazy import lazily
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.scoring import metrics, statistics, tables

with lazily():
    from shared.scoring import plots

SLICES, ALONE, BASES = "slices.csv", "cases_without_propagation.csv", "bases.csv"
METHODS = ("with propagation", "without")
APEX = 1 / 6  # of the axis between base and apex


@dataclass(frozen=True)
class Compared:
    """One held-out case. All but `native` is on the network's grid; masks are empty above slice `start`, the base.

    Attributes:
        case: of the data set.
        image: what the networks saw.
        reference: the wall in the reference.
        found: method -> the wall that it found.
        native: label map of the run's own method, on the grid of the scan and in its order of axes.
        start: the base of the reference.
        automatic: the base that would have been found without the reference.
        seconds: of the run's own method, from the scan in memory to the label map.
    """

    case: datasets.Case
    image: Volume
    reference: Volume
    found: dict[str, Volume]
    native: Volume
    start: int
    automatic: int
    seconds: float

    @property
    def own(self) -> Volume:
        """The wall that the run's own method found."""
        return next(iter(self.found.values()))


def compare(segmenter: prediction.Segmenter, case: datasets.Case, scan: Volume, reference: Volume) -> Compared:
    """Segment a labelled case from its reference's base on, with propagation and without.

    Args:
        segmenter: of the run.
        case: a held-out case.
        scan, reference: of the case, as `datasets.load_image` and `datasets.load_reference` give them.

    Raises:
        InputError: see `masks.of` and `predict.prepare`.
    """
    preparation = segmenter.recipe.preparation
    labelled = masks.of(case, scan, reference, preparation.rv_wall_mm)
    started = time.monotonic()
    centre = prediction.heart_centre(segmenter, labelled.scan)
    image = prediction.prepare(labelled.scan, preparation, centre)
    start = prediction.slice_of_base(labelled.scan, labelled.base, image)
    own = image.with_array(prediction.probabilities(segmenter, image.array, start))
    native = orientation.with_slices_last(scan, lambda ordered: prediction.on_grid(own, ordered))
    seconds = time.monotonic() - started

    alone = prediction.slice_by_slice(segmenter, image.array)
    automatic = find_base(alone)
    alone[..., :start] = 0
    wall = prediction.square(prediction.isotropic(labelled.wall, preparation), labelled.scan, preparation, centre).array >= 0.5
    wall[..., :start] = False
    found = {METHODS[1]: alone} if segmenter.propagation is None else {METHODS[0]: own.array, METHODS[1]: alone}
    return Compared(case, image, image.with_array(wall.astype(np.uint8)),
                    {method: image.with_array((p >= 0.5).astype(np.uint8)) for method, p in found.items()},
                    native, start, automatic, seconds)  # fmt: skip


def slice_rows(compared: Compared) -> list[dict]:
    """Rows of slices.csv: every slice of the reference, from base to apex, by every method."""
    reference, start = compared.reference.array > 0, compared.start
    apex = int(np.flatnonzero(reference.any(axis=(0, 1)))[-1])
    rows = []
    for method, found in compared.found.items():
        mask = found.array > 0
        for z in range(start, apex + 1):
            rows.append({
                "case": compared.case.name,
                "phase": compared.case.phase,
                "method": method,
                "slice": z - start,
                "position": (z - start) / max(apex - start, 1),
                "dice": float(metrics.dice(mask[..., z], reference[..., z])),
                "next_slice_dice": likeness(mask, z, apex),
                "reference_next_slice_dice": likeness(reference, z, apex),
            })  # fmt: skip
    return rows


def likeness(mask: np.ndarray, z: int, apex: int) -> float:
    """Dice of slices z and z + 1 of a mask (x, y, n); undefined at the apex and where both are empty."""
    if z == apex or not mask[..., z : z + 2].any():
        return float("nan")
    return float(metrics.dice(mask[..., z], mask[..., z + 1]))


def write(folder: Path, compared: Sequence[Compared], structures: Mapping[int, str]) -> list[str]:
    """Write slices.csv, bases.csv, figures/along_axis.png and figures/long_axis.png of a run.

    Args:
        folder: of the run.
        compared: its held-out cases.
        structures: label value -> name.

    Returns:
        Lines of the summary.
    """
    rows = [row for each in compared for row in slice_rows(each)]
    write_csv(folder / SLICES, rows)
    bases = [{"case": each.case.name, "phase": each.case.phase, "reference": each.start, "automatic": each.automatic,
              "slice_mm": each.image.spacing_mm[2]} for each in compared]  # fmt: skip
    write_csv(folder / BASES, bases)
    plots.curves(
        folder / "figures" / "along_axis.png", binned(rows), "position: base 0, apex 1", "Dice of a slice, mean and quartiles"
    )
    plots.overlay(folder / "figures" / "long_axis.png", panels(compared), structures)
    return [*method_lines(rows), base_line(bases), f"Time: {np.mean([each.seconds for each in compared]):.1f} s per volume."]


def binned(rows: Sequence[Mapping], bins: int = 12) -> dict[str, list[tuple]]:
    """Method -> (position, mean, lower and upper quartile) of the slices' Dice in each part of the axis."""
    series = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        parts: list[list[float]] = [[] for _ in range(bins)]
        for row in rows:
            if row["method"] == method:
                parts[min(int(row["position"] * bins), bins - 1)].append(row["dice"])
        series[method] = [
            ((i + 0.5) / bins, np.mean(part), *np.quantile(part, (0.25, 0.75))) for i, part in enumerate(parts) if part
        ]
    return series


def panels(compared: Sequence[Compared]) -> list[tuple]:
    """Rows of `plots.overlay`: planes along the axis of the best, the median and the worst case of the run's own method."""
    ranked = sorted(compared, key=lambda each: metrics.dice(each.own.array > 0, each.reference.array > 0))
    rows = []
    for name, each in tables.best_median_worst(ranked).items():
        image, reference, *found = (
            orientation.transpose(part, (0, 2, 1)) for part in (each.image, each.reference, *each.found.values())
        )
        rows += [(f"{name}: {each.case.name}\n{title}", image, labels, reference)
                 for title, labels in zip(("reference", *each.found), (reference, *found), strict=True)]  # fmt: skip
    return rows


def method_lines(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: each method's Dice per slice and near the apex, slices missed, and how similar neighbouring slices are."""
    lines = [
        "| below the base, 1.25 mm slices | Dice of a slice | in the sixth at the apex | slices missed (Dice below 0.1) "
        "| Dice of neighbouring slices |",
        "|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        apical = [row for row in own if row["position"] > 1 - APEX]
        missed = sum(row["dice"] < 0.1 for row in own)
        lines.append(f"| {method} | {mean(own, 'dice'):.3f} | {mean(apical, 'dice'):.3f} | {missed} of {len(own)} "
                     f"| {mean(own, 'next_slice_dice'):.3f} |")  # fmt: skip
    return [*lines, f"| reference | | | | {mean(own, 'reference_next_slice_dice'):.3f} |", ""]


def mean(rows: Sequence[Mapping], measure: str) -> float:
    """Mean of the rows where the measure is defined."""
    return statistics.summary(row[measure] for row in rows).mean


def base_line(bases: Sequence[Mapping]) -> str:
    """One sentence: how well the base would have been found without the reference."""
    off_mm = np.array([abs(row["automatic"] - row["reference"]) * row["slice_mm"] for row in bases])
    return (f"The base is the reference's. Found automatically it would be {np.mean(off_mm):.1f} mm off on average (median "
            f"{np.median(off_mm):.1f} mm), within 5 mm in {(off_mm <= 5).sum()} and within 10 mm in {(off_mm <= 10).sum()} "
            f"of {len(off_mm)} scans.")  # fmt: skip
