"""How a DICOM file stores its pixels, and the pixels themselves.

Plain pixels are read from the file directly. Compressed ones (JPEG and its relatives, RLE) are cut out frame by frame, and
`decode` decodes them.
"""

import io
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from shared.errors import InputError

if TYPE_CHECKING:
    from shared.scans.dicom.headers import Frame

BYTE_ORDER = {
    ImplicitVRLittleEndian: "<",
    ExplicitVRLittleEndian: "<",
    DeflatedExplicitVRLittleEndian: "<",
    ExplicitVRBigEndian: ">",
}
UNDEFINED = 0xFFFFFFFF  # the length of compressed pixel data
MOST_COMPRESSION = 1000  # a file that declares more pixels than this many times its own size is damaged
VALUE_TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.uint32)
DECODER = Path(__file__).with_name("decode.py")
BROKEN = "broken, truncated or unsupported DICOM file; copy or export it again"


@dataclass(frozen=True, eq=False)
class File:
    """How one file stores its pixels.

    Attributes:
        name: path below the folder that is read.
        columns, rows, frames, samples: how many there are; a sample is one of the numbers of a pixel.
        allocated, stored, high: bits per number, how many of them are used, and the highest of those, counted from 0.
        signed: whether the numbers are signed.
        syntax: UID of the transfer syntax.
        compressed: whether the frames are encoded, each by itself.
        offset: the byte of the file at which the pixel data begin.
    """

    path: Path
    name: str
    columns: int
    rows: int
    frames: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    syntax: UID
    compressed: bool
    offset: int


def describe(dataset: pydicom.Dataset, path: Path, name: str) -> File:
    """The `File` at `path`, from its header.

    Raises:
        Exception: of many kinds; an attribute is missing, or the pixels that the header declares cannot be in the file.
    """
    element = dataset.get_item("PixelData", keep_deferred=True)
    if not isinstance(element, RawDataElement):
        raise ValueError("no pixels")
    syntax = dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    stored = int(dataset.BitsStored)
    file = File(
        path=path,
        name=name,
        columns=int(dataset.Columns),
        rows=int(dataset.Rows),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel", 1)),
        allocated=int(dataset.BitsAllocated),
        stored=stored,
        high=int(dataset.get("HighBit", stored - 1)),
        signed=bool(dataset.get("PixelRepresentation", 0)),
        syntax=UID(str(syntax)),
        compressed=element.length == UNDEFINED,
        offset=element.value_tell,
    )
    if min(file.columns, file.rows, file.frames, file.samples) < 1:
        raise ValueError("no pixels")
    if not 0 < file.stored <= file.high + 1 <= file.allocated:
        raise ValueError("bits that make no sense")
    if not file.compressed and syntax not in BYTE_ORDER:
        raise ValueError("unknown transfer syntax")
    size = path.stat().st_size
    if file.compressed or syntax == DeflatedExplicitVRLittleEndian:
        room = MOST_COMPRESSION * size
    else:
        room = element.length if element.value_tell + element.length <= size else 0
    if file.columns * file.rows * file.frames * file.samples * file.allocated > 8 * room:
        raise ValueError("fewer pixels than the header declares")
    return file


def read(rows: Sequence[Sequence["Frame"]]) -> np.ndarray:
    """The pixels of frames in order of place and time, rescaled.

    Args:
        rows: for every slice, the list of its frames; all of one size.

    Returns:
        array (x, y, z) or (x, y, z, t); integers where the header's slopes and intercepts are whole numbers, else float32.

    Raises:
        InputError: a file whose pixels cannot be decoded.
    """
    first = rows[0][0].file
    array = np.empty((len(rows[0]), len(rows), first.rows, first.columns), _value_type([f for row in rows for f in row]))
    files: dict[File, dict[int, tuple]] = defaultdict(dict)  # file -> {index of a frame in it: its place and its rescaling}
    for z, row in enumerate(rows):
        for t, frame in enumerate(row):
            files[frame.file][frame.index] = (t, z), frame.rescale
    for file, index, stored in _stored(files):
        place, (slope, intercept) = files[file][index]
        array[place] = stored if (slope, intercept) == (1, 0) else stored * slope + intercept
    return (array if len(array) > 1 else array[0]).T


