"""Which patients are on which side: the same in every run, nobody on two sides, groups spread evenly."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.datasets import Case
from shared.datasets.splits import Split, by_number, by_share, check_copies, common, hold_out, k_fold
from shared.datasets.splits import given as given_split
from shared.errors import InputError
from shared.files import write_json

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def case(patient, group="", phase=""):
    return Case(patient=patient, phase=phase, image=Path(f"{patient}.nii"), label=None, group=group, structures={1: "LV"})


def acdc_cases():
    groups = ("NOR", "MINF", "DCM", "HCM", "RV")
    return [case(f"patient{n:03d}", groups[(n - 1) // 20], phase) for n in range(1, 101) for phase in ("ED", "ES")]


def test_modulo_five_of_acdc():
    cases = acdc_cases()
    split = by_number(cases, 5, 0)
    assert split.validation == tuple(f"patient{n:03d}" for n in range(5, 101, 5))
    assert split.test == split.validation and len(split.train) == 80
    assert [len(split.of(cases, side)) for side in ("train", "validation", "test")] == [160, 40, 40]
    groups = [c.group for c in split.of(cases, "validation") if c.phase == "ED"]
    assert {group: groups.count(group) for group in groups} == dict.fromkeys(("NOR", "MINF", "DCM", "HCM", "RV"), 4)


def test_of_keeps_the_order_of_the_cases():
    cases = [case("b", phase="ES"), case("a"), case("c"), case("b", phase="ED")]
    split = Split(("b", "c"), ("a",), ("a",))
    assert split.of(cases, "train") == [cases[0], cases[2], cases[3]]
    assert split.of(cases, "validation") == [cases[1]]


def test_all_folds_of_a_modulus_cover_everybody_once():
    held_out = [by_number(acdc_cases(), 5, fold).validation for fold in range(5)]
    assert sorted(itertools.chain(*held_out)) == [f"patient{n:03d}" for n in range(1, 101)]
    assert held_out[2][0] == "patient002"


@pytest.mark.parametrize(
    ("patients", "held_out"),
    [
        (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], ("e", "j")),  # no numbers: rank, from 1
        (["x1", "x2", "y", "z4", "z5"], ("z5",)),  # not all have one
        (["a1", "a2", "b1", "b2", "c3"], ("c3",)),  # two of the same
        (["p10", "p5", "p7", "p15", "p3", "p1", "p4"], ("p10", "p15", "p5")),  # numbers count, not their order
        (["2020scan", "b", "c", "d", "e"], ("e",)),  # a number in front is none
    ],
)
def test_numbers_of_patients(patients, held_out):
    split = by_number([case(patient) for patient in patients], 5, 0)
    assert split.validation == held_out
    assert set(split.train) == set(patients) - set(held_out)


@pytest.mark.parametrize(
    ("patients", "fold", "held_out", "parts"),
    [
        ([f"s{k:02d}1" for k in range(1, 13)], 0, ("s051", "s101"), 5),  # none is divisible by 5: places 5 and 10
        ([f"s{k:02d}1" for k in range(1, 13)], 1, ("s011", "s061", "s111"), 5),  # all are 1 modulo 5: places 1, 6, 11
        (["p1", "p2", "p3", "p4", "p6", "p7"], 0, ("p6",), 5),
        (["p1", "p2", "p3", "p4", "p6", "p7"], 1, ("p1", "p7"), 5),
        (["p5", "p10"], 1, ("p10",), 2),
        (["5", "3"], 0, ("5",), 2),
        (["anna", "bea", "carl"], 0, ("carl",), 3),
    ],
)
def test_numbers_that_leave_a_fold_empty_give_way_to_places(patients, fold, held_out, parts):
    with pytest.warns(UserWarning, match=rf"place in alphabetical order is {fold} modulo {parts} \(--fold"):
        split = by_number([case(patient) for patient in patients], 5, fold)
    assert split.validation == split.test == held_out and set(split.train) == set(patients) - set(held_out)


@pytest.mark.parametrize("patients", [["p1", "p2", "p3", "p4", "p6", "p7"], ["p5", "p10", "p15", "p20", "p21"], ["a", "b", "c"]])
@pytest.mark.filterwarnings("ignore:the numbers that")
def test_every_patient_is_held_out_in_one_fold_whatever_the_numbers_are(patients):
    folds = [by_number([case(patient) for patient in patients], 5, fold) for fold in range(min(5, len(patients)))]
    assert sorted(patient for split in folds for patient in split.test) == sorted(patients)


def test_too_few_patients_for_a_fold():
    with pytest.raises(InputError, match="^--fold 2: 2 patients make no more than 2 folds; expected 0 to 1$"):
        by_number([case("p1"), case("p2")], 5, 2)


@pytest.mark.filterwarnings("ignore:the numbers that")
def test_one_patient_cannot_be_split():
    with pytest.raises(InputError, match="no patient left on the train side"):
        by_number([case("p1")], 5, 0)


@pytest.mark.parametrize("sides", [(("a", "b", "c"), ("c", "b"), ("d",)), (("a", "b"), ("c", "d"), ("b", "c"))])
def test_patient_on_two_sides(sides):
    with pytest.raises(InputError, match="two sides") as raised:
        Split(*sides)
    message = str(raised.value)
    assert "b" in message and "train" in message and "\n" not in message
    if "c" in sides[0]:
        assert "b, c" in message and "validation" in message


def test_test_side_is_apart_or_the_validation_side():
    assert Split(("a",), ("b",), ("c",)).test == ("c",)
    assert Split(("a",), ("b", "c"), ("c", "b")).test == ("c", "b")
    with pytest.raises(InputError, match="validation, test.*: b"):
        Split(("a",), ("b", "c"), ("b",))
    with pytest.raises(InputError, match="train, test.*: a"):
        Split(("a",), ("b",), ("a",))


@pytest.mark.parametrize(
    ("sides", "name"), [(((), ("a",), ("a",)), "train"), ((("a",), (), ()), "validation"), ((("a",), ("b",), ()), "test")]
)
def test_empty_side(sides, name):
    with pytest.raises(InputError, match=f"no patient left on the {name} side"):
        Split(*sides)


@pytest.mark.parametrize("fold", [-1, 5, 99])
def test_fold_out_of_range(fold):
    for split in (lambda: by_number(acdc_cases(), 5, fold), lambda: k_fold(acdc_cases(), 5, fold, 0)):
        with pytest.raises(InputError, match=f"--fold {fold}: expected 0 to 4"):
            split()


@st.composite
def patients(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    groups = [f"group{g}" for g, size in enumerate(sizes) for _ in range(size)]
    return [case(f"p{i}", group, phase) for i, group in enumerate(groups) for phase in ("ED", "ES")]


@PROPERTY
@given(cases=patients(), folds=st.integers(2, 6), seed=st.integers(0, 999))
def test_k_fold(cases, folds, seed):
    names = {c.patient for c in cases}
    if len(names) < folds:
        with pytest.raises(InputError, match="more patients are needed"):
            for fold in range(folds):
                k_fold(cases, folds, fold, seed)
        return
    splits = [k_fold(cases, folds, fold, seed) for fold in range(folds)]
    assert sorted(itertools.chain.from_iterable(split.validation for split in splits)) == sorted(names)
    for split in splits:
        assert set(split.train) == names - set(split.validation) and split.test == split.validation
    for group in {"", *(c.group for c in cases)}:
        members = {c.patient for c in cases if group in ("", c.group)}
        held = [len(members & set(split.validation)) for split in splits]
        assert max(held) - min(held) <= 1
    assert k_fold(cases[::-1], folds, 0, seed) == splits[0]


def test_k_fold_is_random_by_seed():
    drawn = {k_fold(acdc_cases(), 5, 0, seed).validation for seed in range(20)}
    assert len(drawn) == 20


def test_hold_out_of_acdc():
    cases = acdc_cases()
    splits = [hold_out(cases, 5, 5, fold, 0) for fold in range(5)]
    groups = {c.patient: c.group for c in cases}

    def in_groups(patients):
        return sorted(sum(groups[patient] == group for patient in patients) for group in set(groups.values()))

    assert {split.test for split in splits} == {splits[0].test} and in_groups(splits[0].test) == [4] * 5
    for split in splits:
        assert len(split.validation) == 16 and in_groups(split.validation) == [3, 3, 3, 3, 4]
        assert len(split.train) == 64 and set(split.train) | set(split.validation) | set(split.test) == set(groups)


def test_hold_out_without_groups():
    splits = [hold_out([case(f"p{i}") for i in range(40)], 5, 5, fold, 1) for fold in range(5)]
    assert {len(split.test) for split in splits} == {8}
    assert sorted(len(split.validation) for split in splits) == [6, 6, 6, 7, 7]


@PROPERTY
@given(cases=patients(), parts=st.integers(2, 5), folds=st.integers(2, 5), seed=st.integers(0, 999), data=st.data())
def test_hold_out(cases, parts, folds, seed, data):
    names = {c.patient for c in cases}
    tested = -(-len(names) // parts)
    if len(names) - tested < folds:
        with pytest.raises(InputError, match="more patients are needed"):
            for fold in range(folds):
                hold_out(cases, parts, folds, fold, seed)
        return
    splits = [hold_out(cases, parts, folds, fold, seed) for fold in range(folds)]
    test = set(splits[0].test)
    assert len(test) == tested and {split.test for split in splits} == {splits[0].test}
    assert sorted(itertools.chain.from_iterable(split.validation for split in splits)) == sorted(names - test)
    assert all(set(split.train) == names - test - set(split.validation) for split in splits)
    for group in {"", *(c.group for c in cases)}:
        members = {c.patient for c in cases if group in ("", c.group)}
        assert abs(len(members & test) - len(members) / parts) < 1
        held = [len(members & set(split.validation)) for split in splits]
        assert max(held) - min(held) <= 1
    assert [hold_out(data.draw(st.permutations(cases)), parts, folds, fold, seed) for fold in range(folds)] == splits


def test_hold_out_is_random_by_seed():
    drawn = [hold_out(acdc_cases(), 5, 5, 0, seed) for seed in range(20)]
    assert len({split.test for split in drawn}) == len({split.validation for split in drawn}) == 20
    with pytest.raises(InputError, match="--fold 5: expected 0 to 4"):
        hold_out(acdc_cases(), 5, 5, 5, 0)


# Shares ---------------------------------------------------------------------------------------------------------------------


def of_groups(*sizes):
    return [case(f"{group}{n:03d}", group, phase) for group, size in zip("ABCDE", sizes, strict=False) for n in range(size)
            for phase in ("ED", "ES")]  # fmt: skip


def counts(split, group):
    return [sum(patient.startswith(group) for patient in side) for side in (split.train, split.validation, split.test)]


def test_shares_of_210_patients_of_three_groups():
    """Penso 2020: 15 % of 210 is 31.5."""
    split = by_share(of_groups(70, 70, 70), 0.15, 0.15, 0)
    assert [len(side) for side in (split.train, split.validation, split.test)] == [147, 31, 32]
    for group in "ABC":
        train, validation, test = counts(split, group)
        assert train in (48, 49, 50) and validation in (10, 11) and test in (10, 11)
    cases = of_groups(70, 70, 70)
    assert [len(split.of(cases, side)) for side in ("train", "validation", "test")] == [294, 62, 64]


def test_shares_of_acdc_take_as_many_from_each_group():
    split = by_share(acdc_cases(), 0.15, 0.15, 0)
    assert [len(side) for side in (split.train, split.validation, split.test)] == [70, 15, 15]
    group_of = {case.patient: case.group for case in acdc_cases()}
    for side, each in ((split.train, 14), (split.validation, 3), (split.test, 3)):
        assert [sum(group_of[p] == group for p in side) for group in sorted(set(group_of.values()))] == [each] * 5


def test_shares_depend_on_the_seed_and_on_nothing_else():
    cases = of_groups(7, 9)
    assert by_share(cases, 0.15, 0.15, 3) == by_share(cases[::-1], 0.15, 0.15, 3) != by_share(cases, 0.15, 0.15, 4)


@pytest.mark.parametrize(("patients", "expected"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (7, 1, 2)), (20, (14, 3, 3))])
def test_shares_of_few_patients_leave_nobody_out(patients, expected):
    split = by_share(of_groups(patients), 0.15, 0.15, 0)
    assert (len(split.train), len(split.validation), len(split.test)) == expected


def test_shares_need_three_patients():
    for patients in (1, 2):
        with pytest.raises(InputError, match="no patient left on the"):
            by_share(of_groups(patients), 0.15, 0.15, 0)


@PROPERTY
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_shares_are_taken_evenly_from_all_groups(sizes, validation, test):
    if sum(sizes) < 12:
        return
    split = by_share(of_groups(*sizes), validation, test, 1)
    assert len(split.train) + len(split.validation) + len(split.test) == sum(sizes)
    for group, size in zip("ABCDE", sizes, strict=False):
        share = len(split.test) / sum(sizes)
        assert abs(counts(split, group)[2] - share * size) < 1.01


# Splits that are given -----------------------------------------------------------------------------------------------------


def test_the_common_split_of_acdc():
    """Test: numbers divisible by 5, as Baumgartner 2017; of the 80 others a fifth of each group validates."""
    cases = acdc_cases()
    split = common("acdc", cases)
    assert split.test == by_number(cases, 5, 0).test and (len(split.train), len(split.validation)) == (64, 16)
    groups = [c.group for c in split.of(cases, "validation") if c.phase == "ED"]
    assert sorted(groups.count(group) for group in set(groups)) == [3, 3, 3, 3, 4]
    assert common("acdc", cases[::-1]) == split


def test_the_common_split_of_other_data_is_the_first_fold_of_vesal_2020():
    cases = [case(f"scan{n}") for n in range(40)]
    assert common("lasc", cases) == hold_out(cases, 5, 5, 0, seed=0)


def test_a_split_from_a_file(tmp_path):
    file = tmp_path / "split.json"
    write_json(file, {"test": ["patient003"], "train": ["patient002", "patient001"], "validation": ["patient004"]})
    expected = Split(("patient001", "patient002"), ("patient004",), ("patient003",))
    assert given_split(str(file), "acdc", acdc_cases()) == expected
    assert given_split("common", "acdc", acdc_cases()) == common("acdc", acdc_cases())


SIDES = {"train": ["patient001"], "validation": ["patient002"], "test": ["patient003"]}


@pytest.mark.parametrize(("content", "words"), [
    ([], "expected a table with the sides train, validation, test"),
    ({"train": ["patient001"], "test": ["patient002"]}, "expected a table with the sides"),
    ({**SIDES, "more": []}, "expected a table with the sides"),
    ({**SIDES, "test": "patient003"}, "test: expected a list of patients"),
    ({**SIDES, "test": [3]}, "test: expected a list of patients"),
    ({**SIDES, "test": ["patient003"] * 2}, "test: a patient is named twice"),
    ({**SIDES, "train": [f"p{n}" for n in range(9)]},
     "train: the data lack 'p0', 'p1', 'p2' and 6 more; patients there are called like 'patient001'"),
    ({**SIDES, "test": ["patient001"]}, r"patients on two sides of the split \(train, test\): patient001"),
    ({**SIDES, "validation": []}, "no patient left on the validation side"),
])  # fmt: skip
def test_split_files_that_cannot_be_used(content, words, tmp_path):
    file = tmp_path / "split.json"
    write_json(file, content)
    with pytest.raises(InputError, match=words) as raised:
        given_split(str(file), "acdc", acdc_cases())
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_is_not_called_like_the_common_split(tmp_path):
    """Runs and comparisons are called after it, and would be taken for those of the common split."""
    for name in ("common.json", "Common"):
        write_json(tmp_path / name, SIDES)
        with pytest.raises(InputError, match="common is the split on which methods are compared; give the file another name"):
            given_split(str(tmp_path / name), "acdc", acdc_cases())


def test_a_split_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        given_split(str(tmp_path / "none.json"), "acdc", acdc_cases())


@pytest.mark.parametrize("copy", ["c_ED", "d_ES"])
def test_one_scan_under_two_names_on_two_sides_is_said(copy):
    cases = [case(patient, phase=phase) for patient in "abcd" for phase in ("ED", "ES")]
    digests = {each.name: each.name for each in cases}
    split = Split(("a", "b"), ("c",), ("d",))
    check_copies(split, cases, {**digests, "b_ES": "a_ED"})  # both train
    check_copies(Split(("a", "b"), ("c", "d"), ("c", "d")), cases, {**digests, "d_ES": "c_ED"})  # both validate, and both test
    side = "validation" if copy[0] == "c" else "test"
    with pytest.warns(
        UserWarning, match=f"a.nii and {copy[0]}.nii: the same scan and reference, on the train and on the {side} side"
    ):
        check_copies(split, cases, {**digests, copy: "a_ED"})
