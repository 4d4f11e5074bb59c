"""What starts runs by itself: a new or changed wave folder, and the end of a wave's run.

A folder counts once it has stopped changing: two ticks in a row must find the same content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import waves_partitions
from perception.errors import InputError
from perception.project import Project, open_wave
from pipelines.jobs import publish_job, wave_job


@dataclass(frozen=True)
class Seen:
    """What the sensor knows of a wave: content hash at the last tick (None: incomplete), hash last asked to run."""

    content: str | None
    requested: str | None = None


def changes(before: Mapping[str, Seen], found: Mapping[str, str | None]) -> tuple[dict[str, Seen], dict[str, str]]:
    """Compare the last tick with now: what to remember, and the waves to run with the content they are run for.

    `found` maps wave ids to the hash of their content, None where the folder is incomplete or cannot be read. A wave
    runs when its content was the same at the last tick and has not been asked for. A wave whose folder is gone is
    forgotten; taking it out of the results is `perception remove-wave`.
    """
    now: dict[str, Seen] = {}
    due: dict[str, str] = {}
    for wave, content in found.items():
        known = before.get(wave, Seen(None))
        settled = content is not None and content == known.content
        if settled and content != known.requested:
            due[wave] = str(content)
        now[wave] = replace(known, content=content, requested=due.get(wave, known.requested))
    return now, due


def found_waves(project: Project) -> dict[str, str | None]:
    """The content hash of every wave folder, None where it is incomplete or its declaration cannot be read yet."""
    found: dict[str, str | None] = {}
    for folder in sorted(path for path in project.waves.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            found[folder.name] = open_wave(project, folder.name).version
        except (InputError, OSError):
            found[folder.name] = None
    return found


def made_waves(project: Project) -> dict[str, str]:
    """The content hash that each wave's tables were last made from."""
    files = {wave: project.complete_table("waves", wave) for wave in project.made_wave_ids()}
    return {wave: str(pd.read_parquet(file)["wave_version"].iloc[0]) for wave, file in files.items() if file.exists()}


@dg.sensor(job=wave_job, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def wave_folder_sensor(context: dg.SensorEvaluationContext, project: ProjectResource) -> dg.SensorResult:
    """Adds the partition of a new or changed wave folder and requests its run."""
    before = {wave: Seen(None, content) for wave, content in made_waves(project.project).items()}
    before |= {wave: Seen(**seen) for wave, seen in json.loads(context.cursor or "{}").items()}
    try:
        found = found_waves(project.project)
    except OSError as error:
        return dg.SensorResult(skip_reason=f"data/raw/waves cannot be read ({error}); nothing is concluded from that")
    now, due = changes(before, found)
    incomplete = sorted(wave for wave, content in found.items() if content is None)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(partition_key=wave) for wave in due],
        dynamic_partitions_requests=[waves_partitions.build_add_request(list(due))] if due else [],
        cursor=json.dumps({wave: asdict(seen) for wave, seen in now.items()}),
        skip_reason=None if due else f"no settled change; incomplete: {', '.join(incomplete) or 'none'}",
    )


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[wave_job],
    request_job=publish_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def publish_after_wave(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """Publishes again after a wave has been made."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)
