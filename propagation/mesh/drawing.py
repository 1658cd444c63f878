"""A picture of a surface."""

from pathlib import Path

from propagation.mesh.solid import Surface
from shared.lazy import lazily

with lazily():
    from matplotlib import colors
    from mpl_toolkits.mplot3d import art3d

    from shared.scoring import plots, shaded

VIEWS_DEG = ((20, -60), (20, 120))  # elevation and azimuth: opposite sides


def draw(solid: Surface, path: Path) -> None:
    """PNG of a surface from two opposite sides, feet downwards."""
    triangles = solid.points_mm[solid.faces]
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    figure = plots.canvas(8, 4.2)
    for axis, (elev, azim) in zip(
        figure.subplots(1, 2, subplot_kw={"projection": "3d", "proj_type": "ortho"}), VIEWS_DEG, strict=True
    ):
        near = shaded.facing(triangles, elev, azim)
        paint = {"facecolors": plots.COLOURS[0], "edgecolors": plots.COLOURS[0], "linewidths": 0.6}
        light = colors.LightSource(azdeg=215 - 60 - azim, altdeg=35)
        axis.add_collection3d(art3d.Poly3DCollection(near, **paint, shade=True, lightsource=light))
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axis.set_box_aspect(high - low, zoom=1.05)
        axis.view_init(elev=elev, azim=azim)
        axis.set_axis_off()
    plots.save(figure, path, dpi=150)
