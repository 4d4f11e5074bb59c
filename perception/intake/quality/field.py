"""Checks of the fieldwork: how long, when and where interviews were held, asked again, as planned and weighted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake.quality.evidence import NOT_ASKED, Codes, Floats, Groups, Interviews, Mask, crossed, groups
from perception.intake.quality.register import (
    LISTED,
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
)
from perception.intake.readers import code_keys
from perception.intake.remedies import chosen_rows

KM_A_DEGREE = 111.2
WORD = re.compile(r"\w+")


@check(
    "duration",
    "Interviews too short or too long",
    level="row",
    severity="warn",
    source="Innovations for Poverty Action; ODK audit log; Statistical Journal of the IAOS, sji230042",
    median=0.4,
    words_per_minute=200,
    hours=3,
)
def duration(interviews: Interviews, limits: Limits) -> Outcome:
    """Interviews take as long as it takes to put their questions.

    Too short: under `median` of the wave's median (of less where fewer questions were put), or under the time to read
    the questions aloud at `words_per_minute`. Too long: over `hours`. Ended before it began: the clock is wrong.
    """
    minutes = interviews.known("minutes").to_numpy(dtype=np.float64)
    if np.isnan(minutes).all():
        return not_run("neither fieldwork.minutes nor fieldwork.start and fieldwork.end are there")
    asked = interviews.asked
    middle, usual = float(np.nanmedian(minutes)), max(float(np.median(asked)), 1)
    short = minutes < limits["median"] * middle * np.minimum(1, asked / usual)
    reading = _reading_minutes(interviews, limits["words_per_minute"])
    reasons = {
        "ended before it began": minutes < 0,
        f"under {percent(limits['median'])} of the median": short,
        "under the time to read its questions": minutes < reading,
        f"over {limits['hours']:g} hours": minutes > limits["hours"] * 60,
    }
    message = f"median {middle:.1f} minutes; {counted(np.isnan(minutes).sum(), 'interview')} without a length"
    odd = np.logical_or.reduce(list(reasons.values()))
    if not odd.any():
        return outcome([], Finding("pass", message, middle))
    first = np.select(list(reasons.values()), list(reasons), "")
    words = ", ".join(f"{(first == reason).sum()} {reason}" for reason in reasons if (first == reason).any())
    positions = chosen(interviews, odd)
    numbers = np.flatnonzero(odd)[: len(positions)]
    details = [f"{minutes[number]:.1f} minutes: {first[number]}" for number in numbers]
    share = float(odd.mean())
    message = f"{counted(odd.sum(), 'interview')} ({percent(share)}): {words}; {message}"
    return outcome([Finding("warn", message, float(odd.sum()), 0)], Finding("pass", ""), [Rows(positions, details)])


def _reading_minutes(interviews: Interviews, words_per_minute: float) -> Floats:
    """Time to read aloud the questions put in each interview."""
    total = np.zeros(interviews.size)
    for name, question in interviews.instrument.questions.items():
        length = len(WORD.findall(question.label.en)) / words_per_minute
        if name in interviews.answers.names:
            total += length * (interviews.answers.of(name) != NOT_ASKED)
        elif name in interviews.numbers:
            total += length * (interviews.numbers[name][1] != NOT_ASKED)
    return total


@check(
    "question_speeding",
    "Questions answered faster than they can be read",
    level="row",
    severity="warn",
    source="ODK documentation of the form audit log; ipachecktextaudit",
    seconds=2,
    share=0.5,
    questions=10,
)
def question_speeding(interviews: Interviews, limits: Limits) -> Outcome:
    """In no interview were more than `share` of the questions passed in under `seconds`, by the audit log."""
    times, audit = interviews.question_times, interviews.wave.fieldwork.audit
    if times is None or audit is None:
        return not_run("fieldwork.audit is not declared: no time of each question")
    measured = times.dropna(subset=["seconds"])
    each = measured["seconds"].lt(limits["seconds"]).groupby(measured["instance"]).agg(["mean", "size"])
    instance = code_keys(interviews.column(audit.key)).astype("str")
    share, size = (instance.map(each[name]).to_numpy(dtype=np.float64) for name in ("mean", "size"))
    found = ~np.isnan(share)
    if not found.any():
        return not_run(f"no interview that counts is in {audit.path} by {audit.instance}: compare it with {audit.key}")
    fast = found & (share > limits["share"]) & (size >= limits["questions"])
    message = f"{counted(fast.sum(), 'interview')} of {int(found.sum())} in the audit log passed "
    message += f"{percent(limits['share'])} or more of the questions in under {limits['seconds']:g} seconds"
    message += f"; {counted((~found).sum(), 'interview')} are not in it"
    findings = [Finding("warn", message, float(fast.sum()), 0)] if fast.any() else []
    positions = chosen(interviews, fast)
    details = [
        f"{percent(share[number])} of {int(size[number])} questions in under {limits['seconds']:g} s"
        for number in np.flatnonzero(fast)[: len(positions)]
    ]
    return outcome(findings, Finding("pass", message, 0, limits["share"]), [Rows(positions, details)])


@check(
    "work_hours",
    "Hours of work: nights, overlaps, long days, wrong clocks",
    level="enumerator",
    severity="warn",
    source="ipachecktimeuse",
    night_from=21,
    night_to=6,
    day_hours=14,
    days_outside=1,
)
def work_hours(interviews: Interviews, limits: Limits) -> Outcome:
    """Interviews are held by day, one after the other, while the wave is in the field."""
    field, wave = interviews.wave.fieldwork, interviews.wave
    start = interviews.known("start")
    if start.isna().all():
        return not_run("fieldwork.start is not declared")
    end, submitted = interviews.known("end"), interviews.known("submitted")
    local, local_end = (times.dt.tz_convert(field.time_zone) for times in (start, end))
    clock = _hour(local)
    if not np.nanmax(np.where(np.isnan(clock), 0, clock)):
        return not_run(f"{field.start} has dates without a time of day")
    night = (clock >= limits["night_from"]) | (clock < limits["night_to"])
    late = _hour(local_end)
    night |= ~np.isnan(late) & ((late >= limits["night_from"]) | (late < limits["night_to"]))
    day = local.dt.tz_localize(None).dt.normalize()
    slack = pd.Timedelta(days=limits["days_outside"])
    outside = (day < pd.Timestamp(wave.dates.start) - slack) | (day > pd.Timestamp(wave.dates.end) + slack)
    reasons: dict[str, Mask] = {
        "ended before it began": (end < start).to_numpy(),
        "submitted before it ended": (submitted < end).to_numpy(),
        "dated outside the days in the field": outside.to_numpy(),
        "at night": night,
    }
    overlaps, long_days = np.zeros(len(start), dtype=bool), ""
    part = interviews.enumerators
    if part.names:
        overlaps = _overlaps(part, start, end)
        reasons["began before the enumerator's last one ended"] = overlaps
        long_days = _long_days(part, local, local_end, day, limits["day_hours"])
    odd = np.logical_or.reduce(list(reasons.values()))
    words = ", ".join(f"{int(where.sum())} {reason}" for reason, where in reasons.items() if where.any())
    findings = []
    if odd.any() or long_days:
        message = f"{counted(odd.sum(), 'interview')} ({percent(float(odd.mean()))}): {words or 'none'}{long_days}"
        findings.append(Finding("warn", message, float(odd.sum()), 0))
        per = part.sums(odd)
        sizes = part.sums()
        for number in np.argsort(-per, kind="stable")[: int((per > 0).sum())]:
            if per[number] / sizes[number] > 0.1:
                name = part.names[number]
                said = f"enumerator {name}: {int(per[number])} of {int(sizes[number])} interviews at odd times"
                findings.append(Finding("warn", said, float(per[number]), 0, "enumerator", name))
    positions = chosen(interviews, odd)
    numbers = np.flatnonzero(odd)[: len(positions)]
    details = [
        f"{local.iloc[number]:%Y-%m-%d %H:%M}: "
        + ", ".join(reason for reason, where in reasons.items() if where[number])
        for number in numbers
    ]
    summary = Finding("pass", f"all of {counted(start.notna().sum(), 'interview')} with a time were held by day", 0, 0)
    if not part.names:
        findings.append(
            Finding("not_run", f"overlaps not looked for: {NO_ENUMERATORS}", None, None, "enumerator", "all")
        )
    return outcome(findings, summary, [Rows(positions, details)])


def _hour(times: pd.Series) -> Floats:
    return np.asarray(times.dt.hour + times.dt.minute / 60, dtype=np.float64)


def _overlaps(part: Groups, start: pd.Series, end: pd.Series) -> Mask:
    """Interviews that begin before the enumerator's one before ended."""
    began, ended = (
        pd.DatetimeIndex(times).tz_localize(None).to_numpy().astype("datetime64[s]") for times in (start, end)
    )
    order = np.lexsort((began, part.codes))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (part.codes[order][1:] == part.codes[order][:-1]) & (part.codes[order][1:] >= 0)
    before = np.roll(ended[order], 1)
    first = np.roll(began[order], 1)
    overlaps = np.zeros(len(order), dtype=bool)
    overlaps[order] = same & (began[order] < before) & (before >= first)
    return overlaps


