"""Every page type and every kind of embed page against the rules of axe-core for WCAG 2.2 AA, light and dark."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from perception.publish.page_templates import page_environment
from tests.browsing import EMBEDS, PAGES, browser, pytestmark, visit

__all__ = ["browser", "pytestmark", "visit"]
pytest.importorskip("axe_playwright_python", reason="needs the axe-playwright-python package")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
PAPER = 686
"""Pixels across an A4 page between margins of 10 mm, less the page's own."""
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""What may be found in one colour scheme and not in the other."""
OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true })"


@pytest.fixture(scope="module")
def folder(made_up_site) -> Path:
    return made_up_site


def violations(page: Any, *, of_colours: bool = True, of_the_rest: bool = True) -> list[str]:
    """What axe finds of serious or critical impact: rule, where, and why."""
    page.evaluate(AXE)
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    if not of_the_rest:
        options["runOnly"] = {"type": "rule", "values": OF_COLOURS}
    if not of_colours:
        options["rules"] = {rule: {"enabled": False} for rule in OF_COLOURS}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary'][:200]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("name", [*PAGES, *EMBEDS])
def test_axe_finds_nothing_serious(visit, folder, name):
    seen = visit(folder / f"{name}.html", color_scheme="light")
    if seen.page.locator(".map").count():
        seen.page.wait_for_selector(".view:not([hidden]) .map[data-drawn]", timeout=20_000)
    seen.page.evaluate(OPEN)
    assert violations(seen.page) == []
    seen.page.emulate_media(color_scheme="dark")
    assert violations(seen.page, of_the_rest=False) == []


def test_axe_finds_nothing_serious_in_what_is_opened_or_sorted(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied.html")
    for kind in ("bands", "change", "tiles"):
        seen.page.locator(f".switch input[value={kind}]").check(force=True)
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            assert violations(seen.page, of_the_rest=scheme == "light") == [], (kind, scheme)
    seen.page.locator("table.sortable thead button").first.click()
    seen.page.get_by_role("combobox").type("swat")
    seen.page.keyboard.press("ArrowDown")
    for scheme in ("dark", "light"):
        seen.page.emulate_media(color_scheme=scheme)
        assert violations(seen.page, of_the_rest=scheme == "light") == [], scheme


@pytest.mark.parametrize("name", [*PAGES, *EMBEDS])
def test_axe_finds_nothing_serious_on_a_phone(visit, folder, name):
    """Colours are those of a large screen."""
    seen = visit(folder / f"{name}.html", **PHONE)
    seen.page.evaluate(OPEN)
    assert violations(seen.page, of_colours=False) == []


def test_the_log_of_releases_takes_the_keyboard_on_a_phone(visit, tmp_path):
    wave = {"wave": "kp-2024", "title": "Khyber Pakhtunkhwa", "wave_version": "a" * 64, "simulated": False}
    changes = {"waves": {"added": ["kp-2024"]}, "files": {"added": 1}}
    revision = {"version": 1, "date": "2026-03-01", "note": "First", "waves": [wave], "changes": changes}
    revision |= {"simulated": False, "preview_boundaries": False, "sha256sums": "b" * 64}
    log = {"address": "https://surveys.example/", "revisions": [revision]}
    page = tmp_path / "revisions.html"
    template = page_environment().get_template("revisions.html.j2")
    page.write_text(template.render(log=log, latest="latest"), encoding="utf-8")
    seen = visit(page, **PHONE)
    seen.page.evaluate(OPEN)
    assert seen.page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('.scroll'))")
    assert violations(seen.page) == []


def test_a_ranking_is_whole_on_a_phone(visit, folder):
    seen = visit(folder / "kp-2021" / "satisfied-ranking-embed.html", **PHONE)
    assert seen.page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.scroll'))") <= 0


def test_charts_drawn_for_a_screen_are_whole_on_paper(visit, folder):
    seen = visit(folder / "kp-2021" / "drivers-care.html", viewport={"width": 1280, "height": 800})
    seen.page.wait_for_selector(".plot[data-drawn]", timeout=20_000)
    seen.page.emulate_media(media="print")
    widths = seen.page.evaluate("[...document.querySelectorAll('.main-svg')].map(e => e.getBoundingClientRect().width)")
    assert 0 < max(widths) < PAPER
    assert not seen.page.locator(".language").is_visible()


def test_axe_would_find_what_is_wrong(visit, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><html><body><img src="x.png"><p style="color:#ccc">Pale</p>', encoding="utf-8")
    seen = visit(page, color_scheme="light").page
    assert {one.split(":")[0] for one in violations(seen)} >= {"image-alt", "color-contrast", "html-has-lang"}
    assert {one.split(":")[0] for one in violations(seen, of_colours=False)} >= {"image-alt", "html-has-lang"}
    assert {one.split(":")[0] for one in violations(seen, of_the_rest=False)} == {"color-contrast"}
