"""The variables of a draft: the column of each, its code map, and who was asked, with what of it is a guess."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from perception.intake.codebook import fold_text
from perception.intake.declarations import BACKGROUND
from perception.intake.drafting.answers import Meaning, category_codes, labels_in_use, number_reasons
from perception.intake.drafting.matching import Candidate, Match, Target, match_columns
from perception.intake.drafting.material import Material, is_number, last_name
from perception.intake.drafting.text import code, short
from perception.intake.instrument import Instrument, Universe
from perception.intake.readers import code_key
from perception.intake.wave_file import RowRule, Variable, Wave
from perception.intake.xlsform import Condition, conditions

MATCHES = ("variable", "column", "contains", "how", "score")
_BACKGROUND_NAMES = {
    "sex": ("gender", "resp_sex", "r_sex"),
    "urban": ("area", "locality", "urban_rural", "rural_urban", "area_type", "region", "residence"),
    "age": ("age_years", "resp_age", "r_age"),
    "wealth": ("quintile", "wealth_quintile", "windex5"),
    "education": ("educ", "edu", "education_level", "qualification"),
}
_BACKGROUND_WORDINGS = {
    "sex": ("Sex of the respondent", "Gender", "جنس"),
    "urban": ("Area", "Area: urban or rural", "Type of place of residence", "شہری یا دیہی"),
    "age": ("Age of the respondent in years", "Age", "عمر"),
    "wealth": ("Wealth quintile", "Wealth index quintile", "Income quintile"),
    "education": ("Highest level of education", "Education", "تعلیم"),
}
_BACKGROUND_TEXTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {
        "female": ("Female", "Woman", "F", "عورت", "خاتون"),
        "male": ("Male", "Man", "M", "مرد"),
        "transgender": ("Transgender", "Third gender", "خواجہ سرا"),
    },
    "urban": {"urban": ("Urban", "City", "U", "شہری"), "rural": ("Rural", "Village", "R", "دیہی")},
    "age": {},
    "wealth": {
        "lowest": ("Lowest", "Poorest", "Quintile 1", "First"),
        "second": ("Second", "Poor", "Quintile 2"),
        "middle": ("Middle", "Quintile 3", "Third"),
        "fourth": ("Fourth", "Rich", "Quintile 4"),
        "highest": ("Highest", "Richest", "Quintile 5", "Fifth"),
    },
    "education": {
        "none": ("None", "No schooling", "No education", "Never attended", "Illiterate", "ان پڑھ"),
        "primary": ("Primary", "پرائمری"),
        "middle": ("Middle", "مڈل"),
        "secondary": ("Secondary", "Matric", "Intermediate", "Matric or intermediate", "میٹرک", "انٹرمیڈیٹ"),
        "higher": ("Higher", "Bachelor", "Bachelor or higher", "Graduate", "Master", "University"),
    },
}
_NO_ANSWERS = {"note", "start", "end", "today", "deviceid", "username", "geopoint", "audit", "image", "audio", "video"}


@dataclass(frozen=True)
class DraftVariable:
    """A variable as proposed; per part of it (`source`, `map`, ...) what is a guess and why."""

    variable: Variable
    guesses: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Earlier:
    """The wave that the draft is modelled on, if any, and its codebook."""

    wave: Wave | None
    codebook: pd.DataFrame | None

    @property
    def id(self) -> str:
        """Its id, empty without one."""
        return self.wave.id if self.wave is not None else ""

    def variable(self, name: str) -> Variable | None:
        """Its declaration of a variable."""
        return self.wave.variables.get(name) if self.wave is not None else None

    def rows(self, name: str) -> pd.DataFrame:
        """Its codebook of a variable."""
        if self.codebook is None:
            return pd.DataFrame(columns=["question", "place", "label", "meaning"])
        return self.codebook[self.codebook["variable"] == name]

    def known_labels(self, name: str) -> dict[str, str]:
        """What each label (folded) was declared to mean."""
        rows = self.rows(name)[["label", "meaning"]].dropna()
        return {fold_text(str(label)): str(meaning) for label, meaning in rows.itertuples(index=False)}

    def codes(self, name: str) -> dict[str, str]:
        """What each code was declared to mean, where codes were declared."""
        variable = self.variable(name)
        if variable is None or variable.by == "label":
            return {}
        return {code_key(key): meaning for key, meaning in {**variable.map, **variable.missing}.items()}


def draft_variables(
    data: Material,
    instrument: Instrument,
    earlier: Earlier,
    taken: Iterable[str],
    rules: Sequence[RowRule],
) -> tuple[dict[str, DraftVariable], pd.DataFrame]:
    """Every variable that a column (not one of `taken`) was found for, and table `matches` of all: see `MATCHES`.

    `rules` are those of the rows that count: what they require is no filter of a question.
    """
    data, targets = data.counting(rules), _targets(instrument, earlier)
    matches = match_columns(targets, _candidates(data, earlier, set(taken)))
    used = {match.candidate.column for match in matches.values()}
    drafted: dict[str, DraftVariable] = {}
    for target in targets:
        before = earlier.variable(target.variable)
        if match := matches.get(target.variable):
            drafted[target.variable] = _drafted(data, match, target, instrument, earlier, used)
        elif before is not None and before.constant is not None:
            drafted[target.variable] = DraftVariable(before, {"constant": [f"the same in all of {earlier.id}"]})
    required = {
        question.name: {code_key(key) for key in rule.keep}
        for rule in rules
        if (question := data.question(rule.column)) is not None
    }
    for name in matches:
        drafted[name] = _with_filter(data, name, drafted, earlier, required)
    table = [
        (name, match.candidate.column, match.candidate.contains, match.how, match.score)
        if (match := matches.get(name))
        else (name, None, None, None, np.nan)
        for name in instrument.variables
    ]
    return drafted, pd.DataFrame(table, columns=list(MATCHES))


def _targets(instrument: Instrument, earlier: Earlier) -> list[Target]:
    places = {name: earlier.rows(name)["place"].min() for name in instrument.variables}
    last = max((place for place in places.values() if pd.notna(place)), default=1)
    targets = []
    for number, name in enumerate(instrument.variables):
        before = earlier.variable(name)
        asked = [text for texts in earlier.rows(name)["question"].dropna().unique() for text in texts.split(" | ")]
        names = before.sources if before is not None else []
        if before is not None and before.contains is not None:
            names = [f"{source}_{before.contains}" for source in names]
        place = places[name] / last if pd.notna(places[name]) else number / len(instrument.variables)
        if name in BACKGROUND:
            names, wordings = [*names, *_BACKGROUND_NAMES[name]], [*asked, *_BACKGROUND_WORDINGS[name]]
            categories = _BACKGROUND_TEXTS[name]
        else:
            question = instrument.questions[name]
            wordings = [*asked, *(text for text in (question.label.en, question.label.ur) if text)]
            categories = {
                key: tuple(text for text in (label.en, label.ur, key.replace("_", " ")) if text)
                for key, label in question.categories.items()
            }
        targets.append(Target(name, tuple(names), tuple(wordings), categories, place))
    return targets


def _candidates(data: Material, earlier: Earlier, taken: set[str]) -> list[Candidate]:
    """Columns that may hold a variable; of a select-multiple column, each of its answers."""
    chosen = _answers_looked_for(earlier)
    whole = {question.path for question, choice in data.asked.values() if choice is None}
    candidates = []
    for number, column in enumerate(data.columns):
        question, choice = data.asked.get(column, (None, None))
        if column in taken or (question is not None and question.type in _NO_ANSWERS):
            continue
        if question is not None and choice is not None and question.path in whole:
            continue
        wordings = [data.column_labels.get(column, column)]
        if column not in data.column_labels and " " not in column:  # an export with wordings for names has blanks
            wordings = []
        if question is not None:
            wordings += [text for text in question.labels.values() if choice is None]
            wordings += [f"{heading} {wordings[0]}" for heading in question.heading.values() if wordings]
        labels, place = data.value_labels.get(column, {}), number / len(data.columns)
        name = last_name(column)
        if choice is not None and question is not None:
            name = f"{question.name}_{choice}"
        answers = labels if question is not None and question.type == "select_multiple" and choice is None else {}
        answers = {**chosen.get(name, {}), **answers}
        for answer, label in answers.items():
            worded = tuple(f"{text}: {label}" for text in dict.fromkeys(wordings))
            candidates.append(Candidate(column, f"{name}_{answer}", worded, {}, (), place, answer))
        if not answers:
            codes = tuple(data.counts(column))
            candidates.append(Candidate(column, name, tuple(dict.fromkeys(wordings)), labels, codes, place))
    return candidates


def _answers_looked_for(earlier: Earlier) -> dict[str, dict[str, str]]:
    """Answers that the earlier wave looks for in select-multiple columns, by the column's own name."""
    found: dict[str, dict[str, str]] = {}
    for variable in earlier.wave.variables.values() if earlier.wave is not None else []:
        if variable.contains is not None:
            for source in variable.sources:
                found.setdefault(last_name(source), {})[code_key(variable.contains)] = code_key(variable.contains)
    return found


