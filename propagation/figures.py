"""Pictures of the synthetic motion of one scan: a healthy beat and infarcted ones over the cycle, and where volume is lost.

python -m propagation.figures --dataset {acdc,stacom} --data-root DIR --patient NAME -o sheet.png [--variants 0,1,2]
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from propagation import masks
from propagation.beating import infarcts
from propagation.beating.database import heart_of, prepared
from propagation.beating.motion import Motion, activation, deformed, inverse_grid, jacobian
from propagation.recipe import PROPAGATION, Recipe
from shared import cli, datasets
from shared.errors import InputError
from shared.lazy import lazily

with lazily():
    from shared.scoring import plots


def beats(path: Path, case: datasets.Case, recipe: Recipe, variants: Sequence[int], seed: int = 0) -> None:
    """Draw some variants (0 is healthy) of an end-diastolic case, in its middle slice, as a PNG.

    Raises:
        InputError: see `masks.load`; a heart that cannot be moved.
    """
    channels = prepared(case, recipe.preparation)
    image, label = channels["image"], channels["label"]
    wall = label == masks.WALL
    spacing_mm = (recipe.preparation.spacing_mm,) * 3
    heart = heart_of(label, spacing_mm, case.label)
    motions = {}
    for index in variants:
        variant = infarcts.variant(index, (seed, 0))
        segments = ", ".join(map(str, variant.segments))
        motions[f"{index}: {f'AHA {segments}' if segments else 'healthy'}"] = Motion(heart, variant)
    slices = np.flatnonzero(wall.any(axis=(0, 1)))
    sheet(path, image, wall, motions, spacing_mm, int(slices[len(slices) // 2]), recipe.instants)


def sheet(
    path: Path,
    image: np.ndarray,
    mask: np.ndarray,
    motions: Mapping[str, Motion],
    spacing_mm: Sequence[float],
    z: int,
    instants: int = 30,
    columns: int = 8,
) -> None:
    """Draw one slice over the cycle with the outline of the wall, one row per motion; the Jacobian at end-systole ends the row.

    Args:
        path: of the PNG.
        image, mask: (x, y, z) at end-diastole.
        motions: title -> `Motion`.
        z: index of the slice.
    """
    figure = plots.canvas(1.7 * (columns + 1), 1.8 * len(motions) + 0.2)
    axes = figure.subplots(len(motions), columns + 1, squeeze=False)
    box = plots.around(mask[..., z : z + 1], spacing_mm)
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape[:2]), z, indexing="ij"), axis=-1).reshape(-1, 3)
    for line, (title, motion) in zip(axes, motions.items(), strict=True):
        for axis, instant in zip(line, range(0, instants, -(-instants // columns)), strict=False):
            tau = activation(instant, instants, motion.variant.peak)
            picture, wall = deformed(image, mask, inverse_grid(motion, tau, mask.shape, spacing_mm, [z]))
            plots.grey(axis, picture[*box, 0], spacing_mm)
            plots.outlines(axis, wall[*box, 0].astype(np.uint8), {1: "wall"})
            axis.set_title(f"instant {instant}", fontsize=7)
        volumes = jacobian(motion, voxels * spacing_mm, 1.0).reshape(mask.shape[:2])[box]
        drawn = line[-1].imshow(volumes.T, cmap="RdBu", vmin=0, vmax=2, aspect=plots.aspect(spacing_mm))
        plots.outlines(line[-1], mask[*box, z].astype(np.uint8), {1: "wall"}, ["black"])
        figure.colorbar(drawn, ax=line[-1])
        line[-1].set_title("Jacobian at ES", fontsize=7)
        line[0].set_ylabel(title, fontsize=7)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
    plots.save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m propagation.figures", description=__doc__.splitlines()[0])
    cli.add_data(parser)
    parser.add_argument("--patient", required=True, help="of the data set")
    parser.add_argument("--variants", type=numbers, default=[0, 1, 2], metavar="0,1,2", help="0 is healthy (default: 0,1,2)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SHEET.png")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        root = cli.data_root(options.dataset, options.data_root, Path("runs"))
        cases = [case for case in datasets.find(options.dataset, root) if case.phase != "ES" and case.label]
        chosen = [case for case in cases if case.patient == options.patient]
        if not chosen:
            names = ", ".join(case.patient for case in cases[:3])
            raise InputError(f"--patient {options.patient}: no labelled end-diastolic scan; {root} has {names} and others")
        beats(options.output, chosen[0], PROPAGATION, options.variants)
        print(f"wrote {options.output}")


def numbers(text: str) -> list[int]:
    """`0,1,2` as whole numbers from 0."""
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2, found {text!r}")
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
