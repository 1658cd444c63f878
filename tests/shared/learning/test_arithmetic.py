"""The numbers that networks compute in."""

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
