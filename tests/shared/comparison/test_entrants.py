"""Label maps of runs and of folders: matched by name, refused in one line."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.comparison import entrants, scored
from shared.comparison.entrants import Entrant
from shared.datasets import splits
from shared.errors import InputError
from shared.files import write_csv, write_json
from tests import toy_hearts


def test_label_maps_may_be_called_like_cases_or_like_references(test_side, tmp_path):
    toy_hearts.write_maps(tmp_path / "by_case", test_side)
    found = entrants.of_folder("net", tmp_path / "by_case", test_side)
    assert list(found.maps) == ["patient005_ED", "patient005_ES", "patient010_ED", "patient010_ES"]
    (tmp_path / "by_frame").mkdir()
    for case, path in found.maps.items():
        frame = case.replace("ED", "frame01").replace("ES", "frame09")
        path.rename(tmp_path / "by_frame" / f"{frame}.nii.gz")
    again = entrants.of_folder("net", tmp_path / "by_frame", test_side)
    assert again.maps["patient010_ES"].name == "patient010_frame09.nii.gz"


def test_a_missing_label_map_is_refused_and_others_are_counted(test_side, tmp_path):
    toy_hearts.write_maps(tmp_path, test_side)
    (tmp_path / "patient010_ES.nii.gz").rename(tmp_path / "patient011_ES.nii.gz")
    with pytest.raises(InputError, match="no prediction for 1 of 4 references, first patient010_ES"):
        entrants.of_folder("net", tmp_path, test_side)
    toy_hearts.write_maps(tmp_path, test_side)
    with pytest.warns(UserWarning, match="without a reference are not scored: 1, such as patient011_ES"):
        entrants.of_folder("net", tmp_path, test_side)
    with pytest.raises(InputError, match="no such folder"):
        entrants.of_folder("net", tmp_path / "absent", test_side)


def test_names_that_several_references_share_tell_nothing(test_side, tmp_path):
    """In STACOM's layout every reference is called mask_ed."""
    cases = [dataclasses.replace(case, label=tmp_path / case.name / "mask_ed.nii.gz") for case in test_side]
    toy_hearts.write_maps(tmp_path / "maps", test_side)
    (tmp_path / "maps" / "patient005_ED.nii.gz").rename(tmp_path / "maps" / "mask_ed.nii.gz")
    with pytest.raises(InputError, match="first patient005_ED"):
        entrants.of_folder("net", tmp_path / "maps", cases)


def test_a_run_must_have_the_split_and_all_label_maps(toy_cases, test_side, tmp_path):
    split = splits.common("acdc", toy_cases)
    folder = toy_hearts.finish_run(tmp_path, "acdc_segmenter_tf", "net", toy_cases, np.copy)
    found = entrants.of_run("net", "Net", folder, test_side, split)
    assert found.structures == {1: "RV", 2: "Myo", 3: "LV"} and len(found.maps) == 4 and found.name == "Net"
    other = splits.Split(split.train[1:], split.validation, split.test)
    with pytest.raises(InputError, match="other patients on the train side"):
        entrants.of_run("net", "Net", folder, test_side, other)
    (folder / "predictions" / "patient010_ED.nii.gz").unlink()
    with pytest.raises(InputError, match="patient010_ED.nii.gz: missing, though the run is finished"):
        entrants.of_run("net", "Net", folder, test_side, split)
    write_json(folder / "run.json", {"split": 3})
    with pytest.raises(InputError, match="split: expected"):
        entrants.of_run("net", "Net", folder, test_side, split)


