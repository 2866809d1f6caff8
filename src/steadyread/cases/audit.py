"""What a data set holds that would spoil a study, found before any network sees it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.case_set import Cases
from steadyread.cases.glance import Glances, glance
from steadyread.cases.leaks import leaks, told_leaks
from steadyread.cases.likeness import exact_groups, joined, near_pairs
from steadyread.cases.readable import SET_ASIDE
from steadyread.findings import Finding, Severity, worst_first
from steadyread.models.scales import unfilled
from steadyread.progress import Progress, quiet
from steadyread.units import Bounds, unit_word

_FEW = 10
_UNEVEN = 10
_DOMINANT = 0.2   # share of a part's images of one patient, if that is also
_TIMES = 3        # times as many as patients have on average


def audit(cases: Cases, prepared: Cases | None = None, progress: Progress = quiet, seen: Glances | None = None
          ) -> tuple[Finding, ...]:
    """Findings about the raw rows (`open_cases(path, every_row=True)`), worst first.

    Missing, unreadable, constant and non-finite images; class counts; patients on both sides of a split;
    exact and near duplicates, across parts and with conflicting labels; label leaks by size, extent and
    padding, of the raw images and, where given, of the `prepared` ones that the network sees; of those, too,
    what padding beyond the scan and the diameter tell, where the reader states them. Each image is read once
    (near duplicates again) and about 1 KB of it is kept; `seen` is what was kept before.
    """
    seen = glance(cases, progress) if seen is None else seen
    found = [*_files(cases, seen), *_pixels(cases, seen), *_classes(cases), *_patients(cases),
             *_exact(cases, seen), *_near(cases, seen, progress), *leaks(cases, seen, "raw images")]
    if prepared is None:
        found += _range(cases, seen, cases.bounds)
    else:
        ready = glance(prepared, progress)
        found += [*_range(prepared, ready, cases.bounds), *leaks(prepared, ready, "prepared images")]
    found += told_leaks(cases, "raw images") if prepared is None else told_leaks(prepared, "prepared images")
    found += [Finding("data", "note", note) for note in (prepared or cases).notes]
    found += [Finding("split", "warning", text) for text in cases.warnings]
    return tuple(worst_first(found))


def _files(cases: Cases, seen: Glances) -> Iterator[Finding]:
    if cases.missing:
        yield Finding("missing files", "warning", f"{len(cases.missing)} of {len(cases.missing) + len(cases)} rows "
                      f"have no file or no mask and are left out; the first: {cases.missing[0]}",
                      len(cases.missing), cases.missing)
    if seen.refused:
        yield Finding("unreadable images", "error", f"{len(seen.refused)} images cannot be read; the first: "
                      f"{next(iter(seen.refused.values()))}", len(seen.refused), _ids(cases, list(seen.refused)))
    yield from left_out(cases)
    if not cases.missing and not seen.refused and not cases.unread:
        yield Finding("missing files", "ok", f"all {len(cases)} images are there and can be read")


def left_out(cases: Cases) -> Iterator[Finding]:
    """A finding where images of theirs cannot be read."""
    if cases.unread:
        yield Finding(SET_ASIDE, "warning", f"{len(cases.unread)} of {len(cases.unread) + len(cases)} images "
                      "cannot be read and are left out; the first: "
                      f"{_why(*next(iter(cases.unread.items())))}", len(cases.unread), tuple(cases.unread))


def _why(case: str, reason: str) -> str:
    return reason if case in reason else f"{case}: {reason}"


def _pixels(cases: Cases, seen: Glances) -> Iterator[Finding]:
    bounds = f"{cases.bounds.low:g} to {cases.bounds.high:g} {unit_word(cases.bounds.unit)}".strip()
    checks: tuple[tuple[str, Severity, NDArray[np.bool_], str], ...] = (
        ("non-finite pixels", "error", seen.non_finite, "have NaN or infinite pixels"),
        ("constant images", "warning", seen.constant, "have the same value everywhere"),
        ("pixels outside the bounds", "warning", seen.outside, f"have pixels outside {bounds}"))
    for check, severity, flags, told in checks:
        rows = _ids(cases, flags.nonzero()[0].tolist())
        if rows:
            yield Finding(check, severity, f"{len(rows)} of {len(cases)} images {told}; the first: {rows[0]}",
                          len(rows), rows)
        else:
            yield Finding(check, "ok", f"none of {len(cases)} images {told}")


def _range(cases: Cases, seen: Glances, held: Bounds) -> Iterator[Finding]:
    """Whether the pixels fill the stated range, by which every size of a change is scaled; `held` are the values
    that the images as stored can have."""
    if np.isnan(seen.lowest).all():
        return
    low, high, bounds = float(np.nanmin(seen.lowest)), float(np.nanmax(seen.highest)), cases.bounds
    doubt, stated = unfilled(low, high, bounds), f"the stated range {bounds.low:g} to {bounds.high:g}"
    if bounds.unit == held.unit == "grey level" and not held.low <= bounds.low < bounds.high <= held.high:
        doubt = doubt or (f"{stated} reaches beyond {held.low:g} to {held.high:g}, which is all that these images "
                          "can hold: are the bounds those of other images? Sizes are shares of that range")
    filled = f"the pixels lie between {low:g} and {high:g}; {stated} {unit_word(bounds.unit)}".rstrip()
    yield Finding("range of the pixels", "warning" if doubt else "ok", doubt or filled, (high - low) / bounds.range)


def of_one_class(cases: Cases) -> Iterator[Finding]:
    """A finding where all images that have a label are of one class."""
    counts = {name: count for name, count in cases.counts().items() if count}
    if len(counts) == 1 and sum(counts.values()) == len(cases) > 1:
        (name, count), = counts.items()
        yield Finding("class counts", "error", f"all {count} images are of one class ({name}), so nothing can be told "
                      "of a network that reads them; images of two classes at least are needed", count)


def _classes(cases: Cases) -> Iterator[Finding]:
    alone = tuple(of_one_class(cases))
    if alone:
        yield from alone
        return
    counts = cases.counts()
    unlabelled = len(cases) - sum(counts.values())
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    few, most = min(counts.values(), default=0), max(counts.values(), default=0)
    poor = few < _FEW or most > _UNEVEN * few
    yield Finding("class counts", "warning" if poor else "note",
                  told + (f", {unlabelled} without a label" if unlabelled else "")
                  + (f"; the rarest class has {few}, too few to say much" if poor else ""), few)
    yield from _of_one_part(cases, "train", "test", "training", "error")
    yield from _of_one_part(cases, "test", "train", "test", "note")


def _of_one_part(cases: Cases, lacking: str, other: str, word: str, severity: Severity) -> Iterator[Finding]:
    """Classes that have images in one part and none in the other, where both are there: cat, or cats?"""
    here, there = cases.part(lacking).counts(), cases.part(other).counts()
    found = {name: count for name, count in there.items() if count and not here[name]}
    if found and any(here.values()):
        told = ", ".join(f"{name} ({count})" for name, count in found.items())
        why = ": no network can learn them. Are they spelled in another way there?" if severity == "error" else ""
        yield Finding(f"classes without {word} images", severity, f"{told} stand in the part {other} and not in "
                      f"{lacking}{why}", len(found))


def _patients(cases: Cases) -> Iterator[Finding]:
    if not cases.patients_known:
        yield Finding("patients", "note", "no patients are known: each image counts as its own (images of one "
                      "person may stand on both sides of a split)")
        return
    parts: dict[str, set[str]] = defaultdict(set)
    for row in cases.rows:
        parts[row.patient].add(row.part)
    crossing = tuple(patient for patient, held in parts.items() if len(held) > 1)
    if crossing:
        yield Finding("patients", "error", f"{len(crossing)} of {len(parts)} patients stand in more than one part, "
                      f"such as {crossing[0]}: split by patient", len(crossing), crossing)
    else:
        yield Finding("patients", "ok", f"{len(parts)} patients, {len(cases)} images; no patient in two parts")
    yield from _dominant(cases)


def _dominant(cases: Cases) -> Iterator[Finding]:
    """A patient with so many images of a part that its figures are largely that patient's.

    Intervals over patients take them for draws of one kind: simulated, they hold the truth in 94 % of data sets
    where one patient holds a fifth of the images, in 92 % with 30 %, in 76 to 82 % with half. Training images have
    none.
    """
    for part in sorted({row.part for row in cases.rows} - {"train"}):
        held = Counter(row.patient for row in cases.rows if row.part == part)
        (patient, most), images = held.most_common(1)[0], held.total()
        if len(held) > 1 and most > _DOMINANT * images and most > _TIMES * images / len(held):
            of = f" of the part {part}" if part else ""
            yield Finding("dominant patient", "warning", f"{most} of {images} images{of} are of one of {len(held)} "
                          f"patients, {patient}: the results are largely that patient's, and their intervals are "
                          "too narrow. Take fewer images per patient", most / images, (patient,))


def _exact(cases: Cases, seen: Glances) -> Iterator[Finding]:
    groups = exact_groups(seen)
    yield from _alike(cases, groups, "exact duplicates")


def _near(cases: Cases, seen: Glances, progress: Progress) -> Iterator[Finding]:
    pairs, left = near_pairs(cases, seen, progress)
    yield from _alike(cases, joined(pairs), "near duplicates")
    if left:
        yield Finding("near duplicates", "note", f"{left} more pairs look alike on thumbnails and were not "
                      "compared pixel by pixel", left)


def _alike(cases: Cases, groups: Sequence[Sequence[int]], check: str) -> Iterator[Finding]:
    """One finding of all groups, and one each of those across parts and those that contradict each other."""
    if not groups:
        yield Finding(check, "ok", f"no {check} among {len(cases)} images")
        return
    exact = check.startswith("exact")
    yield Finding(check, "warning" if exact else "note", _told(cases, groups, check, ""), len(groups),
                  _named(cases, groups))
    across = [group for group in groups if len({cases.rows[index].part for index in group}) > 1]
    if across:
        yield Finding(f"{check} across parts", "error" if exact else "warning",
                      _told(cases, across, check, " on both sides of a split"), len(across), _named(cases, across))
    torn = [group for group in groups
            if len({(cases.rows[index].label, cases.rows[index].raw_label) for index in group}) > 1]
    if torn:
        severity: Severity = "error" if exact and _flips(cases, torn) else "warning"
        yield Finding(f"{check} with conflicting labels", severity,
                      _told(cases, torn, check, " with different labels or ratings"), len(torn),
                      _named(cases, torn))


def _told(cases: Cases, groups: Sequence[Sequence[int]], check: str, how: str) -> str:
    images = sum(map(len, groups))
    first = " = ".join(f"{cases.rows[index].id} ({cases.rows[index].raw_label})" for index in groups[0])
    return f"{len(groups)} group{'s' * (len(groups) > 1)} of {check} ({images} images){how}; the first: {first}"


def _flips(cases: Cases, groups: Sequence[Sequence[int]]) -> bool:
    """Whether any group holds two different labels (not only ratings)."""
    held = (Counter(cases.rows[index].label for index in group) for group in groups)
    return any(len(set(labels) - {None}) > 1 for labels in held)


def _ids(cases: Cases, indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(cases.rows[index].id for index in indices)


def _named(cases: Cases, groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    return tuple(" = ".join(_ids(cases, group)) for group in groups)
