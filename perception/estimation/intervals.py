"""Confidence intervals of shares and means from an estimate, its standard error and its degrees of freedom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
CONFIDENCE = 0.95
FEW_EXPECTED = 10.0
"""Below this many effective yes (or no) answers a share's interval is Korn-Graubard's instead of the logit one."""


def t_quantile(df: Numbers, probability: float) -> Numbers:
    """Quantile of Student's t distribution, worked out once for each of the few df that many rows share."""
    place, found = pd.factorize(np.ravel(df), use_na_sentinel=False)
    return np.asarray(special.stdtrit(found, probability), dtype=np.float64)[place].reshape(np.shape(df))


def t_interval(estimate: Numbers, se: Numbers, df: Numbers, confidence: float = CONFIDENCE) -> tuple[Numbers, Numbers]:
    """Estimate plus and minus the t quantile times the standard error."""
    half = t_quantile(df, 0.5 + confidence / 2) * se
    return estimate - half, estimate + half


def satterthwaite(first: Numbers, second: Numbers, df_first: Numbers, df_second: Numbers) -> Numbers:
    """Degrees of freedom of the sum of two independent variances (Satterthwaite 1946).

    The smaller df where the sum is 0 or one of them is below 1.
    """
    variance, df = first + second, np.minimum(df_first, df_second)
    with np.errstate(divide="ignore", invalid="ignore"):
        combined = variance**2 / (first**2 / df_first + second**2 / df_second)
    return np.where((df >= 1) & (variance > 0), combined, df)


def logit_interval(share: Numbers, se: Numbers, df: Numbers, confidence: float = CONFIDENCE) -> tuple[Numbers, Numbers]:
    """The t interval on the logit scale, transformed back; null at 0 and 1."""
    inside = (share > 0) & (share < 1)
    p = np.where(inside, share, np.nan)
    low, high = t_interval(special.logit(p), se / (p * (1 - p)), df, confidence)
    return special.expit(low), special.expit(high)


def korn_graubard_interval(
    share: Numbers, n: Numbers, n_eff: Numbers, df: Numbers, confidence: float = CONFIDENCE
) -> tuple[Numbers, Numbers]:
    """Clopper-Pearson on the effective sample size, corrected for the design's df (Korn and Graubard 1998).

    `n_eff` is n / deff; the size that enters is p (1 - p) / V, which is n_eff (n - 1) / n.
    """
    tail = (1 - confidence) / 2
    ratio = t_quantile(n - 1, 1 - tail) / t_quantile(df, 1 - tail)
    size = n_eff * (n - 1) / n * ratio**2
    yes, no = size * share, size * (1 - share)
    with np.errstate(invalid="ignore"):
        low = np.where(share > 0, special.betaincinv(np.where(share > 0, yes, 1), no + 1, tail), 0.0)
        high = np.where(share < 1, special.betaincinv(yes + 1, np.where(share < 1, no, 1), 1 - tail), 1.0)
    unknown = np.isnan(size)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def intervals(frame: pd.DataFrame, share: NDArray[np.bool_], confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Columns low, high and interval (`logit`, `korn_graubard`, `t`) for rows with estimate, se, df, n and n_eff.

    `share` says which rows are shares. Few effective yes or no answers call for Korn-Graubard, as does a zero standard
    error; without a degree of freedom there is no interval (null).
    """
    estimate, se, n, n_eff = (frame[name].to_numpy(float, na_value=np.nan) for name in ("estimate", "se", "n", "n_eff"))
    degrees = frame["df"].to_numpy(float, na_value=np.nan)
    df = np.where(degrees < 1, np.nan, degrees)
    few = share & ((np.minimum(n_eff * estimate, n_eff * (1 - estimate)) < FEW_EXPECTED) | (se == 0))
    method = np.select([few, share], ["korn_graubard", "logit"], "t")
    low, high = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
    # Each formula only for its own rows: the inverse beta function costs more than the estimates themselves.
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = method == "korn_graubard"
        low[rows], high[rows] = korn_graubard_interval(estimate[rows], n[rows], n_eff[rows], df[rows], confidence)
        rows = method == "logit"
        low[rows], high[rows] = logit_interval(estimate[rows], se[rows], df[rows], confidence)
    rows = method == "t"
    low[rows], high[rows] = t_interval(estimate[rows], se[rows], df[rows], confidence)
    return pd.DataFrame({"low": low, "high": high, "interval": method}, index=frame.index)
