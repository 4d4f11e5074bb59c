"""Gaps between groups and change between waves, against respondent-level computations and the simulated truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests

from perception.errors import InputError
from perception.estimation.contrasts import contrasts, differences
from perception.estimation.design import design_from_psus, design_psus
from perception.estimation.domains import domain_cells, sampled_domains
from perception.estimation.gaps import (
    GAPS,
    adjusted_p_values,
    gap_verdicts,
    group_pairs,
    indicator_gaps,
    subgroup_gaps,
)
from perception.estimation.publication import published_gaps, published_trends
from perception.estimation.totals import CELL, Quantity, calibration_totals, psu_totals, totals
from perception.estimation.trends import WaveSample, common_members, trend_verdicts, trends, wave_trends
from perception.geography import common_units, load_gazetteer, vintage_units
from perception.geography.gazetteer import Gazetteer
from perception.intake.codebook import compared_quantities
from perception.intake.describe import raked_margins
from perception.intake.instrument import load_instrument
from perception.schemas import TABLES, conform, contract_breaches
from tests.test_codebook import make_wave
from tests.test_estimation import (
    INSTRUMENT,
    UNITS,
    direct_covariance,
    direct_domains,
    direct_scores,
    direct_values,
    random_survey,
)
from tests.test_simulate import read_wave
from tests.test_weighting import RakedSample

RAW = Path(__file__).resolve().parents[1] / "data" / "raw"
SPLIT = {"kp-chitral": ("kp-lower-chitral", "kp-upper-chitral")}


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(RAW / "reference")


# Gaps


@pytest.mark.parametrize("seed", [2, 7])
def test_gaps_and_their_errors_agree_with_a_respondent_level_computation(seed: int, tmp_path: Path) -> None:
    frame, psus = random_survey(seed)
    frame.to_parquet(tmp_path / "responses.parquet")
    ours = subgroup_gaps(psu_totals(tmp_path / "responses.parquet", INSTRUMENT), psus, UNITS)
    assert contract_breaches(ours, "subgroup_gaps") == []
    ours = ours.set_index(["indicator", "level", "unit_id", "gap"])
    members = {(level, unit, domain): member for level, unit, domain, member in direct_domains(frame)}
    compared = 0
    for (indicator, level, unit, gap), row in ours.iterrows():
        y = direct_values(frame, str(indicator))[0]
        groups = [members[level, unit, domain] & y.notna() for domain in GAPS[str(gap)]]
        means = [np.average(y[group], weights=frame.loc[group, "weight"]) for group in groups]
        assert row["estimate"] == pytest.approx(means[0] - means[1], rel=1e-12, abs=1e-14)
        assert (row["n_first"], row["n_second"]) == (groups[0].sum(), groups[1].sum())
        either = frame[groups[0] | groups[1]]
        df = either["psu"].nunique() - either["stratum"].nunique()
        assert (row["psus"], row["df"]) == (either["psu"].nunique(), df)
        first, second = (direct_scores(frame, group, y, psus) for group in groups)
        variance = direct_covariance([first - second], psus)[0, 0]
        if df < 1 or np.sqrt(variance) < 1e-12 or all(y[group].nunique() == 1 for group in groups):
            assert row[["se", "low", "high", "p_value"]].isna().all()
            continue
        compared += 1
        assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-9)
        half = stats.t.ppf(0.975, df) * np.sqrt(variance)
        assert row["high"] - row["low"] == pytest.approx(2 * half, rel=1e-9)
        assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(row["estimate"]) / row["se"], df), rel=1e-9)
    assert compared > 20


def test_the_error_of_a_gap_knows_that_weights_were_raked() -> None:
    sample = RakedSample()
    pairs = indicator_gaps(sampled_domains(sample.cells, sample.design, sample.calibrated()))
    row = pairs.set_index(["indicator", "level", "gap"]).loc[("satisfied", "all", "sex")]
    frame = sample.frame[sample.frame["satisfied"].notna()]
    score = np.zeros(len(sample.frame))
    for sign, sex in ((1, "female"), (-1, "male")):
        group = frame[frame["sex"] == sex]
        mean = np.average(group["satisfied"], weights=group["weight"])
        score[group.index] += sign * (group["satisfied"] - mean) / group["weight"].sum()
    margins = [
        pd.get_dummies(sample.frame[list(m)].astype("str").agg("/".join, axis=1), dtype=float) for m in sample.rake
    ]
    known, d = np.hstack(margins), sample.frame["d"].to_numpy()
    slope = np.linalg.lstsq(known * np.sqrt(d)[:, None], score * np.sqrt(d), rcond=None)[0]
    residual = sample.frame["weight"] * (score - known @ slope)
    by_psu = residual.groupby([sample.frame["stratum"], sample.frame["psu"]]).sum()
    variance = sum(len(t) * np.var(t, ddof=1) for _, t in by_psu.groupby(level="stratum"))
    assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_groups_turns_the_sign_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample, _ = survey(seed, {"kp-swat": float(rng.uniform(0.2, 0.8)), "kp-kohat": 0.5})
    design = design_from_psus(sample.design_psus)
    units = vintage_units(load_gazetteer(RAW / "reference"), "2018")
    sampled = sampled_domains(domain_cells(sample.psu_totals, units), design)
    pairs, count = group_pairs(sampled.domains), len(sampled.domains)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    one, other = (contrasts(sampled, differences(*rows, count)).rows for rows in ((first, second), (second, first)))
    np.testing.assert_array_equal(one["estimate"], -other["estimate"])
    pd.testing.assert_frame_equal(one.drop(columns="estimate"), other.drop(columns="estimate"))


def test_where_neither_group_varies_nothing_can_be_told() -> None:
    sample, _ = survey(1, {"kp-swat": 0.0, "kp-kohat": 0.5})
    everybody_apart = sample.psu_totals.copy()
    women = (everybody_apart["sex"] == "female") & (everybody_apart["district_id"] == "kp-swat")
    for name in ("sum_wy", "sum_wxy", "sum_wy2"):
        everybody_apart[name] = everybody_apart[name].where(~women, everybody_apart["sum_w"])
    units = vintage_units(load_gazetteer(RAW / "reference"), "2018")
    gaps = subgroup_gaps(everybody_apart, sample.design_psus, units)
    row = gaps.set_index(["unit_id", "gap"]).loc[("kp-swat", "sex")]
    assert row["estimate"] == 1
    assert row[["se", "low", "high", "p_value", "q_value"]].isna().all()
    assert row["verdict"] == "cannot_tell"


def test_only_gaps_of_groups_that_are_there_are_listed() -> None:
    sample, _ = survey(3, {"kp-swat": 0.4, "kp-kohat": 0.5})
    men = sample.psu_totals[sample.psu_totals["sex"] == "male"]
    units = vintage_units(load_gazetteer(RAW / "reference"), "2018")
    assert set(subgroup_gaps(men, sample.design_psus, units)["gap"]) == {"urban", "wealth"}
    alike = men.assign(urban=None, wealth=None)
    assert contract_breaches(subgroup_gaps(alike, sample.design_psus, units), "subgroup_gaps") == []
    assert subgroup_gaps(alike, sample.design_psus, units).empty


p_values = st.lists(st.one_of(st.floats(0, 1), st.none()), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(p_values, st.integers(1, 3))
def test_false_discoveries_are_controlled_in_each_family(values: list[float | None], families: int) -> None:
    p = pd.Series(values, dtype="float64")
    family = pd.Series(np.arange(len(p)) % families)
    q = adjusted_p_values(p, [family])
    assert q.isna().equals(p.isna())
    for _, members in p.groupby(family):
        known = members.dropna()
        if len(known):
            np.testing.assert_allclose(q[known.index], multipletests(known, method="fdr_bh")[1], rtol=1e-12)
            ordered = q[known.sort_values().index]
            assert ordered.is_monotonic_increasing
            assert (ordered >= known.sort_values()).all()


def test_the_sign_of_a_clear_gap_is_its_verdict() -> None:
    gaps = pd.DataFrame(
        {
            "wave": "w",
            "indicator": "i",
            "level": "district",
            "unit_id": ["a", "b", "c", "d"],
            "gap": "sex",
            "estimate": [-0.2, 0.3, 0.1, 0.2],
            "p_value": [0.001, 0.02, 0.04, np.nan],
        }
    )
    judged = gap_verdicts(gaps)
    assert judged["verdict"].tolist() == ["lower", "higher", "higher", "cannot_tell"]
    assert gap_verdicts(gaps.assign(p_value=[0.001, 0.04, 0.06, np.nan]))["verdict"].tolist() == [
        "lower",
        "cannot_tell",  # 0.04 x 3 / 2
        "cannot_tell",
        "cannot_tell",
    ]


# Change


def survey(
    seed: int, districts: dict[str, float], wave: str = "w1", vintage: str = "2018", lift: float = 0.0
) -> tuple[WaveSample, pd.DataFrame]:
    """A wave of 8 PSUs of 12 people in each of two strata of each district, with these shares; and its respondents."""
    rng = np.random.default_rng(seed)
    count = len(districts) * 2 * 8 * 12
    place, number = np.arange(count) // 192, np.arange(count)
    urban = np.where(number // 96 % 2 == 0, "urban", "rural")
    district = np.array(list(districts))[place]
    frame = pd.DataFrame({"district_id": district, "urban": urban, "psu": [f"p{n // 12:03d}" for n in number]})
    frame["stratum"] = frame["district_id"] + "/" + frame["urban"]
    frame["weight"] = rng.uniform(0.5, 2.0, count)
    frame["sex"] = rng.choice(["female", "male"], count)
    frame["age_group"] = rng.choice(["<25", "25-34"], count)
    frame["wealth"] = rng.choice(["lowest", "middle", "highest"], count)
    effect = rng.normal(0, 0.05, count // 12)[number // 12]
    share = np.array(list(districts.values()))[place]
    frame["y"] = np.where(share > 0, rng.random(count) < share + effect + lift, False).astype(float)
    summed = totals(frame.assign(wave=wave), {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}, ["wave", *CELL])
    psus = frame[["district_id", "stratum", "psu"]].drop_duplicates().assign(variance_stratum=lambda f: f["stratum"])
    return WaveSample(wave, vintage, conform(summed, "psu_totals"), psus, pd.DataFrame()), frame


def declared(**verdicts: tuple[str, str | None]) -> pd.DataFrame:
    """Table `comparability` of wave w2: everything the same, but for these (verdict, reason)."""
    known = dict.fromkeys(("y", "sex", "urban", "age", "wealth"), ("same", None)) | verdicts
    rows = [
        ("w2", "w1", "indicator" if name == "y" else "background", name, verdict, reason)
        for name, (verdict, reason) in known.items()
    ]
    return conform(
        pd.DataFrame(rows, columns=["wave", "predecessor", "kind", "name", "verdict", "reason"]), "comparability"
    )


BETTER_HIGH = pd.Series({"y": True})
TWO = {"kp-swat": 0.3, "kp-kohat": 0.6}


def test_a_wave_has_not_changed_against_itself_where_psus_are_shared(gazetteer: Gazetteer) -> None:
    sample, _ = survey(5, TWO)
    again = replace(sample, wave="w2")
    rows = wave_trends(sample, again, gazetteer, declared(), BETTER_HIGH, shared_psus=True)
    assert contract_breaches(rows, "trends") == []
    assert (rows["change"] == 0).all()
    assert (rows["se"] == 0).all()
    assert set(rows["verdict"]) == {"cannot_tell"}
    apart = wave_trends(sample, again, gazetteer, declared(), BETTER_HIGH)
    sampled = sampled_domains(
        domain_cells(sample.psu_totals, vintage_units(gazetteer, "2018")), design_from_psus(sample.design_psus)
    )
    variance = sampled.design.covariance(sampled.scores).diagonal()
    expected = sampled.domains[["level", "unit_id", "domain"]].assign(double=np.sqrt(2 * variance))
    both = apart.merge(expected, on=["level", "unit_id", "domain"])
    assert len(both) > 30
    np.testing.assert_allclose(both["se"], both["double"], rtol=1e-12)


@pytest.mark.parametrize("kept", [8, 5, 1])
def test_the_covariance_of_psus_visited_again_by_hand(kept: int, gazetteer: Gazetteer) -> None:
    first, old = survey(5, TWO)
    second, new = survey(5, TWO, "w2", lift=0.1)
    # The last PSUs of each stratum are replaced in the second wave; one alone says nothing about the covariance.
    replaced = new["psu"].str[1:].astype(int) % 8 >= kept
    new["psu"] = new["psu"].where(~replaced, new["psu"] + "n")
    summed = totals(new.assign(wave="w2"), {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}, ["wave", *CELL])
    psus = new[["district_id", "stratum", "psu"]].drop_duplicates().assign(variance_stratum=lambda f: f["stratum"])
    second = replace(second, psu_totals=conform(summed, "psu_totals"), design_psus=psus)
    rows = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH, shared_psus=True)
    rows = rows.set_index(["level", "unit_id", "domain"])
    for key, chosen in {
        ("district", "kp-swat", "all"): lambda f: f["district_id"] == "kp-swat",
        ("province", "kp", "sex=female"): lambda f: f["sex"] == "female",
    }.items():
        scores = [
            direct_scores(frame, chosen(frame), frame["y"], sample.design_psus)
            for frame, sample in ((old, first), (new, second))
        ]
        variance = sum(
            direct_covariance([s], sample.design_psus)[0, 0] for s, sample in zip(scores, (first, second), strict=True)
        )
        for _, members in first.design_psus.groupby("stratum"):
            both = [psu for psu in members["psu"] if psu in set(second.design_psus["psu"])]
            assert len(both) == kept
            variance -= 2 * kept * np.cov(scores[0][both], scores[1][both])[0, 1] if kept > 1 else 0
        assert rows.loc[key, "se"] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_shared_psus_must_be_there_and_have_a_predecessor(gazetteer: Gazetteer) -> None:
    first, _ = survey(5, TWO)
    second, _ = survey(6, TWO, "w2")
    psus = second.design_psus.assign(psu="x" + second.design_psus["psu"])
    stranger = replace(
        second, psu_totals=second.psu_totals.assign(psu="x" + second.psu_totals["psu"]), design_psus=psus
    )
    with pytest.raises(InputError, match=r"w2/wave\.yml, design\.shared_psus"):
        wave_trends(first, stranger, gazetteer, declared(), BETTER_HIGH, shared_psus=True)
    design = {"weight": "w", "weight_scale": "relative", "strata": ["s"], "psu": "p", "shared_psus": True}
    assert make_wave({}, design=design).design.shared_psus
    with pytest.raises(ValidationError, match=r"Name that wave\."):
        make_wave({}, design=design, predecessor=None)


def test_change_of_independent_waves_by_hand(gazetteer: Gazetteer) -> None:
    first, old = survey(5, TWO)
    second, new = survey(6, TWO, "w2", lift=0.25)
    row = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH).set_index(["level", "unit_id", "domain"])
    swat = row.loc[("district", "kp-swat", "gap:sex")]
    means, variances, dfs = [], [], []
    for frame, sample in ((old, first), (new, second)):
        groups = [(frame["district_id"] == "kp-swat") & (frame["sex"] == sex) for sex in ("female", "male")]
        mean = [np.average(frame.loc[g, "y"], weights=frame.loc[g, "weight"]) for g in groups]
        scores = [direct_scores(frame, group, frame["y"], sample.design_psus) for group in groups]
        means.append(mean[0] - mean[1])
        variances.append(direct_covariance([scores[0] - scores[1]], sample.design_psus)[0, 0])
        dfs.append(16 - 2)
    assert swat["before"] == pytest.approx(means[0])
    assert swat["change"] == pytest.approx(means[1] - means[0])
    assert swat["se"] == pytest.approx(np.sqrt(sum(variances)), rel=1e-9)
    df = sum(variances) ** 2 / (variances[0] ** 2 / dfs[0] + variances[1] ** 2 / dfs[1])
    assert swat["df"] == pytest.approx(df, rel=1e-9)
    whole = row.loc[("province", "kp", "all")]
    assert whole["verdict"] == "better"
    reverse = wave_trends(first, second, gazetteer, declared(), ~BETTER_HIGH)
    assert reverse.set_index(["level", "unit_id", "domain"]).loc[("province", "kp", "all"), "verdict"] == "worse"


def test_verdicts_on_gaps_ask_whether_they_are_narrower() -> None:
    frame = pd.DataFrame(
        {
            "wave": "w",
            "indicator": "i",
            "level": "district",
            "unit_id": list("abcde"),
            "domain": "gap:sex",
            "before": [-0.30, -0.05, 0.10, -0.15, 0.3],
            "after": [-0.05, -0.30, 0.40, 0.15, 0.1],
            "p_value": [0.001, 0.001, 0.001, 0.001, 0.5],
            "higher_is_better": False,
        }
    )
    frame["change"] = frame["after"] - frame["before"]
    judged = trend_verdicts(frame, pd.Series(True, index=frame.index))
    assert judged["verdict"].tolist() == ["better", "worse", "worse", "cannot_tell", "cannot_tell"]
    assert set(trend_verdicts(frame, pd.Series(False, index=frame.index))["verdict"]) == {"not_comparable"}


# The map that both waves share


def test_the_common_map_of_the_gazetteer(gazetteer: Gazetteer) -> None:
    vintage, units = common_units(gazetteer, "2018", "2023")
    assert vintage == "2018"
    apart = units[units["district_id"] != units["common_id"]].groupby("common_id")["district_id"].agg(list)
    assert apart.to_dict() == {
        "kp-chitral": ["kp-lower-chitral", "kp-upper-chitral"],
        "kp-kohistan": ["kp-kolai-palas-kohistan", "kp-lower-kohistan", "kp-upper-kohistan"],
    }
    assert common_units(gazetteer, "2023", "2018")[0] == "2018"
    own = vintage_units(gazetteer, "2018").set_index("district_id")
    old = units[units["vintage"] == "2018"].set_index("district_id")
    assert (old.index == old["common_id"]).all()
    assert old[["division_id", "province_id"]].equals(own.loc[old.index, ["division_id", "province_id"]])
    with pytest.raises(InputError, match="2019"):
        common_units(gazetteer, "2019", "2023")


def test_a_tehsil_that_moved_joins_both_districts(gazetteer: Gazetteer) -> None:
    moved = gazetteer.vintages.copy()
    swat = moved.index[(moved["vintage"] == "2023") & (moved["district_id"] == "kp-swat")]
    moved.loc[swat[0], "district_id"] = "kp-shangla"
    vintage, units = common_units(replace(gazetteer, vintages=moved), "2018", "2023")
    assert vintage == "2018+2023"  # Chitral is coarser in the one, and neither has Shangla and Swat as one
    joined = units[units["common_id"] == "kp-shangla+kp-swat"]
    assert sorted(zip(joined["vintage"], joined["district_id"], strict=True)) == [
        (vintage, district) for vintage in ("2018", "2023") for district in ("kp-shangla", "kp-swat")
    ]


@pytest.fixture(scope="module")
def split_waves() -> tuple[WaveSample, WaveSample, pd.DataFrame]:
    """Chitral as one district in w1 and as two in w2, and the respondents of w2."""
    first, _ = survey(11, {"kp-chitral": 0.4, "kp-swat": 0.5, "kp-torghar": 0.3})
    second, frame = survey(12, {"kp-lower-chitral": 0.4, "kp-upper-chitral": 0.6, "kp-swat": 0.5}, "w2", "2023")
    return first, second, frame


def test_split_districts_are_put_together_again(
    split_waves: tuple[WaveSample, WaveSample, pd.DataFrame], gazetteer: Gazetteer
) -> None:
    first, second, frame = split_waves
    rows = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH)
    assert contract_breaches(rows, "trends") == []
    assert set(rows["vintage"]) == {"2018"}
    assert set(rows.loc[rows["level"] == "district", "unit_id"]) == {"kp-chitral", "kp-swat", "kp-torghar"}
    chitral = rows.set_index(["level", "unit_id", "domain"]).loc[("district", "kp-chitral", "all")]
    there = frame["district_id"].isin(SPLIT["kp-chitral"])
    assert chitral["after"] == pytest.approx(np.average(frame.loc[there, "y"], weights=frame.loc[there, "weight"]))
    assert chitral["n_after"] == there.sum()
    score = direct_scores(frame, there, frame["y"], second.design_psus)
    alone = wave_trends(replace(first, wave="w0"), replace(first, wave="w1"), gazetteer, declared(), BETTER_HIGH)
    before = alone.set_index(["level", "unit_id", "domain"]).loc[("district", "kp-chitral", "all"), "se"] ** 2 / 2
    after = direct_covariance([score], second.design_psus)[0, 0]
    assert chitral["se"] == pytest.approx(np.sqrt(before + after), rel=1e-9)


def test_what_only_one_wave_surveyed_is_listed_with_the_reason(
    split_waves: tuple[WaveSample, WaveSample, pd.DataFrame], gazetteer: Gazetteer
) -> None:
    first, second, _ = split_waves
    rows = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH).set_index(["level", "unit_id", "domain"])
    torghar = rows.loc[("district", "kp-torghar", "all")]
    assert (torghar["verdict"], torghar["reason"]) == ("not_comparable", "not surveyed in w2")
    assert torghar[["before", "after", "change", "se", "p_value", "q_value", "n_before"]].isna().all()
    division = rows.loc[("division", "kp-hazara", "all")]
    assert division["reason"] == "not the same districts were surveyed: kp-torghar"
    assert rows.loc[("all", "all", "sex=female"), "verdict"] == "not_comparable"
    assert rows.loc[("division", "kp-malakand", "all"), "verdict"] != "not_comparable"

    half = replace(
        second,
        psu_totals=second.psu_totals[second.psu_totals["district_id"] != "kp-upper-chitral"],
        design_psus=second.design_psus[second.design_psus["district_id"] != "kp-upper-chitral"],
    )
    rows = wave_trends(first, half, gazetteer, declared(), BETTER_HIGH).set_index(["level", "unit_id", "domain"])
    assert rows.loc[("district", "kp-chitral", "all"), "reason"] == "only part of it was surveyed in w2"


def test_raked_weights_keep_their_own_map(gazetteer: Gazetteer) -> None:
    """Raked to the split districts' sexes: a change of women among all of Chitral has no variance from this wave."""
    first, _ = survey(11, {"kp-chitral": 0.4, "kp-swat": 0.5})
    second, frame = survey(12, {"kp-lower-chitral": 0.4, "kp-upper-chitral": 0.6, "kp-swat": 0.5}, "w2", "2023")
    frame = frame.assign(wave="w2", y=(frame["sex"] == "female").astype(float))
    by = ["wave", *CELL]
    quantity = {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}
    summed = conform(totals(frame.assign(d=frame["weight"]), quantity, by, uncalibrated="d"), "psu_totals")
    weights = frame.groupby(by)["weight"].sum().rename("sum_w").reset_index().assign(sum_d=lambda f: f["sum_w"])
    raked = replace(second, psu_totals=summed, calibration_totals=weights, rake=[["district_id", "sex"]])
    plain = wave_trends(first, replace(raked, calibration_totals=pd.DataFrame()), gazetteer, declared(), BETTER_HIGH)
    known = wave_trends(first, raked, gazetteer, declared(), BETTER_HIGH)
    alone = wave_trends(replace(first, wave="w0"), replace(first, wave="w1"), gazetteer, declared(), BETTER_HIGH)
    key = ("district", "kp-chitral", "all")
    se = [rows.set_index(["level", "unit_id", "domain"]).loc[key, "se"] for rows in (plain, known, alone)]
    assert se[1] == pytest.approx(se[2] / np.sqrt(2), rel=1e-9)
    assert se[0] > se[1]


