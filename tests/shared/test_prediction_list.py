"""Many scans, named in a table."""

import functools
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from shared import files, prediction_command, prediction_list, prediction_tables, runs
from shared.errors import InputError
from shared.prediction_jobs import Job
from tests.shared.test_prediction_command import Constant, all_lv, grey, run, write_scan

TABLES = ("volumes.csv", "function.csv")


@pytest.fixture
def cohort(tmp_path):
    """Three scans, of which the second is no image, and the table that names them."""
    for name in "ac":
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", grey())
    (tmp_path / "scans" / "b.nii.gz").write_bytes(b"no image")
    table = tmp_path / "scans.csv"
    files.write_csv(table, [{"scan": f"scans/{name}.nii.gz"} for name in "abc"])
    return table, tmp_path / "out"


def of_list(table, out, predict=all_lv):
    run([], out, predict, "--list", str(table))


def scans_in(out):
    return [row["scan"].rpartition("/")[2] for row in files.read_csv(out / "volumes.csv")]


def test_a_broken_scan_is_a_line_and_costs_the_others_nothing(cohort, capsys):
    table, out = cohort
    of_list(table, out)
    assert scans_in(out) == ["a.nii.gz", "c.nii.gz"] and (out / "a.nii.gz").exists() and not (out / "b.nii.gz").exists()
    (failure,) = files.read_csv(out / "failures.csv", ("scan",), ("error",))
    assert failure["scan"].endswith("b.nii.gz") and failure["error"]
    assert "1 of 3 scans could not be segmented" in capsys.readouterr().out


def test_what_is_done_is_not_done_again_and_what_failed_is_tried_again(cohort, capsys):
    table, out = cohort
    of_list(table, out)
    seen = []

    def predict(segmenter, scan, path):
        seen.append(path.name)
        return all_lv(segmenter, scan, path)

    write_scan(table.parent / "scans" / "b.nii.gz", grey())
    (out / "c.nii.gz").unlink()
    capsys.readouterr()
    of_list(table, out, predict)
    assert seen == ["b.nii.gz", "c.nii.gz"] and sorted(scans_in(out)) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert "3 scans, 1 done before" in capsys.readouterr().out and not (out / "failures.csv").exists()


@pytest.mark.filterwarnings("default")
def test_another_scan_of_the_same_name_is_segmented(cohort, capsys):
    table, out = cohort
    of_list(table, out)
    other = write_scan(table.parent / "others" / "a.nii.gz", grey(seed=5))
    files.write_csv(table, [{"scan": " others/a.nii.gz "}])
    of_list(table, out)
    assert "is replaced by that of" in capsys.readouterr().err
    assert str(other) in [row["scan"] for row in files.read_csv(out / "volumes.csv")] and scans_in(out).count("a.nii.gz") == 1


def test_a_label_map_that_was_replaced_without_its_row_is_made_again(cohort, monkeypatch):
    """A kill after the label map of another scan of this name was written, and before the tables were."""
    table, out = cohort
    files.write_csv(table, [{"scan": f"scans/{name}.nii.gz"} for name in "ac"])
    of_list(table, out)
    tables = [(out / name).read_bytes() for name in TABLES if (out / name).exists()]
    whole = (out / "a.nii.gz").read_bytes()
    write_scan(table.parent / "others" / "a.nii.gz", grey(seed=5))
    other = table.with_name("other.csv")
    files.write_csv(other, [{"scan": "others/a.nii.gz"}])
    with monkeypatch.context() as killed:
        killed.setattr(prediction_command, "write_tables", lambda *given, **more: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_list(other, out, nothing)
    assert (out / "a.nii.gz").read_bytes() != whole and scans_in(out) == ["c.nii.gz"]
    of_list(table, out)
    assert (out / "a.nii.gz").read_bytes() == whole
    assert [(out / name).read_bytes() for name in TABLES if (out / name).exists()] == tables


def nothing(segmenter, scan, path):
    return scan.with_array(np.zeros(scan.array.shape, np.uint8))


def test_a_folder_with_a_broken_scan_ends_there_and_names_the_list(cohort, capsys):
    table, out = cohort
    with pytest.raises(SystemExit):
        run([table.parent / "scans"], out, all_lv)
    assert "b.nii.gz" in (said := capsys.readouterr().err) and said.endswith("; --list goes on after such a scan\n")
    assert scans_in(out) == ["a.nii.gz"]


def test_two_commands_cannot_fill_one_folder(cohort, capsys):
    table, out = cohort
    with runs.locked(out), pytest.raises(SystemExit):
        of_list(table, out)
    assert "another process works on this list; wait for its end, or choose another --output" in capsys.readouterr().err
    of_list(table, out)


def test_a_list_of_which_nothing_can_be_segmented_ends_with_status_2(cohort, capsys):
    table, out = cohort
    files.write_csv(table, [{"scan": "scans/b.nii.gz"}])
    with pytest.raises(SystemExit) as ended:
        of_list(table, out)
    assert ended.value.code == 2 and "1 of 1 scans could not be segmented" in capsys.readouterr().err
    assert (out / "failures.csv").exists()


def test_a_list_that_is_stopped_keeps_the_rows_of_what_it_made(cohort):
    table, out = cohort

    def predict(segmenter, scan, path):
        if path.name == "c.nii.gz":
            raise KeyboardInterrupt
        return all_lv(segmenter, scan, path)

    with pytest.raises(SystemExit) as ended:
        of_list(table, out, predict)
    assert ended.value.code == 130 and scans_in(out) == ["a.nii.gz"]


def test_tables_are_written_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_list, "EVERY_S", -1.0)
    written = []
    todo = [Job(tmp_path / name, tmp_path / f"{name}.nii.gz") for name in "abc"]

    def run(todo, done):
        for job in todo:
            done(job, lambda job=job: ([{"scan": job.scan.name, "doubt": 0.0, "reasons": ""}], []))

    prediction_list.segment_all(todo, run, lambda v, f: written.append(list(v)), tmp_path)
    assert [[row["scan"] for row in rows] for rows in written] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column scan"),
        ("scan\n", "no"),
        ("path\na.nii\n", "no column scan"),
        ("scan,x\na.nii,1\n,2\n", "its row 2 names no scan"),
    ],
)
def test_a_table_that_names_no_scans(tmp_path, content, words):
    table = tmp_path / "scans.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=words):
        prediction_list.scans_of(table)


