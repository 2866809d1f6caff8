"""What hardening did, in plain words that are right whichever way it went and whatever it hardened against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.contrasts import Contrast
from steadyread.metrics.hardening import Compared, headline
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import CT_NOISE, RANDOM, noise_attack
from steadyread.metrics.verdicts import Verdict, way_of
from steadyread.registry import METHODS
from steadyread.words.noise import short_name
from steadyread.words.numbers import counted, digits, factor, p_shown, percent, points, show_size_json

Pairs = Mapping[str, Any]        # of `metrics.hardening.compared`
Found = Mapping[str, Any]        # of `metrics.hardening_methods.summarise_methods`
Row = Mapping[str, Any]          # of one of its methods
_UNTAUGHT = {"drift": "No training: what random noise of a dose does to the logit on average is taken off again.",
             "none": "No training: the network as it is."}
_NAMES = {"adaptive": "adaptive training", "before": "before"}
_FLIPS = {"better": "fewer flips", "worse": "more flips", "alike": "no detectable difference", "same": "no difference",
          "few": "too few patients"}


def method_name(method: str | None) -> str:
    """A hardening's name as the literature writes it."""
    return METHODS.title(method or "hardening")


def hardened_name(name: str) -> str:
    """A hardening's name within a sentence: the study's own word, but for the paper's."""
    return _NAMES.get(name, name.replace("_", " "))


def step_name(name: str, number: int | None, found: Found) -> str:
    """Before, a method, or one after a round: `before`, `adaptive training, round 1`."""
    rounds = max((step["round"] or 0 for step in found["steps"]), default=0)
    if not number or rounds < 2:
        return hardened_name(name)
    return f"{hardened_name(name)}, round {number}"


def steadier_said(subject: str, way: Verdict, reads: str, told: str, same: str, few: str) -> str:
    """What became of the reads under attack, a sentence for each way: `reads` are the shares before and after, `told`
    their difference; `same` is the whole sentence where no read changed, `few` says what was too little to tell."""
    return {"better": f"{subject} made the reads steadier: {reads} ({told}).",
            "worse": f"{subject} made the reads less steady: {reads} ({told}).",
            "alike": f"{subject} made no detectable difference: {reads} ({told}).", "same": same,
            "few": f"Whether {_lowered(subject)} made the reads steadier cannot be told from {few}: {reads}."}[way]


def difference_said(difference: Estimate) -> str:
    """A difference with its interval: `+40.8 points, 95 % interval +35.1 to +46.0`."""
    if difference.low is None or difference.high is None:
        return f"{points(difference.value)} points"
    return (f"{points(difference.value)} points, 95 % interval {points(difference.low)} to "
            f"{points(difference.high)}")


def area_change_said(difference: Estimate) -> str:
    """A difference of AUC with its interval: `-0.012, 95 % -0.030 to +0.006`."""
    if difference.low is None or difference.high is None:
        return _signed(difference.value)
    return f"{_signed(difference.value)}, 95 % {_signed(difference.low)} to {_signed(difference.high)}"


def doubt_said(failed: Sequence[str]) -> str:
    """What takes a gain back: the checks of the hardened network's evaluation that failed; empty without any."""
    return (" But this cannot be trusted while these checks of the hardened network fail: "
            f"{', '.join(failed)}.") if failed else ""


def partly_said(training: Mapping[str, Any]) -> str:
    """In which folds it failed, where others have a hardened network; empty where there are none."""
    if not training.get("partly"):
        return ""
    few, folds = training["folds_failed"]
    return (f" In {few} of {folds} folds it failed, and the network was left as it was: "
            f"{str(training['partly']).rstrip('.')}.")


