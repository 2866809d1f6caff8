"""Attacks by the name that study files and the command line use."""

from collections.abc import Callable
from typing import Any

from steadyread.attacks.apgd import apgd
from steadyread.attacks.recipes import bim, fgsm, pgd
from steadyread.attacks.square import Square
from steadyread.errors import UsageError

# Each takes epsilon (native units) first; its other arguments are keys of a study's attacks.settings.
RECIPES: dict[str, Callable[..., Any]] = {}


def register(name: str, make: Callable[..., Any]) -> None:
    """Give an attack a name. Its other arguments become keys of a study.

    Raises:
        UsageError: the name is taken.
    """
    if name in RECIPES:
        raise UsageError(f"there is an attack '{name}' already; give this one another name")
    RECIPES[name] = make


for _name, _make in (("fgsm", fgsm), ("bim", bim), ("pgd", pgd), ("apgd", apgd), ("square", Square)):
    register(_name, _make)
