"""Workbooks (.xlsx, .xlsb, .xls, .ods): one sheet with its header in the first row, every cell as text.

A cell holds what was entered: formulas, error values and merged cells are named and refused.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import PurePosixPath
from typing import IO, Any
from xml.etree import ElementTree

import pyarrow as pa
from python_calamine import CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum

from perception.errors import InputError, Problem
from perception.intake.formats.archives import CHUNK, Source, check_zip
from perception.intake.formats.tables import (
    AGAIN,
    MANY,
    SourceTable,
    TextColumn,
    cleaned_names,
    code_key,
    repeated_names,
    text_table,
)

MOST_CELLS = 60_000_000
"""Some 2 GB in memory; a sheet of 400,000 interviews with 150 columns."""

_BATCH = 5_000
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_FORMULA = re.compile(rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f\b")
_ERROR = re.compile(rb'<(?:\w+:)?c\b([^>]*\bt="e"[^>]*)>')
_ADDRESS = re.compile(rb'\br="([A-Z]+)([0-9]+)"')
_ROW = re.compile(rb'<(?:\w+:)?row r="([0-9]+)"')
_COLUMN = re.compile(rb'<(?:\w+:)?c r="([A-Z]+)')
_LONGEST_TAG = 1_000


def read_workbook(source: Source, where: str, sheet: str | None) -> SourceTable:
    """Read a sheet (the first one when not named), all columns as text: 1 for the number 1, dates as ISO 8601.

    InputError lists sheets when the one named is not there, and cells with formulas, error values or merged cells,
    repeated and missing names.
    """
    if zipfile.is_zipfile(source.file()):  # all but .xls and encrypted ones
        with zipfile.ZipFile(source.file()) as archive:
            check_zip(archive, where)
    try:
        workbook = CalamineWorkbook.from_object(source.file())
    except PasswordError:
        raise InputError([Problem(where, "is protected by a password", "Save it without one.")]) from None
    with workbook:
        name, notes = _chosen_sheet(workbook, where, sheet)
        place = where if sheet is None else f"{where}, sheet {sheet}"
        problems: list[Problem] = []
        if source.suffix == ".xlsx":
            with zipfile.ZipFile(source.file()) as archive:
                problems += _inspected(archive, name, place)
        else:
            notes.append(f"formulas and error values cannot be told from values in a {source.suffix} file")
        table = workbook.get_sheet_by_name(name)
        problems += _merged(table, place)
        rows = table.iter_rows()
        header = [_text(cell) for cell in next(rows, [])]
        if not any(header):
            problems.append(Problem(place, "has no header in its first row", "Delete the rows above the header."))
            raise InputError(problems)
        names = cleaned_names(header)
        problems += repeated_names(place, names)
        columns = {number: TextColumn(f"{place}, column {column or number + 1}") for number, column in enumerate(names)}
        while batch := list(islice(rows, _BATCH)):
            for column, cells in zip(columns.values(), zip(*batch, strict=True), strict=True):
                column.add(pa.array(list(map(_text, cells)), pa.string()))
    if problems:
        raise InputError(problems)
    return text_table(place, names, columns, [*source.notes, *notes])


def _chosen_sheet(workbook: CalamineWorkbook, where: str, declared: str | None) -> tuple[str, list[str]]:
    names = [sheet.name for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    if declared is not None and declared not in names:
        what = f"has no sheet {declared!r}; it has {', '.join(names)}"
        raise InputError([Problem(where, what, "Name one of them as `sheet` of the file.")])
    if not names:
        raise InputError([Problem(where, "holds no sheet", AGAIN)])
    name = declared or names[0]
    others = [other for other in names if other != name]
    return name, [f"sheet {name} was read, not {', '.join(others)}"] if others and declared is None else []


def _text(cell: Any) -> str:
    """A cell as a CSV export would have it; texts as they are."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, timedelta):
        minutes, seconds = divmod(round(cell.total_seconds()), 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    return code_key(cell)


def _merged(sheet: CalamineSheet, where: str) -> list[Problem]:
    ranges = [f"{_address(*first)}:{_address(*last)}" for first, last in sheet.merged_cell_ranges or []]
    if not ranges:
        return []
    return [Problem(where, f"has merged cells: {_listed(ranges)}", "Unmerge them and fill every cell.")]


def _address(row: int, column: int) -> str:
    letters = ""
    while column >= 0:
        letters = chr(ord("A") + column % 26) + letters
        column = column // 26 - 1
    return f"{letters}{row + 1}"


def _listed(items: list[str]) -> str:
    return ", ".join(items[:MANY]) + (f" and {len(items) - MANY} more" if len(items) > MANY else "")


def _inspected(archive: zipfile.ZipFile, sheet: str, where: str) -> list[Problem]:
    """Cells that the reader would not show as they are: it gives the last result of a formula and a blank for an error.

    It also keeps room for every cell up to the last one: InputError where a stray cell would take all memory.
    """
    formulas: dict[str, None] = {}
    errors: dict[str, None] = {}
    last_row, columns = 0, set[bytes]()
    with archive.open(_sheet_part(archive, sheet)) as part:
        for cells in _in_pieces(part):
            for pattern, found in ((_FORMULA, formulas), (_ERROR, errors)):
                for cell in pattern.finditer(cells):
                    address = _ADDRESS.search(cell[1])
                    found[(address[1] + address[2]).decode() if address else "(without address)"] = None
            columns.update(_COLUMN.findall(cells))
            last_row = max([last_row, *map(int, _ROW.findall(cells))])
    last_column = max(columns, key=lambda letters: (len(letters), letters), default=b"")
    if last_row * _number(last_column) > MOST_CELLS:
        what = f"reaches to cell {last_column.decode()}{last_row}, too far for a table"
        remedy = "Delete stray cells at its end, or save it as .csv if it is as large."
        raise InputError([Problem(where, what, remedy)])
    return [
        Problem(where, f"{what} in {len(cells)} cells: {_listed(list(cells))}", remedy)
        for what, cells, remedy in (
            ("has formulas", formulas, "Replace them by their values (copy, paste special, values) and save again."),
            ("has error values such as #N/A", errors, "Correct or empty these cells."),
        )
        if cells
    ]


def _number(letters: bytes) -> int:
    """The number of a column, 1 for A."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _in_pieces(part: IO[bytes]) -> Iterator[bytes]:
    """Pieces of a sheet's XML that each begin where a tag does; a cell's tag is whole in one of them at least."""
    rest = b""
    while chunk := part.read(CHUNK):
        piece = rest + chunk
        yield piece
        rest = piece[max(piece.rfind(b"<", 0, len(piece) - _LONGEST_TAG), 0) :]


def _sheet_part(archive: zipfile.ZipFile, sheet: str) -> str:
    """The name in the archive of the XML of a sheet."""
    book = next(name for name in archive.namelist() if name.endswith("workbook.xml"))
    folder = PurePosixPath(book).parent
    relations = ElementTree.fromstring(archive.read(str(folder / "_rels" / "workbook.xml.rels")))
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    entries = ElementTree.fromstring(archive.read(book)).iter()
    (identifier,) = {e.get(_RELATION) for e in entries if e.tag.endswith("}sheet") and e.get("name") == sheet}
    target = targets[identifier]
    return target.removeprefix("/") if target.startswith("/") else str(folder / target)
