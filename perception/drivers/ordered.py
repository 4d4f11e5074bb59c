"""Survey-weighted ordered logit, for answers such as very dissatisfied to very satisfied."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit, logit

from perception.drivers.models import Floats, SurveyModel, SurveyResults
from perception.errors import Problem


class SurveyOrderedLogitResults(SurveyResults):
    """A fitted `SurveyOrderedLogit`; effects are on the probability of a good outcome."""

    def category_effects(self) -> pd.DataFrame:
        """Average marginal effects of each column on the probability of each category of the outcome.

        Index (column, category); effect (probability per unit of the column), delta-method se, low, high (95 %), p. The
        effects of a column sum to 0.
        """
        model = self.model
        columns, size = model.exog.shape[1], len(self.params)
        above = [(np.zeros(columns), np.zeros((columns, size)))]
        above += [self.derivatives(model.rows_above(model.exog, t)) for t in range(len(model.categories) - 1)]
        above.append(above[0])
        tables = [
            self.effect_table(low[0] - high[0], low[1] - high[1]).assign(column=model.exog_names[:columns])
            for low, high in pairwise(above)
        ]
        return (
            pd.concat(tables, keys=model.categories, names=["category"])
            .set_index("column", append=True)
            .droplevel(1)
            .swaplevel()
        )


class SurveyOrderedLogit(SurveyModel):
    """Weighted proportional-odds logit for an ordered outcome by pseudo-maximum likelihood (Binder 1983).

    P(Y <= j) = expit(threshold_j - x b) (McCullagh 1980; R's `svyolr`). `endog` (n) is an ordered categorical without
    missing values, worst category first; `exog` (n x k) has no constant. The good outcomes are `positive_from` and all
    categories above it. Parameters are the k slopes and then the thresholds, named such as `bad|fair`. The rest is as
    for `SurveyLogit`.

    Raises InputError also for categories that no row has.
    """

    title = "Survey-weighted ordered logit"
    results = SurveyOrderedLogitResults

    def __init__(
        self,
        endog: pd.Series,
        exog: pd.DataFrame,
        *,
        positive_from: str,
        weights: ArrayLike,
        strata: ArrayLike,
        psu: ArrayLike,
        design_psus: pd.DataFrame,
        where: str = "driver model",
    ) -> None:
        names = [str(name) for name in endog.cat.categories]
        codes = pd.Series(endog.cat.codes, index=endog.index, name=endog.name).astype(float)
        self.categories = names
        self.cut = names.index(positive_from) - 1
        problems = _category_problems(codes, names, where)
        if self.cut < 0:
            remedy = "Name the lowest category that counts as good, not the lowest of all."
            problems.append(Problem(f"{where}, outcome {endog.name}", f"all answers count from {names[0]}", remedy))
        design: dict[str, Any] = {"weights": weights, "strata": strata, "psu": psu, "design_psus": design_psus}
        super().__init__(codes, exog, problems, len(names) - 1, where=where, **design)
        self.codes = codes.to_numpy(int)
        self.data.xnames = [*self.exog_names, *(f"{low}|{high}" for low, high in pairwise(names))]

    def start(self) -> Floats:
        """Slopes of zero, and the thresholds that give everybody the weighted shares."""
        shares = np.bincount(self.codes, self.weights, len(self.categories)) / self.weights.sum()
        return np.concatenate([np.zeros(self.exog.shape[1]), logit(np.cumsum(shares)[:-1])])

    def predict(self, params: ArrayLike, exog: ArrayLike | None = None) -> Floats:
        """Probability of each category (rows x categories) for rows of `exog` (the model's own when None)."""
        rows = self.exog if exog is None else np.asarray(exog, dtype=float)
        slopes, thresholds = np.split(np.asarray(params, dtype=float), [rows.shape[1]])
        below = expit(thresholds - (rows @ slopes)[:, None])
        return np.diff(below, axis=1, prepend=0.0, append=1.0)

    def _ends(self, params: ArrayLike) -> tuple[Floats, Floats]:
        """The linear predictors at the threshold below and above each row's category, infinite where there is none."""
        slopes, thresholds = np.split(np.asarray(params, dtype=float), [self.exog.shape[1]])
        ends = np.concatenate([[-np.inf], thresholds, [np.inf]])
        linear = self.exog @ slopes
        return ends[self.codes] - linear, ends[self.codes + 1] - linear

    def loglike(self, params: ArrayLike) -> float:
        """Weighted pseudo-log-likelihood; minus infinity where thresholds are not in order."""
        low, high = self._ends(params)
        return -np.inf if (low >= high).any() else float(self.weights @ _log_between(low, high))

    def score_obs(self, params: ArrayLike) -> Floats:
        """Weighted score of each row (n x parameters)."""
        low, high = self._ends(params)
        between = 1 / np.expm1(high - low)
        by_high, by_low = expit(-high) + between, -expit(low) - between
        scores = np.zeros((len(low), len(self.exog_names)))
        columns = self.exog.shape[1]
        scores[:, :columns] = -self.exog * (self.weights * (by_high + by_low))[:, None]
        for values, threshold in ((by_high, self.codes), (by_low, self.codes - 1)):
            rows = np.flatnonzero((threshold >= 0) & (threshold < len(self.categories) - 1))
            scores[rows, columns + threshold[rows]] = (self.weights * values)[rows]
        return scores

    def hessian(self, params: ArrayLike) -> Floats:
        """Second derivatives of `loglike` (parameters x parameters)."""
        low, high = self._ends(params)
        steep_low, steep_high = (self.weights * expit(ends) * expit(-ends) for ends in (low, high))
        between = 1 / np.expm1(high - low)
        apart = self.weights * between * (1 + between)
        columns, count = self.exog.shape[1], len(self.categories) - 1
        out = np.zeros((columns + count, columns + count))
        out[:columns, :columns] = -(self.exog.T * (steep_low + steep_high)) @ self.exog
        for steep, threshold in ((steep_high, self.codes), (steep_low, self.codes - 1)):
            rows = np.flatnonzero((threshold >= 0) & (threshold < count))
            place = threshold[rows]
            at = sparse.csr_array((steep[rows], (place, rows)), shape=(count, len(low)))
            out[columns:, :columns] += at @ self.exog
            out[columns + np.arange(count), columns + np.arange(count)] -= np.bincount(
                place, (steep + apart)[rows], count
            )
        inner = (self.codes > 0) & (self.codes < count)
        beside = np.bincount(self.codes[inner], apart[inner], count)[1:]
        out[columns + np.arange(1, count), columns + np.arange(count - 1)] += beside
        out[columns + np.arange(count - 1), columns + np.arange(1, count)] += beside
        out[:columns, columns:] = out[columns:, :columns].T
        return out

    def good_outcomes(self) -> Floats:
        """1 for a row in `positive_from` or above, 0 for another (n)."""
        return np.asarray(self.codes > self.cut, dtype=np.float64)

    def linear_derivatives(self, params: ArrayLike) -> tuple[Floats, Floats]:
        """First and second derivative of each row's weighted log-likelihood by its linear predictor (n each)."""
        low, high = self._ends(params)
        slope = self.weights * (expit(low) - expit(-high))
        return slope, -self.weights * (expit(low) * expit(-low) + expit(high) * expit(-high))

    def log_chances(self, params: ArrayLike, rows: NDArray[np.bool_], moved: Floats) -> Floats:
        """Log probability of the outcomes of some rows, their linear predictors being `moved` by so much."""
        low, high = self._ends(params)
        return _log_between(low[rows] - moved, high[rows] - moved)

    def outcome_rows(self, exog: Floats) -> Floats:
        """`exog` and, for the threshold below the good outcomes, -1."""
        return self.rows_above(exog, self.cut)

    def rows_above(self, exog: Floats, threshold: int) -> Floats:
        """Rows whose product with the parameters is the logit of lying above a threshold."""
        thresholds = np.zeros((len(exog), len(self.categories) - 1))
        thresholds[:, threshold] = -1.0
        return np.hstack([exog, thresholds])

    def binary_outcomes(self) -> tuple[Floats, Floats]:
        """Whether each row lies above the thresholds on either side of its category."""
        count = len(self.categories) - 1
        parts = []
        for threshold, outcome in ((self.codes, 0.0), (self.codes - 1, 1.0)):
            rows = np.flatnonzero((threshold >= 0) & (threshold < count))
            parts.append((np.full(len(rows), outcome), np.hstack([self.exog[rows], -np.eye(count)[threshold[rows]]])))
        return np.concatenate([part[0] for part in parts]), np.vstack([part[1] for part in parts])


def _log_between(low: Floats, high: Floats) -> Floats:
    """log(expit(high) - expit(low)) without the difference of two numbers that are nearly equal."""
    return np.asarray(np.log1p(-np.exp(low - high)) - np.logaddexp(0, low) - np.logaddexp(0, -high))


def _category_problems(codes: pd.Series, names: list[str], where: str) -> list[Problem]:
    place = f"{where}, outcome {codes.name}"
    problems = []
    if missing := int((codes < 0).sum()):
        problems.append(Problem(place, f"{missing} missing answers", "Leave out rows without an answer."))
    sizes = np.bincount(codes[codes >= 0].astype(int), minlength=len(names))
    problems += [
        Problem(f"{place}, category {name}", "no row has it", "Merge the category with another or remove it.")
        for name, size in zip(names, sizes, strict=True)
        if size == 0
    ]
    return problems