def _drafted(
    data: Material, match: Match, target: Target, instrument: Instrument, earlier: Earlier, used: set[str]
) -> DraftVariable:
    name, column = match.variable, match.candidate.column
    guesses: dict[str, list[str]] = {}
    if not match.certain:
        how = {
            "name": "same name, other wording",
            "earlier": f"same name as in {earlier.id}" if earlier.variable(name) else "usual name",
            "wording": f"by wording, {match.score:.2f}",
            "similar": f"by likeness of names, {match.score:.2f}",
            "answers": f"by its answers, {match.score:.2f}",
        }[match.how]
        heard = next(iter(match.candidate.wordings), None)
        guesses["source"] = [f"{how}: {short(heard)}" if heard else how]
    if match.candidate.contains is not None:
        contains = code(match.candidate.contains)
        return DraftVariable(Variable(source=column, contains=contains, map={1: "yes", 0: "no"}), guesses)
    sources = [column, *_other_versions(data, column, used)]
    if len(sources) > 1:
        guesses.setdefault("source", []).append("columns of two form versions: no row fills more than one")
    counts: dict[str, int] = {}
    for source in sources:
        for key, count in data.counts(source).items():
            counts[key] = counts.get(key, 0) + count
    labels = labels_in_use(match.candidate.labels, counts)
    declared, by = earlier.codes(name), ""
    if (question := data.question(column)) is not None and question.type == "select_multiple":
        meanings = {"0": Meaning("no", True), "1": Meaning("yes", True)}
    elif target.categories:
        known = earlier.known_labels(name)
        meanings, by = category_codes(counts, labels, target.categories, known, declared)
    else:
        limits = (0.0, 130.0) if name == "age" else instrument.questions[name].range
        meanings = number_reasons(counts, labels, limits, declared)
    parts = {
        "map": {key: meaning for key, meaning in meanings.items() if not meaning.is_reason},
        "missing": {key: meaning for key, meaning in meanings.items() if meaning.is_reason},
    }
    for part, found in parts.items():
        if reasons := _code_guesses(found, labels, by if part == "map" else "", earlier):
            guesses[part] = reasons
    if left := [key for key in counts if key not in meanings and (target.categories or not is_number(key))]:
        rows = sum(counts[key] for key in left)
        what = "stand for no category" if target.categories else "are no numbers"
        guesses.setdefault("source", []).append(f"{_told(left, labels)} {what} ({rows} rows)")
    codes = {part: {code(key): meaning.meaning for key, meaning in found.items()} for part, found in parts.items()}
    return DraftVariable(Variable.model_validate({"source": sources if len(sources) > 1 else column, **codes}), guesses)


