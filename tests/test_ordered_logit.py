"""The weighted ordered logit: against R's svyolr, against the logit where it has two categories, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime

from perception.drivers.models import SurveyLogit
from perception.drivers.ordered import SurveyOrderedLogit
from perception.errors import InputError
from tests.test_drivers import design_matrix, sampled, survey

DESIGNS = {
    "strat_wr": ("apistrat", "stype", None),
    "clus1_wr": ("apiclus1", None, "dnum"),
    "clus2_wr": ("apiclus2", None, "dnum"),
}


def answers(frame: pd.DataFrame, seed: int = 3, categories: str = "abcd") -> pd.Series:
    """An ordered answer that goes up with the score."""
    latent = 0.5 * frame["score"] + np.random.default_rng(seed).logistic(size=len(frame))
    codes = np.digitize(latent, np.quantile(latent, [0.2, 0.5, 0.8]))
    return pd.Series(pd.Categorical.from_codes(codes, list(categories), ordered=True), index=frame.index, name="answer")


def ordered_model(frame: pd.DataFrame, outcome: pd.Series | None = None, **changes: Any) -> SurveyOrderedLogit:
    arguments = {
        "positive_from": "c",
        "weights": frame["weight"],
        "strata": frame["stratum"],
        "psu": frame["psu"],
        "design_psus": sampled(frame),
    }
    exog = changes.pop("exog") if "exog" in changes else design_matrix(frame).drop(columns="const")
    return SurveyOrderedLogit(answers(frame) if outcome is None else outcome, exog, **arguments | changes)


@pytest.mark.parametrize("key", DESIGNS)
def test_coefficients_and_errors_are_those_of_r(shared_golden: Path, key: str) -> None:
    golden = json.loads((shared_golden / "r_golden_olr_tight.json").read_text())[key]
    name, stratum, cluster = DESIGNS[key]
    frame = pd.read_csv(shared_golden / f"{name}.csv")
    frame = frame.assign(stratum="all" if stratum is None else frame[stratum])
    frame["psu"] = (frame.index if cluster is None else frame[cluster]).astype(str)
    growth = pd.cut(frame["growth"], [-np.inf, 5, 25, 45, np.inf], labels=list("1234"))
    exog = pd.DataFrame({name: frame[name] for name in ("meals", "mobility")})
    exog = exog.assign(stypeH=frame["stype"] == "H", stypeM=frame["stype"] == "M")
    results = SurveyOrderedLogit(
        growth,
        exog,
        positive_from="3",
        weights=frame["pw"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"}),
    ).fit()
    assert list(results.params.index) == list(golden["coef"])
    np.testing.assert_allclose(results.params, list(golden["coef"].values()), rtol=1e-9)
    np.testing.assert_allclose(results.bse, golden["se_svy"], rtol=1e-8)
    np.testing.assert_allclose(results.cov_params(), golden["vcov_svy"], rtol=1e-6, atol=1e-12)
    if golden["logLik"] is not None:
        mean = frame["pw"].mean()  # R's likelihood is that of weights with mean 1
        assert results.llf / mean == pytest.approx(golden["logLik"], rel=1e-9)


def test_two_categories_are_the_logit() -> None:
    frame = survey()
    outcome = pd.Series(pd.Categorical.from_codes(frame["y"].astype(int), ["no", "yes"], ordered=True), name="y")
    ordered = ordered_model(frame, outcome, positive_from="yes").fit()
    plain = SurveyLogit(
        frame["y"],
        design_matrix(frame),
        weights=frame["weight"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=sampled(frame),
    ).fit()
    slopes = [name for name in plain.params.index if name != "const"]
    np.testing.assert_allclose(ordered.params[slopes], plain.params[slopes], rtol=1e-9)
    assert ordered.params["no|yes"] == pytest.approx(-plain.params["const"], rel=1e-9)
    np.testing.assert_allclose(ordered.bse[slopes], plain.bse[slopes], rtol=1e-9)
    mine, theirs = ordered.average_marginal_effects(), plain.average_marginal_effects()
    np.testing.assert_allclose(mine, theirs.loc[mine.index], rtol=1e-8)


def test_score_and_hessian_are_the_derivatives_of_the_likelihood() -> None:
    model = ordered_model(survey())
    rng = np.random.default_rng(1)
    params = np.concatenate([rng.normal(0, 0.3, model.exog.shape[1]), [-1.2, 0.1, 1.5]])
    np.testing.assert_allclose(model.score(params), approx_fprime(params, model.loglike, 1e-6), rtol=1e-4, atol=1e-2)
    numeric = np.array([approx_fprime(params, lambda p, i=i: model.score(p)[i], 1e-6) for i in range(len(params))])
    np.testing.assert_allclose(model.hessian(params), numeric, rtol=1e-4, atol=2e-2)
    np.testing.assert_allclose(model.score_obs(params).sum(axis=0), model.score(params))
    assert model.loglike(np.concatenate([params[:-3], [0.1, -1.2, 1.5]])) == -np.inf


def test_probabilities_and_their_effects_add_up() -> None:
    frame = survey()
    results = ordered_model(frame).fit()
    np.testing.assert_allclose(results.predict().sum(axis=1), 1)
    shares = np.average(results.predict(), axis=0, weights=frame["weight"])
    observed = frame["weight"].groupby(answers(frame), observed=True).sum() / frame["weight"].sum()
    np.testing.assert_allclose(shares, observed, atol=0.02)
    by_category = results.category_effects()
    np.testing.assert_allclose(by_category["effect"].groupby(level="column").sum(), 0, atol=1e-12)
    good = by_category.loc["score", "effect"][["c", "d"]].sum()
    assert results.average_marginal_effects().loc["score", "effect"] == pytest.approx(good)
    # By hand: everybody's score a little higher
    more = results.model.exog.copy()
    more[:, list(results.model.exog_names).index("score")] += 1e-6
    moved = (results.predict(more) - results.predict()) / 1e-6
    expected = np.average(moved, axis=0, weights=frame["weight"])
    np.testing.assert_allclose(by_category.loc["score", "effect"], expected, rtol=1e-4)


def test_summary_names_slopes_and_thresholds() -> None:
    text = str(ordered_model(survey()).fit().summary())
    for part in ("Survey-weighted ordered logit", "score", "a|b", "c|d", "design sandwich"):
        assert part in text


def test_separation_is_named() -> None:
    frame = survey()
    outcome = answers(frame)
    perfect = (outcome.cat.codes >= 2).astype(float)
    with pytest.raises(InputError, match="perfect") as caught:
        ordered_model(frame, outcome, exog=design_matrix(frame).drop(columns="const").assign(perfect=perfect)).fit()
    assert "separation" in str(caught.value)


def test_what_cannot_be_fitted_is_named_all_at_once() -> None:
    frame = survey()
    outcome = answers(frame).cat.add_categories("e")
    outcome.iloc[:3] = None
    with pytest.raises(InputError) as caught:
        ordered_model(frame, outcome, positive_from="a", weights=frame["weight"].where(frame.index > 0, 0.0))
    message = str(caught.value)
    for part in ("3 missing answers", "category e: no row has it", "all answers count from a", "1 of 400 weights"):
        assert part in message


def test_no_model_of_ours_leaves_weights_out() -> None:
    """statsmodels' OrderedModel takes weights without a word and fits without them: none of ours is made from it."""
    frame = survey()
    with pytest.raises(TypeError, match="weights"):
        SurveyOrderedLogit(answers(frame), design_matrix(frame), positive_from="c")  # type: ignore[call-arg]
    root = Path(__file__).resolve().parents[1]
    for folder in ("perception", "assets", "pipelines"):
        for file in (root / folder).rglob("*.py"):
            assert "OrderedModel" not in file.read_text(encoding="utf-8"), file
