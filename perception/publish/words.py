"""Sentences about published numbers: headlines, captions and alt texts that say no more than the numbers do.

Rows are those of published tables. What the reader sees decides: a difference that shows as 0.0 has no direction, and
intervals whose shown ends touch overlap. All texts are plain; who puts one on a page escapes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import pandas as pd

from perception.estimation.trends import GAP_PREFIX
from perception.fingerprint import code_version
from perception.publish import maps
from perception.publish.figures import one_line, plain, quoted
from perception.publish.maps import INTERVAL, SIMULATED, Row, Scale
from perception.schemas import BANDS

Change = Literal["better", "worse", "cannot_tell", "not_comparable", "suppressed"]
Picture = Literal["estimate", "tiles", "uncertainty", "bands", "change", "ranking"]

GROUPS = {
    "sex": ("women", "men"),
    "urban": ("rural people", "urban people"),
    "wealth": ("the poorest fifth", "the richest fifth"),
}
"""The two groups of each gap of `estimation.gaps.GAPS` as a reader meets them."""

NAMED = 6
"""Most districts or indicators that a headline names; alt texts name half as many."""
LONGEST_ALT = 400
BAND_NAMES = {"low": "Low", "watch": "Watch", "not_distinguishable": "Not clear", "high": "High"}
"""Each band of a ranking as a reader meets it."""
_EITHER = "among the worst-placed or the best-placed"
_SMALL = "small differences between districts may be chance"
_BY_CHANCE = "The interval leaves out zero, but among so many comparisons such a difference may be chance."
_REACHES_ZERO = "Rounded to the digits shown, the interval reaches zero."


@dataclass(frozen=True)
class Topic:
    """What a picture is of: an indicator's label, scale and direction, among whom, and since when where it has changes.

    `place` stands after "districts in": a province, or `the 2024 round`.
    """

    label: str
    place: str
    scale: Scale
    higher_is_better: bool
    simulated: bool
    since: str = ""


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th ..."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def rank_words(low: int, high: int, count: int) -> str:
    """A rank set in words, such as `between 3rd and 14th of 32`."""
    return f"{ordinal(low)} of {count}" if low == high else f"between {ordinal(low)} and {ordinal(high)} of {count}"


def rank_range(low: int, high: int) -> str:
    """`3rd`, or `3rd to 14th`."""
    return ordinal(low) if low == high else f"{ordinal(low)} to {ordinal(high)}"


def list_of(names: Sequence[str], most: int) -> str:
    """`A, B and C`; of more than `most` (at least 1) the first ones, as in `A, B and 4 more`; `none` of none."""
    return _listed([plain(name) for name in names], most)


def citation_words(wave: Row) -> str:
    """How to cite a number: the data as their producer wants, and what made these estimates of them."""
    return f"{str(wave['citation']).rstrip('. ')}. Estimates from these data: perception {code_version()}."


def estimate_words(row: Row, scale: Scale) -> str:
    """An estimate with its interval, respondents and cautions, or why there is none; no full stop.

    `row` is of published_estimates or district_rankings.
    """
    if not _published(row, "estimate"):
        return f"not published: {_reason(row)}"
    parts = [_interval(row, scale)]
    if not pd.isna(row["n"]):
        parts.append(respondent_words(row))
    if row["quality"] == "caution":
        parts.append(f"use with caution: {_reason(row)}")
    return f"{_value(row['estimate'], scale)} ({'; '.join(parts)})"


def respondent_words(row: Row) -> str:
    """On how many respondents an estimate rests; a modelled one may have none."""
    if row["n"] == 0:
        return "no respondents of its own, modelled from other districts"
    return _counted(int(row["n"]), "respondent")


def ranking_headline(rankings: Sequence[Row], names: Mapping[str, str], place: str) -> str:
    """Which districts of a ranking are among the worst and the best, and of how many the survey cannot tell.

    `rankings` are all rows of district_rankings of one indicator and scope, `names` the districts' by id, `place`
    as in `Topic`. The first sentence can stand alone. Good and bad are worded as places, so that it fits indicators
    of which more is worse.
    """
    where = plain(place) or "the survey"
    ranked = _worst_first(row for row in rankings if _is_ranked(row))
    by_band = {band: _names([row for row in ranked if row["band"] == band], "district_id", names) for band in BANDS}
    low, watch, high, middle = (by_band[band] for band in ("low", "watch", "high", "not_distinguishable"))
    total = len(ranked)
    all_of = _counted(total, "district")
    said = []
    if total == 0:
        said.append(f"No district in {where} is ranked")
    elif total == 1:
        (name,) = _names(ranked, "district_id", names)
        said.append(f"Only {name} is ranked in {where}: there is nothing to compare it with")
    elif low:
        said.append(f"{len(low)} of {all_of} in {where} {_are(low)} very likely among the worst-placed: {_listed(low)}")
        said[0] += f"; {len(watch)} more {_are(watch)} to watch: {_listed(watch)}" if watch else ""
    elif watch:
        said.append(
            f"{len(watch)} of {all_of} in {where} {_are(watch)} to watch: {_listed(watch)}; "
            "the survey cannot tell for sure that any district is among the worst-placed"
        )
    elif len(middle) == total:
        said.append(f"The survey cannot tell which of the {all_of} in {where} are {_EITHER}")
    else:
        said.append(f"The survey cannot tell which of the {all_of} in {where} are among the worst-placed")
    if high and total > 1:
        said.append(
            f"{_counted(len(high), 'district')} {_are(high)} very likely among the best-placed: {_listed(high)}"
        )
    if 0 < len(middle) < total:
        said.append(f"{_counted(len(middle), 'district')} {_are(middle)} not clearly {_EITHER}")
    if unranked := len(rankings) - total:
        said.append(f"{_counted(unranked, 'district')} {'is' if unranked == 1 else 'are'} not ranked")
    return _sentences(said)


def change_verdict(trend: Row, scale: Scale, higher_is_better: bool) -> Change:
    """What may be said of a row of published_trends: its verdict where the shown change and its interval agree with it.

    A change that shows as 0.0 is `cannot_tell`; one without numbers is `not_comparable` or `suppressed`.
    """
    if trend["verdict"] == "not_comparable":
        return "not_comparable"
    if not _published(trend, "change"):
        return "suppressed"
    sign = _sign(trend["change"], trend["low"], trend["high"], scale)
    if sign == 0:
        return "cannot_tell"
    improved = abs(trend["after"]) < abs(trend["before"]) if _gap_of(trend) else (sign > 0) == higher_is_better
    found: Change = "better" if improved else "worse"
    return found if found == trend["verdict"] else "cannot_tell"


def gap_sentence(gap: Row, scale: Scale) -> str:
    """Whether an estimate differs between two groups (a row of published_gaps), with the answers in either."""
    first, second = GROUPS[gap["gap"]]
    if not _published(gap, "estimate"):
        return _sentences([f"The gap between {first} and {second} is not published: {_reason(gap)}"])
    answers = f"{int(gap['n_first']):,} and {int(gap['n_second']):,} respondents"
    sign = _sign(gap["estimate"], gap["low"], gap["high"], scale)
    direction = {1: "higher", -1: "lower", 0: ""}[sign]
    if direction and direction == gap["verdict"]:
        size, ends = _apart(gap, "estimate", scale)
        said = [f"The estimate is {size} {direction} among {first} than among {second} ({ends}; {answers})"]
    else:
        found = _difference(gap, "estimate", scale, f"{first} less {second}; ", f"; {answers}")
        said = [f"The survey cannot tell whether the estimate differs between {first} and {second}: {found}"]
        said += _why_unsure(gap, scale)
    return _sentences([*said, *_cautions(gap)])


def change_headline(
    trends: Sequence[Row], names: Mapping[str, str], since: str, place: str, scale: Scale, higher_is_better: bool
) -> str:
    """In which districts an indicator changed since the predecessor, and of how many nobody can tell, and why.

    `trends` are the rows of published_trends of the districts, domain `all`, `names` theirs by unit_id, `place` as in
    `Topic`. The first sentence can stand alone.
    """
    then, where, total = plain(since) or "the wave before", plain(place) or "the survey", len(trends)
    by_verdict = _by_verdict(trends, names, scale, higher_is_better)
    changed = [(verdict, by_verdict[verdict]) for verdict in ("better", "worse") if by_verdict[verdict]]
    unsure, apart, held = (len(by_verdict[state]) for state in ("cannot_tell", "not_comparable", "suppressed"))
    if unsure and not changed:
        if total == 1:
            return f"The survey cannot tell whether the only district in {where} changed since {then}."
        rest = [f"for {'all ' * (unsure == total)}{unsure} the survey cannot tell"]
        for left, what in ((apart, "not comparable"), (held, "not published")):
            rest += [f"{left} {'is' if left == 1 else 'are'} {what}"] if left else []
        return f"No district in {where} is known to have changed since {then}; {', '.join(rest)}."
    said = [f"No change since {then} is published for districts in {where}"]
    if changed:
        (verdict, found), *other = changed
        count = f"{len(found)} of {_counted(total, 'district')} in {where}"
        said = [f"Since {then}, {count} changed for the {verdict}: {_listed(found)}"]
        said[0] += "".join(f"; {len(found)} for the {verdict}: {_listed(found)}" for verdict, found in other)
    if unsure:
        said.append(f"For {_counted(unsure, 'district')} the survey cannot tell")
    if apart:
        said.append(f"{_counted(apart, 'district')} cannot be compared with {then}")
    if held:
        said.append(f"For {_counted(held, 'district')} the change is not published")
    return _sentences(said)


def district_headline(rankings: Sequence[Row], labels: Mapping[str, str], name: str) -> str:
    """On which indicators a district is among the worst and the best, and on how many the survey cannot tell.

    `rankings` are its rows of district_rankings in one scope, one an indicator; `labels` are the indicators' by id.
    """
    who, total = plain(name) or "This district", len(rankings)
    if total == 0:
        return f"{who} is in no ranking."
    ranked = [row for row in rankings if _is_ranked(row)]
    by_band = {
        band: [quoted(labels.get(row["indicator"], row["indicator"])) for row in ranked if row["band"] == band]
        for band in BANDS
    }
    told = [
        (words, by_band[band])
        for band, words in (
            ("low", "very likely among the worst-placed"),
            ("watch", "to watch"),
            ("high", "very likely among the best-placed"),
        )
        if by_band[band]
    ]
    all_of = _counted(total, "indicator")
    said = []
    if told:
        (words, found), *others = told
        said.append(f"{who} is {words} on {len(found)} of {all_of}: {_listed(found)}")
        said[0] += "".join(f"; {words} on {len(found)}: {_listed(found)}" for words, found in others)
    elif ranked:
        every = (
            f"any of {_counted(len(ranked), 'indicator')}" if len(ranked) > 1 else "the only indicator it is ranked on"
        )
        said.append(f"{who} is not clearly {_EITHER} on {every}")
    else:
        said.append(f"{who} is not ranked on {f'any of {all_of}' if total > 1 else 'the only indicator'}")
    if told and (middle := len(by_band["not_distinguishable"])):
        said.append(f"On {_counted(middle, 'indicator')} it is not clearly {_EITHER}")
    if (unranked := total - len(ranked)) and ranked:
        said.append(f"On {_counted(unranked, 'indicator')} it is not ranked")
    return _sentences(said)


def typical_margin(rows: Iterable[Row], scale: Scale) -> str:
    """Half the width of the median published interval with its unit, such as `±3.4 points`; empty without intervals."""
    margins = [half for row in rows if (half := _margin(row)) is not None]
    return f"±{_size(median(margins), scale)}" if margins else ""


def doubt_words(rows: Iterable[Row], scale: Scale) -> str:
    """How uncertain a typical one of these estimates is, as a sentence; empty without intervals."""
    margin = typical_margin(rows, scale)
    return f"A typical district estimate is uncertain by {margin} ({INTERVAL}): {_SMALL}." if margin else ""


def alt_text(
    kind: Picture, topic: Topic, rows: Sequence[Row], names: Mapping[str, str], districts_without_row: int = 0
) -> str:
    """What a picture shows, in about `LONGEST_ALT` characters: classes, extremes with intervals, what is left out.

    Rows are one a district: of published_estimates (`estimate`, `tiles`, `uncertainty`), district_rankings (`bands`,
    `ranking`) or published_trends (`change`). `districts_without_row` are drawn grey beside them. What comes late gives
    way to the limit.
    """
    said = _ALTS[kind](topic, rows, names)
    if districts_without_row:
        said.insert(1, f"Grey, no data: {_counted(districts_without_row, 'district')}")
    text = f"{SIMULATED}. " * topic.simulated + _sentences(said[:1])
    for sentence in said[1:]:
        longer = f"{text} {_sentences([sentence])}"
        text = longer if len(longer) <= LONGEST_ALT else text
    return text


def answered_words(wave: Row, indicator: Row, estimates: Iterable[Row]) -> str:
    """How many answered, of how many in the survey; rows as for `caption`."""
    asked = _counted(int(wave["respondents"]), "respondent")
    whole = next((row for row in estimates if row["level"] == "all" and _published(row, "estimate")), None)
    if whole is None or indicator["kind"] == "index":  # whose n is that of its smallest part
        return f"{asked} in the whole survey"
    return f"{int(whole['n']):,} of {asked} answered"


def caption(wave: Row, indicator: Row, estimates: Sequence[Row], scale: Scale) -> str:
    """What stands under an image in a brief beside its title, survey and source: what is measured, of whom, how surely.

    `wave` and `indicator` are rows of published_waves and published_indicators; `estimates` are the indicator's rows
    for domain `all`, one a unit, as `maps.shown_estimates` gives them.
    """
    districts = [row for row in estimates if row["level"] == "district"]
    shown = [row for row in districts if _published(row, "estimate")]
    unit = " in percent" if scale.kind == "share" else _in_unit(scale)
    said = [quoted(indicator["label"]) + unit, f"Asked of: {plain(indicator['population'])}"]
    answered = answered_words(wave, indicator, estimates)
    said.append(f"{answered}; published for {len(shown)} of {_counted(len(districts), 'district')}")
    if doubt := doubt_words(shown, scale):
        said.append(doubt)
    if any(row["method"] == "small_area" for row in shown):
        said.append(maps.MODELLED_NOTE)
    elif shown:
        said.append("Direct estimates: each rests on its own respondents alone")
    return _sentences(said)


def change_caption(
    wave: Row, indicator: Row, estimates: Sequence[Row], trends: Sequence[Row], since: str, scale: Scale
) -> str:
    """The same under an image of the change since `since`; `trends` are the districts' rows of published_trends."""
    shown = [row for row in trends if _published(row, "change")]
    unit = f" in{_unit(scale)}" if _unit(scale) else ""
    said = [f"{quoted(indicator['label'])}: change{unit} since {plain(since) or 'the wave before'}"]
    said.append(f"Asked of: {plain(indicator['population'])}")
    answered = answered_words(wave, indicator, estimates)
    said.append(f"{answered}; change published for {len(shown)} of {_counted(len(trends), 'district')}")
    halves = [float(row["high"] - row["low"]) / 2 for row in shown if _interval_known(row)]
    if halves:
        said.append(f"A typical change is uncertain by ±{_size(median(halves), scale)} ({INTERVAL})")
    return _sentences([*said, maps.CHANGE_NOTE])


