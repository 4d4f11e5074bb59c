"""Indices: their errors (R's in test_wave_golden.py), what they must not give away, and how weights move ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from perception import wave_tables
from perception.estimation.design import design_from_psus
from perception.estimation.domains import (
    calibrated_cells,
    district_estimates,
    domain_cells,
    domain_dimensions,
    sampled_domains,
)
from perception.estimation.gaps import subgroup_gaps
from perception.estimation.index_sensitivity import index_sensitivity, ranks_by_weights
from perception.estimation.indices import index_estimates
from perception.estimation.ranking import district_rankings
from perception.estimation.replicates import Scheme
from perception.estimation.small_area import round_models, small_area_tables
from perception.estimation.totals import calibration_totals, psu_totals
from perception.estimation.trends import WaveSample, wave_trends
from perception.geography import vintage_units
from perception.intake.describe import index_weights, indicator_facts, wave_facts
from perception.intake.instrument import Instrument
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.schemas import TABLES, conform, contract_breaches
from tests.conftest import published_estimates
from tests.test_estimation import HERE, UNITS, estimate_row, random_survey

ROOT = Path(__file__).resolve().parents[1]
PLACE = ["level", "unit_id", "domain"]

SCALE = {"type": "ordinal", "categories": {"bad": "Bad", "fair": "Fair", "good": "Good"}}
ASKED = {"label": "Is it good?", "positive": ["good"], "population": "adults"}


def instrument(**changes: Any) -> Instrument:
    declared = {
        "id": "tiny",
        "title": "Tiny",
        "source": "made for a test",
        "questions": {"one": SCALE | {"label": "One?"}, "other": SCALE | {"label": "Other?"}},
        "indicators": {"one_good": ASKED | {"question": "one"}, "other_good": ASKED | {"question": "other"}},
        "indices": {"both": {"label": "Both", "weights": {"one_good": 3, "other_good": 1}, "population": "adults"}},
    }
    return Instrument.model_validate(declared | changes)


def test_weights_are_proportions_and_an_index_needs_all_its_indicators() -> None:
    whole = instrument()
    assert whole.indices["both"].shares == {"one_good": 0.75, "other_good": 0.25}
    assert list(whole.available_indices(["one", "other"])) == ["both"]
    assert list(whole.available_indices(["one"])) == []


def test_every_mistake_in_an_index_is_named() -> None:
    indicators = {
        "secret": ASKED | {"question": "one", "sensitive": True},
        "coarse": ASKED | {"question": "one", "minimum_level": "province"},
        "bad": ASKED | {"question": "one", "higher_is_better": False},
    }
    weights = dict.fromkeys([*indicators, "nowhere"], 1)
    with pytest.raises(ValueError, match="index one has the name of an indicator or variable") as caught:
        instrument(indicators=indicators, indices={"one": {"label": "i", "weights": weights, "population": "adults"}})
    for said in ("secret must be", "coarse must be", "of bad a low value is good", "nowhere is not an indicator"):
        assert said in str(caught.value)
    with pytest.raises(ValueError, match="greater than 0"):
        instrument(indices={"i": {"label": "i", "weights": {"one_good": 0, "other_good": 1}, "population": "adults"}})


def survey(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Responses to both questions, one never asked in district d3, and their design."""
    frame, psus = random_survey(seed)
    rng = np.random.default_rng(seed)
    answers = ["bad", "fair", "good", "dont_know"]
    frame = frame.assign(one=rng.choice(answers, len(frame)), other=rng.choice(answers, len(frame)))
    frame.loc[frame["district_id"] == "d3", "other"] = "not_asked"
    return frame, psus