def _code_guesses(meanings: Mapping[str, Meaning], labels: Mapping[str, str], by: str, earlier: Earlier) -> list[str]:
    unsure = [key for key, meaning in meanings.items() if not meaning.certain]
    if not unsure:
        return []
    if by:
        return [
            f"codes as in {earlier.id}, no labels to confirm them" if by == "earlier" else "no labels: codes by custom"
        ]
    return [f"meaning of {_told(unsure, labels)}"]


def _told(codes: Sequence[str], labels: Mapping[str, str]) -> str:
    told = ", ".join(f"{key} {short(labels[key])}" if labels.get(key, key) != key else short(key) for key in codes[:5])
    return told + (f" and {len(codes) - 5} more" if len(codes) > 5 else "")


def _other_versions(data: Material, column: str, used: set[str]) -> list[str]:
    """Unused columns of the same own name that are filled only where `column` and each other are not."""
    filled, found = data.codes[column].notna(), list[str]()
    for other in data.columns:
        if other not in used and last_name(other) == last_name(column):
            more = data.codes[other].notna()
            if more.any() and not (filled & more).any():
                filled, found = filled | more, [*found, other]
    return found


def _with_filter(
    data: Material,
    name: str,
    drafted: Mapping[str, DraftVariable],
    earlier: Earlier,
    required: Mapping[str, set[str]],
) -> DraftVariable:
    """The variable with who was asked: as the form says, as in the earlier wave, or as the blanks tell."""
    draft = drafted[name]
    sources = draft.variable.sources
    if question := data.question(sources[0]):
        universe, left = _universe(question.relevant, data, drafted, required)
        if universe is None and not left:
            return draft
        return _filtered(draft, universe, [f"the form asks only if {'; '.join(left)}"] if left else [])
    filled = data.filled(sources).to_numpy()
    if filled.mean() > 0.98:
        return draft
    before = earlier.variable(name)
    asked = before.asked_if if before is not None else None
    if asked is not None and asked.question in drafted:
        answers = _answered(data, drafted[asked.question].variable)
        if _explains(answers, asked.answers, filled):
            return _filtered(draft, asked, [f"as in {earlier.id}, and the blanks agree"])
    for other, draft_other in drafted.items():
        variable = draft_other.variable
        if not variable.map or variable.contains is not None or not _stands_before(data, variable, sources[0]):
            continue
        answers = _answered(data, variable)
        shares = pd.Series(filled).groupby(answers).mean()
        likely = [answer for answer in dict.fromkeys(variable.map.values()) if shares.get(answer, 0) > 0.5]
        if _explains(answers, likely, filled):
            return _filtered(draft, Universe(question=other, answers=likely), ["the blanks tell"])
    return _filtered(draft, None, [f"blank in {1 - filled.mean():.0%} of the rows, and nothing tells why"])


