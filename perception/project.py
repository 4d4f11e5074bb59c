"""Where things lie in a project folder, and a wave with everything it is made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from filelock import FileLock

from perception.errors import InputError, Problem
from perception.fingerprint import code_fingerprint, digest, folder_digest
from perception.geography.gazetteer import Gazetteer, load_gazetteer, vintage_units
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.wave_file import ACROSS_WAVES, WAVE_FILE, Wave, load_wave, wave_version

PROJECT_VARIABLE = "PERCEPTION_PROJECT"
MADE_FROM = "made_from"
"""Attribute of every frame of a wave: `made_from` of the wave when its raw responses were read."""


def project_root() -> Path:
    """$PERCEPTION_PROJECT, or the nearest folder above with a workspace.yaml, or the current folder."""
    if named := os.environ.get(PROJECT_VARIABLE):
        return Path(named).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "workspace.yaml").is_file()), here)


@dataclass(frozen=True)
class Project:
    """The folders of a project: inputs under data/raw, what can be made again under data/processed, releases."""

    root: Path

    @property
    def reference(self) -> Path:
        """Gazetteer and other facts."""
        return self.root / "data/raw/reference"

    @property
    def instruments(self) -> Path:
        """Questionnaires, one file each."""
        return self.root / "data/raw/instruments"

    @property
    def waves(self) -> Path:
        """Wave folders."""
        return self.root / "data/raw/waves"

    @property
    def removed_waves(self) -> Path:
        """Where wave folders go that were taken out."""
        return self.root / "data/raw/removed-waves"

    @property
    def boundaries(self) -> Path:
        """A user's own district boundary file, if there is one."""
        return self.root / "data/raw/boundaries"

    @property
    def internal(self) -> Path:
        """What only the data team may read."""
        return self.root / "data/processed/internal"

    @property
    def public(self) -> Path:
        """What anybody may read."""
        return self.root / "data/processed/public"

    @property
    def internal_warehouse(self) -> Path:
        """DuckDB file of the data team."""
        return self.internal / "internal.duckdb"

    @property
    def public_warehouse(self) -> Path:
        """DuckDB file with the published tables."""
        return self.public / "perception.duckdb"

    @property
    def sdg_file(self) -> Path:
        """Table `sdg_16_6_2` as a data file of the UN's SDG database."""
        return self.public / "sdg_16_6_2.csv"

    @property
    def site(self) -> Path:
        """Maps, rankings and pages."""
        return self.public / "site"

    @property
    def releases(self) -> Path:
        """Released versions of the site; not under data/processed, because nothing makes them again."""
        return self.root / "data/releases"

    def table(self, name: str, wave: str | None) -> Path:
        """The Parquet file of a table, of one wave or across waves."""
        return self.internal / "tables" / (wave or ACROSS_WAVES) / f"{name}.parquet"

    def complete_table(self, name: str, wave: str) -> Path:
        """The Parquet file of a table of a wave's last complete run, which is what publication reads."""
        return self.internal / "complete" / wave / f"{name}.parquet"

    def complete_instrument(self, wave: str) -> Path:
        """The questionnaire as it was in a wave's last complete run."""
        return self.internal / "complete" / wave / "instrument.yml"

    def complete_declaration(self, wave: str) -> Path:
        """The wave.yml as it was in a wave's last complete run."""
        return self.internal / "complete" / wave / WAVE_FILE

    def quality_folder(self, wave: str) -> Path:
        """Where a wave's quality page and its list of interviews to follow up are."""
        return self.internal / "quality" / wave

    def instrument_file(self, instrument: str) -> Path:
        """The file of a questionnaire."""
        return self.instruments / f"{instrument}.yml"

    def kept(self, name: str) -> Path:
        """Folder of what a step across waves has made of single waves or rounds; see `perception.kept`."""
        return self.internal / "kept" / name

    def wave_ids(self) -> list[str]:
        """The waves whose folder holds a wave.yml."""
        return sorted(path.parent.name for path in self.waves.glob(f"*/{WAVE_FILE}"))

    def made_wave_ids(self) -> list[str]:
        """The waves of which any table has been made."""
        made = {path.parent.name for path in (self.internal / "tables").glob("*/*.parquet")}
        return sorted(made - {ACROSS_WAVES})

    def lock(self, name: str) -> FileLock:
        """The lock that a run holds: of a wave, or of what is made across waves. Not acquired yet."""
        self.make_folders()
        (self.internal / "locks").mkdir(exist_ok=True)
        return FileLock(self.internal / "locks" / f"{name}.lock", thread_local=False)

    def make_folders(self) -> None:
        """Create the folders for what is made; internal ones are closed to other users."""
        self.public.mkdir(parents=True, exist_ok=True)
        self.internal.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.internal.chmod(0o700)


@dataclass(frozen=True)
class WaveInputs:
    """A wave with its folder, instrument, the gazetteer, and the districts of its vintage."""

    wave: Wave
    folder: Path
    instrument: Instrument
    instrument_file: Path
    gazetteer: Gazetteer
    units: pd.DataFrame

    @property
    def version(self) -> str:
        """SHA-256 over everything the wave is made from."""
        return wave_version(self.wave, self.folder, self.instrument_file)


def made_from(project: Project, wave_id: str) -> str:
    """SHA-256 over everything that the tables of a wave are made from, whoever makes them.

    That is its own files and instrument, the reference and boundary files and the software; and, after a space, the
    folder of the wave before. Only the wave's review looks at results of that one; it says of which run
    (`wave_tables.estimate_review`).
    """
    folder = project.waves / wave_id
    wave = load_wave(folder)
    own = wave_version(wave, folder, project.instrument_file(wave.instrument))
    before = folder_digest(project.waves / wave.predecessor) if wave.predecessor else ""
    return f"{digest([own, shared_inputs(project)])} {before}"


def without_the_wave_before(made_from: str | None) -> str | None:
    """What estimates are made from, of what all tables of their wave are made from (see `made_from`)."""
    return None if made_from is None else made_from.split(" ")[0]


def shared_inputs(project: Project) -> str:
    """SHA-256 over what everything is made from: reference and boundary files, and the software."""
    return digest([folder_digest(project.reference), folder_digest(project.boundaries), code_fingerprint()])


def made_from_of(file: Path) -> str | None:
    """What a stored table of a wave was made from (see `made_from`); None when it does not say or is not there."""
    if not file.exists():
        return None
    attributes = (pq.read_schema(file).pandas_metadata or {}).get("attributes", {})
    return None if attributes.get(MADE_FROM) is None else str(attributes[MADE_FROM])


def open_wave(project: Project, wave_id: str) -> WaveInputs:
    """Load what a wave declares and refers to; InputError lists every mistake in wave file and instrument."""
    folder = project.waves / wave_id
    if not folder.is_dir():
        known = ", ".join(project.wave_ids()) or "none yet"
        remedy = f"Waves are: {known}. Put one in place with `perception add-wave`."
        raise InputError([Problem(f"wave {wave_id}", "there is no such wave folder", remedy)])
    wave = load_wave(folder)
    instrument_file = project.instrument_file(wave.instrument)
    gazetteer = load_gazetteer(project.reference)
    problems: list[Problem] = []
    try:
        units = vintage_units(gazetteer, wave.geography.vintage)
    except InputError as error:
        problems += error.problems
    try:
        instrument = load_instrument(instrument_file)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return WaveInputs(wave, folder, instrument, instrument_file, gazetteer, units)
