"""Who is fragile: reads changed by noise, by manufacturer, size, readers and rating, with intervals over patients.

[B]'s second limitation (doi:10.1088/1361-6560/abc812): the impact of vendor and scanner was not investigated.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.metrics.dose_fall import Moments, median_dose
from steadyread.metrics.intervals import FEWEST, Estimate, Flags, Floats, bootstrap, estimate
from steadyread.metrics.noise import inside
from steadyread.metrics.over_folds import mean_over_folds, share_over_folds
from steadyread.metrics.reads import RANDOM, Reads

CRITICAL_LEVEL = 0.05
UNKNOWN = "unknown"
COPIES = "copied_slices_share"
_EDGES_MM = (6.0, 8.0, 15.0)      # Fleischner and Lung-RADS cut at 6, 8 and 15 mm
_THIN_MM = (1.25, 2.5)            # slices up to which are thin, and standard
Columns = Mapping[str, NDArray[np.object_]]


def subgroups(networks: Reads, part: str, mas: float, columns: Columns, moments: Moments | None,
              seed: int = 0) -> dict[str, Any]:
    """SAN, expected flip rate and median critical mAs (5 %) of each group of cases, at one dose of random noise.

    `columns` (n,) as `columns_of` gives them. `rows` begin with all cases; a column of which nothing is known is
    named under `missing`. `looks` says how many groups were looked at: each interval holds alone, not all at once.
    """
    under = inside(networks, RANDOM, mas, part)
    if under is None:
        return {"mas": mas, "rows": [], "missing": [], "looks": 0, "trials": None}
    there = np.asarray(networks.inside(part).any(1))
    expected = under.rate if moments is None else moments.probability(np.array([mas]))[:, :, 0]
    critical = None if moments is None else moments.critical(CRITICAL_LEVEL)
    flipped = under.known(under.flipped)
    rows = [_row("", "all", np.ones(under.trials.shape, bool), (flipped, expected, critical), networks, seed)]
    missing = []
    for kind, sort in _KINDS.items():
        groups = sort(columns, networks)
        if groups is None or (groups[there] == UNKNOWN).all():
            missing.append(kind)
            continue
        names = [name for name in _ordered(groups) if ((groups == name) & networks.inside(part)).any()]
        rows += [_row(kind, name, groups == name, (flipped, expected, critical), networks, seed) for name in names]
    return {"mas": mas, "rows": rows, "missing": missing, "looks": len(rows) - 1,
            "trials": int(np.nanmax(under.trials)), "expected_from": "counted" if moments is None else "moments"}


def _row(kind: str, name: str, chosen: Flags, measured: tuple[Floats, Floats, Floats | None], networks: Reads,
         seed: int) -> dict[str, Any]:
    flipped, expected, critical = (None if values is None else np.where(chosen, values, np.nan)
                                   for values in measured)
    cases = np.asarray((chosen & np.isfinite(measured[0])).any(1))
    return {"kind": kind, "group": name, "cases": int(cases.sum()),
            "patients": len(np.unique(networks.patient[cases])),
            "san": share_over_folds(flipped, networks.patient) if flipped is not None else None,
            "expected": _mean(expected, networks, seed), "critical": _critical(critical, networks, seed),
            "rest": _against_rest(measured[1], chosen, networks, seed) if kind else None}


def _mean(values: Floats | None, networks: Reads, seed: int) -> Estimate | None:
    return None if values is None else mean_over_folds(values, networks.patient, seed)


def _critical(values: Floats | None, networks: Reads, seed: int) -> Estimate | None:
    if values is None:
        return None
    known = ~np.isnan(values)
    patients = np.broadcast_to(networks.patient[:, None], values.shape)[known]
    return median_dose(values[known], patients, seed)


def _against_rest(values: Floats, chosen: Flags, networks: Reads, seed: int) -> Estimate | None:
    """The group's mean minus that of all other cases, over the same resampled patients; None without others.

    No interval where the group, or all others, have too few patients to resample.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    parts = [(np.where(side, filled, 0.0).sum(1), side.sum(1).astype(np.float64))
             for side in (known & chosen, known & ~chosen)]
    if not all(count.sum() for _, count in parts):
        return None
    few = min(len(np.unique(networks.patient[count > 0])) for _, count in parts) < FEWEST

    def difference(weights: Floats) -> Floats:
        means = [np.divide(weights @ total, whole, out=np.full(len(weights), np.nan), where=whole > 0)
                 for total, count in parts for whole in (weights @ count,)]
        return np.asarray(means[0] - means[1])

    value = float(difference(np.ones((1, len(values))))[0])
    alike = not np.ptp(values[known])      # every resample would be a copy
    interval = np.full(2, np.nan) if few or alike else bootstrap(difference, networks.patient, seed)[0]
    return estimate(value, interval, int(parts[0][1].sum()))


