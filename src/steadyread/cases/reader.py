"""A reader: how one layout of files is recognised and read, found by standing in `readers/`.

    @reader("ward", recognises=recognises, looked_for="a ward.csv beside its images")
    def read(path: Path, channels: Channels = "grey") -> Cases:
        ...
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from steadyread.cases.case_set import Cases
from steadyread.registry import LAST, Registry

R = TypeVar("R", bound=Callable[..., Cases])


@dataclass(frozen=True)
class Reader:
    """A layout of files: whether a path has it, how it is read, and what is looked for, in words.

    Readers are tried in their `order`: a data set's own files before plain formats. `defaults` are settings of a
    study, nested as in its file, that stand below what it states. What `read` takes beyond the path are options.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[..., Cases]
    looked_for: str
    order: float = LAST
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """What can be stated of the reading."""
        return list(signature(self.read).parameters)[1:]


READERS: Registry[Reader] = Registry("layout", "steadyread.cases.readers")


def reader(name: str, *, recognises: Callable[[Path], bool], looked_for: str, order: float = LAST,
           defaults: Mapping[str, Any] | None = None) -> Callable[[R], R]:
    """Registers a function as the reader of a layout.

    Raises:
        UsageError: the name is taken.
    """
    def registered(read: R) -> R:
        READERS.add(Reader(name, recognises, read, looked_for, order, defaults or {}))
        return read

    return registered
