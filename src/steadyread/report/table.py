"""A table, declared once and written as HTML (by the page), Markdown, lines for a terminal, and CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from steadyread.metrics.intervals import Estimate
from steadyread.report import marks

INTERVAL = "95 % interval"
# About how wide a letter, what stands between columns and a column of numbers are, in px; and the widths of a place,
# from the narrowest on, below which the rows of a table that needs more stand as cards: the page's style has a class
# for each.
_LETTER, _BETWEEN, _SNUG, _NUMBER = 6.7, 26.0, 18.0, 72.0
_WRAPPED = 30      # letters of a text that may wrap
_PLACES = {"over-s": 390, "over-m": 600, "over-l": 790}
_LEAST = min(_PLACES.values())
Shown = Callable[[Any], str]


@dataclass(frozen=True)
class Cell:
    """What stands in one cell: words, small words beneath, a tooltip, how many columns it covers, its class."""

    text: str
    tone: str = ""
    beneath: str = ""
    hint: str = ""
    span: int = 1
    head: bool = False


@dataclass(frozen=True)
class Form:
    """How a value of a column is shown: in words, and what stands `beside` it in a column of its own, or `beneath`."""

    show: Shown
    tone: str = "num"
    beside: Shown | None = None
    beside_title: str = INTERVAL
    beneath: Shown | None = None
    hint: Shown | None = None


@dataclass(frozen=True)
class As:
    """A value that is shown by another form than its column's."""

    value: Any
    form: Form


@dataclass(frozen=True)
class Column:
    """A column: its title, how its values are shown, and the group of columns that it stands in.

    `head` marks the column that names the row: the first, unless a table says otherwise.
    """

    title: str
    form: Form
    group: str = ""
    head: bool = False
    tone: str = ""

    @property
    def titles(self) -> tuple[str, ...]:
        """Its own title, and that of what stands beside its values."""
        return (self.title,) if self.form.beside is None else (self.title, self.form.beside_title)

    def cells(self, value: Any, head: bool) -> Iterator[Cell]:
        """The cells of a value."""
        form = self.form
        if isinstance(value, As):
            value, form = value.value, value.form
        if isinstance(value, Cell):
            yield value
            return
        tone = " ".join(filter(None, (form.tone, self.tone)))
        yield Cell(form.show(value), tone, form.beneath(value) if form.beneath else "",
                   form.hint(value) if form.hint else "", head=head)
        if form.beside is not None:
            yield Cell(form.beside(value), "ci")


@dataclass(frozen=True)
class Head:
    """A cell of a table's head."""

    title: str
    tone: str
    across: int = 1
    down: int = 1


@dataclass(frozen=True)
class Band:
    """A row that is a title over those that follow."""

    title: str


