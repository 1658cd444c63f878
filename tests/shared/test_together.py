"""All folds together: which runs can be joined, when they are scored again, and their rows in a paper's table."""

import os

import numpy as np
import pytest

from shared import ensembles, together
from shared.datasets import Case, acdc
from shared.files import read_csv, write_json, write_text
from shared.scans import volume
from shared.scans.volume import from_array
from shared.scoring.published import NATIVE, NOT_IN_PAPER, Column, Row, Table, printed


def run(folder, *test, package="dense_unet"):
    """A finished run that holds out the patients `test`."""
    split = {"train": ["a"], "validation": ["b"], "test": list(test)}
    write_json(folder / "run.json", {"package": package, "split": split})
    write_text(folder / "summary.md", "")
    return folder


def test_which_runs_can_be_joined(tmp_path):
    one, two, other = run(tmp_path / "1", "p", "q"), run(tmp_path / "2", "q", "p"), run(tmp_path / "3", "q")
    assert together.are_possible([one, two])
    assert not together.are_possible([one]) and not together.are_possible([one, two, other])
    assert not together.are_possible([run(tmp_path / "4", "p", package="propagation"), one])  # it gives no probabilities
    assert not together.are_possible([run(tmp_path / "5", "p", package="of somebody else"), one])


@pytest.fixture
def joined(tmp_path, monkeypatch):
    """Two runs that hold out patient p, whose networks together find the LV where it is; and the cases p and q."""
    folders = [run(tmp_path / "runs" / f"fold{k}", "p") for k in (0, 1)]
    array = np.zeros((6, 6, 2), np.uint8)
    array[2:4, 2:4] = 3
    cases = []
    for name in "pq":
        image, label = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_gt.nii.gz"
        volume.write(from_array(array.astype(np.float32), (1, 1, 1)), image)
        volume.write(from_array(array, (1, 1, 1)), label)
        cases.append(Case(patient=name, phase="ED", image=image, label=label, group="", structures=acdc.STRUCTURES))
    made = []
    monkeypatch.setattr(ensembles, "load", lambda *given: made.append(given) or ensembles.Ensemble((), {3: "LV"}, None))
    monkeypatch.setattr(ensembles, "predict", lambda ensemble, scan, path: scan.with_array(scan.array.astype(np.uint8)))
    return folders, cases, made


def test_held_out_patients_are_scored_once_and_again_after_a_new_training(joined):
    folders, cases, made = joined
    together.score_missing(folders, lambda: cases)
    target = folders[0].parent / "together"
    assert [(row["case"], row["structure"], row["dice"]) for row in read_csv(target / "cases.csv")] == [("p_ED", "LV", 1)]
    assert "2 folds together" in (target / "summary.md").read_text() and made == [(folders, "dense_unet")]
    together.score_missing(folders, lambda: cases)
    assert len(made) == 1
    os.utime(folders[1] / "summary.md", (together.made(target) + 1,) * 2)
    together.score_missing(folders, lambda: cases)
    assert len(made) == 2


def test_rows_of_a_table(tmp_path):
    rows = (
        Row("A", "net_a", printed(0.9, None), "LV"),
        Row("B", "net_b", printed(0.8, 1.0), "LV"),
        Row("C", "", printed(0.7, 2.0), "LV"),
    )
    table = Table(
        title="T", dataset="lasc", folds=(0, 1), scorings=(NATIVE,), columns=(Column("dice"), Column("assd_mm")), rows=rows
    )
    run(tmp_path / "a" / "together", "p")
    folders = {rows[0]: [tmp_path / "a/fold0", tmp_path / "a/fold1"], rows[1]: [tmp_path / "b/fold0"]}
    found, files = together.with_rows(table, folders)
    assert [row.label for row in found.rows] == ["A", "A, 2 folds together", "B", "C"]
    assert found.rows[1].cells == (NOT_IN_PAPER, None) and found.rows[1].structure == "LV"
    assert files == {found.rows[1]: tmp_path / "a/together/cases.csv"}