# What compares


def test_a_break_is_not_compared_and_a_recoding_is_noted(gazetteer: Gazetteer) -> None:
    first, _ = survey(5, TWO)
    second, _ = survey(6, TWO, "w2")
    rows = wave_trends(first, second, gazetteer, declared(y=("break", "asked by telephone")), BETTER_HIGH)
    assert set(rows["verdict"]) == {"not_comparable"}
    assert set(rows["reason"]) == {"asked by telephone"}
    assert rows[["before", "after", "change", "q_value"]].isna().all(axis=None)
    compared = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH)
    key = ["indicator", "level", "unit_id", "domain"]
    assert rows[key].equals(compared[key])  # every cell says why not
    assert compared["reason"].isna().all()

    verdicts = declared(y=("recoded", "a middle category"), wealth=("break", "another index"), sex=("recoded", "asked"))
    rows = wave_trends(first, second, gazetteer, verdicts, BETTER_HIGH).set_index(["level", "unit_id", "domain"])
    whole, women = (rows.loc[("province", "kp", domain)] for domain in ("all", "sex=female"))
    assert (whole["verdict"] != "not_comparable", whole["reason"]) == (True, "a middle category")
    assert (women["change"] != 0, women["reason"]) == (True, "a middle category; asked")
    for domain in ("wealth=lowest", "gap:wealth"):
        row = rows.loc[("province", "kp", domain)]
        assert (row["verdict"], row["reason"]) == ("not_comparable", "another index")

    undeclared = declared().query("name != 'y'")
    assert set(wave_trends(first, second, gazetteer, undeclared, BETTER_HIGH)["reason"]) == {"not declared"}


