"""Read, work and write at the same time: while one item is worked on, the next is read, and the one before is written."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from shared.errors import InputError

Item = TypeVar("Item")
Outcome = Callable[[], Any]  # gives what was written, or raises what went wrong

AHEAD, BEHIND = 1, 1  # items that wait for the work, or for the disk: memory does not grow with their number


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Any],
    work: Callable[[Item, Any], Any],
    write: Callable[[Item, Any], Any],
    done: Callable[[Item, Outcome], None],
) -> None:
    """Take every item through `read`, `work` and `write`, each in its own thread; `work` stays in the calling one.

    Args:
        items: in this order.
        read: `read(item) -> what work needs`.
        work: `work(item, what was read) -> what is to be written`.
        write: `write(item, what work gave) -> result`.
        done: `done(item, outcome)` is called in the calling thread, in order, with all items that came to an end. `outcome()`
            gives the result of `write`, or raises the InputError or OSError that the item ended with. What `done` raises ends
            the whole.
    """
    ended: deque[tuple[Item, Future]] = deque()

    def settle(count: int) -> None:
        """Hand over what has ended, but for the last `count` items, which may still be written."""
        while len(ended) > count:
            item, future = ended.popleft()
            done(item, future.result)

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming: deque[tuple[Item, Future]] = deque()
        waiting = iter(items)

        def read_ahead() -> None:
            for item in itertools.islice(waiting, AHEAD - len(coming)):
                coming.append((item, reader.submit(read, item)))

        try:
            read_ahead()
            while coming:
                item, found = coming.popleft()
                read_ahead()
                try:
                    future = writer.submit(write, item, work(item, found.result()))
                except (InputError, OSError) as error:
                    future = Future()
                    future.set_exception(error)
                ended.append((item, future))
                settle(0 if future.done() and future.exception() else BEHIND)
        finally:  # after Ctrl-C too, what was worked on is written
            for _, future in coming:
                future.cancel()
            settle(0)
