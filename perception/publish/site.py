"""The site: every page, image and asset, built from published tables in a new folder that then replaces the old one.

What a map says is `views`, a ranking `rankings`, a district's page `profiles`; figures of drivers are `figures`, what
stands around them `driver_pages`. This module puts them on pages; `images` writes the files of all drawings at the end.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.errors import InputError, Problem
from perception.publish import (
    driver_pages,
    embeds,
    figures,
    images,
    maps,
    plotly_figures,
    plotly_map,
    profiles,
    rankings,
    site_embeds,
    static_figures,
    static_map,
    views,
    words,
)
from perception.publish.downloads import write_downloads
from perception.publish.drawing import Drawing
from perception.publish.driver_pages import ModelPage
from perception.publish.embeds import Embed
from perception.publish.figures import Figure
from perception.publish.images import Image
from perception.publish.maps import MapSpec, Row, records
from perception.publish.profiles import Profile
from perception.publish.rankings import Ranking
from perception.publish.views import Subject

if TYPE_CHECKING:
    from jinja2 import Environment

    from perception.geography import Geometry

TABLES = (
    "published_estimates",
    "district_rankings",
    "index_sensitivity",
    "published_gaps",
    "published_trends",
    "withheld",
    *driver_pages.TABLES_OF_DRIVERS,
    "published_waves",
    "published_indicators",
)
"""The tables that the site is made from."""
OTHER_FOLDERS = ("assets", "districts", "services")
"""Folders of the site beside those of the waves."""


def write_site(
    tables: Mapping[str, pd.DataFrame],
    geometries: Mapping[str, Geometry],
    units: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    made_at: str,
) -> dict[str, Path]:
    """Build the site of all published waves in `folder`; a failure leaves the old site as it was.

    `tables` has `TABLES`, any of them empty but that of waves; `geometries` and `units` the shapes and districts
    (`geography.vintage_units`) by vintage, those of trends included; `made_at` is written into the provenance files.
    Returns the pages by name: `index`, `methods`, `districts/index`, `districts/<district>`, `services/index`,
    `services/<instrument>-<service>`, `<wave>/index`, `<wave>/quality`, `<wave>/<indicator>`, `<wave>/drivers`,
    `<wave>/drivers-<model>`, `<wave>/drivers-<model>-districts`. InputError lists vintages without geometry, districts
    that are not on their vintage, and waves whose id is the name of another folder of the site.
    """
    _check(tables, geometries, units)
    tables = {**tables, "published_estimates": maps.shown_estimates(tables["published_estimates"])}
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)  # an earlier run died between the two renames below
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        work = _Work(tables, geometries, units, fresh, made_at, page_environment())
        _build(work)
        images.write_images(work.images, fresh, folder)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return {name: folder / page for name, page in work.pages.items()}


def _check(
    tables: Mapping[str, pd.DataFrame], geometries: Mapping[str, Geometry], units: Mapping[str, pd.DataFrame]
) -> None:
    problems = []
    placed = {
        "published_estimates": _only(tables["published_estimates"], level="district").rename(
            columns={"unit_id": "district_id"}
        ),
        "published_diagnosis": tables["published_diagnosis"],
    }
    for wave, vintage in zip(*(tables["published_waves"][name] for name in ("wave", "vintage")), strict=True):
        if wave in OTHER_FOLDERS:
            what = f"its id is the name of a folder that every site has: {', '.join(OTHER_FOLDERS)}"
            problems.append(Problem(f"wave {wave}", what, "Give the wave another id."))
        shared = _only(tables["published_trends"], wave=wave)["vintage"].dropna().unique()
        for needed in dict.fromkeys([vintage, *shared]):
            if needed not in geometries or needed not in units:
                remedy = f"Pass the geometry and the units of vintage {needed}."
                problems.append(Problem(f"wave {wave}", f"no districts are known for its vintage {needed}", remedy))
        if vintage not in units:
            continue
        for table, districts in placed.items():
            found = set(_only(districts, wave=wave)["district_id"])
            if strange := sorted(found - set(units[vintage]["district_id"])):
                what = f"{table} has districts that are not on vintage {vintage}: {', '.join(strange)}"
                problems.append(Problem(f"wave {wave}", what, "Correct the wave's vintage or its district names."))
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class _Ground:
    """Where a wave is drawn, in degrees and in pixels, and a name for it that is unique on the site."""

    key: str
    base: maps.BaseMap
    canvas: static_map.Canvas


@dataclass(frozen=True)
class _WaveWork:
    """A wave with what its pages share: subjects by indicator, changes by (indicator, district), where it is drawn."""

    wave: Row
    subjects: Mapping[str, Subject]
    changes: Mapping[tuple[str, str], Row]
    shared_vintage: str
    since: str
    ground: _Ground | None
    models: Sequence[ModelPage]

    @property
    def name(self) -> str:
        return str(self.wave["wave"])

    @property
    def headline(self) -> list[Subject]:
        return [of for of in self.subjects.values() if of.indicator["headline"]]


@dataclass
class _Work:
    """What building needs everywhere: the sources, the folder, the templates, and what is made once and used again."""

    tables: Mapping[str, pd.DataFrame]
    geometries: Mapping[str, Geometry]
    units: Mapping[str, pd.DataFrame]
    root: Path
    made_at: str
    templates: Environment
    grounds: dict[str, _Ground] = field(default_factory=dict)
    pages: dict[str, Path] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """What the search box finds: (label, what it is, page)."""

    @cached_property
    def waves(self) -> list[Row]:
        """The waves, newest first."""
        newest_first = self.tables["published_waves"].sort_values(["last_day", "wave"], ascending=[False, True])
        return records(newest_first)

    @cached_property
    def titles(self) -> dict[str, str]:
        """The title of each wave."""
        return {wave["wave"]: wave["title"] for wave in self.waves}

    @cached_property
    def places(self) -> pd.DataFrame:
        """Every district of any vintage once, as its newest vintage has it."""
        newest = [self.units[vintage] for vintage in sorted(self.units, reverse=True)]
        return pd.concat(newest).drop_duplicates("district_id")

    @cached_property
    def parts(self) -> Any:
        """The macros of pages, for pages in a folder of the site."""
        return site_embeds.parts_of(self.templates, "../")

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of every district."""
        return dict(zip(self.places["district_id"], self.places["name"], strict=True))

    @cached_property
    def estimates(self) -> dict[tuple[str, ...], pd.DataFrame]:
        """The estimates of everybody by wave and indicator."""
        return _by(_only(self.tables["published_estimates"], domain="all"), "wave", "indicator")

    @cached_property
    def ranks(self) -> dict[str, pd.DataFrame]:
        """The rankings by indicator, with the ranks under other weights."""
        key = ["wave", "indicator", "scope", "district_id"]
        weights = {"rank_low": "weights_low", "rank_high": "weights_high"}
        by_weights = self.tables["index_sensitivity"][[*key, *weights]].rename(columns=weights)
        ranks = self.tables["district_rankings"].merge(by_weights, on=key, how="left", validate="1:1")
        return {str(name): frame for name, frame in ranks.groupby("indicator")}

    def write_page(self, name: str, template: str, content: Mapping[str, Any]) -> None:
        """Render a page and remember it under its name."""
        page = Path(f"{name}.html")
        root = "../" * (len(page.parts) - 1)
        text = self.templates.get_template(f"{template}.html.j2").render({"root": root, **content})
        (self.root / page).write_text(text, encoding="utf-8")
        self.pages[name] = page


