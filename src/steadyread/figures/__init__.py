"""One function a figure. Each takes plain numbers, returns a matplotlib Figure and works on empty data."""

from steadyread.figures.discrimination import roc
from steadyread.figures.examples import Example, examples
from steadyread.figures.robustness import AttackPoints, accuracy_curve, smallest_flip_histogram
from steadyread.figures.style import save, svg
from steadyread.figures.training import training_curve
from steadyread.figures.triage import RiskLine, TriageBar, risk_coverage, score_scatter, triage_bars

__all__ = [
    "AttackPoints",
    "Example",
    "RiskLine",
    "TriageBar",
    "accuracy_curve",
    "examples",
    "risk_coverage",
    "roc",
    "save",
    "score_scatter",
    "smallest_flip_histogram",
    "svg",
    "training_curve",
    "triage_bars",
]
