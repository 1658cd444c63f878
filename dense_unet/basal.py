"""Which basal slices count: how much of the left ventricle the myocardium surrounds, slice by slice (Penso 2020).

    python -m dense_unet.basal LABELS... -o slices.csv [--structures acdc]

Towards the valves the myocardium no longer closes around the cavity. Guidelines count such a slice if the myocardium surrounds at
least half of the cavity (criterion A, 50 %); the paper compares this with closed slices only (criterion B, 100 %). It gives no
rule for masks, so all that is measured here is ours:

- The ring is every pixel that touches the LV cavity by a side; holes of the cavity count as cavity. `fraction` is the share of
  the ring that is myocardium.
- A slice is closed if no pixel of the cavity can be reached from the border of the image, from side to side, without crossing the
  myocardium. This is safer than a fraction of 1, since the outline of a mask may leave out a single pixel of the ring.
- A criterion removes slices on the basal side of the mid-ventricle only. A slice without LV stays.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from shared import cli
from shared.errors import InputError
from shared.evaluation import EXPECTED, Values, label_maps, read_known, values_of
from shared.files import write_csv
from shared.progress import Progress
from shared.scans import orientation, volume
from shared.scans.volume import Volume
from shared.scoring.short_axis import SIDES, from_base, masks_of

Row = dict[str, Any]  # of slices.csv
HALF, CLOSED = 0.5, 1.0  # the paper's criteria A and B


@dataclass(frozen=True)
class Surroundings:
    """What surrounds the LV in each slice of a label map whose slices are last.

    Attributes:
        has_lv: (z,) bool.
        fraction: (z,) of the ring that is myocardium; NaN where there is no LV.
        closed: (z,) bool; False where there is no LV.
        from_base: (z,) slices from the most basal one with LV, negative beyond it; NaN where no slice has LV.
    """

    has_lv: np.ndarray
    fraction: np.ndarray
    closed: np.ndarray
    from_base: np.ndarray

    def kept(self, least: float) -> np.ndarray:
        """(z,) bool: the slices that a criterion keeps.

        Args:
            least: share of the LV that the myocardium must surround; 1 asks for a closed slice.
        """
        fits = self.closed if least == CLOSED else self.fraction >= least
        apex = self.from_base.max(where=self.has_lv, initial=0)  # the last slice with LV
        return ~self.has_lv | fits | (self.from_base >= apex / 2)

    def most_basal(self, least: float) -> int | None:
        """The slice nearest to the base that has LV and is kept by a criterion; None where no slice has LV."""
        order = np.where(self.has_lv & self.kept(least), self.from_base, np.inf)
        return int(order.argmin()) if self.has_lv.any() else None


def surroundings(labels: Volume, structures: Mapping[int, str]) -> Surroundings:
    """Measure every slice of a label map.

    Args:
        labels: (x, y, z), slices last.
        structures: label value -> name; several values may have one name. Unless both LV and Myo are among the names, the result
            is that of a label map without LV.
    """
    masks = masks_of(labels, structures)
    cavity, wall = masks["LV"] & ("Myo" in structures.values()), masks["Myo"]
    has_lv = np.asarray(cavity.any(axis=(0, 1)))
    filled = ~outside(cavity)
    ring = ndimage.binary_dilation(filled, SIDES) & ~filled
    share = np.count_nonzero(ring & wall, axis=(0, 1)) / np.maximum(np.count_nonzero(ring, axis=(0, 1)), 1)
    closed = np.asarray(has_lv & ~(outside(wall) & cavity).any(axis=(0, 1)))
    heart = np.logical_or.reduce(list(masks.values()))
    return Surroundings(has_lv, np.where(has_lv, share, np.nan), closed, from_base(heart, has_lv, labels.affine))


def outside(barrier: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: pixels that a walk from side to side reaches from the border of their slice without crossing `barrier`."""
    parts, count = ndimage.label(~barrier, SIDES)
    reached = np.zeros(count + 1, bool)
    for border in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        reached[border] = True
    reached[0] = False
    return reached[parts]