def _build(work: _Work) -> None:
    """Write everything but the images."""
    for folder in (*OTHER_FOLDERS, *work.titles):
        (work.root / folder).mkdir()
    waves = [_wave_work(work, wave) for wave in work.waves]
    for one in waves:
        _wave_pages(work, one)
    homes = _district_pages(work, waves)
    _service_pages(work, waves)
    _overview_pages(work, waves, homes)
    embeds.write_index(work.embeds, work.waves, work.root)
    _write_assets(work)


def _wave_work(work: _Work, wave: Row) -> _WaveWork:
    name, places = wave["wave"], work.units[wave["vintage"]]
    indicators = records(_only(work.tables["published_indicators"], wave=name))
    labels = {row["indicator"]: row["label"] for row in indicators}
    subjects = {}
    for indicator in indicators:
        rows = work.estimates.get((name, indicator["indicator"]))
        average_only = not indicator["headline"] and str(indicator["sdg_16_6_2"]).endswith("/average")
        if rows is None or average_only or not (rows["level"] == "district").any():
            continue
        ranks = work.ranks.get(indicator["indicator"], work.tables["district_rankings"].iloc[:0])
        peers = _peers(work, wave, indicator)
        own = _only(ranks, wave=name)
        subjects[indicator["indicator"]] = views.subject(wave, indicator, rows, own, peers, places)
    trends = _only(work.tables["published_trends"], wave=name, level="district", domain="all")
    surveyed = {key for of in subjects.values() for level, key in of.estimates if level == "district"}
    provinces = sorted(places.loc[places["district_id"].isin(surveyed), "province_id"].unique())
    predecessor = maps.text(wave["predecessor"])
    return _WaveWork(
        wave=wave,
        subjects=subjects,
        changes={(row["indicator"], row["unit_id"]): row for row in records(trends)},
        shared_vintage=str(trends["vintage"].iloc[0]) if len(trends) else "",
        since=work.titles.get(predecessor, predecessor),
        ground=_ground(work, wave["vintage"], provinces) if provinces else None,
        models=driver_pages.model_pages(wave, work.tables, labels, places, work.titles),
    )


