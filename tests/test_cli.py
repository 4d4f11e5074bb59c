"""The `perception` command: help, exit codes, JSON for machines, what it prints where, and `perception doctor`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from perception import wave_folders
from perception.intake import raw
from perception.project import PROJECT_VARIABLE, Project
from perception.publish import release as releases
from perception.simulate import programme
from pipelines import cli, doctor, runner
from tests.conftest import FIRST, ROOT, SMALL_WAVE, write_small_wave

COMMANDS = ("add-wave", "new-wave", "check", "run", "remove-wave", "release", "export", "simulate", "doctor", "ui")
README = (ROOT / "README.md").read_text(encoding="utf-8")
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(small_project: Project, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The command, on the small project."""
    monkeypatch.setenv(PROJECT_VARIABLE, str(small_project.root))
    return lambda *words: CliRunner().invoke(cli.app, list(map(str, words)))


def answer(result: Result) -> dict[str, Any]:
    """What a command wrote for machines: one object in one line, and nothing else."""
    assert result.stdout.count("\n") == 1, result.stdout
    given = json.loads(result.stdout)
    assert given["ok"] == (result.exit_code == 0)
    assert all(set(problem) == {"where", "what", "remedy"} for problem in given["problems"])
    assert set(given) - {"command", "ok", "problems"} in (documented(given["command"]), set())
    return dict(given)


def documented(command: str) -> set[str]:
    """The entries that README says the object of a command has (the first level only)."""
    line = next(line for line in README.splitlines() if line.startswith(f"| `{command}` |"))
    told = re.sub(r"\([^)]*\)", "", line.split("|")[2])
    return {
        name
        for part in told.split(";")
        for name in re.findall(r"`(\w+)`", part.split(": list of")[0] if ": list of" in part else part)
    }


