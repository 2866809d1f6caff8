"""PGD: several steps from random starts."""

from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Loss


@ATTACKS.register("PGD", doi="10.48550/arXiv.1706.06083", order=30)
def pgd(epsilon: float, steps: int = 10, step: float = 0.25, restarts: int = 5, loss: "Loss" = "margin") -> "Recipe":
    """Sign steps of step * epsilon from random starts. doi:10.48550/arXiv.1706.06083

    The defaults are paper [A]'s (doi:10.1200/CCI.21.00170): 10 steps of epsilon / 4, 5 starts.
    """
    from steadyread.attacks.recipe import Recipe
    from steadyread.attacks.search import Search
    from steadyread.threats import Linf

    return Recipe("pgd", Linf(epsilon), Search(steps, step, starts=restarts, random_start=True, loss=loss))
