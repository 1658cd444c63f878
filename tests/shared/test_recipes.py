"""Recipes: what each field allows, the line that a wrong value gives, and how recipes with groups are varied and written."""

import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from shared.errors import InputError
from shared.recipes import (
    check,
    flag,
    flat,
    name,
    names,
    number,
    of_fields,
    one_of,
    override,
    parse,
    relatives,
    replace,
    several,
    shown,
    structures,
    whole,
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    width: Annotated[int, whole(1, 512)]
    rate: Annotated[float, number(0, 10, above=True)]
    share: Annotated[float, number(0, 1, below=True)]
    loss: Annotated[str, one_of("dice", "hinge")]
    flip: Annotated[bool, flag()]
    shape: Annotated[tuple[int, ...], several(whole(1, 99), 2, 3)]
    structures: Annotated[tuple[str, ...], structures()]
    layer: Annotated[str, name()]

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


# Groups ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A group."""

    shape: Annotated[tuple[int, ...], several(whole(1, 99), 2, 3)]
    structures: Annotated[tuple[str, ...], structures()]

    def __post_init__(self):
        check(self)


@dataclass(frozen=True, kw_only=True)
class Grouped:
    width: Annotated[int, whole(1, 512)]
    rate: Annotated[float, number(0, 10, above=True)]
    flip: Annotated[bool, flag()]
    seen: Seen

    def __post_init__(self):
        check(self)


FIELDS = {"width": 8, "rate": 0.1, "flip": False, "shape": (1, 2), "structures": ("LV",)}
RECIPE = Grouped(width=8, rate=0.1, flip=False, seen=Seen(shape=(1, 2), structures=("LV",)))


def test_a_recipe_as_a_table_of_fields_and_back():
    assert flat(RECIPE) == FIELDS and names(Grouped) == FIELDS.keys()
    assert of_fields(Grouped, FIELDS) == RECIPE


@pytest.mark.parametrize(("values", "found"), [
    ({**FIELDS, "depth": 3}, "depth"), ({name: value for name, value in FIELDS.items() if name != "shape"}, "shape"),
    ({**FIELDS, "seen": RECIPE.seen}, "seen"), ({}, "flip, rate, shape, structures, width"),
])  # fmt: skip
def test_a_table_with_other_fields(values, found):
    with pytest.raises(InputError, match=f"^these fields of the recipe are missing or unknown: {found}$"):
        of_fields(Grouped, values)


def test_a_table_with_a_wrong_value_in_a_group():
    with pytest.raises(InputError, match="^shape: expected 2 or 3 values"):
        of_fields(Grouped, {**FIELDS, "shape": (1,)})


@pytest.mark.parametrize("changes", [
    {"width": 3}, {"shape": (4, 5, 6)}, {"rate": 1.0, "shape": (3, 3), "structures": ("RV", "Myo")}, {},
])  # fmt: skip
def test_replacing_reaches_into_groups(changes):
    assert flat(replace(RECIPE, **changes)) == {**FIELDS, **changes} and flat(RECIPE) == FIELDS


def test_replacing_a_whole_group():
    seen = Seen(shape=(7, 7), structures=("RV",))
    assert replace(RECIPE, seen=seen) == Grouped(width=8, rate=0.1, flip=False, seen=seen)


def test_replacing_a_field_that_is_none_or_by_a_wrong_value():
    with pytest.raises(TypeError, match="depth"):
        replace(RECIPE, depth=3)
    for changes in ({"shape": (1,)}, {"width": 3, "structures": ()}):
        with pytest.raises(InputError, match="expected"):
            replace(RECIPE, **changes)


@pytest.mark.parametrize(("assignment", "expected"), [
    ("width=3", 3), ("rate=1", 1.0), ("rate=1e-3", 0.001), ("flip=True", True), ("flip=false", False),
    ("shape=3, 4,5", (3, 4, 5)), ("structures=RV,Myo", ("RV", "Myo")),
])  # fmt: skip
def test_overrides(assignment, expected):
    value = flat(override(RECIPE, [assignment]))[assignment.partition("=")[0]]
    assert value == expected and type(value) is type(expected)


def test_overrides_are_judged_together():
    assert override(RECIPE, ["width=3", "width=4", "flip=true"]) == replace(RECIPE, width=4, flip=True)


@pytest.mark.parametrize("assignment", [
    "width=0", "width=-5", "width=1.5", "width=1e400", "width=", "width=" + "9" * 5000, "width=" + "[" * 100_000, "width=null",
    "width=true", "width=\u0663\udcff", "rate=nan", "rate=inf", "rate=NaN", "rate=Infinity", "rate=1e400", "rate=0", "rate={}",
    "rate=" + "1" * 400, "flip=1", "flip=yes", "shape=", "shape=1", "shape=1,,2", "shape=1,2,3,4", "shape=0,0", "structures=",
    "structures=,", "structures=RV,RV", "structures=RV,rv", "structures=\udcff",
])  # fmt: skip
def test_wrong_overrides_name_field_range_and_value(assignment):
    with pytest.raises(InputError) as refused:
        override(RECIPE, [assignment])
    line = str(refused.value)
    assert line.startswith(f"{assignment.partition('=')[0]}: expected ") and ", found " in line
    assert len(line) < 300 and line.isprintable()


@pytest.mark.parametrize("assignment", ["width", "=3", "widht=3", "", "__class__=3", "seen=3"])
def test_overrides_of_no_field(assignment):
    with pytest.raises(InputError, match="expected FIELD=VALUE with a field of width, rate, flip, shape, structures"):
        override(RECIPE, [assignment])


@pytest.mark.parametrize(("text", "current", "expected"), [
    ("3", 1, 3), ("3", 1.0, 3.0), ("3.5", 1, 3.5), ("TRUE", False, True), ("3", "x", "3"), ("x", 1, "x"), ("[1]", 1, "[1]"),
    ("1, 2.5", (1.0,), (1.0, 2.5)), ("a, b", ("x", "y", "z"), ("a", "b")), ("null", 1, "null"), ("", 1.0, ""),
])  # fmt: skip
def test_texts_are_read_as_the_type_of_the_field(text, current, expected):
    found = parse(text, current)
    assert found == expected and type(found) is type(expected)


def test_fields_that_a_similar_one_leaves_as_they_are():
    @dataclass(frozen=True)
    class Several:
        epochs: int = 5
        localiser_epochs: int = 7
        warmup_epochs: int = 2
        epochs_each: int = 3

    assert relatives(Several(), ["epochs=1"]) == [
        "localiser_epochs=7"
    ]  # neither the warmup of the same training, nor one that begins so
    assert relatives(Several(), ["epochs=1", "localiser_epochs=2"]) == [] and relatives(Several(), []) == []
