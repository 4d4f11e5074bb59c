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
from scipy import sparse, stats

from perception.errors import InputError
from perception.estimation.contrasts import contrasts, difference_matrix, significance
from perception.estimation.design import assign_variance_strata, design_from_psus
from perception.estimation.domains import SampledDomains, domain_cells, domain_covariance, domain_estimates
from perception.estimation.intervals import intervals
from perception.estimation.publication import REASONS, published_drivers, withheld
from perception.estimation.totals import CELL, Quantity, indicator_quantity, psu_totals, totals
from perception.intake.instrument import Indicator, Instrument
from perception.schemas import TABLES, conform, contract_breaches
from tests.conftest import ROOT, published_estimates

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
    design = design_from_psus(pd.DataFrame({"variance_stratum": list("aaabb"), "psu": list("12345")}))
    scores = np.array([[1.0, 2, 0], [2, 0, 0], [4, 1, 0], [0, 0, 1], [0, 0, 3]])
    domains = pd.DataFrame({"estimate": [0.5, 0.2, 0.4], "simple": 1.0})
    sampled = SampledDomains(domains, design, scores, sparse.csc_array(scores != 0))
    found = contrasts(sampled, [[1, -1, 0], [0.5, 0.5, -1], [0, 0, 1]]).rows
    assert found["estimate"].tolist() == pytest.approx([0.3, -0.05, 0.4])
    # Stratum a: n/(n - 1) times the squares of -1, 2, 3 around their mean; of 1.5, 1, 2.5. Stratum b: of -1, -3; 1, 3.
    of_b = 2 * (1 + 1)
    assert found["variance"].tolist() == pytest.approx([3 / 2 * (14 - 16 / 3), 3 / 2 * (9.5 - 25 / 3) + of_b, of_b])
    assert found["psus"].tolist() == [3, 5, 2]
    assert found["df"].tolist() == [2, 3, 1]
    with pytest.raises(ValueError, match="of 3 estimates"):
        contrasts(sampled, [1, -1])
    judged = significance(np.array([0.3, 0.3]), np.array([11.0, 11.0]), np.array([10.0, 0.0]), np.array([False, False]))
    assert judged.loc[0, "se"] == pytest.approx(np.sqrt(11))
    assert judged.loc[0, "high"] == pytest.approx(0.3 + stats.t.ppf(0.975, 10) * np.sqrt(11))
    assert judged.loc[1, ["se", "low", "high"]].isna().all()  # no degree of freedom
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

ONE_UNIT = pd.DataFrame({"district_id": ["d"], "division_id": ["v"], "province_id": ["p"]})


def estimates_of(rows: pd.DataFrame, psus: pd.DataFrame, kind: str = "share") -> pd.DataFrame:
    """Estimates of column y of respondents (psu, weight, y) in one district."""
    frame = rows.assign(district_id="d", sex=None, urban=None, age_group=None, wealth=None, stratum="s")
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
    frame = frame.assign(sex=None, urban=None, age_group=None, wealth=None, stratum=frame["district_id"])
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
DIMENSIONS = [(), ("sex",), ("urban",), ("age_group",), ("wealth",), ("sex", "urban")]


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
    frame["wealth"] = rng.choice(["lowest", "middle", "highest"], count)
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
        "weight_sum": 400.0,
        **values,
    }


HERE = pd.DataFrame({"wave": "w", "district_id": ["d", "e"], "division_id": "v", "province_id": "p"})


def publish(*rows: dict[str, Any], units: pd.DataFrame | None = None, **indicator: Any) -> pd.DataFrame:
    """Published rows of estimates of one indicator, in the order given."""
    described = {"kind": "share", "simulated": False, "sensitive": False, "minimum_level": "district", **indicator}
    frame = conform(pd.DataFrame(rows), "district_estimates")
    waves = frame["wave"].unique()
    facts = pd.DataFrame([{"wave": w, "indicator": "i", **described} for w in waves])
    return published_estimates(frame, facts, units=units)


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


