"""Files in a folder of pictures that are no images of the set: masks of others, and what the user excludes."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from steadyread.errors import InputRefused, UsageError

IMAGE_FOLDERS = frozenset(("image", "images", "img", "imgs", "picture", "pictures", "scan", "scans"))
# The first are never the name of a class; the others may be ("mask", "no_mask") and need more evidence.
_MASK_FOLDERS = frozenset(("masks", "labels", "annotations", "segmentations", "segs", "gts", "rois", "contours",
                           "overlays", "groundtruth", "groundtruths", "segmentation", "annotation", "heatmaps",
                           "bboxes", "boundingboxes"))
_MAYBE_MASKS = frozenset(("mask", "label", "seg", "gt", "roi", "contour", "overlay", "heatmap", "bbox"))
_JOINED = "masks?|segmentations?|heat[ _-]?maps?|bbox(?:es)?|overlays?"   # may follow a name without a sign
_KIND = (f"{_JOINED}|segs?|segmented|gts?|ground[ _-]?truths?|labels?|annotations?|annotated|contours?|rois?|"
         "bounding[ _-]?box(?:es)?|saliency|(?:grad[ _-]?)?cams?")
_AFTER = re.compile(rf"(?P<image>.+?)(?:[ _.-]+(?:{_KIND})|(?:{_JOINED}))(?:[ _.-]*\d+)?", re.IGNORECASE)
_BEFORE = re.compile(rf"(?:{_KIND})[ _.-]+(?P<image>.+)", re.IGNORECASE)
_WORD = re.compile(r"[ _.-]+[^\W\d_]+$")    # of what, as in x_lung_mask
_IMAGE_ENDS = ("", "_image", "_img", "-image", "-img")
Exclude = str | Sequence[str]


def without_excluded(files: Sequence[Path], folder: Path, exclude: Exclude) -> tuple[list[Path], tuple[str, ...]]:
    """The files that no pattern of `exclude` matches, and a sentence of how many it took.

    A pattern (`*_overlay.png`, `thumbs`, `raw/*`; `*` matches `/` too) is compared with each file's path below
    `folder`, its name, and the names and paths of the folders that hold it.

    Raises:
        InputRefused: nothing is left.
        UsageError: not a pattern, or a list of them.
    """
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise UsageError(f"exclude must be a pattern such as '*_mask*', or a list of them; got {exclude!r}")
    if not patterns:
        return list(files), ()
    kept = [file for file in files if not _matched(PurePosixPath(file.relative_to(folder)), patterns)]
    told = f"{len(files) - len(kept)} of {len(files)} pictures are left out by exclude = {', '.join(patterns)}"
    if not kept:
        raise InputRefused(f"{folder}: {told}; none is left")
    return kept, (told,)


def without_masks(files: Sequence[Path], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The pictures that are not masks of others, and a sentence of how many are.

    Masks are `x_mask.png` (`_seg`, `_gt`, `_roi`, `_heatmap`, ..., numbered or not, also `x_lung_mask`) beside
    `x.png`, and what stands in `masks/` (`labels/`, ...) beside `images/` or beside the images themselves.
    """
    places = {file: PurePosixPath(file.relative_to(folder)) for file in files}
    folders = _mask_folders(places.values())
    stems: dict[PurePosixPath, set[str]] = defaultdict(set)
    for place in places.values():
        stems[place.parent].add(_stem(place))
    masks = [file for file, place in places.items()
             if not folders.isdisjoint(place.parents) or _is_mask(_stem(place), stems[place.parent])]
    if not masks or len(masks) == len(files):
        return list(files), ()
    left = set(masks)
    return [file for file in files if file not in left], (
        f"{len(masks)} pictures are left out as masks of others, such as {places[masks[0]]}; "
        "list the files in a CSV (file,label) to read them",)


def _matched(place: PurePosixPath, patterns: Iterable[str]) -> bool:
    names = [text for part in (place, *place.parents[:-1]) for text in (part.as_posix(), part.name)]
    return any(fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns for name in names)


def _stem(place: PurePosixPath) -> str:
    """A name in small letters without its ending, that of a packed file too."""
    return place.stem.casefold().removesuffix(".nii")


def _is_mask(stem: str, beside: Collection[str]) -> bool:
    """Whether a picture of this name is a mask of one beside it."""
    named = [match["image"] for match in (_AFTER.fullmatch(stem), _BEFORE.fullmatch(stem)) if match is not None]
    named += [shorter for image in named[:1] for shorter in _shortened(image)]
    return any(image + end in beside for image in named for end in _IMAGE_ENDS)


def _shortened(image: str) -> list[str]:
    """A name without its last word, and without its last two."""
    once = _WORD.sub("", image)
    return [once, _WORD.sub("", once)]


def _mask_folders(places: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The folders of masks, by what stands beside them."""
    inner: dict[PurePosixPath, set[PurePosixPath]] = defaultdict(set)
    stems: dict[PurePosixPath, set[str]] = defaultdict(set)
    direct: set[PurePosixPath] = set()
    for place in places:
        direct.add(place.parent)
        for child, parent in zip(place.parents, place.parents[1:], strict=False):
            inner[parent].add(child)
            stems[child].add(_stem(place))
    return {child for parent, children in inner.items() for child in children
            if _holds_masks(child, children, parent in direct, stems)}


def _holds_masks(folder: PurePosixPath, siblings: set[PurePosixPath], beside_pictures: bool,
                 stems: dict[PurePosixPath, set[str]]) -> bool:
    name = folder.name.casefold().replace(" ", "").replace("_", "").replace("-", "")
    others = [other for other in siblings if other.name.casefold() not in _MASK_FOLDERS | _MAYBE_MASKS]
    if name in _MASK_FOLDERS:
        return bool(others) or beside_pictures
    if name not in _MAYBE_MASKS:
        return False
    if beside_pictures or any(other.name.casefold() in IMAGE_FOLDERS for other in others):
        return True
    of = Counter(stem for other in others for stem in stems[other])
    images = {stem for stem, count in of.items() if count == 1}   # 0.png in every class is no pair
    alike = sum(stem in images or _is_mask(stem, images) for stem in stems[folder])
    return len(others) > 1 and alike > len(stems[folder]) / 2
