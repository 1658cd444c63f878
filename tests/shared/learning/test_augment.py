"""Random transforms: image and label move together, and where they say."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.learning import augment

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True, database=None)
SHAPE = (24, 17)
IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0]


def draw(seed, shape=SHAPE, rotation_deg=0.0, crop_px=0, flip=False):
    return augment.draw_affine(np.random.default_rng(seed), shape, rotation_deg=rotation_deg, crop_px=crop_px, flip=flip)


def moved(image, label, coefficients):
    """One image (x, y) and label (x, y), transformed."""
    images, labels = augment.affine(
        keras.ops.convert_to_tensor(np.asarray(image, np.float32)[None, ..., None]),
        keras.ops.convert_to_tensor(np.asarray(label, np.uint8)[None]),
        keras.ops.convert_to_tensor(np.asarray(coefficients, np.float32)[None]),
    )
    images, labels = keras.ops.convert_to_numpy(images), keras.ops.convert_to_numpy(labels)
    assert images.dtype == np.float32 and labels.dtype == np.uint8
    return images[0, ..., 0], labels[0]


def turned_by(angle_deg, shape=SHAPE):
    """The coefficients that `draw_affine` gives when it draws that angle."""
    fraction = np.rad2deg(np.arcsin(draw(0, shape, rotation_deg=1.0)[1].astype(float)))  # of the largest angle, -1 to 1
    return draw(0, shape, rotation_deg=angle_deg / fraction)


def noise(shape=SHAPE, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 1, shape).astype(np.float32), random.integers(0, 4, shape, np.uint8)


# By hand --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SHAPE, (24, 24), (17, 24), (2, 2)])
def test_nothing_drawn_changes_nothing(shape):
    image, label = noise(shape)
    for seed in range(5):
        coefficients = draw(seed, shape)
        np.testing.assert_array_equal(coefficients, IDENTITY)
        assert coefficients.dtype == np.float32
        found = moved(image, label, coefficients)
        np.testing.assert_array_equal(found[0], image)
        np.testing.assert_array_equal(found[1], label)


@pytest.mark.parametrize("shape", [SHAPE, (24, 24)])
def test_flip_mirrors_the_second_axis(shape):
    image, label = noise(shape)
    flipped = 0
    for seed in range(20):
        coefficients = draw(seed, shape, flip=True)
        found = moved(image, label, coefficients)
        turned = not np.array_equal(coefficients, IDENTITY)
        flipped += turned
        np.testing.assert_array_equal(found[0], image[:, ::-1] if turned else image)
        np.testing.assert_array_equal(found[1], label[:, ::-1] if turned else label)
    assert 0 < flipped < 20


@pytest.mark.parametrize("size", [16, 17])
@pytest.mark.parametrize("quarters", [1, 2, -1])
def test_positive_angles_turn_from_the_second_axis_to_the_first(size, quarters):
    image, label = noise((size, size))
    found = moved(image, label, turned_by(90 * quarters, (size, size)))
    np.testing.assert_allclose(found[0], np.rot90(image, -quarters), atol=1e-4)
    np.testing.assert_array_equal(found[1], np.rot90(label, -quarters))


@pytest.mark.parametrize("angle_deg", [-30, 10, 45, 120])
def test_a_spot_turns_about_the_centre(angle_deg):
    shape = (61, 71)
    x, y = np.meshgrid(np.arange(61) - 30, np.arange(71) - 35, indexing="ij")
    image = np.exp(-((x - 14) ** 2 + (y - 6) ** 2) / 8)
    label = image > 0.5
    found = moved(image, label, turned_by(angle_deg, shape))
    angle = np.deg2rad(angle_deg)
    expected = 14 * np.cos(angle) + 6 * np.sin(angle), -14 * np.sin(angle) + 6 * np.cos(angle)
    for spot, tolerance in zip(found, (0.02, 0.25), strict=True):  # the label has few pixels
        centre = (spot * x).sum() / spot.sum(), (spot * y).sum() / spot.sum()
        np.testing.assert_allclose(centre, expected, atol=tolerance)


def test_what_enters_from_outside_is_zero():
    found = moved(np.ones((32, 32)), np.full((32, 32), 3), turned_by(45, (32, 32)))
    for array, inside in zip(found, (1, 3), strict=True):
        np.testing.assert_array_equal(array[[0, 0, -1, -1], [0, -1, 0, -1]], 0)
        np.testing.assert_allclose(array[8:24, 8:24], inside, rtol=1e-6)


# Of whatever is drawn -------------------------------------------------------------------------------------------------------


def test_half_of_all_images_are_flipped():
    flipped = sum(draw(seed, flip=True)[0] < 0 for seed in range(400))
    assert 160 < flipped < 240


def test_angles_fill_their_range():
    angles = np.rad2deg([np.arcsin(draw(seed, rotation_deg=15)[1]) for seed in range(400)])
    assert np.abs(angles).max() <= 15
    counts, _ = np.histogram(angles, bins=6, range=(-15, 15))
    assert counts.min() > 40  # of 67 on average


@PROPERTY
@given(seed=st.integers(0, 9999), shape=st.sampled_from([(212, 212), (40, 40), (36, 48)]))
def test_crop_is_a_square_of_the_image_enlarged(seed, shape):
    """Images of their own coordinates: the first and last row and column say what was cut out."""
    rows, columns = np.meshgrid(*map(np.arange, shape), indexing="ij")
    label = np.zeros(shape)
    coefficients = draw(seed, shape, crop_px=30)
    rows, columns = (moved(image, label, coefficients)[0] for image in (rows, columns))
    lost = shape[0] - 1 - (rows[-1, 0] - rows[0, 0]), shape[1] - 1 - (columns[0, -1] - columns[0, 0])
    assert lost[0] == pytest.approx(lost[1], abs=1e-2)  # as much of both
    assert lost[0] == pytest.approx(round(lost[0]), abs=1e-2) and -0.01 <= lost[0] <= 30.01
    for image, axis in ((rows, 0), (columns, 1)):
        assert image.min() > -1e-2 and image.max() < shape[axis] - 1 + 1e-2  # nothing from outside
        line = np.moveaxis(image, axis, 0)
        np.testing.assert_allclose(line, np.linspace(line[0], line[-1], shape[axis]), atol=1e-2)


def test_crops_are_of_every_size_and_place():
    shape = (212, 212)
    drawn = np.array([draw(seed, shape, crop_px=30) for seed in range(300)], np.float64)
    sides = np.round(drawn[:, 0] * 211) + 1
    assert sides.min() == 182 and sides.max() == 212 and len(np.unique(sides)) > 25
    starts = drawn[:, [5, 2]]
    room = (212 - sides)[:, None]
    assert (starts >= -1e-4).all() and (starts <= room + 1e-4).all()
    shares = starts[sides < 205] / room[sides < 205]
    assert shares.min() < 0.05 and shares.max() > 0.95
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.3  # both axes by themselves


@PROPERTY
@given(seed=st.integers(0, 9999))
def test_the_flip_comes_last(seed):
    image, label = noise((24, 24), seed)
    plain, either = (draw(seed, (24, 24), rotation_deg=15, crop_px=6, flip=flip) for flip in (False, True))
    expected, found = moved(image, label, plain), moved(image, label, either)
    if not np.array_equal(plain, either):
        expected = expected[0][:, ::-1], expected[1][:, ::-1]
    np.testing.assert_allclose(found[0], expected[0], atol=1e-3)
    assert (found[1] != expected[1]).mean() < 0.01  # ties of the nearest neighbour


@PROPERTY
@given(seed=st.integers(0, 9999))
def test_image_and_label_move_together(seed):
    x, y = np.meshgrid(np.arange(48), np.arange(40), indexing="ij")
    label = ((x - 20) ** 2 / 150 + (y - 22) ** 2 / 80 < 1) & ~((x < 22) & (y > 24))  # without symmetry
    coefficients = draw(seed, label.shape, rotation_deg=40, crop_px=12, flip=True)
    image, labels = moved(label, label, coefficients)
    sure = (image < 1e-3) | (image > 1 - 1e-3)  # all neighbours agree
    np.testing.assert_array_equal(labels[sure], image[sure] > 0.5)
    assert sure.mean() > 0.8 and labels.sum() > 50
    assert (labels == (image > 0.5)).mean() > 0.98


@PROPERTY
@given(seed=st.integers(0, 9999), values=st.sets(st.integers(0, 255), min_size=1, max_size=5))
def test_labels_keep_their_values(seed, values):
    random = np.random.default_rng(seed)
    label = random.choice(np.array(sorted(values), np.uint8), SHAPE)
    _, found = moved(label, label, draw(seed, rotation_deg=40, crop_px=5, flip=True))
    assert set(np.unique(found)) <= values | {0}


def test_drawn_by_the_generator_alone():
    options = {"rotation_deg": 15, "crop_px": 30, "flip": True}
    drawn = [tuple(draw(seed, (212, 212), **options)) for seed in range(50)]
    assert drawn == [tuple(draw(seed, (212, 212), **options)) for seed in range(50)]
    assert len(set(drawn)) == 50


def test_every_image_of_a_batch_has_its_own_transform():
    shape = (24, 24)
    images, labels = zip(*(noise(shape, seed) for seed in range(4)), strict=True)
    coefficients = np.stack([draw(seed, shape, rotation_deg=30, crop_px=6, flip=True) for seed in range(4)])
    together = augment.affine(*map(keras.ops.convert_to_tensor, (np.stack(images)[..., None], np.stack(labels), coefficients)))
    for i in range(4):
        image, label = moved(images[i], labels[i], coefficients[i])
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(together[0])[i, ..., 0], image)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(together[1])[i], label)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data takes TensorFlow's operations only")
def test_same_inside_tf_data():
    import tensorflow as tf

    image, label = noise()
    coefficients = draw(3, rotation_deg=30, crop_px=5, flip=True)
    parts = image[None, None, ..., None], label[None, None], coefficients[None, None]
    ((images, labels),) = tf.data.Dataset.from_tensor_slices(parts).map(augment.affine)
    expected = moved(image, label, coefficients)
    np.testing.assert_array_equal(images[0, ..., 0], expected[0])
    np.testing.assert_array_equal(labels[0], expected[1])


def test_gamma_by_hand():
    images = np.array([[[-0.5, 0.25, 1.0]], [[0.5, 0.81, 2.0]]], np.float32)
    np.testing.assert_allclose(
        augment.gamma(images, np.array([0.5, 2.0], np.float32)), [[[0, 0.5, 1]], [[0.25, 0.6561, 1]]], rtol=1e-6
    )


def test_exponents_and_their_inverses_are_equally_likely():
    drawn = augment.draw_gamma(np.random.default_rng(0), (0.5, 2.0), 4000)
    assert drawn.dtype == np.float32 and drawn.min() >= 0.5 and drawn.max() <= 2
    assert (drawn < 1).mean() == pytest.approx(0.5, abs=0.03) and (drawn < np.sqrt(2)).mean() == pytest.approx(0.75, abs=0.03)
    assert augment.draw_gamma(np.random.default_rng(0), (1.5, 1.5)).shape == ()
