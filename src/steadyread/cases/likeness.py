"""Images that are the same, or nearly: found on thumbnails, confirmed on the pixels."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.glance import Glances, standardised, thumbnail
from steadyread.progress import Progress, quiet

_BLOCK = 512
# Correlation of the 64- and the 256-value thumbnails that makes a candidate, and of the pixels (on at most
# 64 points an axis) that makes a near duplicate.
_COARSE, _FINE, _PIXELS = 0.985, 0.99, 0.99
_CONFIRMED = 3000
Pairs = list[tuple[int, int]]


def exact_groups(glances: Glances) -> list[list[int]]:
    """Groups of two or more images with the same pixels (constant ones aside)."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(glances.digests):
        if digest and not glances.constant[index]:
            groups[digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(cases: Cases, glances: Glances, progress: Progress = quiet) -> tuple[Pairs, int]:
    """Pairs that look the same and are not equal, likest first, and how many candidates went unconfirmed.

    Rescaled, recompressed and brightened copies are found; turned, mirrored and shifted ones are not. At
    most 3000 candidates, the likest, are confirmed on their pixels.
    """
    candidates = _candidates(glances)
    pairs = []
    likely = candidates[:_CONFIRMED]
    for first, second in progress(likely, len(likely), f"comparing pairs of images of {cases.name}"):
        space = [min(64, *extents) for extents in
                 zip(glances.shapes[first][1:], glances.shapes[second][1:], strict=True)]
        values = [standardised(thumbnail(cases.load(cases.rows[index]), space)) for index in (first, second)]
        if float(values[0] @ values[1]) >= _PIXELS:
            pairs.append((first, second))
    return pairs, max(0, len(candidates) - _CONFIRMED)


def joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The groups that chains of pairs make."""
    parent: dict[int, int] = {}

    def top(index: int) -> int:
        while parent.setdefault(index, index) != index:
            index = parent[index]
        return index

    for first, second in pairs:
        parent[top(second)] = top(first)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in sorted(parent):
        groups[top(index)].append(index)
    return sorted(groups.values())


def _candidates(glances: Glances) -> Pairs:
    """Unequal images of like thumbnails, likest first. Equal ones are represented by the first."""
    first_of: dict[bytes, int] = {}
    for index, digest in enumerate(glances.digests):
        if digest and glances.thumbnails[index].any():
            first_of.setdefault(digest, index)
    kept = np.array(sorted(first_of.values()), np.int64)
    fine = glances.thumbnails[kept]
    coarse = fine.reshape(len(kept), 8, 2, 8, 2).mean((2, 4)).reshape(len(kept), 64) if len(kept) else fine
    coarse = coarse - coarse.mean(1, keepdims=True)
    coarse /= np.maximum(np.linalg.norm(coarse, axis=1, keepdims=True), 1e-12)
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(kept), _BLOCK):
        likeness = coarse[start:start + _BLOCK] @ coarse[start:].T
        rows, columns = np.divmod(np.flatnonzero(likeness > _COARSE), likeness.shape[1])
        above = columns > rows
        rows, columns = rows[above] + start, columns[above] + start
        for piece in range(0, len(rows), 100_000):
            a, b = rows[piece:piece + 100_000], columns[piece:piece + 100_000]
            value = np.einsum("nd,nd->n", fine[a], fine[b])
            good = value > _FINE
            found += zip(value[good].tolist(), a[good].tolist(), b[good].tolist(), strict=True)
    found.sort(reverse=True)
    axes = [len(shape) for shape in glances.shapes]
    return [(int(kept[a]), int(kept[b])) for _, a, b in found if axes[kept[a]] == axes[kept[b]]]
