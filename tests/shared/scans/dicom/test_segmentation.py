"""Label maps as DICOM SEG: the same voxels when highdicom reads them, references to the source, and no error by dciodvfy."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from shared import prediction_command
from shared.errors import InputError
from shared.scans import volume
from shared.scans.dicom import segmentation
from tests.shared.scans.dicom_files import cine_tags, write_stack
from tests.volumes import oblique

highdicom = pytest.importorskip("highdicom", reason="needs the extra dicom")
STRUCTURES = {3: "LV", 1: "RV", 2: "odd ones"}
PATIENT = {
    "t0010_0010": "Heart^A",
    "t0010_0020": "7",
    "t0010_0030": "19700101",
    "t0010_0040": "O",
    "t0008_0016": "1.2.840.10008.5.1.4.1.1.4",
    "t0008_0020": "20200101",
    "t0008_0030": "120000",
    "t0008_0050": "1",
    "t0020_0010": "5",
    "t0020_0052": "1.2.3.99",
}


def written(folder, frames=()):
    """A scan, and labels with each of the values 0 to 3 in each slice and frame."""
    scan = oblique((6, 5, 3, *frames), **({"frame_s": 0.0335} if frames else {}))
    write_stack(folder, scan, lambda z, t: {**(cine_tags(z, t) if frames else {}), **PATIENT, "t0008_0018": generate_uid()})
    labels = np.random.default_rng(0).integers(0, 4, scan.array.shape).astype(np.uint8)
    return volume.read(folder).with_array(labels)


def stored(path, name):
    """(SOP instance UID of an image -> mask (x, y)) of the segment of this name."""
    seg = highdicom.seg.segread(path)
    (number,) = seg.get_segment_numbers(segment_label=name)
    uids = [uid for *_, uid in seg.get_source_image_uids()]
    planes = seg.get_pixels_by_source_instance(uids, segment_numbers=[number], assert_missing_frames_are_empty=True)
    return {uid: plane[..., 0].T for uid, plane in zip(uids, planes, strict=True)}


def images(folder):
    """Every image of a folder, read by pydicom alone."""
    return [pydicom.dcmread(path) for path in sorted(Path(folder).iterdir())]


def place(scan, image):
    """The slice of an image, by its position."""
    positions = [(volume.RAS_FROM_LPS @ (scan.affine @ [0, 0, z, 1])[:3]).round(3).tolist() for z in range(scan.array.shape[2])]
    return positions.index(np.round(image.ImagePositionPatient, 3).tolist())


def test_every_structure_is_read_back_on_the_same_voxels(tmp_path):
    labels = written(tmp_path / "scan")
    (path,) = segmentation.write(labels.array, tmp_path / "scan", STRUCTURES, tmp_path / "seg.dcm")
    assert path == tmp_path / "seg.dcm"
    for value, name in STRUCTURES.items():
        found = stored(path, name)
        assert len(found) == 3
        for image in images(tmp_path / "scan"):
            np.testing.assert_array_equal(found[image.SOPInstanceUID], labels.array[:, :, place(labels, image)] == value)


def test_of_a_cine_every_frame_is_a_file_that_refers_to_the_series_of_each_slice(tmp_path):
    labels = written(tmp_path / "scan", (4,))
    paths = segmentation.write(labels.array, tmp_path / "scan", STRUCTURES, tmp_path / "seg.dcm")
    assert [path.name for path in paths] == [f"seg_0{n}.dcm" for n in (1, 2, 3, 4)]
    by_uid = {image.SOPInstanceUID: image for image in images(tmp_path / "scan")}
    times = sorted({image.TriggerTime for image in by_uid.values()})
    segs = [pydicom.dcmread(path) for path in paths]
    assert len({seg.SeriesInstanceUID for seg in segs}) == 1 and len({seg.SOPInstanceUID for seg in segs}) == 4
    for t, (path, seg) in enumerate(zip(paths, segs, strict=True)):
        assert {each.SeriesInstanceUID for each in seg.ReferencedSeriesSequence} == {"1.2.3.1", "1.2.3.2", "1.2.3.3"}
        for each in seg.ReferencedSeriesSequence:
            (instance,) = each.ReferencedInstanceSequence
            assert by_uid[instance.ReferencedSOPInstanceUID].SeriesInstanceUID == each.SeriesInstanceUID
        for uid, mask in stored(path, "LV").items():
            image = by_uid[uid]
            assert image.TriggerTime == times[t]
            np.testing.assert_array_equal(mask, labels.array[:, :, place(labels, image), t] == 3)


def test_values_of_one_name_are_one_segment_and_nothing_found_is_a_file_too(tmp_path):
    labels = written(tmp_path / "scan")
    (path,) = segmentation.write(labels.array, tmp_path / "scan", {1: "LV", 3: "LV"}, tmp_path / "seg.dcm")
    image = images(tmp_path / "scan")[0]
    np.testing.assert_array_equal(stored(path, "LV")[image.SOPInstanceUID], labels.array[:, :, place(labels, image)] % 2 == 1)
    (path,) = segmentation.write(0 * labels.array, tmp_path / "scan", {1: "LV"}, tmp_path / "none.dcm")
    assert not any(mask.any() for mask in stored(path, "LV").values())


def test_structures_have_the_codes_of_the_standard(tmp_path):
    known = {"LV": "LeftVentricle", "RV": "RightVentricle", "LA": "LeftAtrium", "RA": "RightAtrium", "AA": "AscendingAorta",
             "PA": "PulmonaryArtery"}  # fmt: skip
    for name, keyword in known.items():
        if hasattr(codes.SCT, keyword):
            assert segmentation.TYPES[name].value == getattr(codes.SCT, keyword).value, name
    labels = written(tmp_path / "scan")
    (path,) = segmentation.write(labels.array, tmp_path / "scan", STRUCTURES, tmp_path / "seg.dcm")
    found = [segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in pydicom.dcmread(path).SegmentSequence]
    assert found == ["Left ventricle", "Right ventricle", "Anatomical structure"]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("frames", [(), (2,)])
def test_the_validator_finds_no_error(tmp_path, frames):
    labels = written(tmp_path / "scan", frames)
    for path in segmentation.write(labels.array, tmp_path / "scan", {1: "RV", 2: "Myo", 3: "LV"}, tmp_path / "seg.dcm"):
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True).stderr
        assert "Segmentation" in said and "Error" not in said, said


class Segmenter:
    structures = {1: "RV", 3: "LV"}


def command(found, *words):
    options = prediction_command.parser("paper", "", "").parse_args(["--weights", "w", *map(str, words)])
    prediction_command.command(options, lambda _: Segmenter, lambda _, scan, path: scan.with_array(found))


def test_the_command_writes_one_for_a_dicom_scan_only(tmp_path, capsys):
    labels = written(tmp_path / "scan")
    command(labels.array, tmp_path / "scan", "-o", tmp_path / "out/seg.dcm")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seg.dcm", "seg_volumes.csv"]
    volume.write(labels, tmp_path / "a.nii.gz")
    with pytest.raises(SystemExit) as ended:
        command(labels.array, tmp_path / "a.nii.gz", "-o", tmp_path / "out/b.dcm")
    assert ended.value.code == 2 and "a.nii.gz: not DICOM" in capsys.readouterr().err
    assert not (tmp_path / "out/b.dcm").exists()


def test_an_enhanced_file_is_refused_in_one_line(tmp_path):
    labels = written(tmp_path / "scan")
    frame = segmentation.dicom.stack(tmp_path / "scan")[0][0][0]
    many = type(frame)(**{**vars(frame), "file": type(frame.file)(**{**vars(frame.file), "frames": 3})})
    with pytest.raises(InputError, match="Enhanced DICOM; .* another format"):
        segmentation.segmentation([many], 8.0, labels.array[:, :, :1], STRUCTURES, generate_uid(), 1)


def test_a_header_that_lacks_what_the_standard_asks_for_is_one_line(tmp_path):
    labels = written(tmp_path / "scan")
    for image in images(tmp_path / "scan"):
        del image.FrameOfReferenceUID
        image.save_as(image.filename)
    with pytest.raises(InputError, match=r"scan: its headers do not allow a DICOM SEG \(.*Frame Of Reference UID.*\); choose"):
        segmentation.write(labels.array, tmp_path / "scan", STRUCTURES, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize("name", segmentation.OFTEN_REMOVED)
def test_what_removing_a_patients_name_takes_away_stays_empty(tmp_path, name):
    labels = written(tmp_path / "scan")
    for image in images(tmp_path / "scan"):
        if name in image:
            delattr(image, name)
        image.save_as(image.filename)
    (path,) = segmentation.write(labels.array, tmp_path / "scan", STRUCTURES, tmp_path / "seg.dcm")
    assert not pydicom.dcmread(path).get(name)
