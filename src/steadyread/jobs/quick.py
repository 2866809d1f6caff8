"""How long an assessment takes, told before it begins; and a first look, of as few reads as half a minute allows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from steadyread.attacks.blind import QUERIES, without_gradients
from steadyread.attacks.cost import cost_of
from steadyread.attacks.recipe import Recipe
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.square import Square
from steadyread.cases import Cases, collate
from steadyread.checks.sample import tested
from steadyread.classifier import Classifier, Passes, prediction_of
from steadyread.errors import UsageError
from steadyread.jobs.attacks import pixel_attacks
from steadyread.jobs.networks import Fitting, fitting, placed
from steadyread.progress import Progress, duration, note, quiet
from steadyread.study import Study

HURRIED = 3.0        # seconds of reading before a first look's attacks
_SECONDS = 9.0       # of all that is asked about its images; starting and writing take the rest of half a minute
_MOST, _LEAST = 32, 6    # its images
_FIXED = 40          # gradients' time that examples and checks take beside
_BESIDE_IT = 10      # and for each image its walk to the flip, and reads under noise and as they are: 30 forward passes
_DRAWN = 512         # of a data set, which are read at all
_FLIP = 50           # gradients that the smallest flip of an image takes, of two classes;
_FLIP_OF_MANY, _TARGETS = 110, 100   # of more, and one for each class up to so many
_A_SECOND, _CALL = 8e10, 0.001       # operations a second of a CPU's core, as measured; seconds beside,
_VALUE = 3.5e-9      # and for a value that a step of the network writes, on its way forwards and back
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


def few_of(classifier: Classifier, cases: Cases, images: int, pace: Pace, parts: int = 1) -> int:
    """How many of so many images of each of the parts a first look attacks: as many as seconds allow, with all else
    that it asks about them, by the operations that a read takes and the values that it writes and no clock, so that the
    same call goes on. Where they cannot be counted it is a power of two, by a clock."""
    operations, values = cost_of(classifier, cases)
    if operations:
        pace = replace(pace, seconds=3 * operations / _A_SECOND + values * _VALUE + _CALL)
    each = pace.through([smallest_flip], len(cases.classes)) + _BESIDE_IT * pace.seconds
    room = max(1, int((_SECONDS - _FIXED * pace.seconds) / (parts * each)))
    return min(images, max(_LEAST, min(_MOST, room if operations else 1 << (room.bit_length() - 1))))


def outlook(few: int, images: int, seconds: float) -> str:
    """The sentence on a first look at a few of the images, of which a whole run takes so many seconds for each."""
    looked_at = f"{few} of {images} images" if few < images else f"all {images} images"
    gained = (f"its intervals are {(images / few) ** 0.5:.1f} times narrower" if few < images else
              "adds attacks at several sizes and further checks")
    return (f"A first look at {looked_at} by their smallest flips. A whole run takes up to about "
            f"{duration(_CHECKS * images * seconds + _BESIDE)}, and {gained}")


@dataclass(frozen=True, eq=False)
class FirstLook:
    """A study with as few images as a first look has time for, a sentence on what a whole run would take, and what was
    listed and loaded to tell that; a study as it is, where no first look is asked for."""

    study: Study
    told: str = ""
    fitted: Fitting | None = None


def first_look(study: Study, progress: Progress = quiet) -> FirstLook:
    """The study with so few images, drawn by class, that their smallest flips take seconds.

    Raises:
        UsageError: of a network that is to be trained, or of CT noise.
    """
    if not study.quick:
        return FirstLook(study)
    if study.sets or study.noise is not None or study.hardening is not None or study.model.weights is None:
        raise UsageError("quick is a first look at one given network under changes of any pixels: give its weights, "
                         "and leave sets, noise and hardening out")
    fitted = fitting(study.of(study.model.assessed[0]) if study.model.findings else study, progress)
    known, first = fitted.known, fitted.first
    network = placed(fitted.network, first.study)
    cases, classes = known.labelled, len(first.ready.classes)
    images = min(study.attacks.limit or len(cases), len(tested(cases)))
    pace = pace_of(network, first.ready)
    few = few_of(network, first.ready, images, pace, 1 + bool(len(cases.part("validation"))))
    attacks = pixel_attacks(first.study, first.ready.bounds)["test"]
    told = outlook(few, images, pace.through(attacks, classes))
    most = max(_DRAWN, len(known.raw.classes))
    drawn = {"limit": most} if study.data.limit is None and len(known.raw) > most else {}

    def hurried(of: Study) -> Study:
        asked = of.attacks.model_copy(update={"limit": few, "use": (), "epsilons": (), "smallest_flip": True})
        return of.model_copy(update={"attacks": asked, "data": of.data.model_copy(update=drawn)})

    return FirstLook(hurried(study), told, replace(
        fitted, known=replace(known, asked=hurried(known.asked), study=hurried(known.study)),
        first=replace(first, study=hurried(first.study))))
