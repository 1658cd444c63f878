"""Short-axis scan -> label map on the scan's own grid by the released networks: heart found, cut out, segmented base to apex.

    scan -> grey values 0..255 -> roi_net on slices of the upper half -> square around the heart -> slice after slice:
            [slice before, slice, mask of the slice before] -> lvrv_net -> classes -> plausible? -> mask, else nothing

Steps and numbers are those of the authors' code, except where a line says "ours". Images are rows, columns: the transpose of a
slice of the scan, so x runs along columns. Classes are 1 LV cavity, 2 LV myocardium, 3 RV cavity; label maps are ACDC's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from propagation.released import identify, kind, load_released
from propagation.released.images import (
    clipped,
    equalised,
    grey,
    largest_component,
    normalised,
    resized_bilinear,
    resized_nearest,
    square_image,
)
from shared import prediction_command
from shared.errors import InputError
from shared.files import visible
from shared.lazy import lazily
from shared.scans import orientation, preprocess

with lazily():
    from shared.framework import keras

LVC, LVM, RVC = 1, 2, 3
STRUCTURES = {3: "LV", 2: "Myo", 1: "RV"}  # ACDC's label of each class, in the order of the classes
MARGIN = 0.3  # of the heart's longer side, on each side


@dataclass(frozen=True)
class Variant:
    """What sets one way to use a segmentation network apart."""

    network: str
    from_zero: bool = False  # start at slice 0, whatever the base; else at the base, knowing the image above
    earlier: int = 0  # slices above the given base that are segmented too
    kept: tuple[int, ...] = ()  # classes of which the largest component is kept


VARIANTS = {
    "lvrv": Variant("lvrv_net", kept=(RVC,)),
    "lv": Variant("lv_net", earlier=1),
    "finetune": Variant("lvrv_net_finetune", from_zero=True, kept=(LVC, LVM, RVC)),
}


@dataclass(frozen=True, kw_only=True)
class Released:
    """How the released pipeline is run.

    Attributes:
        eight_bit: cut grey values to whole numbers, as the PNG files that the networks were trained on do.
        stretch: as the authors: stretch every probability map to 0..255 by itself before it is resized, which favours classes
            that are nowhere likely.
        leaky_slope: of the activations below 0, used in `load_nets` (see `released_model.build`).
        apex_first: the scan's slices go from apex to base.
        roi_slices: from which to which share of the slices roi_net is run: 0.1 to 0.5 on ACDC, 0.2 to 0.6 on UK Biobank.
        roi_frames: of a cine; the first should be end-diastole.
        centre_mm: without a roi_net, the side of the square at the centre of the slices that is segmented (ours).
    """

    eight_bit: bool = True
    stretch: bool = False
    leaky_slope: float = 0.0
    apex_first: bool = False
    roi_slices: tuple[float, float] = (0.1, 0.5)
    roi_frames: tuple[int, ...] = (0,)
    centre_mm: float = 160.0


DEFAULT = Released()


@dataclass(frozen=True)
class Nets:
    """The networks of a pipeline; without `roi` the centre of the slices is segmented."""

    segmentation: "keras.Model"
    roi: "keras.Model | None" = None


@dataclass(frozen=True)
class Square:
    """A square of a slice, `side` pixels from (`row`, `column`) on; it may reach outside."""

    row: int
    column: int
    side: int


def load_nets(folder, variant="lvrv", options=DEFAULT):
    """`Nets` for a variant from the .h5 files of a folder, told apart by what they hold.

    lvrv_net and its fine-tuned form hold the same tensors: where a folder has both, the fine-tuned ones are those with "finetune"
    in their name. Without roi_net in the folder `Nets.roi` is None.

    Raises:
        InputError: an unknown variant, no such folder, none or several files of a network, or files that cannot be read.
    """
    check_variant(variant)
    folder, network = Path(folder), VARIANTS[variant].network
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; expected one with the authors' weights (python -m propagation.released fetch)"
        )
    files = {}
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


def one(paths, network, folder):
    if len(paths) != 1:
        names = f": {', '.join(path.name for path in paths)}; keep one of them there" if paths else ""
        raise InputError(f"{folder}: expected one file with the weights of {network}, found {len(paths)}{names}")
    return paths[0]


def check_variant(variant):
    if variant not in VARIANTS:
        raise InputError(f"unknown variant {variant!r}: expected one of {', '.join(VARIANTS)}")


def segment(scan, nets, *, base=None, variant="lvrv", options=DEFAULT):
    """Label map (1 RV, 2 Myo, 3 LV) on the grid of `scan`; every frame of a cine by itself, in one square.

    Args:
        scan: `Volume` (x, y, z) or (x, y, z, t) in any order of axes; slices go from base to apex, or the other way round with
            `options.apex_first`.
        nets: `Nets`.
        base: the first slice with a right ventricle, counted from 0 at the base end; None: the first of the scan. "lvrv"
            starts there and sees the image of the slice above. "lv" starts one slice earlier, as its authors count the slice
            at the base in. "finetune" always starts at slice 0 without an image above, whatever `base` is.
        variant: a key of `VARIANTS`.
        options: `Released`.

    Raises:
        InputError: an unknown variant, a base outside the scan, a constant scan, frames that it has not, or no heart found.
    """
    check_variant(variant)
    return orientation.with_slices_last(scan, lambda ordered: labels_of(ordered, nets, base, VARIANTS[variant], options))


def labels_of(scan, nets, base, way, options):
    """`segment` of a scan with its slices last: label map array (x, y, z) or (x, y, z, t)."""
    shape = scan.array.shape
    if base is not None and not 0 <= base < shape[2]:
        raise InputError(f"base: expected a slice from 0 to {shape[2] - 1}, found {base}")
    low = scan.array.min()
    if low == scan.array.max():
        raise InputError(preprocess.NOTHING.format(low))
    order = -1 if options.apex_first else 1
    ordered = scan.with_array(scan.array[:, :, ::order] - min(float(low), 0.0))  # ours: negative values count from the least
    square = find_heart(ordered, nets.roi, options)
    cropped = preprocess.window(ordered, (square.column, square.row, 0), (square.side, square.side, shape[2]))
    images = cropped.with_array(grey(cropped.array, cropped.array.max(), options.eight_bit))
    first = 0 if way.from_zero else max((base or 0) - way.earlier, 0)

    def segment_frame(frame):
        classes = propagate(frame.array.swapaxes(0, 1), nets.segmentation, first, way, options.stretch)
        pasted = frame.with_array(classes.swapaxes(0, 1))
        return preprocess.window(pasted, (-square.column, -square.row, 0), shape[:3]).array

    labels = prediction_command.predict_frames(images, segment_frame, STRUCTURES).array
    return labels[:, :, ::order]


def propagate(images, model, first, way, stretch=False):
    """Classes of every slice from `first` on, each segmented with the image and the mask of the slice before.

    Args:
        images: (rows, columns, z) grey values of the square, base first.
        model: the segmentation network.
        first: slice to start with; earlier ones stay background.
        way: `Variant`.
        stretch: as in `Released`.

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


