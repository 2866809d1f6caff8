"""The folder of a study of several data sets, made of exact records of linear models (`fabricate`).

Each set's network has its own slope (logits a native unit): the smallest flip of an image is its margin over the
slope, so a hardened network of half the slope doubles every flip, and medians at equal conditions are known.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fabricate
from fabricate import RANGE
from steadyread import records

Change = Callable[[dict[str, Any]], dict[str, Any] | list[dict[str, Any]]]


@dataclass(frozen=True)
class Made:
    """One set. `slope` is that of its network, `hardened` of the hardened one (None: none), `equal` at equal
    conditions; `others` are slopes of hardenings to compare with, by name. `noise` in native units. `views` is how
    much a further score of each read knows of whether it is right (None: there is no such score).
    """

    slope: float = 0.25
    classes: int = 2
    images: int = 90
    patients: int = 60
    unit: str = "grey level"
    hardened: float | None = 0.125
    others: Mapping[str, float] = field(default_factory=dict)
    equal: float | None = 0.2
    synthetic: bool = False
    failed: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    records: bool = True
    validation: bool = True
    spread: float = 0.0
    against: tuple[str, ...] = ("label", "prediction")
    views: float | None = None
    attacked: bool = True
    seed: int = 0


FIVE = {"lung_ct": Made(0.4, unit="HU", hardened=0.15, others={"pgd-0.001": 0.35, "trades": 0.12}, equal=0.3,
                        spread=0.6, views=4.0),
        "mammography": Made(0.3, hardened=0.3, equal=0.35, spread=0.3, views=0.0, seed=1),
        "brain_mri": Made(0.2, equal=0.25, spread=0.4, seed=2),
        "mnist": Made(0.02, 10, hardened=0.01, equal=0.02, spread=0.2, seed=3),
        "cifar_10": Made(0.05, 10, hardened=0.06, equal=0.08, spread=0.5, views=1.0, seed=4)}


def write_sets(folder: Path, sets: Mapping[str, Made], name: str = "oncology") -> Path:
    """The folder of the study, as its runs leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "study.json", {
        "name": name, "scale": "laptop", "sets": {key: {"name": key, "data": {"path": key}} for key in sets},
        "equal": {key: {} for key, one in sets.items() if one.equal is not None} or None})
    for key, one in sets.items():
        place = folder / key
        place.mkdir(exist_ok=True)
        if one.failed is not None:
            _write(place / "failed.json", {"reason": one.failed})
        if one.records:
            _write_set(place, key, one)
    return folder


def _write_set(folder: Path, name: str, one: Made) -> None:
    _write_run(folder, name, one, one.slope, "plain")
    _write(folder / "study.json", {"name": name, "triage": {"withhold": 0.2}})
    _write(folder / "images.json", {"size": [64, 64]})
    if one.views is not None:
        _write_scores(folder, one.views, one.seed)
    if one.attacked:
        np.savez(folder / "attacked.npz", **attacked(one))
    if one.hardened is not None:
        _write_hardened(folder / "hardened", name, one, one.hardened, "pgd")
    for other, slope in one.others.items():
        _write_hardened(folder / f"hardened-{other}", name, one, slope, other.split("-")[0])
    if one.equal is not None:
        _write_run(folder / "equal", name, one, one.equal, "plain", validation=False)
        _write(folder / "equal" / "images.json", {"size": [32, 32]})