def _about(one: _WaveWork) -> dict[str, Any]:
    """What every page of a wave says."""
    wave = one.wave
    return {"wave": wave, "dates": maps.dates(wave), "simulated": bool(wave["simulated"]), "models": one.models}


def _wave_pages(work: _Work, one: _WaveWork) -> None:
    about = _about(one)
    if one.models:
        work.write_page(f"{one.name}/drivers", "drivers", about)
    for model in one.models:
        _driver_pages(work, model, about)
    cards = []
    for of in one.subjects.values():
        if one.ground is None:
            continue
        spec, headline = _indicator_page(work, one, of, one.ground, about)
        if of.indicator["headline"]:
            cards.append({"spec": spec, "headline": headline})
    services: dict[str, list[dict[str, Any]]] = {}
    for name, of in one.subjects.items():
        row = {"of": of, "page": name, "summary": views.province_summary(of), "bands": _band_counts(of)}
        services.setdefault(maps.text(of.indicator["service_label"]) or "Other", []).append(row)
    content = about | {"cards": cards, "ground": one.ground, "services": services}
    work.write_page(f"{one.name}/index", "wave", content)
    work.found.append((one.wave["title"], "Survey", f"{one.name}/index.html"))
    work.write_page(f"{one.name}/quality", "wave_quality", about | {"results": _quality(work, one)})


def _band_counts(of: Subject) -> dict[str, int]:
    bands = [row["band"] for row in of.rankings.values()]
    return {band: bands.count(band) for band in views.BANDS}


def _quality(work: _Work, one: _WaveWork) -> list[dict[str, Any]]:
    """By indicator: answers, those who do not know or refuse, and how many districts are published, and why not."""
    held = _only(work.tables["withheld"], wave=one.name, level="district", domain_kind="all", method="direct")
    why = {str(name): records(rows) for name, rows in held.groupby("indicator")}
    results = []
    for name, of in one.subjects.items():
        districts = [row for (level, _), row in of.estimates.items() if level == "district"]
        qualities = [row["quality"] for row in districts]
        whole = of.estimates.get(("all", "all"))
        results.append(
            {
                "label": of.indicator["label"],
                "page": name,
                "n": "" if whole is None or pd.isna(whole["n"]) else f"{int(whole['n']):,}",
                "dont_know": _percent(whole, "dont_know_share"),
                "refused": _percent(whole, "refused_share"),
                "counts": [qualities.count(quality) for quality in ("publish", "caution", "suppress")],
                "why": "; ".join(f"{row['words']}: {row['withheld']}" for row in why.get(name, [])),
            }
        )
    return results


