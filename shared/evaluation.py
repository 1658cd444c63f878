"""Score any label maps: predictions against references on the same grid -> one row per case and structure (`cases.csv`).

    python -m shared.evaluation PREDICTIONS REFERENCES --structures acdc [-o cases.csv]

takes two label maps, or two folders of them whose file names match (see `score_folders`).
"""

import os
import re
import unicodedata
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared import cli, datasets
from shared.datasets import acdc, lasc, mmwhs, mnms, nnunet
from shared.datasets.case import check_values, known_name, values_in
from shared.errors import InputError
from shared.files import files_below, write_csv
from shared.progress import Progress, counted
from shared.scans import volume
from shared.scans.volume import Volume
from shared.scoring import tables
from shared.scoring.scores import RULE, Scores, score


@dataclass(frozen=True)
class Values:
    """What the values of label maps mean.

    Attributes:
        structures: label value -> name of the structures that are scored; several values may have the same name.
        ignore: value of reference voxels that are left out; None: all voxels count.
        closed: whether any other value than these and 0 is refused; if not, it counts as background, with a warning.
    """

    structures: dict[int, str]
    ignore: int | None
    closed: bool

    @property
    def known(self) -> dict[int, str]:
        """Label value -> name, for all values that have a meaning."""
        return {0: "background", **self.structures} | ({} if self.ignore is None else {self.ignore: "ignore"})


SETS = {
    "acdc": Values(acdc.STRUCTURES, None, closed=True),
    "lasc": Values(lasc.STRUCTURES, None, closed=True),
    "mmwhs": Values(mmwhs.STRUCTURES, None, closed=mmwhs.CLOSED),
    "mnms": Values(mnms.STRUCTURES, None, closed=True),
}
THREADS = 8  # at most: each holds a pair of label maps in memory
EXPECTED = f"{', '.join(SETS)}, or VALUE=NAME,VALUE=NAME,... (VALUE=ignore: leave these voxels of the reference out)"


def score_folders(predictions: Path, references: Path, values: Values) -> list[Scores]:
    """Rows of every label map in `references`, each against the prediction of the same name (without suffix).

    Where references are called `NAME_gt`, as in ACDC, `NAME_label`, as in MM-WHS, or `NAME/laendo`, as in LASC, the other files
    there are taken for scans. The prediction is then called `NAME`, or like the reference. A prediction `NAME_0000` or
    `NAME_image`, named after a scan in the layout of nnU-Net or MM-WHS, also belongs to the reference `NAME`.

    Args:
        predictions, references: two folders, or two files with any names.
        values: what the label values of both mean.

    Raises:
        InputError: no references, one without prediction, several files of one name, values that are not known, or no reference
            with any of the structures.
    """
    pairs = pairs_of(predictions, references)
    rows: list[Scores] = []
    in_references: set[int] = set()
    others: set[int] = set()
    other_files = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as pool:
        scored = pool.map(lambda name: score_files(name, *pairs[name], values), pairs)
        try:
            for own, found in Progress("scoring", len(pairs)).over(scored):
                rows += own
                in_references |= found[1]
                others |= (found[0] | found[1]) - set(values.known)
                other_files += sum(bool(each - set(values.known)) for each in found)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    check_found(references, in_references, values)
    if others:
        where = counted(other_files, "file")
        warnings.warn(
            f"label values {listed(others)} in {where} count as background: --structures does not name them", stacklevel=2
        )
    return rows


def score_files(name: str, predicted: Path, reference: Path, values: Values) -> tuple[list[Scores], list[set[int]]]:
    """Rows of one pair of files, and the values that occur in each of them."""
    (ours, first), (theirs, second) = (read_known(path, values) for path in (predicted, reference))
    patient, phase = nnunet.patient_and_phase(name)
    phase = "" if phase.startswith("frame") else phase  # which frame is ES differs from patient to patient
    about = {"case": name, "patient": patient, "phase": phase, "group": ""}
    return score(ours, theirs, values.structures, about, values.ignore), [first, second]