def _long_days(part: Groups, start: pd.Series, end: pd.Series, day: pd.Series, hours: float) -> str:
    """In words, how many enumerators' days from the first start to the last end of it are too long."""
    own_day = end.dt.tz_localize(None).dt.normalize() == day
    known = (part.codes >= 0) & start.notna().to_numpy() & own_day.to_numpy()
    days = crossed(Groups(np.where(known, part.codes, -1), part.names), groups(day))
    if not days.names:
        return ""
    began = pd.Series(_hour(start)[known]).groupby(days.codes[known]).min()
    ended = pd.Series(_hour(end)[known]).groupby(days.codes[known]).max()
    long = int((ended - began > hours).sum())
    return f"; {counted(long, 'day')} of an enumerator longer than {hours:g} hours" if long else ""


@check(
    "productivity",
    "Interviews a day of an enumerator",
    level="enumerator",
    severity="warn",
    source="ipacheckenumdb; ipatracksurvey",
    deviations=3,
)
def productivity(interviews: Interviews, limits: Limits) -> Outcome:
    """No enumerator holds far more interviews on a day than planned (or usual, where no plan is declared)."""
    start, part = interviews.known("start"), interviews.enumerators
    if start.isna().all() or not part.names:
        return not_run("fieldwork.enumerator and fieldwork.start are not both declared")
    day = start.dt.tz_convert(interviews.wave.fieldwork.time_zone).dt.tz_localize(None).dt.normalize()
    days = crossed(part, groups(day))
    if not days.names:
        return not_run("no interview has both an enumerator and a day")
    per_day = days.sums()
    plan = interviews.wave.fieldwork.plan.interviews_per_day
    usual = float(plan) if plan else float(per_day.mean())
    most = usual + limits["deviations"] * float(per_day.std())
    who = np.full(len(days.names), -1, dtype=np.intp)
    known = days.codes >= 0
    who[days.codes[known]] = part.codes[known]
    over = per_day > most
    findings = []
    for number in np.unique(who[over]):
        own = np.flatnonzero(over & (who == number))
        best = own[np.argmax(per_day[own])]
        date = days.names[best].rsplit("/", 1)[1][:10]
        message = f"enumerator {part.names[number]}: {counted(per_day[best], 'interview')} on {date}"
        message += f", and {counted(len(own) - 1, 'more day')} above {most:.1f}" if len(own) > 1 else ""
        findings.append(Finding("warn", message, float(per_day[best]), most, "enumerator", part.names[number]))
    busy = np.flatnonzero(known & np.append(over, False)[days.codes])
    positions = chosen(interviews, busy)
    details = [f"one of {int(per_day[days.codes[number]])} interviews in a day" for number in busy[: len(positions)]]
    said = f"planned {usual:g}" if plan else f"on average {usual:.1f} (no plan is declared)"
    message = f"at most {int(per_day.max())} interviews a day of an enumerator; {said}, limit {most:.1f}"
    return outcome(findings, Finding("pass", message, float(per_day.max()), most), [Rows(positions, details)])


