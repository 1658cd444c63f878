"""The phantom as files in the layouts of ACDC, the 2018 Atrial Segmentation Challenge, MM-WHS, nnU-Net and STACOM."""

import gzip
import json
import os
import shutil
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from shared.errors import InputError
from shared.phantom.atrium import render_atrium
from shared.phantom.heart import Patient, beat
from shared.phantom.mri import render
from shared.phantom.patient import GROUPS, draw_patient, on_square_grid
from shared.phantom.whole_heart_scan import MODALITIES, VALUES, render_whole_heart
from shared.scans import volume

RECORD = "phantom.json"  # says which phantom a folder holds, so that it is written only once
LABELS = {"background": 0, "RV": 1, "Myo": 2, "LV": 3}
Tell = Callable[[str], object] | None  # receives one line per patient


def write_acdc(
    root: Path | str,
    patients: int = 20,
    seed: int = 0,
    cine: bool = False,
    size: int | None = None,
    progress: Tell = None,
    faults: bool = True,
) -> Path:
    """Write `root/training/patientNNN/{Info.cfg, patientNNN_frameFF.nii.gz, patientNNN_frameFF_gt.nii.gz}`, ED and ES frames.

    ED is frame 1. With `faults`, every patient whose number is a multiple of 4 has the fault of some official files: an sform of
    unit scale next to a correct qform and voxel size. With `cine`, `patientNNN_4d.nii.gz` (x, y, z, t) holds the whole beat.

    Args:
        root: folder to make. It appears when it is complete; a folder that holds the same phantom already is left as it is.
        size: pixels on both sides of every picture (see `on_square_grid`); None: ACDC's own sizes.
        progress: called with one line per patient; None tells nothing.

    Returns:
        `root`.

    Raises:
        InputError: `root` exists and is neither empty nor this phantom; there are no patients; the seed is negative.
        OSError: the folder cannot be written.
    """

    def fill(folder: Path) -> None:
        for number in range(1, patients + 1):
            patient = draw_patient(number, group_of(number), seed)
            patient = patient if size is None else on_square_grid(patient, size)
            name = f"patient{number:03d}"
            _write_acdc_patient(folder / "training" / name, name, patient, cine, faults)
            _tell(progress, f"{name} {patient.group}", number, patients)

    request = {"layout": "acdc", "patients": patients, "seed": seed, "cine": cine}
    request |= ({} if size is None else {"size": size}) | ({} if faults else {"faults": False})
    return _write_once(root, request, fill)


def write_lasc(
    root: Path | str, cases: int = 8, seed: int = 0, size: tuple[int, int] = (160, 160), progress: Tell = None
) -> Path:
    """Write `root/Training Set/<CASE>/{lgemri.nrrd, laendo.nrrd}`: 88 slices of `size` voxels, 0.625 mm, cavity 255.

    For arguments and errors see `write_acdc`.
    """

    import SimpleITK as sitk

    def fill(folder: Path) -> None:
        letters = np.random.default_rng((seed, 0)).choice(list(string.ascii_uppercase + string.digits), (cases, 20))
        for number in range(1, cases + 1):
            name = "".join(letters[number - 1])
            case = folder / "Training Set" / name
            case.mkdir(parents=True)
            image, label, spacing_mm = render_atrium(number, seed, size)
            for file, array in (("lgemri.nrrd", image), ("laendo.nrrd", label)):
                itk = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
                itk.SetSpacing(spacing_mm)
                sitk.WriteImage(itk, str(case / file), useCompression=True)
            _tell(progress, name, number, cases)

    if len(size) != 2 or min(size) < 32:
        raise InputError(f"expected two in-plane sizes of at least 32 voxels, found {size}")
    return _write_once(root, {"layout": "lasc", "cases": cases, "seed": seed, "size": list(size)}, fill)


