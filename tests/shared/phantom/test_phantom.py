"""The phantom: physiology measured on its labels, look of its pictures, and its files against the challenges' own layouts."""

import dataclasses
import json
import re
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from shared import datasets
from shared.errors import InputError
from shared.phantom import (
    GROUPS,
    draw_patient,
    group_of,
    layouts,
    on_square_grid,
    render,
    render_atrium,
    write_acdc,
    write_lasc,
    write_nnunet,
    write_stacom,
)
from shared.phantom.__main__ import main

RV, MYOCARDIUM, LV = 1, 2, 3
# as measured on the labels: LV end-diastolic volume (ml) and ejection fraction, the same of the RV
EXPECTED = {
    "NOR": ((100, 180), (0.55, 0.70), (100, 200), (0.45, 0.65)),
    "MINF": ((120, 230), (0.25, 0.45), (100, 200), (0.45, 0.65)),
    "DCM": ((200, 320), (0.15, 0.38), (120, 240), (0.20, 0.55)),
    "HCM": ((80, 160), (0.60, 0.78), (80, 160), (0.45, 0.65)),
    "RV": ((75, 150), (0.45, 0.65), (200, 290), (0.12, 0.42)),
}


@pytest.fixture(scope="module")
def beats():
    """Patient, end-diastolic and end-systolic frame of one patient per group."""
    drawn = [draw_patient(number, group, seed=5) for number, group in enumerate(GROUPS, start=1)]
    return [(patient, render(patient, 0), render(patient, 1)) for patient in drawn]


@pytest.fixture(scope="module")
def acdc(tmp_path_factory):
    """The ACDC layout with four patients."""
    return write_acdc(tmp_path_factory.mktemp("acdc") / "acdc", patients=4, seed=3)


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def volume_ml(frame, value):
    _, label, spacing_mm = frame
    return (label == value).sum() * np.prod(spacing_mm) / 1000


def test_volumes_of_every_group_are_physiological(beats):
    for patient, diastole, systole in beats:
        lv_edv_ml, lv_ef, rv_edv_ml, rv_ef = EXPECTED[patient.group]
        for value, (least_ml, most_ml), (least, most) in ((LV, lv_edv_ml, lv_ef), (RV, rv_edv_ml, rv_ef)):
            edv_ml, esv_ml = volume_ml(diastole, value), volume_ml(systole, value)
            assert least_ml <= edv_ml <= most_ml, (patient.group, value)
            assert least <= 1 - esv_ml / edv_ml <= most, (patient.group, value)


def test_labels_measure_what_was_drawn(beats):
    for patient, diastole, systole in beats:
        edv_ml, esv_ml = volume_ml(diastole, LV), volume_ml(systole, LV)
        assert edv_ml == pytest.approx(patient.lv_edv_ml, rel=0.05)
        assert 1 - esv_ml / edv_ml == pytest.approx(patient.lv_ef, abs=0.02)


def test_myocardium_keeps_its_volume(beats):
    for _, diastole, systole in beats:
        assert volume_ml(systole, MYOCARDIUM) == pytest.approx(volume_ml(diastole, MYOCARDIUM), rel=0.12)


def test_shape_of_the_scan(beats):
    for patient, (image, label, spacing_mm), _ in beats:
        assert image.dtype == np.int16 and label.dtype == np.uint8
        assert image.shape == label.shape == patient.shape
        assert image.shape[0] != image.shape[1] and all(180 <= n <= 256 for n in image.shape[:2]) and 6 <= image.shape[2] <= 18
        assert 1.2 <= spacing_mm[0] == spacing_mm[1] <= 1.8 and 5 <= spacing_mm[2] <= 13
        assert set(np.unique(label)) == {0, RV, MYOCARDIUM, LV}


def test_the_share_of_each_label_is_that_of_real_scans(beats):
    labels = [label for _, *frames in beats for _, label, _ in frames]
    shares = np.mean([np.bincount(label.ravel(), minlength=4) / label.size for label in labels], axis=0)
    np.testing.assert_allclose(shares[1:], [0.012, 0.013, 0.012], atol=0.006)  # 34 of the challenge's own: 0.0119, 0.0127, 0.0124


def test_contrast_is_that_of_bssfp(beats):
    for patient, (image, label, _), _ in beats:
        rv, myocardium, lv = (np.median(image[label == value]) for value in (RV, MYOCARDIUM, LV))
        assert 1.6 < lv / myocardium < 4.2 and 1.3 < rv / myocardium < lv / myocardium * 1.15, patient.group
        assert image.min() >= 0 and np.median(image[:12, :12]) < 0.6 * myocardium


