"""A new domain over the declared dimensions needs PSU totals only; weighted counts of any columns against R."""

from __future__ import annotations

import json
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception import wave_tables
from perception.errors import InputError
from perception.estimation.counts import weighted_counts
from perception.estimation.design import design_from_psus
from perception.estimation.domains import DOMAIN_DIMENSIONS, district_estimates, domain_cells, domain_estimates
from perception.estimation.totals import CELL, Quantity, psu_totals, totals
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave

ROOT = Path(__file__).resolve().parents[1]
NEW = ("sex", "urban", "age_group")
INDICATOR = "satisfied_health"


def test_a_new_domain_touches_no_respondent(tmp_path: Path) -> None:
    inputs = open_wave(Project(ROOT), "punjab-2024")
    tidy, psus, _, _ = wave_tables.tidy_wave(Project(ROOT), inputs, raw_responses(inputs.wave, inputs.folder))
    file = tmp_path / "responses.parquet"
    tidy.to_parquet(file)
    totals = psu_totals(file, inputs.instrument)
    file.unlink()

    assert NEW not in DOMAIN_DIMENSIONS
    totals = totals[totals["indicator"] == INDICATOR]
    kinds = pd.DataFrame({"indicator": [INDICATOR], "kind": "share"})
    ours = district_estimates(totals, psus, inputs.units, kinds, dimensions=[NEW])

    # Worked out apart, respondent by respondent.
    answer = tidy["health_satisfaction"]
    valid = (tidy["health_used"] == "yes") & answer.notna()
    valid &= ~answer.isin(["dont_know", "refused", "not_asked", "missing"])
    y = answer.isin(["satisfied", "very_satisfied"]).to_numpy(float)
    strata = psus.set_index("psu")["variance_stratum"]
    checked = 0
    for row in ours[(ours["level"] == "province") & (ours["df"] >= 1)].itertuples():
        wanted = dict(part.split("=") for part in row.domain.split(","))
        assert tuple(wanted) == NEW
        inside = valid & (tidy[list(wanted)] == list(wanted.values())).all(axis=1)
        w = np.where(inside, tidy["weight"], 0.0)
        share = (w @ y) / w.sum()
        scores = pd.Series(w * (y - share) / w.sum()).groupby(tidy["psu"].to_numpy()).sum()
        scores = scores.reindex(strata.index, fill_value=0.0).groupby(strata)
        variance = (scores.size() * scores.var()).sum()
        assert row.n == inside.sum()
        np.testing.assert_allclose([row.estimate, row.se], [share, np.sqrt(variance)], rtol=1e-12)
        checked += 1
    assert checked == 24


