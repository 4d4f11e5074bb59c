"""An attack on the public tables: what somebody who has all of them can find out about what was withheld.

Assumed of an attacker of counts: knows the geography, how many were asked and answered in every cell, people of unknown
sex, area or age included, and the exact count answering 1 in every published cell, though only weighted shares are
published. Knows nothing about single respondents.
Assumed of an attacker of estimates withheld for their quality: has every public number to its last digit, and n of
every cell. Does not have sums of weights by cell. These are in no public table, which is tested here; they are known
all the same where all weights are equal, and published estimates are then attacked as exact sums. Sums of unequal
weights may be learnt from another indicator that the very same persons answered, or from a published population that
they were raked to; published numbers are rounded, so that subtracting them does not end at the withheld one.
What remains: in an area or group that answers unanimously (a published share of 0 or 1) every part does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from perception.estimation import publication
from perception.estimation.domains import district_estimates
from perception.geography import load_gazetteer, vintage_units
from perception.schemas import TABLES, conform
from tests.conftest import ROOT, published_estimates

LEVELS = {"district": "district_id", "division": "division_id", "province": "province_id", "all": "everywhere"}
KINDS = ((), ("sex",), ("urban",), ("age_group",), ("wealth",), ("sex", "urban"))
SPLITS = (("sex", "urban"), ("age_group",), ("wealth",))
MINIMUM = 10
UNKNOWN = "?"
TELLING = {"n_positive", "sum_w", "sum_w2", "sum_wx", "sum_wy", "sum_dx", "sum_dy", "direct", "shrinkage", "weight"}
CODES = {"few_persons", "below_minimum_level"}


# Waves


def drawn_units(districts: int, seed: int = 0) -> pd.DataFrame:
    """Some districts of the gazetteer with their divisions and provinces."""
    units = vintage_units(load_gazetteer(ROOT / "data/raw/reference"), "2018")
    units = units.sample(districts, random_state=seed).sort_values("district_id", ignore_index=True)
    return units[["district_id", "division_id", "province_id"]].assign(wave="w", everywhere="all")


def drawn_people(units: pd.DataFrame, each: int, rate: float, seed: int, unknown: float = 0.01) -> pd.DataFrame:
    """Respondents with their background, PSU, weight and answer y; shares differ from district to district."""
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(len(units)), rng.integers(each // 2, 2 * each, len(units)))
    count = len(place)
    people = pd.DataFrame(
        {
            "district_id": units["district_id"].to_numpy()[place],
            "sex": rng.choice(["female", "male"], count),
            "urban": rng.choice(["urban", "rural"], count, p=[0.3, 0.7]),
            "age_group": rng.choice(["18-24", "25-34", "35-44", "45-54", "55-64", "65+"], count),
            "weight": rng.lognormal(0, 0.5, count),
        }
    )
    people["wealth"] = rng.choice(["lowest", "second", "middle", "fourth", "highest"], count)
    for name in ("sex", "age_group", "wealth"):
        people.loc[rng.random(count) < unknown, name] = None
    odds = rate / (1 - rate) * np.exp(rng.normal(0, 0.7, len(units)))
    people["y"] = (rng.random(count) < (odds / (1 + odds))[place]).astype(float)
    people["psu"] = people["district_id"] + "/" + pd.Series(rng.integers(0, 8, count)).astype(str)
    return people.merge(units, on="district_id")


def estimated(people: pd.DataFrame, units: pd.DataFrame, kind: str = "share") -> pd.DataFrame:
    """Table `district_estimates` of the respondents, by the pipeline's own functions."""
    w, y = people["weight"], people["y"]
    sums = people.assign(
        n=1,
        n_positive=y if kind == "share" else 0,
        sum_w=w,
        sum_w2=w**2,
        sum_wx=w,
        sum_wy=w * y,
        sum_wx2=w,
        sum_wxy=w * y,
        sum_wy2=w * y,
    )
    by = ["district_id", "sex", "urban", "age_group", "wealth", "psu"]
    numbers = ["n", "n_positive", *(name for name in sums if name.startswith("sum_"))]
    totals = sums.groupby(by, dropna=False)[numbers].sum().reset_index()
    totals = totals.assign(wave="w", indicator="i", stratum=totals["district_id"], n_dont_know=0, n_refused=0)
    totals = conform(totals.assign(sum_dx=np.nan, sum_dy=np.nan), "psu_totals")
    psus = people[["psu", "district_id"]].drop_duplicates().assign(population_psus=np.nan)
    psus["variance_stratum"] = psus["district_id"]
    return district_estimates(totals, psus, units, facts(kind=kind))


