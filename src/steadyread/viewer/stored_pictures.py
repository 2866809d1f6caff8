"""The pictures that an assessment kept of a network's cases, found one by one."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from steadyread.pictured import FLIPS, REDRAWS, Pictured, parts_of, read_part, read_walk
from steadyread.pictured import Walk as StoredWalk
from steadyread.report.case_data import Pixels, Walk


@dataclass(eq=False)
class StoredPictures:
    """Of the network in a folder. The part of a case is the one with the number of its block, or a further one."""

    folder: Path
    dose: bool
    _known: dict[str, Path] = field(default_factory=dict)
    _looked: set[Path] = field(default_factory=set)
    _part: tuple[Path, Pictured] | None = None
    _walk: StoredWalk | None = None
    _asked: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kind(self) -> str:
        """Which pictures."""
        return REDRAWS if self.dose else FLIPS

    def pictures(self, row: Mapping[str, Any]) -> tuple[Pixels, Walk | None] | None:
        """Those of a case, with what the network says along the way where that is known; None where there are none."""
        with self._lock:
            found = self._found(str(row["case_id"]), row["block"])
            if found is None:
                return None
            if not self._asked:
                self._walk, self._asked = read_walk(self.folder, self.kind), True
            walk = None if self._walk is None else self._walk.of([str(row["case_id"])])
        known = walk is not None and bool(np.isfinite(walk.probability).all())
        return (Pixels(found.image, found.change, found.scale if self.dose else None),
                Walk(tuple(walk.at.tolist()), walk.probability) if walk is not None and known else None)

    def _found(self, name: str, block: int) -> Pictured | None:
        if name not in self._known:
            parts = sorted(parts_of(self.folder, self.kind), key=lambda each: each[0] != block)
            for _, path in parts:
                if path not in self._looked:
                    self._look(path)
                if name in self._known:
                    break
            else:
                return None
        self._look(self._known[name])
        found = None if self._part is None else self._part[1].of([name])
        return found if found is not None and len(found) else None

    def _look(self, path: Path) -> None:
        """Reads a part, which is kept until the next."""
        if self._part is None or self._part[0] != path:
            part = read_part(path)
            self._part = None if part is None else (path, part)
            self._known |= {} if part is None else dict.fromkeys(part.id, path)
        self._looked.add(path)
