"""Data sets in the layouts they are downloaded in: every case found, every label named, whatever is missing said in one line."""

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from shared import datasets
from shared.datasets import (
    IGNORED,
    Case,
    load_image,
    load_labels,
    load_pair,
    load_reference,
    pair_of,
    splits,
    values_of,
    values_to_write,
)
from shared.errors import InputError

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])
INFO = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"


def write_nifti(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(array), AFFINE), path)
    return path


def write_nrrd(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(array).T))
    image.SetSpacing((0.625, 0.625, 0.625))
    sitk.WriteImage(image, str(path))
    return path


def labels(*values):
    """(4, 3, 2), the given values first."""
    array = np.zeros((4, 3, 2), np.uint8)
    array.reshape(-1)[: len(values)] = values
    return array


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


def refusal(name, root, mentions=None):
    """The message of the InputError that finding the cases raises: one line that names the file, and no warning before it."""
    with warnings.catch_warnings(), pytest.raises(InputError) as raised:
        warnings.simplefilter("error")
        datasets.find(name, root)
    message = str(raised.value)
    assert "\n" not in message
    assert str(mentions or root) in message
    return message


# ACDC -----------------------------------------------------------------------------------------------------------------------


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


# LASC -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "Training Set"])
def test_lasc(tmp_path, inside):
    for name in ("B7", "A3", "C1"):
        write_nrrd(tmp_path / inside / name / "lgemri.nrrd", np.full((4, 3, 2), 7, np.uint8))
        if name != "C1":
            write_nrrd(tmp_path / inside / name / "laendo.nrrd", labels(0, 255, 255))
    (tmp_path / inside / "notes").mkdir()
    cases = datasets.find("lasc", tmp_path)
    assert [(case.patient, case.phase, case.group, case.name) for case in cases] == [(n, "", "", n) for n in ("A3", "B7", "C1")]
    assert [case.label and case.label.relative_to(tmp_path / inside).as_posix() for case in cases] == [
        "A3/laendo.nrrd", "B7/laendo.nrrd", None,
    ]  # fmt: skip
    assert dict(cases[0].structures) == {255: "LA"}
    assert load_image(cases[0]).spacing_mm == (0.625, 0.625, 0.625)
    found = load_labels(cases[1], ("LA",)).array
    assert found.dtype == np.uint8 and found.reshape(-1)[:4].tolist() == [0, 1, 1, 0]


def test_lasc_beside_the_files_of_a_mac(tmp_path):
    write_nrrd(tmp_path / "A3" / "lgemri.nrrd", labels(7))
    for name in ("A3/._lgemri.nrrd", "A3/._laendo.nrrd", "._B7/lgemri.nrrd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"Mac OS X")
    assert [case.name for case in datasets.find("lasc", tmp_path)] == ["A3"]


def test_lasc_empty_root(tmp_path):
    (tmp_path / "Training Set" / "A3").mkdir(parents=True)
    write_nrrd(tmp_path / "Training Set" / "A3" / "laendo.nrrd", labels(255))
    assert "lgemri.nrrd" in refusal("lasc", tmp_path)


# STACOM ---------------------------------------------------------------------------------------------------------------------


def cine(*values):
    """(4, 3, 2, frames), one value per frame."""
    return np.stack([np.full((4, 3, 2), value, np.int16) for value in values], axis=-1)


def write_dicom(folder, array, first_ms=0.0):
    """(x, y, z, t) as a DICOM folder, 33 ms between frames; the file names run against time."""
    folder.mkdir(parents=True)
    frames = array.shape[3]
    for z, t in np.ndindex(array.shape[2:]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, z, t].T[None]))
        image.SetSpacing((1.5, 1.5, 8.0))
        image.SetOrigin((0, 0, 8.0 * z))
        for tag, value in {"0008|0060": "MR", "0018|1060": first_ms + 33 * t, "0020|0013": z + 1}.items():
            image.SetMetaData(tag, str(value))
        sitk.WriteImage(image, str(folder / f"{frames - t:02}_{z}.dcm"))


