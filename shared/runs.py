"""The run folder: what was run, on what, and what came out.

RUNS/<package>/<experiment>[-<preset>]/<dataset>/fold<k>/
    run.json           recipe, split, seed, versions, commit, data fingerprint, durations
    best.weights.h5    checkpoint.npz    history.csv    tensorboard/    lock
    predictions/       cases.csv    summary.md    figures/
"""

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import filelock

from shared import recipes
from shared.errors import InputError
from shared.files import fingerprint, read_json, remove_leftovers, visible, write_json
from shared.recipes import shown
from shared.run_fields import FIELDS, SOME

BEST, CHECKPOINT, HISTORY, SUMMARY = "best.weights.h5", "checkpoint.npz", "history.csv", "summary.md"
RECORD = "run.json"
REPORT = "report.html"
USUAL_BACKEND = "tensorflow"  # of Keras, unless KERAS_BACKEND says another
AGAIN = "put it back, or remove the run folder to start again"
R = TypeVar("R")  # a recipe


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a training command asks for, and where its run is kept.

    Attributes:
        package: of the paper.
        name: of the experiment, a key of the paper's `RECIPES`.
        dataset: a name in `datasets.DATASETS`.
        preset: "paper" or a shorter form of the recipe.
        fold: which part of the data is held out, from 0.
        split: in the place of the paper's own rule, "common" or a file; see `splits.given`.
        seed: of all random choices.
        deterministic: whether the same command gives the same bytes; without it, TensorFlow may take faster operations on a GPU.
        devices: how many of the machine train together, or "all"; see `learning.devices`.
        command: the command line that runs it again; it is kept in the record.
        workdir: where runs are kept.
    """

    package: str
    name: str
    dataset: str
    preset: str = "paper"
    fold: int = 0
    split: str = ""
    seed: int = 0
    deterministic: bool = True
    devices: int | str = 1
    command: str = ""
    workdir: Path = Path("runs")

    @property
    def folder(self) -> Path:
        """The run folder."""
        name = self.name if self.preset == "paper" else f"{self.name}-{self.preset}"
        part = f"split_{Path(self.split).stem}" if self.split else f"fold{self.fold}"
        return Path(self.workdir) / self.package / name / self.dataset / part

    @property
    def title(self) -> str:
        part = f"split {Path(self.split).stem}" if self.split else f"fold {self.fold}"
        return f"{self.name} ({self.preset}) on {self.dataset}, {part}"


def again(package: str, arguments: Sequence[str], folder: Path | None) -> str:
    """A training command as it is typed; with the seed, the backend and the kind of operations of the run in `folder`, if any."""
    record = record_of(folder) if folder else {}
    seed = ["--seed", str(record["seed"])] if record.get("seed") else []
    free = [] if record.get("deterministic", True) else ["--nondeterministic"]
    backend = record.get("backend", USUAL_BACKEND)
    before = "" if backend == USUAL_BACKEND else f"KERAS_BACKEND={backend} "
    return f"{before}python -m {package}.train {shlex.join([*arguments, *seed, *free])}"


def is_done(folder: Path) -> bool:
    """Whether the run is finished: its summary is written last."""
    return (folder / SUMMARY).is_file()


@contextlib.contextmanager
def locked(folder: Path, what: str = "run", option: str = "--workdir") -> Iterator[None]:
    """Make the folder of a run, or of `what`; within the block no other process can work on it.

    Raises:
        InputError: another process is working on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f"{folder}: another process works on this {what}; wait for its end, or choose another {option}"
        ) from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def differences(found: Any, wanted: Any) -> list[str]:
    """The fields in which two recipes of run.json differ, such as "stacks=2 there, 4 here"."""
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return []

    names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    return [f"{name}={shown(found.get(name, 'unknown'))} there, {shown(wanted.get(name, 'unknown'))} here" for name in names]


def record_of(weights: Path, *fields: str) -> dict[str, Any]:
    """The run.json of a run folder, or of the run that a file of weights lies in; nothing where they are of no run.

    Raises:
        InputError: a broken run.json, or one of these `fields` is missing there; see `read_record`.
    """
    folder = weights if weights.is_dir() else weights.parent
    return read_record(folder, *fields) if (folder / RECORD).is_file() else {}


# run.json -------------------------------------------------------------------------------------------------------------------