def _value_type(frames: Sequence["Frame"]) -> np.dtype:
    """The smallest type that holds every value that the frames can have."""
    ends: list[float] = []
    for file, (slope, intercept) in {(frame.file, frame.rescale) for frame in frames}:
        if slope % 1 or intercept % 1:
            return np.dtype(np.float32)
        lowest = -(2 ** (file.stored - 1)) if file.signed else 0
        ends += [end * slope + intercept for end in (lowest, lowest + 2**file.stored - 1)]
    fitting = (t for t in VALUE_TYPES if np.iinfo(t).min <= min(ends) and max(ends) <= np.iinfo(t).max)
    return np.dtype(next(fitting, np.float32))


def _stored(files: Mapping[File, Collection[int]]) -> Iterator[tuple[File, int, np.ndarray]]:
    """The wanted frames, file -> indices, each with its pixels (rows, columns) before rescaling."""
    with tempfile.TemporaryDirectory() as folder:
        compressed: list[tuple[File, int]] = []
        for file, wanted in files.items():
            try:
                if file.compressed:
                    for index, encoded in _encoded(file, wanted).items():
                        _write_alone(file, encoded, Path(folder, f"{len(compressed):06}.dcm"))
                        compressed.append((file, index))
                else:
                    for index, stored in _plain(file, wanted):
                        yield file, index, stored
            except OSError:  # of the disk, not of the file's content
                raise
            except Exception as error:  # pydicom and NumPy raise many kinds
                raise InputError(f"{file.path}: {BROKEN}") from error
        if compressed:
            subprocess.run([sys.executable, "-P", DECODER, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for number, (file, index) in enumerate(compressed):
            path = Path(folder, f"{number:06}.npy")
            stored = np.load(path) if path.exists() else np.empty(0)
            if stored.shape != (1, file.rows, file.columns):
                raise InputError(f"{file.path}: {BROKEN}")
            yield file, index, stored[0]


def _plain(file: File, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The index and the pixels (rows, columns) of the `wanted` frames of a file that is not compressed."""
    dtype = np.dtype(f"{BYTE_ORDER[file.syntax]}{'i' if file.signed else 'u'}{file.allocated // 8}")
    pixels = file.rows * file.columns
    unused_above, unused = file.allocated - 1 - file.high, file.allocated - file.stored  # bits; old files use them for overlays
    deflated = file.syntax == DeflatedExplicitVRLittleEndian
    with io.BytesIO(pydicom.dcmread(file.path).PixelData) if deflated else open(file.path, "rb") as content:
        for index in sorted(wanted):
            content.seek((0 if deflated else file.offset) + index * pixels * dtype.itemsize)
            stored = np.frombuffer(content.read(pixels * dtype.itemsize), dtype, pixels).reshape(file.rows, file.columns)
            yield index, stored if unused == 0 else (stored.astype(dtype.newbyteorder("=")) << unused_above) >> unused


def _encoded(file: File, wanted: Collection[int]) -> dict[int, bytes]:
    """Index -> bytes of the `wanted` frames of a compressed file."""
    with open(file.path, "rb") as content:
        content.seek(file.offset)
        frames = enumerate(generate_frames(content, number_of_frames=file.frames))
        found = {index: frame for index, frame in frames if index in wanted}
    if len(found) < len(wanted):
        raise ValueError("fewer frames than the header declares")
    return found


def _write_alone(file: File, encoded: bytes, path: Path) -> None:
    """Write one compressed frame as a DICOM file without anything that would change the pixels."""
    alone = pydicom.Dataset()
    alone.file_meta = pydicom.dataset.FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = file.syntax
    alone.SOPClassUID, alone.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    alone.SamplesPerPixel, alone.PhotometricInterpretation = 1, "MONOCHROME2"
    alone.Rows, alone.Columns = file.rows, file.columns
    alone.BitsAllocated, alone.BitsStored, alone.HighBit = file.allocated, file.stored, file.high
    alone.PixelRepresentation = int(file.signed)
    alone.PixelData = encapsulate([encoded])
    alone["PixelData"].VR = "OB"
    alone.save_as(path, enforce_file_format=True)