@dataclass(frozen=True)
class Row:
    """Values, a column each; `begins` draws a line above, `tone` is a class of the page's."""

    values: tuple[Any, ...]
    begins: bool = True
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, with what is said above and below. `tone` are classes of the page's."""

    columns: tuple[Column, ...]
    rows: tuple[Row | Band, ...]
    above: str = ""
    note: str = ""
    tone: str = ""

    @property
    def width(self) -> int:
        """How many columns are drawn."""
        return sum(len(column.titles) for column in self.columns)

    @cached_property
    def head(self) -> list[list[Head]]:
        """The rows of the head: one, or two where columns are grouped."""
        grouped = any(column.group for column in self.columns)
        first: list[Head] = []
        second: list[Head] = []
        for group, members in groupby(self.columns, key=lambda column: column.group):
            titles = [Head(title, " ".join(filter(None, ("ci" if at else column.form.tone, column.tone))))
                      for column in members for at, title in enumerate(column.titles)]
            if not grouped:
                first += titles
            elif group:
                first.append(Head(group, "group", across=len(titles)))
                second += titles
            else:
                first += [Head(each.title, each.tone, down=2) for each in titles]
        return [first, second] if grouped else [first]

    @cached_property
    def body(self) -> list[list[Cell] | Band]:
        """The rows as cells."""
        heads = [column.head for column in self.columns]
        named = heads if any(heads) else [True, *[False] * (len(self.columns) - 1)]
        return [row if isinstance(row, Band) else self._cells(row, named) for row in self.rows]

    def _cells(self, row: Row, named: Sequence[bool]) -> list[Cell]:
        cells: list[Cell] = []
        for column, value, head in zip(self.columns, row.values, named, strict=False):
            cells += column.cells(value, head)
        return cells

    @property
    def titles(self) -> list[str]:
        """The title of every column drawn, its group before it."""
        return [f"{column.group}: {title}" if column.group else title
                for column in self.columns for title in column.titles]

    def texts(self) -> Iterator[list[str]]:
        """Every row as plain words, what stands beneath behind in brackets."""
        for row in self.body:
            if isinstance(row, Band):
                yield [row.title, *[""] * (self.width - 1)]
                continue
            words: list[str] = []
            for cell in row:
                words += [f"{cell.text} ({cell.beneath})" if cell.beneath else cell.text, *[""] * (cell.span - 1)]
            yield words + [""] * (self.width - len(words))

    @property
    def need(self) -> float:
        """About how wide it is drawn, px."""
        widths = [_longest(title) if "snug" in self.tone else len(marks.plain(title)) for title in self.titles]
        for row in self.body:
            at = 0
            for cell in row if isinstance(row, list) else ():
                if cell.span == 1:
                    letters = max(len(marks.plain(cell.text)), *map(len, cell.beneath.split("\n")))
                    widths[at] = max(widths[at], min(letters, _WRAPPED) if "wrap" in cell.tone else letters)
                at += cell.span
        if "snug" not in self.tone:
            return sum(_LETTER * letters + _BETWEEN for letters in widths)
        least = 0.0 if "close" in self.tone else _NUMBER     # of the head of a column of numbers
        return sum(max(_LETTER * letters + _SNUG, least) for letters in widths)

    def html(self) -> Markup:
        """An HTML table, whose rows stand as cards where it is too wide, with what is said above and below."""
        lines = [f'<p class="above">{marks.html(self.above)}</p>'] if self.above else []
        need = self.need
        tone = " ".join(filter(None, (self.tone, *(name for name, width in _PLACES.items() if need > width))))
        lines.append(f'<div class="scroll" tabindex="0"><table{_class(tone)}>\n<thead>')
        lines += [f"<tr>{''.join(map(_head, heads))}</tr>" for heads in self.head]
        lines.append("</thead>\n<tbody>")
        for row, cells in zip(self.rows, self.body, strict=True):
            if isinstance(cells, Band):
                lines.append(f'<tr><th scope="rowgroup"{_spans(self.width)} class="over">{marks.html(cells.title)}'
                             "</th></tr>")
            else:
                tone = " ".join(filter(None, ("first" if row.begins else "", row.tone))) if isinstance(row, Row) else ""
                lines.append(f"<tr{_class(tone)}>{''.join(_cells(cells, self.titles if need > _LEAST else ()))}</tr>")
        lines.append("</tbody></table></div>")
        if self.note:
            lines.append(f'<p class="note">{marks.html(self.note)}</p>')
        return Markup("\n".join(lines))   # every text in it went through marks.html, which escapes

    def markdown(self) -> Iterator[str]:
        """The lines of a Markdown table, with what is said above and below."""
        if self.above:
            yield from (marks.markdown(self.above), "")
        yield f"| {' | '.join(marks.markdown(title) for title in self.titles)} |"
        tones = [column.form.tone for column in self.columns for _ in column.titles]
        yield f"|{'|'.join(' ---: ' if 'num' in tone else ' --- ' for tone in tones)}|"
        for row in self.texts():
            yield f"| {' | '.join(marks.markdown(text) for text in row)} |"
        yield ""
        if self.note:
            yield from (marks.markdown(self.note), "")

    def lines(self) -> Iterator[str]:
        """The rows aligned for a terminal."""
        rows = [[marks.plain(text) for text in row] for row in (self.titles, *self.texts())]
        right = [column.form.tone == "num" for column in self.columns for _ in column.titles]
        widths = [max(len(row[at]) for row in rows) for at in range(self.width)]
        for row in rows:
            yield "  ".join(text.rjust(width) if aside else text.ljust(width) for text, width, aside in zip(
                row, widths, right, strict=True)).rstrip()

    def csv(self) -> str:
        """The values as they are, an estimate as value, low and high; titles in the first row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rows = [[value.value if isinstance(value, As) else value for value in row.values]
                for row in self.rows if isinstance(row, Row)]
        wide = [any(isinstance(row[at], Estimate) for row in rows if at < len(row)) for at in range(len(self.columns))]
        writer.writerow([title for column, several in zip(self.columns, wide, strict=True) for title in _named(
            column, several)])
        for row in rows:
            writer.writerow([value for each, several in zip(row, wide, strict=False)
                             for value in _values(each, several)])
        return text.getvalue()


def _head(head: Head) -> str:
    scope = "colgroup" if head.across > 1 else "col"
    return f'<th scope="{scope}"{_spans(head.across, head.down)}{_class(head.tone)}>{marks.html(head.title)}</th>'


def _cells(cells: Sequence[Cell], titles: Sequence[str]) -> Iterator[str]:
    """The cells of a row, each with the title of its column, if any are given."""
    at = 0
    for cell in cells:
        yield _cell(cell, marks.plain(titles[at]) if titles and cell.text and not cell.head else "")
        at += cell.span


def _cell(cell: Cell, title: str) -> str:
    named = cell.head and cell.text      # what the row before named is no head without words
    tag, scope = ("th", ' scope="row"') if named else ("td", "")
    beneath = f'<span class="under">{marks.html(cell.beneath)}</span>' if cell.beneath else ""
    hint = f' title="{escape(cell.hint)}"' if cell.hint else ""
    of = f' data-of="{escape(title)}"' if title else ""
    return (f"<{tag}{scope}{_spans(cell.span)}{_class(cell.tone)}{hint}{of}>{marks.html(cell.text)}{beneath}"
            f"</{tag}>")


def _longest(title: str) -> int:
    """Of the words of a head that wraps."""
    return max((len(word) for word in marks.plain(title).split()), default=0)


def _class(tone: str) -> str:
    return f' class="{tone}"' if tone else ""


def _spans(across: int, down: int = 1) -> str:
    return (f' colspan="{across}"' if across > 1 else "") + (f' rowspan="{down}"' if down > 1 else "")


def _named(column: Column, several: bool) -> list[str]:
    title = marks.plain(f"{column.group}: {column.title}" if column.group else column.title)
    return [title, f"{title}, low", f"{title}, high"] if several else [title]


def _values(value: Any, several: bool) -> list[Any]:
    if isinstance(value, Estimate):
        return [value.value, value.low, value.high]
    if isinstance(value, Cell):
        value = marks.plain(value.text)
    elif isinstance(value, str):
        value = marks.plain(value)
    return [value, "", ""] if several else [value]


def table(columns: Sequence[Column], rows: Sequence[Row | Band | Sequence[Any]], *, above: str = "", note: str = "",
          tone: str = "") -> Table:
    """A `Table` of plain sequences."""
    return Table(tuple(columns), tuple(row if isinstance(row, Row | Band) else Row(tuple(row)) for row in rows),
                 above, note, tone)


def begun(rows: Sequence[Sequence[Any]], by: int = 0) -> list[Row]:
    """Rows of which those that share the value of a column with the row before leave it out, without a line."""
    out: list[Row] = []
    last: Any = object()
    for values in rows:
        same = values[by] == last
        last = values[by]
        out.append(Row((*values[:by], "" if same else values[by], *values[by + 1:]), not same))
    return out
