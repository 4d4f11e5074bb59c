"""Interviews that are nearly copies of one another, judged by how alike interviews of different enumerators are.

Agreement in percent says little: respondents who answer alike, or were asked little, agree by chance, and honest
surveys have many pairs above any fixed share. Here a pair counts by what its agreement tells, and an interview by how
far its closest match stands out from its closest matches in sets of the same size by other enumerators nearby.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake.quality.comparing import against_others
from perception.intake.quality.evidence import DONT_KNOW, REFUSED, Codes, Floats, Groups, Interviews, Mask
from perception.intake.quality.register import (
    LISTED,
    NO_ENUMERATORS,
    Finding,
    Limits,
    Outcome,
    Rows,
    check,
    counted,
    not_run,
    outcome,
    percent,
)

Scores = NDArray[np.float32]

CHANGED = 0.05
"""Share of answers that somebody who copies an interview is taken to change."""
MOST_TELLING = 3.0
"""Most that one agreeing answer counts, as if one in twenty gave it: the rarest answers come in clusters."""
NO_ANSWER_TELLS = 1.0
"""Most that two don't knows or refusals count: whoever does not know one thing does not know the next."""
NEARBY = 30
"""Interviews of the whole wave that weigh as much as the district's own in saying how common an answer is."""
SETS = 4
"""Sets of others' interviews, each as large as an enumerator's own, that these are held against."""
MOST_OTHERS, MOST_OWN = 2_000, 3_000
"""Most interviews by others, and by an enumerator, that one enumerator's are compared with."""
TAIL, FEWEST_IN_TAIL = 0.01, 25
"""Upper share (and number) of the others' closest matches from which the chance of closer ones is told."""
PIECES = 6
"""Classes that a number is cut into."""


@check(
    "near_duplicates",
    "Interviews that are nearly copies of one another",
    level="pair",
    severity="warn",
    source="Kuriakose and Robbins 2016; Pew Research Center 2016 on its false alarms; Fellegi and Sunter 1969",
    match=0.85,
    questions=10,
    false_alarms=0.1,
    deviations=4,
    interviews=5,
    comparisons=5e9,
)
def near_duplicates(interviews: Interviews, limits: Limits) -> Outcome:
    """No two interviews agree in far more of their answers than chance, place and enumerator explain.

    A pair scores the log likelihood ratio of a copy with 5 % changed answers against two respondents of the district
    (Fellegi, Sunter 1969), over the questions that both were asked, so that common answers count little. An interview
    is reported with its closest match where that score stands out from those with other enumerators' interviews by
    more than `false_alarms` interviews of the wave would by chance, is more than so many of all the pairs would reach
    if answers were independent, and the two agree in `match` of `questions` or more. Interviews of one enumerator, and
    of different ones in a district, are compared, others are not. An enumerator of `interviews` or more is reported
    whose interviews are all too much alike. Nothing is ever dropped for it: somebody must look.
    """
    if not interviews.enumerators.names:
        return not_run(NO_ENUMERATORS)
    rng = np.random.default_rng(interviews.seed)
    rows = _drawn(interviews, limits["comparisons"] / max(len(interviews.reasons), 1), rng)
    codes = _classes(interviews, rows)
    if codes.shape[1] < 2:
        return not_run("the wave has no two questions in whose answers interviews can agree")
    part = Groups(interviews.enumerators.codes[rows], interviews.enumerators.names)
    closest = _closest(codes, part, interviews.districts.codes[rows], rng)
    if not closest.judged.any():
        return not_run("no enumerator has two interviews and those of others to compare them with")
    limit, pairs = _pairs(codes, closest, part, limits)
    usual = _agreement(codes, np.flatnonzero(closest.judged), closest.other[closest.judged])[0]
    several = len(np.unique(part.codes[closest.judged]))
    message = f"{counted(closest.judged.sum(), 'interview')} of {counted(several, 'enumerator')} compared; "
    message += f"the closest by another enumerator usually agrees in {percent(float(np.median(usual)))}"
    if left := int((interviews.enumerators.codes >= 0).sum()) - len(rows):
        message += f"; {counted(left, 'interview')} left out by lot to keep to `comparisons`"
    findings, listed = [], []
    if len(pairs):
        one = int((part.codes[pairs["first"]] == part.codes[pairs["second"]]).sum())
        words = f"{counted(len(pairs), 'pair')} of interviews too much alike ({one} by one enumerator)"
        findings.append(Finding("warn", f"{words}; {message}", float(len(pairs)), 0))
        listed.append(_listed(pairs, rows, interviews))
    rates = against_others(
        np.where(closest.judged, np.minimum(closest.score, limit), np.nan), part, limits["deviations"]
    )
    alike = (rates["mean"] > np.maximum(rates["limit"], 1)) & (rates["n"] >= limits["interviews"])
    for enumerator, rate in rates[alike].iterrows():
        words = f"the {counted(rate['n'], 'interview')} of enumerator {enumerator} are more alike than those of others"
        words += f" by {rate['mean']:.1f} standard deviations"
        findings.append(Finding("warn", words, rate["mean"], rate["limit"], "enumerator", str(enumerator)))
    return outcome(findings, Finding("pass", f"no pair is too much alike; {message}", 0, 0), listed)


