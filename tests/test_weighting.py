"""Weights built by hand and against R: non-response, raking, trimming, and variances that know the calibration.

R's numbers for a raked two-stage sample are in tests/golden (raking.R makes them); those on R's textbook samples need
../shared/golden.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.errors import InputError
from perception.estimation.design import calibration, design_from_psus, design_psus
from perception.estimation.domains import (
    CalibratedCells,
    calibrated_cells,
    district_estimates,
    domain_cells,
    domain_covariance,
    domain_estimates,
    domain_totals,
)
from perception.estimation.totals import CELL, Quantity, calibration_totals, psu_totals, totals
from perception.estimation.weighting import built_weights, calibrate, nonresponse_factors, raking, weight_steps
from perception.geography import Gazetteer, load_gazetteer, vintage_units
from perception.intake.declarations import AGE_GROUPS
from perception.intake.harmonise import responses as harmonised_responses
from perception.intake.instrument import load_instrument
from perception.intake.raw import raw_responses
from perception.intake.wave_file import Wave, load_wave
from perception.schemas import TABLES, contract_breaches
from tests.conftest import ROOT, SMALL_INSTRUMENT, SMALL_WAVE, small_answers, write_small_wave

GOLDEN = ROOT / "tests/golden"


# Raking and calibration


def test_raking_a_table_by_hand() -> None:
    # Rows of one of two margins only: the solution is the product of a factor for each side.
    sides, halves = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    weights = raking([sides, halves], [[30.0, 70.0], [50.0, 50.0]]).raked(np.ones(4))
    np.testing.assert_allclose(weights, [15, 15, 35, 35], rtol=1e-12)
    # Odds ratios of the start stay as they are (Deming and Stephan): here 4
    weights = raking([sides, halves], [[30.0, 70.0], [50.0, 50.0]]).raked(np.array([2.0, 1, 1, 2]))
    assert weights[0] * weights[3] / (weights[1] * weights[2]) == pytest.approx(4)
    assert (weights[:2].sum(), weights[[0, 2]].sum()) == pytest.approx((30, 50))


def test_linear_calibration_of_one_total_is_the_regression_estimator() -> None:
    d, x, y = np.array([2.0, 3, 5]), np.array([1.0, 2, 4]), np.array([3.0, 1, 2])
    known = np.column_stack([np.ones(3), x])
    weights = calibrate(d, known, [12, 33], "linear")
    slope = np.linalg.solve((known.T * d) @ known, (known.T * d) @ y)
    assert weights @ y == pytest.approx(d @ y + (np.array([12, 33]) - known.T @ d) @ slope)
    with pytest.raises(ValueError, match="does not reach"):
        calibrate(d, known, [12, 60], "raking")  # a mean of 5 where x is at most 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 4))
def test_raking_meets_margins_keeps_weights_positive_and_agrees_with_newton(seed: int, one: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.array([(a, b) for a in range(one) for b in range(other) for _ in range(rng.integers(1, 4))])
    start, true = rng.uniform(0.5, 5, len(rows)), rng.uniform(1, 20, len(rows))
    persons = [np.bincount(rows[:, place], true) for place in (0, 1)]
    fitting = raking(list(rows.T), persons)
    weights = fitting.raked(start)
    assert (weights > 0).all()
    for apart in fitting.deviations(weights):
        np.testing.assert_allclose(apart, 0, atol=1e-9)
    np.testing.assert_allclose(fitting.raked(weights), weights, rtol=1e-9)  # nothing is left to do
    dummies = np.column_stack([np.eye(one)[rows[:, 0]], np.eye(other)[rows[:, 1]]])
    np.testing.assert_allclose(calibrate(start, dummies, np.concatenate(persons), "raking"), weights, rtol=1e-7)


# Calibration-aware variance against R


class RakedSample:
    """The sample of tests/golden raked by us, and everything its estimates need."""

    rake = [("district_id", "sex"), ("district_id", "urban"), ("age_group",)]

    def __init__(self) -> None:
        frame = pd.read_csv(GOLDEN / "raking_sample.csv").astype({"psu": "str"})
        table = pd.read_csv(GOLDEN / "raking_margins.csv")
        margins = [table.groupby(list(margin))["persons"].sum() for margin in self.rake]
        keys = [pd.MultiIndex.from_frame(frame[list(margin)]).map(_only) for margin in self.rake]
        codes = [persons.index.get_indexer(key) for persons, key in zip(margins, keys, strict=True)]
        frame["weight"] = raking(codes, margins).raked(frame["d"])
        frame["wealth"] = np.where(np.arange(len(frame)) % 2 == 0, "lowest", "highest")  # not among the margins
        self.frame, self.persons, self.codes = frame, margins, codes
        places = frame[["district_id", "province_id"]].drop_duplicates()
        self.units = places.assign(division_id=places["district_id"] + "-division")
        psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
        self.design = design_from_psus(psus)
        self.totals = self.summed("d")
        self.cells = domain_cells(self.totals, self.units)

    def summed(self, uncalibrated: str | None) -> pd.DataFrame:
        values = {name: nw.col(name) for name in ("satisfied", "score")}
        quantities = {name: Quantity(~value.is_null() & ~value.is_nan(), value) for name, value in values.items()}
        return totals(self.frame.astype({"satisfied": float}), quantities, CELL, uncalibrated=uncalibrated)

    @property
    def calibration_totals(self) -> pd.DataFrame:
        sums = {"sum_w": ("weight", "sum"), "sum_d": ("d", "sum")}
        return self.frame.groupby(list(CELL)).agg(**sums).reset_index()

    def calibrated(self, rake: Any = rake) -> CalibratedCells:
        return calibrated_cells(self.calibration_totals, rake, self.totals, self.units, self.design)


def _only(key: tuple[str, ...]) -> Any:
    return key if len(key) > 1 else key[0]


@pytest.fixture(scope="module")
def sample() -> RakedSample:
    return RakedSample()


KINDS = {"satisfied": "share", "score": "mean"}
DOMAIN = ["indicator", "level", "unit_id", "domain"]


def test_raked_weights_are_those_of_r(sample: RakedSample) -> None:
    np.testing.assert_allclose(sample.frame["weight"], sample.frame["raked"], rtol=1e-10)
    assert (sample.frame["raked"] / sample.frame["d"]).std() > 0.3  # else nothing was compared


def test_domain_estimates_errors_and_deffs_are_those_of_r(sample: RakedSample) -> None:
    golden = pd.read_csv(GOLDEN / "raking_estimates.csv")
    ours = domain_estimates(sample.cells, sample.design, KINDS, sample.calibrated())
    both = golden.merge(ours, on=DOMAIN, suffixes=("_r", ""), validate="1:1")
    assert len(both) == len(golden) > 80
    for statistic in ("estimate", "se", "deff", "df"):
        np.testing.assert_allclose(both[statistic], both[f"{statistic}_r"], rtol=1e-9, err_msg=statistic)
    blind = golden.merge(domain_estimates(sample.cells, sample.design, KINDS), on=DOMAIN, suffixes=("_r", ""))
    apart = (blind["se"] / blind["se_r"] - 1).abs()
    assert apart.median() > 0.03  # variances that do not know the calibration are others
    assert apart.max() > 0.3


def test_totals_of_domains_are_those_of_r(sample: RakedSample) -> None:
    golden = pd.read_csv(GOLDEN / "raking_estimates.csv")
    both = golden.merge(domain_totals(sample.cells, sample.design, sample.calibrated()), on=DOMAIN, suffixes=("_r", ""))
    assert len(both) == len(golden)
    np.testing.assert_allclose(both["estimate"], both["total"], rtol=1e-9)
    np.testing.assert_allclose(both["se"], both["total_se"], rtol=1e-9)


def test_the_covariance_has_the_variances_and_knows_what_was_calibrated(sample: RakedSample) -> None:
    cells = sample.cells[sample.cells["domain"].isin(["all", "sex=female", "sex=male"])]
    rows, covariance = domain_covariance(cells, sample.design, sample.calibrated())
    estimates = rows.merge(domain_estimates(cells, sample.design, KINDS, sample.calibrated()), on=DOMAIN)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), estimates["se"], rtol=1e-9)
    # The share of women is known: the difference between the whole and its parts, mixed as the population is, is 0.
    place = {key: number for number, key in enumerate(rows[DOMAIN].itertuples(index=False, name=None))}
    names = [("satisfied", "all", "all", domain) for domain in ("all", "sex=female", "sex=male")]
    women = sample.persons[0].xs("female", level="sex").sum() / sample.persons[0].sum()
    contrast = np.zeros(len(rows))
    contrast[[place[name] for name in names]] = 1, -women, women - 1
    assert contrast @ covariance @ contrast < 1e-14 * (contrast**2 @ np.diag(covariance))  # rounding
    assert contrast @ domain_covariance(cells, sample.design)[1] @ contrast > 1e-6


def test_what_the_margins_say_has_no_variance(sample: RakedSample) -> None:
    frame = sample.frame.assign(woman=(sample.frame["sex"] == "female").astype(float))
    summed = totals(frame, {"woman": Quantity(~nw.col("woman").is_null(), nw.col("woman"))}, CELL, uncalibrated="d")
    calibrated = calibrated_cells(sample.calibration_totals, sample.rake, summed, sample.units, sample.design)
    estimates = domain_estimates(domain_cells(summed, sample.units), sample.design, {"woman": "share"}, calibrated)
    known = estimates[(estimates["domain"] == "all")]
    assert known["se"].max() < 1e-9
    women = sample.persons[0].xs("female", level="sex") / sample.persons[0].groupby("district_id").sum()
    districts = known[known["level"] == "district"].set_index("unit_id")["estimate"]
    pd.testing.assert_series_equal(districts.sort_index(), women.sort_index(), check_names=False)


def test_redundant_margins_and_their_order_change_nothing(sample: RakedSample) -> None:
    once = domain_estimates(sample.cells, sample.design, KINDS, sample.calibrated())
    more = [("age_group",), ("district_id", "urban"), ("province_id",), ("district_id",), ("sex", "district_id")]
    again = domain_estimates(sample.cells, sample.design, KINDS, sample.calibrated(more))
    np.testing.assert_allclose(again["se"], once["se"], rtol=1e-8, atol=1e-12)


def test_the_table_is_made_indicator_by_indicator_as_if_together(sample: RakedSample) -> None:
    table = sample.totals.assign(wave="w")
    psus = sample.design.psus
    indicators = pd.DataFrame({"indicator": list(KINDS), "kind": list(KINDS.values())})
    parts = district_estimates(table, psus, sample.units, indicators, sample.calibration_totals, sample.rake)
    whole = domain_estimates(sample.cells, sample.design, KINDS, sample.calibrated())
    both = parts.merge(whole, on=DOMAIN, suffixes=("", "_whole"), validate="1:1")
    assert len(both) == len(parts) == len(whole)
    for name in ("estimate", "se", "n_eff", "low", "high"):
        np.testing.assert_allclose(both[name], both[f"{name}_whole"], rtol=1e-9)
    plain = district_estimates(table, psus, sample.units, indicators)
    blind = domain_estimates(sample.cells, sample.design, KINDS)
    np.testing.assert_allclose(np.sort(plain["se"]), np.sort(blind["se"]), rtol=1e-12)


# R's textbook samples (needs ../shared/golden)

POPULATION = {"E": 4421, "H": 755, "M": 1018}
WIDE = {"No": 1072, "Yes": 5122}
API99_TOTAL = 3_914_069
FPC = 1 - 15 / 757


def dummies(values: pd.Series) -> np.ndarray:
    return pd.get_dummies(values).to_numpy(float)


@pytest.fixture(scope="module")
def schools(shared_golden: Path) -> pd.DataFrame:
    return pd.read_csv(shared_golden / "apiclus1.csv")


def calibrations(schools: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights and auxiliaries of each calibration in R's golden file, made by our functions."""
    d = schools["pw"].to_numpy()
    types, wide = dummies(schools["stype"]), dummies(schools["sch.wide"])
    codes = [schools["stype"].map(list(POPULATION).index), (schools["sch.wide"] == "Yes").astype(int)]
    one, two = raking(codes[:1], [list(POPULATION.values())]), raking(codes, [list(POPULATION.values()), [1072, 5122]])
    regression = np.column_stack([types, schools["api99"]])
    totals_of = [*POPULATION.values(), API99_TOTAL]
    return {
        "rake": (two.raked(d), np.column_stack([types, wide])),
        "poststrat": (one.raked(d), types),
        "cal_stype": (calibrate(d, types, list(POPULATION.values()), "linear"), types),
        "greg_stype_api99": (calibrate(d, regression, totals_of, "linear"), regression),
        "calraking_stype_api99": (calibrate(d, regression, totals_of, "raking"), regression),
    }


