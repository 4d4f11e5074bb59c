"""The drivers station: weighted logit under a sample design, and the effects read from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from perception.drivers.effects import EFFECT_COLUMNS, driver_effects
from perception.drivers.models import SurveyLogit
from perception.errors import InputError
from perception.estimation.design import design_from_psus

SCHOOL_COLUMNS = ["ell", "meals", "mobility"]


def survey(seed: int = 7, rows: int = 400, strata: int = 3, psus: int = 8) -> pd.DataFrame:
    """A small clustered survey: outcome y, a score, a three-category variable, and the design columns."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "stratum": rng.integers(strata, size=rows),
            "cluster": rng.integers(psus, size=rows),
            "weight": rng.uniform(0.5, 3.0, size=rows),
            "score": rng.normal(2.0, 1.5, size=rows),
            "tenure": pd.Categorical(rng.choice(["own", "rent", "free"], size=rows), ["own", "rent", "free"]),
        }
    )
    frame["psu"] = frame["stratum"].astype(str) + "-" + frame["cluster"].astype(str)
    cluster_effect = rng.normal(0.0, 0.7, size=(strata, psus))[frame["stratum"], frame["cluster"]]
    linear = -0.8 + 0.4 * frame["score"] - 0.6 * (frame["tenure"] == "rent") + cluster_effect
    frame["y"] = (rng.uniform(size=rows) < 1 / (1 + np.exp(-linear))).astype(float)
    return frame


def sampled(frame: pd.DataFrame) -> pd.DataFrame:
    psus = frame[["stratum", "psu"]].drop_duplicates()
    return psus.rename(columns={"stratum": "variance_stratum"})


def design_matrix(frame: pd.DataFrame) -> pd.DataFrame:
    rent, free = ((frame["tenure"] == name).astype(float) for name in ("rent", "free"))
    return pd.DataFrame({"const": 1.0, "score": frame["score"], "rent": rent, "free": free})


def small_survey(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"x": x, "y": y, "weight": weight, "stratum": 0, "psu": np.arange(len(x))})


