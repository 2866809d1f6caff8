"""Records of an exact linear model, made in numpy: every number in them can be checked by hand.

Two classes: logits (0, w.x + b), so the smallest L-infinity flip is |margin| / ||w||_1 and an attack of size e
moves the margin by e ||w||_1 exactly. More classes: logits W.x, the same with the nearest other class.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from steadyread import records
from steadyread.metrics.reads import Outcome, Reads

RANGE = 1400.0
SIZES = (1.4, 2.8, 5.6, 8.4)


def plan(unit: str = "HU", classes: int = 2, **changed: Any) -> dict[str, Any]:
    """A plan as an assessment writes it."""
    low, high = (-1000.0, 400.0) if unit == "HU" else (0.0, RANGE)
    names = ["benign", "malignant"] if classes == 2 else [f"class {number}" for number in range(classes)]
    return {"name": "linear",
            "data": {"name": "made nodules", "unit": unit, "bounds": [low, high], "classes": names,
                     "synthetic": True, "patients_known": True, "sha256": "d" * 64,
                     "parts": {"test": {"images": 120, "patients": 80}}},
            "model": {"name": "linear", "sha256": "e" * 64, "parameters": 17, "output": "logit", "threshold": 0.5},
            "attacks": {"test": ["FGSM(epsilon=1.4)", "smallest_flip(largest=70.0)"]},
            "against": ["label", "prediction"], "seed": 0, "block": 64,
            "versions": {"steadyread": "0.1.0", "torch": "2.13.0", "numpy": "2", "python": "3.11"}} | changed


def margins(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and logits (n, classes) of a model that is mostly right."""
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, n)
    logits = random.normal(0, 1, (n, classes))
    logits[np.arange(n), label] += 1.6
    if classes == 2:
        logits = np.stack([np.zeros(n), logits[:, 1] - logits[:, 0]], axis=1)
    return label, logits.astype(np.float32).astype(np.float64)


def rows(n: int = 120, classes: int = 2, part: str = "test", seed: int = 0, slope: float = 0.25,
         against: tuple[str, ...] = ("label", "prediction"), largest: float = 70.0, patients: int = 80,
         name: str = "case", spread: float = 0.0) -> list[dict[str, Any]]:
    """Rows of n images under FGSM, BIM, PGD at `SIZES` and the smallest flip. `slope` is logits a unit.

    With a `spread` each image lies on a piece of its own slope, as in a piecewise linear network.
    """
    label, logits = margins(n, classes, seed)
    slopes = slope * np.exp(spread * np.random.default_rng(seed + 1).normal(size=n))
    found = []
    for place in range(n):
        for side in against:
            case = {"case_id": f"{name}-{place:04d}", "patient_id": f"{part}-{place % patients}",
                    "data": "made nodules", "part": part, "model": "linear", "stage": "plain",
                    "label": int(label[place]), "against": side, "unit": "HU", "seed": 0,
                    "model_sha256": "e" * 64, "data_sha256": "d" * 64, "version": "0.1.0", "trials": 1}
            made = _of_case(logits[place], int(label[place]), side, float(slopes[place]), largest)
            found += [case | row for row in made]
    return found


def _of_case(logits: np.ndarray, label: int, side: str, slope: float, largest: float) -> Iterator[dict[str, Any]]:
    prediction = int(logits.argmax())
    reference = label if side == "label" else prediction
    clean = {"reference": reference, "prediction": prediction, "logits": logits.tolist(), "attack": "clean",
             "threat": "none", "size": 0.0, "flips": int(prediction != reference), "forwards": 1, "backwards": 0,
             "margin": float(logits[reference] - np.delete(logits, reference).max())}
    yield clean
    if prediction != reference:
        for size in SIZES:
            for attack in ("fgsm", "bim", "pgd"):
                yield clean | {"attack": attack, "threat": "Linf", "size": size, "flips": 1, "found_size": 0.0,
                               "forwards": 0}
        yield clean | {"attack": "smallest_flip", "threat": "Linf", "size": None, "flips": 1, "found_size": 0.0,
                       "forwards": 0}
        return
    for attack, share in (("fgsm", 0.85), ("bim", 0.95), ("pgd", 1.0)):
        for size in SIZES:
            yield clean | _moved(logits, reference, slope * size * share) | {
                "attack": attack, "threat": "Linf", "size": size, "found_size": size, "forwards": 11,
                "backwards": 10}
    smallest = clean["margin"] / slope * (1 + 1e-6)
    flipped = _moved(logits, reference, slope * smallest) if smallest <= largest else {"flips": 0}
    yield clean | flipped | {"attack": "smallest_flip", "threat": "Linf", "size": None, "forwards": 38,
                             "backwards": 30, "found_size": smallest if smallest <= largest else np.inf}


