"""Gaps between groups of a unit's people (women and men, rural and urban, poorest and richest) with their uncertainty.

Both groups come from the same PSUs, so a gap's variance is that of the difference of their linearised scores. Nothing
is withheld here: that is `publication`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special, stats

from perception.estimation.design import Design, design_from_psus
from perception.estimation.domains import (
    CalibratedCells,
    Linearised,
    calibrated_cells,
    domain_cells,
    domain_dimensions,
    linearised,
)
from perception.estimation.intervals import t_interval
from perception.intake.declarations import BACKGROUND
from perception.schemas import TABLES, conform

GAPS = {
    "sex": ("sex=female", "sex=male"),
    "urban": ("urban=rural", "urban=urban"),
    "wealth": (f"wealth={BACKGROUND['wealth'][0]}", f"wealth={BACKGROUND['wealth'][-1]}"),
}
"""Each gap and its two domains: the first less the second."""

FALSE_DISCOVERY_RATE = 0.05
_UNIT = ["indicator", "level", "unit_id"]


@dataclass(frozen=True)
class Contrasts:
    """Linear combinations of domain estimates: `rows` with estimate, variance, psus and df; `scores` is n_psus x m."""

    rows: pd.DataFrame
    scores: Any


def group_pairs(domains: pd.DataFrame) -> pd.DataFrame:
    """The gaps that `domains` (of `Linearised`) can make: indicator, level, unit_id, gap, and rows of both groups.

    Columns `first` and `second` are row numbers, n_first and n_second valid answers; `agree` says that neither group
    varies.
    """
    units = pd.MultiIndex.from_frame(domains[_UNIT]).factorize()[0]
    pairs: list[pd.DataFrame] = []
    for gap, groups in GAPS.items():
        rows = np.full((2, units.max(initial=-1) + 1), -1)
        for side, group in enumerate(groups):
            found = np.flatnonzero((domains["domain"] == group).to_numpy())
            rows[side, units[found]] = found
        first, second = rows[:, (rows >= 0).all(axis=0)]
        sizes, agree = domains["n"].to_numpy(), domains["agree"].to_numpy(bool)
        numbers = {"n_first": sizes[first], "n_second": sizes[second], "agree": agree[first] & agree[second]}
        pairs.append(domains[_UNIT].iloc[first].assign(gap=gap, first=first, second=second, **numbers))
    return pd.concat(pairs, ignore_index=True)


def contrasts(domains: Linearised, design: Design, first: NDArray[np.intp], second: NDArray[np.intp]) -> Contrasts:
    """Differences of the domains in rows `first` and `second`; a `second` below 0 leaves the first as it is.

    df is PSUs less strata among PSUs with a valid answer in either (Korn and Graubard 1998).
    """
    count = len(first)
    columns = np.arange(count)
    minus = np.flatnonzero(second >= 0)
    signs = np.concatenate([np.ones(count), -np.ones(len(minus))])
    places = (np.concatenate([first, second[minus]]), np.concatenate([columns, minus]))
    combine = sparse.csc_array((signs, places), shape=(len(domains.domains), count))
    scores = domains.scores @ combine
    psus, df = degrees_of_freedom(design, domains.cases @ abs(combine))
    estimate = combine.T @ domains.domains["estimate"].to_numpy(float)
    variance, simple = design.variances(scores), abs(combine).T @ domains.domains["simple"].to_numpy(float)
    # PSUs that agree leave rounding behind, which must not pass for certainty.
    variance = np.where(variance > 1e-20 * simple, variance, 0.0)
    rows = pd.DataFrame({"estimate": estimate, "variance": variance, "psus": psus, "df": df})
    return Contrasts(rows, scores)


def degrees_of_freedom(design: Design, cases: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """PSUs with a case, and PSUs less strata with a case, of each column of `cases` (n_psus x m, sparse)."""
    rows, columns = sparse.coo_array(cases).coords
    psus = np.bincount(columns, minlength=cases.shape[1])
    strata = np.unique(design.stratum_codes[rows] * np.int64(cases.shape[1]) + columns) % max(cases.shape[1], 1)
    return psus, psus - np.bincount(strata, minlength=cases.shape[1])


def tested(
    difference: NDArray[np.float64], variance: NDArray[np.float64], df: NDArray[np.float64], unknown: NDArray[np.bool_]
) -> pd.DataFrame:
    """Columns se, low, high (95 % t interval) and p_value (of no difference) of differences.

    All are null without a degree of freedom and where the variance is `unknown`; p_value also where the variance is 0,
    for the sample then says nothing about chance.
    """
    degrees = np.where((df >= 1) & ~unknown, df, np.nan)
    se = np.where(np.isnan(degrees), np.nan, np.sqrt(variance))
    low, high = t_interval(difference, se, degrees)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * special.stdtr(degrees, -np.abs(np.where(se > 0, difference / se, np.nan)))
    return pd.DataFrame({"se": se, "low": low, "high": high, "p_value": p_value})


def adjusted_p_values(p_values: pd.Series, family: Sequence[pd.Series]) -> pd.Series:
    """p-values adjusted for the false discovery rate within each family (Benjamini and Hochberg 1995); null stays."""

    def adjust(known: pd.Series) -> Any:
        return stats.false_discovery_control(known.to_numpy(float))

    known = p_values.dropna()
    if known.empty:
        return pd.Series(np.nan, index=p_values.index)
    groups = [names.loc[known.index] for names in family]
    return known.groupby(groups).transform(adjust).reindex(p_values.index)


def gap_verdicts(gaps: pd.DataFrame) -> pd.DataFrame:
    """The gaps with q_value (within wave, indicator, level and gap) and verdict: is the first group lower or higher?"""
    family = [gaps[name] for name in ("wave", "indicator", "level", "gap")]
    q_value = adjusted_p_values(gaps["p_value"], family)
    clear = (q_value < FALSE_DISCOVERY_RATE).to_numpy()
    sign = np.where(gaps["estimate"].to_numpy(float, na_value=np.nan) < 0, "lower", "higher")
    return gaps.assign(q_value=q_value, verdict=np.where(clear, sign, "cannot_tell"))


def indicator_gaps(domains: Linearised, design: Design) -> pd.DataFrame:
    """The gaps of one or more indicators, before adjusting for how many they are; df as in `contrasts`."""
    pairs = group_pairs(domains.domains)
    found = contrasts(domains, design, pairs["first"].to_numpy(np.intp), pairs["second"].to_numpy(np.intp)).rows
    estimate, variance, df = (found[name].to_numpy(float) for name in ("estimate", "variance", "df"))
    numbers = tested(estimate, variance, df, unknown=pairs["agree"].to_numpy(bool) | (variance == 0))
    return pd.concat(
        [pairs[[*_UNIT, "gap", "n_first", "n_second"]], found[["estimate", "psus", "df"]], numbers], axis=1
    )


def subgroup_gaps(
    totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
) -> pd.DataFrame:
    """Table `subgroup_gaps` of one wave, from `psu_totals`, `design_psus` and its districts.

    Weights that were raked come with the wave's `calibration_totals` and the margins `rake`. Estimates and standard
    errors are in the indicator's unit (proportion for a share). Source: linearised difference of two domain ratios
    (Woodruff 1971), with their covariance.
    """
    design, dimensions = design_from_psus(design_psus), domain_dimensions(totals)
    calibrated: CalibratedCells | None = None
    if calibration_totals is not None and len(calibration_totals):
        calibrated = calibrated_cells(calibration_totals, rake, totals, units, design)
    grouped = [dimension for dimension in dimensions if len(dimension) == 1 and dimension[0] in GAPS]
    answered = totals[totals.groupby("indicator")["n"].transform("sum") > 0]
    found = [
        indicator_gaps(linearised(domain_cells(part, units, grouped), design, calibrated), design)
        for _, part in answered.groupby("indicator")
        if grouped
    ]
    if not found:
        return conform(pd.DataFrame(columns=TABLES["subgroup_gaps"].names), "subgroup_gaps")
    gaps = pd.concat(found, ignore_index=True)
    gaps.insert(0, "wave", totals["wave"].iloc[0])
    return conform(gap_verdicts(gaps).sort_values([*_UNIT, "gap"]), "subgroup_gaps")
