"""How often noise flips a read that it hardly ever flips: importance sampling, down to one in a million.

CT noise is Gaussian and linear in white noise, so its draws may be shifted towards the flip, each weighed by how
much likelier the shift has made it. Among all noises of one probability, the covariance with the margin's gradient
is the one that moves the margin furthest on a straight line; from there the shift follows the mean gradient under
shifted noise to where flips are likeliest (the design point of structural reliability: Hasofer and Lind 1974;
important directions: Koutsourelakis et al. 2004, doi:10.1016/j.probengmech.2003.10.001). The draws come from a
mixture of shifts, none and the opposite one among them, so that no weight is large, and a half-space of known
probability serves as control variate (Owen and Zhou 2000, doi:10.1080/01621459.2000.10473909).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy import special
from torch import Tensor

from steadyread.attacks.headlines import of_probability
from steadyread.attacks.random_noise import DOSES, sizes_at
from steadyread.attacks.recipe import checked_reference, in_chunks
from steadyread.attacks.slopes import clean_margins
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.metrics.intervals import LEVEL, Floats, clopper_pearson
from steadyread.threats import CTNoise
from steadyread.threats.linf import an_image
from steadyread.types import Batch, Images, Labels, Values

FEWEST = 150                          # forward passes
_PILOT = 24                           # plain draws, from which the first shift is judged
_ROUNDS, _A_ROUND = 4, 16             # of draws with gradients, which lead the shift to the likeliest flips
_DAMPED = 0.5                         # how far a round moves the shift towards what its own gradient says
_SHIFTS = (0.0, 0.85, 1.0, 1.2, -1.0)   # of the draws that count, as multiples of the shift; a margin that falls
                                      # whichever way it is pushed flips behind as well
_SHARES = (0.1, 0.2, 0.25, 0.15, 0.1)   # theirs of the draws; the rest goes along the clean gradient, lest a bent
                                      # boundary leave flips there unseen
_FURTHEST = 9.0                       # standard deviations
_ENOUGH = 10                          # effective draws, below which the interval holds what unshifted ones say too
_TRUSTED = 0.5                        # share of the estimate's variance that the control must explain to be used


@dataclass(frozen=True, eq=False, repr=False)
class RareFlips:
    """Probability of a flip under noise, each field (n, doses), on the CPU.

    `low` and `high` are a 95 % interval, of the logarithm by Student's t; `flips` were met among the weighed draws,
    and `effective` is what they are worth, (sum of weights)^2 / sum of squares: below 10, or where the unshifted
    draws contradict it, the interval holds theirs too, up to 0.08 without a flip among them. Without any flip
    `probability` is 0. All this is of flips where the gradient leads (see `rare_flip_probability`).
    """

    probability: Float[Tensor, "n d"]
    low: Float[Tensor, "n d"]
    high: Float[Tensor, "n d"]
    effective: Float[Tensor, "n d"]
    flips: Int[Tensor, "n d"]

    def __repr__(self) -> str:
        return of_probability(self, self.probability)


def rare_flip_probability(classifier: Classifier, images: Images | Batch, reference: Labels, noise: CTNoise,
                          mas: Sequence[float] = DOSES, passes: int = 300, seed: int = 0) -> RareFlips:
    """P(flip) of every image at every dose, however rare, without assuming that the margin is Gaussian.

    It takes `passes` forward and 65 backward passes per image and dose. The estimate is unbiased but for the
    control's coefficient (of order 1 / passes), and exact where the margin is linear in the noise. Draws go where
    the gradient leads, and to the opposite side. Flips elsewhere, to which no gradient points, are met by the
    unshifted draws alone, a tenth of all: where they are too rare for these, they are missed, and the interval is
    that of the others.

    Args:
        images: (n, 1, *space) in HU, inside the classifier's bounds.
        reference: (n,) the class that must be lost: the prediction or the label.
        mas: the doses.
        passes: forward passes per image and dose; at least 150.

    Raises:
        InputRefused: images or reference are not as described, no gradient reaches the image, or no noise of that
            dose can be drawn for it.
        UsageError: too few passes, or a dose that is not positive.
    """
    if passes < FEWEST:
        raise UsageError(f"rare_flip_probability needs at least {FEWEST} passes; got {passes}")
    batch = classifier.batch(images)
    reference = checked_reference(reference, batch)

    def of_chunk(part: Batch, lost: Labels) -> RareFlips:
        sizes = sizes_at(noise, mas, part)
        with classifier.frozen():
            found = [_Sampler(classifier, part, lost, noise, size, seed).run(passes) for size in sizes.unbind(1)]
        return RareFlips(*(torch.stack(columns, dim=1) for columns in zip(*found, strict=True)))

    return RareFlips(**in_chunks(of_chunk, batch, reference))


@dataclass(frozen=True, eq=False)
class _Shift:
    """A shift of white noise, one an image: `noise` (n, 1, *space) is what it does at 1 HU, and `weights` times any
    noise, summed, is that noise's white coordinate along it."""

    noise: Tensor
    weights: Tensor

    def dot(self, other: "_Shift") -> Values:
        """The scalar product in white noise, (n,)."""
        return self.coordinate(other.noise)

    def coordinate(self, noise: Tensor) -> Values:
        """The white coordinate of a noise along this shift, (n,)."""
        return (self.weights * noise).flatten(1).double().sum(1)

    def times(self, length: Values) -> "_Shift":
        """Each image's by its own factor."""
        factor = an_image(length.to(self.noise), self.noise)
        return _Shift(factor * self.noise, factor * self.weights)

    def plus(self, other: "_Shift") -> "_Shift":
        """The sum."""
        return _Shift(self.noise + other.noise, self.weights + other.weights)


