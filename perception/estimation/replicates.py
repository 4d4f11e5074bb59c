"""Variances from replicate weights that the producer supplies: BRR, Fay, jackknife, bootstrap.

Weights are replicated by the producer, who knows the design and the calibration; here their estimates are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from perception.estimation.totals import CELL, indicator_quantity
from perception.intake.declarations import REPLICATE_PREFIX
from perception.intake.instrument import Instrument
from perception.intake.wave_file import Replicates, Wave
from perception.schemas import TABLES, conform

BACKGROUND_CELL = [name for name in CELL if name not in ("stratum", "psu")]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Scheme:
    """How the spread over replicates makes a variance: V = scale sum_r rscales_r (theta_r - centre)^2.

    The centre is the mean of the replicates that count (rscales above zero), or the full-sample estimate with `mse`.
    """

    scale: float
    rscales: Numbers
    mse: bool = False

    @property
    def count(self) -> int:
        """Number of replicates."""
        return len(self.rscales)

    def covariance(self, thetas: ArrayLike, estimates: ArrayLike) -> Numbers:
        """Covariance (k x k) of `estimates` (k) from `thetas` (replicates x k), null where a replicate has none."""
        apart = self.deviations(thetas, estimates)
        return np.asarray(self.scale * (apart.T * self.rscales) @ apart, dtype=np.float64)

    def variances(self, thetas: ArrayLike, estimates: ArrayLike) -> Numbers:
        """Diagonal of `covariance` (k), without forming the whole matrix."""
        return self.spread(self.deviations(thetas, estimates))

    def spread(self, deviations: Numbers) -> Numbers:
        """Variances (k) from `deviations` (replicates x k), or combinations of them."""
        return np.asarray(self.scale * self.rscales @ deviations**2, dtype=np.float64)

    def deviations(self, thetas: ArrayLike, estimates: ArrayLike) -> Numbers:
        """How far `thetas` (replicates x k) are from the centre."""
        values = np.asarray(thetas, dtype=np.float64)
        centre = np.asarray(estimates, dtype=np.float64) if self.mse else values[self.rscales > 0].mean(axis=0)
        return values - centre


@dataclass(frozen=True)
class ReplicateSums:
    """Sums of w x and w y of each domain (rows of `domains`: indicator, level, unit_id, domain) by replicate."""

    scheme: Scheme
    domains: pd.DataFrame
    wx: Numbers
    wy: Numbers

    def ratios(self, rows: pd.DataFrame) -> Numbers:
        """Ratio of every replicate (replicates x rows) in the domains of `rows`, which has the columns of `domains`.

        Null where a replicate has no weight in the domain: it says nothing of its variance. KeyError when a domain has
        no sums.
        """
        key = list(self.domains.columns)
        places = pd.MultiIndex.from_frame(self.domains).get_indexer(pd.MultiIndex.from_frame(rows[key].astype("str")))
        if (places < 0).any():
            raise KeyError(f"domains without replicate sums: {rows.loc[places < 0, key].head(3).to_dict('records')}")
        wx, wy = self.wx[places].T, self.wy[places].T
        ratios: Numbers = np.divide(wy, wx, out=np.full(wx.shape, np.nan), where=wx != 0)
        return ratios

    def covariance(self, rows: pd.DataFrame, estimates: ArrayLike) -> Numbers:
        """Covariance of the `estimates` of the domains in `rows`."""
        return self.scheme.covariance(self.ratios(rows), estimates)

    def deviations(self, rows: pd.DataFrame, estimates: ArrayLike) -> Numbers:
        """How far every replicate's estimates of the domains in `rows` are from the centre (replicates x rows)."""
        return self.scheme.deviations(self.ratios(rows), estimates)


def replicate_scheme(declared: Replicates, count: int) -> Scheme:
    """The scheme that wave.yml declares for `count` replicates.

    What it leaves out follows from the type as in R survey's svrepdesign (Wolter 2007, chapters 3 to 5; Fay 1989).
    """
    natural = {
        "brr": 1 / count,
        "fay": 1 / (count * (1 - (declared.rho or 0.0)) ** 2),
        "jk1": (count - 1) / count,
        "jkn": 1.0,
        "bootstrap": 1 / (count - 1),
    }
    scale = natural[declared.type] if declared.scale is None else declared.scale
    rscales = np.asarray(declared.rscales or [1.0] * count, dtype=np.float64)
    return Scheme(scale, rscales, declared.mse)


