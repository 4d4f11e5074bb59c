"""How far the effect of a driver differs between districts: deviations from the common effect, shrunk as predicts best.

A district's own sample is too small for effects of its own; to say that they are all alike would be too bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perception.drivers.models import Floats, SurveyModel
from perception.estimation.replicates import grouped_sums

FOLDS = 5
COMMON_SPREADS = (0.1, 0.2, 0.4)
"""Standard deviations of effects (logit per standard deviation of a column) that a shrunken interaction tries."""
Method = Literal["common", "random_slopes", "shrunken_interaction"]


@dataclass(frozen=True)
class DistrictSlopes:
    """Deviations of districts from a model's intercept and slopes, on the logit scale.

    `method` predicted the answers of PSUs that were left out best. `deviations` (districts x 1 + m) are posterior means
    for the intercept and the m columns, `covariances` (districts x 1 + m x 1 + m) their posterior covariances, `spread`
    (1 + m) the standard deviations between districts; `gain` is the log score won over common effects, per respondent.
    """

    method: Method
    deviations: Floats
    covariances: Floats
    spread: Floats
    gain: float


def district_slopes(
    results: Any, columns: Sequence[int], districts: NDArray[np.intp], rng: np.random.Generator
) -> DistrictSlopes:
    """District deviations of the slopes of `columns` from those of fitted `results`.

    `districts` (n) numbers the district of each row. Deviations are one Newton step from the common fit under a normal
    prior: of its own spread for every column, found by moments (random slopes; DerSimonian and Laird 1986), or of one
    spread for all columns (shrunken interaction), or of none but the intercept's. Which one is decided by the log score
    of PSUs left out, a fifth at a time within each stratum: the common coefficients are those of all rows for every
    candidate, only deviations are found without the rows that they are to predict, and effects are taken to differ only
    if that wins more than its standard error (Breiman, Friedman, Olshen and Stone 1984). The information of a row
    counts as much less as the design costs on average.
    """
    model: SurveyModel = results.model
    values, scale = _standardised(model, columns)
    folds = _folds(model, rng)
    parts = _district_sums(results, values, districts, folds)
    score, information = np.stack([part.score for part in parts]), np.stack([part.information for part in parts])
    whole = _Sums(score.sum(axis=0), information.sum(axis=0))
    candidates: list[tuple[Method, float]] = [("common", 0.0), ("random_slopes", np.nan)]
    candidates += [("shrunken_interaction", spread) for spread in COMMON_SPREADS]
    scores = np.zeros((len(values), len(candidates)))
    for number, candidate in enumerate(candidates):
        for fold, part in enumerate(parts):
            out = folds == fold
            rest = _Sums(whole.score - part.score, whole.information - part.information)
            deviations, _, _ = _posterior(rest, *candidate)
            moved = np.einsum("ij,ij->i", values[out], deviations[districts[out]])
            scores[out, number] = model.log_chances(np.asarray(results.params), out, moved)
    share = model.weights / model.weights.sum()
    gains = share @ (scores - scores[:, :1])
    errors = np.sqrt(model.design.variances(model.psu_sums(share[:, None] * (scores - scores[:, :1] - gains))))
    best = int(np.argmax(gains))
    best = best if gains[best] > errors[best] else 0
    method, gain = candidates[best][0], float(gains[best])
    deviations, covariances, between = _posterior(whole, *candidates[best])
    return DistrictSlopes(method, deviations / scale, covariances / np.outer(scale, scale), between / scale, gain)


@dataclass(frozen=True)
class _Sums:
    """Score (districts x 1 + m) and information (districts x 1 + m x 1 + m) of district deviations."""

    score: Floats
    information: Floats


def _district_sums(results: Any, values: Floats, districts: NDArray[np.intp], folds: NDArray[np.intp]) -> list[_Sums]:
    """The sums of the rows of each fold."""
    model: SurveyModel = results.model
    params = np.asarray(results.params)
    cost = float(np.mean(np.diag(results.cov_params()) / np.diag(np.linalg.inv(-model.hessian(params)))))
    slope, curvature = model.linear_derivatives(params)
    count, width = int(districts.max()) + 1, values.shape[1]
    places = folds * count + districts
    products = (values[:, :, None] * values[:, None, :]).reshape(len(values), -1)
    score = grouped_sums(places, FOLDS * count, slope, values) / cost
    information = grouped_sums(places, FOLDS * count, -curvature, products) / cost
    of_fold = zip(score.reshape(FOLDS, count, width), information.reshape(FOLDS, count, width, width), strict=True)
    return [_Sums(*sums) for sums in of_fold]


def _standardised(model: SurveyModel, columns: Sequence[int]) -> tuple[Floats, Floats]:
    """A constant and the columns about their weighted mean, each over its weighted standard deviation."""
    share = model.weights / model.weights.sum()
    values = model.exog[:, list(columns)]
    centred = values - share @ values
    spread = np.sqrt(share @ centred**2)
    return np.column_stack([np.ones(len(values)), centred / spread]), np.concatenate([[1.0], spread])


def _posterior(sums: _Sums, method: Method, common: float) -> tuple[Floats, Floats, Floats]:
    """Posterior means and covariances of the deviations, and their prior standard deviations."""
    spread = _spread_between(sums)
    if method != "random_slopes":
        spread[1:] = common
    covariance = np.linalg.inv(sums.information + np.diag(1 / np.maximum(spread, 1e-9) ** 2))
    return np.asarray(np.einsum("dij,dj->di", covariance, sums.score)), np.asarray(covariance), spread


def _spread_between(sums: _Sums) -> Floats:
    """Standard deviation between districts of each deviation, from those whose own estimate exists."""
    width = sums.score.shape[1]
    usable = np.array([np.linalg.cond(information) < 1e8 for information in sums.information])
    inverse = np.linalg.inv(sums.information[usable])
    own = np.einsum("dij,dj->di", inverse, sums.score[usable])
    variance = np.einsum("dii->di", inverse)
    if len(own) <= width:
        return np.zeros(width)
    weight = 1 / variance
    total = weight.sum(axis=0)
    mean = (weight * own).sum(axis=0) / total
    heterogeneity = (weight * (own - mean) ** 2).sum(axis=0) - (len(own) - 1)
    scale = total - (weight**2).sum(axis=0) / total
    return np.asarray(np.sqrt(np.maximum(heterogeneity / scale, 0.0)))


def _folds(model: SurveyModel, rng: np.random.Generator) -> NDArray[np.intp]:
    """Fold of each row: the PSUs of a stratum are dealt out in random order."""
    order = rng.permutation(len(model.design.psus))
    stratum = model.design.stratum_codes[order]
    by_stratum = np.argsort(stratum, kind="stable")
    fold = np.empty(len(order), dtype=np.intp)
    fold[order[by_stratum]] = np.arange(len(order)) % FOLDS
    return np.asarray(fold[model.psu_rows], dtype=np.intp)
