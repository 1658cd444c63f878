"""Slices and volumes of prepared cases, and generators that know nothing of each other."""

import itertools

import numpy as np
import pytest

from shared.errors import InputError
from shared.learning.examples import AUGMENTATION, EXAMPLE, ORDER, Slices, Volumes, generator
from shared.learning.prepared import store
from tests.numbered import ALL_SLICES, channels, identity, stored


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("cases"))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_slices(paths, rng):
    examples = Slices(paths["slices"])
    assert len(examples) == 13
    image, label = examples.one(4, rng)  # first slice of the third case: 3 + 1 come before
    assert image.shape == (6, 5, 1) and label.shape == (6, 5)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert (image == 20).all() and (label == 21).all()
    assert [identity(examples.one(i, rng)[0]) for i in range(13)] == ALL_SLICES


def test_volumes(paths, rng):
    examples = Volumes(paths["volumes"])
    assert len(examples) == 3
    image, label = examples.one(2, rng)
    assert image.shape == (6, 5, 3, 1) and label.shape == (6, 5, 3)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert image.flags.c_contiguous and label.flags.c_contiguous
    np.testing.assert_array_equal(image[..., 0], channels(7, 3)["image"])
    np.testing.assert_array_equal(label, channels(7, 3)["label"])


@pytest.mark.parametrize("kind", [Slices, Volumes])
def test_stored_examples_draw_nothing(paths, rng, kind):
    before = rng.bit_generator.state
    kind(paths["slices"]).one(0, rng)
    assert rng.bit_generator.state == before


def test_further_channels_are_left_aside(tmp_path, rng):
    path = store(tmp_path, "key", lambda: {"edge": np.ones((6, 5, 3), bool), **channels(1, 3)})
    image, label = Slices([path]).one(2, rng)
    assert (image == 12).all() and image.shape == (6, 5, 1) and (label == 13).all() and label.shape == (6, 5)


def test_a_case_that_is_not_there_is_named_at_once(tmp_path):
    with pytest.raises(InputError, match="gone.npy: expected a prepared case"):
        Slices([tmp_path / "gone.npy"])


def test_no_generator_is_opened_twice():
    places = list(itertools.product((ORDER, EXAMPLE, AUGMENTATION), range(20), range(20)))
    drawn = {generator(seed, *place).random() for seed in (0, 1) for place in places}
    assert len(drawn) == 2 * len(places)
    assert generator(0, EXAMPLE, 3, 4).random() == generator(0, EXAMPLE, 3, 4).random()
