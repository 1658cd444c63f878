"""Damage that knows what a file means, so that no syntax or checksum stops it: `kind(content, generator) -> other content`."""

import io
import json

import h5py
import numpy as np
import pydicom

from tests.fuzz.values import FLOATS, NUMBERS, VALUES, pick


def value(content, rng):
    """Another value somewhere in JSON, one left out, or one more."""
    tree = json.loads(content)
    at = tree
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = pick(list(keys), rng)
        if not isinstance(at[key], (dict, list)) or not at[key] or rng.random() < 0.2:
            break
        at = at[key]
    match rng.integers(5):
        case 0:
            at.pop(key)
        case 1 if isinstance(at, dict):
            at[pick(["x", "", "0", "-1", "ignore", "\0"], rng)] = at[key]
        case _:
            at[key] = pick(VALUES, rng)
    return json.dumps(tree, indent=1).encode()


def tensor(content, rng):
    """A tensor of an HDF5 file with other values, of another shape or type, left out, or led elsewhere by a link."""
    held = io.BytesIO(content)
    with h5py.File(held, "r+") as file:
        names = []
        file.visit(names.append)
        name = pick(names, rng)
        data = file[name][()] if isinstance(file[name], h5py.Dataset) else None
        what = rng.integers(8)
        if what == 0 and data is not None and data.size:
            flat = data.reshape(-1)
            flat[0] = pick(FLOATS, rng) if data.dtype.kind == "f" else 1
            file[name][...] = flat.reshape(data.shape)
            return _closed(file, held)
        del file[name]
        match what:
            case 1:
                file[name] = h5py.SoftLink(pick(["/", "/nowhere", name], rng))
            case 2:
                file[name] = h5py.ExternalLink(pick(["absent.h5", "/etc/passwd"], rng), "/")
            case 3:
                file.create_group(name)
            case 4:
                file.create_dataset(
                    name, pick([(), (0,), (2**40,), (3, 3), (1,) * 20], rng), pick(["f4", "f8", "i4"], rng), chunks=None
                )
            case 5:
                file.create_dataset(name, data=pick(["text", np.float64(1), np.array(["a"], "S1"), h5py.Empty("f4")], rng))
            case 6:
                extent = (2**20, 2**12)  # 16 GB of zeros that take no room
                file.create_dataset(name, extent, "f4", chunks=(2**10, 2**10), compression="gzip")
        return _closed(file, held)


def _closed(file, held):
    file.close()
    return held.getvalue()


def element(content, rng):
    """An element of a DICOM file with another value, or left out."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    at = pick([dataset, dataset, dataset.file_meta], rng)
    while True:
        chosen = pick([each for each in at if each.keyword != "PixelData"], rng)
        if chosen.VR != "SQ" or not chosen.value or rng.random() < 0.2:
            break
        at = pick(list(chosen.value), rng)
    match rng.integers(4):
        case 0:
            del at[chosen.tag]
        case 1 if chosen.VR == "SQ":
            chosen.value = pick([[], [*chosen.value][:1], [*chosen.value] * 2], rng)
        case _:
            at[chosen.tag] = pydicom.DataElement(chosen.tag, *_element_value(chosen.VR, rng), already_converted=True)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=False)
    return written.getvalue()


def _element_value(vr, rng):
    if vr == "US":
        return vr, pick([0, 1, 2, 7, 16, 255, 65535], rng)
    if vr in ("FD", "FL"):
        return vr, pick(FLOATS, rng)
    if vr in ("UL", "SL"):
        return vr, pick([0, 1, 2**31 - 1], rng)
    text = pick([*NUMBERS, "1\\2", "1\\0\\0\\0\\1\\0", "0\\0\\0", "1e30\\1e30\\1e30", "nan\\1\\1", "1.2.840.10008.1.2.4.50"], rng)
    return "UN" if vr == "SQ" else vr, text.encode() if vr in ("SQ", "UN") else text
