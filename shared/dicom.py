"""A folder of DICOM slices as one array: a 3D stack, or a cine sorted by slice position and time.

Files are put together by where they lie, not by series: scanners often store a short-axis cine as one series per slice.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from shared.errors import InputError

POSITION, ORIENTATION, PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
SPACING_BETWEEN_SLICES, SLICE_THICKNESS = "0018|0088", "0018|0050"
TRIGGER_TIME, INSTANCE_NUMBER = "0018|1060", "0020|0013"
# storage classes without pixels: DICOMDIR, presentation states, raw data, reports, documents
NOT_IMAGES = (b"1.2.840.10008.1.3.10", *(b"1.2.840.10008.5.1.4.1.1." + kind for kind in (b"11.", b"66", b"88.", b"104.")))
BROKEN = "broken, truncated or unsupported DICOM file; copy or export it again"


@dataclass(frozen=True)
class _Header:
    path: Path
    size: tuple  # columns, rows, slices (1 but in multi-frame files)
    components: int
    spacing_mm: tuple  # along columns, rows, slices (0 where unknown)
    origin_mm: np.ndarray  # LPS; NaN where absent
    direction: np.ndarray  # (3, 3), unit columns, LPS
    pixel_type: int  # after rescaling
    trigger_ms: float  # NaN where absent, as is the next
    instance: float


def read_folder(folder):
    """Array, spacing, affine and frame time of the one stack of slices in a folder.

    Returns:
        array (x, y, z) or (x, y, z, t), rescaled; spacing_mm, three floats; affine (4, 4), voxel index -> RAS mm;
        frame_s, seconds between frames, 0 where 3D or unknown.

    Raises:
        InputError: no DICOM files, a broken one, several stacks, a missing slice or frame.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    headers = [header for header in map(_read_header, files) if header is not None]
    if not headers:
        raise InputError(f"{folder}: no DICOM files in this folder")
    _check_one_stack(headers, folder)
    first = headers[0]
    if first.size[2] > 1:
        return _read_pixels(first).T, first.spacing_mm, _affine(first, first.spacing_mm), 0.0

    positions, slice_mm = _by_position(headers, folder)
    rows, frame_s = _by_time(positions, folder)
    dtype = np.result_type(*(sitk.GetArrayFromImage(sitk.Image(1, 1, kind)) for kind in {h.pixel_type for h in headers}))
    shape = (len(rows[0]), len(rows), first.size[1], first.size[0])
    array = np.empty(shape, np.float32 if dtype == np.float64 else dtype)  # (t, z, y, x)
    for z, row in enumerate(rows):
        for t, header in enumerate(row):
            array[t, z] = _read_pixels(header)[0]
    spacing_mm = (*first.spacing_mm[:2], slice_mm)
    return (array if len(array) > 1 else array[0]).T, spacing_mm, _affine(rows[0][0], spacing_mm), frame_s


def _read_header(path):
    """What places one file in the stack; None where the file is not a DICOM image."""
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if _should_be_image(path):
            raise InputError(f"{path}: {BROKEN}") from error
        return None
    size, spacing_mm, origin_mm = reader.GetSize(), reader.GetSpacing(), np.array(reader.GetOrigin())
    if size[2] == 1:
        pixel_mm = _numbers(reader, PIXEL_SPACING)
        if len(pixel_mm) != 2 or not min(pixel_mm) > 0:
            raise InputError(f"{path}: no usable pixel spacing (0028,0030) in the header; export the file again")
        slice_mm = _numbers(reader, SPACING_BETWEEN_SLICES) or _numbers(reader, SLICE_THICKNESS) or [0.0]
        spacing_mm = (*spacing_mm[:2], abs(slice_mm[0]))
        if len(_numbers(reader, POSITION)) != 3 or len(_numbers(reader, ORIENTATION)) != 6:
            origin_mm[:] = np.nan
    trigger_ms, instance = ((_numbers(reader, key) or [np.nan])[0] for key in (TRIGGER_TIME, INSTANCE_NUMBER))
    return _Header(
        path,
        size,
        reader.GetNumberOfComponents(),
        spacing_mm,
        origin_mm,
        np.reshape(reader.GetDirection(), (3, 3)),
        reader.GetPixelID(),
        trigger_ms,
        instance,
    )


def _check_one_stack(headers, folder):
    several = sum(header.size[2] > 1 for header in headers)
    if several and len(headers) > 1:
        raise InputError(f"{folder}: {several} of {len(headers)} files hold many slices each; keep one of them alone")
    keys = np.array([[*h.size, h.components, *h.spacing_mm[:2], *h.direction.ravel()] for h in headers])
    groups, left = [], np.arange(len(headers))
    while left.size:
        same = np.isclose(keys[left], keys[left[0]], rtol=1e-5, atol=1e-3).all(axis=1)
        groups.append(left[same])
        left = left[~same]
    if len(groups) > 1:
        found = "; ".join(_describe([headers[i] for i in group]) for group in groups[:5]) + "; ..." * (len(groups) > 5)
        raise InputError(f"{folder}: {len(groups)} stacks of different orientation or pixels ({found}); keep one in the folder")
    if headers[0].components != 1:
        raise InputError(f"{headers[0].path}: expected one number per voxel, found {headers[0].components}")
    lost = next((h.path for h in headers if np.isnan(h.origin_mm).any()), None)
    if lost:
        raise InputError(f"{lost}: no slice position (0020,0032) or orientation (0020,0037) in the header; export the file again")


