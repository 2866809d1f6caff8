"""What PGD costs, side by side in one run: a bare torch loop, steadyread, foolbox, ART and torchattacks.

    make bench            (sets up an environment of its own with the other libraries)

The same network, images, epsilon and number of passes for all; rounds are interleaved, so that a machine that
slows down slows all of them, and the ratios are medians over rounds of the ratio within a round.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from steadyread import Linf
from steadyread.attacks.recipes import Recipe, attack
from steadyread.attacks.search import Search
from steadyread.cases import phantom
from steadyread.classifier import Classifier
from steadyread.models.vgg import vgg16

STEPS, SHARE, EPSILON = 10, 0.25, 0.004


def bare_loop(net: torch.nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """PGD written out: what the passes cost when nothing else is done."""
    delta = (torch.rand_like(images) * 2 - 1) * EPSILON
    for _ in range(STEPS):
        delta.requires_grad_(True)
        loss = functional.cross_entropy(net((images + delta).clamp(0, 1)), labels)
        gradient = torch.autograd.grad(loss, delta)[0]
        delta = (delta.detach() + SHARE * EPSILON * gradient.sign()).clamp(-EPSILON, EPSILON)
    with torch.no_grad():
        net((images + delta).clamp(0, 1))
    return (images + delta).clamp(0, 1)


def contestants(net: torch.nn.Module, images: Tensor, labels: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every library that is installed, each with the same settings."""
    classifier = Classifier(net, (0.0, 1.0), "logits")
    search = Search(STEPS, SHARE, random_start=True, stop_at_flip=False, loss="cross_entropy")
    recipe = Recipe("pgd", Linf(EPSILON), search)
    found: dict[str, Callable[[], Tensor]] = {
        "bare loop": lambda: bare_loop(net, images, labels),
        "steadyread": lambda: attack(classifier, images, labels, recipe).images,
    }
    for name, make in (("foolbox", _foolbox), ("ART", _art), ("torchattacks", _torchattacks)):
        try:
            found[name] = make(net, images, labels)
        except ImportError as missing:
            print(f"{name}: not installed ({missing})")
    return found


def _foolbox(net: torch.nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    pgd = foolbox.attacks.LinfPGD(abs_stepsize=SHARE * EPSILON, steps=STEPS, random_start=True)
    return lambda: pgd(model, images, labels, epsilons=EPSILON)[1]


def _art(net: torch.nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), tuple(images.shape[1:]), 2, clip_values=(0, 1),
                              device_type="cpu" if images.device.type == "cpu" else "gpu")
    pgd = ProjectedGradientDescent(model, eps=EPSILON, eps_step=SHARE * EPSILON, max_iter=STEPS, num_random_init=1,
                                   batch_size=len(images), verbose=False)
    pixels, wanted = images.cpu().numpy(), labels.cpu().numpy()
    return lambda: torch.from_numpy(pgd.generate(pixels, wanted))


def _torchattacks(net: torch.nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    import torchattacks

    pgd = torchattacks.PGD(net, eps=EPSILON, alpha=SHARE * EPSILON, steps=STEPS, random_start=True)
    return lambda: pgd(images, labels)


def main() -> None:
    """Prints a table of milliseconds an image, the ratio to the bare loop, and what each attack achieved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    cases = phantom.nodules(arguments.images, seed=0)
    images = ((torch.stack([cases[i].image for i in range(len(cases))]) + 1000) / 1400).clamp(0, 1)
    net = vgg16(2, 1, size=64, width=0.25).eval()
    with torch.no_grad():
        labels = net(images).argmax(1)
    runs = contestants(net, images, labels)
    times: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Tensor] = {}
    for turn in range(arguments.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            results[name] = run()
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - began)
    print(f"PGD, {STEPS} steps, 1 start, {len(images)} images of {tuple(images.shape[1:])}, VGG16 at width 0.25, "
          f"{arguments.threads} thread(s), median of {arguments.rounds} interleaved rounds")
    print(f"{'':14}{'ms an image':>12}{'ratio to bare loop':>20}{'mean loss reached':>19}")
    for name, spent in times.items():
        ratio = statistics.median(mine / bare for mine, bare in zip(spent, times["bare loop"], strict=True))
        with torch.no_grad():
            loss = float(functional.cross_entropy(net(results[name].float()), labels))
        print(f"{name:14}{1000 * statistics.median(spent) / len(images):12.2f}{ratio:20.2f}{loss:19.4f}")


if __name__ == "__main__":
    main()
