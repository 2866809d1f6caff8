"""CT noise: what a draw and a read under noise cost, and how exact a flip probability from few draws is."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from benchmarks.clock import Counted, Ratio, Work, interleaved, ratio
from benchmarks.setup import Setup
from benchmarks.subjects import Subject, subjects
from benchmarks.table import Goal, Part, Table
from steadyread import CTNoise, Spectrum, flip_probability
from steadyread.attacks.flip_probability import (
    FlipProbability,
    Linear,
    estimated,
    margins_under_noise,
    with_linear_part,
)
from steadyread.attacks.random_noise import random_ct_noise, sizes_at
from steadyread.classifier import Classifier
from steadyread.jobs.networks import Window
from steadyread.metrics.intervals import clopper_pearson
from steadyread.models.nodule import nodule_cnn
from steadyread.threats.drawing import Field
from steadyread.types import Bounds

Floats = NDArray[np.float64]
SHAPES = ((32, 32, 32), (5, 24, 24))
READ_AT = (10.0, 50.0, 100.0, 200.0, 500.0)     # mAs, [B]
JUDGED_AT = (10.0, 50.0, 100.0)
OURS = 16                                       # draws, the default of `flip_probability`
COUNTED = (16, 50, 200)
POOL = max(COUNTED)
SPLITS = ((0.0, 0.01), (0.01, 0.1), (0.1, 0.9))
RESAMPLES = 1000
SPACING_MM = {"nodule": 1.0, "lidc": 0.7}       # of the boxes; of the patches, whose own is 0.46 to 0.98


@dataclass(frozen=True)
class Estimates:
    """Of one estimator, (repeats, pairs of image and dose) each."""

    name: str
    probability: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Judged:
    """Of one network: the estimators, and of its pairs the truth, the interval of the truth itself, and the image
    that each is of."""

    network: str
    draws: int
    truth: Floats
    low: Floats
    high: Floats
    estimators: tuple[Estimates, ...]
    images: tuple[str, ...]


def measure(setup: Setup) -> Table:
    """Draws, reads and flip probabilities."""
    drawn, drawing, rates = _draws(setup)
    read, reading = _reads(setup)
    judged = [_judged(subject, setup) for subject in _in_hu(setup)]
    errors = [compared(judged, split) for split in SPLITS] if judged else []
    parts = (drawn, read, *(_exactness(judged) if judged else ()))
    goals = (Goal("reads under CT noise at most 1.1 times the bare forward passes", reading.median <= 1.1,
                  str(reading)),
             *(Goal(f"P(flip) {one.range}: ours with {OURS} draws and one gradient errs no more than counting 50",
                    one.no_more, str(one)) for one in errors))
    guarded = {**{f"draws of {_by(shape)} beside the faster bare draw": one for shape, one in drawing.items()},
               "reads under noise beside bare forward passes": reading.median,
               **{f"error of P(flip) {one.range}, ours beside counting 50": one.ratio for one in errors
                  if 0 < one.ratio < math.inf}}
    return Table("ct_noise", "CT noise", (*_told(setup), rates), parts, goals, guarded)


def _told(setup: Setup) -> Iterator[str]:
    yield (f"Draws: {_many(setup)} noises of the spectrum `soft` at 1 mm pixels, as `CTNoise.draw` makes them (an "
           "own random stream each, a field larger by 8 mm cut to the shape), beside white noise times the same "
           "amplitude between two FFTs of the same field, written in plain torch and in plain numpy with scipy, "
           "50 at once and with one random stream. No other library here draws CT noise.")
    yield ("Reads: 64 boxes of 5x24x24 on the quarter-width nodule network at five doses. Bare are the same "
           "forward passes, on the images as they are, as many at once.")
    truth = _truth(setup)
    yield (f"P(flip): {setup.of(48, 8)} nodules and {setup.of(32, 8)} patches of the test part, spread evenly over "
           "the quarter (nodules: the half) that each network reads right by the smallest margins (others never "
           f"flip), at {', '.join(f'{mas:g}' for mas in JUDGED_AT)} mAs. The truth of an image at a dose is the "
           f"share of {truth} draws that flip it; the estimators have {POOL} draws of another seed, in lots of "
           "their own size, and errors are over all lots. The patches are clipped to the network's window after "
           f"the noise. `flip_probability` with {OURS} draws (and one gradient an image, shared by its doses) is "
           f"beside counting {', '.join(map(str, COUNTED))} draws, with the interval of Clopper and Pearson. "
           "Errors are root mean squares over the pairs of image and dose whose truth lies in the range stated; "
           "the first holds the pairs that no draw flipped. Beside the ratio of two errors stands its 95 % "
           f"interval over {RESAMPLES:,} resamples of the images, each with its pairs on all networks (some "
           "patients have several images). The decades are those of log10(estimate / truth) in the first range, "
           f"both held at {1 / (2 * truth):g} at least, below which the truth cannot be told from none.")
    yield (f"Intervals are judged on the pairs whose truth is below {SPLITS[-1][1]:g}. One holds the truth where "
           "it contains the counted share, and *meets* it where it overlaps the "
           f"share's own 95 % interval of {truth} draws: the truth is itself a count, so the first is too strict "
           "and the second too kind.")


def _many(setup: Setup) -> int:
    return setup.of(1000, 100)


def _truth(setup: Setup) -> int:
    return setup.of(1000, 200)


def _draws(setup: Setup) -> tuple[Part, dict[tuple[int, ...], float], str]:
    """The table, our ratio to the faster bare draw by shape, and draws per second in words."""
    noise, many = CTNoise(Spectrum.soft(), spacing_mm=1.0), _many(setup)
    rows, found, rates = [], {}, []
    for shape in SHAPES:
        work: dict[str, Work] = {
            "steadyread": lambda shape=shape: noise.draw(many, shape), **_bare_draws(noise, many, shape)}
        times = interleaved(work, setup.rounds)
        bare = {name: ratio(times["steadyread"], spent) for name, spent in times.items() if name != "steadyread"}
        found[shape] = max(one.median for one in bare.values())
        rows.append((_by(shape), *map(str, bare.values())))
        rates.append(f"{many / statistics.median(times['steadyread']):,.0f} of {_by(shape)}")
    columns = ("voxels", "over plain torch", "over plain numpy and scipy")
    part = Part("Draws: the time of steadyread's over that of a bare one", columns, tuple(rows))
    return part, found, f"For scale only, draws per second on this machine: {' and '.join(rates)}."


def _bare_draws(noise: CTNoise, many: int, shape: tuple[int, ...]) -> dict[str, Work]:
    """White noise through the same filter on the same field, by two plain scripts."""
    field = Field(noise.spectrum, (shape[-2], shape[-1]), (1.0, 1.0))
    whole, (rows, columns) = field.whole, shape[-2:]
    amplitude = np.sqrt(field.unit_power()[:, :whole[1] // 2 + 1]).astype(np.float32)
    tensor, sigma = torch.from_numpy(amplitude), noise.sigma_hu(noise.mas)
    lots = [min(50, many - start) for start in range(0, many, 50)]

    def by_torch() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        white = (torch.randn(lot, *shape[:-2], *whole, generator=generator) for lot in lots)
        return torch.cat([torch.fft.irfft2(torch.fft.rfft2(one) * tensor, s=whole)[..., :rows, :columns]
                          for one in white]) * sigma

    def by_numpy() -> NDArray[np.float32]:
        generator = np.random.default_rng(0)
        white = (generator.standard_normal((lot, *shape[:-2], *whole), np.float32) for lot in lots)
        return np.concatenate([fft.irfft2(fft.rfft2(one) * amplitude, s=whole)[..., :rows, :columns]
                               for one in white]) * sigma

    return {"torch": by_torch, "numpy": by_numpy}


def _reads(setup: Setup) -> tuple[Part, Ratio]:
    """What the attack with random noise costs beside its own forward passes."""
    torch.manual_seed(0)
    module = nodule_cnn(size=(5, 24, 24), width=0.25).eval()
    network = Counted(module)
    classifier = Classifier(network, Bounds(-1024.0, 3071.0, "HU"), "logit", normalise=(-300.0, 700.0))
    draws, images = 10, torch.rand(64, 1, 5, 24, 24) * 1400 - 1000
    batch, reference = classifier.batch(images), torch.zeros(64, dtype=torch.int64)
    noise = CTNoise(Spectrum.soft(), spacing_mm=1.0)
    attack = random_ct_noise(noise, READ_AT, draws)
    together = images.repeat(len(READ_AT), 1, 1, 1, 1).split(60)   # as many at once as the attack takes

    def bare() -> None:
        with classifier.frozen(), torch.no_grad():
            classifier.logits(images)
            for _ in range(draws):
                for part in together:
                    classifier.logits(part)

    def drawing() -> None:
        for draw in range(draws):
            noise.start(batch, torch.ones(len(batch)), 0, draw)

    work: dict[str, Work] = {
        "bare forward passes": bare,
        "random CT noise, `random_ct_noise`": lambda: attack(classifier, batch, reference),
        "`flip_probability`": lambda: flip_probability(classifier, batch, reference, noise, READ_AT, draws),
        "drawing the noises alone": drawing}
    passes = {}
    for name, run in work.items():
        network.reset()
        run()
        passes[name] = network.forwards / len(batch)
    times = interleaved(work, setup.rounds)
    ratios = {name: ratio(times[name], times["bare forward passes"]) for name in work}
    rows = tuple((name, f"{passes[name]:.0f}", str(ratios[name])) for name in work)
    return (Part("Reads under noise", ("", "forward passes per image", "time over the bare forward passes"), rows),
            ratios["random CT noise, `random_ct_noise`"])


def _in_hu(setup: Setup) -> Iterator[Subject]:
    """The networks of images in HU; patches are read through their window, so that noise comes before it."""
    for subject in subjects(setup, 10_000, keys=("nodule",)):
        yield doubtful(subject, setup.of(48, 8))
    for subject in subjects(setup, 10_000, keys=("lidc",)):
        bounds = subject.classifier.valid
        half = bounds.range / 2
        window = Window(bounds.low, bounds.high, bounds.low + half, half)
        yield doubtful(replace(subject, classifier=replace(subject.classifier, normalise=window)), setup.of(32, 8))


def doubtful(subject: Subject, wanted: int) -> Subject:
    """So many of its images, spread evenly over the quarter of smallest margins (more where it is too small)."""
    classifier = subject.classifier
    with classifier.frozen(), torch.no_grad():
        margins = torch.cat([classifier.margins(images, reference) for images, reference
                             in zip(subject.images.split(64), subject.reference.split(64), strict=True)])
    least = margins.argsort()[:max(wanted, len(margins) // 4)]
    chosen = least[torch.linspace(0, len(least) - 1, min(wanted, len(least))).round().long()]
    return replace(subject, images=subject.images[chosen], reference=subject.reference[chosen])


def _judged(subject: Subject, setup: Setup) -> Judged:
    noise = CTNoise(Spectrum.soft(), spacing_mm=SPACING_MM[subject.recipe.key])
    classifier, reference = subject.classifier, subject.reference
    batch = classifier.batch(subject.images)
    sizes = sizes_at(noise, JUDGED_AT, batch)
    clean, pool, linear = with_linear_part(classifier, batch, reference, noise, sizes, POOL, seed=0)
    _, known = margins_under_noise(classifier, batch, reference, noise, sizes, _truth(setup), seed=1)
    flips = (known < 0).sum(2).flatten().numpy()
    low, high = clopper_pearson(flips, _truth(setup))
    return Judged(subject.name, _truth(setup), flips / _truth(setup), low, high,
                  (ours(clean, pool, linear), *(counted(pool, draws) for draws in COUNTED), plain(clean, pool)),
                  tuple(key for key in batch.keys for _ in JUDGED_AT))   # a key is a hash of the pixels


def ours(clean: Tensor, pool: Tensor, linear: Linear, draws: int = OURS) -> Estimates:
    """What `flip_probability` says from each lot of so many draws of the pool (n, doses, draws)."""
    return _told_by(f"ours, {draws} draws and a gradient", [
        estimated(clean, lot, Linear(along, linear.variance))
        for lot, along in zip(_lots(pool, draws), _lots(linear.along, draws), strict=True)])


def plain(clean: Tensor, pool: Tensor, draws: int = OURS) -> Estimates:
    """The same from the mean and the deviation of the draws alone."""
    return _told_by(f"mean and deviation of {draws} draws", [estimated(clean, lot) for lot in _lots(pool, draws)])


def _told_by(name: str, lots: Sequence[FlipProbability]) -> Estimates:
    told = [torch.stack([getattr(lot, each).flatten() for lot in lots]).numpy()
            for each in ("probability", "low", "high")]
    return Estimates(name, told[0], told[1], told[2])


def counted(pool: Tensor, draws: int) -> Estimates:
    """The share of each lot of so many draws that flips, with its interval."""
    flips = torch.stack([(lot < 0).sum(2).flatten() for lot in _lots(pool, draws)]).numpy()
    return Estimates(f"counting {draws}", flips / draws, *clopper_pearson(flips, draws))


def _lots(pool: Tensor, draws: int) -> Sequence[Tensor]:
    return pool[..., :pool.shape[2] // draws * draws].split(draws, dim=2)


def _within(judged: Judged, split: tuple[float, float]) -> NDArray[np.bool_]:
    """The pairs whose truth lies in the range: its lower end belongs to it where it is 0, its upper end but for the
    last, near 1."""
    low, high = split
    above = judged.truth > low if low else judged.truth >= low
    return above & ((judged.truth <= high) if high < SPLITS[-1][1] else (judged.truth < high))


def error(judged: Sequence[Judged], which: int, split: tuple[float, float]) -> float:
    """The root mean square error of one estimator over all networks' pairs in the range (NaN: none)."""
    return _root([(one.estimators[which].probability - one.truth)[:, _within(one, split)] for one in judged])


