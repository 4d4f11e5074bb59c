"""What static images are drawn with: texts and shapes, each written as SVG and drawn by Matplotlib, and PNG files."""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perception.publish.maps import BORDER, GREY, INK, SIMULATED

WIDTH, MARGIN = 840, 32
INNER = WIDTH - 2 * MARGIN
ALARM = "#a3152d"
FONTS = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"
EM = {False: 0.54, True: 0.61}
"""Mean letter width of DejaVu Sans, regular and bold."""
LINE_HEIGHT = 1.35
_POINTS = 0.72  # of a pixel, at 100 pixels an inch


@dataclass(frozen=True)
class Text:
    """A line of text; `x`, `y` is where its baseline starts (or its middle, or its end)."""

    x: float
    y: float
    text: str
    size: float = 12
    colour: str = GREY
    bold: bool = False
    anchor: str = "start"


@dataclass(frozen=True)
class Box:
    """A rectangle with an outline."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = BORDER
    thickness: float = 0.6


@dataclass(frozen=True)
class Line:
    """A straight line between two points, whole or dashed."""

    x: float
    y: float
    to_x: float
    to_y: float
    colour: str = GREY
    thickness: float = 1
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A circle, or the diamond around it."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str = INK
    diamond: bool = False


Shape = Text | Box | Line | Dot


def lines_of(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """A text broken into lines that fit the width in pixels."""
    return textwrap.wrap(text, max(int(width / (size * EM[bold])), 1))


def write(texts: list[Text], y: float, text: str, size: float, colour: str, bold: bool = False) -> float:
    """Add a text over the image's width below `y`; the y below it."""
    for line in lines_of(text, size, INNER, bold):
        y += size * LINE_HEIGHT
        texts.append(Text(MARGIN, round(y, 1), line, size, colour, bold))
    return y


def write_heading(texts: list[Text], title: str, subtitle: str, simulated: bool) -> float:
    """Add whether the data are simulated, the title and the subtitle; the y below them."""
    y: float = MARGIN
    if simulated:
        y = write(texts, y, f"{SIMULATED}: no person gave these answers", 14, ALARM, bold=True) + 2
    y = write(texts, y, title, 23, INK, bold=True) + 2
    return write(texts, y, subtitle, 14, GREY)


def svg_opening(height: float, title: str, description: str) -> Iterator[str]:
    """The first lines of a document, up to its white ground."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc" font-family="{FONTS}">'
    )
    yield f'<title id="title">{html.escape(title)}</title>'
    yield f'<desc id="desc">{html.escape(description)}</desc>'
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'


def svg_shape(shape: Shape) -> str:
    """A shape as an SVG element."""
    if isinstance(shape, Text):
        weight = ' font-weight="bold"' if shape.bold else ""
        anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
        return (
            f'<text x="{shape.x:g}" y="{shape.y:g}" font-size="{shape.size:g}" fill="{shape.colour}"{weight}{anchor}>'
            f"{html.escape(shape.text)}</text>"
        )
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" '
            f'fill="{shape.fill}" stroke="{shape.stroke}" stroke-width="{shape.thickness:g}"/>'
        )
    if isinstance(shape, Line):
        dashes = ' stroke-dasharray="4 3"' if shape.dashed else ""
        return (
            f'<line x1="{shape.x:g}" y1="{shape.y:g}" x2="{shape.to_x:g}" y2="{shape.to_y:g}" '
            f'stroke="{shape.colour}" stroke-width="{shape.thickness:g}"{dashes}/>'
        )
    paint = f'fill="{shape.fill}" stroke="{shape.stroke}" stroke-width="1.6"'
    if shape.diamond:
        corners = " ".join(f"{x:g},{y:g}" for x, y in _corners(shape))
        return f'<polygon points="{corners}" {paint}/>'
    return f'<circle cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}" {paint}/>'


def _corners(dot: Dot) -> list[tuple[float, float]]:
    return [
        (dot.x - dot.radius, dot.y),
        (dot.x, dot.y - dot.radius),
        (dot.x + dot.radius, dot.y),
        (dot.x, dot.y + dot.radius),
    ]


def svg_watermark(x: float, y: float) -> str:
    """The mark of simulated data across an image, its middle at `x`, `y`."""
    return (
        f'<text class="watermark" transform="translate({x:g},{y:g}) rotate(-30)" font-size="60" font-weight="bold" '
        f'text-anchor="middle" fill="{INK}" fill-opacity="0.11" pointer-events="none">{SIMULATED}</text>'
    )


def draw_shape(axes: Any, shape: Shape) -> Any:
    """A shape on Matplotlib axes that count pixels downwards; the artist."""
    from matplotlib.patches import Circle, Patch, Polygon, Rectangle

    if isinstance(shape, Text):
        return axes.text(
            shape.x,
            shape.y,
            shape.text,
            fontsize=shape.size * _POINTS,
            color=shape.colour,
            fontweight="bold" if shape.bold else "normal",
            ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
            va="baseline",
        )
    if isinstance(shape, Line):
        return axes.plot(
            [shape.x, shape.to_x],
            [shape.y, shape.to_y],
            color=shape.colour,
            linewidth=shape.thickness * _POINTS,
            linestyle=(0, (4, 3)) if shape.dashed else "solid",
            solid_capstyle="butt",
            scalex=False,
            scaley=False,
        )[0]
    if isinstance(shape, Box):
        width = shape.thickness
        made: Patch = Rectangle((shape.x, shape.y), shape.width, shape.height)
    else:
        width = 1.6
        made = Polygon(_corners(shape)) if shape.diamond else Circle((shape.x, shape.y), shape.radius)
    made.set(facecolor=shape.fill, edgecolor=shape.stroke, linewidth=width * _POINTS)
    return axes.add_patch(made)


def draw_watermark(axes: Any, x: float, y: float) -> None:
    """The mark of simulated data across an image, its middle at `x`, `y`."""
    axes.text(
        x,
        y,
        SIMULATED,
        fontsize=60 * _POINTS,
        fontweight="bold",
        color=INK,
        alpha=0.11,
        rotation=30,
        ha="center",
        va="center",
    )


def pngs(height: float, draw: Callable[[Any], None], metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """An image as PNG at 1x (840 pixels wide) and 2x; `draw` is given axes that count pixels downwards."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image, PngImagePlugin

    with mpl.rc_context({"font.family": "DejaVu Sans", "hatch.linewidth": 1.1, "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=200, facecolor="white")
        agg = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        draw(axes)
        agg.draw()
    double = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    info = PngImagePlugin.PngInfo()
    for name, text in metadata.items():
        info.add_itxt(name, text)
    images = []
    for image in (double.reduce(2), double):
        with io.BytesIO() as file:
            image.save(file, format="png", pnginfo=info)
            images.append(file.getvalue())
    return images[0], images[1]
