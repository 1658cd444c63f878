"""Surface and tetrahedra of a label map, in millimetres of the scanner, for simulation.

    python -m propagation.mesh seg.nii.gz -o heart.vtu heart.stl
    python -m propagation.mesh acdc_gt.nii.gz --biventricular -o wall.msh

The paper hands its predicted mask to CGAL and says neither sizes nor smoothing; everything below is ours, with libraries under
permissive licences: scikit-image contours, fTetWild (through pytetwild) fills, meshio writes. They are the extra `[mesh]`.

    mask ─ field ─ surface ─ tetrahedra ─ write
             distances in the slices, interpolated between them, smoothed: no stairs where slices are thick
                     contour at the level that encloses the mask's own volume

Points are RAS+ millimetres: the label map's affine says where its voxels are; where its scale disagrees with the voxel size of
the header, the latter wins, as in `shared.volume`. Triangles are anticlockwise from outside, tetrahedra have positive volume.
"""

import argparse
import contextlib
import importlib
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from matplotlib.colors import LightSource
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy import interpolate, ndimage, optimize

from propagation.mesh_quality import report, surface_quality, tetrahedra_quality
from propagation.recipe import PROPAGATION
from propagation.solid import Surface, Tetrahedra, enclosed_ml, pieces, signed_ml, signed_volumes_mm3
from shared import cli, plots, postprocess, preprocess, progress, volume
from shared.errors import InputError
from shared.files import write_json, written_whole
from shared.volume import Volume

MISSING = "meshes need the extra [mesh]: pip install -e '.[mesh]'"
FORMATS = {  # ending -> what is written, meshio's name of the format, its options
    ".stl": ("surface", "stl", {"binary": True}),
    ".vtu": ("tetrahedra", "vtu", {}),
    ".vtk": ("tetrahedra", "vtk", {}),
    ".msh": ("tetrahedra", "gmsh22", {"binary": False}),  # Gmsh 2.2 in ASCII: more readers than 4.1
    ".inp": ("tetrahedra", "abaqus", {}),
}
TOLERANCE = 0.01  # of the volume
EDGE_MM, EPSILON_MM = 3.0, 0.2
VIEWS_DEG = ((20, -60), (20, 120))  # elevation and azimuth: opposite sides


# From labels to surface -----------------------------------------------------------------------------------------------------


def structures(labels, values=None, largest=True):
    """The label map with the wanted structures only.

    Args:
        labels: Volume (x, y, z), whole numbers, 0 = background.
        values: label values to keep; None for all but 0.
        largest: keep only the largest connected component of each.

    Raises:
        InputError: a cine, numbers that are not whole, nothing to mesh, a label that is absent or one voxel thin.
    """
    array = labels.array
    if array.ndim != 3:
        raise InputError(f"expected a 3D label map, found shape {array.shape}; mesh one frame of a cine at a time")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"expected a label map of whole numbers, found {array.dtype}")
    present = [int(value) for value in np.unique(array) if value]
    if not present:
        raise InputError(f"the label map of shape {array.shape} is empty: there is nothing to mesh")
    for value in values or ():
        if value not in present:
            raise InputError(f"label {value}: not in the label map, which holds {', '.join(map(str, present))}")
    array = np.where(np.isin(array, list(values or present)), array, 0)
    if largest:
        array = postprocess.largest_components(array)
    for value in values or present:
        (box,) = ndimage.find_objects((array == value).astype(np.uint8))
        thin = [axis for axis, part in zip("xyz", box, strict=True) if part.stop - part.start < 2]
        if thin:
            raise InputError(
                f"label {value}: one voxel thin along {', '.join(thin)}; a solid needs at least two, in {array.shape}"
            )
    return labels.with_array(array)