def test_an_indicator_compares_as_its_strictest_question_universe_included() -> None:
    instrument = load_instrument(RAW / "instruments" / "citizen-services.yml")
    name, indicator = next((n, i) for n, i in instrument.indicators.items() if i.universe and i.question)
    question, universe = str(indicator.question), indicator.universe.question  # type: ignore[union-attr]
    variables = {variable: {"source": variable} for variable in {question, universe}}
    keys = {
        question: {"verdict": "recoded", "reason": "new scale"},
        universe: {"verdict": "break", "reason": "asked of others"},
    }
    changes = pd.DataFrame(columns=["wave", "variable", "aspect", "verdict", "reason"], dtype="str")
    table = compared_quantities(changes, make_wave(variables, comparability=keys), instrument)
    assert contract_breaches(table, "comparability") == []
    row = table.set_index("name").loc[name]
    assert (row["kind"], row["verdict"], row["reason"]) == ("indicator", "break", "asked of others")
    keys[universe] = {"verdict": "same", "reason": "asked alike"}
    row = compared_quantities(changes, make_wave(variables, comparability=keys), instrument).set_index("name").loc[name]
    assert (row["verdict"], row["reason"]) == ("recoded", "new scale")
    assert compared_quantities(changes, make_wave(variables, predecessor=None), instrument).empty


