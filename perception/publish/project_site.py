"""The site of a project: published tables drawn on the district maps that the project has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from perception.geography import district_geometry, load_gazetteer, vintage_units
from perception.project import Project
from perception.publish.site import write_site


def publish_site(project: Project, tables: Mapping[str, pd.DataFrame], made_at: str) -> dict[str, Path]:
    """Write the project's site from its published tables (see `write_site`); returns the pages by name.

    An official boundary file under data/raw/boundaries takes the place of the built-in shapes.
    """
    gazetteer = load_gazetteer(project.reference)
    vintages = tables["published_waves"]["vintage"].unique()
    geometries = {vintage: district_geometry(gazetteer, vintage, project.boundaries) for vintage in vintages}
    units = {vintage: vintage_units(gazetteer, vintage) for vintage in vintages}
    return write_site(tables, geometries, units, project.site, made_at=made_at)


def images(pages: Mapping[str, Path]) -> list[Path]:
    """The map images (PNG, single size) beside the pages that `publish_site` wrote."""
    return sorted(image for page in pages.values() if (image := page.with_suffix(".png")).exists())
