"""Checks of driver models: proportional odds, inflation, quadrants; scales, provinces and don't know as declared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from perception.drivers.checks import proportional_odds_p_value, variance_inflation
from perception.drivers.importance import performance, quadrants
from perception.drivers.wave_drivers import wave_drivers
from perception.estimation.design import design_from_psus
from perception.intake.instrument import Instrument
from tests.test_drivers import design_matrix, model_of, sampled, survey
from tests.test_ordered_logit import answers, ordered_model


def clustered(rng: np.random.Generator, turning: float) -> pd.DataFrame:
    """60 clusters of ten; the effect of the score on the upper half of the scale is larger by `turning`."""
    frame = pd.DataFrame({"stratum": 0, "psu": np.repeat(np.arange(60), 10).astype(str), "weight": 1.0})
    frame["score"] = rng.normal(size=600) + np.repeat(rng.normal(size=60), 10)
    noise = rng.logistic(size=600) + 0.5 * np.repeat(rng.normal(size=60), 10)
    lower = 0.6 * frame["score"] + noise > -0.7
    upper = (0.6 + turning) * frame["score"] + noise > 0.7
    codes = lower.astype(int) + (lower & upper).astype(int)
    frame["answer"] = pd.Categorical.from_codes(codes, ["a", "b", "c"], ordered=True)
    return frame


def test_proportional_odds_are_refused_as_often_as_they_should_be() -> None:
    rng = np.random.default_rng(12)

    def refused(turning: float, draws: int) -> int:
        found = 0
        for _ in range(draws):
            frame = clustered(rng, turning)
            model = ordered_model(frame, frame["answer"], positive_from="c", exog=frame[["score"]])
            found += proportional_odds_p_value(model) < 0.05
        return found

    low, high = stats.binom.ppf([0.0005, 0.9995], 200, 0.05)
    assert low <= refused(0.0, 200) <= high
    assert refused(1.2, 20) >= 18


def test_two_categories_have_one_threshold_and_nothing_to_compare() -> None:
    frame = survey()
    outcome = pd.Series(pd.Categorical.from_codes(frame["y"].astype(int), ["no", "yes"], ordered=True), name="y")
    assert np.isnan(proportional_odds_p_value(ordered_model(frame, outcome, positive_from="yes")))


def test_inflation_of_one_column_is_that_of_its_regression_on_the_others() -> None:
    frame = survey()
    exog = design_matrix(frame).assign(more=frame["score"] + np.random.default_rng(1).normal(size=len(frame)))
    model = model_of(frame, exog)
    blocks = {"score": [1], "tenure": [2, 3], "more": [4]}
    found = variance_inflation(model, blocks)
    root = np.sqrt(frame["weight"].to_numpy())[:, None]
    others, own = exog.drop(columns="score").to_numpy() * root, exog[["score"]].to_numpy() * root
    residual = own - others @ np.linalg.lstsq(others, own)[0]
    mean = np.average(frame["score"], weights=frame["weight"])
    total = (frame["weight"] * (frame["score"] - mean) ** 2).sum()
    assert found["score"] == pytest.approx(np.sqrt(total / (residual**2).sum()), rel=1e-9)
    assert found["score"] > 1.3
    assert found["tenure"] < 1.05


def test_performance_is_the_weighted_mean_with_its_linearised_error() -> None:
    frame = survey()
    design = design_from_psus(sampled(frame))
    rows = design.psu_index(frame["stratum"].tolist(), frame["psu"].tolist())
    table = performance({"y": frame["y"]}, weights=frame["weight"].to_numpy(), psu_rows=rows, design=design)
    mean = np.average(frame["y"], weights=frame["weight"])
    assert table["performance"].item() == pytest.approx(mean)
    totals = (frame["weight"] * (frame["y"] - mean) / frame["weight"].sum()).groupby(frame["psu"]).sum()
    spread = totals - totals.groupby(totals.index.str[0]).transform("mean")
    size = totals.groupby(totals.index.str[0]).transform("size")
    se = np.sqrt((size / (size - 1) * spread**2).sum())
    reach = stats.t.ppf(0.975, len(totals) - 3) * se
    assert table["performance_high"].item() == pytest.approx(mean + reach, rel=1e-9)


def test_quadrants_say_only_what_the_intervals_say() -> None:
    table = pd.DataFrame({"share": [0.5, 0.3, 0.1, 0.05, 0.05], "performance": [0.2, 0.8, 0.3, 0.9, np.nan]})
    for name in ("share", "performance"):
        table = table.assign(**{f"{name}_low": table[name] - 0.01, f"{name}_high": table[name] + 0.01})
    expected = ["concentrate_here", "keep_up", "low_priority", "possible_overkill"]
    found = quadrants(table)
    assert found[:4].tolist() == expected
    assert pd.isna(found.iloc[4])
    assert quadrants(table.assign(share_low=0.0, share_high=1.0))[:4].tolist() == ["cannot_tell"] * 4


# As declared


def declared(**model: object) -> Instrument:
    scale = {"type": "ordinal", "label": "How good?", "categories": dict.fromkeys("abcd", "Answer")}
    driver = {"type": "ordinal", "label": "Score?", "categories": dict.fromkeys(["low", "middle", "high"], "Answer")}
    predictor = {"variable": "score", "form": "score"}
    return Instrument.model_validate(
        {
            "id": "tiny",
            "title": "Tiny",
            "source": "made for a test",
            "questions": {"answer": scale, "score": driver},
            "indicators": {
                "good": {"label": "Good", "question": "answer", "positive": ["c", "d"], "population": "all"}
            },
            "driver_models": {"m": {"label": "Model", "outcome": "good", "drivers": [predictor]} | model},
        }
    )


def tiny_wave() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Responses in two districts of two provinces, a tenth of which does not know the score."""
    frame = survey(rows=600)
    rng = np.random.default_rng(4)
    tercile = np.digitize(frame["score"], frame["score"].quantile([1 / 3, 2 / 3]))
    scores = pd.Series(np.array(["low", "middle", "high"])[tercile], index=frame.index)
    frame["score_answer"] = scores.mask(rng.random(len(frame)) < 0.1, "dont_know")
    responses = pd.DataFrame(
        {
            "wave": "w",
            "district_id": np.where(frame["stratum"] == 0, "d", "e"),
            "psu": frame["psu"],
            "weight": frame["weight"],
            "answer": answers(frame).astype("str"),
            "score": frame["score_answer"],
        }
    )
    return responses, sampled(frame).assign(wave="w")


