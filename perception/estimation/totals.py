"""PSU totals: the one step that reads respondents; what is summed here is all that direct estimates need.

Written in Narwhals expressions, so the same code runs on DuckDB (default) and on other engines that Narwhals speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, and_, or_
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

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
    """What is summed: who has a valid answer, numerator y, denominator x (1 when None), who did not know or refused.

    Who is said by a condition or by 1 and 0. `binary` promises the same of y, null only without a valid answer, which
    spares sums.
    """

    valid: nw.Expr
    y: nw.Expr
    x: nw.Expr | None = None
    dont_know: nw.Expr | None = None
    refused: nw.Expr | None = None
    binary: bool = False

    @property
    def is_valid(self) -> nw.Expr:
        """`valid` as a condition."""
        return self.valid.cast(nw.Boolean)


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
    elif len(indicator.questions) == 1:
        # Numbers that add and multiply, not conditions: engines compare a text once for each word of its dictionary,
        # but go through and, or and case row by row.
        answer = nw.col(indicator.questions[0])
        valid, y = _number(~answer.is_null()) - _is_one_of(answer, REASONS), _is_one_of(answer, indicator.positive)
        dont_know, refused = answer == "dont_know", answer == "refused"
    else:
        answers = [nw.col(question) for question in indicator.questions]
        y = reduce(or_, [answer.is_in(indicator.positive) for answer in answers])
        answered = [~answer.is_in(REASONS) & ~answer.is_null() for answer in answers]
        complete = reduce(and_, [a | (answer == "not_asked") for a, answer in zip(answered, answers, strict=True)])
        valid = y | (complete & reduce(or_, answered))
        dont_know = ~valid & reduce(or_, [answer == "dont_know" for answer in answers])
        refused = ~valid & ~dont_know & reduce(or_, [answer == "refused" for answer in answers])
    if indicator.universe is not None:
        member = _is_one_of(nw.col(indicator.universe.question), indicator.universe.answers)
        valid, dont_know, refused = (_number(who) * member for who in (valid, dont_know, refused))
    return Quantity(valid, y, None, dont_know, refused, binary=indicator.kind == "share")


def _number(condition: nw.Expr) -> nw.Expr:
    """1 where it holds, 0 where not."""
    return condition.cast(nw.Float64)


def _is_one_of(answer: nw.Expr, values: Iterable[str]) -> nw.Expr:
    """1 where the answer is one of the values, 0 where not; null or 0 where it is null."""
    return reduce(add, [_number(answer == value) for value in dict.fromkeys(values)])


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
    keys = list(by)
    table = nw.from_native(frame).lazy()
    # Three steps, because engines do not see that terms share a condition: each condition once, products, plain sums
    # (engines without expressions inside aggregations run the same code).
    w = nw.col(weight).cast(nw.Float64)
    masks: dict[str, nw.Expr] = {"w": w, "w2": w * w}
    if uncalibrated is not None:
        masks["d"] = nw.col(uncalibrated).cast(nw.Float64)
    for number, quantity in enumerate(quantities.values()):
        masks |= {f"{number}:{name}": masked for name, masked in _masks(quantity).items()}
    masked = table.select(*keys, **masks)
    terms: dict[str, nw.Expr] = {}
    for number, quantity in enumerate(quantities.values()):
        made = _terms(quantity, f"{number}:", uncalibrated is not None)
        terms |= {f"{number}:{name}": term for name, term in made.items()}
    summed = masked.select(*keys, **terms).group_by(*keys).agg(*(nw.col(name).sum() for name in terms))
    wide = summed.collect("pyarrow").to_native()
    groups: pd.DataFrame = wide.select(keys).to_pandas()
    sorted_groups = groups.sort_values(keys).index.to_numpy()
    parts = {name: _one_indicator(wide, f"{number}:") for number, name in enumerate(quantities)}
    asked = {name: part["n"] + part["n_dont_know"] + part["n_refused"] > 0 for name, part in parts.items()}
    order = sorted(quantities)
    places = {name: sorted_groups[asked[name][sorted_groups]] for name in order}
    # Texts are taken once for all indicators: sorting and joining hundreds of thousands of them takes seconds.
    long = groups.take(np.concatenate(list(places.values()))).reset_index(drop=True)
    sizes = [len(place) for place in places.values()]
    long.insert(0, "indicator", pd.Series(order, dtype="str").repeat(sizes).reset_index(drop=True))
    sums = {
        column: np.concatenate([parts[name][column][place] for name, place in places.items()])
        for column in (*_COUNTS, *_SUMS, *_UNCALIBRATED_SUMS)
    }
    return pd.concat([long, pd.DataFrame(sums, copy=False)], axis=1)


def _masks(quantity: Quantity) -> dict[str, nw.Expr]:
    """v, y and x: 1, numerator and denominator of a valid answer, 0 of another; r and k: 1 of refused, don't know."""

    def where_valid(value: nw.Expr) -> nw.Expr:
        return nw.when(quantity.is_valid).then(_number(value)).otherwise(nw.lit(0.0))

    valid = _number(quantity.valid)
    masks = {"v": valid, "y": valid * _number(quantity.y) if quantity.binary else where_valid(quantity.y)}
    if quantity.x is not None:
        masks["x"] = where_valid(quantity.x)
    if quantity.dont_know is not None:
        masks["k"] = _number(quantity.dont_know)
    if quantity.refused is not None:
        masks["r"] = _number(quantity.refused)
    return masks