def field(mask, step_mm=None, smoothing_mm=None):
    """A smooth function that is positive inside a mask, on an isotropic grid that it ends well within.

    In every slice the mask is an outline with holes. The signed distances to both are interpolated between slices (monotone
    cubic), each for itself, so that a leaning wall stays a wall where those of neighbouring slices do not overlap; it stays as
    thick everywhere as the thinnest wall of any slice. The depth inside the outline and outside the holes, cut off at half a
    voxel, is smoothed by a Gaussian. The mask ends half a slice beyond its first and its last slice, where its voxels end. Slices
    lie across the longest voxel side.

    Args:
        mask: Volume (x, y, z) bool.
        step_mm: of the grid; by default the shortest voxel side, kept within 0.5 and 1.25 mm.
        smoothing_mm: standard deviation; by default the shortest voxel side.

    Returns:
        Volume float64, -1 far outside to 1 deep inside.
    """
    finest_mm = min(mask.spacing_mm)
    step_mm = step_mm or min(max(finest_mm, 0.5), 1.25)
    smoothing_mm = smoothing_mm or finest_mm
    last = max(range(3), key=lambda axis: (mask.spacing_mm[axis], axis))
    mask = preprocess.transpose(mask, (*(axis for axis in range(3) if axis != last), last))
    spacing_mm = np.array(mask.spacing_mm)
    half_mm = max(*(spacing_mm[:2] / 2), step_mm / 2)
    margin_mm = 5 * smoothing_mm + 2 * max(half_mm, step_mm)

    (box,) = ndimage.find_objects(mask.array.astype(np.uint8))
    pad = np.array([*np.ceil(margin_mm / spacing_mm[:2] + 1), 0]).astype(int)
    size = [part.stop - part.start for part in box] + 2 * pad
    mask = preprocess.window(mask, [part.start for part in box] - pad, size)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask.array, 2, 0)], axis=2)
    hollow = filled & ~mask.array
    outline, holes = signed_distances_mm(filled, spacing_mm), signed_distances_mm(hollow, spacing_mm)
    thinnest_mm = outline[hollow].min(initial=np.inf) - min(spacing_mm[:2]) / 2

    low = np.array([0, 0, -spacing_mm[2] / 2 - margin_mm])
    axes_mm = [np.arange(start, stop, step_mm) for start, stop in zip(low, (size - 1) * spacing_mm - low, strict=True)]
    outline, holes = (resampled(part, spacing_mm, axes_mm) for part in (outline, holes))
    depth_mm = (ndimage.distance_transform_edt(outline > 0) - 0.5) * step_mm
    holes = np.minimum(holes, depth_mm - thinnest_mm) if hollow.any() else holes
    ends = (size[2] / 2) * spacing_mm[2] - np.abs(axes_mm[2] - (size[2] - 1) / 2 * spacing_mm[2])
    inside = np.minimum(np.minimum(outline, -holes), ends)
    values = ndimage.gaussian_filter(np.clip(inside / half_mm, -1, 1), smoothing_mm / step_mm)

    scale = mask.spacing_mm / np.linalg.norm(mask.affine[:3, :3], axis=0)  # the header's voxel size wins
    affine = mask.affine.copy()
    affine[:3, :3] *= scale / spacing_mm
    affine[:3, 3] += affine[:3, :3] @ low
    affine[:3, :3] *= step_mm
    return Volume(values, (step_mm,) * 3, affine)


def signed_distances_mm(mask, spacing_mm):
    """Distance of each voxel to the edge of the mask within its slice, positive inside, cut off at two slice distances.

    Args:
        mask: (x, y, z) bool.
    """
    half_mm, limit_mm = min(spacing_mm[:2]) / 2, 2 * spacing_mm[2]  # half: from the centre of a voxel to its edge
    result = np.full(mask.shape, -limit_mm)
    for z in np.flatnonzero(mask.any(axis=(0, 1))):
        plane = mask[:, :, z]
        inside, outside = (ndimage.distance_transform_edt(part, sampling=spacing_mm[:2]) for part in (plane, ~plane))
        result[:, :, z] = np.where(plane, inside - half_mm, half_mm - outside)
    return np.clip(result, -limit_mm, limit_mm)


