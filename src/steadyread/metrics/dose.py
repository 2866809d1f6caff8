"""Flip probability from the margins of a few noise draws, at every dose, and each image's critical mAs.

Under noise of one dose an image's margin is nearly Gaussian, so its mean and standard deviation over a few draws
tell how often it falls below 0, rare flips among them, which counting the same draws calls 0. The drift (mean
margin minus the clean one) goes about as 1/mAs, the jitter (standard deviation) as 1/sqrt(mAs): both are
interpolated between the doses along these laws. Where the margins are not Gaussian, count.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from steadyread.errors import UsageError
from steadyread.metrics.intervals import LEVEL, Flags, Floats, clopper_pearson

FEWEST_DRAWS = 2
FEWEST_ALONG = 4               # draws, which a regression on one variable leaves two degrees of freedom
DOUBTED = 0.001                # p of `normality` below which draws are counted instead
LEVELS = (0.01, 0.05, 0.5)     # of P(flip), for which critical doses are told
_FAR = 100.0                   # of mean / SD, beyond which the noncentral t is its chi factor alone
_STEPS = 400                   # of log mAs, in which the last crossing of a level is looked for
_HALVINGS = 40


def flip_probability_of(margins: ArrayLike, counted: bool = False,
                        level: float = LEVEL) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """P(margin < 0) from independent draws of margins (..., draws), with its interval.

    Of Gaussian margins, as `flip_probability_from`; or, for those that are not, `counted`: the share of draws
    below 0 with the interval of Clopper and Pearson. A margin that is not finite gives NaN for its image.

    Returns:
        (probability, low, high, mean, sd), each (...), the last two in the margins' unit.

    Raises:
        UsageError: fewer than two draws, which have no standard deviation.
    """
    drawn = np.asarray(margins, np.float64)
    n = drawn.shape[-1] if drawn.ndim else 0
    _enough(n)
    known = np.asarray(np.isfinite(drawn).all(-1))
    drawn = np.where(known[..., None], drawn, 0.0)
    mean, sd = drawn.mean(-1), drawn.std(-1, ddof=1)
    if counted:
        flips = (drawn < 0).sum(-1)
        found = (flips / n, *clopper_pearson(flips, n, level))
    else:
        found = flip_probability_from(mean, sd, n, level)
    told = [np.where(known, value, np.nan) for value in (*found, mean, sd)]
    return told[0], told[1], told[2], told[3], told[4]


def flip_probability_from(mean: ArrayLike, sd: ArrayLike, draws: int,
                          level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """P(margin < 0) of Gaussian margins, (probability, low, high), from the mean and SD (...) of so many draws.

    P = Phi(-mean/SD), SD with draws - 1 below. sqrt(n) mean/SD is noncentral t of n - 1 degrees of freedom about
    sqrt(n) mu/sigma, which is inverted for mu/sigma (Owen 1968, doi:10.1080/00401706.1968.10490590), so the
    interval is exact where the margins are Gaussian. Draws that all agree give 0 or 1 without width.

    Raises:
        UsageError: fewer than two draws, which have no standard deviation.
    """
    _enough(draws)
    middle, spread = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(sd, np.float64))
    steady = spread <= 1e-12 * np.abs(middle)
    still = np.where(np.isnan(middle), np.nan, np.where(middle < 0, -np.inf, np.inf))
    distance = np.divide(middle, spread, out=still, where=~steady)
    tail = (1 - level) / 2
    low, high = (np.asarray(special.ndtr(-_true_distance(distance, draws, part))) for part in (tail, 1 - tail))
    return np.asarray(special.ndtr(-distance)), low, high


def flip_probability_along(margins: ArrayLike, along: ArrayLike, variance: ArrayLike,
                           level: float = LEVEL) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """P(margin < 0) of Gaussian margins, helped by what each draw does to a function of known mean and variance.

    `along` (..., draws) is the control variate z, Gaussian of mean 0 and of the `variance` V (...): the clean
    gradient times the noise. With the regression m = a + b z + e on n draws, the mean is a and the variance
    b^2 V + s^2 (1 - V / Szz), s^2 with n - 2 below and Szz the sum of squares of z about its mean (the last factor
    takes off what chance adds to b^2). Where e vanishes P is exact; its error shrinks with the share of e in m.
    The interval is that of mean/SD by the delta method, t of n - 2. Where V is 0, or nothing varies, as
    `flip_probability_of`. Hammersley and Handscomb 1964, Monte Carlo Methods, chapter 5; Lavenberg and Welch 1981,
    doi:10.1287/mnsc.27.3.322.

    Returns:
        (probability, low, high, mean, sd), each (...), as `flip_probability_of`.

    Raises:
        UsageError: fewer than four draws, or columns that do not fit each other.
    """
    drawn, moved, known = (np.asarray(each, np.float64) for each in (margins, along, variance))
    n = drawn.shape[-1] if drawn.ndim else 0
    if n < FEWEST_ALONG or drawn.shape != moved.shape or drawn.shape[:-1] != known.shape:
        raise UsageError(f"margins and what the noise does along the gradient must be alike, with at least "
                         f"{FEWEST_ALONG} draws, and one variance each; got {drawn.shape}, {moved.shape} and "
                         f"{known.shape}")
    plain = flip_probability_of(drawn, level=level)
    middle, centre = drawn.mean(-1, keepdims=True), moved.mean(-1, keepdims=True)
    spread = ((moved - centre)**2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = ((drawn - middle) * (moved - centre)).sum(-1) / spread
        rest = ((drawn - middle - slope[..., None] * (moved - centre))**2).sum(-1) / (n - 2)
        mean = middle[..., 0] - slope * centre[..., 0]
        square = slope**2 * known + rest * np.maximum(1 - known / spread, 0)
        distance = mean / np.sqrt(square)
        of_mean = rest * (1 / n + centre[..., 0]**2 / spread)
        of_square = 2 * rest**2 / (n - 2) + 4 * slope**2 * known**2 * rest / spread
        error = np.sqrt(of_mean / square + (distance / square)**2 * of_square / 4)
    far = special.stdtrit(n - 2, (1 + level) / 2) * error
    found = (*(special.ndtr(-at) for at in (distance, distance + far, distance - far)), mean, np.sqrt(square))
    helped = (known > 0) & (spread > 0) & (square > 0)
    told = [np.where(helped, one, other) for one, other in zip(found, plain, strict=True)]
    return told[0], told[1], told[2], told[3], told[4]


def normality(margins: ArrayLike) -> Floats:
    """The p value of Anderson and Darling's test that draws (..., draws) are Gaussian, mean and SD unknown.

    By D'Agostino and Stephens 1986, table 4.9 (case 3). 1 where all draws agree, NaN below 8 of them or where one
    is not finite. Small values speak against `flip_probability_of`: count instead.
    """
    drawn = np.sort(np.asarray(margins, np.float64), axis=-1)
    n = drawn.shape[-1] if drawn.ndim else 0
    known = np.asarray(np.isfinite(drawn).all(-1) if n else np.zeros(drawn.shape[:-1], bool))
    if n < 8:
        return np.full(known.shape, np.nan)
    drawn = np.where(known[..., None], drawn, 0.0)
    sd = drawn.std(-1, ddof=1, keepdims=True)
    standard = np.divide(drawn - drawn.mean(-1, keepdims=True), sd, out=np.zeros_like(drawn), where=sd > 0)
    rank = 2 * np.arange(1, n + 1) - 1
    below, above = special.log_ndtr(standard), special.log_ndtr(-standard[..., ::-1])
    statistic = (-n - (rank * (below + above)).sum(-1) / n) * (1 + 0.75 / n + 2.25 / n**2)
    return np.where(known, np.where(sd[..., 0] > 0, _anderson_darling_p(statistic), 1.0), np.nan)


def shape_doubted(margins: ArrayLike) -> Flags:
    """Where draws (..., draws) are so skewed or heavy-tailed as one Gaussian sample in ten is by either.

    A few draws cannot show that a margin is Gaussian: 16 exponential ones are seen by `normality` at its level one
    time in five. Here more are caught, at the price of false alarms. Skewness and excess kurtosis against their
    exact moments in Gaussian samples (Fisher 1930, doi:10.1112/plms/s2-30.1.16). False where nothing varies.
    """
    drawn = np.asarray(margins, np.float64)
    n = drawn.shape[-1]
    apart = drawn - drawn.mean(-1, keepdims=True)
    square = (apart**2).mean(-1)
    varies = square > 0
    scale = np.where(varies, square, 1.0)
    skewness, kurtosis = (apart**3).mean(-1) / scale**1.5, (apart**4).mean(-1) / scale**2 - 3
    of_skewness = np.sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
    of_kurtosis = np.sqrt(24 * n * (n - 2) * (n - 3) / ((n + 1)**2 * (n + 3) * (n + 5)))
    skewed = np.abs(skewness) > special.ndtri(0.95) * of_skewness
    heavy = kurtosis + 6 / (n + 1) > special.ndtri(0.9) * of_kurtosis
    return np.asarray(varies & (skewed | heavy))


def linear_share(margins: ArrayLike, along: ArrayLike) -> Floats:
    """The share of the draws' variance (..., draws) that is linear in what the noise does along the gradient.

    That part of the margin is exactly Gaussian, whatever the rest is. 0 where nothing varies.
    """
    apart, moved = (values - values.mean(-1, keepdims=True)
                    for values in (np.asarray(margins, np.float64), np.asarray(along, np.float64)))
    product = (apart**2).sum(-1) * (moved**2).sum(-1)
    shared: Floats = np.divide((apart * moved).sum(-1)**2, product, out=np.zeros_like(product), where=product > 0)
    return shared


def moments_at(mas: ArrayLike, doses: ArrayLike, drift: ArrayLike, jitter: ArrayLike) -> tuple[Floats, Floats]:
    """Drift and jitter of n images at any dose, from those at the `doses` (d,) tried.

    drift x mAs and jitter x sqrt(mAs), which the laws hold constant, are linear in log mAs between the doses and
    constant beyond them. `drift` and `jitter` (n, d); `mas` (m,) or (n, m); answers (n, m).

    Raises:
        UsageError: doses that are not positive and ascending, or columns that are not one a dose.
    """
    tried, shifts, shakes = _checked(doses, drift, jitter)
    asked = np.broadcast_to(np.atleast_1d(np.asarray(mas, np.float64)), _shape(mas, len(shifts)))
    at, share = _cells(asked, tried)
    found = []
    for values, power in ((shifts, 1.0), (shakes, 0.5)):
        scaled = values * tried**power
        left = np.take_along_axis(scaled, at, axis=1)
        right = np.take_along_axis(scaled, np.minimum(at + 1, len(tried) - 1), axis=1)
        found.append((left + share * (right - left)) / asked**power)
    return found[0], found[1]


def flip_probability_at(mas: ArrayLike, margin: ArrayLike, doses: ArrayLike, drift: ArrayLike,
                        jitter: ArrayLike) -> Floats:
    """P(flip) of n images at any dose, (n, m), from the clean `margin` (n,) and the moments at the doses tried."""
    distance = _distance_at(mas, np.asarray(margin, np.float64), doses, drift, jitter)
    return np.asarray(special.ndtr(-distance))


def critical_mas(margin: ArrayLike, doses: ArrayLike, drift: ArrayLike, jitter: ArrayLike, level: float) -> Floats:
    """The dose below which P(flip) exceeds `level`, (n,) in mAs: above it, no dose tried does.

    Searched between the lowest and the highest of the doses. 0 where P(flip) is within the level at all of them
    (the critical dose lies below, or there is none); inf where it exceeds it at the highest dose already; NaN
    where margin, drift or jitter are unknown.
    """
    tried, shifts, shakes = _checked(doses, drift, jitter)
    clean = np.asarray(margin, np.float64)
    wanted = -float(special.ndtri(level))
    scale = np.geomspace(tried[0], tried[-1], _STEPS)

    def exceeded(mas: Floats) -> Flags:
        return np.asarray(_distance_at(mas, clean, tried, shifts, shakes) < wanted)

    over = exceeded(scale)
    any_over, last = over.any(1), over.shape[1] - 1 - np.argmax(over[:, ::-1], axis=1)
    low, high = np.log(scale[last]), np.log(scale[np.minimum(last + 1, _STEPS - 1)])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = exceeded(np.exp(middle)[:, None])[:, 0]
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    found = np.where(any_over, np.where(last == _STEPS - 1, np.inf, np.exp((low + high) / 2)), 0.0)
    known = np.isfinite(clean) & np.isfinite(shifts).all(1) & np.isfinite(shakes).all(1)
    return np.where(known, found, np.nan)


def power_law(doses: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """(a, k) of values = a mAs^k, by least squares of the logarithms over doses with positive values.

    NaN where fewer than two doses have one.
    """
    mas, found = np.asarray(doses, np.float64), np.asarray(values, np.float64)
    good = np.isfinite(found) & (found > 0)
    if good.sum() < 2:
        return float("nan"), float("nan")
    power, height = np.polyfit(np.log(mas[good]), np.log(found[good]), 1)
    return float(np.exp(height)), float(power)


def nearest_dose(doses: Iterable[float], wanted: float) -> float:
    """The dose nearest to the wanted one by ratio; of two as near, the lower."""
    return min(doses, key=lambda mas: (round(abs(math.log(mas / wanted)), 9), mas))


def effective_mas(scan_mas: ArrayLike, added_mas: ArrayLike) -> Floats:
    """The dose of a scan at `scan_mas` to which noise of `added_mas` is added: variances add, so 1/m_eff =
    1/m_0 + 1/m. [B] adds noise to noisy scans and overlooks it. NaN where the scan's own dose is unknown."""
    scan, added = np.asarray(scan_mas, np.float64), np.asarray(added_mas, np.float64)
    return np.asarray(scan * added / (scan + added))


