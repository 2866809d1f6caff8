"""Weights files read as data, never code, and believed only as far as their own bytes reach."""

import io
import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from steadyread.errors import InputRefused, SteadyreadError
from steadyread.files import whole_zip
from steadyread.limits import MOST_HEADER, MOST_VALUES, beyond_limits
from steadyread.models.states import SAVE

_EXPANDED, _SHARED = 2**27, 8   # bytes of tensors that repeat fewer ones (`expand`), and times the file's own
_CHUNK = 2**20
_FOLDER = 0x10      # of a member's attributes, as MS-DOS has them
_ZEROS = b"\nbytearray\n"   # the one name that torch.load calls whatever size it is asked for
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")   # of what torch says that it does not unpickle
_STATE_DICT = re.compile(rb"(X\n\0\0\0|\x8c\n)state_dict")     # that very word, as pickles have it
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
        if text.count(",") > MOST_VALUES:
            raise ValueError(f"beside the tensors stand more than {MOST_VALUES:,} values")
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
            stored = _refuse_unpacking(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")   # what it grumbles about is refused here or read well
                found = torch.load(file, map_location="cpu", weights_only=True)
        done: dict[int, object] = {}
        plain = _plain(found, _DEPTH, done)
        _refuse_repeating(done.values(), stored)
        return plain


@contextmanager
def archive_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file of a network.

    Raises:
        InputRefused: it is none, or a damaged one.
    """
    with _refusing(path), path.open("rb") as file, whole_zip(file) as archive:
        yield archive


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
        raise _with_objects(path, problem) from problem
    except Exception as problem:   # torch, pickle, zipfile and safetensors raise what they like for a damaged file
        raise unreadable(path, problem) from problem


def _with_objects(path: Path, problem: pickle.UnpicklingError) -> InputRefused:
    """What to raise where a pickle holds more than tensors. Not even in another process is it read: what it runs may
    do there whatever its user may."""
    found = _GLOBAL.search(str(problem))
    if found is None:
        return InputRefused(f"{path} holds a pickled module or other objects, which may run code when read, or is cut "
                            f"off; {SAVE}")
    holds = f"{path} holds objects beside its tensors ({found[1][:80]}), whose code would run when read: it is not"
    if not _is_checkpoint(path):
        return InputRefused(f"{holds}. Where you trust it, load it in Python and {SAVE}")
    return InputRefused(f"{holds}. Where you trust it, write its tensors alone: checkpoint = torch.load('{path.name}', "
                        "weights_only=False); torch.save(checkpoint['state_dict'], 'weights.pt')")


def _is_checkpoint(path: Path) -> bool:
    """Whether a table with a state dict in it was pickled, as Lightning does: by its text, unread."""
    with suppress(Exception), zipfile.ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(member) as pickled:
            return _STATE_DICT.search(pickled.read(MOST_HEADER)) is not None
    return False


def _refuse_unpacking(file: IO[bytes]) -> int:
    """The size of a file. `torch.save` stores and never compresses: a member that unpacks to more is a bomb.

    Its CRC-32, which `torch.load` passes over, is compared where it was written (0 stands for none).
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if zipfile.is_zipfile(file):
        with whole_zip(file) as archive:
            members = archive.infolist()
            claimed = sum(member.file_size for member in members)
            if claimed > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError(f"it is compressed, as torch.save never writes, and would unpack to {claimed:,} "
                                 "bytes")
            for member in members:
                if member.external_attr & _FOLDER:   # torch.load would leave its tensor to what memory held before
                    raise ValueError(f"its member {member.filename} is marked as a folder")
                if member.CRC:
                    _refuse_changed(archive, member)
    file.seek(0)
    before = b""
    while piece := file.read(_CHUNK):
        if _ZEROS in before + piece:
            raise ValueError("it holds a bytearray, which may claim any size and is no tensor")
        before = piece[-len(_ZEROS):]
    file.seek(0)
    return size


def _refuse_changed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as stored:
        while stored.read(_CHUNK):   # raises at the end where the CRC-32 is another
            pass


def _plain(value: object, depth: int, done: dict[int, object]) -> object:
    """The same with tensors that are only values; what stands in many places is gone through once (`done`)."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Tensor):
        done[id(value)] = value.detach()   # what holds no plain numbers is refused by its name where it is wanted
    elif depth and isinstance(value, Mapping):
        done[id(value)] = copy = dict[Any, object]()
        copy.update((name, _plain(inner, depth - 1, done)) for name, inner in value.items())
    return done.get(id(value), value)


def _refuse_repeating(values: Iterable[object], stored: int) -> None:
    """Refuses tensors that are far larger together than the file: views and repeats of what it holds."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    size = sum(value.numel() * value.element_size() for value in tensors
               if value.layout == torch.strided and not value.is_meta)
    if size > max(_SHARED * stored, _EXPANDED):
        raise ValueError(f"its tensors are of {size:,} bytes together, of which only {stored:,} bytes are stored")
