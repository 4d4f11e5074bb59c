"""What `perception doctor` looks at: the installation, the project and what was made, each with a verdict and a remedy.

Nothing here may need a package to be whole before it has been looked at, so even those of the project come late.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perception.errors import InputError

if TYPE_CHECKING:
    from perception.project import Project

Verdict = Literal["ok", "warning", "problem"]
DISTRIBUTION = "perception"
IMPORTED = (
    "numpy",
    "pandas",
    "pyarrow",
    "duckdb",
    "scipy",
    "statsmodels.api",
    "shapely",
    "geopandas",
    "h3",
    "matplotlib.pyplot",
    "PIL.Image",
    "plotly",
    "pyreadstat",
    "python_calamine",
    "rapidfuzz",
    "pydantic",
    "pandera.pandas",
    "narwhals",
    "dagster",
)
"""Modules of compiled code, or that import much: they may be installed and still not work."""

IMPORT_SECONDS = 180
MEGABYTE = 1_000_000
MADE_OF_A_WAVE = 110 * MEGABYTE
"""Bytes that a run makes of a wave: 650 MB of the six sample waves, most of it pages and images."""

INSTALL = "Install anew with make run, or python -m pip install --require-hashes -r requirements.txt."
NO_BROWSER = "only the tests of developers that look at pages in a browser need it"
_TRY = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps({"module": name}), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(json.dumps({"module": name, "error": f"{type(error).__name__}: {error}"}), flush=True)
print(json.dumps({"module": None}), flush=True)
"""


@dataclass(frozen=True)
class Finding:
    """What one check found: its name, the verdict, what was found and what that means, and the remedy unless ok."""

    check: str
    verdict: Verdict
    what: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """Every check: of the installation, then of the project (`perception.project.project_root`)."""
    if importlib.util.find_spec("packaging") is None:
        yield Finding("packages", "problem", "packaging is not installed: others may be missing too", INSTALL)
        return
    yield python_version()
    yield packages()
    imports = imported(IMPORTED)
    yield imports
    yield browser()
    if imports.verdict == "problem":
        what = "was not looked at: that needs the packages above"
        yield Finding("project", "warning", what, "Correct those, then run perception doctor again.")
        return
    from perception.project import Project, project_root

    yield from project_findings(Project(project_root()))


def project_findings(project: Project) -> Iterator[Finding]:
    """The checks of a project: its inputs, room and rights for what a run makes, and what is there already."""
    if not project.reference.is_dir():
        what = f"{project.root} is no project: it has no data/raw/reference"
        remedy = "Change into a project folder, or name it in $PERCEPTION_PROJECT."
        yield Finding("project", "problem", what, remedy)
        return
    yield reference(project)
    yield instruments(project)
    yield waves(project)
    yield disk(project)
    for folder in (project.internal.parent, project.releases):
        yield writable(folder)
    yield warehouse("public tables", project.public_warehouse)
    yield warehouse("internal tables", project.internal_warehouse)
    yield locks(project)


def python_version() -> Finding:
    """Whether Python is one that the installed distribution allows."""
    from packaging.specifiers import SpecifierSet

    here = ".".join(str(part) for part in sys.version_info[:3])
    what = f"Python {here} in {sys.prefix}"
    try:
        wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        return Finding("python", "ok", what)  # that it is not installed is for `packages` to say
    if SpecifierSet(wanted).contains(here, prereleases=True):
        return Finding("python", "ok", what)
    what += f", but Python {wanted} is needed: newer syntax fails at the first import"
    return Finding("python", "problem", what, "Install a newer Python, delete .venv and make it anew with make run.")


def packages(distribution: str = DISTRIBUTION) -> Finding:
    """Whether what the distribution requires is installed, each in a version that it allows."""
    from packaging.requirements import Requirement

    try:
        listed = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        what = f"{distribution} is not installed for this Python, so its requirements are not known"
        return Finding("packages", "problem", what, "Install it with make run, or python -m pip install --no-deps -e .")
    wanted = [need for need in map(Requirement, listed) if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = []
    for need in wanted:
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{need.name} is not installed")
            continue
        if not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need.name} {found} is not {need.specifier}")
    if wrong:
        what = f"{'; '.join(wrong)}: commands may fail, or give other numbers"
        return Finding("packages", "problem", what, INSTALL)
    return Finding("packages", "ok", f"all {len(wanted)} are installed in versions that fit together")


def imported(modules: tuple[str, ...]) -> Finding:
    """Whether the modules import, in a process of their own: one that was built for another processor ends it."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY, *modules], capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired:
        what = f"importing them took more than {IMPORT_SECONDS} seconds: every command would be as slow"
        return Finding("imports", "problem", what, "Put the installation on a local disk.")
    said = [json.loads(line) for line in tried.stdout.splitlines() if line.startswith('{"module"')]
    wrong = [f"{line['module']} ({line['error']})" for line in said if "error" in line]
    if not said or said[-1]["module"] is not None:
        last = said[-1]["module"] if said else "the first"
        wrong.append(f"{last} (it ended Python with code {tried.returncode})")
    if wrong:
        what = f"do not import: {'; '.join(wrong)}"
        remedy = "Install the package anew: python -m pip install --force-reinstall with its name and version."
        return Finding("imports", "problem", what, remedy)
    return Finding("imports", "ok", f"the {len(modules)} large packages import")


def browser() -> Finding:
    """Whether the browser of developers' tests is there; nobody else needs it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if found := next(filter(None, map(shutil.which, names)), None):
        return Finding("browser", "ok", found)
    try:
        metadata.version("playwright")
    except metadata.PackageNotFoundError:
        return Finding("browser", "ok", f"no Chromium: {NO_BROWSER}")
    what = f"no Chromium on the PATH: {NO_BROWSER}, and are skipped"
    return Finding("browser", "warning", what, "Install chromium with the system's package manager.")