def read_known(path: Path, values: Values) -> tuple[Volume, set[int]]:
    """The label map of a file, 3D or a cine, and the values that occur in it.

    Raises:
        InputError: the file cannot be read, or holds values that are not known.
    """
    labels = volume.read_labels(path)
    found = values_in(labels)
    if values.closed:
        check_values(path, found, values.known, "say what they mean with --structures VALUE=NAME,...")
    return labels, found


def label_maps(path: Path) -> list[Path]:
    """The label maps that an argument means: a file, or the files of a folder and below; of these only the references, if their
    names tell them apart (as in ACDC). A warning counts others of patients without a reference.

    Raises:
        InputError: a folder without label maps.
    """
    if not path.is_dir():
        return [path]
    paths = [each for each in files_below(path) if each.name.lower().endswith(volume.SUFFIXES)]
    if not paths:
        raise InputError(f"{path}: no label maps ({', '.join(volume.SUFFIXES)})")
    references = [each for each in paths if datasets.is_reference(each)]
    if not references:
        return paths
    patients = {(each.parent, nnunet.patient_and_phase(name_of(each, path))[0]) for each in references}
    scans = [each for each in paths if not any((each.parent, name) in patients for name in starts_of(each, path))]
    if scans:
        what = f"{counted(len(scans), 'file')} such as {scans[0].name}, since others are called like {references[0].name}"
        warnings.warn(f"{path}: taken for scans without references, and left out: {what}", stacklevel=2)
    return references


def starts_of(path: Path, folder: Path) -> Iterator[str]:
    """The name of a case below `folder`, without its last words: one of these is the patient."""
    words = name_of(path, folder).split("_")
    return ("_".join(words[:end]) for end in range(len(words), 0, -1))


def check_found(references: Path, found: Collection[int], values: Values) -> None:
    """Refuse references without any of the structures; warn where they lack some.

    Raises:
        InputError: none of the structures' values is among the label values `found`.
    """
    if values.structures.keys().isdisjoint(found):
        wanted = ", ".join(f"{value} {name}" for value, name in values.structures.items())
        raise InputError(f"{references}: no reference has any of the structures asked for ({wanted}); found the label values "
                         f"{listed(found)}; say what they mean with --structures VALUE=NAME,...")  # fmt: skip
    present = {name for value, name in values.structures.items() if value in found}
    lacking = [name for name in dict.fromkeys(values.structures.values()) if name not in present]
    if lacking:
        warnings.warn(f"{references}: no reference has {', '.join(lacking)}; its Dice is 1 where nothing is predicted, else 0",
                      stacklevel=3)  # fmt: skip


def listed(values: Collection[int]) -> str:
    """The first label values, in one line."""
    shown = ", ".join(map(str, sorted(values)[:8]))
    return f"{shown}, ... ({len(values)} of them)" if len(values) > 8 else shown


def pairs_of(predictions: Path, references: Path) -> dict[str, tuple[Path, Path]]:
    """Case name -> (file of the prediction, file of the reference). A warning counts predictions without a reference.

    Raises:
        InputError: see `score_folders`.
    """
    if predictions.is_file() and references.is_file():
        return {name_of(references, references.parent): (predictions, references)}
    wanted = by_name(references)
    predicted = of_cases(predictions, {name: (name,) for name in wanted})
    return {name: (path, wanted[name]) for name, path in predicted.items()}


