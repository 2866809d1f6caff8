"""How convolutions are computed: on a CPU with channels last, which is much faster; on a GPU in whole float32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
_UNFIT: WeakSet[nn.Module] = WeakSet()
_LAID: dict[int, tuple[nn.Parameter, Tensor]] = {}   # what lies otherwise just now, with its own values
_SETTING = Lock()
_BEFORE: list[Any] = []   # one for each that is within `whole_float32`: what the setting was before the first


@contextmanager
def channels_last(module: nn.Module) -> Iterator[None]:
    """Within, the weights of convolutions on a CPU lie with their channels last; afterwards they are the very same
    tensors as before. Values are equal; results differ by rounding.

    How much is gained `make bench` measures. Within, the weights must not be changed, nor the module be used by two
    threads.
    """
    mine: list[int] = []
    try:
        for parameter in () if module in _UNFIT else module.parameters():
            if (parameter.ndim in _LAYOUTS and parameter.device.type == "cpu" and id(parameter) not in _LAID
                    and not _lies(parameter)):
                _LAID[id(parameter)] = parameter, parameter.data
                mine.append(id(parameter))
                parameter.data = parameter.data.clone(memory_format=_LAYOUTS[parameter.ndim])
        yield
    finally:
        for key in mine:
            parameter, values = _LAID.pop(key)
            parameter.data = values


def _lies(weights: Tensor) -> bool:
    """Whether the channels lie last: weights of one channel are contiguous either way, and torch goes by the stride."""
    return weights.stride(1) == 1 and weights.is_contiguous(memory_format=_LAYOUTS[weights.ndim])


def called(module: nn.Module, work: Callable[[], Tensor]) -> Tensor:
    """What the work returns, which calls the module; once more where it failed for the layout of the weights.

    `view` refuses images whose channels lie last, as `reshape` does not: such a module keeps its own layout from
    then on.
    """
    try:
        return work()
    except RuntimeError as problem:
        if module in _UNFIT or "view size is not compatible" not in str(problem):
            raise
        _UNFIT.add(module)
        for parameter in module.parameters():
            if id(parameter) in _LAID:
                parameter.data = _LAID[id(parameter)][1]
        return work()


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Within, a GPU's convolutions keep float32's 24 bits; TF32, on by default, keeps 11 and would blur sizes."""
    if device.type != "cuda":
        yield
        return
    # newer versions of torch raise where both ways of asking are mixed, and have only the newer one in the end
    of, name, whole = ((torch.backends.cudnn.conv, "fp32_precision", "ieee")
                       if hasattr(torch.backends.cudnn, "conv") else (torch.backends.cudnn, "allow_tf32", False))
    with _SETTING:   # the setting is of the whole process: the last thread to leave puts it back
        _BEFORE.append(_BEFORE[0] if _BEFORE else getattr(of, name))
        setattr(of, name, whole)
    try:
        yield
    finally:
        with _SETTING:
            before = _BEFORE.pop()
            if not _BEFORE:
                setattr(of, name, before)
