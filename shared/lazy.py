"""Modules that are imported when something in them is first used.

    with lazily():
        from dr_unet import gcam, losses
        from shared.framework import keras

Keras with its backend, and matplotlib, take seconds to import. Commands answer --help and wrong arguments without them.
"""

import builtins
import contextlib
import importlib
import types


class Lazy:
    """Stands for what `from package import name` gives, until an attribute of it is asked for or set."""

    def __init__(self, package, name):
        vars(self).update(_package=package, _name=name)

    def __getattr__(self, attribute):
        return getattr(self._imported(), attribute)

    def __setattr__(self, attribute, value):
        setattr(self._imported(), attribute, value)

    def _imported(self):
        package = importlib.import_module(self._package)
        return vars(package).get(self._name) or importlib.import_module(f"{self._package}.{self._name}")


@contextlib.contextmanager
def lazily():
    """Make every `from package import module` in the block a `Lazy` one. Names that are not modules must not be imported here,
    with the exception of those that are modules of others, such as `keras` in `shared.framework`."""

    def promise(name, globals=None, locals=None, fromlist=(), level=0):
        return types.SimpleNamespace(**{each: Lazy(name, each) for each in fromlist})

    before = builtins.__import__
    builtins.__import__ = promise
    try:
        yield
    finally:
        builtins.__import__ = before
