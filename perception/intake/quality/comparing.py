"""The statistics that checks share: enumerators against others, similarity within groups, polychoric correlation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake.quality.evidence import Floats, Groups, Mask

FEWEST = 5
"""Groups from which one can be compared with the others."""


def against_others(values: Floats, groups: Groups, deviations: float) -> pd.DataFrame:
    """Each group's mean of an interview's value and the limit set by all other groups.

    The limit is their mean plus `deviations` of their standard deviation, to which the group's own sampling error is
    added, so that a few interviews prove little. Leaving the group out keeps it from raising its own limit (with ten
    groups none can be three deviations from a mean that it is part of). Index: group; columns n, mean, limit.
    """
    valid = ~np.isnan(values) & (groups.codes >= 0)
    held = Groups(np.where(valid, groups.codes, -1), groups.names)
    n, filled = held.sums(), np.where(valid, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = held.sums(filled) / n
        within = np.nansum((filled - held.of(mean))[valid] ** 2) / max(valid.sum() - (n > 0).sum(), 1)
        there = n > 0
        count, total, squares = there.sum(), mean[there].sum(), (mean[there] ** 2).sum()
        others = (total - mean) / (count - 1)
        spread = np.maximum((squares - mean**2) / (count - 1) - others**2, 0)
        limit = others + deviations * np.sqrt(spread + within / n)
    if count < FEWEST:
        limit[:] = np.nan
    return pd.DataFrame({"n": n, "mean": mean, "limit": limit}, index=groups.names)[there]


class Expected(NamedTuple):
    """Of each enumerator: yeses counted and expected, and how many standard deviations lie between."""

    observed: Floats
    expected: Floats
    z: Floats


def adjusted_for_place(yes: Floats, tries: Floats, enumerators: Groups, psus: Groups, strata: Groups) -> Expected:
    """Yeses of each enumerator against those that others got in the same places.

    `yes` of `tries` questions were answered yes in an interview. What to expect in a PSU is the share among the other
    enumerators' interviews there, drawn towards theirs in the stratum and in the wave where these are few. The
    variance is that of chance, widened to what is seen between PSUs.
    """
    known = enumerators.codes >= 0
    e = Groups(np.where(known, enumerators.codes, -1), enumerators.names)
    everything, tried = yes[known].sum(), tries[known].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (everything - e.of(e.sums(yes))) / (tried - e.of(e.sums(tries)))
        for place, prior in ((strata, 40.0), (psus, 20.0)):
            cell = _pairs(e, place)
            others_yes = place.of(place.sums(np.where(known, yes, 0))) - cell.of(cell.sums(yes))
            others_tries = place.of(place.sums(np.where(known, tries, 0))) - cell.of(cell.sums(tries))
            share = (others_yes + prior * share) / (others_tries + prior)
    share = np.nan_to_num(share)
    cell, chance = _pairs(e, psus), e.sums(tries * share * (1 - share))
    squares = e.sums(cell.of(cell.sums(yes - tries * share) ** 2 / np.maximum(cell.sums(), 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        # How much wider than chance PSUs scatter, judged on the other enumerators.
        wide = np.maximum((squares.sum() - squares) / (chance.sum() - chance), 1)
        z = (e.sums(yes) - e.sums(tries * share)) / np.sqrt(wide * chance)
    return Expected(e.sums(yes), e.sums(tries * share), np.nan_to_num(z))


def _pairs(first: Groups, second: Groups) -> Groups:
    """Rows by both groupings at once, without names."""
    both = first.codes.astype(np.int64) * max(len(second.names), 1) + second.codes
    known = (first.codes >= 0) & (second.codes >= 0)
    codes = np.full(len(both), -1, dtype=np.intp)
    numbers, kept = pd.factorize(both[known])
    codes[known] = numbers
    return Groups(codes, [""] * len(kept))


class Similarity(NamedTuple):
    """Share of the variance within strata that lies between enumerators, and its standard error."""

    icc: float
    se: float


@dataclass(frozen=True)
class Nesting:
    """Interviews by stratum, and within each by enumerator, by PSU and by both, with the stratum of each such group."""

    strata: Groups
    parts: tuple[Groups, Groups, Groups, Groups]
    homes: tuple[Groups, Groups, Groups, Groups]


def nesting(enumerators: Groups, psus: Groups, strata: Groups) -> Nesting:
    """The groups that `enumerator_similarity` needs, the same for every question."""
    known = (enumerators.codes >= 0) & (psus.codes >= 0) & (strata.codes >= 0)
    inside = Groups(np.where(known, strata.codes, -1), strata.names)
    own, local = _pairs(enumerators, inside), _pairs(psus, inside)
    parts = inside, own, local, _pairs(own, local)
    homes = []
    for part in parts:
        home = np.full(len(part.names), -1, dtype=np.intp)
        home[part.codes[known]] = strata.codes[known]
        homes.append(Groups(home, strata.names))
    return Nesting(inside, parts, (homes[0], homes[1], homes[2], homes[3]))


def enumerator_similarity(values: Floats, nested: Nesting) -> Similarity:
    """How much alike the answers are that one enumerator got, beyond what the place explains; NaN when one cannot tell.

    In each stratum, half the mean squared difference between answers that different enumerators got in different PSUs
    exceeds that between answers that one enumerator got in different PSUs by the variance between enumerators. Where
    enumerators keep to one PSU, pairs within PSUs are taken instead.
    """
    valid = ~np.isnan(values)
    y = np.where(valid, values, 0)
    whole, own, local, both = (
        _pair_differences(y, valid, *pair) for pair in zip(nested.parts, nested.homes, strict=True)
    )
    for alike, unlike in ((own - both, whole - own - local + both), (both, local - both)):
        (same, n_same), (different, n_different) = alike, unlike
        usable = (n_same > 0) & (n_different > 0)
        if usable.any():
            break
    variance = (whole[0].sum() / whole[1].sum()) if whole[1].sum() else 0.0
    if not usable.any() or variance <= 0:
        return Similarity(np.nan, np.nan)
    n_same, n_different = n_same[usable], n_different[usable]
    surplus = different[usable] / n_different - same[usable] / n_same
    weight = n_same * n_different / (n_same + n_different)
    mean = np.sum(weight * surplus) / weight.sum()
    between = np.sqrt(np.sum((weight * (surplus - mean)) ** 2)) / weight.sum()
    chance = variance * np.sqrt(2 / n_same.sum())  # of so many pairs, were there no similarity at all
    return Similarity(float(mean / variance), float(max(between, chance) / variance))


def _pair_differences(y: Floats, valid: Mask, part: Groups, home: Groups) -> Floats:
    """Of each stratum: half the sum of squared differences over ordered pairs within its groups, and their number."""
    n = part.sums(valid)
    return np.array([home.sums(n * part.sums(y**2) - part.sums(y) ** 2), home.sums(n**2 - n)])


class Correlation(NamedTuple):
    """Polychoric correlation, its standard error, and the number of pairs."""

    rho: float
    se: float
    n: int


def polychoric(table: NDArray[np.int64]) -> Correlation:
    """Correlation of the two normal quantities that two ordinal questions cut into categories.

    `table` counts the answers of one (rows) by the other (columns). Two steps (Olsson 1979): cut points from the
    margins, then the correlation by maximum likelihood; the standard error is from the curvature there (at the bounds
    that of a plain correlation). NaN when a question has one category only.
    """
    from scipy.special import ndtri

    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n = int(table.sum())
    if min(table.shape, default=0) < 2:
        return Correlation(np.nan, np.nan, n)
    rows, columns = (np.append(ndtri(np.cumsum(table.sum(axis=axis))[:-1] / n), np.inf) for axis in (1, 0))

    def surprise(rho: float) -> float:
        return -float((table * np.log(np.maximum(_cells(rows, columns, rho), 1e-12))).sum())

    rho, step = _lowest(surprise, -0.995, 0.995), 1e-3
    curvature = (surprise(rho + step) - 2 * surprise(rho) + surprise(rho - step)) / step**2
    error = 1 / np.sqrt(curvature) if curvature > 0 else (1 - rho**2) / np.sqrt(n)
    return Correlation(rho, float(error), n)


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden sections, to 1e-5."""
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-5:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def _cells(rows: Floats, columns: Floats, rho: float) -> Floats:
    """Probability of each cell between the cut points of two standard normals with correlation `rho`."""
    below = np.pad(_below(rows, columns, rho), ((1, 0), (1, 0)))
    return np.asarray(np.diff(np.diff(below, axis=0), axis=1), dtype=np.float64)


def _below(h: Floats, k: Floats, rho: float) -> Floats:
    """P(X <= h, Y <= k) for all pairs, by quadrature over the arcsine of rho (Drezner, Wesolowsky 1990)."""
    from scipy.special import ndtr

    h, k = np.minimum(h, 38.0)[:, None, None], np.minimum(k, 38.0)[None, :, None]
    angle = np.arcsin(rho) * (_NODES + 1) / 2
    integrand = np.exp(-(h**2 - 2 * h * k * np.sin(angle) + k**2) / (2 * np.cos(angle) ** 2))
    integral = (integrand * _NODE_WEIGHTS).sum(axis=2) * np.arcsin(rho) / 2
    return np.asarray((ndtr(h) * ndtr(k))[:, :, 0] + integral / (2 * np.pi), dtype=np.float64)
