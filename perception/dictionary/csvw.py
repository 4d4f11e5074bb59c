"""The public tables as CSV on the Web describes them (W3C, Metadata Vocabulary for Tabular Data, 2015)."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pandas as pd

from perception.publish.downloads import ADDED, clean_text
from perception.publish.maps import SIMULATED_NOTE
from perception.schemas import TABLES, Column, Table

Metadata = dict[str, Any]
CONTEXT = "http://www.w3.org/ns/csvw"
METADATA_FILE = "csv-metadata.json"
"""The name under which the standard's readers look for it beside the CSV files."""
_LANGUAGE = "en"
_BOOLEAN = {"base": "boolean", "format": "True|False"}


def csvw(waves: pd.DataFrame) -> Metadata:
    """The metadata of a folder of CSV files, `<table>.csv` for every public table, written as downloads are.

    `waves` is table `published_waves`: title, licences and citations are those of its waves. Columns are the table's
    and those that a download adds so that a row keeps its source. A path to it is that of the CSV files, so that the
    metadata belong beside them as `csv-metadata.json`.
    """
    licences, citations = (
        [clean_text(text) for text in dict.fromkeys(waves[name])] for name in ("licence", "citation")
    )
    marked = _simulated(waves)
    return {
        "@context": [CONTEXT, {"@language": _LANGUAGE}],
        "dc:title": "Published tables: " + "; ".join(clean_text(title) for title in waves["title"]),
        "dc:license": licences,
        "dc:source": citations,
        **({"dc:description": marked} if marked else {}),
        "lang": _LANGUAGE,
        "dialect": {"encoding": "utf-8", "header": True, "delimiter": ",", "quoteChar": '"', "doubleQuote": True},
        "tables": [_table(table) for table in TABLES.values() if table.public],
    }


def csvw_text(waves: pd.DataFrame) -> str:
    """The same as the text of the file, `csv-metadata.json`."""
    return json.dumps(csvw(waves), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _simulated(waves: pd.DataFrame) -> str:
    """What is said of simulated waves: of all, or by name where others are not; empty where there are none."""
    of = waves.loc[waves["simulated"].astype(bool), "wave"]
    if len(of) == len(waves):
        return SIMULATED_NOTE if len(of) else ""
    return f"Of {', '.join(of)} (column simulated): {SIMULATED_NOTE}" if len(of) else ""


def _table(table: Table) -> Metadata:
    own = set(table.names)
    columns = (*table.columns, *(column for column in ADDED if column.name not in own))
    return {
        "url": f"{table.name}.csv",
        "dc:title": table.name,
        "dc:description": table.meaning,
        "tableSchema": {
            "columns": [_column(column, column.name in table.key) for column in columns],
            "primaryKey": [_name(name) for name in table.key],
        },
    }


def _column(column: Column, in_key: bool) -> Metadata:
    """A column; its `titles` is the header of the CSV file, `name` the same with spaces as an address has them.

    A text may be empty and not null, which a CSV file does not tell apart: only a text that has to say something (in
    the key, or of allowed values) is required.
    """
    may_be_empty = column.type == "string" and not column.allowed and not in_key
    unit = {"schema:unitText": column.unit} if column.unit else {}
    urdu = {"lang": "ur"} if column.name.endswith("_ur") else {}
    return {
        "name": _name(column.name),
        "titles": column.name,
        "dc:description": f"{column.meaning} (unit: {column.unit})" if column.unit else column.meaning,
        "datatype": _datatype(column),
        "required": not column.nullable and not may_be_empty,
        **unit,
        **urdu,
    }


def _name(name: str) -> str:
    return quote(name, safe="_")


def _datatype(column: Column) -> str | Metadata:
    if column.type == "boolean":
        return _BOOLEAN
    if column.type == "string" and column.allowed:
        return {"base": "string", "format": "|".join(re.escape(value) for value in column.allowed)}
    limits = {"minimum": column.low, "maximum": column.high}
    given = {name: f"{limit:g}" for name, limit in limits.items() if limit is not None}
    return {"base": column.type, **given} if given else column.type
