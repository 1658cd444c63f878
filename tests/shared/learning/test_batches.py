"""From examples to batches: the same in every run, from any step on, nested as the examples are, in bounded memory."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from shared.errors import InputError
from shared.learning import augment
from shared.learning.batches import READ_AHEAD, Batches, _tf_data, _threads, stream
from shared.learning.examples import AUGMENTATION, EXAMPLE, ORDER, Slices, Volumes, generator
from shared.learning.prepared import store
from tests.numbered import ALL_SLICES, channels, identity, stored

ROOT = Path(__file__).parents[3]
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data feeds TensorFlow only")
STREAMS = [pytest.param(_tf_data, marks=needs_tensorflow, id="tf.data"), pytest.param(_threads, id="threads")]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("cases"))


def draw(rng):
    return augment.draw_affine(rng, (6, 5), rotation_deg=15, crop_px=2, flip=True)


class Noted:
    """Examples that tell their position and the first number of their generator, and note what they were asked for."""

    def __init__(self, length):
        self.length, self.asked = length, []

    def __len__(self):
        return self.length

    def one(self, position, rng):
        self.asked.append((position, rng.bit_generator.state))
        return np.array(position), rng.random(4)


class Several:
    """Two inputs in a dict and three targets in a tuple; every other example has its dict the other way round.

    Args:
        growth: how many rows an example has more than the one before.
    """

    def __init__(self, growth):
        self.growth = growth

    def __len__(self):
        return 7

    def one(self, position, rng):
        rows = 3 + self.growth * position
        inputs = {"scan": rng.normal(size=(rows, 4, 1)).astype(np.float32), "age": (np.array(position, np.int16),)}
        targets = rng.integers(0, 4, (rows, 4), np.uint8), {"basal": np.array([position > 3]), "area_mm2": rng.random(rows)}
        return dict(reversed(inputs.items())) if position % 2 else inputs, targets


def turn(rng):
    return {"scan": rng.random(8).astype(np.float32), "age": rng.random(1)}


# Batches --------------------------------------------------------------------------------------------------------------------


def test_a_batch(paths):
    examples = Slices(paths["slices"])
    batches = Batches(examples, 4, 1, draw)
    images, labels, parameters = batches[1]
    assert images.shape == (4, 6, 5, 1) and labels.shape == (4, 6, 5) and parameters.shape == (4, 8)
    assert (images.dtype, labels.dtype, parameters.dtype) == (np.float32, np.uint8, np.float32)
    order = generator(1, ORDER, 0).permutation(13)
    for i in range(4):
        image, label = examples.one(order[4 + i], None)
        np.testing.assert_array_equal(images[i], image)
        np.testing.assert_array_equal(labels[i], label)
        np.testing.assert_array_equal(parameters[i], draw(generator(1, AUGMENTATION, 0, 4 + i)))
    assert len(Batches(examples, 4, 1)[0]) == 2


def test_every_example_gets_the_generator_of_its_place():
    examples = Noted(7)
    batches = Batches(examples, 2, seed=5)
    for step in (4, 0, 8):  # the second batch of epoch 1, the first of epoch 0, the third of epoch 2
        batches[step]
    assert examples.asked == [
        (generator(5, ORDER, epoch).permutation(7)[index], generator(5, EXAMPLE, epoch, index).bit_generator.state)
        for epoch, index in ((1, 2), (1, 3), (0, 0), (0, 1), (2, 4), (2, 5))
    ]
    assert all(type(position) is int for position, _ in examples.asked)


@pytest.mark.parametrize(("kind", "which"), [(Slices, "slices"), (Volumes, "volumes")])
def test_an_epoch_is_a_permutation(paths, kind, which):
    examples = kind(paths[which])
    batches = Batches(examples, 1, seed=3)
    orders = []
    for epoch in range(12):
        parts = [batches[epoch * len(examples) + i] for i in range(len(examples))]
        assert all((image[..., 0] + 1 == label).all() for image, label in parts)  # image and label of one example
        orders.append(tuple(identity(image) for image, _ in parts))
        assert sorted(orders[-1]) == sorted(identity(examples.one(i, None)[0]) for i in range(len(examples)))
    assert len(set(orders)) >= (12 if kind is Slices else 3)


def test_examples_depend_on_seed_epoch_and_index_only():
    def drawn(seed, places):
        batches = Batches(Noted(13), 1, seed)
        found = {(epoch, i): batches[epoch * 13 + i] for epoch, i in places}
        return {place: (identity(position), numbers[0, 0]) for place, (position, numbers) in found.items()}

    places = list(itertools.product(range(9), range(13)))
    expected = drawn(5, places)
    shuffled = np.random.default_rng(0).permutation(places).tolist()
    assert drawn(5, shuffled) == expected
    other = drawn(6, places)
    assert sum(expected[place][0] == other[place][0] for place in places) < len(places) / 4
    assert len({number for _, number in [*expected.values(), *other.values()]}) == 2 * len(places)


@pytest.mark.parametrize("length", [13, 5])
def test_what_is_drawn_for_one_purpose_says_nothing_about_another(length):
    """Order, example and augmentation of a thousand examples: no generator is opened twice, no pair is correlated."""
    batches = Batches(Noted(length), 1, 3, lambda rng: rng.random(4))
    draws = np.array([[position.item() / length, *example[0], *augmentation[0]] for position, example, augmentation in
                      (batches[step] for step in range(1000))])  # fmt: skip
    assert len(np.unique(draws[:, 1:])) == 8000
    assert np.abs(np.corrcoef(draws.T) - np.eye(9)).max() < 0.13  # four standard deviations of 1000 independent pairs
    assert np.abs(np.corrcoef(np.abs(draws - 0.5).T) - np.eye(9)).max() < 0.13  # nor do the sizes go together


def test_the_incomplete_batch_is_dropped(paths):
    examples = Slices(paths["slices"])
    batches = Batches(examples, 4, 1)
    assert len(batches) == 3  # 13 slices
    for epoch in range(3):
        seen = [identity(image) for step in range(3) for image in batches[epoch * 3 + step][0]]
        assert len(set(seen)) == 12 and set(seen) < set(ALL_SLICES)
        order = generator(1, ORDER, epoch).permutation(13)[:12]
        assert seen == [identity(examples.one(position, None)[0]) for position in order]
    assert len(Batches(examples, 13, 1)) == 1


def test_fewer_examples_than_a_batch(paths):
    with pytest.raises(InputError, match="13 training examples are fewer than one batch of 14; set batch_size lower"):
        Batches(Slices(paths["slices"]), 14, 1)
    with pytest.raises(InputError, match="0 training examples"):
        Batches(Slices([]), 1, 1)


def test_nested_inputs_targets_and_parameters_are_stacked_leaf_by_leaf():
    examples = Several(growth=0)
    inputs, targets, parameters = Batches(examples, 3, 2, turn)[0]
    order = generator(2, ORDER, 0).permutation(7)
    assert set(inputs) == {"scan", "age"} and isinstance(targets, tuple) and inputs["age"][0].shape == (3,)
    for i in range(3):
        one_input, (classes, measures) = examples.one(order[i], generator(2, EXAMPLE, 0, i))
        assert_same({name: part[i] for name, part in parameters.items()}, turn(generator(2, AUGMENTATION, 0, i)))
        assert_same(inputs["scan"][i], one_input["scan"])
        assert inputs["age"][0][i] == order[i]
        assert_same((targets[0][i], {name: part[i] for name, part in targets[1].items()}), (classes, measures))


def assert_same(found, expected):
    """Arrays or tensors, nested alike, with the same bytes."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and set(found) == set(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, tuple):
        assert isinstance(found, tuple) and len(found) == len(expected)
        for part, reference in zip(found, expected, strict=True):
            assert_same(part, reference)
    else:
        found, expected = np.asarray(found), np.asarray(expected)
        assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


