"""Gaps between groups of a unit's people (women and men, rural and urban, poorest and richest) with their uncertainty.

Both groups come from the same PSUs, so a gap's variance is that of the difference of their scores. Nothing is withheld
here: that is `publication`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from perception.estimation.contrasts import contrasts, differences, significance
from perception.estimation.domains import (
    SampledDomains,
    domain_dimensions,
    wave_domains,
)
from perception.estimation.indices import Weights, index_domains
from perception.estimation.replicates import Scheme
from perception.intake.declarations import BACKGROUND
from perception.schemas import TABLES, conform

GAPS = {
    "sex": ("sex=female", "sex=male"),
    "urban": ("urban=rural", "urban=urban"),
    "wealth": (f"wealth={BACKGROUND['wealth'][0]}", f"wealth={BACKGROUND['wealth'][-1]}"),
}
"""Each gap and its two domains: the first less the second."""

FALSE_DISCOVERY_RATE = 0.05
ROWS_TOGETHER = 60_000
"""PSU totals of indicators estimated in one go: enough that few calls are made, few enough to bound memory."""
_UNIT = ["indicator", "level", "unit_id"]


def group_pairs(domains: pd.DataFrame) -> pd.DataFrame:
    """The gaps that `domains` (of `SampledDomains`) can make: indicator, level, unit_id, gap, and rows of both groups.

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


def adjusted_p_values(p_values: pd.Series, family: Sequence[pd.Series]) -> pd.Series:
    """p-values adjusted for the false discovery rate within each family (Benjamini and Hochberg 1995); null stays."""
    known = p_values.dropna().astype(float).sort_values(ascending=False)
    if known.empty:
        return pd.Series(np.nan, index=p_values.index)
    families = known.groupby([names.loc[known.index] for names in family]).ngroup()
    size = families.groupby(families).transform("size")
    place = size - families.groupby(families).cumcount()
    return (known / (place / size)).groupby(families).cummin().clip(upper=1.0).reindex(p_values.index)


def gap_verdicts(gaps: pd.DataFrame) -> pd.DataFrame:
    """The gaps with q_value (within wave, indicator, level and gap) and verdict: is the first group lower or higher?"""
    family = [gaps[name] for name in ("wave", "indicator", "level", "gap")]
    q_value = adjusted_p_values(gaps["p_value"], family)
    clear = (q_value < FALSE_DISCOVERY_RATE).to_numpy()
    sign = np.where(gaps["estimate"].to_numpy(float, na_value=np.nan) < 0, "lower", "higher")
    return gaps.assign(q_value=q_value, verdict=np.where(clear, sign, "cannot_tell"))


def indicator_gaps(sampled: SampledDomains) -> pd.DataFrame:
    """The gaps of one or more indicators, before adjusting for how many they are; df as in `contrasts`."""
    pairs = group_pairs(sampled.domains)
    first, second = (pairs[name].to_numpy(np.intp) for name in ("first", "second"))
    found = contrasts(sampled, differences(first, second, len(sampled.domains))).rows
    estimate, variance, df = (found[name].to_numpy(float) for name in ("estimate", "variance", "df"))
    numbers = significance(estimate, variance, df, unknown=pairs["agree"].to_numpy(bool) | ~(variance > 0))
    return pd.concat(
        [pairs[[*_UNIT, "gap", "n_first", "n_second"]], found[["estimate", "psus", "df"]], numbers], axis=1
    )


def indicators_together(totals: pd.DataFrame) -> Iterator[list[str]]:
    """The indicators of PSU totals, in groups of as many as bring `ROWS_TOGETHER` rows, or of one that has more."""
    rows = totals.groupby("indicator", observed=True).size()
    for _, group in rows.groupby((rows.cumsum() - 1) // ROWS_TOGETHER):
        yield [str(name) for name in group.index]


def subgroup_gaps(
    totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
    replicate_totals: pd.DataFrame | None = None,
    scheme: Scheme | None = None,
    indices: Mapping[str, Weights] | None = None,
) -> pd.DataFrame:
    """Table `subgroup_gaps` of one wave, from `psu_totals`, `design_psus`, its districts and the weights of `indices`.

    Weights that were raked come with the wave's `calibration_totals` and the margins `rake`, replicate weights with its
    `replicate_totals` and the `scheme` of their variance: standard errors are then theirs. Estimates and standard
    errors are in the indicator's unit (proportion for a share). Sources: linearised difference of two domain ratios
    (Woodruff 1971), with their covariance; or the spread of the replicates' differences (Wolter 2007).
    """
    grouped = [group for group in domain_dimensions(totals) if len(group) == 1 and group[0] in GAPS]
    answered = totals[totals.groupby("indicator")["n"].transform("sum") > 0]
    found = []
    if grouped and len(answered):
        wave = wave_domains(answered, design_psus, units, calibration_totals, rake, replicate_totals, scheme, grouped)
        found = [indicator_gaps(wave.sampled(names)) for names in indicators_together(answered)]
        for name, weights in (indices or {}).items():
            found.append(indicator_gaps(index_domains(wave.sampled(list(weights)), name, weights)[0]))
    if not found:
        return conform(pd.DataFrame(columns=TABLES["subgroup_gaps"].names), "subgroup_gaps")
    gaps = pd.concat(found, ignore_index=True)
    gaps.insert(0, "wave", totals["wave"].iloc[0])
    return conform(gap_verdicts(gaps).sort_values([*_UNIT, "gap"]), "subgroup_gaps")
