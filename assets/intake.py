"""Assets of one wave, from its folder to tidy responses with their codebook, weights, design and quality."""

from pathlib import Path

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import empty_table, table_asset, tables_asset
from perception import wave_tables
from perception.intake import codebook, describe, raw
from perception.project import MADE_FROM


@table_asset(group="intake", per_wave=True)
def raw_responses(context: dg.AssetExecutionContext, project: ProjectResource) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    frame = raw.raw_responses(inputs.wave, inputs.folder)
    frame.attrs[MADE_FROM] = project.made_from(context.partition_key)
    return frame


@table_asset(group="intake", per_wave=True)
def wave_codebook(context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: Path) -> pd.DataFrame:
    return wave_tables.wave_codebook(project.wave(context.partition_key), empty_table(raw_responses))


@table_asset(group="intake", per_wave=True)
def codebook_changes(
    context: dg.AssetExecutionContext, project: ProjectResource, wave_codebook: pd.DataFrame
) -> pd.DataFrame:
    return wave_tables.codebook_changes(project.project, project.wave(context.partition_key), wave_codebook)


@table_asset(group="intake", per_wave=True)
def comparability(
    context: dg.AssetExecutionContext, project: ProjectResource, codebook_changes: pd.DataFrame
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return codebook.compared_quantities(codebook_changes, inputs.wave, inputs.instrument)


@tables_asset("responses", "design_psus", "wave_remedies", "weights", group="intake", per_wave=True)
def tidy_wave(
    context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: pd.DataFrame
) -> tuple[pd.DataFrame, ...]:
    return wave_tables.tidy_wave(project.project, project.wave(context.partition_key), raw_responses)


@table_asset(group="intake", per_wave=True)
def waves(
    context: dg.AssetExecutionContext, project: ProjectResource, responses: Path, design_psus: pd.DataFrame
) -> pd.DataFrame:
    districts = pd.read_parquet(responses, columns=["district_id"])
    inputs = project.wave(context.partition_key)
    return describe.wave_facts(districts, design_psus, inputs.wave, inputs.version)


@table_asset(group="intake", per_wave=True)
def indicators(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return describe.indicator_facts(empty_table(responses), inputs.wave, inputs.instrument)
