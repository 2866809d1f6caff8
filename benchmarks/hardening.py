"""What an epoch of adversarial training costs, side by side in one run: a bare torch loop, steadyread and ART.

    make bench            (sets up an environment of its own with the other library)

The same network, images, batches, epsilon, optimiser and number of passes for all: of each batch half is attacked
by PGD (7 steps of epsilon / 4, one random start) and the whole is taught. No augmentation. Rounds are interleaved,
so that a machine that slows down slows all of them, and the ratios are medians over rounds of the ratio within a
round. The goal is 1.1 times the bare loop at most.
"""

import argparse
import copy
import io
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr

import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyread.cases import Cases, phantom
from steadyread.classifier import Classifier
from steadyread.models.vgg import narrow_vgg
from steadyread.training.crafts import SignSteps
from steadyread.training.descent import descent_of, lay
from steadyread.training.images import PartImages
from steadyread.training.loop import one_epoch
from steadyread.training.recipes import Adversarial
from steadyread.training.settings import TrainingSettings

STEPS, STEP, EPSILON, BATCH = 7, 0.25, 11.2, 64
LOW, HIGH, MIDDLE, HALF = -1000.0, 400.0, -300.0, 700.0   # HU, and what the network is given of it
SETTINGS = TrainingSettings(epochs=1, batch=BATCH, learning_rate=1e-3, schedule="constant", balance=False,
                            max_norm=None, flips=False, rotation_degrees=0.0, shift_pixels=0.0)
Epoch = Callable[[], object]


def read(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of images in HU."""
    logits: Tensor = net((images - MIDDLE) / HALF)
    return logits


def bare(net: nn.Module, images: Tensor, labels: Tensor) -> Epoch:
    """The epoch written out, with what costs nothing and saves time: frozen parameters, no `backward` into them."""
    optimiser = torch.optim.AdamW(net.parameters(), SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay)

    def epoch() -> None:
        for chosen in torch.randperm(len(images)).split(BATCH):
            taught, asked = images[chosen], labels[chosen]
            half = len(chosen) // 2
            clean = taught[:half]
            delta = (torch.rand_like(clean) * 2 - 1) * EPSILON
            net.eval().requires_grad_(False)
            for _ in range(STEPS):
                delta.requires_grad_(True)
                loss = functional.cross_entropy(read(net, (clean + delta).clamp(LOW, HIGH)), asked[:half],
                                                reduction="sum")
                gradient = torch.autograd.grad(loss, delta)[0]
                delta = (delta.detach() + STEP * EPSILON * gradient.sign()).clamp(-EPSILON, EPSILON)
            net.train().requires_grad_(True)
            attacked = torch.cat([(clean + delta).clamp(LOW, HIGH), taught[half:]])
            optimiser.zero_grad(set_to_none=True)
            functional.cross_entropy(read(net, attacked), asked).backward()
            optimiser.step()

    return epoch


def ours(net: nn.Module, cases: Cases) -> Epoch:
    """An epoch as `harden` goes through it."""
    classifier = Classifier(net, cases.bounds, "logits", normalise=(MIDDLE, HALF))
    taught, generator = PartImages(cases, "training"), torch.Generator().manual_seed(0)
    descent = descent_of(net, SETTINGS, 1)
    recipe = Adversarial(SignSteps(EPSILON, STEPS, STEP), 0.5)
    return lambda: one_epoch(classifier, taught, SETTINGS, (recipe, generator), descent)


def art(net: nn.Module, images: Tensor, labels: Tensor) -> Epoch:
    """ART's `AdversarialTrainer` with half of each batch attacked."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import PyTorchClassifier

    optimiser = torch.optim.AdamW(net.parameters(), SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay)
    model = PyTorchClassifier(net, nn.CrossEntropyLoss(), tuple(images.shape[1:]), 2, optimizer=optimiser,
                              clip_values=(LOW, HIGH), preprocessing=(MIDDLE, HALF),
                              device_type="cpu" if images.device.type == "cpu" else "gpu")
    pgd = ProjectedGradientDescent(model, eps=EPSILON, eps_step=STEP * EPSILON, max_iter=STEPS, num_random_init=1,
                                   batch_size=BATCH, verbose=False)
    trainer = AdversarialTrainer(model, pgd, ratio=0.5)
    pixels, wanted = images.numpy(), functional.one_hot(labels, 2).numpy()

    def epoch() -> None:
        with redirect_stderr(io.StringIO()):   # its bars
            trainer.fit(pixels.copy(), wanted, batch_size=BATCH, nb_epochs=1)

    return epoch


def contestants(cases: Cases) -> dict[str, Epoch]:
    """Each with a network of its own that began alike."""
    net = narrow_vgg(2, 1, size=64)
    lay(net, 2, torch.device("cpu"))
    part = PartImages(cases, "training")
    images, labels = part.images(torch.arange(len(part))), part.labels
    found = {"bare loop": bare(copy.deepcopy(net), images, labels), "steadyread": ours(copy.deepcopy(net), cases)}
    try:
        found["ART"] = art(copy.deepcopy(net), images, labels)
    except ImportError as missing:
        print(f"ART: not installed ({missing})")
    return found


def main() -> None:
    """Prints a table of seconds an epoch and the ratio to the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    runs = contestants(phantom.nodules(arguments.images, seed=0, size=64))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(arguments.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - began)
    print(f"One epoch, half of each batch attacked by PGD of {STEPS} steps, {arguments.images} images of 64x64, "
          f"narrow VGG, batch {BATCH}, {arguments.threads} thread(s), median of {arguments.rounds} interleaved "
          "rounds")
    print(f"{'':14}{'s an epoch':>12}{'ratio to bare loop':>20}")
    for name, spent in times.items():
        ratio = statistics.median(mine / other for mine, other in zip(spent, times["bare loop"], strict=True))
        print(f"{name:14}{statistics.median(spent):12.2f}{ratio:20.2f}")


if __name__ == "__main__":
    main()
