"""Attacks of a given size by every library, each called as its documentation says, in one batch, without a word.

`ATTACKS[library][attack](network, images, labels, epsilon, steps, start_seed)`, with images of 0 to 1 and epsilon a
share of that, makes an attack that is called without arguments and returns the attacked images. FGSM takes one step
of epsilon from the image, BIM steps of epsilon / steps from the image, PGD steps of epsilon / 4 from one random
start, APGD its own from one random start; all climb the cross-entropy. `suite` is the library's AutoAttack, `pgd,
margin` PGD on a difference of logits. `bounds` other than 0 to 1 go to the libraries that can be told them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.libraries import needed

Attack = Callable[[], Tensor]
BARE = "bare torch loop"
TELLS = frozenset({"foolbox"})   # libraries that look at the images they return; of others the caller must
UNIT = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be attacked, and how."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    epsilon: float
    steps: int
    seed: int = 0
    bounds: tuple[float, float] = UNIT

    @cached_property
    def columns(self) -> int:
        """How many values the network returns an image."""
        training = self.network.training
        with torch.no_grad():
            found: int = self.network.eval()(self.images[:1]).numel()
        self.network.train(training)
        return found

    def step(self, attack: str) -> float:
        """The length of a step."""
        return {"fgsm": self.epsilon, "bim": self.epsilon / self.steps, "pgd": self.epsilon / 4}[attack]

    def seeded(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The same random start each time: some draw from torch's stream, ART from numpy's."""

        def run() -> Any:
            torch.manual_seed(self.seed)
            np.random.seed(self.seed)  # noqa: NPY002
            return work()

        return run


def _bare(attack: str, task: Task) -> Attack:
    """The passes and the step, and nothing else: what any library can at best come down to."""
    step, epsilon = task.step("pgd" if attack == "apgd" else attack), task.epsilon
    low, high = task.bounds

    def run() -> Tensor:
        images, labels = task.images, task.labels
        least, most = (low - images).clamp(min=-epsilon), (high - images).clamp(max=epsilon)
        delta = torch.zeros_like(images)
        if attack not in ("fgsm", "bim"):
            delta = torch.clamp((torch.rand_like(images) * 2 - 1) * epsilon, least, most)
        for _ in range(task.steps):
            delta.requires_grad_(True)
            loss = functional.cross_entropy(task.network(images + delta), labels)
            gradient = torch.autograd.grad(loss, delta)[0]
            delta = torch.clamp(delta.detach() + step * gradient.sign(), least, most)
        return images + delta

    return task.seeded(run)


def _art(attack: str, task: Task) -> Attack:
    made = _arts(attack, task, needed("art.estimators.classification").PyTorchClassifier)
    pixels, wanted = task.images.cpu().numpy(), task.labels.cpu().numpy()
    return task.seeded(lambda: torch.from_numpy(made.generate(pixels, wanted)).to(task.images.device))


def _heart(attack: str, task: Task) -> Attack:
    """ART's own attacks on ART's own classifier, both in HEART's wraps: images, targets and metadata in and out."""
    classifier = needed("heart_library.estimators.classification.pytorch").JaticPyTorchClassifier
    made = needed("heart_library.attacks.attack").JaticAttack(_arts(attack, task, classifier), norm=np.inf)
    given = (list(task.images.cpu().numpy()), list(task.labels.cpu().numpy()), [{} for _ in task.labels])
    return task.seeded(lambda: torch.from_numpy(np.stack(made(given)[0])).to(task.images.device))


def _arts(attack: str, task: Task, classifier: Callable[..., Any]) -> Any:
    """An attack of ART's on a network as its classifier, or one derived from it, holds it."""
    evasion = needed("art.attacks.evasion")
    loss = nn.BCEWithLogitsLoss() if task.columns == 1 else nn.CrossEntropyLoss()
    model = classifier(
        model=task.network, loss=loss, input_shape=tuple(task.images.shape[1:]), nb_classes=max(task.columns, 2),
        clip_values=task.bounds, device_type="cpu" if task.images.device.type == "cpu" else "gpu")
    size, batch = task.epsilon, len(task.images)
    make: dict[str, Callable[[], Any]] = {
        "fgsm": lambda: evasion.FastGradientMethod(model, eps=size, batch_size=batch),
        "bim": lambda: evasion.BasicIterativeMethod(model, eps=size, eps_step=task.step("bim"), verbose=False,
                                                    max_iter=task.steps, batch_size=batch),
        "pgd": lambda: evasion.ProjectedGradientDescent(model, eps=size, eps_step=task.step("pgd"), verbose=False,
                                                        max_iter=task.steps, num_random_init=1, batch_size=batch),
        # the paper's first step; ART's own default of 0.1 is for an epsilon of 0.3
        "apgd": lambda: evasion.AutoProjectedGradientDescent(model, eps=size, eps_step=2 * size, verbose=False,
                                                             max_iter=task.steps, nb_random_init=1,
                                                             batch_size=batch),
        "suite": lambda: evasion.AutoAttack(model, eps=size, eps_step=2 * size, batch_size=batch),
    }
    return make[attack]()


