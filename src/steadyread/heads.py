"""What a network returns, as one row of logits per image; and whether it can be the head that was stated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from steadyread.errors import HeadRefused, InputRefused, UsageError
from steadyread.types import Logits

Output = Literal["logit", "logits", "probability", "probabilities"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
SINGLE: tuple[Output, ...] = ("logit", "probability")      # one value, of class 1 or of a finding
# Probabilities below this are taken for it, so that their logarithm is finite. Whole images of such
# values are refused where they come in (`Classifier.examine`).
_SMALLEST = 1e-37
_ONE = 5e-3              # by which shares may miss a sum of 1, of half precision too
_FEW, _SPREAD = 8, 0.25  # images, and how far apart their values, from which "all in 0 to 1" is a doubt
_ENDINGS = {"SigmoidBackward0": "sigmoid", "SoftmaxBackward0": "softmax"}
# Steps that leave values as they are, as autograd calls them.
_SAME_VALUES = {f"{step}Backward" for step in (
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Transpose", "T", "Permute",
    "Clone", "ToCopy", "Alias", "Expand", "AsStrided")}
_NEAR, _FAR = 0.02, 1.0  # logits on one side of 0: a quarter so near to it, one so far


def tensor_of(returned: object, output: Output) -> Tensor:
    """The one tensor that a network returned: itself, an array, or the only one in a tuple, mapping or dataclass.

    Of a mapping or dataclass with several, the one that has the name of the stated output. Whole numbers, bool and
    half floats become float32; float64 stays.

    Raises:
        InputRefused: none or several, or no real numbers.
    """
    parts = _parts(returned)
    if output in parts and isinstance(parts[output], Tensor | np.ndarray):
        parts = {output: parts[output]}
    tensors = [part for part in parts.values() if isinstance(part, Tensor | np.ndarray)]
    if not tensors and isinstance(returned, list | tuple):   # plain numbers
        tensors = [_numbers(returned)]
    if len(tensors) != 1:
        shapes = ", ".join(str(tuple(part.shape)) for part in tensors[:4])
        several = f"{len(tensors)} (of the shapes {shapes})" if tensors else "none"
        raise InputRefused(f"the model must return one tensor; it returned a {type(returned).__name__} with "
                           f"{several}. Wrap the network so that it returns one; in Python a function "
                           "will do, such as module=lambda images: net(images)[0]")
    raw = tensors[0] if isinstance(tensors[0], Tensor) else torch.from_numpy(np.array(tensors[0]))
    if raw.is_complex():
        raise InputRefused("the model must return real numbers; it returned complex ones")
    if raw.layout != torch.strided:
        raw = raw.to_dense()
    return raw if raw.dtype in (torch.float32, torch.float64) else raw.to(torch.float32)


def rows_of(raw: Tensor, images: int, output: Output) -> Tensor:
    """The values of each image, (n,) for a head of one value and (n, k) else, without axes of length 1.

    Raises:
        InputRefused: another shape.
    """
    single = output in SINGLE
    if images == 1 and (raw.ndim == 0 or (raw.ndim == 1 and not single and len(raw) > 1)):
        raw = raw[None]   # a network that squeezes takes the axis of a single image too
    if not raw.ndim or len(raw) != images:
        turned = ": turn it, .T" if raw.ndim == 2 and raw.shape[1] == images else ""
        raise InputRefused(f"the model must return one row per image; it returned {tuple(raw.shape)} for {images} "
                           f"image{'s' if images > 1 else ''}{turned}")
    inner = [length for length in raw.shape[1:] if length != 1]
    if len(inner) != (0 if single else 1):
        expected = "(n,) or (n, 1)" if single else "(n, classes), at least 2 classes"
        other = "" if inner else ": a network of one value is 'logit' or 'probability'"
        if single and len(inner) == 1:
            other = ": if each value is a finding with a sigmoid of its own, name them all (model.findings)"
        raise HeadRefused(f"the output '{output}' means a shape of {expected}; the model returned "
                           f"{tuple(raw.shape)}{other}")
    return raw.reshape(images, *inner)


def logits_of(raw: Tensor, output: Output, threshold: float) -> Logits:
    """Logits (n, k) of float32, k >= 2, from `rows_of`, shifted so that the prediction is always the highest.

    Raises:
        InputRefused: stated as probabilities, and they are none.
        UsageError: a threshold for more than two classes.
    """
    single, shift = output in SINGLE, shift_of(threshold)
    if output in ("probability", "probabilities"):
        _refuse_non_probabilities(raw, output)
        raw = (raw.clamp(min=_SMALLEST).log() if not single else
               raw.clamp(min=_SMALLEST).log() - (1 - raw).clamp(min=_SMALLEST).log())
    raw = raw.to(torch.float32)
    if single:
        return torch.stack([torch.zeros_like(raw), raw - shift], dim=1)
    if shift == 0:
        return raw
    if raw.shape[1] != 2:
        raise UsageError(f"a threshold of {threshold} needs two classes; the model has {raw.shape[1]}")
    return raw - raw.new_tensor([0.0, shift])


def ending_of(raw: Tensor) -> str:
    """By the last step of the network that made it: "sigmoid", "softmax", or "" where it is neither or not known."""
    step: Any = raw.grad_fn
    while step is not None and step.name().removesuffix("0") in _SAME_VALUES and step.next_functions:
        step = step.next_functions[0][0]
    return "" if step is None else _ENDINGS.get(step.name(), "")


def shift_of(threshold: float) -> float:
    """The logit of a threshold."""
    return math.log(threshold / (1 - threshold))


def refuse_saturated(raw: Tensor, output: Output) -> None:
    """Nothing, unless probabilities are exactly 0 or 1.

    Raises:
        InputRefused: so saturated that their logarithm is lost.
    """
    if lost := _saturated(raw, output):
        raise HeadRefused(lost)


def _saturated(raw: Tensor, output: Output) -> str:
    """What to say of probabilities that are exactly 0 or 1; "" where none is."""
    lost = raw == 0 if output == "probabilities" else (raw <= 0) | (raw >= 1)
    if not output.startswith("probabilit") or not bool(lost.any()):
        return ""
    softmax = output == "probabilities"
    return (f"{int(lost.reshape(len(raw), -1).any(1).sum())} of {len(raw)} images have probabilities of exactly 0 "
            f"or 1: too saturated to attack. Give the layer before the {'softmax' if softmax else 'sigmoid'} and "
            f"state its head as '{'logits' if softmax else 'logit'}'")


@dataclass
class Seen:
    """What a network has returned so far, looked at as long as it could be something else than was stated.

    A logit is moved over 0 by a flip, so after a search only a probability still lies in 0 to 1, and only its
    logarithm on one side of 0: the more of a search is seen, the surer the doubt. It costs nothing once settled.
    """

    images: int = 0
    low: Tensor | None = None     # the lowest value of each column, and the highest
    high: Tensor | None = None
    shares: bool = True       # every row sums to 1
    near: int = 0             # values within `_NEAR` of 0
    ends: str = ""            # the last step, where it makes probabilities
    lost: str = ""            # of the first images, which no search has driven anywhere
    settled: bool = False     # nothing more is to be learned

    def look(self, raw: Tensor, output: Output) -> None:
        """Takes in what the network returned for some images (see `rows_of`)."""
        self.ends = self.ends or ending_of(raw)
        if self.settled or not len(raw):
            return
        values = raw.detach().reshape(len(raw), -1)
        if output not in ("logit", "logits"):
            self.lost, self.settled = _saturated(values, output), True
            return
        low, high = torch.aminmax(values, dim=0)
        low = low if self.low is None else torch.minimum(low, self.low)
        high = high if self.high is None else torch.maximum(high, self.high)
        one_side = output == "logit" and bool(((low >= 0) | (high <= 0)).all())   # not of NaN
        if not one_side and not bool(((low >= 0) & (high <= 1)).all()):
            self.settled = True
        elif not bool((values == values.round()).all()):   # decisions of 0 and 1 speak neither for nor against
            self.images, self.low, self.high = self.images + len(raw), low, high
            self.near += int((values.abs() < _NEAR).sum())
            off = (values.sum(1) - 1).abs().amax()
            self.shares = self.shares and bool(off < min(_ONE * values.shape[1], 0.05))   # rounded, it may be

    def doubt(self, output: Output) -> str:
        """Why the head cannot well be what it was stated to be; "" where nothing speaks against it."""
        if self.ends and output in ("logit", "logits"):
            fits = {("logit", "sigmoid"): "state it as 'probability', or ",
                    ("logits", "softmax"): "state it as 'probabilities', or "}.get((output, self.ends), "")
            many = "s" if output == "logits" and self.ends == "sigmoid" else ""
            return (f"the output is stated as '{output}', but the network's last step is a {self.ends}: {fits}give the "
                    f"layer before the {self.ends}{many}. Else flips are missed, and reads look steadier than they are")
        if self.settled or self.low is None or self.high is None:
            return self.lost
        lowest, highest, several = float(self.low.min()), float(self.high.max()), output == "logits"
        spread = float((self.high - self.low).max())
        if several and self.shares and spread > 0:   # a network that is constant may well return 1 and 0
            return ("the output is stated as 'logits', but every row lies in 0 to 1 and sums to 1, as after a "
                    "softmax: state it as 'probabilities', or give the layer before the softmax")
        if self.images < _FEW * (1 + several):
            return ""
        seen = f"({lowest:.3g} to {highest:.3g})"
        missed = "Else flips are missed, and reads look steadier than they are"
        if lowest < 0 or highest > 1:
            if 4 * self.near < self.images or max(-lowest, highest) < _FAR:
                return ""
            side, after, instead = (("above", "a log-sigmoid or log-softmax", "exp(output)") if lowest < 0 else
                                    ("below", "a ReLU or -log(p)", "exp(-output)"))
            return (f"the output is stated as '{output}', but none of {self.images} reads lies {side} 0 and many "
                    f"lie near it {seen}, as after {after}: give the layer before that, or {instead} as "
                    f"'probability'. {missed}")
        if spread < _SPREAD * (1 + several):
            return ""
        instead = ("give the layer before the sigmoids" if several else
                   "state it as 'probability', or give the layer before the sigmoid")
        return (f"the output is stated as '{output}', but every value of {self.images} reads lies in 0 to 1 "
                f"{seen}, as after a sigmoid: {instead}. {missed}")


def _parts(returned: object) -> Mapping[object, object]:
    while isinstance(returned, list | tuple) and len(returned) == 1 and isinstance(returned[0], tuple | Mapping):
        returned = returned[0]   # what wraps and unwraps networks leaves them nested
    if isinstance(returned, Mapping):
        return returned
    if is_dataclass(returned) and not isinstance(returned, type):
        return {field.name: getattr(returned, field.name) for field in fields(returned)}
    if hasattr(returned, "_asdict"):   # a named tuple
        return dict(returned._asdict())
    if isinstance(returned, list | tuple):
        return dict(enumerate(returned))
    return {0: returned}


def _numbers(returned: object) -> np.ndarray:
    try:
        numbers = np.asarray(returned)
    except (ValueError, RuntimeError):   # of tensors within lists, say
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "biuf":
        raise InputRefused(f"the model must return one tensor; it returned a {type(returned).__name__} without any")
    return numbers


def _refuse_non_probabilities(raw: Tensor, output: Output) -> None:
    values = raw.detach()
    finite = values[torch.isfinite(values)]
    if bool(((finite < -1e-6) | (finite > 1 + 1e-6)).any()):
        logarithms = "" if float(finite.max()) > 0 else ", or where it is a logarithm give its exp()"
        raise HeadRefused(f"the output is stated as '{output}', but the model returned values from "
                           f"{float(finite.min()):.3g} to {float(finite.max()):.3g}: state it as "
                           f"'{'logit' if output == 'probability' else 'logits'}'{logarithms}")
    if output == "probabilities":
        sums = values.sum(1)
        off = torch.isfinite(sums) & ((sums - 1).abs() > _ONE)
        if bool(off.any()):
            raise HeadRefused("the output is stated as 'probabilities', but they sum to "
                               f"{float(sums[off][0]):.4g} instead of 1")
