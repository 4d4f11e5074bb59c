"""Design-based estimation, publication rules, rankings and table contracts on cases that can be worked out by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perception.errors import InputError
from perception.estimation.contrasts import contrasts, difference_matrix
from perception.estimation.design import assign_variance_strata, design_from_psus
from perception.estimation.domains import domain_cells, domain_covariance, domain_estimates
from perception.estimation.intervals import intervals
from perception.estimation.publication import REASONS, published_drivers, published_estimates
from perception.estimation.ranking import district_rankings, lowest_count, rank_sets
from perception.estimation.totals import Quantity, indicator_quantity, psu_totals, totals
from perception.intake.instrument import Indicator, Instrument
from perception.schemas import TABLES, conform, contract_breaches
from tests.conftest import ROOT

# Strata of one PSU

PLACES = pd.DataFrame(
    [
        ("home", "north", 70.0, 60.0),
        ("east", "north", 71.5, 60.0),  # 1.5 degrees of longitude at 60 degrees north are 0.75 of latitude
        ("south", "north", 70.0, 59.0),
        ("nearest", "north", 70.0, 60.1),
        ("abroad", "other", 70.0, 60.01),
    ],
    columns=["district_id", "division_id", "longitude", "latitude"],
)


def sample(*strata: tuple[str, str, int]) -> pd.DataFrame:
    """Sampled PSUs from (district, urban or rural, number of PSUs); the stratum is called district/urban."""
    rows = [(f"{place}/{kind}", place, kind) for place, kind, psus in strata for _ in range(psus)]
    frame = pd.DataFrame(rows, columns=["stratum", "district_id", "urban"])
    return frame.assign(psu=[str(number) for number in range(len(frame))])


def variance_strata(frame: pd.DataFrame, policy: str) -> dict[str, tuple[str, str]]:
    """Stratum -> its variance stratum and what was done about it."""
    done = assign_variance_strata(frame, PLACES, policy, "wave w").fillna({"single_psu": ""})
    return {row.stratum: (row.variance_stratum, row.single_psu) for row in done.itertuples()}


def test_a_single_psu_joins_the_other_stratum_of_its_district() -> None:
    frame = sample(("home", "rural", 3), ("home", "urban", 1), ("nearest", "urban", 3))
    strata = variance_strata(frame, "collapse")
    assert strata["home/urban"] == ("home/rural", "collapsed")
    assert strata["home/rural"] == ("home/rural", "")
    assert strata["nearest/urban"] == ("nearest/urban", "")


def test_a_single_psu_alone_in_its_district_joins_the_nearest_stratum_of_its_kind_and_division() -> None:
    others = [("east", "urban", 2), ("south", "urban", 2), ("nearest", "rural", 2), ("abroad", "urban", 2)]
    strata = variance_strata(sample(("home", "urban", 1), *others), "collapse")
    assert strata["home/urban"] == ("east/urban", "collapsed")
    strata = variance_strata(sample(("home", "rural", 1), *others), "collapse")
    assert strata["home/rural"] == ("nearest/rural", "collapsed")


def test_two_single_psus_of_a_district_join_each_other() -> None:
    strata = variance_strata(sample(("home", "rural", 1), ("home", "urban", 1), ("east", "urban", 2)), "collapse")
    assert len({strata["home/rural"][0], strata["home/urban"][0]}) == 1
    assert "centred" not in {strata["home/rural"][1], strata["home/urban"][1]}


def test_single_psus_of_neighbouring_districts_join_each_other() -> None:
    strata = variance_strata(sample(("south", "urban", 1), ("home", "urban", 1), ("east", "rural", 4)), "collapse")
    assert strata["south/urban"][0] == strata["home/urban"][0]
    assert strata["east/rural"] == ("east/rural", "")


def test_a_single_psu_without_a_partner_in_its_division_is_centred() -> None:
    strata = variance_strata(sample(("home", "urban", 1), ("abroad", "urban", 3), ("east", "rural", 2)), "collapse")
    assert strata["home/urban"] == ("home/urban", "centred")


def test_centre_leaves_the_strata_alone() -> None:
    strata = variance_strata(sample(("home", "rural", 3), ("home", "urban", 1)), "centre")
    assert strata == {"home/rural": ("home/rural", ""), "home/urban": ("home/urban", "centred")}


def test_fail_names_every_single_psu_stratum() -> None:
    frame = sample(("home", "urban", 1), ("east", "urban", 1), ("east", "rural", 2))
    with pytest.raises(InputError) as raised:
        assign_variance_strata(frame, PLACES, "fail", "w")
    assert [problem.where for problem in raised.value.problems] == ["w, stratum east/urban", "w, stratum home/urban"]
    assert "collapse or centre" in raised.value.problems[0].remedy


def test_variance_of_a_centred_stratum_by_hand() -> None:
    design = design_from_psus(pd.DataFrame({"variance_stratum": list("aaab"), "psu": list("1234")}))
    scores = np.array([[1.0, 0.0], [2.0, 1.0], [6.0, 2.0], [5.0, -3.0]])
    # a: 3/2 * sum (t - mean)^2 with means 3 and 1; b, centred at zero: 5^2, (-3)^2 and 5 * -3
    expected = [[1.5 * (4 + 1 + 9) + 25, 1.5 * (2 + 0 + 3) - 15], [1.5 * 5 - 15, 1.5 * 2 + 9]]
    np.testing.assert_allclose(design.covariance(scores), expected, rtol=1e-14)
    np.testing.assert_allclose(design.variances(scores), np.diag(expected), rtol=1e-14)


def test_known_numbers_of_psus_take_the_part_that_was_drawn_off_the_variance() -> None:
    psus = pd.DataFrame({"variance_stratum": list("aabbbcc"), "psu": list("1234567")})
    scores = np.array([1.0, 2, 0, 1, 5, 3, 4])[:, None]
    apart = [2 * 0.5, 1.5 * (4 + 1 + 9), 2 * 0.5]  # n/(n-1) times squares about the means 1.5, 2, 3.5

    def variance(population: list[float | None], strata: str = "aabbbcc") -> float:
        frame = psus.assign(stratum=list(strata), population_psus=population)
        return float(design_from_psus(frame.sample(frac=1, random_state=1)).variances(scores)[0])

    assert variance([None] * 7) == pytest.approx(sum(apart))
    # 2 of 8, with replacement, all of 2
    assert variance([8, 8, None, None, None, 2, 2]) == pytest.approx(0.75 * apart[0] + apart[1])
    # b is two strata of the sample, joined: 3 of 4 + 5 = 9; where one of the two is not known, with replacement
    joined = variance([None, None, 4, 5, 5, None, None], "aaxyycc")
    assert joined == pytest.approx(apart[0] + (1 - 3 / 9) * apart[1] + apart[2])
    assert variance([None, None, 4, None, None, None, None], "aaxyycc") == pytest.approx(sum(apart))


def test_contrasts_by_hand() -> None:
    estimates, covariance = [0.5, 0.2, 0.4], [[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 1.0]]
    found = contrasts(estimates, covariance, [[1, -1, 0], [0.5, 0.5, -1]], [10, 0])
    assert found["estimate"].tolist() == pytest.approx([0.3, -0.05])
    assert found.loc[0, "se"] == pytest.approx(np.sqrt(4 + 9 - 2 * 1))
    assert found.loc[0, "high"] == pytest.approx(0.3 + stats.t.ppf(0.975, 10) * np.sqrt(11))
    assert found.loc[1, ["se", "low", "high"]].isna().all()  # no degree of freedom
    with pytest.raises(ValueError, match="of 3 estimates"):
        contrasts(estimates, covariance, [1, -1], 10)
    rows = pd.DataFrame({"unit_id": ["a", "a", "b"], "domain": ["sex=female", "sex=male", "all"]})
    matrix = difference_matrix(rows, [({"unit_id": "b"}, {"unit_id": "a", "domain": "sex=male"})])
    assert matrix.tolist() == [[0, -1, 1]]
    with pytest.raises(KeyError, match="names 2 estimates"):
        difference_matrix(rows, [({"unit_id": "a"}, {"unit_id": "b"})])


def test_psus_that_were_never_sampled_are_named() -> None:
    design = design_from_psus(pd.DataFrame({"variance_stratum": ["a", "a"], "psu": ["1", "2"]}))
    assert design.psu_index(["a", "a"], ["2", "1"]).tolist() == [1, 0]
    with pytest.raises(KeyError, match="'b'"):
        design.psu_index(["a", "b"], ["1", "1"])
    with pytest.raises(ValueError, match="twice"):
        design_from_psus(pd.DataFrame({"variance_stratum": ["a", "a"], "psu": ["1", "1"]}))


# Estimates

CELL = ["district_id", "sex", "urban", "age_group", "stratum", "psu"]
ONE_UNIT = pd.DataFrame({"district_id": ["d"], "division_id": ["v"], "province_id": ["p"]})


def estimates_of(rows: pd.DataFrame, psus: pd.DataFrame, kind: str = "share") -> pd.DataFrame:
    """Estimates of column y of respondents (psu, weight, y) in one district."""
    frame = rows.assign(district_id="d", sex=None, urban=None, age_group=None, stratum="s")
    summed = totals(frame, {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}, CELL)
    return domain_estimates(domain_cells(summed, ONE_UNIT), design_from_psus(psus), {"y": kind})


def one_stratum(*psus: str) -> pd.DataFrame:
    return pd.DataFrame({"variance_stratum": "s", "psu": psus})


def test_a_psu_without_a_case_counts_in_its_stratum() -> None:
    rows = pd.DataFrame({"psu": list("aaabb"), "weight": [1.0, 1, 2, 1, 3], "y": [1.0, 0, 1, 0, 1]})
    # R = 6/8; PSU totals of w (y - R) / 8: a = (3 - 3)/8, b = (3 - 3)/8
    assert estimates_of(rows, one_stratum("a", "b"))["se"].iloc[0] == 0
    rows = rows.assign(y=[1.0, 1, 1, 0, 1])
    # R = 7/8; a = (4 - 3.5)/8 = 1/16, b = -1/16, and a third PSU with 0: 3/2 * 2/256 instead of 2/1 * 2/256
    two, three = (estimates_of(rows, one_stratum(*psus)).iloc[0] for psus in ("ab", "abc"))
    assert two["se"] == pytest.approx(np.sqrt(4 / 256), rel=1e-14)
    assert three["se"] == pytest.approx(np.sqrt(3 / 256), rel=1e-14)
    assert (two["psus"], three["psus"], two["df"], three["df"]) == (2, 2, 1, 1)
    assert two["kish"] == pytest.approx(5 * 16 / 64)
    # sampling with replacement: p (1 - p) / (n - 1)
    assert two["deff"] == pytest.approx((4 / 256) / (7 / 64 / 4), rel=1e-12)
    assert two["n_eff"] == pytest.approx(5 / two["deff"])


def test_without_a_degree_of_freedom_there_is_no_standard_error() -> None:
    rows = pd.DataFrame({"psu": ["a"] * 4, "weight": 1.0, "y": [1.0, 0, 1, 1]})
    row = estimates_of(rows, one_stratum("a", "b")).iloc[0]
    assert row["estimate"] == 0.75
    assert row["df"] == 0
    assert row[["se", "low", "high", "deff", "cv"]].isna().all()


def district_level(frame: pd.DataFrame) -> pd.DataFrame:
    """Estimates of the share y by district, from respondents (district_id, psu, weight, y); a district is a stratum."""
    frame = frame.assign(sex=None, urban=None, age_group=None, stratum=frame["district_id"])
    psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    units = pd.DataFrame({"district_id": frame["district_id"].unique(), "division_id": "v", "province_id": "p"})
    cells = domain_cells(totals(frame, {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}, CELL), units)
    estimates = domain_estimates(cells, design_from_psus(psus), {"y": "share"})
    return estimates[estimates["level"] == "district"].set_index("unit_id")


def without_variance(answers: list[float]) -> pd.Series:
    """A district with these 40 answers in turn from 4 PSUs, beside one that gives the pooled deff (`pooled`)."""
    rng = np.random.default_rng(3)
    count = 200
    frame = pd.DataFrame(
        {
            "district_id": np.repeat(["same", "varied"], [40, count]),
            "psu": [f"s{i % 4}" for i in range(40)] + [f"v{i % 8}" for i in range(count)],
            "weight": np.r_[np.full(40, 1.3), rng.uniform(1, 5, count)],
            "y": np.r_[answers, rng.integers(0, 2, count)],
        }
    )
    estimates = district_level(frame)
    return pd.concat([estimates.loc["same"], pd.Series({"pooled": max(1.0, estimates.loc["varied", "deff"])})])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_agree_the_interval_is_one_sided(share: float) -> None:
    row = without_variance([share] * 40)
    assert row["estimate"] == share
    assert row["se"] == 0
    assert np.isnan(row["deff"])
    assert row["n_eff"] == pytest.approx(40 / row["pooled"])
    assert row["interval"] == "korn_graubard"
    # Beta(1, m) and Beta(m, 1) have quantiles in closed form; m is n_eff with R's corrections for df
    size = row["n_eff"] * 39 / 40 * (stats.t.ppf(0.975, 39) / stats.t.ppf(0.975, 3)) ** 2
    reach = 0.025 ** (1 / size)
    expected = (0.0, 1 - reach) if share == 0 else (reach, 1.0)
    assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-10)


def test_one_cell_of_low_deff_does_not_decide_the_pooled_one() -> None:
    rng = np.random.default_rng(8)
    district = np.repeat(["same", "lucky", "varied"], 80)
    psu = np.tile(np.arange(8), 30)
    frame = pd.DataFrame({"district_id": district, "psu": [f"{d}{p}" for d, p in zip(district, psu, strict=True)]})
    clustered = np.where(psu < 4, rng.random(240) < 0.9, rng.random(240) < 0.1)
    frame["y"] = np.select([district == "same", district == "lucky"], [1.0, np.arange(240) // 8 % 2], clustered)
    frame["weight"] = np.where(np.arange(240) == 80, 1.01, 1.0)
    estimates = district_level(frame)
    lucky, varied = estimates.loc["lucky", "deff"], estimates.loc["varied", "deff"]
    assert 0 < lucky < 0.001
    assert varied > 3
    pooled = 160 / (80 + 80 / varied)
    assert estimates.loc["same", "n_eff"] == pytest.approx(80 / pooled)


def test_equal_numbers_have_no_variance() -> None:
    rows = pd.DataFrame({"psu": list("aabbcc"), "weight": [0.1, 0.7, 0.3, 1.1, 1.3, 0.9], "y": 0.1})
    row = estimates_of(rows, one_stratum(*"abc"), kind="mean").iloc[0]
    assert row["se"] == 0  # although rounding leaves scores of 1e-17
    assert np.isnan(row["deff"])


def frame_of_intervals(**values: Any) -> pd.DataFrame:
    return pd.DataFrame([{"estimate": 0.5, "se": 0.05, "df": 20, "n": 100, "n_eff": 100.0, **values}])


def test_which_interval_is_used() -> None:
    def method(share: bool = True, **values: Any) -> str:
        return str(intervals(frame_of_intervals(**values), np.array([share]))["interval"].iloc[0])

    assert method() == "logit"
    assert method(share=False) == "t"
    assert method(estimate=0.1, n_eff=100.0) == "logit"  # exactly ten effective yeses
    assert method(estimate=0.1, n_eff=99.9) == "korn_graubard"
    assert method(estimate=0.9, n_eff=99.9) == "korn_graubard"
    assert method(se=0.0) == "korn_graubard"


def test_psus_that_happen_to_agree_say_nothing_about_certainty() -> None:
    row = without_variance([1.0] * 20 + [0.0] * 20)  # five of each in every PSU
    assert row["estimate"] == 0.5
    assert row["se"] == pytest.approx(0, abs=1e-15)
    assert np.isnan(row["deff"])
    assert row["n_eff"] == pytest.approx(40 / row["pooled"])
    assert row["interval"] == "korn_graubard"
    assert row["high"] - row["low"] > 0.2


# A slow direct implementation, respondent by respondent

INSTRUMENT = Instrument.model_validate(
    {
        "id": "tiny",
        "title": "Tiny",
        "source": "made for tests",
        "questions": {
            "used": {"label": "u", "type": "category", "categories": {"no": "n", "yes": "y"}},
            "service": {"label": "s", "type": "ordinal", "categories": {"bad": "b", "fair": "f", "good": "g"}},
            "step": {"label": "s", "type": "number"},
        },
        "indicators": {
            "satisfied": {
                "label": "s",
                "question": "service",
                "positive": ["good"],
                "universe": {"question": "used", "answers": ["yes"]},
                "population": "users",
            },
            "mean_step": {"label": "m", "question": "step", "population": "all"},
        },
    }
)
KINDS = {"satisfied": "share", "mean_step": "mean"}
UNITS = pd.DataFrame(
    {"district_id": ["d1", "d2", "d3"], "division_id": ["v1", "v1", "v2"], "province_id": ["p", "p", "p"]}
)
DIMENSIONS = [(), ("sex",), ("urban",), ("age_group",), ("sex", "urban")]


def random_survey(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Responses and design of a small survey: strata district x urban of 1 to 4 PSUs, of 0 to 9 respondents."""
    rng = np.random.default_rng(seed)
    psus, rows = [], []
    for district, urban in product(UNITS["district_id"], ("urban", "rural")):
        stratum = f"{district}/{urban}"
        for number in range(rng.integers(1, 5)):
            psu = f"{stratum}/{number}"
            psus.append({"variance_stratum": stratum, "psu": psu})
            rows += [
                {"district_id": district, "urban": urban, "stratum": stratum, "psu": psu}
                for _ in range(rng.integers(0, 10))
            ]
    frame = pd.DataFrame(rows).assign(wave="w")
    count = len(frame)
    frame["weight"] = rng.uniform(0.2, 4.0, count)
    frame["uncalibrated_weight"] = np.nan
    frame["sex"] = rng.choice(["female", "male"], count)
    frame["age_group"] = pd.Series(rng.choice(["<25", "25-34", "65+", ""], count), dtype="str").replace("", None)
    frame["used"] = rng.choice(["yes", "no", "refused"], count, p=[0.8, 0.15, 0.05])
    frame["service"] = rng.choice(["bad", "fair", "good", "dont_know", "refused", "missing"], count)
    frame["step_reason"] = pd.Series(rng.choice(["", "dont_know", "refused"], count), dtype="str").replace("", None)
    frame["step"] = rng.integers(0, 11, count).astype(float)
    frame.loc[frame["step_reason"].notna(), "step"] = np.nan
    return frame, pd.DataFrame(psus)


