"""How the training went: losses, and what the validation images said of each epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steadyread.figures.style import BLUE, GREEN, INK, VERMILION, Look, grid, look, nothing, panel

_LOSSES = (("train_loss", "training", Look(BLUE, "-", "o")),
           ("validation_loss", "validation", Look(VERMILION, "--", "s")))
_SHARES = (("validation_auc", "AUC", Look(GREEN, "-", "^")),
           ("validation_accuracy", "accuracy", Look(VERMILION, "--", "s")))


def training_curve(epochs: Sequence[Mapping[str, Any]], chosen: int | None = None) -> Figure:
    """Loss of training and validation, and AUC and accuracy on validation images, by epoch."""
    with look():
        figure, axes = panel(5.3, 5.0, rows=2)
        if not epochs:
            nothing(axes[0], "not trained here")
            axes[1].set_axis_off()
            return figure
        for part, series, name in zip(axes, (_LOSSES, _SHARES), ("loss", "validation images"), strict=True):
            _draw(part, epochs, series)
            part.set_ylabel(name)
            part.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            grid(part)
            if chosen is not None:
                part.axvline(chosen, color=INK, linewidth=0.9, linestyle=(0, (2, 3)),
                             label=f"chosen, epoch {chosen}")
            part.legend(loc="best")
        axes[-1].set_xlabel("epoch")
    return figure


def _draw(axes: Axes, epochs: Sequence[Mapping[str, Any]], series: Sequence[tuple[str, str, Look]]) -> None:
    for key, name, shown in series:
        points = [(row["epoch"], row[key]) for row in epochs if row.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, markersize=3.5, markeredgecolor="none",
                      **shown.line_style(), markevery=max(1, len(points) // 12))
