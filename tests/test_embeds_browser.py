"""Embeds in a real browser, from files: a frame is as high as its page, hears nobody else, and needs no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from perception.publish.embeds import panel, snippets, write_embed
from perception.publish.page_templates import page_environment
from tests.browsing import browser, pytestmark, visit
from tests.test_embeds import embed

__all__ = ["browser", "pytestmark", "visit"]
GROWING = Markup('<div id="grows" style="height:{}px">x</div>')
HEIGHT = "document.querySelector('iframe').getBoundingClientRect().height"
CONTENT = "Math.ceil(document.body.getBoundingClientRect().height)"


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A page of somebody else with the snippet of an embed 700 pixels high and more, and a stranger's frame."""
    (tmp_path / "kp-2024").mkdir()
    one = embed(body=GROWING.format(700), simulated=True)
    write_embed(one, tmp_path, page_environment())
    snippet = snippets(one, tmp_path.as_uri() + "/").html
    text = f"<!doctype html><title>Parent</title><p>Before</p>{snippet}<p>After</p><iframe srcdoc=''></iframe>"
    (tmp_path / "parent.html").write_text(text, encoding="utf-8")
    return tmp_path / "parent.html"


def settled(seen: Any) -> Any:
    """The embed's frame once the parent gave it the height of its content."""
    frame = next(frame for frame in seen.page.frames if frame.url.endswith("-embed.html"))
    frame.wait_for_selector("#grows")
    seen.page.wait_for_function(f"height => {HEIGHT} === height", arg=frame.evaluate(CONTENT))
    return frame


def test_the_frame_follows_the_height_of_its_page(visit: Any, parent: Path) -> None:
    seen = visit(parent)
    frame = settled(seen)
    for height in (1500, 300):
        frame.evaluate("height => { document.getElementById('grows').style.height = height + 'px' }", height)
        settled(seen)
        assert height < seen.page.evaluate(HEIGHT) < height + 400
    assert seen.foreign == []
    assert seen.said == []


def test_a_narrow_parent_has_a_higher_frame_and_no_scroll_bar(visit: Any, parent: Path) -> None:
    seen = visit(parent, viewport={"width": 1000, "height": 800})
    settled(seen)
    wide = seen.page.evaluate(HEIGHT)
    seen.page.set_viewport_size({"width": 320, "height": 800})
    seen.page.wait_for_function(f"wide => {HEIGHT} > wide", arg=wide)
    frame = settled(seen)
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_messages_of_other_windows_are_ignored(visit: Any, parent: Path) -> None:
    seen = visit(parent)
    frame = settled(seen)
    before = seen.page.evaluate(HEIGHT)
    heard = "window.heard = 0; addEventListener('message', () => { window.heard += 1 })"
    seen.page.evaluate(heard)
    message = "{type: 'perception-embed-height', height: 4321}"
    stranger = next(one for one in seen.page.frames if one.url == "about:srcdoc")
    stranger.evaluate(f"parent.postMessage({message}, '*')")
    seen.page.evaluate(f"window.postMessage({message}, '*')")
    frame.evaluate("parent.postMessage({type: 'another', height: 4321}, '*')")
    seen.page.wait_for_function("window.heard >= 3")
    assert seen.page.evaluate(HEIGHT) == before
    frame.evaluate(f"parent.postMessage({message}, '*')")
    seen.page.wait_for_function(f"{HEIGHT} === 4321")  # the same message, of its own frame


@pytest.mark.parametrize("height", ["'x'", "-5", "1e12", "{}"])
def test_a_frame_cannot_take_the_page_over(visit: Any, parent: Path, height: str) -> None:
    seen = visit(parent)
    frame = settled(seen)
    frame.evaluate(f"parent.postMessage({{type: 'perception-embed-height', height: {height}}}, '*')")
    seen.page.wait_for_function(f"[100, 9999].includes({HEIGHT})")


def test_without_script_everything_is_there(visit: Any, parent: Path) -> None:
    seen = visit(parent.parent / "kp-2024/satisfied-map-embed.html", java_script_enabled=False)
    for text in ("SIMULATED DATA.", "Satisfied with the district", "Source: Bureau (2024)", "See the whole page"):
        assert seen.page.get_by_text(text).first.is_visible()


def test_light_and_dark_have_contrast(visit: Any, parent: Path) -> None:
    contrast = """() => {
      const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
      const ground = light(getComputedStyle(document.documentElement).backgroundColor);
      return [...document.querySelectorAll("h1, .subtitle, .caption, footer p, footer a")].map((one) => {
        const pair = [ground, light(getComputedStyle(one).color)].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
      });
    }"""  # WCAG 2.2, contrast ratio
    grounds = set()
    for scheme in ("light", "dark"):
        seen = visit(parent.parent / "kp-2024/satisfied-map-embed.html", color_scheme=scheme)
        assert min(seen.page.evaluate(contrast)) >= 4.5
        grounds.add(seen.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert len(grounds) == 2


@pytest.fixture
def panel_file(tmp_path: Path) -> Path:
    source = (
        '<!doctype html><title>x</title>{% import "embed_panel.html.j2" as embeds %}'
        "{{ embeds.once() }}{{ embeds.panel(one) }}"
    )
    text = page_environment().from_string(source).render(one=panel(embed(), "../"))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    return tmp_path / "page.html"


def test_a_snippet_is_copied_with_the_keyboard(visit: Any, panel_file: Path) -> None:
    seen = visit(panel_file, permissions=["clipboard-read", "clipboard-write"])
    made = snippets(embed(), "https://address.invalid/")
    seen.page.locator("summary").press("Enter")
    for label, text in (("For a web page: HTML", made.html), ("For Markdown", made.markdown)):
        seen.page.get_by_role("button", name=f"Copy: {label}").press("Enter")
        seen.page.get_by_role("status").get_by_text("Copied.").wait_for()
        assert seen.page.evaluate("navigator.clipboard.readText()") == text
    seen.page.get_by_role("button", name="Copy: For Word").press("Enter")
    seen.page.get_by_role("status").get_by_text("Copied.").wait_for()
    types = seen.page.evaluate("navigator.clipboard.read().then(items => [...items[0].types])")
    assert set(types) == {"text/plain", "text/html"}
    assert seen.said == []


def test_without_a_clipboard_the_text_is_selected(visit: Any, panel_file: Path) -> None:
    seen = visit(panel_file)
    seen.page.locator("summary").click()
    seen.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    seen.page.get_by_role("button", name="Copy: For Markdown").click()
    seen.page.get_by_role("status").get_by_text("Selected").wait_for()
    assert seen.page.evaluate("getSelection().toString()") == snippets(embed(), "https://address.invalid/").markdown


def test_without_script_the_panel_has_no_dead_buttons(visit: Any, panel_file: Path) -> None:
    seen = visit(panel_file, java_script_enabled=False)
    seen.page.locator("summary").click()
    assert seen.page.get_by_role("textbox", name="For Markdown").is_visible()
    assert not seen.page.locator("button").first.is_visible()