@dataclass(frozen=True, eq=False)
class _Slope:
    """The margin on a straight line: `mean` - `slope` t, t the white coordinate along `towards`, and the `rest` of
    its variance; (n,) each."""

    towards: _Shift
    mean: Values
    slope: Values
    rest: Values

    def best(self) -> Values:
        """The shift that makes the weighed estimate's variance least where the rest is Gaussian: for d = mean / SD
        and the share r^2 of the variance along the line, second moment exp(t^2) Phi(-(d + r t)), least near
        t = r d / (2 - r^2)."""
        sd = (self.slope**2 + self.rest).sqrt().clamp(min=1e-30)
        share = self.slope / sd
        return (share * self.mean / sd / (2 - share**2)).clamp(0, _FURTHEST)


class _Sampler:
    """One chunk of images at one dose."""

    def __init__(self, classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise, size: Values,
                 seed: int) -> None:
        self.classifier, self.batch, self.reference = classifier, batch, reference
        self.noise, self.size, self.seed = noise, size, seed
        self.drawn = 0

    def run(self, passes: int) -> tuple[Tensor, ...]:
        """The columns of `RareFlips`."""
        _, gradient = clean_margins(self.classifier, self.batch, self.reference)
        line = self._slope(gradient)
        margins, (along,) = self._sample(None, _PILOT, (line.towards,))
        plain = (margins < 0).sum(1)
        line = _measured(line, margins, along)
        first = shift = line.towards.times(line.best())
        for _ in range(_ROUNDS):
            line = self._round(shift)
            shift = shift.times(torch.full_like(line.mean, 1 - _DAMPED)).plus(
                line.towards.times(_DAMPED * line.best()))
        ahead = shift.times(1 / shift.dot(shift).clamp(min=1e-24).sqrt())
        turned = line.towards.dot(ahead)
        aside = line.slope**2 * (1 - turned**2).clamp(min=0)
        line = _Slope(ahead, line.mean, line.slope * turned, line.rest + aside)
        return self._weighed(line, first, passes - 1 - self.drawn, plain)

    def _slope(self, gradient: Images) -> _Slope:
        """The straight line along a gradient of the margin; `mean` and `rest` are not known yet."""
        spread = self.noise.covariance_with(self.batch, gradient)
        length = (gradient.double().cpu() * spread).flatten(1).sum(1).clamp(min=0).sqrt()
        scale = an_image(-1 / length.clamp(min=1e-30), spread)
        towards = _Shift((scale * spread).to(gradient), (scale * gradient.double().cpu()).to(gradient))
        slope = length.to(self.size.device) * self.size.double()
        return _Slope(towards, torch.zeros_like(slope), slope, torch.zeros_like(slope))

    def _sample(self, shift: _Shift | None, draws: int, axes: Sequence[_Shift]) -> tuple[Tensor, list[Tensor]]:
        """Margins under so many shifted noises, and the noises' coordinates along each axis; (n, draws) each."""
        margins: list[Tensor] = []
        coordinates: list[list[Tensor]] = [[] for _ in axes]
        for _ in range(draws):
            noise = self._draw(shift)
            with torch.no_grad():
                logits = self.classifier.logits(self._under(noise))
            margins.append(margin_of(logits, self.reference).double())
            for axis, values in zip(axes, coordinates, strict=True):
                values.append(axis.coordinate(noise))
        return torch.stack(margins, dim=1), [torch.stack(values, dim=1) for values in coordinates]

    def _round(self, shift: _Shift) -> _Slope:
        """The straight line along the mean gradient under noises of this shift."""
        margins, noises, total = [], [], torch.zeros_like(self.batch.images)
        for _ in range(_A_ROUND):
            noise = self._draw(shift)
            images = self._under(noise).requires_grad_(True)
            margin = self.classifier.margins(images, self.reference)
            total += self.classifier.gradient(margin.sum(), images)
            margins.append(margin.detach().double())
            noises.append(noise)
        line = self._slope(total / _A_ROUND)
        along = torch.stack([line.towards.coordinate(noise) for noise in noises], dim=1)
        return _measured(line, torch.stack(margins, dim=1), along)

    def _draw(self, shift: _Shift | None) -> Tensor:
        noise = self.noise.start(self.batch, torch.ones_like(self.size), self.seed, self.drawn)
        self.drawn += 1
        return noise if shift is None else noise + shift.noise

    def _under(self, noise: Tensor) -> Images:
        return self.batch.images + an_image(self.size, noise) * noise

    def _weighed(self, line: _Slope, first: _Shift, draws: int, plain: Labels) -> tuple[Tensor, ...]:
        """The estimate from so many draws of the mixture; `plain` of the pilot's flipped."""
        counts = [round(share * draws) for share in _SHARES]
        counts.append(draws - sum(counts))
        lengths = [line.best() * multiple for multiple in _SHIFTS]
        shifts = [*(line.towards.times(length) for length in lengths), first]
        parts = [self._sample(shift, count, (line.towards, first))
                 for shift, count in zip(shifts, counts, strict=True)]
        margins = torch.cat([part for part, _ in parts], dim=1)
        ahead, aside = (torch.cat([axes[at] for _, axes in parts], dim=1) for at in (0, 1))
        exponents = [*(length[:, None] * ahead - length[:, None]**2 / 2 for length in lengths),
                     aside - first.dot(first)[:, None] / 2]
        density = torch.stack([count / draws * exponent.exp()
                               for count, exponent in zip(counts, exponents, strict=True)]).sum(0)
        threshold = line.mean / line.slope.clamp(min=1e-30)
        plain = plain + (margins[:, :counts[0]] < 0).sum(1)
        return estimate(margins < 0, ahead > threshold[:, None], 1 / density, threshold, counts,
                        clopper_pearson(plain.cpu().numpy(), counts[0] + _PILOT))


