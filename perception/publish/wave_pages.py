"""The pages of a wave: overview, indicators, drivers, and how good its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from perception.publish import (
    driver_pages,
    maps,
    plotly_figures,
    plotly_map,
    rankings,
    site_embeds,
    static_figures,
    static_map,
    views,
    words,
)
from perception.publish.drawing import Drawing
from perception.publish.driver_pages import ModelPage
from perception.publish.embeds import Embed
from perception.publish.figures import Figure
from perception.publish.maps import MapSpec, Row, records
from perception.publish.rankings import Ranking
from perception.publish.site_work import (
    Ground,
    WaveWork,
    Work,
    draw,
    ground_of,
    headlines,
    models_of,
    of_indicator,
    only,
    panels,
    together,
    write_embeds,
)
from perception.publish.views import Subject


def wave_work(work: Work, name: str) -> WaveWork:
    """The work on a wave, prepared once."""
    if name not in work.by_wave:
        work.by_wave[name] = _wave_work(work, work.wave(name))
    return work.by_wave[name]


def _wave_work(work: Work, wave: Row) -> WaveWork:
    name, places = wave["wave"], work.units[wave["vintage"]]
    districts = work.districts(wave["vintage"])
    indicators = records(only(work.tables["published_indicators"], wave=name))
    subjects = {}
    for indicator in indicators:
        rows = work.estimates.get((name, indicator["indicator"]))
        average_only = not indicator["headline"] and str(indicator["sdg_16_6_2"]).endswith("/average")
        if rows is None or average_only or not any(row["level"] == "district" for row in rows):
            continue
        scale = work.scales[name, indicator["indicator"]]
        own = [row for row in work.ranks.get((indicator["indicator"],), []) if row["wave"] == name]
        subjects[indicator["indicator"]] = views.subject(wave, indicator, scale, rows, own, districts)
    trends = only(work.tables["published_trends"], wave=name)
    surveyed = {key for of in subjects.values() for level, key in of.estimates if level == "district"}
    provinces = sorted(places.loc[places["district_id"].isin(surveyed), "province_id"].unique())
    predecessor = maps.text(wave["predecessor"])
    return WaveWork(
        wave=wave,
        subjects=subjects,
        changes=_by_unit(trends[trends["one_district"]]),
        shared_changes=_by_unit(trends),
        shared_vintage=str(trends["vintage"].iloc[0]) if len(trends) else "",
        since=work.titles.get(predecessor, predecessor),
        ground=ground_of(work, wave["vintage"], provinces) if provinces else None,
        has_models=bool((work.tables["published_drivers"]["wave"] == name).any()),
    )


def _by_unit(trends: pd.DataFrame) -> dict[tuple[str, str], Row]:
    return {(row["indicator"], row["unit_id"]): row for row in records(trends)}


def write_wave_pages(work: Work, one: WaveWork) -> None:
    wave, models = one.wave, models_of(work, one.wave)
    about = {"wave": wave, "dates": maps.dates(wave), "simulated": bool(wave["simulated"]), "models": models}
    if models:
        work.write_page(f"{one.name}/drivers", "drivers", about)
    for model in models:
        _driver_pages(work, model, about)
    cards = []
    for of in one.subjects.values():
        drawn = _indicator_page(work, one, of, about)
        if of.indicator["headline"] and drawn.maps:
            cards.append({"spec": drawn.maps[0][0], "headline": drawn.headlines["map"]})
    services: dict[str, list[dict[str, Any]]] = {}
    for name, of in one.subjects.items():
        row = {"of": of, "page": name, "summary": views.province_summary(of), "bands": _band_counts(of)}
        services.setdefault(maps.text(of.indicator["service_label"]) or "Other", []).append(row)
    content = about | {"cards": cards, "ground": one.ground, "services": services}
    work.write_page(f"{one.name}/index", "wave", content)
    work.made.found.append((one.wave["title"], "Survey", f"{one.name}/index.html"))
    work.write_page(f"{one.name}/quality", "wave_quality", about | {"results": _quality(work, one)})


def _band_counts(of: Subject) -> dict[str, int]:
    bands = [row["band"] for row in of.rankings.values()]
    return {band: bands.count(band) for band in views.BANDS}


def _quality(work: Work, one: WaveWork) -> list[dict[str, Any]]:
    """By indicator: answers, those who do not know or refuse, how many direct estimates are published, and why not."""
    held = only(work.tables["withheld"], wave=one.name, level="district", domain_kind="all", method="direct")
    why = {str(name): records(rows) for name, rows in held.groupby("indicator")}
    direct = only(work.tables["direct_estimates"], wave=one.name, level="district")
    qualities = {str(name): list(rows) for name, rows in direct.groupby("indicator")["quality"]}
    results = []
    for name, of in one.subjects.items():
        whole = of.estimates.get(("all", "all"))
        counted = qualities.get(name, [])
        results.append(
            {
                "label": of.indicator["label"],
                "page": name,
                "n": "" if whole is None or pd.isna(whole["n"]) else f"{int(whole['n']):,}",
                "dont_know": _percent(whole, "dont_know_share"),
                "refused": _percent(whole, "refused_share"),
                "counts": [counted.count(quality) for quality in ("publish", "caution", "suppress")],
                "why": [(row["words"], row["withheld"]) for row in why.get(name, [])],
            }
        )
    return results


def _percent(row: Row | None, column: str) -> str:
    return "" if row is None or pd.isna(row[column]) else f"{100 * row[column]:.1f}%"


def _driver_pages(work: Work, model: ModelPage, about: Mapping[str, Any]) -> None:
    """Write the page of a driver model, and the page of its weak districts where there are any."""
    name = f"{about['wave']['wave']}/{model.page}"
    charts = {part: _chart(work, figure, f"{name}-{part}", about["wave"]) for part, figure in model.drawings.items()}
    work.write_page(name, "driver_model", {**about, "model": model, "charts": charts})
    if model.districts:
        charts = {
            district.district_id: _chart(work, district.figure, f"{name}-in-{district.district_id}", about["wave"])
            for district in model.districts
        }
        work.write_page(f"{name}-districts", "driver_districts", {**about, "model": model, "charts": charts})


def _chart(work: Work, figure: Figure, name: str, wave: Row) -> dict[str, Any]:
    """Have the images of a figure written; what a page needs to show it."""
    inputs = {"tables": list(driver_pages.TABLES_OF_DRIVERS), "figure": Path(name).name}
    draw(work, name, static_figures.drawing(figure), wave, inputs)
    return {"figure": figure, "content": plotly_figures.content(figure), "file": Path(name).name}


@dataclass(frozen=True)
class _Pictures:
    """What is shown of an indicator: maps and where they are drawn, rankings; texts by kind of picture.

    `maps` starts with the estimates; `doubts` says how uncertain they are; both are empty where no district of the wave
    has a shape. `tables` are none where nothing is ranked.
    """

    maps: Sequence[tuple[MapSpec, Ground]]
    doubts: Sequence[tuple[MapSpec, Ground]]
    tables: Sequence[Ranking]
    alts: Mapping[str, str]
    headlines: Mapping[str, str]
    captions: Mapping[str, str]
    since: str

    @property
    def own_tables(self) -> list[Ranking]:
        """The rankings of the wave's provinces."""
        return [table for table in self.tables if table.own]


