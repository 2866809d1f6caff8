"""The readers' XML of LIDC-IDRI (doi:10.1118/1.3528204): which nodules each of the four radiologists drew, and rated.

    <LidcReadMessage xmlns="http://www.nih.gov">
      <ResponseHeader><SeriesInstanceUid>1.3.6...</SeriesInstanceUid></ResponseHeader>
      <readingSession>
        <unblindedReadNodule>
          <noduleID>IL057_127364</noduleID>
          <characteristics><subtlety>5</subtlety>...<malignancy>4</malignancy></characteristics>
          <roi>
            <imageZposition>-125.0</imageZposition> <imageSOP_UID>1.3.6...</imageSOP_UID> <inclusion>TRUE</inclusion>
            <edgeMap><xCoord>312</xCoord><yCoord>355</yCoord></edgeMap>...
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
from numpy.typing import NDArray

from steadyread.cases.marks import inside_outlines
from steadyread.cases.stack import Stack
from steadyread.errors import InputRefused
from steadyread.files import regular_file

GRADES = ("subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation",
          "texture", "malignancy")
_LARGEST = 2**24        # bytes of a file, which take twenty times the memory
_MOST = 2**10           # nodules of a series, each reader's for itself: all pairs of them are compared
_FARTHEST = 1e5         # a pixel's row or column


@dataclass(frozen=True, eq=False)
class Drawn:
    """One reader's nodule: the reader's number in the file, the ratings by name in small letters, and the outlines,
    each the uid of its image, whether what is inside belongs to the nodule, and its pixels (n, 2) by row and column."""

    reader: int
    grades: Mapping[str, float]
    outlines: Sequence[tuple[str, bool, NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class Nodule:
    """What readers drew in one place: how many they were, their mean ratings, and the voxels (n, 3) that at least half
    of them drew."""

    readers: int
    grades: Mapping[str, float]
    voxels: NDArray[np.int64]


def drawings(file: Path) -> tuple[str, list[Drawn]]:
    """The uid of the series that a file is about, "" where it is no such file, and the nodules of 3 mm and more in it:
    those that were rated. Smaller ones, which have a point and no ratings, and marks of no nodules are left out.

    Raises:
        InputRefused: damaged, too large, or with a definition of its own, which such files have not.
    """
    if regular_file(file).stat().st_size > _LARGEST:
        raise InputRefused(f"{file}: larger than {_LARGEST >> 20} MiB, which no readers' XML is")
    data = file.read_bytes()
    if b"<!" in data.replace(b"\0", b"").replace(b"<!--", b""):
        raise InputRefused(f"{file}: defines entities or a document type, which no readers' XML does; not read")
    try:
        message = Xml.fromstring(data)
        if _name(message) != "LidcReadMessage":
            return "", []
        return _text(message, "SeriesInstanceUid"), list(_read(message))
    except (Xml.ParseError, ValueError, LookupError, RecursionError) as problem:
        raise InputRefused(f"{file}: damaged readers' XML ({problem})") from None


def nodules(drawn: Sequence[Drawn], stack: Stack) -> list[Nodule]:
    """The nodules of a series by consensus, from the lowest to the highest.

    Drawings of two readers are of one nodule where they share a voxel, and so are those that a third one joins. A voxel
    is the nodule's where at least half of the readers who drew it drew that voxel. An outline's own pixels, the first
    ones outside, do not count as inside (nor as inside of a hole), unless nothing else does. Ratings are the mean over
    readers.

    Raises:
        InputRefused: an outline in an image that is not in the series.
    """
    if len(drawn) > _MOST:
        raise InputRefused(f"readers drew {len(drawn):,} nodules in the series ...{stack.uid[-12:]}, more than "
                           f"{_MOST:,}")
    voxels = [_voxels(each, stack) for each in drawn]
    group = list(range(len(drawn)))
    for second in range(len(drawn)):
        for first in range(second):
            if drawn[first].reader != drawn[second].reader and len(np.intersect1d(voxels[first], voxels[second])):
                old, new = group[second], group[first]
                group = [new if each == old else each for each in group]
    members: dict[int, list[int]] = defaultdict(list)
    for place, number in enumerate(group):
        members[number].append(place)
    found = [_consensus([drawn[place] for place in places], [voxels[place] for place in places], stack)
             for places in members.values()]
    return sorted(found, key=lambda each: tuple(each.voxels.mean(0)))


def _consensus(drawn: Sequence[Drawn], voxels: Sequence[NDArray[np.int64]], stack: Stack) -> Nodule:
    by_reader: dict[int, list[int]] = defaultdict(list)
    for place, each in enumerate(drawn):
        by_reader[each.reader].append(place)
    each_once = [np.unique(np.concatenate([voxels[place] for place in places])) for places in by_reader.values()]
    where, counts = np.unique(np.concatenate(each_once), return_counts=True)
    kept = where[2 * counts >= len(by_reader)]
    readers = [[drawn[place].grades for place in places] for places in by_reader.values()]
    names = sorted({name for each in drawn for name in each.grades})
    means = {name: [np.mean(values) for own in readers
                    if (values := [grades[name] for grades in own if name in grades])] for name in names}
    places = np.column_stack(np.unravel_index(kept if len(kept) else where, stack.shape))
    return Nodule(len(by_reader), {name: float(np.mean(values)) for name, values in means.items()}, places)


def _voxels(drawn: Drawn, stack: Stack) -> NDArray[np.int64]:
    """What a reader drew, as places in the flat volume."""
    inside: list[NDArray[np.float64]] = []
    holes: list[NDArray[np.float64]] = []
    for uid, belongs, pixels in drawn.outlines:
        if uid not in stack.uids:
            raise InputRefused(f"the image ...{uid[-12:]} that a reader drew in is not in the series "
                               f"...{stack.uid[-12:]}")
        (inside if belongs else holes).append(stack.pixel(stack.uids[uid], pixels))
    whole = np.setdiff1d(_within(inside, stack), _within(holes, stack))
    return whole if len(whole) else np.unique(_edges(inside, stack))


def _within(outlines: Sequence[NDArray[np.float64]], stack: Stack) -> NDArray[np.int64]:
    """What lies inside outlines, their own pixels not counted."""
    return np.setdiff1d(_flat(inside_outlines(outlines, stack.shape), stack), _edges(outlines, stack))


def _edges(outlines: Sequence[NDArray[np.float64]], stack: Stack) -> NDArray[np.int64]:
    return _flat(np.rint(np.concatenate([np.empty((0, 3)), *outlines])).astype(np.int64), stack)


def _flat(places: NDArray[np.int64], stack: Stack) -> NDArray[np.int64]:
    there = places[((places >= 0) & (places < np.array(stack.shape))).all(1)]
    return np.asarray(np.ravel_multi_index(tuple(there.T), stack.shape), np.int64)


def _read(message: Xml.Element) -> Iterator[Drawn]:
    for number, session in enumerate(_all(message, "readingSession")):
        for nodule in _all(session, "unblindedReadNodule"):
            rated = next(iter(_all(nodule, "characteristics")), None)
            grades = {} if rated is None else {_name(each).lower(): float(each.text or "") for each in rated
                                               if _name(each) in GRADES and (each.text or "").strip()}
            outlines = [(_text(roi, "imageSOP_UID"), _text(roi, "inclusion").upper() != "FALSE", _pixels(roi))
                        for roi in _all(nodule, "roi")]
            if any(grades.values()) and any(len(pixels) for _, _, pixels in outlines):
                yield Drawn(number, grades, outlines)


def _pixels(roi: Xml.Element) -> NDArray[np.float64]:
    pixels = np.array([[float(_text(edge, axis)) for axis in ("yCoord", "xCoord")] for edge in _all(roi, "edgeMap")]
                      ).reshape(-1, 2)
    if not (np.abs(pixels) < _FARTHEST).all():
        raise ValueError("an outline that lies in no image")
    return pixels


def _all(element: Xml.Element, name: str) -> list[Xml.Element]:
    """The elements of a name directly below; a namespace makes no difference."""
    return [each for each in element if _name(each) == name]


def _text(element: Xml.Element, name: str) -> str:
    """The text of the first element of a name anywhere below, "" where there is none."""
    return next(((each.text or "").strip() for each in element.iter() if _name(each) == name), "")


def _name(element: Xml.Element) -> str:
    return str(element.tag).rpartition("}")[2]
