"""Assets across waves: what may be published, the rankings, the warehouses and the site."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
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
from perception.kept import Frames, Maker, kept, kept_together
from perception.processes import processes
from perception.project import Project, made_from_of, shared_inputs
from perception.publish import project_site, sdg
from perception.publish import warehouse as duckdb_files
from perception.schemas import TABLES, conform, joined

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


def of_waves(table: pd.DataFrame, waves: Collection[str]) -> pd.DataFrame:
    """The rows of some waves."""
    return table[table["wave"].isin(waves)].reset_index(drop=True)


def pairs(waves: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of table `waves` of each wave and its predecessor, where that is among them."""
    compared = waves[waves["predecessor"].isin(waves["wave"])]
    return [waves[waves["wave"].isin([row.wave, row.predecessor])] for row in compared.itertuples()]


def round_makers(
    project: ProjectResource, estimates: Mapping[str, Path], waves: pd.DataFrame, indicators: pd.DataFrame
) -> dict[str, Maker]:
    """What makes, for each of `small_area.round_waves`, its `small_area_tables` and its `drawn_frame`."""
    units = project_units(project, waves)
    makers = {}
    for own, used in small_area.round_waves(waves):
        fit = partial(_fitted_round, [estimates[wave] for wave in used], waves, indicators, units, own)
        makers[inputs_digest(project.project, used)] = fit
    return makers


def _fitted_round(
    estimates: Sequence[Path],
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    units: Mapping[str, pd.DataFrame],
    own: Sequence[str],
) -> Frames:
    used = joined(estimates, "district_estimates")
    models = list(small_area.round_models(used, waves, indicators, units, own))
    return *small_area.small_area_tables(models), small_area.drawn_frame(models)


def direct_makers(
    project: ProjectResource, estimates: Mapping[str, Path], waves: pd.DataFrame, indicators: pd.DataFrame
) -> dict[str, Maker]:
    """What makes `publication.judged_direct` of each wave."""
    units = project_units(project, waves)
    makers = {}
    for wave, vintage in waves[["wave", "vintage"]].itertuples(index=False):
        described, districts = of_waves(indicators, [wave]), units[vintage].assign(wave=wave)
        judge = partial(_judged_direct, estimates[wave], described, districts)
        makers[inputs_digest(project.project, [wave])] = partial(_one_frame, judge)
    return makers


