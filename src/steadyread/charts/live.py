"""What a live chart has beyond its drawing: marks that say their rows, and the same rows as CSV.

A layer whose rows can be pointed at is named KIND_PANEL_TABLE; of the kind `hover` are those that are not seen, which
a drawing goes without. `usermeta` of the declaration says what the axes of each panel measure.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Spec = Mapping[str, Any]
_HIDDEN, _SEEN = "hover", "mark"
_PARTS = ("layer", "concat")
_DIGITS = 7


def named(mark: Spec, table: str, prefix: str) -> str:
    """The name of a layer that says its rows; `prefix` is that of its panel's tables."""
    return f"{_HIDDEN if mark.get('opacity') == 0 else _SEEN}_{prefix.strip() or 0}_{table}"


def still(spec: Spec) -> dict[str, Any]:
    """A declaration without the layers that are not seen."""
    return {key: [still(part) for part in value if not part.get("name", "").startswith(_HIDDEN)]
            if key in _PARTS else value for key, value in spec.items()}


def csv_of(spec: Spec) -> str:
    """The rows that can be pointed at, each once, with the titles of the axes; those of several panels with the panel's
    title, or its number."""
    panels = spec["usermeta"]["panels"]
    rows = list(dict.fromkeys(_rows(spec, panels)))
    if not rows:
        return ""
    x, y = (_common([panel.get(which, {}).get("title", "") for panel in panels]) or which for which in "xy")
    head = ("panel", "series", x, f"{x}, upper end", y, "low", "high")
    used = [at for at in range(len(head)) if any(row[at] != "" for row in rows) and (at or len(panels) > 1)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row[at] for at in used] for row in (head, *rows))
    return text.getvalue()


def _common(titles: Sequence[str]) -> str:
    stated = set(filter(None, titles))
    return stated.pop() if len(stated) == 1 else ""


def _rows(spec: Spec, panels: Sequence[Spec]) -> Iterator[tuple[Any, ...]]:
    """(panel, series, x, x2, y, low, high) of each row, "" for what it has not."""
    for name, table in _told(spec):
        panel = panels[at := int(name.split("_")[1])]
        up = panel.get("y")
        axes = {"x": panel["x"], "x2": panel["x"], "y": up, "low": up or panel["x"], "high": up or panel["x"]}
        for row in spec["datasets"][table]:
            yield (panel["title"] or at + 1, row.get("series", ""), *(
                "" if axis is None or row.get(column) is None
                else float(f"{row[column] * (100 if axis['percent'] else 1):.{_DIGITS}g}")
                for column, axis in axes.items()))


def _told(spec: Spec) -> Iterator[tuple[str, str]]:
    """Layers that say their rows, each by its name and its table."""
    if "name" in spec and "tooltip" in spec.get("mark", ()):
        yield spec["name"], spec["data"]["name"]
    for part in (part for key in _PARTS for part in spec.get(key, ())):
        yield from _told(part)
