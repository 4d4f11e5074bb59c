"""Estimates of two committed waves, from their files to `district_estimates`, against R's survey package.

The reference numbers and the scripts that made them are in tests/golden (waves.py, waves.R): nothing outside the
repository is needed. R works out the indicators itself, from the answers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perception import wave_tables
from perception.estimation.domains import district_estimates
from perception.estimation.indices import index_estimates
from perception.estimation.totals import psu_totals
from perception.intake.describe import index_weights, indicator_facts
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave

ROOT = Path(__file__).resolve().parents[1]
KEY = ["wave", "indicator", "level", "unit_id", "domain"]
TIGHT = {"rtol": 1e-9, "atol": 1e-12}
GOLDEN = pd.read_csv(Path(__file__).parent / "golden/wave_estimates.csv")
# What its fitted logit model leaves of R's intervals: glm stops when the deviance changes by less than 1e-8.
FITTED = {"rtol": 1e-6, "atol": 0}


@pytest.fixture(scope="module", params=["kp-2018", "punjab-2024"])
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """R's rows of a wave joined with ours: columns of ours have the suffix `_ours`."""
    project = Project(ROOT)
    inputs = open_wave(project, request.param)
    tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
    file = tmp_path_factory.mktemp(request.param) / "responses.parquet"
    tidy.to_parquet(file)
    facts, totals = indicator_facts(tidy, inputs.wave, inputs.instrument), psu_totals(file, inputs.instrument)
    ours = district_estimates(totals, psus, inputs.units, facts)
    index = index_estimates(ours, index_weights(facts), totals, psus, inputs.units)
    ours = pd.concat([ours, index])
    golden = GOLDEN[GOLDEN["wave"] == request.param]
    return golden.merge(ours, on=KEY, how="left", suffixes=("", "_ours"), validate="1:1", indicator="found")


def test_every_domain_that_r_estimates_is_there(compared: pd.DataFrame) -> None:
    assert (compared["found"] == "both").all()
    assert len(compared) > 300
    assert set(compared["level"]) == {"district", "province"}
    np.testing.assert_array_equal(compared["n"], compared["n_ours"])
    np.testing.assert_array_equal(compared["df"], compared["df_ours"])


def test_shares_means_indices_and_standard_errors(compared: pd.DataFrame) -> None:
    np.testing.assert_allclose(compared["estimate_ours"], compared["estimate"], **TIGHT)
    known = compared["df"] >= 1
    assert known.sum() > 300
    assert (known & (compared["indicator"] == "services_index")).sum() > 90
    np.testing.assert_allclose(compared.loc[known, "se_ours"], compared.loc[known, "se"], **TIGHT)


def test_design_effects(compared: pd.DataFrame) -> None:
    varies = compared["deff"].notna() & (compared["se"] > 1e-12) & (compared["df"] >= 1)
    assert varies.sum() > 300
    np.testing.assert_allclose(compared.loc[varies, "deff_ours"], compared.loc[varies, "deff"], **TIGHT)


@pytest.mark.parametrize(("interval", "method"), [("logit", "logit"), ("korn_graubard", "beta")])
def test_intervals_of_shares(compared: pd.DataFrame, interval: str, method: str) -> None:
    rows = compared[(compared["interval"] == interval) & compared[f"{method}_low"].notna()]
    assert len(rows) > 20
    tolerance = FITTED if method == "logit" else TIGHT
    for end in ("low", "high"):
        np.testing.assert_allclose(rows[end], rows[f"{method}_{end}"], **tolerance)
