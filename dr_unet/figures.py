"""The paper's pictures for one run: volumes as in its Figures 7 and 8, localisation as in 4 and 5, surfaces as in 6.

    python -m dr_unet.figures RUN --dataset {lasc,acdc} --data-root DIR

This command draws all of them. Training draws all but the surfaces, which need the extra `[mesh]`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dr_unet import predict as prediction
from shared import cli, datasets, held_out, runs
from shared.datasets import Case
from shared.errors import InputError
from shared.lazy import lazily
from shared.scans import preprocess, volume
from shared.scoring import statistics, tables
from shared.scoring.scores import Scores

with lazily():
    from shared.scoring import plots, shaded


def draw(folder: Path, segmenter: prediction.Segmenter, cases: Sequence[Case]) -> None:
    """figures/volumes.png and, for the multi-stage method, figures/localisation.png of a finished run.

    Args:
        folder: of the run.
        segmenter: its `predict.Segmenter`.
        cases: the held-out cases.
    """
    rows = tables.read_cases(folder / "cases.csv", ["dice", *tables.VOLUMES])
    agreement(folder / "figures" / "volumes.png", rows)
    if segmenter.localiser:
        localisation(folder / "figures" / "localisation.png", segmenter, ranked(cases, rows), folder)


def agreement(path: Path, rows: Sequence[Scores]) -> None:
    """Bland-Altman of every structure's volume: manual - automatic, bias and limits of agreement (Figures 7 and 8)."""
    panels = []
    for structure in dict.fromkeys(row["structure"] for row in rows):
        chosen = [row for row in rows if row["structure"] == structure]
        manual, automatic = ([row[column] for row in chosen] for column in ("reference_ml", "volume_ml"))
        panels.append((f"{structure} volume", "ml", manual, automatic, statistics.agreement(manual, automatic)[0]))
    plots.bland_altman(path, panels, difference="manual - automatic")


def localisation(path: Path, segmenter: prediction.Segmenter, cases: Mapping[str, Case], folder: Path) -> None:
    """Activation map, region of interest and result of the best, the median and the worst case (Figures 4 and 5)."""
    rows = []
    for name, case in cases.items():
        recipe = segmenter.recipe
        prepared, reference = prediction.prepared_pair(case, recipe.preparation)
        _, predicted = prediction.prepared_pair(dataclasses.replace(case, label=predicted_map(folder, case)), recipe.preparation)
        found, box = prediction.locate(segmenter.localiser, prepared, recipe)
        heat = preprocess.onto_grid(found, prepared, 1).array
        heat = heat / max(heat.max(), np.finfo(np.float32).tiny)
        rows.append((f"{name}: {case.name}", prepared, heat, (box.starts, box.shape), predicted, reference))
    plots.localisation(path, rows, dict(enumerate(segmenter.recipe.preparation.structures, start=1)))


def surfaces(path: Path, segmenter: prediction.Segmenter, cases: Mapping[str, Case], folder: Path) -> None:
    """Reference and predicted surface of the best, the median and the worst case (Figure 6)."""
    rows = [
        [
            (f"{name}: {case.name}, manual", datasets.load_reference(case, datasets.load_image(case))),
            ("automatic", volume.read_labels(predicted_map(folder, case))),
        ]
        for name, case in cases.items()
    ]
    shaded.surfaces(path, rows, segmenter.structures)


def predicted_map(folder: Path, case: Case) -> Path:
    """File of the run's label map of a case."""
    return folder / "predictions" / f"{case.name}.nii.gz"


def ranked(cases: Sequence[Case], rows: Sequence[Scores]) -> dict[str, Case]:
    """The best, the median and the worst case by mean Dice, under these names: those of the run's other pictures."""
    dice = tables.dice_by_case(rows)
    return tables.best_median_worst(sorted(cases, key=lambda case: dice[case.name]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m dr_unet.figures", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    cli.add_data(parser)
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        if not runs.is_done(options.run):
            raise InputError(f"{options.run}: not a finished run")
        segmenter = prediction.load(options.run)
        root = cli.data_root(options.dataset, options.data_root, Path(os.path.realpath(options.run / "../../../..")))
        rows = held_out.read_scores(options.run, held_out.CASES, ["dice"])
        names = {row["case"] for row in rows}
        cases = [case for case in datasets.find(options.dataset, root) if case.name in names]
        if len(cases) < len(names):
            raise InputError(f"{root}: {len(cases)} of the {len(names)} cases that the run was scored on; name its own data")
        draw(options.run, segmenter, cases)
        surfaces(options.run / "figures" / "surfaces.png", segmenter, ranked(cases, rows), options.run)
        for picture in sorted((options.run / "figures").glob("*.png")):
            print(f"picture: {picture}")


if __name__ == "__main__":
    main()
