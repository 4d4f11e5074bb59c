"""The simulated programme: committed files are what the generator writes, samples estimate the truth, faults are in."""

from __future__ import annotations

import gzip
import itertools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from perception.drivers.wave_drivers import wave_drivers
from perception.errors import InputError
from perception.estimation.design import design_from_psus, design_psus
from perception.estimation.weighting import built_weights
from perception.geography import load_gazetteer, vintage_units
from perception.geography.gazetteer import Gazetteer, units_covering
from perception.intake.codebook import codebook_changes, comparability_problems, wave_codebook
from perception.intake.declarations import REASON_SUFFIX, REASONS
from perception.intake.harmonise import responses
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.raw import raw_responses
from perception.intake.wave_file import Wave, load_wave
from perception.intake.xlsform import form_labels, read_xlsform
from perception.simulate import programme
from perception.simulate.faults import FAULTS
from perception.simulate.fieldwork import METRES_PER_DEGREE
from perception.simulate.population import (
    ADULT_SHARE,
    district_effects,
    inherited_effects,
    quantity,
    topics,
    true_values,
    valid_answers,
)
from perception.simulate.programme import (
    FIRST_VINTAGE,
    SimulatedWave,
    simulated_waves,
    undeclared,
    with_faults,
    without,
    write_simulated_waves,
    write_stata_twin,
)
from perception.simulate.questionnaire import ROUNDS, SERVICES, WAIT
from perception.simulate.sample import _meetings

RAW = Path(__file__).resolve().parents[1] / "data" / "raw"
SEED = 2021
WAVES = [f"{province}-{year}" for year in ROUNDS for province in ("kp", "punjab")]
DISTRICTS = {"kp-2018": 32, "kp-2021": 32, "kp-2024": 35, "punjab-2018": 36, "punjab-2021": 36, "punjab-2024": 36}


@dataclass(frozen=True)
class Read:
    """A committed wave read back through intake, which refuses any code, column or district that is not declared."""

    wave: Wave
    raw: pd.DataFrame
    tidy: pd.DataFrame
    truth: pd.DataFrame
    units: pd.DataFrame


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return load_instrument(RAW / "instruments" / "citizen-services.yml")


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(RAW / "reference")


@pytest.fixture(scope="module")
def units(gazetteer: Gazetteer) -> pd.DataFrame:
    return vintage_units(gazetteer, FIRST_VINTAGE)


def read_wave(folder: Path, instrument: Instrument, gazetteer: Gazetteer) -> Read:
    wave = load_wave(folder)
    raw = raw_responses(wave, folder)
    units = vintage_units(gazetteer, wave.geography.vintage)
    tidy = responses(raw, wave, instrument, gazetteer)
    tidy = built_weights(tidy, raw, wave, folder, gazetteer, units)
    return Read(wave, raw, tidy, pd.read_csv(folder / "truth.csv"), units)


@pytest.fixture(scope="module")
def read(instrument: Instrument, gazetteer: Gazetteer) -> dict[str, Read]:
    return {name: read_wave(RAW / "waves" / name, instrument, gazetteer) for name in WAVES}


@pytest.fixture(scope="module")
def clean() -> dict[str, SimulatedWave]:
    """The waves as honest teams deliver them, before they are written."""
    return {simulated.delivery.wave: simulated for simulated in simulated_waves(RAW, SEED)}


@pytest.fixture(scope="module")
def faulty(clean: dict[str, SimulatedWave]) -> dict[str, SimulatedWave]:
    """The same waves with their faults planted."""
    return {name: with_faults(honest, SEED) for name, honest in clean.items()}