@pytest.mark.parametrize(
    ("key", "tolerance"),
    [
        ("rake", 1e-6),
        ("poststrat", 1e-9),
        ("cal_stype", 1e-9),
        ("greg_stype_api99", 1e-9),
        ("calraking_stype_api99", 1e-6),
    ],
)
def test_calibration_of_r_textbook_sample(
    key: str, tolerance: float, schools: pd.DataFrame, shared_golden: Path
) -> None:
    golden = json.loads((shared_golden / "r_golden_design.json").read_text())
    expected = golden["calib"][key]
    weights, auxiliaries = calibrations(schools)[key]
    assert weights.sum() == pytest.approx(expected["wsum"], rel=tolerance)
    assert (weights.min(), weights.max()) == pytest.approx((expected["wmin"], expected["wmax"]), rel=tolerance)
    column = {"rake": "rake", "poststrat": "ps", "greg_stype_api99": "greg", "calraking_stype_api99": "calrak"}
    if key in column:
        by_row = [row[column[key]] for row in golden["calib_weights"]]
        np.testing.assert_allclose(weights[: len(by_row)], by_row, rtol=tolerance)
    psu = schools["dnum"].astype(str)
    design = design_from_psus(pd.DataFrame({"variance_stratum": "all", "psu": psu.unique()}))
    rows = design.psu_index(["all"] * len(psu), psu)
    fitted = calibration(design, rows, weights, schools["pw"], auxiliaries)
    mean, api00 = np.average(schools["api00"], weights=weights), schools["api00"].to_numpy(float)
    scores = {"mean_api00": (api00 - mean) / weights.sum(), "tot_enroll": schools["enroll"].to_numpy(float)}
    estimates = {"mean_api00": mean, "tot_enroll": weights @ schools["enroll"]}
    for name, score in scores.items():
        by_psu = np.bincount(rows, weights * score)[:, None]
        products = (auxiliaries.T @ (schools["pw"].to_numpy() * score))[:, None]
        variance = FPC * design.variances(fitted.residuals(by_psu, products))[0]
        (coefficient,), (se,) = expected[name]["coef"].values(), expected[name]["se"].values()
        assert estimates[name] == pytest.approx(coefficient, rel=tolerance)
        assert np.sqrt(variance) == pytest.approx(se, rel=tolerance)