def test_stacom(tmp_path):
    write_nifti(tmp_path / "v10" / "cine_sax.nii.gz", cine(5, 6, 7))
    write_nifti(tmp_path / "v10" / "mask_ed.nii.gz", labels(0, 1, 1))
    write_nifti(tmp_path / "v2" / "cine_sax.nii", cine(8)[..., 0])
    write_nrrd(tmp_path / "v4" / "cine_sax.nrrd", cine(9)[..., 0])
    write_nrrd(tmp_path / "v4" / "mask_ed.nrrd", labels(1))
    for other in ("v2_old", "phantom", "v", "v03"):
        (tmp_path / other).mkdir()
    (tmp_path / "v1").write_text("the archive, not yet unpacked")
    cases = datasets.find("stacom", tmp_path)
    assert [(case.patient, case.phase, case.group, case.name, case.frame) for case in cases] == [
        ("v2", "ED", "", "v2_ED", 0), ("v4", "ED", "", "v4_ED", 0), ("v10", "ED", "", "v10_ED", 0),
    ]  # fmt: skip
    assert [case.image.relative_to(tmp_path).as_posix() for case in cases] == [
        "v2/cine_sax.nii", "v4/cine_sax.nrrd", "v10/cine_sax.nii.gz",
    ]  # fmt: skip
    assert [case.label and case.label.name for case in cases] == [None, "mask_ed.nrrd", "mask_ed.nii.gz"]
    assert all(dict(case.structures) == {1: "BV"} for case in cases)
    assert [np.unique(load_image(case).array).tolist() for case in cases] == [[8], [9], [5]]
    image, found = load_pair(cases[2], ("BV",))
    assert image.array.shape == (4, 3, 2) and image.spacing_mm == (1.5, 1.5, 8.0) and image.frame_s == 0
    assert found.array.reshape(-1)[:4].tolist() == [0, 1, 1, 0]
    with pytest.raises(InputError, match="cine_sax.nii: case v2_ED has no reference"):
        load_pair(cases[0], ("BV",))


def test_stacom_as_published(tmp_path):
    """One DICOM folder per instant; instants after the first are not read."""
    for instant, value in ((1, 3), (2, 4), (10, 5)):
        write_dicom(tmp_path / "v1" / "cSAX" / f"time_{instant}", cine(value))
    (case,) = datasets.find("stacom", tmp_path)
    assert case.image == tmp_path / "v1" / "cSAX" / "time_1"
    assert load_image(case).array.shape == (4, 3, 2) and (load_image(case).array == 3).all()
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(7, 8))  # what somebody made of them, and drew the mask on
    (case,) = datasets.find("stacom", tmp_path)
    assert (load_image(case).array == 7).all()


def test_stacom_cine_as_one_dicom_folder(tmp_path):
    write_dicom(tmp_path / "v16" / "cine_sax", cine(11, 12, 13), first_ms=20.0)
    (case,) = datasets.find("stacom", tmp_path)
    image = load_image(case)
    assert (image.array == 11).all() and image.spacing_mm == (1.5, 1.5, 8.0)


def test_stacom_empty_root(tmp_path):
    (tmp_path / "patient001").mkdir()
    assert "no STACOM volunteers" in refusal("stacom", tmp_path)


def test_stacom_volunteer_without_a_scan(tmp_path):
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(1, 2))
    write_nifti(tmp_path / "v4" / "mask_ed.nii.gz", labels(1))
    message = refusal("stacom", tmp_path, tmp_path / "v4")
    assert "cine_sax.nii.gz" in message and "cSAX/time_1" in message


def test_stacom_mask_that_does_not_fit(tmp_path):
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(1, 2))
    mask = write_nifti(tmp_path / "v1" / "mask_ed.nii.gz", labels(1)[..., :1])
    (case,) = datasets.find("stacom", tmp_path)
    with pytest.raises(InputError, match=r"mask_ed.nii.gz: shape \(4, 3, 1\) differs from \(4, 3, 2\) of .*cine_sax.nii.gz"):
        load_pair(case, ("BV",))
    write_nifti(mask, labels(255))
    with pytest.raises(InputError, match=r"mask_ed.nii.gz: unknown label values \[255\]; expected 0 background, 1 BV"):
        load_pair(case, ("BV",))


# nnU-Net --------------------------------------------------------------------------------------------------------------------

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
        '{"labels": {"RV": {}}}',
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


# All of them ----------------------------------------------------------------------------------------------------------------


def test_unknown_data_set(tmp_path):
    message = refusal("mnist", tmp_path, "mnist")
    assert all(name in message for name in ("acdc", "lasc", "nnunet", "phantom", "stacom"))


