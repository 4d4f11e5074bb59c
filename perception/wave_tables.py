"""Tables of one wave that take more than one station, for the assets and for `perception check` alike.

What one station does alone is called there; nothing is read or written here but the wave's own files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from perception.drivers.change import DriverSample, response_columns
from perception.errors import InputError, Problem
from perception.estimation import design, domains, indices, quantiles, replicates, weighting
from perception.estimation.trends import WaveSample
from perception.geography import district_geometry
from perception.geography.displacement import displaced_psus, displacement_rng
from perception.intake import codebook, harmonise, quality
from perception.intake.describe import index_weights, raked_margins
from perception.intake.fieldwork import interviews
from perception.intake.harmonise import counted_rows
from perception.intake.instrument import load_instrument
from perception.intake.quality import Interviews
from perception.intake.raw import raw_responses
from perception.intake.readers import read_table
from perception.intake.remedies import remedied
from perception.intake.wave_file import CENSUS, Wave
from perception.intake.xlsform import form_labels, read_xlsform
from perception.project import (
    MADE_FROM,
    Project,
    WaveInputs,
    made_from,
    made_from_of,
    open_wave,
    without_the_wave_before,
)
from perception.schemas import TABLES, conform

if TYPE_CHECKING:
    import geopandas as gpd

COMPARED_WITH = "compared_with"


def responses(inputs: WaveInputs, raw: pd.DataFrame) -> pd.DataFrame:
    """Table `responses` of a wave, with the weights that it keeps or builds."""
    tidy = harmonise.responses(raw, inputs.wave, inputs.instrument, inputs.gazetteer)
    return weighting.built_weights(tidy, raw, inputs.wave, inputs.folder, inputs.gazetteer, inputs.units)


def tidy_wave(
    project: Project, inputs: WaveInputs, raw: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables `responses`, `design_psus`, `wave_remedies` and `weights` of a wave, from its raw responses."""
    tidy = responses(inputs, raw)
    _, log = remedied(raw, inputs.wave)
    steps = weighting.weight_steps(tidy, inputs.wave, inputs.folder, inputs.gazetteer, inputs.units)
    return tidy, design_psus(project, inputs, raw, tidy), log, steps


def wave_codebook(inputs: WaveInputs, raw: pd.DataFrame) -> pd.DataFrame:
    """Table `wave_codebook` of a wave: what its files say, completed by its form where it has one."""
    value_labels, column_labels = dict(raw.attrs["value_labels"]), dict(raw.attrs["column_labels"])
    if inputs.wave.form is not None:
        form = read_xlsform(inputs.folder / inputs.wave.form, f"{inputs.wave.id}/{inputs.wave.form}")
        of_codes, of_columns = form_labels(form, raw.columns)
        value_labels, column_labels = of_codes | value_labels, of_columns | column_labels
    return codebook.wave_codebook(inputs.wave, list(raw.columns), value_labels, column_labels)


def codebook_changes(project: Project, inputs: WaveInputs, after: pd.DataFrame) -> pd.DataFrame:
    """Table `codebook_changes` of a wave whose codebook is `after`; empty without a predecessor.

    InputError when the predecessor is not there, cannot be read or has another instrument.
    """
    wave = inputs.wave
    if wave.predecessor is None:
        return conform(pd.DataFrame(columns=TABLES["codebook_changes"].names), "codebook_changes")
    place = f"{wave.id}/wave.yml, predecessor"
    if wave.predecessor not in project.wave_ids():
        remedy = "Put it in place with `perception add-wave`, or take `predecessor` out of wave.yml."
        raise InputError([Problem(place, f"there is no wave {wave.predecessor} to compare with", remedy)])
    before = open_wave(project, wave.predecessor)
    if before.wave.instrument != wave.instrument:
        what = f"{wave.predecessor} has the instrument {before.wave.instrument}, this wave {wave.instrument}"
        raise InputError([Problem(place, what, "Name a wave of the same instrument.")])
    return codebook.codebook_changes(_codebook_as_made(project, before), after, wave, inputs.instrument)


def _codebook_as_made(project: Project, inputs: WaveInputs) -> pd.DataFrame:
    """Table `wave_codebook` of a wave, as it was made where what it was made from has not changed."""
    stored = project.table("wave_codebook", inputs.wave.id)
    if made_from_of(stored) == made_from(project, inputs.wave.id):
        return pd.read_parquet(stored)
    return wave_codebook(inputs, raw_responses(inputs.wave, inputs.folder))


def district_estimates(
    inputs: WaveInputs,
    responses: Path,
    psu_totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    indicators: pd.DataFrame,
    calibration_totals: pd.DataFrame,
    replicate_totals: pd.DataFrame,
    replicate_factors: pd.DataFrame,
) -> pd.DataFrame:
    """Table `district_estimates` of a wave: shares, means and indices from its totals, quantiles from its responses."""
    rake, scheme = inputs.wave.rake, replicates.scheme_of(replicate_factors)
    weights = calibration_totals, rake, replicate_totals, scheme
    from_totals = domains.district_estimates(psu_totals, design_psus, inputs.units, indicators, *weights)
    of_indices = indices.index_estimates(
        from_totals, index_weights(indicators), psu_totals, design_psus, inputs.units, *weights
    )
    of_quantiles = quantiles.quantile_estimates(
        responses, design_psus, inputs.units, inputs.instrument, calibration_totals, rake, scheme
    )
    made = [table for table in (from_totals, of_indices, of_quantiles) if len(table)]
    if not made:
        return from_totals
    return conform(pd.concat(made).sort_values(["indicator", "level", "unit_id", "domain"]), "district_estimates")