# Streams --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("drawing", [None, draw], ids=["plain", "augmented"])
def test_stream_equals_random_access_from_any_start(paths, stream, drawing):
    batches = Batches(Slices(paths["slices"]), 4, 2, drawing)
    expected = [batches[step] for step in range(11)]  # into the fourth epoch
    for start, stop in ((0, 11), (1, 11), (3, 4), (5, 9), (10, 11), (0, 2), (4, 4)):
        fresh = Batches(Slices(paths["slices"]), 4, 2, drawing)
        assert_same(tuple(stream(fresh, start, stop)), tuple(expected[start:stop]))


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_of_volumes(paths, stream):
    batches = Batches(Volumes(paths["volumes"]), 2, 2)
    assert_same(tuple(stream(batches, 0, 4)), tuple(batches[step] for step in range(4)))


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("growth", "batch_size"), [(0, 3), (2, 1)], ids=["one extent", "extents that vary"])
@pytest.mark.parametrize("drawing", [None, turn], ids=["plain", "augmented"])
def test_stream_of_nested_batches(stream, growth, batch_size, drawing):
    batches = Batches(Several(growth), batch_size, 2, drawing)
    expected = tuple(batches[step] for step in range(15))
    assert len({inputs["scan"].shape for inputs, *_ in expected}) == (7 if growth else 1)
    assert {next(iter(inputs)) for inputs, *_ in expected} == {"scan", "age"}  # dicts in both orders
    assert_same(tuple(stream(batches, 0, 15)), expected)
    assert_same(tuple(stream(batches, 4, 9)), expected[4:9])


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_of_volumes_that_differ_in_extent(paths, stream):
    batches = Batches(Volumes(paths["slices"]), 1, 2)
    expected = tuple(batches[step] for step in range(10))
    assert {images.shape[3] for images, _ in expected} == {1, 2, 3, 4}
    assert_same(tuple(stream(batches, 0, 10)), expected)


