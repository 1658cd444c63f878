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

from shared import cli
from shared.datasets import acdc, nnunet
from shared.errors import InputError
from shared.evaluation import EXPECTED, Values, label_maps, read_known, values_of
from shared.files import write_csv
from shared.lazy import lazily
from shared.progress import Progress
from shared.scans import orientation, volume
from shared.scoring import function, metrics, short_axis

with lazily():
    from shared.scoring import plots

Row = dict[str, Any]  # of a table: column -> value
INFO = "Info.cfg"
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
    labels = read_known(path, values)
    rows = function.volumes_ml(path, labels, values.structures)
    for t, row in enumerate(rows):
        if "Myo_ml" in row:
            row["Myo_mass_g"] = metrics.mass_g(row["Myo_ml"])
            turned = orientation.all_slices_last(labels.frame(t))[0]
            thickness_mm = short_axis.thickness_mm(turned, values.structures).tolist()
            row |= {f"{name}_mm": each for name, each in zip(short_axis.SEGMENTS, thickness_mm, strict=True)}
    return rows


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


def pairs_by_name(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(ED, ES) of every patient that has both."""
    phases: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in paths:
        patient, phase = patient_and_phase(path)
        phases.setdefault((path.parent, patient), {})[phase] = path
    return [(each["ED"], each["ES"]) for each in phases.values() if {"ED", "ES"} <= each.keys()]


def patient_and_phase(path: Path) -> tuple[str, str]:
    """Patient and phase, from the name of a label map; if that gives the number of a frame, Info.cfg says which phase it is."""
    patient, phase = nnunet.patient_and_phase(volume.stem(path).removesuffix("_gt"))
    number = re.fullmatch("frame([0-9]+)", phase)
    if number:
        info = info_of(path.parent)
        frames = {each: int(info[each]) for each in ("ED", "ES") if info.get(each, "").isdecimal()}
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


def draw(folder: Path, rows: Mapping[Path, Sequence[Row]]) -> list[Path]:
    """A bullseye of every label map and frame whose wall could be measured."""
    drawn = []
    for path, frames in rows.items():
        for row in frames:
            thickness_mm = [row.get(f"{name}_mm", math.nan) for name in short_axis.SEGMENTS]
            if any(each == each for each in thickness_mm):
                frame = f"_frame{row['frame']:02d}" if len(frames) > 1 else ""
                drawn.append(folder / f"{volume.stem(path)}{frame}.png")
                plots.bullseye(drawn[-1], thickness_mm, f"{volume.stem(path)}{frame}", "wall thickness (mm)")
    return drawn


def check(options: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Raise InputError unless the arguments belong together; `paths` are all label maps."""
    if not options.output.name.endswith(".csv"):
        raise InputError(f"{options.output}: expected the name of a table that ends in .csv for --output")
    if not paths:
        raise InputError("no label maps given: name at least one file or folder, or --ed and --es files")
    if len(options.ed) != len(options.es):
        raise InputError(f"--ed names {len(options.ed)} label maps and --es {len(options.es)}: expected one of each per patient")
    if (options.height_cm is None) != (options.weight_kg is None):
        raise InputError("--height-cm and --weight-kg belong together")
    names = [volume.stem(path) for path in paths]
    twice = [path for path in paths if names.count(volume.stem(path)) > 1]
    if options.bullseye and twice:
        raise InputError(f"{twice[0]} and {twice[1]} have one name, so their pictures would too; measure them one by one")


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
        rows = {path: measure(path, values) for path in Progress("measuring", len(paths)).over(paths)}
        if not any(value for frames in rows.values() for row in frames for name, value in row.items() if name.endswith("_ml")):
            wanted = ", ".join(f"{value} {name}" for value, name in values.structures.items())
            raise InputError(f"{paths[0]}: none of {wanted} in any label map; say what the values mean with --structures")
        pairs = list(zip(options.ed, options.es, strict=True)) or pairs_by_name(paths)
        body = Body(options.height_cm, options.weight_kg) if options.height_cm else None
        tables = {options.output: [row for frames in rows.values() for row in frames]}
        tables[options.output.with_name(f"{options.output.stem}_function.csv")] = functions(rows, pairs, body, values)
        for path, content in tables.items():
            if content:
                write_csv(path, content)
                print(f"wrote {path}: {len(content)} rows")
        for picture in draw(options.bullseye, rows) if options.bullseye else []:
            print(f"picture: {picture}")


if __name__ == "__main__":
    main()
