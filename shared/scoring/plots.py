"""Pictures: label maps over scans, learning curves, scores, agreement. Written as PNG, whole or not at all."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from shared.files import written_whole
from shared.scans.volume import Volume

WALL = "Myo"
HEART = ("LV", "RV", "Myo", "LA", "RA", "AA", "PA")
COLOURS = ("#e6550d", "#31a354", "#3182bd", "#756bb1", "#fdae6b", "#a1d99b", "#9ecae1")
BOX = "#ffd92f"

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
    figure = canvas(width * columns + 0.9, 2 * sum(heights) + 0.4, tight)
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
    heat_scale = ScalarMappable(Normalize(0, 1), "turbo")
    figure.colorbar(heat_scale, ax=axes, label="activation, of its greatest", shrink=0.5, aspect=30, pad=0.01)
    dashed, solid = Line2D([], [], color="0.6", linestyle="--", label="reference"), Line2D([], [], color=BOX, label="box")
    legend(figure, [*handles(structures), dashed, solid])
    save(figure, path)


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
            axis.plot([row["step"] for row in history], [row[name] for row in history], label=name, marker=".", markersize=3)
        axis.set(xlabel="step", ylabel="Dice on the validation cases" if "val_dice" in names else "loss")
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
    for (name, points), colour in zip(series.items(), itertools.cycle(COLOURS), strict=False):
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
    one_scale: bool = False,
) -> None:
    """Difference a - b against the mean of both, with bias and limits of agreement; at most three panels side by side.

    Args:
        path: of the PNG.
        panels: (title, unit, a, b, (bias, low, high)) for each panel.
        difference: what a - b is, for the axis.
        one_scale: whether all panels have the same limits of the differences.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = canvas(4 * columns, 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=one_scale).ravel()
    for axis, (title, unit, *sides, limits) in zip(axes, panels, strict=False):
        a, b = np.array(sides)
        axis.scatter((a + b) / 2, a - b, s=12, color=COLOURS[2])
        names, places = ("bias", "\N{MINUS SIGN}1.96 SD", "+1.96 SD"), (("center", 0), ("top", -2), ("bottom", 2))
        for name, value, (side, up) in zip(names, limits, places, strict=True):
            axis.axhline(value, color="black", linewidth=1, linestyle="--" if up else "-")
            text = f"{name} {value:.1f}".replace("-", "\N{MINUS SIGN}")
            look: dict[str, Any] = {"va": side, "ha": "right", "fontsize": 7, "bbox": {"fc": "white", "ec": "none", "pad": 0.5}}
            axis.annotate(text, (1, value), (-3, up), ("axes fraction", "data"), textcoords="offset points", **look)
        axis.margins(y=0.15)
        left, right = axis.get_xlim()
        axis.set_xlim(left, right + (right - left) / 3)  # room for these labels
        axis.set(title=title, xlabel=f"mean of both ({unit})", ylabel=f"{difference} ({unit})")
    for axis in axes[len(panels) :]:
        axis.remove()
    save(figure, path)


def paired(path: Path, panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]], ylabel: str) -> None:
    """A score of every case by every method: the points of a case are joined by a line, a black bar is the mean of a method.

    Args:
        path: of the PNG.
        panels: (title, method -> scores in the order of the cases, NaN where undefined) for each panel.
        ylabel: name of the score.
    """
    figure = canvas(max(2.5, 1.0 * max(len(scores) for _, scores in panels)) * len(panels), 4)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, scores) in zip(axes, panels, strict=True):
        x = range(len(scores))
        for case in zip(*scores.values(), strict=True):
            axis.plot(x, case, color="0.75", linewidth=0.6, marker="o", markersize=3, markerfacecolor=COLOURS[2],
                      markeredgewidth=0)  # fmt: skip
        means = [np.nanmean(each) if np.isfinite(each).any() else np.nan for each in scores.values()]
        axis.scatter(x, means, marker="_", s=400, color="black", zorder=3)
        axis.set_xlim(-0.5, len(scores) - 0.5)
        axis.set_xticks(x, list(scores), rotation=45, ha="right", fontsize=8)
        axis.set_title(title)
    axes[0].set_ylabel(ylabel)
    save(figure, path)


