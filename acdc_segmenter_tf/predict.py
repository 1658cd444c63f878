"""Scan -> label map on the scan's own grid, by a trained run or the authors' released weights.

python -m acdc_segmenter_tf.predict --weights RUN_OR_FILE SCAN... -o OUT [--ed FILE... --es FILE...]
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acdc_segmenter_tf import released
from acdc_segmenter_tf.recipe import RECIPES, Preparation, Recipe
from shared import notebook, prediction_command, runs
from shared.datasets import acdc
from shared.errors import InputError
from shared.files import visible
from shared.lazy import lazily
from shared.learning import inference
from shared.prediction import predict_frames
from shared.scans import preprocess
from shared.scans.postprocess import largest_components
from shared.scans.volume import Volume

with lazily():
    from acdc_segmenter_tf import model as networks
    from shared.framework import keras
    from shared.learning import training

SLICES_AT_ONCE = 32  # bounds the memory of a scan with thousands of slices


@dataclass(frozen=True)
class Segmenter:
    """A network with its weights, how its input is prepared, and what its classes are called on disk."""

    model: "keras.Model"
    recipe: Recipe
    structures: Mapping[int, str]  # label value on disk -> name


def network(recipe: Recipe) -> "keras.Model":
    """The untrained network."""
    given = recipe.preparation
    return networks.build(recipe.network, given.image_shape, len(given.structures) + 1, recipe.width)


def prepare(scan: Volume, preparation: Preparation, anti_alias: bool = False) -> Volume:
    """Scan (x, y, z) -> network input: z-scored over the native volume, resampled linearly, cropped or padded.

    Raises:
        InputError: a constant scan; more slices than a 3D network takes.
    """
    return onto_network_grid(preprocess.zscore(scan), preparation, order=1, anti_alias=anti_alias)


def prepare_labels(labels: Volume, preparation: Preparation) -> Volume:
    """Class indices (x, y, z) -> the same on the network's grid, by nearest neighbour."""
    return onto_network_grid(labels, preparation, order=0)


def onto_network_grid(scan: Volume, preparation: Preparation, order: int, anti_alias: bool = False) -> Volume:
    spacing_mm, shape = network_grid(scan, preparation)
    resampled = preprocess.resample(scan, spacing_mm, order, edge_rule(preparation), anti_alias)
    if resampled.array.shape[2] > shape[2]:
        slices, extent = resampled.array.shape[2], scan.array.shape[2] * scan.spacing_mm[2]
        raise InputError(
            f"the scan spans {extent:.0f} mm ({slices} slices of {spacing_mm[2]:g} mm), the 3D network takes {shape[2]}"
        )
    return preprocess.crop_or_pad(resampled, shape)


def network_grid(scan: Volume, preparation: Preparation) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Voxel size (mm) and shape of the prepared scan; 2D networks leave z as it is."""
    if preparation.is_3d:
        return preparation.spacing_mm, preparation.image_shape
    return (*preparation.spacing_mm, scan.spacing_mm[2]), (*preparation.image_shape, scan.array.shape[2])


def edge_rule(preparation: Preparation) -> str:
    """scikit-image, which the authors used, mixes the border of 2D images with 0 and cuts that of volumes."""
    return "zero" if preparation.is_3d else "blend"


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
    """Class indices (x, y, z) of one frame: prepare -> network -> softmax back onto the scan's grid -> argmax -> components."""
    classes = [part.argmax(axis=3).astype(np.uint8) for part in slabs(segmenter, scan)]
    return cleaned(segmenter, np.concatenate(classes, axis=2))


def chances(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """Probabilities (x, y, z, classes) of one frame on its own voxels; those outside the network's image are 0."""
    return np.concatenate(list(slabs(segmenter, scan)), axis=2)


def mirrored_axes(segmenter: Segmenter) -> tuple[int, ...]:
    """The axes of a scan with its slices last along which training mirrored it."""
    return (1,) if segmenter.recipe.flip else ()


def cleaned(segmenter: Segmenter, classes: np.ndarray) -> np.ndarray:
    """Of every structure the largest component (paper)."""
    return largest_components(classes)


def slabs(segmenter: Segmenter, scan: Volume) -> Iterator[np.ndarray]:
    """Probabilities (x, y, n, classes) of some slices after the others; of a 3D network, of all at once."""
    recipe = segmenter.recipe
    prepared = prepare(scan, recipe.preparation, recipe.anti_alias_inference)
    if recipe.preparation.is_3d:
        probabilities = inference.probabilities(segmenter.model, prepared.array[None, ..., None], 1)[0]
        yield restore(prepared.with_array(probabilities), scan, recipe)
        return
    for z in range(0, scan.array.shape[2], SLICES_AT_ONCE):
        yield predict_slices(segmenter, *(preprocess.slab(part, z, z + SLICES_AT_ONCE) for part in (prepared, scan)))


def predict_slices(segmenter: Segmenter, prepared: Volume, scan: Volume) -> np.ndarray:
    images = np.moveaxis(prepared.array, 2, 0)[..., None]  # (z, x, y, 1)
    probabilities = inference.probabilities(segmenter.model, images, segmenter.recipe.batch_size)  # (z, x, y, classes)
    return restore(prepared.with_array(np.moveaxis(probabilities, 0, 2)), scan, segmenter.recipe)


def restore(probabilities: Volume, scan: Volume, recipe: Recipe) -> np.ndarray:
    """Class probabilities (x, y, z, classes) on the network's grid -> on the scan's; those of cropped-away voxels are 0."""
    resampled_shape = preprocess.resampled_shape(scan, network_grid(scan, recipe.preparation)[0])
    pasted = preprocess.crop_or_pad(probabilities, resampled_shape)
    return preprocess.onto_grid(pasted, scan, 1, edge_rule(recipe.preparation), recipe.anti_alias_inference).array


def load(weights: str | Path) -> Segmenter:
    """The `Segmenter` of a run folder, of the best.weights.h5 in one, or of a TensorFlow 1 checkpoint of the authors.

    Raises:
        InputError: it is none of these, or the weights do not fit.
    """
    weights = Path(weights)
    no_checkpoint = weights.is_dir() and not visible(weights, "*.index")
    if weights.name.endswith(".h5") or no_checkpoint or (weights / "run.json").is_file():
        return load_run(runs.folder_holding(weights))
    if not weights.exists() and not weights.with_name(f"{weights.name}.index").exists():
        raise InputError(f"{weights}: no such run folder, weights file or checkpoint")
    model = released.load_released(None, weights)
    recipe = next(recipe for recipe in RECIPES.values() if recipe.network == model.name)
    return Segmenter(model, recipe, acdc.STRUCTURES)


def load_run(folder: Path) -> Segmenter:
    """The `Segmenter` of a run folder."""
    recipe, structures = runs.load_recipe(folder, Recipe)
    model = training.trained(lambda: network(recipe), recipe.precision, runs.weights_of(folder))
    return Segmenter(model, recipe, structures)


def main(arguments: list[str] | None = None) -> None:
    weights_help = "run folder, its best.weights.h5, or a released checkpoint"
    parser = prediction_command.parser("acdc_segmenter_tf", __doc__.splitlines()[0], weights_help)
    prediction_command.command(parser.parse_args(arguments), load, lambda segmenter, scan, path: predict(segmenter, scan))


notebook.callable_as(predict)

if __name__ == "__main__":
    main()
