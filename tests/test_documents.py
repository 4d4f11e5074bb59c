"""README and docs: every command runs, every link leads somewhere, every option exists, every questionnaire is one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from perception.geography import district_geometry, load_gazetteer
from perception.intake.instrument import load_instrument
from perception.project import Project
from pipelines.cli import app
from tests.conftest import ROOT, SHARED, ask_little

TUTORIAL = ROOT / "docs/tutorial.md"
HOW_TO = sorted((ROOT / "docs/how-to").glob("*.md"))
OTHERS = [ROOT / "README.md", *sorted(path for path in ROOT.glob("docs/**/*.md") if path not in {TUTORIAL, *HOW_TO})]
DOCUMENTS = [TUTORIAL, *OTHERS, *HOW_TO]
"""In the order in which their commands run in one project: the tutorial makes a wave, which others publish."""
WAVES = ("kp-2018", "kp-2021", "kp-2024")
COMMAND = ".venv/bin/perception "
PLACEHOLDERS = {
    "FOLDER_WITH_men.sav": str(SHARED / "waves/mics-punjab-2018"),
    "www.example.org:/srv/surveys/": "../server/",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, the line where it begins, its language, what else stands there, and its text."""

    document: Path
    line: int
    language: str
    more: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)(?: (.*?))?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(document, text.count("\n", 0, one.start()) + 1, one[1], one[2] or "", one[3]) for one in found]


ALL = [block for document in DOCUMENTS for block in blocks(document)]
RUN = [
    block
    for place, block in enumerate(ALL)
    if block.language in ("sh", "python") and block.text not in {other.text for other in ALL[:place]}
]
"""The first block of every text."""


def told_after(block: Block) -> str:
    """What a document says that the commands of a block write here: the text in the block after it."""
    place = ALL.index(block) + 1
    after = ALL[place] if place < len(ALL) else block
    follows = after.document == block.document and after.line == block.line + block.text.count("\n") + 3
    return after.text if follows and (after.language, after.more) == ("text", "") else ""


def folded(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with three waves of which nothing is made, its commands those of this environment."""
    copy = tmp_path_factory.mktemp("documents") / "project"
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        wave = re.match(r"data/raw/waves/([^/]+)/", name)
        if (ROOT / name).is_file() and (wave is None or wave[1] in WAVES):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    programs = copy / ".venv/bin"
    programs.mkdir(parents=True)
    called_as = {"perception": "-c 'from pipelines.cli import main; main()'", "dagster": "-m dagster"}
    for name, called in {"python": "", **called_as}.items():
        script = f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(copy))} exec {shlex.quote(sys.executable)} {called} "$@"\n'
        (programs / name).write_text(script, encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("installed", "installed-dev", "installed-lab"):
        (copy / ".venv" / name).touch()
    ask_little(Project(copy), indicators=("satisfied_district", "satisfied_health"))
    for block in ALL:
        if block.language == "yaml" and block.more:
            (copy / block.more).write_text(block.text, encoding="utf-8")
            load_instrument(copy / block.more)
    gazetteer = load_gazetteer(copy / "data/raw/reference")
    shapes = district_geometry(gazetteer, "2023", None).shapes
    (copy.parent / "cleared").mkdir()
    shapes.to_file(copy.parent / "cleared/districts.gpkg")
    shapes.rename(columns={"district_id": "tehsil_id"}).to_file(copy.parent / "cleared/tehsils.gpkg")
    return copy


def environment(project: Path) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PERCEPTION_", "DAGSTER_"))}
    return known | {"PERCEPTION_PROJECT": str(project), "NO_COLOR": "1", "HOME": str(project.parent)}


def keep_one_wave(project: Path) -> None:
    """Leave the wave of the tutorial alone, compared with none, so that runs of all waves are quick."""
    for folder in (project / "data/raw/waves").iterdir():
        if folder.name != "kp-2024":
            shutil.rmtree(folder)
    for file in project.glob("data/raw/*waves/kp-2024/wave.yml"):
        text = re.sub(r"^predecessor: .*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        file.write_text(re.sub(r"^comparability:\n( .*\n)+", "", text, flags=re.MULTILINE), encoding="utf-8")


def not_yet_run(block: Block) -> str:
    """A block without the commands that have run in one before it."""
    before = {line for other in RUN[: RUN.index(block)] for line in other.text.splitlines()}
    lines = block.text.splitlines(keepends=True)
    return "".join(line for line in lines if not (line.startswith(COMMAND) and line.rstrip("\n") in before))


@pytest.mark.parametrize("block", RUN, ids=[block.place for block in RUN])
def test_every_command_of_the_documents_runs(block: Block, project: Path) -> None:
    text = not_yet_run(block)
    for placeholder, value in PLACEHOLDERS.items():
        if placeholder in text and value.startswith(str(SHARED)) and not Path(value).exists():
            pytest.skip(f"{block.place} needs ../shared/waves, which is not on this machine")
        text = text.replace(placeholder, shlex.quote(value))
    if block.document in HOW_TO:
        keep_one_wave(project)
    if block.language == "python":
        command = [str(project / ".venv/bin/python"), "-W", "error", "-c", text]
    elif block.more.startswith("serves "):
        assert_it_answers(text, int(block.more.removeprefix("serves ")), project)
        return
    else:
        # Targets that install, test or wait for somebody are only looked up.
        command = ["bash", "-euo", "pipefail", "-c", re.sub(r"^make ", "make --dry-run ", text, flags=re.MULTILINE)]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    if block.document == TUTORIAL:  # other documents tell of other waves
        written = (done.stderr + done.stdout).replace(f"{project}/", "")
        assert folded(told_after(block)) in folded(written), block.place


def test_what_the_tutorial_tells_stands_after_its_commands() -> None:
    told = [told_after(block) for block in RUN if block.document == TUTORIAL]
    assert sum(map(bool, told)) == TUTORIAL.read_text(encoding="utf-8").count("```text\n") == 3


def assert_it_answers(command: str, port: int, project: Path) -> None:
    """A server that a document starts answers on the port that it names."""
    if answers(port):
        pytest.skip(f"something else answers on 127.0.0.1:{port}")
    log = project.parent / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            ["bash", "-c", command],
            cwd=project,
            env=environment(project),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        for _ in range(120):
            if answers(port):
                return
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(1)
        raise AssertionError(log.read_text(encoding="utf-8"))
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, and the log says why
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_commands_and_options_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        path = document if not file else (document.parent / file)
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(target)
    assert missing == []
    commands = typer.main.get_command(app).commands
    for said in re.findall(r"`(?:\.venv/bin/)?perception ([a-z][^`]*)`", prose):
        name, *rest = said.split()
        assert name in commands, said
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, said


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
