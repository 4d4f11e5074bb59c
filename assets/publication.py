"""Assets across waves: what may be published, the rankings, the warehouses and the site."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import failures_named, table_asset, tables_asset
from perception import wave_tables
from perception.drivers import change as decomposition
from perception.estimation import index_sensitivity as sensitivity
from perception.estimation import publication, ranking, small_area
from perception.estimation import trends as changes
from perception.geography import load_gazetteer, vintage_units
from perception.publish import project_site, sdg
from perception.publish import warehouse as duckdb_files
from perception.schemas import TABLES, conform

GROUP = "publication"
PUBLIC_TABLES = [name for name, table in TABLES.items() if table.public]
INTERNAL_TABLES = [name for name, table in TABLES.items() if not table.public and name != "raw_responses"]


def project_units(project: ProjectResource, waves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The districts of each vintage that the waves use."""
    gazetteer = load_gazetteer(project.project.reference)
    return {vintage: vintage_units(gazetteer, vintage) for vintage in waves["vintage"].unique()}


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_waves(waves: pd.DataFrame) -> pd.DataFrame:
    return conform(waves, "published_waves")


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_indicators(indicators: pd.DataFrame) -> pd.DataFrame:
    return conform(indicators, "published_indicators")


@tables_asset(
    "small_area_estimates",
    "small_area_models",
    "small_area_coefficients",
    group=GROUP,
    per_wave=False,
    after=["complete_wave"],
)
def small_areas(
    project: ProjectResource, district_estimates: pd.DataFrame, waves: pd.DataFrame, indicators: pd.DataFrame
) -> tuple[pd.DataFrame, ...]:
    units = project_units(project, waves)
    return small_area.small_area_tables(district_estimates, waves, indicators, units)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_estimates(
    project: ProjectResource,
    district_estimates: pd.DataFrame,
    small_area_estimates: pd.DataFrame,
    indicators: pd.DataFrame,
    waves: pd.DataFrame,
) -> pd.DataFrame:
    units = project_units(project, waves)
    places = pd.concat([units[row.vintage].assign(wave=row.wave) for row in waves.itertuples()]) if len(waves) else None
    return publication.published_estimates(district_estimates, indicators, small_area_estimates, units=places)


