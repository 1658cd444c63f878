"""Scan -> biventricular mask on the scan's own grid, by a trained run or by the authors' released networks.

python -m propagation.predict --weights RUN SCAN... -o OUT [--base SLICE | --bases CSV] [--apex-first]
python -m propagation.predict --released {lvrv,lv,finetune} --weights DIR SCAN... -o OUT

Inside this package slice 0 is at the base and the slices go on to the apex, as ACDC's files do; the paper counts the other way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from propagation import masks
from propagation.recipe import Preparation, Recipe
from propagation.released import predict as released_predict
from propagation.stack import STEP, find_base, network_input, propagate
from shared import notebook, prediction_command, runs
from shared.datasets import nnunet
from shared.errors import InputError
from shared.lazy import lazily
from shared.learning import inference
from shared.prediction import predict_frames
from shared.scans import orientation, preprocess, volume
from shared.scans.postprocess import largest_components
from shared.scans.volume import Volume

with lazily():
    from propagation import model as networks
    from shared.framework import keras
    from shared.learning import training

INITIALIZATION, PROPAGATION = "initialization", "propagation"  # stages; a run of both keeps the first in a separate folder
STRUCTURES = {1: "BV"}  # what the mask is called on disk


@dataclass(frozen=True)
class Segmenter:
    """The networks with their weights, and how their input is prepared."""

    initialization: "keras.Model"
    propagation: "keras.Model | None"  # None: the initialization network alone, on every slice
    recipe: Recipe
    structures: Mapping[int, str]


def network(recipe: Recipe, stage: str | None = None) -> "keras.Model":
    """The untrained network of a stage, by default the last one of the recipe's method."""
    stage = stage or recipe.method
    first = stage == INITIALIZATION
    groups = recipe.initialization_groups if first else recipe.propagation_groups
    channels = recipe.initialization_channels if first else recipe.propagation_channels
    return networks.build(stage, recipe.preparation.size, groups, channels, kernel=recipe.kernel, slope=recipe.slope,
                          normalisation=recipe.normalisation, gaussian_noise=recipe.gaussian_noise,
                          impulse_noise=recipe.impulse_noise)  # fmt: skip


def prepare(scan: Volume, preparation: Preparation, centre: np.ndarray | None = None) -> Volume:
    """Scan (x, y, z) -> (size, size, n): isotropic voxels, linear; a square around `centre`; normalised (paper 2.1).

    Args:
        scan: slices last, the basal one first.
        preparation: of a recipe.
        centre: (x, y) of the heart as voxels of the scan, by default the middle of its slices.

    Raises:
        InputError: an image without contrast.
    """
    return normalise(square(isotropic(scan, preparation), scan, preparation, centre), preparation.percentiles)


def isotropic(volume: Volume, preparation: Preparation) -> Volume:
    return preprocess.resample(volume, (preparation.spacing_mm,) * 3, 1)


def square(volume: Volume, scan: Volume, preparation: Preparation, centre: np.ndarray | None = None) -> Volume:
    """The window of size x size voxels of an isotropic `volume` around the voxel (x, y) `centre` of `scan`."""
    if centre is None:
        centre = (np.array(scan.array.shape[:2]) - 1) / 2
    middle = voxel_on(scan, [*centre, 0], volume)[:2]
    starts = np.round(middle - (preparation.size - 1) / 2).astype(int)
    return preprocess.window(volume, (*starts.tolist(), 0), (preparation.size, preparation.size, volume.array.shape[2]))


def voxel_on(volume: Volume, index: Sequence[float], other: Volume) -> np.ndarray:
    """The voxel `index` of `volume` as fractional voxel of `other`, whose grid was made from it."""
    return (np.linalg.inv(other.affine) @ volume.affine @ [*index, 1])[:3]


def normalise(volume: Volume, percentiles: Sequence[float]) -> Volume:
    """Subtract the mean and divide by the standard deviation of the voxels strictly between two percentiles (ours)."""
    array = volume.array.astype(np.float32)
    low, high = np.percentile(array, percentiles)
    between = array[(array > low) & (array < high)]
    if len(between) == 0 or between.std() == 0:
        raise InputError("an image without contrast: nearly all its voxels are equal, there is nothing to segment")
    return volume.with_array((array - between.mean(dtype=np.float64).astype(np.float32)) / between.std())


