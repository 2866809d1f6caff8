"""Formats of networks, a file each; each registers itself in `FORMATS` (see `steadyread.models.format`)."""
