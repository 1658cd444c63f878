"""NRRD and MetaImage files for tests: made, changed, and compared with what ITK reads."""

import numpy as np
import SimpleITK as sitk

from shared.scans import volume
from shared.scans.volume import RAS_FROM_LPS
from tests.volumes import oblique

SUFFIXES = (".nrrd", ".mha")
KINDS = ["Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float32", "Float64"]
DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
SPACE = ("space: left-posterior-superior", "space directions: (1.25,0,0) (0,1.5,0) (0,0,8)", "space origin: (1,2,3)")


def change(path, old, new, count=1):
    """Other bytes in the header of a file."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
    return path


def nrrd(path, array, *lines, encoding="raw", data=None):
    """A NRRD file with the given lines in its header besides those of its type and shape."""
    header = [
        "NRRD0005", f"type: {array.dtype.name}", f"dimension: {array.ndim}", f"sizes: {' '.join(map(str, array.shape))}",
        *([] if any(line.startswith("endian") for line in lines) else ["endian: little"]), f"encoding: {encoding}",
        *lines, "", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(header).encode() + (array.tobytes(order="F") if data is None else data))
    return path


def assert_as_itk(path):
    image, found = sitk.ReadImage(str(path)), volume.read(path)
    np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(image).T)
    assert found.array.dtype.isnative and found.array.flags.writeable
    axes = image.GetDimension()
    np.testing.assert_allclose(found.spacing_mm, image.GetSpacing()[:3])
    steps = np.reshape(image.GetDirection(), (axes, axes))[:3, :3] * image.GetSpacing()[:3]
    np.testing.assert_allclose(found.affine[:3, :3], RAS_FROM_LPS @ steps, atol=1e-9)
    np.testing.assert_allclose(found.affine[:3, 3], RAS_FROM_LPS @ image.GetOrigin()[:3], atol=1e-9)


def write_by_itk(path, kind, packed):
    """`oblique` with the type `kind`, a name of SimpleITK's, written by ITK."""
    whole = path.with_name("whole.mha")
    volume.write(oblique(), whole)
    image = sitk.Cast(sitk.ReadImage(str(whole)), getattr(sitk, f"sitk{kind}"))
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path
