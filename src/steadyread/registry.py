"""Things of one kind by name: each registers itself where it stands, ours by lying in a folder, other people's by the
entry-point group `steadyread`.

    [project.entry-points.steadyread]
    ward = "ward_plugin"          # imported when a kind of thing is first asked for; the file registers what it brings
"""

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any, Literal, Protocol, TypeVar

from steadyread.errors import Doubt, UsageError
from steadyread.names import one_line

GROUP = "steadyread"
LAST = 1000.0     # the order of what states none
_ENTERED: set[EntryPoint] = set()


class Thing(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str:
        """By which it is asked for."""
        ...

    @property
    def order(self) -> float:
        """Where it stands among its kind."""
        ...


T = TypeVar("T", bound=Thing)
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Mapping[str, T]):
    """All things of one `kind` (a word for messages) in their order, by name; `package` is the folder of ours whose
    files are imported when the first of them is asked for."""

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind, self._package = kind, package
        self._things: dict[str, T] = {}

    def add(self, thing: T) -> T:
        """Registers a thing.

        Raises:
            UsageError: its name is taken.
        """
        if thing.name in self._things:
            raise UsageError(f"there is a {self.kind} '{thing.name}' already; give this one another name")
        self._things[thing.name] = thing
        return thing

    def named(self, name: str, where: str, among: Collection[str] | None = None) -> T:
        """The thing of that name, one of `among` where only those fit.

        Raises:
            UsageError: there is none; it begins with `where` and names the nearest.
        """
        known = self if among is None else among
        if name not in known:
            raise UsageError(f"{where}: no {self.kind} '{name}'{nearest(name, known)}")
        return self[name]

    def __getitem__(self, name: str) -> T:
        self._fill()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(sorted(self._things, key=lambda name: (self._things[name].order, name)))

    def __len__(self) -> int:
        self._fill()
        return len(self._things)

    def _fill(self) -> None:
        if self._package is not None:
            package, self._package = self._package, None     # what is imported may ask, too
            discover(package)
        plug_ins()


@dataclass(frozen=True)
class Maker:
    """What a function makes under its name: an attack, a training recipe.

    `title` is the name as the literature writes it, `doi` that of its source (none where it is ours), `order` its
    place in tables. The function's arguments after the first are keys of a study. Of a way of hardening `against` are
    the threats that it may be stated against, and `says` how it teaches, in sentences in which {noise}, {share} and
    {times} are those of a training. An attack that `searches` is given all sizes at once, as `epsilons`, and finds for
    each image the first at which it flips: a score of how steady a read is.
    """

    name: str
    title: str
    doi: str
    order: float
    make: Callable[..., Any]
    against: tuple[str, ...] = ("Linf",)
    says: str = ""
    searches: bool = False

    @property
    def arguments(self) -> list[str]:
        """The names of the function's arguments."""
        return list(signature(self.make).parameters)


class Makers(Registry[Maker]):
    """Functions by name, each registered by a decorator."""

    def register(self, title: str, *, doi: str = "", order: float = LAST, name: str | None = None,
                 against: tuple[str, ...] = ("Linf",), says: str = "", searches: bool = False
                 ) -> Callable[[F], F]:
        """Registers a function under its own name, or `name`; see `Maker` for the rest.

        Raises:
            UsageError: the name is taken.
        """
        def registered(make: F) -> F:
            self.add(Maker(name or make.__name__, title, doi, order, make, against, says, searches))
            return make

        return registered

    def against(self, threat: str) -> list[str]:
        """The names of those that may be stated against a threat."""
        return [name for name, maker in self.items() if threat in maker.against]

    def title(self, name: str) -> str:
        """The name as the literature writes it; of one that is not there (its package is not installed) as written
        in the records, with spaces."""
        return self[name].title if name in self else name.replace("_", " ")


@dataclass(frozen=True)
class Axis:
    """How the levels of a threat go: its `name` in the records, its `title` as printed, the `unit` of a level (that of
    the images where None), and whether a `larger` or a `smaller` one is the stronger."""

    name: str
    title: str
    unit: str | None
    stronger: Literal["larger", "smaller"]
    order: float = LAST


# A threat is known once its file is imported; a report does without where nothing has imported it.
THREATS: Registry[Axis] = Registry("threat")
# These two are spoken of where nothing is imported that runs a network: their files import torch where it is used.
ATTACKS = Makers("attack", "steadyread.attacks.recipes")       # make(epsilon in native units, **settings)
METHODS = Makers("hardening method", "steadyread.training.methods")     # make(settings of a hardening, epsilon)


def nearest(name: str, known: Any) -> str:
    """`: did you mean 'pgd'?` of the likeliest of the known names, else all of them."""
    near = get_close_matches(name, list(known), 1, 0.5)
    return f": did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"


def discover(package: str) -> None:
    """Imports every file of a package's folder."""
    folder = importlib.import_module(package)
    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{package}.{module.name}")


def plug_ins() -> None:
    """Imports what other people's packages name in the entry-point group, each once; one that fails is warned of in
    one line and left out."""
    for entry in _entries():
        if entry not in _ENTERED:
            _ENTERED.add(entry)      # before it is imported: what is imported may ask, too
            try:
                entry.load()
            except Exception as problem:
                of = f" of the package {entry.dist.name}" if entry.dist else ""
                warnings.warn(f"the plug-in '{entry.name}'{of} cannot be used: {type(problem).__name__}: "
                              f"{one_line(problem)}", Doubt, stacklevel=2)


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))
