"""Training, validation and test parts by patient, class balance and small draws, seeded."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from steadyread.cases.case_set import Cases
from steadyread.cases.glance import Glances, digest_of, glance
from steadyread.cases.likeness import exact_groups, joined, near_pairs
from steadyread.cases.row import Row
from steadyread.errors import InputRefused, UsageError

# Up to so many images without known patients, near and exact duplicates are looked for and kept together.
_NEARLY, _EXACTLY = 5_000, 20_000
# A part is far from what was asked where it is off by more than two images and a quarter of itself.
_FAR_IMAGES, _FAR = 2, 0.25


def split(cases: Cases, seed: int, test_share: float = 1 / 3, validation_share: float = 0.2,
          official: bool = True, seen: Glances | None = None) -> Cases:
    """The cases with their part set to train, validation or test; no patient stands in two.

    Patients are shuffled by a hash of (seed, patient), so the order of the rows does not matter, and taken
    class by class (a patient's class is the most frequent one of its images) until the share of images is
    reached. Official test and validation parts are kept; one that is not there is cut from the training
    part by patient.
    In a set without known patients duplicates count as one patient: exact ones up to 20,000 images, near
    ones (rescaled, recompressed) up to 5,000.

    Args:
        test_share: share of the images for testing (2:1 by default).
        validation_share: share of the training part for validation.
        official: keep the parts that the data set itself has.
        seen: what `glance` saw of the images, where that is known already.

    Raises:
        UsageError: a share outside 0 to 1.
        InputRefused: an image that must be compared with the others cannot be read.
    """
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        _refuse_share(name, share)
    rows = list(cases.rows)
    groups = _groups(cases, seen)
    parts = [(row.part if official else "") or "train" for row in rows]
    warnings: list[str] = []
    for name, key, share in (("test", f"{seed}", test_share),
                             ("validation", f"{seed} validation", validation_share)):
        if name not in parts:
            training = [index for index, part in enumerate(parts) if part == "train"]
            cut = _cut(rows, groups, training, key, share)
            warnings += _far_from(cases, training, cut, name, share)
            for index in cut:
                parts[index] = name
    return replace(cases, rows=tuple(replace(row, part=part) for row, part in zip(rows, parts, strict=True)),
                   warnings=(*cases.warnings, *warnings))


def fold(cases: Cases, k: int, of: int, seed: int, test_share: float = 0.2, official: bool = True) -> Cases:
    """The cases for fold `k` (from 0) of a cross-validation with `of` folds: part k validates, the others train.

    The test part is that of `split` with the same seed and share, whatever the fold ([B]: 20 % at random, here
    by patient). The other patients are dealt class by class, in the order of a hash of (seed, patient), each to
    the fold with the fewest images of that class; so every image outside the test part validates in one fold.

    Raises:
        UsageError: fewer than two folds, a fold that is not there, a share outside 0 to 1.
        InputRefused: a class with fewer patients outside the test part than folds.
    """
    if of < 2 or not 0 <= k < of:
        raise UsageError(f"fold must be 0 to {of - 1} of at least two folds; got fold {k} of {of}")
    _refuse_share("test_share", test_share)
    rows, groups = list(cases.rows), _groups(cases)
    parts = [(row.part if official else "") or "train" for row in rows]
    if "test" not in parts:
        training = [index for index, part in enumerate(parts) if part == "train"]
        for index in _cut(rows, groups, training, f"{seed}", test_share):
            parts[index] = "test"
    others = [index for index, part in enumerate(parts) if part != "test"]
    dealt = _dealt(cases, groups, others, f"{seed} folds", of)
    placed = ["test" if index not in dealt else "validation" if dealt[index] == k else "train"
              for index in range(len(rows))]
    return replace(cases, fold=k, rows=tuple(replace(row, part=part)
                                             for row, part in zip(rows, placed, strict=True)))


def balance(cases: Cases, seed: int) -> Cases:
    """As many cases of each class as the rarest has, drawn within each part; the order is kept."""
    kept: list[int] = []
    for part in dict.fromkeys(row.part for row in cases.rows):
        by_class = _by_class(cases, part)
        fewest = min(map(len, by_class.values()))
        for members in by_class.values():
            kept += sorted(members, key=lambda index: _order(seed, cases.rows[index].id))[:fewest]
    return cases.pick(sorted(kept))


def limit(cases: Cases, n: int, seed: int, every: bool = True) -> Cases:
    """At most `n` cases drawn by class: each class keeps its share, and at least one case; the order is kept. Fewer
    than there are classes are one of each of some, unless `every` class must be there.

    Raises:
        UsageError: every class must be there, and `n` is below their number.
    """
    by_class = _by_class(cases)
    total = sum(map(len, by_class.values()))
    if n >= total:
        return cases.labelled()
    if n < len(by_class) and not every:
        firsts = [min(members, key=lambda index: _order(seed, cases.rows[index].id)) for members in by_class.values()]
        return cases.pick(sorted(sorted(firsts, key=lambda index: _order(seed, cases.rows[index].id))[:n]))
    if n < len(by_class):
        raise UsageError(f"limit must be at least {len(by_class)}, one image a class; got {n}")
    wanted = {label: n * len(members) / total for label, members in by_class.items()}
    counts = {label: max(1, int(share)) for label, share in wanted.items()}
    while sum(counts.values()) != n:
        short = sum(counts.values()) < n
        pool = [label for label in counts if (counts[label] < len(by_class[label]) if short else counts[label] > 1)]
        label = max(pool, key=lambda one: (wanted[one] - counts[one]) * (1 if short else -1))
        counts[label] += 1 if short else -1
    kept = [index for label, members in by_class.items()
            for index in sorted(members, key=lambda index: _order(seed, cases.rows[index].id))[:counts[label]]]
    return cases.pick(sorted(kept))


def _by_class(cases: Cases, part: str | None = None) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(cases.rows):
        if row.label is not None and part in (None, row.part):
            found[row.label].append(index)
    if not found:
        raise InputRefused(f"{cases.name}: no labelled image to draw from")
    return dict(sorted(found.items()))


def _far_from(cases: Cases, among: Sequence[int], cut: set[int], part: str, share: float) -> Iterator[str]:
    """Sentences on a part that came out far from the share asked for, and on classes that it lacks."""
    wanted = share * len(among)
    if abs(len(cut) - wanted) > max(_FAR_IMAGES, _FAR * wanted):
        yield (f"{len(cut)} of {len(among)} images are for {part}, where {100 * share:.0f} % ({wanted:.0f}) were asked "
               "for: images of one patient, and duplicates, stay together; state the parts or other shares")
    labels = {cases.rows[index].label for index in among} - {None}
    lacking = sorted(cases.classes[label] for label in labels - {cases.rows[index].label for index in cut}
                     if label is not None)
    if share and lacking:
        yield (f"no image of {', '.join(lacking)} is for {part}: a class needs images of two patients (or two that "
               "are no duplicates) at least")


def _groups(cases: Cases, seen: Glances | None = None) -> list[str]:
    """What must stay together: each row's patient, or its duplicates where patients are unknown."""
    groups = [row.patient for row in cases.rows]
    if cases.patients_known or len(cases) > _EXACTLY:
        return groups
    if len(cases) <= _NEARLY:
        seen = glance(cases) if seen is None else seen
        alike = joined([(group[0], other) for group in exact_groups(seen) for other in group[1:]]
                       + near_pairs(cases, seen)[0])
    else:
        by_digest: dict[bytes, list[int]] = defaultdict(list)
        for index, row in enumerate(cases.rows):
            by_digest[digest_of(cases.load(row))].append(index)
        alike = list(by_digest.values())
    for members in alike:
        first = min(groups[index] for index in members)
        for index in members:
            groups[index] = first
    return groups


def _cut(rows: Sequence[Row], groups: Sequence[str], among: Sequence[int], seed: str, share: float) -> set[int]:
    """The indices of `among` that make up `share` of it, whole groups, class by class."""
    taken: set[int] = set()
    for stratum in _strata(rows, groups, among, seed).values():
        for members in stratum[:_how_many([len(members) for members in stratum], share)]:
            taken.update(members)
    return taken


def _dealt(cases: Cases, groups: Sequence[str], among: Sequence[int], seed: str, of: int) -> dict[int, int]:
    """The fold of each index of `among`: whole groups, class by class, always to the fold with the fewest."""
    fold_of: dict[int, int] = {}
    total = [0] * of
    for label, stratum in _strata(cases.rows, groups, among, seed).items():
        if label >= 0 and len(stratum) < of:
            raise InputRefused(f"{cases.name}: class '{cases.classes[label]}' has {len(stratum)} patients outside "
                               f"the test part, fewer than {of} folds; take fewer folds")
        held = [0] * of
        for members in stratum:
            place = min(range(of), key=lambda one: (held[one], total[one]))
            held[place] += len(members)
            total[place] += len(members)
            fold_of.update(dict.fromkeys(members, place))
    return fold_of


def _strata(rows: Sequence[Row], groups: Sequence[str], among: Sequence[int], seed: str
            ) -> dict[int, list[list[int]]]:
    """The groups of `among` by class, each as its indices, in the order of a hash of (seed, group)."""
    members: dict[str, list[int]] = defaultdict(list)
    for index in among:
        members[groups[index]].append(index)
    strata: dict[int, list[list[int]]] = defaultdict(list)
    for group in sorted(members, key=lambda group: _order(seed, group)):
        strata[_class_of([rows[index] for index in members[group]])].append(members[group])
    return dict(sorted(strata.items()))


def _refuse_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise UsageError(f"{name} must be at least 0 and below 1; got {share:g}")


def _how_many(sizes: Sequence[int], share: float) -> int:
    """How many of the groups, in order, come nearest to `share` of the images; at least one stays and one goes."""
    if share == 0 or len(sizes) < 2:
        return 0
    reached = np.cumsum(sizes)
    middles = reached - np.asarray(sizes) / 2
    return int(np.clip((middles < share * reached[-1]).sum(), 1, len(sizes) - 1))


def _class_of(rows: Sequence[Row]) -> int:
    counts = Counter(-1 if row.label is None else row.label for row in rows)
    return max(counts, key=lambda label: (counts[label], label))


def _order(seed: int | str, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{key}".encode(), digest_size=16).digest()
