"""A classifier as it stands before an attack: native units in; logits, margins and predictions out."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyread.convolutions import called, channels_last, whole_float32
from steadyread.errors import Doubt, InputRefused, NoGradient, UsageError
from steadyread.findings import Finding
from steadyread.heads import OUTPUTS, SINGLE, Output, Seen, logits_of, refuse_saturated, rows_of, shift_of, tensor_of
from steadyread.locks import alone
from steadyread.models.functions import as_module
from steadyread.models.scales import Pixels, Scale, scale_of, stated_scale
from steadyread.models.views import OneFinding
from steadyread.registry import nearest
from steadyread.types import Batch, Bounds, Flags, Images, Labels, Logits, Values, as_images, image_keys

Normalise = Callable[[Tensor], Tensor] | Scale | str | None
_ROWS_FIRST: WeakSet[nn.Module] = WeakSet()   # modules known to return one row per image, not one column


@dataclass
class Passes:
    """How many images went through the module, forwards and backwards."""

    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """A module with what must be known to attack it honestly.

    Args:
        module: a torch module, or any function of the images, such as `lambda images: net(images)["logits"]`. It
            takes images (n, c, *space) after `normalise`, in the type of its own parameters (float32 where it has
            none), and returns (n, k) or, for the outputs `logit` and `probability`, (n,) or (n, 1): a tensor or an
            array of any type, alone or as the only one of a tuple, dict or dataclass. In half precision the image
            itself is rounded (float16 to 11 bits, bfloat16 to 8), so flips smaller than that are not resolved.
        bounds: the valid native values, (low, high) or `Bounds(low, high, unit)`.
        output: what the module returns, stated and never guessed: `logit` (one value before a sigmoid),
            `logits` (k values before a softmax), `probability` (after a sigmoid), `probabilities`
            (after a softmax). A `Doubt` warns where that can hardly be so, as for bounds and `normalise`.
        normalise: what stands between native units and the module: (mean, standard deviation), each a number or one
            value per channel in a list, tuple, array or tensor; a word of the command line (`unit`, `symmetric`,
            `imagenet`, `caffe`, `none`); a differentiable function of the images; or None.
        threshold: for two classes, the probability above which class 1 is predicted. Logits are shifted by it,
            so that the prediction is always the highest one.
        name, stage: as they stand in the records; the stage is plain, or hardened.
        findings: of a network that returns several findings, each a `logit` or a `probability` of its own: their names
            in the order of its values, or each with its own threshold, `{"Effusion": 0.3, "Mass": 0.5}`. Such a
            network is assessed finding by finding (see `of`).

    The module is left exactly as found: mode, buffers, gradients and `requires_grad` (see `frozen`). Threads may
    share it, and work with it in turn.
    """

    module: nn.Module
    bounds: Bounds | tuple[float, float]
    output: Output
    normalise: Normalise = None
    threshold: float = 0.5
    name: str = "model"
    stage: str = "plain"
    findings: Sequence[str] | Mapping[str, float] = ()
    passes: Passes = field(default_factory=Passes, repr=False)
    seen: Seen = field(init=False, default_factory=Seen, repr=False)
    pixels: Pixels = field(init=False, default_factory=Pixels, repr=False)
    told: set[str] = field(init=False, default_factory=set, repr=False)

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise UsageError(f"output must be one of {', '.join(OUTPUTS)}; got '{self.output}'")
        for threshold in (self.threshold, *self.thresholds.values()):
            if not 0 < threshold < 1:
                raise UsageError(f"threshold must lie between 0 and 1; got {threshold}")
        if self.findings and self.output not in SINGLE:
            raise UsageError(f"findings are of the output {' or '.join(SINGLE)}, a value of each; got '{self.output}'")
        if not isinstance(self.bounds, Bounds):
            object.__setattr__(self, "bounds", Bounds(*self.bounds))
        object.__setattr__(self, "module", as_module(self.module))
        object.__setattr__(self, "normalise", self._stated_normalise())

    def _stated_normalise(self) -> Normalise:
        """As numbers, (mean, deviation); a word whose numbers depend on the channels stays a word."""
        stated: Any = self.normalise
        if stated is None or isinstance(stated, str):
            known = None if stated in (None, "none") else scale_of(stated, self.valid, channels=1)
            return stated if stated in ("imagenet", "caffe") else known
        return stated if callable(stated) else stated_scale(stated)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The findings with the threshold of each; none of a network of classes."""
        return self.findings if isinstance(self.findings, Mapping) else dict.fromkeys(self.findings, self.threshold)

    def of(self, finding: str) -> "Classifier":
        """One of the network's findings, as a classifier of two classes (without it, with it).

        Raises:
            UsageError: it has no such finding.
        """
        known = list(self.thresholds)
        if finding not in known:
            raise UsageError(f"no finding '{finding}'{nearest(finding, known)}")
        return replace(self, module=OneFinding(self.module, known.index(finding), tuple(known)), findings=(),
                       threshold=self.thresholds[finding], name=f"{self.name} for {finding}", passes=Passes())

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

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the module computes: that of its first parameter or buffer of floats, else float32."""
        for values in (*self.module.parameters(), *self.module.buffers()):
            if values.is_floating_point():
                return values.dtype
        return torch.float32

    def logits(self, images: Images) -> Logits:
        """Logits (n, k) of float32, k >= 2, of images in native units. Counts one forward pass an image.

        Raises:
            InputRefused: the module's output does not fit the stated head.
        """
        self.passes.forwards += len(images)
        return logits_of(self.raw(images), self.output, self.threshold)

    def probabilities(self, logits: Logits) -> Float[Tensor, "n k"]:
        """The model's own probabilities, from logits of this classifier: the threshold's shift undone."""
        if logits.ndim != 2:
            raise UsageError("probabilities() takes what logits(images) returns, (n, classes); got the shape "
                             f"{tuple(logits.shape)}")
        if logits.shape[1] != 2:
            return logits.softmax(1)
        return (logits + logits.new_tensor([0.0, shift_of(self.threshold)])).softmax(1)

    def margins(self, images: Images, reference: Labels) -> Values:
        """The reference's logit minus the best other one, (n,): below 0 the image is flipped."""
        return margin_of(self.logits(images), reference)

    def gradient(self, value: Float[Tensor, ""], at: Tensor, keep_graph: bool = False) -> Tensor:
        """d value / d at, without touching parameters. Counts one backward pass an image.

        A pixel whose derivative is not finite gets 0: one such pixel must not blind the search in all others.

        Raises:
            NoGradient: none reaches the image.
        """
        return torch.nan_to_num(self.derivative(value, at, keep_graph), nan=0.0, posinf=0.0, neginf=0.0)

    def derivative(self, value: Float[Tensor, ""], at: Tensor, keep_graph: bool = False) -> Tensor:
        """As `gradient`, with NaN and infinite pixels as they come."""
        if not value.requires_grad:
            raise NoGradient("no gradient reaches the image: the model works under torch.no_grad, detaches its "
                             "input or returns a constant. Let it through, or take what needs none: "
                             "smallest_flip, or steadyread.attacks.square.Square(epsilon)")
        self.passes.backwards += len(at)
        found: Tensor = torch.autograd.grad(value, at, allow_unused=True, retain_graph=keep_graph)[0]
        return torch.zeros_like(at) if found is None else found

    @contextmanager
    def frozen(self) -> Iterator["Classifier"]:
        """Evaluation mode and parameters that need no gradient, both put back afterwards as they were.

        Buffers are restored too, for modules that write to them even when evaluating. Gradients of the
        search then cost only what the images' own chain costs, and convolutions lie in memory as they are fastest.
        Another thread that comes to the same module waits.
        """
        with alone(self.module), _put_back(self.module):
            self.module.eval()
            for parameter in self.module.parameters():
                parameter.requires_grad_(False)
            with torch.enable_grad(), whole_float32(self.device), channels_last(self.module):
                yield self

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """What cannot well be as it was stated, by all that was seen so far: bounds, `normalise`, the head.

        Few images say nothing of bounds and constants. The head is surest after an attack: a logit is moved over 0
        by a flip, and a probability never is.
        """
        doubted = (Finding("bounds", "warning", self.pixels.doubt(self.valid)),
                   Finding("normalise", "warning", self.pixels.doubt_scale(self.valid, self.normalise)),
                   Finding("head", "error", self.seen.doubt(self.output)))
        return tuple(found for found in doubted if found.message)

    def tell_doubts(self) -> None:
        """Warns of `doubts`, of each once: of images before an attack, of the head at its end too."""
        for found in self.doubts:
            if found.check not in self.told:
                self.told.add(found.check)
                warnings.warn(found.message, Doubt, stacklevel=3)

    def batch(self, images: Images | Batch, keys: Sequence[str] | None = None) -> Batch:
        """Images as a batch on the module's device, refused unless finite and inside the bounds.

        They may come as a tensor, an array, or a list of either, of any kind of number (see `as_images`).
        """
        unnamed = keys is None and not isinstance(images, Batch)
        if not isinstance(images, Batch):
            pixels = as_images(images)
            images = Batch(pixels, _as_keys(keys) if keys is not None else image_keys(pixels), self.valid)
        count, named = len(images.images), len(images.keys)
        if named != count:
            raise UsageError(f"{count} images came with {named} keys; give one key per image")
        placed = images.images.detach().to(self.device, torch.float32)
        self._refuse_invalid(placed, images.keys, tuple(map(str, range(count))) if unnamed else images.keys)
        if callable(self.normalise) and self.pixels.flat:
            self.pixels.look_given(self.normalised(placed).detach())
        self.tell_doubts()
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
            logits = logits_of(raw, self.output, self.threshold)
        refuse_saturated(raw, self.output)
        return logits

    def raw(self, images: Images) -> Tensor:
        """What the module itself returns for images in native units: (n,) or (n, k), float32 or float64.

        Raises:
            InputRefused: not one tensor with a row for each image.
            UsageError: a network of several findings, of which one must be chosen.
        """
        if self.findings:
            raise UsageError(f"this network has the findings {', '.join(self.thresholds)}: take one of them, "
                             f"classifier.of({next(iter(self.thresholds))!r})")
        raw = tensor_of(self._returned(images), self.output)
        rows = rows_of(raw, len(images), self.output)
        if len(images) > 1 and self.module not in _ROWS_FIRST and not self.module.training:
            if raw.ndim == 2 and raw.shape[1] == len(images):   # as many classes as images: is it turned?
                rows_of(tensor_of(self._returned(images[:1].detach()), self.output), 1, self.output)
                raw = tensor_of(self._returned(images), self.output)   # again, for hooks to see these images last
                rows = rows_of(raw, len(images), self.output)
            _ROWS_FIRST.add(self.module)
        self.seen.look(rows, self.output)
        return rows

    def normalised(self, images: Tensor) -> Tensor:
        """What the module is given for images in native units: a tensor of its own, which it may change."""
        if callable(self.normalise):
            return self.normalise(images.clone()).to(self.dtype)
        if self.normalise is None:
            return images.to(self.dtype, copy=True)
        mean, deviation = (scale_of(self.normalise, self.valid, images.shape[1])
                           if isinstance(self.normalise, str) else self.normalise)
        return ((images - _a_channel(mean, images)) / _a_channel(deviation, images)).to(self.dtype)

    def _returned(self, images: Images) -> Any:
        try:
            return called(self.module, lambda: self.module(self.normalised(images)))
        except RuntimeError as problem:
            if not images.requires_grad or "numpy() on Tensor" not in str(problem):
                raise
            return self._returned(images.detach())   # a function of arrays: there is no gradient to be had
        except SystemExit as problem:
            raise InputRefused(f"the model ended the program when called (SystemExit: {problem})") from problem

    def _refuse_invalid(self, images: Tensor, keys: tuple[str, ...], names: tuple[str, ...]) -> None:
        if images.ndim < 3 or not len(images):
            raise InputRefused(f"images must have the shape (n, channels, *space) with n >= 1; "
                               f"got {tuple(images.shape)}")
        low, high = torch.aminmax(images.detach().reshape(len(images), -1), dim=1)   # NaN where any pixel is
        bad = ~torch.isfinite(low) | ~torch.isfinite(high)
        if bool(bad.any()):
            raise InputRefused(f"image '{names[int(bad.nonzero()[0])]}' has NaN or infinite pixels")
        self.pixels.look(keys, low, high)
        # a float32 image of a window may exceed it by its own rounding
        slack = 1e-6 * max(abs(self.valid.low), abs(self.valid.high), self.valid.range)
        bad = (low < self.valid.low - slack) | (high > self.valid.high + slack)
        if bool(bad.any()):
            at = int(bad.nonzero()[0])
            raise InputRefused(f"image '{names[at]}' has pixels from {float(low[at]):.6g} to {float(high[at]):.6g}"
                               f", outside the stated bounds {self.valid.low:g} to {self.valid.high:g}. Bounds are "
                               "of the pixels as stored (0,255 for 8-bit pictures); what the network wants instead "
                               f"is for normalise, such as 'unit'. {_BEYOND[self.valid.unit == 'HU']}")


# What to do about pixels outside of the bounds: of images that are not said to be in HU, and of those that are.
_BEYOND = ("State other bounds; of CT state data.options.unit = HU, and values are clipped to the bounds",
           "Window the images or state other bounds")


@contextmanager
def _put_back(module: nn.Module) -> Iterator[None]:
    """Modes, buffers and which parameters need a gradient are afterwards as they are now."""
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, need in wanted:
            parameter.requires_grad_(need)
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _as_keys(keys: Sequence[str]) -> tuple[str, ...]:
    if isinstance(keys, str):
        raise UsageError(f"keys are one text per image, in a list or tuple; got the text '{keys}'")
    return tuple(str(key) for key in keys)


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
