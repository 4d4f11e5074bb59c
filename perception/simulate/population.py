"""The simulated people: what is true in each district, and how every adult of a finite population would answer.

Samples and files are not made here; a truth is the share in this population, so it is exactly what a survey estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake.declarations import BACKGROUND
from perception.intake.instrument import Indicator, Instrument

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

NO_ANSWER = ("dont_know", "refused", "not_asked")

ADULT_SHARE = 0.54
"""Adults 18+ per inhabitant: a round figure for both provinces, good enough for a simulation."""
DISTRICT_PSUS = 200
PSU_HOUSEHOLDS = 16
SMALLEST_STRATUM_PSUS = 40
ENUMERATORS = 6

DISTRICT_SD = 0.25
PSU_SD = 0.30
ENUMERATOR_SD = 0.08
"""Latent standard deviations, where an answer's own noise has 1; they give shares a district SD of about 9 points."""


@dataclass(frozen=True)
class Service:
    """A service: share of adults using it (and how much likelier in towns), positive shares, don't-know share."""

    used: float
    urban_use: float
    satisfied: float
    dont_know: float
    attributes: tuple[str, ...]
    bribe_asked: float | None = None


_UTILITY = ("access", "affordability", "quality", "equality", "timeliness")
_SCHOOL = ("access", "affordability", "facilities", "equality", "teaching")

SERVICES = {
    "health": Service(0.75, -0.3, 0.48, 0.03, ("access", "affordability", "facilities", "equality", "courtesy")),
    "primary_school": Service(0.60, -0.4, 0.56, 0.04, _SCHOOL),
    "secondary_school": Service(0.40, -0.1, 0.52, 0.045, _SCHOOL),
    "water": Service(0.65, 0.6, 0.45, 0.035, _UTILITY),
    "waste": Service(0.50, 1.0, 0.34, 0.04, _UTILITY),
    "electricity": Service(0.95, 0.3, 0.38, 0.03, _UTILITY),
    "police": Service(0.14, 0.1, 0.33, 0.07, ("access", "affordability", "quality", "equality", "courtesy"), 0.30),
    "courts": Service(0.06, 0.1, 0.30, 0.075, _UTILITY, 0.25),
    "identity": Service(0.42, 0.1, 0.67, 0.035, ("access", "affordability", "equality", "process", "timeliness"), 0.10),
    "land": Service(0.15, -0.3, 0.36, 0.06, ("access", "affordability", "quality", "equality", "courtesy"), 0.35),
}

ATTRIBUTE_EFFECTS = {
    "access": 0.35,
    "affordability": 0.05,
    "facilities": 0.25,
    "quality": 0.25,
    "equality": 0.20,
    "process": 0.25,
    "courtesy": 0.45,
    "teaching": 0.45,
    "timeliness": 0.40,
}
"""Planted effect of one step on the agreement scale on latent satisfaction: the true drivers."""
ATTRIBUTE_EASE = {"access": 0.12, "affordability": 0.06, "equality": -0.06}
"""How far an attribute's positive share lies above its service's satisfied share."""

GOVERNANCE_EFFECTS = {
    "safety_after_dark": 0.35,
    "local_government_responds": 0.40,
    "discrimination": -0.60,
    "complaint_made": -0.15,
    "police_used": -0.20,
}
"""Planted effects on latent satisfaction with the district's services, per step of a scale or for a yes."""

REFUSED = 0.01
USED_DONT_KNOW = 0.03
BRIBE_DONT_KNOW = 0.06
BRIBE_REFUSED = 0.03


def topics() -> tuple[str, ...]:
    """What districts differ in: each service, and the topics of the governance block."""
    return (*SERVICES, "district", "safety", "responsiveness", "discrimination")


