"""Nothing that is withheld and nothing about a respondent is in any file under data/processed/public."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from perception.estimation.publication import DIGITS
from perception.project import PROJECT_VARIABLE, Project
from pipelines import runner
from tests.conftest import SMALL_WAVE, small_answers, write_small_wave

WAVE = "small-2021"
FEW = {"Bannu": 37, "Kohat": 23}
"""Respondents who are left in these districts: too few to publish what they said."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run of the small project whose ids stand out and two of whose districts have few respondents."""
    import shutil

    from tests.conftest import ROOT, SMALL_INSTRUMENT

    project = Project(tmp_path_factory.mktemp("leaks") / "project")
    shutil.copytree(ROOT / "data/raw/reference", project.reference)
    project.instruments.mkdir(parents=True)
    project.instrument_file("small").write_text(SMALL_INSTRUMENT, encoding="utf-8")
    answers = small_answers()
    rng = np.random.default_rng(7)
    answers["id"] = [f"RESP{number}Q" for number in 700_000 + rng.permutation(len(answers))]
    answers["psu"] = "CLUSTER" + (answers["psu"] + 4000).astype(str) + "Z"
    answers["who"] = "INTERVIEWER" + (answers.index % 9).astype(str) + "K"
    places = answers.groupby("district").cumcount()
    answers = answers[places < answers["district"].map(FEW).fillna(np.inf)]
    wave = SMALL_WAVE + "fieldwork: {enumerator: who}\n"
    write_small_wave(project.waves / WAVE, answers, wave)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROJECT_VARIABLE, str(project.root))
        patch.delenv("DAGSTER_HOME", raising=False)
        assert runner.run_waves(project, [WAVE], lambda *_: None) == []
    return project


