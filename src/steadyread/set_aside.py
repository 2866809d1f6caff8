"""Cases on which the network, or the reader of their image, fails: set aside and named; the others finish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import torch

from steadyread import records
from steadyread.cases import Cases
from steadyread.cases.readable import NO_CASE, only, reason
from steadyread.cases.readable import SET_ASIDE as UNREAD
from steadyread.errors import SteadyreadError
from steadyread.files import FINDINGS, SET_ASIDE
from steadyread.findings import Finding

T = TypeVar("T")
CHECK = "cases set aside"
# Nor are these a case's fault. What steadyread itself refuses speaks of the network or the settings.
OF_THE_WHOLE = (*NO_CASE, SteadyreadError, torch.OutOfMemoryError,
                getattr(torch, "AcceleratorError", torch.OutOfMemoryError))


def case_by_case(work: Callable[[Sequence[T]], list[Any]], cases: Sequence[T]
                 ) -> tuple[list[Any], list[tuple[T, Exception]]]:
    """What the work returns for the cases, all in one; where it fails, half by half down to the cases at fault.

    Those come second, with what they raised. Full disks, memory, and what steadyread itself refuses go through.
    """
    if not cases:
        return [], []
    try:
        return work(cases), []
    except OF_THE_WHOLE:
        raise
    except Exception as problem:   # a network of the user's own raises what it likes
        if len(cases) == 1:
            return [], [(cases[0], problem)]
    middle = len(cases) // 2
    first, second = case_by_case(work, cases[:middle]), case_by_case(work, cases[middle:])
    return first[0] + second[0], first[1] + second[1]


def loaded(cases: Cases, places: Sequence[int]) -> tuple[list[Any], list[tuple[str, Exception]]]:
    """The cases at the places, and those whose image cannot be read with what their reader raised."""
    found, failed = [], []
    for place in places:
        try:
            found.append(cases[place])
        except NO_CASE:
            raise
        except Exception as problem:
            failed.append((cases.rows[place].id, problem))
    return found, failed


def stored(folder: Path) -> dict[str, str]:
    """The cases that a store of records has set aside, by id, with the reason."""
    return {str(name): str(why) for name, why in (records.read_object(folder / SET_ASIDE) or {}).items()}


def store(folder: Path | None, before: Mapping[str, str], failed: Sequence[tuple[str, Exception]],
          retried: Sequence[str]) -> dict[str, str]:
    """Writes down which cases are set aside now that those that were tried again did or did not fail."""
    now = {name: why for name, why in before.items() if name not in set(retried)}
    now |= {name: reason(problem) for name, problem in failed}
    if folder is not None and now != before:
        if now:
            records.write_json(folder / SET_ASIDE, now)
        else:
            (folder / SET_ASIDE).unlink(missing_ok=True)
    return now


def told(aside: Mapping[str, str]) -> str:
    """How many cases are set aside, and why the first is."""
    name, why = next(iter(aside.items()))
    cases = "1 case is" if len(aside) == 1 else f"{len(aside)} cases are"
    return f"{cases} set aside, on which the network or the reader of the image fails: {name} ({why})" + (
        "" if len(aside) == 1 else f" and {len(aside) - 1} more")


def assessed(cases: Cases, table: pa.Table) -> Cases:
    """The cases that are in the records."""
    return only(cases, pc.unique(table["case_id"]).to_pylist())


def write_findings(folder: Path, make: Callable[[], Iterator[Finding] | Sequence[Finding]]) -> None:
    """The findings of a run, its cases set aside before them; written once, and anew where those have changed."""
    aside, path = stored(folder), folder / FINDINGS
    own = [Finding(CHECK, "warning", f"{told(aside)}. No result speaks of them", len(aside), tuple(aside))
           ] if aside else []
    if path.exists():
        there = [one for one in records.read_json(path) if one.get("check") == CHECK]
        if [list(one.get("rows", ())) for one in there] == [list(one.rows) for one in own]:
            return
    records.write_json(path, [one.as_json() for one in (*own, *make())])


def said(folder: Path) -> tuple[str, ...]:
    """What a run and the runs within it have set aside, in a sentence each for images and for cases."""
    found = records.read_json(folder / FINDINGS) if (folder / FINDINGS).exists() else []
    images = [str(one["message"]) for one in found if one.get("check") == UNREAD]
    aside = {name: why for path in sorted(folder.rglob(SET_ASIDE), reverse=True)
             for name, why in stored(path.parent).items()}
    return (*images, *([told(aside)] if aside else []))
