"""What may be done to an image."""

from steadyread.threats.ct_noise import CTNoise
from steadyread.threats.linf import Linf
from steadyread.threats.spectrum import Spectrum
from steadyread.threats.threat import Threat, threat

__all__ = ["CTNoise", "Linf", "Spectrum", "Threat", "threat"]
