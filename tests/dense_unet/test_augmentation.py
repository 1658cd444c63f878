"""Gamma, blur and rotation: their ranges and chances, against SciPy, and labels that move with their image."""

import numpy as np
import pytest
from scipy import ndimage

from dense_unet import augmentation
from dense_unet.recipe import DENSE
from shared.datasets import IGNORED
from shared.recipes import replace

STILL = {"gamma": np.ones(2, np.float32), "taps": np.tile(augmentation.gaussian(0, 3), (2, 1)),
         "rotation": np.tile(np.float32([1, 0, 0, 0, 1, 0, 0, 0]), (2, 1))}  # fmt: skip
RECIPE = replace(DENSE, size=32)


def images(channels=1, size=32):
    return np.random.default_rng(0).random((2, size, size, channels)).astype(np.float32)


def labels(size=32):
    return np.random.default_rng(1).integers(0, 4, (2, size, size)).astype(np.uint8)


def applied(image, label, **changes):
    return [np.asarray(part) for part in augmentation.apply(image, label, STILL | changes)]


def test_what_is_drawn():
    drawn = [augmentation.draw(np.random.default_rng(seed), RECIPE) for seed in range(400)]
    gamma = np.array([each["gamma"] for each in drawn])
    changed = gamma[gamma != 1]
    assert 0.42 < len(changed) / 400 < 0.58 and changed.min() > 0.7 and changed.max() < 1.5
    assert np.median(np.log(changed)) == pytest.approx(np.log(0.7 * 1.5) / 2, abs=0.1)
    blurred = [each["taps"].max() < 1 for each in drawn]
    assert 0.32 < np.mean(blurred) < 0.45  # a half, but for Gaussians of less than a quarter of a pixel, which are a single tap
    assert 0.13 < np.mean([b and g != 1 for b, g in zip(blurred, gamma, strict=True)]) < 0.25  # each has its own chance
    angles = np.degrees([np.arctan2(each["rotation"][3], each["rotation"][0]) for each in drawn])
    assert np.abs(angles).max() < 15.001 and np.std(angles) == pytest.approx(15 / np.sqrt(3), abs=0.7)
    assert all(each["taps"].shape == (7,) and each["gamma"].dtype == np.float32 for each in drawn)


def test_nothing_drawn_changes_nothing():
    image, label = images(), labels()
    np.testing.assert_allclose(applied(image, label)[0], image, atol=1e-6)
    np.testing.assert_array_equal(applied(image, label)[1], label)
    off = replace(RECIPE, chance=0.0, rotation_deg=0.0, blur_px=0.0)
    drawn = augmentation.draw(np.random.default_rng(0), off)
    np.testing.assert_allclose(applied(image[:1], label[:1], **{k: v[None] for k, v in drawn.items()})[0], image[:1], atol=1e-5)


def test_gamma_is_a_power_of_the_image_only():
    image, label = images(), labels()
    found, same = applied(image, label, gamma=np.float32([0.7, 1.5]))
    np.testing.assert_allclose(found[..., 0], image[..., 0] ** np.array([0.7, 1.5])[:, None, None], atol=1e-6)
    np.testing.assert_array_equal(same, label)


def test_blur_is_that_of_scipy():
    image, sigmas = images(), (0.6, 1.0)
    taps = np.stack([augmentation.gaussian(sigma, 3) for sigma in sigmas])
    found, same = applied(image, labels(), taps=taps)
    for one, sigma, blurred in zip(image[..., 0], sigmas, found[..., 0], strict=True):
        np.testing.assert_allclose(blurred, ndimage.gaussian_filter(one, sigma, mode="reflect", radius=3), atol=1e-5)
    np.testing.assert_array_equal(same, labels())


def turned(deg, size=32):
    drawn = augmentation.augment.draw_affine(ConstantAngle(), (size, size), rotation_deg=deg, crop_px=0, flip=False)
    return np.stack([drawn, drawn])


class ConstantAngle:
    """In the place of a generator: the largest angle."""

    def uniform(self, low, high, size=None):
        return 1.0 if size is None else np.zeros(size)

    def random(self):
        return 1.0


def test_image_and_labels_turn_together_and_what_enters_is_0():
    label = np.zeros((2, 32, 32), np.uint8)
    label[:, 8:14, 18:26] = 2
    label[0, 0:3, 0:3] = IGNORED
    image = (label == 2).astype(np.float32)[..., None]
    found, moved = applied(image, label, rotation=turned(90))
    assert set(np.unique(moved)) <= {0, 2, IGNORED}
    np.testing.assert_allclose(found[..., 0] > 0.5, moved == 2)
    assert not (moved == label).all() and (moved == 2).sum() == (label == 2).sum()
    bright, _ = applied(np.ones_like(image), label, rotation=turned(30))
    assert bright[0, 0, 0, 0] == 0 and bright[0, 16, 16, 0] == pytest.approx(1, abs=1e-5)


def test_the_border_term_moves_linearly_and_follows_the_labels():
    image, label = images(channels=2), labels()
    grey, both = applied(image, label, gamma=np.float32([0.7, 0.7]))
    assert grey.shape == (2, 32, 32, 1) and both.shape == (2, 32, 32, 2) and both.dtype == np.float32
    np.testing.assert_array_equal(both[..., 0], label)
    np.testing.assert_allclose(both[..., 1], image[..., 1], atol=1e-6)  # gamma is for the image only
    ramp = np.stack([np.zeros((32, 32)), np.tile(np.arange(32.0), (32, 1))], axis=-1).astype(np.float32)
    _, both = applied(np.stack([ramp, ramp]), label, rotation=turned(15))
    assert (both[0, 16, 16:18, 1] % 1 > 0.01).any()  # between two pixels