def test_a_run_without_label_maps_is_compared_by_its_own_scores(toy_cases, test_side, contest, tmp_path):
    split = splits.common("acdc", toy_cases)
    folder = toy_hearts.finish_run(tmp_path, "acdc_segmenter_tf", "net", toy_cases, np.copy)
    shutil.rmtree(folder / "predictions")
    rows = [row for row in scored.evaluate(contest).cases if row.pop("method") == "shifted"]
    write_csv(folder / "cases.csv", [*rows[::-1], {**rows[0], "case": "patient099_ED"}])
    found = entrants.of_run("net", "Net", folder, test_side, split)
    assert found.was_run and not found.maps and [row["case"] for row in found.rows[::3]] == [case.name for case in test_side]
    again = scored.evaluate(dataclasses.replace(contest, entrants=[found]))
    assert not again.slices and [(row.pop("method"), row.pop("case")) for row in again.cases] == [
        ("Net", row.pop("case")) for row in rows
    ]
    assert [list(row.values()) for row in again.cases] == [pytest.approx(list(row.values()), nan_ok=True) for row in rows]
    write_csv(folder / "cases.csv", rows_without(found.rows, "patient010_ES", "LV"))
    with pytest.raises(InputError, match=r"cases.csv: no scores of patient010_ES LV, though the run is finished; put"):
        entrants.of_run("net", "Net", folder, test_side, split)
    (folder / "cases.csv").unlink()
    with pytest.raises(InputError, match=r"cases.csv: expected a table in CSV format"):
        entrants.of_run("net", "Net", folder, test_side, split)


def test_kept_scores_say_of_a_case_what_the_data_say(toy_cases, test_side, contest, tmp_path):
    folder = toy_hearts.finish_run(tmp_path, "acdc_segmenter_tf", "net", toy_cases, np.copy)
    shutil.rmtree(folder / "predictions")
    rows = [row for row in scored.evaluate(contest).cases if row.pop("method") == "shifted"]
    for row in rows:
        del row["group"]
        row["phase"] = "ED"
    write_csv(folder / "cases.csv", rows)
    found = entrants.of_run("net", "Net", folder, test_side, splits.common("acdc", toy_cases))
    wanted = {case.name: (case.group, case.phase) for case in test_side}
    assert all((row["group"], row["phase"]) == wanted[row["case"]] for row in found.rows) and len(found.rows) == 12


def test_label_maps_where_cases_and_references_have_one_name(test_side, tmp_path):
    """As in LASC, where a reference is called like the folder that is the case, and in nnU-Net's layout."""
    cases = [dataclasses.replace(case, label=tmp_path / "data/labelsTr" / f"{case.name}.nii.gz") for case in test_side]
    toy_hearts.write_maps(tmp_path / "maps", test_side)
    found = entrants.of_folder("net", tmp_path / "maps", cases)
    assert found.maps == {case.name: tmp_path / "maps" / f"{case.name}.nii.gz" for case in cases}


def test_two_label_maps_of_one_case_are_refused(test_side, tmp_path):
    toy_hearts.write_maps(tmp_path, test_side)
    shutil.copy(tmp_path / "patient010_ES.nii.gz", tmp_path / "patient010_frame09.nii.gz")
    with pytest.raises(InputError, match="patient010_ES.nii.gz and .*patient010_frame09.nii.gz: two label maps of one case"):
        entrants.of_folder("net", tmp_path, test_side)


def rows_without(rows, case, structure):
    return [row for row in rows if (row["case"], row["structure"]) != (case, structure)]


def test_structures_that_all_methods_label_are_compared(test_side):
    maps = {"patient005_ED": Path("a.nii.gz")}
    whole, part, other = (
        Entrant(key=name, name=name, structures=structures, maps=maps)
        for name, structures in (("whole", {1: "RV", 2: "Myo", 3: "LV"}), ("part", {3: "LV"}), ("other", {9: "LA"}))
    )
    absent = Entrant(key="absent", name="absent")
    assert entrants.common_structures(test_side, [whole, absent]) == {1: "RV", 2: "Myo", 3: "LV"}
    assert entrants.common_structures(test_side, [whole, part]) == {3: "LV"}
    assert entrants.common_structures([], [absent]) == {}
    with pytest.raises(InputError, match="no structure is labelled by all methods: whole, other"):
        entrants.common_structures(test_side, [whole, other])
