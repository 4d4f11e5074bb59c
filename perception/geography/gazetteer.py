"""The gazetteer: districts of every vintage with their census figures, and the names they go by. No geometry here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from perception.errors import InputError, Problem

COUNTS = (
    "population_2017",
    "population_2023",
    "male_2023",
    "female_2023",
    "transgender_2023",
    "rural_2023",
    "urban_2023",
    "households_2023",
)
CELL_RESOLUTION = 6
_STATUSES = {"current", "later", "announced", "former"}
_TEXT = ("district_id", "name", "province", "division", "status", "parent_id", "valid_from", "valid_to", "pcode")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "districts.csv": (*_TEXT, *COUNTS, "area_km2", "alt_names", "notes"),
    "tehsils.csv": ("tehsil_id", "name", "area_km2"),
    "vintages.csv": ("vintage", "tehsil_id", "district_id"),
    "tehsil_cells.csv": ("cell", "tehsil_id"),
}
_OPTIONAL = {"parent_id", "valid_from", "valid_to", "pcode", *COUNTS, "area_km2", "alt_names", "notes"}
_KEYS = {
    "districts.csv": ["district_id"],
    "tehsils.csv": ["tehsil_id"],
    "vintages.csv": ["vintage", "tehsil_id"],
    "tehsil_cells.csv": ["cell"],
}
_NEAR = 60.0  # similarity in percent below which a suggested spelling would only mislead


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """The reference files as frames: one row per district ever named, tehsil, vintage x tehsil, H3 cell (`cells`)."""

    districts: pd.DataFrame
    tehsils: pd.DataFrame
    vintages: pd.DataFrame
    cells: pd.DataFrame


def load_gazetteer(reference: Path) -> Gazetteer:
    """Read and check the reference folder (`districts.csv`, `tehsils.csv`, `vintages.csv`, `tehsil_cells.csv`).

    Counts are persons or households (Int64, missing where the census has none), areas km².
    Raises InputError with every missing file or column, or every broken row and reference, at once. Files that have not
    been touched since are not read again.
    """
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(reference.glob("*.csv"))]
    return _load(reference, tuple(stamps))


@lru_cache(maxsize=2)
def _load(reference: Path, stamps: tuple[tuple[str, int, int], ...]) -> Gazetteer:
    problems: list[Problem] = []
    tables = {file: _read(reference / file, columns, problems) for file, columns in _COLUMNS.items()}
    if problems:
        raise InputError(problems)
    for file, table in tables.items():
        problems += _table_problems(file, table)
    districts, tehsils, vintages, cells = (tables[file] for file in _COLUMNS)
    problems += _link_problems(districts, tehsils, vintages, cells)
    if problems:
        raise InputError(problems)
    districts = districts.astype(dict.fromkeys(COUNTS, "Int64"))
    return Gazetteer(districts, tehsils, vintages, cells)


def _read(path: Path, columns: tuple[str, ...], problems: list[Problem]) -> pd.DataFrame:
    """One file with text columns as text and numbers as float; what cannot be read is added to `problems`."""
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError:
        problems.append(Problem(str(path), "the reference file is missing", "Restore it from the repository"))
        return pd.DataFrame()
    except (ValueError, OSError) as error:
        problems.append(
            Problem(str(path), f"cannot be read as CSV ({error})", "Save it as UTF-8 CSV with a header row")
        )
        return pd.DataFrame()
    if missing := [column for column in columns if column not in table.columns]:
        problems.append(Problem(path.name, f"lacks the column(s) {', '.join(missing)}", "Add them to the header row"))
        return pd.DataFrame()
    for column in {*COUNTS, "area_km2"} & set(columns):
        number = pd.to_numeric(table[column], errors="coerce")
        wrong = table[column].notna() & ~(number >= 0)
        if column in COUNTS:
            wrong |= number.notna() & (number % 1 != 0)
        if wrong.any():
            kind = "non-negative whole numbers" if column in COUNTS else "non-negative numbers"
            problems.append(
                Problem(f"{path.name}, column {column}", f"not a number: {_some(table[column][wrong])}", f"Use {kind}")
            )
        table[column] = number.astype("float64")
    return table[list(columns)]


def _table_problems(file: str, table: pd.DataFrame) -> list[Problem]:
    """Empty required cells and repeated keys of one table."""
    problems = []
    for column in table.columns.difference(sorted(_OPTIONAL)):
        if (empty := table[column].isna()).any():
            rows = _some(table.index[empty] + 2)
            problems.append(Problem(f"{file}, column {column}", f"empty in row(s) {rows}", "Fill it in"))
    if table.empty:
        problems.append(Problem(file, "has no rows", "Restore it from the repository"))
    repeated = table.loc[table.duplicated(_KEYS[file]), _KEYS[file]].astype("str").agg(" ".join, axis=1)
    if len(repeated):
        problems.append(Problem(file, f"repeats {', '.join(_KEYS[file])}: {_some(repeated)}", "Keep one row of each"))
    return problems


def _link_problems(
    districts: pd.DataFrame, tehsils: pd.DataFrame, vintages: pd.DataFrame, cells: pd.DataFrame
) -> list[Problem]:
    """Values that must agree within or between the tables."""
    import h3

    problems = []

    def check(where: str, values: pd.Series, wrong: pd.Series, what: str, remedy: str) -> None:
        if wrong.any():
            problems.append(Problem(where, f"{what}: {_some(values[wrong])}", remedy))

    ids, tehsil_ids = set(districts["district_id"]), set(tehsils["tehsil_id"])
    slug = districts["district_id"].str.fullmatch(r"[a-z]+(-[a-z]+)+", na=False)
    check(
        "districts.csv, column district_id",
        districts["district_id"],
        ~slug,
        "not a slug",
        "Write it like kp-upper-chitral: the province's short name, then the district's",
    )
    province = districts["district_id"].str.split("-").str[0].groupby(districts["province"]).transform("nunique")
    name = districts["province"].groupby(districts["district_id"].str.split("-").str[0]).transform("nunique")
    check(
        "districts.csv, column province",
        districts["district_id"],
        (province > 1) | (name > 1),
        "the first part of district_id and the province do not go together",
        "Use one short name per province",
    )
    check(
        "districts.csv, column status",
        districts["status"],
        ~districts["status"].isin(_STATUSES),
        "unknown",
        f"Use one of {', '.join(sorted(_STATUSES))}",
    )
    parent = districts["parent_id"]
    check(
        "districts.csv, column parent_id",
        parent,
        parent.notna() & ~parent.isin(ids),
        "not a district_id of the file",
        "Correct it or add the parent's row",
    )
    pcode = districts["pcode"]
    check(
        "districts.csv, column pcode",
        pcode,
        pcode.notna() & pcode.duplicated(keep=False),
        "used by several districts",
        "Keep it with one district",
    )
    parts = districts["rural_2023"] + districts["urban_2023"]
    check(
        "districts.csv, columns rural_2023 and urban_2023",
        districts["district_id"],
        (parts / districts["population_2023"] - 1).abs() > 0.01,
        "their sum differs from population_2023 by more than 1 % in",
        "Check the census figures",
    )
    for file, table in (("vintages.csv", vintages), ("tehsil_cells.csv", cells)):
        check(
            f"{file}, column tehsil_id",
            table["tehsil_id"],
            ~table["tehsil_id"].isin(tehsil_ids),
            "not in tehsils.csv",
            "Correct it or add the tehsil",
        )
    check(
        "vintages.csv, column district_id",
        vintages["district_id"],
        ~vintages["district_id"].isin(ids),
        "not in districts.csv",
        "Correct it or add the district",
    )
    cell = cells["cell"].astype("str")
    valid = cell.map(lambda index: h3.is_valid_cell(index) and h3.get_resolution(index) == CELL_RESOLUTION)
    check(
        "tehsil_cells.csv, column cell",
        cell,
        ~valid.astype(bool),
        f"not H3 cells of resolution {CELL_RESOLUTION}",
        "Compute the cells again",
    )
    for vintage, members in vintages.groupby("vintage"):
        lacking = sorted(tehsil_ids - set(members["tehsil_id"]))
        if lacking:
            problems.append(
                Problem(f"vintages.csv, vintage {vintage}", f"lacks the tehsil(s) {_some(lacking)}", "Add their rows")
            )
        drawn = members["tehsil_id"].isin(set(cells["tehsil_id"]))
        shapeless = sorted(set(members["district_id"].dropna()) - set(members.loc[drawn, "district_id"]))
        if shapeless:
            problems.append(
                Problem(
                    f"tehsil_cells.csv, vintage {vintage}",
                    f"no cell in the district(s) {_some(shapeless)}",
                    "Give each district at least one cell, or it cannot be drawn",
                )
            )
    return problems


def _some(values: Iterable[object], limit: int = 8) -> str:
    """The distinct values as text, the first few of many."""
    texts = list(dict.fromkeys(str(value) for value in values))
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")


def vintage_units(gazetteer: Gazetteer, vintage: str) -> pd.DataFrame:
    """One row per district on the map of `vintage`, sorted by `district_id`.

    Columns: district_id, name, division, division_id, province, province_id, status, pcode (text); population_2017,
    population_2023, male_2023, ..., households_2023 (Int64, persons or households of the district's extent in this
    vintage); urban_share (0..1, of the rural and urban population), area_km2 (census area); longitude, latitude
    (degrees, mean centre of the district's cells).
    Where a district notified after the census was cut from another one, its figures are taken off the other's, and
    both are missing where the census has no separate figures for it. Raises InputError for an unknown vintage.
    """
    return _units(gazetteer, vintage).copy(deep=False)


@lru_cache(maxsize=16)
def _units(gazetteer: Gazetteer, vintage: str) -> pd.DataFrame:
    units = gazetteer.districts[gazetteer.districts["district_id"].isin(_vintage_ids(gazetteer, vintage))]
    units = units.sort_values("district_id").set_index("district_id", drop=False)
    figures = [*COUNTS, "area_km2"]
    cut = units[(units["status"] == "later") & units["parent_id"].isin(units.index)]
    taken = cut.groupby("parent_id")[figures].sum(skipna=False)
    for column in figures:
        units[column] = units[column] - taken[column].reindex(units.index, fill_value=0)
    rural, urban = (units[column].astype("float64") for column in ("rural_2023", "urban_2023"))
    units = units.assign(
        province_id=units["district_id"].str.extract("^([a-z]+)-", expand=False),
        urban_share=urban / (rural + urban),
    )
    units["division_id"] = units["province_id"] + "-" + units["division"].map(_slug)
    columns = ["district_id", "name", "division", "division_id", "province", "province_id", "status", "pcode"]
    centres = _district_centres(gazetteer, vintage).reindex(units.index)
    units = units[[*columns, *COUNTS, "urban_share", "area_km2"]].join(centres)
    return units.reset_index(drop=True)


def _district_centres(gazetteer: Gazetteer, vintage: str) -> pd.DataFrame:
    """Mean longitude and latitude (degrees) of the cells of each district, indexed by district_id."""
    import h3

    tehsils = gazetteer.vintages.loc[gazetteer.vintages["vintage"] == vintage, ["tehsil_id", "district_id"]]
    cells = gazetteer.cells.merge(tehsils, on="tehsil_id")
    points = pd.DataFrame(
        [h3.cell_to_latlng(cell) for cell in cells["cell"]], columns=["latitude", "longitude"], index=cells.index
    )
    return points.groupby(cells["district_id"])[["longitude", "latitude"]].mean()


def _vintage_ids(gazetteer: Gazetteer, vintage: str) -> set[str]:
    members = gazetteer.vintages.loc[gazetteer.vintages["vintage"] == vintage, "district_id"]
    if members.empty:
        known = ", ".join(sorted(gazetteer.vintages["vintage"].unique()))
        raise InputError(
            [Problem("geography vintage", f"'{vintage}' is not a known district map", f"Use one of {known}")]
        )
    return set(members)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def fold_name(name: str) -> str:
    """`name` as it is compared: letters and digits only, without case, accents, spaces or punctuation."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(character for character in text if character.isalnum())


def name_index(gazetteer: Gazetteer, district_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """For each folded spelling, the districts that go by it and how: `name`, `id` or `alternative`."""
    wanted = gazetteer.districts[gazetteer.districts["district_id"].isin(list(district_ids))]
    index: dict[str, dict[str, str]] = {}
    for district_id, name, alternatives in zip(
        wanted["district_id"], wanted["name"], wanted["alt_names"].fillna(""), strict=True
    ):
        spellings = [(name, "name"), (district_id, "id"), *((text, "alternative") for text in alternatives.split(";"))]
        for spelling, how in spellings:
            if key := fold_name(spelling):
                index.setdefault(key, {}).setdefault(district_id, how)
    return index


def units_covering(gazetteer: Gazetteer, vintage: str) -> dict[str, list[str]]:
    """For every district of the gazetteer, the district(s) of `vintage` that its territory lies in.

    A district of the vintage is its own; another one is placed by its tehsils, or, where these are not known, by its
    parent.
    """
    now = _vintage_ids(gazetteer, vintage)
    vintages = gazetteer.vintages
    unit = vintages[vintages["vintage"] == vintage].set_index("tehsil_id")["district_id"]
    tehsil_units = vintages["tehsil_id"].map(unit).groupby(vintages["district_id"]).unique()
    covering: dict[str, list[str]] = {str(district_id): sorted(units) for district_id, units in tehsil_units.items()}
    covering |= {district_id: [district_id] for district_id in now}
    parents = gazetteer.districts.set_index("district_id")["parent_id"].dropna().to_dict()
    for district_id in gazetteer.districts["district_id"]:
        ancestor = district_id
        for _ in parents:  # at most that many steps, even if a parent were its own descendant
            ancestor = ancestor if ancestor in covering else parents.get(ancestor, ancestor)
        covering.setdefault(district_id, covering.get(ancestor, []))
    return covering


def common_units(gazetteer: Gazetteer, before: str, after: str) -> tuple[str, pd.DataFrame]:
    """The finest map that two vintages share, and where their districts lie in it.

    A unit is a smallest union of districts that both maps have, found by tehsils. Returns the vintage whose map that is
    (`before+after` where neither is the coarser everywhere) and a frame with a row per vintage and district: vintage,
    district_id, common_id (the coarser map's district, several joined by `+` where neither map has the unit as one),
    division_id and province_id of the unit. Raises InputError for an unknown vintage.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vintages = list(dict.fromkeys((before, after)))
    for vintage in vintages:
        _vintage_ids(gazetteer, vintage)
    of_tehsil = gazetteer.vintages[gazetteer.vintages["vintage"].isin(vintages)]
    districts = of_tehsil[["vintage", "district_id"]].drop_duplicates(ignore_index=True)
    rows = pd.MultiIndex.from_frame(districts).get_indexer(
        pd.MultiIndex.from_frame(of_tehsil[["vintage", "district_id"]])
    )
    tehsils, _ = pd.factorize(of_tehsil["tehsil_id"])
    size = len(districts) + len(of_tehsil)
    links = coo_array(([1] * len(rows), (rows, tehsils + len(districts))), shape=(size, size))
    districts["component"] = connected_components(links, directed=False)[1][: len(districts)]

    sizes = districts.groupby(["component", "vintage"])["district_id"].size().unstack()[vintages]
    named_by = districts["component"].map(sizes.idxmin(axis=1))
    naming = districts[districts["vintage"] == named_by].sort_values("district_id").groupby("component")["district_id"]
    places = gazetteer.districts.set_index("district_id")
    province = naming.first().str.extract("^([a-z]+)-", expand=False)
    division = naming.first().map(places["division"]).map(_slug)
    units = pd.DataFrame(
        {"common_id": naming.agg("+".join), "division_id": province + "-" + division, "province_id": province}
    )
    coarsest = [vintage for vintage in vintages if (sizes[vintage] == 1).all()]
    frame = districts.merge(units, left_on="component", right_index=True).drop(columns="component")
    return coarsest[0] if coarsest else "+".join(vintages), frame.sort_values(
        ["vintage", "district_id"], ignore_index=True
    )


def resolve_districts(
    gazetteer: Gazetteer, vintage: str, names: Iterable[str], declared: Mapping[str, str]
) -> pd.DataFrame:
    """The district of `vintage` that each distinct name means; nothing is guessed.

    `declared` (name -> district_id) wins; then the name must equal a district's name, district_id or one of its
    alternative names, apart from case, accents, spaces and punctuation.
    Returns name, district_id (missing where unresolved) and how: `declared`, `name`, `id`, `alternative`; or
    `ambiguous`, `unknown id` (declared, but no district of the vintage), `not found`.
    Raises InputError for an unknown vintage only: see `unresolved_problems`.
    """
    units = _vintage_ids(gazetteer, vintage)
    index = name_index(gazetteer, units)
    chosen: dict[str, set[str]] = {}
    for name, district_id in declared.items():
        chosen.setdefault(fold_name(name), set()).add(district_id)

    def resolve(name: str) -> tuple[str | None, str]:
        key = fold_name(name)
        found = dict.fromkeys(chosen[key], "declared") if key in chosen else index.get(key, {})
        if len(found) != 1:
            return None, "ambiguous" if found else "not found"
        district_id, how = next(iter(found.items()))
        return (district_id, how) if district_id in units else (None, "unknown id")

    rows = [(name, *resolve(name)) for name in dict.fromkeys(names)]
    return pd.DataFrame(rows, columns=["name", "district_id", "how"]).astype("str")


def unresolved_problems(
    gazetteer: Gazetteer, vintage: str, names: Iterable[str], declared: Mapping[str, str], where: str
) -> list[Problem]:
    """What `resolve_districts` leaves open for the same arguments, one Problem per name, with a suggestion.

    `where` says where the names come from (wave, file, column). A district of another vintage is said to be one.
    """
    resolved = resolve_districts(gazetteer, vintage, names, declared)
    left = resolved[resolved["district_id"].isna()]
    wishes = {fold_name(name): district_id for name, district_id in declared.items()}
    return [
        _unresolved(gazetteer, vintage, name, how, wishes.get(fold_name(name)), where)
        for name, how in zip(left["name"], left["how"], strict=True)
    ]


def _unresolved(
    gazetteer: Gazetteer, vintage: str, name: str, how: str, declared_id: str | None, where: str
) -> Problem:
    label = gazetteer.districts.set_index("district_id")["name"]
    units = _vintage_ids(gazetteer, vintage)
    if how == "unknown id":
        what = f"'{name}' is declared as '{declared_id}', which is not a district_id of vintage {vintage}"
        return Problem(where, what, _nearest(name_index(gazetteer, units), label, str(declared_id)))
    if how == "ambiguous":
        found = sorted(name_index(gazetteer, units).get(fold_name(name), {}))
        return Problem(
            where,
            f"'{name}' can mean several districts of vintage {vintage}" + (f": {', '.join(found)}" if found else ""),
            "Declare once which district_id it is",
        )
    elsewhere = sorted(name_index(gazetteer, label.index).get(fold_name(name), {}))
    if not elsewhere:
        what = f"'{name}' is not a district of vintage {vintage}"
        return Problem(where, what, _nearest(name_index(gazetteer, units), label, name))
    parts = units_covering(gazetteer, vintage)[elsewhere[0]]
    with_it = gazetteer.vintages.loc[gazetteer.vintages["district_id"] == elsewhere[0], "vintage"].unique()
    what = f"'{name}' is not a district of vintage {vintage}: "
    what += "part of " if len(parts) == 1 else "divided into "
    what += ", ".join(label[part] for part in parts) + " then"
    remedies = [f"set the geography vintage to {' or '.join(sorted(with_it))}"] if len(with_it) else []
    if len(parts) == 1:
        remedies.append(f"declare '{name}' as {parts[0]}")
    remedy = ", or ".join(remedies) or "give the part each response belongs to"
    return Problem(where, what, remedy[0].upper() + remedy[1:])


def _nearest(index: Mapping[str, Mapping[str, str]], label: pd.Series, name: str) -> str:
    from rapidfuzz import fuzz, process

    best = process.extractOne(fold_name(name), list(index), scorer=fuzz.ratio, score_cutoff=_NEAR)
    if best is None:
        return "Declare its district_id, or leave its rows out of the wave"
    district_id = next(iter(index[best[0]]))
    return (
        f"If {label[district_id]} is meant, declare '{name}' as {district_id}; otherwise leave its rows out of the wave"
    )
