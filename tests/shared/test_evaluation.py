"""Label maps -> rows -> tables: scores, statistics and clinical numbers by hand, folders and files through the commands."""

import csv
import dataclasses
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import evaluation, files, prediction_command, progress
from shared.datasets import acdc
from shared.errors import InputError
from shared.prediction_command import Job
from shared.scans import orientation, volume
from shared.scans.volume import from_array
from shared.scoring import statistics, tables

NAN = float("nan")
ACDC = {1: "RV", 2: "Myo", 3: "LV"}


def line(*values):
    """A row of voxels (n, 1, 1)."""
    return np.array(values, np.uint8).reshape(-1, 1, 1)


def write_labels(path, array, spacing_mm=(1.0, 1.0, 10.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume.write(from_array(array, spacing_mm), path)
    return path


# One case -------------------------------------------------------------------------------------------------------------------


def test_score_by_hand():
    predicted = from_array(line(1, 1, 0, 0, 2, 0, 0), (2.0, 5.0, 10.0))  # 0.1 ml a voxel
    reference = from_array(line(1, 0, 0, 0, 2, 2, 2), (2.0, 5.0, 10.0))
    rows = evaluation.score(predicted, reference, ACDC, {"case": "a_ED", "phase": "ED"})
    columns = [
        "case",
        "phase",
        "structure",
        "dice",
        "jaccard",
        "sensitivity",
        "hausdorff_mm",
        "assd_mm",
        "asd_mm",
        "hausdorff_voxels",
        "hausdorff_slice_mm",
        "volume_ml",
        "reference_ml",
    ]
    assert [list(row) for row in rows] == [columns] * 3
    rv, myo, lv = ([row[c] for c in columns[2:]] for row in rows)
    assert rv == ["RV", *map(pytest.approx, (2 / 3, 1 / 2, 1, 2, (1 + 0) / 2, 2 / 3, 1, 2, 0.2, 0.1))]
    assert myo == ["Myo", *map(pytest.approx, (2 / 4, 1 / 3, 1 / 3, 4, (0 + 2) / 2, 6 / 4, 2, 4, 0.1, 0.3))]
    assert lv[:3] == ["LV", 1, 1] and math.isnan(lv[3]) and lv[4:] == [0] * 7  # in neither: perfect agreement
    assert all(row["case"] == "a_ED" and row["phase"] == "ED" for row in rows)


@pytest.mark.parametrize(("spacing_mm", "hd_mm", "slicewise_mm"), [((2, 2, 2), 6, 2), ((0.5, 1, 2), 6, 1)])
def test_hausdorff_in_three_ways(spacing_mm, hd_mm, slicewise_mm):
    """One voxel against itself moved by one along y, and one three slices above, where the reference has nothing."""
    predicted, reference = np.zeros((3, 3, 5), np.uint8), np.zeros((3, 3, 5), np.uint8)
    reference[1, 1, 0] = predicted[1, 2, 0] = predicted[1, 1, 3] = 1
    (row,) = evaluation.score(from_array(predicted, spacing_mm), from_array(reference, spacing_mm), {1: "LA"}, {"case": "a"})
    assert (row["hausdorff_mm"], row["hausdorff_voxels"], row["hausdorff_slice_mm"]) == (hd_mm, 3, slicewise_mm)


def test_one_empty_mask_is_undefined_not_zero():
    rows = evaluation.score(from_array(line(1, 0)), from_array(line(1, 3)), {1: "RV", 3: "LV"}, {"case": "a"})
    distances = ("hausdorff_mm", "assd_mm", "asd_mm", "hausdorff_voxels", "hausdorff_slice_mm")
    assert rows[1]["dice"] == 0 and all(math.isnan(rows[1][measure]) for measure in distances)
    assert statistics.summary(row["assd_mm"] for row in rows) == statistics.Summary(0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    "reference",
    [from_array(np.ones((4, 4, 3))), from_array(np.ones((4, 4, 2)), (1, 1, 8)), from_array(np.ones((4, 4, 2, 2)))],
    ids=["slices", "spacing", "frames"],
)
def test_another_grid_is_refused(reference):
    predicted = from_array(np.ones((4, 4, 2)))
    for pair in ((predicted, reference), (reference, predicted)):
        with pytest.raises(InputError) as raised:
            evaluation.score(*pair, {1: "LA"}, {"case": "patient7"})
        assert "patient7" in str(raised.value) and "\n" not in str(raised.value)


# The command ----------------------------------------------------------------------------------------------------------------


def test_the_order_of_axes_changes_no_score():
    """Slice-wise distances are those of the slices, wherever their axis stands, in either file."""
    random = np.random.default_rng(0)
    reference, predicted = (from_array(random.integers(0, 4, (7, 6, 4)), (1.5, 1.5, 10.0)) for _ in range(2))
    rows = evaluation.score(predicted, reference, acdc.STRUCTURES, {"case": "a"})
    for axes in ((2, 0, 1), (1, 0, 2), (2, 1, 0)):
        turned = orientation.transpose(reference, axes)
        for each in (predicted, orientation.transpose(predicted, axes)):
            found = evaluation.score(each, turned, acdc.STRUCTURES, {"case": "a"})
            assert found == [pytest.approx(row) for row in rows]


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
    assert evaluation.RULE in printed


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
    write_labels(tmp_path / "ours" / "x.nii.gz", np.arange(200, dtype=np.uint8).reshape(-1, 1, 1))
    assert "[4, 5, 6, 7, 8, ...] (196 of them)" in refusal(capsys, tmp_path)


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


def test_scores_do_not_replace_a_label_map(tmp_path, capsys):
    for side in ("p", "r"):
        write_labels(tmp_path / side / "a.nii.gz", np.full((4, 3, 2), 3, np.uint8))
    before = (tmp_path / "r" / "a.nii.gz").read_bytes()
    for output in (tmp_path / "r" / "a.nii.gz", tmp_path / "r"):
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
    "mmwhs", "1:LV", "one=LV", "", "1=LV,2", "1=LV=RV", "1=LV,1=RV", "0=LV", "+1=LV", "1=", "1= ", "65536=LV", "acdc,4=ignore",
    "99999=LV", ",", "1=LV,", "1.5=LV", "\udcff", "\u0661=LV", "1" * 5000 + "=LV", "4=ignore", "1=LV,2=ignore,3=Ignore",
    "0=background", "70000=LV", "1=LV,-1=RV",
])  # fmt: skip
def test_unknown_structures(tmp_path, capsys, structures):
    for side in ("ours", "theirs"):
        write_labels(tmp_path / side / "x.nii.gz", line(1, 2, 3))
    message = refusal(capsys, tmp_path, structures)
    assert "acdc, lasc, or VALUE=NAME" in message and "with different values from 1 to 65535" in message


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_no_folder_and_no_label_maps(tmp_path, capsys, side):
    for other in {"ours", "theirs"} - {side}:
        write_labels(tmp_path / other / "x.nii.gz", line(1, 2, 3))
    assert f"{side}: no such folder" in refusal(capsys, tmp_path)
    (tmp_path / side).mkdir()
    (tmp_path / side / "notes.txt").write_text("nothing here")
    assert f"{side}: no label maps (.nii, .nii.gz" in refusal(capsys, tmp_path)


