"""`open_cases`: which reader a path is for."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from steadyread.cases.case_set import Cases
from steadyread.cases.reader import READERS, Reader
from steadyread.cases.survey import refuse_doubtful, survey
from steadyread.errors import InputRefused, NoClasses, UsageError
from steadyread.files import entries, is_folder, regular_file


def open_cases(path: Path | str, layout: str | None = None, every_row: bool = False, **options: object) -> Cases:
    """The cases at `path`, a folder or a file, whose layout is recognised unless named.

    Args:
        layout: a name in `steadyread.cases.READERS`, such as lidc, idx, csv or folders.
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
    chosen = _named(layout, place) if layout else recognised(place, options)
    for option in options:
        if option not in chosen.options:
            raise UsageError(f"the layout '{chosen.name}' has no option '{option}'; it knows "
                             f"{', '.join(chosen.options) or 'none'}")
    cases = chosen.cases(place, options)
    unread = refuse_doubtful(place, cases) if chosen.name == "folders" and layout is None else ()
    cases = replace(cases, notes=(*cases.notes, *unread))
    _refuse_double_ids(cases)
    if every_row:
        return cases
    columns = tuple(cases.rows[0].extras) if cases.rows else ()
    cases = cases.labelled()
    present = [name for name, count in cases.counts().items() if count]
    if len(present) < 2:
        raise _of_one_class(place, cases, ", ".join(present), columns)
    return cases


def _of_one_class(place: Path, cases: Cases, name: str, columns: Sequence[str]) -> InputRefused:
    missing = f"{len(cases.missing)} files are missing, the first: {cases.missing[0]}. That leaves " \
        if cases.missing else ""
    left = "".join(f"; {note}" for note in cases.notes if "left out" in note)
    if not cases.classes:
        held = f"; it has {', '.join(columns)}" if columns else ""
        return NoClasses(f"{place}: nothing says of which class an image is: expected a column 'label', or yours by "
                         f"name: data.options.label_column{held}")
    inner = [folder for folder in entries(place / name) if is_folder(folder)] if is_folder(place / name) else []
    deeper = f"; if its sub-folders are the classes, give {place / name}" if len(inner) > 1 else ""
    return InputRefused(f"{place}: {missing}{len(cases)} labelled images of one class only ({name or 'none'}); a "
                        f"classifier needs at least two{deeper}{left}")


def _named(layout: str, place: Path) -> Reader:
    chosen = READERS.named(layout, "data.layout")
    if not chosen.fits(place):
        raise InputRefused(f"{place}: not the layout '{layout}'; looked for {chosen.looked_for}, and {survey(place)}")
    return chosen


def recognised(place: Path, options: Collection[str] = ()) -> Reader:
    """The reader that a path is for: the first that recognises it, or if that takes not all of the stated options, as
    the names of a table's columns, the first that does and may read it.

    Raises:
        InputRefused: there is none.
    """
    known = next((layout for layout in READERS.values() if layout.recognises(place)), None)
    if known is None or not set(options) <= set(known.options):
        able = (layout for layout in READERS.values() if options and set(options) <= set(layout.options)
                and layout.fits(place))
        known = next(able, known)
    if known is None:
        raise InputRefused(f"{place}: no known layout; {survey(place)}")
    return known


def _refuse_double_ids(cases: Cases) -> None:
    name, count = Counter(row.id for row in cases.rows).most_common(1)[0] if cases.rows else ("", 0)
    if count > 1:
        raise InputRefused(f"{cases.name}: {count} rows have the id '{name}'; ids must be different")