def _estimates_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str], picture: str = "Map") -> list[str]:
    shown = [row for row in rows if _published(row, "estimate")]
    scale = topic.scale
    said = [f"{picture} of {quoted(topic.label)}: {_counted(len(shown), 'district')} in {_place(topic)}"]
    if held := len(rows) - len(shown):
        said.append(f"Hatched, not published: {_counted(held, 'district')}")
    classes = [scale.class_of(row["estimate"]) for row in shown]
    counts = [
        f"{_class_words(number, scale)}: {classes.count(number)}"
        for number in range(len(scale.cuts) + 1)
        if number in classes
    ]
    if counts:
        said.append(f"Districts by class{'' if scale.kind == 'share' else _in_unit(scale)}: {', '.join(counts)}")
    return [*said, *_extremes(shown, names, scale)]


def _tiles_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    return _estimates_alt(topic, rows, names, "Tile map")


def _extremes(shown: Sequence[Row], names: Mapping[str, str], scale: Scale) -> list[str]:
    """The lowest and the highest shown values with their intervals, and whether these overlap."""
    if not shown:
        return []
    values = [float(scale.number(row["estimate"])) for row in shown]
    least, most = min(values), max(values)
    if least == most:
        return [f"All show {_value(shown[0]['estimate'], scale)}" if len(shown) > 1 else _extreme(shown, names, scale)]
    low, high = (
        [row for row, value in zip(shown, values, strict=True) if value == extreme] for extreme in (least, most)
    )
    said = f"Lowest: {_extreme(low, names, scale)}; highest: {_extreme(high, names, scale)}"
    if len(low) == len(high) == 1 and all(_interval_known(row) for row in (low[0], high[0])):
        apart = float(scale.number(low[0]["high"])) < float(scale.number(high[0]["low"]))
        said += f"; their intervals {'do not overlap' if apart else 'overlap'}"
    return [said]


