"""The base, the front and the septum of a label map, and the thickness of its wall by segment."""

import os
from pathlib import Path

import numpy as np
import pytest

from shared import datasets
from shared.datasets import load_labels
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.scoring import short_axis
from shared.scoring.short_axis import SEGMENTS, thickness_mm

STRUCTURES = {1: "RV", 2: "Myo", 3: "LV"}
SIZE = 96
OBLIQUE = np.array(
    [[0.8, 0.0, -0.6], [0.36, 0.8, 0.48], [0.48, -0.6, 0.64]]
)  # columns: x, y and z of the array in RAS; a rotation


def ring(inner_px=14.0, outer_px=20.0, thick=None, thick_px=0.0):
    """A slice: LV with a ring of wall about it, and an RV at low x that touches it. `thick` is a direction (x, y), within 30
    degrees of which the wall is `thick_px` thicker outwards."""
    away = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"), axis=-1) - (SIZE - 1) / 2
    distance = np.linalg.norm(away, axis=-1)
    outer = np.full((SIZE, SIZE), float(outer_px))
    if thick is not None:
        outer[away @ np.array(thick) / np.maximum(distance, 1e-9) > np.cos(np.pi / 6)] += thick_px
    labels = np.where((away[..., 0] < -outer_px + 3) & (np.abs(away[..., 1]) < 12) & (distance < 34), 1, 0)
    labels[distance < outer] = 2
    labels[distance < inner_px] = 3
    return labels.astype(np.uint8)


def heart(*slices, rotation=OBLIQUE, spacing_mm=(1.5, 1.5, 8.0)):
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(spacing_mm)
    affine[:3, 3] = 20
    return Volume(array=np.stack(slices, axis=-1), spacing_mm=spacing_mm, affine=affine)


def tapered(thick=None, thick_px=0.0, **more):
    """Six slices from a wide base to a narrow apex."""
    widths = (20, 19, 18, 15, 14, 12)
    return heart(*(ring(width - 6, width, thick, thick_px) for width in widths), **more)


def by_name(labels):
    return dict(zip(SEGMENTS, thickness_mm(labels, STRUCTURES), strict=True))


def test_sixteen_segments_of_an_even_ring():
    """Circles of 14 and 20 pixels of 1.5 mm: 9 mm, up to the steps of the outlines."""
    found = by_name(tapered())
    assert list(found)[:3] == ["basal_anterior", "basal_anteroseptal", "basal_inferoseptal"] and len(found) == 16
    assert list(found)[12:] == ["apical_anterior", "apical_septal", "apical_inferior", "apical_lateral"]
    np.testing.assert_allclose(list(found.values()), 9, atol=0.5)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (1.0, 1.5), (1.4, 1.4), (2.0, 1.0)])
def test_rings_of_known_thickness(spacing_mm):
    """On average over circles of several radii that lie anywhere between the pixels, the error is below 2 %."""
    rng, ratios = np.random.default_rng(1), []
    for radius_mm in np.linspace(15, 30, 12):
        grid = np.stack(np.meshgrid(*(np.arange(100 / mm) * mm for mm in spacing_mm), indexing="ij"), axis=-1)
        distance = np.linalg.norm(grid - 50 - rng.uniform(-1, 1, 2), axis=-1)
        cavity = distance < radius_mm
        found = short_axis.through((distance < radius_mm + 9) & ~cavity, cavity, np.array(spacing_mm))
        ratios.append(found.mean() / 9)
    assert 0.98 < np.mean(ratios) < 1.02