def _judged_direct(estimates: Path, indicators: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    return publication.judged_direct(joined([estimates], "district_estimates"), indicators, units=units)


def _one_frame(make: Callable[[], pd.DataFrame]) -> Frames:
    return (make(),)


def _changes(
    project: Project, pair: pd.DataFrame, indicators: pd.DataFrame, comparability: pd.DataFrame
) -> pd.DataFrame:
    facts = pair.set_index("wave", drop=False)

    def sample(wave: str) -> changes.WaveSample:
        return wave_tables.wave_sample(project, facts.loc[wave])

    return changes.trends(pair, indicators, comparability, sample, load_gazetteer(project.reference))


@tables_asset(
    "small_area_estimates",
    "small_area_models",
    "small_area_coefficients",
    "trends",
    "change_decomposition",
    group=GROUP,
    per_wave=False,
    after=["complete_wave"],
)
def across_waves(
    project: ProjectResource,
    district_estimates: dict[str, Path],
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    comparability: pd.DataFrame,
) -> tuple[pd.DataFrame, ...]:
    """What takes long and needs nothing of each other is made side by side, the rules for direct estimates too."""
    kept_in, sample = project.project.kept, partial(wave_tables.driver_sample, project.project)
    both = {inputs_digest(project.project, pair["wave"]): pair for pair in pairs(waves)}
    changed = {key: partial(_changes, project.project, pair, indicators, comparability) for key, pair in both.items()}
    explained = {
        key: partial(decomposition.change_decomposition, pair, comparability, sample) for key, pair in both.items()
    }
    makers: dict[Path, Mapping[str, Maker]] = {
        kept_in("small_areas"): round_makers(project, district_estimates, waves, indicators),
        kept_in("trends"): {key: partial(_one_frame, make) for key, make in changed.items()},
        kept_in("judged_direct"): direct_makers(project, district_estimates, waves, indicators),
        kept_in("change_decomposition"): {key: partial(_one_frame, make) for key, make in explained.items()},
    }
    with processes(len(indicators)) as executor:
        rounds, trends, _, decompositions = kept_together(makers, executor)
    names = ("small_area_estimates", "small_area_models", "small_area_coefficients")
    return (
        *(joined([files[number] for files in rounds], name) for number, name in enumerate(names)),
        joined(chain.from_iterable(trends), "trends"),
        joined(chain.from_iterable(decompositions), "change_decomposition"),
    )


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_estimates(
    project: ProjectResource,
    district_estimates: dict[str, Path],
    small_area_estimates: pd.DataFrame,
    indicators: pd.DataFrame,
    waves: pd.DataFrame,
) -> pd.DataFrame:
    judged = kept(project.project.kept("judged_direct"), direct_makers(project, district_estimates, waves, indicators))
    makers = {}
    for wave, (direct,) in zip(waves["wave"], judged, strict=True):
        modelled, described = (of_waves(table, [wave]) for table in (small_area_estimates, indicators))
        publish = partial(_published_beside, direct, modelled, described)
        makers[digest([inputs_digest(project.project, [wave]), frame_digest(modelled)])] = partial(_one_frame, publish)
    parts = kept(project.project.kept("published_estimates"), makers)
    return joined(chain.from_iterable(parts), "published_estimates")


def _published_beside(direct: Path, modelled: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    return publication.published_beside(pd.read_parquet(direct), modelled, indicators)


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


@tables_asset("district_rankings", "published_trends", group=GROUP, per_wave=False, after=["complete_wave"])
def rankings_and_changes(
    project: ProjectResource,
    district_estimates: dict[str, Path],
    published_estimates: pd.DataFrame,
    trends: pd.DataFrame,
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
) -> tuple[pd.DataFrame, ...]:
    kept_in = project.project.kept
    fitted = kept(kept_in("small_areas"), round_makers(project, district_estimates, waves, indicators))
    ranked: dict[str, Maker] = {}
    for (own, used), (*_, drawn) in zip(small_area.round_waves(waves), fitted, strict=True):
        shown = of_waves(published_estimates, own).query("method == 'small_area'")
        key = digest([inputs_digest(project.project, used), frame_digest(shown)])
        ranked[key] = partial(_one_frame, partial(_rankings, drawn, shown, indicators))
    changed: dict[str, Maker] = {}
    gazetteer = load_gazetteer(project.project.reference)
    for pair in pairs(waves):
        members = changes.common_members(pair, gazetteer)
        own_changes = of_waves(trends, set(members["wave"]))
        estimates, described = (of_waves(table, set(pair["wave"])) for table in (published_estimates, indicators))
        publish = partial(publication.published_trends, own_changes, estimates, described, members)
        key = digest([inputs_digest(project.project, pair["wave"]), frame_digest(own_changes), frame_digest(estimates)])
        changed[key] = partial(_one_frame, publish)
    makers = {kept_in("district_rankings"): ranked, kept_in("published_trends"): changed}
    with processes(len(indicators)) as executor:
        parts = kept_together(makers, executor)
    return tuple(
        joined(chain.from_iterable(files), name)
        for name, files in zip(("district_rankings", "published_trends"), parts, strict=True)
    )


def _rankings(drawn: Path, shown: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    return ranking.district_rankings(small_area.drawn_models(pd.read_parquet(drawn)), shown, indicators)


@table_asset(group=GROUP, per_wave=False, after=["complete_wave"])
def published_change_decomposition(
    change_decomposition: pd.DataFrame, published_trends: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    return publication.published_change_decomposition(change_decomposition, published_trends, indicators)


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
    sdg_16_6_2: pd.DataFrame,
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
        "sdg_16_6_2": sdg_16_6_2,
    }
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    with failures_named():
        made = project_site.publish_site(project.project, tables, made_at)
    maps = {f"map {image.parent.name}/{image.stem}": dg.MetadataValue.path(str(image)) for image in made.images}
    index = dg.MetadataValue.path(str(made.pages["index"]))
    return dg.MaterializeResult(
        metadata={"path": index, "pages": len(made.pages), "boundaries not matched": made.unmatched, **maps}
    )
