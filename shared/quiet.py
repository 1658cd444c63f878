"""Keras at its first import: fast kernels, threads out of each other's way, and none of TensorFlow's talk about itself."""

import contextlib
import logging
import os


@contextlib.contextmanager
def without_banner():
    """Hide what compiled code writes to stderr in the block; meant for the first import of Keras.

    TensorFlow 2.21 prints while it is imported whatever TF_CPP_MIN_LOG_LEVEL says; after that it obeys. Its advice on tracing,
    given whenever scans differ in size, is hidden for good.

    Also asks TensorFlow for oneDNN's kernels, which it takes by itself only on processors with AVX-512: elsewhere a 3D
    convolution is five times slower without them. And keeps NumPy's matrix products on one core each: examples are made in
    several threads, whose products would otherwise fight over the cores with each other and the network. The user's own settings
    stay.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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