def _terms(quantity: Quantity, prefix: str, calibrated: bool) -> dict[str, nw.Expr]:
    """What is summed of a quantity, from its masks; sums that equal another one are left out."""
    w, w2, v, y = (nw.col(name) for name in ("w", "w2", f"{prefix}v", f"{prefix}y"))
    x = v if quantity.x is None else nw.col(f"{prefix}x")
    terms = {"n": v, "sum_w": v * w, "sum_w2": v * w2, "sum_wy": y * w}
    if quantity.dont_know is not None:
        terms["n_dont_know"] = nw.col(f"{prefix}k")
    if quantity.refused is not None:
        terms["n_refused"] = nw.col(f"{prefix}r")
    if quantity.binary:
        terms["n_positive"] = y
    else:
        terms["n_positive"] = nw.when(y == 1.0).then(nw.lit(1.0)).otherwise(nw.lit(0.0))
        terms["sum_wy2"] = y * w * y
    if quantity.x is not None:
        terms |= {"sum_wx": x * w, "sum_wx2": x * w * x, "sum_wxy": x * w * y}
    if calibrated:
        terms |= {"sum_dx": x * nw.col("d"), "sum_dy": y * nw.col("d")}
    return terms


def _one_indicator(wide: pa.Table, prefix: str) -> dict[str, NDArray[Any]]:
    """All sums of an indicator, by group; those that were left out are taken from their equals."""
    found = {c.removeprefix(prefix): wide[c].to_numpy() for c in wide.column_names if c.startswith(prefix)}
    nothing = np.zeros(len(wide))
    sums = {"n_dont_know": nothing, "n_refused": nothing, "sum_wy2": found["sum_wy"]}
    sums |= {"sum_wx": found["sum_w"], "sum_wx2": found["sum_w"], "sum_wxy": found["sum_wy"]}
    sums |= {name: np.full(len(wide), np.nan) for name in _UNCALIBRATED_SUMS} | found
    return sums | {name: sums[name].astype(np.int64) for name in _COUNTS}


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
    if not wave.rake:
        return conform(pd.DataFrame(columns=TABLES["calibration_totals"].names), "calibration_totals")
    sums = {"sum_w": "weight", "sum_d": "uncalibrated_weight"}
    with duckdb.connect() as connection:
        table = nw.from_native(connection.read_parquet(str(responses)))
        summed = table.group_by("wave", *CELL).agg(**{name: nw.col(column).sum() for name, column in sums.items()})
        frame: pd.DataFrame = summed.collect("pandas").to_native()
    return conform(frame.sort_values(list(CELL), ignore_index=True), "calibration_totals")
