"""The page: a title, a text, a table of cases with their views, and figures, in one file that needs no other.

Nothing is fetched when it is opened: pictures are data URIs, and the page forbids its own browser to load anything else.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markdown_it
from markupsafe import Markup
from PIL import Image

from shared.files import write_text
from shared.reports.views import View
from shared.scoring import plots

TEMPLATE = "page.html"
BYTES = 15_000_000  # for the views of all cases
LARGEST = (3000, 12_000)  # pixels of a figure; WebP takes 16383
MOST_BYTES = 2_500_000  # for the view of one


@dataclass(frozen=True)
class Column:
    """A column of the table; `digits` after the point, None for text."""

    title: str
    digits: int | None = None

    def text(self, value: Any) -> str:
        """A cell; an undefined number is empty."""
        if self.digits is None or isinstance(value, str):
            return str(value)
        return "" if value != value else f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Entry:
    """A line of the table: a case, its values in the order of the columns, what is remarkable about it, and its view."""

    name: str
    values: Sequence[Any]
    said: str = ""
    view: View | None = None

    @property
    def remark(self) -> str:
        """What is said of the case, and what its view lacks."""
        return "; ".join(filter(None, [self.said, self.view.note if self.view else ""]))


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report shows.

    Attributes:
        title: of the page.
        text: in Markdown, below the table.
        columns: of the table, after the name of the case.
        entries: the cases.
        structures: names.
        layers: names of the label maps in the views; those after the first two are hidden at first.
        figures: files of pictures.
    """

    title: str
    text: str
    columns: Sequence[Column]
    entries: Sequence[Entry]
    structures: Sequence[str]
    layers: Sequence[str]
    figures: Sequence[Path] = field(default=())


def share(cases: int) -> int:
    """The bytes that the view of each of so many cases may take."""
    return min(MOST_BYTES, BYTES // max(cases, 1))


def write(path: Path, page: Page) -> None:
    """Write a page as one HTML file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = Markup(markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(page.text))
    figures = {figure.stem.replace("_", " "): webp(figure) for figure in page.figures}
    colours = plots.colours_of(page.structures)
    write_text(path, environment.get_template(TEMPLATE).render(page=page, text=text, figures=figures, colours=colours))
    print(f"report: {path}")


def webp(figure: Path) -> str:
    """A picture as a data URI."""
    file, image = io.BytesIO(), Image.open(figure).convert("RGB")
    image.thumbnail(LARGEST)
    image.save(file, "WEBP", quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
