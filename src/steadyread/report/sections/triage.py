"""Which reads to leave to a human: scores that sort right from wrong, and what a threshold of each costs; of one data
set, or of several."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.across_sets import scores_by_set
from steadyread.metrics.triage import MARGIN, SMALLEST_FLIP
from steadyread.registry import ATTACKS
from steadyread.report import forms
from steadyread.report.evidence import estimate_said
from steadyread.report.items import Figure, Fold, Heading, Item, Text, Threshold, grid
from steadyread.report.marks import bold, code, italic, term
from steadyread.report.networks import Networks
from steadyread.report.plain import Plain
from steadyread.report.referral import LIST, Referral, rule
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.report.table import Column, Form, begun, table
from steadyread.units import Bounds
from steadyread.words.numbers import percent, score_name
from steadyread.words.plain import margin_said
from steadyread.words.sets import beside_margin, listed

Told = Mapping[str, Any]
_OPEN = (SMALLEST_FLIP, MARGIN)     # what stands outside of folds where there are several tables
_LISTED = 20     # reads in the handle's place
_GENERALISED = Form(lambda found: forms.number(found.value, 1, 4))


@section("Which reads to leave to a human", of=Plain, order=300)
def triage(plain: Plain) -> Iterator[Item]:
    """The handle, what can be guaranteed, and in a fold [A] Table 2 with the scores compared."""
    found = plain.summary["triage"]
    if plain.referral is None:
        yield Text("No reads with a label to sort.")
        return
    yield Text(margin_said(found, bool(plain.summary["data"]["patients_known"])))
    if found["chosen_on"] != "validation":
        yield Text(_chosen(found))
    if len(plain.beside) > 1:
        yield Threshold(plain.beside, (*_each(plain.beside), *_first(plain.referral)[1:]), "Finding")
    else:
        yield Threshold({"": plain.referral}, _first(plain.referral))
    yield from _guarantees(plain)
    yield Fold("How the scores compare", (
        Text(found["comparison"]), _kept({"": (found, plain.bounds)}, _chosen(found)), _areas({"": found}),
        *((_beside_margin(found),) if found["combined"] else ()),
        grid(*map(Figure, ("triage", "score_scatter"))), Text(_note(plain), "note")))


def _first(referral: Referral) -> tuple[Item, ...]:
    """What stands in the handle's place where it cannot move: the threshold that was chosen, and its first reads."""
    by = referral.scores[0]
    step = by.steps[by.chosen]
    rows = [(code(read.case), read.read, read.truth, read.sure, read.flip) for read in referral.first(_LISTED)]
    titles = ("Case", "Read as", "Label", "Probability", "Smallest flip")
    more = f"The first {len(rows)}; all of them are in {LIST}, in the folder of the run." if step.referred > len(
        rows) else f"They are in {LIST} too, in the folder of the run."
    return Text(_refer(referral)), grid(Figure("risk_coverage"), table(
        [Column(title, forms.TEXT) for title in titles], rows, note=more))


def _refer(referral: Referral) -> str:
    """Which reads the first score refers at the threshold that was chosen."""
    by = referral.scores[0]
    step = by.steps[by.chosen]
    error = "" if step.error.value is None else f" {estimate_said(step.error)} of the others are wrong."
    return (f"Refer {step.referred} of {referral.count} reads: {score_name(by.score).lower()} {step.says}. "
            f"{step.caught} of the {referral.wrong} wrong reads are among them;{error}")


def _each(referrals: Mapping[str, Referral]) -> Iterator[Item]:
    """The same of several data sets or findings, in a sentence each."""
    for name, referral in referrals.items():
        yield Text(f"{bold(name)}: {_refer(referral)}")


