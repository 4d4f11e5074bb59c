"""How a round writes answers down: columns, codes, codes for no answer; and the same said in the terms of wave.yml.

Which codes a round uses is said in the module of the round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from perception.intake.declarations import REASON_SUFFIX
from perception.intake.instrument import Instrument
from perception.simulate.questionnaire import PROVINCES, PROVINCES_IN_URDU, ROUNDS, WAIT, Round, service_of

Code = int | str


@dataclass(frozen=True)
class Coded:
    """How a question is written down: its columns (several when it moved), the code of each answer and of no answer.

    A question read from a select-multiple column is the choice that it `contains`; a number has no `codes`.
    """

    columns: tuple[str, ...]
    codes: Mapping[str, Code] = field(default_factory=dict)
    missing: Mapping[str, Code] = field(default_factory=dict)
    contains: str | None = None


@dataclass(frozen=True)
class Remedied:
    """What wave.yml says about the faults of its data: remedies as YAML lines, and spellings of districts."""

    remedies: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """A wave as it came from the field: its visits in order of submission (`fieldwork`, with faults, keys and district
    names as written), the districts of its province and how many PSUs were planned.
    """

    survey: Round
    province: str
    visits: pd.DataFrame
    units: pd.DataFrame
    instrument: Instrument
    planned_psus: int
    declared: Remedied

    @property
    def wave(self) -> str:
        """Wave id."""
        return f"{self.province}-{self.survey.name}"

    @property
    def complete(self) -> pd.DataFrame:
        """The visits that ended with an interview."""
        return self.visits[self.visits["result"] == "complete"].reset_index(drop=True)

    @property
    def dates(self) -> tuple[date, date]:
        """First and last day of fieldwork."""
        return self.survey.days[self.province]


def numbered(values: Iterable[str], start: int) -> dict[str, int]:
    """The values with consecutive codes."""
    return {value: code for code, value in enumerate(values, start)}


def codes_of(scale: Sequence[str], yes_no: Mapping[str, int], first: int, best_first: bool) -> dict[str, int]:
    """The codes of a scale: yes and no as given, any other from `first`, beginning with the best or the worst."""
    if set(scale) == {"yes", "no"}:
        return dict(yes_no)
    return numbered(reversed(scale) if best_first else scale, first)


def written(visits: pd.DataFrame, question: str, coded: Coded) -> pd.Series:
    """A question's answers as codes (object; None where it was not put)."""
    if question == WAIT:
        reasons = visits[WAIT + REASON_SUFFIX].astype(object).map(dict(coded.missing))
        numbers = visits[WAIT].fillna(reasons.astype(float))
        whole = numbers.round().astype("Int64").astype(object)
        return whole.where(numbers.isna() | (numbers % 1 == 0), numbers)
    codes = {**coded.missing, **coded.codes}
    answers = visits[question].astype("category").cat
    written_as = np.array([*(codes.get(answer) for answer in answers.categories), None], dtype=object)
    return pd.Series(written_as[answers.codes], index=visits.index)


def answer_labels(question: str, coded: Coded, instrument: Instrument, reasons: Mapping[str, str]) -> dict[Code, str]:
    """What the data file says of each code, in English."""
    texts = {answer: text.en for answer, text in instrument.questions[question].categories.items()}
    return {code: texts[answer] for answer, code in coded.codes.items()} | {
        code: reasons[reason] for reason, code in coded.missing.items()
    }


_ANCHORS = {
    "yes": "yes_no",
    "strongly_disagree": "agreement",
    "very_dissatisfied": "satisfaction",
    "very_unsafe": "safety",
}


def list_name(coded: Coded, scale: Sequence[str]) -> str:
    """A name for the answers offered."""
    return _ANCHORS[scale[0]] + ("_or_neither" if "neither" in coded.codes else "")