def _extreme(rows: Sequence[Row], names: Mapping[str, str], scale: Scale) -> str:
    value = _value(rows[0]["estimate"], scale)
    if len(rows) > 1:
        return f"{value} in {_counted(len(rows), 'district')}"
    return f"{_name(names, rows[0]['unit_id'])} {value} ({_interval(rows[0], scale)})"


def _uncertainty_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    shown = [row for row in rows if _published(row, "estimate")]
    margins = {
        str(row["unit_id"]): float(topic.scale.number(half)) for row in shown if (half := _margin(row)) is not None
    }
    said = [
        f"Map of how uncertain {quoted(topic.label)} is: {_counted(len(shown), 'district')} in {_place(topic)}",
    ]
    if held := len(rows) - len(shown):
        said.append(f"Hatched, not published: {_counted(held, 'district')}")
    if unknown := len(shown) - len(margins):
        said.append(f"Grey, {INTERVAL} not available: {_counted(unknown, 'district')}")
    if margins:
        said.append(f"A typical estimate is uncertain by {typical_margin(shown, topic.scale)} ({INTERVAL})")
        least, most = min(margins.values()), max(margins.values())
        if least < most:
            ends = []
            for words, extreme in (("Least", least), ("most", most)):
                found = [unit for unit, margin in margins.items() if margin == extreme]
                who = _name(names, found[0]) if len(found) == 1 else _counted(len(found), "district")
                ends.append(f"{words} uncertain: {who}, ±{extreme:.{topic.scale.decimals}f}{_unit(topic.scale)}")
            said.append("; ".join(ends))
    return said


