"""Work on Ray: every item comes to one end, whatever dies; and what is no cluster is said."""

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import pytest

from shared import cluster
from shared.errors import InputError

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the cluster extra is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def options(*words):
    parser = argparse.ArgumentParser()
    cluster.add_arguments(parser, "work", cores=3)
    return parser.parse_args(words)


def test_arguments():
    assert (options().ray, options().cores) == (None, 3)
    assert (options("--ray").ray, options("--ray", "auto", "--cores", "8").cores) == ("local", 8)
    assert options("--ray", "ray://head:10001").ray == "ray://head:10001"
    with pytest.raises(SystemExit):  # of an unset variable
        options("--ray", "")


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
            if item in (1, 2):
                warnings.warn("looks odd", stacklevel=1)
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
        with pytest.warns(UserWarning, match="looks odd") as warned:
            cluster.each(found, range(9), make, done)
    assert len([each for each in warned if each.category is UserWarning]) == 2 and warned[0].filename == __file__
    assert {item: ended[item] for item in (1, 2, 4, 5, 7, 8)} == {item: item**2 for item in (1, 2, 4, 5, 7, 8)}
    assert ended[0] == "jax"
    assert ended[3] == "not this one" and ended[6].startswith("its process died 3 times")
    assert len(list(tmp_path.glob("died-6-*"))) == 3 and len(list(tmp_path.glob("died-4-*"))) == 1
    assert all(made.read_text() == "x" for made in tmp_path.glob("made-*"))  # once in each process


def test_a_cluster_without_a_place_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "CURRENT", tmp_path / "none")
    machines = [{"Alive": True, "Resources": {"memory": 1.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]
    ray = types.SimpleNamespace(init=lambda **_: None, nodes=lambda: machines, shutdown=lambda: None)
    monkeypatch.setattr(cluster, "library", lambda *_: ray)
    with pytest.raises(InputError, match="--ray auto: no machine of the cluster has a core or a GPU"):
        with cluster.connected("auto", 1):
            pass


def test_what_is_not_ray_is_said_at_once():
    """A server that waits for a whole line before it says anything, as web servers do."""

    def serve():
        line, _ = server.accept()
        with line:
            line.recv(1000)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=f"--ray {address}: no Ray cluster answers there .something else than Ray"):
            with cluster.connected(address, 1):
                pass


def test_a_cluster_that_has_died_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "current").write_text("127.0.0.1:1")
    monkeypatch.setattr(cluster, "CURRENT", tmp_path / "current")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match="--ray auto: no Ray cluster answers there .* refused"):
        with cluster.connected("auto", 1):
            pass


def test_a_cluster_by_its_address_with_its_token(tmp_path):
    """A head of Ray of its own home, which has a token; a client with that token is let in, and does some work."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_TOKEN": "t" * 64}
    head = [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--port", str(port), "--num-cpus", "1",
            "--include-dashboard", "false", "--disable-usage-stats"]  # fmt: skip
    client = "import sys; from shared import cluster\nwith cluster.connected(sys.argv[1], 1) as found: print(found.places)"
    with open(tmp_path / "head.log", "w") as log, subprocess.Popen(head, env=environment, stdout=log, stderr=log) as running:
        try:
            until(lambda: "Ray runtime started" in (tmp_path / "head.log").read_text())
            command = [sys.executable, "-c", client, f"127.0.0.1:{port}"]
            found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        finally:
            running.terminate()
    assert found.stdout.strip() == "1"


def until(true):
    """Wait at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_nothing_answers(tmp_path):
    with pytest.raises(InputError, match="--ray 127.0.0.1:1: no Ray cluster answers there"):
        with cluster.connected("127.0.0.1:1", 1):
            pass
