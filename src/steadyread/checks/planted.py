"""Is an adversarial example found that is known to exist?"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from steadyread.attacks.search import Search, climb
from steadyread.checks.evidence import Evidence, severity_of
from steadyread.checks.rule import check
from steadyread.classifier import Classifier
from steadyread.convolutions import called
from steadyread.findings import Finding
from steadyread.threats import Linf
from steadyread.types import Batch
from steadyread.units import show_size

_MISSED = 0.2        # share of planted examples that may be missed


@check(order=90, gradient=True, code="SR908", name="planted example")
def planted_example(evidence: Evidence) -> Finding:
    """The attack must find an adversarial example that is known to exist (arXiv:2206.13991).

    For each of a few images the last linear layer is replaced by one that tells one random corner of the
    epsilon-ball from the image and 199 random points of the ball: along the difference of their mean features, cut
    halfway. So a flip exists, and none of the others is one. (The source trains the discriminator; a fit to so few
    points overfits, and then finding the corner says nothing about the attack.)
    """
    epsilon, images = evidence.typical, min(8, len(evidence.batch))
    last = _last_linear(evidence.classifier, evidence.batch)
    if last is None:
        return Finding("planted example", "note", "the model does not end in a linear layer, so no adversarial "
                       "example could be planted")
    outcomes = [_finds_planted(evidence, place, last, epsilon) for place in range(images)]
    made = [outcome for outcome in outcomes if outcome is not None]
    if not made:
        return Finding("planted example", "note", "no adversarial example could be planted: the features of a "
                       "corner of the ball are not separable from those of its inside")
    missed = len(made) - sum(made)
    severity = severity_of(missed, len(made), (("error", _MISSED),))
    return Finding("planted example", severity,
                   f"PGD found {sum(made)} of {len(made)} adversarial examples planted within "
                   f"{show_size(epsilon, evidence.classifier.valid)}"
                   + (": the attack misses flips that are known to exist" if missed else ""), sum(made) / len(made))


def _last_linear(classifier: Classifier, batch: Batch) -> nn.Linear | None:
    """The linear layer whose output is the module's, if there is one."""
    seen: list[tuple[nn.Linear, Tensor]] = []
    hooks = [part.register_forward_hook(lambda part, _, out: seen.append((part, out)))
             for part in classifier.module.modules() if isinstance(part, nn.Linear)]
    try:
        with classifier.frozen(), torch.no_grad():
            raw = classifier.raw(batch.images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1][0] if seen and _is_of(raw, seen[-1][1]) else None


def _is_of(raw: Tensor, out: Tensor) -> bool:
    """Whether a module's values, (n, k) or (n,), are what a layer returned, (n, k): all of it, or one of its columns,
    as a single value or that of one finding is."""
    if raw.ndim == 1 and out.ndim == 2:
        return bool((out == raw[:, None]).all(0).any())
    return out.shape == raw.shape and torch.equal(out, raw)


def _finds_planted(evidence: Evidence, place: int, last: nn.Linear, epsilon: float) -> bool | None:
    """Whether PGD flips one image of the edited model; None where nothing could be planted."""
    part = evidence.batch.pick(torch.tensor([place], device=evidence.batch.images.device))
    many = Batch(part.images.expand(201, *part.images.shape[1:]), tuple(f"{part.keys[0]}/{i}" for i in range(201)),
                 part.bounds)
    threat, size = Linf(epsilon), torch.full((201,), epsilon, device=part.images.device)
    inside = threat.start(many, size, evidence.seed, 0)
    inside[0] = 0
    corner = threat.project(part, inside[-1:].sign() * epsilon, size[:1])
    points = torch.cat([threat.render(many, inside)[:-1], threat.render(part, corner)])
    edited = _Edited(evidence.classifier, last)
    features = edited.features(points)
    weight = features[-1] - features[:-1].mean(0)
    weight = weight / weight.norm().clamp(min=1e-30)
    logit = features @ weight
    highest = logit[:-1].max()
    if not logit[-1] > highest:
        return None
    weight = torch.cat([weight, -(logit[-1:] + highest) / 2])
    planted = replace(evidence.classifier, module=edited.with_weight(weight), output="logit", threshold=0.5)
    reference = torch.zeros(1, dtype=torch.int64, device=points.device)
    out = climb(planted, part, reference, threat, Search(100, 0.1, 3, True), size[:1], evidence.seed)
    return bool(out.flipped[0])


class _Edited(nn.Module):
    """A classifier's module up to its last linear layer, and another last layer after it."""

    def __init__(self, classifier: Classifier, last: nn.Linear) -> None:
        super().__init__()
        self.classifier, self.last, self.inner = classifier, last, classifier.module
        self.weight = nn.Parameter(torch.zeros(last.in_features + 1, dtype=last.weight.dtype))

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees of images in native units, (n, features)."""
        given = self.classifier.normalised(images)
        with self.classifier.frozen(), torch.no_grad():
            return called(self.inner, lambda: self._seen(given))

    def with_weight(self, weight: Tensor) -> "_Edited":
        """With this last layer."""
        self.weight.data = weight.to(self.weight)
        return self.to(weight.device)

    def forward(self, normalised: Tensor) -> Tensor:
        return self._seen(normalised) @ self.weight[:-1] + self.weight[-1]

    def _seen(self, normalised: Tensor) -> Tensor:
        caught: list[Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            self.inner(normalised)
        finally:
            hook.remove()
        return caught[-1]
