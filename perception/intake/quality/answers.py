"""Checks of the answers: how many are missing and why, filters, numbers, rules, patterns, and what enumerators add."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perception.intake.quality.comparing import (
    adjusted_for_place,
    against_others,
    enumerator_similarity,
    nesting,
    polychoric,
)
from perception.intake.quality.evidence import (
    DONT_KNOW,
    MISSING,
    NOT_ASKED,
    REFUSED,
    STRANGE,
    Codes,
    Floats,
    Groups,
    Interviews,
    Mask,
    groups,
)
from perception.intake.quality.register import (
    NO_ENUMERATORS,
    Finding,
    Limits,
    Outcome,
    Rows,
    Verdict,
    check,
    chosen,
    counted,
    not_run,
    outcome,
    percent,
    some,
    typical,
)

MOST_COMPARED = 100_000
"""Interviews from which the enumerator variance is estimated; of larger waves whole enumerators are drawn."""
MOST_CORRELATED = 200_000
"""Interviews from which scales are correlated; of larger waves every second, third ... is taken."""


@check(
    "dont_know_refused",
    "Don't know and refused, by enumerator and by question",
    level="enumerator",
    severity="warn",
    source="ipacheckenumdb (don't know, refuse)",
    deviations=3,
    share=0.15,
    floor=0.05,
    interviews=5,
)
def dont_know_refused(interviews: Interviews, limits: Limits) -> Outcome:
    """Neither a question nor an enumerator stands out by don't knows or refusals.

    Every question is listed with its don't-know share. An enumerator of `interviews` or more stands out above the mean
    of the others plus `deviations` standard deviations (and above `floor`), or above `share`.
    """
    findings = []
    for name, counts in interviews.reasons.items():
        asked = int(counts.sum() - counts[-NOT_ASKED])
        unknown, refused = (counts[-code] / asked if asked else 0.0 for code in (DONT_KNOW, REFUSED))
        parts = f"{counts[-DONT_KNOW]} did not know, {counts[-REFUSED]} refused, {counts[-MISSING]} missing"
        verdict: Verdict = "warn" if max(unknown, refused) > limits["share"] else "pass"
        findings.append(Finding(verdict, f"asked of {asked}: {parts}", unknown, limits["share"], "column", name))
    asked_each = np.maximum(interviews.asked, 1)
    worst = []
    for code, words in ((DONT_KNOW, "don't know"), (REFUSED, "refused")):
        shares = interviews.not_answered(code) / asked_each
        rates = against_others(shares, interviews.enumerators, limits["deviations"])
        far = (rates["mean"] > rates["limit"]) & (rates["mean"] > limits["floor"])
        far = (far | (rates["mean"] > limits["share"])) & (rates["n"] >= limits["interviews"])
        worst.append(f"{words} {percent(float(shares.mean()))}")
        for enumerator, rate in rates[far].iterrows():
            message = (
                f"{words} in {percent(rate['mean'])} of the questions that enumerator {enumerator} put "
                f"({counted(rate['n'], 'interview')}); all: {percent(float(shares.mean()))}"
            )
            limit = float(np.nanmin([rate["limit"], limits["share"]]))
            findings.append(Finding("warn", message, rate["mean"], limit, "enumerator", f"{enumerator}: {words}"))
    if not interviews.enumerators.names:
        findings.append(_no_enumerators())
    return outcome(findings, Finding("pass", f"of the questions put: {', '.join(worst)}"))


def _no_enumerators() -> Finding:
    return Finding("not_run", f"not run by enumerator: {NO_ENUMERATORS}", None, None, "enumerator", "all")


@check(
    "filter_dodging",
    "Share of yes to filter questions, by enumerator",
    level="enumerator",
    severity="warn",
    source="Innovations for Poverty Action, guide to high-frequency checks",
    ratio=0.5,
    deviations=3,
)
def filter_dodging(interviews: Interviews, limits: Limits) -> Outcome:
    """No enumerator gets half as many yeses to questions that open others as colleagues do in the same places.

    All filters together must lie `deviations` standard deviations below what is expected, one filter alone one more.
    """
    filters = _filters(interviews)
    if not filters:
        return not_run("no variable has `asked_if` and no indicator a universe, so no question is known as a filter")
    if not interviews.enumerators.names:
        return not_run(NO_ENUMERATORS)
    yes, tries = {}, {}
    for question, answers in filters.items():
        codes, scale = interviews.answers.of(question), interviews.instrument.scale(question)
        tries[question] = (codes >= 0).astype(np.float64)
        yes[question] = np.isin(codes, [scale.index(answer) for answer in answers]).astype(np.float64)
    together = {"all filters": (sum(yes.values()), sum(tries.values()))}
    each = {question: (yes[question], tries[question]) for question in filters} if len(filters) > 1 else {}
    places = interviews.enumerators, interviews.psus, interviews.strata
    found: dict[str, tuple[float, str]] = {}
    for strict, parts in ((0, together), (1, each)):
        for name, (given, put) in parts.items():
            seen = adjusted_for_place(np.asarray(given), np.asarray(put), *places)
            far = (seen.observed < limits["ratio"] * seen.expected) & (seen.z < -limits["deviations"] - strict)
            for number in np.flatnonzero(far):
                words = f"{name}: {seen.observed[number]:.0f} yes, expected {seen.expected[number]:.0f}"
                ratio = float(seen.observed[number] / seen.expected[number])
                lowest, said = found.get(places[0].names[number], (ratio, ""))
                found[places[0].names[number]] = (min(lowest, ratio), f"{said}; {words}" if said else words)
    findings = [
        Finding("warn", f"enumerator {name}: {words}", ratio, limits["ratio"], "enumerator", name)
        for name, (ratio, words) in found.items()
    ]
    message = (
        f"no enumerator has less than {limits['ratio']:g} of the yeses expected to {counted(len(filters), 'filter')}"
    )
    return outcome(findings, Finding("pass", message, None, limits["ratio"]))


def _filters(interviews: Interviews) -> dict[str, list[str]]:
    """The questions that decide who is asked others, with the answers that open the most."""
    declared = [variable.asked_if for variable in interviews.wave.variables.values()]
    declared += [indicator.universe for indicator in interviews.instrument.indicators.values()]
    opened: dict[str, dict[str, int]] = {}
    for universe in declared:
        if universe is not None and universe.question in interviews.answers.names:
            counts = opened.setdefault(
                universe.question, dict.fromkeys(interviews.instrument.scale(universe.question), 0)
            )
            for answer in universe.answers:
                counts[answer] += 1
    most = {name: max(counts.values()) for name, counts in opened.items()}
    opening = {name: [answer for answer in opened[name] if opened[name][answer] == most[name]] for name in opened}
    return {name: answers for name, answers in opening.items() if len(answers) < len(opened[name])}


@check(
    "numeric_outliers",
    "Numbers far from the others, one by one and by enumerator or form version",
    level="row",
    severity="warn",
    source="ipacheckoutliers (1.5 interquartile ranges, or standard deviations)",
    iqr=1.5,
    far=3.0,
    sd=0,
    share=0.02,
    ratio=10,
    answers=10,
)
def numeric_outliers(interviews: Interviews, limits: Limits) -> Outcome:
    """No number lies oddly far out, and no enumerator's or form version's are of another unit.

    Fences are `iqr` interquartile ranges beyond the quartiles, on the scale (plain, or logarithm of 1 + x) on which
    the middle half is more even; with `sd` above 0 they are so many standard deviations from the mean. Honest answers
    cross them in a small share of rows, so a question is reported when more than `share` do, or any lies `far`
    interquartile ranges out. A group of `answers` or more whose median is `ratio` times the others' has another unit.
    """
    findings, rows, seen = [], [], []
    for name, (values, _) in interviews.numbers.items():
        known = ~np.isnan(values)
        if known.sum() < 2 * limits["answers"]:
            continue
        seen.append(name)
        outside, far, fences = _outside(values, limits)
        wide = bool(far.any()) or outside.sum() > limits["share"] * known.sum()
        if wide:
            message = (
                f"{name}: {counted(outside.sum(), 'answer')} outside {fences}, {int(far.sum())} of them far outside"
            )
            share = float(outside.sum() / known.sum())
            findings.append(Finding("warn", message, share, limits["share"], "column", name))
            positions = chosen(interviews, outside)
            numbers = values[np.flatnonzero(outside)[: len(positions)]]
            rows.append(Rows(positions, [f"{name} is {value:g}" for value in numbers], "warn", name))
        findings += _other_units(interviews, name, values, limits)
    if not seen:
        return not_run("the wave has no question with a number")
    message = f"no odd numbers in {some(seen)}"
    return outcome(findings, Finding("pass", message, 0, limits["share"]), rows)


def _outside(values: Floats, limits: Limits) -> tuple[Mask, Mask, str]:
    """Which values lie outside the fences, which far outside, and the fences in words; no value where NaN."""
    known = values[~np.isnan(values)]
    if limits["sd"] > 0:
        mean, spread = known.mean(), known.std()
        low, high = mean - limits["sd"] * spread, mean + limits["sd"] * spread
        return _beyond(values, low, high), _beyond(values, low, high), f"{low:.4g} to {high:.4g}"
    logarithm = known.min() >= 0 and abs(_lean(np.log1p(known))) < abs(_lean(known))
    scaled = np.log1p(values) if logarithm else values
    first, third = np.nanquantile(scaled, [0.25, 0.75])
    if third == first:  # more than half say the same: no fence can be drawn
        return np.zeros(len(values), bool), np.zeros(len(values), bool), "nothing"
    fences = [(first - k * (third - first), third + k * (third - first)) for k in (limits["iqr"], limits["far"])]
    low, high = (np.expm1(fence) if logarithm else fence for fence in fences[0])
    return _beyond(scaled, *fences[0]), _beyond(scaled, *fences[1]), f"{low:.4g} to {high:.4g}"


def _beyond(values: Floats, low: float, high: float) -> Mask:
    return np.asarray((values < low) | (values > high))


def _lean(values: Floats) -> float:
    """Bowley's skewness, of the quartiles."""
    first, second, third = np.quantile(values, [0.25, 0.5, 0.75])
    return float((first + third - 2 * second) / (third - first)) if third > first else 0.0


