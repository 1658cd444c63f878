"""What one training example is. Example i of epoch e depends on (seed, e, i) only, so any run can go on from any step.

Each purpose draws from a generator of its own (see `generator`), so that what is drawn for one says nothing about the others.

Prepared cases lie on disk as arrays of (image, label) voxels and are memory-mapped: a data set of any size needs the memory of
one batch.
"""

import concurrent.futures
import hashlib
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.files import remove_leftovers, written_whole
from shared.progress import Progress

CHUNK = 2**20
DIGEST = 32  # bytes of the SHA-256 behind a stored array
VOXEL = np.dtype([("image", np.float32), ("label", np.uint8)])
ORDER, EXAMPLE, AUGMENTATION = range(3)  # purposes of `generator`


def generator(seed, purpose, *place):
    """The generator for one `purpose` at one `place` of the training stream, such as (epoch, index); none is opened twice."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *place)))


def store(folder, key, make):
    """Path of the prepared case `key` in `folder`; `make() -> (image, label)`, both (x, y, z), is called where it is missing or
    damaged.

    The file is NumPy's, with a SHA-256 of it behind, which NumPy does not look at. Processes that make the same case at once each
    write a whole file, and the last rename wins.
    """
    path = Path(folder) / f"{key}.npy"
    if not is_whole(path):
        image, label = make()
        voxels = np.empty(image.shape, VOXEL, order="F")  # a slice is then one contiguous part of the file
        voxels["image"], voxels["label"] = image, label
        with written_whole(path) as temporary:
            with open(temporary, "wb") as file:
                np.save(file, voxels)
            digest = fingerprint_of_start(temporary, temporary.stat().st_size)
            with open(temporary, "ab") as file:
                file.write(digest)
    return path


def is_whole(path):
    """Whether a stored array is there and is what was written."""
    try:
        size = path.stat().st_size - DIGEST
        with open(path, "rb") as file:
            file.seek(max(size, 0))
            return size > 0 and file.read() == fingerprint_of_start(path, size)
    except FileNotFoundError:
        return False


def fingerprint_of_start(path, size):
    """SHA-256 (bytes) of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in range(0, size, CHUNK):
            digest.update(file.read(min(CHUNK, size - start)))
    return digest.digest()


def voxels_of(path):
    """The voxels of a prepared case, memory-mapped.

    Raises:
        InputError: the file has vanished from the cache, or was damaged, since `store`.
    """
    try:
        voxels = np.load(path, mmap_mode="r")
        if voxels.dtype != VOXEL or voxels.ndim != 3:
            raise ValueError("other values")
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged"
        raise InputError(f"{path}: expected a prepared case ({reason}); the same command prepares it again") from error
    return voxels


def store_all(folder, cases, keys, make):
    """Prepared cases in `folder`, made in parallel where they are missing.

    Args:
        folder: as of `store`.
        cases: of `datasets`.
        keys: one of each case; whatever decides what `make` gives belongs into it.
        make: `make(case) -> (image, label)`, both (x, y, z).

    Returns:
        Case name -> path.

    Raises:
        InputError: whatever `make` refuses, with the case's file in front unless the message names it already.
    """

    def one(case, key):
        try:
            return store(folder, key, lambda: make(case))
        except InputError as error:
            if any(str(path) in str(error) for path in (case.image, case.label)):
                raise
            raise InputError(f"{case.image}: {error}") from error

    remove_leftovers(folder)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        paths = Progress("preparing", len(cases)).over(pool.map(one, cases, keys))
        return {case.name: path for case, path in zip(cases, paths, strict=True)}


class Examples:
    """Shuffled without replacement in every epoch. Subclasses say what `one(position)` is, for positions 0 to len - 1."""

    def __init__(self, paths, seed):
        self.paths = tuple(paths)
        self.seed = seed
        self.shapes = [voxels_of(path).shape for path in self.paths]
        self._order = lru_cache(maxsize=4)(lambda epoch: generator(seed, ORDER, epoch).permutation(len(self)))

    def example(self, epoch, index):
        """Image (..., 1) float32 and label (...) uint8 of example `index` of `epoch`."""
        return self.one(self._order(epoch)[index])

    def rng(self, purpose, epoch, index):
        """The generator that draws whatever is random about that example for `purpose`: EXAMPLE or AUGMENTATION."""
        return generator(self.seed, purpose, epoch, index)


class Slices(Examples):
    """Every slice of every case is an example: (x, y, 1) and (x, y)."""

    @cached_property
    def places(self):
        return [(path, z) for path, shape in zip(self.paths, self.shapes, strict=True) for z in range(shape[2])]

    def __len__(self):
        return len(self.places)

    def one(self, position):
        path, z = self.places[position]
        voxels = voxels_of(path)[:, :, z]
        return np.ascontiguousarray(voxels["image"])[..., None], np.ascontiguousarray(voxels["label"])


class Volumes(Examples):
    """Every case is an example: (x, y, z, 1) and (x, y, z)."""

    def __len__(self):
        return len(self.paths)

    def one(self, position):
        voxels = voxels_of(self.paths[position])
        return np.ascontiguousarray(voxels["image"])[..., None], np.ascontiguousarray(voxels["label"])
