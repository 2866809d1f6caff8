"""Is the network given the values that it was trained on? Bounds, constants, and other scales that are usual."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample, reading
from steadyread.classifier import Classifier, Passes, decided
from steadyread.findings import Finding
from steadyread.models.scales import WORDS, scale_of
from steadyread.types import Logits
from steadyread.units import Bounds

_OWN = 1e-6          # a deviation below which an image is not divided by its own
_APART, _NEARER = 1.0, 0.2   # median divergence (nats) from a batch norm's statistics; that of a scale that fits
_SURE, _LEAST_SURE = 30.0, 0.5       # margins that are larger than cross entropy makes them; of reads that are any
_LOOKED = 32         # images by which batch norm is judged
Transform = Callable[[Tensor], Tensor]


@rule("SR101", "bounds", remedy="State the lowest and the highest value that a pixel as stored can have (bounds).")
def bounds(sample: Sample) -> Iterator[Finding]:
    """Pixels that fill a small part of the stated range, as 0 to 1 in bounds of 0 to 255."""
    doubt = sample.classifier.pixels.doubt(sample.classifier.valid)
    yield Finding("bounds", "warning" if doubt else "ok", doubt or "the pixels fill the stated range")


@rule("SR102", "normalise", stated=False,
      remedy="State mean and SD in the pixels' own values, or by a word (unit, symmetric, imagenet, caffe).")
def normalise(sample: Sample) -> Iterator[Finding]:
    """Constants of images of another range, as ImageNet's 0.485 on pixels up to 255."""
    doubt = sample.classifier.pixels.doubt_scale(sample.classifier.valid, sample.classifier.normalise)
    if doubt or not sample.stated.trained:
        yield Finding("normalise", "warning" if doubt else "ok", doubt or "its constants fit the pixels")


@rule("SR103", "scale of the pixels", late=True, needs="labels of two classes, 8 images",
      remedy="State how pixels were scaled for its training (normalise).")
def scale(sample: Sample) -> Iterator[Finding]:
    """Whether the images read better as 0 to 1, -1 to 1, 0 to 255, by ImageNet's constants, or inverted."""
    few = sample.few
    ways = {name: _way(few, classifier) for name, classifier in otherwise(sample).items()}
    valid = sample.classifier.valid
    ways["inverted (dark for bright)"] = lambda: reading(sample.classifier, valid.low + valid.high - few.batch.images)
    best = sample.better(ways)
    if best is not None:
        word = best.name.split(" ")[0]
        remedy = f"State normalise = {word}, if it was trained so." if word in WORDS else ""
        yield replace(best.finding("scale of the pixels", "no other usual scale"), remedy=remedy)


@rule("SR104", "batch norm", late=True, needs="a network in torch with batch norm",
      remedy="State how pixels were scaled for its training (normalise).")
def batch_norm(sample: Sample) -> Iterator[Finding]:
    """Whether its first batch norm is given values like those that it saw in training; needs no labels."""
    few = sample.few.batch.images[:_LOOKED]
    apart = _divergence(sample.classifier, few)
    if apart is None:
        return
    ways = {name: divergence for name, classifier in otherwise(sample).items()
            if (divergence := _divergence(classifier, few)) is not None}
    best = min(ways, key=ways.__getitem__, default="")
    doubt = apart > _APART and best and ways[best] < _NEARER * apart
    told = f"its first batch norm is given values {apart:.2g} nats from those that it was trained on"
    yield Finding("batch norm", "warning" if doubt else "ok",
                  f"{told}; with {best} they are {ways[best]:.2g} from them" if doubt else told, apart)


@rule("SR105", "sure reads", late=True, needs="finite logits",
      remedy="State how pixels were scaled for its training (normalise).")
