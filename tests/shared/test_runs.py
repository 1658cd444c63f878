"""Run folders: where they lie, one process at a time, and records that are checked before they are used."""

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from shared import recipes, run_fields, runs
from shared.errors import InputError
from shared.runs import Experiment, Record
from tests.experiments import ORIGIN

ROOT = Path(__file__).parents[2]


def test_reading_runs_loads_no_pictures():
    code = "import sys; from shared import runs; print([name for name in ('matplotlib', 'keras') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(("options", "folder"), [
    ({}, "paper/small/acdc/fold0"), ({"preset": "quick", "fold": 3}, "paper/small-quick/acdc/fold3"),
    ({"name": "large", "dataset": "lasc"}, "paper/large/lasc/fold0"), ({"seed": 1, "command": "x"}, "paper/small/acdc/fold0"),
])  # fmt: skip
def test_where_a_run_lies(options, folder, tmp_path):
    experiment = Experiment(**{"package": "paper", "name": "small", "dataset": "acdc", "workdir": tmp_path, **options})
    assert experiment.folder == tmp_path / folder


@pytest.mark.parametrize(("record", "command"), [
    ({"seed": 0, "deterministic": True, "backend": "tensorflow"}, "python -m net.train --fold 1"),
    ({"seed": 7, "deterministic": True, "backend": "tensorflow"}, "python -m net.train --fold 1 --seed 7"),
    ({"seed": 0, "deterministic": False, "backend": "jax"}, "KERAS_BACKEND=jax python -m net.train --fold 1 --nondeterministic"),
    ({"recipe": {}}, "python -m net.train --fold 1"),  # of a time when records did not say it
    (None, "python -m net.train --fold 1"),  # not run yet
])  # fmt: skip
def test_how_to_make_a_run_again(record, command, tmp_path):
    if record is not None:
        (tmp_path / "run.json").write_text(json.dumps(record))
    assert runs.again("net", ["--fold", "1"], tmp_path) == command
    assert runs.again("net", ["--fold", "1"], None) == "python -m net.train --fold 1"


# One process at a time ------------------------------------------------------------------------------------------------------


LOCKED = """
import sys
from pathlib import Path
from shared import runs
with runs.locked(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_be_at_one_run(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", LOCKED, str(tmp_path / "run")], cwd=ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert first.stdout.readline() == "in\n"
    with pytest.raises(InputError, match="run: another process works on this run; wait"), runs.locked(tmp_path / "run"):
        pass
    first.kill()  # a killed process holds nothing
    first.wait()
    first.stdin.close()
    first.stdout.close()
    with runs.locked(tmp_path / "run"):
        pass
    with runs.locked(tmp_path / "run"):  # nor does a block that ended
        pass


# Records --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    width: int
    shape: tuple[int, ...]


def test_a_recipe_comes_back_from_its_run(tmp_path):
    Record(tmp_path, {"recipe": vars(Recipe(3, (8, 9))), "structures": {600: "RV", 205: "Myo"}}, lambda: ORIGIN)
    assert runs.load_recipe(tmp_path, Recipe) == (Recipe(3, (8, 9)), {600: "RV", 205: "Myo"})


def test_a_record_goes_on_with_the_run_it_belongs_to(tmp_path):
    identity = {"seed": 0, "recipe": {"width": 3, "shape": (8, 9)}, "structures": {600: "RV"}}
    first = Record(tmp_path, identity, lambda: ORIGIN)
    first.took("train", 1.25)
    first.finish("segmenter", {"steps": 4})
    again = Record(tmp_path, identity, lambda: {**ORIGIN, "commit": "a later one"})
    assert again.content == first.content == runs.read_record(tmp_path) and again.structures == {600: "RV"}
    assert (again.content["commit"], again.content["seconds"]) == ("c", {"train": 1.2})
    again.took("train", 9.0)
    assert again.content["seconds"] == {"train": 1.2}  # the first session counts
    before = (tmp_path / runs.RECORD).read_bytes()
    fields = r"seed, recipe \(width=3 there, 5 here; shape=8,9 there, unknown here\)"
    for other, words in (({"seed": 1}, "seed"), ({"seed": 1, "recipe": {"width": 5}}, fields), ({"new": 1}, "new")):
        with pytest.raises(InputError, match=f"holds a run with another {words}; choose another --workdir or remove it"):
            Record(tmp_path, {**identity, **other}, lambda: ORIGIN)
    assert (tmp_path / runs.RECORD).read_bytes() == before


def test_only_a_record_writes_run_json():
    """Any other writer would miss the fingerprints of the weights."""
    folders = ("shared", "acdc_segmenter_tf", "dr_unet", "propagation", "scripts")
    texts = {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")}
    able = [path for path, text in texts.items() if "write_json(" in text and ("run.json" in text or "RECORD" in text)]
    assert [path.relative_to(ROOT).as_posix() for path in able] == ["shared/runs.py"]
    tree = ast.parse(texts[able[0]])
    (record,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Record")

    def calls(part):
        return [node for node in ast.walk(part) if isinstance(node, ast.Call) and ast.unparse(node.func) == "write_json"]

    assert calls(tree) == calls(record) != []


def test_weights_are_those_that_the_run_recorded(tmp_path):
    record = Record(tmp_path, {}, lambda: ORIGIN)
    for stage in ("", "localiser"):
        (tmp_path / stage).mkdir(exist_ok=True)
        (tmp_path / stage / runs.BEST).write_bytes(stage.encode() + b"weights")
    assert runs.weights_of(tmp_path) == tmp_path / runs.BEST  # in training: nothing is recorded yet
    record.write()
    assert set(runs.read_record(tmp_path)["weights"]) == {"best.weights.h5", "localiser/best.weights.h5"}
    assert runs.weights_of(tmp_path, "localiser") == tmp_path / "localiser" / runs.BEST
    (tmp_path / "localiser" / runs.BEST).write_bytes(b"other weights")
    assert runs.weights_of(tmp_path) == tmp_path / runs.BEST
    with pytest.raises(InputError, match="localiser/best.weights.h5: damaged or exchanged"):
        runs.weights_of(tmp_path, "localiser")
    (tmp_path / runs.BEST).unlink()
    with pytest.raises(InputError, match="best.weights.h5: missing; the run has no weights yet"):
        runs.weights_of(tmp_path)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"other"), lambda path: path.unlink()])
def test_a_run_does_not_go_on_with_other_weights_than_it_recorded(tmp_path, damage):
    """A later stage would begin with them, and run.json would record them."""
    record = Record(tmp_path, {}, lambda: ORIGIN)
    path = tmp_path / "localiser" / runs.BEST
    path.parent.mkdir()
    path.write_bytes(b"weights")
    Record(tmp_path, {}, lambda: ORIGIN)  # in training: nothing is recorded yet
    record.finish("localiser", {})
    before = (tmp_path / runs.RECORD).read_bytes()
    Record(tmp_path, {}, lambda: ORIGIN)
    damage(path)
    with pytest.raises(InputError, match="localiser/best.weights.h5: missing, damaged or exchanged.*remove the run folder"):
        Record(tmp_path, {}, lambda: ORIGIN)
    assert (tmp_path / runs.RECORD).read_bytes() == before


@pytest.mark.parametrize("file", [runs.SUMMARY, runs.CHECKPOINT, f"step1/{runs.BEST}"])
def test_a_trained_run_without_a_record_does_not_go_on(tmp_path, file):
    """Any recipe would be recorded as its own."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(InputError, match="run.json: missing, so nobody knows which run is in the folder.*remove the run folder"):
        Record(tmp_path, {}, lambda: ORIGIN)
    assert not (tmp_path / runs.RECORD).exists()


