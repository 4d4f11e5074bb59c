"""The dictionary as frames and as Markdown: tables and columns of the schemas, indicators of the questionnaires."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perception.errors import InputError, Problem
from perception.intake.instrument import Index, Indicator, Instrument
from perception.publish.downloads import clean_text
from perception.publish.embeds import markdown_text
from perception.publish.maps import SIMULATED
from perception.schemas import LEVELS, TABLES, Column, Table

COMMAND = "python -m perception.dictionary docs/dictionary.md"
_TABLE_COLUMNS = (
    "table",
    "table_meaning",
    "public",
    "open",
    "place",
    "column",
    "type",
    "unit",
    "nullable",
    "in_key",
    "low",
    "high",
    "allowed",
    "meaning",
)
_INDICATOR_COLUMNS = (
    "instrument",
    "indicator",
    "label",
    "label_ur",
    "kind",
    "unit",
    "population",
    "universe",
    "made_from",
    "question",
    "positive",
    "direction",
    "target",
    "headline",
    "sensitive",
    "minimum_level",
    "service",
    "sdg_16_6_2",
    "waves",
    "waves_without",
)
_WAYS = {True: "higher is better", False: "lower is better"}


def table_dictionary() -> pd.DataFrame:
    """Every column of every table, public tables first, in the order of the schemas: one row each.

    `in_key` says whether the column is one of those that identify a row, `open` whether the table has further columns
    (a column per question, say), `place` the column's place from 1, `allowed` the values it may have (a tuple, empty
    where any may be), `low` and `high` its range (null where it has none).
    """
    rows = [
        (
            *(table.name, table.meaning, table.public, table.open, place, column.name, column.type, column.unit),
            *(column.nullable, column.name in table.key, column.low, column.high, column.allowed, column.meaning),
        )
        for table in sorted(TABLES.values(), key=lambda table: not table.public)
        for place, column in enumerate(table.columns, start=1)
    ]
    return pd.DataFrame(rows, columns=list(_TABLE_COLUMNS)).astype({"low": "float64", "high": "float64"})


def indicator_dictionary(
    indicators: pd.DataFrame, waves: pd.DataFrame, instruments: Mapping[str, Instrument]
) -> pd.DataFrame:
    """Every indicator and index of `instruments` (by id): one row each, in the order of the questionnaire.

    `indicators` and `waves` are the tables `published_indicators` and `published_waves`. `made_from` names the
    questions with the answers that count (and which quantile of a number), or an index's indicators with weights;
    `universe` the answers that let a respondent in (empty for everybody), `population` the same in words. `waves` are
    the waves that have it and `waves_without` those of the same questionnaire that do not, first the earliest, space
    between; both are empty for a questionnaire of which no wave is published.

    InputError when a published wave's questionnaire is not given, or has not an indicator that is published.
    """
    waves = waves.sort_values(["first_day", "wave"])
    pairs = set(zip(indicators["wave"], indicators["indicator"], strict=True))
    if problems := _unknown(pairs, waves, instruments):
        raise InputError(problems)
    rows = []
    for instrument in instruments.values():
        fielded = [str(wave) for wave in waves.loc[waves["instrument"] == instrument.id, "wave"]]
        for name, said in _said(instrument).items():
            having = [wave for wave in fielded if (wave, name) in pairs]
            rows.append(
                {
                    "instrument": instrument.id,
                    "indicator": name,
                    **said,
                    "service": instrument.service_of.get(name, ""),
                    "sdg_16_6_2": instrument.sdg_parts.get(name, ""),
                    "waves": " ".join(having),
                    "waves_without": " ".join(wave for wave in fielded if wave not in having),
                }
            )
    return pd.DataFrame(rows, columns=list(_INDICATOR_COLUMNS))


def _unknown(pairs: set[tuple[str, str]], waves: pd.DataFrame, instruments: Mapping[str, Instrument]) -> list[Problem]:
    used = dict(zip(waves["wave"], waves["instrument"], strict=True))
    problems = [
        Problem(f"instrument {name}", "is that of a published wave and is not there", "Put its file back in place.")
        for name in sorted(set(used.values()) - set(instruments))
    ]
    known = {name: {*instrument.indicators, *instrument.all_indices} for name, instrument in instruments.items()}
    return problems + [
        Problem(
            f"indicator {indicator}",
            f"is published of wave {wave} and is not in instrument {used[wave]}",
            "The questionnaire was changed since: run the wave again with `perception run`.",
        )
        for wave, indicator in sorted(pairs)
        if used.get(wave) in known and indicator not in known[used[wave]]
    ]


def _said(instrument: Instrument) -> dict[str, dict[str, Any]]:
    """What the questionnaire says of each indicator, then of each index."""
    return {name: _indicator(one, instrument) for name, one in instrument.indicators.items()} | {
        name: _index(one, instrument) for name, one in instrument.all_indices.items()
    }


def _indicator(one: Indicator, instrument: Instrument) -> dict[str, Any]:
    asked = [instrument.questions[question] for question in one.questions]
    answers = "|".join(one.positive)
    universe = one.universe
    part = f"quantile {one.quantile:g} of " if one.quantile is not None else ""
    return {
        "label": one.label.en,
        "label_ur": one.label.ur,
        "kind": one.kind,
        "unit": "proportion" if one.kind == "share" else asked[0].unit,
        "population": one.population,
        "universe": f"{universe.question}={'|'.join(universe.answers)}" if universe else "",
        "made_from": "; ".join(f"{question}={answers}" if answers else part + question for question in one.questions),
        "question": "; ".join(question.label.en for question in asked),
        "positive": ", ".join(asked[0].categories[answer].en for answer in one.positive),
        "direction": _WAYS[one.higher_is_better],
        "target": one.target,
        "headline": one.headline,
        "sensitive": one.sensitive,
        "minimum_level": one.minimum_level,
    }


def _index(one: Index, instrument: Instrument) -> dict[str, Any]:
    labels = (f"{instrument.indicators[part].label.en} ({100 * share:.3g} %)" for part, share in one.shares.items())
    return {
        "label": one.label.en,
        "label_ur": one.label.ur,
        "kind": "index",
        "unit": "proportion",
        "population": one.population,
        "universe": "",
        "made_from": "; ".join(f"{share:.3g} x {part}" for part, share in one.shares.items()),
        "question": "; ".join(labels),
        "positive": "",
        "direction": _WAYS[True],
        "target": one.target,
        "headline": one.headline,
        "sensitive": False,
        "minimum_level": LEVELS[0],
    }


def markdown(indicators: pd.DataFrame, waves: pd.DataFrame) -> str:
    """The whole dictionary as Markdown: what `markdown_indicators` gives, then what `markdown_tables` gives."""
    return f"{markdown_indicators(indicators, waves)}\n{markdown_tables()}"


def markdown_tables() -> str:
    """Every table and column as Markdown, public tables first; it depends on nothing but the schemas."""
    public = [table for table in TABLES.values() if table.public]
    internal = [table for table in TABLES.values() if not table.public]
    lines = [
        "# Tables",
        "",
        f"<!-- Generated from perception/schemas.py. Do not edit; write it again with: {COMMAND} -->",
        "",
        "Estimates of shares are proportions from 0 to 1. `district_id`, `wave` and `indicator` join tables. Rows are",
        "identified by the columns of the key together. Under *Values*: what a column may hold, a range with both ends",
        "in it, and `empty` where there may be no value (a suppressed number is empty, and `reason` says why).",
        "",
        *_section("Public tables", "What anybody may read: in `data/processed/public/perception.duckdb`.", public),
        *_section(
            "Internal tables",
            "Only for the data team: respondents, and estimates before the publication rules. In "
            "`data/processed/internal/`.",
            internal,
        ),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


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
    cells = (f"`{column.name}`", column.type, _prose(column.unit), _values(column), _prose(column.meaning))
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """A text of the schemas, which may have code in backticks, so that nothing in it ends a cell or begins a tag."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def _values(column: Column) -> str:
    parts = [f"`{value}`" for value in column.allowed]
    if column.low is not None and column.high is not None:
        parts.append(f"{column.low:g} to {column.high:g}")
    elif column.low is not None:
        parts.append(f"{column.low:g} or more")
    elif column.high is not None:
        parts.append(f"{column.high:g} or less")
    return ", ".join([*parts, *(["empty"] if column.nullable else [])])


