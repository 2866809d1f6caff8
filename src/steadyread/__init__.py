"""How steady is an imaging classifier's read? Smallest flips, triage and hardening for diagnostic images.

The public names are imported when first used, so that `import steadyread` and the command line's help
cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steadyread._version import __version__
from steadyread.errors import SteadyreadError
from steadyread.units import Bounds

if TYPE_CHECKING:
    from steadyread.assessed import Assessment, assess, open_run
    from steadyread.attacks.flip_probability import flip_probability
    from steadyread.attacks.optimised_noise import optimised_ct_noise
    from steadyread.attacks.random_noise import random_ct_noise
    from steadyread.attacks.rare_flips import rare_flip_probability
    from steadyread.attacks.recipe import attack
    from steadyread.attacks.recipes.apgd import apgd
    from steadyread.attacks.recipes.bim import bim
    from steadyread.attacks.recipes.fgsm import fgsm
    from steadyread.attacks.recipes.pgd import pgd
    from steadyread.attacks.smallest_flip import smallest_flip
    from steadyread.cases import Cases, open_cases
    from steadyread.classifier import Classifier
    from steadyread.comparing import compare
    from steadyread.networks import load_classifier
    from steadyread.threats import CTNoise, Linf, Spectrum
    from steadyread.workflows import audit, check, harden, run, triage

__all__ = ["Assessment", "Bounds", "CTNoise", "Cases", "Classifier", "Linf", "Spectrum", "SteadyreadError",
           "__version__", "apgd", "assess", "attack", "audit", "bim", "check", "compare", "fgsm", "flip_probability",
           "harden", "load_classifier", "open_cases", "open_run", "optimised_ct_noise", "pgd", "random_ct_noise",
           "rare_flip_probability", "run", "smallest_flip", "triage"]

_ROOMS = {
    "assessed": "Assessment assess open_run", "attacks.flip_probability": "flip_probability",
    "attacks.optimised_noise": "optimised_ct_noise", "attacks.random_noise": "random_ct_noise",
    "attacks.rare_flips": "rare_flip_probability", "attacks.recipe": "attack",
    **{f"attacks.recipes.{name}": name for name in ("apgd", "bim", "fgsm", "pgd")},
    "attacks.smallest_flip": "smallest_flip", "cases": "Cases open_cases", "classifier": "Classifier",
    "comparing": "compare", "networks": "load_classifier",
    "threats": "CTNoise Linf Spectrum", "workflows": "audit check harden run triage"}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'steadyread' has no attribute '{name}'")
    found = getattr(import_module(f"steadyread.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
