"""Rank sets against R's csranks (needs ../shared/golden); ranks, probabilities and bands from draws, by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.estimation.rank_sets import certain_differences, rank_sets
from perception.estimation.ranking import bands, district_rankings, lowest_count, rank_summary
from perception.estimation.small_area import round_models, small_area_tables
from perception.schemas import TABLES, conform, contract_breaches
from tests.conftest import published_estimates

# Rank sets (Mogstad, Romano, Shaikh and Wilhelm 2024)


@pytest.fixture
def golden_ranks(shared_golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_golden / "r_golden_ranks.json").read_text())
    return found


@pytest.mark.parametrize("key", ["pisa2018", "pisa2022", "corr"])
def test_rank_sets_agree_with_r(golden_ranks: dict[str, Any], key: str) -> None:
    case = golden_ranks[key]
    estimate = -np.array(case["x" if key == "corr" else "est"])  # there rank 1 is the highest
    covariance = np.array(case["S"]) if key == "corr" else np.diag(np.array(case["se"]) ** 2)
    above = certain_differences(estimate, covariance, 0.95, 20_000, np.random.default_rng(1))
    first, last = rank_sets(above)
    for found, expected in ((first, case["simul_L"]), (last, case["simul_U"])):
        differs = np.abs(found - np.array(expected))
        assert differs.max() <= 2  # Monte Carlo on both sides
        assert (differs > 0).sum() <= 2


def test_rank_sets_by_hand() -> None:
    estimate, spread = np.array([0.1, 0.2, 0.205, 0.5, 0.9]), np.array([0.001, 0.01, 0.01, 0.001, 0.001])
    first, last = rank_sets(certain_differences(estimate, np.diag(spread**2), 0.95, 2000, np.random.default_rng(1)))
    assert (first.tolist(), last.tolist()) == ([1, 2, 2, 4, 5], [1, 3, 3, 4, 5])


def test_two_units_are_apart_beyond_the_quantile_of_their_difference() -> None:
    def apart(gap: float) -> bool:
        rng = np.random.default_rng(1)
        return bool(certain_differences([0.0, gap], np.eye(2), 0.95, 200_000, rng)[1, 0])

    assert not apart(1.94 * np.sqrt(2))
    assert apart(1.98 * np.sqrt(2))


def test_what_shares_all_its_error_is_told_apart() -> None:
    together = np.ones((2, 2))
    above = certain_differences([0.0, 0.1], together, 0.95, 100, np.random.default_rng(1))
    assert above.tolist() == [[False, False], [True, False]]


def test_rank_sets_hold_the_true_ranks_as_often_as_they_say() -> None:
    rng, truth, replicates = np.random.default_rng(5), np.linspace(0, 2, 12), 400
    held = 0
    for _ in range(replicates):
        estimate = truth + rng.normal(0, 0.5, 12)
        first, last = rank_sets(certain_differences(estimate, 0.25 * np.eye(12), 0.90, 500, rng))
        rank = np.arange(1, 13)
        held += bool(((first <= rank) & (rank <= last)).all())
    assert held / replicates > 0.90 - 3 * np.sqrt(0.9 * 0.1 / replicates)


# Ranks from draws


def test_ranks_and_probabilities_by_hand() -> None:
    draws = np.array([[1.0, 2, 3, 4, 5, 6, 7], [2, 1, 3, 4, 5, 7, 6], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 6, 5, 7]])
    table = rank_summary(draws, target=1.5)  # one of seven counts as the lowest
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert table["rank_expected"].tolist() == [1.25, 1.75, 3, 4, 5.25, 6, 6.75]
    assert table["p_lowest"].tolist() == [0.75, 0.25, 0, 0, 0, 0, 0]
    assert table["p_highest"].tolist() == [0, 0, 0, 0, 0, 0.25, 0.75]
    assert table["p_below_target"].tolist() == [0.75, 0.25, 0, 0, 0, 0, 0]
    assert table["band"].tolist() == ["watch", *["not_distinguishable"] * 6]


def test_draws_that_are_equal_share_their_ranks() -> None:
    table = rank_summary(np.array([[0.0, 0, 0, 1, 2, 3, 4]] * 3))
    assert table["rank_expected"].tolist() == [2, 2, 2, 4, 5, 6, 7]
    assert table["rank"].tolist() == [1, 1, 1, 4, 5, 6, 7]
    # Nobody is lower than any of the three, so each is (one of) the lowest.
    assert table["p_lowest"].tolist() == [1, 1, 1, 0, 0, 0, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_ranks_of_draws_add_up_and_turn_round(count: int, seed: int) -> None:
    draws = np.random.default_rng(seed).normal(size=(50, count)).round(1)  # with ties
    table, turned = rank_summary(draws), rank_summary(-draws)
    np.testing.assert_allclose(table["rank_expected"].sum(), count * (count + 1) / 2)
    np.testing.assert_allclose(turned["rank_expected"], count + 1 - table["rank_expected"])
    np.testing.assert_allclose(turned["p_highest"], table["p_lowest"])
    assert (table["rank_low"] <= table["rank_median"]).all()
    assert (table["rank_median"] <= table["rank_high"]).all()
    assert table["rank_low"].ge(1).all()
    assert table["rank_high"].le(count).all()


def test_bands_begin_at_their_probabilities() -> None:
    lowest, highest = np.array([0.8, 0.79, 0.5, 0.49, 0, 0]), np.array([0, 0, 0, 0, 0.8, 0.79])
    expected = ["low", "watch", "watch", "not_distinguishable", "high", "not_distinguishable"]
    assert bands(lowest, highest).tolist() == expected


def test_how_many_count_as_lowest() -> None:
    assert [lowest_count(districts) for districts in (0, 1, 2, 5, 20, 36, 68, 200)] == [0, 0, 1, 1, 3, 5, 10, 10]


# The tables


def made_wave(wave: str = "w", seed: int = 1, **changes: Any) -> dict[str, pd.DataFrame]:
    """Estimates of 24 districts in two provinces, `waves`, `indicators` and the districts of a map."""
    rng = np.random.default_rng(seed)
    ids = [f"{'kp' if place < 12 else 'pj'}-{place:02}" for place in range(24)]
    share = np.linspace(0.2, 0.8, 24)
    units = pd.DataFrame({"district_id": ids, "province_id": [name[:2] for name in ids]})
    units = units.assign(
        population_2023=rng.integers(1, 9, 24) * 100_000,
        population_2017=rng.integers(1, 9, 24) * 90_000,
        households_2023=rng.integers(1, 9, 24) * 15_000,
        area_km2=rng.uniform(500, 5000, 24),
        urban_share=rng.random(24),
    )
    n = 150
    rows = [
        {"level": "district", "unit_id": name, "estimate": p, "se": np.sqrt(1.8 * p * (1 - p) / n), "n": n, "psus": 15}
        for name, p in zip(ids, share, strict=True)
    ]
    for province in ("kp", "pj"):
        own = [row for row in rows if str(row["unit_id"]).startswith(province)]
        mean = float(np.mean([row["estimate"] for row in own]))
        rows.append({"level": "province", "unit_id": province, "estimate": mean, "se": 0.012, "n": n * 12, "psus": 180})
    frame = pd.DataFrame(rows).assign(wave=wave, indicator="i", domain="all", df=13, kish=1.2, deff=1.8, cv=0.1)
    frame = frame.assign(low=frame["estimate"] - 2 * frame["se"], high=frame["estimate"] + 2 * frame["se"])
    frame = frame.assign(n_eff=frame["n"] / 1.8, dont_know_share=0.0, refused_share=0.0, interval="logit")
    frame = frame.assign(n_positive=(frame["n"] * frame["estimate"]).astype(int), weight_sum=frame["n"].astype(float))
    described = {"wave": wave, "indicator": "i", "kind": "share", "higher_is_better": True, "sensitive": False}
    described |= {"minimum_level": "district", "simulated": True, "target": None, "weights": None, **changes}
    facts = {"wave": wave, "round": "2021", "instrument": "tiny", "vintage": "2018", "simulated": True}
    return {
        "estimates": conform(frame, "district_estimates"),
        "waves": pd.DataFrame([facts | {"first_day": "2021-01-01"}]),
        "indicators": pd.DataFrame([described]),
        "units": units,
    }


def tables_of(made: dict[str, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """small_area_estimates, small_area_models, small_area_coefficients, published_estimates, district_rankings."""
    units = {"2018": made["units"]}
    models = list(round_models(made["estimates"], made["waves"], made["indicators"], units))
    own = small_area_tables(models)
    yield from own
    published = published_estimates(made["estimates"], made["indicators"], own[0])
    yield published
    yield district_rankings(models, published, made["indicators"])


def test_the_tables_keep_their_contracts() -> None:
    names = ["small_area_estimates", "small_area_models", "small_area_coefficients", "published_estimates"]
    for table, name in zip(tables_of(made_wave()), [*names, "district_rankings"], strict=True):
        assert len(table), name
        assert contract_breaches(table, name) == []


def test_districts_are_ranked_by_province_and_by_round() -> None:
    *_, ranked = tables_of(made_wave())
    assert ranked.groupby("scope")["districts"].unique().map(list).to_dict() == {"province": [12], "round": [24]}
    assert set(ranked.loc[ranked["scope"] == "province", "scope_id"]) == {"kp", "pj"}
    kp = ranked[(ranked["scope_id"] == "kp")].sort_values("rank")
    assert kp["rank_expected"].is_monotonic_increasing
    assert kp["district_id"].iloc[0] == "kp-00"
    assert kp["p_lowest"].sum() == pytest.approx(kp["lowest_count"].iloc[0])
    everybody = ranked[ranked["scope"] == "round"].set_index("district_id")
    assert everybody.loc["kp-00", "band"] == "low"
    assert everybody.loc["pj-23", "band"] == "high"
    assert everybody.loc["pj-13", "band"] == "not_distinguishable"


def test_of_what_should_be_rare_the_highest_is_the_worst() -> None:
    *_, ranked = tables_of(made_wave())
    *_, turned = tables_of(made_wave(higher_is_better=False, target=0.5))
    both = ranked.merge(turned, on=["scope", "scope_id", "district_id"], suffixes=("", "_turned"))
    np.testing.assert_allclose(both["rank_expected_turned"], both["districts"] + 1 - both["rank_expected"])
    np.testing.assert_allclose(both["p_lowest_turned"], both["p_highest"])
    assert both["certain_low_turned"].tolist() == (both["districts"] + 1 - both["certain_high"]).tolist()
    best, worst = (
        both.loc[both["district_id"] == name, "p_below_target_turned"].iloc[0] for name in ("kp-00", "pj-23")
    )
    assert best < 0.01
    assert worst > 0.99


def test_a_district_without_a_sample_is_predicted_and_may_hold_many_ranks() -> None:
    made = made_wave()
    gone = (made["estimates"]["unit_id"] == "kp-05").to_numpy()
    made["estimates"] = made["estimates"][~gone]
    small, _, _, published, ranked = tables_of(made)
    row = small.set_index("district_id").loc["kp-05"]
    assert (row["n"], row["shrinkage"], pd.isna(row["direct"])) == (0, 1, True)
    shown = published[published["unit_id"] == "kp-05"]
    assert shown["method"].tolist() == ["small_area"]
    assert shown["quality"].tolist() == ["suppress"]  # so unlike are these districts that it says too little
    assert ranked.loc[ranked["district_id"] == "kp-05", "rank"].isna().all()
    assert ranked.loc[ranked["scope"] == "round", "districts"].unique().tolist() == [23]


def test_a_district_without_a_sample_has_an_estimate_with_caution_and_no_rank() -> None:
    made = made_wave()
    # So many districts so alike that one of them without respondents is predicted well enough to publish.
    alike = made["estimates"]["level"] == "district"
    made["estimates"].loc[alike, "estimate"] = 0.5 + 0.01 * np.random.default_rng(1).normal(size=24)
    made["estimates"] = made["estimates"][made["estimates"]["unit_id"] != "kp-05"]
    *_, published, ranked = tables_of(made)
    row = published[(published["unit_id"] == "kp-05")].iloc[0]
    assert (row["quality"], row["reason"], row["n"]) == ("caution", "no_respondents", 0)
    assert row["high"] - row["low"] < 0.3
    own = ranked[ranked["district_id"] == "kp-05"]
    assert own["rank"].isna().all()
    assert own["estimate"].notna().all()


def test_too_few_districts_have_neither_model_nor_rank() -> None:
    made = made_wave()
    few = [*(f"kp-{place:02}" for place in range(4)), "kp", "pj"]
    made["estimates"] = made["estimates"][made["estimates"]["unit_id"].isin(few)]
    assert [len(table) for table in tables_of(made)] == [0, 0, 0, 6, 0]


def test_what_is_not_for_districts_is_not_modelled() -> None:
    small, *_, ranked = tables_of(made_wave(minimum_level="province"))
    assert len(small) == len(ranked) == 0


def test_no_wave_no_ranking() -> None:
    made = {name: conform(pd.DataFrame(columns=TABLES[name].names), name) for name in ("waves", "indicators")}
    estimates = conform(pd.DataFrame(columns=TABLES["district_estimates"].names), "district_estimates")
    published = published_estimates(estimates, made["indicators"])
    table = district_rankings([], published, made["indicators"])
    assert len(published) == len(table) == 0
    assert table.columns.tolist() == TABLES["district_rankings"].names
