"""Pages in a real browser: what they ask for, what they print to the console, and what a reader sees of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


@dataclass
class Browser:
    """A running browser; what pages asked of the network, and what went wrong in them, since it was last asked."""

    running: Any
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, address: str, width: int = 1280, scripts: bool = True, offline: bool = True,
             **more: Any) -> Iterator[Any]:
        """A page of its own, without a network unless it is not `offline`."""
        context = self.running.new_context(viewport={"width": width, "height": 900}, offline=offline,
                                           java_script_enabled=scripts, **more)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.wrong.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        yield page
        context.close()

    def check(self) -> None:
        """Nothing was asked for but the pages themselves, and nothing went wrong."""
        asked, wrong, self.asked, self.wrong = self.asked, self.wrong, [], []
        assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
        assert wrong == []


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window; a skip that says what is missing where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield Browser(running)
        running.close()


def saved(folder: Path, name: str, html: str) -> str:
    """The address of a page kept in a folder."""
    file = folder / f"{name}.html"
    file.write_text(html, encoding="utf-8")
    return file.as_uri()
