"""DICOM files as scanners write them, made by ITK."""

import numpy as np
import SimpleITK as sitk

from shared.scans.volume import RAS_FROM_LPS


def write_slice(path, plane, spacing_mm, affine, z=0, **tags):
    """One (x, y) plane as the DICOM file of slice `z` of the grid that `affine` spans; tags as `t0018_1060=12.5`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(plane.T[None]))
    image.SetSpacing([float(s) for s in spacing_mm])
    image.SetOrigin((RAS_FROM_LPS @ (affine @ [0, 0, z, 1])[:3]).tolist())
    image.SetDirection((RAS_FROM_LPS @ affine[:3, :3] / spacing_mm).ravel().tolist())
    for name, value in {"t0008_0060": "MR", "t0020_000d": "1.2.3", "t0020_000e": "1.2.3.4", **tags}.items():
        image.SetMetaData(name[1:].replace("_", "|"), str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    writer.Execute(image)


def write_stack(folder, scan, tags=lambda z, t: {}):
    """Every plane of a scan as a file, under names that follow no order; returns {(z, t): path}."""
    array = scan.array if scan.array.ndim == 4 else scan.array[..., None]
    places = list(np.ndindex(array.shape[2:]))
    numbers = np.random.default_rng(0).permutation(len(places))
    files = {place: folder / f"IM{number:04}" for place, number in zip(places, numbers, strict=True)}
    for (z, t), path in files.items():
        write_slice(path, array[:, :, z, t], scan.spacing_mm, scan.affine, z, **{"t0020_0013": z + 1, **tags(z, t)})
    return files


def cine_tags(z, t):
    """One series per slice, as scanners store short-axis cines; instance numbers that run against time."""
    return {"t0020_000e": f"1.2.3.{z + 1}", "t0020_0011": z + 1, "t0018_1060": 12.5 + 33.5 * t, "t0020_0013": 20 - t}
