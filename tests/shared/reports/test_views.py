"""A scan and its label maps as tiles and outlines: the right pixels at the right places, within the bytes allowed."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from shared.reports import views
from shared.scans import volume

STRUCTURES = {1: "LV", 7: "RV"}


def scan(array, spacing_mm=(1.0, 1.0, 8.0)):
    return volume.from_array(array, spacing_mm)


def pixels(view, frame=0):
    uri = view.frames[frame].picture
    assert uri.startswith("data:image/webp;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"))


def corners(path):
    """The points of every line of a path, (n, 2) in pixels."""
    found = []
    for line in re.findall(r"M([^M]*)z", path):
        numbers = np.array([float(each) for each in re.findall(r"-?\d+", line)]).reshape(-1, 2)
        found.append(np.cumsum(numbers, axis=0) / views.TENTHS)
    return found


def test_a_square_has_the_outline_of_its_pixels():
    labels = np.zeros((20, 20, 1), np.uint8)
    labels[5:9, 10:16] = 1  # pixels 5 to 8 along x, that is from 5 to 9, and from 10 to 16 along y
    found = views.outlines(labels, STRUCTURES, (20, 20), 1, 0.35)
    assert list(found) == ["LV"]
    (line,) = corners(found["LV"])
    assert line.min(axis=0).tolist() == [5, 10] and line.max(axis=0).tolist() == [9, 16]


def test_outlines_lie_in_the_tile_of_their_slice_and_are_scaled_with_it():
    labels = np.zeros((20, 10, 5), np.uint8)
    labels[4:8, 2:6, 3] = 7
    (line,) = corners(views.outlines(labels, STRUCTURES, (40, 20), 2, 0.35)["RV"])  # slice 3 is in column 1 of row 1
    assert line.min(axis=0).tolist() == [40 + 8, 20 + 4] and line.max(axis=0).tolist() == [40 + 16, 20 + 12]


def test_a_hole_and_a_second_piece_have_outlines_of_their_own_and_the_border_closes_them():
    labels = np.zeros((20, 20, 1), np.uint8)
    labels[2:10, 2:10], labels[4:7, 4:7], labels[16:, 16:] = 1, 0, 1
    lines = corners(views.outlines(labels, STRUCTURES, (20, 20), 1, 0.35)["LV"])
    assert sorted((line.max(axis=0) - line.min(axis=0)).tolist() for line in lines) == [[3, 3], [4, 4], [8, 8]]


def test_values_of_one_name_are_one_structure():
    labels = np.zeros((20, 20, 1), np.uint8)
    labels[2:6, 2:10], labels[6:10, 2:10] = 1, 7
    (line,) = corners(views.outlines(labels, {1: "LV", 7: "LV"}, (20, 20), 1, 0.35)["LV"])
    assert (line.max(axis=0) - line.min(axis=0)).tolist() == [8, 8]


def test_each_slice_is_a_tile_turned_as_in_the_other_pictures():
    grey = np.zeros((32, 24, 3), np.float32)
    grey[24:, :12, 1] = 100  # x to the right, y down
    view = views.view(scan(grey), {"found": scan(np.zeros((32, 24, 3), np.uint8))}, STRUCTURES, 10**6)
    assert (view.width, view.height, view.slices) == (32, 24, (1, 2, 3))
    sheet, (left, top) = pixels(view), view.corner(1)
    tile = sheet[top : top + 24, left : left + 32]
    assert tile[:10, 26:].min() > 200 and tile[:, :20].max() < 50 and tile[14:].max() < 50
    assert np.delete(sheet, np.s_[left : left + 32], axis=1).max() < 50
    assert view.frames[0].outlines == {"found": {}}


def test_tiles_show_the_neighbourhood_of_the_labels_in_true_proportions():
    labels = np.zeros((200, 100, 4), np.uint8)
    labels[100:110, 50:60, 2] = 1
    view = views.view(scan(np.random.default_rng(0).random((200, 100, 4)), (1.0, 2.0, 8.0)), {"a": scan(labels, (1.0, 2.0, 8.0))},
                      STRUCTURES, 10**6)  # fmt: skip
    assert (view.width, view.height) == (53, 60)  # 10 + 2 x 25 mm; 20 mm + 2 x 12 pixels of 2 mm = 68 mm, in 60 pixels
    assert view.middle == 2


def test_frames_have_outlines_of_their_own():
    labels = np.zeros((20, 20, 2, 3), np.uint8)
    labels[4:8, 4:8, 0, 1] = 1
    view = views.view(scan(np.random.default_rng(0).random((20, 20, 2, 3))), {"a": scan(labels)}, STRUCTURES, 10**6)
    assert [list(frame.outlines["a"]) for frame in view.frames] == [[], ["LV"], []]


@pytest.mark.parametrize("most", [160_000, 60_000])
def test_a_cine_keeps_to_its_bytes(most):
    rng = np.random.default_rng(0)
    grey = np.cumsum(rng.normal(size=(120, 120, 10, 10)), axis=0).astype(np.float32)
    labels = np.zeros(grey.shape, np.uint8)
    labels[40:80, 40:80] = 1
    labels[50:70, 50:70] = 7
    view = views.view(scan(grey, (1.4, 1.4, 8.0)), {"a": scan(labels, (1.4, 1.4, 8.0))}, STRUCTURES, most)
    assert view.bytes() <= most and len(view.frames) == 10 and len(view.slices) == 10


def test_many_slices_are_thinned_out_evenly():
    labels = np.zeros((8, 8, 250), np.uint8)
    labels[2:5, 2:5, 100:110] = 1
    grey = np.random.default_rng(0).random((8, 8, 250))
    view = views.view(scan(grey), {"a": scan(labels)}, STRUCTURES, 10**6)
    assert len(view.slices) == 100 and view.slices[0] == 1 and view.slices[-1] == 250
    assert 100 <= view.slices[view.middle] <= 110


@pytest.mark.parametrize(("count", "tile", "columns"), [
    (10, (100, 100), 5),  # two rows of five: 0.35 of the height each; three rows of four: 0.33
    (1, (100, 50), 1),
    (88, (100, 75), 11),
])  # fmt: skip
def test_columns(count, tile, columns):
    assert views.columns_for(count, tile) == columns


def test_a_speck_has_an_outline_at_any_size():
    labels = np.zeros((576, 576, 1), np.uint8)
    labels[10, 10] = 1
    for side in (576, 176, 32):
        (line,) = corners(views.outlines(labels, STRUCTURES, (side, side), 1, 0.7)["LV"])
        assert len(line) >= 3 and np.abs(line - 10.5 * side / 576).max() < 1


def test_a_long_cine_is_thinned_out_where_nothing_else_fits():
    rng = np.random.default_rng(0)
    x, y = np.indices((80, 80))
    labels = np.stack([np.hypot(x - 40, y - 40) < 20 + 8 * np.sin(8 * np.arctan2(y - 40, x - 40) + t) for t in range(20)], axis=2)
    cine = labels[:, :, None].astype(np.uint8).repeat(4, axis=2)
    view = views.view(scan(rng.random(cine.shape)), {"a": scan(cine)}, STRUCTURES, 12_000)
    assert view.bytes() <= 12_000 and view.times[0] == 1 and 1 < len(view.times) < 20
    steps = np.diff(view.times)
    assert (steps == steps[0]).all() and len(view.frames) == len(view.times)


def test_noise_has_no_outlines_and_says_so():
    noise = np.random.default_rng(0).integers(0, 2, (150, 150, 4)).astype(np.uint8)
    view = views.view(scan(noise.astype(np.float32)), {"a": scan(noise), "b": scan(0 * noise)}, STRUCTURES, 150_000)
    assert view.bytes() <= 150_000 and view.frames[0].outlines == {} and "too many pieces" in view.note
    whole = views.view(scan(noise.astype(np.float32)), {"a": scan(0 * noise + 1)}, STRUCTURES, 150_000)
    assert whole.note == "" and list(whole.frames[0].outlines["a"]) == ["LV"]
