"""Scan -> label map on the scan's own grid, by a trained run.

python -m two_stage_unet.predict --weights RUN SCAN... -o OUT [--ed FILE... --es FILE...]
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from shared import datasets, notebook, prediction_command, runs
from shared.errors import InputError
from shared.lazy import lazily
from shared.learning import inference
from shared.prediction import predict_frames
from shared.scans import orientation, preprocess
from shared.scans.postprocess import largest_components
from shared.scans.preprocess import cut
from shared.scans.volume import Volume
from two_stage_unet.recipe import Preparation, Recipe
from two_stage_unet.sampling import AIR, inside, multiple, slices_about

with lazily():
    from shared.framework import keras
    from shared.learning import training
    from two_stage_unet import joint
    from two_stage_unet import model as networks

NET1, NET2, UNET3D, JOINT = "net1", "net2", "unet3d", "joint"
STACKS_AT_ONCE = 4
CT_BELOW = -500  # every CT of a chest holds lung, which is darker than this in Hounsfield units; MR is not negative


@dataclass(frozen=True)
class Segmenter:
    """Networks with their weights, how their input is prepared, and what the classes are called on disk."""

    coarse: "keras.Model"  # Net1, or the 3D U-Net
    net2: "keras.Model | None"  # of the two-stage method
    recipe: Recipe
    structures: Mapping[int, str]  # label value on disk -> name
    modality: str = ""  # "CT" or "MR", of the scans that the networks learned from; empty where it is not known


def network(recipe: Recipe, name: str | None = None) -> "keras.Model":
    """An untrained network: "net1", "net2", "joint" (both in one graph) or "unet3d"; by default the one that labels the scan."""
    name = name or (UNET3D if recipe.method == UNET3D else NET2)
    if name == JOINT:
        return joint.build_joint(network(recipe, NET1), network(recipe, NET2), recipe.region)
    classes, any_extent = len(recipe.preparation.structures) + 1, (None, None, None)
    if name == UNET3D:
        return networks.build(name, any_extent, classes, recipe.unet3d_width, normalisation=recipe.unet3d_normalisation)
    if name == NET1:
        return networks.build(
            name, any_extent, classes, recipe.net1_width, bottleneck=recipe.bottleneck, typical=(recipe.typical_extent,) * 3,
            activation=recipe.net1_activation, normalisation=recipe.net1_normalisation, dropout=recipe.dropout,
        )  # fmt: skip
    return networks.build(
        name,
        (None, None, recipe.slices),
        classes,
        recipe.net2_width,
        channels=joint.channels_of(recipe.region, classes) + 1,
        slice_block=recipe.slice_block,
        skips=recipe.skips,
        activation=recipe.net2_activation,
        normalisation=recipe.net2_normalisation,
        dropout=recipe.dropout,
    )


def prepare(scan: Volume, preparation: Preparation) -> Volume:
    """Scan (x, y, z), slices last -> the fine grid: grey values from -1 to 1 (paper), on the scan's own voxels unless
    `fine_mm` asks for others. What lies beyond the `percentiles` is -1 or 1; where they are one grey value, all values count.

    Raises:
        InputError: a constant scan.
    """
    array = scan.array.astype(np.float32)
    low, high = map(float, np.percentile(array, preparation.percentiles))
    if low == high:
        low, high = float(array.min()), float(array.max())
    if low == high:
        raise InputError(preprocess.NOTHING.format(low))
    return onto_fine(scan.with_array(np.clip((array - low) * np.float32(2 / (high - low)) - 1, -1, 1)), preparation, 1)


def prepare_labels(labels: Volume, preparation: Preparation) -> Volume:
    """Class indices (x, y, z) -> the same on the fine grid, by nearest neighbour."""
    return onto_fine(labels, preparation, 0)


def onto_fine(volume: Volume, preparation: Preparation, order: int) -> Volume:
    return resampled(volume, preparation.fine_mm, order) if preparation.fine_mm else volume


def coarse(fine: Volume, preparation: Preparation, order: int = 1) -> Volume:
    """The fine grid -> isotropic voxels of `coarse_mm`, linear, or by nearest neighbour (order 0) for labels."""
    return resampled(fine, preparation.coarse_mm, order)


def resampled(volume: Volume, mm: float, order: int) -> Volume:
    """Isotropic voxels; at the border an image is mixed with air, and labels are not mixed."""
    if order == 0:
        return preprocess.resample(volume, (mm,) * 3, 0)
    above_air = preprocess.resample(volume.with_array(volume.array - np.float32(AIR)), (mm,) * 3, order)
    return above_air.with_array(above_air.array + np.float32(AIR))


def coarse_logits(model: "keras.Model", seen: Volume) -> np.ndarray:
    """Logits (x, y, z, classes) of Net1 or the 3D U-Net on a coarse image, which is padded with air for the network."""
    shape = [multiple(n) for n in seen.array.shape]
    starts = [(size - n) // 2 for size, n in zip(seen.array.shape, shape, strict=True)]
    padded = cut(seen.array.astype(np.float32), starts, shape, AIR)
    found = inference.logits(model, padded[None, ..., None], 1)[0]
    inside = tuple(slice(-start, -start + size) for start, size in zip(starts, seen.array.shape, strict=True))
    return found[inside]


def soft_region(net1: "keras.Model", fine: Volume, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """What Net1 finds: the soft region (x, y, z, channels) on the fine grid, and classes (x, y, z) on the coarse one."""
    seen = coarse(fine, recipe.preparation)
    logits = coarse_logits(net1, seen)
    region = np.asarray(joint.soft_region(logits, recipe.region))
    channels = [preprocess.onto_grid(seen.with_array(region[..., c] - AIR), fine, 1).array + AIR for c in range(region.shape[-1])]
    return np.stack(channels, axis=-1).astype(np.float32), logits.argmax(axis=-1).astype(np.uint8)


def tile(classes: np.ndarray, fine: Volume, margin_mm: float) -> tuple[list[int], list[int]]:
    """The dynamic tile (paper): starts and shape in fine voxels.

    It is the box of what is not background in the coarse `classes`, of the largest component and with a margin; along x and y its
    extents are multiples of 16. Where all is background, it is the whole volume.
    """
    extents = np.array(fine.array.shape)
    ratio, margin = extents / classes.shape, margin_mm / np.array(fine.spacing_mm)
    low, high = np.zeros(3), extents.astype(float)
    for found in ndimage.find_objects(largest_components((classes > 0).astype(np.uint8))):
        low = np.maximum(np.floor([part.start for part in found] * ratio - margin), 0)
        high = np.minimum(np.ceil([part.stop for part in found] * ratio + margin), extents)
    shape = [*(multiple(int(n)) for n in (high - low)[:2]), int(high[2] - low[2])]
    middle = (low + high) / 2
    starts = [inside(int(m - n / 2), n, int(size)) for m, n, size in zip(middle[:2], shape[:2], extents[:2], strict=True)]
    return [*starts, int(low[2])], shape


def probabilities_in_tile(
    segmenter: Segmenter, fine: Volume, region: np.ndarray, starts: Sequence[int], shape: Sequence[int]
) -> Iterator[np.ndarray]:
    """What Net2 finds in the slices of the tile, one after the other: probabilities (x, y, classes)."""
    slices, depth, end = segmenter.recipe.slices, fine.array.shape[2], starts[2] + shape[2]
    for z in range(starts[2], end, STACKS_AT_ONCE):
        stacks = []
        for middle in range(z, min(z + STACKS_AT_ONCE, end)):
            chosen = slices_about(middle, slices, depth)
            seen = np.concatenate([region[:, :, chosen], fine.array[:, :, chosen, None]], axis=-1)
            stacks.append(cut(seen, starts[:2], shape[:2], AIR))
        yield from inference.probabilities(segmenter.net2, np.stack(stacks), STACKS_AT_ONCE)


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
    turned, order, axes = orientation.facing_ras(scan)
    fine = prepare(turned, segmenter.recipe.preparation)
    if segmenter.net2 is not None and not segmenter.recipe.preparation.fine_mm:
        classes = whole_classes(segmenter, fine)
    else:
        classes = likeliest(by_class(segmenter, fine, turned))
    return cleaned(segmenter, np.flip(classes, axes).transpose(order))


def cleaned(segmenter: Segmenter, classes: np.ndarray) -> np.ndarray:
    """Classes (x, y, z); where the recipe says so, of each only the largest component."""
    return largest_components(classes) if segmenter.recipe.largest_components else classes


def chances(segmenter: Segmenter, scan: Volume) -> np.ndarray:
    """Probabilities (x, y, z, classes) of one frame on its own voxels; outside the tile, that of the background is 1."""
    turned, order, axes = orientation.facing_ras(scan)
    fine = prepare(turned, segmenter.recipe.preparation)
    return np.stack([np.flip(one, axes).transpose(order) for one in by_class(segmenter, fine, turned)], axis=3)


def mirrored_axes(segmenter: Segmenter) -> tuple[int, ...]:
    """The axes of a scan with its slices last along which the training of both networks mirrored it."""
    return (0, 1) if segmenter.recipe.flip else ()


def by_class(segmenter: Segmenter, fine: Volume, scan: Volume) -> Iterator[np.ndarray]:
    """Probabilities (x, y, z) of one class after the other, on the voxels of `scan`, which `prepare` made `fine`."""
    return coarse_by_class(segmenter, fine, scan) if segmenter.net2 is None else fine_by_class(segmenter, fine, scan)


def predict_file(segmenter: Segmenter, scan: Volume, path: Path) -> Volume:
    """The label map of a scan that was read from `path`, see `predict`; a warning if its grey values are of another modality."""
    low, high = scan.array.min(), scan.array.max()
    found = "CT" if low < CT_BELOW else "MR"
    if segmenter.modality not in ("", found) and low < high:  # `prepare` refuses a constant scan
        seen = f"{path}: grey values from {low:g} to {high:g}, as in {found}, but the network learned from {segmenter.modality}"
        warnings.warn(f"{seen}; what it finds here means nothing", stacklevel=2)
    return predict(segmenter, scan)


def coarse_by_class(segmenter: Segmenter, fine: Volume, scan: Volume) -> Iterator[np.ndarray]:
    """`by_class` of Net1 or the 3D U-Net: interpolated by B-splines of second order (paper)."""
    seen = coarse(fine, segmenter.recipe.preparation)
    probabilities = inference.softmax(coarse_logits(segmenter.coarse, seen))
    matrix = np.linalg.inv(seen.affine) @ scan.affine
    place = np.diag(matrix)[:3], matrix[:3, 3], scan.array.shape
    for one in np.moveaxis(probabilities, -1, 0):
        yield ndimage.affine_transform(one, *place, order=2, mode="nearest")


def fine_by_class(segmenter: Segmenter, fine: Volume, scan: Volume) -> Iterator[np.ndarray]:
    """`by_class` of both networks; background outside the tile."""
    slices, back = slices_in_tile(segmenter, fine)
    for value, one in enumerate(np.moveaxis(np.stack(list(slices), axis=2), -1, 0)):
        whole = cut(one, back, fine.array.shape, float(value == 0))
        yield preprocess.onto_grid(fine.with_array(whole), scan, 1).array if segmenter.recipe.preparation.fine_mm else whole


def whole_classes(segmenter: Segmenter, fine: Volume) -> np.ndarray:
    """Classes of both networks on the fine grid, which is the scan's: no probabilities need to be kept."""
    slices, back = slices_in_tile(segmenter, fine)
    return cut(np.stack([one.argmax(axis=-1).astype(np.uint8) for one in slices], axis=2), back, fine.array.shape, 0)


