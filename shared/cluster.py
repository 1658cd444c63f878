"""Work on many machines, with Ray (extra `cluster`): what dies with its process or its machine is tried again elsewhere.

Every machine sees the same files under the same names: this checkout, the data and the working folder.
"""

import argparse
import collections
import contextlib
import functools
import importlib
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared import cli
from shared.errors import InputError
from shared.lazy import library
from shared.overlap import Outcome

Item = TypeVar("Item")

LOCAL = "local"  # the address that starts Ray on this machine
RETRIES = 5  # after so many deaths of its process a task is given up
QUEUED = 2  # tasks for each place that are handed to Ray at once
ANSWERS_S = 10.0  # a cluster that does not answer so long is not there
TOLD = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "CARDIAC_DATA", "TF_CPP_MIN_LOG_LEVEL")  # to all workers
EVERY_S = 15.0  # between two views of running trainings
ENDING_S = 120.0  # after Ctrl-C, for the trainings' checkpoints
ROOT = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser, what: str, cores: int) -> None:
    """--ray and --cores.

    Args:
        parser: receives them.
        what: is run at the same time, for --help.
        cores: of a task, by default.
    """
    parser.add_argument(
        "--ray", nargs="?", const=LOCAL, default="", metavar="ADDRESS",
        help=f"{what} at the same time, on this machine, or on the Ray cluster at ADDRESS (auto: the one this machine is in)",
    )  # fmt: skip
    parser.add_argument(
        "--cores", type=functools.partial(cli.within, low=1, high=1024), default=cores, metavar="N",
        help=f"with --ray: cores for each of them, where the cluster has no GPUs (default: {cores})",
    )  # fmt: skip


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
    ray = library("ray", "cluster")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks without a GPU leave the variable alone
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
    """Raise OSError if nobody listens at HOST:PORT, which Ray would wait for, for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=ANSWERS_S).close()


# Many small items -----------------------------------------------------------------------------------------------------------

_made: dict[str, Callable[[Any], Any]] = {}  # of a worker process: what it made last, such as a network


def work(key: str, folder: str, make: Callable[[], Callable[[Any], Any]], item: Any) -> Any:
    """In a worker process: `make()(item)` in that working folder, where what `make` gave is kept for the next item."""
    if key not in _made:
        os.chdir(folder)
        _made.clear()
        _made[key] = make()
    return _made[key](item)


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
        done: `done(item, outcome)` is called with every item that came to an end; `outcome()` gives the result, or raises what
            the work raised, or InputError where its process died again and again.
    """
    ray = cluster.ray
    task = ray.remote(max_retries=RETRIES, **cluster.share)(work)
    key, made = f"{os.getpid()}-{time.time_ns()}", ray.put(make)
    running: dict[Any, Item] = {}

    def collect() -> None:
        (reference, *_), _ = ray.wait(list(running))
        item = running.pop(reference)
        done(item, functools.partial(result, ray, reference))

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


# Trainings ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """A training command: the package of its paper, its arguments, and a name for it."""

    package: str
    arguments: tuple[str, ...]
    name: str

    @property
    def command(self) -> str:
        """As it is typed."""
        return f"python -m {self.package}.train {shlex.join(self.arguments)}"


def train_missing(trainings: Mapping[Training, Callable[[list[str]], None]], options: argparse.Namespace) -> None:
    """Run training commands one after the other, or with --ray at the same time.

    Args:
        trainings: what to run -> the command itself, which takes its arguments.
        options: with those of `add_arguments`, and --workdir.
    """
    if options.ray and trainings:
        train_all(options.ray, options.cores, list(trainings), options.workdir / "logs")
        return
    for training, main in trainings.items():
        print(f"\n{training.command}", flush=True)
        main(list(training.arguments))


def train(training: Training, folder: str, log: Path) -> int:
    """In a worker process: run a training command in that working folder; its lines go to the file `log`. Its exit status."""
    os.chdir(folder)
    with open(log, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as lines:
        with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines):
            try:
                importlib.import_module(f"{training.package}.train").main(list(training.arguments))
            except SystemExit as ended:  # which Ray takes for the death of the process
                return ended.code if isinstance(ended.code, int) else 2
    return 0


def train_all(address: str, cores: int, trainings: Sequence[Training], logs: Path) -> None:
    """Run training commands at the same time, and print where they are.

    A command that dies with its process or machine is started again elsewhere, and goes on from its checkpoint.

    Args:
        address, cores: see `connected`.
        trainings: what to run.
        logs: folder for a file each with what they print.

    Raises:
        InputError: some of them failed; the message has the last line of the first.
        KeyboardInterrupt: Ctrl-C, after every training wrote its checkpoint.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with connected(address, cores) as cluster:
        ray = cluster.ray
        task = ray.remote(max_retries=RETRIES, max_calls=1, **cluster.share)(train)  # each in a process of its own
        print(f"{len(trainings)} runs on Ray, {cluster.places} at a time; what they print goes to {logs}", flush=True)
        files = {training: (logs / f"{training.name.replace(' ', '-')}.log").resolve() for training in trainings}
        for file in files.values():
            file.write_text("")
        running = {task.remote(training, os.getcwd(), file): training for training, file in files.items()}
        failed: list[Training] = []
        try:
            while running:
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=EVERY_S)
                for reference in ended:
                    training = running.pop(reference)
                    status = result(ray, reference)
                    failed += [training] if status else []
                    print(f"{training.name}: {'ended with status ' + str(status) if status else 'done'}", flush=True)
                for training in running.values():
                    print(f"  {training.name}: {last_line(files[training]) or 'waits'}", flush=True)
        except KeyboardInterrupt:
            for reference in running:
                ray.cancel(reference)  # as Ctrl-C there
            ray.wait(list(running), num_returns=len(running), timeout=ENDING_S)
            raise KeyboardInterrupt("the same command goes on from the last checkpoints") from None
    if failed:
        said = last_line(files[failed[0]])
        raise InputError(f"{len(failed)} of {len(trainings)} runs failed; {failed[0].name}: {said}")


def last_line(file: Path) -> str:
    """The last line that is not empty, in short."""
    with contextlib.suppress(OSError):
        with open(file, encoding="utf-8", errors="replace") as lines:
            found = collections.deque((line.strip() for line in lines if line.strip()), maxlen=1)
            return cli.one_line(found[0], 160) if found else ""
    return ""
