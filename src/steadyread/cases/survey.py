"""What stands in a folder that is no known layout, and tables beside class folders that nobody reads."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from steadyread.cases.folders import counted, is_picture
from steadyread.cases.pictures import SUFFIXES
from steadyread.cases.stored import npz_names
from steadyread.cases.tables import header_of, is_table
from steadyread.errors import InputRefused
from steadyread.files import files_below, is_folder, is_regular

_MOST = 20_000            # files that are counted
_READ = 2**20             # bytes of a table that are searched for names of pictures
_SEARCHED = 50            # pictures whose names are searched for
_TEXTS = (".txt", ".json", ".jsonl", ".dat", ".lst")
_BOOKS = (".xlsx", ".xls", ".ods", ".parquet", ".mat", ".pkl")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_ARRAYS = (".npy", ".mat", ".h5", ".hdf5", ".pt", ".pkl", ".parquet")
_LABELS = re.compile(r"label|class|diagnos|target|categor|pathology|finding|outcome|ground.?truth", re.IGNORECASE)
_DICOM = ("DICOM series are read by `steadyread noise measure`; images to classify are read as PNG, NIfTI or npz: "
          "convert them")
_EXPECTED = ("Expected class folders of pictures, a CSV (file,label), an npz in MedMNIST's layout, or a data set's "
             "own files")
_ADVICE = (
    (SUFFIXES, "Class folders hold the pictures of each class in a sub-folder of its own; or list them in a CSV "
               "with the columns file and label"),
    ((".dcm", ".dicom", ".ima"), _DICOM),
    ((".nii", ".mha", ".mhd", ".nrrd"), "Volumes are read as NIfTI from images/ and masks/ beside nodules.csv"),
    ((".gif", ".webp", ".jp2", ".j2k", ".heic", ".avif", ".jxl", ".svs", ".ndpi", ".czi", ".tga"),
     "Convert the images to PNG, a sub-folder for each class"),
    (_ARCHIVES, "Unpack the archive first"),
    (_ARRAYS, "Store the arrays as npz: train_images, train_labels, test_images, test_labels"))
NEEDED = "a CSV with the columns file and label, beside its files"


def survey(path: Path) -> str:
    """What was found at `path`, by endings, and the nearest layout with what it lacks: the end of a refusal."""
    files = [path] if is_regular(path) else list(islice(files_below(path), _MOST)) if is_folder(path) else []
    if not files:
        return "found no file" if is_folder(path) else "neither a folder nor a regular file"
    return f"found {counted(files)}. {_nearest(path, files)}"


def refuse_unread_table(path: Path) -> tuple[str, ...]:
    """Sentences on tables among class folders at `path` that are not read.

    Raises:
        InputRefused: one of them says which picture is what, so the folders' names may be no classes.
    """
    files = list(islice(files_below(path), _MOST))
    pictures = [file for file in files if is_picture(file)]
    step = max(1, len(pictures) // _SEARCHED)
    stems = [file.stem for file in pictures[::step]]
    unread = []
    for file in files:
        if is_table(file) or file.suffix.lower() in (*_TEXTS, *_BOOKS):
            _refuse_labels(file, stems)
            if is_table(file):
                unread.append(file)
    return (f"{len(unread)} tables are not read, such as {unread[0].relative_to(path)}",) if unread else ()


def _refuse_labels(file: Path, stems: Sequence[str]) -> None:
    columns = header_of(file) if is_table(file) else ()
    labelled = any(map(_LABELS.search, (*columns, *((file.stem,) if file.suffix.lower() not in _TEXTS else ()))))
    if not labelled and not _names_pictures(file, stems, 1 if is_table(file) else len(stems) / 2):
        return
    seen = f" (its columns: {', '.join(columns[:8])})" if columns else ""
    if "\0" in seen or "\ufffd" in seen:   # bytes that are no letters
        seen = " (not text in UTF-8)"
    raise InputRefused(f"{file}: this table{seen} beside folders of pictures is not understood, and may say what "
                       f"they are: give {NEEDED}, or state data.layout = folders if the folders are the classes")


def _names_pictures(file: Path, stems: Sequence[str], least: float) -> bool:
    """Whether a text holds the names of at least so many of the pictures."""
    with file.open("rb") as stream:
        data = stream.read(_READ)
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    words = set(re.findall(r"[^\s,;|\"'/\\]+", text.casefold()))
    whole = words | {word.rsplit(".", 1)[0] for word in words}
    return sum(stem.casefold() in whole or (" " in stem and stem.casefold() in text.casefold()) for stem in stems) \
        >= max(1, least)


def _nearest(path: Path, files: Sequence[Path]) -> str:
    """The layout that these files come nearest to, and what it lacks."""
    top = [file for file in files if file.parent == path or file == path]
    for file in sorted(top, key=lambda file: not is_table(file)):
        if is_table(file):
            return (f"{file.name} has the columns {', '.join(header_of(file)[:8]) or '(none)'}; a list of pictures "
                    "needs file and label")
        if file.suffix.lower() == ".npz":
            return (f"{file.name} holds {', '.join(npz_names(file)[:8]) or 'nothing'}; MedMNIST's layout needs "
                    "train_images, train_labels, test_images, test_labels")
    for endings, advice in _ADVICE:
        if any(file.suffix.lower() in endings for file in files):
            return advice
    return _DICOM if any(map(_is_dicom, files[:_SEARCHED])) else _EXPECTED


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"
