"""The papers' printed numbers, for studies that say which of them to have beside their own."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Printed:
    """One table of a paper's: its title, what the keys of a value name, and each value as it stands there. `quoted` are
    first keys of what stands there as printed, though no study can have it."""

    title: str
    of: tuple[str, ...]
    values: Mapping[tuple[str, ...], str]
    quoted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Paper:
    """A paper's citation, its tables by name, which of its data sets are medical, and what it did, by subject."""

    cite: str
    doi: str
    tables: Mapping[str, Printed]
    medical: Mapping[str, bool]
    protocol: Mapping[str, str]


@cache
def paper(name: str) -> Paper:
    """Paper "A" (doi:10.1200/CCI.21.00170) or "B" (doi:10.1088/1361-6560/abc812)."""
    stored = tomllib.loads((resources.files("steadyread.report") / "papers.toml").read_text("utf-8"))[name]
    tables = {key: Printed(each["title"], tuple(each["of"]), dict(_values(each["values"], each["at"])),
                           frozenset(each.get("quoted", ())))
              for key, each in stored["tables"].items()}
    return Paper(stored["cite"], stored["doi"], tables, stored.get("medical", {}), stored.get("protocol", {}))


def _values(held: Any, at: list[str], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(held, list):
        yield from (((*keys, key), value) for key, value in zip(at, held, strict=True))
    else:
        for key, inner in held.items():
            yield from _values(inner, at, (*keys, key))
