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
import dataclasses
import importlib
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import LightSource
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy import interpolate, ndimage, optimize, sparse, spatial

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
EDGE_MM, EPSILON_MM, RV_WALL_MM = 3.0, 0.2, 3.0
PARALLEL = 1e-9  # of a triangle's size: closer than that to its plane is in it
VIEWS_DEG = ((20, -60), (20, 120))  # elevation and azimuth: opposite sides


@dataclass(frozen=True)
class Surface:
    """Triangles around a solid.

    Attributes:
        points_mm: (points, 3) float64, RAS.
        faces: (triangles, 3) indices of points, anticlockwise from outside.
    """

    points_mm: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Tetrahedra:
    """A solid cut into tetrahedra.

    Attributes:
        points_mm: (points, 3) float64, RAS.
        cells: (tetrahedra, 4) indices of points.
        regions: (tetrahedra,) label value of each.
    """

    points_mm: np.ndarray
    cells: np.ndarray
    regions: np.ndarray


@dataclass(frozen=True)
class SurfaceQuality:
    """What a surface is worth.

    Attributes:
        points, faces: how many.
        pieces: connected surfaces: the outside of every part and every cavity that is closed all around.
        euler: points - edges + faces; 2 for every piece without handles, 0 for a torus.
        open_edges: edges that do not lie in exactly two triangles.
        pinched_points: points whose triangles do not form one fan.
        flipped_edges: edges that two triangles run through in the same direction.
        self_intersections: pairs of triangles that meet elsewhere than in the points and edges they share.
        area_mm2, volume_ml: area and enclosed volume; negative where it is inside out.
        mask_ml: volume of the mask's voxels.
    """

    points: int
    faces: int
    pieces: int
    euler: int
    open_edges: int
    pinched_points: int
    flipped_edges: int
    self_intersections: int
    area_mm2: float
    volume_ml: float
    mask_ml: float

    @property
    def closed(self):
        return self.open_edges == 0

    @property
    def manifold(self):
        return self.open_edges == self.pinched_points == 0

    @property
    def outward(self):
        return self.flipped_edges == 0 and self.volume_ml > 0

    @property
    def volume_ratio(self):
        return self.volume_ml / self.mask_ml

    def lines(self):
        return [
            f"surface: {self.points} points, {self.faces} triangles, {self.pieces} piece(s), Euler characteristic {self.euler}",
            f"  closed: {yes(self.closed)}, manifold: {yes(self.manifold)}, outward: {yes(self.outward)}, "
            f"self-intersections: {self.self_intersections}",
            f"  area {self.area_mm2:.1f} mm2, volume {self.volume_ml:.3f} ml, {100 * self.volume_ratio:.2f} % of the mask's",
        ]


@dataclass(frozen=True)
class TetrahedraQuality:
    """What tetrahedra are worth.

    Attributes:
        points, cells: how many.
        inverted: tetrahedra whose volume is not positive.
        worst, mean: radius ratio, 3 inscribed / circumscribed: 1 for a regular tetrahedron, 0 for a flat or inverted one.
        min_dihedral_deg: smallest angle between two faces of a tetrahedron; 70.5 in a regular one.
        boundary_manifold: whether the boundary is closed and without pinched points.
        volume_ml, surface_ml: volume of the tetrahedra, and what the surface they fill encloses.
        regions_ml: volume by label value.
    """

    points: int
    cells: int
    inverted: int
    worst: float
    mean: float
    min_dihedral_deg: float
    boundary_manifold: bool
    volume_ml: float
    surface_ml: float
    regions_ml: dict[int, float]

    @property
    def volume_ratio(self):
        return self.volume_ml / self.surface_ml

    def lines(self):
        regions = ", ".join(f"{value}: {ml:.3f} ml" for value, ml in self.regions_ml.items())
        return [
            f"tetrahedra: {self.cells}, {self.points} points, inverted: {self.inverted}",
            f"  radius ratio: worst {self.worst:.3f}, mean {self.mean:.3f}; smallest dihedral {self.min_dihedral_deg:.1f} deg",
            f"  volume {self.volume_ml:.3f} ml, {100 * self.volume_ratio:.2f} % of the surface's; "
            f"boundary manifold: {yes(self.boundary_manifold)}",
            f"  regions by label: {regions}",
        ]


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


