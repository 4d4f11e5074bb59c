"""Survey-weighted regression models as statsmodels models, with design-based standard errors.

How a coefficient becomes an effect that a reader understands belongs in `effects`; the variance formula in
`estimation.design`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse, stats
from scipy.optimize import linprog
from scipy.special import expit
from statsmodels.base.model import LikelihoodModel, LikelihoodModelResults, LikelihoodResultsWrapper
from statsmodels.base.wrapper import populate_wrapper
from statsmodels.iolib.summary import Summary

from perception.errors import InputError, Problem
from perception.estimation.design import Design, design_from_psus

Floats = NDArray[np.float64]

# Newton has converged when the gain it still expects, per unit of weight, is below this. Near the maximum the gain
# squares at each step; under separation it only falls by a factor e, and fitted probabilities run into 0 or 1.
EXPECTED_GAIN = 1e-20
MAX_STEPS = 60
SUSPECT_VARIANCE = 1e-6
COLLINEAR = 1e-6


class SurveyModel(LikelihoodModel):  # type: ignore[misc]
    """What models with weights and a sample design share: checks, Newton's method, the design sandwich.

    A kind of model gives its likelihood (`loglike`), `score_obs`, `hessian`, where Newton starts (`start`), and the
    rows whose linear predictor is the logit of a good outcome (`outcome_rows`).
    """

    title: str
    results: type[SurveyResults]

    def __init__(
        self,
        outcome: pd.Series,
        exog: pd.DataFrame,
        problems: Iterable[Problem],
        thresholds: int,
        *,
        weights: ArrayLike,
        strata: ArrayLike,
        psu: ArrayLike,
        design_psus: pd.DataFrame,
        where: str,
    ) -> None:
        columns = exog.astype(float)
        row_weights = np.asarray(weights, dtype=float)
        design = design_from_psus(design_psus)
        found = [*problems, *_weight_problems(row_weights, where), *_column_problems(columns, where)]
        try:
            psu_rows = design.psu_index(np.asarray(strata).tolist(), np.asarray(psu).tolist())
        except KeyError as error:
            remedy = "Give design_psus every sampled PSU, with the same variance_stratum and psu as the rows."
            raise InputError([*found, Problem(where, str(error.args[0]), remedy)]) from None
        used = np.unique(psu_rows)
        design_df = len(used) - len(np.unique(design.stratum_codes[used]))
        coefficients = columns.shape[1] + thresholds
        if design_df < coefficients:
            found.append(
                Problem(
                    where,
                    f"{len(used)} PSUs with cases leave {design_df} degrees of freedom for {coefficients} coefficients",
                    "Leave variables out, merge categories, or fit the model on more districts.",
                )
            )
        if found:
            raise InputError(found)
        super().__init__(outcome, columns)
        self.weights = row_weights
        self.design: Design = design
        self.psu_rows = psu_rows
        self.n_psus = len(used)
        self.n_strata = len(np.unique(design.stratum_codes[used]))
        self.design_df = design_df
        self.where = where

    def start(self) -> Floats:
        """Parameters that Newton starts from."""
        raise NotImplementedError

    def score_obs(self, params: ArrayLike) -> Floats:
        """Weighted score of each row (n x parameters)."""
        raise NotImplementedError

    def good_outcomes(self) -> Floats:
        """1 for a row with a good outcome, 0 for another (n)."""
        raise NotImplementedError

    def linear_derivatives(self, params: ArrayLike) -> tuple[Floats, Floats]:
        """First and second derivative of each row's weighted log-likelihood by its linear predictor (n each)."""
        raise NotImplementedError

    def log_chances(self, params: ArrayLike, rows: NDArray[np.bool_], moved: Floats) -> Floats:
        """Log probability of the outcomes of some rows, their linear predictors being `moved` by so much."""
        raise NotImplementedError

    def outcome_rows(self, exog: Floats) -> Floats:
        """Rows (n x parameters) whose product with the parameters is the logit of a good outcome."""
        raise NotImplementedError

    def binary_outcomes(self) -> tuple[Floats, Floats]:
        """0/1 outcomes and rows (each m, m x parameters) that are separated exactly when the model has no maximum."""
        raise NotImplementedError

    def score(self, params: ArrayLike) -> Floats:
        """Gradient of `loglike`."""
        return np.asarray(self.score_obs(params).sum(axis=0))

    def fit(self, maxiter: int = MAX_STEPS) -> Any:
        """Newton steps, halved where they overshoot, then the design sandwich A^-1 B A^-1 from PSU totals of scores.

        Returns wrapped results. Raises InputError when the outcome is separated (naming the columns that predict it
        exactly; Albert and Anderson 1984) or when `maxiter` steps do not suffice.
        """
        params, converged = self._newton(maxiter)
        outcomes, rows = self.binary_outcomes()
        chance = expit(rows @ params)
        if (chance * (1 - chance)).min() < SUSPECT_VARIANCE:
            separating = _separating_columns(outcomes, rows, self.exog_names[: self.exog.shape[1]])
            if separating:
                raise InputError(
                    [
                        Problem(
                            f"{self.where}, {', '.join(separating)}",
                            "predicts the outcome exactly for some rows (separation), so its coefficient has no finite "
                            "estimate",
                            "Merge its rare categories, or leave it out.",
                        )
                    ]
                )
        if not converged:
            remedy = "Look for columns with extreme values or of very different scale."
            raise InputError([Problem(self.where, f"no convergence in {maxiter} Newton steps", remedy)])
        influence = self.psu_sums(self.score_obs(params)) @ np.linalg.inv(-self.hessian(params))
        return SurveyResultsWrapper(self.results(self, params, influence))

    def psu_sums(self, values: Floats) -> Floats:
        """Sums of row values (n x k) within the PSUs of the design (n_psus x k)."""
        rows = np.arange(len(self.psu_rows))
        membership = sparse.csr_array(
            (np.ones(len(rows)), (self.psu_rows, rows)), shape=(len(self.design.psus), len(rows))
        )
        return np.asarray(membership @ values)

    def _newton(self, maxiter: int) -> tuple[Floats, bool]:
        params = self.start()
        value = self.loglike(params)
        for _ in range(maxiter):
            score = self.score(params)
            try:
                step = linalg.cho_solve(linalg.cho_factor(-self.hessian(params)), score)
            except linalg.LinAlgError:
                return params, False
            gain = float(score @ step) / self.weights.sum()
            size = 1.0
            while (proposed := self.loglike(params + size * step)) < value - 1e-12 * abs(value) and size > 1e-6:
                size /= 2
            params, value = params + size * step, proposed
            if gain < EXPECTED_GAIN:
                return params, True
        return params, False


