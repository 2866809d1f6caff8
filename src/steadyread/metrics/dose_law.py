"""How noise goes with dose: the exponent k of sigma ~ mAs^k, which is -1/2 where quantum noise rules."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from steadyread.metrics.intervals import LEVEL

QUANTUM = -0.5


@dataclass(frozen=True)
class DoseLaw:
    """The exponent k of sigma ~ mAs^k with its interval, which is NaN where two values leave no degree of freedom.

    `low_mas` and `high_mas` are the doses that it was fitted on.
    """

    exponent: float
    low: float
    high: float
    low_mas: float
    high_mas: float

    def as_json(self) -> dict[str, float | None]:
        """The law as plain values."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}

    @property
    def is_quantum(self) -> bool | None:
        """Whether the interval holds -1/2; None where there is none."""
        return None if np.isnan(self.low) else self.low <= QUANTUM <= self.high


def dose_law(mas: ArrayLike, sigma_hu: ArrayLike, level: float = LEVEL) -> DoseLaw | None:
    """The regression of log sigma on log mAs, values (n,) of slices. None where all doses are one.

    The interval is that of least squares, t of n - 2 degrees of freedom.
    """
    x, y = np.log(np.asarray(mas, np.float64)), np.log(np.asarray(sigma_hu, np.float64))
    away = x - x.mean() if len(x) else x
    spread = float((away**2).sum())
    if spread < 1e-12:
        return None
    exponent = float((away * y).sum() / spread)
    rest = y - y.mean() - exponent * away
    free = len(x) - 2
    error = np.sqrt((rest**2).sum() / free / spread) if free else np.nan
    far = float(special.stdtrit(max(free, 1), (1 + level) / 2) * error)
    return DoseLaw(exponent, exponent - far, exponent + far, float(np.exp(x.min())), float(np.exp(x.max())))