def direct_values(frame: pd.DataFrame, indicator: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    """y (null without a valid answer), and whether the respondent did not know or refused."""
    if indicator == "mean_step":
        return frame["step"], frame["step_reason"] == "dont_know", frame["step_reason"] == "refused"
    user = frame["used"] == "yes"
    y = frame["service"].map({"bad": 0.0, "fair": 0.0, "good": 1.0}).where(user)
    return y, user & (frame["service"] == "dont_know"), user & (frame["service"] == "refused")


def direct_scores(frame: pd.DataFrame, member: pd.Series, y: pd.Series, psus: pd.DataFrame) -> pd.Series:
    """Linearised score total of every sampled PSU for the domain `member`."""
    valid = member & y.notna()
    weight, answer = frame.loc[valid, "weight"], y[valid]
    ratio = (weight * answer).sum() / weight.sum()
    score = weight * (answer - ratio) / weight.sum()
    return score.groupby(frame.loc[valid, "psu"]).sum().reindex(psus["psu"], fill_value=0.0)


def direct_covariance(scores: list[pd.Series], psus: pd.DataFrame) -> np.ndarray:
    """Covariance of the totals of PSU scores under the design; a stratum of one PSU is centred at zero."""
    by_psu = pd.concat(scores, axis=1, keys=range(len(scores)))
    covariance = np.zeros((len(scores), len(scores)))
    for _, members in psus.groupby("variance_stratum"):
        stratum, size = by_psu.loc[members["psu"]].to_numpy(), len(members)
        covariance += stratum.T @ stratum if size == 1 else size * np.cov(stratum, rowvar=False)
    return covariance


def direct_domains(frame: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.Series]]:
    """Every level, unit and domain with the respondents that belong to it."""
    placed = frame.merge(UNITS, on="district_id", how="left").set_index(frame.index)
    levels = {"district": "district_id", "division": "division_id", "province": "province_id", "all": "wave"}
    for level, column in levels.items():
        for unit in placed[column].unique():
            for dimensions in DIMENSIONS:
                for values in product(*(placed[dimension].dropna().unique() for dimension in dimensions)):
                    pairs = list(zip(dimensions, values, strict=True))
                    member = placed[column] == unit
                    for dimension, value in pairs:
                        member &= placed[dimension] == value
                    domain = ",".join(f"{dimension}={value}" for dimension, value in pairs) or "all"
                    yield level, "all" if level == "all" else unit, domain, member


