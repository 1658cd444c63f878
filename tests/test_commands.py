"""Every command as a user starts it: --help and wrong arguments without a framework, Ctrl-C and closed pipes without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    "acdc_segmenter_tf.train", "acdc_segmenter_tf.predict", "dr_unet.train", "dr_unet.predict", "dr_unet.figures",
    "propagation.train", "propagation.predict", "propagation.mesh", "propagation.figures", "propagation.released",
    "shared.evaluation", "shared.phantom", "benchmarks.bench", "benchmarks.volumetric",
]  # fmt: skip
COMMANDS = {module: [sys.executable, "-m", module] for module in MODULES}
COMMANDS["reproduce_table"] = [sys.executable, "scripts/reproduce_table.py"]
SLOW_TO_IMPORT = ("tensorflow", "keras", "jax", "torch", "matplotlib", "scipy.stats")
REPORT = f"""
import atexit, sys
atexit.register(lambda: print("imported", *(name for name in {SLOW_TO_IMPORT!r} if name in sys.modules), file=sys.stderr))
"""


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(command, *arguments, **options):
    return subprocess.run([*COMMANDS[command], *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, **options)


@pytest.fixture(scope="module")
def reporting(tmp_path_factory):
    """Environment in which a Python says at its end what it has imported of what is slow to import."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(REPORT)
    return environment(PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_wrong_arguments_need_no_framework(command, reporting):
    ended = run(command, "--help", env=reporting)
    assert (ended.returncode, ended.stderr) == (0, "imported\n") and ended.stdout.startswith("usage: ")
    ended = run(command, "--nonsense", env=reporting)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2 and len(lines) == 2 and lines[0].startswith("error: ") and lines[1] == "imported"


@pytest.mark.parametrize(("command", "arguments", "words"), [
    ("dr_unet.train", ["--dataset", "phantom", "--set", "width=0"], "width: expected"),
    ("acdc_segmenter_tf.train", ["--dataset", "acdc", "--data-root", "absent"], "absent: no such folder"),
    ("propagation.predict", ["--weights", "absent", "-o", "x.nii.gz"], "no scans given"),
    ("shared.evaluation", ["absent", "absent", "--structures", "acdc"], "absent: no such folder"),
    ("propagation.released", ["check", "absent.h5"], "absent.h5: no such file"),
    ("reproduce_table", ["vesal2020", "7"], "no table 7"),
])  # fmt: skip
def test_wrong_input_that_needs_no_network_needs_no_framework(command, arguments, words, reporting):
    ended = run(command, *arguments, env=reporting)
    assert ended.returncode == 2 and words in ended.stderr and ended.stderr.splitlines()[1:] == ["imported"]


def test_a_report_of_a_table_needs_no_framework(reporting, tmp_path):
    ended = run("reproduce_table", "baumgartner2017", 1, "--report-only", "--workdir", tmp_path, env=reporting)
    assert (ended.returncode, ended.stderr) == (0, "imported\n") and "not run" in ended.stdout
