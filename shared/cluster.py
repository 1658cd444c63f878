"""Work on many machines, with Ray (extra `cluster`): what dies with its process or its machine is tried again elsewhere.

Every machine sees the same files under the same names: this checkout, the data and the working folder.
"""

import argparse
import contextlib
import functools
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from shared import cli
from shared.errors import InputError
from shared.lazy import library
from shared.overlap import Outcome

Item = TypeVar("Item")

AUTO = "auto"  # the address for the cluster that this machine is in
LOCAL = "local"  # the address that starts Ray on this machine
RETRIES = 5  # after so many deaths of its process a task is given up
QUEUED = 2  # tasks for each place that are handed to Ray at once
ANSWERS_S = 10.0  # a cluster that does not answer so long is not there
TOLD = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "CARDIAC_DATA", "TF_CPP_MIN_LOG_LEVEL")  # to all workers
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # RFC 9113, 3.4: with empty settings
HTTP2_SETTINGS = b"\x04"  # the type of the frame that comes back, after three bytes of its length
CURRENT = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")  # where Ray notes its address
TOKEN = Path("~/.ray/auth_token").expanduser()  # where Ray keeps what it asks clients for
ROOT = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser, what: str, cores: int) -> None:
    """--ray and --cores.

    Args:
        parser: receives them.
        what: is run at the same time, for --help.
        cores: of a task, by default.
    """
    parser.add_argument(
        "--ray", nargs="?", const=LOCAL, type=address_in, metavar="ADDRESS",
        help=f"{what} at the same time, on this machine, or on the Ray cluster at ADDRESS (auto: the one this machine is in)",
    )  # fmt: skip
    parser.add_argument(
        "--cores", type=functools.partial(cli.within, low=1, high=1024), default=cores, metavar="N",
        help=f"with --ray: cores for each of them, where the cluster has no GPUs (default: {cores})",
    )  # fmt: skip


def address_in(text: str) -> str:
    """The address that --ray names, which an unset variable leaves empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected an address, found nothing")
    return text


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray.

    Attributes:
        ray: the library.
        share: what one task takes, as Ray's options.
        places: how many tasks fit at the same time.
    """

    ray: Any
    share: dict[str, float]
    places: int


@contextlib.contextmanager
def connected(address: str, cores: int) -> Iterator[Cluster]:
    """A connection to Ray within the block.

    Args:
        address: of `--ray`.
        cores: for a task, if the cluster has no GPUs; where no machine has as many, a task takes all of one.

    Raises:
        InputError: Ray is not installed, nothing answers at the address, or the cluster has no place for a task.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks without a GPU leave the variable alone
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys() or TOKEN.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as heads do where there is a token; clients have to be told
    ray = library("ray", "cluster")
    given = {name: os.environ[name] for name in TOLD if name in os.environ}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        knock(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {**given, "PYTHONPATH": path}},
            **({"include_dashboard": False} if address == LOCAL else {}),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there ({cli.one_line(error, 100)})") from error
    try:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
        found = [int(machine.get("CPU", 0)) for machine in machines]
        if not gpus and not any(found):
            raise InputError(f"--ray {address}: no machine of the cluster has a core or a GPU for tasks; wait for its workers")
        if gpus:
            yield Cluster(ray, {"num_gpus": 1}, gpus)
        else:
            cores = min(cores, max(found))
            yield Cluster(ray, {"num_cpus": cores}, sum(each // cores for each in found))
    finally:
        ray.shutdown()


def knock(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT, or not as Ray does (HTTP/2), which would wait for minutes."""
    if address == AUTO and (os.environ.get("RAY_ADDRESS") or CURRENT.exists()):  # Ray would wait for one that has died
        address = os.environ.get("RAY_ADDRESS") or CURRENT.read_text(encoding="utf-8").strip()
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    with socket.create_connection((host, int(port)), timeout=ANSWERS_S) as line:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            line.sendall(HTTP2_GREETING)
            if line.recv(4)[3:] != HTTP2_SETTINGS:
                raise OSError("something else than Ray listens there")


_made: dict[str, Callable[[Any], Any]] = {}  # of a worker process: what it made last, such as a network


class Warned(NamedTuple):
    """A warning, and the place in the code that it came from."""

    message: str
    category: type[Warning]
    filename: str
    lineno: int


def work(key: str, folder: str, make: Callable[[], Callable[[Any], Any]], item: Any) -> tuple[Any, list[Warned]]:
    """In a worker process: `make()(item)` in that working folder, where what `make` gave is kept for the next item; and what was
    warned of."""
    with warnings.catch_warnings(record=True) as warned:
        if key not in _made:
            os.chdir(folder)
            _made.clear()
            _made[key] = make()
        found = _made[key](item)
    return found, [Warned(str(each.message), each.category, each.filename, each.lineno) for each in warned]


def each(
    cluster: Cluster,
    items: Iterable[Item],
    make: Callable[[], Callable[[Item], Any]],
    done: Callable[[Item, Outcome], None],
) -> None:
    """Work on every item, in any order; only a few of them are in the cluster at a time.

    Args:
        cluster: where.
        items: what `make()` takes.
        make: is called once in each worker process, and gives what is called with an item there.
        done: `done(item, outcome)` is called with every item that came to an end; `outcome()` warns as the work did, and gives
            the result, or raises what the work raised, or InputError where its process died again and again.
    """
    ray = cluster.ray
    task = ray.remote(max_retries=RETRIES, **cluster.share)(work)
    key, made = f"{os.getpid()}-{time.time_ns()}", ray.put(make)
    running: dict[Any, Item] = {}

    def collect() -> None:
        (reference, *_), _ = ray.wait(list(running))
        item = running.pop(reference)
        done(item, functools.partial(told, reference))

    def told(reference: Any) -> Any:
        found, warned = result(ray, reference)
        for each in warned:
            warnings.warn_explicit(*each)
        return found

    for item in items:
        while len(running) >= QUEUED * cluster.places:
            collect()
        running[task.remote(key, os.getcwd(), made, item)] = item
    while running:
        collect()


def result(ray: Any, reference: Any) -> Any:
    """What a task gave.

    Raises:
        Exception: what it raised; or InputError where its process died again and again.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise InputError(f"its process died {RETRIES + 1} times ({type(error).__name__}); is there enough memory?") from error
