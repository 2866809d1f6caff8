"""How long an assessment takes, told before it begins; and a first look, of as few reads as half a minute allows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from steadyread.attacks.blind import QUERIES, without_gradients
from steadyread.attacks.cost import operations_of
from steadyread.attacks.recipe import Recipe
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.square import Square
from steadyread.cases import Cases, collate
from steadyread.checks.sample import tested
from steadyread.classifier import Classifier, Passes, prediction_of
from steadyread.errors import UsageError
from steadyread.jobs.attacks import pixel_attacks
from steadyread.jobs.networks import classifier_of, fitting, placed
from steadyread.progress import Progress, duration, note, quiet
from steadyread.study import Study

HURRIED = 5.0        # seconds of reading before a first look's attacks
_SECONDS = 6.0       # of its smallest flips; checks and report take the rest of half a minute
_MOST, _LEAST = 48, 4    # its images
_DRAWN = 512         # of a data set, which are read at all
_FLIP = 50           # gradients that the smallest flip of an image takes, of two classes;
_FLIP_OF_MANY, _TARGETS = 110, 100   # of more, and one for each class up to so many
_A_SECOND, _CALL = 1e11, 0.0015      # operations a second of a CPU's core, as measured; seconds beside
_CHECKS = 1.5        # the checks' share of a run, and what stands beside its records
_BESIDE = 20.0       # seconds of starting, of reading images and of writing the report
_LONG = 60.0         # seconds from which on it is said how long it takes
_TRIED = 4           # images by which a gradient is timed


@dataclass(frozen=True)
class Pace:
    """How many `seconds` one image's way through a network takes, forwards and back; where it has no `gradient`,
    forwards alone."""

    seconds: float
    gradient: bool = True

    def through(self, attacks: Sequence[Any], classes: int) -> float:
        """How long an image takes through the attacks, s, at most."""
        return self.seconds * (gradients_of(attacks, classes) if self.gradient else queries_of(attacks))


def pace_of(classifier: Classifier, cases: Cases) -> Pace:
    """How fast a network is, by a few images."""
    places = range(min(len(cases), _TRIED))
    batch, _ = collate([cases[place] for place in places], classifier.valid)
    with replace(classifier, passes=Passes()).frozen() as own:
        images = batch.images.to(own.device)
        reference = prediction_of(own.logits(images).detach()).clamp(min=0)
        seconds = []
        for _ in range(2):      # the first sets up what is set up once
            began = time.monotonic(), time.process_time()
            margin = own.margins(images.requires_grad_(True), reference).sum()
            if margin.requires_grad:
                torch.autograd.grad(margin, images, allow_unused=True)
            # what this process worked, where others are at work too
            seconds.append(min(time.monotonic() - began[0], time.process_time() - began[1]))
        return Pace(max(min(seconds), 1e-9) / len(places), margin.requires_grad)


def gradients_of(attacks: Sequence[Any], classes: int) -> int:
    """How many gradients an image takes through the attacks, at most."""
    flip = _FLIP if classes == 2 else _FLIP_OF_MANY + min(classes, _TARGETS)
    return sum(flip if getattr(attack, "func", attack) is smallest_flip else getattr(attack, "gradients", 0)
               for attack in attacks)


def queries_of(attacks: Sequence[Any]) -> int:
    """How often a network without gradients is asked about an image through the attacks that stand for these, at
    most."""
    count = 0
    for attack in without_gradients(attacks):
        if isinstance(attack, Square):
            count += attack.queries
        elif isinstance(attack, Recipe):
            count += max(1, attack.search.starts)
        elif getattr(attack, "func", attack) is smallest_flip:
            effort = getattr(attack, "keywords", {}).get("effort")
            count += QUERIES if effort is None else effort.queries
    return count


def tell_time(classifier: Classifier, cases: Cases, attacks: Mapping[str, Sequence[Any]], progress: Progress) -> None:
    """A line on how long the attacks will take, where that is long."""
    if progress is quiet or not len(cases):
        return
    pace, classes = pace_of(classifier, cases), len(cases.classes)
    seconds = _CHECKS * sum(pace.through(several, classes) * len(cases.part(part)) for part, several in attacks.items())
    if seconds > _LONG:
        note(f"assessing {len(cases)} images takes up to about {duration(seconds + _BESIDE)}. If interrupted, "
             "finished ones are kept: run the same command again to continue")


def few_of(classifier: Classifier, cases: Cases, images: int, parts: int = 1) -> int:
    """How many of so many images of each of the parts a first look attacks: as many as seconds allow, by the operations
    that a read takes and no clock, so that the same call goes on. Where they cannot be counted it is a power of two,
    by a clock."""
    operations, pace = operations_of(classifier, cases), pace_of(classifier, cases)
    if operations:
        pace = replace(pace, seconds=3 * operations / _A_SECOND + _CALL)
    room = max(1, int(_SECONDS / (parts * pace.through([smallest_flip], len(cases.classes)))))
    return min(images, max(_LEAST, min(_MOST, room if operations else 1 << (room.bit_length() - 1))))


def outlook(few: int, images: int, seconds: float) -> str:
    """The sentence on a first look at a few of the images, of which a whole run takes so many seconds for each."""
    looked_at = f"{few} of {images} images" if few < images else f"all {images} images"
    gained = (f"its intervals are {(images / few) ** 0.5:.1f} times narrower" if few < images else
              "adds attacks at several sizes and further checks")
    return (f"A first look at {looked_at} by their smallest flips. A whole run takes up to about "
            f"{duration(_CHECKS * images * seconds + _BESIDE)}, and {gained}")


def first_look(study: Study, progress: Progress = quiet) -> tuple[Study, str]:
    """The study with so few images, drawn by class, that their smallest flips take seconds, and a sentence on what a
    whole run would take; the study as it is, and "", where no first look is asked for.

    Raises:
        UsageError: of a network that is to be trained, or of CT noise.
    """
    if not study.quick:
        return study, ""
    if study.sets or study.noise is not None or study.hardening is not None or study.model.weights is None:
        raise UsageError("quick is a first look at one given network under changes of any pixels: give its weights, "
                         "and leave sets, noise and hardening out")
    known, first = fitting(study.of(study.model.assessed[0]) if study.model.findings else study, progress)
    network = placed(classifier_of(first, Path()), first.study)
    cases, classes = known.labelled, len(first.ready.classes)
    images = min(study.attacks.limit or len(cases), len(tested(cases)))
    few = few_of(network, first.ready, images, 1 + bool(len(cases.part("validation"))))
    attacks = pixel_attacks(first.study, first.ready.bounds)["test"]
    told = outlook(few, images, pace_of(network, first.ready).through(attacks, classes))
    asked = study.attacks.model_copy(update={"limit": few, "use": (), "epsilons": (), "smallest_flip": True})
    more = study.data.limit is None and len(known.raw) > max(_DRAWN, len(known.raw.classes))
    data = study.data.model_copy(update={"limit": max(_DRAWN, len(known.raw.classes))}) if more else study.data
    return study.model_copy(update={"attacks": asked, "data": data}), told
