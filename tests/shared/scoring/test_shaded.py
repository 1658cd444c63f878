"""Surfaces closed and of the right volume; what of them is drawn, looked up in the figure before it is saved."""

import sys

import numpy as np
import pytest

from shared.errors import InputError
from shared.scans.volume import from_array
from shared.scoring import plots, shaded

SPACING_MM = (2.0, 1.0, 5.0)
STRUCTURES = {1: "RV", 2: "Myo", 3: "LV"}


@pytest.fixture
def drawn(monkeypatch):
    """Call a function of `shaded`; return the figure that it would have saved."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path, **options: figures.append(figure))

    def draw(function, *arguments):
        function("unused.png", *arguments)
        return figures.pop()

    return draw


def ball(spacing_mm, radius_mm=20.0, margin_mm=3.0):
    """A ball in voxels, its centre, in mm, and nothing but a margin around it."""
    counts = [int(2 * (radius_mm + margin_mm) / step) + 1 for step in spacing_mm]
    axes = [np.arange(count) * step for count, step in zip(counts, spacing_mm, strict=True)]
    centre_mm = np.array([axis.mean() for axis in axes])
    squares = sum(np.meshgrid(*[(axis - c) ** 2 for axis, c in zip(axes, centre_mm, strict=True)], indexing="ij"))
    return squares <= radius_mm**2, centre_mm


def enclosed_ml(triangles):
    """By the divergence theorem; negative where the corners run clockwise seen from outside."""
    return np.einsum("ni,ni->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6000


def assert_closed(triangles):
    """Every edge belongs to two triangles, which run along it in opposite directions."""
    _, corner = np.unique(triangles.reshape(-1, 3).round(4), axis=0, return_inverse=True)
    corner = corner.reshape(-1, 3)
    edges = np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]])
    there, back = ({(a, b) for a, b in ends.tolist()} for ends in (edges, edges[:, ::-1]))
    assert len(there) == len(edges) and there == back


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.25, 1.5, 3.0), (0.3, 0.4, 2.0)])
def test_surface_of_a_ball(spacing_mm):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    mask, centre_mm = ball(spacing_mm)
    triangles = shaded.surface(mask, spacing_mm)
    assert_closed(triangles)
    assert enclosed_ml(triangles) == pytest.approx(mask.sum() * np.prod(spacing_mm) / 1000, rel=0.05)
    radii_mm = np.linalg.norm(triangles - centre_mm, axis=2)
    assert 20 - max(spacing_mm) < radii_mm.min() and radii_mm.max() < 20 + max(spacing_mm)


@pytest.mark.parametrize("detail", [7, 10, 100])
def test_surface_is_closed_where_the_mask_fills_its_array(detail):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    triangles = shaded.surface(np.ones((41, 30, 23), bool), (1.0, 1.0, 2.0), detail)
    assert_closed(triangles)
    assert 0.6 < enclosed_ml(triangles) / (41 * 30 * 46 / 1000) < 1  # coarse steps round the corners


def test_detail_limits_the_triangles():
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    assert len(shaded.surface(np.ones((232, 158, 88), bool), (0.625, 0.625, 0.625))) < 50_000


@pytest.mark.parametrize("voxels", [0, 1])
def test_nothing_left_to_draw(drawn, voxels):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, :voxels] = 1
    assert shaded.surface(labels == 1, (1.0, 1.0, 1.0)).shape == (0, 3, 3)
    (axis,) = drawn(shaded.surfaces, [[("empty", from_array(labels))]], STRUCTURES).axes
    assert not axis.collections


def test_only_the_near_side_is_drawn():
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    mask, centre_mm = ball((1.0, 1.0, 1.0))
    near = shaded.facing(shaded.surface(mask, (1.0, 1.0, 1.0)), elev=0, azim=-90)  # as seen by an eye at y = -infinity
    assert len(near) and near[..., 1].max() < centre_mm[1] + 2


def test_panels_of_a_row_share_their_limits(drawn):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    small, large = np.zeros((2, 30, 24, 16), np.uint8)
    small[10:15, 10:15, 5:10], large[5:25, 4:20, 3:13] = 3, 3
    large[5:10, 4:20, 3:13] = 2
    panels = [("reference", from_array(small, SPACING_MM)), ("predicted", from_array(large, SPACING_MM))]
    figure = drawn(shaded.surfaces, [panels, panels[:1] * 2], STRUCTURES)
    assert [axis.get_title() for axis in figure.axes] == ["reference", "predicted", "reference", "reference"]
    first, second, third, _ = ([axis.get_xlim(), axis.get_ylim(), axis.get_zlim()] for axis in figure.axes)
    assert first == second != third
    np.testing.assert_allclose(first, [(9, 49), (3.5, 19.5), (12.5, 62.5)], atol=2.5)  # mm, faces half a voxel outwards
    aspect, lengths_mm = figure.axes[0].get_box_aspect(), np.ptp(first, axis=1)
    np.testing.assert_allclose(aspect / aspect[0], lengths_mm / lengths_mm[0])
    (meshes,) = figure.axes[1].collections
    assert np.unique(meshes.get_facecolor()[:, 3]).tolist() == [0.4, 1]  # through the myocardium


def test_a_lone_myocardium_is_opaque(drawn):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    labels = from_array(np.pad(np.full((6, 6, 6), 2, np.uint8), 3))
    (axis,) = drawn(shaded.surfaces, [[("reference", labels)]], {2: "Myo"}).axes
    assert set(axis.collections[0].get_facecolor()[:, 3]) == {1}


def test_without_scikit_image(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(InputError, match=r"skimage is missing: pip install -e '\.\[mesh\]'"):
        shaded.surfaces(tmp_path / "a.png", [[("reference", from_array(np.ones((4, 4, 4), np.uint8)))]], {1: "LA"})
    assert not list(tmp_path.iterdir())