def _percent(row: Row | None, column: str) -> str:
    return "" if row is None or pd.isna(row[column]) else f"{100 * row[column]:.1f}%"


def _driver_pages(work: _Work, model: ModelPage, about: Mapping[str, Any]) -> None:
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


def _chart(work: _Work, figure: Figure, name: str, wave: Row) -> dict[str, Any]:
    """Have the images of a figure written; what a page needs to show it."""
    inputs = {"tables": list(driver_pages.TABLES_OF_DRIVERS), "figure": Path(name).name}
    _draw(work, name, static_figures.drawing(figure), wave, inputs)
    return {"figure": figure, "content": plotly_figures.content(figure), "file": Path(name).name}


def _draw(work: _Work, path: str, drawing: Drawing, wave: Row, inputs: Mapping[str, Any]) -> None:
    """Have the image files of a drawing written beside a page, with what they were made from."""
    provenance = {
        "title": drawing.facts["Title"],
        "simulated": drawing.simulated,
        "inputs": {"wave": wave["wave"], "wave_version": wave["wave_version"], **inputs},
        "citation": wave["citation"],
        "licence": wave["licence"],
        "code_version": _code_version(),
        images.MADE_AT: work.made_at,
    }
    work.images.append(Image(path, drawing, provenance))


def _code_version() -> str:
    try:
        return importlib.metadata.version("perception")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class _Pictures:
    """What is drawn of an indicator: its maps and where, tiles, rankings; as drawings and in words, by kind."""

    maps: Sequence[tuple[MapSpec, _Ground]]
    doubt: tuple[MapSpec, _Ground]
    tables: Sequence[Ranking]
    drawings: Mapping[str, Drawing]
    alts: Mapping[str, str]
    headlines: Mapping[str, str]
    since: str

    @property
    def own_tables(self) -> list[Ranking]:
        """The rankings of the wave's provinces."""
        return [table for table in self.tables if table.own]


def _pictures(work: _Work, one: _WaveWork, of: Subject, ground: _Ground) -> _Pictures:
    estimates = views.estimate_map(of, ground.base)
    drawn = [(estimates, ground), (views.band_map(of, ground.base), ground)]
    changes = {district: row for (key, district), row in one.changes.items() if key == of.indicator["indicator"]}
    if any(maps.is_published(row) for row in changes.values()):
        shared, units = _ground(work, one.shared_vintage, ground.base.provinces), work.units[one.shared_vintage]
        drawn.append((views.change_map(of, changes, one.since, shared.base, units), shared))
    doubt = (views.uncertainty_map(of, ground.base), ground)
    tables = _rankings(work, one, of)
    headline = " ".join(_headlines(of))
    topic = views.topic(of, one.since)
    changed = ""
    if changes:
        rows = list(changes.values())
        changed = words.change_headline(rows, work.names, one.since, topic.place, of.scale, of.higher_is_better)
    drawings = {
        **{str(spec.kind): static_map.drawing(spec, there.canvas) for spec, there in [*drawn, doubt]},
        "tiles": static_map.tile_drawing(estimates, ground.canvas),
        "ranking": rankings.drawing(of, [table for table in tables if table.own], headline),
    }
    return _Pictures(
        maps=drawn,
        doubt=doubt,
        tables=tables,
        drawings=drawings,
        alts=_alts(of, topic, list(changes.values()), work.names, len(estimates.having("no_data"))),
        headlines={**dict.fromkeys(drawings, headline), "change": changed, "uncertainty": ""},
        since=one.since if changes else "",
    )


def _alts(
    of: Subject, topic: words.Topic, changes: Sequence[Row], names: Mapping[str, str], without: int
) -> dict[str, str]:
    """What each picture of an indicator shows, for those who do not see it; `without` districts have no data."""
    estimates = [row for (level, _), row in of.estimates.items() if level == "district"]
    ranked = list(of.rankings.values())
    rows: dict[words.Picture, Sequence[Row]] = {"estimate": estimates, "tiles": estimates, "uncertainty": estimates}
    rows |= {"bands": ranked, "ranking": ranked, "change": changes}
    alts = {str(kind): words.alt_text(kind, topic, shown, names, without) for kind, shown in rows.items()}
    return {**alts, "map": alts["estimate"]}


