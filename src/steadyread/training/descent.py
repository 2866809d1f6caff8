"""The pieces of a descent: optimiser, learning-rate schedule, norms held, and how the weights lie in memory."""

import math
from collections.abc import Callable

import torch
from torch import nn

from steadyread.errors import InputRefused
from steadyread.training.settings import TrainingSettings

Descent = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


def descent_of(module: nn.Module, settings: TrainingSettings, steps: int) -> Descent:
    """The optimiser of the settings and its learning-rate schedule over so many steps.

    Raises:
        InputRefused: nothing to train.
    """
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not learnt:
        raise InputRefused("the network has no parameter to train (all have requires_grad=False)")
    optimiser: torch.optim.Optimizer = (
        torch.optim.AdamW(learnt, settings.learning_rate, weight_decay=settings.weight_decay)
        if settings.optimiser == "adam" else
        torch.optim.SGD(learnt, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay,
                        nesterov=settings.momentum > 0))
    share: Callable[[int], float] = (_one_cycle(steps) if settings.schedule == "one_cycle" else lambda _: 1.0)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _one_cycle(steps: int) -> Callable[[int], float]:
    rising = max(1.0, 0.15 * steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising)))

    return share


def hold_norms(module: nn.Module, largest: float) -> None:
    """Scale down the weights into each hidden dense unit whose norm exceeds `largest` (the last layer is free)."""
    dense = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][:-1]
    with torch.no_grad():
        for layer in dense:
            norm = layer.weight.norm(dim=1, keepdim=True)
            layer.weight.mul_((largest / norm.clamp(min=1e-12)).clamp(max=1.0))


def lay(module: nn.Module, dims: int, device: torch.device) -> None:
    """Weights with the channels last: on a CPU, narrow convolutions then take a third less time (measured)."""
    if dims == 2:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's types forget it
    elif dims == 3 and device.type == "cpu":
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