def _classes(interviews: Interviews, rows: Codes) -> NDArray[np.int16]:
    """Interviews x questions: 0 not asked or missing, 1 don't know or refused, then what was said.

    Questions to which all say the same are left out.
    """
    columns = []
    for name in interviews.answers.names:
        codes = interviews.answers.of(name)[rows].astype(np.int16)
        unsaid = (codes == DONT_KNOW) | (codes == REFUSED)
        columns.append(np.where(codes >= 0, codes + 2, unsaid))
    for name, (values, reasons) in interviews.numbers.items():
        if name in interviews.instrument.questions and not np.isnan(values).all():
            cuts = np.unique(np.nanquantile(values, np.linspace(0, 1, PIECES + 1)[1:-1]))
            unsaid = (reasons[rows] == DONT_KNOW) | (reasons[rows] == REFUSED)
            columns.append(np.where(np.isnan(values[rows]), unsaid, np.searchsorted(cuts, values[rows]) + 2))
    telling = [column for column in columns if len(np.unique(column[column > 0])) > 1]
    return np.column_stack(telling).astype(np.int16) if telling else np.zeros((len(rows), 0), dtype=np.int16)


def _drawn(interviews: Interviews, pairs: float, rng: np.random.Generator) -> Codes:
    """The interviews to compare: of all enumerators, or of as many as make `pairs`, district by district by lot."""
    part, place = interviews.enumerators, interviews.districts
    sizes = np.minimum(part.sums(), MOST_OWN)
    home = np.zeros(len(part.names), dtype=np.intp)
    home[part.codes[part.codes >= 0]] = place.codes[part.codes >= 0]
    order = np.lexsort((rng.random(len(home)), rng.permutation(len(place.names))[home]))
    others = np.minimum(np.maximum(SETS * sizes, place.sums()[home]), MOST_OTHERS)
    enough = np.cumsum((sizes * (sizes + others))[order]) <= pairs
    enough[:2] = True
    drawn = np.zeros(len(home) + 1, dtype=bool)
    drawn[order[enough]] = True
    rows = np.flatnonzero(drawn[part.codes])
    if (part.sums() > MOST_OWN).any():
        lot = pd.Series(rng.random(len(rows))).groupby(part.codes[rows]).rank().to_numpy()
        rows = rows[lot <= MOST_OWN]
    return rows


@dataclass(frozen=True)
class _Closest:
    """Of each interview the closest by the same enumerator and by others.

    `ratios` are their log likelihood ratios, `compared` the numbers compared: of the same enumerator, and of others.
    Scores are how far the closest stands above the median closest in a set of others, in standard deviations by chance;
    `sets` has those of each set of others against the rest, `sizes` how many such sets the enumerator's own interviews
    and all others looked at would make.
    """

    mate: Codes
    score: Floats
    other: Codes
    other_score: Floats
    sets: Floats
    sizes: Floats
    ratios: Floats
    compared: Floats
    judged: Mask