def _enough(draws: int) -> None:
    if draws < FEWEST_DRAWS:
        raise UsageError(f"a flip probability needs at least {FEWEST_DRAWS} draws of each margin; got {draws}")


def _true_distance(distance: Floats, n: int, probability: float) -> Floats:
    """The mu/sigma for which n draws' mean/SD lies below `distance` with the stated probability."""
    near = np.clip(distance, -_FAR, _FAR)
    found = special.nctdtrinc(n - 1.0, probability, np.sqrt(n) * near) / np.sqrt(n)
    wide, narrow = (np.sqrt(special.chdtri(n - 1.0, part) / (n - 1)) for part in (probability, 1 - probability))
    far = distance * np.where(distance > 0, wide, narrow)
    return np.asarray(np.where(np.abs(distance) > _FAR, far, found))


def _anderson_darling_p(statistic: Floats) -> Floats:
    """The p value of the statistic already corrected for n."""
    a = np.minimum(statistic, 13.0)
    pieces = [1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2), 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2),
              np.exp(0.9177 - 4.279 * a - 1.38 * a**2), np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)]
    return np.asarray(np.clip(np.select([a < 0.2, a < 0.34, a < 0.6], pieces[:3], pieces[3]), 0.0, 1.0))


def _distance_at(mas: ArrayLike, margin: Floats, doses: ArrayLike, drift: ArrayLike, jitter: ArrayLike) -> Floats:
    """(margin + drift) / jitter, (n, m); infinite where nothing shakes."""
    shift, shake = moments_at(mas, doses, drift, jitter)
    moved = margin[:, None] + shift
    still = np.where(moved < 0, -np.inf, np.inf)
    distance: Floats = np.divide(moved, shake, out=np.where(np.isnan(moved), np.nan, still), where=shake != 0)
    return distance


