"""What tells the label without reading the tissue: size, extent and padding, each alone, as an AUC."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from steadyread.cases.case_set import Cases
from steadyread.cases.glance import Glances
from steadyread.findings import Finding, Severity
from steadyread.metrics.discrimination import area_under_curve
from steadyread.metrics.intervals import Estimate, clopper_pearson

_MANY_CLASSES = 50
_WARNED = 0.6
_PADDING = "padding or plain background"
_ADVICE = {_PADDING: "crop it away, unless the background belongs to what is shown (digits on black)",
           "": "cut all images to one box (in mm where the spacing is known) that needs no padding"}
Figures = NDArray[np.float64]
# What a reader itself says of its images, and what to do where that tells the label.
_TOLD: dict[str, tuple[tuple[str, ...], Severity, str]] = {
    "padding": (("padded_share", "padded_slices_share"), "warning",
                "set this beside the network's own AUC, or take a box that needs less of it"),
    "copies": (("copied_slices_share",), "warning",
               "slices that repeat the outermost one from its middle on: set this beside the network's own AUC"),
    "diameter": (("diameter_mm",), "note",
                 "a sign that the image shows too: set this beside the network's own AUC")}


@dataclass(frozen=True)
class Leak:
    """How well one figure alone tells one class from the rest: `auc` from 0.5 (not) to 1 (fully)."""

    auc: float
    lowest: float
    tells: str


def leaks(cases: Cases, seen: Glances, stage: str) -> Iterator[Finding]:
    """A finding for each figure that differs between the images; `stage` says of which images, in words."""
    labels = np.array([-1 if row.label is None else row.label for row in cases.rows])
    patients = np.array([row.patient for row in cases.rows])
    spoken = []
    for name, values in _figures(cases, seen).items():
        usable = (labels >= 0) & np.isfinite(values)
        if usable.sum() < 2 or np.ptp(values[usable]) == 0:
            spoken.append(name)
            continue
        leak = strongest(values[usable], labels[usable], cases.classes, patients[usable])
        if leak is not None:
            yield _finding(name, leak, stage)
    if spoken:
        yield Finding("label leak", "ok", f"{stage}: {', '.join(spoken)} the same for every image, so no leak")


def told_leaks(cases: Cases, stage: str) -> Iterator[Finding]:
    """A finding for each of the reader's own figures (`extras`) that is to stand beside every AUC of a network.

    "padding tells the label" (the share of the image, or of its slices, beyond the scan: the stronger of the two),
    "copies tell the label" (the share of slices that repeat the outermost one, from its middle on) and "diameter
    tells the label"; `value` is the AUC, its interval over patients stands in the message.
    """
    labels = np.array([-1 if row.label is None else row.label for row in cases.rows], np.int64)
    for name, (columns, severity, advice) in _TOLD.items():
        areas = {column: _area(cases, values, labels) for column in columns
                 if (values := _column(cases, column)) is not None}
        known = {column: area for column, area in areas.items() if area.value is not None}
        if not known:
            continue
        column, area = max(known.items(), key=lambda one: one[1].value or 0.0)
        strong = (area.value or 0) >= _WARNED and (area.low or 0) > 0.5
        rows = tuple(row.id for row in cases.rows if any(map(any, row.beyond or ()))) if name == "padding" else ()
        told = f"{stage}: {column.replace('_', ' ')} alone tells the label with an AUC of {_spoken(area)}"
        told += f"; {len(rows)} of {len(cases)} images reach beyond their scan" if name == "padding" else ""
        yield Finding(f"{name} {'tell' if name == 'copies' else 'tells'} the label", severity if strong else "ok",
                      told + (f"; {advice}" if strong else ""), area.value, rows)


def _column(cases: Cases, name: str) -> Figures | None:
    """A figure of each row, NaN where it has none; None where no row has."""
    values = [row.extras.get(name) for row in cases.rows]
    found = np.array([value if isinstance(value, int | float) else np.nan for value in values], np.float64)
    return found if np.isfinite(found).any() else None


def _area(cases: Cases, values: Figures, labels: NDArray[np.int64]) -> Estimate:
    """The AUC over patients of the class that the values tell best, either way round; 0.5 where none varies."""
    usable = (labels >= 0) & np.isfinite(values)
    values, labels = values[usable], labels[usable]
    patients = np.array([row.patient for row in cases.rows])[usable]
    leak = strongest(values, labels, cases.classes, patients) if len(values) else None
    if leak is None:
        return Estimate(None)
    if np.ptp(values) == 0:
        return Estimate(0.5, 0.5, 0.5, len(values))
    told = (labels == cases.classes.index(leak.tells)).astype(np.int64)
    turned = values if auc(values, told == 1) >= 0.5 else -values
    return area_under_curve(np.stack([-turned, turned], axis=1), told, patients)


def _spoken(area: Estimate) -> str:
    interval = "" if area.low is None or area.high is None else f" ({area.low:.2f} to {area.high:.2f})"
    return f"{area.value:.2f}{interval}"


def strongest(values: Figures, labels: NDArray[np.int64], classes: tuple[str, ...],
              patients: NDArray[np.str_]) -> Leak | None:
    """The class that the values tell best from the rest, either way round; None below two classes.

    How sure that is goes by the number of patients: images of one are often of one size.
    """
    present = np.unique(labels)
    if len(present) < 2 or len(present) > _MANY_CLASSES:
        return None
    found = []
    for label in present[1:] if len(present) == 2 else present:
        raw = auc(values, labels == label)
        value = max(raw, 1 - raw)
        sides = [len(np.unique(patients[side])) for side in (labels == label, labels != label)]
        # one of several classes is picked for being the best: ask more of it
        sure = 1.96 if len(present) == 2 else 3.0
        lowest = value - sure * _spread(value, *sides)
        if value == 1:      # which has no spread: as sure as its smaller side
            lowest = float(clopper_pearson(min(sides), min(sides))[0])
        found.append(Leak(value, lowest, classes[label]))
    return max(found, key=lambda leak: leak.lowest)


def auc(values: Figures, positive: NDArray[np.bool_]) -> float:
    """The probability that a positive's value exceeds a negative's, ties counting half."""
    ranks = rankdata(values)
    inside, outside = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - inside * (inside + 1) / 2) / (inside * outside))


def _spread(value: float, inside: int, outside: int) -> float:
    """Standard error of an AUC (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747)."""
    first, second = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (inside - 1) * (first - value**2) + (outside - 1) * (second - value**2)
    return math.sqrt(max(variance, 0.0) / (inside * outside))


def _figures(cases: Cases, seen: Glances) -> dict[str, Figures]:
    pixels = np.array([float(np.prod(shape[1:])) if shape else np.nan for shape in seen.shapes])
    aspect = np.array([shape[-1] / shape[-2] if len(shape) > 2 else np.nan for shape in seen.shapes])
    extent = np.array([shape[-1] * row.spacing_mm[-1] if shape and row.spacing_mm else np.nan
                       for shape, row in zip(seen.shapes, cases.rows, strict=True)])
    flat = all(len(shape) < 4 for shape in seen.shapes)
    figures = {"image size in pixels": pixels, "proportions": aspect, _PADDING: seen.padding,
               f"the share of border {'rows and columns' if flat else 'slices'} that are copies": seen.copied}
    if np.isfinite(extent).any():
        figures["extent in mm"] = extent
    return figures


def _finding(name: str, leak: Leak, stage: str) -> Finding:
    strong = leak.auc >= _WARNED and leak.lowest > 0.5
    does = f"tells '{leak.tells}' with an AUC of {leak.auc:.2f}"
    more = f": set this beside the network's own AUC; {_ADVICE.get(name, _ADVICE[''])}" if strong else ""
    return Finding("label leak", "warning" if strong else "ok", f"{stage}: {name} alone {does}{more}", leak.auc)
