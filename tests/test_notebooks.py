"""Notebooks: what they keep is what their text says, and they run without a warning on sample and on real waves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbformat import NotebookNode

import perception
from notebooks.make import executed, read, texts
from perception.project import Project
from perception.publish import maps, project_site
from perception.publish.project_site import PublishedSite, publish_site
from perception.wave_folders import add_wave
from tests.conftest import ROOT, ask_little
from tests.site_tables import small_site

TEXTS = texts()
LOW = next(text for text in TEXTS if text.stem.startswith("2_"))
LATEST, INDICATOR = "kp-2024", "satisfied_district"
REAL = "mics-punjab-2018"


def copied(folder: Path) -> list[Path]:
    """A copy of the plain texts."""
    folder.mkdir(exist_ok=True)
    return [Path(shutil.copy(text, folder)) for text in TEXTS]


def outputs(notebook: NotebookNode) -> list[dict[str, Any]]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def said(notebook: NotebookNode) -> str:
    """What the outputs of a notebook say, without markup."""
    found = []
    for output in outputs(notebook):
        data = output.get("data", {})
        found.append(
            output.get("text", "") + data.get("text/plain", "") + re.sub("<[^>]*>", " ", data.get("text/html", ""))
        )
    return "\n".join(found)


def silent(notebook: NotebookNode) -> bool:
    """Whether nothing was written to standard error, as warnings are, and no cell failed."""
    return not any(output.get("name") == "stderr" or output["output_type"] == "error" for output in outputs(notebook))


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def few_pages(project: Project, tables: Mapping[str, pd.DataFrame], made_at: str) -> PublishedSite:
    """The site with the pages of one indicator of the latest wave."""
    few = {}
    for name, frame in tables.items():
        kept = frame["wave"] == LATEST
        if name != "published_waves":
            kept &= frame.get("indicator", pd.Series("", index=frame.index)) == INDICATOR
        few[name] = frame[kept]
    return publish_site(project, few, made_at)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the sample waves of Khyber Pakhtunkhwa after a run; of its pages those of one indicator."""
    from pipelines import runner

    project = Project(tmp_path_factory.mktemp("notebooks") / "project")
    for name in ("reference", "instruments", *(f"waves/kp-{year}" for year in (2018, 2021, 2024))):
        shutil.copytree(ROOT / "data/raw" / name, project.root / "data/raw" / name)
    shutil.copytree(ROOT / "docs/validity", project.root / "docs/validity")
    ask_little(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project_site, "publish_site", few_pages)
        assert runner.update(project, lambda *_: None) == []
    return project


@pytest.fixture(scope="module")
def run(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, NotebookNode]]:
    """Every notebook after a run in a copy, by the stem of its file."""
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, sample, tmp_path_factory.mktemp("home"))
        yield {text.stem: executed(text) for text in copied(tmp_path_factory.mktemp("copy"))}


def set_up(patch: pytest.MonkeyPatch, project: Project, home: Path) -> None:
    """The kernel reads this project, and writes nothing into the user's home."""
    home.mkdir(exist_ok=True)
    patch.setenv("PERCEPTION_PROJECT", str(project.root))
    patch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        patch.setenv(name, str(home / name))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_a_notebook_keeps_the_cells_of_its_text_and_outputs_of_the_sample_waves(text: Path) -> None:
    kept, wanted = nbformat.read(text.with_suffix(".ipynb"), as_version=4), read(text)
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [
        (cell.cell_type, cell.source) for cell in wanted.cells
    ], "run `make notebooks`"
    assert [cell.execution_count for cell in code(kept)] == list(range(1, len(code(kept)) + 1))
    assert silent(kept)
    assert maps.SIMULATED in said(kept)
    assert str(ROOT) not in text.with_suffix(".ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_a_notebook_opens_with_its_question_runs_in_silence_and_ends_with_the_citation(
    text: Path, run: dict[str, NotebookNode], sample: Project
) -> None:
    notebook = run[text.stem]
    assert "**The question:**" in notebook.cells[0].source
    assert silent(notebook)
    assert perception.open(sample.root).citation(LATEST) in said(NotebookNode(cells=code(notebook)[-1:]))


def test_kept_images_have_alt_texts_and_say_that_the_data_are_simulated() -> None:
    pictures = 0
    for text in TEXTS:
        for output in outputs(nbformat.read(text.with_suffix(".ipynb"), as_version=4)):
            if "image/png" in output.get("data", {}):
                pictures += 1
                assert output["metadata"]["image/png"]["alt"].startswith(maps.SIMULATED)
    assert pictures >= len(TEXTS)


def cells_of(markup: str) -> list[list[str]]:
    """The texts of every row of the tables in some HTML."""
    rows = re.findall(r"<tr.*?</tr>", markup, re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub("<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def test_notebook_site_warehouse_and_download_show_the_same_numbers(
    run: dict[str, NotebookNode], sample: Project
) -> None:
    survey = perception.open(sample.root)
    stored = survey.sql(
        "SELECT unit_id, estimate, low, high, n FROM published_estimates WHERE wave = ? AND indicator = ?"
        " AND level = 'district' AND domain = 'all' AND method = 'small_area' AND estimate IS NOT NULL",
        [LATEST, INDICATOR],
    ).set_index("unit_id")
    names = survey.districts(LATEST).set_index("district_id")["district"]
    expected = {
        names[unit]: (*(f"{100 * row[name]:.1f}" for name in ("estimate", "low", "high")), str(int(row["n"])))
        for unit, row in stored.iterrows()
    }
    assert len(expected) > 30

    cell = next(cell for cell in code(run[LOW.stem]) if "survey.ranking(" in cell.source)
    head, *rows = cells_of(cell.outputs[0]["data"]["text/html"])
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    assert {
        row["district"]: (*(row[name].rstrip("%") for name in ("estimate", "low", "high")), row["n"]) for row in shown
    } == expected

    page = (sample.site / LATEST / f"{INDICATOR}.html").read_text(encoding="utf-8")
    found = {}
    for row in cells_of(page):
        numbers = re.search(r"([\d.]+)% ([\d.]+)–([\d.]+)", " ".join(row))
        name = next((name for name in expected if row and re.match(rf"{name}\b", row[0])), None)
        if name and numbers:
            found[name] = (*numbers.groups(), next(cell for cell in row[1:] if cell.isdigit()))
    assert found == expected

    download = pd.read_csv(sample.site / LATEST / f"{INDICATOR}.csv").query("level == 'district'").set_index("unit_id")
    for name in ("estimate", "low", "high", "n"):
        assert download[name].dropna().to_dict() == stored[name].to_dict(), name


def test_notebooks_run_on_a_real_wave(
    sample: Project, shared_waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its men were asked about safety and life: it has no wave before it, no women, and another questionnaire."""
    from pipelines import runner

    project = Project(shutil.copytree(sample.root, tmp_path / "project"))
    ask_little(project, "mics6-men", ["safe_walk", "victim", "discriminated", "happy", "life_ladder"], ["safety"])
    add_wave(project, ROOT / "recipes" / REAL, shared_waves / REAL)
    monkeypatch.setattr(project_site, "publish_site", small_site)
    assert runner.update(project, lambda *_: None) == []
    set_up(monkeypatch, project, tmp_path / "home")
    citation = perception.open(project.root).citation(REAL)
    for text in copied(tmp_path / "copy"):
        notebook = executed(text)
        assert silent(notebook), text.stem
        if text.stem[0] in "1236":  # the others are of the newest wave that has what they are about, or of a named one
            assert citation in said(notebook), text.stem
