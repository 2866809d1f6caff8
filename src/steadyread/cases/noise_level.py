"""How noisy images are, estimated from the images themselves: a yardstick for changes of different data sets."""

import math
from typing import Any

import numpy as np
from torch.nn import functional

from steadyread.cases.batching import collate
from steadyread.cases.case_set import Cases

_MOST = 256
# A Laplacian that is blind to planes: noise of SD s comes out with SD 6 s (Immerkær's operator).
_LAPLACIAN = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
_MEDIAN_OF_NORMAL = 0.6744897501960817   # of |N(0, 1)|


def noise_level(cases: Cases) -> dict[str, Any]:
    """The median over images of the estimated SD of their noise, in native units, as plain values.

    Each image's SD is the median absolute value of its Laplacian over 6 x 0.6745: Immerkær 1996
    (doi:10.1006/cviu.1996.0060), with the median for the mean, so that edges, which are few, do not count as noise.
    It sees the finest scale only, and cannot tell noise from structure there: smooth noise is underestimated, and
    an image that was shrunk brings structure into the finest scale.
    Of images drawn on an even ground (digits) it is 0. The images must be 2D; at most 256 are looked at, evenly.
    """
    places = np.unique(np.linspace(0, len(cases) - 1, min(_MOST, len(cases))).astype(int)).tolist()
    batch, _ = collate([cases[place] for place in places], cases.bounds)
    images = batch.images
    kernel = images.new_tensor(_LAPLACIAN).expand(images.shape[1], 1, 3, 3)
    response = functional.conv2d(images, kernel, groups=images.shape[1])
    levels = response.flatten(1).abs().median(1).values / (6 * _MEDIAN_OF_NORMAL)
    level = float(levels.median())
    return {"noise": level if math.isfinite(level) else None, "unit": cases.bounds.unit, "images": len(places),
            "size": list(images.shape[2:]), "how": "median absolute Laplacian (Immerkær 1996, with the median)"}