# From a wave folder to weights

RAKED = """
design: {weight_scale: population, strata: [district], psu: psu}
weighting:
  base: w
  margins: margins.csv
  rake: [[district_id, sex], [urban]]
"""
SEXES = {1: "female", 2: "male"}
# YAML reads a bare yes or no as true or false; wave files are read without that.
PLAIN: dict[str, Any] = yaml.safe_load(SMALL_WAVE.replace("0: no, 1: yes", '0: "no", 1: "yes"'))
AREA = {"urban": {"source": "area", "map": {"town": "urban", "village": "rural"}}}


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(ROOT / "data/raw/reference")


@pytest.fixture(scope="module")
def units(gazetteer: Gazetteer) -> pd.DataFrame:
    return vintage_units(gazetteer, "2018")


def answers() -> pd.DataFrame:
    """The small wave with area, age and result; sampled are 5 districts x 6 PSUs x 20, three in four responded."""
    frame = small_answers()
    rng = np.random.default_rng(7)
    frame["area"] = rng.choice(["town", "village"], len(frame), p=[0.4, 0.6])
    frame["age"] = rng.integers(18, 80, len(frame))
    frame["result"] = rng.choice([1, 2, 9], len(frame), p=[0.75, 0.2, 0.05])
    return frame


def margins(frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """A table that crosses districts (by name), sex and area of the population."""
    rng = np.random.default_rng(8)
    places = pd.MultiIndex.from_product(
        [["Peshawar", "Mardan", "Swat", "Kohat", "kp-bannu"], ["female", "male"], ["urban", "rural"]],
        names=["district_id", "sex", "urban"],
    )
    return pd.DataFrame({"persons": rng.integers(50_000, 150_000, len(places))}, index=places).reset_index()


class Small:
    """The small wave with `weighting` as in `changes`, in a folder, up to its responses with the base weight."""

    def __init__(
        self, folder: Path, gazetteer: Gazetteer, units: pd.DataFrame, changes: str = RAKED, **files: pd.DataFrame
    ) -> None:
        wave = PLAIN | {"rows": [{"column": "result", "keep": [1]}]}
        wave["variables"] = wave["variables"] | AREA | {"age": {"source": "age"}}
        text = yaml.safe_dump(wave | yaml.safe_load(changes))
        self.folder = write_small_wave(folder / "small-2021", files.get("answers", answers()), text)
        files.get("margins", margins()).to_csv(self.folder / "margins.csv", index=False)
        (folder / "small.yml").write_text(SMALL_INSTRUMENT, encoding="utf-8")
        self.wave: Wave = load_wave(self.folder)
        self.gazetteer, self.units = gazetteer, units
        self.instrument = load_instrument(folder / "small.yml")
        self.raw = raw_responses(self.wave, self.folder)
        self.responses = harmonised_responses(self.raw, self.wave, self.instrument, gazetteer)

    def built(self, folder: Path | None = None) -> pd.DataFrame:
        return built_weights(self.responses, self.raw, self.wave, folder or self.folder, self.gazetteer, self.units)

    def steps(self, final: pd.DataFrame) -> pd.DataFrame:
        return weight_steps(final, self.wave, self.folder, self.gazetteer, self.units)

    def problems(self, folder: Path | None = None) -> list[str]:
        with pytest.raises(InputError) as raised:
            self.built(folder)
        return [str(problem) for problem in raised.value.problems]


def changed(text: str, **weighting: Any) -> str:
    """The changes of `text` with other keys under `weighting`; None takes one out."""
    content = yaml.safe_load(text)
    content["weighting"] |= weighting
    content["weighting"] = {key: value for key, value in content["weighting"].items() if value is not None}
    return yaml.safe_dump(content)


@pytest.fixture(scope="module")
def raked_wave(tmp_path_factory: pytest.TempPathFactory, gazetteer: Gazetteer, units: pd.DataFrame) -> Small:
    return Small(tmp_path_factory.mktemp("raked"), gazetteer, units)


def test_base_times_nonresponse_times_raking(raked_wave: Small) -> None:
    final = raked_wave.built()
    data = answers()
    responded = data[data["result"] == 1]
    factor = data.groupby("district")["w"].sum() / responded.groupby("district")["w"].sum()
    assert factor.min() > 1.1
    np.testing.assert_allclose(final["base_weight"], responded["w"])
    np.testing.assert_allclose(final["uncalibrated_weight"], responded["w"] * responded["district"].map(factor))
    population = margins().replace({"district_id": {"kp-bannu": "Bannu"}})
    wanted = population.groupby(["district_id", "sex"])["persons"].sum()
    place = "kp-" + wanted.index.get_level_values(0).str.lower()
    given = final.groupby(["district_id", "sex"])["weight"].sum()
    np.testing.assert_allclose(
        given[list(zip(place, wanted.index.get_level_values(1), strict=True))], wanted, rtol=1e-9
    )
    areas = population.groupby("urban")["persons"].sum()
    np.testing.assert_allclose(final.groupby("urban")["weight"].sum(), areas, rtol=1e-9)
    assert final["weight"].sum() == pytest.approx(population["persons"].sum())
    assert contract_breaches(final, "responses") == []


def test_only_eligible_rows_count_as_nonresponse(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    eligible = changed(RAKED, eligible={"column": "result", "codes": [1, 2]}, margins=None, rake=None)
    small = Small(tmp_path, gazetteer, units, eligible)
    data = answers()
    wanted = data[data["result"] != 9].groupby("district")["w"].sum()
    given = data[data["result"] == 1].groupby("district")["w"].sum()
    factors, problems = nonresponse_factors(small.responses, small.raw, small.wave)
    assert problems == []
    np.testing.assert_allclose(factors, wanted / given)
    final = small.built()
    np.testing.assert_allclose(final.groupby("stratum")["weight"].sum(), wanted)  # nothing to rake to: the base's sum
    np.testing.assert_array_equal(final["weight"], final["uncalibrated_weight"])


def test_interviews_that_a_remedy_drops_were_sampled_and_repeats_were_not(
    tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> None:
    data = answers().assign(result=1, interviewer=lambda frame: frame["id"] % 7)
    repeated = pd.concat([data, data.iloc[[3, 4, 5]]], ignore_index=True)
    plain = changed(RAKED, margins=None, rake=None)
    remedies = [
        {"check": "duplicates", "reason": "sent twice", "drop_repeats": {"columns": ["id"]}},
        {"check": "enumerators", "reason": "made up", "drop": {"column": "interviewer", "codes": [6]}},
    ]
    changes = yaml.safe_dump(yaml.safe_load(plain) | {"remedies": remedies})
    final = Small(tmp_path, gazetteer, units, changes, answers=repeated).built()
    assert len(final) == (data["interviewer"] != 6).sum()
    np.testing.assert_allclose(final.groupby("stratum")["weight"].sum(), data.groupby("district")["w"].sum())


def test_trimming_keeps_limit_and_margins(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    data = answers()
    data.loc[data["id"] % 40 == 0, "w"] *= 12
    free = Small(tmp_path / "free", gazetteer, units, answers=data)
    untrimmed = free.built()
    limit = 3 * untrimmed.groupby("district_id")["weight"].transform("median")
    assert (untrimmed["weight"] > limit).sum() > 10
    small = Small(tmp_path / "trim", gazetteer, units, changed(RAKED, trim=3), answers=data)
    final = small.built()
    assert (final["weight"] <= limit * 1.001).all()
    assert (final["weight"] > 0).all()
    for margin in (["district_id", "sex"], ["urban"]):
        sums = [frame.groupby(margin)["weight"].sum() for frame in (final, untrimmed)]
        np.testing.assert_allclose(*sums, rtol=1e-9)
    steps = small.steps(final).set_index("step")
    assert steps.index.tolist() == ["base", "nonresponse", "calibrated", "final"]
    assert steps.loc["calibrated", "largest"] == pytest.approx(untrimmed["weight"].max())
    assert steps.loc["final", "kish"] < steps.loc["calibrated", "kish"]


def test_trimming_without_margins_keeps_the_sum_of_each_district(
    tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> None:
    data = answers()
    data.loc[data["id"] % 40 == 0, "w"] *= 12
    small = Small(tmp_path, gazetteer, units, changed(RAKED, margins=None, rake=None, trim=4), answers=data)
    final = small.built()
    limit = 4 * final.groupby("district_id")["uncalibrated_weight"].transform("median")
    assert (final["weight"] <= limit * 1.001).all()
    sums = final.groupby("district_id")[["weight", "uncalibrated_weight"]].sum()
    np.testing.assert_allclose(sums["weight"], sums["uncalibrated_weight"], rtol=1e-9)


def test_weights_table_by_hand(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    small = Small(tmp_path, gazetteer, units, changed(RAKED, margins=None, rake=None))
    frame = small.built().head(4).assign(weight=[1.0, 2, 3, 6], base_weight=[1.0, 1, 1, 1])
    table = small.steps(frame)
    assert contract_breaches(table, "weights") == []
    row = table.set_index("step").loc["final"]
    assert row[["n", "sum", "smallest", "median", "largest"]].tolist() == [4, 12, 1, 2.5, 6]
    assert row["kish"] == pytest.approx(4 * 50 / 144)  # n sum w^2 / (sum w)^2
    assert row["cv"] == pytest.approx(np.sqrt(4 * 50 / 144 - 1))
    assert row["max_over_median"] == 2.4
    assert table.set_index("step").loc["base", ["cv", "kish"]].tolist() == [0, 1]


def test_a_producers_weight_is_kept(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    kept = "design: {weight: w, weight_scale: relative, strata: [district], psu: psu}"
    small = Small(tmp_path, gazetteer, units, kept)
    final = small.built()
    pd.testing.assert_frame_equal(final, small.responses)
    assert final[["base_weight", "uncalibrated_weight"]].isna().all(axis=None)
    assert small.steps(final)["step"].tolist() == ["final"]
    final.to_parquet(tmp_path / "responses.parquet")
    assert calibration_totals(tmp_path / "responses.parquet", small.wave).empty
    summed = psu_totals(tmp_path / "responses.parquet", small.instrument)
    assert summed[["sum_dx", "sum_dy"]].isna().all(axis=None)
    assert contract_breaches(summed, "psu_totals") == []
    psus = design_psus(small.raw, final, small.wave, units)
    assert psus[["longitude", "latitude"]].isna().all(axis=None)
    assert contract_breaches(psus, "design_psus") == []


@pytest.mark.parametrize("further", ["urban", None])
def test_a_raked_wave_to_its_estimates(
    further: str | None, tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> None:
    """Tables through Parquet, against the variance written out respondent by respondent; also without area and age."""
    rake = [["district_id", "sex"]] + ([[further]] if further else [])
    variables = {} if further else {"variables": PLAIN["variables"]}
    small = Small(tmp_path, gazetteer, units, yaml.safe_dump(yaml.safe_load(changed(RAKED, rake=rake)) | variables))
    final = small.built()
    final.to_parquet(tmp_path / "responses.parquet")
    sums = calibration_totals(tmp_path / "responses.parquet", small.wave)
    assert contract_breaches(sums, "calibration_totals") == []
    assert sums["sum_w"].sum() == pytest.approx(final["weight"].sum())
    assert sums["sum_d"].sum() == pytest.approx(final["uncalibrated_weight"].sum())
    summed = psu_totals(tmp_path / "responses.parquet", small.instrument)
    assert contract_breaches(summed, "psu_totals") == []
    psus = design_psus(small.raw, final, small.wave, units)
    indicators = pd.DataFrame({"indicator": ["satisfied", "was_heard"], "kind": "share"})
    estimates = district_estimates(summed, psus, units, indicators, sums, rake).set_index(DOMAIN)
    assert contract_breaches(estimates.reset_index(), "district_estimates") == []

    w, d = (final[name].to_numpy() for name in ("weight", "uncalibrated_weight"))
    a = dummies(final["district_id"] + final["sex"])
    if further:
        a = np.column_stack([a, dummies(final[further])])
    good = (final["service"] == "good").to_numpy(float)
    for key, member in {
        ("all", "all", "all"): np.ones(len(final), dtype=bool),
        ("district", "kp-swat", "sex=female"): (final["district_id"] == "kp-swat") & (final["sex"] == "female"),
        ("division", "kp-malakand", "age_group=65+"): (final["district_id"] == "kp-swat")
        & (final["age_group"] == "65+"),
    }.items():
        if not np.any(member):
            assert ("satisfied", *key) not in estimates.index
            continue
        inside = np.asarray(member) & final["service"].isin(["bad", "fair", "good"]).to_numpy()
        share = np.average(good[inside], weights=w[inside])
        u = inside * (good - share) / w[inside].sum()
        slope = np.linalg.lstsq(a * np.sqrt(d)[:, None], u * np.sqrt(d), rcond=None)[0]
        by_psu = (
            pd.Series(w * (u - a @ slope)).groupby(final["psu"].to_numpy()).sum().reindex(psus["psu"], fill_value=0)
        )
        strata = by_psu.groupby(psus["variance_stratum"].to_numpy())
        variance = (strata.var(ddof=1) * strata.size()).sum()
        row = estimates.loc[("satisfied", *key)]
        assert row["estimate"] == pytest.approx(share, rel=1e-12)
        assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_census_counts_where_they_are_accepted(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    rake = [["district_id", "sex"], ["district_id", "urban"], ["province_id"]]
    small = Small(tmp_path, gazetteer, units, changed(RAKED, margins="census", rake=rake))
    final = small.built()
    counts = units.set_index("district_id").loc[sorted(final["district_id"].unique())]
    women = final[final["sex"] == "female"].groupby("district_id")["weight"].sum()
    # The parts of a district do not add up to its population to the last person: the last margin holds exactly.
    assert final["weight"].sum() == pytest.approx(counts["population_2023"].sum(), rel=1e-9)
    np.testing.assert_allclose(women, counts["female_2023"].astype(float), rtol=0.005)


def test_what_the_census_cannot_say(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    rake = [["district_id", "age_group"], ["sex", "urban"], ["district_id", "sex"]]
    problems = Small(tmp_path, gazetteer, units, changed(RAKED, margins="census", rake=rake)).problems()
    assert len(problems) == 2
    assert "small-2021/wave.yml, weighting.margins census: has no counts by district_id x age_group" in problems[0]
    assert "sex x urban" in problems[1]
    assert all("Bring a margins file" in problem for problem in problems)


def edited(column: str, row: int, value: Any) -> pd.DataFrame:
    table = margins().astype(object)
    table.loc[row, column] = value
    return table


MISTAKES: dict[str, tuple[pd.DataFrame, list[str]]] = {
    "an unknown district": (edited("district_id", 0, "Peshawer"), ["column district_id: 'Peshawer' is not a district"]),
    "a district of a later map": (edited("district_id", 0, "Central Dir"), ["part of Upper Dir"]),
    "an unknown sex": (edited("sex", 0, "women"), ["column sex: 'women' is not known. Use female, male, transgender"]),
    "an unknown area": (edited("urban", 3, "city"), ["column urban: 'city' is not known. Use urban, rural."]),
    "persons in words": (edited("persons", 4, "many"), ["column persons, row 5: 'many' is not a number of persons"]),
    "thousands with commas": (edited("persons", 4, "1,200"), ["column persons, row 5: '1,200' is not a number"]),
    "persons below zero": (
        edited("persons", 1, -5),
        ["column persons, row 2: '-5' is not a number of persons above 0"],
    ),
    "nobody": (edited("persons", 1, 0), ["column persons, row 2: '0' is not a number of persons above 0"]),
    "no persons": (edited("persons", 1, None), ["column persons, row 2: is blank"]),
    "no column of persons": (margins().drop(columns="persons"), ["margins.csv: has no column persons"]),
    "persons only": (
        margins()[["persons"]],
        ["has no rows that give persons by district_id x sex", "by urban. Add rows"],
    ),
    "no column of the margin": (margins().drop(columns="sex"), ["has no rows that give persons by district_id x sex"]),
    "a row twice, by id and by name": (
        pd.concat([margins(), margins().iloc[[0]].replace("Peshawar", "kp-peshawar")]),
        ["district_id x sex x urban: rows 1, 21 all count kp-peshawar x female x urban. Keep one"],
    ),
    "a category that nobody has": (
        pd.concat([margins(), margins().iloc[[0]].assign(sex="transgender")]),
        ["margin district_id x sex, kp-peshawar x transgender: has 121954 persons", "but no response. Leave it out"],
    ),
    "a category that is not in the file": (
        margins().iloc[4:],
        ["margin district_id x sex, kp-peshawar x female: has", "responses but no persons. Add its persons"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_margins(mistake: str, tmp_path: Path, raked_wave: Small) -> None:
    table, said = MISTAKES[mistake]
    table.to_csv(tmp_path / "margins.csv", index=False)
    problems = "\n".join(raked_wave.problems(tmp_path))
    assert "small-2021/margins.csv" in problems
    for words in said:
        assert words in problems


def test_all_problems_at_once(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    data = answers()
    data.loc[data["district"] == "Swat", "result"] = 2
    data.loc[data["id"] == 500, ["w", "result"]] = [0.0, 2]
    data.loc[data["id"] == 10, ["sex", "result"]] = [8, 1]
    eligible = changed(RAKED, eligible={"column": "result", "codes": [1, 2]})
    content = yaml.safe_load(eligible)
    content["design"]["weight_scale"] = "mean_one"
    sex = {"sex": {"source": "sex", "map": SEXES, "missing": {8: "refused"}}}
    content["variables"] = PLAIN["variables"] | sex | AREA
    table = edited("persons", 2, "x").assign(urban=lambda frame: frame["urban"].replace("rural", "village"))
    problems = Small(tmp_path, gazetteer, units, yaml.safe_dump(content), answers=data, margins=table).problems()
    said = [
        "answers.csv, column w: 1 of",
        "eligible rows have no positive base weight: row, value [[501, '0.0']]",
        "stratum Swat: has",
        "weighting.rake, sex: 1 of",
        "column urban: 'village' is not known",
        "column persons, row 3: 'x' is not a number",
        "design.weight_scale: is mean_one, but weights raked to persons sum to the population. Set it to population",
    ]
    for words in said:
        assert sum(words in problem for problem in problems) == 1, (words, problems)
    assert len(problems) == 6


def test_rows_that_count_must_be_eligible(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    changes = changed(RAKED, eligible={"column": "result", "codes": [2, 9]})
    (problem,) = [p for p in Small(tmp_path, gazetteer, units, changes).problems() if "weighting.eligible" in p]
    assert "rows that count are not eligible, first at row 1" in problem


def test_wider_age_bands_are_refused(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    table = pd.DataFrame({"age_group": ["18-34", "35-44", "45+"], "persons": [100, 100, 100]})
    changes = changed(RAKED, rake=[["age_group"]])
    problems = Small(tmp_path, gazetteer, units, changes, margins=table).problems()
    assert [problem.split(".csv, ")[1].split(".")[0] for problem in problems] == [
        "column age_group: '18-34' is not known",
        "column age_group: '45+' is not known",
    ]
    assert f"Use the age bands {', '.join(AGE_GROUPS)}, not wider" in problems[0]


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)


def test_margins_below_one_another_and_of_wider_places(
    tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> None:
    by_sex = margins().groupby(["district_id", "sex"])["persons"].sum().reset_index()
    total = by_sex["persons"].sum()
    by_age = pd.DataFrame({"age_group": AGE_GROUPS, "persons": total * np.array([0.25, 0.25, 0.2, 0.1, 0.1, 0.1])})
    rake = [["district_id", "sex"], ["age_group"], ["division_id", "sex"], ["province_id"]]
    small = Small(tmp_path, gazetteer, units, changed(RAKED, rake=rake), margins=stacked(by_sex, by_age))
    final = small.built()
    np.testing.assert_allclose(
        final.groupby("age_group")["weight"].sum()[list(AGE_GROUPS)], by_age["persons"], rtol=1e-9
    )
    # With a division's own rows the division is taken from them, and must agree with its districts.
    division = {
        "Swat": "Malakand",
        "kp-bannu": "kp-bannu",
        "Kohat": "Kohat",
        "Mardan": "Mardan",
        "Peshawar": "Peshawar",
    }
    wrong = by_sex.assign(division_id=by_sex["district_id"].map(division)).drop(columns="district_id")
    wrong.loc[(wrong["division_id"] == "Malakand") & (wrong["sex"] == "female"), "persons"] += 10_000
    problems = "\n".join(
        Small(
            tmp_path / "wrong", gazetteer, units, changed(RAKED, rake=rake), margins=stacked(by_sex, by_age, wrong)
        ).problems()
    )
    assert "margins district_id x sex and division_id x sex: count" in problems
    assert "of female x kp-malakand; 1 of their common totals lie more than 0.5% apart" in problems


@pytest.mark.parametrize(("factor", "refused"), [(1.004, False), (1.006, True), (0.99, True)])
def test_margins_must_count_the_same_population(
    factor: float, refused: bool, tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> None:
    by_sex = margins().groupby(["district_id", "sex"])["persons"].sum().reset_index()
    by_area = margins().groupby("urban")["persons"].sum().reset_index()
    by_area["persons"] *= factor
    small = Small(tmp_path, gazetteer, units, margins=stacked(by_sex, by_area))
    if refused:
        (problem,) = small.problems()
        assert f"margins district_id x sex and urban: count {by_sex['persons'].sum():.0f} and" in problem
        assert f"({factor - 1:+.1%}) of all" in problem
    else:
        final = small.built()
        np.testing.assert_allclose(final.groupby("urban")["weight"].sum(), by_area.set_index("urban")["persons"])


def test_raking_that_cannot_converge_is_told(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    # All women of the sample live in towns, but more women are wanted than townspeople.
    data = answers().assign(area=lambda frame: np.where(frame["sex"] == 1, "town", frame["area"]))
    table = pd.DataFrame({"sex": ["female", "male", None, None], "urban": [None, None, "urban", "rural"]})
    table["persons"] = [600, 400, 500, 500]
    changes = changed(RAKED, rake=[["sex"], ["urban"]])
    (problem,) = Small(tmp_path, gazetteer, units, changes, answers=data, margins=table).problems()
    assert "weighting.rake sex: does not converge: male stays" in problem or "female stays -16.7%" in problem
    assert "Rake to fewer or coarser margins" in problem


def test_a_limit_that_margins_do_not_allow_is_told(tmp_path: Path, gazetteer: Gazetteer, units: pd.DataFrame) -> None:
    data = answers()
    few = data["id"] % 30 == 0
    data["area"] = np.where(few, "town", "village")  # 3 % of the sample stand for half the population
    (problem,) = Small(tmp_path, gazetteer, units, changed(RAKED, trim=2), answers=data).problems()
    assert "weighting.trim: 2 medians cannot be kept together with the margins" in problem
    assert "Raise `trim`" in problem


def test_the_tables_say_what_they_hold() -> None:
    assert set(CELL) < set(TABLES["calibration_totals"].names)
    assert TABLES["calibration_totals"].key == ("wave", *CELL)
