"""The quality page of a wave of a project, from the tables that its run has stored so far."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from perception.project import MADE_FROM, Project
from perception.publish.quality_page import write_quality_page

TABLES = ("wave_quality", "wave_quality_rows", "fieldwork_summary", "wave_remedies", "weights", "waves")
REVIEW = "estimate_review"


def publish_quality(project: Project, wave: str) -> Path:
    """Write the wave's quality page and follow-up list for the data team; returns the page.

    What the review of its estimates found is on it once that was made from the same version of the wave.
    """
    tables = {name: pd.read_parquet(project.table(name, wave)) for name in TABLES}
    if project.table(REVIEW, wave).exists():
        review = pd.read_parquet(project.table(REVIEW, wave))
        if review.attrs.get(MADE_FROM) == tables["wave_quality"].attrs.get(MADE_FROM):
            tables["wave_quality"] = pd.concat([tables["wave_quality"], review], ignore_index=True)
    return write_quality_page(project.quality_folder(wave), tables)