def decades(judged: Sequence[Judged], which: int) -> float:
    """The root mean square of log10(estimate / truth) over rare flips, both held at half a flip of the truth's."""
    floor = 1 / (2 * judged[0].draws)
    return _root([np.log10(np.maximum(one.estimators[which].probability, floor)
                           / np.maximum(one.truth, floor))[:, _within(one, SPLITS[0])] for one in judged])


def _root(errors: Sequence[Floats]) -> float:
    every = np.concatenate([one.ravel() for one in errors])
    return float(np.sqrt((every**2).mean())) if len(every) else math.nan


def _held(judged: Sequence[Judged], which: int) -> tuple[float, float]:
    """How often the interval contains the counted truth, and how often it meets the truth's own interval."""
    strict, kind = [], []
    for one in judged:
        among, found = one.truth < SPLITS[-1][1], one.estimators[which]
        low, high = found.low[:, among], found.high[:, among]
        strict.append(((low <= one.truth[among]) & (one.truth[among] <= high)).ravel())
        kind.append(((low <= one.high[among]) & (one.low[among] <= high)).ravel())
    every = np.concatenate(strict)
    return (float(every.mean()), float(np.concatenate(kind).mean())) if len(every) else (math.nan, math.nan)


@dataclass(frozen=True)
class Compared:
    """Our error over that of counting 50 in one range, with its 95 % interval; NaN where there is nothing."""

    range: str
    ratio: float
    low: float
    high: float

    @property
    def no_more(self) -> bool | None:
        """Whether the ratio is at most 1; None where the interval holds 1, so that it cannot be told."""
        return self.ratio <= 1 if math.isnan(self.ratio) or not self.low < 1 < self.high else None

    def __str__(self) -> str:
        if math.isnan(self.ratio):
            return "nothing to compare in this range"
        return f"{self.ratio:.2f} times the error of counting 50 (95 % interval {self.low:.2f} to {self.high:.2f})"