def markdown_indicators(indicators: pd.DataFrame, waves: pd.DataFrame) -> str:
    """The indicators as Markdown: `indicators` as `indicator_dictionary` gives them, `waves` table `published_waves`.

    Of each: label, what is estimated and in which unit, the question and the answers that count, who is asked, which
    way is good, and in which waves it is. Labels come from outside and are escaped.
    """
    lines = ["# Indicators", ""]
    for wave in waves.sort_values(["first_day", "wave"]).to_dict("records"):
        marked = f" **{SIMULATED}.**" if wave["simulated"] else ""
        lines.append(
            f"- `{wave['wave']}`: {_text(wave['title'])}, {wave['first_day']} to {wave['last_day']}. "
            f"Cite as: {_text(wave['citation'])}{marked}"
        )
    lines += ["", *(line for row in indicators.to_dict("records") for line in _indicator_lines(row))]
    return "\n".join(lines).rstrip("\n") + "\n"


def _indicator_lines(row: Mapping[Any, Any]) -> list[str]:
    answers = f" Answers that count: {_text(row['positive'])}." if row["positive"] else ""
    who = f" (`{row['universe']}`)" if row["universe"] else ""
    rules = [
        *(["Sensitive: small counts are withheld."] if row["sensitive"] else []),
        *([f"Published for {row['minimum_level']} and larger."] if row["minimum_level"] != LEVELS[0] else []),
    ]
    facts = {
        "Id": f"`{row['indicator']}` of questionnaire `{row['instrument']}`",
        "Estimated": f"{row['kind']}, {_text(row['unit']) or 'no unit'}; {row['direction']}",
        "Indicators and weights" if row["kind"] == "index" else "Question": f"{_text(row['question'])}.{answers}",
        "Made from": f"`{row['made_from']}`",
        "Population": f"{_text(row['population'])}{who}",
        "Target": "" if pd.isna(row["target"]) else f"{row['target']:g}",
        "Service": f"`{row['service']}`" if row["service"] else "",
        "SDG 16.6.2": f"`{row['sdg_16_6_2']}`" if row["sdg_16_6_2"] else "",
        "Publication": " ".join(rules),
        "Waves": _codes(row["waves"]) or "none published",
        "Not in": _codes(row["waves_without"]),
    }
    return [
        f"## {_text(row['label'])}",
        "",
        *(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        "",
    ]


def _codes(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


def _text(text: str) -> str:
    return markdown_text(clean_text(text))
