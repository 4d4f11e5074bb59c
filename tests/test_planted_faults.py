"""The quality gate on the simulated programme: each planted fault is found by its check, honest waves pass.

Hits and false alarms by check are printed with `pytest -s`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from perception import wave_tables
from perception.intake.quality import quality_tables
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from perception.simulate.programme import undeclared, write_simulated_waves
from tests.conftest import ROOT

WAVES = ("kp-2018", "punjab-2018", "kp-2021", "punjab-2021", "kp-2024", "punjab-2024")
ELSEWHERE = {
    "misspelt_districts": "stops the wave before the checks",
    "few_users": "true: publication rules withhold it",
}
"""Faults that are not for a check of a wave that can be read; `test_simulate` tests what becomes of them."""

# Honest weights span these factors because districts differ in size; a battery answered alike happens by chance.
EXPLAINED = {"weights": 0, "straight_lining": 5}
"""Checks that may warn on an honest wave, and the most interviews they then list."""


@dataclass(frozen=True)
class Found:
    """What the checks made of a wave: findings and the rows they list."""

    findings: pd.DataFrame
    rows: pd.DataFrame
    names: dict[str, set[str]]
    """What a planted column or stratum is called in findings: variables made from it, the wave's own stratum."""

    def breaches(self, check: str) -> pd.DataFrame:
        """Findings of one check that are no pass."""
        own = self.findings[self.findings["check"] == check]
        return own[own["verdict"].isin(["warn", "hold", "fail"])]

    def listed(self, check: str) -> set[str]:
        """Respondents that a check lists."""
        return set(self.rows.loc[self.rows["check"] == check, "respondent_id"].dropna())


def checked(project: Project, wave: str) -> Found:
    inputs = open_wave(project, wave)
    raw = raw_responses(inputs.wave, inputs.folder)
    changes = wave_tables.codebook_changes(project, inputs, wave_tables.wave_codebook(inputs, raw))
    tidy = wave_tables.responses(inputs, raw)
    psus = wave_tables.design_psus(project, inputs, raw, tidy)
    names: dict[str, set[str]] = {}
    for name, variable in inputs.wave.variables.items():
        for source in variable.sources:
            names.setdefault(source, {source}).add(name)
    for row in psus.itertuples():
        names.setdefault(f"{row.district_id} {row.urban}", set()).add(str(row.stratum))
    evidence = wave_tables.quality_evidence(project, inputs, raw, tidy, psus, changes)
    return Found(*quality_tables(evidence), names)


def project_at(folder: Path) -> Project:
    project = Project(folder)
    for part in ("reference", "instruments"):
        shutil.copytree(ROOT / "data/raw" / part, folder / "data/raw" / part)
    return project


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """The committed waves without their remedies."""
    project = project_at(tmp_path_factory.mktemp("faulty"))
    for wave in WAVES:
        undeclared(ROOT / "data/raw/waves" / wave, project.waves / wave)
    return {wave: checked(project, wave) for wave in WAVES}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """The same interviews as they were held, without any fault."""
    project = project_at(tmp_path_factory.mktemp("honest"))
    write_simulated_waves(project.root / "data/raw", faults=False)
    return {wave: checked(project, wave) for wave in WAVES}


def planted() -> pd.DataFrame:
    frames = {wave: pd.read_csv(ROOT / "data/raw/waves" / wave / "faults.csv", dtype="str") for wave in WAVES}
    faults = pd.concat(frames, names=["wave"]).reset_index("wave")
    return faults[~faults["fault"].isin(list(ELSEWHERE))]


def hit(found: Found, check: str, level: str, unit: str) -> bool:
    """Whether a check reports a planted unit: an interview it lists, or a stratum, column or enumerator it names."""
    if level == "row":
        return unit in found.listed(check)
    if level == "enumerator":
        return unit in set(found.rows.loc[found.rows["check"] == check, "enumerator"])
    units = found.breaches(check)["unit"]
    return any(unit_found.split(":")[0] in found.names[unit] for unit_found in units)


def test_each_planted_fault_is_found_by_the_check_meant_for_it(faulty: dict[str, Found]) -> None:
    faults = planted()
    faults["hit"] = [hit(faulty[row.wave], row.check, row.level, row.unit) for row in faults.itertuples()]
    table = faults.groupby(["wave", "fault", "check"])["hit"].agg(planted="size", hits="sum").reset_index()
    alarms = []
    for row in table.itertuples():
        own = set(faults.loc[(faults["wave"] == row.wave) & (faults["check"] == row.check), "unit"])
        alarms.append(len(faulty[row.wave].listed(row.check) - own))
    print("\n" + table.assign(others_listed=alarms).to_string(index=False))
    missed = faults[~faults["hit"]]
    assert missed.empty, missed.to_string()
    assert len(set(faults["fault"])) >= 10


def test_honest_waves_pass_with_warnings_that_can_be_explained(honest: dict[str, Found]) -> None:
    seen = pd.concat([found.findings for found in honest.values()])
    breaches = seen[seen["verdict"].isin(["warn", "hold", "fail"])]
    print("\n" + breaches[["wave", "check", "unit", "verdict", "message"]].to_string(index=False))
    assert set(breaches["verdict"]) <= {"warn"}
    assert set(breaches["check"]) <= set(EXPLAINED)
    for wave, found in honest.items():
        for check, most in EXPLAINED.items():
            assert len(found.listed(check)) <= most, (wave, check)


def test_remedies_leave_nothing_that_blocks(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    for wave in WAVES:
        shutil.copytree(ROOT / "data/raw/waves" / wave, project.waves / wave)
        findings = checked(project, wave).findings
        assert findings[findings["verdict"] == "fail"].empty, wave
