"""Everything Dagster loads: assets, checks, jobs, sensors and resources, for a project folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from assets import estimates, intake, publication, quality
from assets.resources import ProjectResource
from perception.project import project_root
from pipelines.jobs import publish_job, wave_job
from pipelines.sensors import publish_after_wave, wave_folder_sensor
from pipelines.storage import ParquetTables


def build_defs(root: Path | None = None, **overrides: Any) -> dg.Definitions:
    """The definitions for the project at `root`; keyword arguments replace resources (tests) or `loggers`."""
    folder = str(root or project_root())
    loggers = overrides.pop("loggers", None)
    resources = {"project": ProjectResource(root=folder), "tables": ParquetTables(root=folder)} | overrides
    return dg.Definitions(
        assets=dg.load_assets_from_modules([intake, quality, estimates, publication]),
        jobs=[wave_job, publish_job],
        sensors=[wave_folder_sensor, publish_after_wave],
        resources=resources,
        executor=dg.in_process_executor,
        loggers=loggers,
    )


defs = build_defs()
