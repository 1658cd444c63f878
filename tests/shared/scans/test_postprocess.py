"""From logits to classes, and of each class its largest component."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.learning import inference
from shared.scans import postprocess

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# From logits to classes -----------------------------------------------------------------------------------------------------


def test_one_logit_is_that_of_a_sigmoid():
    logits = np.log(np.array([0.2, 0.5, 0.9]) / np.array([0.8, 0.5, 0.1])).reshape(3, 1).astype(np.float32)
    found = inference.activated(logits)
    assert found.dtype == np.float32 and found.shape == (3, 1)
    np.testing.assert_allclose(found.ravel(), [0.2, 0.5, 0.9], rtol=1e-6)


def test_several_logits_are_those_of_a_softmax():
    chances = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    found = inference.activated(np.log(chances) + [[5.0], [-300.0]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, chances, rtol=1e-4)
    np.testing.assert_allclose(inference.activated(np.log(chances[:, :2])), chances[:, :2] / chances[:, :2].sum(1, keepdims=True))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_have_probabilities(dtype):
    extreme = np.array([-6e4, -1000, -100, 0, 100, 1000, 6e4], dtype)[:, None]
    np.testing.assert_allclose(inference.activated(extreme).ravel(), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-30)
    np.testing.assert_array_equal(
        inference.activated(np.array([[1000, 0, -6e4], [-6e4, -6e4, 0]], dtype)), [[1, 0, 0], [0, 0, 1]]
    )


def test_classes_of_probabilities():
    one = np.array([0.0, 0.49999, 0.5, 0.50001, 1.0], np.float32).reshape(5, 1, 1, 1)
    found = postprocess.classes_of(one)
    assert found.shape == (5, 1, 1) and found.dtype == np.uint8 and found.ravel().tolist() == [0, 0, 1, 1, 1]
    # the likeliest though below a half; background where nothing is known
    several = np.array([[0.3, 0.3, 0.4], [0.1, 0.8, 0.1], [0.0, 0.0, 0.0]], np.float32).reshape(3, 1, 1, 3)
    found = postprocess.classes_of(several)
    assert found.shape == (3, 1, 1) and found.dtype == np.uint8 and found.ravel().tolist() == [2, 1, 0]


def test_classes_are_those_of_the_logits():
    for channels in (1, 4):
        logits = np.random.default_rng(0).normal(0, 3, (5, 4, 3, channels)).astype(np.float32)
        expected = logits[..., 0] > 0 if channels == 1 else logits.argmax(axis=-1)
        np.testing.assert_array_equal(postprocess.classes_of(inference.activated(logits)), expected)


# Largest components ---------------------------------------------------------------------------------------------------------


def largest(labels):
    return postprocess.largest_components(np.array(labels, np.uint8)).tolist()


def test_the_largest_component_stays():
    assert largest([[[1], [0], [1], [1], [0], [1]]]) == [[[0], [0], [1], [1], [0], [0]]]


def test_the_first_of_equal_components_stays():
    assert largest([[[0], [1], [1], [0], [1], [1]]]) == [[[0], [1], [1], [0], [0], [0]]]


def test_diagonal_neighbours_are_apart():
    edge = np.zeros((2, 2, 2), np.uint8)
    edge[0, 0, 0] = edge[1, 1, 0] = edge[1, 1, 1] = 1  # the first touches the others along an edge only
    found = postprocess.largest_components(edge)
    assert found[0, 0, 0] == 0 and found[1, 1].tolist() == [1, 1]


def test_components_connect_through_the_slices():
    labels = np.zeros((5, 5, 3), np.uint8)
    labels[2, 2, :] = 1
    labels[0, :2, 0] = 1
    found = postprocess.largest_components(labels)
    assert found.sum() == 3 and found[2, 2].all()


def test_labels_are_told_apart():
    # 2 splits 1 into three and two voxels; 4 is there twice, 3 is absent
    assert largest([[[1, 1, 1, 2, 1, 1, 0, 4, 0, 4]]]) == [[[1, 1, 1, 2, 0, 0, 0, 4, 0, 0]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_nothing_labelled_and_type_kept(dtype):
    empty = np.zeros((3, 4, 2), dtype)
    found = postprocess.largest_components(empty)
    assert found.dtype == dtype and not found.any()


def components(mask):
    """Lists of face-connected voxels, by flood filling, in the order of their first voxels."""
    todo, found = [tuple(map(int, voxel)) for voxel in np.argwhere(mask)], []
    left = set(todo)
    for seed in todo:
        if seed not in left:
            continue
        left.remove(seed)
        component, front = [], [seed]
        while front:
            voxel = front.pop()
            component.append(voxel)
            for axis, side in itertools.product(range(3), (-1, 1)):
                neighbour = tuple(c + side * (a == axis) for a, c in enumerate(voxel))
                if neighbour in left:
                    left.remove(neighbour)
                    front.append(neighbour)
        found.append(component)
    return found


@PROPERTY
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(0, 3)))
def test_largest_components_agree_with_flood_filling(labels):
    before = labels.copy()
    found = postprocess.largest_components(labels)
    expected = np.zeros_like(labels)
    for value in (1, 2, 3):
        for voxel in max(components(labels == value), key=len, default=[]):  # max takes the first of equals
            expected[voxel] = value
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(labels, before)
