"""A classifier and images as Python users hand them over: each finding as a network of its own, by its own labels."""

from dataclasses import replace
from typing import Any

from steadyread.cases import Cases, of_finding
from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.jobs.labelled import left_out
from steadyread.progress import note


def views_of(classifier: Classifier, data: object, known: dict[str, Any]) -> list[tuple[str, Classifier, Cases]]:
    """(name, network, images) of each finding, by its own labels; of a network of classes itself, without a name.

    `known` is that of `assess`, with the findings to take; the bounds are the classifier's unless stated. Without
    findings to take, one that all cases have or none has is left out, and said.
    """
    findings = tuple(known.pop("findings", ()))
    if findings and isinstance(classifier, Classifier) and not classifier.findings:
        classifier, findings = replace(classifier, findings=findings), ()
    several = tuple(classifier.thresholds) if isinstance(classifier, Classifier) else ()
    if several and not isinstance(data, Cases):
        known["findings"] = several
    if isinstance(classifier, Classifier) and not isinstance(data, Cases):
        known.setdefault("bounds", classifier.valid)
    cases = Cases.of(data, **known)
    _refuse_misstated(classifier, cases)
    return [(name, classifier.of(name), of_finding(cases, name, several))
            for name in findings or _told_apart(cases, several)] or [("", classifier, cases)]


def _told_apart(cases: Cases, several: tuple[str, ...]) -> tuple[str, ...]:
    """The findings that some cases have and others have not; the others are said. All, where there would be none."""
    left = left_out(cases, several) if several else []
    kept = tuple(name for name in several if all(name not in each.networks for each in left))
    for each in left if kept else ():
        note(f"{each.check}: {each.message}")
    return kept or several


def _refuse_misstated(classifier: object, cases: Cases) -> None:
    """Attacks keep to the classifier's bounds and sizes are shares of the images': they must be the same."""
    if not isinstance(classifier, Classifier):
        raise UsageError("the classifier must be a steadyread.Classifier, such as Classifier(module, bounds, "
                         f"output='logit'); got {type(classifier).__name__}")
    ours, theirs = classifier.valid, cases.bounds
    if (ours.low, ours.high) != (theirs.low, theirs.high):
        raise UsageError(f"bounds: the classifier was made for {ours.low:g} to {ours.high:g}, and the images are "
                         f"stated to be {theirs.low:g} to {theirs.high:g}: state the same for both")
