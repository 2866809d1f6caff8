"""The first screen over several networks, findings or data sets: a row each, hollow before hardening, solid after."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from steadyread.charts import Axis, Chart, Entry, Interval, chart, interval
from steadyread.charts.look import BLUE, INK, Look
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import LINF, ORIGINAL
from steadyread.report.answer import counts_of, lead, trust
from steadyread.report.items import Card, Cards, Item, Lead
from steadyread.report.marks import slug
from steadyread.report.networks import Network, Networks
from steadyread.store import PLAIN
from steadyread.words.answer import across_answer, nearest_flips, size_shown
from steadyread.words.numbers import counted
from steadyread.words.sets import OUTCOMES

Row = dict[str, Any]
Invalid = Callable[[Network], Sequence[Mapping[str, Any]]]
ROWS = "rows"            # the name of the chart
_ROOM = 1.5              # beside the first and the last interval, as a factor
_PLACES = {"finding": "finding-by-finding", "network": "the-networks-side-by-side"}


def across_of(networks: Networks, titles: Mapping[str, str] | None = None, ways: Mapping[str, str] | None = None,
              invalid: Invalid = lambda network: []) -> dict[str, Any] | None:
    """What several networks come to beside each other, as `summary.json` holds it; None for one, or without flips.

    `rows` have the `title`, the `place` of the page that tells more, the median smallest flip (`median`, an estimate in
    native units; that of the hardened network as `after`), `unit`, `range`, `noise` (the SD in the images, None where
    unknown), what became of hardening (`way`, a key of `OUTCOMES`), and the findings that leave no valid result.
    `own` is the network, or the finding, that the rest of a page tells of; None of data sets.

    Args:
        titles, ways: of data sets, by name; a run of one set has none.
        invalid: the findings by which no number of a network means what it says.
    """
    kind = "set" if titles is not None else "finding" if networks.findings else "network"
    shown = [each for each in networks.networks if each.cell.stage == PLAIN and not each.cell.round
             and (titles is None or each.cell.data in titles)
             and each.estimate("median_smallest_flip", LINF) is not None]
    rows = [_row(each, networks, kind, titles or {}, ways or {}) | {"invalid": list(invalid(each))} for each in shown]
    checks = counts_of(finding for each in shown for finding in each.cell.findings)
    if len(rows) < 2:
        return None
    own = next((each for each in shown if each.cell.network == ORIGINAL), shown[0])
    return {"kind": kind, ROWS: rows, "checks": checks, "own": None if kind == "set" else own.title}


def _row(network: Network, networks: Networks, kind: str, titles: Mapping[str, str], ways: Mapping[str, str]) -> Row:
    own, data = network.cell, network.cell.data
    after = next((each for each in networks.networks if (each.cell.data, each.cell.network) == (data, own.network)
                  and each.cell.hardened and not each.cell.round and each.cell.stage == "hardened"), None)
    several = len({each.cell.network for each in networks.networks if each.cell.data == data}) > 1
    name = ", ".join([titles[data], *([own.network.replace("_", " ")] if several else [])]) if titles else network.title
    place = f"set-{slug(titles[data])}" if titles else _PLACES[kind]
    return {"title": name, "place": place, "median": network.estimate("median_smallest_flip", LINF),
            "after": after.estimate("median_smallest_flip", LINF) if after else None, "unit": network.bounds.unit,
            "range": network.bounds.range, "way": ways.get(data),
            "noise": network.image_noise}


def several_lead(across: Mapping[str, Any], kicker: str, items: Sequence[Item] = ()) -> Lead:
    """The answer over all, beside the chart of rows."""
    return lead(across_answer(across), kicker, items, ROWS)


def several_chart(across: Mapping[str, Any]) -> Chart | None:
    """A dot and an interval a row, each a link; in units of each one's own noise where all of it is known, else by
    share of the range. None where nothing was flipped."""
    rows = [row for row in across[ROWS] if not row["invalid"]]
    own_noise = all(row["noise"] for row in rows)
    ends = [end for row in rows for found in (row["median"], row["after"]) if found is not None
            for end in (_scaled(found.value, row, own_noise), _scaled(found.low, row, own_noise),
                        _scaled(found.high, row, own_noise)) if end and math.isfinite(end)]
    if not ends:
        return None
    low, high = min(ends) / _ROOM, max(ends) * _ROOM
    lines = [line for row in rows for line in _lines(row, own_noise, high)]
    hardened = any(row["after"] is not None for row in rows)
    key = (Entry("before hardening", Look(INK), line=False, hollow=True), Entry("after", Look(BLUE), line=False)
           ) if hardened else ()
    what = "times the noise (SD) in its own images" if own_noise else "share of the range"
    judged = "What became of hardening stands behind; it is judged by the reads under attack. " if hardened else ""
    return chart(ROWS, "The change that flips half of the correct reads. Lines: 95 % intervals over patients. "
                 f"{judged}Each name leads to its part of the page.", interval(
        lines, Axis(f"smallest flip, median: {what}", (low, high), log=True), key=key))


def _lines(row: Row, own_noise: bool, high: float) -> Iterator[Interval]:
    after, words = row["after"], OUTCOMES.get(row["way"] or "", "")
    for found, look, hollow in ((row["median"], Look(INK), after is not None), (after, Look(BLUE), False)):
        if found is None or found.value is None:
            continue
        never = math.isinf(found.value)
        told = "half never flipped" if never else words if found is after or after is None else ""
        ends = [None if never else _scaled(end, row, own_noise) for end in (found.low, found.high)]
        yield Interval(row["title"], min(_scaled(found.value, row, own_noise) or 0.0, high), ends[0], ends[1], look,
                       hollow=hollow, words=told, plain=True, link=f"#{row['place']}")


def _scaled(value: float | None, row: Row, own_noise: bool) -> float | None:
    return None if value is None else value / (row["noise"] if own_noise else row["range"])


def several_facts(across: Mapping[str, Any]) -> Cards:
    """How many, the smallest median and the largest, and the checks."""
    return Cards((*_facts(across), trust(across["checks"])), "facts")


def _facts(across: Mapping[str, Any]) -> Iterator[Card]:
    rows = nearest_flips(across)
    yield Card(counted(len(across[ROWS]), str(across["kind"])), "assessed")
    for row, which in zip((rows[0], rows[-1]), ("smallest", "largest"), strict=True) if len(rows) > 1 else ():
        yield Card(_shown(row["median"].value, row), f"flips half of the correct reads of {row['title']}, the {which}",
                   _between(row["median"], row))


def _between(found: Estimate, row: Mapping[str, Any]) -> str:
    return "too few patients for an interval" if found.low is None or found.high is None else (
        f"95 %: {_shown(found.low, row)} to {_shown(found.high, row)}")


def _shown(value: float | None, row: Mapping[str, Any]) -> str:
    found = float("nan") if value is None else value
    return size_shown({"native": found, "unit": row["unit"], "of_range": found / row["range"]})