def failure(training: Mapping[str, Any] | None, found: Pairs | None) -> str | None:
    """Why a hardening is none, in one or two sentences; None where it is one."""
    if training and training.get("failed"):
        sentence = str(training["failed"]).strip()
        return f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}. No gain is claimed."
    if found and found["classes"]["after"] == 1 < found["classes"]["label"]:
        if found["classes"]["before"] == 1:
            return ("The network reads every image as one and the same class, before hardening and after it: its "
                    "steadiness is worth nothing.")
        return ("After hardening every image is read as one and the same class: the network has stopped reading, "
                "and its steadiness is worth nothing.")
    return None


def hardening_verdict(found: Pairs | None, training: Mapping[str, Any] | None,
                      epsilon: float | None = None, unit: str = "patient") -> str:
    """What hardening did to accuracy under attack, clean accuracy and smallest flips, each in a sentence; `unit` is
    what intervals go over."""
    first = hardening_short(found, training, epsilon, unit)
    if found is None or failure(training, found) or (training and training.get("chosen_epoch") == 0):
        return first
    clean = clean_said(found["clean"])
    said = [first, clean if clean != first else None, flips_said(found["flips"])]
    return " ".join(filter(None, said))


def hardening_short(found: Pairs | None, training: Mapping[str, Any] | None,
                    epsilon: float | None = None, unit: str = "patient") -> str:
    """The first sentence of `hardening_verdict`: the accuracy under attack, or why there is no gain."""
    failed = failure(training, found)
    if failed or found is None:
        return failed or "The hardened network has not been assessed yet."
    if training and training.get("chosen_epoch") == 0:
        return ("No epoch of the hardening was better on the validation images than the network it started from, "
                "which was kept: there is no gain.")
    row = headline(found["rows"], epsilon)
    return under_attack(row, counted(found["patients"], unit)) if row else clean_said(found["clean"])


def under_attack(row: Compared, patients: str) -> str:
    """The accuracy under attack at one size, before and after, over so many patients."""
    merged, size = row.contrast, sized(row)
    before, after = percent(merged.before.value), percent(merged.after.value)
    reads = f"under {size}, {after} of the images are read right after hardening and {before} before"
    same = (f"Under {size} no image is read right, neither before hardening nor after it." if merged.before.value == 0
            else f"Hardening changed nothing here: under {size} the very same images are read right after as before "
                 f"({before}).")
    return steadier_said("Hardening", way_of(merged), reads, _told(merged), same, patients)


def sized(row: Compared) -> str:
    """What an accuracy under attack is of: all changes up to a size where these were searched, else what was tried."""
    return f"{'changes of at most' if row.exact else 'the attacks tried at'} {show_size_json(row.size or {})}"


def clean_said(row: Contrast) -> str:
    """What became of the clean accuracy."""
    before, after = percent(row.before.value), percent(row.after.value)
    told = _told(row)
    return {"better": f"The clean accuracy rose from {before} to {after} ({told}).",
            "worse": f"The price: the clean accuracy fell from {before} to {after} ({told}).",
            "alike": f"On clean images the accuracy is {before} before and {after} after, no detectable difference "
                     f"({told}).",
            "same": ("On clean images no read is right, neither before nor after." if row.before.value == 0 else
                     f"On clean images the very same reads are right as before ({before})."),
            "few": f"On clean images the accuracy is {before} before and {after} after; there are too few patients to "
                   "tell the difference."}[way_of(row)]


def flips_said(flips: Mapping[str, Any]) -> str | None:
    """How many smallest flips grew, and by what factor; None where there is none to compare."""
    if not flips["searched"] or not flips["images"]:
        return None
    middle: Estimate = flips["ratio"]
    words = (f"Of the {flips['images']} reads that are right in both, {percent(flips['larger'].value)} need a "
             f"larger change to flip than before and {percent(flips['smaller'].value)} a smaller one")
    if middle.value is None:
        return f"{words}."
    if math.isinf(middle.value):
        return f"{words}; most were no longer flipped."
    between = ("" if middle.low is None or middle.high is None
               else f" (95 % interval {factor(middle.low)} to {factor(middle.high)})")
    return f"{words}; the median size is {factor(middle.value)} times that before{between}."


