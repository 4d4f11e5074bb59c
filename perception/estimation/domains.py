"""Direct design-based estimates of every unit and domain, from PSU totals alone (METHODS: linearised ratio estimator).

No respondent is read here, and nothing is withheld: that is `publication`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from perception.estimation.design import Design, design_from_psus
from perception.estimation.intervals import intervals
from perception.schemas import conform

UNIT_COLUMNS = {"district": "district_id", "division": "division_id", "province": "province_id", "all": None}
DOMAIN_DIMENSIONS: tuple[tuple[str, ...], ...] = ((), ("sex",), ("urban",), ("age_group",), ("sex", "urban"))
_SUMMED = [
    "n",
    "n_positive",
    "n_dont_know",
    "n_refused",
    "sum_w",
    "sum_w2",
    "sum_wx",
    "sum_wy",
    "sum_wx2",
    "sum_wxy",
    "sum_wy2",
]
_DOMAIN_KEY = ["indicator", "level", "unit_id", "domain"]


def domain_cells(totals: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """PSU totals summed to every level, unit and domain: one row per indicator, level, unit_id, domain and psu.

    `units` gives division_id and province_id of each district_id. A dimension in which a wave has fewer than two
    categories makes no domains.
    """
    placed = totals.merge(
        units[["district_id", "division_id", "province_id"]], on="district_id", how="left", validate="m:1"
    )
    parts = []
    for dimensions in DOMAIN_DIMENSIONS:
        if any(placed[dimension].nunique() < 2 for dimension in dimensions):
            continue
        known = placed.dropna(subset=list(dimensions))
        labels = [dimension + "=" + known[dimension] for dimension in dimensions]
        domain = reduce(lambda text, label: text + "," + label, labels) if labels else "all"
        for level, column in UNIT_COLUMNS.items():
            unit = known[column] if column else "all"
            part = known.assign(level=level, unit_id=unit, domain=domain)
            parts.append(part.groupby([*_DOMAIN_KEY, "psu"], observed=True, sort=False)[_SUMMED].sum().reset_index())
    return pd.concat(parts, ignore_index=True)


def _scores(cells: pd.DataFrame, design: Design) -> tuple[pd.DataFrame, Any, pd.DataFrame]:
    """Domain sums, the sparse PSU x domain matrix of linearised scores, and the cells with their domain number."""
    psu_rows = pd.Series(range(len(design.psus)), index=design.psus["psu"])
    cells = cells.assign(
        domain_number=cells.groupby(_DOMAIN_KEY, sort=False).ngroup(), psu_row=psu_rows.reindex(cells["psu"]).to_numpy()
    )
    if cells["psu_row"].isna().any():
        raise KeyError(
            f"PSUs that the design does not list: {cells.loc[cells['psu_row'].isna(), 'psu'].unique()[:5].tolist()}"
        )
    grouped = cells.groupby("domain_number")
    sums = grouped[_SUMMED].sum()
    sums[_DOMAIN_KEY] = grouped[_DOMAIN_KEY].first()
    ratio = (sums["sum_wy"] / sums["sum_wx"]).to_numpy()
    number = cells["domain_number"].to_numpy()
    linearised = (cells["sum_wy"].to_numpy() - ratio[number] * cells["sum_wx"].to_numpy()) / sums["sum_wx"].to_numpy()[
        number
    ]
    return sums, _matrix(linearised, cells, design, len(sums)), cells


def _matrix(values: NDArray[np.float64], cells: pd.DataFrame, design: Design, columns: int) -> Any:
    return sparse.csc_array(
        (values, (cells["psu_row"].astype(int), cells["domain_number"])), shape=(len(design.psus), columns)
    )


def domain_covariance(cells: pd.DataFrame, design: Design) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Ratio estimates of the domains in `cells` and their full covariance matrix, in one go.

    Returns a frame (indicator, level, unit_id, domain, estimate) of k rows and the k x k covariance, for contrasts.
    """
    sums, scores, _ = _scores(cells, design)
    return sums[_DOMAIN_KEY].assign(estimate=sums["sum_wy"] / sums["sum_wx"]), design.covariance(scores)


