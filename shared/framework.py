"""Keras, imported without the messages that its backend prints: `from shared.framework import keras, ops`.

This import takes seconds. Modules that define layers, losses or networks do it at their top; all others import those modules
through `shared.lazy`.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from shared import startup
from shared.errors import InputError

__all__ = ["Tensor", "compiled", "keras", "ops"]

Tensor = Any  # of any backend, symbolic, or a numpy array: Keras has no type for it


@contextlib.contextmanager
def without_banner() -> Iterator[None]:
    """Hide what compiled code writes to stderr in the block; meant for the first import of Keras.

    While it is imported, TensorFlow 2.21 ignores TF_CPP_MIN_LOG_LEVEL; after that it obeys. Its advice on tracing, which would
    come whenever scans differ in size, stays hidden after the block too.
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


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of tensors as one program for each shape of its arguments: faster than one operation at a time."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function)
