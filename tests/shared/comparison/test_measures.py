"""Summaries, agreement, tests, ranks and parts of the cases, by hand on rows that are made up."""

import math

import pytest

from shared.comparison import measures

NAN = float("nan")


def rows_of(scores, structure="LV", group="", **others):
    """Rows of cases: method -> Dice of the volumes in their order: patients a, b, ..., each at ED and ES."""
    return [
        {
            "method": method, "case": f"{'abcdefghij'[k // 2]}_{'ED' if k % 2 == 0 else 'ES'}", "patient": "abcdefghij"[k // 2],
            "phase": "ED" if k % 2 == 0 else "ES", "group": group, "structure": structure, "dice": dice, "assd_mm": 1 - dice,
            "hausdorff_mm": 10 * (1 - dice), "volume_ml": 100.0, "reference_ml": 90.0, **others,
        }
        for method, values in scores.items()
        for k, dice in enumerate(values)
    ]  # fmt: skip


def test_summaries_by_hand():
    rows = rows_of({"net": [0.5, 0.75, 1, 0.25]}) + rows_of({"net": [1, 1, 0, NAN]}, "RV")
    found = {(row["structure"], row["phase"]): row for row in measures.summaries(rows)}
    assert list(found)[:3] == [("mean", "all"), ("mean", "ED"), ("mean", "ES")]
    lv = found["LV", "all"]
    assert (lv["dice"], lv["dice_n"], lv["hausdorff_mm"]) == (0.625, 4, 3.75)
    assert lv["dice_std"] == pytest.approx(math.sqrt((0.125**2 + 0.125**2 + 0.375**2 * 2) / 4))
    assert (found["LV", "ED"]["dice"], found["RV", "ES"]["dice"], found["RV", "ES"]["dice_n"]) == (0.75, 1, 1)
    # means over LV and RV: 0.75, 0.875, 0.5 and undefined
    assert (found["mean", "all"]["dice"], found["mean", "all"]["dice_n"]) == (pytest.approx(2.125 / 3), 3)


def test_agreement_by_hand():
    rows = rows_of({"net": [1, 1, 1, 1]})
    for row, (ours, reference) in zip(rows, [(100, 100), (50, 40), (200, 180), (100, 90)], strict=True):
        row |= {"volume_ml": float(ours), "reference_ml": float(reference)}
    found = {row["measure"]: row for row in measures.agreements(rows)}
    assert list(found) == ["EF", "ED volume", "ES volume"] and found["EF"]["unit"] == "%"
    # EF: 50 against 60, and 50 against 50: differences -10 and 0
    assert (found["EF"]["bias"], found["EF"]["n"]) == (-5, 2)
    assert found["EF"]["high"] == pytest.approx(-5 + 1.96 * math.sqrt(50))
    assert (found["ED volume"]["bias"], found["ES volume"]["bias"]) == (10, 10)
    plain = rows_of({"net": [1, 1]}, "LA")
    for row in plain:
        row |= {"phase": ""}
    assert [(row["measure"], row["bias"]) for row in measures.agreements(plain)] == [("volume", 10)]


def test_patients_are_tested_and_not_their_volumes():
    rows = rows_of({"net": [0.5, 0.75, 1, 0.5], "rival": [0.5, 0.25, NAN, 1]})
    assert measures.per_patient(rows, "dice", "LV") == {"net": [0.625, 0.75], "rival": [0.375, pytest.approx(NAN, nan_ok=True)]}
    pair = next(row for row in measures.tests(rows) if row["measure"] == "dice")
    assert (pair["n"], pair["difference"], pair["verdict"]) == (1, 0.25, "no difference shown")


def test_a_difference_that_is_shown_by_hand():
    """Eight patients, and `net` is better in each by 0.1: p is 2 / 2^8, times 3 by Holm for the smallest of three pairs."""
    base = [0.5 + 0.01 * k for k in range(16)]
    rows = rows_of({"net": [x + 0.1 for x in base], "rival": base, "twin": base})
    found = {(row["measure"], row["first"], row["second"]): row for row in measures.tests(rows)}
    assert len(found) == 9
    pair = found["dice", "net", "rival"]
    assert (pair["p"], pair["p_holm"]) == (pytest.approx(2 / 256), pytest.approx(6 / 256))
    assert [pair[end] for end in ("low", "difference", "high")] == pytest.approx([0.1, 0.1, 0.1])
    assert pair["verdict"] == "net is better"
    assert found["assd_mm", "net", "twin"]["verdict"] == "net is better"  # the lower distance
    assert found["assd_mm", "net", "twin"]["difference"] == pytest.approx(-0.1)
    twins = found["dice", "rival", "twin"]
    assert (twins["p_holm"], twins["verdict"]) == (1, "no difference shown")


def test_a_mean_that_one_patient_turns_against_the_others_shows_nothing():
    """In nine patients `net` is better by 0.01 to 0.09, in the tenth it fails: p is small, and the mean says the opposite."""
    base = [0.9 - 0.01 * k for k in range(10) for _ in "ab"]
    net = [x + 0.01 * (k // 2 + 1) for k, x in enumerate(base[:18])] + [0.1, 0.1]
    pair = next(row for row in measures.tests(rows_of({"net": net, "rival": base})) if row["measure"] == "dice")
    # the rank sum of the one negative difference is 10 of 55: 2 * 43 / 1024 of the sign patterns have one of at most 10
    assert pair["p_holm"] == pytest.approx(2 * 43 / 1024) and pair["difference"] < 0
    assert pair["verdict"] == "no difference shown"


def test_rank_matrix_by_hand():
    # patients: net 0.9, 0.5; rival 0.8, 0.7; third 0.8, undefined
    rows = rows_of({"net": [0.9, 0.9, 0.5, 0.5], "rival": [0.8, 0.8, 0.7, 0.7], "third": [0.8, 0.8, NAN, 0.9]})
    found = {(row["measure"], row["method"]): row["rank"] for row in measures.ranks(rows)}
    assert [found["dice", method] for method in ("net", "rival", "third")] == [1.5, 1.75, 2.75]
    assert [found["assd_mm", method] for method in ("net", "rival", "third")] == [1.5, 1.75, 2.75]


def test_parts_by_hand():
    cases = rows_of({"net": [0.5, 0.75]}, group="DCM") + rows_of({"net": [0.25]}, group="HCM")
    slices = [
        {**case, "third": third, "position": position, "dice": dice}
        for case in cases[:1]
        for third, position, dice in (("apex", 0.9, 0.0), ("base", 0.1, 1.0), ("base", 0.2, 0.5))
    ]
    found = measures.breakdown(cases, slices)
    assert [(row["by"], row["part"], row["dice"], row["n"]) for row in found] == [
        ("diagnosis", "DCM", 0.625, 2), ("diagnosis", "HCM", 0.25, 1), ("phase", "ED", 0.375, 1), ("phase", "ES", 0.75, 1),
        ("position", "base", 0.75, 1), ("position", "apex", 0.0, 1),
    ]  # fmt: skip
    assert measures.breakdown(rows_of({"net": [0.5]}), []) == []  # one diagnosis, one phase


def test_profile_averages_patients():
    slices = [
        {"method": "net", "patient": patient, "structure": "LV", "position": position, "dice": dice}
        for patient, position, dice in (("a", 0.05, 1), ("a", 0.1, 0.5), ("b", 0.05, 0.25), ("b", 1, 0.5))
    ]
    found = measures.profile(slices, "LV", bins=4)
    assert [point[:2] for point in found["net"]] == [(0.125, 0.5), (0.875, 0.5)]
    assert found["net"][0][2] == 0.25 and found["net"][0][3] == 0.75
