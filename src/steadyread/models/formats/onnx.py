"""ONNX files, run by onnxruntime: a black box, whose answers are known and not its gradients."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, in_arrays, whole

_MEMORY = 3 * 2**28      # bytes, beside those of the file
# Of ONNX's messages (onnx.proto): the numbers of fields; of protobuf: values of so many bytes, and those of any.
_GRAPH, _NODE, _OUTPUT, _NAME, _NODE_INPUT, _NODE_OUTPUT, _OPERATOR = 7, 1, 12, 1, 1, 2, 4
_FIXED, _BYTES, _LONGEST = {1: 8, 5: 4}, 2, 63
_SAME_VALUES = (b"Identity", b"Squeeze", b"Unsqueeze", b"Reshape", b"Flatten", b"Cast")


def _recognised(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".onnx"


def _facts(path: Path) -> Facts:
    """The input, as the graph has it.

    Raises:
        InputRefused: onnxruntime is not installed, or it cannot read the file.
    """
    session = _session(path)
    shape, returned = session.get_inputs()[0].shape, session.get_outputs()[0].shape
    channels = shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None
    values = returned[1] if len(returned) == 2 and isinstance(returned[1], int) else 1 if len(returned) == 1 else 0
    last = _last_step(path.read_bytes())
    head = {"Sigmoid": "probability" if values else "", "Softmax": "probabilities" if values > 1 else ""}.get(last, "")
    notes = ("its scale is not in the file",) if head else ("its head and its scale are not in the file",)
    return Facts({"model": {"output": head}} if head else {}, channels=channels, size=whole(shape[2:]), notes=notes,
                 findings=values if head == "probability" and values > 1 else 0)


def _last_step(content: bytes) -> str:
    """The operator that computes the network's first output, but for those that leave values as they are, by the graph
    as protobuf has it; "" where none is found."""
    with suppress(StopIteration, IndexError):
        graph = next(_fields(content, _GRAPH))
        value = next(_fields(next(_fields(graph, _OUTPUT)), _NAME))
        made = {name: node for node in _fields(graph, _NODE) for name in _fields(node, _NODE_OUTPUT)}
        while value in made:
            node = made.pop(value)      # so that no circle is gone round
            last = next(_fields(node, _OPERATOR))
            if last not in _SAME_VALUES:
                return last.decode("latin-1")
            value = next(_fields(node, _NODE_INPUT))
    return ""


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """What stands in a message of protobuf's under a number (protobuf.dev/programming-guides/encoding).

    Raises:
        IndexError: it is none, or cut off.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _whole_number(view, at)
        size = 0
        if key & 7 in _FIXED:
            at += _FIXED[key & 7]
        else:
            size, at = _whole_number(view, at)
        if key & 7 == _BYTES:
            if key >> 3 == wanted:
                yield bytes(view[at:at + size])
            at += size


def _whole_number(view: memoryview, at: int) -> tuple[int, int]:
    """A number of as many bytes as it needs, and where the next begins."""
    value = shift = 0
    while True:
        value |= (view[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if view[at - 1] < 128 or shift > _LONGEST:
            return value, at


def _load(path: Path) -> nn.Module:
    session = _session(path)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise InputRefused(f"{path} takes {len(inputs)} inputs ({', '.join(one.name for one in inputs[:4])}); expected "
                           "one, the images")
    name, first = inputs[0].name, inputs[0].shape[0]
    fixed = first if isinstance(first, int) else None

    def answers(images: Any) -> Any:
        try:
            return session.run(None, {name: images})[0]
        except Exception as problem:
            raise _failed(path, problem) from problem

    return FromFile(in_arrays(answers, whole=fixed is not None), fixed)


def _session(path: Path) -> Any:
    onnxruntime = library("onnxruntime", "onnx", "ONNX files are read with")
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    how.log_severity_level = 4
    content = path.read_bytes()
    _bounded(onnxruntime, how, _MEMORY + 4 * len(content))
    try:     # read from memory, there is no folder from which other files would be read
        return onnxruntime.InferenceSession(content, how, providers=["CPUExecutionProvider"],
                                            disabled_optimizers=["ConstantFolding"])
    except Exception as problem:
        raise InputRefused(f"{path} cannot be read as ONNX (external data is not read): {told(problem)}") from problem


def _failed(path: Path, problem: Exception) -> Exception:
    """What to raise where onnxruntime fails on images: what it raised, unless memory is at fault."""
    if "arena" not in str(problem) and "allocate" not in str(problem):
        return problem
    return InputRefused(f"{path}: onnxruntime was refused the memory that it asks for ({told(problem)}): more than any "
                        "network of its size takes")


def _bounded(onnxruntime: Any, how: Any, most: int) -> None:
    """No more memory than `most` bytes for what the network computes; what is constant is computed within it too."""
    with suppress(Exception):     # of a version that has no bounds
        place = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0,
                                          onnxruntime.OrtMemType.DEFAULT)
        onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": most}))
        how.add_session_config_entry("session.use_env_allocators", "1")


FORMATS.add(Format("onnx", "ONNX (.onnx)", _recognised, _facts, _load, extra="onnx", order=40))
