"""Published rows as files to take away: CSV, XLSX and JSON that say what each column means and how to cite them.

The same input gives the same bytes. No text in them runs as a formula, opens as a link or turns the text around it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.publish import maps
from perception.schemas import Column

if TYPE_CHECKING:
    import xlsxwriter

ENDINGS = (".csv", ".xlsx", ".json")
ADDED = (
    Column("simulated", "boolean", "Whether the answers are simulated, not a person's"),
    Column("citation", "string", "How to cite the row"),
)
"""Columns that every row has, so that it keeps its source when it is copied out of the file."""
_NUMBERS = ("integer", "number")
_LONGEST_CELL = 32_000
_CELL_ENDS = " ... (longer than a cell of a workbook holds; the CSV file has all of it)"
_SPACE = re.compile(r"[\s\x85\u2028\u2029]+")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters, what overrides the direction of text (Unicode TR 36), and what no file of text may hold."""
_FORMULA = re.compile(r"^(?=[=+\-@\t\r\n＝＋－＠])")
"""How a text begins that a spreadsheet would run as a formula (OWASP, CSV injection)."""


@dataclass(frozen=True)
class Download:
    """A published frame and what has to be said with it.

    `columns` are the columns of `rows` that are written, in their order; `source` is the line that stands under its
    figures, `address` where the page about it is, `code_version` what made it. `rows` may have `simulated` and
    `citation` of its own, where they come from several waves. `reason` holds the reason codes of published tables; it
    is written in words.

    ValueError when a row of quality `suppress` has a number that such a row may not have, or a row is simulated and
    the download is not.
    """

    title: str
    rows: pd.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    source: str
    citation: str
    licence: str
    simulated: bool
    address: str
    code_version: str

    def __post_init__(self) -> None:
        if "quality" in self.rows:
            suppressed = self.rows[self.rows["quality"] == "suppress"]
            numbers = [column.name for column in self.columns if column.nullable and column.type in _NUMBERS]
            if told := [name for name in numbers if suppressed[name].notna().any()]:
                raise ValueError(f"{self.title}: suppressed rows have numbers in {', '.join(told)}")
        if not self.simulated and "simulated" in self.rows and self.rows["simulated"].any():
            raise ValueError(f"{self.title}: has simulated rows and is not marked as simulated")

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """What is written: the columns, and the added ones."""
        own = {column.name for column in self.columns}
        return (*self.columns, *(column for column in ADDED if column.name not in own))


def write_downloads(download: Download, path: Path) -> None:
    """Write `<path>.csv`, `<path>.xlsx` and `<path>.json`."""
    cells = _cells(download)
    contents = _csv(download, cells), _workbook(download, cells), _json(download, cells)
    for ending, content in zip(ENDINGS, contents, strict=True):
        path.with_name(path.name + ending).write_bytes(content)


@lru_cache(maxsize=4096)
def clean_text(text: str) -> str:
    """A text in one line, without control characters and overrides of its direction."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", text)).strip()


def _text(value: object) -> str:
    return clean_text(str(value))


_TYPES: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "string": _text,
    "date": _text,
}
"""How a value becomes Python's own, by the type of its column."""


def no_formula(text: str) -> str:
    """A text that no spreadsheet runs when it stands in a CSV file: an apostrophe goes before what looks like it."""
    return _FORMULA.sub("'", text)


def _cells(download: Download) -> list[tuple[Any, ...]]:
    """The rows as Python's own values of the types that the columns declare, None where there is none, texts clean."""
    rows = download.rows
    simulated = _values(rows, "simulated", bool, download.simulated)
    cited = _values(rows, "citation", clean_text, clean_text(download.citation))
    said = {
        "simulated": simulated,
        "citation": [f"{maps.SIMULATED}: {text}" if of else text for text, of in zip(cited, simulated, strict=True)],
    }
    if "reason" in rows:
        said["reason"] = _values(rows, "reason", lambda codes: clean_text(maps.reason_words(codes)))
    columns = [
        said.get(column.name) or _values(rows, column.name, _TYPES[column.type]) for column in download.all_columns
    ]
    return list(zip(*columns, strict=True))