class SurveyResults(LikelihoodModelResults):  # type: ignore[misc]
    """A fitted survey model: design-based covariance, t intervals on the design's degrees of freedom.

    `influence` (n_psus x parameters) says by how much each PSU moves the parameters; their covariance is that of it.
    """

    def __init__(self, model: SurveyModel, params: Floats, influence: Floats) -> None:
        covariance = model.design.covariance(influence)
        super().__init__(model, params, normalized_cov_params=covariance, scale=1.0, use_t=True)
        self.influence = influence
        self.nobs = len(model.endog)
        self.df_resid = model.design_df

    def average_marginal_effects(self) -> pd.DataFrame:
        """Weighted average derivative of the probability of a good outcome by each column but the constant.

        One row per column: effect (probability per unit of the column), delta-method se, low, high (95 %), p. Every
        column is taken as a number; categories and comparable units are the business of `effects.driver_effects`.
        """
        table: pd.DataFrame = self.effect_table(*self.derivatives())
        table.index = pd.Index(self.model.exog_names[: len(table)], name="column")
        varies: NDArray[np.bool_] = np.ptp(self.model.exog, axis=0) > 0
        return table.loc[varies]

    def derivatives(self, rows: Floats | None = None) -> tuple[Floats, Floats]:
        """Weighted mean derivative of a probability by each column (k), and its gradient (k x parameters).

        The probability is the one whose logit is `rows` times the parameters, that of a good outcome when None.
        """
        rows = self.model.outcome_rows(self.model.exog) if rows is None else rows
        shares = self.model.weights / self.model.weights.sum()
        chance = expit(rows @ self.params)
        density = chance * (1 - chance)
        mean_density = float(shares @ density)
        mean_slope = (shares * density * (1 - 2 * chance)) @ rows
        columns = self.model.exog.shape[1]
        slopes = self.params[:columns]
        return slopes * mean_density, np.eye(columns, rows.shape[1]) * mean_density + np.outer(slopes, mean_slope)

    def contrasts(self, block: list[int]) -> tuple[Floats, Floats]:
        """Weighted mean change of the probability when a row moves from the reference to each category of a variable.

        `block` are the positions of the variable's 0/1 columns. Returns the changes (b) and their gradient (b x
        parameters).
        """
        shares = self.model.weights / self.model.weights.sum()
        at_reference = self.model.exog.copy()
        at_reference[:, block] = 0.0
        rows = self.model.outcome_rows(at_reference)
        linear = rows @ self.params
        base = expit(linear)
        there = expit(linear[:, None] + self.params[block])
        density_change = there * (1 - there) - (base * (1 - base))[:, None]
        gradient = (shares[:, None] * density_change).T @ rows
        gradient[np.arange(len(block)), block] = shares @ (there * (1 - there))
        return shares @ (there - base[:, None]), gradient

    def effect_table(self, effects: Floats, gradient: Floats) -> pd.DataFrame:
        """Delta-method table of functions of the coefficients: effect, se, low, high (95 %), p; one row each."""
        se = np.sqrt(np.einsum("ij,jk,ik->i", gradient, self.normalized_cov_params, gradient))
        reach = stats.t.ppf(0.975, self.df_resid) * se
        p = 2 * stats.t.sf(np.abs(effects) / se, self.df_resid)
        return pd.DataFrame({"effect": effects, "se": se, "low": effects - reach, "high": effects + reach, "p": p})

    def summary(self, alpha: float = 0.05) -> Summary:
        """Coefficient table under a head that says how many rows, strata and PSUs it rests on."""
        model = self.model
        summary = Summary()
        summary.add_table_2cols(
            self,
            title=model.title,
            gleft=[
                ("Dep. Variable:", None),
                ("Method:", ["Pseudo-maximum likelihood"]),
                ("No. Observations:", [f"{self.nobs}"]),
                ("Sum of weights:", [f"{model.weights.sum():.6g}"]),
                ("Pseudo log-likelihood:", [f"{self.llf:.6g}"]),
            ],
            gright=[
                ("Std. errors:", ["design sandwich"]),
                ("Strata with cases:", [f"{model.n_strata}"]),
                ("PSUs with cases:", [f"{model.n_psus}"]),
                ("PSUs in the design:", [f"{len(model.design.psus)}"]),
                ("Design df:", [f"{model.design_df}"]),
            ],
        )
        summary.add_table_params(self, alpha=alpha, use_t=True)
        return summary