def facts(**values: Any) -> pd.DataFrame:
    described = {"kind": "share", "simulated": True, "sensitive": True, "minimum_level": "district", **values}
    return pd.DataFrame([{"wave": "w", "indicator": "i", **described}])


# Counts


def domain_of(kind: tuple[str, ...], categories: tuple[str, ...]) -> str:
    return ",".join(map("=".join, zip(kind, categories, strict=True))) or "all"


class CountAttack:
    """What is certain about the counts of withheld cells, by linear programmes over whole numbers of persons.

    Unknowns are the persons answering 1 in each district by sex and area, by age and by wealth, with the unknown
    categories. The attacker knows how many were asked in each of them.
    """

    def __init__(self, people: pd.DataFrame, shown: set[tuple[str, str, str]]):
        people = people.fillna({"sex": UNKNOWN, "age_group": UNKNOWN, "wealth": UNKNOWN})
        place = list(LEVELS.values())
        self.parts = pd.concat(
            people.groupby([*place, *split])["y"].agg(asked="size", yes="sum").reset_index().assign(split=number)
            for number, split in enumerate(SPLITS)
        ).reset_index(drop=True)
        self.bounds = [(0, asked) for asked in self.parts["asked"]]
        self.rows: dict[tuple[str, str, str], NDArray[np.float64]] = {}
        for kind, (level, column) in product(KINDS, LEVELS.items()):
            number = next(number for number, split in enumerate(SPLITS) if set(kind) <= set(split))
            own = self.parts[self.parts["split"] == number]
            own = own[(own[list(kind)] != UNKNOWN).all(axis=1)]
            for key, group in own.groupby([column, *kind]):
                row = np.zeros(len(self.parts))
                row[group.index] = 1
                self.rows[level, str(key[0]), domain_of(kind, key[1:])] = row
        split = self.parts["split"]
        same = [
            ((split == 0) * 1.0 - (split == other)) * (self.parts["district_id"] == district)
            for district in people["district_id"].unique()
            for other in range(1, len(SPLITS))
        ]
        known = [self.rows[cell] for cell in shown]
        self.equations = np.array([*same, *known])
        self.values = np.array([0.0] * len(same) + [row @ self.parts["yes"] for row in known])

    def room(self, cell: tuple[str, str, str]) -> tuple[float, float]:
        """How many persons the smallest and the largest possible count of a cell lie apart, and how many were asked."""
        ends = []
        for sign in (1, -1):
            found = linprog(
                sign * self.rows[cell], A_eq=self.equations, b_eq=self.values, bounds=self.bounds, integrality=1
            )
            assert found.status == 0, found.message
            ends.append(sign * round(found.fun))
        return ends[1] - ends[0], self.rows[cell] @ self.parts["asked"]


def attacked(people: pd.DataFrame, public: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], float, float]]:
    """Every cell withheld to protect respondents, with the room that the attack leaves it and its persons asked."""
    direct = public[public["method"] == "direct"]
    keys = list(zip(direct["level"], direct["unit_id"], direct["domain"], strict=True))
    shown = {key for key, quality in zip(keys, direct["quality"], strict=True) if quality != "suppress"}
    attack = CountAttack(people, shown)
    assert set(attack.rows) == set(keys)
    for key, reason in zip(keys, direct["reason"], strict=True):
        if reason in CODES:
            yield key, *attack.room(key)