@pytest.mark.parametrize("seed", range(4))
def test_totals_and_estimates_agree_with_a_direct_implementation(seed: int, tmp_path: Path) -> None:
    frame, psus = random_survey(seed)
    frame.to_parquet(tmp_path / "responses.parquet")
    summed = psu_totals(tmp_path / "responses.parquet", INSTRUMENT)
    assert contract_breaches(summed, "psu_totals") == []
    design = design_from_psus(psus)
    ours = domain_estimates(domain_cells(summed, UNITS), design, KINDS)
    ours = ours.set_index(["indicator", "level", "unit_id", "domain"])
    compared = 0
    for indicator in KINDS:
        y, dont_know, refused = direct_values(frame, indicator)
        for level, unit, domain, member in direct_domains(frame):
            valid = member & y.notna()
            if not valid.any():
                assert (indicator, level, unit, domain) not in ours.index
                continue
            row = ours.loc[(indicator, level, unit, domain)]
            compared += 1
            weight, answer = frame.loc[valid, "weight"], y[valid]
            n, ratio = valid.sum(), np.average(answer, weights=weight)
            asked = n + (member & dont_know).sum() + (member & refused).sum()
            cases = frame[valid]
            df = cases["psu"].nunique() - cases["stratum"].nunique()
            assert (row["n"], row["psus"], row["df"]) == (n, cases["psu"].nunique(), df)
            assert row["n_positive"] == (answer == 1).sum()
            assert row["estimate"] == pytest.approx(ratio, rel=1e-12, abs=1e-15)
            assert row["dont_know_share"] == pytest.approx((member & dont_know).sum() / asked)
            assert row["refused_share"] == pytest.approx((member & refused).sum() / asked)
            assert row["kish"] == pytest.approx(n * (weight**2).sum() / weight.sum() ** 2)
            if df < 1:
                assert np.isnan(row["se"])
                continue
            scores = direct_scores(frame, member, y, psus)
            variance = direct_covariance([scores], psus)[0, 0]
            assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-9, abs=1e-12)
            if answer.nunique() > 1:
                simple = np.average((answer - ratio) ** 2, weights=weight) / (n - 1)
                assert row["deff"] == pytest.approx(variance / simple, rel=1e-9)
                assert row["n_eff"] == pytest.approx(n / row["deff"])
    assert compared == len(ours)
    assert compared > 80


