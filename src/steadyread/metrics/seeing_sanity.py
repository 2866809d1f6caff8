"""Whether maps tell of what a network learned: they must change where its weights are drawn anew."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Floats
from steadyread.metrics.seeing_reads import Attention, SeenFold, method_name

DEPENDS, HARDLY = 0.2, 0.5         # median rank correlations with randomised weights: ours, see `sanity_rows`
ALL_LAYERS = "all layers"


def sanity_rows(seen: Sequence[SeenFold]) -> list[dict[str, Any]]:
    """How alike the maps are to those of the network with weights drawn anew (Adebayo et al., arXiv:1810.03292).

    The median over images and networks, the quartiles and the middle nine tenths. `verdict`: "depends" where the
    median rank correlation with all layers drawn anew is at most 0.2, "hardly" above 0.5, "partly" between; these
    levels are ours.
    """
    held: dict[tuple[str, str], list[tuple[int, list[float]]]] = {}
    for one in seen:
        for row in one.told["sanity"]:
            values = [float(value) for value in row["correlations"] if value is not None]
            held.setdefault((str(row["method"]), str(row["randomised"])), []).append((one.fold, values))
    return [{"method": method, "randomised": randomised, "networks": len(found),
             "folds": [float(np.median(each)) if each else None for _, each in found]}
            | (spread := _spread(np.array([value for _, each in found for value in each])))
            | {"verdict": _sane(spread["median"])} for (method, randomised), found in held.items()]


def alike_rows(held: Iterable[Attention]) -> list[dict[str, Any]]:
    """How alike the maps of clean and noisy images are, in the same measure: what sanity is to be set beside."""
    return [{"method": one.method, "attack": one.attack} | _spread(values[np.isfinite(values)])
            for one in held for values in (one.values["rank_correlation"],)]


def _spread(values: Floats) -> dict[str, Any]:
    names = ("median", "low", "quartile_1", "quartile_3", "high")
    told = np.quantile(values, (0.5, 0.05, 0.25, 0.75, 0.95)).tolist() if len(values) else [None] * len(names)
    return {"maps": len(values)} | dict(zip(names, told, strict=True))


def _sane(median: float | None) -> str | None:
    if median is None:
        return None
    alike = abs(median)     # a map upside down is the same map
    return "depends" if alike <= DEPENDS else "hardly" if alike > HARDLY else "partly"


def sanity_findings(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A finding a method: whether its maps change where all weights are drawn anew."""
    severity = {"depends": "ok", "partly": "note", "hardly": "warning"}
    said = {"depends": "so they depend on what was learned, which they must; it does not show that they are right",
            "partly": "so part of what they show is the image and the architecture, not what was learned",
            "hardly": "so they show the image and the architecture more than what was learned: do not read them as "
                      "what the network looks at"}
    return [{"check": f"{method_name(row['method'])} maps of randomised weights", "rows": (), "networks": (),
             "severity": severity[row["verdict"]], "value": row["median"],
             "message": f"with all weights drawn anew the maps keep a rank correlation of {_two(row['median'])} "
                        f"with the trained network's (median of {row['maps']} maps, {row['networks']} "
                        f"{'network' if row['networks'] == 1 else 'networks'}), {said[row['verdict']]}"}
            for row in rows if row["randomised"] == ALL_LAYERS and row["verdict"] is not None]


def _two(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")
