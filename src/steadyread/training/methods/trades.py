"""TRADES."""

from typing import TYPE_CHECKING

from steadyread.registry import METHODS

if TYPE_CHECKING:
    from steadyread.training.harden import HardeningSettings
    from steadyread.training.recipes import Trades


@METHODS.register("TRADES", doi="10.48550/arXiv.1901.08573", order=20)
def trades(settings: "HardeningSettings", epsilon: float) -> "Trades":
    """The loss of clean images, and `beta` times how far the predictions of attacked ones part from theirs."""
    from steadyread.training.crafts import SignSteps
    from steadyread.training.recipes import Trades

    craft = SignSteps(epsilon, settings.steps, settings.step)
    return Trades(craft, settings.beta, settings.share, settings.training.loss)