def test_margins_are_read_as_they_are_written() -> None:
    assert raked_margins("district_id*sex;age_group") == [["district_id", "sex"], ["age_group"]]
    assert raked_margins("") == []


# What is published


def published_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """`published_estimates` with these wave, level, unit_id, domain, quality, reason."""
    columns = ["wave", "level", "unit_id", "domain", "quality", "reason"]
    return pd.DataFrame(rows, columns=columns).assign(indicator="y", method="direct", estimate=0.5)


INDICATORS = pd.DataFrame(
    {"wave": ["w1", "w2"], "indicator": "y", "simulated": [True, False], "higher_is_better": True, "kind": "share"}
)


def test_a_gap_is_published_only_with_both_its_groups() -> None:
    gaps = conform(
        pd.DataFrame(
            {
                "wave": "w1",
                "indicator": "y",
                "level": "district",
                "unit_id": ["a", "b", "c", "d"],
                "gap": "sex",
                "estimate": -0.2,
                "se": 0.05,
                "low": -0.3,
                "high": -0.1,
                "p_value": [0.03, 0.001, 0.04, 0.9],
                "q_value": 0.5,
                "n_first": 60,
                "n_second": 60,
                "psus": 20,
                "df": 18,
                "verdict": "cannot_tell",
            }
        ),
        "subgroup_gaps",
    )
    female, male = GAPS["sex"]
    rows = [("w1", "district", unit, domain, "publish", None) for unit in "ab" for domain in (female, male)]
    rows += [("w1", "district", "c", female, "caution", "small_sample"), ("w1", "district", "c", male, "publish", None)]
    rows += [("w1", "district", "d", female, "publish", None)]
    rows[3] = ("w1", "district", "b", male, "suppress", "few_responses;wide_interval")
    table = published_gaps(gaps, published_of(rows), INDICATORS)
    assert contract_breaches(table, "published_gaps") == []
    table = table.set_index("unit_id")
    assert table["quality"].to_dict() == {"a": "publish", "b": "suppress", "c": "caution", "d": "suppress"}
    assert table.loc["b", "reason"] == "few_responses;wide_interval"
    assert table.loc["d", "reason"] == "part_not_published"
    hidden = table.loc[["b", "d"]].drop(columns=["wave", "indicator", "level", "gap", "simulated", "quality", "reason"])
    assert hidden.isna().all(axis=None)
    # Among the two that are shown, 0.03 and 0.04 are both below 0.05; the strong one that is hidden does not help.
    assert table.loc["a", "q_value"] == pytest.approx(0.04)
    assert table.loc[["a", "c"], "verdict"].tolist() == ["lower", "lower"]
    assert table["simulated"].all()