def district_effects(units: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """True district effects, one row a district and one column a topic, each with mean 0 and SD 1; high is good.

    Half of each variance is explained by urban share, log density and province; of the rest a part is smooth in space
    (Gaussian kernel of 120 km) and shared between topics. `units` is one vintage's districts (geography).
    """
    urban = units["urban_share"].to_numpy(float)
    density = np.log(units["population_2023"].to_numpy(float) / units["area_km2"].to_numpy(float))
    punjab = np.asarray(units["province_id"] == "punjab", dtype=np.float64)
    covariates = np.column_stack([_standard(urban), _standard(density), _standard(punjab)])
    known = np.column_stack([np.ones(len(units)), covariates])
    root = np.linalg.cholesky(_kernel(units, 120.0))
    shared = root @ rng.standard_normal(len(units))
    effects = {}
    for topic in topics():
        explained = covariates @ (np.array([0.35, 0.15, 0.35]) + 0.35 * rng.standard_normal(3))
        smooth = np.sqrt(0.4) * shared + np.sqrt(0.6) * (root @ rng.standard_normal(len(units)))
        rest = np.sqrt(0.6) * smooth + np.sqrt(0.4) * rng.standard_normal(len(units))
        rest -= known @ np.linalg.lstsq(known, rest, rcond=None)[0]
        effects[topic] = (_standard(explained) + _standard(rest)) / np.sqrt(2)
    return pd.DataFrame(effects, index=pd.Index(units["district_id"], name="district_id"))


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)


def _kernel(units: pd.DataFrame, kilometres: float) -> Floats:
    # Hundredths of a degree are enough, and keep the simulation still when a centroid moves by a hair.
    latitude = np.radians(units["latitude"].round(2).to_numpy(float))
    longitude = np.radians(units["longitude"].round(2).to_numpy(float)) * np.cos(latitude.mean())
    squared = 6371.0**2 * ((latitude[:, None] - latitude) ** 2 + (longitude[:, None] - longitude) ** 2)
    return np.asarray(np.exp(-0.5 * squared / kilometres**2) + 1e-6 * np.eye(len(units)))


def simulate_population(
    units: pd.DataFrame, effects: pd.DataFrame, instrument: Instrument, rng: np.random.Generator
) -> pd.DataFrame:
    """The finite population: one row a household, all of whose `adults` answer alike.

    Columns: district_id, province_id, urban, stratum, psu (unique), household, enumerator, adults, represents (adults
    of the district that one simulated adult stands for), background variables, then every question of the instrument
    as a categorical of its answers and the reasons for none. Don't know, refusal and the interviewer of the area
    belong to the household, as if the census of it had been taken with the same questionnaire.
    """
    people = _households(units, rng)
    people = people.assign(**_background(people, rng))
    answers = _Answers(people, effects, rng)
    for service in SERVICES:
        answers.ask_about_service(service)
    answers.ask_about_district()
    columns = {
        name: pd.Categorical.from_codes(answers.given[name], pd.Index([*instrument.scale(name), *NO_ANSWER]))
        for name in instrument.questions
    }
    return pd.concat([people, pd.DataFrame(columns)], axis=1)


