"""The organs around the heart: what is painted last at places that everybody knows."""

import numpy as np
import pytest

from shared.phantom.whole_heart_chest import Chest

PLACES = {  # mm to the left, backwards, up
    "lung": [(-100, 0, 20), (100, 0, 20), (-60, 40, 60)],
    "liver": [(-58, 2, -80), (-100, 20, -80)],
    "air": [(-2, 27, 110), (0, -300, 0)],  # windpipe; in front of the patient
    "fluid": [(0, 98, 0), (0, 98, -40)],  # spinal canal
    "marrow": [(0, -84, 20), (0, -84, 60)],  # sternum
    "fat": [(0, -10, 100)],  # mediastinum
}


@pytest.mark.parametrize("seed", range(5))
def test_organs_are_in_place(seed):
    points = np.array([place for places in PLACES.values() for place in places], np.float32)
    names = np.full(len(points), "air", object)

    def paint(distance, name):
        assert distance.dtype == np.float32
        names[distance < 0] = name

    far_mm = np.full(len(points), 100, np.float32)
    Chest(np.random.default_rng(seed)).paint(paint, tuple(points.T), far_mm, np.zeros_like(far_mm))
    assert names.tolist() == [name for name, places in PLACES.items() for _ in places]


@pytest.mark.parametrize("seed", range(3))
def test_a_spine_has_vertebrae_and_discs(seed):
    z = np.arange(-80, 100, 1, dtype=np.float32)
    names = np.full(len(z), "", object)

    def paint(distance, name):
        names[distance < 0] = name

    still = np.zeros_like(z)
    Chest(np.random.default_rng(seed)).paint(paint, (still, still + 74, z), still + 100, still)
    assert set(names) == {"bone", "marrow", "muscle"}
    discs = np.flatnonzero((names[1:] == "muscle") & (names[:-1] != "muscle"))
    np.testing.assert_allclose(np.diff(discs), 30, atol=1)
