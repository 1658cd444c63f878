"""The command that scores folders and files of label maps: what is matched, what is refused, what is said."""

import dataclasses
import unicodedata

import numpy as np
import pytest

from shared import evaluation, files
from shared.scans import volume
from shared.scans.volume import from_array
from shared.scoring.scores import RULE
from tests.volumes import line, write_labels


def scored(tmp_path, structures="acdc"):
    evaluation.main(
        [str(tmp_path / "ours"), str(tmp_path / "theirs"), "--structures", structures, "-o", str(tmp_path / "out" / "cases.csv")]
    )
    return files.read_csv(tmp_path / "out" / "cases.csv")


def refusal(capsys, tmp_path, structures="acdc"):
    """The one line of a command that ends with status 2 and writes nothing."""
    with pytest.raises(SystemExit) as raised:
        scored(tmp_path, structures)
    assert raised.value.code == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n") and out == ""
    assert not (tmp_path / "out").exists()
    return err


@pytest.mark.filterwarnings("default")
def test_folders(tmp_path, capsys):
    write_labels(tmp_path / "theirs" / "patient001_ED.nii.gz", line(1, 2, 3, 3))
    write_labels(tmp_path / "theirs" / "patient001_ES.nii.gz", line(1, 2, 2, 3))
    write_labels(tmp_path / "ours" / "patient001_ED.nii.gz", line(1, 2, 3, 3))
    write_labels(tmp_path / "ours" / "deeper" / "patient001_ES.nrrd", line(1, 2, 3, 3))
    write_labels(tmp_path / "ours" / "not_asked_for.nii.gz", line(1, 2, 3))
    rows = scored(tmp_path)
    assert [(row["case"], row["patient"], row["phase"], row["structure"]) for row in rows] == [
        (f"patient001_{phase}", "patient001", phase, structure) for phase in ("ED", "ES") for structure in ("RV", "Myo", "LV")
    ]
    assert [row["dice"] for row in rows] == pytest.approx([1, 1, 1, 1, 2 / 3, 2 / 3])
    printed, said = capsys.readouterr()
    assert said.endswith("predictions without a reference are not scored: 1, such as not_asked_for\n")
    assert "| LV | ES | 1 | 0.667 (0.000)" in printed and "| LV | all | 2 | 0.833 (0.167)" in printed
    assert RULE in printed


def test_acdc_names(tmp_path, capsys):
    """`NAME_gt` answers to NAME, and the scan beside it is not a label map."""
    folder = tmp_path / "theirs" / "patient001"
    write_labels(folder / "patient001_frame01.nii.gz", line(90, 80, 70, 60))
    write_labels(folder / "patient001_frame01_gt.nii.gz", line(1, 2, 3, 3))
    write_labels(tmp_path / "ours" / "patient001_frame01.nii.gz", line(1, 2, 3, 0))
    assert [(row["case"], row["dice"]) for row in scored(tmp_path)] == [
        ("patient001_frame01", pytest.approx(dice)) for dice in (1, 1, 2 / 3)
    ]


def test_acdc_folder_with_its_cines(tmp_path, capsys):
    """The challenge's own folders hold patientNNN_4d.nii.gz too, which has no reference."""
    folder = tmp_path / "theirs" / "patient001"
    write_labels(folder / "patient001_4d.nii.gz", np.ones((4, 1, 1, 3), np.uint8))
    write_labels(folder / "patient001_frame01.nii.gz", line(90, 80, 70, 60))
    write_labels(folder / "patient001_frame01_gt.nii.gz", line(1, 2, 3, 3))
    write_labels(tmp_path / "ours" / "patient001_frame01.nii.gz", line(1, 2, 3, 3))
    assert len(scored(tmp_path)) == 3


def test_only_a_phase_is_cut_off_a_patients_name(tmp_path, capsys):
    for side in ("ours", "theirs"):
        for name in ("heart_a", "heart_b", "heart_b_ED"):
            write_labels(tmp_path / side / f"{name}.nii.gz", line(1, 2, 3))
    names = {(row["case"], row["patient"], row["phase"]) for row in scored(tmp_path)}
    assert names == {("heart_a", "heart_a", ""), ("heart_b", "heart_b", ""), ("heart_b_ED", "heart_b", "ED")}


