"""Can this evaluation be trusted? Numbered rules, a file a rule (or a few that belong together): before any attack by
what is stated and read, after the search by what it found.

Sources: evaluating robustness (arXiv:1902.06705), indicators of attack failure (arXiv:2106.09947), and for the
planted example arXiv:2206.13991.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from steadyread.attacks.blind import reached
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, collate
from steadyread.checks.evidence import Evidence
from steadyread.checks.reading import ONE_CLASS, no_better, silent
from steadyread.checks.rule import RULES, Rule, check, rule
from steadyread.checks.sample import SECONDS, Sample, Stated, sampled, shown
from steadyread.classifier import Classifier, decided, prediction_of
from steadyread.findings import SOUNDNESS, Finding, worst_first
from steadyread.metrics.triage import SMALLEST_FLIP
from steadyread.progress import Progress, note, quiet
from steadyread.types import Batch, Labels

__all__ = ["RULES", "SECONDS", "Evidence", "Preflight", "Rule", "Sample", "Stated", "believed", "check", "judged",
           "preflight", "rule", "silent", "united"]
SAMPLE, _HURRIED = 48, 4     # images that the checks look at; those of a first look


@dataclass(frozen=True)
class Preflight:
    """What the rules say before any attack: `findings`, the worst first; `left`, the rules that said nothing, each with
    the reason; how many images were looked at, and of those with a label `right` of `labelled` were read right."""

    findings: tuple[Finding, ...]
    left: tuple[tuple[Rule, str], ...]
    images: int
    right: int = 0
    labelled: int = 0
    poor: tuple[Finding, ...] = ()   # that it reads no better than one class, which a run says of all its reads

    @classmethod
    def of(cls, each: Mapping[str, "Preflight"], more: Iterable[Finding] = ()) -> "Preflight":
        """Those of several networks, or findings, as one, and what else there is to say; it names what a finding is
        of, where it has a name."""
        found = [*more, *(replace(finding, networks=(name,) if name else ()) for name, own in each.items()
                 for finding in (*own.findings, *own.poor))]
        left = dict(rest for own in each.values() for rest in own.left)
        return cls(tuple(worst_first(found)), tuple(left.items()), max(own.images for own in each.values()),
                   sum(own.right for own in each.values()), sum(own.labelled for own in each.values()))

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings by which no result of this network on these images means what it says."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def passed(self) -> bool:
        """Whether no rule of severity error fired."""
        return not self.errors

    def as_json(self) -> dict[str, object]:
        """The verdict as plain values."""
        return {"passed": self.passed, "images": self.images, "right": self.right, "labelled": self.labelled,
                "findings": [each.as_json() for each in self.findings],
                "left": [{"code": each.code, "check": each.name, "message": why} for each, why in self.left]}

    def __str__(self) -> str:
        return "\n".join(f"{each.severity:<7} {each.code} {each.check}: {each.message}" for each in self.findings)


def preflight(classifier: Classifier, cases: Cases, stated: Stated | None = None, *, seed: int = 0,
              seconds: float = SECONDS, progress: Progress = quiet) -> Preflight:
    """Runs every rule that looks before any attack, on a sample of the images that are tested.

    Args:
        cases: all of the assessment, prepared; those of the part `validation` judge the threshold. Those without a
            label are left out, unless none has one.
        seconds: of forward passes, at most; rules for which no time is left are `left`.

    Raises:
        InputRefused, UsageError: images outside the bounds, an unknown claimed metric.
    """
    stated, cases = stated or Stated(), cases.labelled() if any(cases.counts().values()) else cases
    rules = [each for each in RULES.values() if each.before and not (each.stated and stated.trained)]
    sample = sampled(classifier, cases, stated, seed=seed, seconds=seconds, progress=progress)
    if sample is None:
        return Preflight((Finding("sample", "error", "not one test image can be read, so nothing is claimed"),), (), 0)
    found: list[Finding] = []
    left: list[tuple[Rule, str]] = []
    for each in progress(rules, len(rules), "preflight"):
        why = ("there are no logits to judge" if sample.problem and each.name not in ("head", "images") else
               f"the {seconds:g} s were over" if sample.clock.over() else "")
        said = [] if why else list(each.findings(sample))
        found += said
        if not said:
            left.append((each, why or (f"needs {each.needs}" if each.needs else "nothing to look at")))
    found.sort(key=lambda each: each.code)
    return Preflight(tuple(worst_first(found)), tuple(left), len(sample), *_right(sample))


def _right(sample: Sample) -> tuple[int, int, tuple[Finding, ...]]:
    """How many images with a label are read right, of how many, and what there is to say of that."""
    known = np.asarray(sample.labels) >= 0
    if sample.problem or not known.any():
        return 0, 0, ()
    labels = np.asarray(sample.labels)[known]
    right = sample.predictions[known] == labels
    return int(right.sum()), len(labels), tuple(no_better(right, labels, sample.patients[known]))


def told(found: Preflight) -> None:
    """Errors and warnings as lines for a person, before an attack takes its time; but for those that a classifier
    itself warns of, and the number of images."""
    for each in found.findings:
        if each.severity in ("error", "warning") and each.check not in ("bounds", "normalise", "head", "images"):
            note(f"{each.severity} {each.code} {each.check}: {each.message}. {each.remedy}".rstrip())


def united(first: Iterable[Finding], later: Iterable[Finding]) -> list[Finding]:
    """Findings before the attacks and after them, those of one check by what was seen last."""
    later = list(later)
    again = {finding.check for finding in later}
    return [*(finding for finding in first if finding.check not in again), *later]


def believed(classifier: Classifier, cases: Cases, seed: int = 0, progress: Progress = quiet,
             hurried: Mapping[tuple[str, int], float] | None = None) -> list[Finding]:
    """Runs every rule that needs nothing stated on a sample of cases, and says of each what it saw.

    Args:
        cases: what the claim is about (the test part); a sample of them is taken, evenly over the set.
        hurried: for a first look: fewer of them, only by the rules that are quick, and by the smallest flips that were
            found already, by the case and the class that was lost; none is searched unless all are missing.
    """
    if not len(cases):
        return [Finding("sample", "error", "there are no test images, so nothing is claimed")]
    places = torch.linspace(0, len(cases) - 1, min(SAMPLE if hurried is None else _HURRIED, len(cases))).long().tolist()
    loaded, labels = collate([cases[place] for place in places], classifier.valid)
    batch = classifier.batch(loaded)
    logits = classifier.examine(batch.images)
    sample = shown(classifier, cases, places, batch, labels, logits)
    sure = decided(logits).nonzero()[:, 0]
    looked: list[Finding] = []
    if len(sure):
        evidence = _evidence(classifier, batch.pick(sure), prediction_of(logits)[sure], seed, hurried or {})
        chosen = evidence.batch
        graded = reached(classifier, chosen.images)
        rules = [each for each in RULES.values() if not each.before and (graded or not each.gradient)
                 and (each.quick or hurried is None)]
        looked = [replace(finding, topic=SOUNDNESS) for each in progress(rules, len(rules), "checking the evaluation")
                  for finding in each.findings(evidence)]
    before = [each for each in RULES.values() if each.before and not each.stated]
    return [*(finding for each in before for finding in each.findings(sample)), *looked]   # by what the search saw too


def _evidence(classifier: Classifier, batch: Batch, reference: Labels, seed: int,
              known: Mapping[tuple[str, int], float]) -> Evidence:
    """The images whose smallest flips are `known`; all, and their flips searched, where none is."""
    sizes = [known.get(lost) for lost in zip(batch.keys, reference.tolist(), strict=True)]
    at = [place for place, size in enumerate(sizes) if size is not None]
    if not at:
        return Evidence(classifier, batch, reference, smallest_flip(classifier, batch, reference, seed).size, seed)
    places = torch.tensor(at, device=reference.device)
    found = torch.tensor([size for size in sizes if size is not None], device=reference.device)
    return Evidence(classifier, batch.pick(places), reference[places], found, seed)


def judged(classifier: Classifier, cases: Cases, table: pa.Table, seed: int = 0, progress: Progress = quiet,
           hurried: bool = False) -> list[Finding]:
    """`believed`, and whether the network is silent, by all test reads of the records instead of the sample."""
    found = believed(classifier, cases, seed, progress, _searched(table) if hurried else None)
    return [*(each for each in found if each.check != ONE_CLASS), *silent(table)]


def _searched(table: pa.Table) -> dict[tuple[str, int], float]:
    """The smallest flips of the records, by the case and the class that was lost."""
    rows = table.filter(pc.field("attack") == SMALLEST_FLIP).select(["case_id", "reference", "found_size"]).to_pylist()
    return {(row["case_id"], row["reference"]): row["found_size"] for row in rows if row["found_size"] is not None}
