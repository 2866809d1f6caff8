"""seen.json and seen.npz of a network on one fold, by formulas: attention is a blob of stated place and width.

Under noise the blob of a read that flips moves by `moved_mm` and grows by `grown`, that of a steady one by a third
of it, so every figure can be checked. Features are the image, scaled; the k-th changes by (k + 1) / features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from steadyread import records
from steadyread.metrics.attention_shift import (
    area,
    centre_distance_mm,
    mask_share,
    overlap,
    rank_correlation,
    share_inside,
)
from steadyread.metrics.reads import PLAUSIBLE, RANDOM

METHODS = ("grad_cam", "integrated_gradients")


@dataclass(frozen=True)
class Seen:
    """What one network sees. `space` in voxels, `spacing` in mm; `flips` is the share of reads that flip."""

    fold: int = 0
    cases: int = 40
    patients: int = 30
    space: tuple[int, ...] = (5, 24, 24)
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    features: int = 16
    shown: int = 2
    flips: float = 0.5
    moved_mm: float = 3.0
    grown: float = 1.6
    sane: float = 0.1
    attacks: tuple[str, ...] = (PLAUSIBLE, RANDOM)
    masks: bool = True
    flat: int = 0          # maps that are zero everywhere
    seed: int = 0


def write_seen(folder: Path, made: Seen | None = None) -> Path:
    """Both files as a run leaves them."""
    made = made or Seen()
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "seen.json", told(made))
    records.write_npz(folder / "seen.npz", arrays(made))
    return folder


def told(made: Seen) -> dict[str, Any]:
    """seen.json."""
    random = np.random.default_rng([made.seed, made.fold])
    rows = [row for attack in made.attacks for method in METHODS for row in _rows(made, method, attack)]
    sanity = [{"method": method, "randomised": which, "cases": 8,
               "correlations": (found := np.clip(random.normal(made.sane * scale, 0.08, 8), -1, 1)).tolist(),
               "correlation": float(np.median(found))}
              for method in METHODS for which, scale in (("all layers", 1.0), ("last layer", 3.0))]
    return {"attack": PLAUSIBLE.removesuffix("_ct_noise"), "mas": 100.0, "layer": "features.9",
            "feature_layer": "features.0", "methods": list(METHODS), "attention": rows, "sanity": sanity,
            "measure": "root mean square change of a feature over the root mean square of the clean feature about "
                       "its mean",
            "target": "the logit margin of the clean read's class, on both images"}


def arrays(made: Seen) -> dict[str, np.ndarray]:
    """seen.npz."""
    random = np.random.default_rng([made.seed, made.fold, 1])
    m, k, n = made.shown, made.features, made.cases
    mask = _blob(made, m, 0.0, 1.0) > np.exp(-2)
    texture = gaussian_filter(random.normal(0, 60, (m, *made.space)), (0, *[1.2] * len(made.space)))
    clean = np.where(mask, 40.0, -820.0) + 4 * texture
    noise = random.normal(0, 20, clean.shape)
    gain = np.linspace(0.2, 1.0, k).reshape(1, k, *[1] * len(made.space))
    features = np.maximum(gain * (clean[:, None] + 1000) / 1000 + 0.1, 0)
    change = np.broadcast_to(np.arange(1, k + 1) / k, (m, k))
    moved = features * (1 + change.reshape(m, k, *[1] * len(made.space)) * 0.6
                        * random.normal(0, 1, features.shape))
    base = np.arange(1, k + 1) / k
    sides = {"clean": (0.0, 1.0), "noisy": (made.moved_mm, made.grown)}
    maps = {f"map_{method}_{side}": _blob(made, m, *where, at)
            for at, method in enumerate(METHODS) for side, where in sides.items()}
    held = {"case_id": np.array([f"case-{at:04d}" for at in range(m)]), "label": np.arange(m) % 2,
            "prediction": np.arange(m) % 2, "attack": np.array([PLAUSIBLE] * m), "mas": np.full(m, 100.0),
            "clean_probability": np.where(np.arange(m) % 2, 0.83, 0.21),
            "noisy_probability": np.where(np.arange(m) % 2, 0.31, 0.64), "clean": clean, "noisy": clean + noise,
            "mask": mask if made.masks else np.zeros_like(mask), "spacing_mm": np.tile(made.spacing, (m, 1)),
            "features_clean": features, "features_noisy": np.maximum(moved, 0), "change": change,
            "feature_case_id": np.array([f"case-{at:04d}" for at in range(n)]),
            "feature_patient_id": _patients(made),
            "feature_change": base * np.exp(random.normal(0, 0.15, (n, k)))} | maps
    return {name: np.asarray(value, np.uint8) if name == "mask" else np.asarray(value, np.float32)
            if value.dtype.kind == "f" else value for name, value in held.items()}


def _patients(made: Seen) -> np.ndarray:
    return np.array([f"p-{at % made.patients:03d}" for at in range(made.cases)])


def _blob(made: Seen, count: int, moved_mm: float | np.ndarray, grown: float | np.ndarray,
          at: int = 0) -> np.ndarray:
    """Blobs (count, *space) about the middle, moved along the last axis, 4 mm wide times `grown`."""
    moved, wide = (np.broadcast_to(np.asarray(one, float), count).reshape(-1, *[1] * len(made.space))
                   for one in (moved_mm, grown))
    axes = np.meshgrid(*((np.arange(size) - (size - 1) / 2) * step
                         for size, step in zip(made.space, made.spacing, strict=True)), indexing="ij")
    far = sum(axis[None] ** 2 for axis in axes[:-1]) + (axes[-1][None] - moved - at) ** 2
    return np.asarray(np.exp(-far / (2 * (4 * wide) ** 2)))


def _rows(made: Seen, method: str, attack: str) -> Sequence[dict[str, Any]]:
    """The attention rows; random noise moves a tenth as far and flips a fifth as many."""
    n, at = made.cases, METHODS.index(method)
    random = np.random.default_rng([made.seed, made.fold, 2])
    share, scale = (made.flips, 1.0) if attack == PLAUSIBLE else (made.flips / 5, 0.1)
    flipped = np.arange(n) % 10 < round(10 * share)
    part = np.where(flipped, 1.0, 1 / 3) * scale * random.uniform(0.5, 1.5, n)
    clean = _blob(made, n, 0.0, random.uniform(0.8, 1.2, n), at)
    noisy = _blob(made, n, made.moved_mm * part, 1 + (made.grown - 1) * part, at)
    noisy[:made.flat] = 0
    mask = np.broadcast_to(_blob(made, 1, 0.0, 1.0) > np.exp(-2), clean.shape) & made.masks
    figures = {"overlap": overlap(clean, noisy), "distance_mm": centre_distance_mm(clean, noisy, made.spacing),
               "inside_clean": share_inside(clean, mask), "inside_noisy": share_inside(noisy, mask),
               "rank_correlation": rank_correlation(clean, noisy), "mask_share": mask_share(mask),
               "area_clean": area(clean), "area_noisy": area(noisy)}
    label = np.arange(n) % 2
    return [{"case_id": f"case-{row:04d}", "patient_id": str(_patients(made)[row]), "label": int(label[row]),
             "prediction": int(label[row]), "noisy_prediction": int(label[row] ^ flipped[row]),
             "flipped": bool(flipped[row]), "method": method, "attack": attack}
            | {name: None if np.isnan(values[row]) else float(values[row]) for name, values in figures.items()}
            for row in range(n)]
