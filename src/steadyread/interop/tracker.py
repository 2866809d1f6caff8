"""Trackers of experiments: where a finished run's numbers, settings and report are kept beside a team's other runs.

    steadyread assess ... --track mlflow          found.track("mlflow")          track = ["mlflow"] in a study

A tracker is one file in `interop/trackers`. Nothing goes to a network unless the user's own configuration of the
tracker says so.
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyread.extras import library
from steadyread.registry import LAST, Registry

_WHERE = ("set", "network", "stage")
_ENDS = {"value": "", "low": " low", "high": " high"}
_UNKNOWN = re.compile(r"[^A-Za-z0-9_\-. ]")     # what some tracker takes in no name
_LONGEST = 120


@dataclass(frozen=True)
class Tracked:
    """What a tracker is handed of a run: its name, its numbers by their names (with the ends of their intervals), its
    settings by dotted keys, and the files that may be shared."""

    name: str
    numbers: Mapping[str, float]
    settings: Mapping[str, str]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Tracker:
    """A tracker: `title` as it writes itself, the `module` of its library, which the `extra` of ours installs, and
    `keep`, which is handed that module and the run, and returns in words where the run is kept.

    `quiet` are environment variables, with the value that they get where the user has set none: reports that the
    library would send to its makers.
    """

    name: str
    title: str
    module: str
    extra: str
    keep: Callable[[Any, Tracked], str]
    quiet: Mapping[str, str]
    order: float = LAST

    def library(self) -> Any:
        """The module of its library.

        Raises:
            InputRefused: it is not installed, or does not work here.
        """
        for name, value in self.quiet.items():
            os.environ.setdefault(name, value)
        return library(self.module, self.extra, f"runs are tracked by {self.title} with")


TRACKERS: Registry[Tracker] = Registry("tracker", "steadyread.interop.trackers")


def metrics_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The finite numbers among rows of `metrics.tidy.COLUMNS`, and the ends of their intervals, by names such as
    "Linf/pgd/label/accuracy at 5.6 HU" and "AUC low"; set, network and stage come first where there are several."""
    several = [key for key in _WHERE if len({row[key] for row in rows}) > 1]
    found: dict[str, float] = {}
    for row in rows:
        level = "" if row["level"] is None else f" at {row['level']:.6g} {row['unit']}".rstrip()
        way = [str(row[key]) for key in (*several, "threat", "attack", "against") if row[key]]
        name = "/".join(_named(part) for part in (*way, f"{row['measure']}{level}"))
        found |= {f"{name}{end}": float(row[key]) for key, end in _ENDS.items()
                  if isinstance(row[key], int | float) and math.isfinite(row[key])}
    return found


def _named(part: str) -> str:
    return _UNKNOWN.sub("_", part)[:_LONGEST].strip(" .") or "_"
