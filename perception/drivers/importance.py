"""How much of an outcome's variance each driver accounts for, however they are correlated, with jackknife intervals.

A share of explained variance says how much hangs together with a driver, not what would happen if it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from perception.errors import InputError, Problem
from perception.estimation.design import Design
from perception.estimation.intervals import t_interval
from perception.estimation.jackknife import left_out, psu_cross_products
from perception.estimation.replicates import Scheme, grouped_sums

Floats = NDArray[np.float64]
MOST_DRIVERS = 14
"""Every subset of the drivers is looked at: 16,384 of 14."""


def lmg_shares(covariance: ArrayLike, groups: Sequence[Sequence[int]]) -> Floats:
    """Share of the outcome's variance that each group of columns explains, averaged over all orders of the groups.

    `covariance` (... x p x p) has the outcome first; `groups` (g) lists the columns of each driver, several for a
    categorical one. Returns ... x g; the shares sum to R^2. Sources: Lindeman, Merenda and Gold 1980, Groemping 2007.
    ValueError for more than 14 groups.
    """
    whole = np.asarray(covariance, dtype=np.float64)
    count = len(groups)
    if count > MOST_DRIVERS:
        raise ValueError(f"{count} drivers are too many: at most {MOST_DRIVERS}")
    explained = np.zeros((1 << count, *whole.shape[:-2]))

    def look(rest: Floats, mask: int, first: int) -> None:
        explained[mask] = 1 - rest[..., 0, 0] / whole[..., 0, 0]
        for place in range(first, count):
            look(_swept(rest, groups[place]), mask | 1 << place, place + 1)

    look(whole, 0, 0)
    masks = np.arange(1 << count)
    sizes = np.array([int(mask).bit_count() for mask in masks])
    shares = np.zeros((*whole.shape[:-2], count))
    for place in range(count):
        without = masks[masks & (1 << place) == 0]
        weight = np.array([factorial(size) * factorial(count - size - 1) / factorial(count) for size in sizes[without]])
        gains = explained[without | 1 << place] - explained[without]
        shares[..., place] = np.tensordot(weight, gains, axes=1)
    return shares


def _swept(covariance: Floats, columns: Sequence[int]) -> Floats:
    """The covariance of what `columns` do not explain (zero in those columns)."""
    part = covariance[..., list(columns)]
    inner = part[..., list(columns), :]
    return covariance - part @ np.linalg.solve(inner, np.swapaxes(part, -1, -2))


def johnson_shares(covariance: ArrayLike, groups: Sequence[Sequence[int]]) -> Floats:
    """Johnson's (2000) relative weights, from the orthogonal columns nearest to the drivers; shapes as `lmg_shares`."""
    whole = np.asarray(covariance, dtype=np.float64)
    spread = np.sqrt(np.diagonal(whole, axis1=-2, axis2=-1))
    correlation = whole / (spread[..., :, None] * spread[..., None, :])
    among, with_outcome = correlation[..., 1:, 1:], correlation[..., 1:, 0]
    values, vectors = np.linalg.eigh(among)
    root = (vectors * np.sqrt(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    slopes = np.linalg.solve(root, with_outcome[..., None])[..., 0]
    weights = (root**2 @ (slopes**2)[..., None])[..., 0]
    return np.stack([weights[..., [column - 1 for column in group]].sum(axis=-1) for group in groups], axis=-1)


def jackknife_covariances(
    values: Floats, weights: Floats, psu_rows: NDArray[np.intp], design: Design
) -> tuple[Floats, Floats, Scheme]:
    """Weighted covariance of `values` (n x p), the same with each PSU left out in turn, and the scheme of variances.

    The jackknife is that of `estimation.jackknife`.
    """
    products = psu_cross_products(values, weights, psu_rows, len(design.psus))
    without = left_out(products, design)
    return _covariance(products.sum(axis=0)), _covariance(without.sums), without.scheme


def _covariance(products: Floats) -> Floats:
    """From cross-products of (1, values)."""
    moments = products / products[..., :1, :1]
    mean = moments[..., 0, 1:]
    return np.asarray(moments[..., 1:, 1:] - mean[..., :, None] * mean[..., None, :])


def importance(
    outcome: ArrayLike,
    drivers: Mapping[str, ArrayLike],
    controls: ArrayLike,
    *,
    weights: ArrayLike,
    psu_rows: NDArray[np.intp],
    design: Design,
    where: str = "driver model",
) -> pd.DataFrame:
    """Importance of each driver for the `outcome` (n) beyond the `controls` (n x c, without a constant; c may be 0).

    `drivers` gives the column (n) or columns (n x b) of each; `psu_rows` are the rows of `design.psus` of each answer.
    Returns driver, importance (LMG share of the variance that controls leave), se, low, high (95 %, jackknife over
    PSUs, t on the design's degrees of freedom, ends within 0 and 1), share (of what all drivers explain together) with
    share_low and share_high, and johnson (cross-check). InputError for more than 14 drivers.
    """
    if len(drivers) > MOST_DRIVERS:
        what = f"{len(drivers)} drivers, of which every combination would have to be looked at"
        raise InputError([Problem(where, what, f"Keep at most {MOST_DRIVERS}, and declare the others as controls.")])
    blocks = [np.asarray(values, dtype=np.float64).reshape(len(np.asarray(values)), -1) for values in drivers.values()]
    held = np.asarray(controls, dtype=np.float64)
    columns = np.hstack([np.asarray(outcome, dtype=np.float64)[:, None], *blocks, held])
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    groups = [list(range(start, end)) for start, end in pairwise(ends)]
    full, without, scheme = jackknife_covariances(columns, np.asarray(weights, dtype=np.float64), psu_rows, design)
    whole = np.concatenate([full[None], without])
    if held.shape[1]:
        whole = _swept(whole, range(ends[-1], columns.shape[1]))
    whole = whole[:, : ends[-1], : ends[-1]]
    shares = lmg_shares(whole, groups)
    relative = shares / shares.sum(axis=1, keepdims=True)
    used = np.unique(psu_rows)
    df = len(used) - len(np.unique(design.stratum_codes[used]))
    reach = special.stdtrit(df, 0.975)
    se, se_relative = (np.sqrt(scheme.variances(values[1:], values[0])) for values in (shares, relative))
    return pd.DataFrame(
        {
            "driver": list(drivers),
            "importance": shares[0],
            "se": se,
            "low": np.clip(shares[0] - reach * se, 0, 1),
            "high": np.clip(shares[0] + reach * se, 0, 1),
            "share": relative[0],
            "share_low": np.clip(relative[0] - reach * se_relative, 0, 1),
            "share_high": np.clip(relative[0] + reach * se_relative, 0, 1),
            "johnson": johnson_shares(whole[0], groups),
        }
    )


def performance(
    places: Mapping[str, ArrayLike], *, weights: Floats, psu_rows: NDArray[np.intp], design: Design
) -> pd.DataFrame:
    """How well each driver does: the weighted mean of its `places` (n, from 0 worst to 1 best) with a 95 % interval.

    Returns driver, performance, performance_low, performance_high; the interval is design-based (t).
    """
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    values = np.column_stack([np.empty((len(share), 0)), *places.values()])
    means = share @ values
    scores = grouped_sums(psu_rows, len(design.psus), share, values - means)
    used = np.unique(psu_rows)
    df = np.full(len(means), float(len(used) - len(np.unique(design.stratum_codes[used]))))
    low, high = t_interval(means, np.sqrt(design.variances(scores)), df)
    return pd.DataFrame(
        {"driver": list(places), "performance": means, "performance_low": low, "performance_high": high}
    ).astype({"driver": "str"})


def quadrants(table: pd.DataFrame) -> pd.Series:
    """The quadrant of each driver by importance and performance against their means over drivers on a scale.

    `table` has share and performance with their ends. `concentrate_here` (matters, does badly), `keep_up` (matters,
    does well), `low_priority`, `possible_overkill`; `cannot_tell` where either interval holds the mean, null without a
    scale. Source: Martilla and James 1977.
    """
    rated = table["performance"].notna()

    def side(name: str) -> Any:
        mean = table.loc[rated, name].mean()
        return np.select([table[f"{name}_low"] > mean, table[f"{name}_high"] < mean], [1, -1], 0)

    matters, does = side("share"), side("performance")
    names = np.select(
        [(matters == 0) | (does == 0), (matters > 0) & (does < 0), matters > 0, does < 0],
        ["cannot_tell", "concentrate_here", "keep_up", "low_priority"],
        "possible_overkill",
    )
    return pd.Series(names, index=table.index, dtype="str").where(rated)
