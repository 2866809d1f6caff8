"""How tight the smallest flips are, on networks trained here on real data, against what costs far more.

    make bench                                               (both data sets, where they are)
    .bench/bin/python benchmarks/smallest_flip.py --data-root DIR --images 64

For each image the best size that any of these finds is the yardstick: steadyread itself, PGD of 100 steps under a
bisection of 10 rounds, and foolbox's FMN of 1000 steps. Printed: passes an image, quantiles of the ratio to the
yardstick, and the share of images that PGD at fixed epsilons (20 steps, 2 restarts) flips below the found size.
"""

import argparse
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor

from steadyread.attacks.recipes import attack, pgd
from steadyread.attacks.search import Search, climb
from steadyread.attacks.smallest_flip import THOROUGH, Effort, smallest_flip
from steadyread.cases import Cases, Preparation, limit, open_cases, prepare, split
from steadyread.classifier import Classifier
from steadyread.models.vgg import vgg16
from steadyread.progress import progress
from steadyread.threats import Linf
from steadyread.training.fit import TrainingSettings, fit

SETS = {"lidc-patches-2d": Preparation(window=(-1000.0, 400.0), crop=64), "mnist": Preparation()}
EPSILONS = {"lidc-patches-2d": (0.001, 0.002, 0.004, 0.006, 0.008, 0.016),
            "mnist": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)}
TRAINING = {"lidc-patches-2d": TrainingSettings(epochs=30),
            "mnist": TrainingSettings(epochs=3, flips=False, rotation_degrees=10.0)}


def trained(name: str, root: Path, images: int) -> tuple[Classifier, Tensor]:
    """A network trained on the training part, and test images drawn by class."""
    cases = prepare(open_cases(root / name), SETS[name])
    cases = limit(cases, 12_000, seed=0) if len(cases) > 12_000 else cases
    cases = split(cases, seed=0)
    size = cases[0].image.shape[-1]
    torch.manual_seed(0)
    module = vgg16(len(cases.classes), 1, size=size, width=0.25, norm=True, convolutions=(1, 1, 1, 1, 1))
    bounds = cases.bounds
    classifier = Classifier(module, bounds, "logits", normalise=(bounds.low + bounds.range / 2, bounds.range / 2))
    fitted = fit(classifier, cases.part("train"), cases.part("validation"), TRAINING[name], progress=progress)
    return fitted.classifier, _images(limit(cases.part("test"), images, seed=0))


def _images(cases: Cases) -> Tensor:
    return torch.stack([cases[place].image for place in range(len(cases))])


def bisected_pgd(classifier: Classifier, images: Tensor, reference: Tensor, start: Tensor) -> Tensor:
    """The smallest size at which PGD of 100 steps flips each image, by 10 halvings; inf where none."""
    batch, found = classifier.batch(images), torch.full_like(start, torch.inf)
    low, high = torch.zeros_like(start), 2 * start
    for turn in range(10):
        middle = (low + high) / 2
        out = climb(classifier, batch, reference, Linf(0.0), Search(100, 0.05, random_start=True), middle, turn)
        realised = (out.images - images).flatten(1).abs().amax(1)
        found = torch.where(out.flipped, torch.minimum(found, realised), found)
        low, high = torch.where(out.flipped, low, middle), torch.where(out.flipped, middle, high)
    return found


def fmn(classifier: Classifier, images: Tensor, reference: Tensor) -> Tensor:
    """foolbox's FMN (arXiv:2102.12827) of 1000 steps, in native units; inf where it found none."""
    import foolbox

    bounds = classifier.valid

    class Unit(torch.nn.Module):
        def forward(self, unit: Tensor) -> Tensor:
            return classifier.logits(unit * bounds.range + bounds.low)

    model = foolbox.PyTorchModel(Unit().eval(), bounds=(0, 1))
    unit = (images - bounds.low) / bounds.range
    with classifier.frozen():
        _, found, flipped = foolbox.attacks.LInfFMNAttack(steps=1000)(model, unit, reference, epsilons=None)
    size = (found - unit).flatten(1).abs().amax(1) * bounds.range
    return torch.where(flipped, size, torch.inf)


def beaten(classifier: Classifier, images: Tensor, reference: Tensor, size: Tensor,
           epsilons: tuple[float, ...]) -> float:
    """The largest share, over the epsilons, of images that fixed-size PGD flips and the found size does not."""
    shares = []
    for epsilon in (share * classifier.valid.range for share in epsilons):
        out = attack(classifier, images, reference, pgd(epsilon, steps=20, step=0.1, restarts=2))
        shares.append(float((out.flipped & (size > epsilon)).float().mean()))
    return max(shares)


def report(name: str, root: Path, images: int) -> None:
    """One data set's table."""
    classifier, chosen = trained(name, root, images)
    with torch.no_grad(), classifier.frozen():
        reference = classifier.logits(chosen).argmax(1)
    rows: dict[str, tuple[Tensor, float, float, float]] = {}
    for label, effort in (("steadyread", Effort()), ("steadyread, THOROUGH", THOROUGH)):
        began = time.perf_counter()
        found = smallest_flip(classifier, chosen, reference, effort=effort)
        rows[label] = (found.size, float(found.forwards.float().mean()), float(found.backwards.float().mean()),
                       time.perf_counter() - began)
    began = time.perf_counter()
    rows["PGD-100, bisected"] = (bisected_pgd(classifier, chosen, reference, rows["steadyread"][0]), 1010, 1000,
                                 time.perf_counter() - began)
    began = time.perf_counter()
    try:
        rows["foolbox FMN-1000"] = (fmn(classifier, chosen, reference), 1000, 1000, time.perf_counter() - began)
    except ImportError:
        print("foolbox is not installed: FMN left out")
    others = [size for label, (size, *_) in rows.items() if not label.startswith("steadyread")]
    print(f"\n{name}: {len(chosen)} test images, {len(set(reference.tolist()))} predicted classes, median size "
          f"{float(rows['steadyread'][0].median()):.3g} {classifier.valid.unit}")
    print(f"{'':24}{'forward':>8}{'backward':>9}{'s':>7}{'median ratio':>14}{'90th pc':>9}{'95th pc':>9}"
          f"{'beaten by PGD-20':>18}")
    for label, (size, forwards, backwards, seconds) in rows.items():
        yardstick = torch.stack([size, *others]).amin(0)
        ratio = (size / yardstick).double()
        quantiles = torch.quantile(ratio, torch.tensor([0.5, 0.9, 0.95], dtype=torch.float64)).tolist()
        lost = beaten(classifier, chosen, reference, size, EPSILONS[name])
        print(f"{label:24}{forwards:8.0f}{backwards:9.0f}{seconds:7.1f}{quantiles[0]:14.4f}{quantiles[1]:9.4f}"
              f"{quantiles[2]:9.4f}{lost:18.1%}")


def main() -> None:
    """A table for each data set that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    for name in SETS:
        if (arguments.data_root / name).exists():
            report(name, arguments.data_root, arguments.images)
        else:
            print(f"{name}: not in {arguments.data_root}, skipped")


if __name__ == "__main__":
    main()
