"""Running the checks: the two tables of a wave's quality, accepted findings, declarations that name no check."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from perception.errors import Problem
from perception.intake.instrument import Instrument
from perception.intake.quality.evidence import Interviews
from perception.intake.quality.register import BREACHES, Check, Finding, Outcome, Rows, Stage
from perception.intake.wave_file import Wave
from perception.schemas import conform


def run_checks(interviews: Interviews, checks: Sequence[Check], stage: Stage) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables `wave_quality` and `wave_quality_rows` of the checks of a stage, in their order."""
    findings: list[dict[str, object]] = []
    rows: list[pd.DataFrame] = []
    due = [check for check in checks if check.stage == stage]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of their time is spent in NumPy, which runs beside others
        outcomes = pool.map(lambda check: check(interviews), due)
    for check, done in zip(due, outcomes, strict=True):
        accepted = _accepted(check, interviews.wave)
        findings += [_record(check, finding, accepted, interviews.wave) for finding in done.findings]
        findings += _unknown_acceptances(check, done, interviews.wave)
        rows += [_row_table(check, part, accepted, interviews) for part in done.rows if len(part.positions)]
    columns = ["wave", "check", "source_row", "respondent_id", "enumerator", "district_id", "psu", "verdict", "detail"]
    listed = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns).astype({"source_row": int})
    listed = listed.drop_duplicates(["wave", "check", "source_row", "detail"])
    return conform(pd.DataFrame(findings), "wave_quality"), conform(listed, "wave_quality_rows")


def _accepted(check: Check, wave: Wave) -> dict[str, str]:
    """The units of the check that the wave accepts, with the reason."""
    return {unit: remedy.reason for remedy in wave.remedies if remedy.check == check.id for unit in remedy.accept}


def _unknown_acceptances(check: Check, done: Outcome, wave: Wave) -> Iterator[dict[str, object]]:
    """Accepted units that the check does not report: put right since, or misspelt."""
    known = {finding.unit or wave.id for finding in done.findings if finding.verdict in BREACHES}
    for unit in _accepted(check, wave):
        if unit not in known:
            message = f"wave.yml accepts {unit!r}, of which this check reports nothing: take it out or correct it"
            yield _record(check, Finding("warn", message, unit=f"accepted: {unit}"), {}, wave)


def _record(check: Check, finding: Finding, accepted: dict[str, str], wave: Wave) -> dict[str, object]:
    unit, verdict, message = finding.unit or wave.id, finding.verdict, finding.message
    if unit in accepted and verdict in ("fail", "hold"):
        verdict, message = "warn", f"{message} (accepted: {accepted[unit]})"
    found = {"level": finding.level, "unit": unit, "value": finding.value, "threshold": finding.threshold}
    return {"wave": wave.id, "check": check.id, **found, "verdict": verdict, "message": message}


def _row_table(check: Check, part: Rows, accepted: dict[str, str], interviews: Interviews) -> pd.DataFrame:
    places, counted = np.asarray(part.positions, dtype=np.intp), interviews.positions
    own = np.searchsorted(counted, places)
    known = np.append(counted, -1)[own] == places
    rows = interviews.responses.iloc[np.where(known, own, 0)]
    ids = {name: rows[name].reset_index(drop=True).where(known) for name in ("respondent_id", "district_id", "psu")}
    taken = (part.unit or interviews.wave.id) in accepted
    return pd.DataFrame(
        {
            "wave": interviews.wave.id,
            "check": check.id,
            "source_row": interviews.raw["source_row"].iloc[places].to_numpy(),
            "respondent_id": ids["respondent_id"],
            "enumerator": interviews.paradata["enumerator"].iloc[places].astype("str").to_numpy(),
            "district_id": ids["district_id"],
            "psu": ids["psu"],
            "verdict": "warn" if taken else part.verdict,
            "detail": list(part.details),
        }
    )


def declaration_problems(wave: Wave, instrument: Instrument, checks: Sequence[Check]) -> list[Problem]:
    """Checks and thresholds that instrument or wave name and that there are not."""
    known = {check.id: check for check in checks}
    problems = []
    for where, declared in (
        (f"{instrument.id}.yml, quality", instrument.quality),
        (f"{wave.id}/wave.yml, quality", wave.quality),
    ):
        for name, thresholds in declared.items():
            if name not in known:
                problems.append(Problem(f"{where}.{name}", "is no check", f"Use one of {', '.join(known)}."))
                continue
            own = known[name].thresholds
            remedy = f"Use one of {', '.join(own)}." if own else "Remove it; this check has no thresholds."
            problems += [
                Problem(f"{where}.{name}.{key}", "is no threshold of it", remedy)
                for key in thresholds
                if key not in own
            ]
    for number, declared_remedy in enumerate(wave.remedies, start=1):
        if declared_remedy.check not in known:
            place = f"{wave.id}/wave.yml, remedies {number}, check {declared_remedy.check}"
            problems.append(Problem(place, "is no check", f"Use one of {', '.join(known)}."))
    return problems
