"""The result block of a run: the answer, bars, checks, the report as a link, and the command to go on with."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.findings import remedied, titled
from steadyread.metrics.intervals import Estimate, revived
from steadyread.metrics.noise import row_of
from steadyread.metrics.reads import RANDOM
from steadyread.metrics.tidy import ABOVE, AUC, QUOTED, QUOTED_MAS
from steadyread.terminal import Bar, Bars, Command, Piece, Place, Rows, Tone, Words
from steadyread.units import unit_word
from steadyread.words.answer import Answer, across_answer, answer
from steadyread.words.commands import harden_command, triage_command
from steadyread.words.noise import noise_answer, plus_minus, short_name, worst_rows
from steadyread.words.numbers import NONE, attack_name, counted, digits, percent

Found = Mapping[str, Any]
_SHOWN = 6   # findings that are named
_WHERE = ("set", "network", "stage")
_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z“])")
SIGNS: Mapping[str, tuple[str, Tone]] = {"error": ("✗", "bad"), "warning": ("!", "doubt"), "ok": ("✓", "good")}


def run_lines(found: Found) -> Iterator[Piece]:
    """A run, as `summary.json` holds it: what was assessed and found, its networks side by side where it has several,
    what failed, the gates, where the report is, and what to do next."""
    numbers = found["numbers"]
    found = revived({name: value for name, value in found.items() if name != "numbers"})
    under_noise = "dose_fall" in found      # alone
    yield from (_noise if under_noise else _sets if "sets" in found else _plain)(found)
    yield from networks(numbers)
    for reason in found.get("failures", {}).values():
        yield Words(f"Failed: {reason}", "bad", "✗")
    for gate in found.get("gates", ()):
        sign, tone = SIGNS["ok" if gate["passed"] else "error"]
        yield Words(f"Gate {'met' if gate['passed'] else 'NOT MET'}: {gate['message']}", tone, sign)
    if found.get("first_look"):
        yield from ("", f"{found['first_look']}.")
    yield from ("", Place("Report", found["report"]))
    if command := _next(found):
        yield Command("Next", command)


def _plain(found: Found) -> Iterator[Piece]:
    """A run on one data set under changes of any pixels."""
    of = f"of {counted(found['patients'], 'patient')}" if found["data"].get("patients_known") else "(patients unknown)"
    yield f"{found['data']['name']}: {images_of(found)} {of}. Classes: {listed_classes(found)}."
    yield from _made(found["synthetic"])
    if "black_box" in found:
        yield f"No gradients: {found['black_box']}, and its smallest flips are upper bounds."
    yield from _answered(answer(found))
    yield from _bars(found)
    yield from _on_other_axes(found)
    if found.get("hardening"):
        came = first_sentence(found["hardening"]["verdict"])
        yield from ("", came if came.startswith("Hardening") else f"Hardening: {came}")
    if found.get("noise"):
        yield from ("", f"Under CT noise: {first_sentence(found['noise']['verdict'])}")
    yield from checks(found["findings"])


def _answered(told: Answer) -> Iterator[Piece]:
    """The answer as on the page, and what it is set against."""
    yield from ("", Words(told.sentence, "bold") if told.valid else Words(told.sentence, "bad", "✗"))
    yield from ([told.context] if told.context else [])
    yield ""


def first_sentence(told: str | Sequence[str]) -> str:
    """What is said first, where the report says more."""
    return _SENTENCE.split(told if isinstance(told, str) else " ".join(told), 1)[0]


def _made(synthetic: bool) -> Iterator[Piece]:
    if synthetic:
        yield Words("SYNTHETIC images, made from formulas and of no clinical meaning.", "doubt")


def images_of(found: Found) -> str:
    """How many images were judged: `40 test images`."""
    return counted(found["images"], "image" if found["part"] == "all" else f"{found['part']} image")


def listed_classes(found: Found) -> str:
    """The classes with their numbers."""
    return ", ".join(f"{place} is {name}" for place, name in enumerate(found["classes"]))


def _bars(found: Found) -> Iterator[Piece]:
    """Which reads are right, unattacked and at each size under whatever was found up to it; the AUC."""
    clean = found["discrimination"]
    side = "label" if found["robustness"]["label"]["attacks"] or found["robustness"]["label"]["smallest_flip"][
        "searched"] else "prediction"
    rows = found["robustness"][side]["at"]
    bars = [_bar("unattacked", clean["accuracy"]), *(
        _bar(f"{digits(row['size']['native'])} {unit_word(str(row['size']['unit'] or 'native'), row['size']['native'])}"
             f" ({digits(row['size']['of_range'])} range)", row["accuracy"]) for row in rows)]
    of = f" of {found['across']['own']}" if found.get("across") else ""
    yield Bars(bars, f"Right reads{of}, by the largest change of any pixel")
    if side == "prediction" and rows:
        yield "(against the prediction: reads that are wrong to begin with can be attacked into right ones)"
    auc: Estimate | None = clean.get("auc")
    if auc is not None and auc.value is not None:
        kind = "" if len(found["classes"]) == 2 else ", the mean of one class against the rest"
        between = "" if auc.low is None else f" ({auc.low:.3f} to {auc.high:.3f})"
        yield f"AUC {auc.value:.3f}{between}{kind}."


def _bar(name: str, share: Estimate) -> Bar:
    between = "" if share.low is None or share.high is None else f"{100 * share.low:.1f} to {percent(share.high)}"
    return Bar(name, share.value, f"{percent(share.value):>7}", between)


def _on_other_axes(found: Found) -> Iterator[Piece]:
    """The accuracy under attacks whose levels have a unit of their own, against the label where that was tried."""
    rows = found.get("other_axes", ())
    side = min((row["against"] for row in rows), default="")      # label before prediction
    for name in dict.fromkeys(row["attack"] for row in rows):
        yield Bars([_bar(f"{digits(row['level'])} {row['unit']}", row["accuracy"]) for row in rows
                    if (row["attack"], row["against"]) == (name, side)],
                   f"Accuracy under {attack_name(name)}, against the {side}")


def _sets(found: Found) -> Iterator[Piece]:
    """A study of several data sets: how many images each has, the answer over all, a bar a set, and their checks."""
    yield from (f"{found['titles'].get(name, name)}: {images_of(each)}." for name, each in found["sets"].items())
    yield from _answered(across_answer(found["across"]) if found.get("across") else Answer(found["verdict"]))
    rows = {name: [row for row in each["robustness"]["label"]["at"] if math.isclose(
        row["size"]["of_range"], QUOTED, rel_tol=1e-6)] for name, each in found["sets"].items()}
    bars = [_bar(found["titles"].get(name, name), row["accuracy"]) for name, several in rows.items() for row in several]
    if len(bars) > 1:
        yield Bars(bars, f"Right reads under changes of at most {digits(QUOTED)} of the range")
    yield from checks([{**finding, "check": f"{found['titles'].get(name, name)}, {finding['check']}"}
                       for name, each in found["sets"].items() for finding in each["findings"]])


def _noise(found: Found) -> Iterator[Piece]:
    """A noise study: the networks, the answer, a bar a dose."""
    part = found["part"]
    cases = found["parts"].get(part, {"cases": 0, "patients": 0})
    of = "(patients unknown)" if found["data"].get("patients_known") is False else (
        f"of {counted(cases['patients'], 'patient')}")
    yield (f"{found['data']['name']}: {counted(cases['cases'], f'{part} image')} {of}, "
           f"{counted(len(found['folds']), 'fold')}, {counted(len(found['variants']), 'variant')}.")
    yield from _made(found["synthetic"])
    yield from _answered(noise_answer(found))
    bars = [_dose_bar(found, dose) for dose in found["doses"]]
    if bars:
        yield Bars(bars, "Reads changed by one draw of CT noise, by dose")
    clean = next((row for row in found["classification"] if row["part"] == part), None)
    if clean:
        over = " (mean ± SD over folds)" if len(found["folds"]) > 1 else ""
        yield f"AUC {plus_minus(clean['auc'], 1, 3)}, accuracy {plus_minus(clean['accuracy'])} %{over}."
    if found.get("hardening"):
        yield from ("", first_sentence(found["hardening"]["verdict"]))
    yield from checks(found["findings"])


def _dose_bar(found: Found, dose: float) -> Bar:
    """The reads that one draw at a dose changes; behind it those changed at least once, and by the worst found."""
    random = row_of(found["rows"], RANDOM, dose, found["part"])
    one = random["one_draw"].value if random and random["one_draw"] else None
    more = [f"once in {found['trials']}: {percent(random['san'].value)}"] if random else []
    worst = [row for attack in worst_rows(found) if (row := row_of(found["rows"], attack["attack"], dose,
                                                                   found["part"]))][:1]
    more += [f"{short_name(row['attack'])}: {percent(row['san'].value)}" for row in worst]
    return Bar(f"{dose:g} mAs", one, f"{percent(one):>7}", ", ".join(more))


def checks(findings: Sequence[Found]) -> Iterator[Piece]:
    """How many checks passed, and those that did not, the worst first."""
    grave = [each for each in findings if each["severity"] in ("error", "warning")]
    passed = sum(each["severity"] == "ok" for each in findings)
    if not passed and not grave:
        return
    counts = [f"{passed} passed"] if passed else []
    counts += [counted(sum(each["severity"] == word for each in grave), word) for word in ("error", "warning")
               if any(each["severity"] == word for each in grave)]
    sign, tone = SIGNS[grave[0]["severity"] if grave else "ok"]
    yield from ("", Words(f"Checks: {', '.join(counts)}.", tone, sign))
    for each in grave[:_SHOWN]:
        sign, tone = SIGNS[each["severity"]]
        yield Words(f"{each['severity'].capitalize()}: {titled(each)}: {remedied(each)}", tone, sign)
    if len(grave) > _SHOWN:
        yield f"{len(grave) - _SHOWN} more findings are in the report."


def networks(numbers: Sequence[Found]) -> Iterator[Piece]:
    """The networks of a run beside each other, a line each; nothing where there is one."""
    several: dict[tuple[str, ...], list[Found]] = {}
    for row in numbers:
        several.setdefault(tuple(row[name] for name in _WHERE), []).append(row)
    if len(several) > 1:
        told = [(*where, *_key_figures(rows)) for where, rows in several.items()]
        head = ("data", "network", "stage", "AUC", "accuracy", "half flip by", "one draw")
        unlike = [len(set(column) - {""}) > 1 for column in zip(*told, strict=True)]
        shown = [place for place in range(len(head)) if (unlike[place] if place < len(_WHERE) else any(
            row[place] != NONE for row in told))]
        yield from ("", Rows([tuple(row[place] for place in shown) for row in (head, *told)]))


def _key_figures(rows: Sequence[Found]) -> Iterator[str]:
    """AUC, accuracy, the median smallest flip, and the reads that one draw of CT noise changes."""
    first = {row["measure"]: row for row in reversed(rows) if row["level"] is None and row["value"] is not None}
    yield (f"{first[AUC]['value']:.3f}" if AUC in first else
           f"{first[ABOVE]['value']:.3f} above 3" if ABOVE in first else NONE)
    yield percent(first["accuracy"]["value"]) if "accuracy" in first else NONE
    flip = first.get("median_smallest_flip", {"value": None, "unit": ""})
    yield f"{digits(flip['value'])} {unit_word(flip['unit'], flip['value']) or 'units'}" if isinstance(
        flip["value"], float) and math.isfinite(flip["value"]) else "none found" if flip["value"] is not None else NONE
    draws = [row for row in rows if (row["measure"], row["attack"]) == ("changed_by_one_draw", RANDOM)
             and row["value"] is not None]
    drawn = min(draws, key=lambda row: abs(math.log(row["level"] / QUOTED_MAS)), default=None)
    yield NONE if drawn is None else f"{percent(drawn['value'])} at {drawn['level']:g} mAs"


def _next(found: Found) -> str:
    """The command to go on with: a network that was not hardened is, else the reads for a human are listed."""
    if "folder" not in found or found.get("invalid"):
        return ""
    return harden_command(found, found["folder"]) or triage_command(found, found["folder"])
