"""A sixth paper in one file, which needs nothing changed in `shared`: it trains, goes on, is scored, and predicts."""

from pathlib import Path

import numpy as np
import pytest

from shared import runs
from shared.files import read_csv, write_json
from shared.scans import volume


def test_a_toy_paper_lives_like_the_others(phantom_root, phantom_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parent / "toy")
    import toy_paper

    command = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    toy_paper.main([*command, "--set", "steps=3", "--set", "side=48"])
    folder = tmp_path / "toy_paper" / "one_layer-quick" / "acdc" / "fold0"
    record = runs.read_record(folder, "recipe", "split", "structures", "seconds")
    assert record["recipe"] == {"structures": ["LV"], "side": 48, "steps": 3} and record["structures"] == {"3": "LV"}
    rows = read_csv(folder / "cases.csv")
    assert [row["case"] for row in rows] == [case.name for case in phantom_cases if case.patient in record["split"]["test"]]
    scan = volume.read(phantom_cases[0].image)
    labels = toy_paper.predict(toy_paper.load(folder), scan)
    assert labels.array.shape == scan.array.shape and set(np.unique(labels.array)) <= {0, 3}
    capsys.readouterr()
    toy_paper.main([*command, "--set", "steps=3", "--set", "side=48"])
    assert capsys.readouterr().out.splitlines()[0] == f"done: {folder / 'summary.md'}"


def test_a_split_that_is_given(phantom_root, phantom_cases, tmp_path, monkeypatch, capsys):
    """It is part of what a run is: another folder than that of the paper's rule, and refused where it changed."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "toy")
    import toy_paper

    names = sorted({case.patient for case in phantom_cases})
    sides, file = {"train": names[2:4], "validation": names[1:2], "test": names[:1]}, tmp_path / "mine.json"
    write_json(file, sides)
    command = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    command += ["--set", "steps=3", "--set", "side=48", "--split"]
    toy_paper.main([*command, str(file)])
    folder = tmp_path / "toy_paper" / "one_layer-quick" / "acdc" / "split_mine"
    assert runs.read_record(folder, "split")["split"] == sides
    assert {row["patient"] for row in read_csv(folder / "cases.csv")} == set(names[:1])
    write_json(file, {**sides, "train": names[2:3]})
    for wrong, words in (([str(file)], "holds a run with another split"), (["common", "--fold", "1"], "--fold 1: a split that")):
        with pytest.raises(SystemExit) as ended:
            toy_paper.main([*command, *wrong])
        line = capsys.readouterr().err
        assert ended.value.code == 2 and words in line and len(line.splitlines()) == 1
