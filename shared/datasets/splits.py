"""Which patients train, validate and test. Splits are by patient, deterministic, and written into every run."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.datasets.case import Case
from shared.errors import InputError
from shared.files import read_json

COMMON = "common"  # in the place of a split file
COMMON_PARTS = 5
NUMBERED = ("acdc", "phantom")  # data sets of which Baumgartner 2017 held out the patients with numbers divisible by 5
SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Patient identifiers of the three sides. No patient is on two sides, but `test` may be the validation side itself."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        sides = [(name, getattr(self, name)) for name in self.distinct]
        for i, (name, patients) in enumerate(sides):
            if not patients:
                advice = "more patients are needed, or another --fold or --split"
                raise InputError(f"no patient left on the {name} side of the split: {advice}")
            for other_name, others in sides[i + 1 :]:
                both = sorted(set(patients) & set(others))
                if both:
                    raise InputError(f"patients on two sides of the split ({name}, {other_name}): {', '.join(both)[:80]}")

    @property
    def distinct(self) -> tuple[str, ...]:
        """The names of the sides, without `test` where it is the validation side itself."""
        return SIDES[:2] if set(self.test) == set(self.validation) else SIDES

    def of(self, cases: Iterable[Case], side: str) -> list[Case]:
        """The cases whose patient is on `side` ("train", "validation" or "test"), in their order."""
        patients = set(getattr(self, side))
        return [case for case in cases if case.patient in patients]


def by_number(cases: Iterable[Case], modulus: int, fold: int) -> Split:
    """Validation and test are the patients whose number is `fold` modulo `modulus`; all others train.

    A patient's number is the one at the end of its identifier (patient005 -> 5), if all patients have different ones that give
    every fold a patient. Otherwise it is its place in alphabetical order, from 1, and if there are fewer patients than `modulus`,
    there are as many folds as patients. Over all folds, each patient is held out once.

    Raises:
        InputError: there is no such fold, or only one patient.
    """
    patients = sorted({case.patient for case in cases})
    check_fold(fold, modulus)
    numbers: Sequence[int] = [number for number in map(trailing_number, patients) if number is not None]
    distinct = len(set(numbers)) == len(patients)
    if not distinct or len({number % modulus for number in numbers}) < modulus:
        numbers, parts = range(1, len(patients) + 1), max(1, min(modulus, len(patients)))
        if fold >= parts:
            raise InputError(
                f"--fold {fold}: {len(patients)} patients make no more than {parts} folds; expected 0 to {parts - 1}"
            )
        if distinct or parts < modulus:
            warnings.warn(
                f"the numbers that the {len(patients)} patients' names end with do not give each of {modulus} folds a patient; "
                f"held out are those whose place in alphabetical order is {fold} modulo {parts} (--fold chooses others)",
                stacklevel=2,
            )
        modulus = parts
    held_out = tuple(p for p, number in zip(patients, numbers, strict=True) if number % modulus == fold)
    return Split(tuple(p for p in patients if p not in set(held_out)), held_out, held_out)


def k_fold(cases: Iterable[Case], folds: int, fold: int, seed: int) -> Split:
    """Deal the patients into `folds` random parts of equal size, each group evenly; part `fold` validates and tests."""
    check_fold(fold, folds)
    held_out, others = deal(groups(cases), folds, fold, np.random.default_rng(seed))
    return Split(others, held_out, held_out)


def hold_out(cases: Iterable[Case], parts: int, folds: int, fold: int, seed: int) -> Split:
    """Deal the patients into `parts` random parts of equal size, of which one tests, the same in every fold.

    The others are dealt into `folds` random parts, of which part `fold` validates and the rest train. Each group is dealt evenly,
    both times.
    """
    check_fold(fold, folds)
    group_of, rng = groups(cases), np.random.default_rng(seed)
    test, others = deal(group_of, parts, 0, rng)
    validation, train = deal({patient: group_of[patient] for patient in others}, folds, fold, rng)
    return Split(train, validation, test)


def by_share(cases: Iterable[Case], validation: float, test: float, seed: int) -> Split:
    """Random shares of the patients validate and test, each taken evenly from all groups; the rest trains.

    Of n patients, `test` * n test, rounded to the nearest whole number (a half goes up), and `validation` * n validate, rounded
    down; both sides have at least one.
    """
    dealt = shuffled(groups(cases), np.random.default_rng(seed))
    counts = max(1, int(test * len(dealt) + 0.5)), max(1, int(validation * len(dealt)))
    held_out = []
    for count in counts:
        count = min(count, len(dealt))
        chosen = {int((k + 0.5) * len(dealt) / count) for k in range(count)}  # evenly spread, so that every group gives its share
        held_out.append(tuple(sorted(patient for place, patient in enumerate(dealt) if place in chosen)))
        dealt = [patient for place, patient in enumerate(dealt) if place not in chosen]
    return Split(tuple(sorted(dealt)), held_out[1], held_out[0])


def given(split: str, dataset: str, cases: Sequence[Case]) -> Split:
    """The split that --split names: `COMMON`, or a JSON file of the patients on each side.

    Raises:
        InputError: a file that holds something else, or names patients that the data lack.
    """
    return common(dataset, cases) if split == COMMON else read(Path(split), cases)


def common(dataset: str, cases: Sequence[Case]) -> Split:
    """The split on which all methods are compared: a fifth of the patients tests, and a fifth of the others validates.

    In ACDC and the phantom the test side is that of Baumgartner 2017, elsewhere that of Vesal 2020 (`hold_out`).
    """
    if dataset not in NUMBERED:
        return hold_out(cases, COMMON_PARTS, COMMON_PARTS, 0, seed=0)
    test, group_of = by_number(cases, COMMON_PARTS, 0).test, groups(cases)
    others = {patient: group for patient, group in group_of.items() if patient not in test}
    validation, train = deal(others, COMMON_PARTS, 0, np.random.default_rng(0))
    return Split(train, validation, test)


def read(path: Path, cases: Iterable[Case]) -> Split:
    """The split in a JSON file: {"train": [patient, ...], "validation": [...], "test": [...]}. It may leave patients out.

    Raises:
        InputError: the file holds something else, names a patient twice on a side, or patients that the data lack.
    """
    split, known = in_file(path), {case.patient for case in cases}
    for side in SIDES:
        missing = [patient for patient in getattr(split, side) if patient not in known]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise InputError(f"{path}: {side}: the data lack {', '.join(map(repr, missing[:3]))[:80]}{more}; "
                             f"patients there are called like {min(known)!r}")  # fmt: skip
    return split


def check_copies(split: Split, cases: Iterable[Case], digests: Mapping[str, str]) -> None:
    """Warn of two patients on different sides whose scan and reference are the same files.

    Args:
        split: whatever it was made by.
        cases: of the data set.
        digests: case name -> fingerprint of its files.
    """
    first: dict[str, tuple[str, Case]] = {}
    sides = [(side, case) for side in split.distinct for case in split.of(cases, side)]
    for side, case in sides:
        where, other = first.setdefault(digests[case.name], (side, case))
        if where != side and other.patient != case.patient:
            text = f"{other.image} and {case.image}: the same scan and reference, on the {where} and on the {side} side"
            warnings.warn(f"{text}; what is measured on it flatters", stacklevel=3)
            return


def check(split: str) -> None:
    """Raise InputError unless --split names `COMMON` or a file that holds a split, of whatever patients."""
    if split != COMMON:
        in_file(Path(split))


def check_alone(split: str, fold: int | str, default: int | str) -> None:
    """Raise InputError if --split is given together with another --fold than the default."""
    if split and fold != default:
        raise InputError(f"--fold {fold}: a split that is given has no folds; leave one of --split and --fold out")


def check_made_on(split: Split, found: Mapping[str, Iterable[str]], folder: Path) -> None:
    """Raise InputError unless the run in `folder`, whose record says `found`, was made on this split."""
    for side in SIDES:
        if set(found[side]) != set(getattr(split, side)):
            raise InputError(
                f"{folder}: a run with other patients on the {side} side; choose another --workdir, or remove the run"
            )


def in_file(path: Path) -> Split:
    """`read`, whatever patients there are."""
    if path.stem.casefold() == COMMON:
        raise InputError(f"{path}: {COMMON} is the split on which methods are compared; give the file another name")
    content = read_json(path)
    if not isinstance(content, dict) or set(content) != set(SIDES):
        raise InputError(f"{path}: expected a table with the sides {', '.join(SIDES)}, each a list of patients")
    for side, patients in content.items():
        if not isinstance(patients, list) or not all(isinstance(patient, str) for patient in patients):
            raise InputError(f"{path}: {side}: expected a list of patients")
        if len(set(patients)) < len(patients):
            raise InputError(f"{path}: {side}: a patient is named twice")
    try:
        return Split(**{side: tuple(sorted(content[side])) for side in SIDES})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def groups(cases: Iterable[Case]) -> dict[str, str]:
    """Patient -> group."""
    return {case.patient: case.group for case in cases}


def deal(group_of: Mapping[str, str], parts: int, part: int, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Shuffle the patients and deal them like cards, one group after the other: those of `part`, and all others."""
    everybody = shuffled(group_of, rng)
    dealt = everybody[part::parts]
    return tuple(sorted(dealt)), tuple(sorted(set(everybody) - set(dealt)))


def shuffled(group_of: Mapping[str, str], rng: np.random.Generator) -> list[str]:
    """The patients in random order within each group, one group after the other."""
    return [
        patient
        for group in sorted(set(group_of.values()))
        for patient in rng.permutation(sorted(p for p in group_of if group_of[p] == group)).tolist()
    ]


def check_fold(fold: int, folds: int) -> None:
    if not 0 <= fold < folds:
        raise InputError(f"--fold {fold}: expected 0 to {folds - 1}")


def trailing_number(name: str) -> int | None:
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits else None
