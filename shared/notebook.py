"""What a paper's package offers at its top level, for notebooks: `import dr_unet; dr_unet.load(RUN)`.

Nothing is imported until it is asked for, so that importing the package stays instant.
"""

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any


def exported(package: str, **homes: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that gives each name from the module of the package that holds it.

    Args:
        package: its `__name__`.
        **homes: name -> module.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return getattr_


def callable_as(function: Callable[..., Any]) -> None:
    """Let the module of `function` be called like it: `dr_unet.predict(...)` and `dr_unet.predict.predict(...)` are the same.

    A package can have one thing only under a name, and `predict` is the module of the command.
    """

    class CallableModule(types.ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return function(*arguments, **options)

    sys.modules[function.__module__].__class__ = CallableModule