def resampled(values, spacing_mm, axes_mm):
    """Values on a grid at the positions `axes_mm` of another: linear within slices, monotone cubic between, constant beyond."""
    for axis, kind in (
        (2, interpolate.PchipInterpolator),
        (0, interpolate.make_interp_spline),
        (1, interpolate.make_interp_spline),
    ):
        options = {"k": 1} if kind is interpolate.make_interp_spline else {}
        known_mm = np.arange(values.shape[axis]) * spacing_mm[axis]
        values = kind(known_mm, values, axis=axis, **options)(np.clip(axes_mm[axis], 0, known_mm[-1]))
    return values


def surface(mask, step_mm=None, smoothing_mm=None):
    """The smoothed surface of a mask; it encloses the volume of the mask's voxels, and crumbs smaller than a voxel are left out.

    Args:
        mask: Volume (x, y, z) bool, at least two voxels thick along every axis.
        step_mm, smoothing_mm: as in `field`.

    Raises:
        InputError: scikit-image is missing, or the mask is too thin to survive the smoothing.
    """
    smooth = field(mask, step_mm, smoothing_mm)
    wanted_ml = mask_ml(mask)
    level = optimize.brentq(lambda level: enclosed_ml(contour(smooth, level)) - wanted_ml, -0.95, 0.95, xtol=1e-4)
    found = without_crumbs(contour(smooth, level), mask.voxel_ml)
    ratio = enclosed_ml(found) / wanted_ml
    if abs(ratio - 1) > TOLERANCE:
        raise InputError(f"smoothing leaves {100 * ratio:.0f} % of the mask's volume: it is too thin or in crumbs; smooth less")
    return found


def contour(smooth, level):
    """The surface on which a field has this value.

    Raises:
        InputError: scikit-image is missing.
    """
    if smooth.array.max() <= level:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), int))
    clearance = 0.02  # samples at the level itself would give triangles of no area
    above = smooth.array - level
    above = np.where(np.abs(above) < clearance, np.where(above < 0, -clearance, clearance), above)
    voxels, faces, *_ = extra("skimage.measure").marching_cubes(above, 0.0, gradient_direction="ascent")
    points_mm = voxels.astype(float) @ smooth.affine[:3, :3].T + smooth.affine[:3, 3]
    mirrored = np.linalg.det(smooth.affine[:3, :3]) < 0
    return Surface(points_mm, faces[:, ::-1] if mirrored else faces)


def without_crumbs(solid, smallest_ml):
    """The surface less its pieces (parts and bubbles) that enclose less than `smallest_ml`."""
    _, piece = pieces(solid)
    volumes_ml = np.bincount(piece[solid.faces[:, 0]], signed_ml(solid))
    faces = solid.faces[np.abs(volumes_ml[piece[solid.faces[:, 0]]]) >= smallest_ml]
    kept, faces = np.unique(faces, return_inverse=True)
    return Surface(solid.points_mm[kept], faces.reshape(-1, 3))


def mask_ml(mask):
    return np.count_nonzero(mask.array) * mask.voxel_ml


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
        points_mm, cells = extra("pytetwild").tetrahedralize(
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


def extra(name):
    """A library of the extra [mesh], imported when it is needed.

    Raises:
        InputError: it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(MISSING) from error


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
    meshio = extra("meshio")
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
    with written_whole(path) as temporary:
        mesh.write(temporary, file_format=file_format, **options)


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
        light = LightSource(azdeg=215 - 60 - azim, altdeg=35)
        axis.add_collection3d(Poly3DCollection(near, **paint, shade=True, lightsource=light))
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
            extra(name)  # missing now rather than after minutes
        start = time.monotonic()
        labels = volume.read_labels(options.labels_file)
        if options.biventricular:
            labels = wall(labels, options.rv_wall_mm)
        labels = structures(labels, options.labels, largest=not options.all_components)
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
    from propagation import masks

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


if __name__ == "__main__":
    main()
