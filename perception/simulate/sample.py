"""The simulated survey: which PSUs and households are drawn from a simulated population, and their design weights.

What the people say is `population`'s business, how a wave writes it down is `wave_folders`'.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from perception.simulate.population import PSU_HOUSEHOLDS

PSU_VISITS = 13
RESPONSE = 0.93


def psu_allocation(units: pd.DataFrame) -> pd.DataFrame:
    """PSUs to draw per stratum: district_id, urban, psus.

    12 a district, 14 above two million and 18 above four million inhabitants, spread over town and country by the
    square root of their shares (towns are oversampled), at least 2 in each stratum there is.
    """
    population = units["population_2023"].to_numpy(float)
    psus = np.select([population > 4e6, population > 2e6], [18, 14], 12)
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


def draw_sample(population: pd.DataFrame, units: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The respondents: their rows of `population` with `psu` numbered from 1 in each district, and `weight`.

    Two stages: PSUs without replacement within district x urban/rural, then 13 of a PSU's households, of which 93 %
    take part, and one adult of each. Weights correct for all of it, and sum in each stratum to its adults.
    """
    plan = psu_allocation(units)
    strata = population[["district_id", "urban", "stratum", "psu"]].drop_duplicates("psu").merge(plan)
    lot = pd.Series(rng.random(len(strata))).groupby(strata["stratum"]).rank()
    strata["rate"] = strata["psus"] / strata.groupby("stratum")["psu"].transform("size")
    drawn = strata[lot <= strata["psus"]].set_index("psu")
    number_in_district = drawn.groupby("district_id").cumcount() + 1

    chosen = population[population["psu"].isin(drawn.index)]
    visited = pd.Series(rng.random(len(chosen)), index=chosen.index).groupby(chosen["psu"]).rank() <= PSU_VISITS
    sample = chosen[visited & (rng.random(len(chosen)) < RESPONSE)]
    taking_part = sample.groupby("psu")["psu"].transform("size")
    rate = sample["psu"].map(drawn["rate"]) * taking_part / PSU_HOUSEHOLDS
    design = sample["adults"] * sample["represents"] / rate
    stratum_adults = (population["adults"] * population["represents"]).groupby(population["stratum"]).sum()
    weight = design * sample["stratum"].map(stratum_adults) / design.groupby(sample["stratum"]).transform("sum")
    return sample.assign(psu=sample["psu"].map(number_in_district), weight=weight).reset_index(drop=True)