def test_a_change_is_published_only_with_all_its_parts(
    split_waves: tuple[WaveSample, WaveSample, pd.DataFrame], gazetteer: Gazetteer
) -> None:
    first, second, _ = split_waves
    changes = wave_trends(first, second, gazetteer, declared(), BETTER_HIGH)
    waves = pd.DataFrame(
        {"wave": ["w1", "w2"], "predecessor": [None, "w1"], "vintage": ["2018", "2023"], "shared_psus": False}
    )
    members = common_members(waves, gazetteer)
    assert set(members.loc[members["unit_id"] == "kp-chitral", "district_id"]) == {"kp-chitral", *SPLIT["kp-chitral"]}
    domains = ["all", *(domain for pair in GAPS.values() for domain in pair)]
    units = {"w1": ["kp-chitral", "kp-swat"], "w2": [*SPLIT["kp-chitral"], "kp-swat"]}
    rows = [
        (wave, "district", unit, domain, "publish", None)
        for wave, names in units.items()
        for unit in names
        for domain in domains
    ]

    def published(*hidden: tuple[str, str, str]) -> pd.DataFrame:
        known = published_of(rows)
        for wave, unit, domain in hidden:
            cell = (known["wave"] == wave) & (known["unit_id"] == unit) & (known["domain"] == domain)
            assert cell.sum() == 1
            known.loc[cell, ["quality", "reason"]] = ["suppress", "few_persons"]
        table = published_trends(changes, known, INDICATORS, members)
        assert contract_breaches(table, "published_trends") == []
        return table[table["level"] == "district"].set_index(["unit_id", "domain"])

    numbers = ["before", "after", "change", "se", "low", "high", "df", "p_value", "q_value", "n_before", "n_after"]
    table = published()
    shown = table["quality"] != "suppress"
    assert set(table.index[shown]) == {(u, d) for u in ("kp-chitral", "kp-swat") for d in [*domains, *GAP_DOMAINS]}
    assert table.loc[shown, numbers].notna().all(axis=None)
    assert table["simulated"].all()  # one of the two waves is
    torghar = table.loc[("kp-torghar", "all")]
    assert (torghar["verdict"], torghar["reason"], torghar["note"]) == (
        "not_comparable",
        "not_comparable",
        "not surveyed in w2",
    )

    for hidden, lost in {
        ("w2", "kp-upper-chitral", "all"): [("kp-chitral", "all")],
        ("w1", "kp-chitral", "sex=male"): [("kp-chitral", "sex=male"), ("kp-chitral", "gap:sex")],
        ("w2", "kp-swat", "urban=rural"): [("kp-swat", "urban=rural"), ("kp-swat", "gap:urban")],
    }.items():
        table = published(hidden)
        assert set(shown.index[shown]) - set(table.index[table["quality"] != "suppress"]) == set(lost)
        assert table.loc[lost, [*numbers, "verdict"]].isna().all(axis=None)
        assert set(table.loc[lost, "reason"]) == {"few_persons"}


