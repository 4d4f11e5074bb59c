"""Figures of drivers as Plotly's data and layout: labels stand over their marks, so that a phone shows them whole."""

from __future__ import annotations

import html
import textwrap
from itertools import pairwise
from typing import Any

from perception.publish import plotly_map
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
from perception.publish.maps import BORDER, GREY, INK, SIMULATED

CONFIG: dict[str, Any] = plotly_map.CONFIG | {"displayModeBar": False}
FONT = {"family": plotly_map.FONTS, "color": INK, "size": 13}
GRID = "#d9dde3"
LETTERS = 38  # of a label in a line, on a phone
LINE, MARK = 17, 30
NARROWEST = 250  # of a plane, in pixels: numbers that do not meet there meet nowhere


def content(figure: Figure) -> dict[str, Any]:
    """Plotly's data, layout and config of a figure; its title, words and source are in the layout's `meta`."""
    if isinstance(figure, BarFigure):
        traces, layout = _bars(figure)
    elif isinstance(figure, QuadrantFigure):
        traces, layout = _plane(figure)
    else:
        raise TypeError(type(figure).__name__)
    if figure.simulated:
        layout["annotations"].append(_watermark())
    base = {
        "showlegend": False,
        "dragmode": False,
        "font": FONT,
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": BORDER, "align": "left", "font": FONT},
        "meta": {name.lower(): text for name, text in facts_of(figure).items()},
    }
    return {"data": traces, "layout": base | layout, "config": CONFIG}


