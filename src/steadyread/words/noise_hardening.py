"""What hardening against CT noise did, in plain words that are right whichever way it went."""

from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.published import DOSES, adapted_san_printed
from steadyread.metrics.reads import RANDOM
from steadyread.metrics.verdicts import way_of
from steadyread.words.hardening import difference_said, doubt_said
from steadyread.words.noise import short_name
from steadyread.words.numbers import digits, p_shown, percent

Found = Mapping[str, Any]
Row = Mapping[str, Any]
_PAPER_MAS = 100.0
_KINDS = {
    "adaptive": "[B]'s Algorithm 2: in each round every training image is attacked by {noise}, {times} at each "
                "dose; what changed its read joins the training set with its true label, and the network is "
                "fine-tuned.",
    "fresh": "{share} of the images of every batch are attacked anew by {noise}, against the network as it is at "
             "that step.",
    "augment": "{share} of the images of every batch get noise drawn at random.",
    "pgd": "{share} of the images of every batch are attacked by PGD: any change of a pixel up to a size, not "
           "noise.",
    "clean": "The control: as much further training, without noise.",
    "drift": "No training: what random noise of a dose does to the logit on average is taken off again.",
    "none": "No training: the network as it is."}
_OF_DOSES = ("adaptive", "fresh", "augment")
_NAMES = {"adaptive": "adaptive training", "before": "before"}


def hardened_name(name: str) -> str:
    """A method's name within a sentence: the study's own word, but for the paper's."""
    return _NAMES.get(name, name.replace("_", " "))


def step_name(name: str, number: int | None, found: Found) -> str:
    """A step of [B] Tables 4 and 5: `before`, `adaptive training, round 1`, or another method's name."""
    rounds = max((step["round"] or 0 for step in found["steps"]), default=0)
    if not number or rounds < 2:
        return hardened_name(name)
    return f"{hardened_name(name)}, round {number}"


def method_said(row: Row) -> str:
    """How a method teaches, in a sentence or two, from its kind and what its training states."""
    kind, told = row["method"] or "", row["training"]
    said = _KINDS.get(kind, "How it was trained is not stored.")
    noise = {"random": "noise drawn at random", None: "noise"}.get(
        told["noise"], f"optimised noise ({told['noise']})")
    share = "a share" if told["share"] is None else f"{100 * told['share']:g} %"
    times = "once" if (told["starts"] or 1) == 1 else f"{told['starts']} times"
    said = said.format(noise=noise, share=share, times=times)
    doses = ", ".join(f"{mas:g}" for mas in told["mas"] or ()) if kind in _OF_DOSES else ""
    return f"{said} Doses taught: {doses} mAs." if doses else said


def doubt_of(found: Found) -> str:
    """What takes the main method's figures back: checks of its networks that failed; empty without any."""
    return doubt_said(list(dict.fromkeys(one["check"] for one in found["findings"]
                                         if one["severity"] == "error" and found["main"] in one["methods"])))


def main_said(found: Found) -> str:
    """What the main method did to the flips, and whether it at least halved them."""
    row = _main(found)
    if row is None or not found["judged"] or not row["folds"]:
        return _unjudged(found, row)
    if row["san"] is None:
        return (f"No attack was tried on the networks before and after {hardened_name(row['name'])} alike, so what "
                "it did to the flips cannot be told.")
    return " ".join(filter(None, [_flips_said(found, row), _silent_said(row), halved_said(row)]))


def halved_said(row: Row) -> str:
    """Whether the flips were at least halved; empty where there is nothing to say it of."""
    ratio: Estimate = row["san"].ratio
    if row["silent"] or ratio.value is None or row["way"] in ("same", "worse"):
        return ""
    times = f"{digits(ratio.value)} times as many as before{_ends(ratio)}"
    return {"yes": f"That is less than half: {times}.", "no": f"They are not halved: {times}.",
            "unclear": f"Whether they are halved cannot be told: {times}.",
            "few": f"They are {digits(ratio.value)} times as many as before."}[row["halved"]]


