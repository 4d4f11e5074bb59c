"""The recipe for section L of PSLM 2019-20, on files made to its codebook: 15 rows a household become one.

What the pipeline makes of the files is compared with sums over the long file that know nothing of the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from perception.drivers.wave_drivers import wave_drivers
from perception.estimation.design import design_psus
from perception.estimation.domains import district_estimates
from perception.estimation.totals import psu_totals
from perception.intake.describe import indicator_facts
from perception.intake.harmonise import responses
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.wave_folders import add_wave, wave_problems
from tests.conftest import ROOT

WAVE = "pslm-2019-20-services"
SERVICES = (
    *("basic_health_unit", "family_planning", "hospital", "road", "bus", "primary_school", "middle_school"),
    *("high_school", "veterinary", "agriculture", "police", "bank", "railway", "post", "store"),
)
"""In the order printed, which is the order of the codes 1 to 15."""

# Codes and spellings as PSLM files have them; the last two are no districts of the wave.
LABELS = {
    101: "abbottabad",
    102: "bajur",
    108: "d. i. khan",
    201: "attock",
    236: "t.t. singh",
    212: "islamabad",
    301: "badin",
}
DISTRICTS = {
    101: "kp-abbottabad",
    102: "kp-bajaur",
    108: "kp-dera-ismail-khan",
    201: "punjab-attock",
    236: "punjab-toba-tek-singh",
}
ANSWERS = ["slq1", "slq2", "slq3", "slq4", "slq5", "slq6", "slq7"]
HOUSEHOLDS = 12


def section_l(seed: int = 5) -> pd.DataFrame:
    """One row per household and facility: 7 districts x 2 regions x 4 PSUs (Abbottabad urban 1) x 12 households."""
    rng = np.random.default_rng(seed)
    places = [
        (district // 100, district, region, district * 10_000 + region * 1_000 + number)
        for district in LABELS
        for region in (1, 2)
        for number in range(1, 2 if (district, region) == (101, 2) else 5)
    ]
    households = pd.DataFrame(places, columns=["province", "district", "region", "psu"])
    households = households.loc[households.index.repeat(HOUSEHOLDS)].reset_index(drop=True)
    households["hhcode"] = households["psu"] * 100 + np.arange(len(households)) % HOUSEHOLDS + 1
    long = households.merge(pd.DataFrame({"facilities": range(1, 16)}), how="cross")
    count = len(long)
    times, distance = rng.integers(1, 5, count), rng.integers(1, 6, count)
    user, seldom = times >= 2, times <= 2
    content = rng.random(count) < 0.85 - 0.12 * distance + 0.01 * long["facilities"]
    long["itc"] = 1
    long["slq1"] = times
    long["slq2"] = np.where(seldom, rng.integers(1, 8, count), np.nan)
    long["slq3"] = np.where(user, np.where(content, 1, 2), np.nan)
    long["slq4"] = np.where(user, rng.integers(1, 5, count), np.nan)
    long["slq5"] = np.where(user, distance, np.nan)
    long["slq6"] = np.where(user, rng.integers(1, 4, count), np.nan)
    long["slq7"] = np.where(user, rng.integers(1, 6, count), np.nan)
    nothing = households.groupby("psu").head(1).assign(facilities=0, itc=0, **dict.fromkeys(ANSWERS, 9.0))
    return pd.concat([nothing, long], ignore_index=True).sample(frac=1, random_state=seed, ignore_index=True)


def weights_of(long: pd.DataFrame) -> pd.DataFrame:
    """One row per PSU, as in weight_file.dta, with one PSU more than section L has."""
    psus = np.append(np.sort(long["psu"].unique()), 4_331_009)
    return pd.DataFrame({"psu": psus, "weights": 50.0 + psus % 97 * 3, "province": psus // 1_000_000})


def write_files(folder: Path, long: pd.DataFrame, weights: pd.DataFrame | None = None) -> Path:
    """secl.dta and weight_file.dta with the value labels that the other sections of the survey carry."""
    folder.mkdir()
    labels: dict[str, dict[int, str]] = {
        "province": {1: "khyber pakhtunkhwa", 2: "punjab", 3: "sindh", 4: "balochistan"},
        "region": {1: " rural", 2: "urban"},
        "district": LABELS,
        "slq1": {1: "not at all", 2: "once in a while", 3: "often", 4: "always"},
        "slq3": {1: "satisfied", 2: "not satisfied"},
        "slq4": {1: "worst", 2: "like before", 3: "better than before", 4: "don’t know"},
    }
    pyreadstat.write_dta(long, str(folder / "secl.dta"), variable_value_labels=labels)
    psus = weights_of(long) if weights is None else weights
    pyreadstat.write_dta(psus, str(folder / "weight_file.dta"))
    return folder


def project_with(root: Path, long: pd.DataFrame, weights: pd.DataFrame | None = None) -> Project:
    """A project in which the recipe's wave is in place, made from these files."""
    project = Project(root / "project")
    project.waves.mkdir(parents=True)
    for name in ("reference", "instruments"):
        (project.root / "data/raw" / name).symlink_to(ROOT / "data/raw" / name)
    add_wave(project, ROOT / "recipes" / WAVE, write_files(root / "files", long, weights))
    return project


