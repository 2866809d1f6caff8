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
    from steadyread.attacks.recipes import attack, bim, fgsm, pgd
    from steadyread.attacks.smallest_flip import smallest_flip
    from steadyread.cases import open_cases
    from steadyread.classifier import Classifier
    from steadyread.threats import Linf

__all__ = ["Bounds", "Classifier", "Linf", "SteadyreadError", "__version__", "assess", "attack", "bim", "fgsm",
           "open_cases", "pgd", "smallest_flip"]

_HOME = {"Classifier": "classifier", "Linf": "threats", "assess": "assessment", "attack": "attacks.recipes",
         "bim": "attacks.recipes", "fgsm": "attacks.recipes", "open_cases": "cases", "pgd": "attacks.recipes",
         "smallest_flip": "attacks.smallest_flip"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'steadyread' has no attribute '{name}'")
    found = getattr(import_module(f"steadyread.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