# The RV lies at low x, so septal is -x. The slices run to the apex and the axes are right-handed: septal x apex = -x x z = +y.
@pytest.mark.parametrize(
    ("thick", "names"),
    [
        ((0, 1), ["basal_anterior", "mid_anterior", "apical_anterior"]),
        ((0, -1), ["basal_inferior", "mid_inferior", "apical_inferior"]),
        ((-np.sqrt(3) / 2, 0.5), ["basal_anteroseptal", "mid_anteroseptal", "apical_septal"]),
        ((-np.sqrt(3) / 2, -0.5), ["basal_inferoseptal", "mid_inferoseptal", "apical_septal"]),
        ((np.sqrt(3) / 2, 0.5), ["basal_anterolateral", "mid_anterolateral", "apical_lateral"]),
        ((np.sqrt(3) / 2, -0.5), ["basal_inferolateral", "mid_inferolateral", "apical_lateral"]),
    ],
)
def test_where_the_wall_is_thick(thick, names):
    found = by_name(tapered(thick, 4.0))
    for ring_of in (SEGMENTS[:6], SEGMENTS[6:12], SEGMENTS[12:]):
        assert max(ring_of, key=found.__getitem__) in names, found
    assert found[names[0]] > 13 and min(found.values()) < 9.5


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_how_the_array_is_stored_does_not_matter(axes):
    """The same heart with axes that run the other way has the same segments; a mirrored one has front and back exchanged."""
    labels = tapered((0, 1), 4.0)
    rotation = OBLIQUE.copy()
    rotation[:, list(axes)] *= -1
    stored = np.flip(labels.array, axes)
    same = heart(*np.moveaxis(stored, 2, 0), rotation=rotation)
    np.testing.assert_allclose(thickness_mm(same, STRUCTURES), thickness_mm(labels, STRUCTURES), atol=1e-6)
    square, again = np.eye(3), np.eye(3)
    again[:, list(axes)] *= -1  # the same where the position is lost
    same = heart(*np.moveaxis(stored, 2, 0), rotation=again)
    other = heart(*np.moveaxis(labels.array, 2, 0), rotation=square)
    np.testing.assert_allclose(thickness_mm(same, STRUCTURES), thickness_mm(other, STRUCTURES), atol=1e-6)
    mirrored = by_name(heart(*np.moveaxis(np.flip(labels.array, 1), 2, 0)))
    assert mirrored["basal_inferior"] > 13 > 10 > mirrored["basal_anterior"]


@pytest.mark.parametrize("apex_last", [True, False])
def test_where_the_position_is_lost_the_array_is_the_picture_seen_from_the_apex(apex_last):
    """Septum on the left (low x), front above (low y), whatever the order of the slices."""
    stack = tapered((0, -1), 4.0).array[:, :, :: 1 if apex_last else -1]
    found = by_name(heart(*np.moveaxis(stack, 2, 0), rotation=np.eye(3)))
    assert found["basal_anterior"] > 13 > 10 > found["basal_inferior"]


def test_what_cannot_be_measured():
    alone = np.where(ring() == 1, 0, ring())
    assert np.isnan(thickness_mm(heart(alone, alone), STRUCTURES)).all()  # no RV: nobody knows where the septum is
    assert np.isnan(thickness_mm(heart(np.zeros_like(alone), np.zeros_like(alone)), STRUCTURES)).all()
    assert np.isnan(thickness_mm(tapered(), {7: "LA"})).all()
    one = thickness_mm(heart(ring()), STRUCTURES)
    assert np.isfinite(one[:6]).all() and np.isnan(one[6:]).all()  # a single slice is basal
    opened = ring()
    opened[SIZE // 2 :, :][opened[SIZE // 2 :, :] == 2] = 0
    found = by_name(heart(opened, opened, opened))
    assert np.isnan(found["basal_anterolateral"]) and np.isfinite(found["basal_anteroseptal"])
    outside = ring()[:, SIZE // 2 - 16 :]  # cut off where the wall begins
    assert np.isfinite(thickness_mm(heart(outside), STRUCTURES)[:6]).any()


@pytest.mark.skipif("CARDIAC_DATA" not in os.environ, reason="needs ACDC")
def test_acdc_has_thick_septa_in_hypertrophic_hearts_alone():
    """The thickest segment at end-diastole, in the first four patients of each diagnosis: 12 mm or more, or less."""
    cases = [case for case in datasets.find("acdc", Path(os.environ["CARDIAC_DATA"]) / "acdc") if case.phase == "ED"]
    for group, thick in (("HCM", True), ("NOR", False)):
        for case in [case for case in cases if case.group == group][:4]:
            labels = orientation.all_slices_last(load_labels(case, ("RV", "Myo", "LV")))[0]
            assert (np.nanmax(thickness_mm(labels, STRUCTURES)) >= 12) == thick, case.name
