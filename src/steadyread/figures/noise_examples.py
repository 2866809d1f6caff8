"""[B] Fig. 6: a clean image, the noise, the noisy image, and the probability that the network gives each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steadyread.figures.examples import three_pictures
from steadyread.figures.style import look, nothing, panel
from steadyread.metrics.intervals import Floats
from steadyread.words.noise import noise_name
from steadyread.words.numbers import percent

Pixels = NDArray[np.uint8]
_SHOWN = 4
NOISE_WINDOW_SIGMAS = 3.0     # the noise is shown within so many of its own SD


@dataclass(frozen=True, eq=False)
class NoiseExample:
    """One image in HU, (z, y, x) or (y, x), without and with noise, and the probability of class 1 of each."""

    case_id: str
    label: str
    attack: str
    mas: float
    fold: int
    clean: Floats
    noisy: Floats
    clean_probability: float
    noisy_probability: float

    @property
    def noise_window_hu(self) -> float:
        """The HU either side of 0 within which the noise is shown, to two digits."""
        spread = NOISE_WINDOW_SIGMAS * float(np.std(middle(self.noisy - self.clean)))
        return float(f"{max(spread, 1.0):.2g}")

    def pictures(self, window: tuple[float, float]) -> tuple[Pixels, Pixels, Pixels]:
        """The middle axial slice, clean, the noise alone and noisy, each as RGB (h, w, 3)."""
        reach = self.noise_window_hu
        return (grey(middle(self.clean), window), grey(middle(self.noisy - self.clean), (-reach, reach)),
                grey(middle(self.noisy), window))


def middle(image: Floats) -> Floats:
    """The middle axial slice of a volume (z, y, x); a slice is itself."""
    return image[image.shape[0] // 2] if image.ndim == 3 else image


def grey(plane: Floats, window: tuple[float, float]) -> Pixels:
    """A slice in HU as RGB (h, w, 3), black below the window and white above."""
    low, high = window
    shown = np.nan_to_num((plane - low) / (high - low)).clip(0, 1)
    return np.repeat(np.asarray((255 * shown).round(), np.uint8)[..., None], 3, axis=2)


def noise_examples(shown: Sequence[NoiseExample], window: tuple[float, float],
                   malignant: str = "class 1") -> Figure:
    """A row an example: clean, noise, noisy, with the probability of class 1 above."""
    with look():
        count = min(len(shown), _SHOWN)
        if not count:
            figure, (axes,) = panel(5.3, 1.6)
            nothing(axes, "no example images were stored")
            return figure
        figure, _ = panel(6.6, 2.45 * count, rows=0)
        for row, example in enumerate(shown[:count]):
            titles = (f"{malignant}: {percent(example.clean_probability)}",
                      f"noise, ±{example.noise_window_hu:g} HU",
                      f"{malignant}: {percent(example.noisy_probability)}")
            said = (f"{example.case_id[:24]}\nlabel {example.label[:20]}",
                    f"{noise_name(example.attack)}, {example.mas:g} mAs")
            three_pictures(figure, (count, row), example.pictures(window), titles, said)
    return figure
