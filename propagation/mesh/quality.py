"""Whether a mesh is fit for simulation: closed, manifold, free of self-intersections, its volume, the shape of its tetrahedra."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from propagation.mesh.intersections import self_intersections
from propagation.mesh.solid import Surface, Tetrahedra, boundary, components, enclosed_ml, pieces, signed_volumes_mm3


@dataclass(frozen=True)
class SurfaceQuality:
    """Whether a surface is fit for simulation.

    Attributes:
        points, faces: how many.
        pieces: connected surfaces: the outside of every part, and every cavity that is closed all around.
        euler: points - edges + faces; 2 for each piece without handles, 0 for a torus.
        open_edges: edges that do not lie in exactly two triangles.
        pinched_points: points whose triangles do not form one fan.
        flipped_edges: edges that two triangles run through in the same direction.
        self_intersections: pairs of triangles that meet in more than the points and edges they share.
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
    def closed(self) -> bool:
        return self.open_edges == 0

    @property
    def manifold(self) -> bool:
        return self.open_edges == self.pinched_points == 0

    @property
    def outward(self) -> bool:
        return self.flipped_edges == 0 and self.volume_ml > 0

    @property
    def volume_ratio(self) -> float:
        return self.volume_ml / self.mask_ml

    def lines(self) -> list[str]:
        return [
            f"surface: {self.points} points, {self.faces} triangles, {self.pieces} piece(s), Euler characteristic {self.euler}",
            f"  closed: {yes(self.closed)}, manifold: {yes(self.manifold)}, outward: {yes(self.outward)}, "
            f"self-intersections: {self.self_intersections}",
            f"  area {self.area_mm2:.1f} mm2, volume {self.volume_ml:.3f} ml, {100 * self.volume_ratio:.2f} % of the mask's",
        ]


@dataclass(frozen=True)
class TetrahedraQuality:
    """Whether tetrahedra are fit for simulation.

    Attributes:
        points, cells: how many.
        inverted: tetrahedra whose volume is not positive.
        worst, mean: radius ratio, 3 inscribed / circumscribed: 1 for a regular tetrahedron, 0 for a flat or inverted one.
        min_dihedral_deg: smallest angle between two faces of a tetrahedron; 70.5 in a regular one.
        boundary_manifold: whether the boundary is closed and without pinched points.
        volume_ml, surface_ml: volume of the tetrahedra, and of the surface that they fill.
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
    def volume_ratio(self) -> float:
        return self.volume_ml / self.surface_ml

    def lines(self) -> list[str]:
        regions = ", ".join(f"{value}: {ml:.3f} ml" for value, ml in self.regions_ml.items())
        return [
            f"tetrahedra: {self.cells}, {self.points} points, inverted: {self.inverted}",
            f"  radius ratio: worst {self.worst:.3f}, mean {self.mean:.3f}; smallest dihedral {self.min_dihedral_deg:.1f} deg",
            f"  volume {self.volume_ml:.3f} ml, {100 * self.volume_ratio:.2f} % of the surface's; "
            f"boundary manifold: {yes(self.boundary_manifold)}",
            f"  regions by label: {regions}",
        ]


def surface_quality(solid: Surface, wanted_ml: float) -> SurfaceQuality:
    """The quality of a surface made from a mask of `wanted_ml`."""
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


def topology(solid: Surface) -> tuple[int, np.ndarray, int, int]:
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


def tetrahedra_quality(tets: Tetrahedra, solid: Surface) -> TetrahedraQuality:
    """The quality of tetrahedra that fill a surface."""
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


def radius_ratios(corners: np.ndarray) -> np.ndarray:
    """3 inscribed / circumscribed radius of tetrahedra (n, 4 corners, 3); 0 where flat or inverted."""
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    volume_mm3 = np.maximum(signed_volumes_mm3(corners), 0)
    areas_mm2 = np.linalg.norm(face_normals(corners), axis=2).sum(axis=1) / 2
    squares = [np.einsum("ij,ij->i", edge, edge)[:, None] for edge in (a, b, c)]
    around = np.linalg.norm(squares[0] * np.cross(b, c) + squares[1] * np.cross(c, a) + squares[2] * np.cross(a, b), axis=1)
    return 3 * (3 * volume_mm3 / areas_mm2) * (12 * volume_mm3 / around)


def dihedrals_deg(corners: np.ndarray) -> np.ndarray:
    """The six angles between the faces of tetrahedra (n, 4 corners, 3): (n, 6)."""
    normals = face_normals(corners)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), np.finfo(float).tiny)
    pairs = np.triu_indices(4, 1)
    cosine = -np.einsum("nij,nij->ni", normals[:, pairs[0]], normals[:, pairs[1]])
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def face_normals(corners: np.ndarray) -> np.ndarray:
    """Normals of the faces opposite corners 0 to 3, outwards, as long as twice the face's area: (n, 4, 3)."""
    faces = corners[:, [[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]]
    return np.cross(faces[:, :, 1] - faces[:, :, 0], faces[:, :, 2] - faces[:, :, 0])


def report(quality: SurfaceQuality | TetrahedraQuality) -> dict[str, object]:
    """The fields and properties of a quality, for JSON."""
    derived = [name for name, value in vars(type(quality)).items() if isinstance(value, property)]
    return {**dataclasses.asdict(quality), **{name: getattr(quality, name) for name in derived}}


def yes(value: bool) -> str:
    return "yes" if value else "NO"
