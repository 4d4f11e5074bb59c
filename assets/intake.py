"""Assets of one wave, from its folder to tidy responses, their design and their quality."""

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import VERSION, table_asset
from perception.estimation import design
from perception.intake import describe, harmonise, quality, raw


@table_asset(group="intake", per_wave=True)
def raw_responses(context: dg.AssetExecutionContext, project: ProjectResource) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    frame = raw.raw_responses(inputs.wave, inputs.folder)
    frame.attrs[VERSION] = inputs.version
    return frame


@table_asset(group="intake", per_wave=True)
def responses(context: dg.AssetExecutionContext, project: ProjectResource, raw_responses: pd.DataFrame) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return harmonise.responses(raw_responses, inputs.wave, inputs.instrument, inputs.gazetteer)


@table_asset(group="intake", per_wave=True)
def design_psus(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    raw_responses: pd.DataFrame,
    responses: pd.DataFrame,
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return design.design_psus(raw_responses, responses, inputs.wave, inputs.units)


@table_asset(group="intake", per_wave=True)
def wave_quality(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    raw_responses: pd.DataFrame,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return quality.wave_quality(raw_responses, responses, design_psus, inputs.wave, inputs.instrument)


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
