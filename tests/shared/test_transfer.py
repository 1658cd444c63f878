"""A network on another data set: structures meet by name, patients that it learned from are left out, scores are broken down."""

import threading

import numpy as np
import pytest

from shared import prediction_command, transfer
from shared.datasets import Case, acdc
from shared.errors import InputError
from shared.files import read_csv
from shared.scans import volume
from tests.shared.datasets.test_mnms import write_patient, write_table


class Segmenter:
    structures = acdc.STRUCTURES  # 1 RV, 2 Myo, 3 LV; M&Ms has 1 LV, 2 Myo, 3 RV


def everywhere(segmenter, scan, path):
    """The LV, value 3 of `Segmenter`."""
    return scan.with_array(np.full(scan.array.shape, 3, np.uint8))


def command(root, output, *more, segmenter=Segmenter, predict=everywhere):
    """The prediction command of a network that finds the LV everywhere, or what `predict` finds."""
    options = prediction_command.parser("paper", "", "").parse_args(
        ["--weights", str(root / "weights.h5"), "--dataset", "mnms", "--data-root", str(root), "-o", str(output), *more]
    )
    prediction_command.command(options, lambda weights: segmenter, predict)


@pytest.fixture
def sites(tmp_path):
    """A1 of Siemens: LV at ED, RV at ES; B2 of GE: LV twice."""
    root = tmp_path / "mnms"
    write_table(root, "0,A1,Siemens,A,1,1,3,50,NOR,F,160,60", "1,B2,GE,C,4,1,3,40,HCM,M,180,80")
    write_patient(root, "A1", labels=(0, 1, 0, 3))
    write_patient(root, "B2", labels=(0, 1, 0, 1))
    return root


def test_structures_meet_by_name_and_tables_tell_the_vendors_apart(sites, tmp_path, capsys):
    out = tmp_path / "out"
    command(sites, out)
    rows = read_csv(out / "cases.csv", ("dice",))
    dice = {(row["case"], row["structure"]): row["dice"] for row in rows}
    assert [dice[case, "LV"] for case in ("A1_ED", "A1_ES", "B2_ED", "B2_ES")] == [1, 0, 1, 1]
    assert [dice[case, "RV"] for case in ("A1_ED", "A1_ES", "B2_ED", "B2_ES")] == [1, 0, 1, 1]  # absent in both, or missed
    assert {(row["patient"], row["vendor"], row["group"]) for row in rows} == {("A1", "Siemens", "NOR"), ("B2", "GE", "HCM")}
    labels = volume.read_labels(out / "A1_ED.nii.gz").array
    assert labels.shape == (4, 3, 2) and (labels == 3).all()  # the network's own values
    summary = (out / "summary.md").read_text()
    assert "- What the network learned from is not known here.\n- scored on mnms, 4 cases\n" in summary
    assert f"- weights: `{sites / 'weights.h5'}`" in summary
    by_vendor = summary[summary.index("By vendor:") : summary.index("By diagnosis:")]
    assert "| GE | LV | 2 | 1.000 (0.000) |" in by_vendor and "| Siemens | LV | 2 | 0.500 (0.500) |" in by_vendor
    assert "| HCM | RV | 2 | 1.000 (0.000) |" in summary and "wrote" in capsys.readouterr().out


def test_structures_that_the_data_set_lacks_are_named(sites, tmp_path):
    class Atria:
        structures = {3: "lv", 5: "LA"}

    command(sites, tmp_path / "out", segmenter=Atria)
    summary = (tmp_path / "out/summary.md").read_text()
    assert "- not scored, since the data set does not label it: LA\n" in summary
    assert {row["structure"] for row in read_csv(tmp_path / "out/cases.csv")} == {"lv"}


def test_what_cannot_be_scored(sites, tmp_path, capsys):
    class Atria:
        structures = {3: "LA"}

    for more, segmenter, message in (
        ((), Atria, "the network finds LA, but the data set labels LV, Myo, RV: there is nothing to score"),
        (("scan.nii.gz",), Segmenter, "give no SCAN"),
        (("--ed", "a.nii", "--es", "b.nii"), Segmenter, "give no SCAN, --list, --ed or --es"),
    ):
        with pytest.raises(SystemExit) as ended:
            command(sites, tmp_path / "out", *more, segmenter=segmenter)
        error = capsys.readouterr().err.splitlines()[-1]
        assert ended.value.code == 2 and message in error
    with pytest.raises(SystemExit):
        command(sites, tmp_path / "seg.nii.gz")
    assert "a folder for --output" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_nothing_of_the_user_is_replaced(sites, tmp_path, capsys):
    """A run's own scores, or references that are called like the cases."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(SystemExit):
        command(sites, run)
    assert "a run, whose scores would be replaced" in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == ["run.json"]
    case = Case(patient="a", phase="", image=tmp_path / "a.nii.gz", label=None, group="", structures={1: "LV"})
    with pytest.raises(InputError, match="would replace files of the data set"):
        transfer.check_output([case], tmp_path)


class FailsAtTheThird:
    """A segmenter that finds nothing in two scans, and cannot take the third."""

    structures = acdc.STRUCTURES
    seen = 0

    def predict(self, scan):
        self.seen += 1
        if self.seen == 3:
            raise InputError("constant image")
        return scan.with_array(np.zeros(scan.array.shape, np.uint8))


@pytest.mark.filterwarnings("always")  # the command shows them
def test_an_error_half_way_keeps_the_scores_so_far_and_names_the_scan(sites, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        command(sites, out, segmenter=FailsAtTheThird(), predict=lambda segmenter, scan, path: segmenter.predict(scan))
    told = capsys.readouterr().err
    assert "B2_sa.nii.gz, B2_ED: constant image" in told
    assert "A1_sa.nii.gz, A1_ED: nothing was found in it, and its label map is empty" in told
    assert {row["case"] for row in read_csv(out / "cases.csv")} == {"A1_ED", "A1_ES"}
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["A1_ED.nii.gz", "A1_ES.nii.gz"]
    assert not (out / "summary.md").exists()


def test_the_next_case_is_read_while_the_network_works(sites, tmp_path, monkeypatch):
    load, was_read, waited = transfer.load_image, threading.Semaphore(0), []

    def read(case):
        was_read.release()
        return load(case)

    def predict(segmenter, scan, path):
        for _ in range({0: 2, 3: 0}.get(len(waited), 1)):  # while the first of four is worked on two are read, and so on
            assert was_read.acquire(timeout=30)
        waited.append(path)
        return everywhere(segmenter, scan, path)

    monkeypatch.setattr(transfer, "load_image", read)
    command(sites, tmp_path / "out", predict=predict)
    assert len(waited) == 4
