"""Passes counted alike for every library, and seconds as ratios of alternating runs."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Work = Callable[[], object]


class Counted(nn.Module):
    """A network that counts the images that go through it, forwards and backwards, whoever calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training   # a library that restores modes would else switch the network's on
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        """The network's own output. A backward pass is counted each time that a gradient reaches it."""
        self.forwards += len(images)
        found: Tensor = self.network(images)
        if found.requires_grad:
            found.register_hook(self._counted)
        return found

    def _counted(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)

    def reset(self) -> None:
        """Counts from nought again."""
        self.forwards = self.backwards = 0


@dataclass(frozen=True)
class Ratio:
    """Of two pieces of work, round by round: the median and the lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(work: Mapping[str, Work], rounds: int, device: torch.device | None = None
                ) -> dict[str, list[float]]:
    """Seconds of each piece of work in alternating rounds, each in an order of its own; the first is dropped."""
    found: dict[str, list[float]] = {name: [] for name in work}
    order, chance = list(work), random.Random(0)
    for _ in range(rounds + 1):
        chance.shuffle(order)
        for name in order:
            found[name].append(seconds(work[name], device))
    return {name: times[1:] for name, times in found.items()}


def seconds(work: Work, device: torch.device | None = None) -> float:
    """Of one piece of work: the processor's own, which others on the machine lengthen least; on a GPU those of the
    clock, to the end of the work."""
    if device is None or device.type != "cuda":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def ratio(mine: list[float], other: list[float]) -> Ratio:
    """Mine over the other's, round by round."""
    each = [one / two for one, two in zip(mine, other, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))