def cleaned(classes, kept):
    """The classes (rows, columns) of one slice, all background where they are implausible.

    Args:
        kept: classes of which only the largest component stays, pixels connected over their sides.
    """
    if not plausible(classes):
        return np.zeros_like(classes)
    result = classes.copy()
    for value in kept:
        result[(classes == value) & ~largest_component(classes == value)] = 0
    return result


def plausible(classes):
    """Is there myocardium, and does the LV cavity touch it at least twice as much as background and RV cavity together?"""
    outside = touching(classes, LVC, 0) + touching(classes, LVC, RVC)
    return bool((classes == LVM).any()) and outside <= 0.5 * touching(classes, LVC, LVM)


def touching(classes, value, other):
    """How many pairs of neighbours over a side there are of a pixel of class `value` and one of class `other`."""
    return sum(
        int(np.sum((a == value) & (b == other)) + np.sum((a == other) & (b == value)))
        for a, b in ((classes[1:], classes[:-1]), (classes[:, 1:], classes[:, :-1]))
    )


def find_heart(scan, model, options):
    """The `Square` around what `model`, a roi_net, finds in the upper slices; without a model, one at the centre.

    Raises:
        InputError: no such frames, or nothing found.
    """
    rows, columns = scan.array.shape[1], scan.array.shape[0]
    if model is None:
        side = min(round(options.centre_mm / min(scan.spacing_mm[:2])), max(rows, columns))
        return Square((rows - side) // 2, (columns - side) // 2, side)
    if not options.roi_frames or not all(0 <= t < scan.frames for t in options.roi_frames):
        raise InputError(f"roi_frames: expected some of the scan's {scan.frames}, counted from 0, found {options.roi_frames}")
    masks = [
        heart_mask(grey(scan.frame(t).array[:, :, z].T, scan.array.max(), eight_bit=True), model)  # CLAHE takes whole numbers
        for t in options.roi_frames
        for z in share_of(scan.array.shape[2], *options.roi_slices)
    ]
    if not any(mask.any() for mask in masks):
        raise InputError("roi_net found no heart: check the order of the axes, or segment the centre, without a roi_net")
    return square_around(masks)


def share_of(slices, start, stop):
    """Indices from one share of the slices to another, at least one."""
    first = min(round(start * slices + 0.001), slices - 1)
    return range(first, max(round(stop * slices + 0.001), first + 1))


def heart_mask(image, model):
    """The largest part of a slice (rows, columns) of whole grey values 0..255 that roi_net takes for heart."""
    size, side = model.input_shape[1], max(image.shape)
    inputs = normalised(equalised(square_image(clipped(image), size)))
    found = model.predict_on_batch(inputs[None, ..., None])[0, ..., 0] >= 0.5
    row, column = ((side - n) // 2 for n in image.shape)
    found = resized_nearest(found, side)[row : row + image.shape[0], column : column + image.shape[1]]
    return largest_component(found)


def square_around(masks):
    """The `Square` around all masks (rows, columns): the longer side of their box and, on each side, 0.3 of it as margin."""
    rows, columns = np.nonzero(np.any(masks, axis=0))
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    margin = round(MARGIN * side + 0.001)
    row, column = ((int(each.min()) + int(each.max())) // 2 - side // 2 - margin for each in (rows, columns))
    return Square(row, column, side + 2 * margin)


def apparent_flow(model, ed, frame):
    """How the slice moves from end-diastole to `frame`, by an apparentflow_net.

    Args:
        ed, frame: (rows, columns) grey values of the square around the heart at both instants.

    Returns:
        (size, size, 2) float32, pixels of the network's grid: along columns, along rows.
    """
    size = model.input_shape[0][1]
    inputs = [normalised(square_image(image, size))[None, ..., None] for image in (ed, frame)]
    return np.asarray(model.predict_on_batch(inputs))[0]


def warp_by_flow(mask, flow):
    """The mask at end-diastole of a mask at the instant that `flow` leads to: each pixel looks where it goes.

    Args:
        mask: (rows, columns).
        flow: (rows, columns, 2) as from `apparent_flow`. Halves are rounded to the even pixel, what leads outside to the border.
    """
    rows, columns = np.indices(mask.shape)
    rows = np.clip(np.rint(rows + flow[..., 1]), 0, mask.shape[0] - 1).astype(int)
    columns = np.clip(np.rint(columns + flow[..., 0]), 0, mask.shape[1] - 1).astype(int)
    return mask[rows, columns]
