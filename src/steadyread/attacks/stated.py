"""Attacks as a study states them: by name, with settings and sizes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steadyread.registry import ATTACKS


def stated_attacks(name: str, settings: Mapping[str, Any], sizes: Sequence[float], loss: str
                   ) -> list[Callable[..., Any]]:
    """The named attack at each of the sizes (native units), with the study's `loss` unless its settings have one.

    One that takes `epsilons` is made once, of all of the sizes. One that takes neither has levels of its own, among its
    settings, and is made once too.

    Raises:
        UsageError: no such attack, or a setting that cannot be.
    """
    maker = ATTACKS.named(name, "attacks")
    given = {"loss": loss, **settings} if "loss" in maker.arguments else dict(settings)
    if maker.searches:
        return [maker.make(sorted(sizes), **given)]
    if "epsilon" not in maker.arguments:
        return [maker.make(**given)]
    return [maker.make(size, **given) for size in sizes]
