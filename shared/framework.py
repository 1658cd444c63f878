"""Keras, imported without what its backend says about itself: `from shared.framework import keras, ops`.

This import takes seconds. Modules that define layers, losses or networks do it at their top; all others import those modules
with `shared.lazy`.
"""

import contextlib
import logging
import os

from shared import startup
from shared.errors import InputError

__all__ = ["keras", "ops"]


@contextlib.contextmanager
def without_banner():
    """Hide what compiled code writes to stderr in the block; meant for the first import of Keras.

    TensorFlow 2.21 prints while it is imported whatever TF_CPP_MIN_LOG_LEVEL says; after that it obeys. Its advice on tracing,
    given whenever scans differ in size, is hidden for good.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        with startup.ctrl_c(startup.leave(stderr)):
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


startup.settings()
try:
    with without_banner():
        import keras
        from keras import ops
except (ImportError, ValueError) as error:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    raise InputError(
        f"Keras cannot be imported with the backend {backend} ({error}); set KERAS_BACKEND to tensorflow or jax"
    ) from error
