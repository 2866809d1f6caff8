"""The scripts of a page and the data they read, as parts of the page itself, and the policy that runs these alone.

A page runs a script by the hash of its text and nothing else: no handler in a tag, no `eval`, nothing loaded, no way to
send anything. Data stand in blocks that are never run, with every character escaped that could end one.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any, Protocol, runtime_checkable

from markupsafe import Markup, escape

_POLICY = ("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", "font-src data:")
_ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
_ENDS = ("</script", "<script", "<!--", "\r")     # what a text between script tags must not hold


@dataclass(frozen=True)
class Script:
    """A script by the name of its file within the folder of this module: "browser/bar.js"."""

    file: str

    @cached_property
    def text(self) -> str:
        """What it runs.

        Raises:
            ValueError: it holds what would end it within a page.
        """
        text = (resources.files("steadyread.report") / self.file).read_text(encoding="utf-8")
        for ends in _ENDS:
            if ends in text.lower():
                raise ValueError(f"{self.file}: a script within a page cannot hold {ends!r}")
        return text

    @property
    def hash(self) -> str:
        """By which the policy knows it."""
        return f"'sha256-{base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode()}'"


@dataclass(frozen=True, eq=False)
class Block:
    """Plain values that scripts read, under the id of their element."""

    name: str
    values: Any = field(repr=False)

    def html(self) -> Markup:
        """The element: `JSON.parse(document.getElementById(name).textContent)` gives the values; what is no number is
        null.

        Raises:
            ValueError: a number that is not finite.
        """
        written = json.dumps(self.values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text = written.translate(_ESCAPED)
        return Markup(f'<script type="application/json" id="{escape(self.name)}">{text}</script>')


@runtime_checkable
class Live(Protocol):
    """What a page's script brings to life: an item with its scripts and blocks."""

    @property
    def scripts(self) -> Sequence[Script]:
        """In the order in which they run, each once on a page."""
        ...

    @property
    def blocks(self) -> Sequence[Block]:
        """What they read."""
        ...


BAR, HANDLE, DOWNLOADS = (Script(f"browser/{name}.js") for name in ("bar", "handle", "downloads"))
TRIAGE, COPY = Script("browser/triage.js"), Script("browser/copy.js")
CASES = tuple(Script(f"browser/{name}.js") for name in (
    "case_data", "case_scatter", "case_list", "case_walk", "case_viewer", "cases"))


@dataclass(frozen=True)
class Scripts:
    """All scripts of a page, each once in the order of their first use, with the blocks that they read."""

    scripts: tuple[Script, ...]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, items: Iterable[object], first: Sequence[Script] = (BAR,)) -> "Scripts":
        """Those that any of the items needs."""
        live = [item for item in items if isinstance(item, Live)]
        scripts = dict.fromkeys([*first, *(script for item in live for script in item.scripts)])
        blocks = {block.name: block for item in live for block in item.blocks}
        return cls(tuple(scripts), tuple(blocks.values()))

    @property
    def policy(self) -> str:
        """The page's content security policy."""
        hashes = " ".join(script.hash for script in self.scripts)
        return "; ".join([*_POLICY, f"script-src {hashes}" if hashes else "script-src 'none'"])

    def html(self) -> Markup:
        """Blocks and scripts, to stand at the end of the body."""
        runs = [Markup(f"<script>{script.text}</script>") for script in self.scripts]    # ours alone
        return Markup("\n").join([*(block.html() for block in self.blocks), *runs])
