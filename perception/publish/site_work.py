"""What building the site needs everywhere: sources, folder, templates, grounds that maps are drawn on, pages so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.fingerprint import code_version
from perception.publish import (
    driver_pages,
    embeds,
    images,
    maps,
    site_embeds,
    static_map,
    words,
)
from perception.publish.downloads import Download
from perception.publish.drawing import Drawing
from perception.publish.driver_pages import ModelPage
from perception.publish.embeds import Embed
from perception.publish.images import Image
from perception.publish.language import ENGLISH, LANGUAGES, Language
from perception.publish.maps import Row, Scale, records
from perception.publish.page_templates import page_environment
from perception.publish.views import Subject

if TYPE_CHECKING:
    from jinja2 import Environment

    from perception.geography import Geometry


@dataclass(frozen=True)
class Ground:
    """Where a wave is drawn, in degrees and in pixels."""

    base: maps.BaseMap
    canvas: static_map.Canvas


@dataclass(frozen=True)
class WaveWork:
    """A wave with what its pages share: subjects by indicator, changes by (indicator, unit), where it is drawn.

    Units of `shared_changes` are those of the map that the wave shares with the one before; `changes` has those of
    them that are a district of the wave too, in the same borders.
    """

    wave: Row
    subjects: Mapping[str, Subject]
    changes: Mapping[tuple[str, str], Row]
    shared_changes: Mapping[tuple[str, str], Row]
    shared_vintage: str
    since: str
    ground: Ground | None
    has_models: bool

    @property
    def name(self) -> str:
        return str(self.wave["wave"])

    @property
    def headline(self) -> list[Subject]:
        return [of for of in self.subjects.values() if of.indicator["headline"]]


@dataclass
class Made:
    """What was made: pages by name, images and downloads yet to be written, embeds, what the search box finds."""

    pages: dict[str, Path] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    downloads: list[tuple[Download, Path]] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """(label, what it is, page)."""

    def add(self, other: Made) -> None:
        """Add what else was made."""
        self.pages |= other.pages
        self.images += other.images
        self.downloads += other.downloads
        self.embeds += other.embeds
        self.found += other.found


@dataclass
class Work:
    """What building needs everywhere: sources, folder, templates by language, and what is made once and used again.

    `labels` are those of `labels_in` by the code of their language, `scales` those of indicators by (wave, indicator).
    Another process that is handed it gets the sources and the folder, and makes the rest itself.
    """

    tables: Mapping[str, pd.DataFrame]
    geometries: Mapping[str, Geometry]
    units: Mapping[str, pd.DataFrame]
    labels: Mapping[str, Mapping[str, str]]
    scales: Mapping[tuple[str, str], Scale]
    root: Path
    made_at: str
    grounds: dict[str, Ground] = field(default_factory=dict)
    by_name: dict[str, list[Row]] = field(default_factory=dict)
    by_wave: dict[str, WaveWork] = field(default_factory=dict)
    made: Made = field(default_factory=Made)

    def __reduce__(self) -> tuple[type[Work], tuple[Any, ...]]:
        sources = (self.tables, self.geometries, self.units, self.labels, self.scales)
        return Work, (*sources, self.root, self.made_at)

    @cached_property
    def environments(self) -> dict[Language, Environment]:
        """The templates by language."""
        return {language: page_environment(language, self.labels[language.code]) for language in LANGUAGES}

    @property
    def templates(self) -> Environment:
        """The templates in English, in which everything is made that pages of all languages share."""
        return self.environments[ENGLISH]

    @cached_property
    def waves(self) -> list[Row]:
        """The waves, newest first."""
        return records(maps.newest_first(self.tables["published_waves"]))

    def wave(self, name: str) -> Row:
        """The row of a wave."""
        return next(wave for wave in self.waves if wave["wave"] == name)

    @cached_property
    def titles(self) -> dict[str, str]:
        """The title of each wave."""
        return {wave["wave"]: wave["title"] for wave in self.waves}

    def districts(self, vintage: str) -> list[Row]:
        """The districts of a vintage by province and name."""
        if vintage not in self.by_name:
            self.by_name[vintage] = records(self.units[vintage].sort_values(["province", "name"]))
        return self.by_name[vintage]

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
    def place_rows(self) -> dict[str, Row]:
        """The row of every district."""
        return {row["district_id"]: row for row in records(self.places)}

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of every district."""
        return dict(zip(self.places["district_id"], self.places["name"], strict=True))

    @cached_property
    def unit_names(self) -> dict[str, str]:
        """The name of every district, division and province."""
        larger = {
            unit: name
            for level in ("division", "province")
            for unit, name in zip(self.places[f"{level}_id"], self.places[level], strict=True)
        }
        return self.names | larger

    @cached_property
    def estimates(self) -> dict[tuple[str, ...], list[Row]]:
        """The estimates of everybody by wave and indicator."""
        return rows_by(only(self.tables["published_estimates"], domain="all"), "wave", "indicator")

    @cached_property
    def ranks(self) -> dict[tuple[str, ...], list[Row]]:
        """The rankings by indicator, with the ranks under other weights."""
        key = ["wave", "indicator", "scope", "district_id"]
        weights = {"rank_low": "weights_low", "rank_high": "weights_high"}
        by_weights = self.tables["index_sensitivity"][[*key, *weights]].rename(columns=weights)
        ranks = self.tables["district_rankings"].merge(by_weights, on=key, how="left", validate="1:1")
        return rows_by(ranks, "indicator")

    @cached_property
    def diagnoses(self) -> dict[str, dict[tuple[str, str], str]]:
        """By indicator where the diagnosis of (wave, district) is."""
        table = self.tables["published_diagnosis"]
        return {outcome: driver_pages.diagnosis_links(table, outcome) for outcome in table["outcome"].unique()}

    def write_page(self, name: str, template: str, content: Mapping[str, Any]) -> None:
        """Render a page in every language, and remember the English one under its name.

        Templates are told the way to the `root` of the language's pages and to that of the `site`, where the page is
        (`here`), and the way to the files made `beside` the English page.
        """
        page = Path(f"{name}.html")
        root = "../" * (len(page.parts) - 1)
        folder = "".join(f"{part}/" for part in page.parts[:-1])
        for language, templates in self.environments.items():
            site = language.up + root
            ways = {"root": root, "site": site, "here": page.as_posix(), "beside": site + folder if language.up else ""}
            text = templates.get_template(f"{template}.html.j2").render({**ways, **content})
            (self.root / language.folder / page).write_text(text, encoding="utf-8")
        self.made.pages[name] = page


