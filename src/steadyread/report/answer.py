"""The first screen of a page: the answer, a typical case, the curve with a handle, and five facts beside it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.charts import Axis, Chart, Line, Rule, chart, curve, per_size
from steadyread.charts.examples import Example, NoiseExample
from steadyread.charts.look import BLUE, DASHED, DOTTED, INK, Look
from steadyread.charts.pictures import amplification, change, picture
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.robustness import Curve
from steadyread.report.accuracy_drawings import Side, reach
from steadyread.report.cards import estimated, quoted, within
from steadyread.report.items import Card, Cards, Item, Lead, Picture, Strip, Strips, Text
from steadyread.report.marks import mark, unmarked
from steadyread.report.scripts import Block
from steadyread.report.section import ACTION, TRUST
from steadyread.units import Bounds, number_of, unit_word
from steadyread.words.answer import Answer, flips_told, size_shown
from steadyread.words.noise import short_name
from steadyread.words.numbers import counted, percent
from steadyread.words.plain import MERGED

Summary = Mapping[str, Any]
ANSWER = "answer"            # the name of the chart
_SHOWN = ("FGSM", "PGD")     # attacks whose points stand beside the curve
_LOOKS = {"FGSM": Look(INK, DASHED), "PGD": Look(INK, DOTTED)}
_FAR = 3.0                   # times as far as the curve goes: noise beyond is not on the axis
_HEIGHT = 290


@dataclass(frozen=True, eq=False)
class Handle:
    """What a handle on the curve needs: accuracies by size (in the unit of the axis), where it starts, what a size is
    multiplied by to be native, the ends of both axes, and the words for a share."""

    sizes: Sequence[float]
    accuracy: Sequence[float]
    start: float
    per: float
    x: tuple[float, float]
    y: tuple[float, float]
    unit: str
    share: str = "still right"

    def as_json(self) -> dict[str, Any]:
        """The handle's data as plain values."""
        return {"sizes": [float(f"{size:.6g}") for size in self.sizes],
                "accuracy": [round(float(value), 5) for value in self.accuracy], "start": self.start, "per": self.per,
                "x": list(self.x), "y": list(self.y), "unit": self.unit, "share": self.share}


def lead(answer: Answer, kicker: str, items: Sequence[Item], figure: str = "", handle: Handle | None = None) -> Lead:
    """The answer as an item of a page: its number stands out."""
    number = unmarked(answer.number)
    sentence = unmarked(answer.sentence)
    if number:
        sentence = sentence.replace(number, mark("hit", number), 1)
    said = [Text(answer.context, "context")] if answer.context else []
    data = Block(f"{ANSWER}-curve", handle.as_json()) if handle else None
    return Lead(kicker, sentence, (*said, *items), figure, data, answer.caution, answer.valid)


def typical(examples: Sequence[Example], bounds: Bounds, summary: Summary) -> Strips | None:
    """The stored example whose flip is nearest to the median one as original, change, and changed image; None without
    any."""
    if not examples:
        return None
    median = number_of(flips_told(summary)[0]["median"])
    wanted = 2 * median if math.isfinite(median) else 0.0      # examples are changed by twice their flip
    shown = min(examples, key=lambda each: abs(math.log(each.size / wanted))) if wanted > 0 else examples[0]
    (before, sure), (after, surer) = shown.says(shown.clean_probabilities), shown.says(shown.adversarial_probabilities)
    factor = amplification(shown.clean, shown.adversarial, bounds.range)
    size = f"±{size_shown({'native': shown.size, 'unit': bounds.unit, 'of_range': shown.size / bounds.range})}"
    moved = change(shown.clean, shown.adversarial, bounds)
    pictures = (
        Picture.of(picture(shown.clean, bounds), "original", f"{before} {percent(sure, 0)}", name="original"),
        Picture.of(moved, f"change, amplified {factor:g} times", f"up to {size}", name="change"),
        Picture.of(picture(shown.adversarial, bounds), "changed", f"{after} {percent(surer, 0)}", name="changed",
                   tone="flipped" if after != before else ""))
    return Strips((Strip(pictures, f"A typical read ({shown.case_id}, truly {shown.label}), changed by twice its "
                         f"smallest flip. The change is amplified {factor:g} times."),), "typical")


def typical_noise(examples: Sequence[NoiseExample], window: tuple[float, float], classes: tuple[str, str]
                  ) -> Strips | None:
    """The first stored example as original, noise alone and noisy image; None without any."""
    if not examples:
        return None
    (negative, positive), shown = classes, examples[0]
    clean, noise, noisy = shown.pictures(window)
    before, after = (positive if chance > 0.5 else negative for chance in (
        shown.clean_probability, shown.noisy_probability))
    pictures = (
        Picture.of(clean, "original", _sure(before, shown.clean_probability, positive), name="original"),
        Picture.of(noise, "noise", f"up to ±{shown.noise_window_hu:g} HU", name=f"{short_name(shown.attack)} noise"),
        Picture.of(noisy, "with noise", _sure(after, shown.noisy_probability, positive), name="with noise",
                   tone="flipped" if before != after else ""))
    return Strips((Strip(pictures, f"A read that noise of {shown.mas:g} mAs changes ({shown.case_id}, truly "
                         f"{shown.label})."),), "typical")


def _sure(read: str, chance: float, positive: str) -> str:
    return f"{read} {percent(chance if read == positive else 1 - chance, 0)}"


