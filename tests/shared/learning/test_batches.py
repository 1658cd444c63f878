"""From stored cases to batches and through the network: the same in every run, from any step on, in bounded memory."""

import concurrent.futures
import itertools
import json
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.datasets import Case
from shared.datasets.splits import Split, by_number, hold_out, k_fold
from shared.errors import InputError
from shared.learning import augment, inference
from shared.learning.batches import READ_AHEAD, Batches, _tf_data, _threads, stream
from shared.learning.examples import AUGMENTATION, DIGEST, EXAMPLE, Slices, Volumes, store, store_all

ROOT = Path(__file__).parents[3]
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
DEPTHS = (3, 1, 4, 2, 3)  # 13 slices
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data feeds TensorFlow only")


def case_voxels(case, depth):
    """Every voxel says its case and slice; the label says them too, as image + 1."""
    slices = np.broadcast_to(case * 10 + np.arange(depth), (6, 5, depth))
    return slices.astype(np.float32), (slices + 1).astype(np.uint8)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    stored = [store(folder, f"case{i}", lambda i=i, depth=depth: case_voxels(i, depth)) for i, depth in enumerate(DEPTHS)]
    square = store(folder, "same shape", lambda: case_voxels(7, 3))
    return {"slices": stored, "volumes": [stored[0], stored[4], square]}


ALL_SLICES = sorted(case * 10 + z for case, depth in enumerate(DEPTHS) for z in range(depth))


def identity(part):
    """What the example is: its first voxel."""
    return int(part.reshape(-1)[0])


# Stored cases ---------------------------------------------------------------------------------------------------------------


def test_store_makes_a_case_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return case_voxels(2, 3)

    paths = [store(tmp_path / "cache", "key", make) for _ in range(3)]
    assert len(calls) == 1 and len(set(paths)) == 1
    assert list((tmp_path / "cache").iterdir()) == [paths[0]]
    image, label = case_voxels(2, 3)
    voxels = np.load(paths[0])
    np.testing.assert_array_equal(voxels["image"], image)
    np.testing.assert_array_equal(voxels["label"], label)
    assert (voxels["image"].dtype, voxels["label"].dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize("damage", ["a bit in the voxels", "a bit in the header", "cut", "empty", "NumPy's file alone"])
def test_a_damaged_case_is_made_again(tmp_path, damage):
    path = store(tmp_path, "key", lambda: case_voxels(2, 3))
    whole = path.read_bytes()
    broken = bytearray(whole)
    if damage.startswith("a bit"):
        broken[len(whole) // 2 if "voxels" in damage else 70] ^= 4
    path.write_bytes({"cut": whole[:-40], "empty": b"", "NumPy's file alone": whole[:-DIGEST]}.get(damage, bytes(broken)))
    calls = []
    for _ in range(2):
        assert store(tmp_path, "key", lambda: calls.append(1) or case_voxels(2, 3)) == path
    assert calls == [1] and path.read_bytes() == whole


def test_a_stored_slice_is_one_part_of_the_file(paths):
    voxels = np.load(paths["slices"][0], mmap_mode="r")
    assert isinstance(voxels, np.memmap) and voxels.flags.f_contiguous and not voxels.flags.c_contiguous
    assert voxels[:, :, 1].flags.f_contiguous
    assert voxels.dtype.itemsize == 5  # no padding between image and label


def test_a_case_that_cannot_be_made_leaves_nothing(tmp_path):
    def fail():
        raise InputError("constant image")

    with pytest.raises(InputError, match="constant image"):
        store(tmp_path / "cache", "key", fail)
    with pytest.raises(ValueError, match="broadcast|shape"):
        store(tmp_path / "cache", "key", lambda: (np.zeros((3, 3, 2)), np.zeros((3, 2, 2))))
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []
    assert store(tmp_path / "cache", "key", lambda: case_voxels(1, 2)).exists()


def test_threads_that_make_one_case_at_once(tmp_path):
    barrier = threading.Barrier(8)

    def make():
        barrier.wait(10)
        return case_voxels(3, 4)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store(tmp_path, "key", make), range(8)))
    assert len(found) == 1 and list(tmp_path.iterdir()) == list(found)
    np.testing.assert_array_equal(np.load(found.pop())["image"], case_voxels(3, 4)[0])


