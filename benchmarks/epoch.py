"""What an epoch of adversarial training costs at equal work: a bare torch loop, steadyread and ART."""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.clock import Counted, Work, interleaved, ratio
from benchmarks.libraries import library, needed
from benchmarks.setup import Setup
from benchmarks.table import Goal, Part, Table
from steadyread.cases import Cases, phantom
from steadyread.cases.case_set import unknown_grid
from steadyread.classifier import Classifier, Output
from steadyread.models.nodule import nodule_cnn
from steadyread.models.vgg import narrow_vgg
from steadyread.training.crafts import SignSteps
from steadyread.training.descent import descent_of, lay
from steadyread.training.images import PartImages
from steadyread.training.loop import one_epoch
from steadyread.training.recipes import Adversarial, Clean
from steadyread.training.settings import TrainingSettings
from steadyread.types import Bounds

STEPS, STEP, EPSILON, BATCH = 7, 0.25, 11.2, 64
MIDDLE, HALF = -300.0, 700.0   # HU: what becomes 0 and 1 before the network
SETTINGS = TrainingSettings(epochs=1, batch=BATCH, learning_rate=1e-3, schedule="constant", balance=False,
                            max_norm=None, flips=False, rotation_degrees=0.0, shift_pixels=0.0)


class TwoLogits(nn.Module):
    """A network of one logit as those need it who know one logit a class only."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 2): 0, and the network's."""
        logit = self.network(images)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


@dataclass(frozen=True)
class Task:
    """What is trained, and on what; `network` is copied for each contestant, so that all begin alike."""

    name: str
    network: nn.Module
    output: Output
    cases: Cases
    taught: PartImages

    def own(self) -> Counted:
        """A copy, which counts what goes through it."""
        return Counted(copy.deepcopy(self.network))


@dataclass(frozen=True)
class Contestant:
    """An epoch with half of each batch attacked, and one of the clean part of the work: no attack, all taught."""

    network: Counted
    adversarial: Work
    clean: Work


def measure(setup: Setup) -> Table:
    """Both networks, round by round."""
    parts, goals, guarded = [], [], {}
    for task in _tasks(setup):
        part, found = _raced(task, setup)
        parts.append(part)
        ours, art = found["steadyread"], found.get("ART")
        goals.append(Goal(f"an adversarial epoch of {task.name} at most 1.1 times the bare loop", ours <= 1.1,
                          f"{ours:.2f}"))
        if art is not None:
            goals.append(Goal(f"an adversarial epoch of {task.name} faster than ART's", ours < art,
                              f"{ours:.2f} and {art:.2f} times the bare loop"))
        guarded[f"adversarial epoch of {task.name} beside the bare loop"] = ours
    return Table("epoch", "An epoch of adversarial training at equal work", tuple(_told(setup)), tuple(parts),
                 tuple(goals), guarded)


def _told(setup: Setup) -> Iterator[str]:
    yield (f"Half of each batch of {BATCH} is attacked by PGD ({STEPS} steps of epsilon / 4, epsilon {EPSILON:g} "
           "HU, one random start, against the label) and the whole batch is taught with cross-entropy, by AdamW, "
           f"without augmentation; {setup.of(256, 64)} synthetic images or boxes. The same network, images, "
           "batches and optimiser for all. The bare loop is an adversarial epoch written out as well as we can: "
           "parameters are frozen during the attack and no gradient is taken into them. steadyread's is the epoch "
           "that `harden` goes through. ART's is `AdversarialTrainer(ratio=0.5)` with its "
           "`ProjectedGradientDescent` at the same settings and one attack batch a training batch. *Clean epoch* "
           "is the same without the attack (`fit` in ART): what the rest costs.")
    yield ("Passes are images a training image, counted inside the network; ART's further forward pass is that of "
           "the success rate which it works out after every attack for its log, of the clean and of the attacked "
           "images.")
    yield ("Not possible at equal work: secml-torch (its adversarial trainer raises \"Mixing strategy not "
           "implemented yet\" for a batch that is part clean), MAIR (not on the package registry), torchattacks, "
           "foolbox and adv-lib (no training).")