def dumped(warehouse: Path) -> str:
    """All tables of a DuckDB file with their comments, read in another process: in one, files are cached by path."""
    code = (
        f"import duckdb; c = duckdb.connect({str(warehouse)!r}, read_only=True)\n"
        "for (name,) in c.sql('select table_name from duckdb_tables()').fetchall():\n"
        "    print(c.sql(f'select * from {name}').df().to_csv(index=False))\n"
        "print(c.sql('select comment from duckdb_columns()').df().to_csv())"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def contents(public: Path) -> Iterator[tuple[str, str]]:
    """Every file with what it says: packed sheets and tables unpacked, of images the metadata."""
    for file in sorted(path for path in public.rglob("*") if path.is_file()):
        name = str(file.relative_to(public))
        if file.suffix == ".duckdb":
            yield name, dumped(file)
        elif file.suffix == ".xlsx":
            with zipfile.ZipFile(file) as book:
                yield name, "\n".join(book.read(part).decode() for part in book.namelist())
        elif file.suffix == ".png":
            with Image.open(io.BytesIO(file.read_bytes())) as picture:
                yield name, json.dumps(dict(picture.info), default=str, ensure_ascii=False)
        elif file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                for part in archive.namelist():
                    yield f"{name}/{part}", archive.read(part).decode("utf-8-sig")
        else:
            yield name, file.read_text(encoding="utf-8-sig")


def found(public: Path, wanted: re.Pattern[str]) -> list[str]:
    """The files that hold what is looked for, with what they hold."""
    scripts = ("site/assets/plotly.min.js", "site/assets/geometry-2018.js")  # code and outlines, no results
    return [
        f"{name}: {match.group()}"
        for name, text in contents(public)
        if name not in scripts and (match := wanted.search(text))
    ]


def withheld(project: Project) -> pd.DataFrame:
    """The internal direct estimates that are not published in any form."""
    key = ["wave", "indicator", "level", "unit_id", "domain"]
    internal = pd.read_parquet(project.table("district_estimates", WAVE))
    published = pd.read_parquet(project.table("published_estimates", None))
    direct = published[published["method"] == "direct"]
    hidden = direct.loc[direct["quality"] == "suppress", key]
    return internal.merge(hidden, on=key)


def numbers(project: Project, rows: pd.DataFrame) -> re.Pattern[str]:
    """Each estimate, standard error and interval end in full and as publication rounds it, with four digits after the
    point at the least; not what a published row says too.
    """
    published = pd.read_parquet(project.table("published_estimates", None))
    full = {
        text: f"{value:.12f}"[: DIGITS - 12] for value in values(rows) if len(text := rounded(value)) > len("0.123")
    }
    for value in values(published[published["quality"] != "suppress"]):
        full.pop(rounded(value), None)
    texts = [rf"{re.escape(long)}\d|{re.escape(short)}(?!\d)" for short, long in sorted(full.items())]
    assert len(texts) > 40, "so few numbers are withheld that nothing is tested"
    return re.compile(rf"(?<![\d.])(?:{'|'.join(texts)})")


def values(rows: pd.DataFrame) -> list[float]:
    """All numbers of estimates that are known."""
    found = rows[["estimate", "low", "high", "se"]].to_numpy(float).ravel()
    return [float(value) for value in found if np.isfinite(value)]


def rounded(value: float) -> str:
    """A share as published files write it."""
    return f"{value:.{DIGITS}f}".rstrip("0")


def test_no_withheld_number_is_in_any_public_file(project: Project) -> None:
    rows = withheld(project)
    few = rows[(rows["level"] == "district") & (rows["domain"] == "all")]
    assert {"kp-bannu", "kp-kohat"} & set(few["unit_id"]), "some district must be withheld, or nothing is tested"
    assert len(rows) > 20
    assert found(project.public, numbers(project, rows)) == []


def test_no_withheld_share_stands_in_percent_beside_its_district(project: Project) -> None:
    """On pages, where a number has one decimal, whole phrases count: percent with interval."""
    rows = withheld(project).dropna(subset=["estimate", "low", "high"])
    phrases = {f"{100 * row.low:.1f}–{100 * row.high:.1f}" for row in rows.itertuples() if 0 < row.low < row.high < 1}
    assert phrases
    published = pd.read_parquet(project.table("published_estimates", None)).dropna(subset=["estimate", "low", "high"])
    phrases -= {f"{100 * row.low:.1f}–{100 * row.high:.1f}" for row in published.itertuples()}
    assert found(project.public, re.compile("|".join(map(re.escape, sorted(phrases))))) == []


def test_no_respondent_sampling_area_or_interviewer_is_in_any_public_file(project: Project) -> None:
    assert found(project.public, re.compile(r"RESP7\d{5}Q|CLUSTER4\d{3}Z|INTERVIEWER\dK")) == []


def test_no_path_or_name_of_an_internal_file_is_in_any_public_file(project: Project) -> None:
    internal = r"data/processed/internal|internal\.duckdb|answers\.csv|\.parquet|district_estimates|psu_totals"
    machine = rf"{re.escape(str(project.root))}|/home/|/root/|/tmp/|site-packages|file://"
    assert found(project.public, re.compile(f"{internal}|{machine}")) == []


def test_only_known_kinds_of_files_are_public(project: Project) -> None:
    endings = {path.suffix for path in project.public.rglob("*") if path.is_file()}
    assert endings <= {
        *(".html", ".json", ".csv", ".xlsx", ".svg", ".png", ".duckdb", ".js", ".css", ".md", ".xml", ".zip")
    }


@pytest.mark.parametrize("written", [repr, rounded], ids=["in full", "as published"])
@pytest.mark.parametrize("ending", [".html", ".json", ".csv", ".svg", ".xlsx", ".png", ".duckdb", ".xml", ".zip"])
def test_a_planted_leak_is_found(
    project: Project, tmp_path: Path, ending: str, written: Callable[[float], str]
) -> None:
    rows = withheld(project)
    leak = written(values(rows.query("level == 'district' and domain == 'all'"))[0])
    file, text = tmp_path / f"planted{ending}", f"x {leak} RESP712345Q"
    if ending in (".xlsx", ".zip"):
        with zipfile.ZipFile(file, "w") as book:
            book.writestr("xl/worksheets/sheet1.xml", text)
    elif ending == ".png":
        from PIL.PngImagePlugin import PngInfo

        facts = PngInfo()
        facts.add_itxt("Description", text)
        Image.new("RGB", (2, 2)).save(file, pnginfo=facts)
    elif ending == ".duckdb":
        import duckdb

        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE TABLE planted AS SELECT ? AS value, ? AS text", [float(leak), text])
    else:
        file.write_text(text, encoding="utf-8")
    assert len(found(tmp_path, numbers(project, rows))) == 1
    assert len(found(tmp_path, re.compile(r"RESP7\d{5}Q"))) == 1
