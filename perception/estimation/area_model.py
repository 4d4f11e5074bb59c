"""The Fay-Herriot area model: direct estimates with known sampling variances borrow strength through covariates.

y_d = theta_d + e_d with e_d ~ N(0, D_d), theta_d = x_d'b + v_d with v_d ~ N(0, A). Which quantities are modelled, and
what becomes of the draws, is `small_area`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]
Method = Literal["reml", "ml", "moment"]

GRID = 400
"""Points at which the posterior of A is evaluated; twice as many change means of the milk data by less than 1e-6."""


@dataclass(frozen=True)
class AreaModel:
    """A fitted area model of m areas and p covariates.

    `variance` is A, `coefficients` b (p) with their covariance (p x p), `weight` A / (A + D), the share of the direct
    estimate in `estimate` (m), whose mean squared error is `mse`. `loglik` is the log likelihood at the estimates.
    """

    variance: float
    coefficients: Numbers
    covariance: Numbers
    weight: Numbers
    estimate: Numbers
    mse: Numbers
    loglik: float


@dataclass(frozen=True)
class Posterior:
    """Draws from the joint posterior of an area model.

    `areas` is draws x areas (theta), `variance` the draws of A, `coefficients` draws x p; `weight` the posterior mean
    of A / (A + D) of each area, 0 where there is no direct estimate.
    """

    areas: Numbers
    variance: Numbers
    coefficients: Numbers
    weight: Numbers


def fit_area_model(direct: ArrayLike, sampling_variance: ArrayLike, covariates: ArrayLike, method: Method) -> AreaModel:
    """Fit by restricted or full maximum likelihood, or by Fay and Herriot's moment equation.

    `direct` (m), `sampling_variance` (m, known, above 0) and `covariates` (m x p, with the intercept). Mean squared
    errors: Prasad and Rao (1990) for REML, Datta and Lahiri (2000) for ML, Datta, Rao and Smith (2005) for the moment
    method. ValueError without more areas than covariates, for variances not above 0 and for redundant covariates.
    """
    y, d, x = _checked(direct, sampling_variance, covariates)
    a = _variance(y, d, x, method)
    total = a + d
    covariance = np.linalg.inv(x.T @ (x / total[:, None]))
    coefficients = covariance @ (x.T @ (y / total))
    residual = y - x @ coefficients
    weight = a / total
    shrink = 1 - weight

    g1 = a * shrink
    g2 = shrink**2 * np.einsum("ij,jk,ik->i", x, covariance, x)
    inverse, squares = np.sum(1 / total), np.sum(1 / total**2)
    of_variance = 2 / squares if method != "moment" else 2 * len(y) / inverse**2
    g3 = shrink**2 / total * of_variance
    bias = 0.0
    if method == "ml":
        bias = -np.trace(covariance @ (x.T @ (x / total[:, None] ** 2))) / squares
    elif method == "moment":
        bias = 2 * (len(y) * squares - inverse**2) / inverse**3
    mse = g1 + g2 + 2 * g3 - bias * shrink**2
    loglik = -0.5 * float(np.sum(np.log(2 * np.pi * total) + residual**2 / total))
    estimate = x @ coefficients + weight * residual
    return AreaModel(a, coefficients, np.asarray(covariance), weight, estimate, mse, loglik)


def _checked(direct: ArrayLike, sampling_variance: ArrayLike, covariates: ArrayLike) -> tuple[Numbers, ...]:
    y, d, x = (np.asarray(values, dtype=np.float64) for values in (direct, sampling_variance, covariates))
    if len(y) <= x.shape[1]:
        raise ValueError(f"{len(y)} areas are too few for {x.shape[1]} covariates")
    if not (d > 0).all():
        raise ValueError("sampling variances must be above 0")
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError("covariates are redundant")
    return y, d, x


def _variance(y: Numbers, d: Numbers, x: Numbers, method: Method) -> float:
    """A, where the estimating equation of the method crosses zero; 0 where it is never above zero."""
    from scipy.optimize import brentq

    def surplus(a: float) -> float:
        total = a + d
        covariance = np.linalg.inv(x.T @ (x / total[:, None]))
        residual = (y - x @ (covariance @ (x.T @ (y / total)))) / total
        if method == "moment":
            return float(np.sum(residual**2 * total) - (len(y) - x.shape[1]))
        trace = np.sum(1 / total)
        if method == "reml":
            trace -= np.trace(covariance @ (x.T @ (x / total[:, None] ** 2)))
        return float(np.sum(residual**2) - trace)

    if surplus(0.0) <= 0:
        return 0.0
    high = float(np.var(y) + d.mean())
    while surplus(high) > 0:
        high *= 2
    return float(brentq(surplus, 0.0, high, xtol=1e-16 * high, rtol=4 * np.finfo(float).eps))


def variance_posterior(
    direct: ArrayLike, sampling_variance: ArrayLike, covariates: ArrayLike
) -> tuple[Numbers, Numbers]:
    """A grid of A and the posterior probability of each point under flat priors on b and A.

    p(A | y) is proportional to |V|^-1/2 |X'V^-1 X|^-1/2 exp(-y'P y / 2), the restricted likelihood (Rao and Molina
    2015, section 10.3). The grid covers everything above 0: sqrt(A) is u / (1 - u) times a typical deviation, u even.
    ValueError as `fit_area_model`, and with fewer than four areas more than covariates, as the tail is then too heavy.
    """
    y, d, x = _checked(direct, sampling_variance, covariates)
    if len(y) < x.shape[1] + 4:
        raise ValueError(f"{len(y)} areas are too few for {x.shape[1]} covariates and a variance")
    u = np.arange(GRID) / GRID
    root = np.sqrt(float(np.var(y) + d.mean())) * u / (1 - u)
    log = _log_restricted_likelihood(root**2, y, d, x)
    mass = np.exp(log - log.max()) * root / (1 - u) ** 2  # dA is 2 sqrt(A) d sqrt(A), d sqrt(A) as du / (1 - u)^2
    return root**2, mass / mass.sum()


def _log_restricted_likelihood(variances: Numbers, y: Numbers, d: Numbers, x: Numbers) -> Numbers:
    total = variances[:, None] + d  # points x areas
    information = np.einsum("gi,ij,ik->gjk", 1 / total, x, x)
    right = (y / total) @ x
    coefficients = np.linalg.solve(information, right[:, :, None])[:, :, 0]
    quadratic = np.sum(y**2 / total, axis=1) - np.sum(right * coefficients, axis=1)
    _, logdet = np.linalg.slogdet(information)
    return np.asarray(-0.5 * (np.sum(np.log(total), axis=1) + logdet + quadratic), dtype=np.float64)


def posterior_moments(
    direct: ArrayLike, sampling_variance: ArrayLike, covariates: ArrayLike
) -> tuple[Numbers, Numbers]:
    """Posterior mean and standard deviation of every theta (m each), by numerical integration over A."""
    y, d, x = _checked(direct, sampling_variance, covariates)
    grid, mass = variance_posterior(y, d, x)
    total = grid[:, None] + d
    information = np.einsum("gi,ij,ik->gjk", 1 / total, x, x)
    covariance = np.linalg.inv(information)
    coefficients = np.einsum("gjk,gk->gj", covariance, (y / total) @ x)
    weight = grid[:, None] / total
    fitted = coefficients @ x.T
    means = fitted + weight * (y - fitted)
    spread = weight * d + (1 - weight) ** 2 * np.einsum("ij,gjk,ik->gi", x, covariance, x)
    mean = mass @ means
    return mean, np.sqrt(mass @ (spread + (means - mean) ** 2))


def posterior_draws(
    direct: ArrayLike,
    sampling_variance: ArrayLike,
    covariates: ArrayLike,
    draws: int,
    rng: np.random.Generator,
) -> Posterior:
    """Independent draws from the joint posterior of all areas (no Markov chain), also of those without a sample.

    `direct` (m) is NaN where an area has none; `covariates` (m x p) has every area. ValueError as `variance_posterior`.
    """
    y, x = np.asarray(direct, dtype=np.float64), np.asarray(covariates, dtype=np.float64)
    d = np.asarray(sampling_variance, dtype=np.float64)
    known = ~np.isnan(y)
    grid, mass = variance_posterior(y[known], d[known], x[known])
    # By inverting the distribution function, straight between the points of the grid.
    reached = np.concatenate([[0.0], np.cumsum((mass[1:] + mass[:-1]) / 2)])
    root = np.interp(rng.random(draws) * reached[-1], reached, np.sqrt(grid))
    variance = root**2

    total = variance[:, None] + d[known]
    information = np.einsum("gi,ij,ik->gjk", 1 / total, x[known], x[known])
    centre = np.linalg.solve(information, ((y[known] / total) @ x[known])[:, :, None])[:, :, 0]
    lower = np.linalg.cholesky(information)
    noise = rng.standard_normal(centre.shape)
    coefficients = centre + np.linalg.solve(lower.transpose(0, 2, 1), noise[:, :, None])[:, :, 0]
    fitted = coefficients @ x.T
    weight = np.zeros((draws, len(y)))
    weight[:, known] = variance[:, None] / total
    own = np.where(known, y, 0.0)
    spread = np.where(known, weight * np.where(known, d, 0.0), variance[:, None])
    areas = fitted + weight * (own - fitted) + np.sqrt(spread) * rng.standard_normal(fitted.shape)
    return Posterior(areas, variance, coefficients, weight.mean(axis=0))
