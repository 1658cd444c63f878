"""Pictures of one scan with its label map: the slices on a sheet, and a cine as an animation with its volumes over time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from shared.files import written_whole
from shared.scans.orientation import all_slices_last
from shared.scans.volume import Volume, stem
from shared.scoring import function, metrics, plots

COLUMNS, MOST = 5, 20  # of slices on a sheet
ANIMATED = 3  # slices of a cine
STILL_MS = 80  # how long a frame is shown if the scan does not say it
RANGE = (1, 99.5)  # percentiles of the grey values that are black and white


def draw(labels_path: Path, scan: Volume, labels: Volume, structures: Mapping[int, str]) -> Path:
    """Draw a scan and its label map, and return the file: beside the label map, a PNG, or of a cine a GIF.

    Args:
        labels_path: file of the label map, which gives the picture its name.
        scan, labels: of one grid, (x, y, z) or (x, y, z, t).
        structures: label value -> name.
    """
    image, found = all_slices_last(scan, labels)
    path = labels_path.with_name(f"{stem(labels_path)}.{'gif' if found.array.ndim == 4 else 'png'}")
    if found.array.ndim == 4:
        animation(path, image, found, structures)
    else:
        sheet(path, image, found, structures)
    return path


def sheet(path: Path, scan: Volume, labels: Volume, structures: Mapping[int, str]) -> None:
    """Slices with labels, `MOST` at most, with outlines and numbers from 1; those of the whole scan where nothing was found."""
    shown = slices_of(labels.array, MOST)
    rows = -(-len(shown) // COLUMNS)
    figure = plots.canvas(2.2 * COLUMNS, 2.35 * rows + 0.8)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    box, limits = plots.around(labels.array, scan.spacing_mm), np.percentile(scan.array, RANGE)
    for axis in axes:
        axis.set_axis_off()
    for axis, z in zip(axes, shown, strict=False):
        one_slice(axis, scan.array[*box, z], labels.array[*box, z], scan, limits, structures)
        axis.set_title(f"slice {z + 1} of {labels.array.shape[2]}", fontsize=8)
    figure.suptitle(path.stem, fontsize=10)
    plots.legend(figure, plots.handles(structures))
    plots.save(figure, path)


def animation(path: Path, scan: Volume, labels: Volume, structures: Mapping[int, str]) -> None:
    """Some slices of every frame, and the volumes of the cavities over time (of all structures, where there are no cavities)."""
    anywhere = labels.array.max(axis=3)
    shown = slices_of(anywhere, ANIMATED + 2)[1:-1][:ANIMATED]  # neither the first nor the last
    box, limits = plots.around(anywhere, scan.spacing_mm), np.percentile(scan.array, RANGE)
    wanted = [name for name in structures.values() if name in metrics.CAVITIES] or list(structures.values())
    rows = function.volumes_ml(path, labels, structures)
    ml = {name: [row[f"{name}_ml"] for row in rows] for name in wanted}
    times, unit = np.arange(labels.frames) + 1.0, "frame"
    if labels.frame_s:
        times, unit = (times - 1) * labels.frame_s * 1000, "ms"
    figure = plots.canvas(2.5 * (len(shown) + 1), 2.9)
    axes = figure.subplots(1, len(shown) + 1, squeeze=False)[0]
    frames = []
    for t in range(labels.frames):
        for axis, z in zip(axes, shown, strict=False):
            axis.clear()
            axis.set_axis_off()
            one_slice(axis, scan.array[*box, z, t], labels.array[*box, z, t], scan, limits, structures)
            axis.set_title(f"slice {z + 1}", fontsize=8)
        curve(axes[-1], times, ml, structures, t, unit)
        if t == 0:
            figure.suptitle(path.stem, fontsize=10)
            plots.legend(figure, plots.handles(structures))
        figure.canvas.draw()
        frames.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))  # type: ignore[attr-defined]
    milliseconds = round(labels.frame_s * 1000) or STILL_MS
    with written_whole(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def slices_of(labels: np.ndarray, most: int) -> np.ndarray:
    """The slices with labels; of more than `most` so many, evenly spread; of a label map without labels all slices count."""
    occupied = np.flatnonzero(labels.any(axis=(0, 1)))
    count = occupied[-1] - occupied[0] + 1 if occupied.size else labels.shape[2]
    return plots.spread_slices(labels, min(most, int(count)))


def one_slice(
    axis: Axes, image: np.ndarray, labels: np.ndarray, scan: Volume, limits: np.ndarray, structures: Mapping[int, str]
) -> None:
    """A slice (x, y) with its outlines; `limits` are the grey values that are black and white."""
    low, high = limits
    axis.imshow(image.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=plots.aspect(scan.spacing_mm))
    plots.outlines(axis, labels, structures)


def curve(
    axis: Axes, times: np.ndarray, ml: Mapping[str, list[float]], structures: Mapping[int, str], frame: int, unit: str
) -> None:
    """Volumes over time, with a line at a frame."""
    axis.clear()
    for name, colour in plots.colours_of(structures.values()).items():
        if name in ml:
            axis.plot(times, ml[name], color=colour, linewidth=1.5)
            axis.plot(times[frame], ml[name][frame], "o", color=colour, markersize=5)
    axis.axvline(times[frame], color="0.7", linewidth=0.8)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(unit, fontsize=8)
    axis.set_title("volume (ml)", fontsize=8)
    axis.tick_params(labelsize=7)
