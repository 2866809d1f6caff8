"""Is this evaluation to be believed? Each check is a function that returns a finding.

Sources: evaluating robustness (arXiv:1902.06705), indicators of attack failure (arXiv:2106.09947), and for the
planted example arXiv:2206.13991.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from steadyread.attacks.blind import QUERIES, reached
from steadyread.attacks.recipe import Recipe
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.search import Search, climb
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.attacks.square import Square
from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier, decided, margin_of, prediction_of
from steadyread.convolutions import called
from steadyread.findings import Finding, Severity
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.intervals import clopper_pearson, exceeds
from steadyread.progress import Progress, quiet
from steadyread.threats import Linf
from steadyread.types import Batch, Labels, Values
from steadyread.units import show_size

SAMPLE = 48          # images that the checks look at
_ONE_CLASS = "one class"
_ALLOWED = 0.02      # share of images on which a search may fail: more only where the interval lies above it
_BLIND = 0.05        # share of images without a gradient, above which gradient attacks judge nothing
_MISSED = 0.2        # share of planted examples that may be missed
_ROUNDING = 2.0**-22  # of the highest logits, by which margins may differ when an image is read again
_SILENT = 0.1        # share of images of other classes, above which a network of one class is silent


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks look at: a sample of decided images, and the smallest flips found for them."""

    classifier: Classifier
    batch: Batch
    reference: Labels
    found: Values
    seed: int

    @property
    def typical(self) -> float:
        """The median of the found sizes; a twentieth of the range where most were never flipped."""
        middle = float(self.found.median()) if len(self.found) else float("inf")
        usual = self.classifier.valid.range / 20
        return middle if 0 < middle < self.classifier.valid.range else usual


def believed(classifier: Classifier, cases: Cases, seed: int = 0, progress: Progress = quiet) -> list[Finding]:
    """Runs every check on a sample of cases, and says of each what it saw.

    Args:
        cases: what the claim is about (the test part); a sample of them is taken, evenly over the set.
    """
    if not len(cases):
        return [Finding("sample", "error", "there are no test images, so nothing is claimed")]
    places = torch.linspace(0, len(cases) - 1, min(SAMPLE, len(cases))).long().tolist()
    loaded, labels = collate([cases[place] for place in places], classifier.valid)
    batch = classifier.batch(loaded)
    logits = classifier.examine(batch.images)
    findings = [enough_images(len(cases)), *reads(logits, labels)]
    sure = decided(logits).nonzero()[:, 0]
    if not len(sure):
        return [*findings, *head(classifier, loaded, logits)]
    batch, reference = batch.pick(sure), prediction_of(logits)[sure]
    found = smallest_flip(classifier, batch, reference, seed)
    evidence = Evidence(classifier, batch, reference, found.size, seed)
    checks = CHECKS if reached(classifier, batch.images) else UNGRADED
    looked = [check(evidence) for check in progress(checks, len(checks), "checking the evaluation")]
    return [*findings, *head(classifier, loaded, logits), *looked]   # by what the search saw of it too


def judged(classifier: Classifier, cases: Cases, table: pa.Table, seed: int = 0, progress: Progress = quiet
           ) -> list[Finding]:
    """`believed`, and whether the network is silent, by all test reads of the records instead of the sample."""
    found = believed(classifier, cases, seed, progress)
    return [*(one for one in found if one.check != _ONE_CLASS), *silent(table)]


def head(classifier: Classifier, batch: Batch, logits: Tensor) -> Iterator[Finding]:
    """What cannot well be as stated, as probabilities stated as logits, whose margins saturate or never flip;
    undecided images are named."""
    yield from (found for found in classifier.doubts if found.check != "bounds")   # of which the audit speaks
    undecided = [batch.keys[place] for place in (~decided(logits)).nonzero()[:, 0].tolist()]
    if undecided:
        yield Finding("undecided", "warning" if len(undecided) < len(batch) else "error",
                      f"{len(undecided)} of {len(batch)} images have a logit of NaN or +inf, or no two finite "
                      "ones: neither flipped nor steady", len(undecided) / len(batch), tuple(undecided))


def reads(logits: Tensor, labels: Labels) -> Iterator[Finding]:
    """A net that predicts one class only is not steady, it is silent."""
    predictions = prediction_of(logits)
    if len(set(predictions.tolist())) > 1 or bool((predictions < 0).any()):   # undecided reads say nothing
        return
    others = int((labels != predictions.to(labels.device)).sum())
    if others:
        severe = _severity(others, len(labels), (("error", _SILENT), ("warning", _ALLOWED)))
        yield Finding(_ONE_CLASS, severe, f"all {len(labels)} images looked at are predicted as class "
                      f"{int(predictions[0])}, and {others} are not: a model that always says the same is not "
                      "steady, it is silent", others / len(labels))