@check(
    "gps",
    "Interviews lie in their district and near their PSU",
    level="row",
    severity="warn",
    source="butteR, check_distances_from_target; ODK documentation: accuracy 0 is a mock location",
    border_km=5,
    psu_km=5,
    missing=0.2,
)
def gps(interviews: Interviews, limits: Limits) -> Outcome:
    """Interviews were held where they are said to be.

    Outside: more than `border_km` beyond the district (the built-in borders are generalised). Far: more than `psu_km`
    from the middle (median) of the PSU's interviews. Accuracy 0: the device made the place up. 0/0: it knew none.
    """
    if interviews.wave.fieldwork.gps is None:
        return not_run("fieldwork.gps is not declared")
    latitude, longitude, accuracy = (
        interviews.known(name).to_numpy(dtype=np.float64) for name in ("latitude", "longitude", "accuracy")
    )
    known, at_zero = ~np.isnan(latitude), interviews.known("at_zero").to_numpy(dtype=bool)
    if not (known | at_zero).any():
        return not_run("no interview has a place")
    outside, beyond = _outside_district(interviews, latitude, longitude, limits["border_km"])
    away = _from_psu(interviews, latitude, longitude)
    far, mock = away > limits["psu_km"], accuracy == 0
    absent = float(1 - known.mean())
    findings = []
    for unit, where, words in (
        ("district", outside, f"more than {limits['border_km']:g} km outside their district"),
        ("psu", far, f"more than {limits['psu_km']:g} km from the middle of their PSU"),
        ("accuracy", mock, "at a place of accuracy 0: a mock location"),
        ("zero", at_zero, "at 0/0: the device knew no place"),
    ):
        if where.any():
            message = f"{counted(where.sum(), 'interview')} of {int((known | at_zero).sum())} with a place lie {words}"
            findings.append(Finding("warn", message, float(where.sum()), 0, "column", f"gps: {unit}"))
    if absent > limits["missing"]:
        message = f"{percent(absent)} of the interviews have no place"
        findings.append(Finding("warn", message, absent, limits["missing"], "column", "gps: missing"))
    if interviews.shapes is None:
        message = "not run: district shapes were not given"
        findings.append(Finding("not_run", message, None, None, "column", "gps: district"))
    odd = outside | far | mock | at_zero
    positions = chosen(interviews, odd)
    details = []
    for number in np.flatnonzero(odd)[: len(positions)]:
        said = [f"{beyond[number]:.0f} km outside its district"] if outside[number] else []
        said += [f"{away[number]:.1f} km from the middle of its PSU"] if far[number] else []
        said += ["accuracy 0"] if mock[number] else []
        said += ["place 0/0"] if at_zero[number] else []
        details.append(", ".join(said))
    message = f"{counted(known.sum(), 'interview')} with a place ({percent(absent)} without) lie where they should"
    return outcome(findings, Finding("pass", message, 0, 0), [Rows(positions, details)])


