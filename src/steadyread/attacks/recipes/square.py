"""Square: random windows, without a gradient."""

from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.square import Square


@ATTACKS.register("Square", doi="10.48550/arXiv.1912.00049")
def square(epsilon: float, queries: int = 200, first_share: float = 0.8) -> "Square":
    """Windows of +-epsilon (native units) at random places, kept where the margin falls.
    doi:10.48550/arXiv.1912.00049; see `steadyread.attacks.square.Square`."""
    from steadyread.attacks.square import Square

    return Square(epsilon, queries, first_share)
