"""Is there a gradient to climb?"""

import torch

from steadyread.attacks.blind import QUERIES
from steadyread.checks.evidence import ALLOWED, Evidence, severity_of
from steadyread.checks.rule import check
from steadyread.findings import Finding

_BLIND = 0.05        # share of images without a gradient, above which gradient attacks judge nothing


@check(order=20, gradient=False, code="SR901", name="zero gradients", quick=True)
def zero_gradients(evidence: Evidence) -> Finding:
    """Where the margin's gradient is zero in every pixel, gradient attacks cannot start."""
    with evidence.classifier.frozen() as classifier:
        images = evidence.batch.images.clone().requires_grad_(True)
        margin = classifier.margins(images, evidence.reference)
        if not margin.requires_grad:
            return Finding("zero gradients", "error", "the network gives no gradients: it is judged as a black box, by "
                           "Square and random changes, and its sizes are weak upper bounds (attacks.queries states how "
                           "many passes each may take), so that no gate on robustness is met by them", 1.0)
        gradient = classifier.gradient(margin.sum(), images)
    flat = gradient.flatten(1)
    none = ~(torch.isfinite(flat).all(1) & (flat != 0).any(1))
    count = int(none.sum())
    return Finding("zero gradients", severity_of(count, len(none), (("error", _BLIND), ("warning", ALLOWED))),
                   f"the margin's gradient is zero or not finite on {count} of {len(none)} images"
                   + (f": gradient attacks are blind there; 'robust' means nothing, and sizes, found by Square at "
                      f"falling radii (up to {QUERIES} queries), are weak upper bounds" if count else ""),
                   count / len(none))
