"""MAITE's protocols for image classification: its data sets and models in our terms, ours in its terms, and threats and
attacks as augmentations. The protocols are met by their shape: `maite` itself need not be installed.

Images are arrays (c, h, w) in native units, targets arrays (k,): one-hot labels, or probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from steadyread.attacks.recipe import attack
from steadyread.attacks.search import Attacked
from steadyread.cases import Cases
from steadyread.cases.given import Known, Valid
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused
from steadyread.threats.threat import Threat
from steadyread.types import Batch, Bounds

Arrays = Sequence[NDArray[np.float32]]
MaiteBatch = tuple[Sequence[Any], Sequence[Any], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class MaiteDataset:
    """Cases as a data set: (image, one-hot label, {"id": ..., and what else is known}).

    Raises:
        InputRefused: when indexed, a case without a label.
    """

    cases: Cases

    @property
    def metadata(self) -> dict[str, Any]:
        """The data's name, and the classes by number."""
        return {"id": self.cases.name, "index2label": dict(enumerate(self.cases.classes))}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, at: int) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
        if not 0 <= at < len(self):
            raise IndexError(at)     # ends a loop over the items
        case = self.cases[at]
        if case.label < 0:
            raise InputRefused(f"{case.id}: it has no label, and a target is asked for; give cases.labelled()")
        target = np.eye(len(self.cases.classes), dtype=np.float32)[case.label]
        return case.image.numpy(), target, {"id": case.id, "patient": case.patient, "spacing_mm": case.spacing_mm,
                                            **case.extras}


class _Labelled:
    """A data set of theirs with labels in place of one-hot targets."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        image, target, _ = self.dataset[at]
        return np.asarray(image), int(np.asarray(target).argmax())


def cases_of(dataset: Any, *, bounds: Valid, **known: Unpack[Known]) -> Cases:
    """Cases of a data set of theirs; names, classes and ids come from its meta data unless stated.

    Raises:
        InputRefused, UsageError: as `Cases.from_dataset`.
    """
    names = dataset.metadata.get("index2label") or {}
    own: Known = {"name": str(dataset.metadata["id"]), "ids": [dataset[at][2]["id"] for at in range(len(dataset))],
                  "channels": "first"}
    if names:
        own["classes"] = [str(names[number]) for number in sorted(names)]
    stated: Known = {**own, **known}
    return Cases.from_dataset(_Labelled(dataset), bounds=bounds, **stated)


@dataclass(frozen=True, eq=False)
class MaiteModel:
    """A classifier as a model: images to probabilities (k,)."""

    classifier: Classifier
    classes: Sequence[str] = ()

    @property
    def metadata(self) -> dict[str, Any]:
        """The network's name, and the classes by number where they are known."""
        return {"id": self.classifier.name, **({"index2label": dict(enumerate(self.classes))} if self.classes else {})}

    def __call__(self, images: Sequence[Any], /) -> Arrays:
        with torch.no_grad():
            rows = self.classifier.logits(_stacked(images)).softmax(1)
        return list(rows.cpu().numpy())


def classifier_of(model: Any, *, bounds: Valid, **stated: Any) -> Classifier:
    """A classifier of a model of theirs, a black box: the protocol passes no gradient. Where the torch module behind it
    is at hand, give that to `Classifier` instead.

    Args:
        bounds: the valid native values of the images that the model takes.
        stated: what else `Classifier` takes; `output` is `probabilities` unless stated.
    """
    def rows(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.asarray(row, np.float32) for row in model(list(images.cpu().numpy()))]))

    valid = bounds if isinstance(bounds, Bounds) else Bounds(*bounds)
    return Classifier(rows, valid, **{"output": "probabilities", "name": str(model.metadata["id"]), **stated})  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class ThreatAugmentation:
    """A random change of a threat's set as an augmentation: each image's own, by its id and the seed.

    Args:
        threat: such as `Linf(5.6)` or `CTNoise(Spectrum.soft(), spacing_mm=0.7)`.
        bounds: the valid native values, with the unit that the threat asks for.
        size: in native units; what the threat states itself where None (its dose, of CT noise).
        seed: of the draws.
    """

    threat: Any
    bounds: Bounds
    size: float | None = None
    seed: int = 0
    metadata: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.metadata["id"] = f"steadyread-{type(self.threat).__name__}"

    def __call__(self, batch: MaiteBatch, /) -> MaiteBatch:
        images, targets, known = batch
        stacked = _batch(images, known, self.bounds)
        if self.size is not None:
            size = stacked.images.new_full((len(stacked),), self.size)
        elif hasattr(self.threat, "size_of"):
            size = self.threat.size_of(self.threat.mas, stacked)
        else:
            size = stacked.images.new_full((len(stacked),), self.threat.epsilon)
        threat: Threat = self.threat
        changed = threat.render(stacked, threat.start(stacked, size, self.seed, 0))
        return list(changed.numpy()), targets, [{**each, "augmentation": self.metadata["id"]} for each in known]


@dataclass(frozen=True, eq=False)
class AttackAugmentation:
    """An attack on a classifier as an augmentation: `AttackAugmentation(classifier, pgd(5.6))`. Meta data say which
    images were flipped."""

    classifier: Classifier
    recipe: Callable[..., Attacked]
    seed: int = 0
    metadata: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.metadata["id"] = f"steadyread-{getattr(self.recipe, 'name', type(self.recipe).__name__)}"

    def __call__(self, batch: MaiteBatch, /) -> MaiteBatch:
        images, targets, known = batch
        labels = torch.tensor([int(np.asarray(target).argmax()) for target in targets])
        found = attack(self.classifier, _stacked(images), labels, self.recipe, self.seed,
                       tuple(str(each["id"]) for each in known))
        told = [{**each, "augmentation": self.metadata["id"], "flipped": bool(flipped)}
                for each, flipped in zip(known, found.flipped.tolist(), strict=True)]
        return list(found.images.cpu().numpy()), targets, told


def _stacked(images: Sequence[Any]) -> torch.Tensor:
    arrays = [np.asarray(image, np.float32) for image in images]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise InputRefused(f"the images of a batch have several shapes, such as {shapes[0]} and {shapes[1]}: crop or "
                           "resize them to one")
    return torch.from_numpy(np.stack(arrays))


def _batch(images: Sequence[Any], known: Sequence[Mapping[str, Any]], bounds: Bounds) -> Batch:
    spacing = tuple(each.get("spacing_mm") for each in known)
    batch = Batch(_stacked(images), tuple(str(each["id"]) for each in known), bounds)
    return replace(batch, spacing_mm=spacing) if any(spacing) else batch
