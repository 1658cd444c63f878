"""Scan -> label map on the scan's own grid, by a trained run.

python -m dr_unet.predict --weights RUN SCAN... -o OUT [--ed FILE... --es FILE...]
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dr_unet.recipe import Preparation, Recipe
from shared import datasets, notebook, prediction_command, runs
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning import inference
from shared.prediction import predict_frames
from shared.scans import preprocess
from shared.scans.postprocess import classes_of, largest_components
from shared.scans.volume import Volume

with lazily():
    from dr_unet import gcam
    from dr_unet import model as networks
    from shared.framework import keras
    from shared.learning import training

LOCALISER, SEGMENTER = "localiser", "segmenter"  # stages; the first is a folder inside the run, too


@dataclass(frozen=True)
class Segmenter:
    """Networks with their weights, how their input is prepared, and what the classes are called on disk."""

    model: "keras.Model"
    localiser: "keras.Model | None"  # of the multi-stage method
    recipe: Recipe
    structures: Mapping[int, str]  # label value on disk -> name


def network(recipe: Recipe, stage: str = SEGMENTER) -> "keras.Model":
    """The untrained network that segments, or the localiser of the multi-stage method, whose one output is any foreground."""
    given = recipe.preparation
    common: dict[str, Any] = {"keep_z": recipe.keep_z, "normalisation": recipe.normalisation}
    dr_unet: dict[str, Any] = {"projection": recipe.projection, "bottleneck_norm": recipe.bottleneck_norm}
    if stage == LOCALISER:
        return networks.build("dr_unet", given.localiser_shape, 1, recipe.localiser_width, **common, **dr_unet)
    if recipe.method == "end_to_end":
        return networks.build_end_to_end(given.input_shape, given.outputs, recipe.localiser_width, recipe.width,
                                         join=recipe.join, **common, **dr_unet)  # fmt: skip
    shape = given.crop_shape if recipe.method == "multi_stage" else given.input_shape
    own = {"dr_unet": dr_unet, "vnet": {"kernel": recipe.vnet_kernel}}.get(recipe.network, {})
    return networks.build(recipe.network, shape, given.outputs, recipe.width, **common, **own)


def prepare(scan: Volume, preparation: Preparation) -> Volume:
    """Scan (x, y, z), slices last -> the working grid: CLAHE, resampled linearly, z-scored, cropped or padded (paper 4.1).

    Raises:
        InputError: a constant scan.
    """
    equalised = preprocess.clahe(scan, preparation.clahe_clip, preparation.clahe_tile_mm)
    resampled = preprocess.resample(equalised, preparation.spacing_mm, 1)
    return preprocess.crop_or_pad(preprocess.zscore(resampled), preparation.image_shape)


def prepare_labels(labels: Volume, preparation: Preparation) -> Volume:
    """Class indices (x, y, z) -> the same on the working grid, by nearest neighbour."""
    return preprocess.crop_or_pad(preprocess.resample(labels, preparation.spacing_mm, 0), preparation.image_shape)


def prepared_pair(case: Case, preparation: Preparation) -> tuple[Volume, Volume]:
    """Image and labels of a case of a data set on the working grid."""
    image, labels = datasets.load_pair(case, preparation.structures)
    return prepare(image, preparation), prepare_labels(labels, preparation)


def localiser_input(prepared: Volume, preparation: Preparation, shrink: Callable[..., Volume] = preprocess.shrink) -> Volume:
    """Working grid -> the localiser's; labels with `preprocess.shrink_labels`."""
    return preprocess.crop_or_pad(shrink(prepared, preparation.localiser_factors), preparation.localiser_shape)


