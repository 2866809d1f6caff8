"""One process a run's folder: a lock that the system releases when its holder dies, however it dies."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from steadyread import records
from steadyread.errors import InputRefused, unwritable
from steadyread.files import CHECKPOINT, MODEL
from steadyread.progress import note

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EIO}
_HOLDING: set[tuple[Path, int]] = set()   # folders and threads of this process


@dataclass(frozen=True)
class _Held:
    """An open lock file, and the folders that were made for it, the innermost first."""

    handle: int
    made: tuple[Path, ...]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, no other process works in the folder; a thread may hold it several times.

    The folder is made where there is none, and removed again where it stays empty. Where a file system knows no
    locks that is said, and the work goes on without.

    Raises:
        InputRefused: another process works there (its number is told), or the folder cannot be written.
        Partial: the disk is full.
    """
    key = (folder.resolve(), threading.get_ident())
    if key in _HOLDING:
        yield
        return
    held = _taken(folder)
    _HOLDING.add(key)
    try:
        yield
    finally:
        _HOLDING.discard(key)
        _released(folder, held)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder that is locked: temporary files, states of finished trainings.

    Folders below that another process has locked are left alone.
    """
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not _in_use(Path(place) / name)]
        records.remove_leftovers(Path(place))
        if MODEL in names and CHECKPOINT in names:
            with suppress(OSError):
                (Path(place) / CHECKPOINT).unlink()


def _taken(folder: Path) -> _Held:
    made = tuple(place for place in (folder, *folder.parents) if not place.exists())
    path = folder / LOCK
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock(handle, folder)
            except BlockingIOError:
                holder = os.read(handle, 32).decode("ascii", "replace").strip()
                os.close(handle)
                raise InputRefused(f"{folder} is being worked in by another process"
                                   f"{f' (pid {holder})' if holder else ''}: wait for it or end it, or give "
                                   "another --out folder") from None
            if _same(handle, path):
                break
            os.close(handle)   # its holder removed the file between
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as problem:
        _remove_empty(made)
        raise unwritable(folder, problem) from problem
    return _Held(handle, made)


def _lock(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as problem:
        if problem.errno not in _UNKNOWN:
            raise
        note(f"the file system of {folder} knows no locks ({problem.strerror}): see to it yourself that no other "
             "process works there")


def _released(folder: Path, held: _Held) -> None:
    """The file first, then the lock: who waits with the old file open sees that it is gone."""
    with suppress(OSError):
        if _same(held.handle, folder / LOCK):
            (folder / LOCK).unlink()
    os.close(held.handle)
    _remove_empty(held.made)


def _remove_empty(made: tuple[Path, ...]) -> None:
    with suppress(OSError):   # the first that is not empty ends it
        for place in made:
            place.rmdir()


def _same(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)


def _in_use(folder: Path) -> bool:
    """Whether another process has locked the folder."""
    if sys.platform == "win32" or not (folder / LOCK).exists():
        return False
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
