"""What comes before everything else when a package of ours is imported. This module imports next to nothing, so that Ctrl-C is
answered from the first moment on."""

import contextlib
import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_command():
    """Whether this process was started as one of our commands, `python -m PACKAGE.MODULE` or `python scripts/NAME.py`, and not
    as somebody's notebook, script or test that imports us."""
    if sys.argv[:1] == ["-m"]:  # so until the module that -m names is found; its package is imported before
        typed = sys.orig_argv
        name = typed[typed.index("-m") + 1] if "-m" in typed[:-1] else ""
        return os.path.isdir(os.path.join(ROOT, name.partition(".")[0] or "?"))
    return os.path.dirname(os.path.abspath(sys.argv[0] if sys.argv else "")) == os.path.join(ROOT, "scripts")


# A command of ours that Ctrl-C may stop; one that a script started in the background ignores what is typed for others
STOPPABLE = is_command() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def leave(stderr=2):
    """A handler of Ctrl-C that ends the process with one line and status 130, even in the middle of an import."""

    def handler(*_):
        os.write(stderr, b"stopped\n")
        os._exit(130)

    return handler


@contextlib.contextmanager
def ctrl_c(handler):
    """In this block, Ctrl-C of a command goes to `handler`; anybody else's Python keeps its own."""
    before = signal.signal(signal.SIGINT, handler) if STOPPABLE else None
    try:
        yield
    finally:
        if STOPPABLE:
            signal.signal(signal.SIGINT, before)


def settings():
    """Settings that NumPy and TensorFlow read when they are imported; the user's own stay.

    NumPy's matrix products keep to one core each: examples are made in several threads, whose products would otherwise compete
    for the cores with each other and with the network. TensorFlow takes oneDNN's kernels by itself only on processors with
    AVX-512: elsewhere a 3D convolution is five times slower without them. And TensorFlow tells nothing but errors.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
