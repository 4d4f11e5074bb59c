"""Checks of what identifies an interview and of what has to be there: versions, ids, values, districts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perception.intake.quality.evidence import MISSING, NOT_ASKED, Codes, Interviews, Mask, groups
from perception.intake.quality.register import (
    LISTED,
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
from perception.intake.readers import code_key

UUID_COLUMNS = ("_uuid", "KEY", "__id", "instanceID", "meta/instanceID", "meta-instanceID", "_id")
"""Columns in which KoboToolbox, ODK and SurveyCTO keep the id of a submission."""
FINE_DECIMALS = 5
"""Decimals of a degree (a metre) from which two interviews at the very same place are odd."""


@check(
    "form_version",
    "Form version known and current",
    level="wave",
    severity="unknown: fail; stale: warn",
    source="ipacheckversions (Innovations for Poverty Action, high-frequency checks)",
)
def form_version(interviews: Interviews, limits: Limits) -> Outcome:
    """Every interview was held with a version of the form that wave.yml names."""
    field = interviews.wave.fieldwork
    if field.form_version is None or not field.current_versions:
        return not_run("fieldwork.form_version and fieldwork.current_versions are not declared")
    current = {code_key(version) for version in field.current_versions}
    stale = {code_key(version) for version in field.stale_versions}
    versions = groups(interviews.known("form_version").astype("str").fillna("(blank)"))
    findings, rows = [], []
    for number, version in enumerate(versions.names):
        if version in current:
            continue
        unit, here = f"{field.form_version}={version}", versions.codes == number
        known = version in stale
        message = f"{counted(here.sum(), 'interview')} with {'stale' if known else 'unknown'} form version {version}"
        verdict: Verdict = "warn" if known else "fail"
        findings.append(Finding(verdict, message, float(here.sum()), 0, "column", unit))
        positions = chosen(interviews, here)
        rows.append(Rows(positions, [f"form version {version}"] * len(positions), verdict, unit))
    kinds = some(version for version in versions.names if version in current)
    return outcome(findings, Finding("pass", f"all interviews are of current form versions: {kinds}", 0, 0), rows)


@check(
    "unique_ids",
    "Ids stand once: respondent, submission, household in PSU",
    level="row",
    severity="fail",
    source="ipacheckids; ieduplicates and iecompdup (World Bank DIME)",
    repeats=0,
)
def unique_ids(interviews: Interviews, limits: Limits) -> Outcome:
    """No id of an interview stands in two rows that count."""
    wave, raw = interviews.wave, interviews.raw
    keys = {f"respondent_id ({', '.join(wave.respondent_id)})": wave.respondent_id}
    # Where the submission is part of a longer id, several respondents share one.
    keys |= {column: [column] for column in UUID_COLUMNS if column in raw and column not in wave.respondent_id}
    if household := wave.fieldwork.household:
        within = dict.fromkeys([*wave.design.psu_within, wave.design.psu, *household])
        keys[f"household ({', '.join(within)})"] = list(within)
    findings, rows = _repeats(interviews, keys, limits["repeats"], "fail")
    return outcome(findings, Finding("pass", f"no repeats of {some(keys)}", 0, limits["repeats"]), rows)


@check(
    "unique_values",
    "Values that should be unique stand once: GPS, hashed phone",
    level="row",
    severity="warn",
    source="ipacheckdups",
    repeats=0,
)
def unique_values(interviews: Interviews, limits: Limits) -> Outcome:
    """No value of a column that is declared unique, and no exact place, stands in two rows that count."""
    field = interviews.wave.fieldwork
    if not field.unique and field.gps is None:
        return not_run("neither fieldwork.unique nor fieldwork.gps is declared")
    findings, rows = _repeats(interviews, {column: [column] for column in field.unique}, limits["repeats"], "warn")
    place = _places(interviews)
    twice = _repeated(place)
    if twice.sum() > limits["repeats"]:
        message = f"{counted(twice.sum(), 'interview')} were held at exactly the place of another"
        findings.append(Finding("warn", message, float(twice.sum()), limits["repeats"], "column", "gps"))
        rows.append(_repeated_rows(interviews, place, twice, "gps", "warn"))
    named = some([*field.unique, *(["gps"] if field.gps else [])])
    return outcome(findings, Finding("pass", f"no repeats in {named}", 0, limits["repeats"]), rows)


def _repeats(
    interviews: Interviews, keys: dict[str, list[str]], allowed: float, verdict: Verdict
) -> tuple[list[Finding], list[Rows]]:
    """What repeats of each key (some columns together), and the rows of it."""
    findings, rows = [], []
    for unit, columns in keys.items():
        codes = _key_codes(interviews, columns)
        twice = _repeated(codes)
        if twice.sum() > allowed:
            values = len(np.unique(codes[twice]))
            message = f"{counted(values, 'value')} of {unit} stand in {counted(twice.sum(), 'row')} that count"
            findings.append(Finding(verdict, message, float(twice.sum()), allowed, "column", unit))
            rows.append(_repeated_rows(interviews, codes, twice, unit, verdict))
    return findings, rows


def _key_codes(interviews: Interviews, columns: list[str]) -> Codes:
    """A number for each combination of values, -1 where any is blank."""
    codes = np.zeros(interviews.size, dtype=np.int64)
    blank = np.zeros(interviews.size, dtype=bool)
    for column in columns:
        values = interviews.column(column)
        if pd.api.types.is_string_dtype(values) and not isinstance(values.dtype, pd.CategoricalDtype):
            values = values.str.strip().mask(lambda text: text == "")
        part, names = pd.factorize(values)
        blank |= part < 0
        codes = pd.factorize(codes * (len(names) + 1) + part)[0].astype(np.int64)
    return np.where(blank, -1, codes).astype(np.intp)


def _repeated(codes: Codes) -> Mask:
    """Which rows share their code with another; -1 is no code."""
    sizes = np.bincount(codes[codes >= 0], minlength=1)
    return (codes >= 0) & (sizes[codes] > 1)


def _repeated_rows(interviews: Interviews, codes: Codes, twice: Mask, unit: str, verdict: Verdict) -> Rows:
    """Each row of a repeat with the source rows of the others."""
    order = np.flatnonzero(twice)
    order = order[np.argsort(codes[order], kind="stable")][:LISTED]
    source = interviews.column("source_row").to_numpy()
    mates: dict[int, list[int]] = {}
    for row in order:
        mates.setdefault(int(codes[row]), []).append(int(source[row]))
    details = []
    for row in order:
        others = [number for number in mates[int(codes[row])] if number != source[row]]
        details.append(f"{unit}: as in row {some(others)}" if others else f"{unit}: as in another row")
    return Rows(interviews.positions[order], details, verdict, unit)


def _places(interviews: Interviews) -> Codes:
    """A number for each exact place, -1 without one; none where places are rounded: those fall together by chance."""
    latitude, longitude = (interviews.known(name).to_numpy(dtype=np.float64) for name in ("latitude", "longitude"))
    known = ~np.isnan(latitude)
    codes = np.full(len(known), -1, dtype=np.intp)
    if known.any() and (np.round(latitude[known], FINE_DECIMALS - 1) != latitude[known]).mean() > 0.5:
        north, east = (pd.factorize(np.round(degrees[known], 7))[0] for degrees in (latitude, longitude))
        codes[known] = pd.factorize(north * (east.max() + 1) + east)[0]
    return codes


@check(
    "missing_values",
    "Variables that nobody answered; gaps in what must be there",
    level="column",
    severity="all missing: fail; must-have: warn",
    source="Innovations for Poverty Action, guide to high-frequency checks",
    all_missing=1.0,
    must_have=0.05,
)
def missing_values(interviews: Interviews, limits: Limits) -> Outcome:
    """Every variable of the wave has an answer; what must be there (who interviewed, too) has hardly a gap."""
    field = interviews.wave.fieldwork
    must = list(dict.fromkeys([*field.must_have, *([field.enumerator] if field.enumerator else [])]))
    findings: list[Finding] = []
    rows: list[Rows] = []
    shares = _blank_shares(interviews)
    for name, (share, _) in shares.items():
        if share >= limits["all_missing"]:
            message = f"{name} is empty in every interview that counts"
            findings.append(Finding("fail", message, share, limits["all_missing"], "column", name))
    empty = {finding.unit for finding in findings}
    for name in must:
        if name not in shares and name in interviews.raw.columns:
            blank = _blank(interviews.column(name))
            shares[name] = (float(blank.mean()), blank)
        if name not in shares:
            message = f"not run: {name} of fieldwork.must_have is neither a variable of the wave nor a column"
            findings.append(Finding("not_run", message, None, limits["must_have"], "column", name))
            continue
        share, blank = shares[name]
        if share > limits["must_have"] and name not in empty:
            message = f"{name} is missing in {percent(share)} of the interviews that were to have it"
            findings.append(Finding("warn", message, share, limits["must_have"], "column", name))
            positions = chosen(interviews, blank)
            rows.append(Rows(positions, [f"{name} is missing"] * len(positions), "warn", name))
    words = f"at most {percent(limits['must_have'])} missing in {some(must)}" if must else "none is declared must-have"
    return outcome(findings, Finding("pass", f"{len(shares)} variables have answers; {words}", 0, 0), rows)


def _blank_shares(interviews: Interviews) -> dict[str, tuple[float, Mask]]:
    """Of each declared variable: the share missing among those asked (1 when nobody was), and who."""
    shares = {}
    for name in interviews.wave.variables:
        if name in interviews.answers.names:
            codes = interviews.answers.of(name)
        elif name in interviews.numbers:
            values, reasons = interviews.numbers[name]
            codes = np.where(np.isnan(values), reasons, 0)
        elif name in interviews.responses.columns:
            codes = np.where(interviews.responses[name].isna(), MISSING, 0)
        else:
            continue
        asked, blank = int((codes != NOT_ASKED).sum()), codes == MISSING
        share = float(blank.sum() / asked) if asked else 1.0
        shares[name] = (share, blank)
    return shares


def _blank(values: pd.Series) -> Mask:
    return np.asarray(values.astype("str").str.strip().fillna("") == "")


@check(
    "district_names",
    "District names resolve to one district of the vintage",
    level="column",
    severity="fail",
    source="this project: gazetteer of districts and their names",
)
def district_names(interviews: Interviews, limits: Limits) -> Outcome:
    """Every interview stands in a district of the declared vintage."""
    place, column = interviews.wave.geography, interviews.wave.geography.district
    if interviews.units is None:
        return not_run("the districts of the vintage were not given")
    known = set(interviews.units["district_id"])
    counts = interviews.responses["district_id"].fillna("(blank)").value_counts()
    findings, rows = [], []
    for name, number in counts.items():
        if name not in known:
            unit = f"{column}={name}"
            message = f"{name} in {counted(number, 'interview')} is no district of vintage {place.vintage}"
            findings.append(Finding("fail", message, float(number), 0, "column", unit))
            positions = chosen(interviews, (interviews.responses["district_id"].fillna("(blank)") == name).to_numpy())
            rows.append(Rows(positions, [f"district {name}"] * len(positions), "fail", unit))
    spellings = interviews.column(column).nunique()
    message = (
        f"{spellings} names in {column} are {len(counts)} of the {len(known)} districts of vintage {place.vintage}"
    )
    return outcome(findings, Finding("pass", message, 0, 0), rows)
