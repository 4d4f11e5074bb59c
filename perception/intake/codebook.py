"""What a wave's files and form say of each variable, and how that differs from the wave it is compared with.

Differences must be declared with a verdict, which trends obey; nothing here looks at answers.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import pandas as pd

from perception.errors import Problem
from perception.intake.declarations import BACKGROUND, REASONS
from perception.intake.instrument import Instrument
from perception.intake.readers import code_key
from perception.intake.wave_file import Comparison, Variable, Wave
from perception.schemas import TABLES, conform

ASPECTS = ("new", "lost", "wording", "labels", "codes", "scale", "direction", "filter", "order")
VERDICTS = ("same", "recoded", "break")
"""How far a variable compares, from wholly to not at all."""
SOMEBODY = "not everybody"
"""Who was asked, where a wave only says that some were not (`blank: not_asked`)."""

_REFUSED = {"scale": ("same",), "new": ("same", "recoded"), "lost": ("same", "recoded")}
_NUMBERING = re.compile(r"^\s*[a-z]{0,4}\d+[a-z]?\s*[.):]\s+", re.IGNORECASE)
_ONE_LETTER = str.maketrans({"ي": "ی", "ى": "ی", "ك": "ک", "ه": "ہ"})
STATA_LABEL = 80
"""Stata cuts the label of a column there: one as long as that is compared as far as it goes."""


def fold_text(text: str) -> str:
    """`text` as it is compared: words only, without case, punctuation, question number or ways to type a letter."""
    plain = unicodedata.normalize("NFKC", _NUMBERING.sub("", text)).translate(_ONE_LETTER)
    return " ".join(re.sub(r"[\W_]+", " ", plain.casefold()).split())


def wave_codebook(
    wave: Wave,
    columns: Sequence[str],
    value_labels: Mapping[str, Mapping[str, str]],
    column_labels: Mapping[str, str],
) -> pd.DataFrame:
    """Table `wave_codebook` of a wave.

    `columns` are those of the raw responses in file order, `value_labels` column -> code -> label and `column_labels`
    column -> wording, from the files and the form. A variable made by `contains` has the code looked for, its label
    after the wording, and an empty code for everything else; a number has an empty code for its values.
    """
    places = {column: place for place, column in enumerate(columns)}
    sources = [source for variable in wave.variables.values() for source in variable.sources if source in places]
    order = {column: place for place, column in enumerate(sorted(set(sources), key=places.__getitem__), start=1)}
    rows = []
    for name, variable in wave.variables.items():
        labels = _labels(variable, value_labels)
        wordings = dict.fromkeys(column_labels[source] for source in variable.sources if column_labels.get(source))
        if variable.contains is not None:
            answer = code_key(variable.contains)
            wordings = {f"{wording}: {labels.get(answer, answer)}": None for wording in wordings}
        facts = {
            "wave": wave.id,
            "variable": name,
            "source": ", ".join(variable.sources) or None,
            "question": " | ".join(wordings) or None,
            "place": min((order[source] for source in variable.sources if source in order), default=None),
            "asked_if": _asked_if(variable),
        }
        rows += [
            {**facts, "code": code, "label": labels.get(code), "meaning": meaning}
            for code, meaning in _meanings(variable, labels).items()
        ]
    return conform(pd.DataFrame(rows), "wave_codebook")


def _labels(variable: Variable, value_labels: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Label of each code; where source columns label a code differently, all of them."""
    found: dict[str, dict[str, None]] = {}
    for source in variable.sources:
        for code, label in value_labels.get(source, {}).items():
            found.setdefault(code_key(code), {})[label] = None
    return {code: " | ".join(labels) for code, labels in found.items()}


def _meanings(variable: Variable, labels: Mapping[str, str]) -> dict[str, str | None]:
    """What each code stands for; labelled codes that the wave does not declare stand for nothing."""
    if variable.constant is not None:
        return {"": variable.constant}
    declared = {code_key(code): meaning for code, meaning in {**variable.map, **variable.missing}.items()}
    if variable.contains is not None:
        chosen = {code_key(variable.contains): declared.pop("1", None), "": declared.pop("0", None)}
        return {**chosen, **declared}
    if variable.by == "label":
        by_label: dict[str, list[str]] = {}
        for code, label in labels.items():
            by_label.setdefault(label, []).append(code)
        declared = {code: meaning for text, meaning in declared.items() for code in by_label.get(text, [text])}
    if not variable.map:
        return {"": None, **declared}
    return {**declared, **{code: None for code in labels if code not in declared}}


