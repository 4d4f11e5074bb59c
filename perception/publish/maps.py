"""What a map is: scales and classes, places and their state, where it is drawn; specifications are made in `views`.

Class cuts never hang on one wave: a share's four cuts stand in `SHARE_CUTS`, by the tens digit of the percentage in the
median district over all published waves of the instrument (forties: 30, 40, 50, 60 %); means have five classes of one
round width over the range of all those districts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
Kind = Literal["map", "bands", "change", "uncertainty"]
"""What a map shows of an indicator: its estimates, the bands of its ranking, its change, how uncertain it is."""

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
HATCHED = "hatched"
"""The fill of suppressed districts: lines on a ground."""
HATCH_GROUND, HATCH_LINE = "#f7f7f8", "#868e99"
INK, GREY, BORDER = "#1c2330", "#586070", "#868e99"
SIMULATED = "SIMULATED DATA"
SIMULATED_NOTE = "Simulated data: no person ever gave these answers. Do not cite as a finding."
PREVIEW_NOTE = "Preview boundaries, not for publication"
"""What every page says whose map is drawn on boundaries that nobody has cleared."""
INTERVAL = "95% interval"
MODELLED_NOTE = (
    "Districts: small-area estimates. Each rests on its own respondents and, the fewer they are, the more on what "
    "districts like it answered. Provinces: direct estimates."
)
CHANGE_NOTE = "Changes are of direct estimates, on the districts that both surveys share."


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

    @property
    def measured(self) -> str:
        """What stands behind a difference: ` points` of a share, the unit of a mean; nothing where it has none."""
        return " points" if self.kind == "share" else f" {self.unit}".rstrip()

    def cut(self, cut: float) -> str:
        """A cut as the legend shows it."""
        return f"{round(cut * 100, 6):g}%" if self.kind == "share" else f"{cut:g}"

    def class_of(self, value: float) -> int:
        """The class, 0 the lowest values; what the reader sees decides, so a shown 40.0% is never classed below 40%."""
        return bisect_right(self.cuts, round(value, self.decimals + 2 if self.kind == "share" else self.decimals))


@dataclass(frozen=True)
class Place:
    """One district of a map: its state, its class, what is said of it, whether it has a shape.

    `value` is what the map shows of it, `details` what else there is to know; a place without a number has neither.
    `reason` has codes of the publication rules where it is suppressed or read with caution, words where it has no data.
    """

    district_id: str
    name: str
    province: str
    state: State
    class_number: int | None = None
    value: str = ""
    details: tuple[str, ...] = ()
    reason: str = ""
    drawn: bool = True

    @property
    def note(self) -> str:
        """Why it is to be read with caution or not published, in words; empty otherwise."""
        return reason_words(self.reason) if self.state in ("caution", "suppressed") else ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Value, details and caution, or why there is no number, one after the other."""
        if self.state == "no_data":
            return (f"No data: {self.reason}",)
        if self.state == "suppressed":
            return (f"Not published: {self.note}",)
        caution = (f"Use with caution: {self.note}",) if self.state == "caution" else ()
        return (self.value, *self.details, *caution)

    @property
    def words(self) -> str:
        """The same in one line."""
        first, *rest = self.lines
        return f"{first} ({'; '.join(rest)})" if rest else first


@dataclass(frozen=True)
class MapClass:
    """A class of a map: its colour and what it holds."""

    colour: str
    label: str


@dataclass(frozen=True)
class MapSpec:
    """Everything a map of one wave and indicator says; all renderers draw from this and nothing else.

    `classes` run from the lowest values to the highest where there are `cuts` between them (with what the two `ends`
    mean), or are categories. `named` are the districts whose names an image must show, however small they are.
    """

    wave: str
    indicator: str
    kind: Kind
    vintage: str
    title: str
    subtitle: str
    measure: str
    summary: str
    asked: str
    simulated: bool
    classes: tuple[MapClass, ...]
    cuts: tuple[str, ...]
    ends: tuple[str, str]
    places: tuple[Place, ...]
    named: frozenset[str]
    notes: tuple[str, ...]
    source: str
    boundary: str

    def colour(self, place: Place) -> str:
        """Fill of a place."""
        if place.class_number is not None:
            return self.classes[place.class_number].colour
        return HATCHED if place.state == "suppressed" else NO_DATA

    def having(self, *states: State) -> list[Place]:
        """The places in one of the states that have a shape to draw."""
        return [place for place in self.places if place.drawn and place.state in states]


