"""Signs of hearts whose size, shape and grey values are known."""

import numpy as np
import pytest

from shared.doubt import signs
from shared.scans.volume import from_array

ACDC = {1: "RV", 2: "Myo", 3: "LV"}
SPACING = (2.0, 2.0, 10.0)


def heart():
    """A scan of 40 x 40 x 6 voxels: LV 8 x 8, wall of 2 voxels about it and RV 6 x 8 beside it, in slices 1 to 4."""
    labels = np.zeros((40, 40, 6), np.uint8)
    labels[14:26, 14:26, 1:5], labels[16:24, 16:24, 1:5], labels[6:12, 16:24, 1:5] = 2, 3, 1
    grey = np.zeros(labels.shape, np.float32)
    grey[labels == 3], grey[labels == 1], grey[labels == 2] = 100, 80, 20
    return grey, labels


def measure(grey, labels, structures=ACDC, spacing_mm=SPACING):
    return signs.measure(from_array(grey, spacing_mm), from_array(labels, spacing_mm), structures)


def test_of_a_heart_by_hand():
    found = measure(*heart())
    assert found["LV volume"] == pytest.approx(8 * 8 * 4 * 0.04) and found["Myo volume"] == pytest.approx(80 * 4 * 0.04)
    assert (found["LV length"], found["LV jump of area between slices"], found["LV shift between slices"]) == (40, 0, 0)
    assert found["LV outside its largest piece"] == found["LV border without wall"] == found["RV inside the wall"] == 0
    lv_mm2 = 2 * 16 * 16 + 4 * 16 * 40  # a box of 16 x 16 x 40 mm
    assert found["LV surface for its volume"] == pytest.approx(lv_mm2 / (16 * 16 * 40) ** (2 / 3))
    assert found["place from left to right"] == pytest.approx(100 * (6 * 8 * 9 + 12 * 12 * 20) / (48 + 144) / 40)
    assert found["place along the slices"] == 50 and found["holes"] == 0
    assert (found["LV brightness"], found["RV brightness"]) == (100, pytest.approx(80))
    assert found["LV contrast to its surroundings"] == pytest.approx(100 - 20)
    assert (found["pixel"], found["slice distance"], found["median grey value"]) == (2, 10, 0)


def test_a_torn_wall_pieces_holes_jumps_and_an_rv_in_the_wall():
    grey, labels = heart()
    labels[14:16, 16:24, 1:5] = 0  # a quarter of the ring is gone
    labels[30:33, 30:34, 1] = 3  # a second piece of 12 voxels; the LV has 256
    labels[18:20, 18:20, 2] = 0  # a hole
    labels[16:24, 16:24, 4] = 0
    labels[16:20, 16:20, 4] = 3  # from 64 to 16 voxels
    labels[20:22, 20:22, 3] = 1  # an RV in the LV, 4 voxels of 196
    found = measure(grey, labels)
    assert found["LV border without wall"] > 20
    assert found["LV outside its largest piece"] == pytest.approx(100 * 12 / (labels == 3).sum())
    assert found["LV jump of area between slices"] == pytest.approx(100 * (60 - 16) / 76)
    assert found["LV shift between slices"] == pytest.approx(2 * np.hypot(2, 2), rel=0.1)  # the centre moves by 2 x 2 pixels
    assert found["holes"] > 0 and found["RV inside the wall"] == 0  # the torn wall encloses nothing
    labels[14:16, 16:24, 1:5] = 2
    assert measure(grey, labels)["RV inside the wall"] == pytest.approx(100 * 4 / (labels == 1).sum())


def test_what_was_not_found_has_no_sign_but_its_volume():
    grey, labels = heart()
    found = measure(grey, np.where(labels == 3, 0, labels))
    assert found["LV volume"] == 0 and "LV length" not in found and "LV border without wall" not in found
    nothing = measure(grey, 0 * labels)
    assert [name for name in nothing if nothing[name] == 0 and name.endswith("volume")] == [
        "RV volume",
        "Myo volume",
        "LV volume",
    ]
    assert "holes" not in nothing and nothing["pixel"] == 2


def test_values_of_one_name_are_one_structure():
    grey, labels = heart()
    found = measure(grey, labels, {1: "blood", 3: "blood"})
    assert found["blood volume"] == pytest.approx((64 + 48) * 4 * 0.04)
    assert found["blood outside its largest piece"] == pytest.approx(100 * 48 / (64 + 48))


def test_grey_values_count_relative_to_the_range_of_the_image():
    grey, labels = heart()
    one, other = measure(grey, labels), measure(grey * 7 - 300, labels)
    assert one.keys() == other.keys() and all(one[name] == pytest.approx(other[name], abs=1e-3) for name in one)


def test_noise_is_seen():
    grey, labels = heart()
    noisy = grey + np.random.default_rng(0).normal(0, 10, grey.shape)
    assert measure(noisy, labels)["noise"] > 4 > 1 > measure(grey, labels)["noise"]


def test_a_constant_image_and_one_slice():
    grey, labels = heart()
    assert np.isfinite(list(measure(0 * grey, labels).values())).all()
    assert np.isfinite(list(measure(grey[:, :, 2:3], labels[:, :, 2:3]).values())).all()