def answer_chart(side: Side, bounds: Bounds, summary: Summary, against: str) -> tuple[Chart, Handle] | None:
    """The curve of reads that stay right as the change grows, FGSM and PGD beside it, and the images' own noise; None
    where no smallest flips were searched."""
    if not side.exact or len(side.curve.sizes) < 2:
        return None
    noise = summary.get("image_noise")
    sd = number_of(noise["sd"]) if noise else math.nan
    right = reach([side], bounds)
    right = max(right, 1.08 * sd) if sd <= _FAR * right else right
    right = min(right, side.curve.end) if math.isfinite(side.curve.end) else right
    per, unit = per_size(bounds), unit_word(bounds.unit) or "of the range"
    lines = [_steps(side.curve, right, per), *_attacks(side, right, per)]
    rules = []
    if sd <= right and noise is not None:
        rules.append(Rule("x", sd / per, f"noise in the images, {size_shown(noise['sd'])}"))
        if noise["accuracy"].value is not None:
            lines.append(Line("random noise as large", Look(INK, marker="diamond"), [sd / per],
                              [noise["accuracy"].value], joined=False, marked=None, hollow=True))
    x, y = (0.0, right / per), (0.0, 1.005)
    what = "still right" if against == "label" else "right, each pushed away from its own read"
    drawn = curve(lines, Axis(f"largest change of any pixel, {unit}", x), Axis(f"reads {what}, %", y, percent=True),
                  rules, height=_HEIGHT)
    sizes = side.curve.sizes[side.curve.sizes <= right]
    start = number_of(flips_told(summary)[0]["median"])
    handle = Handle((sizes / per).tolist(), side.curve.accuracy[:len(sizes)].tolist(),
                    min(start if math.isfinite(start) else side.curve.half_way, right) / per, per, x, y, unit)
    drawn_over = "patients" if summary["data"]["patients_known"] else "images"
    return chart(ANSWER, "How many reads stay right as the change grows, with 95 % intervals over "
                 f"{drawn_over} at each size.", drawn), handle


def _steps(found: Curve, right: float, per: float) -> Line:
    last = min(max(right, float(found.sizes[-1])), found.end)
    y, low, high = (np.append(column, column[-1]) for column in (found.accuracy, found.low, found.high))
    return Line("smallest flips", Look(BLUE), np.append(found.sizes, last) / per, y, low, high, step=True, width=2.4)


def _attacks(side: Side, right: float, per: float) -> Iterator[Line]:
    for points in side.attacks:
        if points.name in _SHOWN:
            inside = [(0.0, float(side.curve.accuracy[0])), *(
                (size, value) for size, value in zip(points.sizes, points.accuracy, strict=True) if size <= right)]
            yield Line(points.name, _LOOKS[points.name], [size / per for size, _ in inside],
                       [value for _, value in inside], marked=len(inside) - 1, width=1.2)


def facts(summary: Summary) -> Cards:
    """Five facts: the smallest flip, the accuracy, that at the noise or at the study's own size, what is referred, and
    how many checks were passed."""
    return Cards(tuple(_facts(summary)), "facts")


def _facts(summary: Summary) -> Iterator[Card]:
    found = summary["discrimination"]
    flips, reads = flips_told(summary)
    if flips["searched"] and flips["images"]:
        yield Card(size_shown(flips["median"]), f"flips half of the {reads}", between(flips))
    clean = estimated("right, clean images", found["accuracy"], percent)
    area: Estimate = found["auc"]
    yield Card(clean.value, clean.name, clean.note + ("" if area.value is None else f"; AUC {area.value:.3f}"))
    yield from _under_change(summary)
    kept = next((row for row in summary["triage"]["rows"] if row["score"] == "smallest_flip"), None)
    if kept is not None and kept["accuracy"].value is not None:
        yield Card(percent(kept["withheld"].value), "referred to a human",
                   f"of the others {percent(kept['accuracy'].value)} are right, {within(kept['accuracy'], percent)}",
                   ACTION.name)
    yield trust(counts_of(summary["findings"]))


def _under_change(summary: Summary) -> Iterator[Card]:
    noise = summary.get("image_noise")
    if noise is not None and noise["found"].value is not None:
        yield estimated(f"right under found changes as large as the noise, {size_shown(noise['sd'])}", noise["found"],
                        percent)
        return
    at = quoted(summary["robustness"]["label"]["at"])
    if at is not None and at["accuracy"].value is not None:
        how = "" if at["exact"] else f", {MERGED.lower()}"
        yield estimated(f"right under changes of {size_shown(at['size'])}{how}", at["accuracy"], percent)


def between(flips: Summary) -> str:
    """The interval of a median smallest flip; that there is none where it has none."""
    if not 0 < number_of(flips["median"]) < math.inf:
        return ""
    if math.isnan(number_of(flips["low"])):
        return "too few patients for an interval"
    return f"95 %: {size_shown(flips['low'])} to {size_shown(flips['high'])}"


def counts_of(findings: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many checks passed, and how many gave an error or a warning; notes say neither yes nor no."""
    said = [each["severity"] for each in findings]
    return {word: said.count(word) for word in ("ok", "error", "warning")}


def trust(counts: Mapping[str, int]) -> Card:
    """How many of the checks that say yes or no were passed."""
    if not sum(counts.values()):
        return Card("–", "no checks were run")
    failed = [counted(counts[word], word) for word in ("error", "warning") if counts[word]]
    return Card(f"{counts['ok']} of {sum(counts.values())}", "checks passed", ", ".join(failed) or "no warnings",
                TRUST.name)
