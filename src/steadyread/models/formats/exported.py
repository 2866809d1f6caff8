"""`torch.export` archives (.pt2). Loading one unpickles what lies in it, so only what cannot run code is handed on.

The graph is JSON: its operators are those of ATen, its sizes plain symbols. Sample inputs, which are pickled, are
replaced by zeros; weights that are pickled are refused.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadyread.errors import InputRefused
from steadyread.files import whole_zip
from steadyread.limits import MOST_HEADER
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile

_AGAIN = "export the network again with torch.export.save, or give the module as package.module:factory"
_OPERATOR = re.compile(r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|_operator\.(getitem|add|mul|floordiv|sub)")
# A size as sympy prints it, such as Add(Symbol('s0', integer=True), Integer(1)).
_SIZE = re.compile(r"(Symbol\('[su]\d+'(, (positive|integer|nonnegative)=True)*\)"
                   r"|(Integer|Add|Mul|Pow|Max|Min|FloorDiv|Mod)\(|[su]?\d+|[ +*/(),-])*")


def _sample(shape: tuple[int | None, ...]) -> bytes:
    """Sample inputs of our own, which torch wants to be there and unpickles: one batch of zeros."""
    content = io.BytesIO()
    torch.save(((torch.zeros([extent or 2 for extent in shape]),), {}), content)
    return content.getvalue()


class Exported(FromFile):
    """An exported program as a module; a static one is given as many images as it was exported with."""

    def __init__(self, program: Any, batch: int | None) -> None:
        super().__init__()
        self.network = program.module()
        self.batch = batch

    def forward(self, images: Tensor) -> Any:
        """What it returns."""
        if self.batch is None:
            return self.network(images)
        pieces = []
        for start in range(0, len(images), self.batch):
            piece = images[start:start + self.batch]
            missing = self.batch - len(piece)
            whole = torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])]) if missing else piece
            pieces.append(self.network(whole)[:len(piece)])
        return torch.cat(pieces)

    def train(self, mode: bool = True) -> "Exported":
        """An exported program has no modes."""
        return self


def _recognised(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".pt2" and zipfile.is_zipfile(path)


def _facts(path: Path) -> Facts:
    shape = _input_shape(json.loads(_checked(path)[0]))
    sides = tuple(shape[2:]) if shape else ()
    whole = sides if sides and all(side is not None for side in sides) else None
    return Facts({"preparation": {"size": list(whole)}} if whole else {}, channels=shape[1] if shape else None,
                 size=tuple(int(side) for side in whole if side is not None) if whole else None,
                 notes=("its head and its scale are not in the file",))


def _load(path: Path) -> FromFile:
    """The program, of which nothing was unpickled.

    Raises:
        InputRefused: it holds pickles or operators that do more than arithmetic, or cannot be read.
    """
    graph, clean = _checked(path)
    shape = _input_shape(json.loads(graph))
    try:
        program = torch.export.load(clean)
    except Exception as problem:
        raise InputRefused(f"{path} cannot be read as an exported program: {told(problem)}: {_AGAIN}") from problem
    return Exported(program, shape[0] if shape else None)


def _checked(path: Path) -> tuple[bytes, io.BytesIO]:
    """The graph's JSON, and the archive without what could run code.

    Raises:
        InputRefused: see `_load`.
    """
    kept = io.BytesIO()
    with path.open("rb") as file, whole_zip(file) as archive, zipfile.ZipFile(kept, "w") as clean:
        models = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/models/[^/]+\.json", name)]
        if len(models) != 1:
            raise InputRefused(f"{path} holds {len(models)} programs; expected one: {_AGAIN}")
        graph, sampled = b"", ""
        for member in archive.infolist():
            if "/data/sample_inputs/" in member.filename:
                sampled = member.filename
                continue
            if member.compress_type != zipfile.ZIP_STORED or (
                    member.filename.endswith(".json") and member.file_size > MOST_HEADER):
                raise InputRefused(f"{path}: {member.filename[:80]!r} is packed or larger than any: {_AGAIN}")
            content = archive.read(member)
            if member.filename.endswith(".json"):
                _refuse_code(path, member.filename, content)
                graph = content if member.filename == models[0] else graph
            clean.writestr(member.filename, content)
        shape = _input_shape(json.loads(graph))
        if shape is None:
            raise InputRefused(f"{path} does not take one batch of images alone: {_AGAIN}")
        if sampled:
            clean.writestr(sampled, _sample(shape))
    kept.seek(0)
    return graph, kept


def _refuse_code(path: Path, name: str, content: bytes) -> None:
    """Refuses pickled values, operators outside arithmetic, and sizes that are more than sums and products."""
    try:
        found = json.loads(content)
    except ValueError as problem:
        raise InputRefused(f"{path}: {name[:80]!r} is no JSON ({problem}): {_AGAIN}") from problem
    for key, value in _values(found):
        if key == "use_pickle" and value:
            raise InputRefused(f"{path} keeps values as pickles, which may run code when read: {_AGAIN}")
        if key == "target" and isinstance(value, str) and "." in value and "/models/" in name and \
                value.startswith(("torch.", "_operator", "operator")) and not _OPERATOR.fullmatch(value):
            raise InputRefused(f"{path} does more than arithmetic ({value[:80]}), so it is not run: {_AGAIN}")
        if key == "expr_str" and not (isinstance(value, str) and _SIZE.fullmatch(value)):
            raise InputRefused(f"{path}: {str(value)[:80]!r} is no size: {_AGAIN}")


def _values(found: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, plain value) of JSON, at any depth."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield key, value
            yield from _values(value)
    elif isinstance(found, list):
        for value in found:
            yield from _values(value)


def _input_shape(model: Any) -> tuple[int | None, ...] | None:
    """The shape of the program's one input of images, None where an extent may be any."""
    graph = model.get("graph_module", {})
    inputs = [one["user_input"]["arg"]["as_tensor"]["name"]
              for one in graph.get("signature", {}).get("input_specs", ()) if "user_input" in one]
    values = graph.get("graph", {}).get("tensor_values", {})
    if len(inputs) != 1 or inputs[0] not in values:
        return None
    return tuple(extent.get("as_int") for extent in values[inputs[0]].get("sizes", ()))


FORMATS.add(Format("exported", "torch.export (.pt2)", _recognised, _facts, _load, order=35))
