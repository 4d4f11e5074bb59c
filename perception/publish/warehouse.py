"""The DuckDB files: built aside from Parquet and swapped in, so that readers are never blocked and never see a half.

The public file holds published tables only; the internal one everything but raw responses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb

from perception.processes import cores
from perception.project import Project
from perception.schemas import TABLES

STORAGE_VERSION = "v1.0.0"
"""Readable by every DuckDB from 1.0 on."""


def build_warehouse(target: Path, tables: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """Build a DuckDB file with one table per name from Parquet files (columns united by name) and swap it in.

    Tables and columns carry their meaning as comments. Returns the rows of each table; a name without files is left
    out. On failure the old file stays.
    """
    with _swapped_in(target) as aside:
        return _built(aside, tables)


@contextmanager
def _swapped_in(target: Path) -> Iterator[Path]:
    """Where to build a DuckDB file that takes the place of `target` unless something fails."""
    aside = target.with_name(f".{target.name}.{os.getpid()}.building")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
        aside.with_name(aside.name + ".wal").unlink(missing_ok=True)


def _built(file: Path, tables: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {sql_text(str(file))} AS warehouse (STORAGE_VERSION {sql_text(STORAGE_VERSION)})")
        with ThreadPoolExecutor(cores()) as threads:
            there = {name: files for name, files in sorted(tables.items()) if files}
            copied = threads.map(partial(_copy_table, connection), there, there.values())
            rows = dict(zip(there, copied, strict=True))
        connection.execute("DETACH warehouse")
    return rows


def _copy_table(warehouse: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path]) -> int:
    """Copy a table in a transaction of its own, so that others may be copied at the same time."""
    table = f"warehouse.{sql_name(name)}"
    source = "[" + ", ".join(sql_text(str(file)) for file in files) + "]"
    with warehouse.cursor() as connection:
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet({source}, union_by_name = true)")
        connection.execute(f"COMMENT ON TABLE {table} IS {sql_text(TABLES[name].meaning)}")
        there = {row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
        for column in (column for column in TABLES[name].columns if column.name in there):
            meaning = f"{column.meaning} [{column.unit}]" if column.unit else column.meaning
            connection.execute(f"COMMENT ON COLUMN {table}.{sql_name(column.name)} IS {sql_text(meaning)}")
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        connection.execute("COMMIT")
    return int(count)


def sql_text(value: str) -> str:
    """A text as DuckDB's SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """The name of a table or column as DuckDB's SQL writes it."""
    return '"' + value.replace('"', '""') + '"'


def build_warehouses(project: Project) -> dict[str, int]:
    """Build the public and the internal DuckDB file of a project from its Parquet files; rows of the public tables.

    Both are swapped in when both are built.
    """
    stored: dict[str, list[Path]] = {}
    for file in sorted((project.internal / "tables").glob("*/*.parquet")):
        stored.setdefault(file.stem, []).append(file)
    kept = {name: files for name, files in stored.items() if name in TABLES and name != "raw_responses"}
    public = {name: files for name, files in kept.items() if TABLES[name].public}
    with (
        _swapped_in(project.public_warehouse) as for_all,
        _swapped_in(project.internal_warehouse) as for_the_team,
        ThreadPoolExecutor() as side_by_side,
    ):
        internal = side_by_side.submit(_built, for_the_team, kept)
        rows = _built(for_all, public)
        internal.result()
    return rows