def test_structures_by_value_and_name(tmp_path, capsys):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "x.nii.gz", line(0, 7, 255, 1, 2, 3))
    rows = scored(tmp_path, "7=aorta, 255= left atrium,3=lv,1=rV, 2 = Myo")
    assert [row["structure"] for row in rows] == ["aorta", "left atrium", "LV", "RV", "Myo"]


def test_values_that_a_named_set_does_not_know_are_refused(tmp_path, capsys):
    """An 8-bit export: no voxel has a value of ACDC's, and Dice would be 1."""
    for side, values in (("ours", (0, 1, 2, 3)), ("theirs", (0, 85, 170, 255))):
        write_labels(tmp_path / side / "x.nii.gz", line(*values))
    message = refusal(capsys, tmp_path)
    assert "theirs/x.nii.gz: unknown label values [85, 170, 255]; expected 0 background, 1 RV, 2 Myo, 3 LV" in message
    write_labels(tmp_path / "theirs" / "x.nii.gz", line(0, 1, 2, 3))
    write_labels(tmp_path / "ours" / "x.nii.gz", line(0, 1, 2, 4))
    assert "ours/x.nii.gz: unknown label values [4]" in refusal(capsys, tmp_path)
    write_labels(tmp_path / "ours" / "x.nii.gz", np.arange(40, dtype=np.uint8).reshape(-1, 1, 1))
    assert "[4, 5, 6, 7, 8, ...] (36 of them)" in refusal(capsys, tmp_path)
    write_labels(tmp_path / "ours" / "x.nii.gz", np.arange(200, dtype=np.uint8).reshape(-1, 1, 1))
    assert "200 different values: this is a scan; expected its label map" in refusal(capsys, tmp_path)


@pytest.mark.filterwarnings("default")
def test_values_that_a_list_does_not_name_count_as_background_and_are_said(tmp_path, capsys):
    for name in ("a", "b"):
        write_labels(tmp_path / "ours" / f"{name}.nii.gz", line(0, 3, 3, 0))
        write_labels(tmp_path / "theirs" / f"{name}.nii.gz", line(1, 3, 2, 0))
    assert [row["dice"] for row in scored(tmp_path, "3=LV")] == [pytest.approx(2 / 3)] * 2
    assert "warning: label values 1, 2 in 2 files count as background" in capsys.readouterr().err


def test_no_reference_with_any_of_the_structures_is_refused(tmp_path, capsys):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "x.nii.gz", line(0, 1, 3))
    message = refusal(capsys, tmp_path, "500=LV,600=RV")
    assert "theirs: no reference has any of the structures asked for (500 LV, 600 RV); found the label values 0, 1, 3" in message


@pytest.mark.filterwarnings("default")
def test_a_structure_that_no_reference_has_is_said(tmp_path, capsys):
    for side, values in (("ours", (1, 2, 3)), ("theirs", (0, 2, 3))):
        write_labels(tmp_path / side / "x.nii.gz", line(*values))
    assert [row["dice"] for row in scored(tmp_path)] == [0, 1, 1]
    assert "theirs: no reference has RV" in capsys.readouterr().err


def test_ignored_voxels_of_the_reference_do_not_count(tmp_path, capsys):
    write_labels(tmp_path / "theirs" / "x.nii.gz", line(1, 1, 9, 9, 0))
    write_labels(tmp_path / "ours" / "x.nii.gz", line(1, 0, 1, 0, 1))
    (found,) = scored(tmp_path, "1=LV,9=ignore")  # of three voxels that count: 1 of 2 against 2 of 3
    assert found["dice"] == 2 * 1 / (2 + 2) and found["volume_ml"] == 0.02 and found["reference_ml"] == 0.02


@pytest.mark.filterwarnings("default")
def test_two_values_of_one_structure_both_count(tmp_path, capsys):
    """MM-WHS has 420 and 421 for one structure."""
    write_labels(tmp_path / "theirs" / "x.nii.gz", line(1, 2, 2, 3).astype(np.uint16) + 419)
    write_labels(tmp_path / "ours" / "x.nii.gz", line(1, 1, 2, 0).astype(np.uint16) + 419)
    (found,) = scored(tmp_path, "420=LA,421=la")
    assert (found["structure"], found["dice"], found["reference_ml"]) == ("LA", 1, 0.03)
    assert "label values 420, 421 are one structure, LA" in capsys.readouterr().err


