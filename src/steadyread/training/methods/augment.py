"""Augmentation by CT noise drawn at random."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.noise_settings import NoiseHardeningSettings
    from steadyread.training.recipes import Adversarial


@METHODS.register("augmentation by CT noise", doi="10.1162/neco.1995.7.1.108", order=70, against=("CTNoise",),
                  says="{share} of the images of every batch get noise drawn at random.")
def augment(settings: "NoiseHardeningSettings", epsilon: None) -> "Adversarial":
    """A share of each batch gets one draw of noise and is taught with its labels."""
    from steadyread.training.crafts import NoiseSteps
    from steadyread.training.recipes import Adversarial

    return Adversarial(NoiseSteps(settings.noise, settings.mas, 0), settings.share, settings.training.loss)
