"""What static images are made of: shapes on a drawing, which is written as SVG and drawn as PNG.

Matplotlib draws the shapes and Pillow the texts, which takes a tenth of the time that Matplotlib needs for them.
"""

from __future__ import annotations

import html
import io
import struct
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.publish.maps import BORDER, GREY, HATCH_GROUND, HATCH_LINE, HATCHED, INK, SIMULATED, SIMULATED_NOTE

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Transform
    from PIL import Image, ImageFont, PngImagePlugin

WIDTH, MARGIN = 840, 32
INNER = WIDTH - 2 * MARGIN
ALARM = "#a3152d"
FONTS = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"
EM = {False: 0.54, True: 0.61}
"""Mean letter width of DejaVu Sans, regular and bold."""
LINE_HEIGHT = 1.35
_WATERMARK, _WATERMARK_OPACITY = 60, 0.11
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DOTS = 200  # an inch, at 2x
_POINTS = 0.72  # of a pixel at 1x


@dataclass(frozen=True)
class Text:
    """A line of text; `x`, `y` is where its baseline starts (or its middle, or its end); a halo keeps it legible."""

    x: float
    y: float
    text: str
    size: float = 12
    colour: str = GREY
    bold: bool = False
    anchor: str = "start"
    halo: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle with an outline; of a district where it has a `key`, its state and what is said of it."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = BORDER
    thickness: float = 0.6
    key: str = ""
    state: str = ""
    words: str = ""


@dataclass(frozen=True)
class Area:
    """An outline of rings, the same as arrays of points and as SVG path data; of a district where it has a `key`."""

    rings: Sequence[Any]
    path: str
    fill: str
    stroke: str = BORDER
    thickness: float = 0.6
    key: str = ""
    state: str = ""
    words: str = ""


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


Shape = Text | Box | Area | Line | Dot


@dataclass(frozen=True)
class Group:
    """Shapes whose places count from `x`, `y`."""

    x: float
    y: float
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Drawing:
    """A laid-out image: height, groups in drawing order, what it says (`maps.file_facts`), the middle of its plot."""

    height: float
    groups: tuple[Group, ...]
    description: str
    facts: Mapping[str, str]
    simulated: bool
    middle: tuple[float, float]


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


def write_notes(texts: list[Text], y: float, notes: Iterable[str], simulated: bool) -> float:
    """Add small notes below `y`, and at the end that the data are simulated where they are; the y below them."""
    for note in notes:
        y = write(texts, y, note, 11.5, GREY) + 2
    return write(texts, y, SIMULATED_NOTE, 11.5, ALARM) + 2 if simulated else y


def svg(drawing: Drawing) -> str:
    """The drawing as an SVG document; every district is a shape with its id and what is said of it."""
    return "\n".join(_svg_lines(drawing)) + "\n"


def _svg_lines(drawing: Drawing) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{drawing.height}" '
        f'viewBox="0 0 {WIDTH} {drawing.height}" role="img" aria-labelledby="title desc" font-family="{FONTS}" '
        'stroke-linejoin="round">'
    )
    yield f'<title id="title">{html.escape(drawing.facts["Title"])}</title>'
    yield f'<desc id="desc">{html.escape(drawing.description)}</desc>'
    yield (
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="6" height="6" fill="{HATCH_GROUND}"/><rect width="1.6" height="6" fill="{HATCH_LINE}"/>'
        "</pattern></defs>"
    )
    yield f'<rect width="{WIDTH}" height="{drawing.height}" fill="#ffffff"/>'
    for group in drawing.groups:
        yield f'<g transform="translate({group.x:g},{group.y:g})">' if (group.x, group.y) != (0, 0) else "<g>"
        yield from map(_svg_shape, group.shapes)
        yield "</g>"
    if drawing.simulated:
        x, y = drawing.middle
        yield (
            f'<text class="watermark" transform="translate({x:g},{y:g}) rotate(-30)" font-size="{_WATERMARK}" '
            f'font-weight="bold" text-anchor="middle" fill="{INK}" fill-opacity="{_WATERMARK_OPACITY}" '
            f'pointer-events="none">{SIMULATED}</text>'
        )
    yield "</svg>"


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Text):
        weight = ' font-weight="bold"' if shape.bold else ""
        anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
        halo = f' paint-order="stroke" stroke="{shape.halo}" stroke-width="3"' if shape.halo else ""
        return (
            f'<text x="{shape.x:g}" y="{shape.y:g}" font-size="{shape.size:g}" fill="{shape.colour}"{weight}{anchor}'
            f'{halo} pointer-events="none">{html.escape(shape.text)}</text>'
        )
    if isinstance(shape, Box | Area):
        return _svg_area(shape)
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