def test_two_files(tmp_path, capsys):
    write_labels(tmp_path / "net.nrrd", line(1, 2, 3, 3))
    write_labels(tmp_path / "p7_es_gt.nii.gz", line(1, 2, 3, 0))
    evaluation.main([str(tmp_path / "net.nrrd"), str(tmp_path / "p7_es_gt.nii.gz"), "--structures", "acdc",
                     "-o", str(tmp_path / "cases.csv")])  # fmt: skip
    rows = files.read_csv(tmp_path / "cases.csv")
    assert [(row["case"], row["patient"], row["phase"]) for row in rows] == [("p7_es", "p7", "ES")] * 3
    assert [row["dice"] for row in rows] == [1, 1, pytest.approx(2 / 3)]
    with pytest.raises(SystemExit):
        evaluation.main([str(tmp_path), str(tmp_path / "p7_es_gt.nii.gz"), "--structures", "acdc"])
    assert "expected two folders or two files" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_lascs_own_layout(tmp_path, capsys, suffix):
    for case, values in (("A1", (0, 255, 255)), ("B2", (255, 255, 0))):
        folder = tmp_path / "theirs" / "Training Set" / case
        write_labels(folder / "laendo.nrrd", line(*values))
        write_labels(folder / "lgemri.nrrd", line(9, 8, 7))
        write_labels(tmp_path / "ours" / f"{case}{suffix}", line(0, 255, 255))
        write_labels(tmp_path / "same" / case / "laendo.nrrd", line(0, 255, 255))
    for predictions in ("ours", "same"):
        rows = evaluation.score_folders(tmp_path / predictions, tmp_path / "theirs", evaluation.values_of("lasc"))
        assert [(row["case"], row["structure"], row["dice"]) for row in rows] == [("A1", "LA", 1), ("B2", "LA", 0.5)]


@pytest.mark.parametrize("end", ["", "_image", "_label"])
def test_mmwhss_own_layout(tmp_path, end):
    """Scans lie beside the references; 421 is the left atrium, and any other unknown value is background."""
    values = np.array([500, 205, 600, 420, 421, 550, 820, 850, 0, 7], np.uint16).reshape(-1, 1, 1)
    for name in ("ct_train_1001", "ct_train_1002"):
        write_labels(tmp_path / "theirs" / f"{name}_label.nii.gz", values)
        write_labels(tmp_path / "theirs" / f"{name}_image.nii.gz", line(9))
        write_labels(tmp_path / "ours" / f"{name}{end}.nii.gz", np.where(values == 421, 420, values) * (values != 850))
    with pytest.warns(UserWarning, match="label values 7 in 4 files count as background"):
        rows = evaluation.score_folders(tmp_path / "ours", tmp_path / "theirs", evaluation.values_of("mmwhs"))
    assert [(row["case"], row["structure"]) for row in rows[:7]] == [
        ("ct_train_1001", name) for name in ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")
    ]  # fmt: skip
    assert [row["dice"] for row in rows] == [1, 1, 1, 1, 1, 1, 0] * 2
    assert rows[3]["reference_ml"] == 0.02  # two voxels of 10 mm3


@pytest.mark.filterwarnings("default")
def test_a_prediction_named_after_its_scan_in_nnunets_layout(tmp_path, capsys):
    for name in ("p1", "p2_0000", "p3"):
        write_labels(tmp_path / "theirs" / f"{name}.nii.gz", line(1, 2, 3))
    for name, values in (("p1_0000", (1, 2, 3)), ("p2_0000", (1, 2, 0)), ("p3_0000", (0, 0, 0)), ("p3", (1, 2, 3))):
        write_labels(tmp_path / "ours" / f"{name}.nii.gz", line(*values))
    lv = {row["case"]: row["dice"] for row in scored(tmp_path) if row["structure"] == "LV"}
    assert lv == {"p1": 1, "p2_0000": 0, "p3": 1}  # the very same name goes before


