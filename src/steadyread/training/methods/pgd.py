"""Adversarial training by PGD."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.harden import HardeningSettings
    from steadyread.training.noise_settings import NoiseHardeningSettings
    from steadyread.training.recipes import Adversarial


@METHODS.register("PGD adversarial training", doi="10.48550/arXiv.1706.06083", order=10, against=("Linf", "CTNoise"),
                  says="{share} of the images of every batch are attacked by PGD: any change of a pixel up to a size, "
                       "not noise.")
def pgd(settings: "HardeningSettings | NoiseHardeningSettings", epsilon: float) -> "Adversarial":
    """A share of each batch is attacked by PGD and taught with its labels, as in [A] (doi:10.1200/CCI.21.00170)."""
    from steadyread.training.crafts import SignSteps
    from steadyread.training.recipes import Adversarial

    craft = SignSteps(epsilon, settings.steps or SignSteps.steps, settings.step)
    return Adversarial(craft, settings.share, settings.training.loss)
