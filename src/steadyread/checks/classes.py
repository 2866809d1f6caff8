"""Are the classes in the network's order, and does it read as well as is claimed, at a threshold that fits?"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from steadyread.cases import Cases, collate
from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample, class_order, reading
from steadyread.errors import UsageError
from steadyread.findings import Finding, Severity
from steadyread.metrics.discrimination import area_under_curve, class_scores
from steadyread.metrics.intervals import Estimate, share
from steadyread.metrics.paired_tests import sign_flip_test
from steadyread.registry import nearest

_LIKELY, _LEAST, _MOST = 0.005, 20, 256      # p of a doubt; validation images that it needs; that are read
_FAR = 1.7      # times the reach of a 95 % interval, beyond which a claim lies outside that of 99.9 % too
Metric = Callable[[Sample], Estimate]


@rule("SR401", "class order", needs="labels of two classes, 8 images",
      remedy="State the classes in the order of the network (model.classes), or name the folders so.")
def order(sample: Sample) -> Iterator[Finding]:
    """Whether the reads fit the labels better with the classes in another order."""
    chosen, other = class_order(sample)
    if other is None:
        return
    names = sample.cases.classes
    stated = bool((chosen == np.arange(len(chosen))).all())
    told = ", ".join(f"{at} is {names[place] if place < len(names) else place}" for at, place in enumerate(chosen))
    if stated:
        yield Finding("class order", "ok", f"{other.before} of {other.images} images are read right, no other order of "
                      "classes reads more", other.before / other.images)
    else:
        yield Finding("class order", "error", f"{other.before} of {other.images} images are read right, and "
                      f"{other.right} where {told}", other.before / other.images)


def _of_class(label: int) -> Metric:
    def metric(sample: Sample) -> Estimate:
        if sample.logits.shape[1] != 2:
            return Estimate(None)
        among = np.asarray(sample.labels) == label
        return share((sample.predictions == label)[among], sample.patients[among])

    return metric


def _accuracy(sample: Sample) -> Estimate:
    return share(sample.predictions == np.asarray(sample.labels), sample.patients)


def _area(sample: Sample) -> Estimate:
    logits = np.asarray(sample.logits, np.float64)
    return area_under_curve(class_scores(logits, logits.shape[1]), np.asarray(sample.labels), sample.patients)


METRICS: Mapping[str, Metric] = {"accuracy": _accuracy, "auc": _area, "sensitivity": _of_class(1),
                                 "specificity": _of_class(0)}


def refuse_unknown_claims(claimed: Mapping[str, float]) -> None:
    """Raises UsageError for a claim of a metric that is not known, or of no share."""
    for name, value in claimed.items():
        if name not in METRICS:
            raise UsageError(f"claimed: no metric '{name}'{nearest(name, METRICS)}")
        if not 0 <= value <= 1:
            raise UsageError(f"claimed: {name} must lie between 0 and 1, such as 0.934; got {value:g}")


@rule("SR402", "claimed", needs="a claim (model.claimed), and labels",
      remedy="See whether images are prepared as in the evaluation that is claimed (resize, crop, scale, classes), and "
      "whether these are such images.")
def claims(sample: Sample) -> Iterator[Finding]:
    """Whether a claimed metric lies within the interval of the same metric here; far above it is an error."""
    refuse_unknown_claims(sample.stated.claimed)
    if bool((sample.labels < 0).all()):
        return
    for name, claim in sample.stated.claimed.items():
        here = METRICS[name](sample)
        if here.value is None or here.low is None or here.high is None:
            yield Finding("claimed", "note", f"{name} {claim:g} is claimed, and {len(sample)} images are too few to "
                          "tell")
            continue
        told = (f"{name} {claim:g} is claimed; on {here.n} images here it is {here.value:.3f} ({here.low:.3f} to "
                f"{here.high:.3f})")
        far = claim > here.value + _FAR * (here.high - here.value)
        severity: Severity = "ok" if here.low <= claim <= here.high else "error" if far else "warning"
        yield Finding("claimed", severity, told, here.value)


@rule("SR403", "threshold", needs="two classes, and 20 images of the part validation (else of those that are tested)",
      remedy="Choose the threshold on validation images, and state it (threshold).")
def threshold(sample: Sample) -> Iterator[Finding]:
    """Whether validation images would choose another threshold: chosen on one half of them, judged on the other."""
    validation = sample.whole.part("validation")
    if sample.logits.shape[1] != 2 or sample.order[0] != 0:      # in another order of classes it means nothing
        return
    if len(validation) >= _LEAST:
        logits, labels, patients = _read(sample, validation)
        where = "validation images"
    else:
        logits, labels, patients = np.asarray(sample.logits), np.asarray(sample.labels), sample.patients
        where = "test images (there are none for validation)"
    if len(labels) < _LEAST or len(set(labels.tolist())) < 2:
        return
    by_class = np.argsort(labels, kind="stable")      # either half has both
    labels, patients = labels[by_class], patients[by_class]
    score = (logits[:, 1] - logits[:, 0])[by_class]
    before, after = score > 0, np.zeros(len(score), bool)
    for half in (0, 1):
        after[half::2] = score[half::2] > _best(score[1 - half::2], labels[1 - half::2])
    weight = np.where(labels == 1, 0.5 / np.mean(labels == 1), 0.5 / np.mean(labels == 0))
    gained = weight * ((after == labels).astype(float) - (before == labels))
    p, gain = sign_flip_test(gained, patients), float(gained.mean())
    own = sample.classifier.threshold
    chosen = 1 / (1 + np.exp(-(_best(score, labels) + np.log(own / (1 - own)))))
    doubt = p < _LIKELY and gain > 0.03
    yield Finding("threshold", "warning" if doubt else "ok",
                  f"{len(labels)} {where} would choose a threshold near {chosen:.3g}, not {own:g}, and read "
                  f"{100 * gain:.0f} points better by balanced accuracy" if doubt else
                  f"the threshold {own:g} is not detectably worse than what {len(labels)} {where} would choose", gain)


def _best(score: np.ndarray, labels: np.ndarray) -> float:
    """The threshold of the best balanced accuracy; halfway between two scores, and the nearest to 0 of equals."""
    values = np.unique(score)
    cuts = np.concatenate([[values[0] - 1.0], (values[1:] + values[:-1]) / 2, [values[-1] + 1.0]])
    cuts = cuts[np.argsort(np.abs(cuts), kind="stable")]
    positive, negative = np.sort(score[labels == 1]), np.sort(score[labels == 0])
    if not len(positive) or not len(negative):
        return 0.0
    above = 1 - np.searchsorted(positive, cuts, "right") / len(positive)
    below = np.searchsorted(negative, cuts, "right") / len(negative)
    return float(cuts[np.argmax(above + below)])


def _read(sample: Sample, cases: Cases) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(logits, labels, patients) of at most so many validation images."""
    some = cases.pick(range(0, len(cases), -(-len(cases) // _MOST)))
    batch, labels = collate([some[place] for place in range(len(some))], sample.classifier.valid)
    logits = reading(sample.classifier, batch.images.to(sample.classifier.device))
    return np.asarray(logits.to(torch.float64)), np.asarray(labels), np.array([row.patient for row in some.rows])