def model_of(frame: pd.DataFrame, exog: pd.DataFrame | None = None, psus: pd.DataFrame | None = None) -> SurveyLogit:
    return SurveyLogit(
        frame["y"],
        design_matrix(frame) if exog is None else exog,
        weights=frame["weight"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=sampled(frame) if psus is None else psus,
    )


def effects_of(frame: pd.DataFrame, drivers: pd.DataFrame, kinds: dict[str, str] | None = None):
    return driver_effects(
        frame["y"],
        drivers,
        dict.fromkeys(drivers.columns, "driver") if kinds is None else kinds,
        weights=frame["weight"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=sampled(frame),
    )


def schools(golden: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(golden / f"{name}.csv")
    frame = table[SCHOOL_COLUMNS].astype(float)
    one_stratum = name == "apiclus1"
    return frame.assign(
        y=(table["sch.wide"] == "Yes").astype(float),
        weight=table["pw"],
        stratum="all" if one_stratum else table["stype"],
        psu=table["dnum"] if one_stratum else np.arange(len(table)),
    )


def school_fit(golden: Path, name: str):
    frame = schools(golden, name)
    return model_of(frame, frame[SCHOOL_COLUMNS].assign(const=1.0)[["const", *SCHOOL_COLUMNS]]).fit()


# --- against R ---------------------------------------------------------------------------------------------------


def test_clustered_logit_and_marginal_effects_match_r(shared_golden: Path) -> None:
    golden = json.loads((shared_golden / "r_golden_ame.json").read_text())
    results = school_fit(shared_golden, "apiclus1")
    np.testing.assert_allclose(results.params, list(golden["coef"].values()), rtol=1e-9)
    np.testing.assert_allclose(results.bse, list(golden["se"].values()), rtol=1e-8)
    effects = results.average_marginal_effects()
    assert effects.index.tolist() == list(golden["ame"])
    np.testing.assert_allclose(effects["effect"], list(golden["ame"].values()), rtol=1e-9)
    np.testing.assert_allclose(effects["se"], list(golden["ame_se"].values()), rtol=1e-6)


@pytest.mark.parametrize(("key", "name"), [("logit_clus1", "apiclus1"), ("logit_strat", "apistrat")])
def test_logit_matches_r_svyglm(shared_golden: Path, key: str, name: str) -> None:
    golden = json.loads((shared_golden / "r_golden_design.json").read_text())["glm"][key]
    results = school_fit(shared_golden, name)
    np.testing.assert_allclose(results.params, list(golden["coef"].values()), rtol=1e-6)
    np.testing.assert_allclose(results.bse, list(golden["se"].values()), rtol=5e-5)
    # R reports the design's degrees of freedom less the three slopes.
    assert results.model.design_df - 3 == golden["df_resid"]


def test_driver_effects_per_sd_match_r_margins(shared_golden: Path) -> None:
    golden = json.loads((shared_golden / "r_golden_ame.json").read_text())
    frame = schools(shared_golden, "apiclus1")
    effects = effects_of(frame, frame[SCHOOL_COLUMNS]).effects.set_index("driver")
    # The weights of this sample are all equal, so the plain population SD is the weighted one.
    spread = frame[SCHOOL_COLUMNS].std(ddof=0)
    for column in SCHOOL_COLUMNS:
        assert effects.loc[column, "effect"] == pytest.approx(golden["ame"][column] * spread[column], rel=1e-9)
        assert effects.loc[column, "se"] == pytest.approx(golden["ame_se"][column] * spread[column], rel=1e-6)


# --- identities of the model -------------------------------------------------------------------------------------


def test_unweighted_rows_as_psus_give_the_hc_sandwich() -> None:
    frame = survey().assign(weight=1.0, stratum=0, psu=lambda f: np.arange(len(f)))
    ours = model_of(frame).fit()
    theirs = sm.Logit(frame["y"], design_matrix(frame)).fit(disp=0, cov_type="HC0", tol=1e-12)
    n = len(frame)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-9)
    np.testing.assert_allclose(ours.cov_params(), theirs.cov_params() * n / (n - 1), rtol=1e-7)


def test_analytic_score_and_hessian_are_the_derivatives_of_the_likelihood() -> None:
    model = model_of(survey())
    at, step = np.array([0.3, -0.2, 0.5, 0.1]), 1e-5
    moves = np.eye(4) * step
    slope = [(model.loglike(at + move) - model.loglike(at - move)) / (2 * step) for move in moves]
    bend = [(model.score(at + move) - model.score(at - move)) / (2 * step) for move in moves]
    np.testing.assert_allclose(model.score(at), slope, rtol=1e-6)
    np.testing.assert_allclose(model.hessian(at), bend, rtol=1e-6)
    np.testing.assert_allclose(model.score_obs(at).sum(axis=0), model.score(at), rtol=1e-10)


def test_covariance_equals_the_formula_written_out_for_empty_and_single_psus() -> None:
    frame = survey()
    frame.loc[frame["stratum"] == 2, "psu"] = "alone"
    psus = pd.concat(
        [sampled(frame), pd.DataFrame({"variance_stratum": [0, 1, 1], "psu": ["empty-a", "empty-b", "empty-c"]})]
    )
    results = model_of(frame, psus=psus).fit()
    model = results.model
    scores = pd.DataFrame(model.score_obs(results.params.to_numpy()))
    meat = np.zeros((4, 4))
    for stratum, members in psus.groupby("variance_stratum"):
        totals = scores[frame["stratum"] == stratum].groupby(frame["psu"]).sum().reindex(members["psu"]).fillna(0.0)
        centred = totals.to_numpy() - (totals.mean().to_numpy() if len(totals) > 1 else 0.0)
        factor = len(totals) / (len(totals) - 1) if len(totals) > 1 else 1.0
        meat += factor * centred.T @ centred
    bread = np.linalg.inv(-model.hessian(results.params.to_numpy()))
    np.testing.assert_allclose(results.cov_params(), bread @ meat @ bread, rtol=1e-9)
    # 17 PSUs with cases in 3 strata; the empty ones give no degree of freedom.
    assert (model.n_psus, model.n_strata, model.design_df) == (17, 3, 14)


def test_an_empty_psu_changes_the_se_by_its_exact_factor() -> None:
    frame = survey().assign(stratum=0)
    n = frame["psu"].nunique()
    empty = pd.DataFrame({"variance_stratum": [0], "psu": ["nobody"]})
    before, after = model_of(frame).fit(), model_of(frame, psus=pd.concat([sampled(frame), empty])).fit()
    # The totals of one stratum sum to zero, so only n/(n-1) changes.
    np.testing.assert_allclose(after.bse, before.bse * np.sqrt((n + 1) / n / (n / (n - 1))), rtol=1e-9)
    np.testing.assert_array_equal(after.params, before.params)


def test_intervals_use_t_on_the_design_degrees_of_freedom() -> None:
    results = model_of(survey()).fit()
    df = results.model.design_df
    assert df == 24 - 3
    reach = stats.t.ppf(0.975, df) * results.bse
    np.testing.assert_allclose(results.conf_int()[1], results.params + reach, rtol=1e-12)
    np.testing.assert_allclose(results.pvalues, 2 * stats.t.sf(np.abs(results.params / results.bse), df), rtol=1e-12)


def test_predict_takes_new_rows() -> None:
    frame = survey()
    results = model_of(frame).fit()
    new = design_matrix(frame).iloc[[3, 11]]
    expected = 1 / (1 + np.exp(-(new @ results.params)))
    pd.testing.assert_series_equal(results.predict(new), expected, check_names=False)
    # The constant makes the weighted mean prediction the weighted share.
    assert np.average(results.predict(), weights=frame["weight"]) == pytest.approx(
        np.average(frame["y"], weights=frame["weight"]), abs=1e-12
    )


def test_summary_says_what_it_rests_on() -> None:
    frame = survey()
    results = model_of(frame).fit()
    text = results.summary().as_text()
    flat = " ".join(text.split())
    for fact in (
        "No. Observations: 400",
        "Strata with cases: 3",
        "PSUs with cases: 24",
        "Design df: 21",
        "Variable: y",
    ):
        assert fact in flat
    assert f"Sum of weights: {frame['weight'].sum():.6g}" in flat
    assert f"{results.params['rent']:.4f}" in text


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-6, 1e6),
    shuffle=st.randoms(use_true_random=False),
)
def test_labels_order_and_weight_scale_do_not_matter(seed: int, scale: float, shuffle) -> None:
    frame = survey(seed % 50, rows=250)
    # The base survey numbers its PSUs 0-7 in every stratum: unique within the stratum only.
    original = effects_of(frame.assign(psu=frame["cluster"]), frame[["score", "tenure"]])
    labels = [f"p{number}" for number in range(24)]
    shuffle.shuffle(labels)
    names = dict(zip(sorted(frame["psu"].unique()), labels, strict=False))
    changed = frame.assign(
        psu=frame["psu"].map(names),
        stratum=frame["stratum"].map({0: "z", 1: "a", 2: "m"}),
        weight=frame["weight"] * scale,
    ).sample(frac=1.0, random_state=seed)
    again = effects_of(changed, changed[["score", "tenure"]])
    np.testing.assert_allclose(again.results.params, original.results.params, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(again.results.bse, original.results.bse, rtol=1e-7)
    for column in ("effect", "se", "p_adjusted", "prevalence"):
        np.testing.assert_allclose(again.effects[column], original.effects[column], rtol=1e-6, atol=1e-9)


# --- identities of the effects -----------------------------------------------------------------------------------


def test_saturated_effect_is_the_difference_of_weighted_means_with_its_linearised_se() -> None:
    frame = survey()
    home = pd.Categorical(np.where(frame["tenure"] == "rent", "rent", "other"), ["other", "rent"])
    effects = effects_of(frame, pd.DataFrame({"home": home})).effects
    weights, y = frame["weight"], frame["y"]
    rents = pd.Series(home == "rent")
    means = {flag: np.average(y[rents == flag], weights=weights[rents == flag]) for flag in (True, False)}
    assert effects["effect"].item() == pytest.approx(means[True] - means[False], abs=1e-12)
    scores = sum(
        sign * (rents == flag) * weights * (y - means[flag]) / weights[rents == flag].sum()
        for flag, sign in ((True, 1), (False, -1))
    )
    design = design_from_psus(sampled(frame))
    totals = np.bincount(design.psu_index(frame["stratum"], frame["psu"]), scores, len(design.psus))
    se = np.sqrt(design.covariance(totals[:, None]).item())
    assert effects["se"].item() == pytest.approx(se, rel=1e-9)
    assert effects["prevalence"].item() == pytest.approx(weights[rents].sum() / weights.sum(), rel=1e-12)
    assert (effects["term"].item(), effects["reference"].item()) == ("rent", "other")


def test_category_effect_averages_over_the_other_columns() -> None:
    frame = survey()
    fit = effects_of(frame, frame[["score", "tenure"]])
    everyone = {name: frame.assign(tenure=name) for name in ("own", "rent", "free")}
    shares = {
        name: np.average(fit.results.predict(design_matrix(moved)), weights=frame["weight"])
        for name, moved in everyone.items()
    }
    by_term = fit.effects.set_index("term")["effect"]
    assert by_term["rent"] == pytest.approx(shares["rent"] - shares["own"], abs=1e-12)
    assert by_term["free"] == pytest.approx(shares["free"] - shares["own"], abs=1e-12)


def test_effect_gradients_are_derivatives_of_the_effects() -> None:
    frame = survey()
    results = model_of(frame).fit()._results
    start, step = results.params.copy(), 1e-6

    def effects_at(params: np.ndarray) -> np.ndarray:
        results.params = params
        return np.concatenate([results.derivatives()[0], results.contrasts([2, 3])[0]])

    numeric = np.column_stack([(effects_at(start + m) - effects_at(start - m)) / (2 * step) for m in np.eye(4) * step])
    results.params = start
    analytic = np.vstack([results.derivatives()[1], results.contrasts([2, 3])[1]])
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-9)


