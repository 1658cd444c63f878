"""A picture of a surface."""

from pathlib import Path

import numpy as np

from propagation.mesh.filling import regions_at
from propagation.mesh.solid import Surface
from shared.lazy import lazily
from shared.scans.volume import Volume

with lazily():
    from matplotlib import colors
    from mpl_toolkits.mplot3d import art3d

    from shared.scoring import plots, shaded

VIEWS_DEG = ((20, -60), (20, 120))  # elevation and azimuth: opposite sides
SCALE_MM = 20.0


def draw(solid: Surface, labels: Volume, path: Path) -> None:
    """PNG of a surface from two opposite sides, feet downwards, in the colours of the labels below it, with a scale.

    Args:
        solid: the surface.
        labels: (x, y, z), the label map that it is of.
        path: of the PNG.
    """
    triangles = solid.points_mm[solid.faces]
    values = regions_at(triangles.mean(axis=1), labels)
    present = np.unique(values)
    colours = plots.colours_of(f"label {value}" for value in present)
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    low[2] -= 0.3 * max(high[:2] - low[:2])  # for the scale, below what comes nearest to the viewer
    figure = plots.canvas(8, 4.4)
    for axis, (elev, azim) in zip(
        figure.subplots(1, 2, subplot_kw={"projection": "3d", "proj_type": "ortho"}), VIEWS_DEG, strict=True
    ):
        parts = [shaded.facing(triangles[values == value], elev, azim) for value in present]
        paint = np.repeat(list(colours.values()), [len(part) for part in parts])
        light = colors.LightSource(azdeg=215 - 60 - azim, altdeg=35)
        near = art3d.Poly3DCollection(
            np.concatenate(parts), facecolors=paint, edgecolors=paint, linewidths=0.6, shade=True, lightsource=light
        )
        axis.add_collection3d(near)
        across = np.array([-np.sin(np.radians(azim)), np.cos(np.radians(azim)), 0]) * SCALE_MM / 2
        middle = np.array([*(low + high)[:2] / 2, low[2]])
        axis.plot(*np.transpose([middle - across, middle + across]), color="black", linewidth=2)
        axis.text(*middle, f"{SCALE_MM:g} mm", fontsize=8, va="top", ha="center")
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axis.set_box_aspect(high - low, zoom=1.05)
        axis.view_init(elev=elev, azim=azim)
        axis.set_axis_off()
    plots.legend(figure, plots.handles(dict(enumerate(colours))))
    plots.save(figure, path, dpi=150)
