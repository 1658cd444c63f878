"""EF under the rules of which basal slices count, worked out by hand; and the command."""

import numpy as np
import pytest

from dense_unet import basal, ejection
from dense_unet.ejection import Phase, fractions
from shared.datasets.acdc import STRUCTURES
from shared.files import read_csv
from tests.dense_unet.rings import slice_of, volume


def phase(slices_ml, gaps_deg):
    """A ventricle whose slices, the base first, have these volumes and gaps."""
    radii = range(40, 40 - 4 * len(gaps_deg), -4)  # the heart tapers, so that its base is found
    slices = [slice_of(gap_deg=gap, radii_px=(radius, radius)) for gap, radius in zip(gaps_deg, radii, strict=True)]
    return Phase(np.array(slices_ml, float), basal.surroundings(volume(*slices), STRUCTURES))


def test_by_hand():
    ed, es = phase([40, 40, 20], [200, 0, 0]), phase([10, 20, 20], [40, 0, 0])
    assert fractions(ed, es) == {
        "all slices": 50,  # 100 to 50
        "criterion A": pytest.approx(100 * (60 - 50) / 60),  # the open base of ED has less than half, that of ES more
        "criterion B": pytest.approx(100 * (60 - 40) / 60),
        "no base at ED": pytest.approx(100 * (60 - 50) / 60),
        "no base at ES": 60,
        "no base at both": pytest.approx(100 * (60 - 40) / 60),
    }


def test_closed_ventricles_have_one_ejection_fraction():
    found = fractions(phase([30, 20], [0, 0]), phase([12, 8], [0, 0]))
    assert found["all slices"] == found["criterion A"] == found["criterion B"] == 60


def test_the_table_tells_changes_in_points():
    patients = {"a": fractions(phase([40, 60], [20, 0]), phase([10, 40], [0, 0])),  # EF 50; B: 60 to 50
                "b": fractions(phase([40, 60], [0, 0]), phase([10, 40], [0, 0]))}  # fmt: skip
    row = next(line for line in ejection.table(patients) if "criterion B" in line)
    change = 100 * (60 - 50) / 60 - 50
    std = abs(change) / np.sqrt(2)
    assert row == f"| criterion B | 2 | {change / 2:+.1f} ({std:.1f}) | {change:+.1f} | +0.0 | 1 |"


def test_the_command_measures_references(phantom_root, tmp_path, capsys):
    ejection.main(["--dataset", "acdc", "--data-root", str(phantom_root), "-o", str(tmp_path)])
    rows = read_csv(tmp_path / "ejection.csv")
    assert len(rows) > 1 and all(0 < row["no base at ED"] < row["all slices"] < row["no base at ES"] < 100 for row in rows)
    assert (tmp_path / "ejection.png").stat().st_size > 1000
    assert f"| criterion A | {len(rows)} |" in capsys.readouterr().out


def test_patients_with_one_phase_are_no_pairs(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        ejection.main(["--dataset", "lasc", "--data-root", str(tmp_path), "-o", str(tmp_path / "out")])
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
