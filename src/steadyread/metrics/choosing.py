"""Which cases are shown of many: the most fragile, the wrong ones, and some that are drawn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from steadyread.metrics.intervals import Flags, Floats, Ints


@dataclass(frozen=True)
class Shown:
    """How many cases are shown of a kind, at most; all of them where there are no more than `all`."""

    fragile: int = 100
    wrong: int = 150
    drawn: int = 50
    all: int = 350

    def within(self, room: int) -> "Shown":
        """The same shares of so few cases."""
        whole = self.fragile + self.wrong + self.drawn
        fragile, wrong = ceil(room * self.fragile / whole), room * self.wrong // whole
        return self if room >= self.all else Shown(fragile, wrong, room - fragile - wrong, room)


def chosen(ids: Sequence[str], size: Floats, wrong: Flags, shown: Shown) -> Ints:
    """The places of the cases that are shown, ascending.

    Args:
        size: (n,) the smaller the more fragile; not finite where that is not known.
        wrong: (n,) whether it was read wrongly before anything was changed.

    Which of the wrong ones and which are drawn goes by a digest of the ids, so that it depends on no order, and the
    cases shown of a whole are among those shown of its parts.
    """
    if len(ids) <= shown.all:
        return np.arange(len(ids))
    by_draw = np.array(sorted(range(len(ids)), key=lambda place: _draw(ids[place])), np.int64)
    known = by_draw[np.isfinite(size[by_draw])]
    picked = known[np.argsort(size[known], kind="stable")][:shown.fragile].tolist()
    for among, most in ((by_draw[wrong[by_draw]], shown.wrong), (by_draw, shown.drawn)):
        picked += [place for place in among.tolist() if place not in set(picked)][:most]
    return np.sort(np.array(picked, np.int64))


def _draw(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=8).digest()
