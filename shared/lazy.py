"""Modules that are imported at their first use, and libraries that only some commands need.

    with lazily():
        from dr_unet import gcam, losses
        from shared.framework import keras

Keras with its backend, and matplotlib, take seconds to import. Commands answer --help and wrong arguments without them.
"""

import builtins
import contextlib
import importlib
import threading
import types
from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import InputError

_one_block = threading.RLock()  # held while `lazily` replaces Python's `__import__`


class Lazy:
    """Stands for what `from package import name` gives, until somebody gets, sets or deletes an attribute of it."""

    def __init__(self, package: str, name: str) -> None:
        vars(self).update(_package=package, _name=name)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._imported(), attribute)

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(self._imported(), attribute, value)

    def __delattr__(self, attribute: str) -> None:  # `unittest.mock` deletes what it replaced
        delattr(self._imported(), attribute)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # functions that know it travel to other processes
        return Lazy, (self._package, self._name)

    def _imported(self) -> types.ModuleType:
        package = importlib.import_module(self._package)
        return vars(package).get(self._name) or importlib.import_module(f"{self._package}.{self._name}")


@contextlib.contextmanager
def lazily() -> Iterator[None]:
    """Make every `from package import module` in the block a `Lazy` one.

    Only modules may be imported here, ours or others' (`keras` from `shared.framework`); functions and classes may not.

    The block replaces Python's `__import__` while it runs. This is the one place through which `from ... import` gets its names
    before `package` itself is imported; `importlib.util.LazyLoader` would import `shared.framework`, and with it Keras, to look
    for `keras` in it. Readers, editors and type checkers see ordinary imports.

    Imports of other threads stay as they are. If another thread comes to such a block too, it waits until this one ends.
    """
    ours = threading.get_ident()

    def promise(name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0) -> Any:
        if threading.get_ident() != ours:
            return before(name, globals, locals, fromlist, level)
        return types.SimpleNamespace(**{each: Lazy(name, each) for each in fromlist or ()})

    with _one_block:
        before = builtins.__import__
        builtins.__import__ = promise
        try:
            yield
        finally:
            builtins.__import__ = before


def library(name: str, extra: str) -> types.ModuleType:
    """The module `name`, imported now; `pip install -e '.[EXTRA]'` installs what it belongs to.

    Raises:
        InputError: the library is missing; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name.partition('.')[0]} is missing: pip install -e '.[{extra}]'") from error
