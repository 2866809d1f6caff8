"""Other labels for the same cases: in the order of a network's classes, or five by rating in place of two."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from steadyread.cases.case_set import Cases
from steadyread.cases.row import Row
from steadyread.errors import InputRefused, UsageError

RATINGS = ("1", "2", "3", "4", "5")


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


def in_order(cases: Cases, names: tuple[str, ...]) -> Cases:
    """The cases with their labels in the order of a network's class `names`, () where it names none.

    Upper case, spaces and underscores make no difference. Where the images' classes are called otherwise, they are
    taken in their own order, and a warning says so.
    """
    known = {_folded(name): place for place, name in enumerate(names)}
    places = [known.get(_folded(name)) for name in cases.classes]
    if not names or None in places:
        said = () if not names else (
            f"the network calls its classes {', '.join(names)}, the images are of {', '.join(cases.classes)}: "
            "they are taken in this order; see that it is right",)
        return replace(cases, warnings=(*cases.warnings, *said))
    rows = tuple(row if row.label is None else replace(row, label=places[row.label]) for row in cases.rows)
    return replace(cases, rows=rows, classes=names)


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


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
