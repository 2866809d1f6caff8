"""Images as an attack or noise leaves them, and what a network says of each: [A] Fig. 1 and [B] Fig. 6."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steadyread.charts.pictures import Floats, Pixels, amplification, change, mapped, middle, picture
from steadyread.charts.sheet import Cell, Row, Sheet, sheet
from steadyread.units import Bounds
from steadyread.words.noise import noise_name
from steadyread.words.numbers import attack_name, percent, show_native

_SHOWN, _NOISY = 6, 4
_SIDE, _SMALL = 158, 126         # of a picture, in units of a sheet
NOISE_WINDOW_SIGMAS = 3.0        # the noise is shown within so many of its own SD


@dataclass(frozen=True, eq=False)
class Example:
    """One image (c, *space) in native units with its attacked counterpart, both with class probabilities."""

    case_id: str
    label: str
    attack: str
    size: float
    clean: Floats
    adversarial: Floats
    clean_probabilities: Floats
    adversarial_probabilities: Floats
    classes: tuple[str, ...]

    def says(self, probabilities: Floats) -> tuple[str, float | None]:
        """The most probable class with its probability; None where undecided."""
        return most_probable(probabilities, self.classes)


@dataclass(frozen=True, eq=False)
class Attacked:
    """One image under several attacks of one size ([A] Fig. 1).

    `attacks` (k,) are their names with "clean" among them, `images` (k, c, *space) native, `probabilities`
    (k, classes).
    """

    case_id: str
    label: str
    size: float
    attacks: tuple[str, ...]
    images: Floats
    probabilities: Floats
    classes: tuple[str, ...]

    def says(self, place: int) -> tuple[str, float | None]:
        """The most probable class of one of the images with its probability; None where undecided."""
        return most_probable(self.probabilities[place], self.classes)


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
        return (mapped(middle(self.clean), window), mapped(middle(self.noisy - self.clean), (-reach, reach)),
                mapped(middle(self.noisy), window))


def most_probable(probabilities: Floats, classes: Sequence[str]) -> tuple[str, float | None]:
    """The most probable of the classes with its probability; None where a probability is not known."""
    if not len(probabilities) or not np.isfinite(probabilities).all():
        return "undecided", None
    best = int(np.argmax(probabilities))
    return (classes[best] if best < len(classes) else str(best)), float(probabilities[best])


def examples(shown: Sequence[Example], bounds: Bounds) -> Sheet:
    """A row an example: clean, change with its factor, attacked. Volumes show their middle slice."""
    rows = []
    for example in shown[:_SHOWN]:
        pictures = (picture(example.clean, bounds), change(example.clean, example.adversarial, bounds),
                    picture(example.adversarial, bounds))
        factor = amplification(example.clean, example.adversarial, bounds.range)
        above = (_named(*example.says(example.clean_probabilities)), f"change × {factor:g}",
                 _named(*example.says(example.adversarial_probabilities)))
        rows.append(_triple(pictures, above, (example.case_id, example.label),
                            (attack_name(example.attack), show_native(example.size, bounds))))
    return sheet("examples", "Clean, change amplified, attacked.", rows, "no example images were stored")


def attacked_grid(rows: Sequence[tuple[str, Attacked, Bounds]]) -> Sheet:
    """[A] Fig. 1: a row an image (its set's title, the image, its bounds): clean, then under each attack."""
    return sheet("fig1", "One image of each set, clean and under each attack ([A] Fig. 1).", [
        Row([Cell(pixels := picture(image, bounds), _fit(pixels, _SMALL),
                  (attack_name(name), _named(*attacked.says(place))))
             for place, (name, image) in enumerate(zip(attacked.attacks, attacked.images, strict=True))],
            (title[:24], show_native(attacked.size, bounds).split(" (")[0]))
        for title, attacked, bounds in rows], "no attacked images were stored")


def noise_examples(shown: Sequence[NoiseExample], window: tuple[float, float], malignant: str = "class 1") -> Sheet:
    """A row an example: clean, noise, noisy, with the probability of class 1 above."""
    rows = []
    for example in shown[:_NOISY]:
        above = (f"{malignant}: {percent(example.clean_probability)}", f"noise, ±{example.noise_window_hu:g} HU",
                 f"{malignant}: {percent(example.noisy_probability)}")
        rows.append(_triple(example.pictures(window), above, (example.case_id, example.label),
                            (f"{noise_name(example.attack)}, {example.mas:g} mAs",)))
    return sheet("examples", "Clean, noise, noisy.", rows, "no example images were stored")


def _triple(pictures: Sequence[Pixels], above: Sequence[str], case: tuple[str, str], below: tuple[str, ...]) -> Row:
    case_id, label = case
    return Row([Cell(pixels, _fit(pixels, _SIDE), (words,), below if at == 2 else ())
                for at, (pixels, words) in enumerate(zip(pictures, above, strict=True))],
               (case_id[:24], f"label {label[:20]}"))


def _fit(pixels: Pixels, side: float) -> tuple[float, float]:
    """Width and height of a picture within a square, its proportions kept."""
    high, wide = pixels.shape[:2]
    return side * wide / max(high, wide), side * high / max(high, wide)


def _named(name: str, probability: float | None) -> str:
    return name[:20] if probability is None else f"{name[:20]}, {100 * probability:.1f} %"
