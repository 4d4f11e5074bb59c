"""What a district's page says: every indicator of each survey that was there, gaps, change, what goes with a gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from perception.publish import maps, words
from perception.publish.drawing import (
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
from perception.publish.rankings import (
    CAUTION,
    GRID,
    NO_CHANGE,
    ShownChange,
    Whisker,
    caution_note,
    shown_change,
    whisker,
)
from perception.publish.views import BAND_COLOURS, BANDS, Subject

_LABEL, _REASON = 12, 11.5
_PLOT_LEFT, _PLOT_RIGHT, _VALUE_END, _RANK_LEFT = 300, 480, 620, 640


@dataclass(frozen=True)
class Result:
    """An indicator in a district; `why` says why there is no number, or why it needs care.

    `unit` is empty where values are shares, `modelled` says whether the value is a small-area estimate.
    """

    indicator: str
    label: str
    headline: bool
    service: str
    value: str = ""
    unit: str = ""
    modelled: bool = False
    interval: str = ""
    n: str = ""
    province_value: str = ""
    whisker: Whisker | None = None
    province_at: float | None = None
    rank: str = ""
    band: str = ""
    change: ShownChange = NO_CHANGE
    why: str = ""


@dataclass(frozen=True)
class Profile:
    """A district in one wave: the message, results in the questionnaire's order, sentences on gaps and diagnosis.

    `untold_gaps` counts comparisons, between the groups of `untold_between`, of which the survey cannot tell a
    difference; `diagnoses` are (sentence, page of the model's weak districts); `respondents` the most that any
    published number rests on, empty where none is published; `since` the survey that changes are counted from.
    """

    wave: Row
    district_id: str
    name: str
    province: str
    message: str
    results: tuple[Result, ...]
    gaps: tuple[tuple[str, str], ...]
    untold_gaps: int
    untold_between: tuple[str, ...]
    diagnoses: tuple[tuple[str, str], ...]
    respondents: str
    since: str

    @property
    def headlines(self) -> list[Result]:
        """The results of the headline indicators."""
        return [result for result in self.results if result.headline]

    @property
    def by_service(self) -> dict[str, list[Result]]:
        """The results by what they are about."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.service, []).append(result)
        return found

    @property
    def card_notes(self) -> tuple[str, ...]:
        """How the numbers on its card were estimated, where that needs saying."""
        return (maps.MODELLED_NOTE,) if any(result.modelled for result in self.headlines) else ()

    @property
    def card(self) -> str:
        """Path of its card's files on the site, without the ending."""
        return f"{self.wave['wave']}/{self.district_id}-card"


def profile(
    subjects: Sequence[Subject],
    unit: Row,
    changes: Mapping[tuple[str, str], Row],
    gaps: Sequence[Row],
    diagnoses: Sequence[tuple[str, str]],
    since: str,
) -> Profile:
    """The profile of a district (`unit`, a row of `geography.vintage_units`) in the wave that `subjects` are of.

    `changes` has the row of published_trends by (indicator, district), which count from the survey called `since`;
    `gaps` are its rows of published_gaps.
    """
    district = str(unit["district_id"])
    own = [of for of in subjects if of.district(district) is not None]
    scales = {str(of.indicator["indicator"]): of for of in subjects}
    headline = [of for of in own if of.indicator["headline"] and district in of.rankings]
    labels = {name: str(of.indicator["label"]) for name, of in scales.items()}
    said = []
    untold = []
    for gap in gaps:
        if gap["indicator"] not in scales or gap["quality"] == "suppress":
            continue
        if gap["verdict"] in ("lower", "higher"):
            said.append((labels[gap["indicator"]], words.gap_sentence(gap, scales[gap["indicator"]].scale)))
        else:
            untold.append(gap["gap"])
    shown = [row for of in own if (row := of.district(district)) is not None and maps.is_published(row)]
    answers = [int(row["n"]) for row in shown if not pd.isna(row["n"])]
    return Profile(
        wave=own[0].wave,
        district_id=district,
        name=str(unit["name"]),
        province=str(unit["province"]),
        message=words.district_headline([of.rankings[district] for of in headline], labels, str(unit["name"])),
        results=tuple(result(of, unit, changes.get((str(of.indicator["indicator"]), district))) for of in own),
        gaps=tuple(said),
        untold_gaps=len(untold),
        untold_between=tuple(gap for gap in words.GROUPS if gap in untold),
        diagnoses=tuple(diagnoses),
        respondents=f"{max(answers):,}" if answers else "",
        since=since,
    )


def result(of: Subject, unit: Row, change: Row | None = None, ends: tuple[float, float] | None = None) -> Result:
    """What is published of an indicator in a district that it has an estimate of, on a strip between `ends`.

    `unit` is its row of `geography.vintage_units`. Without `ends` the strip holds the intervals of all its districts.
    """
    district = str(unit["district_id"])
    row = of.district(district) or {}
    service = maps.text(of.indicator["service_label"]) or "Other"
    about = (str(of.indicator["indicator"]), str(of.indicator["label"]), bool(of.indicator["headline"]), service)
    why = "" if row["quality"] == "publish" else maps.reason_words(maps.text(row["reason"]))
    if not maps.is_published(row):
        return Result(*about, why=f"Not published: {why}")
    province = of.estimates.get(("province", str(unit["province_id"])))
    told = province is not None and maps.is_published(province)
    start, end = (ends or of.ends)[:: 1 if of.higher_is_better else -1]
    rank = of.rankings.get(district)
    ranked = rank is not None and not pd.isna(rank["rank"])
    return Result(
        *about,
        value=of.scale.value(row["estimate"]),
        unit=of.scale.unit,
        modelled=row["method"] == "small_area",
        interval=of.scale.interval(row["low"], row["high"]),
        n=f"{int(row['n']):,}",
        province_value=of.scale.value(province["estimate"]) if told and province else "",
        whisker=whisker(row, start, end),
        province_at=round(100 * (province["estimate"] - start) / (end - start), 1)
        if told and province and start != end
        else None,
        rank=words.rank_words(int(rank["rank_low"]), int(rank["rank_high"]), int(rank["districts"]))
        if ranked and rank
        else "",
        band=maps.text(rank["band"]) if ranked and rank else "",
        change=shown_change(of, change),
        why=f"{CAUTION}{why}" if why else "",
    )


def card(of: Profile) -> Drawing:
    """A picture of the headline results of a district: estimates, intervals, answers, the province's, rank sets."""
    wave = of.wave
    simulated = bool(wave["simulated"])
    texts: list[Text] = []
    title, subtitle = f"{of.name}, {of.province}", f"{wave['title']}, {maps.dates(wave)}"
    y = write_heading(texts, title, subtitle, simulated)
    y = top = write(texts, y + 4, of.message, 14, INK) + 14
    marks: list[Shape] = []
    for x, words_, anchor in (
        ((_PLOT_LEFT + _PLOT_RIGHT) / 2, "worse to better, by its districts", "middle"),
        (_VALUE_END, f"{INTERVAL}", "end"),
        (_RANK_LEFT, "Rank in the province", "start"),
    ):
        marks.append(Text(x, y + 8, words_, 11, GREY, anchor=anchor))
    y += 14
    for result in of.headlines:
        y, drawn = _card_row(result, y)
        marks += drawn
    bottom, y = y, y + 8
    caution = caution_note(result.why for result in of.headlines)
    notes = [
        f"Dot: the district; line: its {INTERVAL}; upright line: the province. 1st is the worst rank; a set of "
        "ranks is held with a probability of 90%.",
        *([f"* {caution}."] if caution else []),
        *of.card_notes,
        maps.source_words(wave),
    ]
    y = write_notes(texts, y, notes, simulated)
    said = f"{subtitle}. {of.message} {notes[0]}"
    return Drawing(
        height=math.ceil(y + MARGIN - 12),
        groups=(Group(0, 0, (*marks, *texts)),),
        description=said,
        facts=maps.file_facts(title, said, notes[-1], simulated),
        simulated=simulated,
        middle=(WIDTH / 2, (top + bottom) / 2),
    )


def _card_row(result: Result, y: float) -> tuple[float, list[Shape]]:
    name = f"{result.label}, {result.unit}" if result.unit else result.label
    label = lines_of(name, _LABEL, _PLOT_LEFT - MARGIN - 20)
    why = [] if result.value else lines_of(result.why, _REASON, WIDTH - MARGIN - _PLOT_LEFT)
    height = max(len(label) * _LABEL * LINE_HEIGHT + 14, len(why) * _REASON * LINE_HEIGHT + 14, 38)
    middle = y + height / 2
    shapes: list[Shape] = [Line(MARGIN, y, WIDTH - MARGIN, y, GRID)]
    for lines, x, size, colour in ((label, MARGIN, _LABEL, INK), (why, _PLOT_LEFT, _REASON, GREY)):
        for number, line in enumerate(lines):
            top = middle + size * (0.36 + LINE_HEIGHT * (number - (len(lines) - 1) / 2))
            shapes.append(Text(x, round(top, 1), line, size, colour))
    if not result.value:
        return y + height, shapes
    if result.whisker:
        at, low, high = map(_on_plot, (result.whisker.at, result.whisker.low, result.whisker.high))
        if result.province_at is not None:
            province = _on_plot(result.province_at)
            shapes.append(Line(province, middle - 9, province, middle + 9, GREY, 1.6))
        shapes.append(Line(low, middle, high, middle, INK, 1.8))
        shapes.append(Dot(at, middle, 5, BAND_COLOURS.get(result.band, "#ffffff")))
    value = f"{result.value}*" if result.why else result.value
    shapes.append(Text(_VALUE_END - 84, middle - 2, value, _LABEL, INK, True, "end"))
    shapes.append(Text(_VALUE_END, middle - 2, result.interval, 11.5, GREY, anchor="end"))
    shapes.append(Text(_VALUE_END, middle + 13, f"{result.n} respondents", 11, GREY, anchor="end"))
    if result.rank:
        shapes.append(Text(_RANK_LEFT, middle - 2, result.rank, 11, INK))
        shapes.append(Text(_RANK_LEFT, middle + 13, BANDS[result.band][0] if result.band else "", 11.5, GREY))
    return y + height, shapes


def _on_plot(part: float) -> float:
    return round(_PLOT_LEFT + part / 100 * (_PLOT_RIGHT - _PLOT_LEFT), 1)
