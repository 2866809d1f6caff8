"""A page as a test reads it: its tags and its text, and whether it needs or runs anything."""

import re
from html.parser import HTMLParser

import pytest

from steadyread.charts import Chart

HOSTILE = "</script><script>alert(1)</script>"


def lay_out_alone(patch: pytest.MonkeyPatch) -> None:
    """Figures are laid out and saved as nothing: for tests of what a report says, in a fifth of the time."""
    patch.setattr(Chart, "svg", lambda chart: "<svg></svg>")
    patch.setattr("steadyread.charts.panels.png", lambda svg, scale=2: b"")


class Page(HTMLParser):
    """Tags with their attributes, ids, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def names(self) -> set[str]:
        """Of its tags."""
        return {tag for tag, _ in self.tags}


def refuse_outside(text: str) -> Page:
    """The page, which must need nothing from elsewhere, run nothing, and name no two things alike."""
    page = Page(text)
    assert not page.names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    return page
