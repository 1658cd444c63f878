"""The one exception that means "your input, not our code": commands print its line and end with status 2."""


class InputError(ValueError):
    """A file, argument or folder that cannot be used. The message says what, what was expected, what was found, what to do."""
