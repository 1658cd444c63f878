"""The released networks against the authors' definitions and plain numpy."""

import numpy as np
import pytest

from propagation.released.model import NETWORKS, OneHot, build
from tests.propagation.released import authors_files, plain_unet
from tests.propagation.released.authors_files import COUNTS
from tests.propagation.released.small import narrow, refusal, seeded_weights

every_name = pytest.mark.parametrize("name", COUNTS)


@every_name
def test_layers_tensors_and_counts_are_the_authors(name):
    model = build(name, size=32)
    found = {f"{layer.name}/{v.name}": tuple(v.shape) for layer in model.layers for v in layer.weights}
    assert list(found.items()) == list(authors_files.shapes(name).items())
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (len(model.layers), model.count_params(), trained) == COUNTS[name]


def test_sizes_and_inputs():
    assert NETWORKS["lvrv_net_finetune"] == NETWORKS["lvrv_net"]
    model = build("apparentflow_net")
    assert model.input_shape == [(None, 128, 128, 1)] * 2 and model.output_shape == (None, 128, 128, 2)
    assert [each.name for each in model.inputs] == ["input_img0", "input_img1"]
    assert [each.name for each in narrow("lv_net").inputs] == ["input_img0", "input_img1", "input_mask0"]
    assert {name: network.size for name, network in NETWORKS.items()} == {
        "roi_net": 128, "lvrv_net": 192, "lv_net": 192, "apparentflow_net": 128, "lvrv_net_finetune": 192,
    }  # fmt: skip
    assert build("apparentflow_net", size=16).output_shape == (None, 16, 16, 2)
    assert "multiple of 32, found 48" in refusal(build, "roi_net", 48)
    assert "multiple of 16, found 24" in refusal(build, "apparentflow_net", 24)
    assert "multiple of 32, found -32" in refusal(build, "lvrv_net", -32)
    assert "expected one of roi_net" in refusal(build, "rvlv_net")


@pytest.mark.parametrize(("name", "slope"), [("roi_net", 0.0), ("lvrv_net", 0.0), ("lv_net", 0.1), ("apparentflow_net", 0.1)])
def test_output_is_that_of_plain_numpy(name, slope):
    """With moving statistics far from 0 and 1, biases, and both inputs different."""
    model = narrow(name, slope=slope)
    weights = seeded_weights(model)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(weights[f"{layer.name}/{variable.name}"])
    rng = np.random.default_rng(3)
    inputs = [rng.normal(size=(2, 32, 32, 1)).astype(np.float32) for _ in model.inputs]
    if name.startswith("lv"):
        inputs[2] = rng.integers(0, 4, (2, 32, 32, 1)).astype(np.float32)
    found = np.asarray(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    reference = getattr(plain_unet, name.replace("lv_net", "lvrv_net"))
    expected = np.stack([reference(weights, *(each[i] for each in inputs), slope=slope) for i in range(2)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())
    assert abs(expected[0] - expected[1]).max() > 0.01


def test_one_hot_is_exact():
    labels = np.array([0, 1, 2, 3, 2.5, 0.999999, -1], np.float32).reshape(1, 7, 1, 1)
    expected = np.zeros((1, 7, 1, 4))
    expected[0, [0, 1, 2, 3], 0, [0, 1, 2, 3]] = 1
    np.testing.assert_array_equal(OneHot(4)(labels), expected)
