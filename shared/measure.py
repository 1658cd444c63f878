"""Measure label maps, ours or anybody's: volumes, ejection fraction, mass, and the thickness of the wall by AHA segment.

    python -m shared.measure LABELS... -o measures.csv [--structures acdc] [--bullseye FOLDER]
    python -m shared.measure --ed p1_ed.nii.gz --es p1_es.nii.gz -o measures.csv [--height-cm 172 --weight-kg 70]

measures.csv has a row for every label map and frame: volumes, the mass of the myocardium, and the thickness of its 16 segments
(see `shared.scoring.short_axis`). measures_function.csv has a row for every pair of ED and ES: volumes, stroke volume, ejection
fraction and mass, and all of them per m2 of body surface where height and weight are known.

Pairs are those of --ed and --es, the frames of a cine, label maps whose names end in _ED and _ES, and those whose frames the file
Info.cfg in their folder names, as in ACDC. Height and weight come from there too.
"""

import argparse
import functools
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import cli
from shared.datasets import acdc, is_reference, nnunet
from shared.errors import InputError
from shared.evaluation import EXPECTED, Values, label_maps, read_known, values_of
from shared.files import write_csv
from shared.lazy import lazily
from shared.prediction_jobs import check_pairs as check_names
from shared.progress import Progress, counted
from shared.scans import orientation, volume
from shared.scans.volume import Volume
from shared.scoring import function, metrics, short_axis

with lazily():
    from shared.scoring import plots

Row = dict[str, Any]  # of a table: column -> value
INFO = "Info.cfg"
UNKNOWN_THICKNESS = (
    "the thickness of its wall is not known, which needs thick short-axis slices with LV, Myo, and an RV that touches the wall"
)
INDEXED = ("edv_ml", "esv_ml", "sv_ml")  # of a cavity
HEIGHTS_CM, WEIGHTS_KG = (20.0, 300.0), (0.3, 700.0)  # of people


@dataclass(frozen=True)
class Body:
    """Height and weight of a patient."""

    height_cm: float
    weight_kg: float

    @property
    def surface_m2(self) -> float:
        """Body surface (Mosteller, N Engl J Med 1987)."""
        return math.sqrt(self.height_cm * self.weight_kg / 3600)


def measure(path: Path, values: Values) -> list[Row]:
    """The rows of one file, one for each frame.

    Raises:
        InputError: the file cannot be read, or holds values that are not known.
    """
    labels, occurring = read_known(path, values)
    unnamed = occurring - values.known.keys()
    if unnamed:
        shown = ", ".join(map(str, sorted(unnamed)[:5]))
        warnings.warn(f"{path}: label values {shown} count as background: --structures does not name them", stacklevel=2)
    rows = function.volumes_ml(path, labels, values.structures)
    for t, row in enumerate(rows):
        if "Myo_ml" in row:
            row["Myo_mass_g"] = metrics.mass_g(row["Myo_ml"])
            thickness_mm = thickness_of(labels.frame(t), values).tolist()
            row |= {f"{name}_mm": each for name, each in zip(short_axis.SEGMENTS, thickness_mm, strict=True)}
    if "Myo_ml" in rows[0] and not any(map(has_thickness, rows)):
        warnings.warn(f"{path}: {UNKNOWN_THICKNESS}", stacklevel=2)
    return rows


def thickness_of(labels: Volume, values: Values) -> np.ndarray:
    """(16,) thickness of the wall in mm by segment; NaN where the voxels are about cubes, since nobody knows then which slices
    are those of the short axis."""
    short, long = min(labels.spacing_mm), max(labels.spacing_mm)
    if long < orientation.THICKER * short:
        return np.full(len(short_axis.SEGMENTS), np.nan)
    return short_axis.thickness_mm(orientation.all_slices_last(labels)[0], values.structures)


def has_thickness(row: Row) -> bool:
    """Whether the wall of any segment could be measured."""
    return any(math.isfinite(row.get(f"{name}_mm", math.nan)) for name in short_axis.SEGMENTS)


def functions(
    rows: Mapping[Path, Sequence[Row]], pairs: Sequence[tuple[Path, Path]], body: Body | None, values: Values
) -> list[Row]:
    """A row for every pair, and for every cine with an LV.

    Args:
        rows: those of `measure` for every label map.
        pairs: label maps at ED and ES.
        body: of the patient; None: as Info.cfg says.
        values: what label values mean.
    """
    found = [(ed, function.function(rows[ed][0], rows[es][0], values.structures)) for ed, es in pairs]
    for path, frames in rows.items():
        of_cine = function.of_cine(frames, values.structures) if len(frames) > 1 and "LV_ml" in frames[0] else None
        found += [(path, of_cine)] if of_cine else []
    return [complete(row, body or body_of(path.parent)) for path, row in found]


