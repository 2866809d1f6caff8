"""A plain function of the images as a module: with the networks that it calls as its parts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from inspect import getclosurevars, isfunction, ismethod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from steadyread.errors import InputRefused, UsageError


class Function(nn.Module):
    """What a function computes. Networks that it holds or names are parts of this module.

    So they are put into evaluation mode and left as they were, and their weights stand in the records' digest.
    """

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function
        for number, part in enumerate(dict.fromkeys(_networks(function))):
            self.add_module(f"part{number}", part)

    def forward(self, images: Tensor) -> Any:
        """What the function returns."""
        return self.function(images)

    def extra_repr(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))


def as_module(given: object) -> nn.Module:
    """A module as it is; a function of the images as a module.

    Raises:
        UsageError: neither, or a class of which no module was made.
        InputRefused: a module with layers that have no weights yet, or weights on the device "meta".
    """
    if isinstance(given, nn.Module):
        _refuse_unmade(given)
        return given
    if isinstance(given, type):
        raise UsageError(f"module is the class {given.__name__}: make a network of it, {given.__name__}(...)")
    if not callable(given):
        raise UsageError("module must be a torch.nn.Module or a function of the images (n, channels, *space); "
                         f"got {type(given).__name__}")
    return Function(given)


def _refuse_unmade(module: nn.Module) -> None:
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(value):
            raise InputRefused(f"the network's '{name}' has no size yet: call the network once on an image, in its "
                               "factory too, before weights are loaded, or give the sizes (Linear for LazyLinear)")
        if value.is_meta and torch.get_default_device().type != "meta":    # where that is no sketch
            raise InputRefused(f"the network's '{name}' lies on the device \"meta\" and has no values: make the "
                               "network on the CPU, or .to_empty(device='cpu') and load its weights")


def _networks(value: object, depth: int = 3) -> Iterator[nn.Module]:
    """The networks that a function holds or names, itself or in what it calls."""
    if isinstance(value, nn.Module):
        yield value
    elif depth:
        for inner in _held(value):
            yield from _networks(inner, depth - 1)


def _held(value: object) -> Iterable[object]:
    if ismethod(value):
        return value.__self__, value.__func__
    if isinstance(value, partial):
        return value.func, *value.args, *value.keywords.values()
    if isfunction(value):
        with suppress(ValueError):   # a name that is not bound yet
            names = getclosurevars(value)
            return *names.nonlocals.values(), *names.globals.values(), *(value.__defaults__ or ())
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, dict):
        return value.values()
    return () if isinstance(value, type | ModuleType) else getattr(value, "__dict__", {}).values()
