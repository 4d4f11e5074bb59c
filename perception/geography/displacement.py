"""Displaced centres of PSUs: where interviews were held, moved far enough that no household can be found again.

Exact coordinates come in and never go out. Whether a wave keeps displaced centres at all is declared in its wave.yml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import geopandas as gpd

URBAN_KM = 2.0
RURAL_KM = 5.0
FAR_KM = 10.0
FAR_SHARE = 0.01
"""Largest displacement of urban and rural centres, and of one rural centre in a hundred (DHS; Burgert et al. 2013)."""
KM_PER_DEGREE = 111.195
DRAWS = 200


def displacement_rng(interviews: pd.DataFrame) -> np.random.Generator:
    """The generator for displacing a wave's centres, seeded by SHA-256 over all exact coordinates of its interviews.

    Whoever knows the seed can draw the offsets again and take them off. A seed in the program, which anybody may read,
    would therefore undo the displacement, and one kept in a file would have to be guarded. The coordinates themselves
    (latitude, longitude; in any order) are a secret that those who run the wave have anyway, that thousands of
    interviews make impossible to guess, and that gives the same points whenever the wave is made again. When a
    coordinate is corrected all points move: publish one version only, since the mean of many would approach the truth.
    """
    exact = _coordinates(interviews).sort_values(["latitude", "longitude"]).to_numpy("<f8")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(exact.tobytes()).digest()))


def displaced_psus(
    design_psus: pd.DataFrame, interviews: pd.DataFrame, shapes: gpd.GeoDataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """`design_psus` with longitude and latitude of its PSUs' displaced centres, null where there is none.

    `interviews` has psu, latitude and longitude (degrees; missing ones and 0/0 are left out) of every interview,
    `shapes` the districts (district_id, geometry in degrees), `rng` comes from `displacement_rng`. A PSU whose area is
    not known is moved as a rural one.
    """
    known = _coordinates(interviews).assign(psu=interviews["psu"])
    centres = known.groupby("psu")[["longitude", "latitude"]].mean().reindex(design_psus["psu"])
    there = centres["longitude"].notna().to_numpy()
    districts = dict(zip(shapes["district_id"], shapes["geometry"], strict=True))
    polygons = [districts.get(district) for district in design_psus.loc[there, "district_id"]]
    points = np.full((len(centres), 2), np.nan)
    points[there] = displaced(centres[there], design_psus.loc[there, "urban"] == "urban", polygons, rng)
    return design_psus.assign(longitude=points[:, 0], latitude=points[:, 1])


def displaced(
    points: ArrayLike, urban: ArrayLike, polygons: Sequence[Any], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points (n x 2: longitude, latitude in degrees) moved at random, each within its polygon (n geometries).

    Direction and distance are uniform: up to 2 km where `urban` (n, bool), up to 5 km elsewhere, up to 10 km for one
    rural point in a hundred. A point that lands outside its polygon is drawn again. One that never lands inside, since
    it lies far outside itself (a wrong position), becomes null, as does one without a polygon.
    """
    import shapely

    start, area = np.asarray(points, dtype=np.float64), np.asarray(polygons, dtype=object)
    far = rng.random(len(start)) < FAR_SHARE
    reach = np.where(np.asarray(urban, dtype=bool), URBAN_KM, np.where(far, FAR_KM, RURAL_KM))
    moved = np.full_like(start, np.nan)
    left = np.arange(len(start))
    shapely.prepare(area)
    for _ in range(DRAWS):
        angle = rng.uniform(0, 2 * np.pi, len(left))
        degrees = rng.uniform(0, reach[left]) / KM_PER_DEGREE
        shrink = np.cos(np.radians(start[left, 1]))
        drawn = start[left] + np.column_stack([degrees * np.sin(angle) / shrink, degrees * np.cos(angle)])
        inside = shapely.contains_xy(area[left], drawn[:, 0], drawn[:, 1])
        moved[left[inside]] = drawn[inside]
        left = left[~inside]
    return moved


def _coordinates(interviews: pd.DataFrame) -> pd.DataFrame:
    """Latitude and longitude of the interviews that have a place; 0/0 is what a device writes that knows none."""
    places = interviews[["latitude", "longitude"]].astype("float64").dropna()
    return places[(places != 0).any(axis=1)]
