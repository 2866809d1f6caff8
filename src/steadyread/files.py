"""Files that are read, and the names of what stands in a run's folder: the one place for both.

What a stranger hands over may be a pipe that never ends, a device, or folders linked in a circle: `regular_file`
and `files_below` are the doors through which every reader goes.

A run: settings, plan, records, findings, training, model, pictures, report. `members/`, `hardened/`,
`hardened-NAME/`, `equal/` and `seeds/seed-NUMBER/` are runs within it. A study of CT noise keeps each network in
`jobs/VARIANT/fold-NUMBER/` and each hardened one in `hardened/NAME/fold-NUMBER/`, with `round-NUMBER/` below.
"""

import difflib
import errno
import os
import stat
import struct
import unicodedata
import zipfile
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from steadyread.errors import InputRefused, UsageError

SETTINGS, FINDINGS = "study.json", "findings.json"     # the plan and the records name their own: `records`
MODEL, NETWORK, TRAINING, CHECKPOINT = "model.safetensors", "net.toml", "training.json", "checkpoint.pt"
PAGE, TEXT, SUMMARY, FIGURES = "report.html", "report.md", "summary.json", "figures"
EXAMPLES, ATTACKED, IMAGES, FAILED = "examples.npz", "attacked.npz", "images.json", "failed.json"
IMAGE_NOISE = "image_noise.json"
GATES = "gates.json"     # what those of the run came to
SET_ASIDE, CASES, SALT, PREFLIGHT = "set_aside.json", "cases.csv", "salt.txt", "preflight.json"
MARKS = "marks.json"     # a short digest of each case's pixels
READERS_MARKS = "marks.sqlite"     # of cases, which `steadyread view` keeps
MEMBERS, HARDENED, EQUAL, SEEDS = "members", "hardened", "equal", "seeds"
# of a study of CT noise
JOBS, SPECTRUM, NOISE_EXAMPLES = "jobs", "spectrum.json", "noise_examples.npz"
COUNTED, CONVERGENCE = "counted.json", "convergence.json"
SEEN, SEEN_ARRAYS, EXPLAINED = "seen.json", "seen.npz", "explain"
HUNT, ROUND = "hunt.json", "round"

# What the names of networks' files end in, ours or not: a name that ends so is no name of a network of ours.
NETWORKS = (".keras", ".h5", ".hdf5", ".onnx", ".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".bin", ".tflite", ".pb",
            ".toml")

