"""The site in a real browser, opened from files, network denied: maps drawn, nothing fetched, no script needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from perception.project import PROJECT_VARIABLE, Project
from perception.publish import maps, views
from tests.browsing import EMBEDS, PAGES, browser, pytestmark, visit
from tests.conftest import ROOT, ask_little
from tests.site_tables import (
    BETTER,
    NASTY,
    SUPPRESSED,
    UNCOVERED,
    WORSE,
    changes_of,
    districts,
    ground_of,
    published_tables,
    reference,
    subject_of,
)

__all__ = ["browser", "pytestmark", "visit"]
DRAWN = ".view:not([hidden]) path.choroplethlocation"
LOOKS = "paths => paths.map(path => [path.__data__.loc, getComputedStyle(path).fill])"
CONTRASTS = """() => {
  const parse = (colour) => [...colour.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const light = (colour) => colour.slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches;
  const ground = (element, y) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor), box = one.getBoundingClientRect();
      if (colour[3] > 0.99 && box.top <= y && y <= box.bottom) return colour;
    }
    return dark ? [18, 18, 18] : [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), poor = [];
  let seen = 0;
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest("svg, script, style, noscript, .watermark")) continue;
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility({ visibilityProperty: true }) || box.width < 2) continue;
    seen += 1;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const ends = [style.color, ground(element, (box.top + box.bottom) / 2)];
    const pair = [light(parse(ends[0])), light(ends[1])].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) poor.push(`${contrast.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return [seen, poor];
}"""
"""How many texts are seen, and those of too little contrast with what is behind them (WCAG 2.2, 1.4.3)."""


@pytest.fixture(scope="module")
def folder(made_up_site) -> Path:
    return made_up_site


def fills(spec: maps.MapSpec) -> dict[str, str]:
    """The fill of each district as a browser computes it."""

    def computed(colour: str) -> str:
        if colour == maps.HATCHED:
            return 'url("#fine-hatch")'
        return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"

    return {place.district_id: computed(spec.colour(place)) for place in spec.places}


@pytest.fixture(scope="module")
def specs() -> dict[str, maps.MapSpec]:
    """What the maps of satisfaction in KP have to show, by view."""
    geometries, units = reference()
    tables = published_tables(units["2018"])
    of, (base, _) = subject_of(tables, units["2018"]), ground_of(geometries["2018"], units["2018"], "kp")
    changed = views.change_map(of, changes_of(tables), "2018", base, districts(units["2018"]))
    return {"map": views.estimate_map(of, base), "bands": views.band_map(of, base), "change": changed}


def drawn(seen) -> None:
    """Wait for the map of the view that is shown."""
    seen.page.wait_for_selector(".view:not([hidden]) .map[data-drawn]", timeout=20_000)


@pytest.mark.parametrize("page", [*PAGES, *EMBEDS])
def test_every_page_renders_without_complaint_or_request_and_does_not_scroll_sideways(visit, folder, page):
    seen = visit(folder / f"{page}.html", viewport={"width": 1280, "height": 800})
    assert seen.page.locator("h1").first.is_visible()
    if seen.page.locator(".map").count():
        drawn(seen)
    if seen.page.locator(".plot").count():
        seen.page.wait_for_selector(".plot[data-drawn]", timeout=20_000)
    for width in (1280, 768, 390):
        seen.page.set_viewport_size({"width": width, "height": 800})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, width
    assert seen.foreign == []
    assert seen.said == []


def test_each_view_of_the_map_has_every_district_in_its_class(visit, folder, specs):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    for kind, spec in specs.items():
        seen.page.locator(f".switch input[value={kind}]").check(force=True)
        drawn(seen)
        looks = seen.page.eval_on_selector_all(DRAWN, LOOKS)
        assert len(looks) == 32
        assert dict(looks) == fills(spec), kind
        assert min(seen.page.eval_on_selector_all(DRAWN, "paths => paths.map(path => path.getBBox().width)")) > 2
        assert seen.page.locator(".view:visible").count() == 1
        borders = seen.page.locator(".view:not([hidden]) .scatterlayer path.js-line").count()
        assert borders == 2  # of divisions and of provinces
    width, height = seen.page.evaluate(
        "[document.querySelector('.view:not([hidden]) .choroplethlayer').getBBox()].map(b => [b.width, b.height])[0]"
    )
    assert width > 300
    assert height > 300
    assert seen.said == []


def test_tiles_show_the_same_classes(visit, folder, specs):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    seen.page.locator(".switch input[value=tiles]").check(force=True)
    assert seen.page.locator("[data-view=tiles]").is_visible()
    assert not seen.page.locator("[data-view=map]").is_visible()
    tiles = "[data-view=tiles] g[data-district]"
    looks = seen.page.eval_on_selector_all(
        tiles, "all => all.map(one => [one.dataset.district, getComputedStyle(one.querySelector('rect')).fill])"
    )
    wanted = fills(specs["map"]) | {SUPPRESSED: 'url("#hatch")'}
    assert dict(looks) == wanted
    assert len(looks) == 32
    assert seen.page.locator('[data-view=tiles] g[data-district="kp-peshawar"]').text_content().endswith("Peshawar")


def test_the_view_is_switched_with_the_keyboard(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    drawn(seen)
    seen.page.locator(".switch input[value=map]").focus()
    for kind in ("bands", "change", "tiles", "map"):
        seen.page.keyboard.press("ArrowRight")
        assert seen.page.locator(".view:visible").get_attribute("data-view") == kind
    seen.page.keyboard.press("ArrowLeft")
    assert seen.page.locator(".view:visible").get_attribute("data-view") == "tiles"


def test_the_view_is_switched_with_the_mouse(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    seen.page.locator(".switch label", has_text="Change").click()
    drawn(seen)
    assert seen.page.locator(".view:visible").get_attribute("data-view") == "change"
    looks = dict(seen.page.eval_on_selector_all(DRAWN, LOOKS))
    assert looks[BETTER] != looks[WORSE] != looks["kp-swat"]


def test_hover_tells_value_interval_respondents_and_ranks(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    drawn(seen)
    shape = seen.page.locator(DRAWN).nth(2)
    shape.scroll_into_view_if_needed()
    box = shape.bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.page.wait_for_selector(".hoverlayer .hovertext")
    assert seen.page.locator(".hoverlayer").text_content() == (
        "Abbottabad, Khyber Pakhtunkhwa20.0%95% interval 16.0–24.01,234 respondentsrank between 1st and 4th of 30"
    )
    assert seen.page.locator(".view:not([hidden]) .modebar-btn").count() == 3  # in, out, back: no sharing, no picture


RUN_WITHOUT_PNGS = """
import pytest
from pipelines import cli
from tests.site_tables import no_pngs
no_pngs(pytest.MonkeyPatch())
cli.app(["run"])
"""
"""A process of its own: Dagster and the browser's driver each want the event loop of theirs."""


def test_the_map_of_a_real_survey_is_drawn_without_network(visit, shared_waves, tmp_path, monkeypatch):
    project = Project(tmp_path)
    shutil.copytree(ROOT / "data/raw/reference", project.reference)
    shutil.copytree(ROOT / "data/raw/instruments", project.instruments)
    ask_little(project, "mics6-men", ["safe_walk"], [])
    monkeypatch.setenv(PROJECT_VARIABLE, str(tmp_path))
    recipe, files = ROOT / "recipes/mics-punjab-2018", shared_waves / "mics-punjab-2018"
    perception = Path(sys.executable).with_name("perception")
    subprocess.run([perception, "add-wave", recipe, "--files", files], check=True)
    subprocess.run([sys.executable, "-c", RUN_WITHOUT_PNGS], cwd=ROOT, check=True)
    seen = visit(project.site / "mics-punjab-2018" / "safe_walk.html")
    drawn(seen)
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


@pytest.mark.parametrize("page", ["index", "kp-2021/satisfied"])
def test_search_finds_a_district_by_part_of_its_name_and_goes_there(visit, folder, page):
    seen = visit(folder / f"{page}.html")
    box = seen.page.get_by_role("combobox")
    assert box.get_attribute("aria-expanded") == "false"
    box.type("hawar")
    options = seen.page.get_by_role("option")
    assert options.all_inner_texts() == ["Peshawar District, Khyber Pakhtunkhwa".replace(" District", "\nDistrict")]
    assert box.get_attribute("aria-expanded") == "true"
    assert seen.page.locator(".search [role=status]").text_content() == "1 result"
    box.press("Escape")
    assert not options.first.is_visible()
    box.fill("")
    box.type("KHYBER")
    first = options.all_inner_texts()[0]
    assert first.startswith("Khyber\n"), "what begins with the words comes first"
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("ArrowUp")
    assert options.first.get_attribute("aria-selected") == "true"
    assert box.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    box.press("Enter")
    seen.page.wait_for_url("**/districts/kp-khyber.html")
    assert seen.page.locator("h1").inner_text() == "Khyber"
    assert seen.said == []


def test_search_finds_indicators_by_mouse_and_shows_labels_as_they_are(visit, folder):
    seen = visit(folder / "districts" / "kp-swat.html")
    seen.page.get_by_role("combobox").type("satisfied alert 2021 punj")
    seen.page.get_by_role("option").click()
    seen.page.wait_for_url("**/punjab-2021/satisfied.html")
    assert seen.page.locator("h1").inner_text() == NASTY
    seen.page.get_by_role("combobox").type("no such thing")
    assert seen.page.get_by_role("option").count() == 0
    assert seen.page.locator(".search [role=status]").inner_text() == "Nothing found"
    assert seen.page.locator(".search [role=status]").bounding_box()["height"] > 10
    assert seen.said == []


def test_a_table_is_sorted_by_each_column_and_goes_back_to_its_groups(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    table = seen.page.locator("table.sortable")
    grouped = table.locator("tbody tr").all_inner_texts()
    assert table.locator("tr.group").count() == 5
    buttons = table.locator("thead button")
    assert buttons.count() == 5
    for number in range(5):
        button, head = buttons.nth(number), table.locator("th[data-sort]").nth(number)
        for direction in ("ascending", "descending"):
            button.press("Enter")
            assert head.get_attribute("aria-sort") == direction
            assert table.locator("th[aria-sort]").count() == 1
            assert table.locator("tr.group").count() == 0
            rows = table.locator("tbody tr")
            assert rows.count() == 31
            if head.get_attribute("data-sort") == "text":
                values = rows.locator("th").all_inner_texts()
                values = [value.splitlines()[0] for value in values]
            else:
                column = head.evaluate("head => head.cellIndex")
                value = f"row => row.cells[{column}]?.dataset.value ?? ''"
                cells = rows.evaluate_all(f"rows => rows.map({value})")
                assert cells[-1] == ""  # what has no number stays last in both directions
                values = [float(cell) for cell in cells if cell]
                assert len(values) == (28 if "Change" in head.inner_text() else 30)
            assert values == sorted(values, reverse=direction == "descending"), number
        button.press("Enter")
        assert table.locator("tbody tr").all_inner_texts() == grouped
        assert table.locator("th[aria-sort]").count() == 0


@pytest.mark.parametrize("embed", EMBEDS)
def test_an_embed_gives_its_frame_the_height_that_it_needs(visit, folder, embed, tmp_path):
    stem = embed.removesuffix("-embed")
    host = "satisfied" if "satisfied" in stem else "districts"
    source = folder / ("kp-2021/satisfied.html" if host == "satisfied" else "districts/kp-swat.html")
    panel = visit(source).page.locator(f"#embed-{stem.replace('/', '-')}-html").input_value()
    assert f"https://address.invalid/{embed}.html" in panel
    snippet = panel.replace("https://address.invalid/", folder.as_uri() + "/")
    (tmp_path / "parent.html").write_text(f"<!doctype html><title>Parent</title>{snippet}", encoding="utf-8")
    seen = visit(tmp_path / "parent.html", viewport={"width": 700, "height": 800})
    frame = next(frame for frame in seen.page.frames if frame.url.endswith(f"{embed}.html"))
    frame.wait_for_selector("h1")
    height = "document.querySelector('iframe').getBoundingClientRect().height"
    for width in (700, 360):
        seen.page.set_viewport_size({"width": width, "height": 800})
        seen.page.wait_for_timeout(100)  # for the frame to have told its new height
        needed = frame.evaluate("Math.ceil(document.body.getBoundingClientRect().height)")
        seen.page.wait_for_function(f"needed => {height} === needed", arg=needed)
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.page.locator("iframe").get_attribute("title").startswith("SIMULATED DATA: ")
    assert seen.foreign == []
    assert seen.said == []


@pytest.mark.parametrize("page", [*PAGES, *EMBEDS])
def test_text_has_contrast_in_light_dark_and_print(visit, folder, page):
    seen = visit(folder / f"{page}.html", viewport={"width": 1000, "height": 900})
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light"), ("print", "dark")):
        seen.page.emulate_media(media=media, color_scheme=scheme)
        texts, poor = seen.page.evaluate(CONTRASTS)
        assert texts >= 5
        assert poor == [], (media, scheme)


def test_print_leaves_out_what_paper_cannot_do(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    drawn(seen)
    seen.page.emulate_media(media="print", color_scheme="dark")
    for gone in ("nav[aria-label=Site]", ".search", ".switch", ".embed-panel"):
        assert not seen.page.locator(gone).first.is_visible(), gone
    assert seen.page.get_by_text("SIMULATED DATA").first.is_visible()
    assert seen.page.locator("table.ranking").first.is_visible()
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert seen.page.locator(".view:visible").first.is_visible()


def test_without_javascript_maps_and_tables_are_there(visit, folder, specs):
    seen = visit(folder / "kp-2021" / "satisfied.html", java_script_enabled=False)
    for kind, spec in specs.items():
        shapes = seen.page.locator(f".view[data-view={kind}] .static path[data-district]")
        assert shapes.first.is_visible()
        wanted = {key: fill.replace("fine-", "") for key, fill in fills(spec).items()}
        looks = shapes.evaluate_all("all => all.map(one => [one.dataset.district, getComputedStyle(one).fill])")
        assert dict(looks) == wanted, kind
    assert seen.page.locator("[data-view=tiles] g[data-district]").first.is_visible()
    assert not seen.page.locator(".map").first.is_visible()
    assert not seen.page.locator(".switch").is_visible()
    assert not seen.page.locator(".search").is_visible()
    assert seen.page.locator("table.ranking tbody tr:not(.group)").count() == 31
    assert seen.page.get_by_text("SIMULATED DATA").first.is_visible()
    assert seen.foreign == []


def test_the_static_map_steps_in_where_plotly_is_missing(visit, folder, tmp_path):
    broken = tmp_path / "site"
    shutil.copytree(folder, broken, ignore=shutil.ignore_patterns("plotly.min.js"))
    seen = visit(broken / "kp-2021" / "satisfied.html")
    seen.page.wait_for_selector(".view .static path[data-district]", state="visible")
    assert seen.foreign == []


@pytest.mark.parametrize(
    ("lacking", "found"),
    [("borders.province.kp", ".view:not([hidden]) .map[data-drawn]"), ("borders", ".view .static path[data-district]")],
)
def test_a_map_is_seen_whatever_the_geometry_lacks(visit, folder, tmp_path, lacking, found):
    """Without borders of a province the map is drawn; where it cannot be drawn, the images of all views stand there."""
    broken = tmp_path / "site"
    shutil.copytree(folder, broken)
    with (broken / "assets" / "geometry-2018.js").open("a", encoding="utf-8") as script:
        script.write(f'delete window.perceptionGeometry["2018"].{lacking};')
    seen = visit(broken / "kp-2021" / "satisfied.html")
    seen.page.wait_for_selector(found, state="visible", timeout=20_000)
    assert seen.page.locator(".view .static:visible").count() == (3 if lacking == "borders" else 0)


def test_figures_of_drivers_are_drawn_without_network(visit, folder):
    seen = visit(folder / "kp-2021" / "drivers-care.html")
    for number in range(3):
        seen.page.wait_for_selector(f":nth-match(.plot[data-drawn], {number + 1})", timeout=20_000)
    assert seen.page.locator(".plot").first.locator(".scatterlayer .points path.point").count() == 2
    assert seen.page.locator(".plot").nth(1).locator(".barlayer .point").count() == 2
    assert seen.page.locator(".plot").nth(2).locator(".errorbars path.xerror").count() == 2
    assert seen.page.locator(".plot").first.get_by_text("SIMULATED DATA").count() == 1
    assert not seen.page.locator("img.static").first.is_visible()


def test_figures_of_drivers_are_images_without_javascript(visit, folder):
    seen = visit(folder / "kp-2021" / "drivers-care-districts.html", java_script_enabled=False)
    image = seen.page.locator("#kp-charsadda img.static")
    image.scroll_into_view_if_needed()
    assert image.is_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 840
    assert "In Charsadda the share" in image.get_attribute("alt")
    assert not seen.page.locator(".plot").first.is_visible()
    assert seen.page.locator("#kp-charsadda tbody tr").count() == 5


def test_nothing_moves_where_people_want_less_motion(visit, folder):
    moving = """() => [...document.querySelectorAll('*')].filter(one => {
      const style = getComputedStyle(one);
      const lasting = [style.animationDuration, style.transitionDuration].some(parseFloat);
      return lasting || style.scrollBehavior === 'smooth';
    }).map(one => one.tagName + '.' + one.className)"""
    for page in ("index", "kp-2021/satisfied", "districts/kp-swat"):
        assert visit(folder / f"{page}.html", reduced_motion="reduce").page.evaluate(moving) == []
    assert visit(folder / "index.html", reduced_motion="no-preference").page.evaluate(moving) == ["HTML.js"]


@pytest.mark.parametrize("page", ["index", "kp-2021/satisfied", "districts/kp-swat", "services/cps-health"])
def test_the_keyboard_meets_the_skip_link_then_the_search_then_the_content(visit, folder, page):
    seen = visit(folder / f"{page}.html")
    focused = "() => { const one = document.activeElement; return [one.className, one.id, !!one.closest('main')]; }"
    met = []
    while len(met) < 12 and not (met and met[-1][2]):
        seen.page.keyboard.press("Tab")
        met.append(seen.page.evaluate(focused))
    assert met[0][0] == "skip"
    assert seen.page.evaluate("document.querySelector('.skip').getBoundingClientRect().left") != 0
    assert [name for name, *_ in met[1:2]] == ["home"]
    assert met[-2][1] == "search"
    assert met[-1][2]
    assert not any(inside for *_, inside in met[:-1])
    seen.page.locator(".skip").focus()
    assert seen.page.locator(".skip").bounding_box()["x"] >= 0
    seen.page.keyboard.press("Enter")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate(focused)[2]


def test_what_has_the_focus_is_seen(visit, folder):
    for page in ("index", "kp-2021/satisfied", "kp-2021/satisfied-ranking-embed"):
        for scheme in ("light", "dark"):
            seen = visit(folder / f"{page}.html", color_scheme=scheme)
            for _ in range(9):
                seen.page.keyboard.press("Tab")
                outline = seen.page.evaluate(
                    """() => { let one = document.activeElement;
                    if (one === document.body) return null;
                    if (one.matches('.switch input')) one = one.closest('label');
                    const style = getComputedStyle(one);
                    return [one.outerHTML.slice(0, 80), style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
                )
                if outline is None:  # past the last of them
                    break
                assert outline[1] != "none", (page, outline)
                assert outline[2] >= 2 or outline[1] == "auto", (page, outline)


def test_the_home_page_leads_to_every_survey_in_one_step(visit, folder):
    seen = visit(folder / "index.html")
    links = seen.page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    wanted = {f"{wave}/{page}.html" for wave in ("kp-2018", "kp-2021", "punjab-2021") for page in ("index", "quality")}
    assert wanted | {"districts/index.html", "services/index.html", "methods.html"} <= set(links)
    shapes = seen.page.locator("section.wave svg.inline path[data-district]")
    assert shapes.count() == 36
    assert min(shapes.evaluate_all("all => all.map(one => one.getBBox().width)")) > 2


def test_a_wave_has_a_small_map_of_each_headline_indicator(visit, folder):
    seen = visit(folder / "kp-2021" / "index.html")
    drawn = seen.page.eval_on_selector_all("svg.thumb", "maps => maps.map(map => map.querySelectorAll('use').length)")
    assert drawn == [32, 32]
    assert min(seen.page.eval_on_selector_all("svg.thumb use", "uses => uses.map(use => use.getBBox().width)")) > 2
    fill = f"svg.thumb use[href='#at-{UNCOVERED}']"
    assert seen.page.locator(fill).first.evaluate("use => getComputedStyle(use).fill") == "rgb(201, 206, 212)"