def _write_run(folder: Path, name: str, one: Made, slope: float, stage: str, validation: bool = True) -> None:
    settings: dict[str, Any] = {"classes": one.classes, "seed": one.seed, "slope": slope, "against": one.against,
                                "patients": one.patients, "spread": one.spread, "largest": RANGE}
    rows = fabricate.rows(one.images, **settings)
    if validation and one.validation:
        rows += fabricate.rows(60, **(settings | {"part": "validation", "seed": one.seed + 50, "name": "valid"}))
    fabricate.write_run(folder, records.as_table([row | {"stage": stage} for row in rows]), unit=one.unit,
                        classes=one.classes, name=name)
    stated = json.loads((folder / "plan.json").read_text())
    stated["data"] |= {"name": name, "synthetic": one.synthetic}
    stated["attacks"] = {"test": [f"FGSM(epsilon={fabricate.SIZES[0]})", f"smallest_flip(largest={RANGE})"]}
    _write(folder / "plan.json", stated)
    _write(folder / "findings.json", [
        {"check": "large epsilon", "severity": "ok", "message": "no read stands", "value": 0.0, "rows": []},
        {"check": "near duplicates", "severity": "warning", "message": f"2 images occur twice ({stage})",
         "value": 2.0, "rows": ["case-0001", "case-0002"]}])


def _write_hardened(folder: Path, name: str, one: Made, slope: float, method: str) -> None:
    _write_run(folder, name, one, slope, "hardened")
    epochs = [{"epoch": epoch, "stage": 1, "epsilon": 2.8, "train_loss": 0.5, "validation_loss": 0.5,
               "validation_auc": 0.9, "validation_accuracy": 0.9, "robust_accuracy": 0.2 + 0.04 * epoch,
               "predicted_classes": one.classes, "seconds": 1.0} for epoch in range(1, 9)]
    _write(folder / "training.json", {
        "method": method, "epsilon": 2.8, "unit": one.unit, "epsilons": [2.8], "why": "stated in the study",
        "useful": None, "start": {"validation_accuracy": 0.9, "robust_accuracy": 0.2}, "rule": "the best is kept",
        "epochs": epochs, "chosen_epoch": 7, "failed": None, "settings": {}, "seed": 0,
        "seconds": 8.0} | dict(one.training))


def _write_scores(folder: Path, knows: float, seed: int) -> None:
    rows = [row for row in records.read(folder).to_pylist()
            if (row["attack"], row["against"]) == ("clean", "label")]
    noise = np.random.default_rng(seed).normal(size=len(rows))
    views = [knows * (row["label"] == row["prediction"]) + one for row, one in zip(rows, noise, strict=True)]
    pq.write_table(pa.table({"case_id": [row["case_id"] for row in rows], "part": [row["part"] for row in rows],
                             "views": views}), folder / "scores.parquet")


def attacked(one: Made, channels: int = 1, size: int = 32, images: int = 2) -> dict[str, np.ndarray]:
    """The arrays of attacked.npz: two images of a blob, clean and under FGSM, PGD and BIM."""
    random = np.random.default_rng(one.seed)
    low = -1000.0 if one.unit == "HU" else 0.0
    grid = np.linspace(-1, 1, size)
    blob = low + RANGE * (0.15 + 0.6 * np.exp(-5 * (grid**2 + grid[:, None] ** 2)))
    clean = blob + random.normal(0, 30, (images, channels, size, size))
    steps = [np.zeros_like(clean), *(20 * np.sign(random.normal(size=clean.shape)) for _ in range(3))]
    probabilities = np.full((images, 4, one.classes), 0.1 / (one.classes - 1))
    probabilities[:, 0, 0], probabilities[:, 1:, 1] = 0.9, 0.9
    return {"images": np.stack([clean + step for step in steps], 1).astype(np.float32),
            "probabilities": probabilities, "attack": np.array(["clean", "fgsm", "pgd", "bim"]),
            "case_id": np.array([f"case-{place:04d}" for place in range(images)]),
            "label": np.zeros(images, int), "size": np.full(images, 20.0)}


def change_rows(folder: Path, change: Change) -> None:
    """The records of a run written anew, each row changed, or several in its place."""
    table = records.read(folder)
    changed = [change(row) for row in table.to_pylist()]
    for path in records.Store(folder).parts.glob("part-*"):
        path.unlink()
    rows = [row for one in changed for row in (one if isinstance(one, list) else [one])]
    records.Store(folder).write_part(0, pa.Table.from_pylist(rows, schema=records.SCHEMA))


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
