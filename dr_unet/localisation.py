"""The first stage of the multi-stage method (Vesal 2020, section 3.2): a localiser, and the region of every case that it finds.

The segmenter trains on regions found by the frozen localiser, not on those of the reference. It sees in training what it will see
in prediction (ours: the paper does not say).
"""

import shutil

import numpy as np

from dr_unet.predict import LOCALISER, PREPARATION, localiser_input, localiser_network, locate, prepared_pair
from dr_unet.recipe import Recipe
from shared import runs
from shared.datasets import IGNORED
from shared.errors import InputError
from shared.files import read_csv, write_csv, written_whole
from shared.lazy import lazily
from shared.progress import Progress
from shared.scans import preprocess

with lazily():
    from dr_unet import gcam
    from shared.learning import checkpoints, training

REGIONS = "regions.csv"
STARTS = ("start_x", "start_y", "start_z")  # columns


def view(recipe):
    """What the localiser sees: the whole scan at low resolution, and any structure as foreground; see `train.Stages.store`."""

    def look(case, image, labels):
        foreground = labels.with_array(np.where(labels.array == IGNORED, IGNORED, labels.array > 0).astype(np.uint8))
        return localiser_input(image, recipe), localiser_input(foreground, recipe, preprocess.shrink_labels)

    return lambda case: LOCALISER, look


def take_over(run, folder):
    """Copy the localiser of another run into the run `folder`."""
    with written_whole(folder / LOCALISER / runs.BEST) as temporary:
        shutil.copyfile(runs.weights_of(run, LOCALISER), temporary)


def find_regions(recipe, sides, folder):
    """The region of every case, by the localiser of the run `folder`; written to regions.csv, or read from it.

    Args:
        recipe: of the run.
        sides: {"train", "validation", "test"} -> cases.

    Returns:
        Case name -> `gcam.Region`.

    Raises:
        InputError: a regions.csv that is damaged or belongs to other cases.
    """
    if not (folder / REGIONS).exists():
        with training.precision(recipe.precision):
            localiser = localiser_network(recipe)
        checkpoints.load_weights(localiser, runs.weights_of(folder, LOCALISER))
        cases = [(side, case) for side, cases in sides.items() for case in cases]
        rows = [region_row(localiser, side, case, recipe) for side, case in Progress("locating", len(cases)).over(cases)]
        write_csv(folder / REGIONS, rows)
    return read_regions(folder / REGIONS, {case.name for cases in sides.values() for case in cases}, recipe.crop_shape)


def read_regions(path, names, shape):
    """Case name -> `gcam.Region` of this shape, from a regions.csv that has the cases called `names`."""
    rows = read_csv(path, ("case", "side", "found", *STARTS, "share_inside"))
    numbers = [row[column] for row in rows for column in ("found", *STARTS)]
    if {row["case"] for row in rows} != names or not all(number.is_integer() and abs(number) < 1e6 for number in numbers):
        raise InputError(f"{path}: not the regions of this run's {len(names)} cases; remove the file to find them again")
    return {row["case"]: gcam.Region(tuple(int(row[start]) for start in STARTS), shape, bool(row["found"])) for row in rows}


def region_row(localiser, side, case, recipe):
    """The row of a case in regions.csv: where its region starts on the working grid, and the share of its foreground inside."""
    image, labels = prepared_pair(case, recipe)
    box = locate(localiser, image, recipe)[1]
    starts = dict(zip(STARTS, box.starts, strict=True))
    inside = gcam.share_inside((labels.array > 0) & (labels.array != IGNORED), box)
    return {"case": case.name, "side": side, "found": int(box.found), **starts, "share_inside": inside}


def share_line(folder, side):
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


def check(run, recipe, split):
    """Raise InputError unless the localiser of `run` fits the recipe and has not seen the split's held-out patients."""
    theirs = vars(runs.load_recipe(run, Recipe)[0])
    if recipe.method != "multi_stage" or theirs["method"] != "multi_stage":
        raise InputError(f"--localiser {run}: both experiments must be multi-stage, found {theirs['method']} and {recipe.method}")
    for field in (*PREPARATION, "localiser_width", "keep_z", "projection", "normalisation", "bottleneck_norm"):
        ours = vars(recipe)[field]
        if theirs[field] != ours and field not in ("crop_shape", "input_factors"):
            raise InputError(f"--localiser {run}: trained with {field} {theirs[field]}, this experiment has {ours}")
    before = runs.read_record(run, "split")["split"]
    seen = {*before["train"], *before["validation"]} & set(split.test) | set(before["train"]) & set(split.validation)
    if seen:
        raise InputError(f"--localiser {run}: trained on patients that this experiment holds out, among them {min(seen)}")
