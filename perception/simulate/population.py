"""The simulated people: what is true in each district, and how every adult of a finite population would answer.

Samples and files are not made here; a truth is the share in this population, so it is exactly what a survey estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake.declarations import BACKGROUND, REASON_SUFFIX, REASONS
from perception.intake.instrument import Indicator, Instrument
from perception.simulate.questionnaire import RARELY_SERVED, REASONS_NOT_USED, ROUNDS, SERVICES, WAIT, Round

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

ADULT_SHARE = 0.54
"""Adults 18+ per inhabitant: a round figure for both provinces, good enough for a simulation."""
DISTRICT_PSUS = 150
PSU_HOUSEHOLDS = 16
SMALLEST_STRATUM_PSUS = 30

DISTRICT_SD = 0.24
PSU_SD = 0.34
ENUMERATOR_SD = 0.08
STYLE_SD = 0.30
"""Latent standard deviations, where an answer's own noise has 1; they give shares a district SD of about 9 points.
Style is how readily a person agrees with whatever is read out."""

AGES = ((18, 25, 0.24), (25, 35, 0.28), (35, 45, 0.19), (45, 55, 0.13), (55, 65, 0.09), (65, 91, 0.07))
"""First age, first age above and share of each band of adults."""

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

NOT_USED_SHARES = {
    "far": 0.34,
    "cost": 0.26,
    "staff_absent": 0.30,
    "quality": 0.24,
    "bribe": 0.03,
    "not_allowed_alone": 0.10,
    "security": 0.05,
    "used_private": 0.30,
    "other": 0.04,
}
"""How often each reason is given for not using government health care when it was needed."""

NEVER_ALONE = 0.07
"""Adults who say that they never go out alone, where a round offers that answer: it is no answer on the scale."""


REFUSED = 0.01
USED_DONT_KNOW = 0.03
BRIBE_DONT_KNOW = 0.06
BRIBE_REFUSED = 0.03


def topics() -> tuple[str, ...]:
    """What districts differ in: each service, and the topics of the governance block."""
    return (*SERVICES, "district", "safety", "responsiveness", "discrimination")


def district_effects(units: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """True district effects by round: one row a district, one column a topic, each with mean 0 and SD 1; high is good.

    Half of each variance is explained by urban share, log density and province, the same in every round; of the rest a
    part is smooth in space (Gaussian kernel of 120 km) and shared between topics. The rest drifts from round to round,
    a district's topics together, and five districts truly improve and five worsen. `units` is one vintage's districts.
    """
    urban = units["urban_share"].to_numpy(float)
    density = np.log(units["population_2023"].to_numpy(float) / units["area_km2"].to_numpy(float))
    punjab = np.asarray(units["province_id"] == "punjab", dtype=np.float64)
    covariates = np.column_stack([_standard(urban), _standard(density), _standard(punjab)])
    known = np.column_stack([np.ones(len(units)), covariates])
    root = np.linalg.cholesky(_kernel(units, 120.0))
    shared = root @ rng.standard_normal(len(units))
    drift = 0.25 * rng.standard_normal(len(units))
    drift[rng.permutation(len(units))[:10]] += np.repeat([0.8, -0.8], 5)
    effects: dict[str, dict[str, Floats]] = {name: {} for name in ROUNDS}
    for topic in topics():
        explained = covariates @ (np.array([0.35, 0.15, 0.35]) + 0.35 * rng.standard_normal(3))
        smooth = np.sqrt(0.4) * shared + np.sqrt(0.6) * (root @ rng.standard_normal(len(units)))
        rest = np.sqrt(0.6) * smooth + np.sqrt(0.4) * rng.standard_normal(len(units))
        turn = drift + 0.2 * rng.standard_normal(len(units))
        for place, name in enumerate(ROUNDS):
            now = rest + (place - 1) * turn + 0.2 * rng.standard_normal(len(units))
            now -= known @ np.linalg.lstsq(known, now, rcond=None)[0]
            effects[name][topic] = (_standard(explained) + _standard(now)) / np.sqrt(2)
    index = pd.Index(units["district_id"], name="district_id")
    return {name: pd.DataFrame(columns, index=index) for name, columns in effects.items()}


def inherited_effects(effects: pd.DataFrame, parents: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """The effects of another vintage's districts: `parents` maps each to the district that it lies in.

    A district of its own keeps its effects; parts of a split one have their parent's and a little of their own.
    """
    own = effects.loc[parents].set_index(parents.index)
    split = parents.duplicated(keep=False).to_numpy()
    return own + 0.15 * split[:, None] * rng.standard_normal(own.shape)


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)


def _kernel(units: pd.DataFrame, kilometres: float) -> Floats:
    # Hundredths of a degree are enough, and keep the simulation still when a centroid moves by a hair.
    latitude = np.radians(units["latitude"].round(2).to_numpy(float))
    longitude = np.radians(units["longitude"].round(2).to_numpy(float)) * np.cos(latitude.mean())
    squared = 6371.0**2 * ((latitude[:, None] - latitude) ** 2 + (longitude[:, None] - longitude) ** 2)
    return np.asarray(np.exp(-0.5 * squared / kilometres**2) + 1e-6 * np.eye(len(units)))


def simulate_answers(
    people: pd.DataFrame, effects: pd.DataFrame, instrument: Instrument, survey: Round, rng: np.random.Generator
) -> pd.DataFrame:
    """The finite population of a round: `people` (with a column `enumerator`) and how each of them answers.

    Added is every question of the round, as a categorical of the instrument's answers and the reasons for none; a
    number is a float with its reasons beside it. Don't know, refusal and the interviewer belong to the household, as if
    the census of it had been taken with the same questionnaire.
    """
    answers = _Answers(people, effects, instrument, survey, rng)
    for service in SERVICES:
        answers.ask_about_service(service)
    answers.ask_about_district()
    columns: dict[str, Any] = {}
    for name in survey.questions(instrument):
        if name == WAIT:
            columns |= answers.wait
        else:
            columns[name] = pd.Categorical.from_codes(
                answers.given[name], pd.Index([*instrument.scale(name), *REASONS])
            )
    return pd.concat([people, pd.DataFrame(columns)], axis=1)


def simulate_people(units: pd.DataFrame, rng: np.random.Generator, size: int = 1) -> pd.DataFrame:
    """The households of a round, all of whose `adults` are alike; about half of `size` multiplies their PSUs.

    Columns: district_id, province_id, urban, stratum, psu (unique), household, adults, represents (adults of the
    district that one simulated adult stands for), and background variables.
    """
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
    larger = max(1, size // 2)
    psus = larger * np.maximum(np.round(share * DISTRICT_PSUS).astype(int), SMALLEST_STRATUM_PSUS)
    stratum = np.repeat(np.arange(len(strata)), psus * PSU_HOUSEHOLDS)
    psu = np.repeat(np.arange(psus.sum()), PSU_HOUSEHOLDS)
    people = strata.loc[stratum, ["district_id", "province_id", "urban"]].reset_index(drop=True)
    people["stratum"], people["psu"] = stratum, psu
    people["household"] = np.tile(np.arange(1, PSU_HOUSEHOLDS + 1), psus.sum())
    people["adults"] = 1 + rng.binomial(6, 0.33, len(people))
    simulated = np.bincount(stratum, people["adults"])
    people["represents"] = (strata["total"].to_numpy(float) / simulated)[stratum]
    return people.assign(**_background(people, rng))


def _background(people: pd.DataFrame, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    female = rng.random(len(people)) < 0.5
    first, above, shares = (np.array(column) for column in zip(*AGES, strict=True))
    band = rng.choice(len(AGES), len(people), p=shares)
    age = np.floor(first[band] + rng.random(len(people)) ** 1.2 * (above - first)[band]).astype(int)
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


class _Answers:
    """The answers of all households; `given` holds, per question, codes into its categories and `REASONS`."""

    def __init__(
        self,
        people: pd.DataFrame,
        effects: pd.DataFrame,
        instrument: Instrument,
        survey: Round,
        rng: np.random.Generator,
    ):
        self.rng, self.instrument, self.survey = rng, instrument, survey
        self.count = len(people)
        self.given: dict[str, Codes] = {}
        self.wait: dict[str, Any] = {}
        self.everyone: Flags = np.ones(self.count, dtype=bool)
        self.satisfaction: Floats = np.zeros(self.count)
        self.district, self.districts = pd.factorize(people["district_id"])
        self.effects = effects.loc[self.districts]
        self.psu = people["psu"].to_numpy()
        team = people["enumerator"].max()
        self.enumerator = self.district * team + people["enumerator"].to_numpy() - 1
        self.urban = (people["urban"] == "urban").to_numpy(float)
        self.female = (people["sex"] == "female").to_numpy(float)
        self.wealth = _steps(people, "wealth")
        self.reticence = self.noise() - 0.25 * _steps(people, "education") + 0.3 * self.female
        self.style = STYLE_SD * self.noise()
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

    def asked(self, question: str) -> Flags:
        """Who is asked a question, by the answer to the one it depends on."""
        condition = self.survey.asked_if(question)
        if condition is None:
            return self.everyone
        answers = self.instrument.scale(condition[0])
        return np.asarray(self.given[condition[0]] == answers.index(condition[1]))

    def record(self, question: str, answer: Codes, dont_know: float, refused: float) -> None:
        """Write down an answer, or why there is none."""
        asked, categories = self.asked(question), len(self.instrument.scale(question))
        codes = answer.copy()
        unsure = 0.5 * self.reticence + self.noise()
        if dont_know:
            codes[unsure > np.quantile(unsure[asked], 1 - dont_know)] = categories + REASONS.index("dont_know")
        codes[self.rng.random(self.count) < refused] = categories + REASONS.index("refused")
        codes[~asked] = categories + REASONS.index("not_asked")
        self.given[question] = codes

    def yes_no(self, question: str, latent: Floats, share: float, dont_know: float, refused: float) -> Codes:
        """Put a yes-no question (yes is the first category); returns 1 for yes."""
        said = _cut(latent, (1 - share, share))
        self.record(question, 1 - said, dont_know, refused)
        return said

    def graded(self, question: str, latent: Floats, positive: float, dont_know: float) -> Floats:
        """Put a question on a scale whose two upper categories have the share `positive`; returns steps around 0.

        Those who take the middle category where it is offered would otherwise have taken the one below.
        """
        offered, scale = self.survey.scale(question, self.instrument), self.instrument.scale(question)
        negative = (0.35, 0.65) if len(offered) == 4 else (0.33, 0.45, 0.22)
        step = _cut(latent, [*((1 - positive) * share for share in negative), 0.75 * positive, 0.25 * positive])
        steps = np.array([-1.5, -0.5, 0.5, 1.5] if len(offered) == 4 else [-1.5, -0.5, 0.0, 0.5, 1.5])
        places = np.array([scale.index(answer) for answer in offered], dtype=np.int8)
        self.record(question, places[step], dont_know, REFUSED)
        return steps[step]

    def ask_about_service(self, name: str) -> None:
        service, used, needed = SERVICES[name], f"{name}_used", f"{name}_needed"
        need = service.urban_use * self.urban + 0.4 * self.by_psu() + self.noise()
        if name == RARELY_SERVED[0]:
            need -= 2.0 * (self.districts[self.district] == RARELY_SERVED[1])
        uses = _cut(need, (1 - service.used, service.used))
        needs = uses | _cut(need + 0.5 * self.noise(), (0.8 * (1 - service.used), 1 - 0.8 * (1 - service.used)))
        if self.survey.need == "first":
            self.record(needed, 1 - needs, USED_DONT_KNOW, REFUSED)
        self.record(used, 1 - uses, USED_DONT_KNOW, REFUSED)
        if self.survey.need == "of_non_users":
            self.record(needed, 1 - needs, USED_DONT_KNOW, REFUSED)
        context = self.context(name)
        halo = 0.5 * self.noise()
        positive = service.satisfied + service.trend * (list(ROUNDS).index(self.survey.name) - 1)
        latent = 0.5 * context
        for attribute in service.attributes:
            own = DISTRICT_SD * 0.6 * self.rng.standard_normal(len(self.effects))[self.district]
            share = positive + ATTRIBUTE_EASE.get(attribute, 0.0)
            wish = 0.8 * context + own + halo + self.style + self.noise()
            step = self.graded(f"{name}_{attribute}", wish, share, service.dont_know)
            latent += ATTRIBUTE_EFFECTS[attribute] * step
        latent += self.noise()
        if service.bribe_asked is not None:
            temptation = self.noise() - context
            asked = self.yes_no(f"{name}_bribe_asked", temptation, service.bribe_asked, BRIBE_DONT_KNOW, BRIBE_REFUSED)
            latent -= 0.6 * asked
        if name == "health":
            self.ask_about_wait(context)
            self.ask_why_not_used()
        satisfied = self.graded(f"{name}_satisfaction", latent, positive, service.dont_know)
        self.satisfaction += self.asked(f"{name}_satisfaction") * satisfied

    def ask_about_wait(self, context: Floats) -> None:
        """Minutes, to the nearest five: longer where the service is worse."""
        minutes = np.maximum(5 * np.round((42 - 12 * context + 14 * self.noise()) / 5), 5)
        self.record(WAIT, np.full(self.count, -1, dtype=np.int8), 0.05, REFUSED)
        reasons = self.given[WAIT]
        self.wait = {
            WAIT: np.where(reasons < 0, minutes, np.nan),
            WAIT + REASON_SUFFIX: pd.Categorical.from_codes(reasons, pd.Index(REASONS)),
        }

    def ask_why_not_used(self) -> None:
        if self.survey.need == "no":
            return
        pull = {reason: np.zeros(self.count) for reason in NOT_USED_SHARES}
        pull["far"] -= 0.6 * self.urban
        pull["cost"] -= 0.25 * (self.wealth - 2)
        pull["not_allowed_alone"] += 1.5 * self.female
        pull["used_private"] += 0.25 * (self.wealth - 2)
        given = [_cut(pull[reason] + self.noise(), (1 - share, share)) for reason, share in NOT_USED_SHARES.items()]
        private = list(NOT_USED_SHARES).index("used_private")
        given[private] |= np.sum(given, axis=0) == 0  # a reason is always named
        for reason, said in zip(NOT_USED_SHARES, given, strict=True):
            self.record(f"{REASONS_NOT_USED}{reason}", 1 - said, 0.0, 0.0)

    def ask_about_district(self) -> None:
        safety = self.graded("safety_after_dark", self.context("safety") - 0.5 * self.female + self.noise(), 0.60, 0.03)
        if self.survey.neither:
            alone = _cut(self.female + 0.7 * self.noise(), (1 - NEVER_ALONE, NEVER_ALONE)) == 1
            self.given["safety_after_dark"][alone] = 4 + REASONS.index("not_asked")
        responds = self.graded("local_government_responds", self.context("responsiveness") + self.noise(), 0.36, 0.09)
        slight = self.noise() - self.context("discrimination")
        hurt = self.yes_no("discrimination", slight, 0.16, 0.03, REFUSED)
        anger = self.noise() - 0.15 * self.satisfaction
        complained = self.yes_no("complaint_made", anger, 0.14, 0.03, REFUSED)
        solved = self.context("responsiveness") + self.noise()
        self.yes_no("complaint_solved", solved, 0.38, 0.06, REFUSED)
        effects = GOVERNANCE_EFFECTS
        latent = (
            0.65 * self.context("district")
            + effects["safety_after_dark"] * safety
            + effects["local_government_responds"] * responds
            + effects["discrimination"] * hurt
            + effects["complaint_made"] * complained
            + effects["police_used"] * (self.given["police_used"] == 0)
            + 0.04 * self.satisfaction
            + self.noise()
        )
        self.graded("district_satisfaction", latent, 0.46, 0.04)


def true_values(population: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """The truth: district_id, indicator, truth (share 0..1, mean or quantile), population_n (adults who answered).

    Indicators of questions that the round did not ask are left out.
    """
    adults = population["adults"] * population["represents"]
    rows = []
    for name, indicator in instrument.available_indicators(population.columns).items():
        valid = valid_answers(population, indicator, instrument)
        counts = pd.DataFrame(
            {
                "district_id": population["district_id"],
                "population_n": adults * valid,
                "total": (adults * quantity(population, indicator)).where(valid, 0.0),
            }
        )
        sums = counts.groupby("district_id").sum()
        truth = sums["total"] / sums["population_n"]
        if indicator.quantile is not None:
            answers = population.loc[valid, indicator.questions[0]]
            truth = pd.Series(
                {
                    district: np.quantile(
                        own, indicator.quantile, weights=adults[own.index].to_numpy(), method="inverted_cdf"
                    )
                    for district, own in answers.groupby(population["district_id"])
                }
            ).reindex(sums.index)
        rows.append(
            pd.DataFrame(
                {
                    "district_id": sums.index,
                    "indicator": name,
                    "truth": truth.to_numpy(float),
                    "population_n": sums["population_n"].to_numpy(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def quantity(people: pd.DataFrame, indicator: Indicator) -> pd.Series:
    """1 where any answer is positive and 0 where none is, or the number; only of use where the answers are valid."""
    if indicator.kind != "share":
        return people[indicator.questions[0]]
    positive = [people[question].isin(indicator.positive) for question in indicator.questions]
    return pd.concat(positive, axis=1).any(axis=1).astype(float)


def valid_answers(people: pd.DataFrame, indicator: Indicator, instrument: Instrument) -> pd.Series[bool]:
    """Who is in the universe of an indicator and answered: one of its questions positively, or all put."""
    if indicator.kind != "share":
        valid = people[indicator.questions[0]].notna()
    else:
        columns = [people[question] for question in indicator.questions]
        given = [column.isin(instrument.scale(q)) for q, column in zip(indicator.questions, columns, strict=True)]
        settled = [known | (column == "not_asked") for known, column in zip(given, columns, strict=True)]
        positive = quantity(people, indicator) == 1
        valid = positive | (pd.concat(settled, axis=1).all(axis=1) & pd.concat(given, axis=1).any(axis=1))
    if indicator.universe is not None:
        valid &= people[indicator.universe.question].isin(indicator.universe.answers)
    return valid
