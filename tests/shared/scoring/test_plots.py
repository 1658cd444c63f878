"""Pictures: what is drawn where, looked up in the figure before it is saved; surfaces closed and of the right volume."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from shared.errors import InputError
from shared.scans.volume import from_array
from shared.scoring import plots

SHAPE, SPACING_MM = (12, 20, 6), (2.0, 1.0, 5.0)
STRUCTURES = {1: "RV", 2: "Myo", 3: "LV"}


@pytest.fixture
def drawn(monkeypatch):
    """Call a function of `plots`; return the figure that it would have saved."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path, **options: figures.append(figure))

    def draw(function, *arguments, **options):
        function("unused.png", *arguments, **options)
        return figures.pop()

    return draw


def scan(box=((3, 4, 0), (5, 8, 6)), title="patient001"):
    """A row of `localisation`: labels 1, 2, 3 side by side along x in slices 1 to 4, the prediction one voxel further along y."""
    generator = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint8)
    for value in STRUCTURES:
        labels[2 * value : 2 * value + 2, 6:11, 1:5] = value
    image, heat = generator.normal(size=SHAPE), generator.uniform(size=SHAPE)
    return (
        title,
        from_array(image, SPACING_MM),
        heat,
        box,
        *(from_array(a, SPACING_MM) for a in (np.roll(labels, 1, axis=1), labels)),
    )


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


# Bland-Altman ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "label"), [({}, "predicted - reference (ml)"), ({"difference": "manual - automatic"}, "manual - automatic (ml)")]
)
def test_bland_altman_draws_the_first_minus_the_second(drawn, options, label):
    (axis,) = drawn(plots.bland_altman, [("LV", "ml", [10, 30], [14, 20], (3, -5, 11))], **options).axes
    np.testing.assert_allclose(axis.collections[0].get_offsets(), [[12, -4], [25, 10]])
    assert [line.get_ydata()[0] for line in axis.lines] == [3, -5, 11]
    assert (axis.get_ylabel(), axis.get_xlabel(), axis.get_title()) == (label, "mean (ml)", "LV")


# Localisation ---------------------------------------------------------------------------------------------------------------


def test_localisation_has_two_lines_of_axes_per_scan(drawn):
    axes = np.reshape(drawn(plots.localisation, [scan(), scan(title="patient002")], STRUCTURES, columns=3).axes, (4, 3))
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["patient001", "", "patient002", ""]
    assert {axis.get_aspect() for axis in axes.flat} == {0.5}  # y voxels are half as long as x voxels
    assert {axis.get_xlim() for axis in axes.flat} == {(-0.5, 11.5)}  # all of the field of view
    assert {axis.get_ylim() for axis in axes.flat} == {(19.5, -0.5)}


def test_localisation_shows_slices_of_the_reference_as_rows_of_y(drawn):
    row = scan()
    _, image, heat, *_ = row
    axes = np.reshape(drawn(plots.localisation, [row], STRUCTURES, columns=4).axes, (2, 4))
    for z, (above, below) in zip((1, 2, 3, 4), axes.T, strict=True):
        grey, hot = above.images
        np.testing.assert_array_equal(grey.get_array(), image.array[:, :, z].T)
        np.testing.assert_array_equal(hot.get_array(), heat[:, :, z].T)
        assert hot.get_clim() == (0, 1)
        (grey,) = below.images
        np.testing.assert_array_equal(grey.get_array(), image.array[:, :, z].T)


def test_heat_near_zero_is_transparent(drawn):
    title, image, _, *rest = scan()
    heat = np.zeros(SHAPE)
    heat[4, 7] = 1
    figure = drawn(plots.localisation, [(title, image, heat, *rest)], STRUCTURES, columns=1)
    alpha = figure.axes[0].images[1].get_alpha()
    assert 0.3 < alpha[7, 4] < 1 and np.count_nonzero(alpha) == 1


def test_box_is_drawn_around_its_voxels(drawn):
    figure = drawn(plots.localisation, [scan(box=((3, 4, 0), (5, 8, 6)))], STRUCTURES)
    assert len(figure.axes) == 8
    for axis in figure.axes:
        (rectangle,) = axis.patches
        assert (*rectangle.get_xy(), rectangle.get_width(), rectangle.get_height()) == (2.5, 3.5, 5, 8)
        assert not rectangle.get_fill()


def test_box_is_clipped_to_the_image(drawn):
    figure = drawn(plots.localisation, [scan(box=((-3, 15, -2), (8, 9, 20)))], STRUCTURES)
    for axis in figure.axes:
        (rectangle,) = axis.patches
        assert (*rectangle.get_xy(), rectangle.get_width(), rectangle.get_height()) == (-0.5, 14.5, 5, 5)
        assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 11.5), (19.5, -0.5))


