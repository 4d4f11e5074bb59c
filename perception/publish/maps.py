"""What a map says: classes, colours, values in words, notes; made from published tables only, drawn elsewhere.

Class cuts never hang on one wave: a share's four cuts stand in `SHARE_CUTS`, by the tens digit of the percentage in the
median district over all published waves of the instrument (forties: 30, 40, 50, 60 %); means have five classes of one
round width over the range of all those districts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from perception.estimation.publication import REASONS
from perception.schemas import PROPORTIONS

if TYPE_CHECKING:
    import geopandas as gpd

    from perception.geography import Geometry

Row = dict[str, Any]
State = Literal["published", "caution", "suppressed", "no_data"]
STATES: tuple[State, ...] = get_args(State)

PALETTE = ("#fdeccb", "#f9bf7c", "#e8825a", "#b23f5c", "#5c1a52")
"""Five steps from light (better) to dark (worse); neighbours differ in lightness for every kind of colour vision."""
SHARE_CUTS = (
    (0.02, 0.05, 0.1, 0.2),
    (0.05, 0.1, 0.2, 0.3),
    (0.1, 0.2, 0.3, 0.4),
    (0.2, 0.3, 0.4, 0.5),
    (0.3, 0.4, 0.5, 0.6),
    (0.4, 0.5, 0.6, 0.7),
    (0.5, 0.6, 0.7, 0.8),
    (0.6, 0.7, 0.8, 0.9),
    (0.7, 0.8, 0.9, 0.95),
    (0.8, 0.9, 0.95, 0.98),
)
"""The four cuts for a median district below 10 %, below 20 % ... below 100 %."""
NO_DATA = "#c9ced4"
HATCH_GROUND, HATCH_LINE = "#f7f7f8", "#868e99"
INK, GREY, BORDER = "#1c2330", "#586070", "#868e99"
SIMULATED = "SIMULATED DATA"
SIMULATED_NOTE = "Simulated data: no person ever gave these answers. Do not cite as a finding."
PREVIEW_NOTE = "Generalised preview boundaries, not for publication."
INTERVAL = "95% interval"


@dataclass(frozen=True)
class Scale:
    """How an indicator's values are written and classed: kind, unit of a mean, the four cuts, decimals on screen."""

    kind: str
    unit: str
    cuts: tuple[float, ...]
    decimals: int

    def number(self, value: float) -> str:
        """A value without its sign or unit, in percent for a share."""
        return f"{value * 100:.{self.decimals}f}" if self.kind == "share" else f"{value:.{self.decimals}f}"

    def value(self, value: float) -> str:
        """A value as shown to a reader."""
        return f"{self.number(value)}%" if self.kind == "share" else self.number(value)

    def interval(self, low: float, high: float) -> str:
        """An interval as shown to a reader; empty when an end is not known."""
        if math.isnan(low) or math.isnan(high):
            return ""
        return f"{self.number(low)}–{self.number(high)}" if low >= 0 else f"{self.number(low)} to {self.number(high)}"

    def cut(self, cut: float) -> str:
        """A cut as the legend shows it."""
        return f"{round(cut * 100, 6):g}%" if self.kind == "share" else f"{cut:g}"

    def class_of(self, value: float) -> int:
        """The class, 0 the lowest values; what the reader sees decides, so a shown 40.0% is never classed below 40%."""
        return bisect_right(self.cuts, round(value, self.decimals + 2 if self.kind == "share" else self.decimals))