THREE_DISTRICTS = pd.DataFrame(
    {"district_id": ["a", "b", "c"], "division_id": ["v", "v", "x"], "province_id": "p", "wave": "w"}
)


def sensitive_wave(counts: dict[str, tuple[int, int]], division: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """District rows of women and men answering 1, of 200 asked of each, and the districts and divisions they add to."""
    rows, sums = [], {"v": (0, 0), "x": (0, 0)}
    for unit, (women, men) in counts.items():
        rows.append(estimate_row(unit_id=unit, n_positive=women + men))
        rows.append(estimate_row(unit_id=unit, domain="sex=female", n=200, n_positive=women))
        rows.append(estimate_row(unit_id=unit, domain="sex=male", n=200, n_positive=men))
        above = THREE_DISTRICTS.set_index("district_id").loc[unit, "division_id"]
        sums[above] = (sums[above][0] + 400, sums[above][1] + women + men)
    rows += [estimate_row(level="division", unit_id=unit, n=n, n_positive=x) for unit, (n, x) in sums.items() if n]
    return rows


def withheld_places(rows: list[dict[str, Any]], **indicator: Any) -> set[tuple[str, str, str]]:
    frame = conform(pd.DataFrame(rows), "district_estimates")
    described = {"wave": "w", "indicator": "i", "kind": "share", "simulated": False, "minimum_level": "district"}
    facts = pd.DataFrame([{**described, "sensitive": True, **indicator}])
    published = published_estimates(frame, facts, units=THREE_DISTRICTS)
    held = published[published["quality"] == "suppress"]
    assert set(held["reason"]) <= {"few_persons", "below_minimum_level"}
    assert held[NUMBERS].isna().all(axis=None)
    return set(zip(held["level"], held["unit_id"], held["domain"], strict=True))


PLENTY = {"a": (50, 60), "b": (70, 80), "c": (90, 40)}


@pytest.mark.parametrize(
    ("women", "withheld"), [(9, True), (0, True), (191, True), (200, True), (10, False), (190, False)]
)
def test_a_thin_cell_of_a_sensitive_indicator_is_withheld_with_one_that_gives_it_away(
    women: int, withheld: bool
) -> None:
    rows = sensitive_wave({**PLENTY, "a": (women, 60)})
    # Men and both together would tell of the women; the men are fewer, and that suffices.
    expected = {("district", "a", "sex=female"), ("district", "a", "sex=male")} if withheld else set()
    assert withheld_places(rows) == expected
    assert withheld_places(rows, sensitive=False) == set()


def test_a_thin_district_is_withheld_with_another_of_its_division() -> None:
    held = withheld_places(sensitive_wave({**PLENTY, "a": (3, 4)}))
    assert {("district", "a", domain) for domain in ("all", "sex=female", "sex=male")} <= held
    assert ("district", "b", "all") in held or ("division", "v", "all") in held
    assert not {place for place in held if place[1] in ("c", "x")}


def test_a_division_that_is_one_district_gives_it_away() -> None:
    held = withheld_places(sensitive_wave(PLENTY), minimum_level="division")
    assert held == {("district", *place) for place in product("abc", ("all", "sex=female", "sex=male"))} | {
        ("division", "x", "all")
    }


def test_a_sensitive_mean_or_one_without_counts_is_withheld_whole() -> None:
    rows = sensitive_wave(PLENTY)
    assert len(withheld_places(rows, kind="mean")) == len(rows)
    rows[4]["n_positive"] = None
    assert len(withheld_places(rows)) == len(rows)


def test_a_sensitive_indicator_needs_to_know_what_adds_up() -> None:
    rows = sensitive_wave({**PLENTY, "a": (3, 60)})
    with pytest.raises(InputError, match="wave w, indicator i: has counts to protect, but the divisions and provinces"):
        publish(*rows, sensitive=True)
    rows[-1]["n_positive"] += 1
    with pytest.raises(InputError, match="division x, domain all: the counts of its parts do not add up"):
        withheld_places(rows)
    rows[0]["unit_id"] = "elsewhere"
    with pytest.raises(InputError, match="districts elsewhere: are not among the units of the wave"):
        withheld_places(rows)


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
        published = publish(row, units=HERE, **indicator).iloc[0]
        assert published["reason"] == reason
        assert published[NUMBERS].isna().all()
    both = publish(row, units=HERE, sensitive=True, minimum_level="province").iloc[0]
    assert both["reason"] == "below_minimum_level"


def test_published_estimates_keep_their_contract() -> None:
    published = publish(estimate_row(), estimate_row(unit_id="e", n=3, n_positive=1), units=HERE, sensitive=True)
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


@pytest.mark.parametrize(("prevalence", "kept"), [(0.0199, False), (0.02, True), (0.98, True), (0.981, False)])
def test_a_sensitive_driver_of_few_persons_is_left_out(prevalence: float, kept: bool) -> None:
    row = dict.fromkeys(TABLES["drivers"].names)
    row |= {"wave": "w", "model": "m", "outcome": "o", "kind": "driver", "term": "yes", "n_dropped": 0, "df": 30}
    row |= {"n": 500, "psus": 40, "prevalence": prevalence}
    drivers = conform(pd.DataFrame([row | {"driver": "bribed"}, row | {"driver": "waited"}]), "drivers")
    facts = pd.DataFrame({"wave": "w", "indicator": ["o", "bribed"], "simulated": False, "sensitive": [False, True]})
    assert published_drivers(drivers, facts)["driver"].tolist() == ["bribed", "waited"][not kept :]


# Small-area estimates


def modelled_row(**values: Any) -> dict[str, Any]:
    return {
        "wave": "w",
        "indicator": "i",
        "district_id": "d",
        "simulated": True,
        "direct": 0.4,
        "n": 12,
        "deff": 1.5,
        "estimate": 0.5,
        "se": 0.03,
        "low": 0.45,
        "high": 0.55,
        "shrinkage": 0.3,
        "synthetic": 0.5,
        "residual": 0.1,
        **values,
    }


def modelled(direct: list[dict[str, Any]], *small_area: dict[str, Any], **indicator: Any) -> pd.DataFrame:
    """The published small-area rows beside direct estimates."""
    described = {"kind": "share", "simulated": True, "sensitive": False, "minimum_level": "district", **indicator}
    published = published_estimates(
        conform(pd.DataFrame(direct, columns=TABLES["district_estimates"].names), "district_estimates"),
        pd.DataFrame([{"wave": "w", "indicator": "i", **described}]),
        conform(pd.DataFrame(small_area), "small_area_estimates"),
        units=HERE,
    )
    assert contract_breaches(published, "published_estimates") == []
    assert published["simulated"].all()
    return published[published["method"] == "small_area"]


@pytest.mark.parametrize(
    ("values", "kind", "quality", "reason"),
    [
        ({}, "share", "publish", None),
        ({"low": 0.40, "high": 0.5999}, "share", "publish", None),
        ({"low": 0.0, "high": 0.20}, "share", "caution", "rather_wide_interval"),
        ({"low": 0.0, "high": 0.2999}, "share", "caution", "rather_wide_interval"),
        ({"low": 0.0, "high": 0.30}, "share", "suppress", "wide_interval"),
        ({"estimate": 10.0, "se": 2.0, "low": 6.0, "high": 14.0}, "mean", "publish", None),
        ({"estimate": 10.0, "se": 3.3, "low": 4.0, "high": 16.0}, "mean", "caution", "rather_high_cv"),
        ({"estimate": 10.0, "se": 3.31, "low": 4.0, "high": 16.0}, "mean", "suppress", "high_cv"),
        ({"estimate": 0.0, "se": 0.1}, "mean", "suppress", "high_cv"),
    ],
)
def test_a_small_area_estimate_is_judged_by_its_own_interval(
    values: dict[str, Any], kind: str, quality: str, reason: str | None
) -> None:
    for direct in ([], [estimate_row()], [estimate_row(n=12, n_eff=5.0)]):  # no sample, a good one, one too small
        row = modelled(direct, modelled_row(**values), kind=kind).iloc[0]
        assert (row["level"], row["unit_id"], row["domain"]) == ("district", "d", "all")
        assert row["quality"] == quality
        assert (None if pd.isna(row["reason"]) else row["reason"]) == reason
        if quality == "suppress":
            assert row[NUMBERS].isna().all()
        else:
            assert row[["estimate", "se", "low", "high", "n"]].notna().all()


def test_a_small_area_estimate_is_withheld_where_the_direct_one_protects_respondents() -> None:
    thin, other = estimate_row(n_positive=3), estimate_row(unit_id="e")
    rows = [modelled_row(), modelled_row(district_id="e")]
    for indicator, reason in (({"sensitive": True}, "few_persons"), ({"minimum_level": "province"}, None)):
        row = modelled([thin, other], *rows, **indicator).iloc[0]
        assert row["reason"] == (reason or "below_minimum_level")
        assert row[NUMBERS].isna().all()
    # Without a sample there is nobody to protect, but the area is too small all the same.
    assert modelled([other], rows[0], sensitive=True, minimum_level="division")["reason"].tolist() == [
        "below_minimum_level"
    ]
    assert modelled([other], rows[0], sensitive=True)["quality"].tolist() == ["publish"]


# What was withheld


def test_every_withheld_cell_counts_once_under_its_first_reason() -> None:
    rows = [
        estimate_row(unit_id="d", n_positive=3),
        estimate_row(unit_id="e"),
        estimate_row(unit_id="d", domain="sex=female,urban=rural", n=12, n_eff=5.0, n_positive=1, low=0.0, high=0.9),
        estimate_row(level="province", unit_id="p", n=800, n_positive=203, df=3),
    ]
    table = withheld(publish(*rows)).set_index(["level", "domain_kind"])
    assert contract_breaches(table.reset_index(), "withheld") == []
    assert len(table) == 1
    row = table.loc[("district", "sex,urban")]
    assert (row["concern"], row["reason"], row["words"]) == ("quality", "few_responses", "too few respondents")
    assert (row["withheld"], row["cells"]) == (1, 1)

    published = publish(*rows, units=HERE, sensitive=True, simulated=True)
    table = withheld(published)
    assert table["withheld"].sum() == (published["quality"] == "suppress").sum()
    assert set(table["simulated"]) == {True}
    by = table.set_index(["level", "domain_kind", "concern"])["withheld"]
    assert by[("district", "all", "disclosure")] == 2  # both districts: the province would tell of the one
    assert by[("district", "sex,urban", "disclosure")] == 1


def test_nothing_published_nothing_withheld() -> None:
    published = conform(pd.DataFrame(columns=TABLES["published_estimates"].names), "published_estimates")
    assert contract_breaches(withheld(published), "withheld") == []
    assert withheld(publish(estimate_row())).empty


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

STATIONS = ("errors", "files", "schemas", "geography", "intake", "estimation", "drivers", "publish")
"""In the order of the way; each may import itself and those before it."""
ALLOWED = {station: set(STATIONS[: place + 1]) for place, station in enumerate(STATIONS)}
ALLOWED["fingerprint"] = {"intake", "fingerprint"}
ALLOWED["kept"] = {"kept", "processes"}
ALLOWED["project"] = {"errors", "fingerprint", "geography", "intake", "project"}
ALLOWED["publication_record"] = {"project", "publication_record"}
ALLOWED["publish"] |= {"fingerprint", "processes", "project", "publication_record"}
ALLOWED["wave_folders"] = {*ALLOWED["drivers"], "project", "wave_folders"}
ALLOWED["wave_tables"] = {*ALLOWED["drivers"], "project", "wave_tables"}
ALLOWED["wave_folders"] |= {"wave_tables"}
ALLOWED["reader"] = {"errors", "schemas", "geography", "estimation", "publish", "project", "reader"}
ALLOWED["__init__"] = {"reader"}
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
