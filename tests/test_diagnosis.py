"""District diagnosis: parts add up, intervals are the design's, effects differ between districts only where they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from perception.drivers.diagnosis import district_diagnosis
from perception.drivers.effects import DriverFit, driver_effects
from perception.estimation.publication import published_diagnosis
from perception.schemas import conform, contract_breaches

DISTRICTS, PSUS, TAKE = 24, 12, 12
Numbers = np.ndarray
# Of district 0 courtesy is lower by 1, of the last one it is higher by 1.
SHIFT = np.concatenate([[-1.0], np.random.default_rng(1).normal(0, 0.3, DISTRICTS - 2), [1.0]])
EASE = np.random.default_rng(2).normal(0, 0.3, DISTRICTS)


def people(rng: np.random.Generator, spread: float = 0.0, shift: Numbers = SHIFT, ease: Numbers = EASE) -> pd.DataFrame:
    """24 districts of two provinces, 12 PSUs of 12: means of two drivers differ by district, slopes by `spread`."""
    district = np.repeat(np.arange(DISTRICTS), PSUS * TAKE)
    psu = np.repeat(np.arange(DISTRICTS * PSUS), TAKE)
    courtesy = shift[district] + rng.normal(0, 0.4, DISTRICTS * PSUS)[psu] + rng.normal(size=len(psu))
    access = ease[district] + rng.normal(size=len(psu))
    sex = rng.choice(["female", "male"], len(psu))
    slope = 0.8 + rng.normal(0, 1, DISTRICTS) * spread
    linear = slope[district] * courtesy + 0.4 * access + 0.3 * (sex == "male")
    linear += rng.normal(0, 0.4, DISTRICTS * PSUS)[psu]
    frame = pd.DataFrame({"district": district, "psu": psu.astype(str), "courtesy": courtesy, "access": access})
    frame = frame.assign(sex=pd.Categorical(sex), weight=rng.uniform(0.5, 2, len(psu)), slope=slope[district])
    frame["y"] = (rng.random(len(psu)) < expit(linear)).astype(float)
    return frame.assign(province=np.where(frame["district"] < 12, "p", "q"), stratum=frame["district"].astype(str))


def fitted(frame: pd.DataFrame) -> DriverFit:
    return driver_effects(
        frame["y"],
        frame[["courtesy", "access", "sex"]],
        {"courtesy": "driver", "access": "driver", "sex": "control"},
        weights=frame["weight"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"}),
    )


def diagnosed(frame: pd.DataFrame, seed: int = 1) -> tuple[pd.DataFrame, Any]:
    fit = fitted(frame)
    return district_diagnosis(
        fit.results,
        fit.blocks,
        ["courtesy", "access"],
        frame["district"],
        frame["province"],
        np.random.default_rng(seed),
    )


def test_parts_add_up_to_the_gap_of_the_shares() -> None:
    frame = people(np.random.default_rng(3))
    table, _ = diagnosed(frame)
    wide = table.pivot(index="district_id", columns="driver", values="contribution")
    np.testing.assert_allclose(wide.drop(columns="gap").sum(axis=1), wide["gap"], atol=1e-12)

    def mean(rows: pd.DataFrame) -> float:
        return float(np.average(rows["y"], weights=rows["weight"]))

    expected = mean(frame[frame["district"] == 0]) - mean(frame[frame["province"] == "p"])
    assert wide.loc[0, "gap"] == pytest.approx(expected)
    one = table[(table["district_id"] == 0) & (table["driver"] == "courtesy")].iloc[0]
    assert one["share"] - one["share_province"] == pytest.approx(expected)
    own = frame[frame["district"] == 0]
    assert one["mean"] == pytest.approx(np.average(own["courtesy"], weights=own["weight"]))
    assert one["contribution"] == pytest.approx(one["effect"] * (one["mean"] - one["mean_province"]))
    assert (one["n"], one["psus"]) == (PSUS * TAKE, PSUS)


def test_the_driver_that_was_made_worse_is_named() -> None:
    table, _ = diagnosed(people(np.random.default_rng(4)))
    parts = table.set_index(["district_id", "driver"])
    low = parts.loc[(0, "courtesy")]
    assert low["contribution_high"] < 0
    assert low["contribution"] < 3 * parts.loc[(0, "access"), "contribution"]
    assert parts.loc[(DISTRICTS - 1, "courtesy"), "contribution_low"] > 0


def test_intervals_hold_the_gap_and_its_parts_in_the_population() -> None:
    def chance(district: int, seed: int) -> tuple[Numbers, Numbers]:
        draws = np.random.default_rng(seed).normal(size=(200_000, 4))
        courtesy = SHIFT[district] + 0.4 * draws[:, 0] + draws[:, 1]
        male = np.arange(len(draws)) % 2
        shares = expit(0.8 * courtesy + 0.4 * (EASE[district] + draws[:, 2]) + 0.3 * male + 0.4 * draws[:, 3])
        return shares, shares * (1 - shares)

    province = [chance(district, district) for district in range(12)]
    gap = province[0][0].mean() - np.mean([shares.mean() for shares, _ in province])
    # The coefficient that the model finds leaves the PSUs' own differences out, so the effect is that of the averaged
    # probability: its slope in the mean of the driver, by finite differences.
    held = {"gap": 0, "courtesy": 0}
    rng, rounds, found = np.random.default_rng(5), 60, []
    for _ in range(rounds):
        table, _ = diagnosed(people(rng))
        own = table[table["district_id"] == 0].set_index("driver")
        held["gap"] += own.loc["gap", "contribution_low"] <= gap <= own.loc["gap", "contribution_high"]
        found.append(own.loc["courtesy", ["contribution", "contribution_low", "contribution_high"]].to_numpy(float))
    estimates = np.array(found)
    middle = estimates[:, 0].mean()
    held["courtesy"] = int(((estimates[:, 1] <= middle) & (middle <= estimates[:, 2])).sum())
    low, high = stats.binom.ppf([0.0005, 0.9995], rounds, 0.95)
    for part, count in held.items():
        assert low <= count <= high, part


def test_what_if_ends_at_the_level_of_the_best_quarter() -> None:
    frame = people(np.random.default_rng(6))
    table, _ = diagnosed(frame)
    courtesy = table[table["driver"] == "courtesy"].set_index("district_id")
    levels = courtesy.loc[courtesy["province_id"] == "p", "mean"]
    best = np.percentile(levels, 75)
    below = levels.index[levels < best]
    np.testing.assert_allclose(courtesy.loc[below, "mean_best"], best)
    assert courtesy.loc[levels.index[levels > best], "what_if"].isna().all()
    row = courtesy.loc[0]
    assert row["what_if"] == pytest.approx(min(row["share"] + row["effect"] * (best - row["mean"]), 1))
    assert row["what_if_low"] < row["what_if"] < row["what_if_high"]


def test_the_best_quarter_is_never_a_district_of_too_few_to_publish() -> None:
    frame = people(np.random.default_rng(6))
    levels = diagnosed(frame)[0].query("driver == 'courtesy' and province_id == 'p'").set_index("district_id")["mean"]
    best = levels.nlargest(4).index  # the best quarter and the district next to it
    few = frame[~frame["district"].isin(best) | (frame.groupby("district").cumcount() < 29)]
    table = diagnosed(few)[0].query("driver == 'courtesy' and province_id == 'p'").set_index("district_id")
    np.testing.assert_allclose(table["mean_best"].dropna(), np.percentile(table["mean"].drop(best), 75))
    assert table["mean_best"].notna().any()


def test_slopes_differ_where_they_do_and_are_common_where_they_are() -> None:
    frame = people(np.random.default_rng(7), spread=0.8)
    _, slopes = diagnosed(frame)
    assert slopes.method != "common"
    assert slopes.gain > 0
    true = frame.groupby("district")["slope"].first() - 0.8
    assert np.corrcoef(slopes.deviations[:, 1], true)[0, 1] > 0.8
    # Shrunken towards the common slope, and less sure than nothing
    assert slopes.deviations[:, 1].std() < 1.1 * true.std()
    alike = [diagnosed(people(np.random.default_rng(seed)))[1] for seed in range(20, 28)]
    assert sum(one.method == "common" for one in alike) >= 5
    assert max(one.spread[1] for one in alike) < 0.4


def test_only_low_and_watched_districts_with_a_published_estimate_and_model_are_diagnosed() -> None:
    table, _ = diagnosed(people(np.random.default_rng(9)))
    facts = {"wave": "w", "model": "m", "unit_id": "all", "level": "all", "outcome": "good", "label": "x"}
    table = table.assign(**facts, district_id="d" + table["district_id"].astype(str))
    diagnosis = conform(table, "district_diagnosis")
    assert contract_breaches(diagnosis, "district_diagnosis") == []
    drivers = pd.DataFrame({"driver": ["courtesy", "access"]}).assign(
        wave="w", model="m", unit_id="all", simulated=True
    )
    bands = {"d0": "low", "d1": "watch", "d2": "high", "d3": "not_distinguishable", "d4": "low"}
    rankings = pd.DataFrame(
        {"wave": "w", "indicator": "good", "district_id": list(bands), "band": list(bands.values())}
    ).assign(scope="province")
    in_round = rankings.assign(scope="round", band=[*reversed(bands.values())])  # what it says there is not asked
    rankings = pd.concat([rankings, in_round])
    estimates = pd.DataFrame({"unit_id": list(bands), "quality": "publish"})
    estimates = estimates.assign(wave="w", indicator="good", method="direct", level="district", domain="all")
    estimates.loc[estimates["unit_id"] == "d4", "quality"] = "suppress"
    found = published_diagnosis(diagnosis, drivers, estimates, rankings)
    assert contract_breaches(found, "published_diagnosis") == []
    assert set(found["district_id"]) == {"d0", "d1"}
    assert set(found["driver"]) == {"courtesy", "access", "composition", "rest", "gap"}
    assert published_diagnosis(diagnosis.assign(n=29), drivers, estimates, rankings).empty
    assert published_diagnosis(diagnosis, drivers[drivers["driver"] == "access"], estimates, rankings).empty
    assert published_diagnosis(diagnosis, drivers.iloc[:0], estimates, rankings).empty