def write_mmwhs(root: Path | str, cases: int = 20, seed: int = 0, spacing_mm: float = 1.2, progress: Tell = None) -> Path:
    """Write `root/{ct,mr}_train/{ct,mr}_train_1001_{image,label}.nii.gz` and so on: whole hearts, `cases` in CT and others in MR.

    They have quirks of the official files: the order and direction of axes differ, every fourth scan is oblique, and in every
    fifth label map a voxel of the left atrium has the value 421. With the default voxels, a case has about 7 MB.

    Args:
        root, progress: see `write_acdc`.
        cases: of each modality.
        spacing_mm: size of the voxels; see `render_whole_heart`.

    Raises:
        InputError: see `write_acdc` and `render_whole_heart`.
        OSError: the folder cannot be written.
    """

    def fill(folder: Path) -> None:
        for modality in MODALITIES:
            for number in range(1, cases + 1):
                name = f"{modality}_train_{1000 + number}"
                image, labels = render_whole_heart(number, modality, seed, spacing_mm)
                if number % 5 == 0:
                    labels.array.flat[np.flatnonzero(labels.array == VALUES["LA"])[0]] = VALUES["LA"] + 1
                for kind, each in (("image", image), ("label", labels)):
                    volume.write(each, folder / f"{modality}_train" / f"{name}_{kind}.nii.gz")
                _tell(progress, name, number, cases)

    return _write_once(root, {"layout": "mmwhs", "cases": cases, "seed": seed, "spacing_mm": spacing_mm}, fill)


def write_nnunet(root: Path | str, patients: int = 20, seed: int = 0, progress: Tell = None) -> Path:
    """Write the patients of `write_acdc` as `root/{imagesTr, labelsTr, dataset.json}`, cases `patientNNN_ED` and `patientNNN_ES`.

    For arguments and errors see `write_acdc`.
    """

    def fill(folder: Path) -> None:
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir()
        for number in range(1, patients + 1):
            patient = draw_patient(number, group_of(number), seed)
            for phase, name in enumerate((f"patient{number:03d}_ED", f"patient{number:03d}_ES")):
                image, label, spacing_mm = render(patient, phase)
                _write_nifti(folder / "imagesTr" / f"{name}_0000.nii.gz", image, spacing_mm)
                _write_nifti(folder / "labelsTr" / f"{name}.nii.gz", label, spacing_mm)
            _tell(progress, f"patient{number:03d} {patient.group}", number, patients)
        content = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": 2 * patients, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps(content, indent=1) + "\n")

    return _write_once(root, {"layout": "nnunet", "patients": patients, "seed": seed}, fill)


def write_stacom(root: Path | str, patients: int = 15, seed: int = 0, frames: int = 30, progress: Tell = None) -> Path:
    """Write `root/vN/{cine_sax.nii.gz, mask_ed.nii.gz}` of healthy hearts: the cine (x, y, z, t), and where the walls are at ED.

    Volunteers are numbered as in the benchmark, which has no v3.

    Args:
        root, progress: see `write_acdc`.
        frames: instants of the cycle, the first of them ED.

    Raises:
        InputError: see `write_acdc`; or fewer than two frames.
        OSError: the folder cannot be written.
    """

    def fill(folder: Path) -> None:
        for number in range(1, patients + 1):
            name = f"v{number if number < 3 else number + 1}"
            volunteer = draw_patient(number, "NOR", seed)
            cine = [render(volunteer, phase)[0] for phase in beat(frames, max(2, round(0.37 * frames)))]
            frame_s = volunteer.frame_s * volunteer.frames / frames
            (folder / name).mkdir()
            _write_nifti(folder / name / "cine_sax.nii.gz", np.stack(cine, axis=-1), (*volunteer.spacing_mm, frame_s))
            _write_nifti(folder / name / "mask_ed.nii.gz", biventricular_walls(volunteer), volunteer.spacing_mm)
            _tell(progress, name, number, patients)

    if frames < 2:
        raise InputError(f"expected frames of at least 2, found {frames}")
    return _write_once(root, {"layout": "stacom", "patients": patients, "seed": seed, "frames": frames}, fill)