# Rows as a file -------------------------------------------------------------------------------------------------------------


def test_rows_come_back_from_their_file(tmp_path):
    rows = [
        {"case": "001_ED", "patient": "001", "phase": "ED", "group": "", "structure": "LV", "dice": 0.123456789, "assd_mm": NAN},
        {"case": "007_ED", "patient": "007", "phase": "ED", "group": "", "structure": "a, b", "dice": 1.0, "assd_mm": 2.5},
    ]
    files.write_csv(tmp_path / "cases.csv", rows)
    text = (tmp_path / "cases.csv").read_text()
    assert text.splitlines()[1] == "001_ED,001,ED,,LV,0.123456789,"
    found = files.read_csv(tmp_path / "cases.csv")
    assert math.isnan(found[0].pop("assd_mm")) and math.isnan(rows[0].pop("assd_mm"))
    assert found == rows


SCORES = "case,patient,phase,structure,dice\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column case, patient, phase; found an empty file"),
        (b"case,patient,phase,structure\na,a,,LV\n", "no column dice"),
        (SCORES.encode(), "a header and no rows"),
        (SCORES.encode() + b"a,a,,LV,0.5\nb,b,,LV\n", "line 3 does not have the 5 cells"),
        (SCORES.encode() + b"a,a,,LV,0,5\n", "line 2 does not have the 5 cells"),  # a comma for the decimal point
        (SCORES.encode() + b"a,a,,LV,0.5\nb,b,,LV,n/a\n", "line 3, column dice: expected a number or nothing, found 'n/a'"),
        (SCORES.replace(",", ";").encode() + b"a;a;;LV;0.5\n", "found case;patient"),
        (b"case,patient,phase,structure,dice,dice\na,a,,LV,1,1\n", "two columns have the same name"),
        (b"\xff\xfe\x00c", "expected a table in CSV format"),
        (SCORES.encode() + b'"a,a,,LV,0.5\n', "expected a table in CSV format"),
    ],
)
def test_a_damaged_table_of_scores_is_refused(tmp_path, content, message):
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(InputError) as raised:
        tables.read_cases(tmp_path / "cases.csv", ["dice"])
    assert message in str(raised.value) and str(raised.value).startswith(f"{tmp_path / 'cases.csv'}: ")
    assert "\n" not in str(raised.value)


