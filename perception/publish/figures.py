"""What figures of drivers say: marks, intervals, words and alt text; made from published tables only, drawn elsewhere.

Every sentence follows from the numbers: nothing is called the largest, higher or lower that the interval leaves open,
and nothing is called a cause.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import pandas as pd

from perception.publish.maps import INK, INTERVAL, PALETTE, SIMULATED, Row, file_facts, records

Form = Literal["point", "bar", "total"]

SIGNIFICANT = 0.05
FILLS = {-1: PALETTE[3], 0: "#ffffff", 1: PALETTE[1]}
"""Fill of a bar by its direction: dark, light, and hollow where the survey cannot tell."""
QUADRANTS = {
    "concentrate_here": "Counts for more, rated worse",
    "keep_up": "Counts for more, rated better",
    "low_priority": "Counts for less, rated worse",
    "possible_overkill": "Counts for less, rated better",
    "cannot_tell": "Cannot tell",
}
"""Each quadrant of importance and performance as a reader meets it; more and better than the average driver."""
PARTS_OF_GAP = ("composition", "rest")
GAP = "gap"
IMPORTANCE = "Part of what these drivers explain together, percent"
NOT_CAUSE = "Association, not cause."
LONGEST_LABEL = 160
MOST = 0.9
"""Of a gap: from where on nearly all of it is not explained."""
_DIAGONALS_FIRST = ((1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1.4), (0, 1.4), (1.4, 0), (-1.4, 0))


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its 95 % interval, in percent or points; the ends are nan where they are not known."""

    at: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether it has an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def sign(self) -> int:
        """The direction that the interval leaves no doubt of and that the rounded number shows, else 0."""
        if not self.known or _rounded(self.at) == 0:
            return 0
        return (self.low > 0 and self.at > 0) - (self.high < 0 and self.at < 0)

    @property
    def size(self) -> tuple[float, float]:
        """The smallest and the largest distance from zero in the interval."""
        ends = sorted((abs(self.low), abs(self.high)))
        return (0.0 if self.low <= 0 <= self.high else ends[0], ends[1])

    @property
    def range(self) -> str:
        """The ends, such as `−7.2 to −3.2`; empty where they are not known."""
        return f"{number(self.low)} to {number(self.high)}" if self.known else ""

    @property
    def words(self) -> str:
        """The interval as it stands in a sentence."""
        return f"{INTERVAL} {self.range}" if self.known else f"{INTERVAL} not available"

    @property
    def distance(self) -> str:
        """The interval of the size of a difference that is told from zero, as it stands in a sentence."""
        ends = self.range if self.sign > 0 else f"{number(-self.high)} to {number(-self.low)}"
        return f"{INTERVAL} {ends}"

    def apart(self, more: str, less: str) -> str:
        """A difference that is told from zero, in a sentence: its size, the direction in words, its interval."""
        return f"{number(abs(self.at))} points {more if self.sign > 0 else less} ({self.distance})"


@dataclass(frozen=True)
class Bar:
    """A row of a figure on one axis: what it is of, where it starts and ends, whether it is told from `start`.

    `sign` is the direction that the survey can tell, 0 where it cannot; `value` is the number as shown.
    """

    label: str
    detail: str
    form: Form
    start: float
    interval: Interval
    sign: int
    value: str
    value_range: str

    @property
    def fill(self) -> str:
        """Its colour; hollow where the survey cannot tell."""
        return mark_fill(self.form, self.sign)


@dataclass(frozen=True)
class Point:
    """A numbered driver on the plane of performance (x) and importance (y), in percent."""

    number: int
    label: str
    performance: Interval
    importance: Interval
    quadrant: str

    @property
    def sure(self) -> bool:
        """Whether the survey can tell its quadrant."""
        return self.quadrant != "cannot_tell"


@dataclass(frozen=True)
class Figure:
    """What every figure says: title, of what, unit of the axis, a reading, alt text, notes, source."""

    title: str
    subtitle: str
    measure: str
    reading: str
    alt: str
    notes: tuple[str, ...]
    source: str
    simulated: bool