def pieces(solid):
    """How many connected pieces a surface has, and the piece of every point."""
    links = np.concatenate([solid.faces[:, [0, 1]], solid.faces[:, [1, 2]]])
    return components(links, len(solid.points_mm))


def components(links, count):
    """How many connected components `count` nodes have with these links (n, 2), and the component of every node."""
    graph = sparse.coo_array((np.ones(len(links), bool), links.T), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)


def signed_ml(solid):
    """Volume between each triangle and the middle of the points; they add up to the enclosed volume."""
    a, b, c = np.moveaxis((solid.points_mm - solid.points_mm.mean(axis=0))[solid.faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6000


def enclosed_ml(solid):
    return float(signed_ml(solid).sum()) if len(solid.faces) else 0.0


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
    points_mm, cells = extra("pytetwild").tetrahedralize(
        solid.points_mm - centre_mm, solid.faces.astype(np.int32), edge_length_abs=edge_mm, epsilon=epsilon_mm / diagonal_mm,
        vtk_ordering=True,
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


def boundary(tets):
    """The Surface of the triangles that belong to one tetrahedron only."""
    faces = np.concatenate([tets.cells[:, corners] for corners in ([1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1])])
    _, first, count = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True)
    kept, faces = np.unique(faces[first[count == 1]], return_inverse=True)
    return Surface(tets.points_mm[kept], faces.reshape(-1, 3))


# Quality --------------------------------------------------------------------------------------------------------------------


def surface_quality(solid, wanted_ml):
    """SurfaceQuality of a surface made from a mask of `wanted_ml`."""
    edges, count, flipped, pinched = topology(solid)
    a, b, c = np.moveaxis(solid.points_mm[solid.faces], 1, 0)
    return SurfaceQuality(
        points=len(solid.points_mm),
        faces=len(solid.faces),
        pieces=int(pieces(solid)[0]),
        euler=len(solid.points_mm) - edges + len(solid.faces),
        open_edges=int(np.count_nonzero(count != 2)),
        pinched_points=pinched,
        flipped_edges=flipped,
        self_intersections=len(self_intersections(solid)),
        area_mm2=float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2),
        volume_ml=enclosed_ml(solid),
        mask_ml=wanted_ml,
    )


def topology(solid):
    """Number of edges, triangles per edge, edges run through twice in one direction, points whose triangles are not one fan."""
    faces = solid.faces
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)  # edge k of face f is row 3 f + k
    undirected, edge, count = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True)
    flipped = len(directed) - len(np.unique(directed, axis=0))
    # Two triangles at an edge are neighbours in the fans of both its points; corner k of face f is node 3 f + k.
    order = np.argsort(edge.ravel(), kind="stable")
    same = edge.ravel()[order[:-1]] == edge.ravel()[order[1:]]
    one, other = order[:-1][same], order[1:][same]
    nodes = np.arange(faces.size)
    nodes_of = np.column_stack([nodes, np.roll(nodes.reshape(-1, 3), -1, axis=1).ravel()])  # corners at both ends of an edge
    turned = directed[one][:, 0] != directed[other][:, 0]
    ends = np.where(turned[:, None], nodes_of[other][:, ::-1], nodes_of[other])
    _, fan = components(np.concatenate([np.stack([nodes_of[one][:, k], ends[:, k]], axis=1) for k in (0, 1)]), faces.size)
    fans = np.unique(np.column_stack([faces.ravel(), fan]), axis=0)
    pinched = np.count_nonzero(np.bincount(fans[:, 0], minlength=1) > 1)
    return len(undirected), count, flipped, int(pinched)


