"""A page as a test reads it: its tags and its text, and whether it needs or runs anything."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from steadyread.charts import Chart

HOSTILE = "</script><script>alert(1)</script>"


def lay_out_alone(patch: pytest.MonkeyPatch) -> None:
    """Figures are laid out and saved as nothing: for tests of what a report says, in a fifth of the time."""
    patch.setattr(Chart, "svg", lambda chart: "<svg></svg>")
    patch.setattr(Chart, "vega", lambda chart: {})
    patch.setattr("steadyread.charts.panels.png", lambda svg, scale=2: b"")


class Page(HTMLParser):
    """Tags with their attributes, ids, and text; `scripts` are those that would run, `blocks` are data by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.blocks: dict[str, str] = {}
        self.within: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag

    def handle_endtag(self, tag: str) -> None:
        self.within = None

    def handle_data(self, data: str) -> None:
        if self.within == "style":
            return
        if self.within != "script":
            self.words.append(data)
        elif (self.tags[-1][1].get("type") or "") == "application/json":
            self.blocks[self.tags[-1][1]["id"] or ""] = data
        else:
            self.scripts.append(data)

    @property
    def policy(self) -> str:
        """Of its content."""
        return next(attributes["content"] or "" for _, attributes in self.tags
                    if attributes.get("http-equiv") == "Content-Security-Policy")

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def names(self) -> set[str]:
        """Of its tags."""
        return {tag for tag, _ in self.tags}


def unscripted(text: str) -> str:
    """A page without its scripts and their data."""
    return re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)


def run_by_hash(page: Page) -> None:
    """Every script of the page is one of ours, which the policy names by its hash; a name that a user gave is none."""
    assert page.policy.startswith("default-src 'none'; ")
    assert not re.search(r"unsafe-eval|connect-src|script-src[^;]*unsafe-inline", page.policy)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts]
    assert [f"'sha256-{each}'" for each in hashes] == page.policy.split("script-src ")[1].split()
    assert len(page.scripts) + len(page.blocks) == [tag for tag, _ in page.tags].count("script")
    assert not [attributes for tag, attributes in page.tags if tag == "script" and "src" in attributes]
    assert not [script for script in page.scripts if "alert(" in script]


def refuse_outside(text: str) -> Page:
    """The page, which must need nothing from elsewhere, run its own scripts alone, and name no two things alike."""
    page = Page(text)
    run_by_hash(page)
    assert not page.names & {"link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,", "https://doi.org/10."))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    shown = unscripted(text)
    assert not re.search(r"url\((?!#|data:font/woff2;base64,)", shown)
    assert "@import" not in shown
    return page