def _asked_if(variable: Variable) -> str | None:
    if variable.asked_if is not None:
        return f"{variable.asked_if.question}={'|'.join(sorted(variable.asked_if.answers))}"
    return SOMEBODY if variable.blank == "not_asked" else None


def codebook_changes(before: pd.DataFrame, after: pd.DataFrame, wave: Wave, instrument: Instrument) -> pd.DataFrame:
    """Table `codebook_changes`: how `after`, the codebook of `wave`, differs from `before`, its predecessor's.

    Verdict and reason are those that `comparability` of wave.yml declares, missing where it does not.
    """
    old = {str(name): rows for name, rows in before.groupby("variable", sort=False)}
    new = {str(name): rows for name, rows in after.groupby("variable", sort=False)}
    rows: list[dict[str, str | None]] = []

    def add(variable: str, aspect: str, was: str | None, now: str | None) -> None:
        declared = _declared(wave, variable, aspect)
        rows.append(
            {
                "wave": wave.id,
                "predecessor": wave.predecessor,
                "variable": variable,
                "aspect": aspect,
                "before": was,
                "after": now,
                "verdict": declared.verdict if declared else None,
                "reason": declared.reason if declared else None,
            }
        )

    moved = _moved(old, new)
    for variable in dict.fromkeys([*new, *old]):
        if variable not in old:
            add(variable, "new", None, _headline(new[variable]))
        elif variable not in new:
            add(variable, "lost", _headline(old[variable]), None)
        else:
            for aspect, (was, now) in _differences(old[variable], new[variable], variable, instrument).items():
                add(variable, aspect, was, now)
            if variable in moved:
                add(variable, "order", *moved[variable])
    return conform(pd.DataFrame(rows, columns=list(_CHANGE_COLUMNS)), "codebook_changes")


_CHANGE_COLUMNS = ("wave", "predecessor", "variable", "aspect", "before", "after", "verdict", "reason")