def _households(units: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    strata = pd.concat(
        [
            units[["district_id", "province_id"]].assign(
                urban=urban, share=share, total=units["population_2023"] * ADULT_SHARE * share
            )
            for urban, share in (("urban", units["urban_share"]), ("rural", 1 - units["urban_share"]))
        ]
    )
    strata = strata[strata["share"] > 0].sort_values(["district_id", "urban"]).reset_index(drop=True)
    share = strata["share"].to_numpy(float)
    psus = np.maximum(np.round(share * DISTRICT_PSUS).astype(int), SMALLEST_STRATUM_PSUS)
    stratum = np.repeat(np.arange(len(strata)), psus * PSU_HOUSEHOLDS)
    psu = np.repeat(np.arange(psus.sum()), PSU_HOUSEHOLDS)
    people = strata.loc[stratum, ["district_id", "province_id", "urban"]].reset_index(drop=True)
    people["stratum"], people["psu"] = stratum, psu
    people["household"] = np.tile(np.arange(1, PSU_HOUSEHOLDS + 1), psus.sum())
    people["enumerator"] = rng.integers(1, ENUMERATORS + 1, psus.sum())[psu]
    people["adults"] = 1 + rng.binomial(6, 0.33, len(people))
    simulated = np.bincount(stratum, people["adults"])
    people["represents"] = (strata["total"].to_numpy(float) / simulated)[stratum]
    return people


def _background(people: pd.DataFrame, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    female = rng.random(len(people)) < 0.5
    age = np.minimum(18 + np.floor(rng.exponential(18.0, len(people))), 98).astype(int)
    urban = (people["urban"] == "urban").to_numpy(float)
    standing = rng.standard_normal(people["psu"].iloc[-1] + 1)[people["psu"]]
    schooling = 0.6 * urban - 0.5 * female - 0.02 * age + 0.4 * standing + rng.standard_normal(len(people))
    education = _cut(schooling, (0.40, 0.17, 0.13, 0.18, 0.12))
    means = 0.7 * urban + 0.6 * standing + 0.4 * education + rng.standard_normal(len(people))
    return {
        "sex": np.where(female, "female", "male").astype(object),
        "age": age,
        "education": np.array(BACKGROUND["education"], dtype=object)[education],
        "wealth": np.array(BACKGROUND["wealth"], dtype=object)[_cut(means, (0.2,) * 5)],
    }


def _cut(latent: Floats, shares: Sequence[float]) -> Codes:
    """Categories 0, 1, ... of a latent quantity, with thresholds that give the shares."""
    return np.searchsorted(np.quantile(latent, np.cumsum(shares)[:-1]), latent).astype(np.int8)


def _steps(people: pd.DataFrame, variable: str) -> Floats:
    """A background variable as 0, 1, ... in the order of its categories."""
    codes = pd.Categorical(people[variable], categories=list(BACKGROUND[variable])).codes
    return np.asarray(codes, dtype=np.float64)


def _four_points(positive: float) -> tuple[float, ...]:
    return (1 - positive) * 0.35, (1 - positive) * 0.65, positive * 0.75, positive * 0.25


class _Answers:
    """The answers of all households; `given` holds, per question, codes into its categories and `NO_ANSWER`."""

    def __init__(self, people: pd.DataFrame, effects: pd.DataFrame, rng: np.random.Generator):
        self.rng = rng
        self.count = len(people)
        self.given: dict[str, Codes] = {}
        self.everyone = np.ones(self.count, dtype=bool)
        self.satisfaction: Floats = np.zeros(self.count)
        self.district, districts = pd.factorize(people["district_id"])
        self.effects = effects.loc[districts]
        self.psu = people["psu"].to_numpy()
        self.enumerator = self.district * ENUMERATORS + people["enumerator"].to_numpy() - 1
        self.urban = (people["urban"] == "urban").to_numpy(float)
        self.female = (people["sex"] == "female").to_numpy(float)
        self.wealth = _steps(people, "wealth")
        self.reticence = self.noise() - 0.25 * _steps(people, "education") + 0.3 * self.female
        self.place = PSU_SD * np.sqrt(0.6) * self.by_psu()
        self.leniency = ENUMERATOR_SD * self.rng.standard_normal(self.enumerator.max() + 1)[self.enumerator]

    def noise(self) -> Floats:
        return self.rng.standard_normal(self.count)

    def by_psu(self) -> Floats:
        return np.asarray(self.rng.standard_normal(self.psu.max() + 1)[self.psu])

    def context(self, topic: str) -> Floats:
        """District, PSU, interviewer and background together: what moves all answers on a topic."""
        return np.asarray(
            DISTRICT_SD * self.effects[topic].to_numpy()[self.district]
            + self.place
            + PSU_SD * np.sqrt(0.4) * self.by_psu()
            + self.leniency
            + 0.08 * (self.wealth - 2)
            - 0.10 * self.female
        )

    def record(
        self, question: str, answer: Codes, categories: int, asked: NDArray[np.bool_], dont_know: float, refused: float
    ) -> None:
        """Write down an answer, or why there is none."""
        codes = answer.copy()
        unsure = 0.5 * self.reticence + self.noise()
        codes[unsure > np.quantile(unsure[asked], 1 - dont_know)] = categories
        codes[self.rng.random(self.count) < refused] = categories + 1
        codes[~asked] = categories + 2
        self.given[question] = codes

    def yes_no(
        self, question: str, latent: Floats, share: float, asked: NDArray[np.bool_], dont_know: float, refused: float
    ) -> Codes:
        """Put a yes-no question (yes is the first category); returns 1 for yes."""
        said = _cut(latent, (1 - share, share))
        self.record(question, 1 - said, 2, asked, dont_know, refused)
        return said

    def ask_about_service(self, name: str) -> None:
        service = SERVICES[name]
        need = service.urban_use * self.urban + 0.4 * self.by_psu() + self.noise()
        self.yes_no(f"{name}_used", need, service.used, self.everyone, USED_DONT_KNOW, REFUSED)
        users = self.given[f"{name}_used"] == 0
        context = self.context(name)
        halo = 0.5 * self.noise()
        latent = 0.5 * context
        for attribute in service.attributes:
            own = DISTRICT_SD * 0.6 * self.rng.standard_normal(len(self.effects))[self.district]
            share = service.satisfied + ATTRIBUTE_EASE.get(attribute, 0.0)
            step = _cut(0.8 * context + own + halo + self.noise(), _four_points(share))
            self.record(f"{name}_{attribute}", step, 4, users, service.dont_know, REFUSED)
            latent += ATTRIBUTE_EFFECTS[attribute] * (step - 1.5)
        latent += self.noise()
        if service.bribe_asked is not None:
            temptation = self.noise() - context
            bribe = f"{name}_bribe_asked"
            asked = self.yes_no(bribe, temptation, service.bribe_asked, users, BRIBE_DONT_KNOW, BRIBE_REFUSED)
            latent -= 0.6 * asked
        satisfied = _cut(latent, _four_points(service.satisfied))
        self.record(f"{name}_satisfaction", satisfied, 4, users, service.dont_know, REFUSED)
        self.satisfaction += users * (satisfied - 1.5)

    def ask_about_district(self) -> None:
        safety = _cut(self.context("safety") - 0.5 * self.female + self.noise(), _four_points(0.60))
        self.record("safety_after_dark", safety, 4, self.everyone, 0.03, REFUSED)
        responds = _cut(self.context("responsiveness") + self.noise(), _four_points(0.36))
        self.record("local_government_responds", responds, 4, self.everyone, 0.09, REFUSED)
        slight = self.noise() - self.context("discrimination")
        hurt = self.yes_no("discrimination", slight, 0.16, self.everyone, 0.03, REFUSED)
        anger = self.noise() - 0.15 * self.satisfaction
        complained = self.yes_no("complaint_made", anger, 0.14, self.everyone, 0.03, REFUSED)
        solved = self.context("responsiveness") + self.noise()
        self.yes_no("complaint_solved", solved, 0.38, self.given["complaint_made"] == 0, 0.06, REFUSED)
        effects = GOVERNANCE_EFFECTS
        latent = (
            0.65 * self.context("district")
            + effects["safety_after_dark"] * (safety - 1.5)
            + effects["local_government_responds"] * (responds - 1.5)
            + effects["discrimination"] * hurt
            + effects["complaint_made"] * complained
            + effects["police_used"] * (self.given["police_used"] == 0)
            + 0.04 * self.satisfaction
            + self.noise()
        )
        self.record("district_satisfaction", _cut(latent, _four_points(0.46)), 4, self.everyone, 0.04, REFUSED)


def true_values(population: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """The truth: district_id, indicator, truth (share 0..1), population_n (adults in the universe with an answer)."""
    adults = population["adults"] * population["represents"]
    rows = []
    for name, indicator in instrument.indicators.items():
        counts = pd.DataFrame(
            {
                "district_id": population["district_id"],
                "population_n": adults * valid_answers(population, indicator, instrument),
                "positive": adults * population[indicator.questions[0]].isin(indicator.positive),
            }
        )
        sums = counts.groupby("district_id").sum()
        rows.append(
            pd.DataFrame(
                {
                    "district_id": sums.index,
                    "indicator": name,
                    "truth": (sums["positive"] / sums["population_n"]).to_numpy(),
                    "population_n": sums["population_n"].to_numpy(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def valid_answers(population: pd.DataFrame, indicator: Indicator, instrument: Instrument) -> pd.Series[bool]:
    """Who is in the universe of an indicator and answered its question."""
    question = indicator.questions[0]
    valid = population[question].isin(instrument.scale(question))
    if indicator.universe is not None:
        valid &= population[indicator.universe.question].isin(indicator.universe.answers)
    return valid
