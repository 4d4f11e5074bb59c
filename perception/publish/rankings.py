"""The ranking of an indicator: districts grouped by band, each with its rank set, as tables and as a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from perception.publish import maps
from perception.publish.drawing import (
    INNER,
    LINE_HEIGHT,
    MARGIN,
    WIDTH,
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
from perception.publish.maps import GREY, INK, INTERVAL, Row
from perception.publish.views import BAND_COLOURS, BANDS, VERDICTS, Subject, asked, signed, strip_ends
from perception.publish.words import change_verdict, rank_range, rank_words

OVERLAP = (
    "Each district has a set of ranks that it holds with a probability of 90%; 1st is the worst. Where the rank sets "
    "of two districts overlap, the survey may not tell them apart, and inside a band the order is uncertain."
)
CAUTION = "Use with caution: "
GRID = "#d9dde3"
_LABEL = 11.5
_ROW = 19
_PLOT_LEFT, _PLOT_RIGHT, _VALUE_END, _N_END, _RANK_LEFT = 190, 425, 555, 610, 625


@dataclass(frozen=True)
class Whisker:
    """A value and its interval on a strip that runs from 0 to 100."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class ShownChange:
    """A change since the survey before as a table shows it; `why` says why there is no number, or why it needs care.

    `value` is what a table is sorted by.
    """

    number: str = ""
    value: float = math.nan
    interval: str = ""
    verdict: str = ""
    why: str = ""


NO_CHANGE = ShownChange()


@dataclass(frozen=True)
class RankRow:
    """A district in a table: its rank set, value and band in words; `why` when there is no number or it needs care.

    `order` and `estimate` are what a table is sorted by. `province` is empty where the whole table is of one province,
    `by_weights` (its ranks under other weights) where the indicator is no index, `diagnosis` (where it is told what
    goes with its gap) where it is not weak.
    """

    district_id: str
    name: str
    province: str
    rank: str = ""
    order: float = math.nan
    value: str = ""
    estimate: float = math.nan
    interval: str = ""
    n: str = ""
    band: str = ""
    whisker: Whisker | None = None
    why: str = ""
    by_weights: str = ""
    diagnosis: str = ""
    change: ShownChange = NO_CHANGE


@dataclass(frozen=True)
class Ranking:
    """A ranking: among whom, its rows worst first inside each band with the unranked at the end, the ends of the strip.

    `ends` are the values at which the strip starts and ends, `strip` these in words; `own` says whether it is of one
    province of the wave, and not of a round.
    """

    among: str
    own: bool
    rows: tuple[RankRow, ...]
    ends: tuple[float, float]
    strip: tuple[str, str]

    @property
    def groups(self) -> list[tuple[str, list[RankRow]]]:
        """The rows by band; the unranked have none."""
        return [(band, list(rows)) for band, rows in groupby(self.rows, key=lambda row: row.band)]


def rankings(
    of: Subject,
    rows: Iterable[Row],
    places: Mapping[str, Row],
    diagnoses: Mapping[tuple[str, str], str],
    changes: Mapping[tuple[str, str], Row],
) -> list[Ranking]:
    """The rankings of an indicator: one per province, then the round where that is another set of districts.

    `rows` are the district_rankings of the indicator for the wave and, in scope `round`, for the waves ranked with it,
    with weights_low and weights_high, the ranks under other weights (null where the indicator is no index);
    `places` has name, province and province_id of every district in them; `diagnoses` says where that of
    (wave, district_id) is, `changes` has the row of published_trends of (wave, district_id).
    """
    by_province: dict[str, list[Row]] = {}
    together: list[Row] = []
    for row in rows:
        place, link = places[row["district_id"]], diagnoses.get((row["wave"], row["district_id"]), "")
        placed = {**row, "name": place["name"], "province": place["province"], "diagnosis": link}
        if row["scope"] == "round":
            together.append(placed)
        elif row["wave"] == of.wave["wave"]:
            by_province.setdefault(place["province"], []).append(placed)
    found = [_ranking(of, province, True, group, changes) for province, group in sorted(by_province.items())]
    own = {row["district_id"] for group in by_province.values() for row in group}
    if {row["district_id"] for row in together} != own or len(found) > 1:
        found.append(_ranking(of, "All districts surveyed in this round", False, together, changes))
    return found