def test_anatomy_is_in_place(beats):
    for _, (_, label, _), (_, later, _) in beats:
        slices = {value: np.flatnonzero((label == value).any((0, 1))) for value in (RV, MYOCARDIUM, LV)}
        assert 0.6 <= len(slices[RV]) / len(slices[MYOCARDIUM]) <= 1
        assert slices[RV][-1] <= slices[LV][-1] <= slices[MYOCARDIUM][-1]  # from slice 0 at the base
        assert (np.diff(slices[MYOCARDIUM]) == 1).all()
        assert np.flatnonzero((later == LV).any((0, 1)))[0] >= slices[LV][0]  # the base sinks
        # the ring of muscle is closed: blood of the LV touches neither background nor RV
        blood, outside = label == LV, (label == 0) | (label == RV)
        for axis in (0, 1):
            assert not (blood & np.roll(outside, 1, axis)).any() and not (blood & np.roll(outside, -1, axis)).any()


def test_a_breath_hold_moves_image_and_label_together():
    patient = dataclasses.replace(draw_patient(1, "NOR"), rotation_deg=0.0, shifts_mm=((0.0, 0.0),) * 18)
    moved = dataclasses.replace(patient, shifts_mm=((4.0, -3.0),) * 18)
    for frame, shifted in ((render(patient, 0), render(moved, 0)),):
        before, after = (np.argwhere(f[1] == LV).mean(0) * f[2] for f in (frame, shifted))
        np.testing.assert_allclose(after - before, (4, -3, 0), atol=0.2)
        assert np.median(shifted[0][shifted[1] == LV]) == pytest.approx(np.median(frame[0][frame[1] == LV]), rel=0.1)


def test_phase_outside_the_beat():
    with pytest.raises(InputError, match="phase"):
        render(draw_patient(1, "NOR"), 1.5)


def test_groups_are_balanced_in_blocks_and_in_every_fifth_patient():
    for start in range(1, 100, 5):
        assert {group_of(number) for number in range(start, start + 5)} == set(GROUPS)
    assert {group_of(number) for number in (5, 10, 15, 20, 25)} == set(GROUPS)


def test_acdc_layout(acdc):
    root = acdc
    assert sorted(path.name for path in (root / "training").iterdir()) == [f"patient00{n}" for n in (1, 2, 3, 4)]
    info = r"ED: 1\nES: (\d+)\nGroup: (NOR|MINF|DCM|HCM|RV)\nHeight: \d+\.0\nNbFrame: (\d+)\nWeight: \d+\.0\n"
    for number in (1, 2, 3, 4):
        folder = root / "training" / f"patient{number:03d}"
        found = re.fullmatch(info, (folder / "Info.cfg").read_text())
        es_frame = int(found[1])
        assert found[2] == group_of(number) and 8 <= es_frame <= 14 < int(found[3])
        names = [f"patient{number:03d}_frame{frame:02d}{end}.nii.gz" for frame in (1, es_frame) for end in ("", "_gt")]
        assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "Info.cfg"])
        for name in names:
            image = nibabel.load(folder / name)
            spacing_mm = image.header.get_zooms()
            assert image.get_data_dtype() == (np.uint8 if name.endswith("_gt.nii.gz") else np.int16)
            assert image.header.get_xyzt_units()[0] == "mm" and image.header["qform_code"] > 0 and image.header["sform_code"] > 0
            np.testing.assert_allclose(np.abs(np.diag(image.get_qform()))[:3], spacing_mm, rtol=1e-5)
            by_affine = np.abs(np.diag(image.affine))[:3]  # every fourth patient: the affine alone says 1 x 1 x 1 mm
            np.testing.assert_allclose(by_affine, (1, 1, 1) if number == 4 else spacing_mm, rtol=1e-5)


def test_without_faults_every_affine_has_the_voxel_size(tmp_path):
    root = write_acdc(tmp_path / "acdc", patients=4, seed=3, faults=False)
    for path in root.rglob("*.nii.gz"):
        image = nibabel.load(path)
        np.testing.assert_allclose(nibabel.affines.voxel_sizes(image.affine), image.header.get_zooms()[:3], rtol=1e-5)


def test_equal_bytes(acdc, tmp_path):
    time.sleep(1.1)
    again = contents(write_acdc(tmp_path / "acdc", patients=1, seed=3) / "training")
    assert again.items() <= contents(acdc / "training").items() and len(again) == 5
    frame = next(content for path, content in again.items() if path.name.endswith("_gt.nii.gz"))
    assert frame[:2] == b"\x1f\x8b" and frame[3] == 0 and frame[4:8] == bytes(4)  # gzip without a name, time 0
    lasc = [write_lasc(tmp_path / "a", cases=1, size=(64, 48))]
    time.sleep(1.1)
    lasc.append(write_lasc(tmp_path / "b", cases=1, size=(64, 48)))
    assert contents(lasc[0]) == contents(lasc[1])


