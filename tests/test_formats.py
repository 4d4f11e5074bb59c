"""Files as field software writes them, read as they are; and files that nobody should take in, refused with a reason.

The helpers write each format in the way of the software named; what is read is compared with what was written.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
import xlsxwriter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perception.errors import InputError, Problem
from perception.intake.formats import archives
from perception.intake.raw import raw_responses, reshaped
from perception.intake.readers import SourceTable, code_key, code_keys, read_table
from perception.intake.wave_file import DataFile, Reshape, Wave
from tests.conftest import small_answers

Row = list[Any]


def read(path: Path, **options: Any) -> SourceTable:
    """A file read as a wave's file with these options."""
    return read_table(path, path.name, DataFile(path=path.name, **options))


def rows_of(table: SourceTable) -> list[Row]:
    """The rows as text, blanks as empty text."""
    return table.frame.astype(object).where(table.frame.notna(), "").to_numpy().tolist()


def refusal(path: Path, **options: Any) -> list[str]:
    """The problems with which a file is refused."""
    with pytest.raises(InputError) as raised:
        read(path, **options)
    return [str(problem) for problem in raised.value.problems]


def problems_of(path: Path) -> tuple[Problem, ...] | None:
    """The problems with which a file is refused, None when it is read; it then has rows and columns."""
    try:
        table = read(path)
    except InputError as error:
        return error.problems
    assert table.frame.size
    return None


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def named(header: Row, rows: Iterable[Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=header)


# KoboToolbox

KOBO_HEADER = [
    *("start", "end", "place/district", "place/gps", "_place/gps_latitude", "_place/gps_longitude"),
    *("_place/gps_altitude", "_place/gps_precision", "health/used", "health/reasons", "health/reasons/far"),
    *("health/reasons/costly", "health_v2/used", "health/comment", "_id", "_uuid", "__version__", "_index"),
]
KOBO_ROWS = [
    [
        *("2021-03-08T09:12:11.000+05:00", "2021-03-08T09:40:02.123+05:00", "پشاور", "34.01 71.5 331.2 4.9"),
        *("34.01", "71.5", "331.2", "4.9", "1", "far costly", "1", "1", "", 'Said "no";\nthen left', "101"),
        *("9b1c", "vA", "1"),
    ],
    [
        *("2021-03-09T10:00:00.000+05:00", "2021-03-09T10:31:00.000+05:00", "Swat", "", "", "", "", "", "", "", ""),
        *("", "2", "۱۲ روپے", "102", "77af", "vB", "2"),
    ],
]


def kobo_csv(path: Path, header: Row, rows: Iterable[Row]) -> Path:
    """A KoboToolbox CSV export: semicolons, every cell in quotes, quotes doubled, lines ended as on Windows."""
    lines = [";".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in [header, *rows]]
    return written(path, "".join(line + "\r\n" for line in lines))


def kobo_xlsx(path: Path, sheets: dict[str, list[Row]]) -> Path:
    """A KoboToolbox XLSX export: a sheet for the form and one for each repeat, all cells text, written row by row."""
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


def test_kobo_csv_comes_through_cell_by_cell(tmp_path: Path) -> None:
    table = read(kobo_csv(tmp_path / "kobo.csv", KOBO_HEADER, KOBO_ROWS))
    assert table.frame.columns.tolist() == KOBO_HEADER
    assert rows_of(table) == KOBO_ROWS
    assert table.notes == ["delimiter semicolon"]


def test_kobo_workbook_comes_through_cell_by_cell(tmp_path: Path) -> None:
    path = kobo_xlsx(tmp_path / "kobo.xlsx", {"Survey 2021": [KOBO_HEADER, *KOBO_ROWS]})
    table = read(path)
    assert table.frame.columns.tolist() == KOBO_HEADER
    assert rows_of(table) == KOBO_ROWS
    assert table.notes == []


def test_kobo_export_without_group_names_has_a_question_twice(tmp_path: Path) -> None:
    plain = [name.rpartition("/")[2] for name in KOBO_HEADER]
    problems = refusal(kobo_csv(tmp_path / "kobo.csv", plain, KOBO_ROWS))
    assert problems == [
        "kobo.csv, column used: stands 2 times in the header (columns 9, 13). "
        "Export with group names in the header, or rename all columns of that name but one."
    ]


REPEAT_HEADER = ["service", "rating", "_index", "_parent_table_name", "_parent_index", "_submission__id"]
REPEAT_ROWS = [
    ["police", "2", "1", "Survey", "2", "102"],
    ["health", "1", "2", "Survey", "2", "102"],
    ["health", "3", "3", "Survey", "1", "101"],
]


def wave_of(*files: dict[str, Any], **more: Any) -> Wave:
    """A wave that declares these files; only reading them is asked of it here."""
    declared = {
        "id": "w-2021",
        "round": "2021",
        "title": "Wave",
        "instrument": "small",
        "dates": {"start": "2021-03-01", "end": "2021-03-31"},
        "producer": "Tests",
        "citation": "Tests (2021)",
        "licence": "CC0-1.0",
        "simulated": True,
        "files": list(files),
        "respondent_id": ["_id"],
        "design": {"weight": "w", "weight_scale": "relative", "strata": ["s"], "psu": "p"},
        "geography": {"vintage": "2018", "district": "d"},
        "variables": {
            "police": {"source": "rating_police", "map": {1: "bad", 2: "fair", 3: "good"}},
            "health": {"source": "rating_health", "map": {1: "bad", 2: "fair", 3: "good"}},
        },
    }
    return Wave.model_validate(declared | more)


def raw_refusal(wave: Wave, folder: Path) -> list[str]:
    with pytest.raises(InputError) as raised:
        raw_responses(wave, folder)
    return [str(problem) for problem in raised.value.problems]


KOBO_FILES: list[dict[str, Any]] = [
    {"path": "kobo.xlsx"},
    {
        "path": "repeat.xlsx",
        "sheet": "services",
        "reshape": {"rows": ["_parent_index"], "over": "service", "values": ["rating"]},
        "join": {"on": ["_index"], "key": ["_parent_index"]},
    },
]


def test_kobo_repeat_sheet_is_reshaped_and_joined_on_the_index_of_its_parent(tmp_path: Path) -> None:
    sheets = {"Survey": [KOBO_HEADER, *KOBO_ROWS], "services": [REPEAT_HEADER, *REPEAT_ROWS]}
    kobo_xlsx(tmp_path / "kobo.xlsx", sheets)
    kobo_xlsx(tmp_path / "repeat.xlsx", sheets)
    raw = raw_responses(wave_of(*KOBO_FILES), tmp_path)
    assert raw["source_row"].tolist() == [1, 2]
    assert raw["rating_health"].tolist() == ["3", "1"]
    assert raw["rating_police"].fillna("").tolist() == ["", "2"]
    assert raw["_parent_index"].tolist() == ["1", "2"]
    assert "_parent_table_name" not in raw
    assert raw.attrs["column_files"]["rating_police"] == "repeat.xlsx"
    assert raw.attrs["notes"] == ["kobo.xlsx: sheet Survey was read, not services"]


# ODK Central


def odk_zip(path: Path, members: dict[str, list[Row]]) -> Path:
    """An ODK Central export: a CSV for the form, one for each repeat, the audit log, and attachments under media/."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in members.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            archive.writestr(name, text.getvalue())
        archive.writestr("media/1700000000000.jpg", b"\xff\xd8\xff\xe0")
        archive.writestr("media/audit.csv", "event,node,start,end\n")
    return path


ODK_MAIN = [
    ["SubmissionDate", "place-district", "place-gps-Latitude", "place-gps-Longitude", "reasons", "KEY"],
    ["2021-03-08T05:12:11.000Z", "Swat", "35.2", "72.4", "far costly", "uuid:a1"],
    ["2021-03-09T05:12:11.000Z", "Dera Ismail Khan, KP", "", "", "", "uuid:b2"],
]
ODK_REPEAT = [
    ["service", "rating", "PARENT_KEY", "KEY"],
    ["health", "2", "uuid:b2", "uuid:b2/services[1]"],
    ["health", "3", "uuid:a1", "uuid:a1/services[1]"],
    ["police", "1", "uuid:a1", "uuid:a1/services[2]"],
]
ODK_AUDIT = [
    ["instance ID", "event", "node", "start", "end", "latitude", "longitude", "accuracy", "old-value", "new-value"],
    ["uuid:a1", "question", "/data/q1", "1615180331000", "1615180335500", "", "", "", "", "1"],
]
ODK = {"kp_2021.csv": ODK_MAIN, "kp_2021-services.csv": ODK_REPEAT, "kp_2021 - audit.csv": ODK_AUDIT}


def test_odk_zip_gives_submissions_repeats_and_audit_log(tmp_path: Path) -> None:
    path = odk_zip(tmp_path / "kp_2021.zip", ODK)
    main = read(path)
    assert [main.frame.columns.tolist(), *rows_of(main)] == ODK_MAIN
    assert main.notes == ["table kp_2021.csv was read, not kp_2021 - audit.csv, kp_2021-services.csv"]
    audit = read(path, member="kp_2021 - audit.csv")
    assert [audit.frame.columns.tolist(), *rows_of(audit)] == ODK_AUDIT
    repeat = {"rows": ["PARENT_KEY"], "over": "service", "values": ["rating"]}
    files = [
        {"path": "kp_2021.zip"},
        {"path": "again.zip", "member": "kp_2021-services.csv", "reshape": repeat}
        | {"join": {"on": ["KEY"], "key": ["PARENT_KEY"]}},
    ]
    odk_zip(tmp_path / "again.zip", ODK)
    raw = raw_responses(wave_of(*files), tmp_path)
    assert raw["rating_health"].tolist() == ["3", "2"]
    assert raw["rating_police"].fillna("").tolist() == ["1", ""]
    assert raw["KEY"].tolist() == ["uuid:a1", "uuid:b2"]


def test_a_zip_in_a_folder_and_one_with_a_single_table(tmp_path: Path) -> None:
    path = odk_zip(tmp_path / "a.zip", {f"export/{name}": rows for name, rows in ODK.items()})
    assert len(read(path).frame) == 2
    assert len(read(path, member="kp_2021-services.csv").frame) == 3
    assert read(odk_zip(tmp_path / "b.zip", {"x.csv": ODK_MAIN})).notes == []


def test_a_zip_that_does_not_tell_its_main_table(tmp_path: Path) -> None:
    path = odk_zip(tmp_path / "a.zip", {"one.csv": ODK_MAIN, "two.csv": ODK_REPEAT})
    (problem,) = refusal(path)
    assert problem == (
        "a.zip: does not tell its main table; it holds one.csv, two.csv. Name one of them as `member` of the file."
    )
    (problem,) = refusal(path, member="three.csv")
    assert "has no member three.csv; it holds one.csv, two.csv" in problem
    (problem,) = refusal(written(tmp_path / "c.csv", "a,b\n1,2\n"), member="one.csv")
    assert "c.csv: is no .zip" in problem


# SurveyCTO


def test_surveycto_csv_keeps_its_dates_as_text(tmp_path: Path) -> None:
    header = ["SubmissionDate", "starttime", "name_1", "rating_1", "name_2", "rating_2", "reasons", "reasons_1", "KEY"]
    rows = [
        ["Mar 4, 2024 9:12:11 AM", "Mar 4, 2024 8:40:02 AM", "health", "3", "police", "-99", "1 2", "1", "uuid:1"],
        ["Mar 14, 2024 10:02:00 PM", "Mar 14, 2024 9:01:59 PM", "health", "0", "", "", "", "", "uuid:2"],
    ]
    path = tmp_path / "form_WIDE.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    table = read(path)
    assert [table.frame.columns.tolist(), *rows_of(table)] == [header, *rows]
    assert table.notes == []


# CSPro through SPSS, and Stata


@pytest.mark.parametrize("name", ["kp.sav", "kp.zsav", "kp.sav.gz"])
def test_spss_keeps_labels_user_missing_ranges_and_dates(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {
            "Q101": [1.0, 4.0, 8.0, 9.0, np.nan],
            "Q102": [98.0, 99.0, 97.0, 12.0, 0.5],
            "NAME": ["", "علی", "Gul", "x", "y"],
            "INTDATE": [datetime.date(2018, 3, 4)] * 4 + [None],
            "INTTIME": [datetime.time(9, 12, 11)] * 5,
            "START": [datetime.datetime(2018, 3, 4, 9, 12, 11)] * 4 + [None],
        }
    )
    plain = tmp_path / name.removesuffix(".gz")
    pyreadstat.write_sav(
        frame,
        str(plain),
        compress=name == "kp.zsav",
        column_labels={"Q101": " How satisfied are you? ", "Q102": "عمر"},
        variable_value_labels={"Q101": {1: "Very satisfied", 8: "Don't know "}, "NAME": {"x": "None"}},
        missing_ranges={"Q101": [8.0, 9.0], "Q102": [{"lo": 97, "hi": 99}]},
    )
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    table = read(tmp_path / name)
    assert code_keys(table.frame["Q101"]).fillna("").tolist() == ["1", "4", "8", "9", ""]
    assert code_keys(table.frame["Q102"]).tolist() == ["98", "99", "97", "12", "0.5"]
    assert table.frame["NAME"].fillna("").tolist() == ["", "علی", "Gul", "x", "y"]
    assert table.frame["INTDATE"].astype(object).fillna("").tolist() == ["2018-03-04"] * 4 + [""]
    assert table.frame["INTTIME"].tolist() == ["09:12:11"] * 5
    assert table.frame["START"].fillna("").tolist() == ["2018-03-04T09:12:11"] * 4 + [""]
    assert table.value_labels == {"Q101": {"1": "Very satisfied", "8": "Don't know"}, "NAME": {"x": "None"}}
    assert table.column_labels == {"Q101": "How satisfied are you?", "Q102": "عمر"}


STATA_TYPES = {  # numpy type, how Stata packs it, bits of `.`, step to `.a`
    "byte": ("int8", "<b", 101, 1),
    "int": ("int16", "<h", 32741, 1),
    "long": ("int32", "<i", 2147483621, 1),
    "float": ("float32", "<I", 0x7F000000, 0x800),
    "double": ("float64", "<Q", 0x7FE0000000000000, 0x10000000000),
}


def stata_with_every_missing(path: Path) -> Path:
    """A .dta with a column of each storage type: the number 3, then Stata's 27 missing values `.` and `.a` to `.z`."""
    frame = pd.DataFrame({f"as_{kind}": np.full(28, 3, dtype=numpy) for kind, (numpy, *_) in STATA_TYPES.items()})
    memory = io.BytesIO()
    frame.to_stata(memory, write_index=False, version=118)
    content = bytearray(memory.getvalue())
    at = content.index(b"<data>") + len(b"<data>")
    for row in range(28):
        for _, pack, missing, step in STATA_TYPES.values():
            if row:
                struct.pack_into(pack, content, at, missing + (row - 1) * step)
            at += struct.calcsize(pack)
    path.write_bytes(bytes(content))
    return path


def test_all_27_missing_values_of_stata_in_every_storage_type(tmp_path: Path) -> None:
    frame = read(stata_with_every_missing(tmp_path / "a.dta")).frame
    expected = ["3", "", *(f".{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    for kind in STATA_TYPES:
        assert frame[f"as_{kind}"].astype(object).fillna("").tolist() == expected, kind


def test_stata_labels_of_codes_and_missing_values(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "q1": pd.Series([1.0, 2.5, "d", "r"], dtype=object),
            "plain": [1, 2, 3, 4],
            "text": ["d", "r", "", "a"],
            "day": [datetime.date(2024, 3, 4)] * 4,
            "start": [datetime.datetime(2024, 3, 4, 9, 12, 11, 500_000)] * 4,
        }
    )
    pyreadstat.write_dta(
        frame,
        str(tmp_path / "a.dta"),
        missing_user_values={"q1": ["d", "r"]},
        variable_value_labels={"q1": {1: "Good", "d": "Don't know"}, "plain": {1: "One"}},
        column_labels={"q1": "How is it?"},
    )
    table = read(tmp_path / "a.dta")
    assert table.frame["q1"].tolist() == ["1", "2.5", ".d", ".r"]
    assert table.frame["plain"].tolist() == [1, 2, 3, 4]
    assert table.frame["text"].fillna("").tolist() == ["d", "r", "", "a"]
    assert table.frame["day"].tolist() == ["2024-03-04"] * 4
    assert table.frame["start"].tolist() == ["2024-03-04T09:12:11.500"] * 4
    assert table.value_labels == {"q1": {"1": "Good", ".d": "Don't know"}, "plain": {"1": "One"}}
    assert table.column_labels == {"q1": "How is it?"}


# Delimited text in general

URDU = "id,district,note\n1,پشاور,۱۲\n2,سوات,نہیں\n"
URDU_ROWS = [["1", "پشاور", "۱۲"], ["2", "سوات", "نہیں"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_tell_themselves(tmp_path: Path, encoding: str) -> None:
    table = read(written(tmp_path / "a.csv", URDU.encode(encoding)))
    assert table.frame.columns.tolist() == ["id", "district", "note"]
    assert rows_of(table) == URDU_ROWS
    expected = [] if encoding.startswith("utf-8") else [f"encoding {encoding}, as its byte-order mark says"]
    assert table.notes == expected


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_encodings_that_are_declared(tmp_path: Path, encoding: str) -> None:
    assert rows_of(read(written(tmp_path / "a.csv", URDU.encode(encoding)), encoding=encoding)) == URDU_ROWS
    arabic = "id,name\n1,كوهات\n"
    table = read(written(tmp_path / "b.csv", arabic.encode("cp1256")), encoding="cp1256")
    assert rows_of(table) == [["1", "كوهات"]]


def test_text_of_an_unknown_encoding_is_not_guessed(tmp_path: Path) -> None:
    content = "id,name\n1,a\n2,كوهات\n".encode("cp1256")
    (problem,) = refusal(written(tmp_path / "a.csv", content))
    assert "a.csv: is not utf-8 text: line 3 holds" in problem
    assert "Declare the `encoding`" in problem
    assert "cp1256: '2,كوهات'" in problem
    (problem,) = refusal(written(tmp_path / "b.csv", b"id,name\n" + b"1,a\n" * 2_000_000 + content[8:]))
    assert "b.csv: is not utf-8 text: line 2000003 holds" in problem
    (problem,) = refusal(tmp_path / "a.csv", encoding="ascii")
    assert "is not ascii text: line 3" in problem
    (problem,) = refusal(tmp_path / "a.csv", encoding="cp-urdu")
    assert "no encoding is called 'cp-urdu'" in problem


@pytest.mark.parametrize(
    ("name", "delimiter", "note"),
    [
        ("a.csv", ",", []),
        ("a.csv", ";", ["delimiter semicolon"]),
        ("a.tsv", "\t", ["delimiter tab"]),
        ("a.txt", "|", ["delimiter bar"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_delimiters_are_found_and_reported(
    tmp_path: Path, name: str, delimiter: str, note: list[str], packed: bool
) -> None:
    rows = [["id", "what, if any; or | both"], ["1", "a,b,c;d"], ["2", "e|f\tg"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    path = written(tmp_path / (name + ".gz"), gzip.compress(content)) if packed else written(tmp_path / name, content)
    table = read(path)
    assert [table.frame.columns.tolist(), *rows_of(table)] == rows
    assert table.notes == note


def test_a_declared_delimiter_is_taken(tmp_path: Path) -> None:
    table = read(written(tmp_path / "a.txt", "id:x\n1:2,3\n"), delimiter=":")
    assert [table.frame.columns.tolist(), *rows_of(table)] == [["id", "x"], ["1", "2,3"]]
    assert table.notes == []


def test_one_column_blank_lines_and_lines_of_old_systems(tmp_path: Path) -> None:
    assert rows_of(read(written(tmp_path / "a.csv", "\n\nid\n1\n\n2\n"))) == [["1"], ["2"]]
    assert rows_of(read(written(tmp_path / "b.csv", "id,x\r1,2\r3,4\r"))) == [["1", "2"], ["3", "4"]]
    table = read(written(tmp_path / "c.csv", "id,x\r\n1,2\r\n,\r\n3,4"))
    assert rows_of(table) == [["1", "2"], ["3", "4"]]
    assert table.frame.index.tolist() == [0, 1]
    assert table.notes == ["1 rows without any value were left out"]


def test_columns_without_name_and_value_are_no_columns(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "id,x,,\n1,2,,\n")).frame.columns.tolist() == ["id", "x"]
    problems = refusal(written(tmp_path / "b.csv", "id,,x,\n1,2,3,4\n5,,6,7\n"))
    assert [problem.split(".csv, ")[1].split(".")[0] for problem in problems] == [
        "column 2: has no name in the header, but values in 1 rows",
        "column 4: has no name in the header, but values in 2 rows",
    ]


def test_names_that_differ_in_capitals_are_kept_and_reported(tmp_path: Path) -> None:
    table = read(written(tmp_path / "a.csv", " Q1 ,q1\n1,2\n"))
    assert table.frame.to_dict("list") == {"Q1": ["1"], "q1": ["2"]}
    assert table.notes == ["column names Q1 and q1 differ only in capitals"]


REFUSED_TEXT = [
    ("id,x,id,x\n1,2,3,4\n", ["column id: stands 2 times in the header (columns 1, 3)", "column x: stands 2 times"]),
    ("id,x\n1,2\x003\n", ["a.csv: holds a NUL byte in line 2"]),
    ("id,x\n1,a\n2,b\0", ["a.csv: holds a NUL byte in line 3"]),
    ('id,x\n1,"a\n2,b\n3,c\n', ["a.csv: the quote opened in line 2 is never closed"]),
    ('id,x\n1,"a\n2,b\n3,"c\n4,d\n', ["a.csv: a quote stands inside a value in line 4"]),
    ('id,x\n1,5" pipe\n', ["a.csv: a quote stands inside a value in line 2"]),
    ('id,x\n1, "a,b"\n', ["a.csv: a quote stands inside a value in line 2"]),
    ('id,x\n1,"a"b\n', ["a.csv: a quote stands inside a value in line 2"]),
    ("\n\n", ["a.csv: holds no header"]),
    ("id,x\n", ["a.csv: holds no rows"]),
    ("id,x", ["a.csv: holds no rows"]),
    ("", ["a.csv: cannot be read: the file is empty"]),
    ("x" * 2_000_000, ["a.csv: begins with a line too long for a header"]),
]


@pytest.mark.parametrize(("content", "said"), REFUSED_TEXT)
def test_refused_text(tmp_path: Path, content: str, said: list[str]) -> None:
    problems = refusal(written(tmp_path / "a.csv", content))
    assert len(problems) == len(said)
    for problem, words in zip(problems, said, strict=True):
        assert words in problem
    if content:
        assert refusal(written(tmp_path / "a.csv.gz", gzip.compress(content.encode())))[0].startswith("a.csv.gz")


def test_rows_of_another_length_are_named_with_their_lines(tmp_path: Path) -> None:
    lines = ["id,x,x", "1,2,3", '"a\nb",2,3', "4,5", "", "6,7,8,9", *["9"] * 7, "1,2,3"]
    problems = refusal(written(tmp_path / "a.csv", "\n".join(lines)))
    assert [problem.split(". ")[0] for problem in problems] == [
        "a.csv, column x: stands 2 times in the header (columns 2, 3)",
        "a.csv: 8 of its rows have fewer values than the header has names, 3: line 5 has 2, line 8 has 1, "
        "line 9 has 1, line 10 has 1, line 11 has 1",
        "a.csv: 1 of its rows have more values than the header has names, 3: line 7 has 4",
    ]


@pytest.mark.parametrize("size", [1_500_000, 10_000_000])
@pytest.mark.parametrize("rows_before", [0, 40_000])
def test_a_huge_cell_is_named_with_its_column(tmp_path: Path, size: int, rows_before: int) -> None:
    before = "".join(f"k{row},1\n" for row in range(rows_before))
    (problem,) = refusal(written(tmp_path / "a.csv", f"id,note\n{before}7,{'x' * size}\n8,b\n"))
    row = rows_before + 1
    assert f"a.csv, column note: holds a cell of {size / 1e6:.1f} MB in row {row} below the header" in problem


def test_a_row_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    cells = [letter * 900_000 for letter in "abcdef"]
    table = read(written(tmp_path / "a.csv", "a,b,c,d,e,f\n1,2,3,4,5,6\n" + ",".join(cells) + "\n"))
    assert rows_of(table) == [list("123456"), cells]


def test_values_that_repeat_become_categories_and_others_text(tmp_path: Path) -> None:
    count = 80_000  # more distinct ids than a category has room for, in several batches
    frame = pd.DataFrame(
        {
            "id": [f"uuid:{row}" for row in range(count)],
            "late": ["same"] * 40_000 + [f"t{row}" for row in range(40_000)],
            "code": [["1", "2", "98", ""][row % 4] for row in range(count)],
            "many": [str(row % 30_000) for row in range(count)],
            "blank": [""] * count,
        }
    )
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    made = read(path).frame
    assert made.dtypes.astype(str).tolist() == ["str", "str", "category", "category", "str"]
    assert made["code"].cat.codes.dtype == np.int8
    assert made["many"].cat.codes.dtype == np.int16
    for column in frame:
        assert made[column].astype(object).fillna("").tolist() == frame[column].tolist(), column


cell = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1)),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    chunk=st.sampled_from([1, 2, 3, 7, archives.CHUNK]),
)
@example(rows=[['""', '"'], ["\n", '\n"']], delimiter=",", quoting=csv.QUOTE_ALL, ending="\n", chunk=1)
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], delimiter: str, quoting: Any, ending: str, chunk: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # the writer does not quote a carriage return, which ends a line
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    header = [f"q{place}" for place in range(len(rows[0]))]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows([header, *rows])
    path = written(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    filled = [row for row in rows if any(row)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "CHUNK", chunk)  # what stands at the end of a piece is read like anything else
        if filled:
            table = read(path, delimiter=delimiter)
            assert table.frame.columns.tolist() == header
            assert rows_of(table) == filled
        else:
            assert "holds no rows" in refusal(path, delimiter=delimiter)[0]


# Workbooks


def workbook(path: Path, fill: Callable[[Any, Any], None], *more: str) -> Path:
    """An Excel file whose first sheet, `Data`, is filled by a function of workbook and sheet."""
    with xlsxwriter.Workbook(path) as book:
        fill(book, book.add_worksheet("Data"))
        for name in more:
            book.add_worksheet(name).write_row(0, 0, ["other"])
    return path


def test_cells_of_a_workbook_are_what_was_entered(tmp_path: Path) -> None:
    def fill(book: Any, sheet: Any) -> None:
        day, moment = book.add_format({"num_format": "d mmm yyyy"}), book.add_format({"num_format": "dd/mm/yy hh:mm"})
        span = book.add_format({"num_format": "[h]:mm:ss"})
        sheet.write_row(0, 0, [" code ", "share", "key", "yes", "day", "moment", "span", "note"])
        sheet.write_row(1, 0, [1, 0.5, "007", True])
        sheet.write_datetime(1, 4, datetime.datetime(2024, 3, 4), day)
        sheet.write_datetime(1, 5, datetime.datetime(2024, 3, 4, 9, 12, 11), moment)
        sheet.write_number(1, 6, 1.5, span)
        sheet.write_row(2, 0, [-98, 1234567890123, "۱۲", False])
        sheet.write_string(2, 7, " نہیں ")
        sheet.write_row(5, 0, ["", "", ""])

    table = read(workbook(tmp_path / "a.xlsx", fill, "Notes"))
    assert [table.frame.columns.tolist(), *rows_of(table)] == [
        ["code", "share", "key", "yes", "day", "moment", "span", "note"],
        ["1", "0.5", "007", "1", "2024-03-04", "2024-03-04T09:12:11", "36:00:00", ""],
        ["-98", "1234567890123", "۱۲", "0", "", "", "", " نہیں "],
    ]
    assert table.notes == ["sheet Data was read, not Notes"]
    (problem,) = refusal(tmp_path / "a.xlsx", sheet="data")
    assert "a.xlsx: has no sheet 'data'; it has Data, Notes" in problem


def test_formulas_errors_and_merged_cells_are_named(tmp_path: Path) -> None:
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a", "b", "c", "c"])
        for row in range(1, 8):
            sheet.write_row(row, 0, [row, "=not a formula" if row == 1 else f"=A{row}*2"])
        sheet.write_string(1, 1, "=text")
        sheet.write_formula(4, 2, "=NA()", value="#N/A")
        sheet.write_row(9, 3, [5])
        sheet.merge_range(10, 0, 11, 27, "merged")

    problems = refusal(workbook(tmp_path / "a.xlsx", fill))
    assert [problem.split(". ")[0] for problem in problems] == [
        "a.xlsx: has formulas in 7 cells: B3, B4, B5, C5, B6 and 2 more",
        "a.xlsx: has error values such as #N/A in 1 cells: C5",
        "a.xlsx: has merged cells: A11:AB12",
        "a.xlsx, column c: stands 2 times in the header (columns 3, 4)",
    ]

    def faulty(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_row(1, 0, [1, 2])

    path = workbook(tmp_path / "b.xlsx", faulty)
    edit_member(path, "xl/worksheets/sheet1.xml", '<c r="B2"><v>2</v>', '<c r="B2" t="e"><v>#REF!</v>')
    (problem,) = refusal(path)
    assert "b.xlsx: has error values such as #N/A in 1 cells: B2" in problem


def edit_member(path: Path, member: str, old: str, new: str) -> None:
    """Replace text in one member of a zip file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in members[member]
    members[member] = members[member].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_formulas_are_found_wherever_a_large_sheet_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a"])
        for row in range(1, 400):
            sheet.write_formula(row, 0, "=1+1", None, 2)

    path = workbook(tmp_path / "a.xlsx", fill)
    from perception.intake.formats import workbook as module

    for size in (1_009, 1_013, 1_021):
        monkeypatch.setattr(module, "CHUNK", size)
        (problem,) = refusal(path)
        assert "has formulas in 399 cells: A2, A3" in problem


def test_a_header_that_is_not_in_the_first_row(tmp_path: Path) -> None:
    (problem,) = refusal(workbook(tmp_path / "a.xlsx", lambda _, sheet: sheet.write_row(2, 0, ["a", "b"])))
    assert "a.xlsx: has no header in its first row" in problem
    (problem,) = refusal(workbook(tmp_path / "b.xlsx", lambda _, sheet: None))
    assert "has no header" in problem

    def gap(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a", "", "b"])
        sheet.write_row(1, 0, [1, 2, 3])

    (problem,) = refusal(workbook(tmp_path / "c.xlsx", gap))
    assert "c.xlsx, column 2: has no name in the header, but values in 1 rows" in problem


def test_open_document_sheet(tmp_path: Path) -> None:
    namespaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    value = '<table:table-cell office:value-type="{0}" {1}><text:p>{2}</text:p></table:table-cell>'.format
    rows = [
        value("string", "", "id") + value("string", "", "کوڈ"),
        value("float", 'office:value="3"', "3") + value("string", "", "007"),
    ]
    body = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    path = tmp_path / "a.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            f"<?xml version='1.0' encoding='UTF-8'?><office:document-content {namespaces}><office:body>"
            f"<office:spreadsheet><table:table table:name='Data'>{body}</table:table></office:spreadsheet>"
            "</office:body></office:document-content>",
        )
        archive.writestr(
            "META-INF/manifest.xml",
            "<m:manifest xmlns:m='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'></m:manifest>",
        )
    table = read(path)
    assert [table.frame.columns.tolist(), *rows_of(table)] == [["id", "کوڈ"], ["3", "007"]]
    assert table.notes == ["formulas and error values cannot be told from values in a .ods file"]


def test_options_that_a_format_does_not_have(tmp_path: Path) -> None:
    problems = refusal(written(tmp_path / "a.csv", "a,b\n1,2\n"), sheet="Data")
    assert problems == ["a.csv: is a .csv file, which has no `sheet`. Remove it from the file in wave.yml."]
    small_answers().to_parquet(tmp_path / "a.parquet")
    assert len(refusal(tmp_path / "a.parquet", encoding="utf-8", delimiter=";")) == 2


# Parquet


def test_parquet_keeps_types_and_refuses_nested_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"q": pd.Categorical([1, 2, 1]), "n": [1.0, np.nan, 2.5], "t": ["a", None, "۱"]})
    frame.set_index(pd.Index([7, 8, 9], name="key")).to_parquet(tmp_path / "a.parquet")
    made = read(tmp_path / "a.parquet").frame
    assert made["key"].tolist() == [7, 8, 9]
    raw = raw_responses(wave_of({"path": "a.parquet"}), tmp_path)
    assert code_keys(raw["q"]).tolist() == ["1", "2", "1"]
    frame.assign(many=[[1], [2, 3], []]).to_parquet(tmp_path / "b.parquet")
    (problem,) = refusal(tmp_path / "b.parquet")
    assert "b.parquet, column many: holds list<" in problem


# Damage and harm


def formats(folder: Path) -> list[Path]:
    """A sound file of every format that is written here, with enough rows to lose some."""
    frame = small_answers()
    paths = [folder / f"a{suffix}" for suffix in (".sav", ".zsav", ".dta", ".xlsx", ".parquet", ".csv.gz", ".zip")]
    pyreadstat.write_sav(frame, str(paths[0]))
    pyreadstat.write_sav(frame, str(paths[1]), compress=True)
    pyreadstat.write_dta(frame, str(paths[2]))
    kobo_xlsx(paths[3], {"Data": [list(frame.columns), *frame.astype(str).to_numpy().tolist()]})
    frame.to_parquet(paths[4])
    frame.to_csv(paths[5], index=False)
    odk_zip(paths[6], {"a.csv": [list(frame.columns), *frame.to_numpy().tolist()]})
    return paths


def test_files_cut_short_are_refused_at_any_place(tmp_path: Path) -> None:
    for path in formats(tmp_path):
        content = path.read_bytes()
        assert len(read(path).frame) == len(small_answers()), path.name
        for share in (0.01, 0.5, 0.9, 0.995):
            problems = refusal(written(path, content[: int(len(content) * share)]))
            assert [problem.startswith(f"{path.name}: cannot be read: ") for problem in problems] == [True], problems
            assert "Export it again" in problems[0]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    refused = 0
    for path in formats(tmp_path):
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, len(content), 40):
            content[place] = rng.integers(0, 256)
        problems = problems_of(written(path, bytes(content)))
        refused += problems is not None
        if problems is not None:
            assert problems
            assert all(problem.where.startswith(path.name) and problem.what and problem.remedy for problem in problems)
    assert refused  # forty bytes damage a packed file beyond reading


@pytest.mark.parametrize(
    "name", ["../../etc/x.csv", "/tmp/x.csv", "C:\\x.csv", "..\\x.csv", "a/../../x.csv", "\\\\server\\x.csv"]
)
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name
        archive.writestr(info, "a,b\n1,2\n")
    (problem,) = refusal(tmp_path / "a.zip")
    assert "a.zip: holds a member named" in problem
    assert "points outside" in problem
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


def test_a_zip_without_a_table(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("read.me", "nothing")
    (problem,) = refusal(tmp_path / "a.zip")
    assert "a.zip: holds no table, only read.me" in problem


def test_a_file_with_the_suffix_of_another_format(tmp_path: Path) -> None:
    kinds = (".sav", ".zsav", ".dta", ".xlsx", ".parquet", ".gz", ".zip")
    for path, kind in zip(formats(tmp_path), kinds, strict=True):
        (problem,) = refusal(written(tmp_path / "other.csv", path.read_bytes()))
        assert problem.startswith("other.csv: is no text but a ")
        assert f"{kind} " in problem


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(odk_zip(tmp_path / "a.zip", ODK).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 4)
    (problem,) = refusal(written(tmp_path / "a.zip", bytes(content)))
    assert "a.zip: is encrypted (kp_2021.csv, kp_2021-services.csv, kp_2021 - audit.csv)" in problem


def test_files_that_unpack_to_far_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SUSPICIOUS_SIZE", 3_000_000)
    content = "a,b\n" + "1,2\n" * 1_000_000
    packed = [written(tmp_path / "a.csv.gz", gzip.compress(content.encode())), tmp_path / "a.zip", tmp_path / "a.xlsx"]
    with zipfile.ZipFile(packed[1], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    workbook(packed[2], lambda _, sheet: sheet.write_row(0, 0, ["a", "b"]))
    edit_member(packed[2], "xl/worksheets/sheet1.xml", "<sheetData>", "<sheetData>" + " " * 4_000_000)
    for path in packed:
        (problem,) = refusal(path)
        assert f"{path.name}: unpacks from 0.0 MB to 4 MB or more" in problem


def test_files_that_claim_room_for_far_too_much_are_refused(tmp_path: Path) -> None:
    for name, compress in (("a.sav", False), ("a.zsav", True)):
        pyreadstat.write_sav(small_answers(), str(tmp_path / name), compress=compress)
        content = bytearray((tmp_path / name).read_bytes())
        struct.pack_into("<i", content, 80, 754_975_320)  # the number of cases
        (problem,) = refusal(written(tmp_path / name, bytes(content)))
        assert f"{name}: cannot be read: its header speaks of 754,975,320 rows" in problem

    def fill(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write(1_048_575, 16_383, "stray")

    (problem,) = refusal(workbook(tmp_path / "a.xlsx", fill))
    assert "a.xlsx: reaches to cell XFD1048576, too far for a table" in problem


# Codes


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("۱۲", "12"),
        ("١٢", "12"),
        (" -٣٫٥ ", "-3.5"),
        ("۲٫۰", "2"),
        ("۰۰۷", "007"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("۱۲ روپے", "۱۲ روپے"),
        ("پشاور", "پشاور"),
        (np.bool_(False), "0"),
        (pd.Timestamp(2024, 3, 4, 9, 12, 11), "2024-03-04T09:12:11"),
        (datetime.time(9, 12), "09:12:00"),
        (10**15, "1000000000000000"),
    ],
)
def test_code_keys(value: object, key: str) -> None:
    assert code_key(value) == key


@given(st.lists(st.sampled_from(["1", "1.0", " 1 ", "۱", "", " ", "01", "b", None]), max_size=30))
def test_codes_of_categories_are_those_of_the_values(values: list[str | None]) -> None:
    text = pd.Series(values, dtype="str", name="q", index=range(5, 5 + len(values)))
    keys = code_keys(text.astype("category"))
    assert isinstance(keys.dtype, pd.CategoricalDtype)
    assert keys.cat.categories.is_unique
    pd.testing.assert_series_equal(keys.astype("str"), code_keys(text))


# Reshaping and joining


def long_table(rows: Iterable[Row]) -> SourceTable:
    """Ratings of services by person, with labels."""
    frame = named(["hh", "person", "service", "rating", "wait", "area"], rows)
    labels = {"service": {"1": "Health", "2": "Police"}, "rating": {"1": "Bad", "2": "Good"}, "area": {"1": "Urban"}}
    return SourceTable(frame, labels, {"rating": "How good is it?", "area": "Area"}, ["a note"])


BY_PERSON = Reshape(rows=["hh", "person"], over="service", values=["rating", "wait"], keep=["area"], drop=[0])
LONG = [
    [1.0, "2", 2.0, 1.0, "5", 1],
    [1.0, "1", 1.0, 2.0, "10", 1],
    [1.0, "2", 1.0, None, "15", 1],
    [2.0, "1", 0.0, 9.0, "99", 3],
    [2.0, "1", 10.0, 2.0, "", 2],
]


def test_reshape_makes_one_row_a_unit_and_labels_go_along() -> None:
    table = reshaped(long_table(LONG), BY_PERSON, "f")
    assert table.frame.columns.tolist() == [
        *("hh", "person", "area", "rating_1", "wait_1", "rating_2", "wait_2", "rating_10", "wait_10"),
    ]
    made = table.frame.astype(object).where(table.frame.notna(), "-").to_numpy().tolist()
    assert made == [
        [1.0, "2", 1, "-", "15", 1.0, "5", "-", "-"],
        [1.0, "1", 1, 2.0, "10", "-", "-", "-", "-"],
        [2.0, "1", 2, "-", "-", "-", "-", 2.0, ""],
    ]
    rating = {"1": "Bad", "2": "Good"}
    assert table.value_labels == dict.fromkeys(["rating_1", "rating_2", "rating_10"], rating) | {"area": {"1": "Urban"}}
    wording = {f"rating_{code}": f"How good is it? [{of}]" for code, of in ((1, "Health"), (2, "Police"), (10, 10))}
    assert table.column_labels == wording | {"area": "Area"}
    assert table.notes == ["a note"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {(1, "person"): "2"},
            ["f, reshape: 1 rows repeat a code of service within a unit, for example ['1', '2'] has 1"],
        ),
        ({(0, "hh"): None}, ["f, column hh: is blank in 1 rows"]),
        ({(0, "service"): None, (2, "person"): " "}, ["column person: is blank in 1", "column service: is blank in 1"]),
        ({(2, "area"): 7}, ["f, column area: varies within 1 units, for example ['1', '2']. Take it out of"]),
    ],
)
def test_what_cannot_be_reshaped(changes: dict[tuple[int, str], Any], said: list[str]) -> None:
    table = long_table(LONG)
    frame = table.frame.astype(object)
    for (row, column), value in changes.items():
        frame.at[row, column] = value
    with pytest.raises(InputError) as raised:
        reshaped(SourceTable(frame), BY_PERSON, "f")
    assert len(raised.value.problems) == len(said)
    for problem, words in zip(raised.value.problems, said, strict=True):
        assert words in str(problem)


def test_a_reshaped_column_must_not_take_the_name_of_another() -> None:
    table = SourceTable(named(["hh", "s", "q", "q_1"], [[1, "1", 1, 2]]))
    with pytest.raises(InputError) as raised:
        reshaped(table, Reshape(rows=["hh"], over="s", values=["q"], keep=["q_1"]), "f")
    assert "f, column q_1: would stand twice: q of code 1 gets the name of q_1" in str(raised.value)
    with pytest.raises(InputError) as raised:
        reshaped(table, Reshape(rows=["hh", "x"], over="s", values=["y"]), "f")
    assert [problem.where for problem in raised.value.problems] == ["f, column x", "f, column y"]
    with pytest.raises(InputError, match="holds no rows besides those"):
        reshaped(table, Reshape(rows=["hh"], over="s", values=["q"], drop=[1]), "f")


def test_a_code_of_a_reshape_that_nothing_is_made_from(tmp_path: Path) -> None:
    sheets = {"Survey": [KOBO_HEADER, *KOBO_ROWS], "services": [REPEAT_HEADER, *REPEAT_ROWS]}
    sheets["services"] = [*sheets["services"], ["roads", "2", "4", "Survey", "1", "101"]]
    for name in ("kobo.xlsx", "repeat.xlsx"):
        kobo_xlsx(tmp_path / name, sheets)
    (problem,) = raw_refusal(wave_of(*KOBO_FILES), tmp_path)
    assert problem == (
        "w-2021/repeat.xlsx, column service: code 'roads' stands in 1 rows, but nothing is made from rating_roads. "
        "Declare variables with these sources, or list the code under `reshape.drop` of wave.yml."
    )
    reshape = {**KOBO_FILES[1]["reshape"], "drop": ["roads"]}
    assert len(raw_responses(wave_of(KOBO_FILES[0], {**KOBO_FILES[1], "reshape": reshape}), tmp_path)) == 2


def test_joins_keep_categories_and_do_not_match_blank_keys(tmp_path: Path) -> None:
    answers = named(["id", "psu", "q"], [[row, f"p{row % 4}", row % 3] for row in range(24)])
    answers.to_csv(tmp_path / "a.csv", index=False)
    psus = named(["cluster", "weight"], [[f"p{row}", row / 2] for row in range(4)])
    psus.to_csv(tmp_path / "b.csv", index=False)
    join = {"path": "b.csv", "join": {"on": ["psu"], "key": ["cluster"]}}
    raw = raw_responses(wave_of({"path": "a.csv"}, join), tmp_path)
    assert raw["weight"].tolist() == [str(row % 4 / 2) for row in range(24)]
    assert raw["cluster"].tolist() == raw["psu"].tolist()
    assert isinstance(raw["q"].dtype, pd.CategoricalDtype)
    assert raw.columns.tolist() == ["source_row", "id", "psu", "q", "cluster", "weight"]

    answers.loc[[3, 5], "psu"] = None
    answers.to_csv(tmp_path / "a.csv", index=False)
    pd.concat([psus, named(["cluster", "weight"], [[None, 9.0]])]).to_csv(tmp_path / "b.csv", index=False)
    (problem,) = raw_refusal(wave_of({"path": "a.csv"}, join), tmp_path)
    assert "b.csv, join column cluster: 2 rows of a.csv find no row" in problem
    (problem,) = raw_refusal(wave_of({"path": "a.csv"}, {**join, "join": {"on": ["psu"]}}), tmp_path)
    assert "b.csv, join column psu: is not in both files" in problem


def test_a_column_named_like_the_row_number_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "id,source_row\n1,2\n3,4\n")
    (problem,) = raw_refusal(wave_of({"path": "a.csv"}), tmp_path)
    assert "w-2021/a.csv, column source_row: has the name that the software gives to row numbers" in problem
    raw = raw_responses(wave_of({"path": "a.csv", "columns": ["id"]}), tmp_path)
    assert raw.to_dict("list") == {"source_row": [1, 2], "id": ["1", "3"]}


def test_every_file_of_a_wave_is_read_as_declared_and_must_be_there(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "id;name\n1;كوهات\n".encode("cp1256"))
    declared = {"path": "a.csv", "encoding": "cp1256"}
    raw = raw_responses(wave_of(declared), tmp_path)
    assert raw["name"].tolist() == ["كوهات"]
    assert raw.attrs["notes"] == ["a.csv: delimiter semicolon"]
    assert raw.attrs["value_labels"] == {}
    problems = raw_refusal(wave_of({"path": "a.csv"}, form="form.xlsx"), tmp_path)
    assert [problem.split(": ")[0] for problem in problems] == ["w-2021/form.xlsx", "w-2021/a.csv"]
