"""The `perception` command: add, check, run and remove waves, release and export, simulate, look for what is amiss.

Commands import what they need inside their functions, so that help and shell completion come at once. Each returns
what it did as facts; what it prints goes to standard output, or with `--json` to standard error, beside the facts.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perception.errors import InputError, Problem

if TYPE_CHECKING:
    from perception.project import Project
    from pipelines.runner import Progress, RunFailure

Facts = dict[str, Any]
"""What a command did, for JSON: its own entries, and `problems` (each where, what, remedy) where there are any."""

DONE, FAILED, INTERRUPTED = 0, 1, 130
FAILED_STAGE = "failed"
PLAIN_WIDTH = 400
"""Columns of a table that goes to a file or another program: none is cut."""
NOT_MATCHED_SHOWN = 10

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Citizen perception surveys: from a wave folder to published district rankings and maps.",
    epilog="""
[bold]For example[/bold]
perception check kp-2024
perception run

[bold]Exit codes[/bold]
0    done
1    the input or the run failed: what is wrong is listed, with remedies
2    wrong usage: an unknown command or option
130  stopped by Ctrl-C
""".strip(),
)
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="One JSON object on standard output, all else on standard error")
]


def _command(name: str, *examples: str) -> Callable[[Callable[..., Facts]], Callable[..., Facts]]:
    """Register a command with its examples; it ends as every command does (see `_end`)."""

    def register(body: Callable[..., Facts]) -> Callable[..., Facts]:
        @functools.wraps(body)
        def command(**given: Any) -> None:
            raise typer.Exit(_end(name, body, given))

        app.command(name, epilog="\n".join(["[bold]For example[/bold]", *map(escape, examples)]))(command)
        return body

    return register


def _end(name: str, body: Callable[..., Facts], given: dict[str, Any]) -> int:
    """Run a command and return its exit code. Whatever stops it is said in a line with its remedy, not in a trace."""
    as_json = given.get("as_json", False)
    # Also what a library prints must not come between a program and its JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    code = None
    with aside:
        try:
            facts = body(**given)
        except InputError as error:
            facts = {"problems": list(map(asdict, error.problems))}
            _show(facts["problems"])
        except KeyboardInterrupt:
            code, what = INTERRUPTED, "stopped by Ctrl-C"
            remedy = "What was complete stays as it is; the same command does the rest."
            facts = {"problems": [asdict(Problem(f"perception {name}", what, remedy))]}
            _print(err, f"\nStopped by Ctrl-C. {remedy}")
        except BrokenPipeError:  # who read what is printed has gone: nobody to tell
            raise
        except Exception as error:
            facts = {"problems": [_unexpected(name, error)]}
            _show(facts["problems"])
    problems = facts.pop("problems", [])
    if as_json:
        print(json.dumps({"command": name, "ok": not problems, **facts, "problems": problems}))
    return (FAILED if problems else DONE) if code is None else code


def _unexpected(name: str, error: Exception) -> dict[str, str]:
    """An error that nobody foresaw, as a problem that says where its trace is."""
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    trace = "".join(traceback.format_exception(error))
    remedy = "perception doctor may know why."
    try:
        remedy += f" The trace is in {_keep_trace(trace)}"
    except OSError:  # the disk is full, say
        print(trace, file=sys.stderr)
    return asdict(Problem(f"perception {name}", what, remedy))


def _keep_trace(trace: str) -> Path:
    """Write a trace where only the user can read it: it may hold answers of respondents."""
    try:
        from perception.project import Project, project_root

        file = Project(project_root()).internal / "last-error.txt"
        file.write_text(trace, encoding="utf-8", errors="backslashreplace")
    except (ImportError, OSError):  # a package is broken, or nothing has been made in this project
        descriptor, name = tempfile.mkstemp(prefix="perception-error-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as opened:
            opened.write(trace)
        return Path(name)
    return file


def _print(console: Console, text: str) -> None:
    """Print text so that no path is cut: on a terminal lines break between words, elsewhere not at all."""
    console.print(text, soft_wrap=not console.is_terminal, overflow="ignore", crop=False)


def _show(problems: Sequence[dict[str, str]]) -> None:
    for problem in problems:
        _print(err, f"[red]✗[/red] [bold]{escape(problem['where'])}[/bold]: {escape(problem['what'])}")
        _print(err, f"  {escape(problem['remedy'])}")


def _project() -> Project:
    from perception.project import PROJECT_VARIABLE, Project, project_root

    project = Project(project_root())
    if not project.reference.is_dir():
        remedy = f"Change into a project folder, or name it in ${PROJECT_VARIABLE}."
        raise InputError([Problem(str(project.root), "is no project: it has no data/raw/reference", remedy)])
    return project


def _waves(incomplete: str) -> list[str]:
    from perception.project import Project, project_root

    return _starting(incomplete, Project(project_root()).wave_ids())


def _instruments(incomplete: str) -> list[str]:
    from perception.project import Project, project_root

    return _starting(incomplete, (file.stem for file in Project(project_root()).instruments.glob("*.yml")))


def _of_figures(name: str) -> Callable[[str], list[str]]:
    """What completes `name` (wave, indicator, district, kind) of the figures that can be exported."""

    def complete(incomplete: str) -> list[str]:
        from perception.project import Project, project_root
        from perception.publish.release import newest_release

        project = Project(project_root())
        try:
            index = (newest_release(project) or project.site) / "embeds.json"
            figures = json.loads(index.read_text(encoding="utf-8"))["embeds"]
        except (OSError, ValueError, KeyError):
            return []  # nothing can be exported yet
        return _starting(incomplete, {figure[name] for figure in figures if figure[name]})

    return complete


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


@_command("add-wave", "perception add-wave ~/kp-2024", "perception add-wave recipes/mics-punjab-2018 --files ~/mics")
def add_wave_command(
    source: Annotated[Path, typer.Argument(help="A recipe or wave folder: it holds wave.yml")],
    files: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder with the data files (default: SOURCE itself)")
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Put a wave in place under data/raw/waves and record the checksums of its files."""
    from perception.wave_folders import add_wave

    folder = add_wave(_project(), source, files)
    then = f"perception check {folder.name}, perception run --wave {folder.name}"
    _print(out, f"Wave {folder.name} is in place. Next: {then}")
    return {"wave": folder.name, "folder": str(folder)}


