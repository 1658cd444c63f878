"""`Volume`: voxels with their place in the scanner, read from and written to the formats of the field.

Arrays are (x, y, z) or, for a cine, (x, y, z, t), as nibabel gives them. Affines map voxel indices to RAS millimetres.
`nifti`, `nrrd`, `metaimage` and `dicom` know the formats; everybody else calls this module.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np

from shared.errors import InputError
from shared.files import files_below, written_whole
from shared.scans import dicom, metaimage, nifti, nrrd

FORMATS = {".nii": nifti, ".nii.gz": nifti, ".nrrd": nrrd, ".nhdr": nrrd, ".mha": metaimage, ".mhd": metaimage}
SUFFIXES = tuple(FORMATS)
WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")  # one file each
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
SMALLEST_MM, LARGEST_MM = 0.01, 100.0  # voxels: microscopes and wrong units are below; no scanner has slices above
LARGEST_ML = 1e6  # a scan of 1 m3 holds a whole body; resampling to 1 mm gives no more than 1e9 voxels
FARTHEST_MM = 1e5  # from the scanner's centre; farther away, rounding moves voxels
LARGEST_VALUE = 1e15  # one such voxel makes all others equal in float32
STRAY = 100  # times the range of nearly all grey values: voxels beyond that leave no contrast to the others (real scans reach 3)
UPRIGHT = 0.99  # volume of a voxel, of that with axes at right angles, below which a warning says so
WHOLE = 0.01  # labels may be this far from a whole number: files that scale 0 to 850 to 16 bits are up to 0.007 off


@dataclass(frozen=True)
class Volume:
    """A 3D scan, a label map, or a 4D cine.

    Attributes:
        array: (x, y, z) or (x, y, z, t); network channels, where present, come last.
        spacing_mm: voxel size along x, y, z.
        affine: (4, 4), voxel index -> RAS mm, as the file stores it.
        frame_s: time between frames of a cine in seconds; 0 where unknown or 3D.
        source: how the file describes this grid, where it was read from one; None for any other grid.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    frame_s: float = 0.0
    source: "Source | None" = None

    def with_array(self, array: np.ndarray) -> "Volume":
        """The same geometry around another array."""
        return dataclasses.replace(self, array=array)

    def frame(self, index: int) -> "Volume":
        """Frame `index` of a cine as a 3D volume; the volume itself where it is 3D and `index` is 0."""
        if self.array.ndim == 3 and index == 0:
            return self
        return dataclasses.replace(self, array=self.array[..., index], frame_s=0.0)

    @property
    def frames(self) -> int:
        return self.array.shape[3] if self.array.ndim == 4 else 1

    @property
    def placed(self) -> bool:
        """Whether the affine says where the scan is.

        It does not where both form codes of a NIfTI file are 0. Nor does an affine of unit scale along the axes, if voxels have
        another size or the origin is 0: programs that know no position write it.
        """
        header = self.source.header if self.source else None
        if header is not None and not header["qform_code"] and not header["sform_code"]:
            return False
        unit = np.allclose(np.abs(self.affine[:3, :3]), np.eye(3))
        return not unit or bool(np.any(self.affine[:3, 3]) and np.allclose(self.spacing_mm, 1, rtol=0.01))

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000


@dataclass(frozen=True)
class Source:
    """What a file says of its grid beyond what `Volume` holds, so that a label map can say exactly the same.

    Attributes:
        shape: of the file's array, with the axes of length 1 that `read` drops.
        header: of a NIfTI file, unchanged; None for other formats.
    """

    shape: tuple[int, ...]
    header: nibabel.Nifti1Header | None = None