def _other_units(interviews: Interviews, name: str, values: Floats, limits: Limits) -> list[Finding]:
    """Form versions whose median is another order of magnitude than the others', or else enumerators."""
    if np.nanmin(values) < 0:
        return []
    for kind, level, part in (
        ("form", "column", groups(interviews.known("form_version"))),
        ("enumerator", "enumerator", interviews.enumerators),
    ):
        known = ~np.isnan(values) & (part.codes >= 0)
        sizes = Groups(np.where(known, part.codes, -1), part.names).sums()
        medians = pd.Series(values[known]).groupby(part.codes[known]).median().reindex(range(len(part.names)))
        enough = np.flatnonzero(sizes >= limits["answers"])
        found = []
        for number in enough[np.argsort(sizes[enough], kind="stable")] if len(enough) > 1 else []:
            own = float(medians.iloc[number])
            others = float(np.median(medians.to_numpy()[enough[enough != number]]))
            if own > 0 and others > 0 and not 1 / limits["ratio"] < own / others < limits["ratio"]:
                group = f"{kind} {part.names[number]}"
                message = f"{name}: the median of {group} is {own:g}, of the others {others:g}: another unit?"
                found.append(Finding("warn", message, own / others, limits["ratio"], level, f"{name}: {group}"))
        if found:
            return found[:1] if len(enough) == 2 else found  # of two groups the smaller one is named
    return []


