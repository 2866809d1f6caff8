"""The study's classifier: given weights loaded, else trained here, or taken up from the run's folder."""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadyread import records
from steadyread.cases import image_marks, patient_marks
from steadyread.classifier import Classifier, Normalise
from steadyread.errors import Doubt, UsageError
from steadyread.files import CHECKPOINT, MEMBERS, MODEL, NETWORK, TRAINING
from steadyread.jobs.material import Listed, Material, listed, refuse_absent
from steadyread.models.loading import fill, load_classifier_module, save_weights, trained_state
from steadyread.models.pretrained import load_pretrained
from steadyread.models.scales import scale_of, stated_scale
from steadyread.progress import Progress, at_work, quiet
from steadyread.study import Model, Study
from steadyread.study.network_file import beside, network_text
from steadyread.suitability import refuse_unsuited
from steadyread.training.checkpoint import remove_checkpoint
from steadyread.training.fit import TrainingSettings, fit
from steadyread.units import Bounds

# Of what a study states of a network: what its training depends on. Whatever else is stated later leaves the digest of
# a run that was begun before as it was.
_LEARNT = {"name", "weights", "pretrained", "arguments", "bounds", "output", "normalise", "threshold", "window"}
_APART = 100_003   # seeds of further networks lie so far apart that no study's own seeds meet them


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
    training = material.study.training
    if training is None:
        return loaded(material, material.study.model.weights, seed)
    settings, digest = TrainingSettings(**training), _digest_of_training(material, seed)
    path = folder / MODEL
    if path.exists():
        return taken_up(material, path, digest)
    ready = material.ready
    fitted = fit(untrained(material, seed), ready.part("train"), ready.part("validation"), settings, seed=seed,
                 device=device_of(material.study), checkpoint=folder / CHECKPOINT, progress=progress)
    records.write_json(folder / TRAINING, fitted.history)
    save_weights(fitted.module, path, card_of(material, digest))
    remove_checkpoint(folder / CHECKPOINT)
    return fitted.classifier


def untrained(material: Material, seed: int) -> Classifier:
    """The study's network as its factory makes it, with pretrained convolutions where the study names some.

    Raises:
        UsageError, InputRefused: the network cannot be made so, or the pretrained file is of another one.
    """
    made = loaded(material, None, seed)
    if material.study.model.pretrained is not None:
        load_pretrained(made.module, material.study.model.pretrained)
    return made


@dataclass(frozen=True, eq=False)
class Fitting:
    """A study's data set as it is listed, its first images, and the network that takes them."""

    known: Listed
    first: Material
    network: Classifier


def fitting(study: Study, progress: Progress = quiet) -> Fitting:
    """The study's data set, listed, its first images and its network: before the others are read, it is known to take
    them, and to know the classes.

    Raises:
        UsageError, InputRefused: something is not there or not as stated.
    """
    refuse_absent(study)
    device_of(study)
    of = study.data.path or "synthetic nodules"
    known = at_work(progress, f"listing the images of {of}", lambda: listed(study))
    first = known.first
    least, limit = len(first.ready.classes), first.study.attacks.limit
    if limit is not None and limit < min(least, len(known.raw)) and not study.quick:
        raise UsageError(f"attacks.limit must be at least {least}, one image per class; got {limit}")
    weights = study.model.weights
    network = untrained(first, study.seed) if weights is None else loaded(first, weights, study.seed)
    if len({tuple(first.ready[place].image.shape) for place in range(len(first.ready))}) == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Doubt)     # two images are no evidence
            refuse_unsuited(network, first.ready)
    return Fitting(known, first, network)


def taken_up(material: Material, path: Path, digest: str) -> Classifier:
    """A network that this study trained before, from the run's folder.

    Raises:
        InputRefused: the file is damaged.
        PlanDiffers: it was trained on other data or otherwise.
    """
    made = loaded(material, None, material.study.seed)
    fill(made.module, path, made.name, trained_state(path, digest))
    return made


def members_of(material: Material, folder: Path, seed: int, progress: Progress = quiet) -> tuple[Classifier, ...]:
    """Further networks trained as that of the `seed`, each from other weights and in another order."""
    asked = material.study.triage.members
    return tuple(placed(classifier_of(material, folder / MEMBERS / str(number), progress, seed + _APART * number),
                        material.study) for number in range(1, asked + 1))


