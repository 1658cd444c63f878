"""The voxels that the header of an image file declares: all of them, undamaged, and nothing more.

Compressed data are decompressed in pieces, so that a small file that unpacks to terabytes never takes more memory than its header
declares. Checksums are compared (ITK ignores them), and raw data must have exactly the declared length.
"""

import bz2
import contextlib
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol

import numpy as np

from shared.errors import InputError

MOST_VOXELS = 2**30  # 1024 x 1024 x 1024, or 4096 slices of 512 x 512
PIECE = 2**20  # bytes
HEADER = 2**22  # bytes of text before the voxels; any program writes far fewer
SPREAD = re.compile(r"LIST\b|.*%\d*d")  # a list of data files, or a pattern of their names
CHARACTERS = 40  # at most, of one number that is written as text


class Stream(Protocol):
    """Whatever bytes can be read from: a file, or data that are decompressed on the way."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Stored:
    """Where and how voxels are stored, as a header declares it.

    Attributes:
        file: file that holds them.
        shape: extent of the axes, the fastest first.
        dtype: of one voxel, with its byte order.
        encoding: "raw", "gzip", "zlib", "bzip2" or "text".
        start: how many bytes of the file come before the data.
        skip_lines: how many lines of text to leave out after that.
        skip_bytes: how many bytes to leave out after that, once decompressed; -1 where raw voxels end the file.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    encoding: str
    start: int = 0
    skip_lines: int = 0
    skip_bytes: int = 0


def voxels(stored: Stored) -> np.ndarray:
    """Array of `stored.shape` in the machine's byte order.

    Raises:
        ValueError, EOFError, OSError, zlib.error: damaged data, or more or fewer bytes than declared.
    """
    size = size_of(stored.shape, stored.dtype)
    with open(stored.file, "rb") as file:
        file.seek(stored.start)
        for _ in range(stored.skip_lines):
            if not file.readline(HEADER):
                raise EOFError("the lines to skip are not there")
        if stored.encoding == "text":
            array = _from_text(file, math.prod(stored.shape), stored.dtype)
        else:
            stream = _decompressed(file, stored.encoding)
            if stored.skip_bytes == -1 and stored.encoding == "raw":
                file.seek(max(0, stored.file.stat().st_size - size))
            else:
                skip(stream, stored.skip_bytes)
            array = np.frombuffer(take(stream, size), stored.dtype)
            end(stream)
    return array.astype(stored.dtype.newbyteorder("="), copy=False).reshape(stored.shape, order="F")


def _decompressed(file: BinaryIO, encoding: str) -> Stream:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=file)
    if encoding == "bzip2":
        return bz2.BZ2File(file)
    return _Zlib(file) if encoding == "zlib" else file


def size_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """How many bytes an array takes.

    Raises:
        ValueError: no voxels, more than `MOST_VOXELS`, or more than 16 axes.
    """
    if len(shape) > 16:
        raise ValueError(f"the header declares {len(shape)} axes")
    sizes = " x ".join(f"{n:.7g}" for n in shape)
    if min(shape, default=0) < 1:
        raise ValueError(f"no voxels: the header declares {sizes}")
    if math.prod(shape) > MOST_VOXELS:
        raise ValueError(f"the header declares {sizes} voxels, more than {MOST_VOXELS} in all")
    return math.prod(shape) * dtype.itemsize


def take(stream: Stream, size: int) -> bytearray:
    """The next `size` bytes of a stream, as a bytearray; EOFError where there are fewer."""
    taken = bytearray()
    while len(taken) < size:
        piece = stream.read(min(PIECE, size - len(taken)))
        if not piece:
            raise EOFError(f"{len(taken)} of {size} bytes are there")
        taken += piece
    return taken


def skip(stream: Stream, size: int) -> None:
    """Leave out the next `size` bytes of a stream; there may be another program's header."""
    if not 0 <= size <= HEADER:
        raise ValueError(f"the header asks to skip {size} bytes")
    take(stream, size)


def end(stream: Stream, slack: int = 0) -> None:
    """Raise ValueError if more than `slack` bytes follow. Compressed streams compare their checksums at their end."""
    rest = 0
    while piece := stream.read(PIECE):
        rest += len(piece)
        if rest > slack:
            raise ValueError("there are more data than the header declares")


def data_file(header: Path, name: str) -> Path:
    """The path of the data file `name` that the file `header` refers to.

    Raises:
        InputError: the file is missing, or the name leads out of the header's folder or stands for many files.
    """
    if SPREAD.match(name):
        raise InputError(f"{header}: its voxels are spread over many data files; save it as one .nrrd or .mha file")
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise InputError(
            f"{header}: names a data file outside its own folder ({name[:80]}); move the file to the header's folder"
        )
    path = header.parent / name
    with contextlib.suppress(OSError):  # a name that is too long
        if path.is_file():
            return path
    raise InputError(f"{header}: its data file {name[:80]} is missing; copy it to the header's folder")


@contextlib.contextmanager
def one_line(path: Path, kind: str) -> Iterator[None]:
    """Turn any error over a broken file's content into an InputError of one line; a failing disk remains an OSError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel, zlib and numpy raise many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{path}: broken or truncated {kind} file ({reason[:120]}); copy or export it again") from error


class _Zlib:
    """Reads a zlib stream, as MetaImage has it, and compares its checksum at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.decoder = file, zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        while not self.decoder.eof:
            packed = self.decoder.unconsumed_tail or self.file.read(PIECE)
            piece = self.decoder.decompress(packed, size)
            if piece:
                return piece
            if not packed and not self.decoder.eof:
                raise EOFError("the compressed data end too early")
        if self.decoder.unused_data or self.file.read(1):
            raise ValueError("there are more data than the header declares")
        return b""


def _from_text(file: BinaryIO, count: int, dtype: np.dtype) -> np.ndarray:
    text = file.read(count * CHARACTERS + 1)
    words = text.split()
    if len(words) != count or len(text) > count * CHARACTERS:
        raise ValueError(f"expected {count} numbers")
    return np.array(words).astype(dtype)
