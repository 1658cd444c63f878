"""Scan -> label map on the scan's own grid, by a trained run.

python -m dense_unet.predict --weights RUN SCAN... -o OUT [--ed FILE... --es FILE...]
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dense_unet.recipe import Preparation, Recipe
from shared import notebook, prediction_command, runs
from shared.errors import InputError
from shared.lazy import lazily
from shared.learning import inference
from shared.prediction import predict_frames
from shared.scans import preprocess
from shared.scans.volume import Volume

with lazily():
    from dense_unet import model as networks
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
    return networks.build(recipe.network, (given.size, given.size), len(given.structures) + 1, recipe.width,
                          dense_layers=recipe.dense_layers, growth=recipe.growth, upsampling=recipe.upsampling)  # fmt: skip


def prepare(scan: Volume, preparation: Preparation) -> Volume:
    """Scan (x, y, z), slices last -> network input: `size` x `size` pixels, each slice from 0 to 1; a constant slice is 0.

    Axes stay as they are stored, since slices of the heart are oblique: which axis of the body theirs is nearest to differs from
    scan to scan.

    Raises:
        InputError: a constant scan.
    """
    if scan.array.min() == scan.array.max():
        raise InputError(preprocess.NOTHING.format(scan.array.flat[0]))
    scan = scan.with_array(scan.array.astype(np.float32))
    if is_papers_kind(scan, preparation):
        factor = preparation.paper_crop_factor
        seen = preprocess.shrink(crop(scan, preparation.size * factor), (factor, factor, 1))
    else:
        seen = crop(resampled(scan, preparation, order=1), preparation.size)
    low, high = (extreme(seen.array, axis=(0, 1), keepdims=True) for extreme in (np.min, np.max))
    return seen.with_array((seen.array - low) / np.where(high > low, high - low, 1))


def prepare_labels(labels: Volume, preparation: Preparation) -> Volume:
    """Class indices (x, y, z), slices last -> the same on the network's grid, by nearest neighbour.

    Of a block of pixels that is shrunk to one, all are equally near to its middle: the commonest class is taken.
    """
    if is_papers_kind(labels, preparation):
        factor = preparation.paper_crop_factor
        return preprocess.shrink_labels(crop(labels, preparation.size * factor), (factor, factor, 1))
    return crop(resampled(labels, preparation, order=0), preparation.size)


def is_papers_kind(scan: Volume, preparation: Preparation) -> bool:
    """Whether pixels have the size that the paper states, to its two decimals, and there are enough of them for its crop."""
    low, high = preparation.paper_pixel_mm
    enough = min(scan.array.shape[:2]) >= preparation.size * preparation.paper_crop_factor
    return enough and all(low <= round(mm, 2) <= high for mm in scan.spacing_mm[:2])


def resampled(volume: Volume, preparation: Preparation, order: int) -> Volume:
    return preprocess.resample(volume, (preparation.spacing_mm, preparation.spacing_mm, volume.spacing_mm[2]), order)


def crop(volume: Volume, size: int) -> Volume:
    """The central `size` x `size` pixels; zeros where the slices are smaller."""
    return preprocess.crop_or_pad(volume, (size, size, volume.array.shape[2]))


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
    return np.concatenate([part.argmax(axis=3).astype(np.uint8) for part in slabs(segmenter, scan)], axis=2)


def chances(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """Probabilities (x, y, z, classes) of one frame on its own voxels; those outside the network's image are 0."""
    return np.concatenate(list(slabs(segmenter, scan)), axis=2)


def slabs(segmenter: Segmenter, scan: Volume) -> Iterator[np.ndarray]:
    """Probabilities (x, y, n, classes) of some slices after the others."""
    prepared = prepare(scan, segmenter.recipe.preparation)
    for z in range(0, scan.array.shape[2], SLICES_AT_ONCE):
        yield predict_slices(segmenter, *(preprocess.slab(part, z, z + SLICES_AT_ONCE) for part in (prepared, scan)))


def predict_slices(segmenter: Segmenter, prepared: Volume, scan: Volume) -> np.ndarray:
    """Probabilities of some slices; pixels outside the network's image become background, since no class is likely there."""
    images = np.moveaxis(prepared.array, 2, 0)[..., None]  # (z, x, y, 1)
    probabilities = inference.probabilities(segmenter.model, images, segmenter.recipe.batch_size)  # (z, x, y, classes)
    return preprocess.onto_grid(prepared.with_array(np.moveaxis(probabilities, 0, 2)), scan, 1).array


def load(weights: str | Path) -> Segmenter:
    """The `Segmenter` of a run folder, or of the best.weights.h5 in one.

    Raises:
        InputError: not a run of this package, or weights that do not fit.
    """
    folder = runs.folder_holding(weights)
    recipe, structures = runs.load_recipe(folder, Recipe)
    model = training.trained(lambda: network(recipe), recipe.precision, runs.weights_of(folder))
    return Segmenter(model, recipe, structures)


def main(arguments: list[str] | None = None) -> None:
    parser = prediction_command.parser("dense_unet", __doc__.splitlines()[0], "run folder, or its best.weights.h5")
    prediction_command.command(parser.parse_args(arguments), load, lambda segmenter, scan, path: predict(segmenter, scan))


notebook.callable_as(predict)

if __name__ == "__main__":
    main()
