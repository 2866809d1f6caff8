"""What a network sees of an image without and with noise: slices ([B] Fig. 5) and attention over them (Fig. 10).

Images are in HU, (z, y, x) towards head, back and left, or (y, x). Slices are drawn in mm, so that those of a thin
box are thin on paper too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from steadyread.figures.style import look, nothing, panel
from steadyread.metrics.attention_shift import centre_distance_mm, overlap, share_inside
from steadyread.metrics.intervals import Floats
from steadyread.metrics.seeing_reads import method_name
from steadyread.words.noise import noise_name
from steadyread.words.numbers import percent

Window = tuple[float, float]
Outline = list[tuple[tuple[float, float], tuple[float, float]]]
_HEAT = "plasma"      # even in lightness, told apart by colour-blind readers
_STRONGEST = 0.78     # how opaque attention is at its strongest; it fades to nothing at 0
_LIGHTEST = 0.12      # of the colours, those nearest to black left out: they would darken the image
_NOISE_SIGMAS = 3.0
_BAR_MM = 10.0


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
    """One slice through the middle with its size in mm (down, across); `up` where its first row is the lowest."""

    name: str
    values: Any
    size_mm: tuple[float, float]
    up: bool = False


def planes(image: NDArray[Any], spacing_mm: Sequence[float]) -> list[Plane]:
    """The slices through the middle of (z, y, x), axial, coronal and sagittal; an image (y, x) is itself."""
    size = [length * step for length, step in zip(image.shape, spacing_mm, strict=True)]
    if image.ndim == 2:
        return [Plane("slice", image, (size[0], size[1]))]
    z, y, x = (length // 2 for length in image.shape)
    return [Plane("axial", image[z], (size[1], size[2])),
            Plane("coronal", image[:, y], (size[0], size[2]), up=True),
            Plane("sagittal", image[:, :, x], (size[0], size[1]), up=True)]


def slices(shown: Sequence[Shown], window: Window, malignant: str = "class 1") -> Figure:
    """[B] Fig. 5: three orthogonal slices through the middle of each image: clean, noisy, the noise alone."""
    with look():
        if not shown:
            return _empty("no images were stored")
        heights = [[plane.size_mm[0] for plane in planes(one.clean, one.spacing_mm)] for one in shown]
        across = max(plane.size_mm[1] for one in shown for plane in planes(one.clean, one.spacing_mm))
        column = 2.15
        tall = [sum(each) / across * column + 0.12 * len(each) + 0.55 for each in heights]   # inches
        figure, _ = panel(3 * column + 0.75, sum(tall) + 0.1, rows=0)
        parts = figure.subfigures(len(shown), 1, height_ratios=tall, squeeze=False)[:, 0]
        for part, one in zip(parts, shown, strict=True):
            _slices_of(part, one, window, malignant)
    return figure


def _slices_of(part: Any, one: Shown, window: Window, malignant: str) -> None:
    noise = one.noisy - one.clean
    reach = float(f"{max(_NOISE_SIGMAS * float(noise.std()), 1.0):.2g}")
    columns = ((one.clean, window, f"clean\n{malignant}: {percent(one.clean_probability)}"),
               (one.noisy, window, f"noisy\n{malignant}: {percent(one.noisy_probability)}"),
               (noise, (-reach, reach), f"the noise\n±{reach:g} HU"))
    rows = [plane.size_mm[0] for plane in planes(one.clean, one.spacing_mm)]
    every = part.subplots(len(rows), 3, squeeze=False, gridspec_kw={"height_ratios": rows})
    for at, (image, levels, title) in enumerate(columns):
        for row, plane in enumerate(planes(image, one.spacing_mm)):
            axes = every[row, at]
            _grey(axes, plane, levels)
            if row == 0:
                axes.set_title(title, fontsize=9, fontweight="normal", loc="center")
            if at == 0 and len(rows) > 1:
                axes.set_ylabel(plane.name, fontsize=8.5, rotation=0, ha="right", va="center")
    _scale_bar(every[0, 0], planes(one.clean, one.spacing_mm)[0])
    part.supylabel(f"{one.case_id[:28]}, label {one.label[:20]}", fontsize=8.5)
    every[-1, 1].set_xlabel(one.said, fontsize=8.5)


def attention(shown: Sequence[Shown], window: Window) -> Figure:
    """[B] Fig. 10: attention over the middle slice, clean and noisy, a column pair a method, the mask outlined.

    A volume's attention is the mean through its slices, so that none is left out, and its mask at its widest.
    """
    methods = list(dict.fromkeys(name for one in shown for name in one.maps))
    with look():
        if not methods:
            return _empty("no attention was stored")
        side = 1.9
        sizes = [_axial(one.clean, one).size_mm for one in shown]
        tall = [side * down / across + 0.62 for down, across in sizes]
        figure, _ = panel(2 * side * len(methods) + 0.95, sum(tall) + 0.35, rows=0)
        every = figure.subplots(len(shown), 2 * len(methods), squeeze=False, gridspec_kw={"height_ratios": tall})
        for row, one in zip(every, shown, strict=True):
            for at, method in enumerate(methods):
                _pair(row[2 * at:2 * at + 2], one, method, window)
            fold = f", fold {one.fold}" if one.fold is not None else ""
            row[0].set_ylabel(f"{one.case_id[:24]}\nlabel {one.label[:20]}{fold}", fontsize=8)
        bar = figure.colorbar(_scale(), ax=every, shrink=min(0.9, 2.0 / sum(tall)), pad=0.015, aspect=18)
        bar.set_label("attention, of the map's largest", fontsize=8.5)
        bar.ax.tick_params(labelsize=8)
    return figure


def _pair(axes: Sequence[Axes], one: Shown, method: str, window: Window) -> None:
    """One method's two maps over the two images, with what moved below the second."""
    if method not in one.maps:
        for each in axes:
            nothing(each, "not stored")
        return
    clean, noisy = one.maps[method]
    for each, image, found, title in zip(axes, (one.clean, one.noisy), (clean, noisy),
                                         (f"{method_name(method)}, clean", "with noise"), strict=True):
        plane = _axial(image, one)
        _bare(each)
        through = found.mean(0) if found.ndim == 3 else found
        each.imshow(overlaid(plane.values, through / max(float(through.max()), 1e-30), window),
                    interpolation="nearest", extent=_extent(plane), origin=_origin(plane))
        _outlined(each, replace(plane, values=one.mask.any(0) if one.mask.ndim == 3 else one.mask))
        each.set_title(title, fontsize=8.5, fontweight="normal", loc="center")
        if not found.max() > 0:
            each.set_xlabel("zero everywhere", fontsize=8)   # told, not hidden: no evidence for the clean read
    if clean.max() > 0 and noisy.max() > 0:
        axes[1].set_xlabel(moved_said(one, method), fontsize=8)
        inside = share_inside(clean[None], one.mask[None])[0]
        axes[0].set_xlabel(f"{percent(inside, 0)} in the nodule" if np.isfinite(inside) else " ", fontsize=8)