def test_cine(tmp_path, monkeypatch):
    patient = dataclasses.replace(draw_patient(1, "NOR", seed=4), frames=10, es_frame=4)
    monkeypatch.setattr(layouts, "draw_patient", lambda *_: patient)
    root = write_acdc(tmp_path / "cine", patients=1, seed=4, cine=True)
    folder = root / "training" / "patient001"
    cine = nibabel.load(folder / "patient001_4d.nii.gz")
    assert cine.shape == (*patient.shape, patient.frames)
    np.testing.assert_allclose(cine.header.get_zooms(), (*patient.spacing_mm, patient.frame_s), rtol=1e-5)
    assert cine.header.get_xyzt_units() == ("mm", "sec")
    frames = np.asarray(cine.dataobj)
    for frame in (1, patient.es_frame):
        alone = nibabel.load(folder / f"patient001_frame{frame:02d}.nii.gz")
        np.testing.assert_array_equal(frames[..., frame - 1], alone.dataobj)


def test_lasc_layout(tmp_path):
    root = write_lasc(tmp_path / "lasc", cases=1)
    (case,) = (root / "Training Set").iterdir()
    assert re.fullmatch(r"[A-Z0-9]{20}", case.name)
    assert sorted(path.name for path in case.iterdir()) == ["laendo.nrrd", "lgemri.nrrd"]
    image, label = (sitk.ReadImage(str(case / name)) for name in ("lgemri.nrrd", "laendo.nrrd"))
    for file in (image, label):
        assert file.GetSize() == (160, 160, 88) and file.GetPixelID() == sitk.sitkUInt8
        np.testing.assert_allclose(file.GetSpacing(), 0.625)
    image, label = map(sitk.GetArrayFromImage, (image, label))
    assert set(np.unique(label)) == {0, 255}
    assert 20 < (label == 255).sum() * 0.625**3 / 1000 < 90  # ml
    assert image[label == 255].mean() > 1.5 * image[label == 0].mean()


def test_atrium_on_a_large_matrix_lies_in_the_middle():
    _, label, _ = render_atrium(2, size=(200, 220))
    assert label.shape == (200, 220, 88)
    assert not label[:20].any() and not label[-20:].any() and not label[:, :20].any() and not label[:, -20:].any()


