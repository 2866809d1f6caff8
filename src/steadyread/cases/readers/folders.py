"""Reader of images in folders: one sub-folder a class, alone or inside train/, val/ and test/."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.imaged import imaged
from steadyread.cases.kind import KINDS, Asked, ending, kind_of
from steadyread.cases.reader import reader
from steadyread.cases.row import Row
from steadyread.cases.set_aside import IMAGE_FOLDERS, without_excluded, without_masks
from steadyread.errors import InputRefused
from steadyread.files import entries, files_below, is_folder
from steadyread.names import shown

_PART = re.compile(r"(?:(?P<train>train(?:ing)?)|(?P<validation>val(?:id(?:ation|ate)?)?|dev)|"
                   r"(?P<test>test(?:ing)?))(?:[ _-]*(?:set|data|dataset|images?|imgs?|split))?", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Images of other kinds: a class that is stored so must not vanish from among the pictures.
OTHER_IMAGES = (".gz", ".gif", ".webp", ".jp2", ".j2k", ".heic", ".avif", ".jxl", ".svs", ".ndpi",
                ".czi", ".dng", ".raw", ".pfm", ".tga")
# Headers of volumes, and what the file beside them ends in that holds their values.
_HEADERS, _VALUES = (".nhdr", ".mhd"), re.compile(r"(\.raw)?(\.(gz|raw))?$", re.IGNORECASE)
# Each file with the folders below the root that hold it.
Places = Mapping[Path, tuple[str, ...]]
# A file, its part, and the folder of its class.
Placed = tuple[Path, str, Path]


def part_of(name: str) -> str | None:
    """The part that a folder or a table means: "Training", "val", "test_set"; None where it is no part."""
    match = _PART.fullmatch(name.strip())
    return next((part for part, text in match.groupdict().items() if text), None) if match else None


def is_image(file: Path) -> bool:
    """Whether a file is of a kind of image that is read, by its ending or its beginning."""
    return kind_of(file) is not None


LOOKED_FOR = ("sub-folders of images (PNG, JPEG, TIFF, DICOM, NIfTI, NRRD, MetaImage, npy), one a class (also "
              "below train/, val/, test/)")


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with images in sub-folders."""
    return is_folder(path) and any(file.parent != path and is_image(file) for file in files_below(path))


@reader("folders", recognises=recognises, order=90, defaults={"preparation": {"size": 64}},
        looked_for=LOOKED_FOR, takes=(Asked,))
def read(path: Path, asked: Asked) -> Cases:
    """The cases of class folders; the class is the folder's name, the classes in order of their names.

    The official parts are kept where the folders are called train, val (valid, validation) and test, above the
    classes or in each. Patients are those that a pattern or the files' own tags name; else each image is its own.
    Masks of other images are left out, and said to be in the notes.

    Raises:
        InputRefused: no images, or of several kinds; folders that hold some at one depth and others deeper, folders
            that may be parts or classes, a class without a readable image.
    """
    unfollowed: list[Path] = []
    files = list(files_below(path, unfollowed))
    below = [file for file in files if file.parent != path]
    readable = {file for file in below if is_image(file)}
    headers = {file.with_suffix("") for file in readable if file.suffix.lower() in _HEADERS}
    images = [file for file in below if file in readable or (
        file.suffix.lower() in OTHER_IMAGES and file.with_name(_VALUES.sub("", file.name)) not in headers)]
    chosen, excluded = without_excluded(images, path, asked.exclude)
    pictures, masked = without_masks([file for file in chosen if file in readable], path)
    if not pictures:
        raise InputRefused(f"{path}: expected {LOOKED_FOR}; found no image ({_endings()})")
    placed, beside = _placed(path, pictures)
    name_of = {folder: unicodedata.normalize("NFC", shown(folder.name)) for _, _, folder in placed}
    others = _refuse_vanished([file for file in chosen if file not in readable], set(name_of))
    silent = (*_at_the_top(files, path), *_without_pictures(set(name_of), below, images))
    classes = in_order(set(name_of.values()))
    refuse_two_spellings("classes", classes, path)
    _refuse_beside_images(placed)
    rows = []
    for file, part, folder in placed:
        short, name = shown(file.relative_to(path).as_posix()), name_of[folder]
        rows.append(Row(short, "", classes.index(name), name, None, part, file, short))
    cases = imaged(shown(path.name), rows, classes, path, asked)
    return replace(cases, notes=(*cases.notes, *excluded, *masked, *beside, *others, *silent,
                                 *_links(path, unfollowed)))


