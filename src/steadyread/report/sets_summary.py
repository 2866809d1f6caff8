"""Everything that the page of several data sets prints, from their stored files, as one nested dictionary."""

from collections.abc import Mapping
from typing import Any

from steadyread._version import __version__
from steadyread.metrics.across_sets import SIZES, at_common_sizes, scores_by_set, where_it_stops
from steadyread.metrics.fragility import Alike, fragility
from steadyread.metrics.hardened import Hardened
from steadyread.metrics.hardening import Compared, compared
from steadyread.metrics.intervals import share
from steadyread.metrics.plan import bounds_of, exact_up_to
from steadyread.metrics.summary import REFERENCES, judged_by, summarise
from steadyread.report.hardening_stored import hardening_summary, plain_side, searched_by_both
from steadyread.report.papers import paper
from steadyread.report.sets_stored import StoredSet, StoredSets
from steadyread.report.stored import Assessed
from steadyread.words.hardening import method_name
from steadyread.words.plain import with_words
from steadyread.words.sets import believed_said, beside_margin, conditions_said, listed, sets_answers

Told = dict[str, Any]


def summarise_sets(stored: StoredSets, seed: int = 0) -> Told:
    """The summary of a study of several data sets: `Estimate`s inside, plain values by `metrics.summary.as_json`.

    `sets` have each assessed set's own summary and beside it `title`, `failed`, `equal_findings`, `size`,
    `at` (accuracies at the sizes of [A] Table 1), `stops`, `hardening` and `hardened_at` (the same before and after
    hardening, both references); `absent` says why other sets have none. `fragility` is None where no set was run at
    equal conditions. `answers` are sentences, and `verdict` all of them.

    Raises:
        InputRefused: a run's stored files do not fit each other.
    """
    sets = {name: one.shared.tree(_of_set(one, plain, seed)) for name, (one, plain) in stored.assessed.items()}
    study = stored.study
    found: Told = {
        "steadyread": __version__, "name": study.get("name"), "scale": study.get("scale"), "sets": sets,
        "titles": {one.name: one.title for one in stored.sets},
        "absent": {one.name: one.why for one in stored.sets if one.plain is None},
        "synthetic": [name for name, one in sets.items() if one["synthetic"]],
        "fragility": _fragility(stored, seed), "scores": scores_by_set(sets),
        "beside": beside_of(stored)}
    answers = sets_answers(found)
    return found | _said(found) | {"answers": answers, "verdict": " ".join(each["answer"] for each in answers)}


def _said(found: Told) -> Told:
    """Small things that the page says of all sets."""
    sets, titles, equal = found["sets"], found["titles"], found["fragility"]
    return {"synthetic_said": listed([titles[name] for name in found["synthetic"]]),
            "missing_said": listed([titles[name] for name in equal["missing"]]) if equal else "",
            "equal_said": conditions_said(equal["conditions"]) if equal else "",
            "asked": {against: any(one["robustness"][against]["attacks"]
                                   or one["robustness"][against]["smallest_flip"]["searched"]
                                   for one in sets.values()) for against in REFERENCES},
            "withheld": next((one["triage"]["share"] for one in sets.values()), None),
            "chosen_on": sorted({one["triage"]["chosen_on"] for one in sets.values()}),
            "methods": listed(sorted({method_name(one["hardening"]["training"].get("method"))
                                      for one in sets.values() if one["hardening"]})),
            "hardened_against": " or ".join(sorted({one["hardening"]["compared"]["against"] for one in sets.values()
                                                    if (one["hardening"] or {}).get("compared")})),
            "believed": believed_said(sets), "beside_margin": " ".join(beside_margin(found))}


def _of_set(one: StoredSet, plain: Assessed, seed: int) -> Told:
    run, reads, bounds = plain.run, plain.reads, plain.bounds
    told = with_words(summarise(run.table, run.plan, run.findings, run.training, seed))
    told |= {"title": one.title, "failed": one.failed, "size": (one.images or {}).get("size"),
             "at": {against: at_common_sizes(reads, against, exact_up_to(run.plan, reads, against), bounds)
                    for against in REFERENCES},
             "stops": where_it_stops(told), "hardening": hardening_summary(plain, one.hardened, seed)}
    known = {(each["check"], each["message"]) for each in run.findings}
    told["equal_findings"] = [each for each in (one.equal.run.findings if one.equal else ())
                              if (each["check"], each["message"]) not in known]
    main = one.hardened[0] if one.hardened else None
    return told | {"hardened_at": {against: _at(plain_side(plain), main, against, seed) for against in REFERENCES}
                   if main is not None and main.reads is not None else None}


def _at(before: Hardened, after: Hardened, against: str, seed: int) -> list[Compared]:
    """Before and after hardening at the sizes of [A] Table 1, on the same images."""
    assert before.reads is not None
    assert after.reads is not None
    bounds = bounds_of(before.plan)
    sizes = [size * bounds.range for size in SIZES]
    rows: list[Compared] = compared(before.reads, after.reads, sizes, bounds, seed, against=against,
                                    limit=searched_by_both(before, after, against))["rows"]
    return rows


def _fragility(stored: StoredSets, seed: int) -> Told | None:
    """The sets at equal conditions, None where there are none; `conditions` says what each was run with."""
    held = {one.name: (one, one.equal) for one in stored.sets if one.equal is not None}
    if not held:
        return None
    searched = {name: pair for name, pair in held.items() if pair[1].reads.smallest_flip("label") is not None}
    medical = paper("A").medical if beside_of(stored) == "A" else {}
    found = fragility([_alike(one, equal, medical.get(one.name)) for one, equal in searched.values()], seed)
    missing = [one.name for one in stored.sets if one.name not in searched]
    return found | {"missing": missing, "conditions": [_condition(one, equal) for one, equal in searched.values()]}


def beside_of(stored: StoredSets) -> str | None:
    """The paper that the study repeats."""
    return next((str(one.settings["beside"]) for one in stored.sets if one.settings.get("beside")), None)


def _alike(one: StoredSet, equal: Assessed, medical: bool | None) -> Alike:
    found, patients = judged_by(equal.reads, "label")
    known = equal.reads.known
    return Alike(one.name, found, patients, equal.bounds,
                 share(equal.reads.correct[known], equal.reads.patients[known]),
                 medical, exact_up_to(equal.run.plan, equal.reads, "label"))


def _condition(one: StoredSet, equal: Assessed) -> Told:
    """What may still differ between sets at equal conditions."""
    plan = equal.run.plan
    data: Mapping[str, Any] = plan.get("data") or {}
    model: Mapping[str, Any] = plan.get("model") or {}
    return {"name": one.name, "size": (one.equal_images or {}).get("size"), "model": model.get("name"),
            "parameters": model.get("parameters"), "classes": len(data.get("classes") or ())}
