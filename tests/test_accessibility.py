"""Every page type and every kind of embed page against the rules of axe-core for WCAG 2.2 AA, light and dark."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import EMBEDS, PAGES, browser, pytestmark, visit
from tests.site_tables import built_site

__all__ = ["browser", "pytestmark", "visit"]
pytest.importorskip("axe_playwright_python", reason="needs the axe-playwright-python package")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true })"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return built_site(tmp_path_factory.mktemp("public") / "site")


def violations(page: Any) -> list[str]:
    """What axe finds of serious or critical impact: rule, where, and why."""
    page.evaluate(AXE)
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary'][:200]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, *EMBEDS])
def test_axe_finds_nothing_serious(visit, folder, name, scheme):
    seen = visit(folder / f"{name}.html", color_scheme=scheme)
    if seen.page.locator(".map").count():
        seen.page.wait_for_selector(".view:not([hidden]) .map[data-drawn]", timeout=20_000)
    seen.page.evaluate(OPEN)
    assert violations(seen.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_is_opened_or_sorted(visit, folder, scheme):
    seen = visit(folder / "kp-2021" / "satisfied.html", color_scheme=scheme)
    for kind in ("bands", "change", "tiles"):
        seen.page.locator(f".switch input[value={kind}]").check(force=True)
        assert violations(seen.page) == [], kind
    seen.page.locator("table.sortable thead button").first.click()
    seen.page.get_by_role("combobox").type("swat")
    seen.page.keyboard.press("ArrowDown")
    assert violations(seen.page) == []


def test_axe_finds_nothing_serious_on_a_phone(visit, folder):
    for name in ("index", "kp-2021/satisfied", "districts/kp-swat"):
        seen = visit(folder / f"{name}.html", viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
        assert violations(seen.page) == [], name


def test_axe_would_find_what_is_wrong(visit, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><html><body><img src="x.png"><p style="color:#ccc">Pale</p>', encoding="utf-8")
    found = violations(visit(page).page)
    assert {one.split(":")[0] for one in found} >= {"image-alt", "color-contrast", "html-has-lang"}
