"""What a stream can show, and words put so that it shows them well: wrapped, in columns, as bars, as links.

Where no terminal is at the other end no line is broken and nothing is coloured, so that programs can read on.
"""

import os
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from steadyread.names import shown

NARROWEST, WIDEST = 40, 100     # columns that text is put in
_USUAL = 80
_BAR = (10, 24)                 # columns of a bar, at least and at most
_DUMB = ("", "dumb", "unknown")
_EIGHTHS = " ▏▎▍▌▋▊▉"
_UNPARTED = re.compile(r"(?<=\d) (?=(?:%|HU|mAs|mm|ms|s|min|h)(?!\w))")     # of a number and its unit
_KEPT = "\u00a0"

Tone = Literal["", "bold", "soft", "good", "bad", "doubt", "steady"]
_CODES: dict[Tone, str] = {"bold": "1", "soft": "2", "good": "32", "bad": "1;31", "doubt": "33", "steady": "36"}
_IN_ASCII = {"✓": "ok", "✗": "x", "–": "-"}


@dataclass(frozen=True)
class Screen:
    """What a stream shows: `width` in columns (None: lines are as long as they come), whether it is `coloured`,
    whether it takes `links` (OSC 8), and whether it takes `signs` beyond ASCII."""

    width: int | None = None
    coloured: bool = False
    links: bool = False
    signs: bool = True

    def toned(self, text: str, tone: Tone) -> str:
        """The text in a tone, as it is where there is no colour."""
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if tone and self.coloured and text else text

    def sign(self, sign: str) -> str:
        """A sign, in ASCII where the stream takes no other."""
        return sign if self.signs else _IN_ASCII.get(sign, sign)

    def link(self, path: str | Path) -> str:
        """A file's path, which opens the file where the stream takes links."""
        text = shown(str(path))
        if not self.links:
            return text
        return f"\x1b]8;;{Path(path).absolute().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\"

    def wrapped(self, text: str, first: str = "", then: str | None = None, width: int | None = None) -> list[str]:
        """The text in lines that part no word, and no number from its unit; `first` stands before the first line,
        `then` before the others (as many spaces, if None). A word that is wider than the screen stays whole."""
        then, width = " " * len(first) if then is None else then, width or self.width
        if width is None:
            return [f"{first}{text}"]
        lines = textwrap.wrap(_UNPARTED.sub(_KEPT, text), width, initial_indent=first, subsequent_indent=then,
                              break_long_words=False, break_on_hyphens=False)
        return [line.replace(_KEPT, " ") for line in lines] or [first.rstrip()]

    def bar(self, share: float, width: int) -> str:
        """A bar of so many columns, filled to a share of it."""
        eighths = round(8 * width * min(max(share, 0.0), 1.0))
        if not self.signs:
            return ("#" * round(eighths / 8)).ljust(width, ".")
        whole, part = divmod(eighths, 8)
        return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width, "░" if not self.coloured else " ")


def screen_of(stream: TextIO | None) -> Screen:
    """What a stream shows: colour and links where it is a terminal that is not dumb, colour unless NO_COLOR is set."""
    signs = "utf" in (getattr(stream, "encoding", None) or "utf-8").lower()
    if not is_terminal(stream):
        return Screen(signs=signs)
    clever = os.environ.get("TERM", "") not in _DUMB
    return Screen(min(max(_columns(stream), NARROWEST), WIDEST), clever and not os.environ.get("NO_COLOR"), clever,
                  signs)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks on at the other end."""
    with suppress(ValueError, AttributeError):     # a closed one; a closed stdout is none
        return stream is not None and stream.isatty()
    return False


def is_clever(stream: TextIO | None) -> bool:
    """Whether it is a terminal on which a line can be drawn again."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in _DUMB


def _columns(stream: TextIO | None) -> int:
    with suppress(ValueError):
        if stated := int(os.environ.get("COLUMNS", "")):
            return stated
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno() if stream is not None else 1).columns or _USUAL
    return _USUAL


@dataclass(frozen=True)
class Words:
    """A paragraph in a tone, after a sign."""

    text: str
    tone: Tone = ""
    sign: str = ""

    def lines(self, screen: Screen) -> Iterator[str]:
        """Its lines, those after the first below the words."""
        first = f"{screen.sign(self.sign)} " if self.sign else ""
        for line in screen.wrapped(shown(self.text), first):
            yield screen.toned(line, self.tone)