@check(
    "constraints",
    "Codes in the codebook, numbers in range, nothing answered that was not to be asked",
    level="row",
    severity="fail",
    source="ipacheckconstraints, ipachecklogic; `relevant` of XLSForm",
    rows=0,
)
def constraints(interviews: Interviews, limits: Limits) -> Outcome:
    """Every answer is a category of its question or in its range, and was asked under the wave's `asked_if`."""
    findings, rows, filters = [], [], 0

    def breach(unit: str, where: Mask, words: str) -> None:
        if where.sum() > limits["rows"]:
            message = f"{unit}: {counted(where.sum(), 'answer')} {words}"
            findings.append(Finding("fail", message, float(where.sum()), limits["rows"], "column", unit))
            positions = chosen(interviews, where)
            rows.append(Rows(positions, [f"{unit} {words}"] * len(positions), "fail", unit))

    for name in interviews.answers.names:
        breach(name, interviews.answers.of(name) == STRANGE, "with a code that is not in the codebook")
    for name, (values, _) in interviews.numbers.items():
        bounds = interviews.instrument.questions[name].range if name in interviews.instrument.questions else (0, 130)
        if bounds is not None:
            breach(name, _beyond(values, *bounds), f"outside {bounds[0]:g} to {bounds[1]:g}")
    for name, variable in interviews.wave.variables.items():
        if variable.asked_if is None or variable.asked_if.question not in interviews.answers.names:
            continue
        filters += 1
        scale = interviews.instrument.scale(variable.asked_if.question)
        opening = [scale.index(answer) for answer in variable.asked_if.answers]
        door = interviews.answers.of(variable.asked_if.question)
        shut = ~np.isin(door, opening) & (door != MISSING)
        breach(f"{name} asked if {variable.asked_if.question}", shut & _answered(interviews, name), "though not asked")
    every = len(interviews.answers.names) + len(interviews.numbers)
    message = f"{counted(every, 'question')} and {counted(filters, 'filter')} keep their rules"
    return outcome(findings, Finding("pass", message, 0, limits["rows"]), rows)