@dataclass(frozen=True)
class Place:
    """One district of a map: its state, its class (0 = lowest values), what is said of it, whether it has a shape."""

    district_id: str
    name: str
    province: str
    state: State
    class_number: int | None = None
    value: str = ""
    interval: str = ""
    n: str = ""
    reason: str = ""
    drawn: bool = True

    @property
    def note(self) -> str:
        """Why it is to be read with caution or not published, in words; empty otherwise."""
        return reason_words(self.reason) if self.state in ("caution", "suppressed") else ""

    @property
    def words(self) -> str:
        """Value with its uncertainty, or why there is none."""
        if self.state == "no_data":
            return "No data: not covered by this survey"
        if self.state == "suppressed":
            return f"Not published: {self.note}"
        interval = f"{INTERVAL} {self.interval}" if self.interval else f"{INTERVAL} not available"
        caution = f". Use with caution: {self.note}" if self.state == "caution" else ""
        return f"{self.value} ({interval}; {self.n} respondents){caution}"


@dataclass(frozen=True)
class MapSpec:
    """Everything a map of one wave and indicator says; both renderers draw from this and nothing else."""

    wave: str
    indicator: str
    vintage: str
    title: str
    subtitle: str
    measure: str
    summary: str
    asked: str
    simulated: bool
    higher_is_better: bool
    scale: Scale
    places: tuple[Place, ...]
    notes: tuple[str, ...]
    source: str
    boundary: str

    @property
    def colours(self) -> tuple[str, ...]:
        """Colour of each class from the lowest values to the highest: darker is worse."""
        return PALETTE[::-1] if self.higher_is_better else PALETTE

    @property
    def ends(self) -> tuple[str, str]:
        """What the low and the high end of the legend mean."""
        return ("worse", "better") if self.higher_is_better else ("better", "worse")

    def colour(self, place: Place) -> str:
        """Fill of a place; suppressed places get the ground that the hatching is drawn on."""
        if place.class_number is not None:
            return self.colours[place.class_number]
        return HATCH_GROUND if place.state == "suppressed" else NO_DATA

    def having(self, *states: State) -> list[Place]:
        """The places in one of the states that have a shape to draw."""
        return [place for place in self.places if place.drawn and place.state in states]


@dataclass(frozen=True)
class BaseMap:
    """The districts that a wave is drawn on: shapes and province borders in degrees, and an equal-area projection.

    `provinces` are the ids of the provinces drawn; `points` holds one (longitude, latitude) inside each district.
    """

    geometry: Geometry
    shapes: gpd.GeoDataFrame
    borders: gpd.GeoDataFrame
    provinces: tuple[str, ...]
    points: Mapping[str, tuple[float, float]]
    meridian: float
    parallels: tuple[float, float]


def base_map(geometry: Geometry, units: pd.DataFrame, provinces: Collection[str]) -> BaseMap:
    """The districts of `provinces` (ids) out of a vintage's geometry; `units` as `geography.vintage_units` gives them.

    The parallels of the Albers projection stand a sixth of the height from either end (Snyder 1987, p. 99).
    """
    from perception.geography import outlines

    members = units[units["province_id"].isin(list(provinces))]
    shapes = geometry.shapes[geometry.shapes["district_id"].isin(members["district_id"])].reset_index(drop=True)
    west, south, east, north = shapes.total_bounds
    inside = shapes.geometry.representative_point()
    return BaseMap(
        geometry=geometry,
        shapes=shapes,
        borders=outlines(shapes, members, "province"),
        provinces=tuple(sorted(provinces)),
        points={str(key): (x, y) for key, x, y in zip(shapes["district_id"], inside.x, inside.y, strict=True)},
        meridian=round((west + east) / 2, 2),
        parallels=(round(south + (north - south) / 6, 2), round(north - (north - south) / 6, 2)),
    )


def share_cuts(median: float) -> tuple[float, ...]:
    """The four cuts for a share whose median district is at `median` (0..1)."""
    return SHARE_CUTS[min(int(median * 10), 9)]