def _indicator_page(
    work: _Work, one: _WaveWork, of: Subject, ground: _Ground, about: Mapping[str, Any]
) -> tuple[MapSpec, str]:
    """Write the page of an indicator, and what can be taken from it where it is a headline; its map and headline."""
    name, drawn = f"{one.name}/{of.indicator['indicator']}", _pictures(work, one, of, ground)
    made = _indicator_embeds(work, one, of, drawn) if of.indicator["headline"] else []
    estimates, headline = drawn.maps[0][0], drawn.headlines["map"]
    content = {
        "of": of,
        "indicator": of.indicator,
        "headline": headline,
        "summary": views.province_summary(of),
        "measure": views.measure(of),
        "views": [
            {"spec": spec, "ground": there, "figure": plotly_map.figure(spec, there.base)} for spec, there in drawn.maps
        ],
        "tiles": {"spec": estimates, "ground": ground},
        "doubt": {"spec": drawn.doubt[0], "ground": ground},
        "rankings": drawn.tables,
        "alts": drawn.alts,
        "since": drawn.since,
        "change_headline": drawn.headlines["change"],
        **_panels(made),
    }
    work.write_page(name, "indicator", {**about, **content})
    work.found.append((of.indicator["label"], one.wave["title"], f"{name}.html"))
    return estimates, headline


def _indicator_embeds(work: _Work, one: _WaveWork, of: Subject, drawn: _Pictures) -> list[Embed]:
    """Write the embeds and the data of an indicator, and have its images written."""
    name, (tiles, ground) = f"{one.name}/{of.indicator['indicator']}", drawn.maps[0]
    bodies, notes = {}, {}
    for spec, there in [*drawn.maps, drawn.doubt]:
        bodies[str(spec.kind)] = site_embeds.map_body(work.parts, spec, there.canvas, drawn.alts[spec.kind])
        notes[str(spec.kind)] = (*spec.notes, spec.boundary)
    bodies["tiles"] = site_embeds.map_body(work.parts, tiles, ground.canvas, drawn.alts["tiles"], tiles=True)
    bodies["ranking"] = site_embeds.ranking_body(work.parts, of, drawn.own_tables, drawn.since)
    notes |= {"tiles": tiles.notes, "ranking": (rankings.OVERLAP,)}
    made = site_embeds.indicator_embeds(of, drawn.drawings, bodies, notes, drawn.alts, drawn.headlines)
    _write_embeds(work, made)
    for kind, drawing in drawn.drawings.items():
        inputs = {"table": "published_estimates", "indicator": of.indicator["indicator"], "figure": kind}
        _draw(work, f"{name}-{kind}", drawing, one.wave, inputs)
    areas = {
        area: label
        for level in ("division", "province")
        for area, label in zip(work.places[f"{level}_id"], work.places[level], strict=True)
    }
    data = site_embeds.indicator_data(of, one.changes, work.names | areas, f"{name}.html", _code_version())
    write_downloads(data, work.root / name)
    return made


def _panels(made: Sequence[Embed]) -> dict[str, Any]:
    """What a page in a folder of the site needs to offer embeds: their panels by kind, and the tag of the first."""
    link = embeds.oembed_link(made[0], embeds.PREVIEW_ADDRESS) if made else ""
    return {"panels": {embed.kind: embeds.panel(embed, "../") for embed in made}, "oembed_link": link}


def _write_embeds(work: _Work, made: Sequence[Embed]) -> None:
    for embed in made:
        embeds.write_embed(embed, work.root, work.templates)
    work.embeds += made


def _headlines(of: Subject) -> list[str]:
    """The message of the ranking in each province."""
    by_province: dict[str, list[Row]] = {}
    for row in of.rankings.values():
        by_province.setdefault(row["scope_id"], []).append(row)
    names = dict(zip(of.districts["district_id"], of.districts["name"], strict=True))
    provinces = dict(zip(of.districts["province_id"], of.districts["province"], strict=True))
    return [words.ranking_headline(rows, names, provinces[key]) for key, rows in sorted(by_province.items())]


