"""The report of a folder of label maps: volumes, function, and what is doubtful or missing."""

import re

import numpy as np
import pytest

from shared import prediction_command
from shared.files import write_json
from shared.reports import predictions
from shared.scans import volume

STRUCTURES = {3: "LV", 1: "RV"}


def written(folder, name, frames=1, lv=(8, 4)):
    """A scan, and what the network will find in it: an LV of so many voxels of 1 ml along x in the first and the last frame."""
    shape = (10, 6, 3) if frames == 1 else (10, 6, 3, frames)
    grey = np.random.default_rng(0).random(shape).astype(np.float32)
    volume.write(volume.from_array(grey, (10.0, 10.0, 10.0)), folder / f"{name}.nii.gz")
    labels = np.zeros((10, 6, 3, frames), np.uint8)
    labels[: lv[0], 0, 1, 0] = 3
    labels[: lv[-1], 0, 1, frames - 1] = 3
    labels[..., 1:-1][: lv[0] - 1, 0, 1] = 3
    return labels.reshape(shape)


@pytest.fixture
def report(tmp_path):
    """Runs the command with --pictures on scans, and returns the page."""
    found = {}

    class Segmenter:
        structures = STRUCTURES

    def run(*arguments, drawn=True, **scans):
        found.update({name: written(tmp_path, name, *about) for name, about in scans.items()})
        words = ["--weights", "w", "-o", str(tmp_path / "out"), *(["--pictures"] if drawn else []), *map(str, arguments)]
        options = prediction_command.parser("paper", "", "").parse_args(words)
        names = lambda path: path.name.removesuffix(".nii.gz")  # noqa: E731
        prediction_command.command(options, lambda _: Segmenter, lambda _, scan, path: scan.with_array(found[names(path)]))
        return (tmp_path / "out/report.html").read_text()

    return run


def cells(text, name):
    """The cells of a case's line, without the picture's."""
    line = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', text, re.DOTALL).group(1)
    return re.findall(r"<td[^>]*>(.*?)</td>", line)


def headings(text):
    return re.findall(r"<button>(.*?)</button></th>", text)


@pytest.mark.filterwarnings("always")
def test_volumes_of_single_scans_and_an_empty_one(report, tmp_path):
    text = report(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", a=(1, (8,)), b=(1, (0,)))
    assert headings(text) == ["case", "remarks", "LV ml", "RV ml"]
    assert cells(text, "a") == ["", "8.0", "0.0"] and cells(text, "b") == ["nothing was found", "0.0", "0.0"]
    assert text.count('class="thumb"') == 2 and "<li>weights: <code>w</code></li>" in text


@pytest.mark.filterwarnings("always")
def test_a_cine_has_its_frames_and_function(report, tmp_path):
    text = report(tmp_path / "c.nii.gz", c=(4, (8, 4)))
    titles = ["LV EDV ml", "LV ESV ml", "LV EF %", "RV EDV ml", "RV ESV ml", "RV EF %"]
    assert headings(text) == ["case", "remarks", "doubt", "frames", *titles]
    said, *numbers = cells(text, "c")
    assert numbers == ["0.90", "4", "8.0", "4.0", "50.0", "0.0", "0.0", ""] and "RV: 0.0 ml at ED" in said
    assert text.count('<g class="frame') == 4


def test_doubt_is_that_of_the_worst_frame_with_its_reasons():
    volumes = {"LV_ml": 8.0, "RV_ml": 3.0}
    rows = [
        {"frame": 1, **volumes, "doubt": 0.2, "reasons": "noise 3"},
        {"frame": 2, **volumes, "doubt": 0.7, "reasons": "LV x; y"},
    ]
    assert predictions.measured(rows, None, STRUCTURES) == {"doubt": 0.7, "frames": 2}
    assert predictions.remarks_on(rows, None, STRUCTURES) == ["", "LV x", "y"]
    assert predictions.remarks_on(rows[:1], None, STRUCTURES) == [""]
    unknown = [{**rows[0], "doubt": float("nan"), "reasons": ""}]
    assert predictions.measured(unknown, None, STRUCTURES) == {"LV ml": 8, "RV ml": 3}
    assert predictions.remarks_on(unknown, None, STRUCTURES) == [""]


def test_a_run_is_named_by_what_it_is(tmp_path):
    write_json(tmp_path / "run.json", {"package": "dense_unet", "experiment": "a", "preset": "quick", "dataset": "acdc"})
    line = f"- weights: `{tmp_path}`, dense_unet, a, quick preset, trained on acdc, commit unknown"
    assert predictions.trained(tmp_path) == line


@pytest.mark.filterwarnings("always")
def test_a_later_command_adds_to_the_page_and_a_scan_that_is_gone_is_said(report, tmp_path):
    report(tmp_path / "a.nii.gz", a=(1, (8,)))
    (tmp_path / "a.nii.gz").unlink()
    text = report(tmp_path / "b.nii.gz", b=(1, (5,)))
    assert cells(text, "a")[1:] == ["8.0", "0.0"] and "a.nii.gz: no such file" in cells(text, "a")[0]
    assert cells(text, "b")[:2] == ["", "5.0"] and text.count('class="thumb"') == 1


@pytest.mark.filterwarnings("always")
def test_what_does_not_fit_any_more_is_said_and_costs_no_other_case(report, tmp_path):
    report(tmp_path / "a.nii.gz", tmp_path / "c.nii.gz", a=(1, (8,)), c=(3, (8, 4)))
    written(tmp_path, "c")  # the cine became a single frame
    labels = volume.read_labels(tmp_path / "out/a.nii.gz")
    volume.write(labels.with_array(labels.array[:, :, :2]), tmp_path / "out/a.nii.gz")
    text = report(tmp_path / "b.nii.gz", b=(1, (5,)))
    assert "shape (10, 6, 2) differs from (10, 6, 3)" in cells(text, "a")[0]
    assert "3 frames, but" in cells(text, "c")[0] and text.count('class="thumb"') == 1


@pytest.mark.filterwarnings("always")
def test_values_of_other_structures_are_said(report, tmp_path):
    report(tmp_path / "a.nii.gz", a=(1, (8,)))
    labels = volume.read_labels(tmp_path / "out/a.nii.gz")
    volume.write(labels.with_array(labels.array * 5), tmp_path / "out/a.nii.gz")
    assert "not drawn: 15" in cells(report(tmp_path / "b.nii.gz", b=(1, (5,))), "a")[0]


@pytest.mark.filterwarnings("always")
def test_a_page_is_kept_up_to_date_by_commands_that_draw_nothing(report, tmp_path):
    report(tmp_path / "a.nii.gz", a=(1, (8,)))
    text = report(tmp_path / "a.nii.gz", drawn=False, a=(1, (3,)))
    assert cells(text, "a")[0] == "3.0"
