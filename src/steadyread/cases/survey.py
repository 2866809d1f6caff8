"""What stands in a folder that is no known layout, and what speaks against the names of folders as classes."""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.kind import ending
from steadyread.cases.pictures import SUFFIXES
from steadyread.cases.readers.folders import counted, is_image, part_of
from steadyread.cases.set_aside import IMAGE_FOLDERS
from steadyread.cases.stored import npz_names
from steadyread.cases.tables import header_of, is_table
from steadyread.errors import InputRefused
from steadyread.files import entries, files_below, is_folder, is_regular, regular_file
from steadyread.names import shown

_MOST = 20_000            # files that are counted
_READ = 2**20             # bytes of a table that are searched for names of pictures
_SNIFFED = 1024           # bytes of a file without ending by which it is told from a text
_SEARCHED = 50            # pictures whose names are searched for
_NAMED = 4                # folders that a message names
_TEXTS = ("", ".txt", ".json", ".jsonl", ".dat", ".lst", ".xml", ".yaml", ".yml")
_PACKED, _GZIP = (".gz", ".zip", ".bz2", ".xz", ".zst"), b"\x1f\x8b"
_BOOKS = (".xlsx", ".xls", ".ods", ".parquet", ".mat", ".pkl")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_ARRAYS = (".npy", ".mat", ".h5", ".hdf5", ".pt", ".pkl")
_LABELS = re.compile(r"label|class|diagnos|target|categor|pathology|finding|outcome|ground.?truth", re.IGNORECASE)
_DICOM = ("DICOM images stand in a sub-folder for each class, or in a CSV (file,label); a CT series needs a CSV of "
          "points (x, y, z, label), or RTSTRUCT, SEG or SR files among it")
_EXPECTED = ("Expected class folders of images, a CSV (file,label), an npz in MedMNIST's layout, or a data set's "
             "own files")
