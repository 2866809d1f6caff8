"""Does it help to try harder?"""

import torch

from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.search import Search, climb
from steadyread.checks.evidence import ALLOWED, Evidence, climbed, severity_of
from steadyread.checks.rule import check
from steadyread.findings import Finding
from steadyread.threats import Linf
from steadyread.units import show_size


@check(order=30, gradient=True, code="SR902", name="unbounded attack")
def unbounded(evidence: Evidence) -> Finding:
    """A change as large as the whole range must flip every image."""
    out = climbed(evidence, evidence.classifier.valid.range, Search(20, 0.1, 2, True))
    count = int(out.sum())
    severity = severity_of(len(out) - count, len(out), (("error", ALLOWED),))
    doubt = "" if count == len(out) else ": it must flip all" + (
        ", so the search is failing on this model" if severity == "error" else "")
    return Finding("unbounded attack", severity, f"PGD with the whole range as epsilon flips {count} of {len(out)} "
                   f"images{doubt}", count / len(out))


@check(order=40, gradient=True, code="SR903", name="optimisation gap")
def second_opinion(evidence: Evidence) -> Finding:
    """PGD of 60 steps at 0.98 of each image's found size: what it flips, the smallest flip was too large for."""
    finite = torch.isfinite(evidence.found) & (evidence.found > 0)
    at = torch.where(finite, 0.98 * evidence.found, torch.zeros_like(evidence.found))
    out = climb(evidence.classifier, evidence.batch, evidence.reference, Linf(0.0),
                Search(steps=60, step=0.05, starts=2, random_start=True), at, evidence.seed)
    beaten = out.flipped & finite
    count, tried = int(beaten.sum()), int(finite.sum())
    return Finding("optimisation gap", severity_of(count, tried, (("warning", ALLOWED),)),
                   f"a second search at 0.98 of the found size flips {count} of {tried} images: "
                   "so many of the smallest flips are more than 2 % too large", count / max(tried, 1))


@check(order=50, gradient=True, code="SR904", name="convergence")
def convergence(evidence: Evidence) -> Finding:
    """More steps and restarts must not flip more images at the typical size."""
    epsilon = evidence.typical
    usual = climbed(evidence, epsilon, pgd(epsilon).search)
    more = climbed(evidence, epsilon, Search(steps=60, step=0.1, starts=5, random_start=True))
    gained = int((more & ~usual).sum())
    severity = severity_of(gained, len(more), (("warning", ALLOWED),))
    return Finding("convergence", severity,
                   f"PGD of 60 steps flips {100 * float(more.float().mean()):.0f} % of {len(more)} images at "
                   f"{show_size(epsilon, evidence.classifier.valid)}; [A]'s 10 steps, 5 restarts flip "
                   f"{100 * float(usual.float().mean()):.0f} %"
                   + (": so few steps have not converged; read the smallest-flip curve" if severity == "warning"
                      else ""), gained / len(more))
