"""How steady a network of a foreign kind gets at equal passes: bare loops, ART and steadyread, judged by others."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import mean

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.clock import Counted
from benchmarks.epoch import EPSILON, HALF, MIDDLE, STEP, STEPS, art_training, bare_epoch, optimiser_of
from benchmarks.foreign import residual
from benchmarks.libraries import library, needed
from benchmarks.peers import ATTACKS
from benchmarks.setup import Setup
from benchmarks.subjects import STUDIES
from benchmarks.table import Goal, Part, Table
from steadyread.cases import Cases
from steadyread.classifier import Classifier
from steadyread.jobs.material import gather
from steadyread.study import override, read_study
from steadyread.training.harden import HardeningSettings, harden
from steadyread.training.images import PartImages
from steadyread.types import Bounds, Images, Labels

TITLE = "Hardening at equal passes"
EPOCHS, SEEDS, WIDTH, SIDE = 20, 4, 12, 32
FMN_STEPS, APGD_STEPS = 100, 50
OURS, BARE_HALF, BARE_WHOLE, ART_HALF, ART_WHOLE = (
    "steadyread, its defaults", "bare loop, half of each batch", "bare loop, all of it (Madry)",
    "ART, half of each batch", "ART, Madry")


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is taught, what judges epochs, and on what all are judged: images in HU, within the study's window."""

    cases: Cases
    parts: dict[str, PartImages]
    bounds: Bounds
    epochs: int
    judged: int

    def images(self, part: str) -> tuple[Images, Labels]:
        """All images of a part, and their labels."""
        held = self.parts[part]
        return held.images(torch.arange(len(held))), held.labels


@dataclass(frozen=True)
class Found:
    """Of one network on the test images: accuracy, accuracy under attack, and training passes per image."""

    clean: float
    robust: float
    passes: float


def measure(setup: Setup) -> Table:
    """Every contestant from the same plain networks."""
    place = setup.data_root / "lidc-patches-2d"
    if not place.exists():
        return Table("hardening", TITLE, (), missing=f"no LIDC patches in {setup.data_root}")
    found: dict[str, list[Found]] = {}
    lessons = [lesson_of(setup, seed) for seed in range(setup.of(SEEDS, 1))]
    for seed, lesson in enumerate(lessons):
        for name, one in _hardened(lesson, seed):
            found.setdefault(name, []).append(one)
    rows = tuple((name, f"{each[0].passes:.1f}", _spread([one.clean for one in each]),
                  _spread([one.robust for one in each])) for name, each in found.items())
    part = Part("", ("", "passes per training image", "right, clean", f"right under {EPSILON:g} HU"), rows)
    return Table("hardening", TITLE, tuple(_told(lessons)), (part,), tuple(_goals(found)))


def lesson_of(setup: Setup, seed: int = 0) -> Lesson:
    """LIDC patches with the window of their study, in the parts that a seed draws."""
    study = read_study(STUDIES / "lidc_2d.toml", override(f"data.path={setup.data_root / 'lidc-patches-2d'}"),
                       override(f"preparation.size={SIDE}"), override(f"seed={seed}"))
    ready = gather(study, None).ready
    parts = {"train": "training", "validation": "validation", "test": "test"}
    return Lesson(ready, {name: PartImages(ready.part(name), word) for name, word in parts.items()}, ready.bounds,
                  setup.of(EPOCHS, 1), setup.of(len(ready.part("test")), 48))


def _told(lessons: list[Lesson]) -> Iterator[str]:
    lesson = lessons[0]
    yield (f"A small residual network with batch norm, of which steadyread ships none, on LIDC patches of {SIDE}x{SIDE}"
           f" (about {len(lesson.parts['train'])} training images). {lesson.epochs} clean epochs in a bare loop make "
           f"the plain network, from which each goes on with PGD of {STEPS} steps of epsilon / 4, epsilon {EPSILON:g} "
           "HU, one random start: half of each batch attacked, or all of it in fewer epochs, so that all take about as "
           "many passes. The bare loops and ART teach by AdamW at one rate, without augmentation, and keep the last "
           "epoch; steadyread augments, lowers its rate along a cycle, and keeps the epoch that its rule names, by "
           "validation images whose attacks are not counted.")
    yield (f"Judged on about {lesson.judged} test images by others: an image is right under {EPSILON:g} HU if "
           f"it is read right and neither FMN of {FMN_STEPS} (foolbox) nor APGD of {APGD_STEPS} (ART) flips it within "
           f"that. The mean of {len(lessons)} seeds, each with a split of the patients, a plain network and trainings "
           "of its own; in brackets the lowest and the highest.")


