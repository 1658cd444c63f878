"""How long each preset of each paper trains on this machine, and in how much memory: some steps of every stage, times its steps.

    python -m benchmarks.presets PACKAGE PRESET --data-root ACDC

measures one of them in a separate process and prints a line of JSON. Preparing, validation and scoring are not counted.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import alone, median_of, peak_gib
from scripts.reproduce_table import PAPERS
from shared import cli, datasets, lifecycle, training_command
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning.batches import stream
from shared.progress import duration
from shared.runs import Experiment

with lazily():
    from shared import framework
    from shared.learning import arithmetic, training

METHODS = {paper.package: paper.method for paper in PAPERS.values()}
ROUNDS = 3


def presets(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """A row for every package and preset; of ACDC if `cases` are its."""
    root = folder / "phantom" if (folder / "phantom").exists() else cases[0].image.parents[2]
    print("| package | preset | parameters | steps | training | memory, GiB |\n|---|---|---|---|---|---|")
    for package, method in METHODS.items():
        for preset in method.presets:
            found = alone("benchmarks.presets", package, preset, "--data-root", str(root))
            print(f"| `{package}` | {preset} | {found['parameters']:,} | {found['steps']:,} | {duration(found['seconds'])} | "
                  f"{found['gib']:.1f} |", flush=True)  # fmt: skip
    print()


def measured(package: str, preset: str, root: Path, workdir: Path) -> dict[str, Any]:
    """Parameters of all networks, steps and seconds of all stages, and the largest memory in GiB."""
    method = METHODS[package]
    name = training_command.default_of(method, "acdc")
    cases = datasets.labelled(datasets.find("acdc", root))
    recipe = method.for_cases(method.presets[preset](method.recipes[name]), cases)
    experiment = Experiment(package=package, name=name, preset=preset, dataset="acdc", workdir=workdir)
    split, structures = lifecycle.split_of(method, recipe, cases, experiment), method.structures(recipe, cases)
    total = {"parameters": 0, "steps": 0, "seconds": 0.0}
    with lifecycle.opened(experiment, recipe, cases, split, structures, {}) as run:
        for stage in method.stages(recipe, run):
            total["steps"] += stage.steps
            parameters, seconds = of_step(stage)
            total["parameters"] = max(total["parameters"], parameters)
            total["seconds"] += stage.steps * seconds
            scores = {stage.monitor: 0.0} if stage.monitor else {}
            run.fit(dataclasses.replace(stage, steps=1, validate=lambda model, scores=scores: scores))  # the next stage needs it
    return {**total, "gib": peak_gib()}


def of_step(stage: lifecycle.Stage) -> tuple[int, float]:
    """Parameters of the network of a stage, and the median seconds of a step."""
    training.seed_everything(0)
    with arithmetic.building_in(stage.precision):
        model = stage.build()
    model.compile(framework.keras.optimizers.Adam(1e-5), stage.loss, jit_compile=False)
    augment = stage.augment and framework.compiled(stage.augment)
    coming: Iterator[tuple] = stream(stage.batches, 0, ROUNDS + 1)

    def step() -> None:
        inputs, targets, *parameters = next(coming)
        model.train_on_batch(*(augment(inputs, targets, *parameters) if parameters and augment else (inputs, targets)))

    return model.count_params(), median_of(step, ROUNDS)


def main() -> None:
    parser = cli.Parser(prog="python -m benchmarks.presets", description=__doc__.splitlines()[0])
    parser.add_argument("package", choices=METHODS)
    parser.add_argument("preset", choices=next(iter(METHODS.values())).presets)
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as workdir:
        print(json.dumps(measured(options.package, options.preset, options.data_root, Path(workdir))))


if __name__ == "__main__":
    main()