def complete(row: Row, body: Body | None) -> Row:
    """A row of `function.function` with stroke volumes, and all divided by the body's surface; empty where that is not known."""
    surface_m2 = body.surface_m2 if body else math.nan
    row = row | {"body_surface_m2": surface_m2}
    for cavity in metrics.CAVITIES:
        if f"{cavity}_edv_ml" in row:
            row[f"{cavity}_sv_ml"] = row[f"{cavity}_edv_ml"] - row[f"{cavity}_esv_ml"]
            row |= {f"{cavity}_{each}_per_m2": row[f"{cavity}_{each}"] / surface_m2 for each in INDEXED}
    if "Myo_mass_g" in row:
        row["Myo_mass_g_per_m2"] = row["Myo_mass_g"] / surface_m2
    return row


def pairs_by_name(rows: Mapping[Path, Sequence[Row]]) -> list[tuple[Path, Path]]:
    """(ED, ES) of every patient that has both, by the names of the label maps; predictions and references are pairs of their own.

    Raises:
        InputError: two label maps of one patient and phase.
    """
    phases: dict[tuple[Path, str, bool], dict[str, Path]] = {}
    for path in [path for path, frames in rows.items() if len(frames) == 1]:
        patient, phase = patient_and_phase(path)
        own = phases.setdefault((path.parent, patient, is_reference(path)), {})
        if phase and phase in own:
            raise InputError(f"{own[phase]} and {path}: two label maps of one patient at {phase}; measure them one by one")
        own[phase] = path
    pairs = [(each["ED"], each["ES"]) for each in phases.values() if {"ED", "ES"} <= each.keys()]
    for folder in dict.fromkeys(path.parent for path in rows):
        if {"ED", "ES"} & info_of(folder).keys() and not any(ed.parent == folder for ed, _ in pairs):
            text = "names no two of the label maps beside it as ED and ES"
            warnings.warn(f"{folder / INFO}: {text}, hence no ejection fraction", stacklevel=2)
    return pairs


def patient_and_phase(path: Path) -> tuple[str, str]:
    """Patient and phase, from the name of a label map; if that gives the number of a frame, Info.cfg says which phase it is."""
    patient, phase = nnunet.patient_and_phase(volume.stem(path).removesuffix("_gt").removesuffix("_0000"))
    number = re.fullmatch("frame([0-9]{1,5})", phase)
    if number:
        info = info_of(path.parent)
        frames = {each: int(info[each]) for each in ("ED", "ES") if re.fullmatch("[0-9]{1,5}", info.get(each, ""))}
        phase = next((each for each, frame in frames.items() if frame == int(number[1])), "")
    return patient, phase


@functools.cache
def info_of(folder: Path) -> dict[str, str]:
    """The fields of the Info.cfg in a folder; none where there is no such file."""
    return acdc.read_info(folder / INFO) if (folder / INFO).is_file() else {}


def body_of(folder: Path) -> Body | None:
    """Height and weight from the Info.cfg in a folder; None where it does not say both, with a warning where they cannot be."""
    info = info_of(folder)
    if not {"Height", "Weight"} <= info.keys():
        return None
    try:
        return Body(quantity(info["Height"], *HEIGHTS_CM), quantity(info["Weight"], *WEIGHTS_KG))
    except argparse.ArgumentTypeError as error:
        text = f"{folder / INFO}: Height and Weight: {error}; nothing is divided by the body's surface"
        warnings.warn(text, stacklevel=2)
        return None