def _bands_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    held = sum(row["quality"] == "suppress" for row in rows)
    unranked = sum(not _is_ranked(row) for row in rows) - held
    return _of_bands("Map of", topic, rows, names, {"Hatched, not published": held, "Grey, not ranked": unranked})


def _of_bands(
    picture: str, topic: Topic, rows: Sequence[Row], names: Mapping[str, str], without: Mapping[str, int]
) -> list[str]:
    ranked = _worst_first(row for row in rows if _is_ranked(row))
    total = _counted(len(ranked), "district")
    said = [f"{picture} bands of {quoted(topic.label)}: {total} ranked in {_place(topic)}"]
    found = {band: _names([row for row in ranked if row["band"] == band], "district_id", names) for band in BANDS}
    ends = {"low": " (worst-placed)", "high": " (best-placed)"}
    if ranked:
        said.append(", ".join(f"{_band(band)}{ends.get(band, '')}: {len(found[band])}" for band in BANDS))
    said += [f"{why}: {_counted(count, 'district')}" for why, count in without.items() if count]
    return [*said, *(f"{_band(band)}: {_listed(found[band], NAMED // 2)}" for band in ("low", "high") if found[band])]


def _ranking_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    ranked = _worst_first(row for row in rows if _is_ranked(row))
    unranked = {"Not ranked": len(rows) - len(ranked)}
    said = _of_bands("Dots with intervals, worst first, in", topic, rows, names, unranked)
    if len(ranked) > 1:
        ends = [
            f"{_name(names, row['district_id'])} {_value(row['estimate'], topic.scale)} "
            f"({_interval(row, topic.scale)}; {rank_words(*_rank_set(row))})"
            for row in (ranked[0], ranked[-1])
        ]
        overlap = _rank_set(ranked[0])[1] >= _rank_set(ranked[-1])[0]
        said.insert(1, f"From {ends[0]} to {ends[1]}; their rank sets {'overlap' if overlap else 'do not overlap'}")
    return said