@dataclass(frozen=True)
class BarFigure(Figure):
    """Rows on one axis: effects, importance or the split of a gap; `zero` is where the axis has its line, if anywhere.

    `key` says what a mark means: an example of it (form, sign) and the words.
    """

    bars: tuple[Bar, ...]
    zero: float | None
    key: tuple[tuple[Form, int, str], ...]

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round numbers on the axis, from one end of it to the other."""
        ends = [end for bar in self.bars for end in (bar.start, bar.interval.at, bar.interval.low, bar.interval.high)]
        return ticks(ends if self.zero is None else [*ends, self.zero])


@dataclass(frozen=True)
class QuadrantFigure(Figure):
    """Drivers by performance and importance, with the averages that cut the plane into quadrants."""

    measure_up: str
    points: tuple[Point, ...]
    cuts: tuple[float, float]

    @property
    def ticks(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Round numbers on the axes of performance and of importance."""
        sides = [[point.performance for point in self.points], [point.importance for point in self.points]]
        across, up = (
            ticks([*(end for each in side for end in (each.at, each.low, each.high)), cut])
            for side, cut in zip(sides, self.cuts, strict=True)
        )
        return across, up


@dataclass(frozen=True)
class About:
    """What the figures of a model share: the outcome and the survey in words, the source, whether it is simulated."""

    outcome: str
    survey: str
    source: str
    simulated: bool

    def alt(self, kind: str, reading: str) -> str:
        """Alt text: what kind of figure it is, and what it shows."""
        return f"{f'{SIMULATED}. ' if self.simulated else ''}{kind}. {reading} The table on this page has the numbers."


def mark_fill(form: Form, sign: int) -> str:
    """Fill of a mark on one axis."""
    if form == "bar":
        return FILLS[sign]
    return INK if sign else FILLS[0]


def number(value: float) -> str:
    """A number to one decimal, with a real minus sign and no negative zero."""
    return f"{_rounded(value):.1f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference to one decimal, with its sign."""
    return ("+" if _rounded(value) > 0 else "") + number(value)


def _rounded(value: float) -> float:
    return float(f"{value:.1f}") + 0.0


def one_line(text: str) -> str:
    """A text on one line, without what cannot be printed, such as controls and marks that turn the reading order."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def plain(label: str) -> str:
    """A label on one line (see `one_line`); cut where it is too long for a figure."""
    text = one_line(label)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1].rstrip() + "…"


def quoted(label: str) -> str:
    """A label as it stands in a sentence."""
    return f"“{plain(label)}”"


def percent_interval(row: Row, name: str, low: str, high: str) -> Interval:
    """A proportion of a table in percent, with its interval; nan where the table has nothing."""
    return Interval(*(math.nan if pd.isna(row[column]) else 100 * float(row[column]) for column in (name, low, high)))


def told_sign(row: Row, effect: Interval) -> int:
    """The direction of an effect that its interval and its adjusted p value leave no doubt of, else 0."""
    sure: bool = not pd.isna(row["p_adjusted"]) and float(row["p_adjusted"]) < SIGNIFICANT
    return effect.sign if sure else 0


def ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Three to eight round numbers that hold all the values that are known."""
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = max(high - low, 0.5)
    size = 10.0 ** math.floor(math.log10(span / 6))
    step = next(size * digit for digit in (1, 2, 5, 10) if span / (size * digit) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(step * place, 6) + 0.0 for place in range(first, max(last, first + 2) + 1))


def contrast(row: Row) -> str:
    """What an effect compares: a standard deviation, or a category with its reference."""
    if row["term"] == "per SD":
        return "one standard deviation more"
    reference = row["reference"]
    against = f" rather than {_answer(reference)}" if isinstance(reference, str) else ""
    return plain(_answer(str(row["term"])) + against)


def _answer(category: str) -> str:
    return "don’t know" if category == "dont_know" else category.replace("_", " ")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(rows: Sequence[Row]) -> str:
    return f"{int(rows[0]['n']):,} respondents in {int(rows[0]['psus']):,} sampling areas" if rows else ""


def effects_figure(rows: pd.DataFrame, about: About) -> BarFigure | None:
    """The forest plot of a model: rows of `published_drivers` of one model; None where no driver has an effect.

    A driver is told from zero where its adjusted p is below 5 % and its interval does not hold zero.
    """
    shown = [row for row in records(rows[rows["kind"] == "driver"]) if not pd.isna(row["effect"])]
    shown.sort(key=lambda row: -abs(row["effect"]))
    if not shown:
        return None
    bars = []
    for row in shown:
        effect = percent_interval(row, "effect", "low", "high")
        sign = told_sign(row, effect)
        value = signed(effect.at)
        bars.append(Bar(plain(row["label"]), contrast(row), "point", 0.0, effect, sign, value, effect.range))
    reading = _effects_reading(bars, about.outcome)
    return BarFigure(
        title="What goes with the answers",
        subtitle=f"{about.outcome}. {about.survey}. {_count(shown)}",
        measure=f"Difference in the share “{about.outcome}”, percentage points",
        reading=reading,
        alt=about.alt(f"Forest plot of {len(bars)} differences with their 95% intervals", reading),
        notes=(
            f"Lines are 95% intervals. {NOT_CAUSE} Everything else in the model is held the same.",
            "“Told from zero” allows for how many drivers were tested (adjusted p below 0.05).",
        ),
        source=about.source,
        simulated=about.simulated,
        bars=tuple(bars),
        zero=0.0,
        key=(("point", 1, "told from zero"), ("point", 0, "cannot be told from zero")),
    )


