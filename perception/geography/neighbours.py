"""Which districts share a border: the adjacency that spatial smoothing and comparisons use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import geopandas as gpd

GAP = 0.001  # degrees, about 100 m: borders of official files that should coincide lie closer than this
SHORTEST = 6 * GAP  # a corner that only touches leaves some 2 * GAP of line within the gap


def neighbours(shapes: gpd.GeoDataFrame) -> pd.DataFrame:
    """Pairs of districts with a common border line (rook contiguity; a common point is not enough).

    `shapes`: district_id and geometry in degrees. Returns district_id, neighbour_id, each pair in both directions,
    sorted. Borders count as common where they run within `GAP` of each other for more than `SHORTEST`, so files whose
    borders do not match vertex by vertex work too.
    """
    import numpy as np
    import shapely

    geometry = shapes["geometry"].to_numpy()
    first, second = shapely.STRtree(geometry).query(geometry, predicate="dwithin", distance=GAP)
    first, second = first[first < second], second[first < second]
    border = shapely.boundary(geometry)
    common = shapely.length(shapely.intersection(shapely.buffer(border[first], GAP), border[second]))
    first, second = first[common > SHORTEST], second[common > SHORTEST]
    ids = shapes["district_id"].to_numpy()
    pairs = pd.DataFrame(
        {
            "district_id": ids[np.concatenate([first, second])],
            "neighbour_id": ids[np.concatenate([second, first])],
        }
    )
    return pairs.sort_values(["district_id", "neighbour_id"], ignore_index=True)