def _changes_alt(topic: Topic, rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    found = _by_verdict(rows, names, topic.scale, topic.higher_is_better)
    then = plain(topic.since) or "the wave before"
    total = _counted(len(rows), "district")
    said = [f"Map of change since {then} in {quoted(topic.label)}: {total} in {_place(topic)}"]
    if rows:
        words: dict[Change, str] = {
            "better": "For the better",
            "worse": "for the worse",
            "cannot_tell": "cannot tell",
        }
        said.append(", ".join(f"{each}: {len(found[verdict])}" for verdict, each in words.items()))
    without: dict[Change, str] = {"not_comparable": "Grey, not comparable", "suppressed": "Hatched, not published"}
    said += [f"{each}: {_counted(len(found[why]), 'district')}" for why, each in without.items() if found[why]]
    named: dict[Change, str] = {"better": "Better", "worse": "Worse"}
    return [*said, *(f"{each}: {_listed(found[way], NAMED // 2)}" for way, each in named.items() if found[way])]


_ALTS: Mapping[Picture, Callable[[Topic, Sequence[Row], Mapping[str, str]], list[str]]] = {
    "estimate": _estimates_alt,
    "tiles": _tiles_alt,
    "uncertainty": _uncertainty_alt,
    "bands": _bands_alt,
    "change": _changes_alt,
    "ranking": _ranking_alt,
}


def _by_verdict(
    trends: Sequence[Row], names: Mapping[str, str], scale: Scale, higher_is_better: bool
) -> dict[Change, list[str]]:
    """The districts of each verdict: the largest changes first."""
    found: dict[Change, list[str]] = {
        verdict: [] for verdict in ("better", "worse", "cannot_tell", "not_comparable", "suppressed")
    }
    for row in sorted(trends, key=lambda row: 0.0 if pd.isna(row["change"]) else -abs(row["change"])):
        found[change_verdict(row, scale, higher_is_better)].append(_name(names, row["unit_id"]))
    return found


def _published(row: Row, number: str) -> bool:
    return row["quality"] != "suppress" and not pd.isna(row[number])


def _is_ranked(row: Row) -> bool:
    return row["quality"] != "suppress" and not pd.isna(row["rank"])


def _worst_first(ranked: Iterable[Row]) -> list[Row]:
    return sorted(ranked, key=lambda row: int(row["rank"]))


def _rank_set(row: Row) -> tuple[int, int, int]:
    return int(row["rank_low"]), int(row["rank_high"]), int(row["districts"])


def _reason(row: Row) -> str:
    return one_line(maps.reason_words(row["reason"] if isinstance(row["reason"], str) else ""))


def _cautions(row: Row) -> list[str]:
    return [f"Use with caution: {_reason(row)}"] if row["quality"] == "caution" else []


def _name(names: Mapping[str, str], key: str) -> str:
    return plain(names.get(key, key)) or plain(key)


def _names(rows: Iterable[Row], key: str, names: Mapping[str, str]) -> list[str]:
    return [_name(names, row[key]) for row in rows]


def _place(topic: Topic) -> str:
    return plain(topic.place) or "the survey"


def _band(band: str) -> str:
    return BAND_NAMES[band]


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"


def _listed(parts: Sequence[str], most: int = NAMED) -> str:
    if len(parts) > most:
        return f"{', '.join(parts[:most])} and {len(parts) - most} more"
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "none"


def _sentences(said: Iterable[str]) -> str:
    """One text of several sentences, each ending in one stop, whatever its last name ends in."""
    return " ".join(text if text.endswith(("!", "?", "…")) else f"{text.rstrip(' .')}." for text in said)


def _unit(scale: Scale) -> str:
    """What follows a number: `points` (of difference) for a share; a unit without what it adds in parentheses."""
    unit = "points" if scale.kind == "share" else plain(scale.unit.split("(")[0])
    return f" {unit}" if unit else ""


def _in_unit(scale: Scale) -> str:
    return f" in {plain(scale.unit)}" if plain(scale.unit) else ""


def _value(value: float, scale: Scale) -> str:
    return scale.value(value) + ("" if scale.kind == "share" else _unit(scale))


def _interval_known(row: Row) -> bool:
    return not (pd.isna(row["low"]) or pd.isna(row["high"]))


def _interval(row: Row, scale: Scale) -> str:
    return f"{INTERVAL} {scale.interval(row['low'], row['high']) if _interval_known(row) else 'not available'}"


def _margin(row: Row) -> float | None:
    return float(row["high"] - row["low"]) / 2 if _published(row, "estimate") and _interval_known(row) else None


def _class_words(number: int, scale: Scale) -> str:
    ends = [scale.cut(cut) for cut in scale.cuts]
    if number == 0:
        return f"under {ends[0]}"
    return f"{ends[-1]} or more" if number == len(ends) else f"{ends[number - 1]} to under {ends[number]}"


def shown_number(value: float, scale: Scale) -> str:
    """A difference without its unit, with a real minus sign and no negative zero."""
    text = scale.number(value)
    return scale.number(0.0) if float(text) == 0 else text.replace("-", "−")


def shown_difference(value: float, scale: Scale) -> str:
    """A difference with its sign, without its unit."""
    return ("+" if float(scale.number(value)) > 0 else "") + shown_number(value, scale)


def _size(value: float, scale: Scale) -> str:
    return shown_number(value, scale) + _unit(scale)


def _sign(at: float, low: float, high: float, scale: Scale) -> int:
    """The direction that the shown interval leaves no doubt of and that the shown number has, else 0."""
    if pd.isna(low) or pd.isna(high) or float(scale.number(at)) == 0:
        return 0
    return int(at > 0 and float(scale.number(low)) > 0) - int(at < 0 and float(scale.number(high)) < 0)


def _why_unsure(row: Row, scale: Scale) -> list[str]:
    """Why the survey cannot tell of a difference what its interval or its verdict seem to say."""
    if _leaves_out_zero(row, scale):
        return [_BY_CHANCE]
    return [_REACHES_ZERO] if row["verdict"] != "cannot_tell" and _interval_known(row) else []


def _leaves_out_zero(row: Row, scale: Scale) -> bool:
    """Whether the interval as shown does; false where it is not known."""
    return _interval_known(row) and (float(scale.number(row["low"])) > 0 or float(scale.number(row["high"])) < 0)


def _ends(low: float, high: float, scale: Scale) -> str:
    return f"{INTERVAL} {shown_number(low, scale)} to {shown_number(high, scale)}"


def _apart(row: Row, number: str, scale: Scale) -> tuple[str, str]:
    """The size of a difference whose direction is said in words, and its interval in that direction."""
    if row[number] > 0:
        return _size(row[number], scale), _ends(row["low"], row["high"], scale)
    return _size(-row[number], scale), _ends(-row["high"], -row["low"], scale)


def _difference(row: Row, number: str, scale: Scale, before: str = "", after: str = "") -> str:
    """A difference with its sign and its interval, between more that is said of it."""
    ends = _ends(row["low"], row["high"], scale) if _interval_known(row) else f"{INTERVAL} not available"
    return f"{shown_difference(row[number], scale)}{_unit(scale)} ({before}{ends}{after})"


def _gap_of(trend: Row) -> str:
    """The gap that a row of published_trends is of; empty where it is of an estimate."""
    domain = str(trend["domain"])
    return domain.removeprefix(GAP_PREFIX) if domain.startswith(GAP_PREFIX) else ""
