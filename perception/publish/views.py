"""The maps of an indicator in a wave, from published tables: estimates, bands, change, uncertainty; drawn elsewhere."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from perception.publish import maps
from perception.publish.maps import INTERVAL, BaseMap, Kind, MapClass, MapSpec, Place, Row, Scale, is_published
from perception.publish.words import (
    BAND_NAMES,
    Topic,
    answered_words,
    change_verdict,
    doubt_words,
    rank_words,
    respondent_words,
)

_BAND_MEANINGS = {
    "low": "among the worst-placed 15% (at most ten districts) with a probability of 80% or more",
    "watch": "among the worst-placed 15% with a probability of 50% to 80%",
    "not_distinguishable": "not clearly among the worst-placed or the best-placed 15%",
    "high": "among the best-placed 15% with a probability of 80% or more",
}
BANDS = {band: (BAND_NAMES[band], meaning) for band, meaning in _BAND_MEANINGS.items()}
"""Each band of a ranking as a reader meets it, and what it means."""
VERDICTS = {
    "worse": ("Worse", "changed for the worse"),
    "cannot_tell": ("Cannot tell", "the survey cannot tell whether it changed"),
    "better": ("Better", "changed for the better"),
}
"""Each verdict on a change as a reader meets it, and what it means."""
BAND_COLOURS = {"low": "#5c1a52", "watch": "#e8825a", "not_distinguishable": "#f6ead0", "high": "#3f8f86"}
VERDICT_COLOURS = {"worse": "#b23f5c", "cannot_tell": "#f6ead0", "better": "#3f8f86"}
DOUBT = ("#eef3fa", "#c9d9ee", "#93b3d9", "#5380b5", "#234b7d")
"""Five steps from certain to uncertain, in another hue than estimates have."""
SHARE_MARGINS = (0.025, 0.05, 0.075, 0.1)
"""The four cuts for half the width of a share's interval; means have quarters of the width of their classes."""
NOT_COVERED = "not covered by this survey"


@dataclass(frozen=True)
class Subject:
    """An indicator of a wave with its published rows: what all its maps are made from.

    `wave` and `indicator` are rows of published_waves and published_indicators; `estimates` has, by level and unit, the
    rows of published_estimates that are shown (domain `all`); `rankings` by district its row of district_rankings in
    its province; `districts` the rows of `geography.vintage_units` of the wave's vintage, by province and name.
    """

    wave: Row
    indicator: Row
    scale: Scale
    estimates: Mapping[tuple[str, str], Row]
    rankings: Mapping[str, Row]
    districts: Sequence[Row]

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are the better ones."""
        return bool(self.indicator["higher_is_better"])

    @property
    def simulated(self) -> bool:
        """Whether nobody gave these answers."""
        return bool(self.wave["simulated"])

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Where a strip starts and ends that holds the intervals of all its districts."""
        return strip_ends([row for (level, _), row in self.estimates.items() if level == "district"], self.scale)

    @property
    def ranked(self) -> bool:
        """Whether any district has a place in the ranking of its province."""
        return any(isinstance(row["band"], str) for row in self.rankings.values())

    def district(self, district_id: str) -> Row | None:
        """The estimate of a district."""
        return self.estimates.get(("district", district_id))


def subject(
    wave: Row,
    indicator: Row,
    scale: Scale,
    estimates: Iterable[Row],
    rankings: Iterable[Row],
    districts: Sequence[Row],
) -> Subject:
    """An indicator of a wave; `estimates` (domain `all`) and `rankings` are its rows."""
    return Subject(
        wave=wave,
        indicator=indicator,
        scale=scale,
        estimates={(row["level"], row["unit_id"]): row for row in estimates},
        rankings={row["district_id"]: row for row in rankings if row["scope"] == "province"},
        districts=districts,
    )