def test_an_index_is_the_weighted_mean_where_every_indicator_has_an_estimate(tmp_path: Path) -> None:
    frame, psus = survey(1)
    frame.to_parquet(tmp_path / "responses.parquet")
    totals = psu_totals(tmp_path / "responses.parquet", instrument())
    facts = pd.DataFrame({"indicator": ["one_good", "other_good"], "kind": "share"})
    parts = district_estimates(totals, psus, UNITS, facts)
    index = index_estimates(parts, {"both": {"one_good": 0.75, "other_good": 0.25}}, totals, psus, UNITS)
    assert contract_breaches(index, "district_estimates") == []
    wide = parts.set_index(["indicator", *PLACE]).unstack("indicator")
    both = wide[wide["estimate"].notna().all(axis=1)]
    found = index.set_index(PLACE)
    assert set(found.index) == set(both.index)
    assert "d3" not in set(index["unit_id"])
    expected = 0.75 * both["estimate", "one_good"] + 0.25 * both["estimate", "other_good"]
    pd.testing.assert_series_equal(found["estimate"].sort_index(), expected.sort_index(), check_names=False)
    for name in ("n", "psus", "df", "n_eff"):
        fewest = both[name].min(axis=1).sort_index()
        pd.testing.assert_series_equal(found[name].sort_index().astype(float), fewest.astype(float), check_names=False)
    assert (found["se"].isna() == (found["df"] < 1)).all()


def test_replicate_weights_make_the_error_of_an_index(tmp_path: Path) -> None:
    frame, psus = survey(2)
    frame.to_parquet(tmp_path / "responses.parquet")
    totals = psu_totals(tmp_path / "responses.parquet", instrument())
    facts = pd.DataFrame({"indicator": ["one_good", "other_good"], "kind": "share"})
    replicates = np.random.default_rng(2).uniform(0.5, 2, (len(frame), 5)) * frame[["weight"]].to_numpy()
    scheme = Scheme(0.7, np.array([1.0, 0.5, 2.0, 1.0, 1.0]))
    rows, thetas = [], {}
    for name, question in (("one_good", "one"), ("other_good", "other")):
        y = frame[question].map({"bad": 0.0, "fair": 0.0, "good": 1.0})
        valid = y.notna()
        columns = {f"wx_{r + 1}": replicates[:, r] for r in range(5)}
        columns |= {f"wy_{r + 1}": replicates[:, r] * y for r in range(5)}
        cells = frame[["district_id", "sex", "urban", "age_group", "wealth"]].assign(indicator=name, **columns)[valid]
        rows.append(cells)
        women = (valid & (frame["sex"] == "female") & (frame["district_id"] == "d1")).to_numpy()
        thetas[name] = y[women].to_numpy() @ replicates[women] / replicates[women].sum(axis=0)
    parts = district_estimates(totals, psus, UNITS, facts)
    weights = {"both": {"one_good": 0.75, "other_good": 0.25}}
    index = index_estimates(parts, weights, totals, psus, UNITS, None, (), pd.concat(rows), scheme)
    row = index.set_index(PLACE).loc[("district", "d1", "sex=female")]
    theta = 0.75 * thetas["one_good"] + 0.25 * thetas["other_good"]
    centre = theta.mean()
    assert row["se"] == pytest.approx(np.sqrt(0.7 * (scheme.rscales * (theta - centre) ** 2).sum()), rel=1e-9)


# On the committed waves


