"""The control: as many epochs without any attack."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.harden import HardeningSettings
    from steadyread.training.noise_settings import NoiseHardeningSettings
    from steadyread.training.recipes import Clean


@METHODS.register("further training without attack", order=40, against=("Linf", "CTNoise"),
                  says="The control: as much further training, without noise.")
def clean(settings: "HardeningSettings | NoiseHardeningSettings", epsilon: float | None) -> "Clean":
    """The loss of clean images, of epochs that are judged as those of a hardening are."""
    from steadyread.training.recipes import Clean

    return Clean(settings.training.loss)
