"""The pictures of a run: what they show, and one line where they cannot be drawn."""

import importlib.util
import shutil
import sys

import pytest

from dr_unet import figures
from dr_unet import predict as prediction
from shared.files import read_csv
from shared.scoring import plots


def test_agreement_is_manual_minus_automatic(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "bland_altman", lambda path, panels, **options: drawn.update(panels=panels, **options))
    rows = [
        {"structure": structure, "reference_ml": manual, "volume_ml": automatic}
        for structure, manual, automatic in (("LV", 100.0, 110.0), ("RV", 80.0, 70.0), ("LV", 60.0, 74.0), ("RV", 50.0, 48.0))
    ]
    figures.agreement(tmp_path / "volumes.png", rows)
    (lv, rv), difference = drawn["panels"], drawn["difference"]
    assert difference == "manual - automatic"
    assert lv[:4] == ("LV volume", "ml", [100.0, 60.0], [110.0, 74.0]) and rv[2:4] == ([80.0, 50.0], [70.0, 48.0])
    spread = 1.96 * 8**0.5  # of -10 and -14: the larger the automatic volume, the lower
    assert lv[4] == pytest.approx((-12, -12 - spread, -12 + spread)) and rv[4][0] == 6


def test_agreement_of_one_volume_is_drawn_without_limits(tmp_path):
    figures.agreement(tmp_path / "volumes.png", [{"structure": "LA", "reference_ml": 40.0, "volume_ml": 50.0}])
    assert (tmp_path / "volumes.png").stat().st_size > 0


def test_localisation_shows_the_map_the_box_and_both_outlines(multi_stage, lasc_cases, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "localisation", lambda path, rows, structures: drawn.update(rows=rows, structures=structures))
    segmenter = prediction.load(multi_stage)
    name = read_csv(multi_stage / "cases.csv")[0]["case"]
    case = next(case for case in lasc_cases if case.name == name)
    figures.localisation("unused.png", segmenter, {"best": case}, multi_stage)
    ((title, image, heat, (starts, shape), predicted, reference),) = drawn["rows"]
    assert title == f"best: {name}" and drawn["structures"] == {1: "LA"}
    given = segmenter.recipe.preparation
    assert image.array.shape == heat.shape == predicted.array.shape == reference.array.shape == given.image_shape
    assert 0 <= heat.min() and heat.max() == pytest.approx(1)
    assert shape == given.crop_shape
    row = next(row for row in read_csv(multi_stage / "regions.csv") if row["case"] == name)
    assert list(starts) == [row[f"start_{axis}"] for axis in "xyz"]
    assert set(predicted.array.flat) <= {0, 1} and set(reference.array.flat) == {0, 1}


def test_cases_are_ranked_by_dice(lasc_cases):
    rows = [{"case": case.name, "dice": dice} for case, dice in zip(lasc_cases, (0.2, 0.9, 0.5), strict=False)]
    found = figures.ranked(lasc_cases[:3], rows)
    assert found == {"best": lasc_cases[1], "median": lasc_cases[2], "worst": lasc_cases[0]}


def refused(capsys, *arguments):
    """The line in which the command ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        figures.main(list(map(str, arguments)))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="the extra [mesh] is not installed")
def test_the_command_draws_them_all_from_within_the_folder_too(multi_stage, lasc_root, monkeypatch, capsys):
    wanted = [multi_stage / "figures" / name for name in ("localisation.png", "surfaces.png", "volumes.png")]
    for path in wanted:
        path.unlink(missing_ok=True)
    monkeypatch.chdir(multi_stage.parent)
    figures.main([multi_stage.name, "--dataset", "lasc", "--data-root", str(lasc_root)])
    assert all(path.stat().st_size > 0 for path in wanted)
    assert sum(line.startswith("picture: ") for line in capsys.readouterr().out.splitlines()) == 5  # training's two as well


def test_surfaces_without_scikit_image_name_the_extra(multi_stage, lasc_root, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    monkeypatch.setattr(figures, "draw", lambda *_: None)
    assert "pip install -e '.[mesh]'" in refused(capsys, multi_stage, "--dataset", "lasc", "--data-root", lasc_root)


def test_an_unfinished_run_is_refused(tmp_path, lasc_root, capsys):
    assert "not a finished run" in refused(capsys, tmp_path, "--dataset", "lasc", "--data-root", lasc_root)


def test_data_without_the_runs_cases_is_refused(multi_stage, phantom_root, capsys):
    assert "the run was scored on" in refused(capsys, multi_stage, "--dataset", "acdc", "--data-root", phantom_root)


def test_scores_that_were_changed_are_refused(multi_stage, tmp_path, lasc_root, capsys):
    copy = shutil.copytree(multi_stage, tmp_path / "run")
    table = copy / "cases.csv"
    table.write_text(table.read_text().replace(",LA,", ",la,"), encoding="utf-8")
    assert "cases.csv: changed since" in refused(capsys, copy, "--dataset", "lasc", "--data-root", lasc_root)
