"""The picture of a surface."""

import pytest

from propagation.mesh.drawing import draw
from propagation.mesh.surfaces import surface
from shared.scans.volume import from_array
from tests.propagation.mesh.shapes import ball


def test_a_picture(tmp_path):
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    draw(surface(from_array(ball(5.0, (14, 14, 14)))), tmp_path / "ball.png")
    assert (tmp_path / "ball.png").read_bytes()[:4] == b"\x89PNG"