def test_a_table_that_a_spreadsheet_saved(tmp_path):
    (tmp_path / "cases.csv").write_bytes(b"\xef\xbb\xbf" + SCORES.encode() + b"a,a,,LV,\r\n")
    (found,) = tables.read_cases(tmp_path / "cases.csv", ["dice"])
    assert found["case"] == "a" and math.isnan(found["dice"])
    with pytest.raises(InputError, match="nowhere.csv: expected a table"):
        files.read_csv(tmp_path / "nowhere.csv")


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "er" / "table.csv"
    files.write_text(path, "first")

    def fail():
        with files.written_whole(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]
    files.write_text(path, "second")
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_fingerprint_is_of_contents_and_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert files.fingerprint(one) == files.fingerprint(two)
    two.write_bytes(b"other")
    different = [
        files.fingerprint(*contents)
        for contents in [
            (one,),
            (two,),
            (one, two),
            (two, one),
            (one, one),
            ("same",),
            (b"same",),
            (1, 23),
            (12, 3),
            ((1, 23),),
            (),
        ]
    ]
    assert len(set(different)) == len(different)


# Progress -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (720, "12 min"),
        (5300, "88 min"),
        (5400, "1 h 30 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_duration(seconds, text):
    assert progress.duration(seconds) == text


def test_progress_says_how_long_is_left(monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = progress.Progress("case", 10, done=4)
    for step in range(6):
        clock[0] += 20 if step else 500  # the first compiles the network: it says nothing about the others
        shown.step("Dice 0.9")
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(text.split()) for text in lines] == [
        *(f"case {n}/10 Dice 0.9 {left} left" for n, left in ((6, "80 s"), (7, "60 s"), (8, "40 s"), (9, "20 s"))),
        "case 10/10 Dice 0.9 10 min",  # took that long in all
    ]


def test_progress_is_silent_where_it_is_quick(capsys):
    assert list(progress.Progress("case", 3).over("abc")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


# Statistics -----------------------------------------------------------------------------------------------------------------


def test_summary_by_hand():
    found = statistics.summary([1, NAN, 2, 6, NAN])
    assert (found.mean, found.median, found.n) == (3, 2, 3)
    assert found.std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))  # divided by n, not by n - 1
    assert 1 <= found.low < 3 < found.high <= 6


def test_summary_of_nothing():
    for values in ([], [NAN, NAN], iter(())):
        found = statistics.summary(values)
        assert found.n == 0 and all(math.isnan(v) for v in (found.mean, found.std, found.median, found.low, found.high))


def test_bootstrap_interval():
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = statistics.summary(values)
    error = values.std() / 20  # of the mean, so that the interval is -+ 1.96 of it
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.15 * error)
    assert statistics.summary(values) == found
    assert statistics.summary([4.0] * 5) == statistics.Summary(4, 0, 4, 4, 4, 5)


def test_correlation_by_hand():
    # deviations -1, 0, 1 and -4/3, -1/3, 5/3: r = 3 / sqrt(2 * 42 / 9)
    assert statistics.correlation([1, 2, 3], [1, 2, 4]) == (pytest.approx(3 / math.sqrt(2 * 42 / 9)), 3)
    assert statistics.correlation([1, 2, 3, NAN], [6, 4, 2, 5]) == (pytest.approx(-1), 3)
    assert statistics.correlation([1, 2, NAN, 3], [1, NAN, 9, 4]) == (pytest.approx(1), 2)


@pytest.mark.parametrize(
    ("a", "b", "n"), [([], [], 0), ([1], [2], 1), ([1, NAN], [2, 3], 1), ([0.1] * 3, [1, 2, 3], 3), ([1, 2, 3], [7] * 3, 3)]
)
def test_undefined_correlation(a, b, n):
    r, count = statistics.correlation(a, b)
    assert math.isnan(r) and count == n


