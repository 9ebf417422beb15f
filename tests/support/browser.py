"""A headless Chromium on the pages, and what a test wants to know of one: its errors, its accessibility, its charts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

from api.people import SESSION_COOKIE
from gistline.domain import Person
from gistline.storage.session import transaction
from gistline.storage.web_sessions import open_session
from tests.support.api import RunningApi

SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: Final = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", "color_scheme": "light"}
PHONE: Final = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN", "color_scheme": "dark", "has_touch": True}
WAIT_MS: Final = 15_000


def find_chromium() -> str:
    """Path of the installed browser; skips on a laptop without one, fails where ``CI`` promises it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "No Chromium is installed. Install it: make tools."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed browser with an empty profile, driven by Playwright, which brings none of its own."""
    path = find_chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(SWITCHES))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that notes what went wrong on it: messages of its console, failed requests, requests to elsewhere."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda message: self.faults.append(f"console {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self._note_failure(request.url, request.failure or ""))
        self.page.on("request", lambda request: self._note_elsewhere(request.url))

    def open(self, path: str) -> Visit:
        """Go to a path, wait until everything on it has come."""
        self.page.goto(self.url + path, wait_until="networkidle" if "wall" not in path else "load")
        return self

    def follow(self, link: Locator) -> None:
        """Click what leads to another page, and wait until it is there."""
        with self.page.expect_navigation():
            link.click()

    def text(self, selector: str) -> str:
        """What an element says."""
        return self.page.locator(selector).inner_text()

    def texts(self, selector: str) -> list[str]:
        """What each of the elements says."""
        return self.page.locator(selector).all_inner_texts()

    def evaluate(self, script: str) -> Any:
        """Value of an expression on the page."""
        return self.page.evaluate(script)

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return cast(int, self.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def barriers(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, and against good practice."""
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        return [f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes'][:3]]}" for one in found]

    def _note_failure(self, url: str, reason: str) -> None:
        if "ERR_ABORTED" not in reason:  # a click led on before everything had come
            self.faults.append(f"not loaded: {url}")

    def _note_elsewhere(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"asks elsewhere: {url}")


@contextmanager
def visiting(browser: Browser, api: RunningApi, person: Person | None, **look: Any) -> Iterator[Visit]:
    """A fresh window, with the session of a person; whatever went wrong in it fails the test."""
    context = browser.new_context(**(DESKTOP | look))
    try:
        if person is not None:
            sign_in(context, api, person)
        visit = Visit(context.new_page(), api.url)
        yield visit
        assert visit.faults == []
    finally:
        context.close()


def sign_in(context: BrowserContext, api: RunningApi, person: Person) -> None:
    """Give the window a session, as signing in would."""
    with transaction(api.sessions) as session:
        token = open_session(session, person.id, max_h=12)
    context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": api.url}])


def drawn_shapes(visit: Visit) -> dict[str, int]:
    """Of each chart, how many bars, lines and points have an extent."""
    script = """() => Object.fromEntries([...document.querySelectorAll('[data-chart]')].map(place => [place.id,
        [...place.querySelectorAll('.bars path, .scatterlayer path')].filter(one => {
            const box = one.getBoundingClientRect(); return box.width + box.height > 1;
        }).length]))"""
    visit.page.locator("[data-chart] .main-svg").first.wait_for()
    return cast("dict[str, int]", visit.evaluate(script))


def colours_of(picture: bytes, path: Path) -> int:
    """How many different colours a screenshot has."""
    from PIL import Image

    path.write_bytes(picture)
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(1 << 24) or ())


def rows_of(visit: Visit, selector: str = "#finding-table") -> list[Sequence[str]]:
    """A table's cells."""
    script = f"""[...document.querySelectorAll('{selector} tbody tr')].map(
        row => [...row.children].map(cell => cell.innerText.trim()))"""
    return cast("list[Sequence[str]]", visit.evaluate(script))
