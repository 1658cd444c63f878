"""The command, from a label map to files."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
meshio = pytest.importorskip("meshio", reason="the extra [mesh] is not installed")

from propagation import masks  # noqa: E402
from propagation.mesh.__main__ import main  # noqa: E402
from shared.scans import orientation, volume  # noqa: E402
from shared.scans.volume import Volume, from_array  # noqa: E402
from tests.propagation.mesh.shapes import ball  # noqa: E402


def labels_file(tmp_path, array, name="seg.nii.gz"):
    volume.write(from_array(array.astype(np.uint8)), tmp_path / name)
    return tmp_path / name


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error


def test_the_command(tmp_path, capsys):
    pytest.importorskip("pytetwild", reason="the extra [mesh] is not installed")
    path = labels_file(tmp_path, 3 * ball(5.0, (14, 14, 14)))
    wanted = [tmp_path / name for name in ("heart.vtu", "heart.stl", "quality.json", "heart.png")]
    main([
        *map(str, [path, "-o", *wanted[:2], "--labels", 3, "--edge-mm", 4, "--epsilon-mm", 0.05]),
        *map(str, ["--report", wanted[2], "--picture", wanted[3]]),
    ])  # fmt: skip
    printed = capsys.readouterr().out
    assert all(path.stat().st_size > 0 for path in wanted)
    assert "closed: yes, manifold: yes, outward: yes, self-intersections: 0" in printed
    found = json.loads(wanted[2].read_text())
    assert found["surface"]["volume_ratio"] == pytest.approx(1, abs=0.005) and found["surface"]["closed"] is True
    assert found["tetrahedra"]["inverted"] == 0 and list(found["tetrahedra"]["regions_ml"]) == ["3"]
    assert set(meshio.read(wanted[0]).cell_data["region"][0]) == {3}


def test_the_command_meshes_the_biventricular_wall(tmp_path, capsys, monkeypatch):
    given = []
    monkeypatch.setattr(
        masks, "biventricular", lambda labels, mm: given.append(mm) or labels.with_array((labels.array == 2).astype(np.uint8))
    )
    array = 2 * ball(6.0, (16, 16, 16)) + ball(3.0, (16, 16, 16))
    array[0:2] = 1
    path = labels_file(tmp_path, array)
    main([str(path), "-o", str(tmp_path / "wall.stl"), "--biventricular", "--rv-wall-mm", "4"])
    assert given == [4.0] and "2 piece(s), Euler characteristic 4" in capsys.readouterr().out
    path = labels_file(tmp_path, np.full((4, 4, 4), 7), "other.nii.gz")
    assert "expected ACDC's labels" in refused(capsys, path, "-o", tmp_path / "a.stl", "--biventricular")


def test_the_biventricular_wall_of_slices_along_the_first_axis(tmp_path, capsys):
    """The ring around the RV lies in the slices, whichever axis they are stacked along."""
    x, y, _ = np.indices((24, 20, 5))
    array = np.where(np.hypot(x - 14, y - 10) < 3, 3, np.where(np.hypot(x - 14, y - 10) < 6, 2, np.where(x < 6, 1, 0)))
    array[..., [0, 4]] = array[:2] = array[:, :2] = array[:, -2:] = 0
    labels, lines = Volume(array.astype(np.uint8), (1.5, 1.5, 8.0), np.diag([1.5, 1.5, 8.0, 1.0])), []
    for name, each in (("last.nii.gz", labels), ("first.nii.gz", orientation.transpose(labels, (2, 0, 1)))):
        volume.write(each, tmp_path / name)
        main([str(tmp_path / name), "-o", str(tmp_path / "wall.stl"), "--biventricular"])
        lines.append(capsys.readouterr().out.splitlines()[:-1])
    assert lines[0] == lines[1] and "surface: " in lines[0][0]


def test_bad_arguments_are_one_line_and_leave_nothing(tmp_path, capsys):
    path = labels_file(tmp_path, ball(5.0, (14, 14, 14)))
    assert "expected .stl (surface)" in refused(capsys, path, "-o", tmp_path / "heart.ply")
    assert f"{path}: label 9: not in the label map" in refused(capsys, path, "-o", tmp_path / "a.stl", "--labels", "9")
    assert "expected whole numbers such as 1,2" in refused(capsys, path, "-o", tmp_path / "a.stl", "--labels", "LV")
    assert "--edge-mm: expected more than 0 mm, found -1" in refused(capsys, path, "-o", tmp_path / "a.stl", "--edge-mm", "-1")
    assert "no such file" in refused(capsys, tmp_path / "none.nii.gz", "-o", tmp_path / "a.stl")
    volume.write(from_array(np.full((4, 4, 4), 0.5, np.float32)), tmp_path / "half.nii.gz")
    assert "whole-number labels" in refused(capsys, tmp_path / "half.nii.gz", "-o", tmp_path / "a.stl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.nii.gz", "seg.nii.gz"]


@pytest.mark.parametrize("module", ["skimage.measure", "meshio", "pytetwild"])
def test_a_missing_library_names_the_extra(tmp_path, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    path = labels_file(tmp_path, ball(5.0, (14, 14, 14)))
    assert "pip install -e '.[mesh]'" in refused(capsys, path, "-o", tmp_path / "heart.vtu")
    assert not (tmp_path / "heart.vtu").exists()
