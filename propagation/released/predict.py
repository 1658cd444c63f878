"""Short-axis scan -> label map on the scan's own grid, by the released networks.

    scan -> grey values 0..255 -> roi_net on slices of the upper half -> square around the heart -> slice after slice:
            [slice before, slice, mask of the slice before] -> lvrv_net -> classes -> plausible? -> mask, else nothing

Steps and numbers are those of the authors' code, except where a line says "ours". Images are rows, columns: the transpose of a
slice of the scan, so x runs along columns. Classes are 1 LV cavity, 2 LV myocardium, 3 RV cavity; label maps have ACDC's labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from propagation.released.heart import find_heart
from propagation.released.images import grey, normalised, resized_bilinear, resized_nearest, square_image
from propagation.released.plausibility import cleaned
from propagation.released.variants import DEFAULT, VARIANTS, Released, Variant
from propagation.released.weights import identify, kind, load_released
from shared.errors import InputError
from shared.files import visible
from shared.lazy import lazily
from shared.prediction import predict_frames
from shared.scans import orientation, preprocess
from shared.scans.volume import Volume

with lazily():
    from shared.framework import keras

STRUCTURES = {3: "LV", 2: "Myo", 1: "RV"}  # ACDC's label of each class, in the order of the classes


@dataclass(frozen=True)
class Nets:
    """The networks of a pipeline; without `roi` the centre of the slices is segmented."""

    segmentation: "keras.Model"
    roi: "keras.Model | None" = None


def load_nets(folder: str | Path, variant: str = "lvrv", options: Released = DEFAULT) -> Nets:
    """The networks for a variant from the .h5 files of a folder, which are told apart by what they hold.

    Files of lvrv_net and of its fine-tuned form hold the same tensors. Where a folder has both, those with "finetune" in their
    name are fine-tuned. Without roi_net in the folder, `Nets.roi` is None.

    Raises:
        InputError: an unknown variant, no such folder, none or several files of a network, or files that cannot be read.
    """
    check_variant(variant)
    folder, network = Path(folder), VARIANTS[variant].network
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; expected one with the authors' weights (python -m propagation.released fetch)"
        )
    files: dict[str, list[Path]] = {}
    for path in visible(folder, "*.h5"):
        files.setdefault(identify(path), []).append(path)
    found = files.get(kind(network), [])
    if len(found) > 1:
        found = [path for path in found if ("finetune" in path.name) == (variant == "finetune")] or found
    chosen = {"segmentation": (network, one(found, network, folder))}
    if "roi_net" in files:
        chosen["roi"] = ("roi_net", one(files["roi_net"], "roi_net", folder))
    slope = options.leaky_slope
    return Nets(**{part: load_released(name, path, leaky_slope=slope) for part, (name, path) in chosen.items()})


def one(paths: Sequence[Path], network: str, folder: Path) -> Path:
    """The only one of `paths`, files of one network; InputError where there is none or are several."""
    if len(paths) != 1:
        names = f": {', '.join(path.name for path in paths)}; keep one of them there" if paths else ""
        raise InputError(f"{folder}: expected one file with the weights of {network}, found {len(paths)}{names}")
    return paths[0]


def check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        raise InputError(f"unknown variant {variant!r}: expected one of {', '.join(VARIANTS)}")


def segment(scan: Volume, nets: Nets, *, base: int | None = None, variant: str = "lvrv", options: Released = DEFAULT) -> Volume:
    """Label map (1 RV, 2 Myo, 3 LV) on the grid of `scan`. Frames of a cine are segmented one by one, all in the same square.

    Args:
        scan: (x, y, z) or (x, y, z, t) in any order of axes. Slices go from base to apex, with `options.apex_first` from apex to
            base.
        nets: the networks of the variant.
        base: the first slice with a right ventricle, counted from 0 at the base end; None means the first of the scan. "lvrv"
            starts there and sees the image of the slice above. "lv" starts one slice earlier, because its authors include the
            slice at the base. "finetune" always starts at slice 0 without an image above, whatever `base` is.
        variant: a key of `VARIANTS`.
        options: settings of the pipeline.

    Raises:
        InputError: an unknown variant, a base outside the scan, a constant scan, frames that it has not, or no heart found.
    """
    check_variant(variant)
    return orientation.with_slices_last(scan, lambda ordered: labels_of(ordered, nets, base, VARIANTS[variant], options))


def labels_of(scan: Volume, nets: Nets, base: int | None, way: Variant, options: Released) -> np.ndarray:
    """The label map (x, y, z) or (x, y, z, t) of a scan with its slices last, see `segment`."""
    shape = scan.array.shape
    if base is not None and not 0 <= base < shape[2]:
        raise InputError(f"base: expected a slice from 0 to {shape[2] - 1}, found {base}")
    low = scan.array.min()
    if low == scan.array.max():
        raise InputError(preprocess.NOTHING.format(low))
    order = -1 if options.apex_first else 1
    ordered = scan.with_array(scan.array[:, :, ::order] - min(float(low), 0.0))  # ours: a negative minimum becomes 0
    square = find_heart(ordered, nets.roi, options)
    cropped = preprocess.window(ordered, (square.column, square.row, 0), (square.side, square.side, shape[2]))
    images = cropped.with_array(grey(cropped.array, cropped.array.max(), options.eight_bit))
    first = 0 if way.from_zero else max((base or 0) - way.earlier, 0)

    def segment_frame(frame: Volume) -> np.ndarray:
        classes = propagate(frame.array.swapaxes(0, 1), nets.segmentation, first, way, options.stretch)
        pasted = frame.with_array(classes.swapaxes(0, 1))
        return preprocess.window(pasted, (-square.column, -square.row, 0), shape[:3]).array

    labels = predict_frames(images, segment_frame, STRUCTURES).array
    return labels[:, :, ::order]


def propagate(images: np.ndarray, model: "keras.Model", first: int, way: Variant, stretch: bool = False) -> np.ndarray:
    """Classes of every slice from `first` on, each segmented with the help of the image and the mask of the slice before.

    Args:
        images: (rows, columns, z) grey values of the square, base first.
        model: the segmentation network.
        first: slice to start with; earlier ones stay background.
        way: the variant.
        stretch: see `Released`.

    Returns:
        (rows, columns, z) uint8.
    """
    side, size = images.shape[0], model.input_shape[0][1]
    classes = np.zeros(images.shape, np.uint8)
    mask = np.zeros((side, side), np.uint8)
    before = images[:, :, first - 1] if first else np.zeros((side, side))
    for z in range(first, images.shape[2]):
        inputs = [normalised(square_image(image, size)) for image in (before, images[:, :, z])]
        inputs.append(resized_nearest(mask, size).astype(np.float32))
        probabilities = model.predict_on_batch([each[None, ..., None] for each in inputs])[0]
        mask = cleaned(resized_bilinear(probabilities, side, stretch).argmax(axis=-1).astype(np.uint8), way.kept)
        classes[:, :, z] = mask
        before = images[:, :, z]
    return classes
