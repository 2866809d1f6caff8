"""Data sets of Hugging Face's, tables with pictures in them: which column is what, and their cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyread.cases.case_set import Cases
from steadyread.cases.kind import Channels
from steadyread.cases.pictures import Embedded, look_of, read_picture
from steadyread.cases.readers.folders import in_order, part_of
from steadyread.cases.row import Row
from steadyread.errors import InputRefused
from steadyread.names import shown

_LOOKED_AT = 256         # pictures by which grey is told from colour


@dataclass(frozen=True)
class Named:
    """What the columns are called, where not as declared, and how many channels pictures have."""

    file_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    channels: Channels = "auto"


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a data set: its name, "" where it is all, where it stands for messages, its columns, and what they
    are declared as. `values` gives a column's values, `pictures` which bytes stand at a place of a column, none where
    a path stands there instead; both refuse what is damaged."""

    name: str
    place: Path
    columns: tuple[str, ...]
    features: Mapping[str, Any]
    values: Callable[[str], list[Any]]
    pictures: Callable[[str], Callable[[int], bytes | None]]


def cases_of(path: Path, parts: Sequence[Part], named: Named, warnings: tuple[str, ...] = ()) -> Cases:
    """The cases of parts.

    Raises:
        InputRefused: an unknown part, no such column, no cases, or pictures that are not in the files.
    """
    wrong = next((part.name for part in parts if part.name and not part_of(part.name)), None)
    if wrong is not None:
        raise InputRefused(f"{path}: unknown part '{shown(wrong)}'; expected train, validation or test")
    image = _column(parts[0], named.file_column, "Image", "image")
    label = _column(parts[0], named.label_column, "ClassLabel", "label")
    declared = parts[0].features.get(label)
    names = declared.get("names") if isinstance(declared, Mapping) else None
    names = names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
    values = [[_text(value, names) for value in part.values(label)] for part in parts]
    classes = tuple(map(shown, names)) if names else in_order({value for texts in values for value in texts if value})
    rows: list[Row] = []
    for number, (part, texts) in enumerate(zip(parts, values, strict=True)):
        patients = part.values(_column(part, named.patient_column, "", "")) if named.patient_column else None
        for at, text in enumerate(texts):
            name = f"{part.name}/{at:06d}" if part.name else f"{at:06d}"
            rows.append(Row(name, shown(str(patients[at])) if patients else name,
                            classes.index(text) if text in classes else None, text, None, part_of(part.name) or "",
                            (number, at), f"{part.place.name} row {at}"))
    if not rows:
        raise InputRefused(f"{path}: the data set is empty")
    pictures = [part.pictures(image) for part in parts]

    def picture(row: Row) -> Embedded:
        number, at = row.source
        stored = pictures[number](at)
        if not stored:
            raise InputRefused(f"{row.where}: no picture stands there, but a path elsewhere; save the data set again "
                               "by save_to_disk, which takes the pictures in")
        return Embedded(stored, row.where)

    look, how = look_of([picture(row) for row in rows[::max(1, len(rows) // _LOOKED_AT)]], named.channels)
    return Cases(shown(path.name), tuple(rows), lambda row: read_picture(picture(row), look), classes, look.bounds,
                 named.patient_column is not None, notes=(how,), warnings=warnings)


def _text(value: object, names: Sequence[str] | None) -> str:
    """A label as text, "" for none (-1 where classes are declared)."""
    if names and isinstance(value, int):
        return shown(names[value]) if 0 <= value < len(names) else ""
    return "" if value is None else shown(str(value))


def _column(part: Part, name: str | None, kind: str, usual: str) -> str:
    """The column of this name, or the only one that is declared as of a kind, or the usual one."""
    declared = [each for each, feature in part.features.items() if isinstance(feature, Mapping)
                and feature.get("_type") == kind and each in part.columns]
    chosen = name or (declared[0] if len(declared) == 1 else usual)
    if chosen not in part.columns:
        many = f"; {len(declared)} are declared as {kind}" if len(declared) > 1 else ""
        raise InputRefused(f"{part.place}: no column '{shown(chosen)}'{many}; name yours by data.options.file_column, "
                           f"label_column or patient_column: {', '.join(map(shown, part.columns))}")
    return chosen