def test_processes_that_make_the_same_cases_at_once(tmp_path):
    code = textwrap.dedent("""
        import sys
        import numpy as np
        from shared.learning import examples

        print("ready", flush=True)
        sys.stdin.readline()
        for key in range(40):
            path = store("cache", key, lambda: (np.full((40, 40, 5), key), np.full((40, 40, 5), key)))
            voxels = np.load(path, mmap_mode="r")
            assert (voxels["image"] == key).all() and (voxels["label"] == key).all(), key
    """)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    processes = [
        subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0] * 3
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(f"{key}.npy" for key in range(40))


def test_all_cases_are_stored_under_their_names(tmp_path):
    cases, made = [case("b", phase="ED"), case("a"), case("c")], []

    def make(case):
        made.append(case.name)
        return case_voxels(cases.index(case), 2)

    for _ in range(2):
        stored = store_all(tmp_path, cases, ["kb", "ka", "kc"], make)
    assert stored == {"b_ED": tmp_path / "kb.npy", "a": tmp_path / "ka.npy", "c": tmp_path / "kc.npy"}
    assert sorted(made) == ["a", "b_ED", "c"]
    assert [np.load(path)["image"][0, 0, 0] for path in stored.values()] == [0, 10, 20]


@pytest.mark.parametrize(
    ("refusal", "message"),
    [("constant", "b.nii: constant"), ("b.nii: a cine", "b.nii: a cine"), ("b_gt.nii: no labels", "b_gt.nii: no labels")],
)
def test_what_cannot_be_stored_is_named_once(tmp_path, refusal, message):
    def make(of):
        if of.patient == "b":
            raise InputError(refusal)
        return case_voxels(1, 2)

    cases = [replace(case(patient), label=Path(f"{patient}_gt.nii")) for patient in "abc"]
    with pytest.raises(InputError) as raised:
        store_all(tmp_path, cases, ["ka", "kb", "kc"], make)
    assert str(raised.value) == message


# Examples -------------------------------------------------------------------------------------------------------------------


def test_slices(paths):
    examples = Slices(paths["slices"], seed=0)
    assert len(examples) == 13
    image, label = examples.one(4)  # first slice of the third case: 3 + 1 come before
    assert image.shape == (6, 5, 1) and label.shape == (6, 5)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert (image == 20).all() and (label == 21).all()
    assert [identity(examples.one(i)[0]) for i in range(13)] == ALL_SLICES


def test_volumes(paths):
    examples = Volumes(paths["volumes"], seed=0)
    assert len(examples) == 3
    image, label = examples.one(2)
    assert image.shape == (6, 5, 3, 1) and label.shape == (6, 5, 3)
    assert image.flags.c_contiguous and label.flags.c_contiguous
    np.testing.assert_array_equal(image[..., 0], case_voxels(7, 3)[0])
    np.testing.assert_array_equal(label, case_voxels(7, 3)[1])


@pytest.mark.parametrize(("kind", "which"), [(Slices, "slices"), (Volumes, "volumes")])
def test_an_epoch_is_a_permutation(paths, kind, which):
    examples = kind(paths[which], seed=3)
    orders = []
    for epoch in range(12):
        parts = [examples.example(epoch, i) for i in range(len(examples))]
        assert all((image[..., 0] + 1 == label).all() for image, label in parts)  # image and label of one example
        orders.append(tuple(identity(image) for image, _ in parts))
        assert sorted(orders[-1]) == sorted(identity(examples.one(i)[0]) for i in range(len(examples)))
    assert len(set(orders)) >= (12 if kind is Slices else 3)


def test_examples_depend_on_seed_epoch_and_index_only(paths):
    def ids(examples, places):
        return {place: (identity(examples.example(*place)[0]), examples.rng(EXAMPLE, *place).random()) for place in places}

    places = list(itertools.product(range(9), range(13)))
    expected = ids(Slices(paths["slices"], seed=5), places)
    shuffled = np.random.default_rng(0).permutation(places).tolist()
    assert ids(Slices(paths["slices"], seed=5), map(tuple, shuffled)) == expected
    other = ids(Slices(paths["slices"], seed=6), places)
    assert sum(expected[place][0] == other[place][0] for place in places) < len(places) / 4
    assert len({drawn for _, drawn in [*expected.values(), *other.values()]}) == 2 * len(places)