def _foolbox(attack: str, task: Task) -> Attack:
    attacks = needed("foolbox").attacks
    model = needed("foolbox").PyTorchModel(task.network, bounds=task.bounds)
    made = {"fgsm": lambda: attacks.LinfFastGradientAttack(random_start=False),
            "bim": lambda: attacks.LinfBasicIterativeAttack(abs_stepsize=task.step("bim"), steps=task.steps,
                                                            random_start=False),
            "pgd": lambda: attacks.LinfPGD(abs_stepsize=task.step("pgd"), steps=task.steps)}[attack]()
    return task.seeded(lambda: made(model, task.images, task.labels, epsilons=task.epsilon)[1])


def _torchattacks(attack: str, task: Task) -> Attack:
    made = needed("torchattacks")
    low, high = task.bounds
    size, steps = task.epsilon / (high - low), task.steps
    found = {"fgsm": lambda: made.FGSM(task.network, eps=size),
             "bim": lambda: made.BIM(task.network, eps=size, alpha=size / steps, steps=steps),
             "pgd": lambda: made.PGD(task.network, eps=size, alpha=size / 4, steps=steps),
             "apgd": lambda: made.APGD(task.network, eps=size, steps=steps, seed=task.seed),
             "suite": lambda: made.AutoAttack(task.network, eps=size, n_classes=task.columns,
                                              seed=task.seed)}[attack]()
    if task.bounds != UNIT:   # its way to say that images are not of 0 to 1
        channels = task.images.shape[1]
        found.set_normalization_used([-low / (high - low)] * channels, [1 / (high - low)] * channels)
    return task.seeded(lambda: found(task.images, task.labels))


def _adv_lib(attack: str, task: Task) -> Attack:
    attacks = needed("adv_lib.attacks")
    told: dict[str, Any] = {"model": task.network, "inputs": task.images, "labels": task.labels}
    if attack == "apgd":
        told |= {"eps": task.epsilon, "norm": float("inf"), "n_iter": task.steps, "loss_function": "ce"}
        return task.seeded(lambda: attacks.apgd(**told))
    by = "bim" if attack == "bim" else "pgd"
    told |= {"ε": task.epsilon, "steps": task.steps, "random_init": by == "pgd",
             "absolute_step_size": task.step(by), "loss_function": "dl" if attack == "pgd, margin" else "ce"}
    return task.seeded(lambda: attacks.pgd_linf(**told))


def _auto_attack(attack: str, task: Task) -> Attack:
    device = str(task.images.device)
    if attack == "apgd":
        made = needed("autoattack.autopgd_base").APGDAttack(task.network, n_iter=task.steps, eps=task.epsilon,
                                                         seed=task.seed, device=device)
        return task.seeded(lambda: made.perturb(task.images, task.labels))
    suite = needed("autoattack").AutoAttack(task.network, eps=task.epsilon, seed=task.seed, verbose=False,
                                         device=device)
    return task.seeded(lambda: suite.run_standard_evaluation(task.images, task.labels, bs=len(task.images)))


def _secml(attack: str, task: Task) -> Attack:
    """PGD and BIM are its own; its FGSM is foolbox's, called through it (the default)."""
    data = needed("torch.utils.data")
    model = needed("secmlt.models.pytorch.base_pytorch_nn").BasePyTorchClassifier(task.network)
    low, high = task.bounds
    told: dict[str, Any] = {"perturbation_model": "linf", "epsilon": task.epsilon, "lb": low, "ub": high}
    if attack == "fgsm":
        made = needed("secmlt.adv.evasion.fgsm").FGSM(**told)
    else:
        made = needed("secmlt.adv.evasion.pgd").PGD(**told, num_steps=task.steps, step_size=task.step(attack),
                                                 random_start=attack == "pgd", backend="native")
    loader = data.DataLoader(data.TensorDataset(task.images, task.labels), batch_size=len(task.images))
    return task.seeded(lambda: torch.cat([images for images, _ in made(model, loader)]))


def _maker(adapter: Callable[[str, Task], Attack], attack: str) -> Callable[..., Attack]:
    return lambda *told, **more: adapter(attack, Task(*told, **more))


# adv-lib has no FGSM (its PGD does not look at the image that its last step makes), two libraries no APGD.
ATTACKS: dict[str, dict[str, Callable[..., Attack]]] = {
    name: {attack: _maker(adapter, attack) for attack in attacks} for name, adapter, attacks in (
        (BARE, _bare, ("fgsm", "bim", "pgd", "apgd")),
        ("ART", _art, ("fgsm", "bim", "pgd", "apgd", "suite")),
        ("HEART", _heart, ("fgsm", "bim", "pgd")),
        ("foolbox", _foolbox, ("fgsm", "bim", "pgd")),
        ("torchattacks", _torchattacks, ("fgsm", "bim", "pgd", "apgd", "suite")),
        ("adv-lib", _adv_lib, ("bim", "pgd", "pgd, margin", "apgd")),
        ("auto-attack", _auto_attack, ("apgd", "suite")),
        ("secml-torch", _secml, ("fgsm", "bim", "pgd")))}
