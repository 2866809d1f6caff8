"""BIM: several steps from the image."""

from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Loss


@ATTACKS.register("BIM", doi="10.48550/arXiv.1607.02533", order=20)
def bim(epsilon: float, steps: int = 10, loss: "Loss" = "margin") -> "Recipe":
    """Sign steps of epsilon / steps from the image. doi:10.48550/arXiv.1607.02533

    Deviation from the papers: an image leaves at its first flip, so an iterate that flips on the way counts.
    """
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Search
    from steadyread.threats import Linf

    return Recipe("bim", Linf(epsilon), Search(steps=steps, step=1 / steps, loss=loss))