def self_intersections(solid):
    """Pairs of triangles with a point in common other than the points and edges they share by index: (n, 2) indices of faces.

    Triangles that touch count. A triangle with an edge in common with another counts where it is folded flat onto it.
    """
    corners = solid.points_mm[solid.faces]
    middles = corners.mean(axis=1)
    radii = np.linalg.norm(corners - middles[:, None], axis=2).max(axis=1)
    low, high = corners.min(axis=1), corners.max(axis=1)
    tree = spatial.KDTree(middles)
    found = []
    for start in range(0, len(middles), 20_000):
        part = np.arange(start, min(start + 20_000, len(middles)))
        near = tree.query_ball_point(middles[part], 2 * radii[part] * (1 + 1e-9))  # reaches every smaller triangle it can meet
        one, other = np.repeat(part, [len(n) for n in near]), np.concatenate([*near]).astype(int)
        smaller = (radii[other] < radii[one]) | ((radii[other] == radii[one]) & (other < one))
        boxes = np.all((low[one] <= high[other]) & (low[other] <= high[one]), axis=1)
        one, other = one[smaller & boxes], other[smaller & boxes]
        hit = meet(corners[one], corners[other], solid.faces[one], solid.faces[other])
        found.append(np.column_stack([one[hit], other[hit]]))
    return np.concatenate(found)


def meet(one, other, one_faces, other_faces):
    """Whether triangles meet elsewhere than in what they share.

    Args:
        one, other: (n, 3 corners, 3).
        one_faces, other_faces: (n, 3) indices of the corners, by which they are known to be shared.
    """
    shared = one_faces[:, :, None] == other_faces[:, None, :]
    result = np.zeros(len(one), bool)
    for edges, triangles, held in ((one, other, shared.any(axis=2)), (other, one, shared.any(axis=1))):
        for k in range(3):
            free = np.flatnonzero(~(held[:, k] | held[:, (k + 1) % 3]))  # an edge that starts in a shared corner leaves there
            result[free] |= pierces(edges[free, k], edges[free, (k + 1) % 3], triangles[free])
    normals = [np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]) for t in (one, other)]
    cosine = np.einsum("ij,ij->i", *normals) / np.prod([np.linalg.norm(n, axis=1) for n in normals], axis=0)
    return result | ((np.count_nonzero(shared, axis=(1, 2)) == 2) & (cosine < -1 + 1e-12))


def pierces(start, end, triangle):
    """Whether segments have a point in common with triangles, border included.

    Args:
        start, end: (n, 3).
        triangle: (n, 3 corners, 3).
    """
    normal = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
    size = np.sqrt(np.linalg.norm(normal, axis=1))
    heights = [np.einsum("ij,ij->i", p - triangle[:, 0], normal) / size**2 for p in (start, end)]
    heights = [np.where(np.abs(h) < PARALLEL * size, 0, h) for h in heights]
    flat = (heights[0] == 0) & (heights[1] == 0)
    crosses = heights[0] * heights[1] <= 0
    share = heights[0] / np.where(crosses & ~flat, heights[0] - heights[1], np.inf)
    at = start + share[:, None] * (end - start)
    # Seen along the axis that the normal is nearest to, everything is two-dimensional.
    seen = np.argsort(np.abs(normal), axis=1)[:, :2]
    start, end, at = (np.take_along_axis(p, seen, axis=1) for p in (start, end, at))
    corners = np.take_along_axis(triangle, seen[:, None], axis=2)
    tolerance = PARALLEL * size**2
    result = crosses & holds(corners, at, tolerance)
    for k in range(3):
        result |= flat & cross_flat(start, end, corners[:, k], corners[:, (k + 1) % 3], tolerance)
    return result  # a flat segment without a crossing has its start, which is `at`, inside