def sure(sample: Sample) -> Iterator[Finding]:
    """Whether its reads are far surer than training makes a network, and on another scale are not; needs no labels."""
    margin = _typical_margin(sample.few.logits)
    if not math.isfinite(margin):
        return
    told = f"half of the reads have a margin of {margin:.3g} or more between their logits"
    ways = {} if margin < _SURE else {name: _typical_margin(reading(classifier, sample.few.batch.images[:_LOOKED]))
                                      for name, classifier in otherwise(sample).items()}
    least = min((name for name in ways if ways[name] > _LEAST_SURE), key=ways.__getitem__, default="")
    doubt = bool(least) and ways[least] < margin * _NEARER
    yield Finding("sure reads", "warning" if doubt else "ok",
                  f"{told}; with {least} it is {ways[least]:.3g}" if doubt else told, margin)


def otherwise(sample: Sample) -> dict[str, Classifier]:
    """The classifier with every other usual scale before it, by name."""
    classifier, some = sample.classifier, sample.batch.images[:1]
    seen = classifier.valid if sample.stated.window is None else Bounds(*sample.stated.window)
    known = [classifier.normalised(some)]
    found = {}
    for name, transform in _usual(seen, some.shape[1]).items():
        other = replace(classifier, normalise=transform, passes=Passes())
        given = other.normalised(some)
        if not any(torch.allclose(given, one, rtol=1e-3, atol=1e-4) for one in known):
            known.append(given)
            found[name] = other
    return found


def _usual(seen: Bounds, channels: int) -> Mapping[str, Transform]:
    words = {"none": "pixels as stored", "unit": "0 to 1", "symmetric": "-1 to 1"}
    ways: dict[str, Transform] = {
        f"{word} ({words.get(word, 'its constants')})": _linear(seen, *scale_of(word, seen, channels))
        for word in WORDS if word in words or channels in (1, 3)}
    ways["0 to 255"] = _linear(seen, seen.low, seen.range / 255)
    ways["each image by its own mean and SD"] = _by_image(
        lambda flat: (flat.mean(1), flat.std(1).clamp(min=_OWN)))
    ways["each image from its own lowest to its highest value"] = _by_image(
        lambda flat: (flat.amin(1), (flat.amax(1) - flat.amin(1)).clamp(min=_OWN)))
    if channels == 3:
        blue_first = _linear(seen, *scale_of("caffe", seen, channels))
        ways["caffe's constants, blue first"] = lambda images: blue_first(images).flip(1)
    return ways


def _linear(seen: Bounds, mean: float | Tensor, deviation: float | Tensor) -> Transform:
    def scaled(images: Tensor) -> Tensor:
        middle, spread = (torch.as_tensor(value, dtype=images.dtype, device=images.device).reshape(
            1, -1, *[1] * (images.ndim - 2)) for value in (mean, deviation))
        return (images.clamp(seen.low, seen.high) - middle) / spread

    return scaled


def _by_image(constants: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Transform:
    def scaled(images: Tensor) -> Tensor:
        mean, deviation = (value.reshape(-1, *[1] * (images.ndim - 1)) for value in constants(images.flatten(1)))
        return (images - mean) / deviation

    return scaled


def _way(few: Sample, classifier: Classifier) -> Callable[[], Logits]:
    return lambda: reading(classifier, few.batch.images)


def _typical_margin(logits: Logits) -> float:
    """The median margin between the two highest logits; NaN where none are finite."""
    highest = logits[decided(logits)].topk(2, 1).values
    return float((highest[:, 0] - highest[:, 1]).median()) if len(highest) else math.nan


def _divergence(classifier: Classifier, images: Tensor) -> float | None:
    """The median over the channels of KL(given || trained) of normal distributions, at the first batch norm that is
    called; None without one."""
    held: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if not held:
            held.append((module, given[0].detach()))

    norms = [part for part in classifier.module.modules()
             if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None]
    hooks = [part.register_forward_pre_hook(keep) for part in norms]
    try:
        reading(classifier, images)
    except Exception:       # the network does not take such values
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if not held:
        return None
    norm, given = held[0]
    values = given.transpose(0, 1).flatten(1).double()
    mean, variance = values.mean(1), values.var(1).clamp(min=_OWN**2)
    trained = norm.running_var.double().clamp(min=_OWN**2)      # type: ignore[operator]
    apart = norm.running_mean.double() - mean       # type: ignore[operator]
    return float(((trained / variance).log() + (variance + apart**2) / trained - 1).median() / 2)