class SurveyLogit(SurveyModel):
    """Weighted logit for a 0/1 outcome by pseudo-maximum likelihood (Binder 1983).

    `endog` (n) holds 0 or 1, `exog` (n x k) named columns including the constant, on the same index; `weights`,
    `strata` (variance strata) and `psu` (n) belong to the same rows in the same order. `design_psus` (variance_stratum,
    psu) lists every sampled PSU: those without a row count in the variance. `where` names the model in messages.

    Raises InputError listing every problem: outcomes that are not 0/1 or all alike, weights that are not positive,
    missing or collinear columns, PSUs that the design does not list, fewer degrees of freedom than coefficients.
    """

    title = "Survey-weighted logit"
    results = SurveyResults

    def __init__(
        self,
        endog: pd.Series,
        exog: pd.DataFrame,
        *,
        weights: ArrayLike,
        strata: ArrayLike,
        psu: ArrayLike,
        design_psus: pd.DataFrame,
        where: str = "driver model",
    ) -> None:
        outcome = endog.astype(float)
        problems = _outcome_problems(outcome, where)
        design: dict[str, Any] = {"weights": weights, "strata": strata, "psu": psu, "design_psus": design_psus}
        super().__init__(outcome, exog, problems, 0, where=where, **design)

    def predict(self, params: ArrayLike, exog: ArrayLike | None = None) -> Floats:
        """Probability of outcome 1 for each row of `exog` (the model's own rows when None)."""
        rows = self.exog if exog is None else np.asarray(exog, dtype=float)
        return np.asarray(expit(rows @ np.asarray(params, dtype=float)))

    def start(self) -> Floats:
        """Zero."""
        return np.zeros(self.exog.shape[1])

    def loglike(self, params: ArrayLike) -> float:
        """Weighted pseudo-log-likelihood."""
        linear = self.exog @ np.asarray(params, dtype=float)
        return float(self.weights @ (self.endog * linear - np.logaddexp(0.0, linear)))

    def score_obs(self, params: ArrayLike) -> Floats:
        """Weighted score of each row (n x k)."""
        return np.asarray(self.exog * (self.weights * (self.endog - self.predict(params)))[:, None])

    def score(self, params: ArrayLike) -> Floats:
        """Gradient of `loglike` (k)."""
        return np.asarray(self.exog.T @ (self.weights * (self.endog - self.predict(params))))

    def hessian(self, params: ArrayLike) -> Floats:
        """Second derivatives of `loglike` (k x k)."""
        chance = self.predict(params)
        return np.asarray(-(self.exog.T * (self.weights * chance * (1 - chance))) @ self.exog)

    def good_outcomes(self) -> Floats:
        """The outcomes themselves."""
        return np.asarray(self.endog)

    def linear_derivatives(self, params: ArrayLike) -> tuple[Floats, Floats]:
        """First and second derivative of each row's weighted log-likelihood by its linear predictor (n each)."""
        chance = self.predict(params)
        return self.weights * (self.endog - chance), -self.weights * chance * (1 - chance)

    def log_chances(self, params: ArrayLike, rows: NDArray[np.bool_], moved: Floats) -> Floats:
        """Log probability of the outcomes of some rows, their linear predictors being `moved` by so much."""
        linear = self.exog[rows] @ np.asarray(params, dtype=float) + moved
        return np.asarray(self.endog[rows] * linear - np.logaddexp(0.0, linear))

    def outcome_rows(self, exog: Floats) -> Floats:
        """The rows themselves."""
        return exog

    def binary_outcomes(self) -> tuple[Floats, Floats]:
        """The outcomes and rows themselves."""
        return self.endog, self.exog