def domain_totals(cells: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Weighted totals of y by domain: indicator, level, unit_id, domain, estimate, se (units of y x weight)."""
    sums, _, numbered = _scores(cells, design)
    scores = _matrix(cells["sum_wy"].to_numpy(), numbered, design, len(sums))
    return sums[_DOMAIN_KEY].assign(estimate=sums["sum_wy"], se=np.sqrt(design.variances(scores)))


def domain_estimates(cells: pd.DataFrame, design: Design, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Estimates with SE, interval and sample size of every domain in `cells` that has a valid answer.

    `kinds` says of each indicator whether it is a `share` or a `mean`. deff compares with sampling with replacement
    (R's deff="replace"); it is null where all answers agree, and n_eff is then n over the pooled deff of the indicator
    at that level (over Kish's deff where no unit has one). Sources: Woodruff 1971 (linearisation), Korn and Graubard
    1998 (df, intervals), Kish 1965 (deff).
    """
    sums, scores, numbered = _scores(cells[cells["n"] > 0], design)
    n, w, wx = (sums[name].to_numpy(float) for name in ("n", "sum_w", "sum_wx"))
    estimate = sums["sum_wy"].to_numpy() / wx
    variance = design.variances(scores)

    strata = numbered.assign(stratum=design.stratum_codes[numbered["psu_row"].astype(int)]).groupby("domain_number")
    psus = strata["psu_row"].nunique().to_numpy()
    df = psus - strata["stratum"].nunique().to_numpy()

    residual = sums["sum_wy2"] - 2 * estimate * sums["sum_wxy"] + estimate**2 * sums["sum_wx2"]
    spread = residual.to_numpy() / w * (w / wx) ** 2
    agree = spread <= 1e-12 * np.maximum(1.0, estimate**2)
    variance = np.where(agree, 0.0, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        deff = variance / (spread / (n - 1))
    deff = np.where(agree | (n < 2) | (df < 1) | (variance <= 0), np.nan, deff)

    frame = (
        sums[_DOMAIN_KEY]
        .assign(
            estimate=estimate,
            se=np.where(df < 1, np.nan, np.sqrt(variance)),
            n=sums["n"],
            n_positive=sums["n_positive"],
            psus=psus,
            df=df,
            deff=deff,
            kish=n * sums["sum_w2"].to_numpy() / w**2,
        )
        .join(_nonresponse(cells), on=_DOMAIN_KEY)
    )
    # Where not one cell of the indicator varies there is no pooled deff either; unequal weights still cost something.
    frame["n_eff"] = n / frame["deff"].fillna(_pooled_deff(frame)).fillna(frame["kish"]).to_numpy()
    frame["cv"] = (frame["se"] / frame["estimate"].abs()).where(frame["estimate"] != 0)
    share = (frame["indicator"].map(dict(kinds)) == "share").to_numpy()
    return frame.join(intervals(frame, share))


def _pooled_deff(frame: pd.DataFrame) -> pd.Series:
    """Pooled deff of each row's indicator and level: sum of n over sum of n_eff where deff is known.

    n_eff counts at most as n: one cell whose PSUs happen to agree (deff near 0) would else outweigh all the others.
    """
    known = frame[frame["deff"].notna()]
    capped = known.assign(n_eff=known["n"] / known["deff"].clip(lower=1.0))
    sizes = capped.groupby(["indicator", "level"])[["n", "n_eff"]].sum()
    pooled = (sizes["n"] / sizes["n_eff"]).astype("float64").rename("pooled")
    return frame.join(pooled, on=["indicator", "level"])["pooled"]


def _nonresponse(cells: pd.DataFrame) -> pd.DataFrame:
    counts = cells.groupby(_DOMAIN_KEY, sort=False)[["n", "n_dont_know", "n_refused"]].sum()
    asked = counts.sum(axis=1)
    return pd.DataFrame(
        {"dont_know_share": counts["n_dont_know"] / asked, "refused_share": counts["n_refused"] / asked}
    )


def district_estimates(
    totals: pd.DataFrame, design_psus: pd.DataFrame, units: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    """Table `district_estimates` of one wave, from `psu_totals`, `design_psus`, its districts and `indicators`."""
    kinds = dict(zip(indicators["indicator"], indicators["kind"], strict=True))
    estimates = domain_estimates(domain_cells(totals, units), design_from_psus(design_psus), kinds)
    estimates.insert(0, "wave", totals["wave"].iloc[0])
    return conform(estimates.sort_values(_DOMAIN_KEY), "district_estimates")
