"""The tables of the papers, as their recipes write them down: `PUBLISHED` maps the number of a table to its `Table`.

A table has columns (a statistic of a measure) and rows (a network, or somebody else's method). `shared.scoring.tables` computes
the same cells from our runs. Recipes import this module, so it needs nothing that is slow to import.
"""

from dataclasses import dataclass

PHASES = ("ED", "ES")
MEAN, WHOLE = "mean", "WH"  # in the place of a structure: see `Column`
POOLED = ("dice", "jaccard")  # the measures that all structures of a case can have together


@dataclass(frozen=True)
class Measure:
    """What is measured in every case.

    Attributes:
        title: its name in our tables.
        unit: shown after the title; empty where there is none.
        digits: decimals in our tables, unless the paper prints more.
        clinical: False for a score, which is a column of cases.csv and compares two masks. True for a number that prediction and
            reference have each, such as a volume, so that both are compared over all patients.
    """

    title: str
    unit: str = ""
    digits: int = 2
    clinical: bool = False


@dataclass(frozen=True)
class Statistic:
    """What is told about a measure over all cases.

    Attributes:
        title: of a column, with {} for the measure's.
        words: for the caption.
        clinical: the measures that it is for (see `Measure`).
        digits: decimals of a statistic that has no unit; None: those of the measure, and its unit.
        sigmas: half the distance of the limits of agreement, in standard deviations; 0 for a statistic without limits.
    """

    title: str
    words: str
    clinical: bool = False
    digits: int | None = None
    sigmas: float = 0


MEASURES = {
    "dice": Measure("Dice", digits=3),
    "jaccard": Measure("Jaccard", digits=3),
    "sensitivity": Measure("sensitivity", digits=3),
    "assd_mm": Measure("ASSD", "mm"),
    "asd_mm": Measure("ASD", "mm"),
    "hausdorff_mm": Measure("HD", "mm"),
    "hausdorff_voxels": Measure("HD", "voxels"),
    "hausdorff_slice_mm": Measure("HD slice-wise", "mm"),
    "ef": Measure("EF", "%", clinical=True),
    "volume": Measure("volume", "ml", clinical=True),
    "mass": Measure("mass", "g", clinical=True),  # of the myocardium
}
STATISTICS = {
    "mean": Statistic("{}", "mean (population std)"),
    "median": Statistic("{} median", "median"),
    "correlation": Statistic("corr {}", "correlation", clinical=True, digits=3),
    "r_squared": Statistic("R^2 {}", "squared correlation", clinical=True, digits=3),
    "agreement": Statistic("{} bias [LoA]", "bias [95 % limits of agreement, 1.96 sample std]", clinical=True, sigmas=1.96),
    "agreement_2_sigma": Statistic("{} bias [2 sigma]", "bias [limits at 2 sample std]", clinical=True, sigmas=2),
}


@dataclass(frozen=True)
class Scoring:
    """A way of scoring the runs of a table. Every table is made once for each.

    Attributes:
        file: the file of a run folder that holds the scores.
        words: where they were taken, for the caption: "Scored <words>."
        suffix: at the end of the table's file name.
    """

    file: str
    words: str
    suffix: str = ""


NATIVE = Scoring("cases.csv", "at native resolution")


@dataclass(frozen=True)
class Cell:
    """A number of a table, with what is printed after it: 0.95 (0.03) with `std`, -0.5 [-9.7; 8.8] with `limits`."""

    value: float
    std: float | None = None
    limits: tuple[float, float] | None = None

    @property
    def decimals(self) -> int:
        """As many as the most precise of its numbers has."""
        numbers = [number for number in (self.value, self.std, *(self.limits or ())) if number is not None]
        return max(len(str(number).partition(".")[2]) for number in numbers)

    def text(self, digits: int) -> str:
        """The cell as it is printed."""
        if self.limits:
            return f"{self.value:.{digits}f} [{self.limits[0]:.{digits}f}; {self.limits[1]:.{digits}f}]"
        return f"{self.value:.{digits}f}" + ("" if self.std is None else f" ({self.std:.{digits}f})")


NOT_IN_PAPER = "none"  # in the place of a cell of a row that is ours alone
BY_EYE = "by eye"  # in the place of a cell that the paper gives no number for, but judges on pictures


def printed(*numbers: float | tuple[float, float] | tuple[float, float, float] | None) -> tuple[Cell | None, ...]:
    """The cells of a row as the paper prints them: a number, (mean, std), (bias, lower limit, upper limit), or None if empty."""
    return tuple(None if each is None else of_numbers(*each) if isinstance(each, tuple) else Cell(each) for each in numbers)