def _effects_reading(bars: Sequence[Bar], outcome: str) -> str:
    sure = [bar for bar in bars if bar.sign]
    if not sure:
        none = f"None of the {len(bars)} differences can" if len(bars) > 1 else "The difference cannot"
        return f"{none} be told from zero by this survey. {NOT_CAUSE}"
    top, others = sure[0], [bar for bar in bars if bar is not sure[0]]
    alone = top is bars[0] and all(
        other.interval.known and other.interval.size[1] < top.interval.size[0] for other in others
    )
    share = f"the share {quoted(outcome)}"
    if top.detail == "one standard deviation more":
        higher = "larger" if top.sign > 0 else "smaller"
        said = f"The higher {quoted(top.label)}, the {higher} {share}: one standard deviation more goes "
        said += f"with {top.interval.apart('more', 'less')}"
    else:
        said = f"Where {quoted(top.label)} is {top.detail}, {share} is "
        said += top.interval.apart("higher", "lower")
    if others:
        rest = len(bars) - len(sure)
        said += ", the largest difference" if alone else ", the largest estimate told from zero; others may be as large"
        said += f"; {rest} of {len(bars)} cannot be told from zero" if rest else ""
    return f"{said}. {NOT_CAUSE}"


def importance_figure(rows: pd.DataFrame, about: About) -> BarFigure | None:
    """Bars of what each driver explains, in percent of what all explain together: rows of a model's importance."""
    shown = records(rows.sort_values("share", ascending=False, kind="stable"))
    if not shown:
        return None
    shares = [percent_interval(row, "share", "share_low", "share_high") for row in shown]
    bars = [
        Bar(plain(row["label"]), "", "bar", 0.0, share, share.sign, f"{number(share.at)}%", share.range)
        for row, share in zip(shown, shares, strict=True)
    ]
    reading = _importance_reading(bars)
    return BarFigure(
        title="What counts for most",
        subtitle=f"{about.outcome}. {about.survey}. {_count(shown)}",
        measure=IMPORTANCE,
        reading=reading,
        alt=about.alt(f"Bars of the importance of {len(bars)} drivers with their 95% intervals", reading),
        notes=(f"Lines are 95% intervals. {NOT_CAUSE} Averaged over every order in which drivers can be counted.",),
        source=about.source,
        simulated=about.simulated,
        bars=tuple(bars),
        zero=0.0,
        key=(("bar", 1, "told from zero"), ("bar", 0, "cannot be told from zero"))
        if any(not bar.sign for bar in bars)
        else (),
    )


def _importance_reading(bars: Sequence[Bar]) -> str:
    def said(bar: Bar) -> str:
        return f"{quoted(bar.label)} ({bar.value}; {bar.interval.words})"

    if len(bars) == 1:
        return f"The only driver is {said(bars[0])}. {NOT_CAUSE}"
    top = bars[0]
    rivals = [bar for bar in bars[1:] if not bar.interval.known or not bar.interval.high < top.interval.low]
    if not rivals and top.interval.known:
        return f"{said(top)} counts for the largest part of what these drivers explain together. {NOT_CAUSE}"
    if len(rivals) > 2:
        first = f"The survey cannot tell which of {len(rivals) + 1} drivers counts for most"
        return f"{first}; {said(top)} stands first. {NOT_CAUSE}"
    return (
        f"The survey cannot tell which counts for most: {_listed([said(bar) for bar in (top, *rivals)])}. {NOT_CAUSE}"
    )


