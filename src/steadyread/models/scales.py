"""What stands between native units and a network: a mean and a deviation, given as numbers or by a word."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from steadyread.errors import UsageError
from steadyread.units import Bounds

Scale = tuple[float, float] | tuple[Tensor, Tensor]
Word = Literal["none", "unit", "symmetric", "imagenet", "caffe"]
WORDS: tuple[Word, ...] = get_args(Word)

# Of red, green and blue on 0 to 1: the transforms of torchvision's VGG16_Weights.IMAGENET1K_V1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of red, green and blue on 0 to 255, nothing divided: preprocess_input of Keras in its mode "caffe".
_CAFFE = (123.68, 116.779, 103.939)
# Shares of the bounds that pixels fill: below them, the bounds are most likely those of another depth or scale.
_NARROW, _PART = 0.1, 0.003
_FLAT = 0.05   # between the lowest and the highest value that a network is given: less is most likely scaled twice
_FEW = 8       # images that say something of all


def imagenet(bounds: Bounds, channels: int) -> Scale:
    """Mean and deviation, in native units, that give torchvision's weights the scale they were trained on.

    `bounds` stand for the 0 to 1 of a photograph. Three channels are red, green and blue and have a value each,
    (3,); one grey channel has the mean of the three.

    Raises:
        UsageError: another number of channels.
    """
    return _native(_MEAN, _DEVIATION, bounds, channels)


def caffe(bounds: Bounds, channels: int) -> Scale:
    """Mean and deviation, in native units, that give Keras' weights the scale they were trained on.

    `bounds` stand for the 0 to 255 of a photograph, of which the mean is taken off and nothing is divided. The
    weights VGG16_Weights.IMAGENET1K_FEATURES of torchvision want this too. Channels as for `imagenet`, red first:
    what is turned for Keras' weights, which saw blue first, is the weights (see `load_pretrained`).

    Raises:
        UsageError: a number of channels other than 3 and 1.
    """
    return _native([mean / 255 for mean in _CAFFE], [1 / 255] * 3, bounds, channels)


def scale_of(word: str, bounds: Bounds, channels: int) -> Scale:
    """What a word means in these bounds: `none`, `unit` (0 to 1), `symmetric` (-1 to 1), `imagenet`, `caffe`.

    Raises:
        UsageError: another word, or channels that it does not fit.
    """
    if word == "imagenet":
        return imagenet(bounds, channels)
    if word == "caffe":
        return caffe(bounds, channels)
    scales = {"none": (0.0, 1.0), "unit": (bounds.low, bounds.range),
              "symmetric": ((bounds.low + bounds.high) / 2, bounds.range / 2)}
    if word not in scales:
        raise UsageError(f"normalise is one of {', '.join(WORDS)}, or (mean, deviation) in native units; "
                         f"got '{word}'")
    return scales[word]


def stated_scale(stated: object) -> Scale:
    """(mean, deviation) given as two numbers, or as a list, tuple, array or tensor of one value per channel each.

    All means and then all deviations in one row are taken too, as in a study file.

    Raises:
        UsageError: not numbers, not as many deviations as means, or deviations that are not above 0.
    """
    expected = "normalise takes (mean, deviation) in native units, each a number or one value per channel"
    try:
        pair = list(stated)  # type: ignore[call-overload]   # what cannot be iterated over is refused
        half = len(pair) // 2
        if len(pair) > 2 and len(pair) % 2 == 0:
            pair = [pair[:half], pair[half:]]
        mean, deviation = (_channels(values) for values in pair)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{expected}; got {stated!r}") from None
    if mean.numel() != deviation.numel() and min(mean.numel(), deviation.numel()) != 1:
        raise UsageError(f"{expected}; got {mean.numel()} means and {deviation.numel()} deviations")
    if not bool(torch.isfinite(mean).all()) or not bool(((deviation > 0) & torch.isfinite(deviation)).all()):
        raise UsageError(f"{expected}, deviations above 0; got the means {mean.tolist()} and the deviations "
                         f"{deviation.tolist()}")
    if mean.ndim == deviation.ndim == 0:
        return float(mean), float(deviation)
    return mean.float(), deviation.float()


@dataclass
class Pixels:
    """Between which values the images lay that came so far, and how far apart their values are as `given` to the
    network by a function: whether bounds and constants can be theirs."""

    keys: set[str] = field(default_factory=set)   # of the first few: the same again says nothing more
    low: float = math.inf
    high: float = -math.inf
    given: float = 0.0

    def look(self, keys: Sequence[str], low: Tensor, high: Tensor) -> None:
        """Takes in the extreme values of some images, (n,) each."""
        if len(self.keys) < _FEW:
            self.keys.update(keys)
        self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))

    @property
    def flat(self) -> bool:
        """Whether what a function gave the network lay within less than it can well use."""
        return self.given < _FLAT

    def look_given(self, values: Tensor) -> None:
        """Takes in what a function made of some images."""
        self.given = max(self.given, float(values.max() - values.min()))

    def doubt(self, bounds: Bounds) -> str:
        """See `unfilled`."""
        return unfilled(self.low, self.high, bounds) if len(self.keys) >= _FEW else ""

    def doubt_scale(self, bounds: Bounds, normalise: object) -> str:
        """Why `normalise` is not well that of these pixels; "" where it may be."""
        spread = self.high - self.low
        if len(self.keys) < _FEW or not spread > 0:
            return ""
        if callable(normalise) and self.flat and 0 < self.given < spread / 2:
            return (f"the function normalise leaves {self.given:.2g} between the lowest and the highest value of "
                    f"pixels from {self.low:g} to {self.high:g}: are they divided twice?")
        return _of_other_images(self.low, self.high, bounds, normalise) if isinstance(normalise, tuple) else ""


def unfilled(low: float, high: float, bounds: Bounds) -> str:
    """Why pixels that lie between `low` and `high` are not well of these bounds; "" where they may be.

    Bounds below 0 are mostly of a scale that images take a part of (HU): there only pixels of another scale are.
    """
    share = (high - low) / bounds.range
    if not 0 < share < (_PART if bounds.low < 0 else _NARROW):
        return ""
    stated = f"the stated range {bounds.low:g} to {bounds.high:g} {bounds.unit}".rstrip()
    return (f"the pixels lie between {low:g} and {high:g}, {share:.2g} of {stated}: are the bounds those of these "
            "images? Sizes are shares of that range")


def _of_other_images(low: float, high: float, bounds: Bounds, scale: Scale) -> str:
    mean, deviation = (torch.as_tensor(values, dtype=torch.float64) for values in scale)
    told = f"the mean {_numbers(mean)} and the deviation {_numbers(deviation)} of normalise"
    advice = "state them in the pixels' own values, or by a word such as imagenet"
    small = max(1.0, _PART * (high - low)) if low >= 0 else 1.0
    if 0 < float(mean.abs().max()) <= small and float(deviation.max()) <= small and high - low > small / _FLAT:
        return (f"{told} look like those of images of a smaller range, and the pixels lie between {low:g} and "
                f"{high:g}: {advice}")
    outside = (mean != 0) & ((mean < bounds.low - bounds.range) | (mean > bounds.high + bounds.range))
    if bool(outside.all()) or float(deviation.min()) > max(2.0, bounds.range / _FLAT):
        return (f"{told} look like those of images of a larger range, and the bounds are {bounds.low:g} to "
                f"{bounds.high:g}: {advice}")
    return ""


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in values.reshape(-1).tolist())


def _channels(values: object) -> Tensor:
    """One number, (), or one per channel, (c,); a single value in a list is one number."""
    if isinstance(values, list | tuple):
        values = [float(value) for value in values]
    if not isinstance(values, Tensor):
        values = torch.from_numpy(np.array(values, np.float64))
    flat = values.detach().cpu().double().reshape(-1)   # (c, 1, 1) too
    return flat[0] if len(flat) == 1 else flat


def _native(mean: Sequence[float], deviation: Sequence[float], bounds: Bounds, channels: int) -> Scale:
    means = [bounds.low + share * bounds.range for share in mean]
    deviations = [share * bounds.range for share in deviation]
    if channels == 3:
        return torch.tensor(means), torch.tensor(deviations)
    if channels == 1:
        return sum(means) / 3, sum(deviations) / 3
    raise UsageError("normalise = imagenet or caffe is for images of one channel or three; these have "
                     f"{channels}: state all means and then all deviations")
