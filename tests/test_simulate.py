"""The simulated waves: the committed files are what the generator writes, and their samples estimate the truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from perception.estimation.design import design_from_psus
from perception.geography import load_gazetteer, vintage_units
from perception.intake.declarations import REASONS
from perception.intake.harmonise import responses
from perception.intake.instrument import Indicator, Instrument, load_instrument
from perception.intake.raw import raw_responses
from perception.intake.wave_file import load_wave
from perception.simulate.population import ADULT_SHARE, district_effects, topics, true_values
from perception.simulate.programme import VINTAGE, write_simulated_waves

RAW = Path(__file__).resolve().parents[1] / "data" / "raw"
WAVES = ("kp-2021", "punjab-2021")


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return load_instrument(RAW / "instruments" / "citizen-services.yml")


@pytest.fixture(scope="module")
def units() -> pd.DataFrame:
    return vintage_units(load_gazetteer(RAW / "reference"), VINTAGE)


@pytest.fixture(scope="module")
def answers(instrument: Instrument) -> dict[str, pd.DataFrame]:
    """The committed waves read back through intake, which refuses any code or district that is not declared."""
    gazetteer = load_gazetteer(RAW / "reference")
    tidy = {}
    for name in WAVES:
        wave = load_wave(RAW / "waves" / name)
        tidy[name] = responses(raw_responses(wave, RAW / "waves" / name), wave, instrument, gazetteer)
    return tidy


@pytest.fixture(scope="module")
def truth() -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(RAW / "waves" / name / "truth.csv") for name in WAVES}


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The waves written again, from the committed reference files and instrument."""
    raw = tmp_path_factory.mktemp("raw")
    for folder in ("reference", "instruments"):
        shutil.copytree(RAW / folder, raw / folder)
    assert write_simulated_waves(raw) == [raw / "waves" / name for name in WAVES]
    return raw


def answered(tidy: pd.DataFrame, indicator: Indicator) -> pd.Series:
    valid = ~tidy[indicator.question].isin(REASONS)
    if indicator.universe is not None:
        valid &= tidy[indicator.universe.question].isin(indicator.universe.answers)
    return valid