def test_hidden_files_are_no_label_maps(tmp_path, capsys):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "x.nii.gz", line(1, 2, 3))
        write_labels(tmp_path / side / ".trash" / "x.nii.gz", line(1, 2, 3))
        (tmp_path / side / "._x.nii.gz").write_bytes(b"Mac OS X")
    assert len(scored(tmp_path)) == 3


@pytest.mark.filterwarnings("default")
def test_voxel_size_of_the_header_counts(tmp_path, capsys):
    """Where the affine forgets the spacing, as in some of ACDC's own files: volumes stay right, and one line says so."""
    for side in ("ours", "theirs"):
        for name in ("a", "b"):
            scan = from_array(line(1, 2, 3, 3), (1.5, 1.5, 10.0))
            volume.write(dataclasses.replace(scan, affine=np.eye(4)), tmp_path / side / f"{name}.nii.gz")
    assert [row["reference_ml"] for row in scored(tmp_path)] == pytest.approx([0.0225, 0.0225, 0.045] * 2)
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 3 and warned[2].endswith("(more of this kind are not shown)")
    assert all(line.startswith("warning: ") and ".nii.gz" in line and "1.5 x 1.5 x 10 mm" in line for line in warned)


def test_reference_without_prediction(tmp_path, capsys):
    for name in ("a", "b", "c"):
        write_labels(tmp_path / "theirs" / f"{name}.nii.gz", line(1, 2, 3))
    write_labels(tmp_path / "ours" / "b.nii.gz", line(1, 2, 3))
    message = refusal(capsys, tmp_path)
    assert "no prediction for 2 of 3 references" in message and "first a" in message and "ours" in message


def test_linked_folders_are_entered(tmp_path):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "a.nii.gz", line(1, 2, 3))
        write_labels(tmp_path / "store" / side / "b.nii.gz", line(1, 2, 3))
        (tmp_path / side / "more").symlink_to(tmp_path / "store" / side)
    assert [row["case"] for row in scored(tmp_path)] == ["a"] * 3 + ["b"] * 3


@pytest.mark.filterwarnings("default")
def test_files_that_are_taken_for_scans_are_said(tmp_path, capsys):
    """Where one reference is called p3_gt, those called p1 and p2 look like scans."""
    for name in ("p1", "p2", "p3", "p3_sa"):
        write_labels(tmp_path / "theirs" / f"{name}{'_gt' * (name == 'p3')}.nii.gz", line(1, 2, 3))
    for name in ("p1", "p2", "p3"):
        write_labels(tmp_path / "ours" / f"{name}.nii.gz", line(1, 2, 3))
    assert [row["case"] for row in scored(tmp_path)] == ["p3"] * 3
    said = capsys.readouterr().err
    assert "theirs: taken for scans without references, and left out: 2 files such as p1.nii.gz, since others" in said


def test_an_umlaut_of_a_mac(tmp_path):
    for side, form in (("ours", "NFD"), ("theirs", "NFC")):
        write_labels(tmp_path / side / unicodedata.normalize(form, "Müller.nii.gz"), line(1, 2, 3))
    assert [row["dice"] for row in scored(tmp_path)] == [1, 1, 1]
    decomposed = unicodedata.normalize("NFD", "Müller")
    assert list(evaluation.of_cases(tmp_path / "theirs", {decomposed: (decomposed,)})) == [decomposed]


def test_scores_do_not_replace_a_label_map(tmp_path, capsys):
    for side in ("p", "r"):
        write_labels(tmp_path / side / "a.nii.gz", np.full((4, 3, 2), 3, np.uint8))
    before = (tmp_path / "r" / "a.nii.gz").read_bytes()
    for output in (tmp_path / "r" / "a.nii.gz", tmp_path / "r", tmp_path / "cases.xlsx"):
        with pytest.raises(SystemExit) as ended:
            evaluation.main([str(tmp_path / "p"), str(tmp_path / "r"), "--structures", "3=LV", "-o", str(output)])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and f"{output}: expected the name of a table" in error and len(error.splitlines()) == 1
    assert (tmp_path / "r" / "a.nii.gz").read_bytes() == before


