"""APGD: steps whose length each image finds for itself."""

from typing import TYPE_CHECKING

from steadyread.registry import ATTACKS

if TYPE_CHECKING:
    from steadyread.attacks.apgd import AutoPGD
    from steadyread.attacks.search import Loss


@ATTACKS.register("APGD", doi="10.48550/arXiv.2003.01690")
def apgd(epsilon: float, steps: int = 100, restarts: int = 1, loss: "Loss" = "margin") -> "AutoPGD":
    """Sign steps from random starts that begin at 2 epsilon (native units), carry momentum, and are halved, back at
    the best point met, for each image that no longer climbs. doi:10.48550/arXiv.2003.01690, Algorithm 1.

    Deviations from the paper: an image leaves at its first flip, so that further starts go to survivors only; a
    projection is one clamp to ball and bounds together; whether to halve is decided as soon as the loss at
    checkpoint w_j is known, as in the authors' code, not one gradient later as printed; and the paper's DLR loss is
    left out. It is undefined below 3 classes (4 where targeted), and what it is for, indifference to the scale of
    the logits, the margin has here already: neither sign steps nor comparisons of losses see a scale.

    Args:
        steps: gradients a start. Where the step may be halved follows from it (`steadyread.attacks.apgd.checkpoints`).
        restarts: random starts an image, each from its own stream.
        loss: what is climbed, as in `Search`. The paper's first attack climbs `cross_entropy`.
    """
    from steadyread.attacks.apgd import AutoPGD
    from steadyread.threats import Linf

    return AutoPGD(Linf(epsilon), steps, restarts, loss)
