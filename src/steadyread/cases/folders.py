"""Reader of pictures in folders: one sub-folder a class, alone or inside train/, val/ and test/."""

from collections.abc import Sequence
from pathlib import Path

from steadyread.cases.case_set import Cases, Row
from steadyread.cases.pictures import SUFFIXES, Channels, look_of, read_picture
from steadyread.errors import InputRefused

PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
         "validation": "validation", "test": "test", "testing": "test"}
LOOKED_FOR = "sub-folders of PNG or JPEG files, one a class (also below train/, val/, test/)"


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with pictures in sub-folders."""
    return path.is_dir() and any(True for _ in _pictures_below(path))


def read(path: Path, channels: Channels = "auto") -> Cases:
    """The cases of class folders; the class is the folder's name, the classes in order of their names.

    The official parts are kept where the folders are called train, val (valid, validation) and test. Each
    image is its own patient.

    Args:
        channels: `grey`, `colour`, or `auto` (grey where nine in ten of the images looked at are; said in
            the notes).

    Raises:
        InputRefused: no pictures, or folders that hold some at one depth and others deeper.
    """
    roots = _parts(path)
    found = [(part, name, file) for part, root in roots for name, file in _of_classes(root)]
    if not found:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}; found no picture ({', '.join(SUFFIXES)})")
    classes = in_order({name for _, name, _ in found})
    look, how = look_of([file for _, _, file in found], channels)
    rows = []
    for part, name, file in found:
        short = file.relative_to(path).as_posix()
        rows.append(Row(short, short, classes.index(name), name, None, part, file, short))
    return Cases(path.name, tuple(rows), lambda row: read_picture(row.source, look), classes, look.bounds,
                 notes=(how,))


def in_order(names: set[str]) -> tuple[str, ...]:
    """Class names in order: as numbers where all are, by the alphabet otherwise."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _parts(path: Path) -> list[tuple[str, Path]]:
    """The roots of the class folders with their part: `path` itself, or its train, val and test."""
    folders = _folders(path)
    if folders and all(folder.name.lower() in PARTS for folder in folders):
        return [(PARTS[folder.name.lower()], folder) for folder in folders]
    return [("", path)]


def _of_classes(root: Path) -> list[tuple[str, Path]]:
    classes = {folder: list(_pictures_below(folder, itself=True)) for folder in _folders(root)}
    classes = {folder: files for folder, files in classes.items() if files}
    deeper = [folder for folder, files in classes.items() if not any(file.parent == folder for file in files)]
    if deeper and len(deeper) < len(classes):
        raise InputRefused(f"{deeper[0]}: holds pictures only in deeper folders, the classes beside it hold theirs "
                           "directly; move it away or list the files in a CSV (file,label)")
    return [(folder.name, file) for folder, files in classes.items() for file in files]


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith((".", "__")))


def _pictures_below(path: Path, itself: bool = False) -> Sequence[Path]:
    files = sorted(path.iterdir()) if itself else []
    own = [file for file in files
           if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()]
    for folder in _folders(path):
        own += _pictures_below(folder, itself=True)
    return own