def test_score_effect_does_not_depend_on_its_unit() -> None:
    frame = survey()
    plain = effects_of(frame, frame[["score", "tenure"]]).effects
    moved = effects_of(frame, frame[["score", "tenure"]].assign(score=1000 + 12 * frame["score"])).effects
    for column in ("effect", "se", "p", "low", "high"):
        np.testing.assert_allclose(moved[column], plain[column], rtol=1e-7)
    centre = np.average(frame["score"], weights=frame["weight"])
    spread = np.sqrt(np.average((frame["score"] - centre) ** 2, weights=frame["weight"]))
    slope = model_of(frame).fit().average_marginal_effects().loc["score", "effect"]
    assert plain.loc[0, "effect"] == pytest.approx(slope * spread, rel=1e-10)
    assert plain.loc[0, "prevalence"] == pytest.approx(centre, rel=1e-12)


def test_table_has_a_row_per_term_and_adjusts_the_drivers_only() -> None:
    frame = survey()
    other = np.random.default_rng(3).normal(size=len(frame))
    drivers = frame[["tenure", "score"]].assign(age=other)
    fit = effects_of(frame, drivers, {"tenure": "driver", "score": "driver", "age": "control"})
    table = fit.effects
    assert table.columns.tolist() == EFFECT_COLUMNS
    assert table["term"].tolist() == ["rent", "free", "per SD", "per SD"]
    assert table["kind"].tolist() == ["driver"] * 3 + ["control"]
    assert table["reference"].isna().tolist() == [False, False, True, True]
    p = table["p"][:3].to_numpy()
    order = np.argsort(p)
    stepped = np.minimum.accumulate((p[order] * 3 / np.arange(1, 4))[::-1])[::-1]
    np.testing.assert_allclose(table["p_adjusted"][:3].to_numpy()[order], stepped, rtol=1e-12)
    assert np.isnan(table["p_adjusted"][3])
    assert (table["high"] - table["low"]).to_numpy() == pytest.approx(2 * stats.t.ppf(0.975, 21) * table["se"])


