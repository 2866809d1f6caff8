"""`hardened/` of a made noise study: networks whose drift and jitter shrank or grew by a stated factor."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import fabricate_noise as made
from steadyread import records

ATTACKS = ("random_ct_noise", "rings_ct_noise", "plausible_ct_noise")
STUDY = made.Made(cases=100, patients=90, folds=2, doses=(50.0, 100.0), draws=20, starts=5, attacks=ATTACKS)


@dataclass(frozen=True)
class Method:
    """One method: noise times `calm` after it (after each round, of the main one), other reads where `silent`."""

    name: str
    calm: tuple[float, ...] = (0.3,)
    method: str = "fresh"
    silent: bool = False
    starts: int = 5
    folds: tuple[int, ...] = (0, 1)
    failed: str | None = None
    passes: int = 100_000
    wrong: float = 0.0        # share of the cases that it reads wrong though before they were right


METHODS = (Method("adaptive", (1.5, 2.5), "adaptive"), Method("fresh"))


def write_hardened(folder: Path, methods: tuple[Method, ...] = METHODS, study: made.Made = STUDY,
                   before: bool = True) -> Path:
    """A study's folder with `hardened/` in it, the first method the main one."""
    made.write_study(folder, replace(study, attacks=ATTACKS[:1], counted=False, converged=False, examples=False))
    return add_hardened(folder, methods, study, before)


def add_hardened(folder: Path, methods: tuple[Method, ...] = METHODS, study: made.Made = STUDY,
                 before: bool = True) -> Path:
    """`hardened/` in a study's folder that is there already."""
    settings = json.loads((folder / "study.json").read_text())
    settings["noise"]["hardening"] = {
        "method": methods[0].name, "noise": "rings", "rounds": len(methods[0].calm), "auc_cost": 0.01,
        "compare": {method.name: {"method": method.method} for method in methods[1:]}}
    (folder / "study.json").write_text(json.dumps(settings))
    for fold in range(study.folds):
        if before:
            write_judged(folder / "hardened/before" / f"fold-{fold}", study, fold, Method("before", (1.0,)))
        for method in methods:
            if fold in method.folds:
                write_method(folder / "hardened" / method.name / f"fold-{fold}", study, fold, method, methods[0])
    return folder


def write_method(place: Path, study: made.Made, fold: int, method: Method, main: Method) -> None:
    """One network's folder: its training, and records unless it failed."""
    place.mkdir(parents=True)
    (place / "training.json").write_text(json.dumps(training(method, fold)))
    if method.failed:
        return
    write_judged(place, study, fold, replace(method, calm=method.calm[-1:]))
    for number, calm in enumerate(method.calm[:-1] if method is main else (), 1):
        write_judged(place / f"round-{number}", study, fold, replace(method, calm=(calm,)))


def write_judged(place: Path, study: made.Made, fold: int, method: Method) -> None:
    """Plan, findings and records of one network."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "plan.json").write_text(json.dumps({
        "data": {"bounds": [-1024, 3071], "unit": "HU", "classes": ["benign", "malignant"]}}))
    severity = "error" if method.silent else "ok"
    (place / "findings.json").write_text(json.dumps([
        {"check": "one class", "severity": severity, "message": "every image is read alike" if method.silent else
         "both classes are predicted"}]))
    records.Store(place).parts.mkdir(exist_ok=True)
    records.Store(place).write_part(0, judged_table(study, fold, method))


def judged_table(study: made.Made, fold: int, method: Method) -> pa.Table:
    """Records of a network whose noise moves its margins `calm` times as far."""
    calm = method.calm[0]
    table = made.job_table(replace(study, drift=calm * study.drift, jitter=calm * study.jitter,
                                   starts=method.starts), "original", fold)
    if method.silent:
        table = _all_of_one_class(table)
    return _wrong(table, method.wrong) if method.wrong else table


def training(method: Method, fold: int) -> dict[str, Any]:
    """training.json."""
    def epoch(number: int, at: int) -> dict[str, Any]:
        return {"epoch": number, "train_loss": 0.5, "validation_auc": 0.9 - 0.002 * at, "seconds": 1.0,
                "validation_accuracy": 0.8, "validation_steady": 0.3 + 0.02 * at + 0.01 * fold}

    rounds = [] if method.failed else [
        {"round": number, "attacked": 300, "found": 120, "taught": 300 + 120 * number, "passes_attack": 40_000,
         "passes_training": 10_000, "chosen_epoch": 4,
         "epochs": [epoch(at, 4 * (number - 1) + at) for at in range(1, 5)]}
        for number in range(1, len(method.calm) + 1)]
    return {"name": method.name, "method": method.method, "variant": "original", "noise": "rings", "mas": [50, 100],
            "passes": method.passes, "budget": None, "rule": "of the epochs the steadiest", "rounds": rounds,
            "start": {"validation_auc": 0.9, "validation_accuracy": 0.8, "validation_steady": 0.3},
            "stopped": None, "failed": method.failed, "seed": 0, "seconds": 8.0,
            "settings": {"share": 0.5, "starts": 1, "judged_mas": 100.0}}


def _all_of_one_class(table: pa.Table) -> pa.Table:
    n = table.num_rows
    return _set(table, {"prediction": np.ones(n), "logits": [[0.0, 3.0]] * n, "margin": np.full(n, 3.0),
                        "flips": np.where(pc.equal(table["attack"], "clean").to_numpy(), table["flips"].to_numpy(),
                                          0.0)})


def _wrong(table: pa.Table, share: float) -> pa.Table:
    """The first cases read as the other class, whatever they are, and never flipped by noise."""
    names = np.asarray(table["case_id"].to_pylist())
    turned = np.isin(names, np.unique(names)[: round(share * len(np.unique(names)))])
    label = table["label"].to_numpy()
    clean = pc.equal(table["attack"], "clean").to_numpy()
    logits = [[0.0, 5.0 - 10.0 * one] if turn and is_clean else told for told, one, turn, is_clean in
              zip(table["logits"].to_pylist(), label, turned, clean, strict=True)]
    prediction = np.where(turned & clean, 1 - label, table["prediction"].to_numpy())
    return _set(table, {"logits": logits, "prediction": prediction,
                        "flips": np.where(turned & ~clean, 0, table["flips"].to_numpy())})


def _set(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, values in columns.items():
        kind = records.SCHEMA.field(name).type
        told = [int(one) for one in values] if pa.types.is_integer(kind) else list(values)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, records.SCHEMA.field(name), pa.array(told, kind))
    return table
