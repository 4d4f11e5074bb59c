"""A wave and published tables whose every text is hostile: the site is harmless, whole and not too large."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml

from perception.errors import InputError
from perception.geography import load_gazetteer, vintage_units
from perception.intake.instrument import load_instrument
from perception.project import PROJECT_VARIABLE, Project
from perception.publish import data_page, site
from pipelines import runner
from tests.browsing import browser, pytestmark, visit
from tests.conftest import SMALL_INSTRUMENT, SMALL_WAVE
from tests.site_tables import no_pngs, published_tables, reference

__all__ = ["browser", "visit"]
needs_browser = pytestmark
WAVE = "small-2021"
HARM = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
    "\u202egnp.exe\u2066 turned",
    "{{ 7*7 }}{% raw %}",
    "</style></title></textarea></desc><!--",
    "]]>&lt;b&gt;",
    "javascript:alert(1)",
)
LONG = "x" * 10_000
LARGEST = 400_000
"""Bytes of a page, without the shared scripts."""
TEXTS = ("label", "title", "population", "producer", "citation", "licence")


def hostile(start: str, long: bool = False) -> str:
    """A text that begins with a formula and holds everything that does harm somewhere."""
    return " ".join([f"=1+1|{start}", *HARM, *([LONG] if long else [])])


def made_hostile(declaration: str) -> str:
    """A declaration with each of its texts, and the categories of its questions, made hostile."""

    def turn(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name: {code: hostile(code) for code in inner} if name == "categories" else turn(inner, name)
                for name, inner in value.items()
            }
        return hostile(value, long=True) if key in TEXTS else value

    return yaml.safe_dump(turn(yaml.safe_load(declaration)), allow_unicode=True, sort_keys=False)


def instrument_text() -> str:
    asked = SMALL_INSTRUMENT.replace("positive: [yes]", 'positive: ["yes"]').replace(
        'categories: {no: "No", yes: "Yes"}', 'categories: {"no": "No", "yes": "Yes"}'
    )
    services = "services: {clinic: {label: Clinic, indicators: [satisfied, was_heard]}}\n"
    waiting = "  wait: {label: Wait, type: number, unit: UNIT}\nindicators:\n"
    waiting += "  minutes: {label: Wait, question: wait, population: adults, higher_is_better: false, headline: true}\n"
    return asked.replace("indicators:\n", waiting, 1) + services


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project whose wave is hostile, run as a whole."""
    import shutil

    from tests.conftest import ROOT, small_answers, write_small_wave

    project = Project(tmp_path_factory.mktemp("hostile") / "project")
    shutil.copytree(ROOT / "data/raw/reference", project.reference)
    project.instruments.mkdir(parents=True)
    text = made_hostile(instrument_text()).replace("unit: UNIT", f"unit: {json.dumps(hostile('minutes'))}")
    project.instrument_file("small").write_text(text, encoding="utf-8")
    answers = small_answers()
    answers["wait"] = 5 + answers["id"] % 50
    wave = SMALL_WAVE.replace("{0: no, 1: yes}", '{0: "no", 1: "yes"}').replace(
        "blank: not_asked}", "blank: not_asked}\n  wait: {source: wait}"
    )
    write_small_wave(project.waves / WAVE, answers, made_hostile(wave))
    with pytest.MonkeyPatch.context() as patch:
        no_pngs(patch)
        patch.setenv(PROJECT_VARIABLE, str(project.root))
        patch.delenv("DAGSTER_HOME", raising=False)
        assert runner.run_waves(project, [WAVE], lambda *_: None) == []
    return project


@pytest.fixture(scope="module")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the made-up published tables with hostile names of districts and texts everywhere."""
    geometries, units = reference()
    named = units["2018"].assign(
        name=[f"{name} {HARM[place % len(HARM)]}" for place, name in enumerate(units["2018"]["name"])],
        province=[f"{name} {HARM[0]} {HARM[1]}" for name in units["2018"]["province"]],
    )
    tables = published_tables(units["2018"])
    for table, columns in {
        "published_waves": ["title", "producer", "citation", "licence"],
        "published_indicators": ["label", "question", "population", "positive", "unit", "service_label"],
        "published_trends": ["note"],
        "withheld": ["words"],
        "published_drivers": ["label", "term"],
        "published_driver_importance": ["label"],
        "published_driver_models": ["label"],
        "published_diagnosis": ["label"],
        "published_change_decomposition": ["label", "recoded"],
    }.items():
        for column in columns:
            if column in tables[table]:
                kept = tables[table][column].notna() & (tables[table][column] != "all")
                tables[table].loc[kept, column] = tables[table].loc[kept, column].map(hostile)
    folder = tmp_path_factory.mktemp("public") / "site"
    with pytest.MonkeyPatch.context() as patch:
        no_pngs(patch)
        site.write_site(tables, geometries, {"2018": named}, folder, made_at="2026-01-01T00:00:00Z")
    return folder


@pytest.fixture(params=["run", "tables"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The site of the hostile wave, and that of the hostile tables."""
    if request.param == "run":
        return request.getfixturevalue("project").site
    return request.getfixturevalue("hostile_site")