def from_array(array: np.ndarray, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> Volume:
    """A volume whose first voxel is at the scanner's origin, with its axes along the scanner's."""
    x, y, z = map(float, spacing_mm)
    return Volume(np.asarray(array), (x, y, z), np.diag([x, y, z, 1.0]))


def check_exists(path: Path) -> None:
    """Raise InputError unless the path of a scan, such as `folder#2`, is that of a file or a folder."""
    source = dicom.split_number(path)[0]
    if not source.exists():
        raise InputError(f"{path}: no such file")
    if not (source.is_file() or source.is_dir()):
        raise InputError(f"{path}: a device or a pipe; expected a file or a folder")


def read(path: Path | str) -> Volume:
    """The scan in a NIfTI, NRRD or MetaImage file, in a folder of DICOM slices or series, or in one DICOM file of many frames.

    Axes of length 1 behind the third are dropped. Where a DICOM folder holds several stacks, `folder#2` is the second.

    Raises:
        InputError: a missing, broken or empty file; an array that is not 3D or 4D, or has not one number per voxel; voxels that
            are NaN, infinite or beyond 1e15; a voxel size or an extent that no scanner has.
    """
    path = Path(path)
    check_exists(path)
    with np.errstate(all="ignore"):  # what overflows is infinite, and refused as such
        volume = _volume(*_read(path))
        check(volume, path)
    affine_mm = np.linalg.norm(volume.affine[:3, :3], axis=0)
    if not np.allclose(affine_mm, volume.spacing_mm, rtol=0.01):
        spacing = millimetres(volume.spacing_mm)
        warnings.warn(
            f"{path}: the affine says {millimetres(affine_mm)}, the header's voxel size {spacing}; using the latter", stacklevel=2
        )
    upright = abs(np.linalg.det(volume.affine[:3, :3] / affine_mm))
    if upright < UPRIGHT:
        taken = f"volumes and distances are computed as if they were, volumes {1 / upright - 1:.0%} too large"
        warnings.warn(f"{path}: axes that are not at right angles; {taken}", stacklevel=2)
    return volume


def read_grey(path: Path | str) -> Volume:
    """A scan for a network, which would see no contrast if a few stray voxels stretched the range of the grey values.

    Raises:
        InputError: see `read`; or some voxels lie farther beyond the others than 100 times their range.
    """
    volume = read(path)
    array = volume.array
    low, high = (float(end) for end in np.percentile(array.ravel("K")[:: max(1, array.size // 10**6)], (0.1, 99.9)))
    reach = STRAY * (high - low)
    if reach and (array.min() < low - reach or array.max() > high + reach):
        stray = array[(array < low - reach) | (array > high + reach)]
        raise InputError(
            f"{path}: {stray.size} of {array.size} voxels, such as {stray[0]:g}, lie far beyond the others, which reach from "
            f"{low:.3g} to {high:.3g}; replace them first"
        )
    return volume


def read_labels(path: Path | str) -> Volume:
    """A label map as uint16; values within 0.01 of a whole number count as that number.

    Raises:
        InputError: see `read`; or some voxels are not whole numbers from 0 to 65535.
    """
    volume = read(path)
    array = volume.array
    if array.dtype in (np.uint8, np.uint16):
        return volume.with_array(array.astype(np.uint16))
    whole = np.rint(array) if np.issubdtype(array.dtype, np.floating) else array
    odd = (np.abs(array - whole) > WHOLE) | (whole < 0) | (whole >= 2**16)
    if odd.any():
        raise InputError(f"{path}: expected whole-number labels, found values such as {array[odd][0]}")
    return volume.with_array(whole.astype(np.uint16))


def write(volume: Volume, path: Path | str) -> None:
    """Write NIfTI, NRRD or MetaImage by the suffix of `path`, whole or not at all; the bytes depend on the volume only.

    Where the volume's grid was read from a file, the new file lies over that file in every viewer: a NIfTI file gets the same
    place, field by field; the other formats get the place that viewers read from the NIfTI file.

    Raises:
        InputError: a suffix of no format that can be written.
        OSError: the file cannot be written.
    """
    path = Path(path)
    module = _module(path)
    if module is None or (module is not nifti and not path.name.endswith(WRITABLE)):
        raise InputError(f"{path}: cannot write this format; expected {', '.join(WRITABLE)}")
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    source = volume.source or Source(array.shape)
    if _without_ones(source.shape) == array.shape:
        array = array.reshape(source.shape)
    affine, header = volume.affine, source.header
    with written_whole(path) as temporary:
        if module is nifti:
            nifti.write(array, volume.spacing_mm, affine, volume.frame_s, header, temporary)
        else:
            affine = affine if header is None else nifti.affine_in_viewers(header)
            origin_mm, directions = RAS_FROM_LPS @ affine[:3, 3], RAS_FROM_LPS @ _nearest_rotation(affine[:3, :3])
            module.write(array, volume.spacing_mm, origin_mm, directions, volume.frame_s, temporary)


def data_files(path: Path) -> list[Path]:
    """Every file that holds voxels of `path`: itself, the data file that a header names, or the files of a DICOM folder.

    Raises:
        InputError: a broken header, or a missing data file.
    """
    path, _ = dicom.split_number(path)
    if path.is_dir():
        return files_below(path)
    module = _module(path)
    return module.data_files(path) if module in (nrrd, metaimage) else [path]


def stem(path: Path | str) -> str:
    """File name without the scan suffixes: `a/patient001.nii.gz` -> `patient001`, `cine.seq.nrrd` -> `cine`, likewise `.seg`."""
    name = Path(path).name
    suffix = next((s for s in sorted((*SUFFIXES, dicom.SUFFIX), key=len, reverse=True) if name.lower().endswith(s)), "")
    name = name[: len(name) - len(suffix)]
    return name[:-4] if suffix and name.lower().endswith((".seq", ".seg")) else name  # 3D Slicer's sequences and segmentations


def _module(path: Path) -> ModuleType | None:
    """The module that reads and writes files with the suffix of `path`; None where there is none."""
    return next((module for suffix, module in FORMATS.items() if path.name.lower().endswith(suffix)), None)


def _read(path: Path) -> tuple:
    """What the format's own `read` gives: the arguments of `_volume`."""
    source, number = dicom.split_number(path)
    if source.is_dir() or dicom.is_file(source):
        return dicom.read(source, number)
    module = _module(path)
    if module is None:
        raise InputError(f"{path}: not a scan; expected {', '.join(SUFFIXES)} or a folder of DICOM slices")
    return module.read(path)


def _volume(
    array: np.ndarray,
    spacing_mm: tuple[float, float, float],
    affine: np.ndarray,
    frame_s: float,
    header: nibabel.Nifti1Header | None = None,
) -> Volume:
    shape = _without_ones(array.shape)
    return Volume(array.reshape(shape), spacing_mm, affine, frame_s if len(shape) == 4 else 0.0, Source(array.shape, header))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the axes of length 1 that come last, behind the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _nearest_rotation(axes: np.ndarray) -> np.ndarray:
    """The orthonormal columns nearest to the directions of the columns of `axes` (3, 3); ITK reads no others."""
    left, _, right = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    return left @ right


def check(volume: Volume, path: object) -> None:
    """Raise InputError unless the volume can be used; see `read`.

    Args:
        volume: whether it was read from a file or made in Python.
        path: what messages call it.
    """
    if not isinstance(volume, Volume):
        raise InputError(f"{path}: expected a Volume, such as volume.read gives, found {type(volume).__name__}")
    array, spacing_mm, affine = volume.array, volume.spacing_mm, volume.affine
    if array.dtype.fields is not None or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise InputError(f"{path}: expected one real number per voxel, found {array.dtype}")
    if array.ndim not in (3, 4) or not array.size:
        raise InputError(f"{path}: expected a 3D scan or a 4D cine, found an array of shape {array.shape}")
    if not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError(f"{path}: voxel size {millimetres(spacing_mm)} is not usable; set it in the file's header")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: the affine in the header is not invertible; export the file again")
    extent_mm = np.multiply(array.shape[:3], spacing_mm)
    if min(spacing_mm) < SMALLEST_MM or max(spacing_mm) > LARGEST_MM or extent_mm.prod() > LARGEST_ML * 1000:
        raise InputError(
            f"{path}: voxels of {millimetres(spacing_mm)}, {millimetres(extent_mm)} in all; expected {SMALLEST_MM} to "
            f"{LARGEST_MM:.0f} mm and at most 1 m3; correct the voxel size or its unit in the header"
        )
    if np.linalg.norm(affine[:3, :3], axis=0).max() > LARGEST_MM or np.abs(affine[:3, 3]).max() > FARTHEST_MM:
        raise InputError(f"{path}: the affine in the header places voxels beyond 100 m; export the file again")
    if not (array.min() >= -LARGEST_VALUE and array.max() <= LARGEST_VALUE):  # not with NaN
        bad, what = int(np.count_nonzero(~np.isfinite(array))), "NaN or infinite"
        if not bad:
            bad, what = int(np.count_nonzero(np.abs(array.astype(float)) > LARGEST_VALUE)), f"beyond {LARGEST_VALUE:g}"
        raise InputError(f"{path}: {bad} of {array.size} voxels are {what}; replace them first")


def millimetres(spacing_mm: Sequence[float] | np.ndarray) -> str:
    """Such as "1.5 x 1.5 x 8 mm"."""
    return " x ".join(f"{s:.4g}" for s in spacing_mm) + " mm"
