"""ACDC: every frame found by Info.cfg, whatever is missing said in one line."""

import nibabel
import numpy as np
import pytest

from shared import datasets
from shared.datasets import load_image, load_labels, splits
from shared.errors import InputError
from tests.shared.datasets.files import labels, real, refusal, write_nifti

INFO = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"


def patient(root, number, info=INFO, frames=(1, 12), suffix=".nii.gz"):
    folder = root / f"patient{number:03d}"
    for frame in frames:
        scan = np.full((4, 3, 2), 100 * number + frame, np.int16)
        write_nifti(folder / f"{folder.name}_frame{frame:02d}{suffix}", scan)
        write_nifti(folder / f"{folder.name}_frame{frame:02d}_gt{suffix}", labels(0, 1, 2, 3))
    folder.mkdir(parents=True, exist_ok=True)
    if info is not None:
        (folder / "Info.cfg").write_text(info, encoding="utf-8")
    return folder


@pytest.mark.parametrize("inside", ["", "training"])
def test_acdc(tmp_path, inside):
    root = tmp_path / inside
    patient(root, 2, INFO.replace("DCM", "NOR").replace("12", "9"), (1, 9))
    patient(root, 1)
    patient(root, 10, "ED: 4\r\nES: 11\r\nGroup: RV\r\n", (4, 11), ".nii")
    (root / "patient001" / "patient001_4d.nii.gz").write_bytes(b"the cine, which nobody reads")
    (root / "patient_list.txt").write_text("no folder")
    cases = datasets.find("acdc", tmp_path)
    assert [(case.patient, case.phase, case.group, case.name) for case in cases] == [
        ("patient001", "ED", "DCM", "patient001_ED"), ("patient001", "ES", "DCM", "patient001_ES"),
        ("patient002", "ED", "NOR", "patient002_ED"), ("patient002", "ES", "NOR", "patient002_ES"),
        ("patient010", "ED", "RV", "patient010_ED"), ("patient010", "ES", "RV", "patient010_ES"),
    ]  # fmt: skip
    assert [case.image.relative_to(root).as_posix() for case in cases[2:5]] == [
        "patient002/patient002_frame01.nii.gz", "patient002/patient002_frame09.nii.gz", "patient010/patient010_frame04.nii",
    ]  # fmt: skip
    assert [case.label.name for case in cases[:2]] == ["patient001_frame01_gt.nii.gz", "patient001_frame12_gt.nii.gz"]
    assert all(dict(case.structures) == {1: "RV", 2: "Myo", 3: "LV"} for case in cases)
    image = load_image(cases[3])
    assert (image.array == 209).all() and image.spacing_mm == (1.5, 1.5, 8.0)


def test_acdc_without_references(tmp_path):
    """The challenge's test patients."""
    folder = patient(tmp_path, 101)
    (folder / "patient101_frame12_gt.nii.gz").unlink()
    ed, es = datasets.find("acdc", tmp_path)
    assert ed.label is not None and es.label is None
    with pytest.raises(InputError, match="patient101_frame12.nii.gz: case patient101_ES has no reference"):
        load_labels(es, ("LV",))


def test_acdc_without_a_group(tmp_path):
    patient(tmp_path, 1, "ED: 1\nES: 12\n")
    assert {case.group for case in datasets.find("acdc", tmp_path)} == {""}


def test_acdc_empty_root(tmp_path):
    assert "Info.cfg" in refusal("acdc", tmp_path)
    (tmp_path / "training").mkdir()
    refusal("acdc", tmp_path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00broken"], ids=["missing", "binary"])
def test_acdc_info_unreadable(tmp_path, content):
    patient(tmp_path, 1)
    info = patient(tmp_path, 2, None) / "Info.cfg"
    if content is not None:
        info.write_bytes(content)
    assert "missing or unreadable" in refusal("acdc", tmp_path, info)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (INFO.replace("ED: 1\n", ""), "'ED: FRAME', found None"),
        (INFO.replace("ES: 12", "ES: twelve"), "'ES: FRAME', found 'twelve'"),
        (INFO.replace("ES: 12", "ES:"), "'ES: FRAME', found None"),
        ("", "'ED: FRAME', found None"),
        ("ED 1\nES 12\n", "'ED: FRAME', found None"),
        (INFO.replace("ED: 1", "ED: -1"), "'ED: FRAME', found '-1'"),
        (INFO.replace("ED: 1", "ED: 1_0"), "'ED: FRAME', found '1_0'"),
        (INFO.replace("ED: 1", "ED: \u0663"), "'ED: FRAME', found '\u0663'"),
        (INFO.replace("ED: 1", "ED: " + "9" * 5000), f"'ED: FRAME', found '{'9' * 40}'"),
    ],
)
def test_acdc_info_lacks_a_field(tmp_path, info, expected):
    folder = patient(tmp_path, 1, info)
    assert expected in refusal("acdc", tmp_path, folder / "Info.cfg")


def test_acdc_frame_file_missing(tmp_path):
    folder = patient(tmp_path, 1, frames=(1,))
    message = refusal("acdc", tmp_path, folder / "patient001_frame12.nii.gz")
    assert "missing" in message and "ES" in message


def depth(path):
    return nibabel.load(path).shape[2]


def test_real_acdc():
    cases = real("acdc")
    assert len(cases) == 200 and len({case.patient for case in cases}) == 100
    assert {(case.patient, case.phase) for case in cases} == {(f"patient{n:03d}", p) for n in range(1, 101) for p in ("ED", "ES")}
    groups = [case.group for case in cases if case.phase == "ED"]
    assert {group: groups.count(group) for group in groups} == dict.fromkeys(("DCM", "HCM", "MINF", "NOR", "RV"), 20)
    assert all(case.label is not None for case in cases)
    split = splits.by_number(cases, 5, 0)
    slices = {side: sum(depth(case.image) for case in split.of(cases, side)) for side in ("train", "validation")}
    assert slices == {"train": 1516, "validation": 386}