def hardening_words(found: Found) -> dict[str, Any]:
    """What is said of a summary of `summarise_methods`: sentence by sentence, and all of them."""
    doubts = dict.fromkeys(each["check"] for each in found["findings"]
                           if each["severity"] == "error" and found["main"] in each["methods"]
                           and each["check"] != "hardening failed")
    said = {"main": main_said(found) + doubt_said(list(doubts)), "reads": reads_said(found),
            "controls": controls_said(found), "best": best_said(found)}
    return {"said": said, "verdict": " ".join(filter(None, said.values()))}


def main_said(found: Found) -> str:
    """What the main method did to the flips, in points and in times as many."""
    row = next(iter(found["methods"]), None)
    if row is None or not found["judged"] or not row["folds"]:
        return _unjudged(found, row)
    if row["san"] is None:
        return (f"No attack was tried both before and after {hardened_name(row['name'])}, so what it did to the flips "
                "cannot be told.")
    if row["silent"]:
        return f"{_flips_said(found, row)} But {silent_said(row, len(row['folds']))}"
    ratio: Estimate = row["san"].ratio
    if ratio.value is None or row["way"] == "same":
        return _flips_said(found, row)
    ends = "" if ratio.low is None or ratio.high is None else f" (95 %: {digits(ratio.low)} to {digits(ratio.high)})"
    return f"{_flips_said(found, row)} That is {digits(ratio.value)} times as many as before{ends}."


def reads_said(found: Found) -> str:
    """What became of the reads themselves: AUC, and the reads that are right and stay so."""
    row = next(iter(found["methods"]), None)
    if row is None or not row["auc"] or row["auc"].difference.value is None:
        return ""
    auc, cost = row["auc"], f"{found['auc_cost']:g}"
    told = (f"The AUC is {auc.after.value:.3f}, against {auc.before.value:.3f} before (difference "
            f"{area_change_said(auc.difference)})")
    kept = {"yes": f": the loss is within the {cost} allowed.", "no": f": the loss exceeds the {cost} allowed.",
            "unclear": f"; whether the loss exceeds the {cost} allowed cannot be told.",
            "few": "; too few patients for an interval."}[row["auc_kept"]]
    robust: Contrast | None = row["robust"]
    if robust is None or robust.difference.value is None:
        return told + kept
    if row["lost_reads"]:
        return f"{told}{kept} {lost_said(row)}"
    return (f"{told}{kept} After it {percent(robust.after.value)} of the {_reads(found)} are right and not flipped by "
            f"that noise, against {percent(robust.before.value)} before ({difference_said(robust.difference)}).")


def best_said(found: Found) -> str:
    """Which of several methods left the fewest flips at the AUC allowed, beside the main one; empty with one."""
    best = found["best"]
    if best is None:
        return ""
    rows = {row["name"]: row for row in found["methods"]}
    row, judged = rows[best["name"]], sum(row["san"] is not None for row in rows.values())
    where = (f"Among the methods (of {judged} judged) whose AUC fell by no more than {found['auc_cost']:g}, "
             if best["within_cost"] else
             f"No method kept its AUC within {found['auc_cost']:g}; of the {judged} judged, ")
    first = (f"{where}{_quoted(best['name'])} leaves the fewest flips ({percent(row['san'].after.value)}; its AUC "
             f"changed by {_signed(row['auc'].difference.value)}), picked on these same reads")
    cost = "" if row["equal_cost"] is not False else f" It took {digits(row['cost'])} times the main method's passes."
    doubt = f" {undercounted_said(row)}" if undercounted_said(row) else ""
    if row["way"] != "better":
        return f"{first}, but not detectably fewer than before.{cost}{doubt}"
    between = "" if best["san"] is None else (
        f", {difference_said(best['san'].difference)} against {_quoted(best['against'])}")
    fewest = "" if best["fewest"] == best["name"] else (
        f" {_quoted(best['fewest'])} leaves fewer ({percent(rows[best['fewest']]['san'].after.value)}; AUC "
        f"{_signed(rows[best['fewest']]['auc'].difference.value)}).")
    return f"{first}{between}.{cost}{fewest}{doubt}"


