"""Pictures: label maps over scans, learning curves, Bland-Altman. Written as PNG, whole or not at all."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared.files import written_whole

COLOURS = ("#e6550d", "#31a354", "#3182bd", "#756bb1", "#fdae6b", "#a1d99b", "#9ecae1")


def overlay(path, rows, structures, columns=4):
    """One row of slices per label map, its outlines drawn over the scan.

    Args:
        path: of the PNG.
        rows: (title, image Volume, labels Volume, guide Volume) each; the guide's labels decide what is shown.
        structures: label value -> name.
    """
    figure = canvas(2.6 * columns, 2.6 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, image, labels, guide) in zip(axes, rows, strict=True):
        box = around(guide.array, image.spacing_mm)
        for axis, z in zip(line, spread_slices(guide.array, columns), strict=True):
            outlines(axis, image.array[*box, z], labels.array[*box, z], structures, image.spacing_mm)
        line[0].set_ylabel(title, fontsize=8)
    figure.legend(handles=handles(structures), loc="outside lower center", ncols=len(structures), frameon=False, fontsize=9)
    save(figure, path)


def learning_curve(path, history, panels):
    """Columns of history.csv against the step.

    Args:
        panels: (columns, "linear" or "log") each.
    """
    figure = canvas(4 * len(panels), 3)
    for axis, (names, scale) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axis.set_yscale(scale)
        for name in names:
            axis.plot([row["step"] for row in history], [row[name] for row in history], label=name)
        axis.set_xlabel("step")
        axis.legend(frameon=False)
    save(figure, path)


def bland_altman(path, panels):
    """Difference against mean with bias and limits of agreement.

    Args:
        panels: (title, unit, ours, reference, (bias, low, high)) each.
    """
    figure = canvas(4 * len(panels), 3.2)
    for axis, (title, unit, ours, reference, limits) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        ours, reference = np.array(ours), np.array(reference)
        axis.scatter((ours + reference) / 2, ours - reference, s=12, color=COLOURS[2])
        for value, style in zip(limits, ("-", "--", "--"), strict=True):
            axis.axhline(value, color="black", linewidth=1, linestyle=style)
            axis.annotate(f"{value:.1f}", (1, value), xycoords=("axes fraction", "data"), fontsize=7)
        axis.set(title=title, xlabel=f"mean ({unit})", ylabel=f"predicted - reference ({unit})")
    save(figure, path)


def spread_slices(labels, count):
    """`count` slices from the first to the last that holds a label, evenly spread."""
    occupied = np.flatnonzero(labels.any(axis=(0, 1)))
    first, last = (occupied[0], occupied[-1]) if len(occupied) else (0, labels.shape[2] - 1)
    return np.round(np.linspace(first, last, count)).astype(int)


def around(labels, spacing_mm, margin_mm=25.0):
    """In-plane slices of the box around all labels with a margin; everything where there are none."""
    if not labels.any():
        return slice(None), slice(None)
    box = []
    for axis in (0, 1):
        occupied = np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(margin_mm / spacing_mm[axis])
        box.append(slice(max(occupied[0] - margin, 0), occupied[-1] + margin + 1))
    return tuple(box)


def outlines(axis, image, labels, structures, spacing_mm):
    low, high = np.percentile(image, [1, 99.5])
    aspect = spacing_mm[1] / spacing_mm[0]
    axis.imshow(image.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect, interpolation="bilinear")
    for value, colour in zip(structures, COLOURS, strict=False):
        if (labels == value).any():
            axis.contour((labels == value).T, levels=[0.5], colors=[colour], linewidths=1.2)
    axis.set_xticks([])
    axis.set_yticks([])


def handles(structures):
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=colour, label=name) for name, colour in zip(structures.values(), COLOURS, strict=False)]


def canvas(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure, path):
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
