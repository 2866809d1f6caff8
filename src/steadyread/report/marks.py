"""Marks within a line of words: bold, italic, code, a class of its own. Each writer puts its own signs for them.

A mark is a pair of control characters that no name of a user's holds once it is `unmarked`, so words are escaped
whole, and marks become tags after that.
"""

import re
from collections.abc import Callable

from markupsafe import Markup, escape

from steadyread.words.glossary import KNOWN, anchor

_OPEN, _NAMED, _CLOSE = "\x01", "\x02", "\x03"
_MARK = re.compile(f"{_OPEN}([a-z -]+){_NAMED}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_CONTROL = re.compile(f"[{_OPEN}{_NAMED}{_CLOSE}]")
_TAGS = {"b": "b", "i": "i", "code": "code", "sub": "sub", "sup": "sup"}
_SIGNS = {"b": "**", "i": "*", "code": "`"}
_PARTED = re.compile(r"(?<=\d) (?=(?:%|HU|mAs|mm|kV)(?![A-Za-z]))")
_MARKDOWN = re.compile(r"[\\`*|~$\[\]]|(?<!\w)_|_(?!\w)")


def unmarked(text: object) -> str:
    """Words of a user's, in which no mark can stand."""
    return _CONTROL.sub("", str(text))


def mark(name: str, text: object) -> str:
    """Words under a mark: `b`, `i`, `code`, `sub`, `sup`, or the name of a class of the page's."""
    return f"{_OPEN}{name}{_NAMED}{unmarked(text)}{_CLOSE}"


def bold(text: object) -> str:
    """Words that stand out."""
    return mark("b", text)


def italic(text: object) -> str:
    """A term."""
    return mark("i", text)


def code(text: object) -> str:
    """A file, a key, a case."""
    return mark("code", text)


def term(text: object) -> str:
    """A term, which the glossary explains, and so does the term itself where it is pointed at; other words as they
    are."""
    return mark("term", text) if str(text).lower() in KNOWN else unmarked(text)


def doi(text: object) -> str:
    """The DOI of a source, as a link to it."""
    return mark("doi", text)


def html(text: object) -> Markup:
    """Words as HTML: everything escaped, marks as tags, line breaks as they stand, a thin space between a
    number and its unit."""
    def tag(found: re.Match[str]) -> str:
        name, inner = found.groups()
        known = _TAGS.get(name)
        if name == "term":
            return f'<a class="term" href="#{anchor(inner)}" data-says="{escape(KNOWN[inner.lower()])}">{inner}</a>'
        if name == "doi":
            return f'<a href="https://doi.org/{inner}">doi:{inner}</a>'
        return f"<{known}>{inner}</{known}>" if known else f'<span class="{name}">{inner}</span>'

    return Markup(_replaced(str(escape(_PARTED.sub("\u202f", str(text)))), tag).replace("\n", "<br>"))


def markdown(text: object) -> str:
    """Words as Markdown on one line: nothing in them ends a cell or opens a tag."""
    def signed(found: re.Match[str]) -> str:
        name, inner = found.groups()
        sign = _SIGNS.get(name, "")
        return f"{sign}{inner}{sign}"

    flat = " ".join(str(text).replace("\n", " ").split(" ")).strip()
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _replaced(_MARKDOWN.sub(r"\\\g<0>", " ".join(escaped.split())), signed)


def plain(text: object) -> str:
    """The words alone, on one line."""
    return " ".join(_replaced(str(text), lambda found: found[2]).split())


def slug(title: object) -> str:
    """The anchor of a title: its letters and digits, with dashes between."""
    return re.sub(r"[^0-9a-z]+", "-", plain(title).lower()).strip("-") or "section"


def _replaced(text: str, by: Callable[[re.Match[str]], str]) -> str:
    before = ""
    while before != text:   # a mark within a mark
        before, text = text, _MARK.sub(by, text)
    return _CONTROL.sub("", text)
