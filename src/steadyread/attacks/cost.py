"""What a network costs: how many operations a read takes, and how many cases are therefore computed together."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier, Passes

BLOCK = 64           # cases computed, written and resumed together
_LEAST = 4           # of a network however large: a block of failures alone ends a run
_OPERATIONS = 1e10   # of a block read once; at two hundred gradients per image, a minute or two of a CPU's core


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch computes, by torch's own formulas; its `FlopCounterMode` takes two seconds to begin."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations, self.values = 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and to say so loads a compiler, for two seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the function returns."""
        from torch.utils.flop_counter import flop_registry

        given = kwargs or {}
        out = func(*args, **given)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += int(count(*args, **given, out_val=out))
        self.values += sum(each.numel() for each in (out if isinstance(out, tuple | list) else (out,))
                           if isinstance(each, torch.Tensor))
        return out


def cost_of(classifier: Classifier, cases: Cases) -> tuple[int, int]:
    """Floating-point operations of the way forwards of one image, those of convolutions and matrix products, and how
    many values its steps write; (0, 0) where they cannot be counted, as of a network that is not computed in torch."""
    try:
        batch, _ = collate([cases[0]], classifier.valid)
        with (replace(classifier, passes=Passes()).frozen() as own, torch.no_grad(),
              torch.random.fork_rng(devices=[]), _Counted() as counted):
            own.logits(batch.images.to(own.device))
    except MemoryError:
        raise
    except Exception:    # whatever it is, it is said when the images are read
        return 0, 0
    return counted.operations, counted.values


def operations_of(classifier: Classifier, cases: Cases) -> int:
    """The operations of `cost_of`."""
    return cost_of(classifier, cases)[0]


def block_of(classifier: Classifier, cases: Cases, attacks: Iterable[Any]) -> int:
    """How many cases are computed and kept together: on a CPU the fewer, the more operations a read takes, so that
    what is finished is soon kept. Under noise it is always `BLOCK`: [B]'s attack pools the images of a block.
    """
    noise = any(getattr(getattr(attack, "threat", None), "unit", None) is not None for attack in attacks)
    if noise or classifier.device.type != "cpu" or len(cases) <= _LEAST:
        return BLOCK
    block, operations = BLOCK, operations_of(classifier, cases)
    while block > _LEAST and block * operations > _OPERATIONS:
        block //= 2
    return block