def test_agreement_by_hand():
    # differences 1, 3, 5: mean 3, sample std 2
    found, n = statistics.agreement([11, 23, 35, NAN], [10, 20, 30, 40])
    assert found == pytest.approx((3, 3 - 1.96 * 2, 3 + 1.96 * 2)) and n == 3
    found, n = statistics.agreement([1], [2])
    assert all(map(math.isnan, found)) and n == 1


def test_wilcoxon_by_hand():
    # six differences of one sign: 2 of the 2^6 equally likely sign patterns are as extreme
    a = [1, 2, 3, 4, 5, 6, NAN]
    b = [0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 1]
    assert statistics.wilcoxon(a, b) == pytest.approx(2 / 64)
    assert statistics.wilcoxon(b, a) == statistics.wilcoxon(a, b)


def test_wilcoxon_of_equal_pairs():
    assert statistics.wilcoxon([1, 2, 3], [1, 2, 3]) == 1
    assert statistics.wilcoxon([1, NAN], [1, 2]) == 1
    assert statistics.wilcoxon([], []) == 1


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1; the last two may not fall below the second's 0.06
    assert statistics.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9, 0.001]) == pytest.approx([1, 1, 0.003])
    assert statistics.holm([0.03]) == [0.03] and statistics.holm([]) == []


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_never_gains(p_values):
    found = statistics.holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    by_p = [q for _, q in sorted(zip(p_values, found, strict=True))]
    assert by_p == sorted(found)
    if p_values:
        assert min(found) == pytest.approx(min(1, len(p_values) * min(p_values)))


# Tables ---------------------------------------------------------------------------------------------------------------------


def row(patient, phase, structure, dice=0.9, assd_mm=1.0, ml=10.0, reference_ml=10.0):
    return {"case": f"{patient}_{phase}", "patient": patient, "phase": phase, "group": "", "structure": structure, "dice": dice,
            "jaccard": 0.5, "sensitivity": 0.5, "hausdorff_mm": 5.0, "assd_mm": assd_mm, "volume_ml": ml,
            "reference_ml": reference_ml}  # fmt: skip


TABLE = {
    "title": "Some table",
    "columns": [(None, "ED", "dice"), (None, "ED", "assd_mm"), (None, "", "hausdorff_mm")],
    "rows": [
        ("Net A", "net_a", "LV", [(0.95, 0.02), (0.40, 0.30), None]),
        ("Net B", "net_b", "LV", [(0.90, 0.05), (0.60, 0.20), (6.0, 1.0)]),
        ("Net A", "net_a", "RV", [(0.85, 0.01), (1.00, 0.20), (7.0, 1.5)]),
    ],
}
ROWS = [
    row("p1", "ED", "LV", 0.9, 1.0),
    row("p1", "ES", "LV", 0.1),
    row("p2", "ED", "LV", 0.8, NAN),
    row("p2", "ED", "RV", 0.7, 2.0),
]


def test_compare():
    cells = tables.compare(TABLE, {"net_a": ROWS})
    assert [(cell.row, cell.column) for cell in cells] == [
        ("Net A, LV", "ED Dice"), ("Net A, LV", "ED ASSD (mm)"), ("Net B, LV", "ED Dice"), ("Net B, LV", "ED ASSD (mm)"),
        ("Net B, LV", "HD (mm)"), ("Net A, RV", "ED Dice"), ("Net A, RV", "ED ASSD (mm)"), ("Net A, RV", "HD (mm)"),
    ]  # fmt: skip
    dice, assd = cells[0], cells[1]
    assert dice.ours == pytest.approx((0.85, 0.05)) and dice.n == 2 and dice.difference == pytest.approx(-0.10)
    assert assd.ours == (1.0, 0.0) and assd.n == 1  # the undefined one is left out
    assert tables.texts(dice) == ("Net A, LV", "ED Dice", "0.950 (0.020)", "0.850 (0.050)", "-0.100", "2")
    assert tables.texts(assd) == ("Net A, LV", "ED ASSD (mm)", "0.40 (0.30)", "1.00 (0.00)", "+0.60", "1")
    for cell in cells[2:5]:
        assert cell.ours is None and cell.difference is None and cell.n == 0
        assert tables.texts(cell)[3:] == ("not run", "", "")
    assert tables.texts(cells[7])[2:] == ("7.00 (1.50)", "5.00 (0.00)", "-2.00", "1")