def slices_in_tile(segmenter: Segmenter, fine: Volume) -> tuple[Iterator[np.ndarray], list[int]]:
    """What both networks find in the slices of the tile, see `probabilities_in_tile`; and where the volume starts in the tile."""
    region, seen = soft_region(segmenter.coarse, fine, segmenter.recipe)
    starts, shape = tile(seen, fine, segmenter.recipe.tile_margin_mm)
    return probabilities_in_tile(segmenter, fine, region, starts, shape), [-start for start in starts]


def likeliest(probabilities: Iterable[np.ndarray]) -> np.ndarray:
    """The class of the greatest of the `probabilities` (x, y, z); they come class by class, since all at once fill the memory."""
    probabilities = iter(probabilities)
    best = next(probabilities)
    classes = np.zeros(best.shape, np.uint8)
    for value, found in enumerate(probabilities, start=1):
        classes[found > best] = value
        best = np.maximum(best, found)
    return classes


def load(weights: str | Path) -> Segmenter:
    """The `Segmenter` of a run folder, or of the best.weights.h5 in one.

    Raises:
        InputError: not a run of this package, or weights that do not fit.
    """
    folder = runs.folder_holding(weights)
    recipe, structures = runs.load_recipe(folder, Recipe)
    modality = datasets.MODALITIES.get(str(runs.read_record(folder).get("dataset")), "")
    if recipe.method == UNET3D:
        return Segmenter(trained(folder, recipe, UNET3D, ""), None, recipe, structures, modality)
    return Segmenter(load_net1(folder, recipe), trained(folder, recipe, NET2, ""), recipe, structures, modality)


def load_net1(folder: Path, recipe: Recipe) -> "keras.Model":
    """Net1 with the weights of the last step that trained it."""
    step = max(step for step in recipe.steps if step < 4)
    if step < 3:
        return trained(folder, recipe, NET1, f"step{step}")
    return trained(folder, recipe, JOINT, "step3").get_layer(NET1)


def trained(folder: Path, recipe: Recipe, name: str, stage: str) -> "keras.Model":
    return training.trained(lambda: network(recipe, name), recipe.precision, runs.weights_of(folder, stage))


def main(arguments: list[str] | None = None) -> None:
    parser = prediction_command.parser("two_stage_unet", __doc__.splitlines()[0], "run folder, or its best.weights.h5")
    prediction_command.command(parser.parse_args(arguments), load, predict_file)


notebook.callable_as(predict)

if __name__ == "__main__":
    main()
