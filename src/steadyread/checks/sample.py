"""What the rules look at before any attack: images as the network reads them, and as it would read them otherwise."""

import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from steadyread.cases import Cases, Preparation, collate, prepare
from steadyread.cases.readable import NO_CASE
from steadyread.cases.row import Pixels, Row
from steadyread.classifier import Classifier, prediction_of
from steadyread.errors import Doubt, HeadRefused
from steadyread.findings import Finding, Severity
from steadyread.metrics.paired_tests import holm, sign_flip_test
from steadyread.progress import Progress, in_pieces, quiet
from steadyread.set_aside import case_by_case
from steadyread.types import Batch, Case, Images, Labels, Logits

SECONDS = 30.0       # of forward passes, at most
_READ, _CHUNK = 512, 16      # images that are read, at most; at a time
_LEAST_FEW, _MOST_FEW = 48, 192      # of which so many are read otherwise too, as time allows
_WAYS = 25           # other ways to read them, about
_SHARE = 3           # of the time goes into the first reading
_CERTAIN, _LIKELY = 0.001, 0.005     # p (Holm's, over the alternatives) of an error, of a warning
_MUCH, _SOME = 0.1, 0.03             # accuracy gained, likewise
_LEAST = 8           # labelled images from which on accuracies are compared


@dataclass(frozen=True, eq=False)
class Stated:
    """What is known of a network and its images beside the classifier and the cases.

    Args:
        claimed: metrics with the values that are claimed for them, such as {"accuracy": 0.934}.
        raw: the images as they are stored, by the ids of the prepared ones; None where the caller prepared them.
        preparation: what is done to those.
        window: what the network's input is clipped to, in native units.
        taught: digests of images and patients that the network was trained or chosen on (see `image_marks`).
        trained: the network was trained in this run, so that nothing was stated of it.
        findings: how many of a network's findings are looked at, by whose number each p is corrected.
    """

    claimed: Mapping[str, float] = field(default_factory=dict)
    raw: Cases | None = None
    preparation: Preparation = field(default_factory=Preparation)
    window: tuple[float, float] | None = None
    taught: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False
    findings: int = 1


@dataclass(frozen=True)
class Clock:
    """How long the looking may take: seconds that pass, or that this process works where others are at work too."""

    seconds: float = float("inf")
    began: float = field(default_factory=time.monotonic)
    worked: float = field(default_factory=time.process_time)

    @property
    def used(self) -> float:
        """Seconds that are used up."""
        return min(time.monotonic() - self.began, time.process_time() - self.worked)

    def over(self, share: float = 1.0) -> bool:
        """Whether a share of the time is used up."""
        return self.used > share * self.seconds


@dataclass(frozen=True)
class Alternative:
    """Another way to read the images that reads more of them right than the stated way: `right` of `images`, where
    that reads `before`; `p` of no difference (Holm's, over the ways that were tried, times the findings)."""

    name: str
    right: int
    before: int
    images: int
    p: float

    @property
    def severity(self) -> Severity:
        """How grave it is that the images were not read so."""
        return graded((self.right - self.before) / self.images, self.p)

    def finding(self, check: str, none: str) -> Finding:
        """That images were to be read so, or that `none` is detectably better than the stated way."""
        gain, severity = (self.right - self.before) / self.images, self.severity
        right = f"as stated {self.before} of {self.images} images are read right"
        if severity == "ok":
            return Finding(check, "ok", f"{right}, and {none} reads detectably more", gain)
        return Finding(check, severity, f"{right}, {self.name} {self.right}", gain)


def graded(gain: float, p: float) -> Severity:
    """How grave it is that something else reads better by `gain`, from 0 to 1, where `p` is that of no difference."""
    return "error" if p < _CERTAIN and gain >= _MUCH else "warning" if p < _LIKELY and gain >= _SOME else "ok"


