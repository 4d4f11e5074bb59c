"""Assets of one wave, from responses to PSU totals, direct estimates and driver effects."""

from pathlib import Path

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import table_asset
from perception.drivers import wave_drivers
from perception.estimation import domains, totals


@table_asset(group="estimates", per_wave=True)
def psu_totals(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    return totals.psu_totals(responses, project.wave(context.partition_key).instrument)


@table_asset(group="estimates", per_wave=True)
def district_estimates(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    psu_totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    indicators: pd.DataFrame,
) -> pd.DataFrame:
    return domains.district_estimates(psu_totals, design_psus, project.wave(context.partition_key).units, indicators)


@table_asset(group="estimates", per_wave=True)
def drivers(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
) -> pd.DataFrame:
    return wave_drivers.wave_drivers(responses, design_psus, project.wave(context.partition_key).instrument)