_IMAGES = (*SUFFIXES, ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy")
_ADVICE = (
    (_IMAGES, "Class folders hold the images of each class in a sub-folder of its own; or list them in a CSV "
               "with the columns file and label"),
    ((".dcm", ".dicom", ".ima"), _DICOM),
    ((".gif", ".webp", ".jp2", ".j2k", ".heic", ".avif", ".jxl", ".svs", ".ndpi", ".czi", ".tga"),
     "Convert the images to PNG, a sub-folder for each class"),
    ((".parquet",), "Parquet files of Hugging Face's hub have pictures in a column (a struct with bytes): give such a "
     "file, or the folder that holds it or its data/"),
    (_ARCHIVES, "Unpack the archive first"),
    (_ARRAYS, "Store the arrays as npz: train_images, train_labels, test_images, test_labels"))
NEEDED = "a CSV with the columns file and label, beside its files"


def survey(path: Path) -> str:
    """What was found at `path`, by endings, and the nearest layout with what it lacks: the end of a refusal."""
    files = [path] if is_regular(path) else list(islice(files_below(path), _MOST)) if is_folder(path) else []
    if not files:
        return "found no file" if is_folder(path) else "neither a folder nor a regular file"
    return f"found {counted(files)}. {_nearest(path, files)}"


def refuse_doubtful(path: Path, cases: Cases) -> tuple[str, ...]:
    """Sentences on tables among the class folders at `path` that are not read.

    Raises:
        InputRefused: what stands there may say that the folders' names are no classes.
    """
    unread = _refuse_unread_table(path)
    _refuse_repeated(path, cases)
    return unread


def _refuse_repeated(path: Path, cases: Cases) -> None:
    """Refuses classes that may be folds, patients or parts: their sub-folders share names, or two name parts."""
    inner: dict[str, set[str]] = {}
    for row in cases.rows:
        folders = [unicodedata.normalize("NFC", shown(name)) for name in row.source.relative_to(path).parts[:-1]]
        below = folders[folders.index(row.raw_label) + 1:]
        plain = not below or part_of(below[0]) or below[0].casefold() in IMAGE_FOLDERS
        inner.setdefault(row.raw_label, set()).add("" if plain else below[0])
    counts = Counter(name for names in inner.values() for name in names)
    again = "" not in counts and len(counts) > 1 and (min(counts.values()) > 1 or len(counts) < len(inner))
    parts = {word for name in inner for word in map(part_of, re.split(r"[\W\d_]+", name)) if word}
    if len(inner) > 1 and (again or len(parts) > 1):
        tops = _listed(inner)
        same = f"hold folders of the same names ({_listed(sorted(counts))})"
        doubt = same if again else "name parts of a data set"
        raise InputRefused(f"{path}: {tops} {doubt}, so it is not clear which folders are the classes: call parts "
                           "train, val and test, or list the files in a CSV (file,label,patient,part); if "
                           f"{tops} are the classes, state data.layout = folders")


def _listed(names: Iterable[str]) -> str:
    """The first few of the names."""
    first = list(islice(names, _NAMED + 1))
    return ", ".join(first[:_NAMED]) + ", ..." * (len(first) > _NAMED)


def _refuse_unread_table(path: Path) -> tuple[str, ...]:
    files = list(islice(files_below(path), _MOST))
    pictures = [file for file in files if is_image(file)]
    step = max(1, len(pictures) // _SEARCHED)
    stems = [file.stem for file in pictures[::step]]
    for file in files:
        _refuse_labels(file, stems)
    above = entries(path.resolve().parent)
    for file in [file for file in above if is_table(_unpacked(file)) and is_regular(file)][:_SEARCHED]:
        if _names_pictures(file, stems, len(stems) / 2):
            raise _not_understood(file)
    unread = [file for file in files if is_table(_unpacked(file))]
    return (f"{len(unread)} tables are not read, such as {unread[0].relative_to(path)}",) if unread else ()


def _unpacked(file: Path) -> Path:
    """The name without the ending of a packed file: `labels.csv` of `labels.csv.gz`."""
    return file.with_suffix("") if file.suffix.lower() in _PACKED else file


def _refuse_labels(file: Path, stems: Sequence[str]) -> None:
    """Refuses a table or a text that says which picture is what."""
    plain = _unpacked(file)
    suffix = plain.suffix.lower()
    if not is_table(plain) and (suffix not in (*_TEXTS, *_BOOKS) or (not suffix and plain != file)):
        return
    columns = header_of(file) if is_table(file) else ()
    if any(map(_LABELS.search, (*columns, *(() if suffix in _TEXTS else (plain.stem,))))) \
            or _names_pictures(file, stems, 1 if is_table(plain) else len(stems) / 2):
        raise _not_understood(file)


def _not_understood(file: Path) -> InputRefused:
    columns = header_of(file) if is_table(file) else ()
    seen = f" (its columns: {', '.join(columns[:8])})" if columns else ""
    if "\0" in seen or "\ufffd" in seen:   # bytes that are no letters
        seen = " (not text in UTF-8)"
    return InputRefused(f"{file}: this table{seen} beside folders of pictures is not understood, and may say what "
                        f"they are: give {NEEDED}, or name it as data.path with its columns (data.options.file_column, "
                        "data.options.label_column), or state data.layout = folders if the folders are the classes")


def _names_pictures(file: Path, stems: Sequence[str], least: float) -> bool:
    """Whether a text, packed by gzip or not, holds the names of at least so many of the pictures."""
    with regular_file(file).open("rb") as stream, suppress(OSError, EOFError, zlib.error):
        data = stream.read(_READ)
        data = zlib.decompressobj(31).decompress(data, _READ) if data[:2] == _GZIP else data
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in data[:_SNIFFED] and not wide:
        return False    # no text
    text = data.decode("utf-16" if wide else "utf-8", "replace")
    words = set(re.findall(r"[^\s,;|\"'/\\]+", text.casefold()))
    words |= {word.strip("[](){}<>:=") for word in words}
    whole = words | {word.rsplit(".", 1)[0] for word in words}
    return sum(stem.casefold() in whole or (" " in stem and stem.casefold() in text.casefold()) for stem in stems) \
        >= max(1, least)


def _nearest(path: Path, files: Sequence[Path]) -> str:
    """The layout that these files come nearest to, and what it lacks."""
    top = [file for file in files if file.parent == path or file == path]
    for file in filter(is_table, top):
        return (f"{file.name} has the columns {', '.join(header_of(file)[:8]) or '(none)'}; a list of images "
                "needs file and label: name yours with data.options.file_column and data.options.label_column")
    arrays = [file for file in top if file.suffix.lower() == ".npz"]
    sets = [file.name for file in arrays if any(name.endswith("_images") for name in npz_names(file))]
    if len(arrays) > 1 and sets:
        return f"A data set is one npz, here are {len(arrays)}: name the one, such as {path / sets[0]}"
    if arrays:
        return (f"{arrays[0].name} holds {', '.join(npz_names(arrays[0])[:8]) or 'nothing'}; MedMNIST's layout "
                "needs train_images, train_labels, test_images, test_labels")
    for endings, advice in _ADVICE:
        if any(ending(file) in endings for file in files):
            return advice
    return _DICOM if any(map(is_image, files[:_SEARCHED])) else _EXPECTED