def test_a_weights_file_is_the_one_that_was_named(tmp_path):
    """`RUN/typo.weights.h5` once loaded best.weights.h5."""
    (tmp_path / runs.BEST).touch()
    (tmp_path / "last.weights.h5").touch()
    assert runs.folder_holding(tmp_path) == runs.folder_holding(str(tmp_path / runs.BEST)) == tmp_path
    for name, found in (("typo.weights.h5", "no such file"), ("last.weights.h5", "another file")):
        with pytest.raises(InputError, match=f"{name}: expected a run folder or the best.weights.h5 in it, found {found}"):
            runs.folder_holding(tmp_path / name)


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


def test_a_folder_that_is_no_run_is_told_which_could_be_meant(tmp_path):
    with pytest.raises(
        InputError, match="run.json: not a run of this package .no such file; a run is a folder such as runs/PACKAGE"
    ):
        runs.load_recipe(tmp_path, Recipe)
    (tmp_path / "fold3").mkdir()
    (tmp_path / "fold3" / "run.json").write_text("{}")
    with pytest.raises(InputError, match=f"did you mean {tmp_path}/fold3?"):
        runs.load_recipe(tmp_path, Recipe)


@dataclass(frozen=True)
class Checked:
    width: Annotated[int, recipes.whole(1, 512)]
    structures: Annotated[tuple[str, ...], recipes.structures()]

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
         "seconds": [], "split": [], "held": [], "seed": [3], "backend": ["x"], "deterministic": [],
         "tables": [{"a": "b"}, {"train": "a", "validation": "b", "test": "c"}],
         "weights": [{"a": "b"}, {"train": "a", "validation": "b", "test": "c"}]}  # fmt: skip


@pytest.mark.parametrize("field", run_fields.FIELDS)
def test_fields_of_a_record_are_checked_before_they_are_used(tmp_path, field):
    for record in [*({field: value} for value in WRONG if value not in RIGHT[field]), {}, [], 3]:
        (tmp_path / "run.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=f"run.json: {field}: expected .*, found .*remove the run folder") as raised:
            runs.read_record(tmp_path, field)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 300 + len(str(tmp_path))
    for value in RIGHT[field]:
        (tmp_path / "run.json").write_text(json.dumps({field: value}))
        assert json.dumps(runs.read_record(tmp_path, field)[field]) == json.dumps(value)


@pytest.mark.parametrize(("field", "value"), [("backend", "j\nax"), ("commit", "a\nb"), ("seed", -1), ("seed", True)])
def test_what_goes_into_a_command_that_is_printed_is_one_word(tmp_path, field, value):
    (tmp_path / "run.json").write_text(json.dumps({field: value}))
    with pytest.raises(InputError, match=f"run.json: {field}: expected "):
        runs.read_record(tmp_path, field)


@pytest.mark.parametrize("field", ["command", "commit", "hardware", "seconds", "result"])
def test_a_run_with_a_damaged_record_does_not_go_on(tmp_path, field):
    def run():
        Record(tmp_path, {"package": "p"}, lambda: ORIGIN)

    run()
    record = runs.read_record(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**record, field: 3}))
    with pytest.raises(InputError, match=f"run.json: {field}: expected a .*, found 3"):
        run()
    if field != "result":
        (tmp_path / "run.json").write_text(json.dumps({name: value for name, value in record.items() if name != field}))
        with pytest.raises(InputError, match=f"run.json: {field}: expected a .*, found no such field"):
            run()