def mean_cuts(low: float, high: float) -> tuple[float, ...]:
    """The four cuts of the narrowest five classes, 1, 2 or 5 times a power of ten wide, that hold both ends."""
    span = max(high - low, max(abs(low), abs(high), 1.0) / 100)
    exponent = math.floor(math.log10(span / 5))
    for width in (digit * 10.0**power for power in (exponent, exponent + 1) for digit in (1, 2, 5)):
        start = math.floor(low / width + 1e-9)
        if (start + 5) * width >= high - 1e-9 * width:
            return tuple(round((start + step) * width, 10) for step in (1, 2, 3, 4))
    raise AssertionError("unreachable: a width of ten times the span holds both ends")


def scale(indicator: Row, peers: pd.Series) -> Scale:
    """The scale of an indicator; `peers` are its published district estimates in every wave of the same instrument."""
    peers = peers.dropna()
    if indicator["kind"] in PROPORTIONS:
        return Scale("share", "", share_cuts(float(peers.median()) if len(peers) else 0.5), 1)
    cuts = mean_cuts(float(peers.min()), float(peers.max())) if len(peers) else mean_cuts(0, 1)
    decimals = max(1, 1 + math.ceil(-math.log10(cuts[1] - cuts[0]) - 1e-9))
    return Scale("mean", _text(indicator["unit"]), cuts, decimals)


def _measure(kind: str, rule: Scale) -> str:
    """What the numbers of a map are; which quantile, its title says."""
    if kind == "share":
        return "Share in percent"
    if kind == "index":
        return "Weighted mean of shares in percent"
    if kind == "quantile":
        return f"In {rule.unit}" if rule.unit else "Value"
    return "Mean" + (f", {rule.unit}" if rule.unit else "")


def reason_words(reason: str) -> str:
    """The reason codes of a published row (joined by semicolons) as a reader meets them; never blank."""
    words = dict.fromkeys(REASONS.get(code, code.replace("_", " ")) for code in reason.split(";") if code)
    return ", ".join(words) or "no reason recorded"


def dates(wave: Row) -> str:
    """Days of fieldwork as a reader writes them."""
    first, last = (date.fromisoformat(str(wave[name])) for name in ("first_day", "last_day"))
    return f"{first.day} {first:%b %Y} – {last.day} {last:%b %Y}" if first != last else f"{first.day} {first:%b %Y}"


def source_words(wave: Row) -> str:
    """How to cite a wave, and under which terms it may be used."""
    return f"Source: {wave['citation']}".rstrip(".") + f". Licence: {wave['licence']}".rstrip(".") + "."


MODELLED_NOTE = (
    "Districts: small-area estimates. Each rests on its own respondents and, the fewer they are, the more on what "
    "districts like it answered. Provinces: direct estimates."
)


def boundary_words(geometry: Geometry) -> str:
    """Where the boundaries come from, of which date they are, and what they do not imply."""
    from perception.geography import DISCLAIMER

    parts = [
        f"Boundaries: {geometry.source.rstrip('.')}, districts as of {geometry.vintage}.",
        DISCLAIMER.rstrip(".") + ".",
    ]
    return " ".join([PREVIEW_NOTE, *parts] if geometry.preview else parts)


def shown_estimates(published: pd.DataFrame) -> pd.DataFrame:
    """`published_estimates` with one row a cell: the small-area estimate where it is published, else the direct one.

    Rankings are of small-area estimates, so that a map beside them shows the same numbers.
    """
    cell = ["wave", "indicator", "level", "unit_id", "domain"]
    modelled = (published["method"] == "small_area") & (published["quality"] != "suppress")
    place = pd.Series(1, index=published.index).mask(published["method"] == "small_area", 2).mask(modelled, 0)
    order = published.assign(first=place)
    return order.sort_values([*cell, "first"]).drop_duplicates(cell).drop(columns="first").reset_index(drop=True)


