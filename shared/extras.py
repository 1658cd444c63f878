"""Libraries that only some commands need; `pip install -e '.[NAME]'` installs those of an extra."""

import importlib

from shared.errors import InputError


def library(name, extra):
    """The module `name`, imported when it is needed.

    Raises:
        InputError: it is missing; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name.partition('.')[0]} is missing: pip install -e '.[{extra}]'") from error