def _filtered(draft: DraftVariable, universe: Universe | None, reasons: list[str]) -> DraftVariable:
    part = "asked_if" if universe else "blank"
    update = {part: universe or "not_asked"}
    guesses = {**draft.guesses, part: reasons} if reasons else draft.guesses
    return DraftVariable(draft.variable.model_copy(update=update), guesses)


def _universe(
    relevant: str, data: Material, drafted: Mapping[str, DraftVariable], required: Mapping[str, set[str]]
) -> tuple[Universe | None, list[str]]:
    """A `relevant` expression as one variable and its answers, and what of it this leaves out.

    Of several variables the last counts; an earlier one is left out unless who was asked the last implies it.
    """
    names = {
        question.name: name
        for name, draft in drafted.items()
        for source in draft.variable.sources
        if (question := data.question(source)) is not None and draft.variable.map and draft.variable.contains is None
    }
    universes: list[Universe] = []
    left: list[str] = []
    for part in conditions(relevant):
        if isinstance(part, Condition) and not part.negated and required.get(part.name, {""}) <= part.codes:
            continue
        if isinstance(part, Condition) and part.name in names:
            meanings = drafted[names[part.name]].variable.map.items()
            answers = [meaning for key, meaning in meanings if (code_key(key) in part.codes) != part.negated]
            if answers:
                universes.append(Universe(question=names[part.name], answers=list(dict.fromkeys(answers))))
                continue
        left.append(part if isinstance(part, str) else _worded(part))
    if not universes:
        return None, left
    *outer, last = universes
    left += [f"{one.question} is {' or '.join(one.answers)}" for one in outer if one != last]
    return last, left


def _worded(condition: Condition) -> str:
    return f"{condition.name} is {'not ' if condition.negated else ''}{' or '.join(sorted(condition.codes))}"


def _stands_before(data: Material, variable: Variable, column: str) -> bool:
    return data.columns.index(variable.sources[0]) < data.columns.index(column)


def _answered(data: Material, variable: Variable) -> np.ndarray:
    """The category of each row, empty where there is none."""
    meanings = {code_key(key): meaning for key, meaning in variable.map.items()}
    answers = np.full(len(data.codes[variable.sources[0]]), "", dtype=object)
    for source in variable.sources:
        given = data.codes[source].astype("str").map(meanings)
        answers = np.where(given.notna(), given, answers)
    return answers


def _explains(answers: np.ndarray, asked: Sequence[str], filled: np.ndarray) -> bool:
    """Whether a column is filled for those who gave one of these answers and blank for those who gave another."""
    inside = np.isin(answers, list(asked))
    outside = ~inside & (answers != "")
    return bool(inside.any() and outside.any() and filled[inside].mean() >= 0.9 and filled[outside].mean() <= 0.01)
