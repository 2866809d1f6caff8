"""Other labels for the same cases: in the order of a network's classes, by one of several findings, five by rating."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from steadyread.cases.case_set import Cases
from steadyread.cases.row import Row
from steadyread.errors import InputRefused, UsageError
from steadyread.names import folded
from steadyread.registry import nearest

RATINGS = ("1", "2", "3", "4", "5")
UNNAMED = "label "      # with its place behind it: a column of labels of a set that does not name its columns
_WITH = frozenset(("1", "1.0", "true", "yes", "positive", "present"))
_WITHOUT = frozenset(("0", "0.0", "false", "no", "negative", "absent"))
_UNKNOWN = frozenset(("", "-1", "-1.0", "nan", "na", "n/a", "<na>", "#n/a", "null", "none", "uncertain", "unknown"))


@dataclass(frozen=True)
class Rated:
    """How a nodule's malignancy rating from 1 to 5 becomes a label: `classes` are two or the five of `RATINGS`, and
    fewer `readers` than these give none. A rating of 3 gives none either."""

    classes: tuple[str, ...]
    readers: int

    @classmethod
    def of(cls, labels: str, readers: int) -> "Rated":
        """The rule that is asked for: `malignancy` or `rating`.

        Raises:
            UsageError: neither, or other numbers of readers than 1 to 4.
        """
        if labels not in ("malignancy", "rating"):
            raise UsageError(f"labels must be malignancy or rating; got '{labels}'")
        if readers not in (1, 2, 3, 4):
            raise UsageError(f"readers must be 1 to 4; got {readers}")
        return cls(("benign", "malignant") if labels == "malignancy" else RATINGS, readers)

    def label(self, rating: float, seen: int | None) -> int | None:
        """The class of a rating (0 is none) that `seen` readers gave, None where nobody knows how many."""
        if rating in (0, 3) or (seen is not None and seen < self.readers):
            return None
        return int(rating > 3) if len(self.classes) == 2 else rating_class(rating)

    def told(self, rows: Sequence[Row]) -> str:
        """A sentence on the rows without a label."""
        unlabelled = sum(row.label is None for row in rows)
        return (f"{unlabelled} of {len(rows)} nodules have no label: fewer than {self.readers} readers, or a rating "
                "of 3")


def in_order(cases: Cases, names: tuple[str, ...], stated: bool = False) -> Cases:
    """The cases with their labels in the order of a network's class `names`, () where it names none.

    Upper case, spaces and underscores make no difference. Where the images' classes are called otherwise, they are
    taken in their own order, and a warning says so; names that are `stated`, by a person, they take in that order.

    Raises:
        UsageError: a name is stated twice, or the stated names are not the images' and of another number.
    """
    known = {folded(name): place for place, name in enumerate(names)}
    if stated and len(known) < len(names):
        raise UsageError(f"model.classes: {', '.join(names)} names a class twice")
    places = [known.get(folded(name)) for name in cases.classes]
    if stated and len(names) == len(cases.classes) and set(places) == {None}:
        told = ", ".join(f"{own} as {name}" for own, name in zip(cases.classes, names, strict=True))
        return replace(cases, classes=names, notes=(*cases.notes, f"classes are named as stated: {told}"))
    if stated and None in places and len(names) != len(cases.classes):
        raise UsageError(f"model.classes: {len(names)} names ({', '.join(names)}) for images of {len(cases.classes)} "
                         f"classes ({', '.join(cases.classes)}): state one name for each, or the images' own names")
    if not names or None in places:
        said = () if not names else (
            f"the network calls its classes {', '.join(names)}, the images are of {', '.join(cases.classes)}: "
            "they are taken in this order; see that it is right",)
        return replace(cases, warnings=(*cases.warnings, *said))
    rows = tuple(row if row.label is None else replace(row, label=places[row.label]) for row in cases.rows)
    return replace(cases, rows=rows, classes=names)


def rating_class(rating: float) -> int:
    """The class of a mean rating from 1 to 5: the nearest whole one, halves upwards."""
    return math.floor(rating + 0.5) - 1


def relabelled(cases: Cases, column: str = "rating") -> Cases:
    """The same cases in the same order and parts, labelled "1" to "5" by the rating in their `extras`.

    A case without a label stays without one, so that both labellings judge the same cases; the rating 3, which the
    rule for two classes leaves out, then has no case.

    Raises:
        InputRefused: a labelled case without such a rating.
    """
    rows = []
    for row in cases.rows:
        rating = row.extras.get(column)
        if row.label is not None and not (isinstance(rating, int | float) and 1 <= rating <= 5):
            raise InputRefused(f"{row.where or row.id}: no rating from 1 to 5 under '{column}', by which the cases "
                               f"were to be labelled; got {rating!r}")
        label = rating_class(rating) if row.label is not None and isinstance(rating, int | float) else None
        rows.append(replace(row, label=label))
    return replace(cases, rows=tuple(rows), classes=RATINGS)


def of_finding(cases: Cases, name: str, findings: Sequence[str] = ()) -> Cases:
    """The cases labelled by one finding, 0 without it and 1 with it; those of which it is not known are left out.

    A column of that name (upper case, spaces and underscores make no difference) holds 1, 0, or nothing or -1 where it
    is not known. Where there is none, the label names what there is, "Effusion|Mass", and nothing where that is not
    known. Labels of several columns without names are those of the `findings`, in their order.

    Raises:
        InputRefused: neither such a column nor such a label, another value, or no case with it or none without it.
    """
    columns = _columns(cases.rows[0], findings or (name,)) if cases.rows else {}
    labels = _in_column(cases, columns[name]) if name in columns else _in_texts(cases, name)
    rows = tuple(replace(row, label=label, extras={key: value for key, value in row.extras.items()
                                                   if key not in columns.values()})
                 for row, label in zip(cases.rows, labels, strict=True) if label is not None)
    if alike := _alike(labels):
        raise InputRefused(f"{cases.name}: {alike.format(name=name)}: leave that finding out, model.only names those "
                           "that are assessed")
    unknown = len(labels) - len(rows)
    said = (f"{name}: not known of {unknown} of {len(labels)} images, which are left out",) if unknown else ()
    return replace(cases, rows=rows, classes=(f"no {name}", name), notes=(*cases.notes, *said))


def one_kind(cases: Cases, names: Sequence[str]) -> dict[str, str]:
    """Those of a network's findings, all of whose `names` these are, that all labelled cases have or none has, each
    with a sentence.

    Raises:
        InputRefused: one without labels, or another value.
    """
    columns = _columns(cases.rows[0], names) if cases.rows else {}
    told = {name: _alike(_in_column(cases, columns[name]) if name in columns else _in_texts(cases, name))
            for name in names}
    return {name: f"{alike.format(name=name)}: it is left out" for name, alike in told.items() if alike}


def _alike(labels: Sequence[int | None]) -> str:
    """What there is to say of a {name} whose labels are all of one kind; "" where they are not."""
    kinds = set(labels) - {None}
    if len(kinds) > 1:
        return ""
    known = sum(label is not None for label in labels)
    return (f"of {known} images that are labelled for '{{name}}' {'all' if 1 in kinds else 'none'} have it, and images "
            "with and without it are needed")


def refuse_unlabelled(cases: Cases, names: Sequence[str], findings: Sequence[str]) -> None:
    """Refuses findings for which cases have no labels, or all the same.

    Raises:
        InputRefused: there are some of `names`; all of them are told.
    """
    problems = {}
    for name in names:
        try:
            of_finding(cases, name, findings)
        except InputRefused as problem:
            problems[name] = str(problem)
    if problems:
        left = [name for name in names if name not in problems]
        more = f". So it is with {', '.join(problems)}" if len(problems) > 1 else ""
        advice = f"; {', '.join(left)} can be assessed" if left else ""
        raise InputRefused(f"{next(iter(problems.values()))}{more}{advice}")


def _columns(row: Row, findings: Sequence[str]) -> dict[str, str]:
    """The findings that have a column, with its name: their own or, of a set that names none, that of their place."""
    known = {folded(key): key for key in row.extras}
    named = {name: known[folded(name)] for name in findings if folded(name) in known}
    bare = {name: f"{UNNAMED}{place}" for place, name in enumerate(findings)}
    as_many = set(bare.values()) == {key for key in row.extras if key.startswith(UNNAMED)}
    return named or (bare if as_many else {})


def _in_column(cases: Cases, column: str) -> list[int | None]:
    """Which cases have a finding by its column; None where that is not known.

    Raises:
        InputRefused: another value than those.
    """
    found: list[int | None] = []
    for row in cases.rows:
        text = str(row.extras.get(column, "")).strip().casefold()
        if text not in _WITH | _WITHOUT | _UNKNOWN:
            raise InputRefused(f"{row.where or row.id}: the column '{column}' must be 1, 0, or nothing or -1 where it "
                               f"is not known; got '{text[:40]}'")
        found.append(None if text in _UNKNOWN else int(text in _WITH))
    return found


def _in_texts(cases: Cases, name: str) -> list[int | None]:
    """Which cases have a finding by the names in their label; None where it is empty.

    Raises:
        InputRefused: no label names it.
    """
    parted = [row.raw_label.split("|") for row in cases.rows]
    if not any(folded(name) == folded(part) for parts in parted for part in parts):
        held = dict.fromkeys(filter(None, [*(cases.rows[0].extras if cases.rows else ()), *(
            part.strip() for parts in parted for part in parts)]))
        raise InputRefused(f"{cases.name}: no column '{name}' with 1 and 0, and no label that names '{name}' between "
                           f"|{nearest(name, list(held)[:40])}")
    return [None if row.raw_label.strip().casefold() in _UNKNOWN - {"none"} else int(folded(name) in map(folded, parts))
            for row, parts in zip(cases.rows, parted, strict=True)]
