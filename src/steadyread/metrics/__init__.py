"""Rows into numbers with intervals. Reads records only; knows nothing of models or pictures."""

from steadyread.metrics.aligned import reads_of
from steadyread.metrics.discrimination import discrimination, roc_curve
from steadyread.metrics.guarantee import guarantee
from steadyread.metrics.intervals import Estimate, bootstrap, clopper_pearson, share
from steadyread.metrics.reads import Outcome, Reads
from steadyread.metrics.robustness import Curve, Merged, accuracy_under_attack, merged_found_size, step_curve
from steadyread.metrics.summary import summarise
from steadyread.metrics.triage import risk_coverage, scores, threshold_for, triage

__all__ = [
    "Curve",
    "Estimate",
    "Merged",
    "Outcome",
    "Reads",
    "accuracy_under_attack",
    "bootstrap",
    "clopper_pearson",
    "discrimination",
    "guarantee",
    "merged_found_size",
    "reads_of",
    "risk_coverage",
    "roc_curve",
    "scores",
    "share",
    "step_curve",
    "summarise",
    "threshold_for",
    "triage",
]