@pytest.mark.parametrize("name", ["acdc", "lasc", "nnunet", "stacom"])
def test_missing_root(tmp_path, name):
    assert "no such folder" in refusal(name, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "no such folder" in refusal(name, tmp_path / "file")


def one_case(tmp_path, array, structures=None):
    image = write_nifti(tmp_path / "scan.nii", np.ones((4, 3, 2), np.int16))
    label = write_nifti(tmp_path / "labels.nii", array)
    return Case(patient="p", phase="", image=image, label=label, group="", structures=structures or {1: "RV", 2: "Myo", 3: "LV"})


def test_labels_become_class_indices(tmp_path):
    case = one_case(tmp_path, labels(0, 1, 2, 3, 3))
    for wanted, expected in (
        (("RV", "Myo", "LV"), [0, 1, 2, 3, 3]),
        (("LV", "RV", "Myo"), [0, 2, 3, 1, 1]),
        (("LV",), [0, 0, 0, 1, 1]),  # the others are background
        (("myo", "lv"), [0, 0, 1, 2, 2]),
    ):
        found = load_labels(case, wanted)
        assert found.array.dtype == np.uint8 and found.array.reshape(-1)[:5].tolist() == expected
        assert found.spacing_mm == (1.5, 1.5, 8.0)
        np.testing.assert_array_equal(found.affine, AFFINE)


def test_large_label_values(tmp_path):
    """MM-WHS counts from 205 to 850."""
    case = one_case(tmp_path, labels().astype(np.int16) + np.int16(420), {205: "Myo", 420: "LA", 850: "PA"})
    assert (load_labels(case, ("Myo", "LA")).array == 2).all()


def test_reference_may_lack_a_structure(tmp_path):
    assert load_labels(one_case(tmp_path, labels(0, 3)), ("RV", "LV")).array.max() == 2
    assert not load_labels(one_case(tmp_path, labels()), ("RV", "LV")).array.any()


@pytest.mark.parametrize(("value", "shown"), [(4, "[4]"), (255, "[255]")])
def test_unknown_label_values(tmp_path, value, shown):
    with pytest.raises(InputError) as raised:
        load_labels(one_case(tmp_path, labels(1, value)), ("RV",))
    message = str(raised.value)
    assert "labels.nii" in message and f"unknown label values {shown}" in message and "\n" not in message
    assert "1 RV, 2 Myo, 3 LV" in message


def test_values_of_structures():
    assert values_of({1: "RV", 2: "Myo", 3: "LV"}, ("lv", "MYO")) == {3: 1, 2: 2}
    assert values_of({255: "LA"}, ("LA",)) == {255: 1}
    with pytest.raises(InputError, match="no label for LA, aorta: the data set has RV, Myo, LV"):
        values_of({1: "RV", 2: "Myo", 3: "LV"}, ("LA", "rv", "aorta"))


def test_two_values_of_one_structure(tmp_path):
    """MM-WHS labels one structure 420 in most files and 421 in some."""
    on_disk = {500: "LV", 420: "LA", 421: "LA", 205: "Myo"}
    assert values_of(on_disk, ("Myo", "la")) == {205: 1, 420: 2, 421: 2}
    assert values_to_write(on_disk, ("Myo", "la")) == {205: "Myo", 420: "LA"}
    assert list(values_to_write(on_disk, ("la", "LV"))) == [420, 500]  # the order of the classes
    case = one_case(tmp_path, np.array([0, 205, 420, 421, 500, 0] * 4, np.int16).reshape(4, 3, 2), on_disk)
    assert load_labels(case, ("LA", "Myo")).array.reshape(-1)[:5].tolist() == [0, 2, 1, 1, 0]
    assert datasets.load_reference(case, load_image(case)).array.reshape(-1)[:5].tolist() == [0, 205, 420, 420, 500]


def test_a_cine_is_neither_a_case_nor_a_reference(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    write_nifti(case.image, np.ones((4, 3, 2, 5), np.int16))
    with pytest.raises(InputError, match="scan.nii: expected one 3D frame, found a cine of 5 frames"):
        load_image(case)
    write_nifti(case.label, np.ones((4, 3, 2, 5), np.uint8))
    with pytest.raises(InputError, match="labels.nii"):
        load_labels(case, ("RV",))


def test_a_case_may_be_a_frame_of_a_cine(tmp_path):
    case = replace(one_case(tmp_path, labels(1, 2, 3)), frame=2)
    write_nifti(case.image, np.stack([np.full((4, 3, 2), value, np.int16) for value in (10, 11, 12, 13)], axis=-1))
    image, found = load_pair(case, ("LV",))
    assert image.array.shape == (4, 3, 2) and (image.array == 12).all() and found.array.max() == 1
    with pytest.raises(InputError, match=r"scan.nii: expected frame 4 \(from 0\), found 4 frames"):
        load_image(replace(case, frame=4))
    write_nifti(case.image, np.ones((4, 3, 2), np.int16))
    assert load_image(replace(case, frame=0)).array.shape == (4, 3, 2)
    with pytest.raises(InputError, match=r"scan.nii: expected frame 1 \(from 0\), found 1 frames"):
        load_image(replace(case, frame=1))


def test_scan_and_reference_of_one_grid(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    image, found = load_pair(case, ("LV",))
    assert (image.array == 1).all() and found.array.reshape(-1)[:4].tolist() == [0, 0, 1, 0]
    write_nifti(case.label, labels(1, 2, 3)[:, :2])
    with pytest.raises(InputError, match=r"labels.nii: shape \(4, 2, 2\) differs from \(4, 3, 2\) of .*scan.nii"):
        load_pair(case, ("LV",))
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3), np.diag([1.5, 1.5, 9.0, 1.0])), case.label)
    with pytest.raises(InputError, match="labels.nii: voxel size .* differs"):
        load_pair(case, ("LV",))