def replicate_factors(wave: Wave, columns: list[str]) -> pd.DataFrame:
    """Table `replicate_factors` of a wave whose `responses` have `columns`; empty without replicate weights."""
    if wave.design.replicates is None:
        return conform(pd.DataFrame(columns=TABLES["replicate_factors"].names), "replicate_factors")
    scheme = replicate_scheme(wave.design.replicates, len(replicate_columns(columns)))
    table = pd.DataFrame({"replicate": range(1, scheme.count + 1), "factor": scheme.scale * scheme.rscales})
    return conform(table.assign(wave=wave.id, mse=scheme.mse), "replicate_factors")


def scheme_of(factors: pd.DataFrame) -> Scheme | None:
    """The scheme that a table `replicate_factors` describes; None when it is empty."""
    if factors.empty:
        return None
    ordered = factors.sort_values("replicate")
    return Scheme(1.0, ordered["factor"].to_numpy(float), bool(ordered["mse"].iloc[0]))


def replicate_columns(columns: list[str]) -> list[str]:
    """The columns of `responses` with replicate weights, in order."""
    return [name for name in columns if name.startswith(REPLICATE_PREFIX)]


def replicate_totals(responses: Path, wave: Wave, instrument: Instrument) -> pd.DataFrame:
    """Table `replicate_totals` of a wave, from its responses as a Parquet file; empty without replicate weights.

    One row per indicator and cell of background with a valid answer, and for each replicate r of R the columns wx_r and
    wy_r. No PSU: a replicate's estimate of a domain needs the sums of its cells alone.
    """
    if wave.design.replicates is None:
        return conform(pd.DataFrame(columns=TABLES["replicate_totals"].names), "replicate_totals")
    with duckdb.connect() as connection:
        relation = connection.read_parquet(str(responses))
        weight_names = replicate_columns(relation.columns)
        indicators = {
            name: indicator
            for name, indicator in instrument.available_indicators(relation.columns).items()
            if indicator.kind != "quantile"
        }
        values = {}
        for name, indicator in indicators.items():
            quantity = indicator_quantity(indicator)
            values[f"y:{name}"] = nw.when(quantity.is_valid).then(quantity.y.cast(nw.Float64)).otherwise(nw.lit(None))
        table = nw.from_native(relation).select(*BACKGROUND_CELL, *weight_names, **values)
        frame: pd.DataFrame = table.collect("pandas").to_native()
    weights = frame[weight_names].to_numpy(float)
    cell = frame.groupby(BACKGROUND_CELL, dropna=False, observed=True).ngroup().to_numpy()
    cells = frame[BACKGROUND_CELL].assign(cell=cell).drop_duplicates("cell").sort_values("cell", ignore_index=True)
    columns = [f"{kind}_{number}" for kind in ("wx", "wy") for number in range(1, len(weight_names) + 1)]
    parts = []
    for name in indicators:
        y = frame[f"y:{name}"].to_numpy(float, na_value=np.nan)
        valid = np.flatnonzero(~np.isnan(y))
        there, code = np.unique(cell[valid], return_inverse=True)
        sums = [grouped_sums(code, len(there), ones, weights[valid]) for ones in (np.ones(len(valid)), y[valid])]
        part = cells.iloc[there][BACKGROUND_CELL].reset_index(drop=True).assign(wave=wave.id, indicator=name)
        parts.append(pd.concat([part, pd.DataFrame(np.hstack(sums), columns=columns)], axis="columns"))
    return conform(pd.concat(parts, ignore_index=True), "replicate_totals")


def grouped_sums(codes: NDArray[np.intp], groups: int, factors: Numbers, weights: Numbers) -> Numbers:
    """Sums of factor times weight within groups (groups x replicates); rows whose code is negative are in none."""
    known = np.flatnonzero(codes >= 0)
    membership = sparse.csr_array((factors[known], (codes[known], known)), shape=(groups, len(codes)))
    return np.asarray(membership @ weights, dtype=np.float64)
