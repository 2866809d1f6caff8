"""TorchScript: `torch.jit.save`. Its operators are known before it runs, since some write and read files.

Loading already runs the `__setstate__` of its classes, so its source is looked through first.
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steadyread.errors import InputRefused
from steadyread.limits import MOST_HEADER
from steadyread.models.archives import archive_of, told
from steadyread.models.format import FORMATS, Facts, Format, FromFile

_NAMESPACES = ("aten", "prim")
# Of these, what reads or writes files, or calls what stands outside the graph.
_REFUSED = ("from_file", "save", "load", "open", "exec", "system", "PythonOp", "rpc", "warn")
_AGAIN = "export the network again without it, or give the module as package.module:factory"
# Of its source and its pickles, what acts while it is loaded, or may be called then.
_ACTING = re.compile(rb"\b(__setstate__|save|from_file|torch\.classes)\b")
# Calls of Python, and operators beyond arithmetic, at some of which torch crashes while it reads them.
_KNOWN = (rb"NumToTensor|ImplicitTensorToNum|data|min|max|abs|is_cuda|dtype|device|layout|shape|requires_grad|rangelist"
          rb"|grad|unchecked_cast")
_CALLS = re.compile(rb"\^\w+|\bops\.(?!aten\.|prim\.(" + _KNOWN + rb")\()[\w.]+")


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
    _refuse_acting(path)
    try:
        network: Any = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(path.read_bytes()), map_location="cpu")
        graph = network.inlined_graph
    except Exception as problem:
        raise InputRefused(f"{path} cannot be read as TorchScript: {told(problem)}") from problem
    strange = sorted({name for name in _operators(graph) if _is_strange(name)})
    if strange:
        raise InputRefused(f"{path} does more than arithmetic ({', '.join(strange[:3])}), so it is not run: {_AGAIN}")
    return FromFile(network)


def _refuse_acting(path: Path) -> None:
    """Refuses what would act while it is loaded, and members that unpack to more than the file."""
    with archive_of(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED and (
                    "/code/" not in member.filename or member.file_size > MOST_HEADER):
                raise InputRefused(f"{path}: {member.filename[:80]!r} is packed, as torch.jit.save never does")
            source = archive.read(member) if member.filename.endswith((".py", ".pkl")) else b""
            acting = _ACTING.search(source) or (_CALLS.search(source) if member.filename.endswith(".py") else None)
            if acting:
                raise InputRefused(f"{path} does more than arithmetic ({acting[0].decode()}), some of it while it is "
                                   f"read, so it is not read: {_AGAIN}")


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
