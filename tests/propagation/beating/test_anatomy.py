"""The anatomy, measured in a heart that was drawn with known sizes."""

import numpy as np
import pytest

from propagation.beating.anatomy import heart_of
from shared.errors import InputError
from tests.propagation.beating.drawn import AXIS_MM, CAVITY_MM, LENGTH_MM, SHAPE, SLOPE, SPACING_MM, WALL_MM


def test_measures_of_the_heart_are_those_it_was_drawn_with(heart, parts):
    np.testing.assert_allclose(heart.axis_mm, AXIS_MM, atol=0.3)
    np.testing.assert_allclose(heart.slope, SLOPE, atol=0.01)
    assert abs(np.rad2deg(heart.septum_rad)) == pytest.approx(180, abs=2)
    assert heart.base_mm == 0 and heart.tip_mm == pytest.approx(LENGTH_MM, abs=2) and heart.apex_mm == pytest.approx(78, abs=2)
    assert heart.cavity_mm[5] == pytest.approx(CAVITY_MM, abs=0.5)
    assert heart.epicardium_mm == pytest.approx(CAVITY_MM + WALL_MM, abs=1)
    assert heart.reach_mm == pytest.approx(34 + 26 + 4, abs=2)
    assert heart.rv_half_rad[3] == pytest.approx(1.05, abs=0.15)


def test_a_given_cavity_is_the_one_that_is_found(heart, parts):
    assert heart_of(parts[0], SPACING_MM, cavity=parts[1]) == heart


def test_the_left_ventricle_is_found_where_the_scan_is_turned_and_slices_lack_their_hole(heart, parts):
    wall = parts[0].copy()
    wall[:, :, 12] = wall[:, :, 12] & (np.arange(SHAPE[1]) < 30)  # a slice whose walls are open
    turned = heart_of(np.rot90(wall), SPACING_MM)
    assert turned.cavity_mm[5] == pytest.approx(heart.cavity_mm[5], abs=0.3)
    assert np.rad2deg(turned.septum_rad - heart.septum_rad) % 360 == pytest.approx(90, abs=2)


def test_a_mask_without_two_cavities_is_refused(parts):
    wall, left, right = parts
    for mask in (np.zeros(SHAPE, bool), wall | right, wall | left):
        with pytest.raises(InputError, match="two cavities"):
            heart_of(mask, SPACING_MM)
    with pytest.raises(InputError, match="differs"):
        heart_of(wall, SPACING_MM, cavity=left[1:])
    with pytest.raises(InputError, match="empty"):
        heart_of(wall, SPACING_MM, cavity=np.zeros(SHAPE, bool))
    with pytest.raises(InputError, match=r"\(x, y, z\)"):
        heart_of(wall[0], SPACING_MM)
