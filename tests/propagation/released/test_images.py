"""Grey values and sizes, worked out by hand and against the library that the authors used."""

import numpy as np
import pytest

from propagation.released.images import (
    clipped,
    equalised,
    grey,
    largest_component,
    normalised,
    resized_bilinear,
    resized_nearest,
    square_image,
)


def test_grey_values():
    values = np.array([0, 1, 99, 100, 300])
    np.testing.assert_array_equal(grey(values, 300, eight_bit=True), [0, 0, 84, 85, 255])
    np.testing.assert_allclose(grey(values, 300, eight_bit=False), [0, 0.85, 84.15, 85, 255])
    np.testing.assert_array_equal(grey(np.zeros(3), 0, eight_bit=True), 0)


def test_normalisation_uses_pixels_strictly_between_the_percentiles():
    """Of 0..100 the percentiles are 5 and 95, so 6..94 count: mean 50, variance (89^2 - 1) / 12 = 660."""
    image = np.arange(101.0)
    expected = (image - 50) / np.sqrt(660)
    for outlier in (100, 1e6):
        image[-1] = outlier
        expected[-1] = (outlier - 50) / np.sqrt(660)
        np.testing.assert_allclose(normalised(image), expected, rtol=1e-6)
    assert normalised(image).dtype == np.float32


def test_normalisation_of_nearly_constant_images():
    """No pixel between: from 0 on. All alike between: divided by 1 / sqrt(100)."""
    np.testing.assert_array_equal(normalised(np.full((4, 4), 7.0)), 0)
    image = np.full(100, 50.0)
    image[:10], image[90:] = 0, 100
    np.testing.assert_allclose(normalised(image)[[0, 50, 99]], [-500, 0, 500])
    np.testing.assert_array_equal(normalised(np.array([[3.0, 5.0]])), [[0, 2]])  # the percentiles are 3.1 and 4.9


def test_nearest():
    def ramp(n, size):
        return resized_nearest(np.arange(n)[:, None] + np.zeros(n, int), size)[:, 0].tolist()

    assert (
        ramp(7, 5) == [0, 2, 3, 4, 6] and ramp(5, 7) == [0, 1, 1, 2, 3, 3, 4] and ramp(4, 2) == [1, 3] and ramp(3, 3) == [0, 1, 2]
    )


def test_bilinear_by_hand():
    up = resized_bilinear(np.array([[[0.0], [1]], [[0], [1]]]), 4)
    np.testing.assert_allclose(up[..., 0], [[0, 0.25, 0.75, 1]] * 4)
    # halved: a triangle two pixels to each side; at the border (3/4, 3/4, 1/4) / 1.75
    down = resized_bilinear(np.eye(4)[:, :, None] * np.zeros(4) + np.eye(4)[0][:, None, None] * np.ones((1, 4, 1)), 2)
    np.testing.assert_allclose(down[:, 0, 0], [0.75 / 1.75, 0])
    assert resized_bilinear(np.ones((3, 3, 2)), 5).shape == (5, 5, 2)


@pytest.mark.parametrize(("n", "size"), [(192, 131), (20, 33), (16, 16), (30, 7)])
def test_sizes_are_changed_as_by_pil(n, size):
    """The library that the authors used; Matplotlib brings it."""
    image = pytest.importorskip("PIL.Image")
    maps = np.random.default_rng(n).random((n, n, 2)).astype(np.float32)
    for i in range(2):
        pil = image.fromarray(maps[:, :, i])
        nearest = np.asarray(pil.resize((size, size), image.Resampling.NEAREST))
        np.testing.assert_array_equal(resized_nearest(maps[:, :, i], size), nearest)
        bilinear = np.asarray(pil.resize((size, size), image.Resampling.BILINEAR))
        np.testing.assert_allclose(resized_bilinear(maps, size)[:, :, i], bilinear, atol=1e-6)
        stretched = (maps[:, :, i] - maps[:, :, i].min()) * (255 / np.ptp(maps[:, :, i])) + 0.5
        coarse = np.asarray(image.fromarray(stretched.astype(np.uint8)).resize((size, size), image.Resampling.BILINEAR))
        found = resized_bilinear(maps, size, stretch=True)[:, :, i]
        assert abs(found - coarse).max() <= 1 and np.mean(found != coarse) < 0.1  # halves: PIL adds up in fixed point


def test_stretch_makes_every_class_as_likely():
    """The second class is nowhere likely, and wins where it is least unlikely."""
    maps = np.zeros((2, 2, 2))
    maps[..., 0] = [[0.9, 0.8], [0.9, 0.9]]
    maps[..., 1] = 1 - maps[..., 0]
    np.testing.assert_array_equal(resized_bilinear(maps, 2).argmax(-1), 0)
    np.testing.assert_array_equal(resized_bilinear(maps, 2, stretch=True).argmax(-1), [[0, 1], [0, 0]])
    np.testing.assert_array_equal(resized_bilinear(np.full((2, 2, 1), 0.4), 2, stretch=True), 0)


def test_square_image_is_padded_around():
    found = square_image(np.array([[5.0], [6], [7], [9]]), 4)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 4, 0, 0]])


def test_clipping():
    image = np.arange(101.0)
    np.testing.assert_array_equal(clipped(image)[[0, 4, 5, 50, 95, 96, 100]], [5, 5, 5, 50, 95, 95, 95])


def test_equalisation_starts_at_zero_and_keeps_the_order():
    image = np.tile(np.arange(0, 128.0), (128, 1))
    found = equalised(image)
    assert found.min() == 0 and found.shape == (128, 128) and found.max() > 100


def test_largest_component_has_no_corners():
    mask = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]], bool)
    np.testing.assert_array_equal(largest_component(mask), [[0, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]])
    assert not largest_component(np.zeros((2, 2), bool)).any()
