"""Three real surveys from their producers' files to district estimates, against R's survey package.

Needs ../shared/waves and ../shared/golden; the recipes under test are the repository's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from perception.drivers.wave_drivers import wave_drivers
from perception.estimation.design import design_psus
from perception.estimation.domains import district_estimates
from perception.estimation.totals import psu_totals
from perception.geography import resolve_districts
from perception.intake.describe import indicator_facts
from perception.intake.harmonise import responses
from perception.intake.raw import raw_responses
from perception.project import Project, WaveInputs, open_wave
from perception.schemas import contract_breaches
from perception.wave_folders import add_wave, wave_problems
from tests.conftest import ROOT

INDICATORS = {"mics-punjab-2018": "safe_walk", "mics-punjab-2014": "sat", "pslm-2019-20": "doorstep"}
DISTRICTS = {"mics-punjab-2018": 36, "mics-punjab-2014": 36, "pslm-2019-20": 68}


@dataclass(frozen=True)
class Made:
    """A wave and every table made from it."""

    inputs: WaveInputs
    raw: pd.DataFrame
    responses: pd.DataFrame
    design_psus: pd.DataFrame
    estimates: pd.DataFrame


Make = Callable[[str], Made]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, shared_waves: Path) -> Project:
    """A project with the repository's reference files and instruments, and the three waves added by their recipes."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.waves.mkdir(parents=True)
    for name in ("reference", "instruments"):
        (project.root / "data/raw" / name).symlink_to(ROOT / "data/raw" / name)
    for wave in INDICATORS:
        add_wave(project, ROOT / "recipes" / wave, shared_waves / wave)
    return project


@pytest.fixture(scope="module")
def make(project: Project) -> Make:
    """Makes a wave of the project, once."""

    @cache
    def made(wave: str) -> Made:
        inputs = open_wave(project, wave)
        raw = raw_responses(inputs.wave, inputs.folder)
        tidy = responses(raw, inputs.wave, inputs.instrument, inputs.gazetteer)
        psus = design_psus(raw, tidy, inputs.wave, inputs.units)
        file = project.table("responses", wave)
        file.parent.mkdir(parents=True)
        tidy.to_parquet(file, index=False)
        facts = indicator_facts(tidy, inputs.wave, inputs.instrument)
        estimates = district_estimates(psu_totals(file, inputs.instrument), psus, inputs.units, facts)
        return Made(inputs, raw, tidy, psus, estimates)

    return made


def golden_units(made: Made, golden: pd.DataFrame) -> pd.DataFrame:
    """R's rows with the district_id of their unit: a code through the file's value labels, a label as it is."""
    place = made.inputs.wave.geography
    labels = made.raw.attrs["value_labels"][place.district]
    names = golden["unit"].map(lambda unit: labels.get(unit, unit))
    found = resolve_districts(made.inputs.gazetteer, place.vintage, names[names != "ALL"], {})
    assert found["district_id"].notna().all()
    unit_ids = names.map(found.set_index("name")["district_id"]).where(names != "ALL", "all")
    return golden.assign(unit_id=unit_ids)


@pytest.mark.parametrize("wave", INDICATORS)
def test_estimates_agree_with_r(wave: str, make: Make, shared_golden: Path) -> None:
    made = make(wave)
    golden = pd.read_csv(shared_golden / "real_waves_r_survey.csv")
    golden = golden_units(made, golden[(golden["wave"] == wave) & (golden["indicator"] == INDICATORS[wave])])
    ours = made.estimates[(made.estimates["indicator"] == INDICATORS[wave]) & (made.estimates["domain"] == "all")]
    ours = ours[ours["level"].isin(["district", "all"])]
    both = golden.merge(ours, on="unit_id", how="outer", suffixes=("_r", ""), validate="1:1", indicator=True)
    assert (both["_merge"] == "both").all()
    assert len(both) == DISTRICTS[wave] + 1

    varying = both["deff_r"].notna()
    for statistic in ("estimate", "se", "deff"):
        np.testing.assert_allclose(
            both.loc[varying, statistic], both.loc[varying, f"{statistic}_r"], rtol=1e-6, err_msg=statistic
        )
    agreeing = both[~varying]
    assert (agreeing["se_r"] == 0).all()
    assert (agreeing["se"] == 0).all()
    assert (agreeing["estimate"] == agreeing["estimate_r"]).all()
    assert agreeing["deff"].isna().all()


def test_some_units_of_the_golden_file_have_no_variance(shared_golden: Path) -> None:
    golden = pd.read_csv(shared_golden / "real_waves_r_survey.csv")
    assert golden["deff"].isna().sum() > 5  # else the branch above would compare nothing


@pytest.mark.parametrize("wave", INDICATORS)
def test_every_district_is_there_and_estimates_keep_their_contract(wave: str, make: Make) -> None:
    made = make(wave)
    assert made.responses["district_id"].nunique() == DISTRICTS[wave]
    assert contract_breaches(made.estimates, "district_estimates") == []


def test_rows_that_do_not_count_are_left_out(make: Make) -> None:
    men = make("mics-punjab-2018")
    assert len(men.raw) == 39_368
    assert len(men.responses) == 39_368 - 12_274
    assert len(make("pslm-2019-20").responses) == 106_940


def test_strata_of_one_psu_are_centred_as_the_recipe_says(make: Make) -> None:
    psus = make("pslm-2019-20").design_psus
    sizes = psus.groupby("stratum")["psu"].size()
    assert (sizes == 1).sum() > 0
    assert (psus["single_psu"] == "centred").sum() == (sizes == 1).sum()
    assert (psus["variance_stratum"] == psus["stratum"]).all()


