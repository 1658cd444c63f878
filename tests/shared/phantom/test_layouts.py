"""Whole hearts as files in MM-WHS's layout; the other layouts are in `test_phantom`."""

import nibabel
import numpy as np
import pytest

from shared import datasets
from shared.errors import InputError
from shared.phantom import render_whole_heart, write_mmwhs
from shared.phantom.__main__ import main
from shared.scans.orientation import all_slices_last

NAMES = ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")
VALUES = (500, 205, 600, 420, 550, 820, 850)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Five patients of each modality, with large voxels."""
    return write_mmwhs(tmp_path_factory.mktemp("mmwhs") / "mmwhs", cases=5, seed=3, spacing_mm=4)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files(root):
    names = [f"{modality}_train_{number}_{kind}.nii.gz" for modality in ("ct", "mr") for number in range(1001, 1006)
             for kind in ("image", "label")]  # fmt: skip
    assert [path.name for path in sorted(root.glob("*/*"))] == names
    assert sorted(path.name for path in root.iterdir()) == ["ct_train", "mr_train", "phantom.json"]
    for path in root.glob("*/*"):
        file = nibabel.load(path)
        assert file.get_data_dtype() == (np.uint16 if "label" in path.name else np.int16)
        assert file.header["qform_code"] > 0 and file.header["sform_code"] > 0 and file.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(file.get_qform(), file.get_sform(), atol=1e-3)


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_what_is_read_is_what_was_drawn(root, modality):
    cases = datasets.find(f"mmwhs_{modality}", root)
    assert [case.name for case in cases] == [f"{modality}_train_{number}" for number in range(1001, 1006)]
    for number, case in enumerate(cases, start=1):
        image, classes = datasets.load_pair(case, NAMES)
        scan, labels = all_slices_last(*render_whole_heart(number, modality, 3, 4))
        np.testing.assert_array_equal(image.array, scan.array)
        np.testing.assert_array_equal(np.array([0, *VALUES])[classes.array], labels.array)
        np.testing.assert_allclose(classes.affine, labels.affine, atol=1e-3)


def test_one_label_map_has_a_stray_value(root):
    for path in root.glob("*/*_label.nii.gz"):
        values = set(np.unique(np.asarray(nibabel.load(path).dataobj)).tolist())
        assert values == {0, *VALUES} | ({421} if "1005" in path.name else set())


def test_equal_bytes(root, tmp_path):
    again = contents(write_mmwhs(tmp_path / "again", cases=1, seed=3, spacing_mm=4))
    again = {path: content for path, content in again.items() if path.name != "phantom.json"}
    assert len(again) == 4 and again.items() <= contents(root).items()


def test_a_complete_folder_is_left_and_another_one_refused(root, tmp_path):
    before = contents(root)
    assert write_mmwhs(root, cases=5, seed=3, spacing_mm=4) == root and contents(root) == before
    for more in ({"cases": 4}, {"spacing_mm": 3}, {"seed": 4}):
        with pytest.raises(InputError, match="holds something else"):
            write_mmwhs(root, **{"cases": 5, "seed": 3, "spacing_mm": 4, **more})
    for more, words in (({"cases": 0}, "cases of at least 1"), ({"spacing_mm": 9}, "voxels of 0.4 to 4 mm, found 9")):
        with pytest.raises(InputError, match=words):
            write_mmwhs(tmp_path / "none", **more)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path, capsys):
    out = tmp_path / "hearts"
    main(["mmwhs", str(out), "--patients", "1", "--spacing-mm", "4"])
    assert "ct_train_1001 (1 of 1)\nmr_train_1001 (1 of 1)" in capsys.readouterr().out
    new = str(tmp_path / "new")
    for arguments, words in (
        (["acdc", new, "--spacing-mm", "2"], "--spacing-mm goes with mmwhs only"),
        (["mmwhs", new, "--spacing-mm", "90"], "voxels of 0.4 to 4 mm, found 90"),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        printed = capsys.readouterr()
        assert end.value.code == 2 and printed.err.count("\n") == 1 and words in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["hearts"]
