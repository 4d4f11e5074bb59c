"""Replicate weights of a producer: against R's survey package, textbook identities, and a wave that declares them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import hadamard

from perception.errors import InputError
from perception.estimation.contrasts import contrasts, difference_matrix
from perception.estimation.design import design_from_psus
from perception.estimation.domains import (
    SampledDomains,
    domain_cells,
    domain_covariance,
    domain_dimensions,
    domain_estimates,
    domain_totals,
    replicate_sums,
    sampled_domains,
)
from perception.estimation.gaps import subgroup_gaps
from perception.estimation.quantiles import domain_quantiles
from perception.estimation.replicates import (
    BACKGROUND_CELL,
    ReplicateSums,
    Scheme,
    replicate_factors,
    replicate_scheme,
    replicate_totals,
    scheme_of,
)
from perception.estimation.totals import CELL, Quantity, psu_totals, totals
from perception.estimation.trends import WaveSample, wave_trends
from perception.geography import Gazetteer, load_gazetteer, vintage_units
from perception.intake.harmonise import responses
from perception.intake.instrument import load_instrument
from perception.intake.raw import raw_responses
from perception.intake.wave_file import Replicates, load_wave
from perception.schemas import contract_breaches
from tests.conftest import ROOT, SMALL_INSTRUMENT, SMALL_WAVE, small_answers, write_small_wave
from tests.test_estimation_golden import TIGHT, Sample

Numbers = NDArray[np.float64]


def jackknife(frame: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Weights with each PSU left out in turn and its stratum's others raised; (n - 1)/n of the stratum for each."""
    weights, rscales = [], []
    for (stratum, psu), _ in frame.groupby(["stratum", "psu"], sort=True):
        inside = frame["stratum"] == stratum
        n = frame.loc[inside, "psu"].nunique()
        factor = np.where(inside, n / (n - 1), 1.0) * ~(inside & (frame["psu"] == psu))
        weights.append(frame["weight"].to_numpy() * factor)
        rscales.append((n - 1) / n)
    return np.column_stack(weights), np.array(rscales)


def sums_of(frame: pd.DataFrame, weights: Numbers, names: list[str], scheme: Scheme) -> ReplicateSums:
    """Sums by replicate of the whole sample, computed plainly."""
    domains = pd.DataFrame({"indicator": names, "level": "all", "unit_id": "all", "domain": "all"})
    wy = np.vstack([frame[name].to_numpy(float) @ weights for name in names])
    return ReplicateSums(scheme, domains, np.tile(weights.sum(axis=0), (len(names), 1)), wy)


@pytest.mark.parametrize("key", ["jk1", "jk1_fpc", "jkn", "jkn_fpc"])
def test_jackknife_errors_are_those_of_r(key: str, shared_golden: Path) -> None:
    sample = Sample(shared_golden, "clus1_wr" if key.startswith("jk1") else "strat_wr")
    golden = json.loads((shared_golden / "r_golden_design.json").read_text())["rep"][key]
    weights, rscales = jackknife(sample.frame)
    file = pd.read_csv(shared_golden / ("apiclus1.csv" if key.startswith("jk1") else "apistrat.csv"))
    if key.startswith("jk1"):
        count = weights.shape[1]
        corrected = (count - 1) / count * (1 - count / file["fpc"].iloc[0])
        declared = {"type": "jk1"} | ({"scale": corrected} if key.endswith("fpc") else {})
    else:
        sizes = file.groupby("stype")["snum"].transform("nunique") / file["fpc"]
        fraction = sample.frame.assign(f=sizes).groupby(["stratum", "psu"], sort=True)["f"].first().to_numpy()
        declared = {"type": "jkn", "rscales": (rscales * (1 - fraction if key.endswith("fpc") else 1)).tolist()}
    scheme = replicate_scheme(Replicates.model_validate(declared | {"columns": "rep*"}), weights.shape[1])
    names = ["api00", "enroll"]
    cells = sample.cells(names).query("domain == 'all'")
    replicates = sums_of(sample.frame, weights, names, scheme)
    kinds = dict.fromkeys(names, "mean")
    found = domain_estimates(cells, sample.design, kinds, replicates=replicates).set_index("indicator").loc[names]
    np.testing.assert_allclose(found["estimate"], [golden["coef"][name] for name in names], **TIGHT)
    np.testing.assert_allclose(found["se"], [golden["se"][name] for name in names], **TIGHT)
    rows, covariance = domain_covariance(cells, sample.design, replicates=replicates)
    errors = dict(zip(rows["indicator"], np.sqrt(np.diag(covariance)), strict=True))
    np.testing.assert_allclose([errors[name] for name in names], [golden["se"][name] for name in names], **TIGHT)