UNITS = pd.DataFrame({"district_id": ["d", "e"], "province_id": ["p", "q"]})


def test_those_who_do_not_know_are_counted_and_may_be_a_category() -> None:
    responses, psus = tiny_wave()
    unknown = (responses["score"] == "dont_know").mean()
    effects, _, models, _ = wave_drivers(responses, psus, declared(), UNITS)
    assert effects["dont_know_share"].item() == pytest.approx(unknown)
    assert models["n_dropped"].item() == (responses["score"] == "dont_know").sum()
    kept = {"variable": "score", "dont_know": True}
    effects, _, models, _ = wave_drivers(responses, psus, declared(drivers=[kept]), UNITS)
    assert effects["term"].tolist() == ["middle", "high", "dont_know"]
    assert models["n_dropped"].item() == 0
    with pytest.raises(ValueError, match="only a question in the form `category` can keep those who do not know"):
        declared(drivers=[kept | {"form": "score"}])


def test_a_model_by_province_is_fitted_on_each_and_names_it() -> None:
    responses, psus = tiny_wave()
    effects, importance, models, _ = wave_drivers(responses, psus, declared(level="province"), UNITS)
    assert models["unit_id"].tolist() == ["p", "q"]
    assert set(models["level"]) == {"province"}
    sizes = responses[responses["score"] != "dont_know"].groupby("district_id").size()
    assert models["n"].tolist() == sizes.tolist()
    assert importance["unit_id"].tolist() == effects["unit_id"].tolist() == ["p", "q"]
    assert effects["effect"].nunique() == 2


def test_the_whole_scale_is_modelled_as_declared_and_only_of_a_scale() -> None:
    responses, psus = tiny_wave()
    plain, *_ = wave_drivers(responses, psus, declared(), UNITS)
    ordered, _, models, _ = wave_drivers(responses, psus, declared(model="ordered_logit"), UNITS)
    assert models["kind"].item() == "ordered_logit"
    # Both say how much more often the answer is c or d, the ordered model from all four answers.
    assert ordered["effect"].item() == pytest.approx(plain["effect"].item(), abs=2 * plain["se"].item())
    assert ordered["se"].item() < plain["se"].item()
    good = {"label": "Good", "question": "answer", "positive": ["b", "d"], "population": "all"}
    with pytest.raises(ValueError, match="not the best of one ordinal question"):
        declared(model="ordered_logit").model_validate(
            declared().model_dump()
            | {
                "indicators": {"good": good},
                "driver_models": {
                    "m": {"label": "M", "outcome": "good", "model": "ordered_logit", "drivers": [{"variable": "score"}]}
                },
            }
        )