def biventricular_walls(patient: Patient) -> np.ndarray:
    """(x, y, z) uint8, 1 = walls of both ventricles at ED: the labelled myocardium, and the RV's wall, which has no label."""
    _, label, spacing_mm = render(patient, 0)
    in_plane = (*spacing_mm[:2], 1e6)  # no distance reaches the next slice
    reach_mm = patient.rv_wall_mm + spacing_mm[0] / 2  # from the centres of the RV's outermost voxels
    near_rv = ndimage.distance_transform_edt(label != LABELS["RV"], sampling=in_plane) <= reach_mm
    return ((label == LABELS["Myo"]) | ((label == 0) & near_rv)).astype(np.uint8)


def group_of(number: int) -> str:
    """Group of ACDC patient `number` (from 1).

    Every block of five numbers holds all five groups, and each block starts one group later. So numbers 5, 10, 15, 20 and 25
    are of five groups too, and a fold of every fifth patient is balanced.
    """
    return GROUPS[(number - 1 + (number - 1) // 5) % 5]


def _write_acdc_patient(folder: Path, name: str, patient: Patient, cine: bool, faults: bool) -> None:
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(
        f"ED: 1\nES: {patient.es_frame}\nGroup: {patient.group}\nHeight: {patient.height_cm:.1f}\n"
        f"NbFrame: {patient.frames}\nWeight: {patient.weight_kg:.1f}\n"
    )
    unit_sform = None
    if faults and patient.number % 4 == 0:
        unit_sform = np.diag([-1.0, -1.0, 1.0, 1.0]) if patient.number % 8 == 0 else np.eye(4)
    for frame, phase in ((1, 0), (patient.es_frame, 1)):
        image, label, spacing_mm = render(patient, phase)
        _write_nifti(folder / f"{name}_frame{frame:02d}.nii.gz", image, spacing_mm, unit_sform)
        _write_nifti(folder / f"{name}_frame{frame:02d}_gt.nii.gz", label, spacing_mm, unit_sform)
    if cine:
        images = [render(patient, phase)[0] for phase in beat(patient.frames, patient.es_frame)]
        zooms = (*patient.spacing_mm, patient.frame_s)
        _write_nifti(folder / f"{name}_4d.nii.gz", np.stack(images, axis=-1), zooms, unit_sform)


def _write_nifti(path: Path, array: np.ndarray, zooms: Sequence[float], sform: np.ndarray | None = None) -> None:
    """Write voxels of size `zooms` (mm, then seconds) as gzipped NIfTI, whose bytes depend on nothing else."""
    affine = np.diag([*zooms[:3], 1.0])
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine if sform is None else sform, code=1)
    image.header.set_zooms(zooms)
    path.write_bytes(gzip.compress(image.to_bytes(), 3, mtime=0))


def _write_once(root: Path | str, request: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Make `root`: `fill` a folder next to it and rename that at the end. A folder that holds `request` already stays."""
    root, record = Path(root), json.dumps(request) + "\n"
    for name, least in (("patients", 1), ("cases", 1), ("seed", 0)):
        if request.get(name, least) < least:
            raise InputError(f"expected {name} of at least {least}, found {request[name]}")
    if _holds(root, record):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_name(f"{root.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had this number
    partial.mkdir()
    try:
        fill(partial)
        (partial / RECORD).write_text(record)
        if not _holds(root, record):  # another process may have been faster
            partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _holds(root: Path, record: str) -> bool:
    """True where `root` is a folder with this record, False where it is absent or empty; anything else is an InputError."""
    if root.is_dir():
        content = sorted(os.listdir(root))
        if not content:
            return False
        if RECORD in content and (root / RECORD).read_text() == record:
            return True
        found = ", ".join(content[:3])
        raise InputError(f"{root}: holds something else than this phantom ({found}); name another folder or remove it")
    if root.exists():
        raise InputError(f"{root}: is a file; name a folder to make")
    return False


def _tell(progress: Tell, name: str, done: int, total: int) -> None:
    if progress:
        progress(f"{name} ({done} of {total})")
