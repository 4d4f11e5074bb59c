"""District shapes drawn from the H3 cells of their tehsils, and the outlines of divisions and provinces."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd

from perception.geography.gazetteer import Gazetteer, vintage_units

if TYPE_CHECKING:
    import geopandas as gpd

SMOOTHING = 0.05  # degrees; somewhat more than the 0.035 degree side of a cell, so its corners disappear


def district_shapes(gazetteer: Gazetteer, vintage: str) -> gpd.GeoDataFrame:
    """Generalised shapes of the districts of `vintage`: district_id and geometry (EPSG:4326, clockwise exteriors).

    The cells of each district are dissolved (a stray cell joins the district around it) and all borders smoothed
    together (coverage simplification after Visvalingam and Whyatt 1993), so that neighbours still share their border
    exactly. Raises InputError for an unknown vintage.
    """
    return _district_shapes(gazetteer, vintage).copy()


@lru_cache(maxsize=4)
def _district_shapes(gazetteer: Gazetteer, vintage: str) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import h3
    import numpy as np
    import shapely

    units = vintage_units(gazetteer, vintage)
    members = gazetteer.vintages[gazetteer.vintages["vintage"] == vintage]
    cells = _without_crumbs(gazetteer.cells.merge(members, on="tehsil_id"))
    # h3 gives (latitude, longitude); rounding makes corners shared by cells identical to the last bit
    corners = [np.round(h3.cell_to_boundary(cell), 9)[:, ::-1] for cell in cells["cell"]]
    ring = np.repeat(np.arange(len(corners)), [len(corner) for corner in corners])
    hexagons = shapely.polygons(shapely.linearrings(np.concatenate(corners), indices=ring))
    districts = gpd.GeoDataFrame(cells[["district_id"]], geometry=hexagons, crs="EPSG:4326").dissolve(
        "district_id", method="coverage"
    )
    shapes = units[["district_id"]].merge(districts.reset_index(), on="district_id")
    smooth = shapely.coverage_simplify(shapes["geometry"].to_numpy(), SMOOTHING)
    return gpd.GeoDataFrame(
        shapes[["district_id"]], geometry=shapely.orient_polygons(smooth, exterior_cw=True), crs="EPSG:4326"
    )


def _without_crumbs(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` (cell, district_id) with each cell that touches none of its own district given to the one around it.

    Such a cell comes from a border finer than the cells and would be drawn as a stray crumb. A district of stray cells
    only keeps them.
    """
    import h3

    owner: dict[str, str] = dict(zip(cells["cell"], cells["district_id"], strict=True))
    around = {cell: [owner[near] for near in h3.grid_ring(cell, 1) if near in owner] for cell in owner}
    joined = {owner[cell] for cell, near in around.items() if owner[cell] in near}
    crumbs = {
        cell: str(pd.Series(near).mode()[0])
        for cell, near in around.items()
        if near and owner[cell] not in near and owner[cell] in joined
    }
    return cells.assign(district_id=cells["cell"].map(owner | crumbs))


def outlines(shapes: gpd.GeoDataFrame, units: pd.DataFrame, level: str) -> gpd.GeoDataFrame:
    """The district shapes dissolved to `level`, `division` or `province`: unit_id, name, geometry; sorted by unit_id.

    `shapes` as from `district_shapes`, `units` as from `vintage_units`; exteriors clockwise, the CRS kept.
    """
    import geopandas as gpd
    import shapely

    if level not in ("division", "province"):
        raise ValueError(f"outlines are drawn for 'division' or 'province', not '{level}'")
    labels = units[["district_id", f"{level}_id", level]]
    merged = shapes[["district_id", "geometry"]].merge(labels, on="district_id")
    dissolved = merged.dissolve(f"{level}_id", aggfunc={level: "first"}).reset_index()
    return gpd.GeoDataFrame(
        {"unit_id": dissolved[f"{level}_id"], "name": dissolved[level]},
        geometry=shapely.orient_polygons(dissolved["geometry"].to_numpy(), exterior_cw=True),
        crs=shapes.crs,
    )
