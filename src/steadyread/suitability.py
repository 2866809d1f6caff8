"""Do a network and images suit each other: before a long run, and with what would make them."""

import re
from contextlib import suppress

from torch import Tensor

from steadyread import set_aside
from steadyread.cases import Cases, collate
from steadyread.cases.readable import reason
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused
from steadyread.words.numbers import counted

_TRIED = 64     # images until one is found on which the network does not fail
_SHAPE = re.compile(r"\b(sizes?|shapes?|channels?|dimensions?|dim=1|[1-5]D|elements|values to unpack)\b", re.I)
_OTHER = re.compile(r"dtype|scalar type|allocate|when training|view size", re.I)   # such words, other faults


def refuse_unsuited(classifier: Classifier, cases: Cases) -> None:
    """Before a long run: does the model take these images, and does it know these classes? The first is read.

    Raises:
        InputRefused: it does not.
    """
    if not len(cases):
        raise InputRefused("no cases to assess")
    classes = _classes_of(classifier, cases)
    highest = max(row.label for row in cases.rows if row.label is not None)
    if highest >= classes or len(cases.classes) != classes:
        known = {row.label for row in cases.rows if row.label is not None}
        from_one = ": labels count from 0, and these from 1" if min(known) == 1 and len(known) == classes else (
            ": bring the model that was trained on these classes")
        raise InputRefused(f"the data has {len(cases.classes)} classes ({', '.join(cases.classes)}), the model "
                           f"returns {classes}{from_one}")


def _classes_of(classifier: Classifier, cases: Cases) -> int:
    """How many classes the model returns for the first case on which it does not fail."""
    first: Exception | None = None
    for place in range(min(len(cases), _TRIED)):
        batch, _ = collate([cases[place]], classifier.valid)
        images = classifier.batch(batch).images
        try:
            return int(classifier.examine(images).shape[1])
        except set_aside.OF_THE_WHOLE:
            raise
        except Exception as problem:   # a network of the user's own raises what it likes
            first = first or problem
    shape = tuple(images.shape[1:])
    if first is None or not _of_shape(first):
        raise InputRefused(f"the model failed on an image of shape {shape}: {reason(first)}") from first
    raise InputRefused(f"the model does not take images of shape {shape}: {reason(first)}. "
                       f"{_remedy(classifier, images)}") from first


def _remedy(classifier: Classifier, images: Tensor) -> str:
    """What would make images fit the model: as many channels as it is found to take, or what usually does."""
    if others := {1: 3, 3: 1}.get(images.shape[1]):
        with suppress(Exception):      # nor does it take those
            classifier.examine(images[:, :1].expand(-1, others, *images.shape[2:]))
            return f"It takes images of {counted(others, 'channel')}: --set model.channels={others} reads them so"
    return ("Prepare the images as for its training: crop, size, and grey or colour by model.channels (--set "
            "model.channels=3)")


def _of_shape(problem: Exception) -> bool:
    """Whether what a network raised speaks of its images' size, axes or channels, as torch's own words do."""
    return (isinstance(problem, RuntimeError | ValueError | IndexError | AssertionError)
            and bool(_SHAPE.search(str(problem))) and not _OTHER.search(str(problem)))