def _endings() -> str:
    return ", ".join(suffix for known in KINDS.values() for suffix in known.endings)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Class names in order: as numbers where all are, by the alphabet otherwise."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def refuse_two_spellings(what: str, names: Iterable[str], where: Path) -> None:
    """Refuses names that may be one: "Ben" and "ben", "7" and "007" or "7.0", "ben_ign" and "ben ign".

    Raises:
        InputRefused: two of `names` differ in nothing else.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        other = seen.setdefault(_meant(name), name)
        if other != name:
            raise InputRefused(f"{where}: the {what} '{other}' and '{name}' may be one, written in two ways; "
                               "write it in one, or give them names that differ in more")


def _meant(name: str) -> str:
    """A name without its case, the zeros around its number, and how its words are separated."""
    plain = re.sub(r"\\u(200[b-f]|feff)", "", name).strip("\"' ").casefold()
    if re.fullmatch(r"\d+(\.\d*)?", plain):
        whole, _, part = plain.partition(".")
        return f"{whole.lstrip('0') or 0}.{part.rstrip('0')}"
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", plain)


def counted(files: Iterable[Path]) -> str:
    """How many files there are of each ending, the most frequent first: "12 .dcm, 1 .txt"."""
    counts = Counter(ending(file) or "without ending" for file in files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _placed(path: Path, files: Sequence[Path]) -> tuple[list[Placed], tuple[str, ...]]:
    """Each picture's part and class folder, and what is left out since it stands beside the parts."""
    root, places = _unwrapped(path, {file: file.relative_to(path).parts[:-1] for file in files})
    parts = {folders[0] for folders in places.values() if part_of(folders[0])}
    if parts:
        placed = [one for name in sorted(parts) for one in _of_part(root / name, {
            file: folders[1:] for file, folders in places.items() if folders[0] == name})]
        return placed, _beside_parts(places, parts)
    if any(part_of(folders[1]) for folders in places.values() if len(folders) > 1):
        return _parts_within(root, places), ()
    _refuse_two_depths(root, places)
    return [(file, "", root / folders[0]) for file, folders in places.items()], ()


def _unwrapped(root: Path, places: Places) -> tuple[Path, Places]:
    """The root below folders that hold all of it and are no class: `images/`, what holds train/ and test/, and what
    holds nothing but such folders."""
    tops = {folders[:1] for folders in places.values()}
    top = next(iter(tops))[0] if len(tops) == 1 and () not in tops else ""
    if not top or part_of(top) or any(len(folders) < 2 for folders in places.values()):
        return root, places
    deeper = {file: folders[1:] for file, folders in places.items()}
    found = _unwrapped(root / top, deeper)
    parts = any(part_of(folders[0]) for folders in deeper.values())
    return found if parts or top.casefold() in IMAGE_FOLDERS or found[0] != root / top else (root, places)


def _of_part(root: Path, places: Places) -> list[Placed]:
    part = part_of(root.name) or ""
    root, places = _unwrapped(root, places)
    direct = next((file for file, folders in places.items() if not folders), None)
    if direct is not None:
        raise InputRefused(f"{root}: its name is that of a part of a data set, and it holds pictures directly "
                           f"({direct.name}): put one sub-folder a class in it, rename it if it is a class, or "
                           "list the files in a CSV (file,label,part)")
    _refuse_two_depths(root, places)
    return [(file, part, root / folders[0]) for file, folders in places.items()]


