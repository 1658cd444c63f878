"""From a scan to the mask on its own grid, with networks that know the answer."""

import numpy as np
import pytest

from propagation import predict as prediction
from propagation.model import STEP
from shared.errors import InputError
from shared.scans import orientation, volume
from shared.scans.volume import Volume, from_array

WALL_GREY = 3.0  # what the stub networks take for wall


class Stub:
    """A network whose `predict_on_batch` is a function of its inputs."""

    def __init__(self, function):
        self.function = function

    def predict_on_batch(self, inputs):
        return self.function(inputs)


def knowing(recipe, propagating=True):
    """A segmenter that sees wall wherever the normalised image is bright; the mask it is given decides whether it looks."""
    initialization = Stub(lambda x: np.repeat((x > 1).astype(np.float32), 3, axis=-1))

    def carry(x):
        bright = (x[..., 2:] > 1).astype(np.float32) * (x[..., 1:2].max() > 0.5)
        return np.concatenate([bright, 0 * bright], axis=-1)

    return prediction.Segmenter(initialization, Stub(carry) if propagating else None, recipe, prediction.STRUCTURES)


def scan_of(shape=(60, 52, 8), spacing_mm=(2.5, 2.5, 10.0), centre=(0.5, 0.5), first=1, last=6):
    """A bright ring from slice `first` to `last` on a noisy ground, and where it is."""
    x, y = np.indices(shape[:2])
    radius_mm = np.hypot((x - centre[0] * (shape[0] - 1)) * spacing_mm[0], (y - centre[1] * (shape[1] - 1)) * spacing_mm[1])
    ring = np.zeros(shape, bool)
    ring[..., first : last + 1] = ((radius_mm > 18) & (radius_mm < 34))[..., None]
    array = np.random.default_rng(0).normal(0, 0.05, shape) + 5.0 * ring
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = 11, -7, 30
    return Volume(array.astype(np.float32), spacing_mm, affine), ring


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_prepared_slices_are_isotropic_squares_about_the_centre(tiny):
    recipe = tiny(size=24, spacing_mm=5.0)
    scan, ring = scan_of()
    image = prediction.prepare(scan, recipe.preparation)
    assert image.array.shape == (24, 24, 16) and image.spacing_mm == pytest.approx((5, 5, 5))
    middle = (image.affine @ [11.5, 11.5, 7.5, 1])[:3]
    np.testing.assert_allclose(middle, (scan.affine @ [29.5, 25.5, 3.5, 1])[:3], atol=2.6)  # half a voxel of rounding
    moved = prediction.prepare(scan, recipe.preparation, (29.5 + 8, 25.5 - 4))  # 20 and -10 mm: 4 and -2 voxels
    np.testing.assert_allclose(moved.affine[:3, 3] - image.affine[:3, 3], [20, -10, 0], atol=1e-6)
    np.testing.assert_allclose(moved.array[:20, 2:].std(), image.array[4:, :22].std(), rtol=0.2)


def test_mean_and_deviation_are_those_between_the_percentiles():
    array = np.arange(100, dtype=np.float32)
    array[99] = 1e6  # an outlier changes neither
    found = prediction.normalise(from_array(array.reshape(10, 10, 1)), (5.0, 95.0)).array.ravel()
    between = np.arange(5, 95)  # strictly between 4.95 and 94.05
    np.testing.assert_allclose(found[:99], (np.arange(99) - between.mean()) / between.std(), rtol=1e-4)


@pytest.mark.parametrize("array", [np.zeros((8, 8, 3)), np.pad(np.ones((1, 1, 1)), ((0, 7), (0, 7), (0, 2)))])
def test_an_image_without_contrast(array):
    with pytest.raises(InputError, match="without contrast"):
        prediction.normalise(from_array(array), (5.0, 95.0))


@pytest.mark.parametrize("propagating", [True, False])
@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.4, 0.6)])
def test_the_mask_lands_on_the_scans_own_voxels(tiny, propagating, centre):
    scan, ring = scan_of(centre=centre)
    segmenter = knowing(tiny(size=32, spacing_mm=2.5), propagating)
    found = prediction.predict(segmenter, scan, base=1)
    assert found.array.dtype == np.uint8 and found.array.shape == scan.array.shape
    np.testing.assert_array_equal(found.affine, scan.affine)
    assert dice(found.array == 1, ring) > 0.95 and set(np.unique(found.array)) == {0, 1}


def test_nothing_above_the_base(tiny):
    scan, ring = scan_of(first=0)
    segmenter = knowing(tiny(size=32, spacing_mm=2.5))
    for base in (0, 2, 4):
        found = prediction.predict(segmenter, scan, base=base).array == 1
        assert not found[..., :base].any()
        assert dice(found[..., base:], ring[..., base:]) > 0.95


def test_without_a_base_it_is_found(tiny):
    scan, ring = scan_of(first=2)
    assert dice(prediction.predict(knowing(tiny(size=32, spacing_mm=2.5)), scan).array == 1, ring) > 0.9


@pytest.mark.parametrize("base", [-1, 8])
def test_a_base_that_the_scan_has_not(tiny, base):
    with pytest.raises(InputError, match=f"base slice {base}: expected 0 to 7"):
        prediction.predict(knowing(tiny(size=32, spacing_mm=2.5)), scan_of()[0], base=base)


def test_the_base_of_the_network_is_at_or_above_the_slices_centre(tiny):
    recipe = tiny(size=24, spacing_mm=3.0)
    scan, _ = scan_of()
    image = prediction.prepare(scan, recipe.preparation)
    for base in range(8):
        start = prediction.slice_of_base(scan, base, image)
        centre = (scan.affine @ [0, 0, base, 1])[2]
        z = (image.affine @ [0, 0, start, 1])[2]
        assert z <= centre + 1e-6 and centre - z < image.spacing_mm[2]


