"""What comes before everything else when a package of ours is imported.

This module imports very little, so that Ctrl-C works from the first moment on.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_command() -> bool:
    """Whether this process is one of our commands, `python -m PACKAGE.MODULE` or `python scripts/NAME.py`.

    It may also be somebody's notebook, script or test that imports us.
    """
    if sys.argv[:1] == ["-m"]:  # so it is until Python has found the module that -m names; its package is imported before that
        typed = sys.orig_argv
        name = typed[typed.index("-m") + 1] if "-m" in typed[:-1] else ""
        return os.path.isdir(os.path.join(ROOT, name.partition(".")[0] or "?"))
    return os.path.dirname(os.path.abspath(sys.argv[0] if sys.argv else "")) == os.path.join(ROOT, "scripts")


# Whether Ctrl-C may stop this process: a command of ours, unless a script started it in the background
STOPPABLE = is_command() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def leave(stderr: int = 2) -> Callable[[int, FrameType | None], NoReturn]:
    """A handler of Ctrl-C that ends the process with one line and status 130, even in the middle of an import."""

    def handler(*_: object) -> NoReturn:
        os.write(stderr, b"stopped\n")
        os._exit(130)

    return handler


@contextlib.contextmanager
def ctrl_c(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """In this block, `handler` answers Ctrl-C of a command; other processes keep their own handler."""
    before = signal.signal(signal.SIGINT, handler) if STOPPABLE else None
    try:
        yield
    finally:
        if STOPPABLE:
            signal.signal(signal.SIGINT, before)


def settings() -> None:
    """Set environment variables that NumPy and TensorFlow read when they are imported, unless the user has set them.

    Each matrix product of NumPy uses one core, because examples are made in several threads, whose products would compete for the
    cores with each other and with the network. TensorFlow uses oneDNN's kernels, which make a 3D convolution five times faster;
    by itself it does so only on processors with AVX-512. And TensorFlow prints errors only.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
