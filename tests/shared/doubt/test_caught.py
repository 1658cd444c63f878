"""How doubt and Dice went together."""

from shared.doubt import caught
from shared.doubt.judge import Verdict
from shared.files import read_csv


def rows(dice):
    return [{"case": case, "structure": "LV", "dice": value} for case, value in dice.items()]


def test_flagged_failures_and_false_alarms_are_counted(tmp_path):
    verdicts = {"a": Verdict(0.9, "small"), "b": Verdict(0.1), "c": Verdict(0.7), "d": Verdict(0.2)}
    lines = caught.write(tmp_path, verdicts, rows({"a": 0.5, "b": 0.7, "c": 0.9, "d": 0.95}))
    assert lines[1] == (
        "Doubt: 1 of 2 label maps with a mean Dice below 0.80 have one above 0.5, and 1 of 2 others; "
        "rank correlation of doubt and Dice -0.40."
    )
    table = read_csv(tmp_path / "doubts.csv")
    assert [(row["case"], row["mean_dice"], row["doubt"], row["reasons"]) for row in table][0] == ("a", 0.5, 0.9, "small")


def test_one_label_map_has_no_correlation_and_none_no_line(tmp_path):
    assert "rank" not in caught.write(tmp_path, {"a": Verdict(0.9)}, rows({"a": 0.5}))[1]
    assert caught.write(tmp_path / "none", {}, []) == [] and not (tmp_path / "none").exists()
