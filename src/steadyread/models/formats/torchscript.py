"""TorchScript: `torch.jit.save`. Its operators are known before it runs, since some write and read files."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile

_NAMESPACES = ("aten", "prim")
# Of these, what reads or writes files, or calls what stands outside the graph.
_REFUSED = ("from_file", "save", "load", "open", "exec", "system", "PythonOp", "rpc", "warn")


class Scripted(FromFile):
    """A scripted or traced network in evaluation mode."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """What it returns."""
        return self.network(images)


def _recognised(path: Path) -> bool:
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def _facts(path: Path) -> Facts:
    return Facts(notes=("its head and its scale are not in the file",))


def _load(path: Path) -> nn.Module:
    """The network, whose operators are all arithmetic.

    Raises:
        InputRefused: it cannot be read, or has an operator that does more.
    """
    try:
        network: Any = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(path.read_bytes()), map_location="cpu")
        graph = network.inlined_graph
    except Exception as problem:
        raise InputRefused(f"{path} cannot be read as TorchScript: {told(problem)}") from problem
    strange = sorted({name for name in _operators(graph) if _is_strange(name)})
    if strange:
        raise InputRefused(f"{path} does more than arithmetic ({', '.join(strange[:3])}), so it is not run: export the "
                           "network again without it, or give the module as package.module:factory")
    return Scripted(network)


def _operators(graph: Any) -> set[str]:
    """The operators of a graph and of all blocks within it."""
    found = set()
    for node in graph.nodes():
        found.add(node.kind())
        for block in node.blocks():
            found |= _operators(block)
    return found


def _is_strange(name: str) -> bool:
    namespace, _, rest = name.partition("::")
    return namespace not in _NAMESPACES or any(word in rest for word in _REFUSED)


FORMATS.add(Format("torchscript", "TorchScript (.pt)", _recognised, _facts, _load, order=30))
