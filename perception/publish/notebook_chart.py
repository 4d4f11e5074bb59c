"""Dots with their intervals for a notebook: rows of published tables in one image, drawn as the site's figures are.

What the image says of doubt, numbers of respondents and simulated data is decided here; which rows it has, in what
order and under what title, by the researcher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from perception.publish import drawing, static_figures
from perception.publish.figures import NOT_CAUSE, Bar, BarFigure, Form, Interval, plain, told_sign
from perception.publish.maps import INTERVAL, SIMULATED, Row, Scale
from perception.publish.words import shown_difference, shown_number

COUNTS = (("n",), ("n_first", "n_second"), ("n_before", "n_after"))
"""Columns that say on how many respondents a number rests, or each side of a difference."""
_DIFFERENCE_KEY: tuple[tuple[Form, int, str], ...] = (
    ("point", 1, "told from zero"),
    ("point", 0, "cannot be told from zero"),
)
_ESTIMATE_KEY: tuple[tuple[Form, int, str], ...] = (("point", 1, "estimate"), ("point", 0, "use with caution"))


@dataclass(frozen=True)
class Columns:
    """The columns of rows that a chart shows: labels, numbers and the ends of their intervals."""

    label: str
    value: str
    low: str
    high: str


class NotebookChart:
    """An image that a notebook shows, with its alt text; `figure` has what it says."""

    def __init__(self, figure: BarFigure) -> None:
        self.figure = figure

    def __repr__(self) -> str:
        """What the image shows."""
        return self.figure.alt

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        image = drawing.small_png(static_figures.drawing(self.figure))
        return {"image/png": image, "text/plain": self.figure.alt}, {"image/png": {"alt": self.figure.alt}}


def interval_chart(
    rows: Sequence[Row], columns: Columns, scale: Scale, difference: bool, title: str, survey: str, source: str
) -> NotebookChart:
    """An image of rows in their order: a dot for each number, a line for its 95 % interval.

    A dot is hollow where a `difference` cannot be told from zero, or an estimate has to be used with caution. Rows
    without a number are counted in a note; at least one has a number.
    """
    bars = tuple(_bar(row, columns, scale, difference) for row in rows if not pd.isna(row[columns.value]))
    simulated = any(bool(row["simulated"]) for row in rows)
    unit = plain(scale.unit) or "value"
    reading = _reading(bars, difference, f" {plain(scale.measured)}".rstrip())
    missing = len(rows) - len(bars)
    if scale.kind == "share":
        unit = "percentage points" if difference else "percent"
    unclear = any(not bar.sign for bar in bars)
    least, most = (_said(end(bars, key=lambda bar: bar.interval.at)) for end in (min, max))
    alt = f"{title}. Dots with {INTERVAL}s for {len(bars)} rows, from {least} to {most}. {reading}"
    return NotebookChart(
        BarFigure(
            title=title,
            subtitle=survey,
            measure=f"Difference, {unit}" if difference else unit.capitalize(),
            reading=reading,
            alt=f"{SIMULATED}. {alt}" if simulated else alt,
            notes=(
                f"Lines are {INTERVAL}s.",
                *((NOT_CAUSE,) if difference else ()),
                *((f"{missing} of {len(rows)} are not published.",) if missing else ()),
            ),
            source=source,
            simulated=simulated,
            bars=bars,
            zero=0.0,
            key=_DIFFERENCE_KEY if difference else _ESTIMATE_KEY if unclear else (),
        )
    )


def _bar(row: Row, columns: Columns, scale: Scale, difference: bool) -> Bar:
    numbers = (float(row[name]) for name in (columns.value, columns.low, columns.high))
    at, low, high = (number if scale.kind != "share" else 100 * number for number in numbers)
    interval = Interval(at, low, high)
    number = row[columns.value]
    return Bar(
        label=plain(str(row[columns.label])),
        detail=_respondents(row),
        form="point",
        start=0.0,
        interval=interval,
        sign=_told(row, interval) if difference else int(row.get("quality") != "caution"),
        value=shown_difference(number, scale) if difference else scale.value(number),
        value_range=" to ".join(shown_number(row[name], scale) for name in (columns.low, columns.high))
        if interval.known
        else "",
    )


def _respondents(row: Row) -> str:
    for names in COUNTS:
        counts = [row[name] for name in names if not pd.isna(row.get(name))]
        if len(counts) == len(names):
            return f"{' and '.join(f'{int(count):,}' for count in counts)} respondents"
    return ""


def _told(row: Row, interval: Interval) -> int:
    """The direction of a difference, 0 where the survey cannot tell: by its verdict, its p value, or its interval."""
    if "verdict" in row:
        return 0 if pd.isna(row["verdict"]) or row["verdict"] == "cannot_tell" else interval.sign
    return told_sign(row, interval) if "p_adjusted" in row else interval.sign


def _reading(bars: Sequence[Bar], difference: bool, measured: str) -> str:
    if difference:
        return f"{sum(bool(bar.sign) for bar in bars)} of {len(bars)} can be told from zero."
    halves = [(bar.interval.high - bar.interval.low) / 2 for bar in bars if bar.interval.known]
    return f"A typical interval reaches {median(halves):.1f}{measured} either way of its dot." if halves else ""


def _said(bar: Bar) -> str:
    return f"{bar.label} {bar.value} ({bar.value_range})" if bar.value_range else f"{bar.label} {bar.value}"
