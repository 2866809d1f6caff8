"""Adversarial training by CT noise, searched anew in each batch."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.noise_settings import NoiseHardeningSettings
    from steadyread.training.recipes import Adversarial


@METHODS.register("adversarial training by CT noise", doi="10.48550/arXiv.1706.06083", order=60, against=("CTNoise",),
                  says="{share} of the images of every batch are attacked anew by {noise}, against the network as it "
                       "is at that step.")
def fresh(settings: "NoiseHardeningSettings", epsilon: None) -> "Adversarial":
    """A share of each batch gets optimised noise and is taught with its labels."""
    from steadyread.training.crafts import NoiseSteps
    from steadyread.training.recipes import Adversarial

    craft = NoiseSteps(settings.noise, settings.mas, settings.steps or NoiseSteps.steps)
    return Adversarial(craft, settings.share, settings.training.loss)
