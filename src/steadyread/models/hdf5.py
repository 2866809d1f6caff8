"""HDF5 files read as data: what leads to other files is not followed."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steadyread.errors import InputRefused, SteadyreadError
from steadyread.limits import MOST_PARAMETERS
from steadyread.models.archives import unreadable

MAGIC = b"\x89HDF\r\n\x1a\n"


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """An HDF5 file and its datasets by their paths. Links that lead elsewhere are not followed.

    Raises:
        InputRefused: h5py is not installed, the file cannot be read, a dataset keeps its values in other files
            (CVE-2026-1669), or they are more than any network's.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise InputRefused(f"{path}: Keras' files are read with h5py, which is not installed: "
                           "pip install 'steadyread[keras]'") from None
    datasets: dict[str, Any] = {}

    def note(name: str, held: Any) -> None:
        if isinstance(held, h5py.Dataset):
            datasets[name] = held

    try:
        with h5py.File(path, "r", locking=False) as file:   # only read, and shared disks often cannot lock
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
    if count > 3 * MOST_PARAMETERS:     # with an optimiser's two values a weight
        raise InputRefused(f"{path}: it claims {count:,} values, more than {3 * MOST_PARAMETERS:,}")
