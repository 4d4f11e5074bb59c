"""Assets across waves: what may be published, the rankings, the warehouses and the site."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pandas as pd

from assets.resources import ProjectResource
from assets.tables import failures_named, table_asset, tables_asset
from perception import wave_tables
from perception.drivers import change as decomposition
from perception.estimation import index_sensitivity as sensitivity
from perception.estimation import publication, ranking, small_area
from perception.estimation import trends as changes
from perception.fingerprint import digest, frame_digest
from perception.geography import load_gazetteer, vintage_units
from perception.kept import Frames, kept
from perception.project import Project, made_from_of, shared_inputs
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


def inputs_digest(project: Project, waves: Iterable[str]) -> str:
    """SHA-256 over what is made across these waves is made from: their last complete runs, and what all have in common.

    A run by an earlier version of the software, which did not say what it was made from, is like no other.
    """
    runs = [f"{wave} {made_from_of(project.complete_table('waves', wave)) or uuid4()}" for wave in sorted(waves)]
    return digest([shared_inputs(project), *runs])


def in_a_tuple(make: Callable[[], pd.DataFrame]) -> Callable[[], Frames]:
    """What `kept` takes, of what makes one frame."""
    return lambda: (make(),)


def joined(files: Sequence[Path], table: str) -> pd.DataFrame:
    """The parts of a table, one in each file, as one."""
    frames = [pd.read_parquet(file) for file in files]
    return conform(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=TABLES[table].names), table)


def fitted_rounds(
    project: ProjectResource, estimates: pd.DataFrame, waves: pd.DataFrame, indicators: pd.DataFrame
) -> list[tuple[Path, ...]]:
    """Files of each of `small_area.round_waves`: its `small_area_tables` and its `drawn_frame`."""
    units = project_units(project, waves)

    def fit(own: list[str]) -> Frames:
        models = list(small_area.round_models(estimates, waves, indicators, units, own))
        return *small_area.small_area_tables(models), small_area.drawn_frame(models)

    rounds = small_area.round_waves(waves)
    makers = {inputs_digest(project.project, used): partial(fit, own) for own, used in rounds}
    return kept(project.project.kept("small_areas"), makers)


def pairs(waves: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of table `waves` of each wave and its predecessor, where that is among them."""
    compared = waves[waves["predecessor"].isin(waves["wave"])]
    return [waves[waves["wave"].isin([row.wave, row.predecessor])] for row in compared.itertuples()]


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
    rounds = fitted_rounds(project, district_estimates, waves, indicators)
    names = ("small_area_estimates", "small_area_models", "small_area_coefficients")
    return tuple(joined([files[number] for files in rounds], name) for number, name in enumerate(names))


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_estimates(
    project: ProjectResource,
    district_estimates: pd.DataFrame,
    small_area_estimates: pd.DataFrame,
    indicators: pd.DataFrame,
    waves: pd.DataFrame,
) -> pd.DataFrame:
    units = project_units(project, waves)
    makers = {}
    for wave, vintage in waves[["wave", "vintage"]].itertuples(index=False):
        direct, modelled, described = (
            table[table["wave"] == wave].reset_index(drop=True)
            for table in (district_estimates, small_area_estimates, indicators)
        )
        publish = partial(
            publication.published_estimates, direct, described, modelled, units=units[vintage].assign(wave=wave)
        )
        makers[digest([inputs_digest(project.project, [wave]), frame_digest(modelled)])] = in_a_tuple(publish)
    parts = kept(project.project.kept("published_estimates"), makers)
    return joined([file for (file,) in parts], "published_estimates")


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

    def sample(wave: str) -> changes.WaveSample:
        return wave_tables.wave_sample(project.project, facts.loc[wave])

    makers = {
        inputs_digest(project.project, pair["wave"]): in_a_tuple(
            partial(changes.trends, pair, indicators, comparability, sample, gazetteer)
        )
        for pair in pairs(waves)
    }
    return joined([file for (file,) in kept(project.project.kept("trends"), makers)], "trends")


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_trends(
    project: ProjectResource,
    trends: pd.DataFrame,
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    published_estimates: pd.DataFrame,
) -> pd.DataFrame:
    gazetteer = load_gazetteer(project.project.reference)
    makers = {}
    for pair in pairs(waves):
        members = changes.common_members(pair, gazetteer)
        changed, estimates, described = (
            table[table["wave"].isin(names)].reset_index(drop=True)
            for table, names in (
                (trends, members["wave"]),
                (published_estimates, pair["wave"]),
                (indicators, pair["wave"]),
            )
        )
        publish = partial(publication.published_trends, changed, estimates, described, members)
        key = [inputs_digest(project.project, pair["wave"]), frame_digest(changed), frame_digest(estimates)]
        makers[digest(key)] = in_a_tuple(publish)
    parts = kept(project.project.kept("published_trends"), makers)
    return joined([file for (file,) in parts], "published_trends")


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def change_decomposition(project: ProjectResource, waves: pd.DataFrame, comparability: pd.DataFrame) -> pd.DataFrame:
    sample = partial(wave_tables.driver_sample, project.project)
    makers = {
        inputs_digest(project.project, pair["wave"]): in_a_tuple(
            partial(decomposition.change_decomposition, pair, comparability, sample)
        )
        for pair in pairs(waves)
    }
    parts = kept(project.project.kept("change_decomposition"), makers)
    return joined([file for (file,) in parts], "change_decomposition")


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
    fitted = fitted_rounds(project, district_estimates, waves, indicators)

    def rank(drawn: Path, shown: pd.DataFrame) -> pd.DataFrame:
        return ranking.district_rankings(small_area.drawn_models(pd.read_parquet(drawn)), shown, indicators)

    makers = {}
    for (own, used), (*_, drawn) in zip(small_area.round_waves(waves), fitted, strict=True):
        of_round = published_estimates["wave"].isin(own) & (published_estimates["method"] == "small_area")
        shown = published_estimates[of_round]
        key = digest([inputs_digest(project.project, used), frame_digest(shown)])
        makers[key] = in_a_tuple(partial(rank, drawn, shown))
    parts = kept(project.project.kept("district_rankings"), makers)
    return joined([file for (file,) in parts], "district_rankings")


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
