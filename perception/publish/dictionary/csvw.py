"""The public tables as CSV files, described as CSV on the Web (W3C, Metadata Vocabulary for Tabular Data, 2015).

They go into one archive: unpacked, the metadata lie beside the files that they describe, where the standard's readers
look for them, and packed, they take a tenth of the room.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from perception.publish.downloads import clean_text, no_formula
from perception.publish.maps import SIMULATED_NOTE
from perception.schemas import TABLES, Column, Table

Metadata = dict[str, Any]
CONTEXT = "http://www.w3.org/ns/csvw"
METADATA_FILE = "csv-metadata.json"
"""The name under which the standard's readers look for it beside the CSV files."""
_LANGUAGE = "en"
_FASTEST = 1
"""Of zlib's levels: the archive is a quarter larger than the smallest, in a third of its time."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def csv_archive(tables: Mapping[str, pd.DataFrame]) -> bytes:
    """A ZIP file with `<table>.csv` of every public table and `csv-metadata.json`; the same tables give the same bytes.

    CSV is UTF-8 with the mark that spreadsheets need, a header and a row for each row of the table; texts are in one
    line, and none runs as a formula. `tables` has every public table as `perception.schemas` describes it.
    """
    import pyarrow as pa
    from pyarrow import csv

    public = {name: tables[name] for name, table in TABLES.items() if table.public}
    metadata = json.dumps(csvw(public["published_waves"]), ensure_ascii=False, allow_nan=False, indent=1)
    with io.BytesIO() as content:
        with zipfile.ZipFile(content, "w") as archive:
            _add(archive, METADATA_FILE, f"{metadata}\n".encode())
            for name, frame in public.items():
                rows = pa.BufferOutputStream()
                csv.write_csv(pa.Table.from_pandas(_safe_texts(frame), preserve_index=False), rows)
                _add(archive, f"{name}.csv", codecs.BOM_UTF8 + rows.getvalue())
        return content.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Pack a file that everybody may read, without a clock."""
    packed = zipfile.ZipInfo(name, _LONG_AGO)
    packed.external_attr = 0o644 << 16
    archive.writestr(packed, content, zipfile.ZIP_DEFLATED, _FASTEST)


def _safe_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its texts in one line, and an apostrophe before what a spreadsheet would run as a formula."""
    safe = {}
    for column in frame.select_dtypes(["object", "str"]):
        texts = frame[column].dropna().unique()
        changed = {text: clean for text in texts if (clean := no_formula(clean_text(text))) != text}
        if changed:
            safe[str(column)] = frame[column].replace(changed)
    return frame.assign(**safe)


def csvw(waves: pd.DataFrame) -> Metadata:
    """The metadata of a folder of CSV files, `<table>.csv` for every public table.

    `waves` is table `published_waves`: title, licences and citations are those of its waves.
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


def _simulated(waves: pd.DataFrame) -> str:
    """What is said of simulated waves: of all, or by name where others are not; empty where there are none."""
    of = waves.loc[waves["simulated"].astype(bool), "wave"]
    if len(of) == len(waves):
        return SIMULATED_NOTE if len(of) else ""
    return f"Of {', '.join(of)} (column simulated): {SIMULATED_NOTE}" if len(of) else ""


def _table(table: Table) -> Metadata:
    return {
        "url": f"{table.name}.csv",
        "dc:title": table.name,
        "dc:description": table.meaning,
        "tableSchema": {
            "columns": [_column(column, column.name in table.key) for column in table.columns],
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
    if column.type == "string" and column.allowed:
        return {"base": "string", "format": "|".join(re.escape(value) for value in column.allowed)}
    limits = {"minimum": column.low, "maximum": column.high}
    given = {name: f"{limit:g}" for name, limit in limits.items() if limit is not None}
    return {"base": column.type, **given} if given else column.type
