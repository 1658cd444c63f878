"""M&Ms: cines whose ED and ES frames are named in a table, with the diagnosis and the vendor."""

import numpy as np
import pytest

from shared import datasets
from shared.datasets import load_image, load_pair, mnms
from shared.errors import InputError
from tests.shared.datasets.files import refusal, write_nifti

HEADER = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"


def cine(*values):
    """(4, 3, 2, frames), one value per frame."""
    return np.stack([np.full((4, 3, 2), value, np.int16) for value in values], axis=-1)


def write_table(root, *lines, name=mnms.TABLE):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([HEADER, *lines, ""]))


def write_patient(root, code, place="Training/Labeled", labels=(0, 1, 0, 3)):
    """A cine whose grey values are 10 times the frame, and its reference with these values, frame by frame, unless it is None."""
    folder = root / place / code
    write_nifti(folder / f"{code}_sa.nii.gz", cine(0, 10, 20, 30))
    if labels is not None:
        write_nifti(folder / f"{code}_sa_gt.nii.gz", cine(*labels).astype(np.uint8))


def test_mnms(tmp_path):
    write_table(tmp_path, "0,B2,Philips,B,2,1,3,40,HCM,M,180,80", "1,A1,Siemens,A,1,3,1,50,NOR,F,160,60", "2,C3,GE,C,4,1,3,,,M,,")
    write_patient(tmp_path, "A1")
    write_patient(tmp_path, "B2", "Testing", labels=(0, 2, 0, 2))
    write_patient(tmp_path, "C3", "Training/Unlabeled", labels=None)
    cases = datasets.find("mnms", tmp_path)
    assert [(case.name, case.frame, case.group, case.vendor, case.label and case.label.name) for case in cases] == [
        ("A1_ED", 3, "NOR", "Siemens", "A1_sa_gt.nii.gz"), ("A1_ES", 1, "NOR", "Siemens", "A1_sa_gt.nii.gz"),
        ("B2_ED", 1, "HCM", "Philips", "B2_sa_gt.nii.gz"), ("B2_ES", 3, "HCM", "Philips", "B2_sa_gt.nii.gz"),
        ("C3_ED", 1, "unknown", "GE", None), ("C3_ES", 3, "unknown", "GE", None),
    ]  # fmt: skip
    assert [np.unique(load_image(case).array).tolist() for case in cases[:2]] == [[30], [10]]
    names = ("RV", "Myo", "LV")  # on disk 3, 2, 1
    assert [np.unique(load_pair(case, names)[1].array).tolist() for case in cases[:4]] == [[1], [3], [2], [2]]


def test_the_table_may_have_another_name_and_others_lie_beside_it(tmp_path):
    (tmp_path / "a.csv").write_text("my,own\n1,2\n")
    write_table(tmp_path, "0,A1,Siemens,A,1,3,1,50,NOR,F,160,60", name="info.csv")
    write_patient(tmp_path, "A1", "Validation")
    assert [case.name for case in datasets.find("mnms", tmp_path)] == ["A1_ED", "A1_ES"]


def test_patients_of_the_table_alone_and_of_the_folders_alone_are_counted(tmp_path):
    write_table(tmp_path, "0,A1,Siemens,A,1,3,1,50,NOR,F,160,60", "1,D4,Siemens,A,1,3,1,50,NOR,F,160,60")
    write_patient(tmp_path, "A1")
    write_patient(tmp_path, "E5")
    with pytest.warns(UserWarning, match="2 patients have a row in the table or a folder, but not both"):
        assert [case.patient for case in datasets.find("mnms", tmp_path)] == ["A1", "A1"]


@pytest.mark.parametrize(
    ("line", "places", "message"),
    [
        ("0,A1,Siemens,A,1,,1,50,NOR,F,160,60", ["Testing"], "the frame ED of A1 is nan; expected a whole number from 0"),
        ("0,A1,Siemens,A,1,1.5,1,50,NOR,F,160,60", ["Testing"], "the frame ED of A1 is 1.5"),
        ("0,A1,Siemens,A,1,-1,1,50,NOR,F,160,60", ["Testing"], "the frame ED of A1 is -1.0"),
        (
            "0,A1,Siemens,A,1,first,1,50,NOR,F,160,60",
            ["Testing"],
            "column ED: expected a number or nothing, found 'first'",
        ),
        ("0,B2,Siemens,A,1,3,1,50,NOR,F,160,60", ["Testing"], "no patient of 211230_M&Ms_Dataset_information"),
        ("0,A1,Siemens,A,1,3,1,50,NOR,F,160,60", ["Testing", "Validation"], "is the same patient; remove one of them"),
    ],
)
def test_data_that_cannot_be_used(tmp_path, line, places, message):
    write_table(tmp_path, line)
    for place in places:
        write_patient(tmp_path, "A1", place)
    assert message in refusal("mnms", tmp_path)


def test_no_table_no_scan_and_a_frame_beyond_the_last(tmp_path):
    tmp_path.joinpath("Testing").mkdir()
    assert "no table of M&Ms; expected" in refusal("mnms", tmp_path)
    write_table(tmp_path, "0,A1,Siemens,A,1,3,4,50,NOR,F,160,60")
    (tmp_path / "Testing" / "A1").mkdir()
    assert "A1: no scan; expected A1_sa.nii.gz in it" in refusal("mnms", tmp_path)
    write_patient(tmp_path, "A1", "Testing")
    last = datasets.find("mnms", tmp_path)[1]
    with pytest.raises(InputError, match=r"A1_sa.nii.gz: expected frame 4 \(from 0\), found 4 frames"):
        load_image(datasets.Case(**{**vars(last), "frame": 4}))


def test_codes_are_texts_and_each_is_there_once(tmp_path):
    write_table(tmp_path, "0,1001,Siemens,A,1,1,3,50,NOR,F,160,60", "1, 1002 ,Siemens,A,1,1,3,50,NOR,F,160,60")
    write_patient(tmp_path, "1001")
    write_patient(tmp_path, "1002")
    assert [case.name for case in datasets.find("mnms", tmp_path)] == ["1001_ED", "1001_ES", "1002_ED", "1002_ES"]
    write_table(tmp_path, *["0,1001,Siemens,A,1,1,3,50,NOR,F,160,60"] * 2)
    assert "two rows of patient 1001; remove one" in refusal("mnms", tmp_path)
    (tmp_path / mnms.TABLE).write_text(HEADER.replace(",", ";") + "\n")
    assert "with a column External code and commas between its cells" in refusal("mnms", tmp_path)


def test_a_frame_without_labels_and_a_reference_of_one_frame_are_refused(tmp_path):
    write_table(tmp_path, "0,A1,Siemens,A,1,2,1,50,NOR,F,160,60")
    write_patient(tmp_path, "A1")
    ed, es = datasets.find("mnms", tmp_path)
    with pytest.raises(InputError, match=r"A1_sa_gt.nii.gz: frame 2 \(from 0\) has no labels; correct the frame"):
        load_pair(ed, ("LV",))
    write_nifti(es.label, np.ones((4, 3, 2), np.uint8))
    with pytest.raises(InputError, match="expected a label map with all frames of the cine, found one frame"):
        load_pair(es, ("LV",))
