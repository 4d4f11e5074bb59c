"""Linear combinations of estimates, such as the difference of two domains, with the covariance between them.

What is compared, and how many comparisons are judged together, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from perception.estimation.intervals import CONFIDENCE, t_interval


def contrasts(
    estimates: ArrayLike,
    covariance: ArrayLike,
    coefficients: ArrayLike,
    df: ArrayLike,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Estimate, se, low, high and df of `coefficients` (m x k) times `estimates` (k), with their `covariance` (k x k).

    V = C S C' (R survey's svycontrast), t intervals with `df` degrees of freedom (one for all, or m). Without a degree
    of freedom se, low and high are null. ValueError when the shapes do not fit.
    """
    values, matrix = np.asarray(estimates, dtype=np.float64), np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
    spread = np.asarray(covariance, dtype=np.float64)
    if matrix.shape[1] != len(values) or spread.shape != (len(values), len(values)):
        raise ValueError(f"{matrix.shape} coefficients and {spread.shape} covariances of {len(values)} estimates")
    degrees = np.broadcast_to(np.asarray(df, dtype=np.float64), len(matrix))
    degrees = np.where(degrees < 1, np.nan, degrees)
    combined = matrix @ values
    variance = np.maximum(np.einsum("mk,kl,ml->m", matrix, spread, matrix), 0.0)
    se = np.where(np.isnan(degrees), np.nan, np.sqrt(variance))
    low, high = t_interval(combined, se, degrees, confidence)
    return pd.DataFrame({"estimate": combined, "se": se, "low": low, "high": high, "df": degrees})


def difference_matrix(
    rows: pd.DataFrame, pairs: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]
) -> NDArray[np.float64]:
    """Coefficients (pairs x rows) of the first less the second of each pair.

    `rows` are those of `domains.domain_covariance`; each side of a pair names one row by values of its columns, such as
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