@dataclass(frozen=True, eq=False)
class Sample:
    """Images of the part that is tested, as the network reads them.

    Args:
        cases: the images of the `batch`, in its order.
        labels, logits: (n,) and (n, k), on the CPU.
        whole: all cases of the assessment, whatever their part.
        problem: why the network's output was refused; there are no logits then.
        pace: seconds that the reading of an image took.
    """

    classifier: Classifier
    cases: Cases
    batch: Batch
    labels: Labels
    logits: Logits
    whole: Cases
    stated: Stated = field(default_factory=Stated)
    clock: Clock = field(default_factory=Clock)
    problem: str = ""
    pace: float = 0.0

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def patients(self) -> np.ndarray:
        """The patient of each image, (n,)."""
        return np.array([row.patient for row in self.cases.rows])

    @property
    def tested(self) -> Cases:
        """All images that are tested."""
        return tested(self.whole)

    @property
    def predictions(self) -> np.ndarray:
        """The predicted class of each image, (n,); -1 where there is none."""
        return np.asarray(prediction_of(self.logits))

    @cached_property
    def order(self) -> np.ndarray:
        """The data's class that each of the network's classes is, (k,): as stated, unless another order is detectably
        better (on the half of the images that did not choose it)."""
        return class_order(self)[0]

    @cached_property
    def few(self) -> "Sample":
        """The images that are read in other ways too: as many of each class, as far as there are."""
        by_class = [np.flatnonzero(np.asarray(self.labels) == label) for label in sorted(set(self.labels.tolist()))]
        room = _MOST_FEW if not self.pace else self.clock.seconds / (_WAYS * self.pace)
        each = max(1, int(max(_LEAST_FEW, min(_MOST_FEW, room))) // max(1, len(by_class)))
        return self.pick(sorted(int(place) for places in by_class for place in places[:each]))

    def pick(self, places: Sequence[int]) -> Self:
        """The images at the places."""
        at = torch.tensor(list(places), dtype=torch.int64)
        return replace(self, cases=self.cases.pick(places), batch=self.batch.pick(at.to(self.batch.images.device)),
                       labels=self.labels[at], logits=self.logits[at])

    def corrected(self, p: float) -> float:
        """A p that is looked at for each of several findings: Bonferroni's, times their number."""
        return min(1.0, p * self.stated.findings)

    def right(self, logits: Logits, order: np.ndarray) -> np.ndarray:
        """Where a reading of these images is right, (n,); `order` is the data's class for each of the network's."""
        read = np.asarray(prediction_of(logits.cpu()))
        return np.asarray((read >= 0) & (order[read] == np.asarray(self.labels)))

    def better(self, readings: Mapping[str, Callable[[], Logits]]) -> Alternative | None:
        """The best of other ways to read the few images, None where none could be tried. One that fails is none."""
        few, order = self.few, self.order
        if len(set(few.labels.tolist())) < 2 or len(few) < _LEAST or self.problem:
            return None
        before, tried = few.right(few.logits, order), {}
        for name, reading in readings.items():
            if self.clock.over():
                break
            try:
                tried[name] = few.right(reading(), order)
            except MemoryError:
                raise
            except Exception:       # the network does not take images that are so
                continue
        if not tried:
            return None
        tests = holm([sign_flip_test(right.astype(float) - before, few.patients) for right in tried.values()])
        ranked = [Alternative(name, int(right.sum()), int(before.sum()), len(few), self.corrected(1.0 if p is None
                                                                                                  else p))
                  for (name, right), p in zip(tried.items(), tests, strict=True)]
        return max(ranked, key=lambda each: (each.right, -each.p))


def tested(whole: Cases) -> Cases:
    """The images that are tested: those of the part test, all where no parts are known."""
    part = whole.part("test")
    return part if len(part) or any(row.part for row in whole.rows) else whole


def sampled(classifier: Classifier, whole: Cases, stated: Stated | None = None, *, seed: int = 0,
            seconds: float = SECONDS, progress: Progress = quiet) -> Sample | None:
    """A sample of the images that are tested, in the order of a draw, as many as are read in a third of the time;
    None where not one can be read.

    Images that cannot be read, on which the network fails, or which are of another shape than the first are left out:
    those are found later.
    """
    cases, clock = tested(whole), Clock(seconds)
    order = sorted(range(len(cases)), key=lambda place: hashlib.blake2b(
        f"{seed}\x1f{cases.rows[place].id}".encode(), digest_size=16).digest())[:_READ]
    held: list[Case] = []
    places: list[int] = []
    logits: list[Tensor] = []
    problem, reading_time = "", 0.0
    starts = {start: min(_CHUNK, len(order) - start) for start in range(0, len(order), _CHUNK)}
    for start in in_pieces(progress, starts, "preflight: reading images"):
        if logits and clock.over(1 / _SHARE):
            break
        more = [(place, case) for place, case in _loaded(cases, order[start:start + _CHUNK])
                if not held or case.image.shape == held[0].image.shape]
        more = [each for each in more if each[1].image.shape == more[0][1].image.shape]
        before = clock.used
        found, problem = _read(classifier, more)
        reading_time += clock.used - before
        logits += [row for _, row in found]
        places += [place for (place, _), _ in found]
        held += [case for (_, case), _ in found]
        if problem:
            break
    if not held:
        return None
    batch, labels = collate(held, classifier.valid)
    return Sample(classifier, cases.pick(places), replace(batch, images=batch.images.to(classifier.device)), labels,
                  torch.stack(logits), whole, stated or Stated(), clock, problem, reading_time / len(held))


def shown(classifier: Classifier, cases: Cases, places: Sequence[int], batch: Batch, labels: Labels, logits: Logits
          ) -> Sample:
    """A sample of images that were read already, without a limit of time, of a network of which nothing is stated."""
    return Sample(classifier, cases.pick(places), batch, labels.cpu(), logits.cpu(), cases, Stated(trained=True))


def reading(classifier: Classifier, images: Tensor, chunk: int = _CHUNK) -> Logits:
    """What a classifier makes of images in native units, on the CPU, (n, k); so many at a time."""
    with classifier.frozen(), torch.no_grad():
        return torch.cat([classifier.logits(part).cpu() for part in torch.split(images, chunk)])


def prepared(sample: Sample, raw: Cases, ways: Mapping[str, Preparation]) -> dict[str, Images]:
    """The few images, each read once, prepared in several other ways by their names; those in which they cannot be are
    left out, and there are none where the time is over."""
    rows, valid = {row.id: place for place, row in enumerate(raw.rows)}, sample.classifier.valid
    few = raw.pick([rows[row.id] for row in sample.few.cases.rows])
    held: dict[str, Pixels] = {}      # the image that was read last

    def load(row: Row) -> Pixels:
        if row.id not in held:
            held.clear()
            held[row.id] = few.load(row)
        return held[row.id]

    cases = {name: prepare(replace(few, load=load), way) for name, way in ways.items()}
    images: dict[str, list[Case]] = {name: [] for name in ways}
    for place in range(len(few)):
        if sample.clock.over():
            return {}
        for name in list(images):
            try:
                images[name].append(cases[name][place])
            except MemoryError:
                raise
            except Exception:       # too small for the crop, say
                del images[name]
    return {name: collate(several, valid)[0].images.to(sample.batch.images.device).clamp(valid.low, valid.high)
            for name, several in images.items()}


def class_order(sample: Sample) -> tuple[np.ndarray, Alternative | None]:
    """(the data's class for each class of the network, the best other order by the images that did not choose it).

    The order is chosen on one half of the images and judged on the other, and the other way round; of two classes
    there is only one other, which all images judge.
    """
    from scipy.optimize import linear_sum_assignment

    classes = sample.logits.shape[1] if sample.logits.ndim == 2 else 0
    stated = np.arange(max(classes, 1))
    labels, read = np.asarray(sample.labels), sample.predictions
    known = (labels >= 0) & (read >= 0) & (labels < classes)
    if sample.problem or classes < 2 or known.sum() < _LEAST or len(set(labels[known].tolist())) < 2:
        return stated, None

    def best(among: np.ndarray) -> np.ndarray:
        counts = np.zeros((classes, classes))
        np.add.at(counts, (read[among], labels[among]), 1)
        counts[stated, stated] += 1e-6      # what no image speaks of stays as it is
        return np.asarray(linear_sum_assignment(-counts)[1])

    places = np.flatnonzero(known)
    places = places[np.argsort(labels[places], kind="stable")]     # either half has every class
    halves = [(places, places)] if classes == 2 else [(places[::2], places[1::2]), (places[1::2], places[::2])]
    before, after = (labels == read) & known, np.zeros(len(labels), bool)
    for chooses, judges in halves:
        order = stated[::-1] if classes == 2 else best(chooses)
        after[judges] = order[read[judges]] == labels[judges]
    p = sample.corrected(sign_flip_test((after.astype(float) - before)[known], sample.patients[known]))
    other = Alternative("", int(after.sum()), int(before.sum()), int(known.sum()), p)
    return (best(places) if other.right > other.before and p < _LIKELY else stated), other


def _loaded(cases: Cases, places: Sequence[int]) -> Iterator[tuple[int, Case]]:
    for place in places:
        try:
            yield place, cases[place]
        except NO_CASE:
            raise
        except Exception:      # whatever it is, it is said when all are read
            continue


def _read(classifier: Classifier, images: Sequence[tuple[int, Case]]
          ) -> tuple[list[tuple[tuple[int, Case], Tensor]], str]:
    """The images that the network reads, each with its logits; and why its head was refused: then there are none, (0,).
    What is doubted is left to the rules."""
    def rows(some: Sequence[tuple[int, Case]]) -> list[tuple[tuple[int, Case], Tensor]]:
        batch, known = collate([case for _, case in some], classifier.valid)[0], set(classifier.told)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Doubt)
            values = classifier.batch(batch).images
        classifier.told.intersection_update(known)
        return list(zip(some, classifier.examine(values).cpu(), strict=True))

    try:
        return case_by_case(rows, images)[0], ""
    except HeadRefused as problem:
        return [(each, torch.zeros(0)) for each in images], str(problem)
