"""The site of a project: published tables drawn on the district maps that the project has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from perception.geography import Geometry, district_geometry, load_gazetteer, vintage_units
from perception.project import Project
from perception.publish.site import write_site


@dataclass(frozen=True)
class PublishedSite:
    """The pages by name, the map images, and what of a user's boundary file or of the districts found no match."""

    pages: Mapping[str, Path]
    images: list[Path]
    unmatched: list[str]


def publish_site(project: Project, tables: Mapping[str, pd.DataFrame], made_at: str) -> PublishedSite:
    """Write the project's site from its published tables (see `write_site`).

    An official boundary file under data/raw/boundaries takes the place of the built-in shapes.
    """
    gazetteer = load_gazetteer(project.reference)
    drawn = pd.concat([tables[name]["vintage"].dropna() for name in ("published_waves", "published_trends")])
    vintages = sorted(drawn.unique())
    geometries = {vintage: district_geometry(gazetteer, vintage, project.boundaries) for vintage in vintages}
    units = {vintage: vintage_units(gazetteer, vintage) for vintage in vintages}
    pages = write_site(tables, geometries, units, project.site, made_at=made_at, kept=project.kept("site"))
    images = sorted(project.site.glob("*/*-map.png"))
    unmatched = [line for geometry in geometries.values() for line in _unmatched(geometry)]
    return PublishedSite(pages, images, unmatched)


def _unmatched(geometry: Geometry) -> list[str]:
    if geometry.report is None:
        return []
    report = geometry.report
    strangers = report.loc[report["district_id"].isna(), "feature"]
    shapeless = report.loc[report["feature"].isna(), "district_id"]
    return [
        *(f"vintage {geometry.vintage}: feature {feature} is no district of it" for feature in strangers),
        *(f"vintage {geometry.vintage}: district {district} has no feature" for district in shapeless),
    ]
