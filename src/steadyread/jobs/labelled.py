"""A study's findings by the labels of its images: those of which nothing can be said are left out."""

from collections.abc import Sequence
from contextlib import suppress

from steadyread.cases import Cases
from steadyread.cases.labels import one_kind
from steadyread.errors import SteadyreadError
from steadyread.findings import Finding
from steadyread.jobs.cards import with_findings
from steadyread.jobs.material import listed
from steadyread.study import Study

LEFT_OUT = "finding left out"


def left_out(cases: Cases, findings: Sequence[str], assessed: Sequence[str] = ()) -> list[Finding]:
    """One sentence on each of a network's findings that all cases have or none has, but for those `assessed`.

    Raises:
        InputRefused: the cases have no labels of one of them.
    """
    return [Finding(LEFT_OUT, "warning", why, networks=(name,)) for name, why in one_kind(cases, findings).items()
            if name not in assessed]


def of_labelled(study: Study) -> tuple[Study, list[Finding]]:
    """The study without the findings that all images have or none has, and a sentence on each of these.

    It stays as it is where those that are assessed are named (model.only), or none would be left: either is refused
    when it begins, as is what cannot be listed.

    Raises:
        UsageError: a gate is of a finding that is left out.
    """
    model, left = study.model, list[Finding]()
    if not model.findings or model.only:
        return study, left
    with suppress(SteadyreadError):
        left = left_out(listed(study).raw, model.findings)
    out = {name for each in left for name in each.networks}
    kept = tuple(name for name in model.findings if name not in out)
    if not out or not kept:
        return study, []
    return with_findings(study.model_copy(update={"model": model.model_copy(update={"only": kept})})), left
