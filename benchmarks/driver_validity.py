"""Do driver models keep their promises? Waves are drawn again and again from one simulated population.

Run by hand: `python benchmarks/driver_validity.py [--replicates 200]`; writes `drivers.csv` and `drivers.md` into
`docs/validity/`. The population is a round of the simulated programme (all districts, 2024), with the answers that its
households would give. Each replicate draws PSUs and households from it as the programme does and fits the ordered
logit of satisfaction with primary health care, and the logit of being satisfied, on five drivers and the background.
The truth of a coefficient is the same model fitted to the whole population. For the false discoveries, answers on
satisfaction are drawn anew with effects of districts, PSUs and people, but of no driver.
"""

from __future__ import annotations

import argparse
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perception.drivers.effects import DriverFit, driver_effects
from perception.geography import load_gazetteer, vintage_units
from perception.geography.gazetteer import units_covering
from perception.intake.declarations import AGE_BREAKS, AGE_GROUPS
from perception.intake.instrument import Instrument, load_instrument
from perception.simulate.population import district_effects, inherited_effects, simulate_answers, simulate_people
from perception.simulate.programme import FIRST_VINTAGE, ROUNDS, generator
from perception.simulate.sample import assigned_enumerators, draw_psus, draw_sample

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/validity"
SEED = 16
OUTCOME, USED = "health_satisfaction", "health_used"
DRIVERS = tuple(f"health_{name}" for name in ("access", "affordability", "facilities", "equality", "courtesy"))
CONTROLS = ("sex", "age_group", "education", "wealth", "urban")
KINDS = dict.fromkeys(DRIVERS, "driver") | dict.fromkeys(CONTROLS, "control")
DISTRICT_SD, PSU_SD = 0.5, 0.7
"""Standard deviations on the logit scale of what districts and PSUs add to satisfaction where no driver does."""


@lru_cache(maxsize=1)
def population() -> tuple[pd.DataFrame, pd.DataFrame, Instrument]:
    """The households of the round with their answers, its districts, and the questionnaire."""
    instrument = load_instrument(ROOT / "data/raw/instruments/citizen-services.yml")
    gazetteer = load_gazetteer(ROOT / "data/raw/reference")
    survey = ROUNDS["2024"]
    units = vintage_units(gazetteer, survey.vintage)
    covering = units_covering(gazetteer, FIRST_VINTAGE)
    parents = pd.Series({unit: covering[unit][0] for unit in units["district_id"]})
    effects = district_effects(vintage_units(gazetteer, FIRST_VINTAGE), generator(SEED, "districts"))[survey.name]
    effects = inherited_effects(effects, parents, generator(SEED, "parts"))
    rng = generator(SEED, "population")
    people = simulate_people(units, rng)
    bands = np.array(AGE_GROUPS)[np.searchsorted(AGE_BREAKS, people["age"], side="right")]
    people = people.assign(age_group=bands)
    people["enumerator"] = assigned_enumerators(people, draw_psus(people, units, rng), rng)
    return simulate_answers(people, effects, instrument, survey, rng), units, instrument


def without_effects(people: pd.DataFrame, instrument: Instrument, rng: np.random.Generator) -> pd.DataFrame:
    """The people with satisfaction drawn anew: districts, PSUs and chance move it, no driver does."""
    levels = {name: people[name].astype("category").cat.codes.to_numpy() for name in ("district_id", "psu")}
    latent = rng.logistic(size=len(people))
    for name, spread in (("district_id", DISTRICT_SD), ("psu", PSU_SD)):
        latent += rng.normal(0, spread, levels[name].max() + 1)[levels[name]]
    scale = [answer for answer in instrument.scale(OUTCOME) if answer in set(people[OUTCOME])]
    drawn = np.array(scale)[np.digitize(latent, np.quantile(latent, [0.15, 0.5, 0.85]))]
    answered = people[OUTCOME].isin(scale)
    return people.assign(**{OUTCOME: np.where(answered, drawn, people[OUTCOME].astype("str"))})


def fitted(people: pd.DataFrame, weights: pd.Series, instrument: Instrument, ordered: bool, psus: Any) -> DriverFit:
    """The model of those who used the service; `psus` are the sampled PSUs (variance_stratum, psu)."""
    users = people[people[USED] == "yes"]
    scale = [answer for answer in instrument.scale(OUTCOME) if answer in set(users[OUTCOME])]
    outcome = _categories(users[OUTCOME], scale, ordered=True)
    good = list(instrument.indicators["satisfied_health"].positive)
    plain = outcome.isin(good).astype(float).where(outcome.notna())
    predictors = pd.DataFrame(index=users.index)
    for driver in DRIVERS:
        places = {answer: float(place) for place, answer in enumerate(instrument.scale(driver))}
        predictors[driver] = users[driver].astype("str").map(places)
    for control in CONTROLS:
        answers = AGE_GROUPS if control == "age_group" else instrument.scale(control)
        given = [answer for answer in answers if answer in set(users[control])]
        predictors[control] = _categories(users[control], given, ordered=False)
    return driver_effects(
        outcome if ordered else plain,
        predictors,
        KINDS,
        positive_from=next(answer for answer in scale if answer in good) if ordered else None,
        weights=weights[users.index],
        strata=users["stratum"].astype("str"),
        psu=users["psu_id"].astype("str"),
        design_psus=psus,
    )


