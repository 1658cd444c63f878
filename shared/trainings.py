"""Many training commands, one after the other or at the same time on Ray (`shared.cluster`).

A command whose process or machine dies is started again elsewhere, and goes on from its checkpoint.
"""

import argparse
import collections
import contextlib
import importlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import cli, cluster
from shared.errors import InputError

EVERY_S = 15.0  # between two views of what runs
ENDING_S = 120.0  # after Ctrl-C, for the checkpoints


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
        options: with those of `cluster.add_arguments`, and --workdir.
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
        address, cores: see `cluster.connected`.
        trainings: what to run.
        logs: folder for a file each with what they print.

    Raises:
        InputError: some of them failed; the message has the last line of the first.
        KeyboardInterrupt: Ctrl-C, after every training wrote its checkpoint.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with cluster.connected(address, cores) as found:
        ray = found.ray
        task = ray.remote(max_retries=cluster.RETRIES, max_calls=1, **found.share)(train)  # each in a process of its own
        print(f"{len(trainings)} runs on Ray, {found.places} at a time; what they print goes to {logs}", flush=True)
        files = {training: (logs / f"{training.name.replace(' ', '-')}.log").resolve() for training in trainings}
        for file in files.values():
            with open(file, "a", encoding="utf-8") as lines:
                lines.write("waits\n")
        running = {task.remote(training, os.getcwd(), file): training for training, file in files.items()}
        failed: dict[Training, str] = {}
        try:
            while running:
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=EVERY_S)
                for reference in ended:
                    training = running.pop(reference)
                    trouble = trouble_of(ray, reference)
                    if trouble:
                        failed[training] = trouble
                    print(f"{training.name}: {trouble or 'done'}", flush=True)
                for training in running.values():
                    print(f"  {training.name}: {last_line(files[training])}", flush=True)
        except KeyboardInterrupt:
            for reference in running:
                ray.cancel(reference)  # as Ctrl-C there
            ray.wait(list(running), num_returns=len(running), timeout=ENDING_S)
            raise KeyboardInterrupt("the same command goes on from the last checkpoints") from None
    if failed:
        first, trouble = next(iter(failed.items()))
        raise InputError(f"{len(failed)} of {len(trainings)} runs failed; {first.name} {trouble}: {last_line(files[first])}")


def trouble_of(ray: Any, reference: Any) -> str:
    """What went wrong with a training command that ended; "" where nothing did."""
    try:
        status = cluster.result(ray, reference)
    except InputError as error:  # its process died too often
        return str(error)
    return f"ended with status {status}" if status else ""


def last_line(file: Path) -> str:
    """The last line that is not empty, in short."""
    with contextlib.suppress(OSError):
        with open(file, encoding="utf-8", errors="replace") as lines:
            found = collections.deque((line.strip() for line in lines if line.strip()), maxlen=1)
            return cli.one_line(found[0], 160) if found else ""
    return ""
