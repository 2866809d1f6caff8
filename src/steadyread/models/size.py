"""How large a network is that a folder asks for, known before its memory is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from steadyread.errors import InputRefused
from steadyread.models.archives import told

_SLACK = 2**24      # values that a network may have beside those that are stored: what it computes for itself


class _Meta(TorchFunctionMode):
    """Tensors without memory, but for short series of numbers, whose values a network may ask for as it is made."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def refuse_unstored(make: Callable[[], nn.Module], weights: Path, where: Path) -> None:
    """Nothing where a network has no more values than its file of weights has bytes, or some millions.

    Raises:
        InputRefused: it has more, or cannot be made without its memory.
    """
    stored = sum(file.stat().st_size for file in (weights.glob("*.safetensors") if weights.is_dir() else [weights]))
    try:
        with torch.device("meta"), _Meta():
            network = make()
    except Exception as problem:      # a library raises what it likes
        raise InputRefused(f"{where}: its network cannot be made ({told(problem)})") from problem
    values = sum(value.numel() for value in (*network.parameters(), *network.buffers()))
    if values > stored + _SLACK:
        raise InputRefused(f"{where} asks for a network of {values:,} values, and {stored:,} bytes of weights are "
                           "there: its configuration is of another network, or damaged")