def quadrant_figure(rows: pd.DataFrame, about: About) -> QuadrantFigure | None:
    """Importance by performance of the drivers on a scale: rows of a model's importance.

    None where fewer than two drivers have a performance, or where one is not published: the averages that cut the plane
    are over all of them.
    """
    rated = records(rows[rows["performance"].notna()].sort_values("share", ascending=False, kind="stable"))
    if len(rated) < 2 or not math.isclose(rows["share"].sum(), 1, abs_tol=5e-5 * len(rows)):
        return None
    points = tuple(
        Point(
            place,
            plain(row["label"]),
            percent_interval(row, "performance", "performance_low", "performance_high"),
            percent_interval(row, "share", "share_low", "share_high"),
            row["quadrant"] if isinstance(row["quadrant"], str) else "cannot_tell",
        )
        for place, row in enumerate(rated, start=1)
    )
    reading = _quadrant_reading(points)
    return QuadrantFigure(
        title="Importance and rating",
        subtitle=f"{about.outcome}. {about.survey}. {_count(rated)}",
        measure="How well it is rated, 0 worst to 100 best",
        reading=reading,
        alt=about.alt(f"Importance and rating of {len(points)} drivers, with 95% intervals both ways", reading),
        notes=(
            f"Crosses are 95% intervals; dashed lines are the averages of the drivers. {NOT_CAUSE}",
            "Hollow: the survey cannot tell the quadrant, because an interval crosses an average.",
        ),
        source=about.source,
        simulated=about.simulated,
        measure_up=IMPORTANCE,
        points=points,
        cuts=(fmean(point.performance.at for point in points), fmean(point.importance.at for point in points)),
    )


def _quadrant_reading(points: Sequence[Point]) -> str:
    said = []
    for quadrant in ("concentrate_here", "keep_up", "low_priority", "possible_overkill"):
        if inside := [quoted(point.label) for point in points if point.quadrant == quadrant]:
            said.append(f"{QUADRANTS[quadrant]}: {_listed(inside)}.")
    unsure = sum(not point.sure for point in points)
    if unsure == len(points):
        return "For none of these drivers can the survey tell in which quadrant it lies."
    if unsure:
        said.append(f"For {unsure} of {len(points)} the survey cannot tell.")
    return " ".join(said)


def gap_figure(
    rows: pd.DataFrame, district: str, province: str, about: About, mapped: Row | None = None
) -> BarFigure | None:
    """The waterfall from a province's share to a district's: rows of `published_diagnosis` of one model and district.

    Drivers come by the size of what they contribute, then who lives there, then the rest. `mapped` is the row of
    published_estimates that the map shows of the district. None without the rows `gap`, `composition` and `rest`.
    """
    found = {row["driver"]: row for row in records(rows)}
    if not {GAP, *PARTS_OF_GAP} <= set(found):
        return None
    district, province = plain(district), plain(province)
    drivers = [row for name, row in found.items() if name not in (GAP, *PARTS_OF_GAP)]
    drivers.sort(key=lambda row: -abs(row["contribution"]))
    facts = found[GAP]
    around, own = 100 * facts["share_province"], 100 * facts["share"]
    bars = [_total(province, Interval(around, math.nan, math.nan))]
    level = around
    for row in (*drivers, *(found[part] for part in PARTS_OF_GAP)):
        part = _contribution(row)
        end = Interval(level + part.at, level + part.low, level + part.high)
        bars.append(Bar(plain(row["label"]), "", "bar", level, end, part.sign, signed(part.at), part.range))
        level = end.at
    gap = _contribution(facts)
    bars.append(_total(district, Interval(own, around + gap.low, around + gap.high)))
    rest = _contribution(found["rest"])
    reading = _gap_reading(drivers, gap, rest, (district, own), (province, around), about.outcome, mapped)
    return BarFigure(
        title=f"{district}: what goes with its gap to {province}",
        subtitle=f"{about.outcome}. {about.survey}. {_count([facts])} of {district}",
        measure=f"Share “{about.outcome}” among the model's respondents, percent",
        reading=reading,
        alt=about.alt(f"Waterfall from the share in {province} to that in {district}", reading),
        notes=(f"Lines are 95% intervals of each part; that of {district} is of its gap to {province}. {NOT_CAUSE}",),
        source=about.source,
        simulated=about.simulated,
        bars=tuple(bars),
        zero=None,
        key=(
            ("total", 1, "share"),
            ("bar", -1, "goes with less"),
            ("bar", 1, "goes with more"),
            ("bar", 0, "cannot tell"),
        ),
    )


def _total(place: str, share: Interval) -> Bar:
    return Bar(place, "", "total", share.at, share, 1, f"{number(share.at)}%", "")


def _contribution(row: Row) -> Interval:
    return percent_interval(row, "contribution", "contribution_low", "contribution_high")


