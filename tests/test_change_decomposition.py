"""Decomposition of a change: against R on simulated waves, against refits from rows, and against a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from perception import wave_tables
from perception.drivers.change import (
    Block,
    DriverSample,
    Respondents,
    change_decomposition,
    decompose_change,
    wave_change_decomposition,
)
from perception.drivers.models import SurveyLogit
from perception.errors import InputError
from perception.estimation.design import design_from_psus
from perception.estimation.jackknife import left_out
from perception.estimation.publication import published_change_decomposition
from perception.estimation.trends import shared_psus
from perception.intake.codebook import compared_quantities
from perception.intake.instrument import Instrument
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.schemas import TABLES, contract_breaches

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = pd.read_csv(Path(__file__).parent / "golden/oaxaca_parts.csv")
KEY = ["part", "driver"]
PARTS = ["endowments", "effects", "interaction"]
BLOCKS = [Block("score", "score", 1, False), Block("tenure", "tenure", 2, True), Block("sex", "composition", 1, True)]


def respondents(seed: int, psus: int = 8, strata: int = 3, rows: int = 400, **facts: Any) -> Respondents:
    """A small clustered sample: a score, two columns of a category of three, one of two; PSUs may have no row."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"variance_stratum": np.arange(strata * psus) // psus, "psu": np.arange(strata * psus)})
    design = design_from_psus(frame.assign(**facts))
    where = rng.integers(strata * psus - 1, size=rows)
    score, tenure, sex = rng.normal(2, 1.5, rows), rng.integers(3, size=rows), rng.integers(2, size=rows)
    chance = 0.4 + 0.1 * (score - 2) - 0.2 * (tenure == 1) + 0.1 * sex + rng.normal(0, 0.1, strata * psus)[where]
    outcome = (rng.random(rows) < chance).astype(float)
    columns = np.column_stack([score, tenure == 1, tenure == 2, sex]).astype(float)
    return Respondents(outcome, columns, rng.uniform(0.5, 3, rows), where, design)


def table_of(before: Respondents, after: Respondents, *args: Any) -> pd.DataFrame:
    return decompose_change(before, after, BLOCKS, *args).set_index(KEY)


# --- against R ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def waves() -> tuple[DriverSample, DriverSample, pd.DataFrame]:
    """Samples of kp-2021 and kp-2024, and how the second compares with the first."""
    project = Project(ROOT)
    samples = []
    for wave in ("kp-2021", "kp-2024"):
        inputs = open_wave(project, wave)
        raw = raw_responses(inputs.wave, inputs.folder)
        tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw)
        samples.append(DriverSample(wave, tidy, psus, inputs.instrument))
    changes = wave_tables.codebook_changes(project, inputs, wave_tables.wave_codebook(inputs, raw))
    return samples[0], samples[1], compared_quantities(changes, inputs.wave, inputs.instrument)


@pytest.mark.parametrize(
    ("case", "outcome"),
    [("waves", "satisfied_health"), ("waves", "satisfied_district"), ("sexes", "satisfied_district")],
)
def test_parts_and_standard_errors_are_those_of_r(
    waves: tuple[DriverSample, DriverSample, pd.DataFrame], case: str, outcome: str
) -> None:
    before, after, comparability = waves
    if case == "sexes":  # women and men of one wave, who share all its PSUs
        women, men = (after.responses["sex"] == sex for sex in ("female", "male"))
        before, after = replace(after, responses=after.responses[women]), replace(after, responses=after.responses[men])
        comparability = comparability.assign(verdict="same")
    ours = wave_change_decomposition(before, after, comparability, shared=case == "sexes")
    ours = ours[ours["outcome"] == outcome].set_index(KEY)
    theirs = GOLDEN[(GOLDEN["case"] == case) & (GOLDEN["outcome"] == outcome)].set_index(KEY)
    assert set(ours.index) == set(theirs.index)
    ours = ours.loc[theirs.index]
    assert len(ours) > 15
    for column in ("estimate", "se"):
        np.testing.assert_allclose(ours[column].astype(float), theirs[column], rtol=1e-9, atol=1e-12)
    for column in ("n_before", "n_after"):
        assert ours[column].tolist() == theirs[column].tolist()


