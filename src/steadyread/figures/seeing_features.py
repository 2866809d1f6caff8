"""First-layer features of an image without and with noise ([B] Fig. 9), and how much each changes over all."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from steadyread.figures.noise_examples import middle
from steadyread.figures.seeing import Shown
from steadyread.figures.style import INK, SERIES, VERMILION, grid, look, nothing, panel
from steadyread.metrics.intervals import Ints
from steadyread.words.numbers import digits

Rows = Sequence[Mapping[str, Any]]
_SHOWN = 64          # features, as in [B]


def features(one: Shown | None) -> Figure:
    """Central slices of the features, clean left and noisy right on one grey scale; the most changed boxed."""
    with look():
        if one is None or not len(one.change):
            figure, (axes,) = panel(5.3, 1.6)
            nothing(axes, "no features were stored")
            return figure
        count = min(len(one.change), _SHOWN)
        across = 4 if count <= 16 else 8
        rows = ceil(count / across)
        down, wide = middle(one.features_clean[0]).shape
        tile = 7.9 / across
        figure, _ = panel(8.2, rows * (tile * 0.5 * down / wide + 0.27) + 0.15, rows=0)
        every = figure.subplots(rows, across, squeeze=False).ravel()
        boxed = set(most_changed(one).tolist())
        for at, axes in enumerate(every):
            if at >= count:
                axes.set_axis_off()
            else:
                _feature(axes, one, at, at in boxed)
    return figure


def most_changed(one: Shown) -> Ints:
    """The features that are boxed: the eighth that changes most in this image, at least three."""
    told = np.where(np.isfinite(one.change), one.change, -np.inf)[:_SHOWN]
    kept = min(max(3, round(len(told) / 8)), int(np.isfinite(told).sum()))
    return np.argsort(-told, kind="stable")[:kept].astype(np.int64)


def _feature(axes: Axes, one: Shown, at: int, boxed: bool) -> None:
    clean, noisy = (middle(held[at]) for held in (one.features_clean, one.features_noisy))
    down, wide = clean.shape
    gap = max(1, wide // 16)
    low, high = (float(end) for end in (min(clean.min(), noisy.min()), max(clean.max(), noisy.max())))
    for left, shown in ((0, clean), (wide + gap, noisy)):
        axes.imshow(shown, cmap="gray", vmin=low, vmax=high if high > low else low + 1, interpolation="nearest",
                    extent=(left, left + wide, down, 0))
    axes.set_xlim(-gap, 2 * wide + 2 * gap)
    axes.set_ylim(down + gap, -gap)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)
    told = float(one.change[at])
    axes.set_title(f"{at + 1}: {digits(told)}" if np.isfinite(told) else f"{at + 1}: silent", loc="center",
                   fontsize=8, fontweight="bold" if boxed else "normal", color=VERMILION if boxed else INK, pad=2)
    if boxed:
        axes.add_patch(Rectangle((-gap * 0.6, -gap * 0.6), 2 * wide + 2.2 * gap, down + 1.2 * gap, fill=False,
                                 edgecolor=VERMILION, linewidth=1.8, clip_on=False))


def ranking(rows: Rows) -> Figure:
    """Each network's features from the most changed down: median over the test images, 95 % over patients."""
    with look():
        figure, (axes,) = panel(5.3, 3.7)
        if not any(row["ranked"] for row in rows):
            nothing(axes, "no features were stored")
            return figure
        for row, shown in zip(rows, SERIES * ceil(len(rows) / len(SERIES)), strict=False):
            ranked = row["ranked"]
            place = np.arange(1, len(ranked) + 1)
            value, low, high = (np.array([np.nan if one[name] is None else one[name] for one in ranked], float)
                                for name in ("value", "low", "high"))
            axes.fill_between(place, low, high, color=shown.colour, alpha=0.15, linewidth=0)
            axes.plot(place, value, **shown.line_style(), markersize=3.5,
                      label=f"fold {row['fold']}" + (f" ({row['silent']} silent)" if row["silent"] else ""))
            if row["random"]:
                axes.plot(np.arange(1, len(row["random"]) + 1), row["random"], color=INK, linewidth=0.9, alpha=0.55,
                          linestyle=(0, (2, 3)))
        if any(row["random"] for row in rows):
            axes.plot([], [], color=INK, linewidth=0.9, alpha=0.55, linestyle=(0, (2, 3)),
                      label="weights drawn anew")
        axes.set_xlabel("features of a network, the most changed first")
        axes.set_ylabel("change under noise, median")
        axes.set_ylim(0, None)
        grid(axes)
        axes.legend(loc="best")
    return figure
