"""Adversarial training without labels."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.harden import HardeningSettings
    from steadyread.training.recipes import Unsupervised


@METHODS.register("unsupervised adversarial training", doi="10.48550/arXiv.1905.13725", order=30)
def unsupervised(settings: "HardeningSettings", epsilon: float) -> "Unsupervised":
    """Attacked images are taught to be read as the clean ones are, whatever their labels."""
    from steadyread.training.crafts import SignSteps
    from steadyread.training.recipes import Unsupervised

    craft = SignSteps(epsilon, settings.steps, settings.step)
    return Unsupervised(craft, settings.beta, settings.share, settings.training.loss)
