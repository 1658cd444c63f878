"""The layout of nnU-Net: what dataset.json says, which case belongs to which patient, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from shared import datasets
from shared.datasets import IGNORED, load_image, load_labels
from shared.errors import InputError
from tests.shared.datasets.files import labels, refusal, write_nifti, write_nrrd

DESCRIPTION = {"labels": {"background": 0, "RV": 1, "Myo": 2, "LV": 3}, "file_ending": ".nii.gz", "numTraining": 4}


def nnunet(root, description=DESCRIPTION, names=("a",), ending=".nii.gz"):
    for name in names:
        write = write_nrrd if ending == ".nrrd" else write_nifti
        write(root / "imagesTr" / f"{name}_0000{ending}", np.full((4, 3, 2), 5, np.int16))
        write(root / "labelsTr" / f"{name}{ending}", labels(1, 2, 3))
    root.mkdir(exist_ok=True)
    if description is not None:
        (root / "dataset.json").write_text(description if isinstance(description, str) else json.dumps(description))
    return root / "dataset.json"


def test_nnunet(tmp_path):
    nnunet(tmp_path, names=("p2_ES", "p2_ED", "p10_frame03", "heart_a", "p3_es", "0001"))
    (tmp_path / "labelsTr" / "heart_a.nii.gz").unlink()
    write_nifti(tmp_path / "imagesTs" / "unseen_0000.nii.gz", labels())
    cases = datasets.find("nnunet", tmp_path)
    assert [(case.patient, case.phase) for case in cases] == [
        ("0001", ""), ("heart_a", ""), ("p10", "frame03"), ("p2", "ED"), ("p2", "ES"), ("p3", "ES"),
    ]  # fmt: skip
    assert [case.name for case in cases] == ["0001", "heart_a", "p10_frame03", "p2_ED", "p2_ES", "p3_ES"]
    assert [case.label and case.label.name for case in cases[:3]] == ["0001.nii.gz", None, "p10_frame03.nii.gz"]
    assert [case.image.name for case in cases[:2]] == ["0001_0000.nii.gz", "heart_a_0000.nii.gz"]
    assert all(dict(case.structures) == {1: "RV", 2: "Myo", 3: "LV"} and case.group == "" for case in cases)


def test_nnunet_names_as_somebody_typed_them(tmp_path):
    labels_ = {"Background": 0, "lv": 3, " MYO": 2, "Rv": 1, "Aorta": 4}
    nnunet(tmp_path, {"labels": labels_}, names=("a_Ed", "a_eS", "b_FRAME07"))
    cases = datasets.find("nnunet", tmp_path)
    assert [(case.patient, case.phase) for case in cases] == [("a", "ED"), ("a", "ES"), ("b", "frame07")]
    assert dict(cases[0].structures) == {3: "LV", 2: "Myo", 1: "RV", 4: "Aorta"}
    nnunet(tmp_path, names=("a_ED",))
    assert "is the same case a_ED as a_ED_0000.nii.gz" in refusal("nnunet", tmp_path, tmp_path / "imagesTr" / "a_Ed_0000.nii.gz")


def test_nnunet_beside_the_files_of_a_mac(tmp_path):
    nnunet(tmp_path, names=("a", "b"))
    for name in ("imagesTr/._a_0000.nii.gz", "imagesTr/._a_0001.nii.gz", "labelsTr/._a.nii.gz"):
        (tmp_path / name).write_bytes(b"Mac OS X")
    assert [case.patient for case in datasets.find("nnunet", tmp_path)] == ["a", "b"]


def test_nnunet_ignore_label(tmp_path):
    nnunet(tmp_path, {"labels": {**DESCRIPTION["labels"], "ignore": 4}})
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", labels(0, 1, 2, 3, 4))
    with pytest.warns(UserWarning, match=r"dataset.json: voxels labelled ignore \(4\) count neither in training nor in scores"):
        (case,) = datasets.find("nnunet", tmp_path)
    assert case.ignore == 4 and dict(case.structures) == {1: "RV", 2: "Myo", 3: "LV"}
    assert load_labels(case, ("LV", "RV")).array.reshape(-1)[:5].tolist() == [0, 2, 0, 1, IGNORED]
    assert datasets.load_reference(case, load_image(case)).array.reshape(-1)[:5].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"unknown label values \[4\]"):
        load_labels(replace(case, ignore=None), ("LV",))


def test_nnunet_labels_of_its_first_version_and_of_the_decathlon(tmp_path):
    nnunet(tmp_path, {"labels": {"0": "background", "1": "RV", "2": "Myo", "03": "lv", "4": "LV", "9": "ignore"}})
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", labels(0, 1, 2, 3, 4, 9))
    with pytest.warns(UserWarning, match=r"voxels labelled ignore \(9\)"):
        (case,) = datasets.find("nnunet", tmp_path)
    assert dict(case.structures) == {1: "RV", 2: "Myo", 3: "LV", 4: "LV"}
    assert load_labels(case, ("LV", "RV")).array.reshape(-1)[:6].tolist() == [0, 2, 0, 1, 1, IGNORED]


def test_nnunet_label_maps_without_an_image_are_said(tmp_path):
    nnunet(tmp_path, names=("a", "b"))
    (tmp_path / "imagesTr" / "b_0000.nii.gz").rename(tmp_path / "imagesTr" / "b.nii.gz")
    with pytest.warns(UserWarning, match="labelsTr: .* left out: 1, such as b.nii.gz, which needs imagesTr/b_0000.nii.gz"):
        (case,) = datasets.find("nnunet", tmp_path)
    assert case.name == "a"


def test_nnunet_region(tmp_path):
    path = nnunet(tmp_path, {"labels": {"background": 0, "whole": [1, 2], "LV": 1}})
    assert "'whole' among the labels is a region of several values" in refusal("nnunet", tmp_path, path)


@pytest.mark.parametrize("ending", [".nrrd", ".nii"])
def test_nnunet_of_another_file_ending(tmp_path, ending):
    nnunet(tmp_path, {**DESCRIPTION, "file_ending": ending}, ("b", "a"), ending)
    cases = datasets.find("nnunet", tmp_path)
    assert [case.patient for case in cases] == ["a", "b"]
    assert load_labels(cases[0], ("LV", "RV")).array.reshape(-1)[:4].tolist() == [2, 0, 1, 0]


def test_nnunet_without_description(tmp_path):
    path = nnunet(tmp_path, None)
    assert "missing" in refusal("nnunet", tmp_path, path)


@pytest.mark.parametrize("description", ["", "{", "[" * 100_000, '{"labels":' * 100_000, "9" * 5000])
def test_nnunet_description_that_is_no_json(tmp_path, description):
    path = nnunet(tmp_path, description)
    line = refusal("nnunet", tmp_path, path)
    assert "dataset.json: expected JSON in UTF-8" in line and len(line) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("ending", ["**", "", ".png", 3, ["a"], None, "\udcff", "/../x.nii", "x" * 5000])
def test_nnunet_ending_of_another_format(tmp_path, ending):
    path = nnunet(tmp_path, json.dumps({"labels": {"RV": 1}, "file_ending": ending}))
    line = refusal("nnunet", tmp_path, path)
    assert "dataset.json: expected a 'file_ending' of " in line and len(line) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "description",
    [
        "[1, 2]", '"labels"', "{}", '{"labels": null}', '{"labels": ["RV"]}', '{"labels": {}}',
        '{"labels": {"background": 0}}', '{"labels": {"whole": [1, 2]}}', '{"labels": {"0": "background"}}',
        '{"labels": {"RV": {}}}', '{"labels": {"lv": 0, "RV": 1}}', '{"labels": {"background": 0, "wall": 0, "RV": 1}}',
        '{"labels": {"RV": null}}', '{"labels": {" ": 1}}',
        '{"labels": {"RV": 1.5}}', '{"labels": {"RV": -1}}', '{"labels": {"RV": 1, "LV": 1}}',
    ],
)  # fmt: skip
def test_nnunet_description_without_labels(tmp_path, description):
    path = nnunet(tmp_path, description)
    assert "labels" in refusal("nnunet", tmp_path, path)


def test_nnunet_description_that_is_no_text(tmp_path):
    path = nnunet(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    refusal("nnunet", tmp_path, path)


def test_nnunet_without_images(tmp_path):
    nnunet(tmp_path, names=())
    assert "_0000.nii.gz" in refusal("nnunet", tmp_path, tmp_path / "imagesTr")
    nnunet(tmp_path, names=("a",), ending=".nii")  # not what dataset.json says
    refusal("nnunet", tmp_path, tmp_path / "imagesTr")


def test_nnunet_of_several_channels(tmp_path):
    nnunet(tmp_path, names=("a", "b"))
    write_nifti(tmp_path / "imagesTr" / "b_0001.nii.gz", labels())
    assert "several channels" in refusal("nnunet", tmp_path, tmp_path / "imagesTr")


def test_scans_without_a_reference_are_counted_and_left_out(tmp_path):
    nnunet(tmp_path, names=("a", "b", "c"))
    cases = datasets.find("nnunet", tmp_path)
    assert datasets.labelled(cases) == cases
    label = tmp_path / "labelsTr" / "b.nii.gz"
    label.unlink()
    label.symlink_to(tmp_path / "annex" / "not-fetched.nii.gz")
    cases = datasets.find("nnunet", tmp_path)
    with pytest.warns(
        UserWarning, match="1 of 3 scans have no reference label map, beginning with .*b_0000.nii.gz; they are left"
    ):
        assert datasets.labelled(cases) == [cases[0], cases[2]]
    with pytest.raises(InputError, match="none of the 1 scans has a reference label map, beginning with .*b_0000.nii.gz"):
        datasets.labelled(cases[1:2])