def reads_said(found: Found) -> str:
    """What became of the reads themselves: AUC, and the reads that are right and stay so."""
    row = _main(found)
    if row is None or not row["auc"] or row["auc"].difference.value is None:
        return ""
    auc, cost = row["auc"], f"{found['auc_cost']:g}"
    change: Estimate = auc.difference
    told = (f"The AUC is {auc.after.value:.3f} and was {auc.before.value:.3f} (difference "
            f"{_signed(change.value)}{_interval(change)})")
    kept = {"yes": f": no more is lost than the {cost} allowed.", "no": f": more is lost than the {cost} allowed.",
            "unclear": f"; whether more is lost than the {cost} allowed cannot be told.",
            "few": "; too few patients for an interval."}[row["auc_kept"]]
    return f"{told}{kept}{_robust_said(found, row)}"


def best_said(found: Found) -> str:
    """Which of several methods left the fewest flips at the AUC allowed, beside the main one; empty with one."""
    best = found["best"]
    if best is None:
        return ""
    rows = {row["name"]: row for row in found["methods"]}
    row, judged = rows[best["name"]], sum(row["san"] is not None for row in rows.values())
    after, auc = percent(row["san"].after.value), _signed(row["auc"].difference.value)
    where = (f"Of the {judged} methods judged, those whose AUC fell by no more than {found['auc_cost']:g} taken, "
             if best["within_cost"] else
             f"No method kept its AUC within {found['auc_cost']:g}; of the {judged} judged, ")
    first = f"{where}{_quoted(best['name'])} leaves the fewest flips ({after}; its AUC changed by {auc})"
    doubt = f" {undercounted_said(row)}" if undercounted_said(row) else ""
    first = f"{first}, picked on these very reads"
    if row["way"] != "better":
        return f"{first}, no fewer than before beyond doubt.{_unequal(row)}{doubt}"
    paired = best["san"]
    between = "" if paired is None else (f", {difference_said(paired.difference)} against "
                                         f"{_quoted(best['against'])}")
    fewest = "" if best["fewest"] == best["name"] else (
        f" {_quoted(best['fewest'])} leaves fewer ({percent(rows[best['fewest']]['san'].after.value)}; AUC "
        f"{_signed(rows[best['fewest']]['auc'].difference.value)}).")
    return f"{first}{between}.{_unequal(row)}{fewest}{doubt}"


def controls_said(found: Found) -> str:
    """Whether the main method and the best one do more than further training without optimised noise."""
    words = {"better": "fewer flips", "worse": "more flips", "alike": "no detectable difference",
             "same": "no difference", "few": "too few patients"}
    told = [f"{_quoted(row['name'])} against {_quoted(row['control'])}: {words[row['way']]} "
            f"({difference_said(row['san'].difference)}, p = {p_shown(row['p_holm'])})"
            for row in found["controls"]]
    said = "; ".join(told).replace("p = <", "p <")
    return f"Against further training without optimised noise: {said}." if told else ""


def claim_said(found: Found) -> str:
    """Whether [B]'s claim, that adaptive training reduces flips, holds here; empty where it was not tried."""
    row = _adaptive(found)
    if row is None or row["san"] is None or row["silent"] or found["attack"] == RANDOM:
        return ""
    control = next((one for one in found["controls"]
                    if (one["name"], one["method"]) == (row["name"], "clean")), None)
    alone = {None: "holds here too, as far as networks before and after tell (no control was trained)",
             "better": "holds here too, and as much further training without noise does less",
             "alike": "cannot be told from what as much further training without noise does",
             "same": "cannot be told from what as much further training without noise does",
             "few": "cannot be tested against further training on so few patients",
             "worse": "does not hold here: as much further training without noise does more"}
    held = {"better": alone[control["way"] if control else None],
            "worse": "does not hold here: the flips became more",
            "alike": "is not confirmed here: no difference can be told",
            "same": ("cannot be tested here: no read flips before it" if row["san"].before.value == 0 else
                     "is not confirmed here: nothing changed"), "few": "cannot be tested on so few patients"}
    course = " → ".join(percent(value).removesuffix(" %") for value in _course(found, row))
    return (f"[B]'s claim that adaptive training reduces flips ({_printed(found)}) {held[row['way']]} ({course} % "
            f"of the {_reads(found)} at {found['stated_mas']:g} mAs, under our own search).{_by_round_said(row)}")