def _measured(line: _Slope, margins: Tensor, along: Tensor) -> _Slope:
    """The line with its mean and rest as draws (n, draws) tell; what they did along it is known and taken off."""
    level = margins + line.slope[:, None] * along
    return _Slope(line.towards, level.mean(1), line.slope, level.var(1))


def estimate(flipped: Tensor, beyond: Tensor, weights: Tensor, threshold: Values, counts: Sequence[int],
             plain: tuple[Floats, Floats]) -> tuple[Tensor, ...]:
    """The columns of `RareFlips`, (n,) each, from weighed draws (n, draws) in strata of `counts` draws.

    `beyond` says which draws lie beyond the half-space at `threshold` standard deviations, whose probability is
    known: the control variate. `plain` is the interval (n,) of unshifted draws alone, which counts where the others
    are worth little: flips that lie elsewhere than the shift leads are met there by chance, with tiny weights.
    """
    hits, known = (torch.where(chosen, weights, 0.0).cpu() for chosen in (flipped, beyond))
    apart, control = (_within_strata(values, counts) for values in (hits, known))
    spread = (control**2).sum(1)
    coefficient = torch.where(spread > 0, (apart * control).sum(1) / spread.clamp(min=1e-300), 0.0)
    rest = apart - coefficient[:, None] * control
    helps = (rest**2).sum(1) < (1 - _TRUSTED) * (apart**2).sum(1)
    coefficient = torch.where(helps, coefficient, 0.0)
    rest = torch.where(helps[:, None], rest, apart)
    exact = torch.from_numpy(special.ndtr(-threshold.cpu().double().numpy()))
    probability = (hits - coefficient[:, None] * known).mean(1) + coefficient * exact
    probability = torch.where(probability > 0, probability, hits.mean(1)).clamp(max=1.0)
    draws = hits.shape[1]
    error = ((rest**2).sum(1) / (draws - 2 * len(counts))).sqrt() / draws**0.5
    effective = hits.sum(1)**2 / (hits**2).sum(1).clamp(min=1e-300)
    degrees = (effective - 1).clamp(min=1.0).numpy()
    far = torch.from_numpy(special.stdtrit(degrees, (1 + LEVEL) / 2))
    wide = torch.where(error > 0, far * error / probability.clamp(min=1e-300), 0.0)
    none = ~flipped.cpu().any(1) & ~(helps & (probability > 0))
    lowest, highest = (torch.from_numpy(end) for end in plain)
    low = torch.where(none, lowest, probability * torch.exp(-wide))
    high = torch.where(none, highest, (probability * torch.exp(wide)).clamp(max=1.0))
    few = ((effective < _ENOUGH) & (error > 0)) | (lowest > high)
    low, high = torch.where(few, low.minimum(lowest), low), torch.where(few, high.maximum(highest), high)
    return probability, low, high, effective, flipped.sum(1).cpu()


def _within_strata(values: Tensor, counts: Sequence[int]) -> Tensor:
    """Less the mean of its own stratum."""
    strata = torch.split(values, list(counts), dim=1)
    return torch.cat([stratum - stratum.mean(1, keepdim=True) for stratum in strata], dim=1)