class Elements(HTMLParser):
    """What elements a page has, with their attributes, and whether each that was opened was closed in order."""

    VOID = {"meta", "link", "img", "input", "br", "path", "rect", "use", "line", "circle", "hr"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} at {self.getpos()}")


def parsed(file: Path) -> Elements:
    elements = Elements()
    elements.feed(file.read_text(encoding="utf-8"))
    elements.close()
    return elements


def test_every_page_parses_and_no_element_or_attribute_came_from_a_text(folder: Path) -> None:
    pages = list(folder.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        made = parsed(page)
        assert (made.wrong, made.open) == ([], []), page.name
        for tag, attributes in made.found:
            assert not [name for name in attributes if name.startswith("on")], (page.name, tag)
            assert tag != "img" or attributes["src"] != "x", page.name
            for name in ("href", "src", "action"):
                value = html.unescape(attributes.get(name) or "")
                assert not re.match(r"\s*(javascript|data|vbscript):", value, re.I), (page.name, value)
                target = value.partition("#")[0]
                if target and not target.startswith("https://address.invalid/"):
                    assert folder.resolve() in (page.parent / target).resolve().parents, (page.name, value)
        assert "49" not in re.findall(r"\{\{[^}]*\}\}", page.read_text(encoding="utf-8"))
        assert "{{ 7*7 }}" in page.read_text(encoding="utf-8") or not made.found or page.stem in ("methods", "index")


def test_scripts_are_the_same_as_on_a_harmless_site(hostile_site: Path, made_up_site: Path) -> None:
    """A script that a text made, or that a text changed, would be another one than the templates hold."""
    for page in sorted(made_up_site.rglob("*.html")):
        scripts, others = (
            [attributes for tag, attributes in parsed(root / page.relative_to(made_up_site)).found if tag == "script"]
            for root in (made_up_site, hostile_site)
        )
        assert scripts == others, page.name


def test_every_drawing_is_xml_without_script_or_link(folder: Path) -> None:
    drawings = list(folder.rglob("*.svg"))
    assert len(drawings) > 10
    for file in drawings:
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
        for element in root.iter():
            assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in {
                *("svg", "title", "desc", "defs", "pattern", "rect", "g", "path", "text", "line", "circle", "polygon")
            }, file.name
            assert not [name for name in element.attrib if name.startswith("on") or name.endswith("href")], file.name


def test_file_names_are_plain_and_inside(folder: Path) -> None:
    for file in folder.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.@-]+", file.name), file.name
        assert not file.is_symlink()
    assert {path.name for path in folder.parent.iterdir()} <= {"site", "perception.duckdb", "sdg_16_6_2.csv"}


def test_no_cell_is_a_formula(folder: Path) -> None:
    files = list(folder.rglob("*.csv"))
    assert len(files) > 3
    texts = 0
    for file in files:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            for row in csv.reader(opened):
                for cell in row:
                    number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)
                    assert number or not re.match(r"[=+\-@\t\r＝＋－＠]", cell), (file.name, cell[:40])
                    texts += cell.startswith("'=1+1|")
    assert texts > 0
    for file in folder.rglob("*.xlsx"):
        with zipfile.ZipFile(file) as book:
            for name in book.namelist():
                content = book.read(name).decode()
                ElementTree.fromstring(content)
                assert "<f>" not in content, (file.name, name)
                assert "hyperlink" not in content, (file.name, name)
            assert "externalLink" not in " ".join(book.namelist())


