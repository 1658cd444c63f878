"""Every command as a user starts it: no framework for --help and wrong arguments, no traceback for Ctrl-C and closed pipes."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("shared", "benchmarks", *sorted(path.parent.name for path in ROOT.glob("*/recipe.py")))
FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES = [  # everything with a command line of its own
    ".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in FILES if "\ndef main(" in (ROOT / path).read_text()
]  # fmt: skip
COMMANDS = {module: [sys.executable, "-m", module] for module in MODULES}
for script in ("compare_methods", "reproduce_table"):
    COMMANDS[script] = [sys.executable, f"scripts/{script}.py"]
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
    ("dr_unet.predict", ["--weights", "absent", "absent.nii.gz", "-o", "x.nii.gz"], "absent.nii.gz: no such file"),
    ("shared.evaluation", ["absent", "absent", "--structures", "acdc"], "absent: no such folder"),
    ("propagation.released", ["check", "absent.h5"], "absent.h5: no such file"),
    ("reproduce_table", ["vesal2020", "7"], "no table 7"),
    ("compare_methods", ["--dataset", "lasc", "--data-root", "absent"], "absent: no such folder"),
])  # fmt: skip
def test_wrong_input_that_needs_no_network_needs_no_framework(command, arguments, words, reporting):
    ended = run(command, *arguments, env=reporting)
    assert ended.returncode == 2 and words in ended.stderr and ended.stderr.splitlines()[1:] == ["imported"]


@pytest.mark.parametrize(
    ("command", "arguments"), [("reproduce_table", ["baumgartner2017", 1]), ("compare_methods", ["--dataset", "acdc"])]
)
def test_a_report_needs_no_framework(command, arguments, reporting, tmp_path):
    ended = run(command, *arguments, "--report-only", "--workdir", tmp_path, env=reporting)
    assert (ended.returncode, ended.stderr) == (0, "imported\n") and "not run" in ended.stdout


# Ctrl-C and closed pipes ----------------------------------------------------------------------------------------------------


def stopped(command, *arguments, after_s, number=signal.SIGINT, cwd=ROOT):
    """Status and stderr of a command that gets a signal `after_s` seconds after its own code has begun."""
    reading, writing = os.pipe()
    code = f"import os, runpy, sys; os.write({writing}, b'x'); sys.argv[0] = '-m'; sys.orig_argv = ['', '-m', {command!r}]"
    code += f"; runpy.run_module({command!r}, run_name='__main__', alter_sys=True)"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=cwd, env=environment(), text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[writing],
                               preexec_fn=in_the_foreground)  # fmt: skip
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    time.sleep(after_s)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    return process.returncode, text


SLOWLY = [pytest.param(after_s, marks=pytest.mark.slow) for after_s in (0.1, 0.2, 0.8, 1.6, 2.5, 4)]


@pytest.mark.parametrize("after_s", [0.05, 0.4, 1.2, 2, 3, 5, *SLOWLY])
def test_ctrl_c_at_any_moment_is_one_line(after_s, tmp_path):
    arguments = ["--dataset", "phantom", "--preset", "quick", "--workdir", tmp_path / "runs"]
    status, text = stopped("acdc_segmenter_tf.train", *arguments, after_s=after_s)
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    assert (status, lines) == (130, ["stopped"])


def in_the_foreground():
    """In a new process: Ctrl-C counts, though the tests may run in the background of a script, where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_a_terminal():
    in_the_foreground()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def typed_ctrl_c(command, after_s, words="step "):
    """Status and all output of a command in a terminal of its own, in which Ctrl-C is typed `after_s` seconds after it has
    printed `words`."""
    terminal, side = pty.openpty()
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=side, stdout=side, stderr=side, start_new_session=True,
                               preexec_fn=in_a_terminal)  # fmt: skip
    os.close(side)
    text, at_s = b"", None
    with contextlib.suppress(OSError):  # as Linux says that the other side is closed
        while piece := os.read(terminal, 4096) if select.select([terminal], [], [], 0.01)[0] else b" ":
            text += piece if piece != b" " else b""
            if at_s is None and words.encode() in text:
                at_s = time.monotonic() + after_s
            if at_s is not None and time.monotonic() >= at_s:
                os.write(terminal, b"\x03")
                at_s = float("inf")
    os.close(terminal)
    return process.wait(60), text.decode()


@pytest.mark.parametrize("tries", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_ctrl_c_in_training_is_one_line_and_the_run_goes_on(tries, phantom_root, tmp_path):
    """Once 4 of 18 tries aborted: the interrupt landed inside TensorFlow's iterator."""
    sizes = ["width=2", "image_shape=36,36", "batch_size=2", "precision=float32", "steps=1000000", "validate_every=20"]
    command = [*COMMANDS["acdc_segmenter_tf.train"], "--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick",
               "--workdir", str(tmp_path), *(part for size in sizes for part in ("--set", size))]  # fmt: skip
    moments, reached = np.random.default_rng(0).uniform(0, 1.5, tries), 0
    for after_s in moments:
        status, text = typed_ctrl_c(command, after_s)
        lines = re.split(r"[\r\n]+", text.strip())
        assert status == 130 and lines[-1].removeprefix("^C") in (
            "stopped; the same command goes on from the last checkpoint",
            "stopped",
        )
        assert "Traceback" not in text and "invalid" not in text and text.count("stopped") == 1
        went_on = re.search(r"going on from step (\d+)", text)
        assert int(went_on[1]) >= reached if went_on else reached == 0
        reached = int(went_on[1]) if went_on else 0
    assert reached > 0


def test_a_command_that_is_terminated_has_no_traceback(tmp_path):
    arguments = ["--dataset", "phantom", "--preset", "quick", "--workdir", tmp_path / "runs"]
    status, text = stopped("acdc_segmenter_tf.train", *arguments, after_s=1, number=signal.SIGTERM)
    assert status == -signal.SIGTERM and "Traceback" not in text


@pytest.mark.parametrize(("command", "arguments", "statuses"), [
    ("dr_unet.train", ["--help"], (0, 141)),  # where Python buffers nothing, argparse passes over it by itself
    ("shared.phantom", ["acdc", "phantom", "--patients", 1], (141,)),
])  # fmt: skip
def test_a_closed_pipe_is_no_error(command, arguments, statuses, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*COMMANDS[command], *map(str, arguments)], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path,
                           env=environment(), text=True)  # fmt: skip
    os.close(writing)
    assert ended.returncode in statuses and ended.stderr == ""


def test_ctrl_c_of_a_notebook_stays_its_own():
    code = "import signal, dr_unet, shared; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment(), preexec_fn=in_the_foreground)


def test_a_command_in_the_background_of_a_script_ignores_ctrl_c_as_it_was_told(tmp_path):
    code = (
        "import signal, sys; sys.argv[0], sys.orig_argv = '-m', ['', '-m', 'shared.phantom']; from shared import startup, cli\n"
    )
    code += "with cli.one_line_errors():\n    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN and startup.is_command()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment(),
                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))  # fmt: skip
