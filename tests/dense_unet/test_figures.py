"""Bland-Altman pictures of volumes and mass."""

import pytest

from dense_unet import figures


def rows(phases=("ED", "ES"), patients=("a", "b", "c")):
    return [
        {"case": f"{patient}_{phase}", "patient": patient, "phase": phase, "structure": structure,
         "volume_ml": 100.0 + 10 * i + (phase == "ED"), "reference_ml": 100.0}
        for i, patient in enumerate(patients) for phase in phases for structure in ("LV", "RV", "Myo")
    ]  # fmt: skip


def test_panels_by_hand():
    ed, es = figures.panels_of(rows(), "LV")
    # differences at ES 0, 10, 20: mean 10, sample standard deviation 10
    assert (es[0], es[1], es[-1]) == ("LV ESV", "ml", (10.0, -10.0, 30.0)) and ed[0] == "LV EDV"
    mass, _ = figures.panels_of(rows(), "Myo")
    assert mass[:2] == ("Myo mass ED", "g") and mass[2][0] == pytest.approx(1.05 * 101)


def test_pictures_are_drawn_for_the_phases_that_are_there(tmp_path):
    figures.draw(tmp_path / "both", rows())
    assert {path.name for path in (tmp_path / "both" / "figures").iterdir()} == {"volumes.png", "mass.png"}
    assert [panel[0] for panel in figures.panels_of(rows(phases=("ED",)), "RV")] == ["RV EDV"]
    figures.draw(tmp_path / "none", rows(patients=("a",)))
    figures.draw(tmp_path / "none", [row for row in rows() if row["structure"] == "none"])
    assert not (tmp_path / "none").exists()
