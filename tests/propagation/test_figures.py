"""The picture of the synthetic motion."""

from propagation import figures
from propagation.beating.anatomy import heart_of
from propagation.beating.infarcts import HEALTHY
from propagation.beating.motion import Motion
from tests.propagation.beating.drawn import SPACING_MM, anatomy


def test_the_sheet_is_a_picture(tmp_path):
    wall, left, _ = anatomy()
    healthy = Motion(heart_of(wall, SPACING_MM), HEALTHY)
    figures.sheet(tmp_path / "a.png", left * 1.0, wall, {"healthy": healthy}, SPACING_MM, 12, columns=2)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
