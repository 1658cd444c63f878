"""Several arrays in one: dicts and tuples of arrays, which may hold further ones, as networks with several inputs or outputs
take them."""

from collections.abc import Callable
from typing import Any

Nested = Any  # an array, or a dict or tuple of `Nested`: which of them, only the examples know


def mapped(function: Callable[..., Any], *nests: Nested) -> Nested:
    """`function` of every array of the first nest and of the arrays in the same place of the others, nested as the first is.

    Raises:
        KeyError, ValueError: a dict lacks a key of the first nest's, or tuples differ in length.
    """
    first = nests[0]
    if isinstance(first, dict):
        return {key: mapped(function, *(nest[key] for nest in nests)) for key in first}
    if isinstance(first, tuple):
        return tuple(mapped(function, *parts) for parts in zip(*nests, strict=True))
    return function(*nests)


def leaves(nest: Nested) -> list:
    """The arrays of a nest, in the order in which `mapped` comes to them."""
    found: list = []
    mapped(found.append, nest)
    return found