def map_spec(
    wave: Row, indicator: Row, estimates: pd.DataFrame, peers: pd.Series, units: pd.DataFrame, base: BaseMap
) -> MapSpec:
    """The map of one wave and indicator.

    `wave` and `indicator` are rows of published_waves and published_indicators, `estimates` their rows of
    published_estimates for domain `all`, `peers` as for `scale`, `units` the vintage's districts, `base` where the
    wave is drawn.
    """
    rule = scale(indicator, peers)
    rows = {row["unit_id"]: row for row in records(estimates[estimates["level"] == "district"])}
    covered = units[units["province_id"].isin(base.provinces)].sort_values(["province", "name"])
    places = tuple(
        replace(_place(unit, rows.get(unit["district_id"]), rule), drawn=unit["district_id"] in base.points)
        for unit in records(covered)
    )
    provinces = dict(zip(covered["province_id"], covered["province"], strict=True))
    summary = [
        f"{provinces[row['unit_id']]}: {rule.value(row['estimate'])} {rule.unit + ' ' if rule.unit else ''}"
        f"({INTERVAL} {rule.interval(row['low'], row['high'])})"
        for row in records(estimates[estimates["level"] == "province"])
        if row["unit_id"] in provinces and _published(row)
    ]
    return MapSpec(
        wave=str(wave["wave"]),
        indicator=str(indicator["indicator"]),
        vintage=base.geometry.vintage,
        title=str(indicator["label"]),
        subtitle=f"{wave['title']}, {dates(wave)}",
        measure=_measure(str(indicator["kind"]), rule),
        summary=" · ".join(summary),
        asked=f"Asked of: {indicator['population']}. Question: {indicator['question']}",
        simulated=bool(wave["simulated"]),
        higher_is_better=bool(indicator["higher_is_better"]),
        scale=rule,
        places=places,
        notes=_notes(places, list(rows.values()), rule),
        source=source_words(wave),
        boundary=boundary_words(base.geometry),
    )


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _published(row: Row) -> bool:
    return row["quality"] != "suppress" and not pd.isna(row["estimate"])


def _place(unit: Row, row: Row | None, rule: Scale) -> Place:
    who = (unit["district_id"], unit["name"], unit["province"])
    if row is None:
        return Place(*who, "no_data")
    if not _published(row):
        return Place(*who, "suppressed", reason=_text(row["reason"]))
    return Place(
        *who,
        state="caution" if row["quality"] == "caution" else "published",
        class_number=rule.class_of(row["estimate"]),
        value=rule.value(row["estimate"]),
        interval=rule.interval(row["low"], row["high"]),
        n=f"{int(row['n']):,}",
        reason=_text(row["reason"]),
    )


def _notes(places: tuple[Place, ...], rows: list[Row], rule: Scale) -> tuple[str, ...]:
    """Footnotes: how wide the intervals are, what is withheld, read with caution or not there, and why."""
    notes = []
    widths = pd.Series([(row["high"] - row["low"]) / 2 for row in rows if _published(row)], dtype=float).dropna()
    if len(widths):
        margin = rule.number(float(widths.median())) + (" points" if rule.kind == "share" else "")
        notes.append(
            f"A typical district estimate is uncertain by ±{margin} ({INTERVAL}); neighbouring classes may not differ."
        )
    if any(row["method"] == "small_area" for row in rows if _published(row)):
        notes.append(MODELLED_NOTE)
    for state, text in (
        (
            "suppressed",
            "Hatched: {k} of {all} districts not published, because the sample does not carry a number ({why}).",
        ),
        ("caution", "* Use with caution: {k} of {all} districts ({why})."),
        ("no_data", "Grey: {k} of {all} districts not covered by this survey."),
    ):
        found = [place for place in places if place.state == state]
        if found:
            reasons = Counter(reason_words(place.reason.split(";")[0]) for place in found)
            why = "; ".join(
                f"{reason}: {count}" if len(reasons) > 1 else reason for reason, count in reasons.most_common()
            )
            notes.append(text.format(k=len(found), all=len(places), why=why))
    if undrawn := [place.name for place in places if not place.drawn]:
        notes.append(f"Not drawn, because the boundary file has no shape for them: {', '.join(undrawn)}.")
    return tuple(notes)
