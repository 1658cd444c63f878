"""`find` for every data set: an unknown name and a missing folder are refused."""

import pytest

from tests.shared.datasets.files import refusal


def test_unknown_data_set(tmp_path):
    message = refusal("mnist", tmp_path, "mnist")
    assert all(name in message for name in ("acdc", "lasc", "mmwhs_ct", "mmwhs_mr", "mnms", "nnunet", "phantom", "stacom"))


@pytest.mark.parametrize("name", ["acdc", "lasc", "mmwhs_ct", "mmwhs_mr", "mnms", "nnunet", "stacom"])
def test_missing_root(tmp_path, name):
    assert "no such folder" in refusal(name, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "no such folder" in refusal(name, tmp_path / "file")
