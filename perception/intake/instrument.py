"""The questionnaire: its questions and scales, the indicators made from them and the driver models declared for it.

One file a questionnaire, `data/raw/instruments/<id>.yml`; how one wave coded the answers is the wave file's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perception.intake.declarations import (
    AGE_GROUPS,
    BACKGROUND,
    ID_PATTERN,
    NAME_PATTERN,
    REASON_SUFFIX,
    REASONS,
    REPLICATE_PREFIX,
    Declaration,
    Text,
    load_declaration,
)
from perception.schemas import LEVELS, TABLES

Identifier = Annotated[str, Field(pattern=ID_PATTERN)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Level = Literal["district", "division", "province", "all"]

_EDUCATION = ("accessibility", "affordability", "quality_of_facilities", "equal_treatment", "effective_delivery")
SDG_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "healthcare": (*_EDUCATION[:4], "courtesy"),
    "education_primary": _EDUCATION,
    "education_secondary": _EDUCATION,
    "government_services": ("accessibility", "affordability", "equal_treatment", "effective_delivery", "timeliness"),
}
"""The service areas of SDG indicator 16.6.2 and the five attributes of each (UNDP, metadata of the indicator, 2021)."""
SDG_AVERAGE_PREFIX = "sdg_16_6_2_"


class Question(Declaration):
    """A question as harmonised: its wording, its type and its categories (an ordinal's from worst to best)."""

    label: Text
    type: Literal["category", "ordinal", "number"]
    categories: dict[Name, Text] = {}
    unit: str = ""
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _categories_fit_the_type(self) -> Question:
        if self.type == "number" and self.categories:
            raise ValueError("a number has no categories. Remove them or change the type.")
        if self.type != "number" and len(self.categories) < 2:
            raise ValueError("needs at least two categories. List them, an ordinal's from worst to best.")
        if reserved := set(self.categories) & set(REASONS):
            raise ValueError(
                f"{sorted(reserved)} are reasons for no answer. Map such codes under `missing` of the wave."
            )
        return self


class Universe(Declaration):
    """Who an indicator is about: respondents whose answer to `question` is one of `answers`."""

    question: Name
    answers: Annotated[list[Name], Field(min_length=1)]


class Indicator(Declaration):
    """A quantity per respondent: 1 when the answer (or any of several) is `positive`, or the number itself.

    `target` is the value that every district should reach; rankings say how probably one is on its wrong side.
    Of a number the mean is estimated, or with `quantile` the value that this part of the respondents does not exceed
    (0.5 is the median).
    """

    label: Text
    question: Name | None = None
    any_of: list[Name] = []
    positive: list[Name] = []
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    universe: Universe | None = None
    population: str
    higher_is_better: bool = True
    headline: bool = False
    sensitive: bool = False
    minimum_level: Level = "district"
    target: float | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Indicator:
        if (self.question is None) == (not self.any_of):
            raise ValueError("needs either `question` or `any_of`. Give one of the two.")
        if self.target is not None and self.positive and not 0 < self.target < 1:
            raise ValueError("the `target` of a share lies between 0 and 1. Write 0.6 for 60 percent.")
        if self.quantile is not None and self.positive:
            raise ValueError("`quantile` is of a number, which has no `positive` answers. Give one of the two.")
        return self

    @property
    def questions(self) -> list[str]:
        """The questions that the indicator is made from."""
        return [self.question] if self.question is not None else list(self.any_of)

    @property
    def needed_questions(self) -> set[str]:
        """The questions that must have been asked: those of the indicator and of its universe."""
        return {*self.questions, *([self.universe.question] if self.universe else [])}

    @property
    def kind(self) -> Literal["share", "mean", "quantile"]:
        """`share` of a 0/1 quantity, or `mean` or `quantile` of a number (a number has no positive answers)."""
        if self.positive:
            return "share"
        return "mean" if self.quantile is None else "quantile"


class Index(Declaration):
    """A weighted mean of shares, the same basket everywhere: how far people are satisfied with services as a whole.

    `weights` gives the indicators and what each counts for; only their proportions matter.
    """

    label: Text
    weights: Annotated[dict[Name, Annotated[float, Field(gt=0)]], Field(min_length=2)]
    population: str
    headline: bool = False
    target: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each indicator, summing to 1."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}


class SdgService(Declaration):
    """A service that counts in SDG indicator 16.6.2: the indicators of its attributes and of overall satisfaction.

    `attributes` gives the indicator of each of the area's five attributes (see `SDG_ATTRIBUTES`).
    """

    attributes: dict[Name, Name]
    overall: Name

    @property
    def indicators(self) -> list[str]:
        """The indicators that the service is judged by."""
        return [*self.attributes.values(), self.overall]


class Service(Declaration):
    """A public service, or a subject such as safety, and the indicators and indices about it; each has a page."""

    label: Text
    indicators: Annotated[list[Name], Field(min_length=1)]


class Predictor(Declaration):
    """A term of a driver model: a question, a background variable or an indicator, and how it enters.

    Those who do not know are left out of the model, or with `dont_know` kept as a category of their own.
    """

    variable: str
    form: Literal["category", "score"] = "category"
    reference: str | None = None
    dont_know: bool = False


class DriverModel(Declaration):
    """A model of one indicator on drivers, holding controls constant; association, not cause.

    `logit` models whether the answer is positive, `ordered_logit` the whole scale that it was given on (the outcome is
    then a question whose positive answers are its best ones). It is fitted on the whole wave or on each province.
    """

    label: Text
    outcome: Name
    model: Literal["logit", "ordered_logit"] = "logit"
    level: Literal["province", "all"] = "all"
    drivers: Annotated[list[Predictor], Field(min_length=1)]
    controls: list[Predictor] = []

    def predictors(self) -> Iterator[tuple[str, Predictor]]:
        """Every term with its kind, `driver` or `control`."""
        for predictor in self.drivers:
            yield "driver", predictor
        for predictor in self.controls:
            yield "control", predictor


class Instrument(Declaration):
    """A questionnaire: questions, indicators, indices of them, driver models.

    `overall` is the question on satisfaction with everything, with which other scales are expected to go along;
    `batteries` are blocks of questions on one scale, asked one after the other; `quality` sets thresholds of checks.
    `services` groups indicators by what they are about.
    `sdg_16_6_2` names the services that count in this SDG indicator, by its service areas.
    """

    id: Identifier
    title: Text
    source: str
    questions: dict[Name, Question]
    indicators: dict[Name, Indicator]
    indices: dict[Name, Index] = {}
    services: dict[Name, Service] = {}
    sdg_16_6_2: dict[Name, SdgService] = {}
    driver_models: dict[Name, DriverModel] = {}
    overall: Name | None = None
    batteries: dict[Name, Annotated[list[Name], Field(min_length=2)]] = {}
    quality: dict[str, dict[str, float]] = {}

    def scale(self, variable: str) -> tuple[str, ...]:
        """The categories, in order, of a question or background variable; empty for a number."""
        if variable in self.questions:
            return tuple(self.questions[variable].categories)
        return BACKGROUND[variable]

    @property
    def variables(self) -> list[str]:
        """All harmonised variables that a wave may fill: background first, then questions."""
        return [*BACKGROUND, *self.questions]

    def available_indicators(self, variables: Iterable[str]) -> dict[str, Indicator]:
        """The indicators whose questions (universe included) are among `variables`."""
        there = set(variables)
        return {name: indicator for name, indicator in self.indicators.items() if indicator.needed_questions <= there}

    @property
    def all_indices(self) -> dict[str, Index]:
        """The indices declared, and of each service in SDG indicator 16.6.2 the plain average of its attributes."""
        averages = {
            SDG_AVERAGE_PREFIX + area: Index(
                label=Text(en=f"SDG 16.6.2 {area.replace('_', ' ')}: average of the five attributes"),
                weights=dict.fromkeys(service.attributes.values(), 1.0),
                population=self.indicators[service.overall].population,
            )
            for area, service in self.sdg_16_6_2.items()
        }
        return self.indices | averages

    @property
    def service_of(self) -> dict[str, str]:
        """The service of each indicator or index that has one."""
        return {part: name for name, service in self.services.items() for part in service.indicators}

    @property
    def sdg_parts(self) -> dict[str, str]:
        """What an indicator or index is in SDG indicator 16.6.2, such as healthcare/accessibility."""
        return {
            name: f"{area}/{part}"
            for area, service in self.sdg_16_6_2.items()
            for part, name in {
                **service.attributes,
                "average": SDG_AVERAGE_PREFIX + area,
                "overall": service.overall,
            }.items()
        }

    def available_indices(self, variables: Iterable[str]) -> dict[str, Index]:
        """The indices of which every indicator is available: without one of them it would be another index."""
        there = self.available_indicators(variables)
        return {name: index for name, index in self.all_indices.items() if index.weights.keys() <= there.keys()}

    def questions_of(self, index: Index) -> set[str]:
        """The questions that must have been asked for an index."""
        return {question for name in index.weights for question in self.indicators[name].needed_questions}

    @model_validator(mode="after")
    def _names_resolve(self) -> Instrument:
        numbers = [name for name, question in self.questions.items() if question.type == "number"]
        taken = {*TABLES["responses"].names, *(name + REASON_SUFFIX for name in numbers)}
        mistakes = [
            *(
                f"question {name} has the name of a column that `responses` has anyway"
                for name in self.questions
                if name in taken or name.startswith(REPLICATE_PREFIX)
            ),
            *(
                f"indicator {name} has the name of a variable"
                for name in self.indicators
                if name in self.questions or name in BACKGROUND
            ),
        ]
        named = {"overall": [self.overall] if self.overall else []}
        named |= {f"battery {name}": questions for name, questions in self.batteries.items()}
        mistakes += [
            f"{who}: {question} is not a question with categories"
            for who, questions in named.items()
            for question in questions
            if question not in self.questions or question in numbers
        ]
        for name, indicator in self.indicators.items():
            asked = dict.fromkeys(indicator.questions, indicator.positive)
            if indicator.universe is not None:
                asked[indicator.universe.question] = indicator.universe.answers
            for question, answers in asked.items():
                mistakes += self._unknown_answers(f"indicator {name}", question, answers)
            mistakes += [
                f"indicator {name}: {question} is a background variable, not a question"
                for question in indicator.questions
                if question in BACKGROUND
            ]
            if indicator.kind != "share" and (indicator.any_of or indicator.question not in numbers):
                mistakes.append(f"indicator {name} has no `positive` answers, and its question is not a number")
        for name, index in self.indices.items():
            mistakes += self._index_mistakes(name, index)
        mistakes += self._service_mistakes()
        mistakes += self._sdg_mistakes()
        for name, model in self.driver_models.items():
            if model.outcome not in self.indicators:
                mistakes.append(f"driver model {name}: outcome {model.outcome} is not an indicator")
            elif self.indicators[model.outcome].kind != "share":
                mistakes.append(f"driver model {name}: outcome {model.outcome} is not a share")
            elif model.model == "ordered_logit" and not self._is_top_of_a_scale(self.indicators[model.outcome]):
                mistakes.append(
                    f"driver model {name}: the positive answers of {model.outcome} are not the best of one ordinal "
                    "question; take `model: logit`"
                )
            for _, predictor in model.predictors():
                mistakes += self._predictor_mistakes(name, predictor)
        if mistakes:
            raise ValueError("; ".join(mistakes) + ". Correct these names.")
        return self

    def _unknown_answers(self, who: str, question: str, answers: list[str]) -> list[str]:
        if question not in self.questions and question not in BACKGROUND:
            return [f"{who}: {question} is not a question"]
        unknown = [answer for answer in answers if answer not in self.scale(question)]
        return [f"{who}: {question} has no answers {unknown}"] if unknown else []

    def _index_mistakes(self, name: str, index: Index) -> Iterator[str]:
        if name in self.indicators or name in self.questions or name in BACKGROUND:
            yield f"index {name} has the name of an indicator or variable"
        for part in index.weights:
            yield from self._part_mistakes(f"index {name}", part)

    def _part_mistakes(self, who: str, part: str) -> Iterator[str]:
        indicator = self.indicators.get(part)
        if indicator is None:
            yield f"{who}: {part} is not an indicator"
        elif indicator.kind != "share" or indicator.sensitive or indicator.minimum_level != LEVELS[0]:
            yield f"{who}: {part} must be a share, not sensitive, and published by district"
        elif not indicator.higher_is_better:
            yield f"{who}: of {part} a low value is good. Declare the share of the opposite answers"

    def _service_mistakes(self) -> Iterator[str]:
        named = Counter(part for service in self.services.values() for part in service.indicators)
        for name, service in self.services.items():
            for part in dict.fromkeys(service.indicators):
                if part not in self.indicators and part not in self.indices:
                    yield f"service {name}: {part} is not an indicator or index"
                elif named[part] > 1:
                    yield f"service {name}: {part} stands {named[part]} times under `services`"

    def _sdg_mistakes(self) -> Iterator[str]:
        named = Counter(part for service in self.sdg_16_6_2.values() for part in service.indicators)
        for area, service in self.sdg_16_6_2.items():
            who = f"sdg_16_6_2 {area}"
            if area not in SDG_ATTRIBUTES:
                yield f"{who}: the service areas are {', '.join(SDG_ATTRIBUTES)}"
            else:
                given, expected = list(service.attributes), SDG_ATTRIBUTES[area]
                yield from (f"{who}: attribute {name} is missing" for name in expected if name not in given)
                yield from (f"{who}: {name} is not an attribute of it" for name in given if name not in expected)
            if {SDG_AVERAGE_PREFIX + area} & {*self.indices, *self.indicators, *self.questions}:
                yield f"{who}: {SDG_AVERAGE_PREFIX + area} is the name of its average and cannot be declared"
            users = self.indicators[service.overall].universe if service.overall in self.indicators else None
            for part in dict.fromkeys(service.indicators):
                if named[part] > 1:
                    yield f"{who}: {part} stands {named[part]} times in sdg_16_6_2"
                yield from self._part_mistakes(who, part)
                if (indicator := self.indicators.get(part)) is None:
                    continue
                if indicator.universe is None:
                    yield f"{who}: {part} has no `universe`, but only users of the service are asked"
                elif users is not None and indicator.universe != users:
                    yield f"{who}: the universe of {part} is not that of {service.overall}"
                if indicator.kind == "share" and not self._counts_upper_half(indicator):
                    yield f"{who}: `positive` of {part} must be the upper half of the answers to an ordinal question"

    def _counts_upper_half(self, indicator: Indicator) -> bool:
        question = self.questions.get(indicator.question or "")
        if question is None or question.type != "ordinal":
            return False
        scale = list(question.categories)
        return set(indicator.positive) == set(scale[(len(scale) + 1) // 2 :])

    def _is_top_of_a_scale(self, indicator: Indicator) -> bool:
        if indicator.question is None or self.questions[indicator.question].type != "ordinal":
            return False
        scale = self.scale(indicator.question)
        return 0 < len(indicator.positive) < len(scale) and set(scale[-len(indicator.positive) :]) == set(
            indicator.positive
        )

    def _predictor_mistakes(self, model: str, predictor: Predictor) -> list[str]:
        who, variable = f"driver model {model}", predictor.variable
        if variable in self.indicators and self.indicators[variable].kind != "share":
            return [f"{who}: {variable} is a {self.indicators[variable].kind}; name its question"]
        if variable in self.indicators:
            scale: tuple[str, ...] = ("no", "yes")
        elif variable == "age_group":
            scale = AGE_GROUPS
        elif variable in self.variables:
            scale = self.scale(variable)
        else:
            return [f"{who}: {variable} is not a question, background variable or indicator"]
        if predictor.reference is not None and predictor.reference not in scale:
            return [f"{who}: {variable} has no answer {predictor.reference}"]
        if predictor.dont_know and (predictor.form == "score" or variable not in self.questions):
            return [f"{who}: only a question in the form `category` can keep those who do not know of {variable}"]
        return []


def load_instrument(path: Path) -> Instrument:
    """Read an instrument file; InputError lists every mistake."""
    return load_declaration(path, Instrument)
