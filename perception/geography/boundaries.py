"""The shapes a map is drawn with: a boundary file the user installed, or else the built-in generalised preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.errors import InputError, Problem
from perception.geography.gazetteer import Gazetteer, fold_name, name_index, units_covering, vintage_units
from perception.geography.shapes import district_shapes

if TYPE_CHECKING:
    import geopandas as gpd

DISCLAIMER = "The boundaries and names shown do not imply official endorsement"
BUILT_IN_SOURCE = "generalised from OCHA COD-AB 2022 tehsils (CC BY-IGO)"
SUFFIXES = (".gpkg", ".geojson", ".json", ".shp")
SIDECAR = "boundaries.yml"


@dataclass(frozen=True)
class Geometry:
    """What a map needs: `shapes` (district_id, geometry), the credit line `source`, the vintage.

    `preview` is true unless the shapes come from a boundary file declared cleared; `report` says how the features of
    a boundary file were matched (see `load_boundaries`), None for built-in shapes.
    """

    shapes: gpd.GeoDataFrame
    source: str
    preview: bool
    report: pd.DataFrame | None
    vintage: str


def district_geometry(gazetteer: Gazetteer, vintage: str, boundaries: Path | None) -> Geometry:
    """The geometry of `vintage`: from the one boundary file in the folder `boundaries`, else built in.

    `boundaries.yml` beside the file may say `source:` and `licence:` (credit line) and `cleared: true` (permitted for
    publication). Raises InputError for several boundary files, a malformed boundaries.yml, an unreadable file or an
    unknown vintage.
    """
    units = vintage_units(gazetteer, vintage)
    files = sorted(
        path
        for path in (boundaries.iterdir() if boundaries is not None and boundaries.is_dir() else ())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        return Geometry(district_shapes(gazetteer, vintage), BUILT_IN_SOURCE, True, None, vintage)
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise InputError([Problem(str(files[0].parent), f"holds several boundary files: {names}", "Keep one of them")])
    declared = _sidecar(files[0].with_name(SIDECAR))
    shapes, report = load_boundaries(files[0], units, gazetteer, vintage)
    licence = f" ({declared['licence']})" if "licence" in declared else ""
    source = str(declared.get("source", files[0].name)) + licence
    return Geometry(shapes, source, not declared.get("cleared", False), report, vintage)


def _sidecar(path: Path) -> dict[str, Any]:
    """The checked content of boundaries.yml, empty if there is none."""
    import yaml

    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(path), f"is not YAML ({error})", "Correct it or remove it")]) from error
    kinds = {"source": (str, "text"), "licence": (str, "text"), "cleared": (bool, "true or false")}
    if not isinstance(content, dict):
        raise InputError([Problem(str(path), "is not a list of keys", f"Use the keys {', '.join(kinds)}")])
    problems = [
        Problem(f"{path}, key {key}", "is unknown", f"Use one of {', '.join(kinds)}") for key in content.keys() - kinds
    ]
    for key, (kind, words) in kinds.items():
        if key in content and not isinstance(content[key], kind):
            problems.append(Problem(f"{path}, key {key}", f"is {content[key]!r}", f"Use {words}"))
    if problems:
        raise InputError(problems)
    return content


def load_boundaries(
    path: Path, units: pd.DataFrame, gazetteer: Gazetteer, vintage: str
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Shapes of `units` (rows of `vintage_units`) from an official boundary file, and how its features were matched.

    Features are matched by district_id, else by the gazetteer's P-code, else by name, in whichever text columns hold
    them; P-codes are left aside when any of them contradicts a name (older P-code schemes reuse the codes). A
    district that is another vintage's counts towards the unit its territory lies in. Features of one unit are
    dissolved; other features are left out.

    Returns the shapes (district_id, geometry; EPSG:4326, valid, exteriors clockwise; units without a feature have no
    row) and a report: feature, district_id, how (`id`, `pcode`, `name`, `part-of`, `not matched`), with a row without
    feature for each unit that got none. Raises InputError if the file cannot be read, has several layers of polygons,
    no CRS, or nothing that matches.
    """
    import geopandas as gpd
    import shapely

    frame = _read(path)
    matches = _match(frame, gazetteer)
    covering = units_covering(gazetteer, vintage)
    wanted = set(units["district_id"])
    drawn = shapely.area(frame["geometry"].to_numpy()) > 0  # false for missing geometry, points and lines

    def unit_of(district_id: str | None, how: str) -> tuple[str | None, str]:
        parts = covering.get(district_id, []) if district_id is not None else []
        if len(parts) != 1 or parts[0] not in wanted:
            return None, "not matched"
        return parts[0], how if parts[0] == district_id else "part-of"

    placed = [
        unit_of(district_id, how) if area else (None, "not matched")
        for (district_id, how), area in zip(matches[["district_id", "how"]].to_numpy().tolist(), drawn, strict=True)
    ]
    report = pd.DataFrame(placed, columns=["district_id", "how"]).assign(feature=matches["feature"])
    matched = report["district_id"].notna().to_numpy()
    if not matched.any():
        raise InputError(
            [
                Problem(
                    path.name,
                    f"none of its {len(frame)} features matches a district of vintage {vintage}",
                    "Add a column with the gazetteer's district_id",
                )
            ]
        )
    parts = gpd.GeoDataFrame(
        {"district_id": report.loc[matched, "district_id"].to_numpy()},
        geometry=frame.loc[matched, "geometry"].to_numpy(),
        crs="EPSG:4326",
    )
    shapes = parts.dissolve("district_id").reset_index()
    shapes["geometry"] = shapely.orient_polygons(shapes["geometry"].to_numpy(), exterior_cw=True)
    lacking = sorted(wanted - set(shapes["district_id"]))
    missing = pd.DataFrame({"feature": None, "district_id": lacking, "how": "not matched"})
    report = pd.concat([report, missing], ignore_index=True)[["feature", "district_id", "how"]].astype("str")
    return shapes[["district_id", "geometry"]], report


