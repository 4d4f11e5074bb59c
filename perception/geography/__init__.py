"""Which districts exist on the map of a given date, what they are called, where they lie and which ones touch.

Facts come from the reference files, shapes from cells or a user's boundary file; no survey data and no drawing here.
"""

from perception.geography.boundaries import DISCLAIMER, Geometry, district_geometry, load_boundaries
from perception.geography.gazetteer import (
    Gazetteer,
    common_units,
    fold_name,
    load_gazetteer,
    resolve_districts,
    unresolved_problems,
    vintage_units,
)
from perception.geography.neighbours import neighbours
from perception.geography.shapes import district_shapes, outlines

__all__ = [
    "DISCLAIMER",
    "Gazetteer",
    "Geometry",
    "common_units",
    "district_geometry",
    "district_shapes",
    "fold_name",
    "load_boundaries",
    "load_gazetteer",
    "neighbours",
    "outlines",
    "resolve_districts",
    "unresolved_problems",
    "vintage_units",
]
