"""Mesh files: the formats, and the note in each of them that its points are RAS."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from propagation.mesh.solid import Surface, Tetrahedra
from shared.errors import InputError
from shared.files import written_whole
from shared.lazy import library


class Format(NamedTuple):
    """What is written into a file.

    Attributes:
        kind: "surface" or "tetrahedra".
        name: meshio's name of the format.
        options: of meshio's writer.
    """

    kind: str
    name: str
    options: dict[str, bool]


FORMATS = {  # by the ending of the file's name
    ".stl": Format("surface", "stl", {"binary": True}),
    ".vtu": Format("tetrahedra", "vtu", {}),
    ".vtk": Format("tetrahedra", "vtk", {}),
    ".msh": Format("tetrahedra", "gmsh22", {"binary": False}),  # Gmsh 2.2 in ASCII: more readers than 4.1
    ".inp": Format("tetrahedra", "abaqus", {}),
}
# Every file says that its points are RAS. In .stl and .vtk the note stands where 3D Slicer looks for it; without it, 3D Slicer
# takes points for LPS. In .vtu, 3D Slicer looks for an array of strings, which meshio cannot read again: a comment stands there
# instead. Format -> what is replaced in meshio's file, and what comes in its place
SPACES = {
    "stl": (rb"(?s)\A.{80}", b"SPACE=RAS".ljust(80)),
    "vtk": (rb"written by meshio[^\n]*", b"SPACE=RAS"),
    "vtu": (rb"<UnstructuredGrid>", b"<!-- SPACE=RAS -->\n<UnstructuredGrid>"),
    "gmsh22": (rb"\$EndMeshFormat\n", b"$EndMeshFormat\n$Comments\nSPACE=RAS\n$EndComments\n"),
    "abaqus": (rb"written by meshio[^\n]*", b"SPACE=RAS"),
}


def format_of(path: str | Path) -> Format:
    """The format that the ending of a file's name asks for.

    Raises:
        InputError: an ending without a format.
    """
    if Path(path).suffix not in FORMATS:
        choices = ", ".join(f"{ending} ({form.kind})" for ending, form in FORMATS.items())
        raise InputError(f"{path}: cannot write this format; expected {choices}")
    return FORMATS[Path(path).suffix]


def write(path: str | Path, solid: Surface, tets: Tetrahedra | None = None) -> None:
    """Write the surface (.stl) or the tetrahedra (the other endings of FORMATS), in mm, whole or not at all.

    The region of each tetrahedron is the cell data `region` in .vtu and .vtk, the physical group `label_N` in .msh, and the
    element set `label_N` in .inp.

    Raises:
        InputError: an ending without a format, no tetrahedra for a format that holds them, or meshio is missing.
    """
    form = format_of(path)
    meshio = library("meshio", "mesh")
    if form.kind == "surface":
        mesh = meshio.Mesh(solid.points_mm, [("triangle", solid.faces)])
    elif tets is None:
        raise InputError(f"{path}: this format holds tetrahedra, and none are given; write the surface as .stl")
    else:
        mesh = meshio.Mesh(tets.points_mm, [("tetra", tets.cells)], **regions_for(form, tets.regions))
    pattern, space = SPACES[form.name]
    with written_whole(path) as temporary:
        mesh.write(temporary, file_format=form.name, **form.options)
        content, replaced = re.subn(pattern, lambda _: space, temporary.read_bytes(), count=1)
        assert replaced, f"meshio writes {form.name} in another way"
        temporary.write_bytes(content)


def regions_for(form: Format, regions: np.ndarray) -> dict[str, dict]:
    """The label value of every tetrahedron, as the arguments of `meshio.Mesh` that keep it in this format."""
    regions = regions.astype(np.int32)
    values = [int(value) for value in np.unique(regions)]
    if form.name == "gmsh22":
        return {
            "cell_data": {"gmsh:physical": [regions], "gmsh:geometrical": [regions]},
            "field_data": {f"label_{value}": np.array([value, 3]) for value in values},
        }
    if form.name == "abaqus":
        return {"cell_sets": {f"label_{value}": [np.flatnonzero(regions == value)] for value in values}}
    return {"cell_data": {"region": [regions]}}
