"""What a paper did beside what a study that repeats it did, by the study's own settings and counts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from steadyread.metrics.reads import ORIGINAL, PAPER, RANDOM
from steadyread.report import forms
from steadyread.report.items import Item
from steadyread.report.noise import Noise
from steadyread.report.papers import paper
from steadyread.report.section import section
from steadyread.report.table import Column, table
from steadyread.words.noise import short_name, starts_said
from steadyread.words.numbers import counted

Summary = Mapping[str, Any]
_RULES = {True: "the mean of the readers' ratings, where they are known", False: "the table's one rating, a consensus"}
_LOSSES = {"squared_error": "squared error of the probability", "cross_entropy": "cross-entropy"}


@section("As printed, as here", of=Noise, order=775)
def as_printed(noise: Noise) -> Iterator[Item]:
    """[B] sections 2.2 to 2.6 and its appendix, a row a subject; what a study's files do not tell has no row."""
    if noise.summary["beside"] != "B":
        return
    told = paper("B").protocol
    rows = [(key.replace("_", " ").capitalize(), told[key], here) for key, of in _HERE.items()
            if (here := of(noise.summary, noise.summary["provenance"]["settings"] or {}))]
    yield table([Column("What", forms.TEXT), Column("[B], as printed", forms.WRAPPED, tone="theirs"),
                 Column("Here", forms.WRAPPED)], rows, tone="snug", above=(
        "From this study's own settings and counts. Where the two differ, its figures are not the paper's to match."))


def _at(settings: Summary, *keys: str) -> Any:
    """A value of the settings; None where it is not there."""
    held: Any = settings
    for key in keys:
        held = held.get(key) if isinstance(held, Mapping) else None
    return held


def _nodules(s: Summary, _: Summary) -> str:
    parts = s["data"].get("parts") or {}
    return counted(sum(part["images"] for part in parts.values()), "labelled image") if parts else ""


def _labels(_: Summary, settings: Summary) -> str:
    options = _at(settings, "data", "options")
    if _at(settings, "data", "layout") != "lidc-3d" or options is None:
        return ""
    return f"{_RULES[bool(options.get('ratings'))]}; 3 is dropped"


def _box(_: Summary, settings: Summary) -> str:
    sides = _at(settings, "data", "options", "box_mm")
    sides = sides if isinstance(sides, list) else [sides] * 3 if sides else []
    return " x ".join(f"{side:g}" for side in reversed(sides)) + " mm" if sides else ""


def _parts(s: Summary, _: Summary) -> str:
    parts = s["data"].get("parts") or {}
    unit = "patient" if s["data"]["patients_known"] else "image"
    told = ", ".join(f"{parts[part]['images']} to {verb}" for part, verb in (
        ("train", "train"), ("validation", "validate"), ("test", "test")) if part in parts)
    return f"{told}, in the first fold; drawn by {unit}" if told else ""


def _network(_: Summary, settings: Summary) -> str:
    width = _at(settings, "model", "arguments", "width")
    if not width:
        return ""
    first, last, least = (max(1, round(count * width)) for count in (64, 512, 128))
    return f"{first} and {last} features; dense layers of {last} to {least}"


def _loss(_: Summary, settings: Summary) -> str:
    return _LOSSES.get(_at(settings, "training", "loss") or "", "")


def _optimiser(_: Summary, settings: Summary) -> str:
    held = _at(settings, "training") or {}
    if not {"optimiser", "learning_rate", "epochs", "batch", "schedule", "judged_by"} <= set(held):
        return ""
    schedule = " at most, in one cycle" if held["schedule"] == "one_cycle" else ""
    best = "highest validation AUC" if held["judged_by"] == "auc" else "lowest validation loss"
    return (f"{held['optimiser'].capitalize()}, learning rate {held['learning_rate']:g}{schedule}, weight "
            f"decay {held['weight_decay']:g}, {held['epochs']} epochs of batches of {held['batch']}; the epoch of the "
            f"{best} is kept")


def _augmentation(_: Summary, settings: Summary) -> str:
    held = _at(settings, "training") or {}
    if not {"shift_pixels", "rotation_degrees", "flips"} <= set(held):
        return ""
    flips = ", flips" if held["flips"] else ""
    return (f"shifts of at most {_each(held['shift_pixels'])} voxels, rotations of at most "
            f"{_each(held['rotation_degrees'])}°{flips}")


def _each(value: Any) -> str:
    """One number for all axes, or one each."""
    values = list(dict.fromkeys(value)) if isinstance(value, list) else [value]
    return f"{values[0]:g}" if len(values) == 1 else f"{', '.join(f'{each:g}' for each in value)} (z, y, x)"


def _five_class(s: Summary, settings: Summary) -> str:
    if not any(row["classes"] == 5 for row in s["table_3"]):
        return ""
    squared = _at(settings, "training", "loss") == "squared_error"
    rounded = "of ratings rounded to whole numbers" if _at(settings, "data", "options", "ratings") else \
        "of the table's one rating, where 3 has no label"
    return f"{'the same' if squared else 'cross-entropy over minus the squared errors'}, {rounded}"


def _shallower(s: Summary, _: Summary) -> str:
    sizes = {row["variant"]: row["parameters"] for row in s["provenance"]["networks"] if row["parameters"]}
    if not {ORIGINAL, "shallower"} <= set(sizes):
        return ""
    own, other = sizes["shallower"], sizes[ORIGINAL]
    more = "more" if own > other else "fewer"
    why = ", since more voxels reach the dense layers" if own > other else ""
    return f"the same; it has {more} parameters than the original so ({own:,} and {other:,}){why}"


def _spectrum(s: Summary, _: Summary) -> str:
    found = s["spectrum"] or {}
    return f"{found['name']}: {found['provenance']}" if {"name", "provenance"} <= set(found) else ""


def _trials(attack: str) -> Callable[[Summary, Summary], str]:
    def said(s: Summary, _: Summary) -> str:
        rows = [row for row in s["rows"] if row["attack"] == attack]
        return ", ".join(dict.fromkeys(starts_said(row) for row in rows)).replace(
            "start", "draw" if attack == RANDOM else "start")

    return said


def _hardening(s: Summary, _: Summary) -> str:
    methods = (s.get("hardening") or {}).get("methods") or []
    if not methods or methods[0]["method"] != "adaptive":
        return ""
    told, stated = methods[0]["training"], s["hardening"]["settings"]
    doses = ", ".join(f"{mas:g}" for mas in told["mas"] or ())
    noise = short_name(f"{told['noise']}_ct_noise")
    return (f"{counted(stated.get('rounds') or 0, 'round')}: {noise}, {counted(told['starts'] or 1, 'time')} for each "
            f"training image at {doses} mAs; {told['epochs'] or 0:g} epochs in all, of each round one chosen on "
            "validation images")


_HERE: Mapping[str, Callable[[Summary, Summary], str]] = {
    "nodules": _nodules, "labels": _labels, "box": _box, "parts": _parts,
    "folds": lambda s, _: str(len(s["folds"])), "network": _network, "loss": _loss, "optimiser": _optimiser,
    "augmentation": _augmentation, "five_class": _five_class, "shallower": _shallower, "spectrum": _spectrum,
    "random": _trials(RANDOM), "optimised": _trials(PAPER), "hardening": _hardening}