def controls_said(found: Found) -> str:
    """Whether the main method and the best one do more than further training without optimised noise."""
    told = [f"{_quoted(row['name'])} against {_quoted(row['control'])}: {_FLIPS[row['way']]} "
            f"({difference_said(row['san'].difference)}, {_p(row['p_holm'])})" for row in found["controls"]]
    return f"Against further training without optimised noise: {'; '.join(told)}." if told else ""


def method_said(row: Row) -> str:
    """How a method teaches, in a sentence or two, from its kind and what its training states."""
    kind, told = row["method"] or "", row["training"]
    method = METHODS.get(kind)
    said = method.says or f"{method.title}." if method else _UNTAUGHT.get(kind, "How it was trained is not stored.")
    noise = {"random": "noise drawn at random", None: "noise"}.get(
        told["noise"], f"optimised noise ({short_name(noise_attack(str(told['noise'])))})")
    share = "a share" if told["share"] is None else f"{100 * told['share']:g} %"
    times = "once" if (told["starts"] or 1) == 1 else f"{told['starts']} times"
    said = said.format(noise=noise, share=share, times=times)
    noisy = method is not None and method.against == (CT_NOISE,)
    doses = ", ".join(f"{mas:g}" for mas in told["mas"] or ()) if noisy else ""
    return f"{said} Doses trained on: {doses} mAs." if doses else said


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


def under(found: Found) -> str:
    """The noise that the figures are of: `optimised noise (rings) at 100 mAs`."""
    attack = str(found["attack"])
    kind = "random noise" if attack == RANDOM else f"optimised noise ({short_name(attack)})"
    return f"{kind} at {found['stated_mas']:g} mAs"


def _flips_said(found: Found, row: Row) -> str:
    san: Contrast = row["san"]
    name = hardened_name(row["name"])
    subject, before = f"{name[:1].upper()}{name[1:]}", percent(san.before.value)
    reads = f"{percent(san.after.value)} of the {_reads(found)} flip under {under(found)} after it and {before} before"
    same = (f"None of the {_reads(found)} flips under {under(found)}, neither before {_lowered(name)} nor after it."
            if san.before.value == 0 else f"{subject} changed no flip: {reads}, the very same ones.")
    return steadier_said(subject, row["way"], reads, f"{difference_said(san.difference)}, {_p(row['p_holm'])}", same,
                         "so few patients")


def _unjudged(found: Found, row: Row | None) -> str:
    if row is None:
        return "No hardening has been run yet."
    if row["failed"]:
        said = row["failed"][0]["said"].strip().rstrip(".")
        return f"Hardening by {hardened_name(row['name'])} failed (fold {row['failed'][0]['fold']}): {said}."
    missing = "before" if not found["judged"] else f"after {hardened_name(row['name'])}"
    return f"The networks {missing} have not been judged yet, so nothing can be compared."


def _told(row: Contrast) -> str:
    """The difference with its interval, and with p where that is why no difference is told."""
    return difference_said(row.difference) + (f", p = {p_shown(row.p)}" if way_of(row) == "alike" else "")


def _p(p: float | None) -> str:
    return f"p = {p_shown(p)}".replace("p = <", "p <")


def _reads(found: Found) -> str:
    return "test reads" if found["part"] == "test" else "reads"


def _quoted(name: str) -> str:
    return f"“{name.replace('_', ' ')}”"


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    rounded = round(value, 3) + 0.0
    return f"{'+' if rounded > 0 else ''}{rounded:.3f}".replace("-", "−")
