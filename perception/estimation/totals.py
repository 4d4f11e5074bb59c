"""PSU totals: the one step that reads respondents; what is summed here is all that direct estimates need.

Written in Narwhals expressions, so the same code runs on DuckDB (default) and on other engines that Narwhals speaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd

from perception.intake.declarations import REASON_SUFFIX, REASONS
from perception.intake.instrument import Indicator, Instrument
from perception.intake.wave_file import Wave
from perception.schemas import TABLES, conform

CELL = ("district_id", "sex", "urban", "age_group", "wealth", "stratum", "psu")
_COUNTS = ("n", "n_positive", "n_dont_know", "n_refused")
_SUMS = ("sum_w", "sum_w2", "sum_wx", "sum_wy", "sum_wx2", "sum_wxy", "sum_wy2")
_UNCALIBRATED_SUMS = ("sum_dx", "sum_dy")


@dataclass(frozen=True)
class Quantity:
    """What is summed: who has a valid answer, numerator y, denominator x (1 when None), who did not know or refused."""

    valid: nw.Expr
    y: nw.Expr
    x: nw.Expr | None = None
    dont_know: nw.Expr | None = None
    refused: nw.Expr | None = None


def indicator_quantity(indicator: Indicator) -> Quantity:
    """The quantity of an indicator over columns of `responses`.

    A share of several questions is 1 when any answer is positive and 0 when all that were asked have another valid
    answer; questions that were not asked do not count. Don't know, refused and missing leave the respondent out.
    """
    if indicator.kind != "share":
        assert indicator.question is not None
        column = nw.col(indicator.question)
        reason = nw.col(indicator.question + REASON_SUFFIX)
        valid, y = ~column.is_null(), column
        dont_know, refused = reason == "dont_know", reason == "refused"
    else:
        answers = [nw.col(question) for question in indicator.questions]
        positive = reduce(or_, [answer.is_in(indicator.positive) for answer in answers])
        answered = [~answer.is_in(REASONS) & ~answer.is_null() for answer in answers]
        complete = reduce(and_, [a | (answer == "not_asked") for a, answer in zip(answered, answers, strict=True)])
        valid = positive | (complete & reduce(or_, answered))
        y = nw.when(positive).then(1.0).otherwise(0.0)
        dont_know = ~valid & reduce(or_, [answer == "dont_know" for answer in answers])
        refused = ~valid & ~dont_know & reduce(or_, [answer == "refused" for answer in answers])
    if indicator.universe is not None:
        member = nw.col(indicator.universe.question).is_in(indicator.universe.answers)
        valid, dont_know, refused = valid & member, dont_know & member, refused & member
    return Quantity(valid, y, None, dont_know, refused)


def totals(
    frame: Any,
    quantities: Mapping[str, Quantity],
    by: Sequence[str],
    weight: str = "weight",
    uncalibrated: str | None = None,
) -> pd.DataFrame:
    """Sums of each quantity within groups of `by`, in one pass over a lazy or eager native frame.

    Returns one row per indicator and group that has a valid, don't-know or refused answer: `indicator`, the columns of
    `by`, and n, n_positive, n_dont_know, n_refused, sum_w, sum_w2, sum_wx, sum_wy, sum_wx2, sum_wxy, sum_wy2; sum_dx
    and sum_dy are sums with the weight before calibration, null when there is no such column.
    """
    table = nw.from_native(frame).lazy()
    w, one = nw.col(weight).cast(nw.Float64), nw.lit(1)
    terms: dict[str, nw.Expr] = {}

    def add(number: int, name: str, condition: nw.Expr | None, value: nw.Expr) -> None:
        if condition is not None:
            terms[f"{number}:{name}"] = nw.when(condition).then(value).otherwise(nw.lit(0))

    for number, quantity in enumerate(quantities.values()):
        valid, y = quantity.valid, quantity.y.cast(nw.Float64)
        add(number, "n", valid, one)
        add(number, "n_positive", valid & (y == 1.0), one)
        add(number, "n_dont_know", quantity.dont_know, one)
        add(number, "n_refused", quantity.refused, one)
        add(number, "sum_w", valid, w)
        add(number, "sum_w2", valid, w * w)
        add(number, "sum_wy", valid, w * y)
        add(number, "sum_wy2", valid, w * y * y)
        if quantity.x is not None:
            x = quantity.x.cast(nw.Float64)
            add(number, "sum_wx", valid, w * x)
            add(number, "sum_wx2", valid, w * x * x)
            add(number, "sum_wxy", valid, w * x * y)
        if uncalibrated is not None:
            d = nw.col(uncalibrated).cast(nw.Float64)
            add(number, "sum_dx", valid, d if quantity.x is None else d * quantity.x.cast(nw.Float64))
            add(number, "sum_dy", valid, d * y)
    # Terms first, plain sums after: engines without expressions inside aggregations then run the same code.
    summed = table.select(*by, **terms).group_by(*by).agg(*(nw.col(name).sum() for name in terms))
    wide: pd.DataFrame = summed.collect("pandas").to_native()
    long = [_one_indicator(wide, number, name, list(by)) for number, name in enumerate(quantities)]
    return pd.concat(long, ignore_index=True).sort_values(["indicator", *by], ignore_index=True)


def _one_indicator(wide: pd.DataFrame, number: int, name: str, by: list[str]) -> pd.DataFrame:
    prefix = f"{number}:"
    part = wide[[*by, *(c for c in wide.columns if c.startswith(prefix))]].rename(
        columns=lambda c: c.removeprefix(prefix)
    )
    for count in ("n_dont_know", "n_refused"):
        if count not in part:
            part[count] = 0
    if "sum_wx" not in part:
        part = part.assign(sum_wx=part["sum_w"], sum_wx2=part["sum_w"], sum_wxy=part["sum_wy"])
    if "sum_dx" not in part:
        part = part.assign(sum_dx=np.nan, sum_dy=np.nan)
    part = part[(part["n"] + part["n_dont_know"] + part["n_refused"]) > 0]
    part.insert(0, "indicator", name)
    return part[["indicator", *by, *_COUNTS, *_SUMS, *_UNCALIBRATED_SUMS]]


def psu_totals(responses: Path, instrument: Instrument) -> pd.DataFrame:
    """Table `psu_totals` of a wave, from its responses as a Parquet file (one wave); quantiles have no totals."""
    with duckdb.connect() as connection:
        relation = connection.read_parquet(str(responses))
        indicators = instrument.available_indicators(relation.columns)
        quantities = {
            name: indicator_quantity(indicator)
            for name, indicator in indicators.items()
            if indicator.kind != "quantile"
        }
        if not quantities:
            return conform(pd.DataFrame(columns=TABLES["psu_totals"].names), "psu_totals")
        built = relation.filter("uncalibrated_weight IS NOT NULL").limit(1).fetchall()
        uncalibrated = "uncalibrated_weight" if built else None
        summed = totals(relation, quantities, ["wave", *CELL], uncalibrated=uncalibrated)
    return conform(summed, "psu_totals")


def calibration_totals(responses: Path, wave: Wave) -> pd.DataFrame:
    """Table `calibration_totals` of a wave, from its responses as a Parquet file; empty when they were not raked."""
    if wave.weighting is None or not wave.weighting.rake:
        return conform(pd.DataFrame(columns=TABLES["calibration_totals"].names), "calibration_totals")
    sums = {"sum_w": "weight", "sum_d": "uncalibrated_weight"}
    with duckdb.connect() as connection:
        table = nw.from_native(connection.read_parquet(str(responses)))
        summed = table.group_by("wave", *CELL).agg(**{name: nw.col(column).sum() for name, column in sums.items()})
        frame: pd.DataFrame = summed.collect("pandas").to_native()
    return conform(frame.sort_values(list(CELL), ignore_index=True), "calibration_totals")
