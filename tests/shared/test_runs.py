"""Run folders: what training commands ask for, how a run is scored, and how its folds are pooled."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shared import held_out, recipes, runs
from shared.datasets import Case
from shared.errors import InputError
from shared.files import read_csv, read_json, write_csv, write_json, write_text
from shared.scans import volume
from shared.training_command import experiment_of, folds_of, training_parser

ROOT = Path(__file__).parents[2]
RECIPES, PRESETS = ("small", "large", "other"), ("paper", "quick")


def test_reading_runs_loads_no_pictures():
    code = "import sys; from shared import runs; print([name for name in ('matplotlib', 'keras') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ended.stdout == "[]\n"


# Arguments ------------------------------------------------------------------------------------------------------------------


def parse(*arguments, default="small"):
    parser = training_parser("small", "Train.", RECIPES, default, PRESETS)
    return parser.parse_args(["--dataset", "acdc", *arguments])


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
    assert experiment_of(parse(), "small") == "small"
    assert experiment_of(parse("--experiment", "large"), "small") == "large"
    for by_dataset, expected in (({"lasc": "small", "acdc": "large"}, "large"), ({"lasc": "other", "phantom": "small"}, "other")):
        options = parse(default=by_dataset)
        assert options.experiment is None and experiment_of(options, by_dataset) == expected
        assert experiment_of(parse("--experiment", "small", default=by_dataset), by_dataset) == "small"
    for default, shown in (("small", "small"), ({"lasc": "small", "acdc": "large"}, "small for lasc, large for acdc")):
        with pytest.raises(SystemExit):
            parse("--help", default=default)
        assert f"(default: {shown})" in " ".join(capsys.readouterr().out.split())


# Records --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    width: int
    shape: tuple[int, ...]


def test_a_recipe_comes_back_from_its_run(tmp_path):
    with runs.opened(tmp_path, {"recipe": vars(Recipe(3, (8, 9))), "structures": {600: "RV", 205: "Myo"}}, "train"):
        pass
    assert runs.load_recipe(tmp_path, Recipe) == (Recipe(3, (8, 9)), {600: "RV", 205: "Myo"})


LOCKED = """
import sys
from pathlib import Path
from shared import runs
with runs.opened(Path(sys.argv[1]), {}, "train"):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_be_at_one_run(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", LOCKED, str(tmp_path / "run")], cwd=ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert first.stdout.readline() == "in\n"
    with pytest.raises(InputError, match="run: another process is at this run; wait"), runs.opened(tmp_path / "run", {}, "train"):
        pass
    first.kill()  # a killed process holds nothing
    first.wait()
    first.stdin.close()
    first.stdout.close()
    with runs.opened(tmp_path / "run", {}, "train") as record:
        assert record["command"] == "train"
    with runs.opened(tmp_path / "run", {}, "train"):  # nor does a block that ended
        pass


def test_weights_are_those_that_the_run_recorded(tmp_path):
    for stage in ("", "localiser"):
        (tmp_path / stage).mkdir(exist_ok=True)
        (tmp_path / stage / runs.BEST).write_bytes(stage.encode() + b"weights")
    with runs.opened(tmp_path, {}, "train") as record:
        assert runs.weights_of(tmp_path) == tmp_path / runs.BEST  # in training: nothing is recorded yet
        runs.write_record(tmp_path, record)
    assert set(runs.read_record(tmp_path)["weights"]) == {"best.weights.h5", "localiser/best.weights.h5"}
    assert runs.weights_of(tmp_path, "localiser") == tmp_path / "localiser" / runs.BEST
    (tmp_path / "localiser" / runs.BEST).write_bytes(b"other weights")
    assert runs.weights_of(tmp_path) == tmp_path / runs.BEST
    with pytest.raises(InputError, match="localiser/best.weights.h5: damaged or exchanged"):
        runs.weights_of(tmp_path, "localiser")
    (tmp_path / runs.BEST).unlink()
    with pytest.raises(InputError, match="best.weights.h5: missing; the run has no weights yet"):
        runs.weights_of(tmp_path)


def test_a_weights_file_is_the_one_that_was_named(tmp_path):
    """`RUN/typo.weights.h5` once loaded best.weights.h5."""
    (tmp_path / runs.BEST).touch()
    (tmp_path / "last.weights.h5").touch()
    assert runs.folder_holding(tmp_path) == runs.folder_holding(str(tmp_path / runs.BEST)) == tmp_path
    for name, found in (("typo.weights.h5", "no such file"), ("last.weights.h5", "another file")):
        with pytest.raises(InputError, match=f"{name}: expected a run folder or the best.weights.h5 in it, found {found}"):
            runs.folder_holding(tmp_path / name)


def test_every_source_and_library_counts_for_prepared_cases(tmp_path, monkeypatch):
    for name in ("shared", "paper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.setattr(
        runs.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / name / "__init__.py"))
    )
    found = [runs.code.__wrapped__("paper")]
    for path in (tmp_path / "shared/scans/new.py", tmp_path / "paper/__init__.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("step = 2")
        found.append(runs.code.__wrapped__("paper"))
    monkeypatch.setattr(runs.importlib.metadata, "version", lambda name: "0.1")
    assert len({*found, runs.code.__wrapped__("paper")}) == 4


@pytest.mark.parametrize("record", [
    None, "{", "[]", "3", "{}", {"recipe": {"width": 3}, "structures": {}}, {"recipe": [], "structures": {}},
    {"recipe": {"width": 3, "shape": [1], "depth": 2}, "structures": {}}, {"recipe": {"width": 3, "shape": [1]}},
    {"recipe": {"width": 3, "shape": [1]}, "structures": {"one": "LV"}},
    {"recipe": {"width": 3, "shape": [1]}, "structures": ["LV"]}, "[" * 100_000,
    '{"a":' * 100_000, '{"recipe": ' + "9" * 5000 + "}",
    *({"recipe": {"width": 3, "shape": [1]}, "structures": structures} for structures in (
        {}, None, {"0": "LV"}, {"-1": "LV"}, {"65536": "LV"}, {"1": ""}, {"1": 2}, {"1": "LV", "01": "RV"},
        {"1": "LV", "2": "lv"}, {"1.5": "LV"}, {"\u0663": "LV"}, {"1" * 5000: "LV"})),
])  # fmt: skip
def test_a_record_of_something_else(tmp_path, record):
    if record is not None:
        (tmp_path / "run.json").write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(InputError, match="run.json: not a run of this package") as raised:
        runs.load_recipe(tmp_path, Recipe)
    assert "\n" not in str(raised.value) and str(raised.value).count("run.json") == 1


@dataclass(frozen=True)
class Checked:
    width: recipes.whole(1, 512)
    structures: recipes.structures()

    def __post_init__(self):
        recipes.check(self)


@pytest.mark.parametrize(("width", "structures", "words"), [
    ("3", {"1": "LV"}, "width: expected a whole number from 1 to 512, found 3"),
    (0, {"1": "LV"}, "width: expected a whole number from 1 to 512, found 0"),
    (3, {"1": "RV"}, "structures RV are not those of the recipe"),
    (3, {"1": "LV", "2": "RV"}, "structures LV, RV are not those of the recipe"),
])  # fmt: skip
def test_a_recipe_changed_by_hand_is_refused(tmp_path, width, structures, words):
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {"width": width, "structures": ["LV"]}, "structures": structures}))
    with pytest.raises(InputError) as raised:
        runs.load_recipe(tmp_path, Checked)
    assert str(raised.value) == f"{tmp_path}/run.json: not a run of this package ({words})"