def strip_ends(rows: Iterable[Row], scale: Scale) -> tuple[float, float]:
    """Round values between which all estimates and intervals of `rows` lie; 0 and 1 without any."""
    shown = [row[name] for row in rows for name in ("estimate", "low", "high") if not pd.isna(row[name])]
    if not shown:
        return 0.0, 1.0
    step = 0.1 if scale.kind == "share" else scale.cuts[1] - scale.cuts[0]
    return round((min(shown) // step) * step, 9), round(-(-max(shown) // step) * step, 9)


def estimate_map(of: Subject, base: BaseMap) -> MapSpec:
    """The map of the estimates."""

    def show(unit: Row, row: Row) -> Place:
        number, value = of.scale.class_of(row["estimate"]), of.scale.value(row["estimate"])
        return _known(unit, row, number, value, estimate_details(of, unit["district_id"], row))

    palette = maps.PALETTE[::-1] if of.higher_is_better else maps.PALETTE
    cuts = tuple(map(of.scale.cut, of.scale.cuts))
    places = _places(of, base, show)
    rows = _shown_rows(of, places)
    return _spec(
        of,
        base,
        "map",
        title=str(of.indicator["label"]),
        measure=f"{measure(of)}: darker is worse",
        classes=_ranges(palette, cuts),
        cuts=cuts,
        ends=("worse", "better") if of.higher_is_better else ("better", "worse"),
        places=places,
        named=_told_apart(of),
        notes=[*filter(None, [doubt_words(rows, of.scale)]), *_method_notes(rows), *_state_notes(places)],
    )


def band_map(of: Subject, base: BaseMap) -> MapSpec:
    """The map of the bands of the ranking in each province."""
    order = list(BANDS)

    def show(unit: Row, row: Row) -> Place:
        rank = of.rankings.get(unit["district_id"])
        if rank is None or not isinstance(rank["band"], str):
            return _unknown(unit, "not ranked")
        details = (of.scale.value(row["estimate"]), *estimate_details(of, unit["district_id"], row))
        return _known(unit, row, order.index(rank["band"]), BANDS[rank["band"]][0], details)

    places = _places(of, base, show)
    meanings = [f"{name}: {meaning}." for name, meaning in BANDS.values()]
    return _spec(
        of,
        base,
        "bands",
        title=f"{of.indicator['label']}: which districts can be told apart",
        measure="Band in the ranking of the province",
        classes=tuple(MapClass(BAND_COLOURS[band], BANDS[band][0]) for band in order),
        places=places,
        named=_told_apart(of),
        notes=[" ".join(meanings), *_method_notes(_shown_rows(of, places)), *_state_notes(places)],
    )


def uncertainty_map(of: Subject, base: BaseMap) -> MapSpec:
    """The map of how uncertain the estimates are: half the width of their 95 % intervals."""
    share = of.scale.kind == "share"
    step = of.scale.cuts[1] - of.scale.cuts[0]
    margins = Scale(
        of.scale.kind, of.scale.unit, SHARE_MARGINS if share else _quarters(step), of.scale.decimals + (not share)
    )
    measured = of.scale.measured

    def show(unit: Row, row: Row) -> Place:
        if pd.isna(row["low"]) or pd.isna(row["high"]):
            return _unknown(unit, "no interval is known")
        margin = (row["high"] - row["low"]) / 2
        details = (of.scale.value(row["estimate"]), *estimate_details(of, unit["district_id"], row))
        return _known(unit, row, margins.class_of(margin), f"±{margins.number(margin)}{measured}", details)

    places = _places(of, base, show)
    cuts = tuple(f"±{margins.cut(cut).removesuffix('%')}" for cut in margins.cuts)
    return _spec(
        of,
        base,
        "uncertainty",
        title=f"{of.indicator['label']}: how uncertain",
        measure=f"Half the width of the {INTERVAL},{measured or ' in units of the indicator'}: darker is less certain",
        classes=_ranges(DOUBT, cuts),
        cuts=cuts,
        ends=("certain", "uncertain"),
        places=places,
        named=_told_apart(of),
        notes=[*_method_notes(_shown_rows(of, places)), *_state_notes(places)],
    )


def change_map(of: Subject, changes: Mapping[str, Row], since: str, base: BaseMap, units: Sequence[Row]) -> MapSpec:
    """The map of the change since an earlier wave, called `since`, on the districts `units` that both waves share.

    `changes` has by district of `units` its row of published_trends (domain `all`).
    """
    order = list(VERDICTS)

    def show(unit: Row) -> Place:
        row = changes.get(unit["district_id"])
        if row is None:
            return _unknown(unit, NOT_COVERED)
        if row["verdict"] == "not_comparable" or row["reason"] == "not_comparable":
            return _unknown(unit, f"not comparable: {maps.text(row['note']) or 'the two surveys differ'}")
        if not is_published(row):
            return _withheld(unit, row)
        change = signed(of.scale, row["change"]) + of.scale.measured
        interval = f"{INTERVAL} {signed(of.scale, row['low'])} to {signed(of.scale, row['high'])}"
        verdict = change_verdict(row, of.scale, of.higher_is_better)
        value = f"{VERDICTS[verdict][0]}: {change}"
        ends = f"from {of.scale.value(row['before'])} to {of.scale.value(row['after'])}"
        n = f"{int(row['n_before']):,} and {int(row['n_after']):,} respondents"
        return _known(unit, row, order.index(verdict), value, (interval, ends, n))

    places = _on(base, units, show)
    return _spec(
        of,
        base,
        "change",
        title=f"{of.indicator['label']}: change",
        measure=f"Since {since}",
        classes=tuple(MapClass(VERDICT_COLOURS[verdict], VERDICTS[verdict][0]) for verdict in order),
        places=places,
        named=[place.district_id for place in places if place.class_number not in (None, order.index("cannot_tell"))],
        notes=[
            f"Better and worse: the {INTERVAL} of the change excludes 0, also after adjusting for how many districts "
            "are compared.",
            maps.CHANGE_NOTE,
            *_state_notes(places),
        ],
    )


def asked(of: Subject) -> str:
    """Who was asked what, and how many answered."""
    answered = answered_words(of.wave, of.indicator, of.estimates.values())
    return f"Asked of: {of.indicator['population']} ({answered}). Question: {of.indicator['question']}"


def nothing_published(of: Subject) -> str:
    """That no number of any district is published, and why; empty where one is."""
    districts = [row for (level, _), row in of.estimates.items() if level == "district"]
    if any(map(is_published, districts)):
        return ""
    why = _reasons(_first_reason(maps.text(row["reason"])) for row in districts)
    return f"No number is shown for any of the {len(districts)} districts surveyed ({why})."


def topic(of: Subject, since: str) -> Topic:
    """What sentences on the indicator are about."""
    there = {row["province_id"]: row["province"] for row in of.districts if of.district(row["district_id"])}
    place = " and ".join(there[key] for key in sorted(there))
    return Topic(str(of.indicator["label"]), place, of.scale, of.higher_is_better, of.simulated, since)


def estimate_details(of: Subject, district_id: str, row: Row) -> tuple[str, ...]:
    """What is said beside an estimate: its interval, respondents, and the ranks that the district may hold."""
    interval = of.scale.interval(row["low"], row["high"])
    said = [f"{INTERVAL} {interval}" if interval else f"{INTERVAL} not available", respondent_words(row)]
    rank = of.rankings.get(district_id)
    if rank is not None and not pd.isna(rank["rank_low"]):
        said.append(f"rank {rank_words(int(rank['rank_low']), int(rank['rank_high']), int(rank['districts']))}")
    return tuple(said)


def signed(scale: Scale, value: float) -> str:
    """A difference as a reader sees it, with its sign; none where it rounds to zero."""
    number = scale.number(abs(value))
    if float(number) == 0:
        return number
    return f"{'+' if value > 0 else '−'}{number}"


def _spec(
    of: Subject,
    base: BaseMap,
    kind: Kind,
    *,
    title: str,
    measure: str,
    classes: tuple[MapClass, ...],
    places: tuple[Place, ...],
    notes: Sequence[str],
    named: Collection[str],
    cuts: tuple[str, ...] = (),
    ends: tuple[str, str] = ("", ""),
) -> MapSpec:
    undrawn = [place.name for place in places if not place.drawn]
    missing = [f"Not drawn, because the boundary file has no shape for them: {', '.join(undrawn)}."] if undrawn else []
    return MapSpec(
        wave=str(of.wave["wave"]),
        indicator=str(of.indicator["indicator"]),
        kind=kind,
        vintage=base.geometry.vintage,
        title=title,
        subtitle=f"{of.wave['title']}, {maps.dates(of.wave)}",
        measure=measure,
        summary=province_summary(of),
        asked=asked(of),
        simulated=of.simulated,
        classes=classes,
        cuts=cuts,
        ends=ends,
        places=places,
        named=frozenset(named),
        notes=(*notes, *missing),
        source=maps.source_words(of.wave),
        boundary=maps.boundary_words(base.geometry),
    )


def province_summary(of: Subject) -> str:
    """The estimates of the provinces, with their intervals."""
    names = {row["province_id"]: row["province"] for row in of.districts}
    unit = f" {of.scale.unit}" if of.scale.unit else ""
    return " · ".join(
        f"{names[key]}: {of.scale.value(row['estimate'])}{unit} "
        f"({INTERVAL} {of.scale.interval(row['low'], row['high'])})"
        for (level, key), row in of.estimates.items()
        if level == "province" and key in names and is_published(row)
    )


def measure(of: Subject) -> str:
    """What the numbers of an indicator are; which quantile, the title says."""
    kind, unit = str(of.indicator["kind"]), of.scale.unit
    if kind == "share":
        return "Share in percent"
    if kind == "index":
        return "Weighted mean of shares in percent"
    if kind == "quantile":
        return f"In {unit}" if unit else "Value"
    return "Mean" + (f", {unit}" if unit else "")


def _ranges(palette: Sequence[str], cuts: Sequence[str]) -> tuple[MapClass, ...]:
    labels = [f"below {cuts[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(cuts))]
    labels.append(f"{cuts[-1]} or more")
    return tuple(MapClass(colour, label) for colour, label in zip(palette, labels, strict=True))


def _quarters(step: float) -> tuple[float, ...]:
    return tuple(round(step * part, 10) for part in (0.25, 0.5, 0.75, 1.0))


def _told_apart(of: Subject) -> list[str]:
    """The districts that a headline may name."""
    return [district for district, row in of.rankings.items() if row["band"] in ("low", "watch", "high")]


def _places(of: Subject, base: BaseMap, show: Callable[[Row, Row], Place]) -> tuple[Place, ...]:
    """A place for every district; `show` is given a unit and its estimate where that is published."""

    def place(unit: Row) -> Place:
        row = of.district(unit["district_id"])
        if row is None:
            return _unknown(unit, NOT_COVERED)
        return show(unit, row) if is_published(row) else _withheld(unit, row)

    return _on(base, of.districts, place)


def _on(base: BaseMap, units: Sequence[Row], place: Callable[[Row], Place]) -> tuple[Place, ...]:
    """A place for every district of the provinces drawn."""
    there = [unit for unit in units if unit["province_id"] in base.provinces]
    return tuple(replace(place(unit), drawn=unit["district_id"] in base.points) for unit in there)


def _known(unit: Row, row: Row, number: int, value: str, details: Iterable[str]) -> Place:
    caution = row["quality"] == "caution"
    reason = maps.text(row["reason"]) if caution else ""
    return Place(*_who(unit), "caution" if caution else "published", number, value, tuple(details), reason)


def _withheld(unit: Row, row: Row) -> Place:
    return Place(*_who(unit), "suppressed", reason=maps.text(row["reason"]))


def _unknown(unit: Row, why: str) -> Place:
    return Place(*_who(unit), "no_data", reason=why)


def _who(unit: Row) -> tuple[str, str, str]:
    return unit["district_id"], unit["name"], unit["province"]


def _shown_rows(of: Subject, places: Iterable[Place]) -> list[Row]:
    rows = (of.district(place.district_id) for place in places)
    return [row for row in rows if row is not None and is_published(row)]


def _method_notes(rows: Sequence[Row]) -> list[str]:
    return [maps.MODELLED_NOTE] if any(row["method"] == "small_area" for row in rows) else []


def _state_notes(places: Sequence[Place]) -> list[str]:
    """How many places are withheld, read with caution or not there, and why."""
    notes = []
    for state, text in (
        ("suppressed", "Hatched, not published: {k} of {all} districts ({why})."),
        ("caution", "* Use with caution: {k} of {all} districts ({why})."),
        ("no_data", "Grey: {k} of {all} districts: {why}."),
    ):
        found = [place for place in places if place.state == state]
        if found:
            why = _reasons(place.reason if state == "no_data" else _first_reason(place.reason) for place in found)
            notes.append(text.format(k=len(found), all=len(places), why=why))
    return notes


def _first_reason(codes: str) -> str:
    return maps.reason_words(codes.split(";")[0])


def _reasons(said: Iterable[str]) -> str:
    """Reasons in words, the commonest first, with how many districts have each where they differ."""
    reasons = Counter(said).most_common()
    return "; ".join(f"{reason}: {count}" if len(reasons) > 1 else reason for reason, count in reasons)
