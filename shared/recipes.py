"""What the fields of a recipe may hold, and how a recipe is varied, written to run.json and read again.

A recipe is a frozen dataclass. The range of a field is part of its annotation, and `__post_init__` checks it:

    @dataclass(frozen=True, kw_only=True)
    class Recipe:
        preparation: Preparation
        width: Annotated[int, whole(1, 512)]
        learning_rate: Annotated[float, number(0, 10, above=True)]

        def __post_init__(self):
            check(self)

A field that is itself such a dataclass is a group, for example everything that the input of the networks depends on. On the
command line (`--set spacing_mm=...`) and in run.json its fields count as the recipe's, so no two fields have the same name.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from shared.errors import InputError

R = TypeVar("R")  # a recipe: a dataclass
OF_SCHEDULE = ("warmup_", "final_")  # begin the names of fields that belong to the same training
SHOWN = 60  # characters of a wrong value in a message


@dataclasses.dataclass(frozen=True)
class Range:
    """What a field may hold, in words and as a test."""

    words: str
    holds: Callable[[object], bool]


def whole(low: int, high: int) -> Range:
    """A whole number from `low` to `high`."""
    return Range(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float, above: bool = False, below: bool = False) -> Range:
    """A finite number from `low` to `high`; with `above` and `below`, `low` and `high` themselves are excluded."""
    start = f"above {low}" if above else f"of at least {low}"
    end = f"below {high}" if below else f"at most {high}"

    def holds(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            return False
        return not (above and value == low) and not (below and value == high)  # NaN fails the comparison above

    return Range(f"a number {start} and {end}", holds)


def flag() -> Range:
    """True or False."""
    return Range("true or false", lambda value: type(value) is bool)


def one_of(*names: str) -> Range:
    """One of some texts."""
    return Range(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def name() -> Range:
    """A text that can be printed in one line."""
    return Range("a name", lambda value: isinstance(value, str) and value.strip() == value != "" and value.isprintable())


def several(item: Range, *lengths: int) -> Range:
    """A tuple whose number of items is one of `lengths`; without lengths, of one item or more."""

    def holds(value: object) -> bool:
        if not isinstance(value, tuple) or not (len(value) in lengths if lengths else value):
            return False
        return all(item.holds(each) for each in value)

    count = " or ".join(map(str, lengths)) or "one or more"
    return Range(f"{count} values separated by commas, each {item.words}", holds)


def structures() -> Range:
    """Names of structures, at most 254 and all different (upper and lower case are the same)."""
    names = several(name())

    def holds(value: object) -> bool:
        if not isinstance(value, tuple) or not names.holds(value):
            return False
        return len(value) == len({each.casefold() for each in value}) < 255

    return Range("one or more different names of structures, separated by commas", holds)


def check(recipe: Any) -> None:
    """Raise InputError unless every field of the dataclass `recipe` holds what its `Range` allows; groups check themselves."""
    for field in dataclasses.fields(recipe):
        if not dataclasses.is_dataclass(field.type):
            (allowed,) = field.type.__metadata__  # type: ignore[union-attr]  # of Annotated
            require(allowed.holds(getattr(recipe, field.name)), recipe, field.name, allowed.words)


def require(fits: bool, recipe: object, field: str, words: str) -> None:
    """Raise InputError, which says what was expected of a field in `words`, unless the field `fits`."""
    if not fits:
        raise InputError(f"{field}: expected {words}, found {shown(getattr(recipe, field))}")


def shown(value: object) -> str:
    """A value as it is typed on the command line, cut where it is long."""
    if isinstance(value, int) and abs(value) > 10**SHOWN:  # Python refuses to print the longest
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    text = ",".join(map(shown, value)) if isinstance(value, (tuple, list)) else str(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return (text if len(text) <= SHOWN else f"{text[:SHOWN]}...") or "nothing"


# Recipes as tables of fields ------------------------------------------------------------------------------------------------


def flat(recipe: Any) -> dict[str, Any]:
    """Field -> value of a recipe, those of its groups included."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        values |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def changes(found: Mapping[str, Any], recipe: Any) -> list[str]:
    """The fields whose values `found` (of `flat`, or of run.json) are not those of a recipe, as `--set` takes them."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return [f"{name}={shown(values.get(name, 'unknown'))}" for name, value in flat(recipe).items() if values.get(name) != value]


def replace(recipe: R, **changes: Any) -> R:
    """`dataclasses.replace` that finds the fields of groups too."""
    for field in dataclasses.fields(recipe):  # type: ignore[arg-type]  # R is a dataclass
        group = getattr(recipe, field.name)
        if dataclasses.is_dataclass(group):
            own = {name: changes.pop(name) for name in flat(group) if name in changes}
            changes |= {field.name: replace(group, **own)} if own else {}
    return dataclasses.replace(recipe, **changes)  # type: ignore[type-var]  # R is a dataclass


def of_fields(Recipe: type[R], values: Mapping[str, Any]) -> R:
    """The recipe that `flat` makes these values of.

    Raises:
        InputError: fields that are missing or unknown, or values that the recipe refuses.
    """
    differing = values.keys() ^ names(Recipe)
    if differing:
        raise InputError(f"these fields of the recipe are missing or unknown: {', '.join(sorted(differing))}")
    return _of_fields(Recipe, values)


def names(Recipe: Any) -> set[str]:
    """The names of all fields of a recipe class, those of its groups included."""
    found: set[str] = set()
    for field in dataclasses.fields(Recipe):
        found |= names(field.type) if dataclasses.is_dataclass(field.type) else {field.name}
    return found


def _of_fields(Recipe: Any, values: Mapping[str, Any]) -> Any:
    parts = {}
    for field in dataclasses.fields(Recipe):
        group = dataclasses.is_dataclass(field.type)
        parts[field.name] = _of_fields(field.type, values) if group else values[field.name]
    return Recipe(**parts)


def override(recipe: R, assignments: Iterable[str]) -> R:
    """`recipe` with "field=value" texts applied, each value read as the field's type.

    Raises:
        InputError: the recipe has no such field, or refuses the value.
    """
    changes, current = {}, flat(recipe)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in current:
            raise InputError(f"--set {assignment}: expected FIELD=VALUE with a field of {', '.join(current)}")
        changes[name] = parse(text, current[name])
    return replace(recipe, **changes)


def relatives(recipe: Any, assignments: Iterable[str]) -> list[str]:
    """The fields, as FIELD=VALUE, that are the same of another training as a field of `override`, and are not set themselves,
    such as localiser_epochs where epochs is set."""
    names, current = [assignment.partition("=")[0] for assignment in assignments], flat(recipe)
    return [
        f"{field}={shown(value)}"
        for field, value in current.items()
        if field not in names and field.endswith(tuple(f"_{name}" for name in names)) and not field.startswith(OF_SCHEDULE)
    ]


def parse(text: str, current: Any) -> Any:
    """`text` as a value of the type of `current`. A tuple has items separated by commas, all of its first item's type.

    A text that is not such a value is returned unchanged, and the recipe refuses it.
    """
    if isinstance(current, tuple):
        return tuple(parse(item.strip(), current[0]) for item in text.split(","))
    if isinstance(current, str):
        return text
    try:
        value = json.loads(text.lower())
        value = float(value) if isinstance(current, float) and type(value) is int else value
    except (ValueError, RecursionError, OverflowError):
        return text
    return value if isinstance(value, (bool, int, float)) else text
