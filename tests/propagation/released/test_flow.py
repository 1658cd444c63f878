"""Motion between two frames."""

import numpy as np

from propagation.released.flow import apparent_flow, warp_by_flow
from propagation.released.images import normalised, resized_nearest
from tests.propagation.released import authors_files
from tests.propagation.released.small import narrow


def test_flow_network_sees_both_frames():
    model = narrow("apparentflow_net")
    for variable in model.weights:
        variable.assign(authors_files.seeded(variable.path, tuple(variable.shape)))
    rng = np.random.default_rng(0)
    ed, frame = rng.uniform(0, 255, (2, 40, 40))
    found = apparent_flow(model, ed, frame)
    inputs = [normalised(resized_nearest(each - each.min(), 32))[None, ..., None] for each in (ed, frame)]
    np.testing.assert_allclose(found, np.asarray(model(inputs, training=False))[0], atol=1e-4)
    assert found.shape == (32, 32, 2) and abs(found - apparent_flow(model, frame, ed)).max() > 0.01


def test_mask_is_read_where_the_flow_leads():
    mask = np.arange(12).reshape(3, 4)
    flow = np.zeros((3, 4, 2))
    np.testing.assert_array_equal(warp_by_flow(mask, flow), mask)
    flow[..., 0] = 1  # one column on
    np.testing.assert_array_equal(warp_by_flow(mask, flow), [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    flow[..., 0], flow[..., 1] = 0, -1  # one row back
    np.testing.assert_array_equal(warp_by_flow(mask, flow), mask[[0, 0, 1]])
    flow[..., 1] = 0
    flow[0, :, 0] = 0.5  # columns 0.5, 1.5, 2.5, 3.5 -> 0, 2, 2, 4, and 4 is outside
    np.testing.assert_array_equal(warp_by_flow(mask, flow)[0], [0, 2, 2, 3])
