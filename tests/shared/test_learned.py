"""What a run learned from: patients left out of its scores, and warnings about scans that it may have seen."""

import json
import warnings
from pathlib import Path

import pytest

from shared import learned
from shared.datasets import Case
from shared.errors import InputError
from shared.files import fingerprint, write_json


def case_of(patient):
    return Case(patient=patient, phase="", image=Path(patient), label=Path(patient), group="", structures={1: "LV"})


def test_patients_that_a_run_learned_from_are_left_out(tmp_path):
    cases = [case_of(name) for name in "abcde"]
    record = {"dataset": "acdc", "split": {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    kept, fact = learned.unseen(cases, "acdc", tmp_path)
    assert [case.patient for case in kept] == ["d", "e"] and "3 patients of its training are left out" in fact
    assert learned.unseen(cases, "acdc", tmp_path / "best.weights.h5")[0] == kept
    kept, fact = learned.unseen(cases, "mnms", tmp_path)
    assert kept == cases and "another data set (acdc)" in fact
    record["split"]["validation"] = record["split"]["test"] = ["c", "d"]  # Baumgartner: the test patients select
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert [case.patient for case in learned.unseen(cases, "acdc", tmp_path)[0]] == ["c", "d", "e"]
    with pytest.raises(InputError, match="nobody is left to score it on"):
        learned.unseen(cases[:2], "acdc", tmp_path)


def test_scans_of_anybody_are_the_same_only_if_their_files_are(tmp_path, monkeypatch):
    """nnU-Net's layout says nothing about whose scans they are: a patient may have the name of another."""
    cases = [case_of(name) for name in "ab"]
    record = {"dataset": "nnunet", "data": fingerprint("one", "two"), "split": {"train": ["a"], "validation": [], "test": ["b"]}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr(learned.provenance, "fingerprints", lambda cases: {"a": "one", "b": "two"})
    assert [case.patient for case in learned.unseen(cases, "nnunet", tmp_path)[0]] == ["b"]
    monkeypatch.setattr(learned.provenance, "fingerprints", lambda cases: {"a": "one", "b": "three"})
    assert learned.unseen(cases, "nnunet", tmp_path)[0] == cases


def said(weights, *scans):
    """The warnings about these scans."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        learned.warn(weights, map(Path, scans))
    return [str(each.message) for each in given]


def test_weights_from_phantoms_are_said(tmp_path):
    for dataset, count in (("phantom", 1), ("acdc", 0)):
        write_json(tmp_path / "run.json", {"dataset": dataset})
        for weights in (tmp_path, tmp_path / "best.weights.h5"):
            given = said(weights, "scan.nii.gz")
            assert len(given) == count and all("learned from phantoms alone" in text for text in given)
    assert said(tmp_path / "elsewhere/checkpoint", "scan.nii.gz") == []


def test_scans_called_like_a_patient_of_training_are_said(tmp_path):
    split = {"train": ["patient001", "ct_train_1001"], "validation": ["patient005", "patient009"], "test": ["patient009"]}
    write_json(tmp_path / "run.json", {"dataset": "acdc", "split": split})
    seen = ["a/patient001_frame01.nii.gz", "b/patient005/lgemri.nrrd", "ct_train_1001_image.nii.gz", "patient001"]
    seen += ["patient001-ED.nii.gz", "a/patient001#2"]
    given = said(tmp_path, *seen)
    assert [text.split(": ")[0] for text in given] == seen
    assert [text.split("called ")[1].split(";")[0] for text in given] == [
        "patient001",
        "patient005",
        "ct_train_1001",
        *["patient001"] * 3,
    ]
    assert said(tmp_path, "patient009_frame01.nii.gz", "patient0011_ed.nii.gz", "patient001/more/scan.nii.gz", "001.nii.gz") == []


@pytest.mark.parametrize(
    "split", [["patient001"], {"train": ["patient001"]}, {"train": [1], "validation": [], "test": []}, "all"]
)
def test_a_broken_split_is_refused_and_not_taken_for_an_empty_one(tmp_path, split):
    write_json(tmp_path / "run.json", {"dataset": "acdc", "split": split})
    for use in (lambda: learned.unseen([case_of("a")], "acdc", tmp_path), lambda: learned.warn(tmp_path, [Path("a.nii")])):
        with pytest.raises(InputError, match="run.json: split: expected lists of patients called train, validation and test"):
            use()


def test_nobody_is_scored_by_a_run_that_does_not_tell_its_split(tmp_path):
    write_json(tmp_path / "run.json", {"dataset": "acdc"})
    with pytest.raises(InputError, match="run.json: split: .* found no such field"):
        learned.unseen([case_of("a")], "acdc", tmp_path)
