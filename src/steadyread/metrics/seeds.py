"""What hardening gained from several seeds: a network trained and hardened anew on the same split, on the same images.

Seeds tell how much training varies, patients how much another sample would: so of seeds the mean and the range are
told, and no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steadyread.metrics.hardening import pair_of_networks, stands_at
from steadyread.metrics.reads import Reads
from steadyread.metrics.robustness import merged_found_size


@dataclass(frozen=True)
class Gain:
    """Shares of the same images read right, before and after hardening: under every change of a size that the search
    found, and clean."""

    before: float
    after: float
    clean_before: float
    clean_after: float

    @property
    def robust(self) -> float:
        """What was gained under attack."""
        return self.after - self.before

    @property
    def clean(self) -> float:
        """What was gained on clean images."""
        return self.clean_after - self.clean_before

    def as_json(self) -> dict[str, float]:
        """The shares, and the gains."""
        return {**vars(self), "robust": self.robust, "clean": self.clean}


def gain_of(before: Reads, after: Reads, size: float) -> Gain | None:
    """The gain of one network at a size in native units, by the smallest flips against the label alone, so that seeds
    which met other attacks count alike; None where either was not searched.

    Raises:
        InputRefused: no image in both, or an image whose labels differ.
    """
    pair = pair_of_networks(*(replace(reads, outcomes=tuple(one for one in reads.outcomes
                                                            if one.attack == "smallest_flip"))
                              for reads in (before, after)))
    sides = [merged_found_size(reads, "label") for reads in (pair.before, pair.after)]
    judged = sides[0].present & sides[1].present
    if not judged.any():
        return None
    shares = [float(np.mean(right[judged])) for reads, side in zip((pair.before, pair.after), sides, strict=True)
              for right in (stands_at(reads, side, size), reads.correct)]
    return Gain(shares[0], shares[2], shares[1], shares[3])


def over_seeds(gains: Sequence[Gain]) -> dict[str, Any]:
    """The mean, the lowest and the highest of the gains, under attack (`robust`) and `clean`."""
    return {name: {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}
            for name in ("robust", "clean") if (values := [float(getattr(gain, name)) for gain in gains])}
