"""Quantiles and their Woodruff intervals: by hand, against NumPy, R's survey package and the shares they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perception.estimation.design import design_from_psus
from perception.estimation.domains import calibrated_cells, domain_cells, domain_estimates
from perception.estimation.quantiles import distribution, domain_quantiles, quantile_estimates, weighted_quantile
from perception.estimation.totals import CELL, Quantity, psu_totals, totals
from perception.intake.describe import indicator_facts
from perception.intake.instrument import Indicator, Instrument
from perception.intake.wave_file import load_wave
from perception.schemas import contract_breaches
from tests.conftest import published_estimates, write_small_wave
from tests.test_estimation import INSTRUMENT, UNITS, direct_covariance, direct_domains, direct_scores, random_survey
from tests.test_estimation_golden import DESIGNS, TIGHT, Sample
from tests.test_weighting import RakedSample

ONE_UNIT = pd.DataFrame({"district_id": ["one"], "division_id": ["one"], "province_id": ["one"]})
WITH_MEDIAN = INSTRUMENT.model_copy(
    update={
        "indicators": INSTRUMENT.indicators
        | {"median_step": Indicator(label="m", question="step", quantile=0.5, population="all")}
    }
)


def people_of(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Respondents who all answered, as `domain_quantiles` takes them."""
    given = {"indicator": "y", "answered": True, "dont_know": False, "refused": False}
    return frame.assign(**(given | columns))


def test_a_quantile_is_the_first_value_that_enough_weight_does_not_exceed() -> None:
    values, weights = [30, 10, 20, 40], [1, 1, 1, 1]
    assert [weighted_quantile(values, weights, p) for p in (0.0, 0.25, 0.26, 0.5, 0.51, 1.0)] == [
        10,
        10,
        20,
        20,
        30,
        40,
    ]
    assert weighted_quantile([1, 2, 3], [5, 1, 1], 0.5) == 1
    # Ten tenths add up to a little less than one half at the fifth.
    assert weighted_quantile(range(1, 11), [0.1] * 10, 0.3) == 3
    assert np.isnan(weighted_quantile(values, weights, 1.01))
    with pytest.raises(ValueError, match="no values"):
        weighted_quantile([], [], 0.5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.floats(0.1, 9)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
)
def test_groups_have_the_quantiles_that_numpy_gives_each(rows: list[tuple[int, int, float]], p: float) -> None:
    frame = pd.DataFrame(rows, columns=["group", "value", "weight"])
    codes, _ = pd.factorize(frame["group"], sort=True)
    expected = [
        np.quantile(own["value"], p, weights=own["weight"], method="inverted_cdf")
        for _, own in frame.groupby("group", sort=True)
    ]
    found = distribution(codes, frame["value"], frame["weight"])
    assert found.quantile(p).tolist() == expected
    assert (found.interpolated(p) <= found.quantile(p)).all()


def test_interpolation_between_round_numbers() -> None:
    # Shares up to 10, 20, 40: 0.2, 0.6, 1
    spread = distribution(np.zeros(5, dtype=int), [10, 20, 20, 40, 40], np.ones(5))
    assert spread.interpolated(0.3)[0] == pytest.approx(12.5)
    assert spread.interpolated(0.6)[0] == pytest.approx(20)
    assert spread.interpolated(0.7)[0] == pytest.approx(25)
    assert spread.interpolated(0.1)[0] == 10  # nothing lies below the first
    assert np.isnan(spread.interpolated(-0.1)[0])


@pytest.mark.parametrize("key", list(DESIGNS))
def test_quantiles_intervals_and_errors_are_those_of_r(key: str, shared_golden: Path) -> None:
    sample = Sample(shared_golden, key)
    people = people_of(sample.frame, y=sample.frame["api00"])
    for golden in sample.golden["quantile"]:
        found = domain_quantiles(people, float(golden["_row"]), ONE_UNIT, sample.design, [()], around_attained=True)
        row = found[found["level"] == "all"].iloc[0]
        expected = [golden[name] for name in ("quantile", "ci.2.5", "ci.97.5", "se")]
        np.testing.assert_allclose(row[["estimate", "low", "high", "se"]].to_numpy(float), expected, **TIGHT)