def _bars(figure: BarFigure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    annotations, shapes, places = [], [], []
    y: float = 0
    for bar in figure.bars:
        label = f"<b>{_lines(bar.label)}</b>" if bar.form == "total" else _lines(bar.label)
        label += f"<br>{_lines(bar.detail)}" if bar.detail else ""
        value = f"<b>{bar.value}</b>" + (f"<br>{bar.value_range}" if bar.value_range else "")
        for text, x, side in ((label, 0, "left"), (value, 1, "right")):
            where = {"x": x, "y": y, "xref": "paper", "xanchor": side, "yanchor": "top", "align": side}
            annotations.append(_note(text, bgcolor="rgba(255,255,255,0.8)", **where))
        y += (max(label.count("<br>"), value.count("<br>")) + 1) * LINE + MARK
        places.append(y - MARK / 2 + 2)
    if figure.zero is None:
        for (upper, lower), bar in zip(pairwise(places), figure.bars[1:], strict=True):
            line = {"color": GREY, "width": 1, "dash": "dot"}
            shapes.append({"type": "line", "x0": bar.start, "x1": bar.start, "y0": upper, "y1": lower, "line": line})
    traces: list[dict[str, Any]] = []
    for bar, place in zip(figure.bars, places, strict=True):
        said = {"hovertext": _hover(bar), "hoverinfo": "text", "error_x": _error(bar.interval), "y": [place]}
        line = {"color": INK, "width": 1.2}
        if bar.form == "bar":
            across = {"x": [bar.interval.at - bar.start], "base": [bar.start], "width": [15]}
            traces.append(
                {"type": "bar", "orientation": "h", "marker": {"color": bar.fill, "line": line}, **across, **said}
            )
        else:
            symbol = "diamond" if bar.form == "total" else "circle"
            marker = {"symbol": symbol, "size": 12, "color": bar.fill, "line": line}
            traces.append({"type": "scatter", "mode": "markers", "marker": marker, "x": [bar.interval.at], **said})
    axis = _axis(figure.ticks, _lines(figure.measure), 0) | {"zeroline": figure.zero is not None}
    return traces, {
        "height": round(y + 80),
        "margin": {"l": 18, "r": 18, "t": 6, "b": 74},
        "bargap": 0,
        "xaxis": axis,
        "yaxis": {"range": [y, 0], "visible": False, "fixedrange": True},
        "annotations": annotations,
        "shapes": shapes,
    }


def _plane(figure: QuadrantFigure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    across, up = figure.ticks
    room = 0.12 * (up[-1] - up[0])  # for the names of quadrants
    traces, annotations = [], []
    dots = [
        (
            (point.performance.at - across[0]) / (across[-1] - across[0]) * NARROWEST,
            (up[-1] - point.importance.at) / (up[-1] - up[0]) * NARROWEST,
        )
        for point in figure.points
    ]
    for point, (right_of, below) in zip(figure.points, mark_places(dots), strict=True):
        said = [
            f"<b>{_lines(f'{point.number}. {point.label}')}</b>",
            _escaped(f"Rated {point.performance.at:.1f} of 100 ({point.performance.words})"),
            _escaped(f"Importance {point.importance.at:.1f}% ({point.importance.words})"),
            QUADRANTS[point.quadrant],
        ]
        traces.append(
            {
                "type": "scatter",
                "x": [point.performance.at],
                "y": [point.importance.at],
                "mode": "markers",
                "marker": {
                    "size": 11,
                    "color": mark_fill("point", int(point.sure)),
                    "line": {"color": INK, "width": 1.4},
                },
                "error_x": _error(point.performance),
                "error_y": _error(point.importance),
                "hovertext": "<br>".join(said),
                "hoverinfo": "text",
            }
        )
        at = {"x": point.performance.at, "y": point.importance.at, "xshift": right_of, "yshift": -below}
        annotations.append(_note(f"<b>{point.number}</b>", **at))
    for quadrant, x, y in (
        ("concentrate_here", 0, 1),
        ("keep_up", 1, 1),
        ("low_priority", 0, 0),
        ("possible_overkill", 1, 0),
    ):
        corner = {"xref": "paper", "yref": "paper", "x": x, "y": y}
        corner |= {"xanchor": ("left", "right")[x], "yanchor": ("bottom", "top")[y]}
        words = QUADRANTS[quadrant].replace(", ", "<br>")
        annotations.append(_note(f"<b>{words}</b>", font={"color": GREY, "size": 12}, **corner))
    dashed = {"type": "line", "line": {"color": INK, "width": 1, "dash": "dash"}}
    shapes = [
        {**dashed, "x0": figure.cuts[0], "x1": figure.cuts[0], "yref": "paper", "y0": 0, "y1": 1},
        {**dashed, "y0": figure.cuts[1], "y1": figure.cuts[1], "xref": "paper", "x0": 0, "x1": 1},
    ]
    return traces, {
        "height": 480,
        "margin": {"l": 56, "r": 18, "t": 6, "b": 74},
        "xaxis": _axis(across, _lines(figure.measure), 0) | {"zeroline": False},
        "yaxis": _axis(up, _escaped(figure.measure_up), room) | {"zeroline": False},
        "annotations": annotations,
        "shapes": shapes,
    }


def _axis(ticks: tuple[float, ...], title: str, room: float) -> dict[str, Any]:
    return {
        "range": [ticks[0] - room, ticks[-1] + room],
        "tickvals": list(ticks),
        "tickformat": "~g",
        "gridcolor": GRID,
        "zerolinecolor": INK,
        "zerolinewidth": 1,
        "fixedrange": True,
        "title": {"text": title, "font": {"size": 12}},
    }


def _error(interval: Any) -> dict[str, Any]:
    if not interval.known:
        return {"visible": False}
    reach = {"array": [interval.high - interval.at], "arrayminus": [interval.at - interval.low]}
    return {"type": "data", "symmetric": False, "color": INK, "thickness": 1.6, "width": 4, **reach}


def _hover(bar: Bar) -> str:
    interval = f"95% interval {bar.value_range}" if bar.value_range else ""
    said = [_lines(bar.label), _escaped(bar.detail), f"<b>{bar.value}</b>", interval]
    return "<br>".join(line for line in (*said, "" if bar.sign else "Cannot be told from zero") if line)


def _note(text: str, **where: Any) -> dict[str, Any]:
    return {"text": text, "showarrow": False, "borderpad": 0, **where}


def _watermark() -> dict[str, Any]:
    middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "textangle": -20}
    return _note(f"<b>{SIMULATED}</b>", font={"size": 34, "color": INK}, opacity=0.11, **middle)


def _lines(text: str) -> str:
    """A text in lines; Plotly reads a little HTML, and of entities only these."""
    return "<br>".join(_escaped(line) for line in textwrap.wrap(text, LETTERS))


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
