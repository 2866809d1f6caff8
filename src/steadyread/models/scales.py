"""What stands between native units and a network: a mean and a deviation, given as numbers or by a word."""

from collections.abc import Sequence
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