@dataclass(frozen=True)
class Rows:
    """Words in columns below a head, those of `left` to the left, the others to the right.

    Where the screen is too narrow for that, a row is a paragraph: its first words, then each column's with its head.
    """

    rows: Sequence[Sequence[str]]
    head: bool = True
    left: Collection[int] = (0,)

    def lines(self, screen: Screen) -> Iterator[str]:
        """The head, where there is one, and the rows."""
        rows = [[shown(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if screen.width is not None and sum(widths) + 2 * (len(widths) - 1) > screen.width:
            yield from _blocks(rows if self.head else [[""] * len(widths), *rows], screen)
            return
        for at, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) if place in self.left else cell.rjust(width) for place, (cell, width)
                             in enumerate(zip(row, widths, strict=True))).rstrip()
            yield screen.toned(line, "soft") if self.head and not at else line


def _blocks(rows: Sequence[Sequence[str]], screen: Screen) -> Iterator[str]:
    head, *others = rows
    first = ""
    for row in others:
        first = row[0] or first
        told = ", ".join(f"{title} {cell}".lstrip() for title, cell in zip(head[1:], row[1:], strict=True) if cell)
        yield from screen.wrapped(": ".join(filter(None, (first, told))), "", "  ")


@dataclass(frozen=True)
class Bar:
    """A share with its name, the words behind it, and further ones."""

    name: str
    share: float | None
    words: str
    more: str = ""


@dataclass(frozen=True)
class Bars:
    """Shares below each other, each as a bar."""

    bars: Sequence[Bar]
    title: str = ""

    def lines(self, screen: Screen) -> Iterator[str]:
        """The title, and a line a bar; two where the screen is narrow."""
        if self.title:
            yield from screen.wrapped(shown(self.title))
        least, most = _BAR
        names, words, more = (max(len(shown(text)) for text in column) for column in zip(*(
            (bar.name, bar.words, bar.more) for bar in self.bars), strict=True))
        beside = screen.width is None or screen.width - names - words - more - 8 >= least
        room = most if screen.width is None else min(most, screen.width - names - words - 6 - (more + 2) * beside)
        for bar in self.bars:
            drawn = screen.toned(screen.bar(bar.share or 0.0, max(room, least)), "steady")
            if room >= least:
                yield (f"  {shown(bar.name).ljust(names)}  {drawn}  {shown(bar.words).ljust(words)}"
                       f"{f'  {shown(bar.more)}' if beside else ''}").rstrip()
            else:
                yield from screen.wrapped(shown(bar.name), "  ")
                yield f"    {drawn}  {shown(bar.words)}"
            if bar.more and not beside:
                yield from screen.wrapped(shown(bar.more), "    ")


@dataclass(frozen=True)
class Place:
    """A file with what it is, as a link."""

    name: str
    path: str

    def lines(self, screen: Screen) -> Iterator[str]:
        """One line, or two where the path does not fit beside the name."""
        path = screen.link(self.path)
        if screen.width is not None and len(self.name) + 2 + len(shown(self.path)) > screen.width:
            yield from (f"{self.name}:", path)
        else:
            yield f"{self.name}: {path}"


@dataclass(frozen=True)
class Command:
    """A command to go on with, which can be copied also where it takes several lines."""

    name: str
    text: str

    def lines(self, screen: Screen) -> Iterator[str]:
        """The command behind its name; broken as a shell takes it."""
        first = f"{self.name}: "
        broken = screen.wrapped(shown(self.text), first, "    ", None if screen.width is None else screen.width - 2)
        for at, line in enumerate(broken):
            start, rest = (first, line[len(first):]) if not at else ("    ", line[4:])
            yield f"{start}{screen.toned(rest, 'bold')}{' ' + chr(92) if at < len(broken) - 1 else ''}"


@dataclass(frozen=True)
class Listing:
    """Text of a file, as it is."""

    text: str

    def lines(self, screen: Screen) -> Iterator[str]:
        """Its lines, unbroken."""
        yield from map(shown, self.text.splitlines())


Piece = str | Words | Rows | Bars | Place | Command | Listing


def lines(pieces: Iterable[Piece], screen: Screen = Screen()) -> Iterator[str]:
    """Pieces as lines of text; control characters of the data are escaped."""
    for piece in pieces:
        yield from (Words(piece) if isinstance(piece, str) else piece).lines(screen)
