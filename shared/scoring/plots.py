"""Pictures: label maps over scans and as surfaces, learning curves, Bland-Altman. Written as PNG, whole or not at all.

scikit-image is imported where a surface needs it, so that all other pictures can be drawn without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LightSource, to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy import ndimage

from shared.files import written_whole
from shared.lazy import library
from shared.scans.volume import Volume

COLOURS = ("#e6550d", "#31a354", "#3182bd", "#756bb1", "#fdae6b", "#a1d99b", "#9ecae1")
BOX = "#ffd92f"
VIEW_DEG = {"elev": 20, "azim": -60}
LIGHT = LightSource(azdeg=205, altdeg=35)

Box = tuple[Sequence[int], Sequence[int]]  # first voxel and shape


def overlay(
    path: Path, rows: Sequence[tuple[str, Volume, Volume, Volume]], structures: Mapping[int, str], columns: int = 4
) -> None:
    """One row of slices per label map, its outlines drawn over the scan.

    Args:
        path: of the PNG.
        rows: (title, image, labels, guide) for each row; the slices shown are those where the guide has labels.
        structures: label value -> name.
    """
    figure = canvas(2.6 * columns, 2.6 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, image, labels, guide) in zip(axes, rows, strict=True):
        box = around(guide.array, image.spacing_mm)
        for axis, z in zip(line, spread_slices(guide.array, columns), strict=True):
            grey(axis, image.array[*box, z], image.spacing_mm)
            outlines(axis, labels.array[*box, z], structures)
        line[0].set_ylabel(title, fontsize=8)
    legend(figure, handles(structures))
    save(figure, path)


def localisation(
    path: Path,
    rows: Sequence[tuple[str, Volume, np.ndarray, Box, Volume, Volume]],
    structures: Mapping[int, str],
    columns: int = 4,
) -> None:
    """Two lines of slices per scan: the heat map with the box found in it, and below them the outlines with the same box.

    Args:
        path: of the PNG.
        rows: (title, image, heat, box, predicted, reference) for each scan; heat is (x, y, z) in [0, 1], the box is in voxels,
            both on the image's grid. The slices shown are those where the reference has labels.
        structures: label value -> name.
    """
    width = 1.9
    heights = [width * image.array.shape[1] / image.array.shape[0] * aspect(image.spacing_mm) for _, image, *_ in rows]
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = canvas(width * columns + 0.2, 2 * sum(heights) + 0.4, tight)
    axes = figure.subplots(2 * len(rows), columns, squeeze=False, height_ratios=np.repeat(heights, 2).tolist())
    for above, below, (title, image, heat, box, predicted, reference) in zip(axes[::2], axes[1::2], rows, strict=True):
        for hot, found, z in zip(above, below, spread_slices(reference.array, columns), strict=True):
            for axis in (hot, found):
                grey(axis, image.array[..., z], image.spacing_mm)
                rectangle(axis, box, image.array.shape, z)
            warm = heat[..., z].T
            hot.imshow(warm, cmap="turbo", vmin=0, vmax=1, alpha=0.6 * np.clip(3 * warm, 0, 1), aspect=aspect(image.spacing_mm))
            outlines(found, predicted.array[..., z], structures)
            outlines(found, reference.array[..., z], structures, ["white"] * len(structures), linewidths=0.7, linestyles="dashed")
        above[0].set_ylabel(title, fontsize=8)
    dashed, solid = Line2D([], [], color="0.6", linestyle="--", label="reference"), Line2D([], [], color=BOX, label="box")
    legend(figure, [*handles(structures), dashed, solid])
    save(figure, path)


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
    solid = [name != "Myo" or len(structures) == 1 for name in structures.values()]
    faces = [to_rgba(colour, 1 if opaque else 0.4) for colour, opaque in zip(COLOURS, solid, strict=False)]
    edges = [to_rgba(colour, 1 if opaque else 0) for colour, opaque in zip(COLOURS, solid, strict=False)]  # close the seams
    figure = canvas(3 * len(rows[0]), 2.7 * len(rows) + 0.3)
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
            axis.set_title(title, fontsize=9)
    legend(figure, handles(structures))
    save(figure, path, dpi=220)


def learning_curve(path: Path, history: Sequence[Mapping[str, Any]], panels: Sequence[tuple[Sequence[str], str]]) -> None:
    """Columns of history.csv against the step.

    Args:
        path: of the PNG.
        history: rows of history.csv.
        panels: (columns, "linear" or "log") for each panel.
    """
    figure = canvas(4 * len(panels), 3)
    for axis, (names, scale) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axis.set_yscale(scale)
        for name in names:
            axis.plot([row["step"] for row in history], [row[name] for row in history], label=name)
        axis.set_xlabel("step")
        axis.legend(frameon=False)
    save(figure, path)


def curves(path: Path, series: Mapping[str, Sequence[tuple[float, float, float, float]]], xlabel: str, ylabel: str) -> None:
    """Lines with a band around each.

    Args:
        path: of the PNG.
        series: name -> points (x, y, lower, upper).
        xlabel, ylabel: of the axes.
    """
    figure = canvas(5, 3.5)
    axis = figure.subplots()
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        x, y, lower, upper = np.transpose(points)
        axis.plot(x, y, label=name, color=colour)
        axis.fill_between(x, lower, upper, color=colour, alpha=0.2, linewidth=0)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(frameon=False)
    save(figure, path)


def bland_altman(
    path: Path,
    panels: Sequence[tuple[str, str, Sequence[float], Sequence[float], tuple[float, float, float]]],
    difference: str = "predicted - reference",
) -> None:
    """Difference a - b against the mean of both, with bias and limits of agreement.

    Args:
        path: of the PNG.
        panels: (title, unit, a, b, (bias, low, high)) for each panel.
        difference: what a - b is, for the axis.
    """
    figure = canvas(4 * len(panels), 3.2)
    for axis, (title, unit, *sides, limits) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        a, b = np.array(sides)
        axis.scatter((a + b) / 2, a - b, s=12, color=COLOURS[2])
        for value, style in zip(limits, ("-", "--", "--"), strict=True):
            axis.axhline(value, color="black", linewidth=1, linestyle=style)
            axis.annotate(f"{value:.1f}", (1, value), xycoords=("axes fraction", "data"), fontsize=7)
        axis.set(title=title, xlabel=f"mean ({unit})", ylabel=f"{difference} ({unit})")
    save(figure, path)


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
    """Those triangles of a `surface` whose outside is seen from this direction (degrees)."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return triangles[normals @ LightSource(azdeg=90 - azim, altdeg=elev).direction > 0]