# The command ------------------------------------------------------------------------------------------------------------------


def rows_of(found: Surroundings) -> list[Row]:
    """One row per slice."""
    half, closed = found.kept(HALF), found.kept(CLOSED)
    return [
        {
            "slice": z,
            "from_base": float(found.from_base[z]),
            "fraction": float(found.fraction[z]),
            "closed": int(found.closed[z]),
            "kept_by_a": int(half[z]),
            "kept_by_b": int(closed[z]),
        }
        for z in range(len(found.has_lv))
    ]


def measure(path: Path, values: Values) -> list[Row]:
    """The rows of one file; a cine of label maps has them for each frame.

    Raises:
        InputError: the file cannot be read, or holds values that are not known.
    """
    labels, _ = read_known(path, values)
    return [
        {"scan": str(path), "frame": t + 1, **row}
        for t in range(labels.frames)
        for row in rows_of(surroundings(orientation.all_slices_last(labels.frame(t))[0], values.structures))
    ]


def summary(rows: Sequence[Row]) -> list[str]:
    """How many slices have LV, and how many of them each criterion removes."""
    with_lv = [row for row in rows if not np.isnan(row["fraction"])]
    removed = {name: sum(not row[f"kept_by_{name}"] for row in rows) for name in ("a", "b")}
    return [
        f"{len(rows)} slices, {len(with_lv)} of them with LV",
        f"criterion A (at least {100 * HALF:.0f} % myocardium around it) removes {removed['a']} basal slices",
        f"criterion B (closed) removes {removed['b']}",
    ]


def meaning_of(text: str) -> Values:
    """What --structures says.

    Raises:
        InputError: see `evaluation.values_of`; or it names no LV or no Myo.
    """
    values = values_of(text)
    lacking = [name for name in ("LV", "Myo") if name not in values.structures.values()]
    if lacking:
        raise InputError(f"--structures {text[:60]}: expected values for LV and Myo, found none for {' and '.join(lacking)}")
    return values


def check_lv(rows: Sequence[Row], values: Values) -> None:
    """Warn of label maps in which no slice has LV.

    Raises:
        InputError: there is no LV in any.
    """
    found = dict.fromkeys((row["scan"] for row in rows), False)
    for row in rows:
        found[row["scan"]] |= not np.isnan(row["fraction"])
    without = [scan for scan, has_lv in found.items() if not has_lv]
    if len(without) == len(found):
        wanted = ", ".join(f"{value} {name}" for value, name in values.structures.items())
        raise InputError(f"{without[0]}: no slice has LV; expected the values {wanted}; if others are meant, name them with "
                         "--structures")  # fmt: skip
    if without:
        warnings.warn(f"no slice has LV in {len(without)} of {len(found)} label maps, such as {without[0]}", stacklevel=2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m dense_unet.basal", description=__doc__.splitlines()[0])
    parser.add_argument("labels", nargs="+", type=Path, metavar="LABELS", help="label map, 3D or a cine; or a folder of them")
    parser.add_argument("-o", "--output", required=True, type=Path, help="table of slices, such as slices.csv")
    parser.add_argument("--structures", default="acdc", help=f"{EXPECTED} (default: acdc)")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        if options.output.is_dir() or options.output.name.lower().endswith(volume.SUFFIXES):
            raise InputError(f"{options.output}: expected the name of a table, such as slices.csv, for --output")
        values = meaning_of(options.structures)
        paths = list(dict.fromkeys(path for each in options.labels for path in label_maps(each)))
        rows = [row for path in Progress("measuring", len(paths)).over(paths) for row in measure(path, values)]
        check_lv(rows, values)
        write_csv(options.output, rows)
        print("\n".join([*summary(rows), f"wrote {options.output}"]))


if __name__ == "__main__":
    main()