def silent(table: pa.Table) -> Iterator[Finding]:
    """A network that (nearly) always says the same is not steady, it is silent: judged on all test reads."""
    found = reads_of(table, "test")
    known = found.labels[found.known]
    if not len(known) or not (found.prediction >= 0).any():
        return
    yield from reads(torch.from_numpy(found.logits[found.there]), torch.from_numpy(found.labels[found.there]))
    most = np.bincount(known).max() / len(known)
    right = int(found.correct.sum())
    if clopper_pearson(right, len(known))[0] <= most:
        yield Finding("no better than one class", "warning", f"{right} of {len(known)} test images are read right, "
                      f"which cannot be told from always saying the most frequent class ({most:.1%}). That few of "
                      "its reads change says little of such a network", right / len(known))


def repeatable(evidence: Evidence) -> Finding:
    """The same image must get the same answer again, alone and in a batch: else flips are the model's own doing."""
    few = evidence.batch.images[:8]
    with evidence.classifier.frozen() as classifier, torch.no_grad():
        whole, again = classifier.logits(few), classifier.logits(few)
        alone = torch.cat([classifier.logits(image[None]) for image in few])
        margins = [margin_of(logits, evidence.reference[:8]) for logits in (whole, again, alone)]
    # margins, and less what float32 rounds: a class masked at -1e9, or -inf, must hide nothing
    rounding = _ROUNDING * whole.topk(2, 1).values.abs().amax()
    differ = max(float((margins[0] - other).abs().nan_to_num(nan=torch.inf).amax()) for other in margins[1:])
    scale = float(margins[0].abs().amax().clamp(min=torch.finfo(torch.float32).tiny))
    apart = max(differ - float(rounding), 0.0) / scale
    return Finding("repeatable", "error" if apart > 1e-3 else "ok",
                   f"the same images, again and alone, get margins that differ by {apart:.1g} of their size"
                   + (": the model is random, or reads an image by its company (dropout or batch norm while "
                      "evaluating), and its flips say nothing" if apart > 1e-3 else ""), apart)


def zero_gradients(evidence: Evidence) -> Finding:
    """Where the margin's gradient is zero in every pixel, gradient attacks cannot start."""
    with evidence.classifier.frozen() as classifier:
        images = evidence.batch.images.clone().requires_grad_(True)
        margin = classifier.margins(images, evidence.reference)
        gradient = classifier.gradient(margin.sum(), images) if margin.requires_grad else torch.zeros_like(images)
    flat = gradient.flatten(1)
    none = ~(torch.isfinite(flat).all(1) & (flat != 0).any(1))
    count = int(none.sum())
    return Finding("zero gradients", _severity(count, len(none), (("error", _BLIND), ("warning", _ALLOWED))),
                   f"the margin's gradient is zero or not finite on {count} of {len(none)} images"
                   + (f": gradient attacks are blind there; 'robust' means nothing, and sizes, found by Square at "
                      f"falling radii (up to {QUERIES} queries), are weak upper bounds" if count else ""),
                   count / len(none))


def unbounded(evidence: Evidence) -> Finding:
    """A change as large as the whole range must flip every image."""
    out = _climbed(evidence, evidence.classifier.valid.range, Search(20, 0.1, 2, True))
    count = int(out.sum())
    severity = _severity(len(out) - count, len(out), (("error", _ALLOWED),))
    doubt = "" if count == len(out) else ": it must flip all" + (
        ", so the search is failing on this model" if severity == "error" else "")
    return Finding("unbounded attack", severity, f"PGD with the whole range as epsilon flips {count} of {len(out)} "
                   f"images{doubt}", count / len(out))


def convergence(evidence: Evidence) -> Finding:
    """More steps and restarts must not flip more images at the typical size."""
    epsilon = evidence.typical
    usual = _climbed(evidence, epsilon, pgd(epsilon).search)
    more = _climbed(evidence, epsilon, Search(steps=60, step=0.1, starts=5, random_start=True))
    gained = int((more & ~usual).sum())
    severity = _severity(gained, len(more), (("warning", _ALLOWED),))
    return Finding("convergence", severity,
                   f"PGD of 60 steps flips {float(more.float().mean()):.0%} of {len(more)} images at "
                   f"{show_size(epsilon, evidence.classifier.valid)}; [A]'s 10 steps, 5 restarts flip "
                   f"{float(usual.float().mean()):.0%}"
                   + (": so few steps have not converged; read the smallest-flip curve" if severity == "warning"
                      else ""), gained / len(more))