def _moved(logits: np.ndarray, reference: int, by: float) -> dict[str, Any]:
    """The best other logit raised by `by` against the reference's: what a linear model's attack does."""
    moved = logits.copy()
    other = int(np.where(np.arange(len(logits)) == reference, -np.inf, logits).argmax())
    moved[other] += by
    return {"prediction": int(moved.argmax()), "logits": moved.tolist(),
            "margin": float(moved[reference] - moved[other]), "flips": int(moved[other] > moved[reference])}


def table(**settings: Any) -> pa.Table:
    """A test and a validation part of 120 and 60 images."""
    return records.as_table(rows(**settings) + rows(**{"n": 60, "part": "validation", "seed": 5, "name": "valid",
                                                       **{key: value for key, value in settings.items()
                                                          if key in ("classes", "slope", "against", "spread")}}))


def write_run(folder: Path, case_table: pa.Table | None = None, **changed: Any) -> Path:
    """A run's folder as an assessment leaves it, with findings, examples and training."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = plan(**changed)
    (folder / "plan.json").write_text(json.dumps(stated))
    (folder / "salt.txt").write_text("made")
    records.Store(folder).parts.mkdir(exist_ok=True)
    records.Store(folder).write_part(0, table() if case_table is None else case_table)
    (folder / "findings.json").write_text(json.dumps([
        {"check": "large epsilon", "severity": "ok", "message": "at 0.5 of the range no read stands", "value": 0.0,
         "rows": []},
        {"check": "near duplicates", "severity": "warning", "message": "2 images occur twice", "value": 2.0,
         "rows": ["case-0001", "case-0002"]}]))
    (folder / "training.json").write_text(json.dumps({"epochs": [
        {"epoch": epoch, "train_loss": 0.7 / epoch, "validation_loss": 0.7 / epoch + 0.1 + 0.01 * epoch,
         "validation_auc": 1 - 0.4 / epoch, "validation_accuracy": 1 - 0.45 / epoch, "seconds": 2.0}
        for epoch in range(1, 9)], "chosen_epoch": 5, "seconds": 16.0}))
    np.savez(folder / "examples.npz", **examples())
    return folder


def examples(shape: tuple[int, ...] = (1, 32, 32), case_id: str = "case-0003") -> dict[str, np.ndarray]:
    """Three example images of a blob, as an assessment stores them."""
    random = np.random.default_rng(0)
    grid = np.linspace(-1, 1, shape[-1])
    blob = 900 * np.exp(-4 * (grid**2 + grid[:, None] ** 2)) - 900
    clean = (np.broadcast_to(blob, (3, *shape)) + random.normal(0, 25, (3, *shape))).astype(np.float32)
    change = 5.6 * np.sign(random.normal(size=(3, *shape)))
    return {"clean": clean.clip(-1000, 400), "adversarial": (clean + change).clip(-1000, 400).astype(np.float32),
            "case_id": np.array([case_id, "case-0007", "case-0011"]), "label": np.array([0, 1, 0]),
            "attack": np.array(["fgsm", "pgd", "smallest_flip"]), "size": np.array([5.6, 5.6, 4.1]),
            "clean_probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]),
            "adversarial_probabilities": np.array([[0.3, 0.7], [0.99, 0.01], [0.49, 0.51]])}


def reads_with(margin: np.ndarray, wrong: np.ndarray, patients: np.ndarray,
               scores: Mapping[str, np.ndarray] | None = None) -> Reads:
    """Reads of two classes with these margins (n,), of which those are wrong, and with further scores."""
    prediction = np.zeros(len(margin), np.int64)
    return one_network(np.arange(len(margin)).astype(str), patients.astype(str), wrong.astype(np.int64), prediction,
                       np.stack([margin, np.zeros(len(margin))], axis=1), scores=scores or {})


def one_network(case_id: np.ndarray, patient: np.ndarray, label: np.ndarray, prediction: np.ndarray,
                logits: np.ndarray, outcomes: tuple[Outcome, ...] = (),
                scores: Mapping[str, np.ndarray] | None = None) -> Reads:
    """Reads (n,) of test cases by a single network, logits (n, k), scores (n,)."""
    shape = (len(case_id), 1)
    return Reads(case_id, patient, label, (-1,), np.ones(shape, bool), np.full(shape, "test"), prediction[:, None],
                 logits[:, None], outcomes, {name: score[:, None] for name, score in (scores or {}).items()})
