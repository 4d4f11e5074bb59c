"""SDG indicator 16.6.2: the worked example of its metadata from answers to rows, its codes, and what is withheld."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perception import wave_tables
from perception.estimation.design import design_from_psus
from perception.estimation.domains import calibrated_cells, domain_cells, domain_covariance, domain_dimensions
from perception.estimation.index_sensitivity import index_sensitivity
from perception.estimation.totals import calibration_totals, psu_totals
from perception.intake.describe import index_weights, indicator_facts, wave_facts
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.publish import sdg
from perception.publish.sdg import sdg_16_6_2, write_sdg_file
from perception.schemas import TABLES, conform, contract_breaches
from tests.conftest import published_estimates

ROOT = Path(__file__).resolve().parents[1]
WAVE = "kp-2024"
HEADER = (
    "Goal,Target,Indicator,SeriesCode,SeriesDescription,GeoAreaCode,GeoAreaName,TimePeriod,Value,Time_Detail,"
    "TimeCoverage,UpperBound,LowerBound,BasePeriod,Source,GeoInfoUrl,FootNote,Age,Disability status,Location,Nature,"
    "Quantile,Reporting Type,Sex,Units"
)
CODES = ["Sex", "Location", "Age", "Quantile"]
WHOLE = {"Sex": "BOTHSEX", "Location": "ALLAREA", "Age": "ALLAGE", "Quantile": "_T"}

# The indicator's metadata: the attributes of each service area, and its example for health care in percent.
ATTRIBUTES = {
    "healthcare": "accessibility affordability quality_of_facilities equal_treatment courtesy",
    "education_primary": "accessibility affordability quality_of_facilities equal_treatment effective_delivery",
    "education_secondary": "accessibility affordability quality_of_facilities equal_treatment effective_delivery",
    "government_services": "accessibility affordability equal_treatment effective_delivery timeliness",
}
EXAMPLE = {"access": 50, "affordability": 60, "facilities": 73, "equality": 55, "courtesy": 42}
OVERALL = {"very_satisfied": 23, "satisfied": 37, "dissatisfied": 25, "very_dissatisfied": 15}
OTHER_SERVICES = {
    "primary_school": ("access", "affordability", "facilities", "equality", "teaching"),
    "secondary_school": ("access", "affordability", "facilities", "equality", "teaching"),
    "identity": ("access", "affordability", "equality", "process", "timeliness"),
}
USERS = 1000


def shuffled(rng: np.random.Generator, answers: dict[str, int]) -> np.ndarray:
    """As many of each answer as it says, in any order."""
    return rng.permutation(np.repeat(list(answers), list(answers.values())))


def agreement(percent: int, valid: int = USERS) -> dict[str, int]:
    """Answers of which `percent` of the valid ones agree, those who do not know beside them."""
    strongly, agree = valid * percent // 300, valid * percent // 100
    return {
        "strongly_agree": strongly,
        "agree": agree - strongly,
        "disagree": valid - agree - 7,
        "strongly_disagree": 7,
        "dont_know": USERS - valid,
    }


def users(district: str, seed: int) -> pd.DataFrame:
    """1000 users of every service in 50 PSUs of a district, and 100 who used none and would spoil every share."""
    rng = np.random.default_rng(seed)
    count, used = USERS + 100, np.arange(USERS + 100) < USERS
    psu = np.arange(count) % 50
    frame = pd.DataFrame(
        {
            "wave": WAVE,
            "respondent_id": [f"{district}-{number}" for number in range(count)],
            "district_id": district,
            "urban": np.where(psu % 2, "urban", "rural"),
            "psu": [f"{district}/{number}" for number in psu],
            "weight": 1.0,
            "base_weight": np.nan,
            "uncalibrated_weight": np.nan,
            "sex": rng.choice(["female", "male"], count),
            "age": 40.0,
            "age_group": rng.choice(["<25", "25-34", "35-44", "45-54", "55-64", "65+"], count),
            "wealth": rng.choice(["lowest", "second", "middle", "fourth", "highest"], count),
            "education": "primary",
        }
    ).assign(stratum=lambda f: f["district_id"] + "/" + f["urban"])
    asked = {"health": tuple(EXAMPLE), **OTHER_SERVICES}
    for service, attributes in asked.items():
        frame[f"{service}_used"] = np.where(used, "yes", "no")
        for attribute in attributes:
            percent = EXAMPLE[attribute] if service == "health" else 50
            frame.loc[used, f"{service}_{attribute}"] = shuffled(rng, agreement(percent))
        frame.loc[used, f"{service}_satisfaction"] = shuffled(rng, {a: 10 * n for a, n in OVERALL.items()})
    answers = [column for column in frame if str(column).startswith(tuple(asked))]
    return frame.fillna(dict.fromkeys(answers, "strongly_agree"))  # of people who were not asked: must not count


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """From answers in three districts to the table: its inputs and itself.

    In Peshawar the example stands as it is; in Swat 65 of 1000 do not know about access; in Lahore, in the other
    province, hardly anybody answers about courtesy.
    """
    inputs = open_wave(Project(ROOT), WAVE)
    rng = np.random.default_rng(9)
    peshawar, swat, lahore = (
        users(place, seed) for seed, place in enumerate(("kp-peshawar", "kp-swat", "punjab-lahore"))
    )
    swat.loc[swat["health_used"] == "yes", "health_access"] = shuffled(rng, agreement(60, valid=935))
    lahore.loc[lahore.index >= 20, "health_courtesy"] = "dont_know"
    responses = conform(pd.concat([peshawar, swat, lahore], ignore_index=True), "responses")
    psus = responses.drop_duplicates("psu")[["wave", "stratum", "psu", "district_id", "urban"]]
    psus = psus.assign(variance_stratum=psus["stratum"], population_psus=None)
    file = tmp_path_factory.mktemp("sdg") / "responses.parquet"
    responses.to_parquet(file)
    totals = psu_totals(file, inputs.instrument)
    indicators = indicator_facts(responses, inputs.wave, inputs.instrument)
    weights = ("calibration_totals", "replicate_totals", "replicate_factors")
    none = [conform(pd.DataFrame(columns=TABLES[name].names), name) for name in weights]
    estimates = wave_tables.district_estimates(inputs, file, totals, psus, indicators, *none)
    places = inputs.units.assign(wave=WAVE)
    published = published_estimates(estimates, indicators, units=places)
    waves = wave_facts(responses, psus, inputs.wave, "0")
    units = {inputs.wave.geography.vintage: inputs.units}
    sources = (published, indicators, waves, units)
    return {"responses": responses, "estimates": estimates, "sources": sources, "table": sdg_16_6_2(*sources)}


def series(table: pd.DataFrame, area: str) -> pd.Series:
    """The values for everybody in an area, by series."""
    rows = table[(table["GeoAreaCode"] == area) & (table[CODES] == pd.Series(WHOLE)).all(axis=1)]
    return rows.set_index("SeriesCode")["Value"]


def test_the_worked_example_of_the_metadata(made: dict[str, Any]) -> None:
    found = series(made["table"], "kp-peshawar")
    attributes = ["ACCESSIBILITY", "AFFORDABILITY", "QUALITY_OF_FACILITIES", "EQUAL_TREATMENT", "COURTESY"]
    assert [found[f"NAT_PSR_HLTH_{name}"] for name in attributes] == [50, 60, 73, 55, 42]
    assert found["SP_PSR_SATIS_HLTH"] == 56
    assert found["SP_PSR_OSATIS_HLTH"] == 60
    assert contract_breaches(made["table"], "sdg_16_6_2") == []


def test_dont_know_is_counted_and_left_out_of_its_own_question_only(made: dict[str, Any]) -> None:
    rows = made["table"].query("GeoAreaCode == 'kp-swat' and Sex == 'BOTHSEX' and Location == 'ALLAREA'")
    rows = rows.query("Age == 'ALLAGE' and Quantile == '_T'").set_index("SeriesCode")
    access = rows.loc["NAT_PSR_HLTH_ACCESSIBILITY"]
    assert (access["n"], access["Value"]) == (935, 60)  # 561 of 935; of 1000 it would be 56.1
    assert "935 valid answers; don't know 6.5 % and refused 0.0 %" in access["FootNote"]
    assert rows.loc["NAT_PSR_HLTH_COURTESY", ["n", "Value"]].tolist() == [1000, 42]
    average = rows.loc["SP_PSR_SATIS_HLTH"]
    assert (average["n"], average["Value"]) == (935, 58)  # (60 + 60 + 73 + 55 + 42) / 5
    assert "At least 935 valid answers to each question; don't know 1.3 %" in average["FootNote"]


def test_every_area_is_reported_by_its_own_attributes_average_and_overall_and_never_together(
    made: dict[str, Any],
) -> None:
    declared = load_instrument(Project(ROOT).instrument_file("citizen-services")).sdg_16_6_2
    assert {area: " ".join(service.attributes) for area, service in declared.items()} == ATTRIBUTES
    codes = {
        "healthcare": "HLTH",
        "education_primary": "PRM",
        "education_secondary": "SEC",
        "government_services": "GOV",
    }
    expected = {f"{kind}_{code}" for code in codes.values() for kind in ("SP_PSR_SATIS", "SP_PSR_OSATIS")}
    expected |= {f"NAT_PSR_{codes[area]}_{name.upper()}" for area in codes for name in ATTRIBUTES[area].split()}
    assert set(series(made["table"], "kp-peshawar").index) == expected
    assert len(expected) == 4 * 7


def test_every_group_has_its_codes_and_its_own_value(made: dict[str, Any]) -> None:
    rows = made["table"].query("GeoAreaCode == 'kp-peshawar' and SeriesCode == 'SP_PSR_SATIS_HLTH'")
    ages = ["<25Y", "25-34", "35-44", "45-54", "55-64", "65+"]
    groups = {("BOTHSEX", "ALLAREA", "ALLAGE", "_T")}
    groups |= {(sex, place, "ALLAGE", "_T") for sex in ("FEMALE", "MALE") for place in ("ALLAREA", "URBAN", "RURAL")}
    groups |= {("BOTHSEX", place, "ALLAGE", "_T") for place in ("URBAN", "RURAL")}
    groups |= {("BOTHSEX", "ALLAREA", age, "_T") for age in ages}
    groups |= {("BOTHSEX", "ALLAREA", "ALLAGE", f"Q{number}") for number in range(1, 6)}
    assert sorted(rows[CODES].itertuples(index=False, name=None)) == sorted(groups)
    assert (rows[["Disability status", "Units", "Nature", "Reporting Type"]] == ["_T", "PERCENT", "C", "N"]).all(
        axis=None
    )

    answers = made["responses"].query("district_id == 'kp-peshawar' and health_used == 'yes'")
    agreed = answers[[f"health_{name}" for name in EXAMPLE]].isin(["agree", "strongly_agree"]).mean(axis=1) * 100
    values = rows.set_index(CODES)["Value"]
    for place, member in {
        ("FEMALE", "ALLAREA", "ALLAGE", "_T"): answers["sex"] == "female",
        ("MALE", "RURAL", "ALLAGE", "_T"): (answers["sex"] == "male") & (answers["urban"] == "rural"),
        ("BOTHSEX", "ALLAREA", "<25Y", "_T"): answers["age_group"] == "<25",
        ("BOTHSEX", "ALLAREA", "ALLAGE", "Q1"): answers["wealth"] == "lowest",
        ("BOTHSEX", "ALLAREA", "ALLAGE", "Q5"): answers["wealth"] == "highest",
    }.items():
        assert values[place] == pytest.approx(agreed[member].mean(), abs=0.0501), place


def test_a_wave_is_never_called_the_country_and_areas_of_one_name_are_told_apart(made: dict[str, Any]) -> None:
    areas = made["table"].groupby("level")["GeoAreaCode"].unique().map(set)
    assert areas["all"] == {f"wave:{WAVE}"}
    assert areas["province"] == {"kp", "punjab"}
    assert areas["district"] == {"kp-peshawar", "kp-swat", "punjab-lahore"}
    assert areas["division"] == {"division:kp-peshawar", "division:kp-malakand", "division:punjab-lahore"}
    assert "586" not in set(made["table"]["GeoAreaCode"])
    names = made["table"].set_index("GeoAreaCode")["GeoAreaName"]
    assert set(names["kp-peshawar"]) == {"Peshawar district"}
    assert set(names["division:kp-peshawar"]) == {"Peshawar division"}
    assert set(names["kp"]) == {"Khyber Pakhtunkhwa"}
    assert not made["table"]["GeoAreaName"].isin(["Pakistan"]).any()


def test_without_one_attribute_there_is_no_average_and_nothing_withheld_has_a_row(made: dict[str, Any]) -> None:
    lahore = series(made["table"], "punjab-lahore")
    assert "NAT_PSR_HLTH_COURTESY" not in lahore
    assert "SP_PSR_SATIS_HLTH" not in lahore
    assert {"NAT_PSR_HLTH_ACCESSIBILITY", "SP_PSR_OSATIS_HLTH", "SP_PSR_SATIS_PRM"} <= set(lahore.index)
    published, indicators, *_ = made["sources"]
    qualifying = published["indicator"].isin(indicators.loc[indicators["sdg_16_6_2"].notna(), "indicator"])
    held = published[qualifying & (published["quality"] == "suppress")]
    assert len(held) > 20
    assert len(made["table"]) == int(qualifying.sum()) - len(held)
    lahore_held = held.query("level == 'district' and unit_id == 'punjab-lahore' and domain == 'all'")
    reasons = lahore_held.set_index("indicator")["reason"].str.split(";")
    assert set(reasons.index) == {"agree_health_courtesy", "sdg_16_6_2_healthcare"}
    assert "few_responses" in reasons["agree_health_courtesy"]
    assert "part_not_published" in reasons["sdg_16_6_2_healthcare"]


def test_small_area_estimates_are_not_reported(made: dict[str, Any]) -> None:
    published, *others = made["sources"]
    modelled = published.query("level == 'district' and domain == 'all'").assign(method="small_area", estimate=0.99)
    again = sdg_16_6_2(pd.concat([published, modelled]), *others)
    pd.testing.assert_frame_equal(again, made["table"])


def test_caution_a_middle_answer_and_fieldwork_over_new_year_are_said(made: dict[str, Any]) -> None:
    published, indicators, waves, units = made["sources"]
    doubtful = published.assign(quality="caution", reason="small_sample;few_degrees_of_freedom")
    waves = waves.assign(first_day="2023-12-01", last_day="2024-02-01")
    table = sdg_16_6_2(doubtful[published["estimate"].notna()], indicators.assign(middle_answer=True), waves, units)
    said = "Use with caution: small sample, few sampling areas. A middle answer was offered"
    assert table["FootNote"].str.contains(said, regex=False).all()
    assert not made["table"]["FootNote"].str.contains("middle answer").any()
    row = table.iloc[0]
    assert (row["TimePeriod"], row["Time_Detail"]) == (2024, "2023-2024")
    assert row["TimeCoverage"] == "2023-12-01/2024-02-01"


def test_the_middle_answer_is_known_question_by_question() -> None:
    inputs = open_wave(Project(ROOT), "kp-2021")
    columns = pd.DataFrame(columns=[*inputs.wave.variables])
    facts = indicator_facts(columns, inputs.wave, inputs.instrument).set_index("indicator")["middle_answer"]
    assert facts[["agree_health_facilities", "satisfied_health", "sdg_16_6_2_healthcare"]].all()
    assert not facts[["agree_health_access", "safe_after_dark", "wait_health"]].any()


def test_the_file_has_the_columns_of_the_un_and_says_that_it_is_simulated(made: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "public" / "sdg_16_6_2.csv"
    write_sdg_file(made["table"], file)
    text = file.read_bytes().decode("utf-8")
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(made["table"])
    for row in rows:
        assert row["Source"].startswith("SIMULATED DATA: ")
        assert row["FootNote"].startswith("SIMULATED DATA: ")
        assert 0 <= float(row["LowerBound"]) <= float(row["Value"]) <= float(row["UpperBound"]) <= 100
        assert re.fullmatch(r"\d+\.\d", row["Value"])
    assert [path.name for path in file.parent.iterdir()] == [file.name]

    published, indicators, waves, units = made["sources"]
    real = sdg_16_6_2(published.assign(simulated=False), indicators, waves.assign(citation="Bureau (2024)"), units)
    assert set(real["Source"]) == {"Bureau (2024)"}
    assert not real["FootNote"].str.contains("SIMULATED").any()


def test_the_file_starts_no_formula_and_a_failed_write_leaves_the_old_one(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, indicators, waves, units = made["sources"]
    for citation in ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"):
        table = sdg_16_6_2(published.assign(simulated=False), indicators, waves.assign(citation=citation), units)
        write_sdg_file(table, tmp_path / "sdg.csv")
        rows = list(csv.DictReader((tmp_path / "sdg.csv").read_text(encoding="utf-8").splitlines()))
        assert {row["Source"] for row in rows} == {"'" + citation}
        assert {"<25Y", "_T"} <= {value for row in rows for value in row.values()}
    before = (tmp_path / "sdg.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(sdg.os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_sdg_file(made["table"], tmp_path / "sdg.csv")
    assert (tmp_path / "sdg.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_service_that_counts_the_table_is_empty(made: dict[str, Any]) -> None:
    published, indicators, waves, units = made["sources"]
    table = sdg_16_6_2(published, indicators.assign(sdg_16_6_2=pd.NA), waves, units)
    assert contract_breaches(table, "sdg_16_6_2") == []
    assert table.empty


# On a committed wave, whose weights are raked


def test_the_error_of_an_average_is_that_of_the_plain_mean_of_five(tmp_path: Path) -> None:
    inputs = open_wave(Project(ROOT), "kp-2021")
    responses, psus, _, _ = wave_tables.tidy_wave(Project(ROOT), inputs, raw_responses(inputs.wave, inputs.folder))
    responses.to_parquet(tmp_path / "responses.parquet")
    facts = indicator_facts(responses, inputs.wave, inputs.instrument)
    calibration = calibration_totals(tmp_path / "responses.parquet", inputs.wave)
    totals = psu_totals(tmp_path / "responses.parquet", inputs.instrument)
    totals = totals[totals["indicator"].str.startswith("agree_")]
    facts = facts[facts["indicator"].str.match("agree_|sdg_16_6_2_")]
    weights = ("replicate_totals", "replicate_factors")
    none = [conform(pd.DataFrame(columns=TABLES[name].names), name) for name in weights]
    file = tmp_path / "responses.parquet"
    estimates = wave_tables.district_estimates(inputs, file, totals, psus, facts, calibration, *none)
    found = estimates.set_index(["indicator", "level", "unit_id", "domain"])
    design = design_from_psus(psus)
    cells = domain_cells(totals, inputs.units, domain_dimensions(totals))
    calibrated = calibrated_cells(calibration, inputs.wave.rake, totals, inputs.units, design)
    averages = index_weights(facts)
    assert len(averages) == 4
    for name, weights in averages.items():
        assert set(weights.values()) == {0.2}
        for place in (
            ("province", "kp", "all"),
            ("division", "kp-hazara", "sex=female"),
            ("district", "kp-swat", "all"),
        ):
            inside = (cells[["level", "unit_id", "domain"]] == list(place)).all(axis=1) & (cells["n"] > 0)
            rows, covariance = domain_covariance(
                cells[inside & cells["indicator"].isin(list(weights))], design, calibrated
            )
            a = np.full(5, 1 / 5)
            assert len(rows) == 5
            row = found.loc[(name, *place)]
            assert row["estimate"] == pytest.approx(rows["estimate"].mean(), rel=1e-12)
            assert row["se"] == pytest.approx(np.sqrt(a @ covariance @ a), rel=1e-9)


# Declarations


def declared(change: Any) -> Instrument:
    content = load_instrument(Project(ROOT).instrument_file("citizen-services")).model_dump()
    change(content)
    return Instrument.model_validate(content)


def test_every_mistake_in_a_declaration_is_named_at_once() -> None:
    def spoil(content: dict[str, Any]) -> None:
        services = content["sdg_16_6_2"]
        health, primary = services["healthcare"]["attributes"], services["education_primary"]["attributes"]
        health["timeliness"] = health.pop("courtesy")
        health["affordability"] = "wait_health"
        health["equal_treatment"] = "agree_identity_equality"
        primary["accessibility"] = "nowhere"
        primary["affordability"] = "local_government_responsive"
        services["education_secondary"]["overall"] = "bribe_asked_police"
        services["transport"] = {"attributes": {"accessibility": "complaint_resolved"}, "overall": "satisfied_water"}
        content["indicators"]["agree_identity_access"]["positive"] = ["strongly_agree"]
        content["indices"]["sdg_16_6_2_healthcare"] = content["indices"]["services_index"]

    with pytest.raises(ValueError, match="sdg_16_6_2") as caught:
        declared(spoil)
    said = str(caught.value)
    for mistake in (
        "healthcare: attribute courtesy is missing",
        "healthcare: timeliness is not an attribute of it",
        "healthcare: wait_health must be a share, not sensitive, and published by district",
        "healthcare: the universe of agree_identity_equality is not that of satisfied_health",
        "healthcare: agree_identity_equality stands 2 times in sdg_16_6_2",
        "healthcare: sdg_16_6_2_healthcare is the name of its average and cannot be declared",
        "education_primary: nowhere is not an indicator",
        "education_primary: local_government_responsive has no `universe`, but only users of the service are asked",
        "education_secondary: bribe_asked_police must be a share, not sensitive, and published by district",
        "education_secondary: the universe of agree_secondary_school_access is not that of bribe_asked_police",
        "transport: the service areas are healthcare, education_primary, education_secondary, government_services",
        "transport: `positive` of complaint_resolved must be the upper half of the answers to an ordinal question",
        "government_services: `positive` of agree_identity_access must be the upper half of the answers",
    ):
        assert f"sdg_16_6_2 {mistake}" in said, mistake


def test_a_service_of_which_the_wave_asks_four_attributes_has_shares_but_no_average() -> None:
    whole = declared(lambda content: None)
    asked = [question for question in whole.questions if question != "health_access"]
    assert "sdg_16_6_2_healthcare" not in whole.available_indices(asked)
    assert "sdg_16_6_2_education_primary" in whole.available_indices(asked)
    assert "agree_health_courtesy" in whole.available_indicators(asked)


def test_the_weights_of_an_average_are_no_choice_whose_ranks_to_test() -> None:
    weights = "a=0.5;b=0.5"
    indicators = pd.DataFrame(
        {"wave": "w", "indicator": ["chosen", "sdg_16_6_2_healthcare"], "kind": "index", "weights": weights}
    ).assign(sdg_16_6_2=[None, "healthcare/average"], simulated=True)
    published = pd.DataFrame(
        [
            {"wave": "w", "indicator": part, "method": "small_area", "unit_id": unit, "estimate": value}
            for part in ("a", "b")
            for unit, value in (("one", 0.2), ("two", 0.6))
        ]
    )
    rankings = pd.DataFrame(
        [
            {"wave": "w", "indicator": name, "simulated": True, "district_id": unit, "rank": rank}
            for name in indicators["indicator"]
            for rank, unit in enumerate(("one", "two"), start=1)
        ]
    ).assign(scope="province", scope_id="kp")
    assert set(index_sensitivity(published, rankings, indicators)["indicator"]) == {"chosen"}