def _manufacturer(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    found = columns.get("manufacturer")
    return None if found is None else _named(found, lambda value: " ".join(str(value).split()))


def _diameter(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    return _binned(columns.get("diameter_mm"), _EDGES_MM, "mm")


def _copies(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    found = columns.get(COPIES)
    return None if found is None else _named(found, lambda value: "some" if _finite(value) > 0 else "none")


def _slices(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    found = columns.get("slice_spacing_mm")
    thin, thick = _THIN_MM
    names = (f"up to {thin:g} mm", f"{thin:g} to {thick:g} mm", f"above {thick:g} mm")
    return None if found is None else _named(found, lambda value: names[
        int(np.searchsorted(_THIN_MM, _finite(value) - 1e-6))])


def _readers(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    found = columns.get("readers")
    return None if found is None else _named(found, lambda value: "one reader" if float(value) < 2 else
                                             f"{int(float(value))} readers")


def _rating(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    found = columns.get("rating")
    return None if found is None else _named(found, lambda value: "clear (1 or 5)"
                                             if abs(float(value) - 3) >= 1.5 else "doubtful (2 or 4)")


def _predicted(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    """By the prediction of each fold's network, (n, f)."""
    return np.where(networks.prediction < 0, UNKNOWN, networks.prediction.astype(str)).astype(object)


def _right(columns: Columns, networks: Reads) -> NDArray[np.object_] | None:
    known = networks.label >= 0
    if not known.any():
        return None
    right = networks.prediction == networks.label[:, None]
    return np.where(known[:, None], np.where(right, "right", "wrong"), UNKNOWN).astype(object)


Sorting = Callable[[Columns, Reads], NDArray[np.object_] | None]
_KINDS: dict[str, Sorting] = {"manufacturer": _manufacturer, "diameter": _diameter, "readers": _readers,
                              "rating": _rating, "copied slices": _copies, "slice spacing": _slices,
                              "predicted class": _predicted, "clean read": _right}


def _named(values: NDArray[np.object_], name: Callable[[Any], str]) -> NDArray[np.object_]:
    """Each case's group by a value, (n, 1); unknown where there is none or it cannot be read."""
    found = np.full((len(values), 1), UNKNOWN, dtype=object)
    for at, value in enumerate(values):
        if value is not None:
            try:
                found[at, 0] = name(value)
            except ValueError:
                continue
    return found


def _binned(values: NDArray[np.object_] | None, edges: tuple[float, ...], unit: str) -> NDArray[np.object_] | None:
    if values is None:
        return None
    names = [f"below {edges[0]:g} {unit}", *(f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)),
             f"{edges[-1]:g} {unit} and more"]

    def name(value: Any) -> str:
        return names[int(np.searchsorted(edges, _finite(value), side="right"))]

    return _named(values, name)


def _finite(value: Any) -> float:
    """A number that is one, for `_named`."""
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(value)
    return number


def _ordered(groups: NDArray[np.object_]) -> list[str]:
    """The groups' names: by the first number in them, then by name, unknown last."""
    names = sorted(set(groups.ravel().tolist()))
    first = {name: next((float(word) for word in name.split() if word.replace(".", "").isdigit()), 0.0)
             - (0.5 if name.startswith(("below", "one", "up")) else 0.0) for name in names}
    return sorted(names, key=lambda name: (name == UNKNOWN, first[name], name))