def _gap_reading(
    drivers: Sequence[Row],
    gap: Interval,
    rest: Interval,
    here: tuple[str, float],
    around: tuple[str, float],
    outcome: str,
    mapped: Row | None,
) -> str:
    shares = f"{number(here[1])}% against {number(around[1])}%"
    counted = _counted(mapped)
    if gap.sign == 0:
        return (
            f"The survey cannot tell whether the share {quoted(outcome)} in {here[0]} differs from that in "
            f"{around[0]}: {shares}, a gap of {signed(gap.at)} points ({gap.words}). {counted}"
        )
    said = f"In {here[0]} the share {quoted(outcome)} is {gap.apart('higher', 'lower')} than in {around[0]}: {shares}."
    said += f" {counted}"
    same = [(row, _contribution(row)) for row in drivers if _contribution(row).sign == gap.sign]
    if same:
        row, part = same[0]
        said += f" How {here[0]} differs in {quoted(row['label'])} goes with {part.apart('more', 'less')}."
    else:
        said += " For no driver can the survey tell that it goes with this gap."
    if rest.sign == gap.sign:
        said += f" {_unexplained(rest, gap)}"
    return f"{said} {NOT_CAUSE}"


def _counted(mapped: Row | None) -> str:
    """Whom the shares of a gap are of, and what the map says of the district instead."""
    said = "These are direct shares among the model's respondents"
    if mapped is None or pd.isna(mapped["estimate"]):
        return f"{said}."
    method = "small-area" if mapped["method"] == "small_area" else "direct"
    return f"{said}; the map's {method} estimate is {number(100 * mapped['estimate'])}%."


def _unexplained(rest: Interval, gap: Interval) -> str:
    """How much of a gap a model leaves open, where that goes the way of the gap."""
    part, whole = abs(_rounded(rest.at)), abs(_rounded(gap.at))
    sizes = f"({number(part)} of {number(whole)} points; {rest.distance})"
    if part >= whole:
        sizes = f"({number(part)} against {number(whole)} points; {rest.distance})"
        return f"No less than the gap itself {sizes} is not explained."
    return f"{'Nearly all' if part >= MOST * whole else 'A part'} of the gap {sizes} is not explained."


def what_if_sentence(rows: pd.DataFrame, sure: Collection[str], district: str, province: str) -> str:
    """What share one would expect with the most promising driver as good as in the best quarter of the districts.

    `rows` as for `gap_figure`; `sure` are the drivers whose effect in the model is told from zero, the only ones of
    which anything is said.
    """
    now = 100 * float(rows["share"].iloc[0])
    hoped = [(percent_interval(row, "what_if", "what_if_low", "what_if_high"), row) for row in records(rows)]
    better = [
        (each, row) for each, row in hoped if row["driver"] in sure and each.known and _rounded(each.at) > _rounded(now)
    ]
    if not better:
        return (
            f"For no driver can the survey tell that {plain(district)} would do better at the level of the best "
            f"quarter of the districts of {plain(province)}."
        )
    expected, row = max(better, key=lambda pair: pair[0].at)
    doubt = "; the interval holds the present share too" if expected.low <= now <= expected.high else ""
    return (
        f"If {quoted(row['label'])} were in {plain(district)} as in the best quarter of the districts of "
        f"{plain(province)}, one would expect {number(expected.at)}% ({expected.words}) instead of {number(now)}%"
        f"{doubt}. This is what such districts have in common, not a promise."
    )


def facts_of(figure: Figure) -> dict[str, str]:
    """What a drawn file says of itself: title, description, source, and that its data are simulated."""
    said = " ".join([figure.subtitle + ".", figure.reading, *figure.notes])
    return file_facts(figure.title, said, figure.source, figure.simulated)


def mark_places(dots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where the number of each dot stands, in pixels right of it and below, so that it hides no dot and no number."""
    placed: list[tuple[float, float]] = []
    shifts = []
    for own, (x, y) in enumerate(dots):
        apart = [(far * across, far * down) for far in (11, 17, 24, 32) for across, down in _DIAGONALS_FIRST]
        others = [dot for place, dot in enumerate(dots) if place != own]

        def room(shift: tuple[float, float], x: float = x, y: float = y, others: Any = others) -> float:
            spot = x + shift[0], y + shift[1]
            return min((math.dist(spot, other) for other in [*others, *placed]), default=math.inf)

        best = next((shift for shift in apart if room(shift) >= 16), max(apart, key=room))
        placed.append((x + best[0], y + best[1]))
        shifts.append(best)
    return shifts
