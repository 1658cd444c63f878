"""From a scan to its label map and its rows: volumes and function, frames that show nothing, ED and ES."""

import nibabel
import numpy as np
import pytest

from shared import prediction_jobs
from shared.errors import InputError
from shared.prediction_jobs import Job
from shared.scans import volume
from shared.scans.volume import from_array
from shared.segmenting import Segmenting, segment
from tests.shared.test_prediction_command import ACDC, grey, write_scan
from tests.volumes import write_labels

LV_VOXELS, RV_VOXELS, MYO_VOXELS = (30, 50, 40, 20), (36, 40, 30, 10), (60, 64, 68, 70)  # of the four frames; 0.5 ml a voxel


def beating():
    labels = np.zeros((10, 10, 2, 4), np.uint8)
    for t, counts in enumerate(zip(RV_VOXELS, MYO_VOXELS, LV_VOXELS, strict=True)):
        labels[..., t].reshape(-1)[: sum(counts)] = np.repeat([1, 2, 3], counts)
    return labels


@pytest.fixture
def cine(tmp_path):
    affine = np.diag([-5.0, 5.0, 20.0, 1.0])
    image = nibabel.Nifti1Image(np.arange(800, dtype=np.int16).reshape(10, 10, 2, 4), affine)
    nibabel.save(image, tmp_path / "cine.nii.gz")
    return tmp_path / "cine.nii.gz"


def test_cine(cine, tmp_path):
    seen = []

    def predict(scan, path):
        seen.append((scan, path))
        return scan.with_array(beating())

    job = Job(cine, tmp_path / "out" / "cine.nii.gz")
    volumes, functions = segment([job], Segmenting(predict, ACDC))
    ((scan, path),) = seen
    assert scan.array.shape == (10, 10, 2, 4) and path == cine
    written = nibabel.load(job.output)
    np.testing.assert_array_equal(np.asarray(written.dataobj), beating())
    np.testing.assert_allclose(written.affine, nibabel.load(cine).affine)

    assert [(v["scan"], v["frame"]) for v in volumes] == [(str(cine), t) for t in (1, 2, 3, 4)]
    assert [v["LV_ml"] for v in volumes] == [15, 25, 20, 10]
    assert [volumes[0][column] for column in ("scan", "frame", "RV_ml", "Myo_ml", "LV_ml")] == [str(cine), 1, 18, 30, 15]
    assert functions == [
        {
            "ed_scan": str(cine), "ed_frame": 2, "es_scan": str(cine), "es_frame": 4,
            "LV_edv_ml": 25, "LV_esv_ml": 10, "LV_ef_percent": pytest.approx(60),
            "RV_edv_ml": 20, "RV_esv_ml": 5, "RV_ef_percent": pytest.approx(75),
            "Myo_mass_g": pytest.approx(1.05 * 32),
        }
    ]  # fmt: skip


def test_pairs_of_scans(tmp_path):
    frames = {}
    for name, t in (("a", 1), ("b", 3), ("c", 0), ("d", 2)):
        frames[tmp_path / f"{name}.nii"] = beating()[..., t]
        write_labels(tmp_path / f"{name}.nii", beating()[..., t], (5, 5, 20))
    a, b, c, d = frames
    jobs = prediction_jobs.jobs([], [a, d], [b, c], tmp_path / "out")
    with pytest.warns(UserWarning, match="RV: 15.0 ml at ED .*18.0 ml at ES .*swapped"):
        volumes, functions = segment(jobs, Segmenting(lambda scan, path: scan, ACDC), [a, d], [b, c])
    assert [v["scan"] for v in volumes] == [str(path) for path in (a, d, b, c)]
    assert [(f["ed_scan"], f["es_scan"], f["LV_ef_percent"]) for f in functions] == [
        (str(a), str(b), pytest.approx(60)), (str(d), str(c), pytest.approx(25)),
    ]  # fmt: skip
    assert functions[1]["Myo_mass_g"] == pytest.approx(1.05 * 34)


def test_only_what_the_structures_allow(tmp_path, cine):
    job = Job(cine, tmp_path / "labels.nii.gz")
    volumes, functions = segment([job], Segmenting(lambda scan, path: scan.with_array(beating()), {2: "LA"}))
    assert (volumes[0]["scan"], volumes[0]["frame"], volumes[0]["LA_ml"]) == (str(cine), 1, 30) and functions == []
    _, functions = segment([job], Segmenting(lambda scan, path: scan.with_array(beating()), {3: "LV"}))
    assert [key for key in functions[0] if key.startswith(("RV", "Myo"))] == []


