"""LASC 2018: one folder per case, with the atrium labelled 255."""

import numpy as np
import pytest

from shared import datasets
from shared.datasets import load_image, load_labels
from tests.shared.datasets.files import labels, real, refusal, write_nrrd


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


def test_real_lasc():
    cases = real("lasc")
    assert len(cases) == len({case.patient for case in cases}) and all(case.label is not None for case in cases)
    assert load_labels(cases[0], ("LA",)).array.shape == load_image(cases[0]).array.shape
    assert load_image(cases[0]).spacing_mm == pytest.approx((0.625, 0.625, 0.625))
