"""Scan -> label map on the scan's own grid, by a trained run.

python -m dr_unet.predict --weights RUN SCAN... -o OUT [--ed FILE... --es FILE...]
"""

from dataclasses import dataclass

from dr_unet.recipe import Recipe
from shared import datasets, prediction_command, runs
from shared.lazy import lazily
from shared.learning import inference
from shared.scans import preprocess
from shared.scans.postprocess import classes_of

with lazily():
    from dr_unet import gcam
    from dr_unet import model as networks
    from shared.framework import keras
    from shared.learning import checkpoints, training

LOCALISER = "localiser"  # folder of the first stage inside a run
PREPARATION = ("structures", "clahe_clip", "clahe_tile_mm", "spacing_mm", "image_shape", "input_factors", "localiser_factors",
               "localiser_shape", "crop_shape")  # what of a recipe decides what the networks see  # fmt: skip


@dataclass(frozen=True)
class Segmenter:
    """Networks with their weights, how their input is prepared, and what the classes are called on disk."""

    model: "keras.Model"
    localiser: "keras.Model | None"  # of the multi-stage method
    recipe: Recipe
    structures: dict[int, str]  # label value on disk -> name


def network(recipe):
    """The untrained network that segments."""
    shape = recipe.crop_shape if recipe.method == "multi_stage" else input_shape(recipe)
    if recipe.method == "end_to_end":
        return networks.build_end_to_end(
            shape, outputs(recipe), recipe.localiser_width, recipe.width, join=recipe.join, **common(recipe), **dr_unet(recipe)
        )
    own = {"dr_unet": dr_unet(recipe), "vnet": {"kernel": recipe.vnet_kernel}}.get(recipe.network, {})
    return networks.build(recipe.network, shape, outputs(recipe), recipe.width, **common(recipe), **own)


def localiser_network(recipe):
    """The untrained first stage of the multi-stage method: one output, any foreground."""
    return networks.build("dr_unet", recipe.localiser_shape, 1, recipe.localiser_width, **common(recipe), **dr_unet(recipe))


def common(recipe):
    """Options of every network of `recipe`."""
    return {"keep_z": recipe.keep_z, "normalisation": recipe.normalisation}


def dr_unet(recipe):
    """Options of the DR-UNet alone."""
    return {"projection": recipe.projection, "bottleneck_norm": recipe.bottleneck_norm}


def outputs(recipe):
    return len(recipe.structures) + 1 if len(recipe.structures) > 1 else 1


def input_shape(recipe):
    return tuple(n // factor for n, factor in zip(recipe.image_shape, recipe.input_factors, strict=True))


def prepare(scan, recipe):
    """Scan (x, y, z), slices last -> the working grid: CLAHE, resampled linearly, z-scored, cropped or padded (paper 4.1).

    Raises:
        InputError: a constant scan.
    """
    equalised = preprocess.clahe(scan, recipe.clahe_clip, recipe.clahe_tile_mm)
    return preprocess.crop_or_pad(preprocess.zscore(preprocess.resample(equalised, recipe.spacing_mm, 1)), recipe.image_shape)


def prepare_labels(labels, recipe):
    """Class indices (x, y, z) -> the same on the working grid, by nearest neighbour."""
    return preprocess.crop_or_pad(preprocess.resample(labels, recipe.spacing_mm, 0), recipe.image_shape)


def prepared_pair(case, recipe):
    """Image and labels of a case of a data set on the working grid."""
    image, labels = datasets.load_pair(case, recipe.structures)
    return prepare(image, recipe), prepare_labels(labels, recipe)


def localiser_input(prepared, recipe, shrink=preprocess.shrink):
    """Working grid -> the localiser's; labels with `preprocess.shrink_labels`."""
    return preprocess.crop_or_pad(shrink(prepared, recipe.localiser_factors), recipe.localiser_shape)


def locate(localiser, prepared, recipe):
    """The activation map (`Volume` on the localiser's grid) of a prepared scan, and the `gcam.Region` to segment."""
    seen = localiser_input(prepared, recipe)
    heat = gcam.foreground_map(localiser, seen.array[..., None], recipe.gcam_layer, recipe.gcam_score)
    step = [n // m for n, m in zip(seen.array.shape, heat.shape, strict=True)]  # 1 but for deeper layers
    heat = preprocess.shrink(seen, step).with_array(heat)
    return heat, gcam.region(heat, prepared, recipe.crop_shape, recipe.gcam_threshold)


def predict(segmenter, scan):
    """Label map (values as on disk) on the grid of `scan`; every frame of a cine by itself.

    Args:
        segmenter: a `Segmenter`.
        scan: `Volume` (x, y, z) or (x, y, z, t).

    Raises:
        InputError: as `prepare`.
    """
    return prediction_command.predict_frames(scan, lambda frame: predict_frame(segmenter, frame), segmenter.structures)


def predict_frame(segmenter, scan):
    """Class indices (x, y, z) of one frame with its slices last."""
    return classes_on(scan, probabilities(segmenter, prepare(scan, segmenter.recipe))).array


def probabilities(segmenter, prepared):
    """Prepared scan -> class probabilities, a `Volume` (x, y, z, outputs) on the grid that the network sees."""
    recipe = segmenter.recipe
    if recipe.method == "multi_stage":
        box = locate(segmenter.localiser, prepared, recipe)[1]
        seen = preprocess.window(prepared, box.starts, box.shape)
    else:
        seen = preprocess.shrink(prepared, recipe.input_factors)
    logits = inference.logits(segmenter.model, seen.array[None, ..., None], 1)[0]
    return seen.with_array(inference.activated(logits[..., : outputs(recipe)]))  # end-to-end appends its localiser's


def classes_on(grid, probabilities):
    """Class indices on the voxels of `grid`; background where the network saw nothing."""
    pasted = preprocess.onto_grid(probabilities, grid, 1)
    return pasted.with_array(classes_of(pasted.array))


def load(weights):
    """The `Segmenter` of a run folder, or of the best.weights.h5 in one.

    Raises:
        InputError: not a run of this package, or weights that do not fit.
    """
    folder = runs.folder_holding(weights)
    recipe, structures = runs.load_recipe(folder, Recipe)
    with training.precision(recipe.precision):
        model = network(recipe)
        localiser = localiser_network(recipe) if recipe.method == "multi_stage" else None
    checkpoints.load_weights(model, runs.weights_of(folder))
    if localiser:
        checkpoints.load_weights(localiser, runs.weights_of(folder, LOCALISER))
    return Segmenter(model, localiser, recipe, structures)


def main(arguments=None):
    parser = prediction_command.parser("python -m dr_unet.predict", __doc__.splitlines()[0], "run folder, or its best.weights.h5")
    prediction_command.command(parser.parse_args(arguments), load, lambda segmenter, scan, path: predict(segmenter, scan))


if __name__ == "__main__":
    main()