def test_what_a_type_means_for_the_scale() -> None:
    def scheme(**declared: Any) -> Scheme:
        return replicate_scheme(Replicates.model_validate({"columns": "w*"} | declared), 4)

    assert scheme(type="brr").scale == 1 / 4
    assert scheme(type="fay", rho=0.5).scale == 1
    assert scheme(type="jk1").scale == 3 / 4
    assert scheme(type="jkn", rscales=[0.5, 0.5, 0.8, 0.8]).scale == 1
    assert scheme(type="bootstrap").scale == 1 / 3
    assert scheme(type="bootstrap", scale=0.1, mse=True).scale == 0.1
    thetas = np.array([[1.0], [2.0], [3.0], [6.0]])
    assert scheme(type="brr").variances(thetas, [2.0])[0] == pytest.approx((4 + 1 + 0 + 9) / 4)  # around 3
    assert scheme(type="brr", mse=True).variances(thetas, [2.0])[0] == pytest.approx((1 + 0 + 1 + 16) / 4)  # around 2
    # A replicate of scale zero does not count for the mean either.
    counted = scheme(type="jkn", rscales=[1, 1, 1, 0]).variances(thetas, [2.0])[0]
    assert counted == pytest.approx(1 + 0 + 1)


@pytest.mark.parametrize("rho", [None, 0.3])
def test_balanced_half_samples_have_the_linearised_variance_of_a_linear_estimate(rho: float | None) -> None:
    """Two PSUs a stratum, strata balanced by a Hadamard matrix: equal for totals (McCarthy 1969, Fay 1989)."""
    rng, strata = np.random.default_rng(1), 7
    signs = hadamard(8)[:, 1:]  # replicates x strata
    frame = pd.DataFrame(
        {"district_id": "one", "sex": None, "urban": None, "age_group": None, "wealth": None}, index=range(strata * 4)
    )
    frame["stratum"] = np.repeat([f"s{h}" for h in range(strata)], 4)
    frame["psu"] = frame["stratum"] + np.tile(["a", "a", "b", "b"], strata)
    frame["y"], frame["weight"] = rng.normal(5, 2, len(frame)), rng.uniform(1, 3, len(frame))
    side = np.where(frame["psu"].str.endswith("a"), 1.0, -1.0)
    strength = 1.0 if rho is None else 1 - rho
    factors = 1 + strength * side[:, None] * np.repeat(signs.T, 4, axis=0)
    declared = {"type": "brr"} if rho is None else {"type": "fay", "rho": rho}
    scheme = replicate_scheme(Replicates.model_validate(declared | {"columns": "w*"}), 8)
    units = pd.DataFrame({"district_id": ["one"], "division_id": ["one"], "province_id": ["one"]})
    by = ["district_id", "sex", "urban", "age_group", "wealth", "stratum", "psu"]
    cells = domain_cells(totals(frame, {"y": Quantity(~nw.col("y").is_null(), nw.col("y"))}, by), units)
    psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    linearised = domain_totals(cells, design_from_psus(psus))["se"].iloc[0]
    thetas = (frame["weight"].to_numpy() * frame["y"].to_numpy()) @ factors
    total = float(frame["weight"] @ frame["y"])
    assert np.sqrt(scheme.variances(thetas[:, None], [total])[0]) == pytest.approx(linearised, rel=1e-12)


def test_a_replicate_without_weight_in_a_domain_leaves_it_without_an_error() -> None:
    domains = pd.DataFrame({"indicator": ["y"], "level": ["all"], "unit_id": ["all"], "domain": ["all"]})
    scheme = Scheme(1.0, np.ones(2))
    empty = ReplicateSums(scheme, domains, np.array([[0.0, 3.0]]), np.array([[0.0, 1.0]]))
    scores = empty.deviations(domains, [0.5])
    assert np.isnan(scheme.spread(scores)).all()
    with pytest.raises(KeyError, match="without replicate sums"):
        empty.deviations(domains.assign(domain="sex=female"), [0.5])

    # Nor has a difference from it; degrees of freedom are at most the replicates less one.
    design = design_from_psus(pd.DataFrame({"variance_stratum": "a", "psu": list("123456")}))
    both = SampledDomains(
        pd.DataFrame({"estimate": [0.5, 0.2], "simple": 1.0}),
        design,
        np.hstack([scores, [[0.1], [-0.1]]]),
        sparse.csc_array(np.ones((6, 2))),
        scheme,
    )
    found = contrasts(both, [[1, -1], [0, 1]]).rows
    assert found["variance"].isna().tolist() == [True, False]
    assert found["variance"].iloc[1] == pytest.approx(0.02)
    assert found["df"].tolist() == [1, 1]


