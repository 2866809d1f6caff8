"""Does the same image get the same answer?"""

import torch

from steadyread.checks.evidence import Evidence, check
from steadyread.classifier import margin_of
from steadyread.findings import Finding

_ROUNDING = 2.0**-22  # of the highest logits, by which margins may differ when an image is read again


@check(order=10, gradient=False)
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