def test_covariance_of_nested_and_crossed_domains(tmp_path: Path) -> None:
    frame, psus = random_survey(11)
    frame.to_parquet(tmp_path / "responses.parquet")
    cells = domain_cells(psu_totals(tmp_path / "responses.parquet", INSTRUMENT), UNITS)
    cells = cells[(cells["n"] > 0) & cells["domain"].isin(["all", "sex=female", "urban=urban"])]
    rows, covariance = domain_covariance(cells, design_from_psus(psus))
    members = {(level, unit, domain): member for level, unit, domain, member in direct_domains(frame)}
    scores = [
        direct_scores(frame, members[row.level, row.unit_id, row.domain], direct_values(frame, row.indicator)[0], psus)
        for row in rows.itertuples()
    ]
    expected = direct_covariance(scores, psus)
    assert len(expected) > 30
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-14)
    # A province of one wave is the same domain as all: their difference has no variance.
    province, whole = ((rows["level"] == level) & (rows["domain"] == "all") for level in ("province", "all"))
    p, w = (np.flatnonzero(chosen & (rows["indicator"] == "satisfied"))[0] for chosen in (province, whole))
    assert covariance[p, p] + covariance[w, w] - 2 * covariance[p, w] == pytest.approx(0, abs=1e-15)


def test_a_dimension_with_one_category_makes_no_domain() -> None:
    frame, psus = random_survey(5)
    quantity = {"mean_step": indicator_quantity(INSTRUMENT.indicators["mean_step"])}
    cells = domain_cells(totals(frame.assign(sex="female"), quantity, CELL), UNITS)
    assert not cells["domain"].str.contains("sex").any()
    assert cells["domain"].str.contains("urban=").any()
    assert set(cells["psu"]) <= set(psus["psu"])


