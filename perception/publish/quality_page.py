"""The quality page of a wave and its list of interviews to follow up, for the survey team: internal, never published.

What the checks are and find is `perception.intake.quality`'s business; here it is only shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.intake.quality import CHECKS
from perception.publish import maps
from perception.publish.maps import Row, records
from perception.publish.page_templates import page_environment, style_sheet

if TYPE_CHECKING:
    import xlsxwriter

PAGE = "index.html"
WORKBOOK = "follow-up.xlsx"
VERDICTS = {"fail": "blocking", "hold": "on hold", "warn": "to look at", "pass": "passed", "not_run": "not run"}
"""Each verdict as a reader meets it, the gravest first."""
GRAVITY = {verdict: place for place, verdict in enumerate(VERDICTS)}
COUNTS = ("straight_lining", "near_duplicates", "odd_length")
MOST_UNITS = 1_000
"""Enumerators and PSUs on the page; the workbook has them all, up to `MOST_LISTED`."""
MOST_LISTED = 10_000
"""Enumerators or PSUs in the workbook, those with the most flagged interviews; all are in table fieldwork_summary."""
SHOWN, LONGEST = 4, 40
"""Findings of a check and rows of a table that are shown before the reader asks for more."""


@dataclass(frozen=True)
class CheckShown:
    """A check on the page: its gravest verdict, how many rows it lists, its findings."""

    id: str
    title: str
    verdict: str
    rows: int
    findings: tuple[Row, ...]


def write_quality_page(folder: Path, tables: Mapping[str, pd.DataFrame]) -> Path:
    """Write `index.html` and `follow-up.xlsx` into `folder`; returns the page.

    `tables` are those of one wave: wave_quality, wave_quality_rows, fieldwork_summary, wave_remedies, weights, waves.
    The page is one file that asks for nothing from elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_workbook(folder / WORKBOOK, tables)
    page = folder / PAGE
    page.write_text(_page(tables), encoding="utf-8")
    return page


def _page(tables: Mapping[str, pd.DataFrame]) -> str:
    from markupsafe import Markup

    wave = records(tables["waves"])[0]
    checks = shown_checks(tables["wave_quality"], tables["wave_quality_rows"])
    opened = sorted((c for c in checks if c.verdict in ("fail", "hold", "warn")), key=lambda c: GRAVITY[c.verdict])
    titles = {check.id: check.title for check in CHECKS}
    summary = tables["fieldwork_summary"]
    content: dict[str, Any] = {
        "simulated": bool(wave["simulated"]),
        "style": Markup(style_sheet()),  # the project's own file
        "wave": wave,
        "dates": maps.dates(wave),
        "verdicts": VERDICTS,
        "counts": COUNTS,
        "shown": SHOWN,
        "longest": LONGEST,
        "workbook": WORKBOOK,
        "blocking": [
            {**finding, "title": titles.get(finding["check"], finding["check"])}
            for finding in records(tables["wave_quality"])
            if finding["verdict"] == "fail"
        ],
        "tally": _tally(checks),
        "open": opened,
        "open_checks": len(opened),
        "passed": [check for check in checks if check.verdict == "pass"],
        "not_run": [check for check in checks if check.verdict == "not_run"],
        "remedies": [
            {**remedy, "title": titles.get(remedy["check"], remedy["check"])}
            for remedy in records(tables["wave_remedies"])
        ],
        "weights": [_weights(row) for row in records(tables["weights"])],
        "enumerators": [_unit(row) for row in records(summary[summary["by"] == "enumerator"].head(MOST_UNITS))],
        "psus": [_unit(row) for row in records(summary[summary["by"] == "psu"].head(MOST_UNITS))],
        "more": f" The first {MOST_UNITS:,}; the workbook has {MOST_LISTED:,}, table fieldwork_summary all.",
        "most": MOST_UNITS,
        "register": CHECKS,
    }
    return page_environment().get_template("quality.html.j2").render(content)


