"""The figures of what a network sees, for the page and for named cases."""

import re
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from steadyread.charts import Axis, Entry, Interval, Line, Panel, Rule, chart, curve, interval, nothing
from steadyread.charts.look import BLUE, DOTTED, INK, ORANGE, SERIES, VERMILION, Look
from steadyread.charts.pictures import Window
from steadyread.charts.seeing import Shown, attention, features, slices
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.seeing_sanity import DEPENDS, HARDLY
from steadyread.report.drawings import Drawing
from steadyread.report.seeing_stored import read_shown
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.words.noise import short_name

Found = Mapping[str, Any]
_SLICES, _ATTENDED = 2, 3     # images on the page; all are drawn for named cases
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WINDOW = (-1000.0, 400.0)
_GROUPS = {"flipped": Look(VERMILION), "steady": Look(BLUE, marker="square")}
_PANELS = (("shift", "overlap", "overlap of strongest tenths, %"), ("shift", "distance_mm", "distance of centres, mm"),
           ("paired", "area", "area: noisy − clean, points"), ("paired", "inside", "in nodule: noisy − clean, points"))


def seeing_drawings(found: Mapping[str, Any], shown: Sequence[Shown], window: Window,
                    classes: Sequence[str] = ()) -> dict[str, Drawing]:
    """The figures of the page's section by name."""
    malignant = classes[1] if len(classes) == 2 else "class 1"
    told = f"{window[0]:g} to {window[1]:g} HU".replace("-", "−")
    chosen = chosen_for_page(shown)
    heat = ("Averaged through the slices; each map is coloured from 0 to its own largest value, so that where it "
            "lies is compared, not how strong it is. White: the nodule's mask at its widest.")
    noise = f"{short_name(found['attack'])} noise of {found['mas']:g} mAs"
    made: list[Drawing] = [
        slices("seeing_slices",
               f"Slices through the middle of the box, {told} from black to white, true to scale in mm "
               "(after [B] Fig. 5).", _both_labels(chosen), window, malignant),
        attention("seeing_attention", f"Attention over the middle slice, clean and with {noise} (after [B] Fig. 10). "
                  f"{heat}", chosen[:_ATTENDED], window),
        features("seeing_features",
                 "Middle slices of what the first layer hands on (after [B] Fig. 9), of the first case above: clean "
                 "left, noisy right, one grey scale a pair. The number behind each feature is its change; boxed, "
                 "those that change most.", chosen[0] if chosen else None),
        chart("seeing_ranking",
              f"The change of each feature under random noise of {found['mas']:g} mAs: median over all test "
              "images, shaded the 95 % interval over patients. Dotted: these networks with weights drawn anew.",
              ranking(found["features"])),
        chart("seeing_shift",
              "Medians (left two) and mean changes (right two) over reads, averaged over folds, with 95 % "
              "intervals over patients; ticks are the folds. Hollow: too few patients for an interval.",
              *attention_shift(found), columns=4),
        chart("seeing_sanity",
              "How alike two maps of one image are (number of maps): median, quartiles, middle nine tenths. "
              "Orange should lie left of 0.2, and left of blue.", sanity(found))]
    return {drawing.name: drawing for drawing in made}


def chosen_for_page(shown: Sequence[Shown]) -> list[Shown]:
    """Each case once, those that flipped first, in the folds' order."""
    held: dict[str, Shown] = {}
    for one in sorted(shown, key=lambda one: not one.flipped):
        held.setdefault(one.case_id, one)
    return list(held.values())


def draw_seen(stored: Path, folder: Path, window: Window = _WINDOW, classes: Sequence[str] = (),
              shared: Shareable = AS_IT_IS) -> list[Path]:
    """Slices, attention and features of every case of a seen.npz, as PNG and SVG into `folder`; returns the PNGs.

    Raises:
        InputRefused: no seen.npz, or the folder cannot be written.
        Partial: the disk is full.
    """
    malignant = classes[1] if len(classes) == 2 else "class 1"
    made: list[Path] = []
    for number, seen in enumerate(read_shown(stored, classes=classes, shared=shared), 1):
        name = f"{number:02d}-{_UNSAFE.sub('_', seen.case_id)[:60]}"
        made += [drawn.save(folder)[0] for drawn in (
            slices(f"{name}-slices", "", [seen], window, malignant),
            attention(f"{name}-attention", "", [seen], window), features(f"{name}-features", "", seen))]
    return made


