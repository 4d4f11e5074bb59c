"""SDG indicator 16.6.2 as reported: published estimates in the columns and codes of the UN's SDG database.

Which services count is declared in the questionnaire, their averages are estimated as indices, and what may be shown
is decided by the publication rules; here all this is only written in other words.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from perception.estimation.disclosure import domain_categories
from perception.estimation.publication import REASONS
from perception.publish.downloads import no_formula
from perception.schemas import (
    SDG_AGES,
    SDG_COLUMNS,
    SDG_LOCATIONS,
    SDG_QUANTILES,
    SDG_SEXES,
    conform,
)

_AREAS = {
    "healthcare": ("HLTH", "public primary health care"),
    "education_primary": ("PRM", "public primary schools"),
    "education_secondary": ("SEC", "public secondary schools"),
    "government_services": ("GOV", "identity documents and civil registration"),
}
_DIMENSIONS = {
    "sex": ("Sex", "BOTHSEX", SDG_SEXES),
    "urban": ("Location", "ALLAREA", SDG_LOCATIONS),
    "age_group": ("Age", "ALLAGE", SDG_AGES),
    "wealth": ("Quantile", "_T", SDG_QUANTILES),
}
_SAME_EVERYWHERE: dict[str, Any] = {
    "Goal": 16,
    "Target": "16.6",
    "Indicator": "16.6.2",
    "BasePeriod": None,
    "GeoInfoUrl": None,
    "Disability status": "_T",
    "Nature": "C",
    "Reporting Type": "N",
    "Units": "PERCENT",
}
_SIMULATED = "SIMULATED DATA"
_FOOT_NOTE_OF = [
    *("sdg_16_6_2", "n", "dont_know_share", "refused_share"),
    *("simulated", "quality", "reason", "middle_answer"),
]


def sdg_16_6_2(
    published: pd.DataFrame, indicators: pd.DataFrame, waves: pd.DataFrame, units: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Table `sdg_16_6_2` from `published_estimates`, `published_indicators` and `published_waves`.

    `units` gives the districts of each vintage, whose names the areas get.

    One row per direct estimate that is published of a service's five attributes, their average and overall
    satisfaction. Small-area estimates have none: the indicator's metadata knows no adjustment by models. Neither has
    what is withheld: a reader of such files takes an empty value for a survey that was not held.

    Source of the indicator, its series and its disaggregation: UNDP, metadata of SDG indicator 16.6.2 (2021).
    """
    parts = indicators.dropna(subset="sdg_16_6_2")[["wave", "indicator", "sdg_16_6_2", "middle_answer"]]
    shown = published[(published["method"] == "direct") & (published["quality"] != "suppress")]
    facts = waves[["wave", "title", "citation", "first_day", "last_day", "vintage"]]
    rows = shown.merge(parts, on=["wave", "indicator"], validate="m:1").merge(facts, on="wave", validate="m:1")
    names = {vintage: _area_names(of_vintage) for vintage, of_vintage in units.items()}
    first, last = rows["first_day"].str[:4], rows["last_day"].str[:4]
    series = {key: _series(*key.split("/")) for key in rows["sdg_16_6_2"].unique()}
    table = rows.assign(
        **_SAME_EVERYWHERE,
        **{column: rows["domain"].map(_codes(rows["domain"], name)) for name, (column, _, _) in _DIMENSIONS.items()},
        SeriesCode=rows["sdg_16_6_2"].map({key: code for key, (code, _) in series.items()}),
        SeriesDescription=rows["sdg_16_6_2"].map({key: words for key, (_, words) in series.items()}),
        GeoAreaCode=_area_codes(rows),
        GeoAreaName=[
            f"Whole area of {title}" if level == "all" else names[vintage][level, unit]
            for title, vintage, level, unit in rows[["title", "vintage", "level", "unit_id"]].to_numpy(str)
        ],
        TimePeriod=last.astype("Int64"),
        Time_Detail=last.where(first == last, first + "-" + last),
        TimeCoverage=rows["first_day"] + "/" + rows["last_day"],
        Source=rows["citation"].where(~rows["simulated"], _SIMULATED + ": " + rows["citation"]),
        FootNote=[_foot_note(row) for row in rows[_FOOT_NOTE_OF].itertuples()],
        **{
            column: (100 * rows[name]).round(1)
            for column, name in (("Value", "estimate"), ("LowerBound", "low"), ("UpperBound", "high"))
        },
    )
    order = ["wave", "SeriesCode", "level", "GeoAreaCode", "Sex", "Location", "Age", "Quantile"]
    return conform(table.sort_values(order), "sdg_16_6_2")


