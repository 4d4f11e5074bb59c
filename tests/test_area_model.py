"""The Fay-Herriot area model against R's sae and hbsae (needs ../shared/golden), and its posterior on made data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perception.estimation.area_model import fit_area_model, posterior_draws, posterior_moments, variance_posterior

METHODS = {"REML": "reml", "ML": "ml", "FH": "moment"}


@pytest.fixture
def milk(shared_golden: Path) -> tuple[dict[str, Any], pd.DataFrame, np.ndarray]:
    golden = json.loads((shared_golden / "r_golden_sae.json").read_text())
    frame = pd.read_csv(shared_golden / "milk.csv")
    covariates = np.column_stack([np.ones(len(frame)), *((frame["MajorArea"] == area) * 1.0 for area in (2, 3, 4))])
    return golden, frame, covariates


@pytest.mark.parametrize("key", METHODS)
def test_fits_agree_with_r(milk: tuple[dict[str, Any], pd.DataFrame, np.ndarray], key: str) -> None:
    golden, frame, covariates = milk
    fit, expected = fit_area_model(frame["yi"], frame["SD"] ** 2, covariates, METHODS[key]), golden["milk"][key]
    np.testing.assert_allclose(fit.variance, expected["A"], rtol=1e-9)
    np.testing.assert_allclose(fit.coefficients, expected["beta"], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), expected["se_beta"], rtol=1e-9)
    np.testing.assert_allclose(fit.estimate, expected["eblup"], rtol=1e-9)
    np.testing.assert_allclose(fit.mse, expected["mse"], rtol=1e-9)
    np.testing.assert_allclose(fit.loglik, expected["loglik"], rtol=1e-9)


def test_an_intercept_alone_agrees_with_r(milk: tuple[dict[str, Any], pd.DataFrame, np.ndarray]) -> None:
    golden, frame, covariates = milk
    fit = fit_area_model(frame["yi"], frame["SD"] ** 2, covariates[:, :1], "reml")
    expected = golden["milk"]["REML_intercept_only"]
    np.testing.assert_allclose([fit.variance, *fit.mse], [expected["A"], *expected["mse"]], rtol=1e-9)


def test_the_hierarchical_model_agrees_with_r(milk: tuple[dict[str, Any], pd.DataFrame, np.ndarray]) -> None:
    golden, frame, covariates = milk
    mean, sd = posterior_moments(frame["yi"], frame["SD"] ** 2, covariates)
    np.testing.assert_allclose(mean, golden["milk_hb"]["est"], atol=4e-6)
    np.testing.assert_allclose(sd, golden["milk_hb"]["se"], atol=4e-6)


def made_areas(seed: int, areas: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    covariates = np.column_stack([np.ones(areas), rng.normal(size=areas)])
    variance = rng.uniform(0.2, 2.0, areas)
    truth = covariates @ [1.0, 0.5] + rng.normal(0, 0.7, areas)
    return truth + rng.normal(size=areas) * np.sqrt(variance), variance, covariates


def test_draws_have_the_moments_of_the_posterior() -> None:
    direct, variance, covariates = made_areas(1)
    draws = 40_000
    mean, sd = posterior_moments(direct, variance, covariates)
    found = posterior_draws(direct, variance, covariates, draws, np.random.default_rng(2))
    z = (found.areas.mean(axis=0) - mean) / (sd / np.sqrt(draws))
    assert np.abs(z).max() < 4.5  # the largest of forty
    np.testing.assert_allclose(found.areas.std(axis=0), sd, rtol=5 * np.sqrt(0.5 / draws))
    grid, mass = variance_posterior(direct, variance, covariates)
    assert abs(found.variance.mean() / (grid @ mass) - 1) < 0.02


def test_an_area_without_a_sample_is_predicted_from_its_covariates_with_more_doubt() -> None:
    direct, variance, covariates = made_areas(3)
    known = posterior_draws(direct, variance, covariates, 4000, np.random.default_rng(1))
    direct[0] = np.nan
    unknown = posterior_draws(direct, variance, covariates, 4000, np.random.default_rng(1))
    assert unknown.weight[0] == 0
    assert unknown.areas[:, 0].std() > 1.3 * known.areas[:, 0].std()
    centre = (unknown.coefficients @ covariates[0]).mean()
    assert abs(unknown.areas[:, 0].mean() - centre) < 5 * unknown.areas[:, 0].std() / np.sqrt(4000)


def test_areas_that_agree_but_for_chance_have_no_variance() -> None:
    direct, variance = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95]), np.full(6, 0.5)
    for method in METHODS.values():
        fit = fit_area_model(direct, variance, np.ones((6, 1)), method)
        assert fit.variance == 0
        np.testing.assert_allclose(fit.estimate, direct.mean())


@pytest.mark.parametrize(
    ("areas", "variance", "covariates", "said"),
    [
        (2, 1.0, np.ones((2, 2)), "2 areas are too few for 2 covariates"),
        (6, 0.0, np.ones((6, 1)), "must be above 0"),
        (6, 1.0, np.ones((6, 2)), "redundant"),
    ],
)
def test_what_cannot_be_fitted_is_said(areas: int, variance: float, covariates: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_area_model(np.arange(areas), np.full(areas, variance), covariates, "reml")


def test_the_posterior_needs_more_areas_than_a_fit() -> None:
    with pytest.raises(ValueError, match="4 areas are too few for 1 covariates and a variance"):
        variance_posterior(np.arange(4.0), np.ones(4), np.ones((4, 1)))
