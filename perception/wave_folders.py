"""Putting wave folders in place, taking them out, and checking one without making anything from it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from perception import wave_tables
from perception.errors import InputError, Problem
from perception.files import link_or_copy
from perception.geography.gazetteer import load_gazetteer
from perception.intake import quality
from perception.intake.codebook import comparability_problems
from perception.intake.declarations import load_declaration
from perception.intake.draft import draft_wave
from perception.intake.harmonise import declaration_problems
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.raw import raw_responses
from perception.intake.wave_file import (
    CHECKSUMS_FILE,
    UNCHECKED,
    WAVE_FILE,
    WAVE_ID_PATTERN,
    Wave,
    load_wave,
    sha256,
    write_checksums,
)
from perception.project import Project, WaveInputs, open_wave

PUBLICATION_READS = (
    "waves",
    "indicators",
    "district_estimates",
    "drivers",
    "driver_importance",
    "driver_models",
    "district_diagnosis",
    "subgroup_gaps",
    "comparability",
    "psu_totals",
    "design_psus",
    "calibration_totals",
    "replicate_totals",
    "replicate_factors",
    "responses",
    "wave_codebook",
)
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
        missing = [name for name in wave.file_names if not (origin / name).is_file()]
        if missing:
            raise InputError(
                Problem(f"{wave.id}/{name}", f"is not in {origin}", "Name the folder that holds it with --files.")
                for name in missing
            )
        for name in wave.file_names:
            shutil.copyfile(origin / name, declared / name)
        write_checksums(wave, declared)
        target = project.waves / wave.id
        if target.exists():
            for kept in target.iterdir():
                if not (declared / kept.name).exists():
                    shutil.copy2(kept, declared / kept.name)
        with project.lock(wave.id):
            _swap(declared, target)
    return target


def new_wave(
    project: Project,
    wave_id: str,
    files: Sequence[Path],
    form: Path | None = None,
    like: str | None = None,
    instrument: str | None = None,
) -> tuple[Path, int]:
    """Draft a wave folder from data files (the first is the main one): copies of them, checksums and a `wave.yml`.

    Returns the folder and the number of guesses in it, each marked `# check`; the wave does not run before they are
    gone. The instrument is the one named, or that of the wave `like`, or the only one there is. InputError when it is
    not clear which, when the wave exists already, or a file cannot be read.
    """
    folder = project.waves / wave_id
    problems = []
    if not re.fullmatch(WAVE_ID_PATTERN, wave_id):
        remedy = "Use lower-case letters, digits and single hyphens, such as kp-2024."
        problems.append(Problem(f"wave {wave_id}", "cannot be a wave id", remedy))
    if folder.exists():
        remedy = "Choose another id, or take the wave out with `perception remove-wave` first."
        problems.append(Problem(f"wave {wave_id}", f"{folder} exists already", remedy))
    given = [*files, *([form] if form else [])]
    problems += [
        Problem(str(path), "the file is not there", "Correct its path.") for path in given if not path.is_file()
    ]
    names = [path.name for path in given]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(f"wave {wave_id}", f"two files are called {', '.join(twice)}", "Rename one of them."))
    if problems:
        raise InputError(problems)
    earlier = open_wave(project, like) if like else None
    codebook = None
    if earlier:
        codebook = wave_tables.wave_codebook(earlier, raw_responses(earlier.wave, earlier.folder))
    questionnaire = _chosen_instrument(project, instrument, earlier)
    gazetteer = load_gazetteer(project.reference)
    draft = draft_wave(wave_id, files, questionnaire, gazetteer, form, earlier.wave if earlier else None, codebook)
    with tempfile.TemporaryDirectory(dir=_made(project.waves), prefix=".drafting-") as temporary:
        fresh = Path(temporary) / wave_id
        fresh.mkdir()
        for path in given:
            shutil.copyfile(path, fresh / path.name)
        sums = "".join(f"{sha256(fresh / name)}  {name}\n" for name in names)
        (fresh / CHECKSUMS_FILE).write_text(sums, encoding="utf-8")
        (fresh / WAVE_FILE).write_text(draft.text, encoding="utf-8")
        fresh.rename(folder)
    return folder, sum(bool(UNCHECKED.search(line)) for line in draft.text.splitlines())


def _chosen_instrument(project: Project, named: str | None, earlier: WaveInputs | None) -> Instrument:
    if earlier is not None and named in (None, earlier.instrument.id):
        return earlier.instrument
    known = sorted(path.stem for path in project.instruments.glob("*.yml"))
    chosen = named or (known[0] if len(known) == 1 else None)
    if chosen not in known:
        what = f"there is no instrument {named}" if named else "it is not said which instrument the wave has"
        remedy = (
            f"Name one with --instrument, or a wave of it with --like. Instruments are: {', '.join(known) or 'none'}."
        )
        raise InputError([Problem(str(project.instruments), what, remedy)])
    return load_instrument(project.instrument_file(str(chosen)))


def complete_wave(project: Project, wave_id: str) -> Path:
    """Set the tables that publication reads to those of the run that just ended, all together; returns their folder.

    Until then publication goes on with the last complete run, so a run that fails half-way changes nothing public. The
    declaration and the instrument are kept with them, for they may be edited before the next run is complete. Tables
    are only ever replaced, never written into, so a second name for the same file will do: responses take no room twice
    until the next run.
    """
    folder = project.complete_table("", wave_id).parent
    with tempfile.TemporaryDirectory(dir=_made(folder.parent), prefix=".completing-") as temporary:
        fresh = Path(temporary) / wave_id
        fresh.mkdir()
        for name in PUBLICATION_READS:
            link_or_copy(project.table(name, wave_id), fresh / f"{name}.parquet")
        instrument = load_wave(project.waves / wave_id).instrument
        shutil.copyfile(project.instrument_file(instrument), fresh / project.complete_instrument(wave_id).name)
        shutil.copyfile(project.waves / wave_id / WAVE_FILE, fresh / WAVE_FILE)
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
    problems = [
        *declaration_problems(inputs.wave, inputs.instrument),
        *quality.declaration_problems(inputs.wave, inputs.instrument),
    ]
    try:
        raw = raw_responses(inputs.wave, inputs.folder)
    except InputError as error:
        return [*problems, *error.problems]
    changes = None
    try:
        changes = wave_tables.codebook_changes(project, inputs, wave_tables.wave_codebook(inputs, raw))
        problems += comparability_problems(changes, inputs.wave)
    except InputError as error:
        problems += error.problems
    try:
        tidy = wave_tables.responses(inputs, raw)
        psus = wave_tables.design_psus(project, inputs, raw, tidy)
        wave_drivers(tidy, psus, inputs.instrument, inputs.units)
        evidence = wave_tables.quality_evidence(project, inputs, raw, tidy, psus, changes)
        found = quality.quality_tables(evidence)[0]
        problems += quality_problems(found[found["check"] != "codebook_drift"])  # listed already, with their remedies
    except InputError as error:
        problems += [problem for problem in error.problems if problem not in problems]
    return problems


def quality_problems(wave_quality: pd.DataFrame) -> list[Problem]:
    """What blocks a wave at the quality gate: findings with the verdict `fail`."""
    blocking = wave_quality[wave_quality["verdict"] == "fail"]
    return [
        Problem(
            f"{row.wave}, quality check {row.check}, {row.level} {row.unit}",
            str(row.message),
            "Correct the data or wave.yml, or declare a remedy with its reason there.",
        )
        for row in blocking.itertuples()
    ]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
