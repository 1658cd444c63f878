"""Predicted against reference label maps on one grid -> one row per case and structure (`cases.csv`).

    python -m shared.evaluation PREDICTIONS REFERENCES --structures acdc [-o cases.csv]

scores any two folders of label maps whose file names match. The measures are those of `shared.metrics`; `RULE` says them in
few words for captions.
"""

import re
from pathlib import Path

from shared import cli, metrics, report, volume
from shared.datasets import acdc, lasc, nnunet
from shared.errors import InputError
from shared.files import write_csv
from shared.progress import Progress

STRUCTURES = {"acdc": acdc.STRUCTURES, "lasc": lasc.STRUCTURES}
RULE = (
    "Per volume, in mm: surface = mask voxels with a 6-neighbour outside the mask, exact Euclidean distances; HD = maximum of "
    "both directions (in voxels: every voxel side counts 1; slice-wise: mean of the slices' own HD, over slices with both "
    "masks), ASSD = mean of the two directed means, ASD = mean over the surface voxels of both masks. Both masks empty: Dice 1, "
    "distances 0; one empty: Dice 0, distances undefined and left out of n, as is a slice-wise HD where no slice has both."
)


def score(predicted, reference, structures, about):
    """Rows of one case, one per structure.

    Args:
        predicted, reference: label maps (`Volume`) on one grid.
        structures: label value -> structure name.
        about: columns that say which case this is, put first.

    Raises:
        InputError: the grids differ.
    """
    case = " ".join(str(value) for value in about.values() if value)
    if predicted.array.ndim != 3 or reference.array.ndim != 3:
        shapes = f"{predicted.array.shape} against {reference.array.shape}"
        raise InputError(f"{case}: expected two 3D label maps, found {shapes}; split a cine into its frames")
    volume.check_same_grid(reference, predicted, (f"the reference of {case}", f"prediction of {case}"))
    spacing_mm = reference.spacing_mm
    rows = []
    for value, structure in structures.items():
        a, b = predicted.array == value, reference.array == value
        distances_mm = metrics.surface_distances_mm(a, b, spacing_mm)
        hausdorff_mm = metrics.hausdorff_of(*distances_mm)
        cubes = len(set(spacing_mm)) == 1  # where voxels are cubes, mm and voxels differ by a factor only
        rows.append({
            **about,
            "structure": structure,
            "dice": float(metrics.dice(a, b)),
            "jaccard": float(metrics.jaccard(a, b)),
            "sensitivity": float(metrics.sensitivity(a, b)),
            "hausdorff_mm": hausdorff_mm,
            "assd_mm": metrics.assd_of(*distances_mm),
            "asd_mm": metrics.asd_of(*distances_mm),
            "hausdorff_voxels": hausdorff_mm / spacing_mm[0] if cubes else metrics.hausdorff_mm(a, b, (1, 1, 1)),
            "hausdorff_slice_mm": metrics.hausdorff_slices_mm(a, b, spacing_mm),
            "volume_ml": metrics.volume_ml(a, spacing_mm),
            "reference_ml": metrics.volume_ml(b, spacing_mm),
        })  # fmt: skip
    return rows


def score_folders(predictions, references, structures):
    """Rows of every label map of `references`, each against the one of the same name (without suffix) in `predictions`.

    Where references are called `NAME_gt`, as ACDC's, the others there are scans, and `NAME_gt` answers to the prediction `NAME`.

    Raises:
        InputError: no references, one without prediction, or several files of one name.
    """
    found = by_name(label_maps(predictions))
    paths = label_maps(references)
    wanted = by_name([path for path in paths if volume.stem(path).endswith("_gt")] or paths)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(f"{predictions}: no prediction for {len(missing)} of {len(wanted)} references, first {missing[0]}")
    rows = []
    for name in Progress("scoring", len(wanted)).over(wanted):
        patient, phase = nnunet.patient_and_phase(name)
        about = {"case": name, "patient": patient, "phase": phase, "group": ""}
        rows += score(volume.read_labels(found[name]), volume.read_labels(wanted[name]), structures, about)
    return rows


def by_name(paths):
    """File name without suffix and `_gt` -> path."""
    names = {}
    for path in paths:
        name = volume.stem(path).removesuffix("_gt")
        if name in names:
            raise InputError(f"{path}: has the same name as {names[name]}; label maps are matched by name")
        names[name] = path
    return names


def label_maps(folder):
    """All label maps below `folder`, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(volume.SUFFIXES))
    if not paths:
        raise InputError(f"{folder}: no label maps ({', '.join(volume.SUFFIXES)})")
    return paths


def main(arguments=None):
    parser = cli.Parser(prog="python -m shared.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=Path, help="folder of predicted label maps")
    parser.add_argument("references", type=Path, help="folder of reference label maps")
    parser.add_argument("--structures", required=True, help="acdc, lasc, or VALUE=NAME,VALUE=NAME,...")
    parser.add_argument("-o", "--output", type=Path, default=Path("cases.csv"))
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        rows = score_folders(options.predictions, options.references, structures_of(options.structures))
        write_csv(options.output, rows)
        print("\n".join([*report.summarise(rows), "", RULE, "", f"wrote {options.output}"]))


def structures_of(text):
    """`acdc`, or `1=LV,2=RV`, as label value -> name.

    Raises:
        InputError: something else; a value that is no label, given twice or without a name; a name given twice.
    """
    if text in STRUCTURES:
        return STRUCTURES[text]
    parts = [re.fullmatch(r"\s*0*([1-9][0-9]{0,4})\s*=\s*([^=\s][^=]*)", part) for part in text.split(",")]
    structures = {int(part[1]): part[2].strip() for part in parts if part}
    if len(parts) != len({name.casefold() for name in structures.values()}) or max(structures) >= 2**16:
        known = ", ".join(STRUCTURES)
        rule = "with values from 1 to 65535, each value and each name once"
        raise InputError(f"--structures {text}: expected one of {known}, or VALUE=NAME,VALUE=NAME,... {rule}")
    return structures


if __name__ == "__main__":
    main()
