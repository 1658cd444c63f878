"""The fraction of the ring that is myocardium, closed slices, the base, what the criteria keep; and the command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dense_unet import basal
from dense_unet.basal import CLOSED, HALF, surroundings
from shared.datasets.acdc import STRUCTURES
from shared.files import read_csv
from shared.scans import orientation
from shared.scans import volume as volumes
from shared.scans.volume import Volume
from shared.scoring import short_axis
from tests.dense_unet.rings import LV, MYO, RV, slice_of, volume

ROOT = Path(__file__).parents[2]
FULL, HALF_OPEN, EMPTY = slice_of(), slice_of(gap_deg=200), np.zeros((121, 121), np.uint8)
APEX = slice_of(radii_px=(8, 8))


def one(labels):
    """Fraction and closed of a single slice."""
    found = surroundings(volume(labels), STRUCTURES)
    return float(found.fraction[0]), bool(found.closed[0])


# One slice ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap_deg", "fraction"), [(0, 1.0), (90, 0.75), (180, 0.5), (270, 0.25)])
def test_the_fraction_is_the_closed_part_of_the_ring(gap_deg, fraction):
    found, closed = one(slice_of(gap_deg))
    assert found == pytest.approx(fraction, abs=0.01) and closed == (gap_deg == 0)


def test_by_hand():
    labels = np.zeros((5, 5), np.uint8)
    labels[2, 2] = LV
    labels[[1, 3, 2], [2, 2, 1]] = MYO
    assert one(labels) == (0.75, False)  # three of the four sides
    labels[2, 3] = MYO
    assert one(labels) == (1.0, True)  # corners do not matter: nobody walks across them


@pytest.mark.parametrize("at_deg", range(0, 360, 40))
def test_a_gap_of_two_degrees_is_open(at_deg):
    fraction, closed = one(slice_of(gap_deg=2, radii_px=(60, 60), size=161, at_deg=at_deg))
    assert fraction > 0.98 and not closed


@pytest.mark.parametrize("radii_px", [(30, 20), (12, 34), (25, 45)])
def test_an_ellipse_is_no_other_than_a_circle(radii_px):
    assert one(slice_of(radii_px=radii_px)) == (1.0, True)
    fraction, closed = one(slice_of(gap_deg=180, radii_px=radii_px, at_deg=0))
    assert fraction == pytest.approx(0.5, abs=0.02) and not closed


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_wall_of_one_pixel_closes(diagonal):
    cavity = slice_of(wall_px=0) == LV
    labels = np.where(cavity, LV, 0).astype(np.uint8)
    shape = short_axis.SIDES if not diagonal else np.ones((3, 3, 3), bool)
    grown = basal.ndimage.binary_dilation(cavity[..., None], shape)[..., 0]
    labels[grown & ~cavity] = MYO
    assert one(labels) == (1.0, True)


def test_an_odd_pixel_of_the_ring_does_not_open_it():
    labels = slice_of()
    x = np.flatnonzero(labels[:, 60] == LV)[-1] + 1
    labels[x, 60] = 0
    fraction, closed = one(labels)
    assert fraction < 1 and closed


def test_holes_of_the_cavity_are_cavity():
    labels = slice_of()
    labels[55:60, 55:60] = 0
    labels[62:66, 60:62] = MYO  # a papillary muscle
    assert one(labels) == (1.0, True)


def test_without_myocardium_the_fraction_is_zero_and_without_lv_there_is_none():
    assert one(np.where(FULL == LV, LV, 0).astype(np.uint8)) == (0.0, False)
    fraction, closed = one(np.where(FULL == MYO, MYO, 0).astype(np.uint8))
    assert np.isnan(fraction) and not closed
    assert np.isnan(one(EMPTY)[0])


def test_the_rv_inside_the_wall_is_not_myocardium():
    inside = slice_of()
    inside[58:62, 85:93] = RV  # in the ring and the wall, but not through it
    fraction, closed = one(inside)
    assert 0.9 < fraction < 1 and closed
    through = slice_of()
    through[58:62, 85:110] = RV
    assert one(through) == (pytest.approx(fraction), False)


def test_lv_at_the_border_of_the_image_is_open():
    labels = FULL[60:]
    fraction, closed = one(labels)
    assert fraction > 0.97 and not closed
    assert one(np.full((4, 4), LV, np.uint8)) == (0.0, False)


# The criteria ---------------------------------------------------------------------------------------------------------------


def test_what_the_criteria_keep():
    stack = [EMPTY, HALF_OPEN, slice_of(gap_deg=90), FULL, FULL, FULL, APEX, np.where(APEX == MYO, MYO, 0).astype(np.uint8)]
    found = surroundings(volume(*stack), STRUCTURES)
    assert found.from_base.tolist() == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert found.kept(HALF).tolist() == [True, False, *[True] * 6]
    assert found.kept(CLOSED).tolist() == [True, False, False, *[True] * 5]
    assert (found.most_basal(HALF), found.most_basal(CLOSED)) == (2, 3)


def test_only_slices_on_the_basal_side_are_removed():
    opened = slice_of(gap_deg=220)
    found = surroundings(volume(FULL, opened, opened, opened, APEX), STRUCTURES)
    assert found.kept(CLOSED).tolist() == [True, False, True, True, True]  # the third of five is the middle
    found = surroundings(volume(opened, opened, slice_of(gap_deg=220, radii_px=(8, 8)), EMPTY), STRUCTURES)
    assert found.kept(HALF).tolist() == [False, True, True, True]
    assert surroundings(volume(opened), STRUCTURES).kept(CLOSED).tolist() == [True]  # a single slice is its own middle


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("towards_head", [False, True])
def test_the_labels_say_where_the_base_is(reverse, towards_head):
    stack = [HALF_OPEN, FULL, FULL, slice_of(radii_px=(20, 20)), APEX][:: -1 if reverse else 1]
    found = surroundings(volume(*stack, towards_head=towards_head), STRUCTURES)
    assert found.most_basal(0.0) == (4 if reverse else 0)
    assert found.kept(HALF).tolist() == [reverse or False, True, True, True, not reverse or False]


def test_the_rv_tells_the_base_where_the_cavity_is_narrow_there():
    base, apex = slice_of(radii_px=(15, 15)), slice_of(radii_px=(22, 22))
    base[:30, :] = RV
    assert surroundings(volume(base, apex), STRUCTURES).from_base.tolist() == [0, 1]


@pytest.mark.parametrize(("towards_head", "base"), [(True, 3), (False, 0)])
def test_where_the_labels_do_not_tell_the_affine_does(towards_head, base):
    """Slices are counted from the end that is nearer to the head, the right, and the back."""
    assert surroundings(volume(*[FULL] * 4, towards_head=towards_head), STRUCTURES).most_basal(0.0) == base


def test_no_lv_anywhere_keeps_all_and_has_no_base():
    for labels in (EMPTY, np.where(FULL == MYO, MYO, 0).astype(np.uint8)):
        found = surroundings(volume(labels, labels), STRUCTURES)
        assert found.kept(CLOSED).all() and found.most_basal(HALF) is None and np.isnan(found.from_base).all()
    for names in ({1: "LA"}, {3: "LV"}, {2: "Myo"}):  # where nobody labelled one of both, no slice is open
        assert surroundings(volume(FULL, FULL, APEX), names).kept(CLOSED).all()


def test_values_in_another_order_and_of_several_parts():
    other = np.array([0, 20, 7, 9], np.uint16)[FULL]
    other[:60][other[:60] == 7] = 8
    assert surroundings(volume(other), {9: "LV", 7: "Myo", 8: "Myo", 20: "RV"}).fraction.tolist() == [1.0]


# The command ----------------------------------------------------------------------------------------------------------------


def written(path, *slices):
    volumes.write(volume(*slices), path)
    return str(path)


def test_the_command_writes_a_row_per_slice(tmp_path, capsys):
    path = written(tmp_path / "heart_gt.nii.gz", HALF_OPEN, slice_of(gap_deg=90), FULL, APEX, EMPTY)
    basal.main([path, "-o", str(tmp_path / "slices.csv")])
    rows = read_csv(tmp_path / "slices.csv")
    assert [row["slice"] for row in rows] == [0, 1, 2, 3, 4] and {row["scan"] for row in rows} == {path}
    assert [row["kept_by_a"] for row in rows] == [0, 1, 1, 1, 1]
    assert [row["kept_by_b"] for row in rows] == [0, 0, 1, 1, 1]
    assert rows[1]["fraction"] == pytest.approx(0.75, abs=0.01) and np.isnan(rows[4]["fraction"])
    printed = capsys.readouterr().out
    assert "5 slices, 4 of them with LV" in printed and "removes 1 basal slices" in printed


def test_the_command_takes_folders_cines_other_values_and_any_order_of_axes(tmp_path):
    stack = volume(HALF_OPEN, FULL, APEX)
    turned = orientation.transpose(orientation.flip(stack, 2), (2, 0, 1))
    values = np.array([0, 5, 6, 7], np.uint8)
    cine = Volume(np.stack([values[turned.array]] * 2, axis=-1), turned.spacing_mm, turned.affine, 0.03)
    volumes.write(cine, tmp_path / "maps" / "deep" / "cine.nii.gz")
    basal.main([str(tmp_path / "maps"), "-o", str(tmp_path / "slices.csv"), "--structures", "5=RV,6=Myo,7=LV"])
    rows = read_csv(tmp_path / "slices.csv")
    assert [(row["frame"], row["slice"], row["kept_by_a"]) for row in rows] == [
        (1, 0, 1), (1, 1, 1), (1, 2, 0), (2, 0, 1), (2, 1, 1), (2, 2, 0),
    ]  # fmt: skip


@pytest.mark.filterwarnings("default")
def test_a_label_map_without_lv_is_named_and_the_others_count(tmp_path, capsys):
    paths = [written(tmp_path / "a.nii.gz", FULL), written(tmp_path / "b.nii.gz", EMPTY)]
    basal.main([*paths, "-o", str(tmp_path / "slices.csv")])
    assert "no slice has LV in 1 of 2 label maps" in capsys.readouterr().err
    assert len(read_csv(tmp_path / "slices.csv")) == 2


@pytest.mark.parametrize(("name", "arguments", "words"), [
    ("empty.nii.gz", [], "no slice has LV; expected the values 1 RV, 2 Myo, 3 LV"),
    ("absent.nii.gz", [], "absent.nii.gz: no such file"),
    ("heart.nii.gz", ["--structures", "1=LV,2=Myo"], "no slice has LV; expected the values 1 LV, 2 Myo; if others are meant"),
    ("heart.nii.gz", ["--structures", "lasc"], "expected values for LV and Myo, found none"),
    ("heart.nii.gz", ["--structures", "3"], "--structures 3: expected acdc"),
    ("strange.nii.gz", [], "strange.nii.gz: unknown label values [9]"),
    ("nothing", [], "nothing: no label maps"),
    ("heart.nii.gz", ["-o", "slices.nii.gz"], "expected the name of a table"),
    ("heart.nii.gz", ["-o", "nothing"], "expected the name of a table"),
])  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(name, arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    written(tmp_path / "heart.nii.gz", FULL)
    written(tmp_path / "empty.nii.gz", EMPTY)
    written(tmp_path / "strange.nii.gz", np.full_like(FULL, 9))
    with pytest.raises(SystemExit) as ended:
        basal.main([name, "-o", "slices.csv", *arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and words in lines[0]
    assert not (tmp_path / "slices.csv").exists()


def test_the_command_needs_no_framework(tmp_path):
    path = written(tmp_path / "heart.nii.gz", FULL)
    code = f"import sys; from dense_unet import basal; basal.main([{path!r}, '-o', {str(tmp_path / 's.csv')!r}])"
    code += "; print(*(name for name in ('tensorflow', 'keras', 'jax', 'matplotlib') if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == ""