def test_the_base_of_a_scan_whose_slices_are_thinner_than_the_networks(tiny):
    """The centre of its first slice lies outside the centres of the network's slices; it once became slice -1."""
    scan, _ = scan_of()
    thin = volume.Volume(
        np.repeat(scan.array, 8, axis=2), (*scan.spacing_mm[:2], 1.0), scan.affine @ np.diag([1, 1, 1 / scan.spacing_mm[2], 1])
    )
    image = prediction.prepare(thin, tiny(size=24, spacing_mm=1.25).preparation)
    assert [prediction.slice_of_base(thin, base, image) for base in (0, 1, 2, 10)] == [0, 0, 1, 7]


def test_stacks_from_apex_to_base_and_other_axes(tiny):
    scan, ring = scan_of(first=0, last=5)
    segmenter = knowing(tiny(size=32, spacing_mm=2.5))
    expected = prediction.predict(segmenter, scan, base=1).array
    turned = orientation.transpose(orientation.flip(scan, 2), (2, 0, 1))
    found = prediction.predict(segmenter, turned, base=1, apex_first=True)
    np.testing.assert_array_equal(found.affine, turned.affine)
    np.testing.assert_array_equal(found.array.transpose(1, 2, 0)[..., ::-1], expected)
    assert expected[..., 1:6].any() and not expected[..., 0].any()


def test_every_frame_of_a_cine(tiny):
    scan, ring = scan_of()
    cine = Volume(np.stack([scan.array, scan.array[::-1]], axis=3), scan.spacing_mm, scan.affine, 0.03)
    found = prediction.predict(knowing(tiny(size=32, spacing_mm=2.5)), cine, base=1)
    assert found.array.shape == cine.array.shape
    assert dice(found.array[..., 0] == 1, ring) > 0.95 and dice(found.array[..., 1] == 1, ring[::-1]) > 0.95


def test_what_the_networks_are_shown(tiny):
    shown = {}
    recipe = tiny(size=16, spacing_mm=5.0)

    def initialise(x):
        shown.setdefault("initialization", []).append(x.shape)
        return np.full((*x.shape[:3], 3), [0.9, 0.1, 0.2], np.float32)

    def carry(x):
        shown.setdefault("propagation", []).append((x.shape, float(x[..., 1].min()), float(x[..., 1].max())))
        return np.full((*x.shape[:3], 8), [0.8, 0.7, 0.6, 0.55, 0, 0, 0, 0], np.float32)

    segmenter = prediction.Segmenter(Stub(initialise), Stub(carry), recipe, prediction.STRUCTURES)
    found = prediction.probabilities(segmenter, np.zeros((16, 16, 12), np.float32), base=3)
    # the finest scale alone counts; slice 7 is the middle of 9, so 6, 5, 4, 3 above and 8, 9, 10, 11 below
    np.testing.assert_allclose(found[0, 0], [0, 0, 0, 0.55, 0.6, 0.7, 0.8, 0.9, 0.8, 0.7, 0.6, 0.55], rtol=1e-6)
    assert shown["initialization"] == [(1, 16, 16, 1)]
    assert shown["propagation"] == [((1, 16, 16, 2 + STEP), pytest.approx(0.9), pytest.approx(0.9))] * 2


# The command ----------------------------------------------------------------------------------------------------------------


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        prediction.main(list(map(str, arguments)))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error


@pytest.mark.filterwarnings("default")
def test_from_file_to_file(finished, phantom_cases, tmp_path, capsys):
    case = phantom_cases[0]
    prediction.main(["--weights", str(finished), str(case.image), "-o", str(tmp_path / "seg.nii.gz"), "--base", "1"])
    assert f"learned from a patient called {case.patient}" in capsys.readouterr().err
    labels, scan = volume.read_labels(tmp_path / "seg.nii.gz"), volume.read(case.image)
    assert labels.array.shape == scan.array.shape and set(np.unique(labels.array)) <= {0, 1}
    assert (tmp_path / "seg_volumes.csv").read_text().splitlines()[0] == "scan,frame,doubt,reasons,BV_ml"


def test_bases_from_a_list(finished, phantom_cases, tmp_path, capsys):
    scan = tmp_path / "p7_ED.nii.gz"
    volume.write(volume.read(phantom_cases[0].image), scan)
    bases = tmp_path / "bases.csv"
    bases.write_text("patient,ed_base,es_base\np7,2,\n")
    assert prediction.listed_base(bases, scan) == 2
    with pytest.raises(InputError, match="no base of patient 'p7', phase 'ES'; call scans PATIENT_ED or PATIENT_ES"):
        prediction.listed_base(bases, tmp_path / "p7_ES.nii.gz")
    bases.write_text("patient,ed_base,es_base\np7,99,\n")
    error = refused(capsys, "--weights", finished, scan, "-o", tmp_path / "seg.nii.gz", "--bases", bases)
    assert "p7_ED.nii.gz: base slice 99: expected 0 to" in error and not (tmp_path / "seg.nii.gz").exists()


def test_weights_that_do_not_exist(tmp_path, phantom_cases, capsys):
    scan, out = phantom_cases[0].image, tmp_path / "seg.nii.gz"
    assert "not a run of this package" in refused(capsys, "--weights", tmp_path, scan, "-o", out)
    assert "lvrv_net" in refused(capsys, "--released", "lvrv", "--weights", tmp_path, scan, "-o", out)
    assert "not allowed with argument" in refused(
        capsys, "--weights", tmp_path, scan, "-o", out, "--base", "1", "--bases", "b.csv"
    )