def holds(triangle, point, tolerance):
    """Whether triangles (n, 3, 2) hold points (n, 2), border included."""
    sides = np.stack([turn(triangle[:, k], triangle[:, (k + 1) % 3], point) for k in range(3)])
    return np.all(sides >= -tolerance, axis=0) | np.all(sides <= tolerance, axis=0)


def cross_flat(a, b, c, d, tolerance):
    """Whether segments ab and cd (n, 2) cross; two in one line are found by `holds` at their ends."""
    apart = [turn(a, b, c) * turn(a, b, d), turn(c, d, a) * turn(c, d, b)]
    return (apart[0] < -(tolerance**2)) & (apart[1] < -(tolerance**2))


def turn(a, b, c):
    """Twice the area of triangles abc (n, 2), positive where anticlockwise."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def tetrahedra_quality(tets, solid):
    """TetrahedraQuality of tetrahedra that fill a surface."""
    corners = tets.points_mm[tets.cells]
    _, count, _, pinched = topology(boundary(tets))
    volumes_ml = signed_volumes_mm3(corners) / 1000
    ratios = radius_ratios(corners)
    return TetrahedraQuality(
        points=len(tets.points_mm),
        cells=len(tets.cells),
        inverted=int(np.count_nonzero(volumes_ml <= 0)),
        worst=float(ratios.min()),
        mean=float(ratios.mean()),
        min_dihedral_deg=float(dihedrals_deg(corners).min()),
        boundary_manifold=bool(np.all(count == 2) and pinched == 0),
        volume_ml=float(volumes_ml.sum()),
        surface_ml=enclosed_ml(solid),
        regions_ml={int(value): float(volumes_ml[tets.regions == value].sum()) for value in np.unique(tets.regions)},
    )


def signed_volumes_mm3(corners):
    """Volume of tetrahedra (n, 4 corners, 3), negative where inverted."""
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6


def radius_ratios(corners):
    """3 inscribed / circumscribed radius of tetrahedra (n, 4 corners, 3); 0 where flat or inverted."""
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    volume_mm3 = np.maximum(signed_volumes_mm3(corners), 0)
    areas_mm2 = np.linalg.norm(face_normals(corners), axis=2).sum(axis=1) / 2
    squares = [np.einsum("ij,ij->i", edge, edge)[:, None] for edge in (a, b, c)]
    around = np.linalg.norm(squares[0] * np.cross(b, c) + squares[1] * np.cross(c, a) + squares[2] * np.cross(a, b), axis=1)
    return 3 * (3 * volume_mm3 / areas_mm2) * (12 * volume_mm3 / around)


def dihedrals_deg(corners):
    """The six angles between the faces of tetrahedra (n, 4 corners, 3): (n, 6)."""
    normals = face_normals(corners)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), np.finfo(float).tiny)
    pairs = np.triu_indices(4, 1)
    cosine = -np.einsum("nij,nij->ni", normals[:, pairs[0]], normals[:, pairs[1]])
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def face_normals(corners):
    """Normals of the faces opposite corners 0 to 3, outwards, as long as twice the face's area: (n, 4, 3)."""
    faces = corners[:, [[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]]
    return np.cross(faces[:, :, 1] - faces[:, :, 0], faces[:, :, 2] - faces[:, :, 0])


def report(quality):
    """The numbers of a quality, and what follows from them, for JSON."""
    derived = [name for name, value in vars(type(quality)).items() if isinstance(value, property)]
    return {**dataclasses.asdict(quality), **{name: getattr(quality, name) for name in derived}}


def extra(name):
    """A library of the extra [mesh], imported when it is needed.

    Raises:
        InputError: it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(MISSING) from error


def yes(value):
    return "yes" if value else "NO"


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
    parser.add_argument("--rv-wall-mm", type=float, default=RV_WALL_MM, help="thickness of that ring (default: %(default)s)")
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
