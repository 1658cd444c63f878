"""Fit the weights of `shared.doubt.judge` to finished runs, and print what doubt catches.

    python scripts/calibrate_doubt.py RUN... -o results/doubt

predicts the validation and the held-out cases of every run, as they are and made harder on purpose, and moved by some voxels. The
weights are fitted to the validation cases; the held-out ones are only reported. The data sets lie where $CARDIAC_DATA says.
"""

import argparse
import importlib
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from shared import cli, datasets, ensembles, held_out, provenance, runs
from shared.datasets import Case
from shared.doubt import caught, judge, second
from shared.doubt.judge import Held
from shared.errors import InputError
from shared.files import read_csv, write_csv, write_text
from shared.progress import Progress
from shared.scans.volume import Volume
from shared.scoring import scores

HARDER_PER_CASE = {"validation": 3, "test": 1}
ROWS, SUMMARY = "rows.csv", "summary.md"
MARGIN_MM = 80.0  # between the nodes of an uneven field
FALSE_ALARMS = 0.15  # share of good validation cases whose doubt may be above one half
PENALTY = 0.3  # on squared weights of standardised evidence
EVIDENCE = tuple(judge.WEIGHTS_WITH_SECOND)

Row = dict[str, Any]


# Harder scans -----------------------------------------------------------------------------------------------------------------


