"""Assets of one wave's quality: what the checks found, the page for people, and the gate that a wave must pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import empty_table, tables_asset, waves_partitions
from perception import wave_tables
from perception.intake import quality
from perception.publish import project_quality
from perception.wave_folders import quality_problems

GATE = "gate"


@tables_asset("wave_quality", "wave_quality_rows", "fieldwork_summary", group="intake", per_wave=True)
def quality_checks(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    raw_responses: Path,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
    codebook_changes: pd.DataFrame,
) -> tuple[pd.DataFrame, ...]:
    inputs = project.wave(context.partition_key)
    looked_at = wave_tables.columns_checked(inputs.wave, empty_table(raw_responses).columns)
    raw = pd.read_parquet(raw_responses, columns=looked_at)
    evidence = wave_tables.quality_evidence(project.project, inputs, raw, responses, design_psus, codebook_changes)
    findings, rows = quality.quality_tables(evidence)
    return findings, rows, quality.fieldwork_summary(evidence, rows)


@dg.asset(
    group_name="intake",
    partitions_def=waves_partitions,
    deps=["wave_quality_rows", "fieldwork_summary", "wave_remedies", "weights", "waves"],
    description="The wave's quality page and its list of interviews to follow up; a wave with a `fail` stops here",
    check_specs=[dg.AssetCheckSpec(GATE, asset="quality_page", blocking=True, description="No quality check fails")],
)
def quality_page(
    context: dg.AssetExecutionContext, project: ProjectResource, wave_quality: pd.DataFrame
) -> Iterator[Any]:
    page = project_quality.publish_quality(project.project, context.partition_key)
    yield dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(page))})
    failed = quality_problems(wave_quality)
    said = [str(problem) for problem in failed]
    yield dg.AssetCheckResult(passed=not failed, check_name=GATE, metadata={"fails": said})
    if failed:
        raise dg.Failure(
            f"{len(failed)} quality check findings block the wave, see {page}: " + "; ".join(said), allow_retries=False
        )
