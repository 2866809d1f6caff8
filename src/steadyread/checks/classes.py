"""Are the classes in the network's order, and does it read as well as is claimed, at a threshold that fits?"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from scipy import stats

from steadyread.cases import Cases, collate
from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample, class_order, graded, reading
from steadyread.convolutions import called
from steadyread.errors import UsageError
from steadyread.findings import Finding, Severity
from steadyread.metrics.discrimination import area_under_curve, class_scores
from steadyread.metrics.intervals import Estimate, share
from steadyread.metrics.paired_tests import sign_flip_bound, sign_flip_test
from steadyread.models.views import OneFinding
from steadyread.registry import nearest

_LIKELY, _LEAST, _MOST = 0.005, 20, 256      # p of a doubt; validation images that it needs; that are read
_OUTSIDE, _FAR = 0.05, 0.001     # the share of claims outside an interval by chance: of a doubt; of an error
_EITHER, _CHUNK = 8, 16          # images with a finding and without it, from which its order is judged; read at a time
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
        beyond, far = (stats.norm.isf(chance / 2 / sample.stated.findings) / stats.norm.isf(_OUTSIDE / 2)
                       for chance in (_OUTSIDE, _FAR))      # times the reach of a 95 % interval
        above, below = here.high - here.value, here.value - here.low
        inside = here.value - beyond * below <= claim <= here.value + beyond * above
        severity: Severity = "ok" if inside else "error" if claim > here.value + far * above else "warning"
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
    before, after, second = score > 0, np.zeros(len(score), bool), _second_half(patients)
    for half in (second, ~second):
        after[half] = score[half] > _best(score[~half], labels[~half])
    weight = np.where(labels == 1, 0.5 / np.mean(labels == 1), 0.5 / np.mean(labels == 0))
    gained = weight * ((after == labels).astype(float) - (before == labels))
    p, gain = sample.corrected(sign_flip_test(gained, patients)), float(gained.mean())
    own = sample.classifier.threshold
    chosen = 1 / (1 + np.exp(-(_best(score, labels) + np.log(own / (1 - own)))))
    doubt = p < _LIKELY and gain > 0.03
    yield Finding("threshold", "warning" if doubt else "ok",
                  f"{len(labels)} {where} would choose a threshold near {chosen:.3g}, not {own:g}, and read "
                  f"{100 * gain:.0f} points better by balanced accuracy" if doubt else
                  f"the threshold {own:g} is not detectably worse than what {len(labels)} {where} would choose", gain)


@rule("SR404", "finding order", needs="a network of several findings, and 8 images with this one and 8 without",
      remedy="Name the findings in the order of the network's values (model.findings).")
def finding_order(sample: Sample) -> Iterator[Finding]:
    """Whether the value of another finding ranks the images by this one better than its own value does.

    The difference of the two AUCs is the sum of the images' differences in rank, weighted by their labels; under the
    null hypothesis the two ranks of a patient's images could change places (Venkatraman and Begg,
    doi:10.1093/biomet/83.4.835; here without ranking anew, by whole patients, and by a bound of p).
    """
    view, few = sample.classifier.module, sample.few
    if not isinstance(view, OneFinding) or len(view.names) < 2:
        return
    values = _values(few, view)
    known = np.isfinite(values).all(1) & (np.asarray(few.labels) >= 0)
    labels, patients = np.asarray(few.labels)[known], few.patients[known]
    present, images = int((labels == 1).sum()), len(labels)
    if min(present, images - present) < _EITHER:
        return
    ranks = stats.rankdata(values[known], axis=0)
    areas = (ranks[labels == 1].sum(0) - present * (present + 1) / 2) / (present * (images - present))
    weight = (labels - labels.mean()) / (present * (images - present))
    others = [place for place in range(len(view.names)) if place != view.place]
    best = max(others, key=lambda place: areas[place])
    own, gain = float(areas[view.place]), float(areas[best] - areas[view.place])
    p = len(others) * sign_flip_bound(weight * (ranks[:, best] - ranks[:, view.place]), patients)
    severity = graded(gain, sample.corrected(p))
    told = (f"value {view.place + 1}, stated to be of {view.names[view.place]}, ranks {images} images by it with an "
            f"AUC of {own:.2f}")
    yield Finding("finding order", severity, f"{told}, and no other value detectably better" if severity == "ok" else
                  f"{told}, value {best + 1}, stated to be of {view.names[best]}, with {areas[best]:.2f}", gain)


def _values(sample: Sample, view: OneFinding) -> np.ndarray:
    """The values of all findings of the sample's images, (n, k)."""
    with sample.classifier.frozen() as classifier, torch.no_grad():
        return np.concatenate([np.asarray(called(view, partial(view.values, classifier.normalised(part))).cpu())
                               for part in torch.split(sample.batch.images, _CHUNK)])


def _second_half(patients: np.ndarray) -> np.ndarray:
    """Whether an image is of every second patient, (n,), by the order in which they come first."""
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[patient] % 2 == 1)


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
