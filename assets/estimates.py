"""Assets of one wave, from responses to PSU totals, direct estimates and driver effects."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq

from assets.quality import quality_page
from assets.resources import ProjectResource
from assets.tables import one_version, refuse_a_changed_wave, table_asset, tables_asset, waves_partitions
from perception import wave_folders, wave_tables
from perception.drivers import wave_drivers
from perception.estimation import gaps, replicates, totals
from perception.intake.describe import index_weights
from perception.intake.wave_file import ACROSS_WAVES
from perception.publish import project_quality


@table_asset(group="estimates", per_wave=True, after=[quality_page])
def psu_totals(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    return totals.psu_totals(responses, project.wave(context.partition_key).instrument)


@table_asset(group="estimates", per_wave=True, after=[quality_page])
def calibration_totals(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    return totals.calibration_totals(responses, project.wave(context.partition_key).wave)


@table_asset(group="estimates", per_wave=True, after=[quality_page])
def replicate_totals(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return replicates.replicate_totals(responses, inputs.wave, inputs.instrument)


@table_asset(group="estimates", per_wave=True, after=[quality_page])
def replicate_factors(context: dg.AssetExecutionContext, project: ProjectResource, responses: Path) -> pd.DataFrame:
    columns = list(pq.read_schema(responses).names)
    return replicates.replicate_factors(project.wave(context.partition_key).wave, columns)


@table_asset(group="estimates", per_wave=True)
def district_estimates(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    responses: Path,
    psu_totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    indicators: pd.DataFrame,
    calibration_totals: pd.DataFrame,
    replicate_totals: pd.DataFrame,
    replicate_factors: pd.DataFrame,
) -> pd.DataFrame:
    return wave_tables.district_estimates(
        project.wave(context.partition_key),
        responses,
        psu_totals,
        design_psus,
        indicators,
        calibration_totals,
        replicate_totals,
        replicate_factors,
    )


@table_asset(group="estimates", per_wave=True)
def subgroup_gaps(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    psu_totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    indicators: pd.DataFrame,
    calibration_totals: pd.DataFrame,
    replicate_totals: pd.DataFrame,
    replicate_factors: pd.DataFrame,
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return gaps.subgroup_gaps(
        psu_totals,
        design_psus,
        inputs.units,
        calibration_totals,
        inputs.wave.rake,
        replicate_totals,
        replicates.scheme_of(replicate_factors),
        index_weights(indicators),
    )


@table_asset(group="estimates", per_wave=True)
def estimate_review(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    district_estimates: pd.DataFrame,
    codebook_changes: pd.DataFrame,
) -> pd.DataFrame:
    inputs = project.wave(context.partition_key)
    return wave_tables.estimate_review(project.project, inputs, district_estimates, codebook_changes)


@tables_asset(
    "drivers",
    "driver_importance",
    "driver_models",
    "district_diagnosis",
    group="estimates",
    per_wave=True,
    after=[quality_page],
)
def drivers(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
) -> tuple[pd.DataFrame, ...]:
    inputs = project.wave(context.partition_key)
    return wave_drivers.wave_drivers(responses, design_psus, inputs.instrument, inputs.units)


@dg.asset(
    group_name="estimates",
    partitions_def=waves_partitions,
    deps=[estimate_review],
    description="The wave's last complete run: what publication reads. A run that fails half-way does not get here",
)
def complete_wave(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    waves: Path,
    indicators: Path,
    district_estimates: Path,
    drivers: Path,
    driver_importance: Path,
    driver_models: Path,
    district_diagnosis: Path,
    subgroup_gaps: Path,
    comparability: Path,
    psu_totals: Path,
    design_psus: Path,
    calibration_totals: Path,
    replicate_totals: Path,
    replicate_factors: Path,
    responses: Path,
    wave_codebook: Path,
) -> dg.MaterializeResult:
    files = (waves, indicators, district_estimates, drivers, driver_importance, driver_models, district_diagnosis)
    files = (*files, subgroup_gaps, comparability, psu_totals, design_psus)
    files = (*files, calibration_totals, replicate_totals, replicate_factors, responses, wave_codebook)
    version = one_version({file.stem: file for file in files})
    if version is not None:
        refuse_a_changed_wave(project, context.partition_key, version)
    with project.project.lock(ACROSS_WAVES).acquire(timeout=project.lock_timeout):
        folder = wave_folders.complete_wave(project.project, context.partition_key)
    project_quality.publish_quality(project.project, context.partition_key)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(folder))})
