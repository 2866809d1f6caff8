"""What a card can do, measured: its arithmetic, the batch it likes best, the arithmetic that a network asks for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clock import seconds

GAIN = 1.05     # in images per second, below which a batch of twice the size is not worth its memory


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Matrix products with TF32 or without."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        products.fp32_precision = before


def matmul_peaks(side: int, device: torch.device, times: int = 5) -> dict[str, float]:
    """FLOP a second of a square matrix product in float32, TF32 and bfloat16: the best of a few."""
    found = {}
    for name, kind in (("float32", torch.float32), ("TF32", torch.float32), ("bfloat16", torch.bfloat16)):
        one = torch.randn(side, side, device=device).to(kind)
        with tf32(name == "TF32"):
            best = min(seconds(lambda one=one: one @ one, device) for _ in range(times + 1))
        found[name] = 2 * side**3 / best
    return found


def best_batch(rate: Callable[[int], float], least: int = 8, most: int = 4096) -> tuple[int, dict[int, float]]:
    """The power of two with the highest rate (images per second), and all that were tried: doubled until memory ends,
    `most` is reached or doubling gains less than `GAIN`.

    Raises:
        torch.OutOfMemoryError: even the least does not fit.
    """
    tried: dict[int, float] = {}
    size = least
    while size <= most:
        try:
            tried[size] = rate(size)
        except torch.OutOfMemoryError:
            if not tried:
                raise
            torch.cuda.empty_cache()   # does nothing without a GPU
            break
        if size > least and tried[size] < GAIN * tried[size // 2]:
            break
        size *= 2
    return max(tried, key=lambda one: tried[one]), tried


def flops_of(module: nn.Module, image: Tensor) -> float:
    """Of one forward pass and the backward pass to the image, by torch's own count."""
    counter = FlopCounterMode(display=False)
    with counter:
        taken = image.clone().requires_grad_(True)
        module(taken).sum().backward()   # torch's counter does not bear `autograd.grad`
    return float(counter.get_total_flops())
