"""Keras without TensorFlow's talk about itself, which is not about the user's work."""

import contextlib
import logging
import os


@contextlib.contextmanager
def without_banner():
    """Hide what compiled code writes to stderr in the block; meant for the first import of Keras.

    TensorFlow 2.21 prints while it is imported whatever TF_CPP_MIN_LOG_LEVEL says; after that it obeys. Its advice on tracing,
    given whenever scans differ in size, is hidden for good.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