def probabilities(segmenter: Segmenter, image: np.ndarray, base: int) -> np.ndarray:
    """Probabilities (x, y, n) of the wall in a prepared `image` (x, y, n), 0 above the `base`."""
    if segmenter.propagation is None:
        found = slice_by_slice(segmenter, image)
        found[..., :base] = 0
        return found
    return propagate(
        image,
        lambda slice_: slice_by_slice(segmenter, slice_[..., None])[..., 0],
        lambda *parts: carried(segmenter.propagation, *parts),
        base,
        segmenter.recipe.binary_input,
    )


def slice_by_slice(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """What the initialization network finds in every slice by itself: (x, y, n) -> probabilities (x, y, n)."""
    slices = np.moveaxis(image, 2, 0)[..., None]
    batches = (slices[start : start + 16] for start in range(0, len(slices), 16))
    found = [inference.logits(segmenter.initialization, batch, min(16, len(slices)))[..., 0] for batch in batches]
    return np.moveaxis(np.concatenate(found), 0, 2)


def carried(network: "keras.Model", slice_: np.ndarray, mask: np.ndarray, next_slices: np.ndarray) -> np.ndarray:
    """The masks (x, y, 4) that the propagation network finds in the next four slices."""
    inputs = network_input(slice_, mask, next_slices)
    return inference.logits(network, inputs[None], 1)[0, ..., :STEP]


def heart_centre(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """The heart's (x, y) as voxels of `scan`: where the initialization network sees its wall, in the middle third of the slices
    of a square around the image's centre (ours: the paper does not say how it crops)."""
    image = prepare(scan, segmenter.recipe.preparation)
    n = image.array.shape[2]
    middle = image.array[:, :, n // 3 : n - n // 3 : max(1, n // 12)]
    wall = np.any(slice_by_slice(segmenter, middle) >= 0.5, axis=2)
    if not wall.any():
        return (np.array(scan.array.shape[:2]) - 1) / 2
    return voxel_on(image, (*ndimage.center_of_mass(largest_components(np.asarray(wall, np.uint8))), 0), scan)[:2]


def slice_of_base(scan: Volume, base: int, image: Volume) -> int:
    """The slice of the prepared `image` at or just above the centre of slice `base` of `scan`, at least 0.

    Raises:
        InputError: a base that is not a slice of the scan.
    """
    if not 0 <= base < scan.array.shape[2]:
        raise InputError(f"base slice {base}: expected 0 to {scan.array.shape[2] - 1}, counted from the basal end of the scan")
    slice_ = int(np.floor(voxel_on(scan, (0, 0, base), image)[2] + 1e-6))
    return max(slice_, 0)  # if the scan's slices are thinner, the centre of its first one lies above the image's


def segment(segmenter: Segmenter, scan: Volume, base: int | None = None) -> tuple[Volume, int]:
    """The wall's probabilities on the network's grid (`Volume`), and the slice that they begin at.

    Args:
        segmenter: a `Segmenter`.
        scan: (x, y, z), slices last, the basal one first.
        base: slice of the scan; None finds it.

    Raises:
        InputError: see `prepare` and `slice_of_base`.
    """
    image = prepare(scan, segmenter.recipe.preparation, heart_centre(segmenter, scan))
    start = find_base(slice_by_slice(segmenter, image.array)) if base is None else slice_of_base(scan, base, image)
    found = probabilities(segmenter, image.array, start)
    return image.with_array(found), start


def on_grid(found: Volume, scan: Volume) -> np.ndarray:
    """Classes (x, y, z), 0 or 1, on the voxels of `scan`: probabilities interpolated there."""
    return (preprocess.onto_grid(found, scan, 1).array >= 0.5).astype(np.uint8)


def predict(segmenter: Segmenter, scan: Volume, base: int | None = None, apex_first: bool = False) -> Volume:
    """Label map (1 = biventricular wall) on the grid of `scan`; each frame of a cine is predicted by itself.

    Args:
        segmenter: a `Segmenter`.
        scan: short-axis `Volume` (x, y, z) or (x, y, z, t).
        base: first slice to segment, counted from the basal end; None finds it.
        apex_first: whether the scan's slices go from apex to base.

    Raises:
        InputError: see `segment`.
    """

    def predict_frame(frame: Volume) -> np.ndarray:
        scan = orientation.flip(frame, 2) if apex_first else frame
        found, _ = segment(segmenter, scan, base)
        return on_grid(found, scan)[:, :, :: -1 if apex_first else 1]

    return predict_frames(scan, predict_frame, segmenter.structures)


def load(weights: str | Path) -> Segmenter:
    """The `Segmenter` of a run folder, or of the best.weights.h5 in one.

    Raises:
        InputError: not a run of this package, or weights that do not fit.
    """
    folder = runs.folder_holding(weights)
    recipe, structures = runs.load_recipe(folder, Recipe)

    def trained(stage: str) -> "keras.Model":
        path = runs.weights_of(folder, "" if stage == recipe.method else stage)
        return training.trained(lambda: network(recipe, stage), recipe.precision, path)

    propagation = trained(PROPAGATION) if recipe.method == PROPAGATION else None
    return Segmenter(trained(INITIALIZATION), propagation, recipe, structures)


@dataclass(frozen=True)
class Released:
    """The authors' released networks as a segmenter."""

    segment: Callable[[Volume, int | None], Volume]
    structures: Mapping[int, str]


def main(arguments: list[str] | None = None) -> None:
    weights_help = "run folder, its best.weights.h5, or with --released the folder with the authors' files"
    parser = prediction_command.parser("propagation", __doc__.splitlines()[0], weights_help)
    parser.add_argument("--released", choices=released_predict.VARIANTS, help="use the authors' networks instead of a run")
    base = parser.add_mutually_exclusive_group()
    base.add_argument(
        "--base", type=int, help="first slice to segment, from 0 at the basal end (default: found, or 0 if released)"
    )
    base.add_argument(
        "--bases", type=Path, metavar="CSV", help="table of --base per patient and phase: columns patient, ed_base, es_base"
    )
    parser.add_argument("--apex-first", action="store_true", help="the scan's slices go from apex to base")
    parser.add_argument("--no-eight-bit", action="store_true", help="released: do not cut grey values to whole numbers")
    parser.add_argument("--stretch", action="store_true", help="released: stretch each probability map as the authors' code does")
    parser.add_argument("--leaky-slope", type=float, default=0.0, help="released: slope of activations below 0 (default: 0)")
    options = parser.parse_args(arguments)

    def load_either(weights: Path) -> Segmenter | Released:
        if not options.released:
            return load(weights)
        own = released_predict.Released(eight_bit=not options.no_eight_bit, stretch=options.stretch,
                                        leaky_slope=options.leaky_slope, apex_first=options.apex_first)  # fmt: skip
        nets = released_predict.load_nets(weights, options.released, own)
        return Released(lambda scan, base: released_predict.segment(scan, nets, base=base, variant=options.released, options=own),
                        released_predict.STRUCTURES)  # fmt: skip

    def predict_either(segmenter: Segmenter | Released, scan: Volume, path: Path) -> Volume:
        base = options.base if options.bases is None else listed_base(options.bases, path)
        if isinstance(segmenter, Released):
            return segmenter.segment(scan, base)
        return predict(segmenter, scan, base, options.apex_first)

    prediction_command.command(options, load_either, predict_either)


def listed_base(bases: Path, path: Path) -> int:
    """The base slice that the CSV file `bases` gives for a scan called PATIENT_ED or PATIENT_ES.

    Raises:
        InputError: see `masks.read_bases`; or the list has no base for this scan.
    """
    patient, phase = nnunet.patient_and_phase(volume.stem(path))
    found = masks.read_bases(bases).get((patient, phase))
    if found is None:
        raise InputError(f"{bases}: no base of patient {patient!r}, phase {phase!r}; call scans PATIENT_ED or PATIENT_ES")
    return found


notebook.callable_as(predict)

if __name__ == "__main__":
    main()
