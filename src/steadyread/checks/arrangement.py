"""Do channels, proportions and axes lie as they did in the network's training?"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import get_args

import torch

from steadyread.cases.geometry import Fit
from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample, prepared, reading
from steadyread.findings import Finding
from steadyread.types import Logits

_CENTRAL = 0.875     # of torchvision's transforms: 224 of 256


@rule("SR201", "channel order", late=True, needs="images of three channels that differ, and labels",
      remedy="Give the channels in the order of its training: OpenCV reads blue first.")
def channel_order(sample: Sample) -> Iterator[Finding]:
    """Whether the images read better with blue first."""
    images = sample.few.batch.images
    if images.shape[1] != 3 or torch.equal(images[:, 0], images[:, 2]):
        return
    best = sample.better({"blue first": lambda: reading(sample.classifier, images.flip(1))})
    if best is not None:
        yield best.finding("channel order", "no other order of channels")


@rule("SR202", "resize and crop", late=True, needs="a size that images are brought to (preparation.size), and labels",
      remedy="State the size, preparation.fit and preparation.central of its training.")
def resize(sample: Sample) -> Iterator[Finding]:
    """Whether the images read better squeezed, padded, cut, or by their centre."""
    asked = sample.stated.preparation
    if sample.stated.raw is None or asked.size is None:
        return
    others = [replace(asked, fit=fit, central=1.0) for fit in get_args(Fit)]
    others.append(replace(asked, fit="shorter", central=_CENTRAL))
    images = prepared(sample, sample.stated.raw, {
        f"fit = {other.fit}" + (f", central = {other.central:g}" if other.central < 1 else ""): other
        for other in others if other != asked})
    best = sample.better({name: partial(reading, sample.classifier, way) for name, way in images.items()})
    if best is not None:
        yield best.finding("resize and crop", "no other way to bring them to the size")


@rule("SR203", "orientation", late=True, needs="images of two or three axes, and labels",
      remedy="Turn the images as they lay in its training: array libraries put rows first, NIfTI puts x first.")
def orientation(sample: Sample) -> Iterator[Finding]:
    """Whether the images read better turned or upside down."""
    images = sample.few.batch.images
    if images.ndim < 4:
        return
    ways: dict[str, Callable[[], Logits]] = {
        "upside down": lambda: reading(sample.classifier, images.flip(-2)),
        "from right to left": lambda: reading(sample.classifier, images.flip(-1))}
    if images.shape[-1] == images.shape[-2]:
        ways["with rows and columns exchanged"] = lambda: reading(sample.classifier, images.transpose(-1, -2))
    if images.ndim == 5:
        ways["with the slices in reverse"] = lambda: reading(sample.classifier, images.flip(-3))
        if len(set(images.shape[2:])) == 1:
            ways["with the axes in reverse"] = lambda: reading(sample.classifier, images.transpose(-1, -3))
    best = sample.better(ways)
    if best is not None:
        yield best.finding("orientation", "no other orientation")