@pytest.mark.parametrize("kind", [Slices, Volumes])
def test_what_is_drawn_for_one_purpose_says_nothing_about_another(paths, kind):
    """Order, example and augmentation of a thousand examples: no generator is opened twice, no pair is correlated."""
    examples = kind(paths["slices"], seed=3)
    places = list(itertools.islice(itertools.product(range(1000), range(len(examples))), 1000))
    draws = np.array([
        [examples._order(epoch)[index] / len(examples), *examples.rng(EXAMPLE, epoch, index).random(4),
         *examples.rng(AUGMENTATION, epoch, index).random(4)]
        for epoch, index in places
    ])  # fmt: skip
    assert len(np.unique(draws[:, 1:])) == 8000
    assert np.abs(np.corrcoef(draws.T) - np.eye(9)).max() < 0.13  # four standard deviations of 1000 independent pairs
    assert np.abs(np.corrcoef(np.abs(draws - 0.5).T) - np.eye(9)).max() < 0.13  # nor do the sizes go together


# Batches --------------------------------------------------------------------------------------------------------------------


def draw(rng):
    return augment.draw_affine(rng, (6, 5), rotation_deg=15, crop_px=2, flip=True)


def as_arrays(batch):
    return [np.asarray(part) for part in batch]


def assert_same_batches(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert len(batch) == len(other)
        for part, reference in zip(as_arrays(batch), as_arrays(other), strict=True):
            assert part.dtype == reference.dtype and part.shape == reference.shape
            np.testing.assert_array_equal(part, reference)


def test_a_batch(paths):
    batches = Batches(Slices(paths["slices"], seed=1), 4, draw)
    images, labels, parameters = batches[1]
    assert images.shape == (4, 6, 5, 1) and labels.shape == (4, 6, 5) and parameters.shape == (4, 8)
    assert (images.dtype, labels.dtype, parameters.dtype) == (np.float32, np.uint8, np.float32)
    for i in range(4):
        image, label = batches.examples.example(0, 4 + i)
        np.testing.assert_array_equal(images[i], image)
        np.testing.assert_array_equal(labels[i], label)
        np.testing.assert_array_equal(parameters[i], draw(batches.examples.rng(AUGMENTATION, 0, 4 + i)))
    assert len(Batches(batches.examples, 4)[0]) == 2


def test_the_incomplete_batch_is_dropped(paths):
    batches = Batches(Slices(paths["slices"], seed=1), 4)
    assert len(batches) == 3  # 13 slices
    for epoch in range(3):
        seen = [identity(image) for step in range(3) for image in batches[epoch * 3 + step][0]]
        assert len(set(seen)) == 12 and set(seen) < set(ALL_SLICES)
        assert seen == [identity(batches.examples.example(epoch, i)[0]) for i in range(12)]
    assert len(Batches(batches.examples, 13)) == 1


def test_fewer_examples_than_a_batch(paths):
    with pytest.raises(InputError, match="13 training examples are fewer than one batch of 14"):
        Batches(Slices(paths["slices"], seed=1), 14)
    with pytest.raises(InputError, match="0 training examples"):
        Batches(Slices([], seed=1), 1)


STREAMS = [pytest.param(_tf_data, marks=needs_tensorflow, id="tf.data"), pytest.param(_threads, id="threads")]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("drawing", [None, draw], ids=["plain", "augmented"])
def test_stream_equals_random_access_from_any_start(paths, stream, drawing):
    batches = Batches(Slices(paths["slices"], seed=2), 4, drawing)
    expected = [batches[step] for step in range(11)]  # into the fourth epoch
    for start, stop in ((0, 11), (1, 11), (3, 4), (5, 9), (10, 11), (0, 2), (4, 4)):
        fresh = Batches(Slices(paths["slices"], seed=2), 4, drawing)
        assert_same_batches(list(stream(fresh, start, stop)), expected[start:stop])


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_of_volumes(paths, stream):
    batches = Batches(Volumes(paths["volumes"], seed=2), 2)
    assert_same_batches(list(stream(batches, 0, 4)), [batches[step] for step in range(4)])


def test_stream_takes_the_way_of_the_backend(paths, monkeypatch):
    batches = Batches(Slices(paths["slices"], seed=2), 4)
    ways = []
    for way in ("_tf_data", "_threads"):
        monkeypatch.setattr(batches, way, lambda *arguments, way=way: ways.append((way, *arguments)))
    for backend in ("tensorflow", "jax", "torch"):
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        stream(batches, 3, 7)
    assert ways == [("_tf_data", batches, 3, 7), ("_threads", batches, 3, 7), ("_threads", batches, 3, 7)]


class Counting:
    """Batches that note which were asked for."""

    def __init__(self):
        self.asked = []

    def __getitem__(self, step):
        self.asked.append(int(step))
        return (np.array([int(step)]),)


def test_threads_read_a_few_batches_ahead():
    batches = Counting()
    stream = _threads(batches, 5, 100)
    assert [next(stream)[0].item() for _ in range(4)] == [5, 6, 7, 8]
    stream.close()
    assert set(range(5, 9)) <= set(batches.asked) <= set(range(5, 9 + READ_AHEAD))
    batches = Counting()
    assert [batch[0].item() for batch in _threads(batches, 5, 12)] == sorted(batches.asked) == list(range(5, 12))


@pytest.mark.parametrize("damage", [None, b"", b"no array", b"truncated"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_lost_or_damaged_file_ends_the_stream_in_one_line(tmp_path, stream, damage):
    path = store(tmp_path, "key", lambda: case_voxels(0, 4))
    batches = Batches(Slices([path], seed=0), 1)
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
from shared.learning import batches, examples

def peak_mb():
    status = Path("/proc/self/status")
    if status.exists():  # Linux starts a child's ru_maxrss at its parent's
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes

paths = []
for i in range(100):
    paths.append(Path(f"case{i}.npy"))
    voxels = np.lib.format.open_memmap(paths[-1], "w+", VOXEL, (256, 256, 8), fortran_order=True)  # 2.5 MB, a hole
    del voxels

result = {}
for name in sys.argv[2:]:
    stream = getattr(pipeline, name)
    for kind, size in ((Slices, 8), (Volumes, 1)):
        few, all_of_them = (Batches(kind(some, 0), size) for some in (paths[:10], paths))
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


# Splits ---------------------------------------------------------------------------------------------------------------------


def case(patient, group="", phase=""):
    return Case(patient=patient, phase=phase, image=Path(f"{patient}.nii"), label=None, group=group, structures={1: "LV"})


def acdc_cases():
    groups = ("NOR", "MINF", "DCM", "HCM", "RV")
    return [case(f"patient{n:03d}", groups[(n - 1) // 20], phase) for n in range(1, 101) for phase in ("ED", "ES")]


def test_modulo_five_of_acdc():
    cases = acdc_cases()
    split = by_number(cases, 5, 0)
    assert split.validation == tuple(f"patient{n:03d}" for n in range(5, 101, 5))
    assert split.test == split.validation and len(split.train) == 80
    assert [len(split.of(cases, side)) for side in ("train", "validation", "test")] == [160, 40, 40]
    groups = [c.group for c in split.of(cases, "validation") if c.phase == "ED"]
    assert {group: groups.count(group) for group in groups} == dict.fromkeys(("NOR", "MINF", "DCM", "HCM", "RV"), 4)


def test_of_keeps_the_order_of_the_cases():
    cases = [case("b", phase="ES"), case("a"), case("c"), case("b", phase="ED")]
    split = Split(("b", "c"), ("a",), ("a",))
    assert split.of(cases, "train") == [cases[0], cases[2], cases[3]]
    assert split.of(cases, "validation") == [cases[1]]


def test_all_folds_of_a_modulus_cover_everybody_once():
    held_out = [by_number(acdc_cases(), 5, fold).validation for fold in range(5)]
    assert sorted(itertools.chain(*held_out)) == [f"patient{n:03d}" for n in range(1, 101)]
    assert held_out[2][0] == "patient002"


@pytest.mark.parametrize(
    ("patients", "held_out"),
    [
        (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], ("e", "j")),  # no numbers: rank, from 1
        (["x1", "x2", "y", "z4", "z5"], ("z5",)),  # not all have one
        (["a1", "a2", "b1", "b2", "c3"], ("c3",)),  # two of the same
        (["p10", "p5", "p7", "p15", "p3", "p1", "p4"], ("p10", "p15", "p5")),  # numbers count, not their order
        (["2020scan", "b", "c", "d", "e"], ("e",)),  # a number in front is none
    ],
)
def test_numbers_of_patients(patients, held_out):
    split = by_number([case(patient) for patient in patients], 5, 0)
    assert split.validation == held_out
    assert set(split.train) == set(patients) - set(held_out)


@pytest.mark.parametrize(
    ("patients", "fold", "held_out", "parts"),
    [
        ([f"s{k:02d}1" for k in range(1, 13)], 0, ("s051", "s101"), 5),  # none is divisible by 5: places 5 and 10
        ([f"s{k:02d}1" for k in range(1, 13)], 1, ("s011", "s061", "s111"), 5),  # all are 1 modulo 5: places 1, 6, 11
        (["p1", "p2", "p3", "p4", "p6", "p7"], 0, ("p6",), 5),
        (["p1", "p2", "p3", "p4", "p6", "p7"], 1, ("p1", "p7"), 5),
        (["p5", "p10"], 1, ("p10",), 2),
        (["5", "3"], 0, ("5",), 2),
        (["anna", "bea", "carl"], 0, ("carl",), 3),
    ],
)
def test_numbers_that_leave_a_fold_empty_give_way_to_places(patients, fold, held_out, parts):
    with pytest.warns(UserWarning, match=rf"place in alphabetical order is {fold} modulo {parts} \(--fold"):
        split = by_number([case(patient) for patient in patients], 5, fold)
    assert split.validation == split.test == held_out and set(split.train) == set(patients) - set(held_out)


@pytest.mark.parametrize("patients", [["p1", "p2", "p3", "p4", "p6", "p7"], ["p5", "p10", "p15", "p20", "p21"], ["a", "b", "c"]])
@pytest.mark.filterwarnings("ignore:the numbers that")
def test_every_patient_is_held_out_in_one_fold_whatever_the_numbers_are(patients):
    folds = [by_number([case(patient) for patient in patients], 5, fold) for fold in range(min(5, len(patients)))]
    assert sorted(patient for split in folds for patient in split.test) == sorted(patients)


def test_too_few_patients_for_a_fold():
    with pytest.raises(InputError, match="^--fold 2: 2 patients make no more than 2 folds; expected 0 to 1$"):
        by_number([case("p1"), case("p2")], 5, 2)


@pytest.mark.filterwarnings("ignore:the numbers that")
def test_one_patient_cannot_be_split():
    with pytest.raises(InputError, match="no patient left on the train side"):
        by_number([case("p1")], 5, 0)


@pytest.mark.parametrize("sides", [(("a", "b", "c"), ("c", "b"), ("d",)), (("a", "b"), ("c", "d"), ("b", "c"))])
def test_patient_on_two_sides(sides):
    with pytest.raises(InputError, match="two sides") as raised:
        Split(*sides)
    message = str(raised.value)
    assert "b" in message and "train" in message and "\n" not in message
    if "c" in sides[0]:
        assert "b, c" in message and "validation" in message


def test_test_side_is_apart_or_the_validation_side():
    assert Split(("a",), ("b",), ("c",)).test == ("c",)
    assert Split(("a",), ("b", "c"), ("c", "b")).test == ("c", "b")
    with pytest.raises(InputError, match="validation, test.*: b"):
        Split(("a",), ("b", "c"), ("b",))
    with pytest.raises(InputError, match="train, test.*: a"):
        Split(("a",), ("b",), ("a",))


@pytest.mark.parametrize(
    ("sides", "name"), [(((), ("a",), ("a",)), "train"), ((("a",), (), ()), "validation"), ((("a",), ("b",), ()), "test")]
)
def test_empty_side(sides, name):
    with pytest.raises(InputError, match=f"no patient left on the {name} side"):
        Split(*sides)


@pytest.mark.parametrize("fold", [-1, 5, 99])
def test_fold_out_of_range(fold):
    for split in (lambda: by_number(acdc_cases(), 5, fold), lambda: k_fold(acdc_cases(), 5, fold, 0)):
        with pytest.raises(InputError, match=f"--fold {fold}: expected 0 to 4"):
            split()


@st.composite
def patients(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    groups = [f"group{g}" for g, size in enumerate(sizes) for _ in range(size)]
    return [case(f"p{i}", group, phase) for i, group in enumerate(groups) for phase in ("ED", "ES")]


@PROPERTY
@given(cases=patients(), folds=st.integers(2, 6), seed=st.integers(0, 999))
def test_k_fold(cases, folds, seed):
    names = {c.patient for c in cases}
    if len(names) < folds:
        with pytest.raises(InputError, match="more patients are needed"):
            for fold in range(folds):
                k_fold(cases, folds, fold, seed)
        return
    splits = [k_fold(cases, folds, fold, seed) for fold in range(folds)]
    assert sorted(itertools.chain.from_iterable(split.validation for split in splits)) == sorted(names)
    for split in splits:
        assert set(split.train) == names - set(split.validation) and split.test == split.validation
    for group in {"", *(c.group for c in cases)}:
        members = {c.patient for c in cases if group in ("", c.group)}
        held = [len(members & set(split.validation)) for split in splits]
        assert max(held) - min(held) <= 1
    assert k_fold(cases[::-1], folds, 0, seed) == splits[0]


def test_k_fold_is_random_by_seed():
    drawn = {k_fold(acdc_cases(), 5, 0, seed).validation for seed in range(20)}
    assert len(drawn) == 20


def test_hold_out_of_acdc():
    cases = acdc_cases()
    splits = [hold_out(cases, 5, 5, fold, 0) for fold in range(5)]
    groups = {c.patient: c.group for c in cases}

    def in_groups(patients):
        return sorted(sum(groups[patient] == group for patient in patients) for group in set(groups.values()))

    assert {split.test for split in splits} == {splits[0].test} and in_groups(splits[0].test) == [4] * 5
    for split in splits:
        assert len(split.validation) == 16 and in_groups(split.validation) == [3, 3, 3, 3, 4]
        assert len(split.train) == 64 and set(split.train) | set(split.validation) | set(split.test) == set(groups)


def test_hold_out_without_groups():
    splits = [hold_out([case(f"p{i}") for i in range(40)], 5, 5, fold, 1) for fold in range(5)]
    assert {len(split.test) for split in splits} == {8}
    assert sorted(len(split.validation) for split in splits) == [6, 6, 6, 7, 7]


@PROPERTY
@given(cases=patients(), parts=st.integers(2, 5), folds=st.integers(2, 5), seed=st.integers(0, 999), data=st.data())
def test_hold_out(cases, parts, folds, seed, data):
    names = {c.patient for c in cases}
    tested = -(-len(names) // parts)
    if len(names) - tested < folds:
        with pytest.raises(InputError, match="more patients are needed"):
            for fold in range(folds):
                hold_out(cases, parts, folds, fold, seed)
        return
    splits = [hold_out(cases, parts, folds, fold, seed) for fold in range(folds)]
    test = set(splits[0].test)
    assert len(test) == tested and {split.test for split in splits} == {splits[0].test}
    assert sorted(itertools.chain.from_iterable(split.validation for split in splits)) == sorted(names - test)
    assert all(set(split.train) == names - test - set(split.validation) for split in splits)
    for group in {"", *(c.group for c in cases)}:
        members = {c.patient for c in cases if group in ("", c.group)}
        assert abs(len(members & test) - len(members) / parts) < 1
        held = [len(members & set(split.validation)) for split in splits]
        assert max(held) - min(held) <= 1
    assert [hold_out(data.draw(st.permutations(cases)), parts, folds, fold, seed) for fold in range(folds)] == splits


def test_hold_out_is_random_by_seed():
    drawn = [hold_out(acdc_cases(), 5, 5, 0, seed) for seed in range(20)]
    assert len({split.test for split in drawn}) == len({split.validation for split in drawn}) == 20
    with pytest.raises(InputError, match="--fold 5: expected 0 to 4"):
        hold_out(acdc_cases(), 5, 5, 5, 0)


# Through the network --------------------------------------------------------------------------------------------------------


class Doubling:
    """Two classes; the logits are the voxel and its double."""

    def __init__(self):
        self.sizes = []

    def predict_on_batch(self, images):
        self.sizes.append(len(images))
        return np.concatenate([images, 2 * images], axis=-1)


@pytest.mark.parametrize(("count", "batch_size", "sizes"), [(7, 3, [3, 3, 3]), (6, 3, [3, 3]), (2, 10, [2]), (1, 1, [1])])
def test_probabilities(count, batch_size, sizes):
    images = np.random.default_rng(0).normal(0, 2, (count, 4, 3, 1)).astype(np.float32)
    model = Doubling()
    found = inference.probabilities(model, images, batch_size)
    assert model.sizes == sizes  # always as many, so that the network is compiled once
    assert found.shape == (count, 4, 3, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[..., 1], 1 / (1 + np.exp(-images[..., 0])), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-6)


def test_softmax_of_large_logits():
    np.testing.assert_allclose(inference.softmax([[1000, 1000, -1000]]), [[0.5, 0.5, 0]])
    assert inference.softmax(np.zeros((2, 3), np.float64)).dtype == np.float32