def _describe(group):
    (columns, rows, _), (x_mm, y_mm, _) = group[0].size, group[0].spacing_mm
    return f"{len(group)} files of {columns} x {rows} pixels, {x_mm:.4g} x {y_mm:.4g} mm, such as {group[0].path.name}"


def _by_position(headers, folder):
    """One list of headers per slice position, in the order of the slices' normal, and the millimetres between two slices."""
    first = headers[0]
    normal, pixel_mm = first.direction[:, 2], min(first.spacing_mm[:2])
    offsets = np.array([header.origin_mm - first.origin_mm for header in headers])
    along = offsets @ normal
    sideways = np.linalg.norm(offsets - np.outer(along, normal), axis=1)
    if sideways.max() > pixel_mm / 2:
        raise InputError(
            f"{folder}: {headers[sideways.argmax()].path.name} lies {sideways.max():.3g} mm beside the line through "
            f"{first.path.name} (two stacks, or a tilted gantry); keep one straight stack in the folder"
        )
    order = np.argsort(along, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(along[order]) > pixel_mm / 100) + 1)
    positions = [[headers[i] for i in part] for part in parts]
    counts = Counter(map(len, parts))
    if len(counts) > 1:
        found = ", ".join(f"{files} at {places}" for files, places in sorted(counts.items()))
        raise InputError(
            f"{folder}: unequal numbers of files per slice position ({found} positions); "
            "expected one each, or every frame of a cine at each"
        )
    if len(parts) == 1:
        return positions, first.spacing_mm[2]
    gaps = np.diff([along[part].mean() for part in parts])
    usual = np.sort(gaps)[(len(gaps) - 1) // 2]
    odd = np.abs(gaps - usual)
    if odd.max() > max(0.01 * usual, min(0.1, 0.2 * usual)):  # 1 %, or what rounding of positions to 0.1 mm makes of thin slices
        names = [positions[odd.argmax() + i][0].path.name for i in (0, 1)]
        raise InputError(
            f"{folder}: slices are {usual:.4g} mm apart, but {gaps[odd.argmax()]:.4g} mm between {names[0]} and "
            f"{names[1]}; is a slice missing?"
        )
    return positions, float(gaps.mean())


def _by_time(positions, folder):
    """The same lists in order of time, and the seconds between two frames (0 where unknown)."""
    frames = len(positions[0])
    if frames == 1:
        return positions, 0.0
    times, numbers = (np.array([[getattr(h, name) for h in row] for row in positions]) for name in ("trigger_ms", "instance"))
    timed = np.ptp(times) > 0  # no where one is NaN
    rank = times if timed else numbers
    if not (np.diff(np.sort(rank, axis=1), axis=1) > 0).all():
        what = "trigger time (0018,1060)" if timed else "instance number (0020,0013)"
        raise InputError(
            f"{folder}: {frames} files at each slice position, not told apart by {what}; "
            "copies, or magnitude and phase together? keep one series per slice in the folder"
        )
    rows = [[row[i] for i in order] for row, order in zip(positions, np.argsort(rank, axis=1), strict=True)]
    return rows, float(np.median(np.ptp(times, axis=1)) / (frames - 1) / 1000) if timed else 0.0


def _affine(header, spacing_mm):
    affine = np.eye(4)
    affine[:3, :3] = header.direction * spacing_mm
    affine[:3, 3] = header.origin_mm
    affine[:2] *= -1  # DICOM's x and y grow to the left and the back, ours to the right and the front
    return affine


def _reader(path):
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOff()
    reader.SetFileName(str(path))
    return reader


def _read_pixels(header):
    try:
        return sitk.GetArrayFromImage(_reader(header.path).Execute())
    except RuntimeError as error:
        raise InputError(f"{header.path}: {BROKEN}") from error


def _should_be_image(path):
    with open(path, "rb") as file:
        head = file.read(1024)
    if head[128:132] != b"DICM":
        return path.suffix.lower() in (".dcm", ".ima")
    storage_class = head.partition(b"\x02\x00\x02\x00UI")[2][2:]  # after two bytes of its length
    return not storage_class.startswith(NOT_IMAGES)


def _numbers(reader, key):
    """The numbers of a DICOM attribute; none where it is absent or holds something else."""
    try:
        return [float(part) for part in reader.GetMetaData(key).split("\\")] if reader.HasMetaDataKey(key) else []
    except ValueError:
        return []
