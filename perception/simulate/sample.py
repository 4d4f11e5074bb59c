"""The simulated survey: which PSUs and households are drawn from a simulated population, who takes part, the weights.

What the people say is `population`'s business, how an interview went `fieldwork`'s.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.simulate.population import PSU_HOUSEHOLDS

ENUMERATORS = 4
PSU_VISITS = 13
LOST = {"urban": (0.20, 0.45, 0.35), "rural": (0.40, 0.45, 0.15)}
"""Probability that 0, 1 or 2 of the households visited in a PSU give no interview."""
RESULTS = {"refused": 0.45, "not_at_home": 0.42, "locked": 0.13}


def psu_allocation(units: pd.DataFrame, size: int = 1) -> pd.DataFrame:
    """PSUs to draw per stratum: district_id, urban, psus.

    12 a district, 14 above two million and 18 above four million inhabitants (times `size`), spread over town and
    country by the square root of their shares (towns are oversampled), at least 2 in each stratum there is.
    """
    population = units["population_2023"].to_numpy(float)
    psus = size * np.select([population > 4e6, population > 2e6], [18, 14], 12)
    share = units["urban_share"].to_numpy(float)
    towns = np.round(psus * np.sqrt(share) / (np.sqrt(share) + np.sqrt(1 - share)))
    mixed = (share > 0) & (share < 1)
    towns = np.where(mixed, np.clip(towns, 2, psus - 2), towns).astype(int)
    strata = [
        units[["district_id"]].assign(urban="urban", psus=towns),
        units[["district_id"]].assign(urban="rural", psus=psus - towns),
    ]
    plan = pd.concat(strata).query("psus > 0")
    return plan.sort_values(["district_id", "urban"]).reset_index(drop=True)


def draw_psus(people: pd.DataFrame, units: pd.DataFrame, rng: np.random.Generator, size: int = 1) -> pd.DataFrame:
    """The PSUs drawn within district x urban/rural, without replacement; `people` as `simulate_people` makes them.

    Indexed by psu: district_id, urban, stratum, `rate` at which the stratum's PSUs were drawn, `number` in a district.
    """
    plan = psu_allocation(units, size)
    psus = people[["district_id", "urban", "stratum", "psu"]].drop_duplicates("psu").merge(plan)
    lot = pd.Series(rng.random(len(psus))).groupby(psus["stratum"]).rank()
    psus["rate"] = psus["psus"] / psus.groupby("stratum")["psu"].transform("size")
    drawn = psus[lot <= psus["psus"]].set_index("psu")
    return drawn.assign(number=drawn.groupby("district_id").cumcount() + 1).drop(columns="psus")


def assigned_enumerators(
    people: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator, size: int = 1
) -> NDArray[np.int_]:
    """The enumerator of each household, numbered from 1 in its district, if it is visited.

    Two enumerators share each PSU, and every two of a district meet equally often in the PSUs drawn, so that what an
    enumerator does can be told from what a place is like.
    """
    pairs = np.array(_meetings(ENUMERATORS * size))
    psus = people[["district_id", "psu"]].drop_duplicates("psu").set_index("psu")
    groups = [psus["district_id"], psus.index.isin(drawn.index)]
    order = pd.Series(rng.random(len(psus)), index=psus.index).groupby(groups).rank().astype(int)
    pair = pairs[order.to_numpy() % len(pairs)]
    place = psus.index.get_indexer(pd.Index(people["psu"]))
    return np.asarray(1 + pair[place, people["household"].to_numpy() % 2])


def _meetings(team: int) -> list[tuple[int, int]]:
    """Every two of an even team, in rounds in which each meets one other (circle method)."""
    others, rounds = list(range(1, team)), []
    for _ in others:
        table = [0, *others]
        rounds += [(table[place], table[team - 1 - place]) for place in range(team // 2)]
        others = [others[-1], *others[:-1]]
    return rounds


def draw_sample(population: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The households visited: their rows of `population`, `psu` numbered from 1 in each district, and how it went.

    13 of the households in each PSU drawn are visited, of which at most two give no interview, and one adult of each is
    chosen. `result` is `complete` or why there is no interview. `base` is the inverse of the selection probability of
    every adult visited; `weight`, of complete interviews only, corrects for non-response too and sums in each stratum
    to its adults.
    """
    chosen = population[population["psu"].isin(drawn.index)]
    visited = pd.Series(rng.random(len(chosen)), index=chosen.index).groupby(chosen["psu"]).rank() <= PSU_VISITS
    sample = chosen[visited].reset_index(drop=True)
    sample["result"] = _results(sample, rng)
    rate = sample["psu"].map(drawn["rate"])
    sample["base"] = sample["adults"] * sample["represents"] / (rate * PSU_VISITS / PSU_HOUSEHOLDS)

    complete = sample["result"] == "complete"
    design = (sample["base"] * PSU_VISITS / complete.groupby(sample["psu"]).transform("sum")).where(complete, 0.0)
    adults = (population["adults"] * population["represents"]).groupby(population["stratum"]).sum()
    weight = design * sample["stratum"].map(adults) / design.groupby(sample["stratum"]).transform("sum")
    return sample.assign(psu=sample["psu"].map(drawn["number"]), weight=weight.where(complete))


def _results(sample: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """How each visit ended; men and the young are met or won less often."""
    psus = sample.drop_duplicates("psu").set_index("psu")["urban"]
    lots = pd.Series(rng.random(len(psus)), index=psus.index)
    limits = [psus.map({area: sum(chances[:number]) for area, chances in LOST.items()}) for number in (1, 2)]
    lost = (lots > limits[0]).astype(int) + (lots > limits[1]).astype(int)
    lean = 0.5 * (sample["sex"] == "male") + 0.4 * (sample["age"] < 35) + rng.gumbel(size=len(sample))
    is_lost = lean.groupby(sample["psu"]).rank(ascending=False) <= sample["psu"].map(lost)
    why = pd.Series(rng.choice(list(RESULTS), len(sample), p=list(RESULTS.values())), index=sample.index)
    return why.where(is_lost, "complete")
