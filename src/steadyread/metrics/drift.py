"""Drift and jitter: where random noise of a dose moves the margin on average, and how much it shakes it.

The drift is told twice: as the change of the margin of the clean prediction (below 0: towards a flip), and, with
two classes, signed towards class 1 (malignant). Always by predicted class: where noise pushes every read the same
way, one median over both classes would cancel it.

The mean d of K draws of SD s misses the drift by s / sqrt(K), so that |d| / s of no drift at all would have a
median of 0.67 / sqrt(K): |drift| is taken per read as sqrt(max(0, d^2 - s^2 / K)), the signed drift as it is.
"""

from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate, Floats, Ints, bootstrap, estimate, weighted_median
from steadyread.metrics.noise import inside
from steadyread.metrics.reads import RANDOM, Reads, Strings

FIGURES = ("margin", "drift", "towards", "size", "jitter", "ratio")


def drift_rows(networks: Reads, part: str, seed: int = 0) -> list[dict[str, Any]]:
    """Medians over the reads of each predicted class at each dose, with intervals over patients.

    A read is one case in one fold. `margin` is the clean one, `drift` the change of the margin, `towards` the
    drift signed towards class 1 (None beyond two classes), `size` its absolute value less its own error, `jitter`
    the SD, all in logits; `ratio` is |drift| / jitter. Empty where no dose has drifts.
    """
    rows = []
    for mas in networks.doses():
        values, predicted, patients = _values(networks, mas, part)
        for one in np.unique(predicted):
            chosen = predicted == one
            told = {name: _median(found[chosen], patients[chosen], seed) for name, found in values.items()}
            rows.append({"mas": mas, "class": int(one), "reads": int(chosen.sum())}
                        | {name: told.get(name) for name in FIGURES})
    return rows


def dose_laws(networks: Reads, part: str, seed: int = 0) -> list[dict[str, Any]]:
    """The powers k of median |drift| ~ mAs^k and median jitter ~ mAs^k, by predicted class, with intervals.

    Theory for small noise: -1 for the drift (second order in the noise), -1/2 for the jitter (first order).
    """
    doses = networks.doses()
    if len(doses) < 2:
        return []
    held = [_values(networks, mas, part) for mas in doses]
    rows = []
    for one in np.unique(np.concatenate([predicted for _, predicted, _ in held])):
        told: dict[str, Any] = {"class": int(one)}
        for name in ("size", "jitter"):
            columns = [values[name][predicted == one] for values, predicted, _ in held]
            patients = held[0][2][held[0][1] == one]
            alike = all(len(column) == len(patients) for column in columns)
            told[name] = _power(np.array(doses), columns, patients, seed) if alike else Estimate(None)
        rows.append(told)
    return rows


def _values(networks: Reads, mas: float, part: str) -> tuple[dict[str, Floats], Ints, Strings]:
    """Figures of every read with a drift at that dose: each (r,), the predicted class (r,), the patient (r,)."""
    under = inside(networks, RANDOM, mas, part)
    known = np.zeros(networks.margin.shape, bool) if under is None else (
        np.isfinite(under["drift"]) & np.isfinite(under["jitter"]) & np.isfinite(networks.margin))
    predicted = networks.prediction[known]
    patients = np.broadcast_to(networks.patient[:, None], known.shape)[known]
    if under is None:
        return {}, predicted, patients
    drift, jitter = under["drift"][known], under["jitter"][known]
    size = np.sqrt(np.maximum(0.0, drift**2 - jitter**2 / under.trials[known]))
    values = {"margin": networks.margin[known], "drift": drift, "size": size, "jitter": jitter,
              "ratio": np.divide(size, jitter, out=np.full(len(drift), np.inf), where=jitter > 0)}
    if networks.logits.shape[2] == 2:
        values["towards"] = np.where(predicted == 1, drift, -drift)
    return values, predicted, patients


def _median(values: Floats, patients: Strings, seed: int) -> Estimate:
    value = weighted_median(np.ones((1, len(values))), values)[0]
    interval = bootstrap(lambda weights: weighted_median(weights, values), patients, seed)[0]
    if interval[0] == interval[1]:      # every resample is a copy
        interval = np.full(2, np.nan)
    return estimate(float(value), interval, len(values))


def _power(doses: Floats, columns: list[Floats], patients: Strings, seed: int) -> Estimate:
    """The slope of log median by log dose, fitted in each resample of patients."""
    logs = np.log(doses) - np.log(doses).mean()

    def fitted(weights: Floats) -> Floats:
        medians = np.stack([weighted_median(weights, column) for column in columns], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope: Floats = np.log(medians) @ logs / (logs @ logs)
        return slope

    value = float(fitted(np.ones((1, len(patients))))[0])
    return estimate(value, bootstrap(fitted, patients, seed)[0], len(patients))