def locate(localiser: "keras.Model", prepared: Volume, recipe: Recipe) -> tuple[Volume, "gcam.Region"]:
    """The activation map (`Volume` on the localiser's grid) of a prepared scan, and the `gcam.Region` to segment."""
    seen = localiser_input(prepared, recipe.preparation)
    found = gcam.foreground_map(localiser, seen.array[..., None], recipe.gcam_layer, recipe.gcam_score)
    step = [n // m for n, m in zip(seen.array.shape, found.shape, strict=True)]  # 1 but for deeper layers
    heat = preprocess.shrink(seen, step).with_array(found)
    return heat, gcam.region(heat, prepared, recipe.preparation.crop_shape, recipe.gcam_threshold)


def predict(segmenter: Segmenter, scan: Volume) -> Volume:
    """Label map (values as on disk) on the grid of `scan`; each frame of a cine is predicted by itself.

    Args:
        segmenter: a `Segmenter`.
        scan: `Volume` (x, y, z) or (x, y, z, t).

    Raises:
        InputError: see `prepare`.
    """
    return predict_frames(scan, lambda frame: predict_frame(segmenter, frame), segmenter.structures)


def predict_frame(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """Class indices (x, y, z) of one frame with its slices last."""
    return cleaned_on(segmenter, scan, probabilities(segmenter, prepare(scan, segmenter.recipe.preparation))).array


def chances(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """Probabilities (x, y, z, classes), background first, of one frame on its own voxels; all may be 0 where the network saw
    nothing."""
    found = preprocess.onto_grid(probabilities(segmenter, prepare(scan, segmenter.recipe.preparation)), scan, 1).array
    return np.concatenate([1 - found, found], axis=3) if found.shape[3] == 1 else found


def probabilities(segmenter: Segmenter, prepared: Volume) -> Volume:
    """Prepared scan -> class probabilities, a `Volume` (x, y, z, outputs) on the grid that the network sees."""
    recipe = segmenter.recipe
    if segmenter.localiser is not None:
        box = locate(segmenter.localiser, prepared, recipe)[1]
        seen = preprocess.window(prepared, box.starts, box.shape)
    else:
        seen = preprocess.shrink(prepared, recipe.preparation.input_factors)
    logits = inference.logits(segmenter.model, seen.array[None, ..., None], 1)[0]
    return seen.with_array(inference.activated(logits[..., : recipe.preparation.outputs]))  # end-to-end appends its localiser's


def classes_on(grid: Volume, probabilities: Volume) -> Volume:
    """Class indices on the voxels of `grid`; background where the network saw nothing."""
    pasted = preprocess.onto_grid(probabilities, grid, 1)
    return pasted.with_array(classes_of(pasted.array))


def cleaned_on(segmenter: Segmenter, grid: Volume, probabilities: Volume) -> Volume:
    """`classes_on`, cleaned."""
    found = classes_on(grid, probabilities)
    return found.with_array(cleaned(segmenter, found.array))


def cleaned(segmenter: Segmenter, classes: np.ndarray) -> np.ndarray:
    """Of every structure the largest component, where the recipe says so."""
    return largest_components(classes) if segmenter.recipe.largest_components else classes


def load(weights: str | Path) -> Segmenter:
    """The `Segmenter` of a run folder, or of the best.weights.h5 in one.

    Raises:
        InputError: not a run of this package, or weights that do not fit.
    """
    folder = runs.folder_holding(weights)
    recipe, structures = runs.load_recipe(folder, Recipe)
    model = training.trained(lambda: network(recipe), recipe.precision, runs.weights_of(folder))
    localiser = load_localiser(folder, recipe) if recipe.method == "multi_stage" else None
    return Segmenter(model, localiser, recipe, structures)


def load_localiser(folder: Path, recipe: Recipe) -> "keras.Model":
    """The trained localiser of a run.

    Raises:
        InputError: weights that do not fit.
    """
    return training.trained(lambda: network(recipe, LOCALISER), recipe.precision, runs.weights_of(folder, LOCALISER))


def main(arguments: list[str] | None = None) -> None:
    parser = prediction_command.parser("dr_unet", __doc__.splitlines()[0], "run folder, or its best.weights.h5")
    prediction_command.command(parser.parse_args(arguments), load, lambda segmenter, scan, path: predict(segmenter, scan))


notebook.callable_as(predict)

if __name__ == "__main__":
    main()
