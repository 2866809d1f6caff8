"""What a run says of TRIPOD+AI's items of open science, results and discussion, and of METRICS' item 17."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from steadyread.files import MODEL
from steadyread.metrics.intervals import Estimate
from steadyread.report.checklist_known import (
    COUNTED,
    Known,
    Said,
    area_said,
    findings_said,
    sentences,
    share_said,
)
from steadyread.report.checklist_methods import Answers, attacks_said, updating
from steadyread.units import number_of
from steadyread.words.numbers import show_size_json

_SOUND = ("repeatable", "zero gradients", "unbounded attack", "optimisation gap", "convergence", "one step",
          "random noise", "gradient-free attack", "planted example")
# Findings that stand only where something is wrong with the network or its reads.
_DOUBTS = ("head", "undecided", "one class", "no better than one class", "worse than chance")
_SIZES = 4     # of which the accuracy under attack is told
_RESULTS = "summary.json: discrimination"


def data_shared(known: Known) -> Iterator[Said]:
    """Item 18e."""
    digest = known.said("plan.json: data.sha256")
    made = known.table_at("study.json: data")
    if known.at("plan.json: data.synthetic") and made and made.get("path") is None:
        yield Said("The images are made from formulas and a seed: anyone can make them again.",
                   ("plan.json: data.synthetic", "plan.json: seed", "study.json: data.synthetic"))
    if digest is not None:
        yield Said(f"The assessed images and labels are known by their SHA-256 {digest[:12]}….",
                   ("plan.json: data.sha256",))


def code_shared(known: Known) -> Iterator[Said]:
    """Item 18f."""
    versions = known.at("plan.json: versions")
    if not isinstance(versions, Mapping) or not versions:
        return
    told = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    seed = known.said("plan.json: seed")
    settings = "; every setting stands in study.json" if known.at("study.json: name") is not None else ""
    yield Said(f"Computed with {told}, seed {seed}{settings}.",
               ("plan.json: versions", "plan.json: seed", *(("study.json: name",) if settings else ())))


def flow(known: Known) -> Iterator[Said]:
    """Item 20a."""
    found = [*known.found("missing files", "class counts", "drawn images", "parts", "attacked images"),
             *known.notes[0]]
    if found:
        yield findings_said(found)
    yield from _assessed(known)


def characteristics(known: Known) -> Iterator[Said]:
    """Item 20b."""
    known_lacks = known.found("missing files") + known.found("missing files", passed=True)
    yield from _assessed(known)
    if known_lacks:
        yield findings_said(known_lacks, named=False)


def beside(known: Known) -> Iterator[Said]:
    """Item 20c: the outcome in the parts; of the training part only where the run tells it."""
    found = known.found("parts")
    if found:
        yield findings_said(found, named=False)
    elif known.trained and {"validation", "test"} <= known.parts.keys():
        yield Said(sentences(["The outcome in " + "; in ".join(map(known.part_said, known.parts))]), (COUNTED,),
                   "the outcome in the training part")


def analyses(known: Known) -> Iterator[Said]:
    """Item 21."""
    told, whole = known.found("parts"), known.found("class counts")
    if told:
        yield findings_said(told, named=False)
    elif known.trained and whole:
        said = findings_said(whole, named=False)
        yield Said(f"All parts together: {said.words}", said.where)
    uses = {"validation": "Thresholds of triage", "test": "Evaluation"}
    for part in known.parts:
        yield Said(f"{uses.get(part, 'Assessment')}, {known.part_said(part)}.", (COUNTED,))
    if known.trained and not told and known.parts:
        yield Said("", left="how many images and patients trained the network and chose its epoch, by class")


def specification(known: Known) -> Iterator[Said]:
    """Item 22."""
    digest = known.said("plan.json: model.sha256")
    if digest is None:
        return
    kept = MODEL in known.beside
    told = f"; {MODEL} of this run holds it, with all that is needed to use it" if kept else ""
    yield Said(f"The network {known.said('plan.json: model.name')}, SHA-256 {digest[:12]}…{told}.",
               ("plan.json: model.name", "plan.json: model.sha256", *((MODEL,) if kept else ())))


def performance(known: Known) -> Iterator[Said]:
    """Item 23a."""
    accuracy, auc = (known.estimate(f"{_RESULTS}.{name}") for name in ("accuracy", "auc"))
    if accuracy is None:
        return
    told, where = [f"accuracy {share_said(accuracy)}"], [f"{_RESULTS}.accuracy"]
    if auc is not None:
        told, where = [*told, f"AUC {area_said(auc)}"], [*where, f"{_RESULTS}.auc"]
    for name in ("sensitivity", "specificity"):
        if (found := known.estimate(f"{_RESULTS}.{name}")) is not None:
            told, where = [*told, f"{name} {share_said(found)}"], [*where, f"{_RESULTS}.{name}"]
    yield Said(f"{accuracy.n} clean images, 95 % intervals in brackets: {', '.join(told)}.", tuple(where))
    if known.at("plan.json: data.synthetic"):
        yield Said("The images are SYNTHETIC: this says nothing of patients.", ("plan.json: data.synthetic",))
    yield from under_attack(known)


def under_attack(known: Known) -> Iterator[Said]:
    """The accuracy under attack at a few sizes, against the label where that was tried, with intervals."""
    for side in ("label", "prediction"):
        key = f"summary.json: robustness.{side}.at"
        rows = [row for row in known.at(key) or () if row["accuracy"]["value"] is not None]
        if rows:
            told = "; ".join(f"{share_said(Estimate(**rows[place]['accuracy']))} at "
                             f"{show_size_json(rows[place]['size'])}" for place in _spread(len(rows)))
            yield Said(f"Accuracy under attack (against the {side}, all attacks together): {told}.", (key,))
            return


def limits(known: Known) -> Iterator[Said]:
    """Item 26: what the run's own checks hold against it."""
    found = [each for each in known.findings if each["severity"] in ("error", "warning")]
    if found:
        yield findings_said(found)
    if known.at("plan.json: data.synthetic"):
        yield Said("The images are SYNTHETIC.", ("plan.json: data.synthetic",))
    elif known.at("plan.json: data.patients_known") is False:
        yield Said("No patients are known: images of one person may stand in two parts, and intervals may be too "
                   "narrow.", ("plan.json: data.patients_known",))
    chosen = known.said("summary.json: triage.chosen_on")
    if chosen == "test":
        yield Said("The thresholds of triage were seen on the very images that they are judged on.",
                   ("summary.json: triage.chosen_on",))


