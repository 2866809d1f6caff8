"""Attacks as a study states them: by name, with settings and sizes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steadyread.registry import ATTACKS


def stated_attacks(name: str, settings: Mapping[str, Any], sizes: Sequence[float], loss: str
                   ) -> list[Callable[..., Any]]:
    """The named attack at each of the sizes (native units), with the study's `loss` unless its settings have one.

    One whose recipe takes no `epsilon` has levels of its own, among its settings: it is made once.

    Raises:
        UsageError: no such attack, or a setting that cannot be.
    """
    maker = ATTACKS.named(name, "attacks")
    given = {"loss": loss, **settings} if "loss" in maker.arguments else dict(settings)
    if "epsilon" not in maker.arguments:
        return [maker.make(**given)]
    return [maker.make(size, **given) for size in sizes]
