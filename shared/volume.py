"""`Volume`: voxels with their place in the scanner, read from and written to the formats of the field.

Arrays are (x, y, z) or, for a cine, (x, y, z, t), as nibabel gives them. Affines map voxel indices to RAS millimetres.
SimpleITK is imported where a format needs it, so that NIfTI can be read on machines without it.
"""

import dataclasses
import gzip
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from shared import dicom
from shared.errors import InputError
from shared.files import written_whole

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = NIFTI + ITK
WRITABLE = (*NIFTI, ".nrrd", ".mha")  # one file each
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A 3D scan, a label map, or a 4D cine.

    Attributes:
        array: (x, y, z) or (x, y, z, t); network channels, where present, come last.
        spacing_mm: voxel size along x, y, z.
        affine: (4, 4), voxel index -> RAS mm, as the file stores it.
        frame_s: time between frames of a cine in seconds; 0 where unknown or 3D.
        has_forms: False where the file says that its affine means nothing (both form codes of a NIfTI are 0).
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    frame_s: float = 0.0
    has_forms: bool = True

    def with_array(self, array):
        """The same geometry around another array."""
        return dataclasses.replace(self, array=array)

    def frame(self, index):
        """Frame `index` of a cine as a 3D volume; the volume itself where it is 3D and `index` is 0."""
        if self.array.ndim == 3 and index == 0:
            return self
        return dataclasses.replace(self, array=self.array[..., index], frame_s=0.0)

    @property
    def frames(self):
        return self.array.shape[3] if self.array.ndim == 4 else 1

    @property
    def placed(self):
        """Whether the affine says where the scan is. One of unit scale along the axes, though voxels have another size or the
        origin is 0, is what programs write that know no position."""
        unit = np.allclose(np.abs(self.affine[:3, :3]), np.eye(3))
        unknown = unit and (not np.any(self.affine[:3, 3]) or not np.allclose(self.spacing_mm, 1, rtol=0.01))
        return self.has_forms and not unknown

    @property
    def voxel_ml(self):
        return float(np.prod(self.spacing_mm)) / 1000


def from_array(array, spacing_mm=(1.0, 1.0, 1.0)):
    """A volume at the scanner's origin, axes along the scanner's."""
    return Volume(np.asarray(array), tuple(map(float, spacing_mm)), np.diag([*spacing_mm, 1.0]).astype(float))


def read(path):
    """The scan in a NIfTI, NRRD or MetaImage file, in a folder of DICOM slices or series, or in one DICOM file of many frames.

    Of several stacks in a DICOM folder, `folder#2` is the second.

    Raises:
        InputError: a missing, broken or empty file, not 3D or 4D, not one number per voxel, NaN or infinite voxels, voxel size 0.
    """
    path = Path(path)
    source, number = dicom.split_number(path)
    if not source.exists():
        raise InputError(f"{path}: no such file")
    if source.is_dir() or dicom.is_file(source):
        volume = Volume(*dicom.read(source, number))
    elif path.name.lower().endswith(NIFTI):
        volume = _read_nifti(path)
    elif path.name.endswith(ITK):  # MetaImage's reader knows no upper case
        volume = _read_itk(path)
    else:
        raise InputError(f"{path}: not a scan; expected {', '.join(SUFFIXES)} or a folder of DICOM slices")
    _check(volume, path)
    affine_mm = np.linalg.norm(volume.affine[:3, :3], axis=0)
    if not np.allclose(affine_mm, volume.spacing_mm, rtol=0.01):
        spacing = millimetres(volume.spacing_mm)
        warnings.warn(
            f"{path}: the affine says {millimetres(affine_mm)}, the header's voxel size {spacing}; using the latter", stacklevel=2
        )
    return volume


def read_labels(path):
    """A label map, as integers.

    Raises:
        InputError: as `read`, and voxels that are not whole numbers from 0 to 65535.
    """
    volume = read(path)
    labels = volume.array.astype(np.uint16) if volume.array.min() >= 0 and volume.array.max() < 2**16 else None
    if labels is None or not np.array_equal(labels, volume.array):
        raise InputError(f"{path}: expected whole-number labels, found values such as {_odd_value(volume.array)}")
    return volume.with_array(labels)


