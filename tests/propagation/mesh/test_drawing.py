"""The picture of a surface: each label in its colour, where it is."""

import numpy as np
import pytest
from PIL import Image

from propagation.mesh.drawing import draw
from propagation.mesh.surfaces import surface
from shared.scans.volume import from_array
from tests.propagation.mesh.shapes import ball


def test_a_picture(tmp_path):
    """A ball whose lower half is label 1 and whose upper half is label 2."""
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    mask = from_array(ball(5.0, (14, 14, 14)))
    halves = mask.with_array(mask.array.astype(np.uint8) * np.where(np.arange(14) < 7, 1, 2).astype(np.uint8))
    draw(surface(mask), halves, tmp_path / "ball.png")
    rgb = np.asarray(Image.open(tmp_path / "ball.png").convert("RGB")).astype(int)
    below, above = ((rgb[..., 0] > rgb[..., 1] + 60), (rgb[..., 1] > rgb[..., 0] + 40))  # orange and green, as `plots.COLOURS`
    ball_rows = slice(0, int(len(rgb) * 0.85))  # without the legend
    rows = [np.nonzero(colour[ball_rows].any(axis=1))[0] for colour in (above, below)]
    assert len(rows[0]) > 50 and len(rows[1]) > 50 and np.median(rows[0]) < np.median(rows[1])
