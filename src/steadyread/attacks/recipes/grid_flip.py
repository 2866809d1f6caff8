"""[A]'s sensitivity of an image: the first size of a grid at which PGD flips it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.grid_flip import GridFlip
    from steadyread.attacks.search import Loss


@ATTACKS.register("[A]'s sensitivity", doi="10.1200/CCI.21.00170", order=900, searches=True)
def grid_flip(epsilons: Sequence[float], steps: int = 10, step: float = 0.25, restarts: int = 20,
              loss: "Loss" = "margin") -> "GridFlip":
    """The first of ascending `epsilons` (native units) at which PGD flips the image. doi:10.1200/CCI.21.00170, section
    "Image-Level Adversarial Image Sensitivity"; the defaults are those of its code: 10 steps of epsilon / 4 from 20
    random starts. Its grids have 18 to 32 sizes, so that an image that flips at none takes up to 6,400 gradients.

    Where `smallest_flip` is what this project goes by, this is here to set [A]'s own beside it: it is as coarse as its
    grid, and ends where that ends. Deviation from the code: an image leaves at its first flip, so an iterate that flips
    on the way counts, and the margin is climbed unless `loss` says otherwise.
    """
    from steadyread.attacks.grid_flip import GridFlip
    from steadyread.attacks.search import Search

    return GridFlip(tuple(epsilons), Search(steps, step, starts=restarts, random_start=True, loss=loss))