@pytest.mark.parametrize("rows", [1, 3, 400])
def test_duckdb_and_pandas_give_the_same_totals(rows: int) -> None:
    rng = np.random.default_rng(rows)
    answers = ["yes", "no", "dont_know", "refused", "not_asked", "missing"]
    frame = pd.DataFrame({name: pd.Series(rng.choice(answers, rows), dtype="str") for name in "ab"})
    frame["step"] = np.where(rng.random(rows) < 0.7, rng.normal(3, 20, rows), np.nan)
    frame["step_reason"] = pd.Series(np.where(frame["step"].isna(), "refused", None), dtype="str")
    frame["weight"] = rng.uniform(0.01, 100, rows)
    frame["psu"] = pd.Series(rng.choice(list("pqr"), rows), dtype="str")
    any_yes = {"label": "x", "any_of": ["a", "b"], "positive": ["yes"], "population": "all"}
    quantities = {
        "any": indicator_quantity(Indicator.model_validate(any_yes)),
        "among": indicator_quantity(
            Indicator.model_validate({**any_yes, "universe": {"question": "b", "answers": ["no"]}})
        ),
        "mean": indicator_quantity(Indicator.model_validate({"label": "x", "question": "step", "population": "all"})),
        "ratio": Quantity(~nw.col("step").is_null(), nw.col("step"), nw.col("weight") + 1.0),
    }
    frame["before"] = rng.uniform(0.01, 100, rows)
    ours = totals(frame, quantities, ["psu"], uncalibrated="before")
    with duckdb.connect() as connection:
        theirs = totals(connection.from_df(frame), quantities, ["psu"], uncalibrated="before")
    assert ours[["indicator", "psu"]].equals(theirs[["indicator", "psu"]])
    numbers = ours.columns.drop(["indicator", "psu"])
    scale = ours[numbers].abs().to_numpy(float).max()  # sums of both signs may cancel
    np.testing.assert_allclose(
        theirs[numbers].to_numpy(float), ours[numbers].to_numpy(float), rtol=1e-12, atol=1e-15 * scale
    )


# Publication


def estimate_row(**values: Any) -> dict[str, Any]:
    """An estimate that passes every rule."""
    return {
        "wave": "w",
        "indicator": "i",
        "level": "district",
        "unit_id": "d",
        "domain": "all",
        "estimate": 0.5,
        "se": 0.025,
        "low": 0.45,
        "high": 0.55,
        "n": 400,
        "n_eff": 300.0,
        "psus": 30,
        "df": 28,
        "deff": 1.3,
        "kish": 1.1,
        "cv": 0.05,
        "dont_know_share": 0.01,
        "refused_share": 0.01,
        "interval": "logit",
        "n_positive": 200,
        **values,
    }


def publish(*rows: dict[str, Any], **indicator: Any) -> pd.DataFrame:
    """Published rows of estimates of one indicator, in the order given."""
    described = {"kind": "share", "simulated": False, "sensitive": False, "minimum_level": "district", **indicator}
    frame = conform(pd.DataFrame(rows), "district_estimates")
    waves = frame["wave"].unique()
    return published_estimates(frame, pd.DataFrame([{"wave": w, "indicator": "i", **described} for w in waves]))


NUMBERS = [
    *("estimate", "se", "low", "high", "n", "n_eff", "psus", "df", "deff", "kish", "cv"),
    *("dont_know_share", "refused_share"),
]


@pytest.mark.parametrize(
    ("values", "quality", "reason"),
    [
        ({}, "publish", None),
        ({"n": 29}, "suppress", "few_responses;low_effective_sample"),  # n_eff is capped at n
        ({"n": 30}, "caution", "small_sample"),
        ({"n": 49}, "caution", "small_sample"),
        ({"n": 50}, "publish", None),
        ({"n_eff": 29.99}, "suppress", "low_effective_sample"),
        ({"n_eff": 30.0}, "publish", None),
        ({"n_eff": None}, "suppress", "low_effective_sample"),
        ({"psus": 1}, "suppress", "few_psus"),
        ({"psus": 2}, "publish", None),
        ({"df": 0}, "suppress", "no_degrees_of_freedom"),
        ({"se": None}, "suppress", "no_degrees_of_freedom"),
        ({"df": 1}, "caution", "few_degrees_of_freedom"),
        ({"df": 7}, "caution", "few_degrees_of_freedom"),
        ({"df": 8}, "publish", None),
        ({"low": 0.0, "high": 0.30}, "suppress", "wide_interval"),
        ({"low": 0.0, "high": 0.2999}, "caution", "rather_wide_interval"),
        ({"low": 0.0, "high": 0.20}, "caution", "rather_wide_interval"),
        ({"low": 0.0, "high": 0.1999}, "publish", None),
        ({"low": None, "high": None}, "suppress", "wide_interval"),
        ({"dont_know_share": 0.20}, "publish", None),
        ({"dont_know_share": 0.21}, "caution", "many_dont_know"),
        ({"cv": 0.9, "estimate": 0.01, "low": 0.0, "high": 0.03}, "publish", None),  # a share is not judged by its CV
        ({"n": 40, "df": 5, "dont_know_share": 0.5}, "caution", "small_sample;few_degrees_of_freedom;many_dont_know"),
    ],
)
def test_rules_for_shares(values: dict[str, Any], quality: str, reason: str | None) -> None:
    row = publish(estimate_row(**values)).iloc[0]
    assert row["quality"] == quality
    assert (None if pd.isna(row["reason"]) else row["reason"]) == reason
    if quality == "suppress":
        assert row[NUMBERS].isna().all()
    else:
        assert row[NUMBERS].notna().all()
    assert reason is None or set(reason.split(";")) <= set(REASONS)


