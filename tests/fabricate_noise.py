"""A noise study's folder, made in numpy from a model whose drift and jitter are stated, so numbers can be checked.

The logit of a case under noise of m mAs is normal: its clean logit, plus drift x 100 / m towards malignant, with SD
jitter x sqrt(100 / m). Optimised noise moves it by so many SD away from the prediction.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import expit

from steadyread import records
from steadyread.metrics.dose import flip_probability_of
from steadyread.metrics.reads import KNOWN
from steadyread.report.run import told_of
from steadyread.report.shareable import AS_IT_IS

DOSES = (10.0, 50.0, 100.0, 200.0, 500.0)
VARIANTS = ("original", "batch_norm", "dropout_0.1", "deeper", "narrower", "five_class", "strided")
MAKERS = ("GE MEDICAL SYSTEMS", "SIEMENS", "Philips", "TOSHIBA", "")
SIGMA_100 = 18.5
_PUSH = {"pooled_ct_noise": 2.2, "paper_ct_noise": 2.6, "paper_hu_ct_noise": 0.4, "rings_ct_noise": 11.0,
         "plausible_ct_noise": 6.0}


@dataclass(frozen=True)
class Made:
    """What a study is made of. `drift` is towards malignant, logits at 100 mAs; so is `jitter`."""

    cases: int = 120
    patients: int = 80
    folds: int = 2
    variants: tuple[str, ...] = ("original",)
    attacks: tuple[str, ...] = KNOWN
    doses: tuple[float, ...] = DOSES
    draws: int = 50
    starts: int = 2
    drift: float = 0.15
    jitter: float = 0.25
    volumes: bool = True
    scan_mas: float | None = None
    mode: str = "add"
    train: bool = True
    counted: bool = True
    converged: bool = True
    examples: bool = True
    spectrum: bool = True
    makers: tuple[str, ...] = MAKERS
    facts: bool = True
    seed: int = 0


def write_study(folder: Path, made: Made | None = None) -> Path:
    """The folder of a study as it is left by a run."""
    made = made or Made()
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "study.json", settings(made))
    (folder / "salt.txt").write_text("made")
    _write_json(folder / "findings.json", [
        {"check": "padding tells the label", "severity": "ok", "value": 0.56, "rows": [],
         "message": "padding alone tells the label with an AUC of 0.56 (0.51 to 0.61)"},
        {"check": "diameter tells the label", "severity": "warning", "value": 0.87, "rows": [],
         "message": "diameter alone tells the label with an AUC of 0.87 (0.84 to 0.90)"}])
    if made.spectrum:
        _write_json(folder / "spectrum.json", spectrum(made))
    _write_cases(folder / "cases.csv", made)
    for variant in made.variants:
        for fold in range(made.folds):
            _write_job(folder / "jobs" / variant / f"fold-{fold}", made, variant, fold)
    return folder


def settings(made: Made) -> dict[str, Any]:
    """study.json."""
    return {"name": "ct_noise", "seed": made.seed, "scale": "laptop",
            "data": {"path": "made", "layout": "lidc-3d", "options": {"box_mm": [5, 24, 24]}},
            "split": {"test_share": 0.2, "folds": made.folds},
            "model": {"name": "nodule_cnn", "window": [-1000, 400]},
            "noise": {"spectrum": "soft", "mas": list(made.doses), "domain": "grid", "mode": "add"}}


def spectrum(made: Made) -> dict[str, Any]:
    """spectrum.json: f exp(-(f / b)^2.2), about as a soft kernel has it."""
    frequency = np.linspace(0, 0.9, 91)
    power = 7000 * frequency * np.exp(-((frequency / 0.35) ** 2.2))
    return {"name": "soft", "provenance": "made for tests, after Pontana et al. 2015 (SYNTHETIC)",
            "reference_mas": 250, "peak_per_mm": 0.24, "mean_per_mm": 0.29, "frequency_per_mm": frequency.tolist(),
            "power_hu2_mm2": power.tolist(), "domain": "grid", "mode": made.mode, "grid_mm": 1.0,
            "sigma_hu": {f"{mas:g}": SIGMA_100 * (100 / mas) ** 0.5 for mas in made.doses}}


def population(made: Made) -> dict[str, np.ndarray]:
    """What is true of each case: label, patient, rating, size, maker, and its own drift and jitter."""
    random = np.random.default_rng(made.seed)
    n = made.cases
    label = (random.random(n) < 0.4).astype(int)
    rating = np.where(label == 1, random.choice([4, 5], n), random.choice([1, 2], n))
    return {"case_id": np.array([f"case-{at:04d}" for at in range(n)]), "label": label, "rating": rating,
            "patient": np.array([f"p-{at % made.patients:03d}" for at in range(n)]),
            "maker": np.array(made.makers)[random.integers(0, len(made.makers), n)] if made.makers else
            np.full(n, ""),
            "diameter": np.round(np.exp(random.normal(1.9 + 0.7 * label, 0.35)), 1),
            "readers": random.integers(1, 5, n), "fold": random.integers(0, max(made.folds, 3), n),
            "test": np.arange(n) % made.patients < 0.25 * made.patients,
            "logit": random.normal(np.where(label == 1, 2.2, -2.4), 1.7) * np.where(abs(rating - 3) > 1, 1.4, 0.8),
            "drift": made.drift * np.exp(random.normal(0, 0.4, n)),
            "jitter": made.jitter * np.exp(random.normal(0, 0.3, n))}


def network(made: Made, variant: str, fold: int) -> dict[str, np.ndarray]:
    """The population as one network reads it: part, clean logit, drift and jitter."""
    told = population(made)
    number = VARIANTS.index(variant) if variant in VARIANTS else 9
    random = np.random.default_rng([made.seed, number, fold])
    part = np.where(told["test"], "test", np.where(told["fold"] == fold, "validation", "train"))
    logit = told["logit"] + random.normal(0, 0.5, made.cases)
    logit = np.where(part == "train", logit + np.sign(told["label"] - 0.5), logit)
    pooled = 0.08 if variant == "strided" else 1.0
    return told | {"part": part, "logit": logit.astype(np.float32).astype(float), "drift": told["drift"] * pooled}


def job_table(made: Made, variant: str = "original", fold: int = 0) -> pa.Table:
    """The records of one network."""
    told = network(made, variant, fold)
    n, random = made.cases, np.random.default_rng([made.seed, 7, fold])
    prediction = (told["logit"] > 0).astype(int)
    clean = {"attack": "clean", "threat": "none", "size": 0.0, "unit": "HU", "trials": 1, "forwards": 1,
             "backwards": 0, "logit": told["logit"]}
    blocks = [_block(told, clean | {"flips": flips, "against": side}, np.arange(n), variant, fold)
              for side, flips in (("label", (prediction != told["label"]).astype(int)),
                                  ("prediction", np.zeros(n, int)))]
    attacks = made.attacks if variant == "original" else made.attacks[:1]
    for attack in attacks:
        kept = np.flatnonzero((told["part"] == "test") | ((told["part"] == "train") & made.train
                                                          & (attack in ("random_ct_noise", "rings_ct_noise"))))
        for mas in made.doses if variant == "original" else (10.0, 100.0):
            found = under_noise(made, told, attack, mas, random)
            blocks.append(_block(told, {"attack": attack, "threat": "CTNoise", "size": mas, "unit": "mAs",
                                        "against": "prediction"} | found, kept, variant, fold))
    return pa.concat_tables(blocks)


def under_noise(made: Made, told: dict[str, np.ndarray], attack: str, mas: float,
                random: np.random.Generator) -> dict[str, Any]:
    """Columns of every case under one attack."""
    n, prediction = made.cases, (told["logit"] > 0).astype(int)
    away = np.where(prediction == 1, 1.0, -1.0)
    scale = 1.128 if attack in ("inflated_ct_noise", "paper_ct_noise", "paper_hu_ct_noise") else 1.0
    middle = away * (told["logit"] + scale**2 * told["drift"] * 100 / mas)
    shake = scale * told["jitter"] * (100 / mas) ** 0.5
    trials = made.draws if attack in ("random_ct_noise", "inflated_ct_noise") else made.starts
    margins = (middle - _PUSH.get(attack, 0.0) * shake)[:, None] + shake[:, None] * random.normal(size=(n, trials))
    worst = margins.min(1)
    columns: dict[str, Any] = {"trials": trials, "flips": (margins < 0).sum(1), "logit": away * worst,
                               "sigma_hu": scale * SIGMA_100 * (100 / mas) ** 0.5 * random.normal(1, 0.004, n),
                               "forwards": trials * (1 if attack not in _PUSH else 20),
                               "backwards": 0 if attack not in _PUSH else trials * 10,
                               "kurtosis": random.normal({"rings_ct_noise": 4.0}.get(attack, 0.02), 0.2, n)}
    piled = {"rings_ct_noise": 2.4, "plausible_ct_noise": 1.5}.get(attack, 1.35)
    columns["largest_local_sigma_hu"] = columns["sigma_hu"] * piled * random.normal(1, 0.03, n)
    if made.volumes:
        along = {"rings_ct_noise": 0.3, "paper_ct_noise": 0.1}.get(attack, 0.0)
        columns["z_correlation"] = random.normal(along, 0.02, n)
    out = {"rings_ct_noise": 34.0, "plausible_ct_noise": 31.0, "paper_ct_noise": 20.0, "pooled_ct_noise": 18.0}
    columns["deviations"] = np.random.default_rng(len(attack)).normal(out.get(attack, 0.0), 1.0, n)
    if attack == "random_ct_noise":
        jitter = margins.std(1, ddof=1) if trials > 1 else np.full(n, np.nan)
        columns |= {"drift": margins.mean(1) - away * told["logit"], "jitter": jitter}
    if attack in ("random_ct_noise", "rings_ct_noise", "plausible_ct_noise"):
        columns["ring_error"] = np.abs(random.normal(0, 0.5 if attack == "random_ct_noise" else 0.003, n))
    if made.scan_mas is not None:
        columns["scan_mas"] = made.scan_mas * np.exp(np.random.default_rng(3).normal(0, 0.4, n))
    return columns


def _block(told: dict[str, np.ndarray], found: dict[str, Any], kept: np.ndarray, variant: str,
           fold: int) -> pa.Table:
    n = len(told["label"])
    five = variant == "five_class"
    label = told["rating"] - 1 if five else told["label"]
    logit = np.asarray(found.pop("logit"), float)
    clean = (told["logit"] > 0).astype(int)
    logits = -((np.clip(3 + logit / 2, 1, 5)[:, None] - np.arange(1, 6)) ** 2) if five else np.stack(
        [np.zeros(n), logit], axis=1)
    columns: dict[str, Any] = {
        "case_id": told["case_id"], "patient_id": told["patient"], "data": "made nodules", "part": told["part"],
        "fold": fold, "model": variant, "stage": "plain", "label": label, "prediction": logits.argmax(1),
        "reference": label if found["against"] == "label" else clean, "margin": np.where(clean == 1, logit, -logit),
        "seed": 0, "version": "0.2.0", **found}
    arrays = {}
    for name in records.SCHEMA.names:
        kind = records.SCHEMA.field(name).type
        if name == "logits":
            arrays[name] = pa.array(logits[kept].tolist(), kind)
        elif name in columns:
            value = columns[name]
            value = np.asarray(value)[kept] if np.ndim(value) else np.full(len(kept), value)
            arrays[name] = pa.array(value.tolist(), kind)
        else:
            arrays[name] = pa.nulls(len(kept), kind)
    return pa.table(arrays, schema=records.SCHEMA)


def _write_job(folder: Path, made: Made, variant: str, fold: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "plan.json", {
        "data": {"name": "made nodules", "unit": "HU", "bounds": [-1024, 3071], "classes": ["benign", "malignant"]
                 if variant != "five_class" else ["1", "2", "3", "4", "5"], "synthetic": True,
                 "patients_known": True, "sha256": "d" * 64},
        "model": {"name": variant, "sha256": f"{fold}" * 64, "parameters": 170_000, "output": "logit",
                  "threshold": 0.5},
        "attacks": {"test": [f"{name}(mas={made.doses})" for name in made.attacks]}, "against": ["both"],
        "seed": 0, "block": 64, "versions": {"steadyread": "0.2.0", "torch": "2.13.0", "python": "3.11"}})
    records.Store(folder).parts.mkdir(exist_ok=True)
    records.Store(folder).write_part(0, job_table(made, variant, fold))
    _write_json(folder / "findings.json", [
        {"check": "large noise", "severity": "ok", "message": "at 1 mAs most reads change", "value": 0.8}])
    _write_json(folder / "training.json", {"epochs": [{"epoch": 1, "train_loss": 0.6},
                                                      {"epoch": 2, "train_loss": 0.4}],
                                           "chosen_epoch": 2, "seconds": 31.0})
    if variant != "original":
        return
    if made.counted:
        _write_json(folder / "counted.json", counted(made, fold))
    if made.converged:
        _write_json(folder / "convergence.json", {"rows": [
            converged(made, attack, mas, count, fold) for attack in ("rings_ct_noise", "plausible_ct_noise")
            for mas, count in zip(made.doses, (50, 24, 15, 9, 6), strict=False)]})
    if made.examples:
        np.savez(folder / "noise_examples.npz", **examples(made, volumes=made.volumes))


def converged(made: Made, attack: str, mas: float, count: int, fold: int) -> dict[str, Any]:
    """A row of convergence.json: the longer search flips one test image more."""
    told = network(made, "original", fold)
    names = told["case_id"][told["part"] == "test"][: count + 1].tolist()
    found = [1] * (len(names) - 1) + [0]
    return {"attack": attack, "mas": mas, "images": len(names), "gradients": 20, "flips": len(names) - 1,
            "gradients_more": 200, "flips_more": len(names), "either": len(names), "case_ids": names,
            "found": found, "found_more": [1] * len(names)}


def counted(made: Made, fold: int) -> dict[str, Any]:
    """counted.json: pairs chosen so that half of the draws flip, on one side or the other."""
    random, told, pairs = np.random.default_rng([made.seed, 11, fold]), network(made, "original", fold), []
    for at in np.flatnonzero(told["part"] == "test")[:60]:
        distance = random.uniform(-2.2, 2.2)
        few, many = random.normal(distance, 1, 16), random.normal(distance, 1, 1000)
        probability, low, high, _, _ = flip_probability_of(few)
        pairs.append({"case_id": str(told["case_id"][at]), "mas": float(random.choice(made.doses)),
                      "counted_flips": int((many < 0).sum()), "counted_trials": 1000, "normal": True,
                      "few_flips": int((few < 0).sum()), "drift": -0.1, "jitter": 0.2,
                      "probability": float(probability), "low": float(low), "high": float(high)})
    return {"draws": 16, "pairs": pairs}


def examples(made: Made, volumes: bool = True, count: int = 3) -> dict[str, np.ndarray]:
    """noise_examples.npz: blobs in HU with noise, as volumes (z, y, x) or slices."""
    random = np.random.default_rng(made.seed)
    grid = np.linspace(-1, 1, 24)
    blob = 850 * np.exp(-9 * (grid**2 + grid[:, None] ** 2)) - 850
    shape = (count, 5, 24, 24) if volumes else (count, 24, 24)
    clean = (np.broadcast_to(blob, shape) + random.normal(0, 12, shape)).astype(np.float32)
    noisy = (clean + random.normal(0, 30, shape)).astype(np.float32)
    told = network(made, "original", 0)
    return {"clean": clean, "noisy": noisy, "case_id": told["case_id"][:count], "label": told["label"][:count],
            "attack": np.array(["plausible_ct_noise", "rings_ct_noise", "random_ct_noise"] * count)[:count],
            "mas": np.array([100.0, 200.0, 10.0] * count)[:count],
            "clean_probability": expit(told["logit"][:count]), "noisy_probability": expit(-told["logit"][:count])}


def _write_cases(path: Path, made: Made) -> None:
    told = population(made)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        facts = ["rating", "diameter_mm", "readers", "manufacturer", "series_uid", "copied_slices_share",
                 "slice_spacing_mm"] if made.facts else []
        writer.writerow(["case_id", "patient_id", "label", *facts])
        for at in range(made.cases):
            known: Sequence[Any] = (told["rating"][at], told["diameter"][at], told["readers"][at],
                                    told["maker"][at], f"1.3.6.{at}",
                                    0.4 if at % 4 == 0 and not told["label"][at] else 0.0,
                                    (1.0, 1.25, 2.5, 3.0)[at % 4])
            writer.writerow([told["case_id"][at], told["patient"][at], told["label"][at], *known[: len(facts)]])


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def noise_page(folder: Path) -> tuple[str, dict[str, Any]]:
    """The page of a study's folder, without charts, and its summary."""
    told = told_of(folder, AS_IT_IS)
    return told.page().html({}), told.summary