def estimate_review(
    project: Project, inputs: WaveInputs, estimates: pd.DataFrame, changes: pd.DataFrame
) -> pd.DataFrame:
    """Table `estimate_review`: the wave's estimates against those of its predecessor's last complete run.

    The attribute `COMPARED_WITH` says what the estimates of that run were made from.
    """
    before = inputs.wave.predecessor
    file = project.complete_table("district_estimates", before) if before else None
    previous = pd.read_parquet(file) if file and file.exists() else None
    evidence = Interviews(
        inputs.wave,
        inputs.instrument,
        codebook_changes=changes,
        estimates=estimates,
        previous_estimates=previous,
    )
    review = quality.quality_tables(evidence, stage="estimates")[0]
    run_before = None if previous is None else previous.attrs.get(MADE_FROM)
    review.attrs[COMPARED_WITH] = without_the_wave_before(run_before)
    return review


def wave_sample(project: Project, facts: pd.Series) -> WaveSample:
    """What change needs of a wave, from its last complete run; `facts` is its row of `waves`."""
    wave = str(facts["wave"])

    def table(name: str) -> pd.DataFrame:
        return pd.read_parquet(project.complete_table(name, wave))

    return WaveSample(
        wave,
        str(facts["vintage"]),
        table("psu_totals"),
        table("design_psus"),
        table("calibration_totals"),
        raked_margins(str(facts["raked_margins"])),
        table("replicate_totals"),
        replicates.scheme_of(table("replicate_factors")),
        index_weights(table("indicators")),
    )


def driver_sample(project: Project, wave: str) -> DriverSample:
    """What decomposing a change needs of a wave, from its last complete run."""
    files = {name: project.complete_table(name, wave) for name in ("responses", "design_psus")}
    instrument_file = project.complete_instrument(wave)
    if any(not file.exists() for file in (*files.values(), instrument_file)):
        what = "was completed by an earlier version of the software, which did not keep responses"
        raise InputError([Problem(f"wave {wave}", what, f"Run `perception run --wave {wave}`.")])
    instrument = load_instrument(instrument_file)
    there = set(pq.read_schema(files["responses"]).names)
    columns = [name for name in response_columns(instrument) if name in there]
    return DriverSample(
        wave,
        pd.read_parquet(files["responses"], columns=columns),
        pd.read_parquet(files["design_psus"]),
        instrument,
    )


def design_psus(project: Project, inputs: WaveInputs, raw: pd.DataFrame, tidy: pd.DataFrame) -> pd.DataFrame:
    """Table `design_psus` of a wave, with displaced centres where it keeps interview places."""
    psus = design.design_psus(raw, tidy, inputs.wave, inputs.units)
    fieldwork = inputs.wave.fieldwork
    if fieldwork.gps is None or fieldwork.coordinates == "drop":
        return psus
    kept, _ = remedied(raw, inputs.wave)
    counting = kept[counted_rows(kept, inputs.wave)]
    places = interviews(counting, inputs.wave)[["latitude", "longitude"]].reset_index(drop=True).assign(psu=tidy["psu"])
    shapes = district_shapes(project, inputs)
    return conform(displaced_psus(psus, places, shapes, displacement_rng(places)), "design_psus")


def district_shapes(project: Project, inputs: WaveInputs) -> gpd.GeoDataFrame:
    """The shapes of the districts of the wave's vintage that the project has."""
    return district_geometry(inputs.gazetteer, inputs.wave.geography.vintage, project.boundaries).shapes


def columns_checked(wave: Wave, columns: Iterable[str]) -> list[str]:
    """The raw columns that quality checks may look at: all but those that only variables are made from.

    Answers are checked as harmonised. A column stays when its name stands anywhere else in wave.yml.
    """
    elsewhere = wave.model_dump_json(exclude={"variables"})

    def named(column: str) -> bool:
        return json.dumps(column, ensure_ascii=False)[1:-1] in elsewhere

    answers = {source for variable in wave.variables.values() for source in variable.sources}
    return [column for column in columns if column not in answers or named(column)]


def quality_evidence(
    project: Project,
    inputs: WaveInputs,
    raw: pd.DataFrame,
    tidy: pd.DataFrame,
    psus: pd.DataFrame,
    changes: pd.DataFrame | None,
) -> Interviews:
    """What the quality checks of a wave look at: its rows after remedies, its tables and its further files."""
    wave, margins = inputs.wave, None
    if wave.weighting and wave.weighting.margins and wave.weighting.margins != CENSUS:
        margins = read_table(inputs.folder / wave.weighting.margins, f"{wave.id}/{wave.weighting.margins}").frame
    kept, _ = remedied(raw, wave)
    return quality.gather(
        kept.reset_index(drop=True),
        tidy,
        psus,
        wave,
        inputs.instrument,
        folder=inputs.folder,
        units=inputs.units,
        shapes=partial(district_shapes, project, inputs),
        margins=margins,
        codebook_changes=changes,
    )