def test_compare_where_columns_name_the_structure():
    table = {"columns": [("LV", "", "dice"), ("RV", "", "dice")], "rows": [("Net A", "net_a", None, [(0.5, 0.1), (0.6, 0.1)])]}
    lv, rv = tables.compare(table, {"net_a": ROWS})
    assert (lv.row, lv.column, rv.column) == ("Net A", "LV Dice", "RV Dice")
    assert lv.ours[0] == pytest.approx(0.6) and lv.n == 3  # both phases pooled
    assert rv.ours[0] == 0.7 and rv.n == 1


def test_mean_is_of_a_cases_structures_and_undefined_where_one_of_them_is():
    rows = [row("p1", "ED", "LV", 0.9, 1.0), row("p1", "ED", "RV", 0.6, 2.0), row("p2", "ED", "LV", 0.8, NAN),
            row("p2", "ED", "RV", 0.2, 3.0), row("p2", "ES", "LV", 0.1, 5.0)]  # fmt: skip
    (mean, std), n = tables.measured(rows, "mean", "ED", "dice")
    assert (mean, std, n) == pytest.approx(((0.75 + 0.5) / 2, 0.125, 2))
    assert tables.measured(rows, "mean", "ED", "assd_mm") == ((1.5, 0.0), 1)
    assert tables.measured(rows, "mean", "", "assd_mm") == ((pytest.approx(3.25), pytest.approx(1.75)), 2)


def test_folds_that_score_the_same_cases_count_each():
    rows = [{"fold": fold, **row("p1", phase, "LV", dice, ml=ml, reference_ml=100 if phase == "ED" else 50)}
            for fold, dice, ml in ((0, 0.9, 80), (2, 0.7, 60)) for phase in ("ED", "ES")]  # fmt: skip
    assert tables.measured(rows, "mean", "ED", "dice") == ((pytest.approx(0.8), pytest.approx(0.1)), 2)
    assert tables.measured(rows, "LV", "", "dice")[1] == 4
    assert tables.ejection_fractions(rows) == ([0, 0], [50, 50])
    assert tables.measured(rows, "LV", "ES", "volume_agreement")[0][0] == (30 + 10) / 2


def test_a_row_without_experiment_is_quoted():
    table = {
        "columns": [("mean", "", "asd_mm")],
        "rows": [("Theirs", None, None, [(0.505, 0.821)]), ("B", "net_b", None, [(1, 1)])],
    }
    quoted, not_run = tables.compare(table, {"net_a": ROWS})
    assert tables.texts(quoted) == ("Theirs", "mean ASD (mm)", "0.505 (0.821)", "only quoted", "", "")
    assert tables.texts(not_run)[3] == "not run"


def test_the_papers_digits_are_kept():
    assert tables.texts(tables.Cell("a", "b", "hausdorff_mm", (25.569, 21.1), (1, 2), 3))[2:5] == (
        "25.569 (21.100)", "1.000 (2.000)", "-24.569"
    )  # fmt: skip
    assert tables.texts(tables.Cell("a", "b", "hausdorff_mm", (5.7, 3.05), (1, 2), 3))[2] == "5.70 (3.05)"


def test_ejection_fractions_come_from_pairs_of_cases():
    rows = [
        row("p1", "ED", "LV", ml=100, reference_ml=100), row("p1", "ES", "LV", ml=40, reference_ml=50),
        row("p2", "ES", "LV", ml=80, reference_ml=60), row("p2", "ED", "LV", ml=100, reference_ml=80),
        row("p3", "ED", "LV", ml=90, reference_ml=90),  # no ES
        row("p4", "ED", "LV", ml=0, reference_ml=90), row("p4", "ES", "LV", ml=0, reference_ml=45),  # nothing found
        row("p1", "ED", "RV", ml=1, reference_ml=1), row("p1", "ES", "RV", ml=1, reference_ml=1),
    ]  # fmt: skip
    assert tables.doubtful_function(rows) == ["The predicted LV is empty at ED or ES: no EF in 1 of 3 patients: p4."]
    ours, reference = tables.ejection_fractions([r for r in rows if r["structure"] == "LV"])
    assert ours[:2] == pytest.approx([60, 20]) and math.isnan(ours[2]) and reference == pytest.approx([50, 25, 50])
    (bias, low, high), n = tables.measured(rows, "LV", "", "ef_agreement")
    std = math.sqrt(2) * 7.5  # of 10 and -5, sample
    assert (bias, low, high, n) == pytest.approx((2.5, 2.5 - 1.96 * std, 2.5 + 1.96 * std, 2))
    assert tables.measured(rows, "LV", "", "ef_correlation") == (pytest.approx(1), 2)
    # ES volumes differ by -10, 20 and -45: mean -35/3, squared deviations sum to 25/9 + 9025/9 + 10000/9
    (bias, low, high), n = tables.measured(rows, "LV", "ES", "volume_agreement")
    std = math.sqrt(19050 / 9 / 2)
    assert (bias, low, high, n) == pytest.approx((-35 / 3, -35 / 3 - 1.96 * std, -35 / 3 + 1.96 * std, 3))
    assert tables.measured(rows, "LV", "ED", "volume_correlation")[1] == 4


