"""Pictures of whole hearts: contrast, label maps, and grids with any order, direction and tilt of axes."""

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from shared.errors import InputError
from shared.phantom import render_whole_heart
from shared.phantom.whole_heart_scan import VALUES, axes_of
from shared.scans import orientation
from tests.shared.phantom.test_whole_heart import RANGES_ML

SPACING_MM = 3.0
SCANS = [("ct", number) for number in (1, 2, 3, 4)] + [("mr", number) for number in (3, 4)]


@pytest.fixture(scope="module")
def drawn():
    """(modality, number) -> image and label map."""
    return {(modality, number): render_whole_heart(number, modality, 7, SPACING_MM) for modality, number in SCANS}


def brightness(image, labels):
    return {name: float(np.median(image.array[labels.array == value])) for name, value in VALUES.items()}


def test_label_maps(drawn):
    assert VALUES == {"LV": 500, "Myo": 205, "RV": 600, "LA": 420, "RA": 550, "AA": 820, "PA": 850}
    for image, labels in drawn.values():
        assert image.array.dtype == np.int16 and labels.array.dtype == np.uint16 and image.array.shape == labels.array.shape
        assert set(np.unique(labels.array)) == {0, *VALUES.values()}
        np.testing.assert_array_equal(image.affine, labels.affine)
        for name, (least, most) in RANGES_ML.items():
            mask = labels.array == VALUES[name]
            assert ndimage.label(mask)[1] == 1, name
            assert least <= mask.sum() * labels.voxel_ml <= most, name
            edges = np.argwhere(mask)
            assert edges.min() > 0 and (edges.max(0) < np.array(mask.shape) - 1).all()  # nothing is cut off


def test_contrast_of_ct(drawn):
    for (modality, _), (image, labels) in drawn.items():
        if modality == "mr":
            continue
        bright = brightness(image, labels)
        assert min(bright[name] for name in ("LV", "LA", "AA")) > 1.15 * max(bright[name] for name in ("RV", "RA"))
        assert max(bright["RV"], bright["RA"]) < bright["PA"] < min(bright[name] for name in ("LV", "LA", "AA"))
        assert 60 < bright["Myo"] < 130 and bright["Myo"] < min(bright["RV"], bright["RA"])
        assert 300 < bright["LV"] < 470
        assert image.array.min() >= -1024 and image.array.max() <= 3071
        lung = (image.array > -900) & (image.array < -700)
        assert 0.2 < lung.mean() < 0.6 and (image.array > 350).mean() > 0.01
        deep = ndimage.binary_erosion(labels.array == VALUES["LA"], iterations=2)
        assert 5 < image.array[deep].std() < 40  # noise of a scanner


def test_contrast_of_mr(drawn):
    for (modality, _), (image, labels) in drawn.items():
        if modality == "ct":
            continue
        bright = brightness(image, labels)
        assert 1.5 < bright["LV"] / bright["Myo"] < 4
        assert all(bright[name] > 1.4 * bright["Myo"] for name in ("RV", "LA", "RA", "AA", "PA"))
        assert image.array.min() >= 0 and np.percentile(image.array, 30) < 0.5 * bright["Myo"]  # lungs


def test_axes(drawn):
    codes = [nibabel.aff2axcodes(drawn["ct", number][0].affine) for number in (1, 2, 3, 4)]
    assert codes == [tuple("LPS"), tuple("RPI"), tuple("PIL"), tuple("LIP")]
    for number in (1, 2, 3, 4, 8):
        axes = axes_of(number, np.random.default_rng(number))
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        tilt_deg = np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=0), 0, 1)))
        assert (tilt_deg > 4).all() and (tilt_deg < 30).all() if number % 4 == 0 else not tilt_deg.any()


def test_voxels_are_nearly_cubes(drawn):
    for image, _ in drawn.values():
        assert image.spacing_mm[:2] == (SPACING_MM, SPACING_MM) and 1 <= image.spacing_mm[2] / SPACING_MM <= 1.35
        np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :3], axis=0), image.spacing_mm)


def test_the_affine_says_where_things_are(drawn):
    """In RAS mm, whatever the order of the axes: the left atrium is to the left of the right one and behind it, and so on."""
    for _, labels in drawn.values():
        at = {
            name: labels.affine[:3, :3] @ np.argwhere(labels.array == value).mean(0) + labels.affine[:3, 3]
            for name, value in VALUES.items()
        }
        assert at["LA"][0] < at["RA"][0] and at["LA"][1] < at["RA"][1]
        assert at["LV"][0] < at["RV"][0] and at["LV"][1] < at["RV"][1]
        assert at["AA"][2] > at["LA"][2] + 20
        distance_mm = np.linalg.norm(at["LV"] - at["RV"])
        assert 35 < distance_mm < 65


def test_axes_can_be_put_in_order_and_back(drawn):
    first, _ = drawn["ct", 1]  # its axes run to the left, backwards and up
    for image, labels in drawn.values():
        ordered = orientation.in_directions_of(first, labels)
        where = {name: np.argwhere(ordered.array == value).mean(0) for name, value in VALUES.items()}
        assert where["RA"][0] < where["LA"][0] and where["RV"][1] < where["LV"][1] < where["LA"][1]
        assert where["AA"][2] > where["LA"][2]
        back = orientation.in_directions_of(image, ordered)
        np.testing.assert_array_equal(back.array, labels.array)
        np.testing.assert_allclose(back.affine, labels.affine, atol=1e-9)


def test_the_same_numbers_give_the_same_scan(drawn):
    image, labels = render_whole_heart(4, "mr", 7, SPACING_MM)
    np.testing.assert_array_equal(image.array, drawn["mr", 4][0].array)
    np.testing.assert_array_equal(labels.array, drawn["mr", 4][1].array)
    others = [drawn["mr", 3], drawn["ct", 4], render_whole_heart(4, "mr", 8, SPACING_MM)]
    sizes = [[(other.array == value).sum() * other.voxel_ml for value in VALUES.values()] for _, other in others]
    for other in sizes:
        assert not np.allclose(other, [(labels.array == value).sum() * labels.voxel_ml for value in VALUES.values()], rtol=0.02)


@pytest.mark.parametrize(("modality", "spacing_mm", "words"), [
    ("pet", 1.2, "expected a modality of ct, mr, found 'pet'"), ("ct", 0.1, "voxels of 0.4 to 4 mm, found 0.1"),
    ("mr", 5, "found 5"), ("mr", float("nan"), "found nan"),
])  # fmt: skip
def test_what_cannot_be_drawn(modality, spacing_mm, words):
    with pytest.raises(InputError, match=words):
        render_whole_heart(1, modality, 0, spacing_mm)