def test_a_change_of_a_union_is_not_that_of_the_district_whose_name_it_has(gazetteer: Gazetteer) -> None:
    """Murree was a part of Rawalpindi until 2025, and Chitral was one district until 2018."""
    waves = pd.DataFrame(
        {
            "wave": ["w1", "w2", "w3"],
            "predecessor": [None, "w1", "w2"],
            "vintage": ["2018", "2023", "2025"],
            "shared_psus": False,
        }
    )
    members = common_members(waves, gazetteer)
    compared = [("w2", "kp-chitral"), ("w2", "kp-swat"), ("w3", "punjab-rawalpindi"), ("w3", "punjab-lahore")]
    cell = {"indicator": "good", "level": "district", "domain": "all", "verdict": "cannot_tell", "simulated": True}
    before = {"w2": "w1", "w3": "w2"}
    changes = pd.DataFrame(
        [cell | {"wave": wave, "predecessor": before[wave], "unit_id": unit} for wave, unit in compared]
    )
    whole = changes.iloc[[0]].assign(level="all", unit_id="all")
    rows = pd.concat([changes, whole], ignore_index=True).reindex(columns=TABLES["trends"].names)
    known = published_of(
        [(wave, "district", unit, "all", "publish", None) for wave in ("w1", "w2", "w3") for unit in ("kp-swat",)]
    )
    table = published_trends(conform(rows.assign(n_before=0, n_after=0), "trends"), known, INDICATORS, members)
    one = table.set_index(["wave", "unit_id"])["one_district"]
    assert one.to_dict() == {**dict(zip(compared, [False, True, False, True], strict=True)), ("w2", "all"): False}


