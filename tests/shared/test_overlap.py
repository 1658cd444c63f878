"""Reading, work and writing at the same time: in order, bounded, and nothing that was worked on is lost."""

import threading
import time

import pytest

from shared.errors import InputError
from shared.overlap import overlapped


class Trace:
    """Three steps that note what they did; items that are to fail are named with the step."""

    def __init__(self, fails=None, error=InputError):
        self.fails, self.error = fails or {}, error
        self.read_items, self.written, self.ended, self.threads = [], [], [], set()

    def step(self, name, item):
        if self.fails.get(item) == name:
            raise self.error(f"{item} in {name}")

    def read(self, item):
        self.read_items.append(item)
        self.threads.add(("read", threading.get_ident()))
        self.step("read", item)
        return 10 * item

    def work(self, item, found):
        self.threads.add(("work", threading.get_ident()))
        self.step("work", item)
        return found + 1

    def write(self, item, made):
        self.threads.add(("write", threading.get_ident()))
        self.step("write", item)
        self.written.append(item)
        return made + 1

    def done(self, item, outcome):
        try:
            self.ended.append((item, outcome()))
        except InputError as error:
            self.ended.append((item, str(error)))

    def run(self, items):
        overlapped(items, self.read, self.work, self.write, self.done)
        return self.ended


def test_every_item_passes_all_steps_in_order_and_each_step_has_its_thread():
    trace = Trace()
    assert trace.run(range(5)) == [(item, 10 * item + 2) for item in range(5)]
    assert trace.run([]) == trace.ended and len(trace.ended) == 5
    of = {name: {thread for step, thread in trace.threads if step == name} for name in ("read", "work", "write")}
    assert all(len(threads) == 1 for threads in of.values()) and of["work"] == {threading.get_ident()}
    assert len(set.union(*of.values())) == 3


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_item_that_fails_costs_the_others_nothing(step):
    trace = Trace({1: step, 3: step})
    assert trace.run(range(4)) == [(0, 2), (1, f"1 in {step}"), (2, 22), (3, f"3 in {step}")]
    assert trace.written == [0, 2]


def test_only_the_next_item_is_read_ahead():
    trace = Trace()

    def work(item, found):
        time.sleep(0.02)  # long enough for the reader to run ahead, if it did
        assert len(trace.read_items) <= item + 2
        return found

    overlapped(range(6), trace.read, work, trace.write, trace.done)
    assert trace.read_items == list(range(6))


def test_what_done_raises_ends_the_whole_and_nothing_more_is_read():
    trace = Trace({1: "read"})

    def done(item, outcome):
        trace.ended.append(item)
        outcome()

    with pytest.raises(InputError, match="1 in read"):
        overlapped(range(9), trace.read, trace.work, trace.write, done)
    assert trace.ended == [0, 1] and len(trace.read_items) <= 3


def test_after_ctrl_c_what_was_worked_on_is_written_and_handed_over():
    trace = Trace({2: "work"}, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        trace.run(range(9))
    assert trace.ended == [(0, 2), (1, 12)] and trace.written == [0, 1]
