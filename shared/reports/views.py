"""One scan with its label maps, for a page: every slice and frame as grey tiles, and the outlines as paths that lie over them.

The outlines are kept apart from the grey values, so that a reader can switch them on and off, and they stay sharp at any size.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import contourpy
import cv2
import numpy as np
from PIL import Image

from shared.scans.orientation import all_slices_last
from shared.scans.volume import Volume
from shared.scoring import plots

MOST_SLICES = 100  # of a scan with more, so many evenly spread
RANGE = (1, 99.5)  # percentiles of the grey values that are black and white
SIZES = ((176, 75, 0.35), (128, 70, 0.35), (96, 60, 0.35), (64, 50, 0.5), (44, 35, 0.6), (32, 20, 0.7))
#   longer side of a tile in pixels, WebP quality, and the pixels by which a simplified outline may lie beside the true one
RAGGED = 20_000  # sides of pixels on outlines in one frame, from which on a label map is looked at
MARKUP = 100  # bytes around a picture or an outline
TORN = "the outlines are left out, since they are in too many pieces"
SCREEN = 1.75  # width of the place for a sheet, over its height
TENTHS = 10  # outlines count tenths of a pixel


@dataclass(frozen=True)
class Frame:
    """One frame of a scan.

    Attributes:
        picture: WebP, as a data URI.
        outlines: layer -> structure -> the data of an SVG path, in tenths of a pixel.
    """

    picture: str
    outlines: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class View:
    """All frames, each a sheet of tiles of `width` x `height` pixels, `columns` in a row.

    Attributes:
        slices: number of each tile's slice, from 1.
        middle: index of the tile that stands for the scan.
        times: number of each frame, from 1; those of a long cine may be thinned out.
        note: what the view lacks; empty where it lacks nothing.
    """

    width: int
    height: int
    columns: int
    slices: tuple[int, ...]
    middle: int
    frames: tuple[Frame, ...]
    times: tuple[int, ...]
    note: str

    @property
    def rows(self) -> int:
        return -(-len(self.slices) // self.columns)

    def corner(self, tile: int) -> tuple[int, int]:
        """Left and upper end of a tile, in pixels."""
        return tile % self.columns * self.width, tile // self.columns * self.height

    def bytes(self) -> int:
        """What the view adds to a page."""
        paths = [path for frame in self.frames for layer in frame.outlines.values() for path in layer.values()]
        return sum(len(frame.picture) + MARKUP for frame in self.frames) + sum(len(path) + MARKUP for path in paths)


def view(scan: Volume, layers: Mapping[str, Volume], structures: Mapping[int, str], most_bytes: int) -> View:
    """The view of a scan, in the largest size that takes at most `most_bytes`; if none does, of fewer frames.

    Args:
        scan: (x, y, z) or (x, y, z, t).
        layers: name -> label map on the grid of the scan.
        structures: label value -> name, in all layers.
        most_bytes: of a page.
    """
    image, *maps = all_slices_last(scan, *layers.values())
    frames = [labels.array if labels.array.ndim == 4 else labels.array[..., None] for labels in maps]
    labelled = np.any([np.isin(each, list(structures)).any(axis=3) for each in frames], axis=0)
    box = plots.around(labelled, image.spacing_mm)
    depth = labelled.shape[2]
    chosen = np.unique(np.round(np.linspace(0, depth - 1, min(depth, MOST_SLICES))).astype(int))
    occupied = np.flatnonzero(labelled.any(axis=(0, 1)))
    middle = int(np.abs(chosen - (occupied[[0, -1]].mean() if occupied.size else depth / 2)).argmin())
    grey = eight_bits(image)[*box][:, :, chosen]
    named = {name: each[*box][:, :, chosen] for name, each in zip(layers, frames, strict=True)}
    torn = any(is_torn(each, structures) for each in named.values())

    def drawn(size: tuple[int, int, float], times: Sequence[int]) -> View:
        side, quality, straight = size
        tile = size_of(grey.shape[:2], image.spacing_mm, side)
        columns = columns_for(len(chosen), tile)
        return View(
            width=tile[0],
            height=tile[1],
            columns=columns,
            slices=tuple(int(z) + 1 for z in chosen),
            middle=middle,
            frames=tuple(
                Frame(
                    picture(grey[..., t], tile, columns, quality),
                    {
                        name: outlines(each[..., t], structures, tile, columns, straight)
                        for name, each in named.items()
                        if not torn
                    },
                )
                for t in times
            ),
            times=tuple(t + 1 for t in times),
            note=TORN if torn else "",
        )

    return fitting(drawn, grey.shape[3], most_bytes)


def fitting(drawn: Callable[[tuple[int, int, float], Sequence[int]], View], count: int, most_bytes: int) -> View:
    """The largest of the views `drawn(size, frames)` of so many frames that takes at most `most_bytes`; if none does, one of
    fewer frames, evenly spread."""
    for size in SIZES:  # one frame tells what all of them will take
        one = drawn(size, [count // 2])
        if one.bytes() * count <= most_bytes:
            break
    if count == 1:
        return one
    step = 1
    while True:
        made = drawn(size, range(0, count, step))
        if made.bytes() <= most_bytes or step >= count:
            return made
        step = max(step + 1, made.bytes() * step // most_bytes)


def is_torn(labels: np.ndarray, structures: Mapping[int, str]) -> bool:
    """Whether a frame of a label map (x, y, n, t) has more border than area, as noise has: its outlines would fill the page."""
    for t in range(labels.shape[3]):
        known = np.isin(labels[..., t], list(structures)) * labels[..., t]
        sides = np.count_nonzero(known[1:] != known[:-1]) + np.count_nonzero(known[:, 1:] != known[:, :-1])
        if sides > max(RAGGED, int(np.count_nonzero(known))):
            return True
    return False


def columns_for(count: int, tile: tuple[int, int]) -> int:
    """In how many columns so many tiles are largest on a screen."""
    width, height = tile
    return max(range(1, count + 1), key=lambda columns: min(SCREEN / (columns * width), 1 / (-(-count // columns) * height)))


def eight_bits(image: Volume) -> np.ndarray:
    """Grey values (x, y, z, t) from 0 to 255."""
    array = image.array if image.array.ndim == 4 else image.array[..., None]
    low, high = np.percentile(array, RANGE)
    return np.clip((array - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)


def size_of(shape: tuple[int, ...], spacing_mm: tuple[float, ...], side: int) -> tuple[int, int]:
    """Width and height of a tile whose longer side has `side` pixels, or as many as the slice has; its pixels are square."""
    extents = np.array(shape) * spacing_mm[:2]
    scale = min(side, max(shape)) / extents.max()
    width, height = np.maximum(1, np.round(extents * scale)).astype(int)
    return int(width), int(height)


def picture(slices: np.ndarray, tile: tuple[int, int], columns: int, quality: int) -> str:
    """The slices (x, y, n) as tiles of one WebP."""
    width, height = tile
    sheet = np.zeros((-(-slices.shape[2] // columns) * height, columns * width), np.uint8)
    smooth = cv2.INTER_AREA if width < slices.shape[0] else cv2.INTER_LINEAR
    for n in range(slices.shape[2]):
        left, top = n % columns * width, n // columns * height
        sheet[top : top + height, left : left + width] = cv2.resize(slices[:, :, n].T, tile, interpolation=smooth)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def outlines(
    labels: np.ndarray, structures: Mapping[int, str], tile: tuple[int, int], columns: int, straight: float
) -> dict[str, str]:
    """Structure -> path of its outlines in all slices (x, y, n), where it has any; values of one name are one structure."""
    values = {name: [value for value, each in structures.items() if each == name] for name in structures.values()}
    scale = np.array(tile) / labels.shape[:2]
    found: dict[str, list[str]] = {}
    for n in range(labels.shape[2]):
        corner = np.array([n % columns, n // columns]) * tile
        for name, own in values.items():
            mask = np.pad(np.isin(labels[:, :, n], own), 1)
            if mask.any():
                lines = contourpy.contour_generator(z=mask.T.astype(np.float32)).lines(0.5)
                # pixel i of the padded mask is pixel i - 1, whose middle is at i - 0.5
                found.setdefault(name, []).extend(path((np.asarray(line) - 0.5) * scale + corner, straight) for line in lines)
    below = sorted(found, key=lambda name: name != plots.WALL)  # the border of what the wall encloses lies above its own
    return {name: "".join(found[name]) for name in below}


def path(points: np.ndarray, straight: float) -> str:
    """A closed line through points (n, 2) in pixels; those that a straight line can do without are left out."""
    kept = cv2.approxPolyDP(points[:-1].astype(np.float32)[:, None], straight, True)[:, 0]
    if len(kept) < 3:  # a speck stays one
        kept = points[:-1]
    places = np.round(kept * TENTHS).astype(int)
    steps = np.diff(places, axis=0)
    return f"M{places[0][0]} {places[0][1]}l{' '.join(f'{x} {y}' for x, y in steps)}z"