@pytest.mark.parametrize(
    ("values", "quality", "reason"),
    [
        ({"cv": 0.33}, "caution", "rather_high_cv"),
        ({"cv": 0.3301}, "suppress", "high_cv"),
        ({"cv": None}, "suppress", "high_cv"),
        ({"cv": 0.2001}, "caution", "rather_high_cv"),
        ({"cv": 0.20}, "publish", None),
        ({"low": 0.0, "high": 9.0}, "publish", None),  # a mean is not judged by its width
    ],
)
def test_rules_for_means(values: dict[str, Any], quality: str, reason: str | None) -> None:
    row = publish(estimate_row(**values), kind="mean").iloc[0]
    assert row["quality"] == quality
    assert (None if pd.isna(row["reason"]) else row["reason"]) == reason


def test_effective_samples_are_capped_at_n_when_published() -> None:
    assert publish(estimate_row(n=60, n_eff=250.0)).iloc[0]["n_eff"] == 60


def test_every_number_of_a_published_table_is_tested_here() -> None:
    words = {"wave", "indicator", "level", "unit_id", "domain", "method", "simulated", "quality", "reason"}
    assert set(TABLES["published_estimates"].names) - words == set(NUMBERS)


DISTRICTS = ("a", "b", "c")


def sensitive_tables(**thin: Any) -> list[dict[str, Any]]:
    """District x all, district x sex and division x all of a wave; the district a of the first table has `thin`."""
    rows = [estimate_row(unit_id=unit, **(thin if unit == "a" else {})) for unit in DISTRICTS]
    rows += [estimate_row(unit_id=unit, domain=f"sex={sex}") for unit in DISTRICTS for sex in ("female", "male")]
    return [*rows, estimate_row(level="division", unit_id="v"), estimate_row(wave="w2", unit_id="a")]


@pytest.mark.parametrize(
    ("thin", "withheld"),
    [
        ({"n_positive": 9}, True),
        ({"n_positive": 0}, True),
        ({"n_positive": 391}, True),  # nine answered otherwise
        ({"n_positive": 400}, True),
        ({"n_positive": 10}, False),
        ({"n_positive": 390}, False),
        ({"n_positive": None}, True),
    ],
)
def test_a_sensitive_table_with_a_thin_cell_is_withheld_whole(thin: dict[str, Any], withheld: bool) -> None:
    published = publish(*sensitive_tables(**thin), sensitive=True)
    table, rest = published.iloc[:3], published.iloc[3:]
    assert (table["quality"] == "suppress").all() == withheld
    if withheld:
        assert (table["reason"] == "few_persons").all()
        assert table[NUMBERS].isna().all(axis=None)
    assert (rest["quality"] == "publish").all()
    assert (publish(*sensitive_tables(**thin))["quality"] == "publish").all()  # nothing of this where not sensitive


def test_a_thin_cell_of_a_domain_withholds_that_kind_of_domain_only() -> None:
    rows = sensitive_tables()
    rows[3]["n_positive"] = 3  # sex=female in district a
    published = publish(*rows, sensitive=True)
    assert (published["quality"] == "suppress").tolist() == [False] * 3 + [True] * 6 + [False] * 2


def test_below_the_minimum_level_nothing_is_published() -> None:
    rows = [estimate_row(level=level, unit_id=level) for level in ("district", "division", "province", "all")]
    for minimum, hidden in (("district", 0), ("division", 1), ("province", 2), ("all", 3)):
        published = publish(*rows, minimum_level=minimum)
        assert (published["reason"] == "below_minimum_level").tolist() == [True] * hidden + [False] * (4 - hidden)
        assert published.iloc[:hidden][NUMBERS].isna().all(axis=None)


def test_a_withheld_cell_says_nothing_about_its_quality() -> None:
    row = estimate_row(n=12, n_positive=3, psus=1, df=0, se=None, low=None, high=None, dont_know_share=0.6)
    described = {"few_persons": {"sensitive": True}, "below_minimum_level": {"minimum_level": "province"}}
    for reason, indicator in described.items():
        published = publish(row, **indicator).iloc[0]
        assert published["reason"] == reason
        assert published[NUMBERS].isna().all()
    assert publish(row, sensitive=True, minimum_level="province").iloc[0]["reason"] == "below_minimum_level"


def test_published_estimates_keep_their_contract() -> None:
    published = publish(estimate_row(), estimate_row(unit_id="e", n=3), sensitive=True)
    assert contract_breaches(published, "published_estimates") == []


def test_an_estimate_of_an_unknown_indicator_is_not_published() -> None:
    frame = conform(pd.DataFrame([estimate_row(indicator="stale")]), "district_estimates")
    known = pd.DataFrame(
        [
            {
                "wave": "w",
                "indicator": "i",
                "simulated": False,
                "kind": "share",
                "sensitive": False,
                "minimum_level": "all",
            }
        ]
    )
    with pytest.raises(InputError, match="wave w, indicator stale: has estimates, but `indicators` does not describe"):
        published_estimates(frame, known)


@pytest.mark.parametrize(
    ("values", "kept"),
    [({}, True), ({"n": 29}, False), ({"n": 30}, True), ({"psus": 1}, False), ({"df": 0}, False), ({"df": 1}, True)],
)
def test_rules_for_drivers(values: dict[str, Any], kept: bool) -> None:
    row = dict.fromkeys(TABLES["drivers"].names)
    row |= {"wave": "w", "model": "m", "outcome": "o", "driver": "x", "kind": "driver", "term": "yes"}
    row |= {"n": 500, "n_dropped": 0, "psus": 40, "df": 30, **values}
    drivers = conform(pd.DataFrame([row]), "drivers")
    outcome = pd.DataFrame([{"wave": "w", "indicator": "o", "simulated": True, "sensitive": False}])
    published = published_drivers(drivers, outcome)
    assert len(published) == int(kept)
    assert published["simulated"].all()
    assert published_drivers(drivers, outcome.assign(sensitive=True)).empty


