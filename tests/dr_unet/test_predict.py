"""Scan -> label map: the paper's steps in their order, the crop pasted back where it was, whatever the axes of the scan."""

import cv2
import keras
import nibabel
import numpy as np
import pytest
from scipy import ndimage

from dr_unet import predict as prediction
from dr_unet.recipe import PRESETS, RECIPES
from shared import datasets
from shared.errors import InputError
from shared.files import read_csv
from shared.scans import orientation, preprocess, volume
from shared.scans.volume import Volume, from_array
from shared.scoring import metrics

HEART = {1: "RV", 2: "Myo", 3: "LV"}


# Preparation ----------------------------------------------------------------------------------------------------------------


def test_prepare_is_the_papers_chain_in_its_order(tiny):
    recipe = tiny("multi_stage_f32", clahe_tile_mm=9.0, spacing_mm=(2.5, 2.0, 5.0), image_shape=(8, 16, 16))
    random = np.random.default_rng(0)
    scan = from_array(random.integers(0, 900, (22, 18, 5)).astype(np.int16), (1.25, 1.5, 10.0))
    equaliser = cv2.createCLAHE(2.0, (3, 3))
    slices = [np.round((s - s.min()) * (255 / (s.max() - s.min()))) for s in np.moveaxis(scan.array.astype(float), 2, 0)]
    grey = np.stack([equaliser.apply(s.astype(np.uint8)) for s in slices], axis=2).astype(float)
    old, new = np.array(grey.shape), np.array([11, 14, 10])  # 27.5, 27 and 50 mm
    at = np.meshgrid(*[(np.arange(n) + 0.5) * o / n - 0.5 for o, n in zip(old, new, strict=True)], indexing="ij")
    resampled = ndimage.map_coordinates(grey, at, order=1, mode="grid-constant")
    normal = (resampled - resampled.mean()) / resampled.std()
    expected = np.pad(normal[1:9], [(0, 0), (1, 1), (3, 3)])  # 11 - 8 = 3: one off the front, two off the end

    prepared = prediction.prepare(scan, recipe.preparation)
    assert prepared.array.dtype == np.float32
    np.testing.assert_allclose(prepared.array, expected, atol=2e-4)
    np.testing.assert_allclose(prepared.spacing_mm, (2.5, 27 / 14, 5.0))
    first_mm = [(0.5 * step + start * step - 0.5) * s for step, start, s in ((2, 1, 1.25), (18 / 14, -1, 1.5), (0.5, -3, 10.0))]
    np.testing.assert_allclose(prepared.affine[:3, 3], first_mm)


def test_image_and_labels_lie_on_one_grid(tiny):
    recipe = tiny("multi_stage_f32")
    given = recipe.preparation
    scan, labels = heart()
    image, classes = prediction.prepare(scan, given), prediction.prepare_labels(labels, given)
    assert image.array.shape == classes.array.shape == given.image_shape and classes.array.dtype == np.uint8
    np.testing.assert_allclose(image.affine, classes.affine)
    assert image.spacing_mm == classes.spacing_mm
    means = [image.array[classes.array == value].mean() for value in range(4)]
    assert means[3] > means[2] > means[1] > means[0]


