"""Indices: weighted means of an area's shares, the same basket in every area, with the covariance between the shares.

Respondents answer about several services, so the shares of one area vary together: the variance of an index comes from
the weighted sum of their linearised scores. How an area's rank depends on the weights is `index_sensitivity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from perception.estimation.domains import Dimensions, SampledDomains, wave_domains
from perception.estimation.intervals import korn_graubard_interval, logit_interval
from perception.estimation.replicates import Scheme
from perception.schemas import TABLES, conform

Weights = Mapping[str, float]
_PLACE = ["level", "unit_id", "domain"]
_KEY = ["indicator", *_PLACE]
_FEWEST = ["n", "psus", "df", "n_eff"]
_AVERAGED = ["estimate", "weight_sum", "dont_know_share", "refused_share"]


def index_domains(sampled: SampledDomains, name: str, weights: Weights) -> tuple[SampledDomains, Any]:
    """The index `name` in every place where each indicator in `weights` (which sum to 1) has an estimate.

    Returns its domains, and the matrix (k x m, sparse) that combines the k of `sampled` into them. n is that of the
    indicator with fewest, and `agree` says that no indicator varies.
    """
    frame = sampled.domains
    weight = frame["indicator"].map(dict(weights)).fillna(0.0).to_numpy(float)
    part = np.flatnonzero(weight > 0)
    number, places = pd.MultiIndex.from_frame(frame[_PLACE].iloc[part].astype("str")).factorize()
    complete = np.bincount(number, minlength=len(places)) == len(weights)
    inside = complete[number]
    rows, columns = part[inside], (np.cumsum(complete) - 1)[number[inside]]
    combine = sparse.csc_array((weight[rows], (rows, columns)), shape=(len(frame), int(complete.sum())))
    parts = frame.iloc[rows].groupby(columns)
    domains = (
        places[complete]
        .to_frame(index=False, name=_PLACE)
        .assign(
            indicator=name,
            n=parts["n"].min().to_numpy(),
            estimate=combine.T @ frame["estimate"].to_numpy(float),
            agree=parts["agree"].all().to_numpy(),
            simple=combine.power(2).T @ frame["simple"].to_numpy(float),
        )
    )
    cases = sampled.cases @ (combine > 0).astype(float)
    return SampledDomains(domains, sampled.design, sampled.scores @ combine, cases, sampled.scheme), combine


def index_estimates(
    estimates: pd.DataFrame,
    indices: Mapping[str, Weights],
    totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
    replicate_totals: pd.DataFrame | None = None,
    scheme: Scheme | None = None,
    dimensions: Dimensions | None = None,
) -> pd.DataFrame:
    """Rows of table `district_estimates` for indices, from the `estimates` of their indicators in the same wave.

    `indices` gives the weights (summing to 1) of the indicators of each index; the rest is as for
    `domains.district_estimates`. An index is estimated where each of its indicators is. n, n_eff, psus and df are those
    of the indicator that has fewest, kish the largest; deff is null, as the indicators are answered by different
    people. Intervals are on the logit scale; where nothing varies, those of a share on the smallest sample.
    """
    wave = wave_domains(totals, design_psus, units, calibration_totals, rake, replicate_totals, scheme, dimensions)
    tables = [pd.DataFrame(columns=TABLES["district_estimates"].names)]
    for name, weights in indices.items():
        sampled = wave.sampled(list(weights))
        index, combine = index_domains(sampled, name, weights)
        if index.domains.empty:
            continue
        facts = (
            sampled.domains[_KEY]
            .astype("str")
            .merge(
                estimates[[*_KEY, *_FEWEST, "kish", *_AVERAGED]].astype(dict.fromkeys(_KEY, "str")),
                on=_KEY,
                how="left",
                validate="1:1",
            )
        )
        tables.append(_rows(index, combine, facts).assign(wave=estimates["wave"].iloc[0]))
    return conform(pd.concat([table for table in tables if len(table)] or tables), "district_estimates")


def _rows(index: SampledDomains, combine: Any, facts: pd.DataFrame) -> pd.DataFrame:
    """The statistics of an index from `facts` of its indicators (a row each)."""
    coordinates = sparse.coo_array(combine)
    row, column = coordinates.coords
    parts = facts.iloc[row].astype(dict.fromkeys([*_FEWEST, "kish"], "float64")).groupby(column)
    averaged = {name: combine.T @ facts[name].fillna(0.0).to_numpy(float) for name in _AVERAGED}
    frame = index.domains[["indicator", *_PLACE]].assign(**parts[_FEWEST].min(), kish=parts["kish"].max(), **averaged)
    n, n_eff, df, estimate = (frame[name].to_numpy(float) for name in ("n", "n_eff", "df", "estimate"))
    agree = index.domains["agree"].to_numpy(bool)
    se = np.where(df < 1, np.nan, np.where(agree, 0.0, np.sqrt(index.variances(index.scores))))
    degrees = np.where(df < 1, np.nan, df)
    with np.errstate(divide="ignore", invalid="ignore"):
        varied, alike = logit_interval(estimate, se, degrees), korn_graubard_interval(estimate, n, n_eff, degrees)
    low, high = (np.where(se == 0, of_alike, of_varied) for of_varied, of_alike in zip(varied, alike, strict=True))
    cv = np.divide(se, estimate, out=np.full(len(frame), np.nan), where=estimate > 0)
    return frame.assign(
        se=se,
        low=low,
        high=high,
        cv=cv,
        n_positive=None,
        deff=np.nan,
        interval=np.where(se == 0, "korn_graubard", "logit"),
    )
