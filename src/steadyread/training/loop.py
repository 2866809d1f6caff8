"""The loop that every training goes through: epochs of a recipe in stages, the best epoch's weights kept."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from steadyread.classifier import Classifier, Passes
from steadyread.errors import TrainingFailed
from steadyread.progress import Label, Progress, quiet
from steadyread.training.augment import augmented
from steadyread.training.checkpoint import (
    random_states,
    read_checkpoint,
    restore_random_states,
    write_checkpoint,
)
from steadyread.training.descent import Descent, descent_of, hold_norms, lay
from steadyread.training.images import PartImages, chunks
from steadyread.training.lessons import Lesson, Recipe
from steadyread.training.settings import TrainingSettings

Merit = tuple[float, ...]   # of an epoch; the highest is kept, compared from the first value on
Told = dict[str, Any]


class Work(TypedDict, total=False):
    """How a training is carried out.

    seed: of the order of the cases, of augmentation, dropout and attacks; 0 if left out.
    device: where to train; a GPU if there is one, if None or left out.
    checkpoint: a file that holds the training's state after each epoch, from which it goes on if it was killed.
        It stays: `remove_checkpoint` once the weights are kept. None or left out for none.
    progress: what is told how far it is; `quiet` if left out.
    """

    seed: int
    device: str | torch.device | None
    checkpoint: Path | None
    progress: Progress


@dataclass(frozen=True, eq=False)
class Stage:
    """So many epochs of one recipe, with an optimiser and a learning-rate schedule of their own.

    `told` stands in the history of each of its epochs.
    """

    recipe: Recipe
    epochs: int
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Course:
    """What a network is taught, and by which figures an epoch is better than another.

    Args:
        judge: the figures of the network as it stands after an epoch (counted from 1), for the history. May leave
            it in evaluation mode.
        merit: of an epoch by its figures; None where it must not be kept.
        patience: epochs of a stage without a better one of that stage, after which the next stage begins.
        label: what progress says; called anew for each epoch where it is a function.
    """

    stages: tuple[Stage, ...]
    settings: TrainingSettings
    judge: Callable[[Classifier, int], Told]
    merit: Callable[[Told], Merit | None]
    patience: int | None
    label: Label


@dataclass(eq=False)
class Standing:
    """How far a training is: its history, the epoch kept so far (0: none) with its weights, and its stage."""

    best: dict[str, Tensor]
    epochs: list[Told] = field(default_factory=list)
    chosen: int = 0
    highest: Merit | None = None
    stage: int = 0
    begun: int = 0                       # the last epoch before this stage
    stage_chosen: int = 0
    stage_highest: Merit | None = None

    def enter(self, told: Told, merit: Merit | None, module: nn.Module, course: Course) -> None:
        """Takes in an epoch's figures; keeps its weights where it is the best; goes on to the next stage."""
        self.epochs.append(told)
        now = len(self.epochs)
        if merit is not None and (self.highest is None or merit > self.highest):
            self.chosen, self.highest, self.best = now, merit, weights_of(module)
        if merit is not None and (self.stage_highest is None or merit > self.stage_highest):
            self.stage_chosen, self.stage_highest = now, merit
        waited = now - max(self.stage_chosen, self.begun)
        if now - self.begun == course.stages[self.stage].epochs or waited == course.patience:
            self.stage, self.begun, self.stage_highest = self.stage + 1, now, None


def teach(trainee: Classifier, taught: PartImages, course: Course, generator: torch.Generator,
          progress: Progress = quiet, checkpoint: tuple[Path, str] | None = None) -> tuple[Standing, float]:
    """Teaches the trainee's module in place, epoch after epoch; how it went, and the seconds it took.

    Args:
        checkpoint: the file that holds the state after each epoch, and the digest of the training it is of.

    Raises:
        TrainingFailed: the loss diverged.
        PlanDiffers: the checkpoint is of another training.
    """
    began = time.perf_counter()
    trainee.told.add("head")     # what a network says on its way is no sign of how its head was stated
    held = None if checkpoint is None else read_checkpoint(*checkpoint)
    standing, descent, before = _begun(trainee, held, taught, course, generator)
    total = sum(stage.epochs for stage in course.stages) - len(standing.epochs)
    for epoch in progress(_ahead(standing, course), total, course.label):
        since, stage = time.perf_counter(), course.stages[standing.stage]
        descent = descent or _descent(trainee, taught, course, standing)
        loss = one_epoch(trainee, taught, course.settings, (stage.recipe, generator), descent)
        figures = course.judge(trainee, epoch)
        _refuse_divergence(epoch, loss, figures, course.settings)
        told = {"epoch": epoch, **stage.told, "train_loss": loss, **figures,
                "seconds": round(time.perf_counter() - since, 3)}
        standing.enter(told, course.merit(told), trainee.module, course)
        descent = descent if standing.begun < epoch else None
        if checkpoint is not None:
            seconds = before + time.perf_counter() - began
            write_checkpoint(*checkpoint, _state(trainee, standing, descent, generator) | {"seconds": seconds})
    return standing, before + time.perf_counter() - began