def test_gaps_with_jackknife_weights_are_those_of_r() -> None:
    folder = ROOT / "tests/golden"
    golden = pd.read_csv(folder / "replicate_gaps.csv")
    frame = pd.read_csv(folder / "raking_sample.csv").rename(columns={"d": "weight"})
    frame = frame.assign(wave="w", wealth=None)
    weights, rscales = jackknife(frame)
    by_replicate, answers = [], {}
    for name in ("satisfied", "score"):
        valid = frame[name].notna().to_numpy()
        columns = {
            f"{kind}_{number + 1}": weights[valid, number] * factor
            for kind, factor in (("wx", 1.0), ("wy", frame.loc[valid, name].to_numpy(float)))
            for number in range(weights.shape[1])
        }
        cells = frame.loc[valid, BACKGROUND_CELL].reset_index(drop=True)
        by_replicate.append(pd.concat([cells.assign(indicator=name), pd.DataFrame(columns)], axis="columns"))
        answers[name] = Quantity(~nw.col(name).is_null(), nw.col(name))
    units = frame[["district_id", "province_id"]].drop_duplicates().assign(division_id=lambda f: f["district_id"])
    psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    gaps = subgroup_gaps(
        totals(frame, answers, ["wave", *CELL]),
        psus,
        units,
        replicate_totals=pd.concat(by_replicate),
        scheme=Scheme(1.0, rscales),
    )
    shown = gaps[(gaps["gap"] == "sex") & gaps["level"].isin(["district", "all"])]
    both = golden.merge(shown, on=["indicator", "unit_id"], suffixes=("", "_ours"), validate="1:1")
    assert len(both) == len(golden) == 12
    np.testing.assert_allclose(both["estimate_ours"], both["estimate"], rtol=1e-9)
    np.testing.assert_allclose(both["se_ours"], both["se"], rtol=1e-9)


# A wave that declares them

JACKKNIFE = "replicates: {type: jkn, columns: 'rep_*', rscales: RSCALES}"


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(ROOT / "data/raw/reference")


def wave_with(declared: str) -> str:
    return SMALL_WAVE.replace("psu: psu}", f"psu: psu, {declared}}}")


@pytest.fixture
def with_replicates(tmp_path: Path, gazetteer: Gazetteer) -> Callable[..., tuple[Any, ...]]:
    """The small wave with the jackknife weights of its own design: (wave, instrument, responses file, frame)."""

    def make(combined: bool = True, declared: str | None = None, **changed: Any) -> tuple[Any, ...]:
        answers = small_answers()
        known = answers.rename(columns={"district": "stratum", "w": "weight"}).astype({"psu": "str"})
        weights, rscales = jackknife(known)
        columns = {f"rep_{number}": weights[:, number - 1] for number in range(1, weights.shape[1] + 1)}
        if not combined:
            columns = {name: values / answers["w"] for name, values in columns.items()}
        answers = answers.assign(**columns).assign(**changed)
        text = declared or JACKKNIFE.replace("RSCALES", str(rscales.tolist()))
        if not combined:
            text = text.replace("jkn,", "jkn, combined: false,")
        (tmp_path / "small.yml").write_text(SMALL_INSTRUMENT, encoding="utf-8")
        instrument = load_instrument(tmp_path / "small.yml")
        folder = write_small_wave(tmp_path / "small-2021", answers, wave_with(text))
        wave = load_wave(folder)
        tidy = responses(raw_responses(wave, folder), wave, instrument, gazetteer)
        tidy.to_parquet(tmp_path / "responses.parquet")
        return wave, instrument, tmp_path / "responses.parquet", tidy

    return make


