"""ONNX files, run by onnxruntime: a black box, whose answers are known and not its gradients."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, in_arrays, whole

_MEMORY = 3 * 2**28      # bytes, beside those of the file


def _recognised(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".onnx"


def _facts(path: Path) -> Facts:
    """The input, as the graph has it.

    Raises:
        InputRefused: onnxruntime is not installed, or it cannot read the file.
    """
    shape = _session(path).get_inputs()[0].shape
    channels = shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None
    return Facts(channels=channels, size=whole(shape[2:]), notes=("its head and its scale are not in the file",))


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