def reference(project: Project) -> Finding:
    """Whether the gazetteer can be read."""
    from perception.geography.gazetteer import load_gazetteer

    try:
        districts = load_gazetteer(project.reference).districts
    except (InputError, OSError, ValueError, KeyError) as error:
        what = f"{project.reference} cannot be read, so no wave can be made: {_first(error)}"
        return Finding("reference", "problem", what, "Restore the folder from the repository.")
    return Finding("reference", "ok", f"{len(districts)} districts, former ones included")


def instruments(project: Project) -> Finding:
    """Whether there are questionnaires, and each can be read."""
    from perception.intake.instrument import load_instrument

    files = sorted(project.instruments.glob("*.yml"))
    if not files:
        what = f"{project.instruments} holds no questionnaire, so no wave can be made"
        return Finding("instruments", "problem", what, "Put one there, or restore the folder from the repository.")
    wrong = []
    for file in files:
        try:
            load_instrument(file)
        except (InputError, OSError) as error:
            wrong.append(f"{file}: {_first(error)}")
    if wrong:
        return Finding("instruments", "problem", f"cannot be read: {'; '.join(wrong)}", "Correct what is named.")
    return Finding("instruments", "ok", ", ".join(file.stem for file in files))


def waves(project: Project) -> Finding:
    """Whether there are waves, and what each declares can be read; their data are for `perception check`."""
    from perception.project import open_wave

    known = project.wave_ids()
    if not known:
        what = f"{project.waves} holds no wave, so there is nothing to run"
        remedy = "Put one in place with perception add-wave, or write samples with perception simulate."
        return Finding("waves", "warning", what, remedy)
    wrong = []
    for wave in known:
        try:
            open_wave(project, wave)
        except (InputError, OSError) as error:
            wrong.append((wave, _first(error)))
    if wrong:
        what = f"cannot be run: {'; '.join(f'{wave}: {first}' for wave, first in wrong)}"
        return Finding("waves", "problem", what, f"List all that is wrong with perception check {wrong[0][0]}.")
    return Finding("waves", "ok", ", ".join(known))


def disk(project: Project) -> Finding:
    """Whether there is room for what a run makes, which is written beside what is there before it takes its place."""
    made = sum(_bytes(file) for file in project.internal.parent.rglob("*"))
    needed = max(made, MADE_OF_A_WAVE * len(project.wave_ids()))
    free = shutil.disk_usage(_nearest(project.internal)).free
    what = f"{_size(free)} free; a run of all waves makes about {_size(needed)}"
    remedy = "Make room: delete old exports, or move the project to a larger disk."
    if free < needed:
        return Finding("disk", "problem", f"{what}, so it may stop half-way", remedy)
    if free < 2 * needed:
        return Finding("disk", "warning", f"{what}, so a release may find no room", remedy)
    return Finding("disk", "ok", what)


def writable(folder: Path) -> Finding:
    """Whether files can be written in a folder, or in the nearest one above it where it would be made."""
    name = f"write {folder.parent.name}/{folder.name}"
    there = _nearest(folder)
    for place in (there, *(path for path in sorted(there.glob("*")) if there == folder and path.is_dir())):
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            what = f"{place} cannot be written ({error.strerror}), so runs and releases fail"
            return Finding(name, "problem", what, "Give your user the right to write there.")
    return Finding(name, "ok", str(folder) if there == folder else f"{folder} can be made")


def warehouse(name: str, file: Path) -> Finding:
    """Whether a DuckDB file opens and says which tables it has."""
    import duckdb

    if not file.exists():
        return Finding(name, "ok", "not made yet: perception run makes them")
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            count = len(connection.execute("SELECT table_name FROM duckdb_tables()").fetchall())
    except duckdb.Error as error:
        what = f"{file} cannot be read, so nobody can query it: {_first(error)}"
        return Finding(name, "problem", what, "Delete the file and make it again with perception run.")
    return Finding(name, "ok", f"{count} tables in {file}")


def locks(project: Project) -> Finding:
    """Whether a run or a release is at work; a lock ends with the process that held it, so none is ever left over."""
    from filelock import FileLock, Timeout

    held = []
    for file in sorted((project.internal / "locks").glob("*.lock")):
        try:
            with FileLock(file, timeout=0):
                pass
        except Timeout:
            held.append(file.stem)
        except OSError as error:
            what = f"{file} cannot be opened ({error.strerror}), so no run can start"
            return Finding("locks", "problem", what, "Give your user the right to write there.")
    if held:
        what = f"a run or a release is at work on: {', '.join(held)}; another would wait for it"
        return Finding("locks", "warning", what, "Wait for it to end.")
    return Finding("locks", "ok", "no run or release is at work")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _bytes(file: Path) -> int:
    try:
        return 0 if file.is_dir() else file.lstat().st_size
    except OSError:  # a run that is at work has just replaced it
        return 0


def _first(error: Exception) -> str:
    """The first thing that an error says."""
    if isinstance(error, InputError):
        more = len(error.problems) - 1
        return f"{error.problems[0].where}: {error.problems[0].what}" + (f" (and {more} more)" if more else "")
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _size(size: int) -> str:
    return f"{size / 1000 / MEGABYTE:,.1f} GB" if size >= 1000 * MEGABYTE else f"{size / MEGABYTE:,.0f} MB"
