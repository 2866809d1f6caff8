"""`open_cases`: which reader a path is for."""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from steadyread.cases import arrays, cbis, cifar, folders, idx, lidc, lidc_volumes, listed, mias
from steadyread.cases.case_set import Cases
from steadyread.cases.survey import refuse_doubtful, survey
from steadyread.errors import InputRefused, UsageError
from steadyread.files import entries, is_folder, regular_file


@dataclass(frozen=True)
class Layout:
    """A layout of files: whether a path has it, how it is read, and what is looked for, in words."""

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[..., Cases]
    looked_for: str


# In the order in which they are tried: a data set's own files before plain formats.
LAYOUTS: dict[str, Layout] = {}


def register(layout: Layout) -> None:
    """Adds a layout, tried after those before it.

    Raises:
        UsageError: the name is taken.
    """
    if layout.name in LAYOUTS:
        raise UsageError(f"the layout '{layout.name}' is there already")
    LAYOUTS[layout.name] = layout


for _name, _reader in (("lidc", lidc), ("lidc-3d", lidc_volumes), ("cbis-ddsm", cbis), ("mini-mias", mias),
                       ("cifar-10", cifar), ("idx", idx), ("medmnist", arrays), ("csv", listed),
                       ("folders", folders)):
    register(Layout(_name, _reader.recognises, _reader.read, _reader.LOOKED_FOR))


def open_cases(path: Path | str, layout: str | None = None, every_row: bool = False, **options: object) -> Cases:
    """The cases at `path`, a folder or a file, whose layout is recognised unless named.

    Args:
        layout: lidc, lidc-3d, cbis-ddsm, mini-mias, cifar-10, idx, medmnist, csv or folders.
        every_row: keep the rows that the labelling rule leaves out (their label is None, -1 in a `Case`).
        options: what the layout's reader takes beyond the path, such as `channels="grey"`.

    Raises:
        InputRefused: nothing there, no known layout (it says what was found), or one class only.
        UsageError: an unknown layout or option.
    """
    place = Path(path).expanduser()
    if not is_folder(place):
        regular_file(place, "file or folder")
    elif not entries(place):
        raise InputRefused(f"{place}: the folder is empty")
    chosen = _named(layout, place) if layout else _recognised(place)
    known = list(inspect.signature(chosen.read).parameters)[1:]
    for option in options:
        if option not in known:
            raise UsageError(f"the layout '{chosen.name}' has no option '{option}'; it knows "
                             f"{', '.join(known) or 'none'}")
    cases = chosen.read(place, **options)
    unread = refuse_doubtful(place, cases) if chosen.name == "folders" and layout is None else ()
    cases = replace(cases, notes=(*cases.notes, *unread))
    _refuse_double_ids(cases)
    if every_row:
        return cases
    cases = cases.labelled()
    present = [name for name, count in cases.counts().items() if count]
    if len(present) < 2:
        raise _of_one_class(place, cases, ", ".join(present))
    return cases


def _of_one_class(place: Path, cases: Cases, name: str) -> InputRefused:
    missing = f"{len(cases.missing)} files are missing, the first: {cases.missing[0]}. That leaves " \
        if cases.missing else ""
    left = "".join(f"; {note}" for note in cases.notes if "left out" in note)
    inner = [folder for folder in entries(place / name) if is_folder(folder)] if is_folder(place / name) else []
    deeper = f"; if its sub-folders are the classes, give {place / name}" if len(inner) > 1 else ""
    return InputRefused(f"{place}: {missing}{len(cases)} labelled images of one class only ({name or 'none'}); a "
                        f"classifier needs at least two{deeper}{left}")


def _named(layout: str, place: Path) -> Layout:
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout '{layout}'; known are {', '.join(LAYOUTS)}")
    if not LAYOUTS[layout].recognises(place):
        raise InputRefused(f"{place}: not the layout '{layout}'; looked for {LAYOUTS[layout].looked_for}, and "
                           f"{survey(place)}")
    return LAYOUTS[layout]


def _recognised(place: Path) -> Layout:
    for layout in LAYOUTS.values():
        if layout.recognises(place):
            return layout
    raise InputRefused(f"{place}: no known layout; {survey(place)}")


def _refuse_double_ids(cases: Cases) -> None:
    name, count = Counter(row.id for row in cases.rows).most_common(1)[0] if cases.rows else ("", 0)
    if count > 1:
        raise InputRefused(f"{cases.name}: {count} rows have the id '{name}'; ids must be different")
