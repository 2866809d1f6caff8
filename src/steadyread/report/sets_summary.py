"""Everything that the page of several data sets prints, from their stored files, as one nested dictionary."""

from collections.abc import Mapping
from typing import Any

from steadyread._version import __version__
from steadyread.metrics.across_sets import SIZES, scores_by_set
from steadyread.metrics.balanced import balanced_under_attack
from steadyread.metrics.fragility import Alike, fragility
from steadyread.metrics.hardened import Hardened
from steadyread.metrics.hardening import Compared, compared
from steadyread.metrics.intervals import share
from steadyread.metrics.plan import bounds_of, exact_up_to
from steadyread.metrics.summary import REFERENCES, judged_by
from steadyread.report.hardening_stored import plain_side, searched_by_both
from steadyread.report.papers import paper
from steadyread.report.plain import Plain
from steadyread.report.sets_stored import StoredSet, StoredSets
from steadyread.report.stored import Run
from steadyread.units import size_json
from steadyread.words.sets import sets_answers

Told = dict[str, Any]


def summarise_sets(stored: StoredSets, seed: int = 0) -> Told:
    """The summary of a study of several data sets: `Estimate`s inside, plain values by `metrics.summary.as_json`.

    `sets` have each assessed set's own summary and beside it `title`, `failed`, `equal_findings`, `size`, `hardening`
    and `hardened_at` (accuracies at the sizes of [A] Table 1 before and after hardening, both references); `absent`
    says why other sets have none; beside paper [A] `balanced` has a set's balanced accuracies. `fragility` is None
    where no set was run at equal conditions. `answers` are sentences.

    Raises:
        InputRefused: a run's stored files do not fit each other.
    """
    sets = {one.name: _of_set(one, one.plain, seed) for one in stored.sets if one.plain is not None}
    if beside_of(stored) == "A":      # whose test parts are balanced
        sets = {name: {**each, "balanced": _balanced(stored.assessed[name][1])} for name, each in sets.items()}
    study = stored.study
    found: Told = {
        "steadyread": __version__, "name": study.get("name"), "scale": study.get("scale"), "sets": sets,
        "titles": {one.name: one.title for one in stored.sets},
        "absent": {one.name: one.why for one in stored.sets if one.plain is None},
        "synthetic": [name for name, one in sets.items() if one["synthetic"]],
        "fragility": _fragility(stored, seed), "scores": scores_by_set(sets),
        "beside": beside_of(stored)}
    return found | {"answers": sets_answers(found)}


def _of_set(one: StoredSet, plain: Plain, seed: int) -> Told:
    known = {(each["check"], each["message"]) for each in plain.run.findings}
    main = plain.hardened[0] if plain.hardened else None
    return {**plain.summary, "title": one.title, "failed": one.failed, "size": (one.images or {}).get("size"),
            "hardening": plain.hardening,
            "equal_findings": [each for each in (one.equal.findings if one.equal else ())
                               if (each["check"], each["message"]) not in known],
            "hardened_at": {against: _at(plain_side(plain.run), main, against, seed) for against in REFERENCES}
            if main is not None and main.reads is not None else None}


def _balanced(run: Run) -> list[Told]:
    """The balanced accuracy, clean and under each attack, against the prediction."""
    return [{"attack": row["attack"], "size": size_json(row["level"], run.bounds), "accuracy": row["accuracy"]}
            for row in balanced_under_attack(run.reads, "prediction")]


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


def _alike(one: StoredSet, equal: Run, medical: bool | None) -> Alike:
    found, patients = judged_by(equal.reads, "label")
    known = equal.reads.known
    return Alike(one.name, found, patients, equal.bounds,
                 share(equal.reads.correct[known], equal.reads.patients[known]),
                 medical, exact_up_to(equal.plan, equal.reads, "label"))


def _condition(one: StoredSet, equal: Run) -> Told:
    """What may still differ between sets at equal conditions."""
    plan = equal.plan
    data: Mapping[str, Any] = plan.get("data") or {}
    model: Mapping[str, Any] = plan.get("model") or {}
    return {"name": one.name, "size": (one.equal_images or {}).get("size"), "model": model.get("name"),
            "parameters": model.get("parameters"), "classes": len(data.get("classes") or ())}
