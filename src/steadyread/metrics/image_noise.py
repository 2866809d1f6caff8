"""The noise in the images, and the share of reads that random noise as large changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.over_folds import mean_over_folds
from steadyread.metrics.plan import Plan, exact_up_to
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import robust_curve
from steadyread.units import Bounds, size_json


@dataclass(frozen=True)
class ImageNoise:
    """White noise of `sd` (native; the median over images, whose 10th and 90th percentile are `low` and `high`), over
    `draws` of it an image: `changed`, the share of reads that one draw changes, and `accuracy`, that under one draw;
    `found` is the accuracy under found changes as large, against the label, where those were searched.
    """

    sd: float
    low: float
    high: float
    draws: int
    changed: Estimate
    accuracy: Estimate
    found: Estimate

    def as_json(self, bounds: Bounds) -> dict[str, Any]:
        """The noise as plain values and estimates."""
        return {"sd": size_json(self.sd, bounds), "low": size_json(self.low, bounds),
                "high": size_json(self.high, bounds), "draws": self.draws, "changed": self.changed,
                "accuracy": self.accuracy, "found": self.found}


def image_noise(stored: Sequence[Mapping[str, Any]], reads: Reads, plan: Plan, seed: int = 0) -> ImageNoise | None:
    """What the files of a network's folds say of the reads that are judged; None where there is none.

    Args:
        stored: as `jobs.image_noise` writes them, one a fold; those of other images are left out.
    """
    place = {str(name): at for at, name in enumerate(reads.case_id)}
    rates, rights = (np.full((len(reads), max(len(stored), 1)), np.nan) for _ in range(2))
    for fold, each in enumerate(stored):
        for name, changed, right in zip(each["case_id"], each["changed"], each["right"], strict=True):
            at = place.get(str(name))
            if at is None or changed < 0:
                continue
            rates[at, fold] = changed / each["draws"]
            rights[at, fold] = right / each["draws"] if reads.label[at] >= 0 else np.nan
    if not np.isfinite(rates).any():
        return None
    sd, low, high = (float(np.median([each[name] for each in stored])) for name in ("sd", "low", "high"))
    found = robust_curve(reads, "label").until(exact_up_to(plan, reads, "label")).at(sd)
    return ImageNoise(sd, low, high, int(stored[0]["draws"]), mean_over_folds(rates, reads.patient, seed),
                      mean_over_folds(rights, reads.patient, seed), found)