def test_the_localiser_sees_means_of_blocks_in_the_middle_of_its_grid(tiny):
    recipe = tiny("multi_stage_f8", localiser_factors=(2, 3, 2), localiser_shape=(16, 8, 16))
    given = recipe.preparation
    image = from_array(np.random.default_rng(0).normal(size=given.image_shape).astype(np.float32), (2.5, 2.5, 4.0))
    seen = prediction.localiser_input(image, given)
    blocks = image.array.reshape(12, 2, 8, 3, 8, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(seen.array, np.pad(blocks, [(2, 2), (0, 0), (4, 4)]), atol=1e-6)
    np.testing.assert_allclose(seen.affine @ [2, 0, 4, 1], [1.25, 2.5, 2.0, 1])  # the centre of the first block
    labels = image.with_array((image.array > 0).astype(np.uint8))
    low = prediction.localiser_input(labels, given, preprocess.shrink_labels)
    np.testing.assert_allclose(low.affine, seen.affine)
    counts = labels.array.reshape(12, 2, 8, 3, 8, 2).sum(axis=(1, 3, 5))
    decided = np.pad(counts, [(2, 2), (0, 0), (4, 4)])
    np.testing.assert_array_equal(low.array[decided > 6], 1)
    np.testing.assert_array_equal(low.array[decided < 6], 0)


@pytest.mark.parametrize(("experiment", "preset"), [("multi_stage_f32", "paper"), ("multi_stage_f8", "quick")])
def test_labels_survive_the_round_trip(experiment, preset, phantom_cases, lasc_cases):
    recipe = PRESETS[preset](RECIPES[experiment])
    given = recipe.preparation
    case = (phantom_cases if given.structures != ("LA",) else lasc_cases)[0]
    labels = datasets.load_labels(case, given.structures)
    there = prediction.prepare_labels(labels, given)
    classes = np.arange(1 if len(given.structures) == 1 else 0, len(given.structures) + 1)
    certain = there.with_array((there.array[..., None] == classes).astype(np.float32))
    back = prediction.classes_on(labels, certain)
    for value in range(1, len(given.structures) + 1):
        assert metrics.dice(back.array == value, labels.array == value) > 0.95


# Networks of known weights --------------------------------------------------------------------------------------------------


def voxelwise(shape, kernel, bias):
    """A network whose logits are `kernel` times a voxel's own grey level plus `bias`, one of each class."""
    image = keras.Input((*shape, 1))
    features = keras.layers.Activation("linear", name="features")(image)
    model = keras.Model(image, keras.layers.Conv3D(len(kernel), 1, name="logits")(features))
    model.get_layer("logits").set_weights([np.reshape(kernel, (1, 1, 1, 1, -1)), np.array(bias)])
    return model


def reader(shape, levels):
    """Logits that are largest for the class whose grey level of `levels` is nearest."""
    levels = np.array(levels)
    return voxelwise(shape, 20 * levels, -10 * levels**2)


def brightest(shape):
    """A localiser whose activation map is the grey level itself, where that is positive."""
    return voxelwise(shape, [1.0], [0.0])


def heart(shape=(60, 52, 6), spacing_mm=(2.0, 2.0, 10.0), centre=(0.5, 0.5)):
    """A scan of four grey levels about `centre` (as a fraction of the slice), and its classes."""
    x, y, z = np.indices(shape)
    radius_mm = np.hypot((x - shape[0] * centre[0]) * spacing_mm[0], (y - shape[1] * centre[1]) * spacing_mm[1])
    classes = np.zeros(shape, np.uint8)
    inside = (z > 0) & (z < shape[2] - 1)
    classes[(radius_mm < 30) & inside] = 1
    classes[(radius_mm < 22) & inside] = 2
    classes[(radius_mm < 14) & inside] = 3
    grey = np.array([0, 400, 800, 1200])[classes].astype(np.int16)
    return from_array(grey, spacing_mm), from_array(classes, spacing_mm)


def levels_of(scan, labels, recipe):
    """Median grey level of every class on the working grid."""
    given = recipe.preparation
    image, classes = prediction.prepare(scan, given).array, prediction.prepare_labels(labels, given).array
    outside = prediction.prepare_labels(labels.with_array(np.ones_like(labels.array)), given).array == 0
    return [float(np.median(image[(classes == value) & ~outside])) for value in range(classes.max() + 1)]


def knowing(recipe, scan, labels, structures=HEART):
    """A `Segmenter` that knows the grey levels of this scan."""
    given = recipe.preparation
    shape = given.crop_shape if recipe.method == "multi_stage" else given.input_shape
    localiser = brightest(given.localiser_shape) if recipe.method == "multi_stage" else None
    levels = levels_of(scan, labels, recipe)
    if len(structures) == 1:
        middle = (levels[0] + levels[1]) / 2
        return prediction.Segmenter(voxelwise(shape, [20.0], [-20 * middle]), localiser, recipe, structures)
    return prediction.Segmenter(reader(shape, levels), localiser, recipe, structures)


def worst_dice(a, b):
    return min(metrics.dice(a == value, b == value) for value in range(1, int(b.max()) + 1))


@pytest.mark.parametrize("experiment", ["dr_unet_f32", "multi_stage_f32"])
def test_a_network_that_knows_the_grey_levels_gives_back_the_heart(tiny, experiment):
    recipe = tiny(experiment, spacing_mm=(2.0, 2.0, 10.0), image_shape=(64, 64, 8), localiser_shape=(32, 32, 8),
                  crop_shape=(40, 40, 8), gcam_threshold=0.2)  # fmt: skip
    scan, labels = heart()
    segmenter = knowing(recipe, scan, labels)
    found = prediction.predict(segmenter, scan)
    assert found.array.dtype == np.uint8 and found.array.shape == scan.array.shape
    assert worst_dice(found.array, labels.array) > 0.9
    np.testing.assert_array_equal(prediction.chances(segmenter, scan).argmax(axis=3), prediction.predict_frame(segmenter, scan))


@pytest.mark.parametrize("centre", [(0.25, 0.3), (0.75, 0.5), (0.4, 0.8)])
def test_the_crop_follows_the_heart_and_all_else_is_background(tiny, centre):
    recipe = tiny("multi_stage_f32", spacing_mm=(2.0, 2.0, 10.0), image_shape=(64, 64, 8), localiser_shape=(32, 32, 8),
                  crop_shape=(24, 24, 8), gcam_threshold=0.5)  # fmt: skip
    given = recipe.preparation
    scan, labels = heart(centre=centre)
    model = voxelwise(given.crop_shape, [0.0] * 4, [0.0, 0.0, 9.0, 0.0])
    everywhere = prediction.Segmenter(model, brightest(given.localiser_shape), recipe, HEART)
    prepared = prediction.prepare(scan, given)
    heat, box = prediction.locate(everywhere.localiser, prepared, recipe)
    np.testing.assert_allclose(heat.array, np.maximum(prediction.localiser_input(prepared, given).array, 0), atol=1e-5)
    assert box.found and box.shape == (24, 24, 8)
    # the scan's voxels are the working grid's, which has 2 more on each side along x, 6 along y and 1 along z
    middle = np.array(box.starts) + 11.5 - (2, 6, 1)
    assert np.abs(middle - (60 * centre[0], 52 * centre[1], 0))[:2].max() < 2
    found = prediction.predict(everywhere, scan).array
    expected = np.zeros_like(found)
    (x, y, _) = np.array(box.starts) - (2, 6, 1)
    expected[max(x, 0) : x + 24, max(y, 0) : y + 24] = 2
    np.testing.assert_array_equal(found, expected)
    resampled = prediction.classes_on(prepared, prediction.probabilities(everywhere, prepared))
    assert resampled.array.sum() == 2 * 24 * 24 * 8 and resampled.array[tuple(box.starts)] == 2


@pytest.mark.parametrize("largest", [False, True])
def test_smaller_components_go_where_the_recipe_says_so(tiny, largest):
    recipe = tiny("dr_unet_f8", spacing_mm=(1.0, 1.0, 1.0), image_shape=(16, 16, 8), largest_components=largest)
    bright = np.zeros((16, 16, 8), np.int16)
    bright[2:5, 2:5, 2:4] = bright[9:14, 9:14, 2:6] = 500
    scan = from_array(bright)
    prepared = prediction.prepare(scan, recipe.preparation).array
    middle = float(prepared.min() + prepared.max()) / 2
    segmenter = prediction.Segmenter(voxelwise((16, 16, 8), [1.0], [-middle]), None, recipe, {255: "LA"})
    expected = bright > 0
    expected[:8] &= not largest
    np.testing.assert_array_equal(prediction.predict(segmenter, scan).array == 255, expected)
    in_ensembles = prediction.cleaned(segmenter, prediction.chances(segmenter, scan).argmax(axis=3).astype(np.uint8))
    np.testing.assert_array_equal(in_ensembles == 1, expected)


def test_one_output_counts_from_a_probability_of_one_half(tiny):
    recipe = tiny("dr_unet_f8", spacing_mm=(1.0, 1.0, 1.0), image_shape=(16, 16, 8), largest_components=False)
    scan = from_array(np.random.default_rng(0).integers(0, 900, (16, 16, 8)))
    prepared = prediction.prepare(scan, recipe.preparation).array
    for threshold in (-0.5, 0.7):
        segmenter = prediction.Segmenter(voxelwise((16, 16, 8), [1.0], [-threshold]), None, recipe, {255: "LA"})
        found = prediction.predict(segmenter, scan).array
        sure = np.abs(prepared - threshold) > 1e-5
        np.testing.assert_array_equal(found[sure], 255 * (prepared > threshold)[sure])


def test_end_to_end_ignores_the_logit_of_its_localiser(tiny):
    recipe = tiny("end_to_end_f32", spacing_mm=(2.0, 2.0, 10.0), image_shape=(64, 64, 8))
    scan, labels = heart()
    levels = np.array(levels_of(scan, labels, recipe))
    model = voxelwise(recipe.preparation.image_shape, [*(20 * levels), 0.0], [*(-10 * levels**2), 1e6])
    found = prediction.predict(prediction.Segmenter(model, None, recipe, HEART), scan)
    assert worst_dice(found.array, labels.array) > 0.9


@pytest.mark.parametrize(
    ("slice_mm", "axes"), [(10.0, (2, 0, 1)), (10.0, (0, 2, 1)), (2.0, (2, 0, 1)), (2.0, (1, 2, 0)), (2.0, (2, 1, 0))]
)
def test_the_order_of_the_axes_does_not_matter(tiny, slice_mm, axes):
    """Thick slices are found by their thickness, and the axes of cubes by the affine."""
    slices = 6 if slice_mm > 2 else 12
    shape = (40, 32, 8 if slice_mm > 2 else 16)
    recipe = tiny("multi_stage_f32", spacing_mm=(4.0, 4.0, slice_mm), image_shape=shape, localiser_factors=(1, 1, 1),
                  localiser_shape=shape, crop_shape=(24, 24, shape[2]))  # fmt: skip
    scan, labels = heart((60, 64, slices), (2.0, 2.0, slice_mm), centre=(0.4, 0.6))
    scan = scan.with_array(scan.array + np.random.default_rng(0).integers(0, 40, scan.array.shape).astype(np.int16))
    segmenter = knowing(recipe, scan, labels)
    expected = prediction.predict(segmenter, scan).array
    assert worst_dice(expected[:, :, 2:-2], labels.array[:, :, 2:-2]) > 0.75
    spacing_mm = tuple(scan.spacing_mm[axis] for axis in axes)
    turned = Volume(scan.array.transpose(axes), spacing_mm, scan.affine[:, [*axes, 3]])
    found = prediction.predict(segmenter, turned)
    np.testing.assert_array_equal(found.array, expected.transpose(axes))
    np.testing.assert_array_equal(found.affine, turned.affine)
    assert found.spacing_mm == spacing_mm


def test_a_cine_gives_a_label_map_of_every_frame(tiny):
    recipe = tiny("multi_stage_f32", image_shape=(24, 24, 8), localiser_factors=(1, 1, 1), localiser_shape=(24, 24, 8),
                  crop_shape=(16, 16, 8))  # fmt: skip
    scans, (labels, _) = zip(*(heart(centre=(0.4, y)) for y in (0.4, 0.6)), strict=True)
    segmenter = knowing(recipe, scans[0], labels)
    cine = Volume(np.stack([scan.array for scan in scans], axis=3), scans[0].spacing_mm, scans[0].affine, frame_s=0.04)
    found = prediction.predict(segmenter, cine)
    assert found.array.shape == cine.array.shape and found.frame_s == 0.04
    for t, scan in enumerate(scans):
        np.testing.assert_array_equal(found.array[..., t], prediction.predict(segmenter, scan).array)
    assert (found.array[..., 0] != found.array[..., 1]).any()


# Odd scans ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5, 3), (60, 52, 1), (1, 9, 4), (3, 200, 2)])
@pytest.mark.parametrize("experiment", ["multi_stage_f32", "dr_unet_f8"])
def test_a_scan_of_any_size_gets_a_label_map(tiny, experiment, shape):
    recipe = tiny(experiment, image_shape=(24, 24, 8), localiser_factors=(1, 1, 1), localiser_shape=(24, 24, 8),
                  crop_shape=(16, 16, 8))  # fmt: skip
    given = recipe.preparation
    scan = from_array(np.random.default_rng(0).integers(0, 900, shape), (5.0, 5.0, 10.0))
    labels = from_array((scan.array > 450).astype(np.uint8), scan.spacing_mm)
    structures = {255: "LA"} if len(given.structures) == 1 else HEART
    shape = given.crop_shape if recipe.method == "multi_stage" else given.image_shape
    model = reader(shape, [0, 1, 2, 3]) if len(structures) > 1 else voxelwise(shape, [1.0], [0.0])
    localiser = brightest(given.localiser_shape) if recipe.method == "multi_stage" else None
    found = prediction.predict(prediction.Segmenter(model, localiser, recipe, structures), scan)
    assert found.array.shape == labels.array.shape and found.array.any()
    assert set(np.unique(found.array)) <= {0, *structures}


def test_a_crop_wider_than_the_working_grid_holds_all_of_it(tiny):
    recipe = tiny("multi_stage_f32", spacing_mm=(2.0, 2.0, 10.0), image_shape=(64, 56, 8), localiser_shape=(32, 32, 8),
                  crop_shape=(72, 72, 16))  # fmt: skip
    scan, labels = heart()
    segmenter = knowing(recipe, scan, labels)
    box = prediction.locate(segmenter.localiser, prediction.prepare(scan, recipe.preparation), recipe)[1]
    assert box.starts == (-4, -8, -4)
    assert worst_dice(prediction.predict(segmenter, scan).array, labels.array) > 0.9


def test_an_empty_activation_map_crops_the_middle(tiny):
    recipe = tiny("multi_stage_f32")
    given = recipe.preparation
    scan, _ = heart(centre=(0.2, 0.3))
    blind = prediction.network(recipe, prediction.LOCALISER)
    blind.set_weights([np.zeros_like(weight) for weight in blind.get_weights()])
    heat, box = prediction.locate(blind, prediction.prepare(scan, given), recipe)
    assert not heat.array.any() and not box.found
    assert box.starts == tuple((n - m) // 2 for n, m in zip(given.image_shape, given.crop_shape, strict=True))
    model = voxelwise(given.crop_shape, [0.0] * 4, [9.0, 0.0, 0.0, 0.0])
    assert not prediction.predict(prediction.Segmenter(model, blind, recipe, HEART), scan).array.any()


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_scan_is_refused(tiny, value):
    with pytest.raises(InputError, match="constant image"):
        prediction.prepare(from_array(np.full((20, 20, 3), value)), tiny("multi_stage_f32").preparation)


# The command ----------------------------------------------------------------------------------------------------------------


def test_the_command_lands_on_the_grid_of_the_file(multi_stage, tmp_path):
    rotation = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.5)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ np.diag([1.4, 1.4, 5.0]), (-90, 31.5, 12)
    scan = Volume(np.random.default_rng(0).integers(0, 900, (40, 36, 9)).astype(np.int16), (1.4, 1.4, 5.0), affine)
    paths = [tmp_path / "upright.nii.gz", tmp_path / "slices_first.nrrd"]
    volume.write(scan, paths[0])
    volume.write(orientation.transpose(scan, (2, 0, 1)), paths[1])
    prediction.main(["--weights", str(multi_stage), *map(str, paths), "-o", str(tmp_path / "out")])
    maps = [volume.read_labels(tmp_path / "out" / f"{volume.stem(path)}.nii.gz") for path in paths]
    for path, labels in zip(paths, maps, strict=True):
        source = volume.read(path)
        assert labels.array.shape == source.array.shape and set(np.unique(labels.array)) <= {0, 255}
        np.testing.assert_allclose(labels.affine, source.affine, atol=1e-4)
        np.testing.assert_allclose(labels.spacing_mm, source.spacing_mm, rtol=1e-5)
    np.testing.assert_array_equal(maps[1].array, maps[0].array.transpose(2, 0, 1))
    for row, path, labels in zip(read_csv(tmp_path / "out" / "volumes.csv"), paths, maps, strict=True):
        assert row["scan"] == str(path)
        assert row["LA_ml"] == pytest.approx((labels.array == 255).sum() * 1.4 * 1.4 * 5 / 1000, rel=1e-5)


def refused(capsys, *arguments):
    """The line in which the command ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        prediction.main(list(map(str, arguments)))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error


def test_a_scan_of_one_grey_level_is_named_and_nothing_is_written(multi_stage, tmp_path, capsys):
    scan = tmp_path / "flat.nii.gz"
    volume.write(from_array(np.full((20, 18, 4), 3, np.int16)), scan)
    error = refused(capsys, "--weights", multi_stage, scan, "-o", tmp_path / "seg.nii.gz")
    assert "flat.nii.gz: constant image" in error
    assert [path.name for path in tmp_path.iterdir()] == ["flat.nii.gz"]


@pytest.mark.parametrize("damage", ["missing", "another width", "garbage"])
def test_a_run_without_its_localiser_is_refused(multi_stage, tiny, tmp_path, capsys, damage, lasc_cases):
    for name in ("run.json", "best.weights.h5", "localiser/best.weights.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((multi_stage / name).read_bytes())
    weights = tmp_path / "localiser" / "best.weights.h5"
    if damage == "missing":
        weights.unlink()
    elif damage == "garbage":
        weights.write_bytes(b"no weights")
    else:
        prediction.network(tiny("multi_stage_f8", localiser_width=3), prediction.LOCALISER).save_weights(weights)
    error = refused(capsys, "--weights", tmp_path, lasc_cases[0].image, "-o", tmp_path / "out" / "seg.nii.gz")
    assert "localiser/best.weights.h5" in error and not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused(tmp_path, capsys, lasc_cases):
    assert "run.json: not a run of this package" in refused(
        capsys, "--weights", tmp_path, lasc_cases[0].image, "-o", tmp_path / "x.nii.gz"
    )
