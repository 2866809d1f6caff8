"""How large a network is that a file or folder asks for, known before its memory is taken."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from steadyread.errors import InputRefused
from steadyread.models.archives import told

_SLACK = 2**24      # values that a network may have beside those that are stored: what it computes for itself
_TRIED = 2**26      # the same where they are counted as they are made, images that a library tries it with among them
_MADE = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.normal)


class _Meta(TorchFunctionMode):
    """Tensors without memory, but for short series of numbers, whose values a network may ask for as it is made."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


class Bounded(TorchFunctionMode):
    """While it is entered, a network is made of tensors with no more values together than its file has bytes, or some
    millions.

    Raises:
        InputRefused: by a function of torch that would make one more.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.stored, self.values = file, file.stat().st_size, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MADE and str(kwargs.get("device")) != "meta":
            given = kwargs.get("size", args[0] if args else ())
            self.values += math.prod(given if isinstance(given, Sequence) else (
                each for each in args if isinstance(each, int)))
            _refuse_more(self.values, self.stored, _TRIED, self.file)
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
    _refuse_more(values, stored, _SLACK, where)


def _refuse_more(values: int, stored: int, slack: int, where: Path) -> None:
    if values > stored + slack:
        raise InputRefused(f"{where} asks for a network of {values:,} values, and {stored:,} bytes of weights are "
                           "there: its configuration is of another network, or damaged")