def _svg_area(shape: Box | Area) -> str:
    fill = "url(#hatch)" if shape.fill == HATCHED else shape.fill
    paint = f'fill="{fill}" stroke="{shape.stroke}" stroke-width="{shape.thickness:g}"'
    if isinstance(shape, Area):
        form = f'path d="{shape.path}"'
    else:
        form = f'rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
    if not shape.key:
        return f"<{form} {paint}/>"
    of = f'class="district {shape.state}" data-district="{html.escape(shape.key)}"'
    return f"<{form} {of} {paint}><title>{html.escape(shape.words)}</title></{form.split()[0]}>"


def _corners(shape: Box | Dot) -> list[tuple[float, float]]:
    """The corners of a rectangle or a diamond."""
    if isinstance(shape, Box):
        right, bottom = shape.x + shape.width, shape.y + shape.height
        return [(shape.x, shape.y), (right, shape.y), (right, bottom), (shape.x, bottom)]
    return [
        (shape.x - shape.radius, shape.y),
        (shape.x, shape.y - shape.radius),
        (shape.x + shape.radius, shape.y),
        (shape.x, shape.y + shape.radius),
    ]


def pngs(drawing: Drawing) -> tuple[bytes, bytes]:
    """The drawing as PNG at 1x (840 pixels wide) and 2x, with its facts and any SIMULATED in the metadata.

    Texts stand above all shapes, whatever their order.
    """
    double, info = _drawn(drawing)
    return _png(double.reduce(2), info), _png(double, info)


def small_png(drawing: Drawing) -> bytes:
    """The drawing at 1x as a PNG file of at most 128 colours, a third as large: for what is kept inside other files."""
    from PIL import Image

    double, info = _drawn(drawing)
    with io.BytesIO() as file:
        double.reduce(2).quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True, pnginfo=info)
        return file.getvalue()


def _drawn(drawing: Drawing) -> tuple[Image.Image, PngImagePlugin.PngInfo]:
    from PIL import PngImagePlugin

    double = _shapes_drawn(drawing)
    _write_texts(double, drawing)
    info = PngImagePlugin.PngInfo()
    for name, text in drawing.facts.items():
        info.add_itxt(name, text)
    return double, info


