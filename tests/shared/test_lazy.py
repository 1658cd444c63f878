"""Modules that are imported at their first use, and libraries of extras."""

import builtins
import concurrent.futures
import importlib
import sys
import threading
from unittest import mock

import pytest

from shared.errors import InputError
from shared.lazy import lazily, library


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A package that nobody has imported: a module `part` with a `value`, and a module of others as `shared.framework` has."""
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up" / "__init__.py").write_text("")
    (tmp_path / "made_up" / "part.py").write_text("value = 1\n")
    (tmp_path / "made_up" / "door.py").write_text("import math\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_up"]:
        del sys.modules[name]


def test_a_module_is_imported_when_it_is_used(made_up):
    with lazily():
        from made_up import part
    assert "made_up" not in sys.modules
    assert part.value == 1 and "made_up.part" in sys.modules


def test_an_attribute_that_is_set_is_that_of_the_module(made_up):
    with lazily():
        from made_up import part
    part.value = 2
    assert importlib.import_module("made_up.part").value == 2


def test_an_attribute_that_a_test_replaces_for_a_while(made_up):
    with lazily():
        from made_up import part
    with mock.patch.object(part, "value", 2):
        assert importlib.import_module("made_up.part").value == 2
    assert importlib.import_module("made_up.part").value == 1


def test_modules_of_others(made_up):
    with lazily():
        from made_up.door import math
    assert "made_up" not in sys.modules
    assert math.sqrt(4) == 2


def test_an_error_in_the_block_leaves_imports_as_they_were():
    before = builtins.__import__
    with pytest.raises(ZeroDivisionError), lazily():
        1 / 0  # noqa: B018
    assert builtins.__import__ is before


def test_another_thread_imports_as_usual_while_a_block_runs(made_up):
    def imported():
        from made_up import part

        return part

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # starts the thread
        with lazily():
            found = pool.submit(imported).result()
    assert found is sys.modules["made_up.part"]


def test_blocks_of_two_threads_leave_imports_as_they_were():
    before, inside, leave = builtins.__import__, threading.Event(), threading.Event()

    def other():
        with lazily():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with lazily():
        thread.start()
        waits = not inside.wait(0.2)  # for the end of this block
    leave.set()
    thread.join()
    after, builtins.__import__ = builtins.__import__, before
    assert waits and after is before


def test_a_missing_library_names_its_extra():
    assert library("json.decoder", "mesh").JSONDecoder
    with pytest.raises(InputError, match=r"no_such_library is missing: pip install -e '\.\[mesh\]'"):
        library("no_such_library.part", "mesh")