def test_rows_with_a_missing_answer_are_dropped_but_their_psus_stay_in_the_design() -> None:
    frame = survey()
    gone = frame["psu"] == "1-4"
    drivers = frame[["score", "tenure"]].copy()
    drivers.loc[gone, "score"] = np.nan
    unanswered = frame.assign(y=frame["y"].where(frame.index != frame.index[~gone][0]))
    fit = effects_of(unanswered, drivers)
    assert fit.n_dropped == gone.sum() + 1
    assert len(fit.rows) == len(frame) - fit.n_dropped
    assert set(fit.effects["psus"]) == {23}
    assert set(fit.effects["df"]) == {20}
    kept = frame[~gone].iloc[1:]
    by_hand = model_of(kept, psus=sampled(frame)).fit()
    np.testing.assert_allclose(fit.results.bse, by_hand.bse, rtol=1e-12)


# --- errors ------------------------------------------------------------------------------------------------------


def test_separation_names_the_category() -> None:
    frame = survey()
    frame.loc[frame["tenure"] == "free", "y"] = 1.0
    with pytest.raises(InputError, match=r"tenure, category free.*outcome is 1 in all its \d+ rows"):
        effects_of(frame, frame[["score", "tenure"]])


@pytest.mark.parametrize("quasi", [False, True])
def test_separation_by_a_score_names_the_column(quasi: bool) -> None:
    frame = survey()
    frame["y"] = (frame["score"] > 2.0).astype(float)
    if quasi:
        tied = frame.index[:20]
        frame.loc[tied, "score"] = 2.0
        frame.loc[tied, "y"] = np.arange(20) % 2.0
    noise = pd.Series(np.random.default_rng(5).normal(size=len(frame)))
    exog = pd.DataFrame({"const": 1.0, "noise": noise, "score": frame["score"]})
    model = model_of(frame, exog)
    with pytest.raises(InputError, match="separation") as caught:
        model.fit()
    assert "score" in caught.value.problems[0].where


