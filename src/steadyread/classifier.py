"""A classifier as it stands before an attack: native units in; logits, margins and predictions out."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyread.convolutions import called, channels_last, whole_float32
from steadyread.errors import InputRefused, NoGradient, UsageError
from steadyread.types import Batch, Bounds, Flags, Images, Labels, Logits, Values, image_keys

Output = Literal["logit", "logits", "probability", "probabilities"]
Normalise = Callable[[Tensor], Tensor] | tuple[float | Tensor, float | Tensor] | None
# Probabilities below this are taken for it, so that their logarithm is finite. Whole images of such
# values are refused where they come in (`Classifier.examine`).
_SMALLEST = 1e-37


@dataclass
class Passes:
    """How many images went through the module, forwards and backwards."""

    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """A module with what must be known to attack it honestly.

    Args:
        module: takes float32 images (n, c, *space) after `normalise`, returns (n, k) or, for the outputs
            `logit` and `probability`, (n,) or (n, 1).
        bounds: the valid native values, (low, high) or `Bounds(low, high, unit)`.
        output: what the module returns, stated and never guessed: `logit` (one value before a sigmoid),
            `logits` (k values before a softmax), `probability` (after a sigmoid), `probabilities`
            (after a softmax).
        normalise: what stands between native units and the module: (mean, standard deviation), or a
            differentiable function of the images, or None.
        threshold: for two classes, the probability above which class 1 is predicted. Logits are shifted by it,
            so that the prediction is always the highest one.
        name, stage: as they stand in the records; the stage is plain, or hardened.

    The module is left exactly as found: mode, buffers, gradients and `requires_grad` (see `frozen`).
    """

    module: nn.Module
    bounds: Bounds | tuple[float, float]
    output: Output
    normalise: Normalise = None
    threshold: float = 0.5
    name: str = "model"
    stage: str = "plain"
    passes: Passes = field(default_factory=Passes, repr=False)

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise UsageError(f"output must be one of {', '.join(get_args(Output))}; got '{self.output}'")
        if not 0 < self.threshold < 1:
            raise UsageError(f"threshold must lie between 0 and 1; got {self.threshold}")
        if isinstance(self.normalise, tuple) and not bool((torch.as_tensor(self.normalise[1]) > 0).all()):
            raise UsageError(f"normalise takes (mean, deviation) with deviations above 0; got {self.normalise[1]}")
        if not isinstance(self.bounds, Bounds):
            object.__setattr__(self, "bounds", Bounds(*self.bounds))

    @property
    def valid(self) -> Bounds:
        """The bounds, as `Bounds`."""
        assert isinstance(self.bounds, Bounds)
        return self.bounds

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are (the CPU for a module without any)."""
        parameter = next(self.module.parameters(), None)
        return parameter.device if parameter is not None else torch.device("cpu")

    def logits(self, images: Images) -> Logits:
        """Logits (n, k), k >= 2, of images in native units. Counts one forward pass an image.

        Raises:
            InputRefused: the module's output does not fit the stated head.
        """
        self.passes.forwards += len(images)
        return self._as_logits(self.raw(images))

    def probabilities(self, logits: Logits) -> Float[Tensor, "n k"]:
        """The model's own probabilities, from logits of this classifier: the threshold's shift undone."""
        if logits.shape[1] != 2:
            return logits.softmax(1)
        return (logits + logits.new_tensor([0.0, self._shift])).softmax(1)

    @property
    def _shift(self) -> float:
        return math.log(self.threshold / (1 - self.threshold))

    def margins(self, images: Images, reference: Labels) -> Values:
        """The reference's logit minus the best other one, (n,): below 0 the image is flipped."""
        return margin_of(self.logits(images), reference)

    def gradient(self, value: Float[Tensor, ""], at: Tensor, keep_graph: bool = False) -> Tensor:
        """d value / d at, without touching parameters. Counts one backward pass an image.

        A pixel whose derivative is not finite gets 0: one such pixel must not blind the search in all others.
        """
        if not value.requires_grad:
            raise NoGradient("no gradient reaches the image: the model works under torch.no_grad, detaches its "
                             "input or returns a constant. Let the gradient through; attacks need it")
        self.passes.backwards += len(at)
        found: Tensor = torch.autograd.grad(value, at, allow_unused=True, retain_graph=keep_graph)[0]
        return torch.zeros_like(at) if found is None else torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    @contextmanager
    def frozen(self) -> Iterator["Classifier"]:
        """Evaluation mode and parameters that need no gradient, both put back afterwards as they were.

        Buffers are restored too, for modules that write to them even when evaluating. Gradients of the
        search then cost only what the images' own chain costs, and convolutions lie in memory as they are fastest.
        """
        modes = [(part, part.training) for part in self.module.modules()]
        wanted = [(parameter, parameter.requires_grad) for parameter in self.module.parameters()]
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.module.buffers()]
        try:
            self.module.eval()
            for parameter, _ in wanted:
                parameter.requires_grad_(False)
            with torch.enable_grad(), whole_float32(self.device), channels_last(self.module):
                yield self
        finally:
            for part, training in modes:
                part.training = training
            for parameter, need in wanted:
                parameter.requires_grad_(need)
            with torch.no_grad():
                for buffer, value in buffers:
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)

    def batch(self, images: Images | Batch, keys: tuple[str, ...] | None = None) -> Batch:
        """Images as a batch on the module's device, refused unless finite and inside the bounds."""
        if not isinstance(images, Batch):
            images = Batch(images, tuple(keys) if keys is not None else image_keys(images), self.valid)
        found, named = len(images.images), len(images.keys)
        if named != found:
            raise UsageError(f"{found} images came with {named} keys; give one key an image")
        placed = images.images.detach().to(self.device, torch.float32)
        self._refuse_invalid(placed, images.keys)
        return replace(images, images=placed, bounds=self.valid)

    def examine(self, images: Images) -> Logits:
        """Logits of clean images, with the head checked against what it was stated to be.

        Raises:
            InputRefused: probabilities so saturated that their logarithm is lost, or logits stated as
                probabilities.
        """
        with self.frozen(), torch.no_grad():
            self.passes.forwards += len(images)
            raw = self.raw(images)
            logits = self._as_logits(raw)
        lost = raw == 0 if self.output == "probabilities" else (raw <= 0) | (raw >= 1)
        if self.output.startswith("probabilit") and bool(lost.any()):
            raise InputRefused(
                f"{int(lost.reshape(len(raw), -1).any(1).sum())} of {len(raw)} images have probabilities of "
                f"exactly 0 or 1: too saturated to attack. Give the layer before the "
                f"{'softmax' if self.output == 'probabilities' else 'sigmoid'} and state its head as "
                f"'{'logits' if self.output == 'probabilities' else 'logit'}'")
        return logits

    def raw(self, images: Images) -> Tensor:
        """What the module itself returns for images in native units."""
        given = self.normalised(images)
        return called(self.module, lambda: self.module(given))

    def normalised(self, images: Tensor) -> Tensor:
        """What the module is given for images in native units."""
        if self.normalise is None:
            return images
        if callable(self.normalise):
            return self.normalise(images)
        mean, deviation = self.normalise
        return (images - _a_channel(mean, images)) / _a_channel(deviation, images)

    def _as_logits(self, raw: object) -> Logits:
        if not isinstance(raw, Tensor):
            raise InputRefused(f"the model must return one tensor; it returned {type(raw).__name__}")
        single = self.output in ("logit", "probability")
        if single and raw.ndim == 2 and raw.shape[1] == 1:
            raw = raw[:, 0]
        if raw.ndim != (1 if single else 2) or (not single and raw.shape[1] < 2):
            expected = "(n,) or (n, 1)" if single else "(n, classes), at least 2 classes"
            raise InputRefused(f"the output '{self.output}' means a shape of {expected}; "
                               f"the model returned {tuple(raw.shape)}")
        if self.output.startswith("probabilit"):
            self._refuse_non_probabilities(raw)
            raw = (raw.clamp(min=_SMALLEST).log() if not single else
                   raw.clamp(min=_SMALLEST).log() - (1 - raw).clamp(min=_SMALLEST).log())
        if single:
            return torch.stack([torch.zeros_like(raw), raw - self._shift], dim=1)
        if self._shift == 0:
            return raw
        if raw.shape[1] != 2:
            raise UsageError(f"a threshold of {self.threshold} needs two classes; the model has {raw.shape[1]}")
        return raw - raw.new_tensor([0.0, self._shift])

    def _refuse_non_probabilities(self, raw: Tensor) -> None:
        values = raw.detach()
        finite = values[torch.isfinite(values)]
        if bool(((finite < -1e-6) | (finite > 1 + 1e-6)).any()):
            raise InputRefused(f"the output is stated as '{self.output}', but the model returned values from "
                               f"{float(finite.min()):.3g} to {float(finite.max()):.3g}: state it as "
                               f"'{'logit' if self.output == 'probability' else 'logits'}'")
        if self.output == "probabilities":
            sums = values.sum(1)
            off = torch.isfinite(sums) & ((sums - 1).abs() > 1e-3)
            if bool(off.any()):
                raise InputRefused("the output is stated as 'probabilities', but they sum to "
                                   f"{float(sums[off][0]):.4g} instead of 1")

    def _refuse_invalid(self, images: Tensor, keys: tuple[str, ...]) -> None:
        if images.ndim < 3 or not len(images):
            raise InputRefused(f"images must have the shape (n, channels, *space) with n >= 1; "
                               f"got {tuple(images.shape)}")
        low, high = torch.aminmax(images.detach().reshape(len(images), -1), dim=1)   # NaN where any pixel is
        bad = ~torch.isfinite(low) | ~torch.isfinite(high)
        if bool(bad.any()):
            raise InputRefused(f"image '{keys[int(bad.nonzero()[0])]}' has NaN or infinite pixels")
        # a float32 image of a window may exceed it by its own rounding
        slack = 1e-6 * max(abs(self.valid.low), abs(self.valid.high), self.valid.range)
        bad = (low < self.valid.low - slack) | (high > self.valid.high + slack)
        if bool(bad.any()):
            at = int(bad.nonzero()[0])
            raise InputRefused(f"image '{keys[at]}' has pixels from {float(low[at]):.6g} to {float(high[at]):.6g}, "
                               f"outside the stated bounds {self.valid.low:g} to {self.valid.high:g}. Bounds are "
                               "of the pixels as stored (0,255 for 8-bit pictures); what the network wants instead "
                               "is for normalise, such as 'unit'. Window the images or state other bounds")


