"""What the fields of a recipe may hold. A range is written as the annotation of its field:

@dataclass(frozen=True, kw_only=True)
class Recipe:
    width: whole(1, 512)
    learning_rate: number(0, 10, above=True)

    def __post_init__(self):
        check(self)
"""

import dataclasses
import math
from collections.abc import Callable

from shared.errors import InputError

SHOWN = 60  # characters of a wrong value in a message


@dataclasses.dataclass(frozen=True)
class Range:
    """What a field may hold, in words and as a test."""

    words: str
    holds: Callable[[object], bool]


def whole(low, high):
    """A whole number from `low` to `high`."""
    return Range(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low, high, above=False, below=False):
    """A finite number from `low` to `high`; with `above` and `below`, `low` and `high` themselves are excluded."""
    start = f"above {low}" if above else f"of at least {low}"
    end = f"below {high}" if below else f"at most {high}"

    def holds(value):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            return False
        return not (above and value == low) and not (below and value == high)  # NaN fails the comparison above

    return Range(f"a number {start} and {end}", holds)


def flag():
    """True or False."""
    return Range("true or false", lambda value: type(value) is bool)


def one_of(*names):
    """One of some texts."""
    return Range(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def name():
    """A text that can be printed in one line."""
    return Range("a name", lambda value: isinstance(value, str) and value.strip() == value != "" and value.isprintable())


def several(item, *lengths):
    """A tuple of as many items as one of `lengths` says, or, without lengths, of one item or more."""

    def holds(value):
        fits = isinstance(value, tuple) and (len(value) in lengths if lengths else len(value) > 0)
        return fits and all(item.holds(each) for each in value)

    count = " or ".join(map(str, lengths)) or "one or more"
    return Range(f"{count} values separated by commas, each {item.words}", holds)


def structures():
    """Names of structures, at most 254 and all different (upper and lower case are the same)."""
    names = several(name())

    def holds(value):
        return names.holds(value) and len(value) == len({each.casefold() for each in value}) < 255

    return Range("one or more different names of structures, separated by commas", holds)


def check(recipe):
    """Raise InputError unless every field of the dataclass `recipe` holds what its annotation, a `Range`, allows."""
    for field in dataclasses.fields(recipe):
        require(field.type.holds(getattr(recipe, field.name)), recipe, field.name, field.type.words)


def require(fits, recipe, field, words):
    """Raise InputError, which says what was expected of a field in `words`, unless the field `fits`."""
    if not fits:
        raise InputError(f"{field}: expected {words}, found {shown(getattr(recipe, field))}")


def shown(value):
    """A value as it is typed on the command line, cut where it is long."""
    if isinstance(value, int) and abs(value) > 10**SHOWN:  # Python refuses to print the longest
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    text = ",".join(map(shown, value)) if isinstance(value, tuple) else str(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return (text if len(text) <= SHOWN else f"{text[:SHOWN]}...") or "nothing"