def test_a_combination_that_separates_a_few_light_rows_is_found() -> None:
    frame = survey()
    both = (frame["tenure"] == "rent") & (frame["score"] > 4.0)
    assert 1 < both.sum() < 20
    frame.loc[both, ["y", "weight"]] = [1.0, 1e-9]
    exog = design_matrix(frame).assign(both=both.astype(float))
    with pytest.raises(InputError, match="separation") as caught:
        model_of(frame, exog).fit()
    assert caught.value.problems[0].where == "driver model, both"


@settings(max_examples=60, deadline=None)
@given(
    score=st.lists(st.integers(-6, 6), min_size=12, max_size=12).filter(lambda values: len(set(values)) > 1),
    steepness=st.floats(0.0, 3.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_separation_is_reported_exactly_when_the_outcomes_do_not_overlap(
    score: list[int], steepness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = np.array(score, dtype=float)
    y = (rng.uniform(size=12) < 1 / (1 + np.exp(-steepness * x))).astype(float)
    assume(0 < y.sum() < 12)
    overlap = x[y == 0].max() > x[y == 1].min() and x[y == 1].max() > x[y == 0].min()
    frame = small_survey(x, y, 10.0 ** rng.integers(-2, 2, size=12))
    model = model_of(frame, frame[["x"]].assign(const=1.0))
    if overlap:
        results = model.fit()
        np.testing.assert_allclose(model.score(results.params.to_numpy()) / model.weights.sum(), [0.0, 0.0], atol=1e-9)
    else:
        with pytest.raises(InputError, match="separation"):
            model.fit()


def test_newton_shortens_steps_that_overshoot() -> None:
    # Found by search: with full steps these rows and weights throw Newton out of reach of the maximum.
    x = np.array([-3, 47, -5, -1, -1141, 0, 55, -1, -1, -2, 1, -1], dtype=float)
    y = np.array([0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1], dtype=float)
    weight = np.array([0.01, 0.1, 0.1, 1, 0.1, 1, 0.1, 1, 10, 1, 10, 1])
    frame = small_survey(x, y, weight)
    model = model_of(frame, frame[["x"]].assign(const=1.0))
    results = model.fit()
    np.testing.assert_allclose(model.score(results.params.to_numpy()), [0.0, 0.0], atol=1e-9)


def test_a_strong_but_not_separating_score_is_fitted() -> None:
    frame = survey()
    frame["y"] = (frame["score"] > 2.0).astype(float)
    closest = (frame["score"] - 2.0).abs().nsmallest(12).index
    frame.loc[closest, "y"] = np.arange(12) % 2.0
    exog = pd.DataFrame({"const": 1.0, "score": frame["score"] * 50})
    results = model_of(frame, exog).fit()
    chance = results.predict()
    assert (chance * (1 - chance)).min() < 1e-9
    np.testing.assert_allclose(results.model.score(results.params.to_numpy()), 0.0, atol=1e-6)


def test_collinear_columns_are_named_with_what_determines_them() -> None:
    frame = survey()
    exog = design_matrix(frame).assign(twice=lambda f: 2 * f["score"] + f["rent"], zero=0.0)
    with pytest.raises(InputError) as caught:
        model_of(frame, exog)
    places = {problem.where: problem.what for problem in caught.value.problems}
    assert places == {
        "driver model, twice": "is determined by score, rent (collinear)",
        "driver model, zero": "is 0 in every row",
    }


def test_too_few_psus_for_the_coefficients() -> None:
    frame = survey(strata=2, psus=3)
    with pytest.raises(InputError, match="6 PSUs with cases leave 4 degrees of freedom for 5 coefficients"):
        model_of(frame, design_matrix(frame).assign(more=frame["score"] ** 2))
    assert model_of(frame).design_df == 4


def test_no_convergence_is_an_error_not_a_result() -> None:
    with pytest.raises(InputError, match="no convergence in 2 Newton steps"):
        model_of(survey()).fit(maxiter=2)


def test_a_psu_outside_the_design_is_named() -> None:
    frame = survey()
    with pytest.raises(InputError, match="0-3"):
        model_of(frame, psus=sampled(frame).query("psu != '0-3'"))


def test_one_outcome_for_all() -> None:
    frame = survey().assign(y=1.0)
    with pytest.raises(InputError, match="all 400 rows have the same outcome") as caught:
        effects_of(frame, frame[["score", "tenure"]])
    assert len(caught.value.problems) == 1


def test_every_problem_is_reported_at_once() -> None:
    frame = survey()
    frame.loc[[1, 2], "weight"] = [0.0, -1.0]
    frame.loc[5, "y"] = 2.0
    drivers = frame[["score", "tenure"]].assign(text="a", flag=frame["score"] > 2, double=2 * frame["score"])
    drivers["tenure"] = drivers["tenure"].cat.add_categories("tied")
    kinds = {"score": "driver", "tenure": "driver", "text": "control", "double": "drivr", "flag": "driver"}
    with pytest.raises(InputError) as caught:
        effects_of(frame, drivers, kinds)
    message = str(caught.value)
    for part in (
        "tenure, category tied: no row has it",
        "text: has type",
        "flag: has type bool",
        "double: its kind is 'drivr'",
        "outcome y: 1 rows are not 0 or 1 but [2.0]",
        "2 of 400 weights are missing, zero or negative",
    ):
        assert part in message
    assert len(caught.value.problems) == 6