# Rankings


def certain(estimate: float, se: float = 0.001, unit: str = "d") -> dict[str, Any]:
    return estimate_row(estimate=estimate, se=se, unit_id=unit, n=10_000, n_eff=10_000.0, df=1000, n_positive=5000)


def ranked(rows: list[dict[str, Any]], *, units: pd.DataFrame | None = None, **indicator: Any) -> pd.DataFrame:
    """Rankings of published districts; `waves` of the rows are of round 2021 and one instrument, vintage 2018."""
    described = {
        "simulated": False,
        "kind": "share",
        "higher_is_better": True,
        "sensitive": False,
        "minimum_level": "district",
    }
    waves = sorted({row["wave"] for row in rows})
    facts = pd.DataFrame({"wave": waves, "round": "2021", "instrument": "tiny", "vintage": "2018"})
    indicators = pd.DataFrame([{"wave": wave, "indicator": "i", **described, **indicator} for wave in waves])
    if units is None:
        units = pd.DataFrame({"district_id": sorted({row["unit_id"] for row in rows}), "province_id": "p"})
    published = published_estimates(conform(pd.DataFrame(rows), "district_estimates"), indicators)
    return district_rankings(published, facts, indicators, {"2018": units})


HAND = [("a", 0.10, 0.001), ("b", 0.20, 0.01), ("c", 0.205, 0.01), ("d", 0.50, 0.001), ("e", 0.90, 0.001)]


def test_rank_sets_by_hand() -> None:
    frame = pd.DataFrame([certain(estimate, se) for _, estimate, se in HAND])
    first, last = rank_sets(frame, share=True)
    assert first.tolist() == [1, 2, 2, 4, 5]
    assert last.tolist() == [1, 3, 3, 4, 5]
    equal = pd.DataFrame([certain(0.5)] * 4)
    first, last = rank_sets(equal, share=True)
    assert (first.tolist(), last.tolist()) == ([1] * 4, [4] * 4)


def test_rank_sets_hold_together_with_the_confidence_asked_for() -> None:
    # Of two means, each interval is made at 95 %: 1.96 standard errors on either side.
    def apart(gap: float) -> bool:
        frame = pd.DataFrame({"estimate": [0.0, gap], "se": 1.0, "df": 10**9, "n": 10**6, "n_eff": 1e6})
        return rank_sets(frame, share=False, confidence=0.90)[0].tolist() == [1, 2]

    assert not apart(2 * 1.959)
    assert apart(2 * 1.961)


def test_ranking_by_hand_and_in_reverse() -> None:
    rows = [certain(estimate, se, unit) for unit, estimate, se in HAND]
    table = ranked(rows)
    province = table[table["scope"] == "province"].set_index("district_id")
    assert province["rank"].tolist() == [1, 2, 3, 4, 5]
    assert province["rank_low"].tolist() == [1, 2, 2, 4, 5]
    assert province["rank_high"].tolist() == [1, 3, 3, 4, 5]
    assert province["band"].tolist() == ["low", *["not_distinguishable"] * 3, "high"]
    assert (province["districts"] == 5).all()
    worse = ranked(rows, higher_is_better=False)
    worse = worse[worse["scope"] == "province"].set_index("district_id").loc[list("abcde")]
    assert worse["rank"].tolist() == [5, 4, 3, 2, 1]
    assert worse["rank_low"].tolist() == [5, 3, 3, 2, 1]
    assert worse["rank_high"].tolist() == [5, 4, 4, 2, 1]
    assert worse["band"].tolist() == ["high", *["not_distinguishable"] * 3, "low"]
    assert contract_breaches(table, "district_rankings") == []


def test_a_suppressed_district_is_listed_without_a_rank() -> None:
    rows = [certain(estimate, se, unit) for unit, estimate, se in HAND]
    rows[0] |= {"n": 10}
    table = ranked(rows)
    province = table[table["scope"] == "province"].set_index("district_id")
    assert province.loc["a", ["rank", "rank_low", "rank_high", "band", "estimate", "low", "n"]].isna().all()
    assert province.loc["a", ["quality", "districts"]].tolist() == ["suppress", 4]
    assert province.loc["b", ["rank", "rank_low", "rank_high"]].tolist() == [1, 1, 2]


def test_a_band_needs_the_whole_rank_set() -> None:
    # Of 20 districts the lowest 3 count. b may hold 2-3, all among them; with a wide d in reach it may hold 2-4.
    others = [certain(0.5 + 0.02 * place, unit=f"z{place:02}") for place in range(16)]
    low = [certain(0.1, unit="a"), certain(0.2, 0.01, "b"), certain(0.201, 0.01, "c")]
    for d, band in ((certain(0.4, unit="d"), "low"), (certain(0.21, 0.01, "d"), "not_distinguishable")):
        table = ranked([*low, d, *others])
        province = table[table["scope"] == "province"].set_index("district_id")
        assert province.loc[["a", "b", "c"], "band"].tolist() == ["low", band, band]
        assert province.loc["d", "band"] == "not_distinguishable"


def test_a_district_alone_is_neither_low_nor_high() -> None:
    table = ranked([certain(0.1, unit="a")])
    assert table["rank"].tolist() == [1, 1]
    assert set(table["band"]) == {"not_distinguishable"}


def test_how_many_count_as_lowest() -> None:
    assert [lowest_count(districts) for districts in (0, 1, 2, 5, 20, 36, 68, 200)] == [0, 0, 1, 1, 3, 5, 10, 10]


def test_provinces_are_ranked_apart_and_waves_of_a_round_together() -> None:
    rows = [certain(0.2, unit="kp-a"), certain(0.4, unit="kp-b")]
    rows += [certain(0.3, unit="pj-a") | {"wave": "w2"}, certain(0.1, unit="pj-b") | {"wave": "w2"}]
    units = pd.DataFrame({"district_id": ["kp-a", "kp-b", "pj-a", "pj-b"], "province_id": ["kp", "kp", "pj", "pj"]})
    table = ranked(rows, units=units).set_index(["scope", "district_id"])
    assert table.loc["province", "rank"].to_dict() == {"kp-a": 1, "kp-b": 2, "pj-b": 1, "pj-a": 2}
    assert table.loc["round", "rank"].to_dict() == {"pj-b": 1, "kp-a": 2, "pj-a": 3, "kp-b": 4}
    assert set(table.loc["province", "scope_id"]) == {"kp", "pj"}
    assert set(table.loc["round", "scope_id"]) == {"2021"}