@_command(
    "new-wave",
    "perception new-wave kp-2027 --from export.csv --like kp-2024",
    "perception new-wave kp-2027 --from a.csv --from b.csv --xlsform form.xlsx",
)
def new_wave_command(
    wave: Annotated[str, typer.Argument(help="Id of the new wave: lower-case letters, digits, hyphens")],
    files: Annotated[
        list[Path],
        typer.Option(
            "--from", metavar="FILE", help="Data file as exported; the first is the main one, others are joined"
        ),
    ],
    xlsform: Annotated[
        Path | None, typer.Option(metavar="FILE", help="XLSForm of the questionnaire: wording, choices, filters")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="An earlier wave to follow: its names, codes and design", metavar="WAVE", autocompletion=_waves
        ),
    ] = None,
    instrument: Annotated[
        str | None,
        typer.Option(help="Questionnaire id (default: that of --like)", metavar="ID", autocompletion=_instruments),
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Draft a wave folder from data files; every guess in its wave.yml is marked `# check` and blocks it."""
    from perception.intake.wave_file import WAVE_FILE
    from perception.wave_folders import new_wave

    folder, guesses = new_wave(_project(), wave, files, xlsform, like, instrument)
    _print(out, f"Wave {wave} is drafted: {escape(str(folder / WAVE_FILE))}")
    _print(
        out,
        f"{guesses} guess{'es are' if guesses != 1 else ' is'} marked `# check`: correct each or leave it, then delete "
        f"the mark. Next: perception check {wave}",
    )
    return {"wave": wave, "folder": str(folder), "guesses": guesses}


@_command("check", "perception check kp-2024", "perception check kp-2024 --json")
def check(
    wave: Annotated[
        str, typer.Argument(help="Wave id: the name of its folder under data/raw/waves", autocompletion=_waves)
    ],
    as_json: AsJson = False,
) -> Facts:
    """List every problem that would stop a wave; nothing is written."""
    from perception.wave_folders import wave_problems

    problems = list(map(asdict, wave_problems(_project(), wave)))
    if problems:
        _print(err, f"Wave {escape(wave)}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        _show(problems)
    else:
        _print(out, f"Wave {escape(wave)}: no problem found")
    return {"wave": wave, "problems": problems}


@_command("run", "perception run", "perception run --wave kp-2024 --wave punjab-2024")
def run(
    wave: Annotated[
        list[str] | None,
        typer.Option(
            help="Wave id, made even if nothing changed; may be given several times (default: what changed)",
            metavar="WAVE",
            autocompletion=_waves,
        ),
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Materialise waves and publish: estimates, rankings, drivers, warehouse, maps and pages.

    Without --wave, waves and pages stay as they are when nothing that they are made from has changed.
    """
    project = _project()
    known = project.wave_ids()
    if strangers := [name for name in wave or [] if name not in known]:
        remedy = f"Waves are: {', '.join(known) or 'none yet'}. Put one in place with perception add-wave."
        raise InputError(Problem(f"wave {name}", "there is no such wave folder", remedy) for name in strangers)
    if not known:
        remedy = "Put one in place with perception add-wave."
        raise InputError([Problem(str(project.waves), "holds no wave", remedy)])
    return _run(project, list(dict.fromkeys(wave)) if wave else None, known)


def _run(project: Project, named: list[str] | None, known: list[str]) -> Facts:
    from pipelines.runner import PUBLISHING, UNCHANGED, boundaries_not_matched, run_waves, update

    waves = named or known
    outcomes = dict.fromkeys([*waves, PUBLISHING], "made")
    with _followed([*waves, PUBLISHING]) as follow:

        def progress(place: str, stage: str, done: int, total: int) -> None:
            if stage.startswith("Dependencies for step"):  # Dagster on what a failed step keeps from being made
                return
            if stage == UNCHANGED:
                outcomes[place] = UNCHANGED
            follow(place, stage, done, total)

        failures = run_waves(project, named, progress) if named else update(project, progress)
        for failure in failures:
            outcomes[failure.wave] = FAILED_STAGE
            follow(failure.wave, FAILED_STAGE, 0, 0)
    if kept := [wave for wave in waves if outcomes[wave] == UNCHANGED]:
        _print(out, f"Unchanged since their last complete run: {', '.join(kept)}")
    if outcomes[PUBLISHING] == UNCHANGED:
        _print(out, "Pages and public tables are those of the last run: nothing they are made from has changed.")
    counts, not_matched = {}, []
    if outcomes[PUBLISHING] != FAILED_STAGE:
        counts = _summarised(project, [wave for wave in waves if outcomes[wave] != FAILED_STAGE])
        not_matched = boundaries_not_matched(project)
        _print_not_matched(not_matched)
    problems = _run_problems(failures)
    _show(problems)
    return {
        "waves": [{"wave": wave, "outcome": outcomes[wave], **counts.get(wave, {})} for wave in waves],
        "publishing": outcomes[PUBLISHING],
        **_places(project),
        "boundaries_not_matched": not_matched,
        "problems": problems,
    }


def _run_problems(failures: list[RunFailure]) -> list[dict[str, str]]:
    from pipelines.runner import PUBLISHING

    return [
        {
            "where": f"{failure.wave}, asset {failure.asset}",
            "what": failure.cause,
            "remedy": "Pages and public tables may still be those of the run before."
            if failure.wave == PUBLISHING
            else "What is published of it is what its last complete run gave.",
        }
        for failure in failures
    ]


def _places(project: Project) -> dict[str, str]:
    return {
        "pages": str(project.site / "index.html"),
        "public_tables": str(project.public_warehouse),
        "internal_tables": str(project.internal_warehouse),
    }


@contextlib.contextmanager
def _followed(places: list[str]) -> Iterator[Progress]:
    """What a run reports its progress to: bars on a terminal, elsewhere a line when a place begins and ends."""
    if not err.is_terminal:
        yield _in_lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[place]:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description:<20}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=err) as bars:
        tasks = {place: bars.add_task("waiting", place=place, total=None, start=False) for place in places}

        def follow(place: str, stage: str, done: int, total: int) -> None:
            if stage == FAILED_STAGE:
                bars.update(tasks[place], description=f"[red]{stage}[/red]")
                return
            if total == 0:  # nothing had to be made
                done = total = 1
            if done == 1:
                bars.start_task(tasks[place])
            bars.update(tasks[place], description=stage, completed=done, total=total)

        yield follow


