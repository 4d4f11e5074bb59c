"""Assets of one wave, from its folder to tidy responses with their codebook, weights, design and quality."""

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import VERSION, table_asset
from perception import wave_tables
from perception.estimation import weighting
from perception.intake import describe, raw, remedies


@table_asset(group="intake", per_wave=True)
def raw_responses(context: dg.AssetExecutionContext, project: ProjectResource) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    frame = raw.raw_responses(inputs.wave, inputs.folder)
    frame.attrs[VERSION] = inputs.version
    return frame


@table_asset(group="intake", per_wave=True)
def wave_codebook(
    context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: pd.DataFrame
) -> pd.DataFrame:
    return wave_tables.wave_codebook(project.wave(context.partition_key), raw_responses)


@table_asset(group="intake", per_wave=True)
def codebook_changes(
    context: dg.AssetExecutionContext, project: ProjectResource, wave_codebook: pd.DataFrame
) -> pd.DataFrame:
    return wave_tables.codebook_changes(project.project, project.wave(context.partition_key), wave_codebook)


@table_asset(group="intake", per_wave=True)
def wave_remedies(
    context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: pd.DataFrame
) -> pd.DataFrame:
    return remedies.remedied(raw_responses, project.wave(context.partition_key).wave)[1]


@table_asset(group="intake", per_wave=True)
def responses(context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: pd.DataFrame) -> pd.DataFrame:
    return wave_tables.responses(project.wave(context.partition_key), raw_responses)


@table_asset(group="intake", per_wave=True)
def weights(context: dg.AssetExecutionContext, project: ProjectResource, responses: pd.DataFrame) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return weighting.weight_steps(responses, inputs.wave, inputs.folder, inputs.gazetteer, inputs.units)


@table_asset(group="intake", per_wave=True)
def design_psus(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    raw_responses: pd.DataFrame,
    responses: pd.DataFrame,
) -> pd.DataFrame:
    return wave_tables.design_psus(project.project, project.wave(context.partition_key), raw_responses, responses)


@table_asset(group="intake", per_wave=True)
def waves(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return describe.wave_facts(responses, design_psus, inputs.wave, responses.attrs[VERSION])


@table_asset(group="intake", per_wave=True)
def indicators(context: dg.AssetExecutionContext, project: ProjectResource, responses: pd.DataFrame) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return describe.indicator_facts(responses, inputs.wave, inputs.instrument)
