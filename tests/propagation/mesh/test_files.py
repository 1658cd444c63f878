"""Mesh files, read again."""

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
meshio = pytest.importorskip("meshio", reason="the extra [mesh] is not installed")

from propagation.mesh.files import FORMATS, write  # noqa: E402
from propagation.mesh.surfaces import surface  # noqa: E402
from shared.errors import InputError  # noqa: E402
from shared.scans.volume import from_array  # noqa: E402
from tests.propagation.mesh.shapes import ball, tetrahedron_surface  # noqa: E402


@pytest.mark.parametrize("ending", [".vtu", ".vtk", ".msh", ".inp"])
def test_tetrahedra_round_trip(two_halves, tmp_path, ending):
    _, solid, tets = two_halves
    write(tmp_path / f"heart{ending}", solid, tets)
    again = meshio.read(tmp_path / f"heart{ending}")
    np.testing.assert_allclose(again.points, tets.points_mm, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(np.concatenate([block.data for block in again.cells if block.type == "tetra"]), tets.cells)
    if ending == ".msh":
        np.testing.assert_array_equal(again.cell_data["gmsh:physical"][0], tets.regions)
        assert {name: entry.tolist() for name, entry in again.field_data.items()} == {"label_2": [2, 3], "label_5": [5, 3]}
        assert (tmp_path / "heart.msh").read_text().startswith("$MeshFormat\n2.2 0 8")
    elif ending == ".inp":
        np.testing.assert_array_equal(again.cell_sets["label_5"][0], np.flatnonzero(tets.regions == 5))
    else:
        np.testing.assert_array_equal(again.cell_data["region"][0], tets.regions)
    assert [path.name for path in tmp_path.iterdir()] == [f"heart{ending}"]


@pytest.mark.parametrize("ending", FORMATS)
def test_every_file_says_that_its_points_are_ras(two_halves, tmp_path, ending):
    """In the header of an STL and the title line of a .vtk, where 3D Slicer looks; elsewhere near the top."""
    _, solid, tets = two_halves
    write(tmp_path / f"heart{ending}", solid, tets)
    content = (tmp_path / f"heart{ending}").read_bytes()
    if ending == ".vtk":
        assert content.splitlines()[1].startswith(b"SPACE=RAS")
    elif ending == ".stl":
        assert content[:80].startswith(b"SPACE=RAS") and not content.startswith(b"solid")
    else:
        assert b"SPACE=RAS" in b"".join(content.splitlines(keepends=True)[:6])


def test_stl_is_binary_and_holds_the_triangles(tmp_path):
    solid = surface(from_array(ball(5.0, (14, 14, 14))))
    write(tmp_path / "ball.stl", solid)
    content = (tmp_path / "ball.stl").read_bytes()
    assert len(content) == 84 + 50 * len(solid.faces)
    rows = np.frombuffer(content[84:], np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")]))
    np.testing.assert_allclose(rows["corners"], solid.points_mm[solid.faces], atol=1e-5)
    outward = rows["corners"].mean(axis=1) - 6.5
    assert np.all(np.einsum("ij,ij->i", rows["normal"], outward) > 0)
    assert len(meshio.read(tmp_path / "ball.stl").cells[0].data) == len(solid.faces)


def test_an_unknown_ending_lists_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"heart.xyz: cannot write.*\.stl \(surface\), \.vtu \(tetrahedra\)"):
        write(tmp_path / "heart.xyz", tetrahedron_surface())


def test_a_surface_alone_is_no_tetrahedra(tmp_path):
    with pytest.raises(InputError, match="heart.vtu: this format holds tetrahedra, and none are given"):
        write(tmp_path / "heart.vtu", tetrahedron_surface())
    assert not list(tmp_path.iterdir())