def test_a_list_and_scans_or_a_file_as_output_are_refused(cohort, capsys):
    table, out = cohort
    for output, scans in ((out, ["x.nii.gz"]), (out / "seg.nii.gz", [])):
        with pytest.raises(SystemExit) as ended:
            run(scans, output, all_lv, "--list", str(table))
        assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "--list names all scans by itself" in errors and not out.exists()


def test_the_label_maps_are_those_of_the_command_without_a_list(cohort, tmp_path):
    table, out = cohort
    of_list(table, out)
    run([tmp_path / "scans" / "a.nii.gz"], tmp_path / "alone", all_lv)
    assert (out / "a.nii.gz").read_bytes() == (tmp_path / "alone" / "a.nii.gz").read_bytes()
    one, other = (files.read_csv(folder / "volumes.csv")[0] for folder in (out, tmp_path / "alone"))
    assert [one[f"{name}_ml"] for name in ("RV", "Myo", "LV")] == [other[f"{name}_ml"] for name in ("RV", "Myo", "LV")]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the cluster extra is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_on_ray_everything_is_as_on_this_machine(cohort, tmp_path, capsys):
    table, out = cohort
    of_list(table, out)
    run([], tmp_path / "ray", all_lv, "--list", str(table), "--ray", "--cores", "1")
    for name in ("a.nii.gz", "c.nii.gz", "failures.csv", "volumes.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (out / name).read_bytes(), name
    assert "2 scans could not" not in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == sorted(path.name for path in out.iterdir())


def test_tables_are_in_the_order_of_the_list_whenever_a_scan_ends(tmp_path):
    """c, then b, then broken scans d and a; row z is of an earlier command."""
    out, todo = tmp_path / "out", [Job(Path(name), tmp_path / "out" / f"{name}.nii.gz") for name in "abcd"]
    write = functools.partial(prediction_tables.write_tables, output=out, order=[job.scan for job in todo])
    rows = {name: {"scan": name, "frame": 1, "doubt": 0.1, "reasons": "", "LV_ml": 1.0} for name in "abcz"}
    write([rows["z"]], [])

    def run(todo, done):
        a, b, c, d = todo
        for job in (c, b):
            done(job, lambda job=job: ([rows[str(job.scan)]], []))
        for job in (d, a):
            done(job, lambda: prediction_list.scans_of(tmp_path / "none"))

    assert prediction_list.segment_all(todo, run, write, out) == 2
    assert [row["scan"] for row in files.read_csv(out / "volumes.csv")] == ["z", "b", "c"]
    assert [row["scan"] for row in files.read_csv(out / "failures.csv")] == ["a", "d"]


def test_ray_is_for_lists(cohort, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run([tmp_path / "scans" / "a.nii.gz"], tmp_path / "out", all_lv, "--ray")
    assert ended.value.code == 2 and "--ray is for the scans of a --list" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_scans_of_one_name_are_told_apart_from_whatever_folder_the_command_is_started(tmp_path, monkeypatch, capsys):
    for seed, name in enumerate("AB"):
        write_scan(tmp_path / name / "p1.nii.gz", grey(seed=seed))
        files.write_csv(tmp_path / name / "l.csv", [{"scan": "p1.nii.gz"}])
        monkeypatch.chdir(tmp_path / name)
        of_list(Path("l.csv"), tmp_path / "out")
    assert "is replaced by that of" in capsys.readouterr().err
    assert [row["scan"] for row in files.read_csv(tmp_path / "out" / "volumes.csv")] == [str(tmp_path / "B" / "p1.nii.gz")]
    monkeypatch.chdir(tmp_path)
    of_list(Path("B/l.csv"), Path("out"))
    assert "1 scan, 1 done before" in capsys.readouterr().out


def test_volumes_are_written_last_since_they_mean_done(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(prediction_tables, "write_csv", lambda path, rows: written.append(path.name))
    prediction_tables.write_tables([{"scan": "a", "LV_ml": 1.0}], [{"ed_scan": "a", "es_scan": "a"}], tmp_path / "out")
    assert written == ["function.csv", "volumes.csv"]


def test_ray_is_not_for_data_sets(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run([], tmp_path / "out", all_lv, "--dataset", "acdc", "--ray")
    assert ended.value.code == 2 and "--ray is for the scans of a --list" in capsys.readouterr().err


def test_the_network_is_loaded_once(cohort):
    table, out = cohort
    loads = []
    options = prediction_command.parser("paper", "", "").parse_args(["--weights", "w", "--list", str(table), "-o", str(out)])
    prediction_command.command(options, lambda weights: loads.append(weights) or Constant, all_lv)
    assert loads == [Path("w")] and scans_in(out) == ["a.nii.gz", "c.nii.gz"]