def _in_lines() -> Progress:
    begun: dict[str, float] = {}
    steps: dict[str, int] = {}

    def follow(place: str, stage: str, done: int, total: int) -> None:
        if place not in begun and total > 0:
            begun[place] = monotonic()
            _print(err, f"{place}: begun")
        if 0 < done == total:
            _print(err, f"{place}: made in {monotonic() - begun[place]:.0f} s")
        elif done == steps.get(place, 0):  # no step was finished: it is a message
            _print(err, f"{place}: {escape(stage)}")
        steps[place] = done

    return follow


def _summarised(project: Project, waves: list[str]) -> dict[str, Facts]:
    """Print what was published of the waves, the lowest districts and where it all is; return the counts by wave."""
    from pipelines.runner import lowest_districts, wave_summary

    summary = wave_summary(project, waves)
    if summary.empty:
        return {}
    names = ("respondents", "districts", "published", "suppressed")
    counts = {
        str(row["wave"]): {"simulated": bool(row["simulated"]), **{name: int(row[name]) for name in names}}
        for row in summary.to_dict("records")
    }
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("wave", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for wave, facts in counts.items():
        label = f"{wave} (simulated)" if facts["simulated"] else wave
        table.add_row(label, *(f"{facts[name]:,}" for name in names))
    out.print(table, width=None if out.is_terminal else PLAIN_WIDTH, crop=False)
    for (wave, label), rows in lowest_districts(project, waves).groupby(["wave", "label"]):
        _print(out, f"\n[bold]{wave}[/bold], lowest: {escape(label)} (places they may hold in their province, 90 %)")
        for row in rows.itertuples():
            _print(out, f"  {escape(row.district):<24} {row.rank_low} to {row.rank_high} of {row.districts}")
    out.print()
    for label, place in zip(("Pages", "Public tables", "Internal tables"), _places(project).values(), strict=True):
        _print_place(label, place)
    return counts


def _print_not_matched(lines: list[str]) -> None:
    if lines:
        _print(out, f"\nThe boundary file does not match everywhere, {len(lines)} lines:")
        for line in lines[:NOT_MATCHED_SHOWN]:
            _print(out, f"  {escape(line)}")
        if len(lines) > NOT_MATCHED_SHOWN:
            _print(out, "  ... and more: perception run --json has all. See docs/how-to/official-boundaries.md.")


def _print_place(label: str, place: object) -> None:
    """A label and a path or address, in one line that can be copied whatever the width."""
    out.print(f"{label:<15}  {escape(str(place))}", soft_wrap=True)


@_command("remove-wave", "perception remove-wave kp-2018")
def remove_wave_command(
    wave: Annotated[str, typer.Argument(help="Wave id", autocompletion=_waves)], as_json: AsJson = False
) -> Facts:
    """Take a wave out: its folder moves to data/raw/removed-waves and the rest is published again."""
    from perception.wave_folders import remove_wave
    from pipelines.runner import PUBLISHING, forget_wave, publish

    project = _project()
    place = remove_wave(project, wave)
    forget_wave(project, wave)
    with _followed([PUBLISHING]) as follow:
        failures = publish(project, follow)
    if failures:
        _print(err, f"Wave {wave} is still on the published pages and tables until `perception run` succeeds.")
    problems = _run_problems(failures)
    _show(problems)
    _print(out, f"Wave {wave} is out" + (f"; its folder is now {escape(str(place))}" if place else ""))
    return {"wave": wave, "folder": str(place) if place else None, "problems": problems}


@_command(
    "release",
    'perception release --address https://example.org/surveys/ --note "First"',
    'perception release --note "KP 2024 added"',
)
def release(
    note: Annotated[str, typer.Option(metavar="TEXT", help="What is new, for the log of revisions")],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="https address under which data/releases will be served; the first release needs it"
        ),
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Copy the site and the public tables into data/releases as the next version, which never changes.

    Then put the whole of data/releases on a web server. Embeds below latest/ always show the newest version.
    """
    from perception.publish.release import release as make_release

    made = make_release(_project(), address, note, date.today())
    for warning in made.warnings:
        _print(err, f"[yellow]![/yellow] {escape(warning)}")
    changes = made.revision["changes"]
    for what, waves in changes["waves"].items():
        if waves:
            _print(out, f"Waves {what}: {', '.join(waves)}")
    _print(out, "Files " + ", ".join(f"{what}: {count:,}" for what, count in changes["files"].items()))
    its_address = f"{made.revision['address']}v{made.version}/"
    _print_place(f"Version {made.version}", made.folder)
    _print_place("Its address", its_address)
    return {
        "version": made.version,
        "folder": str(made.folder),
        "address": its_address,
        "changes": changes,
        "warnings": list(made.warnings),
    }


@_command(
    "export",
    "perception export brief --wave kp-2024 --kind map --kind ranking",
    "perception export swat --district kp-swat",
)
def export(
    to: Annotated[Path, typer.Argument(help="Folder for the brief: empty or not there yet")],
    wave: Annotated[
        list[str] | None,
        typer.Option(help="Wave id; may be given several times", metavar="WAVE", autocompletion=_of_figures("wave")),
    ] = None,
    indicator: Annotated[
        list[str] | None,
        typer.Option(
            help="Indicator id; may be given several times",
            metavar="INDICATOR",
            autocompletion=_of_figures("indicator"),
        ),
    ] = None,
    district: Annotated[
        list[str] | None,
        typer.Option(
            help="District id; may be given several times", metavar="DISTRICT", autocompletion=_of_figures("district")
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="map, bands, change, uncertainty, tiles, ranking or card; may be given several times",
            metavar="KIND",
            autocompletion=_of_figures("kind"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Write chosen figures into a folder for a brief: images, data, captions, alt texts and citations.

    They come from the newest release, or from the preview where there is none.
    """
    from perception.publish.export import PREVIEW_WARNING
    from perception.publish.export import export as make_export

    chosen = {"waves": wave or [], "indicators": indicator or [], "districts": district or [], "kinds": kind or []}
    made = make_export(_project(), to, **chosen)
    warnings = [PREVIEW_WARNING] if made.version is None else []
    for warning in warnings:
        _print(err, f"[yellow]![/yellow] {escape(warning)}")
    origin = f"version {made.version}" if made.version else "the preview"
    plural = "s" if made.figures > 1 else ""
    page = made.folder / "brief.html"
    _print(out, f"{made.figures} figure{plural} of {origin} in {made.files} files: {escape(str(page))}")
    return {
        "folder": str(made.folder),
        "figures": made.figures,
        "files": made.files,
        "version": made.version,
        "warnings": warnings,
    }


@_command("simulate", "perception simulate", "perception simulate --full --to /tmp/waves")
def simulate(
    full: Annotated[
        bool, typer.Option("--full", metavar="", help="About 1,000 adults a district instead of 150")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for the waves (default: data/raw/waves, with --full data/raw/full-waves)"
        ),
    ] = None,
    as_json: AsJson = False,
) -> Facts:
    """Write the six simulated waves of the sample programme."""
    from perception.simulate.programme import write_simulated_waves

    project = _project()
    target = to or (project.root / "data/raw/full-waves" if full else project.waves)
    folders = write_simulated_waves(project.root / "data/raw", waves=target, full=full)
    for folder in folders:
        _print(out, f"Wave {folder.name} (simulated) written: {escape(str(folder))}")
    return {"waves": [{"wave": folder.name, "folder": str(folder)} for folder in folders]}


