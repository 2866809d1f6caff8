"""What one benchmark says: rows, whether its goals were met, and the ratios that the next run is held against."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Goal:
    """What was aimed at, whether it was met (None where the interval does not tell), and the figure that says so."""

    aim: str
    met: bool | None
    found: str


@dataclass(frozen=True)
class Part:
    """A table: a caption, the heads of its columns, rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Drawn:
    """A chart of a table: its name, what it shows in words, and its SVG."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Table:
    """One of the benchmarks.

    `told` are paragraphs of what was done (a sentence of text each, Markdown), `guarded` the ratios by which a loss
    is noticed (lower is better; above 0), `missing` why there are no parts, if there are none, `drawn` its charts.
    """

    key: str
    title: str
    told: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    goals: tuple[Goal, ...] = ()
    guarded: dict[str, float] = field(default_factory=dict)
    missing: str = ""
    drawn: tuple[Drawn, ...] = ()

    def write(self, folder: Path, about: dict[str, Any]) -> None:
        """Into KEY.json of the folder, with what is said of the machine and the run."""
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{self.key}.json"
        place.write_text(json.dumps(asdict(self) | {"about": about}, indent=1))


def read_table(path: Path) -> tuple[Table, dict[str, Any]]:
    """A table as it was written, and what was said of its run."""
    told = json.loads(path.read_text())
    about = told.pop("about")
    told["told"] = tuple(told["told"])
    told["parts"] = tuple(Part(one["caption"], tuple(one["columns"]), tuple(map(tuple, one["rows"])))
                          for one in told["parts"])
    told["drawn"] = tuple(Drawn(**one) for one in told.get("drawn", ()))
    told["goals"] = tuple(Goal(**one) for one in told["goals"])
    return Table(**told), about
