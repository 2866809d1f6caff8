"""The study's classifier: given weights loaded, else trained here, or taken up from the run's folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steadyread import records
from steadyread.cases import fingerprint, image_marks, patient_marks
from steadyread.classifier import Classifier, Normalise
from steadyread.errors import PlanDiffers, UsageError
from steadyread.material import Material
from steadyread.models.loading import load_classifier_module, read_card, save_weights
from steadyread.progress import Progress, quiet
from steadyread.run_folder import MODEL, TRAINING
from steadyread.study import Model
from steadyread.training.fit import TrainingSettings, fit
from steadyread.units import Bounds


@dataclass(frozen=True)
class Window:
    """What stands between native units and a network that sees a window: clipped to it, then scaled.

    Noise is added before a reader's window clips, so the window belongs to the network and not to the images.
    """

    low: float
    high: float
    middle: float
    half: float

    def __call__(self, images: Tensor) -> Tensor:
        """The images clipped to `low` and `high`, less `middle`, over `half`."""
        return (images.clamp(self.low, self.high) - self.middle) / self.half


def classifier_of(material: Material, folder: Path, progress: Progress = quiet, seed: int | None = None
                  ) -> Classifier:
    """The study's classifier: given weights loaded, else trained here, or taken up from the folder.

    `seed` is that of its weights and its training; the study's if None.
    """
    seed = material.study.seed if seed is None else seed
    model, training = material.study.model, material.study.training
    classifier = partial(Classifier, bounds=material.ready.bounds, output=model.output,
                         normalise=_normalise(model, material.ready.bounds), threshold=model.threshold,
                         name=model.name)

    def load(weights: str | Path | None) -> nn.Module:
        return load_classifier_module(model.name, weights, seed=seed, **model.arguments)

    if training is None:
        return classifier(load(model.weights))
    settings, digest = TrainingSettings(**training), _digest_of_training(material, seed)
    path = folder / MODEL
    if path.exists():
        if (read_card(path) or {}).get("training_digest") != digest:
            raise PlanDiffers(f"{path} was trained on other data or with other settings: give another --out folder")
        return classifier(load(path))
    fitted = fit(classifier(load(None)), material.ready.part("train"), material.ready.part("validation"), settings,
                 seed=seed, progress=progress)
    records.write_json(folder / TRAINING, fitted.history)
    save_weights(fitted.module, path, _card(material, digest))
    return fitted.classifier


def _card(material: Material, digest: str) -> dict[str, Any]:
    """What must be known to use the trained network again, and to tell its training images from others."""
    study, model = material.study, material.study.model.model_dump(mode="json")
    taught = replace(material.raw, rows=tuple(row for row in material.raw.rows if row.part != "test"))
    return {"model": model["name"], "arguments": model["arguments"], "output": model["output"],
            "normalise": model["normalise"], "threshold": model["threshold"], "window": model["window"],
            "preparation": study.preparation.model_dump(mode="json"),
            "bounds": [material.ready.bounds.low, material.ready.bounds.high], "unit": material.ready.bounds.unit,
            "classes": list(material.ready.classes), "data": {"name": material.raw.name, "images": material.whole},
            "taught": {"images": sorted(set(image_marks(taught))), "patients": sorted(set(patient_marks(taught)))},
            "limit": study.data.limit, "synthetic": material.ready.synthetic,
            "split": study.split.model_dump(mode="json") | {"seed": material.seed},
            "training": study.training, "training_digest": digest}


def _normalise(model: Model, bounds: Bounds) -> Normalise:
    stated = model.normalise
    if isinstance(stated, tuple):
        half = len(stated) // 2
        values: tuple[float, float] | tuple[Tensor, Tensor] = (
            (stated[0], stated[1]) if half == 1 else (torch.tensor(stated[:half]), torch.tensor(stated[half:])))
    else:
        seen = Bounds(*model.window) if model.window is not None else bounds
        middle = (seen.low + seen.high) / 2
        values = {"none": (0.0, 1.0), "unit": (seen.low, seen.range), "symmetric": (middle, seen.range / 2)}[stated]
    if model.window is None:
        return None if stated == "none" else values
    if not isinstance(values[0], float) or not isinstance(values[1], float):
        raise UsageError("model.window goes with normalise = none, unit, symmetric or one [mean, deviation]")
    return Window(*model.window, values[0], values[1])


def _digest_of_training(material: Material, seed: int) -> str:
    """SHA-256 over what the weights depend on: settings, network, seed, and the images with their labels."""
    study = material.study
    taught = replace(material.ready, rows=tuple(row for row in material.ready.rows if row.part != "test"))
    told = {"training": asdict(TrainingSettings(**(study.training or {}))), "seed": seed,
            "model": study.model.model_dump(mode="json"), "data": fingerprint(taught)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


