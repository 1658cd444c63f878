"""DICOM in the forms that scanners and archives give it: a folder of slices, a study of many series, or Enhanced files.

    headers   a file -> its frames: where and when each was taken
    stacks    frames -> the one stack that is meant, in order of place and time
    pixels    ordered frames -> one array
    decode    compressed frames -> pixels
    segmentation    label map -> DICOM SEG over the frames

Frames are sorted by where they lie, not by series, because scanners often store a short-axis cine as one series per slice.
The DICOM libraries are imported when such a file is read, so that other formats do not wait for them.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import InputError
from shared.files import files_below
from shared.progress import counted

if TYPE_CHECKING:
    from shared.scans.dicom.headers import Frame

SUFFIX = ".dcm"
OTHER_SCANS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def split_number(path: Path | str) -> tuple[Path, int | None]:
    """Where a scan lies and which of its stacks is meant: `study#2` -> (`study`, 2), any other path -> (path, None)."""
    path = Path(path)
    named = re.fullmatch(r"(.+)#(\d+)", path.name)
    if named and not path.exists():
        source = Path(str(path).rpartition("#")[0])
        if source.is_dir() or is_file(source):
            return source, int(named[2])
    return path, None


def is_file(path: Path) -> bool:
    """Whether there is a file whose first bytes or whose name say that it is DICOM."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in (SUFFIX, ".ima")


def read(path: Path, number: int | None = None) -> tuple[np.ndarray, tuple[float, float, float], np.ndarray, float]:
    """Array, spacing, affine and frame time of one stack of slices.

    Args:
        path: folder, which is read with its sub-folders, or one file of many frames.
        number: of the stack in the message about several stacks, from 1; None where there is only one.

    Returns:
        array (x, y, z) or (x, y, z, t), rescaled; spacing_mm, three floats; affine (4, 4), voxel index -> RAS mm;
        frame_s, seconds between frames, 0 where 3D or unknown.

    Raises:
        InputError: no images, a broken file, several stacks and none named, a missing slice or frame.
    """
    from shared.scans.dicom import pixels

    rows, slice_mm, frame_s = stack(path, number)
    first = rows[0][0]
    spacing_mm = (*first.pixel_mm, slice_mm)
    return pixels.read(rows), spacing_mm, first.affine(spacing_mm), frame_s


def stack(path: Path, number: int | None = None) -> tuple[list[list["Frame"]], float, float]:
    """The frames of one stack in order, see `stacks.arrange`; for arguments and errors see `read`."""
    from shared.progress import Progress
    from shared.scans.dicom import headers, stacks

    path = Path(path)
    files = [path] if path.is_file() else files_below(path)
    frames = [frame for file in Progress("DICOM file", len(files)).over(files) for frame in headers.read(file, path)]
    if not frames:
        raise InputError(f"{path}: {_no_images(path, files)}")
    if path.is_file() and frames[0].file.frames == 1:
        raise InputError(f"{path}: this file holds one slice only; give the folder that holds all slices of the scan")
    return stacks.arrange(stacks.choose(frames, number, path), path)


def _no_images(path: Path, files: list[Path]) -> str:
    if path.is_file():
        return "no image in this DICOM file; expected frames of an MR or CT scan"
    others = [file for file in files if file.name.lower().endswith(OTHER_SCANS)]
    if others:
        found = f"{counted(len(others), 'scan')} such as {others[0].name}"
        return f"no DICOM files in this folder, but {found}; name the files instead of the folder"
    return "no DICOM files in this folder or below it; expected the slices of one scan"
