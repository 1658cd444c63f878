"""Surface and tetrahedra of a label map, in millimetres of the scanner, for simulation.

    from propagation import mesh
    from shared.scans import volume

    labels = mesh.structures(volume.read_labels("seg.nii.gz"))
    solid = mesh.surface(labels.with_array(labels.array > 0))
    mesh.write("heart.vtu", solid, mesh.tetrahedra(solid, labels=labels))

The command `python -m propagation.mesh seg.nii.gz -o heart.vtu` does the same, and reports the quality of what it wrote.

    labels.py     which voxels are meshed
    fields.py     a smooth function of space that is positive inside them
    surfaces.py   the triangles where this function has the right value
    filling.py    tetrahedra inside the triangles
    quality.py    whether triangles and tetrahedra are fit for simulation (with intersections.py)
    files.py      .stl, .vtu, .vtk, .msh and .inp
    drawing.py    a picture

The paper hands its predicted mask to CGAL and says neither sizes nor smoothing. Everything here is ours and uses libraries under
permissive licences, the extra `[mesh]`: scikit-image finds contours, fTetWild (through pytetwild) fills them, meshio writes.

Points are RAS+ millimetres, and every file says so. The label map's affine says where its voxels are. Where its scale disagrees
with the voxel size of the header, the header wins (see `shared.scans.volume`). Triangles are anticlockwise from outside, and
tetrahedra have positive volume.
"""

from propagation.mesh.drawing import draw
from propagation.mesh.files import write
from propagation.mesh.filling import tetrahedra
from propagation.mesh.labels import structures, wall
from propagation.mesh.quality import surface_quality, tetrahedra_quality
from propagation.mesh.solid import Surface, Tetrahedra
from propagation.mesh.surfaces import surface

__all__ = [
    "Surface",
    "Tetrahedra",
    "draw",
    "structures",
    "surface",
    "surface_quality",
    "tetrahedra",
    "tetrahedra_quality",
    "wall",
    "write",
]