def _headline(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return next((str(first[column]) for column in ("question", "source") if pd.notna(first[column])), "a constant")


def _differences(
    old: pd.DataFrame, new: pd.DataFrame, variable: str, instrument: Instrument
) -> dict[str, tuple[str | None, str | None]]:
    """The aspects in which two codebooks of one variable differ, each with before and after in words."""
    found: dict[str, tuple[str | None, str | None]] = {}
    wordings = [_text(rows.iloc[0]["question"]) for rows in (old, new)]
    if all(wordings) and not _same_wording(*map(str, wordings)):
        found["wording"] = (wordings[0], wordings[1])

    scale = instrument.scale(variable)
    rank = {meaning: place for place, meaning in enumerate((*scale, *REASONS))}
    codes, labels = [], []
    for rows in (old, new):
        meant = rows[rows["meaning"].notna()]
        codes.append({str(meaning): tuple(sorted(group["code"])) for meaning, group in meant.groupby("meaning")})
        named = meant[meant["label"].notna() & meant["meaning"].isin(scale)]
        labels.append({str(meaning): tuple(sorted(group["label"])) for meaning, group in named.groupby("meaning")})

    shared = sorted(codes[0].keys() & codes[1].keys(), key=lambda meaning: rank.get(meaning, 0))
    if renamed := [
        m for m in shared if m in labels[0] and m in labels[1] and _folded(labels[0][m]) != _folded(labels[1][m])
    ]:
        found["labels"] = (_listed(renamed, labels[0]), _listed(renamed, labels[1]))
    if recoded := [meaning for meaning in shared if codes[0][meaning] != codes[1][meaning]]:
        found["codes"] = (_listed(recoded, codes[0]), _listed(recoded, codes[1]))
    used = [[category for category in scale if category in side] for side in codes]
    if used[0] != used[1]:
        found["scale"] = (", ".join(used[0]), ", ".join(used[1]))
    if variable in BACKGROUND or instrument.questions[variable].type == "ordinal":
        directions = [_direction(used[side], codes[side]) for side in (0, 1)]
        if all(directions) and directions[0] != directions[1]:
            found["direction"] = (directions[0], directions[1])

    asked = [_text(rows.iloc[0]["asked_if"]) for rows in (old, new)]
    vague = SOMEBODY in asked and None not in asked
    if asked[0] != asked[1] and not vague:
        found["filter"] = (asked[0] or "everybody", asked[1] or "everybody")
    return found


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _same_wording(before: str, after: str) -> bool:
    short, long = sorted((before, after), key=len)
    folded = fold_text(short)
    return folded == fold_text(long) or (len(short) >= STATA_LABEL - 1 and fold_text(long).startswith(folded))


def _folded(labels: Iterable[str]) -> set[str]:
    return {fold_text(label) for label in labels}


def _listed(meanings: Iterable[str], words: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{meaning} {'/'.join(word or '(any)' for word in words[meaning])}" for meaning in meanings)


def _direction(scale: Sequence[str], codes: Mapping[str, Sequence[str]]) -> str | None:
    """Which end of the scale has the lowest code; None where codes are no numbers or in no order."""
    try:
        ranges = [(min(map(float, codes[category])), max(map(float, codes[category]))) for category in scale]
    except ValueError:
        return None
    steps = list(pairwise(ranges))
    if steps and all(low[1] < high[0] for low, high in steps):
        return f"lowest code is {scale[0]}"
    if steps and all(low[0] > high[1] for low, high in steps):
        return f"lowest code is {scale[-1]}"
    return None


def _moved(old: Mapping[str, pd.DataFrame], new: Mapping[str, pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """Questions outside the longest sequence that both waves have in the same order, and what each stood after.

    One that moved along with the question before it is not listed. Background variables are left out: files put them,
    and what is derived from them, anywhere.
    """
    shared = [name for name in new if name in old and name not in BACKGROUND]
    places = {
        name: (int(old[name].iloc[0]["place"]), int(new[name].iloc[0]["place"]))
        for name in shared
        if pd.notna(old[name].iloc[0]["place"]) and pd.notna(new[name].iloc[0]["place"])
    }
    was = sorted(places, key=lambda name: places[name])
    now = sorted(places, key=lambda name: places[name][::-1])
    kept = _longest_rising([places[name][1] for name in was])
    moved = {name: (_after(name, was), _after(name, now)) for place, name in enumerate(was) if place not in kept}
    return {name: (before, after) for name, (before, after) in moved.items() if before != after}


def _after(name: str, sequence: Sequence[str]) -> str:
    place = sequence.index(name)
    return f"after {sequence[place - 1]}" if place else "first"


def _longest_rising(values: Sequence[int]) -> set[int]:
    """Places of a longest subsequence that never falls (patience sorting)."""
    tails: list[int] = []
    ends: list[int] = []
    previous: list[int | None] = []
    for place, value in enumerate(values):
        pile = bisect_right(tails, value)
        previous.append(ends[pile - 1] if pile else None)
        tails[pile : pile + 1] = [value]
        ends[pile : pile + 1] = [place]
    kept: set[int] = set()
    place_or_none = ends[-1] if ends else None
    while place_or_none is not None:
        kept.add(place_or_none)
        place_or_none = previous[place_or_none]
    return kept


def _declared(wave: Wave, variable: str, aspect: str) -> Comparison | None:
    """The most specific declaration: of the variable's aspect, of the variable, then the pattern with most letters."""
    exact = f"{variable}.{aspect}"
    for key in (exact, variable):
        if key in wave.comparability:
            return wave.comparability[key]
    patterns = [key for key in wave.comparability if _is_pattern(key) and fnmatchcase(exact, key)]
    return wave.comparability[max(patterns, key=_letters)] if patterns else None


def _letters(pattern: str) -> tuple[int, int]:
    """How specific a pattern is: letters of its variable, then all of it."""
    return len(re.sub(r"[*?]", "", pattern.partition(".")[0])), len(pattern)


def _is_pattern(key: str) -> bool:
    return "." in key and any(letter in key for letter in "*?[")


def comparability_problems(changes: pd.DataFrame, wave: Wave) -> list[Problem]:
    """Differences that wave.yml does not declare, verdicts that cannot be, and declarations that match nothing.

    Keys of `comparability` are a variable (all that differs), `variable.aspect`, or a pattern with the aspect, such as
    `"*_satisfaction.codes"`. Equal differences of several variables are one problem.
    """
    where = f"{wave.id}/wave.yml, comparability"
    problems = []
    undeclared = changes[changes["verdict"].isna()].fillna({"before": "nothing", "after": "nothing"})
    for (aspect, before, after), rows in undeclared.groupby(["aspect", "before", "after"], sort=False):
        verdicts = " or ".join(verdict for verdict in VERDICTS if verdict not in _REFUSED.get(str(aspect), ()))
        example = f"{rows['variable'].iloc[0]}.{aspect}"
        problems.append(
            Problem(
                f"{where}, {', '.join(rows['variable'])}",
                f"{aspect} differs from {wave.predecessor}: {before!r} there, {after!r} here",
                f"If the match is right, declare `{example}: {{verdict: {verdicts}, reason: ...}}`.",
            )
        )
    exact = set(changes["variable"] + "." + changes["aspect"])
    known = {*wave.variables, *changes["variable"]}
    for key in wave.comparability:
        if key in known or key in exact or (_is_pattern(key) and any(fnmatchcase(change, key) for change in exact)):
            continue
        name, _, aspect = key.partition(".")
        what = "matches no difference"
        if aspect and aspect not in ASPECTS and "*" not in aspect:
            what = f"names no aspect ({', '.join(ASPECTS)})"
        elif not aspect:
            what = "is a pattern without an aspect" if any(letter in name for letter in "*?[") else "is no variable"
        problems.append(
            Problem(f"{where}, {key}", what, "Remove it, or correct it: a variable, variable.aspect or pattern.aspect.")
        )
    for variable, aspect, verdict in zip(*(changes[name] for name in ("variable", "aspect", "verdict")), strict=True):
        if verdict in _REFUSED.get(aspect, ()):
            allowed = " or ".join(other for other in VERDICTS if other not in _REFUSED[aspect])
            problems.append(
                Problem(
                    f"{where}, {variable}.{aspect}",
                    f"is declared `{verdict}`, but {_WHY[aspect]}",
                    f"Declare `{variable}.{aspect}` as {allowed}.",
                )
            )
    return problems


_WHY = {
    "scale": "other answers could be given",
    "new": "the predecessor did not ask it",
    "lost": "this wave does not ask it",
}


def comparability(changes: pd.DataFrame, wave: Wave) -> pd.DataFrame:
    """How far each variable compares with the predecessor's: variable, verdict, reason (missing where nothing differs).

    The strictest verdict of a variable's differences counts; one that is not declared counts as `break`. A variable
    may be declared though its codebook does not differ.
    """
    rows = []
    for variable in dict.fromkeys([*wave.variables, *changes["variable"]]):
        own = changes[changes["variable"] == variable]
        found = [
            (str(v), str(r))
            for v, r in zip(own["verdict"].fillna("break"), own["reason"].fillna("not declared"), strict=True)
        ]
        if variable in wave.comparability:
            found.append((wave.comparability[variable].verdict, wave.comparability[variable].reason))
        verdict = max((verdict for verdict, _ in found), key=VERDICTS.index, default="same")
        reasons = dict.fromkeys(reason for declared, reason in found if declared == verdict)
        rows.append({"variable": variable, "verdict": verdict, "reason": "; ".join(reasons) or None})
    return pd.DataFrame(rows, columns=["variable", "verdict", "reason"])


def compared_quantities(changes: pd.DataFrame, wave: Wave, instrument: Instrument) -> pd.DataFrame:
    """Table `comparability`: how far each indicator, question and background variable compares with the predecessor's.

    The strictest verdict of an indicator's questions counts, its universe included. Indicators are those that either
    wave can make, questions those that either asked; the table is empty without a predecessor.
    """
    columns = TABLES["comparability"].names
    if wave.predecessor is None:
        return conform(pd.DataFrame(columns=columns), "comparability")
    verdicts = comparability(changes, wave).set_index("variable")
    parts = {("indicator", name): i.needed_questions for name, i in instrument.indicators.items()}
    parts |= {("indicator", name): instrument.questions_of(index) for name, index in instrument.all_indices.items()}
    parts |= {("question", name): {name} for name in instrument.questions}
    parts |= {("background", name): {name} for name in BACKGROUND}
    rows = []
    for (kind, name), needed in parts.items():
        if not needed <= set(verdicts.index):
            continue
        own = verdicts.loc[sorted(needed)]
        verdict = max(own["verdict"], key=VERDICTS.index)
        reasons = dict.fromkeys(own.loc[own["verdict"] == verdict, "reason"].dropna())
        rows.append((wave.id, wave.predecessor, kind, name, verdict, "; ".join(reasons) or None))
    return conform(pd.DataFrame(rows, columns=columns), "comparability")
