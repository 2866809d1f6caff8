"""What several data sets have to say together, in plain words that are right whichever way the figures fall."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steadyread.metrics.across_sets import findings_of, triage_row
from steadyread.metrics.fragility import tally
from steadyread.metrics.intervals import FEWEST, Estimate
from steadyread.metrics.triage import SMALLEST_FLIP
from steadyread.metrics.verdicts import ALPHA, verdict, way_of
from steadyread.units import number_of
from steadyread.words.answer import flips_told
from steadyread.words.numbers import digits, factor, percent, points, score_name

Summary = Mapping[str, Any]
FAILED, KEPT, UNREAD, CLEAN = "failed", "kept", "unread", "clean"      # of a hardening, beside those of `verdicts`
OUTCOMES = {"better": "steadier", "worse": "less steady", "alike": "no detectable difference", "same": "unchanged",
            "few": "too few patients", FAILED: "failed", KEPT: "start kept", UNREAD: "not assessed",
            CLEAN: "not attacked alike"}
_MOST = 0.5
_HARDENED = (("better", "Hardening made the reads steadier"), ("worse", "Hardening made the reads less steady"),
             ("alike", "Hardening made no detectable difference to the accuracy under attack"),
             ("same", "Hardening left the very same reads right under attack"),
             ("few", "There are too few patients to tell what hardening did to the accuracy under attack"),
             (KEPT, "No epoch of hardening was better than the network it started from, which was kept,"),
             (CLEAN, "No attack was tried both before and after hardening"), (FAILED, "Hardening failed"),
             (UNREAD, "The hardened network has not been assessed yet"))


def sets_answers(found: Summary) -> list[dict[str, str]]:
    """The questions of the page with their answers in a few sentences; only those asked of at least one set."""
    sets, titles = found["sets"], found["titles"]
    if not sets:
        return [{"question": "Nothing yet", "answer": "No data set has been assessed."}]
    told = (("Can these evaluations be trusted?", doubts_answer(sets, titles)),
            ("How small a change flips a read?", flips_answer(sets, titles)),
            ("Which set is the most fragile, all else equal?", fragility_answer(found["fragility"], titles)),
            ("Does hardening help?", hardening_answer(sets, titles)),
            ("Which reads should a human take?", triage_answer(found)))
    return [{"question": question, "answer": answer} for question, answer in told if answer]


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def doubts_answer(sets: Mapping[str, Summary], titles: Mapping[str, str]) -> str:
    """In which sets checks failed; "" where none did. That a hardening failed is the answer to another question."""
    failed = {titles[name]: dict.fromkeys(row["check"] for row in findings_of(one) if row["severity"] == "error"
                                          and not row["check"].endswith("hardening failed"))
              for name, one in sets.items()}
    said = [f"{title} ({', '.join(checks)})" for title, checks in failed.items() if checks]
    return f"The numbers cannot be trusted while checks fail, as they do in {listed(said)}." if said else ""


def flips_answer(sets: Mapping[str, Summary], titles: Mapping[str, str]) -> str:
    """The size at which half of the correct reads have flipped, the most fragile set first."""
    every = {name: flips for name, one in sets.items()
             if (flips := flips_told(one)[0])["searched"] and flips["images"]}
    if not every:
        return "Smallest flips were searched for in no set."
    told = {name: flips for name, flips in every.items() if flips["images"] >= FEWEST}
    few = listed([titles[name] for name in every if name not in told])
    known = {name: float(flips["median"]["of_range"]) for name, flips in told.items()
             if math.isfinite(number_of(flips["median"]))}
    steady = listed([titles[name] for name in told if name not in known])
    said = []
    if known:
        first, *others = sorted(known, key=lambda name: known[name])
        rest = "".join(f", {digits(known[name])} in {titles[name]}" for name in others)
        said.append(f"Half of the correct reads flip at a change of {digits(known[first])} of the range or less in "
                    f"{titles[first]}{rest}.")
    if steady:
        said.append(f"In {steady} fewer than half could be flipped within the sizes searched.")
    if few:
        said.append(f"In {few} fewer than {FEWEST} correct reads could be attacked, too few to say when half flip.")
    return " ".join(said)


def fragility_answer(found: Summary | None, titles: Mapping[str, str]) -> str:
    """The order at equal conditions, and what becomes of [A]'s claim that medical networks are the more fragile."""
    if found is None or not found["rows"]:
        return ""
    known = [row for row in found["rows"] if row["of_range"].value is not None]
    if not known:
        return "At equal conditions no read is right, so none can be flipped."
    ordered = [titles[row["name"]] for row in sorted(known, key=lambda row: row["of_range"].value)]
    if len(ordered) == 1:
        return f"At equal conditions only {ordered[0]} has reads to flip, so there is nothing to set it beside."
    order = f"By share of the range, the medians rank {', '.join(ordered)}, the most fragile first."
    return " ".join([order, *_first_said(known, titles), *claim(found)])


