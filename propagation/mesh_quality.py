"""What a mesh is worth: closed, manifold, free of self-intersections, its volume, and the shape of its tetrahedra."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import spatial

from propagation.solid import boundary, components, enclosed_ml, pieces, signed_volumes_mm3

PARALLEL = 1e-9  # of a triangle's size: closer than that to its plane is in it


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


def yes(value):
    return "yes" if value else "NO"
