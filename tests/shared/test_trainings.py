"""Many trainings on Ray: those that die go on elsewhere, those that fail are said, and Ctrl-C leaves them resumable."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared import cluster, trainings
from shared.errors import InputError
from shared.trainings import Training
from tests.shared.test_cluster import pytestmark  # noqa: F401  needs Ray too

PAPER = '''
import os, signal, sys, time
from pathlib import Path

def main(arguments):
    """A training of 20 steps that keeps its place in a file, as real ones do."""
    name, *orders = arguments
    place = Path(f"{name}.step")
    step = int(place.read_text()) if place.exists() else 0
    print(f"{name}: going on from step {step}")
    if "fail" in orders:
        sys.exit(2)
    try:
        for step in range(step + 1, 21):
            place.write_text(str(step))
            print(f"step {step}/20")
            if "die" in orders and step == 10 and not Path(f"{name}.died").exists():
                Path(f"{name}.died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.5 if "slowly" in orders else 0.01)
    except KeyboardInterrupt:
        place.with_suffix(".stopped").touch()
        raise
'''


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """A package whose training command is made up, and an empty working folder."""
    (tmp_path / "code" / "madeup").mkdir(parents=True)
    (tmp_path / "code" / "madeup" / "train.py").write_text(PAPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def training(name, *orders):
    return Training("madeup", (name, *orders), f"run {name}")


def test_a_training_that_dies_goes_on_elsewhere_and_one_that_fails_is_said(paper, monkeypatch, capsys):
    monkeypatch.setattr(trainings, "EVERY_S", 0.2)
    with pytest.raises(InputError, match="1 of 3 runs failed; run c ended with status 2: c: going on from step 0"):
        trainings.train_all("local", 1, [training("a", "die"), training("b"), training("c", "fail")], paper / "logs")
    assert (paper / "a.step").read_text() == (paper / "b.step").read_text() == "20"
    log = (paper / "logs" / "run-a.log").read_text()
    assert "going on from step 0" in log and "going on from step 10" in log and log.count("step 10/20") == 1
    printed = capsys.readouterr().out
    assert "3 runs on Ray" in printed and "run a: done" in printed and "run c: ended with status 2" in printed


def test_a_training_whose_process_dies_again_and_again_costs_the_others_nothing(paper, monkeypatch, capsys):
    monkeypatch.setattr(trainings, "EVERY_S", 0.2)
    result = cluster.result

    def dying(ray, reference):
        if "c" not in gone:
            gone.append("c")
            raise InputError("its process died 6 times")
        return result(ray, reference)

    gone = []
    monkeypatch.setattr(cluster, "result", dying)
    with pytest.raises(InputError, match=r"1 of 2 runs failed; run \w its process died 6 times: "):
        trainings.train_all("local", 1, [training("a"), training("b")], paper / "logs")
    assert (paper / "a.step").read_text() == (paper / "b.step").read_text() == "20"
    printed = capsys.readouterr().out
    assert printed.count(": done") == 1 and printed.count("its process died 6 times\n") == 1


def test_ctrl_c_stops_every_training_at_its_checkpoint(paper):
    code = (
        "from pathlib import Path\nfrom shared import trainings\nfrom shared.trainings import Training\n"
        "trainings.EVERY_S = 0.2\n"
        "runs = [Training('madeup', (name, 'slowly'), name) for name in 'ab']\n"
        "try:\n    trainings.train_all('local', 1, runs, Path('logs'))\n"
        "except KeyboardInterrupt as stopped:\n    print('stopped:', *stopped.args)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(cluster.ROOT), os.environ["PYTHONPATH"]])}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=environment, start_new_session=True)  # fmt: skip
    places = [paper / "a.step", paper / "b.step"]
    deadline = time.monotonic() + 60
    running = places if (os.cpu_count() or 1) > 1 else places[:1]
    while not all(place.exists() for place in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert "stopped: the same command goes on from the last checkpoints" in printed
    assert all(place.with_suffix(".stopped").exists() and 0 < int(place.read_text()) < 20 for place in running), printed


def kill_at(log, word):
    """Kill the worker process that wrote a word into its log, once."""
    while not log.exists() or word not in log.read_text():
        time.sleep(0.05)
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "cmdline").read_bytes().startswith(b"ray::train"):
                os.kill(int(place.name), signal.SIGKILL)


@pytest.mark.slow
def test_a_real_training_killed_on_ray_ends_with_the_bytes_of_one_that_was_not(phantom_root, tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "EVERY_S", 0.5)
    fields = {"steps": 60, "validate_every": 20, "width": 4, "image_shape": "36,36", "batch_size": 4, "precision": "float32"}
    given = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick"]
    given += [word for field, value in fields.items() for word in ("--set", f"{field}={value}")]
    subprocess.run([sys.executable, "-m", "acdc_segmenter_tf.train", *given, "--workdir", str(tmp_path / "here")], check=True)
    killer = threading.Thread(target=kill_at, args=(tmp_path / "logs" / "run.log", "step 20/60"))
    killer.start()
    on_ray = Training("acdc_segmenter_tf", (*given, "--workdir", str(tmp_path / "ray")), "run")
    trainings.train_all("local", 2, [on_ray], tmp_path / "logs")
    killer.join()
    assert (tmp_path / "logs" / "run.log").read_text().count("step 20/60") > 1  # it was done again, or gone on from
    one, two = (next((tmp_path / place).rglob("fold0")) for place in ("here", "ray"))
    for name in ("best.weights.h5", "history.csv", "cases.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_the_last_line_of_a_log(tmp_path):
    (tmp_path / "log").write_text("one\n  two \n\n")
    assert trainings.last_line(tmp_path / "log") == "two" and trainings.last_line(tmp_path / "none") == ""