def _both_labels(chosen: Sequence[Shown]) -> list[Shown]:
    """Two images, of two labels where there are, as in [B] Fig. 5."""
    if not chosen:
        return []
    other = next((one for one in chosen[1:] if one.label != chosen[0].label), None)
    return [chosen[0], other] if other else list(chosen[:_SLICES])


def ranking(rows: Sequence[Found]) -> Panel:
    """Each network's features from the most changed down: median over the test images, 95 % over patients."""
    lines: list[Line] = []
    for row, look in zip(rows, SERIES * ceil(len(rows) / len(SERIES)), strict=False):
        ranked: Sequence[Found] = row["ranked"]
        values, low, high = ([estimate[name] for estimate in ranked] for name in ("value", "low", "high"))
        silent = f" ({row['silent']} silent)" if row["silent"] else ""
        lines.append(Line(f"fold {row['fold']}{silent}", look, range(1, len(ranked) + 1), values, low, high,
                          marked=None))
    for row in rows:
        if row["random"]:
            listed = not any(line.name == "weights drawn anew" for line in lines)
            lines.append(Line("weights drawn anew", Look(INK, DOTTED), range(1, len(row["random"]) + 1), row["random"],
                              width=1.0, listed=listed))
    if not any(len(line.x) for line in lines):
        return nothing("no features were stored")
    return curve(lines, Axis("features of a network, the most changed first").around([len(line.x) for line in lines]),
                 Axis("change under noise, median"))


def attention_shift(found: Found | None) -> list[Panel]:
    """Four measures of the shift: medians (left two) and mean changes (right two) with 95 % intervals."""
    rows = [row for row in found["shift"] if row["group"] in _GROUPS and row["reads"]] if found else []
    shown = [panel for panel in _PANELS if _known(found, *panel[:2])] if found else []
    if found is None or not rows or not shown:
        return [nothing("attention was not measured")]
    keys = {(row["method"], row["attack"]): f"{method_name(row['method'])}, {short_name(row['attack'])}"
            for row in rows}
    legend = tuple(Entry(words, look) for words, look in zip(("reads that flipped", "reads that did not"),
                                                            _GROUPS.values(), strict=True))
    panels = []
    for at, (table, measure, words) in enumerate(shown):
        lines = [_shifted(name, _estimate(found, table, measure, (*key, group)), look)
                 for key, name in keys.items() for group, look in _GROUPS.items()]
        axis = Axis(words, (0, 1) if measure == "overlap" else None, percent=measure != "distance_mm")
        panels.append(interval(lines, axis, [Rule("x", 0.0)] if table == "paired" else [], key=legend, named=at == 0))
    return panels


def _shifted(name: str, estimate: Estimate | None, look: Look) -> Interval:
    if estimate is None or estimate.value is None:
        return Interval(name, None, None, None, look)
    folds = tuple(float(value) for value in estimate.folds if value is not None)
    return Interval(name, estimate.value, estimate.low, estimate.high, look, hollow=estimate.low is None, plain=True,
                    beside=folds if len(folds) > 1 else ())


def _known(found: Found, table: str, measure: str) -> bool:
    return any(row[measure].value is not None for row in found["shift"]) if table == "shift" else any(
        row["measure"] == measure for row in found["paired"])


def _estimate(found: Found, table: str, measure: str, key: tuple[str, str, str]) -> Estimate | None:
    for row in found[table]:
        if (row["method"], row["attack"], row["group"]) == key and row.get("measure", measure) == measure:
            value: Estimate = row[measure if table == "shift" else "difference"]
            return value
    return None


def sanity(found: Found | None) -> Panel:
    """Rank correlation of the maps with those of random weights, and of clean with noisy maps, a line a kind."""
    lines = []
    found = found or {"methods": ()}
    for method in found["methods"]:
        for table, words, look in (("sanity", "{randomised} drawn anew", Look(ORANGE, marker="diamond")),
                                   ("alike", "clean and noisy, {noise} noise", Look(BLUE))):
            lines += [Interval(f"{_words(words, row)} ({row['maps']})", row["median"], row["low"], row["high"],
                               look, method_name(method), inner=(row["quartile_1"], row["quartile_3"]))
                      for row in found[table] if row["method"] == method and row["median"] is not None]
    if not lines:
        return nothing("maps of random weights were not made")
    low = min(-0.3, *(float(line.low or 0) for line in lines)) - 0.05
    return interval(lines, Axis("rank correlation of two maps", (low, 1.02)),
                    [Rule("x", level) for level in (0.0, DEPENDS, HARDLY)])


def _words(words: str, row: Found) -> str:
    return words.format(randomised=row.get("randomised"), noise=short_name(row["attack"]) if "attack" in row else "")