def test_nnunet_layout(tmp_path):
    root = write_nnunet(tmp_path / "nnunet", patients=1)
    for folder, end in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        assert sorted(path.name for path in (root / folder).iterdir()) == [f"patient001_ED{end}", f"patient001_ES{end}"]
    content = json.loads((root / "dataset.json").read_text())
    assert content == {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "RV": 1, "Myo": 2, "LV": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    image, label, spacing_mm = render(draw_patient(1, "NOR"), 0)
    written = nibabel.load(root / "imagesTr" / "patient001_ED_0000.nii.gz")
    np.testing.assert_array_equal(written.dataobj, image)
    np.testing.assert_allclose(np.diag(written.affine)[:3], spacing_mm, rtol=1e-5)
    np.testing.assert_array_equal(nibabel.load(root / "labelsTr" / "patient001_ED.nii.gz").dataobj, label)


@pytest.fixture(scope="module")
def stacom(tmp_path_factory):
    """The STACOM layout with three volunteers and two frames."""
    return write_stacom(tmp_path_factory.mktemp("stacom") / "stacom", patients=3, seed=2, frames=2)


def test_stacom_layout(stacom):
    assert sorted(path.name for path in stacom.iterdir()) == ["phantom.json", "v1", "v2", "v4"]  # as the benchmark, no v3
    for number, folder in ((1, "v1"), (2, "v2"), (3, "v4")):
        volunteer = draw_patient(number, "NOR", seed=2)
        cine, mask = (nibabel.load(stacom / folder / f"{name}.nii.gz") for name in ("cine_sax", "mask_ed"))
        assert cine.shape == (*volunteer.shape, 2) and cine.get_data_dtype() == np.int16 and mask.get_data_dtype() == np.uint8
        beat_s = volunteer.frames * volunteer.frame_s
        np.testing.assert_allclose(cine.header.get_zooms(), (*volunteer.spacing_mm, beat_s / 2), rtol=1e-5)
        for frame in (0, 1):
            np.testing.assert_array_equal(cine.dataobj[..., frame], render(volunteer, frame)[0])


def test_stacom_is_read_as_it_was_written(stacom):
    cases = datasets.find("stacom", stacom)
    assert [case.name for case in cases] == ["v1_ED", "v2_ED", "v4_ED"]
    for number, case in enumerate(cases, start=1):
        volunteer = draw_patient(number, "NOR", seed=2)
        scan, label, spacing_mm = render(volunteer, 0)
        image, mask = datasets.load_pair(case, ("BV",))
        np.testing.assert_array_equal(image.array, scan)
        np.testing.assert_allclose(mask.spacing_mm, spacing_mm, rtol=1e-5)
        walls_of = mask.array == 1
        assert (walls_of[label == MYOCARDIUM]).all() and not walls_of[(label == RV) | (label == LV)].any()
        for axis in (0, 1):  # the RV's blood touches walls only, and its wall is as thick as it was drawn
            for step in (1, -1):
                beside = np.roll(label == RV, step, axis)
                assert (walls_of | (label != 0))[beside].all()
        free = walls_of & (label == 0)
        for z in range(label.shape[2]):
            if not (label[..., z] == RV).any():
                assert not free[..., z].any()
                continue
            away_mm = ndimage.distance_transform_edt(label[..., z] != RV, sampling=spacing_mm[:2])
            assert away_mm[free[..., z]].max(initial=0) <= volunteer.rv_wall_mm + spacing_mm[0] / 2
        assert free.sum() > 0.2 * (label == MYOCARDIUM).sum()


def test_stacom_that_cannot_be_written(stacom, tmp_path):
    before = contents(stacom)
    assert write_stacom(stacom, patients=3, seed=2, frames=2) == stacom and contents(stacom) == before
    with pytest.raises(InputError, match="holds something else"):
        write_stacom(stacom, patients=3, seed=2, frames=3)
    for arguments, words in (({"patients": 0}, "patients of at least 1"), ({"frames": 1}, "frames of at least 2")):
        with pytest.raises(InputError, match=words):
            write_stacom(tmp_path / "none", **arguments)
    assert not list(tmp_path.iterdir())


def test_pictures_of_any_size(tmp_path):
    """512 x 512 pixels of 0.59 to 0.70 mm, as in Penso 2020, or the same field of view in fewer."""
    sizes = [on_square_grid(draw_patient(number, "DCM", 0), 512) for number in range(1, 40)]
    assert all(p.shape[:2] == (512, 512) and 0.59 <= p.spacing_mm[0] == p.spacing_mm[1] <= 0.70 for p in sizes)
    assert max(p.spacing_mm[0] for p in sizes) - min(p.spacing_mm[0] for p in sizes) > 0.09
    root = tmp_path / "small"
    main(["acdc", str(root), "--patients", "1", "--size", "96"])
    image, label = (nibabel.load(path) for path in sorted(root.rglob("*frame01*.nii.gz")))
    assert image.shape == label.shape and image.shape[:2] == (96, 96) and 302 < 96 * image.header.get_zooms()[0] < 359
    assert set(np.unique(label.dataobj)) == {0, 1, 2, 3}
    assert json.loads((root / "phantom.json").read_text())["size"] == 96
    with pytest.raises(InputError, match="holds something else"):
        write_acdc(root, patients=1)


def test_a_complete_folder_is_left_and_another_one_refused(acdc, tmp_path):
    root = acdc
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write_acdc(root, patients=4, seed=3) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(InputError, match="holds something else"):
        write_acdc(root, patients=4, seed=9)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_nnunet(tmp_path, patients=1)
    with pytest.raises(InputError, match="is a file"):
        write_nnunet(tmp_path / "notes.txt", patients=1)
    with pytest.raises(InputError, match="at least 1"):
        write_lasc(tmp_path / "none", cases=0)
    with pytest.raises(InputError, match="32 voxels"):
        write_lasc(tmp_path / "none", size=(5, 5))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_left_of_a_writing_that_failed(tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(layouts, "render", no_room)
    with pytest.raises(OSError, match="no space"):
        write_acdc(tmp_path / "acdc", patients=1)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path, capsys):
    out = tmp_path / "nnunet"
    main(["nnunet", str(out), "--patients", "1", "--seed", "2"])
    assert "patient001 NOR (1 of 1)" in capsys.readouterr().out and (out / "dataset.json").exists()
    new = str(tmp_path / "new")
    for arguments in (
        ["nnunet", str(out)],
        ["elsewhere", new],
        ["lasc", new, "--cine"],
        ["nnunet", new, "--size", "64"],
        ["acdc", new, "--size", "16"],
        ["acdc", new, "--patients", "x"],
        ["acdc", new, "--patients", "0"],
        ["acdc"],
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        printed = capsys.readouterr()
        assert end.value.code == 2 and printed.err.count("\n") == 1 and not printed.out


def test_importing_needs_no_tensorflow():
    code = "import sys, shared.phantom; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