def test_intervals_from_p_by_hand() -> None:
    """Twenty PSUs of one respondent, values 1 to 20: the share at or below the median, 10, is one half."""
    frame = pd.DataFrame({"district_id": "one", "psu": [str(n) for n in range(20)], "weight": 1.0, "y": range(1, 21)})
    design = design_from_psus(frame[["psu"]].assign(variance_stratum="s"))
    row = domain_quantiles(people_of(frame), 0.5, ONE_UNIT, design, [()]).iloc[0]
    # 9 of 20 lie below 10, and 10 at or below it.
    down, up = (stats.t.ppf(0.975, 19) * np.sqrt(part * (1 - part) / 19) for part in (0.45, 0.5))
    assert (row["low"], row["high"]) == (np.ceil(20 * (0.5 - down)), np.ceil(20 * (0.5 + up)))
    # Interpolated, the value at a share is twenty times it: a little more than from one of these values to another.
    assert row["high"] - row["low"] < 20 * (down + up)
    assert row["se"] == pytest.approx(20 * (down + up) / (2 * stats.t.ppf(0.975, 19)))
    assert (row["estimate"], row["df"], row["n"], row["interval"]) == (10, 19, 20, "woodruff")
    assert row["cv"] == pytest.approx(row["se"] / 10)
    assert row["deff"] == pytest.approx(1)


def test_an_end_beyond_the_sample_is_null() -> None:
    frame = pd.DataFrame({"district_id": "one", "psu": list("abc"), "weight": 1.0, "y": [1, 2, 3]})
    design = design_from_psus(frame[["psu"]].assign(variance_stratum="s"))
    row = domain_quantiles(people_of(frame), 0.5, ONE_UNIT, design, [()]).iloc[0]
    assert row["estimate"] == 2
    assert row[["low", "high", "se"]].isna().all()


def test_either_end_has_its_own_margin() -> None:
    """All four PSUs have the same share up to the median, 45, but from none to all of it at 40 already."""
    frame = pd.DataFrame({"district_id": "one", "psu": np.repeat(list("abcd"), 10), "weight": 1.0})
    frame["y"] = np.concatenate([np.repeat([40, 45, 60], [at_40, 6 - at_40, 4]) for at_40 in (6, 6, 0, 0)])
    design = design_from_psus(frame[["psu"]].drop_duplicates().assign(variance_stratum="s"))
    row = domain_quantiles(people_of(frame), 0.5, ONE_UNIT, design, [()]).iloc[0]
    assert (row["estimate"], row["high"]) == (45, 45)
    # Below 45 is 30 %, give or take 3.18 times 17 points: the lower end lies outside the sample.
    assert np.isnan(row["low"])
    frame["y"] = np.concatenate([np.repeat([40, 45, 60], [at_40, 6 - at_40, 4]) for at_40 in (5, 4, 4, 3)])
    row = domain_quantiles(people_of(frame), 0.5, ONE_UNIT, design, [()]).iloc[0]
    assert (row["low"], row["estimate"], row["high"]) == (40, 45, 45)  # 50 less 3.18 times 4.1 is below 40 %
    assert row["se"] > 0


