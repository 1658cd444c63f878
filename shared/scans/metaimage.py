"""MetaImage files: .mha, and .mhd with its data in a file next to it.

This module reads them itself, because ITK ignores checksums and crashes on some damaged headers.
Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.scans import payload

TYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
         "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
         "MET_DOUBLE": "f8"}  # fmt: skip
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read(path: Path) -> tuple[np.ndarray, tuple[float, float, float], np.ndarray, float]:
    """Array, spacing_mm, affine and frame_s of a file, in the units of `Volume`.

    Raises:
        InputError: a broken file, or a file that holds something other than a scan.
    """
    with payload.one_line(path, "MetaImage"):
        fields, start = _fields(path)
        stored = _stored(path, fields, start)
        channels = int(fields.get("ElementNumberOfChannels", 1))
        if channels != 1:
            raise InputError(f"{path}: expected one number per voxel, found {channels}")
        axes = len(stored.shape)
        if axes < 3:
            raise InputError(f"{path}: expected a 3D scan or a 4D cine, found an array of shape {stored.shape}")
        steps = _numbers(fields, axes, "ElementSpacing", "ElementSize")
        if steps is None:
            raise InputError(f"{path}: no voxel size in the header (ElementSpacing); save it again with one")
        unit = fields.get("DistanceUnits", "mm")
        if unit not in ("mm", "?", ""):
            raise InputError(f"{path}: expected lengths in mm, found the unit {unit[:40]!r}; save it again in mm")
        numbers = _numbers(fields, axes * axes, "TransformMatrix", "Rotation", "Orientation")
        matrix = np.eye(axes) if numbers is None else np.reshape(numbers, (axes, axes))  # row i is the direction of axis i
        offset = _numbers(fields, axes, "Offset", "Position", "Origin")
        affine = np.eye(4)
        affine[:3, :3] = (matrix[:3, :3] * LPS_TO_RAS).T * steps[:3]
        affine[:3, 3] = LPS_TO_RAS * ((0.0, 0.0, 0.0) if offset is None else offset[:3])
        frame_s = steps[3] if axes > 3 and steps[3] != 1 else 0.0  # programs write 1 where they do not know it
        array = payload.voxels(stored)
    x, y, z = steps[:3]
    return array, (x, y, z), affine, frame_s


def data_files(path: Path) -> list[Path]:
    """The files that hold the header and the voxels."""
    with payload.one_line(path, "MetaImage"):
        return sorted({path, _stored(path, *_fields(path)).file})


def write(
    array: np.ndarray,
    spacing_mm: Sequence[float],
    origin_mm: np.ndarray,
    directions: np.ndarray,
    frame_s: float,
    path: Path,
) -> None:
    """Write a 3D image or a cine, compressed; for the arguments see `nrrd.write`."""
    matrix, more = np.eye(array.ndim), array.ndim - 3
    matrix[:3, :3] = directions.T
    data = zlib.compress(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F"), 6)
    name = next(name for name, code in TYPES.items() if code == array.dtype.str[1:])
    lines = [
        "ObjectType = Image",
        f"NDims = {array.ndim}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(data)}",
        f"TransformMatrix = {_text(matrix.ravel())}",
        f"Offset = {_text([*origin_mm, *[0] * more])}",
        f"CenterOfRotation = {_text([0] * array.ndim)}",
        f"ElementSpacing = {_text([*spacing_mm, *[frame_s or 1.0] * more])}",
        f"DimSize = {' '.join(map(str, array.shape))}",
        f"ElementType = {name}",
        "ElementDataFile = LOCAL",
    ]
    path.write_bytes("\n".join([*lines, ""]).encode() + data)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields of the header; and the byte at which it ends."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        while "ElementDataFile" not in fields:
            line = os.fsdecode(file.readline(payload.HEADER))
            if not line or file.tell() > payload.HEADER:
                raise EOFError("its header does not come to ElementDataFile")
            name, sign, value = (part.strip() for part in line.partition("="))
            if name and (not sign or name in fields):
                raise ValueError(f"line {line[:60]!r} of its header")
            fields[name] = value
        return fields, file.tell()


def _stored(path: Path, fields: Mapping[str, str], start: int) -> payload.Stored:
    axes = int(fields["NDims"])
    shape = tuple(int(word) for word in fields["DimSize"].split())
    if axes != len(shape):
        raise ValueError(f"NDims {axes}, but DimSize {fields['DimSize'][:60]}")
    order = ">" if _is(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    encoding = "zlib" if _is(fields, "CompressedData") else "raw"
    if "BinaryData" in fields and not _is(fields, "BinaryData"):
        encoding = "text"
    file, name = path, fields["ElementDataFile"]
    if name.upper() != "LOCAL":
        file, start = payload.data_file(path, name), 0
    dtype = np.dtype(order + TYPES[fields["ElementType"]])
    return payload.Stored(file, shape, dtype, encoding, start, skip_bytes=int(fields.get("HeaderSize", 0)))


def _is(fields: Mapping[str, str], *names: str) -> bool:
    """The truth value of the first of the named fields that is there; False where none is."""
    value = next((fields[name] for name in names if name in fields), "False")
    if value.lower() not in ("true", "t", "1", "false", "f", "0"):
        raise ValueError(f"{names[0]}: expected True or False, found {value[:40]}")
    return value.lower() in ("true", "t", "1")


def _numbers(fields: Mapping[str, str], count: int, *names: str) -> tuple[float, ...] | None:
    """The numbers in the first of the named fields that is there; None where none is."""
    text = next((fields[name] for name in names if name in fields), None)
    if text is None:
        return None
    numbers = tuple(float(word) for word in text.split())
    if len(numbers) != count:
        raise ValueError(f"{names[0]}: expected {count} numbers")
    return numbers


def _text(numbers: Iterable[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