@pytest.mark.parametrize("combined", [True, False])
def test_a_jackknife_of_the_design_has_nearly_its_errors(
    combined: bool, with_replicates: Callable[..., tuple[Any, ...]], gazetteer: Gazetteer
) -> None:
    wave, instrument, file, tidy = with_replicates(combined)
    names = [name for name in tidy if name.startswith("replicate_weight_")]
    assert names == [f"replicate_weight_{number}" for number in range(1, 31)]
    np.testing.assert_allclose(tidy[names].sum().to_numpy(), tidy["weight"].sum(), rtol=0.2)
    summed, by_replicate = psu_totals(file, instrument), replicate_totals(file, wave, instrument)
    assert contract_breaches(by_replicate, "replicate_totals") == []
    units = vintage_units(gazetteer, "2018")
    psus = tidy[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    design, dimensions = design_from_psus(psus), domain_dimensions(summed)
    cells = domain_cells(summed, units, dimensions)
    factors = replicate_factors(wave, list(tidy))
    assert contract_breaches(factors, "replicate_factors") == []
    scheme = scheme_of(factors.sample(frac=1, random_state=1))
    assert scheme.rscales.tolist() == replicate_scheme(wave.design.replicates, len(names)).rscales.tolist()
    kinds = {"satisfied": "share", "was_heard": "share"}
    replicates = replicate_sums(by_replicate, scheme, units, dimensions)
    ours = domain_estimates(cells, design, kinds, replicates=replicates)
    linearised = domain_estimates(cells, design, kinds)
    np.testing.assert_array_equal(ours["estimate"], linearised["estimate"])
    np.testing.assert_allclose(ours["se"], linearised["se"], rtol=0.05)
    assert not np.allclose(ours["se"], linearised["se"], rtol=1e-6)
    assert (ours["df"] == np.minimum(linearised["df"], 29)).all()

    # One domain worked out from the rows themselves
    member = ((tidy["district_id"] == "kp-swat") & (tidy["sex"] == "female") & tidy["service"].notna()).to_numpy()
    weights, good = tidy.loc[member, names].to_numpy(float), (tidy.loc[member, "service"] == "good").to_numpy(float)
    thetas = good @ weights / weights.sum(axis=0)
    expected = np.sqrt((scheme.rscales * (thetas - thetas.mean()) ** 2).sum())
    row = ours.set_index(["indicator", "unit_id", "domain"]).loc[("satisfied", "kp-swat", "sex=female")]
    assert row["se"] == pytest.approx(expected, rel=1e-9)

    # The difference of two domains knows what they share.
    chosen = cells[
        (cells["indicator"] == "satisfied") & (cells["level"] == "all") & cells["domain"].str.startswith("sex=")
    ]
    sampled = sampled_domains(chosen, design, replicates=replicates)
    matrix = difference_matrix(sampled.domains, [({"domain": "sex=female"}, {"domain": "sex=male"})])
    gap = contrasts(sampled, matrix).rows.iloc[0]
    covariance = domain_covariance(chosen, design, replicates=replicates)[1]
    assert gap["variance"] == pytest.approx((matrix @ covariance @ matrix.T).item(), rel=1e-9)
    apart = {
        sex: (tidy.loc[own, "service"] == "good").to_numpy(float)
        @ tidy.loc[own, names].to_numpy(float)
        / tidy.loc[own, names].to_numpy(float).sum(axis=0)
        for sex in ("female", "male")
        for own in [((tidy["sex"] == sex) & tidy["service"].notna()).to_numpy()]
    }
    difference = apart["female"] - apart["male"]
    expected = (scheme.rscales * (difference - difference.mean()) ** 2).sum()
    assert gap["variance"] == pytest.approx(expected, rel=1e-9)
    assert gap["df"] == 25

    # The table of gaps and the change between two such waves say the same.
    gaps = subgroup_gaps(summed, psus, units, replicate_totals=by_replicate, scheme=scheme)
    assert contract_breaches(gaps, "subgroup_gaps") == []
    row = gaps.set_index(["indicator", "level", "gap"]).loc[("satisfied", "all", "sex")]
    assert row["se"] == pytest.approx(np.sqrt(expected), rel=1e-9)
    sample = WaveSample(
        "w1", "2018", summed, psus.merge(tidy[["psu", "district_id"]].drop_duplicates()), pd.DataFrame()
    )
    sample = replace(sample, replicate_totals=by_replicate, scheme=scheme)
    known = [("indicator", name, "same", None) for name in kinds] + [("background", "sex", "same", None)]
    comparable = pd.DataFrame(known, columns=["kind", "name", "verdict", "reason"])
    higher = pd.Series(True, index=list(kinds))
    for shared, change_of_gap in ((False, 2 * expected), (True, 0.0)):
        changes = wave_trends(sample, replace(sample, wave="w2"), gazetteer, comparable, higher, shared)
        change = changes.set_index(["indicator", "level", "domain"]).loc[("satisfied", "all", "gap:sex")]
        assert change["se"] == pytest.approx(np.sqrt(change_of_gap), rel=1e-9)


def test_quantiles_take_their_error_from_the_replicates(with_replicates: Callable[..., tuple[Any, ...]]) -> None:
    _, _, _, tidy = with_replicates()
    names = [name for name in tidy if name.startswith("replicate_weight_")]
    rng = np.random.default_rng(2)
    people = tidy.assign(y=rng.normal(0, 1, len(tidy)), indicator="y", answered=True, dont_know=False, refused=False)
    units = pd.DataFrame({"district_id": people["district_id"].unique(), "division_id": "v", "province_id": "p"})
    psus = tidy[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    scheme = Scheme(1.0, np.full(len(names), 5 / 6))
    found = domain_quantiles(people, 0.5, units, design_from_psus(psus), [()], scheme=scheme)
    row = found[found["level"] == "all"].iloc[0]
    below, weights = (people["y"] <= row["estimate"]).to_numpy(float), tidy[names].to_numpy(float)
    thetas = below @ weights / weights.sum(axis=0)
    variance = scheme.variances(thetas[:, None], [0.5])[0]
    share = np.average(below, weights=tidy["weight"])
    assert row["deff"] == pytest.approx(variance / (share * (1 - share) / (len(tidy) - 1)), rel=1e-9)


def test_a_wave_without_replicate_weights_has_no_totals(with_replicates: Callable[..., tuple[Any, ...]]) -> None:
    wave, instrument, file, _ = with_replicates()
    bare = wave.model_copy(update={"design": wave.design.model_copy(update={"replicates": None})})
    assert replicate_totals(file, bare, instrument).empty
    assert scheme_of(replicate_factors(bare, ["weight"])) is None
    assert set(BACKGROUND_CELL) | {"stratum", "psu"} == set(CELL)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rep_7": -1.0}, "rep_7 .*600 of 600 rows have no weight of zero or more"),
        ({"rep_7": ["x", *[1.0] * 599]}, "rep_7 .*1 of 600 rows have no weight"),
        ({"rep_7": 0.0}, "rep_7 .*is zero in every row"),
        ({"rep_31": 1.0}, "are 31 columns, `rscales` 30 numbers"),
    ],
)
def test_replicate_weights_that_cannot_be(
    changed: dict[str, Any], said: str, with_replicates: Callable[..., tuple[Any, ...]]
) -> None:
    with pytest.raises(InputError, match=said):
        with_replicates(**changed)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("replicates: {type: brr, columns: 'other_*'}", "are 0 columns"),
        ("replicates: {type: brr, columns: [rep_1, rep_99]}", "design.replicates: column 'rep_99' is in none of"),
        ("replicates: {type: fay, columns: 'rep_*'}", "fay needs it"),
        ("replicates: {type: brr, rho: 0.3, columns: 'rep_*'}", "`rho` belongs to type fay"),
        ("replicates: {type: jkn, columns: 'rep_*'}", "jkn needs `rscales`"),
        ("replicates: {type: brr, columns: [rep_1, rep_1]}", "names a column twice"),
        ("replicates: {type: brr, columns: rep_1}", "columns"),
    ],
)
def test_declarations_that_cannot_be(declared: str, said: str, with_replicates: Callable[..., tuple[Any, ...]]) -> None:
    with pytest.raises(InputError, match=said):
        with_replicates(declared=declared)


def test_weights_of_ones_own_have_no_replicates(tmp_path: Path) -> None:
    declared = yaml.safe_load(wave_with("replicates: {type: brr, columns: 'rep_*'}").replace("weight: w, ", ""))
    declared["variables"]["heard"] = {"source": "q2", "map": {0: "no", 1: "yes"}}
    declared["weighting"] = {"base": "w"}
    folder = tmp_path / "small-2021"
    folder.mkdir()
    (folder / "wave.yml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    with pytest.raises(InputError, match="know nothing of"):
        load_wave(folder)


def test_columns_of_a_pattern_stand_in_the_order_of_their_numbers() -> None:
    declared = Replicates.model_validate({"type": "brr", "columns": "rep_*"})
    assert declared.named(["rep_10", "id", "rep_2", "rep_1"]) == ["rep_1", "rep_2", "rep_10"]