@pytest.mark.parametrize(
    ("districts", "each", "rate", "level"),
    [(8, 150, 0.15, "district"), (8, 300, 0.20, "district"), (12, 300, 0.03, "division"), (12, 60, 0.9, "province")],
)
def test_no_count_withheld_to_protect_respondents_can_be_narrowed(
    districts: int, each: int, rate: float, level: str
) -> None:
    units = drawn_units(districts)
    people = drawn_people(units, each, rate, seed=districts + each)
    public = published_estimates(estimated(people, units), facts(minimum_level=level), units=units)
    found = list(attacked(people, public))
    assert len(found) > 50
    assert (public["quality"] != "suppress").sum() > 10
    assert {cell: (room, asked) for cell, room, asked in found if room < min(MINIMUM, asked)} == {}


def test_the_attack_would_find_thin_counts_that_are_withheld_alone() -> None:
    units = drawn_units(4)
    people = drawn_people(units, 300, 0.2, seed=3)
    estimates = estimated(people, units)
    public = published_estimates(estimates, facts(sensitive=False), units=units)
    other = estimates["n"] - estimates["n_positive"]
    thin = ((estimates["n_positive"] < MINIMUM) | (other < MINIMUM)).to_numpy()
    alone = public.assign(reason=np.where(thin, "few_persons", None), quality=np.where(thin, "suppress", "publish"))
    assert any(room == 0 for _, room, _ in attacked(people, alone))


# Estimates


def test_no_public_table_has_a_column_that_gives_withheld_estimates_away() -> None:
    public = {name: set(table.names) for name, table in TABLES.items() if table.public}
    assert {"published_estimates", "withheld", "district_rankings"} <= set(public)
    assert {name: columns & TELLING for name, columns in public.items() if columns & TELLING} == {}
    assert not any(table.open for table in TABLES.values() if table.public)


def subtractions(estimates: pd.DataFrame, public: pd.DataFrame) -> Iterator[tuple[float, float, float, float]]:
    """For each district whose women or men alone are withheld: the truth, what subtraction gives when weights are
    taken to be as n, and the smallest and largest value that published shares and Kish factors leave possible.
    """
    true = estimates[estimates["level"] == "district"].set_index(["unit_id", "domain"])
    shown = public[public["level"] == "district"].set_index(["unit_id", "domain"])
    for unit in true.index.unique("unit_id"):
        kinds = ["sex=female", "sex=male"]
        hidden = [kind for kind in kinds if shown.loc[(unit, kind), "quality"] == "suppress"]
        if len(hidden) != 1 or shown.loc[(unit, "all"), "quality"] == "suppress":
            continue
        whole, other = shown.loc[(unit, "all")], shown.loc[(unit, next(k for k in kinds if k not in hidden))]
        n = whole["n"] - other["n"]
        # Weight of the withheld part in the whole: unknown, but for what follows from Kish factors of at least 1.
        part = np.linspace(0, 1, 20_001)[1:-1]
        kish = n / part**2 * (whole["kish"] / whole["n"] - (1 - part) ** 2 * other["kish"] / other["n"])
        value = (whole["estimate"] - (1 - part) * other["estimate"]) / part
        possible = value[(kish >= 1 - 1e-6) & (kish <= n) & (value >= 0) & (value <= 1)]
        guess = (whole["n"] * whole["estimate"] - other["n"] * other["estimate"]) / n
        yield true.loc[(unit, hidden[0]), "estimate"], guess, possible.min(), possible.max()