@dataclass(frozen=True)
class BaseMap:
    """The districts that a wave is drawn on: shapes and borders in degrees, and an equal-area projection.

    `provinces` are the ids of the provinces drawn; `points` holds one (longitude, latitude) inside each district.
    """

    geometry: Geometry
    shapes: gpd.GeoDataFrame
    borders: gpd.GeoDataFrame
    divisions: gpd.GeoDataFrame
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
        divisions=outlines(shapes, members, "division"),
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
    return Scale("mean", text(indicator["unit"]), cuts, decimals)


def newest_first(waves: pd.DataFrame) -> pd.DataFrame:
    """Rows of published_waves, the newest first."""
    return waves.sort_values(["last_day", "wave"], ascending=[False, True], ignore_index=True)


def scales(tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], Scale]:
    """The scale of every indicator in every wave, from published_waves, published_indicators and published_estimates.

    Of the estimates these are the rows that are shown; waves that somebody answered and simulated ones stand apart.
    """
    series = tables["published_waves"].set_index("wave")[["instrument", "simulated"]]
    shown = tables["published_estimates"]
    shown = shown[(shown["level"] == "district") & (shown["domain"] == "all") & (shown["quality"] != "suppress")]
    by_series = (
        shown[["wave", "indicator", "estimate"]]
        .join(series, on="wave")
        .groupby(["instrument", "simulated", "indicator"])["estimate"]
    )
    peers = dict(iter(by_series))
    none = pd.Series(dtype="float64")
    return {
        (row["wave"], row["indicator"]): scale(row, peers.get((*series.loc[row["wave"]], row["indicator"]), none))
        for row in records(tables["published_indicators"])
    }


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


def file_facts(title: str, description: str, source: str, simulated: bool) -> dict[str, str]:
    """What an image file says of itself; of simulated data first that they are."""
    facts = {"Title": title, "Description": description, "Source": source}
    if simulated:
        facts |= {"Title": f"{SIMULATED}: {title}", "Warning": f"{SIMULATED}. {SIMULATED_NOTE}"}
    return facts


def boundary_words(geometry: Geometry) -> str:
    """Where the boundaries come from, of which date they are, and what they do not imply."""
    from perception.geography import DISCLAIMER

    lead = PREVIEW_NOTE if geometry.preview else "Boundaries"
    source = geometry.source.rstrip(".")
    return f"{lead}: {source}, districts as of {geometry.vintage}. {DISCLAIMER.rstrip('.')}."


def shown_estimates(published: pd.DataFrame) -> pd.DataFrame:
    """`published_estimates` with one row a cell: the small-area estimate where it is published, else the direct one.

    Rankings are of small-area estimates, so that a map beside them shows the same numbers.
    """
    cell = ["wave", "indicator", "level", "unit_id", "domain"]
    modelled = (published["method"] == "small_area") & (published["quality"] != "suppress")
    place = pd.Series(1, index=published.index).mask(published["method"] == "small_area", 2).mask(modelled, 0)
    order = published.assign(first=place)
    return order.sort_values([*cell, "first"]).drop_duplicates(cell).drop(columns="first").reset_index(drop=True)


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as pandas' own `to_dict` gives them, which reads texts one by one and takes twice as long."""
    names = [str(name) for name in frame]
    columns = [[None if value is pd.NA else value for value in frame[name].astype("object").tolist()] for name in frame]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def text(value: object) -> str:
    """A text of a row, empty where it has none."""
    return value if isinstance(value, str) else ""


def is_published(row: Row) -> bool:
    """Whether a row of published_estimates or published_trends has a number."""
    return bool(row["quality"] != "suppress") and not pd.isna(row["low" if "change" in row else "estimate"])
