"""Hundreds of damaged inputs of every reader and command: each works, or is refused in one line, and leaves nothing behind.

What fails is named by its number; `python -m tests.fuzz NUMBER` tries it again alone.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.verdict import SUBJECTS, numbers

ROOT = Path(__file__).parents[2]


def faults(chosen, workplace):
    """What is wrong with the answers to the inputs of these numbers, a text each. A process that crashes or hangs is one fault,
    and another process goes on behind the input that it was at."""
    found, chosen = [], list(chosen)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    while chosen:
        command = [sys.executable, "-m", "tests.fuzz", "--json", "--workplace", str(workplace), *map(str, chosen)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
        verdicts = [json.loads(line) for line in ended.stdout.splitlines()]
        found += [f"{v['number']} ({v['kind']}; {v['damage']}): {v['fault']}" for v in verdicts if v.get("fault")]
        if ended.returncode == 0:
            break
        assert verdicts, ended.stderr
        number = verdicts[-1]["number"]
        found.append(f"{number}: the process ended with status {ended.returncode}: {ended.stderr[-3000:]}")
        chosen = chosen[chosen.index(number) + 1 :]
    return [f"{fault}\nagain: python -m tests.fuzz {fault.split()[0].strip(':')}" for fault in found]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def test_a_sample_of_damaged_inputs(workplace):
    found = faults(numbers(sampled=True), workplace)
    assert not found, "\n\n".join(found)


@pytest.mark.slow
def test_all_damaged_inputs(workplace):
    """In two processes at once, kind after kind: every second kind in each."""
    kinds = sorted(numbers(), key=lambda number: number % len(SUBJECTS))
    halves = [[number for number in kinds if number % len(SUBJECTS) % 2 == half] for half in (0, 1)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = [fault for part in pool.map(lambda half: faults(half, workplace), halves) for fault in part]
    assert not found, "\n\n".join(found)


def test_there_are_enough_inputs():
    assert len(numbers()) >= 2000 and set(numbers(sampled=True)) < set(numbers())
