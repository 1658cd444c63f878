"""What one training example is: inputs and targets of a network, made from prepared cases or drawn at random."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from shared.learning.nested import Nested
from shared.learning.prepared import voxels_of

ORDER, EXAMPLE, AUGMENTATION = range(3)  # purposes of `generator`


def generator(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """The generator for one `purpose` at one `place` of the training stream, such as (epoch, index).

    Every purpose has its own generators, so that what is drawn for one says nothing about the others.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *place)))


class Examples(Protocol):
    """A number of training examples. Their order, and a generator for each, come from `batches.Batches`."""

    def __len__(self) -> int: ...

    def one(self, position: int, rng: np.random.Generator) -> tuple[Nested, Nested]:
        """Inputs and targets of one example, without a batch axis: arrays, or dicts or tuples of them.

        Args:
            position: 0 to len - 1.
            rng: draws everything that is random about the example; no other source of chance is allowed.
        """
        ...


class Slices:
    """Every slice of every prepared case is an example: image (x, y, 1) float32 and label (x, y) uint8."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.places = [(path, z) for path in paths for z in range(voxels_of(path).shape[2])]

    def __len__(self) -> int:
        return len(self.places)

    def one(self, position: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        path, z = self.places[position]
        return image_and_label(voxels_of(path)[:, :, z])


class Volumes:
    """Every prepared case is an example: image (x, y, z, 1) float32 and label (x, y, z) uint8."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def one(self, position: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return image_and_label(voxels_of(self.paths[position]))


def image_and_label(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """These two channels in memory, the image with a channel axis at its end."""
    return np.ascontiguousarray(voxels["image"])[..., None], np.ascontiguousarray(voxels["label"])
