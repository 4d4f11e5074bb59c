"""The quality gate of a wave: 26 checks, each a pure function with its thresholds, and the two tables they make.

`fail` blocks the wave, `warn` and `hold` are recorded; a check that lacks what it needs says so. What is done about
findings is declared in wave.yml and applied by `remedies`.
"""

from __future__ import annotations

import pandas as pd

from perception.errors import Problem
from perception.intake.instrument import Instrument
from perception.intake.quality import answers, comparisons, duplicates, field, identity, run
from perception.intake.quality.evidence import Interviews, gather
from perception.intake.quality.register import Check, Stage
from perception.intake.quality.summary import fieldwork_summary
from perception.intake.wave_file import Wave

__all__ = [
    "CHECKS",
    "Check",
    "Interviews",
    "declaration_problems",
    "fieldwork_summary",
    "gather",
    "quality_tables",
]

CHECKS: tuple[Check, ...] = (
    identity.form_version,
    identity.unique_ids,
    identity.unique_values,
    identity.missing_values,
    answers.dont_know_refused,
    answers.filter_dodging,
    answers.numeric_outliers,
    answers.constraints,
    answers.other_specify,
    field.duration,
    field.question_speeding,
    field.work_hours,
    field.productivity,
    answers.straight_lining,
    duplicates.near_duplicates,
    answers.enumerator_variance,
    answers.digit_heaping,
    field.gps,
    field.back_checks,
    field.sample_plan,
    field.weights,
    identity.district_names,
    comparisons.codebook_drift,
    answers.scale_direction,
    comparisons.estimate_jump,
    comparisons.personal_columns,
)
"""The register: every check there is, in the order in which they are reported."""


def quality_tables(interviews: Interviews, stage: Stage = "intake") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables `wave_quality` and `wave_quality_rows` of the checks of a stage."""
    return run.run_checks(interviews, CHECKS, stage)


def declaration_problems(wave: Wave, instrument: Instrument) -> list[Problem]:
    """Checks and thresholds that the instrument or the wave name and that there are not."""
    return run.declaration_problems(wave, instrument, CHECKS)
