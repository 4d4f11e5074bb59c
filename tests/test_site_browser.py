"""The site in a real browser, opened from files, network denied: maps drawn, nothing fetched, no script needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perception.project import PROJECT_VARIABLE, Project
from perception.publish.site import write_site
from tests.conftest import ROOT
from tests.test_maps import published_tables, reference

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser on the PATH")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DRAWN = "#map path.choroplethlocation"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    geometries, units = reference()
    place = tmp_path_factory.mktemp("public") / "site"
    write_site(published_tables(units["2018"]), geometries, units, place, made_at="2026-01-01T00:00:00Z")
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A page opened from a file; `asked` and `said` hold every request and every complaint of the console."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.context = browser.new_context(**options)
        self.context.route("**", self._files_only)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(file.as_uri())

    @staticmethod
    def _files_only(route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            route.abort()

    @property
    def foreign(self) -> list[str]:
        return [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture
def visit(browser) -> Iterator[Any]:
    opened: list[Visit] = []

    def open_page(file: Path, **options: Any) -> Visit:
        opened.append(Visit(browser, file, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()


@pytest.mark.parametrize(("page", "districts"), [("kp-2021/satisfied.html", 32), ("punjab-2021/minutes.html", 36)])
def test_map_is_drawn_without_network(visit, folder, page, districts):
    seen = visit(folder / page)
    seen.page.wait_for_selector("#map[data-drawn]", timeout=20_000)
    shapes = seen.page.eval_on_selector_all(DRAWN, "paths => paths.map(path => path.getBBox().width)")
    assert len(shapes) == districts
    assert min(shapes) > 2
    assert seen.page.locator("#map .scatterlayer path.js-line").count() == 1  # the province's border
    width, height = seen.page.evaluate(
        "[document.querySelector('#map .choroplethlayer').getBBox()].map(b => [b.width, b.height])[0]"
    )
    assert width > 300
    assert height > 300
    seen.page.mouse.wheel(0, 2000)
    assert seen.foreign == []
    assert seen.said == []
    assert not seen.page.locator("img.static").is_visible()
    assert not seen.page.get_by_text("plotly", exact=False).count()


def test_the_map_of_a_real_survey_is_drawn_without_network(visit, shared_waves, tmp_path):
    project = Project(tmp_path)
    shutil.copytree(ROOT / "data/raw/reference", project.reference)
    shutil.copytree(ROOT / "data/raw/instruments", project.instruments)
    perception = str(Path(sys.executable).with_name("perception"))
    files = str(shared_waves / "mics-punjab-2018")
    for command in (["add-wave", str(ROOT / "recipes/mics-punjab-2018"), "--files", files], ["run"]):
        subprocess.run([perception, *command], env=os.environ | {PROJECT_VARIABLE: str(tmp_path)}, check=True)
    seen = visit(project.site / "mics-punjab-2018" / "safe_walk.html")
    seen.page.wait_for_selector("#map[data-drawn]", timeout=20_000)
    shapes = seen.page.eval_on_selector_all(DRAWN, "paths => paths.map(path => path.getBBox().width)")
    assert len(shapes) == 36
    assert min(shapes) > 2
    assert seen.foreign == []
    assert seen.said == []
    published = pd.read_parquet(project.table("published_estimates", None))
    chiniot = published.query("indicator == 'safe_walk' and unit_id == 'punjab-chiniot' and domain == 'all'")
    estimates = chiniot.set_index("method")["estimate"]
    assert estimates["direct"] == 0.7095  # the least safe: R has 0.709499
    assert f"{100 * estimates['small_area']:.1f}%" in seen.page.content()
    assert "SIMULATED" not in seen.page.content()


def test_suppressed_is_hatched_and_hover_tells_value_and_interval(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    seen.page.wait_for_selector("#map[data-drawn]", timeout=20_000)
    fills = seen.page.eval_on_selector_all(DRAWN, "paths => paths.map(path => getComputedStyle(path).fill)")
    assert fills.count('url("#hatch")') == 1
    assert fills[0] == 'url("#hatch")'
    assert fills.count("rgb(201, 206, 212)") == 1
    assert "rgb(178, 63, 92)" in fills

    def hover(number: int) -> str:
        shape = seen.page.locator(DRAWN).nth(number)
        shape.scroll_into_view_if_needed()
        box = shape.bounding_box()
        seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        seen.page.wait_for_selector(".hoverlayer .hovertext")
        return str(seen.page.locator(".hoverlayer").text_content())

    assert hover(2) == "Abbottabad, Khyber Pakhtunkhwa20.0% (95% interval 16.0–24.0)1,234 respondents"
    assert seen.page.locator(".modebar-btn").count() == 3  # in, out, back: no sharing, no picture without its source


def test_without_javascript_image_and_table_are_there(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html", java_script_enabled=False)
    image = seen.page.locator("img.static")
    assert image.is_visible()
    assert image.evaluate("image => image.complete && image.naturalWidth") == 840
    assert not seen.page.locator("#map").is_visible()
    assert seen.page.locator("table tbody tr:not(.group)").count() == 32
    assert seen.page.get_by_text("SIMULATED DATA").first.is_visible()
    assert seen.foreign == []


def test_image_steps_in_where_plotly_is_missing(visit, folder, tmp_path):
    broken = tmp_path / "site"
    shutil.copytree(folder, broken, ignore=shutil.ignore_patterns("plotly.min.js"))
    seen = visit(broken / "kp-2021" / "satisfied.html")
    seen.page.wait_for_selector("img.static", state="visible")
    assert seen.foreign == []


def test_figures_of_drivers_are_drawn_without_network(visit, folder):
    seen = visit(folder / "kp-2021" / "drivers-care.html")
    for number in range(3):
        seen.page.wait_for_selector(f":nth-match(.plot[data-drawn], {number + 1})", timeout=20_000)
    assert seen.page.locator(".plot").first.locator(".scatterlayer .points path.point").count() == 2
    assert seen.page.locator(".plot").nth(1).locator(".barlayer .point").count() == 2
    assert seen.page.locator(".plot").nth(2).locator(".errorbars path.xerror").count() == 2
    assert seen.page.locator(".plot").first.get_by_text("SIMULATED DATA").count() == 1
    assert not seen.page.locator("img.static").first.is_visible()
    assert seen.foreign == []
    assert seen.said == []


def test_figures_of_drivers_are_images_without_javascript(visit, folder):
    seen = visit(folder / "kp-2021" / "drivers-care-districts.html", java_script_enabled=False)
    image = seen.page.locator("#kp-swat img.static")
    image.scroll_into_view_if_needed()
    assert image.is_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 840
    assert "In Swat the share" in image.get_attribute("alt")
    assert not seen.page.locator(".plot").first.is_visible()
    assert seen.page.locator("#kp-swat tbody tr").count() == 5


def test_ranking_reads_from_worst_to_best(visit, folder):
    seen = visit(folder / "kp-2021" / "asked_bribe-ranking.html")
    rows = seen.page.locator("table").first.locator("tbody tr").all_inner_texts()
    values = [float(found.group(1)) for row in rows if (found := re.search(r"(\d+\.\d)%", row))]
    assert values == sorted(values, reverse=True)  # being asked for a bribe: more is worse
    assert len(values) == 30
    assert all(re.search(r"between \d+(st|nd|rd|th) and \d+(st|nd|rd|th) of 30", row) for row in rows[:30])
    assert "Not published" in rows[-1]
    assert seen.said == []
    assert seen.foreign == []


def test_no_page_scrolls_sideways(visit, folder):
    in_wave = ("satisfied", "satisfied-ranking", "drivers", "drivers-care", "drivers-care-districts")
    for page in ("index.html", *(f"kp-2021/{name}.html" for name in in_wave)):
        seen = visit(folder / page, viewport={"width": 1280, "height": 800})
        for width in (1280, 390):
            seen.page.set_viewport_size({"width": width, "height": 800})
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, (page, width)
        assert seen.said == []


def test_index_leads_to_every_page(visit, folder):
    seen = visit(folder / "index.html")
    links = seen.page.eval_on_selector_all("main a", "links => links.map(link => link.getAttribute('href'))")
    pages = {str(path.relative_to(folder)) for path in folder.rglob("*.html")} - {"index.html"}
    assert set(links) == {page for page in pages if "drivers-" not in page}
    overview = visit(folder / "kp-2021" / "drivers.html").page
    there = overview.eval_on_selector_all(
        "main a", "links => links.map(link => 'kp-2021/' + link.getAttribute('href'))"
    )
    assert set(there) == {page for page in pages if "drivers-" in page}
    drawn = seen.page.eval_on_selector_all("svg.thumb", "maps => maps.map(map => map.querySelectorAll('use').length)")
    assert drawn == [32, 32, 36, 36]
    assert min(seen.page.eval_on_selector_all("svg.thumb use", "uses => uses.map(use => use.getBBox().width)")) > 2
