"""The smallest flips that other libraries find, and paper [A]'s own procedure, each called as it is documented."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.libraries import needed
from benchmarks.peers import ATTACKS, BARE

# (network, images in 0 to 1, their classes) -> the changed images
Find = Callable[[nn.Module, Tensor, Tensor], Tensor]

STEPS, SHARE = 10, 0.25     # [A]'s PGD: 10 steps of a quarter of epsilon
PAPERS_WAY, ART_WAY = "[A]'s procedure, bare loop", "[A]'s procedure, ART"
LOWEST = 1e-4               # where [A]'s grids begin, as a share of the range


@dataclass(frozen=True)
class Method:
    """A way to find small flips, and about how many gradients per image it takes."""

    name: str
    gradients: int
    find: Find
    warm: Find | None = None    # the same, shorter: what is run before anything is timed, where `find` takes long


def grid_of(highest: float, count: int = 32) -> tuple[float, ...]:
    """Epsilons from the lowest of [A]'s grids to `highest`, each the same multiple of the one before."""
    return tuple(float(epsilon) for epsilon in np.geomspace(LOWEST, highest, count))


def by_grid(at: Callable[[float], Tensor], network: nn.Module, images: Tensor, labels: Tensor,
            grid: Sequence[float]) -> Tensor:
    """[A]'s procedure: attacked at every epsilon, whatever was found before; kept is the first that flips."""
    found, done = images.clone(), torch.zeros_like(labels, dtype=torch.bool)
    for epsilon in grid:
        tried = at(epsilon)
        with torch.no_grad():
            new = ~done & (network(tried).argmax(1) != labels)
        found[new] = tried[new]
        done |= new
    return found