def _maps(work: Work, one: WaveWork, of: Subject, changes: Mapping[str, Row]) -> list[tuple[MapSpec, Ground]]:
    """The maps of an indicator, of its estimates first."""
    ground = one.ground
    if ground is None:
        return []
    drawn = [(views.estimate_map(of, ground.base), ground)]
    if of.ranked:
        drawn.append((views.band_map(of, ground.base), ground))
    if any(maps.is_published(row) for row in changes.values()):
        shared, units = ground_of(work, one.shared_vintage, ground.base.provinces), work.districts(one.shared_vintage)
        if shared is not None:
            drawn.append((views.change_map(of, changes, one.since, shared.base, units), shared))
    return drawn


def _pictures(work: Work, one: WaveWork, of: Subject) -> _Pictures:
    changes = of_indicator(one.shared_changes, of)
    drawn = _maps(work, one, of, changes)
    doubts = [(views.uncertainty_map(of, one.ground.base), one.ground)] if one.ground else []
    headline = " ".join(headlines(of))
    topic = views.topic(of, one.since)
    changed = ""
    estimates, trends = list(of.estimates.values()), list(changes.values())
    caption = words.caption(one.wave, of.indicator, estimates, of.scale)
    captions = dict.fromkeys(("map", "bands", "tiles", "ranking", "uncertainty"), caption)
    if changes:
        changed = words.change_headline(trends, work.names, one.since, topic.place, of.scale, of.higher_is_better)
        captions["change"] = words.change_caption(one.wave, of.indicator, estimates, trends, one.since, of.scale)
    by_kind = dict.fromkeys(("map", "bands", "tiles", "ranking"), headline)
    return _Pictures(
        maps=drawn,
        doubts=doubts,
        tables=_rankings(work, one, of) if of.ranked else [],
        alts=_alts(of, topic, trends, work.names, [spec for spec, _ in [*drawn, *doubts]]),
        headlines=by_kind | {"change": changed, "uncertainty": ""},
        captions=captions,
        since=one.since if changes else "",
    )


def _drawings(of: Subject, drawn: _Pictures) -> dict[str, Drawing]:
    made = {str(spec.kind): static_map.drawing(spec, there.canvas) for spec, there in [*drawn.maps, *drawn.doubts]}
    for estimates, ground in drawn.maps[:1]:
        made["tiles"] = static_map.tile_drawing(estimates, ground.canvas)
    if drawn.own_tables:
        made["ranking"] = rankings.drawing(of, drawn.own_tables, drawn.headlines["ranking"])
    return made