def dark(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Structures 30 to 60 % darker."""
    soft = ndimage.gaussian_filter(heart.astype(np.float32), [2 / mm for mm in spacing_mm])
    return array * (1 - rng.uniform(0.3, 0.6) * soft)


def noisy(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Rician noise of 8 to 20 % of the range."""
    deviation = rng.uniform(0.08, 0.2)
    return np.hypot(array + rng.normal(0, deviation, array.shape), rng.normal(0, deviation, array.shape))


def uneven(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """A smooth field of factors, as coils give it."""
    nodes = rng.normal(size=[max(2, int(n * mm / MARGIN_MM) + 2) for n, mm in zip(array.shape, spacing_mm, strict=True)])
    steps = [(few - 1) / max(many - 1, 1) for few, many in zip(nodes.shape, array.shape, strict=True)]
    field = ndimage.affine_transform(nodes, np.array(steps), output_shape=array.shape, order=1, mode="nearest")
    return array * np.exp(rng.uniform(0.5, 1.0) * field / np.abs(field).max())


def cut_off(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """A third to a half of the picture is black."""
    axis, share, from_start = rng.integers(0, 2), rng.uniform(0.3, 0.45), rng.integers(2)
    size = array.shape[axis]
    black = np.arange(size) < share * size if from_start else np.arange(size) > (1 - share) * size
    return np.where(black[:, None, None] if axis == 0 else black[:, None], 0, array)


def coarse(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """As of a scanner that resolves 2.5 to 4.5 mm."""
    mm = rng.uniform(2.5, 4.5)
    return ndimage.gaussian_filter(array, [mm / own / 2.355 if own < mm else 0 for own in spacing_mm])


def other_contrast(array: np.ndarray, heart: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Grey values raised to another power."""
    return np.clip(array, 0, None) ** rng.choice([0.4, 2.2])


HARDER: tuple[Callable[..., np.ndarray], ...] = (dark, noisy, uneven, cut_off, coarse, other_contrast)


def harder(scan: Volume, heart: np.ndarray, change: Callable[..., np.ndarray], rng: np.random.Generator) -> Volume:
    """A scan changed by one of `HARDER`, whose grey values from the 1st to the 99th percentile count as 0 to 1 there."""
    low, high = np.percentile(scan.array, (1, 99))
    changed = change((scan.array.astype(np.float32) - low) / (high - low), heart, scan.spacing_mm, rng)
    return scan.with_array((low + (high - low) * changed).astype(np.float32))


# Rows -------------------------------------------------------------------------------------------------------------------------


def rows_of(run: Path) -> Iterator[Row]:
    """The evidence on every label map of one run."""
    record, package = runs.read_record(run, "split", "structures"), ensembles.package_of(run)
    predict = importlib.import_module(f"{package}.predict")
    segmenter = predict.load(run)
    cases = datasets.labelled(datasets.find(record["dataset"], cli.data_root(record["dataset"], None, run)))
    learned = [case for case in cases if case.patient in record["split"]["train"]]
    held = held_out.held(learned, segmenter.structures, held_out.as_on_disk)
    about = {"run": f"{package} {record['experiment']} {record['preset']}", "dataset": record["dataset"]}
    for side, per_case in HARDER_PER_CASE.items():
        ours = [case for case in cases if case.patient in record["split"][side]]
        for case in Progress(f"{about['run']} on {side}", len(ours)).over(ours):
            for kind, scan, reference in versions(case, segmenter.structures, per_case):
                row = evidence(
                    lambda scan, path: predict.predict(segmenter, scan), scan, reference, segmenter.structures, held, case.ignore
                )
                yield {**about, "side": side, "patient": case.patient, "case": case.name, "kind": kind, **row}


def versions(case: Case, structures: dict[int, str], count: int) -> Iterator[tuple[str, Volume, Volume]]:
    """A scan as it is, and as many harder ones: what was changed, the scan, its reference."""
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    heart = np.isin(reference.array, [value for value, name in structures.items() if name != "Myo"])
    yield "as it is", scan, reference
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    for change in rng.permutation(np.array(HARDER, dtype=object))[:count]:
        yield change.__name__, harder(scan, heart, change, rng), reference


def evidence(
    predict: second.Predict, scan: Volume, reference: Volume, structures: dict[int, str], held: Held, ignore: int | None
) -> dict[str, float]:
    """Mean Dice of a label map, and the evidence against it."""
    labels, other = predict(scan, Path()), second.of(predict)(scan, Path())
    dice = [row["dice"] for row in scores.score(labels, reference, structures, {"case": ""}, ignore)]
    differs = judge.disagreement(labels.array, other.array, structures)
    found = judge.measured(scan, labels, structures)
    return {"mean_dice": float(np.mean(dice)), **judge.evidence_of(judge.excess_of(found, held), held, differs)}


# Fit --------------------------------------------------------------------------------------------------------------------------


def fitted(rows: Sequence[Row], names: Sequence[str]) -> np.ndarray:
    """Constant and weights, not below 0, by logistic regression; both data sets count alike."""
    found, failed = table(rows, names), failures(rows)
    share = np.array([sum(other["dataset"] == row["dataset"] for other in rows) for row in rows])
    scale = found.std(axis=0) + 1e-9

    def loss(weights: np.ndarray) -> float:
        logit = weights[0] + found / scale @ weights[1:]
        return float((np.logaddexp(0, np.where(failed, -logit, logit)) * 150 / share).sum() + PENALTY * (weights[1:] ** 2).sum())

    bounds = [(None, None), *[(0, None)] * len(names)]
    best = optimize.minimize(loss, np.zeros(len(names) + 1), bounds=bounds, method="L-BFGS-B").x
    return np.append(best[0], best[1:] / scale)


def table(rows: Sequence[Row], names: Sequence[str]) -> np.ndarray:
    return np.array([[row[name] for name in names] for row in rows], float)


def failures(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["mean_dice"] < caught.FAILED for row in rows])


def logits(rows: Sequence[Row], names: Sequence[str], weights: np.ndarray) -> np.ndarray:
    return weights[0] + table(rows, names) @ weights[1:]


def report(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The weights, and what they catch: of the validation cases each patient by weights that were fitted to the others."""
    validation = [row for row in rows if row["side"] == "validation"]
    crossed = np.zeros(len(validation))
    for patient in {row["patient"] for row in validation}:
        others = fitted([row for row in validation if row["patient"] != patient], names)
        for place, row in enumerate(validation):
            if row["patient"] == patient:
                crossed[place] = logits([row], names, others)[0]
    threshold = np.quantile(crossed[~failures(validation)], 1 - FALSE_ALARMS)
    weights = fitted(validation, names)
    said = [f"{name} {weight:.2f}" for name, weight in zip(names, weights[1:], strict=True)]
    lines = [f"Weights: constant {weights[0] - threshold:.2f}, {', '.join(said)}.", ""]
    lines += ["| cases | label maps | failed | caught | false alarms | rank correlation with Dice |", "|---|---|---|---|---|---|"]
    lines.append(line("validation, cross-validated", validation, crossed - threshold))
    test = [row for row in rows if row["side"] == "test"]
    for name in dict.fromkeys(("", *(row["run"] for row in test))):
        own = [row for row in test if name in row["run"]]
        lines.append(line(f"held out{', ' if name else ''}{name}", own, logits(own, names, weights) - threshold))
    plain = [row for row in test if row["kind"] == "as it is"]
    lines.append(line("held out, scans as they are", plain, logits(plain, names, weights) - threshold))
    return lines


def line(title: str, rows: Sequence[Row], logit: np.ndarray) -> str:
    """A row of the table."""
    failed, flagged, dice = failures(rows), logit > 0, [row["mean_dice"] for row in rows]
    shares = (f"{100 * flagged[part].mean():.0f} %" if part.any() else "" for part in (failed, ~failed))
    return f"| {title} | {len(rows)} | {failed.sum()} | {' | '.join(shares)} | {caught.rank_correlation(logit, dice):.2f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python scripts/calibrate_doubt.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="finished runs; none: report on the rows that are there"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of rows.csv and summary.md")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        calibrate(options)


def calibrate(options: argparse.Namespace) -> None:
    path = options.output / ROWS
    rows = read_csv(path, ("mean_dice", *EVIDENCE)) if path.exists() else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is found in a scan made harder is no news
        for run in options.runs:
            rows += rows_of(run)
            write_csv(path, rows)
    if not rows:
        raise InputError("no RUN given, and no rows there")
    origin = provenance.origin()
    text = ["# What doubt catches", "", f"A label map has failed if its mean Dice is below {caught.FAILED:.2f}.", ""]
    made = f"`python scripts/calibrate_doubt.py RUN... -o {options.output}`"
    text += [f"Made by {made}, commit {origin['commit']}, {origin['hardware']}."]
    text += [f"The networks: {'; '.join(dict.fromkeys(row['run'] for row in rows))}.", ""]
    text += ["## Without a second opinion", "", *report(rows, EVIDENCE[:-1]), ""]
    text += ["## With a second opinion (`--doubt thorough`)", "", *report(rows, EVIDENCE), ""]
    write_text(options.output / SUMMARY, "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
