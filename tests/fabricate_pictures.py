"""What tests of the command line need: the command itself, what it told, and pictures in class folders."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE = 12


class Told(NamedTuple):
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Told]


def pictures(folder: Path, n: int = 60, size: int = SIZE) -> Path:
    """Noise in two folders of grey PNG, the second class brighter in the middle."""
    random = np.random.default_rng(0)
    for at in range(n):
        label = at % 2
        pixels = random.normal(110, 25, (size, size))
        pixels[size // 3:-size // 3, size // 3:-size // 3] += 60 * label
        path = folder / ("no", "yes")[label] / f"{at:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder
