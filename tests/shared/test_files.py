"""Files that appear whole or not at all: their permissions, and what killed processes leave."""

import math
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared import files
from shared.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0, 0o666)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_threads_that_write_at_once_never_touch_the_umask(tmp_path, monkeypatch):
    """It belongs to the whole process: a thread that sets it to read it gives other threads' files open permissions."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask set"))

    def write(name):
        for number in range(50):
            files.write_text(tmp_path / f"{name}-{number}.txt", "a")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    paths = list(tmp_path.iterdir())
    assert len(paths) == 400 and len({path.stat().st_mode for path in paths}) == 1


def test_leftovers_of_a_killed_process_are_removed_and_others_stay(tmp_path):
    code = """
import sys, time
from shared import files
with files.written_whole(sys.argv[1]):
    print("in", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, tmp_path / "deeper/checkpoint.npz"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in\n"
        (left,) = (tmp_path / "deeper").iterdir()
        kept = [
            tmp_path / name
            for name in (
                ".hidden",
                ".1234.txt",
                ".12-abcdefgh.txt",
                "99999999-0123abcd.txt",
                ".git-0123abcd.x",
                ".00000000-9-0123abcd.mine.txt",
            )
        ]
        for path in kept:
            path.touch()
        earlier = (
            tmp_path / f".{files._machine()}-{os.getpid()}-0123abcd.history.csv"
        )  # of an earlier process with our number, as in a container
        earlier.touch()
        with files.written_whole(tmp_path / "mine.txt") as temporary:
            files.remove_leftovers(tmp_path)
            assert left.exists() and temporary.exists() and not earlier.exists()
            process.send_signal(signal.SIGKILL)
            process.wait()
            files.remove_leftovers(tmp_path)
            assert not left.exists() and temporary.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "mine.txt", tmp_path / "deeper"])


def test_the_next_try_to_write_a_file_removes_what_was_left_of_the_last(tmp_path):
    left, other = (tmp_path / f".{files._machine()}-{os.getpid()}-0123abcd.{name}" for name in ("seg.nii.gz", "seg2.nii.gz"))
    for path in (left, other):
        path.touch()
    files.write_text(tmp_path / "seg.nii.gz", "whole")
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "seg.nii.gz"]


def test_a_full_disk_is_told_with_the_files_name(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'"), files.written_whole(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    with pytest.raises(FileNotFoundError, match="other"), files.written_whole(tmp_path / "a.txt"):
        (tmp_path / "other").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: a device or a pipe; expected the name of a file"):
        files.write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "link").symlink_to("nowhere")
    files.write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").read_text() == "text" and not (tmp_path / "nowhere").exists()


def test_a_folder_is_refused_before_the_work_that_makes_the_file(tmp_path):
    with pytest.raises(InputError, match="a folder; expected the name of a file"), files.written_whole(tmp_path):
        raise AssertionError("worked for nothing")


def test_a_folder_that_takes_no_files(tmp_path):
    """Nobody, not even the superuser, makes files there."""
    with pytest.raises(OSError, match=r": '/proc/labels\.nrrd'$"):
        files.write_text(Path("/proc/labels.nrrd"), "text")


def test_names_that_are_no_utf_8_can_be_written_down(tmp_path):
    files.write_csv(tmp_path / "a.csv", [{"scan": os.fsdecode(b"scan_\xff.nii")}])
    assert files.read_csv(tmp_path / "a.csv") == [{"scan": r"scan_\udcff.nii"}]


def test_of_two_writings_of_one_file_the_one_that_ends_later_wins(tmp_path):
    with files.written_whole(tmp_path / "a.txt") as first:
        files.write_text(tmp_path / "a.txt", "second")
        first.write_text("first")
    assert (tmp_path / "a.txt").read_text() == "first" and len(list(tmp_path.iterdir())) == 1


def test_rows_come_back_from_their_file(tmp_path):
    rows = [
        {
            "case": "001_ED",
            "patient": "001",
            "phase": "ED",
            "group": "",
            "structure": "LV",
            "dice": 0.123456789,
            "assd_mm": float("nan"),
        },
        {"case": "007_ED", "patient": "007", "phase": "ED", "group": "", "structure": "a, b", "dice": 1.0, "assd_mm": 2.5},
    ]
    files.write_csv(tmp_path / "cases.csv", rows)
    text = (tmp_path / "cases.csv").read_text()
    assert text.splitlines()[1] == "001_ED,001,ED,,LV,0.123456789,"
    found = files.read_csv(tmp_path / "cases.csv")
    assert math.isnan(found[0].pop("assd_mm")) and math.isnan(rows[0].pop("assd_mm"))
    assert found == rows


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "er" / "table.csv"
    files.write_text(path, "first")

    def fail():
        with files.written_whole(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]
    files.write_text(path, "second")
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_fingerprint_is_of_contents_and_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert files.fingerprint(one) == files.fingerprint(two)
    two.write_bytes(b"other")
    different = [
        files.fingerprint(*contents)
        for contents in [
            (one,),
            (two,),
            (one, two),
            (two, one),
            (one, one),
            ("same",),
            (b"same",),
            (1, 23),
            (12, 3),
            ((1, 23),),
            (),
        ]
    ]
    assert len(set(different)) == len(different)