def _parts_within(root: Path, places: Places) -> list[Placed]:
    """The files of classes whose own sub-folders are the parts."""
    outside = next((file for file, folders in places.items() if len(folders) < 2 or not part_of(folders[1])), None)
    if outside is not None:
        raise InputRefused(f"{outside}: stands in no part, where other pictures of {root} stand in train, val or "
                           "test; move it into one, or leave it out with exclude")
    return [(file, part_of(folders[1]) or "", root / folders[0]) for file, folders in places.items()]


def _beside_parts(places: Places, parts: set[str]) -> tuple[str, ...]:
    beside = Counter(folders[0] for folders in places.values() if folders[0] not in parts)
    return tuple(f"{count} pictures in {name}/ are left out: it stands beside {', '.join(sorted(parts))} and is no "
                 "part" for name, count in sorted(beside.items()))


def _refuse_beside_images(placed: Sequence[Placed]) -> None:
    """Refuses what stands beside a folder whose name is that of all images, as masks do under any name."""
    folders = {folder for file, _, top in placed for folder in file.parents if top.parent in folder.parents}
    for folder in sorted(one for one in folders if one.name.casefold() in IMAGE_FOLDERS):
        other = next((one for one in sorted(folders) if one.parent == folder.parent and one != folder), None)
        if other is not None:
            raise InputRefused(f"{other}: stands beside {folder.name}/, so it may hold masks and is read "
                               "neither as a class nor as images; leave it out with exclude, or list the files in "
                               "a CSV (file,label)")


def _refuse_two_depths(root: Path, places: Places) -> None:
    direct = {folders[0] for folders in places.values() if len(folders) == 1}
    deeper = sorted({folders[0] for folders in places.values()} - direct)
    if deeper and direct:
        raise InputRefused(f"{root / deeper[0]}: holds pictures only in deeper folders, the classes beside it hold "
                           "theirs directly; move it away or list the files in a CSV (file,label)")


def _refuse_vanished(others: Sequence[Path], folders: set[Path]) -> tuple[str, ...]:
    """A sentence on images of other kinds among the pictures.

    Raises:
        InputRefused: a folder beside those of the classes holds nothing else.
    """
    above = {folder.parent for folder in folders}
    beside: dict[Path, list[Path]] = {}
    for file in others:
        for folder in file.parents:
            if folder not in folders and folder.parent in above:
                beside.setdefault(folder, []).append(file)
    for folder, files in sorted(beside.items()):
        raise InputRefused(f"{folder}: holds no picture that can be read ({_endings()}), but "
                           f"{counted(files)}; convert them, or leave the folder out with exclude")
    return (f"{len(others)} files are no pictures that can be read here and are left out: {counted(others)}",
            ) if others else ()


def _at_the_top(files: Sequence[Path], path: Path) -> tuple[str, ...]:
    """A sentence on pictures beside the folders, which have no class."""
    beside = [file for file in files if file.parent == path and is_image(file)]
    return (f"{len(beside)} pictures stand beside the folders, such as {beside[0].name}: they have no class and "
            "are left out",) if beside else ()


def _without_pictures(classes: set[Path], below: Sequence[Path], images: Sequence[Path]) -> tuple[str, ...]:
    """Sentences on folders beside those of the classes that hold no image, so that a class may be missing."""
    held = {folder for file in images for folder in file.parents}
    none = sorted(folder for above in {folder.parent for folder in classes} for folder in entries(above)
                  if is_folder(folder) and folder not in held and not folder.name.startswith("__")
                  and not folder.is_symlink())
    return tuple(f"{folder.name}/ holds no picture that can be read and is no class: "
                 f"{counted(file for file in below if folder in file.parents) or 'it is empty'}" for folder in none)


def _links(path: Path, unfollowed: Sequence[Path]) -> tuple[str, ...]:
    return (f"{len(unfollowed)} links lead to folders that are read anyway and are not followed, such as "
            f"{unfollowed[0].relative_to(path)}",) if unfollowed else ()
