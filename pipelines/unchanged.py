"""What need not be made again: waves and a publication whose inputs are those of the last run that made them whole."""

from __future__ import annotations

from types import ModuleType

import dagster as dg
import pyarrow.parquet as pq

from assets import estimates, intake, quality
from perception.errors import InputError
from perception.fingerprint import digest
from perception.intake.wave_file import ACROSS_WAVES, load_wave
from perception.project import Project, made_from, made_from_of, shared_inputs, without_the_wave_before
from perception.publication_record import whole_publication
from perception.schemas import TABLES
from perception.wave_folders import PUBLICATION_READS
from perception.wave_tables import COMPARED_WITH


def _tables_made_by(*modules: ModuleType) -> list[str]:
    assets = (value for module in modules for value in vars(module).values() if isinstance(value, dg.AssetsDefinition))
    return sorted({key.path[-1] for asset in assets for key in asset.keys} & set(TABLES))


WAVE_TABLES = _tables_made_by(intake, quality, estimates)
"""The tables that the job of a wave makes."""


def wave_is_unchanged(project: Project, wave_id: str) -> bool:
    """Whether a run of the wave would find what its last complete run found, and everything that run made is there."""
    try:
        now, before = made_from(project, wave_id), load_wave(project.waves / wave_id).predecessor
    except (InputError, OSError):
        return False
    made = [project.table(name, wave_id) for name in WAVE_TABLES]
    complete = [project.complete_table(name, wave_id) for name in PUBLICATION_READS]
    if any(made_from_of(file) != now for file in (*made, *complete)):
        return False
    kept = (project.complete_declaration(wave_id), project.complete_instrument(wave_id))
    others = (*kept, project.quality_folder(wave_id) / "index.html")
    if not all(file.exists() for file in others):
        return False
    review = pq.read_schema(project.table("estimate_review", wave_id)).pandas_metadata["attributes"]
    there_now = made_from_of(project.complete_table("district_estimates", before)) if before else None
    return bool(review.get(COMPARED_WITH) == without_the_wave_before(there_now))


def publication_inputs(project: Project) -> str:
    """SHA-256 over what publication is made from: the tables of every wave, known by what they were made from."""
    folders = (project.internal / "tables", project.internal / "complete")
    files = sorted(file for folder in folders for file in folder.glob("[!.]*/*.parquet"))
    tables = [
        f"{file.relative_to(project.internal)} {made_from_of(file)}"
        for file in files
        if file.parent.name != ACROSS_WAVES
    ]
    return digest([shared_inputs(project), *tables])


def publication_is_unchanged(project: Project) -> bool:
    """Whether the last publication that succeeded was made from what is there now, and all it made is as it left it."""
    return whole_publication(project) == publication_inputs(project)
