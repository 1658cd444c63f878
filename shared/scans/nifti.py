"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz)."""

import gzip
import logging
from pathlib import Path

import nibabel
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from shared.scans import payload

MILLIMETRES = {1: 1e3, 3: 1e-3}  # of the codes for metre and micron; everything else counts as mm
SECONDS = {16: 1e-3, 24: 1e-6}
SLACK = payload.PIECE  # bytes that may follow the voxels; some programs fill the last block of a file
# the header's fields that say where a file's voxels are
PLACE = ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
         "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")  # fmt: skip


def read(path: Path) -> tuple[np.ndarray, tuple[float, float, float], np.ndarray, float, nibabel.Nifti1Header]:
    """Array, spacing_mm, affine and frame_s of a file, in the units of `Volume`; and its header, unchanged.

    Raises:
        InputError: a broken file.
    """
    packed = path.name.lower().endswith(".gz")
    with payload.one_line(path, "NIfTI"), open(path, "rb") as file:
        stream = gzip.GzipFile(fileobj=file) if packed else file  # compares the checksum, unlike nibabel
        content = payload.take(stream, nibabel.Nifti1Header.sizeof_hdr)
        if content[:2] == b"\x1f\x8b":
            raise ValueError("it is compressed: its name should end in .nii.gz")
        kind = nibabel.Nifti2Header if content[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Header
        content += payload.take(stream, kind.sizeof_hdr - len(content))
        header = kind(bytes(content), check=False)
        raw = header.copy()
        header.check_fix(logging.Logger("silent", logging.CRITICAL + 1))  # turns, among others, voxel size 0 into 1
        if not (np.isnan(raw["scl_slope"]) or np.isfinite([raw["scl_slope"], raw["scl_inter"]]).all()):  # NaN: no scaling
            raise ValueError(f"scl_slope {raw['scl_slope']}, scl_inter {raw['scl_inter']}")
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        size = payload.size_of(shape, dtype)
        payload.skip(stream, header.get_data_offset() - len(content))
        array = np.frombuffer(payload.take(stream, size), dtype).reshape(shape, order="F")
        if packed:
            payload.end(stream, SLACK)
        if dtype.fields is None:
            slope, inter = header.get_slope_inter()
            array = apply_read_scaling(array, np.float64(slope or 1), np.float64(inter or 0))
        affine = _affine(header, by_viewers=False)
    pixdim = np.abs(raw["pixdim"]).tolist()
    frame_s = pixdim[4] * SECONDS.get(int(raw["xyzt_units"]) & 56, 1.0) if array.ndim >= 4 and np.isfinite(pixdim[4]) else 0.0
    mm = MILLIMETRES.get(int(raw["xyzt_units"]) & 7, 1.0)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    x, y, z = (size * mm for size in pixdim[1:4])
    return array, (x, y, z), affine, frame_s, raw


def affine_in_viewers(raw: nibabel.Nifti1Header) -> np.ndarray:
    """The affine (4, 4) that ITK-SNAP and 3D Slicer read from a header.

    They differ from nibabel where sform and qform contradict each other: they use the sform only if its code is 1 (scanner).
    """
    header = raw.copy()
    header.check_fix(logging.Logger("silent", logging.CRITICAL + 1))
    return _affine(header, by_viewers=True)


def write(
    array: np.ndarray,
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray,
    frame_s: float,
    header: nibabel.Nifti1Header | None,
    path: Path,
) -> None:
    """Write an array; the bytes depend on the arguments only.

    Args:
        array: (x, y, z) or (x, y, z, t); axes of length 1 may follow.
        spacing_mm, affine, frame_s: see `Volume`.
        header: of a NIfTI file with the same grid; its place is copied field by field, units included. None for a new grid.
        path: of the new file, which is compressed where the name ends in .gz.
    """
    nifti2 = isinstance(header, nibabel.Nifti2Header) or max(array.shape) > np.iinfo(np.int16).max
    new = nibabel.Nifti2Header() if nifti2 else nibabel.Nifti1Header()
    new.set_data_dtype(array.dtype)
    new.set_data_shape(array.shape)
    new.set_data_offset(new.sizeof_hdr + 4)
    new.set_slope_inter(1, 0)
    if header is None:
        new.set_xyzt_units("mm", "sec")
        new.set_sform(affine, code="scanner")
        new.set_qform(affine, code="scanner", strip_shears=True)
        zooms = (*spacing_mm, frame_s, 1, 1, 1)[: array.ndim]
        new.set_zooms(zooms)  # right even where the affine's scale is wrong
    else:
        for field in PLACE:
            new[field] = header[field]
    content = new.binaryblock + bytes(4) + array.astype(array.dtype.newbyteorder("="), copy=False).tobytes(order="F")
    path.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)


def _affine(header: nibabel.Nifti1Header, by_viewers: bool) -> np.ndarray:
    """(4, 4), voxel index -> RAS mm, as nibabel reads it or as viewers do."""
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    if not qform and not sform:  # the place is unknown: where viewers show it (nibabel would not turn y round)
        affine = np.diag([-header["pixdim"][1], -header["pixdim"][2], header["pixdim"][3], 1.0]).astype(float)
    elif by_viewers and qform > 0 and sform > 1:
        affine = header.get_qform()
    else:
        affine = header.get_best_affine()
    affine = np.array(affine, float)
    affine[:3] *= MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    return affine
