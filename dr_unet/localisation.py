"""The first stage of the multi-stage method (Vesal 2020, section 3.2): a localiser, and the region of every case that it finds.

The segmenter trains on regions found by the frozen localiser, not on those of the reference. It sees in training what it will see
in prediction (ours: the paper does not say).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dr_unet import predict as prediction
from dr_unet.predict import LOCALISER, localiser_input, locate, prepared_pair
from dr_unet.recipe import Preparation, Recipe
from shared import recipes, runs
from shared.datasets import IGNORED, Case
from shared.datasets.splits import Split
from shared.errors import InputError
from shared.files import read_csv, write_csv, written_whole
from shared.lazy import lazily
from shared.lifecycle import SIDES, Run
from shared.progress import Progress
from shared.scans import preprocess

with lazily():
    from dr_unet import gcam
    from shared.framework import keras

REGIONS = "regions.csv"
STARTS = ("start_x", "start_y", "start_z")  # columns


def prepared(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    """What the localiser sees of a case: the whole scan at low resolution, and any structure as foreground."""
    image, labels = prepared_pair(case, preparation)
    foreground = labels.with_array(np.where(labels.array == IGNORED, IGNORED, labels.array > 0).astype(np.uint8))
    return {
        "image": localiser_input(image, preparation).array,
        "label": localiser_input(foreground, preparation, preprocess.shrink_labels).array,
    }


def take_over(run: Path, folder: Path) -> None:
    """Copy the localiser of another run into the run `folder`."""
    with written_whole(folder / LOCALISER / runs.BEST) as temporary:
        shutil.copyfile(runs.weights_of(run, LOCALISER), temporary)


def find_regions(recipe: Recipe, run: Run) -> dict[str, "gcam.Region"]:
    """Case name -> the region that the localiser of the run finds; written to regions.csv, or read from it.

    Raises:
        InputError: a regions.csv that is damaged or belongs to other cases.
    """
    path, sides = run.folder / REGIONS, [(side, case) for side in SIDES for case in run.side(side)]
    if not path.exists():
        localiser = prediction.load_localiser(run.folder, recipe)
        rows = [region_row(localiser, side, case, recipe) for side, case in Progress("locating", len(sides)).over(sides)]
        write_csv(path, rows)
    return read_regions(path, {case.name for _, case in sides}, recipe.preparation.crop_shape)


def read_regions(path: Path, names: set[str], shape: tuple[int, ...]) -> dict[str, "gcam.Region"]:
    """Case name -> `gcam.Region` of this shape, from a regions.csv that has the cases called `names`."""
    rows = read_csv(path, ("case", "side", "found", *STARTS, "share_inside"))
    numbers = [row[column] for row in rows for column in ("found", *STARTS)]
    if {row["case"] for row in rows} != names or not all(number.is_integer() and abs(number) < 1e6 for number in numbers):
        raise InputError(f"{path}: not the regions of this run's {len(names)} cases; remove the file to find them again")
    return {row["case"]: gcam.Region(tuple(int(row[start]) for start in STARTS), shape, bool(row["found"])) for row in rows}


def region_row(localiser: "keras.Model", side: str, case: Case, recipe: Recipe) -> dict[str, object]:
    """The row of a case in regions.csv: where its region starts on the working grid, and the share of its foreground inside."""
    image, labels = prepared_pair(case, recipe.preparation)
    box = locate(localiser, image, recipe)[1]
    starts = dict(zip(STARTS, box.starts, strict=True))
    inside = gcam.share_inside((labels.array > 0) & (labels.array != IGNORED), box)
    return {"case": case.name, "side": side, "found": int(box.found), **starts, "share_inside": inside}


def share_line(folder: Path, side: str) -> str:
    """One sentence on the regions of the cases of one side; cases without foreground are left out."""
    rows = [row for row in read_csv(folder / REGIONS) if row["side"] == side]
    shares = {row["case"]: row["share_inside"] for row in rows if not np.isnan(row["share_inside"])}
    if not shares:
        return f"No foreground in any of the {len(rows)} {side} volumes."
    count = f"{len(shares)} of {len(rows)}" if len(shares) < len(rows) else len(rows)
    lost = ", ".join(f"{case} {share:.4f}" for case, share in shares.items() if share < 0.995)
    mean, least = np.mean(list(shares.values())), min(shares.values())
    return (f"Share of the foreground inside the region of interest, {count} {side} volumes: mean {mean:.4f}, "
            f"least {least:.4f}; below 0.995: {lost or 'none'}.")  # fmt: skip


def check(run: Path, recipe: Recipe, split: Split) -> None:
    """Raise InputError unless the localiser of `run` fits the recipe and has not seen the split's held-out patients."""
    theirs, _ = runs.load_recipe(run, Recipe)
    if recipe.method != "multi_stage" or theirs.method != "multi_stage":
        raise InputError(f"--localiser {run}: both experiments must be multi-stage, found {theirs.method} and {recipe.method}")
    for (field, found), (_, wanted) in zip(of_localiser(theirs), of_localiser(recipe), strict=True):
        if found != wanted:
            raise InputError(f"--localiser {run}: trained with {field} {found}, this experiment has {wanted}")
    before = runs.read_record(run, "split")["split"]
    seen = {*before["train"], *before["validation"]} & set(split.test) | set(before["train"]) & set(split.validation)
    if seen:
        raise InputError(f"--localiser {run}: trained on patients that this experiment holds out, among them {min(seen)}")


def of_localiser(recipe: Recipe) -> Iterator[tuple[str, object]]:
    """Field and value of everything that a localiser depends on: what it sees, and its network."""
    seen = recipes.replace(recipe.preparation, crop_shape=recipe.preparation.image_shape, input_factors=(1, 1, 1))  # not those
    yield from recipes.flat(seen).items()
    yield "localiser_width", recipe.localiser_width
    yield "keep_z", recipe.keep_z
    yield "projection", recipe.projection
    yield "normalisation", recipe.normalisation
    yield "bottleneck_norm", recipe.bottleneck_norm