def _ranking(
    of: Subject, among: str, own: bool, rows: Sequence[Row], changes: Mapping[tuple[str, str], Row]
) -> Ranking:
    ends = strip_ends(rows, of.scale)
    mixed = len({row["province"] for row in rows}) > 1
    places = {band: number for number, band in enumerate(BANDS)}

    def order(row: Row) -> tuple[int, float, str]:
        rank: float = math.inf if pd.isna(row["rank"]) else float(row["rank"])
        return places.get(row["band"], len(places)), rank, row["name"]

    return Ranking(
        among=among,
        own=own,
        rows=tuple(
            _rank_row(of, row, row["province"] if mixed else "", ends, changes) for row in sorted(rows, key=order)
        ),
        ends=ends,
        strip=(of.scale.cut(ends[0]), of.scale.cut(ends[1])),
    )


def _rank_row(
    of: Subject, row: Row, province: str, ends: tuple[float, float], changes: Mapping[tuple[str, str], Row]
) -> RankRow:
    who = (row["district_id"], row["name"], province)
    if row["quality"] == "suppress" or pd.isna(row["rank"]):
        return RankRow(*who, why=f"Not {'published' if row['quality'] == 'suppress' else 'ranked'}: {_why(row)}")
    return RankRow(
        *who,
        rank=rank_words(int(row["rank_low"]), int(row["rank_high"]), int(row["districts"])),
        order=float(row["rank_expected"]),
        **_in_words(of, row),
        band=maps.text(row["band"]),
        whisker=whisker(row, *ends),
        diagnosis=row["diagnosis"] if row["band"] in ("low", "watch") else "",
        by_weights="" if pd.isna(row["weights_low"]) else rank_range(int(row["weights_low"]), int(row["weights_high"])),
        change=shown_change(of, changes.get((row["wave"], row["district_id"]))),
    )


def _why(row: Row) -> str:
    """Why a published row is withheld or needs care; empty where it does not."""
    return "" if row["quality"] == "publish" else maps.reason_words(maps.text(row["reason"]))


def _in_words(of: Subject, row: Row) -> dict[str, Any]:
    """What a `RankRow` says of an estimate that is published."""
    return {
        "value": of.scale.value(row["estimate"]),
        "estimate": float(row["estimate"]),
        "interval": of.scale.interval(row["low"], row["high"]),
        "n": f"{int(row['n']):,}",
        "why": f"{CAUTION}{_why(row)}" if _why(row) else "",
    }


def shown_change(of: Subject, change: Row | None) -> ShownChange:
    """A row of published_trends as a table shows it; None where the survey before has nothing to compare with."""
    if change is None:
        return ShownChange(why="Not comparable: the survey before has no such result for this district")
    if "not_comparable" in (change["verdict"], change["reason"]):
        return ShownChange(why=f"Not comparable: {maps.text(change['note']) or 'the two surveys differ'}")
    if not maps.is_published(change):
        return ShownChange(why=f"Not published: {_why(change)}")
    return ShownChange(
        number=signed(of.scale, change["change"]),
        value=float(change["change"]),
        interval=f"{signed(of.scale, change['low'])} to {signed(of.scale, change['high'])}",
        verdict=VERDICTS[change_verdict(change, of.scale, of.higher_is_better)][0],
        why=f"{CAUTION}{_why(change)}" if _why(change) else "",
    )


def estimate_rows(of: Subject, changes: Mapping[str, Row]) -> list[RankRow]:
    """The districts surveyed by name, without ranks; `changes` has by district its row of published_trends."""

    def shown(unit: Row, row: Row) -> RankRow:
        who = (unit["district_id"], unit["name"], "")
        if not maps.is_published(row):
            return RankRow(*who, why=f"Not published: {_why(row)}")
        return RankRow(*who, **_in_words(of, row), change=shown_change(of, changes.get(unit["district_id"])))

    by_name = sorted(of.districts, key=lambda unit: str(unit["name"]))
    surveyed = ((unit, of.district(unit["district_id"])) for unit in by_name)
    return [shown(unit, row) for unit, row in surveyed if row is not None]


def caution_note(whys: Iterable[str]) -> str:
    """What a star beside numbers means: every reason in `whys` for reading one with caution; empty without any."""
    told = [why.removeprefix(CAUTION).split(", ") for why in whys if why.startswith(CAUTION)]
    return CAUTION + ", ".join(dict.fromkeys(reason for reasons in told for reason in reasons)) if told else ""


