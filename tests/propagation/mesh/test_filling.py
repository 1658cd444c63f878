"""Tetrahedra that fill a surface."""

import numpy as np
import pytest

from propagation.mesh import quality
from propagation.mesh.filling import tetrahedra
from propagation.mesh.solid import boundary, enclosed_ml
from shared.errors import InputError
from tests.propagation.mesh.shapes import CORNER, tetrahedron_surface


def test_tetrahedra_fill_the_surface(two_halves):
    _, solid, tets = two_halves
    found = quality.tetrahedra_quality(tets, solid)
    assert found.inverted == 0 and found.boundary_manifold
    assert found.volume_ratio == pytest.approx(1, abs=0.01)
    assert 0.05 < found.worst < found.mean and 0.6 < found.mean <= 1 and found.min_dihedral_deg > 3
    outside = boundary(tets)
    assert enclosed_ml(outside) == pytest.approx(found.volume_ml)  # its triangles look outwards
    assert np.all(np.linalg.norm(outside.points_mm - 7.5, axis=1) > 5)


def test_regions_are_the_labels_at_their_place(two_halves):
    labels, solid, tets = two_halves
    found = quality.tetrahedra_quality(tets, solid).regions_ml
    assert set(found) == {2, 5} and sum(found.values()) == pytest.approx(enclosed_ml(solid), rel=0.01)
    middles_mm = tets.points_mm[tets.cells].mean(axis=1)
    assert middles_mm[tets.regions == 2, 0].max() < 7.6 and middles_mm[tets.regions == 5, 0].min() > 7.4


def test_edge_length(two_halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, solid, tets = two_halves
    finer = tetrahedra(solid, edge_mm=1.2, epsilon_mm=0.1)
    assert len(finer.cells) > 1.2 * len(tets.cells) and set(finer.regions) == {1}
    assert not list(tmp_path.iterdir())  # the library's own files are gone


@pytest.mark.parametrize("options", [{"edge_mm": 0}, {"epsilon_mm": -1.0}, {"edge_mm": 1e4}, {"epsilon_mm": float("nan")}])
def test_sizes_that_cannot_be(options):
    with pytest.raises(InputError, match=f"{next(iter(options))[:4]}.* mm: expected more than 0"):
        tetrahedra(tetrahedron_surface(10 * CORNER), **options)