def write_sdg_file(table: pd.DataFrame, target: Path) -> None:
    """Write table `sdg_16_6_2` as a CSV file (UTF-8) with the columns of the UN's SDG database and no others.

    The file is written aside and moved into place. A text that a spreadsheet would take for a formula gets an
    apostrophe before it.
    """
    safe = table[[column.name for column in SDG_COLUMNS]].copy()
    texts = [column.name for column in SDG_COLUMNS if column.type == "string"]
    for column in texts:  # few texts in many rows
        safe[column] = safe[column].map({text: no_formula(text) for text in safe[column].dropna().unique()})
    aside = target.with_name(f".{target.name}.{os.getpid()}.writing")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        safe.to_csv(aside, index=False, encoding="utf-8", lineterminator="\n")
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def _series(area: str, part: str) -> tuple[str, str]:
    """Code and description of a series."""
    code, service = _AREAS[area]
    if part == "overall":
        return f"SP_PSR_OSATIS_{code}", f"Users of {service} satisfied overall with their last experience (%)"
    did_well = f"Users of {service} who agree that it did well at their last experience"
    if part == "average":
        return f"SP_PSR_SATIS_{code}", f"{did_well}, average over five attributes (%)"
    return f"NAT_PSR_{code}_{part.upper()}", f"{did_well}: {part.replace('_', ' ')} (%)"


def _codes(domains: pd.Series, dimension: str) -> dict[Hashable, str]:
    """The code of each of `domains` in one dimension, that of the total where it does not divide by it."""
    _, total, codes = _DIMENSIONS[dimension]
    categories = {domain: domain_categories(domain).get(dimension) for domain in domains.unique()}
    return {domain: codes[category] if category else total for domain, category in categories.items()}


def _area_codes(rows: pd.DataFrame) -> pd.Series:
    coded = rows["unit_id"].where(rows["level"] != "division", "division:" + rows["unit_id"])
    return coded.where(rows["level"] != "all", "wave:" + rows["wave"])


def _area_names(units: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The name of each district, division and province, by level and id."""
    return {
        (level, str(unit)): str(name) + kind
        for level, column, kind in (
            ("district", "name", " district"),
            ("division", "division", " division"),
            ("province", "province", ""),
        )
        for unit, name in zip(units[f"{level}_id"], units[column], strict=True)
    }


def _foot_note(row: Any) -> str:
    average = row.sdg_16_6_2.endswith("/average")
    answers = f"At least {row.n} valid answers to each question" if average else f"{row.n} valid answers"
    unknown = f"don't know {100 * row.dont_know_share:.1f} % and refused {100 * row.refused_share:.1f} % of those asked"
    sentences = [f"{answers}; {unknown}{' (mean of five questions)' * average}, left out of the denominator"]
    if row.simulated:
        sentences.insert(0, f"{_SIMULATED}: no respondent ever gave these answers")
    if row.quality == "caution":
        words = dict.fromkeys(REASONS[code] for code in row.reason.split(";"))
        sentences.append(f"Use with caution: {', '.join(words)}")
    if row.middle_answer:
        sentences.append("A middle answer was offered, unlike in the indicator's standard; it counts as not positive")
    return ". ".join(sentences) + "."