def of_numbers(value: float, *others: float) -> Cell:
    """A cell from (mean, std), or from (bias, lower limit, upper limit)."""
    return Cell(value, std=others[0]) if len(others) == 1 else Cell(value, limits=(others[0], others[1]))


@dataclass(frozen=True)
class Column:
    """A statistic of a measure.

    Attributes:
        measure: a key of `MEASURES`.
        statistic: a key of `STATISTICS`.
        structure: what is measured; empty where the rows say it. `MEAN` is the mean over all structures of each case, and
            `WHOLE` the overlap of all of them together, 2 sum |X and Y| / sum (|X| + |Y|).
        phase: "ED" or "ES"; empty: both together, as an ejection fraction needs both.

    Raises:
        ValueError: such a column cannot be computed.
    """

    measure: str
    statistic: str = "mean"
    structure: str = ""
    phase: str = ""

    def __post_init__(self) -> None:
        if self.measure not in MEASURES or self.statistic not in STATISTICS or self.phase not in ("", *PHASES):
            raise ValueError(f"{self}: expected a key of MEASURES, one of STATISTICS, and ED, ES or no phase")
        if MEASURES[self.measure].clinical != STATISTICS[self.statistic].clinical:
            raise ValueError(f"{self}: this statistic is not for this measure")
        if MEASURES[self.measure].clinical and bool(self.phase) != (self.measure != "ef"):
            raise ValueError(f"{self}: expected a phase for a volume or a mass, and none for an ejection fraction")

    @property
    def digits(self) -> int:
        """Decimals of its cells, unless the paper prints more."""
        own = STATISTICS[self.statistic].digits
        return MEASURES[self.measure].digits if own is None else own

    @property
    def title(self) -> str:
        """All of it in words, such as "LV ED volume bias [LoA] (ml)"."""
        measure, statistic = MEASURES[self.measure], STATISTICS[self.statistic]
        unit = f"({measure.unit})" if measure.unit and statistic.digits is None else ""
        return " ".join(filter(None, (self.structure, self.phase, statistic.title.format(measure.title), unit)))

    def fits(self, cell: Cell) -> bool:
        """Whether a cell is of this statistic: limits belong to an agreement, a std (which may be missing) to a mean."""
        return bool(cell.limits) == bool(STATISTICS[self.statistic].sigmas) and (cell.std is None or self.statistic == "mean")


@dataclass(frozen=True)
class Row:
    """A line of a paper's table.

    Attributes:
        label: the paper's words.
        experiment: the name of our recipe that is to reach these numbers; empty: they are only quoted.
        cells: the paper's numbers, one for each column; None where there is none, and `BY_EYE` where only ours is a number.
        structure: what is measured, where the columns do not say it.
        dataset: that our runs are made on, where it is not the table's.
        patient: the only patient that the row is about; empty: all.
        file: of a run folder, for a row that is not made from the file of the table's scoring.
    """

    label: str
    experiment: str
    cells: tuple[Cell | str | None, ...]
    structure: str = ""
    dataset: str = ""
    patient: str = ""
    file: str = ""

    @property
    def title(self) -> str:
        """The label, and the structure unless that is the label."""
        return self.label if self.structure in ("", self.label) else f"{self.label}, {self.structure}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper.

    Attributes:
        title: what it is about.
        dataset: name of the data set that it was made on.
        folds: those that the paper's numbers pool.
        scorings: the ways in which our runs are scored for it.
        columns, rows: its content.

    Raises:
        ValueError: a row does not fit the columns.
    """

    title: str
    dataset: str
    folds: tuple[int, ...]
    scorings: tuple[Scoring, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            where = f"{self.title}, {row.title}"
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{where}: {len(row.cells)} cells for {len(self.columns)} columns")
            for column, cell in zip(self.columns, row.cells, strict=True):
                if bool(row.structure) == bool(column.structure):
                    raise ValueError(f"{where}, {column.title}: expected a structure of either the row or the column")
                if cell and WHOLE in (row.structure, column.structure) and row.experiment and column.measure not in POOLED:
                    raise ValueError(f"{where}, {column.title}: not a measure of all structures together")
                if isinstance(cell, Cell) and not column.fits(cell):
                    raise ValueError(f"{where}, {column.title}: {cell} is of another statistic")
