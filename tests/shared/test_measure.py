"""Measures of label maps: which are pairs, what is divided by the body's surface, and what stops the command."""

import math

import numpy as np
import pytest

from shared import measure
from shared.files import read_csv
from shared.scans import volume
from shared.scans.volume import from_array
from tests.shared.scoring.test_short_axis import tapered

pytestmark = pytest.mark.filterwarnings("always")  # the command shows them
ML = (5.0, 5.0, 40.0)  # a voxel of 1 ml


def write(path, lv=0, rv=0, myo=0, frames=None):
    """A label map with so many voxels, each of 1 ml; in `frames` the LV of every frame of a cine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = []
    for count in [lv] if frames is None else frames:
        array = np.zeros(400, np.uint8)
        array[:rv], array[100 : 100 + myo], array[200 : 200 + count] = 1, 2, 3
        arrays.append(array.reshape(20, 10, 2))
    volume.write(from_array(arrays[0] if frames is None else np.stack(arrays, axis=-1), ML), path)
    return path


def run(output, *arguments):
    measure.main([*map(str, arguments), "-o", str(output)])
    function = output.with_name(f"{output.stem}_function.csv")
    return read_csv(output), read_csv(function) if function.exists() else []


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        measure.main([*map(str, arguments)])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    return error.splitlines()[-1]


def test_volumes_function_and_what_is_divided_by_the_bodys_surface(tmp_path):
    """180 cm and 80 kg: sqrt(180 * 80 / 3600) = 2 m2."""
    ed, es = write(tmp_path / "a.nii.gz", lv=150, rv=90, myo=80), write(tmp_path / "b.nii.gz", lv=60, rv=45, myo=84)
    rows, (row,) = run(tmp_path / "m.csv", "--ed", ed, "--es", es, "--height-cm", 180, "--weight-kg", 80)
    assert [(each["LV_ml"], each["RV_ml"], each["Myo_ml"]) for each in rows] == [(150, 90, 80), (60, 45, 84)]
    assert rows[0]["Myo_mass_g"] == pytest.approx(84)
    assert (row["LV_sv_ml"], row["LV_ef_percent"], row["RV_sv_ml"], row["RV_ef_percent"]) == (90, 60, 45, 50)
    assert row["body_surface_m2"] == 2 and row["Myo_mass_g_per_m2"] == pytest.approx(42)
    assert (row["LV_edv_ml_per_m2"], row["LV_esv_ml_per_m2"], row["LV_sv_ml_per_m2"]) == (75, 30, 45)


def test_without_height_and_weight_the_cells_are_empty(tmp_path):
    ed, es = write(tmp_path / "p_ED.nii.gz", lv=100), write(tmp_path / "p_ES.nii.gz", lv=50)
    _, (row,) = run(tmp_path / "m.csv", ed, es)
    assert row["LV_ef_percent"] == 50 and math.isnan(row["body_surface_m2"]) and math.isnan(row["LV_edv_ml_per_m2"])


def test_acdc_says_itself_what_is_a_pair_and_how_tall_the_patient_is(tmp_path, capsys):
    for name, height in (("patient001", "180"), ("patient002", "tall")):
        folder = tmp_path / name
        write(folder / f"{name}_frame01_gt.nii.gz", lv=100, rv=80, myo=50)
        write(folder / f"{name}_frame12_gt.nii.gz", lv=40, rv=40, myo=50)
        write(folder / f"{name}_frame05_gt.nii.gz", lv=70, rv=60, myo=50)
        (folder / "Info.cfg").write_text(f"ED: 1\nES: 12\nHeight: {height}\nWeight: 80\n")
    rows, functions = run(tmp_path / "m.csv", tmp_path)
    assert "expected a number from 20 to 300, found 'tall'; nothing is divided" in capsys.readouterr().err
    assert len(rows) == 6 and [row["LV_ef_percent"] for row in functions] == [60, 60]
    assert functions[0]["LV_edv_ml_per_m2"] == 50 and math.isnan(functions[1]["LV_edv_ml_per_m2"])


def test_a_cine_is_a_pair_by_itself(tmp_path):
    cine = write(tmp_path / "cine.nii.gz", rv=50, myo=50, frames=(80, 100, 60, 50))
    rows, (row,) = run(tmp_path / "m.csv", cine)
    assert [each["frame"] for each in rows] == [1, 2, 3, 4]
    assert (row["ed_frame"], row["es_frame"], row["LV_ef_percent"]) == (2, 4, 50)


def names_of(functions):
    return [row["ed_scan"].rpartition("/")[2] for row in functions]


def test_predictions_and_references_are_pairs_of_their_own(tmp_path, capsys):
    for name in ("p_ED", "p_ES", "p_ED_gt", "p_ES_gt", "n_ED_0000", "n_ES_0000", "o_ED"):
        write(tmp_path / f"{name}.nii.gz", lv=100 if "ED" in name else 50, rv=60)
    _, functions = run(tmp_path / "m.csv", *sorted(tmp_path.glob("*.nii.gz")))
    assert sorted(names_of(functions)) == ["n_ED_0000.nii.gz", "p_ED.nii.gz", "p_ED_gt.nii.gz"]
    _, functions = run(tmp_path / "m.csv", tmp_path / "o_ED.nii.gz")
    assert not functions  # the table of the pairs before is gone
    run(tmp_path / "m.csv", "--ed", tmp_path / "p_ED.nii.gz", "--es", tmp_path / "n_ES_0000.nii.gz")
    assert "their names are of two" in capsys.readouterr().err


def test_what_is_not_known_is_said(tmp_path, capsys):
    folder = tmp_path / "patient001"
    write(folder / "patient001_frame01_gt.nii.gz", lv=100, myo=50)
    (folder / "Info.cfg").write_bytes("\ufeffED: 1\r\nES: 1\r\nNote: Zürich\r\n".encode("latin-1", "ignore"))
    run(tmp_path / "m.csv", folder)
    error = capsys.readouterr().err
    assert "Info.cfg: names no two of the label maps beside it as ED and ES" in error
    assert "the thickness of its wall is not known" in error
    run(tmp_path / "m.csv", folder, "--structures", "3=LV")
    assert "label values 2 count as background" in capsys.readouterr().err
    cubes = tapered(spacing_mm=(1.5, 1.5, 1.5))
    volume.write(cubes, tmp_path / "h.nii.gz")
    (row,), _ = run(tmp_path / "m.csv", tmp_path / "h.nii.gz")
    assert math.isnan(row["basal_anterior_mm"]) and "thick short-axis slices" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_values_of_anybody_and_several_of_one_name(tmp_path):
    path = write(tmp_path / "a.nii.gz", lv=30, rv=20, myo=10)
    (row,), functions = run(tmp_path / "m.csv", path, "--structures", "1=LA,2=LV,3=LV")
    assert (row["LA_ml"], row["LV_ml"]) == (20, 40) and "basal_anterior_mm" not in row and not functions


def test_thickness_by_segment_and_its_picture(tmp_path, capsys):
    volume.write(tapered(), tmp_path / "h.nii.gz")
    (row,), _ = run(tmp_path / "m.csv", tmp_path / "h.nii.gz", "--bullseye", tmp_path / "pictures")
    assert [row[name] for name in ("basal_anterior_mm", "apical_lateral_mm")] == pytest.approx([9, 9], abs=0.5)
    assert (tmp_path / "pictures/h.png").read_bytes().startswith(b"\x89PNG") and "h.png" in capsys.readouterr().out


def test_what_stops_the_command(tmp_path, capsys):
    a, b = write(tmp_path / "a.nii.gz", lv=9), write(tmp_path / "x/a.nii.gz", lv=9)
    out = ("-o", tmp_path / "m.csv")
    assert "no label maps given" in refusal(capsys, *out)
    assert "--ed names 1 label maps and --es 0" in refusal(capsys, "--ed", a, *out)
    assert "--height-cm and --weight-kg belong together" in refusal(capsys, a, "--height-cm", 170, *out)
    assert "expected a number from 20 to 300, found '1.7'" in refusal(capsys, a, "--height-cm", 1.7, "--weight-kg", 70, *out)
    assert "ends in .csv for --output" in refusal(capsys, a, "-o", tmp_path / "m.nii.gz")
    volume.write(tapered(), tmp_path / "h.nii.gz")
    volume.write(tapered(), tmp_path / "x/h.nii.gz")
    pair = (tmp_path / "h.nii.gz", tmp_path / "x/h.nii.gz")
    assert "would have one name" in refusal(capsys, *pair, "--bullseye", tmp_path / "p", *out)
    assert "expected a folder for --bullseye" in refusal(capsys, a, "--bullseye", b, *out)
    (tmp_path / "m_function.csv").mkdir()
    assert "ends in .csv for --output" in refusal(capsys, a, *out)
    (tmp_path / "m_function.csv").rmdir()
    cine = write(tmp_path / "cine.nii.gz", frames=(9, 5))
    assert "cine.nii.gz: a cine of 2 frames, but --ed and --es expect one" in refusal(capsys, "--ed", cine, "--es", a, *out)
    both = [write(tmp_path / f"q_{phase}.{suffix}", lv=9) for phase, suffix in (("ED", "nii"), ("ED", "nii.gz"), ("ES", "nii"))]
    assert "two label maps of one patient at ED" in refusal(capsys, *both, *out)
    two = [write(tmp_path / f"{name}_{phase}.nii", lv=9) for name in "rs" for phase in ("ED", "ES")]
    assert "but there are 2 pairs" in refusal(capsys, *two, "--height-cm", 170, "--weight-kg", 70, *out)
    assert "but there is no pair" in refusal(capsys, a, "--height-cm", 170, "--weight-kg", 70, *out)
    assert "none of 8 LV in any label map" in refusal(capsys, a, "--structures", "8=LV", *out)
    assert "unknown label values" in refusal(capsys, write(tmp_path / "c.nii.gz", lv=9), "--structures", "lasc", *out)
    assert not (tmp_path / "m.csv").exists() and not (tmp_path / "p").exists()