# Broken files -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "words"), [
    (None, "cannot be read (No such file or directory)"), (b"", "expected JSON in UTF-8"), (b"{", "expected JSON in UTF-8"),
    (b"\xff\xfe{}", "expected JSON in UTF-8 ('utf-8' codec can't decode"), (b"[" * 100_000, "brackets nested too deep"),
    (b"9" * 5000, "expected JSON in UTF-8 (Exceeds the limit"), (b"{} {}", "expected JSON in UTF-8 (Extra data"),
    (b'{"a": {"test": [1], "b": 2, "test": [3]}}', "expected JSON in UTF-8 ('test' is there twice)"),
])  # fmt: skip
def test_json_that_is_none(content, words, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        files.read_json(path)
    assert str(raised.value).startswith(f"{path}: ") and words in str(raised.value)
    with pytest.raises(InputError, match="cannot be read .Is a directory"):
        files.read_json(tmp_path)


def test_json_as_other_programs_write_it(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": [1, 2.5, "\udcff"]})
    assert files.read_json(tmp_path / "a.json") == {"a": [1, 2.5, "\udcff"]}
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")  # with a byte order mark, as Windows' editors do
    assert files.read_json(tmp_path / "a.json") == [1]


@pytest.mark.parametrize(("content", "words"), [
    (b"a,b\n1,\xff\n", "expected a table in CSV format"), (b"a,b\n1,2\n1\n", "line 3 does not have the 2 cells"),
    (b"a,b\n1,2,3\n", "line 2 does not have the 2 cells"), (b"a\n" + b"x" * 200_000, "expected a table in CSV format"),
])  # fmt: skip
def test_csv_that_is_none(content, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        files.read_csv(path)
    assert str(raised.value).startswith(f"{path}: ") and words in str(raised.value)


@pytest.mark.parametrize("text", ["inf", "-inf", "1e400", "1e16", "x", "9" * 5000])
def test_columns_of_numbers_hold_numbers_that_can_be_reckoned_with(text, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"a,case,b\n1,{text},\n2,inf,{text}\n")
    with pytest.raises(InputError, match=r"a\.csv: line 3, column b: expected a number or nothing, found") as raised:
        files.read_csv(path, ("a", "b"))
    assert len(str(raised.value)) < 200 + len(str(path))
    assert [row["b"] for row in files.read_csv(path, ("a",))] == ["", text]  # where nobody asks for numbers, it is text


def test_names_of_files_that_are_no_text_can_be_written(tmp_path):
    files.write_csv(tmp_path / "a.csv", [{"case": "\udcff"}])
    files.write_text(tmp_path / "a.md", "\udcff\n")
    assert (tmp_path / "a.csv").read_text() == "case\n\\udcff\n" and (tmp_path / "a.md").read_text() == "\\udcff\n"


def test_lines_are_counted_with_empty_ones_and_semicolons_are_told_from_commas(tmp_path):
    (tmp_path / "a.csv").write_text("scan,age\n\na,1\n\nb\n")
    with pytest.raises(InputError, match="line 5 does not have the 2 cells"):
        files.read_csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("scan;age\na;1\n")
    with pytest.raises(InputError, match="no column scan .columns are separated by commas.; found scan;age"):
        files.read_csv(tmp_path / "b.csv", ["scan"])


def test_files_below_follow_links_once(tmp_path):
    for name in ("store/p1/a.nii", "store/p1/.hidden/b.nii", "data/p0/a.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "data/p1").symlink_to(tmp_path / "store/p1")
    (tmp_path / "data/p2").symlink_to(tmp_path / "store/p1")  # the same again
    (tmp_path / "data/round").symlink_to(tmp_path / "data")
    (tmp_path / "data/gone.nii").symlink_to(tmp_path / "nowhere")
    found = files.files_below(tmp_path / "data")
    assert [path.relative_to(tmp_path / "data").as_posix() for path in found] == ["p0/a.nii", "p1/a.nii"]
