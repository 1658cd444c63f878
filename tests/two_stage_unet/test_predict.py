"""From scan to label map: grids and back, the dynamic tile, axes in any order, and files."""

import dataclasses
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from shared import runs
from shared.errors import InputError
from shared.files import read_json, write_json
from shared.recipes import replace
from shared.scans import orientation, volume
from shared.scans.volume import Volume
from tests.geometry import rotation
from two_stage_unet import predict as prediction
from two_stage_unet.recipe import TWO_STAGE
from two_stage_unet.sampling import AIR

GIVEN = TWO_STAGE.preparation


def ball(shape=(40, 36, 20), spacing_mm=(1.0, 1.0, 1.5), centre=(14, 20, 9), radius_mm=7.0):
    x, y, z = np.indices(shape)
    distance = [((axis - c) * mm) ** 2 for axis, c, mm in zip((x, y, z), centre, spacing_mm, strict=True)]
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [-20, 30, 5]
    return Volume((np.sum(distance, axis=0) < radius_mm**2).astype(np.float32) * 90 + 10, spacing_mm, affine)


def test_grey_values_are_stretched_from_minus_one_to_one_on_the_own_grid():
    found = prediction.prepare(ball(), GIVEN)
    assert (found.array.min(), found.array.max()) == pytest.approx((-1, 1), abs=1e-6)
    np.testing.assert_array_equal(found.affine, ball().affine)
    with pytest.raises(InputError, match="constant image"):
        prediction.prepare(ball().with_array(np.ones((4, 4, 4), np.float32)), GIVEN)


def test_grey_values_beyond_the_percentiles_are_cut_off():
    scan = Volume(np.arange(101, dtype=np.float32).reshape(101, 1, 1), (1, 1, 1), np.eye(4))
    found = prediction.prepare(scan, replace(GIVEN, percentiles=(10.0, 60.0))).array.ravel()
    np.testing.assert_allclose(found[[0, 10, 35, 60, 100]], [-1, -1, 0, 1, 1], atol=1e-6)
    spot = scan.with_array(np.where(scan.array == 7, np.float32(5), np.float32(2)))  # nearly constant: all values count
    assert set(prediction.prepare(spot, replace(GIVEN, percentiles=(10.0, 60.0))).array.ravel()) == {-1, 1}


def test_the_coarse_grid_covers_the_same_space_and_air_stays_air():
    fine = prediction.prepare(ball(), GIVEN)
    coarse = prediction.coarse(fine, GIVEN)
    assert coarse.array.shape == (13, 12, 10)
    np.testing.assert_allclose(np.array(coarse.array.shape) * coarse.spacing_mm, np.array(fine.array.shape) * fine.spacing_mm)
    assert coarse.array.min() == pytest.approx(AIR, abs=1e-5) and coarse.array[0, 0, 0] == pytest.approx(AIR, abs=1e-5)
    labels = prediction.coarse(fine.with_array((fine.array > 0).astype(np.uint8)), GIVEN, order=0)
    assert set(np.unique(labels.array)) == {0, 1} and labels.array.dtype == np.uint8


def test_thick_slices_become_fine_ones_between_air_and_the_brightest():
    thick = Volume(np.full((8, 8, 3), 1.0, np.float32), (2.0, 2.0, 10.0), np.diag([2.0, 2.0, 10.0, 1.0]))
    fine = prediction.onto_fine(thick, replace(GIVEN, fine_mm=2.0), order=1)
    assert fine.array.shape == (8, 8, 15)
    np.testing.assert_allclose(fine.array[4, 4], [0.2, 0.6, *[1.0] * 11, 0.6, 0.2], atol=1e-6)  # 0.4 and 0.2 of a slice outside


def test_the_tile_is_the_box_of_the_largest_component_with_a_margin():
    fine = ball((64, 64, 30), (1.0, 1.0, 2.0))
    classes = np.zeros((16, 16, 15), np.uint8)  # 4 x 4 x 2 fine voxels each
    classes[5:8, 6:9, 4:8], classes[0, 0, 0] = 2, 1
    starts, shape = prediction.tile(classes, fine, 4.0)
    # voxels 20 to 31, 24 to 35, 8 to 15; 4 mm are 4, 4 and 2 voxels: 16 to 35, 20 to 39, 6 to 17; x and y grow to 32
    assert (starts, shape) == ([10, 14, 6], [32, 32, 12])
    assert prediction.tile(np.zeros_like(classes), fine, 4.0) == ([0, 0, 0], [64, 64, 30])
    narrow = ball((20, 64, 30), (1.0, 1.0, 2.0))
    assert prediction.tile(np.ones((5, 16, 15), np.uint8), narrow, 4.0) == ([-6, 0, 0], [32, 64, 30])


