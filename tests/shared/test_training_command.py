"""The training command: which experiment, folds and seed are asked for, and what is said when it is interrupted."""

from pathlib import Path

import pytest

from shared.errors import InputError
from shared.lifecycle import Method
from shared.training_command import default_of, folds_of, next_step, resumable, training_parser

NAMES, PRESETS = ("small", "large", "other"), ("paper", "quick")


def method(default="small"):
    """One that is asked for its names alone."""
    unused = dict.fromkeys(("split", "folds", "stages", "scorer", "check", "quick_minutes"))
    return Method(package="paper", recipes=dict.fromkeys(NAMES), default=default, presets=dict.fromkeys(PRESETS), **unused)


def parse(*arguments, default="small"):
    return training_parser(method(default), "Train.").parse_args(["--dataset", "acdc", *arguments])


@pytest.mark.parametrize(("text", "folds"), [("0", [0]), ("3", [3]), ("all", [0, 1, 2, 3])])
def test_folds(text, folds):
    assert folds_of(parse("--fold", text), 4) == folds
    assert folds_of(parse(), 4) == [0]


@pytest.mark.parametrize("text", ["x", "1.5", "", "ALL", "0,1", "-1"])
def test_a_fold_that_is_none(text, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(f"--fold={text}")
    error = capsys.readouterr().err
    assert (
        ended.value.code == 2
        and f"expected a whole number from 0 to 10000 or all, found {text!r}" in error
        and len(error.splitlines()) == 1
    )


def test_a_fold_that_the_recipe_does_not_have():
    with pytest.raises(InputError, match="^--fold 4: expected 0 to 3$"):
        folds_of(parse("--fold", "4"), 4)


def test_the_experiment_that_was_not_named(capsys):
    assert parse().experiment is None and parse("--experiment", "large").experiment == "large"
    assert default_of(method(), "acdc") == "small"
    for by_dataset, expected in (({"lasc": "small", "acdc": "large"}, "large"), ({"lasc": "other", "phantom": "small"}, "other")):
        assert parse(default=by_dataset).experiment is None and default_of(method(by_dataset), "acdc") == expected
    for default, shown in (("small", "small"), ({"lasc": "small", "acdc": "large"}, "small for lasc, large for acdc")):
        with pytest.raises(SystemExit):
            parse("--help", default=default)
        assert f"(default: {shown})" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("option", "wrong"), [
    ("--seed", ["-1", "4294967296", "1.5", "x", "", "9" * 5000]), ("--fold", ["-1", "1.5", "x", "ALL", "10001", "9" * 5000]),
])  # fmt: skip
def test_seeds_and_folds(option, wrong, capsys):
    parser = training_parser(method(), "Train.")
    for value, expected in (("0", 0), ("10000", 10_000)):
        assert vars(parser.parse_args(["--dataset", "acdc", option, value]))[option[2:]] == expected
    for value in wrong:
        with pytest.raises(SystemExit) as status:
            parser.parse_args(["--dataset", "acdc", f"{option}={value}"])
        line = capsys.readouterr().err
        assert status.value.code == 2 and f"argument {option}: expected a whole number from 0 to " in line and len(line) < 330


@pytest.mark.parametrize(("checkpoint", "said"), [
    (None, ()), ("checkpoint.npz", ("the same command goes on from the last checkpoint",)),
    ("localiser/checkpoint.npz", ("the same command goes on from the last checkpoint",)),
])  # fmt: skip
def test_only_a_run_with_a_checkpoint_goes_on(checkpoint, said, tmp_path):
    if checkpoint:
        (tmp_path / checkpoint).parent.mkdir(exist_ok=True)
        (tmp_path / checkpoint).touch()
    with pytest.raises(KeyboardInterrupt) as stopped, resumable(tmp_path):
        raise KeyboardInterrupt
    assert stopped.value.args == said


def test_the_next_step_is_no_patient_for_a_network_that_knows_phantoms_only():
    folder = Path("runs/dr_unet/a/lasc/fold0")
    assert next_step("dr_unet", "lasc", folder).endswith(
        f"report.html, or segment a scan: python -m dr_unet.predict --weights {folder} SCAN -o seg.nii.gz"
    )
    assert "predict" not in next_step("dr_unet", "phantom", folder) and "phantoms only" in next_step("dr_unet", "phantom", folder)