def _first_said(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    """Which sets may be the most fragile by the intervals of their ranks, where the order of medians is no proof."""
    first = [titles[row["name"]] for row in rows if row["rank"] and row["rank"]["low"] == 1]
    return [f"By the 95 % intervals of the ranks, the first could be any of {listed(first)}."] if len(first) > 1 else []


def claim(found: Summary) -> list[str]:
    """Of every pair of a medical and an everyday set, which is the more fragile."""
    counts = tally(found["pairs"])
    total = sum(counts.values())
    told = ((counts["more"], "the medical set is the more fragile"),
            (counts["less"], "the everyday set is the more fragile"),
            (counts["alike"], "no difference is detectable"), (counts["few"], "there are too few patients to tell"))
    parts = [f"in {'all' if count == total else count} {verb}" for count, verb in told if count]
    if total > 1:
        return [f"Measured as a share of the range, of {total} pairs of a medical and an everyday set, {listed(parts)}"
                ". Each interval holds on its own: of twenty pairs that do not differ, one would seem to."]
    return [f"Measured as a share of the range, {next(verb for count, verb in told if count)}."] if total else []


def outcome(one: Summary) -> str | None:
    """What hardening made of a set: "better", "worse", "alike", "same", "few", `FAILED`, `KEPT` (no epoch beat the
    start), `UNREAD` (not assessed yet), `CLEAN` (only clean reads compare); None where it was not hardened.
    """
    told = one["hardening"]
    if told is None:
        return None
    if told["failed"]:
        return FAILED
    if told["training"].get("chosen_epoch") == 0:
        return KEPT
    if told["compared"] is None:
        return UNREAD
    return way_of(told["headline"].contrast) if told["headline"] else CLEAN


def hardening_answer(sets: Mapping[str, Summary], titles: Mapping[str, str]) -> str:
    """In which sets hardening made the reads steadier, in which not, and what became of the clean accuracy."""
    ways = {name: found for name, one in sets.items() if (found := outcome(one)) is not None}
    said = []
    for wanted, words in _HARDENED:
        names = [name for name, told in ways.items() if told == wanted]
        shown = [titles[name] + (_before_after(sets[name]) if wanted in ("better", "worse") else "")
                 for name in names]
        if names:
            said.append(f"{words} in {listed(shown)}.")
    return " ".join([*said, *_flips(sets, titles, ways), *_clean(sets, titles, ways)])


def _flips(sets: Mapping[str, Summary], titles: Mapping[str, str], ways: Mapping[str, str]) -> list[str]:
    """In which sets most smallest flips grew or shrank, which tells more than the accuracy at one size does."""
    told = {name: flips for name, ended in ways.items() if ended not in (FAILED, KEPT, UNREAD)
            and (flips := sets[name]["hardening"]["compared"]["flips"])["searched"] and flips["images"]}
    said = []
    for side in ("larger", "smaller"):
        names = [f"{titles[name]}{_factor(flips['ratio'])}" for name, flips in told.items()
                 if flips["p"] < ALPHA and flips[side].low is not None and flips[side].low > _MOST]
        if names:
            said.append(f"Most reads now take a {side} change to flip in {listed(names)}.")
    return said


def _factor(ratio: Estimate) -> str:
    """` (× 2.7)` with no break in it, the median of the sizes after over before."""
    if ratio.value is None or math.isinf(ratio.value):
        return " (most are no longer flipped at all)" if ratio.value is not None else ""
    return f" (×\u00a0{factor(ratio.value)})"


def _before_after(one: Summary) -> str:
    """` (26.9 % right before and 67.7 % after, under changes of 0.002 of the range)`; empty where no size is told."""
    told = one["hardening"]
    row = told["headline"]
    if row is None:
        return ""
    return (f" ({percent(row.contrast.before.value)} right before and {percent(row.contrast.after.value)} "
            f"after, under {'changes of' if row.exact else 'the attacks tried at'} "
            f"{digits(float(row.size['of_range']))} of the range)")


def _clean(sets: Mapping[str, Summary], titles: Mapping[str, str], ways: Mapping[str, str]) -> list[str]:
    """What became of the clean accuracy, where a hardened network was kept."""
    rows = {name: sets[name]["hardening"]["compared"]["clean"] for name, told in ways.items()
            if told not in (FAILED, KEPT, UNREAD)}
    if not rows:
        return []
    ways_, shown = _grouped(rows, way_of), {name: f"{titles[name]} ({points_of(row.difference)})"
                                         for name, row in rows.items()}
    said = [f"{words} {listed([shown[name] for name in ways_[wanted]])}."
            for wanted, words in (("worse", "It cost clean accuracy in"), ("better", "The clean accuracy rose in"))
            if wanted in ways_]
    if not said and set(ways_) == {"same"}:
        return ["The very same clean images are read right as before."]
    return said or ["There is neither a detectable gain nor a detectable loss of clean accuracy."]


def triage_answer(found: Summary) -> str:
    """What withholding the most fragile reads gains, and whether any score beats the margin, which is free."""
    rows = {name: row for name, one in found["sets"].items() if (row := triage_row(one, SMALLEST_FLIP)) is not None
            and row["change"].value is not None}
    if not rows:
        return ""
    titles, share = found["titles"], next(iter(found["sets"].values()))["triage"]["share"]
    ways = _grouped({name: row["change"] for name, row in rows.items()}, verdict)
    words = (("better", "raises the accuracy of the others in"), ("worse", "lowers the accuracy of the others in"),
             ("alike", "makes no detectable difference in"),
             ("few", "cannot be judged for want of patients in"))
    parts = [f"{verb} {listed([titles[name] + _of_change(rows[name]['change'], way_) for name in ways[way_]])}"
             for way_, verb in words if way_ in ways]
    return " ".join([f"Withholding the reads with the smallest flips, {percent(share, 0)} of those that the threshold "
                     f"was chosen on, {'; it '.join(parts)}.", *beside_margin(found)])


def beside_margin(found: Summary) -> list[str]:
    """For the smallest flip, then the further scores: in which sets they beat the margin, or lose to it."""
    rows = [row for row in found["scores"] if not row["perfect"]]
    if found["scores"] and not rows:
        return ["No read is wrong in any set, so no score can be judged by how it sorts right from wrong."]
    said = []
    flips = [row for row in rows if row["score"] == SMALLEST_FLIP]
    if flips:
        said.append("Compared with the margin, which is free, the smallest flip sorts right from wrong "
                    f"{_ways(flips, found)}.")
    others = [name for name in dict.fromkeys(row["score"] for row in rows)
              if name not in (SMALLEST_FLIP, "entropy")]
    for way_, verb in (("better", "The margin is beaten by"), ("worse", "The margin beats")):
        held = {name: [found["titles"][row["set"]] for row in rows if (row["score"], row["way"]) == (name, way_)]
                for name in others}
        told = [f"{lowered(score_name(name))} (in {listed(names)})" for name, names in held.items() if names]
        if told:
            said.append(f"{verb} {listed(told)}.")
        elif others and way_ == "better":
            said.append(f"No further score ({listed([lowered(score_name(name)) for name in others])}) beats it in "
                        "any set.")
    return said


def conditions_said(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the sets at equal conditions have in common: `images of 32 × 32, network vgg16 of 1,000 parameters`."""
    sizes = {"\u00a0×\u00a0".join(map(str, row["size"] or ())) for row in rows}
    models = {str(row["model"]) for row in rows if row["model"]}
    counts = sorted({int(row["parameters"]) for row in rows if row["parameters"] is not None})
    said = []
    if len(sizes) == 1 and "" not in sizes:
        said.append(f"images of {next(iter(sizes))}")
    if models:
        ends = dict.fromkeys([f"{counts[0]:,}", f"{counts[-1]:,}"]) if counts else ()
        of = f" of {' to '.join(ends)} parameters" if ends else ""
        said.append(f"{'network' if len(models) == 1 else 'networks'} {listed(sorted(models))}{of}")
    return ", ".join(said)


def points_of(difference: Estimate) -> str:
    """`+3.2 points`."""
    return f"{points(difference.value)} points"


def lowered(name: str) -> str:
    """A name within a sentence."""
    return name[:1].lower() + name[1:]


def _ways(rows: Sequence[Mapping[str, Any]], found: Summary) -> str:
    """`better in a; worse in b; without a detectable difference in c`, by interval and Holm's p."""
    words = (("better", "better in"), ("worse", "worse in"), ("alike", "without a detectable difference in"),
             ("same", "just as it does in"), ("few", "with too few patients to tell in"))
    return "; ".join(f"{said} {listed([found['titles'][row['set']] for row in rows if row['way'] == wanted])}"
                     for wanted, said in words if any(row["way"] == wanted for row in rows))


def _of_change(change: Estimate, way_: str) -> str:
    return f" ({points_of(change)})" if way_ in ("better", "worse") else ""


def _grouped(told: Mapping[str, Any], way_of: Callable[[Any], str]) -> dict[str, list[str]]:
    """Names by what `way_of` says of them."""
    groups: dict[str, list[str]] = {}
    for name, one in told.items():
        groups.setdefault(way_of(one), []).append(name)
    return groups