def device_of(study: Study) -> torch.device:
    """Where the study's networks work: a GPU where there is one, unless the study says where.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    if study.device == "cuda" and not torch.cuda.is_available():
        raise UsageError('device = "cuda", and torch sees no GPU here: leave it at "auto", or install torch for it')
    return torch.device("cuda" if study.device != "cpu" and torch.cuda.is_available() else "cpu")


def placed(classifier: Classifier, study: Study) -> Classifier:
    """The network where it works: on a GPU where there is one. Everything is computed in float32."""
    return replace(classifier, module=classifier.module.to(device_of(study)))


def loaded(material: Material, weights: str | Path | None, seed: int) -> Classifier:
    """The study's network with the weights of a file, or as its factory makes it.

    Raises:
        InputRefused, UsageError: there is no such network, or the file is of another one.
    """
    model = material.study.model
    made = classifier_for(model, material.ready.bounds, weights, seed, material.channels)
    return made.of(model.assessed[0]) if model.findings else made


def classifier_for(model: Model, bounds: Bounds, weights: str | Path | None, seed: int = 0,
                   channels: int | None = None) -> Classifier:
    """A classifier of what [model] states, on images of these bounds, with the weights of a file, or as its factory
    makes it where None. `channels` are those of the images, where they are known already.

    Raises:
        UsageError, InputRefused: there is no such network, or it cannot be read.
    """
    module = load_classifier_module(model.name, weights, seed=seed, **model.arguments)
    return Classifier(module, bounds=bounds, output=model.output, name=model.title, findings=model.thresholds,
                      threshold=model.threshold if isinstance(model.threshold, float) else 0.5,
                      normalise=_normalise(model, bounds, channels))


def write_network_file(material: Material, folder: Path) -> None:
    """What is known of a network now as a file in its folder, by which it is assessed again: with the weights that
    lie there, or with those that are given."""
    study, bounds = material.study, material.ready.bounds
    given = study.model.weights
    if given is None and not (folder / MODEL).exists():
        return     # what a drift correction leaves has no weights of its own
    name = study.model.name
    model = study.model.model_copy(update={
        "name": beside(name, folder) if ".py:" in name else name,
        "weights": MODEL if (folder / MODEL).exists() else beside(str(given), folder), "unit": bounds.unit or None,
        "bounds": (bounds.low, bounds.high), "channels": material.channels,
        "classes": () if study.model.findings else material.ready.classes})
    place, colon, name = (study.preparation.transform or "").partition(":")
    transform = f"{beside(place, folder)}:{name}" if place.endswith(".py") else place + colon + name or None
    records.write_text(folder / NETWORK, network_text(model, study.preparation.model_copy(update={
        "transform": transform})))


def card_of(material: Material, digest: str) -> dict[str, Any]:
    """What must be known to use a trained network again, and to tell its training images from others."""
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


def _normalise(model: Model, bounds: Bounds, channels: int | None) -> Normalise:
    stated = model.normalise
    if channels is None and model.window is None:
        return stated if isinstance(stated, str) else stated_scale(stated)
    seen = Bounds(*model.window) if model.window is not None else bounds
    values = scale_of(stated, seen, channels or 1) if isinstance(stated, str) else stated_scale(stated)
    if model.window is None:
        return None if stated == "none" else values
    if not isinstance(values[0], float) or not isinstance(values[1], float):
        raise UsageError("model.window goes with normalise = none, unit, symmetric, one [mean, deviation], and for "
                         "grey images imagenet or caffe")
    return Window(*model.window, values[0], values[1])


def _digest_of_training(material: Material, seed: int) -> str:
    """SHA-256 over what the weights depend on: settings, network, seed, and the images with their labels."""
    study = material.study
    learnt = _LEARNT | {key for key in ("findings", "only") if getattr(study.model, key)}
    told = {"training": asdict(TrainingSettings(**(study.training or {}))), "seed": seed,
            "model": study.model.model_dump(mode="json", include=learnt), "data": material.digest}
    if study.model.pretrained is not None:
        told["pretrained"] = hashlib.sha256(Path(study.model.pretrained).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


