"""ONNX files, run by onnxruntime: a black box, whose answers are known and not its gradients."""

from pathlib import Path
from typing import Any

from torch import nn

from steadyread.errors import InputRefused
from steadyread.extras import library
from steadyread.models.archives import told
from steadyread.models.format import FORMATS, Facts, Format, FromFile, in_arrays, whole


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
    return FromFile(in_arrays(lambda images: session.run(None, {name: images})[0]), first if isinstance(first, int)
                    else None)


def _session(path: Path) -> Any:
    onnxruntime = library("onnxruntime", "onnx", "ONNX files are read with")
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    how.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), how, providers=["CPUExecutionProvider"])
    except Exception as problem:
        raise InputRefused(f"{path} cannot be read as ONNX (external data is not read): {told(problem)}") from problem


FORMATS.add(Format("onnx", "ONNX (.onnx)", _recognised, _facts, _load, extra="onnx", order=40))
