import numpy as np
import pytest

from propagation import mesh
from shared.scans.volume import from_array
from tests.propagation.mesh.shapes import ball


@pytest.fixture(scope="session")
def two_halves():
    """A ball of radius 6 mm whose halves are labels 2 and 5, its surface and its tetrahedra."""
    for name in ("skimage", "pytetwild"):
        pytest.importorskip(name, reason="the extra [mesh] is not installed")
    labels = ball(6.0, (16, 16, 16)) * np.where(np.arange(16) < 8, 2, 5)[:, None, None]
    labels = from_array(labels.astype(np.uint8))
    solid = mesh.surface(labels.with_array(labels.array > 0), step_mm=1.25)
    return labels, solid, mesh.tetrahedra(solid, edge_mm=4.0, epsilon_mm=0.1, labels=labels)