def few_women() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Districts and people, of whom so few are women that their estimates are withheld for their quality."""
    units = drawn_units(12)
    people = drawn_people(units, 400, 0.5, seed=11, unknown=0)
    men = np.random.default_rng(12).random(len(people)) < 0.95
    return units, people.assign(sex=np.where(men, "male", "female"))


def test_no_estimate_withheld_for_its_quality_can_be_recomputed() -> None:
    units, people = few_women()
    estimates = estimated(people, units)
    found = list(subtractions(estimates, published_estimates(estimates, facts(sensitive=False))))
    assert len(found) >= 5
    for truth, guess, low, high in found:
        assert abs(guess - truth) > 1e-6
        assert low - 1e-3 <= truth <= high + 1e-3
        assert high - low > 0.001


def test_only_equal_weights_withhold_further_estimates() -> None:
    units, people = few_women()
    estimates = estimated(people, units)
    public = published_estimates(estimates, facts(sensitive=False), units=units)
    assert not public["reason"].str.contains("reveals_withheld").any()


def told_and_hidden(public: pd.DataFrame) -> tuple[set[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """The cells of a wave of equal weights whose sums are public, and the withheld ones."""
    keys = pd.Series(list(zip(public["level"], public["unit_id"], public["domain"], strict=True)))
    suppressed = (public["quality"] == "suppress").to_numpy()
    return set(keys[~suppressed]), list(keys[suppressed])


def equal_weights(seed: int, each: int, rate: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    units = drawn_units(7, seed)
    return units, drawn_people(units, each, rate, seed).assign(weight=1.0)


@pytest.mark.parametrize(("seed", "each", "rate"), [(1, 60, 0.3), (2, 150, 0.5)])
def test_with_equal_weights_no_estimate_withheld_for_its_quality_is_certain(seed: int, each: int, rate: float) -> None:
    units, people = equal_weights(seed, each, rate)
    public = published_estimates(estimated(people, units), facts(sensitive=False), units=units)
    shown, hidden = told_and_hidden(public)
    attack = CountAttack(people, shown)
    assert len(shown) > 20
    assert {cell for cell in hidden if attack.room(cell)[0] == 0} == set()

    # Without the further cells the same attack finds many.
    revealing = (public["reason"] == "reveals_withheld").to_numpy()
    alone = told_and_hidden(public.assign(quality=np.where(revealing, "publish", public["quality"])))
    found = CountAttack(people, alone[0])
    assert sum(found.room(cell)[0] == 0 for cell in alone[1]) > 20
    # What covers them is groups and small areas.
    assert not (revealing & (public["domain"] == "all") & public["level"].isin(["province", "all"])).any()


def linearly_certain(attack: CountAttack, cells: list[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Cells whose sum is a combination of published sums, whatever the answers are."""
    wanted = np.array([attack.rows[cell] for cell in cells])
    combined = np.linalg.lstsq(attack.equations.T, wanted.T, rcond=1e-10)[0]
    apart = np.abs(attack.equations.T @ combined - wanted.T).max(axis=0)
    return {cell for cell, distance in zip(cells, apart, strict=True) if distance < 1e-8}


def test_with_equal_weights_no_withheld_mean_is_certain() -> None:
    units, people = equal_weights(4, 120, 0.5)
    people["y"] = np.random.default_rng(4).gamma(1.0, 20.0, len(people))
    known = facts(sensitive=False, kind="mean")
    estimates = estimated(people, units, "mean").assign(n_positive=pd.NA)
    public = published_estimates(estimates, known, units=units)
    shown, hidden = told_and_hidden(public)
    assert linearly_certain(CountAttack(people, shown), hidden) == set()
    alone = told_and_hidden(public[public["reason"] != "reveals_withheld"])[1]
    everything = shown | (set(hidden) - set(alone))
    assert len(linearly_certain(CountAttack(people, everything), alone)) > 20


def test_weights_that_are_equal_within_districts_only_are_known_within_districts() -> None:
    units, people = few_women()
    by_district = dict(zip(units["district_id"], np.linspace(1, 3, len(units)), strict=True))
    people["weight"] = people["district_id"].map(by_district)
    public = published_estimates(estimated(people, units), facts(sensitive=False), units=units)
    shown, hidden = told_and_hidden(public[(public["quality"] == "suppress") | (public["kish"] < 1 + 1e-12)])
    attack = CountAttack(people, shown)
    assert {cell for cell in hidden if attack.room(cell)[0] == 0} == set()
    assert (public["reason"] == "reveals_withheld").sum() > 5
    # What adds up districts that differ in weight tells nothing and stays as it was.
    assert (public.loc[public["level"].isin(["province", "all"]), "reason"] != "reveals_withheld").all()