def test_no_wave_no_ranking() -> None:
    empty = {name: conform(pd.DataFrame(columns=TABLES[name].names), name) for name in ("waves", "indicators")}
    estimates = conform(pd.DataFrame(columns=TABLES["district_estimates"].names), "district_estimates")
    published = published_estimates(estimates, empty["indicators"])
    table = district_rankings(published, empty["waves"], empty["indicators"], {})
    assert len(published) == len(table) == 0
    assert table.columns.tolist() == TABLES["district_rankings"].names


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0.001, 0.2)), min_size=1, max_size=15),
    st.floats(0.5, 0.99),
)
def test_rank_sets_hold_the_own_rank_and_widen_with_confidence(cases: list[tuple[float, float]], level: float) -> None:
    frame = pd.DataFrame(cases, columns=["estimate", "se"]).assign(df=20, n=500, n_eff=300.0)
    first, last = rank_sets(frame, share=True, confidence=level)
    rank = frame["estimate"].rank(method="min").to_numpy()
    assert ((first <= rank) & (rank <= last)).all()
    wider_first, wider_last = rank_sets(frame, share=True, confidence=level + (1 - level) / 2)
    assert ((wider_first <= first) & (wider_last >= last)).all()


# Contracts


def design_table() -> pd.DataFrame:
    row = {"wave": "w", "stratum": "s", "district_id": "d", "urban": "urban", "variance_stratum": "s", "responses": 3}
    nothing = dict.fromkeys(["population_psus", "single_psu", "longitude", "latitude"])
    frame = pd.DataFrame([{**row, **nothing, "psu": psu} for psu in "ab"])
    return conform(frame, "design_psus")


def test_conform_orders_types_and_drops() -> None:
    frame = design_table()
    assert frame.columns.tolist() == TABLES["design_psus"].names
    shuffled = frame[frame.columns[::-1]].assign(more=1).set_index("psu", drop=False)
    shuffled["responses"] = shuffled["responses"].astype(float)
    pd.testing.assert_frame_equal(conform(shuffled, "design_psus"), frame)
    assert frame["responses"].dtype == "Int64"
    with pytest.raises(KeyError, match="stratum"):
        conform(frame.drop(columns="stratum"), "design_psus")
    raw = conform(pd.DataFrame({"x": [1], "source_row": [1]}), "raw_responses")
    assert raw.columns.tolist() == ["source_row", "x"]  # an open table keeps more columns


def test_a_sound_frame_breaks_no_contract() -> None:
    assert contract_breaches(design_table(), "design_psus") == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"stratum": pd.Series([None, "s"], dtype="str")}, "design_psus.stratum: not_nullable"),
        ({"responses": pd.array([-1, 2], dtype="Int64")}, "design_psus.responses: greater_than_or_equal_to(0)"),
        ({"urban": "city"}, "design_psus.urban: isin(('urban', 'rural')) fails for 2 value(s), for example 'city'"),
        ({"psu": "a"}, "design_psus.psu: multiple_fields_uniqueness"),
        ({"responses": [1.5, 2.5]}, "design_psus.responses: dtype('Int64')"),
        ({"more": 1}, "for example 'more'"),
        ({"psu": None}, "column_in_dataframe fails for 1 value(s), for example 'psu'"),
    ],
)
def test_each_kind_of_breach_is_told(broken: dict[str, Any], said: str) -> None:
    frame = design_table()
    frame = frame.drop(columns="psu") if broken == {"psu": None} else frame.assign(**broken)
    breaches = contract_breaches(frame, "design_psus")
    assert any(said in breach for breach in breaches), breaches


def test_a_value_above_its_range_is_told() -> None:
    row = dict.fromkeys(TABLES["responses"].names)
    row |= {"wave": "w", "respondent_id": "1", "district_id": "d", "stratum": "s", "psu": "p", "weight": 1.0}
    assert contract_breaches(conform(pd.DataFrame([row]), "responses"), "responses") == []
    (breach,) = contract_breaches(conform(pd.DataFrame([row | {"age": 131.0}]), "responses"), "responses")
    assert breach.startswith("responses.age: less_than_or_equal_to(130) fails for 1 value(s), for example ")


def test_keys_and_levels_of_all_tables_are_columns() -> None:
    for name, table in TABLES.items():
        assert set(table.key) <= set(table.names), name
        assert len(set(table.names)) == len(table.names), name
        assert all(column.meaning for column in table.columns), name


# Who imports whom

STATIONS = ("errors", "schemas", "geography", "intake", "estimation", "drivers", "publish")
"""In the order of the way; each may import itself and those before it."""
ALLOWED = {station: set(STATIONS[: place + 1]) for place, station in enumerate(STATIONS)}
ALLOWED["project"] = {"errors", "geography", "intake", "project"}
ALLOWED["publish"] |= {"project"}
ALLOWED["wave_folders"] = {*ALLOWED["drivers"], "project", "wave_folders"}
ALLOWED["wave_tables"] = {*ALLOWED["estimation"], "project", "wave_tables"}
ALLOWED["wave_folders"] |= {"wave_tables"}
ALLOWED["simulate"] = {"errors", "schemas", "geography", "intake", "simulate"}


def imported_modules(file: Path) -> set[str]:
    """Every module that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "perception").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_arrows_go_one_way(file: Path) -> None:
    modules = imported_modules(file)
    for outside in ("dagster", "assets", "pipelines", "tests"):
        assert not any(module.split(".")[0] == outside for module in modules), outside
    station = file.relative_to(ROOT / "perception").with_suffix("").parts[0]
    stations = {module.split(".")[1] for module in modules if module.startswith("perception.")}
    assert stations - ALLOWED.get(station, set()) == set()
