"""How long something takes, and how long is left."""

import pytest

from shared import progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (720, "12 min"),
        (5300, "88 min"),
        (5400, "1 h 30 min"),
        (12000, "3 h 20 min"),
        (172_740, "47 h 59 min"),
        (172_800, "2 days"),
        (49_644_000, "575 days"),
    ],
)
def test_duration(seconds, text):
    assert progress.duration(seconds) == text


def test_progress_says_how_long_is_left(monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = progress.Progress("case", 10, done=4)
    for step in range(6):
        clock[0] += 20 if step else 500  # the first compiles the network: it says nothing about the others
        shown.step("Dice 0.9")
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(text.split()) for text in lines] == [
        *(f"case {n}/10 Dice 0.9 {left} left" for n, left in ((6, "80 s"), (7, "60 s"), (8, "40 s"), (9, "20 s"))),
        "case 10/10 Dice 0.9 10 min",  # took that long in all
    ]


def test_progress_is_silent_where_it_is_quick(capsys):
    assert list(progress.Progress("case", 3).over("abc")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_counted():
    assert [progress.counted(number, "scan") for number in (0, 1, 2)] == ["0 scans", "1 scan", "2 scans"]
