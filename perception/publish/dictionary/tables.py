"""The dictionary as a frame and as Markdown: tables and columns of the schemas, and the published indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from perception.publish.downloads import clean_text
from perception.publish.embeds import markdown_text
from perception.publish.maps import SIMULATED, newest_first
from perception.schemas import LEVELS, TABLES, Column, Table

COMMAND = "python -m perception.publish.dictionary docs/dictionary.md"
_OF_ONE_WAVE = ("wave", "simulated", "middle_answer")
"""Columns of `published_indicators` that say nothing about the indicator itself."""


def indicator_dictionary(indicators: pd.DataFrame, waves: pd.DataFrame) -> pd.DataFrame:
    """Every published indicator as its waves have it, in the order of the questionnaires: one row each.

    `indicators` and `waves` are the tables `published_indicators` and `published_waves`. Columns are `instrument`,
    those of `published_indicators` that are about the indicator, and, as lists of wave ids, the earliest first, `waves`
    that have it as it is described here and `waves_without`, the others with the questionnaire. An indicator whose
    question, answers or universe are not the same in all waves has a row for each.
    """
    instruments = dict(waves.sort_values(["first_day", "wave"])[["wave", "instrument"]].to_numpy().tolist())
    described = indicators.drop(columns=list(_OF_ONE_WAVE)).astype("object")
    described = described.where(described.notna(), None)
    having: dict[tuple[Any, ...], set[str]] = {}
    for wave in newest_first(waves)["wave"]:
        for row in described[indicators["wave"] == wave].itertuples(index=False, name=None):
            having.setdefault((instruments[wave], *row), set()).add(wave)
    found = pd.DataFrame(list(having), columns=["instrument", *described.columns], dtype="object")
    fielded = [[wave for wave in instruments if instruments[wave] == name] for name in found["instrument"]]
    split = list(zip(fielded, having.values(), strict=True))
    return found.assign(
        waves=pd.Series([[wave for wave in every if wave in own] for every, own in split], dtype="object"),
        waves_without=pd.Series([[wave for wave in every if wave not in own] for every, own in split], dtype="object"),
    )


def markdown(indicators: pd.DataFrame, waves: pd.DataFrame) -> str:
    """The dictionary of what is published as Markdown: indicators, then the public tables.

    `indicators` is as `indicator_dictionary` gives it, `waves` table `published_waves`. Of each indicator: label, what
    is estimated and in which unit, the question and the answers that count, who is asked, which way is good, and in
    which waves it is. Labels come from outside and are escaped.
    """
    lines = [*_indicator_lines(indicators, waves), "# Tables", "", *_ABOUT, *_public_section()]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_tables() -> str:
    """Every table and column as Markdown, public tables first; it depends on nothing but the schemas."""
    internal = [table for table in TABLES.values() if not table.public]
    lines = [
        "# Tables",
        "",
        f"<!-- Generated from perception/schemas.py. Do not edit; write it again with: {COMMAND} -->",
        "",
        *_ABOUT,
        *_public_section(),
        *_section(
            "Internal tables",
            "Only for the data team: respondents, and estimates before the publication rules. In "
            "`data/processed/internal/`.",
            internal,
        ),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


_ABOUT = (
    "Estimates of shares are proportions from 0 to 1. `district_id`, `wave` and `indicator` join tables. Rows are",
    "identified by the columns of the key together. Under *Values*: what a column may hold, a range with both ends",
    "in it, and `empty` where there may be no value (a suppressed number is empty, and `reason` says why).",
    "",
)


def _public_section() -> list[str]:
    about = (
        "What anybody may read: in `perception.duckdb`, and as CSV files in `tables.zip` of the site's folder `data`."
    )
    return _section("Public tables", about, [table for table in TABLES.values() if table.public])


def _section(title: str, about: str, tables: list[Table]) -> list[str]:
    """A heading, a list of the tables that leads to each, and the tables."""
    links = [f"- [`{table.name}`](#{table.name}): {_prose(table.meaning)}" for table in tables]
    return [f"## {title}", "", about, "", *links, "", *(line for table in tables for line in _table(table))]


def _table(table: Table) -> list[str]:
    further = ["", "It has further columns, which depend on the wave."] if table.open else []
    return [
        f"### {table.name}",
        "",
        f"{_prose(table.meaning)}.",
        "",
        f"Key: {', '.join(f'`{name}`' for name in table.key)}.",
        *further,
        "",
        "| Column | Type | Unit | Values | Meaning |",
        "|---|---|---|---|---|",
        *(_row(column) for column in table.columns),
        "",
    ]


def _row(column: Column) -> str:
    cells = (f"`{column.name}`", column.type, _prose(column.unit), column.values, _prose(column.meaning))
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """A text of the schemas, which may have code in backticks, so that nothing in it ends a cell or begins a tag."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def _indicator_lines(indicators: pd.DataFrame, waves: pd.DataFrame) -> list[str]:
    lines = ["# Indicators", ""]
    for wave in waves.sort_values(["first_day", "wave"]).to_dict("records"):
        marked = f" **{SIMULATED}.**" if wave["simulated"] else ""
        lines.append(
            f"- `{wave['wave']}`: {_text(wave['title'])}, {wave['first_day']} to {wave['last_day']}. "
            f"Cite as: {_text(wave['citation'])}{marked}"
        )
    return [*lines, "", *(line for row in indicators.to_dict("records") for line in _indicator(row))]


def _indicator(row: Mapping[Any, Any]) -> list[str]:
    answers = f" Answers that count: {_text(row['positive'])}." if row["positive"] else ""
    who = f" (`{row['universe']}`)" if row["universe"] else ""
    rules = [
        *(["Sensitive: small counts are withheld."] if row["sensitive"] else []),
        *([f"Published for {row['minimum_level']} and larger."] if row["minimum_level"] != LEVELS[0] else []),
    ]
    made_from = row["made_from"] or row["weights"]
    facts = {
        "Id": f"`{row['indicator']}` of questionnaire `{row['instrument']}`",
        "Estimated": f"{row['kind']}, {_text(row['unit'] or 'proportion')}; "
        f"{'higher' if row['higher_is_better'] else 'lower'} is better",
        "Indicators and weights" if row["kind"] == "index" else "Question": f"{_text(row['question'])}.{answers}",
        "Made from": f"`{made_from}`",
        "Population": f"{_text(row['population'])}{who}",
        "Target": "" if row["target"] is None else f"{row['target']:g}",
        "Service": f"`{row['service']}`" if row["service"] else "",
        "SDG 16.6.2": f"`{row['sdg_16_6_2']}`" if row["sdg_16_6_2"] else "",
        "Publication": " ".join(rules),
        "Waves": _codes(row["waves"]),
        "Not in": _codes(row["waves_without"]),
    }
    return [
        f"## {_text(row['label'])}",
        "",
        *(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        "",
    ]


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _text(text: str) -> str:
    return markdown_text(clean_text(text))
