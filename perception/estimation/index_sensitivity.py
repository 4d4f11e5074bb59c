"""How far the rank of a district in an index depends on the weights, which are a choice and not a measurement.

Only published estimates are weighted anew, and doubt from sampling is left out: that is what rankings show.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.estimation.ranking import RANK_CONFIDENCE, lowest_count
from perception.intake.describe import index_weights
from perception.schemas import TABLES, conform

WEIGHTINGS = 1_000
Numbers = NDArray[np.float64]


def index_sensitivity(published: pd.DataFrame, rankings: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Table `index_sensitivity`: the ranks of each ranked district under other weights, in each scope of `rankings`.

    `published` is `published_estimates`, `rankings` is `district_rankings`. A district is compared where the small-area
    estimate of every indicator of the index is published. Averages of SDG indicator 16.6.2 are left out: there the
    weights are no choice.
    """
    shown = published[published["method"] == "small_area"]
    estimates = shown.set_index(["wave", "unit_id", "indicator"])["estimate"].unstack()
    parts = []
    weighed = indicators[(indicators["kind"] == "index") & indicators["sdg_16_6_2"].isna()]
    for wave, own in weighed.groupby("wave"):
        for name, weights in index_weights(own).items():
            ranked = rankings[rankings["indicator"].eq(name) & rankings["rank"].notna()]
            here = ranked[ranked["wave"] == wave]
            for (scope, scope_id), _ in here.groupby(["scope", "scope_id"]):
                rows = ranked[(ranked["scope"] == scope) & (ranked["scope_id"] == scope_id)]
                rows = rows if scope == "round" else rows[rows["wave"] == wave]
                place = pd.MultiIndex.from_frame(rows[["wave", "district_id"]])
                values = estimates.reindex(place)[list(weights)]
                compared = values.notna().all(axis=1).to_numpy()
                found = ranks_by_weights(values[compared].to_numpy(float), weights)
                key = rows.loc[compared, ["wave", "indicator", "simulated", "scope", "scope_id", "district_id"]]
                table = pd.concat([key.reset_index(drop=True), found], axis="columns")
                parts.append(table[table["wave"] == wave])
    if not parts:
        return conform(pd.DataFrame(columns=TABLES["index_sensitivity"].names), "index_sensitivity")
    return conform(pd.concat(parts, ignore_index=True), "index_sensitivity")


def ranks_by_weights(values: Numbers, weights: Mapping[str, float]) -> pd.DataFrame:
    """How the ranks of districts move when the weights of `values` (districts x indicators) do; rank 1 is the lowest.

    One row per district: rank_declared by `weights`; rank_low and rank_high hold it for 90 % of 1,000 weightings drawn
    evenly from all there are (Dirichlet 1, ..., 1), share_lowest says under how many of them it is among the lowest k;
    decisive is the indicator without which its rank moves furthest, rank_without that rank. Source: Saisana, Saltelli
    and Tarantola 2005; OECD and JRC 2008, step 7.
    """
    names, declared = list(weights), np.array(list(weights.values()))
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(names)), WEIGHTINGS)
    without = declared * (1 - np.eye(len(names)))
    rank = _ranks(values, declared[None])[:, 0]
    ranks, ranks_without = _ranks(values, drawn), _ranks(values, without)
    furthest = np.abs(ranks_without - rank[:, None]).argmax(axis=1)
    tail = 100 * (1 - RANK_CONFIDENCE) / 2
    low, high = np.percentile(ranks, [tail, 100 - tail], axis=1)
    return pd.DataFrame(
        {
            "rank_declared": rank,
            "rank_low": np.floor(low).astype(int),
            "rank_high": np.ceil(high).astype(int),
            "share_lowest": (ranks <= lowest_count(len(values))).mean(axis=1),
            "decisive": np.array(names)[furthest],
            "rank_without": ranks_without[np.arange(len(values)), furthest],
            "weightings": WEIGHTINGS,
            "districts": len(values),
        }
    )


def _ranks(values: Numbers, weights: Numbers) -> NDArray[np.int64]:
    """Rank of each district (row) under each of `weights` (weightings x indicators, their sums above 0)."""
    index = values @ (weights / weights.sum(axis=1, keepdims=True)).T
    return np.asarray(pd.DataFrame(index).rank(method="min").to_numpy(), dtype=np.int64)
