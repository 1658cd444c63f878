"""What is compared: the label maps of runs and of any other programs, on the same cases.

Of a run whose label maps are gone, such as one of which only the small files were kept, its own scores are compared.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared import evaluation, held_out, runs
from shared.comparison import measures
from shared.datasets import Case, splits
from shared.datasets.splits import Split
from shared.errors import InputError
from shared.scans.volume import Volume
from shared.scoring import tables
from shared.scoring.scores import Scores

REFERENCE = "reference"  # what pictures call it, and therefore no method's name
SHORT_AXIS = ({"RV", "Myo", "LV"}, {"BV"})  # structures of scans whose slices go from the base of the ventricles to the apex


def unchanged(case: Case, labels: Volume, reference: Volume) -> Volume:
    """The label map itself."""
    return labels


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method in a comparison.

    Attributes:
        key: a word for files and arguments.
        name: as tables call it.
        structures: label value -> name, in its label maps.
        maps: case name -> file of the label map; empty: the method was not run, or its label maps are gone.
        rows: the scores of a run whose label maps are gone.
        as_compared: `as_compared(case, labels, reference)` gives what is scored; both lie on the voxels of the reference as on
            disk.
    """

    key: str
    name: str
    structures: Mapping[int, str] = field(default_factory=dict)
    maps: Mapping[str, Path] = field(default_factory=dict)
    rows: Sequence[Scores] = ()
    as_compared: Callable[[Case, Volume, Volume], Volume] = unchanged

    @property
    def was_run(self) -> bool:
        return bool(self.maps or self.rows)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Methods on the same cases.

    Attributes:
        title: of its tables.
        folder: for its tables and pictures.
        cases: labelled test cases.
        entrants: the methods, in the order of the tables.
        structures: label value -> name, of what is scored.
        reference_of: `reference_of(case, reference as on disk)`: what label maps are scored against.
        code: fingerprint of the sources that the scores depend on.
        note: what is done to label maps before they are scored, for the caption.
    """

    title: str
    folder: Path
    cases: Sequence[Case]
    entrants: Sequence[Entrant]
    structures: Mapping[int, str]
    reference_of: Callable[[Case, Volume], Volume] = lambda case, reference: reference
    code: str = ""
    note: str = ""

    @property
    def compared(self) -> list[Entrant]:
        """The methods that were run."""
        return [entrant for entrant in self.entrants if entrant.was_run]

    @property
    def pictured(self) -> list[Entrant]:
        """The methods that have label maps."""
        return [entrant for entrant in self.entrants if entrant.maps]

    @property
    def on_short_axis(self) -> bool:
        """Whether the slices go from base to apex, in one direction or the other."""
        return set(self.structures.values()) in SHORT_AXIS


def of_run(key: str, name: str, folder: Path, cases: Sequence[Case], split: Split) -> Entrant:
    """The label maps that a finished run predicted for its test cases, or its scores where it has no folder of label maps.

    Args:
        key, name: see `Entrant`.
        folder: of the run.
        cases: the test cases.
        split: the one that all runs must have.

    Raises:
        InputError: the run was made on other patients, lacks a label map, or has neither label maps nor the scores of all cases.
    """
    record = runs.read_record(folder, "split", "structures")
    splits.check_made_on(split, record["split"], folder)
    structures = {int(value): structure for value, structure in record["structures"].items()}
    if not (folder / held_out.PREDICTIONS).is_dir():
        return Entrant(key=key, name=name, structures=structures, rows=kept_scores(folder, cases, structures.values()))
    maps = {case.name: folder / held_out.PREDICTIONS / f"{case.name}.nii.gz" for case in cases}
    missing = [path for path in maps.values() if not path.is_file()]
    if missing:
        instead = f"remove all of {missing[0].parent} to compare the scores that the run has in {held_out.CASES}"
        raise InputError(f"{missing[0]}: missing, though the run is finished; put it back, or {instead}")
    return Entrant(key=key, name=name, structures=structures, maps=maps)


def kept_scores(folder: Path, cases: Sequence[Case], structures: Iterable[str]) -> list[Scores]:
    """The rows of a run's cases.csv for these cases and structures, which it must all have.

    Phase, group and the like are those of the cases.

    Raises:
        InputError: a damaged file, or a case or structure without a row.
    """
    path = folder / held_out.CASES
    rows = held_out.read_scores(folder, held_out.CASES, (*measures.COMPARED, *tables.VOLUMES))
    found = {(row["case"], row["structure"]): row for row in rows}
    wanted = [(case.name, structure) for case in cases for structure in dict.fromkeys(structures)]
    missing = [" ".join(each) for each in wanted if each not in found]
    if missing:
        raise InputError(f"{path}: no scores of {missing[0]}, though the run is finished; put the file back as it was")
    about = {case.name: held_out.about(case) for case in cases}
    return [found[name, structure] | about[name] for name, structure in wanted]


def of_folder(key: str, folder: Path, cases: Sequence[Case]) -> Entrant:
    """The label maps that any program wrote into a folder, with the data set's label values.

    A label map is called like its case, or like the file of the case's reference (`evaluation.name_of`).

    Raises:
        InputError: see `evaluation.of_cases`; a warning counts label maps of no case.
    """
    on_disk = {case.name: evaluation.name_of(case.label, case.label.parents[1]) for case in cases if case.label}
    shared = Counter(on_disk.values())
    names = {case: [case, *([other] if shared[other] == 1 and other != case else [])] for case, other in on_disk.items()}
    maps = evaluation.of_cases(folder, names)
    return Entrant(key=key, name=key, structures=cases[0].structures, maps=maps)


def common_structures(cases: Sequence[Case], entrants: Sequence[Entrant]) -> dict[int, str]:
    """Label value -> name of the data set's structures that every method labels, if it was run; none where there are no cases.

    Raises:
        InputError: the methods have no structure in common.
    """
    labelled = [set(entrant.structures.values()) for entrant in entrants if entrant.was_run]
    on_disk = cases[0].structures if cases else {}
    found = {value: name for value, name in on_disk.items() if all(name in names for names in labelled)}
    if on_disk and not found:
        raise InputError(f"no structure is labelled by all methods: {', '.join(entrant.name for entrant in entrants)}")
    return found
