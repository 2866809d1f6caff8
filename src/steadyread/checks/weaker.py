"""Did the search find at least what weaker attacks find?"""

import torch

from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.square import Square
from steadyread.checks.evidence import Evidence, at_least_as_strong
from steadyread.checks.rule import check
from steadyread.findings import Finding
from steadyread.threats import Linf


@check(order=60, gradient=True, code="SR905", name="one step", quick=True)
def iterative_beats_one_step(evidence: Evidence) -> Finding:
    """The search must have found what FGSM flips."""
    epsilon = evidence.typical
    one = fgsm(epsilon)(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped
    return at_least_as_strong(evidence, "one step", one, "FGSM", epsilon)


@check(order=70, gradient=False, code="SR906", name="random noise")
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
    return at_least_as_strong(evidence, "random noise", flipped, "random corners of the ball, 50 draws", epsilon)


@check(order=80, gradient=False, code="SR907", name="gradient-free attack")
def stronger_than_square(evidence: Evidence) -> Finding:
    """Found sizes must lie below what a search without gradients flips."""
    epsilon = 1.5 * evidence.typical
    out = Square(epsilon, 150)(evidence.classifier, evidence.batch, evidence.reference, evidence.seed).flipped
    return at_least_as_strong(evidence, "gradient-free attack", out, "Square of 150 queries", epsilon)
