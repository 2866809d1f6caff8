"""A run's folder into one page that a reader can open from disk, with its figures and summary.json."""

from steadyread.report.run import write_report

__all__ = ["write_report"]