def test_linear_and_logit_effects_agree_where_shares_are_in_the_middle(
    waves: tuple[DriverSample, DriverSample, pd.DataFrame],
) -> None:
    # A wave against itself with everybody one step higher on a score: endowments are that score's linear coefficient.
    # Close means closer than sampling lets either be known.
    sample = waves[1]
    scores = ["safety_after_dark", "local_government_responds"]
    scales = {name: {answer: place for place, answer in enumerate(sample.instrument.scale(name))} for name in scores}
    frame = pd.DataFrame({name: sample.responses[name].astype("str").map(scales[name]) for name in scores})
    answer = sample.responses["district_satisfaction"].astype("str")
    valid = answer.isin(sample.instrument.scale("district_satisfaction")) & frame.notna().all(axis=1)
    y = answer[valid].isin(["satisfied", "very_satisfied"]).astype(float)
    design = design_from_psus(sample.design_psus)
    own = sample.responses[valid]
    strata = own["psu"].map(sample.design_psus.set_index("psu")["variance_stratum"])
    logit = SurveyLogit(
        y,
        frame[valid].assign(const=1.0),
        weights=own["weight"],
        strata=strata,
        psu=own["psu"],
        design_psus=sample.design_psus,
    ).fit()
    average = logit.average_marginal_effects()
    rows = design.psu_index(strata.tolist(), own["psu"].tolist())
    now = Respondents(y.to_numpy(), frame[valid].to_numpy(float), own["weight"].to_numpy(float), rows, design)
    blocks = [Block(name, name, 1, False) for name in scores]
    assert 0.3 < np.average(now.outcome, weights=now.weights) < 0.7
    for place, name in enumerate(scores):
        higher = replace(now, columns=now.columns + np.eye(len(scores))[place])
        found = decompose_change(now, higher, blocks).set_index(KEY)["estimate"]
        assert found["change", "all"] == pytest.approx(0, abs=1e-12)
        assert found["endowments", name] == pytest.approx(average.loc[name, "effect"], abs=average.loc[name, "se"])
        assert abs(found["endowments", name]) > 10 * average.loc[name, "se"]


# --- arithmetic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_the_change_of_the_weighted_means(seed: int) -> None:
    before, after = respondents(seed), respondents(seed + 100, rows=300)
    found = table_of(before, after)["estimate"]
    change = np.average(after.outcome, weights=after.weights) - np.average(before.outcome, weights=before.weights)
    assert found["change", "all"] == pytest.approx(change, abs=1e-13)
    for part in PARTS:
        own = found[part]
        assert own.drop("all").sum() == pytest.approx(own["all"], abs=1e-13)
    assert found.xs("all", level="driver")[PARTS].sum() == pytest.approx(change, abs=1e-13)


def test_back_again_turns_the_sign_of_the_change_and_swaps_the_weights() -> None:
    one, other = respondents(1), respondents(2)
    there, back = table_of(one, other)["estimate"], table_of(other, one)["estimate"]
    for driver in ("score", "tenure", "composition", "all"):
        for part in ("endowments", "effects"):
            assert back[part, driver] == pytest.approx(-there[part, driver] - there["interaction", driver], abs=1e-12)
        assert back["interaction", driver] == pytest.approx(there["interaction", driver], abs=1e-12)


def test_parts_do_not_depend_on_the_reference_category() -> None:
    def with_another_reference(side: Respondents) -> Respondents:
        score, first, second, sex = side.columns.T
        return replace(side, columns=np.column_stack([score, 1 - first - second, first, 1 - sex]))

    before, after = respondents(3), respondents(4)
    found, other = table_of(before, after), table_of(with_another_reference(before), with_another_reference(after))
    for column in ("estimate", "se", "p"):
        np.testing.assert_allclose(other[column], found[column], rtol=1e-9, atol=1e-12)
    # Without categories taken as such, the reference does matter.
    plain = [replace(block, categories=False) for block in BLOCKS]
    one = decompose_change(before, after, plain).set_index(KEY)["estimate"]
    another = decompose_change(with_another_reference(before), with_another_reference(after), plain).set_index(KEY)
    assert abs(one["effects", "tenure"] - another["estimate"]["effects", "tenure"]) > 0.01