def _rankings(work: _Work, one: _WaveWork, of: Subject) -> list[Ranking]:
    """The rankings of an indicator in a wave and in the waves that its round ranks it with."""
    same = {name: one.wave[name] for name in ("instrument", "round", "simulated")}
    waves = _only(work.tables["published_waves"], **same)
    ranks = work.ranks.get(of.indicator["indicator"])
    if ranks is None:
        return []
    ranked = ranks[ranks["wave"].isin(waves["wave"])]
    links = driver_pages.diagnosis_links(work.tables["published_diagnosis"], of.indicator["indicator"])
    changes = {
        (one.name, district): row for (key, district), row in one.changes.items() if key == of.indicator["indicator"]
    }
    places = work.places[["district_id", "name", "province", "province_id"]]
    return rankings.rankings(of, ranked, places, links, changes)


def _district_pages(work: _Work, waves: Sequence[_WaveWork]) -> dict[str, list[Profile]]:
    """Write a page for every district with its profile in the newest wave of each instrument; profiles by district."""
    gaps = {key: records(rows) for key, rows in _by(_level(work, "published_gaps"), "wave", "unit_id").items()}
    found: dict[str, list[Profile]] = {}
    seen: set[tuple[str, str]] = set()
    cards: dict[str, Embed] = {}
    for one in waves:
        told: dict[str, list[tuple[str, str]]] = {}
        for model in one.models:
            for district in model.districts:
                place = f"{one.name}/{model.page}-districts.html#{district.district_id}"
                told.setdefault(district.district_id, []).append((district.figure.reading, place))
        subjects = list(one.subjects.values())
        surveyed = {key for of in subjects for level, key in of.estimates if level == "district"}
        for unit in records(work.units[one.wave["vintage"]]):
            key, instrument = unit["district_id"], one.wave["instrument"]
            if key not in surveyed or (key, instrument) in seen:
                continue
            seen.add((key, instrument))
            rows = gaps.get((one.name, key), [])
            made = profiles.profile(subjects, unit, one.changes, rows, told.get(key, []))
            found.setdefault(key, []).append(made)
            inputs = {"table": "published_estimates", "district": key, "figure": "card"}
            drawing = profiles.card(made)
            _draw(work, made.card, drawing, one.wave, inputs)
            embed = site_embeds.card_embed(made, drawing, work.parts.card(made))
            _write_embeds(work, [embed])
            cards[made.card] = embed
            data = site_embeds.district_data(subjects, made, one.changes, embed.page, _code_version())
            write_downloads(data, work.root / embed.data)
    by_name = {one.name: one for one in waves}
    beside = {vintage: _neighbours(geometry) for vintage, geometry in work.geometries.items()}
    for key, made_of in sorted(found.items()):
        newest = by_name[made_of[0].wave["wave"]]
        near = [
            {"district_id": other, "name": found[other][0].name, "message": found[other][0].message}
            for other in beside[newest.wave["vintage"]].get(key, [])
            if other in found
        ]
        content = {
            "name": made_of[0].name,
            "province": made_of[0].province,
            "profiles": [
                {"of": made, "history": _history(by_name, waves, made), "panel": embeds.panel(cards[made.card], "../")}
                for made in made_of
            ],
            "oembed_link": embeds.oembed_link(cards[made_of[0].card], embeds.PREVIEW_ADDRESS),
            "neighbours": near,
            "ground": newest.ground,
            "district_id": key,
            "simulated": all(made.wave["simulated"] for made in made_of),
        }
        work.write_page(f"districts/{key}", "district", content)
        work.found.append((made_of[0].name, f"District, {made_of[0].province}", f"districts/{key}.html"))
    return found


def _level(work: _Work, table: str) -> pd.DataFrame:
    return _only(work.tables[table], level="district")