GAP_DOMAINS = [f"gap:{gap}" for gap in GAPS]


def test_without_a_predecessor_there_is_no_trend(gazetteer: Gazetteer) -> None:
    waves = pd.DataFrame({"wave": ["w2"], "predecessor": ["w1"], "vintage": ["2018"], "shared_psus": [False]})
    none = trends(waves, INDICATORS, declared(), lambda wave: survey(1, TWO, wave)[0], gazetteer)
    assert none.empty
    assert contract_breaches(none, "trends") == []
    table = published_trends(none, published_of([]), INDICATORS, common_members(waves, gazetteer))
    assert table.empty
    assert contract_breaches(table, "published_trends") == []


# The simulated truth


@dataclass(frozen=True)
class Simulated:
    """The simulated waves as `trends` reads them, and their true values by district."""

    samples: dict[str, WaveSample]
    truth: dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def simulated(gazetteer: Gazetteer, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    instrument = load_instrument(RAW / "instruments" / "citizen-services.yml")
    folder, samples, truth = tmp_path_factory.mktemp("responses"), {}, {}
    for province in ("kp", "punjab"):
        for year in ("2018", "2021", "2024"):
            one = read_wave(RAW / "waves" / f"{province}-{year}", instrument, gazetteer)
            one.tidy.to_parquet(folder / "r.parquet")
            samples[one.wave.id] = WaveSample(
                one.wave.id,
                one.wave.geography.vintage,
                psu_totals(folder / "r.parquet", instrument).query("indicator.str.startswith('satisfied_')"),
                design_psus(one.raw, one.tidy, one.wave, one.units),
                calibration_totals(folder / "r.parquet", one.wave),
                one.wave.weighting.rake if one.wave.weighting else [],
            )
            truth[one.wave.id] = one.truth
    return Simulated(samples, truth)


def true_values(simulated: Simulated, wave: str, common: pd.DataFrame) -> pd.Series:
    """True share by indicator and unit of the common map."""
    units = common[common["vintage"] == simulated.samples[wave].vintage]
    placed = simulated.truth[wave].merge(units, on="district_id")
    placed["yes"] = placed["truth"] * placed["population_n"]
    sums = placed.groupby(["indicator", "common_id"])[["yes", "population_n"]].sum()
    return sums["yes"] / sums["population_n"]


def test_intervals_of_change_hold_the_simulated_truth(simulated: Simulated, gazetteer: Gazetteer) -> None:
    held = []
    for province in ("kp", "punjab"):
        for old, new in (("2018", "2021"), ("2021", "2024")):
            before, after = (simulated.samples[f"{province}-{year}"] for year in (old, new))
            names = sorted(set(before.psu_totals["indicator"]) & set(after.psu_totals["indicator"]))
            asked = [("indicator", name) for name in names]
            asked += [("background", name) for name in ("sex", "urban", "age", "wealth")]
            same = pd.DataFrame(asked, columns=["kind", "name"]).assign(verdict="same", reason=None)
            rows = wave_trends(before, after, gazetteer, same, pd.Series(True, index=names))
            rows = rows[(rows["level"] == "district") & (rows["domain"] == "all") & rows["se"].notna()]
            _, common = common_units(gazetteer, before.vintage, after.vintage)
            change = true_values(simulated, after.wave, common) - true_values(simulated, before.wave, common)
            true = change.rename("true").rename_axis(["indicator", "unit_id"]).reset_index()
            both = rows.merge(true.dropna(), on=["indicator", "unit_id"])
            held.append(both.assign(held=both["true"].between(both["low"], both["high"])))
    table = pd.concat(held)
    counts = table.groupby("indicator")["held"].agg(["sum", "size"])
    assert len(counts) == 9
    assert (counts["size"] >= 130).all()
    # Two-sided, 1 in 1000 over all indicators: districts are independent within an indicator, not across indicators.
    tail = 0.001 / len(counts) / 2
    for indicator, (hits, size) in counts.iterrows():
        low, high = stats.binom.ppf([tail, 1 - tail], size, 0.95)
        assert low <= hits <= high, (indicator, hits, size)