def test_nothing_found_gives_no_ejection_fraction(tmp_path, cine):
    empty, none = "cine.nii.gz: nothing was found in it", "no ejection fraction, since only 0 of 4 frames can be used"
    with pytest.warns(UserWarning, match=empty), pytest.warns(UserWarning, match=none):
        volumes, functions = segment(
            [Job(cine, tmp_path / "o.nii")], Segmenting(lambda s, path: s.with_array(0 * beating()), ACDC)
        )
    assert functions == [] and len(volumes) == 4


def test_a_scan_that_cannot_be_segmented_is_named(tmp_path, cine):
    def refuse(scan, path):
        raise InputError("constant image")

    with pytest.raises(InputError, match="cine.nii.gz: constant image"):
        segment([Job(cine, tmp_path / "out" / "cine.nii.gz")], Segmenting(refuse, ACDC))
    assert not (tmp_path / "out").exists()


def test_a_black_frame_costs_only_itself(tmp_path):
    scan = grey(frames=(4,))
    scan[..., 1] = 0
    path = write_scan(tmp_path / "cine.nii.gz", scan)
    labels = np.zeros((6, 5, 2, 3), np.uint8)
    for t, voxels in enumerate((40, 20, 30)):
        labels[..., t].reshape(-1)[:voxels] = 3
    seen = []

    def predict(part, _):
        seen.append(part.array)
        return part.with_array(labels)

    with pytest.warns(UserWarning, match="cine.nii.gz: frame 2 of 4 is constant; its label map is empty"):
        volumes, (found,) = segment([Job(path, tmp_path / "seg.nii.gz")], Segmenting(predict, {3: "LV"}))
    np.testing.assert_array_equal(seen[0], scan[..., [0, 2, 3]])
    written = volume.read(tmp_path / "seg.nii.gz").array
    np.testing.assert_array_equal(written[..., [0, 2, 3]], labels)
    assert written.shape == (6, 5, 2, 4) and not written[..., 1].any()
    assert [each["LV_ml"] for each in volumes] == [20, 0, 10, 15]
    assert (found["ed_frame"], found["es_frame"], found["LV_ef_percent"]) == (1, 3, 50)


@pytest.mark.parametrize("shape", [(6, 5, 2), (6, 5, 2, 3)])
def test_a_scan_that_is_constant_throughout_goes_to_the_network_as_it_is(tmp_path, shape):
    path = write_scan(tmp_path / "flat.nii.gz", np.full(shape, 7))

    def refuse(scan, _):
        assert scan.array.shape == shape
        raise InputError("constant image")

    with pytest.raises(InputError, match="flat.nii.gz: constant image"):
        segment([Job(path, tmp_path / "seg.nii.gz")], Segmenting(refuse, ACDC))


def test_a_scan_in_which_nothing_is_found_is_said(tmp_path):
    path = write_scan(tmp_path / "scan.nii.gz", grey())
    with pytest.warns(UserWarning, match="scan.nii.gz: nothing was found in it, and its label map is empty"):
        volumes, _ = segment(
            [Job(path, tmp_path / "seg.nii.gz")], Segmenting(lambda scan, _: scan.with_array(0 * scan.array), ACDC)
        )
    assert [volumes[0][column] for column in ("scan", "frame", "RV_ml", "Myo_ml", "LV_ml")] == [str(path), 1, 0, 0, 0]


def test_a_cine_is_neither_ed_nor_es(tmp_path):
    cine, es = write_scan(tmp_path / "cine.nii.gz", grey(frames=(3,))), write_scan(tmp_path / "es.nii.gz", grey())
    todo = prediction_jobs.jobs([], [cine], [es], tmp_path / "out")
    with pytest.raises(InputError, match="cine.nii.gz: a cine of 3 frames, but --ed and --es expect one frame each"):
        segment(todo, Segmenting(None, ACDC), [cine], [es])
    assert not (tmp_path / "out").exists()


def test_a_label_map_in_the_place_of_a_scan_is_said(tmp_path):
    """With 9 values, and not with 10, nor with halves, nor where all is constant, nor with few voxels."""
    for name, values in {"map": range(9), "scan": range(10), "halves": (0, 0.5), "black": (0,)}.items():
        array = np.random.default_rng(0).choice(np.float32(values), (90, 90, 2))
        volume.write(from_array(array, (1, 1, 1)), tmp_path / f"{name}.nii.gz")
    volume.write(from_array(np.resize(np.float32(range(9)), (9, 9, 2)), (1, 1, 1)), tmp_path / "small.nii.gz")
    how = Segmenting(lambda scan, path: scan, {1: "LV"})
    with pytest.warns(UserWarning, match="map.nii.gz: its values are 0, 1, 2, 3, 4, 5, 6, 7, 8 only, as in a label map"):
        how.read(Job(tmp_path / "map.nii.gz", tmp_path / "out.nii.gz"))
    for name in ("scan", "halves", "black", "small"):
        how.read(Job(tmp_path / f"{name}.nii.gz", tmp_path / "out.nii.gz"))  # warnings are errors here
