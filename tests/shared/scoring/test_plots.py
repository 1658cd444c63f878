"""Pictures: what is drawn where, looked up in the figure before it is saved;"""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgba

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


# Bland-Altman ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "label"), [({}, "predicted - reference (ml)"), ({"difference": "manual - automatic"}, "manual - automatic (ml)")]
)
def test_bland_altman_draws_the_first_minus_the_second(drawn, options, label):
    (axis,) = drawn(plots.bland_altman, [("LV", "ml", [10, 30], [14, 20], (3, -5, 11))], **options).axes
    np.testing.assert_allclose(axis.collections[0].get_offsets(), [[12, -4], [25, 10]])
    assert [line.get_ydata()[0] for line in axis.lines] == [3, -5, 11]
    assert (axis.get_ylabel(), axis.get_xlabel(), axis.get_title()) == (label, "mean of both (ml)", "LV")


def test_lines_of_agreement_say_what_they_are_with_a_minus_that_can_be_seen(drawn):
    (axis,) = drawn(plots.bland_altman, [("LV", "ml", [10, 30], [14, 20], (3, -5, 11))]).axes
    assert [text.get_text() for text in axis.texts] == ["bias 3.0", "\u22121.96 SD \u22125.0", "+1.96 SD 11.0"]
    assert all(text.xyann[0] < 0 for text in axis.texts)  # inside the frame, right of all points
    assert axis.get_xlim()[1] - 25 > (25 - 12) / 3


def test_panels_of_agreement_stand_in_rows_of_three_with_one_scale(drawn):
    panels = [(f"net {k}", "ml", [10, 30 + k], [14, 20], (3, -5, 11)) for k in range(4)]
    axes = drawn(plots.bland_altman, panels, one_scale=True).axes
    assert len({axis.get_ylim() for axis in axes}) == 1 and len(axes) == 4
    assert axes[3].get_position().y0 < axes[0].get_position().y0


def test_paired_scores_are_joined_case_by_case(drawn):
    undefined = float("nan")
    panels = [("LV", {"net": [0.5, 0.75], "rival": [0.25, 1]}), ("RV", {"net": [0.5, undefined]})]
    first, second = drawn(plots.paired, panels, "Dice").axes
    assert [line.get_ydata().tolist() for line in first.lines[:2]] == [[0.5, 0.25], [0.75, 1]]
    (means,) = first.collections
    np.testing.assert_allclose(means.get_offsets(), [[0, 0.625], [1, 0.625]])
    assert [label.get_text() for label in first.get_xticklabels()] == ["net", "rival"]
    assert (first.get_title(), first.get_ylabel(), second.get_title()) == ("LV", "Dice", "RV")
    np.testing.assert_allclose(second.collections[0].get_offsets(), [[0, 0.5]])  # the mean of what is defined


# Localisation ---------------------------------------------------------------------------------------------------------------


def test_localisation_has_two_lines_of_axes_per_scan(drawn):
    axes = np.reshape(drawn(plots.localisation, [scan(), scan(title="patient002")], STRUCTURES, columns=3).axes[:-1], (4, 3))
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["patient001", "", "patient002", ""]
    assert {axis.get_aspect() for axis in axes.flat} == {0.5}  # y voxels are half as long as x voxels
    assert {axis.get_xlim() for axis in axes.flat} == {(-0.5, 11.5)}  # all of the field of view
    assert {axis.get_ylim() for axis in axes.flat} == {(19.5, -0.5)}


def test_localisation_shows_slices_of_the_reference_as_rows_of_y(drawn):
    row = scan()
    _, image, heat, *_ = row
    axes = np.reshape(drawn(plots.localisation, [row], STRUCTURES, columns=4).axes[:-1], (2, 4))
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
    *slices, _ = figure.axes  # the last is the scale of the heat
    assert len(slices) == 8
    for axis in slices:
        (rectangle,) = axis.patches
        assert (*rectangle.get_xy(), rectangle.get_width(), rectangle.get_height()) == (2.5, 3.5, 5, 8)
        assert not rectangle.get_fill()