def _outside_district(
    interviews: Interviews, latitude: Floats, longitude: Floats, tolerance: float
) -> tuple[Mask, Floats]:
    """Which interviews lie outside their district by more than the tolerance, and all distances beyond it in km."""
    distance = np.zeros(len(latitude))
    if interviews.shapes is None:
        return distance > tolerance, distance
    import shapely

    shapes = interviews.shapes()
    polygons = dict(zip(shapes["district_id"], shapes.geometry, strict=True))
    part = interviews.districts
    order = np.argsort(part.codes, kind="stable")
    ends = np.searchsorted(part.codes[order], np.arange(len(part.names) + 1))
    for number, name in enumerate(part.names):
        rows = order[ends[number] : ends[number + 1]]
        rows = rows[~np.isnan(latitude[rows])]
        if name not in polygons or not len(rows):
            continue
        polygon = polygons[name]
        shapely.prepare(polygon)
        rows = rows[~shapely.contains_xy(polygon, longitude[rows], latitude[rows])]
        if len(rows):
            scale = np.array([np.cos(np.radians(polygon.centroid.y)), 1]) * KM_A_DEGREE
            flat = shapely.transform(polygon, lambda corners, scale=scale: corners * scale)
            points = shapely.points(longitude[rows] * scale[0], latitude[rows] * scale[1])
            distance[rows] = shapely.distance(flat, points)
    return distance > tolerance, distance


