"""Sampling variances, covariates and benchmarking of small-area models, by hand and on made districts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.estimation.area_model import posterior_draws
from perception.estimation.small_area import (
    arcsine_root,
    benchmarked_to_provinces,
    covariate_matrix,
    intraclass_correlation,
    inverse_arcsine_root,
    mean_variances,
    round_models,
    smoothed_deff,
)
from tests.test_ranking import made_wave


@given(st.floats(0, 1))
def test_the_arcsine_root_turns_back(share: float) -> None:
    assert inverse_arcsine_root(arcsine_root(share)) == pytest.approx(share, abs=1e-12)


def test_angles_beyond_the_scale_stay_at_its_ends() -> None:
    assert inverse_arcsine_root([-0.3, np.pi / 2 + 0.3]).tolist() == [0, 1]


def test_the_arcsine_root_has_the_variance_it_is_said_to_have() -> None:
    n, rng = 200, np.random.default_rng(1)
    for share in (0.1, 0.5, 0.9):
        angles = arcsine_root(rng.binomial(n, share, 200_000) / n)
        assert angles.var() == pytest.approx(1 / (4 * n), rel=0.03)  # the next term is of order 1 / n


def test_rho_is_found_again_from_design_effects() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"n": rng.integers(50, 300, 60), "psus": rng.integers(5, 20, 60), "kish": rng.uniform(1, 2, 60)}
    )
    frame = frame.assign(df=frame["psus"] - 2)
    for rho in (0.0, 0.05, 0.3):
        exact = frame.assign(deff=smoothed_deff(frame["kish"], frame["n"] / frame["psus"], rho))
        assert intraclass_correlation(exact) == pytest.approx(rho, abs=1e-12)
    # Design effects below what weights alone cost say that clusters cost nothing, not that they gain.
    assert intraclass_correlation(frame.assign(deff=0.5 * frame["kish"])) == 0
    assert intraclass_correlation(frame.assign(deff=np.nan)) == 0


def test_smoothed_design_effects_by_hand() -> None:
    np.testing.assert_allclose(smoothed_deff([1.0, 1.2, 1.5], [1.0, 11.0, 0.5], 0.1), [1.0, 2.4, 1.5])


def test_a_lucky_low_mean_is_not_precise() -> None:
    # Waits with a standard deviation in proportion to their mean. One district of ten respondents was lucky.
    rng = np.random.default_rng(2)
    truth = np.linspace(20, 80, 30)
    n = np.full(30, 100.0)
    n[0] = 10
    direct = truth + rng.normal(size=30) * truth / np.sqrt(n)
    direct[0] = 4.0
    frame = pd.DataFrame({"direct": direct, "n": n, "df": n - 1, "deff": 1.0})
    frame["se"] = frame["direct"] / np.sqrt(n)
    x = np.column_stack([np.ones(30), truth])
    variances = mean_variances(frame, np.ones(30), x)
    assert np.sqrt(variances[0]) > 3 * frame["se"].iloc[0]
    np.testing.assert_allclose(np.sqrt(variances[1:]), truth[1:] / 10, rtol=0.25)


def test_covariates_are_as_many_as_the_districts_carry_and_none_is_redundant() -> None:
    made = made_wave()
    frame = made["units"].assign(sampled=True)
    nothing = pd.DataFrame({"level": [], "n": []})
    names, matrix = covariate_matrix(frame, nothing, share=True)
    assert names == ["intercept", "province pj", "urban share", "log density"]  # 24 districts carry three
    np.testing.assert_allclose(matrix[:, 1:].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(matrix[:, 1:].std(axis=0, ddof=1), 1)
    constant = frame.assign(urban_share=0.3, area_km2=np.nan)
    names, matrix = covariate_matrix(constant, nothing, share=True)
    assert names == ["intercept", "province pj", "log household size", "yearly growth"]
    assert np.linalg.matrix_rank(matrix) == 4


def test_the_latest_earlier_estimate_of_thirty_or_more_is_a_covariate() -> None:
    made = made_wave()
    frame = made["units"].assign(sampled=True)
    rows = made["estimates"].query("level == 'district'").assign(first_day="2018-01-01")
    older = rows.assign(estimate=0.99, first_day="2015-01-01")
    rows.loc[rows.index[0], "n"] = 29
    names, matrix = covariate_matrix(frame, pd.concat([rows, older]), share=True)
    assert names[:3] == ["intercept", "province pj", "earlier estimate"]
    share = rows.set_index("unit_id")["estimate"].reindex(frame["district_id"])
    share.iloc[0] = 0.99  # the older one serves
    expected = pd.Series(arcsine_root(share))
    np.testing.assert_allclose(matrix[:, 2], (expected - expected.mean()) / expected.std())


def test_benchmarked_draws_add_up_to_the_province() -> None:
    rng = np.random.default_rng(1)
    draws = rng.uniform(0.3, 0.5, (500, 4))
    districts = pd.DataFrame({"wave": "w", "province_id": "p", "n": [50, 100, 200, 0], "deff": [1.5, 1.5, 2.0, np.nan]})
    districts["weight_sum"] = [1.0, 2.0, 5.0, 0.0]
    provinces = pd.DataFrame({"wave": ["w"], "unit_id": ["p"], "estimate": [0.45], "se": [0.0]})
    weights = districts["weight_sum"].to_numpy() / 8
    out = benchmarked_to_provinces(draws, districts, np.full(4, np.nan), provinces, True, rng)
    np.testing.assert_allclose(out @ weights, 0.45)
    np.testing.assert_array_equal(out[:, 3], draws[:, 3])  # nothing is known of it that would move it
    moved = (out - draws)[0, :3]
    mean = draws.mean(axis=0)[:3]
    spread = mean * (1 - mean) * np.array([1.5, 1.5, 2.0]) / np.array([50, 100, 200])
    np.testing.assert_allclose(moved / moved[0], weights[:3] * spread / (weights[0] * spread[0]))
    doubtful = provinces.assign(se=0.02)
    out = benchmarked_to_provinces(draws, districts, np.full(4, np.nan), doubtful, True, np.random.default_rng(2))
    assert (out @ weights).std() == pytest.approx(0.02, rel=0.15)
    unknown = provinces.assign(se=np.nan)
    np.testing.assert_array_equal(
        benchmarked_to_provinces(draws, districts, np.full(4, np.nan), unknown, True, rng), draws
    )


def test_shares_stay_shares() -> None:
    rng = np.random.default_rng(1)
    draws = rng.uniform(0, 0.02, (200, 3))
    districts = pd.DataFrame({"wave": "w", "province_id": "p", "n": [50] * 3, "deff": 1.5, "weight_sum": 1.0})
    provinces = pd.DataFrame({"wave": ["w"], "unit_id": ["p"], "estimate": [0.001], "se": [0.0005]})
    out = benchmarked_to_provinces(draws, districts, np.full(3, np.nan), provinces, True, rng)
    assert out.min() >= 0


def test_a_model_is_the_same_whoever_asks() -> None:
    made = made_wave()
    arguments = (made["estimates"], made["waves"], made["indicators"], {"2018": made["units"]})
    one, other = next(round_models(*arguments)), next(round_models(*arguments))
    np.testing.assert_array_equal(one.draws, other.draws)
    two = pd.concat([made["indicators"], made["indicators"].assign(indicator="another")])
    more = pd.concat([made["estimates"], made["estimates"].assign(indicator="another")])
    found = {model.key["indicator"]: model for model in round_models(more, made["waves"], two, {"2018": made["units"]})}
    np.testing.assert_array_equal(found["i"].draws, one.draws)
    assert not np.array_equal(found["another"].draws, one.draws)


def test_intervals_of_shares_hold_the_truth_also_near_zero() -> None:
    """Districts drawn anew 150 times, a third of them with shares under 5 %, sampled simply."""
    rng, replicates, n = np.random.default_rng(7), 150, 80
    x = np.column_stack([np.ones(40), rng.normal(size=40)])
    held = []
    for _ in range(replicates):
        angle = x @ [0.32, 0.12] + rng.normal(0, 0.07, 40)
        truth = inverse_arcsine_root(angle)
        direct = rng.binomial(n, truth) / n
        draws = posterior_draws(arcsine_root(direct), np.full(40, 1 / (4 * n)), x, 500, rng)
        low, high = np.quantile(inverse_arcsine_root(draws.areas), [0.025, 0.975], axis=0)
        held.append(((low <= truth) & (truth <= high)).mean())
    assert 0.93 < np.mean(held) < 0.97
