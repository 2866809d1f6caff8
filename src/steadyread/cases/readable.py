"""Images that cannot be read are set aside and named: one broken file does not stop the others."""

from collections.abc import Iterable
from dataclasses import replace

from steadyread.cases.case_set import Cases, refuse_non_finite
from steadyread.cases.row import Row
from steadyread.errors import Partial, UsageError
from steadyread.progress import Progress, quiet

SET_ASIDE = "images set aside"   # the check that names them
NO_CASE = (Partial, UsageError, MemoryError)   # what is no case's fault


def readable(raw: Cases, ready: Cases | None = None, progress: Progress = quiet) -> tuple[Cases, Cases]:
    """The cases, as read and as prepared, without those whose image cannot be read or has pixels that are no
    numbers; `unread` of either names them with the reason.

    Every image is read once. One that can be read but not prepared (too small for the crop, say) is no broken file:
    what that raises goes through, and so it does where not one image can be read.
    """
    ready = raw if ready is None else ready
    unread: dict[str, str] = {}
    first: Exception | None = None
    for row, prepared in progress(zip(raw.rows, ready.rows, strict=True), len(raw), "reading images"):
        try:
            refuse_non_finite(ready.load(prepared), prepared)
        except NO_CASE:
            raise
        except Exception as problem:   # a reader of the user's own raises what it likes
            if _can_be_read(raw, row):
                raise
            unread[row.id] = reason(problem)
            first = first or problem
    if first is not None and len(unread) == len(raw):
        raise first
    return without(raw, unread), without(ready, unread)


def _can_be_read(cases: Cases, row: Row) -> bool:
    try:
        refuse_non_finite(cases.load(row), row)
    except NO_CASE:
        raise
    except Exception:
        return False
    return True


def without(cases: Cases, unread: dict[str, str]) -> Cases:
    """The other cases, those left out named in `unread`."""
    if not unread:
        return cases
    return replace(cases, rows=tuple(row for row in cases.rows if row.id not in unread),
                   unread={**cases.unread, **unread})


def only(cases: Cases, names: Iterable[str]) -> Cases:
    """The cases of those names, in their order."""
    chosen = set(names)
    return replace(cases, rows=tuple(row for row in cases.rows if row.id in chosen))


def reason(problem: Exception | None) -> str:
    """An error in one line, its kind first where it is none of ours."""
    text = " ".join(str(problem).split())[:300]
    ours = type(problem).__module__.startswith("steadyread")
    return text if ours and text else f"{type(problem).__name__}: {text}" if text else type(problem).__name__
