"""How noisy images are, estimated from themselves: exact on white noise, blind to ramps and to few edges."""

import numpy as np
import pytest

from steadyread.cases import Cases, Row, noise_level
from steadyread.types import Bounds


def _cases(sigma: float, channels: int = 1, ramp: float = 0.0) -> Cases:
    pixels = np.random.default_rng(0).normal(0, 1, (20, channels, 64, 64)) * sigma
    pixels += ramp * np.arange(64)
    pixels[..., 32:] += 100 * (ramp > 0)
    rows = tuple(Row(str(at), str(at), 0, "a", None, "test", at) for at in range(20))
    return Cases("made", rows, lambda row: pixels[row.source].astype(np.float32), ("a", "b"),
                 Bounds(-1000, 1000, "HU"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_white_noise_is_seen_through_ramps_and_an_edge(sigma: float, channels: int) -> None:
    for ramp in (0.0, 3.0):
        found = noise_level(_cases(sigma, channels, ramp))
        assert found["noise"] == pytest.approx(sigma, rel=0.02)
        assert (found["unit"], found["images"], found["size"]) == ("HU", 20, [64, 64])


def test_drawn_images_have_none() -> None:
    assert noise_level(_cases(0.0, ramp=3.0))["noise"] == 0
