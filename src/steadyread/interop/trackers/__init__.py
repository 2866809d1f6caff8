"""Trackers of experiments, a file each, which registers itself; see `steadyread.interop.tracker`."""