def _read(path: Path) -> gpd.GeoDataFrame:
    """The polygon layer of a boundary file in EPSG:4326, its geometry flat and valid."""
    import geopandas as gpd
    import shapely

    try:
        layers = gpd.list_layers(path)
        polygons = layers.loc[layers["geometry_type"].fillna("Unknown").str.contains("Polygon|Unknown"), "name"]
        if len(polygons) != 1:
            what = f"has {len(polygons)} layers of polygons" + (f": {', '.join(polygons)}" if len(polygons) else "")
            raise InputError([Problem(path.name, what, "Keep the district layer only")])
        frame = gpd.read_file(path, layer=polygons.iloc[0])
    except (OSError, RuntimeError, ValueError) as error:
        remedy = "Install a GeoPackage, GeoJSON or Shapefile (with its .shx, .dbf and .prj)"
        raise InputError([Problem(path.name, f"cannot be read ({error})", remedy)]) from error
    if frame.crs is None:
        raise InputError(
            [Problem(path.name, "does not say its coordinate system", "Add it (for a Shapefile: the .prj)")]
        )
    flat = shapely.force_2d(frame.geometry.to_crs("EPSG:4326").to_numpy())
    valid = shapely.make_valid(flat, method="structure", keep_collapsed=False)
    return gpd.GeoDataFrame(frame.drop(columns=frame.geometry.name), geometry=valid, crs="EPSG:4326")


def _match(frame: gpd.GeoDataFrame, gazetteer: Gazetteer) -> pd.DataFrame:
    """The gazetteer district of each feature, if any: feature (its label), district_id, how (`id`, `pcode`, `name`)."""
    districts = gazetteer.districts
    coded = districts.dropna(subset=["pcode"])
    index = name_index(gazetteer, districts["district_id"])
    id_column, ids = _best_column(frame, str.strip, {key: key for key in districts["district_id"]})
    code_column, codes = _best_column(frame, str.strip, dict(zip(coded["pcode"], coded["district_id"], strict=True)))
    name_column, names = _best_column(
        frame, fold_name, {key: next(iter(found)) for key, found in index.items() if len(found) == 1}
    )
    if (codes.notna() & names.notna() & (codes != names)).any():
        codes = codes.where(codes.isna())  # another scheme of P-codes: none of them can be trusted
    label = name_column or code_column or id_column
    feature = pd.Series([f"feature {number}" for number in range(1, len(frame) + 1)], index=frame.index, dtype="str")
    if label is not None:
        feature = frame[label].astype("str").fillna(feature)
    how = pd.Series("not matched", index=frame.index, dtype="str")
    for kind, found in (("name", names), ("pcode", codes), ("id", ids)):
        how = how.where(found.isna(), kind)
    return pd.DataFrame({"feature": feature, "district_id": ids.fillna(codes).fillna(names), "how": how})


def _best_column(
    frame: gpd.GeoDataFrame, key: Callable[[str], str], lookup: Mapping[str, str]
) -> tuple[str | None, pd.Series]:
    """The text column that names most different districts of `lookup`, and the district each feature's value names."""
    best: str | None = None
    found = pd.Series(None, index=frame.index, dtype="str")
    for column in frame.columns.drop("geometry"):
        if pd.api.types.is_string_dtype(frame[column]):
            here = frame[column].map(lambda text: lookup.get(key(text)), na_action="ignore").astype("str")
            if here.nunique() > found.nunique():
                best, found = column, here
    return best, found
