"""Every case to look at: which ones flip easily, and what flips them."""

from collections.abc import Iterator

import numpy as np

from steadyread.report.case_data import CaseData
from steadyread.report.cases import SETS, ShownCases
from steadyread.report.items import CaseBrowser, Item, Text
from steadyread.report.section import CASES, section
from steadyread.report.table import Column, Form, Row, Table
from steadyread.words.numbers import NONE, digits, percent

_FIRST, _LEAST = 12, 4      # rows of the tables that stand in for the list, and of each where there are several
_SELECTED = "These are the most fragile, the wrong ones and some drawn, not all."
_TITLES = ("Case", "Truth", "Read as", "Sure")


@section(CASES.title, of=ShownCases, order=100)
def cases(shown: ShownCases) -> Iterator[Item]:
    """The browser of the cases, and what of patients is in the file."""
    if not any(len(block.id) for block in shown.blocks):
        return
    every = all(len(block.id) == block.total for block in shown.blocks)
    yield Text(f"{'Every read' if every else 'Reads'}, by how sure the network is and how little it takes to change "
               f"it. Low and to the right: sure, and easily flipped.{'' if every else ' ' + _SELECTED}")
    yield CaseBrowser(shown.as_json(), tuple(
        _first(block, max(_LEAST, _FIRST // len(shown.blocks)), shown.of) for block in shown.blocks if len(block.id)))
    yield Text(" ".join(filter(None, (shown.contains, shown.missing))), "note")


def _first(block: CaseData, most: int, of: str) -> Table:
    """The cases that flip most easily, which stand first."""
    count, total = min(most, len(block.id)), f"{block.total:,} cases"
    which = (f"The {count} of {total} that flip most easily" if count < block.total
             else f"All {total}, the easiest to flip first")
    where = (f" in {block.set}" if of == SETS else f" ({block.set})") if block.set else ""
    unit = f" ({block.axis.unit})" if block.axis.unit else ""
    flips = Column(f"Half of the draws flip at{unit}" if block.axis.kind == "dose" else f"Flips at{unit}", Form(_size))
    columns = (*(Column(title, Form(str, "num" if title == "Sure" else "")) for title in _TITLES), flips)
    rows = [Row((block.id[at], _name(block, block.truth[at]), _read(block, at), _share(block.sure[at]),
                 block.flip[at] * block.axis.per)) for at in range(count)]
    return Table(columns, tuple(rows), above=f"{which}{where}.", tone="snug")


def _size(size: float) -> str:
    return digits(size) if np.isfinite(size) else "none found"


def _share(sure: float) -> str:
    return percent(float(sure), 0) if np.isfinite(sure) else NONE


def _name(block: CaseData, place: int) -> str:
    return block.classes[place] if 0 <= place < len(block.classes) else NONE


def _read(block: CaseData, at: int) -> str:
    wrong = 0 <= block.truth[at] != block.read[at]
    return f"{'✕ ' if wrong else ''}{_name(block, block.read[at])}"
