"""HDF5 files read as data: what leads to other files is not followed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from steadyread.errors import InputRefused, SteadyreadError
from steadyread.extras import library
from steadyread.limits import MOST_PARAMETERS
from steadyread.models.archives import unreadable

_PACKED, _SMALL = 8, 2**27     # times the bytes that packed weights unpack to, and bytes that none minds
MAGIC = b"\x89HDF\r\n\x1a\n"


@contextmanager
def opened(path: Path, content: IO[bytes] | None = None) -> Iterator[tuple[Any, dict[str, Any]]]:
    """An HDF5 file and its datasets by their paths; its `content`, where it lies in an archive.

    Raises:
        InputRefused: h5py is not installed, the file cannot be read, a link or a dataset leads to other files
            (CVE-2026-1669), or the values are more than any network's.
    """
    h5py = library("h5py", "keras", f"{path}: Keras' files are read with")
    datasets: dict[str, Any] = {}

    def note(name: str, held: Any) -> None:
        if isinstance(held, h5py.Dataset):
            datasets[name] = held

    elsewhere: list[str] = []

    def follow(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            elsewhere.append(name)

    try:
        with h5py.File(content or path, "r", locking=False) as file:   # only read, and shared disks often cannot lock
            file.visititems_links(follow)
            if elsewhere:
                raise InputRefused(f"{path}: {elsewhere[0][:60]!r} is a link to elsewhere, which weights have no need "
                                   "of: save the network again, in one file")
            file.visititems(note)
            _refuse_strange(path, datasets)
            yield file, datasets
    except SteadyreadError:
        raise
    except Exception as problem:   # h5py raises many kinds on a damaged file
        raise unreadable(path, problem) from problem


def _refuse_strange(path: Path, datasets: dict[str, Any]) -> None:
    for name, dataset in datasets.items():
        if dataset.external or dataset.is_virtual:
            raise InputRefused(f"{path}: {name!r} keeps its values in other files, which weights have no need to: "
                               "save the network again, in one file")
    count = sum(int(dataset.size or 0) for dataset in datasets.values())
    stored = sum(int(dataset.id.get_storage_size()) for dataset in datasets.values())
    size = sum(int(dataset.nbytes or 0) for dataset in datasets.values())
    if size > max(_PACKED * stored, _SMALL):
        raise InputRefused(f"{path}: it claims {size:,} bytes of values, of which {stored:,} are stored")
    if count > 3 * MOST_PARAMETERS:     # with an optimiser's two values a weight
        raise InputRefused(f"{path}: it claims {count:,} values, more than {3 * MOST_PARAMETERS:,}")
