"""What a DICOM file says about each of its frames: where and when it was taken, and what it shows.

A classic file holds one frame. An Enhanced file holds many; what differs between them is in functional groups (DICOM PS3.3
C.7.6.16). Each attribute is looked up in the frame's own groups first, then in those that all frames share, and last at the top
of the file, where classic files have it.
"""

import threading
import warnings
from collections.abc import Iterable, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from shared.errors import InputError
from shared.scans.dicom import pixels

STANDARD = "1.2.840.10008.5.1.4.1.1."
# spectroscopy, waveforms, presentation states, raw data and segmentations, real-world values, reports, documents, radiotherapy
KINDS_WITHOUT_IMAGES = ("4.2", "9.", "11.", "66", "67", "88.", "104.", "481.")
NOT_IMAGES = ("1.2.840.10008.1.3.10", *(STANDARD + kind for kind in KINDS_WITHOUT_IMAGES))  # DICOMDIR is the first
LOADED_BYTES = 2**20  # longer elements are loaded only when somebody asks for them

TRIGGER, INSTANCE = "trigger time (0018,1060)", "instance number (0020,0013)"
TIMES = {  # name of a kind of time -> the attributes that state it; the best comes first in both
    "temporal position (0020,9128)": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    TRIGGER: ("NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime", "TriggerTime"),
    "percentage of the cardiac phase (0020,9241)": ("NominalPercentageOfCardiacPhase",),
}
CLOCKS = ("TemporalPositionTimeOffset", "FrameAcquisitionDateTime", "FrameReferenceDateTime")
TIME_TAGS = {pydicom.tag.Tag(name) for names in (*TIMES.values(), CLOCKS) for name in names}  # dimensions that are times
KIND = ("PatientID", "Modality", "ComplexImageComponent", "ScanningSequence", "EchoNumbers")
LOADED = (
    *("SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "ImageType", *KIND, "TriggerTime", "TemporalPositionIdentifier"),
    *("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("SliceThickness", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "DimensionIndexSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)

_one_at_a_time = threading.Lock()  # because filters of warnings belong to the whole process


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice at one time.

    Attributes:
        file, index: the `pixels.File` that holds the frame, and the frame's number in it, from 0.
        trouble: why the frame cannot be part of a stack; empty where it can. Otherwise the numbers below mean nothing.
        kind: texts that all frames of one stack have in common: type of the image, patient, modality and so on.
        series: UID of the series, and the name of the stack in an Enhanced file.
        label: what people know the series by: its description, its folder and the type of its images.
        pixel_mm: distance between columns and between rows.
        slice_mm: distance between slices by the header; 0 where unknown.
        origin_mm: (3,), centre of the first pixel, LPS.
        direction: (3, 3), unit vectors along a row, along a column and across the slice in columns, LPS.
        times: kind of time (see `TIMES`) -> number, for those that the header has, the best first.
        rescale: slope and intercept that turn a stored pixel into a value.
    """

    file: pixels.File
    index: int
    trouble: str
    kind: tuple[str, ...]
    series: tuple[str, str]
    label: str
    pixel_mm: tuple[float, float]
    slice_mm: float
    origin_mm: np.ndarray
    direction: np.ndarray
    times: dict[str, float]
    rescale: tuple[float, float]

    @property
    def name(self) -> str:
        return self.file.name if self.file.frames == 1 else f"{self.file.name} frame {self.index + 1}"

    def affine(self, spacing_mm: Sequence[float]) -> np.ndarray:
        """(4, 4), voxel index -> RAS mm, of a stack that begins with this frame."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction * spacing_mm
        affine[:3, 3] = self.origin_mm
        affine[:2] *= -1  # DICOM's x and y grow to the left and the back, ours to the right and the front
        return affine


def read(path: Path, root: Path) -> list[Frame]:
    """The frames of a file below the folder `root`; an empty list where it is not a DICOM image.

    Raises:
        InputError: a broken or truncated image.
    """
    with open(path, "rb") as file:
        head = file.read(132)
    sure = head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".ima")
    if not sure and head[:2] not in (b"\x02\0", b"\x08\0"):  # files without preamble begin with an element of these groups
        return []
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of every detail that breaks the standard
            dataset = pydicom.dcmread(path, force=True, specific_tags=list(LOADED), defer_size=LOADED_BYTES)
            storage = str(dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or "")
            if storage.startswith(NOT_IMAGES) or (storage and not storage.startswith(STANDARD) and "PixelData" not in dataset):
                return []
            return _frames(dataset, pixels.describe(dataset, path, path.name if path == root else str(path.relative_to(root))))
    except Exception as error:  # pydicom raises many kinds
        if not sure:
            return []
        raise InputError(f"{path}: {pixels.BROKEN}") from error


def _frames(dataset: pydicom.Dataset, file: pixels.File) -> list[Frame]:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if groups and len(groups) != file.frames:
        raise ValueError("not one functional group per frame")
    shared = [item for group in dataset.get("SharedFunctionalGroupsSequence") or [] for item in _items(group)]
    pointers = [item.get("DimensionIndexPointer") for item in dataset.get("DimensionIndexSequence") or []]
    own = [_items(group) for group in groups] or [[]]
    return [_frame(file, index, [*items, *shared, dataset], pointers) for index, items in enumerate(own)]


def _items(group: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The first item of every sequence in a functional group; private sequences may use the same names for something else."""
    return [element.value[0] for element in group if element.VR == "SQ" and not element.tag.is_private and element.value]


def _frame(file: pixels.File, index: int, places: Sequence[pydicom.Dataset], pointers: Sequence) -> Frame:
    """A frame; each attribute is that of the first of the data sets `places` that has it."""
    pixel_mm = _numbers(places, "PixelSpacing")[::-1]  # the header has the distance between rows first
    slice_mm = _numbers(places, "SpacingBetweenSlices") or _numbers(places, "SliceThickness") or [0.0]
    origin_mm, direction = _numbers(places, "ImagePositionPatient"), _direction(_numbers(places, "ImageOrientationPatient"))
    slope, intercept = _numbers(places, "RescaleSlope") or [1.0], _numbers(places, "RescaleIntercept") or [0.0]
    image_type = _text(places, "FrameType") or _text(places, "ImageType")
    trouble = ""
    if file.samples != 1:
        trouble = f"expected one number per voxel, found {file.samples}"
    elif file.allocated not in (8, 16, 32):
        trouble = f"expected pixels of 8, 16 or 32 bits, found {file.allocated}"
    elif file.frames > 1 and "PerFrameFunctionalGroupsSequence" not in places[-1]:
        trouble = f"{file.frames} frames without a word on where each lies; export single slices or Enhanced DICOM"
    elif len(pixel_mm) != 2 or not min(pixel_mm) > 0:
        trouble = "no usable pixel spacing (0028,0030) in the header; export the file again"
    elif len(origin_mm) != 3 or direction is None:
        trouble = "no slice position (0020,0032) or orientation (0020,0037) in the header; export the file again"
    return Frame(
        file=file,
        index=index,
        trouble=trouble,
        kind=(image_type, *(_text(places, name) for name in KIND)),
        series=(_text(places, "SeriesInstanceUID"), _text(places, "StackID")),
        label=_label(_text(places, "SeriesDescription"), Path(file.name), image_type),
        pixel_mm=(pixel_mm[0], pixel_mm[1]) if len(pixel_mm) == 2 else (0.0, 0.0),
        slice_mm=abs(slice_mm[0]),
        origin_mm=np.array(origin_mm),
        direction=np.zeros((3, 3)) if direction is None else direction,
        times=_times(places, pointers),
        rescale=(slope[0] or 1.0, intercept[0]),
    )


def _label(description: str, name: Path, image_type: str) -> str:
    """Such as `cine_sax in Se4, M`; the file's own name where there is neither a description nor a sub-folder."""
    description, folder = " ".join(description.split())[:24], name.parent.name[:24]
    place = f"{description} in {folder}" if description and folder else description or folder or name.name
    return ", ".join([place, *image_type.split("\\")[2:3]])


def _direction(cosines: Sequence[float]) -> np.ndarray | None:
    """(3, 3), unit vectors along a row, along a column and across the slice in columns; None where the numbers make no sense."""
    if len(cosines) != 6:
        return None
    along, down = np.reshape(cosines, (2, 3))
    if not np.allclose([along @ along, down @ down, along @ down], [1, 1, 0], atol=0.01):
        return None
    along = along / np.linalg.norm(along)
    down = down - (down @ along) * along
    down = down / np.linalg.norm(down)
    return np.stack([along, down, np.cross(along, down)], axis=1)


def _times(places: Sequence[pydicom.Dataset], pointers: Sequence) -> dict[str, float]:
    """Kind of time -> number, the best first.

    Args:
        places: see `_frame`.
        pointers: tags of the file's dimensions; empty where it does not say what they are.
    """
    found = {what: [number for name in names for number in _numbers(places, name)[:1]] for what, names in TIMES.items()}
    indices = _numbers(places, "DimensionIndexValues")
    for place, index in enumerate(indices, 1):
        if not pointers or (len(pointers) == len(indices) and pointers[place - 1] in TIME_TAGS):
            found[f"dimension index {place} (0020,9157)"] = [index]
    found[INSTANCE] = _numbers(places, "InstanceNumber")
    return {what: numbers[0] for what, numbers in found.items() if numbers}


def _numbers(places: Iterable[pydicom.Dataset], name: str) -> list[float]:
    """The numbers of an attribute; an empty list where it is absent or holds something else."""
    value = _value(places, name)
    try:
        numbers = [float(part) for part in (value if isinstance(value, MutableSequence) else [value])]
    except (TypeError, ValueError):
        return []
    return numbers if np.isfinite(numbers).all() else []


def _text(places: Iterable[pydicom.Dataset], name: str) -> str:
    value = _value(places, name)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value)


def _value(places: Iterable[pydicom.Dataset], name: str) -> Any:
    """The value of an attribute; None where no place has it, or where it breaks the rules of its type."""
    for place in places:
        if name in place:
            try:
                return place[name].value
            except (ValueError, TypeError, OverflowError, NotImplementedError):
                return None
    return None