def test_another_zero_of_a_score_moves_effects_to_the_level_alone() -> None:
    before, after = respondents(3), respondents(4)
    shift = np.array([10.0, 0, 0, 0])
    moved = [replace(side, columns=side.columns + shift) for side in (before, after)]
    found, other = table_of(before, after)["estimate"], table_of(moved[0], moved[1])["estimate"]
    apart = (other - found).abs()
    assert set(apart.index[apart > 1e-10]) == {("effects", "score"), ("effects", "level")}
    both = [("effects", "score"), ("effects", "level")]
    assert other[both].sum() == pytest.approx(found[both].sum(), abs=1e-10)


# --- the jackknife -----------------------------------------------------------------------------------------------


def by_hand(before: Respondents, after: Respondents, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Endowments of all, effects of all and their interaction, refitted from rows with other weights."""
    fits = []
    for side, own in zip((before, after), weights, strict=True):
        x = np.column_stack([np.ones(len(side.outcome)), side.columns])
        root = np.sqrt(own)[:, None]
        slopes = np.linalg.lstsq(x * root, side.outcome * root[:, 0])[0]
        fits.append((np.average(x, axis=0, weights=own), slopes))
    (x0, b0), (x1, b1) = fits
    return np.array([(x1 - x0) @ b0, x0 @ (b1 - b0), (x1 - x0) @ (b1 - b0)])


def left_out_weights(side: Respondents, psu: int, psus: int = 8) -> np.ndarray:
    same = side.psu_rows // psus == psu // psus
    return side.weights * np.where(same, psus / (psus - 1), 1.0) * (side.psu_rows != psu)


@pytest.mark.parametrize("kept", [0, 3, 8], ids=["independent", "partly shared", "all shared"])
def test_the_jackknife_leaves_a_psu_out_of_the_waves_that_have_it(kept: int) -> None:
    before, after = respondents(5), respondents(6)
    names = before.design.psus.assign(psu=lambda psus: psus["psu"].where(psus["psu"] % 8 < kept, psus["psu"] + 1000))
    after = replace(after, design=design_from_psus(names))
    pairs = shared_psus(before.design, after.design, "before", "after") if kept else None
    table = table_of(before, after, pairs)
    full = by_hand(before, after, (before.weights, after.weights))
    variance = np.zeros(3)
    for psu in range(24):
        old, new = left_out_weights(before, psu), left_out_weights(after, psu)
        runs = [(old, new)] if psu % 8 < kept else [(old, after.weights), (before.weights, new)]
        variance += sum(7 / 8 * (by_hand(before, after, run) - full) ** 2 for run in runs)
    found = table.xs("all", level="driver").loc[PARTS]
    np.testing.assert_allclose(found["estimate"], full, rtol=1e-9)
    np.testing.assert_allclose(found["se"], np.sqrt(variance), rtol=1e-9)
    if kept:
        assert (found["df"] == 23 - 3).all()  # the PSU without a row does not count
    else:
        assert ((found["df"] > 20) & (found["df"] <= 40)).all()
    reach = stats.t.ppf(0.975, found["df"]) * found["se"]
    np.testing.assert_allclose(found["high"] - found["estimate"], reach, rtol=1e-9)
    np.testing.assert_allclose(found["p"], 2 * stats.t.sf(np.abs(full / found["se"]), found["df"]), rtol=1e-9)


def test_shared_psus_in_strata_of_other_sizes_keep_the_variance_of_each_wave() -> None:
    # Equal weights and takes make the mean linear in PSU means, so that the covariance can be written out.
    rng, rows = np.random.default_rng(7), 6

    def wave(psus: np.ndarray) -> Respondents:
        design = design_from_psus(pd.DataFrame({"variance_stratum": 0, "psu": psus}))
        where = np.repeat(np.arange(len(psus)), rows)
        y = (rng.random(len(where)) < rng.uniform(0.1, 0.9, len(psus))[where]).astype(float)
        return Respondents(y, rng.normal(size=(len(y), 1)), np.ones(len(y)), where, design)

    before, after = wave(np.arange(10)), wave(np.arange(4, 20))
    pairs = shared_psus(before.design, after.design, "before", "after")
    block = [Block("score", "score", 1, False)]
    table = decompose_change(before, after, block, pairs).set_index(KEY)
    deviations, variances = [], []
    for side in (before, after):
        means = side.outcome.reshape(-1, rows).mean(axis=1)
        deviations.append((means - means.mean()) / np.sqrt(len(means) * (len(means) - 1)))
        variances.append((deviations[-1] ** 2).sum())
    covariance = (deviations[0][4:] * deviations[1][:6]).sum()
    assert abs(covariance) > 0.05 * sum(variances)
    assert table.loc[("change", "all"), "se"] ** 2 == pytest.approx(sum(variances) - 2 * covariance, rel=1e-9)


def test_the_jackknife_of_a_total_is_its_design_variance_with_finite_populations() -> None:
    rng = np.random.default_rng(9)
    psus = pd.DataFrame({"variance_stratum": np.arange(12) // 4, "psu": np.arange(12)})
    design = design_from_psus(psus.assign(population_psus=np.repeat([8, 5, 40], 4)))
    sums = rng.normal(size=(12, 2, 2))
    without = left_out(sums, design)
    total = sums.sum(axis=0)
    found = without.scheme.variances(without.sums.reshape(12, -1), total.ravel())
    np.testing.assert_allclose(found, design.variances(sums.reshape(12, -1)), rtol=1e-12)


def test_intervals_hold_the_truth() -> None:
    # The chance is linear in score and category, PSUs add what has nothing to do with these: the truth is known.
    rng, draws, psus, take = np.random.default_rng(11), 1000, 30, 12
    middle, slopes, constant = (0.40, 0.55), (0.40, 0.25), (0.20, 0.30)
    shares = np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
    of_category = np.array([[0.0, 0.10, 0.25], [0.0, 0.15, 0.10]])
    design = design_from_psus(pd.DataFrame({"variance_stratum": np.arange(psus) // 15, "psu": np.arange(psus)}))
    where = np.repeat(np.arange(psus), take)
    blocks = [Block("score", "score", 1, False), Block("tenure", "tenure", 2, True)]

    def drawn(wave: int) -> Respondents:
        score = middle[wave] + rng.uniform(-0.1, 0.1, psus)[where] + rng.uniform(-0.3, 0.3, len(where))
        tenure = rng.choice(3, size=len(where), p=shares[wave])
        chance = constant[wave] + slopes[wave] * score + of_category[wave][tenure]
        y = rng.random(len(where)) < chance + rng.uniform(-0.08, 0.08, psus)[where]
        columns = np.column_stack([score, tenure == 1, tenure == 2]).astype(float)
        return Respondents(y.astype(float), columns, rng.uniform(0.5, 2, len(where)), where, design)

    normed = of_category - of_category.mean(axis=1, keepdims=True)
    gap, more = np.diff(slopes)[0], np.diff(middle)[0]
    level = np.diff(constant)[0] + np.diff(of_category.mean(axis=1))[0]
    turned, moved = normed[1] - normed[0], shares[1] - shares[0]
    truth = {
        ("endowments", "score"): more * slopes[0],
        ("endowments", "tenure"): moved @ normed[0],
        ("effects", "score"): middle[0] * gap,
        ("effects", "tenure"): shares[0] @ turned,
        ("effects", "level"): level,
        ("interaction", "score"): more * gap,
        ("interaction", "tenure"): moved @ turned,
    }
    totals = {(part, "all"): sum(v for (own, _), v in truth.items() if own == part) for part in PARTS}
    truth |= totals | {("change", "all"): sum(totals.values())}
    held = pd.Series(0, index=pd.MultiIndex.from_tuples(list(truth)))
    true = pd.Series(truth)
    for _ in range(draws):
        table = decompose_change(drawn(0), drawn(1), blocks).set_index(KEY).loc[true.index]
        held += ((table["low"] <= true) & (true <= table["high"])).astype(int)
    low, high = stats.binom.ppf([0.0005, 0.9995], draws, 0.95)
    assert held.between(low, high).all(), held.to_dict()


# --- messages ----------------------------------------------------------------------------------------------------


def message(before: Respondents, after: Respondents) -> str:
    with pytest.raises(InputError) as caught:
        decompose_change(before, after, BLOCKS, None, "wave b since a, model m")
    return str(caught.value)


def test_what_cannot_be_solved_is_named() -> None:
    fine = respondents(1)
    same = replace(fine, columns=fine.columns[:, [0, 1, 2, 1]])
    text = message(fine, same)
    assert "wave b since a, model m, after: tenure, sex determine each other (collinear)" in text
    few = replace(fine, design=design_from_psus(fine.design.psus.iloc[:7]), psu_rows=fine.psu_rows % 5)
    assert "before: 5 PSUs with cases leave 4 degrees of freedom for 5 coefficients" in message(few, fine)
    alone = fine.columns.copy()
    alone[fine.psu_rows != 4, 3] = 0
    alone[np.flatnonzero(fine.psu_rows == 4)[0], 3] = 1
    assert "without PSU 4 columns determine each other" in message(fine, replace(fine, columns=alone))


# --- which predictors enter --------------------------------------------------------------------------------------

INSTRUMENT = {
    "id": "two-waves",
    "title": "Two waves",
    "source": "made for tests",
    "questions": {
        "service": {"label": "How is it?", "type": "ordinal", "categories": {"bad": "Bad", "good": "Good"}},
        "staff": {
            "label": "Staff are polite",
            "type": "ordinal",
            "categories": {"no": "No", "partly": "Partly", "yes": "Yes"},
        },
        "heard": {
            "label": "Were you heard?",
            "type": "category",
            "categories": {"no": "No", "yes": "Yes", "other": "Other"},
        },
    },
    "indicators": {
        "satisfied": {"label": "Satisfied", "question": "service", "positive": ["good"], "population": "adults"},
        "was_heard": {"label": "Was heard", "question": "heard", "positive": ["yes"], "population": "adults"},
    },
    "driver_models": {
        "satisfaction": {
            "label": "What goes with satisfaction",
            "outcome": "satisfied",
            "drivers": [{"variable": "staff", "form": "score"}, {"variable": "heard"}],
            "controls": [{"variable": "sex"}, {"variable": "age_group"}],
        }
    },
}


def sample(wave: str, seed: int) -> DriverSample:
    rng, rows = np.random.default_rng(seed), 600
    frame = pd.DataFrame(
        {
            "wave": wave,
            "psu": rng.integers(30, size=rows).astype("str"),
            "weight": rng.uniform(0.5, 2, rows),
            "service": rng.choice(["bad", "good", "dont_know"], rows, p=[0.45, 0.45, 0.1]),
            "staff": rng.choice(["no", "partly", "yes"], rows),
            "heard": rng.choice(["no", "yes"], rows),
            "sex": rng.choice(["female", "male"], rows),
            "age_group": rng.choice(["<25", "25-34"], rows),
        }
    )
    psus = pd.DataFrame({"variance_stratum": "all", "psu": [str(number) for number in range(30)]})
    return DriverSample(wave, frame, psus, Instrument.model_validate(INSTRUMENT))


def compared(**verdicts: tuple[str, str]) -> pd.DataFrame:
    """Table `comparability` in which everything is the same but what `verdicts` say of variables and indicators."""
    kinds = {
        "indicator": ["satisfied", "was_heard"],
        "question": ["staff", "heard", "service"],
        "background": ["sex", "age"],
    }
    rows = [
        ("after", "before", kind, name, *verdicts.get(name, ("same", None)))
        for kind, names in kinds.items()
        for name in names
    ]
    return pd.DataFrame(rows, columns=TABLES["comparability"].names)


def decomposed(before: DriverSample, after: DriverSample, comparability: pd.DataFrame) -> pd.DataFrame:
    table = wave_change_decomposition(before, after, comparability).assign(simulated=False)
    assert table["left_out"].nunique(dropna=False) == 1
    return table


def test_a_break_of_the_outcome_leaves_a_row_that_says_why() -> None:
    table = decomposed(sample("before", 1), sample("after", 2), compared(satisfied=("break", "asked by telephone")))
    assert table[["part", "driver", "obstacle"]].to_numpy().tolist() == [["change", "all", "asked by telephone"]]
    assert table["estimate"].isna().all()


def test_drivers_and_controls_that_break_or_are_not_there_are_left_out_and_named() -> None:
    before, after = sample("before", 1), sample("after", 2)
    everything = decomposed(before, after, compared(heard=("recoded", "codes anew")))
    assert list(dict.fromkeys(everything["driver"])) == ["staff", "heard", "composition", "all", "level"]
    assert everything["left_out"].isna().all()
    assert set(everything["recoded"]) == {"Were you heard? (codes anew)"}
    verdicts = compared(staff=("break", "new scale"), age=("break", "asked in years of birth"))
    some = decomposed(before, after, verdicts)
    assert set(some["driver"]) == {"heard", "composition", "all", "level"}
    assert set(some["left_out"]) == {"Staff are polite (new scale); Age group (asked in years of birth)"}
    lost = replace(after, responses=after.responses.drop(columns="staff"))
    assert set(decomposed(before, lost, compared())["left_out"]) == {"Staff are polite (no answers in after)"}
    none = decomposed(before, lost, compared(heard=("break", "another question")))
    assert none["obstacle"].tolist() == ["no driver compares"]
    assert "another question" in none["left_out"].iloc[0]
    undeclared = compared().query("name != 'heard'")
    assert "not declared" in decomposed(before, after, undeclared)["left_out"].iloc[0]


def test_rows_with_a_missing_answer_are_counted_and_their_psus_stay_in_the_design() -> None:
    before, after = sample("before", 1), sample("after", 2)
    after.responses.loc[after.responses["psu"] == "7", "heard"] = "refused"
    table = decomposed(before, after, compared())
    missing = [
        int((side.responses["service"].eq("dont_know") | side.responses["heard"].eq("refused")).sum())
        for side in (before, after)
    ]
    row = table.iloc[0]
    assert [row["n_dropped_before"], row["n_dropped_after"]] == missing
    assert [row["n_before"], row["n_after"]] == [600 - missing[0], 600 - missing[1]]
    assert row["psus"] == 29
    gone = replace(
        after, design_psus=after.design_psus.query("psu != '7'"), responses=after.responses.query("psu != '7'")
    )
    without = decomposed(before, gone, compared())
    np.testing.assert_allclose(without["estimate"].astype(float), table["estimate"].astype(float), rtol=1e-9)
    assert (without["se"].astype(float) != table["se"].astype(float)).all()


def test_an_answer_of_one_wave_costs_its_few_respondents_or_the_variable() -> None:
    before, after = sample("before", 1), sample("after", 2)
    few, many = after.responses.copy(), after.responses.copy()
    few.loc[[3, 60, 200], "heard"] = "other"
    many.loc[:99, "heard"] = "other"
    answered = int((few["service"] != "dont_know").sum())
    table = decomposed(before, replace(after, responses=few), compared())
    lost = int((few.loc[[3, 60, 200], "service"] != "dont_know").sum())
    assert lost > 0
    assert (table["n_after"] == answered - lost).all()
    assert "heard" in set(table["driver"])
    assert table["left_out"].iloc[0].startswith("Were you heard?: respondents who answer other")
    table = decomposed(before, replace(after, responses=many), compared())
    assert (table["n_after"] == answered).all()
    assert "heard" not in set(table["driver"])
    assert "answers other are not found in two PSUs of both waves" in table["left_out"].iloc[0]
    alike = replace(after, responses=after.responses.assign(staff="yes"))
    assert "all respondents of a wave answer alike" in decomposed(before, alike, compared())["left_out"].iloc[0]


def test_what_cannot_be_solved_is_an_obstacle_of_that_model_alone() -> None:
    before, after = sample("before", 1), sample("after", 2)
    tied = after.responses.assign(sex=np.where(after.responses["heard"] == "yes", "male", "female"))
    table = decomposed(before, replace(after, responses=tied), compared())
    assert len(table) == 1
    assert "heard, sex determine each other" in table["obstacle"].iloc[0]


WAVES = pd.DataFrame(
    {"wave": ["before", "after"], "predecessor": [None, "before"], "shared_psus": False, "simulated": [True, False]}
)


def test_every_wave_with_a_predecessor_is_decomposed_and_keeps_the_contract() -> None:
    samples = {"before": sample("before", 1), "after": sample("after", 2)}
    table = change_decomposition(WAVES, compared(), samples.__getitem__)
    assert contract_breaches(table, "change_decomposition") == []
    assert set(table["wave"]) == {"after"}
    assert table["simulated"].all()  # the wave before was
    drivers = table["driver"].isin(["staff", "heard"])
    assert table.loc[drivers, "p_adjusted"].notna().all()
    assert table.loc[~drivers, "p_adjusted"].isna().all()
    for _, family in table[drivers].groupby("part"):
        np.testing.assert_allclose(family["p_adjusted"], stats.false_discovery_control(family["p"]))
    assert change_decomposition(WAVES[:1], compared(), samples.__getitem__).empty
    blocked = change_decomposition(WAVES, compared(satisfied=("break", "why")), samples.__getitem__)
    assert contract_breaches(blocked, "change_decomposition") == []
    strangers = samples["after"].responses.assign(psu=lambda rows: "x" + rows["psu"])
    listed = samples["after"].design_psus.assign(psu=lambda rows: "x" + rows["psu"])
    samples["after"] = replace(samples["after"], responses=strangers, design_psus=listed)
    with pytest.raises(InputError, match="no PSU of this wave has the id of one of before"):
        change_decomposition(WAVES.assign(shared_psus=True), compared(), samples.__getitem__)


# --- publication -------------------------------------------------------------------------------------------------


def published(table: pd.DataFrame, quality: str = "publish", sensitive: Sequence[tuple[str, str]] = ()) -> pd.DataFrame:
    place = {"wave": "after", "level": ["all", "province"], "domain": "all", "indicator": "satisfied"}
    changes = pd.DataFrame(place).assign(quality=[quality, "publish"])
    indicators = pd.DataFrame(
        [
            (wave, name, (wave, name) in sensitive)
            for wave in ("before", "after")
            for name in ("satisfied", "was_heard")
        ],
        columns=["wave", "indicator", "sensitive"],
    )
    found = published_change_decomposition(table, changes, indicators)
    assert contract_breaches(found, "published_change_decomposition") == []
    return found


def test_publication_asks_for_the_outcomes_change_and_enough_respondents() -> None:
    samples = {"before": sample("before", 1), "after": sample("after", 2)}
    table = change_decomposition(WAVES, compared(), samples.__getitem__)
    assert len(published(table)) == len(table)
    assert len(published(table, "caution")) == len(table)
    assert published(table, "suppress").empty
    assert published(table, sensitive=[("after", "satisfied")]).empty
    assert published(table, sensitive=[("before", "satisfied")]).empty
    assert published(table.assign(n_before=29)).empty
    assert published(table.assign(psus=1)).empty
    assert published(table.assign(df=0.5)).empty
    assert published(change_decomposition(WAVES, compared(satisfied=("break", "w")), samples.__getitem__)).empty


def test_a_thin_sensitive_driver_is_in_the_sums_only() -> None:
    samples = {"before": sample("before", 1), "after": sample("after", 2)}
    table = change_decomposition(WAVES, compared(), samples.__getitem__)
    table["driver"] = table["driver"].replace("heard", "was_heard")
    own = table["driver"] == "was_heard"
    assert table.loc[own, "fewest"].min() > 10
    sensitive = [("before", "was_heard")]
    assert len(published(table, sensitive=sensitive)) == len(table)
    thin = table.assign(fewest=table["fewest"].where(~own, 9))
    assert len(published(thin)) == len(table)
    shown = published(thin, sensitive=sensitive)
    assert set(shown["driver"]) == {"all"}
    assert set(shown["part"]) == {*PARTS, "change"}
