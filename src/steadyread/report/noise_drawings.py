"""Every figure of a noise study's page, with the sentence that stands below it."""

from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.figures import noise as drawn
from steadyread.figures import noise_checks as checks
from steadyread.figures.noise import DoseLine
from steadyread.figures.noise_examples import NoiseExample, noise_examples
from steadyread.metrics import published
from steadyread.metrics.dose import LEVELS
from steadyread.metrics.dose_fall import critical_curve, moments_of
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import row_of, sar_curve
from steadyread.metrics.noise_classes import roc_curves
from steadyread.metrics.reads import PAPER, PAPER_HU, PLAUSIBLE, POOLED, RANDOM, RINGS, Reads
from steadyread.report.drawings import Drawing
from steadyread.words.noise import group_rows, noise_name

Summary = Mapping[str, Any]
_FEWEST_TRIALS = 5       # of an attack, for whose SAR a curve says anything
_KINDS = ((RANDOM,), (RINGS, PLAUSIBLE), (PAPER, POOLED, PAPER_HU))   # one of each has its SAR curves drawn


def noise_drawings(found: Summary, main: Reads, examples: Sequence[NoiseExample],
                   window: tuple[float, float]) -> dict[str, Drawing]:
    """All figures by name; each tells in words where it has nothing to show."""
    counted = found["counted"]
    clean = next((row for row in found["classification"] if row["part"] == found["part"]), None)
    malignant = found["classes"][1] if len(found["classes"]) == 2 else "class 1"
    made = [
        *_sar(found, main), _doses(found), *_falls(found, main),
        Drawing("drift_jitter", drawn.drift_and_jitter(found["drift"], found["classes"]),
                "Drift falls about as 1/mAs, jitter as 1/√mAs: at low dose noise pushes, at high dose it shakes."),
        Drawing("counted", checks.counted_against_estimated(
            counted["points"] if counted else None, " or ".join(map(str, counted["draws"])) if counted else "16"),
            "P(flip) against the count of many draws, where it is hard; vertical lines are 95 % intervals."),
        Drawing("plausibility", checks.plausibility(
            [row for row in found["plausibility"] if row["mas"] == found["stated_mas"]]),
                "Median (mark) to 95th percentile over the reads, at one dose. The further from random, the less "
                "the noise looks like a scanner's."),
        Drawing("roc", checks.fold_rocs(roc_curves(main, found["part"]), clean["auc"] if clean else None),
                "Receiver operating characteristic of each fold's network on the clean images."),
        Drawing("spectrum", checks.spectrum(found["spectrum"], found["doses"]),
                "The noise power spectrum at each dose; the power goes as 1/mAs."),
        Drawing("subgroups", checks.forest(group_rows(found), found["stated_mas"] or 0.0),
                "Reads changed by random noise by group (number of cases), with 95 % intervals over patients; "
                "dashed: all cases. A cross: too few patients for an interval."),
        Drawing("variants", checks.variants(found["table_3"]),
                "Mean and SD over folds; hollow: the paper's own, of other data, network and noise."),
        Drawing("examples", noise_examples(examples, window, malignant), "Clean, noise, noisy.")]
    return {drawing.name: drawing for drawing in made}


def _sar(found: Summary, main: Reads) -> list[Drawing]:
    """[B] Figs 7 and 8 for random noise and the optimised attacks of enough starts."""
    tried = {row["attack"] for row in found["rows"] if (row["trials"] or 0) >= _FEWEST_TRIALS}
    shown = [next((attack for attack in kind if attack in tried), None) for kind in _KINDS]
    made = []
    for attack in filter(None, shown):
        for part in ("train", "test"):
            curves = [curve for mas in main.doses(attack) if (curve := sar_curve(main, attack, mas, part))]
            if curves:
                name = noise_name(attack)
                made.append(Drawing(f"sar_{attack.removesuffix('_ct_noise')}_{part}",
                                    drawn.sar_curves(curves, f"{name}, {part}"),
                                    f"{name}, {part}: the share of samples whose SAR exceeds a level; shaded: "
                                    "range over the folds. Where a curve meets the left axis is SAN."))
    return made


def _doses(found: Summary) -> Drawing:
    part, doses = found["part"], found["doses"]
    lines = []
    one_draw = [(row["mas"], row["one_draw"]) for row in found["rows"]
                if (row["attack"], row["part"]) == (RANDOM, part) and row["one_draw"]]
    if one_draw:
        lines.append(DoseLine("random, one draw", [mas for mas, _ in one_draw], [one for _, one in one_draw]))
    for attack, name in ((RANDOM, "random, once in K"), (PLAUSIBLE, "ours, plausible"), (RINGS, "ours, rings")):
        rows = [row for mas in doses if (row := row_of(found["rows"], attack, mas, part))]
        if rows:
            lines.append(DoseLine(name, [row["mas"] for row in rows], [row["san"] for row in rows]))
    if lines:
        lines += [DoseLine(f"[B] {name}, test", [mas for mas, _ in held], [one for _, one in held], paper=True)
                  for name in ("random", "optimised") if (held := _printed(name, doses))]
    return Drawing("doses", drawn.dose_curve(lines, found["trials"]),
                   "Reads changed by the dose of the noise; bands are 95 % intervals over patients at each dose. "
                   "Hollow: [B] Table 2, the paper's own data, network, spectrum and K = 50.")


def _printed(attack: str, doses: Sequence[float]) -> list[tuple[float, Estimate]]:
    held = [(mas, printed) for mas in doses if (printed := published.san_printed(attack, "test", mas))]
    return [(mas, Estimate(printed.mean / 100, sd=printed.sd / 100)) for mas, printed in held]


def _falls(found: Summary, main: Reads) -> list[Drawing]:
    moments = moments_of(main, found["part"])
    counted = [row for row in found["rows"] if (row["attack"], row["part"]) == (RANDOM, found["part"])]
    curves = [critical_curve(moments, level) for level in LEVELS] if moments is not None else []
    return [Drawing("dose_fall", drawn.dose_fall(found["dose_fall"], counted),
                    "Expected share of reads that one draw of noise changes, at any dose, from margin, drift and "
                    "jitter of every read."),
            Drawing("critical", drawn.critical_doses(curves),
                    "At each dose, the share of reads whose P(flip) exceeds a level there: the distribution of the "
                    "critical mAs. Shaded: range over the folds.")]