def run_command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, its output piped."""
    code = "import sys; sys.argv[0] = 'perception'; from pipelines.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_fits_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(cli.app, [command, "--help"])
    assert said.exit_code == 0
    lines = [line.strip() for line in said.output.splitlines()]
    examples = [line for line in lines[lines.index("For example") + 1 :] if line]
    assert examples
    assert all(line.startswith(f"perception {command}") for line in examples)  # none was broken into two lines
    assert max(map(len, said.output.splitlines())) <= 80
    assert "\x1b" not in said.output
    assert "…" not in said.output


def test_every_command_is_tested_here_and_help_tells_the_exit_codes() -> None:
    said = CliRunner().invoke(cli.app, ["--help"]).output
    assert {info.name for info in cli.app.registered_commands} == set(COMMANDS)
    assert [line.split()[0] for line in said.splitlines() if re.match(r" (0|1|2|130)  ", line)] == [
        "0",
        "1",
        "2",
        "130",
    ]


def test_help_imports_nothing_large() -> None:
    code = "import sys, pipelines.cli; print(*{'pandas', 'numpy', 'dagster', 'pydantic', 'duckdb'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.strip() == ""


@pytest.mark.parametrize(
    "words", [["nonsense"], ["check"], ["check", FIRST, "--nonsense"], ["ui", "--port", "70000"], ["release", "--json"]]
)
def test_wrong_usage_ends_with_2_and_prints_nothing_for_machines(invoke: Invoke, words: list[str]) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_check_tells_machines_what_it_tells_people(invoke: Invoke, small_project: Project) -> None:
    assert answer(invoke("check", FIRST, "--json")) == {"command": "check", "ok": True, "wave": FIRST, "problems": []}
    answers = small_project.waves / FIRST / "answers.csv"
    answers.write_text(re.sub(r",[01]$", ",77", answers.read_text(), count=1, flags=re.M))
    result = invoke("check", FIRST, "--json")
    assert result.exit_code == 1
    (problem,) = answer(result)["problems"]
    assert problem["where"] == f"{FIRST}/answers.csv, column q2"
    assert "77" in problem["what"]
    for text in problem.values():
        assert text in result.stderr
    people = invoke("check", FIRST)
    assert people.stdout == ""
    assert people.stderr == result.stderr


def test_wrong_input_ends_with_1_and_lists_its_problems(invoke: Invoke, tmp_path: Path) -> None:
    for words in (
        ["check", "nowhere"],
        ["run", "--wave", "nowhere"],
        ["remove-wave", "nowhere"],
        ["add-wave", tmp_path],
        ["new-wave", "Bad Name", "--from", tmp_path / "absent.csv"],
        ["release", "--note", "First"],
        ["export", tmp_path / "brief", "--kind", "map"],
    ):
        result = invoke(*words, "--json")
        assert result.exit_code == 1
        given = answer(result)
        assert given["command"] == words[0]
        assert given["problems"]


def test_outside_a_project_every_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(tmp_path))
    for words in (["check", "any"], ["run"], ["simulate"], ["ui"], ["release", "--note", "First"]):
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 1
        assert "is no project" in result.stderr
        assert result.stdout == ""
    assert not any(tmp_path.iterdir())


def test_waves_are_added_and_drafted_for_machines(invoke: Invoke, small_project: Project, tmp_path: Path) -> None:
    delivered = write_small_wave(tmp_path / "second-2021", wave=SMALL_WAVE.replace(FIRST, "second-2021"))
    added = answer(invoke("add-wave", delivered, "--json"))
    assert (added["wave"], added["folder"]) == ("second-2021", str(small_project.waves / "second-2021"))
    drafted = answer(invoke("new-wave", "third-2021", "--from", delivered / "answers.csv", "--like", FIRST, "--json"))
    marks = (small_project.waves / "third-2021/wave.yml").read_text().count("# check")
    assert drafted["guesses"] == marks > 0


def test_run_tells_machines_the_outcome_of_each_wave(
    invoke: Invoke, small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(project: Project, waves: list[str], progress: runner.Progress) -> list[runner.RunFailure]:
        progress(FIRST, "raw_responses", 1, 2)
        progress(FIRST, "another run is at work", 1, 2)
        progress(FIRST, "Dependencies for step waves failed", 1, 2)
        print("a library says something")
        return [runner.RunFailure(place, "tidy_wave", "a [bold] cause") for place in (FIRST, runner.PUBLISHING)]

    monkeypatch.setattr(runner, "run_waves", fails)
    result = invoke("run", "--wave", FIRST, "--json")
    assert result.exit_code == 1
    given = answer(result)
    assert given["waves"] == [{"wave": FIRST, "outcome": "failed"}]
    assert given["publishing"] == "failed"
    assert [problem["what"] for problem in given["problems"]] == ["a [bold] cause"] * 2
    assert "Dependencies" not in result.stderr
    for said in (
        f"{FIRST}: begun",
        f"{FIRST}: another run is at work",
        "a library says something",
        f"✗ {FIRST}, asset tidy_wave: a [bold] cause",
    ):
        assert said in result.stderr


def test_a_finished_project_is_run_released_and_exported_for_machines(
    run_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(run_project.root))

    def json_of(*words: str | Path) -> dict[str, Any]:
        return answer(CliRunner().invoke(cli.app, [*map(str, words), "--json"]))

    monkeypatch.setattr(runner, "run_waves", lambda *_: [])
    (wave,) = (made := json_of("run", "--wave", FIRST))["waves"]
    assert (wave["wave"], wave["outcome"], wave["simulated"]) == (FIRST, "made", True)
    assert (wave["respondents"], wave["districts"]) == (600, 5)
    with duckdb.connect(made["public_tables"], read_only=True) as tables:
        query = "SELECT count(*) FILTER (quality <> 'suppress'), count(*) FILTER (quality = 'suppress') FROM "
        counts = tables.execute(query + "published_estimates").fetchone()
    assert (wave["published"], wave["suppressed"]) == counts
    monkeypatch.setattr(releases, "whole_publication", lambda _: "as it was left")  # before it was copied
    released = json_of("release", "--note", "First", "--address", "https://example.org/s")
    assert (released["version"], released["address"]) == (1, "https://example.org/s/v1/")
    assert released["changes"]["waves"]["added"] == [FIRST]
    assert Path(released["folder"], "index.html").is_file()
    exported = json_of("export", tmp_path / "brief", "--kind", "map")
    assert exported["version"] == 1
    assert exported["warnings"] == []
    completed = complete("perception export x --kind ", run_project.root)
    assert "map" in completed
    assert complete("perception export x --wave small", run_project.root) == [FIRST]
    for name in ("forget_wave", "publish"):
        monkeypatch.setattr(runner, name, lambda *_: [])
    assert json_of("remove-wave", FIRST)["folder"] == str(run_project.removed_waves / FIRST)


def test_simulated_waves_are_told_to_machines(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programme, "write_simulated_waves", lambda *_, waves, full: [waves / "kp-2018"])
    given = answer(invoke("simulate", "--to", tmp_path, "--json"))
    assert given["waves"] == [{"wave": "kp-2018", "folder": str(tmp_path / "kp-2018")}]


@pytest.mark.parametrize("made", [True, False])
def test_an_unforeseen_error_is_one_line_and_its_trace_a_file(
    invoke: Invoke, small_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("something\nnobody foresaw")

    monkeypatch.setattr(wave_folders, "wave_problems", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if made:
        small_project.make_folders()
    result = invoke("check", FIRST)
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first == "✗ perception check: RuntimeError: something nobody foresaw"
    trace = Path(second.split("The trace is in ")[1])
    assert trace.parent == (small_project.internal if made else tmp_path)
    assert "in fails" in trace.read_text()
    assert made or trace.stat().st_mode & 0o077 == 0
    assert "RuntimeError" in answer(invoke("check", FIRST, "--json"))["problems"][0]["what"]


def test_ctrl_c_ends_a_run_with_130_and_one_line_and_nothing_else_is_begun(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[object] = []
    monkeypatch.setattr(raw, "raw_responses", lambda *_: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(runner, "_publish", lambda *given: published.append(given) or [])
    result = invoke("run", "--wave", FIRST)
    assert result.exit_code == 130
    assert "\nStopped by Ctrl-C." in result.stderr
    assert result.stdout == ""
    assert published == []


def test_long_lines_and_paths_are_whole_when_piped(small_project: Project, tmp_path: Path) -> None:
    long = tmp_path / ("a folder with a long name " * 8).strip()
    said = run_command("add-wave", long, **{PROJECT_VARIABLE: str(small_project.root), "FORCE_COLOR": ""})
    assert said.returncode == 1
    assert said.stderr.splitlines() == [f"✗ {long}: holds no wave.yml", "  Name a recipe or a wave folder."]


def test_names_that_cannot_be_written_do_not_stop_a_command(small_project: Project) -> None:
    environment = {PROJECT_VARIABLE: str(small_project.root), "PYTHONIOENCODING": "ascii"}
    said = run_command("check", "سوات", **environment)
    assert said.returncode == 1
    assert "\\u0633" in said.stderr
    assert "Traceback" not in said.stderr


def complete(line: str, root: Path) -> list[str]:
    """What the shell proposes for the last word of a line."""
    words = line.split(" ")
    environment = {"_PERCEPTION_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = run_command(**environment, **{PROJECT_VARIABLE: str(root)})
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_waves_and_instruments(small_project: Project, tmp_path: Path) -> None:
    write_small_wave(small_project.waves / "other-2022")
    root = small_project.root
    assert complete("perception rem", root) == ["remove-wave"]
    assert complete("perception check ", root) == ["other-2022", FIRST]
    assert complete("perception run --wave sm", root) == [FIRST]
    assert complete("perception new-wave x --instrument ", root) == ["small"]
    assert complete("perception export x --district ", root) == []  # nothing has been made yet
    assert complete("perception check ", tmp_path / "nothing") == []


def verdicts(project: Project) -> dict[str, str]:
    return {found.check: found.verdict for found in doctor.project_findings(project)}


def test_doctor_finds_nothing_wrong_with_a_new_project(small_project: Project) -> None:
    before = sorted(small_project.root.rglob("*"))
    assert set(verdicts(small_project).values()) == {"ok"}
    assert sorted(small_project.root.rglob("*")) == before


def test_doctor_names_what_is_wrong_with_a_project(small_project: Project) -> None:
    small_project.make_folders()
    for file in (small_project.public_warehouse, small_project.internal_warehouse):
        file.write_bytes(b"no tables")
    small_project.releases.write_text("a file where a folder should be")
    (small_project.waves / FIRST / "wave.yml").write_text("id: small-2021\n")
    (small_project.instruments / "broken.yml").write_text("id: [")
    (small_project.reference / "tehsils.csv").unlink()
    found = {finding.check: finding for finding in doctor.project_findings(small_project)}
    wrong = {name for name, finding in found.items() if finding.verdict == "problem"}
    assert wrong == {"reference", "instruments", "waves", "write data/releases", "public tables", "internal tables"}
    assert all(bool(finding.remedy) == (finding.verdict != "ok") for finding in found.values())
    assert "tehsils.csv" in found["reference"].what
    assert "broken.yml" in found["instruments"].what
    assert f"perception check {FIRST}" in found["waves"].remedy


def test_doctor_warns_where_there_is_no_wave_and_stops_where_there_is_no_project(
    small_project: Project, tmp_path: Path
) -> None:
    (small_project.waves / FIRST / "wave.yml").unlink()
    assert verdicts(small_project)["waves"] == "warning"
    assert verdicts(Project(tmp_path / "nothing")) == {"project": "problem"}


def test_doctor_opens_warehouses_and_counts_their_tables(small_project: Project) -> None:
    small_project.make_folders()
    with duckdb.connect(str(small_project.public_warehouse)) as connection:
        connection.execute("CREATE TABLE a AS SELECT 1; CREATE TABLE b AS SELECT 2")
    found = doctor.warehouse("public tables", small_project.public_warehouse)
    assert (found.verdict, found.what.split(" in ")[0]) == ("ok", "2 tables")


def test_doctor_sees_another_run_at_work(small_project: Project) -> None:
    lock = small_project.lock(FIRST)
    with lock:
        held = doctor.locks(small_project)
    assert held.verdict == "warning"
    assert FIRST in held.what
    assert doctor.locks(small_project).verdict == "ok"
    with FileLock(lock.lock_file, timeout=0):  # and left the lock as it was
        pass


@pytest.mark.parametrize(("free", "verdict"), [(100, "problem"), (200, "warning"), (400, "ok")])
def test_doctor_compares_free_disk_with_what_a_run_makes(
    small_project: Project, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    usage = type("Usage", (), {"free": free * doctor.MEGABYTE})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert doctor.disk(small_project).verdict == verdict  # one wave: 110 MB


def test_doctor_compares_packages_with_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.packages("no-such-distribution").verdict == "problem"
    needs = ["pandas>=3", "duckdb<1", "no-such-package>=1", "pyspark>=99; extra == 'spark'"]
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    found = doctor.packages()
    assert found.verdict == "problem"
    assert f"duckdb {metadata.version('duckdb')} is not <1" in found.what
    assert "no-such-package is not installed" in found.what
    assert "pandas" not in found.what
    assert "pyspark" not in found.what
    monkeypatch.setattr(metadata, "requires", lambda _: needs[:1])
    assert doctor.packages().verdict == "ok"


def test_doctor_survives_packages_that_do_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises.py").write_text("print('noise')\nraise OSError('libx.so is missing')")
    (tmp_path / "dies.py").write_text("import os\nos._exit(132)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor.imported(("json", "csv")).verdict == "ok"
    found = doctor.imported(("json", "raises", "dies", "csv"))
    assert found.verdict == "problem"
    assert "raises (OSError: libx.so is missing)" in found.what
    assert "dies (it ended Python with code 132)" in found.what
    assert "json" not in found.what


def test_doctor_ends_with_1_where_there_is_a_problem(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "IMPORTED", ("json",))
    assert answer(invoke("doctor", "--json"))["problems"] == []
    monkeypatch.setattr(doctor, "IMPORTED", ("no_such_module",))
    result = invoke("doctor", "--json")
    assert result.exit_code == 1
    given = answer(result)
    assert [problem["where"] for problem in given["problems"]] == ["imports"]
    last = given["checks"][-1]
    assert (last["check"], last["verdict"]) == ("project", "warning")  # what needs packages was not tried
    assert set(last) == {"check", "verdict", "what", "remedy"}
    people = invoke("doctor")
    assert people.exit_code == 1
    assert people.stdout == result.stderr


def test_a_package_that_is_broken_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('pandas is broken')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pipelines.cli import main; main()"
    command = [sys.executable, "-c", code, "check", FIRST]
    said = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert said.returncode == 1
    assert "perception check: ImportError: pandas is broken" in said.stderr
    assert len(said.stderr.splitlines()) == 2