class Record:
    """The content of a run folder's run.json. Everything that is written there is written by this class."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], origin: Callable[[], Mapping[str, Any]]) -> None:
        """Write run.json, or take up the one that is there. One of another run of which nothing was trained yet is replaced.

        Args:
            folder: of the run.
            identity: field -> value, for everything that the result depends on.
            origin: gives further fields that say where a new run comes from.

        Raises:
            InputError: the folder holds a run with another identity, a trained run without run.json, a broken run.json, or
                weights that are not those that it records.
        """
        self.folder = folder
        identity = json.loads(json.dumps(identity))
        known = (folder / RECORD).exists()
        self.content = read_record(folder, "command", "commit", "hardware", "seconds") if known else {}
        begun = "result" in self.content or is_done(folder) or any(any(folder.rglob(name)) for name in (CHECKPOINT, BEST))
        differing = [key for key in identity if self.content.get(key) != identity[key]]
        if begun and not known:
            raise InputError(f"{folder / RECORD}: missing, so nobody knows which run is in the folder; {AGAIN}")
        if begun and differing:
            fields = differences(self.content.get("recipe"), identity.get("recipe"))
            recipe = f" ({'; '.join(fields)})" if fields else ""
            text = f"{folder} holds a run with another {', '.join(differing)}{recipe}"
            raise InputError(f"{text}; choose another --workdir or remove it")
        for name, digest in self.content.get("weights", {}).items():
            if not (folder / name).is_file() or fingerprint(folder / name) != digest:
                raise InputError(f"{folder / name}: missing, damaged or exchanged, {RECORD} records another file; {AGAIN}")
        if differing or not known:
            self.content = {**identity, **origin(), "seconds": {}}
            write_json(folder / RECORD, self.content)

    @property
    def structures(self) -> dict[int, str]:
        """Label value on disk -> name."""
        return {int(value): name for value, name in self.content["structures"].items()}

    def took(self, what: str, seconds: float) -> None:
        """Keep how long something took. If it was done more than once, the first time counts."""
        self.content["seconds"].setdefault(what, round(seconds, 1))

    def finish(self, stage: str, result: Mapping[str, Any]) -> None:
        """Keep the result of a trained network and write run.json."""
        self.content.setdefault("result", {})[stage] = dict(result)
        self.write()

    def write(self) -> None:
        """Write run.json, with the fingerprint of every weights file that the run has by now."""
        weights = sorted(self.folder.rglob(BEST))
        self.content["weights"] = {path.relative_to(self.folder).as_posix(): fingerprint(path) for path in weights}
        write_json(self.folder / RECORD, self.content)


def read_record(folder: Path, *fields: str) -> dict[str, Any]:
    """The content of a run folder's run.json, in which `fields` have been checked.

    Raises:
        InputError: it is missing or broken, or one of the fields is missing or holds something else.
    """
    path = folder / RECORD
    record = read_json(path)
    check_fields(record, path, *fields)
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a table of fields, found {shown(record)}; remove the run folder to start again")
    check_fields(record, path, *(field for field in SOME if field in record))
    return record


def check_fields(record: object, path: Path, *fields: str) -> None:
    """Raise InputError unless the `record` at `path` is a dictionary with these fields, each of the right kind."""
    for field in fields:
        words, holds = FIELDS[field]
        if not isinstance(record, dict) or field not in record or not holds(record[field]):
            found = shown(record[field]) if isinstance(record, dict) and field in record else "no such field"
            raise InputError(f"{path}: {field}: expected {words}, found {found}; remove the run folder to start again")


# Finished runs --------------------------------------------------------------------------------------------------------------


def folder_holding(weights: str | Path) -> Path:
    """The run folder that `weights` names: itself, or the one whose best.weights.h5 it is.

    Raises:
        InputError: neither.
    """
    weights = Path(weights)
    if weights.is_dir():
        return weights
    if weights.name != BEST or not weights.is_file():
        found = "another file" if weights.is_file() else "no such file"
        raise InputError(f"{weights}: expected a run folder or the {BEST} in it, found {found}")
    return weights.parent


def weights_of(folder: Path, stage: str = "") -> Path:
    """Path of the best weights of a run, or of one of its earlier stages.

    Raises:
        InputError: there are none yet, or they are not those that the run recorded.
    """
    path = folder / stage / BEST
    if not path.is_file():
        raise InputError(f"{path}: missing; the run has no weights yet")
    recorded = read_record(folder).get("weights", {}).get(path.relative_to(folder).as_posix())
    if recorded not in (None, fingerprint(path)):  # None: still in training, or trained before there were fingerprints
        raise InputError(f"{path}: damaged or exchanged, it is not the file that run.json records; copy the run again")
    return path


def load_recipe(folder: Path, Recipe: type[R]) -> tuple[R, dict[int, str]]:
    """The `Recipe` (a dataclass) of a run folder, and label value on disk -> structure name.

    Raises:
        InputError: no run.json, or one of another package, or one that the recipe refuses.
    """
    path = folder / RECORD
    try:
        if not path.exists():
            below = [each.parent.name for each in visible(folder, f"*/{RECORD}")]
            usual = "a run is a folder such as runs/PACKAGE/EXPERIMENT/DATASET/fold0"
            raise InputError(f"no such file; {f'did you mean {folder / below[0]}?' if below else usual}")
        record = read_record(folder, "recipe", "structures")
        package, own = record.get("package"), Recipe.__module__.partition(".")[0]
        if isinstance(package, str) and package != own and package.isidentifier():
            raise InputError(f"it is a run of {package[:40]}; use python -m {package[:40]}.predict")
        values = {field: tuple(value) if isinstance(value, list) else value for field, value in record["recipe"].items()}
        recipe = recipes.of_fields(Recipe, values)
        structures = {int(value): name for value, name in record["structures"].items()}
        wanted = [name.casefold() for name in values.get("structures", structures.values())]
        if wanted != [name.casefold() for name in structures.values()]:
            raise InputError(f"structures {', '.join(structures.values())} are not those of the recipe")
    except InputError as error:
        raise InputError(f"{path}: not a run of this package ({str(error).removeprefix(f'{path}: ')})") from error
    return recipe, structures
