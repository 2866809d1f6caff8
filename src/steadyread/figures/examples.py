"""[A] Fig. 1: a clean image, the change (amplified), the attacked image, and what the model says of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steadyread.figures.style import look, nothing, panel
from steadyread.metrics.intervals import Floats
from steadyread.units import Bounds
from steadyread.words.numbers import attack_name, show_native

Pixels = NDArray[np.uint8]
_SHOWN = 6


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
        if not len(probabilities) or not np.isfinite(probabilities).all():
            return "undecided", None
        best = int(np.argmax(probabilities))
        return (self.classes[best] if best < len(self.classes) else str(best)), float(probabilities[best])


def examples(shown: Sequence[Example], bounds: Bounds) -> Figure:
    """A row an example: clean, change with its factor, attacked. Volumes show their middle slice."""
    with look():
        count = min(len(shown), _SHOWN)
        if not count:
            figure, (axes,) = panel(5.3, 1.6)
            nothing(axes, "no example images were stored")
            return figure
        figure, _ = panel(6.6, 2.35 * count, rows=0)
        for row, example in enumerate(shown[:count]):
            pictures = (picture(example.clean, bounds), change(example.clean, example.adversarial, bounds),
                        picture(example.adversarial, bounds))
            factor = amplification(example.clean, example.adversarial, bounds.range)
            titles = (_said(example, example.clean_probabilities), f"change × {factor:g}",
                      _said(example, example.adversarial_probabilities))
            said = (f"{example.case_id[:24]}\nlabel {example.label[:20]}",
                    f"{attack_name(example.attack)}\n{show_native(example.size, bounds)}")
            three_pictures(figure, (count, row), pictures, titles, said)
    return figure


def three_pictures(figure: Figure, place: tuple[int, int], pictures: Sequence[Pixels], titles: Sequence[str],
                   said: tuple[str, str]) -> None:
    """One example as row `place` = (of how many, which): three titled pictures, words beside and below them."""
    count, row = place
    for column, (pixels, title) in enumerate(zip(pictures, titles, strict=True)):
        axes = figure.add_subplot(count, 3, 3 * row + column + 1)
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(title, fontsize=9, fontweight="normal", loc="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
        if column == 0:
            axes.set_ylabel(said[0], fontsize=8.5)
        if column == 2:
            axes.set_xlabel(said[1], fontsize=8)


def picture(image: Floats, bounds: Bounds) -> Pixels:
    """An image (c, *space) in native units as RGB (h, w, 3), the bounds going from black to white."""
    flat = np.nan_to_num((plane(image) - bounds.low) / bounds.range).clip(0, 1)
    colours = flat if flat.shape[0] == 3 else np.repeat(flat[:1], 3, axis=0)
    return np.asarray((colours * 255).round().transpose(1, 2, 0), np.uint8)


def change(clean: Floats, adversarial: Floats, bounds: Bounds) -> Pixels:
    """The amplified change as RGB (h, w, 3): blue lower, white unchanged, red higher."""
    factor = amplification(clean, adversarial, bounds.range)
    difference = plane(np.asarray(adversarial, np.float64) - clean).mean(0) / bounds.range
    shown = colormaps["RdBu_r"](np.clip(0.5 + factor * np.nan_to_num(difference), 0, 1))
    return np.asarray((shown[..., :3] * 255).round(), np.uint8)


def amplification(clean: Floats, adversarial: Floats, span: float) -> float:
    """The factor that brings the largest change to half of `span`, rounded down to two digits; 1 for none."""
    largest = float(np.nan_to_num(np.abs(np.asarray(adversarial, np.float64) - clean)).max(initial=0.0))
    if largest == 0:
        return 1.0
    factor = 0.5 * span / largest
    unit = 10.0 ** (np.floor(np.log10(factor)) - 1)
    return float(f"{np.floor(factor / unit) * unit:.6g}")


def plane(image: Floats) -> Floats:
    """The two dimensions that are shown, (c, h, w): a volume's middle slice along its shortest axis.

    A line (c, n) is drawn as a band an eighth as high as it is long.
    """
    if image.ndim == 2:
        return np.repeat(image[:, None, :], max(1, image.shape[1] // 8), axis=1)
    while image.ndim > 3:
        axis = int(np.argmin(image.shape[1:])) + 1
        image = np.take(image, image.shape[axis] // 2, axis=axis)
    return image


def _said(example: Example, probabilities: Floats) -> str:
    name, probability = example.says(probabilities)
    return name[:20] if probability is None else f"{name[:20]}, {100 * probability:.1f} %"

