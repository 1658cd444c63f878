"""Dicts and tuples of arrays, taken apart and put together again."""

import numpy as np
import pytest

from shared.learning.nested import leaves, mapped

NEST = {"scan": np.arange(3), "pair": (np.ones(2), {"mask": np.zeros(1)})}


def test_mapped_keeps_the_nesting():
    sums = mapped(lambda a, b: a + b, NEST, NEST)
    assert list(sums) == ["scan", "pair"] and isinstance(sums["pair"], tuple)
    np.testing.assert_array_equal(sums["scan"], [0, 2, 4])
    np.testing.assert_array_equal(sums["pair"][0], [2, 2])
    np.testing.assert_array_equal(sums["pair"][1]["mask"], [0])
    np.testing.assert_array_equal(mapped(np.negative, np.arange(3)), [0, -1, -2])


def test_the_first_nest_gives_the_order_of_keys():
    assert mapped(lambda a, b: (a, b), {"a": 1, "b": 2}, {"b": 20, "a": 10}) == {"a": (1, 10), "b": (2, 20)}


def test_leaves():
    assert [leaf.shape for leaf in leaves(NEST)] == [(3,), (2,), (1,)]
    assert leaves(7) == [7] and leaves(()) == []


def test_nests_of_other_shape_are_refused():
    with pytest.raises(KeyError):
        mapped(max, {"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="shorter|longer"):
        mapped(max, (1, 2), (1,))