KEY = ["indicator", "level", "unit_id", "domain"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_all_domains_at_once_are_the_domains_one_by_one(seed: int) -> None:
    # Also PSUs that lie in two districts, districts without a division, nulls, strata of one PSU, PSUs without a row.
    rng = np.random.default_rng(seed)
    count, districts = 200, ["a", "b", "c", "d"]
    psu = rng.integers(0, 14, count)
    frame = pd.DataFrame({"psu": psu.astype(str), "stratum": (psu // 3).astype(str)})
    frame["district_id"] = np.where(rng.random(count) < 0.1, "d", np.array(districts)[psu % 4])
    for name, values in {
        "sex": ["female", "male", None],
        "urban": ["urban", "rural"],
        "age_group": ["old", "young"],
    }.items():
        frame[name] = rng.choice(values, count)
    frame["wealth"] = None
    frame = frame.assign(weight=rng.uniform(0.5, 2, count), yes=rng.integers(0, 2, count).astype(float))
    frame["score"] = np.where(rng.random(count) < 0.3, np.nan, rng.normal(5, 2, count))
    valid = ~nw.col("score").is_null() & ~nw.col("score").is_nan()
    quantities = {
        "score": Quantity(valid, nw.col("score"), None, nw.col("yes") == 0.0),
        "share": Quantity(nw.col("age_group") == "old", nw.col("yes"), binary=True),
        "ratio": Quantity(valid, nw.col("yes"), nw.col("score")),
    }
    summed = totals(frame, quantities, CELL)
    design_psus = pd.DataFrame({"psu": [str(number) for number in range(15)]})
    design_psus["variance_stratum"] = [str(number // 3) for number in range(14)] + ["alone"]
    units = pd.DataFrame({"district_id": districts, "division_id": ["x", "x", "y", None], "province_id": "p"})
    kinds = {"score": "mean", "share": "share", "ratio": "mean"}
    dimensions = [*DOMAIN_DIMENSIONS, NEW]
    single = domain_estimates(domain_cells(summed, units, dimensions), design_from_psus(design_psus), kinds)
    single = single.astype(dict.fromkeys(KEY, "str")).sort_values(KEY, ignore_index=True)
    indicators = pd.DataFrame({"indicator": kinds.keys(), "kind": kinds.values()})
    ours = district_estimates(summed.assign(wave="one"), design_psus, units, indicators, dimensions=dimensions)
    assert ours[KEY].to_numpy().tolist() == single[KEY].to_numpy().tolist()
    for name in ("estimate", "se", "low", "high", "n", "n_eff", "psus", "df", "deff", "kish", "dont_know_share"):
        found, wanted = (table[name].to_numpy(float, na_value=np.nan) for table in (ours, single))
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12, err_msg=name)


# Weighted counts


@pytest.mark.parametrize(
    ("key", "file", "stratum", "psu"),
    [
        ("strat_wr", "apistrat.csv", "stype", None),
        ("strat_wr", "apistrat.csv", "stype", "snum"),
        ("clus1_wr", "apiclus1.csv", None, "dnum"),
        ("clus2_wr", "apiclus2.csv", None, "dnum"),
    ],
)
def test_totals_by_category_agree_with_r(
    shared_golden: Path, key: str, file: str, stratum: str | None, psu: str | None
) -> None:
    frame = pd.read_csv(shared_golden / file)
    golden = pd.DataFrame(json.loads((shared_golden / "r_golden_design.json").read_text())[key]["by_stype_total"])
    frame["enrolled"] = (frame["pw"] * frame["enroll"]).fillna(0.0)
    # As R does: who has no number adds nothing, but the PSU stays in the design.
    found = weighted_counts(frame, ["stype"], weight="enrolled", stratum=stratum, psu=psu)
    golden = golden.sort_values("stype")
    assert found["stype"].tolist() == golden["stype"].tolist()
    np.testing.assert_allclose(found["estimate"], golden["enroll"], rtol=1e-9)
    np.testing.assert_allclose(found["se"], golden["se"], rtol=1e-9)


def test_weighted_counts_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.choice(["x", "y", None], 300), "b": rng.integers(0, 3, 300)})
    frame = frame.assign(w=rng.uniform(0.5, 2, 300), h=rng.integers(0, 4, 300), j=rng.integers(0, 12, 300))
    frame["j"] = frame["h"] * 100 + frame["j"]
    found = weighted_counts(frame, ["a", "b"], "w", "h", "j")
    assert len(found) == 9
    assert found["n"].sum() == 300
    for row in found.itertuples():
        inside = (frame["a"].isna() if pd.isna(row.a) else frame["a"] == row.a) & (frame["b"] == row.b)
        taken = frame["w"].where(inside, 0.0).groupby([frame["h"], frame["j"]]).sum().groupby("h")
        np.testing.assert_allclose(row.estimate, frame.loc[inside, "w"].sum(), rtol=1e-12)
        np.testing.assert_allclose(row.se, np.sqrt((taken.size() * taken.var()).sum()), rtol=1e-12)


def test_a_stratum_of_one_unit_is_refused() -> None:
    frame = pd.DataFrame({"a": ["x", "y", "x"], "weight": 1.0, "h": ["one", "two", "two"]})
    with pytest.raises(InputError, match="stratum one"):
        weighted_counts(frame, ["a"], stratum="h")
