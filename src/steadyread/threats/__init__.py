"""What may be done to an image."""

from steadyread.threats.linf import Linf
from steadyread.threats.threat import Threat

__all__ = ["Linf", "Threat"]