@_command("doctor", "perception doctor", "perception doctor --json")
def doctor(as_json: AsJson = False) -> Facts:
    """Check the installation and the project: packages, disk, rights, inputs, what was made; nothing is written."""
    from pipelines.doctor import findings

    marks = {"ok": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "problem": "[red]✗[/red]"}
    checks = []
    for found in findings():
        checks.append(found)
        _print(out, f"{marks[found.verdict]} [bold]{found.check}[/bold]: {escape(found.what)}")
        if found.remedy:
            _print(out, f"  {escape(found.remedy)}")
    counts = {verdict: sum(found.verdict == verdict for found in checks) for verdict in ("problem", "warning")}
    _print(out, ", ".join(f"{count or 'no'} {name}{'' if count == 1 else 's'}" for name, count in counts.items()))
    problems = [
        asdict(Problem(found.check, found.what, found.remedy)) for found in checks if found.verdict == "problem"
    ]
    return {"checks": list(map(asdict, checks)), "problems": problems}


@_command("ui", "perception ui", "perception ui --port 3001")
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1", min=1, max=65535)] = 3000) -> NoReturn:
    """Open the Dagster UI on this machine, with the project's own run history."""
    from perception.project import PROJECT_VARIABLE
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
    for stream in (sys.stdout, sys.stderr):  # names in Urdu do not stop a command where only ASCII can be written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
