"""Districts in order of their published estimates, with the ranks each may hold and a band that claims no more.

Ranks come from published numbers only; a suppressed district has none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.estimation.intervals import intervals
from perception.schemas import TABLES, conform

RANK_CONFIDENCE = 0.90
LOWEST_SHARE = 0.15
LOWEST_AT_MOST = 10
Ranks = NDArray[np.intp]
_SHOWN = ["wave", "simulated", "indicator", "district_id", "estimate", "low", "high", "n", "quality", "reason"]


def lowest_count(districts: int) -> int:
    """How many districts count as the lowest (and as the highest): 15 % of those ranked, at most 10, at least 1.

    None does where fewer than two are ranked: a district alone is neither.
    """
    return max(int(districts > 1), min(LOWEST_AT_MOST, round(LOWEST_SHARE * districts)))


def district_rankings(
    published: pd.DataFrame, waves: pd.DataFrame, indicators: pd.DataFrame, units: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Table `district_rankings`: every district with an estimate or a suppressed one, by province and by round.

    `units` has the districts of each vintage (district_id, province_id). Rank 1 is the worst, so indicators of which
    more is worse are ranked from the top. A round ranks waves of one instrument together, simulated ones apart from
    real ones. See `rank_sets` for the intervals; `low` and `high` are districts whose whole rank set lies among the
    lowest or highest k.
    """
    if published.empty:
        return conform(pd.DataFrame(columns=TABLES["district_rankings"].names), "district_rankings")
    rows = published[(published["level"] == "district") & (published["domain"] == "all")]
    rows = rows.rename(columns={"unit_id": "district_id"})
    rows = rows.merge(waves[["wave", "round", "instrument", "vintage"]], on="wave", validate="m:1")
    rows = rows.merge(
        indicators[["wave", "indicator", "kind", "higher_is_better"]], on=["wave", "indicator"], validate="m:1"
    )
    provinces = pd.concat(
        [frame[["district_id", "province_id"]].assign(vintage=vintage) for vintage, frame in units.items()]
    )
    rows = rows.merge(provinces, on=["vintage", "district_id"], how="left", validate="m:1")
    scopes = {"province": ["wave", "province_id"], "round": ["simulated", "instrument", "round"]}
    ranked = [
        _ranked(group).assign(scope=scope, scope_id=group[together[-1]].iloc[0])
        for scope, together in scopes.items()
        for _, group in rows.groupby([*together, "indicator"])
    ]
    table = pd.concat(ranked)
    return conform(table.sort_values(["wave", "indicator", "scope", "rank", "district_id"]), "district_rankings")


def _ranked(group: pd.DataFrame) -> pd.DataFrame:
    shown = group[group["estimate"].notna()]
    count, k = len(shown), lowest_count(len(shown))
    first, last = rank_sets(shown, share=bool((group["kind"] == "share").iloc[0]))
    higher_is_better = bool(group["higher_is_better"].iloc[0])
    if not higher_is_better:
        first, last = count + 1 - last, count + 1 - first
    order = pd.DataFrame(
        {
            "rank": shown["estimate"].rank(method="min", ascending=higher_is_better).astype("Int64"),
            "rank_low": first,
            "rank_high": last,
            "band": np.select([last <= k, first > count - k], ["low", "high"], "not_distinguishable"),
        },
        index=shown.index,
    )
    return group[_SHOWN].join(order).assign(districts=count)


def rank_sets(estimates: pd.DataFrame, share: bool, confidence: float = RANK_CONFIDENCE) -> tuple[Ranks, Ranks]:
    """First and last rank that each estimate may hold, rank 1 the smallest value (Klein, Wright and Wieczorek 2020).

    `estimates` has estimate, se, df, n, n_eff. Intervals are widened (Bonferroni) until all hold together with
    `confidence`; the set of a row is then [1 + those certainly below, p - those certainly above]. Conservative: it
    claims no order that the intervals do not carry.
    """
    count = len(estimates)
    joint = 1 - (1 - confidence) / max(count, 1)
    ends = intervals(estimates, np.full(count, share), joint)
    low, high = ends["low"].to_numpy(), ends["high"].to_numpy()
    certainly_below = (high[None, :] < low[:, None]).sum(axis=1)
    certainly_above = (low[None, :] > high[:, None]).sum(axis=1)
    return 1 + certainly_below, count - certainly_above