def _checked(doses: ArrayLike, drift: ArrayLike, jitter: ArrayLike) -> tuple[Floats, Floats, Floats]:
    tried, shifts, shakes = (np.asarray(each, np.float64) for each in (doses, drift, jitter))
    if tried.ndim != 1 or not len(tried) or (tried <= 0).any() or (np.diff(tried) <= 0).any():
        raise UsageError(f"doses in mAs must be positive and ascending; got {tried.tolist()}")
    if shifts.ndim != 2 or shifts.shape != shakes.shape or shifts.shape[1] != len(tried):
        raise UsageError(f"drift and jitter must be (images, {len(tried)} doses); "
                         f"got {shifts.shape} and {shakes.shape}")
    return tried, shifts, shakes


def _shape(mas: ArrayLike, n: int) -> tuple[int, int]:
    asked = np.atleast_1d(np.asarray(mas, np.float64))
    return (n, asked.shape[-1])


def _cells(asked: Floats, tried: Floats) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Floats]:
    """For each dose asked the tried one below it, and how far towards the next it lies in log mAs, 0 to 1."""
    if len(tried) == 1:
        return np.zeros(asked.shape, np.int64), np.zeros(asked.shape)
    at = np.clip(np.searchsorted(tried, asked, side="right") - 1, 0, len(tried) - 2)
    logs = np.log(tried)
    share = (np.log(asked) - logs[at]) / (logs[at + 1] - logs[at])
    return at, np.clip(share, 0.0, 1.0)
