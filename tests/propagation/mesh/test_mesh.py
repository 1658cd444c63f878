"""The example of the package."""

import textwrap

import numpy as np
import pytest

from propagation import mesh
from shared.scans import volume
from shared.scans.volume import from_array


def test_the_example_of_the_docstring(tmp_path, monkeypatch):
    for name in ("skimage", "meshio", "pytetwild"):
        pytest.importorskip(name, reason="the extra [mesh] is not installed")
    monkeypatch.chdir(tmp_path)
    volume.write(from_array(np.ones((20, 20, 20), np.uint8)), tmp_path / "seg.nii.gz")
    example = mesh.__doc__.partition("\n\n")[2].partition("\n\nThe command")[0]
    exec(textwrap.dedent(example))
    assert (tmp_path / "heart.vtu").stat().st_size > 0