def _alts(
    of: Subject, topic: words.Topic, changes: Sequence[Row], names: Mapping[str, str], drawn: Sequence[MapSpec]
) -> dict[str, str]:
    """What each picture of an indicator shows, for those who do not see it."""
    estimates = [row for (level, _), row in of.estimates.items() if level == "district"]
    ranked = list(of.rankings.values())
    rows: dict[str, Sequence[Row]] = {"map": estimates, "uncertainty": estimates, "bands": ranked, "change": changes}
    alts = {"ranking": words.alt_text("ranking", topic, ranked, names)}
    for spec in drawn:
        known = {row["district_id" if spec.kind == "bands" else "unit_id"] for row in rows[spec.kind]}
        grey = sum(place.district_id not in known for place in spec.having("no_data"))
        pictures: Sequence[words.Picture] = ("estimate", "tiles") if spec.kind == "map" else (spec.kind,)
        alts |= {kind: words.alt_text(kind, topic, rows[spec.kind], names, grey) for kind in pictures}
    return {**alts, "map": alts["estimate"]} if drawn else alts


def _indicator_page(work: Work, one: WaveWork, of: Subject, about: Mapping[str, Any]) -> _Pictures:
    """Write the page of an indicator, and what can be taken from it where it is a headline; what is shown of it."""
    name, drawn = f"{one.name}/{of.indicator['indicator']}", _pictures(work, one, of)
    nothing = views.nothing_published(of)
    made = _indicator_embeds(work, one, of, drawn) if of.indicator["headline"] and not nothing else []
    content = {
        "of": of,
        "indicator": of.indicator,
        "headline": drawn.headlines["map"],
        "summary": views.province_summary(of),
        "measure": views.measure(of),
        "nothing": nothing,
        "views": [
            {"spec": spec, "ground": there, "figure": plotly_map.figure(spec, there.base)} for spec, there in drawn.maps
        ],
        "doubts": [{"spec": spec, "ground": there} for spec, there in drawn.doubts],
        "rankings": drawn.tables,
        "unranked": [] if drawn.tables else rankings.estimate_rows(of, of_indicator(one.changes, of)),
        "alts": drawn.alts,
        "since": drawn.since,
        "change_headline": drawn.headlines["change"],
        **panels(made),
    }
    work.write_page(name, "indicator", {**about, **content})
    work.made.found.append((of.indicator["label"], one.wave["title"], f"{name}.html"))
    return drawn


def _indicator_embeds(work: Work, one: WaveWork, of: Subject, drawn: _Pictures) -> list[Embed]:
    """Write the embeds and the data of an indicator, and have its images written."""
    name = f"{one.name}/{of.indicator['indicator']}"
    bodies, notes = {}, {}
    for spec, there in [*drawn.maps, *drawn.doubts]:
        bodies[str(spec.kind)] = site_embeds.map_body(work.parts, spec, there.canvas, drawn.alts[spec.kind])
        notes[str(spec.kind)] = (*spec.notes, spec.boundary)
    for tiles, ground in drawn.maps[:1]:
        bodies["tiles"] = site_embeds.map_body(work.parts, tiles, ground.canvas, drawn.alts["tiles"], tiles=True)
        notes["tiles"] = tiles.notes
    bodies["ranking"] = site_embeds.ranking_body(work.parts, of, drawn.own_tables, drawn.since)
    notes["ranking"] = (rankings.OVERLAP,)
    drawings = _drawings(of, drawn)
    made = site_embeds.indicator_embeds(of, drawings, bodies, notes, drawn.alts, drawn.headlines, drawn.captions)
    write_embeds(work, made)
    for kind, drawing in drawings.items():
        table = {"change": "published_trends", "bands": "district_rankings", "ranking": "district_rankings"}.get(kind)
        inputs = {"table": table or "published_estimates", "indicator": of.indicator["indicator"], "figure": kind}
        draw(work, f"{name}-{kind}", drawing, one.wave, inputs)
    data = site_embeds.indicator_data(of, one.changes, work.unit_names, f"{name}.html")
    work.made.downloads.append((data, work.root / name))
    return made


def _rankings(work: Work, one: WaveWork, of: Subject) -> list[Ranking]:
    """The rankings of an indicator in a wave and in the waves that its round ranks it with."""
    waves = {wave["wave"] for wave in work.waves if together(wave) == together(one.wave)}
    ranked = [row for row in work.ranks.get((of.indicator["indicator"],), []) if row["wave"] in waves]
    links = work.diagnoses.get(of.indicator["indicator"], {})
    changes = {(one.name, district): row for district, row in of_indicator(one.changes, of).items()}
    return rankings.rankings(of, ranked, work.place_rows, links, changes)
