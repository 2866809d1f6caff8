"""CT noise: seconds of a thousand draws, and what reading under noise costs beside the bare forward passes.

    make bench
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from steadyread.attacks.random_noise import random_ct_noise
from steadyread.classifier import Classifier
from steadyread.models.nodule import nodule_cnn
from steadyread.threats import CTNoise, Spectrum
from steadyread.types import Batch, Bounds

BOUNDS = Bounds(-1024.0, 3071.0, "HU")
DOSES = (10.0, 50.0, 100.0, 200.0, 500.0)


def timed(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work, in interleaved rounds, the first of which is thrown away."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - began)
    return {name: times[1:] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked, _ = parser.parse_known_args()
    torch.set_num_threads(asked.threads)
    noise = CTNoise(Spectrum.soft(), spacing_mm=1.0)
    drawn = timed({"32x32x32": lambda: noise.draw(1000, (32, 32, 32)),
                   "5x24x24": lambda: noise.draw(1000, (5, 24, 24))}, asked.rounds)
    for shape, times in drawn.items():
        print(f"1,000 noises of {shape}: {statistics.median(times):.2f} s (smallest {min(times):.2f})")
    module = nodule_cnn(size=(5, 24, 24), width=0.25).eval().to(memory_format=torch.channels_last_3d)
    classifier = Classifier(module, BOUNDS, "logit", normalise=(-300.0, 700.0))
    batch = Batch(torch.rand(64, 1, 5, 24, 24) * 1400 - 1000, tuple(map(str, range(64))), BOUNDS)
    attack, reference = random_ct_noise(noise, DOSES, 10), torch.zeros(64, dtype=torch.int64)
    several = batch.images.repeat(len(DOSES), 1, 1, 1, 1).split(60)   # as many images a pass as the attack takes

    def bare() -> None:
        with classifier.frozen(), torch.no_grad():
            for _ in range(10):
                for images in several:
                    classifier.logits(images)

    read = timed({"bare": bare, "noise": lambda: attack(classifier, batch, reference)}, asked.rounds)
    ratios = [one / other for one, other in zip(read["noise"], read["bare"], strict=True)]
    print(f"reads under noise, 5 doses, 10 draws, 64 boxes: {statistics.median(ratios):.2f} x the bare forward "
          f"passes ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