def shown_checks(quality: pd.DataFrame, rows: pd.DataFrame) -> list[CheckShown]:
    """The checks of `wave_quality` in the order of the register, each with its findings, the gravest first."""
    register = {check.id: check for check in CHECKS}
    listed = rows["check"].value_counts()
    shown = []
    for name, found in quality.groupby("check", sort=False):
        findings = sorted(records(found), key=lambda finding: GRAVITY[finding["verdict"]])
        # What could not be done besides is no verdict on the check that was run.
        done = [finding["verdict"] for finding in findings if finding["verdict"] != "not_run"]
        check = register.get(str(name))
        shown.append(
            CheckShown(
                id=str(name),
                title=check.title if check else str(name),
                verdict=done[0] if done else "not_run",
                rows=int(listed.get(name, 0)),
                findings=tuple(findings),
            )
        )
    return shown


def _tally(checks: Iterable[CheckShown]) -> dict[str, int]:
    verdicts = [check.verdict for check in checks]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}


def _unit(row: Row) -> Row:
    """A row of `fieldwork_summary` as it is shown."""
    return {
        **row,
        "district_id": row["district_id"] if isinstance(row["district_id"], str) else "",
        "minutes": "" if pd.isna(row["minutes"]) else f"{row['minutes']:.0f}",
        "dont_know": f"{100 * row['dont_know']:.1f}%",
        "refused": f"{100 * row['refused']:.1f}%",
    }


def _weights(row: Row) -> Row:
    """A row of `weights` as it is shown."""
    sizes = {name: row[name] for name in ("smallest", "median", "largest")}
    return {**row, **{name: f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for name, value in sizes.items()}}


def _write_workbook(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """The rows to follow up, the summaries and the checks, a sheet each; text stays text, never a formula."""
    import xlsxwriter

    wave = records(tables["waves"])[0]
    titles = {check.id: check.title for check in CHECKS}
    rows, quality, summary = (tables[name] for name in ("wave_quality_rows", "wave_quality", "fieldwork_summary"))
    order = {check.id: place for place, check in enumerate(CHECKS)}
    follow = rows.assign(title=rows["check"].map(titles), place=rows["check"].map(order))
    follow = follow.sort_values(["place", "enumerator", "source_row"]).drop(columns=["place", "wave"])
    units = {by: summary[summary["by"] == by].drop(columns=["wave", "by"]) for by in ("enumerator", "psu")}
    sheets = {
        "to follow up": follow[["title", *[name for name in follow.columns if name != "title"]]],
        "by enumerator": units["enumerator"].head(MOST_LISTED),
        "by PSU": units["psu"].head(MOST_LISTED),
        "checks": quality.assign(title=quality["check"].map(titles)).drop(columns="wave"),
    }
    with xlsxwriter.Workbook(str(path)) as workbook:
        about = [
            ("wave", wave["wave"]),
            ("title", wave["title"]),
            ("fieldwork", maps.dates(wave)),
            ("for", "the survey team; names of enumerators and single interviews are not for publication"),
        ]
        about += [
            (
                f"by {by}",
                f"the {MOST_LISTED:,} with the most flagged interviews of {len(unit):,}; all: fieldwork_summary",
            )
            for by, unit in units.items()
            if len(unit) > MOST_LISTED
        ]
        about += [(maps.SIMULATED, maps.SIMULATED_NOTE)] if wave["simulated"] else []
        _write_sheet(workbook, "about", pd.DataFrame(about, columns=["about", "this file"]), wave)
        for name, frame in sheets.items():
            _write_sheet(workbook, name, frame, wave)


def _write_sheet(workbook: xlsxwriter.Workbook, name: str, frame: pd.DataFrame, wave: Row) -> None:
    sheet = workbook.add_worksheet(name)
    bold = workbook.add_format({"bold": True})
    sheet.freeze_panes(1, 0)
    if wave["simulated"]:
        sheet.set_header(f"&C{maps.SIMULATED}")
    for column, title in enumerate(frame.columns):
        values = frame[title].tolist()
        sheet.write_string(0, column, str(title).replace("_", " "), bold)
        widest = max((len(str(value)) for value in values[:500]), default=0)
        sheet.set_column(column, column, min(max(widest, len(str(title))) + 2, 90))
        for row, value in enumerate(values, start=1):
            if isinstance(value, str):
                sheet.write_string(row, column, value[:32_000])
            elif not pd.isna(value):
                sheet.write_number(row, column, float(value))
    if len(frame):
        sheet.autofilter(0, 0, len(frame), max(len(frame.columns) - 1, 0))