def _answered(interviews: Interviews, name: str) -> Mask:
    if name in interviews.answers.names:
        codes = interviews.answers.of(name)
        return np.asarray((codes != NOT_ASKED) & (codes != MISSING))
    if name in interviews.numbers:
        values, reasons = interviews.numbers[name]
        return ~np.isnan(values) | np.isin(reasons, (DONT_KNOW, REFUSED))
    return np.zeros(interviews.size, dtype=bool)


@check(
    "other_specify",
    "Answers of other, in words",
    level="column",
    severity="warn",
    source="ipacheckspecify",
    share=0.10,
)
def other_specify(interviews: Interviews, limits: Limits) -> Outcome:
    """Few answers need words of their own; where many do, a category is missing.

    The base of a text column is the question that it follows (`x` of `x_other`, `x_oth` or `x_specify`) where the
    file has it, or else every interview.
    """
    columns = interviews.wave.fieldwork.other_specify
    if not columns:
        return not_run("fieldwork.other_specify names no column")
    findings, rows, shares = [], [], []
    for column in columns:
        text = interviews.column(column).astype("str").str.strip()
        said = (text.fillna("") != "").to_numpy()
        base = _asked_before(interviews, column) | said
        share = float(said.sum() / max(base.sum(), 1))
        shares.append(f"{column} {percent(share)}")
        if share > limits["share"]:
            message = f"{column}: {percent(share)} of {int(base.sum())} answered in words; {typical(text[said])}"
            findings.append(Finding("warn", message, share, limits["share"], "column", column))
            positions = chosen(interviews, said)
            rows.append(
                Rows(positions, [f"{column}: {words}" for words in text[said][: len(positions)]], "warn", column)
            )
    return outcome(findings, Finding("pass", f"answered in words: {some(shares)}", None, limits["share"]), rows)


def _asked_before(interviews: Interviews, column: str) -> Mask:
    for ending in ("_other_specify", "_specify", "_other", "_oth", "_os", "_text"):
        stem = column.removesuffix(ending)
        if stem != column and stem in interviews.raw.columns:
            values = interviews.column(stem).astype("str").str.strip()
            return (values.fillna("") != "").to_numpy()
    return np.ones(interviews.size, dtype=bool)


@check(
    "straight_lining",
    "The same answer all along a battery of questions",
    level="row",
    severity="warn",
    source="Krosnick 1991; R package resquin (nondifferentiation)",
    share=0.9,
    items=10,
    deviations=3,
    interviews=5,
)
def straight_lining(interviews: Interviews, limits: Limits) -> Outcome:
    """Respondents differ in their answers along a battery, and no enumerator brings many who do not.

    A battery of fewer than `items` questions is judged together with the others on a scale of as many steps.
    """
    if not interviews.instrument.batteries:
        return not_run(f"instrument {interviews.instrument.id} declares no batteries")
    same = np.zeros(interviews.size)
    judged = np.zeros(interviews.size, dtype=bool)
    for questions in _batteries(interviews, int(limits["items"])).values():
        steps = max(len(interviews.instrument.scale(name)) for name in questions)
        counts = np.zeros((steps, interviews.size), dtype=np.int16)
        for name in questions:
            codes = interviews.answers.of(name)
            for step in range(steps):
                counts[step] += codes == step
        given = counts.sum(axis=0)
        enough = given >= limits["items"]
        judged |= enough
        same = np.where(enough, np.maximum(same, counts.max(axis=0) / np.maximum(given, 1)), same)
    if not judged.any():
        return not_run(f"nobody answered {int(limits['items'])} questions of the declared batteries")
    straight = judged & (same >= limits["share"])
    share = float(straight.sum() / judged.sum())
    message = f"{counted(straight.sum(), 'interview')} of {int(judged.sum())} ({percent(share)}) have the same answer"
    message += f" to {percent(limits['share'])} or more of {int(limits['items'])} or more battery questions"
    findings, rows = [], []
    if straight.any():
        findings.append(Finding("warn", message, share, limits["share"]))
        positions = chosen(interviews, straight)
        shares = same[np.flatnonzero(straight)[: len(positions)]]
        rows.append(Rows(positions, [f"same answer to {percent(value)} of battery questions" for value in shares]))
        rates = against_others(np.where(judged, straight, np.nan), interviews.enumerators, limits["deviations"])
        far = (rates["mean"] > rates["limit"]) & (rates["mean"] * rates["n"] >= limits["interviews"])
        for enumerator, rate in rates[far].iterrows():
            words = f"enumerator {enumerator}: {percent(rate['mean'])} of {counted(rate['n'], 'interview')}"
            findings.append(Finding("warn", words, rate["mean"], rate["limit"], "enumerator", str(enumerator)))
    return outcome(findings, Finding("pass", message, share, limits["share"]), rows)


