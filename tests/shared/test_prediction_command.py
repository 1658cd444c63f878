"""The prediction command: which scan goes to which file; volumes and function of what was segmented."""

from pathlib import Path

import numpy as np
import pytest

from shared import files, prediction_command, prediction_jobs
from shared.datasets import acdc
from shared.errors import InputError
from shared.prediction import predict_frames
from shared.prediction_jobs import Job
from shared.scans import volume
from shared.scans.volume import from_array
from shared.segmenting import Segmenting, segment
from tests.shared.scans.dicom_files import write_slice

ACDC = acdc.STRUCTURES


def write_scan(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume.write(from_array(np.asarray(array, np.int16), (5.0, 5.0, 20.0)), path)  # 0.5 ml a voxel
    return path


def grey(seed=0, frames=()):
    return np.random.default_rng(seed).integers(0, 900, (6, 5, 2, *frames))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_jobs(folder):
    a, b, dicom = folder / "a.nii.gz", folder / "b.NRRD", folder / "slices"
    assert prediction_jobs.jobs([a], [], [], folder / "labels.nrrd") == [Job(a, folder / "labels.nrrd")]
    out = folder / "out"
    assert prediction_jobs.jobs([a, b, dicom], [], [], out) == [
        Job(a, out / "a.nii.gz"), Job(b, out / "b.nii.gz"), Job(dicom, out / "slices.nii.gz"),
    ]  # fmt: skip
    assert [job.scan for job in prediction_jobs.jobs([a], [b], [dicom], out)] == [a, b, dicom]
    assert [job.scan for job in prediction_jobs.jobs([a, b, a], [b], [a], out)] == [a, b]  # each once


@pytest.mark.parametrize(
    ("scans", "ed", "es", "output", "message"),
    [
        ([], [], [], "out", "no scans given"),
        (["a.nii"], ["b.nii"], [], "out", "--ed names 1 scan and --es 0"),
        ([], ["b.nii"], ["c.nii", "d.nii"], "out", "--ed names 1 scan and --es 2"),
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
        prediction_jobs.jobs(*paths, folder / output)
    assert message in str(raised.value).replace(f"{folder}/", "") and "\n" not in str(raised.value)


def test_scans_that_are_all_called_alike_are_named_after_their_folders(folder):
    out, scans = folder / "out", [folder / name / "lgemri.nrrd" for name in ("A1", "B2")]
    assert [job.output for job in prediction_jobs.jobs(scans, [], [], out)] == [out / "A1.nii.gz", out / "B2.nii.gz"]
    assert prediction_jobs.name_of(Path("lgemri.nrrd")) == folder.name  # in the current folder
    assert prediction_jobs.name_of(Path("/lgemri.nrrd")) == prediction_jobs.name_of(Path("study/lgemri")) == "lgemri"


def test_tables_list_scans_so_that_their_name_does_not_depend_on_the_folder(folder):
    assert prediction_jobs.listed(Path("x/a.nii")) == Path("x/a.nii")
    for typed in ("lgemri.nrrd", "x/lgemri.nrrd", "."):
        found = prediction_jobs.listed(Path(typed))
        assert found.is_absolute() and prediction_jobs.name_of(found) == prediction_jobs.name_of(Path(typed))


def test_current_folder_as_a_dicom_scan_gives_a_visible_file(folder):
    (job,) = prediction_jobs.jobs([Path(".")], [], [], folder / "out")
    assert volume.stem(job.output)


# Tables ---------------------------------------------------------------------------------------------------------------------


def test_tables_of_volumes_and_function(tmp_path, capsys):
    volumes, functions = [{"scan": "a", "LV_ml": 1.5}], [{"ed_scan": "a", "LV_ef_percent": float("nan")}]
    prediction_command.write_tables(volumes, functions, tmp_path / "out")
    prediction_command.write_tables(volumes, [], tmp_path / "one.nii.gz")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv"))
    assert found == ["one_volumes.csv", "out/function.csv", "out/volumes.csv"]
    assert (tmp_path / "out" / "volumes.csv").read_text() == "scan,LV_ml\na,1.5\n"
    assert (tmp_path / "out" / "function.csv").read_text() == "ed_scan,LV_ef_percent\na,\n"
    printed = capsys.readouterr().out
    assert all(f"wrote {tmp_path / name}" in printed for name in found)


@pytest.mark.parametrize(("scan", "words"), [
    (np.zeros((4, 4, 2)), "the scan: expected a Volume, such as volume.read gives, found ndarray"),
    ("scan.nii.gz", "found str"),
    (from_array(np.ones((4, 4))), r"expected a 3D scan or a 4D cine, found an array of shape \(4, 4\)"),
    (from_array(np.ones((4, 4, 2, 2, 2))), "expected a 3D scan or a 4D cine"),
    (from_array(np.ones((4, 0, 2))), "expected a 3D scan or a 4D cine"),
    (from_array(np.ones((4, 4, 2, 0))), "expected a 3D scan or a 4D cine"),
    (from_array(np.full((4, 4, 2), np.nan)), "32 of 32 voxels are NaN or infinite"),
    (from_array(np.full((4, 4, 2), "a")), "expected one real number per voxel"),
    (from_array(np.ones((4, 4, 2), complex)), "expected one real number per voxel"),
    (from_array(np.ones((4, 4, 2)), (0, 1, 1)), "voxel size 0 x 1 x 1 mm is not usable"),
    (from_array(np.ones((4, 4, 2)), (-1, 1, 1)), "voxel size -1 x 1 x 1 mm is not usable"),
])  # fmt: skip
def test_scans_made_in_python_are_checked_as_files_are(scan, words):
    with pytest.raises(InputError, match=words):
        predict_frames(scan, lambda frame: np.zeros(frame.array.shape, np.uint8), ACDC)


# ED and ES ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ed", "es", "told"),
    [
        (["p1_ED.nii", "p2_ED.nii"], ["p2_ES.nii", "p1_ES.nii"], "p1_ED.nii and .*p2_ES.nii: .* their names are of two"),
        (
            ["patient001_frame01_0000.nii"],
            ["patient002_frame12_0000.nii"],
            "patient002_frame12_0000.nii: given as ED and ES of one",
        ),
    ],
)
def test_ed_and_es_of_two_patients_are_said(tmp_path, ed, es, told):
    with pytest.warns(UserWarning, match=told):
        prediction_jobs.jobs([], [tmp_path / name for name in ed], [tmp_path / name for name in es], tmp_path / "out")


@pytest.mark.parametrize(("ed", "es"), [("p1_ED.nii", "p1_ES.nii"), ("a.nii", "b.nii"), ("p1_frame01.nii", "p1_frame12.nii")])
def test_names_that_tell_of_no_second_patient_are_silent(tmp_path, ed, es):
    assert len(prediction_jobs.jobs([], [tmp_path / ed], [tmp_path / es], tmp_path / "out")) == 2


# Names of label maps --------------------------------------------------------------------------------------------------------


def outputs(scans, folder):
    return [(job.scan.name, job.output.name) for job in prediction_jobs.jobs(scans, [], [], folder / "out")]


def test_a_link_gives_its_own_name(tmp_path):
    stored = write_scan(tmp_path / "annex" / "SHA256E-s1--0a1b.nii.gz", grey())
    (tmp_path / "sub-01.nii.gz").symlink_to(stored)
    assert outputs([tmp_path / "sub-01.nii.gz"], tmp_path) == [("sub-01.nii.gz", "sub-01.nii.gz")]


def test_folders_given_as_they_are_typed(tmp_path, monkeypatch):
    from pathlib import Path

    (tmp_path / "study" / "deeper").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    for typed, name in (
        (".", "study"),
        ("..", tmp_path.name),
        ("deeper/..", "study"),
        ("deeper/", "deeper"),
        ("../alias", "alias"),
    ):
        (job,) = prediction_jobs.jobs([Path(typed)], [], [], tmp_path / "out")
        assert job.output == tmp_path / "out" / f"{name}.nii.gz", typed


def test_a_folder_of_image_files_means_each_of_them(tmp_path):
    folder = tmp_path / "imagesTs"
    for name in ("p02_0000.nii.gz", "p01_0000.nii.gz", "p03.NRRD"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    for name in ("._p01_0000.nii.gz", "notes.txt", "p01.json"):
        (folder / name).write_bytes(b"junk")
    (folder / "old").mkdir()
    (folder / "old" / "p09.nii.gz").write_bytes(b"")
    assert outputs([folder], tmp_path) == [
        ("p01_0000.nii.gz", "p01_0000.nii.gz"), ("p02_0000.nii.gz", "p02_0000.nii.gz"), ("p03.NRRD", "p03.nii.gz"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="3 label maps cannot go to one file"):
        prediction_jobs.jobs([folder], [], [], tmp_path / "seg.nii.gz")


def test_an_earlier_label_map_in_a_study_is_not_the_scan(tmp_path):
    study = tmp_path / "study"
    write_slice(study / "series/1.dcm", np.ones((5, 4), np.int16), (1.0, 1.0, 1.0), np.eye(4))
    assert outputs([study], tmp_path) == [("study", "study.nii.gz")]
    seg = write_scan(study / "seg.nii.gz", grey())
    (job,) = prediction_jobs.jobs([study], [], [], study / "series/../seg.nii.gz")  # the same command again
    assert job.scan == study
    with pytest.raises(
        InputError, match=r"study: holds seg\.nii\.gz and, in .*series, DICOM files; name the one that is the scan"
    ):
        outputs([study], tmp_path)
    assert outputs([seg], tmp_path) == [("seg.nii.gz", "seg.nii.gz")]


def test_an_earlier_label_map_in_a_folder_of_scans_is_no_scan(tmp_path):
    scan, seg = (write_scan(tmp_path / "scans" / name, grey()) for name in ("a.nii.gz", "seg.nii.gz"))
    (job,) = prediction_jobs.jobs([scan.parent], [], [], seg)
    assert job.scan == scan
    with pytest.raises(InputError, match="the label map would replace the scan"):
        prediction_jobs.jobs([scan.parent], [], [], scan.parent)


def test_a_link_to_itself_is_a_scan_that_is_not_there(tmp_path):
    scan = tmp_path / "scan.nii"
    scan.symlink_to(scan.name)
    jobs = prediction_jobs.jobs([scan], [], [], tmp_path / "seg.nii")
    with pytest.raises(InputError, match=r"scan\.nii: no such file"):
        segment(jobs, Segmenting(None, {1: "LV"}))


def test_references_in_a_folder_are_no_scans(tmp_path):
    for name in (
        "patient001/patient001_frame01.nii.gz",
        "patient001/patient001_frame01_gt.nii.gz",
        "A/lgemri.nrrd",
        "A/laendo.nrrd",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [scan for scan, _ in outputs([tmp_path / "patient001", tmp_path / "A"], tmp_path)] == [
        "patient001_frame01.nii.gz", "lgemri.nrrd",
    ]  # fmt: skip


def test_a_folder_with_dicom_stays_one_scan(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(9))
    (tmp_path / "study" / "seg.nii.gz").write_bytes(b"")
    assert outputs([tmp_path / "study"], tmp_path) == [("study", "study.nii.gz")]


# Tables that grow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("scan,frame,LA_ml\na.nii,1,5\n", "no column RV_ml, Myo_ml, LV_ml"),
        ("scan,frame,RV_ml,Myo_ml,LV_ml,aorta_ml\na.nii,1,5,5,5,5\n", "a table with other structures"),
        ("scan,frame,RV_ml,Myo_ml,LV_ml\na.nii,1,5,5\n", "line 2 does not have the 5 cells"),
        ("scan,frame,RV_ml,Myo_ml,LV_ml\na.nii,1,5,5,much\n", "line 2, column LV_ml: expected a number or nothing, found 'much'"),
        ("", "no column scan"),
        ("\0\0\0", "volumes.csv"),
    ],
)
def test_a_table_that_cannot_be_added_to_stops_the_command_before_it_segments(tmp_path, content, message, capsys):
    scan = write_scan(tmp_path / "a.nii.gz", grey())
    table = tmp_path / "out" / "volumes.csv"
    table.parent.mkdir()
    table.write_text(content)

    class Segmenter:
        structures = ACDC

    def predict(*_):
        raise AssertionError("segmented though the table cannot be kept")

    options = prediction_command.parser("paper", "", "").parse_args(["--weights", "w", str(scan), "-o", str(table.parent)])
    with pytest.raises(SystemExit) as ended:
        prediction_command.command(options, lambda weights: Segmenter, predict)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1 and "volumes.csv" in error and message in error
    assert table.read_text() == content and [path.name for path in table.parent.iterdir()] == ["volumes.csv"]


def test_a_scan_that_is_not_there_stops_the_command_before_any_is_segmented(tmp_path, capsys):
    scan, out = write_scan(tmp_path / "a.nii.gz", grey()), tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        run([scan, tmp_path / "b.nii.gz"], out, all_lv)
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {tmp_path / 'b.nii.gz'}: no such file\n"
    assert not out.exists()


class Constant:
    structures = ACDC


def run(scans, output, predict, *more):
    options = prediction_command.parser("paper", "", "").parse_args(
        ["--weights", "w", *map(str, scans), "-o", str(output), *more]
    )
    prediction_command.command(options, lambda weights: Constant, predict)


def all_lv(segmenter, scan, path):
    return scan.with_array(np.full(scan.array.shape, 3, np.uint8))


@pytest.mark.parametrize("stop", [InputError("constant image"), KeyboardInterrupt()])
def test_a_command_that_stops_leaves_tables_of_the_label_maps_that_it_wrote(tmp_path, stop, capsys):
    a, b, c = (write_scan(tmp_path / f"{name}.nii.gz", grey()) for name in "abc")
    out = tmp_path / "out"
    run([a, b, c], out, lambda _, scan, path: scan.with_array(np.full(scan.array.shape, 1, np.uint8)))

    def predict(segmenter, scan, path):
        if path == b:
            raise stop
        return all_lv(segmenter, scan, path)

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run([a, b, c], out, predict)
    assert ended.value.code == (2 if isinstance(stop, InputError) else 130) and len(capsys.readouterr().err.splitlines()) == 1
    rows = files.read_csv(out / "volumes.csv")
    assert [(Path(r["scan"]).name, r["RV_ml"] > 0, r["LV_ml"] > 0) for r in rows] == [
        ("b.nii.gz", True, False), ("c.nii.gz", True, False), ("a.nii.gz", False, True),
    ]  # fmt: skip
    assert [volume.read(out / f"{name}.nii.gz").array.max() for name in "abc"] == [3, 1, 1]


def test_a_stopped_command_does_not_touch_the_table_of_a_label_map_that_it_did_not_write(tmp_path):
    scan = write_scan(tmp_path / "a.nii.gz", grey())
    run([scan], tmp_path / "seg.nii.gz", all_lv)
    before = (tmp_path / "seg_volumes.csv").read_text()

    def refuse(*_):
        raise InputError("constant image")

    with pytest.raises(SystemExit):
        run([scan], tmp_path / "seg.nii.gz", refuse)
    assert (tmp_path / "seg_volumes.csv").read_text() == before


@pytest.mark.filterwarnings("default")
def test_a_label_map_of_another_scan_with_the_same_name_is_not_replaced_silently(tmp_path, capsys):
    one, two = (write_scan(tmp_path / patient / "scan.nii.gz", grey()) for patient in ("p1", "p2"))
    run([one], tmp_path / "out", all_lv)
    run([one], tmp_path / "out", all_lv)
    assert capsys.readouterr().err == ""
    run([two], tmp_path / "out", all_lv)
    error = capsys.readouterr().err
    assert (
        error.endswith("scan.nii.gz, which has the same name; to keep both, choose another --output\n") and error.count("\n") == 1
    )


@pytest.mark.parametrize("name", ["seg.png", "seg.CSV", "heart.stl"])
def test_a_file_of_another_kind_is_no_folder(tmp_path, name, capsys):
    write_scan(tmp_path / "a.nii.gz", grey())
    with pytest.raises(SystemExit) as ended:
        run([tmp_path / "a.nii.gz"], tmp_path / name, all_lv)
    assert ended.value.code == 2 and f"{name}: cannot write this format; expected .nii," in capsys.readouterr().err
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()  # a folder that somebody calls so is one
    run([tmp_path / "a.nii.gz"], tmp_path / name, all_lv)
    assert (tmp_path / name / "a.nii.gz").exists()


@pytest.mark.parametrize("place", ["file/out", "file/out/seg.nii.gz"])
def test_where_nothing_can_be_written_is_said_before_the_network_works(tmp_path, place, capsys):
    write_scan(tmp_path / "a.nii.gz", grey())
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        run([tmp_path / "a.nii.gz"], tmp_path / place, lambda *_: pytest.fail("too late"))
    assert ended.value.code == 2 and f"{tmp_path}/file: a file; expected a folder for label maps" in capsys.readouterr().err


def test_a_folder_that_is_read_only_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_jobs.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=f"{tmp_path}: nothing can be written there"):
        prediction_jobs.check_place(tmp_path / "new" / "folder")


def test_the_next_step_names_what_is_there(folder):
    first, cine = Job(folder / "a.nii.gz", folder / "out/a.nii.gz"), Job(folder / "b", folder / "out/b.dcm")
    files.write_text(cine.output.with_name("b_01.dcm"), "")
    page = folder / "out/report.html"
    viewer = "in a viewer such as ITK-SNAP or 3D Slicer"
    assert prediction_command.next_step([cine], page) == f"next: open {folder / 'out'} over {folder / 'b'} {viewer}"
    files.write_text(first.output, "")
    assert prediction_command.next_step([cine, first], page) == f"next: open {first.output} over {first.scan} {viewer}"
    files.write_text(page, "")
    assert prediction_command.next_step([first], page).startswith(f"next: open {page}, or {first.output} over")
