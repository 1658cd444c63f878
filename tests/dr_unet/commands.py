"""The training command on tiny recipes."""

import pytest

from dr_unet import train as training_command
from shared.recipes import flat


def settings(recipe):
    """The fields of a tiny recipe as arguments of the command."""
    names = ("width", "localiser_width", "precision", "epochs", "localiser_epochs", "batch_size", "localiser_batch_size",
             "spacing_mm", "image_shape", "input_factors", "localiser_factors", "localiser_shape", "crop_shape")  # fmt: skip
    values = {name: flat(recipe)[name] for name in names}
    texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}
    return ["--preset", "quick", *(text for name, value in texts.items() for text in ("--set", f"{name}={value}"))]


def refused(capsys, *arguments):
    """The line in which the command ends with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        training_command.main(list(map(str, arguments)))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error
