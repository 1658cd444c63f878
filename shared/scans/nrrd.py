"""NRRD files: .nrrd, .nhdr with its data in a file next to it, and 3D Slicer's sequences (.seq.nrrd).

This module reads them itself, because ITK ignores checksums, crashes on some damaged headers, and takes sequences for vectors.
Format: https://teem.sourceforge.net/nrrd/format.html
"""

import gzip
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.scans import payload

FIELDS = {
    "content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "spaceunits", "spaceorigin",
    "spacedirections", "measurementframe", "sizes", "spacings", "thicknesses", "axismins", "axismaxs", "centers", "centerings",
    "labels", "units", "kinds", "min", "max", "oldmin", "oldmax", "sampleunits", "datafile", "endian", "encoding", "lineskip",
    "byteskip",
}  # fmt: skip
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "text": "text", "txt": "text",
             "ascii": "text"}  # fmt: skip
SPATIAL = ("domain", "space", "???", "none")
CINE = (*SPATIAL, "list", "time")
NUMBERS = ("point", "vector", "covariant-vector", "normal", "stub", "scalar", "complex", "2-vector", "3-color", "rgb-color",
           "hsv-color", "xyz-color", "4-color", "rgba-color", "3-vector", "3-gradient", "3-normal", "4-vector", "quaternion",
           "2d-symmetric-matrix", "2d-masked-symmetric-matrix", "2d-matrix", "2d-masked-matrix", "3d-symmetric-matrix",
           "3d-masked-symmetric-matrix", "3d-matrix", "3d-masked-matrix")  # fmt: skip
RAS_FROM = {"right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
            "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1), "scanner-xyz": (-1, -1, 1), "": (-1, -1, 1),
            "3d-right-handed": (-1, -1, 1), "3d-left-handed": (-1, -1, 1)}  # fmt: skip  # ITK takes the last four for LPS
SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}


def read(path: Path) -> tuple[np.ndarray, tuple[float, float, float], np.ndarray, float]:
    """Array, spacing_mm, affine and frame_s of a file, in the units of `Volume`.

    The time axis becomes the last one; in Slicer's sequences it comes first.

    Raises:
        InputError: a broken file, or a file that holds something other than a scan.
    """
    with payload.one_line(path, "NRRD"):
        fields, start = _fields(path)
        if "layers" in fields:
            raise InputError(f"{path}: a segmentation whose segments overlap, in layers; export it from 3D Slicer as a label map")
        stored = _stored(path, fields, start)
        kinds, steps = _axes(path, fields, stored.shape)
        spatial = [i for i, kind in enumerate(kinds) if kind in SPATIAL and steps[i] is not None][:3]
        others = [i for i in range(len(kinds)) if i not in spatial]
        others.sort(key=lambda i: stored.shape[i] == 1)  # axes of length 1 last
        if len(spatial) < 3:
            raise InputError(f"{path}: expected a 3D scan or a 4D cine, found {len(spatial)} axes in space of {stored.shape}")
        for i in others:
            if stored.shape[i] > 1 and kinds[i] not in CINE:
                raise InputError(f"{path}: expected one number per voxel, found {stored.shape[i]} ({kinds[i]})")
        to_ras = np.array(RAS_FROM[fields.get("space", "").lower().removesuffix("-time")])
        affine = np.eye(4)
        vectors = [step for i in spatial if (step := steps[i]) is not None]
        for axis, vector in enumerate(vectors):
            affine[:3, axis] = to_ras * vector[:3]
        origin = _vector(fields["spaceorigin"]) if "spaceorigin" in fields else np.zeros_like(vectors[0])
        if len({len(origin), *map(len, vectors)}) > 1:
            raise ValueError("space directions and space origin of different length")
        affine[:3, 3] = to_ras * origin[:3]
        frame_s = _frame_s(fields, others[0], steps[others[0]]) if others else 0.0
        array = payload.voxels(stored).transpose(*spatial, *others)
    x, y, z = map(float, np.linalg.norm(affine[:3, :3], axis=0))
    return array, (x, y, z), affine, frame_s


def data_files(path: Path) -> list[Path]:
    """The files that hold the header and the voxels."""
    with payload.one_line(path, "NRRD"):
        return sorted({path, _stored(path, *_fields(path)).file})


