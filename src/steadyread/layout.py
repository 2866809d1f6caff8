"""How convolutions are computed: on a CPU with channels last, which is much faster; on a GPU in whole float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

import torch
from torch import nn

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
_UNFIT: WeakSet[nn.Module] = WeakSet()


@contextmanager
def channels_last(module: nn.Module) -> Iterator[None]:
    """Within, the weights of convolutions on a CPU lie with their channels last; afterwards they are the very same
    tensors as before. Values are equal; results differ by rounding.

    Forward and backward passes of small VGGs took 0.65 to 0.75 of the time so (measured, one thread). What the
    weights are must not be changed within.
    """
    held = [] if module in _UNFIT else [
        (parameter, parameter.data) for parameter in module.parameters()
        if parameter.ndim in _LAYOUTS and parameter.device.type == "cpu"]
    for parameter, values in held:
        parameter.data = values.contiguous(memory_format=_LAYOUTS[values.ndim])
    try:
        yield
    finally:
        for parameter, values in held:
            parameter.data = values


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Within, a GPU's convolutions keep float32's 24 bits; TF32, on by default, keeps 11 and would blur sizes."""
    before = torch.backends.cudnn.allow_tf32
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = before


def cannot(module: nn.Module, problem: RuntimeError) -> bool:
    """Whether the module failed for its layout: `view` refuses images whose channels lie last, `reshape` does not.

    If so its weights lie plainly from now on, and what failed can be tried again.
    """
    if module in _UNFIT or "view size is not compatible" not in str(problem):
        return False
    _UNFIT.add(module)
    for parameter in module.parameters():
        if parameter.ndim in _LAYOUTS:
            parameter.data = parameter.data.contiguous()
    return True
