"""The `perception` command: add, check, run and remove waves, release and export, simulate, open the Dagster UI."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perception.errors import InputError, Problem
from perception.intake.wave_file import WAVE_FILE
from perception.project import PROJECT_VARIABLE, Project, project_root
from perception.wave_folders import add_wave, new_wave, remove_wave, wave_problems

if TYPE_CHECKING:
    from pipelines.runner import RunFailure

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Citizen perception surveys: from a wave folder to published district rankings and maps.",
)
out = Console()
err = Console(stderr=True)


def _project() -> Project:
    project = Project(project_root())
    if not project.reference.is_dir():
        remedy = f"Change into a project folder, or name it in ${PROJECT_VARIABLE}."
        raise _stop([Problem(str(project.root), "is no project: it has no data/raw/reference", remedy)])
    return project


def _stop(problems: tuple[Problem, ...] | list[Problem]) -> typer.Exit:
    for problem in problems:
        err.print(f"[red]✗[/red] [bold]{escape(problem.where)}[/bold]: {escape(problem.what)}")
        err.print(f"  {escape(problem.remedy)}")
    return typer.Exit(1)


@app.command("add-wave")
def add_wave_command(
    source: Annotated[Path, typer.Argument(help="A recipe or wave folder: it holds wave.yml")],
    files: Annotated[Path | None, typer.Option(help="Folder with the data files (default: SOURCE itself)")] = None,
) -> None:
    """Put a wave in place under data/raw/waves and record the checksums of its files."""
    try:
        folder = add_wave(_project(), source, files)
    except InputError as error:
        raise _stop(error.problems) from None
    out.print(
        f"Wave {folder.name} is in place. Next: perception check {folder.name}, perception run --wave {folder.name}"
    )


@app.command("new-wave")
def new_wave_command(
    wave: Annotated[str, typer.Argument(help="Id of the new wave: lower-case letters, digits, hyphens")],
    files: Annotated[
        list[Path], typer.Option("--from", help="Data file as exported; the first is the main one, others are joined")
    ],
    xlsform: Annotated[
        Path | None, typer.Option(help="XLSForm of the questionnaire: wording, choices, filters")
    ] = None,
    like: Annotated[str | None, typer.Option(help="An earlier wave to follow: its names, codes and design")] = None,
    instrument: Annotated[str | None, typer.Option(help="Questionnaire id (default: that of --like)")] = None,
) -> None:
    """Draft a wave folder from data files; every guess in its wave.yml is marked `# check` and blocks it."""
    try:
        folder, guesses = new_wave(_project(), wave, files, xlsform, like, instrument)
    except InputError as error:
        raise _stop(error.problems) from None
    out.print(f"Wave {wave} is drafted: {folder / WAVE_FILE}", soft_wrap=True)
    out.print(
        f"{guesses} guess{'es are' if guesses != 1 else ' is'} marked `# check`: correct each or leave it, then delete "
        f"the mark. Next: perception check {wave}"
    )


@app.command()
def check(wave: Annotated[str, typer.Argument(help="Wave id: the name of its folder under data/raw/waves")]) -> None:
    """List every problem that would stop a wave; nothing is written."""
    problems = wave_problems(_project(), wave)
    if problems:
        err.print(f"Wave {escape(wave)}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        raise _stop(problems)
    out.print(f"Wave {escape(wave)}: no problem found")


@app.command()
def run(
    wave: Annotated[
        list[str] | None,
        typer.Option(help="Wave id, made even if nothing changed; may be given several times (default: what changed)"),
    ] = None,
) -> None:
    """Materialise waves and publish: estimates, rankings, drivers, warehouse, maps and pages.

    Without --wave, waves and pages stay as they are when nothing that they are made from has changed.
    """
    project = _project()
    known = project.wave_ids()
    if strangers := [name for name in wave or [] if name not in known]:
        remedy = f"Waves are: {', '.join(known) or 'none yet'}. Put one in place with perception add-wave."
        raise _stop([Problem(f"wave {name}", "there is no such wave folder", remedy) for name in strangers])
    if not known:
        remedy = "Put one in place with perception add-wave."
        raise _stop([Problem(str(project.waves), "holds no wave", remedy)])
    raise typer.Exit(_run(project, list(dict.fromkeys(wave)) if wave else None, known))


def _run(project: Project, named: list[str] | None, known: list[str]) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pipelines.runner import PUBLISHING, UNCHANGED, run_waves, update

    waves, unchanged = named or known, []

    columns = (
        TextColumn("{task.fields[place]:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description:<20}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=err) as bars:
        tasks = {
            place: bars.add_task("waiting", place=place, total=None, start=False) for place in [*waves, PUBLISHING]
        }

        def progress(place: str, stage: str, done: int, total: int) -> None:
            if stage == UNCHANGED:
                unchanged.append(place)
                done = total = 1
            if done == 1:
                bars.start_task(tasks[place])
            bars.update(tasks[place], description=stage, completed=done, total=total)

        failures = run_waves(project, named, progress) if named else update(project, progress)
        failed = {failure.wave for failure in failures}
        for place in failed:
            bars.update(tasks[place], description="[red]failed[/red]")
    _print_failures(failures)
    if failures:
        err.print("What is published of them is what their last complete run gave.")
    if kept := [wave for wave in waves if wave in unchanged]:
        out.print(f"Unchanged since their last complete run: {', '.join(kept)}", soft_wrap=True)
    if PUBLISHING in unchanged:
        out.print("Pages and public tables are those of the last run: nothing they are made from has changed.")
    if PUBLISHING not in failed:
        _print_summary(project, [wave for wave in waves if wave not in failed])
    return 1 if failures else 0


def _print_failures(failures: list[RunFailure]) -> None:
    for failure in failures:
        place, cause = escape(failure.wave), escape(failure.cause)
        err.print(f"[red]✗[/red] [bold]{place}[/bold], asset {failure.asset}: {cause}")


def _print_summary(project: Project, waves: list[str]) -> None:
    from pipelines.runner import lowest_districts, wave_summary

    summary = wave_summary(project, waves)
    if summary.empty:
        return
    counts = Table(box=None, header_style="bold", pad_edge=False)
    counts.add_column("wave", no_wrap=True)
    for name in ("respondents", "districts", "published", "suppressed"):
        counts.add_column(name, justify="right")
    for row in summary.itertuples():
        numbers = (row.respondents, row.districts, row.published, row.suppressed)
        counts.add_row(f"{row.wave} (simulated)" if row.simulated else str(row.wave), *(f"{n:,}" for n in numbers))
    out.print(counts)
    for (wave, label), rows in lowest_districts(project, waves).groupby(["wave", "label"]):
        out.print(f"\n[bold]{wave}[/bold], lowest: {escape(label)} (places they may hold in their province, 90 %)")
        for row in rows.itertuples():
            out.print(f"  {escape(row.district):<24} {row.rank_low} to {row.rank_high} of {row.districts}")
    out.print(f"\nPages            {project.site / 'index.html'}", soft_wrap=True)
    out.print(f"Public tables    {project.public_warehouse}", soft_wrap=True)
    out.print(f"Internal tables  {project.internal_warehouse}", soft_wrap=True)


@app.command("remove-wave")
def remove_wave_command(wave: Annotated[str, typer.Argument(help="Wave id")]) -> None:
    """Take a wave out: its folder moves to data/raw/removed-waves and the rest is published again."""
    from pipelines.runner import forget_wave, publish

    project = _project()
    try:
        place = remove_wave(project, wave)
    except InputError as error:
        raise _stop(error.problems) from None
    forget_wave(project, wave)
    failures = publish(project, lambda *_: None)
    if failures:
        err.print(f"Wave {wave} is still on the published pages and tables until `perception run` succeeds.")
    _print_failures(failures)
    out.print(f"Wave {wave} is out" + (f"; its folder is now {place}" if place else ""), soft_wrap=True)
    raise typer.Exit(1 if failures else 0)


@app.command()
def release(
    note: Annotated[str, typer.Option(help="What is new, for the log of revisions")],
    address: Annotated[
        str | None,
        typer.Option(help="https address under which data/releases will be served; the first release needs it"),
    ] = None,
) -> None:
    """Copy the site and the public tables into data/releases as the next version, which never changes.

    Then put the whole of data/releases on a web server. Embeds below latest/ always show the newest version.

    For example:

    perception release --address https://example.org/surveys/ --note "First release"

    perception release --note "KP 2024 added"
    """
    from perception.publish.release import release as make_release

    project = _project()
    try:
        made = make_release(project, address, note, date.today())
    except InputError as error:
        raise _stop(error.problems) from None
    for warning in made.warnings:
        err.print(f"[yellow]![/yellow] {escape(warning)}")
    changes = made.revision["changes"]
    for what, waves in changes["waves"].items():
        if waves:
            out.print(f"Waves {what}: {', '.join(waves)}")
    out.print("Files " + ", ".join(f"{what}: {count:,}" for what, count in changes["files"].items()))
    out.print(f"Version {made.version}    {made.folder}", soft_wrap=True)
    out.print(f"Its address  {made.revision['address']}v{made.version}/", soft_wrap=True)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="Folder for the brief: empty or not there yet")],
    wave: Annotated[list[str] | None, typer.Option(help="Wave id; may be given several times")] = None,
    indicator: Annotated[list[str] | None, typer.Option(help="Indicator id; may be given several times")] = None,
    district: Annotated[list[str] | None, typer.Option(help="District id; may be given several times")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="map, bands, change, uncertainty, tiles, ranking or card; may be given several times"),
    ] = None,
) -> None:
    """Write chosen figures into a folder for a brief: images, data, captions, alt texts and citations.

    They come from the newest release, or from the preview where there is none.

    For example:

    perception export brief --wave kp-2024 --indicator satisfied_district --kind map --kind ranking

    perception export swat --district kp-swat
    """
    from perception.publish.export import PREVIEW_WARNING
    from perception.publish.export import export as make_export

    project = _project()
    chosen = {"waves": wave or [], "indicators": indicator or [], "districts": district or [], "kinds": kind or []}
    try:
        made = make_export(project, to, **chosen)
    except InputError as error:
        raise _stop(error.problems) from None
    if made.version is None:
        err.print(f"[yellow]![/yellow] {escape(PREVIEW_WARNING)}")
    origin = f"version {made.version}" if made.version else "the preview"
    plural = "s" if made.figures > 1 else ""
    out.print(
        f"{made.figures} figure{plural} of {origin} in {made.files} files: {made.folder / 'brief.html'}", soft_wrap=True
    )


@app.command()
def simulate(
    full: Annotated[bool, typer.Option("--full", help="About 1,000 adults a district instead of 150")] = False,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder for the waves (default: data/raw/waves, with --full data/raw/full-waves)"),
    ] = None,
) -> None:
    """Write the six simulated waves of the sample programme."""
    from perception.simulate.programme import write_simulated_waves

    project = _project()
    target = to or (project.root / "data/raw/full-waves" if full else project.waves)
    for folder in write_simulated_waves(project.root / "data/raw", waves=target, full=full):
        out.print(f"Wave {folder.name} (simulated) written: {folder}", soft_wrap=True)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1")] = 3000) -> None:
    """Open the Dagster UI on this machine, with the project's own run history."""
    from pipelines.runner import open_instance

    project = _project()
    open_instance(project).dispose()
    dagster = Path(sys.executable).with_name("dagster")
    command = [
        str(dagster),
        "dev",
        "--workspace",
        str(project.root / "workspace.yaml"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = os.environ | {"PYTHONWARNINGS": "ignore", PROJECT_VARIABLE: str(project.root)}
    os.chdir(environment["DAGSTER_HOME"])
    os.execve(command[0], command, environment)


def main() -> None:
    """Entry point of the `perception` command."""
    app()