WRONG = [None, 3, "x", [], ["a"], {"a": "b"}, {"train": ["a"]}, {"train": "a", "validation": "b", "test": "c"}, {"a": -1.0},
         {"train": [1], "validation": [2], "test": [3]}, {"a": float("nan")}, {"a": True}]  # fmt: skip
TABLES = [value for value in WRONG if isinstance(value, dict)]
RIGHT = {"command": ["x"], "commit": ["x"], "hardware": ["x"], "recipe": TABLES, "result": TABLES, "structures": [],
         "seconds": [], "split": [], "weights": [{"a": "b"}, {"train": "a", "validation": "b", "test": "c"}]}  # fmt: skip


@pytest.mark.parametrize("field", runs.FIELDS)
def test_fields_of_a_record_are_checked_before_they_are_used(tmp_path, field):
    for record in [*({field: value} for value in WRONG if value not in RIGHT[field]), {}, [], 3]:
        (tmp_path / "run.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=f"run.json: {field}: expected .*, found .*remove the run folder") as raised:
            runs.read_record(tmp_path, field)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 300 + len(str(tmp_path))
    for value in RIGHT[field]:
        (tmp_path / "run.json").write_text(json.dumps({field: value}))
        assert json.dumps(runs.read_record(tmp_path, field)[field]) == json.dumps(value)


@pytest.mark.parametrize("field", ["command", "commit", "hardware", "seconds", "result"])
def test_a_run_with_a_damaged_record_does_not_go_on(tmp_path, field):
    def run():
        with runs.opened(tmp_path, {"package": "p"}, "train"):
            pass

    run()
    record = runs.read_record(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**record, field: 3}))
    with pytest.raises(InputError, match=f"run.json: {field}: expected a t.*, found 3"):
        run()
    if field != "result":
        (tmp_path / "run.json").write_text(json.dumps({name: value for name, value in record.items() if name != field}))
        with pytest.raises(InputError, match=f"run.json: {field}: expected a t.*, found no such field"):
            run()


