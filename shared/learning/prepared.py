"""Prepared cases on disk: arrays of voxels with named channels, memory-mapped, so that a data set of any size needs the memory of
one batch."""

import concurrent.futures
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.datasets import IGNORED, Case
from shared.errors import InputError
from shared.files import remove_leftovers, written_whole
from shared.progress import Progress

CHUNK = 2**20
DIGEST = 32  # bytes of the SHA-256 behind a stored array
TYPES = {"image": np.float32, "label": np.uint8}  # any further channel keeps the type of its array

# NumPy reads headers with `ast`, which in CPython 3.11 and 3.12 now and then raises SystemError when two threads use it
_one_header = threading.Lock()

Channels = Mapping[str, np.ndarray]  # name -> (x, y, z); all of one shape


def store(folder: Path, key: str, make: Callable[[], Channels]) -> Path:
    """Path of the prepared case `key` in `folder`. `make()` is called if the file is missing or damaged.

    The file is NumPy's, with its own SHA-256 behind the array, which NumPy does not look at. If processes make the same case at
    the same time, each writes a whole file, and the last rename wins.
    """
    path = Path(folder) / f"{key}.npy"
    if not is_whole(path):
        channels = make()
        types = [(name, TYPES.get(name, channel.dtype)) for name, channel in channels.items()]
        shape = next(iter(channels.values())).shape
        voxels = np.empty(shape, types, order="F")  # so that a slice is one contiguous part of the file
        for name, channel in channels.items():
            voxels[name] = channel
        with written_whole(path) as temporary:
            with open(temporary, "wb") as file:
                np.save(file, voxels)
            digest = digest_of_start(temporary, temporary.stat().st_size)
            with open(temporary, "ab") as file:
                file.write(digest)
    return path


def is_whole(path: Path) -> bool:
    """Whether a stored array is there, and is what was written."""
    try:
        size = path.stat().st_size - DIGEST
        with open(path, "rb") as file:
            file.seek(max(size, 0))
            return size > 0 and file.read() == digest_of_start(path, size)
    except FileNotFoundError:
        return False


def digest_of_start(path: Path, size: int) -> bytes:
    """SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in range(0, size, CHUNK):
            digest.update(file.read(min(CHUNK, size - start)))
    return digest.digest()


def voxels_of(path: Path) -> np.ndarray:
    """The voxels (x, y, z) of a prepared case, memory-mapped; `voxels["image"]` is a channel.

    Raises:
        InputError: since `store`, the file has vanished from the cache or was damaged.
    """
    try:
        with _one_header:
            voxels = np.load(path, mmap_mode="r")
        if voxels.dtype.names is None or voxels.ndim != 3:
            raise ValueError("no channels")
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged"
        raise InputError(f"{path}: expected a prepared case ({reason}); the same command prepares it again") from error
    return voxels


def store_all(folder: Path, cases: Sequence[Case], keys: Sequence[str], make: Callable[[Case], Channels]) -> dict[str, Path]:
    """Case name -> path of its prepared case in `folder`; those that are missing are made in parallel.

    Args:
        folder: the cache, see `store`.
        cases: of `shared.datasets`.
        keys: one per case; each contains everything that the result of `make` depends on.
        make: from a case to its channels.

    Raises:
        InputError: what `make` raises, with the case's file in front unless the message names it already.
    """

    def one(case: Case, key: str) -> Path:
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


def check_labelled(prepared: Mapping[str, Path]) -> None:
    """Raise InputError if nothing is labelled in any of the prepared cases, which `store_all` gives."""
    if not any(np.isin(voxels_of(path)["label"], (0, IGNORED), invert=True).any() for path in prepared.values()):
        raise InputError(f"no structure is labelled in any reference that trains, beginning with that of {min(prepared)}; "
                         "are these the right files?")  # fmt: skip
