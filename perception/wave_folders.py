"""Putting wave folders in place, taking them out, and checking one without making anything from it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from perception.errors import InputError, Problem
from perception.estimation.design import design_psus
from perception.intake.declarations import load_declaration
from perception.intake.harmonise import declaration_problems, responses
from perception.intake.raw import raw_responses
from perception.intake.wave_file import WAVE_FILE, Wave, write_checksums
from perception.project import Project, open_wave

PUBLICATION_READS = ("waves", "indicators", "district_estimates", "drivers")
"""The tables of a wave that publication is made from."""


def add_wave(project: Project, source: Path, files: Path | None) -> Path:
    """Put the wave described by `source` (a folder with wave.yml: a recipe, or a complete wave) in place.

    Data files are taken from `files`, or from `source`. The folder appears whole or not at all, with the checksums of
    its files; a wave of the same id is replaced. Returns the folder. InputError names files that are not there.
    """
    with tempfile.TemporaryDirectory(dir=_made(project.waves), prefix=".adding-") as temporary:
        if not (source / WAVE_FILE).is_file():
            raise InputError([Problem(str(source), f"holds no {WAVE_FILE}", "Name a recipe or a wave folder.")])
        wave = load_declaration(source.resolve() / WAVE_FILE, Wave)
        declared = Path(temporary) / wave.id
        declared.mkdir()
        shutil.copyfile(source / WAVE_FILE, declared / WAVE_FILE)
        origin = files or source
        missing = [file.path for file in wave.files if not (origin / file.path).is_file()]
        if missing:
            raise InputError(
                Problem(f"{wave.id}/{name}", f"is not in {origin}", "Name the folder that holds it with --files.")
                for name in missing
            )
        for file in wave.files:
            shutil.copyfile(origin / file.path, declared / file.path)
        write_checksums(wave, declared)
        target = project.waves / wave.id
        if target.exists():
            for kept in target.iterdir():
                if not (declared / kept.name).exists():
                    shutil.copy2(kept, declared / kept.name)
        with project.lock(wave.id):
            _swap(declared, target)
    return target


def complete_wave(project: Project, wave_id: str) -> Path:
    """Set the tables that publication reads to those of the run that just ended, all together; returns their folder.

    Until then publication goes on with the last complete run, so a run that fails half-way changes nothing public.
    """
    folder = project.complete_table("", wave_id).parent
    with tempfile.TemporaryDirectory(dir=_made(folder.parent), prefix=".completing-") as temporary:
        fresh = Path(temporary) / wave_id
        fresh.mkdir()
        for name in PUBLICATION_READS:
            shutil.copyfile(project.table(name, wave_id), fresh / f"{name}.parquet")
        _swap(fresh, folder)
    return folder


def _swap(fresh: Path, place: Path) -> None:
    """Put a folder in the place of another, which stays if that fails."""
    old = fresh.with_name(".replaced")
    if place.exists():
        place.rename(old)
    try:
        fresh.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise


def remove_wave(project: Project, wave_id: str) -> Path | None:
    """Move a wave folder to data/raw/removed-waves and delete every table made from it.

    Returns the new place, None when the folder had been deleted by hand and only its tables were left.
    """
    folder, place = project.waves / wave_id, project.removed_waves / wave_id
    if wave_id not in {*project.wave_ids(), *project.made_wave_ids()}:
        raise InputError([Problem(f"wave {wave_id}", "there is no such wave", "See data/raw/waves.")])
    if place.exists():
        raise InputError([Problem(f"wave {wave_id}", f"{place} exists already", "Move or delete that folder first.")])
    with project.lock(wave_id):
        moved = folder.is_dir()
        if moved:
            _made(project.removed_waves)
            folder.rename(place)
        for made in (project.table("", wave_id).parent, project.complete_table("", wave_id).parent):
            shutil.rmtree(made, ignore_errors=True)
    return place if moved else None


def wave_problems(project: Project, wave_id: str) -> list[Problem]:
    """Every problem that would stop a wave, found by reading it whole; nothing is written."""
    from perception.drivers.wave_drivers import wave_drivers

    try:
        inputs = open_wave(project, wave_id)
    except InputError as error:
        return list(error.problems)
    problems = declaration_problems(inputs.wave, inputs.instrument)
    try:
        raw = raw_responses(inputs.wave, inputs.folder)
        if not problems:
            tidy = responses(raw, inputs.wave, inputs.instrument, inputs.gazetteer)
            psus = design_psus(raw, tidy, inputs.wave, inputs.units)
            wave_drivers(tidy, psus, inputs.instrument)
    except InputError as error:
        problems += error.problems
    return problems


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