def robustness(known: Known) -> Iterator[Said]:
    """METRICS item 17: the image changed on purpose, which is one of the ways that it names."""
    tried = attacks_said(known)
    if not tried:
        return
    yield Said(f"Changed images: {tried}, each changing any pixel by at most a stated size, with the settings of "
               "the plan.", ("plan.json: attacks", "summary.json: robustness"))
    yield Said(sentences([known.said("summary.json: verdict") or ""]), ("summary.json: verdict",))
    yield from _median(known)
    yield from under_attack(known)
    hardened = known.said("summary.json: hardening.verdict")
    if hardened:
        yield Said(hardened, ("summary.json: hardening.verdict",))
    passed, failed = known.found(*_SOUND, passed=True), known.found(*_SOUND)
    if passed:
        yield Said(f"{len(passed)} of {len(passed) + len(failed)} checks that the attacks are sound were passed.",
                   tuple(f"findings.json: {each['check']}" for each in passed))
    if (doubts := [*failed, *known.found(*_DOUBTS)]):
        yield findings_said(doubts)


def _median(known: Known) -> Iterator[Said]:
    for side in ("label", "prediction"):
        place = f"summary.json: robustness.{side}.smallest_flip"
        found = known.at(place) or {}
        if found.get("searched") and found.get("images"):
            ends = [number_of(found[end]) for end in ("low", "high")]
            if all(map(math.isfinite, ends)):
                yield Said(f"The median smallest flip of {found['images']} reads has a 95 % interval of "
                           f"{show_size_json(found['low'])} to {show_size_json(found['high'])}.", (place,))
            return


def _spread(count: int) -> list[int]:
    """At most so many places of `count` as are told, the first and the last among them."""
    return sorted({round(float(place)) for place in np.linspace(0, count - 1, min(_SIZES, count))})


def _assessed(known: Known) -> Iterator[Said]:
    if known.parts:
        yield Said(sentences(["Assessed, " + "; ".join(map(known.part_said, known.parts))]), (COUNTED,))


RESULTS: Mapping[str, Answers] = {
    "18e": data_shared, "18f": code_shared, "20a": flow, "20b": characteristics, "20c": beside, "21": analyses,
    "22": specification, "23a": performance, "24": updating, "26": limits}
ROBUSTNESS: Mapping[str, Answers] = {"17": robustness}
