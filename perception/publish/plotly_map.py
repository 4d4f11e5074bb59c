"""The interactive map: a Plotly figure and the geometry script that pages share; works offline and asks no server."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from perception.publish.maps import (
    BORDER,
    HATCH_GROUND,
    INK,
    NO_DATA,
    BaseMap,
    MapSpec,
    Place,
)
from perception.publish.static_map import mark_colour

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from perception.geography import Geometry

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "scrollZoom": False,
    "responsive": True,
    "displayModeBar": True,
    "modeBarButtons": [["zoomInGeo", "zoomOutGeo", "resetGeo"]],
}
"""No cloud button, no logo, no zooming by accident; images are downloaded from the page, with their source in them."""

FONTS = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_DECIMALS = 4  # of a degree: 11 m


def geometry_script(geometry: Geometry, units: pd.DataFrame) -> str:
    """A script that gives a vintage's `districts` (GeoJSON) and, by level and province, `borders` (lon, lat) to pages.

    It also stands in for the world map that Plotly would otherwise fetch from a server before it draws any choropleth.
    """
    import numpy as np
    import shapely

    from perception.geography import outlines

    def rounded(shapes: gpd.GeoDataFrame) -> Any:
        return shapely.transform(shapes.geometry.to_numpy(), lambda points: np.round(points, _DECIMALS))

    features = [
        {"type": "Feature", "id": district_id, "geometry": shapely.geometry.mapping(shape)}
        for district_id, shape in zip(geometry.shapes["district_id"], rounded(geometry.shapes), strict=True)
    ]
    borders: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for level in ("division", "province"):
        lines = borders[level] = {}
        drawn = outlines(geometry.shapes, units, level)
        for unit_id, shape in zip(drawn["unit_id"], rounded(drawn), strict=True):
            line = lines.setdefault(unit_id.split("-")[0], {"lon": [], "lat": []})
            for ring in shapely.get_rings(shapely.get_parts(shape)):
                points = shapely.get_coordinates(ring)
                line["lon"] += [*points[:, 0].tolist(), None]
                line["lat"] += [*points[:, 1].tolist(), None]
    content = {"districts": {"type": "FeatureCollection", "features": features}, "borders": borders}
    return (
        'window.PlotlyGeoAssets = {topojson: {world_110m: {type: "Topology", objects: {}, arcs: []}}};\n'
        "window.perceptionGeometry = window.perceptionGeometry || {};\n"
        f"window.perceptionGeometry[{json.dumps(geometry.vintage)}] = {json.dumps(content, separators=(',', ':'))};\n"
    )


def figure(spec: MapSpec, base: BaseMap) -> dict[str, Any]:
    """Plotly's data and layout of a map; the page puts in the shared geometry, which each trace names (geojson, meta).

    Suppressed districts, where there are any, are the first trace, because that is the one the page hatches; then come
    no data, the estimates, the borders of divisions and provinces, and the marks of caution.
    """
    # fitbounds does not work with conic projections, so the frame is the shapes' own
    west, south, east, north = base.shapes.total_bounds.tolist()
    room = 0.02 * (north - south)
    count = len(spec.classes)
    steps = [[(number + edge) / count, one.colour] for number, one in enumerate(spec.classes) for edge in (0, 1)]
    groups = [
        (spec.having("suppressed"), _flat(HATCH_GROUND)),
        (spec.having("no_data"), _flat(NO_DATA)),
        (spec.having("published", "caution"), steps),
    ]
    traces: list[dict[str, Any]] = [
        {
            "type": "choropleth",
            "geojson": spec.vintage,
            "featureidkey": "id",
            "locations": [place.district_id for place in places],
            "z": [0.5 + (place.class_number or 0) for place in places],
            "zmin": 0,
            "zmax": count,
            "colorscale": colourscale,
            "showscale": False,
            "text": [_hover(place) for place in places],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"line": {"color": BORDER, "width": 0.6}},
        }
        for places, colourscale in groups
        if places
    ]
    for level, width in (("division", 0.7), ("province", 1.4)):
        line = {"color": INK, "width": width}
        meta = {"level": level, "provinces": list(base.provinces)}
        traces.append({"type": "scattergeo", "mode": "lines", "line": line, "meta": meta, "hoverinfo": "skip"})
    if careful := spec.having("caution"):
        traces.append(
            {
                "type": "scattergeo",
                "lon": [round(base.points[place.district_id][0], _DECIMALS) for place in careful],
                "lat": [round(base.points[place.district_id][1], _DECIMALS) for place in careful],
                "mode": "text",
                "text": ["*"] * len(careful),
                "textfont": {"size": 18, "color": [mark_colour(spec.colour(place)) for place in careful]},
                "hoverinfo": "skip",
            }
        )
    layout = {
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "dragmode": "pan",
        "hoverlabel": {
            "bgcolor": "#ffffff",
            "bordercolor": BORDER,
            "align": "left",
            "font": {"family": FONTS, "color": INK, "size": 14},
        },
        "modebar": {"orientation": "v", "bgcolor": "rgba(255,255,255,0.8)", "color": BORDER, "activecolor": INK},
        "geo": {
            "visible": False,
            "bgcolor": "rgba(0,0,0,0)",
            "lonaxis": {"range": [round(west - room, 3), round(east + room, 3)]},
            "lataxis": {"range": [round(south - room, 3), round(north + room, 3)]},
            "center": {"lon": base.meridian, "lat": round((south + north) / 2, 3)},
            "projection": {
                "type": "conic equal area",
                "rotation": {"lon": base.meridian},
                "parallels": list(base.parallels),
            },
        },
    }
    return {"data": traces, "layout": layout}


def _flat(colour: str) -> list[list[Any]]:
    return [[0, colour], [1, colour]]


def _hover(place: Place) -> str:
    """Plotly reads a little HTML in hover texts, so everything in them is escaped."""
    first, *rest = map(html.escape, place.lines)
    value = f"<b>{first}</b>" if place.value else first
    return "<br>".join([f"<b>{html.escape(place.name)}</b>, {html.escape(place.province)}", value, *rest])