def _png(image: Image.Image, info: PngImagePlugin.PngInfo) -> bytes:
    """An RGB image as a PNG file.

    Pillow would try filters on every line, which takes three times as long and leaves drawings larger.
    """
    import numpy as np
    from PIL.PngImagePlugin import putchunk

    pixels = np.asarray(image)
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each starts with the number of its filter, 0 for none
    lines[:, 1:] = pixels.reshape(height, -1)
    with io.BytesIO() as file:
        file.write(_PNG_SIGNATURE)
        putchunk(file, b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
        for name, content, _ in info.chunks:
            putchunk(file, name, content)
        putchunk(file, b"IDAT", zlib.compress(lines.data, 3))
        putchunk(file, b"IEND")
        return file.getvalue()


def _shapes_drawn(drawing: Drawing) -> Image.Image:
    """The drawing at 2x without its texts."""
    import numpy as np
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Affine2D
    from PIL import Image

    renderer = RendererAgg(2 * WIDTH, int(2 * drawing.height), _DOTS)
    downwards = Affine2D.from_values(2, 0, 0, -2, 0, renderer.height)
    no_pen = renderer.new_gc()
    no_pen.set_linewidth(0)
    page = Affine2D().scale(renderer.width, renderer.height)
    renderer.draw_path(no_pen, Outline.unit_rectangle(), page, (1, 1, 1, 1))
    for group in drawing.groups:
        place = Affine2D().translate(group.x, group.y) + downwards
        for shape in group.shapes:
            if not isinstance(shape, Text):
                _draw(renderer, shape, place)
    return Image.fromarray(np.asarray(renderer.buffer_rgba())).convert("RGB")


def _write_texts(double: Image.Image, drawing: Drawing) -> None:
    """Write the texts of a drawing on its image at 2x, and across it that the data are simulated where they are."""
    from PIL import ImageDraw

    canvas = ImageDraw.Draw(double)
    for group in drawing.groups:
        for text in (shape for shape in group.shapes if isinstance(shape, Text)):
            canvas.text(
                (2 * (group.x + text.x), 2 * (group.y + text.y)),
                text.text,
                text.colour,
                _font(2 * text.size, text.bold),
                anchor={"start": "ls", "middle": "ms", "end": "rs"}[text.anchor],
                stroke_width=3 if text.halo else 0,
                stroke_fill=text.halo or None,
            )
    if drawing.simulated:
        mark = _watermark()
        x, y = (round(2 * place - size / 2) for place, size in zip(drawing.middle, mark.size, strict=True))
        double.paste(INK, (x, y), mark)


@cache
def _watermark() -> Image.Image:
    """How much of its ink each pixel takes."""
    from PIL import Image, ImageDraw

    font, opacity = _font(2 * _WATERMARK, True), round(255 * _WATERMARK_OPACITY)
    left, top, right, bottom = font.getbbox(SIMULATED)
    level = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(level).text((-left, -top), SIMULATED, opacity, font)
    return level.rotate(30, Image.Resampling.BICUBIC, expand=True)


@cache
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib, at a size in pixels."""
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", name), size)


def _draw(renderer: RendererAgg, shape: Box | Area | Line | Dot, place: Transform) -> None:
    """Draw a shape. Matplotlib's figures and axes would take several times as long as the drawing."""
    from matplotlib.colors import to_rgba

    pen = renderer.new_gc()
    if isinstance(shape, Line):
        pen.set_foreground(shape.colour)
        pen.set_linewidth(shape.thickness * _POINTS)
        if shape.dashed:
            pen.set_dashes(0, [4 * shape.thickness * _POINTS, 3 * shape.thickness * _POINTS])
        renderer.draw_path(pen, _outline(shape), place)
        return
    pen.set_foreground(shape.stroke)
    pen.set_linewidth((1.6 if isinstance(shape, Dot) else shape.thickness) * _POINTS)
    pen.set_joinstyle("round" if isinstance(shape, Area) else "miter")
    if shape.fill == HATCHED:
        pen.set_hatch("////")
        pen.set_hatch_color(to_rgba(HATCH_LINE))
        pen.set_hatch_linewidth(1.1)
    renderer.draw_path(pen, _outline(shape), place, to_rgba(HATCH_GROUND if shape.fill == HATCHED else shape.fill))


def _outline(shape: Box | Area | Line | Dot) -> Outline:
    from matplotlib.path import Path as Outline

    if isinstance(shape, Line):
        return Outline([(shape.x, shape.y), (shape.to_x, shape.to_y)])
    if isinstance(shape, Area):
        return Outline.make_compound_path(*(Outline(ring, closed=True) for ring in shape.rings))
    if isinstance(shape, Dot) and not shape.diamond:
        return Outline.circle((shape.x, shape.y), shape.radius)
    corners = _corners(shape)
    return Outline([*corners, corners[0]], closed=True)
