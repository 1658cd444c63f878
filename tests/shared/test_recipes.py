"""Ranges of a recipe's fields: what each allows, and the line that a wrong value gives."""

import math
from dataclasses import dataclass, replace

import pytest

from shared.errors import InputError
from shared.recipes import check, flag, name, number, one_of, several, shown, structures, whole


@dataclass(frozen=True)
class Recipe:
    width: whole(1, 512)
    rate: number(0, 10, above=True)
    share: number(0, 1, below=True)
    loss: one_of("dice", "hinge")
    flip: flag()
    shape: several(whole(1, 99), 2, 3)
    structures: structures()
    layer: name()

    def __post_init__(self):
        check(self)


RIGHT = Recipe(width=1, rate=10, share=0, loss="dice", flip=False, shape=(1, 99), structures=("LV", "RV"), layer="features")


@pytest.mark.parametrize(("field", "value"), [
    ("width", 512), ("rate", 1e-300), ("share", 0.999), ("loss", "hinge"), ("flip", True), ("shape", (2, 3, 4)),
    ("structures", ("LA",)), ("layer", "dec 1"),
])  # fmt: skip
def test_values_inside(field, value):
    assert vars(replace(RIGHT, **{field: value}))[field] == value


@pytest.mark.parametrize(("field", "value", "line"), [
    ("width", 0, "width: expected a whole number from 1 to 512, found 0"),
    ("width", 513, "width: expected a whole number from 1 to 512, found 513"),
    ("width", 3.0, "width: expected a whole number from 1 to 512, found 3.0"),
    ("width", True, "width: expected a whole number from 1 to 512, found True"),
    ("rate", 0, "rate: expected a number above 0 and at most 10, found 0"),
    ("rate", math.nan, "rate: expected a number above 0 and at most 10, found nan"),
    ("rate", math.inf, "rate: expected a number above 0 and at most 10, found inf"),
    ("rate", "1", "rate: expected a number above 0 and at most 10, found 1"),
    ("share", 1.0, "share: expected a number of at least 0 and below 1, found 1.0"),
    ("loss", "Dice", "loss: expected one of dice, hinge, found Dice"),
    ("loss", "", "loss: expected one of dice, hinge, found nothing"),
    ("flip", 0, "flip: expected true or false, found 0"),
    ("shape", (1,), "shape: expected 2 or 3 values separated by commas, each a whole number from 1 to 99, found 1"),
    ("shape", (1, 0), "shape: expected 2 or 3 values separated by commas, each a whole number from 1 to 99, found 1,0"),
    ("shape", 5, "shape: expected 2 or 3 values separated by commas, each a whole number from 1 to 99, found 5"),
    ("structures", (), "structures: expected one or more different names of structures, separated by commas, found nothing"),
    ("structures", ("RV", "rv"),
     "structures: expected one or more different names of structures, separated by commas, found RV,rv"),
    ("structures", ("",), "structures: expected one or more different names of structures, separated by commas, found nothing"),
    ("layer", "a\nb", "layer: expected a name, found a\\nb"),
])  # fmt: skip
def test_values_outside_are_said_in_one_line(field, value, line):
    with pytest.raises(InputError) as refused:
        replace(RIGHT, **{field: value})
    assert str(refused.value) == line


def test_at_most_254_structures():
    assert structures().holds(tuple(f"s{i}" for i in range(254))) and not structures().holds(tuple(f"s{i}" for i in range(255)))


def test_long_and_unprintable_values_are_shown_short():
    assert shown("x" * 100) == "x" * 60 + "..." and shown("\udcff\x1b") == "\\udcff\\x1b" and shown(("a", 2, 0.5)) == "a,2,0.5"
    assert shown(10**5000) == "a number of 5001 digits"