def test_a_mirrored_label_is_brought_onto_the_scan_and_one_elsewhere_is_refused(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    affine = nibabel.load(case.label).affine
    _, straight = load_pair(case, ("RV", "Myo", "LV"))
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = 3, 2
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3)[::-1, ::-1], affine @ turn), case.label)
    np.testing.assert_array_equal(load_pair(case, ("RV", "Myo", "LV"))[1].array, straight.array)
    np.testing.assert_array_equal(load_reference(case, load_image(case)).array, labels(1, 2, 3))
    affine[0, 3] += 60
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3), affine), case.label)
    for load in (lambda: load_pair(case, ("LV",)), lambda: load_reference(case, load_image(case))):
        with pytest.raises(InputError, match="labels.nii: lies elsewhere than .*scan.nii: voxel .* at .* mm, expected .* mm"):
            load()


@pytest.mark.parametrize(
    ("on_disk", "ignore", "found", "wanted", "expected"),
    [
        ({255: "LA"}, None, [0, 255, 255, 0], ("LA",), [0, 1, 1, 0]),
        ({205: "Myo", 420: "LA", 421: "LA", 500: "LV"}, None, [0, 205, 421, 420, 500], ("la", "Myo"), [0, 2, 1, 1, 0]),
        ({1: "RV", 2: "Myo", 3: "LV"}, 4, [0, 1, 2, 3, 4], ("LV", "RV"), [0, 2, 0, 1, IGNORED]),
        ({1: "LV"}, 255, [1, 255], ("LV",), [1, IGNORED]),
    ],
    ids=["255 as in LASC", "several values of one name", "ignore", "ignore as 255"],
)
def test_a_pair_follows_from_what_was_read_for_scoring(tmp_path, on_disk, ignore, found, wanted, expected):
    case = replace(one_case(tmp_path, labels().astype(np.int16), on_disk), ignore=ignore)
    array = labels().astype(np.int16)
    array.reshape(-1)[: len(found)] = found
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = 3, 2
    nibabel.save(nibabel.Nifti1Image(array[::-1, ::-1], AFFINE @ turn), case.label)
    scan = load_image(case)
    reference = load_reference(case, scan)
    loaded = load_pair(case, wanted)
    for path in (case.image, case.label):
        path.unlink()
    image, classes = pair_of(case, scan, reference, wanted)
    assert classes.array.dtype == np.uint8 and classes.array.reshape(-1)[: len(found)].tolist() == expected
    for before, after in zip(loaded, (image, classes), strict=True):
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_array_equal(after.affine, before.affine)
        assert after.spacing_mm == before.spacing_mm == (1.5, 1.5, 8.0)
    with pytest.raises(InputError, match="no label for RA: the data set has"):
        pair_of(case, scan, reference, ("RA",))


def test_a_scan_with_its_slices_first_is_learnt_as_one_with_its_slices_last(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    ordered = load_pair(case, ("RV", "Myo", "LV"))
    for path in (case.image, case.label):
        image = nibabel.load(path)
        array = np.moveaxis(np.array(image.dataobj), 2, 0)  # a copy: the file is written again
        nibabel.save(nibabel.Nifti1Image(array, image.affine[:, [2, 0, 1, 3]]), path)
    assert load_image(case).array.shape == (2, 4, 3)
    for before, after in zip(ordered, load_pair(case, ("RV", "Myo", "LV")), strict=True):
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_allclose(after.affine, before.affine)


# The challenges' own files, where somebody has them -------------------------------------------------------------------------


def real(name):
    root = Path(os.environ.get("CARDIAC_DATA", "")) / name
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip(f"no {name} data: the environment variable CARDIAC_DATA names the folder that holds {name}/")
    return datasets.find(name, root)


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


def test_real_lasc():
    cases = real("lasc")
    assert len(cases) == len({case.patient for case in cases}) and all(case.label is not None for case in cases)
    assert load_labels(cases[0], ("LA",)).array.shape == load_image(cases[0]).array.shape
    assert load_image(cases[0]).spacing_mm == pytest.approx((0.625, 0.625, 0.625))