@table_asset(group=GROUP, per_wave=False)
def withheld(published_estimates: pd.DataFrame) -> pd.DataFrame:
    return publication.withheld(published_estimates)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_drivers(drivers: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    return publication.published_drivers(drivers, indicators)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_driver_importance(
    driver_importance: pd.DataFrame, published_drivers: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    return publication.published_driver_importance(driver_importance, published_drivers, indicators)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_driver_models(
    driver_models: pd.DataFrame, published_drivers: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    return publication.published_driver_models(driver_models, published_drivers, indicators)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_gaps(
    subgroup_gaps: pd.DataFrame, indicators: pd.DataFrame, published_estimates: pd.DataFrame
) -> pd.DataFrame:
    return publication.published_gaps(subgroup_gaps, published_estimates, indicators)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def trends(
    project: ProjectResource, waves: pd.DataFrame, indicators: pd.DataFrame, comparability: pd.DataFrame
) -> pd.DataFrame:
    gazetteer = load_gazetteer(project.project.reference)
    facts = waves.set_index("wave", drop=False)
    return changes.trends(
        waves,
        indicators,
        comparability,
        lambda wave: wave_tables.wave_sample(project.project, facts.loc[wave]),
        gazetteer,
    )


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_trends(
    project: ProjectResource,
    trends: pd.DataFrame,
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    published_estimates: pd.DataFrame,
) -> pd.DataFrame:
    members = changes.common_members(waves, load_gazetteer(project.project.reference))
    return publication.published_trends(trends, published_estimates, indicators, members)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def change_decomposition(project: ProjectResource, waves: pd.DataFrame, comparability: pd.DataFrame) -> pd.DataFrame:
    return decomposition.change_decomposition(
        waves, comparability, lambda wave: wave_tables.driver_sample(project.project, wave)
    )


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_change_decomposition(
    change_decomposition: pd.DataFrame, published_trends: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    return publication.published_change_decomposition(change_decomposition, published_trends, indicators)


@table_asset(group=GROUP, per_wave=False)
def district_rankings(
    project: ProjectResource,
    district_estimates: pd.DataFrame,
    published_estimates: pd.DataFrame,
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
) -> pd.DataFrame:
    units = project_units(project, waves)
    return ranking.district_rankings(district_estimates, published_estimates, waves, indicators, units)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_diagnosis(
    district_diagnosis: pd.DataFrame,
    published_drivers: pd.DataFrame,
    published_estimates: pd.DataFrame,
    district_rankings: pd.DataFrame,
) -> pd.DataFrame:
    return publication.published_diagnosis(
        district_diagnosis, published_drivers, published_estimates, district_rankings
    )


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def index_sensitivity(
    published_estimates: pd.DataFrame, district_rankings: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    return sensitivity.index_sensitivity(published_estimates, district_rankings, indicators)


@table_asset(group=GROUP, per_wave=False)
def sdg_16_6_2(
    project: ProjectResource,
    published_estimates: pd.DataFrame,
    published_indicators: pd.DataFrame,
    published_waves: pd.DataFrame,
) -> pd.DataFrame:
    units = project_units(project, published_waves)
    return sdg.sdg_16_6_2(published_estimates, published_indicators, published_waves, units)


@dg.asset(
    group_name=GROUP,
    kinds={"csv"},
    description="SDG indicator 16.6.2 as a data file of the UN's SDG database",
)
def sdg_file(project: ProjectResource, sdg_16_6_2: pd.DataFrame) -> dg.MaterializeResult:
    file = project.project.sdg_file
    sdg.write_sdg_file(sdg_16_6_2, file)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(file)), "rows": len(sdg_16_6_2)})


@dg.asset(
    group_name=GROUP,
    deps=[*PUBLIC_TABLES, *INTERNAL_TABLES, "site"],
    kinds={"duckdb"},
    description="The DuckDB files: perception.duckdb with published tables, internal.duckdb for the data team",
)
def warehouse(project: ProjectResource) -> dg.MaterializeResult:
    rows = duckdb_files.build_warehouses(project.project)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(project.project.public_warehouse)), **rows})


@dg.asset(
    group_name=GROUP,
    kinds={"plotly"},
    description="Maps, rankings and pages: open index.html in data/processed/public/site",
)
def site(
    context: dg.AssetExecutionContext,
    project: ProjectResource,
    published_estimates: pd.DataFrame,
    district_rankings: pd.DataFrame,
    index_sensitivity: pd.DataFrame,
    published_gaps: pd.DataFrame,
    published_trends: pd.DataFrame,
    withheld: pd.DataFrame,
    published_drivers: pd.DataFrame,
    published_driver_importance: pd.DataFrame,
    published_driver_models: pd.DataFrame,
    published_diagnosis: pd.DataFrame,
    published_change_decomposition: pd.DataFrame,
    published_waves: pd.DataFrame,
    published_indicators: pd.DataFrame,
) -> dg.MaterializeResult:
    tables = {
        "published_estimates": published_estimates,
        "district_rankings": district_rankings,
        "index_sensitivity": index_sensitivity,
        "published_gaps": published_gaps,
        "published_trends": published_trends,
        "withheld": withheld,
        "published_drivers": published_drivers,
        "published_driver_importance": published_driver_importance,
        "published_driver_models": published_driver_models,
        "published_diagnosis": published_diagnosis,
        "published_change_decomposition": published_change_decomposition,
        "published_waves": published_waves,
        "published_indicators": published_indicators,
    }
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    with failures_named():
        made = project_site.publish_site(project.project, tables, made_at)
    maps = {f"map {image.parent.name}/{image.stem}": dg.MetadataValue.path(str(image)) for image in made.images}
    index = dg.MetadataValue.path(str(made.pages["index"]))
    return dg.MaterializeResult(
        metadata={"path": index, "pages": len(made.pages), "boundaries not matched": made.unmatched, **maps}
    )
