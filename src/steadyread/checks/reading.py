"""Does the network read at all? What it returns, whether it varies, and on how many images that stands."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from steadyread.checks.evidence import severity_of
from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample
from steadyread.classifier import decided, prediction_of
from steadyread.findings import VALIDITY, Finding, Severity
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.balanced import balanced_accuracy
from steadyread.metrics.intervals import Flags, Ints, clopper_pearson, share
from steadyread.metrics.reads import Strings
from steadyread.types import Labels

ONE_CLASS, NO_BETTER = "one class", "no better than one class"
_SILENT, _SOME = 0.1, 0.02      # share of images of other classes, above which a network of one class is silent
_ALIKE, _HARDLY, _LEAST = 0.02, 0.1, 16      # between the lowest and the highest probability of as many reads


@rule("SR301", "head", stated=False, remedy="State the head that the network has (output), or give the layer "
      "before it.")
def head(sample: Sample) -> Iterator[Finding]:
    """What cannot well be the stated head, as probabilities stated as logits, whose margins saturate or never flip."""
    doubt = sample.problem or sample.classifier.seen.doubt(sample.classifier.output)
    if doubt or not sample.stated.trained:
        yield Finding("head", "error" if doubt else "ok", doubt or f"its values can be {sample.classifier.output}")


@rule("SR302", "undecided", stated=False, remedy="Find where the network computes NaN: a division or a logarithm, or "
      "half precision.")
def undecided(sample: Sample) -> Iterator[Finding]:
    """Images whose logits are not finite."""
    lost = [sample.batch.keys[place] for place in (~decided(sample.logits)).nonzero()[:, 0].tolist()]
    if lost:
        yield Finding("undecided", "warning" if len(lost) < len(sample) else "error",
                      f"{len(lost)} of {len(sample)} images have a logit of NaN or +inf, or no two finite "
                      "ones: neither flipped nor steady", len(lost) / len(sample), tuple(lost))
    elif not sample.stated.trained:
        yield Finding("undecided", "ok", f"all {len(sample)} images have finite logits")


@rule("SR303", ONE_CLASS, stated=False, remedy="See whether images are scaled and classes ordered as "
      "in its training, and whether these are the trained weights.")
def one_class(sample: Sample) -> Iterator[Finding]:
    """A network that predicts one class only is not steady, it is silent."""
    yield from reads(sample.logits, sample.labels)


@rule("SR304", "constant reads", needs="16 images of two classes", remedy="See whether these are the weights of the "
      "trained network, not an early file or a fresh one, and whether images are scaled as in its training.")
def constant(sample: Sample) -> Iterator[Finding]:
    """Probabilities that hardly differ from image to image, as of an untrained network or of images scaled away."""
    chances = sample.classifier.probabilities(sample.logits)[decided(sample.logits)]
    if len(chances) < _LEAST or len(set(sample.labels.tolist())) < 2:
        return
    low, high = (chances.amin(0), chances.amax(0))
    column = int((high - low).argmax())
    spread = float((high - low)[column])
    told = f"the probability of class {column} lies between {float(low[column]):.3g} and {float(high[column]):.3g}"
    right, images = int((prediction_of(sample.logits) == sample.labels).sum()), len(sample)
    reads_well = clopper_pearson(right, images)[0] > np.bincount(np.asarray(sample.labels).clip(0)).max() / images
    severity: Severity = "ok" if spread >= _HARDLY else "error" if spread < _ALIKE and not reads_well else "warning"
    doubt = ": reads hardly differ" if severity != "ok" else ""
    yield Finding("constant reads", severity, f"{told} on all {len(chances)} images{doubt}", spread)


@rule("SR601", "images", stated=False, remedy="")
def enough_images(sample: Sample) -> Iterator[Finding]:
    """How many images the claim stands on."""
    n = len(sample.tested)
    yield Finding("images", "ok" if n >= 100 else "warning", f"the tables are based on {n} test images"
                  + ("" if n >= 100 else ": a 95 % interval of a share is then 10 points or more to each side"),
                  float(n))


def reads(logits: Tensor, labels: Labels) -> Iterator[Finding]:
    """What there is to say where all predictions are of one class."""
    predictions = prediction_of(logits)
    if len(set(predictions.tolist())) > 1 or bool((predictions < 0).any()):   # undecided reads say nothing
        return
    others = int((labels != predictions.to(labels.device)).sum())
    if others:
        severe = severity_of(others, len(labels), (("error", _SILENT), ("warning", _SOME)))
        yield Finding(ONE_CLASS, severe, f"all {len(labels)} images looked at are predicted as class "
                      f"{int(predictions[0])}, and {others} are not: a model that always says the same is not "
                      "steady, it is silent", others / len(labels), topic=VALIDITY)


def silent(table: pa.Table) -> Iterator[Finding]:
    """A network that (nearly) always says the same is not steady, it is silent: judged on all test reads."""
    found = reads_of(table, "test")
    known = found.labels[found.known]
    if not len(known) or not (found.prediction >= 0).any():
        return
    yield from reads(torch.from_numpy(found.logits[found.there]), torch.from_numpy(found.labels[found.there]))
    yield from no_better(found.correct[found.known], known, found.patients[found.known])


def no_better(right: Flags, labels: Ints, patients: Strings) -> Iterator[Finding]:
    """A finding where of images with these labels, (n,) each, no more are read `right` than by always saying the
    commonest, as far as so many can tell. Where few are of the other classes a network may tell them well and still be
    right no more often: its balanced accuracy then shows that it does."""
    most, count = np.bincount(labels).max() / len(labels), int(right.sum())
    if (share(right, patients).low or 0.0) > most:
        return
    if (balanced_accuracy(right, labels, patients).low or 0.0) <= 1 / len(np.unique(labels)):
        yield Finding(NO_BETTER, "warning", f"{count} of {len(labels)} images are read right, which is not "
                      f"detectably better than always saying the most frequent class ({100 * most:.1f} %). How steady "
                      "its reads are says little of such a network", count / len(labels), topic=VALIDITY)
