"""The square around the heart, with a stand-in for roi_net."""

import numpy as np
import pytest

from propagation.released.heart import Square, find_heart, share_of, square_around
from propagation.released.variants import Released
from shared.errors import InputError
from shared.scans.volume import from_array


def test_square_around():
    """Rows 3..6, columns 4..12: side 9, margin round(2.701) = 3, centre (4, 8), so from (4 - 4 - 3, 8 - 4 - 3)."""
    first, second = np.zeros((2, 20, 20), bool)
    first[3:5, 4:6] = True
    second[6, 12] = True
    assert square_around([first, second]) == Square(-3, 1, 15)
    single = np.zeros((5, 5), bool)
    single[2, 2] = True
    assert square_around([single, ~single & single]) == Square(2, 2, 1)  # margin round(0.301) = 0
    five = np.zeros((9, 9), bool)
    five[2:7, 2:7] = True
    assert square_around([five]) == Square(0, 0, 9)  # margin round(1.501) = 2: 1.5 itself would go to 2 too, 2.5 would not
    assert square_around([np.ones((15, 15), bool)]).side == 25  # margin round(4.501) = 5, where round(4.5) is 4


@pytest.mark.parametrize(
    ("slices", "expected"), [(1, [0]), (2, [0]), (3, [0, 1]), (5, [1, 2]), (10, [1, 2, 3, 4]), (15, [2, 3, 4, 5, 6, 7])]
)
def test_slices_for_the_heart(slices, expected):
    """ACDC's share; 15 slices: round(1.501) to round(7.501)."""
    assert list(share_of(slices, 0.1, 0.5)) == expected
    assert list(share_of(10, 0.2, 0.6)) == [2, 3, 4, 5] and list(share_of(3, 0.99, 1.0)) == [2]


class Finder:
    """Stands in for roi_net: heart where the normalised image is above a threshold."""

    input_shape = (None, 32, 32, 1)

    def __init__(self, threshold=1.0):
        self.seen, self.threshold = [], threshold

    def predict_on_batch(self, images):
        assert images.shape == (1, 32, 32, 1) and images.dtype == np.float32
        self.seen.append(images[0, ..., 0])
        return (images > self.threshold).astype(np.float32)


def bright_scan(frames=None):
    """(40, 64, 6[, t]): noise, and a bright block at x 20..27, y 30..45 with a lesser one elsewhere."""
    array = np.random.default_rng(0).uniform(0, 40, (40, 64, 6))
    array[20:28, 30:46] += 200
    array[2:6, 2:6] += 200
    array = array if frames is None else np.stack([array] * frames, axis=3)
    return from_array(array, (1.5, 1.5, 8.0))


def test_heart_is_found_on_the_scan():
    """The longer side is 16 rows (y), the margin 5: rows from (30 + 45) // 2 - 8 - 5."""
    finder = Finder()
    square = find_heart(bright_scan(), finder, Released())
    assert len(finder.seen) == 2  # slices 1 and 2 of 6
    assert abs(square.side - 26) <= 4 and abs(square.row - 24) <= 3 and abs(square.column - 10) <= 3
    with pytest.raises(InputError, match="found no heart"):
        find_heart(bright_scan(), Finder(threshold=np.inf), Released())


def test_frames_for_the_heart():
    scan = bright_scan(3)
    scan.array[..., 1] = np.random.default_rng(1).uniform(0, 40, (40, 64, 6))
    scan.array[5:20, 40:55, :, 1] += 200
    frames = {f: find_heart(scan, Finder(), Released(roi_frames=f)) for f in ((0,), (1,), (0, 1))}
    assert frames[0,] != frames[1,] and frames[0, 1].side > max(frames[0,].side, frames[1,].side)
    for wrong in ((3,), (-1,), ()):
        with pytest.raises(InputError, match="roi_frames: expected some of the scan's 3"):
            find_heart(scan, Finder(), Released(roi_frames=wrong))


def test_centre_without_a_network():
    scan = from_array(np.zeros((200, 150, 3)), (1.0, 1.25, 8.0))
    assert find_heart(scan, None, Released()) == Square(-5, 20, 160)
    assert find_heart(scan, None, Released(centre_mm=50.0)) == Square(50, 75, 50)
    assert find_heart(scan, None, Released(centre_mm=900.0)).side == 200