def compared(judged: Sequence[Judged], split: tuple[float, float], other: int = 1 + COUNTED.index(50)) -> Compared:
    """Over all networks; the interval is of resampled images, each with all its pairs."""
    every = list(dict.fromkeys(key for one in judged for key in one.images))
    place = {key: at for at, key in enumerate(every)}
    squares = np.zeros((2, len(every)))
    for one in judged:
        for mine, which in zip(squares, (0, other), strict=True):
            errors = ((one.estimators[which].probability - one.truth) ** 2).mean(0)
            np.add.at(mine, [place[key] for key in one.images], np.where(_within(one, split), errors, 0.0))
    times = np.random.default_rng(0).multinomial(len(every), np.full(len(every), 1 / len(every)), RESAMPLES)
    among = f"from {split[0]:g} to {split[1]:g}"
    if not any(_within(one, split).any() for one in judged):
        return Compared(among, math.nan, math.nan, math.nan)
    ratios = [_over(*(squares * some).sum(1)) for some in times]
    low, high = np.nanpercentile(ratios, (2.5, 97.5), method="nearest")   # some may be infinite
    return Compared(among, _over(*squares.sum(1)), float(low), float(high))


def _over(mine: float, other: float) -> float:
    """The root of a ratio of squares: nothing over nothing is NaN, which meets no goal."""
    return math.sqrt(mine / other) if other > 0 else math.inf if mine > 0 else math.nan


def _exactness(judged: Sequence[Judged]) -> Iterator[Part]:
    columns = ("", *(f"error, truth {low:g} to {high:g}" for low, high in SPLITS), "decades, rare flips",
               "interval holds the truth", "meets it")
    groups: Mapping[str, Sequence[Judged]] = {"All networks": judged, **{one.network: [one] for one in judged}}
    for name, several in groups.items():
        pairs = [sum(int(_within(one, split).sum()) for one in several) for split in SPLITS]
        none = sum(int((one.truth == 0).sum()) for one in several)
        every = sum(len(one.truth) for one in several)
        rows = []
        for which, estimator in enumerate(several[0].estimators):
            errors = (error(several, which, split) for split in SPLITS)
            held = _held(several, which)
            rows.append((estimator.name, *(_or_dash(one, ".4f") for one in errors),
                         _or_dash(decades(several, which), ".2f"), *(_or_dash(one, ".1%") for one in held)))
        yield Part(f"P(flip). {name}: {every} pairs of image and dose, of which {', '.join(map(str, pairs))} lie "
                   f"in the three ranges ({none} of the first never flipped) and {every - sum(pairs)} above",
                   columns, tuple(rows))


def _or_dash(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
