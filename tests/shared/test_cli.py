"""What all commands share: one line for whatever goes wrong, and where data are looked for."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from shared import cli, datasets
from shared.errors import InputError


def ended(capsys, error, debug=False):
    """Status and stderr of a command that raises `error`."""
    with pytest.raises(SystemExit) as status, cli.one_line_errors(debug):
        raise error
    return status.value.code, capsys.readouterr().err


# One line -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "line"), [
    (InputError("scan.nii: broken"), "scan.nii: broken"),
    (InputError("a\n  b\tc"), "a b c"),
    (InputError("\x1b[31mred\udcff\x00"), "\\x1b[31mred\\udcff\\x00"),
    (InputError(), "InputError"),
    (FileNotFoundError(2, "No such file or directory", "run.json"), "run.json: No such file or directory"),
    (PermissionError(13, "Permission denied", b"\xff.nii"), "\\udcff.nii: Permission denied"),
    (OSError("disk on fire"), "disk on fire"),
])  # fmt: skip
def test_an_error_is_one_line_and_status_2(error, line, capsys):
    assert ended(capsys, error) == (2, f"error: {line}\n")


def test_of_a_long_line_both_ends_are_kept(capsys):
    patients = ", ".join(f"patient{n:03d}" for n in range(100))
    status, line = ended(capsys, InputError(f"/data/split.json: unknown {patients}; name patients of the data set"))
    assert status == 2 and len(line) < 300 and line.count("\n") == 1
    assert line.startswith("error: /data/split.json: unknown patient000, ") and line.endswith("; name patients of the data set\n")
    assert " ... " in line
    assert cli.one_line("x" * 280) == "x" * 280 and len(cli.one_line("x" * 281)) == 279


class ResourceExhaustedError(Exception):
    """As TensorFlow's, by name."""


@pytest.mark.parametrize("error", [
    MemoryError(), np._core._exceptions._ArrayMemoryError((10**9,), np.dtype(float)), ResourceExhaustedError("OOM"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."),
])  # fmt: skip
def test_too_little_memory_is_said_with_what_helps(error, capsys):
    status, line = ended(capsys, error)
    assert status == 2 and line.startswith("error: out of memory (") and "batch_size or width" in line and line.count("\n") == 1


def test_errors_of_the_code_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), cli.one_line_errors():
        1 / 0  # noqa: B018


def test_debug_shows_the_traceback_too(capsys):
    status, text = ended(capsys, InputError("broken"), debug=True)
    assert status == 2 and text.startswith("Traceback ") and text.endswith("\nerror: broken\n")


@pytest.mark.parametrize(("error", "line"), [
    (KeyboardInterrupt(), "stopped\n"), (KeyboardInterrupt("the same command goes on"), "stopped; the same command goes on\n"),
])  # fmt: skip
def test_ctrl_c_is_one_line_and_status_130(error, line, capsys):
    assert ended(capsys, error) == (130, line)


def test_each_warning_is_shown_once_by_its_text(capsys):
    with cli.one_line_errors():
        warnings.simplefilter("always")
        for text in ("a.nii: no units", "b.nii:\nno units", "a.nii: no units"):
            warnings.warn(text, UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: a.nii: no units\nwarning: b.nii: no units\n"


def test_warnings_of_a_hundred_files_do_not_flood_the_terminal(capsys):
    with cli.one_line_errors():
        warnings.simplefilter("always")
        for number in range(100):
            warnings.warn(f"{number}.nii: no units", UserWarning, stacklevel=1)
        warnings.warn("another kind", UserWarning, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "warning: 0.nii: no units", "warning: 1.nii: no units", "warning: 2.nii: no units (more of this kind are not shown)",
        "warning: another kind",
    ]  # fmt: skip


def test_names_that_are_no_text_can_be_printed(capsys):
    with cli.one_line_errors():
        print("wrote \udcff.nii")
    assert capsys.readouterr().out == "wrote \\udcff.nii\n"


def test_arguments_that_are_no_text_are_one_line(capsys):
    with pytest.raises(SystemExit) as status:
        cli.Parser(prog="x").parse_args(["\udcff" * 500])
    line = capsys.readouterr().err
    assert status.value.code == 2 and line.startswith("error: ") and len(line) < 310 and line.isascii() and line.count("\n") == 1


# Folders --------------------------------------------------------------------------------------------------------------------


def test_a_workdir_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for text in ("runs", "a/b/c", str(tmp_path), "."):
        assert cli.workdir(text) == Path(text)
    for text in ("file", "file/runs", str(tmp_path / "file"), "dangling", "dangling/runs"):
        with pytest.raises(cli.argparse.ArgumentTypeError, match="expected a folder, but .*(file|dangling) is not one"):
            cli.workdir(text)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(cli.argparse.ArgumentTypeError, match="that can be written"):
        cli.workdir("runs")


# Where data are -------------------------------------------------------------------------------------------------------------


def test_data_are_looked_for_in_three_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARDIAC_DATA", str(tmp_path / "all"))
    (tmp_path / "data" / "lasc").mkdir(parents=True)
    assert cli.data_root("lasc", None, tmp_path) == Path("data/lasc")
    (tmp_path / "all" / "lasc").mkdir(parents=True)
    assert cli.data_root("lasc", None, tmp_path) == tmp_path / "all" / "lasc"
    assert cli.data_root("lasc", Path("mine"), tmp_path) == Path("mine")  # `datasets.find` says when it is missing
    assert cli.data_root("phantom", None, tmp_path) == tmp_path / "phantom"


def test_ct_and_mr_lie_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARDIAC_DATA", raising=False)
    (tmp_path / "data" / "mmwhs").mkdir(parents=True)
    assert cli.data_root("mmwhs_ct", None, tmp_path) == cli.data_root("mmwhs_mr", None, tmp_path) == Path("data/mmwhs")


@pytest.mark.parametrize("dataset", [name for name in datasets.DATASETS if name != "phantom"])
@pytest.mark.parametrize("parent", [None, "", "/the/data/of/a/whole/institute/with/a/long/name"])
def test_without_data_the_line_says_what_to_do(dataset, parent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARDIAC_DATA", raising=False)
    if parent is not None:
        monkeypatch.setenv("CARDIAC_DATA", parent)
    with pytest.raises(InputError) as refused:
        cli.data_root(dataset, None, tmp_path)
    line = str(refused.value)
    folder = dataset.removesuffix("_ct").removesuffix("_mr")
    place = f"{parent}/{folder}" if parent else f"$CARDIAC_DATA/{folder} (CARDIAC_DATA is not set)"
    assert line.startswith(f"no {dataset} data in {place} or data/{folder}: get them from https://") and len(line) < 280
    assert "--data-root DIR" in line and "--dataset phantom" in line
