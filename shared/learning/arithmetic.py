"""Which numbers a network computes in: float32, or bfloat16 where the machine multiplies them in hardware."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from shared.errors import InputError
from shared.framework import keras

_always_float32 = False


@contextlib.contextmanager
def building_in(name: str) -> Iterator[str]:
    """Build layers that compute in `name`: "float32", "bfloat16" (variables stay float32), or "auto", which takes bfloat16
    if the machine computes in it. The block gets the name that was taken."""
    if name not in ("float32", "bfloat16", "auto"):
        raise InputError(f"precision {name!r}: expected float32, bfloat16 or auto")
    if name == "auto":
        name = "bfloat16" if has_bfloat16() else "float32"
    if _always_float32:
        name = "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if name == "bfloat16" else "float32")
    try:
        yield name
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def always_float32() -> Iterator[None]:
    """In the block, networks are built in float32, whatever a recipe asks for."""
    global _always_float32
    before, _always_float32 = _always_float32, True
    try:
        yield
    finally:
        _always_float32 = before


def has_bfloat16() -> bool:
    """Whether the accelerator, or else the processor, multiplies bfloat16 matrices in hardware."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return True
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return keras.backend.backend() == "tensorflow" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return False
