"""What a network sees of an image without and with noise: slices ([B] Fig. 5), features (Fig. 9), attention (Fig. 10).

Images are in HU, (z, y, x) towards head, back and left, or (y, x). Slices are drawn true to scale in mm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyread.charts.pictures import Floats, Outline, Pixels, Window, mapped, middle, outline, overlaid
from steadyread.charts.sheet import Cell, Row, Sheet, sheet
from steadyread.metrics.attention_shift import centre_distance_mm, overlap, share_inside
from steadyread.metrics.intervals import Ints
from steadyread.metrics.seeing_reads import method_name
from steadyread.words.noise import noise_name
from steadyread.words.numbers import digits, percent

_NOISE_SIGMAS = 3.0
_BAR_MM = 10.0
_SLICE, _MAP, _TILE = 178.0, 158.0, 66.0      # of a picture, in units of a sheet
_FEATURES = 64        # shown, as in [B]


@dataclass(frozen=True, eq=False)
class Shown:
    """One image without and with noise, and what one network makes of both. `maps` has (clean, noisy) by method.

    Images, mask and maps are (*space); features (k, *space'), `change` (k,), NaN for a silent one. A mask that is
    empty is not known. `spacing_mm` has one value an axis. `flipped` and `fold` are
    None where not told.
    """

    case_id: str
    label: str
    attack: str
    mas: float
    fold: int | None
    flipped: bool | None
    clean: Floats
    noisy: Floats
    clean_probability: float
    noisy_probability: float
    mask: NDArray[np.bool_]
    spacing_mm: tuple[float, ...]
    features_clean: Floats
    features_noisy: Floats
    change: Floats
    maps: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The noise, what it did, and whose network it is, in words."""
        flip = {True: ": flipped", False: ": not flipped", None: ""}[self.flipped]
        return f"{noise_name(self.attack)}, {self.mas:g} mAs{flip}" + (
            f"; fold {self.fold}" if self.fold is not None else "")


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice through the middle, its first row uppermost, with its size in mm (down, across)."""

    name: str
    values: Any
    size_mm: tuple[float, float]


def planes(image: NDArray[Any], spacing_mm: Sequence[float]) -> list[Plane]:
    """The slices through the middle of (z, y, x), axial, coronal and sagittal with the head up; an image (y, x) is
    itself.
    """
    size = [length * step for length, step in zip(image.shape, spacing_mm, strict=True)]
    if image.ndim == 2:
        return [Plane("slice", image, (size[0], size[1]))]
    z, y, x = (length // 2 for length in image.shape)
    return [Plane("axial", image[z], (size[1], size[2])), Plane("coronal", image[::-1, y], (size[0], size[2])),
            Plane("sagittal", image[::-1, :, x], (size[0], size[1]))]


def slices(name: str, caption: str, shown: Sequence[Shown], window: Window, malignant: str = "class 1") -> Sheet:
    """[B] Fig. 5: three orthogonal slices through the middle of each image: clean, noisy, the noise alone."""
    across = max((plane.size_mm[1] for seen in shown for plane in planes(seen.clean, seen.spacing_mm)), default=1.0)
    rows = [row for seen in shown for row in _slices_of(seen, window, malignant, _SLICE / across)]
    return sheet(name, caption, rows, "no images were stored")


def _slices_of(seen: Shown, window: Window, malignant: str, per_mm: float) -> list[Row]:
    noise = seen.noisy - seen.clean
    reach = float(f"{max(_NOISE_SIGMAS * float(noise.std()), 1.0):.2g}")
    columns = ((seen.clean, window, ("clean", f"{malignant}: {percent(seen.clean_probability)}")),
               (seen.noisy, window, ("noisy", f"{malignant}: {percent(seen.noisy_probability)}")),
               (noise, (-reach, reach), ("the noise", f"±{reach:g} HU")))
    cuts = [planes(image, seen.spacing_mm) for image, _, _ in columns]
    rows = []
    for at, plane in enumerate(cuts[0]):
        size = (plane.size_mm[1] * per_mm, plane.size_mm[0] * per_mm)
        last = at == len(cuts[0]) - 1
        cells = [Cell(mapped(cut[at].values, levels), size, words if at == 0 else (),
                      (seen.said,) if last and column == 1 else (),
                      bar=_bar(plane, per_mm) if at == column == 0 else None)
                 for column, (cut, (_, levels, words)) in enumerate(zip(cuts, columns, strict=True))]
        rows.append(Row(cells, (f"{seen.case_id[:28]}, label {seen.label[:20]}" if at == 0 else "",
                                plane.name if len(cuts[0]) > 1 else "")))
    return rows


def _bar(plane: Plane, per_mm: float) -> tuple[float, str] | None:
    """10 mm, or 1 where the image is smaller than that."""
    across = plane.size_mm[1]
    length = _BAR_MM if across > 1.5 * _BAR_MM else 1.0
    return (length * per_mm, f"{length:g} mm") if across >= 1.5 else None


def attention(name: str, caption: str, shown: Sequence[Shown], window: Window) -> Sheet:
    """[B] Fig. 10: attention over the middle slice, clean and noisy, a column pair a method, the mask outlined.

    A volume's attention is the mean through its slices, so that none is left out, and its mask at its widest.
    """
    methods = list(dict.fromkeys(method for seen in shown for method in seen.maps))
    rows = [Row([cell for method in methods for cell in _pair(seen, method, window)],
                (f"{seen.case_id[:24]}", f"label {seen.label[:20]}"
                 + (f", fold {seen.fold}" if seen.fold is not None else ""))) for seen in shown] if methods else []
    return sheet(name, caption, rows, "no attention was stored", _scale())


def _pair(seen: Shown, method: str, window: Window) -> list[Cell]:
    """One method's two maps over the two images, with what moved below the second."""
    plane = planes(seen.clean, seen.spacing_mm)[0]
    size = (_MAP, _MAP * plane.size_mm[0] / plane.size_mm[1])
    if method not in seen.maps:
        return [Cell(None, size, ("not stored",)), Cell(None, size)]
    clean, noisy = seen.maps[method]
    edges: Outline = outline(np.asarray(seen.mask.any(0) if seen.mask.ndim == 3 else seen.mask))
    below: list[tuple[str, ...]] = [() if strength.max() > 0 else ("zero everywhere",) for strength in (clean, noisy)]
    if clean.max() > 0 and noisy.max() > 0:
        inside = share_inside(clean[None], seen.mask[None])[0]
        below = [(f"{percent(inside, 0)} in the nodule" if np.isfinite(inside) else "",),
                 tuple(moved_said(seen, method).split("\n"))]
    return [Cell(_over(image, strength, window), size, (title,), words, edges)
            for image, strength, title, words in zip((seen.clean, seen.noisy), (clean, noisy),
                                                     (f"{method_name(method)}, clean", "with noise"), below,
                                                     strict=True)]


def _over(image: Floats, strength: Floats, window: Window) -> Pixels:
    through = strength.mean(0) if strength.ndim == 3 else strength
    return overlaid(middle(image), through / max(float(through.max()), 1e-30), window)


def _scale() -> Cell:
    """The scale of attention, as it looks on a dark grey."""
    share = np.linspace(0, 1, 128)[None]
    return Cell(overlaid(np.full(share.shape, 0.25), share, (0, 1)), (150, 9), (),
                ("0 — attention — the map's largest",))


def moved_said(seen: Shown, method: str) -> str:
    """What noise did to a map, of the whole volume: `overlap 43 %, 2.1 mm, 28 % in the nodule`."""
    clean, noisy = (strength[None] for strength in seen.maps[method])
    moved = centre_distance_mm(clean, noisy, seen.spacing_mm)[0]
    inside = share_inside(noisy, seen.mask[None])[0]
    first = f"{percent(inside, 0)} in the nodule\n" if np.isfinite(inside) else ""
    return f"{first}overlap {percent(float(overlap(clean, noisy)[0]), 0)}, moved {moved:.1f} mm"


def features(name: str, caption: str, seen: Shown | None) -> Sheet:
    """Central slices of the features, clean left and noisy right on one grey scale; the most changed boxed."""
    count = 0 if seen is None else min(len(seen.change), _FEATURES)
    if seen is None or not count:
        return sheet(name, caption, [], "no features were stored")
    across, boxed = 4 if count <= 16 else 8, set(most_changed(seen).tolist())
    cells = [_feature(seen, at, at in boxed, 2 * _TILE if across == 4 else _TILE) for at in range(count)]
    return sheet(name, caption, [Row(cells[at:at + across]) for at in range(0, count, across)])


def most_changed(seen: Shown) -> Ints:
    """The features that are boxed: the eighth that changes most in this image, at least three."""
    change = np.where(np.isfinite(seen.change), seen.change, -np.inf)[:_FEATURES]
    kept = min(max(3, round(len(change) / 8)), int(np.isfinite(change).sum()))
    return np.argsort(-change, kind="stable")[:kept].astype(np.int64)


def _feature(seen: Shown, at: int, boxed: bool, wide: float) -> Cell:
    clean, noisy = (middle(volume[at]) for volume in (seen.features_clean, seen.features_noisy))
    low, high = (float(end) for end in (min(clean.min(), noisy.min()), max(clean.max(), noisy.max())))
    levels = (low, high if high > low else low + 1)
    gap = np.full((clean.shape[0], max(1, clean.shape[1] // 16), 3), 255, np.uint8)
    pair = np.concatenate([mapped(clean, levels), gap, mapped(noisy, levels)], 1)
    change = float(seen.change[at])
    words = f"{at + 1}: {digits(change)}" if np.isfinite(change) else f"{at + 1}: silent"
    return Cell(pair, (wide + 14, (wide + 14) * pair.shape[0] / pair.shape[1]), (words,), boxed=boxed)