def moved_said(one: Shown, method: str) -> str:
    """What noise did to a map, of the whole volume: `overlap 43 %, 2.1 mm, 28 % in the nodule`."""
    clean, noisy = (found[None] for found in one.maps[method])
    moved = centre_distance_mm(clean, noisy, one.spacing_mm)[0]
    inside = share_inside(noisy, one.mask[None])[0]
    first = f"{percent(inside, 0)} in the nodule\n" if np.isfinite(inside) else ""
    return f"{first}overlap {percent(float(overlap(clean, noisy)[0]), 0)}, moved {moved:.1f} mm"


def overlaid(image: Floats, strength: Floats, window: Window) -> NDArray[np.uint8]:
    """A slice in HU as RGB (h, w, 3) with `strength` (h, w) from 0 to 1 in colour over it, nothing at 0."""
    low, high = window
    grey = np.nan_to_num((image - low) / (high - low)).clip(0, 1)[..., None]
    return np.asarray((255 * _heated(grey, np.nan_to_num(strength).clip(0, 1))).round(), np.uint8)


def _heated(grey: Floats, share: Floats) -> Floats:
    """Grey (..., 1) under the colour of each share (...,), as RGB (..., 3)."""
    colour = np.asarray(colormaps[_HEAT](_LIGHTEST + (1 - _LIGHTEST) * share))[..., :3]
    opaque = (_STRONGEST * share**0.7)[..., None]
    return np.asarray((1 - opaque) * grey + opaque * colour)


def outline(mask: NDArray[np.bool_]) -> Outline:
    """The edges of the pixels of a mask (h, w), as pairs of (x, y) in pixels; nothing for an empty one."""
    held = np.pad(mask.astype(bool), 1)
    down, across = held[1:, 1:-1] != held[:-1, 1:-1], held[1:-1, 1:] != held[1:-1, :-1]
    level = [((float(x), float(y)), (float(x + 1), float(y))) for y, x in np.argwhere(down)]
    return level + [((float(x), float(y)), (float(x), float(y + 1))) for y, x in np.argwhere(across)]


def _outlined(axes: Axes, plane: Plane) -> None:
    rows, columns = plane.values.shape
    step = np.array([plane.size_mm[1] / columns, plane.size_mm[0] / rows])
    drawn = LineCollection([np.asarray(edge) * step for edge in outline(plane.values)], colors="white",
                           linewidths=1.1)
    drawn.set_path_effects([withStroke(linewidth=2.4, foreground="black")])
    axes.add_collection(drawn, autolim=False)


def _axial(image: NDArray[Any], one: Shown) -> Plane:
    return planes(image, one.spacing_mm)[0]


def _grey(axes: Axes, plane: Plane, levels: Window) -> None:
    _bare(axes)
    axes.imshow(plane.values, cmap="gray", vmin=levels[0], vmax=levels[1], interpolation="nearest",
                extent=_extent(plane), origin=_origin(plane))


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def _extent(plane: Plane) -> tuple[float, float, float, float]:
    """Left, right, bottom, top in mm, as `imshow` wants them."""
    down, across = plane.size_mm
    return (0, across, 0, down) if plane.up else (0, across, down, 0)


def _origin(plane: Plane) -> Any:
    return "lower" if plane.up else "upper"


def _scale_bar(axes: Axes, plane: Plane) -> None:
    """10 mm (or 1 where the image is smaller than that) in the lower left corner."""
    down, across = plane.size_mm
    length = _BAR_MM if across > 1.5 * _BAR_MM else 1.0
    if across < 1.5:
        return
    at = (0.05 * across, 0.05 * across + length)
    halo = [withStroke(linewidth=3.6, foreground="black")]
    axes.plot(at, [0.95 * down] * 2, color="white", linewidth=2, solid_capstyle="butt", path_effects=halo)
    axes.text(sum(at) / 2, 0.93 * down, f"{length:g} mm", color="white", fontsize=7.5, ha="center", va="bottom",
              path_effects=[withStroke(linewidth=1.8, foreground="black")])


def _scale() -> ScalarMappable:
    """The colour bar: as the overlay looks on a dark grey."""
    share = np.linspace(0, 1, 256)
    return ScalarMappable(Normalize(0, 1), ListedColormap(_heated(np.full((256, 1), 0.25), share)))


def _empty(said: str) -> Figure:
    figure, (axes,) = panel(5.3, 1.6)
    nothing(axes, said)
    return figure