def second_opinion(evidence: Evidence) -> Finding:
    """PGD of 60 steps at 0.98 of each image's found size: what it flips, the smallest flip was too large for."""
    finite = torch.isfinite(evidence.found) & (evidence.found > 0)
    at = torch.where(finite, 0.98 * evidence.found, torch.zeros_like(evidence.found))
    out = climb(evidence.classifier, evidence.batch, evidence.reference, Linf(0.0),
                Search(steps=60, step=0.05, starts=2, random_start=True), at, evidence.seed)
    beaten = out.flipped & finite
    count, tried = int(beaten.sum()), int(finite.sum())
    return Finding("optimisation gap", _severity(count, tried, (("warning", _ALLOWED),)),
                   f"a second search at 0.98 of the found size flips {count} of {tried} images: "
                   "so many of the smallest flips are more than 2 % too large", count / max(tried, 1))


def iterative_beats_one_step(evidence: Evidence) -> Finding:
    """The search must have found what FGSM flips."""
    epsilon = evidence.typical
    one = fgsm(epsilon)(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped
    return _at_least_as_strong(evidence, "one step", one, "FGSM", epsilon)


def stronger_than_noise(evidence: Evidence) -> Finding:
    """Found sizes must lie below what random corners of the ball flip: the strongest noise of its size."""
    epsilon, batch = 2 * evidence.typical, evidence.batch
    threat, size = Linf(epsilon), torch.full((len(batch),), epsilon, device=batch.images.device)
    flipped = torch.zeros(len(batch), dtype=torch.bool, device=batch.images.device)
    with evidence.classifier.frozen() as classifier, torch.no_grad():
        for draw in range(50):
            corner = threat.start(batch, size, evidence.seed, draw).sign() * epsilon
            images = threat.render(batch, threat.project(batch, corner, size))
            flipped |= classifier.margins(images, evidence.reference) < 0
    return _at_least_as_strong(evidence, "random noise", flipped, "random corners of the ball, 50 draws", epsilon)


def stronger_than_square(evidence: Evidence) -> Finding:
    """Found sizes must lie below what a search without gradients flips."""
    epsilon = 1.5 * evidence.typical
    out = Square(epsilon, 150)(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped
    return _at_least_as_strong(evidence, "gradient-free attack", out, "Square of 150 queries", epsilon)


def enough_images(n: int) -> Finding:
    """How many images the claim stands on."""
    return Finding("images", "ok" if n >= 100 else "warning", f"the tables stand on {n} test images"
                   + ("" if n >= 100 else ": a 95 % interval of a share is then 10 points or more to each side"),
                   float(n))


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
    severity = _severity(missed, len(made), (("error", _MISSED),))
    return Finding("planted example", severity,
                   f"PGD found {sum(made)} of {len(made)} adversarial examples planted within "
                   f"{show_size(epsilon, evidence.classifier.valid)}"
                   + (": the attack misses flips that are known to exist" if missed else ""), sum(made) / len(made))


CHECKS = (repeatable, zero_gradients, unbounded, second_opinion, convergence, iterative_beats_one_step,
          stronger_than_noise, stronger_than_square, planted_example)

UNGRADED = (repeatable, zero_gradients, stronger_than_noise, stronger_than_square)   # what needs no gradient


def _severity(count: int, images: int, allowed: Sequence[tuple[Severity, float]]) -> Severity:
    """The first severity whose allowed share so many of the images exceed; a note for any fewer, "ok" for none.

    One image of twenty is five per cent, and says little of a share: `exceeds` goes by the interval.
    """
    beyond = (severity for severity, share in allowed if exceeds(count, images, share))
    return next(beyond, "note" if count else "ok")


def _climbed(evidence: Evidence, epsilon: float, search: Search) -> Tensor:
    recipe = Recipe("check", Linf(epsilon), search)
    return recipe(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped


def _at_least_as_strong(evidence: Evidence, name: str, flipped: Tensor, weaker: str, epsilon: float) -> Finding:
    missed = flipped & ~(evidence.found <= epsilon)
    count = int(missed.sum())
    rows = tuple(evidence.batch.keys[place] for place in missed.nonzero()[:, 0].tolist())
    return Finding(name, _severity(count, len(flipped), (("error", _ALLOWED),)),
                   f"{weaker} at {show_size(epsilon, evidence.classifier.valid)} flips "
                   f"{int(flipped.sum())} of {len(flipped)} images; the smallest-flip search had "
                   f"missed {count} at that size", count / len(flipped), rows)


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
    return seen[-1][0] if seen and seen[-1][1].shape == raw.shape and torch.equal(seen[-1][1], raw) else None


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
