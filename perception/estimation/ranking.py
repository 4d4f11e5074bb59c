"""Districts in order of their small-area estimates: the ranks each may hold, the probability of being among the lowest
or highest, and a band that claims no more.

Ranks come from the joint posterior draws of the districts that may be published and have respondents of their own; the
others have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.estimation.rank_sets import certain_differences, rank_sets
from perception.estimation.small_area import DrawnModel
from perception.schemas import TABLES, conform

RANK_CONFIDENCE = 0.90
LOWEST_SHARE = 0.15
LOWEST_AT_MOST = 10
LOW, WATCH = 0.8, 0.5
"""Probabilities of being among the lowest (highest) k from which a district is called low (high), or watched."""
GUARD_CONFIDENCE = 0.95
GUARD_DRAWS = 1_000
Draws = NDArray[np.float64]
Ranks = NDArray[Any]


def lowest_count(districts: int) -> int:
    """How many districts count as the lowest (and as the highest): 15 % of those ranked, at most 10, at least 1.

    None does where fewer than two are ranked: a district alone is neither.
    """
    return max(int(districts > 1), min(LOWEST_AT_MOST, round(LOWEST_SHARE * districts)))


def district_rankings(models: Iterable[DrawnModel], published: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Table `district_rankings`: every district by province and by round, ranked where it may be published.

    `models` are those of `small_area.round_models`, `published` is `published_estimates` of their waves (of which the
    rows of method `small_area` say what may be shown). Rank 1 is the worst, so indicators of which more is worse are
    ranked from the top. See `rank_summary` for the numbers.
    """
    shown = published[published["method"] == "small_area"].rename(columns={"unit_id": "district_id"})
    if shown.empty:
        return conform(pd.DataFrame(columns=TABLES["district_rankings"].names), "district_rankings")
    numbers = ["estimate", "low", "high", "n", "quality", "reason"]
    shown = shown.set_index(["wave", "indicator", "district_id"])[numbers]
    described = indicators.set_index(["wave", "indicator"])[["higher_is_better", "target"]]
    parts = [part for model in models for part in _ranked_model(model, shown, described)]
    table = pd.concat(parts, ignore_index=True)
    return conform(table.sort_values(["wave", "indicator", "scope", "rank", "district_id"]), "district_rankings")


def _ranked_model(model: DrawnModel, shown: pd.DataFrame, described: pd.DataFrame) -> Iterable[pd.DataFrame]:
    """The rankings that one model carries: of each province of each wave, and of the round."""
    frame = model.districts.assign(indicator=model.key["indicator"], simulated=model.key["simulated"])
    frame = frame.assign(sampled=frame["n"] > 0).drop(columns="n")
    frame = frame.join(shown, on=["wave", "indicator", "district_id"])
    facts = described.loc[(frame["wave"].iloc[0], str(model.key["indicator"]))]
    sign = 1.0 if facts["higher_is_better"] else -1.0
    scopes = [
        ("province", str(rows["province_id"].iloc[0]), rows.index) for _, rows in frame.groupby(["wave", "province_id"])
    ]
    scopes.append(("round", str(model.key["round"]), frame.index))
    for scope, scope_id, rows in scopes:
        part = frame.loc[rows]
        ranked = (part["estimate"].notna() & part["sampled"]).to_numpy()
        columns = part[ranked].index
        summary = rank_summary(
            sign * model.draws[:, columns], None if pd.isna(facts["target"]) else sign * facts["target"]
        )
        summary = summary.set_index(columns)
        guard = certain_ranks(model, columns, sign)
        summary = summary.assign(certain_low=guard[0], certain_high=guard[1])
        counts: dict[str, Any] = {"districts": len(columns), "lowest_count": lowest_count(len(columns))}
        yield part.join(summary).assign(scope=scope, scope_id=scope_id, **counts)


def rank_summary(draws: Draws, target: float | None = None, confidence: float = RANK_CONFIDENCE) -> pd.DataFrame:
    """Ranks of the columns of joint draws (draws x districts), rank 1 the smallest: one row per district.

    rank (order of the expected ranks), rank_expected, rank_median, rank_low and rank_high (ends of the central
    `confidence` of the ranks' posterior), p_lowest and p_highest (probability that fewer than k districts are lower, or
    higher; see `lowest_count`), p_below_target (null without `target`) and band. Sources: Laird and Louis 1989, Shen
    and Louis 1998 (expected ranks), Goldstein and Spiegelhalter 1996 (their intervals).
    """
    count, k = draws.shape[1], lowest_count(draws.shape[1])
    below, equal = _order(draws)
    ranks = below + (equal + 1) / 2  # draws that are equal (shares of exactly 0) share the mean of their ranks
    tail = 100 * (1 - confidence) / 2
    expected = ranks.mean(axis=0)
    ends = np.percentile(ranks, [tail, 50, 100 - tail], axis=0)
    lowest, highest = (below < k).mean(axis=0), (count - below - equal < k).mean(axis=0)
    return pd.DataFrame(
        {
            "rank": pd.Series(expected).rank(method="min").astype("Int64"),
            "rank_expected": expected,
            "rank_median": ends[1],
            "rank_low": np.floor(ends[0]).astype(int),
            "rank_high": np.ceil(ends[2]).astype(int),
            "p_lowest": lowest,
            "p_highest": highest,
            "p_below_target": np.nan if target is None else (draws < target).mean(axis=0),
            "band": bands(lowest, highest),
        }
    )


def _order(draws: Draws) -> tuple[Ranks, Ranks]:
    """Of each draw: how many columns are lower, and how many are equal, itself included."""
    order = np.argsort(draws, axis=1)
    below = np.empty(draws.shape, dtype=np.int32)
    np.put_along_axis(below, order, np.arange(draws.shape[1], dtype=np.int32)[None], axis=1)
    equal = np.ones(draws.shape, dtype=np.int32)
    tied = (np.diff(np.take_along_axis(draws, order, axis=1), axis=1) == 0).any(axis=1)
    for row in np.flatnonzero(tied):
        _, place, count = np.unique(draws[row], return_inverse=True, return_counts=True)
        below[row], equal[row] = (np.cumsum(count) - count)[place], count[place]
    return below, equal


def bands(p_lowest: Draws, p_highest: Draws) -> NDArray[np.str_]:
    """`low`, `watch`, `high` or `not_distinguishable`, from the probabilities of being among the lowest and highest."""
    return np.select(
        [p_lowest >= LOW, p_lowest >= WATCH, p_highest >= LOW], ["low", "watch", "high"], "not_distinguishable"
    )


def certain_ranks(model: DrawnModel, columns: pd.Index, sign: float) -> tuple[Ranks, Ranks]:
    """First and last rank of districts that their direct estimates alone leave open, all together with 95 % confidence.

    What may be said in words (`A is below B`) must hold here too: nothing is borrowed from covariates. Of shares the
    arcsine roots are compared, whose variances are known; a district without a sample may hold any rank.
    """
    direct, variance = model.direct[columns], model.variance[columns]
    known = ~np.isnan(direct)
    first, last = np.ones(len(columns), dtype=np.intp), np.full(len(columns), len(columns), dtype=np.intp)
    if known.sum() > 1:
        rng = np.random.default_rng(0)
        above = certain_differences(sign * direct[known], np.diag(variance[known]), GUARD_CONFIDENCE, GUARD_DRAWS, rng)
        low, high = rank_sets(above)
        first[known], last[known] = low, high + int((~known).sum())
    return first, last
