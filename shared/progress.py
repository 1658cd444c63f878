"""What a long loop does and how long it will take: one line that is rewritten on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

WIDTH = 100  # characters of a line that is rewritten


def clear_line() -> None:
    """Remove the line that is being rewritten on the terminal, before something else is printed."""
    if Progress.unfinished:
        print(f"\r{'':<{WIDTH}}\r", end="", flush=True)
        Progress.unfinished = False


class Progress:
    """Count `total` steps and print `what`, the count, `detail` and the time left, at most every `every_s` seconds.

    The first step is left out of the estimate, because it compiles networks and opens files.
    """

    unfinished = False  # whether the terminal shows a line that will be rewritten

    def __init__(self, what: str, total: int, done: int = 0, every_s: float | None = None) -> None:
        self.what, self.total, self.done, self.first = what, total, done, done + 1
        self.terminal = sys.stdout.isatty()
        self.every_s = every_s or (0.2 if self.terminal else 15.0)
        self.start = self.shown = self.after_first = time.monotonic()

    def step(self, detail: str = "") -> None:
        self.done += 1
        now = time.monotonic()
        last = self.done >= self.total
        if self.done == self.first:
            self.after_first = now
        if self.total > 1 and (now - self.shown >= self.every_s and self.done > self.first or last and now - self.start > 2):
            self.shown = now
            ending = duration(now - self.start) if last else f"{duration(self.left_s())} left"
            line = f"{self.what} {self.done}/{self.total}  {detail}  {ending}"
            print(f"\r{line:<{WIDTH}}" if self.terminal else line, end="\n" if last or not self.terminal else "", flush=True)
            Progress.unfinished = self.terminal and not last

    def left_s(self) -> float:
        """Seconds that the rest will take at the speed of the steps after the first."""
        return (time.monotonic() - self.after_first) / max(self.done - self.first, 1) * (self.total - self.done)

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items` and count a step after each."""
        for item in items:
            yield item
            self.step()


def counted(number: int, noun: str) -> str:
    """'1 scan' or '2 scans'."""
    return f"{number} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 20 min' or '9 days'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 2 * 24 * 60 else f"{round(minutes / 60 / 24)} days"
