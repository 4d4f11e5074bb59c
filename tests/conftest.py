"""Fixtures shared by all tests: the reference material beside the checkout, skipped where absent."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import event
from sqlalchemy.engine import Engine

from perception.estimation.publication import judged_direct, published_beside
from perception.project import Project
from perception.schemas import TABLES, conform

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name}, which is not on this machine")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Reference numbers computed with R and the textbook tables they were computed on."""
    return _shared("golden")


@pytest.fixture(scope="session")
def shared_waves() -> Path:
    """Survey files as their producers published them."""
    return _shared("waves")


@pytest.fixture(scope="session")
def shared_boundaries() -> Path:
    """An official district boundary layer."""
    return _shared("boundaries")


def published_estimates(
    estimates: pd.DataFrame,
    indicators: pd.DataFrame,
    small_area: pd.DataFrame | None = None,
    units: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table of that name, made in two steps as the pipeline does, also without small-area estimates."""
    if small_area is None:
        small_area = conform(pd.DataFrame(columns=TABLES["small_area_estimates"].names), "small_area_estimates")
    return published_beside(judged_direct(estimates, indicators, units=units), small_area, indicators)


SMALL_INSTRUMENT = """\
id: small
title: Small questionnaire
source: made for tests
questions:
  service:
    label: How satisfied are you with the service?
    type: ordinal
    categories: {bad: Bad, fair: Fair, good: Good}
  heard:
    label: Were you heard?
    type: category
    categories: {no: "No", yes: "Yes"}
indicators:
  satisfied:
    label: Satisfied with the service
    question: service
    positive: [good]
    population: adults
    headline: true
  was_heard:
    label: Was heard
    question: heard
    positive: [yes]
    population: adults
driver_models:
  satisfaction:
    label: What goes with satisfaction
    outcome: satisfied
    drivers: [{variable: heard}]
    controls: [{variable: sex}]
"""

SMALL_WAVE = """\
id: small-2021
round: "2021"
title: Small survey (simulated)
instrument: small
dates: {start: 2021-03-01, end: 2021-03-31}
producer: Tests
citation: Tests (2021)
licence: CC0-1.0
simulated: true
files: [{path: answers.csv}]
respondent_id: [id]
design: {weight: w, weight_scale: relative, strata: [district], psu: psu}
geography: {vintage: "2018", district: district}
variables:
  sex: {source: sex, map: {1: female, 2: male}}
  service: {source: q1, map: {1: bad, 2: fair, 3: good}, missing: {8: dont_know}}
  heard: {source: q2, map: {0: no, 1: yes}, blank: not_asked}
"""

SMALL_DISTRICTS = ("Peshawar", "Mardan", "Swat", "Kohat", "Bannu")


def small_answers(seed: int = 1) -> pd.DataFrame:
    """The data file of the small wave: 5 districts x 6 PSUs x 20 respondents, each district more satisfied."""
    rng = np.random.default_rng(seed)
    count = len(SMALL_DISTRICTS) * 6 * 20
    place = np.arange(count) // 120
    heard = rng.integers(0, 2, count)
    good = rng.random(count) < 0.15 + 0.15 * place + 0.1 * heard
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "district": np.array(SMALL_DISTRICTS)[place],
            "psu": np.arange(count) // 20,
            "w": rng.uniform(0.5, 2.0, count).round(4),
            "sex": rng.integers(1, 3, count),
            "q1": np.where(good, 3, rng.integers(1, 3, count)),
            "q2": heard,
        }
    )


FIRST, SECOND = "small-2021", "small-2022"
LATER = SMALL_WAVE.replace(FIRST, SECOND).replace('round: "2021"', 'round: "2022"').replace("2021-03", "2022-03")
LATER = LATER.replace("respondent_id:", f"predecessor: {FIRST}\nrespondent_id:")


def write_small_wave(folder: Path, answers: pd.DataFrame | None = None, wave: str = SMALL_WAVE) -> Path:
    """A wave folder with `wave.yml` and its data file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wave.yml").write_text(wave, encoding="utf-8")
    (small_answers() if answers is None else answers).to_csv(folder / "answers.csv", index=False)
    return folder


def small_project_in(folder: Path) -> Project:
    """A project with the repository's gazetteer, the small instrument and the small wave in place."""
    project = Project(folder / "project")
    shutil.copytree(ROOT / "data/raw/reference", project.reference)
    project.instruments.mkdir(parents=True)
    project.instrument_file("small").write_text(SMALL_INSTRUMENT, encoding="utf-8")
    write_small_wave(project.waves / FIRST)
    return project


FEW_INDICATORS = (
    "satisfied_district",
    "satisfied_health",
    "satisfied_primary_school",
    "safe_after_dark",
    "wait_health",
)


def ask_little(
    project: Project,
    instrument: str = "citizen-services",
    indicators: Sequence[str] = FEW_INDICATORS,
    models: Sequence[str] = ("satisfied_health",),
) -> None:
    """Have the waves of an instrument make few indicators and driver models: a fifth of the time for sample waves."""
    file = project.instrument_file(instrument)
    with_texts = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # yes and no are answers
    kept = {name: with_texts["indicators"][name] for name in indicators}
    explained = {name: with_texts["driver_models"][name] for name in models}
    service = {"label": "Services", "indicators": list(indicators)}
    changed = {"indicators": kept, "driver_models": explained, "services": {"services": service}}
    dropped = ("indices", "sdg_16_6_2")
    few = {name: changed.get(name, content) for name, content in with_texts.items() if name not in dropped}
    file.write_text(json.dumps(few, ensure_ascii=False), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def _dagster_does_not_wait_for_the_disk() -> Iterator[None]:
    """A run commits some thousand times; only a loss of power needs what waiting for the disk is good for."""

    def switch_off(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", switch_off)
    yield
    event.remove(Engine, "connect", switch_off)


@pytest.fixture
def small_project(tmp_path: Path) -> Project:
    """A project with the repository's gazetteer, the small instrument and the small wave in place."""
    return small_project_in(tmp_path)


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project after a run with its whole site, images empty. Not to be changed: see `run_project`."""
    from pipelines import runner
    from tests.site_tables import no_pngs

    project = small_project_in(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        no_pngs(patch)
        assert runner.run_waves(project, [FIRST], lambda *_: None) == []
    return project


@pytest.fixture(scope="session")
def made_up_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the made-up tables. Not to be changed."""
    from tests.site_tables import built_site

    return built_site(tmp_path_factory.mktemp("public") / "site")


@pytest.fixture
def run_project(run_once: Project, tmp_path: Path) -> Project:
    """The small project as a run leaves it, a copy for each test."""
    return Project(shutil.copytree(run_once.root, tmp_path / "project"))


@pytest.fixture
def two_waves(small_project: Project) -> Project:
    """The small project with a second wave that follows the first."""
    write_small_wave(small_project.waves / SECOND, small_answers(seed=2), LATER)
    return small_project