class SurveyResultsWrapper(LikelihoodResultsWrapper):  # type: ignore[misc]
    """Gives params, standard errors, intervals and covariances the names of the columns."""


populate_wrapper(SurveyResultsWrapper, SurveyResults)


def _outcome_problems(outcome: pd.Series, where: str) -> list[Problem]:
    place = f"{where}, outcome {outcome.name}"
    values = outcome.unique()
    others = [value for value in values.tolist() if value not in (0.0, 1.0)]
    if others:
        what = f"{int((~outcome.isin([0.0, 1.0])).sum())} rows are not 0 or 1 but {others[:5]}"
        return [Problem(place, what, "Recode the outcome to 0/1 and leave out rows without an answer.")]
    if len(values) < 2:
        what = f"all {len(outcome)} rows have the same outcome"
        return [Problem(place, what, "Choose an outcome that varies in the rows with every driver answered.")]
    return []


def _weight_problems(weights: Floats, where: str) -> list[Problem]:
    bad = ~(np.isfinite(weights) & (weights > 0))
    if not bad.any():
        return []
    what = f"{int(bad.sum())} of {len(weights)} weights are missing, zero or negative"
    return [Problem(f"{where}, weight", what, "Leave out rows that do not count, and correct the others.")]


def _column_problems(columns: pd.DataFrame, where: str) -> list[Problem]:
    """Columns with missing values or, if there are none, each column that the ones before it determine."""
    matrix = columns.to_numpy()
    remedy = "Leave out rows with a missing answer, or correct the values."
    problems = [
        Problem(f"{where}, {name}", f"{count} missing or infinite values", remedy)
        for name, count in zip(columns.columns, (~np.isfinite(matrix)).sum(axis=0), strict=True)
        if count
    ]
    if problems or len(matrix) < matrix.shape[1]:
        return problems
    lengths = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(lengths > 0, lengths, 1.0)
    distances = np.abs(np.diag(np.linalg.qr(scaled, mode="r")))
    names = columns.columns.to_numpy()
    for position in np.flatnonzero(distances < COLLINEAR):
        loadings = np.linalg.lstsq(scaled[:, :position], scaled[:, position], rcond=None)[0]
        others = names[:position][np.abs(loadings) > 1e-6]
        what = f"is determined by {', '.join(others)} (collinear)" if len(others) else "is 0 in every row"
        problems.append(Problem(f"{where}, {names[position]}", what, "Leave one of them out."))
    return problems


def _separating_columns(outcome: Floats, exog: Floats, names: list[str]) -> list[str]:
    """Columns of a direction along which the likelihood never stops rising; none when the maximum exists.

    `names` are those of the first columns. A linear programme looks for d with (2y - 1) x'd >= 0 in every row and > 0
    in some (Konis 2007).
    """
    scaled = exog / np.abs(exog).max(axis=0)
    signed = scaled * (2 * outcome - 1)[:, None]
    direction = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1)).x
    if direction is None:
        return []
    parts = np.abs(direction) * np.ptp(scaled, axis=0)
    return [name for name, part in zip(names, parts[: len(names)], strict=True) if part > 1e-6]
