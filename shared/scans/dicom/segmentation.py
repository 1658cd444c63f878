"""A label map as DICOM Segmentation (SEG), which refers to the images that it was made from, structures coded by SNOMED CT.

Of a cine every frame is a file of its own, all in one series: viewers and highdicom take one segment at one place once.
highdicom (extra `dicom`) makes the objects. It wants all images in one series, but scanners often store a short-axis cine as one
series per slice: the references to the series are therefore written here.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

from shared.errors import InputError
from shared.files import written_whole
from shared.lazy import library
from shared.scans import dicom
from shared.scans.dicom.headers import Frame

MAKER = "cardiac-segmentation-papers"
SCT = "SCT"  # SNOMED CT
TYPES = {  # structure -> its code
    "LV": Code("87878005", SCT, "Left ventricle"),
    "RV": Code("53085002", SCT, "Right ventricle"),
    "LA": Code("82471001", SCT, "Left atrium"),
    "RA": Code("73829009", SCT, "Right atrium"),
    "Myo": Code("74281007", SCT, "Myocardium"),
    "BV": Code("74281007", SCT, "Myocardium"),
    "AA": Code("54247002", SCT, "Ascending aorta"),
    "PA": Code("81040000", SCT, "Pulmonary artery"),
}
OFTEN_REMOVED = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",  # a SEG must have them, and may leave them empty
                 "AccessionNumber", "StudyID", "StudyDate", "StudyTime")  # fmt: skip
ANY = Code("91723000", SCT, "Anatomical structure")  # of a structure without a code here; its label has the name


def check(scan: Path) -> None:
    """Raise InputError unless segmentations of the scan can be made: it is DICOM, and highdicom is installed."""
    source, _ = dicom.split_number(scan)
    if not source.is_dir() and not dicom.is_file(source):
        raise InputError(f"{scan}: not DICOM, so that a DICOM SEG cannot refer to it; choose another format for --output")
    library("highdicom", "dicom")


def write(labels: np.ndarray, scan: Path, structures: Mapping[int, str], path: Path) -> list[Path]:
    """Write the label map of a DICOM scan as one SEG, or of a cine as one per frame, PATH_01.dcm and so on.

    Args:
        labels: (x, y, z) or (x, y, z, t), on the grid that `volume.read` gives for `scan`.
        scan: folder, `folder#2`, as it was read.
        structures: label value -> name; values of one name are one segment.
        path: of the file, `.dcm`.

    Returns:
        The files.

    Raises:
        InputError: see `check`; or the scan is an Enhanced file.
    """
    check(scan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what reading the scan warns of was said when it was segmented
        rows, slice_mm, _ = dicom.stack(*dicom.split_number(scan))
    frames = labels if labels.ndim == 4 else labels[..., None]
    series = uid(scan.name, *(frame.file.path.name for row in rows for frame in row), labels.tobytes())
    digits, paths = max(2, len(str(frames.shape[3]))), []
    for t in range(frames.shape[3]):
        own = path if frames.shape[3] == 1 else path.with_name(f"{path.stem}_{t + 1:0{digits}}.dcm")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of highdicom and pydicom, about the scan's own header
            try:
                seg = segmentation([row[t] for row in rows], slice_mm, frames[..., t], structures, series, t + 1)
            except (AttributeError, KeyError, TypeError, ValueError) as error:  # as highdicom tells what a header lacks
                problem = str(error).splitlines()[0]
                raise InputError(f"{scan}: its headers do not allow a DICOM SEG ({problem}); choose another format") from error
        with written_whole(own) as temporary:
            seg.save_as(temporary)
        paths.append(own)
    return paths


def segmentation(
    images: Sequence[Frame], slice_mm: float, labels: np.ndarray, structures: Mapping[int, str], series: UID, number: int
) -> pydicom.Dataset:
    """The SEG of labels (x, y, z) over the images of their slices, `slice_mm` apart, as number `number` of a series."""
    highdicom = library("highdicom", "dicom")
    if any(image.file.frames > 1 for image in images):
        raise InputError(f"{images[0].file.path}: Enhanced DICOM; a DICOM SEG can be written over single images only, so choose "
                         "another format for --output")  # fmt: skip
    sources = [pydicom.dcmread(image.file.path, stop_before_pixels=True) for image in images]
    of_image = {source.SOPInstanceUID: source.SeriesInstanceUID for source in sources}
    for source in sources:
        source.SeriesInstanceUID = sources[0].SeriesInstanceUID  # one series, as highdicom wants it; put right below
        for name in OFTEN_REMOVED:
            source.setdefault(name, "")
        source.SliceThickness = source.get("SliceThickness") or slice_mm
    names = list(dict.fromkeys(structures.values()))
    segments = np.zeros(labels.shape, np.uint8)
    for value, name in structures.items():
        segments[labels == value] = names.index(name) + 1
    algorithm = highdicom.AlgorithmIdentificationSequence(MAKER, codes.DCM.ArtificialIntelligence, "1")
    seg = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.moveaxis(segments, 2, 0).swapaxes(1, 2),  # (z, rows, columns)
        segmentation_type="BINARY",
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=n,
                segment_label=name,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=TYPES.get(name, ANY),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
            )
            for n, name in enumerate(names, start=1)
        ],
        series_instance_uid=series,
        series_number=1000,
        sop_instance_uid=uid(series, number),
        instance_number=number,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions="1",
        device_serial_number="1",
        series_description="Segmentation",
    )
    seg.ReferencedSeriesSequence = by_series(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence, of_image)
    return seg


def by_series(instances: Sequence[pydicom.Dataset], of_image: Mapping[UID, UID]) -> list[pydicom.Dataset]:
    """References to images, grouped by their own series."""
    groups: dict[UID, list[pydicom.Dataset]] = {}
    for instance in instances:
        groups.setdefault(of_image[instance.ReferencedSOPInstanceUID], []).append(instance)
    return [item(SeriesInstanceUID=series, ReferencedInstanceSequence=own) for series, own in groups.items()]


def item(**elements: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def uid(*contents: object) -> UID:
    """The same UID for the same contents."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content if isinstance(content, bytes) else str(content).encode() + b"\0")
    return generate_uid(entropy_srcs=[digest.hexdigest()])