def _closest(codes: NDArray[np.int16], part: Groups, district: Codes, rng: np.random.Generator) -> _Closest:
    worth, given, chance = pair_weights(codes, district)
    size = len(codes)
    found = _Closest(
        np.zeros(size, dtype=np.intp),
        np.full(size, -np.inf),
        np.zeros(size, dtype=np.intp),
        np.full(size, -np.inf),
        np.full((size, SETS), np.nan),
        np.ones((size, 2)),
        np.full((size, 2), -np.inf),
        np.zeros((size, 2)),
        np.zeros(size, dtype=bool),
    )
    everyone = np.arange(size)
    for own in _members(part.codes):
        if len(own) < 2:
            continue
        foreign = part.codes != part.codes[own[0]]
        near = foreign & np.isin(district, np.unique(district[own]))
        wanted = min(SETS * (len(own) - 1), MOST_OTHERS)
        others = rng.permutation(everyone[near])[:MOST_OTHERS]
        if len(others) < wanted:
            others = np.append(others, rng.permutation(everyone[foreign & ~near])[: wanted - len(others)])
            others = rng.permutation(others)
        if not len(others):
            continue
        inside = worth[own] @ given[own].T
        np.fill_diagonal(inside, -np.inf)
        outside = worth[own] @ given[others].T
        take = max(min(len(own) - 1, len(others) // SETS), 1)
        sets = min(len(others) // take, SETS)
        best = outside[:, : sets * take].reshape(len(own), sets, take).max(axis=2).astype(np.float64)
        usual, spread = np.median(best, axis=1), chance[own]  # a copy in one of the sets does not move it
        found.mate[own] = own[inside.argmax(axis=1)]
        found.score[own] = (inside.max(axis=1) - usual) / spread
        found.other[own] = others[outside.argmax(axis=1)]
        found.other_score[own] = (outside.max(axis=1) - usual) / spread
        found.sizes[own] = (len(own) - 1) / take, len(others) / take
        found.ratios[own] = np.column_stack([inside.max(axis=1), outside.max(axis=1)])
        found.compared[own] = len(own) - 1, len(others)
        found.judged[own] = True
        for number in range(sets if sets > 1 else 0):
            rest = np.median(np.delete(best, number, axis=1), axis=1)
            found.sets[own, number] = (best[:, number] - rest) / spread
    return found


def _members(codes: Codes) -> Iterator[Codes]:
    """The rows of each group in turn."""
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    yield from np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def pair_weights(codes: NDArray[np.int16], district: Codes) -> tuple[Scores, Scores, Floats]:
    """What each interview's answers are worth when another gives them, which answers it gives, and its scatter.

    The product of a row of the first with one of the second is the pair's log likelihood ratio; the scatter is the
    standard deviation of such a product with a random respondent of the district.
    """
    size, districts = len(codes), int(district.max()) + 1
    change = np.log(CHANGED)
    asked = (codes > 0).astype(np.float32)
    worth, given, chance = [change * asked.T], [asked.T], np.zeros(size)
    for answers in codes.T.astype(np.intp):
        classes = int(answers.max()) + 1
        counts = np.bincount(district * classes + answers, minlength=districts * classes).reshape(districts, classes)
        counts[:, 0] = 0
        if not counts.any():
            continue
        local = counts + NEARBY * counts.sum(axis=0) / counts.sum()
        local /= np.maximum(local.sum(axis=1, keepdims=True), 1e-9)
        tells = np.minimum(np.log((1 - CHANGED) / np.maximum(local, 1e-9) + CHANGED), MOST_TELLING)
        tells[:, 1] = np.minimum(tells[:, 1], NO_ANSWER_TELLS)
        own, likely = (tells - change)[district, answers], local[district, answers]
        chance += np.where(answers > 0, (answers > 0).mean() * likely * (1 - likely) * own**2, 0)
        for answer in np.unique(answers[answers > 0]):
            here = (answers == answer).astype(np.float32)
            given.append(here[None])
            worth.append((here * own.astype(np.float32))[None])
    return np.ascontiguousarray(np.vstack(worth).T), np.ascontiguousarray(np.vstack(given).T), np.sqrt(chance + 1)


def _pairs(codes: NDArray[np.int16], closest: _Closest, part: Groups, limits: Limits) -> tuple[float, pd.DataFrame]:
    """The score above which chance hardly comes, and the pairs to report.

    Pairs have first, second, score, match (share of the questions put to both) and questions. What others' copies add
    to the scores that chance is told from is taken out once they are found.
    """
    styles, sets = np.maximum(_styles(closest, part), 0), closest.sets.copy()
    # Among so many pairs of independent answers hardly one has a likelihood ratio above their number (Markov).
    telling = closest.ratios > np.log(np.maximum(closest.compared.sum(axis=0) / 2, 1) / limits["false_alarms"])
    while True:
        limit, slope = _by_chance(sets, limits["false_alarms"] / closest.judged.sum())
        limits_each = limit + slope * np.log(closest.sizes)
        own = np.flatnonzero(closest.judged & telling[:, 0] & (closest.score - styles > limits_each[:, 0]))
        far = np.flatnonzero(closest.judged & telling[:, 1] & (closest.other_score > limits_each[:, 1]))
        first, second = np.concatenate([own, far]), np.concatenate([closest.mate[own], closest.other[far]])
        match, questions = _agreement(codes, first, second)
        enough = (match >= limits["match"]) & (questions >= limits["questions"])
        copies = np.unique(np.concatenate([first[enough], second[enough]]))
        if np.isnan(sets[copies]).all():
            break
        sets[copies] = np.nan
    pairs = pd.DataFrame({"first": np.minimum(first, second), "second": np.maximum(first, second)})
    pairs = pairs.assign(score=np.concatenate([closest.score[own], closest.other_score[far]]), match=match)
    pairs = pairs.assign(questions=questions)[enough].sort_values("score", ascending=False)
    return limit, pairs.drop_duplicates(["first", "second"])


def _by_chance(sets: Floats, share: float) -> tuple[float, float]:
    """The score that a `share` of interviews exceeds by chance, and how it grows with the log of what is looked at.

    The upper tail of the others' closest matches is taken as exponential; its slope is from the median excess, which
    copies among the others hardly move.
    """
    known = sets[~np.isnan(sets)]
    if len(known) < 2 * FEWEST_IN_TAIL:
        return np.inf, 1.0
    tail = max(TAIL, FEWEST_IN_TAIL / len(known))
    start = float(np.quantile(known, 1 - tail))
    excess = known[known > start] - start
    if not len(excess):  # so few questions that all of the tail have one score
        return np.inf, 1.0
    slope = float(np.median(excess) / np.log(2))
    return start + slope * max(np.log(tail / share), 0), slope


def _styles(closest: _Closest, part: Groups) -> Floats:
    """How much more alike than with others' the interviews of each one's enumerator are: the median score.

    Held to what is usual among enumerators, so that one who copies everything does not pass it off as a style.
    """
    medians = pd.Series(np.where(closest.judged, closest.score, np.nan)).groupby(part.codes).median()
    middle = medians.median()
    usual = middle + 3 * 1.4826 * (medians - middle).abs().median()
    return np.asarray(medians.clip(upper=usual).reindex(part.codes).fillna(0), dtype=np.float64)


def _agreement(codes: NDArray[np.int16], first: Codes, second: Codes) -> tuple[Floats, Codes]:
    """Of pairs: the share of the questions put to both in which they agree, and how many these are."""
    both = (codes[first] > 0) & (codes[second] > 0)
    questions = both.sum(axis=1)
    agree = (both & (codes[first] == codes[second])).sum(axis=1)
    return agree / np.maximum(questions, 1), questions


def _listed(pairs: pd.DataFrame, rows: Codes, interviews: Interviews) -> Rows:
    """Both interviews of each pair, each with the row of the other."""
    source = interviews.column("source_row").to_numpy()[rows]
    positions, details = [], []
    shown = pairs.head(LISTED // 2)
    for one, other, match, questions in shown[["first", "second", "match", "questions"]].itertuples(index=False):
        agree = f"agrees in {percent(match)} of {questions} questions with row"
        for own, mate in ((one, other), (other, one)):
            positions.append(int(interviews.positions[rows[own]]))
            details.append(f"{agree} {source[mate]}")
    return Rows(positions, details)