def test_check_finds_nothing_wrong_with_a_recipe_wave(project: Project) -> None:
    assert wave_problems(project, "mics-punjab-2014") == []


# The safety model of the men's survey, once more and by other means: statsmodels' GLM for the coefficients, marginal
# effects by prediction, their standard errors by loops over strata and numerical derivatives.

GROUNDS = ("ethnic", "gender", "orientation", "age", "religion", "disability", "other")
CATEGORIES = {
    "victim": ["no", "yes"],
    "discriminated": ["no", "yes"],
    "wealth": ["lowest", "second", "middle", "fourth", "highest"],
    "education": ["none", "primary", "middle", "secondary", "higher"],
    "urban": ["rural", "urban"],
    "age_group": ["<25", "25-34", "35-44", "45-54"],
}


def any_yes(frame: pd.DataFrame, questions: list[str]) -> pd.Series:
    """Yes when one answer is yes, no when all are no, else missing."""
    yes, no = (frame[questions] == "yes").any(axis=1), (frame[questions] == "no").all(axis=1)
    return pd.Series(np.where(yes, "yes", "no"), index=frame.index).where(yes | no)


def by_hand(frame: pd.DataFrame, psus: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    data = pd.DataFrame(
        {
            "safe": frame["safe_walking"].map(
                {"very_safe": 1.0, "safe": 1.0, "unsafe": 0.0, "very_unsafe": 0.0, "never_alone": 0.0}
            ),
            "victim": any_yes(frame, ["robbed", "attacked"]),
            "discriminated": any_yes(frame, [f"discriminated_{ground}" for ground in GROUNDS]),
            **{name: frame[name] for name in ("wealth", "education", "urban", "age_group", "weight", "psu")},
        }
    ).dropna()
    terms = [(name, category) for name, categories in CATEGORIES.items() for category in categories[1:]]
    exog = np.column_stack([np.ones(len(data)), *((data[name] == category) for name, category in terms)]).astype(float)
    weight, safe = data["weight"].to_numpy(), data["safe"].to_numpy()
    fit = sm.GLM(safe, exog, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-14)

    def effects(params: np.ndarray) -> np.ndarray:
        found = []
        for column, (name, _) in enumerate(terms, start=1):
            moved = exog.copy()
            moved[:, [1 + place for place, term in enumerate(terms) if term[0] == name]] = 0.0
            reference = 1 / (1 + np.exp(-moved @ params))
            moved[:, column] = 1.0
            found.append(np.average(1 / (1 + np.exp(-moved @ params)) - reference, weights=weight))
        return np.array(found)

    chance = fit.fittedvalues
    bread = np.linalg.inv((exog.T * (weight * chance * (1 - chance))) @ exog)
    scores = pd.DataFrame(exog * (weight * (safe - chance))[:, None]).groupby(data["psu"].to_numpy()).sum()
    meat = np.zeros_like(bread)
    for _, members in psus.groupby("variance_stratum"):
        totals = scores.reindex(members["psu"], fill_value=0.0).to_numpy()
        spread = totals - totals.mean(axis=0)
        meat += len(totals) / (len(totals) - 1) * spread.T @ spread
    covariance = bread @ meat @ bread
    step = 1e-5
    gradient = np.column_stack(
        [
            (effects(fit.params + step * unit) - effects(fit.params - step * unit)) / (2 * step)
            for unit in np.eye(len(fit.params))
        ]
    )
    se = np.sqrt(np.diag(gradient @ covariance @ gradient.T))
    table = pd.DataFrame(terms, columns=["driver", "term"]).assign(effect=effects(fit.params), se=se)
    return table, len(data)


def test_driver_effects_by_other_means(make: Make) -> None:
    made = make("mics-punjab-2018")
    ours = wave_drivers(made.responses, made.design_psus, made.inputs.instrument, made.inputs.units)[0]
    assert ours["model"].unique().tolist() == ["safety"]
    theirs, count = by_hand(made.responses, made.design_psus)
    both = theirs.merge(ours, on=["driver", "term"], how="outer", suffixes=("_hand", ""), validate="1:1")
    assert len(both) == len(theirs) == len(ours)
    np.testing.assert_allclose(both["effect"], both["effect_hand"], rtol=1e-7)
    np.testing.assert_allclose(both["se"], both["se_hand"], rtol=1e-5)
    assert set(ours["n"]) == {count}
    assert set(ours["n_dropped"]) == {len(made.responses) - count}


@pytest.mark.parametrize("wave", ["mics-punjab-2018", "mics-punjab-2014"])
def test_driver_effects_agree_with_svyglm(make: Make, wave: str) -> None:
    """R's numbers, and the scripts that made them, are in tests/golden (real_drivers.py, real_drivers.R)."""
    golden = pd.read_csv(Path(__file__).parent / "golden/real_driver_effects.csv")
    made = make(wave)
    ours = wave_drivers(made.responses, made.design_psus, made.inputs.instrument, made.inputs.units)[0]
    both = golden[golden["wave"] == wave].merge(ours, on=["driver", "term"], suffixes=("_r", ""), validate="1:1")
    assert len(both) == len(ours) == (golden["wave"] == wave).sum()
    assert (both["n"] == both["n_r"]).all()
    np.testing.assert_allclose(both["effect"], both["effect_r"], rtol=1e-7)
    np.testing.assert_allclose(both["se"], both["se_r"], rtol=1e-6)