def lost_said(row: Row) -> str:
    """That fewer flips came with fewer right reads."""
    return (f"{_quoted(row['name'])}: fewer reads flip, but no more are right and stay so "
            f"({percent(row['robust'].after.value)} after, {percent(row['robust'].before.value)} before): "
            "the reads were lost, not made steadier.")


def silent_said(row: Row, folds: int) -> str:
    """That a network has stopped reading, or never did."""
    which = "every fold" if len(row["silent"]) >= folds else f"fold {', '.join(map(str, row['silent']))}"
    return (f"{_quoted(row['name'])}: the network of {which} reads all images as one and the same class. It "
            + ("did so before, and" if set(row["silent"]) <= set(row["silent_before"]) else
               "has stopped reading, and") + " its steadiness is worth nothing.")


def unequal_said(row: Row) -> str:
    """That K differs before and after, and what was done about it; empty where it does not."""
    trials = row["trials"]
    if not trials or trials["before"] == trials["after"]:
        return ""
    done = (f"compared at K = {trials['compared']}" if trials["compared"] else
            "not compared, since searches that stop at a flip allow no smaller K")
    return (f"{_quoted(row['name'])}: K is {trials['before']} before and {trials['after']} after; "
            f"{done}.")


def undercounted_said(row: Row) -> str:
    """That a network is hard to search rather than steady: a search ten times as long finds a quarter more flips,
    or other noise flips reads that the search should have flipped; empty where neither is so."""
    told, harder, missed = [], row["harder"], row.get("missed")
    if harder and harder["flips_more"] > 1.25 * harder["flips"] and harder["flips_more"] - harder["flips"] >= 3:
        told.append(f"ten times the gradients flip {harder['flips_more']} of {harder['images']} reads, the search "
                    f"by which it is judged {harder['flips']}")
    if missed and missed["missed"] > 0.02 * missed["reads"]:
        told.append(f"noise that the search might have made flips {missed['missed']} of {missed['reads']} reads "
                    "that it did not")
    return "" if not told else (f"{_quoted(row['name'])}: {'; '.join(told)}. It is harder to search, and its flips "
                                "are undercounted.")


def _flips_said(found: Found, row: Row) -> str:
    san, name = row["san"], hardened_name(row["name"])
    name = name[:1].upper() + name[1:]
    after, before = percent(san.after.value), percent(san.before.value)
    told = f"{difference_said(san.difference)}, p = {p_shown(row['p_holm'])}".replace("p = <", "p <")
    reads = f"{after} of the {_reads(found)} flip under {under(found)} after it and {before} before"
    return {"better": f"{name} made the reads steadier: {reads} ({told}).",
            "worse": f"{name} made the reads less steady: {reads} ({told}).",
            "alike": f"{name} made no detectable difference to the flips: {reads} ({told}).",
            "same": (f"None of the {_reads(found)} flips under {under(found)}, neither before "
                     f"{name[:1].lower() + name[1:]} nor after it." if san.before.value == 0 else
                     f"{name} changed no flip: {reads}, the very same ones."),
            "few": f"Whether {name[:1].lower() + name[1:]} made the reads steadier cannot be told from so few "
                   f"patients: {reads}."}[row["way"]]


def under(found: Found) -> str:
    """The noise that the figures are of: `optimised noise (rings) at 100 mAs`."""
    attack = str(found["attack"])
    kind = "random noise" if attack == RANDOM else f"optimised noise ({short_name(attack)})"
    return f"{kind} at {found['stated_mas']:g} mAs"


