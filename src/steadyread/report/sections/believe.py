"""Whether the evaluation can be trusted: what the checks and the audit found."""

from collections.abc import Iterator

from steadyread.report.items import Fold, Item, Text, notes
from steadyread.report.plain import Plain
from steadyread.report.section import section


@section("Is this evaluation to be believed?", of=Plain, order=100)
def believe(plain: Plain) -> Iterator[Item]:
    """The findings, those that passed behind a fold."""
    s = plain.summary
    passed = [each for each in s["findings"] if each["severity"] == "ok"]
    open_ = [each for each in s["findings"] if each["severity"] != "ok"]
    if open_:
        yield notes(open_)
    else:
        yield Text("Every check passed." if passed else "No checks were run.")
    if passed:
        yield Fold(f"{len(passed)} {'check' if len(passed) == 1 else 'checks'} passed", (notes(passed),))
    if s["undecided"]:
        yield Text(f"{s['undecided']} clean {'read is' if s['undecided'] == 1 else 'reads are'} undecided (a logit "
                   "that is not finite): counted as wrong, and withheld first.")
    if len(s["stages"]) > 1:
        yield Text(f"The records hold several stages ({', '.join(s['stages'])}); this page is of the {s['stage']} "
                   "model.")
