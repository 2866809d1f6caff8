"""`torch.export` archives (.pt2). Loading one unpickles what lies in it, so only what cannot run code is handed on.

The graph is JSON, of which torch makes Python source: its operators must be those of ATen, its sizes plain symbols,
its names words. Sample inputs, which are pickled, are replaced by zeros; weights that are pickled are refused, and
members that are neither graph nor weights (compiled code) are left out.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from steadyread.errors import InputRefused
from steadyread.limits import MOST_HEADER
from steadyread.models.archives import archive_of, told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, whole

_AGAIN = "export the network again with torch.export.save, or give the module as package.module:factory"
_OPERATOR = re.compile(r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|_operator\.(getitem|add|mul|floordiv|sub)")
_NAMED = ("torch", "_operator", "operator", "math", "#")      # how torch tells an operator from other text
# A size as sympy prints it, such as Add(Symbol('s0', integer=True), Integer(1)). No powers: they may take for ever.
_SIZE = re.compile(r"(Symbol\('[su]\d+'(, (positive|integer|nonnegative)=True)*\)"
                   r"|(Integer|Add|Mul|Max|Min|FloorDiv|Mod)\(|[su]?\d{1,9}|\*(?!\*)|[ +/(),-])*+")
_WORD = re.compile(r"[\w.:,+>-]*")                             # no call, no quotes, no second line
_KEPT = re.compile(r"models/[\w.-]+\.json|data/(weights|constants)/[\w.-]+|\.data/\w+"
                   r"|archive_format|archive_version|byteorder|version")
_LONGEST = 2_000      # letters of a size
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def _sample(shape: tuple[int | None, ...]) -> bytes:
    """Sample inputs of our own, which torch wants to be there and unpickles: one batch of zeros."""
    content = io.BytesIO()
    torch.save(((torch.zeros(1).expand([extent or 2 for extent in shape]),), {}), content)
    return content.getvalue()


class Exported(FromFile):
    """An exported program as a module; a static one is given as many images as it was exported with."""

    def train(self, mode: bool = True) -> "Exported":
        """An exported program has no modes."""
        return self


def _recognised(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".pt2" and zipfile.is_zipfile(path)


def _facts(path: Path) -> Facts:
    shape = _input_shape(json.loads(_checked(path)[0]))
    return Facts(channels=shape[1] if shape else None, size=whole(shape[2:] if shape else None),
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
    return Exported(program.module(), shape[0] if shape else None)


def _checked(path: Path) -> tuple[bytes, io.BytesIO]:
    """The graph's JSON, and the archive without what could run code.

    Raises:
        InputRefused: see `_load`.
    """
    kept = io.BytesIO()
    with archive_of(path) as archive, zipfile.ZipFile(kept, "w") as clean:
        graphs = []
        for member in archive.infolist():
            root, _, inside = member.filename.partition("/")
            if not _KEPT.fullmatch(inside):
                continue
            if member.compress_type != zipfile.ZIP_STORED or (
                    inside.endswith(".json") and member.file_size > MOST_HEADER):
                raise InputRefused(f"{path}: {member.filename[:80]!r} is packed or larger than any: {_AGAIN}")
            content = archive.read(member)
            if inside.endswith(".json"):
                content = _without_code(path, member.filename, content)
            if inside.startswith("models/"):
                graphs.append((root, inside.removeprefix("models/").removesuffix(".json"), content))
            clean.writestr(member.filename, content)
        if len(graphs) != 1:
            raise InputRefused(f"{path} holds {len(graphs)} programs; expected one: {_AGAIN}")
        root, name, graph = graphs[0]
        shape = _input_shape(json.loads(graph))
        if shape is None:
            raise InputRefused(f"{path} does not take one batch of images alone: {_AGAIN}")
        clean.writestr(f"{root}/data/sample_inputs/{name}.pt", _sample(shape))
    kept.seek(0)
    return graph, kept


def _without_code(path: Path, name: str, content: bytes) -> bytes:
    """A JSON member without the traces and guards that torch does not need.

    Raises:
        InputRefused: it has pickled values, operators outside arithmetic, sizes that are more than sums and products,
            or names that are no words.
    """
    try:
        found = json.loads(content)
        texts = list(_texts("", found))
        plain = json.dumps(found).encode()
    except (ValueError, RecursionError) as problem:
        raise InputRefused(f"{path}: {name[:80]!r} is no JSON ({problem}): {_AGAIN}") from problem
    for key, value in texts:
        if key == "use_pickle" or (key == "path_name" and not _PAYLOAD.fullmatch(value)):
            raise InputRefused(f"{path} keeps values as pickles, which may run code when read: {_AGAIN}")
        if key == "as_operator" or (key == "target" and value.startswith(_NAMED) and not _OPERATOR.fullmatch(value)):
            raise InputRefused(f"{path} does more than arithmetic ({value[:80]}), so it is not run: {_AGAIN}")
        if key == "expr_str" and not (len(value) < _LONGEST and _SIZE.fullmatch(value)):
            raise InputRefused(f"{path}: {value[:80]!r} is no size: {_AGAIN}")
        if (key not in ("expr_str", "in_spec", "out_spec") and not _WORD.fullmatch(value)) or (
                key in ("in_spec", "out_spec") and not _is_plain_tree(value)):
            raise InputRefused(f"{path}: {value[:80]!r} is no name: {_AGAIN}")
    return plain


def _texts(key: str, found: Any) -> Iterator[tuple[str, str]]:
    """Every (key, text) of JSON at any depth, names of keys too; metadata and guards are emptied on the way."""
    if isinstance(found, dict):
        for name in ("metadata", "guards_code"):
            if name in found:
                found[name] = type(found[name])()
        for name, value in found.items():
            yield "", name
            yield from _texts(name, value)
    elif isinstance(found, list):
        for value in found:
            yield from _texts(key, value)
    elif isinstance(found, str) or (key == "use_pickle" and found):
        yield key, str(found)


def _is_plain_tree(text: str) -> bool:
    """Whether a tree of inputs or outputs is of tuples, lists and dictionaries alone: others import modules."""
    try:
        trees = [json.loads(text)[1]]
        while trees:
            tree = trees.pop()
            keys = json.loads(tree["context"] or "null") or []
            if tree["type"] not in _TREES or not all(isinstance(key, str) for key in keys):
                return False
            trees += tree["children_spec"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False
    return True


def _input_shape(model: Any) -> tuple[int | None, ...] | None:
    """The shape of the program's one input of images, None where an extent may be any."""
    try:
        graph = model["graph_module"]
        (name,) = (each["user_input"]["arg"]["as_tensor"]["name"]
                   for each in graph["signature"]["input_specs"] if "user_input" in each)
        shape = tuple(extent.get("as_int") for extent in graph["graph"]["tensor_values"][name]["sizes"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return shape if len(shape) > 1 else None


FORMATS.add(Format("exported", "torch.export (.pt2)", _recognised, _facts, _load, order=35))
