"""Files that are read, and the names of what stands in a run's folder: the one place for both.

What a stranger hands over may be a pipe that never ends, a device, or folders linked in a circle: `regular_file`
and `files_below` are the doors through which every reader goes.

A run: settings, plan, records, findings, training, model, pictures, report. `members/`, `hardened/`,
`hardened-NAME/` and `equal/` are runs within it. A study of CT noise keeps each network in
`jobs/VARIANT/fold-NUMBER/` and each hardened one in `hardened/NAME/fold-NUMBER/`, with `round-NUMBER/` below.
"""

import difflib
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from steadyread.errors import InputRefused

SETTINGS, FINDINGS = "study.json", "findings.json"     # the plan and the records name their own: `records`
MODEL, TRAINING, CHECKPOINT = "model.safetensors", "training.json", "checkpoint.pt"
PAGE, TEXT, SUMMARY, FIGURES = "report.html", "report.md", "summary.json", "figures"
EXAMPLES, ATTACKED, IMAGES, FAILED = "examples.npz", "attacked.npz", "images.json", "failed.json"
SET_ASIDE = "set_aside.json"
MEMBERS, HARDENED, EQUAL = "members", "hardened", "equal"
# of a study of CT noise
JOBS, CASES, SPECTRUM, NOISE_EXAMPLES = "jobs", "cases.csv", "spectrum.json", "noise_examples.npz"
COUNTED, CONVERGENCE = "counted.json", "convergence.json"
SEEN, SEEN_ARRAYS, EXPLAINED = "seen.json", "seen.npz", "explain"
HUNT, ROUND = "hunt.json", "round"

_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
          (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
_NEAR = 500   # names of a folder that are compared with one that is not there


def is_regular(path: Path) -> bool:
    """Whether `path` is a regular file, or a link to one; False too where its name is none that can be."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, or a link to one; False too where its name is none that can be."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def regular_file(path: Path, sought: str = "file") -> Path:
    """`path`, if it is a regular file (or a link to one). Reading a pipe or a device may never end.

    `sought` is what is said not to be there.

    Raises:
        InputRefused: not there (with the nearest name beside it), a folder, pipe, socket or device.
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
    return path


def file_or_folder(path: Path) -> Path:
    """`path`, if it is a folder or a regular file.

    Raises:
        InputRefused: neither.
    """
    return path if is_folder(path) else regular_file(path, "file or folder")


def nearest(path: Path) -> str:
    """"; did you mean 'NAME'?" of the likeliest name beside a file that is not there, or ""."""
    asked = _plain(path.name)
    plain = {_plain(name): name for name in reversed(_names_in(path.parent)[:_NEAR])
             if _digits(name) == _digits(path.name)}
    stems = {folded.split(".")[0]: name for folded, name in plain.items()}
    near = plain.get(asked) or stems.get(asked.split(".")[0]) or next(
        (plain[folded] for folded in difflib.get_close_matches(asked, plain, 1, 0.8)), None)
    return f"; did you mean '{near}'?" if near else ""


def _digits(name: str) -> str:
    """By which numbered files differ: scan_12 is not another spelling of scan_13."""
    return "".join(mark for mark in name if mark.isdecimal())


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


def _leads_back(target: Path, top: Path) -> bool:
    return target == top or top in target.parents or target in top.parents


def _place(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)
