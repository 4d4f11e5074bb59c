"""Which column holds which variable: likeness of names, wordings and answers, and the best assignment of all."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perception.intake.codebook import STATA_LABEL, fold_text
from perception.intake.drafting.answers import answer_meanings, reason_of, usual_reason
from perception.intake.drafting.material import fold_name, is_number, last_name

ACCEPTED = 0.36
"""Smallest score of a match that is proposed: on real files without an earlier wave, true matches reach it."""

_STEM = 6
_MANY = 50
"""A column with as many codes has no categories."""


@dataclass(frozen=True)
class Target:
    """A variable to be matched: names and wordings it may go by, and the texts of its categories (none of a number).

    `names` are those that an earlier wave or custom gives its column, `place` is where it is expected in the file.
    """

    variable: str
    names: tuple[str, ...]
    wordings: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    place: float


@dataclass(frozen=True)
class Candidate:
    """A column, or one answer of a select-multiple column (`contains`), with all that is known of it."""

    column: str
    name: str
    wordings: tuple[str, ...]
    labels: Mapping[str, str]
    codes: tuple[str, ...]
    place: float
    contains: str | None = None


@dataclass(frozen=True)
class Match:
    """A variable's candidate, how it was recognised and how well (0..1).

    `how` is by its `name`, as named `earlier`, by `wording`, by a `similar` name or by `answers`.

    It is `certain` when the column is named as the variable or as before and the wording confirms it, or when it alone
    is worded exactly so.
    """

    variable: str
    candidate: Candidate
    how: str
    score: float
    certain: bool


def match_columns(targets: Sequence[Target], candidates: Sequence[Candidate]) -> dict[str, Match]:
    """The best assignment of candidates to variables, one each; pairs that score less than `ACCEPTED` are left out."""
    from scipy.optimize import linear_sum_assignment

    if not targets or not candidates:
        return {}
    names, hows = _name_likeness(targets, candidates)
    wordings = _wording_likeness(targets, candidates)
    scores = _scores(targets, candidates, names, wordings)
    distance = np.abs(np.subtract.outer([one.place for one in targets], [one.place for one in candidates]))
    found = {}
    for row, column in zip(*linear_sum_assignment(0.03 * distance - scores), strict=True):
        if scores[row, column] < ACCEPTED:
            continue
        how, wording = hows[row][column], wordings[row, column]
        if names[row, column] < 1:
            how = "wording" if wording >= names[row, column] else "similar"
            how = how if np.fmax(wording, names[row, column]) >= 0.3 else "answers"
        alone = (wordings[row] == 1).sum() == 1 and (wordings[:, column] == 1).sum() == 1
        found[targets[row].variable] = Match(
            targets[row].variable,
            candidates[column],
            how,
            round(float(scores[row, column]), 2),
            bool(
                (how == "name" and not wording < 0.5)
                or (how == "earlier" and wording > 0.95)
                or (wording == 1 and alone)
            ),
        )
    return found


def _scores(
    targets: Sequence[Target], candidates: Sequence[Candidate], names: np.ndarray, wordings: np.ndarray
) -> np.ndarray:
    """Score of each pair from the likeness of names and of wordings (nan where unknown).

    An equal name counts unless the wordings contradict it; otherwise wording counts, and likeness of names helps.
    Answers that fit badly take up to half of it, such that cannot be all; answers that few others have add to it.
    """
    worded = np.where(wordings == 1, 0.97, np.maximum(0.75 * wordings + 0.25 * names, 0.9 * wordings))
    known = np.where(names == 1, 0.7 + 0.3 * wordings, worded)
    scores = np.where(np.isnan(wordings), np.where(names == 1, 0.95, 0.8 * names), known)
    fits = np.array([[answers_fit(candidate, target) for candidate in candidates] for target in targets])
    scales = [frozenset(target.categories) for target in targets]
    rare = np.zeros(scores.shape)
    for row, scale in enumerate(scales):
        if scale and (exact := fits[row] > 0.999).any():
            rare[row] = np.where(exact, 0.4 / max(exact.sum(), scales.count(scale)), 0)
    scores = scores * np.where(fits > 0, 0.5 + 0.5 * fits, 0)
    return np.asarray(np.minimum(scores + rare * (1 - scores), 1))


def answers_fit(candidate: Candidate, target: Target) -> float:
    """How well a candidate's labels, or its codes where it has none, fit the target's answers (0..1).

    1 only where labels say exactly the target's categories, or a number is a number; 0 where it cannot be.
    """
    if candidate.contains is not None:
        return 0.9 if {"yes", "no"} <= set(target.categories) else 0.0
    labels = candidate.labels.items()
    labelled = {code: label for code, label in labels if not is_number(label) and reason_of(label) is None}
    if not target.categories:
        bare = [code for code in candidate.codes if code not in candidate.labels]
        numbers = sum(is_number(code) or usual_reason(code) is not None for code in candidate.codes)
        few = bool(labelled) and len(labelled) >= len(bare)
        return 0.0 if few or numbers < 0.9 * len(candidate.codes) else 1.0
    if labelled:
        meanings = answer_meanings(labelled, target.categories)
        covered = len({meaning.meaning for meaning in meanings.values()}) / len(target.categories)
        return 0.2 + 0.8 * (len(meanings) / len(labelled)) * (0.6 + 0.4 * covered)
    if len(candidate.codes) > len(target.categories) + 6:  # up to six codes for no answer
        return 0.1 if len(candidate.codes) < _MANY else 0.0
    words = {key: key for key in candidate.codes if len(key) > 2 and not is_number(key)}
    return 0.8 if not words or answer_meanings(words, target.categories) else 0.0


def _name_likeness(targets: Sequence[Target], candidates: Sequence[Candidate]) -> tuple[np.ndarray, list[list[str]]]:
    from rapidfuzz import fuzz

    likeness = np.zeros((len(targets), len(candidates)))
    hows = [["similar"] * len(candidates) for _ in targets]
    for row, target in enumerate(targets):
        own, earlier = fold_name(target.variable), {fold_name(name) for name in target.names}
        for column, candidate in enumerate(candidates):
            folded = fold_name(candidate.name)
            if folded in earlier:
                likeness[row, column], hows[row][column] = 1.0, "earlier"
            elif folded == own:
                likeness[row, column], hows[row][column] = 1.0, "name"
            else:
                alike = [fuzz.ratio(folded, other) / 100 for other in earlier if _worded(folded, other)]
                likeness[row, column] = 0.95 * max([*alike, _abbreviates(candidate.name, target.variable)])
    return likeness, hows


def _worded(*names: str) -> bool:
    """Names such as S01Q2a differ in one letter and mean something else; only names made of words are alike."""
    return all(sum(letter.isdigit() for letter in name) <= 2 and len(name) >= 5 for name in names)


def _abbreviates(name: str, variable: str) -> float:
    """Share of the words of both names that pair up, a word with one it starts like and is spelt within."""
    ones = [word for word in re.split(r"[\W_]+", last_name(name).casefold()) if len(word) > 1]
    others = variable.split("_")
    if not ones:
        return 0.0
    pairs = [[_spelt_within(one, other) for other in others] for one in ones]
    return (sum(map(any, pairs)) + sum(map(any, zip(*pairs, strict=True)))) / (len(ones) + len(others))


def _spelt_within(word: str, long: str) -> bool:
    letters = iter(long)
    return word[0] == long[0] and all(letter in letters for letter in word)


def _wording_likeness(targets: Sequence[Target], candidates: Sequence[Candidate]) -> np.ndarray:
    """Likeness of wordings (nan where either has none): words they share, rare ones counting most, and spelling."""
    from rapidfuzz import fuzz, process

    theirs = [(column, fold_text(text)) for column, one in enumerate(candidates) for text in one.wordings]
    cut = any(STATA_LABEL - 1 <= len(text) <= STATA_LABEL for one in candidates for text in one.wordings)
    ours = [(row, fold_text(text)) for row, target in enumerate(targets) for text in target.wordings]
    whole = len(ours)
    if cut:
        ours += [(row, fold_text(text[:STATA_LABEL])) for row, target in enumerate(targets) for text in target.wordings]
    if not ours or not theirs:
        return np.full((len(targets), len(candidates)), np.nan)
    texts = [text for _, text in ours], [text for _, text in theirs]
    spelt = process.cdist(*texts, scorer=fuzz.token_sort_ratio) / 100
    alike = 0.99 * (0.6 * _shared_words(*texts) + 0.4 * spelt)
    alike[:whole] = np.where(spelt[:whole] == 1, 1.0, alike[:whole])
    best = np.full((len(targets), len(candidates)), -1.0)
    rows, columns = np.array([row for row, _ in ours]), np.array([column for column, _ in theirs])
    np.maximum.at(best, (rows[:, None], columns[None, :]), alike)
    return np.where(best < 0, np.nan, best)


def _shared_words(ours: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    """Cosine of word stems, weighted by how few texts have them, and the share of the shorter text that is shared."""
    stems = [[{word[:_STEM] for word in text.split()} for text in side] for side in (ours, theirs)]
    count = Counter(stem for text in {frozenset(text) for side in stems for text in side} for stem in text)
    weight = {stem: math.log(1 + (len(ours) + len(theirs)) / times) for stem, times in count.items()}
    place = {stem: index for index, stem in enumerate(count)}
    matrices = [np.zeros((len(side), len(place))) for side in stems]
    for matrix, side in zip(matrices, stems, strict=True):
        for row, text in enumerate(side):
            for stem in text:
                matrix[row, place[stem]] = weight[stem]
    shared = matrices[0] @ matrices[1].T
    lengths = [np.maximum((matrix**2).sum(axis=1), 1e-9) for matrix in matrices]
    cosine = shared / np.sqrt(np.outer(*lengths))
    inside = shared / np.minimum.outer(*lengths)
    several = np.minimum.outer(*(np.array([len(text) for text in side]) for side in stems)) > 1
    return np.asarray(np.where(several, (cosine + inside) / 2, cosine))