def heaped(rng: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Waits of lognormal length, told in quarters of an hour: a quarter wait 15 minutes, another quarter 30."""
    return np.maximum(15.0, np.round(rng.lognormal(3.6, 0.7, n) / 15) * 15)


def test_coverage_with_waits_told_in_quarters_of_an_hour() -> None:
    """48 % wait less than 37 minutes; 51 % at most 30 as told, so that the median is near its jump from 30 to 45."""
    rng, runs, n = np.random.default_rng(3), 400, 100
    truth = np.quantile(heaped(rng, 10**6), 0.5, method="inverted_cdf")
    samples = pd.Series(np.repeat(np.arange(runs), n).astype(str))  # each a district of its own
    frame = pd.DataFrame({"district_id": samples, "psu": [str(k) for k in range(runs * n)], "weight": 1.0})
    design = design_from_psus(frame[["psu"]].assign(variance_stratum=samples))
    units = pd.DataFrame({"district_id": samples.unique(), "division_id": "v", "province_id": "p"})
    people = people_of(frame, y=heaped(rng, runs * n))
    covered = {}
    for attained in (False, True):
        found = domain_quantiles(people, 0.5, units, design, [()], around_attained=attained)
        districts = found[found["level"] == "district"]
        assert len(districts) == runs
        covered[attained] = ((districts["low"] <= truth) & (truth <= districts["high"])).mean()
        assert attained or (districts["se"] > 0).all()
    assert covered[False] > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert covered[True] < 0.75  # why R's interval is not the one used


@pytest.mark.parametrize("seed", range(3))
def test_domains_agree_with_a_direct_implementation(seed: int, tmp_path: Path) -> None:
    frame, psus = random_survey(seed)
    frame.to_parquet(tmp_path / "responses.parquet")
    table = quantile_estimates(tmp_path / "responses.parquet", psus, UNITS, WITH_MEDIAN)
    assert contract_breaches(table, "district_estimates") == []
    ours = table.set_index(["level", "unit_id", "domain"])
    compared = 0
    for level, unit, domain, member in direct_domains(frame):
        valid = member & frame["step"].notna()
        if not valid.any():
            assert (level, unit, domain) not in ours.index
            continue
        row, cases = ours.loc[(level, unit, domain)], frame[valid]
        compared += 1
        median = np.quantile(cases["step"], 0.5, weights=cases["weight"], method="inverted_cdf")
        below = (frame["step"] <= median).astype(float).where(frame["step"].notna())
        df = cases["psu"].nunique() - cases["stratum"].nunique()
        assert (row["estimate"], row["n"], row["df"]) == (median, valid.sum(), df)
        asked = valid.sum() + (member & frame["step_reason"].notna()).sum()
        dont_know = (member & (frame["step_reason"] == "dont_know")).sum()
        assert row["dont_know_share"] == pytest.approx(dont_know / asked)
        if df < 1:
            assert np.isnan(row["se"])
            continue
        strictly = (frame["step"] < median).astype(float).where(frame["step"].notna())
        for end, name, part in ((-1, "low", strictly), (1, "high", below)):
            variance = direct_covariance([direct_scores(frame, member, part, psus)], psus)[0, 0]
            if part[valid].nunique() == 1:
                variance = 0.0
            share = 0.5 + end * stats.t.ppf(0.975, df) * np.sqrt(variance)
            if not 0 <= share <= 1:
                assert np.isnan(row[name])
                continue
            expected = np.quantile(cases["step"], share, weights=cases["weight"], method="inverted_cdf")
            assert row[name] == expected
    assert compared == len(ours) > 40


def test_the_share_behind_a_quantile_knows_the_raking() -> None:
    """deff is that of the share at or below the quantile, as estimated for an indicator that says just that."""
    sample = RakedSample()
    answered = sample.frame["score"].notna()
    own = sample.frame.drop(columns="province_id")
    people = people_of(own, y=sample.frame["score"].astype(float), answered=answered, indicator="score")
    people = people.assign(uncalibrated_weight=people["d"])
    found = domain_quantiles(people, 0.5, sample.units, sample.design, calibrated=sample.calibrated())
    blind = domain_quantiles(people, 0.5, sample.units, sample.design)
    compared = 0
    for row in found[found["domain"].isin(["all", "sex=female"]) & (found["level"] != "division")].itertuples():
        below = (sample.frame["score"] <= row.estimate).astype(float).where(answered)
        quantity = {"below": Quantity(~nw.col("below").is_null() & ~nw.col("below").is_nan(), nw.col("below"))}
        summed = totals(sample.frame.assign(below=below), quantity, CELL, uncalibrated="d")
        calibrated = calibrated_cells(sample.calibration_totals, sample.rake, summed, sample.units, sample.design)
        shares = domain_estimates(
            domain_cells(summed, sample.units), sample.design, {"below": "share"}, calibrated
        ).set_index(["level", "unit_id", "domain"])
        assert row.deff == pytest.approx(shares.loc[(row.level, row.unit_id, row.domain), "deff"], rel=1e-9)
        compared += 1
    assert compared >= 6
    assert (found["deff"] / blind["deff"] - 1).abs().median() > 0.03  # it makes a difference


def test_psu_totals_leave_quantiles_out_and_facts_name_them(tmp_path: Path) -> None:
    frame, _ = random_survey(1)
    frame.to_parquet(tmp_path / "responses.parquet")
    assert set(psu_totals(tmp_path / "responses.parquet", WITH_MEDIAN)["indicator"]) == {"satisfied", "mean_step"}
    only = WITH_MEDIAN.model_copy(update={"indicators": {"median_step": WITH_MEDIAN.indicators["median_step"]}})
    none = psu_totals(tmp_path / "responses.parquet", only)
    assert none.empty
    assert contract_breaches(none, "psu_totals") == []
    facts = indicator_facts(frame, load_wave(write_small_wave(tmp_path / "small-2021")), WITH_MEDIAN)
    assert facts.set_index("indicator")["kind"].to_dict() == {
        "satisfied": "share",
        "mean_step": "mean",
        "median_step": "quantile",
    }
    assert contract_breaches(facts, "indicators") == []


@pytest.mark.parametrize(
    ("indicator", "said"),
    [
        ({"question": "service", "quantile": 0.5}, "its question is not a number"),
        ({"question": "step", "quantile": 0.5, "positive": ["good"]}, "no `positive` answers"),
        ({"question": "step", "quantile": 1}, "less than 1"),
        ({"question": "step", "quantile": 0}, "greater than 0"),
    ],
)
def test_what_a_quantile_cannot_be(indicator: dict[str, Any], said: str) -> None:
    declared = INSTRUMENT.model_dump(mode="json", exclude_unset=True)
    declared["indicators"] = {"q": {"label": "q", "population": "all"} | indicator}
    with pytest.raises(ValueError, match=said):
        Instrument.model_validate(declared)


def test_a_quantile_is_published_by_the_rules_for_means(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(4), 400
    frame = pd.DataFrame(
        {
            "wave": "w",
            "district_id": np.repeat(["d1", "d2"], n // 2),
            "stratum": np.repeat(["d1", "d2"], n // 2),
            "psu": [f"p{k // 10}" for k in range(n)],
            "weight": 1.0,
            "uncalibrated_weight": np.nan,
            "sex": None,
            "urban": None,
            "age_group": None,
            "wealth": None,
            "step_reason": None,
        }
    ).astype({"sex": "str", "urban": "str", "age_group": "str", "wealth": "str", "step_reason": "str"})
    # One district waits about 60 minutes; in the other half hardly wait at all, the others for hours.
    spread = rng.permutation(np.concatenate([rng.uniform(0, 2, n // 4), rng.uniform(100, 300, n // 4)]))
    frame["step"] = np.concatenate([rng.normal(60, 10, n // 2), spread])
    frame.to_parquet(tmp_path / "responses.parquet")
    psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    only = WITH_MEDIAN.model_copy(update={"indicators": {"median_step": WITH_MEDIAN.indicators["median_step"]}})
    estimates = quantile_estimates(tmp_path / "responses.parquet", psus, UNITS, only)
    described = {"wave": "w", "indicator": "median_step", "kind": "quantile", "sensitive": False}
    facts = pd.DataFrame([described | {"minimum_level": "district", "simulated": True}])
    published = published_estimates(estimates, facts).query("level == 'district'").set_index("unit_id")
    assert published["quality"].to_dict() == {"d1": "publish", "d2": "suppress"}
    assert published.loc["d2", "reason"] == "high_cv"
    assert published.loc["d1", "estimate"] == pytest.approx(60, abs=3)
