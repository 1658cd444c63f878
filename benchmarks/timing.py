"""Measure seconds, and compare several ways to do the same."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def report(title: str, rivals: Mapping[str, Callable[[], object]], rounds: int) -> None:
    """Time the rivals in turn, round by round after one that does not count; print medians, and ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds + 1):
        for name, run in rivals.items():
            times[name].append(seconds(run))
    first = next(iter(rivals))
    print(title)
    for name, measured in times.items():
        ratio = statistics.median(ours / rival for ours, rival in zip(measured[1:], times[first][1:], strict=True))
        low, middle, high = min(measured[1:]), statistics.median(measured[1:]), max(measured[1:])
        print(f"  {name:<20} {middle:7.2f} s  ({low:.2f} to {high:.2f})  {ratio:.2f}x")
    print(flush=True)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median_of(run: Callable[[], object], rounds: int) -> float:
    """Median seconds of `rounds` runs after one that does not count."""
    return round(statistics.median([seconds(run) for _ in range(rounds + 1)][1:]), 3)


def alone(module: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """The result of a module of ours that measures in a separate process and ends with a line of JSON."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return json.loads(done.stdout.splitlines()[-1])


def peak_gib() -> float:
    """The largest memory of this process so far, in GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux starts the `ru_maxrss` of a child at that of its parent
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes


@contextmanager
def clock(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes."""
    start = time.perf_counter()
    yield
    times.append(time.perf_counter() - start)
