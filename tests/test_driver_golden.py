"""A driver model of a committed wave, from its files to the tables, against R's survey package.

The reference numbers and the scripts that made them are in tests/golden (drivers.py, drivers.R): nothing outside the
repository is needed. R works out the outcome itself, from the answers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perception import wave_tables
from perception.drivers.wave_drivers import wave_drivers
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.schemas import contract_breaches

ROOT = Path(__file__).resolve().parents[1]
MODEL = "satisfied_health"
GOLDEN = pd.read_csv(Path(__file__).parent / "golden/driver_estimates.csv")
# R differentiates its likelihood and the effects numerically.
NUMERIC = 1e-6


@pytest.fixture(scope="module", params=["ordered_logit", "logit"])
def fitted(request: pytest.FixtureRequest) -> tuple[str, pd.DataFrame, ...]:
    """The kind of model, the responses, and its tables: drivers, importance, models, diagnosis."""
    project = Project(ROOT)
    inputs = open_wave(project, "kp-2024")
    tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
    model = inputs.instrument.driver_models[MODEL].model_copy(update={"model": request.param})
    instrument = inputs.instrument.model_copy(update={"driver_models": {MODEL: model}})
    return (request.param, tidy, *wave_drivers(tidy, psus, instrument, inputs.units))


def test_effects_and_their_errors_are_those_of_r(fitted: tuple[str, pd.DataFrame, ...]) -> None:
    kind, tidy, effects, *_ = fitted
    golden = GOLDEN[GOLDEN["model"] == kind].copy()
    golden[["driver", "term"]] = golden["term"].str.split(" ", n=1, expand=True).to_numpy()
    golden["term"] = golden["term"].replace("per step", "per SD")
    both = golden.merge(effects, on=["driver", "term"], suffixes=("_r", ""), validate="1:1")
    assert len(both) == len(golden) == len(effects) == 20
    assert (both["n"] == both["n_r"]).all()
    # R's effect of a score is of one more step of its scale, ours of one standard deviation.
    places = {"strongly_disagree": 0, "disagree": 1, "neither": 2, "agree": 3, "strongly_agree": 4}
    complete = tidy[tidy["health_used"] == "yes"]
    asked = [*effects.loc[effects["term"] == "per SD", "driver"], "health_satisfaction"]
    answered = complete[asked].isin([*places, "very_dissatisfied", "dissatisfied", "satisfied", "very_satisfied"])
    background = complete[["sex", "age_group", "education", "wealth", "urban"]]
    known = background.notna() & ~background.isin(["dont_know", "refused", "missing"])
    complete = complete[answered.all(axis=1) & known.all(axis=1)]
    assert len(complete) == both["n"].iloc[0]
    spread = {}
    for name in asked[:-1]:
        values = complete[name].map(places).to_numpy(float)
        mean = np.average(values, weights=complete["weight"])
        spread[name] = np.sqrt(np.average((values - mean) ** 2, weights=complete["weight"]))
    scale = both["driver"].map(spread).fillna(1.0)
    np.testing.assert_allclose(both["effect"], both["estimate"] * scale, rtol=NUMERIC, atol=1e-9)
    np.testing.assert_allclose(both["se"], both["se_r"] * scale, rtol=NUMERIC)


def test_tables_keep_their_contracts(fitted: tuple[str, pd.DataFrame, ...]) -> None:
    kind, _, effects, importance, models, diagnosis = fitted
    assert contract_breaches(effects, "drivers") == []
    assert contract_breaches(importance, "driver_importance") == []
    assert contract_breaches(models, "driver_models") == []
    assert contract_breaches(diagnosis, "district_diagnosis") == []
    assert models["kind"].tolist() == [kind]
    assert models["proportional_odds_p"].notna().tolist() == [kind == "ordered_logit"]
    assert importance["share"].sum() == pytest.approx(1)