def _goals(found: dict[str, list[Found]]) -> Iterator[Goal]:
    others = {name: each for name, each in found.items() if name not in (OURS, "plain")}
    robust = {name: mean(one.robust for one in each) for name, each in found.items()}
    clean = {name: mean(one.clean for one in each) for name, each in found.items()}
    best = max(others, key=robust.__getitem__)
    yield Goal("a foreign network, hardened, is right under attack at least as often as after any other training of "
               "as many passes", robust[OURS] >= robust[best], f"{robust[OURS]:.2f}; {best} {robust[best]:.2f}")
    better = [name for name in others if robust[name] >= robust[OURS] and clean[name] >= clean[OURS]]
    yield Goal("and no other training is at least as good both clean and under attack", not better,
               f"clean {clean[OURS]:.2f}; {', '.join(better) or 'none'}")


def _hardened(lesson: Lesson, seed: int) -> Iterator[tuple[str, Found]]:
    """The plain network of a seed and what each training makes of it."""
    torch.manual_seed(seed)
    plain = residual(2, 1, WIDTH).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taught(lesson, 0.0, lesson.epochs, plain)
    yield "plain", _judged(lesson, plain, 0.0)
    fewer = max(1, round(lesson.epochs * (1 + STEPS / 2) / (1 + STEPS)))
    ways: dict[str, Callable[[nn.Module], object]] = {
        OURS: partial(_ours, lesson, seed), BARE_HALF: partial(taught, lesson, 0.5, lesson.epochs),
        BARE_WHOLE: partial(taught, lesson, 1.0, fewer)}
    if library("art") is not None:
        ways |= {ART_HALF: partial(_art, lesson, 0.5, lesson.epochs), ART_WHOLE: partial(_art, lesson, 1.0, fewer)}
    for name, way in ways.items():
        torch.manual_seed(100 + seed)
        np.random.seed(100 + seed)  # noqa: NPY002
        counted = Counted(copy.deepcopy(plain))
        made = way(counted)
        if isinstance(made, Classifier):   # a copy was taught, in as many epochs of as many passes as the bare half
            yield name, _judged(lesson, made.module, lesson.epochs * (1 + STEPS / 2))
        else:
            yield name, _judged(lesson, counted, counted.forwards / len(lesson.parts["train"]))


def normalised(network: nn.Module, lesson: Lesson) -> Classifier:
    """A network that the bare loop taught, as it sees the images."""
    return Classifier(network.eval(), lesson.bounds, "logits", normalise=(MIDDLE, HALF))


def taught(lesson: Lesson, share: float, epochs: int, network: nn.Module) -> None:
    """Teaches a network by a bare loop, with a share of each batch attacked."""
    epoch = bare_epoch(network, lesson.images("train"), share, lesson.bounds, optimiser_of(network))
    for _ in range(epochs):
        epoch()


def _ours(lesson: Lesson, seed: int, network: nn.Module) -> Classifier:
    classifier = normalised(network, lesson)
    settings = HardeningSettings(epsilons=(EPSILON,), epochs=(lesson.epochs,), steps=STEPS, step=STEP)
    training, validation = (lesson.cases.part(part) for part in ("train", "validation"))
    return harden(classifier, training, validation, settings, seed=seed).classifier


def _art(lesson: Lesson, share: float, epochs: int, network: nn.Module) -> None:
    _, train = art_training(network, network, lesson.images("train"), share, lesson.bounds)
    train(epochs)


class _Unit(nn.Module):
    """The network on images of 0 to 1, as the others' attacks take them."""

    def __init__(self, network: nn.Module, bounds: Bounds) -> None:
        super().__init__()
        self.network, self.bounds = network, bounds

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 2)."""
        found: Tensor = self.network((images * self.bounds.range + self.bounds.low - MIDDLE) / HALF)
        return found


def _judged(lesson: Lesson, network: nn.Module, passes: float) -> Found:
    """On the test images, by foreign attacks."""
    images, labels = (each[:lesson.judged] for each in lesson.images("test"))
    unit = _Unit(network, lesson.bounds).eval().requires_grad_(False)
    pixels, size = (images - lesson.bounds.low) / lesson.bounds.range, EPSILON / lesson.bounds.range
    with torch.no_grad():
        right = unit(pixels).argmax(1) == labels
    kept = right.clone()
    foolbox = needed("foolbox")
    for chosen in right.nonzero()[:, 0].split(128):
        clean, asked = pixels[chosen], labels[chosen]
        found = [foolbox.attacks.LInfFMNAttack(steps=FMN_STEPS)(foolbox.PyTorchModel(unit, bounds=(0, 1)), clean, asked,
                                                                epsilons=None)[1]]
        if library("art") is not None:
            found.append(ATTACKS["ART"]["apgd"](unit, clean, asked, size, APGD_STEPS)())
        for moved in found:
            within = (moved - clean).flatten(1).abs().amax(1) <= size * (1 + 1e-5)
            with torch.no_grad():
                kept[chosen] &= ~(within & (unit(moved).argmax(1) != asked))
    network.requires_grad_(True)
    return Found(float(right.float().mean()), float(kept.float().mean()), passes)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