@pytest.fixture(scope="module")
def rewritten(clean: dict[str, SimulatedWave], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The waves written again; simulated once for all tests."""
    raw = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programme, "simulated_waves", lambda given, seed, full: clean.values() if seed == SEED else [])
        assert write_simulated_waves(raw) == [raw / "waves" / name for name in WAVES]
    return raw


def estimates(one: Read, name: str, instrument: Instrument) -> pd.DataFrame:
    """One row a district, and the province last: estimate, se, deff, n, truth; the variance from PSU totals."""
    tidy, indicator = one.tidy, instrument.indicators[name]
    design = design_from_psus(
        tidy[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    )
    valid = valid_answers(tidy, indicator, instrument).to_numpy()
    weight = (tidy["weight"] * valid).to_numpy()
    hit = np.where(valid, quantity(tidy, indicator).fillna(0).to_numpy(float), 0.0)
    codes, districts = pd.factorize(tidy["district_id"], sort=True)
    domains = np.column_stack([codes == code for code in range(len(districts))] + [np.ones(len(codes), dtype=bool)])
    totals = (weight[:, None] * domains).sum(axis=0)
    means = (weight[:, None] * domains * hit[:, None]).sum(axis=0) / totals
    scores = np.zeros((len(design.psus), domains.shape[1]))
    rows = design.psu_index(tidy["stratum"], tidy["psu"])
    np.add.at(scores, rows, weight[:, None] * domains * (hit[:, None] - means) / totals)
    known = one.truth[one.truth["indicator"] == name].set_index("district_id").reindex(districts)
    table = pd.DataFrame(
        {
            "estimate": means,
            "se": np.sqrt(design.variances(scores)),
            "n": (domains * valid[:, None]).sum(axis=0),
            "truth": [*known["truth"], np.average(known["truth"], weights=known["population_n"])],
        },
        index=[*districts, "province"],
    )
    if indicator.kind == "share":
        table["deff"] = table["se"] ** 2 * table["n"] / (table["estimate"] * (1 - table["estimate"]))
    return table


# What is committed


def _content(path: Path) -> object:
    """What a file holds, apart from how a library of another version compresses it."""
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zsav":
        frame, meta = pyreadstat.read_sav(str(path), user_missing=True)
        about = (meta.variable_value_labels, meta.column_names_to_labels, meta.missing_ranges, meta.creation_time)
        return frame.to_csv(), about
    return path.read_bytes()


@pytest.mark.parametrize("name", WAVES)
def test_committed_files_are_what_the_generator_writes(name: str, rewritten: Path) -> None:
    committed = RAW / "waves" / name
    files = sorted(path.name for path in committed.iterdir())
    assert files == sorted(path.name for path in (rewritten / "waves" / name).iterdir())
    for file in set(files) - {"SHA256SUMS"}:  # compressed bytes may differ with the library's version
        same = _content(committed / file) == _content(rewritten / "waves" / name / file)
        assert same, f"{name}/{file}: write the simulated waves again"


def test_files_hold_no_time_of_writing(rewritten: Path) -> None:
    for name in ("kp-2021", "kp-2024"):
        with zipfile.ZipFile(rewritten / "waves" / name / "form.xlsx") as archive:
            assert {info.date_time[0] for info in archive.infolist()} == {1980}
            assert b"2024-01-01T00:00:00Z" in archive.read("docProps/core.xml")
    packed = (rewritten / "waves" / "kp-2024" / "responses.csv.gz").read_bytes()
    assert packed[3] == 0  # no file name either
    assert packed[4:8] == b"\0\0\0\0"
    _, meta = pyreadstat.read_sav(str(rewritten / "waves" / "kp-2018" / "responses.zsav"))
    assert meta.creation_time.isoformat() == "2018-11-30T12:00:00"


def test_waves_together_are_small_and_narrow(read: dict[str, Read]) -> None:
    assert sum(path.stat().st_size for name in WAVES for path in (RAW / "waves" / name).iterdir()) < 8_000_000
    for name in WAVES:
        assert read[name].raw.shape[1] - 1 <= 150, name


def test_waves_say_that_they_are_simulated(read: dict[str, Read]) -> None:
    for name, one in read.items():
        province, year = name.split("-")
        assert one.wave.simulated
        assert "(simulated)" in one.wave.title.en
        assert "simulated" in one.wave.citation
        assert one.wave.producer == "Simulated by this project"
        assert (one.wave.round, one.wave.licence, one.wave.instrument) == (year, "CC0-1.0", "citizen-services")
        assert one.wave.predecessor == {"2018": None, "2021": f"{province}-2018", "2024": f"{province}-2021"}[year]


def test_the_full_programme_needs_a_folder_of_its_own() -> None:
    with pytest.raises(ValueError, match="folder of its own"):
        write_simulated_waves(RAW, full=True)


def test_instrument_is_as_planned(instrument: Instrument) -> None:
    assert [name.removesuffix("_used") for name in instrument.questions if name.endswith("_used")] == list(SERVICES)
    assert instrument.overall == "district_satisfaction"
    assert {name: len(block) for name, block in instrument.batteries.items()} == dict.fromkeys(SERVICES, 5)
    headline = {name for name, indicator in instrument.indicators.items() if indicator.headline}
    share = {"satisfied_district", "satisfied_health", "satisfied_primary_school", "satisfied_water"}
    assert headline == share | {"wait_health"}
    for name, indicator in instrument.indicators.items():
        assert indicator.sensitive == (indicator.minimum_level == "province") == name.startswith("bribe_"), name
    kinds = {name: (indicator.kind, len(indicator.questions)) for name, indicator in instrument.indicators.items()}
    assert [name for name, (kind, _) in kinds.items() if kind == "mean"] == ["wait_health"]
    assert [name for name, (kind, _) in kinds.items() if kind == "quantile"] == ["median_wait_health"]
    assert [name for name, (_, count) in kinds.items() if count > 1] == ["health_too_far_or_dear", "bribe_asked_any"]
    # SDG 16.6.2 asks for five attributes of each of its four services.
    for service in ("health", "primary_school", "secondary_school", "identity"):
        assert sum(name.startswith(f"agree_{service}_") for name in instrument.indicators) == 5


# Districts, people, sample


def test_another_seed_gives_other_districts(units: pd.DataFrame) -> None:
    effects = district_effects(units, np.random.default_rng(2021))["2021"]
    other = district_effects(units, np.random.default_rng(2022))["2021"]
    pd.testing.assert_frame_equal(effects, district_effects(units, np.random.default_rng(2021))["2021"])
    assert abs(np.corrcoef(effects["health"], other["health"])[0, 1]) < 0.9


def test_district_effects_are_half_explained_and_smooth_in_space(units: pd.DataFrame) -> None:
    known = np.column_stack(
        [
            np.ones(68),
            units["urban_share"].to_numpy(float),
            np.log(units["population_2023"].to_numpy(float) / units["area_km2"].to_numpy(float)),
            (units["province_id"] == "punjab").to_numpy(float),
        ]
    )
    place = units[["latitude", "longitude"]].to_numpy()
    distance = np.hypot(*(place[:, None] - place).transpose(2, 0, 1))
    nearest = np.argsort(distance, axis=1)[:, 1]
    alike = []
    for seed in (7, 8, 9, 10):
        for effects in district_effects(units, np.random.default_rng(seed)).values():
            assert list(effects.columns) == list(topics())
            rest = effects.to_numpy() - known @ np.linalg.lstsq(known, effects.to_numpy(), rcond=None)[0]
            np.testing.assert_allclose(effects.mean(), 0, atol=1e-9)
            np.testing.assert_allclose(effects.std(ddof=0), 1, atol=1e-9)
            np.testing.assert_allclose(rest.var(axis=0), 0.5, atol=1e-9)
            alike += [np.corrcoef(rest[:, topic], rest[nearest, topic])[0, 1] for topic in range(rest.shape[1])]
    assert np.mean(alike) > 0.17


def test_districts_keep_much_of_their_place_but_some_improve_or_worsen(units: pd.DataFrame) -> None:
    effects = district_effects(units, np.random.default_rng(7))
    for before, after, low, high in (
        ("2018", "2021", 0.8, 0.98),
        ("2021", "2024", 0.8, 0.98),
        ("2018", "2024", 0.55, 0.92),
    ):
        for topic in topics():
            alike = np.corrcoef(effects[before][topic], effects[after][topic])[0, 1]
            assert low < alike < high, (before, after, topic)
    change = (effects["2024"] - effects["2018"]).mean(axis=1)
    # Ten districts turn by about one SD, the others drift by a third of it.
    assert 4 <= (change > 0.7).sum() <= 10
    assert 4 <= (change < -0.7).sum() <= 10
    assert change.abs().median() < 0.45


def test_parts_of_a_split_district_inherit_from_it(units: pd.DataFrame, gazetteer: Gazetteer) -> None:
    effects = district_effects(units, np.random.default_rng(7))["2024"]
    covering = units_covering(gazetteer, "2018")
    parents = pd.Series({name: covering[name][0] for name in vintage_units(gazetteer, "2023")["district_id"]})
    own = inherited_effects(effects, parents, np.random.default_rng(1))
    whole = own.loc["kp-swat"]
    assert (whole == effects.loc["kp-swat"]).all()
    parts = own[parents == "kp-kohistan"] - effects.loc["kp-kohistan"]
    assert len(parts) == 3
    assert 0.08 < parts.to_numpy().std() < 0.25


def test_every_two_of_a_team_meet_once() -> None:
    for team in (4, 28):
        meetings = _meetings(team)
        assert sorted(tuple(sorted(pair)) for pair in meetings) == list(itertools.combinations(range(team), 2))
        rounds = [meetings[start : start + team // 2] for start in range(0, len(meetings), team // 2)]
        assert all(sorted(itertools.chain(*pairs)) == list(range(team)) for pairs in rounds)


def test_each_round_asks_what_it_should_of_whom_it_should(read: dict[str, Read], instrument: Instrument) -> None:
    for one in read.values():
        survey, tidy = ROUNDS[one.wave.round], one.tidy
        asked = survey.questions(instrument)
        assert [name for name in one.wave.variables if name in instrument.questions] == [
            name for name in one.wave.variables if name in asked
        ]
        assert set(asked) <= set(one.wave.variables)
        for question in asked:
            reasons = tidy[question + REASON_SUFFIX] if question == WAIT else tidy[question]
            condition = survey.asked_if(question)
            assert not (reasons == "missing").any(), question
            if condition is not None:
                assert ((reasons != "not_asked") == (tidy[condition[0]] == condition[1])).all(), question
            elif question != "safety_after_dark":
                assert not (reasons == "not_asked").any(), question
            if question != WAIT:
                assert set(survey.scale(question, instrument)) == set(tidy[question].astype(str)) - set(REASONS), (
                    question
                )
    never = (
        read["kp-2021"]
        .tidy.groupby("sex", observed=True)["safety_after_dark"]
        .apply(lambda said: (said == "not_asked").mean())
    )
    assert 0.08 < never["female"] < 0.18
    assert never["male"] < 0.05


def test_dont_know_lies_between_2_and_12_percent(read: dict[str, Read], instrument: Instrument) -> None:
    for one in read.values():
        for question in ROUNDS[one.wave.round].questions(instrument):
            if question.startswith("health_not_used_"):
                continue  # a select-multiple question always names something
            answers = one.tidy[question + REASON_SUFFIX if question == WAIT else question].astype("str").fillna("given")
            asked = answers[answers != "not_asked"]
            assert 0.02 <= (asked == "dont_know").mean() <= 0.12, question
            assert (asked == "refused").mean() < 0.06, question


def test_design(read: dict[str, Read]) -> None:
    for name, one in read.items():
        tidy = one.tidy
        strata = tidy.groupby("stratum").agg(psus=("psu", "nunique"), kinds=("urban", "nunique"))
        assert (strata["psus"] >= 2).sum() == len(strata) - (name == "kp-2018")  # the planted one-PSU stratum
        assert (strata["kinds"] == 1).all()
        assert tidy["district_id"].nunique() == DISTRICTS[name]
        assert tidy.groupby("district_id").size().between(100, 240).all()
        assert 145 < tidy.groupby("district_id").size().mean() < 185
        assert tidy.groupby("psu").size().mean() == pytest.approx(12, abs=0.2)
        urban_share = one.units.set_index("district_id")["urban_share"]
        kinds = tidy.groupby("district_id")["urban"].agg(set)
        for district, kind in kinds.items():
            share = urban_share[district]
            assert kind == ({"urban"} if share > 0 else set()) | ({"rural"} if share < 1 else set())


def test_weights_stand_for_the_adults(read: dict[str, Read]) -> None:
    for name, one in read.items():
        adults = one.units.set_index("district_id")["population_2023"].astype(float) * ADULT_SHARE
        weights = one.tidy.groupby("district_id")["weight"].sum()
        if one.wave.round == "2021":  # raked to the margins beside the wave
            np.testing.assert_allclose(weights, adults[weights.index], rtol=1e-4)
            margins = pd.read_csv(RAW / "waves" / name / "margins.csv")
            women = margins[margins["sex"] == "female"].groupby("district_id")["persons"].sum()
            ours = one.tidy[one.tidy["sex"] == "female"].groupby("district_id")["weight"].sum()
            np.testing.assert_allclose(ours, women[ours.index], rtol=6e-3)
            continue
        share = (weights / weights.sum()) / (adults[weights.index] / adults[weights.index].sum())
        assert share.between(0.7, 1.05).all(), name  # the planted faults take a few interviews away
        assert (share.round(3) == share.round(3).mode()[0]).mean() > 0.9
        if one.wave.round == "2018":
            assert one.tidy["weight"].mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("indicator", ["satisfied_district", "satisfied_health", "wait_health"])
@pytest.mark.parametrize("year", list(ROUNDS))
def test_samples_estimate_the_truth(indicator: str, year: str, read: dict[str, Read], instrument: Instrument) -> None:
    waves = [read[f"{province}-{year}"] for province in ("kp", "punjab")]
    if indicator == "wait_health" and year == "2018":
        assert not any(indicator in set(one.truth["indicator"]) for one in waves)
        return
    tables = [estimates(one, indicator, instrument) for one in waves]
    for table in tables:
        province = table.loc["province"]
        assert abs(province["estimate"] - province["truth"]) < 3.5 * province["se"]
    districts = pd.concat(tables).drop(index="province")
    assert len(districts) == (71 if year == "2024" else 68)
    # With a dozen PSUs to estimate it from, the standard error itself adds 10 % to the spread (t distribution).
    standardised = (districts["estimate"] - districts["truth"]) / districts["se"]
    assert 0.85 < np.sqrt((standardised**2).mean()) < 1.3
    assert abs(standardised.mean()) < 0.45
    if indicator != "wait_health":
        assert 0.07 < districts["truth"].std() < 0.11
        assert 1.5 < districts["deff"].mean() < 3.0


def test_districts_truly_change(read: dict[str, Read]) -> None:
    truth = {}
    for year in ("2018", "2024"):
        tables = pd.concat(read[f"{province}-{year}"].truth for province in ("kp", "punjab"))
        truth[year] = tables[tables["indicator"] == "satisfied_health"].set_index("district_id")["truth"]
    change = (truth["2024"] - truth["2018"]).dropna()
    assert len(change) == 66
    assert change.mean() == pytest.approx(2 * SERVICES["health"].trend, abs=0.02)
    assert (change > 0.12).sum() >= 4
    assert (change < -0.02).sum() >= 4
    assert np.corrcoef(truth["2018"].loc[change.index], truth["2024"].loc[change.index])[0, 1] > 0.6


def test_planted_drivers_can_be_found_in_the_answers(read: dict[str, Read], instrument: Instrument) -> None:
    """Courtesy and access move satisfaction with health care most, affordability least."""
    for name in ("punjab-2021", "punjab-2024"):
        tidy = read[name].tidy
        attributes = ("access", "affordability", "facilities", "equality", "courtesy")
        names = [*(f"health_{attribute}" for attribute in attributes), "health_satisfaction"]
        known = tidy[~tidy[names].isin(REASONS).any(axis=1)]
        columns = [pd.Categorical(known[column].astype(str), instrument.scale(column)).codes for column in names]
        scores = np.column_stack(columns).astype(float)
        design = np.column_stack([np.ones(len(scores)), scores[:, :-1]])
        slopes = np.linalg.lstsq(design, scores[:, -1], rcond=None)[0][1:]
        order = [attributes[place] for place in np.argsort(slopes)]
        assert order[0] == "affordability", name
        assert set(order[-2:]) == {"access", "courtesy"}, name
        assert slopes.min() < slopes.max() / 2, name


@pytest.mark.parametrize("name", ["kp-2018", "punjab-2021", "kp-2024"])
def test_driver_models_fit_with_what_the_wave_has(name: str, read: dict[str, Read], instrument: Instrument) -> None:
    one = read[name]
    table = wave_drivers(one.tidy, design_psus(one.raw, one.tidy, one.wave, one.units), instrument, one.units)[0]
    assert set(table["model"]) == set(instrument.driver_models)
    assert ("health_access" in set(table["driver"])) == (one.wave.round != "2018")
    district = table[table["model"] == "satisfied_district"]
    assert district["n"].min() > 0.6 * len(one.tidy)


def test_too_few_users_where_planned_and_only_there(read: dict[str, Read], instrument: Instrument) -> None:
    """The publication rules need something to suppress, and something to leave alone."""
    for name, one in read.items():
        users = {
            indicator: valid_answers(one.tidy, instrument.indicators[indicator], instrument)
            .groupby(one.tidy["district_id"])
            .sum()
            for indicator in ("satisfied_police", "satisfied_waste", "satisfied_health", "satisfied_district")
        }
        assert (users["satisfied_police"] < 30).mean() > 0.5
        assert (users["satisfied_health"] >= 50).all()
        assert (users["satisfied_district"] >= 90).all()
        if name.startswith("kp"):
            assert users["satisfied_waste"]["kp-torghar"] < 10
            assert (users["satisfied_waste"].drop("kp-torghar") >= 30).all()


def test_truth_is_there_for_every_district_and_indicator(read: dict[str, Read], instrument: Instrument) -> None:
    for name, one in read.items():
        table = one.truth
        indicators = instrument.available_indicators(one.wave.variables)
        assert (
            len(table) == len(table.drop_duplicates(["district_id", "indicator"])) == DISTRICTS[name] * len(indicators)
        )
        shares = table[~table["indicator"].isin(["wait_health", "median_wait_health"])]
        assert shares["truth"].between(0, 1).all()
        assert (table["population_n"] > 0).all()
        everyone = table.loc[table["indicator"] == "satisfied_district", "population_n"].sum()
        adults = one.units["population_2023"].astype(float)[one.units["district_id"].isin(table["district_id"])].sum()
        # All but the don't know (4 %) and the refusals (1 %) count in a question put to everyone.
        assert everyone / (adults * ADULT_SHARE) == pytest.approx(0.95, abs=0.01)


def test_true_values_by_hand(instrument: Instrument) -> None:
    """Households stand for `adults` x 10; who is no user, or did not answer, is not in the universe."""
    wanted = ("satisfied_health", "wait_health", "median_wait_health", "bribe_asked_any")
    few = instrument.model_copy(update={"indicators": {name: instrument.indicators[name] for name in wanted}})
    population = pd.DataFrame(
        {
            "district_id": ["a", "a", "a", "a", "b"],
            "adults": [2, 1, 3, 5, 1],
            "represents": 10.0,
            "health_used": ["yes", "yes", "yes", "no", "yes"],
            "health_satisfaction": ["very_satisfied", "neither", "dont_know", "not_asked", "satisfied"],
            "health_wait": [30.0, 60.0, np.nan, np.nan, 5.0],
            "police_bribe_asked": ["yes", "no", "not_asked", "not_asked", "no"],
            "identity_bribe_asked": ["dont_know", "not_asked", "no", "not_asked", "dont_know"],
        }
    )
    result = true_values(population, few).set_index(["indicator", "district_id"])
    assert result.loc[("satisfied_health", "a")].tolist() == [pytest.approx(2 / 3), 30]
    assert result.loc[("satisfied_health", "b")].tolist() == [1, 10]
    assert result.loc[("wait_health", "a")].tolist() == [pytest.approx((30 * 2 + 60 * 1) / 3), 30]
    assert result.loc[("median_wait_health", "a")].tolist() == [30, 30]  # 20 of 30 waited no longer
    # 2 said yes to one of the two, 1 and 3 no to the only one put to them; b did not know one of the two.
    assert result.loc[("bribe_asked_any", "a")].tolist() == [pytest.approx(2 / 6), 60]
    assert result.loc[("bribe_asked_any", "b"), "population_n"] == 0


# How each round writes things down


def test_2018_is_written_as_a_cspro_team_would(read: dict[str, Read]) -> None:
    for name in ("kp-2018", "punjab-2018"):
        raw, tidy = read[name].raw, read[name].tidy
        assert raw["SERIAL"].duplicated().any()
        assert not raw.duplicated(["DIST", "SERIAL"]).any()
        assert raw.loc[raw["PSU"] == 1, "DIST"].nunique() == DISTRICTS[name]
        assert raw["INTDATE"].astype(str).str.fullmatch(r"\d\d/(09|10|11)/18").all()
        heaped = raw["MINUTES"].isin([30, 45, 60]).mean()
        assert 0.55 < heaped < 0.95
        # 1 is very satisfied, and 99 does not know the age.
        best = tidy.loc[(raw["G1"] == 1).to_numpy(), "district_satisfaction"]
        assert set(best.astype(str)) == {"very_satisfied"}
        assert 0.003 < (raw["AGE"] == 99).mean() < 0.02
        assert tidy["age"].isna().sum() == (raw["AGE"] == 99).sum()
        assert set(raw["SEX"]) == {"M", "F"}
        assert list(raw.columns).index("G1") < list(raw.columns).index("S01Q1")
    labels = read["kp-2018"].raw.attrs["value_labels"]["DIST"].values()
    assert {"D.I. Khan", "Bajaur Agency", "Malakand Protected Area"} <= set(labels)


def test_2021_is_written_as_kobo_exports(read: dict[str, Read]) -> None:
    for name in ("kp-2021", "punjab-2021"):
        raw = read[name].raw
        assert {"_id", "_uuid", "_submission_time", "__version__", "_index"} <= set(raw.columns)
        assert raw["start"].astype(str).str.fullmatch(r"2021-0[234]-\d\dT\d\d:\d\d:\d\d\.000\+05:00").all()
        split = raw[[f"_gps_{part}" for part in ("latitude", "longitude", "altitude", "precision")]].astype(str)
        assert (split.agg(" ".join, axis=1) == raw["gps"].astype(str)).all()
        # Both ways of writing a select-multiple question say the same, of those asked and of nobody else.
        choices = [column for column in raw.columns if column.startswith("health/hlth_why/")]
        assert len(choices) == 9
        chosen = raw["health/hlth_why"].astype("str").fillna("").str.split()
        for choice in choices:
            word = choice.rpartition("/")[2]
            single = pd.to_numeric(raw[choice].astype("str")) == 1
            assert (single == chosen.map(lambda words, word=word: word in words)).all()
        assert (raw["health/hlth_why"].notna() == raw[choices[0]].notna()).all()
        # The question that moved stands in the column of its version only.
        first = (raw["__version__"] == "vSim2021a1first").to_numpy()
        assert 0.15 < first.mean() < 0.6
        assert raw.loc[~first, "police/lg_responds"].isna().all()
        assert raw.loc[first, "closing/lg_responds"].isna().all()
        assert raw.loc[raw["cover/psu_replaced"].astype(str) == "1", "cover/psu"].nunique() == (
            2 if name == "kp-2021" else 0
        )
        # A visit without an interview has a cover sheet and nothing else.
        codes = raw["cover/result"].astype(str)
        assert set(codes) == {"1", "3", "4", "5"}
        assert 0.05 < (codes != "1").mean() < 0.1
        inside = [c for c in raw.columns if "/" in c and not c.startswith("cover/")]
        assert raw.loc[(codes != "1").to_numpy(), inside].isna().all(axis=None)


def test_names_and_numbers_of_respondents_are_made_up_and_declared_nowhere(read: dict[str, Read]) -> None:
    for name in ("kp-2021", "punjab-2021"):
        raw = read[name].raw
        assert raw["respondent/resp_name"].dropna().astype(str).str.fullmatch(r"Made-up name \d{5}").all()
        assert raw["respondent/resp_phone"].dropna().astype(str).str.fullmatch(r"0300-000\d{4}").all()
        text = (RAW / "waves" / name / "wave.yml").read_text(encoding="utf-8")
        assert "resp_name" not in text
        assert "resp_phone" not in text


def test_2024_is_written_as_surveycto_exports(read: dict[str, Read]) -> None:
    for name in ("kp-2024", "punjab-2024"):
        raw = read[name].raw
        pattern = r"(Jan|Feb|Mar) [1-9]\d?, 2024 1?\d:\d\d:\d\d [AP]M"
        for column in ("SubmissionDate", "starttime", "endtime"):
            assert raw[column].astype(str).str.fullmatch(pattern).all(), column
        assert raw["KEY"].astype(str).str.fullmatch("uuid:[0-9a-f-]{36}").all()
        assert set(raw["urban_rural"].astype(str)) == {"1", "2", "3"}
        assert {"compl_service_1", "compl_service_2", "hlth_why_9"} <= set(raw.columns)
        two = raw["compl_count"].astype("str") == "2"
        assert (raw["compl_service_2"].notna() == two).all()
        checks = pd.read_csv(RAW / "waves" / name / "backchecks.csv")
        assert set(checks["KEY"]) == set(raw.loc[raw["backcheck"].astype(str) == "1", "KEY"].astype(str))
        assert len(checks) == checks["KEY"].nunique()


def test_the_stata_twin_gives_the_same_responses(
    tmp_path: Path, read: dict[str, Read], instrument: Instrument, gazetteer: Gazetteer
) -> None:
    twin = write_stata_twin(RAW / "waves" / "kp-2024", tmp_path / "kp-2024")
    frame, meta = pyreadstat.read_dta(str(twin / "responses.dta"), user_missing=True)
    assert meta.missing_user_values["dist_sat_all"] == ["d", "r"]
    assert meta.variable_value_labels["dist_sat_all"][3] == "Very satisfied"
    assert (frame["dist_sat_all"] == "d").sum() > 100
    wave = load_wave(twin)
    again = responses(raw_responses(wave, twin), wave, instrument, gazetteer)
    pd.testing.assert_frame_equal(again, read["kp-2024"].tidy)


def _codebook(one: Read, folder: Path) -> pd.DataFrame:
    values, wordings = dict(one.raw.attrs["value_labels"]), dict(one.raw.attrs["column_labels"])
    if one.wave.form:
        more = form_labels(read_xlsform(folder / one.wave.form, one.wave.id), one.raw.columns)
        values, wordings = values | more[0], wordings | more[1]
    return wave_codebook(one.wave, [c for c in one.raw.columns if c != "source_row"], values, wordings)


def test_every_difference_between_rounds_is_declared(read: dict[str, Read], instrument: Instrument) -> None:
    books = {name: _codebook(one, RAW / "waves" / name) for name, one in read.items()}
    for name, one in read.items():
        if one.wave.predecessor:
            changes = codebook_changes(books[one.wave.predecessor], books[name], one.wave, instrument)
            assert comparability_problems(changes, one.wave) == []
            verdicts = changes.set_index(["variable", "aspect"])["verdict"]
            if one.wave.round == "2021":
                assert verdicts["district_satisfaction", "order"] == "break"
                assert verdicts["health_satisfaction", "direction"] == "same"
                assert verdicts["discrimination", "new"] == "break"
            assert verdicts["health_satisfaction", "scale"] == "recoded"


# Fieldwork as honest teams do it


def test_honest_fieldwork_looks_honest(clean: dict[str, SimulatedWave]) -> None:
    for name, simulated in clean.items():
        visits = simulated.delivery.visits
        complete = visits[visits["result"] == "complete"]
        clock = visits["start"].dt.hour + visits["start"].dt.minute / 60
        assert clock.between(8, 18).all()
        assert (visits["end"].dt.hour < 18).all()
        assert (visits["start"].dt.day_of_week != 6).all()
        first, last = simulated.delivery.dates
        assert visits["start"].dt.date.between(first, last).all()
        assert complete["minutes"].median() == pytest.approx(35, abs=1)
        assert (complete["minutes"] > 0.4 * 35).all()
        order = visits.sort_values(["district_id", "enumerator", "start"])
        same = (order["district_id"] == order["district_id"].shift()) & (
            order["enumerator"] == order["enumerator"].shift()
        )
        assert not ((order["start"] < order["end"].shift()) & same).any(), name
        assert (visits["submitted"] > visits["end"]).all()
        a_day = complete.groupby(["district_id", "enumerator", complete["start"].dt.date]).size()
        assert a_day.max() <= 9
        assert 5.5 < a_day.mean() < 7


def test_enumerators_can_be_told_from_places(clean: dict[str, SimulatedWave]) -> None:
    for simulated in clean.values():
        visits = simulated.delivery.visits
        assert (visits.groupby(["district_id", "psu"])["enumerator"].nunique() == 2).all()
        places = visits.groupby(["district_id", "enumerator"])["psu"].nunique()
        assert places.between(5, 10).all()
        assert (visits.groupby("district_id")["enumerator"].nunique() == 4).all()


def test_interviews_lie_in_their_district_and_psu(clean: dict[str, SimulatedWave], gazetteer: Gazetteer) -> None:
    import h3

    for name in ("kp-2021", "punjab-2024"):
        delivery = clean[name].delivery
        visits = delivery.visits
        tehsils = gazetteer.vintages[gazetteer.vintages["vintage"] == delivery.survey.vintage]
        owner = gazetteer.cells.merge(tehsils, on="tehsil_id").set_index("cell")["district_id"].to_dict()
        cells = [h3.latlng_to_cell(*place, 6) for place in visits[["latitude", "longitude"]].to_numpy()]
        assert [owner.get(cell) for cell in cells] == visits["district_id"].tolist()
        middle = visits.groupby(["district_id", "psu"])[["latitude", "longitude"]].transform("mean")
        away = np.hypot(
            visits["latitude"] - middle["latitude"],
            (visits["longitude"] - middle["longitude"]) * np.cos(np.radians(visits["latitude"])),
        )
        assert (away * METRES_PER_DEGREE).max() < 1500
        assert (visits["accuracy"] > 0).all()
        assert not visits.duplicated(["latitude", "longitude"]).any()


# Faults


def test_faults_are_listed_where_they_were_planted(faulty: dict[str, SimulatedWave]) -> None:
    for name, simulated in faulty.items():
        listed = pd.read_csv(RAW / "waves" / name / "faults.csv", dtype=str)
        pd.testing.assert_frame_equal(listed, simulated.faults.astype(listed.dtypes))
        assert set(listed["fault"]) == {fault.name for fault in FAULTS if name in fault.waves}


def test_a_wave_with_faults_differs_from_the_clean_one_only_where_they_are_listed(
    clean: dict[str, SimulatedWave], faulty: dict[str, SimulatedWave]
) -> None:
    touching_columns = {
        "misspelt_districts": {"district_name"},
        "hours_for_minutes": {WAIT},
        "reversed_scale": {"electricity_satisfaction"},
    }
    for name, simulated in faulty.items():
        table = simulated.faults
        before, after = (one.delivery.complete.set_index("key") for one in (clean[name], simulated))
        rows = set(table.loc[table["level"] == "row", "unit"])
        columns = set().union(*(touching_columns.get(fault, set()) for fault in table["fault"]))
        shared = after.index.intersection(before.index)
        if "fabricator" in set(table["fault"]):
            rows |= set(after.index[after["invented"]])
        honest = shared.difference(pd.Index(sorted(rows)))
        kept = [column for column in before.columns if column not in columns]
        left, right = before.loc[honest, kept], after.loc[honest, kept]
        assert left.astype(object).fillna("-").equals(right.astype(object).fillna("-")), name
        assert set(after.index) - set(before.index) <= rows
        lost = before.index.difference(after.index)
        assert (len(lost) > 0) == ("lost_psus" in set(table["fault"]))


def _units(name: str, fault: str) -> list[str]:
    table = pd.read_csv(RAW / "waves" / name / "faults.csv", dtype=str)
    return table.loc[table["fault"] == fault, "unit"].tolist()


def test_forms_sent_twice(read: dict[str, Read]) -> None:
    for name in ("kp-2021", "punjab-2021"):
        raw, again = read[name].raw.astype(str), _units(name, "sent_twice")
        assert len(again) == 14
        household = raw["cover/psu"] + " " + raw["cover/hh_no"]
        copies = raw[household.duplicated(keep=False)]
        assert set(again) < set(copies["_uuid"])
        assert len(copies) == 28
        differ = (copies.groupby(household)[list(raw.columns)].nunique() > 1).any()
        assert set(differ.index[differ]) <= {"source_row", "_id", "_uuid", "_submission_time", "_index"}
        assert not set(again) & set(read[name].tidy["respondent_id"])


def test_hours_are_put_right(
    tmp_path: Path, read: dict[str, Read], instrument: Instrument, gazetteer: Gazetteer
) -> None:
    folder = undeclared(RAW / "waves" / "kp-2021", tmp_path / "kp-2021")
    wave = load_wave(folder)
    assert wave.remedies == []
    assert wave.geography.names  # only remedies are taken out
    raw = raw_responses(wave, folder)
    as_sent = responses(raw, wave, instrument, gazetteer).set_index("respondent_id")
    version = raw.set_index(raw["_uuid"].astype(str))["__version__"].astype(str)
    medians = as_sent[WAIT].groupby(version.reindex(as_sent.index)).median()
    assert medians["vSim2021a1first"] < 1.5 < 30 < medians["vSim2021b2second"]
    put_right = read["kp-2021"].tidy.set_index("respondent_id")
    medians = put_right[WAIT].groupby(version.reindex(put_right.index)).median()
    assert medians["vSim2021a1first"] == pytest.approx(medians["vSim2021b2second"], abs=10)


def test_spellings_must_be_declared(tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer) -> None:
    folder = undeclared(RAW / "waves" / "kp-2021", tmp_path / "kp-2021", ["names"])
    wave = load_wave(folder)
    with pytest.raises(InputError) as error:
        responses(raw_responses(wave, folder), wave, instrument, gazetteer)
    assert {"Peshawer", "پشاور"} <= set(_units("kp-2021", "misspelt_districts"))
    for spelling in _units("kp-2021", "misspelt_districts"):
        assert spelling in str(error.value)


def test_the_reversed_scale_is_turned_by_its_remedy(
    tmp_path: Path, read: dict[str, Read], instrument: Instrument, gazetteer: Gazetteer
) -> None:
    def with_overall(tidy: pd.DataFrame) -> float:
        ranks = {answer: place for place, answer in enumerate(instrument.scale("district_satisfaction"))}
        scores = tidy[["electricity_satisfaction", "district_satisfaction"]].astype(str).apply(lambda c: c.map(ranks))
        return float(scores.dropna().corr().iloc[0, 1])

    folder = undeclared(RAW / "waves" / "kp-2024", tmp_path / "kp-2024")
    wave = load_wave(folder)
    assert with_overall(responses(raw_responses(wave, folder), wave, instrument, gazetteer)) < -0.08
    assert with_overall(read["kp-2024"].tidy) > 0.08


def test_the_fabricator_can_be_seen_and_is_left_out(read: dict[str, Read], instrument: Instrument) -> None:
    one, (enumerator,) = read["punjab-2024"], _units("punjab-2024", "fabricator")
    raw = one.raw[one.raw["consent"].astype(str) == "1"]
    own = raw["enum_id"].astype(str) == enumerator
    assert own.sum() > 25
    assert not set(raw.loc[own, "KEY"].astype(str)) & set(one.tidy["respondent_id"])
    start, end = (
        pd.to_datetime(raw[column].astype(str), format=one.wave.fieldwork.time_format)
        for column in ("starttime", "endtime")
    )
    minutes = (end - start).dt.total_seconds() / 60
    assert minutes[own].max() < 11
    assert (start[own].dt.hour >= 21).all()
    assert (start[~own].dt.hour < 18).all()
    answers = [column for column in raw.columns if column.startswith(("hlth_a_", "watr_a_", "elec_a_", "wste_a_"))]
    table = raw.loc[own, answers].astype("str").fillna("")
    alike = (table.to_numpy()[:, None] == table.to_numpy()).mean(axis=2)
    assert np.median(alike[np.triu_indices(len(table), 1)]) > 0.85


def test_smaller_faults_are_in_the_files(read: dict[str, Read], instrument: Instrument) -> None:
    raw = read["kp-2021"].raw
    keys = raw["_uuid"].astype(str)
    at_zero = keys.isin(_units("kp-2021", "gps_at_zero"))
    assert at_zero.sum() == 6
    assert set(raw.loc[at_zero, "gps"].astype(str)) == {"0 0 0 0"}
    back = keys.isin(_units("kp-2021", "end_before_start"))
    assert back.sum() == 8
    starts, ends = (pd.to_datetime(raw[column].astype(str)) for column in ("start", "end"))
    assert ((ends < starts) == back).all()
    other = keys.isin(_units("kp-2021", "urdu_other"))
    words = raw.loc[other, "health/hlth_why_other"].astype(str)
    assert words.str.contains("[\u0600-\u06ff]").all()
    asked = raw["health/hlth_why"].notna()
    assert raw["health/hlth_why_other"].notna().sum() / asked.sum() > 0.1

    punjab = read["punjab-2021"].raw
    mocked = punjab["_uuid"].astype(str).isin(_units("punjab-2021", "gps_mocked"))
    assert mocked.sum() == 9
    assert (mocked == (punjab["_gps_precision"].astype(str) == "0")).all()

    kp = read["kp-2024"].raw
    stale = kp["KEY"].astype(str).isin(_units("kp-2024", "stale_form"))
    assert (stale == (kp["formdef_version"].astype(str) == "2401091512")).all()
    assert kp.loc[stale, "enum_id"].nunique() == 1

    straight = read["punjab-2018"].tidy
    battery = [name for block in instrument.batteries.values() for name in block if name in straight]
    one_answer = straight[battery].astype(str).replace(list(REASONS), np.nan).nunique(axis=1) == 1
    assert one_answer[straight["respondent_id"].isin(_units("punjab-2018", "straight_liners"))].all()

    (lost,) = _units("kp-2018", "lost_psus")
    tidy = read["kp-2018"].tidy
    here = (tidy["district_id"] + " " + tidy["urban"].astype(str)) == lost
    assert tidy.loc[here, "psu"].nunique() == 1


def test_copies_of_interviews_are_of_one_enumerator_and_nearly_alike(
    read: dict[str, Read], instrument: Instrument
) -> None:
    one, keys = read["kp-2024"], _units("kp-2024", "near_duplicates")
    tidy = one.tidy.set_index("respondent_id")
    questions = [name for name in instrument.questions if name in tidy and name != WAIT]
    enumerator = one.raw.set_index(one.raw["KEY"].astype(str))["enum_id"].astype(str)
    assert len(keys) == 16
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        a, b = (tidy.loc[key, questions].astype(str) for key in (first, second))
        put = (a != "not_asked") | (b != "not_asked")
        assert 0.85 < (a == b)[put].mean() <= 1
        assert enumerator[first] == enumerator[second]


def test_without_takes_out_whole_blocks() -> None:
    text = "a: 1\nremedies:\n  - check: x\n    drop: {}\n\nb:\n  c: 2\n  names:\n    x: y\n  d: 3\n"
    assert without(text, ["remedies"]) == "a: 1\nb:\n  c: 2\n  names:\n    x: y\n  d: 3\n"
    assert without(text, ["names"]) == "a: 1\nremedies:\n  - check: x\n    drop: {}\n\nb:\n  c: 2\n  d: 3\n"