def _from_psu(interviews: Interviews, latitude: Floats, longitude: Floats) -> Floats:
    """Kilometres of each interview from the middle of its PSU's, 0 where fewer than three have a place."""
    part = interviews.psus
    places = pd.DataFrame({"latitude": latitude, "longitude": longitude}).groupby(part.codes)
    middle = places.median().reindex(range(len(part.names)))
    enough = part.of(part.sums(~np.isnan(latitude))) >= 3
    north = latitude - part.of(middle["latitude"].to_numpy())
    east = (longitude - part.of(middle["longitude"].to_numpy())) * np.cos(np.radians(latitude))
    return np.where(enough & ~np.isnan(north), KM_A_DEGREE * np.hypot(north, east), 0.0)


@check(
    "back_checks",
    "Answers that differ when asked again, by kind of variable",
    level="enumerator",
    severity="warn",
    source="ipabcstats; World Bank DIME wiki, Back Checks",
    type_1=0.10,
    compared=5,
)
def back_checks(interviews: Interviews, limits: Limits) -> Outcome:
    """Variables that cannot change (type 1) rarely differ in the back-check; types 2 and 3 are reported."""
    declared, again = interviews.wave.fieldwork.back_checks, interviews.back_checks
    if declared is None or again is None:
        return not_run("fieldwork.back_checks is not declared")
    ours = pd.DataFrame({column: code_keys(interviews.column(column)).astype("str") for column in declared.key})
    theirs = pd.DataFrame({column: code_keys(again[column]).astype("str") for column in declared.key})
    found = theirs.assign(again=range(len(theirs))).merge(ours.assign(own=range(len(ours))), on=declared.key)
    if found.empty:
        return not_run(f"no row of {declared.path} is an interview that counts by {', '.join(declared.key)}")
    own, other = found["own"].to_numpy(), found["again"].to_numpy()
    words, findings, rows = [], [], []
    for kind, columns in ((1, declared.type_1), (2, declared.type_2), (3, declared.type_3)):
        compared, wrong = np.zeros(len(found)), np.zeros(len(found))
        said = np.full(len(found), "", dtype=object)
        for column in columns:
            if column not in interviews.raw.columns:
                message = f"not run: column {column} of type {kind} is not in the data"
                findings.append(Finding("not_run", message, None, None, "column", column))
                continue
            first = code_keys(interviews.column(column)).astype("str").to_numpy(dtype=object)[own]
            second = code_keys(again[column]).astype("str").to_numpy(dtype=object)[other]
            both = ~pd.isna(first) & ~pd.isna(second)
            differs = both & (first != second)
            compared += both
            wrong += differs
            said[differs] += [
                f"{column} was {first[row]}, asked again {second[row]}; " for row in np.flatnonzero(differs)
            ]
        if compared.sum():
            words.append(f"type {kind} {percent(float(wrong.sum() / compared.sum()))} of {int(compared.sum())}")
        if kind == 1:
            found_wrong = _often_wrong(interviews, own, compared, wrong, said, limits)
            findings += found_wrong.findings
            rows += found_wrong.rows
    message = f"{counted(len(found), 'interview')} asked again; answers that differ: {', '.join(words)}"
    return outcome(findings, Finding("pass", message, None, limits["type_1"]), rows)