@section("Which reads to leave to a human", of=Sets, order=310)
def triage_sets(sets: Sets) -> Iterator[Item]:
    """[A] Table 2 set by set, and whether any score beats the margin."""
    found = {each["title"]: each["triage"] for each in sets.each.values() if each["triage"]["rows"]}
    bounds = {title: (told, sets.bounds[title]) for title, told in found.items()}
    if not found:
        yield Text("No reads with a label to sort.")
        return
    if referrals := sets.referrals:
        yield Threshold(referrals, tuple(_each(referrals)), "Data set")
    chosen = [told["chosen_on"] for told in found.values()]
    unsplit = [title for title, told in found.items() if told["chosen_on"] != "validation"]
    chosen_said = ("Thresholds chosen on validation images, applied to others. " if "validation" in chosen else "") + (
        bold(f"No validation images in {listed(unsplit)}: thresholds were chosen on the same images that they are "
             "judged on, as in [A], so these gains are optimistic. ") if unsplit else "")
    yield _kept(bounds, chosen_said, only=(*_OPEN, *(name for name in ATTACKS if ATTACKS[name].searches)))
    yield Heading("Does any score beat what is free?")
    yield Text(" ".join([*beside_margin(sets.summary), f"Better or worse, by {term('AURC')}, is said only where "
                         "the interval excludes 0 and p, corrected (Holm) for all scores in all sets, is below 0.05."]))
    yield grid(Figure("scores"))
    yield Fold("Every score in every set", (_kept(bounds, ""), _areas(found), _minus_margin(
        sets.summary["scores"], {name: each["title"] for name, each in sets.each.items()})))


@section("Triage by finding", of=Networks, order=305)
def triage_by_finding(networks: Networks) -> Iterator[Item]:
    """[A] Table 2 finding by finding, and whether any score beats the margin."""
    found = {each.title: (each.triage, each.bounds) for each in networks.findings
             if each.triage and each.triage["images"]}
    if len(found) < 2:
        return     # of one the section above says all
    each = {name: told for name, (told, _) in found.items()}
    told = next(iter(each.values()))
    yield _kept(found, "Thresholds chosen on validation images, applied to others." if told["validation_images"] else
                _chosen(told), "Finding", _OPEN)
    yield Fold("Every score by finding", (_kept(found, "", "Finding"), _areas(each, "Finding"), _minus_margin(
        scores_by_set({name: {"triage": told} for name, told in each.items()}),
        {name: name for name in each}, "Finding")))


def _chosen(found: Told) -> str:
    if found["chosen_on"] == "validation":
        return (f"Thresholds chosen on {found['validation_images']} validation images, applied to {found['images']} "
                "others.")
    return bold("No validation images: thresholds were chosen on the same images that they are judged on, as in [A], "
                "so these gains are optimistic.")


def _of_set(each: Collection[str], of: str = "Set") -> list[Column]:
    """The column of the data set, or of what else there are several."""
    return [Column(of, forms.TEXT)] if "" not in each else []


def _kept(each: Mapping[str, tuple[Told, Bounds]], chosen: str, of: str = "Set", only: Collection[str] = ()) -> Item:
    columns = [*_of_set(each, of), Column("Score", forms.TEXT), Column("Withheld where it is", forms.TEXT),
               Column("Share, %", forms.only()), Column("Kept, % right", forms.share()),
               Column("Gain, points", forms.signed())]
    rows = [(*([title] if title else []), score_name(row["score"]), rule(row["score"], row["threshold"], bounds),
             row["withheld"], row["accuracy"], row["change"])
            for title, (found, bounds) in each.items() for row in found["rows"] if not only or row["score"] in only]
    share = next(iter(each.values()))[0]["share"]
    return table(columns, begun(rows) if "" not in each else rows,
                 above=f"Accuracy among the kept reads; each threshold withholds {percent(share, 0)} of the reads that "
                 f"it was chosen on ({italic('share')}: what it withholds of these). {chosen}")


def _areas(each: Mapping[str, Told], of: str = "Set") -> Item:
    differences = {title: {row["against"]: row for row in found["differences"]} for title, found in each.items()}
    beside = any(differences.values())
    group = "Smallest flip minus this score"
    columns = [*_of_set(each, of), Column("Score", forms.TEXT), Column(term("AURC"), forms.share(1, 4)),
               Column(term("AUGRC"), _GENERALISED)]
    if beside:
        columns += [Column("Kept, points", forms.signed(), group), Column("AURC", forms.signed(1, 4), group)]
    rows = [(*([title] if title else []), score_name(row["score"]), row["area"], row["generalised_area"],
             *_minus(differences[title].get(row["score"]), beside))
            for title, found in each.items() for row in found["rows"]]
    return table(columns, begun(rows) if "" not in each else rows,
                 above="How well each score sorts right from wrong, whatever share is withheld, and the smallest flip "
                 "minus that score over the same resampled patients (better: above 0 in points, below 0 in AURC).")


def _minus(row: Told | None, wanted: bool) -> Sequence[Any]:
    if not wanted:
        return ()
    return (None, None) if row is None else (row["accuracy"], row["area"])


