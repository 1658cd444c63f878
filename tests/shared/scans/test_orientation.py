"""The order of axes: no voxel moves in space; and two images that meet share their voxels, or are refused."""

import itertools
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from shared.errors import InputError
from shared.scans import orientation
from shared.scans.volume import Source, Volume, from_array
from tests.geometry import noise, placed, positions_mm, rotation

NAMES = ("scan", "label")

# Order of the axes ----------------------------------------------------------------------------------------------------------

EVERY_ORDER = [*itertools.permutations(range(3))]


def inverse(axes):
    return tuple(axes.index(axis) for axis in range(3))


def test_isotropic_scan_along_the_scanner_stays_as_it_is():
    """As the challenge stores its scans: x and y against RAS, 0.625 mm along every axis."""
    scan = placed(noise((5, 6, 4)), (0.625,) * 3, np.diag([-1.0, -1, 1]))
    assert orientation.slices_last(scan) == (0, 1, 2)
    assert orientation.slices_last(from_array(noise((5, 6, 4)))) == (0, 1, 2)


@pytest.mark.parametrize("axes", EVERY_ORDER)
@pytest.mark.parametrize("turn", [(0, 0, 0), (20, -15, 25)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_every_order_of_an_isotropic_scan_is_recovered(axes, turn, signs):
    scan = placed(noise((5, 6, 4)), (0.7, 0.6, 0.65), rotation(*turn) * np.array(signs))
    mixed = orientation.transpose(scan, axes)
    assert orientation.slices_last(mixed) == inverse(axes)
    back = orientation.transpose(mixed, orientation.slices_last(mixed))
    np.testing.assert_array_equal(orientation.transpose_back(back, orientation.slices_last(mixed)).array, mixed.array)
    np.testing.assert_array_equal(back.array, scan.array)
    np.testing.assert_array_equal(back.affine, scan.affine)
    assert back.spacing_mm == scan.spacing_mm


@pytest.mark.parametrize("turn", [np.eye(3), rotation(90, 0, 0), rotation(0, 90, 0), rotation(30, 50, -70)])
def test_slices_are_stacked_along_the_longest_voxels_however_the_scan_lies(turn):
    for spacing_mm, expected in {(1.5, 1.6, 8.0): (0, 1, 2), (8.0, 1.5, 1.6): (1, 2, 0), (1.5, 8.0, 1.6): (0, 2, 1)}.items():
        assert orientation.slices_last(placed(np.zeros((4, 5, 6)), spacing_mm, turn)) == expected


def test_half_as_long_again_makes_a_slice():
    coronal = np.eye(3)[:, [0, 2, 1]]  # the third axis points front-back
    assert orientation.slices_last(placed(np.zeros((4, 5, 6)), (1.0, 1.0, 1.5), coronal)) == (0, 1, 2)
    assert orientation.slices_last(placed(np.zeros((4, 5, 6)), (1.0, 1.0, 1.4), coronal)) == (0, 2, 1)


@pytest.mark.parametrize("single", [0, 1, 2])
@pytest.mark.parametrize("turn", [np.eye(3), rotation(90, 0, 0), rotation(0, 90, 0)])
def test_one_thin_slice_lies_across_its_single_voxel(single, turn):
    shape = [5, 6, 7]
    shape[single] = 1
    thin = placed(np.zeros(shape), (1.2, 1.3, 1.1), turn)
    assert orientation.slices_last(thin)[2] == single
    thick = placed(np.zeros((1, 6, 7)), (1.2, 1.3, 8.0), turn)  # one row of a stack
    assert orientation.slices_last(thick) == (0, 1, 2)


@pytest.mark.parametrize("axes", EVERY_ORDER)
@pytest.mark.parametrize("channels", [(), (2,)])
def test_transpose_keeps_every_voxel_where_it_is(axes, channels):
    scan = placed(noise((5, 6, 4, *channels)), (1.2, 1.5, 9.0))
    found = orientation.transpose(scan, axes)
    last = (3,) if channels else ()
    np.testing.assert_array_equal(found.array, scan.array.transpose(*axes, *last))
    np.testing.assert_allclose(positions_mm(found), positions_mm(scan).transpose(*axes, 3), atol=1e-9)
    assert found.spacing_mm == tuple(np.array(scan.spacing_mm)[list(axes)])
    np.testing.assert_allclose(np.linalg.norm(found.affine[:3, :3], axis=0), found.spacing_mm)
    back = orientation.transpose(found, inverse(axes))
    np.testing.assert_array_equal(back.array, scan.array)
    np.testing.assert_array_equal(back.affine, scan.affine)
    assert back.spacing_mm == scan.spacing_mm


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_a_stack_of_slices_faces_ras_and_comes_back(axes, flips):
    plain = from_array(np.arange(60).reshape(3, 4, 5), (2, 2, 8))
    stored = orientation.transpose(plain, axes)
    for axis in flips:
        stored = orientation.flip(stored, axis)
    turned, order, reversed_axes = orientation.facing_ras(stored)
    np.testing.assert_array_equal(turned.array, plain.array)
    np.testing.assert_allclose(turned.affine, plain.affine)
    np.testing.assert_array_equal(np.flip(stored.array.transpose(order), reversed_axes), plain.array)
    np.testing.assert_array_equal(np.flip(plain.array, reversed_axes).transpose(order), stored.array)


def test_a_label_map_comes_back_in_the_order_of_its_scan():
    """The slices of the scan are its first axis; `segment` sees them last, and what it marks is where it marked it."""
    scan = placed(noise((3, 5, 6, 2)), (8.0, 1.5, 1.6))
    seen = []

    def segment(ordered):
        seen.append(ordered)
        return (ordered.array > 150).astype(np.uint8)

    labels = orientation.with_slices_last(scan, segment)
    assert seen[0].array.shape == (5, 6, 3, 2) and seen[0].spacing_mm == (1.5, 1.6, 8.0)
    np.testing.assert_array_equal(labels.array, scan.array > 150)
    np.testing.assert_array_equal(labels.affine, scan.affine)
    assert labels.spacing_mm == scan.spacing_mm


# Two images meet ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", EVERY_ORDER)
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_mirrored_and_permuted_axes_are_brought_onto_those_of_the_scan(axes, flips):
    scan = placed(noise((5, 6, 4)), (1.2, 1.5, 9.0))
    turned = orientation.transpose(scan, axes)
    for axis in flips:
        turned = orientation.flip(turned, axis)
    np.testing.assert_allclose(np.sort(positions_mm(turned).reshape(-1, 3), axis=0),
                               np.sort(positions_mm(scan).reshape(-1, 3), axis=0))  # fmt: skip
    found = orientation.matched(scan, turned, NAMES)
    np.testing.assert_array_equal(found.array, scan.array)
    np.testing.assert_array_equal(found.affine, scan.affine)


def test_equal_sides_are_turned_too():
    """Shapes cannot tell: a square image whose x and y are exchanged once scored as another heart."""
    scan = from_array(noise((6, 6, 3)), (1.5, 1.5, 8.0))
    found = orientation.matched(scan, orientation.transpose(scan, (1, 0, 2)), NAMES)
    np.testing.assert_array_equal(found.array, scan.array)


@pytest.mark.parametrize(("off_voxels", "held"), [(0.45, True), (-0.45, True), (0.55, False), (-3.0, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_a_voxel_is_the_limit_and_both_places_are_named(axis, off_voxels, held):
    scan = placed(noise((5, 6, 4)), (1.2, 1.5, 9.0))
    affine = scan.affine.copy()
    affine[:3, 3] += off_voxels * affine[:3, axis]
    other = Volume(scan.array, scan.spacing_mm, affine)
    if held:
        np.testing.assert_array_equal(orientation.matched(scan, other, NAMES).array, scan.array)
        return
    places = [", ".join(f"{mm:.1f}" for mm in each[:3, 3]) for each in (affine, scan.affine)]
    with pytest.raises(InputError) as refused:
        orientation.matched(scan, other, NAMES)
    assert str(refused.value).startswith(
        f"label: lies elsewhere than scan: voxel (0, 0, 0) at ({places[0]}) mm, expected ({places[1]})"
    )


def test_a_label_turned_about_the_middle_is_refused():
    """4 degrees move a corner 48 voxels from the middle by 3.3 voxels, 0.4 degrees by 0.34."""
    scan = placed(np.zeros((97, 97, 3)), (1.5, 1.5, 8.0), np.eye(3))
    middle = scan.affine @ [48, 48, 1, 1]
    for angle, held in ((0.4, True), (4, False)):
        affine = scan.affine.copy()
        affine[:3, :3] = rotation(0, 0, angle) @ affine[:3, :3]
        affine[:3, 3] += (middle - affine @ [48, 48, 1, 1])[:3]
        turned = Volume(scan.array, scan.spacing_mm, affine)
        if held:
            orientation.matched(scan, turned, NAMES)
        else:
            with pytest.raises(InputError, match="lies elsewhere"):
                orientation.matched(scan, turned, NAMES)


def test_rounded_voxel_sizes_and_axes_off_orthogonal_are_no_other_place():
    scan = placed(np.zeros((256, 256, 10)), (1.5625, 1.5625, 8.0))
    affine = scan.affine.copy()
    affine[:3, :3] = affine[:3, :3] / 1.5625 * 1.57  # half a percent
    centre = (np.array(scan.array.shape) - 1) / 2
    affine[:3, 3] += scan.affine[:3, :3] @ centre - affine[:3, :3] @ centre
    orientation.matched(scan, Volume(scan.array, (1.57, 1.57, 8.0), affine), NAMES)
    sheared = scan.affine.copy()
    sheared[0, 1] += 1e-4
    orientation.matched(scan, Volume(scan.array, scan.spacing_mm, sheared), NAMES)


def test_other_shapes_and_voxel_sizes_are_refused():
    scan = from_array(np.zeros((4, 5, 6)), (1.5, 1.5, 8.0))
    cine = from_array(np.zeros((4, 5, 6, 2)), (1.5, 1.5, 8.0))
    assert orientation.matched(scan, cine, ("scan", "cine")).array.shape == (4, 5, 6, 2)
    orientation.matched(scan, from_array(scan.array, (1.505, 1.5, 8.05)), NAMES)
    with pytest.raises(InputError, match=r"^label: shape \(4, 5, 7\).*\(4, 5, 6\) of scan$"):
        orientation.matched(scan, from_array(np.zeros((4, 5, 7)), (1.5, 1.5, 8.0)), NAMES)
    with pytest.raises(InputError, match="^label: voxel size 1.5 x 1.5 x 10 mm .* 1.5 x 1.5 x 8 mm of scan$"):
        orientation.matched(scan, from_array(scan.array, (1.5, 1.5, 10.0)), NAMES)


UNIT = np.diag([-1.0, -1.0, 1.0, 1.0])
NO_CODES = Source((4, 5, 6), nibabel.Nifti1Header())


@pytest.mark.parametrize(
    "other", [Volume(np.zeros((4, 5, 6)), (1.5, 1.5, 8.0), UNIT),
              Volume(np.zeros((4, 5, 6)), (1.5, 1.5, 8.0), UNIT + np.eye(4, k=3) * 50),
              Volume(np.zeros((4, 5, 6)), (1.5, 1.5, 8.0), np.diag([-1.5, 1.5, 8, 1]), source=NO_CODES)]
)  # fmt: skip
def test_a_file_without_position_has_no_opinion(other):
    """A unit affine, with or without an offset, or no form codes: voxels in stored order, with one warning."""
    scan = placed(noise((4, 5, 6)), (1.5, 1.5, 8.0))
    marked = other.with_array(np.arange(120).reshape(4, 5, 6))
    for pair in ((scan, marked), (marked, scan)):
        with pytest.warns(UserWarning, match="states no position"):
            found = orientation.matched(*pair, NAMES)
        np.testing.assert_array_equal(found.array, pair[1].array)
    with pytest.raises(InputError, match="voxel size"):
        orientation.matched(scan, replace(other, spacing_mm=(1.5, 1.5, 9.0)), NAMES)


def test_the_same_quirk_on_both_sides_needs_no_warning():
    scan = Volume(noise((4, 5, 6)), (1.5, 1.5, 8.0), UNIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(orientation.matched(scan, scan, NAMES).array, scan.array)


def test_the_header_s_voxel_size_counts_where_the_affine_has_another():
    """The affine's scale is wrong by 3; measured by it, a label with the right one would lie elsewhere."""
    scan = placed(noise((40, 40, 4)), (1.5, 1.5, 8.0), np.eye(3), origin_mm=(0, 0, 0))
    wrong = scan.affine @ np.diag([3, 3, 3, 1])
    np.testing.assert_array_equal(orientation.matched(scan, Volume(scan.array, scan.spacing_mm, wrong), NAMES).array, scan.array)
