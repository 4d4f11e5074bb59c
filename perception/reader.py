"""The researcher's handle on a warehouse: tables and what they mean, estimates, maps and rankings for a notebook.

Whatever is asked, only published tables answer; those of the data team are read by name alone (`table`, `sql`), on a
handle opened with `internal=True`. How maps look and what sentences say is decided in `publish`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from re import search
from typing import TYPE_CHECKING, Any, Literal, get_args

import duckdb
import pandas as pd

from perception.errors import InputError, Problem
from perception.estimation.disclosure import domain_categories
from perception.geography import district_geometry, load_gazetteer, vintage_units
from perception.project import Project, project_root
from perception.publish import maps, views, words
from perception.publish.maps import BaseMap, Kind, MapSpec, Row, records
from perception.publish.views import Subject
from perception.publish.warehouse import sql_name, sql_text
from perception.schemas import (
    LEVELS,
    METHODS,
    SDG_AGES,
    SDG_LOCATIONS,
    SDG_QUANTILES,
    SDG_SEXES,
    TABLES,
    conform,
)

if TYPE_CHECKING:
    from perception.publish.notebook_chart import NotebookChart
    from perception.publish.notebook_map import NotebookMap

INTERNAL_NOTE = "internal tables: what they hold must not be published"
KINDS: tuple[Kind, ...] = get_args(Kind)
SCOPES = ("province", "round")

_VALUES = {"before", "after"}
_DIFFERENCES = {"change", "contribution", "effect"}
_TESTS = {"p", "p_value"}
"""Columns that are never differences, and always; and those that only tables of differences have."""
_WRITTEN = {"estimate", "low", "high", *_VALUES, *_DIFFERENCES}
"""Columns that are written as the site writes them."""
_LISTED = {"wave": "published_waves", "indicator": "published_indicators"}
"""Where all the values of a column are listed, of which a table may have no row."""
_TYPES = {"VARCHAR": "string", "BOOLEAN": "boolean", "DATE": "date", "DOUBLE": "number", "FLOAT": "number"}
_ORDER = {key: place for place, key in enumerate((*SDG_SEXES, *SDG_LOCATIONS, *SDG_AGES, *SDG_QUANTILES))}
"""The order in which categories are listed; others follow by name."""
_NUMBERS = ["estimate", "low", "high", "n"]
_NEAR = 60.0  # similarity in percent below which a suggested name would only mislead
_FEW = 12  # names that are listed when none is near


def open_reader(project: Path | str | None, internal: bool) -> Reader:
    """The handle on a project's public or internal warehouse; InputError when it has not been made yet."""
    reader = Reader(Project(project_root() if project is None else Path(project).resolve()), internal)
    reader.tables()
    if internal:
        print(f"Opened {INTERNAL_NOTE}.")
    return reader