def of_cases(folder: Path, names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Case -> its label map below `folder`. A warning counts the label maps of no case.

    Args:
        folder: of label maps.
        names: case -> what its label map may be called, without suffix; where it is not, it may also be named after a scan in the
            layout of nnU-Net or MM-WHS, with `_0000` or `_image` at the end.

    Raises:
        InputError: see `by_name`; or a case with no label map, or with two of these names.
    """
    found = by_name(folder)
    names = {case: [composed(name) for name in allowed] for case, allowed in names.items()}
    ends = ("", "_0000", mmwhs.IMAGE)
    chosen = {case: [name + end for name in allowed for end in ends if name + end in found] for case, allowed in names.items()}
    missing = [case for case, maps in chosen.items() if not maps]
    if missing:
        raise InputError(f"{folder}: no prediction for {len(missing)} of {len(names)} references, first {missing[0]}; "
                         f"expected it to be called {missing[0]}.nii.gz")  # fmt: skip
    for allowed in names.values():
        own = [found[name] for name in allowed if name in found]
        if len(own) > 1:
            raise InputError(f"{own[0]} and {own[1]}: two label maps of one case; leave one of them there")
    paths = {case: found[maps[0]] for case, maps in chosen.items()}
    extra = [name for name, path in found.items() if path not in paths.values()]
    if extra:
        warnings.warn(f"{folder}: predictions without a reference are not scored: {len(extra)}, such as {extra[0]}", stacklevel=4)
    return paths


def by_name(folder: Path) -> dict[str, Path]:
    """Name of the case -> its label map below `folder`.

    Raises:
        InputError: no such folder, no label maps there, or two with the same name.
    """
    if not folder.is_dir():
        what = "a file, and the other is none; expected two folders or two files" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}")
    names: dict[str, Path] = {}
    for path in label_maps(folder):
        name = name_of(path, folder)
        if name in names:
            raise InputError(f"{path}: has the same name as {names[name]}; label maps are matched by name")
        names[name] = path
    return names


def name_of(path: Path, folder: Path) -> str:
    """The case of a label map below `folder`: its file's name without suffix, and without `_gt` or `_label`; in LASC's layout,
    its folder's name."""
    name = composed(volume.stem(path))
    if name in (lasc.LABEL, lasc.IMAGE) and path.parent != folder:
        return path.parent.name
    return name.removesuffix("_gt").removesuffix(mmwhs.LABEL)


def composed(name: str) -> str:
    """The name with every umlaut as one character; a Mac writes two."""
    return unicodedata.normalize("NFC", name)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m shared.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=Path, help="folder of predicted label maps, or one of them")
    parser.add_argument("references", type=Path, help="folder of reference label maps, or one of them")
    parser.add_argument("--structures", required=True, help=EXPECTED)
    parser.add_argument("-o", "--output", type=Path, default=Path("cases.csv"), help="table of scores (default: cases.csv)")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        cli.check_tables(options.output)
        rows = score_folders(options.predictions, options.references, values_of(options.structures))
        write_csv(options.output, rows)
        print("\n".join([*tables.summarise(rows), "", RULE, "", f"wrote {options.output}"]))


def values_of(text: str) -> Values:
    """The values that --structures names: `acdc`, or `1=LV,2=RV`, with `9=ignore` for a value that does not count.

    Raises:
        InputError: neither a known set nor such a list; a value that cannot be a label, or is named twice; no structure.
    """
    if text in SETS:
        return SETS[text]
    parts = [re.fullmatch(r"\s*0*([1-9][0-9]{0,4})\s*=\s*([^=\s][^=]*)", part) for part in text.split(",")]
    named = [(int(part[1]), known_name(part[2])) for part in parts if part]
    structures = {value: name for value, name in named if name.casefold() != "ignore"}
    ignored = [value for value, name in named if name.casefold() == "ignore"]
    values = {value for value, _ in named}
    if not structures or len(ignored) > 1 or len(values) < len(parts) or max(values) >= 2**16:
        rule = "with different values from 1 to 65535, one of them at most called ignore"
        raise InputError(f"--structures {text[:60]}: expected {EXPECTED} {rule}")
    for name in dict.fromkeys(structures.values()):
        together = [value for value in structures if structures[value] == name]
        if len(together) > 1:
            warnings.warn(f"--structures: label values {listed(together)} are one structure, {name}", stacklevel=2)
    return Values(structures, ignored[0] if ignored else None, closed=False)


if __name__ == "__main__":
    main()