def _neighbours(geometry: Geometry) -> dict[str, list[str]]:
    from perception.geography import neighbours

    pairs = neighbours(geometry.shapes)
    return {str(key): rows["neighbour_id"].tolist() for key, rows in pairs.groupby("district_id")}


def _history(
    by_name: Mapping[str, _WaveWork], waves: Sequence[_WaveWork], made: Profile
) -> dict[str, list[tuple[str, str, str]]]:
    """The headline results of a district in all waves of the instrument, newest first: (title, value, interval)."""
    newest = by_name[made.wave["wave"]]
    found: dict[str, list[tuple[str, str, str]]] = {}
    for of in newest.headline:
        cells = []
        for one in waves:
            then = one.subjects.get(of.indicator["indicator"])
            if one.wave["instrument"] != newest.wave["instrument"] or then is None:
                continue
            row = then.district(made.district_id)
            if row is not None:
                told = maps.is_published(row)
                value = of.scale.value(row["estimate"]) if told else "not published"
                cells.append((one.wave["title"], value, of.scale.interval(row["low"], row["high"]) if told else ""))
        if len(cells) > 1:
            found[str(of.indicator["label"])] = cells
    return found


def _service_pages(work: _Work, waves: Sequence[_WaveWork]) -> None:
    """Write a page for every service of an instrument: its indicators in all waves."""
    found: dict[str, dict[str, Any]] = {}
    for one in waves:
        for name, of in one.subjects.items():
            service = maps.text(of.indicator["service"])
            if not service:
                continue
            page = f"{one.wave['instrument']}-{service}"
            label = of.indicator["service_label"]
            content = found.setdefault(page, {"label": label, "indicators": {}, "waves": {}, "page": page})
            content["waves"][one.name] = one
            rows = content["indicators"].setdefault(name, {"of": of, "rows": []})["rows"]
            rows.append({"wave": one.wave, "summary": views.province_summary(of), "bands": _listed(of)})
    for page, content in found.items():
        simulated = all(one.wave["simulated"] for one in content["waves"].values())
        shown = sorted(content["indicators"].values(), key=lambda each: not each["of"].indicator["headline"])
        work.write_page(f"services/{page}", "service", {**content, "indicators": shown, "simulated": simulated})
        work.found.append((content["label"], "Service", f"services/{page}.html"))
    simulated = all(wave["simulated"] for wave in work.waves)
    work.write_page("services/index", "services", {"services": list(found.values()), "simulated": simulated})


def _listed(of: Subject) -> dict[str, list[dict[str, str]]]:
    """The low and the watched districts of an indicator, the worst first: id, name, rank set and estimate in words."""
    names = dict(zip(of.districts["district_id"], of.districts["name"], strict=True))
    found: dict[str, list[dict[str, str]]] = {"low": [], "watch": []}
    ranked = [row for row in of.rankings.values() if row["band"] in found]
    for row in sorted(ranked, key=lambda row: float(row["rank_expected"])):
        rank = words.rank_words(int(row["rank_low"]), int(row["rank_high"]), int(row["districts"]))
        key = row["district_id"]
        said = {"rank": rank, "estimate": words.estimate_words(row, of.scale)}
        found[row["band"]].append({"district_id": key, "name": names[key], **said})
    return found


def _overview_pages(work: _Work, waves: Sequence[_WaveWork], homes: Mapping[str, Sequence[Profile]]) -> None:
    """Write the home page, the list of districts and the page of methods."""
    simulated = bool(waves) and all(one.wave["simulated"] for one in waves)
    shown = sorted(waves, key=lambda one: bool(one.wave["simulated"]))
    latest = [one for one in shown if _together(one) == _together(shown[0])]
    sections = []
    for one in latest:
        if one.ground is None or not one.headline:
            continue
        main, *others = one.headline
        spec = views.band_map(main, one.ground.base)
        section = {"wave": one.wave, "ground": one.ground, "spec": spec, "headline": " ".join(_headlines(main))}
        section |= {"main": main, "listed": _listed(main), "dates": maps.dates(one.wave)}
        section["others"] = [{"of": of, "bands": _listed(of)} for of in others]
        sections.append(section)
    rounds: dict[str, list[_WaveWork]] = {}
    for one in shown:
        rounds.setdefault(f"{one.wave['instrument']} {one.wave['round']}", []).append(one)
    about = {"simulated": simulated}
    work.write_page("index", "index", {**about, "sections": sections, "rounds": list(rounds.values())})
    by_province: dict[str, list[Sequence[Profile]]] = {}
    for found in homes.values():
        by_province.setdefault(found[0].province, []).append(found)
    provinces = {
        province: sorted(by_province[province], key=lambda all_of: all_of[0].name) for province in sorted(by_province)
    }
    work.write_page("districts/index", "districts", {**about, "provinces": provinces})
    work.write_page("methods", "methods", about)


