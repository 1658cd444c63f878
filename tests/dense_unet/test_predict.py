"""From scan to label map: the two ways onto the network's grid, and back onto the scan's."""

import numpy as np
import pytest

from dense_unet import predict as prediction
from dense_unet.recipe import DENSE
from shared import phantom
from shared.errors import InputError
from shared.recipes import replace
from shared.scans import orientation, volume
from shared.scans.volume import Volume
from tests.geometry import rotation

GIVEN = DENSE.preparation
SMALL = replace(GIVEN, size=16)  # whose crop is 32 pixels


def scan_of(shape, spacing_mm, seed=0):
    return Volume(np.random.default_rng(seed).uniform(0, 100, shape).astype(np.float32), spacing_mm, np.diag([*spacing_mm, 1.0]))


def blob(shape=(70, 60, 5), spacing_mm=(1.5, 1.5, 8.0)):
    x, y, _ = np.indices(shape)
    array = 200.0 * (np.hypot(x - 30, y - 35) < 12) + np.random.default_rng(0).uniform(0, 40, shape)
    return Volume(array.astype(np.float32), spacing_mm, np.diag([*spacing_mm, 1.0]))


# The paper's kind of scan ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spacing_mm", "size", "expected"), [
    ((0.59, 0.59), 512, True), ((0.703, 0.703), 512, True), ((0.586, 0.586), 512, True), ((0.65, 0.65), 352, True),
    ((0.65, 0.65), 351, False), ((0.58, 0.65), 512, False), ((0.71, 0.71), 512, False), ((1.3, 1.3), 512, False),
])  # fmt: skip
def test_which_scans_are_of_the_papers_kind(spacing_mm, size, expected):
    scan = Volume(np.zeros((size, 512, 1), np.float32), (*spacing_mm, 8.0), np.eye(4))
    assert prediction.is_papers_kind(scan, GIVEN) == expected


def test_512_pixels_become_the_means_of_the_central_352():
    scan = scan_of((512, 512, 2), (0.65, 0.65, 8.0))
    found = prediction.prepare(scan, GIVEN)
    middle = scan.array[80:432, 80:432].reshape(176, 2, 176, 2, 2).mean(axis=(1, 3))
    low, high = middle.min(axis=(0, 1)), middle.max(axis=(0, 1))
    np.testing.assert_allclose(found.array, (middle - low) / (high - low), atol=1e-5)
    assert found.spacing_mm == pytest.approx((1.3, 1.3, 8.0)) and found.array.dtype == np.float32
    np.testing.assert_allclose(found.affine[:3, 3], [80.5 * 0.65, 80.5 * 0.65, 0])  # between pixels 80 and 81


def test_labels_of_512_pixels_take_one_of_the_four_nearest():
    labels = np.zeros((512, 512, 1), np.uint8)
    labels[80:82, 80:82], labels[82:84, 80:82], labels[84, 80:82] = 3, [[[2], [2]], [[2], [1]]], 1
    found = prediction.prepare_labels(Volume(labels, (0.65, 0.65, 8.0), np.eye(4)), GIVEN)
    assert found.array[:2, 0, 0].tolist() == [3, 2] and found.array.shape == (176, 176, 1)
    assert found.array[2, 0, 0] in (0, 1)  # two of each


def test_the_phantom_of_512_pixels_comes_back_onto_its_own_grid(tmp_path, untrained):
    root = phantom.write_acdc(tmp_path / "ge", patients=1, size=512)
    path = sorted(root.rglob("*frame01.nii.gz"))[0]
    scan, labels = volume.read(path), volume.read_labels(path.with_name(path.name.replace(".nii", "_gt.nii")))
    assert scan.array.shape[:2] == (512, 512) and prediction.is_papers_kind(scan, GIVEN)
    seen = prediction.prepare_labels(labels.with_array(labels.array.astype(np.uint8)), GIVEN)
    assert (seen.array > 0).sum() == pytest.approx((labels.array > 0).sum() / 4, rel=0.02)  # nothing is cut off
    image = prediction.prepare(scan, GIVEN)
    certain = image.with_array(np.eye(4, dtype=np.float32)[seen.array])
    back = prediction.preprocess.onto_grid(certain, scan, 1).array.argmax(axis=3)
    assert np.mean(back != labels.array) < 0.002
    found = prediction.predict(prediction.load(untrained), scan)
    assert found.array.shape == scan.array.shape and (found.affine == scan.affine).all()


# All other scans -------------------------------------------------------------------------------------------------------------


def test_other_scans_are_resampled_and_padded_with_zeros():
    scan = scan_of((100, 80, 3), (2.6, 1.3, 10.0))
    found = prediction.prepare(scan, GIVEN)
    assert found.array.shape == (176, 176, 3) and found.spacing_mm == pytest.approx((1.3, 1.3, 10.0))
    assert not found.array[:, :48].any() and not found.array[:, 128:].any()
    assert found.array[:, 48:128].min(axis=(0, 1)).max() < 0.05  # 200 pixels of 1.3 mm, of which 176 are seen
    labels = prediction.prepare_labels(scan.with_array((scan.array > 50).astype(np.uint8)), GIVEN)
    assert set(np.unique(labels.array)) == {0, 1} and labels.array.shape == found.array.shape


