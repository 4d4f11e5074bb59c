"""What is wrong with a wave is said, never thrown: a table with a row for every way in which an input can be broken.

A row makes a sound wave folder unsound and gives words that one message must hold: where (file or wave.yml, column),
which value, and what to do about it. Every row goes through what `perception check` does, some through a run as well.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
import xlsxwriter

import perception.project
from perception.geography import load_gazetteer
from perception.intake.harmonise import responses
from perception.intake.raw import raw_responses
from perception.intake.wave_file import ACROSS_WAVES
from perception.project import PROJECT_VARIABLE, Project, open_wave
from perception.wave_folders import wave_problems
from pipelines import runner
from tests.conftest import ROOT, SMALL_INSTRUMENT, SMALL_WAVE, small_answers
from tests.site_tables import no_pngs

WAVE = "small-2021"
INSTRUMENT = SMALL_INSTRUMENT.replace(
    "indicators:",
    """\
  wait:
    label: How long did you wait?
    type: number
    unit: minutes
    range: [0, 300]
  too_far:
    label: Is it too far?
    type: category
    categories: {no: "No", yes: "Yes"}
  too_dear:
    label: Does it cost too much?
    type: category
    categories: {no: "No", yes: "Yes"}
indicators:""",
    1,
)
DECLARED = (
    SMALL_WAVE
    + """\
  age: {source: age}
  wait: {source: wait, missing: {999: dont_know}}
  too_far: {source: reasons, contains: far, map: {0: no, 1: yes}}
  too_dear: {source: reasons, contains: cost, map: {0: no, 1: yes}}
