"""Can this evaluation be trusted? A file a check (or a few that belong together); each returns a finding.

Sources: evaluating robustness (arXiv:1902.06705), indicators of attack failure (arXiv:2106.09947), and for the
planted example arXiv:2206.13991.
"""

from dataclasses import replace

import pyarrow as pa
import torch

from steadyread.attacks.blind import reached
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, collate
from steadyread.checks.evidence import CHECKS, Check, Evidence, check
from steadyread.checks.reading import ONE_CLASS, enough_images, head, reads, silent
from steadyread.classifier import Classifier, decided, prediction_of
from steadyread.findings import SOUNDNESS, Finding
from steadyread.progress import Progress, quiet

__all__ = ["CHECKS", "Check", "Evidence", "believed", "check", "judged", "reads", "silent"]
SAMPLE = 48          # images that the checks look at


def believed(classifier: Classifier, cases: Cases, seed: int = 0, progress: Progress = quiet) -> list[Finding]:
    """Runs every check on a sample of cases, and says of each what it saw.

    Args:
        cases: what the claim is about (the test part); a sample of them is taken, evenly over the set.
    """
    if not len(cases):
        return [Finding("sample", "error", "there are no test images, so nothing is claimed")]
    places = torch.linspace(0, len(cases) - 1, min(SAMPLE, len(cases))).long().tolist()
    loaded, labels = collate([cases[place] for place in places], classifier.valid)
    batch = classifier.batch(loaded)
    logits = classifier.examine(batch.images)
    findings = [enough_images(len(cases)), *reads(logits, labels)]
    sure = decided(logits).nonzero()[:, 0]
    if not len(sure):
        return [*findings, *head(classifier, loaded, logits)]
    batch, reference = batch.pick(sure), prediction_of(logits)[sure]
    found = smallest_flip(classifier, batch, reference, seed)
    evidence = Evidence(classifier, batch, reference, found.size, seed)
    graded = reached(classifier, batch.images)
    checks = [each for each in CHECKS.values() if graded or not each.gradient]
    looked = [replace(each.look(evidence), topic=SOUNDNESS)
              for each in progress(checks, len(checks), "checking the evaluation")]
    return [*findings, *head(classifier, loaded, logits), *looked]   # by what the search saw of it too


def judged(classifier: Classifier, cases: Cases, table: pa.Table, seed: int = 0, progress: Progress = quiet
           ) -> list[Finding]:
    """`believed`, and whether the network is silent, by all test reads of the records instead of the sample."""
    found = believed(classifier, cases, seed, progress)
    return [*(one for one in found if one.check != ONE_CLASS), *silent(table)]
