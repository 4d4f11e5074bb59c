"""Confidence sets for ranks from estimates and their covariance: what may be said of the order of units."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ranks = NDArray[np.intp]
BLOCK = 1 << 19
"""Numbers held at once while differences of draws are looked at."""


def certain_differences(
    estimate: ArrayLike, covariance: ArrayLike, confidence: float, draws: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which units lie certainly above which: p x p, true where the row's unit lies above the column's.

    `estimate` (p) and `covariance` (p x p), in any unit. All statements hold together with `confidence`: the statistics
    (x_j - x_k) / s_jk are compared with the quantile of their maximum under equality, first of all pairs and then, step
    by step, of those not yet decided (Mogstad, Romano, Shaikh and Wilhelm 2024, Romano and Wolf 2005). Two units whose
    difference has no variance differ certainly where it is not zero.
    """
    x, sigma = np.asarray(estimate, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    variance = np.diag(sigma)
    spread = np.sqrt(np.maximum(variance[:, None] + variance - 2 * sigma, 0.0))
    difference = x[:, None] - x
    above: NDArray[np.bool_] = (spread == 0) & (difference > 0)
    first, second = np.nonzero(np.triu(spread > 0))
    if not len(first):
        return above
    scale = 1 / spread[first, second]
    statistic = np.stack([difference[first, second] * scale, difference[second, first] * scale])
    values, vectors = np.linalg.eigh(sigma)
    noise = (vectors * np.sqrt(np.maximum(values, 0))) @ rng.standard_normal((len(x), draws))
    open_pairs = np.ones(statistic.shape, dtype=bool)  # each pair both ways round
    while open_pairs.any():
        highest = _highest(noise.astype(np.float32), first, second, scale.astype(np.float32), open_pairs)
        decided = open_pairs & (statistic > np.quantile(highest, confidence))
        if not decided.any():
            break
        open_pairs &= ~decided
    above[first[~open_pairs[0]], second[~open_pairs[0]]] = True
    above[second[~open_pairs[1]], first[~open_pairs[1]]] = True
    return above


def _highest(
    noise: NDArray[np.float32], first: Ranks, second: Ranks, scale: NDArray[np.float32], open_pairs: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The largest scaled difference of each draw (noise is units x draws) over the pairs, each way round if open."""
    highest = np.full(noise.shape[1], -np.inf, dtype=np.float32)
    size = max(BLOCK // noise.shape[1], 1)
    for start in range(0, len(first), size):
        part = slice(start, start + size)
        values = (noise[first[part]] - noise[second[part]]) * scale[part, None]
        forth, back = open_pairs[:, part]
        for ways, found in ((forth & back, np.abs(values)), (forth & ~back, values), (back & ~forth, -values)):
            if ways.any():
                np.maximum(highest, found[ways].max(axis=0), out=highest)
    return highest


def rank_sets(above: ArrayLike) -> tuple[Ranks, Ranks]:
    """First and last rank that each unit may hold, rank 1 the lowest, where `above` (p x p) is what is certain."""
    certain = np.asarray(above, dtype=bool)
    return 1 + certain.sum(axis=1), len(certain) - certain.sum(axis=0)