def _values(rows: pd.DataFrame, name: str, typed: Callable[[Any], Any], otherwise: Any = None) -> list[Any]:
    """The values of a column, None where one is missing; `otherwise` for each row where there is no such column."""
    if name not in rows:
        return [otherwise] * len(rows)
    missing = rows[name].isna().tolist()
    return [None if none else typed(value) for value, none in zip(rows[name].tolist(), missing, strict=True)]


def _csv(download: Download, cells: Sequence[tuple[Any, ...]]) -> bytes:
    """UTF-8 with the mark that Excel needs to see that it is; no line but the header and the rows."""
    with io.StringIO(newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(column.name for column in download.all_columns)
        lines.writerows([no_formula(value) if isinstance(value, str) else value for value in row] for row in cells)
        return file.getvalue().encode("utf-8-sig")


def _json(download: Download, cells: Sequence[tuple[Any, ...]]) -> bytes:
    names = [column.name for column in download.all_columns]
    about = {
        "title": clean_text(download.title),
        "simulated": download.simulated,
        **({"warning": maps.SIMULATED_NOTE} if download.simulated else {}),
        "notes": [clean_text(note) for note in download.notes],
        "source": clean_text(download.source),
        "citation": clean_text(download.citation),
        "licence": clean_text(download.licence),
        "address": download.address,
        "code_version": download.code_version,
        "columns": [
            {"name": column.name, "type": column.type, "meaning": column.meaning, "unit": column.unit}
            for column in download.all_columns
        ],
        "rows": [dict(zip(names, row, strict=True)) for row in cells],
    }
    return (json.dumps(about, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def _workbook(download: Download, cells: Sequence[tuple[Any, ...]]) -> bytes:
    """A sheet of the rows and a sheet about them; without a clock, so that the same rows give the same bytes."""
    import xlsxwriter

    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with io.BytesIO() as file:
        with xlsxwriter.Workbook(file, options) as workbook:
            title = clean_text(download.title)[:255]
            workbook.set_properties({"title": title, "created": datetime(2000, 1, 1)})
            _data_sheet(workbook, download, cells)
            _about_sheet(workbook, download)
        return file.getvalue()


def _data_sheet(workbook: xlsxwriter.Workbook, download: Download, rows: Sequence[tuple[Any, ...]]) -> None:
    sheet = workbook.add_worksheet("Data")
    bold = workbook.add_format({"bold": True})
    sheet.freeze_panes(1, 0)
    if download.simulated:
        sheet.set_header(f"&C{maps.SIMULATED}")
        sheet.set_tab_color("#a3152d")
    names = [column.name for column in download.all_columns]
    for column, name in enumerate(names):
        sheet.write_string(0, column, name, bold)
        widest = max((len(str(row[column])) for row in rows if row[column] is not None), default=0)
        sheet.set_column(column, column, min(max(widest, len(name)) + 2, 60))
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, _cell_text(value))
            elif isinstance(value, bool):
                sheet.write_boolean(number, column, value)
            elif value is not None:
                sheet.write_number(number, column, value)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(names) - 1)


def _about_sheet(workbook: xlsxwriter.Workbook, download: Download) -> None:
    sheet = workbook.add_worksheet("About")
    bold = workbook.add_format({"bold": True, "valign": "top"})
    wrapped = workbook.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 90)
    sheet.set_column(2, 2, 32)
    lines = [
        ("Title", download.title),
        *([(maps.SIMULATED, maps.SIMULATED_NOTE)] if download.simulated else []),
        *(("Note", note) for note in download.notes),
        ("Source", download.source),
        ("Citation", download.citation),
        ("Licence", download.licence),
        ("Address", download.address),
        ("Made by", f"perception {download.code_version}"),
    ]
    for number, (name, text) in enumerate(lines):
        sheet.write_string(number, 0, name, bold)
        sheet.write_string(number, 1, _cell_text(clean_text(text)), wrapped)
    first = len(lines) + 1
    for place, name in enumerate(("Column", "Meaning", "Unit")):
        sheet.write_string(first, place, name, bold)
    for number, column in enumerate(download.all_columns, start=first + 1):
        for place, text in enumerate((column.name, column.meaning, column.unit)):
            sheet.write_string(number, place, text, wrapped)


def _cell_text(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - len(_CELL_ENDS)] + _CELL_ENDS
