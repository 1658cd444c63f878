"""Narrow networks with seeded weights, and the line with which a call refuses."""

import keras
import pytest

from propagation.released.model import NETWORKS
from shared.errors import InputError
from tests.propagation.released.authors_files import seeded


def narrow(name, width=2, size=32, slope=0.0):
    network = NETWORKS[name]
    inputs, output = network.build(size, width, network.outputs, slope)
    return keras.Model(inputs, output, name=name)


def seeded_weights(model):
    return {
        f"{layer.name}/{variable.name}": seeded(f"{layer.name}/{variable.name}", tuple(variable.shape))
        for layer in model.layers
        for variable in layer.weights
    }


def refusal(function, *arguments):
    """The line with which the call refuses."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 2000
    return line