@dataclass(frozen=True)
class Made:
    """The long file, the project, and every table made from the wave; responses by household."""

    long: pd.DataFrame
    project: Project
    raw: pd.DataFrame
    responses: pd.DataFrame
    psus: pd.DataFrame
    estimates: pd.DataFrame


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The wave made from a sound file in which two households lack the row of one facility."""
    long = section_l()
    household = long["hhcode"].isin([101_100_101, 236_200_404])
    long = long[~(household & (long["facilities"] == SERVICES.index("police") + 1))].reset_index(drop=True)
    return tables_of(long, project_with(tmp_path_factory.mktemp("pslm"), long))


def responses_of(project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The wave's raw and tidy responses."""
    inputs = open_wave(project, WAVE)
    raw = raw_responses(inputs.wave, inputs.folder)
    return raw, responses(raw, inputs.wave, inputs.instrument, inputs.gazetteer)


def tables_of(long: pd.DataFrame, project: Project) -> Made:
    inputs = open_wave(project, WAVE)
    raw, tidy = responses_of(project)
    psus = design_psus(raw, tidy, inputs.wave, inputs.units)
    file = project.root / "responses.parquet"
    tidy.to_parquet(file, index=False)
    facts = indicator_facts(tidy, inputs.wave, inputs.instrument)
    estimates = district_estimates(psu_totals(file, inputs.instrument), psus, inputs.units, facts)
    return Made(long, project, raw, tidy.set_index("respondent_id"), psus, estimates)


def shares(made: Made, column: str, positive: list[int], valid: list[int]) -> pd.Series:
    """Weighted share of `positive` among `valid` codes, by district and indicator's service, from the long file."""
    rows = made.long.merge(weights_of(made.long)[["psu", "weights"]], on="psu")
    rows = rows[rows["district"].isin(DISTRICTS) & rows["facilities"].between(1, 15) & rows[column].isin(valid)]
    named = {"unit_id": rows["district"].map(DISTRICTS), "service": rows["facilities"].map(lambda f: SERVICES[f - 1])}
    sums = rows.assign(**named, hit=rows["weights"] * rows[column].isin(positive)).groupby(["unit_id", "service"])
    return sums["hit"].sum() / sums["weights"].sum()


@pytest.mark.parametrize(
    ("prefix", "column", "positive", "valid"),
    [
        ("satisfied", "slq3", [1], [1, 2]),
        ("better", "slq4", [3], [1, 2, 3]),
        ("used", "slq1", [2, 3, 4], [1, 2, 3, 4]),
    ],
)
def test_shares_of_every_service_and_district(
    made: Made, prefix: str, column: str, positive: list[int], valid: list[int]
) -> None:
    ours = made.estimates.query("level == 'district' and domain == 'all'")
    ours = ours[ours["indicator"].str.startswith(f"{prefix}_")]
    ours = ours.assign(service=ours["indicator"].str.removeprefix(f"{prefix}_")).set_index(["unit_id", "service"])
    theirs = shares(made, column, positive, valid)
    assert len(ours) == len(theirs) == 5 * 15
    np.testing.assert_allclose(ours["estimate"].reindex(theirs.index), theirs, rtol=1e-12)
    assert theirs.between(0.02, 0.98).all()  # else the comparison would see nothing


def test_a_sound_file_has_no_problem(made: Made) -> None:
    assert wave_problems(made.project, WAVE) == []


def test_one_response_a_household_of_the_two_provinces_without_islamabad(made: Made) -> None:
    inside = made.long[made.long["district"].isin(DISTRICTS)]
    assert sorted(made.responses.index) == sorted(inside["hhcode"].unique().astype(str))
    assert set(made.responses["district_id"]) == set(DISTRICTS.values())
    weights = weights_of(made.long).set_index("psu")["weights"]
    psus = made.responses["psu"].astype(int)
    np.testing.assert_allclose(made.responses["weight"], psus.map(weights))
    assert "slq1_15" in made.raw
    assert "slq1_0" not in made.raw


def test_strata_of_one_psu_are_centred(made: Made) -> None:
    alone = made.psus[made.psus["single_psu"].notna()]
    assert alone[["stratum", "single_psu"]].to_numpy().tolist() == [["101/2", "centred"]]