def test_what_remains_is_that_everybody_of_a_unanimous_area_answers_alike() -> None:
    units, people = equal_weights(5, 150, 0.5)
    unanimous = people.groupby("district_id").size().idxmin()
    people.loc[people["district_id"] == unanimous, "y"] = 0.0
    public = published_estimates(estimated(people, units), facts(sensitive=False), units=units)
    whole = public[(public["unit_id"] == unanimous) & (public["domain"] == "all")].iloc[0]
    assert whole["estimate"] == 0.0
    shown, hidden = told_and_hidden(public)
    attack = CountAttack(people, shown)
    certain = {cell for cell in hidden if attack.room(cell)[0] == 0}
    assert certain == {cell for cell in hidden if cell[1] == unanimous}
    assert certain


@pytest.mark.parametrize(("digits", "exact"), [(5, False), (16, True)])
def test_weights_learnt_from_another_indicator_of_the_same_persons_meet_rounded_numbers(
    digits: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rounding they give withheld estimates away to the last digit."""
    assert publication.DIGITS == 5
    monkeypatch.setattr(publication, "DIGITS", digits)
    units = drawn_units(4)
    people = drawn_people(units, 800, 0.5, seed=2, unknown=0)
    women = np.random.default_rng(3).random(len(people)) < 0.08
    people["sex"] = np.where(women, "female", "male")
    shares = {}
    for name, rate in (("rare", 0.02), ("even", 0.5)):
        answered = people.assign(y=(np.random.default_rng(4).random(len(people)) < rate).astype(float))
        estimates = estimated(answered, units)
        public = published_estimates(estimates, facts(sensitive=False), units=units)
        shares[name] = [
            table[table["level"] == "district"].pivot(index="unit_id", columns="domain", values="estimate")
            for table in (estimates, public)
        ]
    (_, known), (true, public) = shares["rare"], shares["even"]
    women_weigh = (known["all"] - known["sex=male"]) / (known["sex=female"] - known["sex=male"])
    found = (public["all"] - (1 - women_weigh) * public["sex=male"]) / women_weigh
    told = found.notna() & public["sex=female"].isna()
    assert told.any()
    apart = (found - true["sex=female"])[told].abs()
    assert apart.max() < 1e-8 if exact else apart.min() > 1e-6


def one_small_district() -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A wave in which a single district, named last, has too few respondents."""
    units = drawn_units(68)
    people = drawn_people(units, 500, 0.5, seed=5)
    small = units["district_id"].iloc[0]
    return units, people[(people["district_id"] != small) | (people.groupby("district_id").cumcount() < 25)], small


def test_a_district_withheld_for_its_quality_is_not_the_province_less_the_others() -> None:
    units, people, lost = one_small_district()
    estimates = estimated(people, units)
    public = published_estimates(estimates, facts(sensitive=False), units=units)
    rows = public[(public["domain"] == "all") & public["level"].isin(["district", "all"])].set_index("unit_id")
    assert rows.index[rows["quality"] == "suppress"].tolist() == [lost]
    districts = rows[rows["level"] == "district"].drop(index=lost)
    n = rows.loc["all", "n"] - districts["n"].sum()
    guess = (rows.loc["all", "n"] * rows.loc["all", "estimate"] - (districts["n"] * districts["estimate"]).sum()) / n
    truth = estimates.set_index(["unit_id", "domain"]).loc[(lost, "all"), "estimate"]
    assert n == 25
    assert abs(guess - truth) > 0.01


def test_with_equal_weights_another_district_covers_it_and_every_larger_area_stays() -> None:
    units, people, lost = one_small_district()
    public = published_estimates(estimated(people.assign(weight=1.0), units), facts(sensitive=False), units=units)
    whole = public[public["domain"] == "all"]
    hidden = whole[whole["quality"] == "suppress"].set_index("unit_id")
    assert set(hidden["level"]) == {"district"}
    assert (hidden["reason"] == "reveals_withheld").sum() == 1
    assert len(hidden) == 2
    division = units.set_index("district_id")["division_id"]
    assert division[hidden.index].nunique() == 1
    assert lost in hidden.index
