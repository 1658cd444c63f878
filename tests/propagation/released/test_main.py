"""The commands."""

import hashlib

import numpy as np
import pytest

from propagation.released.__main__ import main
from tests.propagation.released.small import narrow

NAME = "apparentflow_net_fold3"


def test_commands(site, tmp_path, capsys):
    main(["fetch", NAME, "--to", str(tmp_path), "--base", site.url])
    assert capsys.readouterr().out == f"{tmp_path}/{NAME}.h5: the weights of {NAME}\n"
    main(["check", f"{tmp_path}/{NAME}.h5"])
    digest = hashlib.sha256((tmp_path / f"{NAME}.h5").read_bytes()).hexdigest()
    count = sum(np.prod(v.shape, dtype=int) for v in narrow("apparentflow_net").weights)
    assert capsys.readouterr().out == (
        f"{tmp_path}/{NAME}.h5: apparentflow_net, {count:,} weights in 114 tensors, sha256 {digest}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fetch", "vgg", "--to", "{folder}", "--base", "{url}"], "unknown released file 'vgg': expected one of roi_net, "),
        (["fetch", "--to", "{folder}", "--base", "{url}"], "/ROI/model_roi_net_epoch050.h5: the server says 404"),
        (["check", "{folder}/absent.h5"], "no such file"),
        ([], "the following arguments are required: COMMAND"),
    ],
)  # fmt: skip
def test_commands_end_with_one_line_and_status_2(arguments, expected, server, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main([each.format(folder=tmp_path, url=server.url) for each in arguments])
    message = capsys.readouterr().err
    assert caught.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1
    assert expected in message
