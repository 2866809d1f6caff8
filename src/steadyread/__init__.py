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
    from steadyread.assessment import assess
    from steadyread.attacks.apgd import apgd
    from steadyread.attacks.flip_probability import flip_probability
    from steadyread.attacks.optimised_noise import optimised_ct_noise
    from steadyread.attacks.random_noise import random_ct_noise
    from steadyread.attacks.rare_flips import rare_flip_probability
    from steadyread.attacks.recipes import attack, bim, fgsm, pgd
    from steadyread.attacks.smallest_flip import smallest_flip
    from steadyread.cases import open_cases
    from steadyread.classifier import Classifier
    from steadyread.threats import CTNoise, Linf, Spectrum

__all__ = ["Bounds", "CTNoise", "Classifier", "Linf", "Spectrum", "SteadyreadError", "__version__", "apgd",
           "assess", "attack", "bim", "fgsm", "flip_probability", "open_cases", "optimised_ct_noise", "pgd",
           "random_ct_noise", "rare_flip_probability", "smallest_flip"]

_HOME = {"CTNoise": "threats", "Classifier": "classifier", "Linf": "threats", "Spectrum": "threats",
         "apgd": "attacks.apgd", "assess": "assessment", "attack": "attacks.recipes", "bim": "attacks.recipes",
         "fgsm": "attacks.recipes", "flip_probability": "attacks.flip_probability", "open_cases": "cases",
         "optimised_ct_noise": "attacks.optimised_noise", "pgd": "attacks.recipes",
         "random_ct_noise": "attacks.random_noise", "rare_flip_probability": "attacks.rare_flips",
         "smallest_flip": "attacks.smallest_flip"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'steadyread' has no attribute '{name}'")
    found = getattr(import_module(f"steadyread.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
