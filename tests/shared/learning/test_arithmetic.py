"""The numbers that networks compute in."""

import ctypes

import keras
import pytest

from shared.errors import InputError
from shared.learning import arithmetic


def test_a_precision_is_set_for_the_block_only():
    before = keras.config.dtype_policy().name
    with arithmetic.building_in("bfloat16") as name:
        assert (name, keras.config.dtype_policy().name) == ("bfloat16", "mixed_bfloat16")
        assert keras.layers.Dense(1).variable_dtype == "float32"
    assert keras.config.dtype_policy().name == before
    with pytest.raises(InputError, match="float16"), arithmetic.building_in("float16"):
        pass


def test_always_float32_overrules_recipes_in_its_block_only():
    with arithmetic.always_float32():
        with arithmetic.building_in("bfloat16") as name:
            assert name == "float32"
            assert keras.layers.Dense(1).compute_dtype == "float32"
    with arithmetic.building_in("bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"


def old_bytes():
    """The bytes of new memory where just before, all of it was NaN."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    for _ in range(2):
        place = libc.malloc(100_000)
        found = set(ctypes.string_at(place, 100_000))
        ctypes.memset(place, 0xFF, 100_000)
        libc.free(place)
    return found


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this is not glibc")
def test_memory_is_zeroed_where_a_kernel_reads_what_nobody_has_written(monkeypatch):
    monkeypatch.setattr(arithmetic, "abilities", lambda: {"amx_bf16"})
    with arithmetic.zeroed_memory("float32"):
        assert 0xFF in old_bytes()
    if keras.backend.backend() == "tensorflow":
        with arithmetic.zeroed_memory("bfloat16"):
            assert old_bytes() == {0}
    monkeypatch.setattr(arithmetic, "abilities", lambda: {"avx512_bf16"})
    with arithmetic.zeroed_memory("bfloat16"):
        assert 0xFF in old_bytes()