def _often_wrong(
    interviews: Interviews, own: Codes, compared: Floats, wrong: Floats, said: NDArray[Any], limits: Limits
) -> Outcome:
    """Enumerators (or the wave, where it does not say who they are) with too many differences, and these."""
    part = Groups(interviews.enumerators.codes[own], interviews.enumerators.names)
    level, name = "enumerator", "enumerator {}"
    if not part.names:
        part, level, name = Groups(np.zeros(len(own), dtype=np.intp), [""]), "wave", "all together"
    put, errors = part.sums(compared), part.sums(wrong)
    rate = errors / np.maximum(put, 1)
    done = Outcome([])
    for number in np.flatnonzero((rate > limits["type_1"]) & (put >= limits["compared"])):
        unit = part.names[number]
        message = f"{name.format(unit)}: {int(errors[number])} of {int(put[number])} answers that cannot change differ"
        done.findings.append(Finding("warn", message, float(rate[number]), limits["type_1"], level, unit))
        odd = np.flatnonzero((part.codes == number) & (wrong > 0))[:LISTED]
        details = [str(text).removesuffix("; ") for text in said[odd]]
        done.rows.append(Rows(chosen(interviews, own[odd]), details, "warn", unit))
    return done


@check(
    "sample_plan",
    "Sample against plan: interviews, PSUs, strata, districts",
    level="stratum",
    severity="short: warn; one PSU: warn, or fail under design.single_psu: fail",
    source="ipatracksurvey; World Bank DIME, completeness",
    share=0.9,
    replaced=0.1,
    responses=30,
)
def sample_plan(interviews: Interviews, limits: Limits) -> Outcome:
    """The sample is what was planned, every stratum has PSUs enough for a variance, every district responses enough."""
    psus, plan, responses = interviews.design_psus, interviews.wave.fieldwork.plan, interviews.responses
    if psus.empty:
        return not_run("the list of sampled PSUs was not given")
    empty = int((psus["responses"] == 0).sum())
    findings, short = [], pd.Series(dtype=float)
    kept = f"{len(responses)} of {len(interviews.raw)} rows count; "
    kept += f"{len(psus) - empty} of {len(psus)} sampled PSUs have a response"
    if empty:
        message = f"{kept}; none in {some(psus.loc[psus['responses'] == 0, 'psu'])}"
        findings.append(Finding("warn", message, float(empty), 0, "wave", "PSUs without a response"))
    if plan.interviews_per_psu:
        share = psus.groupby("stratum")["responses"].mean() / plan.interviews_per_psu
        short = share[share < limits["share"]]
    else:
        message = "not run against a plan: fieldwork.plan.interviews_per_psu is not declared"
        findings.append(Finding("not_run", message, None, limits["share"], "wave", "interviews per PSU"))
    if plan.psus and len(psus) < limits["share"] * plan.psus:
        message = f"{len(psus)} of {plan.psus} planned PSUs"
        findings.append(Finding("warn", message, len(psus) / plan.psus, limits["share"], "wave", "PSUs planned"))
    findings += _strata(psus, short, interviews, limits)
    findings += _replaced(interviews, limits)
    for district, count in responses["district_id"].value_counts().sort_index().items():
        if count < limits["responses"]:
            message = counted(count, "response")
            findings.append(Finding("warn", message, float(count), limits["responses"], "district", str(district)))
    return outcome(findings, Finding("pass", kept, len(responses) / max(len(interviews.raw), 1)))