def methods(classes: int, grid: Sequence[float], starts: int, bracket: Tensor,
            shorter: int = 1) -> Iterator[Method]:
    """Every peer. `bracket` is, for each image, a size at which it flips: where bisection begins.

    `shorter` divides the steps of the longest, for a trial.
    """
    halvings = 10 // shorter
    for name, fmn in (("foolbox", foolbox_fmn), ("adv-lib", adv_fmn)):
        for steps in (100, 1000 // shorter):
            yield Method(f"FMN of {steps}, {name}", steps, partial(fmn, steps))
    yield Method("FMN of 100, secml-torch", 100, partial(secml_fmn, 100))
    yield Method("FAB of 100, auto-attack", 100 * classes, _autoattack_fab)
    yield Method("FAB of 100, adv-lib", 100 * (classes - 1), partial(adv_fab, 100))
    if classes > 2:
        yield Method(f"FAB of 100 to {classes - 1} classes, auto-attack", 100 * (classes - 1),
                     partial(_autoattack_fab_targeted, classes))
    yield Method("DeepFool, foolbox", 10 * (classes - 1), partial(foolbox_deepfool, 50))
    yield Method("DeepFool, adv-lib", 10 * (classes - 1), _adv_deepfool)
    loss = "ce" if classes < 4 else "dlr"
    for targeted in (False, True)[:1 if classes < 4 else 2]:
        name = f"APGD of 100{' to 3 classes' if targeted else ''}, {halvings} halvings, adv-lib"
        yield Method(name, 100 * halvings * (3 if targeted else 1),
                     partial(_adv_apgd, targeted, loss, bracket, halvings),
                     partial(_adv_apgd, targeted, loss, bracket, 1))
    gradients = len(grid) * STEPS * starts
    for name, way in ((PAPERS_WAY, _papers_way), (ART_WAY, _art_papers_way)):
        yield Method(name, gradients, partial(way, grid, starts), partial(way, grid[:1], starts))


def _papers_way(grid: Sequence[float], starts: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """All starts in one batch; of each image the first that flips."""
    clean, wanted = images.repeat(starts, *[1] * (images.ndim - 1)), labels.repeat(starts)

    def at(epsilon: float) -> Tensor:
        moved = ATTACKS[BARE]["pgd"](network, clean, wanted, epsilon, STEPS)()
        with torch.no_grad():
            flipped = (network(moved).argmax(1) != wanted).reshape(starts, -1)
        first = flipped.int().argmax(0)     # 0 where none flips
        return moved.reshape(starts, *images.shape)[first, torch.arange(len(images), device=images.device)]

    return by_grid(at, network, images, labels, grid)


def _art_papers_way(grid: Sequence[float], starts: int, network: nn.Module, images: Tensor,
                    labels: Tensor) -> Tensor:
    attack = needed("art.attacks.evasion").ProjectedGradientDescent
    with torch.no_grad():
        classes = network(images[:2]).shape[1]
    estimator = needed("art.estimators.classification").PyTorchClassifier(
        network, nn.CrossEntropyLoss(), tuple(images.shape[1:]), classes, clip_values=(0, 1),
        device_type="cpu" if images.device.type == "cpu" else "gpu")
    pixels, wanted = images.cpu().numpy(), labels.cpu().numpy()

    def at(epsilon: float) -> Tensor:
        pgd = attack(estimator, eps=epsilon, eps_step=SHARE * epsilon, max_iter=STEPS, num_random_init=starts,
                     batch_size=len(images), verbose=False)
        return torch.from_numpy(pgd.generate(pixels, wanted)).to(images.device)

    return by_grid(at, network, images, labels, grid)


def foolbox_fmn(steps: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """FMN of foolbox."""
    foolbox = needed("foolbox")
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    return foolbox.attacks.LInfFMNAttack(steps=steps)(model, images, labels, epsilons=None)[1]


def adv_fmn(steps: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """FMN of adv-lib."""
    return needed("adv_lib.attacks").fmn(network, images, labels, norm=float("inf"), steps=steps)


def secml_fmn(steps: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """FMN of secml-torch; 0.1 is the best of five steps on six lung patches."""
    fmn = needed("secmlt.adv.evasion.fmn").FMN
    model = needed("secmlt.models.pytorch.base_pytorch_nn").BasePyTorchClassifier(network)
    attack = fmn(perturbation_model="linf", num_steps=steps, step_size=0.1, backend="native")
    pairs = torch.utils.data.TensorDataset(images, labels)
    found = attack(model, torch.utils.data.DataLoader(pairs, batch_size=len(images)))
    return torch.cat([part for part, _ in found])


def _autoattack_fab(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    fab = needed("autoattack.fab_pt").FABAttack_PT(network, norm="Linf", n_restarts=1, n_iter=100, eps=1.0,
                                                    device=images.device)
    return fab.perturb(images, labels)


def _autoattack_fab_targeted(classes: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Run by run, as `perturb` leaves the later classes out once an image is flipped; of each the smallest."""
    fab = needed("autoattack.fab_pt").FABAttack_PT(network, norm="Linf", n_iter=100, targeted=True,
                                                device=images.device)
    found, best = images.clone(), torch.full_like(labels, torch.inf, dtype=images.dtype)
    for place in range(2, classes + 1):     # in the order of the logits, from the second highest
        fab.target_class = place
        tried = fab.attack_single_run(images, labels, is_targeted=True)
        size = (tried - images).flatten(1).abs().amax(1)
        better = (size > 0) & (size < best)     # unchanged: not flipped
        found[better], best[better] = tried[better], size[better]
    return found


def adv_fab(steps: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """FAB of adv-lib, untargeted."""
    return needed("adv_lib.attacks").fab(network, images.clone(), labels, norm=float("inf"), n_iter=steps)


def foolbox_deepfool(steps: int, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """DeepFool of foolbox; 50 steps are its own default."""
    foolbox = needed("foolbox")
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    return foolbox.attacks.LinfDeepFoolAttack(steps=steps)(model, images, labels, epsilons=None)[1]


def _adv_deepfool(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return needed("adv_lib.attacks").df(network, images, labels, norm=float("inf"))


def _adv_apgd(targeted: bool, loss: str, bracket: Tensor, halvings: int, network: nn.Module, images: Tensor,
              labels: Tensor) -> Tensor:
    """adv-lib's `minimal_apgd` begins all images at one size; here each begins where it is known to flip."""
    apgd = needed("adv_lib.attacks.auto_pgd")
    attack = (partial(apgd.apgd_targeted, num_targets=3) if targeted else apgd.apgd)
    high = bracket[:len(images)].to(images).clamp(max=1.0)
    low, best, found = torch.zeros_like(high), torch.full_like(high, torch.inf), images.clone()
    for _ in range(halvings):
        middle = (low + high) / 2
        tried = attack(network, images, labels, middle, float("inf"), n_iter=100, loss_function=loss)
        with torch.no_grad():
            flips = network(tried).argmax(1) != labels
        better = flips & (middle < best)
        found[better], best[better] = tried[better], middle[better]
        low, high = torch.where(flips, low, middle), torch.where(flips, middle, high)
    return found
