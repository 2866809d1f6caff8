"""FGSM: one step."""

from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Loss


@ATTACKS.register("FGSM", doi="10.48550/arXiv.1412.6572", order=10)
def fgsm(epsilon: float, loss: "Loss" = "margin") -> "Recipe":
    """One sign step of epsilon (native units) from the image. doi:10.48550/arXiv.1412.6572"""
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Search
    from steadyread.threats import Linf

    return Recipe("fgsm", Linf(epsilon), Search(steps=1, step=1.0, loss=loss))
