"""[B]'s adaptive training: what noise was found to change joins the training set."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.noise_settings import NoiseHardeningSettings
    from steadyread.training.recipes import Clean


@METHODS.register("adaptive training", doi="10.1088/1361-6560/abc812", order=50, against=("CTNoise",),
                  says="[B]'s Algorithm 2: in each round every training image is attacked by {noise}, {times} at each "
                       "dose; what changed its read joins the training set with its true label, and the network is "
                       "fine-tuned.")
def adaptive(settings: "NoiseHardeningSettings", epsilon: None) -> "Clean":
    """The loss of the images and of the noise that `training.perturbed` found, which stands among them."""
    from steadyread.training.recipes import Clean

    return Clean(settings.training.loss)
