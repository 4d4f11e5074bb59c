"""Linear combinations of estimates, such as the difference of two domains, with the covariance between them.

What is compared, and how many comparisons are judged together, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from perception.estimation.domains import SampledDomains
from perception.estimation.intervals import t_interval


@dataclass(frozen=True)
class Contrasts:
    """m linear combinations of domain estimates: `rows` with estimate, variance, psus and df; `scores` is rows x m."""

    rows: pd.DataFrame
    scores: Any


def contrasts(sampled: SampledDomains, coefficients: Any) -> Contrasts:
    """`coefficients` (m x k, sparse or dense) times the k domains, and their variance (squared units of the estimates).

    The same as C S C' with the full covariance S (R survey's svycontrast), which is never formed. df is PSUs less
    strata among PSUs with a valid answer in any domain of the combination (Korn and Graubard 1998). ValueError when
    the shapes do not fit.
    """
    combine = sparse.csr_array(np.atleast_2d(coefficients) if not sparse.issparse(coefficients) else coefficients)
    if combine.shape[1] != len(sampled.domains):
        raise ValueError(f"{combine.shape} coefficients of {len(sampled.domains)} estimates")
    scores = sampled.scores @ combine.T
    psus, df = sampled.degrees_of_freedom(sampled.cases @ abs(combine).T)
    estimate = combine @ sampled.domains["estimate"].to_numpy(float)
    variance, simple = sampled.variances(scores), abs(combine) @ sampled.domains["simple"].to_numpy(float)
    # PSUs that agree leave rounding behind, which must not pass for certainty.
    variance = np.where(variance <= 1e-20 * simple, 0.0, variance)
    return Contrasts(pd.DataFrame({"estimate": estimate, "variance": variance, "psus": psus, "df": df}), scores)


def significance(
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


def differences(first: NDArray[np.intp], second: NDArray[np.intp], count: int) -> Any:
    """Coefficients (pairs x `count`, sparse) of the domains in rows `first` less those in rows `second`."""
    pairs = np.arange(len(first))
    signs = np.repeat([1.0, -1.0], len(first))
    return sparse.csr_array((signs, (np.tile(pairs, 2), np.concatenate([first, second]))), (len(first), count))


def difference_matrix(
    rows: pd.DataFrame, pairs: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]
) -> NDArray[np.float64]:
    """Coefficients (pairs x rows) of the first less the second of each pair.

    `rows` are the `domains` of `SampledDomains`; each side of a pair names one row by values of its columns, such as
    {"domain": "sex=female"}. KeyError when it names none or several.
    """
    matrix = np.zeros((len(pairs), len(rows)))
    for number, (first, second) in enumerate(pairs):
        matrix[number, _place(rows, first)] += 1.0
        matrix[number, _place(rows, second)] -= 1.0
    return matrix


def _place(rows: pd.DataFrame, named: Mapping[str, str]) -> int:
    found = np.flatnonzero(
        np.logical_and.reduce([(rows[column] == value).to_numpy() for column, value in named.items()])
    )
    if len(found) != 1:
        raise KeyError(f"{dict(named)} names {len(found)} estimates, not one")
    return int(found[0])
