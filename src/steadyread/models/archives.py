"""Weights files read as data, never code, and believed only as far as their own bytes reach."""

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from steadyread.errors import InputRefused, SteadyreadError
from steadyread.limits import MOST_HEADER, beyond_limits
from steadyread.models.states import SAVE

_EXPANDED = 2**27   # bytes of a tensor that repeats fewer ones (`expand`)
_DEPTH = 8   # dictionaries and lists within each other that are looked into


def tensors_and_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and the text beside them.

    Raises:
        InputRefused: not safetensors, cut off, or a header larger than any.
    """
    metadata = metadata_of(path)
    with _refusing(path):
        return load_file(path), metadata


def metadata_of(path: Path) -> dict[str, str]:
    """The text beside the tensors of a safetensors file.

    Raises:
        InputRefused: not safetensors, cut off, or a header larger than any.
    """
    with _refusing(path):
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
        left = path.stat().st_size - 8
        if size > min(left, MOST_HEADER):
            raise ValueError(f"its header claims {size:,} bytes, where {min(left, MOST_HEADER):,} can be")
        with safe_open(path, framework="pt") as opened:
            return opened.metadata() or {}


def stored_values(text: str, path: Path) -> Any:
    """What JSON beside the tensors holds.

    Raises:
        InputRefused: no JSON, or beyond what any of ours holds (see `steadyread.limits`).
    """
    with _refusing(path):
        found = json.loads(text)
        if wrong := beyond_limits(found):
            raise ValueError(f"beside the tensors, {wrong}")
        return found


def torch_archive(path: Path, content: bytes | memoryview | None = None) -> object:
    """What `torch.save` wrote into a file (`content`, where it is read already): tensors and plain values.

    Raises:
        InputRefused: a pickled module or other objects; cut off; compressed; or tensors that are far larger than
            what is stored of them.
    """
    with _refusing(path):
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            _refuse_unpacking(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")   # what it grumbles about is refused here or read well
                found = torch.load(file, map_location="cpu", weights_only=True)
        return _plain(found, _DEPTH)


def unreadable(path: Path, problem: BaseException) -> InputRefused:
    """What to raise where reading weights failed."""
    return InputRefused(f"{path} cannot be read as weights (cut off, or another format?): {told(problem)}")


def told(problem: BaseException) -> str:
    """An exception's kind and the first line of what it says."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except SteadyreadError:
        raise
    except pickle.UnpicklingError as problem:
        raise InputRefused(f"{path} holds a pickled module or other objects, which may run code when read, or is "
                           f"cut off; {SAVE}") from problem
    except Exception as problem:   # torch, pickle, zipfile and safetensors raise what they like for a damaged file
        raise unreadable(path, problem) from problem


def _refuse_unpacking(file: IO[bytes]) -> None:
    """`torch.save` stores and never compresses: a member that unpacks to more than the file holds is a bomb."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError(f"it is compressed, as torch.save never writes, and would unpack to {claimed:,} bytes")
    file.seek(0)


def _plain(value: object, depth: int) -> object:
    """The same with tensors that are only values."""
    if isinstance(value, Tensor):
        return _dense(value)
    if depth and isinstance(value, Mapping):
        return {name: _plain(inner, depth - 1) for name, inner in value.items()}
    return value


def _dense(value: Tensor) -> Tensor:
    if value.layout != torch.strided or value.is_meta or value.is_quantized:
        return value   # refused, where it is wanted, by the name of its tensor
    size, stored = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if size > max(stored, _EXPANDED):
        raise ValueError(f"a tensor of shape {tuple(value.shape)} of which only {stored:,} bytes are stored")
    return value.detach()
