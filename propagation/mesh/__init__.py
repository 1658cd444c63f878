"""Surface and tetrahedra of a label map, in millimetres of the scanner, for simulation.

    python -m propagation.mesh seg.nii.gz -o heart.vtu heart.stl
    python -m propagation.mesh acdc_gt.nii.gz --biventricular -o wall.msh

The paper hands its predicted mask to CGAL and says neither sizes nor smoothing; everything below is ours, with libraries under
permissive licences: scikit-image contours, fTetWild (through pytetwild) fills, meshio writes. They are the extra `[mesh]`.

    label map -> surface (`surface`) -> tetrahedra -> quality (`mesh_quality`) -> files

Points are RAS+ millimetres, and every file says so: the label map's affine says where its voxels are; where its scale disagrees
with the voxel size of the header, the latter wins (see `shared.scans.volume`). Triangles are anticlockwise from outside,
tetrahedra have positive volume.
"""

import argparse
import contextlib
import re
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage

from propagation import masks
from propagation.mesh.quality import report, surface_quality, tetrahedra_quality
from propagation.mesh.solid import Tetrahedra, enclosed_ml, signed_volumes_mm3
from propagation.mesh.surface import TOLERANCE, field, mask_ml, structures, surface
from propagation.recipe import PROPAGATION
from shared import cli, progress
from shared.errors import InputError
from shared.files import write_json, written_whole
from shared.lazy import lazily, library
from shared.scans import volume
from shared.scans.orientation import all_slices_last

with lazily():
    from matplotlib import colors
    from mpl_toolkits.mplot3d import art3d

    from shared.scoring import plots

FORMATS = {  # ending -> what is written, meshio's name of the format, its options
    ".stl": ("surface", "stl", {"binary": True}),
    ".vtu": ("tetrahedra", "vtu", {}),
    ".vtk": ("tetrahedra", "vtk", {}),
    ".msh": ("tetrahedra", "gmsh22", {"binary": False}),  # Gmsh 2.2 in ASCII: more readers than 4.1
    ".inp": ("tetrahedra", "abaqus", {}),
}
# Every file says that its points are RAS, STL and .vtk where 3D Slicer looks, which else takes points for LPS. Of .vtu it wants
# an array of strings, which meshio cannot read again: there a comment says it. Format -> where in meshio's file, what goes there
SPACES = {
    "stl": (rb"(?s)\A.{80}", b"SPACE=RAS".ljust(80)),
    "vtk": (rb"written by meshio[^\n]*", b"SPACE=RAS"),
    "vtu": (rb"<UnstructuredGrid>", b"<!-- SPACE=RAS -->\n<UnstructuredGrid>"),
    "gmsh22": (rb"\$EndMeshFormat\n", b"$EndMeshFormat\n$Comments\nSPACE=RAS\n$EndComments\n"),
    "abaqus": (rb"written by meshio[^\n]*", b"SPACE=RAS"),
}
EDGE_MM, EPSILON_MM = 3.0, 0.2
VIEWS_DEG = ((20, -60), (20, 120))  # elevation and azimuth: opposite sides


# From surface to tetrahedra -------------------------------------------------------------------------------------------------