def test_each_slice_reaches_from_0_to_1_and_a_constant_one_is_0():
    scan = scan_of((40, 40, 3), (1.3, 1.3, 8.0))
    scan.array[..., 1] = 0
    scan.array[..., 2] = scan.array[..., 2] * 1000 - 5e4
    found = prediction.prepare(scan, SMALL).array
    assert (found[..., 0].min(), found[..., 0].max()) == (0, 1) and not found[..., 1].any()
    assert (found[..., 2].min(), found[..., 2].max()) == (0, 1)
    integers = scan.with_array(np.round(scan.array).astype(np.int16))
    assert np.isfinite(prediction.prepare(integers, SMALL).array).all()


def test_a_constant_scan_is_refused():
    with pytest.raises(InputError, match="constant image: every voxel is 7"):
        prediction.prepare(scan_of((8, 8, 2), (1.0, 1.0, 8.0)).with_array(np.full((8, 8, 2), 7)), GIVEN)


@pytest.mark.parametrize("shape", [(5, 4, 3), (300, 10, 1)])
def test_images_smaller_than_the_crop(shape, untrained):
    assert prediction.predict(prediction.load(untrained), scan_of(shape, (1.5, 1.5, 8.0))).array.shape == shape


# Back -------------------------------------------------------------------------------------------------------------------------


def test_probabilities_are_interpolated_before_the_class_is_chosen(untrained, monkeypatch):
    """From pixel to pixel of the network, the probability of class 1 rises from 0.2 over 0.4 to 0.8: it is 0.5 a quarter of the
    way from the second to the third."""
    segmenter = prediction.load(untrained)
    scan = scan_of((480, 480, 1), (0.48, 0.48, 8.0))  # ten pixels to one of the network

    def found(model, images, batch_size):
        chances = np.zeros((1, 48, 48, 4), np.float32)
        chances[..., 1] = np.interp(np.arange(48), (20, 21, 22), (0.2, 0.4, 0.8))[None, :, None]
        chances[..., 0] = 1 - chances[..., 1]
        return chances

    monkeypatch.setattr(prediction.inference, "probabilities", found)
    classes = prediction.predict(segmenter, scan).array[:, 240, 0]
    # pixel i of the scan lies at (i + 0.5) / 10 - 0.5 of the network: 217 is at 21.25, where background is as likely
    assert (classes[:217] == 0).all() and (classes[218:] == 3).all()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_slices_may_lie_along_any_axis(axes, untrained):
    segmenter, scan = prediction.load(untrained), blob()
    expected = prediction.predict(segmenter, scan)
    found = prediction.predict(segmenter, orientation.transpose(scan, axes))
    np.testing.assert_array_equal(orientation.transpose_back(found, axes).array, expected.array)
    assert len(np.unique(expected.array)) > 1


def test_an_oblique_scan_keeps_its_grid_and_a_cine_its_frames(untrained):
    scan = blob()
    affine = scan.affine.copy()
    affine[:3, :3] = rotation(20, -30, 15) @ affine[:3, :3]
    cine = Volume(np.stack([scan.array, scan.array[::-1]], axis=-1), scan.spacing_mm, affine, 0.03)
    segmenter = prediction.load(untrained)
    found = prediction.predict(segmenter, cine)
    assert found.array.shape == cine.array.shape and (found.affine == affine).all()
    np.testing.assert_array_equal(found.array[..., 0], prediction.predict(segmenter, cine.frame(0)).array)


def test_many_slices_are_predicted_in_parts(untrained, monkeypatch):
    segmenter, scan = prediction.load(untrained), blob()
    expected = prediction.predict(segmenter, scan)
    monkeypatch.setattr(prediction, "SLICES_AT_ONCE", 2)
    np.testing.assert_array_equal(prediction.predict(segmenter, scan).array, expected.array)


def test_from_file_to_file(untrained, phantom_cases, tmp_path):
    prediction.main(["--weights", str(untrained), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz")])
    scan, labels = volume.read(phantom_cases[0].image), volume.read_labels(tmp_path / "seg.nii.gz")
    assert labels.array.shape == scan.array.shape and set(np.unique(labels.array)) <= {0, 1, 2, 3}
    np.testing.assert_array_equal(labels.array, prediction.predict(prediction.load(untrained), scan).array)


def test_probabilities_decide_what_is_predicted(untrained):
    segmenter, scan = prediction.load(untrained), blob()
    found = prediction.chances(segmenter, scan)
    assert found.shape == (*scan.array.shape, 4)
    np.testing.assert_array_equal(found.argmax(axis=3), prediction.predict_frame(segmenter, scan))