def whisker(row: Row, start: float, end: float) -> Whisker | None:
    """The estimate and interval of a row on a strip from `start` to `end` (which may be turned round)."""
    if any(pd.isna(row[name]) for name in ("estimate", "low", "high")) or end == start:
        return None
    at, *sides = (round(100 * (row[name] - start) / (end - start), 1) for name in ("estimate", "low", "high"))
    return Whisker(at, min(sides), max(sides))


def drawing(of: Subject, tables: Sequence[Ranking], headline: str) -> Drawing:
    """The rankings as dots and intervals, one below the other, with title, notes and source."""
    texts: list[Text] = []
    title = f"{of.indicator['label']}: ranking"
    subtitle = f"{of.wave['title']}, {maps.dates(of.wave)}"
    y = write_heading(texts, title, subtitle, of.simulated)
    if headline:
        y = write(texts, y + 4, headline, 14, INK)
    shapes: list[Shape] = []
    top = y
    for table in tables:
        y, drawn = _table(table, y + 26)
        shapes += drawn
    bottom, y = y, y + 8
    caution = caution_note(row.why for table in tables for row in table.rows)
    parts = " Respondents: to the part of the index that has fewest." if of.indicator["kind"] == "index" else ""
    notes = [
        f"Dot: estimate. Line: {INTERVAL}. Number: estimate and interval.{parts}",
        OVERLAP,
        *([f"* {caution}."] if caution else []),
        maps.MODELLED_NOTE,
        asked(of),
        maps.source_words(of.wave),
    ]
    y = write_notes(texts, y, notes, of.simulated)
    said = " ".join([subtitle + ".", headline, *notes[:-1]])
    return Drawing(
        height=math.ceil(y + MARGIN - 12),
        groups=(Group(0, 0, (*shapes, *texts)),),
        description=said,
        facts=maps.file_facts(title, said, notes[-1], of.simulated),
        simulated=of.simulated,
        middle=(WIDTH / 2, (top + bottom) / 2),
    )


def _table(table: Ranking, y: float) -> tuple[float, list[Shape]]:
    marks: list[Shape] = [Text(MARGIN, y, table.among, 13, INK, bold=True)]
    y += 18
    for words, x, anchor in ((table.strip[0], _PLOT_LEFT, "middle"), (table.strip[1], _PLOT_RIGHT, "middle")):
        marks.append(Text(x, y, words, 11, GREY, anchor=anchor))
    marks.append(Text(_N_END, y, "Respondents", 11, GREY, anchor="end"))
    marks.append(Text(_RANK_LEFT, y, "Ranks it may hold", 11, GREY))
    top = y = y + 4
    for band, rows in table.groups:
        name = BANDS[band][0] if band else "Not ranked"
        y += 22
        marks.append(Text(MARGIN, y, f"{name} ({len(rows)})", 11.5, INK, bold=True))
        y += 6
        if not band:
            y, listed = _unranked(rows, y)
            marks += listed
            continue
        for row in rows:
            marks += _row(row, y + _ROW / 2)
            y += _ROW
    grid = [Line(x, top, x, y, GRID) for x in (_PLOT_LEFT, _PLOT_RIGHT)]
    return y, [*grid, *marks]


def _row(row: RankRow, y: float) -> Iterable[Shape]:
    base = y + 4
    name = f"{row.name} ({row.province})" if row.province else row.name
    label = lines_of(name, _LABEL, _PLOT_LEFT - MARGIN - 20)[0]
    yield Text(MARGIN, base, f"{label}{'*' if row.why else ''}", _LABEL, INK)
    if row.whisker:
        at, low, high = (
            round(_PLOT_LEFT + part / 100 * (_PLOT_RIGHT - _PLOT_LEFT), 1)
            for part in (row.whisker.at, row.whisker.low, row.whisker.high)
        )
        yield Line(low, y, high, y, GREY, 1.6)
        yield Dot(at, y, 4.5, BAND_COLOURS[row.band])
    yield Text(_VALUE_END - 78, base, row.value, _LABEL, INK, True, "end")
    yield Text(_VALUE_END, base, row.interval, 11, GREY, anchor="end")
    yield Text(_N_END, base, row.n, 11, GREY, anchor="end")
    yield Text(_RANK_LEFT, base, row.rank, 11, INK)


def _unranked(rows: Sequence[RankRow], y: float) -> tuple[float, list[Shape]]:
    shapes: list[Shape] = []
    for line in lines_of("; ".join(f"{row.name}: {row.why}" for row in rows), 11, INNER):
        y += 11 * LINE_HEIGHT
        shapes.append(Text(MARGIN, round(y, 1), line, 11))
    return y + 4, shapes
