"""Checks against other waves and of what is to be published: codebook, estimates, personal columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perception.intake.privacy import looks_personal
from perception.intake.quality.evidence import Interviews
from perception.intake.quality.register import Finding, Limits, Outcome, check, counted, not_run, outcome, some


@check(
    "codebook_drift",
    "Labels, codes, order and direction as in the wave before, or declared otherwise",
    level="column",
    severity="fail",
    source="iecodebook (World Bank DIME); metadata of SDG indicator 16.6.2",
    undeclared=0,
)
def codebook_drift(interviews: Interviews, limits: Limits) -> Outcome:
    """Every difference from the predecessor's codebook has a declared verdict on comparing the variable."""
    before, changes = interviews.wave.predecessor, interviews.codebook_changes
    if before is None:
        return not_run("the wave names no predecessor")
    if changes is None:
        return not_run(f"the codebook was not compared with that of {before}")
    undeclared = changes[changes["verdict"].isna()]
    findings = []
    for variable, rows in undeclared.groupby("variable", sort=True):
        aspects = ", ".join(rows["aspect"])
        first = rows.iloc[0]
        example = (
            f" ({first['before']!s} is now {first['after']!s})" if pd.notna(first["before"] + first["after"]) else ""
        )
        message = f"{variable} differs from {before} in {aspects}{example}; declare it under `comparability`"
        findings.append(Finding("fail", message, float(len(rows)), limits["undeclared"], "column", str(variable)))
    verdicts = changes.drop_duplicates("variable")["verdict"].value_counts()
    words = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items()) or "none"
    message = f"every difference from {before} is declared (variables: {words})"
    return outcome(findings, Finding("pass", message, 0, limits["undeclared"]))


@check(
    "estimate_jump",
    "District estimates that jump from the wave before",
    level="district",
    severity="hold",
    source="World Bank DIME, consistency across rounds",
    stage="estimates",
    standard_errors=4,
)
def estimate_jump(interviews: Interviews, limits: Limits) -> Outcome:
    """No district estimate changes by more than `standard_errors` standard errors of the change.

    Estimates of one indicator in districts that both waves have are compared, unless the codebook changes declare a
    break of one of its questions. The waves are taken as independent samples.
    """
    now, then, before = interviews.estimates, interviews.previous_estimates, interviews.wave.predecessor
    if before is None:
        return not_run("the wave names no predecessor")
    if now is None or then is None:
        return not_run(f"estimates of the wave or of {before} are not there")
    changes = interviews.codebook_changes
    broken = set(changes.loc[changes["verdict"] == "break", "variable"]) if changes is not None else set()
    indicators = interviews.instrument.indicators
    compared = [name for name in indicators if not indicators[name].needed_questions & broken]
    keys = ["indicator", "unit_id"]
    both = _districts(now).merge(_districts(then), on=keys, suffixes=("", "_then"))
    both = both[both["indicator"].isin(compared)]
    if both.empty:
        return not_run(f"no indicator and district compares with {before}")
    error = np.hypot(both["se"].to_numpy(float), both["se_then"].to_numpy(float))
    change = (both["estimate"] - both["estimate_then"]).to_numpy(float)
    judged = error > 0
    jumps = np.where(judged, np.abs(change) / np.where(judged, error, 1), 0.0)
    findings = []
    for number in np.flatnonzero(jumps > limits["standard_errors"]):
        row = both.iloc[number]
        message = (
            f"{row['indicator']} in {row['unit_id']}: {row['estimate']:.3f}, in {before} {row['estimate_then']:.3f}, "
            f"a change of {jumps[number]:.1f} standard errors"
        )
        unit = f"{row['unit_id']} {row['indicator']}"
        findings.append(Finding("hold", message, float(jumps[number]), limits["standard_errors"], "district", unit))
    left = int((~judged).sum())
    message = f"{counted(judged.sum(), 'estimate')} compared with {before}, none changed by more than "
    message += f"{limits['standard_errors']:g} standard errors"
    message += f"; {counted(left, 'estimate')} without a standard error left out" if left else ""
    return outcome(findings, Finding("pass", message, float(jumps.max()), limits["standard_errors"]))


def _districts(estimates: pd.DataFrame) -> pd.DataFrame:
    rows = (estimates["level"] == "district") & (estimates["domain"] == "all")
    return estimates.loc[rows, ["indicator", "unit_id", "estimate", "se"]]


@check(
    "personal_columns",
    "No name, phone, identity number or place of a person in public tables",
    level="column",
    severity="fail",
    source="HDX guidance on disclosure control; sdcMicro",
    stage="publication",
)
def personal_columns(interviews: Interviews, limits: Limits) -> Outcome:
    """No column of a public table looks personal."""
    tables = interviews.public_tables
    if tables is None:
        return not_run("the public tables were not given")
    findings, looked = [], 0
    for table, frame in tables.items():
        for column in frame.columns:
            looked += 1
            if why := looks_personal(str(column), frame[column]):
                unit = f"{table}.{column}"
                findings.append(Finding("fail", f"{unit} looks like {why}", 1, 0, "column", unit))
    message = f"none of {counted(looked, 'column')} of {some(tables)} looks personal"
    return outcome(findings, Finding("pass", message, 0, 0))