def tetrahedra(solid, edge_mm=EDGE_MM, epsilon_mm=EPSILON_MM, labels=None):
    """Fill a closed surface with tetrahedra (fTetWild).

    fTetWild is not deterministic, even on one thread: two runs differ in some of their points. Where its boundary encloses over
    1 % more or less than the surface, a warning says so.

    Args:
        solid: Surface.
        edge_mm: wanted length of edges; they become shorter where the shape asks for it.
        epsilon_mm: how far the boundary may be from the surface.
        labels: Volume (x, y, z) as `structures` gives it, for the regions; without it all are 1.

    Raises:
        InputError: pytetwild is missing, or a size is not usable.
    """
    diagonal_mm = np.linalg.norm(np.ptp(solid.points_mm, axis=0))
    for name, size_mm in (("edge", edge_mm), ("epsilon", epsilon_mm)):
        if not 0 < size_mm < diagonal_mm:
            raise InputError(f"{name} of {size_mm:g} mm: expected more than 0 and less than the solid's {diagonal_mm:.0f} mm")
    centre_mm = solid.points_mm.mean(axis=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # fTetWild leaves a file where it runs
        points_mm, cells = library("pytetwild", "mesh").tetrahedralize(
            solid.points_mm - centre_mm, solid.faces.astype(np.int32), edge_length_abs=edge_mm,
            epsilon=epsilon_mm / diagonal_mm, vtk_ordering=True,
        )  # fmt: skip
    points_mm = points_mm + centre_mm
    filled = signed_volumes_mm3(points_mm[cells]).sum() / 1000 / enclosed_ml(solid)
    if abs(filled - 1) > TOLERANCE:
        warnings.warn(f"the tetrahedra fill {100 * filled:.1f} % of the surface; a smaller epsilon keeps closer", stacklevel=2)
    regions = regions_at(points_mm[cells].mean(axis=1), labels) if labels else np.ones(len(cells), int)
    return Tetrahedra(points_mm, cells, regions)


def regions_at(points_mm, labels):
    """For each point (n, 3) the label value whose `field` is the largest there."""
    values = np.unique(labels.array[labels.array > 0])
    depths = []
    for value in values:
        smooth = field(labels.with_array(labels.array == value))
        voxels = np.linalg.inv(smooth.affine) @ np.column_stack([points_mm, np.ones(len(points_mm))]).T
        depths.append(ndimage.map_coordinates(smooth.array, voxels[:3], order=1, mode="nearest"))
    return values[np.argmax(depths, axis=0)].astype(int)


# Files and pictures ---------------------------------------------------------------------------------------------------------


def check_format(path):
    """What is written at this path, meshio's name of the format and its options.

    Raises:
        InputError: an ending without a format.
    """
    if Path(path).suffix not in FORMATS:
        choices = ", ".join(f"{ending} ({kind})" for ending, (kind, *_) in FORMATS.items())
        raise InputError(f"{path}: cannot write this format; expected {choices}")
    return FORMATS[Path(path).suffix]


def write(path, solid, tets=None):
    """Write the surface (.stl) or the tetrahedra (the other endings of FORMATS), in mm, whole or not at all.

    Regions are the cell data `region` of .vtu and .vtk, physical groups `label_N` of .msh, element sets `label_N` of .inp.

    Raises:
        InputError: an ending without a format, or meshio is missing.
    """
    meshio = library("meshio", "mesh")
    kind, file_format, options = check_format(path)
    if kind == "surface":
        mesh = meshio.Mesh(solid.points_mm, [("triangle", solid.faces)])
    else:
        mesh = meshio.Mesh(tets.points_mm, [("tetra", tets.cells)])
        values = [int(value) for value in np.unique(tets.regions)]
        regions = tets.regions.astype(np.int32)
        if file_format == "gmsh22":
            mesh.cell_data = {"gmsh:physical": [regions], "gmsh:geometrical": [regions]}
            mesh.field_data = {f"label_{value}": np.array([value, 3]) for value in values}
        elif file_format == "abaqus":
            mesh.cell_sets = {f"label_{value}": [np.flatnonzero(regions == value)] for value in values}
        else:
            mesh.cell_data = {"region": [regions]}
    place, space = SPACES[file_format]
    with written_whole(path) as temporary:
        mesh.write(temporary, file_format=file_format, **options)
        content, places = re.subn(place, lambda _: space, temporary.read_bytes(), count=1)
        assert places, f"meshio writes {file_format} in another way"
        temporary.write_bytes(content)


def draw(solid, path):
    """PNG of a surface from two opposite sides, feet downwards."""
    triangles = solid.points_mm[solid.faces]
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    figure = plots.canvas(8, 4.2)
    for axis, (elev, azim) in zip(
        figure.subplots(1, 2, subplot_kw={"projection": "3d", "proj_type": "ortho"}), VIEWS_DEG, strict=True
    ):
        near = plots.facing(triangles, elev, azim)
        paint = {"facecolors": plots.COLOURS[0], "edgecolors": plots.COLOURS[0], "linewidths": 0.6}
        light = colors.LightSource(azdeg=215 - 60 - azim, altdeg=35)
        axis.add_collection3d(art3d.Poly3DCollection(near, **paint, shade=True, lightsource=light))
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axis.set_box_aspect(high - low, zoom=1.05)
        axis.view_init(elev=elev, azim=azim)
        axis.set_axis_off()
    plots.save(figure, path, dpi=150)


# Command --------------------------------------------------------------------------------------------------------------------


def main(arguments=None):
    parser = cli.Parser(prog="python -m propagation.mesh", description=__doc__.splitlines()[0])
    parser.add_argument("labels_file", metavar="LABELS", type=Path, help="3D label map")
    parser.add_argument("-o", "--output", nargs="+", type=Path, required=True, metavar="OUT", help=f"{', '.join(FORMATS)}")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--labels", type=values_of, metavar="1,2", help="values that make up the solid (default: all but 0)")
    choice.add_argument(
        "--biventricular", action="store_true", help="of ACDC's labels: LV myocardium and a ring around the RV cavity"
    )
    parser.add_argument(
        "--rv-wall-mm", type=float, default=PROPAGATION.rv_wall_mm, help="thickness of that ring (default: %(default)s)"
    )
    parser.add_argument("--all-components", action="store_true", help="not only the largest connected part of each label")
    parser.add_argument("--edge-mm", type=float, default=EDGE_MM, help="edges of tetrahedra (default: %(default)s)")
    parser.add_argument("--epsilon-mm", type=float, default=EPSILON_MM, help="boundary to surface at most (default: %(default)s)")
    parser.add_argument("--step-mm", type=float, help="edges of the surface's triangles (default: a voxel, 0.5 to 1.25)")
    parser.add_argument("--smoothing-mm", type=float, help="standard deviation of the Gaussian (default: a voxel)")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="the quality as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="the surface from two sides")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        kinds = {check_format(path)[0] for path in options.output}
        for name in ("edge_mm", "epsilon_mm", "step_mm", "smoothing_mm"):
            if getattr(options, name) is not None and not getattr(options, name) > 0:
                raise InputError(f"--{name.replace('_', '-')}: expected more than 0 mm, found {getattr(options, name):g}")
        for name in ("skimage.measure", "meshio", *(["pytetwild"] if "tetrahedra" in kinds else [])):
            library(name, "mesh")  # missing now rather than after minutes
        start = time.monotonic()
        labels = all_slices_last(volume.read_labels(options.labels_file))[0]
        try:
            if options.biventricular:
                labels = wall(labels, options.rv_wall_mm)
            labels = structures(labels, options.labels, largest=not options.all_components)
        except InputError as error:
            raise InputError(f"{options.labels_file}: {error}") from error
        mask = labels.with_array(labels.array > 0)
        solid = surface(mask, options.step_mm, options.smoothing_mm)
        qualities = {"surface": surface_quality(solid, mask_ml(mask))}
        print("\n".join(qualities["surface"].lines()), flush=True)
        tets = None
        if "tetrahedra" in kinds:
            print("filling the surface; with fTetWild this takes minutes", flush=True)
            tets = tetrahedra(solid, options.edge_mm, options.epsilon_mm, labels)
            qualities["tetrahedra"] = tetrahedra_quality(tets, solid)
            print("\n".join(qualities["tetrahedra"].lines()))
        for path in options.output:
            write(path, solid, tets)
        if options.report:
            write_json(options.report, {name: report(quality) for name, quality in qualities.items()})
        if options.picture:
            draw(solid, options.picture)
        written = [*options.output, *filter(None, (options.report, options.picture))]
        print(f"wrote {', '.join(map(str, written))} in {progress.duration(time.monotonic() - start)}")


def wall(labels, rv_wall_mm):
    """The biventricular wall of ACDC's labels as a label map of 1.

    Raises:
        InputError: labels that are not ACDC's.
    """
    found = set(np.unique(labels.array).tolist())
    if not {masks.RV, masks.MYOCARDIUM} <= found <= {0, masks.RV, masks.MYOCARDIUM, masks.LV}:
        raise InputError(f"--biventricular: expected ACDC's labels, 1 RV, 2 myocardium and 3 LV; found {sorted(found)}")
    if labels.array.ndim != 3:
        return labels  # for `structures` to refuse
    return masks.biventricular(labels, rv_wall_mm)


def values_of(text):
    """`1,2` as label values."""
    try:
        return [int(value) for value in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 1,2, found {text!r}") from None