def _together(one: _WaveWork) -> tuple[str, str, bool]:
    return one.wave["instrument"], one.wave["round"], bool(one.wave["simulated"])


def _only(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which every named column has the wanted value."""
    for column, value in wanted.items():
        frame = frame.loc[frame[column] == value]
    return frame


def _by(frame: pd.DataFrame, *columns: str) -> dict[tuple[str, ...], pd.DataFrame]:
    return {tuple(map(str, key)): rows for key, rows in frame.groupby(list(columns), sort=False)}


def page_environment() -> Environment:
    """The templates of this package, escaping everything, a name that is not given being an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perception.publish"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals |= {
        "SIMULATED": maps.SIMULATED,
        "SIMULATED_NOTE": maps.SIMULATED_NOTE,
        "HATCH": (maps.HATCH_GROUND, maps.HATCH_LINE),
        "HATCHED": maps.HATCHED,
        "NO_DATA": maps.NO_DATA,
        "BANDS": views.BANDS,
        "BAND_COLOURS": views.BAND_COLOURS,
        "OVERLAP": rankings.OVERLAP,
        "QUADRANTS": figures.QUADRANTS,
        "NOT_CAUSE": figures.NOT_CAUSE,
        "MAP_CONFIG": plotly_map.CONFIG,
        "mark_fill": figures.mark_fill,
        "mark_colour": static_map.mark_colour,
        "dates_of": maps.dates,
        "list_of": words.list_of,
    }
    return environment


def _write_assets(work: _Work) -> None:
    from plotly.offline import get_plotlyjs

    assets, own = work.root / "assets", Path(__file__).with_name("templates")
    shutil.copyfile(own / "site.js", assets / "site.js")
    style = "".join((own / name).read_text(encoding="utf-8") for name in ("figures.css", "style.css"))
    (assets / "style.css").write_text(style, encoding="utf-8")
    (assets / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    drawn = {ground.base.geometry.vintage for ground in work.grounds.values()}
    for vintage in sorted(drawn):
        script = plotly_map.geometry_script(work.geometries[vintage], work.units[vintage])
        (assets / f"geometry-{vintage}.js").write_text(script, encoding="utf-8")
    entries = json.dumps(work.found, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    (assets / "search.js").write_text(f"window.perceptionSearch = {entries};\n", encoding="utf-8")


def _ground(work: _Work, vintage: str, provinces: Iterable[str]) -> _Ground:
    """The base map of a set of provinces; projected once for all waves drawn on it."""
    key = "-".join([vintage, *provinces])
    if key not in work.grounds:
        units = work.units[vintage]
        base = maps.base_map(work.geometries[vintage], units, list(provinces))
        names = dict(zip(units["district_id"], units["name"], strict=True))
        work.grounds[key] = _Ground(key, base, static_map.canvas(base, names))
    return work.grounds[key]


def _peers(work: _Work, wave: Row, indicator: Row) -> pd.Series:
    """Published district estimates of an indicator in all waves of the same instrument: what its classes rest on."""
    same = [
        one["wave"]
        for one in work.waves
        if (one["instrument"], one["simulated"]) == (wave["instrument"], wave["simulated"])
    ]
    frames = [rows for name in same if (rows := work.estimates.get((name, indicator["indicator"]))) is not None]
    rows = pd.concat(frames)
    return rows.loc[(rows["level"] == "district") & (rows["quality"] != "suppress"), "estimate"]
