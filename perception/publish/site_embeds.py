"""What of the site can be taken away: the embeds of an indicator and of a district's card, and the rows behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from markupsafe import Markup

from perception.fingerprint import code_version
from perception.publish import maps, rankings, views, words
from perception.publish.downloads import Download
from perception.publish.drawing import WIDTH, Drawing
from perception.publish.embeds import PREVIEW_ADDRESS, Embed, Kind
from perception.publish.maps import MapSpec, Row
from perception.publish.profiles import Profile
from perception.publish.static_map import Canvas
from perception.publish.views import Subject
from perception.schemas import TABLES, Column

if TYPE_CHECKING:
    from jinja2 import Environment

_NAME = Column("name", "string", "Name of the district, division or province")
_LABEL = Column("label", "string", "What the indicator is")
_CHANGE = (
    Column("predecessor", "string", "Wave that the change is counted from", nullable=True),
    Column("change", "number", "Change since then, of direct estimates on the districts both waves share", "", True),
    Column("change_low", "number", "Lower end of its 95 % interval", "as change", True),
    Column("change_high", "number", "Upper end of its 95 % interval", "as change", True),
    Column("change_verdict", "string", "What the survey can tell of the change", nullable=True),
)
_ESTIMATES = (
    *("wave", "indicator", "level", "unit_id", "method", "estimate", "se", "low", "high", "n", "n_eff", "psus"),
    *("dont_know_share", "refused_share", "quality", "reason"),
)
_RANKS = ("rank_expected", "rank_low", "rank_high", "districts", "p_lowest", "p_highest", "band")


def _columns(*, labelled: bool) -> tuple[Column, ...]:
    known = {column.name: column for column in TABLES["published_estimates"].columns}
    ranks = {column.name: column for column in TABLES["district_rankings"].columns}
    key, rest = _ESTIMATES[:4], _ESTIMATES[4:]
    return (
        *(known[name] for name in key),
        *([_LABEL] if labelled else []),
        _NAME,
        *(known[name] for name in rest),
        *(replace(ranks[name], nullable=True) for name in _RANKS),
        *_CHANGE,
    )


def _rows(
    subjects: Sequence[Subject],
    changes: Mapping[tuple[str, str], Row],
    names: Mapping[str, str],
    district: str = "",
) -> pd.DataFrame:
    """The published rows of indicators, of all units or of one district; of districts with rank and change."""
    found = []
    for of in subjects:
        indicator = str(of.indicator["indicator"])
        for (level, unit), row in of.estimates.items():
            if district and unit != district:
                continue
            here = level == "district"
            rank = of.rankings.get(unit, {}) if here and maps.is_published(row) else {}
            change = changes.get((indicator, unit)) if here else None
            told = change if change is not None and maps.is_published(change) else {}
            found.append(
                {name: row[name] for name in _ESTIMATES}
                | {"label": of.indicator["label"], "name": "all districts" if level == "all" else names.get(unit, unit)}
                | {name: rank.get(name) for name in _RANKS}
                | {"predecessor": told.get("predecessor"), "change": told.get("change")}
                | {
                    "change_low": told.get("low"),
                    "change_high": told.get("high"),
                    "change_verdict": told.get("verdict"),
                }
            )
    return pd.DataFrame(found)


def indicator_data(
    of: Subject, changes: Mapping[tuple[str, str], Row], names: Mapping[str, str], page: str
) -> Download:
    """The published estimates of an indicator in every unit; `names` are those of units, `page` shows them."""
    rows = _rows([of], changes, names)
    return _download(of.wave, str(of.indicator["label"]), rows, _columns(labelled=False), page)


def district_data(
    subjects: Sequence[Subject],
    made: Profile,
    changes: Mapping[tuple[str, str], Row],
    page: str,
) -> Download:
    """The published estimates of a district in a wave."""
    rows = _rows(subjects, changes, {made.district_id: made.name}, made.district_id)
    title = f"{made.name}, {made.province}: all indicators"
    return _download(made.wave, title, rows, _columns(labelled=True), page)


def _download(wave: Row, title: str, rows: pd.DataFrame, columns: tuple[Column, ...], page: str) -> Download:
    note = (
        "Estimates are proportions in 0 to 1, or in the indicator's unit; intervals are 95% intervals. What a sample "
        "does not carry is empty, with the reason. Method small_area: modelled, borrowing from other districts."
    )
    return Download(
        title=f"{title}. {wave['title']}, {maps.dates(wave)}",
        rows=rows,
        columns=columns,
        notes=(note,),
        source=maps.source_words(wave),
        citation=words.citation_words(wave),
        licence=str(wave["licence"]),
        simulated=bool(wave["simulated"]),
        address=PREVIEW_ADDRESS + page,
        code_version=code_version(),
    )


def indicator_embeds(
    of: Subject,
    drawings: Mapping[str, Drawing],
    bodies: Mapping[str, Markup],
    notes: Mapping[str, Sequence[str]],
    alts: Mapping[str, str],
    headlines: Mapping[str, str],
    captions: Mapping[str, str],
) -> list[Embed]:
    """The embeds of an indicator, one for each of `drawings`; the other mappings are by the same kinds.

    Of the notes those stay that the caption does not say.
    """
    wave, base = of.wave, f"{of.wave['wave']}/{of.indicator['indicator']}"
    return [
        Embed(
            path=f"{base}-{kind}",
            kind=cast("Kind", kind),
            title=drawing.facts["Title"].removeprefix(f"{maps.SIMULATED}: "),
            subtitle=f"{wave['title']}, {maps.dates(wave)}",
            headline=headlines[kind],
            caption=captions[kind],
            alt=alts[kind],
            notes=tuple(note for note in notes[kind] if note not in captions[kind]),
            body=bodies[kind],
            data=base,
            page=f"{base}.html",
            indicator=str(of.indicator["indicator"]),
            district="",
            **_of_wave(wave, drawing),
        )
        for kind, drawing in drawings.items()
    ]


def card_embed(made: Profile, drawing: Drawing, body: Markup) -> Embed:
    """The embed of a district's card."""
    wave = made.wave
    return Embed(
        path=made.card,
        kind="card",
        title=f"{made.name}, {made.province}",
        subtitle=f"{wave['title']}, {maps.dates(wave)}",
        headline=made.message,
        caption=f"Main results in {made.name} with {maps.INTERVAL}s and the ranks that it may hold in {made.province}.",
        alt=f"{f'{maps.SIMULATED}. ' if wave['simulated'] else ''}Main results in {made.name}. {made.message}",
        notes=(rankings.OVERLAP, *made.card_notes),
        body=body,
        data=made.card.removesuffix("-card"),
        page=f"districts/{made.district_id}.html",
        indicator="",
        district=made.district_id,
        **_of_wave(wave, drawing),
    )


def _of_wave(wave: Row, drawing: Drawing) -> dict[str, Any]:
    return {
        "source": maps.source_words(wave),
        "citation": words.citation_words(wave),
        "licence": str(wave["licence"]),
        "simulated": bool(wave["simulated"]),
        "width": WIDTH,
        "height": math.ceil(drawing.height),
        "wave": str(wave["wave"]),
    }


def parts_of(templates: Environment, root: str) -> Any:
    """The macros that bodies of embeds are made with, for a page that is `root` away from the site's."""
    return templates.get_template("parts.html.j2").make_module({"root": root})


def map_body(parts: Any, spec: MapSpec, canvas: Canvas, alt: str, *, tiles: bool = False) -> Markup:
    """A map that fits any width, with its legend."""
    drawn = (parts.tile_map if tiles else parts.inline_map)(spec, {"canvas": canvas}, alt)
    return Markup("{}{}").format(parts.legend(spec), parts.framed(drawn, spec.simulated))


def ranking_body(parts: Any, of: Subject, tables: Sequence[rankings.Ranking], since: str) -> Markup:
    """The rankings of the provinces as tables."""
    return Markup("").join(parts.ranking(table, of, views.measure(of), since, False) for table in tables)