def test_answers_of_one_household(made: Made) -> None:
    rows = made.long[made.long["hhcode"] == 201_100_203].set_index("facilities")
    household = made.responses.loc["201100203"]
    assert household["urban"] == "rural"
    meaning = {1: "satisfied", 2: "not_satisfied"}
    for code, service in enumerate(SERVICES, start=1):
        times = ["never", "once_in_a_while", "often", "always"][int(rows.loc[code, "slq1"]) - 1]
        assert household[f"use_{service}"] == times
        asked = meaning.get(rows.loc[code, "slq3"], "not_asked")  # the file leaves out nobody who was asked
        assert household[f"sat_{service}"] == asked
        assert (household[f"reason_{service}"] == "not_asked") == (times in ("often", "always"))
    answered = {household[f"sat_{service}"] for service in SERVICES}
    assert answered == {"satisfied", "not_satisfied", "not_asked"}


def test_a_household_without_the_row_of_a_facility_lacks_only_that_answer(made: Made) -> None:
    assert set(made.responses.index[made.responses["use_police"] == "missing"]) == {"101100101", "236200404"}
    assert (made.responses["use_bank"] != "missing").all()
    for household in ("101100101", "236200404"):
        assert made.responses.loc[household, "sat_police"] == "not_asked"
        assert made.responses.loc[household, "use_road"] in ("never", "once_in_a_while", "often", "always")


def test_who_uses_a_service_and_gives_no_answer_is_missing_not_unasked(tmp_path: Path) -> None:
    long = section_l()
    roads = (long["facilities"] == 4) & long["district"].isin(DISTRICTS)
    users = long[roads & (long["slq1"] == 4)].index[:3]
    long.loc[users, "slq3"] = np.nan
    _, tidy = responses_of(project_with(tmp_path, long))
    silent = tidy.loc[tidy["sat_road"] == "missing", "respondent_id"]
    assert set(silent) == set(long.loc[users, "hhcode"].astype(str))
    assert (tidy["sat_road"] == "not_asked").sum() == (long.loc[roads, "slq1"] == 1).sum()


def test_who_lives_far_from_the_hospital_is_less_satisfied_with_it(made: Made) -> None:
    inputs = open_wave(made.project, WAVE)
    effects = wave_drivers(made.responses.reset_index(), made.psus, inputs.instrument, inputs.units)[0].set_index(
        ["driver", "term"]
    )
    # 12 points less per step of distance were put into the file, four steps from the nearest to the farthest.
    far = effects.loc[("distance_hospital", "over_5_km")]
    assert far["low"] < -0.48 < far["high"]
    assert far["high"] < 0
    asked = (made.responses["use_hospital"] != "never").sum()
    assert far["n"] == asked
    assert set(effects.index.get_level_values("driver")) == {
        *("use_hospital", "distance_hospital", "minutes_hospital", "mode_hospital", "urban")
    }


def problems_of(tmp_path: Path, long: pd.DataFrame, weights: pd.DataFrame | None = None) -> list[str]:
    return [str(problem) for problem in wave_problems(project_with(tmp_path, long, weights), WAVE)]


def changed(where: dict[str, Any], **values: Any) -> pd.DataFrame:
    """Section L with columns changed in the rows where other columns hold these values."""
    long = section_l()
    chosen = np.logical_and.reduce([long[column] == value for column, value in where.items()])
    assert chosen.any()
    return long.assign(**{column: long[column].mask(chosen, value) for column, value in values.items()})


def test_an_undeclared_answer_is_named_with_its_service(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed({"hhcode": 101_100_101, "facilities": 11}, slq1=2.0, slq3=5.0))
    for part in ("secl.dta", "slq3_11", "'5'", "1 rows", "variables.sat_police"):
        assert part in problem


def test_an_unknown_facility_is_not_passed_over(tmp_path: Path) -> None:
    long = section_l()
    more = long[long["facilities"] == 15].assign(facilities=16)
    problems = problems_of(tmp_path, pd.concat([long, more], ignore_index=True))
    assert problems
    for part in ("secl.dta", "facilities", "16"):
        assert part in problems[0]


def test_a_facility_that_stands_twice_in_a_household(tmp_path: Path) -> None:
    long = section_l()
    twice = long[(long["hhcode"] == 101_100_101) & (long["facilities"] == 3)]
    (problem,) = problems_of(tmp_path, pd.concat([long, twice], ignore_index=True))
    for part in ("secl.dta", "facilities", "101100101", "3"):
        assert part in problem


def test_a_household_in_two_districts(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed({"hhcode": 101_100_101, "facilities": 3}, district=102))
    for part in ("secl.dta", "district", "101100101"):
        assert part in problem


def test_a_psu_without_weight(tmp_path: Path) -> None:
    long = section_l()
    weights = weights_of(long)
    (problem,) = problems_of(tmp_path, long, weights[weights["psu"] != 1_011_002])
    for part in ("weight_file.dta", "psu", "1011002"):
        assert part in problem