def _tasks(setup: Setup) -> Iterator[Task]:
    many = setup.of(256, 64)
    torch.manual_seed(0)
    flat = phantom.nodules(many, seed=0, size=64)
    yield _task("a narrow VGG on 64x64", narrow_vgg(2, 1, size=64), "logits", flat)
    yield _task("the 3D nodule network on 5x24x24", nodule_cnn(size=(5, 24, 24), width=0.25), "logit", _boxes(many))


def _boxes(many: int) -> Cases:
    """Boxes of 5x24x24 cut from synthetic nodules, the same slice five times: what they show is no matter."""
    flat = phantom.nodules(many, seed=0, size=32)
    rows = tuple(replace(row, spacing_mm=(0.7,) * 3, shape=(1, 5, 24, 24)) for row in flat.rows)
    return replace(flat, rows=rows, native=unknown_grid,
                   load=lambda row: flat.load(row)[:, None, 4:28, 4:28].repeat(5, axis=1))


def _task(name: str, network: nn.Module, output: Output, cases: Cases) -> Task:
    taught = PartImages(cases, "training")
    lay(network, taught.dims, torch.device("cpu"))
    return Task(name, network, output, cases, taught)


def _raced(task: Task, setup: Setup) -> tuple[Part, dict[str, float]]:
    """The table of one network, and each contestant's ratio to the bare loop."""
    found = contestants(task)
    passes, many = {}, len(task.taught)
    for name, one in found.items():
        one.network.reset()
        one.adversarial()
        passes[name] = f"{one.network.forwards / many:.2f}", f"{one.network.backwards / many:.2f}"
    attacked, clean = (interleaved({name: getattr(one, kind) for name, one in found.items()}, setup.rounds)
                       for kind in ("adversarial", "clean"))
    rows, ratios = [], {}
    for name in found:
        told = ratio(attacked[name], attacked["bare loop"])
        ratios[name] = told.median
        rows.append((name, *passes[name], str(told), str(ratio(clean[name], clean["bare loop"])),
                     str(ratio(attacked[name], clean[name]))))
    if "ART" not in found:
        rows.append(("ART", "not installed", *("–",) * 4))
    columns = ("", "forward passes", "backward passes", "epoch over the bare loop", "clean epoch over the bare one",
               "epoch over the own clean one")
    return Part(f"{task.name[0].upper()}{task.name[1:]}", columns, tuple(rows)), ratios


def contestants(task: Task) -> dict[str, Contestant]:
    """All that are installed."""
    found = {"bare loop": _bare(task), "steadyread": _ours(task)}
    art = _art(task)
    return found if art is None else {**found, "ART": art}


def _bare(task: Task) -> Contestant:
    network = task.own()
    images, labels, bounds = task.taught.images(torch.arange(len(task.taught))), task.taught.labels, task.cases.bounds
    return Contestant(network, *(bare_epoch(network, (images, labels), share, bounds, optimiser_of(network))
                                 for share in (0.5, 0.0)))


def optimiser_of(network: nn.Module) -> torch.optim.Optimizer:
    """That of all contestants."""
    return torch.optim.AdamW(network.parameters(), SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay)


