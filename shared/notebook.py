"""What a paper's package offers at its top level, for notebooks: `import dr_unet; dr_unet.load(RUN)`.

Nothing is imported until it is asked for, and no framework until a network is built, so that importing the package stays instant.
"""

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any


def exported(package: str, **homes: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that gives each name from the module of the package that holds it, and those modules too.

    `dir(package)` lists them all, so that notebooks complete their names.

    Args:
        package: its `__name__`.
        **homes: name -> module. Functions of the module `model` import it, and with it the framework, when they are called.
    """

    def getattr_(name: str) -> Any:
        if name in homes.values():
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = f"{package}.{homes[name]}"
        return later(module, name) if homes[name] == "model" else getattr(importlib.import_module(module), name)

    vars(sys.modules[package])["__dir__"] = lambda: sorted({*vars(sys.modules[package]), *homes, *homes.values()})
    return getattr_


def later(module: str, name: str) -> Callable[..., Any]:
    """A function that imports the module at its first call, and then is the module's function called `name`."""

    def function(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"See `{module}.{name}`."
    return function


def callable_as(function: Callable[..., Any]) -> None:
    """Let the module of `function` be called like it: `dr_unet.predict(...)` and `dr_unet.predict.predict(...)` are the same.

    A package can have only one thing called `predict`, and that is the module of the command.
    """

    class CallableModule(types.ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return function(*arguments, **options)

    sys.modules[function.__module__].__class__ = CallableModule
