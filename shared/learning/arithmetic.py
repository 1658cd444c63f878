"""Which numbers a network computes in: float32, or bfloat16 where the machine multiplies them in hardware."""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

from shared.errors import InputError
from shared.framework import keras

AMX, M_PERTURB = "amx_bf16", -6  # of /proc/cpuinfo and of glibc's malloc.h
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
    return keras.backend.backend() == "tensorflow" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(abilities())


def abilities() -> set[str]:
    """What the processor says that it can do, as Linux calls it; nothing elsewhere."""
    with contextlib.suppress(OSError):
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    return set()


@contextlib.contextmanager
def zeroed_memory(name: str) -> Iterator[None]:
    """In the block, whatever is allocated begins as zeros, if networks compute in `name` "bfloat16" by TensorFlow with AMX.

    There, the gradient of a convolution by its filters multiplies by 0 what nobody has written to (TensorFlow 2.21; images 212
    voxels wide, but not 208). That changes nothing, unless what happens to lie there reads as NaN: then a training ends, today
    and not tomorrow. Zeros cost 2 % of a step of the 2D U-Net, and 10 % of one of the DR-UNet.
    """
    wanted = keras.backend.backend() == "tensorflow" and name == "bfloat16" and AMX in abilities()
    change = getattr(ctypes.CDLL(None), "mallopt", None) if wanted else None  # of glibc
    if change:
        change(M_PERTURB, 0xFF)  # the bytes of new memory are the complement
    try:
        yield
    finally:
        if change:
            change(M_PERTURB, 0)