def test_an_ejection_fraction_that_cannot_be_right_is_said_below_the_table():
    rows = [row("p1", "ED", "LV", ml=60, reference_ml=90), row("p1", "ES", "LV", ml=70, reference_ml=95),
            row("p2", "ED", "LV", ml=60, reference_ml=90), row("p2", "ES", "LV", ml=0, reference_ml=40),
            row("p1", "ED", "Myo", ml=60), row("p1", "ES", "Myo", ml=70)]  # fmt: skip
    assert tables.summarise(rows)[-3:] == [
        "The predicted LV is larger at ES than at ED in 1 of 2 patients: p1.",
        "The predicted LV is empty at ED or ES: no EF in 1 of 2 patients: p2.",
        "The reference LV is larger at ES than at ED in 1 of 2 patients: p1.",
    ]
    assert math.isnan(tables.ejection_fractions(rows[:4])[0][1])


def test_texts_of_every_kind():
    assert tables.value_text(0.97249, 3) == "0.972"
    assert tables.value_text((-0.45, -9.68, 8.78), 2) == "-0.45 [-9.68; 8.78]"
    cell = tables.Cell("LV", "corr EF", "ef_correlation", 0.972, 0.9, 20)
    assert tables.texts(cell) == ("LV", "corr EF", "0.972", "0.900", "-0.072", "20")


def test_summarise():
    lines = tables.summarise(ROWS)
    assert lines[2] == "| LV | all | 3 | 0.600 (0.356) | 0.800 | 0.100 to 0.900 | 1.00 (0.00) | 5.00 (0.00) |"
    assert [text.split("|")[1:4] for text in lines[2:8]] == [
        [" LV ", " all ", " 3 "], [" LV ", " ED ", " 2 "], [" LV ", " ES ", " 1 "],
        [" RV ", " all ", " 1 "], [" RV ", " ED ", " 1 "], [" RV ", " ES ", " 0 "],
    ]  # fmt: skip
    assert lines[-1].startswith("Distances are undefined in 1 of 4 rows")
    assert "undefined" not in "".join(tables.summarise(ROWS[:2]))