# Files ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "words"), [
    (None, "cannot be read (No such file or directory)"), (b"", "expected JSON in UTF-8"), (b"{", "expected JSON in UTF-8"),
    (b"\xff\xfe{}", "expected JSON in UTF-8 ('utf-8' codec can't decode"), (b"[" * 100_000, "brackets nested too deep"),
    (b"9" * 5000, "expected JSON in UTF-8 (Exceeds the limit"), (b"{} {}", "expected JSON in UTF-8 (Extra data"),
])  # fmt: skip
def test_json_that_is_none(content, words, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_json(path)
    assert str(raised.value).startswith(f"{path}: ") and words in str(raised.value)
    with pytest.raises(InputError, match="cannot be read .Is a directory"):
        read_json(tmp_path)


def test_json_as_other_programs_write_it(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5, "\udcff"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, "\udcff"]}
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")  # with a byte order mark, as Windows' editors do
    assert read_json(tmp_path / "a.json") == [1]


@pytest.mark.parametrize(("content", "words"), [
    (b"a,b\n1,\xff\n", "expected a table in CSV format"), (b"a,b\n1,2\n1\n", "line 3 does not have the 2 cells"),
    (b"a,b\n1,2,3\n", "line 2 does not have the 2 cells"), (b"a\n" + b"x" * 200_000, "expected a table in CSV format"),
])  # fmt: skip
def test_csv_that_is_none(content, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_csv(path)
    assert str(raised.value).startswith(f"{path}: ") and words in str(raised.value)


@pytest.mark.parametrize("text", ["inf", "-inf", "1e400", "1e16", "x", "9" * 5000])
def test_columns_of_numbers_hold_numbers_that_can_be_reckoned_with(text, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"a,case,b\n1,{text},\n2,inf,{text}\n")
    with pytest.raises(InputError, match=r"a\.csv: line 3, column b: expected a number or nothing, found") as raised:
        read_csv(path, ("a", "b"))
    assert len(str(raised.value)) < 200 + len(str(path))
    assert [row["b"] for row in read_csv(path, ("a",))] == ["", text]  # where nobody asks for numbers, it is text


def test_names_of_files_that_are_no_text_can_be_written(tmp_path):
    write_csv(tmp_path / "a.csv", [{"case": "\udcff"}])
    write_text(tmp_path / "a.md", "\udcff\n")
    assert (tmp_path / "a.csv").read_text() == "case\n\\udcff\n" and (tmp_path / "a.md").read_text() == "\\udcff\n"


# Held-out cases -------------------------------------------------------------------------------------------------------------


def square(*columns):
    """(4, 4, 2) labels: the given columns are 1."""
    array = np.zeros((4, 4, 2), np.uint8)
    array[list(columns)] = 1
    return volume.from_array(array, (2.0, 2.0, 5.0))


@pytest.fixture
def cases(tmp_path):
    found = []
    for name in ("a", "b"):
        image, label = tmp_path / f"{name}.nii", tmp_path / f"{name}_gt.nii"
        volume.write(square(1).with_array(np.arange(32, dtype=np.int16).reshape(4, 4, 2)), image)
        volume.write(square(1), label)
        found.append(Case(patient=name, phase="", image=image, label=label, group="", structures={1: "LA"}))
    return found


def evaluate(folder, cases, history="val_loss", predict=lambda scan, case: (square(1, 2), None), **options):
    history = {"step": 1, "loss": 0.5, history: 0.5, "val_dice": 0.5}
    write_csv(folder / "history.csv", [history, history])
    record = {"command": "train", "commit": "c", "hardware": "h", "dataset": "acdc", "data": "d" * 20, "structures": {"1": "LA"},
              "seconds": {"train": 3.0}}  # fmt: skip
    held_out.evaluate(folder, cases, predict, record, ["# headline"], **options)
    return (folder / "summary.md").read_text()


def test_scores_on_the_scans_grid_alone(tmp_path, cases):
    summary = evaluate(tmp_path / "run", cases)
    assert "paper's grid" not in summary and summary.count("| LA | all |") == 1
    assert not (tmp_path / "run/cases_resampled.csv").exists()
    assert json.loads((tmp_path / "run/run.json").read_text())["seconds"].keys() == {"train", "evaluate"}


def test_scores_on_the_papers_grid_too(tmp_path, cases, capsys):
    asked = []

    def predict(scan, case):
        asked.append((case.name, scan.array.max()))
        return square(1, 2), (square(1), square(*((1,) if case.name == "a" else (1, 2, 3))))

    summary = evaluate(tmp_path / "run", cases, predict=predict)
    assert asked == [("a", 31), ("b", 31)]
    native, other = (read_csv(tmp_path / "run" / name) for name in ("cases.csv", "cases_resampled.csv"))
    assert [list(row) for row in other] == [list(row) for row in native]
    assert [row["dice"] for row in native] == pytest.approx([2 / 3] * 2)  # 2 * 1 / (2 + 1)
    assert [(row["case"], row["dice"]) for row in other] == [("a", 1), ("b", 0.5)]  # 2 * 1 / (1 + 3)
    first, second = summary.split("On the paper's grid:")
    assert "| LA | all | 2 | 0.667 (0.000) |" in first and "| LA | all | 2 | 0.750 (0.250) |" in second
    assert "On the paper's grid:" in capsys.readouterr().out


def test_a_reference_that_is_not_the_one_on_disk(tmp_path, cases):
    evaluate(tmp_path / "run", cases, reference=lambda case, scan: square(1, 2))
    assert [row["dice"] for row in read_csv(tmp_path / "run/cases.csv")] == [1, 1]


def test_a_history_without_validation_loss(tmp_path, cases):
    evaluate(tmp_path / "run", cases, history="val_jaccard")
    assert (tmp_path / "run/figures/learning_curve.png").stat().st_size > 0


def rows(*dices, phase=""):
    scores = {"jaccard": 0.5, "sensitivity": 0.5, "hausdorff_mm": 3.0, "assd_mm": 1.0, "volume_ml": 9.0, "reference_ml": 9.0}
    return [
        {"case": f"00{i}", "patient": f"00{i}", "phase": phase, "group": "", "structure": "LA", "dice": dice, **scores}
        for i, dice in enumerate(dices)
    ]


def test_pooling_folds(tmp_path, capsys):
    """Mean and std of 0.6, 0.7 and 1.0, 1.0, 0.7 are 0.8 and sqrt((0.04 + 0.01 + 0.04 + 0.04 + 0.01) / 5) = 0.167; the mean of
    the folds' means would be 0.775."""
    target = tmp_path / "large-quick" / "lasc"
    folders = [target / "fold0", target / "fold3"]
    for folder, dices in zip(folders, ((0.6, 0.7), (1.0, 1.0, 0.7)), strict=True):
        write_csv(folder / "cases.csv", rows(*dices))
    write_csv(folders[0] / "cases_resampled.csv", rows(0.2, 0.4))
    held_out.pool(folders, target)
    pooled = read_csv(target / "cases.csv")
    assert list(pooled[0]) == ["fold", *rows(1)[0]]
    assert [(row["fold"], row["case"], row["dice"]) for row in pooled] == [
        (0, "000", 0.6), (0, "001", 0.7), (3, "000", 1.0), (3, "001", 1.0), (3, "002", 0.7),
    ]  # fmt: skip
    summary = (target / "summary.md").read_text()
    assert summary.startswith("# large-quick on lasc, 2 folds\n") and "fold0, fold3" in summary
    assert "| LA | all | 5 | 0.800 (0.167) |" in summary and "paper's grid" not in summary
    assert capsys.readouterr().out.splitlines()[-1].endswith(str(target / "summary.md"))
    assert not (target / "cases_resampled.csv").exists()  # one fold has none

    write_csv(folders[1] / "cases_resampled.csv", rows(0.6))
    held_out.pool(folders, target)
    assert [(row["fold"], row["dice"]) for row in read_csv(target / "cases_resampled.csv")] == [(0, 0.2), (0, 0.4), (3, 0.6)]
    native, resampled = (target / "summary.md").read_text().split("On the paper's grid:")
    assert "0.800 (0.167)" in native and "| LA | all | 3 | 0.400 (0.163) |" in resampled  # sqrt((0.04 + 0 + 0.04) / 3)
