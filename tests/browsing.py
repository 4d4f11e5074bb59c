"""Pages opened from files in a real browser with the network denied: fixtures of the tests that look at them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Chromium's commands, first that which has no windows and takes two thirds of the time."""
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
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
PAGES = (
    "index",
    "methods",
    "data/index",
    "districts/index",
    "districts/kp-swat",
    "districts/kp-hangu",
    "services/index",
    "services/cps-health",
    "kp-2021/index",
    "kp-2021/quality",
    "kp-2021/satisfied",
    "kp-2021/heard",
    "punjab-2021/minutes",
    "kp-2021/drivers",
    "kp-2021/drivers-care",
    "kp-2021/drivers-care-districts",
    "ur/index",
    "ur/data/index",
    "ur/districts/kp-swat",
    "ur/kp-2021/satisfied",
)
"""One page of each type, and of a type whose pages differ in what they have more than one (`site_tables`)."""
EMBEDS = (
    *(f"kp-2021/satisfied-{kind}-embed" for kind in ("map", "bands", "change", "uncertainty", "tiles", "ranking")),
    "kp-2021/kp-swat-card-embed",
)
"""An embed page of each kind."""


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
        self.page.on("dialog", self._dismiss)
        self.page.goto(file.as_uri())

    @staticmethod
    def _files_only(route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            route.abort()

    def _dismiss(self, dialog: Any) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

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
