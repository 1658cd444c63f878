"""The loop through the slices with networks that are plain functions, and the base found in their masks."""

import numpy as np
import pytest

from propagation.stack import find_base, neighbours, network_input, propagate

SIZE = (4, 3)


def copying(log):
    """A network that gives the mask on as it is, and notes which slices it was shown (their grey value is their index)."""

    def carry(slice_, mask, next_slices):
        log.append((int(slice_[0, 0]), [int(part) for part in next_slices[0, 0]]))
        return np.repeat(mask[..., None], 4, axis=2)

    return carry


def numbered(n):
    return np.broadcast_to(np.arange(n, dtype=np.float32), (*SIZE, n)).copy()


@pytest.mark.parametrize("base", [0, 1, 5])
@pytest.mark.parametrize("n", [6, 7, 8, 9, 10, 13, 60, 63])
def test_every_slice_below_the_base_is_filled_exactly_once(n, base):
    log, start = [], []
    mask = np.random.default_rng(0).random(SIZE).astype(np.float32)

    def initialise(slice_):
        start.append(int(slice_[0, 0]))
        return mask

    found = propagate(numbered(n), initialise, copying(log), base)
    np.testing.assert_array_equal(found[..., base:], np.repeat(mask[..., None], n - base, axis=2))
    assert not found[..., :base].any()
    (middle,) = start
    assert middle == n - 1 - (n - base) // 2  # counted from the apex: floor(n / 2)
    up, down = middle - base, n - 1 - middle
    assert [z for z, _ in log] == [*(middle - 4 * k for k in range(-(-up // 4))), *(middle + 4 * k for k in range(-(-down // 4)))]


def test_each_step_goes_on_from_the_fourth_slice():
    masks = []

    def carry(slice_, mask, next_slices):
        masks.append(mask[0, 0])
        return mask[..., None] + np.arange(1, 5, dtype=np.float32)

    found = propagate(numbered(20), lambda slice_: np.zeros(SIZE, np.float32), carry, base=2)
    middle = 19 - 9
    np.testing.assert_array_equal(found[0, 0, 2:], [abs(z - middle) for z in range(2, 20)])
    assert masks == [0, 4, 0, 4, 8]  # up from 10 and 6; down from 10, 14 and 18


def test_slices_beyond_the_ends():
    log = []
    propagate(numbered(7), lambda slice_: np.zeros(SIZE, np.float32), copying(log), base=3)
    # middle 4: up to the base, 3, with the real slices above it; down to the end, which repeats
    assert log == [(4, [3, 2, 1, 0]), (4, [5, 6, 6, 6])]
    assert neighbours(1, -1, 9) == [0, 0, 0, 0] and neighbours(2, 1, 9) == [3, 4, 5, 6]


def test_one_slice():
    found = propagate(numbered(3), lambda slice_: np.full(SIZE, 0.7, np.float32), None, base=2)
    assert not found[..., :2].any() and (found[..., 2] == np.float32(0.7)).all()


def test_probabilities_or_a_binary_mask_are_carried_on():
    for binary, expected in ((False, [0.6, 0.3, 0.3]), (True, [1.0, 0.0, 0.0])):
        seen = []

        def carry(slice_, mask, next_slices, seen=seen):
            seen.append(float(mask[0, 0]))
            return np.full((*SIZE, 4), 0.3, np.float32)

        propagate(numbered(10), lambda slice_: np.full(SIZE, 0.6, np.float32), carry, base=4, binary_input=binary)
        assert seen == pytest.approx([expected[0], expected[0]])  # middle 6: two up, three down
        seen.clear()
        propagate(numbered(12), lambda slice_: np.full(SIZE, 0.6, np.float32), carry, base=0, binary_input=binary)
        assert seen == pytest.approx([expected[0], expected[1], expected[0], expected[2]])  # middle 5: five up, six down


def test_the_order_of_the_networks_channels():
    slice_, mask, next_slices = np.full(SIZE, 1.0), np.full(SIZE, 2.0), np.full((*SIZE, 4), [3.0, 4.0, 5.0, 6.0])
    seen = network_input(slice_, mask, next_slices)
    assert seen.dtype == np.float32 and seen[1, 2].tolist() == [1, 2, 3, 4, 5, 6]


# The base -------------------------------------------------------------------------------------------------------------------


def rings(kinds):
    """Slices of 40 x 40: "o" a closed wall, "c" one with a gap, "." a third of the wall or less, " " nothing."""
    x, y = np.indices((40, 40)) - 19.5
    radius = np.hypot(x, y)
    ring = (radius < 14) & (radius > 9)
    pictures = {"o": ring, "c": ring & (np.abs(y) > 2), ".": ring & (x > 8), " ": ring & False}
    return np.stack([pictures[kind] for kind in kinds], axis=2).astype(np.float32)


@pytest.mark.parametrize(
    ("kinds", "base"),
    [
        ("  .oooooooo..", 3),
        ("ccoooooooo..", 2),  # the wall goes on, but the annulus is open
        ("oooooooooo..", 0),
        ("oo.ooooooooo", 3),  # what lies beyond a gap is not the heart any more
        ("oooooccoooo.", 0),  # slices in the middle that were missed; the longer part counts
        ("            ", 6),  # nothing at all: the middle
    ],
)
def test_the_base_is_where_the_closed_wall_ends(kinds, base):
    assert find_base(rings(kinds)) == base
    assert find_base(0.49 * rings(kinds)) == len(kinds) // 2
