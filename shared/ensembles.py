"""Several trained networks as one: the mean of the probabilities that they give on the scan's own voxels.

    python -m dense_unet.predict --weights RUN1 --weights RUN2 SCAN -o OUT

takes the folds of one experiment, or runs of several papers that label the same structures. For it the `predict` module of a
paper offers

    chances(segmenter, scan) -> probabilities (x, y, z, classes), background first, of a 3D scan whose slices are last

and, if its label maps may be cleaned, `cleaned(segmenter, classes)`, of which that of the first network is used; and, if its
training may mirror images, `mirrored_axes(segmenter)`, the axes of such a scan along which it did. With --flips each network is
joined by itself on the scan mirrored along each of these.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shared import runs
from shared.errors import InputError
from shared.prediction import predict_frames
from shared.scans.volume import Volume

Chances = Callable[[Any, Volume], np.ndarray]


@dataclass(frozen=True)
class Member:
    """A trained network of an ensemble.

    Attributes:
        segmenter: of its paper.
        chances: of its paper's `predict`, or that of the mirrored scan.
        order: for every class of the ensemble, which of the network's own classes it is.
    """

    segmenter: Any
    chances: Chances
    order: tuple[int, ...]


@dataclass(frozen=True)
class Ensemble:
    """Trained networks, label value on disk -> name, and how a label map is cleaned."""

    members: tuple[Member, ...]
    structures: Mapping[int, str]
    cleaned: Callable[[np.ndarray], np.ndarray]


def load(weights: Sequence[Path], package: str, flips: bool = False) -> Ensemble:
    """The ensemble of several weights, with the label values of the first.

    Args:
        weights: what the papers' `load` takes.
        package: the paper of weights that are no runs.
        flips: whether each network looks at mirrored scans too.

    Raises:
        InputError: see the papers' `load`; or networks that label other structures, or one whose paper gives no probabilities, or
            flips where no network learned from mirrored images.
    """
    if len({os.path.realpath(each) for each in weights}) < len(weights):
        raise InputError(f"{', '.join(map(str, weights))}: the same weights twice")
    modules = [importlib.import_module(f"{package_of(each) or package}.predict") for each in weights]
    for module, each in zip(modules, weights, strict=True):
        if not hasattr(module, "chances"):
            raise InputError(f"{each}: {module.__name__.partition('.')[0]} gives no probabilities that could be averaged")
    segmenters = [module.load(each) for module, each in zip(modules, weights, strict=True)]
    first = named(segmenters[0])
    for segmenter, each in zip(segmenters, weights, strict=True):
        if sorted(named(segmenter)) != sorted(first):
            found, wanted = (", ".join(each.structures.values()) for each in (segmenter, segmenters[0]))
            raise InputError(f"{each}: it labels {found}, but {weights[0]} labels {wanted}; only networks with the same "
                             "structures can be averaged")  # fmt: skip
    members = []
    for segmenter, module in zip(segmenters, modules, strict=True):
        axes = getattr(module, "mirrored_axes", lambda segmenter: ())(segmenter) if flips else ()
        looks = [*(mirrored(module.chances, axis) for axis in axes), module.chances]
        order = (0, *(1 + named(segmenter).index(name) for name in first))
        members += [Member(segmenter, look, order) for look in looks]
    if flips and len(members) == len(weights):
        raise InputError(f"{', '.join(map(str, weights))}: --flips is for networks that learned from mirrored images")
    cleaned = getattr(modules[0], "cleaned", lambda segmenter, classes: classes)
    return Ensemble(tuple(members), segmenters[0].structures, functools.partial(cleaned, segmenters[0]))


def mirrored(chances: Chances, axis: int) -> Chances:
    """What a network says of the scan mirrored along an axis, mirrored back."""
    return lambda segmenter, scan: np.flip(chances(segmenter, scan.with_array(np.flip(scan.array, axis))), axis)


def predict(ensemble: Ensemble, scan: Volume, path: Path | None = None) -> Volume:
    """Label map (values as on disk) on the grid of `scan`, see the papers' `predict`."""
    return predict_frames(scan, lambda frame: predict_frame(ensemble, frame), ensemble.structures)


def predict_frame(ensemble: Ensemble, scan: Volume) -> np.ndarray:
    """Class indices (x, y, z) of one frame with its slices last: the likeliest by the sum of all networks' probabilities."""
    total = np.zeros((*scan.array.shape, len(ensemble.structures) + 1), np.float32)
    for member in ensemble.members:
        found = member.chances(member.segmenter, scan)[..., member.order]
        share = found.sum(axis=-1, keepdims=True)  # less than 1 at the edge of what a network saw, and 0 beyond
        total += np.divide(found, share, out=np.zeros_like(found), where=share > 0)
        total[..., 0] += share[..., 0] <= 0
    return ensemble.cleaned(total.argmax(axis=-1).astype(np.uint8))


def last_alone(ensemble: Ensemble) -> Ensemble:
    """The last network of an ensemble, by itself."""
    return replace(ensemble, members=ensemble.members[-1:])


def named(segmenter: Any) -> list[str]:
    """The structures of a network's classes from 1 on, in lower case."""
    return [name.casefold() for name in segmenter.structures.values()]


def package_of(weights: Path) -> str:
    """The paper whose run the weights are; "" where they are no run."""
    package = str(runs.record_of(weights).get("package", ""))
    known = package.isidentifier() and importlib.util.find_spec(package) and importlib.util.find_spec(f"{package}.predict")
    return package if known else ""
