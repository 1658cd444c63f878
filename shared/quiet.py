"""Keras without TensorFlow's start-up banner, which is not about the user's work."""

import contextlib
import os


@contextlib.contextmanager
def without_banner():
    """Hide what compiled code writes to stderr in the block; meant for the first import of Keras.

    TensorFlow 2.21 prints while it is imported whatever TF_CPP_MIN_LOG_LEVEL says; after that it obeys.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
