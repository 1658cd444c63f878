"""The command `python -m propagation.mesh`."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from propagation import mesh
from propagation.mesh.files import FORMATS, format_of
from propagation.mesh.filling import EDGE_MM, EPSILON_MM
from propagation.mesh.labels import volume_ml
from propagation.mesh.quality import SurfaceQuality, TetrahedraQuality, report
from propagation.recipe import PROPAGATION
from shared import cli, progress
from shared.errors import InputError
from shared.files import write_json
from shared.lazy import library
from shared.scans import volume
from shared.scans.orientation import all_slices_last
from shared.scans.volume import Volume


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    with cli.one_line_errors(options.debug):
        start = time.monotonic()
        written = run(options)
        print(f"wrote {', '.join(map(str, written))} in {progress.duration(time.monotonic() - start)}")


def parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="python -m propagation.mesh", description=mesh.__doc__.splitlines()[0])
    parser.add_argument("labels_file", metavar="LABELS", type=Path, help="3D label map")
    parser.add_argument("-o", "--output", nargs="+", type=Path, required=True, metavar="OUT", help=f"{', '.join(FORMATS)}")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--labels", type=values_of, metavar="1,2", help="values that make up the solid (default: all but 0)")
    choice.add_argument(
        "--biventricular", action="store_true", help="of ACDC's labels: LV myocardium and a ring around the RV cavity"
    )
    parser.add_argument(
        "--rv-wall-mm",
        type=float,
        default=PROPAGATION.preparation.rv_wall_mm,
        help="thickness of that ring (default: %(default)s)",
    )
    parser.add_argument("--all-components", action="store_true", help="not only the largest connected part of each label")
    parser.add_argument("--edge-mm", type=float, default=EDGE_MM, help="length of the tetrahedra's edges (default: %(default)s)")
    parser.add_argument(
        "--epsilon-mm", type=float, default=EPSILON_MM, help="largest distance from boundary to surface (default: %(default)s)"
    )
    parser.add_argument("--step-mm", type=float, help="length of the triangles' edges (default: a voxel, 0.5 to 1.25)")
    parser.add_argument("--smoothing-mm", type=float, help="standard deviation of the Gaussian (default: a voxel)")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="the quality as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="the surface from two sides")
    cli.add_debug(parser)
    return parser


def run(options: argparse.Namespace) -> list[Path]:
    """Mesh the label map; returns the files that were written."""
    kinds = {format_of(path).kind for path in options.output}
    check(options, kinds)
    labels = labels_of(options)
    mask = labels.with_array(labels.array > 0)
    solid = mesh.surface(mask, options.step_mm, options.smoothing_mm)
    qualities: dict[str, SurfaceQuality | TetrahedraQuality] = {"surface": mesh.surface_quality(solid, volume_ml(mask))}
    print("\n".join(qualities["surface"].lines()), flush=True)
    tets = None
    if "tetrahedra" in kinds:
        print("filling the surface; with fTetWild this takes minutes", flush=True)
        tets = mesh.tetrahedra(solid, options.edge_mm, options.epsilon_mm, labels)
        qualities["tetrahedra"] = mesh.tetrahedra_quality(tets, solid)
        print("\n".join(qualities["tetrahedra"].lines()))
    for path in options.output:
        mesh.write(path, solid, tets)
    if options.report:
        write_json(options.report, {name: report(quality) for name, quality in qualities.items()})
    if options.picture:
        mesh.draw(solid, labels, options.picture)
    return [*options.output, *filter(None, (options.report, options.picture))]


def check(options: argparse.Namespace, kinds: set[str]) -> None:
    """Raise InputError now rather than after minutes: where a size is not positive, or a library is missing."""
    for name in ("edge_mm", "epsilon_mm", "step_mm", "smoothing_mm"):
        if getattr(options, name) is not None and not getattr(options, name) > 0:
            raise InputError(f"--{name.replace('_', '-')}: expected more than 0 mm, found {getattr(options, name):g}")
    for name in ("skimage.measure", "meshio", *(["pytetwild"] if "tetrahedra" in kinds else [])):
        library(name, "mesh")


def labels_of(options: argparse.Namespace) -> Volume:
    """The structures to mesh, with the slices last."""
    labels = all_slices_last(volume.read_labels(options.labels_file))[0]
    try:
        if options.biventricular:
            labels = mesh.wall(labels, options.rv_wall_mm)
        return mesh.structures(labels, options.labels, largest=not options.all_components)
    except InputError as error:
        raise InputError(f"{options.labels_file}: {error}") from error


def values_of(text: str) -> list[int]:
    """`1,2` as label values."""
    try:
        return [int(value) for value in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 1,2, found {text!r}") from None


if __name__ == "__main__":
    main()