def _batteries(interviews: Interviews, items: int) -> dict[str, list[str]]:
    """The batteries of the wave's questions; short ones pooled with those on as long a scale."""
    found: dict[str, list[str]] = {}
    for battery, questions in interviews.instrument.batteries.items():
        there = [name for name in questions if name in interviews.answers.names]
        if there:
            steps = max(len(interviews.instrument.scale(name)) for name in there)
            found.setdefault(battery if len(there) >= items else f"scale of {steps}", []).extend(there)
    return {name: list(dict.fromkeys(questions)) for name, questions in found.items()}


@check(
    "enumerator_variance",
    "Share of an answer's variance that lies between enumerators",
    level="wave",
    severity="warn",
    source="Himelein 2015 (World Bank WPS 7208); Statistical Journal of the IAOS, sji230042",
    icc=0.10,
    deviations=3,
)
def enumerator_variance(interviews: Interviews, limits: Limits) -> Outcome:
    """Answers depend on respondents and places, hardly on who asks.

    A question is reported when its intra-class correlation of enumerators within strata exceeds `icc` and lies
    `deviations` standard errors above 0.
    """
    if not interviews.enumerators.names:
        return not_run(NO_ENUMERATORS)
    rows, note = _whole_enumerators(interviews)
    parts = (interviews.enumerators, interviews.psus, interviews.strata)
    nested = nesting(*(Groups(part.codes[rows], part.names) for part in parts))
    found = {}
    for name in interviews.answers.names:
        codes = interviews.answers.of(name)[rows]
        ordinal = interviews.instrument.questions[name].type == "ordinal"
        if ordinal or len(interviews.instrument.scale(name)) == 2:
            found[name] = enumerator_similarity(np.where(codes >= 0, codes, np.nan), nested)
    for name, (values, _) in interviews.numbers.items():
        if name in interviews.instrument.questions:
            found[name] = enumerator_similarity(_ranks(values[rows]), nested)
    known = {name: like for name, like in found.items() if not np.isnan(like.icc)}
    if not known:
        return not_run("enumerators cannot be told from places: each works alone in one PSU of a stratum")
    findings = [
        Finding(
            "warn",
            f"{name}: {percent(like.icc)} of the variance in strata lies between enumerators (se {percent(like.se)})",
            like.icc,
            limits["icc"],
            "column",
            name,
        )
        for name, like in known.items()
        if like.icc > limits["icc"] and like.icc > limits["deviations"] * like.se
    ]
    worst = max(known, key=lambda name: known[name].icc - 2 * known[name].se)
    like = known[worst]
    message = f"no question has surely more than {percent(limits['icc'])} of its variance between enumerators"
    message += f"; the surest has {percent(like.icc)} (se {percent(like.se)}; {worst}){note}"
    return outcome(findings, Finding("pass", message, like.icc, limits["icc"]))


def _whole_enumerators(interviews: Interviews) -> tuple[Codes, str]:
    """The interviews of all enumerators, or of so many drawn by lot as the limit allows, and a note about that."""
    part = interviews.enumerators
    if interviews.size <= MOST_COMPARED:
        return np.arange(interviews.size), ""
    sizes = part.sums()
    lot = np.random.default_rng(interviews.seed).permutation(len(part.names))
    drawn = lot[np.cumsum(sizes[lot]) <= MOST_COMPARED]
    inside = np.zeros(len(part.names) + 1, dtype=bool)
    inside[drawn] = True
    note = f"; from {len(drawn)} of {len(part.names)} enumerators, drawn by lot to keep to {MOST_COMPARED:,} interviews"
    return np.flatnonzero(inside[part.codes]), note


