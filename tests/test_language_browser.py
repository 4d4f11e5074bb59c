"""Urdu pages in a real browser: what runs from right to left, what does not, and the search."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browsing import browser, pytestmark, visit
from tests.site_tables import built_site
from tests.test_language import NASTY_URDU, TITLE_URDU, urdu_tables

__all__ = ["browser", "pytestmark", "visit"]
PAGES = (
    "index",
    "methods",
    "data/index",
    "districts/kp-swat",
    "kp-2021/index",
    "kp-2021/satisfied",
    "kp-2021/drivers-care",
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
EDGES = """selector => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return [box.left, box.right];
}"""
PLACES = """() => {
    const map = document.querySelector("svg.inline:has([data-district])"), frame = map.getBoundingClientRect();
    return [...map.querySelectorAll("[data-district]")].map((path) => {
        const box = path.getBoundingClientRect();
        return (box.left + box.right) / 2 - frame.left;
    });
}"""
TEXTS = "list => [...list.querySelectorAll('a')].map((link) => link.textContent)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return built_site(tmp_path_factory.mktemp("urdu") / "site", urdu_tables())


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("page", PAGES)
def test_urdu_pages_do_not_scroll_sideways_or_complain(visit, folder, page, size):
    seen = visit(folder / "ur" / f"{page}.html", viewport=size)
    seen.page.wait_for_function("document.querySelector('.search').hidden === false")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert seen.page.evaluate("getComputedStyle(document.body).direction") == "rtl"
    seen.page.evaluate("window.scrollTo(-500, 0)")
    assert seen.page.evaluate("window.scrollX") == 0
    assert seen.foreign == []
    assert seen.said == []


def test_the_header_and_tables_are_mirrored_and_maps_and_strips_are_not(visit, folder):
    english = visit(folder / "kp-2021" / "satisfied.html", viewport=WIDE).page
    urdu = visit(folder / "ur" / "kp-2021" / "satisfied.html", viewport=WIDE).page
    for page in (english, urdu):
        page.wait_for_function("document.querySelector('.search').hidden === false")
    assert english.evaluate(EDGES, ".home")[1] < english.evaluate(EDGES, ".search")[0]
    assert urdu.evaluate(EDGES, ".home")[0] > urdu.evaluate(EDGES, ".search")[1]
    first, last = ".ranking tr:not(.group) th[scope=row]", ".ranking tbody td.rank ~ td.number:nth-last-child(2)"
    assert english.evaluate(EDGES, first)[1] <= english.evaluate(EDGES, last)[0]
    assert urdu.evaluate(EDGES, first)[0] >= urdu.evaluate(EDGES, last)[1]
    places = urdu.evaluate(PLACES)
    assert len(places) == 32
    assert places == pytest.approx(english.evaluate(PLACES), abs=0.5)
    lows, highs = (f".legend .ends span:{each}-child" for each in ("first", "last"))
    assert urdu.evaluate(EDGES, lows)[1] < urdu.evaluate(EDGES, highs)[0]
    for page in (english, urdu):
        cuts = page.evaluate("[...document.querySelectorAll('.classes')][0].querySelector('ol').innerText")
        assert cuts.index("20%") < cuts.index("50%")
        strip, dot = page.evaluate(EDGES, "td.strip .whisker"), page.evaluate(EDGES, "td.strip .dot")
        assert dot[0] < (strip[0] + strip[1]) / 2  # of the worst-placed district


@pytest.mark.parametrize(("name", "least"), [("kp-2021/satisfied", 90), ("districts/kp-swat", 8)])
def test_numbers_in_urdu_tables_read_from_left_to_right(visit, folder, name, least):
    """A minus before its number and the lower end of an interval before the upper, as drawn and not as written."""
    page = visit(folder / "ur" / f"{name}.html", viewport=WIDE).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    drawn = page.evaluate(
        """() => [...document.querySelectorAll("tbody td.number, tbody .interval")].flatMap((cell) => {
            const text = [...cell.childNodes].find((node) => node.nodeType === 3 && node.data.trim());
            if (!text) return [];
            const left = (at) => {
                const range = document.createRange();
                range.setStart(text, at); range.setEnd(text, at + 1);
                return range.getBoundingClientRect().left;
            };
            const written = [...text.data].map((letter, at) => [letter, at]).filter(([letter]) => letter.trim());
            return [written.every(([, at], place) => !place || left(at) > left(written[place - 1][1]))];
        })"""
    )
    assert len(drawn) > least
    assert all(drawn)


def test_the_search_finds_urdu_and_english_and_other_keyboards_letters(visit, folder):
    page = visit(folder / "ur" / "index.html").page
    page.wait_for_function("document.querySelector('.search').hidden === false")
    kaf_of_arabic = TITLE_URDU[-7:].replace("ک", "ك").replace("ی", "ي")
    for words, wanted in (("مطمئن", NASTY_URDU), ("satisfied with", NASTY_URDU), (kaf_of_arabic, TITLE_URDU)):
        page.fill("#search", words)
        found = page.eval_on_selector("#found", TEXTS)
        assert any(text.startswith(wanted) for text in found), (words, found)
    page.fill("#search", "Khyber Pakhtunkhwa 2021")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ur/kp-2021/index.html")
    assert page.inner_text("h1") == TITLE_URDU


def test_results_are_counted_in_the_language_of_the_page(visit, folder):
    for language, wanted in (("", "results"), ("ur", "نتائج")):
        page = visit(folder / language / "index.html").page
        page.wait_for_function("document.querySelector('.search').hidden === false")
        page.fill("#search", "kp" if not language else "swat")
        page.fill("#search", "a")
        assert page.inner_text(".search [role=status]").endswith(wanted)


@pytest.mark.parametrize("page", ["index", "kp-2021/satisfied"])
def test_axe_finds_nothing_serious_on_urdu_pages(visit, folder, page):
    from tests.test_accessibility import violations

    seen = visit(folder / "ur" / f"{page}.html", viewport=WIDE).page
    seen.wait_for_function("document.querySelector('.search').hidden === false")
    assert violations(seen) == []
