"""Every figure of a noise study's page, with the sentence that stands below it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from steadyread.charts import (
    Axis,
    Chart,
    Cloud,
    Entry,
    Interval,
    Line,
    Panel,
    Rule,
    chart,
    curve,
    interval,
    nothing,
    scatter,
)
from steadyread.charts.examples import NoiseExample, noise_examples
from steadyread.charts.look import BLUE, DASHED, DOTTED, GREEN, INK, SERIES, VERMILION, Look
from steadyread.metrics.dose import LEVELS
from steadyread.metrics.dose_fall import critical_curve, moments_of
from steadyread.metrics.intervals import Estimate, Floats
from steadyread.metrics.noise import row_of, sar_curve
from steadyread.metrics.noise_classes import roc_curves
from steadyread.metrics.reads import PAPER, PAPER_HU, PLAUSIBLE, POOLED, RANDOM, RINGS, Reads
from steadyread.report.dose_drawings import DOSE_LOOKS, DoseLine, dose_axis, sar_panel, share_by_dose
from steadyread.report.drawings import Drawing, roc
from steadyread.words.noise import group_rows, noise_name, variant_name
from steadyread.words.noise import mas as said_mas

Summary = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]
DOSES = "doses"          # the name of the chart of the answer
_FEWEST_TRIALS = 5       # of an attack, for whose SAR a curve says anything
_KINDS = ((RANDOM,), (RINGS, PLAUSIBLE), (PAPER, POOLED, PAPER_HU))   # one of each has its SAR curves drawn
_LEVEL_LOOKS = (Look(VERMILION), Look(BLUE, DASHED), Look(GREEN, (7, 3, 2, 3)))
_NAMED = 6       # folds, beyond which a key does not name each
_MEASURES = (("largest_local_sigma_hu", "largest local sigma, HU"), ("kurtosis", "excess kurtosis"),
             ("z_correlation", "correlation along z"))


def noise_drawings(found: Summary, main: Reads, examples: Sequence[NoiseExample],
                   window: tuple[float, float]) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    counted = found["counted"]
    clean = next((row for row in found["classification"] if row["part"] == found["part"]), None)
    malignant = found["classes"][1] if len(found["classes"]) == 2 else "class 1"
    made: list[Drawing] = [
        *_sar(found, main), _doses(found), *_falls(found, main),
        chart("drift_jitter",
              "Drift falls about as 1/mAs, jitter as 1/√mAs: at low dose noise pushes, at high dose it shakes.",
              drift_and_jitter(found["drift"], found["classes"])),
        chart("counted",
              "P(flip) against the count of many draws, where it is hard; vertical lines are 95 % intervals.",
              counted_against_estimated(counted["points"] if counted else None,
                                        " or ".join(map(str, counted["draws"])) if counted else "16")),
        chart("plausibility", "Median (mark) to 95th percentile over the reads, at one dose. The further from random, "
              "the less the noise looks like a scanner's.", *plausibility(
                  [row for row in found["plausibility"] if row["mas"] == found["stated_mas"]])),
        chart("roc", "Receiver operating characteristic of each fold's network on the clean images.",
              fold_rocs(roc_curves(main, found["part"]), clean["auc"] if clean else None)),
        chart("spectrum", "The noise power spectrum at each dose; the power goes as 1/mAs.",
              spectrum(found["spectrum"], found["doses"])),
        chart("subgroups", "Reads changed by random noise by group (number of cases), with 95 % intervals over "
              "patients; dashed: all cases. A cross: too few patients for an interval.",
              *subgroups(group_rows(found))),
        chart("variants", "Mean and SD over folds.",
              variants(found["table_3"])),
        noise_examples(examples, window, malignant)]
    return {drawing.name: drawing for drawing in made}


def _sar(found: Summary, main: Reads) -> list[Chart]:
    """[B] Figs 7 and 8 for random noise and the optimised attacks of enough starts."""
    tried = {row["attack"] for row in found["rows"] if (row["trials"] or 0) >= _FEWEST_TRIALS}
    shown = [next((attack for attack in kind if attack in tried), None) for kind in _KINDS]
    made = []
    for attack in filter(None, shown):
        for part in ("train", "test"):
            curves = [(f"{curve_['mas']:g} mAs", curve_) for mas in main.doses(attack)
                      if (curve_ := sar_curve(main, attack, mas, part))]
            if curves:
                name = noise_name(attack)
                looks = DOSE_LOOKS * (1 + len(curves) // len(DOSE_LOOKS))
                made.append(chart(f"sar_{attack.removesuffix('_ct_noise')}_{part}",
                                  f"{name}, {part}: the share of samples whose SAR exceeds a level; shaded: "
                                  "range over the folds. Where a curve meets the left axis is SAN.",
                                  sar_panel([(*named, look) for named, look in zip(curves, looks, strict=False)],
                                            f"{name}, {part}")))
    return made


def _doses(found: Summary) -> Chart:
    part, doses = found["part"], found["doses"]
    lines = []
    one_draw = [(row["mas"], row["one_draw"]) for row in found["rows"]
                if (row["attack"], row["part"]) == (RANDOM, part) and row["one_draw"]]
    if one_draw:
        lines.append(DoseLine("random, one draw", [mas for mas, _ in one_draw], [share for _, share in one_draw]))
    for attack, name in ((RANDOM, "random, once in K"), (PLAUSIBLE, "ours, plausible"), (RINGS, "ours, rings")):
        rows = [row for mas in doses if (row := row_of(found["rows"], attack, mas, part))]
        if rows:
            lines.append(DoseLine(name, [row["mas"] for row in rows], [row["san"] for row in rows]))
    title = f"K = {found['trials']} random draws" if found["trials"] else ""
    return chart(DOSES,
                 "Reads changed by the dose of the noise; bands are 95 % intervals over patients at each dose.",
                 share_by_dose(list(zip(lines, SERIES, strict=False)), title))


def _falls(found: Summary, main: Reads) -> list[Chart]:
    moments = moments_of(main, found["part"])
    counted = [row for row in found["rows"] if (row["attack"], row["part"]) == (RANDOM, found["part"])]
    curves = [critical_curve(moments, level) for level in LEVELS] if moments is not None else []
    return [chart("dose_fall",
                  "Expected share of reads that one draw of noise changes, at any dose, from margin, drift "
                  "and jitter of every read.", dose_fall(found["dose_fall"], counted)),
            chart("critical",
                  "At each dose, the share of reads whose P(flip) exceeds a level there: the distribution of "
                  "the critical mAs. Shaded: range over the folds.", critical_doses(curves))]


def drift_and_jitter(rows: Rows, classes: Sequence[str]) -> Panel:
    """Median |drift| (filled) and jitter (hollow) by dose and predicted class, with 95 % intervals; axes log."""
    known = [row for row in rows if row["size"] is not None and row["size"].value and row["jitter"].value]
    if not known:
        return nothing("drift and jitter were not recorded")
    lines = []
    for label, look in zip(sorted({row["class"] for row in known}), (SERIES[2], SERIES[0], *SERIES[3:]), strict=False):
        of_class = [row for row in known if row["class"] == label]
        name = classes[label] if 0 <= label < len(classes) else str(label)
        for measure, dash, words in (("size", (1.0, 0.0), "|drift|"), ("jitter", DOTTED, "jitter")):
            values = [row[measure] for row in of_class]
            lines.append(Line(f"{words}, read as {name[:14]}", replace(look, dash=dash),
                              [row["mas"] for row in of_class], [value.value for value in values],
                              [value.low for value in values], [value.high for value in values], marked=None,
                              hollow=measure == "jitter"))
    heights = [float(value) for line in lines for side in (line.y, line.low, line.high) for value in side
               if value and value > 0]
    return curve(lines, dose_axis(sorted({row["mas"] for row in known})),
                 Axis("median over the reads, logits", log=True).around(heights, 1.15))


def critical_doses(curves: Rows) -> Panel:
    """The share of reads whose P(flip) exceeds a level at a dose: those whose critical mAs is that or more."""
    if not curves:
        return nothing("critical doses need drift and jitter, which were not recorded")
    lines = [Line(f"P(flip) above {100 * found['level']:g} %", look, found["mas"], found["mean"], found["least"],
                  found["most"]) for found, look in zip(curves, _LEVEL_LOOKS, strict=False)]
    return curve(lines, _any_dose(curves[0]["mas"]), Axis("reads with a higher critical mAs, %", percent=True))


def dose_fall(fall: Mapping[str, Any] | None, counted: Rows) -> Panel:
    """The expected share of reads changed at any dose, its 95 % band over patients, and what was counted.

    Lines at 1 % and 5 % end at the dose at which the curve crosses them.
    """
    if fall is None:
        return nothing("needs drift and jitter, which were not recorded")
    scale = np.asarray(fall["mas"], float)
    ends = (fall["low"], fall["high"]) if np.isfinite(fall["low"]).all() else ((), ())
    lines = [Line("expected, any dose (95 % at each dose)", Look(INK), scale, fall["mean"], *ends)]
    known = [row for row in counted if row["one_draw"] is not None and row["one_draw"].value]
    if known:
        lines.append(Line("counted, mean SAR", Look(VERMILION), [row["mas"] for row in known],
                          [row["one_draw"].value for row in known], marked=None, joined=False))
    top = max(0.2, 1.3 * float(np.nanmax(fall["mean"])))
    floor = max(1e-4, min(0.005, 0.6 * max(float(np.nanmin(fall["mean"])), 1e-6)))
    axis = _any_dose(scale)
    rules = [rule for share, dose in fall["dose_of_share"].items() for rule in _crossing(float(share), dose, scale)
             if floor < float(share) < top]
    return curve(lines, axis, Axis("reads changed by one draw, %", (floor, top), log=True, percent=True), rules)


def _crossing(share: float, dose: Estimate, scale: Floats) -> list[Rule]:
    """The rules of a share, as far as the dose at which the curve crosses it."""
    if dose.value is None:
        return []
    inside = 0 < dose.value < np.inf
    upto = float(dose.value if inside else scale[0] if dose.value == 0 else scale[-1])
    words = f"{100 * share:g} %: {said_mas(dose.value, float(scale[-1]), float(scale[0]))}"
    return [Rule("y", share, words, upto, left=True), *([Rule("x", upto, upto=share)] if inside else [])]


def _any_dose(scale: Any) -> Axis:
    """An axis over a scale of doses, with round ones as ticks."""
    low, high = float(scale[0]), float(scale[-1])
    return Axis("dose of the noise, mAs", (low, high if high > low else 2 * low), log=True)


def counted_against_estimated(points: Mapping[str, Floats] | None, draws: str = "16") -> Panel:
    """P(flip) from a few draws with its 95 % interval against the count of many, a point a pair that is hard."""
    if points is None or not len(points["counted"]):
        return nothing("no pairs were counted")
    counted = points["counted"]
    holds = (points["low"] <= counted) & (counted <= points["high"])
    clouds = [Cloud(name, look, counted[of], points["probability"][of], points["low"][of], points["high"][of])
              for name, look, of in (("interval holds the count", Look(BLUE), holds),
                                     ("interval misses it", Look(VERMILION, marker="square"), ~holds))]
    return scatter(clouds, Axis("flips counted, % of many draws", (-0.01, 1.01), percent=True),
                   Axis(f"P(flip) estimated from {draws} draws, %", (-0.01, 1.01), percent=True), diagonal=True,
                   height=380)


def plausibility(rows: Rows) -> list[Panel]:
    """Median (mark) to 95th percentile (line's end) of each measure, an attack a line, at one dose."""
    measures = [(name, words) for name, words in _MEASURES if any(row[name] for row in rows)]
    if not rows or not measures:
        return [nothing("nothing was measured of the noise")]
    panels = []
    for at, (name, words) in enumerate(measures):
        lines = [Interval(noise_name(row["attack"]), row[name]["median"] if row[name] else None,
                          row[name]["median"] if row[name] else None, row[name]["high"] if row[name] else None,
                          SERIES[place % len(SERIES)]) for place, row in enumerate(rows)]
        panels.append(interval(lines, Axis(words), [Rule("x", 0.0)], named=at == 0))
    return panels


def fold_rocs(curves: Sequence[tuple[int, Floats, Floats]], area: Estimate | None) -> Panel:
    """The receiver operating characteristic of each fold's network."""
    title = "" if area is None or area.value is None else f"AUC {area.value:.3f}" + (
        f" ± {area.sd:.3f}" if area.sd is not None else "")
    panel = roc({f"fold {fold}": (false, true) for fold, false, true in curves}, title,
                "one class only, or more than two: no curve")
    if len(curves) > _NAMED:
        return replace(panel, key=(Entry(f"{len(curves)} folds", Look(INK), mark=False),))
    return panel


def spectrum(stored: Mapping[str, Any] | None, doses: Sequence[float]) -> Panel:
    """The power of the noise at each dose, with the sigma that it gives on the grid."""
    if stored is None or not doses:
        return nothing("no spectrum was stored")
    frequency, power = (np.asarray(stored[name], float) for name in ("frequency_per_mm", "power_hu2_mm2"))
    lines = []
    for mas, look in zip(doses, DOSE_LOOKS * (1 + len(doses) // len(DOSE_LOOKS)), strict=False):
        sigma = stored["sigma_hu"].get(f"{mas:g}")
        name = f"{mas:g} mAs" + (f": σ {sigma:.1f} HU" if sigma is not None else "")
        lines.append(Line(name, look, frequency, power * stored["reference_mas"] / mas))
    spacing = stored.get("grid_mm")
    rules = [Rule("x", 0.5 / spacing, "Nyquist of the image's grid")] if (
        isinstance(spacing, int | float) and spacing > 0) else []
    lowest = power.max() / 100 * min(doses) / max(doses)
    top, bottom = (float(power.max() * stored["reference_mas"] / mas) for mas in (min(doses), max(doses)))
    return curve(lines, Axis("spatial frequency, 1/mm", (0, 1.05 * float(frequency[power >= lowest].max()))),
                 Axis("noise power, HU² mm²", (bottom / 100, top * 1.6), log=True), rules)


def subgroups(rows: Rows) -> list[Panel]:
    """SAN and expected flip rate of each group, with 95 % intervals; dashed lines at the value of all cases."""
    if len(rows) < 2:
        return [nothing("nothing is known of the cases to group them by")]
    panels = []
    for at, (name, words) in enumerate((("san", "at least once in K, %"), ("expected", "in one draw, %"))):
        shares = [row[name] or Estimate(None) for row in rows]
        lines = [Interval(f"{row.get('name') or row['group']} ({row['cases']})", share.value, share.low, share.high,
                          Look(BLUE if row["kind"] else INK), row["kind"][:1].upper() + row["kind"][1:])
                 for row, share in zip(rows, shares, strict=True)]
        whole = shares[0].value
        panels.append(interval(lines, Axis(f"reads changed {words}", percent=True),
                               [Rule("x", whole, dash=DASHED)] if whole is not None else [], named=at == 0))
    return panels


def variants(rows: Rows) -> Panel:
    """SAN of each variant's test reads, mean and SD over folds."""
    known = [row for row in rows if row["test"] and row["test"]["san"].value is not None]
    if not known:
        return nothing("no network was tried with random noise at this dose")
    lines = []
    for row in known:
        san = row["test"]["san"]
        lines.append(Interval(variant_name(row["variant"]), san.value, san.value - (san.sd or 0),
                              san.value + (san.sd or 0), Look(BLUE)))
    words = f"test reads changed at least once at {known[0]['test']['mas']:g} mAs, %"
    return interval(lines, Axis(words, percent=True))