def margin_of(logits: Logits, reference: Labels) -> Values:
    """Reference logit minus the best other one, (n,): below 0 the image is flipped, NaN where it is undecided.

    A class at -inf is ruled out (by a mask, or with a probability of 0), so a reference there is flipped, by -inf.
    What is undecided says `decided`.

    Raises:
        InputRefused: a reference is not one of the model's classes.
    """
    if logits.device.type != "cpu":   # where an index outside is no error that could be caught
        _refuse_outside(logits, reference)
    try:
        own = logits.gather(1, reference[:, None])[:, 0]
    except RuntimeError:
        _refuse_outside(logits, reference)
        raise
    margin = own - logits.scatter(1, reference[:, None], -math.inf).amax(1)
    return torch.where(decided(logits), margin, torch.nan)


def _refuse_outside(logits: Logits, reference: Labels) -> None:
    outside = (reference < 0) | (reference >= logits.shape[1])
    if bool(outside.any()):
        raise InputRefused(f"the reference names class {int(reference[outside][0])}; the model has the classes 0 "
                           f"to {logits.shape[1] - 1}")


def prediction_of(logits: Logits) -> Labels:
    """The predicted class (n,); -1 ("undecided") where there is none (see `decided`)."""
    return torch.where(decided(logits), logits.argmax(1), -1)


def decided(logits: Logits) -> Flags:
    """Where the two highest logits are finite, (n,): no NaN or +inf, and two classes not ruled out (-inf)."""
    return torch.isfinite(logits.topk(2, 1).values).all(1)   # NaN ranks above +inf


def _a_channel(value: float | Tensor, images: Tensor) -> float | Tensor:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    return value.to(images).reshape(1, -1, *[1] * (images.ndim - 2))