def test_box_is_drawn_in_its_slices_only(drawn):
    figure = drawn(plots.localisation, [scan(box=((3, 4, 2), (5, 8, 2)))], STRUCTURES)
    assert [len(axis.patches) for axis in figure.axes] == [0, 1, 1, 0] * 2


def test_outlines_of_prediction_in_colour_and_of_reference_in_white(drawn):
    figure = drawn(plots.localisation, [scan()], STRUCTURES, columns=1)
    above, below = figure.axes
    assert not above.collections
    assert [tuple(c.get_edgecolor()[0]) for c in below.collections] == [*map(to_rgba, plots.COLOURS[:3]), *[to_rgba("white")] * 3]
    extents = [np.concatenate([path.vertices for path in c.get_paths()]) for c in below.collections]
    for value, predicted, reference in zip(STRUCTURES, extents[:3], extents[3:], strict=True):
        for points, y in ((predicted, 7), (reference, 6)):
            np.testing.assert_allclose(points.min(axis=0), (2 * value - 0.5, y - 0.5))
            np.testing.assert_allclose(points.max(axis=0), (2 * value + 1.5, y + 4.5))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RV", "Myo", "LV", "reference", "box"]


# Surfaces -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.25, 1.5, 3.0), (0.3, 0.4, 2.0)])
def test_surface_of_a_ball(spacing_mm):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    mask, centre_mm = ball(spacing_mm)
    triangles = plots.surface(mask, spacing_mm)
    assert_closed(triangles)
    assert enclosed_ml(triangles) == pytest.approx(mask.sum() * np.prod(spacing_mm) / 1000, rel=0.05)
    radii_mm = np.linalg.norm(triangles - centre_mm, axis=2)
    assert 20 - max(spacing_mm) < radii_mm.min() and radii_mm.max() < 20 + max(spacing_mm)


@pytest.mark.parametrize("detail", [7, 10, 100])
def test_surface_is_closed_where_the_mask_fills_its_array(detail):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    triangles = plots.surface(np.ones((41, 30, 23), bool), (1.0, 1.0, 2.0), detail)
    assert_closed(triangles)
    assert 0.6 < enclosed_ml(triangles) / (41 * 30 * 46 / 1000) < 1  # coarse steps round the corners


def test_detail_limits_the_triangles():
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    assert len(plots.surface(np.ones((232, 158, 88), bool), (0.625, 0.625, 0.625))) < 50_000


@pytest.mark.parametrize("voxels", [0, 1])
def test_nothing_left_to_draw(drawn, voxels):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, :voxels] = 1
    assert plots.surface(labels == 1, (1.0, 1.0, 1.0)).shape == (0, 3, 3)
    (axis,) = drawn(plots.surfaces, [[("empty", from_array(labels))]], STRUCTURES).axes
    assert not axis.collections


def test_only_the_near_side_is_drawn():
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    mask, centre_mm = ball((1.0, 1.0, 1.0))
    near = plots.facing(plots.surface(mask, (1.0, 1.0, 1.0)), elev=0, azim=-90)  # as seen by an eye at y = -infinity
    assert len(near) and near[..., 1].max() < centre_mm[1] + 2


def test_panels_of_a_row_share_their_limits(drawn):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    small, large = np.zeros((2, 30, 24, 16), np.uint8)
    small[10:15, 10:15, 5:10], large[5:25, 4:20, 3:13] = 3, 3
    large[5:10, 4:20, 3:13] = 2
    panels = [("reference", from_array(small, SPACING_MM)), ("predicted", from_array(large, SPACING_MM))]
    figure = drawn(plots.surfaces, [panels, panels[:1] * 2], STRUCTURES)
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
    (axis,) = drawn(plots.surfaces, [[("reference", labels)]], {2: "Myo"}).axes
    assert set(axis.collections[0].get_facecolor()[:, 3]) == {1}


def test_without_scikit_image(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(InputError, match=r"skimage is missing: pip install -e '\.\[mesh\]'"):
        plots.surfaces(tmp_path / "a.png", [[("reference", from_array(np.ones((4, 4, 4), np.uint8)))]], {1: "LA"})
    assert not list(tmp_path.iterdir())


# Files ----------------------------------------------------------------------------------------------------------------------


def test_pictures_are_written_whole(tmp_path):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    row = scan()
    plots.localisation(tmp_path / "localisation.png", [row], STRUCTURES)
    plots.surfaces(tmp_path / "surfaces.png", [[("reference", row[-1]), ("predicted", row[-2])]], STRUCTURES)
    plots.bland_altman(tmp_path / "agreement.png", [("LV", "ml", [1, 2], [2, 2], (0, -1, 1))])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agreement.png", "localisation.png", "surfaces.png"]
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")


def test_import_is_light():
    code = "import sys, shared.scoring.plots; print(sorted({'skimage', 'matplotlib.pyplot'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
