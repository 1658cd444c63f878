"""One patient by several runs: the one with the median Dice in the first."""

import numpy as np
import pytest

from shared import held_out
from shared.comparison import median_patient
from shared.datasets import load_image, load_reference
from shared.errors import InputError
from shared.files import write_csv, write_json
from shared.scans.orientation import all_slices_last, matched
from shared.scoring import plots
from tests import toy_hearts


@pytest.fixture
def folders(toy_cases, test_side, tmp_path):
    """Two finished runs on patient005 and patient010; the first has Dice 0.1 to 0.4, the second any."""
    found = {}
    for name, change in (("exact", lambda labels: labels), ("shifted", toy_hearts.shifted)):
        folder = found[name] = tmp_path / name
        toy_hearts.write_maps(folder / held_out.PREDICTIONS, test_side, change)
        rows = [
            {"case": case.name, "patient": case.patient, "phase": case.phase, "structure": "LV", "dice": 0.1 * place}
            for place, case in enumerate(test_side, 1)
        ]
        write_csv(folder / held_out.CASES, rows)
        write_json(folder / "run.json", {"structures": {"1": "RV", "2": "Myo", "3": "LV"}})
    return found


def draw(folders, test_side, path, root=None):
    root = root or test_side[0].image.parents[1]
    median_patient.draw(path, folders, "acdc", root, lambda case, scan, reference: reference)


def test_reference_and_runs_of_all_cases_of_the_median_patient(folders, test_side, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(plots, "overlay", lambda path, rows, structures: asked.append((path, rows, structures)))
    draw(folders, test_side, tmp_path / "one.png")
    ((path, rows, structures),) = asked
    median = test_side[2]  # the third of 0.1, 0.2, 0.3, 0.4
    mine = [case for case in test_side if case.patient == median.patient]
    assert path == tmp_path / "one.png" and structures == {1: "RV", 2: "Myo", 3: "LV"}
    assert [title for title, *_ in rows] == [f"{case.name}\n{name}" for case in mine for name in ("reference", *folders)]
    for (_, _, labels, reference), case in zip(rows[1::3], mine, strict=True):
        scan = load_image(case)
        _, expected = all_slices_last(scan, matched(scan, load_reference(case, scan), (case.image, case.label)))
        assert np.array_equal(reference.array, expected.array) and np.array_equal(labels.array, expected.array)
    assert not np.array_equal(rows[2][2].array, rows[2][3].array)


def test_the_runs_were_made_from_other_data(folders, test_side, tmp_path):
    other = tmp_path / "other"
    toy_hearts.write_acdc(other, patients=1)
    with pytest.raises(InputError, match=r"other: no patient0.*, which .*cases.csv names; give the --data-root that the runs"):
        draw(folders, test_side, tmp_path / "one.png", other)
    assert not (tmp_path / "one.png").exists()
