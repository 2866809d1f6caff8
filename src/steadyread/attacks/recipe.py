"""A recipe: a threat and a search under a name, and the function that runs one on images. Those with a name in studies
stand in `recipes/`."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from types import FunctionType
from typing import Any

import torch

from steadyread.attacks.search import Attacked, Search, climb
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.threats import Linf
from steadyread.types import Batch, Images, Labels, as_labels

# Pixels and images that go through the network together; results do not depend on it. On a CPU what a convolution
# leaves should lie in the cache still when the next one reads it: of small images many, of large ones few.
_PIXELS = {"cpu": 2**17, "cuda": 2**21}
_IMAGES = {"cpu": (8, 128), "cuda": (128, 4096)}


@dataclass(frozen=True)
class Recipe:
    """A threat and a search under a name. Called as `recipe(classifier, batch, reference, seed)`."""

    name: str
    threat: Linf
    search: Search

    @property
    def size(self) -> float:
        """The threat's size in native units, as it stands in the records."""
        return self.threat.epsilon

    @property
    def gradients(self) -> int:
        """How many an image takes, at most."""
        return self.search.steps * self.search.starts

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Attacked:
        def climbed(part: Batch, lost: Labels) -> Attacked:
            size = torch.full((len(part),), self.threat.epsilon, device=part.images.device)
            return climb(classifier, part, lost, self.threat, self.search, size, seed)

        return Attacked(**in_chunks(climbed, batch, reference))


def attack(classifier: Classifier, images: Images | Batch, reference: Labels,
           recipe: Callable[[Classifier, Batch, Labels, int], Attacked], seed: int = 0,
           keys: tuple[str, ...] | None = None) -> Attacked:
    """Runs a recipe (`pgd`, `apgd`, `Square` and their like) on any number of images.

    Args:
        images: (n, c, *space) in native units, finite and inside the classifier's bounds.
        reference: (n,) the class that each image must lose to be flipped: its label or its prediction.
        keys: names of the images' random streams; a hash of the pixels where None.

    Raises:
        InputRefused: images or reference are not as described.
    """
    unmade = isinstance(recipe, type | FunctionType) and recipe.__module__.startswith("steadyread.attacks.")
    if unmade or not callable(recipe):
        raise UsageError("attack() takes a recipe of a stated size in native units, such as pgd(5.6); got "
                         f"{getattr(recipe, '__name__', recipe)}")
    batch = classifier.batch(images, keys)
    outcome = recipe(classifier, batch, checked_reference(reference, batch), seed)
    if not isinstance(outcome, Attacked):
        raise UsageError(f"attack() is for what pgd and its like return; call {type(recipe).__name__} itself: "
                         "recipe(classifier, classifier.batch(images), reference, seed)")
    classifier.tell_doubts()
    return outcome


def in_chunks(search: Callable[[Batch, Labels], Any], batch: Batch, reference: Labels) -> dict[str, Any]:
    """The fields of what a search returns, a dataclass of tensors, over chunks of the batch; each held once.

    Every attack whose images do not depend on each other goes through its batch so.
    """
    return joined((search(batch.pick(places), reference[places]) for places in chunks(batch)), len(batch))


def joined(parts: Iterable[Any], images: int) -> dict[str, torch.Tensor]:
    """The tensors of dataclasses, one part after the other, each held once: `images` along the first axis.

    Raises:
        UsageError: a field that is no tensor, or not as many images as were given.
    """
    found: dict[str, torch.Tensor] = {}
    done = 0
    for part in parts:
        told = {each.name: getattr(part, each.name) for each in fields(part) if each.default is MISSING}
        if not all(isinstance(value, torch.Tensor) for value in told.values()):
            raise UsageError(f"{type(part).__name__} must hold tensors alone, one value an image")
        if not found:
            found = {name: value.new_empty((images, *value.shape[1:])) for name, value in told.items()}
        for name, value in told.items():
            found[name][done:done + len(value)] = value
        done += len(next(iter(told.values())))
    if done != images:
        raise UsageError(f"an attack must return one result an image; got {done} for {images}")
    return found


def chunks(batch: Batch) -> tuple[torch.Tensor, ...]:
    """The batch's indices in runs of as many images as go through a network fast together."""
    kind = "cpu" if batch.images.device.type == "cpu" else "cuda"
    least, most = _IMAGES[kind]
    size = max(least, min(most, _PIXELS[kind] // max(batch.images[0, 0].numel(), 1)))
    return torch.split(torch.arange(len(batch), device=batch.images.device), size)


def checked_reference(reference: Labels, batch: Batch) -> Labels:
    """The reference on the batch's device, refused unless one class index per image (see `as_labels`)."""
    return as_labels(reference, len(batch)).to(batch.images.device)
