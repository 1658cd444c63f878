"""Values of every kind that a field of a recipe may be given by mistake."""

from shared import recipes
from shared.errors import InputError

WRONG = [
    None, True, False, -1, 0, 1, 2, 3, 2**40, 10**400, -0.5, 0.0, 0.5, 1.0, 1.5, float("nan"), float("inf"), 1e308,
    "", " ", "x", "RV", "bce_dice", "multiclass_dice", "a\nb", "\udcff", b"x", [1, 2], {}, object(),
    (), (0,), (1,), (1, 1), (0.0, 0.0), (2, 2, 2), (-1, 4, 4), (4, 4, 4), (1.5, 1.5), (float("nan"),) * 3, (True, True),
    ("RV", "RV"), ("RV", "rv"), ("",), ("LA",), ("RV", "Myo"),
]  # fmt: skip


def accepted(recipe, field):
    """The recipes with one of the `WRONG` values in a field that were not refused, each refusal being one short line."""
    for value in WRONG:
        try:
            yield recipes.replace(recipe, **{field: value})
        except InputError as error:
            line = str(error)
            assert line.isprintable() and len(line) < 300 and ": expected " in line and ", found " in line, line


def refused_types(recipe):
    """Fields that take a value which is no number, text, truth value or tuple of them: there should be none."""
    return [
        field
        for field in recipes.flat(recipe)
        if any(type(recipes.flat(r)[field]) not in (int, float, str, bool, tuple) for r in accepted(recipe, field))
    ]