def bullseye(path: Path, values: Sequence[float], title: str, label: str) -> None:
    """The 16 segments of the AHA as rings about the apex, seen from there: anterior above, the septum on the left.

    Args:
        path: of the picture.
        values: (16,) of `short_axis.SEGMENTS`; undefined ones are grey.
        title: above the rings.
        label: of the colours, which go from 0 to the greatest value.
    """
    figure = canvas(4.6, 4.2)
    axis = figure.add_subplot(projection="polar")
    scale = ScalarMappable(Normalize(0, max(np.nanmax(values), 1e-9)), "viridis")
    for segment, value in enumerate(values):
        ring, place = divmod(segment, 6)  # the apical ring has four
        width = 2 * np.pi / (6 if ring < 2 else 4)
        colour = scale.to_rgba(np.array(value)) if np.isfinite(value) else "#dddddd"
        middle = np.pi / 2 + place * width
        axis.bar(middle, 1, width, 3 - ring, color=colour, edgecolor="white", linewidth=1.5)
        dark = np.isfinite(value) and value < 0.6 * np.nanmax(values)
        text = f"{value:.1f}" if np.isfinite(value) else "-"
        axis.text(middle, 3.5 - ring, text, color="white" if dark else "black", ha="center", va="center", fontsize=8)
    for middle, name in ((np.pi / 2, "anterior"), (np.pi, "septal"), (3 * np.pi / 2, "inferior"), (0.0, "lateral")):
        axis.text(middle, 4.3, name, ha="center", va="center", fontsize=9, rotation=90 if name in ("septal", "lateral") else 0)
    axis.set_axis_off()
    axis.set_title(title, fontsize=10, pad=18)
    figure.colorbar(scale, ax=axis, label=label, shrink=0.8, pad=0.12)
    save(figure, path)


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
    structures: Mapping[int, str],
    colours: Sequence[str] = (),
    linewidths: float = 1.2,
    **style: Any,
) -> None:
    """Draw the outlines of structures in a slice (x, y), in their own colours or in those given; `style` is Matplotlib's.

    A slice of a single row or column of pixels has none.
    """
    own = colours_of(structures.values())
    drawn = list(zip(structures.items(), colours or [own[name] for name in structures.values()], strict=True))
    for (value, _), colour in sorted(drawn, key=lambda each: each[0][1] != WALL):  # the border of what it encloses lies above it
        if (labels == value).any() and min(labels.shape) > 1:
            axis.contour((labels == value).T, levels=[0.5], colors=[colour], linewidths=linewidths, **style)


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Structure -> colour: those of the heart have the same in every picture, others what is left."""
    names = list(dict.fromkeys(names))
    of_heart = dict(zip(HEART, COLOURS, strict=True))
    known = {name: of_heart[name] for name in names if name in of_heart}
    left = itertools.cycle([colour for colour in COLOURS if colour not in known.values()] or COLOURS)
    return {name: known.get(name) or next(left) for name in names}


def rectangle(axis: Axes, box: Box, shape: Sequence[int], z: int) -> None:
    """Draw the part of `box` that lies in slice `z` of an image of `shape`."""
    low, high = np.clip([box[0], np.add(*box)], 0, shape)
    if low[2] <= z < high[2]:
        axis.add_patch(Rectangle(low[:2] - 0.5, *(high - low)[:2], fill=False, edgecolor=BOX, linewidth=1.5))


def handles(structures: Mapping[int, str]) -> list[Line2D]:
    """Entries of a legend."""
    return [Line2D([], [], color=colour, label=name) for name, colour in colours_of(structures.values()).items()]


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
