"""Scan -> label map: on the scan's own grid whatever its axes, by the authors' steps."""

import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf import train as training_command
from acdc_segmenter_tf.model import build
from acdc_segmenter_tf.recipe import UNET2D_MODIFIED, UNET3D_MODIFIED
from shared import recipes
from shared.errors import InputError
from shared.files import read_csv
from shared.scans import nifti, orientation, volume
from shared.scans.volume import Volume, from_array
from tests.experiments import baumgartner

STRUCTURES = {1: "RV", 2: "Myo", 3: "LV"}


class Oracle:
    """Stands in for a trained network: reads the class off the z-scored grey level of the image it is given."""

    def __init__(self, levels):
        self.levels = np.array(levels, np.float32)

    def predict_on_batch(self, images):
        return -8 * np.abs(images - self.levels)  # logits (B, x, y[, z], classes)


def heart(shape=(70, 80, 6), spacing_mm=(1.5, 1.5, 10.0), affine=None):
    """A scan with four grey levels, and its classes; the levels after z-scoring."""
    x, y, z = np.indices(shape)
    radius = np.hypot((x - shape[0] / 2) * spacing_mm[0], (y - shape[1] / 2) * spacing_mm[1])
    classes = np.zeros(shape, np.uint8)
    classes[(radius < 30) & (z > 0)] = 2
    classes[(radius < 18) & (z > 0)] = 3
    classes[(radius < 30) & (z > 0) & (x < shape[0] // 2 - 4) & (radius >= 20)] = 1
    grey = np.array([0, 400, 900, 1500])[classes].astype(np.int16)
    levels = (np.array([0, 400, 900, 1500]) - grey.mean()) / grey.std()
    scan = from_array(grey, spacing_mm)
    return (scan if affine is None else replace(scan, affine=affine)), classes, levels


def segmenter(levels, recipe=UNET2D_MODIFIED):
    return prediction.Segmenter(Oracle(levels), recipe, STRUCTURES)


def dice(a, b):
    return min(2 * np.sum((a == c) & (b == c)) / (np.sum(a == c) + np.sum(b == c)) for c in (1, 2, 3))


def test_an_oracle_gives_back_the_heart_on_the_scans_grid():
    scan, classes, levels = heart()
    labels = prediction.predict(segmenter(levels), scan)
    assert labels.array.shape == scan.array.shape and labels.array.dtype == np.uint8
    assert dice(labels.array, classes) > 0.93


def test_a_scan_with_its_slices_first_gives_the_same_heart():
    """Once slices were cut along the last axis, whatever it was, and a fourteenth of the heart was found."""
    scan, _, levels = heart()
    expected = prediction.predict(segmenter(levels), scan)
    found = prediction.predict(segmenter(levels), orientation.transpose(scan, (2, 0, 1)))
    np.testing.assert_array_equal(found.array, np.moveaxis(expected.array, 2, 0))
    np.testing.assert_array_equal(found.affine, scan.affine[:, [2, 0, 1, 3]])


def test_3d_networks_too():
    scan, classes, levels = heart(shape=(70, 80, 7), spacing_mm=(2.4, 2.4, 10.0))
    labels = prediction.predict(segmenter(levels, UNET3D_MODIFIED), scan)
    assert dice(labels.array[:, :, 2:-1], classes[:, :, 2:-1]) > 0.85
    assert not labels.array[:, :, 0].any()


def test_a_scan_of_the_networks_own_grid_passes_unchanged():
    scan, classes, levels = heart((212, 212, 3), (1.36719, 1.36719, 8.0))
    prepared = prediction.prepare(scan, UNET2D_MODIFIED.preparation)
    expected = (scan.array - scan.array.mean()) / scan.array.std()
    np.testing.assert_allclose(prepared.array, expected, atol=1e-5)
    np.testing.assert_array_equal(prediction.predict(segmenter(levels), scan).array, classes)


def test_prepare_is_the_authors_chain_in_its_order():
    scan = from_array(np.random.default_rng(0).normal(100, 20, (256, 216, 9)).astype(np.int16), (1.25, 1.6, 10.0))
    prepared = prediction.prepare(scan, UNET2D_MODIFIED.preparation)
    assert prepared.array.shape == (212, 212, 9) and prepared.array.dtype == np.float32
    rows = round(256 * 1.25 / 1.36719)  # 234: 22 too many, cropped by 11 on each side
    assert rows == 234
    step = 256 / rows
    at = (np.array([11 + 50 + 0.5]) * step - 0.5)[0]
    normalised = (scan.array - scan.array.mean()) / scan.array.std()
    columns = round(216 * 1.6 / 1.36719)  # 253, cropped by floor(41 / 2) = 20
    across = (np.array([20 + 70 + 0.5]) * (216 / columns) - 0.5)[0]
    x, y = int(at), int(across)
    u, v = at - x, across - y
    a = normalised[x : x + 2, y : y + 2, 4]
    expected = (1 - u) * (1 - v) * a[0, 0] + (1 - u) * v * a[0, 1] + u * (1 - v) * a[1, 0] + u * v * a[1, 1]
    assert prepared.array[50, 70, 4] == pytest.approx(expected, abs=1e-4)


def test_padding_is_the_mean_of_the_image():
    scan, _, _ = heart(shape=(60, 60, 4))
    prepared = prediction.prepare(scan, UNET2D_MODIFIED.preparation).array
    assert (prepared[0] == 0).all() and (prepared[:, -1] == 0).all()


def test_slices_of_a_volume_are_put_in_the_middle_of_28():
    scan, _, _ = heart(shape=(70, 80, 7), spacing_mm=(2.5, 2.5, 5.0))
    prepared = prediction.prepare(scan, UNET3D_MODIFIED.preparation).array
    occupied = np.flatnonzero(np.abs(prepared).sum(axis=(0, 1)))
    assert (occupied[0], occupied[-1]) == (10, 16)  # floor((28 - 7) / 2) = 10


def test_a_3d_network_refuses_a_scan_that_is_too_long():
    scan = from_array(np.random.default_rng(0).normal(size=(30, 30, 30)), (2.5, 2.5, 5.0))
    with pytest.raises(InputError, match="150 mm.*takes 28"):
        prediction.prepare(scan, UNET3D_MODIFIED.preparation)


def test_a_constant_scan_is_refused():
    with pytest.raises(InputError, match="constant image"):
        prediction.predict(segmenter([0, 1, 2, 3]), from_array(np.full((20, 20, 3), 7)))


@pytest.mark.parametrize("slices", [1, 2000])
def test_one_slice_and_many(slices):
    scan, classes, levels = heart(shape=(40, 44, 2), spacing_mm=(2.0, 2.0, 10.0))
    repeated = from_array(np.repeat(scan.array[:, :, 1:], slices, axis=2), scan.spacing_mm)
    grey = repeated.array
    levels = (np.array([0, 400, 900, 1500]) - grey.mean()) / grey.std()
    small = recipes.replace(UNET2D_MODIFIED, image_shape=(84, 84))
    labels = prediction.predict(segmenter(levels, small), repeated)
    assert dice(labels.array, np.repeat(classes[:, :, 1:], slices, axis=2)) > 0.9


def test_a_cine_gives_a_label_map_of_every_frame():
    frames = [heart(shape=(50, 54, 4), spacing_mm=(2.0, 2.0, s))[0] for s in (8.0, 8.0, 8.0)]
    _, classes, levels = heart(shape=(50, 54, 4), spacing_mm=(2.0, 2.0, 8.0))
    array = np.stack([frame.array * factor for frame, factor in zip(frames, (1, 2, 3), strict=True)], axis=3)
    scan = Volume(array, frames[0].spacing_mm, frames[0].affine, frame_s=0.04)
    labels = prediction.predict(segmenter(levels), scan)  # a frame is z-scored by itself, so its brightness does not matter
    assert labels.array.shape == array.shape and labels.frame_s == 0.04
    for t in range(3):
        np.testing.assert_array_equal(labels.array[..., t], labels.array[..., 0])
    assert dice(labels.array[..., 0], classes) > 0.9


def test_only_the_largest_component_of_a_structure_stays():
    scan, classes, levels = heart()
    speck = scan.array.copy()
    speck[2:6, 2:6, 3] = 1500
    levels = (np.array([0, 400, 900, 1500]) - speck.mean()) / speck.std()
    labels = prediction.predict(segmenter(levels), scan.with_array(speck))
    assert not labels.array[:8, :8].any() and (labels.array == 3).any()


def test_what_was_cropped_away_is_background():
    scan, _, levels = heart(shape=(300, 60, 3), spacing_mm=(1.5, 1.5, 8.0))
    shifted = scan.with_array(np.roll(scan.array, 140, axis=0))  # the heart lies 210 mm off centre, outside the crop
    assert not prediction.predict(segmenter(levels), shifted).array.any()


def test_labels_are_written_with_the_data_sets_own_values():
    scan, classes, levels = heart()
    other = prediction.Segmenter(Oracle(levels), UNET2D_MODIFIED, {600: "RV", 205: "Myo", 500: "LV"})
    labels = prediction.predict(other, scan).array
    assert set(np.unique(labels)) == {0, 600, 205, 500}
    assert dice(np.select([labels == 600, labels == 205, labels == 500], [1, 2, 3], 0), classes) > 0.93


def test_anti_aliasing_is_an_option_that_changes_the_prepared_scan():
    scan = from_array(np.random.default_rng(0).normal(size=(300, 300, 2)), (0.7, 0.7, 8.0))
    plain, smooth = (prediction.prepare(scan, UNET2D_MODIFIED.preparation, anti_alias=a).array for a in (False, True))
    assert smooth.std() < 0.9 * plain.std()


@pytest.fixture(scope="module")
def run(phantom_cases, tmp_path_factory):
    tiny = {"width": 2, "image_shape": (36, 36), "steps": 1, "batch_size": 2, "validate_every": 1}
    recipe = recipes.replace(UNET2D_MODIFIED, **tiny)
    return training_command.train(recipe, phantom_cases, baumgartner(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def held_out(phantom_cases):
    """ED and ES of a patient that the run did not learn from."""
    return [case for case in phantom_cases if case.patient == "patient005"]


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_command_lands_on_the_grid_of_the_file(run, tmp_path, suffix, axes):
    rotation = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.5)
    affine = np.eye(4)
    affine[:3, :3] = (rotation @ np.diag([1.4, 1.5, 8.0]))[:, list(axes)]
    affine[:3, 3] = (-90, 31.5, 12)
    grey = np.random.default_rng(0).integers(0, 900, (40, 36, 5)).transpose(axes).astype(np.int16)
    scan = Volume(grey, tuple(np.array([1.4, 1.5, 8.0])[list(axes)]), affine)
    volume.write(scan, tmp_path / f"scan{suffix}")
    prediction.main(["--weights", str(run), str(tmp_path / f"scan{suffix}"), "-o", str(tmp_path / "seg.nii.gz")])
    labels, source = volume.read(tmp_path / "seg.nii.gz"), volume.read(tmp_path / f"scan{suffix}")
    assert labels.array.shape == source.array.shape
    np.testing.assert_allclose(labels.affine, source.affine, atol=1e-4)
    np.testing.assert_allclose(labels.spacing_mm, source.spacing_mm, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.V. .* ml at ED")  # after one step of training, hearts need not shrink
def test_the_command_gives_volumes_and_function(run, held_out, tmp_path):
    ed, es = (str(case.image) for case in held_out)
    prediction.main(["--weights", str(run / "best.weights.h5"), "-o", str(tmp_path / "out"), "--ed", ed, "--es", es])
    volumes, (function,) = read_csv(tmp_path / "out" / "volumes.csv"), read_csv(tmp_path / "out" / "function.csv")
    assert [row["scan"] for row in volumes] == [ed, es]
    for row, case in zip(volumes, held_out, strict=True):
        labels = volume.read(tmp_path / "out" / f"{volume.stem(case.image)}.nii.gz")
        for value, name in STRUCTURES.items():
            assert row[f"{name}_ml"] == pytest.approx((labels.array == value).sum() * labels.voxel_ml)
    assert function["LV_edv_ml"] == volumes[0]["LV_ml"] and function["RV_esv_ml"] == volumes[1]["RV_ml"]
    assert function["Myo_mass_g"] == pytest.approx(1.05 * volumes[0]["Myo_ml"])


def bad_scans(folder, good):
    """(file, words of the message) of scans that cannot be used."""
    content = gzip.decompress(good.read_bytes())
    cases = {"missing.nii.gz": None, "empty.nii.gz": b"", "garbage.nii.gz": b"not a scan" * 50,
             "truncated.nii.gz": good.read_bytes()[:2000], "truncated.nii": content[:3000], "scan.txt": b"hello"}  # fmt: skip
    for name, data in cases.items():
        if data is not None:
            (folder / name).write_bytes(data)
    arrays = {"flat.nii.gz": np.zeros((9, 9)), "constant.nii.gz": np.ones((20, 20, 3)),
              "nan.nii.gz": np.full((9, 9, 3), np.nan), "five.nii.gz": np.zeros((4, 4, 4, 4, 2))}  # fmt: skip
    for name, array in arrays.items():
        nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)), folder / name)
    return [folder / name for name in (*cases, *arrays)]


def test_bad_scans_end_in_one_line_and_status_2_and_nothing_is_written(run, phantom_cases, tmp_path, capsys):
    for path in bad_scans(tmp_path, phantom_cases[0].image):
        out = tmp_path / "out"
        with pytest.raises(SystemExit) as ended:
            prediction.main(["--weights", str(run), str(path), "-o", str(out / "seg.nii.gz")])
        captured = capsys.readouterr()
        assert ended.value.code == 2, path
        assert len(captured.err.splitlines()) == 1 and path.name in captured.err, (path, captured.err)
        assert not out.exists() or files(out) == []


def test_a_full_disk_leaves_nothing_half_written(run, held_out, tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nifti, "write", full)
    with pytest.raises(SystemExit) as ended:
        prediction.main(["--weights", str(run), str(held_out[0].image), "-o", str(tmp_path / "out" / "seg.nii.gz")])
    assert ended.value.code == 2 and "No space left" in capsys.readouterr().err
    assert files(tmp_path / "out") == []


def test_an_output_that_cannot_be_written_is_said_in_one_line(run, held_out, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for output in ("file/seg.nii.gz", "file", "seg.mhd"):
        with pytest.raises(SystemExit) as ended:
            prediction.main(["--weights", str(run), str(held_out[0].image), "-o", str(tmp_path / output)])
        assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("damage", ["truncated", "garbage", "another network"])
def test_broken_weights_are_refused(run, tmp_path, damage, phantom_cases, capsys):
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    weights = tmp_path / "best.weights.h5"
    if damage == "another network":
        build("unet2d_modified", (36, 36), 4, 3).save_weights(weights)
    else:
        weights.write_bytes((run / "best.weights.h5").read_bytes()[:5000] if damage == "truncated" else b"no weights")
    with pytest.raises(SystemExit) as ended:
        prediction.main(["--weights", str(tmp_path), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "best.weights.h5" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "seg.nii.gz").exists()


@pytest.mark.parametrize("recipe", [UNET2D_MODIFIED, UNET3D_MODIFIED], ids=["2D", "3D"])
def test_probabilities_decide_what_is_predicted(recipe):
    """So an ensemble of one network and itself is that network."""
    scan, _, levels = heart((150, 150, 8))
    one = segmenter(levels, recipe)
    found = prediction.chances(one, scan)
    assert found.shape == (150, 150, 8, 4)
    cleaned = prediction.cleaned(one, found.argmax(axis=3).astype(np.uint8))
    np.testing.assert_array_equal(cleaned, prediction.predict_frame(one, scan))


def test_axes_that_training_mirrored():
    """`augment.draw_affine` mirrors the second axis of a slice."""
    assert prediction.mirrored_axes(segmenter(np.arange(4), UNET2D_MODIFIED)) == ()
    assert prediction.mirrored_axes(segmenter(np.arange(4), recipes.replace(UNET2D_MODIFIED, flip=True))) == (1,)