def ground_of(work: Work, vintage: str, provinces: Iterable[str]) -> Ground | None:
    """The base map of a set of provinces, projected once for all waves drawn on it; None where none has a shape.

    A user's boundary file need not have every province.
    """
    provinces = list(provinces)
    key = "-".join([vintage, *provinces])
    if key not in work.grounds:
        units = work.units[vintage]
        within = units.loc[units["province_id"].isin(provinces), "district_id"]
        if not work.geometries[vintage].shapes["district_id"].isin(within).any():
            return None
        base = maps.base_map(work.geometries[vintage], units, provinces)
        names = dict(zip(units["district_id"], units["name"], strict=True))
        work.grounds[key] = Ground(base, static_map.canvas(base, names))
    return work.grounds[key]


def models_of(work: Work, wave: Row) -> list[ModelPage]:
    """What is said of the driver models of a wave; takes long."""
    indicators = only(work.tables["published_indicators"], wave=wave["wave"])
    labels = dict(zip(indicators["indicator"], indicators["label"], strict=True))
    return driver_pages.model_pages(wave, work.tables, labels, work.units[wave["vintage"]], work.titles)


def draw(work: Work, path: str, drawing: Drawing, wave: Row, inputs: Mapping[str, Any]) -> None:
    """Have the image files of a drawing written beside a page, with what they were made from."""
    provenance = {
        "title": drawing.facts["Title"],
        "simulated": drawing.simulated,
        "inputs": {"wave": wave["wave"], "wave_version": wave["wave_version"], **inputs},
        "citation": words.citation_words(wave),
        "licence": wave["licence"],
        "code_version": code_version(),
        images.MADE_AT: work.made_at,
    }
    work.made.images.append(Image(path, drawing, provenance))


def panels(made: Sequence[Embed]) -> dict[str, Any]:
    """What a page in a folder of the site needs to offer embeds: their panels by kind, and the tag of the first."""
    link = embeds.oembed_link(made[0], embeds.PREVIEW_ADDRESS) if made else ""
    return {"panels": {embed.kind: embeds.panel(embed, "../") for embed in made}, "oembed_link": link}


def write_embeds(work: Work, made: Sequence[Embed]) -> None:
    for embed in made:
        embeds.write_embed(embed, work.root, work.templates)
    work.made.embeds += made


def together(wave: Row) -> tuple[str, str, bool]:
    """What waves have in common that are ranked together."""
    return wave["instrument"], wave["round"], bool(wave["simulated"])


def headlines(of: Subject) -> list[str]:
    """The message of the ranking in each province."""
    by_province: dict[str, list[Row]] = {}
    for row in of.rankings.values():
        by_province.setdefault(row["scope_id"], []).append(row)
    names = {row["district_id"]: row["name"] for row in of.districts}
    provinces = {row["province_id"]: row["province"] for row in of.districts}
    return [words.ranking_headline(rows, names, provinces[key]) for key, rows in sorted(by_province.items())]


def listed(of: Subject) -> dict[str, list[dict[str, str]]]:
    """The low and the watched districts of an indicator, the worst first: id, name, rank set and estimate in words."""
    names = {row["district_id"]: row["name"] for row in of.districts}
    found: dict[str, list[dict[str, str]]] = {"low": [], "watch": []}
    ranked = [row for row in of.rankings.values() if row["band"] in found]
    for row in sorted(ranked, key=lambda row: float(row["rank_expected"])):
        rank = words.rank_words(int(row["rank_low"]), int(row["rank_high"]), int(row["districts"]))
        key = row["district_id"]
        said = {"rank": rank, "estimate": words.estimate_words(row, of.scale)}
        found[row["band"]].append({"district_id": key, "name": names[key], **said})
    return found


def only(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which every named column has the wanted value."""
    for column, value in wanted.items():
        frame = frame.loc[frame[column] == value]
    return frame


def of_indicator(rows: Mapping[tuple[str, str], Row], of: Subject) -> dict[str, Row]:
    """The rows of an indicator by unit, of rows by (indicator, unit)."""
    return {unit: row for (indicator, unit), row in rows.items() if indicator == of.indicator["indicator"]}


def rows_by(frame: pd.DataFrame, *columns: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows of a frame by the values in some of its columns."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in records(frame):
        found.setdefault(tuple(str(row[column]) for column in columns), []).append(row)
    return found
