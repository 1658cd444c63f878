"""Work on Ray: every item comes to one end, whatever dies; trainings go on elsewhere, and Ctrl-C leaves them resumable."""

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from shared import cluster
from shared.cluster import Training
from shared.errors import InputError

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the cluster extra is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
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


def options(*words):
    parser = argparse.ArgumentParser()
    cluster.add_arguments(parser, "work", cores=3)
    return parser.parse_args(words)


def test_arguments():
    assert (options().ray, options().cores) == ("", 3)
    assert (options("--ray").ray, options("--ray", "auto", "--cores", "8").cores) == ("local", 8)
    assert options("--ray", "ray://head:10001").ray == "ray://head:10001"


def test_every_item_comes_to_one_end(tmp_path, monkeypatch):
    """Some work, one is refused, one kills its process once, and one kills every process that tries it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "RETRIES", 2)
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # which decides results, so workers must have it too
    ended = {}

    def make():
        made = Path(f"made-{os.getpid()}")
        made.write_text(made.read_text() + "x" if made.exists() else "x")

        def work(item):
            if item == 0:
                return os.environ.get("KERAS_BACKEND")
            if item == 3:
                raise InputError("not this one")
            died = Path(f"died-{item}-{time.time_ns()}")
            if item == 6 or item == 4 and not list(tmp_path.glob("died-4-*")):
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return item**2

        return work

    def done(item, outcome):
        assert item not in ended
        try:
            ended[item] = outcome()
        except InputError as error:
            ended[item] = str(error)

    with cluster.connected("local", 1) as found:
        assert found.share == {"num_cpus": 1} and found.places == os.cpu_count()
        cluster.each(found, range(9), make, done)
    assert {item: ended[item] for item in (1, 2, 4, 5, 7, 8)} == {item: item**2 for item in (1, 2, 4, 5, 7, 8)}
    assert ended[0] == "jax"
    assert ended[3] == "not this one" and ended[6].startswith("its process died 3 times")
    assert len(list(tmp_path.glob("died-6-*"))) == 3 and len(list(tmp_path.glob("died-4-*"))) == 1
    assert all(made.read_text() == "x" for made in tmp_path.glob("made-*"))  # once in each process


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
    monkeypatch.setattr(cluster, "EVERY_S", 0.2)
    with pytest.raises(InputError, match="1 of 3 runs failed; run c: c: going on from step 0"):
        cluster.train_all("local", 1, [training("a", "die"), training("b"), training("c", "fail")], paper / "logs")
    assert (paper / "a.step").read_text() == (paper / "b.step").read_text() == "20"
    log = (paper / "logs" / "run-a.log").read_text()
    assert "going on from step 0" in log and "going on from step 10" in log and log.count("step 10/20") == 1
    printed = capsys.readouterr().out
    assert "3 runs on Ray" in printed and "run a: done" in printed and "run c: ended with status 2" in printed


def test_ctrl_c_stops_every_training_at_its_checkpoint(paper):
    code = (
        "from pathlib import Path\nfrom shared import cluster\nfrom shared.cluster import Training\n"
        "cluster.EVERY_S = 0.2\n"
        "runs = [Training('madeup', (name, 'slowly'), name) for name in 'ab']\n"
        "try:\n    cluster.train_all('local', 1, runs, Path('logs'))\n"
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
    monkeypatch.setattr(cluster, "EVERY_S", 0.5)
    fields = {"steps": 60, "validate_every": 20, "width": 4, "image_shape": "36,36", "batch_size": 4, "precision": "float32"}
    given = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick"]
    given += [word for field, value in fields.items() for word in ("--set", f"{field}={value}")]
    subprocess.run([sys.executable, "-m", "acdc_segmenter_tf.train", *given, "--workdir", str(tmp_path / "here")], check=True)
    killer = threading.Thread(target=kill_at, args=(tmp_path / "logs" / "run.log", "step 20/60"))
    killer.start()
    on_ray = Training("acdc_segmenter_tf", (*given, "--workdir", str(tmp_path / "ray")), "run")
    cluster.train_all("local", 2, [on_ray], tmp_path / "logs")
    killer.join()
    assert (tmp_path / "logs" / "run.log").read_text().count("step 20/60") > 1  # it was done again, or gone on from
    one, two = (next((tmp_path / place).rglob("fold0")) for place in ("here", "ray"))
    for name in ("best.weights.h5", "history.csv", "cases.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_cluster_without_a_place_is_said(monkeypatch):
    machines = [{"Alive": True, "Resources": {"memory": 1.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]
    ray = types.SimpleNamespace(init=lambda **_: None, nodes=lambda: machines, shutdown=lambda: None)
    monkeypatch.setattr(cluster, "library", lambda *_: ray)
    with pytest.raises(InputError, match="--ray auto: no machine of the cluster has a core or a GPU"):
        with cluster.connected("auto", 1):
            pass


def test_nothing_answers(tmp_path):
    with pytest.raises(InputError, match="--ray 127.0.0.1:1: no Ray cluster answers there"):
        with cluster.connected("127.0.0.1:1", 1):
            pass


def test_the_last_line_of_a_log(tmp_path):
    (tmp_path / "log").write_text("one\n  two \n\n")
    assert cluster.last_line(tmp_path / "log") == "two" and cluster.last_line(tmp_path / "none") == ""