@pytest.fixture(scope="module")
def waves_2021(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The two waves of 2021, whose weights are raked: facts, estimates with the index, the tables they come from."""
    project, made = Project(ROOT), {}
    for wave in ("kp-2021", "punjab-2021"):
        inputs = open_wave(project, wave)
        tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
        file = tmp_path_factory.mktemp(wave) / "responses.parquet"
        tidy.to_parquet(file)
        facts = indicator_facts(tidy, inputs.wave, inputs.instrument)
        totals, calibration = psu_totals(file, inputs.instrument), calibration_totals(file, inputs.wave)
        wanted = [*index_weights(facts)["services_index"]]
        facts, totals = (
            facts[facts["indicator"].isin([*wanted, "services_index"])],
            totals[totals["indicator"].isin(wanted)],
        )
        empty = conform(pd.DataFrame(columns=TABLES["replicate_totals"].names), "replicate_totals")
        factors = conform(pd.DataFrame(columns=TABLES["replicate_factors"].names), "replicate_factors")
        tables = totals, psus, facts, calibration, empty, factors
        estimates = wave_tables.district_estimates(inputs, file, *tables)
        estimates = estimates[estimates["indicator"].isin(facts["indicator"])]  # without quantiles
        truth = pd.read_csv(inputs.folder / "truth.csv").assign(wave=wave)
        about = wave_facts(tidy, psus, inputs.wave, "0")
        made[wave] = (facts, estimates, totals, psus, calibration, inputs, truth, about)
    return made


def joined(waves_2021: dict[str, Any], place: int) -> pd.DataFrame:
    return pd.concat([made[place] for made in waves_2021.values()], ignore_index=True)


def test_the_error_of_an_index_is_that_of_the_combination_after_calibration(waves_2021: dict[str, Any]) -> None:
    facts, estimates, totals, psus, calibration, inputs, *_ = waves_2021["kp-2021"]
    weights, units = index_weights(facts)["services_index"], inputs.units
    design = design_from_psus(psus)
    calibrated = calibrated_cells(calibration, inputs.wave.rake, totals, units, design)
    cells = domain_cells(totals, units, domain_dimensions(totals))
    cells = cells[(cells["n"] > 0) & (cells["level"] == "province") & (cells["domain"] == "sex=female")]
    sampled = sampled_domains(cells, design, calibrated)
    rows, covariance = sampled.domains, design.covariance(sampled.scores)
    a = rows["indicator"].map(weights).to_numpy(float)
    row = estimates.set_index(["indicator", *PLACE]).loc[("services_index", "province", "kp", "sex=female")]
    assert row["estimate"] == pytest.approx(a @ rows["estimate"], rel=1e-12)
    assert row["se"] == pytest.approx(np.sqrt(a @ covariance @ a), rel=1e-9)
    apart = np.sqrt(a**2 @ np.diag(covariance))
    assert row["se"] > 1.05 * apart  # the same people and PSUs answer about all services


def test_gaps_and_changes_of_an_index_are_those_of_the_combination(waves_2021: dict[str, Any]) -> None:
    facts, estimates, totals, psus, calibration, inputs, *_ = waves_2021["kp-2021"]
    indices = index_weights(facts)
    gaps = subgroup_gaps(totals, psus, inputs.units, calibration, inputs.wave.rake, indices=indices)
    women = gaps[gaps["gap"] == "sex"].set_index(["indicator", "level", "unit_id"])
    of_parts = sum(
        weight * women.loc[(name, "province", "kp"), "estimate"] for name, weight in indices["services_index"].items()
    )
    gap = women.loc[("services_index", "province", "kp")]
    assert gap["estimate"] == pytest.approx(of_parts, rel=1e-9)
    design = design_from_psus(psus)
    cells = domain_cells(totals, inputs.units, [("sex",)])
    cells = cells[(cells["level"] == "province") & (cells["n"] > 0)]
    calibrated = calibrated_cells(calibration, inputs.wave.rake, totals, inputs.units, design)
    sampled = sampled_domains(cells, design, calibrated)
    signs = sampled.domains["domain"].map({"sex=female": 1.0, "sex=male": -1.0}).to_numpy(float)
    a = signs * sampled.domains["indicator"].map(indices["services_index"]).to_numpy(float)
    assert gap["se"] == pytest.approx(np.sqrt(a @ design.covariance(sampled.scores) @ a), rel=1e-9)

    # A wave compared with itself as if with another sample: no change, and twice the variance.
    def sample(name: str) -> WaveSample:
        return WaveSample(name, "2018", totals, psus, calibration, inputs.wave.rake, indices=indices)

    names = {"indicator": women.index.get_level_values(0).unique(), "background": ["sex", "urban", "age", "wealth"]}
    comparable = pd.DataFrame([(kind, name) for kind, own in names.items() for name in own], columns=["kind", "name"])
    comparable = comparable.assign(verdict="same", reason=None)
    better = facts.set_index("indicator")["higher_is_better"]
    changes = wave_trends(sample("before"), sample("after"), inputs.gazetteer, comparable, better)
    place = ["indicator", "level", "unit_id", "domain"]
    both = changes.merge(estimates, on=place, suffixes=("", "_level")).query(
        "indicator == 'services_index' and df_level > 0"
    )
    assert len(both) > 40
    np.testing.assert_allclose(both["change"], 0, atol=1e-12)
    np.testing.assert_allclose(both["se"], np.sqrt(2) * both["se_level"], rtol=1e-9)
    assert "gap:sex" in set(changes.loc[changes["indicator"] == "services_index", "domain"])
    other = {"services_index": dict.fromkeys(indices["services_index"], 1 / 7)}
    changed = wave_trends(
        sample("before"), replace(sample("after"), indices=other), inputs.gazetteer, comparable, better
    )
    of_index = changed[changed["indicator"] == "services_index"]
    assert set(of_index["verdict"]) == {"not_comparable"}
    assert set(of_index["reason"]) == {"the weights of its parts changed"}


@pytest.fixture(scope="module")
def modelled(waves_2021: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """small_area_estimates, published_estimates, district_rankings."""
    facts, estimates, about = (joined(waves_2021, place) for place in (0, 1, 7))
    inputs = waves_2021["kp-2021"][5]
    units = {"2018": vintage_units(inputs.gazetteer, "2018")}
    models = list(round_models(estimates, about, facts, units))
    small, _, _ = small_area_tables(models)
    published = published_estimates(estimates, facts, small)
    return small, published, district_rankings(models, published, facts)


def test_intervals_of_an_index_hold_the_simulated_truth(
    waves_2021: dict[str, Any], modelled: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
) -> None:
    weights, truth = index_weights(waves_2021["kp-2021"][0])["services_index"], joined(waves_2021, 6)
    part = truth[truth["indicator"].isin(list(weights))].assign(
        share=lambda f: f["truth"] * f["indicator"].map(weights)
    )
    values = part.groupby(["wave", "district_id"])["share"].sum().rename("truth").reset_index()
    direct = joined(waves_2021, 1).query("indicator == 'services_index' and level == 'district' and domain == 'all'")
    small = modelled[0].query("indicator == 'services_index'")
    errors = {}
    for name, found in (("direct", direct.rename(columns={"unit_id": "district_id"})), ("small", small)):
        both = found.merge(values, on=["wave", "district_id"])
        assert len(both) == 68
        held = int(((both["low"] <= both["truth"]) & (both["truth"] <= both["high"])).sum())
        # 68 intervals of 95 %: fewer or more than these come up once in a thousand times.
        assert stats.binom.ppf(0.0005, 68, 0.95) <= held <= stats.binom.ppf(0.9995, 68, 0.95), name
        errors[name] = np.sqrt(((both["estimate"] - both["truth"]) ** 2).mean())
    assert errors["small"] < errors["direct"]


def test_an_index_is_published_directly_only_with_all_its_parts(
    modelled: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    direct = modelled[1].query("method == 'direct'")
    index = direct["indicator"] == "services_index"
    blocked = direct[~index & (direct["quality"] == "suppress")].set_index([*PLACE, "wave"]).index
    shown = direct[index & (direct["quality"] != "suppress")].set_index([*PLACE, "wave"]).index
    assert len(shown) > 50
    assert not shown.isin(blocked).any()
    alone = direct[index & (direct["reason"] == "part_not_published")]
    assert len(alone) > 10
    assert alone["estimate"].isna().all()


def test_a_part_below_the_threshold_withholds_the_index() -> None:
    parts = [estimate_row(indicator="one_good", n=20), estimate_row(indicator="other_good")]
    rows = conform(pd.DataFrame([*parts, estimate_row(indicator="both", deff=None)]), "district_estimates")
    facts = pd.DataFrame(
        {"wave": "w", "indicator": ["one_good", "other_good", "both"], "kind": ["share", "share", "index"]}
    )
    facts = facts.assign(simulated=False, sensitive=False, minimum_level="district")
    facts["weights"] = [None, None, "one_good=0.5;other_good=0.5"]
    found = published_estimates(rows, facts, units=HERE).set_index("indicator")
    assert found.loc["both", ["quality", "reason"]].tolist() == ["suppress", "part_not_published"]
    assert found.loc["other_good", "quality"] == "publish"
    parts[0]["n"] = 400
    rows = conform(pd.DataFrame([*parts, estimate_row(indicator="both", deff=None)]), "district_estimates")
    assert published_estimates(rows, facts, units=HERE).set_index("indicator").loc["both", "quality"] == "publish"


# Sensitivity to the weights


def test_ranks_of_two_districts_under_all_weightings() -> None:
    # The first is lower as long as the first indicator counts for more than half: of all weightings, in half.
    table = ranks_by_weights(np.array([[0.2, 0.8], [0.8, 0.2]]), {"a": 0.6, "b": 0.4})
    assert table["rank_declared"].tolist() == [1, 2]
    assert table["share_lowest"].iloc[0] == pytest.approx(0.5, abs=0.05)
    assert table["share_lowest"].sum() == pytest.approx(1)
    assert table[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 2], [1, 2]]
    assert table["decisive"].tolist() == ["a", "a"]
    assert table["rank_without"].tolist() == [2, 1]


def test_a_district_that_is_lower_in_everything_is_lower_under_every_weighting() -> None:
    table = ranks_by_weights(np.array([[0.1, 0.2], [0.3, 0.9], [0.5, 0.6]]), {"a": 1.0, "b": 3.0})
    assert table.loc[0, ["rank_declared", "rank_low", "rank_high", "share_lowest"]].tolist() == [1, 1, 1, 1.0]
    # By the third, b counts three times: 0.75 against 0.575. Without b the order turns.
    assert table["rank_declared"].tolist() == [1, 3, 2]
    assert table.loc[1, ["decisive", "rank_without"]].tolist() == ["b", 2]


def test_every_ranked_district_whose_services_are_published_is_compared(
    waves_2021: dict[str, Any], modelled: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
) -> None:
    _, published, rankings = modelled
    table = index_sensitivity(published, rankings, joined(waves_2021, 0))
    assert contract_breaches(table, "index_sensitivity") == []
    shown = published.query("method == 'small_area' and quality != 'suppress'")
    complete = shown.groupby(["wave", "unit_id"])["indicator"].nunique() == 8
    ranked = rankings.query("indicator == 'services_index' and rank.notna() and scope == 'round'")
    expected = {key for key in zip(ranked["wave"], ranked["district_id"], strict=True) if complete[key]}
    together = table[table["scope"] == "round"]
    assert set(zip(together["wave"], together["district_id"], strict=True)) == expected
    assert set(table["scope"]) == {"province", "round"}
    assert (together["districts"] == len(expected)).all()
    both = together.merge(ranked, on=["wave", "district_id"], suffixes=("", "_ranked"))
    assert both["rank_declared"].corr(both["rank"].astype(float)) > 0.9


def test_without_an_index_the_table_is_empty() -> None:
    rankings = conform(pd.DataFrame(columns=TABLES["district_rankings"].names), "district_rankings")
    published = conform(pd.DataFrame(columns=TABLES["published_estimates"].names), "published_estimates")
    indicators = conform(pd.DataFrame(columns=TABLES["indicators"].names), "indicators")
    assert contract_breaches(index_sensitivity(published, rankings, indicators), "index_sensitivity") == []
