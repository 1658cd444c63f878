"""A sixth paper in one file, which needs nothing changed in `shared`: it trains, goes on, is scored, and predicts."""

from pathlib import Path

import numpy as np

from shared import runs
from shared.files import read_csv
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
    assert capsys.readouterr().out == f"done: {folder / 'summary.md'}\n"
