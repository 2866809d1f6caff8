"""Files of plain values that are written whole or not at all, and believed only within limits when read back."""

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from steadyread.errors import InputRefused, unwritable
from steadyread.files import entries, is_folder, regular_file, whole_zip
from steadyread.limits import MOST_BYTES, MOST_UNPACKED, MOST_VALUES, beyond_limits
from steadyread.names import in_json, shown

TEMPORARY = ".tmp"
_PART = re.compile(r"part-(\d{5,})-([0-9a-f]{16})\.(\w+)")


@dataclass(frozen=True)
class Parts:
    """Files of one folder, a file a block of cases, whose names end in `suffix`; files of other names are none. A part
    carries the digest of its own bytes in its name, so that a flipped bit anywhere is seen."""

    folder: Path
    suffix: str

    def __iter__(self) -> Iterator[tuple[int, Path]]:
        """The parts by block; of one block there may be two where a writer was killed."""
        found = [(match, path) for path in (entries(self.folder) if is_folder(self.folder) else ())
                 if (match := _PART.fullmatch(path.name)) and match[3] == self.suffix]
        for match, path in sorted(found, key=lambda pair: (int(pair[0][1]), pair[1].name)):
            yield int(match[1]), path

    def write(self, block: int, content: bytes) -> Path:
        """Writes the part of a block, in place of one before.

        Raises:
            Partial: the disk is full. Nothing half-written stays; the finished parts are kept.
        """
        path = self.folder / f"part-{block:05d}-{_digest(content)}.{self.suffix}"
        before = [other for number, other in self if number == block and other != path]
        write_whole(path, content)
        for other in before:
            other.unlink()
        return path


def intact(path: Path) -> bytes | None:
    """The bytes of a part, None where they are not those that were written.

    Raises:
        InputRefused: it cannot be read.
    """
    match = _PART.fullmatch(path.name)
    try:
        content = regular_file(path).read_bytes()
    except OSError as problem:
        raise InputRefused(f"cannot read {path}: {problem.strerror or problem}") from problem
    return content if match is not None and _digest(content) == match[2] else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, and stays after a power cut.

    Raises:
        Partial: the disk is full (or a quota or file size limit is reached); the temporary file is removed.
        InputRefused: the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as problem:
        with suppress(OSError):  # its folder may not be one
            temporary.unlink(missing_ok=True)
        raise unwritable(path, problem) from problem
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8. What came with the data and would act where the file is shown is written escaped."""
    write_whole(path, shown(text, kept="\n\t").encode())


def write_json(path: str | Path, value: object) -> None:
    """Write plain values, numpy ones among them, as JSON; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=False)
    write_whole(path, (in_json(text) + "\n").encode())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write numpy arrays of plain types as one compressed npz."""
    write_whole(path, npz(arrays))


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Numpy arrays of plain types as the bytes of one compressed npz, the same for the same arrays."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"the array '{name}' holds Python objects; give it a plain type")
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputRefused: not there, not JSON, or beyond what any of our files holds (see `steadyread.limits`).
    """
    path = regular_file(Path(path))
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
        if size > MOST_BYTES or content.count(b",") > MOST_VALUES:
            raise InputRefused(f"{path} is larger than any file of a run ({size:,} bytes, at most {MOST_BYTES:,} "
                               f"and {MOST_VALUES:,} values are read): remove it, and run the command that made it "
                               "again")
        found = json.loads(content)
    except OSError as problem:
        raise InputRefused(f"cannot read {path}: {problem.strerror}") from problem
    except (ValueError, RecursionError) as problem:
        raise InputRefused(f"{path} is not whole JSON ({problem}): choose another --out folder, "
                           "or remove this one") from problem
    if wrong := beyond_limits(found):
        raise InputRefused(f"{path} is damaged: {wrong}")
    return found


def read_object(path: str | Path) -> dict[str, Any] | None:
    """A stored JSON object, None where there is no file.

    Raises:
        InputRefused: not JSON, or something else than an object.
    """
    path = Path(path)
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputRefused(f"{path} must hold one JSON object; it holds a {type(found).__name__}: remove it, and "
                           "run the command that made it again")
    return found


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a stored npz, by name.

    Raises:
        InputRefused: no file, or not an npz of plain arrays.
    """
    path = regular_file(Path(path))
    try:
        with path.open("rb") as file:
            return _arrays_in(file)
    except Exception as problem:   # zipfile, zlib and numpy raise a dozen kinds for a damaged file
        raise InputRefused(f"{path} is not a readable npz of plain arrays ({problem}): remove it, and run the "
                           "command that made it again") from problem


def npz_in(content: bytes, most: int = MOST_UNPACKED) -> dict[str, np.ndarray] | None:
    """The arrays of an npz's bytes, by name; None where they are none, or unpack to more than `most` bytes."""
    with suppress(Exception):
        return _arrays_in(io.BytesIO(content), most)
    return None


def _arrays_in(file: IO[bytes], most: int = MOST_UNPACKED) -> dict[str, np.ndarray]:
    with whole_zip(file) as archive:
        declared = sum(member.file_size for member in archive.infolist())
        if declared > most:
            raise ValueError(f"it would unpack to {declared:,} bytes")
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def _sync_folder(folder: Path) -> None:
    """Make a rename last; where a folder cannot be opened (Windows) the rename itself is all there is."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    """Dictionaries, lists, text and finite numbers only, as JSON wants them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