def test_the_files_about_the_data_are_well_formed_and_harmless(project: Project) -> None:
    files = project.site / data_page.FOLDER
    document = ElementTree.fromstring((files / data_page.codebook_file(WAVE)).read_text(encoding="utf-8"))
    assert {element.tag.partition("}")[0] for element in document.iter()} == {"{ddi:codebook:2_5"}
    assert "script" not in {element.tag.partition("}")[2] for element in document.iter()}
    texts = [text for element in document.iter() for text in (element.text, *element.attrib.values()) if text]
    assert [text for text in texts if HARM[0] in text]
    with zipfile.ZipFile(files / data_page.ARCHIVE) as packed:
        contents = {name: packed.read(name).decode("utf-8-sig") for name in packed.namelist()}
    contents[data_page.DICTIONARY] = (files / data_page.DICTIONARY).read_text(encoding="utf-8")
    for text in (*texts, *contents.values()):
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    json.loads(contents["csv-metadata.json"])
    assert not re.search(r"(?<!\\)<(script|img|svg)", contents[data_page.DICTIONARY])
    cells = [
        cell
        for name, content in contents.items()
        if name.endswith(".csv")
        for row in csv.reader(io.StringIO(content))
        for cell in row
    ]
    assert [cell for cell in cells if cell.startswith("'=1+1|")]
    assert not [cell for cell in cells if re.match(r"[=+@\t\r＝＋－＠]|-(?![\d.])", cell)]


def test_data_files_do_not_turn_the_text_around_them(folder: Path) -> None:
    for file in (*folder.rglob("*.json"), *folder.rglob("*.csv")):
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", file.read_text(encoding="utf-8")), file.name
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))


def test_no_page_is_too_large(folder: Path) -> None:
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*.html")}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


@needs_browser
def test_no_script_of_a_text_runs_and_no_page_scrolls_sideways(folder: Path, visit: Any) -> None:
    english = [page for page in sorted(folder.rglob("*.html")) if page.relative_to(folder).parts[0] != "ur"]
    # Another wave, province or indicator has pages and embeds of the same types.
    others = ("districts", "kp-2018", "punjab-2021")
    pages = [page for page in english if page.parent.name not in others and not page.name.endswith("-embed.html")]
    pages += [page for page in english if re.fullmatch("satisfied-.*-embed.html", page.name)]
    pages += folder.glob("punjab-2021/minutes.html")
    pages += [folder / "districts" / "kp-swat.html", next(folder.rglob("kp-swat-card-embed.html"))]
    pages += [
        folder / "ur" / "index.html",
        folder / "ur" / "data" / "index.html",
        next((folder / "ur").rglob("satisfied.html")),
    ]
    for page in pages:
        seen = visit(page, viewport={"width": 390, "height": 800})
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        seen.page.wait_for_load_state("load")
        made = "document.querySelectorAll('img[src=x], svg[onload], script:not([src]):not([type])').length"
        scripts = len([1 for tag, at in parsed(page).found if tag == "script" and not {"src", "type"} & set(at)])
        assert seen.page.evaluate(made) == scripts, page.name
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390, page.name
        assert seen.said == [], page.name
        assert seen.foreign == [], page.name
        seen.context.close()


@needs_browser
def test_the_search_and_the_map_show_hostile_names_as_they_are(hostile_site: Path, visit: Any) -> None:
    seen = visit(hostile_site / "kp-2021" / "satisfied.html")
    seen.page.wait_for_selector(".view:not([hidden]) .map[data-drawn]", timeout=20_000)
    shape = seen.page.locator(".view:not([hidden]) path.choroplethlocation").nth(2)
    shape.scroll_into_view_if_needed()
    box = shape.bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.page.wait_for_selector(".hoverlayer .hovertext")
    assert "<script>alert(1)</script>" in seen.page.locator(".hoverlayer").text_content()
    seen.page.get_by_role("combobox").type("swat")
    first = seen.page.get_by_role("option").first
    assert "<script>alert(1)</script>" in first.text_content()
    assert seen.page.locator("#found img, #found script, .hoverlayer a").count() == 0
    assert seen.said == []


def test_a_nul_is_refused_where_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "small.yml"
    file.write_text(SMALL_INSTRUMENT.replace("title: Small questionnaire", 'title: "a\\0b"'), encoding="utf-8")
    with pytest.raises(InputError, match="holds a control character"):
        load_instrument(file)


def test_ids_from_the_gazetteer_cannot_lead_out(project: Project) -> None:
    units = vintage_units(load_gazetteer(project.reference), "2018")
    assert units["district_id"].str.fullmatch(r"[a-z0-9-]+").all()
    assert isinstance(units, pd.DataFrame)