def _beside_margin(found: Told) -> Item:
    why = found["combined"]["why"] or (
        f"{term('All combined')} was fitted on {found['combined']['reads']} validation reads "
        f"({found['combined']['wrong']} wrong), so a guarantee for it would need others.")
    return table([Column("Score", forms.TEXT), Column("AURC minus margin's", forms.signed(1, 4))],
                 [(term(score_name(row["score"])), row["area"]) for row in found["differences_to_margin"]],
                 above="Each score minus the margin, which is free, in AURC over the same resampled patients (better: "
                 "below 0). Each interval holds on its own.",
                 note=why)


def _minus_margin(scores: Sequence[Told], titles: Mapping[str, str], of: str = "Set") -> Item:
    columns = [Column(of, forms.TEXT), Column("Score", forms.TEXT),
               Column("AURC minus margin's", forms.signed(1, 4)), Column("p (Holm)", forms.P_VALUE)]
    rows = [(title, score_name(row["score"]), row["area"], row["p_holm"])
            for name, title in titles.items() for row in scores if row["set"] == name]
    return table(columns, begun(rows), above="Each score minus the margin, which is free, over the same resampled "
                 "patients (better: below 0); no p where no read is wrong, or where a score sorts the reads just as "
                 "the margin does.")


def _note(plain: Plain) -> str:
    found = plain.summary["triage"]
    entropy = " With two classes entropy orders reads as the margin does." \
        if plain.summary["discrimination"]["classes"] == 2 else ""
    alike = found["rank_correlation"]
    correlated = "" if alike is None else f" Rank correlation of smallest flip and margin: {forms.number(alike, 1, 2)}."
    return (f"All {found['images']} reads: {percent(found['accuracy'].value)} right.{entropy}{correlated} The "
            "smallest flip used here is the one against the prediction: the one against the label knows the answer.")


def _guarantees(plain: Plain) -> Iterator[Item]:
    """Thresholds whose error is bounded in a table, and in a sentence which are out of reach, and why."""
    rows = plain.summary["guarantees"]
    within = [row for row in rows if row["threshold"] is not None]
    beyond: dict[str, list[Told]] = {}
    for row in rows:
        if row["threshold"] is None:
            beyond.setdefault(_beyond(row), []).append(row)
    said = " ".join(f"{_which(missed, rows)} is within reach with 95 % confidence: {why}."
                    for why, missed in beyond.items())
    if not within:
        yield Text(said, "note")
        return
    flattered = ("The validation images also chose the epoch of the model trained here, so they flatter it a little. "
                 if plain.summary["training"] else "")
    folds = plain.summary["folds"]
    by = "" if folds == 1 else (f", read by one of the {folds} folds' networks at random, and is no bound for any one "
                                "of these")
    how = ("With a guarantee: the error among the kept is at most the limit, with 95 % confidence (binomial bound on "
           "validation images, one drawn per patient, so it speaks of a random image of a random "
           f"patient{by}; thresholds tested in a fixed order, arXiv:2110.01052). ")
    columns = [Column("Limit, %", Form(lambda limit: f"{100 * limit:g}")), Column("Score", forms.TEXT, head=True),
               Column("Kept here, %", forms.share()), Column("Error here, %", forms.share())]
    yield table(columns, [(row["alpha"], score_name(row["score"]), row["coverage"], row["error"]) for row in within],
                above=f"{how}{flattered}The statements hold one at a time, not jointly.", note=said)


def _which(missed: Sequence[Told], rows: Sequence[Told]) -> str:
    """`No threshold with an error of at most 5 or 10 % among the kept`, or which of them."""
    limits = " or ".join(f"{100 * limit:g}" for limit in sorted({row["alpha"] for row in missed}))
    of_limits = [row for row in rows if row["alpha"] in {each["alpha"] for each in missed}]
    names = "" if len(missed) == len(of_limits) else " by " + listed(
        [score_name(name).lower() for name in dict.fromkeys(row["score"] for row in missed)])
    return f"No threshold{names} with an error of at most {limits} % among the kept"


def _beyond(row: Told) -> str:
    """Why a limit has no threshold."""
    if not row["validation_images"]:
        return "there are no validation images"
    if row["validation_images"] < row["least_patients"]:
        return (f"there are {row['validation_images']} validation patients, and even without one error "
                f"{row['least_patients']} are needed")
    return "there are too many errors among the steadiest reads"
