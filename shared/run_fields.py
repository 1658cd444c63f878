"""What the fields of a run's run.json hold."""

import re
from collections.abc import Callable

from shared.recipes import number

HELD = "held"  # what training held, see `shared.doubt`
TABLES = "tables"  # fingerprints of the CSV files that a finished run wrote


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_table(value: object) -> bool:
    return isinstance(value, dict)


def are_structures(value: object) -> bool:
    """Whether `value` is label value -> name as JSON has it: whole numbers as texts, each once, and different names."""
    if not isinstance(value, dict) or not value or not all(is_text(name) and name.strip() for name in value.values()):
        return False
    labels = [int(label) for label in value if re.fullmatch("[1-9][0-9]{0,4}", label)]
    names = {name.casefold() for name in value.values()}
    return len(labels) == len(value) == len(names) and max(labels) < 2**16


def are_seconds(value: object) -> bool:
    """Whether `value` is what was done -> seconds."""
    return isinstance(value, dict) and all(number(0, 1e12).holds(seconds) for seconds in value.values())


def is_split(value: object) -> bool:
    """Whether `value` has the patients of the three sides."""
    sides = [value.get(side) for side in ("train", "validation", "test")] if isinstance(value, dict) else [None]
    return all(isinstance(side, list) and all(map(is_text, side)) for side in sides)


def are_ranges(value: object) -> bool:
    """Whether `value` is sign -> the least and the greatest number in training."""
    return isinstance(value, dict) and all(is_range(ends) for ends in value.values())


def is_range(value: object) -> bool:
    """Whether `value` is two numbers, the smaller one first."""
    if not isinstance(value, list) or len(value) != 2 or not all(number(-1e12, 1e12).holds(end) for end in value):
        return False
    return value[0] <= value[1]


def are_fingerprints(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


FIELDS: dict[str, tuple[str, Callable[[object], bool]]] = {  # field of run.json -> what it holds, in words and as a test
    "command": ("a text", is_text),
    "commit": ("a line of text", is_line),
    "hardware": ("a line of text", is_line),
    "recipe": ("a table of fields", is_table),
    "structures": ("label values from 1 to 65535, each with another name", are_structures),
    "seconds": ("a table of seconds", are_seconds),
    "split": ("lists of patients called train, validation and test", is_split),
    "weights": ("a table of fingerprints", are_fingerprints),
    "result": ("a table of results", is_table),
    "seed": ("a whole number from 0", is_seed),
    "backend": ("the name of a backend of Keras", is_name),
    "deterministic": ("true or false", is_flag),
    TABLES: ("a table of fingerprints", are_fingerprints),
    HELD: ("a table of two numbers each, the smaller one first", are_ranges),
}
# fields that some records lack: they are checked wherever they are
SOME = ("split", "result", "weights", "seed", "backend", "deterministic", TABLES, HELD)
