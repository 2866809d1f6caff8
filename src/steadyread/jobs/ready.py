"""The images of a study as its network sees them, and what they decide of the study."""

from contextlib import suppress
from dataclasses import replace
from inspect import signature

import numpy as np

from steadyread.cases import Cases, Preparation, prepare
from steadyread.cases.geometry import seen_by
from steadyread.cases.transform import scale_of
from steadyread.errors import InputRefused, UsageError
from steadyread.models.factories import BUILT_IN
from steadyread.study import Model, Study, with_epsilons
from steadyread.units import Bounds, unit_word

_LOOKED_AT = 8        # images, to find two that can be read


def first_readable(cases: Cases) -> list[int]:
    """The places of the first two images that can be read; the first, where none of the first few can."""
    places: list[int] = []
    for place in range(min(len(cases), _LOOKED_AT)):
        with suppress(Exception):     # whatever it is, it is said when all are read
            _ = cases[place]
            places.append(place)
        if len(places) == 2:
            break
    return places or [0]


def ready_for(stated: Study, asked: Study, raw: Cases) -> tuple[Study, Cases, Cases]:
    """The study with what the images decide, the images as read, and as the network sees them; `asked` is what the user
    states of it.

    Raises:
        InputRefused, UsageError: the images do not fit what is stated.
    """
    if "window" not in asked.preparation.model_fields_set:
        stated = _windowed(stated, raw.bounds)
    preparation = stated.preparation.preparation()
    if preparation.transform is None:
        ready = prepare(raw, preparation)
    else:      # what it does to values is looked for within the bounds that the network's are stated to be
        valid = raw if preparation.unit else replace(raw, bounds=_of_the_network(stated.model, raw))
        stated, ready = _scaled(stated, preparation, asked.model, valid), prepare(valid, preparation)
    ready = replace(ready, bounds=_of_the_network(stated.model, ready))
    return with_epsilons(_shaped(stated, ready), ready.bounds), raw, ready


def _scaled(study: Study, preparation: Preparation, asked: Model, images: Cases) -> Study:
    """The study whose network gets the scale of a transform of the user's own back, which is undone on the images.

    Raises:
        InputRefused: the transform scales values, and another `normalise` is stated.
        UsageError: a unit of what it leaves, and no bounds.
    """
    if preparation.unit is not None and study.model.bounds is None:
        raise UsageError("preparation.unit: state model.bounds, the valid values of what the transform leaves")
    if preparation.transform is None or preparation.unit is not None or not len(images):
        return study
    bounds = seen_by(preparation, images.bounds)
    first = images[first_readable(images)[0]].image
    scale = scale_of(preparation.transform, tuple(first.shape), bounds)
    if scale.is_none(bounds):
        return study
    found = (*scale.mean, *scale.deviation)
    stated = asked.normalise if "normalise" in asked.model_fields_set else "none"
    if stated != "none" and not (isinstance(stated, tuple) and len(stated) == len(found)
                                 and np.allclose(stated, found, rtol=1e-3)):
        raise InputRefused(f"preparation.transform {study.preparation.transform} scales values itself, with the mean "
                           f"{scale.mean[0]:.4g} and the deviation {scale.deviation[0]:.4g}, and model.normalise would "
                           "do it once more: leave one of them out")
    return study.model_copy(update={"model": study.model.model_copy(update={"normalise": found})})


def _of_the_network(model: Model, images: Cases) -> Bounds:
    """The bounds of the images as the network's are stated.

    Raises:
        InputRefused: it takes images of another unit.
    """
    bounds = images.bounds
    if model.unit and bounds.unit not in ("", model.unit):
        raise InputRefused(f"{images.name}: its images are in {unit_word(bounds.unit)}, and model.unit says that the "
                           f"network takes {unit_word(model.unit)}: give images in {unit_word(model.unit)}, or leave "
                           "model.unit out if these are what it was trained on")
    low, high = (bounds.low, bounds.high) if model.bounds is None else model.bounds
    return Bounds(low, high, bounds.unit or model.unit or "")


def _windowed(study: Study, bounds: Bounds) -> Study:
    """Bounds in HU narrower than the scanner's are a window: values are clipped to it, as a reader's screen does.

    Grey levels are left alone: there, pixels outside the stated bounds mean that the bounds are wrong. So is a network
    that states a window of its own which comes earlier.
    """
    stated = study.model.bounds
    if stated is None or bounds.unit != "HU" or study.preparation.clip != "last":
        return study
    preparing = study.preparation.model_copy(update={"window": stated})
    return study.model_copy(update={"preparation": preparing})


def _shaped(study: Study, cases: Cases) -> Study:
    """What a built-in network must know of the images, unless stated: classes, channels and size."""
    factory = BUILT_IN.get(study.model.name)
    if factory is None or not len(cases):
        return study
    shape = tuple(cases[0].image.shape)
    known = {"classes": len(cases.classes), "channels": shape[0],
             "size": shape[1] if len(set(shape[1:])) == 1 else list(shape[1:])}
    takes = signature(factory).parameters
    arguments = {key: value for key, value in known.items() if key in takes} | study.model.arguments
    return study.model_copy(update={"model": study.model.model_copy(update={"arguments": arguments})})