def _ranks(values: Floats) -> Floats:
    """Ranks, so that one amount of a million does not make up the variance."""
    return np.asarray(pd.Series(values).rank(), dtype=np.float64)


@check(
    "digit_heaping",
    "Numbers heaped on 0 and 5, and first digits of amounts",
    level="wave",
    severity="reported only",
    source="Kuriakose and Robbins 2016 name the test; Benford 1938",
)
def digit_heaping(interviews: Interviews, limits: Limits) -> Outcome:
    """How far numbers are rounded; reported, never a breach: people round."""
    numbers = {name: values for name, (values, _) in interviews.numbers.items()}
    minutes = interviews.known("minutes").to_numpy() if len(interviews.paradata) else np.array([np.nan])
    numbers |= {"minutes of the interview": np.asarray(minutes, dtype=np.float64)}
    findings = []
    for name, values in numbers.items():
        whole = np.round(values[~np.isnan(values) & (values > 0)])
        if len(whole) < 50:
            continue
        heaped = float((whole % 5 == 0).mean())
        message = f"{name}: {percent(heaped)} end in 0 or 5 (20% would by chance)"
        if np.quantile(whole, 0.95) >= 100 * max(np.quantile(whole, 0.05), 1):
            first = np.floor(whole / 10 ** np.floor(np.log10(whole)))
            seen = np.bincount(first.astype(int), minlength=10)[1:] / len(first)
            benford = np.log10(1 + 1 / np.arange(1, 10))
            message += f"; first digits differ from Benford's law by {percent(float(np.abs(seen - benford).mean()))}"
        findings.append(Finding("pass", message, heaped, 0.2, "column", name))
    return Outcome(findings) if findings else not_run("the wave has no 50 numbers of one kind")


@check(
    "scale_direction",
    "Scales go along with overall satisfaction",
    level="column",
    severity="fail",
    source="this project: guards against a scale mapped the wrong way round; Olsson 1979",
    correlation=-0.05,
    deviations=3.3,
    design_effect=2.0,
    answers=50,
)
def scale_direction(interviews: Interviews, limits: Limits) -> Outcome:
    """No ordinal question has a negative polychoric correlation with the instrument's overall question.

    A question fails when its correlation is below `correlation` and the upper confidence bound, `deviations` standard
    errors above it (widened for the sample design by `design_effect`), is below 0.
    """
    overall = interviews.instrument.overall
    if overall is None:
        return not_run(f"instrument {interviews.instrument.id} declares no `overall` question")
    if overall not in interviews.answers.names:
        return not_run(f"the wave does not have the overall question {overall}")
    others = [
        name
        for name in interviews.answers.names
        if name != overall and interviews.instrument.questions[name].type == "ordinal"
    ]
    every = -(-interviews.size // MOST_CORRELATED)
    steps = len(interviews.instrument.scale(overall)) + 1
    reference = np.maximum(interviews.answers.of(overall)[::every].astype(np.intp), -1) + 1
    findings, found = [], {}
    for name in others:
        codes, own = interviews.answers.of(name)[::every], len(interviews.instrument.scale(name)) + 1
        cells = np.bincount((np.maximum(codes, -1) + 1).astype(np.intp) * steps + reference, minlength=own * steps)
        seen = polychoric(cells.reshape(own, steps)[1:, 1:])
        if np.isnan(seen.rho) or seen.n < limits["answers"]:
            continue
        found[name] = seen.rho
        bound = seen.rho + limits["deviations"] * np.sqrt(limits["design_effect"]) * seen.se
        if seen.rho < limits["correlation"] and bound < 0:
            message = (
                f"{name} correlates {seen.rho:.2f} with {overall} (surely below {bound:.2f}, n {seen.n}): "
                "is its scale mapped the wrong way round?"
            )
            findings.append(Finding("fail", message, seen.rho, limits["correlation"], "column", name))
    if not found:
        return not_run(f"no ordinal question has {int(limits['answers'])} answers together with {overall}")
    if len(findings) > len(found) / 2:
        message = f"most scales run against {overall}: it may itself be mapped the wrong way round"
        findings.append(Finding("fail", message, None, None, "column", overall))
    lowest = min(found, key=lambda name: found[name])
    message = f"correlations with {overall} from {found[lowest]:.2f} ({lowest}) to {max(found.values()):.2f}"
    message += f"; from one in {every} interviews" if every > 1 else ""
    return outcome(findings, Finding("pass", message, found[lowest], limits["correlation"]))