def _robust_said(found: Found, row: Row) -> str:
    robust = row["robust"]
    if robust is None or robust.difference.value is None:
        return ""
    if row["lost_reads"]:
        return " " + lost_said(row)
    return (f" Right, and not flipped by that noise, are {percent(robust.after.value)} of the {_reads(found)} "
            f"after it and {percent(robust.before.value)} before "
            f"({difference_said(robust.difference)}).")


def _silent_said(row: Row) -> str:
    return f"But {silent_said(row, len(row['folds']))}" if row["silent"] else ""


def _unjudged(found: Found, row: Row | None) -> str:
    if row is None:
        return "No hardening has been run yet."
    if row["failed"]:
        said = row["failed"][0]["said"].strip().rstrip(".")
        return f"Hardening by {hardened_name(row['name'])} failed (fold {row['failed'][0]['fold']}): {said}."
    missing = "before" if not found["judged"] else f"after {hardened_name(row['name'])}"
    return f"The networks {missing} have not been judged yet, so nothing can be compared."


def _unequal(row: Row) -> str:
    """A clause where the best method did not cost what the main one did."""
    return "" if row["equal_cost"] is not False else f" It took {digits(row['cost'])} times the main one's passes."


def _main(found: Found) -> Row | None:
    return next(iter(found["methods"]), None)


def _adaptive(found: Found) -> Row | None:
    """The paper's scheme: the main method where it is that, else the one so called, else the first of its kind."""
    kind = [row for row in found["methods"] if row["method"] == "adaptive"]
    return next((row for row in kind if row["name"] in (found["main"], "adaptive")), next(iter(kind), None))


def _course(found: Found, row: Row) -> Sequence[float | None]:
    """SAN at the stated dose before and after each recorded round; before and after where no round is."""
    steps = {step["round"]: step["cells"] for step in found["steps"]
             if (step["attack"], step["part"]) == (found["attack"], found["part"])
             and step["name"] in (row["name"], "before") and step["round"] is not None}
    key = f"{found['stated_mas']:g}"
    told = [cells[key]["san"].value for _, cells in sorted(steps.items()) if key in cells]
    return told if len(told) > 1 else [row["san"].before.value, row["san"].after.value]


def _by_round_said(row: Row) -> str:
    """Which rounds made a difference of their own, where there are several."""
    if len(row["by_round"]) < 2:
        return ""
    words = {"better": "fewer flips", "worse": "more flips", "alike": "no detectable difference",
             "same": "no difference", "few": "too few patients"}
    said = "; ".join(f"round {one['round']}: {words[way_of(one['san'], lower_is_better=True)]}"
                     for one in row["by_round"])
    return f" Against the round before, {said}."


def _printed(found: Found) -> str:
    dose = found["stated_mas"] if found["stated_mas"] in DOSES else _PAPER_MAS
    part = found["part"] if found["part"] in ("train", "test") else "test"
    course = [adapted_san_printed(part, rounds, dose) for rounds in range(3)]
    return f"{' → '.join(f'{one.mean:.1f}' for one in course if one)} % at {dose:g} mAs in {part}"


def _reads(found: Found) -> str:
    return "test reads" if found["part"] == "test" else "reads"


def _quoted(name: str) -> str:
    return f"“{name.replace('_', ' ')}”"


def _ends(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 %: {digits(found.low)} to {digits(found.high)})"


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f", 95 % {_signed(found.low)} to {_signed(found.high)}"


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    rounded = round(value, 3) + 0.0
    return f"{'+' if rounded > 0 else ''}{rounded:.3f}".replace("-", "−")


def hardening_words(found: Found) -> dict[str, Any]:
    """What is said of a summary of `summarise_noise_hardening`: sentence by sentence, and all of them."""
    said = {"main": main_said(found) + doubt_of(found), "reads": reads_said(found),
            "controls": controls_said(found),
            "best": best_said(found), "claim": claim_said(found)}
    return {"said": said, "verdict": " ".join(filter(None, said.values()))}