def spread_slices(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` slices, evenly spread from the first to the last that holds a label."""
    occupied = np.flatnonzero(labels.any(axis=(0, 1)))
    first, last = (occupied[0], occupied[-1]) if len(occupied) else (0, labels.shape[2] - 1)
    return np.round(np.linspace(first, last, count)).astype(int)


def around(labels: np.ndarray, spacing_mm: Sequence[float], margin_mm: float = 25.0) -> tuple[slice, slice]:
    """The in-plane box around all labels, with a margin; the whole plane where there are no labels."""
    if not labels.any():
        return slice(None), slice(None)
    box = []
    for axis in (0, 1):
        occupied = np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(margin_mm / spacing_mm[axis])
        box.append(slice(max(occupied[0] - margin, 0), occupied[-1] + margin + 1))
    return box[0], box[1]


def aspect(spacing_mm: Sequence[float]) -> float:
    """Height of a pixel over its width."""
    return spacing_mm[1] / spacing_mm[0]


def grey(axis: Axes, image: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """Draw a slice (x, y) in grey."""
    low, high = np.percentile(image, [1, 99.5])
    axis.imshow(image.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect(spacing_mm), interpolation="bilinear")
    axis.set_xticks([])
    axis.set_yticks([])


def outlines(
    axis: Axes,
    labels: np.ndarray,
    structures: Iterable[int],
    colours: Sequence[str] = COLOURS,
    linewidths: float = 1.2,
    **style: Any,
) -> None:
    """Draw the outlines of the label values `structures` in a slice (x, y); `style` is Matplotlib's."""
    for value, colour in zip(structures, colours, strict=False):
        if (labels == value).any():
            axis.contour((labels == value).T, levels=[0.5], colors=[colour], linewidths=linewidths, **style)


def rectangle(axis: Axes, box: Box, shape: Sequence[int], z: int) -> None:
    """Draw the part of `box` that lies in slice `z` of an image of `shape`."""
    low, high = np.clip([box[0], np.add(*box)], 0, shape)
    if low[2] <= z < high[2]:
        axis.add_patch(Rectangle(low[:2] - 0.5, *(high - low)[:2], fill=False, edgecolor=BOX, linewidth=1.5))


def handles(structures: Mapping[int, str]) -> list[Line2D]:
    """Entries of a legend."""
    return [Line2D([], [], color=colour, label=name) for name, colour in zip(structures.values(), COLOURS, strict=False)]


def legend(figure: Figure, lines: Sequence[Line2D]) -> None:
    """One legend below all panels."""
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9)


def canvas(width: float, height: float, layout: ConstrainedLayoutEngine | None = None) -> Figure:
    """An empty figure, in inches, that needs no window system."""
    figure = Figure(figsize=(width, height), layout=layout or ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG, with the same bytes each time."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})