@pytest.mark.parametrize("fine_mm", [0.0, 2.0])
def test_the_tile_is_pasted_back_where_it_was(fine_mm, monkeypatch):
    """Net2, which is made up here, finds one voxel of the tile, on the scan's own grid or on one of half the resolution."""
    recipe = replace(TWO_STAGE, fine_mm=fine_mm)
    segmenter = prediction.Segmenter(coarse=None, net2="net2", recipe=recipe, structures={1: "LA"})
    scan = ball((40, 36, 12), (1.0, 1.0, 1.0))
    fine = prediction.prepare(scan, recipe.preparation)
    probabilities = np.zeros((4, 16, 16, 2), np.float32)
    probabilities[..., 0], probabilities[1, 2, 3, 1] = 0.3, 0.9
    monkeypatch.setattr(prediction, "soft_region", lambda net1, fine, recipe: (fine.array[..., None], None))
    monkeypatch.setattr(prediction, "tile", lambda seen, fine, margin_mm: ([3, -1, 2], [16, 16, 4]))
    monkeypatch.setattr(prediction, "probabilities_in_tile", lambda *given: iter(probabilities))
    classes = prediction.likeliest(prediction.by_class(segmenter, fine, scan))
    found = [[5, 2, 3]] if fine_mm == 0 else [[x, y, z] for x in (10, 11) for y in (4, 5) for z in (6, 7)]
    assert classes.shape == scan.array.shape and np.argwhere(classes).tolist() == found
    if fine_mm == 0:
        np.testing.assert_array_equal(prediction.whole_classes(segmenter, fine), classes)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("fine_mm", [0.0, 1.0])
def test_smaller_components_go_where_the_recipe_says_so(fine_mm, largest, monkeypatch):
    """Net2, which is made up here, finds three voxels in a row and, two slices further, one by itself."""
    recipe = replace(TWO_STAGE, fine_mm=fine_mm, largest_components=largest)
    segmenter = prediction.Segmenter(coarse=None, net2="net2", recipe=recipe, structures={1: "LA"})
    scan = ball((16, 16, 4), (1.0, 1.0, 1.0), (8, 8, 2))
    probabilities = np.zeros((4, 16, 16, 2), np.float32)
    probabilities[..., 0] = 0.5
    probabilities[1, 2:5, 3, 1] = probabilities[3, 9, 9, 1] = 0.9
    monkeypatch.setattr(prediction, "soft_region", lambda net1, fine, recipe: (fine.array[..., None], None))
    monkeypatch.setattr(prediction, "tile", lambda seen, fine, margin_mm: ([0, 0, 0], [16, 16, 4]))
    monkeypatch.setattr(prediction, "probabilities_in_tile", lambda *given: iter(probabilities))
    expected = [[2, 3, 1], [3, 3, 1], [4, 3, 1], *([] if largest else [[9, 9, 3]])]
    assert np.argwhere(prediction.predict(segmenter, scan).array).tolist() == expected
    in_ensembles = prediction.cleaned(segmenter, prediction.chances(segmenter, scan).argmax(axis=3).astype(np.uint8))
    assert np.argwhere(in_ensembles).tolist() == expected


def test_the_likeliest_class_is_the_first_of_equals():
    probabilities = np.random.default_rng(0).integers(0, 4, (5, 6, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(prediction.likeliest(iter(probabilities)), probabilities.argmax(axis=0))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2)])
@pytest.mark.parametrize("slice_mm", [1.5, 3.0])
def test_the_order_and_direction_of_axes_do_not_matter(axes, flipped, slice_mm, untrained):
    """Thick slices are last wherever they are; then x and y may be exchanged."""
    segmenter = prediction.load(untrained)
    scan = ball((60, 56, 40), (1.5, 1.5, slice_mm), (30, 25, 20), 25.0)
    noise = np.random.default_rng(0).normal(0, 5, scan.array.shape).astype(np.float32)
    scan = scan.with_array(scan.array + noise)
    expected = prediction.predict(segmenter, scan)
    moved = orientation.transpose(scan, axes)
    for axis in flipped:
        moved = orientation.flip(moved, axis)
    found = prediction.predict(segmenter, moved)
    for axis in flipped:
        found = orientation.flip(found, axis)
    np.testing.assert_array_equal(orientation.transpose_back(found, axes).array, expected.array)
    assert len(np.unique(expected.array)) > 1


def test_an_oblique_scan_keeps_its_grid(untrained):
    scan = ball((40, 36, 20))
    affine = scan.affine.copy()
    affine[:3, :3] = rotation(20, -30, 15) @ affine[:3, :3]
    oblique = Volume(scan.array, scan.spacing_mm, affine)
    found = prediction.predict(prediction.load(untrained), oblique)
    assert found.array.shape == scan.array.shape
    np.testing.assert_array_equal(found.affine, affine)