def test_tables_are_written(tmp_path):
    cells = tables.compare(TABLE, {"net_a": ROWS})
    text = tables.markdown("A title", "A caption.", cells)
    tables.write_tables(tmp_path / "tables", "table2", "A title", "A caption.", cells, text)
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["table2.csv", "table2.md", "table2.tex"]

    markdown = (tmp_path / "tables" / "table2.md").read_text().splitlines()
    assert markdown[0] == "# A title" and "A caption." in markdown
    assert "| Net A, LV | ED Dice | 0.950 (0.020) | 0.850 (0.050) | -0.100 | 2 |" in markdown
    assert "| Net B, LV | HD (mm) | 6.00 (1.00) | not run |  |  |" in markdown
    table = [text for text in markdown if text.startswith("|")]
    assert len(table) == 2 + 8 and {text.count("|") for text in table} == {7}

    with open(tmp_path / "tables" / "table2.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [tuple(r.values()) for r in found] == [tables.texts(cell) for cell in cells]
    assert list(found[0]) == ["row", "measure", "paper", "ours", "difference", "n"]

    latex = (tmp_path / "tables" / "table2.tex").read_text()
    assert r"Net A, LV & ED Dice & 0.950 (0.020) & 0.850 (0.050) & -0.100 & 2 \\" in latex.splitlines()
    assert latex.count(r"\begin") == latex.count(r"\end") == 2 and "A title" in latex and "A caption." in latex


ESCAPED = {
    "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "<": "$<$", ">": "$>$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


@pytest.mark.parametrize("character", ESCAPED)
def test_latex_escapes(character):
    cells = [tables.Cell(f"a{character}b", "c", "dice", 0.5, None, 0)]
    latex = tables.latex(f"d{character}e", f"f{character}g", cells)
    for pair in ("ab", "de", "fg"):
        assert ESCAPED[character].join(pair) in latex


# Clinical: which scan goes where --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_jobs(folder):
    a, b, dicom = folder / "a.nii.gz", folder / "b.NRRD", folder / "slices"
    assert prediction_command.jobs([a], [], [], folder / "labels.nrrd") == [Job(a, folder / "labels.nrrd")]
    out = folder / "out"
    assert prediction_command.jobs([a, b, dicom], [], [], out) == [
        Job(a, out / "a.nii.gz"), Job(b, out / "b.nii.gz"), Job(dicom, out / "slices.nii.gz"),
    ]  # fmt: skip
    assert [job.scan for job in prediction_command.jobs([a], [b], [dicom], out)] == [a, b, dicom]
    assert [job.scan for job in prediction_command.jobs([a, b, a], [b], [a], out)] == [a, b]  # each once


@pytest.mark.parametrize(
    ("scans", "ed", "es", "output", "message"),
    [
        ([], [], [], "out", "no scans given"),
        (["a.nii"], ["b.nii"], [], "out", "--ed names 1 scans and --es 0"),
        ([], ["b.nii"], ["c.nii", "d.nii"], "out", "--ed names 1 scans and --es 2"),
        (["a.nii", "b.nii"], [], [], "out.nii.gz", "out.nii.gz: 2 label maps cannot go to one file"),
        (["x/a.nii", "y/a.nii"], [], [], "out", "y/a.nii and x/a.nii would both be written to out/a.nii.gz"),
        (["a.nii", "a.nii.gz"], [], [], "out", "both be written to out/a.nii.gz"),
        (["a.nii.gz"], [], [], "a.nii.gz", "a.nii.gz: the label map would replace the scan"),
        (["x/a.nii.gz"], [], [], "x/../x/a.nii.gz", "would replace the scan"),
        (["b.nii", "x/a.nii.gz"], [], [], "x", "x/a.nii.gz: the label map would replace the scan"),
        (["b.nii", "a.nii.gz"], [], [], ".", "would replace the scan"),
    ],
)
def test_jobs_that_are_refused(folder, scans, ed, es, output, message):
    paths = [[folder / name for name in names] for names in (scans, ed, es)]
    with pytest.raises(InputError) as raised:
        prediction_command.jobs(*paths, folder / output)
    assert message in str(raised.value).replace(f"{folder}/", "") and "\n" not in str(raised.value)


def test_current_folder_as_a_dicom_scan_gives_a_visible_file(folder):
    (job,) = prediction_command.jobs([Path(".")], [], [], folder / "out")
    assert volume.stem(job.output)


# Clinical: volumes and function ---------------------------------------------------------------------------------------------

LV_VOXELS, RV_VOXELS, MYO_VOXELS = (30, 50, 40, 20), (36, 40, 30, 10), (60, 64, 68, 70)  # of the four frames; 0.5 ml a voxel


def beating():
    labels = np.zeros((10, 10, 2, 4), np.uint8)
    for t, counts in enumerate(zip(RV_VOXELS, MYO_VOXELS, LV_VOXELS, strict=True)):
        labels[..., t].reshape(-1)[: sum(counts)] = np.repeat([1, 2, 3], counts)
    return labels


@pytest.fixture
def cine(tmp_path):
    affine = np.diag([-5.0, 5.0, 20.0, 1.0])
    image = nibabel.Nifti1Image(np.arange(800, dtype=np.int16).reshape(10, 10, 2, 4), affine)
    nibabel.save(image, tmp_path / "cine.nii.gz")
    return tmp_path / "cine.nii.gz"


def test_cine(cine, tmp_path):
    seen = []

    def predict(scan, path):
        seen.append((scan, path))
        return scan.with_array(beating())

    job = Job(cine, tmp_path / "out" / "cine.nii.gz")
    volumes, functions = prediction_command.segment([job], predict, ACDC)
    ((scan, path),) = seen
    assert scan.array.shape == (10, 10, 2, 4) and path == cine
    written = nibabel.load(job.output)
    np.testing.assert_array_equal(np.asarray(written.dataobj), beating())
    np.testing.assert_allclose(written.affine, nibabel.load(cine).affine)

    assert [(v["scan"], v["frame"]) for v in volumes] == [(str(cine), t) for t in (1, 2, 3, 4)]
    assert [v["LV_ml"] for v in volumes] == [15, 25, 20, 10]
    assert volumes[0] == {"scan": str(cine), "frame": 1, "RV_ml": 18, "Myo_ml": 30, "LV_ml": 15}
    assert functions == [
        {
            "ed_scan": str(cine), "ed_frame": 2, "es_scan": str(cine), "es_frame": 4,
            "LV_edv_ml": 25, "LV_esv_ml": 10, "LV_ef_percent": pytest.approx(60),
            "RV_edv_ml": 20, "RV_esv_ml": 5, "RV_ef_percent": pytest.approx(75),
            "Myo_mass_g": pytest.approx(1.05 * 32),
        }
    ]  # fmt: skip


def test_pairs_of_scans(tmp_path):
    frames = {}
    for name, t in (("a", 1), ("b", 3), ("c", 0), ("d", 2)):
        frames[tmp_path / f"{name}.nii"] = beating()[..., t]
        write_labels(tmp_path / f"{name}.nii", beating()[..., t], (5, 5, 20))
    a, b, c, d = frames
    jobs = prediction_command.jobs([], [a, d], [b, c], tmp_path / "out")
    with pytest.warns(UserWarning, match="RV: 15.0 ml at ED .*18.0 ml at ES .*swapped"):
        volumes, functions = prediction_command.segment(jobs, lambda scan, path: scan, ACDC, [a, d], [b, c])
    assert [v["scan"] for v in volumes] == [str(path) for path in (a, d, b, c)]
    assert [(f["ed_scan"], f["es_scan"], f["LV_ef_percent"]) for f in functions] == [
        (str(a), str(b), pytest.approx(60)), (str(d), str(c), pytest.approx(25)),
    ]  # fmt: skip
    assert functions[1]["Myo_mass_g"] == pytest.approx(1.05 * 34)


def test_only_what_the_structures_allow(tmp_path, cine):
    job = Job(cine, tmp_path / "labels.nii.gz")
    volumes, functions = prediction_command.segment([job], lambda scan, path: scan.with_array(beating()), {2: "LA"})
    assert volumes[0] == {"scan": str(cine), "frame": 1, "LA_ml": 30} and functions == []
    _, functions = prediction_command.segment([job], lambda scan, path: scan.with_array(beating()), {3: "LV"})
    assert [key for key in functions[0] if key.startswith(("RV", "Myo"))] == []


def test_nothing_found_gives_no_ejection_fraction(tmp_path, cine):
    empty, none = "cine.nii.gz: nothing was found in it", "no ejection fraction, since only 0 of 4 frames can be used"
    with pytest.warns(UserWarning, match=empty), pytest.warns(UserWarning, match=none):
        volumes, functions = prediction_command.segment(
            [Job(cine, tmp_path / "o.nii")], lambda s, path: s.with_array(0 * beating()), ACDC
        )
    assert functions == [] and len(volumes) == 4


def test_a_scan_that_cannot_be_segmented_is_named(tmp_path, cine):
    def refuse(scan, path):
        raise InputError("constant image")

    with pytest.raises(InputError, match="cine.nii.gz: constant image"):
        prediction_command.segment([Job(cine, tmp_path / "out" / "cine.nii.gz")], refuse, ACDC)
    assert not (tmp_path / "out").exists()


def test_tables_of_volumes_and_function(tmp_path, capsys):
    volumes, functions = [{"scan": "a", "LV_ml": 1.5}], [{"ed_scan": "a", "LV_ef_percent": NAN}]
    prediction_command.write_tables(volumes, functions, tmp_path / "out")
    prediction_command.write_tables(volumes, [], tmp_path / "one.nii.gz")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv"))
    assert found == ["one_volumes.csv", "out/function.csv", "out/volumes.csv"]
    assert (tmp_path / "out" / "volumes.csv").read_text() == "scan,LV_ml\na,1.5\n"
    assert (tmp_path / "out" / "function.csv").read_text() == "ed_scan,LV_ef_percent\na,\n"
    printed = capsys.readouterr().out
    assert all(f"wrote {tmp_path / name}" in printed for name in found)
