"""Whether the stated probabilities are true, beside how well they sort, and which threshold validation would choose."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.calibration import BINS
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.paired_tests import holm
from steadyread.report import forms
from steadyread.report.items import Figure, Item, Text, grid
from steadyread.report.networks import Network, Networks
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.table import As, Column, Form, table
from steadyread.words.numbers import p_shown, percent

# Four figures judge one network: each at 0.05 / 4, where the reach of an interval is about 1.3 times that of 95 %, so
# that of true probabilities one verdict in twenty is wrong and not one in seven.
_ALPHA, _REACH = 0.05 / 4, 1.3
_P = Form(p_shown, beside=lambda _: "")
_WHAT = (f"Expected calibration error: the mean distance of stated and true share over at most {BINS} bins of as "
         "many reads each, less what chance adds (arXiv:1909.10155). Brier score: the mean squared distance; beside it "
         "that of always stating the overall share. Slope and intercept are those of logistic recalibration "
         "(doi:10.1016/j.jclinepi.2015.12.005): a slope below 1 means too sure, an intercept below 0 states too much. "
         "Spiegelhalter's z (doi:10.1002/sim.4780050506) is above 0 where the network is too sure. It is called not "
         "calibrated only if one of the four says so at 98.75 %.")


@section("Calibration of the stated probabilities", of=Plain, order=510)
def calibration(plain: Plain) -> Iterator[Item]:
    """The reliability diagram and the figures, and the network's own threshold beside that of validation."""
    found, classes = plain.summary["calibration"], plain.summary["classes"]
    if "brier" not in found:
        yield Text("No read with a label states a probability.")
        return
    of = "that the prediction is right" if found["top"] else f"of {classes[1]}"
    columns = [Column("Measure", forms.TEXT), Column("Value", forms.share(1, 3)), Column("If true", forms.COUNT)]
    rows = [("Expected calibration error, %", As(found["ece"], forms.share()), "0") if "ece" in found else None,
            ("Brier score", found["brier"], forms.number(found["base"], 1, 3)),
            *((name, As(found[key], forms.share(1, 2)), ideal) if key in found else None for name, key, ideal in (
                ("Slope", "calibration_slope", "1"), ("Intercept", "calibration_intercept", "0"))),
            *([("Spiegelhalter's z", As(found["spiegelhalter_z"], forms.share(1, 2)), "0"),
               ("p of true probabilities, by z", As(found["spiegelhalter_p"].value, _P), "")]
              if "spiegelhalter_z" in found else ())]
    yield Text(f"The probability {of}: {verdict(found)}")
    yield grid(table(columns, [row for row in rows if row is not None], note=_WHAT), Figure("reliability"))
    if not found["top"]:
        yield Text(_thresholds(found, classes))


@section("Calibration by finding", of=Networks, order=520)
def calibration_by_finding(networks: Networks) -> Iterator[Item]:
    """A row a finding, with p corrected for their number."""
    if len(networks.findings) < 2:
        return     # of one the section above says all
    corrected = holm([_value(each, "spiegelhalter_p") for each in networks.findings])
    columns = [Column("Finding", forms.TEXT, head=True), Column("Expected error, %", forms.stacked()),
               Column("Brier", forms.stacked(1, 3)), Column("Slope", forms.stacked(1, 2)),
               Column("Intercept", forms.stacked(1, 2)), Column("z", forms.only(2, 1)),
               Column("p (Holm)", forms.P_VALUE), Column("Own", forms.only(2, 1), "Threshold"),
               Column("By validation", forms.stacked(1, 2), "Threshold")]
    rows = [(each.title, *map(each.estimate, ("ece", "brier", "calibration_slope", "calibration_intercept")),
             _value(each, "spiegelhalter_z"), p, _value(each, "threshold"), each.estimate("youden_threshold"))
            for each, p in zip(networks.findings, corrected, strict=True)]
    note = "" if any(each.estimate("youden_threshold") for each in networks.findings) else (
        " There are no validation images to choose a threshold on.")
    yield table(columns, rows, tone="snug",
                note=f"The measures are those of the section above; p is that of z, corrected (Holm) over the "
                f"findings.{note}")


def _value(network: Network, measure: str) -> float | None:
    found = network.estimate(measure)
    return found.value if found is not None else None


def verdict(found: Mapping[str, Any]) -> str:
    """What the figures come to, in words."""
    told = [words for key, ideal, below, above in (
        ("calibration_slope", 1.0, "too sure of itself (slope below 1)", "not sure enough (slope above 1)"),
        ("calibration_intercept", 0.0, "it states too much (intercept below 0)",
         "it states too little (intercept above 0)")) if (words := _way(found.get(key), ideal, below, above))]
    if told:
        return f"the network is not calibrated: {'; '.join(told)}."
    p = found["spiegelhalter_p"].value if "spiegelhalter_p" in found else None
    if (p is not None and p < _ALPHA) or _beyond(found.get("ece"), 0.0) > 0:
        return "the network is not calibrated, though neither slope nor intercept says how."
    if found.get("calibration_slope") is None or found["calibration_slope"].low is None:
        return "there are too few reads to tell whether it is true."
    return "nothing here shows it to be untrue."


def _way(estimate: Estimate | None, ideal: float, below: str, above: str) -> str:
    return {-1: below, 0: "", 1: above}[_beyond(estimate, ideal)]


def _beyond(estimate: Estimate | None, ideal: float) -> int:
    """On which side of the ideal a figure lies, 0 where that is not detectable at the level of one of four."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return 0
    off = estimate.value - ideal
    reach = estimate.value - estimate.low if off > 0 else estimate.high - estimate.value
    return int(off > _REACH * reach) - int(-off > _REACH * reach)


def _thresholds(found: Mapping[str, Any], classes: list[str]) -> str:
    own = forms.number(found["threshold"].value, 1, 2)
    if "youden_threshold" not in found:
        return (f"The network says {classes[1]} above a probability of {own}. No other is suggested: there are no "
                "validation images, and one chosen on the images that it is judged on flatters.")
    chosen = found["youden_threshold"]
    between = "" if chosen.low is None else f" (95 %: {forms.interval(chosen, 1, 2)})"
    return (f"The network says {classes[1]} above a probability of {own}. Validation images would choose "
            f"{forms.number(chosen.value, 1, 2)}{between}, where sensitivity and specificity together are highest "
            f"(Youden). With it, sensitivity here is {percent(found['youden_sensitivity'].value)} and specificity "
            f"{percent(found['youden_specificity'].value)}.")
