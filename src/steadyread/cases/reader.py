"""A reader: how one layout of files is recognised and read, found by standing in `readers/`.

    @reader("ward", recognises=recognises, looked_for="a ward.csv beside its images")
    def read(path: Path, channels: Channels = "grey") -> Cases:
        ...
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from steadyread.cases.case_set import Cases
from steadyread.errors import UsageError
from steadyread.registry import LAST, Registry

R = TypeVar("R", bound=Callable[..., Cases])


@dataclass(frozen=True)
class Reader:
    """A layout of files: whether a path has it, how it is read, and what is looked for, in words.

    Readers are tried in their `order`: a data set's own files before plain formats. `defaults` are settings of a
    study, nested as in its file, that stand below what it states. What `read` takes beyond the path are options: its
    own arguments, or the fields of the dataclasses `takes`. `possible` says whether a path may have the layout once
    options are stated that only this one takes.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[..., Cases]
    looked_for: str
    order: float = LAST
    defaults: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[type, ...] = ()
    possible: Callable[[Path], bool] | None = None

    @property
    def options(self) -> list[str]:
        """What can be stated of the reading."""
        if self.takes:
            return [each.name for group in self.takes for each in fields(group)]
        return list(signature(self.read).parameters)[1:]

    def fits(self, path: Path) -> bool:
        """Whether a path has the layout, or may have it once options are stated."""
        return self.recognises(path) or (self.possible is not None and self.possible(path))

    def cases(self, path: Path, options: Mapping[str, object]) -> Cases:
        """The cases at a path, read with these of its options.

        Raises:
            UsageError: an option of another kind.
        """
        if not self.takes:
            return self.read(path, **options)
        return self.read(path, *(_filled(group, {each.name: options[each.name] for each in fields(group)
                                                 if each.name in options}) for group in self.takes))


def _filled(group: type, options: Mapping[str, object]) -> Any:
    try:
        return TypeAdapter(group).validate_python(options)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise UsageError(f"data.options.{first['loc'][0]}: {first['msg']}; got {first['input']!r}") from None


READERS: Registry[Reader] = Registry("layout", "steadyread.cases.readers")


def reader(name: str, *, recognises: Callable[[Path], bool], looked_for: str, order: float = LAST,
           defaults: Mapping[str, Any] | None = None, takes: tuple[type, ...] = (),
           possible: Callable[[Path], bool] | None = None) -> Callable[[R], R]:
    """Registers a function as the reader of a layout, see `Reader`; with `takes` it gets the path and one of each.

    Raises:
        UsageError: the name is taken.
    """
    def registered(read: R) -> R:
        READERS.add(Reader(name, recognises, read, looked_for, order, defaults or {}, takes, possible))
        return read

    return registered
