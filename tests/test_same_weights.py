"""Restructuring moves no weight: quick presets on the phantom end with the tensors, label maps and tables of an earlier commit.

A change that is meant to alter results replaces BEFORE by the commit after it.
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).parents[1]
BEFORE = "5df48a3"
SIXTY_STEPS = {
    "acdc_segmenter_tf": ("steps=60", "validate_every=30"),
    "dr_unet": ("epochs=5", "localiser_epochs=10"),  # of 12 and 6 steps
    "propagation": ("initialization_steps=60", "propagation_steps=60", "validate_every=30"),
}


def trained(source, package, workdir):
    """The content of the run folder that the code in the folder `source` makes: file -> bytes, and tensor -> bytes."""
    fields = [part for field in ("precision=float32", *SIXTY_STEPS[package]) for part in ("--set", field)]
    command = [sys.executable, "-m", f"{package}.train", "--dataset", "phantom", "--preset", "quick", *fields]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([*command, "--workdir", str(workdir)], check=True, cwd=source, env=environment, stdout=subprocess.DEVNULL)
    (folder,) = (workdir / package).glob("*/phantom/fold0")
    content = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".csv", ".gz"):
            content[name] = path.read_bytes()
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                file.visititems(lambda place, node, name=name: content.update(tensor(f"{name}/{place}", node)))
    return content


def tensor(name, node):
    return {name: node[()].tobytes()} if isinstance(node, h5py.Dataset) else {}


@pytest.mark.slow
@pytest.mark.parametrize("package", SIXTY_STEPS)
def test_runs_end_as_they_did_before(package, tmp_path):
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, check=True, capture_output=True).stdout
    tarfile.open(fileobj=io.BytesIO(archive)).extractall(tmp_path / "before", filter="data")
    before = trained(tmp_path / "before", package, tmp_path / "runs_before")
    now = trained(ROOT, package, tmp_path / "runs_now")
    assert any(".h5/" in name for name in before)
    assert {name: now.get(name) for name in before} == before
