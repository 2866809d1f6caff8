"""The networks that are attacked: trained on real data, plain and hardened, kept in a folder from run to run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.setup import Setup
from steadyread.cases import Cases, limit
from steadyread.classifier import Classifier
from steadyread.files import MODEL
from steadyread.jobs.material import Material, gather
from steadyread.jobs.networks import card_of, classifier_of, placed, taken_up
from steadyread.models.loading import save_weights
from steadyread.progress import progress
from steadyread.study import override, read_study
from steadyread.training.harden import HardeningSettings, harden
from steadyread.training.settings import TrainingSettings

STUDIES = Path(__file__).resolve().parents[1] / "studies"


@dataclass(frozen=True)
class Recipe:
    """Whence a network comes: its study, the data it needs, the size it is hardened at and that it is attacked at.

    Sizes are shares of the range. `grid` ends where [A]'s own grid of that kind of image ends.
    """

    key: str
    title: str
    study: str
    data: str
    hardened_at: float
    hardening_epochs: int
    attacked_at: float
    grid: float
    fold: int | None = None


RECIPES = (
    Recipe("lidc", "LIDC patches, VGG, 2 logits", "lidc_2d.toml", "lidc-patches-2d", 0.008, 15, 0.006, 0.02),
    Recipe("nodule", "LIDC boxes in 3D, nodule net, 1 logit", "ct_noise.toml", "lidc-nodules-3d", 0.004, 10, 0.003,
           0.02, fold=0),
    Recipe("cifar", "CIFAR-10, VGG, 10 logits", "cifar_10.toml", "cifar-10", 0.01, 8, 0.004, 0.05),
)
STAGES = ("plain", "hardened")


class Unit(nn.Module):
    """What other libraries are given: images of 0 to 1 in, one logit a class out, whatever the own head."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.module = classifier.module
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, c, *space) in 0 to 1."""
        bounds = self.classifier.valid
        return self.classifier.logits(images * bounds.range + bounds.low)


@dataclass(frozen=True, eq=False)
class Attacked:
    """A network, test images that it reads right, and their class; images in native units."""

    classifier: Classifier
    images: Tensor
    reference: Tensor

    @property
    def range(self) -> float:
        """Of the valid values, native units: what a size of 1 is for the others."""
        return self.classifier.valid.range

    def unit_images(self) -> Tensor:
        """The images in 0 to 1."""
        bounds = self.classifier.valid
        return ((self.images - bounds.low) / bounds.range).clamp(0, 1)

    def unit_network(self) -> nn.Module:
        """The network as the others are given it, in evaluation mode, its parameters frozen."""
        return Unit(self.classifier).eval().requires_grad_(False)

    def read_right(self, most: int) -> "Attacked":
        """With those of the images that the network reads right, at most so many, in turn by class, so that few images
        hold every class."""
        with torch.no_grad(), self.classifier.frozen():
            read = torch.cat([self.classifier.logits(part).argmax(1) for part in self.images.split(64)])
        right = (read == self.reference).nonzero()[:, 0]
        labels = self.reference[right]
        rank = torch.stack([(labels[:place] == labels[place]).sum() for place in range(len(right))])
        chosen = right[rank.argsort(stable=True)[:most]]
        return replace(self, images=self.images[chosen], reference=self.reference[chosen])


@dataclass(frozen=True, eq=False)
class Subject(Attacked):
    """One of the networks of `RECIPES`, plain or hardened."""

    recipe: Recipe
    stage: str

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return f"{self.recipe.title}, {self.stage}"


def subjects(setup: Setup, images: int, keys: tuple[str, ...] = ("lidc", "nodule", "cifar"),
             stages: tuple[str, ...] = STAGES) -> Iterator[Subject]:
    """Every network whose data are there, each with `images` test images that it reads right, drawn by class."""
    for recipe in RECIPES:
        if recipe.key not in keys or not (setup.data_root / recipe.data).exists():
            continue
        material = material_of(recipe, setup)
        for stage in stages:
            classifier = network_of(recipe, material, stage, setup)
            yield _read_right(recipe, stage, classifier, material.ready.part("test"), images)


def material_of(recipe: Recipe, setup: Setup) -> Material:
    """The cases that a network learns from and is attacked on."""
    path = setup.data_root / recipe.data
    study = read_study(STUDIES / recipe.study, override(f"data.path={path}"))
    return gather(study, recipe.fold)


def network_of(recipe: Recipe, material: Material, stage: str, setup: Setup) -> Classifier:
    """The plain network as its study trains it, or that network hardened by PGD; taken up where it was trained."""
    folder = setup.folder / "networks" / recipe.key
    plain = placed(classifier_of(material, folder, progress), material.study)
    if stage == "plain":
        return plain
    place = folder / "hardened" / MODEL
    digest = f"{recipe.hardened_at}-{recipe.hardening_epochs}-{material.digest}"
    if place.exists():
        found = taken_up(material, place, digest)
    else:
        # half of each batch attacked by PGD of 7 steps, as [A]; the epoch is chosen on validation images
        settings = HardeningSettings(epsilons=(recipe.hardened_at * plain.valid.range,),
                                     epochs=(recipe.hardening_epochs,),
                                     training=TrainingSettings(**(material.study.training or {})))
        fitted = harden(plain, material.ready.part("train"), material.ready.part("validation"), settings,
                        progress=progress)
        place.parent.mkdir(parents=True, exist_ok=True)
        save_weights(fitted.module, place, card_of(material, digest))
        found = fitted.classifier
    return placed(replace(found, stage="hardened"), material.study)


def _read_right(recipe: Recipe, stage: str, classifier: Classifier, test: Cases, wanted: int) -> Subject:
    some = limit(test, min(max(4 * wanted, 4 * len(test.classes)), len(test)), seed=0)
    images = torch.stack([some[place].image for place in range(len(some))]).to(classifier.device)
    labels = torch.tensor([row.label for row in some.rows], device=classifier.device)
    found = Attacked(classifier, images, labels).read_right(wanted)
    return Subject(classifier, found.images, found.reference, recipe, stage)