def quantity(text: str, low: float, high: float) -> float:
    """`text` as a number from `low` to `high`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, found {text[:40]!r}")
    return number


def pictures_of(folder: Path, rows: Mapping[Path, Sequence[Row]]) -> dict[Path, Row]:
    """File name -> the row whose bullseye it is to hold, for every label map and frame whose wall could be measured.

    Raises:
        InputError: two of one name.
    """
    found: dict[Path, Row] = {}
    for path, frames in rows.items():
        for row in filter(has_thickness, frames):
            frame = f"_frame{row['frame']:02d}" if len(frames) > 1 else ""
            picture = folder / f"{volume.stem(path)}{frame}.png"
            if picture in found:
                both = f"{path} and {found[picture]['scan']}"
                raise InputError(f"{both}: their pictures would have one name; measure them one by one")
            found[picture] = row
    return found


def check(options: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Raise InputError unless the arguments belong together; `paths` are all label maps."""
    cli.check_tables(*tables_of(options.output))
    if options.bullseye and options.bullseye.exists() and not options.bullseye.is_dir():
        raise InputError(f"{options.bullseye}: expected a folder for --bullseye")
    if not paths:
        raise InputError("no label maps given: name at least one file or folder, or --ed and --es files")
    if len(options.ed) != len(options.es):
        raise InputError(f"--ed names {len(options.ed)} label maps and --es {len(options.es)}: expected one of each per patient")
    if (options.height_cm is None) != (options.weight_kg is None):
        raise InputError("--height-cm and --weight-kg belong together")


def check_pairs(options: argparse.Namespace, rows: Mapping[Path, Sequence[Row]], found: Sequence[Row]) -> None:
    """Raise InputError if ED or ES is a cine, or the patient's height is not that of one pair; `found` are rows of function."""
    for path in (*options.ed, *options.es):
        if len(rows[path]) > 1:
            raise InputError(f"{path}: a cine of {len(rows[path])} frames, but --ed and --es expect one frame each; "
                             "give it as LABELS, and ED and ES are found in it")  # fmt: skip
    if options.height_cm and len(found) != 1:
        pairs = f"there are {len(found)} pairs" if found else "there is no pair"
        raise InputError(f"--height-cm and --weight-kg are those of one patient at ED and ES, but {pairs} of label maps")


def tables_of(output: Path) -> tuple[Path, Path]:
    """The files for label maps and for function."""
    return output, output.with_name(f"{output.stem}_function.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m shared.measure", description=__doc__.splitlines()[0])
    parser.add_argument("labels", nargs="*", type=Path, metavar="LABELS", help="label map, 3D or a cine; or a folder of them")
    parser.add_argument("--ed", nargs="+", type=Path, default=[], help="label maps at end-diastole, one per patient")
    parser.add_argument("--es", nargs="+", type=Path, default=[], help="those at end-systole, in the same order")
    parser.add_argument("-o", "--output", required=True, type=Path, help="table, such as measures.csv")
    parser.add_argument("--structures", default="acdc", help=f"{EXPECTED} (default: acdc, which is 1=RV,2=Myo,3=LV)")
    parser.add_argument("--bullseye", type=Path, help="folder for a picture of the wall's thickness by segment")
    for name, limits in (("--height-cm", HEIGHTS_CM), ("--weight-kg", WEIGHTS_KG)):
        kind = functools.partial(quantity, low=limits[0], high=limits[1])
        parser.add_argument(name, type=kind, help="of the patient (default: that in Info.cfg beside the label map, as in ACDC)")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        values = values_of(options.structures)
        alone = dict.fromkeys(path for each in options.labels for path in label_maps(each))
        paths = list(dict.fromkeys([*alone, *options.ed, *options.es]))
        check(options, paths)
        check_names(options.ed, options.es)
        rows = {path: measure(path, values) for path in Progress("measuring", len(paths)).over(paths)}
        if not any(value for frames in rows.values() for row in frames for name, value in row.items() if name.endswith("_ml")):
            wanted = ", ".join(f"{value} {name}" for value, name in values.structures.items())
            raise InputError(f"{paths[0]}: none of {wanted} in any label map; say what the values mean with --structures")
        pairs = list(zip(options.ed, options.es, strict=True)) or pairs_by_name(rows)
        body = Body(options.height_cm, options.weight_kg) if options.height_cm else None
        found = functions(rows, pairs, body, values)
        check_pairs(options, rows, found)
        pictures = pictures_of(options.bullseye, rows) if options.bullseye else {}
        measured = [row for each in rows.values() for row in each]
        for path, content in zip(tables_of(options.output), (measured, found), strict=True):
            if content:
                write_csv(path, content)
                print(f"wrote {path}: {counted(len(content), 'row')}")
            else:
                path.unlink(missing_ok=True)  # of other label maps
        for path, row in pictures.items():
            plots.bullseye(
                path,
                [row[f"{name}_mm"] for name in short_axis.SEGMENTS],
                f"Wall of the LV, {path.stem}",
                "thickness (mm)",
            )
            print(f"picture: {path}")


if __name__ == "__main__":
    main()
