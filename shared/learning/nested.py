"""Several arrays as one value: dicts and tuples of arrays, which may hold further dicts and tuples. Networks with several inputs
or outputs take and give them."""

from collections.abc import Callable
from typing import Any

Nested = Any  # an array, or a dict or tuple of `Nested`; only the examples know which


def mapped(function: Callable[..., Any], *nests: Nested) -> Nested:
    """Apply `function` to every array of the first nest and the arrays at the same place in the others; nested as the first.

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
    """The arrays of a nest, in the order in which `mapped` visits them."""
    found: list = []
    mapped(found.append, nest)
    return found