def test_box_is_clipped_to_the_image(drawn):
    figure = drawn(plots.localisation, [scan(box=((-3, 15, -2), (8, 9, 20)))], STRUCTURES)
    for axis in figure.axes[:-1]:
        (rectangle,) = axis.patches
        assert (*rectangle.get_xy(), rectangle.get_width(), rectangle.get_height()) == (-0.5, 14.5, 5, 5)
        assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 11.5), (19.5, -0.5))


def test_box_is_drawn_in_its_slices_only(drawn):
    figure = drawn(plots.localisation, [scan(box=((3, 4, 2), (5, 8, 2)))], STRUCTURES)
    assert [len(axis.patches) for axis in figure.axes[:-1]] == [0, 1, 1, 0] * 2
    assert figure.axes[-1].get_ylabel() == "activation, of its greatest"


def test_outlines_of_prediction_in_colour_and_of_reference_in_white(drawn):
    figure = drawn(plots.localisation, [scan()], STRUCTURES, columns=1)
    above, below, _ = figure.axes
    colours, order = plots.colours_of(STRUCTURES.values()), [2, 1, 3]  # the wall first: below the border of what it encloses
    own = [colours[STRUCTURES[value]] for value in order]
    assert not above.collections
    assert [tuple(c.get_edgecolor()[0]) for c in below.collections] == [*map(to_rgba, own), *[to_rgba("white")] * 3]
    extents = [np.concatenate([path.vertices for path in c.get_paths()]) for c in below.collections]
    for value, predicted, reference in zip(order, extents[:3], extents[3:], strict=True):
        for points, y in ((predicted, 7), (reference, 6)):
            np.testing.assert_allclose(points.min(axis=0), (2 * value - 0.5, y - 0.5))
            np.testing.assert_allclose(points.max(axis=0), (2 * value + 1.5, y + 4.5))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RV", "Myo", "LV", "reference", "box"]


@pytest.mark.parametrize("part", [np.s_[2:3], np.s_[:, 6:7], np.s_[2:3, 6:7, 1:2]])
def test_scans_of_a_single_row_or_column_are_drawn_without_outlines(drawn, part):
    _, image, _, _, _, reference = scan()
    image, reference = (from_array(each.array[part], SPACING_MM) for each in (image, reference))
    axes = drawn(plots.overlay, [("thin", image, reference, reference)], STRUCTURES).axes
    assert all(len(axis.images) == 1 and not axis.collections for axis in axes)


# Files ----------------------------------------------------------------------------------------------------------------------


def test_pictures_are_written_whole(tmp_path):
    plots.localisation(tmp_path / "localisation.png", [scan()], STRUCTURES)
    plots.bland_altman(tmp_path / "agreement.png", [("LV", "ml", [1, 2], [2, 2], (0, -1, 1))])
    plots.paired(tmp_path / "paired.png", [("LV", {"net": [0.5, 0.75], "rival": [0.25, 1]})], "Dice")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agreement.png", "localisation.png", "paired.png"]
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")


def test_import_is_light():
    code = "import sys, shared.scoring.plots, shared.scoring.shaded as _"
    code += "; print(sorted({'skimage', 'matplotlib.pyplot'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_structure_has_its_colour_in_every_picture():
    acdc, mnms, one = (plots.colours_of(names) for names in (["RV", "Myo", "LV"], ["LV", "Myo", "RV"], ["LV"]))
    assert acdc == mnms and one["LV"] == acdc["LV"] and len(set(acdc.values())) == 3
    assert len(set(plots.colours_of(plots.HEART).values())) == 7
    others = plots.colours_of(["scar", "LV", "LV", "fat"])  # colours that no structure of the picture has
    assert list(others) == ["scar", "LV", "fat"] and others["LV"] == one["LV"] and len(set(others.values())) == 3
    assert len(plots.colours_of(map(str, range(20)))) == 20