def bare_epoch(network: nn.Module, taught: tuple[Tensor, Tensor], share: float, bounds: Bounds,
               optimiser: torch.optim.Optimizer) -> Work:
    """An epoch over images in HU, within `bounds`, with that share of each batch attacked, and nothing else."""
    images, labels = taught

    def loss_of(taken: Tensor, asked: Tensor, reduction: str) -> Tensor:
        logits = network((taken - MIDDLE) / HALF)
        if logits.shape[1] > 1:
            return functional.cross_entropy(logits, asked, reduction=reduction)
        return functional.binary_cross_entropy_with_logits(logits[:, 0], asked.float(), reduction=reduction)

    def attacked(clean: Tensor, asked: Tensor) -> Tensor:
        least, most = (bounds.low - clean).clamp(min=-EPSILON), (bounds.high - clean).clamp(max=EPSILON)
        delta = torch.clamp((torch.rand_like(clean) * 2 - 1) * EPSILON, least, most)
        network.eval().requires_grad_(False)
        for _ in range(STEPS):
            delta.requires_grad_(True)
            gradient = torch.autograd.grad(loss_of(clean + delta, asked, "sum"), delta)[0]
            delta = torch.clamp(delta.detach() + STEP * EPSILON * gradient.sign(), least, most)
        network.train().requires_grad_(True)
        return clean + delta

    def epoch() -> None:
        network.train()
        for chosen in torch.randperm(len(images)).split(BATCH):
            some, asked = images[chosen], labels[chosen]
            half = int(len(chosen) * share)
            if half:
                some = torch.cat([attacked(some[:half], asked[:half]), some[half:]])
            optimiser.zero_grad(set_to_none=True)
            loss_of(some, asked, "mean").backward()
            optimiser.step()

    return epoch


def _ours(task: Task) -> Contestant:
    """An epoch as `harden` goes through it."""
    network = task.own()
    classifier = Classifier(network, task.cases.bounds, task.output, normalise=(MIDDLE, HALF))
    generator, descent = torch.Generator().manual_seed(0), descent_of(network, SETTINGS, 1)

    def epoch_of(recipe: Adversarial | Clean) -> Callable[[], object]:
        return lambda: one_epoch(classifier, task.taught, SETTINGS, (recipe, generator), descent)

    return Contestant(network, epoch_of(Adversarial(SignSteps(EPSILON, STEPS, STEP), 0.5)), epoch_of(Clean()))


def _art(task: Task) -> Contestant | None:
    """ART's `AdversarialTrainer` with half of each batch attacked, and its classifier's own `fit`."""
    if library("art") is None:
        return None
    network = task.own()
    module = network if task.output == "logits" else TwoLogits(network)
    taught = task.taught.images(torch.arange(len(task.taught))), task.taught.labels
    model, adversarial = art_training(network, module, taught, 0.5, task.cases.bounds)
    pixels, wanted = arrays_of(taught)
    return Contestant(network, lambda: adversarial(1), lambda: model.fit(pixels, wanted, batch_size=BATCH, nb_epochs=1))


def art_training(network: nn.Module, module: nn.Module, taught: tuple[Tensor, Tensor], share: float, bounds: Bounds
                 ) -> tuple[Any, Callable[[int], None]]:
    """ART's classifier of a network on images in HU, in a `module` of one logit a class, and its `AdversarialTrainer`
    with that share of each batch attacked, for so many epochs."""
    model = needed("art.estimators.classification").PyTorchClassifier(
        module, nn.CrossEntropyLoss(), tuple(taught[0].shape[1:]), 2, optimizer=optimiser_of(network),
        clip_values=(bounds.low, bounds.high), preprocessing=(MIDDLE, HALF), device_type="cpu")
    pgd = needed("art.attacks.evasion").ProjectedGradientDescent(
        model, eps=EPSILON, eps_step=STEP * EPSILON, max_iter=STEPS, num_random_init=1, batch_size=BATCH, verbose=False)
    trainer = needed("art.defences.trainer").AdversarialTrainer(model, pgd, ratio=share)
    pixels, wanted = arrays_of(taught)

    def adversarial(epochs: int) -> None:
        with redirect_stderr(io.StringIO()):   # its bars
            trainer.fit(pixels.copy(), wanted, batch_size=BATCH, nb_epochs=epochs)

    return model, adversarial


def arrays_of(taught: tuple[Tensor, Tensor]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images and labels as ART takes them, the labels one-hot."""
    return taught[0].numpy(), np.eye(2, dtype=np.float32)[taught[1].numpy()]