def _strata(psus: pd.DataFrame, short: pd.Series, interviews: Interviews, limits: Limits) -> list[Finding]:
    """Strata with one PSU or with fewer interviews than planned."""
    policy = interviews.wave.design.single_psu
    words: dict[str, list[str]] = {}
    single = psus[psus["single_psu"].notna()].drop_duplicates("stratum")
    for row in single.itertuples():
        done = f"joined with {row.variance_stratum}" if row.single_psu == "collapsed" else "centred at zero"
        words.setdefault(str(row.stratum), []).append(f"one PSU, for variances {done}")
    alone = psus.groupby("stratum")["psu"].nunique()
    failing = set(alone[alone == 1].index.astype(str)) if policy == "fail" else set()
    for stratum in failing:
        words.setdefault(stratum, []).append("one PSU, and design.single_psu is `fail`")
    for stratum, share in short.items():
        words.setdefault(str(stratum), []).append(f"{percent(float(share))} of the interviews planned for its PSUs")
    return [
        Finding(
            "fail" if stratum in failing else "warn",
            "; ".join(said),
            float(short.get(stratum, alone[stratum])),
            limits["share"] if stratum in short.index else 2,
            "stratum",
            stratum,
        )
        for stratum, said in sorted(words.items())
    ]


def _replaced(interviews: Interviews, limits: Limits) -> list[Finding]:
    choice = interviews.wave.fieldwork.plan.replaced
    if choice is None:
        return []
    replaced = chosen_rows(interviews.raw, choice).to_numpy()[interviews.positions]
    count = int((interviews.psus.sums(replaced) > 0).sum())
    share = count / max(len(interviews.psus.names), 1)
    message = f"{counted(count, 'PSU')} ({percent(share)}) replaced another"
    verdict: Verdict = "warn" if share > limits["replaced"] else "pass"
    return [Finding(verdict, message, share, limits["replaced"], "wave", "PSUs replaced")]


@check(
    "weights",
    "Weights: positive, summing to the population, not too unequal",
    level="wave",
    severity="not positive or off the total: fail; unequal: warn",
    source="Afrobarometer data page (weights for national statistics); Kish 1992",
    total=0.005,
    max_over_median=6,
)
def weights(interviews: Interviews, limits: Limits) -> Outcome:
    """Every weight is positive and finite; population weights sum to the surveyed population of the margins."""
    weight = interviews.responses["weight"].to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(weight) & (weight > 0))
    findings, rows = [], []
    if wrong.any():
        message = f"{counted(wrong.sum(), 'interview')} without a positive, finite weight"
        findings.append(Finding("fail", message, float(wrong.sum()), 0, "wave", "positive and finite"))
        positions = chosen(interviews, wrong)
        values = weight[np.flatnonzero(wrong)[: len(positions)]]
        rows.append(Rows(positions, [f"weight {value:g}" for value in values], "fail", "positive and finite"))
    good = weight[~wrong]
    if not len(good):
        return outcome(findings, Finding("pass", ""), rows)
    uneven, kish = float(good.max() / np.median(good)), float(len(good) * (good**2).sum() / good.sum() ** 2)
    spread = f"largest weight {uneven:.1f} times the median, coefficient of variation {np.sqrt(kish - 1):.2f}"
    verdict: Verdict = "warn" if uneven > limits["max_over_median"] else "pass"
    findings.append(Finding(verdict, spread, uneven, limits["max_over_median"], "wave", "largest over median"))
    cost = f"unequal weights alone cost a factor of {kish:.2f} in variance (Kish)"
    findings.append(Finding("pass", cost, kish, None, "wave", "Kish design effect"))
    if interviews.wave.design.weight_scale == "population":
        findings.append(_total(interviews, float(good.sum()), limits["total"]))
    message = f"{counted(len(good), 'weight')} are positive and finite, with sum {good.sum():,.0f}"
    return outcome(findings, Finding("pass", message, float(good.sum())), rows)


def _total(interviews: Interviews, total: float, tolerance: float) -> Finding:
    margins = interviews.margins
    if margins is None or "persons" not in margins:
        message = f"not run: the weights sum to {total:,.0f}, and no margins say how many persons were surveyed"
        return Finding("not_run", message, total, None, "wave", "sum")
    persons = float(pd.to_numeric(margins["persons"]).sum())
    off = total / persons - 1
    side = "above" if off > 0 else "below"
    message = f"the weights sum to {total:,.0f}, {percent(abs(off))} {side} the margins' {persons:,.0f}"
    return Finding("fail" if abs(off) > tolerance else "pass", message, abs(off), tolerance, "wave", "sum")