def test_stream_takes_the_way_of_the_backend(paths, monkeypatch):
    batches = Batches(Slices(paths["slices"]), 4, 2)
    ways = []
    for way in ("_tf_data", "_threads"):
        monkeypatch.setattr(f"shared.learning.batches.{way}", lambda *arguments, way=way: ways.append((way, *arguments)))
    for backend in ("tensorflow", "jax", "torch"):
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        stream(batches, 3, 7)
    assert ways == [("_tf_data", batches, 3, 7), ("_threads", batches, 3, 7), ("_threads", batches, 3, 7)]


class Counting:
    """Batches that note which were asked for."""

    def __init__(self):
        self.asked = []

    def __getitem__(self, step):
        self.asked.append(step)
        return (np.array([step]),)


def test_threads_read_a_few_batches_ahead():
    batches = Counting()
    stream = _threads(batches, 5, 100)
    assert [next(stream)[0].item() for _ in range(4)] == [5, 6, 7, 8]
    stream.close()
    assert set(range(5, 9)) <= set(batches.asked) <= set(range(5, 9 + READ_AHEAD))


@pytest.mark.parametrize("stream", STREAMS)
def test_every_batch_is_made_once(stream):
    batches = Counting()
    assert [np.asarray(batch[0]).item() for batch in stream(batches, 5, 12)] == sorted(batches.asked) == list(range(5, 12))


@pytest.mark.parametrize("failing", [0, 4])
@pytest.mark.parametrize("stream", STREAMS)
def test_an_error_of_the_examples_comes_out_unchanged(stream, failing):
    error = InputError("scan.nii: constant")

    class Failing(Counting):
        def __getitem__(self, step):
            if step == failing:
                raise error
            return super().__getitem__(step)

    with pytest.raises(InputError) as raised:
        list(stream(Failing(), 0, 9))
    assert raised.value is error


@pytest.mark.parametrize("damage", [None, b"", b"no array", b"truncated"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_lost_or_damaged_file_ends_the_stream_in_one_line(tmp_path, stream, damage):
    path = store(tmp_path, "key", lambda: channels(0, 4))
    batches = Batches(Slices([path]), 1, 0)
    coming = stream(batches, 0, 400)
    next(coming)
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes()[:100] if damage == b"truncated" else damage or b"")
    path.unlink() if damage is None else other.replace(path)  # at once, since batches are read ahead
    reason = "No such file or directory" if damage is None else "damaged"
    with pytest.raises(InputError) as lost:
        list(coming)
    assert str(lost.value) == f"{path}: expected a prepared case ({reason}); the same command prepares it again"


# Memory ---------------------------------------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import numpy as np
from shared.learning import batches
from shared.learning.examples import Slices, Volumes

def peak_mb():
    status = Path("/proc/self/status")
    if status.exists():  # Linux starts a child's ru_maxrss at its parent's
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes

VOXEL = np.dtype([("image", np.float32), ("label", np.uint8)])
paths = []
for i in range(100):
    paths.append(Path(f"case{i}.npy"))
    voxels = np.lib.format.open_memmap(paths[-1], "w+", VOXEL, (256, 256, 8), fortran_order=True)  # 2.5 MB, a hole
    del voxels

result = {}
for name in sys.argv[2:]:
    stream = getattr(batches, name)
    for kind, size in ((Slices, 8), (Volumes, 1)):
        few, all_of_them = (batches.Batches(kind(some), size, 0) for some in (paths[:10], paths))
        for batch in stream(few, 0, len(few)):
            pass
        before = peak_mb()
        for batch in stream(all_of_them, 0, len(all_of_them)):
            pass
        result[f"{name} {kind.__name__}"] = [len(all_of_them), peak_mb() - before]
print(json.dumps(result))
"""


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    """A hundred cases of 2.5 MB after ten of them: what is kept of the other ninety would be 225 MB."""
    pytest.importorskip("resource", reason="Windows does not count memory this way")
    ways = ["_tf_data", "_threads"] if keras.backend.backend() == "tensorflow" else ["_threads"]
    command = [sys.executable, "-c", MEASURE, str(ROOT), *ways]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert len(result) == 2 * len(ways)
    for name, (batches, grown_mb) in result.items():
        assert batches == 100
        assert grown_mb < 60, name