def test_from_file_to_file(untrained, phantom_cases, tmp_path):
    prediction.main(["--weights", str(untrained), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz")])
    scan, labels = volume.read(phantom_cases[0].image), volume.read_labels(tmp_path / "seg.nii.gz")
    assert labels.array.shape == scan.array.shape and set(np.unique(labels.array)) <= {0, 1, 2, 3}
    np.testing.assert_array_equal(labels.array, prediction.predict(prediction.load(untrained), scan).array)


def test_where_net1_finds_nothing_the_whole_volume_is_the_tile(untrained, monkeypatch):
    segmenter = prediction.load(untrained)
    segmenter.coarse.get_layer("logits").bias.assign(np.array([100, 0, 0, 0], np.float32))
    tile, tiles = prediction.tile, []
    monkeypatch.setattr(prediction, "tile", lambda *given: tiles.append(tile(*given)) or tiles[-1])
    scan = ball((30, 28, 12), (3.0, 3.0, 3.0))
    assert prediction.predict(segmenter, scan).array.shape == scan.array.shape
    (starts, shape), fine = tiles[0], prediction.prepare(scan, segmenter.recipe.preparation).array.shape
    assert (starts[2], shape[2]) == (0, fine[2]) and all(start <= 0 for start in starts[:2])
    assert all(size >= whole for size, whole in zip(shape, fine, strict=True))


def test_a_scan_of_one_slice_and_one_smaller_than_a_patch(untrained):
    segmenter = prediction.load(untrained)
    for shape in ((40, 36, 1), (5, 4, 3)):
        image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        scan = Volume(image, (1.5, 1.5, 8.0), np.diag([1.5, 1.5, 8.0, 1.0]))
        assert prediction.predict(segmenter, scan).array.shape == shape


def test_a_constant_scan_is_refused_without_a_warning(untrained, tmp_path):
    folder = shutil.copytree(untrained, tmp_path / "run")
    write_json(folder / runs.RECORD, {**read_json(folder / runs.RECORD), "dataset": "mmwhs_ct"})
    scan = ball((30, 28, 12), (3.0, 3.0, 3.0))
    with pytest.raises(InputError, match="constant image"):
        prediction.predict_file(prediction.load(folder), scan.with_array(scan.array * 0), Path("scan.nii.gz"))


@pytest.mark.parametrize(("dataset", "low", "warned"), [
    ("mmwhs_mr", -900, "grey values from -900 to 100, as in CT, but the network learned from MR"),
    ("mmwhs_ct", 0, "grey values from 0 to 100, as in MR, but the network learned from CT"),
    ("mmwhs_ct", -900, ""), ("mmwhs_mr", 0, ""), ("nnunet", -900, ""),
])  # fmt: skip
def test_a_scan_of_another_modality_is_warned_of(dataset, low, warned, untrained, tmp_path):
    folder = shutil.copytree(untrained, tmp_path / "run")
    write_json(folder / runs.RECORD, {**read_json(folder / runs.RECORD), "dataset": dataset})
    scan = ball((30, 28, 12), (3.0, 3.0, 3.0))
    scan = scan.with_array(np.where(scan.array > 50, np.float32(100), np.float32(low)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prediction.predict_file(prediction.load(folder), scan, Path("scan.nii.gz"))
    found = [str(each.message) for each in caught if "grey values" in str(each.message)]
    assert [text.startswith(f"scan.nii.gz: {warned}") for text in found] == [True] * bool(warned)


@pytest.mark.parametrize("net1_alone", [False, True])
def test_probabilities_decide_what_is_predicted_in_any_order_of_axes(net1_alone, untrained):
    segmenter = prediction.load(untrained)
    segmenter = dataclasses.replace(segmenter, net2=None) if net1_alone else segmenter
    scan = ball((40, 36, 24), (1.5, 1.5, 3.0), (20, 15, 12), 15.0)
    scan = orientation.transpose(scan, (1, 0, 2))
    found = prediction.chances(segmenter, scan)
    assert found.shape == (*scan.array.shape, 4)
    np.testing.assert_array_equal(found.argmax(axis=3), prediction.predict_frame(segmenter, scan))
    np.testing.assert_allclose(found.sum(axis=3)[4:-4, 4:-4, 4:-4], 1, atol=1e-3)  # at the border they are mixed with nothing


@pytest.mark.filterwarnings("ignore:.*as in a label map")  # a ball of one grey value
def test_flips_average_what_the_networks_say_of_mirrored_scans(untrained, tmp_path):
    scan = ball()
    volume.write(scan, tmp_path / "ball.nii.gz")
    prediction.main(["--weights", str(untrained), str(tmp_path / "ball.nii.gz"), "-o", str(tmp_path / "seg.nii.gz"), "--flips"])
    segmenter = prediction.load(untrained)
    assert prediction.mirrored_axes(segmenter) == (0, 1)
    total = prediction.chances(segmenter, scan)
    for axis in (0, 1):
        total = total + np.flip(prediction.chances(segmenter, scan.with_array(np.flip(scan.array, axis))), axis)
    sure = np.ptp(np.sort(total, axis=-1)[..., -2:], axis=-1) > 1e-4  # sums in another order may turn the others
    found = volume.read_labels(tmp_path / "seg.nii.gz").array
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(found[sure], total.argmax(axis=-1)[sure])
