"""Delimited text (.csv, .tsv, .txt): encoding, delimiter and quoting found out and checked, every cell kept as text.

Nothing is repaired: a file that can be read in two ways is reported with the line, not read in one of them.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from perception.errors import InputError, Problem
from perception.intake.formats.archives import CHUNK, Source
from perception.intake.formats.tables import (
    AGAIN,
    MANY,
    SourceTable,
    TextColumn,
    cleaned_names,
    repeated_names,
    text_table,
)

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SUGGESTED = ("cp1252", "cp1256")
"""Single-byte encodings of Windows, Western and Urdu or Arabic; bytes do not tell which it is, so none is taken."""

_HEAD = 1024 * 1024
_SAMPLE_ROWS = 200
_BLOCK = 2 * CHUNK
"""Bytes of rows that are parsed at once; with fewer, values that repeat are looked up more often than need be."""
_LONGEST_ROW = 64 * CHUNK
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FORMATS = {
    b"PK\x03\x04": ".xlsx or .zip",
    b"\x1f\x8b": ".gz",
    b"\xd0\xcf\x11\xe0": ".xls",
    b"$FL2": ".sav",
    b"$FL3": ".zsav",
    b"<stata_dta>": ".dta",
    b"PAR1": ".parquet",
}
"""How files begin that are sometimes given the name of a text."""
_QUOTE = ord('"')
_REWRITE = "Export it again: a text with quotes, delimiters or line breaks stands in quotes, quotes in it are doubled."


@dataclass(frozen=True)
class _Layout:
    """How a file is written: `skipped` bytes (as UTF-8) come before the first row of data."""

    codec: str
    delimiter: str
    names: list[str]
    skipped: int


def read_delimited(source: Source, where: str, encoding: str | None, delimiter: str | None) -> SourceTable:
    """Read delimited text with a header row, all columns as text.

    Undeclared, the encoding is UTF-8 or what a byte-order mark says, and the delimiter the one of comma, semicolon, tab
    and bar that parts header and rows alike. InputError names bytes of another encoding, NUL bytes, faulty quotes, rows
    of another length than the header, repeated and missing names, and cells that are no answer, with lines.
    """
    codec = _codec(source, where, encoding)
    layout = _layout(source, where, codec, delimiter)
    notes = list(source.notes)
    if encoding is None and codec != "utf-8":
        notes.append(f"encoding {codec}, as its byte-order mark says")
    if delimiter is None and layout.delimiter != ",":
        notes.append(f"delimiter {DELIMITERS[layout.delimiter]}")
    names = cleaned_names(layout.names)
    problems = repeated_names(where, names)
    columns, ragged = _read_rows(source, where, layout, names)
    problems += _ragged_problems(source, where, layout, ragged)
    if problems:
        raise InputError(problems)
    return text_table(where, names, columns, notes)


def _codec(source: Source, where: str, declared: str | None) -> str:
    with source.open() as stream:
        start = stream.read(16)
    if kind := next((kind for mark, kind in _OTHER_FORMATS.items() if start.startswith(mark)), None):
        raise InputError([Problem(where, f"is no text but a {kind} file", "Give it the suffix that it should have.")])
    if declared is not None:
        try:
            return codecs.lookup(declared).name
        except LookupError:
            remedy = "Declare `encoding` as utf-8, utf-16, cp1252, cp1256 or another one that Python knows."
            raise InputError([Problem(where, f"no encoding is called {declared!r}", remedy)]) from None
    return next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")


def _layout(source: Source, where: str, codec: str, declared: str | None) -> _Layout:
    """The header and the delimiter, from the first MB of the file."""
    head, whole = "", True
    for chunk in _decoded(source, where, codec):
        head += chunk[: _HEAD - len(head)]
        if len(head) == _HEAD:
            whole = False
            break
    rows = {delimiter: _rows(head, delimiter, whole) for delimiter in ([declared] if declared else DELIMITERS)}
    delimiter = max(rows, key=lambda candidate: _fit(rows[candidate]))
    if not rows[delimiter]:
        what = "begins with a line too long for a header" if head.strip() else "holds no header"
        raise InputError([Problem(where, what, AGAIN)])
    names = rows[delimiter][0]
    if declared and len(names) == 1 and (other := next((d for d in DELIMITERS if d in names[0]), None)):
        what = f"has one column only with the declared delimiter {declared!r}; its header is parted by {other!r}"
        raise InputError([Problem(where, what, "Correct `delimiter` of the file in wave.yml, or take it out.")])
    # Some software ends every line but the header with a delimiter. The column without name may then hold nothing.
    if len(rows[delimiter]) > 1 and all(len(row) == len(names) + 1 and not row[-1] for row in rows[delimiter][1:]):
        names = [*names, ""]
    lines = io.StringIO(head, newline="")
    reader = csv.reader(lines, delimiter=delimiter)
    next(row for row in reader if row)
    return _Layout(codec, delimiter, names, len(head[: lines.tell()].encode()))


def _rows(head: str, delimiter: str, whole: bool) -> list[list[str]]:
    """The first rows (no blank lines); the last one only where it is sure to be complete."""
    found = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
            if row:
                found.append(row)
            if len(found) > _SAMPLE_ROWS:
                return found
    except csv.Error:  # a cell too long: reported when the rows are read
        return found
    return found if whole else found[:-1]


def _fit(rows: list[list[str]]) -> tuple[bool, float, int]:
    """How well a delimiter parts a file: has it columns, in what share of rows as many as the header, how many."""
    if not rows:
        return False, 0.0, 0
    width = len(rows[0])
    alike = sum(len(row) == width or (len(row) == width + 1 and not row[-1]) for row in rows[1:])
    return width > 1, alike / max(len(rows) - 1, 1), width


def _decoded(source: Source, where: str, codec: str) -> Iterator[str]:
    """The text, chunk by chunk; InputError names the line of bytes that are not of this encoding."""
    decoder, line = codecs.getincrementaldecoder(codec)(), 1
    for number, chunk in enumerate(chain(source.chunks(), [b""])):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise InputError([_wrong_encoding(where, codec, line, error)]) from None
        line += text.count("\n")
        yield text if number else text.removeprefix("\ufeff")


def _as_utf8(source: Source, where: str, codec: str) -> Iterator[bytes]:
    """The text as UTF-8 bytes; a file that should be UTF-8 is passed on as it is, and checked by the reader of rows."""
    if codec != "utf-8":
        yield from (text.encode() for text in _decoded(source, where, codec))
        return
    for number, chunk in enumerate(source.chunks()):
        yield chunk if number else chunk.removeprefix(codecs.BOM_UTF8)


def _wrong_encoding(where: str, codec: str, line: int, error: UnicodeDecodeError) -> Problem:
    data = bytes(error.object)
    line += data[: error.start].count(b"\n")
    start = max(data.rfind(b"\n", 0, error.start) + 1, error.start - 15)
    around = data[start : error.end + 15].splitlines()[0]
    read_as = " or ".join(f"{name}: {around.decode(name, errors='replace')!r}" for name in SUGGESTED)
    what = f"is not {codec} text: line {line} holds {around!r}"
    return Problem(
        where, what, f"Declare the `encoding` in which that line reads well ({read_as}), or save it as UTF-8."
    )


def _rows_of_data(source: Source, where: str, layout: _Layout) -> Iterator[bytes]:
    """The rows of data as UTF-8 bytes; InputError names the line of a NUL byte and where quoting goes wrong."""
    quotes = _Quotes(where, layout.delimiter)
    skip, line = layout.skipped, 1
    for data in _as_utf8(source, where, layout.codec):
        if b"\0" in data:
            line += data[: data.index(b"\0")].count(b"\n")
            remedy = f"It is damaged, or no text, or of another `encoding` such as utf-16-le: declare that. {AGAIN}"
            raise InputError([Problem(where, f"holds a NUL byte in line {line}", remedy)])
        line += quotes.check(data)
        yield data[skip:]
        skip -= min(skip, len(data))
    quotes.finish()


class _Quotes:
    """Follows the quotes of a file: each opens at the start of a cell, closes at its end, or is doubled inside.

    The reader of rows takes other quotes as they come, and a quote that is never closed swallows all rows after it.
    """

    def __init__(self, where: str, delimiter: str) -> None:
        self._where = where
        self._boundary = np.zeros(256, dtype=bool)
        self._boundary[[ord(delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
        self._inside, self._before, self._held = False, b"\n", b""
        self._line, self._opened = 1, 1

    def check(self, data: bytes) -> int:
        """Follow the next bytes; quotes at their end wait for what comes after them. Returns the number of lines."""
        line = self._line
        data = self._held + data
        ended = data.rstrip(b'"')
        self._held = data[len(ended) :]
        self._follow(ended)
        return self._line - line

    def finish(self) -> None:
        """The file ends here."""
        self._follow(self._held + b"\n")
        if self._inside:
            what = f"the quote opened in line {self._opened} is never closed"
            raise InputError([Problem(self._where, what, _REWRITE)])

    def _follow(self, data: bytes) -> None:
        if b'"' in data:
            cells = np.frombuffer(self._before + data, dtype=np.uint8)
            quotes = np.flatnonzero(cells[1:] == _QUOTE) + 1
            opening, closing = quotes[int(self._inside) :: 2], quotes[1 - int(self._inside) :: 2]
            wrong = np.sort(
                np.concatenate(
                    [opening[~self._boundary[cells[opening - 1]]], closing[~self._boundary[cells[closing + 1]]]]
                )
            )
            if len(wrong):
                line = self._line + data[: wrong[0] - 1].count(b"\n")
                what = f"a quote stands inside a value in line {line}"
                raise InputError([Problem(self._where, what, _REWRITE)])
            if len(opening):
                self._opened = self._line + data[: opening[-1] - 1].count(b"\n")
            self._inside ^= bool(len(quotes) % 2)
        self._line += data.count(b"\n")
        self._before = data[-1:] or self._before


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = filter(None, chunks), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer):  # the reader of rows takes what it gets for a block
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            count = min(len(buffer) - filled, len(self._rest))
            buffer[filled : filled + count] = self._rest[:count]
            self._rest = self._rest[count:]
            filled += count
        return filled


def _read_rows(
    source: Source, where: str, layout: _Layout, names: list[str], block: int = _BLOCK
) -> tuple[dict[int, TextColumn], Counter[str]]:
    """Every column of the rows that are as long as the header, and how many rows are `more` and `fewer` values long."""
    columns = {place: TextColumn(f"{where}, column {name or place + 1}") for place, name in enumerate(names)}
    ragged: Counter[str] = Counter()

    def leave_out(row: Any) -> str:
        ragged["more" if row.actual_columns > row.expected_columns else "fewer"] += 1
        return "skip"

    places = [str(place) for place in columns]
    try:
        with arrow_csv.open_csv(
            _Stream(_rows_of_data(source, where, layout)),
            arrow_csv.ReadOptions(use_threads=False, block_size=block, column_names=places),
            arrow_csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=leave_out),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        ) as batches:
            for batch in _read_ahead(batches):
                for place, column in columns.items():
                    column.add(batch.column(place))
    except pa.ArrowInvalid as error:
        if "straddling" in str(error) and block < _LONGEST_ROW:  # a row longer than a block
            return _read_rows(source, where, layout, names, _LONGEST_ROW)
        if "UTF8" in str(error):
            for _ in _decoded(source, where, layout.codec):  # says where
                pass
        if "Empty CSV" not in str(error):
            raise
    return columns, ragged


def _read_ahead(batches: Any) -> Iterator[Any]:
    """The batches, the next one being parsed while the caller works on one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _ragged_problems(source: Source, where: str, layout: _Layout, counts: Counter[str]) -> list[Problem]:
    """A problem for rows longer than the header and one for shorter ones, each with the first lines of its kind."""
    if not counts:
        return []
    width = len(layout.names)
    found: dict[str, list[str]] = {kind: [] for kind in counts}
    for line, row in _lines(source, where, layout):
        kind = "more" if len(row) > width else "fewer"
        if len(row) != width and kind in found and len(found[kind]) < MANY:
            found[kind].append(f"line {line} has {len(row)}")
        if all(len(found[kind]) == min(MANY, count) for kind, count in counts.items()):
            break
    delimiter = DELIMITERS.get(layout.delimiter, layout.delimiter)
    remedy = f"Correct these lines, or declare the `delimiter` if it is not {delimiter}. {AGAIN}"
    return [
        Problem(
            where,
            f"{counts[kind]} of its rows have {kind} values than the header has names, {width}: {', '.join(lines)}",
            remedy,
        )
        for kind, lines in found.items()
    ]


def _lines(source: Source, where: str, layout: _Layout) -> Iterator[tuple[int, list[str]]]:
    """The rows of data (blank lines left out) with the line that each begins in."""
    stream = io.BufferedReader(_Stream(_as_utf8(source, where, layout.codec)))
    limit = csv.field_size_limit(_LONGEST_ROW)
    try:
        with io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="") as text:
            reader = csv.reader(text, delimiter=layout.delimiter)
            next(row for row in reader if row)
            line = reader.line_num + 1
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)
