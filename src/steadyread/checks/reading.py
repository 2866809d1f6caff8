"""Does the network read at all? What is looked at beside what the attacks did."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from steadyread.checks.evidence import ALLOWED, severity_of
from steadyread.classifier import Classifier, decided, prediction_of
from steadyread.findings import Finding
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.intervals import clopper_pearson
from steadyread.types import Batch, Labels

ONE_CLASS = "one class"
_SILENT = 0.1        # share of images of other classes, above which a network of one class is silent


def enough_images(n: int) -> Finding:
    """How many images the claim stands on."""
    return Finding("images", "ok" if n >= 100 else "warning", f"the tables are based on {n} test images"
                   + ("" if n >= 100 else ": a 95 % interval of a share is then 10 points or more to each side"),
                   float(n))


def head(classifier: Classifier, batch: Batch, logits: Tensor) -> Iterator[Finding]:
    """What cannot well be as stated, as probabilities stated as logits, whose margins saturate or never flip;
    undecided images are named."""
    yield from (found for found in classifier.doubts if found.check != "bounds")   # of which the audit speaks
    undecided = [batch.keys[place] for place in (~decided(logits)).nonzero()[:, 0].tolist()]
    if undecided:
        yield Finding("undecided", "warning" if len(undecided) < len(batch) else "error",
                      f"{len(undecided)} of {len(batch)} images have a logit of NaN or +inf, or no two finite "
                      "ones: neither flipped nor steady", len(undecided) / len(batch), tuple(undecided))


def reads(logits: Tensor, labels: Labels) -> Iterator[Finding]:
    """A net that predicts one class only is not steady, it is silent."""
    predictions = prediction_of(logits)
    if len(set(predictions.tolist())) > 1 or bool((predictions < 0).any()):   # undecided reads say nothing
        return
    others = int((labels != predictions.to(labels.device)).sum())
    if others:
        severe = severity_of(others, len(labels), (("error", _SILENT), ("warning", ALLOWED)))
        yield Finding(ONE_CLASS, severe, f"all {len(labels)} images looked at are predicted as class "
                      f"{int(predictions[0])}, and {others} are not: a model that always says the same is not "
                      "steady, it is silent", others / len(labels))


def silent(table: pa.Table) -> Iterator[Finding]:
    """A network that (nearly) always says the same is not steady, it is silent: judged on all test reads."""
    found = reads_of(table, "test")
    known = found.labels[found.known]
    if not len(known) or not (found.prediction >= 0).any():
        return
    yield from reads(torch.from_numpy(found.logits[found.there]), torch.from_numpy(found.labels[found.there]))
    most = np.bincount(known).max() / len(known)
    right = int(found.correct.sum())
    if clopper_pearson(right, len(known))[0] <= most:
        yield Finding("no better than one class", "warning", f"{right} of {len(known)} test images are read right, "
                      f"which is not detectably better than always saying the most frequent class ({most:.1%}). That "
                      "few of its reads change says little of such a network", right / len(known))
