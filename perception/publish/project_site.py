"""The site of a project: published tables drawn on the district maps that the project has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from perception.errors import InputError, Problem
from perception.geography import Geometry, district_geometry, load_gazetteer, vintage_units
from perception.intake.instrument import load_instrument
from perception.intake.wave_file import load_wave
from perception.project import Project
from perception.publish import data_page, dictionary
from perception.publish.maps import Row, records
from perception.publish.site import write_site
from perception.publish.site_work import only


@dataclass(frozen=True)
class PublishedSite:
    """The pages by name, the map images, and what of a user's boundary file or of the districts found no match."""

    pages: Mapping[str, Path]
    images: list[Path]
    unmatched: list[str]


def publish_site(project: Project, tables: Mapping[str, pd.DataFrame], made_at: str) -> PublishedSite:
    """Write the project's site from all its published tables (see `write_site`), with the files about its data.

    An official boundary file under data/raw/boundaries takes the place of the built-in shapes. Surveys are described by
    what their last complete runs kept. InputError names waves of which an earlier version of the software kept too
    little.
    """
    _check_kept(project, tables["published_waves"]["wave"])
    geometries = geometries_drawn(project, tables)
    units = {vintage: vintage_units(load_gazetteer(project.reference), vintage) for vintage in geometries}
    pages = write_site(
        tables,
        geometries,
        units,
        project.site,
        made_at=made_at,
        kept=project.kept("site"),
        data_files=partial(_data_files, project, tables, units),
    )
    images = sorted(project.site.glob("*/*-map.png"))
    return PublishedSite(pages, images, unmatched(geometries.values()))


def geometries_drawn(project: Project, tables: Mapping[str, pd.DataFrame]) -> dict[str, Geometry]:
    """The geometry of every vintage that the tables published_waves and published_trends have, by vintage."""
    drawn = pd.concat([tables[name]["vintage"].dropna() for name in ("published_waves", "published_trends")])
    gazetteer = load_gazetteer(project.reference)
    return {vintage: district_geometry(gazetteer, vintage, project.boundaries) for vintage in sorted(drawn.unique())}


def _data_files(
    project: Project, tables: Mapping[str, pd.DataFrame], units: Mapping[str, pd.DataFrame]
) -> dict[str, bytes]:
    """The files beside the page about the data, by name."""
    waves, indicators = tables["published_waves"], tables["published_indicators"]
    with ThreadPoolExecutor(1) as aside:  # packing leaves the interpreter to the rest most of the time
        archive = aside.submit(dictionary.csv_archive, tables)
        estimates = only(tables["published_estimates"], method="direct", level="district")
        codebooks = {}
        for facts in records(waves):
            every, surveyed = units[facts["vintage"]], only(estimates, wave=facts["wave"])["unit_id"].unique()
            districts = every[every["district_id"].isin(surveyed)]
            codebooks[data_page.codebook_file(facts["wave"])] = _codebook(project, facts, districts)
        text = dictionary.markdown(dictionary.indicator_dictionary(indicators, waves), waves)
        return {data_page.ARCHIVE: archive.result(), data_page.DICTIONARY: text.encode(), **codebooks}


def _check_kept(project: Project, waves: Iterable[str]) -> None:
    what = "was completed by an earlier version of the software, which did not keep what describes it"
    problems = [
        Problem(f"wave {wave}", what, f"Run `perception run --wave {wave}`.")
        for wave in waves
        if not (project.complete_declaration(wave).exists() and project.complete_table("wave_codebook", wave).exists())
    ]
    if problems:
        raise InputError(problems)


def _codebook(project: Project, facts: Row, districts: pd.DataFrame) -> bytes:
    """The DDI document of a wave, of what its last complete run was made from."""
    wave = str(facts["wave"])
    declared = load_wave(project.complete_declaration(wave).parent)
    instrument = load_instrument(project.complete_instrument(wave))
    codebook = pd.read_parquet(project.complete_table("wave_codebook", wave))
    return dictionary.ddi(declared, instrument, codebook, facts, districts).encode()


def unmatched(geometries: Iterable[Geometry]) -> list[str]:
    """The districts that a user's boundary file does not have, then what in it is no district, a line each."""
    shapeless, strangers = [], []
    for geometry in geometries:
        if geometry.report is not None:
            report, map_of = geometry.report, f"vintage {geometry.vintage}"
            lacking = report.loc[report["feature"].isna(), "district_id"]
            left_out = report.loc[report["district_id"].isna(), "feature"]
            shapeless += [f"{map_of}: district {district} has no feature" for district in lacking]
            strangers += [f"{map_of}: feature {feature} is no district of it" for feature in left_out]
    return [*shapeless, *strangers]