def write(volume, path):
    """Write NIfTI, NRRD or MetaImage by the suffix of `path`, whole or not at all; the bytes depend on the volume only."""
    path = Path(path)
    nifti = path.name.lower().endswith(NIFTI)
    if not nifti and not path.name.endswith(WRITABLE):
        raise InputError(f"{path}: cannot write this format; expected {', '.join(WRITABLE)}")
    with written_whole(path) as temporary:
        _write_nifti(volume, temporary) if nifti else _write_itk(volume, temporary)


def stem(path):
    """File name without the scan suffixes: `a/patient001.nii.gz` -> `patient001`."""
    name = Path(path).name
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _read_nifti(path):
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)  # unlike nibabel, looks at the checksum
        kind = nibabel.Nifti2Header if content[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Header
        header = kind(content[: kind.sizeof_hdr], check=False)
        pixdim = np.abs(header["pixdim"]).tolist()
        header.check_fix(logging.Logger("silent", logging.CRITICAL + 1))  # turns, among others, voxel size 0 into 1
        array = np.asanyarray(nibabel.arrayproxy.ArrayProxy(io.BytesIO(content), header))
        affine = header.get_best_affine()
    except Exception as error:  # nibabel raises many kinds
        raise InputError(f"{path}: broken or truncated NIfTI file ({_first_line(error)}); copy or export it again") from error
    seconds = {16: 1e-3, 24: 1e-6}.get(int(header["xyzt_units"]) & 56, 1.0)
    frame_s = pixdim[4] * seconds if array.ndim == 4 else 0.0
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    has_forms = bool(header["qform_code"] or header["sform_code"])
    return Volume(array, tuple(pixdim[1:4]), np.array(affine, float), frame_s, has_forms)


def _write_nifti(volume, path):
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = nibabel.Nifti1Image(array, volume.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner", strip_shears=True)
    image.header.set_zooms((*volume.spacing_mm, volume.frame_s)[: array.ndim])  # right even where the affine's scale is wrong
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)


def _read_itk(path):
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: broken or truncated file; copy or export it again") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected one number per voxel, found {image.GetNumberOfComponentsPerPixel()}")
    spacing_mm = image.GetSpacing()
    size = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (size, size))[:3, :3]
    affine = np.eye(4)
    if size >= 3:
        affine[:3, :3] = RAS_FROM_LPS @ direction @ np.diag(spacing_mm[:3])
        affine[:3, 3] = RAS_FROM_LPS @ image.GetOrigin()[:3]
    frame_s = spacing_mm[3] if size > 3 and spacing_mm[3] != 1 else 0.0  # 1 is what these formats say of an unknown step
    return Volume(sitk.GetArrayFromImage(image).T, tuple(map(float, spacing_mm[:3])), affine, float(frame_s))


def _write_itk(volume, path):
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T), isVector=False)
    direction = np.eye(array.ndim)
    origin, spacing = np.zeros(array.ndim), np.ones(array.ndim)
    direction[:3, :3] = RAS_FROM_LPS @ volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    origin[:3] = RAS_FROM_LPS @ volume.affine[:3, 3]
    spacing[:3] = volume.spacing_mm
    if array.ndim == 4:
        spacing[3] = volume.frame_s or 1.0
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def _check(volume, path):
    array = volume.array
    if array.dtype.fields is not None or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise InputError(f"{path}: expected one real number per voxel, found {array.dtype}")
    if array.size == 0:
        raise InputError(f"{path}: no voxels (shape {array.shape})")
    if array.ndim not in (3, 4):
        raise InputError(f"{path}: expected a 3D scan or a 4D cine, found an array of shape {array.shape}")
    if not all(np.isfinite(s) and s > 0 for s in volume.spacing_mm):
        raise InputError(f"{path}: voxel size {millimetres(volume.spacing_mm)} is not usable; set it in the file's header")
    if not np.isfinite(volume.affine).all() or abs(np.linalg.det(volume.affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: the affine in the header is not invertible; export the file again")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise InputError(f"{path}: {bad} of {array.size} voxels are NaN or infinite; replace them first")


def _odd_value(array):
    odd = array[(array < 0) | (array >= 2**16) | (array != np.floor(array))]
    return odd.ravel()[0]


def millimetres(spacing_mm):
    return " x ".join(f"{s:.4g}" for s in spacing_mm) + " mm"


def _first_line(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
