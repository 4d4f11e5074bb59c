"""How a figure of drivers is laid out as a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perception.publish.drawing import (
    INNER,
    LINE_HEIGHT,
    MARGIN,
    WIDTH,
    Box,
    Dot,
    Drawing,
    Group,
    Line,
    Shape,
    Text,
    lines_of,
    write,
    write_heading,
    write_notes,
)
from perception.publish.figures import (
    QUADRANTS,
    Bar,
    BarFigure,
    Figure,
    QuadrantFigure,
    facts_of,
    mark_fill,
    mark_places,
)
from perception.publish.maps import GREY, INK

GRID = "#d9dde3"
PLOT_LEFT, PLOT_RIGHT = 330, 620
VALUE_END = 690
PLANE = 420
PLANE_LEFT = 84
INSET = 40  # room for the names of quadrants inside the frame
LABEL, THICK = 12.5, 16


@dataclass(frozen=True)
class _Axis:
    """Numbers to pixels."""

    ticks: tuple[float, ...]
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def drawing(figure: Figure) -> Drawing:
    """Where everything stands, from the top: title, what is measured, the reading, key, plot, notes, source."""
    texts: list[Text] = []
    y = write_heading(texts, figure.title, figure.subtitle, figure.simulated)
    y = write(texts, y + 4, figure.reading, 14, INK) + 14
    top = y
    if isinstance(figure, BarFigure):
        y, shapes = _bars(figure, y)
    elif isinstance(figure, QuadrantFigure):
        y, shapes = _plane(figure, y)
    else:
        raise TypeError(type(figure).__name__)
    bottom, y = y, y + 6
    y = write_notes(texts, y, (*figure.notes, figure.source), figure.simulated)
    return Drawing(
        height=math.ceil(y + MARGIN - 12),
        groups=(Group(0, 0, (*shapes, *texts)),),
        description=figure.alt,
        facts=facts_of(figure),
        simulated=figure.simulated,
        middle=(WIDTH / 2, (top + bottom) / 2),
    )


def _bars(figure: BarFigure, y: float) -> tuple[float, list[Shape]]:
    shapes = _key(figure, y)
    top = y = y + (26 if figure.key else 4)
    axis = _Axis(figure.ticks, PLOT_LEFT, PLOT_RIGHT)
    marks: list[Shape] = []
    before: float | None = None
    for bar in figure.bars:
        label = lines_of(bar.label, LABEL, PLOT_LEFT - MARGIN - 8)
        detail = lines_of(bar.detail, 11, PLOT_LEFT - MARGIN - 8)
        height = (len(label) * LABEL + len(detail) * 11) * LINE_HEIGHT + 14
        middle = y + height / 2
        line = y + 4.0
        for text, size, colour in [(each, LABEL, INK) for each in label] + [(each, 11, GREY) for each in detail]:
            line += size * LINE_HEIGHT
            marks.append(Text(MARGIN, round(line, 1), text, size, colour, bold=bar.form == "total"))
        marks.append(Text(VALUE_END, middle + 4.5, bar.value, LABEL, INK, bold=True, anchor="end"))
        marks.append(Text(WIDTH - MARGIN, middle + 4.5, bar.value_range, 11.5, GREY, anchor="end"))
        if before is not None and figure.zero is None:
            shapes.append(Line(axis(bar.start), before, axis(bar.start), middle, GREY, 1, dashed=True))
        marks += _mark(bar, axis, middle)
        before = middle
        y += height
    grid: list[Shape] = []
    for tick in figure.ticks:
        at = axis(tick)
        grid.append(Line(at, top, at, y, INK if tick == figure.zero else GRID, 1))
        shapes.append(Text(at, y + 16, f"{tick:g}".replace("-", "−"), 11.5, GREY, anchor="middle"))
    y += 22
    for text in lines_of(figure.measure, 12, INNER):
        y += 12 * LINE_HEIGHT
        shapes.append(Text(WIDTH - MARGIN, y, text, 12, INK, bold=True, anchor="end"))
    return y + 6, [*grid, *shapes, *marks]


def _mark(bar: Bar, axis: _Axis, y: float) -> list[Shape]:
    start, end = axis(bar.start), axis(bar.interval.at)
    whisker: list[Shape] = []
    if bar.interval.known:
        low, high = axis(bar.interval.low), axis(bar.interval.high)
        ends = [Line(x, y - 4, x, y + 4, INK, 1.6) for x in (low, high)]
        whisker = [Line(low, y, high, y, "#ffffff", 4), Line(low, y, high, y, INK, 1.6), *ends]
    if bar.form == "bar":
        box = Box(min(start, end), y - THICK / 2, max(abs(end - start), 1), THICK, bar.fill, INK, 1)
        return [box, *whisker]
    return [*whisker, Dot(end, y, 5.5, bar.fill, INK, diamond=bar.form == "total")]


def _key(figure: BarFigure, y: float) -> list[Shape]:
    shapes: list[Shape] = []
    x: float = MARGIN
    for form, sign, words in figure.key:
        fill = mark_fill(form, sign)
        if form == "bar":
            shapes.append(Box(x, y + 1, 18, 11, fill, INK, 1))
        else:
            shapes.append(Dot(x + 9, y + 7, 6, fill, INK, diamond=form == "total"))
        shapes.append(Text(x + 25, y + 11.5, words, 12, INK))
        x += 25 + len(words) * 7 + 22
    return shapes


def _plane(figure: QuadrantFigure, y: float) -> tuple[float, list[Shape]]:
    across_ticks, up_ticks = figure.ticks
    top, right = y + 26, PLANE_LEFT + PLANE
    bottom = top + PLANE
    across = _Axis(across_ticks, PLANE_LEFT, right)
    up = _Axis(up_ticks, bottom - INSET, top + INSET)
    shapes: list[Shape] = [Box(PLANE_LEFT, top, PLANE, PLANE, "#ffffff", GRID, 1)]
    for tick in across_ticks:
        shapes.append(Line(across(tick), top, across(tick), bottom, GRID))
        shapes.append(Text(across(tick), bottom + 16, f"{tick:g}", 11.5, anchor="middle"))
    for tick in up_ticks:
        shapes.append(Line(PLANE_LEFT, up(tick), right, up(tick), GRID))
        shapes.append(Text(PLANE_LEFT - 8, up(tick) + 4, f"{tick:g}", 11.5, anchor="end"))
    shapes.append(Line(across(figure.cuts[0]), top, across(figure.cuts[0]), bottom, INK, 1, dashed=True))
    shapes.append(Line(PLANE_LEFT, up(figure.cuts[1]), right, up(figure.cuts[1]), INK, 1, dashed=True))
    for quadrant, corner, line, anchor in (
        ("concentrate_here", PLANE_LEFT + 8, top + 17, "start"),
        ("keep_up", right - 8, top + 17, "end"),
        ("low_priority", PLANE_LEFT + 8, bottom - 24, "start"),
        ("possible_overkill", right - 8, bottom - 24, "end"),
    ):
        for number, words in enumerate(QUADRANTS[quadrant].split(", ")):
            shapes.append(Text(corner, line + 16 * number, words, 12, GREY, True, anchor))
    dots = [(across(point.performance.at), up(point.importance.at)) for point in figure.points]
    for point, (x, at) in zip(figure.points, dots, strict=True):
        if point.performance.known:
            shapes.append(Line(across(point.performance.low), at, across(point.performance.high), at, GREY, 1.4))
        if point.importance.known:
            shapes.append(Line(x, up(point.importance.low), x, up(point.importance.high), GREY, 1.4))
    for point, (x, at), (right_of, below) in zip(figure.points, dots, mark_places(dots), strict=True):
        shapes.append(Dot(x, at, 5.5, mark_fill("point", int(point.sure)), INK))
        shapes.append(Text(x + right_of, at + below + 4.5, str(point.number), 12.5, INK, True, "middle"))
    shapes.append(Text(right, bottom + 38, figure.measure, 12, INK, True, "end"))
    listed = _list(figure, right + 28, top)
    shapes.append(Text(MARGIN, top - 8, figure.measure_up, 12, INK, True))
    return max(bottom + 44, listed[0]), [*shapes, *listed[1]]


def _list(figure: QuadrantFigure, x: float, y: float) -> tuple[float, list[Shape]]:
    """The numbered drivers beside the plane, each with its quadrant."""
    shapes: list[Shape] = []
    width = WIDTH - MARGIN - x - 24
    for point in figure.points:
        shapes.append(Text(x, y + LABEL, str(point.number), LABEL, INK, True))
        for text, colour in [
            *((line, INK) for line in lines_of(point.label, LABEL, width)),
            (QUADRANTS[point.quadrant], GREY),
        ]:
            shapes.append(Text(x + 24, y + LABEL, text, LABEL, colour))
            y += LABEL * LINE_HEIGHT
        y += 9
    return y, shapes
