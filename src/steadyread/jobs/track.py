"""A finished run handed to trackers of experiments: what its report shows, and no more."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from steadyread import records
from steadyread.errors import Partial, SteadyreadError
from steadyread.files import PAGE, SETTINGS, SUMMARY
from steadyread.interop.tracker import TRACKERS, Tracked, metrics_of
from steadyread.jobs.folder import flat
from steadyread.names import one_line
from steadyread.report.shareable import Shareable
from steadyread.store import open_cells

# The last words of settings that may be the path of a file or folder.
_PLACES = ("path", "train", "weights", "pretrained", "name", "root", "transform", "spectrum")
_LONGEST = 200      # letters of what a tracker's library complains of


def track_run(folder: Path, name: str, show_ids: bool = False) -> str:
    """Hands the run in a folder, whose report is written, to the tracker of that name; returns where it is kept.

    Raises:
        UsageError: no such tracker.
        InputRefused: its library is not installed.
        Partial: the tracker does not take the run, which is whole in its folder.
    """
    tracker = TRACKERS.named(name, "track")
    library = tracker.library()
    run = _tracked(folder, show_ids)
    try:
        return tracker.keep(library, run)
    except Exception as problem:      # of the library, its store or its server
        why = one_line(problem)[:_LONGEST] or "no message"
        raise Partial(f"{tracker.title} did not take the run ({type(problem).__name__}: {why}). The run is whole in "
                      f"{folder}: mend what is wrong there and run the same command again") from problem


def untracked(folder: Path, names: Sequence[str], show_ids: bool) -> tuple[str, ...]:
    """Why trackers do not have the run in a folder, one reason each; none where all of them have."""
    reasons = []
    for name in names:
        try:
            track_run(folder, name, show_ids)
        except SteadyreadError as problem:
            reasons.append(str(problem))
    return tuple(reasons)


def _tracked(folder: Path, show_ids: bool) -> Tracked:
    summary = records.read_json(folder / SUMMARY)
    settings = records.read_object(folder / SETTINGS) or open_cells(folder).cells[0].plan
    stated = Shareable.of(folder, show_ids).tree(settings)
    return Tracked(str(settings.get("name") or folder.resolve().name), metrics_of(summary["numbers"]),
                   dict(_worded(stated, show_ids)), (folder / PAGE, folder / SUMMARY))


def _worded(settings: Any, show_ids: bool) -> Iterator[tuple[str, str]]:
    """Settings as text; what is left out or empty is not among them, and files are named without their folders."""
    for key, value in flat(settings):
        if value in (None, [], (), {}, "") or key == "track":
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        place = key.rpartition(".")[2] in _PLACES and isinstance(value, str) and not show_ids
        yield key, PurePath(text).name if place else text
