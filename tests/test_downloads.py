"""Files to take away: read back as their readers read them, with hostile texts, twice the same."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from perception.publish import maps
from perception.publish.downloads import Download, clean_text, no_formula, write_downloads
from perception.schemas import Column

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1", "\ufeff=1", " =1")
OVERRIDE = "Swat \u202eevil\u202c \u2066x\u2069"
COLUMNS = (
    Column("district_id", "string", "District slug"),
    Column("name", "string", "Name of the <district>"),
    Column("estimate", "number", "Share", "proportion", nullable=True),
    Column("n", "integer", "Respondents", "persons", nullable=True),
    Column("quality", "string", "Whether it may be used"),
    Column("reason", "string", "Why not", nullable=True),
)


def download(**changes: object) -> Download:
    rows = pd.DataFrame(
        {
            "district_id": ["kp-swat", "kp-hangu", "kp-tank"],
            "name": ["Swat", "Hangu", "سوات"],
            "estimate": [0.12345, None, -0.5],
            "n": [1234, None, 50],
            "quality": ["publish", "suppress", "caution"],
            "reason": [None, "few_responses;wide_interval", "small_sample"],
            "stratum": ["internal", "internal", "internal"],
        }
    )
    given_ = Download(
        title="Satisfied with the district",
        rows=rows,
        columns=COLUMNS,
        notes=("A typical estimate is uncertain.", "Hatched: not published."),
        source="Source: Bureau (2024). Licence: CC0-1.0.",
        citation="Bureau (2024)",
        licence="CC0-1.0",
        simulated=False,
        address="https://address.invalid/kp-2024/satisfied.html",
        code_version="1.2.3",
    )
    return replace(given_, **changes)


def named(*names: str) -> pd.DataFrame:
    rows = download().rows.iloc[[0] * len(names)].reset_index(drop=True)
    return rows.assign(name=list(names))


def written(download: Download, folder: Path) -> dict[str, bytes]:
    write_downloads(download, folder / "satisfied")
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def workbook_parts(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def sheet_rows(folder: Path, sheet: str) -> list[list[object]]:
    return CalamineWorkbook.from_path(str(folder / "satisfied.xlsx")).get_sheet_by_name(sheet).to_python()


def test_the_csv_is_read_by_pandas_as_it_is(tmp_path: Path) -> None:
    written(download(), tmp_path)
    table = pd.read_csv(tmp_path / "satisfied.csv")
    assert list(table) == ["district_id", "name", "estimate", "n", "quality", "reason", "simulated", "citation"]
    assert table["estimate"].tolist()[::2] == [0.12345, -0.5]
    assert table["estimate"].isna().tolist() == table["n"].isna().tolist() == [False, True, False]
    assert table["n"].dropna().tolist() == [1234, 50]
    assert table["name"].tolist() == ["Swat", "Hangu", "سوات"]
    assert table.loc[1, "reason"] == "too few respondents, too uncertain"
    assert table["simulated"].tolist() == [False] * 3
    assert set(table["citation"]) == {"Bureau (2024)"}


def test_the_csv_says_that_it_is_utf_8_and_writes_whole_numbers_whole(tmp_path: Path) -> None:
    content = written(download(), tmp_path)[".csv"]
    assert content.startswith(b"\xef\xbb\xbfdistrict_id,")
    assert b"kp-swat,Swat,0.12345,1234,publish,," in content
    assert b"kp-hangu,Hangu,,,suppress," in content


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_never_begins_like_a_formula_in_csv(tmp_path: Path, text: str) -> None:
    content = written(download(rows=named(text)), tmp_path)[".csv"].decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(content))
    assert row["name"].startswith("'")
    assert row["name"][1:] == clean_text(text)
    assert row["estimate"] == "0.12345"


def test_a_negative_number_stays_a_number(tmp_path: Path) -> None:
    assert b",-0.5,50," in written(download(), tmp_path)[".csv"]


@given(st.text())
def test_what_is_cleaned_and_guarded_is_harmless(text: str) -> None:
    safe = no_formula(clean_text(text))
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert not set(safe) & set("\x00\x08\t\r\n\x1b\x7f\x9b\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    safe.encode()


def test_letters_of_urdu_and_their_joiners_are_kept() -> None:
    assert clean_text("خیبر\u200cپختونخوا \u200fسوات") == "خیبر\u200cپختونخوا \u200fسوات"


@pytest.mark.parametrize("text", [*FORMULAS, "https://evil.example/", "mailto:x@y.z", "{=1}", "_x003D_1", '"><img>'])
def test_a_text_is_a_text_in_the_workbook(tmp_path: Path, text: str) -> None:
    content = written(download(title=text, rows=named(text), notes=(text,), citation=text), tmp_path)[".xlsx"]
    assert sheet_rows(tmp_path, "Data")[1][1] == clean_text(text)
    parts = workbook_parts(content)
    sheets = [ElementTree.fromstring(part) for name, part in parts.items() if name.startswith("xl/worksheets/sheet")]
    assert len(sheets) == 2
    for sheet in sheets:
        assert sheet.find(f".//{SHEET}f") is None
        assert sheet.find(f".//{SHEET}hyperlink") is None
    assert not any("hyperlink" in part for name, part in parts.items() if name.endswith(".rels"))
    assert ["Title", clean_text(text)] in [row[:2] for row in sheet_rows(tmp_path, "About")]


def test_the_workbook_has_numbers_as_numbers_and_a_frozen_header(tmp_path: Path) -> None:
    content = written(download(), tmp_path)[".xlsx"]
    header, swat, hangu, _ = sheet_rows(tmp_path, "Data")
    assert header == ["district_id", "name", "estimate", "n", "quality", "reason", "simulated", "citation"]
    assert swat == ["kp-swat", "Swat", 0.12345, 1234.0, "publish", "", False, "Bureau (2024)"]
    assert hangu[2:6] == ["", "", "suppress", "too few respondents, too uncertain"]
    sheet = ElementTree.fromstring(workbook_parts(content)["xl/worksheets/sheet1.xml"])
    pane = sheet.find(f".//{SHEET}pane")
    assert pane is not None
    assert (pane.get("ySplit"), pane.get("state")) == ("1", "frozen")


def test_the_workbook_says_what_it_holds(tmp_path: Path) -> None:
    written(download(), tmp_path)
    rows = [row for row in sheet_rows(tmp_path, "About") if any(row)]
    lines = [(row[0], row[1]) for row in rows]
    assert lines[:8] == [
        ("Title", "Satisfied with the district"),
        ("Note", "A typical estimate is uncertain."),
        ("Note", "Hatched: not published."),
        ("Source", "Source: Bureau (2024). Licence: CC0-1.0."),
        ("Citation", "Bureau (2024)"),
        ("Licence", "CC0-1.0"),
        ("Address", "https://address.invalid/kp-2024/satisfied.html"),
        ("Made by", "perception 1.2.3"),
    ]
    assert rows[8] == ["Column", "Meaning", "Unit"]
    assert rows[9:][3] == ["n", "Respondents", "persons"]
    assert [row[0] for row in rows[9:]] == sheet_rows(tmp_path, "Data")[0]


def test_the_json_carries_its_meaning(tmp_path: Path) -> None:
    about = json.loads(written(download(), tmp_path)[".json"])
    assert about["simulated"] is False
    assert "warning" not in about
    assert about["rows"][1] == {
        "district_id": "kp-hangu",
        "name": "Hangu",
        "estimate": None,
        "n": None,
        "quality": "suppress",
        "reason": "too few respondents, too uncertain",
        "simulated": False,
        "citation": "Bureau (2024)",
    }
    assert about["columns"][2] == {"name": "estimate", "type": "number", "meaning": "Share", "unit": "proportion"}
    assert about["address"] == "https://address.invalid/kp-2024/satisfied.html"


def test_simulated_rows_are_marked_in_every_file(tmp_path: Path) -> None:
    files = written(download(simulated=True), tmp_path)
    assert set(pd.read_csv(tmp_path / "satisfied.csv")["citation"]) == {"SIMULATED DATA: Bureau (2024)"}
    assert pd.read_csv(tmp_path / "satisfied.csv")["simulated"].tolist() == [True] * 3
    assert json.loads(files[".json"])["warning"] == maps.SIMULATED_NOTE
    assert [maps.SIMULATED, maps.SIMULATED_NOTE] in [row[:2] for row in sheet_rows(tmp_path, "About")]
    assert maps.SIMULATED in workbook_parts(files[".xlsx"])["xl/worksheets/sheet1.xml"]  # on every printed page


def test_rows_of_several_waves_keep_their_own_source(tmp_path: Path) -> None:
    rows = download().rows.assign(simulated=[True, False, True], citation=["A", "B", "C"])
    written(download(rows=rows, simulated=True), tmp_path)
    table = pd.read_csv(tmp_path / "satisfied.csv")
    assert table["citation"].tolist() == ["SIMULATED DATA: A", "B", "SIMULATED DATA: C"]


def test_what_is_not_declared_is_not_written(tmp_path: Path) -> None:
    files = written(download(), tmp_path)
    files[".xlsx"] = "".join(workbook_parts(files[".xlsx"]).values()).encode()
    assert all(b"stratum" not in content and b"internal" not in content for content in files.values())


def test_a_suppressed_number_is_refused() -> None:
    with pytest.raises(ValueError, match="suppressed rows have numbers in estimate"):
        download(rows=download().rows.assign(estimate=0.5))


def test_simulated_rows_need_the_mark() -> None:
    with pytest.raises(ValueError, match="not marked as simulated"):
        download(rows=download().rows.assign(simulated=True))


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    files = []
    for folder, zone in zip(folders, ("UTC", "Asia/Karachi"), strict=True):
        monkeypatch.setenv("TZ", zone)
        folder.mkdir()
        files.append(written(download(), folder))
    assert files[0] == files[1]
    with zipfile.ZipFile(folders[0] / "satisfied.xlsx") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert "2000-01-01T00:00:00Z" in archive.read("docProps/core.xml").decode()


def test_long_and_turned_texts_come_through(tmp_path: Path) -> None:
    long, longer = "ab " * 3333 + "z", "x" * 40_000
    files = written(download(title=long, rows=named(OVERRIDE, long, longer)), tmp_path)
    cells = [row[1] for row in sheet_rows(tmp_path, "Data")[1:]]
    assert cells[:2] == ["Swat evil x", long]
    assert cells[2].startswith("x" * 31_000)
    assert cells[2].endswith("the CSV file has all of it)")
    assert pd.read_csv(tmp_path / "satisfied.csv")["name"].tolist() == ["Swat evil x", long, longer]
    assert "\u202e" not in files[".json"].decode()


def test_without_rows_there_is_still_a_header(tmp_path: Path) -> None:
    files = written(download(rows=download().rows.head(0)), tmp_path)
    assert list(pd.read_csv(tmp_path / "satisfied.csv")) == sheet_rows(tmp_path, "Data")[0]
    assert json.loads(files[".json"])["rows"] == []