def variable_lines(coding: Mapping[str, Coded], survey: Round, instrument: Instrument) -> list[str]:
    """The questions' part of `variables` in a wave file; what repeats is written out once and then referred to."""
    lines: list[str] = []
    known: dict[str, str] = {}

    def named(text: str, anchor: str) -> str:
        if text not in known:
            known[text] = anchor if anchor not in known.values() else f"{anchor}_{len(known)}"
            return f"&{known[text]} {text}"
        return f"*{known[text]}"

    section = ""
    for question, coded in coding.items():
        about = service_of(question) or "government of the district"
        if about != section:
            section = about
            lines += ["", f"  # {about.replace('_', ' ').capitalize()}"]
        source = coded.columns[0] if len(coded.columns) == 1 else f"[{', '.join(coded.columns)}]"
        parts = [f"source: {source}"]
        if coded.contains is not None:
            parts += [f"contains: {coded.contains}", "map: " + named("{1: yes, 0: no}", "chosen")]
        elif coded.codes:
            codes = ", ".join(f"{code}: {answer}" for answer, code in coded.codes.items())
            parts.append("map: " + named(f"{{{codes}}}", list_name(coded, instrument.scale(question))))
        if coded.missing:
            reasons = ", ".join(f"{code}: {reason}" for reason, code in coded.missing.items())
            anchor = "no_minutes" if question == WAIT else "no_answer_alone" if len(coded.missing) > 2 else "no_answer"
            parts.append("missing: " + named(f"{{{reasons}}}", anchor))
        if condition := survey.asked_if(question):
            text = f"{{question: {condition[0]}, answers: [{condition[1]}]}}"
            parts.append("asked_if: " + named(text, "_".join(condition)))
        flow = f"  {question}: {{{', '.join(parts)}}}"
        lines += [flow] if len(flow) <= 120 else [f"  {question}:", *(f"    {part}" for part in parts)]
    return lines


def wave_text(
    delivery: Delivery, intro: str, body: str, how: Mapping[str, Coded], comparability: str = "", **facts: object
) -> str:
    """The wave file: comments and facts common to all rounds, the round's own `body` filled in, the questions.

    `body` has places for `names`, `psus`, `remedies`, `comparability` and the further `facts`.
    """
    filled = body.format(
        names=_block(_name_lines(delivery)),
        psus=delivery.planned_psus,
        remedies=_block(_remedy_lines(delivery)),
        comparability=comparability,
        **facts,
    )
    questions = variable_lines(how, delivery.survey, delivery.instrument)
    return "\n".join([*_head_lines(delivery, intro), filled.rstrip(), *questions]) + "\n"


def _block(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _head_lines(delivery: Delivery, intro: str) -> list[str]:
    survey, province = delivery.survey, PROVINCES[delivery.province]
    first, last = delivery.dates
    urdu_year = survey.name.translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    place = list(ROUNDS).index(survey.name)
    before = [f"predecessor: {delivery.province}-{list(ROUNDS)[place - 1]}"] if place else []
    return [
        f"# Citizen services survey, {province} {survey.name}. SIMULATED: nobody ever gave these answers.",
        "#",
        *(f"# {line}" for line in intro.strip().splitlines()),
        f"id: {delivery.wave}",
        f"round: {survey.name}",
        *before,
        "title:",
        f"  en: Citizen Services Survey, {province} {survey.name} (simulated)",
        f"  ur: شہری خدمات سروے، {PROVINCES_IN_URDU[delivery.province]} {urdu_year} (مصنوعی)",
        f"instrument: {delivery.instrument.id}",
        f"dates: {{start: {first.isoformat()}, end: {last.isoformat()}}}",
        "producer: Simulated by this project",
        "citation: >-",
        f"  Citizen Services Survey, {province} {survey.name}: simulated data, made by the perception pipeline to test",
        "  and demonstrate it. Not a survey of real respondents.",
        "licence: CC0-1.0",
        "simulated: true",
        "",
    ]


def _remedy_lines(delivery: Delivery) -> list[str]:
    if not delivery.declared.remedies:
        return []
    intro = [
        "# What is done about faults that the checks found, and why. The raw file stays as it is; remedies are applied",
        "# in this order before anything else is read, and the quality page counts the rows of each.",
        "remedies:",
    ]
    return [*intro, *delivery.declared.remedies, ""]


def _name_lines(delivery: Delivery) -> list[str]:
    names = delivery.declared.names
    if not names:
        return []
    return ["  names: # spellings that the gazetteer does not know", *(f"    {key}: {to}" for key, to in names.items())]