_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
          (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
# Of zip archives: how members, the last record and that of large archives begin; the longest that stands last, and
# between members (24 bytes, and the next one's first); and what none has that is read here.
_MEMBER, _END, _LARGE, _LONGEST_END, _BETWEEN = b"PK\3\4", b"PK\5\6", b"PK\6\6", 76 + 22 + 0xFFFF, 28
_MOST_MEMBERS, _MOST_DIRECTORY = 10_000, 2**22
_TEXT = 8     # letters that are no accident
_LFS, _ANNEX = b"version https://git-lfs", b"/annex/objects/"
_NEAR = 500   # names of a folder that are compared with one that is not there


def is_regular(path: Path) -> bool:
    """Whether `path` is a regular file, or a link to one; False too where its name is none that can be.

    Raises:
        InputRefused: a folder on the way may not be looked into, so that nobody knows.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, or a link to one; False too where its name is none that can be.

    Raises:
        InputRefused: a folder on the way may not be looked into, so that nobody knows.
    """
    return stat.S_ISDIR(_mode(path))


def regular_file(path: Path, sought: str = "file") -> Path:
    """`path`, if it is a regular file (or a link to one). Reading a pipe or a device may never end.

    `sought` is what is said not to be there.

    Raises:
        InputRefused: not there (with the nearest name beside it), a folder, pipe, socket or device, or not
            allowed to be read.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputRefused(f"{path}: no such {sought}{nearest(path)}") from None
    except (OSError, ValueError) as problem:
        raise InputRefused(f"{path}: cannot be read ({_reason(problem)})") from None
    if not stat.S_ISREG(mode):
        kind = next((words for holds, words in _KINDS if holds(mode)), "no regular file")
        raise InputRefused(f"{path}: {kind}; expected a regular file")
    if not os.access(path, os.R_OK):
        raise InputRefused(f"{path}: cannot be read ({os.strerror(errno.EACCES)})")
    return path


def file_or_folder(path: Path) -> Path:
    """`path`, if it is a folder or a regular file.

    Raises:
        InputRefused: neither.
    """
    return path if is_folder(path) else regular_file(path, "file or folder")


def nearest(path: Path) -> str:
    """"; did you mean 'NAME'?" of the likeliest name beside a file that is not there, or ""."""
    found = _near(path)
    if found is None:
        return ""
    return f"; did you mean '{found.name if found.parent == path.parent else found}'?"


def _near(path: Path) -> Path | None:
    """The likeliest path where this one is not, also through folders that are spelled in another way."""
    if path.parent != path and not is_folder(path.parent):
        folder = _near(path.parent)
        there = folder is not None and is_folder(folder)
        return (folder / path.name if _exists(folder / path.name) else _near(folder / path.name)) \
            if folder is not None and there else None
    asked = _plain(path.name)
    plain = {_plain(name): name for name in reversed(_names_in(path.parent)[:_NEAR])
             if _digits(name) == _digits(path.name)}
    stems = {folded.split(".")[0]: name for folded, name in plain.items()}
    near = plain.get(asked) or stems.get(asked.split(".")[0]) or next(
        (plain[folded] for folded in difflib.get_close_matches(asked, plain, 1, 0.8)), None)
    return path.parent / near if near else None


def _digits(name: str) -> str:
    """By which numbered files differ: scan_12 is not another spelling of scan_13."""
    return "".join(mark for mark in name if mark.isdecimal())


def refuse_absent_network(model: str) -> None:
    """Nothing where a network's name may be that of a file or folder that is there, or of no file at all.

    Raises:
        UsageError: it is that of a file, or has folders in it, and nothing is there.
    """
    path = Path(model).expanduser()
    if ":" not in model and (path.suffix.lower() in NETWORKS or len(path.parts) > 1) and not _exists(path):
        raise UsageError(f"model.name: no file {model}{nearest(path)}")


def as_written(folder: Path, path: Path) -> Path:
    """`path` below `folder` as the file system spells it, where it composes accents in another way (NFC, NFD)."""
    if str(path.relative_to(folder)).isascii() or _exists(path):
        return path
    here = folder
    for name in path.relative_to(folder).parts:
        if not _exists(here / name):
            asked = unicodedata.normalize("NFC", name)
            name = next((other for other in _names_in(here) if unicodedata.normalize("NFC", other) == asked), name)
        here = here / name
    return here


def _exists(path: Path) -> bool:
    return is_regular(path) or is_folder(path)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (OSError, ValueError):
        return []


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def files_below(folder: Path, unfollowed: list[Path] | None = None) -> Iterator[Path]:
    """The regular files in `folder` and at any depth below it, in the order of their names, hidden ones aside.

    Every real folder is visited once, so links in a circle end: a link is followed only where it leads outside
    `folder`, to what has not been visited and does not hold `folder` itself. Links that are not followed are
    added to `unfollowed`.

    Raises:
        InputRefused: a folder that cannot be listed.
    """
    top = _place(folder)
    waiting, visited = [folder], set[tuple[int, int]]()
    while waiting:
        here = waiting.pop()
        inner = entries(here)
        real = here.stat()
        back = here != folder and here.is_symlink() and _leads_back(_place(here), top)
        if back or (real.st_dev, real.st_ino) in visited:
            if unfollowed is not None:
                unfollowed.append(here)
            continue
        visited.add((real.st_dev, real.st_ino))
        yield from (path for path in inner if is_regular(path))
        waiting += [path for path in reversed(inner) if is_folder(path) and not path.name.startswith("__")]


def entries(folder: Path) -> list[Path]:
    """What is in `folder`, hidden things aside, in the order of the names.

    Raises:
        InputRefused: it cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (OSError, ValueError) as problem:
        raise InputRefused(f"{folder}: cannot be listed ({_reason(problem)})") from None


def member_begins(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: after its own header, whose lengths differ from the directory's."""
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + 30 + name + extra)


@contextmanager
def whole_zip(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose directory lists all that lies before it: a damaged one may have lost members.

    Raises:
        zipfile.BadZipFile: none, members that are not listed, that overlap or have one name, or more of them than
            arrays and weights have.
    """
    file.seek(-min(file.seek(0, os.SEEK_END), _LONGEST_END), os.SEEK_END)
    end = file.read()
    place = end.rfind(_END)
    count, size = (0, 0) if place < 0 else struct.unpack_from("<HI", end, place + 10)
    if end[place - 76:place - 72] == _LARGE:
        count, size = struct.unpack_from("<2Q", end, place - 44)
    if count > _MOST_MEMBERS or size > _MOST_DIRECTORY:
        raise zipfile.BadZipFile(f"more than {_MOST_MEMBERS:,} members, or a directory larger than any")
    with zipfile.ZipFile(file) as archive:
        reached, places = 0, sorted((member.header_offset, member_begins(file, member) + member.compress_size)
                                    for member in archive.infolist())
        if len(set(archive.namelist())) < len(places):
            raise zipfile.BadZipFile("two of its members have one name")
        for begin, ends in [*places, (archive.start_dir, 0)]:
            if begin < reached:
                raise zipfile.BadZipFile("its members overlap")
            file.seek(reached)
            if count != len(places) or _MEMBER in file.read(min(begin - reached, _BETWEEN)):
                raise zipfile.BadZipFile("its directory does not list all of its members")
            reached = ends
        yield archive


def _mode(path: Path) -> int:
    """What kind of thing is there, 0 where nothing is."""
    try:
        return path.stat().st_mode
    except PermissionError as problem:
        raise InputRefused(f"{path}: cannot be read ({_reason(problem)})") from None
    except (OSError, ValueError):
        return 0


def refuse_stand_in(path: object, head: bytes, sought: str) -> None:
    """Nothing where a file that begins with `head` may hold what is `sought`: "weights", "a picture".

    Raises:
        InputRefused: it is empty, stands for a file that was not fetched, or is a web page or other text.
    """
    if not head:
        raise InputRefused(f"{path} is empty: the copy or download was cut off, get the file again")
    if head.startswith(_LFS):
        raise InputRefused(f"{path} is a Git LFS pointer, a note of where the file is kept: fetch it with "
                           "`git lfs pull` in the repository")
    if _ANNEX in head:
        raise InputRefused(f"{path} is a git-annex pointer, a note of where the file is kept: fetch it with "
                           "`git annex get` in the repository")
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(head)   # its last letter may be cut in two
    except UnicodeDecodeError:
        return
    if len(text) < _TEXT or not all(mark.isprintable() or mark.isspace() for mark in text):
        return
    begins = " ".join(text.split())[:60]
    if begins.lower().startswith(("<!doctype html", "<html")):
        raise InputRefused(f"{path} is a web page, not {sought} (a page of an error or a login was saved under "
                           "this name): download the file itself")
    raise InputRefused(f"{path} is text, not {sought}; it begins '{begins}': download or copy the file itself")


def _leads_back(target: Path, top: Path) -> bool:
    return target == top or top in target.parents or target in top.parents


def _place(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)