def write(
    array: np.ndarray,
    spacing_mm: Sequence[float],
    origin_mm: np.ndarray,
    directions: np.ndarray,
    frame_s: float,
    path: Path,
) -> None:
    """Write a 3D image or a cine, compressed.

    Args:
        array: (x, y, z) or (x, y, z, t); a file `.seq.nrrd` gets time as its first axis, for 3D Slicer.
        spacing_mm: along x, y, z.
        origin_mm: (3,), place of the first voxel, LPS.
        directions: (3, 3), unit vectors along the axes in columns, LPS.
        frame_s: seconds between frames; 0 where unknown.
        path: of the new file.
    """
    vectors: list = (directions * spacing_mm).T.tolist()
    kinds, origin = ["domain"] * 3, origin_mm.tolist()
    space = "space: left-posterior-superior"
    if array.ndim == 4 and path.name.endswith(".seq.nrrd"):
        array = np.moveaxis(array, 3, 0)
        vectors, kinds = [None, *vectors], ["list", *kinds]
    elif array.ndim > 3:  # ITK writes and reads a fourth axis as one of space
        more = array.ndim - 3
        steps = np.eye(array.ndim)[3:] * (frame_s or 1.0)
        vectors = [[*vector, *[0] * more] for vector in vectors] + steps.tolist()
        kinds, origin, space = ["domain"] * array.ndim, [*origin, *[0] * more], f"space dimension: {array.ndim}"
    lines = [
        "NRRD0004",
        f"type: {TYPES[array.dtype.str[1:]][0]}",
        f"dimension: {array.ndim}",
        space,
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {' '.join('none' if vector is None else _text(vector) for vector in vectors)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_text(origin)}",
    ]
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    path.write_bytes("\n".join([*lines, "", ""]).encode() + gzip.compress(data, 6, mtime=0))


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields of the header, names in lower case without blanks; and the byte at which the header ends."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(16)):
            raise ValueError("its first line is not NRRD0001 to NRRD0005")
        while line := os.fsdecode(file.readline(payload.HEADER)).rstrip("\r\n"):
            if file.tell() > payload.HEADER:
                raise ValueError("its header does not end")
            if line.startswith("#") or re.match(r"[^:]*:=", line):  # a comment; a pair of one program's own
                if re.match(r"Segment\d+_Layer:=[1-9]", line):  # 3D Slicer's
                    fields["layers"] = line
                continue
            name, colon, value = line.partition(":")
            name = name.lower().replace(" ", "")
            if not colon or name not in FIELDS or name in fields:
                raise ValueError(f"line {line[:60]!r} of its header")
            fields[name] = value.strip()
            if name == "datafile" and payload.SPREAD.match(fields[name]):
                break  # the names of the files follow
        return fields, file.tell()


def _stored(path: Path, fields: Mapping[str, str], start: int) -> payload.Stored:
    sizes = tuple(int(word) for word in fields["sizes"].split())
    if int(fields["dimension"]) != len(sizes):
        raise ValueError(f"dimension {fields['dimension']}, but sizes {fields['sizes'][:60]}")
    code = next((code for code, names in TYPES.items() if fields["type"].lower() in names), None)
    encoding = ENCODINGS.get(fields["encoding"].lower())
    if code is None or encoding is None:
        raise ValueError(f"type {fields['type'][:40]}, encoding {fields['encoding'][:40]}")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower(), "=")
    if order == "=" and code[1] != "1" and encoding != "text":
        raise ValueError("endian: expected little or big")
    skips = int(fields.get("lineskip", 0)), int(fields.get("byteskip", 0))
    file = path
    if "datafile" in fields:
        file, start = payload.data_file(path, fields["datafile"]), 0
    return payload.Stored(file, sizes, np.dtype(order + code), encoding, start, *skips)


def _axes(path: Path, fields: Mapping[str, str], shape: tuple[int, ...]) -> tuple[list[str], list[np.ndarray | None]]:
    """For every axis its kind and the vector from one voxel to the next; None where the axis has no direction in space."""
    steps: list[np.ndarray | None]
    kinds = fields.get("kinds", "domain " * len(shape)).lower().split()
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))
    if "spacedirections" in fields:
        words = re.findall(r"none|\([^()]*\)", fields["spacedirections"])
        steps = [None if word == "none" else _vector(word) for word in words]
        steps = [None if step is None or np.isnan(step).all() else step for step in steps]  # pynrrd's "none" was (nan,nan,nan)
    elif "spacings" in fields:
        places = iter(np.eye(max(3, sum(kind in SPATIAL for kind in kinds))))
        spacings = zip(kinds, _numbers(fields["spacings"]), strict=True)
        steps = [next(places) * mm if kind in SPATIAL else None for kind, mm in spacings]
        units += [unit for unit, step in zip(_units(fields), steps, strict=False) if step is not None]
    else:
        raise InputError(f"{path}: no voxel size in the header (space directions, or spacings); save it again with one")
    if not len(kinds) == len(steps) == len(shape) or not set(kinds) <= {*CINE, *NUMBERS}:
        raise ValueError(f"kinds {kinds[:17]} and {len(steps)} steps of {len(shape)} axes")
    odd = next((unit for unit in units[:3] if unit.lower() not in ("", "mm", "millimeter", "millimeters")), None)
    if odd is not None:
        raise InputError(f"{path}: expected lengths in mm, found the unit {odd[:40]!r}; save it again in mm")
    return kinds, steps


def _frame_s(fields: Mapping[str, str], axis: int, step: np.ndarray | None) -> float:
    """Seconds between frames; 0 where the file does not know them, which these formats write as 1."""
    if step is not None:
        seconds = float(np.linalg.norm(step))
    else:
        steps, units = _numbers(fields.get("spacings", "")), _units(fields)
        seconds = steps[axis] * SECONDS.get(units[axis].lower() if axis < len(units) else "", 1.0) if axis < len(steps) else 0.0
    return seconds if np.isfinite(seconds) and seconds > 0 and seconds != 1 else 0.0


def _units(fields: Mapping[str, str]) -> list[str]:
    return re.findall(r'"([^"]*)"', fields.get("units", ""))


def _vector(text: str) -> np.ndarray:
    vector = np.array(_numbers(text.strip("()").replace(",", " ")))
    if len(vector) < 2:
        raise ValueError(f"vector {text[:60]}")
    return vector


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


def _text(vector: Sequence[float]) -> str:
    return "(" + ",".join(repr(float(value)) for value in vector) + ")"
