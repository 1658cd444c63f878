"""Which scans a prediction command segments, and the file for the label map of each."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared import datasets
from shared.datasets import lasc, nnunet
from shared.errors import InputError
from shared.files import files_below, visible
from shared.lazy import lazily
from shared.progress import counted
from shared.scans import dicom, volume

with lazily():
    from shared.scans.dicom import segmentation

OF_FILES = (".png", ".jpg", ".gif", ".webp", ".tif", ".tiff", ".pdf", ".html", ".csv", ".json", ".txt", ".npy", ".npz", ".h5",
            ".stl", ".vtk", ".vtu", ".obj", ".ply", ".zip", ".gz")  # fmt: skip  # no name of a folder
WRITABLE = (*volume.WRITABLE, dicom.SUFFIX)


@dataclass(frozen=True)
class Job:
    """One scan to segment, and the file for its label map."""

    scan: Path
    output: Path


def jobs(scans: Iterable[Path], ed: Sequence[Path], es: Sequence[Path], output: Path) -> list[Job]:
    """A `Job` for every scan; `ed` and `es` are scans too. A label map has the name of its scan, or of the link to it.

    A folder of image files stands for the scans in it; see `scans_in`.

    Raises:
        InputError: no scans; a folder of images and of DICOM folders; ED and ES lists of different length; outputs that collide
            with each other or with a scan.
    """
    scans = list(dict.fromkeys([*(each for scan in scans for each in scans_in(scan, output)), *ed, *es]))
    if not scans:
        raise InputError("no scans given: name at least one file, or --ed and --es files")
    if len(ed) != len(es):
        raise InputError(
            f"--ed names {counted(len(ed), 'scan')} and --es {len(es)}: expected one of each per patient, in the same order"
        )
    check_pairs(ed, es)
    if is_file_name(output):
        if not output.name.endswith(WRITABLE):
            raise InputError(f"{output}: cannot write this format; expected {', '.join(WRITABLE)}, or a folder")
        if len(scans) > 1:
            raise InputError(f"{output}: {len(scans)} label maps cannot go to one file; give a folder")
        if is_dicom(output):
            segmentation.check(scans[0])
        result = [Job(scans[0], output)]
    elif output.is_file():
        raise InputError(f"{output}: a file; expected a folder, or a name that ends in {', '.join(WRITABLE)}")
    else:
        result = [Job(scan, output / f"{name_of(scan)}.nii.gz") for scan in scans]
    check_place(result[0].output.parent)
    taken: dict[Path, Path] = {}
    for job in result:
        if os.path.realpath(job.output) == os.path.realpath(job.scan):
            raise InputError(f"{job.scan}: the label map would replace the scan; choose another --output")
        if job.output in taken:
            raise InputError(f"{job.scan} and {taken[job.output]} would both be written to {job.output}; "
                             "segment them one by one, or name links to them, which have names of their own")  # fmt: skip
        taken[job.output] = job.scan
    return result


def check_place(folder: Path) -> None:
    """Raise InputError now, not after the network's work, if label maps cannot be written into `folder`."""
    there = next(each for each in (folder, *Path(os.path.abspath(folder)).parents) if each.exists())
    if not there.is_dir():
        raise InputError(f"{there}: a file; expected a folder for label maps")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there}: nothing can be written there")


def check_pairs(ed: Iterable[Path], es: Iterable[Path]) -> None:
    """Warn of the first pair of ED and ES scan whose names, such as p1_ED and p2_ES, are of two patients."""
    for pair in zip(ed, es, strict=True):
        patients, phases = zip(*(nnunet.patient_and_phase(name_of(scan).removesuffix("_0000")) for scan in pair), strict=True)
        if all(phases) and patients[0] != patients[1]:
            text = f"{pair[0]} and {pair[1]}: given as ED and ES of one patient, but their names are of two"
            warnings.warn(f"{text}; are --ed and --es in the same order?", stacklevel=3)
            return


def name_of(scan: Path) -> str:
    """The name of a scan and of its label map, without suffix; for "." and ".." it is that of the folder, and for a file that is
    called as LASC calls all of its scans, that of the folder it lies in."""
    name = volume.stem(scan if scan.name not in ("", "..") else os.path.realpath(scan))
    alike = name == lasc.IMAGE and name != scan.name  # a file, which has a suffix
    return (Path(os.path.abspath(scan)).parent.name if alike else "") or name


def listed(scan: Path) -> Path:
    """A scan as tables list it: its name must not depend on the current folder."""
    return scan if name_of(scan) == volume.stem(scan) else Path(os.path.abspath(scan))


def scans_in(scan: Path, output: Path) -> list[Path]:
    """The scans that a path means: in a folder without DICOM files its image files, but not the references among them, nor an
    earlier `output`; any other path is one scan.

    Raises:
        InputError: a folder of image files with DICOM files below it.
    """
    files = [path for path in visible(scan, "*") if path.is_file()] if scan.is_dir() else []
    images = [path for path in files if path.name.lower().endswith(volume.SUFFIXES)]
    if not images or any(dicom.is_file(path) for path in files if path not in images):
        return [scan]
    others = [path for path in images if os.path.realpath(path) != os.path.realpath(output)]
    below = next((path for path in files_below(scan) if path.parent != scan and dicom.is_file(path)), None)
    if below and others:
        raise InputError(f"{scan}: holds {others[0].name} and, in {below.parent}, DICOM files; name the one that is the scan")
    if below:
        return [scan]
    return [path for path in others if not datasets.is_reference(path)] or others or images


def is_file_name(output: Path) -> bool:
    """Whether --output names one file and not a folder: a label map, or what cannot be written, such as seg.png."""
    name = output.name.lower()
    return name.endswith((*volume.SUFFIXES, dicom.SUFFIX)) or (name.endswith(OF_FILES) and not output.is_dir())


def is_dicom(output: Path) -> bool:
    """Whether a label map will be written as DICOM SEG."""
    return output.name.endswith(dicom.SUFFIX)
