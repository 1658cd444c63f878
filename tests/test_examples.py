"""The notebook runs as it stands, but for a shorter training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_hour.ipynb"
SHORTER = {'"width=8"': '"width=2"', '"steps=600"': '"steps=4"', '"validate_every=100"': '"validate_every=4"'}


def test_the_first_hour(tmp_path):
    pytest.importorskip("skimage")  # of the mesh
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(
        not cell.get("outputs") and cell.get("execution_count") is None for cell in cells
    )  # as JSON, pictures hide in diffs
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Verdict(doubt=" in done.stdout and "RV: Dice" in done.stdout
    assert (tmp_path / "first_hour" / "measures.csv").is_file() and (
        tmp_path / "first_hour" / "heart.png"
    ).stat().st_size > 10_000