def estimates(tidy: pd.DataFrame, truth: pd.DataFrame, name: str, instrument: Instrument) -> pd.DataFrame:
    """One row a district, and the province last: estimate, se, deff, n, truth; the variance from PSU totals."""
    indicator = instrument.indicators[name]
    design = design_from_psus(
        tidy[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    )
    weight = (tidy["weight"] * answered(tidy, indicator)).to_numpy()
    hit = tidy[indicator.question].isin(indicator.positive).to_numpy(float)
    codes, districts = pd.factorize(tidy["district_id"], sort=True)
    domains = np.column_stack([codes == code for code in range(len(districts))] + [np.ones(len(codes), dtype=bool)])
    totals = (weight[:, None] * domains).sum(axis=0)
    shares = (weight[:, None] * domains * hit[:, None]).sum(axis=0) / totals
    scores = np.zeros((len(design.psus), domains.shape[1]))
    rows = design.psu_index(tidy["stratum"], tidy["psu"])
    np.add.at(scores, rows, weight[:, None] * domains * (hit[:, None] - shares) / totals)
    known = truth[truth["indicator"] == name].set_index("district_id").reindex(districts)
    table = pd.DataFrame(
        {
            "estimate": shares,
            "se": np.sqrt(design.variances(scores)),
            "n": (domains * (weight > 0)[:, None]).sum(axis=0),
            "truth": [*known["truth"], np.average(known["truth"], weights=known["population_n"])],
        },
        index=[*districts, "province"],
    )
    table["deff"] = table["se"] ** 2 * table["n"] / (table["estimate"] * (1 - table["estimate"]))
    return table


def test_committed_text_files_are_what_the_generator_writes(rewritten: Path) -> None:
    for name, files in {
        "kp-2021": ["wave.yml", "truth.csv"],
        "punjab-2021": ["wave.yml", "truth.csv", "responses.csv"],
    }.items():
        for file in files:
            again = (rewritten / "waves" / name / file).read_bytes()
            assert again == (RAW / "waves" / name / file).read_bytes(), (
                f"{name}/{file}: write the simulated waves again"
            )


def test_committed_spss_file_has_the_content_that_the_generator_writes(rewritten: Path) -> None:
    path = Path("waves") / "kp-2021" / "responses.sav"
    ours, labels = pyreadstat.read_sav(RAW / path, user_missing=True)
    again, labels_again = pyreadstat.read_sav(rewritten / path, user_missing=True)
    pd.testing.assert_frame_equal(ours, again)
    assert labels.variable_value_labels == labels_again.variable_value_labels
    assert labels.column_names_to_labels == labels_again.column_names_to_labels
    # The time of writing must not change the checksum of the file.
    assert labels.creation_time == labels_again.creation_time


def test_another_seed_gives_other_districts(units: pd.DataFrame) -> None:
    effects = district_effects(units, np.random.default_rng(2021))
    other = district_effects(units, np.random.default_rng(2022))
    pd.testing.assert_frame_equal(effects, district_effects(units, np.random.default_rng(2021)))
    assert abs(np.corrcoef(effects["health"], other["health"])[0, 1]) < 0.9


def test_district_effects_are_half_explained_and_smooth_in_space(units: pd.DataFrame) -> None:
    effects = district_effects(units, np.random.default_rng(7))
    assert list(effects.columns) == list(topics())
    known = np.column_stack(
        [
            np.ones(68),
            units["urban_share"].to_numpy(float),
            np.log(units["population_2023"].to_numpy(float) / units["area_km2"].to_numpy(float)),
            (units["province_id"] == "punjab").to_numpy(float),
        ]
    )
    rest = effects.to_numpy() - known @ np.linalg.lstsq(known, effects.to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(effects.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(effects.std(ddof=0), 1, atol=1e-9)
    np.testing.assert_allclose(rest.var(axis=0), 0.5, atol=1e-9)
    place = units[["latitude", "longitude"]].to_numpy()
    distance = np.hypot(*(place[:, None] - place).transpose(2, 0, 1))
    nearest = np.argsort(distance, axis=1)[:, 1]
    alike = [np.corrcoef(rest[:, topic], rest[nearest, topic])[0, 1] for topic in range(rest.shape[1])]
    assert np.mean(alike) > 0.2


def test_waves_say_that_they_are_simulated() -> None:
    for name in WAVES:
        wave = load_wave(RAW / "waves" / name)
        assert wave.simulated
        assert "(simulated)" in wave.title.en
        assert "simulated" in wave.citation
        assert wave.producer == "Simulated by this project"
        assert (wave.round, wave.licence, wave.instrument) == ("2021", "CC0-1.0", "citizen-services")


def test_both_waves_together_are_small() -> None:
    assert sum(path.stat().st_size for name in WAVES for path in (RAW / "waves" / name).iterdir()) < 4_000_000


def test_instrument_is_as_planned(instrument: Instrument) -> None:
    assert len([name for name in instrument.questions if name.endswith("_used")]) == 10
    assert len(instrument.indicators) <= 45
    headline = {name for name, indicator in instrument.indicators.items() if indicator.headline}
    assert headline == {"satisfied_district", "satisfied_health", "satisfied_primary_school", "satisfied_water"}
    for name, indicator in instrument.indicators.items():
        assert indicator.sensitive == (indicator.minimum_level == "province") == name.startswith("bribe_"), name
    # SDG 16.6.2 asks for five attributes of each of its four services.
    for service in ("health", "primary_school", "secondary_school", "identity"):
        assert sum(name.startswith(f"agree_{service}_") for name in instrument.indicators) == 5


def test_every_question_is_asked_and_users_only_answer_about_services(
    answers: dict[str, pd.DataFrame], instrument: Instrument
) -> None:
    for tidy in answers.values():
        for question in instrument.questions:
            assert set(instrument.scale(question)) <= set(tidy[question])
        for service in (name.removesuffix("_used") for name in instrument.questions if name.endswith("_used")):
            asked = tidy[f"{service}_satisfaction"] != "not_asked"
            assert (asked == (tidy[f"{service}_used"] == "yes")).all()


def test_dont_know_lies_between_2_and_12_percent(answers: dict[str, pd.DataFrame], instrument: Instrument) -> None:
    for tidy in answers.values():
        for question in instrument.questions:
            asked = tidy.loc[tidy[question] != "not_asked", question]
            assert 0.02 <= (asked == "dont_know").mean() <= 0.12, question
            assert (asked == "refused").mean() < 0.06, question


def test_design(answers: dict[str, pd.DataFrame], units: pd.DataFrame) -> None:
    for name, districts in zip(WAVES, (32, 36), strict=True):
        tidy = answers[name]
        strata = tidy.groupby("stratum").agg(psus=("psu", "nunique"), kinds=("urban", "nunique"))
        assert (strata["psus"] >= 2).all()
        assert (strata["kinds"] == 1).all()
        assert tidy["district_id"].nunique() == districts
        assert tidy.groupby("district_id").size().between(120, 260).all()
        assert tidy.groupby("psu").size().mean() == pytest.approx(12, abs=0.5)
        urban_share = units.set_index("district_id")["urban_share"]
        kinds = tidy.groupby("district_id")["urban"].agg(set)
        for district, kind in kinds.items():
            share = urban_share[district]
            assert kind == ({"urban"} if share > 0 else set()) | ({"rural"} if share < 1 else set())


def test_weights_sum_to_the_adults_of_each_stratum(answers: dict[str, pd.DataFrame], units: pd.DataFrame) -> None:
    kp, punjab = (answers[name] for name in WAVES)
    adults = units.set_index("district_id")["population_2023"].astype(float) * ADULT_SHARE
    by_district = kp.groupby("district_id")["weight"].sum()
    np.testing.assert_allclose(by_district, adults[by_district.index], rtol=1e-4)
    urban = kp[kp["urban"] == "urban"].groupby("district_id")["weight"].sum()
    np.testing.assert_allclose(urban, (adults * units.set_index("district_id")["urban_share"])[urban.index], rtol=1e-4)
    assert punjab["weight"].mean() == pytest.approx(1, abs=1e-5)
    relative = punjab.groupby("district_id")["weight"].sum() / len(punjab)
    expected = adults[relative.index] / adults[relative.index].sum()
    np.testing.assert_allclose(relative, expected, rtol=1e-4)


@pytest.mark.parametrize("indicator", ["satisfied_district", "satisfied_health"])
def test_samples_estimate_the_truth(
    indicator: str, answers: dict[str, pd.DataFrame], truth: dict[str, pd.DataFrame], instrument: Instrument
) -> None:
    tables = [estimates(answers[name], truth[name], indicator, instrument) for name in WAVES]
    for table in tables:
        province = table.loc["province"]
        assert abs(province["estimate"] - province["truth"]) < 4 * province["se"]
    districts = pd.concat(tables).drop(index="province")
    assert len(districts) == 68
    standardised = (districts["estimate"] - districts["truth"]) / districts["se"]
    assert 0.8 < np.sqrt((standardised**2).mean()) < 1.3
    assert 0.06 < districts["truth"].std() < 0.12
    assert 1.7 < districts["deff"].mean() < 3.0


def test_planted_drivers_can_be_found_in_the_answers(answers: dict[str, pd.DataFrame], instrument: Instrument) -> None:
    """Courtesy and access move satisfaction with health care most, affordability least."""
    tidy = pd.concat(answers.values())
    attributes = ("access", "affordability", "facilities", "equality", "courtesy")
    names = [*(f"health_{attribute}" for attribute in attributes), "health_satisfaction"]
    known = tidy[~tidy[names].isin(REASONS).any(axis=1)]
    scores = np.column_stack([pd.Categorical(known[name], instrument.scale(name)).codes for name in names]).astype(
        float
    )
    slopes = np.linalg.lstsq(np.column_stack([np.ones(len(scores)), scores[:, :-1]]), scores[:, -1], rcond=None)[0][1:]
    order = [attributes[place] for place in np.argsort(slopes)]
    assert order[0] == "affordability"
    assert order[-2:] == ["access", "courtesy"]
    assert slopes.min() < slopes.max() / 3


def test_some_services_have_fewer_than_30_users_in_a_district(
    answers: dict[str, pd.DataFrame], instrument: Instrument
) -> None:
    """The publication rules need something to suppress, and something to leave alone."""
    tidy = pd.concat(answers.values())
    users = {
        name: answered(tidy, instrument.indicators[name]).groupby(tidy["district_id"]).sum()
        for name in ("satisfied_police", "satisfied_courts", "satisfied_land", "satisfied_health", "satisfied_district")
    }
    assert (users["satisfied_courts"] < 30).all()
    assert 0 < (users["satisfied_police"] >= 30).sum() < 15
    assert 0 < (users["satisfied_land"] >= 30).sum() < 15
    assert (users["satisfied_health"] >= 50).all()
    assert (users["satisfied_district"] >= 100).all()


def test_truth_is_there_for_every_district_and_indicator(
    truth: dict[str, pd.DataFrame], units: pd.DataFrame, instrument: Instrument
) -> None:
    table = pd.concat(truth.values())
    assert len(table) == len(table.drop_duplicates(["district_id", "indicator"])) == 68 * len(instrument.indicators)
    assert table["truth"].between(0, 1).all()
    assert (table["population_n"] > 0).all()
    everyone = table.loc[table["indicator"] == "satisfied_district", "population_n"].sum()
    adults = units["population_2023"].astype(float).sum() * ADULT_SHARE
    # All but the don't know (4 %) and the refusals (1 %) count in a question put to everyone.
    assert everyone / adults == pytest.approx(0.95, abs=0.01)


def test_true_values_by_hand(instrument: Instrument) -> None:
    """Three households stand for 2 x 10, 1 x 10 and 3 x 10 adults; users without an opinion are not in the universe."""
    one = instrument.model_copy(update={"indicators": {"satisfied_health": instrument.indicators["satisfied_health"]}})
    population = pd.DataFrame(
        {
            "district_id": ["a", "a", "a", "a", "b"],
            "adults": [2, 1, 3, 5, 1],
            "represents": 10.0,
            "health_used": ["yes", "yes", "yes", "no", "yes"],
            "health_satisfaction": ["very_satisfied", "dissatisfied", "dont_know", "not_asked", "satisfied"],
        }
    )
    result = true_values(population, one).set_index("district_id")
    assert result.loc["a", ["truth", "population_n"]].tolist() == [pytest.approx(2 / 3), 30]
    assert result.loc["b", ["truth", "population_n"]].tolist() == [1, 10]
