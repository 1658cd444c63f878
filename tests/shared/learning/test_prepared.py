"""Prepared cases on disk: made once, whole or made again, with all their channels."""

import concurrent.futures
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.datasets import Case
from shared.errors import InputError
from shared.learning.prepared import DIGEST, store, store_all, voxels_of
from tests.numbered import channels

ROOT = Path(__file__).parents[3]


def case(patient, group="", phase=""):
    return Case(patient=patient, phase=phase, image=Path(f"{patient}.nii"), label=None, group=group, structures={1: "LV"})


def test_store_makes_a_case_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return channels(2, 3)

    paths = [store(tmp_path / "cache", "key", make) for _ in range(3)]
    assert len(calls) == 1 and len(set(paths)) == 1
    assert list((tmp_path / "cache").iterdir()) == [paths[0]]
    voxels = np.load(paths[0])
    for name, channel in channels(2, 3).items():
        np.testing.assert_array_equal(voxels[name], channel)
    assert voxels.dtype == np.dtype([("image", np.float32), ("label", np.uint8)])


def test_image_and_label_have_fixed_types_and_further_channels_keep_theirs(tmp_path):
    rng = np.random.default_rng(0)
    image, label = rng.normal(size=(4, 3, 2)), rng.integers(0, 4, (4, 3, 2))
    edge, distance = rng.random((4, 3, 2)) > 0.5, rng.normal(size=(4, 3, 2)).astype(np.float16)
    given = {"image": image, "label": label, "edge": edge, "distance": distance}
    path = store(tmp_path, "key", lambda: given)
    voxels = voxels_of(path)
    types = [("image", np.float32), ("label", np.uint8), ("edge", np.bool_), ("distance", np.float16)]
    assert isinstance(voxels, np.memmap) and voxels.dtype == np.dtype(types)
    for name, dtype in types:
        np.testing.assert_array_equal(voxels[name], given[name].astype(dtype))
    assert store(tmp_path, "key", lambda: pytest.fail("made again")) == path


@pytest.mark.parametrize("damage", ["a bit in the voxels", "a bit in the header", "cut", "empty", "NumPy's file alone"])
def test_a_damaged_case_is_made_again(tmp_path, damage):
    path = store(tmp_path, "key", lambda: channels(2, 3))
    whole = path.read_bytes()
    broken = bytearray(whole)
    if damage.startswith("a bit"):
        broken[len(whole) // 2 if "voxels" in damage else 70] ^= 4
    path.write_bytes({"cut": whole[:-40], "empty": b"", "NumPy's file alone": whole[:-DIGEST]}.get(damage, bytes(broken)))
    calls = []
    for _ in range(2):
        assert store(tmp_path, "key", lambda: calls.append(1) or channels(2, 3)) == path
    assert calls == [1] and path.read_bytes() == whole


def test_a_stored_slice_is_one_part_of_the_file(tmp_path):
    voxels = voxels_of(store(tmp_path, "key", lambda: channels(0, 3)))
    assert isinstance(voxels, np.memmap) and voxels.flags.f_contiguous and not voxels.flags.c_contiguous
    assert voxels[:, :, 1].flags.f_contiguous
    assert voxels.dtype.itemsize == 5  # no padding between image and label


def test_a_case_that_cannot_be_made_leaves_nothing(tmp_path):
    def fail():
        raise InputError("constant image")

    with pytest.raises(InputError, match="constant image"):
        store(tmp_path / "cache", "key", fail)
    with pytest.raises(ValueError, match="broadcast|shape"):
        store(tmp_path / "cache", "key", lambda: {"image": np.zeros((3, 3, 2)), "label": np.zeros((3, 2, 2))})
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []
    assert store(tmp_path / "cache", "key", lambda: channels(1, 2)).exists()


def test_threads_that_make_one_case_at_once(tmp_path):
    barrier = threading.Barrier(8)

    def make():
        barrier.wait(10)
        return channels(3, 4)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store(tmp_path, "key", make), range(8)))
    assert len(found) == 1 and list(tmp_path.iterdir()) == list(found)
    np.testing.assert_array_equal(np.load(found.pop())["image"], channels(3, 4)["image"])


def test_processes_that_make_the_same_cases_at_once(tmp_path):
    code = textwrap.dedent("""
        import sys
        import numpy as np
        from shared.learning.prepared import store

        print("ready", flush=True)
        sys.stdin.readline()
        for key in range(40):
            path = store("cache", key, lambda: dict.fromkeys(("image", "label"), np.full((40, 40, 5), key)))
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
        return channels(cases.index(case), 2)

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
        return channels(1, 2)

    cases = [replace(case(patient), label=Path(f"{patient}_gt.nii")) for patient in "abc"]
    with pytest.raises(InputError) as raised:
        store_all(tmp_path, cases, ["ka", "kb", "kc"], make)
    assert str(raised.value) == message


def test_threads_read_headers_one_after_the_other(tmp_path, monkeypatch):
    """Two at once raised SystemError now and then: CPython 3.11 counts the depth of `ast` for all threads at once (gh-106905)."""
    path = store(tmp_path, "case", lambda: {"image": np.zeros((2, 2, 2)), "label": np.zeros((2, 2, 2))})
    load, reading, most = np.load, [], []

    def slow_load(*arguments, **options):
        reading.append(1)
        most.append(len(reading))
        time.sleep(0.01)
        reading.pop()
        return load(*arguments, **options)

    monkeypatch.setattr(np, "load", slow_load)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert {voxels.shape for voxels in pool.map(voxels_of, [path] * 8)} == {(2, 2, 2)}
    assert most == [1] * 8
