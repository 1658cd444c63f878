"""The prediction command: which scan goes to which file; volumes and function of what was segmented."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from shared import prediction_command
from shared.datasets import acdc
from shared.errors import InputError
from shared.prediction_command import Job
from shared.scans import volume
from tests.volumes import write_labels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_jobs(folder):
    a, b, dicom = folder / "a.nii.gz", folder / "b.NRRD", folder / "slices"
    assert prediction_command.jobs([a], [], [], folder / "labels.nrrd") == [Job(a, folder / "labels.nrrd")]
    out = folder / "out"
    assert prediction_command.jobs([a, b, dicom], [], [], out) == [
        Job(a, out / "a.nii.gz"), Job(b, out / "b.nii.gz"), Job(dicom, out / "slices.nii.gz"),
    ]  # fmt: skip
    assert [job.scan for job in prediction_command.jobs([a], [b], [dicom], out)] == [a, b, dicom]
    assert [job.scan for job in prediction_command.jobs([a, b, a], [b], [a], out)] == [a, b]  # each once


@pytest.mark.parametrize(
    ("scans", "ed", "es", "output", "message"),
    [
        ([], [], [], "out", "no scans given"),
        (["a.nii"], ["b.nii"], [], "out", "--ed names 1 scans and --es 0"),
        ([], ["b.nii"], ["c.nii", "d.nii"], "out", "--ed names 1 scans and --es 2"),
        (["a.nii", "b.nii"], [], [], "out.nii.gz", "out.nii.gz: 2 label maps cannot go to one file"),
        (["x/a.nii", "y/a.nii"], [], [], "out", "y/a.nii and x/a.nii would both be written to out/a.nii.gz"),
        (["a.nii", "a.nii.gz"], [], [], "out", "both be written to out/a.nii.gz"),
        (["a.nii.gz"], [], [], "a.nii.gz", "a.nii.gz: the label map would replace the scan"),
        (["x/a.nii.gz"], [], [], "x/../x/a.nii.gz", "would replace the scan"),
        (["b.nii", "x/a.nii.gz"], [], [], "x", "x/a.nii.gz: the label map would replace the scan"),
        (["b.nii", "a.nii.gz"], [], [], ".", "would replace the scan"),
    ],
)
def test_jobs_that_are_refused(folder, scans, ed, es, output, message):
    paths = [[folder / name for name in names] for names in (scans, ed, es)]
    with pytest.raises(InputError) as raised:
        prediction_command.jobs(*paths, folder / output)
    assert message in str(raised.value).replace(f"{folder}/", "") and "\n" not in str(raised.value)


def test_current_folder_as_a_dicom_scan_gives_a_visible_file(folder):
    (job,) = prediction_command.jobs([Path(".")], [], [], folder / "out")
    assert volume.stem(job.output)


# Volumes and function ----------------------------------------------------------------------------------------------------------

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
    volumes, functions = prediction_command.segment([job], predict, acdc.STRUCTURES)
    ((scan, path),) = seen
    assert scan.array.shape == (10, 10, 2, 4) and path == cine
    written = nibabel.load(job.output)
    np.testing.assert_array_equal(np.asarray(written.dataobj), beating())
    np.testing.assert_allclose(written.affine, nibabel.load(cine).affine)

    assert [(v["scan"], v["frame"]) for v in volumes] == [(str(cine), t) for t in (1, 2, 3, 4)]
    assert [v["LV_ml"] for v in volumes] == [15, 25, 20, 10]
    assert volumes[0] == {"scan": str(cine), "frame": 1, "RV_ml": 18, "Myo_ml": 30, "LV_ml": 15}
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
    jobs = prediction_command.jobs([], [a, d], [b, c], tmp_path / "out")
    with pytest.warns(UserWarning, match="RV: 15.0 ml at ED .*18.0 ml at ES .*swapped"):
        volumes, functions = prediction_command.segment(jobs, lambda scan, path: scan, acdc.STRUCTURES, [a, d], [b, c])
    assert [v["scan"] for v in volumes] == [str(path) for path in (a, d, b, c)]
    assert [(f["ed_scan"], f["es_scan"], f["LV_ef_percent"]) for f in functions] == [
        (str(a), str(b), pytest.approx(60)), (str(d), str(c), pytest.approx(25)),
    ]  # fmt: skip
    assert functions[1]["Myo_mass_g"] == pytest.approx(1.05 * 34)


def test_only_what_the_structures_allow(tmp_path, cine):
    job = Job(cine, tmp_path / "labels.nii.gz")
    volumes, functions = prediction_command.segment([job], lambda scan, path: scan.with_array(beating()), {2: "LA"})
    assert volumes[0] == {"scan": str(cine), "frame": 1, "LA_ml": 30} and functions == []
    _, functions = prediction_command.segment([job], lambda scan, path: scan.with_array(beating()), {3: "LV"})
    assert [key for key in functions[0] if key.startswith(("RV", "Myo"))] == []


def test_nothing_found_gives_no_ejection_fraction(tmp_path, cine):
    empty, none = "cine.nii.gz: nothing was found in it", "no ejection fraction, since only 0 of 4 frames can be used"
    with pytest.warns(UserWarning, match=empty), pytest.warns(UserWarning, match=none):
        volumes, functions = prediction_command.segment(
            [Job(cine, tmp_path / "o.nii")], lambda s, path: s.with_array(0 * beating()), acdc.STRUCTURES
        )
    assert functions == [] and len(volumes) == 4


def test_a_scan_that_cannot_be_segmented_is_named(tmp_path, cine):
    def refuse(scan, path):
        raise InputError("constant image")

    with pytest.raises(InputError, match="cine.nii.gz: constant image"):
        prediction_command.segment([Job(cine, tmp_path / "out" / "cine.nii.gz")], refuse, acdc.STRUCTURES)
    assert not (tmp_path / "out").exists()


def test_tables_of_volumes_and_function(tmp_path, capsys):
    volumes, functions = [{"scan": "a", "LV_ml": 1.5}], [{"ed_scan": "a", "LV_ef_percent": float("nan")}]
    prediction_command.write_tables(volumes, functions, tmp_path / "out")
    prediction_command.write_tables(volumes, [], tmp_path / "one.nii.gz")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv"))
    assert found == ["one_volumes.csv", "out/function.csv", "out/volumes.csv"]
    assert (tmp_path / "out" / "volumes.csv").read_text() == "scan,LV_ml\na,1.5\n"
    assert (tmp_path / "out" / "function.csv").read_text() == "ed_scan,LV_ef_percent\na,\n"
    printed = capsys.readouterr().out
    assert all(f"wrote {tmp_path / name}" in printed for name in found)
