"""Label maps as shaded surfaces, in pictures that are written as PNG, whole or not at all.

scikit-image is imported where a surface needs it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LightSource, to_rgba
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy import ndimage

from shared.lazy import library
from shared.scans.volume import Volume
from shared.scoring import plots

BAR_MM = 20  # of the scale in a corner, which stands upright
VIEW_DEG = {"elev": 20, "azim": -60}
LIGHT = LightSource(azdeg=205, altdeg=35)


def surfaces(path: Path, rows: Sequence[Sequence[tuple[str, Volume]]], structures: Mapping[int, str]) -> None:
    """Label maps as shaded surfaces; where there are other structures, the myocardium is half transparent.

    Args:
        path: of the PNG.
        rows: panels (title, labels), equally many in every row, such as a reference and predictions on its grid. The panels of a
            row share their limits.
        structures: label value -> name.

    Raises:
        InputError: scikit-image is missing.
    """
    colours, veiled = plots.colours_of(structures.values()), {"Myo"} if len(structures) > 1 else {}
    faces = [to_rgba(colours[name], 0.4 if name in veiled else 1) for name in structures.values()]
    edges = [to_rgba(colours[name], 0 if name in veiled else 1) for name in structures.values()]  # close the seams
    figure = plots.canvas(3 * len(rows[0]), 2.7 * len(rows) + 0.3)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, subplot_kw={"projection": "3d", "proj_type": "ortho"})
    for line, panels in zip(axes, rows, strict=True):
        meshes = [[surface(labels.array == value, labels.spacing_mm) for value in structures] for _, labels in panels]
        corners = np.concatenate(sum(meshes, [])).reshape(-1, 3)
        low, high = (corners.min(axis=0), corners.max(axis=0)) if len(corners) else (np.zeros(3), np.ones(3))
        for axis, (title, _), parts in zip(line, panels, meshes, strict=True):
            parts = [facing(part, **VIEW_DEG) for part in parts]
            triangles, counts = np.concatenate(parts), [len(part) for part in parts]
            if len(triangles):  # one collection, so that the triangles of all structures are sorted by depth together
                paint = {"facecolors": np.repeat(faces, counts, axis=0), "edgecolors": np.repeat(edges, counts, axis=0)}
                axis.add_collection3d(Poly3DCollection(triangles, **paint, linewidths=0.2, shade=True, lightsource=LIGHT))
            axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
            axis.set_box_aspect(high - low, zoom=1.05)
            axis.view_init(**VIEW_DEG)
            axis.set_axis_off()
            axis.plot(*([at, at] for at in low[:2]), [low[2], low[2] + BAR_MM], color="black", linewidth=1.5)
            axis.text(*low[:2], low[2] + BAR_MM, f" {BAR_MM} mm", fontsize=7)
            axis.set_title(title, fontsize=9)
    plots.legend(figure, plots.handles(structures))
    plots.save(figure, path, dpi=220)


def surface(mask: np.ndarray, spacing_mm: Sequence[float], detail: int = 100) -> np.ndarray:
    """Closed surface of a mask, smoothed by its finest step.

    Steps are whole voxels; at most `detail` of them fit into the mask's longest side. A mask that is too small to survive the
    smoothing has no triangles.

    Returns:
        Triangles (n, 3 corners, 3) in mm from voxel 0, anticlockwise when seen from outside.

    Raises:
        InputError: scikit-image is missing.
    """
    marching_cubes = library("skimage.measure", "mesh").marching_cubes
    if not mask.any():
        return np.zeros((0, 3, 3))
    spacing = np.array(spacing_mm)
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    steps = np.ceil(np.max(mask[box].shape * spacing) / detail / spacing).astype(int)
    margin = steps + 1  # so that the last sample, too, lies outside
    inside = np.pad(mask[box].astype(np.float32), np.stack([margin, margin], axis=1))
    inside = ndimage.gaussian_filter(inside, np.min(steps * spacing) / spacing, mode="constant")
    inside = inside[tuple(slice(None, None, step) for step in steps)]
    if inside.max() <= 0.5:
        return np.zeros((0, 3, 3))
    outwards = {"gradient_direction": "ascent", "allow_degenerate": False}
    corners, faces, *_ = marching_cubes(inside, 0.5, spacing=steps * spacing, **outwards)
    return (corners + ([part.start for part in box] - margin) * spacing)[faces]


def facing(triangles: np.ndarray, elev: float, azim: float) -> np.ndarray:
    """Those triangles of `surface` whose outside is seen from this direction (degrees)."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return triangles[normals @ LightSource(azdeg=90 - azim, altdeg=elev).direction > 0]