@pytest.mark.filterwarnings("default")
def test_predictions_without_a_reference_are_counted(tmp_path, capsys):
    labels = np.full((4, 3, 2), 3, np.uint8)
    for name in ("p/a.nii.gz", "p/b_0000.nii.gz", "p/c.nii.gz", "p/d.nii.gz", "r/a.nii.gz", "r/b.nii.gz"):
        write_labels(tmp_path / name, labels)
    evaluation.main([str(tmp_path / "p"), str(tmp_path / "r"), "--structures", "3=LV", "-o", str(tmp_path / "cases.csv")])
    assert "predictions without a reference are not scored: 2, such as c\n" in capsys.readouterr().err
    assert [row["case"] for row in files.read_csv(tmp_path / "cases.csv")] == ["a", "b"]


def test_two_files_of_one_name(tmp_path, capsys):
    """One prediction must not be scored against several references; LASC calls every one of them laendo.nrrd."""
    for case in ("case1", "case2"):
        write_labels(tmp_path / "theirs" / case / "x.nrrd", line(0, 255, 255))
    write_labels(tmp_path / "ours" / "x.nrrd", line(0, 255, 0))
    assert "case2/x.nrrd: has the same name as" in refusal(capsys, tmp_path, "lasc")
    for case in ("case1", "case2"):
        (tmp_path / "theirs" / case / "x.nrrd").unlink()
    (tmp_path / "ours" / "x.nrrd").unlink()
    for case in ("case1", "case2"):
        write_labels(tmp_path / "theirs" / case / "laendo.nrrd", line(0, 255, 255))
    write_labels(tmp_path / "ours" / "laendo.nrrd", line(0, 255, 0))
    assert "no prediction for 2 of 2 references, first case1" in refusal(capsys, tmp_path, "lasc")


def test_two_predictions_of_one_name(tmp_path, capsys):
    write_labels(tmp_path / "theirs" / "x.nii.gz", line(0, 255, 255))
    for run in ("run1", "run2"):
        write_labels(tmp_path / "ours" / run / "x.nii.gz", line(0, 255, 0))
    assert "x.nii.gz" in refusal(capsys, tmp_path, "lasc")


def test_grid_mismatch(tmp_path, capsys):
    write_labels(tmp_path / "theirs" / "patient9.nii.gz", line(1, 2, 3))
    write_labels(tmp_path / "ours" / "patient9.nii.gz", line(1, 2, 3, 0))
    message = refusal(capsys, tmp_path)
    assert "patient9" in message and "(4, 1, 1)" in message and "(3, 1, 1)" in message


def test_probabilities_in_place_of_labels(tmp_path, capsys):
    write_labels(tmp_path / "theirs" / "x.nii.gz", line(1, 2, 3))
    write_labels(tmp_path / "ours" / "x.nii.gz", np.array([0.2, 0.9, 1], np.float32).reshape(3, 1, 1))
    assert "x.nii.gz" in refusal(capsys, tmp_path)


@pytest.mark.parametrize("structures", [
    "mm-whs", "1:LV", "one=LV", "", "1=LV,2", "1=LV=RV", "1=LV,1=RV", "0=LV", "+1=LV", "1=", "1= ", "65536=LV", "acdc,4=ignore",
    "99999=LV", ",", "1=LV,", "1.5=LV", "\udcff", "\u0661=LV", "1" * 5000 + "=LV", "4=ignore", "1=LV,2=ignore,3=Ignore",
    "0=background", "70000=LV", "1=LV,-1=RV",
])  # fmt: skip
def test_unknown_structures(tmp_path, capsys, structures):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "x.nii.gz", line(1, 2, 3))
    message = refusal(capsys, tmp_path, structures)
    assert "acdc, lasc, mmwhs, mnms, or VALUE=NAME" in message and "with different values from 1 to 65535" in message


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_no_folder_and_no_label_maps(tmp_path, capsys, side):
    for other in {"ours", "theirs"} - {side}:
        write_labels(tmp_path / other / "x.nii.gz", line(1, 2, 3))
    assert f"{side}: no such folder" in refusal(capsys, tmp_path)
    (tmp_path / side).mkdir()
    (tmp_path / side / "notes.txt").write_text("nothing here")
    assert f"{side}: no label maps (.nii, .nii.gz" in refusal(capsys, tmp_path)
