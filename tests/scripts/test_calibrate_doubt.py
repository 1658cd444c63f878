"""The fit of the weights of doubt."""

import numpy as np
import pytest

from scripts import calibrate_doubt as script
from shared.scans.volume import from_array


@pytest.mark.parametrize("change", script.HARDER)
def test_harder_scans_are_other_scans_of_the_same_range(change):
    rng = np.random.default_rng(0)
    scan = from_array(np.clip(rng.normal(500, 100, (30, 24, 4)), 100, 900), (2.0, 2.0, 10.0))
    heart = np.zeros(scan.array.shape, bool)
    heart[10:20, 8:16, 1:3] = True
    one, again = (script.harder(scan, heart, change, np.random.default_rng(3)).array for _ in range(2))
    assert one.shape == scan.array.shape and np.isfinite(one).all() and np.array_equal(one, again)
    assert np.abs(one - scan.array).mean() > 3 and 0 < one.mean() < 1500


def test_dark_darkens_the_structures_only():
    scan = from_array(np.full((30, 24, 4), 1.0), (2.0, 2.0, 10.0))
    heart = np.zeros(scan.array.shape, bool)
    heart[10:20, 8:16] = True
    found = script.dark(scan.array, heart, scan.spacing_mm, np.random.default_rng(0))
    assert found[15, 12, 2] < 0.75 and found[0, 0, 0] == pytest.approx(1)


def rows(weights, count=600):
    """Evidence, and failures drawn by the logistic model with these weights."""
    rng = np.random.default_rng(0)
    found = []
    for place in range(count):
        evidence = dict(zip(script.EVIDENCE, rng.exponential(0.5, len(script.EVIDENCE)), strict=True))
        logit = -2 + sum(weight * evidence[name] for name, weight in weights.items())
        failed = rng.random() < 1 / (1 + np.exp(-logit))
        side = "validation" if place % 2 else "test"
        about = {"run": f"run {place % 3}", "dataset": ("acdc", "lasc")[place % 5 == 0], "side": side, "kind": "as it is"}
        found.append({**about, "patient": f"p{place // 20}", "mean_dice": 0.5 if failed else 0.9, **evidence})
    return found


def test_the_fit_finds_the_weights_that_the_failures_were_drawn_by():
    constant, *weights = script.fitted(rows({"size": 3.0, "shape": 1.5}, 4000), script.EVIDENCE)
    assert dict(zip(script.EVIDENCE, weights, strict=True)) == pytest.approx(
        {"size": 3.0, "place": 0, "shape": 1.5, "image": 0, "disagreement": 0}, abs=0.35
    )
    assert constant == pytest.approx(-2, abs=0.35)


def test_the_report_holds_the_false_alarms_of_validation_at_their_bound():
    lines = script.report(rows({"size": 4.0}), script.EVIDENCE)
    assert lines[0].startswith("Weights: constant -")
    validation = next(line for line in lines if line.startswith("| validation"))
    assert "| 15 % |" in validation
    assert [line.split(" | ")[0] for line in lines[5:]] == [
        "| held out", "| held out, run 0", "| held out, run 2", "| held out, run 1", "| held out, scans as they are",
    ]  # fmt: skip


def test_without_runs_and_rows_there_is_nothing_to_report(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(["-o", str(tmp_path / "none")])
    assert ended.value.code == 2 and "no RUN given" in capsys.readouterr().err