def _ahead(standing: Standing, course: Course) -> Iterator[int]:
    """The epochs that are left, from 1 on."""
    while standing.stage < len(course.stages):
        yield len(standing.epochs) + 1


def _begun(trainee: Classifier, held: Told | None, taught: PartImages, course: Course, generator: torch.Generator
           ) -> tuple[Standing, Descent | None, float]:
    """Where the training stands, its optimiser where it is amid a stage, and the seconds spent before."""
    if held is None:
        return Standing(weights_of(trainee.module)), None, 0.0
    standing = Standing(**held["standing"])
    trainee.module.load_state_dict(held["module"])
    descent = None
    if held["descent"] is not None:
        descent = _descent(trainee, taught, course, standing)
        descent[0].load_state_dict(held["descent"][0])
        descent[1].load_state_dict(held["descent"][1])
    restore_random_states(held["random"], generator, trainee.device)
    return standing, descent, float(held["seconds"])


def _state(trainee: Classifier, standing: Standing, descent: Descent | None, generator: torch.Generator) -> Told:
    return {"standing": vars(standing), "module": trainee.module.state_dict(),
            "descent": None if descent is None else [part.state_dict() for part in descent],
            "random": random_states(generator, trainee.device)}


def _descent(trainee: Classifier, taught: PartImages, course: Course, standing: Standing) -> Descent:
    steps = course.stages[standing.stage].epochs * math.ceil(len(taught) / course.settings.batch)
    return descent_of(trainee.module, course.settings, steps)


def one_epoch(trainee: Classifier, taught: PartImages, settings: TrainingSettings,
               lessons: tuple[Recipe, torch.Generator], descent: Descent) -> float:
    """One pass over as many draws as there are cases, each batch augmented and taught by the recipe.

    Returns:
        The mean loss (NaN from the step on that has one).
    """
    recipe, generator = lessons
    trainee.module.train()
    order = (torch.multinomial(taught.weights, len(taught), replacement=True, generator=generator)
             if settings.balance else torch.randperm(len(taught), generator=generator))
    total = 0.0
    for chosen in chunks(order, settings.batch):
        read = taught.batch(chosen)
        images = read.images.to(trainee.device)
        moved = augmented(images, generator, flips=settings.flips, rotation_degrees=settings.rotation_degrees,
                          shift_pixels=settings.shift_pixels)
        if not bool(taught.augmentable.all()):
            moves = taught.augmentable[chosen].to(trainee.device).reshape(-1, *[1] * (images.ndim - 1))
            moved = torch.where(moves, moved, images)
        batch = replace(read, images=moved, bounds=trainee.valid)
        loss = recipe(trainee, Lesson(batch, taught.labels[chosen].to(trainee.device), generator))
        total += float(loss.detach()) * len(chosen)
        if not math.isfinite(total):
            return math.nan
        descent[0].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        descent[0].step()
        descent[1].step()
        if settings.max_norm is not None:
            hold_norms(trainee.module, settings.max_norm)
    return total / len(order)


def _refuse_divergence(epoch: int, loss: float, figures: Told, settings: TrainingSettings) -> None:
    if not math.isfinite(loss + figures["validation_loss"]):
        raise TrainingFailed(f"the training diverged in epoch {epoch} (loss not finite): lower learning_rate "
                             f"(now {settings.learning_rate:g}), or check how the images are normalised")


def trainee_of(classifier: Classifier, dims: int, device: str | torch.device | None) -> Classifier:
    """A copy to be trained, where it is to be trained. A two-class threshold plays no part in a training."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    module = copy.deepcopy(classifier.module).to(place)
    lay(module, dims, place)
    return replace(classifier, module=module, threshold=0.5, passes=Passes())


def graduate_of(classifier: Classifier, trainee: Classifier, weights: Mapping[str, Tensor]) -> Classifier:
    """The trained classifier with those weights, in evaluation mode, on the device of the given one."""
    module = trainee.module
    module.load_state_dict(weights)
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    module.to(classifier.device).eval().zero_grad(set_to_none=True)
    return replace(classifier, module=module, passes=Passes())


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the module's parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """A generator of that seed. The process's own, for dropout, are seeded in here and put back as found."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
