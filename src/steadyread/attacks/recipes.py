"""Named settings of the one search, with their sources, and the function that runs one on images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from steadyread.attacks.search import Attacked, Loss, Search, climb
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.threats import Linf
from steadyread.types import Batch, Images, Labels

_CHUNK = 128  # images that go through the network together; results do not depend on it


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

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Attacked:
        size = torch.full((len(batch),), self.threat.epsilon, device=batch.images.device)
        return climb(classifier, batch, reference, self.threat, self.search, size, seed)


def fgsm(epsilon: float, loss: Loss = "margin") -> Recipe:
    """One sign step of epsilon (native units) from the image. doi:10.48550/arXiv.1412.6572"""
    return Recipe("fgsm", Linf(epsilon), Search(steps=1, step=1.0, loss=loss))


def bim(epsilon: float, steps: int = 10, loss: Loss = "margin") -> Recipe:
    """Sign steps of epsilon / steps from the image. doi:10.48550/arXiv.1607.02533

    Deviation from the papers: an image leaves at its first flip, so an iterate that flips on the way counts.
    """
    return Recipe("bim", Linf(epsilon), Search(steps=steps, step=1 / steps, loss=loss))


def pgd(epsilon: float, steps: int = 10, step: float = 0.25, restarts: int = 5, loss: Loss = "margin") -> Recipe:
    """Sign steps of step * epsilon from random starts. doi:10.48550/arXiv.1706.06083

    The defaults are paper [A]'s (doi:10.1200/CCI.21.00170): 10 steps of epsilon / 4, 5 starts.
    """
    return Recipe("pgd", Linf(epsilon), Search(steps, step, starts=restarts, random_start=True, loss=loss))


def attack(classifier: Classifier, images: Images | Batch, reference: Labels,
           recipe: Callable[[Classifier, Batch, Labels, int], Attacked], seed: int = 0,
           keys: tuple[str, ...] | None = None) -> Attacked:
    """Runs a recipe (`pgd`, `apgd`, `Square` and their like) on any number of images, a chunk at a time.

    Args:
        images: (n, c, *space) in native units, finite and inside the classifier's bounds.
        reference: (n,) the class that each image must lose to be flipped: its label or its prediction.
        keys: names of the images' random streams; a hash of the pixels where None.

    Raises:
        InputRefused: images or reference are not as described.
    """
    batch = classifier.batch(images, keys)
    reference = checked_reference(reference, batch)
    found = []
    for places in chunks(batch):
        outcome = recipe(classifier, batch.pick(places), reference[places], seed)
        if not isinstance(outcome, Attacked):
            raise UsageError(f"attack() joins what pgd and its like return; call {type(recipe).__name__} itself: "
                             "recipe(classifier, classifier.batch(images), reference, seed)")
        found.append(outcome)
    return Attacked(*(torch.cat([getattr(part, name) for part in found])
                      for name in ("images", "flipped", "margin", "flips", "trials", "forwards", "backwards",
                                   "logits")))


def chunks(batch: Batch, size: int = _CHUNK) -> tuple[torch.Tensor, ...]:
    """The batch's indices in runs of at most `size`."""
    everyone = torch.arange(len(batch), device=batch.images.device)
    return tuple(everyone[start:start + size] for start in range(0, len(batch), size))


def checked_reference(reference: Labels, batch: Batch) -> Labels:
    """The reference on the batch's device, refused unless one class index an image."""
    if reference.shape != (len(batch),) or reference.is_floating_point():
        raise InputRefused(f"the reference must be one class index an image, shape ({len(batch)},); "
                           f"got {tuple(reference.shape)} of {reference.dtype}")
    return reference.to(batch.images.device, torch.int64)
