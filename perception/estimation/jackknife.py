"""The stratified jackknife from sums of PSUs: what any sums would be without each PSU in turn, without reading a row.

What is worked out from the sums (a covariance, a regression) belongs to who uses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.estimation.design import Design
from perception.estimation.replicates import Scheme, grouped_sums

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOut:
    """Sums without one PSU each (`sums`, r x ...), its row in `design.psus` (`rows`, r), what it counts (`rscales`)."""

    rows: NDArray[np.intp]
    sums: Floats
    rscales: Floats

    @property
    def scheme(self) -> Scheme:
        """How the spread of what is worked out from `sums`, about what the whole sample gives, makes a variance."""
        return Scheme(1.0, self.rscales, mse=True)


def psu_cross_products(values: Floats, weights: Floats, psu_rows: NDArray[np.intp], psus: int) -> Floats:
    """Weighted cross-products of (1, `values`) within each PSU: psus x (p + 1) x (p + 1) from n x p."""
    columns = np.hstack([np.ones((len(values), 1)), values])
    return np.stack([grouped_sums(psu_rows, psus, weights * column, columns) for column in columns.T], axis=1)


def left_out(sums: Floats, design: Design) -> LeftOut:
    """What the totals of `sums` (n_psus x ..., rows as `design.psus`) are without each PSU in turn.

    The other PSUs of the stratum stand in for the one left out, and its deviation counts (1 - f) (n - 1) / n in the
    variance (Wolter 2007, section 4.5). PSUs without a row count too; those alone in their stratum stand in for each
    other, and a single one of these is never left out.
    """
    stratum = design.stratum_codes.copy()
    sizes = np.bincount(stratum)
    stratum[sizes[stratum] == 1] = len(sizes)
    sizes = np.bincount(stratum)[stratum]
    flat = sums.reshape(len(sums), -1)
    of_strata = grouped_sums(stratum, stratum.max() + 1, np.ones(len(stratum)), flat)
    rows = np.flatnonzero(sizes > 1)
    size = sizes[rows, None]
    without = flat.sum(axis=0) - (size * flat[rows] - of_strata[stratum[rows]]) / (size - 1)
    rscales = design.unsampled[design.stratum_codes[rows]] * (sizes[rows] - 1) / sizes[rows]
    return LeftOut(rows, without.reshape(-1, *sums.shape[1:]), rscales)