"""
)


@cache
def sound_answers() -> pd.DataFrame:
    """The small wave's answers, with a number, a select-multiple question and what is known of the interviews."""
    answers = small_answers()
    row = np.arange(len(answers))
    start = pd.Timestamp("2021-03-01 09:00", tz="Asia/Karachi") + pd.to_timedelta(row % 20 * 24, unit="h")
    start += pd.to_timedelta(row // 20 % 6 * 60 + row % 7, unit="min")
    return answers.assign(
        age=18 + row * 7 % 60,
        wait=row * 13 % 120,
        reasons=np.array(["far", "cost far", "cost", None])[row % 4],
        start=[time.isoformat() for time in start],
        end=[time.isoformat() for time in start + pd.to_timedelta(25 + row % 11, unit="min")],
        enumerator=101 + row // 20 % 6 * 5 + row % 2,
    )


# What can be done to a folder. Each function gives back a change of the folder.

Change = Callable[[Path], object]


def all_of(*changes: Change) -> Change:
    """Several changes, one after the other."""
    return lambda folder: [change(folder) for change in changes]


def store(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame in the format of the file name."""
    name = path.name
    if name.endswith((".csv.gz", ".csv")):
        frame.to_csv(path, index=False)
    elif name.endswith(".zip"):
        path.write_bytes(zipped({"answers.csv": frame.to_csv(index=False).encode()}))
    elif name.endswith(".xlsx"):
        path.write_bytes(workbook({"answers": sheet(frame)}))
    elif name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    elif name.endswith(".dta"):
        pyreadstat.write_dta(frame, str(path))
    else:
        pyreadstat.write_sav(frame, str(path), compress=name.endswith(".zsav"))


def answers(edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """The data file, its frame edited."""
    return lambda folder: store(folder / "answers.csv", edit(sound_answers()))


def cells(column: str, *values: Any) -> Change:
    """Values put into the first rows of a column."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{column: [*values, *frame[column].iloc[len(values) :]]})

    return answers(edit)


def content(edit: Callable[[bytes], bytes], name: str = "answers.csv") -> Change:
    """A file, its bytes edited."""
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


def swapped(old: str | bytes, new: str | bytes, name: str = "answers.csv") -> Change:
    """A file with a part of it, which must be there, replaced by another once."""
    before, after = (part.encode() if isinstance(part, str) else part for part in (old, new))

    def edit(data: bytes) -> bytes:
        assert before in data, before
        return data.replace(before, after, 1)

    return content(edit, name)


def wave(*pairs: tuple[str, str]) -> Change:
    """wave.yml with parts of it replaced."""
    return all_of(*(swapped(old, new, "wave.yml") for old, new in pairs))


def also(declaration: str) -> Change:
    """wave.yml with a further declaration."""
    return wave(("variables:\n", f"{declaration}\nvariables:\n"))


def instrument(old: str, new: str) -> Change:
    """The instrument with a part replaced."""
    return lambda folder: swapped(old, new, "../../instruments/small.yml")(folder)


def file(name: str, data: bytes | str) -> Change:
    """A further file in the folder."""
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def as_file(name: str, data: bytes | pd.DataFrame | Callable[[], bytes] | None = None, options: str = "") -> Change:
    """A data file of another name and format in the place of answers.csv; a frame is stored as the name says."""

    def change(folder: Path) -> None:
        (folder / "answers.csv").unlink(missing_ok=True)
        if data is None or isinstance(data, pd.DataFrame):
            store(folder / name, sound_answers() if data is None else data)
        else:
            (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        wave(("{path: answers.csv}", f"{{path: {name}{options}}}"))(folder)

    return change


def reading(options: str) -> Change:
    """The declaration of answers.csv with options."""
    return wave(("{path: answers.csv}", f"{{path: answers.csv, {options}}}"))


def sheet(frame: pd.DataFrame) -> list[list[Any]]:
    """A frame as the rows of a sheet."""
    return [list(frame.columns), *frame.astype(object).where(frame.notna(), None).to_numpy().tolist()]


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    """An Excel file; a text that begins with `=` is a formula whose result nobody stored, `#` an error value."""
    memory = io.BytesIO()
    with xlsxwriter.Workbook(memory, {"in_memory": True}) as book:
        for name, rows in sheets.items():
            page = book.add_worksheet(name)
            for number, row in enumerate(rows):
                for place, value in enumerate(row):
                    if str(value).startswith("#"):
                        page.write_formula(number, place, "=1/0", value=value)
                    else:
                        page.write(number, place, value)
    # Pasted as a value, an error has no formula any more; the library writes it with one only.
    with zipfile.ZipFile(memory) as archive:
        return zipped({name: archive.read(name).replace(b"<f>1/0</f>", b"") for name in archive.namelist()})


def merged(data: bytes) -> bytes:
    """An Excel file with two cells of its first sheet merged."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    merge = b'</sheetData><mergeCells count="1"><mergeCell ref="B2:B3"/></mergeCells>'
    return zipped({name: part.replace(b"</sheetData>", merge) for name, part in parts.items()})


def in_sheet(row: int, column: str, value: Any) -> Change:
    """An Excel file with a value in a cell; row 1 is the first below the header."""

    def data() -> bytes:
        rows = sheet(sound_answers())
        rows[row][rows[0].index(column)] = value
        return workbook({"answers": rows})

    return as_file("answers.xlsx", data)


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip file with members of these names, written as they are given."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return memory.getvalue()


def csv() -> bytes:
    """The sound data file."""
    return sound_answers().to_csv(index=False).encode()


def half(data: bytes) -> bytes:
    """What is left of a file when a download stops."""
    return data[: len(data) // 2]


def encrypted(data: bytes) -> bytes:
    """A zip file whose members say that they are encrypted."""
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(signature) + place
        data = data[:start] + struct.pack("<H", 1) + data[start + 2 :]
    return data


BOMB = 2**30
"""Bytes that a bomb swells to, about."""


def swollen(prefix: bytes, filler: bytes, size: int = BOMB) -> bytes:
    """`prefix` and about `size` bytes of `filler`, deflated; flushed, a piece is independent and can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = packer.compress(prefix) + packer.flush(zlib.Z_FULL_FLUSH)
    chunk = filler * (2**23 // len(filler))
    piece = packer.compress(chunk) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * (size // len(chunk)) + packer.flush()


def zip_bomb(member: str, prefix: bytes, filler: bytes, base: bytes, says: int = BOMB) -> bytes:
    """A zip file whose last member swells, with the other members of `base`; it `says` how many bytes that has."""
    with zipfile.ZipFile(io.BytesIO(base)) as archive:
        data = zipped({**{name: archive.read(name) for name in archive.namelist() if name != member}, member: b""})
    packed, empty = swollen(prefix, filler), zlib.compress(b"", wbits=-zlib.MAX_WBITS)
    sizes = struct.pack("<III", 0, len(packed), says)
    # The member is empty so far: its bytes and, in both of its headers, its sizes are put in.
    local, own = data.rindex(b"PK\x03\x04"), data.rindex(b"PK\x01\x02")
    first = local + 30 + len(member)
    listing = data.index(b"PK\x01\x02")
    assert data[first:listing] == empty
    end = data[-22:-6] + struct.pack("<I", first + len(packed)) + data[-2:]
    return b"".join(
        [
            *(data[: local + 14], sizes, data[local + 26 : first], packed),
            *(data[listing : own + 16], sizes, data[own + 28 : -22], end),
        ]
    )


def gzip_bomb(prefix: bytes, filler: bytes) -> bytes:
    """A gzip file that swells."""
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + swollen(prefix, filler, BOMB // 8) + b"\0" * 8


SHEET = (
    "xl/worksheets/sheet1.xml",
    b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>',
    b'<row><c t="str"><v>0</v></c></row>',
    workbook({"answers": [["id"]]}),
)


@dataclass(frozen=True)
class Case:
    """A broken input: its name, how a sound folder becomes it, and the words that one message must hold."""

    name: str
    make: Change
    says: tuple[str, ...]


def case(name: str, make: Change, says: str = "") -> Case:
    """A row of the table; words of the message are parted by semicolons."""
    return Case(name, make, tuple(says.split("; ")))


HEADER = list(sound_answers().columns)
FIRST = csv().decode().splitlines()[1]
TABLE = ("answers.csv", csv(), FIRST.encode() + b"\n", zipped({}))
BIG = "x" * 10_000_000
LONG = "x" * 100_000

FILES = [
    *(
        case(
            f"truncated {name}", all_of(as_file(name), content(half, name)), f"{name}; cannot be read; Export it again"
        )
        for name in (
            *("answers.sav", "answers.zsav", "answers.dta", "answers.xlsx", "answers.parquet"),
            *("answers.zip", "answers.csv.gz"),
        )
    ),
    *(
        case(f"an empty file as {name}", as_file(name, b""), f"{name}; Export it again")
        for name in (
            *("answers.csv.gz", "answers.sav", "answers.dta", "answers.xlsx", "answers.parquet", "answers.zip"),
            "empty.csv",
        )
    ),
    *(
        case(
            f"a header without rows as {name}",
            as_file(name, sound_answers().iloc[:0].astype("str") if name.endswith("sav") else sound_answers().iloc[:0]),
            f"{name}; no rows; Export it again",
        )
        for name in ("answers.csv.gz", "answers.sav", "answers.xlsx", "answers.parquet", "answers.zip", "only.csv")
    ),
    case("a .csv that is an Excel file", as_file("table.csv", workbook({"a": [["id"], [1]]})), "table.csv; .xlsx"),
    case("a .csv that is a zip file", as_file("table.csv", zipped({"a.csv": csv()})), "table.csv; .zip"),
    case("a .csv that is gzip", as_file("table.csv", gzip.compress(csv())), "table.csv; .gz"),
    case("a .sav that is a .csv", as_file("answers.sav", csv()), "answers.sav; cannot be read"),
    case("a .dta that is a .csv", as_file("answers.dta", csv()), "answers.dta; cannot be read"),
    case("a .parquet that is a .csv", as_file("answers.parquet", csv()), "answers.parquet; cannot be read"),
    case(
        "an .xlsx that is a web page",
        as_file("answers.xlsx", b"<html><body><table><tr><td>id</td></tr></table></body></html>"),
        "answers.xlsx; cannot be read; Export it again",
    ),
    case("a .zip that is a .csv", as_file("answers.zip", csv()), "answers.zip; cannot be read"),
    case("a .gz that is a .csv", as_file("answers.csv.gz", csv()), "answers.csv.gz; cannot be read"),
    case("a format that is not read", as_file("answers.docx", b"PK"), "answers.docx; .docx; Use one of; .xlsx"),
    case("a file without suffix", as_file("answers", csv()), "small-2021/answers; Use one of; .csv"),
    case("a data file that is not there", lambda f: (f / "answers.csv").unlink(), "answers.csv; not there; Put it"),
    case(
        "a data file that is a folder",
        all_of(lambda f: (f / "answers.csv").unlink(), lambda f: (f / "answers.csv").mkdir()),
        "answers.csv; not there; Put it",
    ),
    case(
        "a link that leads nowhere",
        all_of(lambda f: (f / "answers.csv").unlink(), lambda f: (f / "answers.csv").symlink_to(f / "gone.csv")),
        "answers.csv; not there; Put it",
    ),
    case("a data file nobody may read", lambda f: (f / "answers.csv").chmod(0), "answers.csv; cannot be read"),
    case(
        "a data file that changed",
        all_of(file("SHA256SUMS", f"{'0' * 64}  answers.csv\n")),
        "answers.csv; checksum; add-wave",
    ),
    case("checksums that are no text", file("SHA256SUMS", b"\xff\xfe\0"), "SHA256SUMS"),
    case("checksums that are a folder", lambda f: (f / "SHA256SUMS").mkdir(), "SHA256SUMS"),
    case("a zip bomb", as_file("answers.zip", lambda: zip_bomb(*TABLE)), "answers.zip; unpacks; 1,07"),
    case(
        "a zip bomb that understates its size",
        as_file("answers.zip", lambda: zip_bomb(*TABLE, says=10**6)),
        "answers.zip",
    ),
    case(
        "a zip bomb in an Excel file", as_file("answers.xlsx", lambda: zip_bomb(*SHEET)), "answers.xlsx; unpacks; 1,07"
    ),
    case(
        "a zip bomb in an Excel file that understates its size",
        as_file("answers.xlsx", lambda: zip_bomb(*SHEET, says=10**6)),
        "answers.xlsx; cannot be read",
    ),
    case("a gzip bomb", as_file("answers.csv.gz", lambda: gzip_bomb(*TABLE[1:3])), "answers.csv.gz; unpacks"),
    case(
        "a zip file inside a zip file",
        as_file("answers.zip", zipped({"inner.zip": zipped({"answers.csv": csv()})})),
        "answers.zip; inner.zip",
    ),
    *(
        case(
            f"a zip file with a name that leads outside: {name}",
            as_file("answers.zip", zipped({"answers.csv": csv(), name: b"x"})),
            f"answers.zip; {name!r}; outside",
        )
        for name in ("../../instruments/small.yml", "/etc/answers.csv", "..\\answers.csv", "C:\\answers.csv")
    ),
    case(
        "a zip file with password",
        as_file("answers.zip", encrypted(zipped({"answers.csv": csv()}))),
        "answers.zip; password",
    ),
    case(
        "an Excel file with password",
        as_file(
            "answers.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16le") + b"\0" * 4096
        ),
        "answers.xlsx; cannot be read",
    ),
    case("a zip file without a table", as_file("answers.zip", zipped({"read.me": b"x"})), "answers.zip; read.me"),
    case("a zip file without a file", as_file("answers.zip", zipped({})), "answers.zip"),
    case(
        "a zip file with a table twice",
        as_file("answers.zip", zipped({"a/answers.csv": csv(), "b/answers.csv": csv()})),
        "answers.zip; a/answers.csv; b/answers.csv; member",
    ),
    case(
        "an unknown member of a zip file",
        as_file("answers.zip", options=", member: replies.csv"),
        "answers.zip; replies.csv; answers.csv",
    ),
    case("an unknown sheet", as_file("answers.xlsx", options=", sheet: Replies"), "answers.xlsx; Replies; answers"),
    case("a sheet of a .csv", reading("sheet: answers"), "answers.csv; sheet"),
    case("a member of a .csv", reading("member: answers.csv"), "answers.csv; member"),
    case(
        "a delimiter of an Excel file", as_file("answers.xlsx", options=', delimiter: ";"'), "answers.xlsx; delimiter"
    ),
    case("an Excel file without a cell", as_file("answers.xlsx", workbook({"answers": []})), "answers.xlsx; no header"),
    case("a formula without result in a code", in_sheet(3, "q1", "=A1"), "answers.xlsx; formula; F4; Replace"),
    case("a formula without result in a weight", in_sheet(3, "w", "=A1"), "answers.xlsx; formula; D4"),
    case("a division by zero in a weight", in_sheet(3, "w", "#DIV/0!"), "answers.xlsx; error value; D4; Correct"),
    case("an error value in a code", in_sheet(3, "q1", "#N/A"), "answers.xlsx; error value; F4; Correct"),
    case(
        "merged cells",
        as_file("answers.xlsx", lambda: merged(workbook({"answers": sheet(sound_answers())}))),
        "answers.xlsx; merged cells; B2:B3; Unmerge",
    ),
    case(
        "a column name twice in a sheet",
        as_file(
            "answers.xlsx", lambda: workbook({"answers": sheet(sound_answers().set_axis([*HEADER[:-1], "q1"], axis=1))})
        ),
        "answers.xlsx; column q1; 2 times",
    ),
    case(
        "a column of lists",
        as_file("answers.parquet", sound_answers().assign(lists=[[1, 2]] * 600)),
        "answers.parquet; column lists; single values",
    ),
    case(
        "a missing code that is not declared",
        lambda folder: (
            as_file("answers.dta")(folder),
            pyreadstat.write_dta(
                sound_answers().assign(q1=["a", *sound_answers()["q1"][1:]]),
                str(folder / "answers.dta"),
                missing_user_values={"q1": ["a"]},
            ),
        ),
        "answers.dta; column q1; '.a'; variables.service",
    ),
    case(
        "a title above the header of a sheet",
        as_file("answers.xlsx", lambda: workbook({"answers": [["Survey 2021"], *sheet(sound_answers())]})),
        "answers.xlsx; column 2; no name in the header",
    ),
]

TEXTS = [
    case(
        "text in another encoding than declared",
        all_of(swapped("Swat", b"S\xe9"), reading("encoding: utf-8")),
        "answers.csv; utf-8; encoding",
    ),
    case("an encoding that does not exist", reading("encoding: utf-99"), "answers.csv; utf-99; encoding"),
    case("bytes that are text in no encoding", swapped("Swat", bytes([0x81, 0x8D, 0xFF])), "answers.csv; encoding"),
    case("UTF-16 without a mark", content(lambda data: data.decode().encode("utf-16le")), "answers.csv; encoding"),
    case("NUL bytes", swapped("Swat", b"S\0\0t"), "answers.csv; NUL"),
    case("a file of zeros", content(lambda data: b"\0" * 10_000), "answers.csv"),
    case("another delimiter than declared", reading('delimiter: ";"'), "answers.csv; delimiter"),
    case("no delimiter at all", content(lambda data: data.replace(b",", b" ")), "answers.csv; column 'id'"),
    case("a row with more values than names", swapped("\n2,", "\n2,7,"), "answers.csv; row; delimiter"),
    case("a row with fewer values than names", swapped(FIRST, FIRST.rsplit(",", 3)[0]), "answers.csv; row"),
    case("an unclosed quote", swapped("\n2,", '\n"2,'), "answers.csv; quote"),
    case("a cell of 10 MB in a name", swapped("Swat", BIG), "answers.csv; column district; 10.0 MB; row 241"),
    case("a cell of 10 MB in a code", cells("q1", BIG), "answers.csv; column q1; 10.0 MB; row 1"),
    case("a long text in a name", cells("district", LONG), "answers.csv; column district; xxx; rows"),
    case("a long text in a code", cells("q1", LONG), "answers.csv; column q1; xxx; variables.service"),
    case("a long text in a weight", cells("w", LONG), "answers.csv; column w; xxx; Leave rows"),
    case("a long text in a respondent", cells("id", LONG, LONG), "respondent_id; xxx"),
    case("a cell of 10 MB in the header", swapped("reasons", BIG), "answers.csv; too long for a header"),
    case("a name that stands twice in the header", swapped("reasons", "q1"), "answers.csv; column q1; 2 times"),
    case("a header without a name", swapped("reasons", ""), "answers.csv; header"),
    case("a column that has the name of the row number", swapped("reasons", "source_row"), "answers.csv; source_row"),
    case("a line that names the delimiter", content(lambda data: b"sep=,\n" + data), "answers.csv; header; line"),
    case("a header that has lost its line", content(lambda data: data.split(b"\n", 1)[1]), "answers.csv; header"),
    case("a header with one name too few", swapped("id,", ""), "answers.csv; header"),
    case("a column that is called otherwise", swapped("q1", "Q1"), "wave.yml; variables.service; 'q1'; capitals"),
]

DATA = [
    case("a blank weight", cells("w", None), "answers.csv; column w; 1 of 600 rows; nan; Leave rows"),
    case("a weight of zero", cells("w", 0), "answers.csv; column w; 1 of 600 rows; 0; Leave rows"),
    case("a negative weight", cells("w", 1, -2.5), "answers.csv; column w; 1 of 600 rows; -2.5; Leave rows"),
    case("an infinite weight", cells("w", "inf", "1e999"), "answers.csv; column w; 2 of 600 rows; 1e999"),
    case("a weight that is text", cells("w", "heavy"), "answers.csv; column w; heavy; Leave rows"),
    case("a weight with a decimal comma", cells("w", "1,25"), "answers.csv; column w; 1,25"),
    case("no weight at all", answers(lambda a: a.drop(columns="w")), "wave.yml; design.weight; 'w'; answers.csv"),
    case(
        "weight and district swapped",
        answers(lambda a: a.rename(columns={"w": "district", "district": "w"})),
        "answers.csv; column w; 600 of 600 rows; Peshawar",
    ),
    case(
        "district and sex swapped",
        answers(lambda a: a.rename(columns={"sex": "district", "district": "sex"})),
        "answers.csv; column district; '1'",
    ),
    case("an unknown district", cells("district", "Atlantis"), "answers.csv; column district; Atlantis; 1 rows"),
    case("a misspelt district", cells("district", "Peshaver"), "answers.csv; column district; Peshaver; kp-peshawar"),
    case("a district of another map", cells("district", "Talagang"), "answers.csv; column district; Talagang; 2025"),
    case(
        "a district of two names",
        all_of(
            cells("district", "Pesh"),
            wave(("district: district}", "district: district, names: {Pesh: kp-peshawar, pesh: kp-kohat}}")),
        ),
        "answers.csv; column district; Pesh; eclare",
    ),
    case(
        "a district declared as nothing there is",
        wave(("district: district}", "district: district, names: {Swat: kp-swatt}}")),
        "answers.csv; column district; Swat; kp-swatt",
    ),
    case("a blank district", cells("district", " "), "answers.csv; column district; blank in 1 rows; rows"),
    case("an undeclared code", cells("q1", 7, 7), "answers.csv; column q1; '7'; 2 rows; variables.service"),
    case("a code that is text", cells("q1", "good"), "answers.csv; column q1; 'good'; variables.service"),
    case("a code with a fraction", cells("q1", 2.5), "answers.csv; column q1; '2.5'; variables.service"),
    case(
        "two questions swapped",
        answers(lambda a: a.rename(columns={"q1": "age", "age": "q1"})),
        "column q1; '18'; variables.service",
    ),
    case(
        "an undeclared answer among several chosen",
        cells("reasons", "far flood"),
        "answers.csv; column reasons; flood; variables.too_far",
    ),
    case("a number out of range", cells("wait", 301), "answers.csv; column wait; 301; 1 rows; 0 to 300"),
    case("a negative age", cells("age", -1), "answers.csv; column age; -1; 0 to 130"),
    case("a number that is text", cells("wait", "long"), "answers.csv; column wait; 'long'; variables.wait"),
    case("a number that is infinite", cells("wait", "inf"), "answers.csv; column wait; 'inf'; variables.wait"),
    case("a blank respondent", cells("id", None), "respondent_id (id); blank in 1 rows; answers.csv"),
    case("a respondent twice", cells("id", 5), "respondent_id (id); for example 5; answers.csv"),
    case("a blank PSU", cells("psu", None), "design.psu; blank in 1 rows; answers.csv"),
    case("a PSU in two strata", cells("psu", 599 // 20), "design.psu; for example 29; Bannu; psu_within"),
    case("rows of which none counts", also("rows: [{column: sex, keep: [3]}]"), "wave.yml; rows; none of 600"),
    case("rows by a column that is not there", also("rows: [{column: result, keep: [1]}]"), "wave.yml; rows; 'result'"),
    case(
        "phone numbers as respondent ids",
        all_of(
            answers(lambda a: a.assign(phone=[f"0300{place:07d}" for place in a["id"] * 7919])),
            wave(("respondent_id: [id]", "respondent_id: [phone]")),
        ),
        "answers.csv; column phone; a phone number; respondent_id",
    ),
    case(
        "identity card numbers as respondent ids",
        answers(lambda a: a.assign(id=[f"17301-{place:07d}-{place % 10}" for place in a["id"] * 7919])),
        "answers.csv; column id; an identity card number; respondent_id",
    ),
    case("an answer that nobody varies", answers(lambda a: a.assign(q1=3)), "driver model satisfaction; small"),
]

PLACES = pd.DataFrame({"psu": range(30), "road": [place % 3 for place in range(30)]})


def with_places(places: pd.DataFrame, join: str = "{on: [psu]}", columns: str = "[road]") -> Change:
    """A second file, joined."""
    return all_of(
        lambda folder: store(folder / "places.csv", places),
        wave(("{path: answers.csv}", f"{{path: answers.csv}}, {{path: places.csv, columns: {columns}, join: {join}}}")),
    )


def items(frame: pd.DataFrame) -> pd.DataFrame:
    """Two rows a respondent: item 1 holds the age as its score, item 2 the time waited."""
    long = frame.loc[frame.index.repeat(2)].assign(item=[1, 2] * len(frame))
    return long.assign(score=long["age"].where(long["item"] == 1, long["wait"])).drop(columns=["age", "wait"])


def reshaped(edit: Callable[[pd.DataFrame], pd.DataFrame], extra: str = "") -> Change:
    """Data with two rows a respondent, reshaped to one."""
    keep = "district, psu, w, sex, q1, q2, reasons"
    form = f"reshape: {{rows: [id], over: item, values: [score], keep: [{keep}]{extra}}}"
    variables = wave(("{source: age}", "{source: score_1}"), ("{source: wait,", "{source: score_2,"))
    return all_of(answers(lambda frame: edit(items(frame))), reading(form), variables)


TABLES = [
    case(
        "a joined file that is not there",
        all_of(with_places(PLACES), lambda f: (f / "places.csv").unlink()),
        "places.csv; not there; Put it",
    ),
    case("a row without partner", with_places(PLACES.iloc[1:]), "places.csv; psu; 20 rows; answers.csv; '0'"),
    case("a key that stands twice", with_places(pd.concat([PLACES, PLACES.iloc[3:4]])), "places.csv; psu; 3; once"),
    case("a key that is not there", with_places(PLACES, "{on: [cluster]}"), "places.csv; cluster; wave.yml"),
    case("a key of another name that is not there", with_places(PLACES, "{on: [psu], key: [ea]}"), "places.csv; ea"),
    case(
        "columns that clash",
        with_places(PLACES.assign(sex=9), columns="[road, sex]"),
        "places.csv; column sex; 600 rows; columns",
    ),
    case("a column to take that is not there", with_places(PLACES, columns="[bridge]"), "places.csv; bridge; wave.yml"),
    case(
        "a first file that is joined",
        wave(("{path: answers.csv}", "{path: answers.csv, join: {on: [id]}}")),
        "wave.yml; files; first",
    ),
    case(
        "a further file that is not joined",
        wave(("{path: answers.csv}", "{path: answers.csv}, {path: places.csv}")),
        "wave.yml; files; join",
    ),
    case("a unit and code twice", reshaped(lambda a: pd.concat([a, a.iloc[:1]])), "answers.csv; item; '0'; 1"),
    case("a kept column that varies within a unit", reshaped(lambda a: a.assign(q1=range(len(a)))), "answers.csv; q1"),
    case(
        "a reshaped column that is not there",
        reshaped(lambda a: a.drop(columns="score")),
        "answers.csv; score; wave.yml",
    ),
    case(
        "a code of reshaped rows that is not declared",
        reshaped(lambda a: a.assign(item=[3, *a["item"].iloc[1:]])),
        "answers.csv; item; '3'; reshape.drop",
    ),
    case(
        "a blank code of reshaped rows",
        reshaped(lambda a: a.assign(item=[None, *a["item"].iloc[1:]])),
        "answers.csv; item; blank",
    ),
    case(
        "a blank unit of reshaped rows",
        reshaped(lambda a: a.assign(id=[None, *a["id"].iloc[1:]])),
        "answers.csv; id; blank",
    ),
    case("reshaped rows that are all dropped", reshaped(lambda a: a, ", drop: [1, 2]"), "answers.csv; reshape.drop"),
]

DECLARATIONS = [
    case("no wave.yml", lambda f: (f / "wave.yml").unlink(), "small-2021/wave.yml; not exist; Create"),
    case(
        "wave.yml a folder", all_of(lambda f: (f / "wave.yml").unlink(), lambda f: (f / "wave.yml").mkdir()), "wave.yml"
    ),
    case("wave.yml empty", file("wave.yml", ""), "small-2021/wave.yml; mapping; recipes"),
    case("wave.yml a list", file("wave.yml", "- id: small-2021\n"), "wave.yml; mapping; recipes"),
    case("wave.yml that is no YAML", wave(('round: "2021"', 'round: "2021')), "wave.yml; not valid YAML; line"),
    case("tabs in wave.yml", wave(("  sex:", "\tsex:")), "wave.yml; not valid YAML; line 15"),
    case(
        "wave.yml in another encoding",
        swapped("Small survey", b"Small surv\xe9", "wave.yml"),
        "wave.yml; not UTF-8; Save",
    ),
    case("wave.yml in UTF-16", content(lambda data: data.decode().encode("utf-16"), "wave.yml"), "wave.yml; not UTF-8"),
    case("a control character", wave(("title: Small", 'title: "Small\\x07" #')), "wave.yml; control character; Remove"),
    case("an unknown key", also("wieght: w"), "wave.yml; wieght; spelling"),
    case("a key twice", also("producer: Others"), "wave.yml; 'producer'; twice"),
    case("a key that is no word", also("? [a, b]\n: c"), "wave.yml; not valid YAML"),
    case("a lacking key", wave(("instrument: small\n", "")), "wave.yml; instrument; missing; Add it"),
    case("a day that does not exist", wave(("2021-03-31}", "2021-02-31}")), "wave.yml"),
    case("an end before the start", wave(("end: 2021-03-31", "end: 2020-03-31")), "wave.yml; dates; start"),
    case("declarations inside each other", also("fieldwork: &f {household: *f}"), "wave.yml"),
    case(
        "declarations that swell",
        also("notes:\n" + "".join(f"  - &n{n} [{', '.join([f'*n{n - 1}' if n else 'x'] * 9)}]\n" for n in range(8))),
        "wave.yml; inside each other",
    ),
    case("very deep declarations", also(f"notes: {'[' * 5000}{']' * 5000}"), "wave.yml"),
    case("the id of another wave", wave(("id: small-2021", "id: large-2021")), "wave.yml; large-2021; Name the folder"),
    case("an id that is none", wave(("id: small-2021", "id: Small 2021")), "wave.yml; id; Small 2021"),
    case("a reserved id", wave(("id: small-2021", "id: across")), "wave.yml; across; Choose another"),
    case(
        "a guess that nobody has checked",
        wave(("1: female", "1: female  # check\n    ")),
        "wave.yml, line; sex; # check",
    ),
    case(
        "a file outside the folder",
        wave(("path: answers.csv", "path: ../secret.csv")),
        "wave.yml; files.0.path; ../secret.csv",
    ),
    case("a variable of no question", wave(("  heard: {", "  hurd: {")), "wave.yml; variables.hurd; Use a question"),
    case("a category that does not exist", wave(("3: good", "3: great")), "wave.yml; variables.service; great; good"),
    case("a code mapped twice", wave(("{1: bad,", '{"1.0": bad, 1: fair,')), "wave.yml; variables.service; '1'; twice"),
    case("a variable without map", wave(("map: {1: female, 2: male}", "by: label")), "wave.yml; variables.sex; map"),
    case("an unknown reason", wave(("8: dont_know", "8: dunno")), "wave.yml; variables.service.missing; dunno"),
    case(
        "a choice without yes and no",
        wave((", map: {0: no, 1: yes}}\n", "}\n")),
        "wave.yml; variables.too_far; 1 (chosen)",
    ),
    case(
        "a filter by no variable",
        wave(("blank: not_asked", "asked_if: {question: used, answers: [yes]}")),
        "wave.yml; variables.heard.asked_if; used",
    ),
    case(
        "both weight and weighting", also("weighting: {base: w}"), "wave.yml; design.weight; weighting; one of the two"
    ),
    case("neither weight nor weighting", wave(("weight: w, ", "")), "wave.yml; design.weight; weighting"),
    case(
        "an unknown policy",
        wave(("psu: psu}", "psu: psu, single_psu: ignore}")),
        "wave.yml; design.single_psu; ignore; collapse",
    ),
    case(
        "a stratum with one PSU under policy fail",
        all_of(cells("district", *["Tank"] * 20), wave(("psu: psu}", "psu: psu, single_psu: fail}"))),
        "Tank; one sampled PSU; single_psu",
    ),
    case("an unknown map", wave(('vintage: "2018"', 'vintage: "1947"')), "1947; 2018"),
    case("an instrument that is not there", wave(("instrument: small", "instrument: large")), "large.yml; not exist"),
    case("an instrument that is no YAML", instrument("title: Small", "title: [Small"), "small.yml; not valid YAML"),
    case("an instrument with an unknown key", instrument("source:", "origin: x\nsource:"), "small.yml; origin"),
    case("an indicator of no question", instrument("question: heard", "question: hurd"), "small.yml; was_heard; hurd"),
    case(
        "comparability without predecessor",
        also("comparability: {service: {verdict: same, reason: x}}"),
        "wave.yml; predecessor",
    ),
    case("a predecessor that is not there", also("predecessor: small-2018"), "wave.yml; predecessor; small-2018"),
    case(
        "a verdict that does not exist",
        also("predecessor: small-2018\ncomparability: {service: {verdict: fine, reason: x}}"),
        "wave.yml; verdict; fine",
    ),
    case("a form that is not there", also("form: form.xlsx"), "form.xlsx; not there"),
    case("a form that is none", all_of(file("form.xlsx", csv()), also("form: form.xlsx")), "form.xlsx"),
    case(
        "a form without questions",
        all_of(file("form.xlsx", workbook({"choices": [["list_name", "name"]]})), also("form: form.xlsx")),
        "form.xlsx; survey",
    ),
]

FIELDWORK = [
    case(
        "times that are none",
        all_of(cells("start", "soon"), also("fieldwork: {start: start, end: end}")),
        "answers.csv; column start; soon",
    ),
    case(
        "times in another format",
        also('fieldwork: {start: start, time_format: "%b %d, %Y"}'),
        "answers.csv; column start; %b %d, %Y",
    ),
    case(
        "a format of times that is none",
        also('fieldwork: {start: start, time_format: "%Q"}'),
        "wave.yml; time_format; %Q",
    ),
    case(
        "an unknown time zone",
        also("fieldwork: {start: start, time_zone: Asia/Peshawar}"),
        "wave.yml; time_zone; Asia/Peshawar",
    ),
    case(
        "an enumerator that is not there",
        also("fieldwork: {enumerator: who}"),
        "wave.yml; fieldwork; 'who'; answers.csv",
    ),
    case(
        "coordinates in one column of two",
        also("fieldwork: {gps: {latitude: lat}}"),
        "wave.yml; fieldwork.gps; longitude",
    ),
    case(
        "coordinates that are none",
        all_of(answers(lambda a: a.assign(gps="here")), also("fieldwork: {gps: {point: gps}}")),
        "answers.csv; column gps; here",
    ),
    case(
        "an audit file that is not there",
        also("fieldwork: {audit: {path: audit.csv, key: id}}"),
        "audit.csv; not there",
    ),
    case(
        "an audit file that is none",
        all_of(file("audit.csv", "a,b\n1,2\n"), also("fieldwork: {audit: {path: audit.csv, key: id}}")),
        "audit.csv; instance ID",
    ),
    case(
        "back-checks that are not there",
        also("fieldwork: {back_checks: {path: back.csv, key: [id]}}"),
        "back.csv; not there",
    ),
    case(
        "back-checks without the key",
        all_of(
            file("back.csv", "case,q1\n1,1\n"),
            also("fieldwork: {back_checks: {path: back.csv, key: [id], type_1: [q1]}}"),
        ),
        "back.csv; id",
    ),
    case(
        "back-checks of a column that is not there",
        all_of(
            file("back.csv", "id,q1\n1,1\n"),
            also("fieldwork: {back_checks: {path: back.csv, key: [id], type_1: [q9]}}"),
        ),
        "back.csv; q9",
    ),
    case("a threshold of an unknown check", also("quality: {luck: {limit: 1}}"), "wave.yml; quality; luck"),
    case("an unknown threshold of a check", also("quality: {duration: {luck: 1}}"), "wave.yml; quality; luck"),
    case(
        "a threshold that is no number",
        also("quality: {duration: {median: short}}"),
        "wave.yml; quality; short",
    ),
    case(
        "an unknown threshold in the instrument",
        instrument("indicators:", "quality: {luck: {limit: 1}}\nindicators:"),
        "small.yml; quality; luck",
    ),
    case(
        "a remedy of an unknown check",
        also("remedies: [{check: luck, reason: x, drop: {column: id, codes: [1]}}]"),
        "wave.yml; remedies; luck",
    ),
    case(
        "a remedy by a column that is not there",
        also("remedies: [{check: unique_ids, reason: x, drop: {column: key, codes: [1]}}]"),
        "wave.yml; remedies; 'key'",
    ),
    case(
        "a remedy that does two things",
        also("remedies: [{check: unique_ids, reason: x, accept: [a], drop: {column: id, codes: [1]}}]"),
        "wave.yml; remedies.0; one action",
    ),
    case(
        "a remedy that does nothing",
        also("remedies: [{check: unique_ids, reason: x}]"),
        "wave.yml; remedies.0; one action",
    ),
    case(
        "a remedy without a reason",
        also("remedies: [{check: unique_ids, drop: {column: id, codes: [1]}}]"),
        "wave.yml; remedies.0.reason; Add it",
    ),
    case(
        "a remedy that drops every row",
        also("remedies: [{check: unique_ids, reason: x, drop: {column: sex, codes: [1, 2]}}]"),
        "wave.yml; none of 600",
    ),
]

PERSONS = "".join(f"{name},{number}\n" for name, number in (("female", 300), ("male", 310)))


def raked(margins: str, rake: str = "[[sex]]") -> Change:
    """Weights built by the wave, raked to these margins."""
    return all_of(
        file("margins.csv", margins),
        wave(("weight: w, weight_scale: relative", "weight_scale: population")),
        also(f"weighting: {{base: w, margins: margins.csv, rake: {rake}}}"),
    )


WEIGHTING = [
    case(
        "margins that are not there",
        all_of(raked(""), lambda f: (f / "margins.csv").unlink()),
        "margins.csv; not there",
    ),
    case("margins without persons", raked("sex,people\n" + PERSONS), "margins.csv; persons"),
    case("margins without their column", raked("gender,persons\n" + PERSONS), "margins.csv; sex"),
    case(
        "margins of an unknown category", raked("sex,persons\nwoman,5\n" + PERSONS), "margins.csv; sex; woman; female"
    ),
    case("margins that lack a category", raked("sex,persons\nfemale,300\n"), "margins.csv; sex; male"),
    case("margins with a category twice", raked("sex,persons\nmale,5\n" + PERSONS), "margins.csv; sex; male"),
    case("negative persons", raked("sex,persons\nfemale,300\nmale,-5\n"), "margins.csv; persons; -5"),
    case("persons that are text", raked("sex,persons\nfemale,300\nmale,many\n"), "margins.csv; persons; many"),
    case("blank persons", raked("sex,persons\nfemale,300\nmale,\n"), "margins.csv; persons; row 2; blank"),
    case(
        "margins of a category that nobody has",
        raked("sex,persons\ntransgender,5\n" + PERSONS),
        "margins.csv; sex; transgender",
    ),
    case("margins by a variable the wave has not", raked("urban,persons\nurban,300\nrural,10\n", "[[urban]]"), "urban"),
    case(
        "margins that disagree",
        raked(
            "sex,district_id,persons\n"
            + "female,,300\nmale,,310\n"
            + "".join(f",kp-{name},200\n" for name in ("peshawar", "mardan", "swat", "kohat", "bannu")),
            "[[sex], [district_id]]",
        ),
        "margins.csv; 610; 1000",
    ),
    case(
        "margins by a column of another name",
        raked("sex,persons\n" + PERSONS, "[[gender]]"),
        "wave.yml; weighting.rake; gender",
    ),
    case(
        "margins without raking",
        all_of(wave(("weight: w, ", "")), also("weighting: {base: w, margins: margins.csv}")),
        "wave.yml; rake",
    ),
    case(
        "a base weight that is not there",
        all_of(wave(("weight: w, ", "")), also("weighting: {base: d}")),
        "wave.yml; weighting.base; 'd'",
    ),
    case(
        "a negative base weight",
        all_of(cells("w", -1), wave(("weight: w, ", "")), also("weighting: {base: w}")),
        "answers.csv; column w; -1",
    ),
    case(
        "eligible rows by a column that is not there",
        all_of(wave(("weight: w, ", "")), also("weighting: {base: w, eligible: {column: e, codes: [1]}}")),
        "wave.yml; weighting.eligible; 'e'",
    ),
]

CASES = [*FILES, *TEXTS, *DATA, *TABLES, *DECLARATIONS, *FIELDWORK, *WEIGHTING]

HARMLESS = [
    case("the sound wave", lambda folder: None),
    *(
        case(f"as {name}", as_file(name))
        for name in (
            *("answers.sav", "answers.zsav", "answers.dta", "answers.xlsx", "answers.parquet"),
            *("answers.zip", "answers.csv.gz"),
        )
    ),
    case("another delimiter", content(lambda data: data.replace(b",", b";"))),
    case("a byte order mark", content(lambda data: b"\xef\xbb\xbf" + data)),
    case("names that differ in capitals only", answers(lambda a: a.assign(Q1=a["sex"], PSU="none"))),
    case("two byte order marks", content(lambda data: b"\xef\xbb\xbf" * 2 + data)),
    case("UTF-16 with its mark", content(lambda data: data.decode().encode("utf-16"))),
    case("line ends of all kinds", content(lambda data: data.replace(b"\n", b"\r\n", 300))),
    case("lines of an old Mac", content(lambda data: data.replace(b"\n", b"\r"))),
    case("blank lines at the end", content(lambda data: data + b"\n\r\n\n")),
    case(
        "every value in quotes",
        content(lambda data: b'"' + data.strip().replace(b",", b'","').replace(b"\n", b'"\n"') + b'"'),
    ),
    case("a column nobody declared", answers(lambda a: a.assign(note='say "no", they said\nto me'))),
    case("columns in another order", answers(lambda a: a[a.columns[::-1]])),
    case("codes with blanks and zeros behind the point", cells("q1", " 1 ", "2.0", "3.00")),
    case("a joined file", with_places(PLACES)),
    case("a joined file with more rows", with_places(pd.concat([PLACES, PLACES.assign(psu=PLACES["psu"] + 90)]))),
    case("reshaped rows", reshaped(lambda a: a.sample(frac=1, random_state=1))),
    case("raked weights", raked("sex,persons\n" + PERSONS)),
    case("times", also("fieldwork: {enumerator: enumerator, start: start, end: end}")),
]


MOST_PROBLEMS = 100
"""What a person reads; of thousands of wrong values the first ones and a number say as much."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose wave was run and published, so that there is something to change."""
    project = Project(tmp_path_factory.mktemp("malformed") / "project")
    project.instruments.mkdir(parents=True)
    project.waves.mkdir()
    project.reference.symlink_to(ROOT / "data/raw/reference")
    restore(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perception.project, "load_gazetteer", cache(load_gazetteer))
        no_pngs(patch)
        patch.setenv(PROJECT_VARIABLE, str(project.root))
        patch.delenv("DAGSTER_HOME", raising=False)
        assert runner.run_waves(project, [WAVE], lambda *_: None) == []
        yield project


def restore(project: Project) -> Path:
    """The sound wave folder and its instrument, whatever became of them."""
    folder = project.waves / WAVE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    project.instrument_file("small").write_text(INSTRUMENT, encoding="utf-8")
    (folder / "wave.yml").write_text(DECLARED, encoding="utf-8")
    store(folder / "answers.csv", sound_answers())
    return folder


def made(project: Project) -> dict[Path, tuple[int, bytes]]:
    """Everything under data/processed: when it was last written and what it holds."""
    files = (path for path in (project.root / "data/processed").rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize("broken", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_said_and_nothing_is_written(project: Project, broken: Case) -> None:
    folder = restore(project)
    broken.make(folder)
    if "nobody may read" in broken.name and os.access(folder / "answers.csv", os.R_OK):
        pytest.skip("this user may read every file")
    before = made(project)
    problems = wave_problems(project, WAVE)
    assert made(project) == before
    said = [str(problem) for problem in problems]
    assert len(set(said)) == len(said) <= MOST_PROBLEMS
    assert any(all(word in text for word in broken.says) for text in said), said
    for problem, text in zip(problems, said, strict=True):
        assert any(place in problem.where for place in (WAVE, ".yml", "vintage")), problem
        assert problem.remedy[:1].isupper(), problem
        assert len(text) < 1_000, text[:1_000]
        assert not any(sign in text for sign in ("Traceback", "Errno", " at 0x", "<class", str(project.root))), text


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("odd", HARMLESS, ids=lambda case: case.name)
def test_what_looks_odd_but_is_sound_is_read(project: Project, odd: Case) -> None:
    sound = answered(project, restore(project))
    odd.make(folder := restore(project))
    assert [str(problem) for problem in wave_problems(project, WAVE)] == []
    pd.testing.assert_frame_equal(answered(project, folder), sound)


def answered(project: Project, folder: Path) -> pd.DataFrame:
    """What every sound folder holds alike, by respondent."""
    inputs = open_wave(project, WAVE)
    tidy = responses(raw_responses(inputs.wave, folder), inputs.wave, inputs.instrument, inputs.gazetteer)
    columns = ["district_id", "stratum", "psu", "sex", "age", "heard", "wait", "too_far", "too_dear"]
    return tidy.set_index("respondent_id")[columns].sort_index()


@pytest.mark.parametrize(
    "name",
    [
        *("table.csv", "answers.csv.gz", "answers.zip", "answers.xlsx"),
        *("answers.sav", "answers.zsav", "answers.dta", "answers.parquet"),
    ],
)
def test_damage_anywhere_in_a_file_never_throws(project: Project, name: str) -> None:
    folder = restore(project)
    as_file(name)(folder)
    rng, sound = np.random.default_rng(9), (folder / name).read_bytes()
    refused = 0
    for _ in range(6):
        damaged = bytearray(sound[: rng.integers(len(sound) // 2, len(sound))])
        damaged[(place := rng.integers(len(damaged))) : place + 8] = rng.bytes(8)
        (folder / name).write_bytes(damaged)
        refused += bool(wave_problems(project, WAVE))
    assert refused >= 5


RUN = (
    *("truncated answers.sav", "an unknown key", "an undeclared code"),
    *("weight and district swapped", "margins that disagree"),
)


@pytest.mark.parametrize("name", RUN)
def test_a_run_says_it_too_and_what_was_published_stays(project: Project, name: str) -> None:
    (broken,) = (case for case in CASES if case.name == name)
    broken.make(restore(project))
    before = published(project)
    (failure,) = runner.run_waves(project, [WAVE], lambda *_: None)
    assert failure.wave == WAVE
    assert all(word in failure.cause for word in broken.says), failure.cause
    assert "Traceback" not in failure.cause
    assert published(project) == before


def published(project: Project) -> dict[Path, bytes]:
    """Public files and the tables that they are made from, without the time at which they were written."""
    tables = project.internal / "tables"
    folders = (project.public, tables / ACROSS_WAVES, project.complete_table("", WAVE).parent)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".duckdb"]
    files += [
        tables / WAVE / f"{name}.parquet" for name in ("responses", "design_psus", "district_estimates", "drivers")
    ]
    assert len(files) > 20
    return {path: re.sub(rb'"made_at": "[^"]+"', b"", path.read_bytes()) for path in files}
