"""`find` for every data set: an unknown name and a missing folder are refused."""

import numpy as np
import pytest

from shared.files import write_json
from tests.shared.datasets.files import refusal
from tests.volumes import write_labels


def test_unknown_data_set(tmp_path):
    message = refusal("mnist", tmp_path, "mnist")
    assert all(name in message for name in ("acdc", "lasc", "mmwhs_ct", "mmwhs_mr", "mnms", "nnunet", "phantom", "stacom"))


@pytest.mark.parametrize("name", ["acdc", "lasc", "mmwhs_ct", "mmwhs_mr", "mnms", "nnunet", "stacom"])
def test_missing_root(tmp_path, name):
    assert "no such folder" in refusal(name, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "no such folder" in refusal(name, tmp_path / "file")


def test_one_patient_under_two_names(tmp_path):
    """P2_ED and p2_ES would train and test one and the same heart."""
    for name in ("p1_ED", "P2_ED", "p2_ES"):
        write_labels(tmp_path / "imagesTr" / f"{name}_0000.nii.gz", np.ones((4, 4, 2), np.uint8))
        write_labels(tmp_path / "labelsTr" / f"{name}.nii.gz", np.ones((4, 4, 2), np.uint8))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "LV": 1}, "file_ending": ".nii.gz"})
    assert "P2_ED_0000.nii.gz and " in (said := refusal("nnunet", tmp_path)) and "is this one patient, under two names?" in said