@dataclass(frozen=True, repr=False)
class Reader:
    """A read-only handle on a warehouse, public or internal.

    Every call opens the file and closes it again, so that it sees what the latest run has published and is in nobody's
    way. A name that does not exist is an InputError that tells the nearest ones.
    """

    project: Project
    internal: bool = False

    def __repr__(self) -> str:
        """Which warehouse it reads; an internal one says that it must not be published."""
        mark = f" ({INTERNAL_NOTE})" if self.internal else ""
        return f"<perception warehouse {self._file}{mark}>"

    @property
    def _file(self) -> Path:
        return self.project.internal_warehouse if self.internal else self.project.public_warehouse

    def tables(self) -> pd.DataFrame:
        """The tables that are there: table, rows, meaning."""
        with self._connection() as connection:
            counts = [(name, _count(connection, name), TABLES[name].meaning) for name in _columns(connection)]
        return pd.DataFrame(counts, columns=["table", "rows", "meaning"])

    def describe(self, table: str) -> pd.DataFrame:
        """The columns of a table: column, type, unit, nullable, allowed (values; empty where any may be), meaning.

        Tables of responses have columns of their wave's questionnaire besides, of which only the type is known.
        """
        with self._connection() as connection:
            there = _columns_of(connection, table)
        known = [
            (one.name, one.type, one.unit, one.nullable, ", ".join(one.allowed), one.meaning)
            for one in TABLES[table].columns
        ]
        own = [
            (name, _TYPES.get(kind, "integer" if "INT" in kind else kind), "", True, "", "As the wave declares it")
            for name, kind in there.items()
            if name not in TABLES[table].names
        ]
        return pd.DataFrame([*known, *own], columns=["column", "type", "unit", "nullable", "allowed", "meaning"])

    def table(self, name: str, /, **filters: object) -> pd.DataFrame:
        """A table, or its rows in which each column named in `filters` has the value, or one of the values, given.

        `None` stands for null. Columns are typed as `schemas.conform` types them. InputError lists every column that
        the table does not have and every value that is not in its column; a wave or an indicator that is published may
        have no row.
        """
        with self._connection() as connection:
            return _asked_rows(connection, name, filters)

    def sql(self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pd.DataFrame:
        """What a query in DuckDB's SQL returns, with `parameters` for its `?` or `$name`; types are DuckDB's.

        It can read the tables of this warehouse and nothing else: writing, and any file or address, is refused.
        InputError says what DuckDB has against the query, and the nearest name of a table or column.
        """
        with self._connection() as connection:
            try:
                answer = connection.execute(query, parameters)
                return answer.df() if answer is not None and answer.description else pd.DataFrame()
            except duckdb.Error as error:
                raise InputError([_query_problem(connection, query, str(error))]) from error

    def waves(self) -> pd.DataFrame:
        """The published waves, newest first: wave, title, round, fieldwork, who ran it, size, whether simulated."""
        with self._connection() as connection:
            frame = maps.newest_first(_rows(connection, "published_waves"))
        return frame[
            [
                *("wave", "title", "round", "predecessor", "first_day", "last_day", "producer"),
                *("respondents", "districts", "simulated"),
            ]
        ]

    def districts(self, wave: str) -> pd.DataFrame:
        """The districts on a wave's map: district_id, district, division, province, their ids, and census figures.

        Populations are of 2017 and 2023; `urban_share` is 0..1. InputError when there is no such wave.
        """
        with self._connection() as connection:
            facts = _known_wave(_rows(connection, "published_waves"), wave)
        places = self._units_of([facts]).sort_values(["province", "name"], ignore_index=True)
        kept = ["district_id", "name", "division", "division_id", "province", "province_id"]
        return places[[*kept, "population_2017", "population_2023", "urban_share"]].rename(columns={"name": "district"})

    def indicators(self, wave: str | None = None) -> pd.DataFrame:
        """The published indicators, of a wave or of all: indicator, label, kind, unit, headline, service, waves.

        `label` and the rest are those of the newest wave that has it; an id means the same within a questionnaire
        (`instrument`), not between them.
        """
        with self._connection() as connection:
            waves = maps.newest_first(_rows(connection, "published_waves"))
            if wave is not None:
                _known_wave(waves, wave)
            indicators = _rows(connection, "published_indicators")
        frame = waves[["wave", "instrument"]].merge(indicators, on="wave", how="inner")
        grouped = frame.groupby(["instrument", "indicator"], sort=False)
        facts = ["label", "kind", "unit", "headline", "service_label"]
        named = {**{fact: (fact, lambda found: found.iloc[0]) for fact in facts}, "waves": ("wave", ", ".join)}
        listed = grouped.agg(**named).reset_index().rename(columns={"service_label": "service"})
        if wave is not None:
            asked = frame.loc[frame["wave"] == wave, ["instrument", "indicator"]]
            listed = asked.merge(listed, on=["instrument", "indicator"], how="left", validate="1:1")
        return listed[["indicator", "label", "kind", "unit", "headline", "service", "instrument", "waves"]]

    def estimate(
        self,
        indicator: str,
        by: str | Sequence[str] = (),
        wave: str | None = None,
        level: Literal["district", "division", "province", "all"] | None = None,
        method: Literal["direct", "small_area"] | None = None,
    ) -> pd.DataFrame:
        """The published estimates of an indicator, one row a cell: place, groups, estimate, low, high, n, quality.

        `by` names the groups that respondents are divided by, such as `["sex", "urban"]`, as far as they are
        published together; it may also name the `level` (district unless said otherwise). Without a `wave` it is the
        latest round that has the indicator, all its waves, what people answered before what is simulated. `method` is
        direct or small_area; without it a cell has its small-area estimate where that is published, else the direct
        one, as maps show them. Shares are 0..1. A suppressed cell is there without numbers; `reason` says why.
        InputError for names that there are not, and for groups that the wave does not have, with those it has.
        """
        groups = [by] if isinstance(by, str) else list(by)
        named = [name for name in groups if name in LEVELS]
        groups = [name for name in groups if name not in LEVELS]
        problems = [
            *([Problem("by", f"names several levels: {', '.join(named)}", "Keep one.")] if len(named) > 1 else []),
            *_unknown("level", [level] if level is not None else [], LEVELS),
            *_unknown("method", [method] if method is not None else [], METHODS),
        ]
        if level is not None and named and level not in named:
            problems.append(Problem("level", f"is {level}, but `by` names {named[0]}", "Give the level once."))
        if problems:
            raise InputError(problems)
        at = level or (named[0] if named else "district")
        with self._connection() as connection:
            waves = _waves_of(connection, indicator, wave)
            ids = [one["wave"] for one in waves]
            rows = _rows(connection, "published_estimates", {"wave": ids, "indicator": indicator})
        wanted = _cells(rows, groups, at, method, ids)
        return _presented(wanted, groups, at, self._units_of(waves))

    def ranking(
        self, indicator: str, wave: str | None = None, scope: Literal["province", "round"] = "province"
    ) -> pd.DataFrame:
        """The ranking of an indicator: district, band, rank set and estimate with its interval, the worst first.

        Districts are ranked within their province, or with `scope="round"` among all waves of the round; those without
        a rank come last, with the reason. `rank_set` are the ranks that the district holds with a probability of 90 %;
        `rank_expected` orders the rows and is no place of its own. Without a `wave` it is the latest round that has
        the indicator. InputError for names that there are not and where nothing is ranked.
        """
        if problems := _unknown("scope", [scope], SCOPES):
            raise InputError(problems)
        with self._connection() as connection:
            waves = _waves_of(connection, indicator, wave)
            if scope == "round":
                waves = _together(records(maps.newest_first(_rows(connection, "published_waves"))), waves[0])
            rows = _rows(connection, "district_rankings", {"scope": scope})
        rows = rows[rows["wave"].isin([one["wave"] for one in waves]) & (rows["indicator"] == indicator)]
        if rows["rank_low"].isna().all():
            what = f"has no ranking in {', '.join(one['wave'] for one in waves)}"
            raise InputError([Problem(f"indicator {indicator}", what, "See estimate() for its published estimates.")])
        places = self._units_of(waves)[["wave", "district_id", "name", "province"]]
        rows = rows.merge(places, on=["wave", "district_id"], how="left", validate="1:1")
        rows = rows.sort_values(["scope_id", "rank_expected", "name"], na_position="last", ignore_index=True)
        ranks = zip(*(rows[name] for name in ("rank_low", "rank_high", "districts")), strict=True)
        rows = rows.assign(
            district=rows["name"],
            band=rows["band"].map(words.BAND_NAMES),
            rank_set=pd.Series(
                [None if pd.isna(low) else words.rank_words(int(low), int(high), int(of)) for low, high, of in ranks],
                index=rows.index,
                dtype="str",
            ),
            reason=_reasons(rows),
        )
        order = [
            "wave",
            "indicator",
            "province",
            "district_id",
            "district",
            "band",
            "rank_set",
            *_NUMBERS,
            "rank_expected",
        ]
        return rows[[*order, "quality", "reason", "simulated"]]

    def map(self, indicator: str, wave: str | None = None, kind: Kind = "map") -> NotebookMap:
        """The site's map of an indicator in a wave as a Plotly figure: `map`, `bands`, `change` or `uncertainty`.

        Classes, colours, notes and what is said of a district are those of the site's page; source, boundaries and the
        mark of simulated data stand in the figure, which needs no network. Without a `wave` it is the latest one that
        has the indicator; where several waves of the latest round have it, one has to be named. InputError as for
        `ranking`, and where the kind of map has nothing to show.
        """
        if problems := _unknown("kind", [kind], KINDS):
            raise InputError(problems)
        with self._connection() as connection:
            waves = _waves_of(connection, indicator, wave)
            if len(waves) > 1:
                ids = ", ".join(one["wave"] for one in waves)
                raise InputError([Problem("wave", "a map is of one wave", f"Name one of the latest round: {ids}.")])
            of, surveyed = _subject(connection, waves[0], indicator, self._units_of(waves))
            key = {"wave": waves[0]["wave"], "indicator": indicator, "level": "district", "domain": "all"}
            changes = {row["unit_id"]: row for row in records(_rows(connection, "published_trends", key))}
            titles = {row["wave"]: row["title"] for row in records(_rows(connection, "published_waves"))}
        from perception.publish.notebook_map import notebook_figure

        spec, base = self._specification(of, kind, surveyed, changes, titles)
        return notebook_figure(spec, base)

    def shown(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of a table with numbers as the site shows them: `29.4%`, `43.0`, or `−10.3` for a difference in points.

        `rows` are as for `chart`; `estimate`, `low`, `high` and the like become texts, empty where there is no number.
        InputError for columns that are not there.
        """
        if problems := _unknown("column", ["wave", _measure(rows)], rows.columns):
            raise InputError(problems)
        with self._connection() as connection:
            scales = _scales_of(connection, rows)
        texts = {}
        for name in _WRITTEN.intersection(rows.columns):
            difference = _are_differences(rows, name)
            said = [
                "" if pd.isna(value) else words.shown_difference(value, scale) if difference else scale.value(value)
                for value, scale in zip(rows[name], scales, strict=True)
            ]
            texts[name] = pd.Series(said, index=rows.index, dtype="str")
        return rows.assign(**texts)

    def chart(self, rows: pd.DataFrame, label: str, title: str, value: str = "estimate") -> NotebookChart:
        """Rows of a table, in their order, as dots with their 95 % intervals in one image.

        `rows` are what `estimate`, `ranking`, `table` or `sql` returned, with whatever was left out, joined or sorted;
        `label` and `value` name columns of them, and the ends of intervals stand in `low` and `high`, or such as
        `contribution_low`. Shares are shown in percent. A dot is hollow where an estimate has to be used with caution,
        or where a difference cannot be told from zero. InputError for columns that are not there, and where nothing
        can be shown on one axis.
        """
        ends = [(f"{value}_low", f"{value}_high"), ("low", "high")]
        low, high = next((pair for pair in ends if set(pair) <= set(rows.columns)), ends[-1])
        known = rows.columns
        if problems := _unknown("column", [label, value, low, high, "wave", "simulated", _measure(rows)], known):
            raise InputError(problems)
        if rows[value].isna().all():
            remedy = "Their `reason`, where there is one, says why."
            raise InputError([Problem(f"column {value}", "no row has a number", remedy)])
        with self._connection() as connection:
            waves = _rows(connection, "published_waves")
            facts = [_known_wave(waves, wave) for wave in dict.fromkeys(rows["wave"])]
            scales = _scales_of(connection, rows)
        if len(units := {(one.kind, one.unit) for one in scales}) > 1:
            said = ", ".join(sorted(unit or kind for kind, unit in units))
            raise InputError([Problem("rows", f"are in different units ({said})", "Keep rows of one unit.")])
        from perception.publish.notebook_chart import Columns, interval_chart

        return interval_chart(
            rows=records(rows),
            columns=Columns(label, value, low, high),
            scale=max(scales, key=lambda one: one.decimals),
            difference=_are_differences(rows, value),
            title=title,
            survey=words.list_of([one["title"] for one in facts], 3),
            source=" ".join(dict.fromkeys(maps.source_words(one) for one in facts)),
        )

    def citation(self, wave: str) -> str:
        """How to cite numbers of a wave: the survey, the software that estimated them, the licence.

        Numbers of simulated data are marked as such first and last.
        """
        with self._connection() as connection:
            facts = _known_wave(_rows(connection, "published_waves"), wave)
        said = f"{words.citation_words(facts)} Licence: {str(facts['licence']).rstrip('.')}."
        return f"{maps.SIMULATED}. {said} {maps.SIMULATED_NOTE}" if facts["simulated"] else said

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that reads this warehouse as it is now, and no other file."""
        if not self._file.is_file():
            what = "there is no warehouse: nothing has been published in this project yet"
            remedy = f"Run `perception run` in {self.project.root}, or pass the project's folder to perception.open()."
            raise InputError([Problem(str(self._file), what, remedy)])
        # Attached to a database of its own: DuckDB would hand out the file as somebody else in this process opened it.
        with duckdb.connect() as connection:
            try:
                connection.execute(f"ATTACH {sql_text(str(self._file))} AS warehouse (READ_ONLY)")
            except duckdb.Error as error:
                remedy = "If a run or another program is writing it, wait; otherwise run `perception run` again."
                raise InputError([Problem(str(self._file), f"cannot be read ({error})", remedy)]) from error
            connection.execute("USE warehouse; SET enable_external_access = false; SET lock_configuration = true")
            yield connection

    def _units_of(self, waves: Iterable[Row]) -> pd.DataFrame:
        """The districts of each wave's map: wave, and the columns of `vintage_units`."""
        gazetteer = load_gazetteer(self.project.reference)
        return pd.concat([vintage_units(gazetteer, one["vintage"]).assign(wave=one["wave"]) for one in waves])

    def _specification(
        self, of: Subject, kind: Kind, surveyed: Collection[str], changes: Mapping[str, Row], titles: Mapping[str, str]
    ) -> tuple[MapSpec, BaseMap]:
        """What the map says and the ground it is drawn on, as pages of the site have them (`wave_pages`)."""
        provinces = sorted({unit["province_id"] for unit in of.districts if unit["district_id"] in surveyed})
        if not any(level == "district" for level, _ in of.estimates):
            raise InputError([_no_map(of, "has no estimates of districts")])
        if kind == "bands" and not of.ranked:
            raise InputError([_no_map(of, "has no ranking")])
        if kind != "change":
            base = self._ground(of, str(of.wave["vintage"]), provinces)
            draw = {"map": views.estimate_map, "bands": views.band_map, "uncertainty": views.uncertainty_map}[kind]
            return draw(of, base), base
        if not any(map(maps.is_published, changes.values())):
            raise InputError([_no_map(of, "has no published change of a district since the wave before")])
        vintage, before = next((row["vintage"], row["predecessor"]) for row in changes.values())
        base = self._ground(of, vintage, provinces)
        units = vintage_units(load_gazetteer(self.project.reference), vintage).sort_values(["province", "name"])
        return views.change_map(of, changes, titles.get(before, before), base, records(units)), base

    def _ground(self, of: Subject, vintage: str, provinces: Collection[str]) -> BaseMap:
        gazetteer = load_gazetteer(self.project.reference)
        geometry = district_geometry(gazetteer, vintage, self.project.boundaries)
        units = vintage_units(gazetteer, vintage)
        drawn = units.loc[units["province_id"].isin(provinces), "district_id"]
        if not geometry.shapes["district_id"].isin(drawn).any():
            raise InputError([_no_map(of, "has no district with a shape in the boundary file")])
        return maps.base_map(geometry, units, provinces)


def _subject(
    connection: duckdb.DuckDBPyConnection, wave: Row, indicator: str, units: pd.DataFrame
) -> tuple[Subject, set[str]]:
    """An indicator of a wave as the site shows it, and every district of the wave that has an estimate of anything."""
    facts = _rows(connection, "published_indicators", {"wave": wave["wave"], "indicator": indicator})
    shown = maps.shown_estimates(_rows(connection, "published_estimates", {"indicator": indicator, "domain": "all"}))
    ranks = _rows(connection, "district_rankings", {"wave": wave["wave"], "indicator": indicator})
    surveyed = connection.execute(
        "SELECT DISTINCT unit_id FROM published_estimates WHERE wave = ? AND level = 'district'", [wave["wave"]]
    ).fetchall()
    of = views.subject(
        wave=wave,
        indicator=records(facts)[0],
        estimates=records(shown[shown["wave"] == wave["wave"]]),
        rankings=records(ranks),
        scale=_scales(connection, [indicator])[wave["wave"], indicator],
        districts=records(units.drop(columns="wave").sort_values(["province", "name"])),
    )
    return of, {str(unit) for (unit,) in surveyed}


def _scales(connection: duckdb.DuckDBPyConnection, indicators: Sequence[str]) -> dict[tuple[str, str], maps.Scale]:
    """How values of indicators are written and classed in each wave, as on the site."""
    of = {"indicator": list(indicators)}
    shown = maps.shown_estimates(_rows(connection, "published_estimates", of | {"domain": "all"}))
    return maps.scales(
        {
            "published_waves": _rows(connection, "published_waves"),
            "published_indicators": _rows(connection, "published_indicators", of),
            "published_estimates": shown,
        }
    )


def _measure(rows: pd.DataFrame) -> str:
    """The column that says what is measured: drivers have an outcome."""
    return "outcome" if "outcome" in rows and "indicator" not in rows else "indicator"


def _scales_of(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> list[maps.Scale]:
    """The scale of each row; InputError for an indicator that its wave does not have."""
    measured = list(zip(rows["wave"], rows[_measure(rows)], strict=True))
    known = _scales(connection, list(dict.fromkeys(indicator for _, indicator in measured)))
    missing = [pair for pair in dict.fromkeys(measured) if pair not in known]
    if missing:
        raise InputError(
            [
                Problem(f"rows of wave {wave}", f"it has no indicator {name}", "Correct the rows.")
                for wave, name in missing
            ]
        )
    return [known[pair] for pair in measured]


def _are_differences(rows: pd.DataFrame, column: str) -> bool:
    return column in _DIFFERENCES or (column not in _VALUES and not _TESTS.isdisjoint(rows.columns))


def _no_map(of: Subject, why: str) -> Problem:
    where = f"indicator {of.indicator['indicator']}, wave {of.wave['wave']}"
    return Problem(where, f"{why}, so there is no such map", "See estimate() for what is published.")


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns and their types of every table that is there."""
    found: dict[str, dict[str, str]] = {}
    query = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'warehouse'"
    for table, column, kind in connection.execute(f"{query} ORDER BY table_name, column_index").fetchall():
        if table in TABLES:
            found.setdefault(table, {})[column] = kind
    return found


def _columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table and their types; InputError when it is not there, or was made by other software."""
    columns = _columns(connection)
    if table not in columns:
        raise InputError([Problem(f"table {table}", "there is no such table here", _nearest(table, columns))])
    if missing := [name for name in TABLES[table].names if name not in columns[table]]:
        what = f"has no column {', '.join(missing)}: another version of the software made it"
        raise InputError([Problem(f"table {table}", what, "Run `perception run` again.")])
    return columns[table]


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {sql_name(table)}").fetchone() or (0,)
    return int(count)


def _asked_rows(connection: duckdb.DuckDBPyConnection, table: str, filters: Mapping[str, object]) -> pd.DataFrame:
    """As `_rows`, with an InputError for every column and value that does not exist."""
    columns = _columns_of(connection, table)
    problems = []
    for name, wanted in filters.items():
        if name in columns:
            problems += _value_problems(connection, table, name, _values(wanted))
        else:
            where = f"table {table}, column {name}"
            problems.append(Problem(where, "there is no such column", _nearest(name, columns)))
    if problems:
        raise InputError(problems)
    return _rows(connection, table, filters)


def _rows(
    connection: duckdb.DuckDBPyConnection, table: str, filters: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """The rows of a table that have one of the wanted values in every filtered column."""
    _columns_of(connection, table)
    conditions: list[str] = []
    parameters: list[Any] = []
    for name, wanted in (filters or {}).items():
        values = _values(wanted)
        stated = [value for value in values if value is not None]
        either = [f"{sql_name(name)} IN ({', '.join('?' * len(stated))})"] if stated else []
        either += [f"{sql_name(name)} IS NULL"] if None in values else []
        conditions.append(f"({' OR '.join(either) or 'false'})")
        parameters += stated
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return conform(connection.execute(f"SELECT * FROM {sql_name(table)}{where}", parameters).df(), table)


def _values(wanted: object) -> list[Any]:
    """What a filter asks for as a list of Python's own values, null as None."""
    listed = list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else [wanted]
    plain: list[Any] = [value.item() if hasattr(value, "item") else value for value in listed]
    return [None if pd.isna(value) else value for value in plain]


def _value_problems(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, wanted: Sequence[object]
) -> list[Problem]:
    """The wanted values that a column does not hold, with the nearest; nothing that is published is among them."""
    query = f"SELECT DISTINCT {sql_name(column)} FROM {sql_name(table)}"
    if column in _LISTED:
        query += f" UNION SELECT {sql_name(column)} FROM {sql_name(_LISTED[column])}"
    there = {value for (value,) in connection.execute(query).fetchall() if value is not None}
    where = f"table {table}, column {column}"
    known = [str(value) for value in there]
    return [
        Problem(where, f"no row has {value!r}", _nearest(str(value), known))
        for value in dict.fromkeys(wanted)
        if value is not None and value not in there
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    """What to do about a name that does not exist: the nearest ones, or where none is near, some that there are."""
    from rapidfuzz import fuzz, process

    names = sorted(known)
    near = process.extract(name, names, scorer=fuzz.WRatio, processor=str.casefold, limit=3, score_cutoff=_NEAR)
    if near:
        return f"Nearest: {', '.join(found for found, _, _ in near)}."
    return f"There are: {', '.join(names[:_FEW]) or 'none'}{' ...' if len(names) > _FEW else ''}."


def _unknown(what: str, names: Iterable[str], known: Iterable[str]) -> list[Problem]:
    known = list(known)
    return [
        Problem(f"{what} {name}", f"there is no such {what}", _nearest(name, known))
        for name in names
        if name not in known
    ]


def _query_problem(connection: duckdb.DuckDBPyConnection, query: str, message: str) -> Problem:
    """What DuckDB has against a query, with the nearest name where it does not know one."""
    what = message.split("\n", 1)[0].rstrip("!. ")
    columns = _columns(connection)
    if found := search(r"Table with name (.+) does not exist|Referenced table \"(.+?)\" not found", message):
        return Problem("sql", what, _nearest(found[1] or found[2], columns))
    if found := search(r"Referenced column \"(.+?)\" not found|have a column named \"(.+?)\"", message):
        name = found[1] or found[2]
        if holders := [table for table, names in columns.items() if name in names]:
            return Problem("sql", what, f"Tables that have it: {', '.join(holders)}.")
        asked = [set(names) for table, names in columns.items() if search(rf"\b{table}\b", query)]
        return Problem("sql", what, _nearest(name, set().union(*(asked or map(set, columns.values())))))
    if "read-only" in message:
        return Problem("sql", what, "The warehouse can only be read: work on the frames that it returns.")
    if "disabled by configuration" in message or "disabled through configuration" in message:
        return Problem("sql", what, "Only tables of the warehouse can be read here, no file and no address.")
    return Problem("sql", what, "Correct the query; describe(table) lists the columns of a table.")


def _known_wave(waves: pd.DataFrame, wave: str) -> Row:
    """The row of a wave in published_waves; InputError when there is none."""
    if problems := _unknown("wave", [wave], waves["wave"]):
        raise InputError(problems)
    return records(waves[waves["wave"] == wave])[0]


def _waves_of(connection: duckdb.DuckDBPyConnection, indicator: str, wave: str | None) -> list[Row]:
    """The wave that is asked for, or else the waves of the latest round that have the indicator; rows of waves.

    What people answered comes before what is simulated, however new, as on the site.
    """
    waves = maps.newest_first(_rows(connection, "published_waves"))
    having = _rows(connection, "published_indicators")
    problems = _unknown("indicator", [indicator], having["indicator"].unique())
    problems += _unknown("wave", [wave] if wave is not None else [], waves["wave"])
    if problems:
        raise InputError(problems)
    found = records(waves[waves["wave"].isin(having.loc[having["indicator"] == indicator, "wave"])])
    if wave is None:
        return _together(found, min(found, key=lambda one: bool(one["simulated"])))
    if chosen := [one for one in found if one["wave"] == wave]:
        return chosen
    has = ", ".join(one["wave"] for one in found)
    raise InputError(
        [Problem(f"indicator {indicator}", f"wave {wave} does not have it", f"Waves that have it: {has}.")]
    )


def _together(waves: Iterable[Row], first: Row) -> list[Row]:
    """The waves that are ranked together with one of them."""
    from perception.publish.site_work import together

    return [one for one in waves if together(one) == together(first)]


def _cells(
    rows: pd.DataFrame, groups: Sequence[str], level: str, method: str | None, waves: Sequence[str]
) -> pd.DataFrame:
    """The rows of an indicator that are of the wanted groups, level and method; InputError where there are none."""
    kinds = {domain: tuple(domain_categories(domain)) for domain in rows["domain"].unique()}
    problems = []
    for wave in waves:
        known = dict.fromkeys(kinds[domain] for domain in rows.loc[rows["wave"] == wave, "domain"].unique())
        if frozenset(groups) not in map(frozenset, known):
            single = {name for kind in known for name in kind}
            near = [f"{name}: {_nearest(name, {*single, *LEVELS})}" for name in groups if name not in single]
            there = f"There are: {', '.join(' with '.join(kind) for kind in sorted(known) if kind) or 'none'}."
            what = f"nothing is published by {' with '.join(groups)}"
            problems.append(Problem(f"wave {wave}", what, " ".join([*near, there])))
    if problems:
        raise InputError(problems)
    wanted = rows[rows["domain"].map(lambda domain: frozenset(kinds[domain]) == frozenset(groups))]
    here = wanted[wanted["level"] == level]
    cells = maps.shown_estimates(here) if method is None else here[here["method"] == method]
    if cells.empty:
        there = "; ".join(
            f"{name} ({', '.join(sorted(found))})" for name, found in wanted.groupby("level")["method"].unique().items()
        )
        what = f"no {method or ''} estimates by {' with '.join(groups) or 'nothing'}".replace("  ", " ")
        raise InputError([Problem(f"level {level}", what, f"There are: {there}.")])
    return cells.reset_index(drop=True)


def _presented(rows: pd.DataFrame, groups: Sequence[str], level: str, units: pd.DataFrame) -> pd.DataFrame:
    """Rows of published_estimates with places by name, a column for each group, and reasons in words."""
    places, names = [], {"district": "name", "division": "division", "province": "province"}
    if level != "all":
        unit = units[["wave", f"{level}_id", names[level], "province"]].loc[
            :, lambda frame: ~frame.columns.duplicated()
        ]
        unit = unit.drop_duplicates(["wave", f"{level}_id"]).rename(columns={names[level]: level})
        rows = rows.rename(columns={"unit_id": f"{level}_id"})
        rows = rows.merge(unit, on=["wave", f"{level}_id"], how="left", validate="m:1")
        places = list(dict.fromkeys(["province", f"{level}_id", level]))
    of_groups = {name: rows["domain"].map(lambda domain, name=name: domain_categories(domain)[name]) for name in groups}
    rows = rows.assign(**of_groups, reason=_reasons(rows))
    order = [name for name in places if not name.endswith("_id")]
    rows = rows.sort_values(
        ["wave", *order, *groups], key=lambda column: column.map(_place) if column.name in groups else column
    )
    shown = ["wave", "indicator", *places, *groups, *_NUMBERS, "quality", "reason", "method", "simulated"]
    return rows[shown].reset_index(drop=True)


def _place(category: str) -> str:
    """What a category is sorted by."""
    return f"{_ORDER.get(category, len(_ORDER)):03}{category}"


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """Why rows are suppressed or need care, in words; null for the others."""
    said = [
        None if quality == "publish" else maps.reason_words(maps.text(reason))
        for quality, reason in zip(rows["quality"], rows["reason"], strict=True)
    ]
    return pd.Series(said, index=rows.index, dtype="str")