def _categories(answers: pd.Series, scale: list[str], ordered: bool) -> pd.Series:
    """The answers on a scale, null where another was given."""
    texts = answers.astype("str")
    values = pd.Categorical(texts.where(texts.isin(scale)), categories=scale, ordered=ordered)
    return pd.Series(values, index=answers.index, name=answers.name)


def one_wave(people: pd.DataFrame, units: pd.DataFrame, rng: np.random.Generator) -> tuple[Any, ...]:
    """A sample of the people, their weights and the sampled PSUs."""
    drawn = draw_psus(people, units, rng)
    sample = draw_sample(people, drawn, rng)
    sample = sample[sample["result"] == "complete"].reset_index(drop=True)
    sample["psu_id"] = sample["district_id"].astype(str) + "/" + sample["urban"].astype(str) + "/"
    sample["psu_id"] += sample["psu"].astype(str)
    return sample, sample["weight"], _psus(sample)


def _psus(rows: pd.DataFrame) -> pd.DataFrame:
    psus = rows[["stratum", "psu_id"]].astype("str").drop_duplicates()
    return psus.rename(columns={"stratum": "variance_stratum", "psu_id": "psu"})


def slopes(fit: DriverFit) -> pd.DataFrame:
    """Coefficient and interval of every driver."""
    table = pd.DataFrame({"estimate": fit.results.params, "low": fit.results.conf_int()[0]})
    return table.assign(high=fit.results.conf_int()[1]).loc[list(DRIVERS)]


@lru_cache(maxsize=1)
def truth() -> dict[bool, pd.Series]:
    """The coefficients of the whole population, by whether the whole scale is modelled."""
    people, _, instrument = population()
    people = people.assign(psu_id=people["psu"].astype(str))
    weights = people["adults"] * people["represents"]
    return {
        ordered: fitted(people, weights, instrument, ordered, _psus(people)).results.params for ordered in (True, False)
    }


def one_replicate(seed: int) -> pd.DataFrame:
    """A row per driver and kind of model: is the truth in its interval, does a wave without effects name a driver."""
    warnings.simplefilter("error")
    people, units, instrument = population()
    rows = []
    sample = one_wave(people, units, np.random.default_rng([SEED, seed]))
    rng = np.random.default_rng([SEED, seed, 1])
    null = one_wave(without_effects(people, instrument, rng), units, rng)
    for ordered in (True, False):
        table = slopes(fitted(sample[0], sample[1], instrument, ordered, sample[2]))
        true = truth()[ordered].reindex(table.index)
        held = (table["low"] <= true) & (true <= table["high"])
        effects = fitted(null[0], null[1], instrument, ordered, null[2]).effects
        found = bool((effects.loc[effects["kind"] == "driver", "p_adjusted"] < 0.05).any())
        rows.append(
            pd.DataFrame(
                {"driver": table.index, "held": held.to_numpy(), "error": (table["estimate"] - true).to_numpy()}
            ).assign(model="ordered_logit" if ordered else "logit", false_discovery=found, replicate=seed)
        )
    return pd.concat(rows, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """What was found: model, measure, group, value, how many it rests on, what is asked."""
    found = []
    for model, part in rows.groupby("model", sort=True):
        pooled = "coverage of 95 % intervals of coefficients"
        found.append((model, pooled, "all drivers", part["held"].mean(), len(part), "0.93 to 0.97"))
        found += [(model, pooled, driver, own["held"].mean(), len(own), "") for driver, own in part.groupby("driver")]
        waves = part.drop_duplicates("replicate")
        rate = waves["false_discovery"].mean()
        found.append((model, "waves without effects that name a driver", "", rate, len(waves), "<= 0.10"))
    return pd.DataFrame(found, columns=["model", "measure", "group", "value", "count", "asked"])


def main() -> None:
    """Run the replicates on all cores and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=200)
    replicates = parser.parse_args().replicates
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor() as pool:
        rows = pd.concat(pool.map(one_replicate, range(replicates), chunksize=5), ignore_index=True)
    table = summary(rows)
    OUT.mkdir(parents=True, exist_ok=True)
    table.assign(value=table["value"].round(4)).to_csv(OUT / "drivers.csv", index=False)
    lines = ["| model | measure | driver | found | asked | of |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.model} | {row.measure} | {row.group} | {row.value:.3f} | {row.asked} | {row.count:,} |"
        for row in table.itertuples(index=False)
    ]
    heading = (
        f"# Do driver models keep their promises?\n\nFound in {replicates:,} simulated waves, and as many without any "
        "effect, by `benchmarks/driver_validity.py`, which says how they are drawn. Simulated data.\n\n"
    )
    (OUT / "drivers.md").write_text(heading + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
