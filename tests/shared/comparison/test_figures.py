"""The pictures: the same cases for all methods, chosen by the mean over methods."""

import dataclasses
import re

import pytest

from shared.comparison import figures, page, report, scored
from shared.comparison.scored import Scored
from shared.files import write_text
from shared.scoring import plots


@pytest.fixture
def panels(monkeypatch):
    """Name of a picture -> what it was asked to show; nothing is drawn."""
    asked = {}
    for name in ("paired", "bland_altman", "curves", "overlay"):
        monkeypatch.setattr(plots, name, lambda path, shown, *more, **options: asked.update({path.stem: shown}))
    return asked


def test_what_is_drawn(contest, panels):
    figures.draw(contest, scored.evaluate(contest))
    assert sorted(panels) == sorted([
        "dice", "best", "median", "worst", "agreement_LV_EF", "agreement_RV_EF",
        *(f"agreement_{structure}_{phase}_volume" for structure in ("LV", "Myo", "RV") for phase in ("ED", "ES")),
        *(f"along_axis_{structure}" for structure in ("mean", "LV", "Myo", "RV")),
    ])  # fmt: skip
    titles = [title for title, _ in panels["dice"]]
    assert titles == ["mean", "RV", "Myo", "LV"] and list(panels["dice"][1][1]) == ["exact", "shifted", "short"]
    assert panels["dice"][1][1]["shifted"] == [0.75] * 4
    assert [panel[0] for panel in panels["agreement_LV_EF"]] == ["LV EF, exact", "LV EF, shifted", "LV EF, short"]
    assert list(panels["along_axis_LV"]) == ["exact", "shifted", "short"]
    assert panels["along_axis_LV"]["short"][-1][:2] == (pytest.approx(17 / 18), 0)


def test_all_methods_show_the_same_case_with_their_dice(contest, panels):
    found = scored.evaluate(contest)
    figures.draw(contest, found)
    for name in ("best", "worst"):
        titles = [title.split("\n") for title, *_ in panels[name]]
        assert titles[0] == [panels[name][0][0].split("\n")[0], "reference"]
        assert [first for first, _ in titles[1:]] == ["exact", "shifted", "short"] and titles[1][1] == "Dice 1.000"
    # the shift costs more at ED, where the wall is thinner, and both patients are equal: names decide
    assert panels["worst"][0][0].startswith("patient005_ED") and panels["best"][0][0].startswith("patient010_ES")


def test_pictures_are_written(contest):
    figures.draw(contest, scored.evaluate(contest))
    files = sorted((contest.folder / "figures").glob("*.png"))
    assert len(files) == 16 and all(path.read_bytes().startswith(b"\x89PNG") for path in files)


def test_the_page_has_every_case_with_the_label_maps_of_all_methods(contest):
    found = scored.evaluate(contest)
    figures.draw(contest, found)
    report.write(contest, found, {}, [])
    page.write(contest, found)
    text = (contest.folder / "report.html").read_text()
    assert text.count('class="thumb"') == 4 and text.count('class="layer3 off" transform') == 4  # reference and three methods
    shifted = re.search(r'<th scope="row">patient005_ED</th>(.*?)</tr>', text, re.DOTALL).group(1)
    assert re.findall(r'<td class="n"[^>]*>(.*?)</td>', shifted)[0] == "1.000" and "exact, mean Dice" in text


def test_pictures_of_an_earlier_comparison_do_not_stay(contest, panels):
    write_text(contest.folder / "figures" / "along_axis_LA.png", "")
    figures.draw(dataclasses.replace(contest, entrants=[]), Scored([], []))
    assert not panels and not list((contest.folder / "figures").iterdir())
